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
/* Whether it is one that Go reads and that nobody may use: DSA, X25519. */
bool spki_is_unfit(Slice spki);
/* The shape of a curve or of Ed25519 by its name; NULL: none. */
const KeyShape *spki_named(const char *name);
enum { CURVE_COUNT = 4 }; /* shapes with a group */
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
/* Frees what it owns, but for the signer's. */
void key_clear(Pkey *key);

/* curve.c. A new object for an SPKI of that curve's shape; NULL: its point
** is not on the curve. */
EVP_PKEY *curve_key(const KeyShape *shape, Slice spki);
/* Making an object costs a sixth of verifying with it, so each thread has one
** a curve, which is lent to one point after another. */
bool curve_lend(const KeyShape *shape, Slice spki, EVP_PKEY **key,
                KeyUse **use);

/* signature.c: software signatures. `size` is the room, then the length. */
enum { SIGNATURE_MAX = 2048, RSA_BITS_MAX = 16384 };
void use_end(KeyUse *use);
bool signature_make(Pkey *key, const char *hash, Slice data, unsigned char *out,
                    size_t *size);

/* weak.c: why the key is weak, NULL when it is not. */
const char *weak_reason(Pkey *key);

/* keyfile.c: pkey.open and pkey:save */
int keyfile_open(lua_State *L);
int keyfile_save(lua_State *L);
enum { KEYFILE_MAX = 65536 };
/* A file that may hold a key, whole. */
typedef struct KeyText {
  unsigned char *data; /* owned, from OPENSSL_malloc; keyfile_wipe frees it */
  size_t size;
  bool open_to_others;
} KeyText;
/* False: nil, message, code are pushed and there is nothing to free. */
bool keyfile_read(lua_State *L, const char *path, KeyText *text);
void keyfile_wipe(KeyText *text);
int keyfile_open_to_others(lua_State *L, const char *path);
/* Fills the key, which is on top of the stack, from PEM, and wipes `text`,
** in which the PEM is. Returns as pkey.open. */
int keyfile_take(lua_State *L, const char *path, Pkey *key, KeyText *text,
                 Slice pem, Slice with);
/* seal.c: adds the function `seal` to the table on top of the stack. */
void seal_register(lua_State *L);
/* keyjson.c: pkey.open_json */
int keyjson_open(lua_State *L);

#endif
