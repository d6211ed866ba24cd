/* Strict DER, read: one length form, no indefinite lengths, low tags only. */
#include "der.h"

#include <string.h>

bool slice_equal(Slice a, Slice b) {
  return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

bool slice_is(Slice a, const char *text) {
  return a.size == strlen(text) && memcmp(a.data, text, a.size) == 0;
}

/* The length at *at, which moves on; at most four bytes, the least form. */
static bool take_length(const unsigned char **at, const unsigned char *end,
                        size_t *length) {
  if (*at == end) return false;
  unsigned first = *(*at)++;
  if (first < 0x80) {
    *length = first;
    return true;
  }
  unsigned count = first & 0x7f;
  if (count == 0 || count > 4 || (size_t)(end - *at) < count) return false;
  if (**at == 0) return false;
  size_t value = 0;
  while (count-- > 0) value = value << 8 | *(*at)++;
  *length = value;
  return value >= 0x80;
}

bool der_take_any(Slice *in, unsigned *tag, Slice *content) {
  if (in->size < 2 || (in->data[0] & 0x1f) == 0x1f) return false;
  const unsigned char *at = in->data + 1, *end = in->data + in->size;
  size_t length;
  if (!take_length(&at, end, &length) || (size_t)(end - at) < length)
    return false;
  *tag = in->data[0];
  *content = (Slice){at, length};
  *in = (Slice){at + length, (size_t)(end - at) - length};
  return true;
}

bool der_at(Slice in, unsigned tag) {
  return in.size > 0 && in.data[0] == tag;
}

bool der_take(Slice *in, unsigned tag, Slice *content) {
  unsigned found;
  return der_at(*in, tag) && der_take_any(in, &found, content);
}

bool der_take_whole(Slice *in, unsigned tag, Slice *whole) {
  const unsigned char *start = in->data;
  Slice content;
  if (!der_take(in, tag, &content)) return false;
  *whole = (Slice){start, (size_t)(in->data - start)};
  return true;
}

bool der_take_unsigned(Slice *in, Slice *magnitude) {
  Slice rest = *in, content;
  if (!der_take(&rest, DER_INTEGER, &content) || content.size == 0)
    return false;
  if ((content.data[0] & 0x80) != 0) return false;
  if (content.data[0] == 0 && content.size > 1) {
    if ((content.data[1] & 0x80) == 0) return false;
    content.data++;
    content.size--;
  }
  *magnitude = content;
  *in = rest;
  return true;
}

bool der_take_small(Slice *in, unsigned *value) {
  Slice rest = *in, magnitude;
  if (!der_take_unsigned(&rest, &magnitude) || magnitude.size > 3) return false;
  *value = 0;
  for (size_t i = 0; i < magnitude.size; i++)
    *value = *value << 8 | magnitude.data[i];
  *in = rest;
  return true;
}

bool der_take_boolean(Slice *in, bool *value) {
  Slice rest = *in, content;
  if (!der_take(&rest, DER_BOOLEAN, &content) || content.size != 1)
    return false;
  if (content.data[0] != 0 && content.data[0] != 0xff) return false;
  *value = content.data[0] != 0;
  *in = rest;
  return true;
}

bool der_take_bits(Slice *in, Slice *bytes) {
  Slice rest = *in, content;
  if (!der_take(&rest, DER_BIT_STRING, &content)) return false;
  if (content.size == 0 || content.data[0] != 0) return false;
  *bytes = (Slice){content.data + 1, content.size - 1};
  *in = rest;
  return true;
}

/* Days from 1970-01-01 in the Gregorian calendar. */
static int64_t days_before(int year, int month, int day) {
  int64_t y = month <= 2 ? year - 1 : year;
  int64_t era = y / 400, of_era = y % 400;
  int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year -
    719468;
}

static int days_in(int year, int month) {
  static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return days[month - 1] + (month == 2 && leap ? 1 : 0);
}

static int two_digits(const unsigned char *at) {
  return (at[0] - '0') * 10 + at[1] - '0';
}

bool der_take_time(Slice *in, int64_t *seconds) {
  Slice rest = *in, text;
  unsigned tag;
  if (!der_take_any(&rest, &tag, &text)) return false;
  bool utc = tag == DER_UTC_TIME;
  if (!utc && tag != DER_GENERALIZED_TIME) return false;
  if (text.size != (utc ? 13U : 15U) || text.data[text.size - 1] != 'Z')
    return false;
  for (size_t i = 0; i + 1 < text.size; i++)
    if (text.data[i] < '0' || text.data[i] > '9') return false;
  const unsigned char *at = text.data + (utc ? 2 : 4);
  int year = two_digits(text.data);
  if (utc) {
    year += year < 50 ? 2000 : 1900;
  } else {
    year = year * 100 + two_digits(text.data + 2);
  }
  int month = two_digits(at), day = two_digits(at + 2);
  int hour = two_digits(at + 4), minute = two_digits(at + 6);
  int second = two_digits(at + 8);
  if (month < 1 || month > 12 || day < 1 || day > days_in(year, month))
    return false;
  if (hour > 23 || minute > 59 || second > 59) return false;
  *seconds =
    ((days_before(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
  *in = rest;
  return true;
}
