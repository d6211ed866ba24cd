/* The table that a handler returns, checked, for any protocol to write. */
#include "server.h"

#include <string.h>
#include <time.h>

static bool equals(Slice slice, const char *text) {
  return slice.size == strlen(text) &&
    memcmp(slice.data, text, slice.size) == 0;
}

/* Fields that only the protocol may write. */
static bool is_reserved(Slice name) {
  static const char *const names[] = {
    "connection", "content-length", "date",    "keep-alive",
    "te",         "trailer",        "upgrade", "transfer-encoding",
  };
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (equals(name, names[i])) return true;
  return false;
}

/* The field's value, which is on top and stays there: that keeps the bytes
** alive until the answer is written. */
static Slice check_value(lua_State *L, Slice name) {
  Slice value;
  value.data = (const unsigned char *)luaL_checklstring(L, -1, &value.size);
  luaL_checkstack(L, 4, "too many header fields");
  for (size_t i = 0; i < value.size; i++)
    if ((value.data[i] < ' ' && value.data[i] != '\t') || value.data[i] == 0x7f)
      luaL_error(L, "control character in header \"%s\"", name.data);
  return value;
}

static void response_field(lua_State *L, Response *response, Slice name) {
  Slice value = check_value(L, name);
  if (response->field_count == MAX_FIELDS)
    luaL_error(L, "more than %d header fields", MAX_FIELDS);
  if (equals(name, "connection") && equals(value, "close")) {
    response->close = true;
    return;
  }
  if (is_reserved(name))
    luaL_error(L, "header \"%s\" is not the handler's to give", name.data);
  response->fields[response->field_count].name = name;
  response->fields[response->field_count++].value = value;
}

static Slice check_field_name(lua_State *L, int index) {
  if (lua_type(L, index) != LUA_TSTRING)
    luaL_error(L, "header names are strings");
  Slice name;
  name.data = (const unsigned char *)lua_tolstring(L, index, &name.size);
  for (size_t i = 0; i < name.size; i++) {
    unsigned char c = name.data[i];
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
          c == '_'))
      luaL_error(L,
                 "header \"%s\": names are lower-case letters, digits "
                 "and -",
                 name.data);
  }
  return name;
}

static void response_headers(lua_State *L, int headers, Response *response) {
  lua_pushnil(L);
  while (lua_next(L, headers) != 0) {
    Slice name = check_field_name(L, -2);
    int value = lua_gettop(L), key = value - 1;
    if (lua_istable(L, value)) {
      lua_Integer count = luaL_len(L, value);
      for (lua_Integer i = 1; i <= count; i++) {
        lua_geti(L, value, i);
        response_field(L, response, name);
      }
    } else {
      response_field(L, response, name);
    }
    lua_pushvalue(L, key); /* the values stay below it */
  }
}

void response_read_trailers(lua_State *L, Response *response) {
  int trailers = lua_gettop(L);
  response->trailer_count = 0;
  if (lua_isnil(L, trailers)) return;
  luaL_checktype(L, trailers, LUA_TTABLE);
  lua_pushnil(L);
  while (lua_next(L, trailers) != 0) {
    Slice name = check_field_name(L, -2);
    Slice value = check_value(L, name);
    if (is_reserved(name))
      luaL_error(L, "header \"%s\" is not the handler's to give", name.data);
    if (response->trailer_count == MAX_TRAILERS)
      luaL_error(L, "more than %d trailers", MAX_TRAILERS);
    response->trailers[response->trailer_count++] = (Pair){name, value};
    lua_pushvalue(L, -2); /* the values stay below it */
  }
}

void response_read(lua_State *L, Response *response) {
  int table = lua_gettop(L);
  if (!lua_istable(L, table))
    luaL_error(L, "the handler returned no response but a %s",
               luaL_typename(L, table));
  memset(response, 0, sizeof *response);
  lua_getfield(L, table, "status");
  response->status = (int)lua_tointeger(L, -1);
  if (response->status < 200 || response->status > 599)
    luaL_error(L, "the response has no status of 200 to 599");
  lua_getfield(L, table, "body");
  if (!lua_isnil(L, -1))
    response->body.data =
      (const unsigned char *)luaL_checklstring(L, -1, &response->body.size);
  if (lua_getfield(L, table, "headers") != LUA_TNIL) {
    luaL_checktype(L, -1, LUA_TTABLE);
    response_headers(L, lua_gettop(L), response);
  }
  lua_getfield(L, table, "trailers");
  response_read_trailers(L, response);
  if (lua_getfield(L, table, "stream") != LUA_TNIL) {
    luaL_checktype(L, -1, LUA_TFUNCTION);
    response->streams = true;
  }
}

const char *response_date(void) {
  static char text[64];
  static time_t made;
  time_t now = time(NULL);
  if (now != made) {
    struct tm parts;
    gmtime_r(&now, &parts);
    strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
    made = now;
  }
  return text;
}

static void add_field(Response *response, const char *name, const char *value) {
  int i = response->field_count++;
  response->fields[i].name = (Slice){(const unsigned char *)name, strlen(name)};
  response->fields[i].value =
    (Slice){(const unsigned char *)value, strlen(value)};
}

void response_add_retry(Response *response) {
  if (response->status != 503 || response->field_count == MAX_FIELDS) return;
  for (int i = 0; i < response->field_count; i++)
    if (equals(response->fields[i].name, "retry-after")) return;
  add_field(response, "retry-after", "1");
}
