/* DER, written from the end to the beginning. */
#include "der.h"

#include <string.h>

size_t der_header_size(size_t content) {
  size_t size = 2;
  if (content >= 0x80)
    for (; content > 0; content >>= 8) size++;
  return size;
}

unsigned char *der_header(unsigned char *at, unsigned tag, size_t content) {
  *at++ = (unsigned char)tag;
  if (content < 0x80) {
    *at++ = (unsigned char)content;
    return at;
  }
  size_t count = der_header_size(content) - 2;
  *at++ = (unsigned char)(0x80 | count);
  while (count-- > 0) *at++ = (unsigned char)(content >> 8 * count);
  return at;
}

DerWriter *der_writer_open(lua_State *L, DerWriter *writer) {
  lua_pushnil(L);
  writer->base = writer->few;
  writer->capacity = writer->start = sizeof writer->few;
  writer->place = lua_gettop(L);
  return writer;
}

Slice der_written(const DerWriter *writer) {
  return (Slice){writer->base + writer->start,
                 writer->capacity - writer->start};
}

size_t der_mark(const DerWriter *writer) {
  return writer->capacity - writer->start;
}

/* Room for `size` more bytes in front; what is written stays at the end. */
static unsigned char *make_room(lua_State *L, DerWriter *writer, size_t size) {
  if (size > writer->start) {
    size_t used = der_mark(writer);
    size_t capacity = writer->capacity * 2;
    while (capacity - used < size) capacity *= 2;
    unsigned char *base = lua_newuserdata(L, capacity);
    memcpy(base + capacity - used, writer->base + writer->start, used);
    lua_replace(L, writer->place);
    writer->base = base;
    writer->capacity = capacity;
    writer->start = capacity - used;
  }
  writer->start -= size;
  return writer->base + writer->start;
}

void der_put(lua_State *L, DerWriter *writer, Slice bytes) {
  if (bytes.size > 0)
    memcpy(make_room(L, writer, bytes.size), bytes.data, bytes.size);
}

void der_put_byte(lua_State *L, DerWriter *writer, unsigned byte) {
  *make_room(L, writer, 1) = (unsigned char)byte;
}

static void put_header(lua_State *L, DerWriter *writer, unsigned tag,
                       size_t content) {
  der_header(make_room(L, writer, der_header_size(content)), tag, content);
}

void der_put_value(lua_State *L, DerWriter *writer, unsigned tag,
                   Slice content) {
  der_put(L, writer, content);
  put_header(L, writer, tag, content.size);
}

void der_wrap(lua_State *L, DerWriter *writer, unsigned tag, size_t mark) {
  put_header(L, writer, tag, der_mark(writer) - mark);
}

void der_put_unsigned(lua_State *L, DerWriter *writer, Slice magnitude) {
  size_t mark = der_mark(writer);
  while (magnitude.size > 1 && magnitude.data[0] == 0) {
    magnitude.data++;
    magnitude.size--;
  }
  der_put(L, writer, magnitude);
  if (magnitude.size == 0 || (magnitude.data[0] & 0x80) != 0)
    der_put_byte(L, writer, 0);
  der_wrap(L, writer, DER_INTEGER, mark);
}

/* Year, month and day from days since 1970-01-01. */
static void civil_date(int64_t days, int *year, int *month, int *day) {
  days += 719468;
  int64_t era = days / 146097, of_era = days % 146097;
  int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
  int64_t of_year = of_era - (365 * y + y / 4 - y / 100);
  int64_t m = (5 * of_year + 2) / 153;
  *day = (int)(of_year - (153 * m + 2) / 5 + 1);
  *month = (int)(m < 10 ? m + 3 : m - 9);
  *year = (int)(y + era * 400 + (*month <= 2 ? 1 : 0));
}

static unsigned char *put_two(unsigned char *at, int value) {
  at[0] = (unsigned char)('0' + value / 10 % 10);
  at[1] = (unsigned char)('0' + value % 10);
  return at + 2;
}

void der_put_time(lua_State *L, DerWriter *writer, int64_t seconds) {
  unsigned char text[15], *at = text;
  int year, month, day, of_day = (int)(seconds % 86400);
  civil_date(seconds / 86400, &year, &month, &day);
  bool utc = year < 2050;
  if (!utc) at = put_two(at, year / 100);
  at = put_two(at, year % 100);
  at = put_two(at, month);
  at = put_two(at, day);
  at = put_two(at, of_day / 3600);
  at = put_two(at, of_day / 60 % 60);
  at = put_two(at, of_day % 60);
  *at++ = 'Z';
  der_put_value(L, writer, utc ? DER_UTC_TIME : DER_GENERALIZED_TIME,
                (Slice){text, (size_t)(at - text)});
}
