/* Signatures made and verified in software, one call each. */
#include "key.h"

#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>

typedef int (*Begin)(EVP_PKEY_CTX *context);

void use_end(KeyUse *use) {
  EVP_PKEY_CTX_free(use->context);
  *use = (KeyUse){NULL, NULL, false};
}

/* Prepares what was not prepared yet. */
static bool use_begin(KeyUse *use, EVP_PKEY *key, Begin begin) {
  if (use->context != NULL) return true;
  use->context = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
  if (use->context != NULL && begin(use->context) == 1) return true;
  use_end(use);
  return false;
}

static bool use_rsa(KeyUse *use, const EVP_MD *digest, bool pss) {
  int padding = pss ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING;
  if (use->digest == digest && use->pss == pss) return true;
  use->digest = NULL;
  if (EVP_PKEY_CTX_set_rsa_padding(use->context, padding) != 1 ||
      EVP_PKEY_CTX_set_signature_md(use->context, digest) != 1 ||
      (pss &&
       EVP_PKEY_CTX_set_rsa_pss_saltlen(use->context, RSA_PSS_SALTLEN_AUTO) !=
         1))
    return false;
  use->digest = digest;
  use->pss = pss;
  return true;
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

static bool verify_digest(KeyUse *use, EVP_PKEY *key, const char *hash,
                          bool pss, Slice data, Slice signature) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  size_t size;
  bool rsa = EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA;
  return (rsa || !pss) && digest_make(hash, data, digest, &size) &&
    use_begin(use, key, EVP_PKEY_verify_init) &&
    (!rsa || use_rsa(use, digest_named(hash), pss)) &&
    EVP_PKEY_verify(use->context, signature.data, signature.size, digest,
                    size) == 1;
}

static bool verify(KeyUse *use, EVP_PKEY *key, const char *hash, bool pss,
                   Slice data, Slice signature) {
  const char *own = key == NULL ? NULL : own_hash(key);
  bool good = false;
  if (own != NULL && *own == '\0') {
    good = hash == NULL && !pss && verify_ed25519(key, data, signature);
  } else if (own != NULL) {
    if (hash == NULL) hash = own;
    good = verify_digest(use, key, hash, pss, data, signature);
  }
  ERR_clear_error();
  return good;
}

bool pkey_verifies_once(EVP_PKEY *key, const char *hash, bool pss, Slice data,
                        Slice signature) {
  KeyUse use = {NULL, NULL, false};
  bool good = verify(&use, key, hash, pss, data, signature);
  use_end(&use);
  return good;
}

bool pkey_verifies(Pkey *key, const char *hash, bool pss, Slice data,
                   Slice signature) {
  EVP_PKEY *object = key->key;
  KeyUse *use = &key->verifying;
  /* A client's key is used once; who comes again gets an object. */
  if (object == NULL && !key->lent && key_shape(key)->group != NULL)
    key->lent = curve_lend(key_shape(key), pkey_spki(key), &object, &use);
  if (object == NULL) object = pkey_object(key);
  return verify(use, object, hash, pss, data, signature);
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

bool signature_make(Pkey *key, const char *hash, Slice data, unsigned char *out,
                    size_t *size) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  size_t digest_size;
  const char *own = own_hash(key->key);
  if (own == NULL || (*own == '\0' && hash != NULL)) return false;
  if (*own == '\0') return sign_ed25519(key->key, data, out, size);
  if (hash == NULL) hash = own;
  bool rsa = EVP_PKEY_get_base_id(key->key) == EVP_PKEY_RSA;
  return digest_make(hash, data, digest, &digest_size) &&
    use_begin(&key->signing, key->key, EVP_PKEY_sign_init) &&
    (!rsa || use_rsa(&key->signing, digest_named(hash), false)) &&
    EVP_PKEY_sign(key->signing.context, out, size, digest, digest_size) == 1;
}
