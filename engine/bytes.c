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

/* How many bytes the character at `at` has, 0 when it is not UTF-8. */
static size_t utf8_length(const unsigned char *at, size_t left) {
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  size_t length = *at < 0xc2 ? 0 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : 4;
  if (length == 0 || *at > 0xf4 || length > left) return 0;
  uint32_t point = *at & (0x7fU >> length);
  for (size_t i = 1; i < length; i++) {
    if ((at[i] & 0xc0) != 0x80) return 0;
    point = point << 6 | (at[i] & 0x3f);
  }
  bool surrogate = point >= 0xd800 && point <= 0xdfff;
  if (point < least[length] || point > 0x10ffff || surrogate) return 0;
  return length;
}

bool engine_is_utf8(Slice text) {
  for (size_t at = 0; at < text.size;) {
    size_t length = 1;
    if (text.data[at] >= 0x80)
      length = utf8_length(text.data + at, text.size - at);
    if (length == 0) return false;
    at += length;
  }
  return true;
}

/* Characters that end a string or a line, or control a terminal. */
static char *put_escaped(char *at, unsigned c) {
  static const char digits[] = "0123456789abcdef";
  static const char from[] = "\"\\\n\r\t", to[] = "\"\\nrt";
  const char *found = c == 0 ? NULL : strchr(from, (int)c);
  *at++ = '\\';
  if (found != NULL) {
    *at++ = to[found - from];
    return at;
  }
  memcpy(at, "u00", 3);
  at[3] = digits[c >> 4];
  at[4] = digits[c & 15];
  return at + 5;
}

static bool is_plain(unsigned char c) {
  return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

size_t engine_plain(const unsigned char *at, size_t size) {
  const uint64_t ones = UINT64_MAX / 255, tops = ones << 7;
  size_t i = 0;
  for (; i + 8 <= size; i += 8) {
    uint64_t word;
    memcpy(&word, at + i, 8);
    uint64_t quote = word ^ (ones * '"'), slash = word ^ (ones * '\\');
    uint64_t delete = word ^ (ones * 0x7f);
    /* A byte's top bit: it is not ASCII, or below 0x20, or was made zero. */
    uint64_t found = word | (word - ones * 0x20) | (quote - ones) |
      (slash - ones) | (delete - ones);
    if ((found & tops) == 0) continue;
    if (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
      return i + (size_t)__builtin_ctzll(found & tops) / 8;
    break;
  }
  while (i < size && is_plain(at[i])) i++;
  return i;
}

/* What put_json needs at most. */
static size_t json_room(Slice text) {
  size_t room = text.size + 2, at = 0;
  if (text.size < 512) return room + text.size * 5;
  while ((at += engine_plain(text.data + at, text.size - at)) < text.size) {
    room += 5;
    at++;
  }
  return room;
}

/* The end of what it wrote; NULL: the text is not UTF-8. */
static char *put_json(char *out, Slice text) {
  const unsigned char *at = text.data, *end = at + text.size;
  while (at < end) {
    size_t plain = engine_plain(at, (size_t)(end - at));
    memcpy(out, at, plain);
    out += plain;
    at += plain;
    if (at == end) break;
    size_t length = *at < 0x80 ? 1 : utf8_length(at, (size_t)(end - at));
    if (length == 0) return NULL;
    if (length == 1 || (*at == 0xc2 && at[1] < 0xa0)) {
      out = put_escaped(out, at[length - 1]);
    } else {
      memcpy(out, at, length);
      out += length;
    }
    at += length;
  }
  return out;
}

/* bytes.json(text) --> JSON string | nil, message, "bad_utf8" */
static int bytes_json(lua_State *L) {
  Room room;
  Slice text = engine_slice(L, 1);
  char *out = engine_room(L, &room, json_room(text));
  char *end = put_json(out + 1, text);
  if (end == NULL) return engine_fail(L, "bad_utf8", "text is not UTF-8");
  *out = *end++ = '"';
  lua_pushlstring(L, out, (size_t)(end - out));
  return 1;
}

/* bytes.has(text, texts) --> boolean */
static int bytes_has(lua_State *L) {
  Slice text = engine_slice(L, 1);
  bool found = false;
  luaL_checktype(L, 2, LUA_TTABLE);
  for (int i = 1; !found; i++) {
    size_t size;
    lua_rawgeti(L, 2, i);
    const char *one = lua_tolstring(L, -1, &size);
    if (one == NULL) break;
    found = memmem(text.data, text.size, one, size) != NULL;
    lua_pop(L, 1);
  }
  lua_pushboolean(L, found);
  return 1;
}

/* bytes.is_printable(text) --> boolean */
static int bytes_is_printable(lua_State *L) {
  Slice text = engine_slice(L, 1);
  size_t at = 0;
  bool good = true;
  while (good &&
         (at += engine_plain(text.data + at, text.size - at)) < text.size) {
    unsigned char c = text.data[at];
    size_t length = c < 0x80 ? 1 : utf8_length(text.data + at, text.size - at);
    bool latin_control = c == 0xc2 && length == 2 && text.data[at + 1] < 0xa0;
    good = length > 0 && c >= 0x20 && c != 0x7f && !latin_control;
    at += length;
  }
  lua_pushboolean(L, good);
  return 1;
}

/* bytes.is_utf8(text) --> boolean */
static int bytes_is_utf8(lua_State *L) {
  lua_pushboolean(L, engine_is_utf8(engine_slice(L, 1)));
  return 1;
}

static const luaL_Reg BYTES[] = {
  {"base64", bytes_base64},     {"base64url", bytes_base64url},
  {"digest", bytes_digest},     {"has", bytes_has},
  {"hex", bytes_hex},           {"is_printable", bytes_is_printable},
  {"is_utf8", bytes_is_utf8},   {"json", bytes_json},
  {"random", bytes_random},     {"sha256", bytes_sha256},
  {"unbase64", bytes_unbase64}, {NULL, NULL},
};

int engine_open_bytes(lua_State *L) {
  lua_newtable(L);
  luaL_setfuncs(L, BYTES, 0);
  return 1;
}
