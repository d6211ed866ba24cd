/* Connections: opened, told apart by protocol, sent to, closed. */
#include "server.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define INPUT_SLACK 4096 /* bytes that may wait besides a whole head */

/* closing ----------------------------------------------------------- */

void connection_pin(Connection *connection) {
  connection->pins++;
}

bool connection_unpin(Connection *connection) {
  bool gone = connection->closed;
  if (--connection->pins == 0 && gone) free(connection);
  return !gone;
}

void connection_close(Connection *connection) {
  if (connection->closed) return;
  connection->closed = true;
  connection_pin(connection);
  connection_wait(connection, NULL);
  if (connection->protocol != NULL) connection->protocol->leave(connection);
  if (connection->channel != NULL) {
    if (!connection->leaving) channel_end(connection);
    channel_free(connection->channel);
  }
  held_close(connection);
  bufferevent_free(connection->stream);
  shared_connections(-1);
  loop_hold(-1);
  connection_unpin(connection);
}

static void connection_drop_input(Connection *connection) {
  struct evbuffer *input = bufferevent_get_input(connection->stream);
  evbuffer_drain(input, evbuffer_get_length(input));
}

/* All is sent: says so, and drops what still comes until the peer ends. */
static void connection_linger(Connection *connection) {
  if (connection->ended) {
    connection_close(connection);
    return;
  }
  shutdown(bufferevent_getfd(connection->stream), SHUT_WR);
  connection_drop_input(connection);
  connection_wait(connection, &connection->service->leaving);
}

void connection_leave(Connection *connection, bool unread) {
  if (connection->channel != NULL && !connection->leaving)
    channel_end(connection);
  if (connection->closed || !connection_release(connection)) return;
  connection->unsent = connection_unsent(connection);
  connection->closing = connection->leaving = true;
  if (connection->unsent > 0)
    connection_wait(connection, &connection->service->idle);
  else if (unread || evbuffer_get_length(connection->input) > 0)
    connection_linger(connection);
  else
    connection_close(connection);
}

void connection_rest(Connection *connection) {
  bool waits = evbuffer_get_length(connection->input) > 0;
  if (!waits && (connection->ended || loop_stopping()))
    connection_leave(connection, false);
  else
    connection_wait(connection, &connection->service->idle);
}

/* Whether the peer has taken some of what we sent since the last look. */
static bool connection_moves(Connection *connection) {
  size_t unsent = connection_unsent(connection);
  bool moves = unsent > 0 && unsent < connection->unsent;
  connection->unsent = unsent;
  if (moves) connection_wait(connection, connection->ageing);
  return moves;
}

void connection_expire(Connection *connection) {
  const Protocol *protocol = connection->protocol;
  if (connection_moves(connection)) return;
  if (!connection->leaving && protocol != NULL && protocol->expire != NULL)
    protocol->expire(connection);
  else
    connection_close(connection);
}

/* Who has sent too little to say how it speaks gets HTTP/1.1's answer. */
void connection_late(Connection *connection) {
  connection_wait(connection, NULL);
  if (connection->protocol == NULL && connection->channel != NULL) {
    connection_close(connection);
    return;
  }
  if (connection->protocol == NULL) {
    connection->protocol = &http1_protocol;
    connection->protocol->feed(connection);
  }
  connection->protocol->late(connection);
}

/* bytes ------------------------------------------------------------- */

bool connection_send(Connection *connection, Slice head, Slice body) {
  return connection->channel != NULL ? channel_send(connection, head, body)
                                     : connection_push(connection, head, body);
}

/* An answer that needs no request to be read. */
static void connection_refuse(Connection *connection, int status) {
  connection->protocol = &http1_protocol;
  connection->request = request_new(connection);
  request_refuse(connection->request, status);
}

/* A first byte of 22 is a TLS record that begins a handshake (RFC 8446
** section 5.1). False: nothing to go on with. */
static bool connection_secure(Connection *connection) {
  const Service *service = connection->service;
  unsigned char first = 0;
  if (connection->channel == NULL && service->tls != NULL &&
      connection->protocol == NULL) {
    if (evbuffer_copyout(connection->input, &first, 1) != 1) return false;
    if (first == 22) {
      channel_open(connection);
      connection_wait(connection, &connection->service->reading);
    } else if (!service->plain) {
      connection_refuse(connection, 400);
      return false;
    }
  }
  if (connection->channel == NULL) return true;
  return channel_read(connection, service->max_header + INPUT_SLACK);
}

/* How the peer speaks, from its first bytes; NULL: they do not say yet. */
static const Protocol *connection_sniff(Connection *connection) {
  static const char preface[3] = "PRI"; /* RFC 9113 section 3.4 */
  char start[sizeof preface];
  ssize_t size = evbuffer_copyout(connection->input, start, sizeof start);
  if (size > 0 && memcmp(start, preface, (size_t)size) != 0)
    return &http1_protocol;
  if (size == sizeof preface) return &http2_protocol;
  Ageing *list = &connection->service->reading;
  bool idle = size == 0 &&
    (connection->channel == NULL || channel_is_ready(connection->channel));
  if (idle)
    connection_rest(connection);
  else if (connection->ageing != list)
    connection_wait(connection, list);
  return NULL;
}

/* The peer sends no more: closes, unless something is owed to it. */
static void connection_over(Connection *connection) {
  bool waits =
    connection->request != NULL && connection->request->arrival == ARRIVED;
  if (!connection_release(connection)) return;
  if (!waits && connection_unsent(connection) == 0)
    connection_close(connection);
}

void connection_feed(Connection *connection) {
  size_t before, left = SIZE_MAX;
  connection_pin(connection);
  do {
    before = left;
    if (!connection_secure(connection)) break;
    if (connection->protocol == NULL)
      connection->protocol = connection_sniff(connection);
    if (connection->protocol == NULL) break;
    connection->protocol->feed(connection);
    if (connection->closed || connection->channel == NULL) break;
    left = evbuffer_get_length(bufferevent_get_input(connection->stream));
  } while (!connection->leaving && left > 0 && left < before);
  bool over = connection->ended && !connection->leaving;
  if (connection_unpin(connection) && over) connection_over(connection);
}

static void stream_readable(struct bufferevent *stream, void *context) {
  (void)stream;
  Connection *connection = context;
  if (connection->leaving)
    connection_drop_input(connection);
  else
    connection_feed(connection);
}

static void stream_flushed(struct bufferevent *stream, void *context) {
  (void)stream;
  Connection *connection = context;
  if (connection->leaving)
    connection_linger(connection);
  else if (connection->protocol != NULL)
    connection_feed(connection);
}

static void stream_event(struct bufferevent *stream, short what,
                         void *context) {
  (void)stream;
  Connection *connection = context;
  connection->ended = true;
  if ((what & BEV_EVENT_EOF) != 0)
    connection_over(connection);
  else
    connection_close(connection);
}

/* opening ----------------------------------------------------------- */

/* Writes who it is; false when it may not talk to us. */
static bool connection_peer(Connection *connection, int fd) {
  union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
  } peer = {0};
  socklen_t size = sizeof peer;
  char *text = connection->peer;
  const size_t room = sizeof connection->peer;
  getpeername(fd, &peer.any, &size);
  if (peer.any.sa_family == AF_INET) {
    inet_ntop(AF_INET, &peer.v4.sin_addr, text, room);
  } else if (peer.any.sa_family == AF_INET6) {
    inet_ntop(AF_INET6, &peer.v6.sin6_addr, text, room);
    if (IN6_IS_ADDR_V4MAPPED(&peer.v6.sin6_addr))
      inet_ntop(AF_INET, &peer.v6.sin6_addr.s6_addr[12], text, room);
  } else {
    struct ucred owner = {.uid = (uid_t)-1};
    size = sizeof owner;
    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &owner, &size);
    snprintf(text, room, "uid:%u", (unsigned)owner.uid);
    return !connection->service->same_user || owner.uid == geteuid();
  }
  return true;
}

void connection_open(Service *service, int fd) {
  Connection *connection = calloc(1, sizeof *connection);
  struct bufferevent *stream =
    bufferevent_socket_new(loop_base(), fd, BEV_OPT_CLOSE_ON_FREE);
  if (connection == NULL || stream == NULL) abort();
  connection->service = service;
  connection->stream = stream;
  connection->input = bufferevent_get_input(stream);
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  loop_hold(1);
  int total = shared_connections(1);
  if (!connection_peer(connection, fd)) {
    connection_close(connection);
    return;
  }
  bufferevent_setcb(stream, stream_readable, stream_flushed, stream_event,
                    connection);
  bufferevent_setwatermark(stream, EV_READ, 0,
                           service->max_header + INPUT_SLACK);
  bufferevent_enable(stream, EV_READ);
  if (total > service->max_connections && service->idle.first != NULL) {
    connection_close(service->idle.first);
  } else if (total > service->max_connections) {
    connection_refuse(connection, 503);
    return;
  }
  connection_wait(connection, &service->idle);
}
