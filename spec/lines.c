/* For `make coverage`: what of lua/fulcio the program and its workers run.
** Linked in place of lua_newstate; LINES names the file for PATH:LINE. */
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SEEN 65536

lua_State *__real_lua_newstate(lua_Alloc allocate, void *user);
lua_State *__wrap_lua_newstate(lua_Alloc allocate, void *user);

static struct {
  const char *source; /* a constant of the state that runs it */
  int line;
} seen[SEEN];
static int file = -1;

/* Whether a line is new; a full table has seen all. */
static int is_new(const char *source, int line) {
  size_t at = ((size_t)source / 16 * 31 + (size_t)line) % SEEN;
  for (size_t i = 0; i < SEEN; i++, at = (at + 1) % SEEN) {
    if (seen[at].source == source && seen[at].line == line) return 0;
    if (seen[at].source != NULL) continue;
    seen[at].source = source;
    seen[at].line = line;
    return 1;
  }
  return 0;
}

static void on_line(lua_State *L, lua_Debug *at) {
  char text[256];
  lua_getinfo(L, "Sl", at);
  if (!is_new(at->source, at->currentline)) return;
  const char *path = strstr(at->source, "lua/fulcio/");
  if (*at->source != '@' || path == NULL) return;
  int size = snprintf(text, sizeof text, "%s:%d\n", path, at->currentline);
  if (size > 0 && write(file, text, (size_t)size) != size) return;
}

/* Coroutines have the hook of the state they are made in. */
lua_State *__wrap_lua_newstate(lua_Alloc allocate, void *user) {
  lua_State *L = __real_lua_newstate(allocate, user);
  const char *path = getenv("LINES");
  if (file < 0 && path != NULL)
    file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  if (L != NULL && file >= 0) lua_sethook(L, on_line, LUA_MASKLINE, 0);
  return L;
}
