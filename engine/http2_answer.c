/* Answers on a stream of HTTP/2: header block, body by DATA frames as the
** peer's windows let them go, trailers. */
#include "http2.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ":status", "date" and "content-length" come besides the handler's. */
#define OWN_FIELDS 3

/* The peer has this long to take a part of what is sent. */
static void answer_expect(Stream *stream) {
  const Service *service = stream->session->connection->service;
  stream->due = loop_clock() + service->idle_seconds;
  session_expect(stream->session, stream->due);
}

/* body -------------------------------------------------------------- */

/* False: the process holds too much for slow peers. */
static bool out_add(Stream *stream, Slice bytes) {
  size_t left = stream->out_size - stream->out_sent;
  if (left + bytes.size > stream->out_room) {
    size_t room = left + bytes.size;
    if (!peers_hold(room - stream->out_room)) return false;
    stream->held += room - stream->out_room;
    unsigned char *out = malloc(room);
    if (out == NULL) abort();
    if (left > 0) memcpy(out, stream->out + stream->out_sent, left);
    free(stream->out);
    stream->out = out;
    stream->out_room = room;
  } else if (left > 0) {
    memmove(stream->out, stream->out + stream->out_sent, left);
  }
  if (bytes.size > 0) memcpy(stream->out + left, bytes.data, bytes.size);
  stream->out_sent = 0;
  stream->out_size = left + bytes.size;
  return true;
}

/* nghttp2_data_source_read_callback */
static ssize_t out_take(nghttp2_session *h2, int32_t id, uint8_t *to,
                        size_t room, uint32_t *flags,
                        nghttp2_data_source *source, void *context) {
  (void)context;
  Stream *stream = source->ptr;
  size_t size = stream->out_size - stream->out_sent;
  if (size > room) size = room;
  if (size > 0) memcpy(to, stream->out + stream->out_sent, size);
  stream->out_sent += size;
  size_t left = stream->out_size - stream->out_sent;
  if (left <= MAX_UNSENT / 2 && stream->writer != NULL) {
    lua_pushboolean(stream->writer, true);
    stream_wake(&stream->writer);
  }
  if (left > 0 || stream->ended) answer_expect(stream);
  if (left == 0 && !stream->ended) {
    if (stream->reader == NULL) stream->due = 0;
    return size > 0 ? (ssize_t)size : NGHTTP2_ERR_DEFERRED;
  }
  if (left > 0) return (ssize_t)size;
  *flags |= NGHTTP2_DATA_FLAG_EOF;
  if (stream->trailer_count > 0) {
    *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    nghttp2_submit_trailer(h2, id, stream->trailers, stream->trailer_count);
  }
  return (ssize_t)size;
}

static void trailers_keep(Stream *stream, const Response *response) {
  size_t count = (size_t)response->trailer_count;
  size_t size = count * sizeof(nghttp2_nv);
  for (size_t i = 0; i < count; i++)
    size += response->trailers[i].name.size + response->trailers[i].value.size;
  stream->trailers = malloc(size + 1);
  if (stream->trailers == NULL) abort();
  uint8_t *at = (uint8_t *)(stream->trailers + count);
  for (size_t i = 0; i < count; i++) {
    Pair pair = response->trailers[i];
    stream->trailers[i] = (nghttp2_nv){at, at + pair.name.size, pair.name.size,
                                       pair.value.size, NGHTTP2_NV_FLAG_NONE};
    memcpy(at, pair.name.data, pair.name.size);
    memcpy(at + pair.name.size, pair.value.data, pair.value.size);
    at += pair.name.size + pair.value.size;
  }
  stream->trailer_count = count;
}

/* head -------------------------------------------------------------- */

static nghttp2_nv field_of(Slice name, Slice value) {
  return (nghttp2_nv){(uint8_t *)(uintptr_t)name.data,
                      (uint8_t *)(uintptr_t)value.data, name.size, value.size,
                      NGHTTP2_NV_FLAG_NONE};
}

static Slice text_slice(const char *text) {
  return (Slice){(const unsigned char *)text, strlen(text)};
}

static size_t answer_fields(const Response *response, char status[16],
                            char length[24], bool counted, nghttp2_nv *fields) {
  size_t count = 0;
  snprintf(status, 16, "%d", response->status);
  fields[count++] = field_of(text_slice(":status"), text_slice(status));
  fields[count++] = field_of(text_slice("date"), text_slice(response_date()));
  for (int i = 0; i < response->field_count; i++)
    fields[count++] =
      field_of(response->fields[i].name, response->fields[i].value);
  if (counted) {
    snprintf(length, 24, "%zu", response->body.size);
    fields[count++] =
      field_of(text_slice("content-length"), text_slice(length));
  }
  return count;
}

static int answer_submit(Stream *stream, const Response *response, bool bare,
                         const nghttp2_nv *fields, size_t count) {
  nghttp2_session *h2 = stream->session->h2;
  nghttp2_data_provider body = {{.ptr = stream}, out_take};
  bool trailed = !bare && response->trailer_count > 0;
  stream->ended = bare || !response->streams;
  if (trailed) trailers_keep(stream, response);
  if (!bare && (response->body.size > 0 || response->streams)) {
    if (!out_add(stream, response->body)) return NGHTTP2_ERR_NOMEM;
    return nghttp2_submit_response(h2, stream->id, fields, count, &body);
  }
  if (!trailed)
    return nghttp2_submit_response(h2, stream->id, fields, count, NULL);
  int error = nghttp2_submit_headers(h2, NGHTTP2_FLAG_NONE, stream->id, NULL,
                                     fields, count, NULL);
  return error < 0 ? error
                   : nghttp2_submit_trailer(h2, stream->id, stream->trailers,
                                            stream->trailer_count);
}

bool answer_begin(Request *request, const Response *response) {
  Stream *stream = request->stream;
  nghttp2_nv fields[MAX_FIELDS + OWN_FIELDS];
  char status[16], length[24];
  bool empty = response->status == 204 || response->status == 304;
  bool bare = request->is_head || empty;
  bool counted = !empty && !response->streams && response->trailer_count == 0;
  size_t count = answer_fields(response, status, length, counted, fields);
  stream->begun = true;
  if (answer_submit(stream, response, bare, fields, count) < 0)
    nghttp2_submit_rst_stream(stream->session->h2, NGHTTP2_FLAG_NONE,
                              stream->id, NGHTTP2_INTERNAL_ERROR);
  if (stream->ended) answer_expect(stream);
  session_touch(stream->session);
  return true;
}

/* streaming --------------------------------------------------------- */

/* write(bytes) */
int answer_write(lua_State *L, Request *request, Slice bytes) {
  Stream *stream = request->stream;
  if (stream->ended) {
    lua_pushnil(L);
    return 1;
  }
  if (stream->writer != NULL)
    return luaL_error(L, "two coroutines write the same answer");
  session_touch(stream->session);
  if (!out_add(stream, bytes)) {
    nghttp2_submit_rst_stream(stream->session->h2, NGHTTP2_FLAG_NONE,
                              stream->id, NGHTTP2_INTERNAL_ERROR);
    lua_pushnil(L);
    return 1;
  }
  answer_expect(stream);
  nghttp2_session_resume_data(stream->session->h2, stream->id);
  if (stream->out_size - stream->out_sent > MAX_UNSENT) {
    stream->writer = L;
    return loop_suspend(L);
  }
  lua_pushboolean(L, true);
  return 1;
}

void answer_end(Request *request, const Response *response) {
  Stream *stream = request->stream;
  if (stream->ended) return;
  stream->ended = true;
  if (response->trailer_count > 0) trailers_keep(stream, response);
  answer_expect(stream);
  nghttp2_session_resume_data(stream->session->h2, stream->id);
  session_touch(stream->session);
}

void answer_finish(Request *request) {
  Stream *stream = request->stream;
  stream->request = NULL;
  if (!stream->ended) {
    nghttp2_submit_rst_stream(stream->session->h2, NGHTTP2_FLAG_NONE,
                              stream->id, NGHTTP2_INTERNAL_ERROR);
    session_touch(stream->session);
  }
  request_free(request);
}

/* nghttp2_on_frame_send_callback: who was answered need not send on (RFC
** 9113 section 8.1). gRPC's clients wait for that. */
int answer_sent(nghttp2_session *h2, const nghttp2_frame *frame,
                void *context) {
  (void)context;
  if ((frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) ||
      (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0)
    return 0;
  Stream *stream =
    nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);
  if (stream == NULL || stream->whole) return 0;
  return nghttp2_submit_rst_stream(h2, NGHTTP2_FLAG_NONE, stream->id,
                                   NGHTTP2_NO_ERROR);
}
