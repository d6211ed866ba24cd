/* The machine: clocks, secrets, files, this process's privileges. */
#include "engine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define LISTING_TYPE "fulcio.listing"

/* nil, "WHAT: reason", code for the errno it is given. */
static int fail_errno(lua_State *L, int number, const char *what) {
  const char *code = "failed";
  switch (number) {
    case ENOENT:
    case ENOTDIR: code = "no_file"; break;
    case EEXIST: code = "exists"; break;
    case EACCES:
    case EPERM:
    case EROFS: code = "denied"; break;
    case ENOSPC:
    case EDQUOT: code = "disk_full"; break;
  }
  return engine_fail(L, code, "%s: %s", what, strerror(number));
}

/* A path argument; C would silently cut it at a NUL. */
static const char *check_path(lua_State *L, int index) {
  size_t size;
  const char *path = luaL_checklstring(L, index, &size);
  luaL_argcheck(L, strlen(path) == size, index, "path contains NUL");
  return path;
}

static double seconds(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* system.now() --> integer */
static int system_now(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)time(NULL));
  return 1;
}

/* system.now_ms() --> integer */
static int system_now_ms(lua_State *L) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  lua_pushinteger(L, (lua_Integer)t.tv_sec * 1000 + t.tv_nsec / 1000000);
  return 1;
}

/* system.monotonic() --> number */
static int system_monotonic(lua_State *L) {
  lua_pushnumber(L, seconds(CLOCK_MONOTONIC));
  return 1;
}

/* What scandir made, so that a Lua error cannot leak it. */
typedef struct Listing {
  struct dirent **entries;
  int count;
} Listing;

static int listing_collect(lua_State *L) {
  Listing *listing = luaL_checkudata(L, 1, LISTING_TYPE);
  for (int i = 0; i < listing->count; i++) free(listing->entries[i]);
  free(listing->entries);
  listing->entries = NULL;
  listing->count = 0;
  return 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b) {
  return strcmp((*a)->d_name, (*b)->d_name);
}

static int not_dots(const struct dirent *entry) {
  return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

/* system.list(directory) --> names | nil, message, "no_file" "denied" */
static int system_list(lua_State *L) {
  const char *path = check_path(L, 1);
  Listing *listing = lua_newuserdata(L, sizeof *listing);
  listing->entries = NULL;
  listing->count = 0;
  luaL_setmetatable(L, LISTING_TYPE);
  int count = scandir(path, &listing->entries, not_dots, by_bytes);
  if (count < 0) return fail_errno(L, errno, path);
  listing->count = count;
  lua_createtable(L, count, 0);
  for (int i = 0; i < count; i++) {
    lua_pushstring(L, listing->entries[i]->d_name);
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

/* A text that changes when anything else is at a path, or the same is
** written, moved there or given to others: size and time alone do not. */
static void push_stamp(lua_State *L, const struct stat *st) {
  char text[160];
  snprintf(text, sizeof text, "%jx.%jx %jd %jd.%09ld %jd.%09ld",
           (uintmax_t)st->st_dev, (uintmax_t)st->st_ino, (intmax_t)st->st_size,
           (intmax_t)st->st_mtim.tv_sec, st->st_mtim.tv_nsec,
           (intmax_t)st->st_ctim.tv_sec, st->st_ctim.tv_nsec);
  lua_pushstring(L, text);
}

/* system.stat(path) --> table | nil, message, "no_file" "denied" */
static int system_stat(lua_State *L) {
  const char *path = check_path(L, 1);
  struct stat st;
  if (stat(path, &st) != 0) return fail_errno(L, errno, path);
  lua_createtable(L, 0, 5);
  lua_pushstring(L,
                 S_ISREG(st.st_mode)     ? "file"
                   : S_ISDIR(st.st_mode) ? "directory"
                                         : "other");
  lua_setfield(L, -2, "kind");
  lua_pushinteger(L, (lua_Integer)st.st_size);
  lua_setfield(L, -2, "size");
  lua_pushnumber(
    L, (lua_Number)st.st_mtim.tv_sec + (lua_Number)st.st_mtim.tv_nsec / 1e9);
  lua_setfield(L, -2, "mtime");
  lua_pushinteger(L, (lua_Integer)(st.st_mode & 07777));
  lua_setfield(L, -2, "mode");
  push_stamp(L, &st);
  lua_setfield(L, -2, "stamp");
  return 1;
}

/* system.absolute(path) --> path | nil, message, code */
static int system_absolute(lua_State *L) {
  const char *path = check_path(L, 1);
  char here[PATH_MAX];
  if (path[0] == '/') {
    lua_settop(L, 1);
    return 1;
  }
  if (getcwd(here, sizeof here) == NULL) return fail_errno(L, errno, path);
  lua_pushfstring(L, "%s/%s", here, path);
  return 1;
}

static mode_t check_mode(lua_State *L, int index, mode_t otherwise) {
  if (lua_isnoneornil(L, index)) return otherwise;
  lua_Integer mode = luaL_checkinteger(L, index);
  luaL_argcheck(L, mode >= 0 && mode <= 07777, index, "mode out of range");
  return (mode_t)mode;
}

/* Makes one directory; 0, or errno. One that is there already is fine. */
static int make_directory(const char *path, mode_t mode) {
  if (mkdir(path, mode) == 0) return chmod(path, mode) == 0 ? 0 : errno;
  int number = errno;
  struct stat st;
  if (number == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) return 0;
  return number;
}

/* system.mkdir(path [, mode]) --> true | nil, message, code */
static int system_mkdir(lua_State *L) {
  const char *path = check_path(L, 1);
  mode_t mode = check_mode(L, 2, 0700);
  char part[PATH_MAX];
  size_t size = strlen(path);
  if (size == 0) return fail_errno(L, ENOENT, "\"\"");
  if (size >= sizeof part) return fail_errno(L, ENAMETOOLONG, "path");
  for (size_t i = 0; i <= size; i++) {
    part[i] = path[i];
    if (i == 0 || (path[i] != '/' && path[i] != '\0')) continue;
    part[i] = '\0';
    int number = make_directory(part, mode);
    if (number != 0) return fail_errno(L, number, part);
    part[i] = path[i];
  }
  lua_pushboolean(L, 1);
  return 1;
}

static int write_all(int file, const char *bytes, size_t size) {
  while (size > 0) {
    ssize_t put = write(file, bytes, size);
    if (put < 0 && errno != EINTR) return -1;
    if (put > 0) {
      bytes += put;
      size -= (size_t)put;
    }
  }
  return 0;
}

/* Makes the new name durable: fsync of the directory that holds it. */
static int sync_parent(const char *path) {
  char parent[PATH_MAX];
  const char *slash = strrchr(path, '/');
  if (slash == NULL)
    snprintf(parent, sizeof parent, ".");
  else
    snprintf(parent, sizeof parent, "%.*s", (int)(slash - path) + 1, path);
  int directory = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return -1;
  int result = fsync(directory);
  int number = errno;
  close(directory);
  errno = number;
  return result;
}

/* 0, or errno with the temporary file gone. */
static int write_file(const char *path, const char *bytes, size_t size,
                      mode_t mode, bool exclusive) {
  char temporary[PATH_MAX];
  int length = snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
  if (length < 0 || (size_t)length >= sizeof temporary) return ENAMETOOLONG;
  int file = mkostemp(temporary, O_CLOEXEC);
  if (file < 0) return errno;
  int number = 0;
  if (fchmod(file, mode) != 0 || write_all(file, bytes, size) != 0 ||
      fsync(file) != 0)
    number = errno;
  if (close(file) != 0 && number == 0) number = errno;
  if (number == 0 && exclusive && link(temporary, path) != 0) number = errno;
  if (number == 0 && !exclusive && rename(temporary, path) != 0) number = errno;
  if (number != 0 || exclusive) unlink(temporary);
  if (number == 0 && sync_parent(path) != 0) number = errno;
  return number;
}

/* system.write(path, bytes [, options]) --> true | nil, message, code */
static int system_write(lua_State *L) {
  static const char *const names[] = {"mode", "exclusive", NULL};
  size_t size;
  const char *path = check_path(L, 1);
  const char *bytes = luaL_checklstring(L, 2, &size);
  mode_t mode = 0600;
  bool exclusive = false;
  if (!lua_isnoneornil(L, 3)) {
    luaL_checktype(L, 3, LUA_TTABLE);
    engine_check_options(L, 3, names);
    lua_getfield(L, 3, "mode");
    mode = check_mode(L, -1, mode);
    lua_getfield(L, 3, "exclusive");
    exclusive = lua_toboolean(L, -1);
  }
  int number = write_file(path, bytes, size, mode, exclusive);
  if (number != 0) return fail_errno(L, number, path);
  lua_pushboolean(L, 1);
  return 1;
}

/* The processors a cgroup v2 quota leaves us; INT_MAX without one. */
static int quota_processors(void) {
  char text[64];
  char *after;
  FILE *file = fopen("/sys/fs/cgroup/cpu.max", "re");
  if (file == NULL) return INT_MAX;
  bool read = fgets(text, sizeof text, file) != NULL;
  fclose(file);
  if (!read) return INT_MAX;
  long quota = strtol(text, &after, 10);
  long period = strtol(after, NULL, 10);
  if (quota <= 0 || period <= 0) return INT_MAX;
  return (int)((quota + period - 1) / period);
}

/* system.processors() --> integer */
static int system_processors(lua_State *L) {
  cpu_set_t set;
  int count = 1;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    count = CPU_COUNT(&set);
  else
    count = (int)sysconf(_SC_NPROCESSORS_ONLN);
  int quota = quota_processors();
  if (quota < count) count = quota;
  lua_pushinteger(L, count < 1 ? 1 : count);
  return 1;
}

/* Becomes the user for good. 0, or errno. */
static int become(const struct passwd *user) {
  if (geteuid() == user->pw_uid && getegid() == user->pw_gid) return 0;
  if (initgroups(user->pw_name, user->pw_gid) != 0 ||
      setresgid(user->pw_gid, user->pw_gid, user->pw_gid) != 0 ||
      setresuid(user->pw_uid, user->pw_uid, user->pw_uid) != 0)
    return errno;
  if (user->pw_uid != 0 && setuid(0) == 0) return EPERM;
  return 0;
}

/* LeakSanitizer has to trace its own process. */
static bool forbid_tracing(void) {
#ifdef __SANITIZE_ADDRESS__
  return true;
#else
  return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0;
#endif
}

/* system.harden(options) --> true | nil, message, code */
static int system_harden(lua_State *L) {
  static const char *const names[] = {"user", NULL};
  luaL_checktype(L, 1, LUA_TTABLE);
  engine_check_options(L, 1, names);
  lua_getfield(L, 1, "user");
  if (!lua_isnil(L, -1)) {
    const char *name = luaL_checkstring(L, -1);
    struct passwd *user = getpwnam(name);
    if (user == NULL)
      return engine_fail(L, "no_user", "user %s does not exist", name);
    int number = become(user);
    if (number != 0)
      return engine_fail(L, "denied", "cannot become user %s: %s", name,
                         strerror(number));
  }
  struct rlimit none = {0, 0};
  umask(077);
  if (setrlimit(RLIMIT_CORE, &none) != 0)
    return fail_errno(L, errno, "core dump limit");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    return fail_errno(L, errno, "no_new_privs");
  if (!forbid_tracing()) return fail_errno(L, errno, "not dumpable");
  lua_pushboolean(L, 1);
  return 1;
}

/* system.notify(state) */
static int system_notify(lua_State *L) {
  size_t size;
  const char *state = luaL_checklstring(L, 1, &size);
  const char *path = getenv("NOTIFY_SOCKET");
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (path == NULL || (path[0] != '/' && path[0] != '@')) return 0;
  size_t length = strlen(path);
  if (length >= sizeof address.sun_path) return 0;
  memcpy(address.sun_path, path, length);
  if (path[0] == '@') address.sun_path[0] = '\0';
  int end = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (end < 0) return 0;
  socklen_t named =
    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
  sendto(end, state, size, MSG_NOSIGNAL, (struct sockaddr *)&address, named);
  close(end);
  return 0;
}

int engine_open_system(lua_State *L) {
  static const luaL_Reg functions[] = {
    {"now", system_now},
    {"now_ms", system_now_ms},
    {"monotonic", system_monotonic},
    {"secret", secret_from},
    {"list", system_list},
    {"stat", system_stat},
    {"absolute", system_absolute},
    {"mkdir", system_mkdir},
    {"write", system_write},
    {"processors", system_processors},
    {"harden", system_harden},
    {"notify", system_notify},
    {"apart", system_apart},
    {"read_only", system_read_only},
    {NULL, NULL},
  };
  secret_open(L);
  luaL_newmetatable(L, LISTING_TYPE);
  lua_pushcfunction(L, listing_collect);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  luaL_newlib(L, functions);
  return 1;
}
