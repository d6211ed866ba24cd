/* JSON Web Keys (RFC 7517, 7518 section 6, 8037) and keys, both ways. */
#include "jwk.h"

#include <string.h>

#define RSA_LEAST 2048
#define RSA_MOST 8192
#define MEMBER_MAX 2048 /* a modulus of 8192 bits is 1366 characters */

static const char bad[] = "bad_key";

/* A member of the JWK at index 1 as bytes, in `out`; what it lacks or what
** is not base64url gives a size of 0. */
static Slice member(lua_State *L, const char *name, unsigned char *out) {
  Slice bytes = {out, 0};
  lua_getfield(L, 1, name);
  if (lua_type(L, -1) == LUA_TSTRING) {
    Slice text = engine_slice(L, -1);
    if (text.size > MEMBER_MAX ||
        !base64_decode(text, BASE64_WEB, out, &bytes.size))
      bytes.size = 0;
  }
  lua_pop(L, 1);
  return bytes;
}

/* A member that is text without NUL, or "". Stays on the stack. */
static const char *word(lua_State *L, const char *name) {
  lua_getfield(L, 1, name);
  if (lua_type(L, -1) != LUA_TSTRING) return "";
  const char *text = lua_tostring(L, -1);
  return strlen(text) == lua_rawlen(L, -1) ? text : "";
}

static int push_key(lua_State *L, Slice spki) {
  if (pkey_push_spki(L, spki)) return 1;
  return engine_fail(L, bad, "JWK is not a public key");
}

/* EC: the curve's prefix ends in 04, then come the coordinates in full
** length (RFC 7518 6.2.1.2). */
static int key_from_point(lua_State *L) {
  unsigned char x[MEMBER_MAX], y[MEMBER_MAX], spki[192];
  const char *curve = word(L, "crv");
  const KeyShape *shape = spki_named(curve);
  if (shape == NULL || shape->group == NULL || shape->bits < 256)
    return engine_fail(L, bad, "JWK of curve \"%.40s\" cannot be used", curve);
  Slice left = member(L, "x", x), right = member(L, "y", y);
  size_t half = (shape->size - shape->prefix_size) / 2;
  if (left.size != half || right.size != half)
    return engine_fail(L, bad, "JWK needs x and y of %d bytes", (int)half);
  memcpy(spki, shape->prefix, shape->prefix_size);
  memcpy(spki + shape->prefix_size, x, half);
  memcpy(spki + shape->prefix_size + half, y, half);
  return push_key(L, (Slice){spki, shape->size});
}

static int key_from_octets(lua_State *L) {
  unsigned char x[MEMBER_MAX], spki[64];
  const char *curve = word(L, "crv");
  if (strcmp(curve, "Ed25519") != 0)
    return engine_fail(L, bad, "JWK of curve \"%.40s\" cannot be used", curve);
  const KeyShape *shape = spki_named(curve);
  Slice key = member(L, "x", x);
  if (key.size != shape->size - shape->prefix_size)
    return engine_fail(L, bad, "JWK needs an x of 32 bytes");
  memcpy(spki, shape->prefix, shape->prefix_size);
  memcpy(spki + shape->prefix_size, x, key.size);
  return push_key(L, (Slice){spki, shape->size});
}

static Slice without_zeros(Slice number) {
  while (number.size > 0 && number.data[0] == 0) {
    number.data++;
    number.size--;
  }
  return number;
}

static int key_from_modulus(lua_State *L) {
  unsigned char n[MEMBER_MAX], e[MEMBER_MAX];
  Slice modulus = without_zeros(member(L, "n", n));
  Slice exponent = without_zeros(member(L, "e", e));
  int bits = modulus.size == 0 ? 0 : spki_rsa_bits(modulus);
  if (bits < RSA_LEAST || bits > RSA_MOST)
    return engine_fail(L, bad, "JWK of RSA needs %d to %d bits, not %d",
                       RSA_LEAST, RSA_MOST, bits);
  if (exponent.size == 0 || exponent.size > 4 ||
      (exponent.data[exponent.size - 1] & 1) == 0 ||
      (exponent.size == 1 && exponent.data[0] < 3))
    return engine_fail(L, bad, "JWK of RSA has no usable exponent");
  DerWriter opened, *writer = der_writer_open(L, &opened);
  spki_put_rsa(L, writer, modulus, exponent);
  return push_key(L, der_written(writer));
}

int jwk_key(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  const char *kind = word(L, "kty");
  if (strcmp(kind, "EC") == 0) return key_from_point(L);
  if (strcmp(kind, "RSA") == 0) return key_from_modulus(L);
  if (strcmp(kind, "OKP") == 0) return key_from_octets(L);
  return engine_fail(L, bad, "JWK of type \"%.40s\" cannot verify a token",
                     kind);
}

static void set_word(lua_State *L, const char *name, const char *text) {
  lua_pushstring(L, text);
  lua_setfield(L, -2, name);
}

static void set_bytes(lua_State *L, const char *name, Slice bytes) {
  char *text = lua_newuserdata(L, (bytes.size + 2) / 3 * 4 + 1);
  lua_pushlstring(L, text, base64_encode(bytes, true, text));
  lua_setfield(L, -3, name);
  lua_pop(L, 1);
}

int jwk_table(lua_State *L) {
  Pkey *key = pkey_check(L, 1);
  const KeyShape *shape = key_shape(key);
  Slice bits, modulus, exponent, spki = pkey_spki(key);
  if (pkey_object(key) == NULL || !spki_bits(spki, &bits))
    return luaL_argerror(L, 1, "key that can be used expected");
  lua_newtable(L);
  if (strcmp(shape->kind, "EC") == 0) {
    size_t half = bits.size / 2; /* of 04 || x || y */
    set_word(L, "kty", "EC");
    set_word(L, "crv", shape->name);
    set_bytes(L, "x", (Slice){bits.data + 1, half});
    set_bytes(L, "y", (Slice){bits.data + 1 + half, half});
  } else if (strcmp(shape->kind, "RSA") == 0 &&
             spki_rsa(spki, &modulus, &exponent)) {
    set_word(L, "kty", "RSA");
    set_bytes(L, "n", modulus);
    set_bytes(L, "e", exponent);
  } else {
    set_word(L, "kty", "OKP");
    set_word(L, "crv", shape->name);
    set_bytes(L, "x", bits);
  }
  return 1;
}
