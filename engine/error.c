/* How failures reach Lua: nil, a message for people, a stable code. */
#include "engine.h"

#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_MAX = 1024 };

static int push_failure(lua_State *L, const char *code, const char *message) {
  ERR_clear_error();
  lua_pushnil(L);
  lua_pushstring(L, message);
  lua_pushstring(L, code);
  return 3;
}

int engine_fail(lua_State *L, const char *code, const char *format, ...) {
  char message[MESSAGE_MAX];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  return push_failure(L, code, message);
}

int engine_ssl_fail(lua_State *L, const char *code, const char *what) {
  char message[MESSAGE_MAX];
  unsigned long error = ERR_peek_error();
  const char *reason = error == 0 ? NULL : ERR_reason_error_string(error);
  if (reason == NULL) reason = "no reason given";
  snprintf(message, sizeof message, "%s: %s", what, reason);
  return push_failure(L, code, message);
}

static bool is_listed(const char *name, const char *const *names) {
  for (; *names != NULL; names++)
    if (**names == *name && strcmp(name, *names) == 0) return true;
  return false;
}

void engine_check_options(lua_State *L, int index, const char *const *names) {
  luaL_checktype(L, index, LUA_TTABLE);
  lua_pushnil(L);
  while (lua_next(L, index) != 0) {
    if (lua_type(L, -2) != LUA_TSTRING)
      luaL_error(L, "option names are strings, not %s", luaL_typename(L, -2));
    if (!is_listed(lua_tostring(L, -2), names))
      luaL_error(L, "unknown option \"%s\"", lua_tostring(L, -2));
    lua_pop(L, 1);
  }
}
