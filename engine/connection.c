/* Connections: accepted, limited in number and time, sent to, closed. */
#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define LEAVING_SECONDS 2
#define PAUSE_SECONDS 0.1 /* of accepting, when out of descriptors */
/* Who has so many connections more than another process of its role lets
** the other take the next one, if it comes this soon. */
#define AHEAD 2
#define COURTESY_SECONDS 50e-6
#define MAX_ACCEPTS 256  /* at once */
#define INPUT_SLACK 4096 /* bytes that may wait besides a whole head */

static Service *services; /* live as long as the process */

/* closing ----------------------------------------------------------- */

size_t connection_unsent(Connection *connection) {
  return evbuffer_get_length(bufferevent_get_output(connection->stream));
}

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
  bufferevent_free(connection->stream);
  shared_connections(-1);
  loop_hold(-1);
  connection_unpin(connection);
}

/* All is sent: says so, and drops what still comes until the peer ends. */
static void connection_linger(Connection *connection) {
  if (connection->ended) {
    connection_close(connection);
    return;
  }
  shutdown(bufferevent_getfd(connection->stream), SHUT_WR);
  evbuffer_drain(connection->input, evbuffer_get_length(connection->input));
  connection_wait(connection, &connection->service->leaving);
}

void connection_leave(Connection *connection, bool unread) {
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

static void connection_expire(Connection *connection) {
  if (!connection_moves(connection)) connection_close(connection);
}

static void connection_late(Connection *connection) {
  connection_wait(connection, NULL);
  connection->protocol->late(connection);
}

/* bytes ------------------------------------------------------------- */

bool connection_send(Connection *connection, Slice head, Slice body) {
  struct iovec parts[2] = {
    {(void *)(uintptr_t)head.data, head.size},
    {(void *)(uintptr_t)body.data, body.size},
  };
  ssize_t sent = 0;
  if (connection_unsent(connection) == 0)
    sent = writev(bufferevent_getfd(connection->stream), parts, 2);
  if (sent < 0 && errno != EAGAIN && errno != EINTR) {
    connection_close(connection);
    return false;
  }
  size_t done = sent < 0 ? 0 : (size_t)sent;
  for (int i = 0; i < 2; i++) {
    size_t part = done < parts[i].iov_len ? done : parts[i].iov_len;
    done -= part;
    if (part < parts[i].iov_len)
      bufferevent_write(connection->stream, (char *)parts[i].iov_base + part,
                        parts[i].iov_len - part);
  }
  connection->unsent = connection_unsent(connection);
  return true;
}

static void stream_readable(struct bufferevent *stream, void *context) {
  (void)stream;
  Connection *connection = context;
  if (connection->leaving) {
    evbuffer_drain(connection->input, evbuffer_get_length(connection->input));
    return;
  }
  if (connection->protocol == NULL) connection->protocol = &http1_protocol;
  connection_pin(connection);
  connection->protocol->feed(connection);
  connection_unpin(connection);
}

static void stream_flushed(struct bufferevent *stream, void *context) {
  (void)stream;
  Connection *connection = context;
  if (connection->leaving)
    connection_linger(connection);
  else if (connection->protocol != NULL)
    stream_readable(stream, context);
}

static void stream_event(struct bufferevent *stream, short what,
                         void *context) {
  (void)stream;
  Connection *connection = context;
  connection->ended = true;
  bool waits =
    connection->request != NULL && connection->request->arrival == ARRIVED;
  bool unsent = connection_unsent(connection) > 0;
  if ((what & BEV_EVENT_EOF) != 0 && (waits || unsent)) return;
  connection_close(connection);
}

/* accepting --------------------------------------------------------- */

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

static void connection_open(Service *service, int fd) {
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
    connection->protocol = &http1_protocol;
    connection->request = request_new(connection);
    request_refuse(connection->request, 503);
    return;
  }
  connection_wait(connection, &service->idle);
}

static void service_pause(Service *service, double seconds) {
  struct timeval span = loop_span(seconds);
  event_del(service->accepting);
  evtimer_add(service->pause, &span);
}

/* Whether to leave what waits to another process. The event is not taken
** away for that, so this is asked again in the next turn. */
static bool service_yields(Service *service) {
  double now = loop_clock();
  bool ahead = shared_is_ahead(AHEAD);
  if (ahead && service->courtesy == 0) service->courtesy = now;
  if (ahead && now - service->courtesy < COURTESY_SECONDS) return true;
  service->courtesy = 0;
  return false;
}

/* One at a time, so that others who wait for the same socket get their
** share; but all when work waits, so that nobody waits unseen behind it. */
static void service_accept(evutil_socket_t fd, short what, void *context) {
  (void)what;
  Service *service = context;
  int most = requests_wait() ? MAX_ACCEPTS : 1;
  if (service_yields(service)) return;
  for (int i = 0; i < most; i++) {
    int peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (peer < 0) break;
    connection_open(service, peer);
    errno = 0;
  }
  if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM)
    return;
  if (service->idle.first != NULL) connection_close(service->idle.first);
  service_pause(service, PAUSE_SECONDS);
}

static void service_resume(evutil_socket_t fd, short what, void *context) {
  (void)fd, (void)what;
  Service *service = context;
  if (!loop_stopping()) event_add(service->accepting, NULL);
}

/* Takes in who is queued already; then nobody else. */
static void service_stop(Service *service) {
  int fd = service->listener->fd;
  int peer;
  while (fd >= 0 &&
         (peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
    connection_open(service, peer);
  event_del(service->accepting);
  evtimer_del(service->pause);
}

/* Closes those of whom nothing has come, not even to the kernel. */
static void service_close_idle(Service *service, bool now) {
  Connection *next;
  for (Connection *at = service->idle.first; at != NULL; at = next) {
    int waiting = 0;
    next = at->next;
    ioctl(bufferevent_getfd(at->stream), FIONREAD, &waiting);
    if (now || (waiting == 0 && connection_unsent(at) == 0))
      connection_close(at);
  }
}

static void services_stop(bool now) {
  for (Service *at = services; at != NULL; at = at->next) {
    if (!now) service_stop(at);
    service_close_idle(at, now);
    if (now) ageing_close(&at->reading);
    if (now) ageing_close(&at->leaving);
  }
  if (!now) listeners_close(ALL_LISTENERS);
}

static void raise_descriptors(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

void service_open(Service *service) {
  raise_descriptors();
  shared_open();
  ageing_open(&service->idle, service->idle_seconds, connection_expire);
  ageing_open(&service->reading, service->request_seconds, connection_late);
  ageing_open(&service->leaving, LEAVING_SECONDS, connection_expire);
  service->accepting = event_new(loop_base(), service->listener->fd,
                                 EV_READ | EV_PERSIST, service_accept, service);
  service->pause = evtimer_new(loop_base(), service_resume, service);
  event_add(service->accepting, NULL);
  service->listener->served = true;
  service->next = services;
  services = service;
  loop_on_stop(services_stop);
}
