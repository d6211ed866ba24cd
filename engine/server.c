/* engine.server: the table of all its parts. */
#include "server.h"

int engine_open_server(lua_State *L);

int engine_open_server(lua_State *L) {
  lua_newtable(L);
  loop_register(L);
  return 1;
}
