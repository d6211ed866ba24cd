/* finder: numbers by SHA-256 hash, all in memory. It keeps eight bytes of a
** hash, so that what it finds is likely and not sure: who asks looks. */
#include "engine.h"

#include <stdlib.h>
#include <string.h>

#define FINDER_TYPE "fulcio.finder"
#define HASH 32
#define MOST_NUMBER 0xfffffffeu
#define FIRST_ROOM 1024

/* A place of the table. Twelve bytes, for there are millions. */
typedef struct Place {
  uint32_t start[2]; /* of the hash, as it lies in memory */
  uint32_t number;   /* and one; 0: nobody's */
} Place;

/* Open addressing: whoever finds its place taken takes the next free one. */
typedef struct Finder {
  Place *places; /* malloc'ed */
  size_t room;   /* a power of two, or 0 */
  size_t count;
} Finder;

static Finder *check_finder(lua_State *L) {
  return luaL_checkudata(L, 1, FINDER_TYPE);
}

static size_t first_place(const Finder *finder, const uint32_t start[2]) {
  return (start[0] | (size_t)start[1] << 32) & (finder->room - 1);
}

static void put(Finder *finder, Place place) {
  size_t at = first_place(finder, place.start);
  while (finder->places[at].number != 0) at = (at + 1) & (finder->room - 1);
  finder->places[at] = place;
}

/* Makes room, so that a quarter of the table stays free. */
static void reserve(lua_State *L, Finder *finder, size_t count) {
  size_t room = finder->room == 0 ? FIRST_ROOM : finder->room;
  while (room - room / 4 < count) room *= 2;
  if (room == finder->room) return;
  Finder larger = {.places = calloc(room, sizeof(Place)), .room = room};
  if (larger.places == NULL) {
    luaL_error(L, "not enough memory");
    return;
  }
  for (size_t i = 0; i < finder->room; i++)
    if (finder->places[i].number != 0) put(&larger, finder->places[i]);
  free(finder->places);
  finder->places = larger.places;
  finder->room = room;
}

/* finder:add(hashes, first) */
static int finder_add(lua_State *L) {
  Finder *finder = check_finder(L);
  Slice hashes = engine_slice(L, 2);
  lua_Integer first = luaL_checkinteger(L, 3);
  size_t count = hashes.size / HASH;
  luaL_argcheck(L, hashes.size % HASH == 0, 2, "32 bytes a hash expected");
  luaL_argcheck(L, first >= 0 && (size_t)first + count <= MOST_NUMBER, 3,
                "out of range");
  reserve(L, finder, finder->count + count);
  for (size_t i = 0; i < count; i++) {
    Place place = {.number = (uint32_t)first + (uint32_t)i + 1};
    memcpy(place.start, hashes.data + i * HASH, sizeof place.start);
    put(finder, place);
  }
  finder->count += count;
  return 0;
}

/* finder:find(hash) --> number, ... */
static int finder_find(lua_State *L) {
  const Finder *finder = check_finder(L);
  Slice hash = engine_slice(L, 2);
  uint32_t start[2];
  int found = 0;
  luaL_argcheck(L, hash.size == HASH, 2, "32 bytes expected");
  if (finder->count == 0) return 0;
  memcpy(start, hash.data, sizeof start);
  size_t at = first_place(finder, start);
  while (finder->places[at].number != 0) {
    const Place *place = &finder->places[at];
    if (memcmp(place->start, start, sizeof start) == 0) {
      luaL_checkstack(L, 1, "too many with the same hash");
      lua_pushinteger(L, (lua_Integer)place->number - 1);
      found++;
    }
    at = (at + 1) & (finder->room - 1);
  }
  return found;
}

static int finder_collect(lua_State *L) {
  Finder *finder = check_finder(L);
  free(finder->places);
  memset(finder, 0, sizeof *finder);
  return 0;
}

/* finder.new() --> finder */
static int finder_new(lua_State *L) {
  Finder *finder = lua_newuserdata(L, sizeof *finder);
  memset(finder, 0, sizeof *finder);
  luaL_setmetatable(L, FINDER_TYPE);
  return 1;
}

int engine_open_finder(lua_State *L) {
  static const luaL_Reg methods[] = {
    {"add", finder_add}, {"find", finder_find}, {NULL, NULL}};
  static const luaL_Reg functions[] = {{"new", finder_new}, {NULL, NULL}};
  luaL_newmetatable(L, FINDER_TYPE);
  lua_pushcfunction(L, finder_collect);
  lua_setfield(L, -2, "__gc");
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  luaL_newlib(L, functions);
  return 1;
}
