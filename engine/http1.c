/* HTTP/1.1 and 1.0 on a connection (RFC 9112): one request at a time, those
** that were sent ahead wait in the input. */
#include "server.h"

#include <event2/buffer.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The head of an answer while it is written. */
static struct {
  char *bytes;
  size_t size, room;
} text;

static const char *reason(int status) {
  switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 204: return "No Content";
    case 304: return "Not Modified";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 413: return "Content Too Large";
    case 417: return "Expectation Failed";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    case 505: return "HTTP Version Not Supported";
    default: return "";
  }
}

/* writing ----------------------------------------------------------- */

static void text_add(const void *bytes, size_t size) {
  if (text.size + size > text.room) {
    text.room = (text.size + size) * 2;
    text.bytes = realloc(text.bytes, text.room);
    if (text.bytes == NULL) abort();
  }
  memcpy(text.bytes + text.size, bytes, size);
  text.size += size;
}

__attribute__((format(printf, 1, 2))) static void text_format(
  const char *format, ...) {
  char line[128];
  va_list arguments;
  va_start(arguments, format);
  int size = vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  text_add(line, (size_t)size);
}

static void write_head(const Request *request, const Response *response,
                       bool close) {
  text.size = 0;
  text_format("HTTP/1.1 %d %s\r\n", response->status, reason(response->status));
  text_format("date: %s\r\n", response_date());
  for (int i = 0; i < response->field_count; i++) {
    text_add(response->fields[i].name.data, response->fields[i].name.size);
    text_add(": ", 2);
    text_add(response->fields[i].value.data, response->fields[i].value.size);
    text_add("\r\n", 2);
  }
  if (response->status != 204 && response->status != 304)
    text_format("content-length: %zu\r\n", response->body.size);
  if (close)
    text_add("connection: close\r\n", 19);
  else if (request->old)
    text_add("connection: keep-alive\r\n", 24);
  text_add("\r\n", 2);
}

static bool http1_respond(Request *request, const Response *response) {
  Connection *connection = request->connection;
  bool bare =
    request->is_head || response->status == 204 || response->status == 304;
  connection->closing =
    !request->keep_alive || response->close || loop_stopping();
  write_head(request, response, connection->closing);
  Slice head = {(unsigned char *)text.bytes, text.size};
  return connection_send(connection, head,
                         bare ? (Slice){NULL, 0} : response->body);
}

/* reading ----------------------------------------------------------- */

/* The answer to what cannot be read on: the connection ends with it. */
static void http1_refuse(Request *request, int status) {
  request->keep_alive = false;
  connection_wait(request->connection, NULL);
  request_refuse(request, status);
}

static void http1_submit(Request *request) {
  request->arrival = ARRIVED;
  connection_wait(request->connection, NULL);
  request_submit(request);
}

/* What the head says of the body; 0 or the status to refuse it with. */
static int http1_expect_body(Request *request, const Head *head) {
  Connection *connection = request->connection;
  if (head->has_length && head->length > request->service->max_body) return 413;
  request->body_left = (size_t)head->length;
  request->arrival = head->chunked ? IN_CHUNKS
    : request->body_left > 0       ? IN_BODY
                                   : ARRIVED;
  bool waits =
    request->arrival != ARRIVED && evbuffer_get_length(connection->input) == 0;
  if (!head->expects || !waits) return 0;
  static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
  Slice line = {(const unsigned char *)go_on, sizeof go_on - 1};
  return connection_send(connection, line, (Slice){NULL, 0}) ? 0 : -1;
}

/* Takes the head out of the input; 0 or the status to refuse it with. */
static int http1_take_head(Request *request, size_t size) {
  Connection *connection = request->connection;
  Head head;
  request->head = malloc(size);
  if (request->head == NULL) abort();
  evbuffer_remove(connection->input, request->head, size);
  int status = head_parse(request->head, size, &head);
  if (status == NOT_HTTP) connection_close(connection);
  if (status != 0) return status;
  size_t fields = (size_t)head.field_count * sizeof *request->fields;
  request->fields = malloc(fields + 1);
  if (request->fields == NULL) abort();
  memcpy(request->fields, head.fields, fields);
  request->field_count = head.field_count;
  request->method = head.method;
  request->is_head =
    head.method.size == 4 && memcmp(head.method.data, "HEAD", 4) == 0;
  request->old = head.minor == 0;
  request->keep_alive = head.keep_alive;
  if (!request_target(request, head.target)) return 400;
  return http1_expect_body(request, &head);
}

/* An empty line before a request is skipped (RFC 9112 section 2.2). */
static void skip_empty_line(Request *request) {
  struct evbuffer *input = request->connection->input;
  char start[2];
  if (request->seen == 0 && evbuffer_copyout(input, start, 2) == 2 &&
      start[0] == '\r' && start[1] == '\n')
    evbuffer_drain(input, 2);
}

static bool http1_head(Request *request) {
  Connection *connection = request->connection;
  skip_empty_line(request);
  size_t size = evbuffer_get_length(connection->input);
  size_t limit = request->service->max_header;
  const unsigned char *bytes = evbuffer_pullup(connection->input, -1);
  long end = head_end(bytes, size < limit ? size : limit, &request->seen);
  if (end == 0 && size < limit) return false;
  int status = end < 0 ? 400
    : end == 0         ? 431
                       : http1_take_head(request, (size_t)end);
  if (status > 0) http1_refuse(request, status);
  return status == 0;
}

static bool http1_body(Request *request) {
  struct evbuffer *input = request->connection->input;
  struct evbuffer_iovec part;
  if (evbuffer_peek(input, -1, NULL, &part, 1) < 1) return false;
  size_t taken = part.iov_len;
  int status = 0;
  if (request->arrival == IN_CHUNKS) {
    status = chunked_feed(request, part.iov_base, part.iov_len, &taken);
  } else {
    if (taken > request->body_left) taken = request->body_left;
    status = request_append(request, part.iov_base, taken);
    request->body_left -= taken;
    if (status == 0 && request->body_left == 0) status = 1;
  }
  if (status > 1) {
    http1_refuse(request, status);
    return false;
  }
  evbuffer_drain(input, taken);
  if (status == 1) request->arrival = ARRIVED;
  return true;
}

/* Takes a step with what has come; false: no further one is possible. */
static bool http1_step(Connection *connection) {
  Request *request = connection->request;
  if (connection->closed || connection->closing) return false;
  size_t size = evbuffer_get_length(connection->input);
  bool slow = connection_unsent(connection) > MAX_UNSENT;
  if (request == NULL && (size == 0 || slow)) {
    connection_rest(connection);
    return false;
  }
  if (request == NULL) {
    request = connection->request = request_new(connection);
    connection_wait(connection, &connection->service->reading);
  }
  if (request->queued) return false;
  if (request->arrival == ARRIVED) {
    http1_submit(request);
    return true;
  }
  if (size == 0) return false;
  return request->arrival == IN_HEAD ? http1_head(request)
                                     : http1_body(request);
}

static void http1_feed(Connection *connection) {
  connection_pin(connection);
  while (http1_step(connection)) continue;
  connection_unpin(connection);
}

static void http1_finish(Request *request) {
  Connection *connection = request->connection;
  bool unread = request->arrival != ARRIVED;
  connection->request = NULL;
  request_free(request);
  if (connection->closing)
    connection_leave(connection, unread);
  else if (connection->pins == 0)
    connection_feed(connection);
}

static void http1_late(Connection *connection) {
  http1_refuse(connection->request, 408);
}

static void http1_leave(Connection *connection) {
  if (connection->request != NULL) request_abandon(connection->request);
  connection->request = NULL;
}

const Protocol http1_protocol = {
  .name = "http/1.1",
  .feed = http1_feed,
  .respond = http1_respond,
  .finish = http1_finish,
  .late = http1_late,
  .leave = http1_leave,
};
