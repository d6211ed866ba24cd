/* PEM blocks in any text (RFC 7468), found as Go's encoding/pem does. */
#include "pem.h"

#include "der.h"

#include <string.h>

static const Slice BEGIN = {(const unsigned char *)"-----BEGIN ", 11};
static const Slice END = {(const unsigned char *)"-----END ", 9};
static const Slice DASHES = {(const unsigned char *)"-----", 5};

static bool starts_with(Slice text, Slice prefix) {
  return text.size >= prefix.size &&
    memcmp(text.data, prefix.data, prefix.size) == 0;
}

static Slice after(Slice text, size_t count) {
  return (Slice){text.data + count, text.size - count};
}

static bool is_blank(unsigned char c) {
  return c == ' ' || c == '\t' || c == '\r';
}

/* One line without its end and without blanks before it. */
static Slice take_line(Slice *text) {
  const unsigned char *end = memchr(text->data, '\n', text->size);
  Slice line = {text->data, text->size};
  if (end != NULL) line.size = (size_t)(end - text->data);
  *text = after(*text, line.size + (end == NULL ? 0 : 1));
  while (line.size > 0 && is_blank(line.data[line.size - 1])) line.size--;
  return line;
}

/* Moves to the next line that starts with dashes. */
static bool find_dashes(Slice *text) {
  while (text->size > 0 && !starts_with(*text, DASHES)) {
    const unsigned char *end = memchr(text->data, '\n', text->size);
    if (end == NULL) return false;
    *text = after(*text, (size_t)(end - text->data) + 1);
  }
  return text->size > 0;
}

/* What stands between `open` and five dashes, when that is the line. */
static bool line_label(Slice line, Slice open, Slice *label) {
  if (!starts_with(line, open) || line.size < open.size + DASHES.size)
    return false;
  Slice rest = after(line, open.size);
  *label = (Slice){rest.data, rest.size - DASHES.size};
  return starts_with(after(rest, label->size), DASHES);
}

/* Header lines ("Proc-Type: …") before the base64. */
static void skip_headers(Slice *text) {
  for (Slice rest = *text; rest.size > 0; *text = rest) {
    Slice line = take_line(&rest);
    if (line.size == 0 || memchr(line.data, ':', line.size) == NULL) return;
  }
}

bool pem_next(Slice *text, Slice *label, unsigned char *der, size_t *size) {
  while (find_dashes(text)) {
    Slice closed;
    if (!line_label(take_line(text), BEGIN, label)) continue;
    skip_headers(text);
    Slice body = *text;
    if (!find_dashes(text)) return false;
    body.size -= text->size;
    Slice rest = *text;
    if (!line_label(take_line(&rest), END, &closed)) continue;
    *text = rest;
    if (!slice_equal(closed, *label)) continue;
    unsigned allow = BASE64_STANDARD | BASE64_PADDING | BASE64_BLANKS;
    if (base64_decode(body, allow, der, size)) return true;
  }
  return false;
}

static char *put(char *at, Slice text) {
  memcpy(at, text.data, text.size);
  return at + text.size;
}

static char *put_text(char *at, const char *text) {
  return put(at, (Slice){(const unsigned char *)text, strlen(text)});
}

static void push_block(lua_State *L, const char *label, Slice der,
                       Slice newline, const char *last) {
  const size_t LINE = 48, WIDTH = 64; /* bytes and characters of a line */
  size_t lines = der.size / LINE + 2;
  Room room;
  char *text = engine_room(
    L, &room, lines * (WIDTH + newline.size) + 2 * strlen(label) + 64);
  char *at = put_text(put_text(put_text(text, "-----BEGIN "), label), "-----");
  for (size_t done = 0; done < der.size; done += LINE) {
    size_t left = der.size - done;
    at = put(at, newline);
    at += base64_encode((Slice){der.data + done, left < LINE ? left : LINE},
                        false, at);
  }
  at = put_text(put_text(put(at, newline), "-----END "), label);
  at = put_text(put_text(at, "-----"), last);
  lua_pushlstring(L, text, (size_t)(at - text));
  lua_remove(L, -2);
}

void pem_push(lua_State *L, const char *label, Slice der) {
  push_block(L, label, der, (Slice){(const unsigned char *)"\n", 1}, "\n");
}

void pem_push_lines(lua_State *L, const char *label, Slice der, Slice newline) {
  push_block(L, label, der, newline, "");
}
