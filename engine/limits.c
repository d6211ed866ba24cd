/* The limits of a sandbox: memory, instructions, time. And the one place for
** what differs between versions of Lua there. */
#include "sandbox.h"

#include <stdio.h>
#include <stdlib.h>

#define TICK 10 /* instructions between two looks at the clock */

/* One instruction on a string costs up to 20 ns a byte (a comparison of
** NULs), one on a table a scan of it: no single block may be large. */
#define STRING_MAX 32768
#define BLOCK_MAX 1048576

/* Time a script may take, for each instruction it may use. */
#define NANOSECONDS 25
#define NANOSECONDS_LEAST 20000000
#define NANOSECONDS_TICK 5000000

#define PIECE 64 /* bytes that the parser reads between two looks */

typedef struct Reading {
  Sandbox *sandbox;
  size_t at;
} Reading;

static char sandbox_key; /* of the inner state's registry */

/* What differs between Lua versions. */

#if LUA_VERSION_NUM >= 504
static int resume(lua_State *thread, lua_State *from, int arguments) {
  int results;
  return lua_resume(thread, from, arguments, &results);
}
#elif LUA_VERSION_NUM >= 502
static int resume(lua_State *thread, lua_State *from, int arguments) {
  return lua_resume(thread, from, arguments);
}
#else
static int resume(lua_State *thread, lua_State *from, int arguments) {
  (void)from;
  return lua_resume(thread, arguments);
}
#endif

static int load_text(lua_State *L, lua_Reader reader, void *context,
                     const char *chunk) {
#if LUA_VERSION_NUM >= 502
  return lua_load(L, reader, context, chunk, "t");
#else
  return lua_load(L, reader, context, chunk);
#endif
}

void limits_kill(lua_State *thread, lua_State *from) {
  (void)from;
#if defined LUA_VERSION_RELEASE_NUM && LUA_VERSION_RELEASE_NUM >= 50406
  lua_closethread(thread, from);
#elif LUA_VERSION_NUM >= 504
  lua_resetthread(thread);
#else
  (void)thread;
#endif
}

void limits_environment(lua_State *L) {
#if LUA_VERSION_NUM >= 502
  if (lua_setupvalue(L, -2, 1) == NULL) lua_pop(L, 1);
#else
  lua_setfenv(L, -2);
#endif
}

/* From the hook: a yield is what no pcall of the prelude can catch. */
static void stop(lua_State *thread) {
#if LUA_VERSION_NUM >= 503
  if (lua_isyieldable(thread)) {
    lua_yield(thread, 0);
    return;
  }
#endif
  luaL_error(thread, "took too long");
}

static void *limited_alloc(void *user, void *block, size_t old, size_t size) {
  Sandbox *sandbox = user;
  bool is_string = block == NULL && old == LUA_TSTRING;
  if (block == NULL) old = 0;
  if (size == 0) {
    sandbox->used -= old;
    free(block);
    return NULL;
  }
  if (size > old &&
      (sandbox->exhausted || sandbox->used + (size - old) > sandbox->limit ||
       size > BLOCK_MAX || (is_string && size > STRING_MAX + 64))) {
    sandbox->exhausted = true;
    return NULL;
  }
  void *moved = realloc(block, size);
  if (moved != NULL) sandbox->used = sandbox->used - old + size;
  return moved;
}

/* LuaJIT insists on its own allocator, and compiled code calls no hook. */
lua_State *limits_state(Sandbox *sandbox) {
#ifdef LUA_JITLIBNAME
  (void)limited_alloc;
  (void)sandbox;
  return luaL_newstate();
#else
  return lua_newstate(limited_alloc, sandbox);
#endif
}

static void no_compiler(lua_State *L) {
#ifdef LUA_JITLIBNAME
  lua_pushcfunction(L, luaopen_jit);
  lua_pushliteral(L, LUA_JITLIBNAME);
  lua_call(L, 1, 0);
  lua_getglobal(L, LUA_JITLIBNAME);
  lua_getfield(L, -1, "off");
  lua_call(L, 0, 0);
  lua_pop(L, 1);
#else
  (void)L;
#endif
}

Sandbox *limits_sandbox(lua_State *L) {
  lua_pushlightuserdata(L, &sandbox_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  Sandbox *sandbox = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return sandbox;
}

void limits_explain(Sandbox *sandbox, lua_State *thread, const char *reason) {
  lua_Debug at;
  for (int level = 0; lua_getstack(thread, level, &at); level++) {
    lua_getinfo(thread, "Sl", &at);
    if (at.source[0] != '@' || at.currentline <= 0) continue;
    snprintf(sandbox->message, sizeof sandbox->message, "%s:%d: %s",
             at.short_src, at.currentline, reason);
    return;
  }
  snprintf(sandbox->message, sizeof sandbox->message, "%s: %s", sandbox->name,
           reason);
}

static void on_count(lua_State *thread, lua_Debug *debug) {
  (void)debug;
  Sandbox *sandbox = limits_sandbox(thread);
  sandbox->left -= TICK;
  if (sandbox->left > 0 && !meter_is_over(&sandbox->meter)) return;
  if (!sandbox->stopped) limits_explain(sandbox, thread, "took too long");
  sandbox->stopped = true;
  stop(thread);
}

void limits_open(lua_State *L, Sandbox *sandbox) {
  lua_pushlightuserdata(L, &sandbox_key);
  lua_pushlightuserdata(L, sandbox);
  lua_rawset(L, LUA_REGISTRYINDEX);
  no_compiler(L);
}

/* The parser may take longer than the text lets expect. */
static const char *read_piece(lua_State *L, void *context, size_t *size) {
  Reading *reading = context;
  Sandbox *sandbox = reading->sandbox;
  const char *piece = sandbox->text + reading->at;
  (void)L;
  *size = sandbox->text_size - reading->at;
  if (*size > PIECE) *size = PIECE;
  reading->at += *size;
  if (*size == 0 || !meter_is_over(&sandbox->meter)) return piece;
  sandbox->stopped = true;
  *size = 0;
  return NULL;
}

int limits_load(Sandbox *sandbox, lua_State *L, const char *chunk) {
  Reading reading = {sandbox, 0};
  int status = load_text(L, read_piece, &reading, chunk);
  if (sandbox->stopped) limits_explain(sandbox, L, "takes too long to read");
  return status;
}

void limits_begin(Sandbox *sandbox) {
  int64_t time = sandbox->instructions * NANOSECONDS;
  sandbox->exhausted = sandbox->stopped = false;
  sandbox->left = sandbox->instructions;
  if (time < NANOSECONDS_LEAST) time = NANOSECONDS_LEAST;
  meter_start(&sandbox->meter, time, NANOSECONDS_TICK);
}

int limits_resume(lua_State *thread, lua_State *from, int arguments) {
  lua_sethook(thread, on_count, LUA_MASKCOUNT, TICK);
  int status = resume(thread, from, arguments);
  lua_sethook(thread, NULL, 0, 0);
  return status;
}
