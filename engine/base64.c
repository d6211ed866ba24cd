/* Base64 both ways (RFC 4648 sections 4 and 5). */
#include "engine.h"

#include <string.h>

static const char STANDARD[] =
  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char WEB[] =
  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

enum { NOT = 64, BLANK = 65 };

/* Value of each ASCII character in either alphabet. */
static const unsigned char VALUES[128] = {
  64, 64, 64, 64, 64, 64, 64, 64, 64, 65, 65, 64, 64, 65, 64, 64, 64, 64, 64,
  64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 65, 64, 64, 64, 64, 64,
  64, 64, 64, 64, 64, 62, 64, 62, 64, 63, 52, 53, 54, 55, 56, 57, 58, 59, 60,
  61, 64, 64, 64, 64, 64, 64, 64, 0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10,
  11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 64, 64, 64, 64,
  63, 64, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42,
  43, 44, 45, 46, 47, 48, 49, 50, 51, 64, 64, 64, 64, 64,
};

size_t base64_encode(Slice bytes, bool web, char *out) {
  const char *alphabet = web ? WEB : STANDARD;
  const unsigned char *in = bytes.data;
  char *start = out;
  size_t left = bytes.size;
  for (; left >= 3; left -= 3, in += 3) {
    *out++ = alphabet[in[0] >> 2];
    *out++ = alphabet[(in[0] & 3) << 4 | in[1] >> 4];
    *out++ = alphabet[(in[1] & 15) << 2 | in[2] >> 6];
    *out++ = alphabet[in[2] & 63];
  }
  if (left > 0) {
    unsigned second = left == 2 ? in[1] : 0;
    *out++ = alphabet[in[0] >> 2];
    *out++ = alphabet[(in[0] & 3) << 4 | second >> 4];
    if (left == 2) *out++ = alphabet[(second & 15) << 2];
    if (!web) *out++ = '=';
    if (!web && left == 1) *out++ = '=';
  }
  return (size_t)(out - start);
}

/* Which alphabet a character belongs to alone; 0 for the common ones. */
static unsigned alphabet_of(unsigned char c) {
  if (c == '+' || c == '/') return BASE64_STANDARD;
  if (c == '-' || c == '_') return BASE64_WEB;
  return 0;
}

/* After the last digit: the right number of "=" or none, and blanks. */
static bool tail_is_good(Slice text, size_t at, unsigned allow, size_t digits) {
  size_t padding = 0;
  for (; at < text.size; at++) {
    unsigned char c = text.data[at];
    if (c == '=') {
      padding++;
    } else if (c >= 128 || VALUES[c] != BLANK || !(allow & BASE64_BLANKS)) {
      return false;
    }
  }
  if (padding == 0) return true;
  return (allow & BASE64_PADDING) != 0 && digits % 4 + padding == 4 &&
    padding <= 2;
}

/* Groups of four digits that follow each other, as far as they go. */
static size_t whole_groups(Slice text, size_t at, unsigned char **out,
                           unsigned *used) {
  const unsigned char *in = text.data + at;
  unsigned char *to = *out;
  for (; at + 4 <= text.size; at += 4, in += 4, to += 3) {
    if (((in[0] | in[1] | in[2] | in[3]) & 0x80) != 0) break;
    uint32_t a = VALUES[in[0]], b = VALUES[in[1]], c = VALUES[in[2]],
             d = VALUES[in[3]];
    if (((a | b | c | d) & NOT) != 0) break;
    if (a >= 62 || b >= 62 || c >= 62 || d >= 62)
      for (int i = 0; i < 4; i++) *used |= alphabet_of(in[i]);
    uint32_t group = a << 18 | b << 12 | c << 6 | d;
    to[0] = (unsigned char)(group >> 16);
    to[1] = (unsigned char)(group >> 8);
    to[2] = (unsigned char)group;
  }
  *out = to;
  return at;
}

bool base64_decode(Slice text, unsigned allow, unsigned char *out,
                   size_t *size) {
  unsigned char *start = out;
  uint32_t group = 0;
  unsigned used = 0;
  size_t digits = 0, at = 0;
  for (; at < text.size; at++) {
    if (digits % 4 == 0) at = whole_groups(text, at, &out, &used);
    if (at == text.size) break;
    unsigned char c = text.data[at];
    unsigned char value = c < 128 ? VALUES[c] : NOT;
    if (value == BLANK && (allow & BASE64_BLANKS)) continue;
    if (value >= NOT) break;
    if (value >= 62) used |= alphabet_of(c);
    group = group << 6 | value;
    if (++digits % 4 != 0) continue;
    *out++ = (unsigned char)(group >> 16);
    *out++ = (unsigned char)(group >> 8);
    *out++ = (unsigned char)group;
  }
  if (used == (BASE64_STANDARD | BASE64_WEB) || (used & ~allow) != 0)
    return false;
  if (!tail_is_good(text, at, allow, digits)) return false;
  switch (digits % 4) {
    case 1: return false;
    case 2:
      if ((group & 15) != 0) return false;
      *out++ = (unsigned char)(group >> 4);
      break;
    case 3:
      if ((group & 3) != 0) return false;
      *out++ = (unsigned char)(group >> 10);
      *out++ = (unsigned char)(group >> 2);
      break;
    default: break;
  }
  *size = (size_t)(out - start);
  return true;
}
