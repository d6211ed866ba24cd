/* Keys whose private half is elsewhere, for specs: the signer yields what
** is to be signed when it can, and signs with another key when it cannot. */
#include "engine.h"

#include <string.h>

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
  Pkey *other = pkey_check(L, 1);
  Pkey *key = pkey_push(L);
  EVP_PKEY_up_ref(other->key);
  key->key = other->key;
  key->is_private = true;
  key->signer = sign;
  lua_pushvalue(L, 1);
  key->signer_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  return 1;
}

int luaopen_yielding_signer(lua_State *L) {
  lua_newtable(L);
  lua_pushcfunction(L, wrap);
  lua_setfield(L, -2, "wrap");
  return 1;
}
