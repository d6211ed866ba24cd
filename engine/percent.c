/* Percent-encoding (RFC 3986 section 2.1), component by component. */
#include "uri.h"

#include <string.h>

/* What is plain besides letters, digits and "-._~". */
static const char *const plain[] = {
  [PATH] = "$&+,/:;=@",          [HOST] = "!\"$&'()*+,:;<=>[]",
  [ZONE] = "!\"$&'()*+,:;<=>[]", [USER] = "$&+,;=",
  [FRAGMENT] = "!$&()*+,/:;=?@",
};

bool uri_fail(Work *work, const char *what) {
  work->what = what;
  return false;
}

bool uri_fail_quoting(Work *work, const char *what, Part quote,
                      const char *after) {
  work->what = what;
  work->quote = quote;
  work->after = after;
  return false;
}

bool uri_alpha(unsigned char c) {
  return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

bool uri_digit(unsigned char c) {
  return c >= '0' && c <= '9';
}

static int hex_value(unsigned char c) {
  if (uri_digit(c)) return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool uri_plain(unsigned char c, Mode mode) {
  if (uri_alpha(c) || uri_digit(c)) return true;
  return c != '\0' &&
    (strchr("-._~", c) != NULL || strchr(plain[mode], c) != NULL);
}

Part part_of(const char *at, size_t size) {
  Part made = {at, size};
  return made;
}

Part part_rest(Part whole, size_t from) {
  return part_of(whole.at + from, whole.size - from);
}

bool part_same(Part a, Part b) {
  return a.size == b.size && (a.size == 0 || memcmp(a.at, b.at, a.size) == 0);
}

bool part_starts(Part text, const char *prefix) {
  size_t size = strlen(prefix);
  return text.size >= size && memcmp(text.at, prefix, size) == 0;
}

ptrdiff_t part_find(Part text, char c) {
  const char *found = text.size == 0 ? NULL : memchr(text.at, c, text.size);
  return found == NULL ? -1 : found - text.at;
}

ptrdiff_t part_find_last(Part text, char c) {
  for (size_t i = text.size; i > 0; i--)
    if (text.at[i - 1] == c) return (ptrdiff_t)i - 1;
  return -1;
}

/* The byte that the escape at the start of text stands for; -1: none that
** `mode` allows. */
static int escape_value(Part text, Mode mode) {
  if (text.size < 3) return -1;
  int high = hex_value((unsigned char)text.at[1]);
  int low = hex_value((unsigned char)text.at[2]);
  if (high < 0 || low < 0) return -1;
  int value = high * 16 + low;
  bool allowed = true;
  if (mode == HOST)
    allowed = value >= 0x80 || value == '%';
  else if (mode == ZONE)
    allowed = value == '%' || value == ' ' || uri_plain(value & 0xff, HOST);
  return allowed ? value : -1;
}

bool uri_unescape(Work *work, Part text, Mode mode, Part *out) {
  char *to = work->next;
  out->at = to;
  for (size_t i = 0; i < text.size; i++) {
    unsigned char c = (unsigned char)text.at[i];
    if (c == '%') {
      Part left = part_rest(text, i);
      int value = escape_value(left, mode);
      if (value < 0) {
        if (left.size > 3) left.size = 3;
        return uri_fail_quoting(work, "invalid URL escape ", left, "");
      }
      c = (unsigned char)value;
      i += 2;
    } else if ((mode == HOST || mode == ZONE) && c < 0x80 &&
               !uri_plain(c, mode)) {
      return uri_fail_quoting(work, "invalid character ",
                              part_of(text.at + i, 1), " in host name");
    }
    *to++ = (char)c;
  }
  out->size = (size_t)(to - work->next);
  work->next = to;
  return true;
}

Part uri_escape(Work *work, Part text, Mode mode) {
  static const char digits[] = "0123456789ABCDEF";
  char *to = work->next;
  for (size_t i = 0; i < text.size; i++) {
    unsigned char c = (unsigned char)text.at[i];
    if (uri_plain(c, mode)) {
      *to++ = (char)c;
    } else {
      *to++ = '%';
      *to++ = digits[c >> 4];
      *to++ = digits[c & 15];
    }
  }
  Part out = part_of(work->next, (size_t)(to - work->next));
  work->next = to;
  return out;
}
