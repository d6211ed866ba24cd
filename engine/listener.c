/* Listening sockets: opened by us or handed over by the service manager. */
#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 4096
#define FIRST_ACTIVATED 3 /* sd_listen_fds(3) */

static Listener *listeners;

typedef union Address {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
  struct sockaddr_un local;
} Address;

static void listener_close(Listener *listener) {
  if (listener->fd < 0) return;
  close(listener->fd);
  listener->fd = -1;
  Listener **at = &listeners;
  while (*at != NULL && *at != listener) at = &(*at)->next;
  if (*at != NULL) *at = listener->next;
  if (listener->address[0] == '/' && listener->opened == getpid())
    unlink(listener->address);
}

void listeners_close(Listeners which) {
  Listener *next;
  for (Listener *at = listeners; at != NULL; at = next) {
    next = at->next;
    if (which == UNSERVED_LISTENERS && at->served) continue;
    bool local = at->address[0] == '/' || at->address[0] == '@';
    if (which == TCP_LISTENERS && local) continue;
    listener_close(at);
  }
}

static int listener_gc(lua_State *L) {
  listener_close(luaL_checkudata(L, 1, LISTENER_TYPE));
  return 0;
}

/* Says where the socket is, as it really is (port 0 became a number). */
static void listener_describe(Listener *listener) {
  Address where = {0};
  socklen_t size = sizeof where;
  char host[INET6_ADDRSTRLEN] = "";
  getsockname(listener->fd, &where.any, &size);
  size_t room = sizeof listener->address;
  if (where.any.sa_family == AF_INET) {
    inet_ntop(AF_INET, &where.v4.sin_addr, host, sizeof host);
    listener->port = ntohs(where.v4.sin_port);
    snprintf(listener->address, room, "%s:%d", host, listener->port);
  } else if (where.any.sa_family == AF_INET6) {
    inet_ntop(AF_INET6, &where.v6.sin6_addr, host, sizeof host);
    listener->port = ntohs(where.v6.sin6_port);
    snprintf(listener->address, room, "[%s]:%d", host, listener->port);
  } else if (where.local.sun_path[0] == '\0') {
    size -= offsetof(struct sockaddr_un, sun_path) + 1;
    snprintf(listener->address, room, "@%.*s", (int)size,
             where.local.sun_path + 1);
  } else {
    snprintf(listener->address, room, "%s", where.local.sun_path);
  }
}

static long environment_number(const char *name) {
  const char *text = getenv(name);
  return text == NULL ? 0 : strtol(text, NULL, 10);
}

/* A socket that the service manager opened for this port or path. */
static int listener_activated(int port, const char *path) {
  if (environment_number("LISTEN_PID") != (long)getpid()) return -1;
  int end = FIRST_ACTIVATED + (int)environment_number("LISTEN_FDS");
  for (int fd = FIRST_ACTIVATED; fd < end; fd++) {
    int listens = 0;
    Address where = {0};
    socklen_t size = sizeof where, flag = sizeof listens;
    if (getsockname(fd, &where.any, &size) != 0) continue;
    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &flag);
    int family = where.any.sa_family;
    bool same = path != NULL
      ? family == AF_UNIX && strcmp(where.local.sun_path, path) == 0
      : family == AF_INET
      ? ntohs(where.v4.sin_port) == port
      : family == AF_INET6 && ntohs(where.v6.sin6_port) == port;
    if (listens && same) return fd;
  }
  return -1;
}

static int listener_failed(lua_State *L, int error, const char *where) {
  const char *code = error == EADDRINUSE ? "in_use"
    : error == EACCES || error == EPERM  ? "denied"
                                         : "bad_address";
  return engine_fail(L, code, "cannot listen on %s: %s", where,
                     strerror(error));
}

/* Binds and listens; 0 or errno. */
static int listener_bind(Listener *listener, const struct sockaddr *where,
                         socklen_t size) {
  int on = 1;
  int fd =
    socket(where->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return errno;
  if (where->sa_family != AF_UNIX)
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, where, size) != 0 || listen(fd, BACKLOG) != 0) {
    int error = errno;
    close(fd);
    return error;
  }
  listener->fd = fd;
  return 0;
}

static int listen_tcp(lua_State *L, Listener *listener, const char *host,
                      int port) {
  char service[16];
  snprintf(service, sizeof service, "%d", port);
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
  struct addrinfo *found = NULL;
  int error = getaddrinfo(host, service, &hints, &found);
  if (error != 0)
    return engine_fail(L, "bad_address", "cannot listen on %s: %s", host,
                       gai_strerror(error));
  for (struct addrinfo *at = found; at != NULL; at = at->ai_next) {
    error = listener_bind(listener, at->ai_addr, at->ai_addrlen);
    if (error == 0) break;
  }
  freeaddrinfo(found);
  if (error == 0) return 0;
  lua_pushfstring(L, "%s port %d", host, port);
  return listener_failed(L, error, lua_tostring(L, -1));
}

/* Whether somebody answers on a unix socket's path. */
static bool is_alive(const struct sockaddr_un *where) {
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return true;
  bool alive =
    connect(fd, (const struct sockaddr *)where, sizeof *where) == 0 ||
    errno == EAGAIN;
  close(fd);
  return alive;
}

/* A name that is in no file system and goes with its last socket. */
static int listen_abstract(lua_State *L, Listener *listener, const char *name,
                           size_t size) {
  struct sockaddr_un where = {.sun_family = AF_UNIX};
  memcpy(where.sun_path + 1, name + 1, size - 1);
  int error =
    listener_bind(listener, (struct sockaddr *)&where,
                  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size));
  return error == 0 ? 0 : listener_failed(L, error, name);
}

static int listen_unix(lua_State *L, Listener *listener, const char *path,
                       mode_t mode) {
  struct sockaddr_un where = {.sun_family = AF_UNIX};
  size_t size = strlen(path);
  if ((path[0] != '/' && path[0] != '@') || size >= sizeof where.sun_path)
    return engine_fail(L, "bad_address",
                       "cannot listen on %s: not an absolute path, or @ and "
                       "a name, of at most 107 bytes",
                       path);
  if (path[0] == '@') return listen_abstract(L, listener, path, size);
  memcpy(where.sun_path, path, size + 1);
  struct stat stat;
  if (lstat(path, &stat) == 0 && S_ISSOCK(stat.st_mode) && !is_alive(&where))
    unlink(path); /* left by a process that was killed */
  mode_t before = umask(0777 & ~mode);
  int error = listener_bind(listener, (struct sockaddr *)&where, sizeof where);
  umask(before);
  if (error == 0) return 0;
  return listener_failed(L, error, path);
}

static int option_integer(lua_State *L, const char *name, int fallback) {
  lua_getfield(L, 1, name);
  int value = (int)luaL_optinteger(L, -1, fallback);
  lua_pop(L, 1);
  return value;
}

/* server.listen{host, port, unix, mode} --> listener |
** nil, message, "in_use" | "bad_address" | "denied" */
static int server_listen(lua_State *L) {
  static const char *const names[] = {"host", "port", "unix", "mode", NULL};
  luaL_checktype(L, 1, LUA_TTABLE);
  engine_check_options(L, 1, names);
  lua_settop(L, 1);
  lua_getfield(L, 1, "unix");
  const char *path = luaL_optstring(L, 2, NULL);
  lua_getfield(L, 1, "host");
  const char *host = luaL_optstring(L, 3, "127.0.0.1");
  int port = option_integer(L, "port", 0);
  int mode = option_integer(L, "mode", 0600);
  luaL_argcheck(L, port >= 0 && port <= 65535, 1, "no such port");
  Listener *listener = lua_newuserdatauv(L, sizeof *listener, 0);
  memset(listener, 0, sizeof *listener);
  listener->fd = -1;
  luaL_setmetatable(L, LISTENER_TYPE);
  int fd = listener_activated(port, path);
  if (fd >= 0) {
    listener->fd = fd;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
  } else {
    listener->opened = getpid();
    int failed = path != NULL ? listen_unix(L, listener, path, (mode_t)mode)
                              : listen_tcp(L, listener, host, port);
    if (failed != 0) return failed;
  }
  listener_describe(listener);
  listener->next = listeners;
  listeners = listener;
  return 1;
}

/* listener:close() */
static int listener_shut(lua_State *L) {
  return listener_gc(L);
}

/* listener.port, listener.address */
static int listener_index(lua_State *L) {
  Listener *listener = luaL_checkudata(L, 1, LISTENER_TYPE);
  const char *name = luaL_checkstring(L, 2);
  if (strcmp(name, "port") == 0)
    lua_pushinteger(L, listener->port);
  else if (strcmp(name, "address") == 0)
    lua_pushstring(L, listener->address);
  else if (strcmp(name, "close") == 0)
    lua_pushcfunction(L, listener_shut);
  else
    lua_pushnil(L);
  return 1;
}

void listener_register(lua_State *L) {
  static const luaL_Reg methods[] = {
    {"__gc", listener_gc},
    {"__index", listener_index},
    {NULL, NULL},
  };
  luaL_newmetatable(L, LISTENER_TYPE);
  luaL_setfuncs(L, methods, 0);
  lua_pop(L, 1);
  lua_pushcfunction(L, server_listen);
  lua_setfield(L, -2, "listen");
}
