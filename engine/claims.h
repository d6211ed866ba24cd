/* What claims.c (objects, arrays, the module) and scalar.c (strings,
** numbers, words) share: one pass over a JSON text. */
#ifndef FULCIO_CLAIMS_H
#define FULCIO_CLAIMS_H

#include "engine.h"

#define DEPTH_MAX 32

/* A member's name, unescaped: within the input, or in the scan's arena. */
typedef struct Member {
  const char *name;
  size_t size;
} Member;

typedef struct Frame {
  bool is_object;
  bool fresh;     /* nothing read in it yet */
  size_t first;   /* its first member in Scan.members */
  size_t element; /* number of the current element of an array */
} Frame;

typedef struct Scan {
  lua_State *L; /* index 1 input, 2 members, 3 arena: all owned by Lua */
  const unsigned char *at;
  const unsigned char *end;
  Member few[32];
  Member *members; /* of all open objects: `few`, or owned by Lua */
  size_t count;
  size_t room;
  char *arena; /* as large as the input: what is unescaped fits */
  size_t used;
  int depth;
  Frame frames[DEPTH_MAX];
} Scan;

/* Every function that returns bool has, when it returns false, pushed nil,
** message, code. */

/* claims.c. Moves past blanks. */
void scan_space(Scan *s);
/* `code`, and a message that begins with the member's path. */
bool scan_fail_at_member(Scan *s, const char *code, const char *message);

/* scalar.c. Go's words for the byte that is not expected `where`. */
bool scan_fail_here(Scan *s, const char *where);
/* A string after its opening quote. */
bool scan_string(Scan *s, bool *escaped);
/* What a string says that scan_string has accepted. */
Member scan_unescape(Scan *s, const unsigned char *start);
bool scan_number(Scan *s);
bool scan_literal(Scan *s, const char *literal);

/* claims_texts.c: the module's other function. */
int claims_texts(lua_State *L);

#endif
