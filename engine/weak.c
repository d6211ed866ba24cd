/* Keys that a certificate authority must not certify, by the rules of
** Let's Encrypt's boulder with 100 rounds of Fermat. */
#include "key.h"

#include <openssl/bn.h>
#include <string.h>

enum { PRIME_LIMIT = 752, ROCA_LIMIT = 167, FERMAT_ROUNDS = 100 };

static bool is_prime(unsigned n) {
  for (unsigned d = 2; d * d <= n; d++)
    if (n % d == 0) return false;
  return n > 1;
}

static BN_ULONG common_divisor(BN_ULONG a, BN_ULONG b) {
  while (b != 0) {
    BN_ULONG rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

/* Division of a long number is dear: as many primes at once as fit. */
static bool has_small_factor(const BIGNUM *n) {
  for (unsigned p = 2; p < PRIME_LIMIT;) {
    BN_ULONG product = 1;
    for (; p < PRIME_LIMIT && product < (BN_ULONG)-1 / PRIME_LIMIT; p++)
      if (is_prime(p)) product *= p;
    if (common_divisor(product, BN_mod_word(n, product)) != 1) return true;
  }
  return false;
}

/* Whether r is a power of 65537 modulo p. */
static bool is_power(unsigned r, unsigned p) {
  unsigned power = 1;
  do {
    if (power == r) return true;
    power = power * (65537 % p) % p;
  } while (power != 1);
  return false;
}

/* CVE-2017-15361: Infineon's primes are powers of 65537 modulo a product of
** small primes, and so is what they multiply to. */
static bool has_roca_fingerprint(const BIGNUM *n) {
  for (unsigned p = 3; p <= ROCA_LIMIT; p += 2)
    if (is_prime(p) && !is_power((unsigned)BN_mod_word(n, p), p)) return false;
  return true;
}

/* root = floor(sqrt(n)), by Newton from above. False: no memory. */
static bool square_root(BIGNUM *root, const BIGNUM *n, BN_CTX *context) {
  BN_CTX_start(context);
  BIGNUM *next = BN_CTX_get(context);
  bool good = next != NULL && BN_set_word(root, 0) == 1 &&
    BN_set_bit(root, (BN_num_bits(n) + 1) / 2) == 1;
  while (good) {
    good = BN_div(next, NULL, n, root, context) == 1 &&
      BN_add(next, next, root) == 1 && BN_rshift1(next, next) == 1;
    if (good && BN_cmp(next, root) >= 0) break;
    good = good && BN_copy(root, next) != NULL;
  }
  BN_CTX_end(context);
  return good;
}

/* Squares end in few ways: most other numbers are seen by that alone. */
static bool may_be_square(const BIGNUM *n) {
  static const unsigned moduli[] = {64, 63, 65, 11, 17, 19, 23, 31};
  for (size_t i = 0; i < sizeof moduli / sizeof *moduli; i++) {
    unsigned m = moduli[i], r = (unsigned)BN_mod_word(n, m), x = 0;
    while (x < m && x * x % m != r) x++;
    if (x == m) return false;
  }
  return true;
}

/* 1 square, 0 not, -1 no memory. */
static int is_square(const BIGNUM *n, BN_CTX *context) {
  if (!may_be_square(n)) return 0;
  BN_CTX_start(context);
  BIGNUM *root = BN_CTX_get(context), *square = BN_CTX_get(context);
  int found = -1;
  if (square != NULL && square_root(root, n, context) &&
      BN_sqr(square, root, context) == 1)
    found = BN_cmp(square, n) == 0;
  BN_CTX_end(context);
  return found;
}

/* Fermat: n = a^2 - b^2 with a near sqrt(n), when its factors are close.
** 1 found, 0 not, -1 no memory. */
static int has_close_factors(const BIGNUM *n, BN_CTX *context) {
  BN_CTX_start(context);
  BIGNUM *a = BN_CTX_get(context), *rest = BN_CTX_get(context);
  int found = rest != NULL && square_root(a, n, context) ? 0 : -1;
  for (int i = 0; i <= FERMAT_ROUNDS && found == 0; i++) {
    if (BN_sqr(rest, a, context) != 1 || BN_sub(rest, rest, n) != 1 ||
        BN_add_word(a, 1) != 1) {
      found = -1;
    } else if (BN_is_zero(rest)) {
      found = 1;
    } else if (!BN_is_negative(rest)) {
      found = is_square(rest, context);
    }
  }
  BN_CTX_end(context);
  return found;
}

static const char *weak_modulus(const BIGNUM *n) {
  if (has_small_factor(n)) return "RSA modulus has a small factor";
  if (has_roca_fingerprint(n))
    return "RSA key is of vulnerable Infineon hardware";
  BN_CTX *context = BN_CTX_new();
  int close = context == NULL ? -1 : has_close_factors(n, context);
  BN_CTX_free(context);
  if (close < 0) return "not enough memory to check the RSA modulus";
  return close == 1 ? "RSA modulus has factors too close together" : NULL;
}

static const char *weak_rsa(Pkey *key) {
  Slice modulus, exponent;
  if (!spki_rsa(pkey_spki(key), &modulus, &exponent))
    return "RSA key cannot be read";
  int bits = spki_rsa_bits(modulus);
  if (bits != 2048 && bits != 3072 && bits != 4096)
    return "RSA modulus must have 2048, 3072 or 4096 bits";
  if (exponent.size != 3 || memcmp(exponent.data, "\x01\x00\x01", 3) != 0)
    return "RSA exponent must be 65537";
  BIGNUM *n = BN_bin2bn(modulus.data, (int)modulus.size, NULL);
  if (n == NULL) return "not enough memory to check the RSA modulus";
  const char *reason = weak_modulus(n);
  BN_free(n);
  return reason;
}

/* That a point is on its curve was seen when the key was made; the curves
** have cofactor 1, so such a point has the right order too. */
const char *weak_reason(Pkey *key) {
  const KeyShape *shape = key_shape(key);
  if (strcmp(shape->kind, "Ed25519") == 0) return NULL;
  if (strcmp(shape->kind, "RSA") == 0) return weak_rsa(key);
  if (shape->group != NULL && shape->bits != 224) return NULL;
  return "key must be P-256, P-384, P-521, RSA or Ed25519";
}
