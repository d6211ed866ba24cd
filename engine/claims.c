/* Strict JSON (RFC 8259), one pass: it looks at every byte, builds what Lua
** gets as lua-cjson would, and refuses what lua-cjson or another reader of
** the same token could understand differently. */
#include "claims.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_SHOWN 200
#define PAIRWISE_MAX 32

/* Adds text to the path that is shown, without control characters and
** without half a character at its end. */
static size_t path_add(char *path, size_t size, const char *text,
                       size_t length) {
  for (size_t i = 0; i < length && size < PATH_SHOWN; i++) {
    unsigned char c = (unsigned char)text[i];
    path[size++] = (char)(c < 0x20 || c == 0x7f ? '?' : c);
  }
  if (size == PATH_SHOWN && (path[size - 1] & 0x80) != 0) {
    while ((path[size - 1] & 0xc0) == 0x80) size--;
    size--;
  }
  path[size] = '\0';
  return size;
}

/* Where the scan is: "a.b", "list[0].name"; empty at the top. */
static void path_of(const Scan *s, char path[PATH_SHOWN + 1]) {
  char element[24];
  size_t size = 0;
  path[0] = '\0';
  for (int i = 0; i < s->depth; i++) {
    const Frame *frame = &s->frames[i];
    if (!frame->is_object) {
      int n = snprintf(element, sizeof element, "[%zu]", frame->element);
      size = path_add(path, size, element, (size_t)n);
      continue;
    }
    size_t next = i + 1 < s->depth ? s->frames[i + 1].first : s->count;
    if (next == frame->first) break;
    const Member *member = &s->members[next - 1];
    if (size > 0) size = path_add(path, size, ".", 1);
    size = path_add(path, size, member->name, member->size);
  }
}

bool scan_fail_at_member(Scan *s, const char *code, const char *message) {
  char path[PATH_SHOWN + 1];
  path_of(s, path);
  if (path[0] == '\0')
    engine_fail(s->L, code, "%s", message);
  else
    engine_fail(s->L, code, "%s: %s", path, message);
  return false;
}

void scan_space(Scan *s) {
  while (s->at < s->end &&
         (*s->at == ' ' || *s->at == '\n' || *s->at == '\t' || *s->at == '\r'))
    s->at++;
}

static void add_member(Scan *s, Member member) {
  if (s->count == s->room) {
    size_t room = s->room * 2;
    Member *larger = lua_newuserdata(s->L, room * sizeof *larger);
    memcpy(larger, s->members, s->count * sizeof *larger);
    lua_replace(s->L, 2);
    s->members = larger;
    s->room = room;
  }
  s->members[s->count++] = member;
}

/* A member's name and its colon. */
static bool scan_name(Scan *s) {
  bool escaped;
  if (s->at >= s->end || *s->at != '"')
    return scan_fail_here(s, "looking for beginning of object key string");
  const unsigned char *start = ++s->at;
  if (!scan_string(s, &escaped)) return false;
  Member member = {(const char *)start, (size_t)(s->at - 1 - start)};
  if (escaped) member = scan_unescape(s, start);
  add_member(s, member);
  lua_pushlstring(s->L, member.name, member.size);
  scan_space(s);
  if (s->at >= s->end || *s->at != ':')
    return scan_fail_here(s, "after object key");
  s->at++;
  return true;
}

static int compare_members(const void *a, const void *b) {
  const Member *left = a, *right = b;
  size_t size = left->size < right->size ? left->size : right->size;
  int order = size == 0 ? 0 : memcmp(left->name, right->name, size);
  if (order != 0) return order;
  return (left->size > right->size) - (left->size < right->size);
}

/* The place of a member that was there before, or NULL. Sorts when there
** are many: a token of a megabyte must not cost its square. */
static Member *find_duplicate(Member *members, size_t count) {
  if (count > PAIRWISE_MAX) {
    qsort(members, count, sizeof *members, compare_members);
    for (size_t i = 1; i < count; i++)
      if (compare_members(&members[i - 1], &members[i]) == 0)
        return &members[i];
    return NULL;
  }
  for (size_t i = 1; i < count; i++)
    for (size_t j = 0; j < i; j++)
      if (members[i].size == members[j].size &&
          compare_members(&members[i], &members[j]) == 0)
        return &members[i];
  return NULL;
}

/* The value on top goes where it belongs; the outermost one stays. */
static bool store(Scan *s) {
  if (s->depth == 0) return true;
  const Frame *frame = &s->frames[s->depth - 1];
  if (frame->is_object)
    lua_rawset(s->L, -3);
  else
    lua_rawseti(s->L, -2, (int)frame->element + 1);
  return true;
}

/* The end of the innermost object or array. */
static bool scan_close(Scan *s) {
  Frame *frame = &s->frames[s->depth - 1];
  s->at++;
  if (frame->is_object && s->count > frame->first) {
    Member *twice =
      find_duplicate(s->members + frame->first, s->count - frame->first);
    if (twice != NULL) {
      s->members[s->count - 1] = *twice;
      return scan_fail_at_member(s, "duplicate_member", "duplicate member");
    }
  }
  s->count = frame->first;
  s->depth--;
  return store(s);
}

static bool open_frame(Scan *s) {
  if (s->depth == DEPTH_MAX) {
    engine_fail(s->L, "too_deep", "exceeded max depth");
    return false;
  }
  Frame *frame = &s->frames[s->depth++];
  frame->is_object = *s->at++ == '{';
  frame->fresh = true;
  frame->first = s->count;
  frame->element = 0;
  lua_createtable(s->L, 0, frame->is_object ? (s->depth == 1 ? 8 : 2) : 0);
  return true;
}

static bool string_value(Scan *s) {
  bool escaped;
  const unsigned char *start = ++s->at;
  if (!scan_string(s, &escaped)) return false;
  Member text = {(const char *)start, (size_t)(s->at - 1 - start)};
  if (escaped) text = scan_unescape(s, start);
  lua_pushlstring(s->L, text.name, text.size);
  return store(s);
}

/* Always a float, as lua-cjson has it; whatever the host's locale. */
static bool number_value(Scan *s) {
  static locale_t plain;
  const char *start = (const char *)s->at;
  if (!scan_number(s)) return false;
  if (plain == NULL) plain = newlocale(LC_ALL_MASK, "C", NULL);
  if (plain == NULL) return luaL_error(s->L, "not enough memory") != 0;
  lua_pushnumber(s->L, strtod_l(start, NULL, plain));
  return store(s);
}

/* A scalar, or the beginning of an object or array. */
static bool scan_value(Scan *s) {
  scan_space(s);
  if (s->at >= s->end) return scan_fail_here(s, "");
  switch (*s->at) {
    case '"': return string_value(s);
    case '{':
    case '[': return open_frame(s);
    case 't':
      if (!scan_literal(s, "true")) return false;
      lua_pushboolean(s->L, 1);
      return store(s);
    case 'f':
      if (!scan_literal(s, "false")) return false;
      lua_pushboolean(s->L, 0);
      return store(s);
    case 'n':
      if (!scan_literal(s, "null")) return false;
      lua_pushlightuserdata(s->L, NULL);
      return store(s);
  }
  if (*s->at == '-' || (*s->at >= '0' && *s->at <= '9')) return number_value(s);
  return scan_fail_here(s, "looking for beginning of value");
}

/* The next member or element of the innermost object or array, or its
** end. */
static bool scan_next(Scan *s) {
  Frame *frame = &s->frames[s->depth - 1];
  scan_space(s);
  unsigned char c = s->at < s->end ? *s->at : '\0';
  if (c == (frame->is_object ? '}' : ']')) return scan_close(s);
  if (!frame->fresh) {
    if (c != ',')
      return scan_fail_here(s,
                            frame->is_object ? "after object key:value pair"
                                             : "after array element");
    s->at++;
    frame->element++;
    scan_space(s);
  }
  frame->fresh = false;
  if (frame->is_object && !scan_name(s)) return false;
  return scan_value(s);
}

static bool scan_text(Scan *s) {
  if (!scan_value(s)) return false;
  while (s->depth > 0)
    if (!scan_next(s)) return false;
  scan_space(s);
  return s->at == s->end || scan_fail_here(s, "after top-level value");
}

/* claims.parse(json) --> value | nil, message, code */
static int claims_parse(lua_State *L) {
  size_t size;
  const char *json = luaL_checklstring(L, 1, &size);
  Scan scan;
  scan.L = L;
  scan.at = (const unsigned char *)json;
  scan.end = scan.at + size;
  scan.members = scan.few;
  scan.count = 0;
  scan.room = sizeof scan.few / sizeof *scan.few;
  scan.arena = NULL;
  scan.used = 0;
  scan.depth = 0;
  lua_settop(L, 3);
  luaL_checkstack(L, 2 * DEPTH_MAX + LUA_MINSTACK, "no room for JSON");
  return scan_text(&scan) ? 1 : 3;
}

int engine_open_claims(lua_State *L) {
  lua_newtable(L);
  lua_pushcfunction(L, claims_parse);
  lua_setfield(L, -2, "parse");
  lua_pushcfunction(L, claims_texts);
  lua_setfield(L, -2, "texts");
  lua_pushlightuserdata(L, NULL); /* lua-cjson's null */
  lua_setfield(L, -2, "null");
  return 1;
}
