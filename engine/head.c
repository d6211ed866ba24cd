/* The head of an HTTP/1.1 request: scanned strictly here, then parsed by
** llhttp as well; it is taken only when both read it alike. */
#include "server.h"

#include <llhttp.h>
#include <string.h>

/* tchar of RFC 9110 section 5.6.2, folded to lower case; 0: not one. */
static unsigned char token_char(unsigned char c) {
  if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) return c;
  if (c >= 'A' && c <= 'Z') return (unsigned char)(c + 32);
  return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL ? c : 0;
}

/* What a head may contain besides CR LF: no other control characters. */
static bool text_char(unsigned char c) {
  return (c >= 0x20 && c != 0x7f) || c == '\t';
}

long head_end(const unsigned char *bytes, size_t size, size_t *seen) {
  size_t i = *seen;
  for (; i < size; i++) {
    if (text_char(bytes[i])) continue;
    if (bytes[i] != '\r') return -1;
    if (i + 1 == size) break; /* looked at again with what follows */
    if (bytes[++i] != '\n') return -1;
    if (i >= 3 && bytes[i - 2] == '\n') return (long)i + 1;
  }
  *seen = i;
  return 0;
}

static bool same_text(Slice slice, const char *lower) {
  size_t size = strlen(lower);
  if (slice.size != size) return false;
  for (size_t i = 0; i < size; i++) {
    unsigned char c = slice.data[i];
    if (c >= 'A' && c <= 'Z') c = (unsigned char)(c + 32);
    if (c != (unsigned char)lower[i]) return false;
  }
  return true;
}

/* One line less its CR LF, and moves on to the next. */
static Slice next_line(Slice *rest) {
  const unsigned char *end = memchr(rest->data, '\r', rest->size);
  Slice line = {rest->data, (size_t)(end - rest->data)};
  rest->data = end + 2;
  rest->size -= line.size + 2;
  return line;
}

/* Whether HTTP was meant: who wrote it wrongly understands an answer. */
static bool names_http(Slice text) {
  for (size_t i = 0; i + 5 <= text.size; i++)
    if (same_text((Slice){text.data + i, 5}, "http/")) return true;
  return false;
}

/* "HTTP/1.1" and "HTTP/1.0"; 505 for other digits. */
static int parse_version(Slice text, int *minor) {
  const unsigned char *v = text.data;
  if (text.size < 5 || memcmp(v, "HTTP/", 5) != 0)
    return names_http(text) ? 400 : NOT_HTTP;
  if (text.size != 8 || v[6] != '.' || v[5] < '0' || v[5] > '9' || v[7] < '0' ||
      v[7] > '9')
    return 400;
  if (v[5] != '1' || v[7] > '1') return 505;
  *minor = v[7] - '0';
  return 0;
}

/* method SP request-target SP HTTP-version (RFC 9112 section 3). */
static int parse_request_line(Slice line, Head *head) {
  const unsigned char *space = memchr(line.data, ' ', line.size);
  if (space == NULL || space == line.data) return 400;
  head->method = (Slice){line.data, (size_t)(space - line.data)};
  for (size_t i = 0; i < head->method.size; i++)
    if (token_char(line.data[i]) == 0) return 400;
  Slice rest = {space + 1, line.size - head->method.size - 1};
  space = memchr(rest.data, ' ', rest.size);
  if (space == NULL || space == rest.data) return 400;
  head->target = (Slice){rest.data, (size_t)(space - rest.data)};
  for (size_t i = 0; i < head->target.size; i++) {
    unsigned char c = rest.data[i];
    if (c <= ' ' || c >= 0x7f || c == '#') return 400;
  }
  rest.data = space + 1;
  rest.size -= head->target.size + 1;
  return parse_version(rest, &head->minor);
}

static bool digit_char(unsigned char c) {
  return c >= '0' && c <= '9';
}

/* A character of a name, or of an address in brackets. */
static bool host_char(unsigned char c, bool address) {
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || digit_char(c))
    return true;
  if (c == ':') return address;
  return c != '\0' && strchr("-._~%!$&'()*+,;=", c) != NULL;
}

/* Host = uri-host [ ":" port ] (RFC 9110 section 7.2); it may be empty. */
static int check_host(Slice value, int *hosts) {
  const unsigned char *bytes = value.data;
  bool address = value.size > 0 && bytes[0] == '[';
  size_t i = address ? 1 : 0;
  if (++*hosts > 1) return 400;
  while (i < value.size && host_char(bytes[i], address)) i++;
  if (address && (i == value.size || bytes[i++] != ']')) return 400;
  if (i < value.size && bytes[i++] != ':') return 400;
  while (i < value.size && digit_char(bytes[i])) i++;
  return i == value.size ? 0 : 400;
}

static int check_length(Slice value, Head *head) {
  if (head->has_length || value.size == 0) return 400;
  head->has_length = true;
  for (size_t i = 0; i < value.size; i++) {
    if (!digit_char(value.data[i])) return 400;
    if (head->length > UINT64_MAX / 100) return 413;
    head->length = head->length * 10 + (uint64_t)(value.data[i] - '0');
  }
  return 0;
}

static int check_coding(Slice value, Head *head) {
  if (head->chunked || head->minor == 0) return 400;
  if (!same_text(value, "chunked")) return 501;
  head->chunked = true;
  return 0;
}

/* The fields that decide where this message ends and what it asks. */
static int check_field(Slice name, Slice value, Head *head, int *hosts) {
  if (same_text(name, "host")) return check_host(value, hosts);
  if (same_text(name, "content-length")) return check_length(value, head);
  if (same_text(name, "transfer-encoding")) return check_coding(value, head);
  if (same_text(name, "expect")) {
    if (!same_text(value, "100-continue")) return 417;
    head->expects = head->minor == 1;
  }
  return 0;
}

/* field-name ":" OWS field-value OWS (RFC 9112 section 5). */
static int parse_field(char *bytes, Slice line, Head *head, int *hosts) {
  size_t start = (size_t)(line.data - (unsigned char *)bytes);
  size_t size = 0;
  while (size < line.size && token_char(line.data[size]) != 0) {
    bytes[start + size] = (char)token_char(line.data[size]);
    size++;
  }
  if (size == 0 || size == line.size || line.data[size] != ':') return 400;
  Slice value = {line.data + size + 1, line.size - size - 1};
  while (value.size > 0 && (*value.data == ' ' || *value.data == '\t'))
    value.data++, value.size--;
  while (
    value.size > 0 &&
    (value.data[value.size - 1] == ' ' || value.data[value.size - 1] == '\t'))
    value.size--;
  if (head->field_count == MAX_FIELDS) return 431;
  head->fields[head->field_count++] = (Field){
    (uint16_t)start, (uint16_t)size,
    (uint16_t)(value.data - (unsigned char *)bytes), (uint16_t)value.size};
  return check_field((Slice){line.data, size}, value, head, hosts);
}

static int stop_parser(llhttp_t *parser) {
  (void)parser;
  return HPE_PAUSED;
}

/* Whether llhttp reads the same out of it. It knows methods by name alone;
** one that it does not know it reads as another that may have a body. */
static int parse_again(const char *bytes, size_t size, Head *head) {
  static const llhttp_settings_t settings = {
    .on_headers_complete = stop_parser,
  };
  llhttp_t parser;
  llhttp_init(&parser, HTTP_REQUEST, &settings);
  llhttp_errno_t code = llhttp_execute(&parser, bytes, size);
  const char *name = llhttp_method_name((llhttp_method_t)parser.method);
  if (code == HPE_INVALID_METHOD) {
    llhttp_init(&parser, HTTP_REQUEST, &settings);
    llhttp_execute(&parser, "PUT", 3);
    code = llhttp_execute(&parser, bytes + head->method.size,
                          size - head->method.size);
  } else if (strlen(name) != head->method.size ||
             memcmp(name, head->method.data, head->method.size) != 0) {
    return 400;
  }
  if (code != HPE_PAUSED || parser.http_major != 1 ||
      parser.http_minor != head->minor)
    return 400;
  bool chunked = (parser.flags & F_CHUNKED) != 0;
  bool has_length = (parser.flags & F_CONTENT_LENGTH) != 0;
  if (chunked != head->chunked || has_length != head->has_length ||
      (has_length && parser.content_length != head->length))
    return 400;
  head->keep_alive = llhttp_should_keep_alive(&parser) != 0;
  return 0;
}

int head_parse(char *bytes, size_t size, Head *head) {
  int hosts = 0;
  head->has_length = head->chunked = head->expects = false;
  head->keep_alive = false;
  head->length = 0;
  head->field_count = 0;
  Slice rest = {(unsigned char *)bytes, size};
  int status = parse_request_line(next_line(&rest), head);
  while (status == 0 && rest.size > 2)
    status = parse_field(bytes, next_line(&rest), head, &hosts);
  if (status == 0 && head->chunked && head->has_length) status = 400;
  if (status == 0 && head->minor == 1 && hosts == 0) status = 400;
  if (status == 0) status = parse_again(bytes, size, head);
  return status;
}
