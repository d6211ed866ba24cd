/* Go's words for what is wrong with a URI. */
#include "uri.h"

#include <stdio.h>

/* The character at the start of text: its bytes, 0 when it is no UTF-8. */
static size_t character(Part text, unsigned long *code) {
  const unsigned char *s = (const unsigned char *)text.at;
  if (s[0] < 0x80) {
    *code = s[0];
    return 1;
  }
  size_t size = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
  if (s[0] < 0xc2 || s[0] > 0xf4 || text.size < size) return 0;
  *code = s[0] & (0x7fu >> size);
  for (size_t j = 1; j < size; j++) {
    if ((s[j] & 0xc0) != 0x80) return 0;
    *code = *code << 6 | (s[j] & 0x3fu);
  }
  bool overlong = *code < (size == 4 ? 0x10000u : size == 3 ? 0x800u : 0);
  bool surrogate = *code >= 0xd800 && *code < 0xe000;
  return overlong || surrogate || *code > 0x10ffff ? 0 : size;
}

/* Whether Go prints it as it is; code points that are not assigned aside. */
static bool is_printable(unsigned long code) {
  static const unsigned long ranges[][2] = {
    {0x00, 0x1f},     {0x7f, 0xa0},     {0xad, 0xad},     {0x1680, 0x1680},
    {0x2000, 0x200f}, {0x2028, 0x202f}, {0x205f, 0x206f}, {0x3000, 0x3000},
    {0xe000, 0xf8ff}, {0xfeff, 0xfeff}, {0xfff0, 0xfffb}, {0xfffe, 0xffff},
  };
  for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
    if (code >= ranges[i][0] && code <= ranges[i][1]) return false;
  return code < 0xe0000;
}

/* As Go's %q. */
static void add_quoted(luaL_Buffer *out, Part text) {
  static const char *const escapes = "abtnvfr";
  char shown[16];
  luaL_addchar(out, '"');
  while (text.size > 0) {
    unsigned long code;
    size_t size = character(text, &code);
    if (size == 0) {
      snprintf(shown, sizeof shown, "\\x%02x", (unsigned char)text.at[0]);
    } else if (code == '"' || code == '\\') {
      snprintf(shown, sizeof shown, "\\%c", (char)code);
    } else if (is_printable(code)) {
      snprintf(shown, sizeof shown, "%.*s", (int)size, text.at);
    } else if (code >= '\a' && code <= '\r') {
      snprintf(shown, sizeof shown, "\\%c", escapes[code - '\a']);
    } else {
      const char *format = code < 0x80 ? "\\x%02lx"
        : code < 0x10000               ? "\\u%04lx"
                                       : "\\U%08lx";
      snprintf(shown, sizeof shown, format, code);
    }
    luaL_addstring(out, shown);
    text = part_rest(text, size == 0 ? 1 : size);
  }
  luaL_addchar(out, '"');
}

int uri_failed(lua_State *L, const Work *work, Part text) {
  luaL_Buffer out;
  lua_pushnil(L);
  luaL_buffinit(L, &out);
  if (text.at != NULL) {
    luaL_addstring(&out, "parse ");
    add_quoted(&out, text);
    luaL_addstring(&out, ": ");
  }
  luaL_addstring(&out, work->what);
  if (work->after != NULL) {
    add_quoted(&out, work->quote);
    luaL_addstring(&out, work->after);
  }
  luaL_pushresult(&out);
  lua_pushliteral(L, "bad_uri");
  return 3;
}
