/* Passwords and PINs: bytes that C can read and Lua can only hand on. */
#include "engine.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECRET_MAX 65536

static int arg_count;
static char **arg_values;

void system_argv(int argc, char **argv) {
  arg_count = argc;
  arg_values = argv;
}

Slice secret_slice(lua_State *L, int index) {
  Slice slice = {NULL, 0};
  if (lua_isnoneornil(L, index)) return slice;
  Secret *secret = luaL_testudata(L, index, SECRET_TYPE);
  if (secret != NULL) {
    slice.data = (unsigned char *)secret->bytes;
    slice.size = secret->size;
  } else {
    slice.data = (unsigned char *)luaL_checklstring(L, index, &slice.size);
  }
  return slice;
}

static int secret_collect(lua_State *L) {
  Secret *secret = luaL_checkudata(L, 1, SECRET_TYPE);
  OPENSSL_clear_free(secret->bytes, secret->size + 1);
  secret->bytes = NULL;
  secret->size = 0;
  return 0;
}

static int secret_text(lua_State *L) {
  lua_pushliteral(L, "fulcio.secret: hidden");
  return 1;
}

static Secret *secret_push(lua_State *L) {
  Secret *secret = lua_newuserdata(L, sizeof *secret);
  secret->bytes = NULL;
  secret->size = 0;
  luaL_setmetatable(L, SECRET_TYPE);
  return secret;
}

static bool secret_fill(Secret *secret, const void *bytes, size_t size) {
  secret->bytes = OPENSSL_malloc(size + 1);
  if (secret->bytes == NULL) return false;
  if (size > 0) memcpy(secret->bytes, bytes, size);
  secret->bytes[size] = '\0';
  secret->size = size;
  return true;
}

/* Overwrites `text` where the command line holds it, as a whole argument
** or after the "=" of one. */
static void scrub_argv(const char *text, size_t size) {
  if (size == 0) return;
  for (int i = 1; i < arg_count; i++) {
    char *value = arg_values[i];
    char *equals = strchr(value, '=');
    if (strcmp(value, text) == 0)
      memset(value, 'x', size);
    else if (equals != NULL && strcmp(equals + 1, text) == 0)
      memset(equals + 1, 'x', size);
  }
}

/* Reads at most SECRET_MAX bytes; -1 with errno on failure. */
static ssize_t read_small(const char *path, char *buffer) {
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return -1;
  size_t size = 0;
  ssize_t got;
  do {
    got = read(file, buffer + size, SECRET_MAX + 1 - size);
    if (got > 0) size += (size_t)got;
  } while ((got > 0 && size <= SECRET_MAX) || (got < 0 && errno == EINTR));
  int number = got < 0 ? errno : size > SECRET_MAX ? EFBIG : 0;
  close(file);
  errno = number;
  return number == 0 ? (ssize_t)size : -1;
}

static int secret_from_file(lua_State *L, const char *path) {
  Secret *secret = secret_push(L);
  char buffer[SECRET_MAX + 1];
  ssize_t size = read_small(path, buffer);
  int number = errno;
  if (size > 0 && buffer[size - 1] == '\n') {
    size--;
    if (size > 0 && buffer[size - 1] == '\r') size--;
  }
  bool kept = size >= 0 && secret_fill(secret, buffer, (size_t)size);
  OPENSSL_cleanse(buffer, sizeof buffer);
  if (size < 0)
    return engine_fail(L, "no_file", "%s: %s", path, strerror(number));
  return kept ? 1 : luaL_error(L, "not enough memory");
}

/* A credential of systemd's, by its name (systemd.exec(5)). */
static int secret_from_credential(lua_State *L, const char *name) {
  const char *directory = getenv("CREDENTIALS_DIRECTORY");
  if (directory == NULL)
    return engine_fail(L, "no_file",
                       "credential %s: CREDENTIALS_DIRECTORY is not set", name);
  if (name[0] == '\0' || name[0] == '.' || strchr(name, '/') != NULL)
    return engine_fail(L, "no_file", "credential %s: not a name", name);
  return secret_from_file(L, lua_pushfstring(L, "%s/%s", directory, name));
}

/* system.secret(source) --> secret | nil, message, "no_file" */
int secret_from(lua_State *L) {
  size_t size;
  const char *source = luaL_checklstring(L, 1, &size);
  if (source[0] == '@') {
    luaL_argcheck(L, strlen(source) == size, 1, "path contains NUL");
    return secret_from_file(L, source + 1);
  }
  if (strncmp(source, "credential:", 11) == 0)
    return secret_from_credential(L, source + 11);
  if (strncmp(source, "env:", 4) == 0) {
    const char *value = getenv(source + 4);
    if (value == NULL)
      return engine_fail(L, "no_file", "environment variable %s is not set",
                         source + 4);
    if (!secret_fill(secret_push(L), value, strlen(value)))
      return luaL_error(L, "not enough memory");
    return 1;
  }
  if (!secret_fill(secret_push(L), source, size))
    return luaL_error(L, "not enough memory");
  scrub_argv(source, size);
  return 1;
}

void secret_open(lua_State *L) {
  static const luaL_Reg metamethods[] = {
    {"__gc", secret_collect},
    {"__tostring", secret_text},
    {NULL, NULL},
  };
  luaL_newmetatable(L, SECRET_TYPE);
  luaL_setfuncs(L, metamethods, 0);
  lua_pushliteral(L, SECRET_TYPE);
  lua_setfield(L, -2, "__metatable");
  lua_pop(L, 1);
}
