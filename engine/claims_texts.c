/* The texts that a JSON object of a known form has, without the tables that
** claims.parse would make of it. */
#include "claims.h"

#include <string.h>

enum { PATHS_MAX = 8, LEVELS_MAX = 4, PATH_MAX_SIZE = 128 };

typedef struct Search {
  Scan scan;
  Slice paths[PATHS_MAX];
  Slice found[PATHS_MAX]; /* data is NULL: not there */
  int count;
  unsigned opened[LEVELS_MAX]; /* at each level, whose objects: bits */
  char path[PATH_MAX_SIZE];    /* of the member that is read */
} Search;

static int next_byte(Scan *s) {
  scan_space(s);
  return s->at < s->end ? *s->at : -1;
}

static bool take_text(Search *search, size_t size) {
  Scan *s = &search->scan;
  bool escaped;
  int i = 0;
  while (i < search->count &&
         (search->paths[i].size != size ||
          memcmp(search->paths[i].data, search->path, size) != 0))
    i++;
  if (i == search->count || search->found[i].data != NULL) return false;
  const unsigned char *start = ++s->at;
  if (!scan_string(s, &escaped)) return false;
  search->found[i] = (Slice){start, (size_t)(s->at - 1 - start)};
  if (!escaped) return true;
  Member text = scan_unescape(s, start);
  search->found[i] = (Slice){(const unsigned char *)text.name, text.size};
  return true;
}

static bool take_object(Search *search, size_t size, int level);

/* An object that some path leads through, and that was not there before. */
static bool enter(Search *search, size_t size, int level) {
  unsigned bits = 0;
  if (level == LEVELS_MAX || size == PATH_MAX_SIZE) return false;
  search->path[size++] = '.';
  for (int i = 0; i < search->count; i++)
    if (search->paths[i].size > size &&
        memcmp(search->paths[i].data, search->path, size) == 0)
      bits |= 1U << i;
  if (bits == 0 || (search->opened[level] & bits) != 0) return false;
  search->opened[level] |= bits;
  return take_object(search, size, level + 1);
}

static bool take_member(Search *search, size_t size, int level) {
  Scan *s = &search->scan;
  bool escaped;
  if (next_byte(s) != '"') return false;
  const unsigned char *name = ++s->at;
  if (!scan_string(s, &escaped) || escaped) return false;
  size_t length = (size_t)(s->at - 1 - name);
  if (length > PATH_MAX_SIZE - size || memchr(name, '.', length) != NULL)
    return false;
  memcpy(search->path + size, name, length);
  if (next_byte(s) != ':') return false;
  s->at++;
  int first = next_byte(s);
  if (first == '{') return enter(search, size + length, level);
  return first == '"' && take_text(search, size + length);
}

/* At least one member, `size` bytes of path before their names. */
static bool take_object(Search *search, size_t size, int level) {
  Scan *s = &search->scan;
  int after = ',';
  s->at++;
  while (after == ',') {
    if (!take_member(search, size, level)) return false;
    after = next_byte(s);
    if (after != -1) s->at++;
  }
  return after == '}';
}

/* claims.texts(json, path, …) --> true, text or nil, … | nothing */
int claims_texts(lua_State *L) {
  Search search;
  Scan *s = &search.scan;
  Slice json = engine_slice(L, 1);
  search.count = lua_gettop(L) - 1;
  luaL_argcheck(L, search.count <= PATHS_MAX, PATHS_MAX + 2, "too many paths");
  for (int i = 0; i < search.count; i++) {
    search.paths[i] = engine_slice(L, i + 2);
    search.found[i].data = NULL;
  }
  memset(search.opened, 0, sizeof search.opened);
  lua_pushnil(L);
  lua_insert(L, 2); /* scan_unescape has its arena at 3 */
  lua_pushnil(L);
  lua_insert(L, 2);
  s->L = L;
  s->at = json.data;
  s->end = json.data + json.size;
  s->arena = NULL;
  s->used = 0;
  if (next_byte(s) != '{' || !take_object(&search, 0, 0) || next_byte(s) != -1)
    return 0;
  lua_pushboolean(L, 1);
  for (int i = 0; i < search.count; i++)
    if (search.found[i].data == NULL)
      lua_pushnil(L);
    else
      lua_pushlstring(L, (const char *)search.found[i].data,
                      search.found[i].size);
  return search.count + 1;
}
