/* Services: who comes is accepted, in turn with other processes, within
** limits of number and time, until the process stops. */
#include "server.h"

#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define LEAVING_SECONDS 2
#define PAUSE_SECONDS 0.1 /* of accepting, when out of descriptors */
/* Who has so many connections more than another process of its role lets
** the other take the next one, if it comes this soon. */
#define AHEAD 2
#define COURTESY_SECONDS 50e-6
#define MAX_ACCEPTS 256 /* at once */

static Service *services; /* live as long as the process */

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
    if (!now && at->session != NULL) continue; /* http2.c tells it */
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
  loop_on_turn(held_release);
  http2_open();
}
