/* Certificate signing requests (RFC 2986). */
#include "certificate.h"
#include "pem.h"

#include <string.h>

#define CSR_TYPE "fulcio.csr"

/* Slices point into the DER that the userdata holds at its end. */
typedef struct Csr {
  Slice info; /* CertificationRequestInfo, whole: what is signed */
  Slice spki, algorithm, signature;
  int key_ref; /* the pkey, in the registry */
  unsigned char der[];
} Csr;

/* CertificationRequestInfo ::= SEQUENCE { version, subject, SPKI,
** attributes [0] }; subject and attributes prove nothing and are not read. */
static bool read_info(Slice info, Csr *csr) {
  Slice body, unused;
  unsigned version;
  return der_take(&info, DER_SEQUENCE, &body) &&
    der_take_small(&body, &version) && der_take(&body, DER_SEQUENCE, &unused) &&
    der_take_whole(&body, DER_SEQUENCE, &csr->spki) &&
    (body.size == 0 ||
     (der_take(&body, DER_CONSTRUCTED, &unused) && body.size == 0));
}

static bool read_csr(Slice der, Csr *csr) {
  Slice body;
  return der_take(&der, DER_SEQUENCE, &body) && der.size == 0 &&
    der_take_whole(&body, DER_SEQUENCE, &csr->info) &&
    der_take_whole(&body, DER_SEQUENCE, &csr->algorithm) &&
    der_take_bits(&body, &csr->signature) && body.size == 0 &&
    read_info(csr->info, csr);
}

/* Whether Go's x509 reads an SPKI whose algorithm we do not know: it does
** for other algorithms, and does not for a bad key of those it knows. */
static bool is_foreign(Slice spki) {
  static const Slice ec = {
    (const unsigned char *)"\x2a\x86\x48\xce\x3d\x02\x01", 7};
  static const Slice rsa = {
    (const unsigned char *)"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", 9};
  static const Slice ed25519 = {(const unsigned char *)"\x2b\x65\x70", 3};
  Slice body, algorithm, oid, bits;
  return der_take(&spki, DER_SEQUENCE, &body) &&
    der_take(&body, DER_SEQUENCE, &algorithm) &&
    der_take(&algorithm, DER_OID, &oid) && der_take_bits(&body, &bits) &&
    body.size == 0 && !slice_equal(oid, ec) && !slice_equal(oid, rsa) &&
    !slice_equal(oid, ed25519);
}

/* Pushes the request's key. One of a foreign kind can be shown and
** refused as weak, but not used. */
static bool push_key(lua_State *L, Slice spki) {
  if (pkey_push_spki(L, spki)) return true;
  if (!is_foreign(spki)) return false;
  Pkey *key = pkey_push(L);
  return key_keep_spki(key, spki);
}

/* The request of the first PEM block, into a new userdata's tail. */
static bool take_pem(Slice text, unsigned char *der, size_t *size) {
  Slice label;
  return pem_next(&text, &label, der, size) &&
    (slice_is(label, "CERTIFICATE REQUEST") ||
     slice_is(label, "NEW CERTIFICATE REQUEST"));
}

/* csr.parse(pem) --> csr | nil, message, "bad_csr" */
static int csr_parse(lua_State *L) {
  Slice text = engine_slice(L, 1);
  Csr *csr = lua_newuserdata(L, sizeof *csr + text.size / 4 * 3 + 3);
  size_t size;
  memset(csr, 0, sizeof *csr);
  csr->key_ref = LUA_NOREF;
  luaL_setmetatable(L, CSR_TYPE);
  if (!take_pem(text, csr->der, &size))
    return engine_fail(L, "bad_csr", "no PEM certificate request");
  if (!read_csr((Slice){csr->der, size}, csr))
    return engine_fail(L, "bad_csr", "certificate request is malformed");
  if (!push_key(L, csr->spki))
    return engine_fail(L, "bad_csr", "certificate request has a bad key");
  csr->key_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  return 1;
}

static Csr *check_csr(lua_State *L) {
  return luaL_checkudata(L, 1, CSR_TYPE);
}

static Pkey *push_kept_key(lua_State *L, const Csr *csr) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, csr->key_ref);
  return pkey_check(L, -1);
}

/* csr:verify() --> true | nil, message, code */
static int csr_verify(lua_State *L) {
  Csr *csr = check_csr(L);
  const Algorithm *algorithm = algorithm_read(csr->algorithm);
  if (algorithm == NULL || algorithm->hash == NULL)
    return engine_fail(L, "unknown_algorithm",
                       "certificate request: unknown signature algorithm");
  Pkey *key = push_kept_key(L, csr);
  if (!algorithm_verify(algorithm, key, csr->info, csr->signature))
    return engine_fail(L, "bad_signature",
                       "certificate request: its signature is wrong");
  lua_pushboolean(L, 1);
  return 1;
}

/* Known to Fulcio: SHA-2 without PSS, and Ed25519, which has no hash. */
static void push_hash(lua_State *L, const Algorithm *algorithm) {
  bool known = algorithm != NULL && algorithm->hash != NULL &&
    !algorithm->pss && strcmp(algorithm->hash, "SHA-1") != 0;
  lua_pushstring(L, known ? algorithm->hash : NULL);
}

/* csr:verify, or one of the fields key, algorithm, hash. */
static int csr_index(lua_State *L) {
  Csr *csr = check_csr(L);
  const char *name = luaL_checkstring(L, 2);
  const Algorithm *algorithm = algorithm_read(csr->algorithm);
  if (strcmp(name, "verify") == 0) {
    lua_pushcfunction(L, csr_verify);
  } else if (strcmp(name, "key") == 0) {
    push_kept_key(L, csr);
  } else if (strcmp(name, "algorithm") == 0) {
    lua_pushstring(L, algorithm == NULL ? "0" : algorithm->name);
  } else if (strcmp(name, "hash") == 0) {
    push_hash(L, algorithm);
  } else {
    lua_pushnil(L);
  }
  return 1;
}

static int csr_free(lua_State *L) {
  Csr *csr = check_csr(L);
  luaL_unref(L, LUA_REGISTRYINDEX, csr->key_ref);
  csr->key_ref = LUA_NOREF;
  return 0;
}

/* Stack: 1 profile, 2 key, 3 CertificationRequestInfo. */
static int join_signed(lua_State *L, Slice signature) {
  Pkey *key = pkey_check(L, 2);
  const Algorithm *algorithm = algorithm_of(key_shape(key));
  Slice info = engine_slice(L, 3);
  DerWriter opened, *writer = der_writer_open(L, &opened);
  der_put(L, writer, signature);
  der_put_byte(L, writer, 0);
  der_wrap(L, writer, DER_BIT_STRING, 0);
  der_put(L, writer, algorithm->der);
  der_put(L, writer, info);
  der_wrap(L, writer, DER_SEQUENCE, 0);
  pem_push(L, "CERTIFICATE REQUEST", der_written(writer));
  return 1;
}

/* csr.create(profile) --> pem | nil, message, code */
static int csr_create(lua_State *L) {
  static const char *const names[] = {"key", "subject", NULL};
  static const Slice version = {(const unsigned char *)"\x02\x01\x00", 3};
  static const Slice none = {(const unsigned char *)"\xa0\x00", 2};
  lua_settop(L, 1);
  engine_check_options(L, 1, names);
  lua_getfield(L, 1, "key");
  Pkey *key = pkey_check(L, 2);
  if (algorithm_of(key_shape(key)) == NULL)
    return engine_fail(L, "sign_failed", "a key of this kind cannot sign");
  lua_getfield(L, 1, "subject");
  DerWriter opened, *writer = der_writer_open(L, &opened);
  der_put(L, writer, none);
  der_put(L, writer, pkey_spki(key));
  int failed = name_put(L, writer, 3, "bad_csr");
  if (failed != 0) return failed;
  der_put(L, writer, version);
  der_wrap(L, writer, DER_SEQUENCE, 0);
  Slice info = der_written(writer);
  lua_pushlstring(L, (const char *)info.data, info.size);
  lua_replace(L, 3);
  return pkey_sign_then(L, 2, engine_slice(L, 3), NULL, join_signed);
}

static const luaL_Reg CSR[] = {
  {"create", csr_create}, {"parse", csr_parse}, {NULL, NULL}};

int engine_open_csr(lua_State *L) {
  luaL_newmetatable(L, CSR_TYPE);
  lua_pushcfunction(L, csr_index);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, csr_free);
  lua_setfield(L, -2, "__gc");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_newtable(L);
  luaL_setfuncs(L, CSR, 0);
  return 1;
}
