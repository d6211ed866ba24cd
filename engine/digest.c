/* Hash functions, fetched from OpenSSL once a process. */
#include "engine.h"

#include <openssl/crypto.h>
#include <string.h>

static const char *const NAMES[] = {"SHA-1", "SHA-256", "SHA-384", "SHA-512"};
enum { COUNT = sizeof NAMES / sizeof *NAMES };
static EVP_MD *digests[COUNT];
static CRYPTO_ONCE fetched = CRYPTO_ONCE_STATIC_INIT;

static void fetch_all(void) {
  static const char *const fetched_as[] = {"SHA1", "SHA256", "SHA384",
                                           "SHA512"};
  for (int i = 0; i < COUNT; i++)
    digests[i] = EVP_MD_fetch(NULL, fetched_as[i], NULL);
}

const EVP_MD *digest_named(const char *name) {
  if (!CRYPTO_THREAD_run_once(&fetched, fetch_all)) return NULL;
  for (int i = 0; i < COUNT; i++)
    if (strcmp(name, NAMES[i]) == 0) return digests[i];
  return NULL;
}

bool digest_make(const char *name, Slice data, unsigned char *out,
                 size_t *size) {
  const EVP_MD *digest = digest_named(name);
  unsigned length = 0;
  if (digest == NULL ||
      !EVP_Digest(data.data, data.size, out, &length, digest, NULL))
    return false;
  *size = length;
  return true;
}
