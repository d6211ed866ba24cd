/* Requests that are read, and answers that are written, bit by bit: what the
** handler holds of them, which outlives them. */
#include "server.h"

/* Requests of one process whose handlers read them: each keeps a coroutine
** for as long as its peer likes. */
#define MAX_STREAMING 1000

static int streaming;

bool streaming_open(Request *request) {
  if (streaming == MAX_STREAMING) return false;
  streaming++;
  request->streaming = true;
  return true;
}

void streaming_close(Request *request) {
  if (request->streaming) streaming--;
  request->streaming = false;
  if (request->handle == NULL) return;
  request->handle->request = NULL;
  request->handle = NULL;
  if (loop_state() != NULL)
    luaL_unref(loop_state(), LUA_REGISTRYINDEX, request->handle_ref);
}

static void push_closure(lua_State *L, Request *request,
                         lua_CFunction function) {
  if (request->handle == NULL) {
    request->handle = lua_newuserdatauv(L, sizeof *request->handle, 0);
    request->handle->request = request;
    lua_pushvalue(L, -1);
    request->handle_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  } else {
    lua_rawgeti(L, LUA_REGISTRYINDEX, request->handle_ref);
  }
  lua_pushcclosure(L, function, 1);
}

/* The request that a closure is for; NULL when it or its peer has gone. */
static Request *own_request(lua_State *L) {
  const Handle *handle = lua_touserdata(L, lua_upvalueindex(1));
  Request *request = handle->request;
  return request == NULL || request->connection == NULL ? NULL : request;
}

/* request.read() --> bytes | nil */
static int request_read(lua_State *L) {
  Request *request = own_request(L);
  if (!loop_owns(L))
    return luaL_error(L, "request.read outside a coroutine of the server");
  if (request != NULL) return request->connection->protocol->read(L, request);
  lua_pushnil(L);
  return 1;
}

/* write(bytes) --> true | nil */
static int request_write(lua_State *L) {
  Slice bytes = engine_slice(L, 1);
  Request *request = own_request(L);
  if (!loop_owns(L))
    return luaL_error(L, "write outside a coroutine of the server");
  if (request != NULL)
    return request->connection->protocol->write(L, request, bytes);
  lua_pushnil(L);
  return 1;
}

void streaming_push_read(lua_State *L, Request *request) {
  push_closure(L, request, request_read);
}

void streaming_push_write(lua_State *L, Request *request) {
  push_closure(L, request, request_write);
}
