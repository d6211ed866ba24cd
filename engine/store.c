/* store: a SQLite file that one process holds (WAL, synchronous=FULL). */
#include "engine.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <string.h>
#include <unistd.h>

#define STORE_TYPE "fulcio.store"
/* A restarted process waits this long for the one that is ending. */
#define LOCK_WAIT_MS 2000
/* Pages of 4 KiB after which the write-ahead log goes into the file: what is
** written again and again meanwhile goes there once. */
#define WAL_PAGES 4000
/* Statements kept prepared; more than this are prepared each time. */
#define MAX_PREPARED 64

/* The userdata's user value is a table: SQL text --> sqlite3_stmt. */
typedef struct Store {
  sqlite3 *db; /* NULL: closed */
  int prepared;
} Store;

/* SQLite itself knows only ENOSPC as a full disk. */
static bool store_full(sqlite3 *db) {
  sqlite3_file *files[2] = {NULL, NULL};
  sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &files[0]);
  sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &files[1]);
  for (int i = 0; i < 2; i++) {
    int error = 0;
    if (files[i] == NULL || files[i]->pMethods == NULL) continue;
    files[i]->pMethods->xFileControl(files[i], SQLITE_FCNTL_LAST_ERRNO, &error);
    if (error == ENOSPC || error == EDQUOT || error == EFBIG) return true;
  }
  return false;
}

static const char *store_code(sqlite3 *db, int status) {
  switch (status & 0xff) {
    case SQLITE_FULL: return "disk_full";
    case SQLITE_IOERR: return store_full(db) ? "disk_full" : "failed";
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return "locked";
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return "corrupt";
    case SQLITE_CONSTRAINT: return "constraint";
    default: return "failed";
  }
}

/* Pushes nil, message, code for what SQLite just returned. */
static int store_fail(lua_State *L, sqlite3 *db, int status) {
  const char *file = sqlite3_db_filename(db, "main");
  const char *code = store_code(db, status);
  const char *why = sqlite3_errmsg(db);
  if (strcmp(code, "disk_full") == 0) why = "no space left, free some";
  if (strcmp(code, "corrupt") == 0) why = "not a sound SQLite file";
  if (strcmp(code, "locked") == 0) why = "another process holds it";
  return engine_fail(L, code, "%s: %s", file ? file : "store", why);
}

static Store *store_check(lua_State *L) {
  Store *store = luaL_checkudata(L, 1, STORE_TYPE);
  if (store->db == NULL) luaL_argerror(L, 1, "store is closed");
  return store;
}

/* store:close() */
static int store_close(lua_State *L) {
  Store *store = luaL_checkudata(L, 1, STORE_TYPE);
  if (store->db == NULL) return 0;
  sqlite3_stmt *statement;
  while ((statement = sqlite3_next_stmt(store->db, NULL)) != NULL)
    sqlite3_finalize(statement);
  sqlite3_close(store->db);
  store->db = NULL;
  lua_newtable(L);
  lua_setuservalue(L, 1);
  return 0;
}

/* The bytes stay Lua's: store_keep unbinds them before the call returns. */
static int store_bind(lua_State *L, sqlite3_stmt *statement, int index) {
  int parameter = index - 2;
  size_t size;
  const char *bytes;
  switch (lua_type(L, index)) {
    case LUA_TNIL: return sqlite3_bind_null(statement, parameter);
    case LUA_TSTRING:
      bytes = lua_tolstring(L, index, &size);
      return sqlite3_bind_blob64(statement, parameter, bytes, size,
                                 SQLITE_STATIC);
    case LUA_TNUMBER:
      return sqlite3_bind_int64(statement, parameter,
                                luaL_checkinteger(L, index));
    default:
      return luaL_argerror(L, index, "string, whole number or nil expected");
  }
}

/* The prepared statement for the SQL at index 2, from the cache or new;
** *tail is what follows its first statement. NULL with *status set. */
static sqlite3_stmt *store_prepare(lua_State *L, Store *store, const char *sql,
                                   const char **tail, int *status) {
  sqlite3_stmt *statement = NULL;
  *tail = "";
  lua_getuservalue(L, 1);
  lua_pushvalue(L, 2);
  lua_rawget(L, -2);
  statement = lua_touserdata(L, -1);
  lua_pop(L, 2);
  *status = SQLITE_OK;
  if (statement != NULL) {
    sqlite3_reset(statement); /* a Lua error may have left it running */
    return statement;
  }
  *status = sqlite3_prepare_v2(store->db, sql, -1, &statement, tail);
  return statement;
}

/* Statements that stand alone are kept; others are dropped after use. */
static void store_keep(lua_State *L, Store *store, sqlite3_stmt *statement,
                       bool alone) {
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
  lua_getuservalue(L, 1);
  lua_pushvalue(L, 2);
  lua_rawget(L, -2);
  bool known = !lua_isnil(L, -1);
  lua_pop(L, 1);
  if (alone && !known && store->prepared < MAX_PREPARED) {
    lua_pushvalue(L, 2);
    lua_pushlightuserdata(L, statement);
    lua_rawset(L, -3);
    store->prepared++;
    known = true;
  }
  lua_pop(L, 1);
  if (!known) sqlite3_finalize(statement);
}

static void store_column(lua_State *L, sqlite3_stmt *statement, int column) {
  const void *bytes;
  switch (sqlite3_column_type(statement, column)) {
    case SQLITE_NULL: lua_pushnil(L); return;
    case SQLITE_INTEGER:
      lua_pushinteger(L, sqlite3_column_int64(statement, column));
      return;
    case SQLITE_FLOAT:
      lua_pushnumber(L, sqlite3_column_double(statement, column));
      return;
    default:
      bytes = sqlite3_column_blob(statement, column);
      lua_pushlstring(L, bytes ? bytes : "",
                      sqlite3_column_bytes(statement, column));
  }
}

/* Steps to the end; each row is appended to the table at `rows` (0: rows
** are not wanted). Returns SQLite's status. */
static int store_step(lua_State *L, sqlite3_stmt *statement, int rows) {
  int status, count = 0;
  while ((status = sqlite3_step(statement)) == SQLITE_ROW) {
    if (rows == 0) continue;
    int columns = sqlite3_column_count(statement);
    lua_createtable(L, columns, 0);
    for (int i = 0; i < columns; i++) {
      store_column(L, statement, i);
      lua_rawseti(L, -2, i + 1);
    }
    lua_rawseti(L, rows, ++count);
  }
  if (status == SQLITE_DONE) return SQLITE_OK;
  return status;
}

/* Runs all statements of the SQL at index 2; parameters from index 3 on go
** to the first one. Returns SQLite's status. */
static int store_run(lua_State *L, Store *store, int parameters, int rows) {
  const char *sql = luaL_checkstring(L, 2), *tail;
  int status, last = 2 + parameters;
  bool alone = true;
  sqlite3_stmt *statement = store_prepare(L, store, sql, &tail, &status);
  while (status == SQLITE_OK && statement != NULL) {
    if (sqlite3_bind_parameter_count(statement) != parameters) {
      store_keep(L, store, statement, false);
      luaL_error(L, "%s: %d parameters given", sql, parameters);
    }
    for (int i = 3; i <= last && status == SQLITE_OK; i++)
      status = store_bind(L, statement, i);
    if (status == SQLITE_OK) status = store_step(L, statement, rows);
    alone = alone && *tail == '\0';
    store_keep(L, store, statement, alone);
    if (status != SQLITE_OK || *tail == '\0') break;
    sql = tail;
    parameters = 0;
    last = 2;
    status = sqlite3_prepare_v2(store->db, sql, -1, &statement, &tail);
  }
  return status;
}

/* store:execute(sql, ...) --> integer | nil, message, code */
static int store_execute(lua_State *L) {
  Store *store = store_check(L);
  int status = store_run(L, store, lua_gettop(L) - 2, 0);
  if (status != SQLITE_OK) return store_fail(L, store->db, status);
  lua_pushinteger(L, sqlite3_changes(store->db));
  return 1;
}

/* store:query(sql, ...) --> rows | nil, message, code */
static int store_query(lua_State *L) {
  Store *store = store_check(L);
  int parameters = lua_gettop(L) - 2;
  lua_newtable(L);
  int rows = lua_gettop(L);
  int status = store_run(L, store, parameters, rows);
  if (status != SQLITE_OK) return store_fail(L, store->db, status);
  lua_settop(L, rows);
  return 1;
}

/* SQLite would make the file readable by others. An existing file is not
** touched: closing a second descriptor would drop this process's lock. */
static void store_make_file(const char *file) {
  int fd = open(file, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
  if (fd >= 0) close(fd);
}

static int store_setup(sqlite3 *db) {
  const char *const steps[] = {
    "PRAGMA locking_mode=EXCLUSIVE",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA trusted_schema=OFF",
    "BEGIN EXCLUSIVE", /* takes the lock, and keeps it */
    "SELECT count(*) FROM sqlite_schema",
    "COMMIT",
  };
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
    int status = sqlite3_exec(db, steps[i], NULL, NULL, NULL);
    if (status != SQLITE_OK) return status;
  }
  return sqlite3_wal_autocheckpoint(db, WAL_PAGES);
}

/* store.open(file) --> store | nil, message, code */
static int store_open(lua_State *L) {
  const char *file = luaL_checkstring(L, 1);
  Store *store = lua_newuserdata(L, sizeof *store);
  store->db = NULL;
  store->prepared = 0;
  luaL_setmetatable(L, STORE_TYPE);
  lua_newtable(L);
  lua_setuservalue(L, -2);
  store_make_file(file);
  int flags =
    SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  if (sqlite3_open_v2(file, &store->db, flags, NULL) != SQLITE_OK) {
    return engine_fail(L, "no_file", "%s: cannot be opened: %s", file,
                       store->db ? sqlite3_errmsg(store->db) : "no memory");
  }
  sqlite3_busy_timeout(store->db, LOCK_WAIT_MS);
  int status = store_setup(store->db);
  if (status != SQLITE_OK) return store_fail(L, store->db, status);
  return 1;
}

static const luaL_Reg store_methods[] = {
  {"execute", store_execute},
  {"query", store_query},
  {"close", store_close},
  {NULL, NULL},
};

static const luaL_Reg store_names[] = {
  {"open", store_open},
  {NULL, NULL},
};

int engine_open_store(lua_State *L) {
  luaL_newmetatable(L, STORE_TYPE);
  lua_pushcfunction(L, store_close);
  lua_setfield(L, -2, "__gc");
  luaL_newlib(L, store_methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  luaL_newlib(L, store_names);
  return 1;
}
