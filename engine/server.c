/* engine.server: the table of all its parts, and server.http. */
#include "dialog.h"

#include <stdlib.h>

int engine_open_server(lua_State *L);

#define MAX_HEADER (16 << 10)
#define MAX_BODY (256 << 10)
#define REQUEST_SECONDS 10
#define IDLE_SECONDS 30
#define MAX_CONNECTIONS 10000

static double option_number(lua_State *L, const char *name, double fallback,
                            double most) {
  lua_getfield(L, 3, name);
  double value = luaL_optnumber(L, -1, fallback);
  lua_pop(L, 1);
  if (!(value > 0 && value <= most))
    luaL_error(L, "option \"%s\" is not within 0 and %f", name, most);
  return value;
}

static int option_function(lua_State *L, const char *name) {
  lua_getfield(L, 3, name);
  if (!lua_isnil(L, -1)) luaL_checktype(L, -1, LUA_TFUNCTION);
  return luaL_ref(L, LUA_REGISTRYINDEX);
}

static int option_streams(lua_State *L) {
  lua_getfield(L, 3, "streams");
  if (!lua_isnil(L, -1)) luaL_checktype(L, -1, LUA_TTABLE);
  return luaL_ref(L, LUA_REGISTRYINDEX);
}

/* It lives as long as the service. */
static struct Tls *option_tls(lua_State *L) {
  lua_getfield(L, 3, "tls");
  struct Tls *tls = lua_isnil(L, -1) ? NULL : luaL_checkudata(L, -1, TLS_TYPE);
  luaL_ref(L, LUA_REGISTRYINDEX);
  return tls;
}

/* server.http(listener, handler [, options]) */
static int server_http(lua_State *L) {
  static const char *const names[] = {
    "max_header",      "max_body", "request_seconds", "idle_seconds",
    "max_connections", "refuse",   "on_error",        "same_user",
    "streams",         "tls",      "plain",           NULL,
  };
  Listener *listener = luaL_checkudata(L, 1, LISTENER_TYPE);
  luaL_argcheck(L, listener->fd >= 0, 1, "the listener is closed");
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 3);
  if (lua_isnil(L, 3)) {
    lua_newtable(L);
    lua_replace(L, 3);
  }
  luaL_checktype(L, 3, LUA_TTABLE);
  engine_check_options(L, 3, names);
  Service made = {.listener = listener};
  made.max_header =
    (size_t)option_number(L, "max_header", MAX_HEADER, UINT16_MAX);
  made.max_body = (size_t)option_number(L, "max_body", MAX_BODY, 1 << 30);
  made.request_seconds =
    option_number(L, "request_seconds", REQUEST_SECONDS, 1e6);
  made.idle_seconds = option_number(L, "idle_seconds", IDLE_SECONDS, 1e6);
  made.max_connections =
    (int)option_number(L, "max_connections", MAX_CONNECTIONS, 1e6);
  lua_getfield(L, 3, "same_user");
  made.same_user = lua_toboolean(L, -1);
  lua_getfield(L, 3, "plain");
  made.plain = lua_toboolean(L, -1);
  made.streams = option_streams(L);
  made.tls = option_tls(L);
  made.refuse = option_function(L, "refuse");
  made.on_error = option_function(L, "on_error");
  lua_pushvalue(L, 2);
  made.handler = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_pushvalue(L, 1);
  luaL_ref(L, LUA_REGISTRYINDEX); /* the listener lives as long */
  Service *service = malloc(sizeof *service);
  if (service == NULL) return luaL_error(L, "not enough memory");
  *service = made;
  service_open(service);
  return 0;
}

int engine_open_server(lua_State *L) {
  lua_newtable(L);
  lua_pushcfunction(L, server_http);
  lua_setfield(L, -2, "http");
  loop_register(L);
  coroutine_register(L);
  listener_register(L);
  shared_register(L);
  workers_register(L);
  tls_register(L);
  dialog_ask_register(L);
  dialog_answer_register(L);
  return 1;
}
