/* Calls one gRPC method, or posts to one address by HTTP/1.1, over many
** connections, one call at a time on each.
**
** Usage: calls grpc|http PORT PATH CONNECTIONS SECONDS REQUESTS ANSWERS
** REQUESTS is a file of messages, each behind its length (4 bytes, big end
** first). Each answer in ANSWERS is the number of its request, the time that
** it took in microseconds and its status, 4 bytes each, and what its body
** was, behind its length. It fails when a connection does. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNECTIONS 256
#define MAX_BODY 65536
#define NO_STATUS UINT32_MAX
#define FRAME 5  /* bytes before a message: compressed or not, length */
#define HEAD 512 /* bytes of a request's head, at most */

typedef struct Message {
  uint8_t *bytes; /* with its frame, or its head */
  size_t size;
} Message;

typedef struct Caller {
  int socket;
  nghttp2_session *h2; /* NULL: HTTP/1.1 */
  const Message *message;
  size_t sent;
  double began;
  uint32_t status;
  size_t size;
  uint8_t body[MAX_BODY];
} Caller;

static struct {
  Message *messages;
  size_t count, next;
  const char *path;
  bool http1;
  double end;
  FILE *answers;
  int busy;
} work;

static void fail(const char *what) {
  fprintf(stderr, "calls: %s: %s\n", what, strerror(errno));
  exit(1);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* files ------------------------------------------------------------- */

/* Puts before a message what its protocol has there; how much that is. */
static size_t begin(uint8_t *bytes, uint32_t size) {
  uint32_t length = htonl(size);
  if (work.http1)
    return (size_t)snprintf((char *)bytes, HEAD,
                            "POST %s HTTP/1.1\r\nHost: localhost\r\n"
                            "Content-Type: application/json\r\n"
                            "Content-Length: %u\r\n\r\n",
                            work.path, size);
  bytes[0] = 0;
  memcpy(bytes + 1, &length, sizeof length);
  return FRAME;
}

static void read_messages(const char *path) {
  FILE *file = fopen(path, "rb");
  uint32_t size;
  if (file == NULL) fail(path);
  while (fread(&size, sizeof size, 1, file) == 1) {
    work.messages =
      realloc(work.messages, (work.count + 1) * sizeof *work.messages);
    if (work.messages == NULL) abort();
    Message *message = &work.messages[work.count++];
    size = ntohl(size);
    message->bytes = malloc(HEAD + size);
    if (message->bytes == NULL) abort();
    message->size = begin(message->bytes, size) + size;
    if (fread(message->bytes + message->size - size, size, 1, file) != 1)
      fail(path);
  }
  fclose(file);
  if (work.count == 0) fail(path);
}

static void write_number(uint32_t number) {
  number = htonl(number);
  if (fwrite(&number, sizeof number, 1, work.answers) != 1) fail("answers");
}

static void write_answer(const Caller *caller) {
  write_number((uint32_t)(caller->message - work.messages));
  write_number((uint32_t)((now() - caller->began) * 1e6));
  write_number(caller->status);
  write_number((uint32_t)caller->size);
  if (fwrite(caller->body, 1, caller->size, work.answers) != caller->size)
    fail("answers");
}

/* calls ------------------------------------------------------------- */

/* nghttp2_data_source_read_callback */
static ssize_t give(nghttp2_session *h2, int32_t id, uint8_t *to, size_t room,
                    uint32_t *flags, nghttp2_data_source *source,
                    void *context) {
  (void)h2, (void)id, (void)source;
  Caller *caller = context;
  size_t size = caller->message->size - caller->sent;
  if (size > room) size = room;
  memcpy(to, caller->message->bytes + caller->sent, size);
  caller->sent += size;
  if (caller->sent == caller->message->size) *flags |= NGHTTP2_DATA_FLAG_EOF;
  return (ssize_t)size;
}

static nghttp2_nv field(const char *name, const char *value) {
  return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value,
                      strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static void submit(Caller *caller) {
  nghttp2_data_provider body = {{.ptr = NULL}, give};
  const nghttp2_nv fields[] = {
    field(":method", "POST"),
    field(":scheme", "http"),
    field(":path", work.path),
    field(":authority", "localhost"),
    field("content-type", "application/grpc"),
    field("user-agent", "calls"),
    field("te", "trailers"),
    field("grpc-timeout", "10S"),
  };
  if (nghttp2_submit_request(caller->h2, NULL, fields,
                             sizeof fields / sizeof *fields, &body, NULL) < 0)
    fail("call");
}

static void push(Caller *caller, const uint8_t *bytes, size_t size) {
  ssize_t got;
  for (size_t at = 0; at < size; at += (size_t)got) {
    got = write(caller->socket, bytes + at, size - at);
    if (got <= 0) fail("write");
  }
}

static void call(Caller *caller) {
  if (now() >= work.end) {
    work.busy--;
    return;
  }
  caller->message = &work.messages[work.next];
  work.next = (work.next + 1) % work.count;
  caller->sent = caller->size = 0;
  caller->status = NO_STATUS;
  caller->began = now();
  if (caller->h2 != NULL)
    submit(caller);
  else
    push(caller, caller->message->bytes, caller->message->size);
}

static int on_header(nghttp2_session *h2, const nghttp2_frame *frame,
                     const uint8_t *name, size_t name_size,
                     const uint8_t *value, size_t value_size, uint8_t flags,
                     void *context) {
  (void)h2, (void)frame, (void)value_size, (void)flags;
  Caller *caller = context;
  if (name_size == 11 && memcmp(name, "grpc-status", 11) == 0)
    caller->status = (uint32_t)strtoul((const char *)value, NULL, 10);
  return 0;
}

static int on_data(nghttp2_session *h2, uint8_t flags, int32_t id,
                   const uint8_t *data, size_t size, void *context) {
  (void)h2, (void)flags, (void)id;
  Caller *caller = context;
  if (size > MAX_BODY - caller->size) return NGHTTP2_ERR_CALLBACK_FAILURE;
  memcpy(caller->body + caller->size, data, size);
  caller->size += size;
  return 0;
}

static int on_close(nghttp2_session *h2, int32_t id, uint32_t error,
                    void *context) {
  (void)h2, (void)id, (void)error;
  write_answer(context);
  call(context);
  return 0;
}

/* An answer of HTTP/1.1 when all of it is there: then the next call. */
static void look(Caller *caller) {
  const char *text = (const char *)caller->body;
  caller->body[caller->size] = '\0';
  const char *end = strstr(text, "\r\n\r\n");
  const char *length = strstr(text, "\r\ncontent-length: ");
  if (end == NULL) return;
  if (length == NULL || length > end) fail("an answer without its length");
  size_t size = strtoul(length + 18, NULL, 10), head = (size_t)(end - text) + 4;
  if (caller->size < head + size) return;
  caller->status = (uint32_t)strtoul(text + 9, NULL, 10);
  memmove(caller->body, caller->body + head, size);
  caller->size = size;
  write_answer(caller);
  call(caller);
}

/* connections ------------------------------------------------------- */

static void greet(Caller *caller, uint16_t port) {
  static nghttp2_session_callbacks *all;
  struct sockaddr_in to = {.sin_family = AF_INET,
                           .sin_port = htons(port),
                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int on = 1;
  if (all == NULL) {
    if (nghttp2_session_callbacks_new(&all) != 0) abort();
    nghttp2_session_callbacks_set_on_header_callback(all, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(all, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(all, on_close);
  }
  caller->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(caller->socket, (struct sockaddr *)&to, sizeof to) != 0)
    fail("connect");
  setsockopt(caller->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (!work.http1) {
    if (nghttp2_session_client_new(&caller->h2, all, caller) != 0) abort();
    nghttp2_submit_settings(caller->h2, NGHTTP2_FLAG_NONE, NULL, 0);
  }
  call(caller);
}

/* What the session has to send. A request is far smaller than a socket's
** buffer, so writing never waits long. */
static void flush(Caller *caller) {
  static uint8_t text[MAX_BODY * 2];
  const uint8_t *part;
  size_t size = 0;
  ssize_t got;
  if (caller->h2 == NULL) return;
  while ((got = nghttp2_session_mem_send(caller->h2, &part)) > 0) {
    if ((size_t)got > sizeof text - size) fail("message too large");
    memcpy(text + size, part, (size_t)got);
    size += (size_t)got;
  }
  if (got < 0) fail(nghttp2_strerror((int)got));
  push(caller, text, size);
}

static void pull(Caller *caller) {
  uint8_t text[MAX_BODY];
  if (caller->h2 == NULL) {
    ssize_t more = read(caller->socket, caller->body + caller->size,
                        MAX_BODY - 1 - caller->size);
    if (more <= 0) fail("read");
    caller->size += (size_t)more;
    look(caller);
    return;
  }
  ssize_t got = read(caller->socket, text, sizeof text);
  if (got <= 0) fail("read");
  got = nghttp2_session_mem_recv(caller->h2, text, (size_t)got);
  if (got < 0) fail(nghttp2_strerror((int)got));
}

int main(int count, char **words) {
  static Caller callers[MAX_CONNECTIONS];
  static struct pollfd polled[MAX_CONNECTIONS];
  int connections = count == 8 ? atoi(words[4]) : 0;
  if (connections < 1 || connections > MAX_CONNECTIONS) return 2;
  work.http1 = strcmp(words[1], "http") == 0;
  work.path = words[3];
  read_messages(words[6]);
  work.answers = fopen(words[7], "wb");
  if (work.answers == NULL) fail(words[7]);
  work.end = now() + atof(words[5]);
  work.busy = connections;
  for (int i = 0; i < connections; i++) {
    greet(&callers[i], (uint16_t)atoi(words[2]));
    flush(&callers[i]);
    polled[i] = (struct pollfd){callers[i].socket, POLLIN, 0};
  }
  while (work.busy > 0) {
    if (poll(polled, (nfds_t)connections, 20000) <= 0) fail("poll");
    for (int i = 0; i < connections; i++) {
      if (polled[i].revents == 0) continue;
      pull(&callers[i]);
      flush(&callers[i]);
    }
  }
  return fclose(work.answers) == 0 ? 0 : 1;
}
