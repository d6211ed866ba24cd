/* Keys whose private half is elsewhere, for specs: the signer yields what
** is to be signed when it can, and signs with another key when it cannot. */
#include "engine.h"

#include <dlfcn.h>

/* The engine that this Lua has loaded: in the program, or in engine.so,
** whose path the spec's cpath tells. */
static Pkey *(*push)(lua_State *L);
static Pkey *(*check)(lua_State *L, int index);

static int sign(lua_State *L, Pkey *key, Slice data, const char *hash) {
  if (lua_isyieldable(L)) {
    lua_pushlstring(L, (const char *)data.data, data.size);
    return lua_yield(L, 1);
  }
  lua_rawgeti(L, LUA_REGISTRYINDEX, key->signer_ref);
  lua_getfield(L, -1, "sign");
  lua_insert(L, -2);
  lua_pushlstring(L, (const char *)data.data, data.size);
  lua_pushstring(L, hash);
  lua_call(L, 3, 3);
  return 3;
}

/* wrap(pkey) --> pkey */
static int wrap(lua_State *L) {
  Pkey *other = check(L, 1);
  Pkey *key = push(L);
  EVP_PKEY_up_ref(other->key);
  key->key = other->key;
  key->is_private = true;
  key->signer = sign;
  lua_pushvalue(L, 1);
  key->signer_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  return 1;
}

static void find_engine(lua_State *L) {
  void *program = dlopen(NULL, RTLD_LAZY);
  if (dlsym(program, "pkey_push") == NULL) {
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "searchpath");
    lua_pushliteral(L, "fulcio.engine");
    lua_getfield(L, -3, "cpath");
    lua_call(L, 2, 1);
    program = dlopen(luaL_checkstring(L, -1), RTLD_LAZY | RTLD_NOLOAD);
    lua_pop(L, 2);
  }
  *(void **)&push = dlsym(program, "pkey_push");
  *(void **)&check = dlsym(program, "pkey_check");
  if (push == NULL || check == NULL) luaL_error(L, "no engine loaded");
}

int luaopen_yielding_signer(lua_State *L) {
  find_engine(L);
  lua_newtable(L);
  lua_pushcfunction(L, wrap);
  lua_setfield(L, -2, "wrap");
  return 1;
}
