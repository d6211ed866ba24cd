/* der_read.c, der_write.c: strict DER (X.690) both ways, with no allocation
** unless a writer outgrows its room. */
#ifndef FULCIO_DER_H
#define FULCIO_DER_H

#include "engine.h"

enum {
  DER_BOOLEAN = 0x01,
  DER_INTEGER = 0x02,
  DER_BIT_STRING = 0x03,
  DER_OCTET_STRING = 0x04,
  DER_NULL = 0x05,
  DER_OID = 0x06,
  DER_UTF8_STRING = 0x0c,
  DER_PRINTABLE_STRING = 0x13,
  DER_UTC_TIME = 0x17,
  DER_GENERALIZED_TIME = 0x18,
  DER_SEQUENCE = 0x30,
  DER_SET = 0x31,
  DER_CONTEXT = 0x80,    /* | n: [n] IMPLICIT of a string */
  DER_CONSTRUCTED = 0xa0 /* | n: [n] EXPLICIT */
};

bool slice_equal(Slice a, Slice b);
bool slice_is(Slice a, const char *text);

/* Readers take one element from the front of `in`, which moves on. False:
** another tag or not DER; `in` is where it was. */
bool der_take(Slice *in, unsigned tag, Slice *content);
bool der_take_whole(Slice *in, unsigned tag, Slice *whole);
bool der_take_any(Slice *in, unsigned *tag, Slice *content);
/* A non-negative INTEGER without its sign byte; zero is one byte. */
bool der_take_unsigned(Slice *in, Slice *magnitude);
bool der_take_small(Slice *in, unsigned *value);
bool der_take_boolean(Slice *in, bool *value);
/* A BIT STRING of whole bytes. */
bool der_take_bits(Slice *in, Slice *bytes);
/* UTCTime or GeneralizedTime as RFC 5280 4.1.2.5 allows them. */
bool der_take_time(Slice *in, int64_t *seconds);
/* Whether the next element has this tag. */
bool der_at(Slice in, unsigned tag);

/* Fixed places, written forwards. */
size_t der_header_size(size_t content);
unsigned char *der_header(unsigned char *at, unsigned tag, size_t content);

/* A writer goes from the end to the beginning, so that a length is known
** when it is written. */
typedef struct DerWriter {
  unsigned char *base;
  size_t capacity, start;
  int place; /* on Lua's stack: what does not fit into `few` */
  unsigned char few[2048];
} DerWriter;

/* Opens a writer on the C stack and pushes one value, in whose place it
** grows. Writing throws when memory ends. */
DerWriter *der_writer_open(lua_State *L, DerWriter *writer);
Slice der_written(const DerWriter *writer);
/* How much is written: the mark that der_wrap wants. */
size_t der_mark(const DerWriter *writer);
void der_put(lua_State *L, DerWriter *writer, Slice bytes);
void der_put_byte(lua_State *L, DerWriter *writer, unsigned byte);
void der_put_value(lua_State *L, DerWriter *writer, unsigned tag,
                   Slice content);
/* Makes one element of everything written since `mark`. */
void der_wrap(lua_State *L, DerWriter *writer, unsigned tag, size_t mark);
/* INTEGER from a big-endian magnitude. */
void der_put_unsigned(lua_State *L, DerWriter *writer, Slice magnitude);
/* UTCTime before 2050, GeneralizedTime from then (RFC 5280 4.1.2.5). */
void der_put_time(lua_State *L, DerWriter *writer, int64_t seconds);

/* oid.c: content of an OBJECT IDENTIFIER from dots; 0 when it is none. */
enum { OID_MAX = 128 };
size_t oid_encode(Slice text, unsigned char out[OID_MAX]);
/* The same for one that is asked for often; in `out` or in memory of its own
** until it is called again. Size 0 when it is none. */
Slice oid_find(Slice text, unsigned char out[OID_MAX]);
/* Pushes the dots of a content; false, and nothing, when it is not valid. */
bool oid_push(lua_State *L, Slice content);

#endif
