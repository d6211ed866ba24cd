/* Private keys inside JSON files, as clouds hand them out: the key is taken
** out of the text before Lua sees it. */
#include "key.h"

#include <openssl/crypto.h>
#include <string.h>

/* What is read, and where it goes: `out` has room for all of it. */
typedef struct Reader {
  unsigned char *at, *end, *out;
  size_t written;
  Slice key; /* the last one */
  int keys;
} Reader;

static int hex_digit(unsigned char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* \uXXXX after the "\u": only ASCII matters to a PEM. */
static unsigned char unescape_unicode(const unsigned char *at, size_t left) {
  int value = 0;
  for (size_t i = 0; i < 4; i++) {
    int digit = i < left ? hex_digit(at[i]) : -1;
    if (digit < 0) return '?';
    value = value * 16 + digit;
  }
  return value > 0 && value < 128 ? (unsigned char)value : '?';
}

/* Unescapes the inside of a JSON string in place; its new length. */
static size_t unescape(unsigned char *text, size_t size) {
  size_t length = 0;
  for (size_t i = 0; i < size; i++) {
    unsigned char c = text[i];
    if (c == '\\' && i + 1 < size) {
      c = text[++i];
      if (c == 'n') c = '\n';
      if (c == 'r') c = '\r';
      if (c == 't') c = '\t';
      if (c == 'u') {
        c = unescape_unicode(text + i + 1, size - i - 1);
        i += size - i - 1 < 4 ? size - i - 1 : 4;
      }
    }
    text[length++] = c;
  }
  return length;
}

static bool contains(const unsigned char *text, size_t size) {
  static const char mark[] = "PRIVATE KEY";
  for (size_t i = 0; i + sizeof mark - 1 <= size; i++)
    if (memcmp(text + i, mark, sizeof mark - 1) == 0) return true;
  return false;
}

/* The length of the string that begins at a quote, both quotes included. */
static size_t string_size(const unsigned char *at, const unsigned char *end) {
  size_t size = 1, left = (size_t)(end - at);
  while (size < left && at[size] != '"') size += at[size] == '\\' ? 2 : 1;
  return size < left ? size + 1 : left;
}

/* Copies one string, or null where it is a key. */
static void take_string(Reader *reader) {
  size_t size = string_size(reader->at, reader->end);
  unsigned char *out = reader->out + reader->written;
  memcpy(out, reader->at, size);
  unsigned char *inside = reader->at + 1;
  size_t length = unescape(inside, size > 1 ? size - 2 : 0);
  if (contains(inside, length)) {
    reader->keys++;
    reader->key = (Slice){inside, length};
    OPENSSL_cleanse(out, size);
    memcpy(out, "null", 4);
    reader->written += 4;
  } else {
    reader->written += size;
  }
  reader->at += size;
}

/* Copies the text without its keys, which are unescaped where they are. */
static void take_keys(Reader *reader) {
  while (reader->at < reader->end) {
    if (*reader->at == '"')
      take_string(reader);
    else
      reader->out[reader->written++] = *reader->at++;
  }
}

/* pkey.open_json(file) --> text, pkey? | nil, message, code */
int keyjson_open(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  unsigned char *out = lua_newuserdata(L, KEYFILE_MAX);
  Pkey *key = pkey_push(L);
  KeyText text;
  if (!keyfile_read(L, path, &text)) return 3;
  Reader reader = {text.data, text.data + text.size, out, 0, {NULL, 0}, 0};
  take_keys(&reader);
  bool refused = reader.keys > 0 && text.open_to_others;
  if (reader.keys != 1 || refused) keyfile_wipe(&text);
  if (refused) return keyfile_open_to_others(L, path);
  if (reader.keys > 1)
    return engine_fail(L, "bad_key", "%s: more than one private key", path);
  if (reader.keys == 1 &&
      keyfile_take(L, path, key, &text, reader.key, (Slice){NULL, 0}) != 1)
    return 3;
  lua_pushlstring(L, (const char *)out, reader.written);
  if (reader.keys == 0) return 1;
  lua_insert(L, -2);
  return 2;
}
