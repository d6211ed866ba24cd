/* memory.c: a lua_Alloc for the one state of a program. */
#ifndef FULCIO_MEMORY_H
#define FULCIO_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

void *memory_lua(void *user, void *block, size_t old, size_t size);

#endif
