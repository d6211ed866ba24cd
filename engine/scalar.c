/* JSON's strings, numbers and words, with Go's messages. */
#include "claims.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* The byte as Go's encoding/json quotes it. */
static const char *quoted(unsigned char c, char text[12]) {
  static const char *const escapes = "abtnvfr";
  if (c == '\'' || c == '\\')
    snprintf(text, 12, "'\\%c'", c);
  else if (c >= '\a' && c <= '\r')
    snprintf(text, 12, "'\\%c'", escapes[c - '\a']);
  else if (c < 0x20 || c == 0x7f)
    snprintf(text, 12, "'\\x%02x'", c);
  else if (c < 0x7f)
    snprintf(text, 12, "'%c'", c);
  else if (c <= 0xa0 || c == 0xad)
    snprintf(text, 12, "'\\u%04x'", c);
  else
    snprintf(text, 12, "'%c%c'", 0xc0 | c >> 6, 0x80 | (c & 0x3f));
  return text;
}

bool scan_fail_here(Scan *s, const char *where) {
  char text[12];
  if (s->at >= s->end)
    engine_fail(s->L, "bad_json", "unexpected EOF");
  else
    engine_fail(s->L, "bad_json", "invalid character %s %s",
                quoted(*s->at, text), where);
  return false;
}

static bool fail_utf8(Scan *s, const char *message) {
  engine_fail(s->L, "bad_utf8", "%s", message);
  return false;
}

/* One character of two bytes or more (RFC 3629). */
static bool scan_utf8(Scan *s) {
  static const char *const message = "invalid UTF-8 in string literal";
  unsigned char c = *s->at;
  int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
  if (c < 0xc2 || c > 0xf4 || s->end - s->at <= more)
    return fail_utf8(s, message);
  unsigned char low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
  unsigned char high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
  if (s->at[1] < low || s->at[1] > high) return fail_utf8(s, message);
  for (int i = 2; i <= more; i++)
    if ((s->at[i] & 0xc0) != 0x80) return fail_utf8(s, message);
  s->at += more + 1;
  return true;
}

static bool scan_hex(Scan *s, unsigned *unit) {
  static const char *const where = "in \\u hexadecimal character escape";
  *unit = 0;
  for (int i = 0; i < 4; i++, s->at++) {
    if (s->at >= s->end) return scan_fail_here(s, where);
    unsigned char c = *s->at;
    if (c >= '0' && c <= '9')
      *unit = *unit * 16 + (c - '0');
    else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
      *unit = *unit * 16 + ((c | 0x20) - 'a' + 10);
    else
      return scan_fail_here(s, where);
  }
  return true;
}

static void put_utf8(Scan *s, unsigned code) {
  char *to = s->arena + s->used;
  if (code < 0x80) {
    *to++ = (char)code;
  } else if (code < 0x800) {
    *to++ = (char)(0xc0 | code >> 6);
    *to++ = (char)(0x80 | (code & 0x3f));
  } else {
    if (code < 0x10000) {
      *to++ = (char)(0xe0 | code >> 12);
    } else {
      *to++ = (char)(0xf0 | code >> 18);
      *to++ = (char)(0x80 | (code >> 12 & 0x3f));
    }
    *to++ = (char)(0x80 | (code >> 6 & 0x3f));
    *to++ = (char)(0x80 | (code & 0x3f));
  }
  s->used = (size_t)(to - s->arena);
}

/* After a backslash; `keep`: unescapes into the arena. */
static bool scan_escape(Scan *s, bool keep) {
  static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
  unsigned unit, low;
  if (s->at >= s->end) return scan_fail_here(s, "");
  if (*s->at != 'u') {
    const char *found = memchr(from, *s->at, sizeof from - 1);
    if (found == NULL) return scan_fail_here(s, "in string escape code");
    if (keep) s->arena[s->used++] = to[found - from];
    s->at++;
    return true;
  }
  s->at++;
  if (!scan_hex(s, &unit)) return false;
  if (unit >= 0xdc00 && unit <= 0xdfff)
    return fail_utf8(s, "lone surrogate in \\u escape");
  if (unit >= 0xd800 && unit <= 0xdbff) {
    if (s->end - s->at < 2 || s->at[0] != '\\' || s->at[1] != 'u')
      return fail_utf8(s, "lone surrogate in \\u escape");
    s->at += 2;
    if (!scan_hex(s, &low)) return false;
    if (low < 0xdc00 || low > 0xdfff)
      return fail_utf8(s, "lone surrogate in \\u escape");
    unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
  }
  if (keep) put_utf8(s, unit);
  return true;
}

bool scan_string(Scan *s, bool *escaped) {
  *escaped = false;
  for (;;) {
    s->at += engine_plain(s->at, (size_t)(s->end - s->at));
    if (s->at >= s->end || *s->at < 0x20)
      return scan_fail_here(s, "in string literal");
    if (*s->at == '"') break;
    if (*s->at == 0x7f) {
      s->at++;
      continue;
    }
    if (*s->at >= 0x80) {
      if (!scan_utf8(s)) return false;
      continue;
    }
    *escaped = true;
    s->at++;
    if (!scan_escape(s, false)) return false;
  }
  s->at++;
  return true;
}

Member scan_unescape(Scan *s, const unsigned char *start) {
  if (s->arena == NULL) {
    s->arena = lua_newuserdata(s->L, (size_t)(s->end - start));
    lua_replace(s->L, 3);
  }
  Member member = {s->arena + s->used, s->used};
  s->at = start;
  while (*s->at != '"') {
    if (*s->at == '\\') {
      s->at++;
      scan_escape(s, true);
    } else {
      s->arena[s->used++] = (char)*s->at++;
    }
  }
  s->at++;
  member.size = s->used - member.size;
  return member;
}

/* Whether |number| <= 2^53, in decimal: a double would round first.
** `exponent` is that of the literal, `point` its integer part's digits. */
static bool is_exact(const unsigned char *digits, const unsigned char *end,
                     long exponent) {
  static const char *const limit = "9007199254740992";
  long magnitude = 0, seen = 0;
  bool fraction = false, above = false;
  int order = 0;
  for (; digits < end && (*digits == '.' || (*digits >= '0' && *digits <= '9'));
       digits++) {
    if (*digits == '.') {
      fraction = true;
      continue;
    }
    if (seen == 0 && *digits == '0') {
      if (fraction) magnitude--;
      continue;
    }
    if (!fraction) magnitude++;
    if (order == 0 && seen < 16) order = *digits - limit[seen];
    if (seen >= 16 && *digits != '0') above = true;
    seen++;
  }
  magnitude += exponent;
  if (seen == 0 || magnitude < 16) return true;
  return magnitude == 16 && (order < 0 || (order == 0 && !above));
}

static bool scan_digits(Scan *s, const char *where) {
  if (s->at >= s->end || *s->at < '0' || *s->at > '9')
    return scan_fail_here(s, where);
  while (s->at < s->end && *s->at >= '0' && *s->at <= '9') s->at++;
  return true;
}

/* The exponent after its "e", at most a number that no input can undo. */
static bool scan_exponent(Scan *s, long *exponent) {
  bool minus = false;
  if (s->at < s->end && (*s->at == '+' || *s->at == '-'))
    minus = *s->at++ == '-';
  const unsigned char *digits = s->at;
  if (!scan_digits(s, "in exponent of numeric literal")) return false;
  *exponent = 0;
  for (; digits < s->at && *exponent < LONG_MAX / 100; digits++)
    *exponent = *exponent * 10 + (*digits - '0');
  if (minus) *exponent = -*exponent;
  return true;
}

bool scan_number(Scan *s) {
  long exponent = 0;
  if (*s->at == '-') s->at++;
  const unsigned char *digits = s->at;
  if (s->at < s->end && *s->at == '0')
    s->at++;
  else if (!scan_digits(s, "in numeric literal"))
    return false;
  if (s->at < s->end && *s->at == '.') {
    s->at++;
    if (!scan_digits(s, "after decimal point in numeric literal")) return false;
  }
  const unsigned char *end = s->at;
  if (s->at < s->end && (*s->at == 'e' || *s->at == 'E')) {
    s->at++;
    if (!scan_exponent(s, &exponent)) return false;
  }
  if (is_exact(digits, end, exponent)) return true;
  return scan_fail_at_member(s, "number_range", "number beyond 2^53");
}

bool scan_literal(Scan *s, const char *literal) {
  char where[40];
  for (const char *c = literal; *c != '\0'; c++, s->at++) {
    if (s->at < s->end && *s->at == (unsigned char)*c) continue;
    snprintf(where, sizeof where, "in literal %s (expecting '%c')", literal,
             *c);
    return scan_fail_here(s, where);
  }
  return true;
}
