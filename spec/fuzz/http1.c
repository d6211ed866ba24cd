/* A libFuzzer target: heads and chunked bodies of HTTP/1.1. The first byte
** says where the input is cut in two: whatever comes in pieces must be read
** as what comes at once. A head that was taken is taken again when it is
** printed from what was understood, and means the same. */
#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_HEAD 16384

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds, const char *what) {
  if (holds) return;
  fprintf(stderr, "%s\n", what);
  abort();
}

static size_t add(char *out, size_t at, const void *bytes, size_t size) {
  memcpy(out + at, bytes, size);
  return at + size;
}

static size_t print_head(const char *bytes, const Head *head, char *out) {
  size_t at = add(out, 0, head->method.data, head->method.size);
  at = add(out, at, " ", 1);
  at = add(out, at, head->target.data, head->target.size);
  at = add(out, at, head->minor == 0 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n", 11);
  for (int i = 0; i < head->field_count; i++) {
    Field field = head->fields[i];
    at = add(out, at, bytes + field.name, field.name_size);
    at = add(out, at, ":", 1);
    at = add(out, at, bytes + field.value, field.value_size);
    at = add(out, at, "\r\n", 2);
  }
  return add(out, at, "\r\n", 2);
}

static void check_target(Slice target) {
  Request request = {0};
  if (!request_target(&request, target)) return;
  require(request.path.size > 0, "a path is empty");
  require(memchr(request.path.data, '?', request.path.size) == NULL,
          "a path has a query");
}

static void check_head(const uint8_t *data, size_t size, size_t cut) {
  size_t seen = 0, pieces = 0;
  long end = head_end(data, size < MAX_HEAD ? size : MAX_HEAD, &seen);
  if (cut > size) cut = size;
  long first = head_end(data, cut < MAX_HEAD ? cut : MAX_HEAD, &pieces);
  if (first == 0)
    first = head_end(data, size < MAX_HEAD ? size : MAX_HEAD, &pieces);
  require(first == end, "a head ends elsewhere when it comes in pieces");
  if (end <= 0) return;
  char *bytes = malloc((size_t)end), *printed = malloc((size_t)end + 64);
  require(bytes != NULL && printed != NULL, "no memory");
  memcpy(bytes, data, (size_t)end);
  Head head, again;
  if (head_parse(bytes, (size_t)end, &head) == 0) {
    check_target(head.target);
    size_t length = print_head(bytes, &head, printed);
    require(head_parse(printed, length, &again) == 0 &&
              again.field_count == head.field_count &&
              again.length == head.length && again.chunked == head.chunked &&
              again.keep_alive == head.keep_alive,
            "a head means something else when it is printed");
  }
  free(bytes);
  free(printed);
}

/* Feeds `size` bytes up to `cut`, then the others: status, and the body in
** `request`. */
static int feed(Request *request, const uint8_t *data, size_t size, size_t cut,
                size_t *taken) {
  size_t more = 0;
  *taken = 0;
  int status = chunked_feed(request, data, cut, taken);
  if (status != 0) return status;
  require(*taken == cut, "bytes were left though more are wanted");
  status = chunked_feed(request, data + cut, size - cut, &more);
  *taken += more;
  return status;
}

static void check_chunks(const uint8_t *data, size_t size, size_t cut) {
  Service service = {.max_body = 4096};
  Connection connection = {.service = &service};
  Request *whole = request_new(&connection), *parts = request_new(&connection);
  size_t taken, taken_parts;
  if (cut > size) cut = size;
  int status = feed(whole, data, size, 0, &taken);
  int status_parts = feed(parts, data, size, cut, &taken_parts);
  require(status == status_parts, "chunks read otherwise in pieces");
  require(status > 1 || taken == taken_parts, "chunks end elsewhere");
  require(whole->body_size <= service.max_body, "a body is too long");
  require(status > 1 ||
            (whole->body_size == parts->body_size &&
             (whole->body_size == 0 ||
              memcmp(whole->body, parts->body, whole->body_size) == 0)),
          "a body is another in pieces");
  request_free(whole);
  request_free(parts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  size_t cut = data[0];
  check_head(data + 1, size - 1, cut);
  check_chunks(data + 1, size - 1, cut);
  return 0;
}
