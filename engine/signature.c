/* Signatures made and verified in software, one call each. */
#include "key.h"

#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>

static bool set_rsa(EVP_PKEY_CTX *context, const EVP_MD *digest, bool pss) {
  int padding = pss ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING;
  if (EVP_PKEY_CTX_set_rsa_padding(context, padding) != 1 ||
      EVP_PKEY_CTX_set_signature_md(context, digest) != 1)
    return false;
  return !pss ||
    EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_AUTO) == 1;
}

/* The hash that belongs to a key, "" for Ed25519, NULL: cannot sign. */
static const char *own_hash(EVP_PKEY *key) {
  switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA: return "SHA-256";
    case EVP_PKEY_ED25519: return "";
    case EVP_PKEY_EC: break;
    default: return NULL;
  }
  int bits = EVP_PKEY_get_bits(key);
  return bits <= 256 ? "SHA-256" : bits <= 384 ? "SHA-384" : "SHA-512";
}

static bool verify_ed25519(EVP_PKEY *key, Slice data, Slice signature) {
  EVP_MD_CTX *context = EVP_MD_CTX_new();
  bool good = context != NULL &&
    EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) == 1 &&
    EVP_DigestVerify(context, signature.data, signature.size, data.data,
                     data.size) == 1;
  EVP_MD_CTX_free(context);
  return good;
}

static bool verify_digest(EVP_PKEY *key, const char *hash, bool pss, Slice data,
                          Slice signature) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  size_t size;
  bool rsa = EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA;
  if ((pss && !rsa) || !digest_make(hash, data, digest, &size)) return false;
  EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
  bool good = context != NULL && EVP_PKEY_verify_init(context) == 1 &&
    (!rsa || set_rsa(context, digest_named(hash), pss)) &&
    EVP_PKEY_verify(context, signature.data, signature.size, digest, size) == 1;
  EVP_PKEY_CTX_free(context);
  return good;
}

int pkey_verify_raw(EVP_PKEY *key, const char *hash, bool pss, Slice data,
                    Slice signature) {
  const char *own = key == NULL ? NULL : own_hash(key);
  bool good = false;
  if (own != NULL && *own == '\0') {
    good = hash == NULL && !pss && verify_ed25519(key, data, signature);
  } else if (own != NULL) {
    good = verify_digest(key, hash == NULL ? own : hash, pss, data, signature);
  }
  ERR_clear_error();
  return good ? 1 : 0;
}

static bool sign_ed25519(EVP_PKEY *key, Slice data, unsigned char *out,
                         size_t *size) {
  EVP_MD_CTX *context = EVP_MD_CTX_new();
  bool good = context != NULL &&
    EVP_DigestSignInit(context, NULL, NULL, NULL, key) == 1 &&
    EVP_DigestSign(context, out, size, data.data, data.size) == 1;
  EVP_MD_CTX_free(context);
  return good;
}

/* The context is made once a key: that costs a third of a P-256 sign. */
static EVP_PKEY_CTX *signing_context(Pkey *key) {
  if (key->signing != NULL) return key->signing;
  EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key->key, NULL);
  if (context != NULL && EVP_PKEY_sign_init(context) == 1) {
    key->signing = context;
  } else {
    EVP_PKEY_CTX_free(context);
  }
  return key->signing;
}

bool signature_make(Pkey *key, const char *hash, Slice data, unsigned char *out,
                    size_t *size) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  size_t digest_size;
  const char *own = own_hash(key->key);
  if (own == NULL || (*own == '\0' && hash != NULL)) return false;
  if (*own == '\0') return sign_ed25519(key->key, data, out, size);
  if (hash == NULL) hash = own;
  if (!digest_make(hash, data, digest, &digest_size)) return false;
  EVP_PKEY_CTX *context = signing_context(key);
  bool rsa = EVP_PKEY_get_base_id(key->key) == EVP_PKEY_RSA;
  return context != NULL &&
    (!rsa || set_rsa(context, digest_named(hash), false)) &&
    EVP_PKEY_sign(context, out, size, digest, digest_size) == 1;
}
