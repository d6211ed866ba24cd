/* Strings of bytes: base64, hexadecimal, hash, random, UTF-8. */
#include "engine.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <string.h>

Slice engine_slice(lua_State *L, int index) {
  Slice slice;
  slice.data = (const unsigned char *)luaL_checklstring(L, index, &slice.size);
  return slice;
}

void *engine_room(lua_State *L, Room *room, size_t size) {
  if (size > sizeof room->few) return lua_newuserdata(L, size);
  lua_pushnil(L);
  return room->few;
}

static int push_base64(lua_State *L, bool web) {
  Room room;
  Slice bytes = engine_slice(L, 1);
  char *text = engine_room(L, &room, (bytes.size + 2) / 3 * 4);
  lua_pushlstring(L, text, base64_encode(bytes, web, text));
  return 1;
}

/* bytes.base64(bytes) --> text */
static int bytes_base64(lua_State *L) {
  return push_base64(L, false);
}

/* bytes.base64url(bytes) --> text */
static int bytes_base64url(lua_State *L) {
  return push_base64(L, true);
}

/* bytes.unbase64(text) --> bytes | nil, message, "bad_base64" */
static int bytes_unbase64(lua_State *L) {
  Slice text = engine_slice(L, 1);
  unsigned allow = BASE64_STANDARD | BASE64_WEB | BASE64_PADDING;
  Room room;
  unsigned char *bytes = engine_room(L, &room, text.size / 4 * 3 + 3);
  size_t size;
  if (!base64_decode(text, allow, bytes, &size))
    return engine_fail(L, "bad_base64", "not base64");
  lua_pushlstring(L, (const char *)bytes, size);
  return 1;
}

void engine_push_hex(lua_State *L, Slice bytes) {
  static const char digits[] = "0123456789abcdef";
  Room room;
  char *text = engine_room(L, &room, bytes.size * 2);
  for (size_t i = 0; i < bytes.size; i++) {
    text[2 * i] = digits[bytes.data[i] >> 4];
    text[2 * i + 1] = digits[bytes.data[i] & 15];
  }
  lua_pushlstring(L, text, bytes.size * 2);
  lua_remove(L, -2);
}

void engine_push_time(lua_State *L, int64_t seconds) {
#if LUA_VERSION_NUM >= 503
  lua_pushinteger(L, seconds);
#else
  lua_pushnumber(L, (lua_Number)seconds);
#endif
}

/* bytes.hex(bytes) --> text */
static int bytes_hex(lua_State *L) {
  engine_push_hex(L, engine_slice(L, 1));
  return 1;
}

/* bytes.digest(bytes, hash) --> digest */
static int bytes_digest(lua_State *L) {
  static const char *const names[] = {"SHA-256", "SHA-384", "SHA-512", NULL};
  Slice bytes = engine_slice(L, 1);
  const char *name = names[luaL_checkoption(L, 2, NULL, names)];
  unsigned char digest[EVP_MAX_MD_SIZE];
  size_t size;
  if (!digest_make(name, bytes, digest, &size))
    return luaL_error(L, "%s failed", name);
  lua_pushlstring(L, (const char *)digest, size);
  return 1;
}

/* bytes.sha256(bytes) --> digest */
static int bytes_sha256(lua_State *L) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  size_t size;
  if (!digest_make("SHA-256", engine_slice(L, 1), digest, &size))
    return luaL_error(L, "SHA-256 is not available");
  lua_pushlstring(L, (const char *)digest, size);
  return 1;
}

/* bytes.random(n) --> bytes */
static int bytes_random(lua_State *L) {
  unsigned char bytes[4096];
  lua_Integer size = luaL_checkinteger(L, 1);
  luaL_argcheck(L, size >= 1 && size <= 4096, 1, "1 to 4096 bytes");
  if (RAND_priv_bytes(bytes, (int)size) != 1)
    return luaL_error(L, "no random bytes to be had");
  lua_pushlstring(L, (const char *)bytes, (size_t)size);
  OPENSSL_cleanse(bytes, (size_t)size);
  return 1;
}

/* bytes.has(text, texts) --> boolean */
static int bytes_has(lua_State *L) {
  enum { MOST = 16 }; /* each is looked for in all of the text */
  Slice text = engine_slice(L, 1);
  bool found = false;
  luaL_checktype(L, 2, LUA_TTABLE);
  int count = (int)lua_rawlen(L, 2);
  luaL_argcheck(L, count <= MOST, 2, "more than 16 texts");
  for (int i = 1; i <= count; i++) {
    size_t size;
    lua_rawgeti(L, 2, i);
    luaL_argcheck(L, lua_type(L, -1) == LUA_TSTRING && lua_rawlen(L, -1) > 0, 2,
                  "a list of texts, none of them empty");
    const char *one = lua_tolstring(L, -1, &size);
    found = found || memmem(text.data, text.size, one, size) != NULL;
    lua_pop(L, 1);
  }
  lua_pushboolean(L, found);
  return 1;
}

static const luaL_Reg BYTES[] = {
  {"base64", bytes_base64},
  {"base64url", bytes_base64url},
  {"digest", bytes_digest},
  {"gunzip", bytes_gunzip},
  {"has", bytes_has},
  {"hex", bytes_hex},
  {"is_ascii", text_is_ascii},
  {"is_printable", text_is_printable},
  {"is_utf8", text_is_utf8},
  {"json", text_json},
  {"json_members", text_json_members},
  {"random", bytes_random},
  {"sha256", bytes_sha256},
  {"unbase64", bytes_unbase64},
  {NULL, NULL},
};

int engine_open_bytes(lua_State *L) {
  lua_newtable(L);
  luaL_setfuncs(L, BYTES, 0);
  return 1;
}
