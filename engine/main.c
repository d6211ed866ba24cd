/* The program: Lua, the engine, and the modules installed beside it. */
#include "engine.h"
#include "memory.h"
#include "wipe.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int luaopen_fulcio_engine(lua_State *L);

/* Where our Lua modules may be, seen from the program's directory:
** installed, a build tree, a build tree with a folder for each variant. */
static const char *const places[] = {
  "../share/fulcio/lua",
  "../lua",
  "../../lua",
};

/* Pushes the directory of our Lua modules; NULL when there is none. */
static const char *push_modules(lua_State *L) {
  char program[PATH_MAX];
  ssize_t size = readlink("/proc/self/exe", program, sizeof program - 1);
  if (size <= 0) return NULL;
  program[size] = '\0';
  *strrchr(program, '/') = '\0';
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    lua_pushfstring(L, "%s/%s", program, places[i]);
    lua_pushfstring(L, "%s/fulcio/main.lua", lua_tostring(L, -1));
    bool found = access(lua_tostring(L, -1), R_OK) == 0;
    lua_pop(L, 1);
    if (found) return lua_tostring(L, -1);
    lua_pop(L, 1);
  }
  return NULL;
}

/* Sets package.path and package.cpath to our modules and Debian's. */
static void limit_paths(lua_State *L) {
  const char *modules = push_modules(L);
  if (modules == NULL)
    luaL_error(L,
               "the Lua modules are neither in ../share/fulcio/lua nor "
               "in ../lua, seen from the program");
  lua_getglobal(L, "package");
  lua_pushfstring(
    L, "%s/?.lua;" LUA_MODULES "/?.lua;" LUA_MODULES "/?/init.lua", modules);
  lua_setfield(L, -2, "path");
  lua_pushliteral(L, LUA_C_MODULES "/?.so");
  lua_setfield(L, -2, "cpath");
  lua_getfield(L, -1, "preload");
  lua_pushcfunction(L, luaopen_fulcio_engine);
  lua_setfield(L, -2, "fulcio.engine");
  lua_pop(L, 3);
}

/* run(argc, argv) --> what fulcio.main returned */
static int run(lua_State *L) {
  int argc = (int)lua_tointeger(L, 1);
  char **argv = lua_touserdata(L, 2);
  lua_pushboolean(L, true);
  lua_setfield(L, LUA_REGISTRYINDEX, "LUA_NOENV");
  luaL_openlibs(L);
  limit_paths(L);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "fulcio.main");
  lua_call(L, 1, 1);
  lua_createtable(L, argc, 0);
  for (int i = 0; i < argc; i++) {
    lua_pushstring(L, argv[i]);
    lua_rawseti(L, -2, i);
  }
  lua_call(L, 1, 1);
  return 1;
}

static int traceback(lua_State *L) {
  luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
  return 1;
}

int main(int argc, char **argv) {
  wipe_install();
  signal(SIGPIPE, SIG_IGN);
  system_argv(argc, argv);
  lua_State *L = memory_state();
  if (L == NULL) return EXIT_FAILURE;
  lua_pushcfunction(L, traceback);
  lua_pushcfunction(L, run);
  lua_pushinteger(L, argc);
  lua_pushlightuserdata(L, argv);
  int status = EXIT_FAILURE;
  if (lua_pcall(L, 2, 1, 1) != LUA_OK)
    fprintf(stderr, "fulcio: %s\n", lua_tostring(L, -1));
  else
    status = (int)lua_tointeger(L, -1);
  lua_close(L);
  return status;
}
