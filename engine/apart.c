/* system.apart: what must not happen in this process happens in a child. */
#include "engine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void write_all(int fd, const char *bytes, size_t size) {
  while (size > 0) {
    ssize_t written = write(fd, bytes, size);
    if (written < 0 && errno != EINTR) return;
    if (written < 0) continue;
    bytes += written;
    size -= (size_t)written;
  }
}

static void write_text(lua_State *L, int index, int fd) {
  size_t size;
  const char *text = lua_tolstring(L, index, &size);
  if (text != NULL) write_all(fd, text, size);
}

/* Runs the function and sends '+' and its text, or '-', the code, a line
** end and the message. */
static void child(lua_State *L, int fd, pid_t parent, unsigned seconds) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(EXIT_FAILURE);
  alarm(seconds);
  lua_settop(L, 1);
  if (lua_pcall(L, 0, 3, 0) != LUA_OK) {
    write_all(fd, "-failed\n", 8);
    write_text(L, -1, fd);
  } else if (lua_isstring(L, -3)) {
    write_all(fd, "+", 1);
    write_text(L, -3, fd);
  } else {
    write_all(fd, "-", 1);
    write_text(L, -1, fd);
    write_all(fd, "\n", 1);
    write_text(L, -2, fd);
  }
  /* No lua_close: its finalisers are the parent's business. */
  _exit(EXIT_SUCCESS);
}

/* Pushes all that comes. */
static void read_all(lua_State *L, int fd) {
  luaL_Buffer buffer;
  luaL_buffinit(L, &buffer);
  for (;;) {
    char part[1024];
    ssize_t got = read(fd, part, sizeof part);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    luaL_addlstring(&buffer, part, (size_t)got);
  }
  luaL_pushresult(&buffer);
}

/* What the child sent is on top of the stack. */
static int answer(lua_State *L, int status, unsigned seconds) {
  size_t size;
  const char *text = lua_tolstring(L, -1, &size);
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
    return engine_fail(L, "timeout", "no answer for %d seconds", (int)seconds);
  if (size == 0)
    return engine_fail(L, "failed", "the child process ended by signal %d",
                       WIFSIGNALED(status) ? WTERMSIG(status) : 0);
  if (text[0] == '+') {
    lua_pushlstring(L, text + 1, size - 1);
    return 1;
  }
  const char *line = strchr(text, '\n');
  if (line == NULL) return engine_fail(L, "failed", "%s", text + 1);
  lua_pushnil(L);
  lua_pushstring(L, line + 1);
  lua_pushlstring(L, text + 1, (size_t)(line - text) - 1);
  return 3;
}

/* system.apart(run, seconds) --> text | nil, message, code */
int system_apart(lua_State *L) {
  int ends[2];
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_Integer seconds = luaL_checkinteger(L, 2);
  luaL_argcheck(L, seconds >= 1 && seconds <= 86400, 2, "1 to 86400 expected");
  if (pipe2(ends, O_CLOEXEC) != 0)
    return engine_fail(L, "failed", "pipe: %s", strerror(errno));
  pid_t parent = getpid();
  pid_t pid = fork();
  if (pid == 0) {
    close(ends[0]);
    child(L, ends[1], parent, (unsigned)seconds);
  }
  close(ends[1]);
  if (pid < 0) {
    close(ends[0]);
    return engine_fail(L, "failed", "fork: %s", strerror(errno));
  }
  read_all(L, ends[0]);
  close(ends[0]);
  int status;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  return answer(L, status, (unsigned)seconds);
}
