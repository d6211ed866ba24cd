/* HTTP/2 on a connection (RFC 9113): a session of nghttp2's, fed and
** emptied here; what its streams ask is in http2_stream.c. */
#include "http2.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#define MAX_STREAMS 100
#define MAX_ACKS 256 /* of PING and SETTINGS, not yet sent */
#define MAX_CONTINUATIONS 8
/* From the first GOAWAY to the final one, for a peer that answers no PING. */
#define PARTING_SECONDS 3
#define TEXT_SIZE (1 << 17)

static struct {
  Session *all, *dirty;
  struct event *flusher;
  struct event_base *base; /* the flusher's */
} sessions;

static const uint8_t farewell_mark[8] = "goodbye";

static void session_flush(Session *session);

/* life -------------------------------------------------------------- */

static void session_clean(Session *session) {
  if (session->dirty_link == NULL) return;
  *session->dirty_link = session->next_dirty;
  if (session->next_dirty != NULL)
    session->next_dirty->dirty_link = session->dirty_link;
  session->dirty_link = NULL;
}

/* Frees it and its streams, not the connection. */
static void session_free(Session *session) {
  session->connection->session = NULL;
  while (session->streams != NULL) stream_free(session->streams);
  session_clean(session);
  *session->link = session->next;
  if (session->next != NULL) session->next->link = session->link;
  event_del(&session->timer);
  nghttp2_session_del(session->h2);
  free(session);
}

/* A GOAWAY (RFC 9113 section 6.8) where nghttp2 can send none any more. */
static void send_goaway(Connection *connection, int32_t last, uint32_t error) {
  unsigned char frame[17] = {0, 0, 8, NGHTTP2_GOAWAY};
  for (int i = 0; i < 4; i++) {
    frame[9 + i] = (unsigned char)((uint32_t)last >> (24 - 8 * i));
    frame[13 + i] = (unsigned char)(error >> (24 - 8 * i));
  }
  connection_send(connection, (Slice){frame, sizeof frame}, (Slice){NULL, 0});
}

/* Ends it at once; streams that are under way are lost. A peer that asked
** for too much is not listened to any more. */
static void session_break(Session *session, uint32_t error) {
  Connection *connection = session->connection;
  int32_t last = nghttp2_session_get_last_proc_stream_id(session->h2);
  bool greeted = session->greeted;
  session_free(session);
  connection_pin(connection);
  if (greeted) send_goaway(connection, last, error);
  if (!connection->closed) connection_leave(connection, true);
  if (!connection->closed && error == NGHTTP2_ENHANCE_YOUR_CALM)
    bufferevent_disable(connection->stream, EV_READ);
  connection_unpin(connection);
}

/* The same for an error of nghttp2's. */
static void session_fail(Session *session, ssize_t error) {
  bool calm = session->flood.exceeded || error == NGHTTP2_ERR_FLOODED ||
    error == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS;
  if (error == NGHTTP2_ERR_NOMEM) abort();
  session_break(session,
                calm ? NGHTTP2_ENHANCE_YOUR_CALM
                  : error == NGHTTP2_ERR_BAD_CLIENT_MAGIC
                  ? NGHTTP2_PROTOCOL_ERROR
                  : NGHTTP2_INTERNAL_ERROR);
}

/* ending ------------------------------------------------------------ */

/* Names the last stream that is answered. */
static void session_part(Session *session) {
  if (session->farewell == PARTED) return;
  session->farewell = PARTED;
  session->farewell_due = 0;
  nghttp2_submit_goaway(session->h2, NGHTTP2_FLAG_NONE,
                        nghttp2_session_get_last_proc_stream_id(session->h2),
                        NGHTTP2_NO_ERROR, NULL, 0);
}

/* Says that it will end. When the PING comes back, nothing is on its way
** that was sent without knowing that. */
static void session_notice(Session *session) {
  if (session->farewell != STAYS) return;
  session->farewell = NOTICED;
  session->farewell_due = loop_clock() + PARTING_SECONDS;
  session_expect(session, session->farewell_due);
  nghttp2_submit_shutdown_notice(session->h2);
  nghttp2_submit_ping(session->h2, NGHTTP2_FLAG_NONE, farewell_mark);
}

static void sessions_stop(bool now) {
  Session *next;
  for (Session *at = sessions.all; at != NULL; at = next) {
    next = at->next;
    if (now) {
      session_break(at, NGHTTP2_NO_ERROR);
    } else if (at->greeted) {
      session_notice(at);
      session_flush(at);
    } else {
      connection_close(at->connection);
    }
  }
}

void http2_open(void) {
  loop_on_stop(sessions_stop);
}

/* time -------------------------------------------------------------- */

static void session_arm(Session *session) {
  double due = session->farewell_due;
  for (Stream *at = session->streams; at != NULL; at = at->next)
    if (at->due > 0 && (due == 0 || at->due < due)) due = at->due;
  session->rearm = false;
  session->due = due;
  if (due == 0) return;
  struct timeval span = loop_span(due - loop_clock());
  evtimer_add(&session->timer, &span);
}

void session_expect(Session *session, double due) {
  if (session->due == 0 || due < session->due) session->rearm = true;
}

static void session_over(evutil_socket_t fd, short what, void *context) {
  (void)fd, (void)what;
  Session *session = context;
  double now = loop_clock() + 0.001;
  session->due = 0;
  session->rearm = true;
  if (session->farewell_due > 0 && session->farewell_due <= now)
    session_part(session);
  for (Stream *at = session->streams; at != NULL; at = at->next)
    if (at->due > 0 && at->due <= now) stream_late(at);
  if (session->flood.exceeded)
    session_break(session, NGHTTP2_ENHANCE_YOUR_CALM);
  else
    session_flush(session);
}

/* sending ----------------------------------------------------------- */

/* What there is to do when nothing is left to send. */
static void session_settle(Session *session) {
  Connection *connection = session->connection;
  Service *service = connection->service;
  bool done = !nghttp2_session_want_read(session->h2) &&
    !nghttp2_session_want_write(session->h2);
  if (done || (session->streams == NULL && session->farewell == PARTED)) {
    session_free(session);
    connection_leave(connection, true);
    return;
  }
  if (session->streams == NULL && session->greeted &&
      connection->ageing != &service->idle)
    connection_wait(connection, &service->idle);
  if (session->rearm) session_arm(session);
}

/* Sends what nghttp2 has, unless the peer does not take it. Returns with
** the session freed when it ends. */
static void session_flush(Session *session) {
  static unsigned char text[TEXT_SIZE];
  Connection *connection = session->connection;
  ssize_t size = 1;
  session_clean(session);
  while (size > 0 && connection_unsent(connection) <= MAX_UNSENT) {
    size_t filled = 0;
    const uint8_t *frame = NULL;
    while (filled <= MAX_UNSENT &&
           (size = nghttp2_session_mem_send(session->h2, &frame)) > 0 &&
           filled + (size_t)size <= sizeof text) {
      memcpy(text + filled, frame, (size_t)size);
      filled += (size_t)size;
      size = 1;
    }
    Slice rest = {frame, size > 1 ? (size_t)size : 0};
    if (filled + rest.size > 0 &&
        !connection_send(connection, (Slice){text, filled}, rest))
      return;
  }
  if (size < 0)
    session_fail(session, size);
  else
    session_settle(session);
}

static void sessions_flush(evutil_socket_t fd, short what, void *context) {
  (void)fd, (void)what, (void)context;
  while (sessions.dirty != NULL) session_flush(sessions.dirty);
}

void session_touch(Session *session) {
  if (session->dirty_link != NULL) return;
  if (sessions.base != loop_base()) {
    sessions.base = loop_base();
    sessions.flusher = event_new(sessions.base, -1, 0, sessions_flush, NULL);
  }
  session->next_dirty = sessions.dirty;
  session->dirty_link = &sessions.dirty;
  if (sessions.dirty != NULL) sessions.dirty->dirty_link = &session->next_dirty;
  sessions.dirty = session;
  event_active(sessions.flusher, EV_TIMEOUT, 0);
}

/* reading ----------------------------------------------------------- */

/* nghttp2_on_begin_frame_callback. nghttp2 passes over a request whose
** stream was skipped before; it is a connection error (RFC 9113 section
** 5.1.1). Streams that were closed are still known to it for a while. */
static int session_frame_begins(nghttp2_session *h2,
                                const nghttp2_frame_hd *head, void *context) {
  if (head->type == NGHTTP2_HEADERS && head->stream_id % 2 == 1 &&
      head->stream_id <= nghttp2_session_get_last_proc_stream_id(h2) &&
      nghttp2_session_find_stream(h2, head->stream_id) == NULL)
    nghttp2_session_terminate_session(h2, NGHTTP2_PROTOCOL_ERROR);
  Session *session = context;
  return flood_frame(&session->flood, head) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* nghttp2_on_frame_recv_callback */
static int session_frame(nghttp2_session *h2, const nghttp2_frame *frame,
                         void *context) {
  Session *session = context;
  Stream *stream =
    nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);
  if (!session->greeted) {
    session->greeted = true;
    if (loop_stopping()) session_notice(session);
  }
  if (frame->hd.type == NGHTTP2_PING &&
      (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0 &&
      memcmp(frame->ping.opaque_data, farewell_mark, 8) == 0)
    session_part(session);
  if (stream != NULL &&
      (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA))
    stream_frame(stream, frame);
  return 0;
}

static const nghttp2_session_callbacks *session_callbacks(void) {
  static nghttp2_session_callbacks *all;
  if (all != NULL) return all;
  if (nghttp2_session_callbacks_new(&all) != 0) abort();
  nghttp2_session_callbacks_set_on_begin_frame_callback(all,
                                                        session_frame_begins);
  nghttp2_session_callbacks_set_on_begin_headers_callback(all, stream_begin);
  nghttp2_session_callbacks_set_on_header_callback(all, stream_field);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(all, stream_data);
  nghttp2_session_callbacks_set_on_stream_close_callback(all, stream_closed);
  nghttp2_session_callbacks_set_on_frame_recv_callback(all, session_frame);
  nghttp2_session_callbacks_set_on_frame_send_callback(all, answer_sent);
  return all;
}

static const nghttp2_option *session_options(void) {
  static nghttp2_option *all;
  if (all != NULL) return all;
  if (nghttp2_option_new(&all) != 0) abort();
  nghttp2_option_set_no_auto_window_update(all, 1);
  nghttp2_option_set_max_outbound_ack(all, MAX_ACKS);
  nghttp2_option_set_max_continuations(all, MAX_CONTINUATIONS);
  /* Its limit counts resets of what was answered, which are harmless and
  ** which libcurl sends; http2_flood.c counts the others. */
  nghttp2_option_set_stream_reset_rate_limit(all, UINT32_MAX, UINT32_MAX);
  return all;
}

static Session *session_open(Connection *connection) {
  Session *session = calloc(1, sizeof *session);
  const nghttp2_settings_entry settings[] = {
    {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, MAX_STREAMS},
    {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
     (uint32_t)connection->service->max_header},
  };
  if (session == NULL ||
      nghttp2_session_server_new2(&session->h2, session_callbacks(), session,
                                  session_options()) != 0)
    abort();
  session->connection = connection;
  session->next = sessions.all;
  session->link = &sessions.all;
  if (session->next != NULL) session->next->link = &session->next;
  sessions.all = session;
  evtimer_assign(&session->timer, loop_base(), session_over, session);
  connection->session = session;
  connection_wait(connection, &connection->service->reading);
  nghttp2_submit_settings(session->h2, NGHTTP2_FLAG_NONE, settings,
                          sizeof settings / sizeof *settings);
  return session;
}

/* What the peer sends is not read while it takes nothing itself. */
static void http2_feed(Connection *connection) {
  Session *session = connection->session;
  struct evbuffer_iovec part;
  ssize_t taken = 0;
  if (session == NULL) session = session_open(connection);
  while (taken >= 0 && connection_unsent(connection) <= MAX_UNSENT &&
         evbuffer_peek(connection->input, -1, NULL, &part, 1) > 0) {
    taken = nghttp2_session_mem_recv(session->h2, part.iov_base, part.iov_len);
    if (taken > 0) evbuffer_drain(connection->input, (size_t)taken);
  }
  if (taken < 0)
    session_fail(session, taken);
  else
    session_flush(session);
}

/* The preface took too long. */
static void http2_late(Connection *connection) {
  connection_close(connection);
}

static void http2_leave(Connection *connection) {
  if (connection->session != NULL) session_free(connection->session);
}

static void http2_expire(Connection *connection) {
  Session *session = connection->session;
  if (session == NULL || connection_unsent(connection) > 0) {
    connection_close(connection);
    return;
  }
  session_part(session);
  session_flush(session);
}

const Protocol http2_protocol = {
  .name = "h2",
  .feed = http2_feed,
  .respond = answer_begin,
  .finish = answer_finish,
  .late = http2_late,
  .leave = http2_leave,
  .expire = http2_expire,
  .read = stream_read,
  .write = answer_write,
  .end = answer_end,
};
