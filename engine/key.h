/* What the files about keys share: shapes, software signatures, the
** algorithms that signatures are made with. */
#ifndef FULCIO_KEY_H
#define FULCIO_KEY_H

#include "der.h"

/* spki.c: a kind of key as its SubjectPublicKeyInfo begins. */
typedef struct KeyShape {
  const char *kind;  /* "EC", "RSA", "Ed25519", "Ed448", "unknown" */
  const char *name;  /* "P-256", …; NULL for RSA, which adds its size */
  const char *hash;  /* what it signs with; NULL: none, or not usable */
  const char *group; /* OpenSSL's name of the curve; NULL: no curve */
  int bits;          /* 0: as long as its modulus */
  size_t size;       /* of the whole SPKI; 0: RSA */
  unsigned char prefix[27];
  unsigned prefix_size;
} KeyShape;
/* Never NULL; kind "unknown" for what we do not know. */
const KeyShape *spki_shape(Slice spki);
/* The shape of a curve or of Ed25519 by its name; NULL: none. */
const KeyShape *spki_named(const char *name);
void spki_put_rsa(lua_State *L, DerWriter *writer, Slice modulus,
                  Slice exponent);
/* The subjectPublicKey bits of any SPKI. */
bool spki_bits(Slice spki, Slice *bits);
/* Modulus and exponent of an RSA SPKI; bits of the modulus. */
bool spki_rsa(Slice spki, Slice *modulus, Slice *exponent);
int spki_rsa_bits(Slice modulus);
/* pkey.c */
const KeyShape *key_shape(Pkey *key);
int key_bits(Pkey *key);
/* Copies an SPKI into a key that has none yet. */
bool key_keep_spki(Pkey *key, Slice spki);

/* signature.c: software signatures. `size` is the room, then the length. */
enum { SIGNATURE_MAX = 2048, RSA_BITS_MAX = 16384 };
bool signature_make(Pkey *key, const char *hash, Slice data, unsigned char *out,
                    size_t *size);

/* weak.c: why the key is weak, NULL when it is not. */
const char *weak_reason(Pkey *key);

/* keyfile.c: pkey.open and pkey:save */
int keyfile_open(lua_State *L);
int keyfile_save(lua_State *L);

#endif
