/* What a script in the sandbox may use: a closed list. Each function that
** is missing here was seen to defeat the limits or to reach other scripts. */
#include "sandbox.h"

#include <string.h>

#define BYTES_MAX 256
#define WORD_MAX 32
#define NESTED_MAX 8
#define CONVERSIONS_MAX 64
#define NUMERAL_MAX 64

/* Keys of the registry, by address. */
static char prototype_key, metatable_key;

static const char *const base_words[] = {
  "tonumber", "type", "ipairs", "pairs", "next", "select", NULL};
static const char *const string_words[] = {"lower", "upper", "sub", "len",
                                           NULL};

static void registry_get(lua_State *L, char *key) {
  lua_pushlightuserdata(L, key);
  lua_rawget(L, LUA_REGISTRYINDEX);
}

/* Pops the value. */
static void registry_set(lua_State *L, char *key) {
  lua_pushlightuserdata(L, key);
  lua_insert(L, -2);
  lua_rawset(L, LUA_REGISTRYINDEX);
}

/* tostring(value): Lua's, without addresses. */
static int words_tostring(lua_State *L) {
  luaL_checkany(L, 1);
  switch (lua_type(L, 1)) {
    case LUA_TNUMBER:
    case LUA_TSTRING:
      lua_settop(L, 1);
      lua_tolstring(L, 1, NULL);
      break;
    case LUA_TBOOLEAN:
      lua_pushstring(L, lua_toboolean(L, 1) ? "true" : "false");
      break;
    case LUA_TLIGHTUSERDATA: lua_pushliteral(L, "null"); break;
    default: lua_pushstring(L, luaL_typename(L, 1));
  }
  return 1;
}

/* Whether a conversion takes the argument: a long text is no number, and
** to find out takes longer than an instruction may. */
static void check_conversion(lua_State *L, char conversion, int argument) {
  if (conversion == 'p') luaL_argerror(L, 1, "%p cannot be used");
  if (strchr("sq", conversion) != NULL && conversion != '\0') return;
  if (lua_type(L, argument) != LUA_TSTRING) return;
  luaL_argcheck(L, lua_rawlen(L, argument) <= NUMERAL_MAX, argument,
                "number expected, got a long text");
}

static void check_format(lua_State *L, const char *format, size_t size) {
  int argument = 1;
  for (const char *at = format; at < format + size; at++) {
    if (*at != '%') continue;
    at++;
    if (at < format + size && *at == '%') continue;
    while (at < format + size && *at != '\0' &&
           strchr("-+ #.0123456789", *at) != NULL)
      at++;
    if (at == format + size) return;
    if (++argument > CONVERSIONS_MAX + 1)
      luaL_argerror(L, 1, "too many conversions");
    check_conversion(L, *at, argument);
  }
}

/* string.format: Lua's, for texts, numbers and booleans, without %p. */
static int words_format(lua_State *L) {
  size_t size;
  const char *format = luaL_checklstring(L, 1, &size);
  check_format(L, format, size);
  for (int i = 2; i <= lua_gettop(L); i++) {
    int type = lua_type(L, i);
    luaL_argcheck(L,
                  type == LUA_TSTRING || type == LUA_TNUMBER ||
                    type == LUA_TBOOLEAN || type == LUA_TNIL,
                  i, "text or number expected");
  }
  lua_CFunction plain = lua_tocfunction(L, lua_upvalueindex(1));
  if (plain != NULL) return plain(L); /* so that errors know who called */
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, 1);
  return 1;
}

static lua_Integer position(lua_Integer at, size_t size) {
  if (at >= 0) return at;
  return (size_t)-at > size ? 0 : (lua_Integer)size + at + 1;
}

/* string.byte: Lua's, for a few bytes at a time. */
static int words_byte(lua_State *L) {
  size_t size;
  const char *text = luaL_checklstring(L, 1, &size);
  lua_Integer first = position(luaL_optinteger(L, 2, 1), size);
  lua_Integer last = position(luaL_optinteger(L, 3, first), size);
  if (first < 1) first = 1;
  if (last > (lua_Integer)size) last = (lua_Integer)size;
  if (first > last) return 0;
  if (last - first >= BYTES_MAX)
    return luaL_error(L, "more than %d bytes asked for", BYTES_MAX);
  luaL_checkstack(L, (int)(last - first) + 1, "string.byte");
  for (lua_Integer i = first; i <= last; i++)
    lua_pushinteger(L, (unsigned char)text[i - 1]);
  return (int)(last - first) + 1;
}

/* How many edits turn one word into the other. */
static int distance(const char *a, const char *b) {
  int row[WORD_MAX + 1];
  int width = (int)strlen(b);
  if (strlen(a) > WORD_MAX || width > WORD_MAX) return WORD_MAX;
  for (int j = 0; j <= width; j++) row[j] = j;
  for (int i = 1; a[i - 1] != '\0'; i++) {
    int diagonal = row[0];
    row[0] = i;
    for (int j = 1; j <= width; j++) {
      int best = diagonal + (a[i - 1] != b[j - 1]);
      if (row[j] + 1 < best) best = row[j] + 1;
      if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
      diagonal = row[j];
      row[j] = best;
    }
  }
  return row[width];
}

/* __index of an environment: only what it does not have comes here. */
static int words_unknown(lua_State *L) {
  const char *nearest = NULL;
  int least = 3;
  if (lua_type(L, 2) != LUA_TSTRING) return luaL_error(L, "unknown word");
  const char *name = lua_tostring(L, 2);
  lua_pushnil(L);
  while (lua_next(L, 1)) {
    lua_pop(L, 1);
    if (lua_type(L, -1) != LUA_TSTRING) continue;
    const char *word = lua_tostring(L, -1);
    int edits = distance(name, word);
    if (edits < least && edits < (int)strlen(word)) {
      least = edits;
      nearest = word;
    }
  }
  if (nearest == NULL) return luaL_error(L, "unknown word \"%s\"", name);
  return luaL_error(L, "unknown word \"%s\" (did you mean \"%s\"?)", name,
                    nearest);
}

/* Pushes a copy of a table, so that no script changes another's words;
** metatables stay behind. */
static void push_copy(lua_State *L, int source, int depth) {
  if (depth == NESTED_MAX) luaL_error(L, "words nested too deep");
  luaL_checkstack(L, 6, "words");
  lua_newtable(L);
  int copy = lua_gettop(L);
  lua_pushnil(L);
  while (lua_next(L, source)) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    if (lua_istable(L, -1)) {
      push_copy(L, lua_gettop(L), depth + 1);
      lua_replace(L, -2);
    }
    lua_rawset(L, copy);
  }
}

void words_push(lua_State *L) {
  registry_get(L, &prototype_key);
  push_copy(L, lua_gettop(L), 0);
  lua_remove(L, -2);
  registry_get(L, &metatable_key);
  lua_setmetatable(L, -2);
}

static void open_library(lua_State *L, const char *name, lua_CFunction open) {
  lua_pushcfunction(L, open);
  lua_pushstring(L, name);
  lua_call(L, 1, 1);
  lua_setglobal(L, name);
}

/* Copies fields of the table on the top to the one below; pops it. */
static void pick(lua_State *L, const char *const *names) {
  for (int i = 0; names[i] != NULL; i++) {
    lua_getfield(L, -1, names[i]);
    lua_setfield(L, -3, names[i]);
  }
  lua_pop(L, 1);
}

static void push_string_words(lua_State *L) {
  lua_newtable(L);
  lua_getglobal(L, LUA_STRLIBNAME);
  lua_getfield(L, -1, "format");
  lua_pushcclosure(L, words_format, 1);
  lua_setfield(L, -3, "format");
  pick(L, string_words);
  lua_pushcfunction(L, words_byte);
  lua_setfield(L, -2, "byte");
}

/* Strings keep the methods that scripts may use, and lose the others. */
static void replace_string_metatable(lua_State *L) {
  lua_pushliteral(L, "");
  lua_newtable(L);
  push_string_words(L);
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, -2);
  lua_pop(L, 1);
}

static void run_prelude(lua_State *L, const Slice *text) {
  if (luaL_loadbufferx(L, (const char *)text->data, text->size, "=prelude",
                       "t") != 0)
    lua_error(L);
  lua_call(L, 0, 1);
  if (!lua_istable(L, -1)) luaL_error(L, "prelude does not return a table");
}

int words_open(lua_State *L) {
  const Slice *prelude = lua_touserdata(L, 1);
  open_library(L, "_G", luaopen_base);
  open_library(L, LUA_STRLIBNAME, luaopen_string);
  open_library(L, LUA_TABLIBNAME, luaopen_table);
  open_library(L, LUA_MATHLIBNAME, luaopen_math);
  lua_newtable(L);
  int prototype = lua_gettop(L);
  lua_getglobal(L, "_G");
  pick(L, base_words);
  lua_pushcfunction(L, words_tostring);
  lua_setfield(L, prototype, "tostring");
  push_string_words(L);
  lua_setfield(L, prototype, "string");
  run_prelude(L, prelude);
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, prototype);
  }
  lua_settop(L, prototype);
  registry_set(L, &prototype_key);
  lua_newtable(L);
  lua_pushcfunction(L, words_unknown);
  lua_setfield(L, -2, "__index");
  registry_set(L, &metatable_key);
  replace_string_metatable(L);
  return 0;
}
