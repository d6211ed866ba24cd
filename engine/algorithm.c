/* Signature algorithms (RFC 3279, 4055, 5758, 8410), under Go's names. */
#include "certificate.h"

#include <string.h>

#define DER(bytes) \
  { (const unsigned char *)(bytes), sizeof(bytes) - 1 }
#define PKCS1 "\x2a\x86\x48\x86\xf7\x0d\x01\x01"

/* AlgorithmIdentifiers as we write them; what we never write lacks its
** frame, so that only the OID counts. */
static const Algorithm ALGORITHMS[] = {
  {"ECDSA-SHA256", "EC", "SHA-256", false,
   DER("\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02")},
  {"ECDSA-SHA384", "EC", "SHA-384", false,
   DER("\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03")},
  {"ECDSA-SHA512", "EC", "SHA-512", false,
   DER("\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x04")},
  {"SHA256-RSA", "RSA", "SHA-256", false,
   DER("\x30\x0d\x06\x09" PKCS1 "\x0b\x05\x00")},
  {"Ed25519", "Ed25519", "none", false, DER("\x30\x05\x06\x03\x2b\x65\x70")},
  {"SHA384-RSA", "RSA", "SHA-384", false,
   DER("\x30\x0d\x06\x09" PKCS1 "\x0c\x05\x00")},
  {"SHA512-RSA", "RSA", "SHA-512", false,
   DER("\x30\x0d\x06\x09" PKCS1 "\x0d\x05\x00")},
  {"ECDSA-SHA1", "EC", "SHA-1", false,
   DER("\x30\x09\x06\x07\x2a\x86\x48\xce\x3d\x04\x01")},
  {"SHA1-RSA", "RSA", "SHA-1", false,
   DER("\x30\x0d\x06\x09" PKCS1 "\x05\x05\x00")},
  {"MD5-RSA", "RSA", NULL, false, DER("\x30\x0d\x06\x09" PKCS1 "\x04\x05\x00")},
};
enum { COUNT = sizeof ALGORITHMS / sizeof *ALGORITHMS };

/* The last byte of a hash's OID, 2.16.840.1.101.3.4.2.n, and its size. */
typedef struct Pss {
  Algorithm algorithm;
  unsigned char hash;
  unsigned salt;
} Pss;
static const Pss PSS[] = {
  {{"SHA256-RSAPSS", "RSA", "SHA-256", true, {NULL, 0}}, 1, 32},
  {{"SHA384-RSAPSS", "RSA", "SHA-384", true, {NULL, 0}}, 2, 48},
  {{"SHA512-RSAPSS", "RSA", "SHA-512", true, {NULL, 0}}, 3, 64},
};
static const Slice PSS_OID = DER(PKCS1 "\x0a");
static const Slice MGF1_OID = DER(PKCS1 "\x08");
static const Slice SHA2_OID = DER("\x60\x86\x48\x01\x65\x03\x04\x02");

/* AlgorithmIdentifier ::= SEQUENCE { OID, parameters ANY OPTIONAL } */
static bool split(Slice identifier, Slice *oid, Slice *parameters) {
  return der_take(&identifier, DER_SEQUENCE, parameters) &&
    identifier.size == 0 && der_take(parameters, DER_OID, oid);
}

static bool is_null_or_absent(Slice parameters) {
  static const Slice null = DER("\x05\x00");
  return parameters.size == 0 || slice_equal(parameters, null);
}

/* n of a SHA-2 AlgorithmIdentifier, 0 when it is another. */
static unsigned char sha2(Slice identifier) {
  Slice oid, parameters;
  if (!split(identifier, &oid, &parameters) || !is_null_or_absent(parameters))
    return 0;
  if (oid.size != SHA2_OID.size + 1 ||
      memcmp(oid.data, SHA2_OID.data, SHA2_OID.size) != 0)
    return 0;
  return oid.data[SHA2_OID.size];
}

/* RSASSA-PSS-params ::= SEQUENCE { [0] hash, [1] mgf1, [2] salt }: only
** where both hashes are one and the salt is as long. */
static const Algorithm *read_pss(Slice parameters) {
  Slice body, hash, mask, salt, oid;
  unsigned length;
  if (!der_take(&parameters, DER_SEQUENCE, &body) || parameters.size != 0)
    return NULL;
  if (!der_take(&body, DER_CONSTRUCTED, &hash) ||
      !der_take(&body, DER_CONSTRUCTED | 1, &mask) ||
      !der_take(&body, DER_CONSTRUCTED | 2, &salt) || body.size != 0)
    return NULL;
  Slice mask_hash;
  if (!split(mask, &oid, &mask_hash) || !slice_equal(oid, MGF1_OID) ||
      !der_take_small(&salt, &length) || sha2(mask_hash) != sha2(hash))
    return NULL;
  for (size_t i = 0; i < sizeof PSS / sizeof *PSS; i++)
    if (PSS[i].hash == sha2(hash) && PSS[i].salt == length)
      return &PSS[i].algorithm;
  return NULL;
}

const Algorithm *algorithm_read(Slice identifier) {
  Slice oid, parameters, known, unused;
  for (int i = 0; i < COUNT; i++)
    if (slice_equal(identifier, ALGORITHMS[i].der)) return &ALGORITHMS[i];
  if (!split(identifier, &oid, &parameters)) return NULL;
  if (slice_equal(oid, PSS_OID)) return read_pss(parameters);
  if (!is_null_or_absent(parameters)) return NULL;
  for (int i = 0; i < COUNT; i++)
    if (split(ALGORITHMS[i].der, &known, &unused) && slice_equal(oid, known))
      return &ALGORITHMS[i];
  return NULL;
}

const Algorithm *algorithm_of(const KeyShape *shape) {
  if (shape->group == NULL && shape->bits != 0 &&
      strcmp(shape->kind, "Ed25519") != 0)
    return NULL;
  const char *hash = shape->hash == NULL ? "none" : shape->hash;
  for (int i = 0; i < COUNT; i++)
    if (strcmp(ALGORITHMS[i].kind, shape->kind) == 0 &&
        ALGORITHMS[i].hash != NULL && strcmp(ALGORITHMS[i].hash, hash) == 0)
      return &ALGORITHMS[i];
  return NULL;
}

bool algorithm_verify(const Algorithm *algorithm, Pkey *key, Slice data,
                      Slice signature) {
  const char *kind = algorithm->kind, *hash = algorithm->hash;
  if (hash == NULL || strcmp(key_shape(key)->kind, kind) != 0) return false;
  if (strcmp(kind, "Ed25519") == 0) hash = NULL;
  return pkey_verifies(key, hash, algorithm->pss, data, signature);
}
