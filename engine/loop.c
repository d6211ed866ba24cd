/* The event loop of a process: made, run, stopped, drained. */
#include "server.h"

#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define HOOKS 4
#define GATHERED 32768 /* bytes of a standard stream */

static struct {
  struct event_base *base;
  lua_State *L; /* of server.run, while it runs */
  struct event *grace_event;
  void (*hooks[HOOKS])(bool now);
  int hook_count;
  void (*turn_hooks[HOOKS])(void);
  int turn_hook_count;
  bool over; /* the loop ends with this turn */
  int holds;
  bool stopping;
  pid_t master; /* the only process that may stop us; 0: anyone */
  double grace; /* seconds for draining */
  void (*started)(void);
  bool failed; /* an error waits on top of L's stack */
} loop = {.grace = 10};

double loop_clock(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

struct timeval loop_span(double seconds) {
  if (!(seconds > 0)) seconds = 0;
  if (seconds > 1e9) seconds = 1e9;
  struct timeval span = {.tv_sec = (time_t)seconds};
  span.tv_usec = (suseconds_t)((seconds - (double)span.tv_sec) * 1e6);
  return span;
}

lua_State *loop_state(void) {
  return loop.L;
}

static void loop_end(void) {
  loop.over = true;
  event_base_loopbreak(loop.base);
}

/* Ends the loop once it was told to stop and nothing holds it. */
static void loop_settle(void) {
  if (loop.stopping && loop.holds == 0) loop_end();
}

void loop_hold(int by) {
  loop.holds += by;
  loop_settle();
}

void loop_on_stop(void (*hook)(bool now)) {
  for (int i = 0; i < loop.hook_count; i++)
    if (loop.hooks[i] == hook) return;
  if (loop.hook_count < HOOKS) loop.hooks[loop.hook_count++] = hook;
}

void loop_on_turn(void (*hook)(void)) {
  for (int i = 0; i < loop.turn_hook_count; i++)
    if (loop.turn_hooks[i] == hook) return;
  if (loop.turn_hook_count == HOOKS) abort();
  loop.turn_hooks[loop.turn_hook_count++] = hook;
}

static void grace_over(evutil_socket_t fd, short what, void *context) {
  (void)fd, (void)what, (void)context;
  for (int i = 0; i < loop.hook_count; i++) loop.hooks[i](true);
  loop_end();
}

struct event_base *loop_base(void) {
  if (loop.base != NULL) return loop.base;
  loop.base = event_base_new();
  if (loop.base == NULL) abort();
  loop.grace_event = evtimer_new(loop.base, grace_over, NULL);
  return loop.base;
}

void loop_fail(void) {
  loop.failed = true;
  loop_end();
}

void loop_stop(void) {
  if (loop.stopping) return;
  loop.stopping = true;
  struct timeval span = loop_span(loop.grace);
  loop_base();
  evtimer_add(loop.grace_event, &span);
  loop.holds++;
  for (int i = 0; i < loop.hook_count; i++) loop.hooks[i](false);
  loop_hold(-1);
}

bool loop_stopping(void) {
  return loop.stopping;
}

void loop_after_fork(pid_t master, double grace, void (*started)(void)) {
  loop.base = NULL;
  loop.hook_count = 0;
  loop.holds = 0;
  loop.stopping = false;
  loop.master = master;
  loop.grace = grace;
  loop.started = started;
}

static void loop_signalled(evutil_socket_t fd, short what, void *context) {
  (void)what, (void)context;
  struct signalfd_siginfo info;
  while (read(fd, &info, sizeof info) == (ssize_t)sizeof info)
    if (loop.master == 0 || (pid_t)info.ssi_pid == loop.master) loop_stop();
}

/* server.gather() */
static int server_gather(lua_State *L) {
  static char output[GATHERED], errors[GATHERED];
  (void)L;
  fflush(stdout);
  /* With no buffer given, an unbuffered stream would go on with one byte. */
  setvbuf(stdout, output, _IOFBF, sizeof output);
  setvbuf(stderr, errors, _IOFBF, sizeof errors);
  return 0;
}

/* What was gathered in this turn, by us or by a library. */
static void flush_streams(void) {
  if (__fpending(stdout) > 0) fflush(stdout);
  if (__fpending(stderr) > 0) fflush(stderr);
}

/* Runs the base with SIGTERM and SIGINT turned into loop_stop. */
static void loop_run_signalled(void) {
  sigset_t set, before;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  signal(SIGPIPE, SIG_IGN);
  sigprocmask(SIG_BLOCK, &set, &before);
  int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  struct event *event =
    event_new(loop.base, fd, EV_READ | EV_PERSIST, loop_signalled, NULL);
  event_add(event, NULL);
  if (loop.started != NULL) loop.started();
  loop.over = false;
  while (!loop.over) {
    event_base_loop(loop.base, EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY);
    for (int i = 0; i < loop.turn_hook_count; i++) loop.turn_hooks[i]();
    flush_streams();
  }
  event_free(event);
  close(fd);
  sigprocmask(SIG_SETMASK, &before, NULL);
}

/* server.run() */
static int server_run(lua_State *L) {
  if (loop.L != NULL) return luaL_error(L, "the loop runs already");
  luaL_checkstack(L, 100, "no room for the loop");
  loop_base();
  loop.L = L;
  if (!loop.stopping || loop.holds > 0) loop_run_signalled();
  loop.L = NULL;
  loop.stopping = false;
  evtimer_del(loop.grace_event);
  if (!loop.failed) return 0;
  loop.failed = false;
  return lua_error(L);
}

/* server.stop() */
static int server_stop(lua_State *L) {
  (void)L;
  loop_stop();
  return 0;
}

/* server.stopping() --> boolean */
static int server_stopping(lua_State *L) {
  lua_pushboolean(L, loop.stopping);
  return 1;
}

static const luaL_Reg functions[] = {
  {"gather", server_gather},     {"run", server_run}, {"stop", server_stop},
  {"stopping", server_stopping}, {NULL, NULL},
};

void loop_register(lua_State *L) {
  luaL_setfuncs(L, functions, 0);
}
