/* Compact JWS (RFC 7515) with the algorithms of RFC 7518 and 8037 that a
** token may use: never "none", never HMAC. */
#include "jwk.h"

#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>

#define TOKEN_MAX 65536

typedef struct Algorithm {
  const char *name;
  const char *kind;  /* of the key */
  const char *curve; /* NULL: any size */
  const char *hash;  /* NULL: the key's own way */
  size_t half;       /* of r || s; 0: not ECDSA */
  bool pss;
} Algorithm;

static const Algorithm ALGORITHMS[] = {
  {"RS256", "RSA", NULL, "SHA-256", 0, false},
  {"RS384", "RSA", NULL, "SHA-384", 0, false},
  {"RS512", "RSA", NULL, "SHA-512", 0, false},
  {"ES256", "EC", "P-256", "SHA-256", 32, false},
  {"ES384", "EC", "P-384", "SHA-384", 48, false},
  {"ES512", "EC", "P-521", "SHA-512", 66, false},
  {"PS256", "RSA", NULL, "SHA-256", 0, true},
  {"PS384", "RSA", NULL, "SHA-384", 0, true},
  {"PS512", "RSA", NULL, "SHA-512", 0, true},
  {"EdDSA", "Ed25519", NULL, NULL, 0, false},
};

static const Algorithm *find_algorithm(const char *name) {
  for (size_t i = 0; i < sizeof ALGORITHMS / sizeof *ALGORITHMS; i++)
    if (strcmp(name, ALGORITHMS[i].name) == 0) return &ALGORITHMS[i];
  return NULL;
}

static bool fits(const Algorithm *algorithm, Pkey *key) {
  const KeyShape *shape = key_shape(key);
  if (strcmp(shape->kind, algorithm->kind) != 0) return false;
  return algorithm->curve == NULL || strcmp(shape->name, algorithm->curve) == 0;
}

/* The algorithm named at index, for the key; NULL with nil, message, code
** pushed. */
static const Algorithm *check_algorithm(lua_State *L, int index, Pkey *key) {
  size_t size;
  const char *name = luaL_checklstring(L, index, &size);
  const Algorithm *algorithm =
    strlen(name) == size ? find_algorithm(name) : NULL;
  if (algorithm == NULL) {
    engine_fail(L, "unknown_algorithm",
                "algorithm \"%.40s\" is not one that tokens may use", name);
    return NULL;
  }
  if (fits(algorithm, key)) return algorithm;
  const KeyShape *shape = key_shape(key);
  engine_fail(L, "wrong_key", "algorithm %s does not fit a key of kind %s",
              name, shape->name == NULL ? shape->kind : shape->name);
  return NULL;
}

/* Adds a decoded part to the table on the top. */
static bool set_part(lua_State *L, const char *name, Slice text) {
  size_t size;
  Room room;
  unsigned char *bytes = engine_room(L, &room, text.size / 4 * 3 + 3);
  bool good = base64_decode(text, BASE64_WEB, bytes, &size);
  if (good) {
    lua_pushlstring(L, (const char *)bytes, size);
    lua_setfield(L, -3, name);
  }
  lua_pop(L, 1);
  return good;
}

static const unsigned char *find_dot(const unsigned char *at,
                                     const unsigned char *end) {
  return memchr(at, '.', (size_t)(end - at));
}

/* jws.parse(token) --> parts | nil, message, "bad_token" */
static int jws_parse(lua_State *L) {
  static const char *const names[] = {"header", "payload", "signature"};
  static const char *const code = "bad_token";
  Slice token = engine_slice(L, 1), part = token;
  const unsigned char *end = token.data + token.size;
  if (token.size > TOKEN_MAX)
    return engine_fail(L, code, "token is longer than %d bytes", TOKEN_MAX);
  const unsigned char *first = find_dot(token.data, end);
  const unsigned char *second = first == NULL ? NULL : find_dot(first + 1, end);
  if (second == NULL || find_dot(second + 1, end) != NULL)
    return engine_fail(L, code, "token must have 3 parts");
  const unsigned char *const ends[] = {first, second, end};
  lua_createtable(L, 0, 4);
  for (int i = 0; i < 3; i++) {
    const unsigned char *dot = ends[i];
    part.size = (size_t)(dot - part.data);
    if (!set_part(L, names[i], part))
      return engine_fail(L, code, "token's %s is not base64url", names[i]);
    part.data = dot + 1;
    if (i == 1) {
      lua_pushlstring(L, (const char *)token.data, (size_t)(dot - token.data));
      lua_setfield(L, -2, "input");
    }
  }
  return 1;
}

static Slice check_part(lua_State *L, const char *name) {
  lua_getfield(L, 1, name);
  if (lua_type(L, -1) != LUA_TSTRING)
    luaL_error(L, "field \"%s\" must be a string", name);
  return engine_slice(L, -1);
}

/* r || s as ECDSA-Sig-Value ::= SEQUENCE { r INTEGER, s INTEGER }. */
static Slice raw_to_der(lua_State *L, DerWriter *opened, Slice raw) {
  size_t half = raw.size / 2;
  DerWriter *writer = der_writer_open(L, opened);
  der_put_unsigned(L, writer, (Slice){raw.data + half, half});
  der_put_unsigned(L, writer, (Slice){raw.data, half});
  der_wrap(L, writer, DER_SEQUENCE, 0);
  return der_written(writer);
}

/* jws.verify(parts, key, algorithm) --> true | nil, message, code */
static int jws_verify(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  Pkey *key = pkey_check(L, 2);
  const Algorithm *algorithm = check_algorithm(L, 3, key);
  if (algorithm == NULL) return 3;
  Slice input = check_part(L, "input"), signature = check_part(L, "signature");
  DerWriter written;
  bool good = algorithm->half == 0 || signature.size == 2 * algorithm->half;
  if (good && algorithm->half != 0)
    signature = raw_to_der(L, &written, signature);
  if (!good ||
      !pkey_verifies(key, algorithm->hash, algorithm->pss, input, signature))
    return engine_fail(L, "bad_signature", "token's signature is wrong");
  lua_pushboolean(L, 1);
  return 1;
}

static void push_base64url(lua_State *L, Slice bytes) {
  Room room;
  char *text = engine_room(L, &room, (bytes.size + 2) / 3 * 4);
  lua_pushlstring(L, text, base64_encode(bytes, true, text));
  lua_remove(L, -2);
}

/* Integers of an ECDSA-Sig-Value, each `half` bytes long. */
static bool der_to_raw(Slice der, size_t half, unsigned char *raw) {
  Slice body;
  if (!der_take(&der, DER_SEQUENCE, &body)) return false;
  memset(raw, 0, half * 2);
  for (int i = 1; i <= 2; i++) {
    Slice number;
    if (!der_take_unsigned(&body, &number) || number.size > half) return false;
    memcpy(raw + half * (size_t)i - number.size, number.data, number.size);
  }
  return true;
}

/* What jws_sign keeps on the stack. */
enum { HEADER = 1, PAYLOAD, KEY, NAME, INPUT };

static int finish_token(lua_State *L, Slice signature) {
  unsigned char raw[2 * 66];
  const Algorithm *algorithm = find_algorithm(lua_tostring(L, NAME));
  if (algorithm->half != 0) {
    if (!der_to_raw(signature, algorithm->half, raw))
      return engine_fail(L, "sign_failed", "signature is not ECDSA's");
    signature = (Slice){raw, 2 * algorithm->half};
  }
  lua_pushvalue(L, INPUT);
  lua_pushliteral(L, ".");
  push_base64url(L, signature);
  lua_concat(L, 3);
  return 1;
}

/* RSASSA-PSS in software; salt as long as the hash (RFC 7518 3.5). */
static int sign_pss(lua_State *L, const Pkey *key, const Algorithm *algorithm,
                    Slice input) {
  unsigned char signature[SIGNATURE_MAX];
  size_t size = sizeof signature;
  EVP_PKEY_CTX *settings = NULL; /* the digest context's own */
  EVP_MD_CTX *context = EVP_MD_CTX_new();
  bool good = context != NULL &&
    EVP_DigestSignInit(context, &settings, digest_named(algorithm->hash), NULL,
                       key->key) == 1 &&
    EVP_PKEY_CTX_set_rsa_padding(settings, RSA_PKCS1_PSS_PADDING) == 1 &&
    EVP_PKEY_CTX_set_rsa_pss_saltlen(settings, RSA_PSS_SALTLEN_DIGEST) == 1 &&
    EVP_DigestSign(context, signature, &size, input.data, input.size) == 1;
  EVP_MD_CTX_free(context);
  if (!good) return engine_ssl_fail(L, "sign_failed", "cannot sign");
  return finish_token(L, (Slice){signature, size});
}

/* jws.sign(header, payload, key, algorithm) --> token | nil, message, code */
static int jws_sign(lua_State *L) {
  Slice header = engine_slice(L, HEADER), payload = engine_slice(L, PAYLOAD);
  Pkey *key = pkey_check(L, KEY);
  const Algorithm *algorithm = check_algorithm(L, NAME, key);
  if (algorithm == NULL) return 3;
  lua_settop(L, NAME);
  push_base64url(L, header);
  lua_pushliteral(L, ".");
  push_base64url(L, payload);
  lua_concat(L, 3);
  Slice input = engine_slice(L, INPUT);
  if (!algorithm->pss)
    return pkey_sign_then(L, KEY, input, algorithm->hash, finish_token);
  if (key->signer != NULL || !key->is_private)
    return engine_fail(L, "not_private", "%s needs a private key in software",
                       algorithm->name);
  return sign_pss(L, key, algorithm, input);
}

int engine_open_jws(lua_State *L) {
  static const luaL_Reg functions[] = {
    {"parse", jws_parse}, {"verify", jws_verify}, {"sign", jws_sign},
    {"key", jwk_key},     {"jwk", jwk_table},     {NULL, NULL},
  };
  luaL_newlib(L, functions);
  return 1;
}
