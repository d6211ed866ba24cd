/* The event loop of a process and the coroutines that live on it. */
#include "server.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

/* Lives in a userdata; registry[co] keeps it, and it keeps the coroutine. */
typedef struct Task {
  lua_State *co;
  LoopDone done;
  void *context;
  struct event timer;
  struct Task *next;     /* in the ready queue or a signal's list */
  struct Task **link;    /* what points at this task in a signal's list */
  struct Signal *signal; /* whose list that is */
  int arguments;         /* of the resume that is due */
  bool suspended;        /* by us, not by coroutine.yield */
  double busy;           /* seconds for which it has held the loop */
} Task;

typedef struct Signal {
  Task *first, **end;
} Signal;
#define SIGNAL_TYPE "fulcio.signal"

#define HOOKS 4

static struct {
  struct event_base *base;
  lua_State *L; /* of server.run, while it runs */
  bool lua_runs;
  Task *ready, **ready_end;
  struct event *ready_event, *grace_event;
  void (*hooks[HOOKS])(bool now);
  int hook_count;
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

/* Ends the loop once it was told to stop and nothing holds it. */
static void loop_settle(void) {
  if (loop.stopping && loop.holds == 0) event_base_loopbreak(loop.base);
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

/* tasks ------------------------------------------------------------- */

static Task *task_of(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, L);
  Task *task = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return task;
}

bool loop_owns(lua_State *L) {
  return lua_isyieldable(L) && task_of(L) != NULL;
}

static void task_end(Task *task, int status) {
  lua_State *co = task->co;
  event_del(&task->timer);
  if (task->done != NULL) task->done(task->context, co, status, task->busy);
  lua_State *L = loop.L;
  lua_pushnil(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, co);
}

static void task_step(Task *task) {
  int results = 0;
  int arguments = task->arguments;
  task->arguments = 0;
  task->suspended = false;
  loop.lua_runs = true;
  double start = loop_clock();
  int status = lua_resume(task->co, NULL, arguments, &results);
  task->busy += loop_clock() - start;
  loop.lua_runs = false;
  if (status == LUA_YIELD && task->suspended) return;
  if (status == LUA_YIELD) {
    lua_settop(task->co, 0);
    lua_pushliteral(task->co,
                    "coroutine.yield outside every coroutine "
                    "that the program itself made");
    status = LUA_ERRRUN;
  }
  task_end(task, status);
}

/* Runs what was ready when the turn began; what these make ready is next. */
static void loop_turn(evutil_socket_t fd, short what, void *context) {
  (void)fd, (void)what, (void)context;
  Task *task = loop.ready;
  loop.ready = NULL;
  loop.ready_end = &loop.ready;
  while (task != NULL) {
    Task *next = task->next;
    task->next = NULL;
    task_step(task);
    task = next;
  }
}

static void task_ready(Task *task) {
  loop_base();
  *loop.ready_end = task;
  loop.ready_end = &task->next;
  struct timeval now = {0, 0};
  event_add(loop.ready_event, &now);
}

static void grace_over(evutil_socket_t fd, short what, void *context);

struct event_base *loop_base(void) {
  if (loop.base != NULL) return loop.base;
  loop.base = event_base_new();
  if (loop.base == NULL) abort();
  loop.ready = NULL;
  loop.ready_end = &loop.ready;
  loop.ready_event = evtimer_new(loop.base, loop_turn, NULL);
  loop.grace_event = evtimer_new(loop.base, grace_over, NULL);
  return loop.base;
}

void loop_expect(lua_State *L) {
  task_of(L)->suspended = true;
}

int loop_suspend(lua_State *L) {
  loop_expect(L);
  return lua_yield(L, 0);
}

void loop_resume(lua_State *co, int arguments) {
  Task *task = task_of(co);
  task->arguments = arguments;
  if (loop.lua_runs || loop.L == NULL)
    task_ready(task);
  else
    task_step(task);
}

static void sleep_over(evutil_socket_t fd, short what, void *context) {
  (void)fd, (void)what;
  task_step(context);
}

static lua_State *task_new(lua_State *L, int arguments, LoopDone done,
                           void *context) {
  Task *task = lua_newuserdatauv(L, sizeof *task, 2);
  memset(task, 0, sizeof *task);
  lua_State *co = lua_newthread(L);
  task->co = co;
  task->done = done;
  task->context = context;
  task->arguments = arguments;
  evtimer_assign(&task->timer, loop_base(), sleep_over, task);
  lua_setiuservalue(L, -2, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, co);
  lua_xmove(L, co, arguments + 1);
  return co;
}

void loop_spawn(lua_State *L, int arguments, LoopDone done, void *context) {
  loop_resume(task_new(L, arguments, done, context), arguments);
}

/* what Lua calls ---------------------------------------------------- */

/* Hands the traceback to spawn's on_error, or leaves it on L's stack for
** server.run to throw. */
static void spawned_done(void *context, lua_State *co, int status,
                         double busy) {
  (void)context, (void)busy;
  lua_State *L = loop.L;
  if (status == LUA_OK || loop.failed) return;
  luaL_traceback(L, co, lua_tostring(co, -1), 0);
  lua_rawgetp(L, LUA_REGISTRYINDEX, co);
  lua_getiuservalue(L, -1, 2);
  lua_remove(L, -2);
  if (lua_isfunction(L, -1)) {
    lua_insert(L, -2);
    if (lua_pcall(L, 1, 0, 0) == LUA_OK) return;
  } else {
    lua_pop(L, 1);
  }
  loop.failed = true;
  event_base_loopbreak(loop.base);
}

/* server.spawn(run [, on_error]) */
static int server_spawn(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 2);
  if (!lua_isnil(L, 2)) luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_pushvalue(L, 1);
  lua_State *co = task_new(L, 0, spawned_done, NULL);
  lua_rawgetp(L, LUA_REGISTRYINDEX, co);
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, -2, 2);
  task_ready(task_of(co));
  return 0;
}

static void sleep_blocking(double seconds) {
  struct timeval span = loop_span(seconds);
  struct timespec left = {span.tv_sec, span.tv_usec * 1000};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) continue;
}

/* server.sleep(seconds) */
static int server_sleep(lua_State *L) {
  double seconds = luaL_checknumber(L, 1);
  if (!loop_owns(L)) {
    sleep_blocking(seconds);
    return 0;
  }
  Task *task = task_of(L);
  struct timeval span = loop_span(seconds);
  evtimer_assign(&task->timer, loop.base, sleep_over, task);
  evtimer_add(&task->timer, &span);
  return loop_suspend(L);
}

/* server.signal() --> signal */
static int server_signal(lua_State *L) {
  Signal *signal = lua_newuserdatauv(L, sizeof *signal, 0);
  signal->first = NULL;
  signal->end = &signal->first;
  luaL_setmetatable(L, SIGNAL_TYPE);
  return 1;
}

static void signal_leave(Task *task) {
  *task->link = task->next;
  if (task->next != NULL)
    task->next->link = task->link;
  else
    task->signal->end = task->link;
  task->next = NULL;
  task->link = NULL;
}

static void signal_timeout(evutil_socket_t fd, short what, void *context) {
  (void)fd, (void)what;
  Task *task = context;
  signal_leave(task);
  lua_pushboolean(task->co, false);
  task->arguments = 1;
  task_step(task);
}

/* signal:wait([seconds]) --> boolean */
static int signal_wait(lua_State *L) {
  Signal *signal = luaL_checkudata(L, 1, SIGNAL_TYPE);
  double seconds = luaL_optnumber(L, 2, -1);
  if (!loop_owns(L))
    return luaL_error(L, "signal:wait outside a coroutine of the server");
  Task *task = task_of(L);
  task->signal = signal;
  task->link = signal->end;
  *signal->end = task;
  signal->end = &task->next;
  if (!lua_isnoneornil(L, 2)) {
    struct timeval span = loop_span(seconds);
    evtimer_assign(&task->timer, loop.base, signal_timeout, task);
    evtimer_add(&task->timer, &span);
  }
  return loop_suspend(L);
}

/* signal:wake() */
static int signal_wake(lua_State *L) {
  Signal *signal = luaL_checkudata(L, 1, SIGNAL_TYPE);
  while (signal->first != NULL) {
    Task *task = signal->first;
    signal_leave(task);
    event_del(&task->timer);
    lua_pushboolean(task->co, true);
    task->arguments = 1;
    task_ready(task);
  }
  return 0;
}

/* running and stopping ---------------------------------------------- */

static void grace_over(evutil_socket_t fd, short what, void *context) {
  (void)fd, (void)what, (void)context;
  for (int i = 0; i < loop.hook_count; i++) loop.hooks[i](true);
  event_base_loopbreak(loop.base);
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
  event_base_loop(loop.base, EVLOOP_NO_EXIT_ON_EMPTY);
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

static const luaL_Reg signal_methods[] = {
  {"wait", signal_wait},
  {"wake", signal_wake},
  {NULL, NULL},
};

static const luaL_Reg loop_functions[] = {
  {"spawn", server_spawn},
  {"sleep", server_sleep},
  {"signal", server_signal},
  {"run", server_run},
  {"stop", server_stop},
  {"stopping", server_stopping},
  {NULL, NULL},
};

void loop_register(lua_State *L) {
  luaL_newmetatable(L, SIGNAL_TYPE);
  luaL_newlib(L, signal_methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  luaL_setfuncs(L, loop_functions, 0);
}
