/* Keys, as Lua sees them. */
#include "key.h"
#include "pem.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

/* pkey_sign_then needs to come back after a coroutine has slept. Where Lua
** cannot do that (LuaJIT) a signer does not yield either. */
#if LUA_VERSION_NUM >= 503
#define CALL_THEN(L, arguments, results, context, then) \
  (lua_callk((L), (arguments), (results), (context), (then)), \
   (then)((L), LUA_OK, (context)))
#else
typedef intptr_t lua_KContext;
#define CALL_THEN(L, arguments, results, context, then) \
  (lua_call((L), (arguments), (results)), (then)((L), 0, (context)))
#endif

static const char *const HASHES[] = {"SHA-256", "SHA-384", "SHA-512", NULL};

Pkey *pkey_push(lua_State *L) {
  Pkey *key = lua_newuserdata(L, sizeof *key);
  memset(key, 0, sizeof *key);
  key->signer_ref = LUA_NOREF;
  luaL_setmetatable(L, PKEY_TYPE);
  return key;
}

Pkey *pkey_check(lua_State *L, int index) {
  return luaL_checkudata(L, index, PKEY_TYPE);
}

bool key_keep_spki(Pkey *key, Slice spki) {
  key->spki = OPENSSL_memdup(spki.data, spki.size);
  key->spki_size = key->spki == NULL ? 0 : spki.size;
  return key->spki != NULL;
}

bool pkey_push_spki(lua_State *L, Slice spki) {
  const KeyShape *shape = spki_shape(spki);
  Pkey *key = pkey_push(L);
  EVP_PKEY *lent;
  KeyUse *use;
  bool good = shape->group != NULL ? curve_lend(shape, spki, &lent, &use)
                                   : (key->key = pkey_from_spki(spki)) != NULL;
  if (good && key_keep_spki(key, spki)) return true;
  ERR_clear_error();
  lua_pop(L, 1);
  return false;
}

EVP_PKEY *pkey_object(Pkey *key) {
  if (key->key == NULL && key->spki != NULL)
    key->key = pkey_from_spki(pkey_spki(key));
  return key->key;
}

Slice pkey_spki(Pkey *key) {
  if (key->spki == NULL && key->key != NULL) {
    int size = i2d_PUBKEY(key->key, &key->spki);
    key->spki_size = size < 0 ? 0 : (size_t)size;
  }
  return (Slice){key->spki, key->spki_size};
}

const KeyShape *key_shape(Pkey *key) {
  if (key->shape == NULL) key->shape = spki_shape(pkey_spki(key));
  return key->shape;
}

int key_bits(Pkey *key) {
  Slice modulus, exponent;
  int bits = key_shape(key)->bits;
  if (bits != 0 || !spki_rsa(pkey_spki(key), &modulus, &exponent)) return bits;
  return spki_rsa_bits(modulus);
}

void pkey_id(Pkey *key, unsigned char id[20]) {
  unsigned char digest[EVP_MAX_MD_SIZE] = {0};
  Slice bits = {digest, 0};
  size_t size;
  spki_bits(pkey_spki(key), &bits);
  digest_make("SHA-1", bits, digest, &size);
  memcpy(id, digest, 20);
}

/* PKCS#1's RSAPublicKey in a SubjectPublicKeyInfo. */
static Slice wrap_rsa(lua_State *L, DerWriter *opened, Slice rsa) {
  static const unsigned char algorithm[] = {0x30, 0x0d, 0x06, 0x09, 0x2a,
                                            0x86, 0x48, 0x86, 0xf7, 0x0d,
                                            0x01, 0x01, 0x01, 0x05, 0x00};
  DerWriter *writer = der_writer_open(L, opened);
  der_put(L, writer, rsa);
  der_put_byte(L, writer, 0);
  der_wrap(L, writer, DER_BIT_STRING, 0);
  der_put(L, writer, (Slice){algorithm, sizeof algorithm});
  der_wrap(L, writer, DER_SEQUENCE, 0);
  return der_written(writer);
}

/* pkey.parse(bytes) --> pkey | nil, message, code */
static int pkey_parse(lua_State *L) {
  Slice text = engine_slice(L, 1), label, spki = text;
  Room room;
  DerWriter wrapped;
  unsigned char *der = engine_room(L, &room, text.size / 4 * 3 + 3);
  if (pem_next(&text, &label, der, &spki.size)) {
    spki.data = der;
    if (slice_is(label, "RSA PUBLIC KEY")) {
      spki = wrap_rsa(L, &wrapped, spki);
    } else if (!slice_is(label, "PUBLIC KEY")) {
      return engine_fail(L, "bad_key", "PEM block is no public key");
    }
  }
  if (pkey_push_spki(L, spki)) return 1;
  if (spki_is_unfit(spki))
    return engine_fail(L, "unfit_key", "a key of a kind that nobody may use");
  return engine_fail(L, "bad_key", "not a public key of a kind we know");
}

/* pkey.generate(algorithm) --> pkey | nil, message, "failed" */
static int pkey_generate(lua_State *L) {
  static const char *const names[] = {"P-256",    "P-384",    "P-521",
                                      "RSA-2048", "RSA-3072", "RSA-4096",
                                      "Ed25519",  NULL};
  const char *name = names[luaL_checkoption(L, 1, NULL, names)];
  Pkey *key = pkey_push(L);
  if (*name == 'P') {
    key->key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", name);
  } else if (*name == 'R') {
    size_t bits = (size_t)(name[4] - '0') * 1024;
    key->key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", bits);
  } else {
    key->key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
  }
  if (key->key == NULL)
    return engine_ssl_fail(L, "failed", "cannot make a key");
  key->is_private = true;
  return 1;
}

/* pkey:sign(data, hash?) --> signature | nil, message, code */
static int pkey_sign(lua_State *L) {
  unsigned char signature[SIGNATURE_MAX];
  size_t size = sizeof signature;
  Pkey *key = pkey_check(L, 1);
  Slice data = engine_slice(L, 2);
  const char *hash = NULL;
  if (!lua_isnoneornil(L, 3))
    hash = HASHES[luaL_checkoption(L, 3, NULL, HASHES)];
  lua_settop(L, 3);
  if (!key->is_private)
    return engine_fail(L, "not_private", "a public key cannot sign");
  if (key->signer != NULL) {
    if (hash == NULL) hash = key_shape(key)->hash;
    return key->signer(L, key, data, hash);
  }
  if (!signature_make(key, hash, data, signature, &size))
    return engine_ssl_fail(L, "sign_failed", "cannot sign");
  lua_pushlstring(L, (const char *)signature, size);
  return 1;
}

/* On top of the stack: what pkey:sign returned. */
static int after_signing(lua_State *L, int status, lua_KContext finish) {
  (void)status;
  if (lua_isnil(L, -3)) return 3;
  Slice signature;
  signature.data = (const unsigned char *)lua_tolstring(L, -3, &signature.size);
  return ((PkeyFinish)finish)(L, signature);
}

int pkey_sign_then(lua_State *L, int index, Slice data, const char *hash,
                   PkeyFinish finish) {
  unsigned char signature[SIGNATURE_MAX];
  size_t size = sizeof signature;
  Pkey *key = pkey_check(L, index);
  if (key->is_private && key->signer == NULL) {
    if (!signature_make(key, hash, data, signature, &size))
      return engine_ssl_fail(L, "sign_failed", "cannot sign");
    return finish(L, (Slice){signature, size});
  }
  lua_pushvalue(L, index);
  lua_pushcfunction(L, pkey_sign);
  lua_insert(L, -2);
  lua_pushlstring(L, (const char *)data.data, data.size);
  lua_pushstring(L, hash);
  return CALL_THEN(L, 3, 3, (lua_KContext)finish, after_signing);
}

/* ECDSA-Sig-Value ::= SEQUENCE { r INTEGER, s INTEGER } (RFC 5480), with
** anything after it: what Go takes for DER and then verifies as such. */
static bool looks_like_der(Slice signature) {
  Slice body, number;
  return der_take(&signature, DER_SEQUENCE, &body) &&
    der_take(&body, DER_INTEGER, &number) &&
    der_take(&body, DER_INTEGER, &number);
}

/* r || s becomes DER; what is neither stays, and will not verify. */
static void raw_to_der(lua_State *L, DerWriter *opened, Slice *signature) {
  size_t half = signature->size / 2;
  if (half == 0 || signature->size % 2 != 0 || signature->size > 132) return;
  DerWriter *writer = der_writer_open(L, opened);
  der_put_unsigned(L, writer, (Slice){signature->data + half, half});
  der_put_unsigned(L, writer, (Slice){signature->data, half});
  der_wrap(L, writer, DER_SEQUENCE, 0);
  *signature = der_written(writer);
}

/* pkey:verify(data, signature, hash?, form?)
**   --> true | nil, message, "bad_signature" */
static int pkey_verify(lua_State *L) {
  static const char *const forms[] = {"der", "any", NULL};
  Pkey *key = pkey_check(L, 1);
  Slice data = engine_slice(L, 2), signature = engine_slice(L, 3);
  const char *hash = NULL;
  DerWriter written;
  if (!lua_isnoneornil(L, 4))
    hash = HASHES[luaL_checkoption(L, 4, NULL, HASHES)];
  bool any = luaL_checkoption(L, 5, "der", forms) == 1;
  if (any && key_shape(key)->group != NULL && !looks_like_der(signature))
    raw_to_der(L, &written, &signature);
  if (pkey_verifies(key, hash, false, data, signature)) {
    lua_pushboolean(L, 1);
    return 1;
  }
  return engine_fail(L, "bad_signature", "the signature does not verify");
}

/* pkey.der(signature) --> an ECDSA signature in DER, of r || s */
static int pkey_der(lua_State *L) {
  Slice signature = engine_slice(L, 1);
  DerWriter written;
  raw_to_der(L, &written, &signature);
  lua_pushlstring(L, (const char *)signature.data, signature.size);
  return 1;
}

/* pkey:spki() --> DER */
static int pkey_spki_der(lua_State *L) {
  Slice spki = pkey_spki(pkey_check(L, 1));
  lua_pushlstring(L, (const char *)spki.data, spki.size);
  return 1;
}

/* pkey:pem() --> PEM of the public key */
static int pkey_pem(lua_State *L) {
  pem_push(L, "PUBLIC KEY", pkey_spki(pkey_check(L, 1)));
  return 1;
}

/* pkey:id() --> 20 bytes */
static int pkey_id_bytes(lua_State *L) {
  unsigned char id[20];
  pkey_id(pkey_check(L, 1), id);
  lua_pushlstring(L, (const char *)id, sizeof id);
  return 1;
}

/* pkey:check() --> true | nil, message, "weak_key" */
static int pkey_check_weak(lua_State *L) {
  const char *reason = weak_reason(pkey_check(L, 1));
  if (reason != NULL) return engine_fail(L, "weak_key", "%s", reason);
  lua_pushboolean(L, 1);
  return 1;
}

static void push_name(lua_State *L, Pkey *key) {
  char name[16];
  const char *fixed = key_shape(key)->name;
  if (fixed != NULL) {
    lua_pushstring(L, fixed);
  } else {
    snprintf(name, sizeof name, "RSA-%d", key_bits(key));
    lua_pushstring(L, name);
  }
}

/* A method, or one of the fields kind, bits, name, private. */
static int pkey_index(lua_State *L) {
  Pkey *key = pkey_check(L, 1);
  lua_pushvalue(L, 2);
  lua_rawget(L, lua_upvalueindex(1));
  if (!lua_isnil(L, -1)) return 1;
  const char *field = luaL_checkstring(L, 2);
  if (strcmp(field, "kind") == 0) {
    lua_pushstring(L, key_shape(key)->kind);
  } else if (strcmp(field, "name") == 0) {
    push_name(L, key);
  } else if (strcmp(field, "bits") == 0) {
    lua_pushinteger(L, key_bits(key));
  } else if (strcmp(field, "private") == 0) {
    lua_pushboolean(L, key->is_private);
  } else {
    lua_pushnil(L);
  }
  return 1;
}

static int pkey_tostring(lua_State *L) {
  Pkey *key = pkey_check(L, 1);
  lua_pushliteral(L, "pkey: ");
  push_name(L, key);
  lua_pushstring(L, key->is_private ? " private" : " public");
  lua_concat(L, 3);
  return 1;
}

void key_clear(Pkey *key) {
  use_end(&key->signing);
  use_end(&key->verifying);
  EVP_PKEY_free(key->key);
  OPENSSL_free(key->spki);
  memset(key, 0, sizeof *key);
}

static int pkey_free(lua_State *L) {
  Pkey *key = pkey_check(L, 1);
  luaL_unref(L, LUA_REGISTRYINDEX, key->signer_ref);
  key_clear(key);
  key->signer_ref = LUA_NOREF;
  return 0;
}

static const luaL_Reg METHODS[] = {
  {"check", pkey_check_weak}, {"id", pkey_id_bytes}, {"pem", pkey_pem},
  {"save", keyfile_save},     {"sign", pkey_sign},   {"spki", pkey_spki_der},
  {"verify", pkey_verify},    {NULL, NULL},
};

static const luaL_Reg PKEY[] = {
  {"der", pkey_der},      {"generate", pkey_generate},
  {"open", keyfile_open}, {"open_json", keyjson_open},
  {"parse", pkey_parse},  {NULL, NULL},
};

int engine_open_pkey(lua_State *L) {
  luaL_newmetatable(L, PKEY_TYPE);
  lua_newtable(L);
  luaL_setfuncs(L, METHODS, 0);
  lua_pushcclosure(L, pkey_index, 1);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, pkey_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pushcfunction(L, pkey_free);
  lua_setfield(L, -2, "__gc");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_newtable(L);
  luaL_setfuncs(L, PKEY, 0);
  seal_register(L);
  return 1;
}
