/* pem.c: PEM blocks (RFC 7468), without OpenSSL. */
#ifndef FULCIO_PEM_H
#define FULCIO_PEM_H

#include "engine.h"

/* The next good block of `text`, which moves on past it; blocks that are
** broken are skipped. `der` has room for text->size / 4 * 3 + 3 bytes. */
bool pem_next(Slice *text, Slice *label, unsigned char *der, size_t *size);
/* Pushes one block with a final newline. */
void pem_push(lua_State *L, const char *label, Slice der);
/* The same with `newline` between lines, and none at the end. */
void pem_push_lines(lua_State *L, const char *label, Slice der, Slice newline);

#endif
