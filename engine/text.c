/* Text: whether it is UTF-8, and how JSON writes it. */
#include "engine.h"

#include <stdio.h>
#include <string.h>

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

/* Sixteen bytes at once, on any processor. */
typedef signed char Sixteen __attribute__((vector_size(16)));

/* As engine_plain, but it may stop too early. */
static size_t plain_sixteens(const unsigned char *at, size_t size) {
  size_t i = 0;
  for (; i + 16 <= size; i += 16) {
    Sixteen word;
    uint64_t halves[2];
    memcpy(&word, at + i, 16);
    /* What is not ASCII is less than 0. */
    Sixteen found =
      (word < 0x20) | (word == '"') | (word == '\\') | (word == 0x7f);
    memcpy(halves, &found, 16);
    if ((halves[0] | halves[1]) != 0) break;
  }
  return i;
}

size_t engine_plain(const unsigned char *at, size_t size) {
  const uint64_t ones = UINT64_MAX / 255, tops = ones << 7;
  size_t i = plain_sixteens(at, size);
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
int text_json(lua_State *L) {
  Room room;
  Slice text = engine_slice(L, 1);
  char *out = engine_room(L, &room, json_room(text));
  char *end = put_json(out + 1, text);
  if (end == NULL) return engine_fail(L, "bad_utf8", "text is not UTF-8");
  *out = *end++ = '"';
  lua_pushlstring(L, out, (size_t)(end - out));
  return 1;
}

/* One member's value without its end; NULL: not one that is written here. */
static char *put_value(lua_State *L, int at, char *out, size_t room,
                       size_t limit) {
  Slice text = {NULL, 0};
  switch (lua_type(L, at)) {
    case LUA_TSTRING:
      text.data = (const unsigned char *)lua_tolstring(L, at, &text.size);
      if (text.size > limit || json_room(text) > room) return NULL;
      *out = '"';
      out = put_json(out + 1, text);
      if (out != NULL) *out++ = '"';
      return out;
    case LUA_TBOOLEAN:
      return out + snprintf(out, room, lua_toboolean(L, at) ? "true" : "false");
    case LUA_TNUMBER: {
      lua_Number number = lua_tonumber(L, at);
      if (!(number > -1e15 && number < 1e15) ||
          number != (lua_Number)(int64_t)number)
        return NULL;
      return out + snprintf(out, room, "%.0f", number);
    }
    default: return NULL;
  }
}

static int count_fields(lua_State *L, int at) {
  int count = 0;
  lua_pushnil(L);
  while (lua_next(L, at) != 0) {
    count++;
    lua_pop(L, 1);
  }
  return count;
}

/* bytes.json_members(fields, names, limit) --> text | nil */
int text_json_members(lua_State *L) {
  const size_t least = 64; /* for what is no string, and around a name */
  char bytes[4096], *out = bytes, *end = bytes + sizeof bytes;
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checktype(L, 2, LUA_TTABLE);
  size_t limit = (size_t)luaL_checkinteger(L, 3);
  int count = (int)lua_rawlen(L, 2);
  bool good = count_fields(L, 1) == count;
  for (int i = 1; good && i <= count; i++) {
    Slice name;
    lua_rawgeti(L, 2, i);
    name.data = (const unsigned char *)luaL_checklstring(L, -1, &name.size);
    good = name.size + least < (size_t)(end - out) &&
      engine_plain(name.data, name.size) == name.size;
    if (!good) break;
    *out++ = ',';
    *out++ = '"';
    memcpy(out, name.data, name.size);
    out += name.size;
    *out++ = '"';
    *out++ = ':';
    lua_rawget(L, 1);
    out = put_value(L, -1, out, (size_t)(end - out), limit);
    good = out != NULL;
    lua_pop(L, 1);
  }
  if (!good) return 0;
  lua_pushlstring(L, bytes, (size_t)(out - bytes));
  return 1;
}

/* bytes.is_printable(text [, most]) --> boolean */
int text_is_printable(lua_State *L) {
  Slice text = engine_slice(L, 1);
  size_t at = 0;
  bool good = text.size <= (size_t)luaL_optinteger(L, 2, LUA_MAXINTEGER);
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

/* bytes.is_ascii(text) --> boolean */
int text_is_ascii(lua_State *L) {
  Slice text = engine_slice(L, 1);
  unsigned char all = 0;
  for (size_t i = 0; i < text.size; i++) all |= text.data[i];
  lua_pushboolean(L, all < 0x80);
  return 1;
}

/* bytes.is_utf8(text) --> boolean */
int text_is_utf8(lua_State *L) {
  lua_pushboolean(L, engine_is_utf8(engine_slice(L, 1)));
  return 1;
}
