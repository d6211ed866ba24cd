/* What all processes of the program see: counters, a published text, who
** sits where. Nothing is locked, so a process may die at any moment. */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define COUNTERS 4096
#define KEY_SIZE 240

/* Two processes may make the same key at once: it then has two counters,
** and counts() adds them up. */
typedef struct Counter {
  _Atomic uint64_t value; /* the bits of a double */
  atomic_int size;        /* of the key; 0: not ready, perhaps never */
  char key[KEY_SIZE];
} Counter;

typedef struct Seat {
  atomic_int connections;
  atomic_int role; /* 0: nobody is ready here */
} Seat;

typedef struct Shared {
  Seat seats[SEATS];
  _Atomic uint64_t version; /* of the text; odd while it is written */
  _Atomic uint64_t text_size;
  atomic_int used;
  Counter counters[COUNTERS];
} Shared;

static Shared *shared;
static int text_fd = -1;
static int seat;
static char cache_key; /* registry: table of key --> index */

void shared_open(void) {
  if (shared != NULL) return;
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  text_fd = memfd_create("published", MFD_CLOEXEC);
  if (shared == MAP_FAILED || text_fd < 0) abort();
}

/* seats ------------------------------------------------------------- */

void shared_clear(int place) {
  atomic_store(&shared->seats[place].connections, 0);
  atomic_store(&shared->seats[place].role, 0);
}

void shared_sit(int place) {
  seat = place;
}

int shared_seat(void) {
  return seat;
}

void shared_ready(int role) {
  atomic_store(&shared->seats[seat].role, role);
}

bool shared_is_ready(int place) {
  return atomic_load(&shared->seats[place].role) != 0;
}

int shared_connections(int by) {
  int total = 0;
  atomic_fetch_add(&shared->seats[seat].connections, by);
  for (int i = 0; i < SEATS; i++)
    total +=
      atomic_load_explicit(&shared->seats[i].connections, memory_order_relaxed);
  return total;
}

bool shared_is_ahead(int by) {
  int role = atomic_load(&shared->seats[seat].role);
  int ours = atomic_load(&shared->seats[seat].connections);
  for (int i = 0; i < SEATS && role != 0; i++)
    if (atomic_load(&shared->seats[i].role) == role &&
        atomic_load(&shared->seats[i].connections) + by <= ours)
      return true;
  return false;
}

/* counters ---------------------------------------------------------- */

static double to_double(uint64_t bits) {
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static uint64_t to_bits(double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static void counter_add(Counter *counter, double by) {
  uint64_t old = atomic_load(&counter->value);
  while (!atomic_compare_exchange_weak(&counter->value, &old,
                                       to_bits(to_double(old) + by)))
    continue;
}

static int counters_used(void) {
  int used = atomic_load(&shared->used);
  return used < COUNTERS ? used : COUNTERS;
}

/* Index of the key's counter, made if need be; -1: all are taken. */
static int counter_find(const char *key, size_t size) {
  int used = counters_used();
  for (int i = 0; i < used; i++) {
    Counter *counter = &shared->counters[i];
    if (atomic_load(&counter->size) == (int)size &&
        memcmp(counter->key, key, size) == 0)
      return i;
  }
  if (used == COUNTERS) return -1;
  int made = atomic_fetch_add(&shared->used, 1);
  if (made >= COUNTERS) return -1;
  memcpy(shared->counters[made].key, key, size);
  atomic_store(&shared->counters[made].size, (int)size);
  return made;
}

/* server.count(key [, by]) */
static int server_count(lua_State *L) {
  size_t size;
  const char *key = luaL_checklstring(L, 1, &size);
  double by = luaL_optnumber(L, 2, 1);
  luaL_argcheck(L, size > 0 && size <= KEY_SIZE, 1, "a key has 1 to 240 bytes");
  shared_open();
  lua_rawgetp(L, LUA_REGISTRYINDEX, &cache_key);
  lua_pushvalue(L, 1);
  int known = lua_rawget(L, -2);
  int index = (int)lua_tointeger(L, -1);
  if (known == LUA_TNIL) {
    index = counter_find(key, size);
    lua_pushvalue(L, 1);
    lua_pushinteger(L, index);
    lua_rawset(L, -4);
  }
  if (index >= 0) counter_add(&shared->counters[index], by);
  return 0;
}

/* A histogram's bounds, and the counters of what lies at or below each, of
** what lies above all, and of the sum: COUNTERS when not looked for yet. */
typedef struct Histogram {
  int count;
  int sum;
  struct {
    double bound;
    int counter;
  } buckets[];
} Histogram;

/* Adds to the counter whose key is in the table at `keys`. */
static void add_found(lua_State *L, int *counter, int keys, int i, double by) {
  size_t size;
  if (*counter == COUNTERS) {
    lua_rawgeti(L, keys, i);
    const char *key = lua_tolstring(L, -1, &size);
    *counter = counter_find(key, size);
    lua_pop(L, 1);
  }
  if (*counter >= 0) counter_add(&shared->counters[*counter], by);
}

/* The function that server.histogram returns. */
static int histogram_add(lua_State *L) {
  Histogram *histogram = lua_touserdata(L, lua_upvalueindex(1));
  double seconds = luaL_checknumber(L, 1);
  int keys = lua_upvalueindex(2), i = 0;
  while (i < histogram->count && seconds > histogram->buckets[i].bound) i++;
  add_found(L, &histogram->buckets[i].counter, keys, i + 1, 1);
  add_found(L, &histogram->sum, keys, histogram->count + 2, seconds);
  return 0;
}

/* server.histogram(keys, bounds) --> function(value) */
static int server_histogram(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checktype(L, 2, LUA_TTABLE);
  int count = (int)lua_rawlen(L, 2);
  luaL_argcheck(L, lua_rawlen(L, 1) == (size_t)count + 2, 1,
                "a key each, one for what is above, and one for the sum");
  shared_open();
  Histogram *histogram = lua_newuserdatauv(
    L, sizeof *histogram + (size_t)(count + 1) * sizeof *histogram->buckets, 0);
  histogram->count = count;
  histogram->sum = COUNTERS;
  for (int i = 0; i <= count + 1; i++) {
    lua_rawgeti(L, 1, i + 1);
    size_t size = lua_rawlen(L, -1);
    luaL_argcheck(L, lua_isstring(L, -1) && size > 0 && size <= KEY_SIZE, 1,
                  "a key has 1 to 240 bytes");
    if (i > count) break;
    lua_rawgeti(L, 2, i + 1);
    histogram->buckets[i].bound = i < count ? luaL_checknumber(L, -1) : 0;
    histogram->buckets[i].counter = COUNTERS;
    lua_pop(L, 2);
  }
  lua_settop(L, 3);
  lua_pushvalue(L, 1);
  lua_pushcclosure(L, histogram_add, 2);
  return 1;
}

/* Counters that are added to together: COUNTERS when not looked for yet. */
typedef struct Together {
  int count;
  int counters[];
} Together;

/* The function that server.counter returns. */
static int counter_call(lua_State *L) {
  Together *together = lua_touserdata(L, lua_upvalueindex(1));
  double by = luaL_optnumber(L, 1, 1);
  for (int i = 0; i < together->count; i++)
    add_found(L, &together->counters[i], lua_upvalueindex(2), i + 1, by);
  return 0;
}

/* server.counter(key, …) --> function([by]) */
static int server_counter(lua_State *L) {
  int count = lua_gettop(L);
  luaL_checkany(L, 1);
  shared_open();
  Together *together = lua_newuserdatauv(
    L, sizeof *together + (size_t)count * sizeof *together->counters, 0);
  together->count = count;
  lua_createtable(L, count, 0);
  for (int i = 0; i < count; i++) {
    size_t size;
    luaL_checklstring(L, i + 1, &size);
    luaL_argcheck(L, size > 0 && size <= KEY_SIZE, i + 1,
                  "a key has 1 to 240 bytes");
    together->counters[i] = COUNTERS;
    lua_pushvalue(L, i + 1);
    lua_rawseti(L, -2, i + 1);
  }
  lua_pushcclosure(L, counter_call, 2);
  return 1;
}

static void push_number(lua_State *L, double value) {
  lua_Integer whole = (lua_Integer)value;
  if (value > -1e15 && value < 1e15 && (double)whole == value)
    lua_pushinteger(L, whole);
  else
    lua_pushnumber(L, value);
}

/* server.counts() --> table */
static int server_counts(lua_State *L) {
  shared_open();
  int used = counters_used();
  lua_createtable(L, 0, used);
  for (int i = 0; i < used; i++) {
    Counter *counter = &shared->counters[i];
    int size = atomic_load(&counter->size);
    if (size == 0) continue;
    lua_pushlstring(L, counter->key, (size_t)size);
    lua_pushvalue(L, -1);
    lua_rawget(L, -3);
    double value = lua_tonumber(L, -1);
    lua_pop(L, 1);
    push_number(L, value + to_double(atomic_load(&counter->value)));
    lua_rawset(L, -3);
  }
  return 1;
}

/* the published text ------------------------------------------------ */

/* Into room that was allocated before, so only a signal can stop it. */
static void write_text(const char *bytes, size_t size) {
  size_t done = 0;
  while (done < size) {
    ssize_t part = pwrite(text_fd, bytes + done, size - done, (off_t)done);
    if (part < 0 && errno != EINTR) abort();
    if (part > 0) done += (size_t)part;
  }
}

/* server.publish(bytes) --> generation */
static int server_publish(lua_State *L) {
  size_t size;
  const char *bytes = luaL_checklstring(L, 1, &size);
  shared_open();
  if (size > 0 && posix_fallocate(text_fd, 0, (off_t)size) != 0)
    return luaL_error(L, "no memory for the published text");
  uint64_t version = atomic_fetch_add(&shared->version, 1);
  write_text(bytes, size);
  atomic_store(&shared->text_size, size);
  atomic_fetch_add(&shared->version, 1);
  lua_pushinteger(L, (lua_Integer)(version / 2) + 1);
  return 1;
}

/* Pushes the text of one version; false when it changed meanwhile. */
static bool push_text(lua_State *L, uint64_t version) {
  luaL_Buffer buffer;
  size_t size = atomic_load(&shared->text_size), done = 0;
  char *bytes = luaL_buffinitsize(L, &buffer, size + 1);
  while (done < size) {
    ssize_t part = pread(text_fd, bytes + done, size - done, (off_t)done);
    if (part <= 0) break;
    done += (size_t)part;
  }
  luaL_pushresultsize(&buffer, done);
  if (done == size && atomic_load(&shared->version) == version) return true;
  lua_pop(L, 1);
  return false;
}

/* server.published([known]) --> bytes | nil, generation */
static int server_published(lua_State *L) {
  lua_Integer known = luaL_optinteger(L, 1, 0);
  shared_open();
  for (;;) {
    uint64_t version = atomic_load(&shared->version);
    lua_Integer generation = (lua_Integer)(version / 2);
    bool writing = version % 2 == 1;
    if (generation == known && !writing) {
      lua_pushnil(L);
      lua_pushinteger(L, generation);
      return 2;
    }
    if (!writing && push_text(L, version)) {
      lua_pushinteger(L, generation);
      return 2;
    }
    sched_yield();
  }
}

void shared_register(lua_State *L) {
  static const luaL_Reg functions[] = {
    {"count", server_count},
    {"counter", server_counter},
    {"counts", server_counts},
    {"histogram", server_histogram},
    {"publish", server_publish},
    {"published", server_published},
    {NULL, NULL},
  };
  lua_newtable(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &cache_key);
  luaL_setfuncs(L, functions, 0);
}
