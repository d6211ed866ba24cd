/* A libFuzzer target whose property is a function of Lua: TARGET names
** spec/fuzz/TARGET.lua, which returns it. It is called with each input; an
** error that it throws is a finding. Lines of Lua that run count as
** coverage, like the engine's own branches. */
#include "engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNTERS 32768
#define PROPERTY 1 /* where it is on the stack */

int luaopen_fulcio_engine(lua_State *L);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t counters[COUNTERS]
  __attribute__((section("__libfuzzer_extra_counters")));
static lua_State *state;

static void on_line(lua_State *L, lua_Debug *at) {
  lua_getinfo(L, "Sl", at);
  uintptr_t file = (uintptr_t)at->source >> 4;
  size_t place = (file * 31 + (size_t)at->currentline) % COUNTERS;
  if (counters[place] < UINT8_MAX) counters[place]++;
}

static void stop(const char *message) {
  fprintf(stderr, "%s\n", message == NULL ? "no message" : message);
  abort();
}

static int with_trace(lua_State *L) {
  const char *message = luaL_tolstring(L, 1, NULL);
  luaL_traceback(L, L, message, 1);
  return 1;
}

static void start(void) {
  static const char prepare[] =
    "package.path = './lua/?.lua;./?.lua'\n"
    "return require('spec.fuzz.' .. os.getenv('TARGET'))";
  lua_State *L = state = luaL_newstate();
  if (L == NULL) abort();
  luaL_openlibs(L);
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, luaopen_fulcio_engine);
  lua_setfield(L, -2, "fulcio.engine");
  lua_settop(L, 0);
  if (luaL_loadstring(L, prepare) != LUA_OK || lua_pcall(L, 0, 1, 0) != LUA_OK)
    stop(lua_tostring(L, -1));
  lua_sethook(L, on_line, LUA_MASKLINE, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (state == NULL) start();
  lua_pushcfunction(state, with_trace);
  lua_pushvalue(state, PROPERTY);
  lua_pushlstring(state, (const char *)data, size);
  if (lua_pcall(state, 1, 0, -3) != LUA_OK) stop(lua_tostring(state, -1));
  lua_settop(state, PROPERTY);
  return 0;
}
