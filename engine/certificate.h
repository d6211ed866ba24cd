/* Certificates taken apart (RFC 5280 4.1) and put together, without
** OpenSSL. */
#ifndef FULCIO_CERTIFICATE_H
#define FULCIO_CERTIFICATE_H

#include "key.h"

#include <openssl/x509.h>

/* certificate.c. Slices point into the DER that was read. */
typedef struct Certificate {
  Slice tbs;                   /* whole */
  Slice head;                  /* content of the TBS before [3] */
  Slice extensions;            /* content of Extensions; size 0: none */
  Slice serial;                /* magnitude */
  Slice issuer, subject, spki; /* whole */
  Slice algorithm;             /* AlgorithmIdentifier, whole */
  Slice signature;             /* bits */
  int64_t not_before, not_after;
} Certificate;

typedef struct Extension {
  Slice whole, oid, value; /* oid: content; value: content of extnValue */
  bool critical;
} Extension;

/* Why it is not a certificate; NULL when it is one. */
const char *certificate_read(Slice der, Certificate *out);
/* The AlgorithmIdentifier of a TBSCertificate. */
bool certificate_tbs_algorithm(Slice tbs, Slice *algorithm);
bool extension_next(Slice *list, Extension *extension);
bool extension_find(Slice list, Slice oid, Extension *extension);

/* Whether `earlier` has this OID; `seen` starts as 0 and is its memory. */
bool extension_repeats(Slice earlier, Slice oid, uint64_t *seen);

/* Contents of object identifiers. */
extern const Slice OID_BASIC_CONSTRAINTS, OID_KEY_USAGE, OID_EXTENDED_KEY_USAGE,
  OID_SUBJECT_KEY_ID, OID_AUTHORITY_KEY_ID, OID_SUBJECT_ALT_NAME, OID_POISON,
  OID_SCT_LIST;

/* x509.c: a certificate that Lua holds. */
typedef struct X509Holder {
  unsigned char *bytes; /* owned */
  size_t size;
  Certificate parts;
  X509 *object; /* OpenSSL's, made when a chain is verified; owned */
  Pkey key;     /* has its SPKI when first asked for; owned */
} X509Holder;
X509Holder *x509_check(lua_State *L, int index);
Pkey *x509_key(X509Holder *certificate);
/* Key identifier in its SKI extension; false: it has none. */
bool x509_key_id(const X509Holder *certificate, Slice *id);

/* field.c: __index, with the methods as its upvalue. */
int x509_index(lua_State *L);
/* chain.c: x509.verify */
int chain_verify(lua_State *L);

/* algorithm.c: AlgorithmIdentifiers of signatures. */
typedef struct Algorithm {
  const char *name; /* Go's: "ECDSA-SHA256", "SHA256-RSA", … */
  const char *kind; /* of the key */
  const char *hash; /* "none": Ed25519; NULL: too old to verify */
  bool pss;
  Slice der; /* empty: never written by us */
} Algorithm;
/* NULL when it is not one we know. */
const Algorithm *algorithm_read(Slice identifier);
/* What a key of this shape signs with; NULL when it cannot. */
const Algorithm *algorithm_of(const KeyShape *shape);
bool algorithm_verify(const Algorithm *algorithm, Pkey *key, Slice data,
                      Slice signature);

/* usage.c, name.c, san.c: what extensions and names say. Writers take a
** Lua list or table at `index` and throw at a name that they do not know.
** The others push one value. */
void usage_put_key(lua_State *L, DerWriter *writer, int index);
void usage_put_extended(lua_State *L, DerWriter *writer, int index);
void usage_push_key(lua_State *L, Slice list);
void usage_push_extended(lua_State *L, Slice list);
/* Name from { { "O", text }, … }; nil is the empty name. 0, or 3 with a
** failure pushed (also below). */
int name_put(lua_State *L, DerWriter *writer, int index, const char *code);
void name_push(lua_State *L, Slice name);
/* GeneralNames with the one name that the table says. */
int san_put(lua_State *L, DerWriter *writer, int index);
void san_push(lua_State *L, Slice value);

/* profile.c: the profile at index 1 as the content of a TBSCertificate
** whose extensions are not framed yet; they are the last bytes. */
enum { SERIAL_SIZE = 20 };
typedef struct Serial {
  unsigned char bytes[SERIAL_SIZE];
  size_t size;
} Serial;
int profile_write(lua_State *L, DerWriter *writer, Serial *serial,
                  size_t *extensions);

#endif
