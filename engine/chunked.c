/* The chunked transfer coding (RFC 9112 section 7.1), strictly.
**
**   chunk   = 1*HEXDIG [ ";" chunk-ext ] CRLF chunk-data CRLF
**   trailer = *( field-name ":" field-value CRLF ) CRLF */
#include "server.h"

#define MAX_OVERHEAD 16384
#define MAX_DIGITS 8

enum {
  SIZE,      /* hexadecimal digits */
  EXTENSION, /* after ";" */
  SIZE_LF,
  DATA,
  DATA_CR,
  DATA_LF,
  LINE,    /* where a trailer line or the last CRLF begins */
  TRAILER, /* in a trailer's name */
  TRAILER_TEXT,
  TRAILER_LF,
  LAST_LF,
  COMPLETE
};

static int hex_digit(unsigned char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

static bool is_text(unsigned char c) {
  return (c >= 0x20 && c != 0x7f) || c == '\t';
}

static bool is_name(unsigned char c) {
  return c > 0x20 && c < 0x7f && c != ':' && c != '"' && c != '(' && c != ')' &&
    c != ',' && c != '/' && c != ';' && c != '<' && c != '=' && c != '>' &&
    c != '?' && c != '@' && c != '[' && c != '\\' && c != ']' && c != '{' &&
    c != '}';
}

/* The state after a byte of a chunk's first line; -1: not allowed. */
static int size_step(Chunked *at, unsigned char c) {
  if (at->state == SIZE) {
    int digit = hex_digit(c);
    if (digit >= 0 && at->digits++ < MAX_DIGITS) {
      at->left = at->left * 16 + (uint64_t)digit;
      return SIZE;
    }
    if (digit >= 0 || at->digits == 0) return -1;
    if (c == ';') return EXTENSION;
  }
  if (c == '\r') return SIZE_LF;
  return at->state == EXTENSION && is_text(c) ? EXTENSION : -1;
}

static int trailer_step(Chunked *at, unsigned char c) {
  switch (at->state) {
    case LINE:
      if (c == '\r') return LAST_LF;
      return is_name(c) ? TRAILER : -1;
    case TRAILER:
      if (c == ':') return TRAILER_TEXT;
      return is_name(c) ? TRAILER : -1;
    default:
      if (c == '\r') return TRAILER_LF;
      return is_text(c) ? TRAILER_TEXT : -1;
  }
}

/* The state after a byte that is not the body's. */
static int step(Chunked *at, unsigned char c) {
  switch (at->state) {
    case SIZE:
    case EXTENSION: return size_step(at, c);
    case SIZE_LF:
      if (c != '\n') return -1;
      return at->left > 0 ? DATA : LINE;
    case DATA_CR: return c == '\r' ? DATA_LF : -1;
    case DATA_LF:
      at->digits = 0;
      at->left = 0;
      return c == '\n' ? SIZE : -1;
    case TRAILER_LF: return c == '\n' ? LINE : -1;
    case LAST_LF: return c == '\n' ? COMPLETE : -1;
    default: return trailer_step(at, c);
  }
}

int chunked_feed(Request *request, const unsigned char *bytes, size_t size,
                 size_t *taken) {
  Chunked *at = &request->chunked;
  size_t i = 0;
  while (i < size && at->state != COMPLETE) {
    if (at->state == DATA) {
      size_t part = size - i < at->left ? size - i : (size_t)at->left;
      int status = request_append(request, bytes + i, part);
      if (status != 0) return status;
      i += part;
      at->left -= part;
      if (at->left == 0) at->state = DATA_CR;
      continue;
    }
    if (++at->overhead > MAX_OVERHEAD) return 431;
    int next = step(at, bytes[i++]);
    if (next < 0) return 400;
    at->state = next;
  }
  *taken = i;
  return at->state == COMPLETE ? 1 : 0;
}
