/* Public keys recognised by the bytes of their SubjectPublicKeyInfo
** (RFC 5280 4.1.2.7). OpenSSL's decoders cost more than a signature. */
#include "key.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/bn.h>
#include <string.h>

/* id-ecPublicKey, then the curve, then BIT STRING with an uncompressed
** point: the only form that Go reads. */
#define EC_KEY_OID 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01
static const KeyShape SHAPES[] = {
  {"EC",
   "P-256",
   "SHA-256",
   "P-256",
   256,
   91,
   {0x30, 0x59, 0x30, 0x13, EC_KEY_OID, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04},
   27},
  {"EC",
   "P-384",
   "SHA-384",
   "P-384",
   384,
   120,
   {0x30, 0x76, 0x30, 0x10, EC_KEY_OID, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00,
    0x22, 0x03, 0x62, 0x00, 0x04},
   24},
  {"EC",
   "P-521",
   "SHA-512",
   "P-521",
   521,
   158,
   {0x30, 0x81, 0x9b, 0x30, 0x10, EC_KEY_OID, 0x06, 0x05, 0x2b, 0x81, 0x04,
    0x00, 0x23, 0x03, 0x81, 0x86, 0x00, 0x04},
   26},
  {"EC",
   "P-224",
   "SHA-256",
   "P-224",
   224,
   80,
   {0x30, 0x4e, 0x30, 0x10, EC_KEY_OID, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00,
    0x21, 0x03, 0x3a, 0x00, 0x04},
   24},
  {"Ed25519",
   "Ed25519",
   NULL,
   NULL,
   256,
   44,
   {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00},
   12},
  {"Ed448",
   "Ed448",
   NULL,
   NULL,
   456,
   69,
   {0x30, 0x43, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x71, 0x03, 0x3a, 0x00},
   12},
};
enum { SHAPE_COUNT = sizeof SHAPES / sizeof *SHAPES };
static const KeyShape RSA_SHAPE = {"RSA", NULL, "SHA-256", NULL, 0, 0, {0}, 0};
static const KeyShape UNKNOWN = {"unknown", "unknown", NULL, NULL,
                                 0,         0,         {0},  0};

/* AlgorithmIdentifier of rsaEncryption; the NULL is not optional. */
static const unsigned char RSA_ALGORITHM[] = {0x30, 0x0d, 0x06, 0x09, 0x2a,
                                              0x86, 0x48, 0x86, 0xf7, 0x0d,
                                              0x01, 0x01, 0x01, 0x05, 0x00};

/* SPKI ::= SEQUENCE { AlgorithmIdentifier, BIT STRING } */
static bool split(Slice spki, Slice *algorithm, Slice *bits) {
  Slice body;
  return der_take(&spki, DER_SEQUENCE, &body) && spki.size == 0 &&
    der_take_whole(&body, DER_SEQUENCE, algorithm) &&
    der_take_bits(&body, bits) && body.size == 0;
}

bool spki_bits(Slice spki, Slice *bits) {
  Slice algorithm;
  return split(spki, &algorithm, bits);
}

int spki_rsa_bits(Slice modulus) {
  int bits = (int)(modulus.size * 8);
  for (unsigned top = 0x80; top > modulus.data[0]; top >>= 1) bits--;
  return bits;
}

bool spki_rsa(Slice spki, Slice *modulus, Slice *exponent) {
  Slice algorithm, bits, body;
  Slice wanted = {RSA_ALGORITHM, sizeof RSA_ALGORITHM};
  if (!split(spki, &algorithm, &bits) || !slice_equal(algorithm, wanted))
    return false;
  if (!der_take(&bits, DER_SEQUENCE, &body) || bits.size != 0) return false;
  if (!der_take_unsigned(&body, modulus) ||
      !der_take_unsigned(&body, exponent) || body.size != 0)
    return false;
  if (modulus->size > RSA_BITS_MAX / 8 || exponent->size > 8) return false;
  /* OpenSSL computes with odd moduli of some size only. */
  return spki_rsa_bits(*modulus) >= 512 &&
    (modulus->data[modulus->size - 1] & 1) != 0 &&
    (exponent->size > 1 || exponent->data[0] > 1);
}

const KeyShape *spki_shape(Slice spki) {
  Slice modulus, exponent;
  for (int i = 0; i < SHAPE_COUNT; i++) {
    const KeyShape *shape = &SHAPES[i];
    if (spki.size == shape->size &&
        memcmp(spki.data, shape->prefix, shape->prefix_size) == 0)
      return shape;
  }
  return spki_rsa(spki, &modulus, &exponent) ? &RSA_SHAPE : &UNKNOWN;
}

/* A positive INTEGER. */
static bool take_positive(Slice *in) {
  Slice magnitude;
  return der_take_unsigned(in, &magnitude) &&
    (magnitude.size > 1 || magnitude.data[0] != 0);
}

/* DSA (RFC 3279 section 2.3.2): p, q and g, then the key itself. */
static bool is_dsa(Slice spki) {
  static const Slice dsa = {
    (const unsigned char *)"\x2a\x86\x48\xce\x38\x04\x01", 7};
  Slice body, algorithm, oid, parameters, bits;
  return der_take(&spki, DER_SEQUENCE, &body) &&
    der_take(&body, DER_SEQUENCE, &algorithm) && der_take_bits(&body, &bits) &&
    der_take(&algorithm, DER_OID, &oid) && slice_equal(oid, dsa) &&
    der_take(&algorithm, DER_SEQUENCE, &parameters) &&
    spki.size + body.size + algorithm.size == 0 && take_positive(&parameters) &&
    take_positive(&parameters) && take_positive(&parameters) &&
    take_positive(&bits);
}

bool spki_is_unfit(Slice spki) {
  static const unsigned char x25519[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
                                         0x2b, 0x65, 0x6e, 0x03, 0x21, 0x00};
  return is_dsa(spki) ||
    (spki.size == sizeof x25519 + 32 &&
     memcmp(spki.data, x25519, sizeof x25519) == 0);
}

const KeyShape *spki_named(const char *name) {
  for (int i = 0; i < SHAPE_COUNT; i++)
    if (strcmp(SHAPES[i].name, name) == 0) return &SHAPES[i];
  return NULL;
}

void spki_put_rsa(lua_State *L, DerWriter *writer, Slice modulus,
                  Slice exponent) {
  size_t mark = der_mark(writer);
  der_put_unsigned(L, writer, exponent);
  der_put_unsigned(L, writer, modulus);
  der_wrap(L, writer, DER_SEQUENCE, mark);
  der_put_byte(L, writer, 0); /* no unused bits */
  der_wrap(L, writer, DER_BIT_STRING, mark);
  der_put(L, writer, (Slice){RSA_ALGORITHM, sizeof RSA_ALGORITHM});
  der_wrap(L, writer, DER_SEQUENCE, mark);
}

/* OSSL_PARAM integers are in the machine's byte order. */
static size_t native(Slice magnitude, unsigned char *out) {
  BIGNUM *number = BN_bin2bn(magnitude.data, (int)magnitude.size, NULL);
  if (number == NULL) return 0;
  int size = BN_bn2nativepad(number, out, (int)magnitude.size);
  BN_free(number);
  return size < 0 ? 0 : (size_t)size;
}

static EVP_PKEY *make_rsa(Slice spki) {
  unsigned char n[RSA_BITS_MAX / 8], e[8];
  Slice modulus, exponent;
  if (!spki_rsa(spki, &modulus, &exponent)) return NULL;
  size_t n_size = native(modulus, n), e_size = native(exponent, e);
  if (n_size == 0 || e_size == 0) return NULL;
  OSSL_PARAM parameters[] = {OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, n, n_size),
                             OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, e, e_size),
                             OSSL_PARAM_END};
  EVP_PKEY *key = NULL;
  EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
  if (context != NULL && EVP_PKEY_fromdata_init(context) == 1 &&
      EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, parameters) != 1)
    key = NULL;
  EVP_PKEY_CTX_free(context);
  return key;
}

EVP_PKEY *pkey_from_spki(Slice spki) {
  const KeyShape *shape = spki_shape(spki);
  if (shape->group != NULL) return curve_key(shape, spki);
  if (shape == &RSA_SHAPE) return make_rsa(spki);
  if (strcmp(shape->kind, "Ed25519") != 0) return NULL;
  return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL,
                                     spki.data + shape->prefix_size,
                                     spki.size - shape->prefix_size);
}
