/* A stream of HTTP/2 as it arrives: header block, body, end. */
#include "http2.h"

#include <stdlib.h>
#include <string.h>

/* What a header list takes besides its bytes (RFC 9113 section 6.5.2). */
#define FIELD_OVERHEAD 32
/* A header list so long was made small to become large here. */
#define MAX_LISTED (256u << 10)
/* So much of a body that is refused is read all the same: many clients hear
** an answer only when they have sent it. */
#define MAX_DISCARDED (1u << 20)
/* What a stream takes here and in nghttp2, besides its head and bodies. */
#define STREAM_COST 2048
#define HEAD_ROOM 1024
#define FIELD_ROOM 16

/* life -------------------------------------------------------------- */

static Stream *stream_of(nghttp2_session *h2, int32_t id) {
  return nghttp2_session_get_stream_user_data(h2, id);
}

/* nghttp2_on_begin_headers_callback */
int stream_begin(nghttp2_session *h2, const nghttp2_frame *frame,
                 void *context) {
  Session *session = context;
  Connection *connection = session->connection;
  if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
  Stream *stream = calloc(1, sizeof *stream);
  if (stream == NULL) abort();
  stream->session = session;
  stream->id = frame->hd.stream_id;
  stream->request = request_new(connection);
  stream->request->stream = stream;
  if (peers_hold(STREAM_COST))
    stream->held = STREAM_COST;
  else
    stream->refused = 503;
  stream->next = session->streams;
  stream->link = &session->streams;
  if (stream->next != NULL) stream->next->link = &stream->next;
  session->streams = stream;
  stream->due = loop_clock() + connection->service->request_seconds;
  session_expect(session, stream->due);
  connection_wait(connection, NULL);
  return nghttp2_session_set_stream_user_data(h2, stream->id, stream);
}

void stream_wake(lua_State **waiter) {
  lua_State *co = *waiter;
  *waiter = NULL;
  loop_resume_later(co, 1);
}

/* Tells who waits that nothing comes any more. */
static void stream_tell_end(lua_State **waiter) {
  if (*waiter == NULL) return;
  lua_pushnil(*waiter);
  stream_wake(waiter);
}

void stream_free(Stream *stream) {
  Request *request = stream->request;
  *stream->link = stream->next;
  if (stream->next != NULL) stream->next->link = stream->link;
  stream_tell_end(&stream->reader);
  stream_tell_end(&stream->writer);
  if (request != NULL) {
    request->stream = NULL;
    request_abandon(request);
  }
  peers_release(stream->held);
  free(stream->out);
  free(stream->trailers);
  free(stream);
}

/* nghttp2_on_stream_close_callback */
int stream_closed(nghttp2_session *h2, int32_t id, uint32_t error,
                  void *context) {
  (void)error;
  Session *session = context;
  Stream *stream = stream_of(h2, id);
  if (stream == NULL) return 0;
  bool many = !stream->ended && !flood_reset(&session->flood);
  stream_free(stream);
  return many ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static void stream_refuse(Stream *stream, int status) {
  stream->due = 0;
  request_refuse(stream->request, status);
}

/* head -------------------------------------------------------------- */

/* Appends to the request's head; max_header keeps offsets in 16 bits. */
static uint16_t head_add(Stream *stream, const void *bytes, size_t size) {
  Request *request = stream->request;
  size_t whole = stream->head_size + size;
  if (whole > stream->head_room) {
    size_t room = stream->head_room * 2;
    if (room < whole + HEAD_ROOM) room = whole + HEAD_ROOM;
    if (!request_hold(request, room - stream->head_room)) {
      stream->refused = 503;
      return 0;
    }
    request->head = realloc(request->head, room);
    if (request->head == NULL) abort();
    stream->head_room = room;
  }
  memcpy(request->head + stream->head_size, bytes, size);
  stream->head_size = whole;
  return (uint16_t)(whole - size);
}

static Field *next_field(Stream *stream) {
  Request *request = stream->request;
  if (request->field_count == MAX_FIELDS) {
    stream->refused = 431;
    return NULL;
  }
  if (request->field_count == stream->field_room) {
    stream->field_room += FIELD_ROOM;
    request->fields = realloc(
      request->fields, (size_t)stream->field_room * sizeof *request->fields);
    if (request->fields == NULL) abort();
  }
  return &request->fields[request->field_count++];
}

static bool equals(Slice text, const char *other) {
  size_t size = strlen(other);
  return text.size == size && memcmp(text.data, other, size) == 0;
}

static void head_field(Stream *stream, Slice name, Slice value) {
  Field *field = equals(name, ":method") ? &stream->method
    : equals(name, ":path")              ? &stream->path
    : equals(name, ":authority")         ? &stream->authority
    : name.data[0] == ':'                ? NULL
                                         : next_field(stream);
  if (field == NULL) return;
  if (field == &stream->authority) name = (Slice){(const void *)"host", 4};
  uint16_t name_at = head_add(stream, name.data, name.size);
  uint16_t value_at = head_add(stream, value.data, value.size);
  *field =
    (Field){name_at, (uint16_t)name.size, value_at, (uint16_t)value.size};
}

/* nghttp2_on_header_callback; names and values are as RFC 9113 has them. */
int stream_field(nghttp2_session *h2, const nghttp2_frame *frame,
                 const uint8_t *name, size_t name_size, const uint8_t *value,
                 size_t value_size, uint8_t flags, void *context) {
  (void)flags;
  Session *session = context;
  Stream *stream = stream_of(h2, frame->hd.stream_id);
  if (stream == NULL) return 0;
  stream->listed += name_size + value_size + FIELD_OVERHEAD;
  if (stream->listed > MAX_LISTED) {
    session->flood.exceeded = true;
    return NGHTTP2_ERR_CALLBACK_FAILURE;
  }
  if (stream->headed || stream->refused != 0) return 0;
  if (stream->listed > session->connection->service->max_header)
    stream->refused = 431;
  else
    head_field(stream, (Slice){name, name_size}, (Slice){value, value_size});
  return 0;
}

static Slice field_value(const Request *request, Field field) {
  return (Slice){(unsigned char *)request->head + field.value,
                 field.value_size};
}

static Slice field_name(const Request *request, Field field) {
  return (Slice){(unsigned char *)request->head + field.name, field.name_size};
}

/* Whether the length that is announced may come. nghttp2 has read it, too. */
static bool is_acceptable_length(Slice value, size_t most) {
  size_t length = 0;
  for (size_t i = 0; i < value.size; i++) {
    length = length * 10 + (size_t)(value.data[i] - '0');
    if (length > most) return false;
  }
  return true;
}

/* The host is told once, as :authority or, without one, as host. */
static int check_host(Stream *stream) {
  Request *request = stream->request;
  Slice authority = field_value(request, stream->authority);
  for (int i = 0; i < request->field_count; i++) {
    if (!equals(field_name(request, request->fields[i]), "host")) continue;
    Slice host = field_value(request, request->fields[i]);
    if (stream->authority.name_size == 0) return 0;
    return host.size == authority.size &&
        memcmp(host.data, authority.data, host.size) == 0
      ? 0
      : 400;
  }
  Field *field = next_field(stream);
  if (field != NULL) *field = stream->authority;
  return stream->refused;
}

static bool is_target(Slice text) {
  for (size_t i = 0; i < text.size; i++)
    if (text.data[i] <= ' ' || text.data[i] >= 0x7f || text.data[i] == '#')
      return false;
  return true;
}

/* 0, or what the head is refused with. The pseudo-fields came first, so of
** one that is too long it is known what it asked. */
static int head_check(Stream *stream) {
  Request *request = stream->request;
  if (stream->refused == 503) return 503;
  if (stream->path.name_size == 0)
    return stream->refused != 0 ? stream->refused : 400;
  request->method = field_value(request, stream->method);
  request->is_head = equals(request->method, "HEAD");
  Slice target = field_value(request, stream->path);
  if (!is_target(target) || !request_target(request, target)) return 400;
  if (stream->refused != 0) return stream->refused;
  for (int i = 0; i < request->field_count; i++)
    if (equals(field_name(request, request->fields[i]), "content-length") &&
        !is_acceptable_length(field_value(request, request->fields[i]),
                              request->service->max_body))
      return 413;
  return check_host(stream);
}

/* Whether the service lets handlers of that path read by themselves. */
static bool is_streamed(const Request *request) {
  lua_State *L = loop_state();
  if (L == NULL || request->service->streams == LUA_REFNIL) return false;
  lua_rawgeti(L, LUA_REGISTRYINDEX, request->service->streams);
  lua_pushlstring(L, (const char *)request->path.data, request->path.size);
  lua_rawget(L, -2);
  if (lua_isnil(L, -1)) {
    lua_pushliteral(L, "*");
    lua_rawget(L, -3);
    lua_replace(L, -2);
  }
  bool streamed = lua_toboolean(L, -1);
  lua_pop(L, 2);
  return streamed;
}

/* whole ------------------------------------------------------------- */

/* Most refusals are told when the whole request has come. */
static void stream_headed(Stream *stream) {
  stream->headed = true;
  stream->refused = head_check(stream);
  bool streamed = stream->refused == 0 && is_streamed(stream->request);
  if (streamed && !streaming_open(stream->request)) stream->refused = 503;
  if (stream->refused == 503) {
    stream_refuse(stream, 503);
  } else if (streamed && stream->refused == 0) {
    stream->due = 0;
    request_submit(stream->request);
  }
}

static void stream_whole(Stream *stream) {
  Request *request = stream->request;
  stream->whole = true;
  flood_request(&stream->session->flood);
  if (request == NULL) return;
  if (stream->refused != 0) {
    stream_refuse(stream, stream->refused);
    return;
  }
  if (request->streaming) {
    stream_tell_end(&stream->reader);
    return;
  }
  stream->due = 0;
  request->arrival = ARRIVED;
  request_submit(request);
}

void stream_frame(Stream *stream, const nghttp2_frame *frame) {
  if (!stream->headed) stream_headed(stream);
  if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) stream_whole(stream);
}

/* Of a body that is refused. */
static void stream_discard(Stream *stream, size_t size) {
  stream->discarded += size;
  if (stream->discarded > MAX_DISCARDED)
    stream_refuse(stream, stream->refused);
  else
    nghttp2_session_consume_stream(stream->session->h2, stream->id, size);
}

/* nghttp2_on_data_chunk_recv_callback. The connection's window opens at
** once, so that no stream stops another; a stream's own when its body is
** read. */
int stream_data(nghttp2_session *h2, uint8_t flags, int32_t id,
                const uint8_t *data, size_t size, void *context) {
  (void)flags, (void)context;
  Stream *stream = stream_of(h2, id);
  nghttp2_session_consume_connection(h2, size);
  if (stream == NULL || stream->request == NULL) return 0;
  if (stream->refused != 0) {
    stream_discard(stream, size);
    return 0;
  }
  if (stream->reader != NULL) {
    stream->due = 0;
    lua_pushlstring(stream->reader, (const char *)data, size);
    stream_wake(&stream->reader);
    nghttp2_session_consume_stream(h2, id, size);
    return 0;
  }
  int status = request_append(stream->request, data, size);
  if (status != 0 && stream->request->streaming)
    return nghttp2_submit_rst_stream(h2, NGHTTP2_FLAG_NONE, id,
                                     NGHTTP2_ENHANCE_YOUR_CALM);
  if (status != 0) {
    request_drop_body(stream->request);
    stream->refused = status;
    stream_discard(stream, size);
  } else if (!stream->request->streaming) {
    nghttp2_session_consume_stream(h2, id, size);
  }
  return 0;
}

/* request.read() */
int stream_read(lua_State *L, Request *request) {
  Stream *stream = request->stream;
  Session *session = stream->session;
  if (request->body_size > 0) {
    size_t size = request->body_size;
    lua_pushlstring(L, (const char *)request->body, size);
    request_drop_body(request);
    nghttp2_session_consume_stream(session->h2, stream->id, size);
    session_touch(session);
    return 1;
  }
  if (stream->whole) {
    lua_pushnil(L);
    return 1;
  }
  if (stream->reader != NULL)
    return luaL_error(L, "two coroutines read the same request");
  stream->reader = L;
  stream->due = loop_clock() + request->service->idle_seconds;
  session_expect(session, stream->due);
  session_touch(session);
  return loop_suspend(L);
}

void stream_late(Stream *stream) {
  stream->due = 0;
  if (stream->reader != NULL) {
    stream_tell_end(&stream->reader);
  } else if (!stream->headed) {
    stream->session->flood.exceeded = true;
  } else if (!stream->whole && !stream->begun && stream->request != NULL &&
             !stream->request->streaming) {
    stream_refuse(stream, stream->refused != 0 ? stream->refused : 408);
  } else {
    nghttp2_submit_rst_stream(stream->session->h2, NGHTTP2_FLAG_NONE,
                              stream->id, NGHTTP2_CANCEL);
  }
}
