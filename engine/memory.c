/* Memory for the program's Lua. Lua says how large a block is that it gives
** back, so blocks of about one size can be kept in a list: that costs a
** fraction of what malloc and free do. They are not returned to malloc. */
#include "memory.h"

#include <stdlib.h>
#include <string.h>

enum {
  FINE = 16,     /* steps of size up to NARROW */
  NARROW = 1024, /* multiple of COARSE */
  COARSE = 512,  /* steps up to WIDE; larger ones are malloc's */
  WIDE = 8192,
  CLASSES = NARROW / FINE + (WIDE - NARROW) / COARSE + 1,
  SUPPLY = 65536 /* what is taken from malloc at once */
};

typedef struct Block {
  struct Block *next;
} Block;

static struct {
  Block *free[CLASSES];
  char *supply;
  size_t left; /* of it */
} memory;

static size_t class_of(size_t size) {
  if (size <= NARROW) return (size + FINE - 1) / FINE;
  return NARROW / FINE + (size - NARROW + COARSE - 1) / COARSE;
}

static size_t size_of(size_t class) {
  if (class <= NARROW / FINE) return class * FINE;
  return NARROW + (class - NARROW / FINE) * COARSE;
}

static void give(void *block, size_t size) {
  Block *given = block;
  size_t class = class_of(size);
  given->next = memory.free[class];
  memory.free[class] = given;
}

/* What is left of the old supply becomes blocks. */
static bool supply(void) {
  while (memory.left > 0) {
    size_t size = memory.left < NARROW ? memory.left : NARROW;
    memory.left -= size;
    give(memory.supply + memory.left, size);
  }
  memory.supply = malloc(SUPPLY);
  memory.left = memory.supply == NULL ? 0 : SUPPLY;
  return memory.left > 0;
}

static void *take(size_t size) {
  size_t class = class_of(size);
  Block *block = memory.free[class];
  if (block != NULL) {
    memory.free[class] = block->next;
    return block;
  }
  size = size_of(class);
  if (memory.left < size && !supply()) return NULL;
  memory.left -= size;
  return memory.supply + memory.left;
}

static void *change(void *block, size_t old, size_t size) {
  if (old <= WIDE && size <= WIDE && class_of(old) == class_of(size))
    return block;
  if (old > WIDE && size > WIDE) return realloc(block, size);
  void *changed = size > WIDE ? malloc(size) : take(size);
  if (changed == NULL) return NULL;
  memcpy(changed, block, old < size ? old : size);
  if (old > WIDE)
    free(block);
  else
    give(block, old);
  return changed;
}

static void *allocate(void *user, void *block, size_t old, size_t size) {
  (void)user;
  if (block == NULL) {
    if (size == 0) return NULL;
    return size > WIDE ? malloc(size) : take(size);
  }
  if (size > 0) return change(block, old, size);
  if (old > WIDE)
    free(block);
  else
    give(block, old);
  return NULL;
}

/* A sanitizer looks at each block by itself. */
#ifdef __SANITIZE_ADDRESS__
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

lua_State *memory_state(void) {
  return SANITIZED ? luaL_newstate() : lua_newstate(allocate, NULL);
}
