/* What sandbox.c (the module), limits.c (memory, instructions, time),
** words.c (what scripts may use) and plain.c (copies) share. */
#ifndef FULCIO_SANDBOX_H
#define FULCIO_SANDBOX_H

#include "engine.h"
#include "meter.h"

/* Plain data on its way between two states, so that an error in one never
** jumps over the other. The bytes are malloc'ed. */
typedef struct Plain {
  unsigned char *bytes;
  size_t size;
  size_t room;
  size_t limit;
  size_t read;       /* how far decoding is */
  const char *error; /* what cannot be copied, after a failure */
  char where[128];   /* and in which field: "must.repository[2]" */
  bool out_of_space; /* the failure was the limit */
} Plain;

/* plain.c. Keeps the function on the top of the stack, pops it, gives its
** number. */
typedef lua_Integer (*KeepFunction)(lua_State *L);

/* Appends the value at index. Raises nothing unless `keep` does; without
** `keep` functions are refused. */
bool plain_encode(lua_State *L, int index, Plain *out, KeepFunction keep);
/* Pushes the next value. `whole`: floats without fraction become integers,
** as a token's numbers have to print. */
void plain_decode(lua_State *L, Plain *in, bool whole);

/* How a job ended. */
typedef enum Outcome { DONE, BAD_SCRIPT, TOO_LONG, OUT_OF_MEMORY } Outcome;

typedef struct Sandbox {
  lua_State *inner;
  size_t used, limit;
  bool exhausted; /* memory was refused: whatever runs must end */
  lua_Integer instructions, left;
  Meter meter;
  bool stopped;
  lua_Integer functions; /* kept so far */
  Plain plain;           /* arguments, then results */
  /* The job that runs. */
  const char *script;    /* as it was given */
  char name[LUA_IDSIZE]; /* as messages call it */
  const char *text;      /* NULL: calls `handle` */
  size_t text_size;
  lua_Integer handle;
  int arguments;
  Outcome outcome;
  char message[512];
} Sandbox;

/* limits.c. A state whose memory is limited; NULL: none to be had. */
lua_State *limits_state(Sandbox *sandbox);
/* Protected in the inner state: lets it find its sandbox. */
void limits_open(lua_State *L, Sandbox *sandbox);
Sandbox *limits_sandbox(lua_State *L);
/* Forgets what earlier jobs have used. */
void limits_begin(Sandbox *sandbox);
/* Pushes the script's text as a function, within the time for it; else its
** status, or it was stopped. */
int limits_load(Sandbox *sandbox, lua_State *L, const char *chunk);
/* Runs the function on the thread within the limits. LUA_YIELD: stopped. */
int limits_resume(lua_State *thread, lua_State *from, int arguments);
/* Ends a coroutine that yielded or failed. */
void limits_kill(lua_State *thread, lua_State *from);
/* Makes the table on the top, which it pops, the environment of the chunk
** below it. */
void limits_environment(lua_State *L);
/* Writes "NAME:LINE: reason"; the line is the innermost of a script. */
void limits_explain(Sandbox *sandbox, lua_State *thread, const char *reason);

/* words.c. Inner state: opens the libraries, runs the prelude at index 1 (a
** Slice as light userdata), closes off what scripts may not reach. */
int words_open(lua_State *L);
/* Pushes a fresh environment for one script. */
void words_push(lua_State *L);

#endif
