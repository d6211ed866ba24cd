/* Points on curves as keys. */
#include "key.h"

#include <openssl/core_names.h>
#include <string.h>

enum { POINT_MAX = 1 + 2 * 66 };

typedef struct Lent {
  const KeyShape *shape; /* NULL: the place is free */
  EVP_PKEY *key;
  KeyUse use;
  size_t size; /* of the point it has now; 0: none */
  unsigned char point[POINT_MAX];
} Lent;

static _Thread_local Lent places[CURVE_COUNT];

/* A key with the curve's parameters and no point. */
static EVP_PKEY *make_key(const char *curve) {
  char group[8];
  size_t size = strlen(curve);
  memcpy(group, curve, size + 1);
  OSSL_PARAM parameters[] = {
    OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, size),
    OSSL_PARAM_END};
  EVP_PKEY *key = NULL;
  EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
  if (context != NULL && EVP_PKEY_fromdata_init(context) == 1)
    EVP_PKEY_fromdata(context, &key, EVP_PKEY_KEY_PARAMETERS, parameters);
  EVP_PKEY_CTX_free(context);
  return key;
}

static Lent *place_of(const KeyShape *shape) {
  Lent *lent = places;
  while (lent->shape != NULL && lent->shape != shape) lent++;
  lent->shape = shape;
  if (lent->key == NULL) lent->key = make_key(shape->group);
  return lent->key == NULL ? NULL : lent;
}

static Slice point_of(const KeyShape *shape, Slice spki) {
  size_t before = shape->prefix_size - 1; /* which ends in the point's 04 */
  return (Slice){spki.data + before, spki.size - before};
}

/* Copying parameters is many times cheaper than finding a curve by name. */
EVP_PKEY *curve_key(const KeyShape *shape, Slice spki) {
  Slice point = point_of(shape, spki);
  Lent *lent = place_of(shape);
  EVP_PKEY *key = lent == NULL ? NULL : EVP_PKEY_new();
  if (key != NULL && EVP_PKEY_copy_parameters(key, lent->key) == 1 &&
      EVP_PKEY_set1_encoded_public_key(key, point.data, point.size) == 1)
    return key;
  EVP_PKEY_free(key);
  return NULL;
}

bool curve_lend(const KeyShape *shape, Slice spki, EVP_PKEY **key,
                KeyUse **use) {
  Slice point = point_of(shape, spki);
  Lent *lent = place_of(shape);
  if (lent == NULL) return false;
  if (!slice_equal(point, (Slice){lent->point, lent->size})) {
    lent->size = 0;
    if (EVP_PKEY_set1_encoded_public_key(lent->key, point.data, point.size) !=
        1)
      return false;
    memcpy(lent->point, point.data, point.size);
    lent->size = point.size;
  }
  *key = lent->key;
  *use = &lent->use;
  return true;
}
