/* Patterns of policies: PCRE2 on the whole text, within limits. Lua's own
** patterns can run for seconds, and no hook stops them. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "engine.h"
#include "meter.h"

#include <pcre2.h>
#include <string.h>

#define PATTERN_TYPE "fulcio.pattern"
#define PATTERN_MAX 4096
#define SUBJECT_MAX 4096
#define MATCH_LIMIT 100000
#define DEPTH_LIMIT 20000
#define HEAP_LIMIT_KIB 8192
#define LOOK_EVERY 64 /* steps of an expression between looks at the clock */
#define NANOSECONDS 10000000
#define NANOSECONDS_LOOK 2000000

typedef struct Pattern {
  pcre2_code *code;
  pcre2_match_data *data;
  pcre2_match_context *limits;
  bool is_claim; /* a glob that some subjects never match */
  int steps;
  Meter meter; /* started by the first look */
} Pattern;

static int pattern_collect(lua_State *L) {
  Pattern *pattern = luaL_checkudata(L, 1, PATTERN_TYPE);
  pcre2_code_free(pattern->code);
  pcre2_match_data_free(pattern->data);
  pcre2_match_context_free(pattern->limits);
  memset(pattern, 0, sizeof *pattern);
  return 0;
}

/* Steps are counted by PCRE2, but one may look at the whole subject. */
static int look_at_clock(pcre2_callout_block *block, void *user) {
  Pattern *pattern = user;
  (void)block;
  if (++pattern->steps % LOOK_EVERY != 0) return 0;
  if (pattern->steps == LOOK_EVERY)
    meter_start(&pattern->meter, NANOSECONDS, NANOSECONDS_LOOK);
  return meter_is_over(&pattern->meter) ? PCRE2_ERROR_MATCHLIMIT : 0;
}

/* Compiles into a new userdata, on the top of the stack. 0, or PCRE2's
** error and where it is. */
static int compile(lua_State *L, Slice text, uint32_t more,
                   PCRE2_SIZE *offset) {
  const uint32_t options = more | PCRE2_UTF | PCRE2_ANCHORED |
    PCRE2_ENDANCHORED | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C;
  int error = 0;
  Pattern *pattern = lua_newuserdata(L, sizeof *pattern);
  memset(pattern, 0, sizeof *pattern);
  luaL_setmetatable(L, PATTERN_TYPE);
  pattern->code =
    pcre2_compile(text.data, text.size, options, &error, offset, NULL);
  if (pattern->code == NULL) return error;
  pattern->data = pcre2_match_data_create(1, NULL);
  pattern->limits = pcre2_match_context_create(NULL);
  if (pattern->data == NULL || pattern->limits == NULL)
    return luaL_error(L, "not enough memory");
  pcre2_set_match_limit(pattern->limits, MATCH_LIMIT);
  pcre2_set_depth_limit(pattern->limits, DEPTH_LIMIT);
  pcre2_set_heap_limit(pattern->limits, HEAP_LIMIT_KIB);
  if ((more & PCRE2_AUTO_CALLOUT) != 0)
    pcre2_set_callout(pattern->limits, look_at_clock, pattern);
  return 0;
}

static Slice check_pattern(lua_State *L) {
  Slice text;
  text.data = (const unsigned char *)luaL_checklstring(L, 1, &text.size);
  return text;
}

/* pattern.compile(expression) --> pattern | nil, message, "bad_pattern" */
static int pattern_compile(lua_State *L) {
  Slice text = check_pattern(L);
  PCRE2_SIZE offset = 0;
  unsigned char reason[160];
  if (text.size > PATTERN_MAX)
    return engine_fail(L, "bad_pattern", "pattern is longer than %d bytes",
                       PATTERN_MAX);
  int error = compile(L, text, PCRE2_AUTO_CALLOUT, &offset);
  if (error == 0) return 1;
  pcre2_get_error_message(error, reason, sizeof reason);
  return engine_fail(L, "bad_pattern", "%s (at byte %d)", (const char *)reason,
                     (int)offset + 1);
}

/* Whether the byte begins a control character: C0, DEL or C1. */
static bool is_control(const unsigned char *at, const unsigned char *end) {
  if (*at < 0x20 || *at == 0x7f) return true;
  return *at == 0xc2 && end - at > 1 && at[1] < 0xa0;
}

/* What no claim glob matches: control characters, and segments that would
** mean another place. */
static bool is_refused(Slice text) {
  const unsigned char *end = text.data + text.size, *segment = text.data;
  for (const unsigned char *at = text.data;; at++) {
    if (at == end || *at == '/') {
      size_t size = (size_t)(at - segment);
      if ((size == 1 && segment[0] == '.') ||
          (size == 2 && segment[0] == '.' && segment[1] == '.'))
        return true;
      segment = at + 1;
    }
    if (at == end) return false;
    if (is_control(at, end)) return true;
  }
}

/* Writes a glob as an expression: at most 14 bytes for each of its own. */
static size_t translate(Slice glob, bool is_claim, char *out) {
  static const char *const issuer = "[-_a-zA-Z0-9]+";
  char *to = out;
  for (size_t i = 0; i < glob.size; i++) {
    unsigned char c = glob.data[i];
    const char *run = is_claim ? "[^/]*" : issuer;
    if (c == '*') {
      if (is_claim && i + 1 < glob.size && glob.data[i + 1] == '*') run = ".*";
      while (is_claim && i + 1 < glob.size && glob.data[i + 1] == '*') i++;
      while (*run != '\0') *to++ = *run++;
    } else {
      bool is_word = (c >= '0' && c <= '9') || c >= 0x80 ||
        ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
      if (!is_word) *to++ = '\\';
      *to++ = (char)c;
    }
  }
  return (size_t)(to - out);
}

/* pattern.glob(glob, kind) --> pattern | nil, message, "bad_pattern" */
static int pattern_glob(lua_State *L) {
  static const char *const kinds[] = {"issuer", "claim", NULL};
  Slice glob = check_pattern(L);
  bool is_claim = luaL_checkoption(L, 2, NULL, kinds) == 1;
  if (glob.size == 0) return engine_fail(L, "bad_pattern", "glob is empty");
  if (glob.size > PATTERN_MAX)
    return engine_fail(L, "bad_pattern", "glob is longer than %d bytes",
                       PATTERN_MAX);
  if (is_refused(glob))
    return engine_fail(L, "bad_pattern",
                       "glob has a control character or a segment \".\" or "
                       "\"..\", which never match");
  char *expression = lua_newuserdata(L, glob.size * 14);
  Slice text = {(unsigned char *)expression,
                translate(glob, is_claim, expression)};
  PCRE2_SIZE offset = 0;
  int error = compile(L, text, is_claim ? PCRE2_DOTALL : 0, &offset);
  Pattern *pattern = lua_touserdata(L, -1);
  pattern->is_claim = is_claim;
  if (error == 0) return 1;
  return engine_fail(L, "bad_pattern",
                     error < 0 ? "glob is not UTF-8"
                               : "glob has too many wildcards");
}

/* pattern:match(subject) --> boolean | nil, message, code */
static int pattern_match(lua_State *L) {
  Pattern *pattern = luaL_checkudata(L, 1, PATTERN_TYPE);
  Slice subject;
  subject.data = (const unsigned char *)luaL_checklstring(L, 2, &subject.size);
  if (subject.size > SUBJECT_MAX)
    return engine_fail(L, "too_long", "text is longer than %d bytes",
                       SUBJECT_MAX);
  if (pattern->is_claim && is_refused(subject)) {
    lua_pushboolean(L, 0);
    return 1;
  }
  pattern->steps = 0;
  int count = pcre2_match(pattern->code, subject.data, subject.size, 0, 0,
                          pattern->data, pattern->limits);
  if (count <= PCRE2_ERROR_UTF8_ERR1 && count >= PCRE2_ERROR_UTF8_ERR21)
    return engine_fail(L, "bad_utf8", "text is not UTF-8");
  if (count < 0 && count != PCRE2_ERROR_NOMATCH)
    return engine_fail(L, "match_limit",
                       "pattern takes too many steps on this text");
  lua_pushboolean(L, count >= 0);
  return 1;
}

static int pattern_text(lua_State *L) {
  lua_pushliteral(L, PATTERN_TYPE);
  return 1;
}

int engine_open_pattern(lua_State *L) {
  static const luaL_Reg functions[] = {
    {"compile", pattern_compile},
    {"glob", pattern_glob},
    {NULL, NULL},
  };
  static const luaL_Reg methods[] = {
    {"match", pattern_match},
    {NULL, NULL},
  };
  luaL_newmetatable(L, PATTERN_TYPE);
  lua_pushcfunction(L, pattern_collect);
  lua_setfield(L, -2, "__gc");
  lua_pushcfunction(L, pattern_text);
  lua_setfield(L, -2, "__tostring");
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  luaL_newlib(L, functions);
  return 1;
}
