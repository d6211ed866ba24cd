/* keyUsage and extKeyUsage (RFC 5280 4.2.1.3, 4.2.1.12), by name. */
#include "certificate.h"

/* In the order of their bits. */
static const char *const KEY_USAGES[] = {
  "digital_signature", "content_commitment",
  "key_encipherment",  "data_encipherment",
  "key_agreement",     "cert_sign",
  "crl_sign",          "encipher_only",
  "decipher_only",     NULL};
enum { KEY_USAGE_COUNT = 9 };

typedef struct Purpose {
  const char *name;
  Slice oid;
} Purpose;
#define ID_KP "\x2b\x06\x01\x05\x05\x07\x03"
#define PURPOSE(name, bytes) \
  { \
    name, { \
      (const unsigned char *)(bytes), sizeof(bytes) - 1 \
    } \
  }
static const Purpose PURPOSES[] = {
  PURPOSE("server_auth", ID_KP "\x01"),
  PURPOSE("client_auth", ID_KP "\x02"),
  PURPOSE("code_signing", ID_KP "\x03"),
  PURPOSE("email_protection", ID_KP "\x04"),
  PURPOSE("time_stamping", ID_KP "\x08"),
  PURPOSE("ocsp_signing", ID_KP "\x09"),
  PURPOSE("any", "\x55\x1d\x25\x00"),
};
enum { PURPOSE_COUNT = sizeof PURPOSES / sizeof *PURPOSES };

void usage_put_key(lua_State *L, DerWriter *writer, int index) {
  unsigned bits = 0;
  int last = -1;
  for (int i = 1; i <= (int)lua_rawlen(L, index); i++) {
    lua_rawgeti(L, index, i);
    Slice name = engine_slice(L, lua_gettop(L));
    int bit = 0;
    while (bit < KEY_USAGE_COUNT && !slice_is(name, KEY_USAGES[bit])) bit++;
    if (bit == KEY_USAGE_COUNT)
      luaL_error(L, "unknown key usage \"%s\"", name.data);
    bits |= 0x8000U >> bit;
    if (bit > last) last = bit;
    lua_pop(L, 1);
  }
  unsigned char content[3] = {(unsigned char)(7 - last % 8),
                              (unsigned char)(bits >> 8), (unsigned char)bits};
  if (last < 0) content[0] = 0;
  size_t size = last < 0 ? 1 : last < 8 ? 2 : 3;
  der_put_value(L, writer, DER_BIT_STRING, (Slice){content, size});
}

void usage_push_key(lua_State *L, Slice list) {
  Extension extension;
  Slice value, bits;
  lua_newtable(L);
  if (!extension_find(list, OID_KEY_USAGE, &extension)) return;
  value = extension.value;
  if (!der_take(&value, DER_BIT_STRING, &bits)) return;
  for (int bit = 0, count = 0; bit < KEY_USAGE_COUNT; bit++) {
    size_t byte = 1 + (size_t)bit / 8;
    if (byte >= bits.size || !(bits.data[byte] & 0x80 >> bit % 8)) continue;
    lua_pushstring(L, KEY_USAGES[bit]);
    lua_rawseti(L, -2, ++count);
  }
}

/* Purposes are "code_signing" and the like, or an OID in dots. */
static void put_purpose(lua_State *L, DerWriter *writer, int index) {
  unsigned char bytes[OID_MAX];
  Slice oid, text = engine_slice(L, index);
  for (int i = 0; i < PURPOSE_COUNT; i++) {
    oid = PURPOSES[i].oid;
    if (slice_is(text, PURPOSES[i].name)) break;
    oid.size = 0;
  }
  if (oid.size == 0) oid = (Slice){bytes, oid_encode(text, bytes)};
  if (oid.size == 0) luaL_error(L, "unknown key usage \"%s\"", text.data);
  der_put_value(L, writer, DER_OID, oid);
}

void usage_put_extended(lua_State *L, DerWriter *writer, int index) {
  size_t mark = der_mark(writer);
  for (int i = (int)lua_rawlen(L, index); i >= 1; i--) {
    lua_rawgeti(L, index, i);
    put_purpose(L, writer, lua_gettop(L));
    lua_pop(L, 1);
  }
  der_wrap(L, writer, DER_SEQUENCE, mark);
}

static void push_purpose(lua_State *L, Slice oid) {
  for (int i = 0; i < PURPOSE_COUNT; i++) {
    if (!slice_equal(oid, PURPOSES[i].oid)) continue;
    lua_pushstring(L, PURPOSES[i].name);
    return;
  }
  if (!oid_push(L, oid)) lua_pushliteral(L, "malformed");
}

void usage_push_extended(lua_State *L, Slice list) {
  Extension extension;
  Slice body, oid;
  lua_newtable(L);
  if (!extension_find(list, OID_EXTENDED_KEY_USAGE, &extension)) return;
  if (!der_take(&extension.value, DER_SEQUENCE, &body)) return;
  for (int count = 1; der_take(&body, DER_OID, &oid); count++) {
    push_purpose(L, oid);
    lua_rawseti(L, -2, count);
  }
}
