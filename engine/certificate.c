/* The structure of a certificate (RFC 5280 4.1), read strictly. */
#include "certificate.h"

#include <string.h>

/* More than this many extensions is an attack on the duplicate check. */
enum { EXTENSIONS_MAX = 256 };

#define OID(name, bytes) \
  const Slice name = {(const unsigned char *)(bytes), sizeof(bytes) - 1}
OID(OID_SUBJECT_KEY_ID, "\x55\x1d\x0e");
OID(OID_KEY_USAGE, "\x55\x1d\x0f");
OID(OID_SUBJECT_ALT_NAME, "\x55\x1d\x11");
OID(OID_BASIC_CONSTRAINTS, "\x55\x1d\x13");
OID(OID_AUTHORITY_KEY_ID, "\x55\x1d\x23");
OID(OID_EXTENDED_KEY_USAGE, "\x55\x1d\x25");
OID(OID_SCT_LIST, "\x2b\x06\x01\x04\x01\xd6\x79\x02\x04\x02");
OID(OID_POISON, "\x2b\x06\x01\x04\x01\xd6\x79\x02\x04\x03");

/* Extension ::= SEQUENCE { extnID, critical DEFAULT FALSE, extnValue } */
bool extension_next(Slice *list, Extension *extension) {
  Slice rest = *list, body;
  if (!der_take_whole(&rest, DER_SEQUENCE, &extension->whole)) return false;
  if (!der_take(list, DER_SEQUENCE, &body)) return false;
  extension->critical = false;
  return der_take(&body, DER_OID, &extension->oid) && extension->oid.size > 0 &&
    (!der_at(body, DER_BOOLEAN) ||
     der_take_boolean(&body, &extension->critical)) &&
    der_take(&body, DER_OCTET_STRING, &extension->value) && body.size == 0;
}

bool extension_find(Slice list, Slice oid, Extension *extension) {
  while (list.size > 0 && extension_next(&list, extension))
    if (slice_equal(extension->oid, oid)) return true;
  return false;
}

/* `seen` has a bit for the last byte of each OID so far: most lists never
** need the search. */
bool extension_repeats(Slice earlier, Slice oid, uint64_t *seen) {
  Extension other;
  uint64_t bit = UINT64_C(1) << (oid.data[oid.size - 1] & 63);
  bool maybe = (*seen & bit) != 0;
  *seen |= bit;
  return maybe && extension_find(earlier, oid, &other);
}

static const char *check_extensions(Slice list) {
  Slice rest = list;
  Extension one;
  uint64_t seen = 0;
  for (int count = 0; rest.size > 0; count++) {
    Slice earlier = {list.data, (size_t)(rest.data - list.data)};
    if (count == EXTENSIONS_MAX) return "too many extensions";
    if (!extension_next(&rest, &one)) return "an extension is malformed";
    if (extension_repeats(earlier, one.oid, &seen))
      return "an extension occurs twice";
  }
  return NULL;
}

/* version [0] EXPLICIT DEFAULT v1 */
static bool take_version(Slice *body, unsigned *version) {
  Slice field;
  *version = 0;
  if (!der_at(*body, DER_CONSTRUCTED)) return true;
  return der_take(body, DER_CONSTRUCTED, &field) &&
    der_take_small(&field, version) && field.size == 0 && *version <= 2;
}

static bool take_validity(Slice *body, Certificate *out) {
  Slice validity;
  return der_take(body, DER_SEQUENCE, &validity) &&
    der_take_time(&validity, &out->not_before) &&
    der_take_time(&validity, &out->not_after) && validity.size == 0;
}

/* [1] and [2], which nobody uses, then [3] EXPLICIT Extensions. */
static const char *take_rest(Slice body, unsigned version, Certificate *out) {
  Slice unused, wrapper;
  for (unsigned tag = DER_CONTEXT | 1; tag <= (DER_CONTEXT | 2); tag++)
    if (der_at(body, tag) && !der_take(&body, tag, &unused))
      return "a unique identifier is malformed";
  out->head.size = (size_t)(body.data - out->head.data);
  out->extensions = (Slice){body.data, 0};
  if (body.size == 0) return NULL;
  if (version != 2 || !der_take(&body, DER_CONSTRUCTED | 3, &wrapper) ||
      body.size != 0 || !der_take(&wrapper, DER_SEQUENCE, &out->extensions) ||
      wrapper.size != 0 || out->extensions.size == 0)
    return "its extensions are malformed";
  return check_extensions(out->extensions);
}

static const char *read_tbs(Slice tbs, Certificate *out) {
  Slice body, algorithm;
  unsigned version;
  if (!der_take(&tbs, DER_SEQUENCE, &body)) return "it has no TBSCertificate";
  out->head = (Slice){body.data, 0};
  if (!take_version(&body, &version)) return "its version is malformed";
  if (!der_take_unsigned(&body, &out->serial))
    return "its serial number is malformed";
  if (!der_take_whole(&body, DER_SEQUENCE, &algorithm) ||
      !slice_equal(algorithm, out->algorithm))
    return "its signature algorithms differ";
  if (!der_take_whole(&body, DER_SEQUENCE, &out->issuer))
    return "its issuer is malformed";
  if (!take_validity(&body, out)) return "its validity is malformed";
  if (!der_take_whole(&body, DER_SEQUENCE, &out->subject))
    return "its subject is malformed";
  if (!der_take_whole(&body, DER_SEQUENCE, &out->spki))
    return "its public key is malformed";
  return take_rest(body, version, out);
}

const char *certificate_read(Slice der, Certificate *out) {
  Slice body;
  memset(out, 0, sizeof *out);
  if (!der_take(&der, DER_SEQUENCE, &body)) return "not DER";
  if (der.size != 0) return "there is something after it";
  if (!der_take_whole(&body, DER_SEQUENCE, &out->tbs) ||
      !der_take_whole(&body, DER_SEQUENCE, &out->algorithm) ||
      !der_take_bits(&body, &out->signature) || body.size != 0)
    return "not a certificate";
  return read_tbs(out->tbs, out);
}

bool certificate_tbs_algorithm(Slice tbs, Slice *algorithm) {
  Slice body, serial;
  unsigned version;
  return der_take(&tbs, DER_SEQUENCE, &body) && tbs.size == 0 &&
    take_version(&body, &version) && der_take_unsigned(&body, &serial) &&
    der_take_whole(&body, DER_SEQUENCE, algorithm);
}
