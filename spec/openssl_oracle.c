/* Certificates through OpenSSL's own X509 API: what draft.c is compared
** with. Only for specs. */
#include <lauxlib.h>
#include <lua.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

/* Specs want to hear of it; nothing is freed. */
static void must(lua_State *L, int good, const char *what) {
  const char *reason = ERR_reason_error_string(ERR_peek_last_error());
  if (!good) luaL_error(L, "oracle: %s: %s", what, reason ? reason : "?");
}

static const char *text(lua_State *L, const char *name) {
  lua_getfield(L, 1, name);
  return luaL_checkstring(L, -1);
}

static EVP_PKEY *signer(lua_State *L) {
  BIO *bio = BIO_new_file(text(L, "signer_file"), "r");
  must(L, bio != NULL, "signer_file");
  EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)"");
  BIO_free(bio);
  must(L, key != NULL, "signer key");
  return key;
}

static void set_key(lua_State *L, X509 *certificate) {
  size_t size;
  lua_getfield(L, 1, "spki");
  const unsigned char *in = (const void *)luaL_checklstring(L, -1, &size);
  EVP_PKEY *key = d2i_PUBKEY(NULL, &in, (long)size);
  must(L, X509_set_pubkey(certificate, key), "spki");
  EVP_PKEY_free(key);
}

static void set_serial(lua_State *L, X509 *certificate) {
  BIGNUM *number = NULL;
  must(L, BN_hex2bn(&number, text(L, "serial")), "serial");
  BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
  BN_free(number);
}

static void set_times(lua_State *L, X509 *certificate) {
  lua_getfield(L, 1, "not_before");
  ASN1_TIME_set(X509_getm_notBefore(certificate), luaL_checkinteger(L, -1));
  lua_getfield(L, 1, "not_after");
  ASN1_TIME_set(X509_getm_notAfter(certificate), luaL_checkinteger(L, -1));
}

static void set_subject(lua_State *L, X509 *certificate) {
  X509_NAME *name = X509_get_subject_name(certificate);
  ASN1_STRING_set_default_mask(B_ASN1_PRINTABLESTRING | B_ASN1_UTF8STRING);
  lua_getfield(L, 1, "subject");
  for (int i = 1; i <= (int)lua_rawlen(L, -1); i++) {
    lua_rawgeti(L, -1, i);
    lua_rawgeti(L, -1, 1);
    lua_rawgeti(L, -2, 2);
    must(L,
         X509_NAME_add_entry_by_txt(
           name, luaL_checkstring(L, -2), MBSTRING_UTF8,
           (const void *)luaL_checkstring(L, -1), -1, -1, 0),
         "subject");
    lua_pop(L, 3);
  }
}

/* { name, value } as in openssl.cnf. */
static void add_extensions(lua_State *L, X509 *certificate, X509 *issuer) {
  X509V3_CTX context;
  CONF *configuration = NCONF_new(NULL);
  X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
  X509V3_set_nconf(&context, configuration);
  lua_getfield(L, 1, "extensions");
  for (int i = 1; i <= (int)lua_rawlen(L, -1); i++) {
    lua_rawgeti(L, -1, i);
    lua_rawgeti(L, -1, 1);
    lua_rawgeti(L, -2, 2);
    X509_EXTENSION *extension =
      X509V3_EXT_nconf(configuration, &context, luaL_checkstring(L, -2),
                       luaL_checkstring(L, -1));
    must(L, X509_add_ext(certificate, extension, -1), lua_tostring(L, -2));
    X509_EXTENSION_free(extension);
    lua_pop(L, 3);
  }
  NCONF_free(configuration);
}

/* The issuer's certificate; the certificate itself when there is none. */
static X509 *issuer_of(lua_State *L, X509 *certificate) {
  size_t size;
  lua_getfield(L, 1, "issuer");
  const unsigned char *in = (const void *)lua_tolstring(L, -1, &size);
  if (in == NULL) {
    X509_up_ref(certificate);
    return certificate;
  }
  X509 *issuer = d2i_X509(NULL, &in, (long)size);
  must(L, issuer != NULL, "issuer");
  return issuer;
}

/* oracle.certificate{ spki, signer_file, issuer?, serial, not_before,
** not_after, subject, extensions, hash? } --> DER */
static int oracle_certificate(lua_State *L) {
  X509 *certificate = X509_new();
  EVP_PKEY *key = signer(L);
  X509 *issuer = issuer_of(L, certificate);
  unsigned char *der = NULL;
  X509_set_version(certificate, 2);
  set_serial(L, certificate);
  set_key(L, certificate);
  set_times(L, certificate);
  set_subject(L, certificate);
  X509_set_issuer_name(certificate, X509_get_subject_name(issuer));
  add_extensions(L, certificate, issuer);
  lua_getfield(L, 1, "hash");
  const char *hash = lua_tostring(L, -1);
  must(L,
       X509_sign(certificate, key,
                 hash == NULL ? NULL : EVP_get_digestbyname(hash)),
       "sign");
  int size = i2d_X509(certificate, &der);
  must(L, size > 0, "encode");
  lua_pushlstring(L, (char *)der, (size_t)size);
  OPENSSL_free(der);
  X509_free(issuer);
  X509_free(certificate);
  EVP_PKEY_free(key);
  return 1;
}

int luaopen_openssl_oracle(lua_State *L) {
  lua_newtable(L);
  lua_pushcfunction(L, oracle_certificate);
  lua_setfield(L, -2, "certificate");
  return 1;
}
