/* Distinguished names (RFC 5280 4.1.2.4): written from Lua, shown. */
#include "certificate.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <string.h>

typedef struct Attribute {
  const char *name;
  unsigned char number; /* 2.5.4.n */
} Attribute;
static const Attribute ATTRIBUTES[] = {
  {"CN", 3},     {"C", 6},  {"L", 7},   {"ST", 8},
  {"street", 9}, {"O", 10}, {"OU", 11}, {"postalCode", 17},
};
enum { ATTRIBUTE_COUNT = sizeof ATTRIBUTES / sizeof *ATTRIBUTES };

/* As Go decides: PrintableString where its characters allow that. */
static bool is_printable(Slice text) {
  for (size_t i = 0; i < text.size; i++) {
    unsigned char c = text.data[i];
    bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
    bool digit = c >= '0' && c <= '9';
    if (!letter && !digit && (c == 0 || strchr(" '()+,-./:=?", c) == NULL))
      return false;
  }
  return true;
}

/* RelativeDistinguishedName with one attribute, from { name, text }. */
static int put_attribute(lua_State *L, DerWriter *writer, int index,
                         const char *code) {
  size_t mark = der_mark(writer);
  luaL_checktype(L, index, LUA_TTABLE);
  lua_rawgeti(L, index, 1);
  lua_rawgeti(L, index, 2);
  const char *name = luaL_checkstring(L, -2);
  Slice text = engine_slice(L, lua_gettop(L));
  int i = 0;
  while (i < ATTRIBUTE_COUNT && strcmp(name, ATTRIBUTES[i].name) != 0) i++;
  if (i == ATTRIBUTE_COUNT)
    return luaL_error(L, "unknown subject attribute \"%s\"", name);
  if (text.size == 0 || !engine_is_utf8(text))
    return engine_fail(L, code, "subject %s: empty or not UTF-8", name);
  unsigned tag = is_printable(text) ? DER_PRINTABLE_STRING : DER_UTF8_STRING;
  unsigned char oid[] = {0x55, 0x04, ATTRIBUTES[i].number};
  der_put_value(L, writer, tag, text);
  der_put_value(L, writer, DER_OID, (Slice){oid, sizeof oid});
  der_wrap(L, writer, DER_SEQUENCE, mark);
  der_wrap(L, writer, DER_SET, mark);
  lua_pop(L, 2);
  return 0;
}

int name_put(lua_State *L, DerWriter *writer, int index, const char *code) {
  size_t mark = der_mark(writer);
  if (!lua_isnil(L, index)) luaL_checktype(L, index, LUA_TTABLE);
  int count = lua_isnil(L, index) ? 0 : (int)lua_rawlen(L, index);
  for (int i = count; i >= 1; i--) {
    lua_rawgeti(L, index, i);
    int failed = put_attribute(L, writer, lua_gettop(L), code);
    if (failed != 0) return failed;
    lua_pop(L, 1);
  }
  der_wrap(L, writer, DER_SEQUENCE, mark);
  return 0;
}

void name_push(lua_State *L, Slice name) {
  const unsigned char *in = name.data;
  X509_NAME *parsed = d2i_X509_NAME(NULL, &in, (long)name.size);
  BIO *bio = BIO_new(BIO_s_mem());
  unsigned long flags = XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB;
  char *text = NULL;
  long size = 0;
  if (parsed != NULL && bio != NULL &&
      X509_NAME_print_ex(bio, parsed, 0, flags) >= 0)
    size = BIO_get_mem_data(bio, &text);
  lua_pushlstring(L, text == NULL ? "" : text, (size_t)size);
  BIO_free(bio);
  X509_NAME_free(parsed);
  ERR_clear_error();
}
