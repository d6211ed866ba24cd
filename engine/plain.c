/* Plain data as bytes: nil, booleans, numbers, texts, null, tables of them,
** and functions as numbers. */
#include "sandbox.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 32

/* One byte before each value. */
enum {
  NIL = 'n',
  TRUE = 't',
  FALSE = 'f',
  NULL_VALUE = '0',
  INTEGER = 'i',
  FLOAT = 'd',
  STRING = 's',
  TABLE = '{',
  FUNCTION = 'F'
};

/* Tables that are being written, outermost first. */
typedef struct Path {
  const void *tables[DEPTH_MAX];
  int depth;
  KeepFunction keep;
} Path;

static bool fail(Plain *out, const char *error) {
  out->error = error;
  return false;
}

static bool put(Plain *out, const void *bytes, size_t size) {
  if (size > out->limit - out->size) {
    out->out_of_space = true;
    return fail(out, "too much data");
  }
  if (out->size + size > out->room) {
    size_t room = (out->size + size) * 2 + 256;
    unsigned char *larger = realloc(out->bytes, room);
    if (larger == NULL) {
      out->out_of_space = true;
      return fail(out, "not enough memory");
    }
    out->bytes = larger;
    out->room = room;
  }
  if (size > 0) memcpy(out->bytes + out->size, bytes, size);
  out->size += size;
  return true;
}

static bool put_tag(Plain *out, char tag) {
  return put(out, &tag, 1);
}

static bool put_number(lua_State *L, int index, Plain *out) {
#if LUA_VERSION_NUM >= 503
  if (lua_isinteger(L, index)) {
    int64_t whole = lua_tointeger(L, index);
    return put_tag(out, INTEGER) && put(out, &whole, sizeof whole);
  }
#endif
  double number = lua_tonumber(L, index);
  return put_tag(out, FLOAT) && put(out, &number, sizeof number);
}

static bool put_string(lua_State *L, int index, Plain *out) {
  size_t size;
  const char *text = lua_tolstring(L, index, &size);
  return put_tag(out, STRING) && put(out, &size, sizeof size) &&
    put(out, text, size);
}

static bool put_function(lua_State *L, int index, Plain *out,
                         const Path *path) {
  if (path->keep == NULL) return fail(out, "a function");
  lua_pushvalue(L, index);
  int64_t number = path->keep(L);
  return put_tag(out, FUNCTION) && put(out, &number, sizeof number);
}

/* Puts the key before what is known of the place: the innermost table
** fails first. */
static bool fail_in(lua_State *L, int key, Plain *out) {
  char inner[sizeof out->where];
  memcpy(inner, out->where, sizeof inner);
  const char *dot = inner[0] == '\0' || inner[0] == '[' ? "" : ".";
  if (lua_type(L, key) == LUA_TSTRING)
    snprintf(out->where, sizeof out->where, "%.40s%s%.80s",
             lua_tostring(L, key), dot, inner);
  else
    snprintf(out->where, sizeof out->where, "[%.14g]%s%.80s",
             (double)lua_tonumber(L, key), dot, inner);
  return false;
}

static bool put_value(lua_State *L, int index, Plain *out, Path *path);

/* The pair on the top of the stack. In a map null is the same as absent;
** in a list it keeps its place. */
static bool put_pair(lua_State *L, Plain *out, Path *path, int32_t *pairs) {
  int value = lua_gettop(L), key = value - 1;
  int type = lua_type(L, key);
  if (type != LUA_TSTRING && type != LUA_TNUMBER)
    return fail(out, "a key that is neither text nor number");
  if (path->keep != NULL && type == LUA_TSTRING &&
      strcmp(lua_tostring(L, key), "function") == 0)
    return fail(out, "a field named \"function\"");
  if (type == LUA_TSTRING && lua_islightuserdata(L, value) &&
      lua_touserdata(L, value) == NULL)
    return true;
  ++*pairs;
  if (put_value(L, key, out, path) && put_value(L, value, out, path))
    return true;
  return fail_in(L, key, out);
}

static bool put_table(lua_State *L, int index, Plain *out, Path *path) {
  const void *table = lua_topointer(L, index);
  int32_t sizes[2] = {0, 0}; /* pairs in all, length of the list */
  for (int i = 0; i < path->depth; i++)
    if (path->tables[i] == table)
      return fail(out, "a table that contains itself");
  if (path->depth == DEPTH_MAX || !lua_checkstack(L, 6))
    return fail(out, "tables nested too deep");
  path->tables[path->depth++] = table;
  size_t length = lua_rawlen(L, index);
  sizes[1] = length > INT32_MAX ? 0 : (int32_t)length;
  if (!put_tag(out, TABLE)) return false;
  size_t at = out->size;
  if (!put(out, sizes, sizeof sizes)) return false;
  lua_pushnil(L);
  while (lua_next(L, index)) {
    if (!put_pair(L, out, path, &sizes[0])) return false;
    lua_pop(L, 1);
  }
  memcpy(out->bytes + at, sizes, sizeof sizes);
  path->depth--;
  return true;
}

static bool put_value(lua_State *L, int index, Plain *out, Path *path) {
  switch (lua_type(L, index)) {
    case LUA_TNIL: return put_tag(out, NIL);
    case LUA_TBOOLEAN:
      return put_tag(out, lua_toboolean(L, index) ? TRUE : FALSE);
    case LUA_TNUMBER: return put_number(L, index, out);
    case LUA_TSTRING: return put_string(L, index, out);
    case LUA_TTABLE: return put_table(L, index, out, path);
    case LUA_TFUNCTION: return put_function(L, index, out, path);
    case LUA_TLIGHTUSERDATA:
      if (lua_touserdata(L, index) == NULL) return put_tag(out, NULL_VALUE);
      break;
  }
  return fail(out, "a value that is no plain data");
}

bool plain_encode(lua_State *L, int index, Plain *out, KeepFunction keep) {
  Path path;
  int top = lua_gettop(L);
  path.depth = 0;
  path.keep = keep;
  out->error = NULL;
  out->where[0] = '\0';
  out->out_of_space = false;
  if (!lua_checkstack(L, 6)) return fail(out, "not enough memory");
  bool done = put_value(L, index, out, &path);
  lua_settop(L, top);
  return done;
}

static const void *take(Plain *in, size_t size) {
  const void *bytes = in->bytes + in->read;
  in->read += size;
  return bytes;
}

static void push_float(lua_State *L, double number, bool whole) {
#if LUA_VERSION_NUM >= 503
  if (whole && number >= -0x1p53 && number <= 0x1p53 &&
      floor(number) == number) {
    lua_pushinteger(L, (lua_Integer)number);
    return;
  }
#endif
  (void)whole;
  lua_pushnumber(L, number);
}

static void push_table(lua_State *L, Plain *in, bool whole) {
  int32_t sizes[2];
  luaL_checkstack(L, 6, "tables nested too deep");
  memcpy(sizes, take(in, sizeof sizes), sizeof sizes);
  int list = sizes[1] < sizes[0] ? sizes[1] : sizes[0];
  lua_createtable(L, list, sizes[0] - list);
  for (int32_t i = 0; i < sizes[0]; i++) {
    plain_decode(L, in, whole);
    plain_decode(L, in, whole);
    lua_rawset(L, -3);
  }
}

static void push_function(lua_State *L, lua_Integer number) {
  lua_createtable(L, 0, 1);
  lua_pushinteger(L, number);
  lua_setfield(L, -2, "function");
}

void plain_decode(lua_State *L, Plain *in, bool whole) {
  int64_t integer;
  double number;
  size_t size;
  switch (*(const unsigned char *)take(in, 1)) {
    case TRUE: lua_pushboolean(L, 1); break;
    case FALSE: lua_pushboolean(L, 0); break;
    case NULL_VALUE: lua_pushlightuserdata(L, NULL); break;
    case INTEGER:
      memcpy(&integer, take(in, sizeof integer), sizeof integer);
      lua_pushinteger(L, (lua_Integer)integer);
      break;
    case FLOAT:
      memcpy(&number, take(in, sizeof number), sizeof number);
      push_float(L, number, whole);
      break;
    case STRING:
      memcpy(&size, take(in, sizeof size), sizeof size);
      lua_pushlstring(L, take(in, size), size);
      break;
    case FUNCTION:
      memcpy(&integer, take(in, sizeof integer), sizeof integer);
      push_function(L, (lua_Integer)integer);
      break;
    case TABLE: push_table(L, in, whole); break;
    default: lua_pushnil(L);
  }
}
