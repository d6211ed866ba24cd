/* OpenSSL's decoders give a private key's DER back to malloc as it is, where
** a process that is forked later would have it, the log's for one. So while
** a key is read, all that OpenSSL frees is overwritten. */
#include "wipe.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local bool wiping;

static void *take(size_t size, const char *file, int line) {
  (void)file;
  (void)line;
  return size == 0 ? NULL : malloc(size);
}

static void give(void *block, const char *file, int line) {
  (void)file;
  (void)line;
  if (wiping && block != NULL)
    OPENSSL_cleanse(block, malloc_usable_size(block));
  free(block);
}

/* Not realloc while wiping: it would leave what it moves behind. */
static void *resize(void *block, size_t size, const char *file, int line) {
  if (!wiping || block == NULL) return realloc(block, size);
  size_t old = malloc_usable_size(block);
  void *other = take(size, file, line);
  if (other == NULL && size != 0) return NULL;
  if (size != 0) memcpy(other, block, old < size ? old : size);
  give(block, file, line);
  return other;
}

void wipe_install(void) {
  CRYPTO_set_mem_functions(take, resize, give);
}

void wipe_begin(void) {
  wiping = true;
}

void wipe_end(void) {
  wiping = false;
}
