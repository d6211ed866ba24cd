/* For specs: many TCP connections from one process.
**
**   sockets.connect(port) --> fd | nil, message
**   sockets.send(fd, bytes) --> boolean: all of them went
**   sockets.receive(fd, milliseconds) --> bytes until a pause or the end,
**                                         whether it is the end
**   sockets.close(fd) */
#include <arpa/inet.h>
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static int spec_connect(lua_State *L) {
  struct sockaddr_in place = {
    .sin_family = AF_INET,
    .sin_port = htons((uint16_t)luaL_checkinteger(L, 1)),
    .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
  };
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0 && connect(fd, (struct sockaddr *)&place, sizeof place) == 0) {
    lua_pushinteger(L, fd);
    return 1;
  }
  lua_pushnil(L);
  lua_pushstring(L, strerror(errno));
  if (fd >= 0) close(fd);
  return 2;
}

static int spec_send(lua_State *L) {
  size_t size;
  const char *bytes = luaL_checklstring(L, 2, &size);
  ssize_t sent = send((int)luaL_checkinteger(L, 1), bytes, size, MSG_NOSIGNAL);
  lua_pushboolean(L, sent == (ssize_t)size);
  return 1;
}

static int spec_receive(lua_State *L) {
  struct pollfd one = {(int)luaL_checkinteger(L, 1), POLLIN, 0};
  int pause = (int)luaL_checkinteger(L, 2);
  bool ended = false;
  luaL_Buffer all;
  luaL_buffinit(L, &all);
  while (!ended && poll(&one, 1, pause) == 1) {
    ssize_t got =
      recv(one.fd, luaL_prepbuffer(&all), LUAL_BUFFERSIZE, MSG_DONTWAIT);
    if (got > 0) luaL_addsize(&all, (size_t)got);
    ended = got <= 0;
  }
  luaL_pushresult(&all);
  lua_pushboolean(L, ended);
  return 2;
}

static int spec_close(lua_State *L) {
  close((int)luaL_checkinteger(L, 1));
  return 0;
}

int luaopen_sockets(lua_State *L) {
  static const luaL_Reg functions[] = {
    {"connect", spec_connect}, {"send", spec_send}, {"receive", spec_receive},
    {"close", spec_close},     {NULL, NULL},
  };
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  luaL_newlib(L, functions);
  lua_pushinteger(L, (lua_Integer)files.rlim_max);
  lua_setfield(L, -2, "most");
  return 1;
}
