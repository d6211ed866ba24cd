/* Coroutines on the loop: spawned, suspended, woken. */
#include "server.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <string.h>
#include <time.h>

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
  double busy;           /* seconds that it ran */
} Task;

typedef struct Signal {
  Task *first, **end;
} Signal;
#define SIGNAL_TYPE "fulcio.signal"

#define RESTING 64 /* coroutines that are kept for what comes next */

static struct {
  bool lua_runs;
  Task *resting; /* ended well, and can be begun again */
  int resting_count;
  Task *ready, **end;
  struct event_base *base; /* whose event `turn` is */
  struct event *turn;
} tasks;

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
  if (status == LUA_OK && tasks.resting_count < RESTING) {
    lua_settop(co, 0);
    task->next = tasks.resting;
    tasks.resting = task;
    tasks.resting_count++;
    return;
  }
  lua_State *L = loop_state();
  lua_pushnil(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, co);
}

/* `from`: the coroutine that this happens in; NULL: none. */
static void task_step_from(Task *task, lua_State *from) {
  int results = 0;
  int arguments = task->arguments;
  bool within = tasks.lua_runs;
  task->arguments = 0;
  task->suspended = false;
  tasks.lua_runs = true;
  double start = loop_clock();
  int status = lua_resume(task->co, from, arguments, &results);
  task->busy += loop_clock() - start;
  tasks.lua_runs = within;
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

static void task_step(Task *task) {
  task_step_from(task, NULL);
}

/* Runs what was ready when the turn began; what these make ready is next. */
static void tasks_turn(evutil_socket_t fd, short what, void *context) {
  (void)fd, (void)what, (void)context;
  Task *task = tasks.ready;
  tasks.ready = NULL;
  tasks.end = &tasks.ready;
  while (task != NULL) {
    Task *next = task->next;
    task->next = NULL;
    task_step(task);
    task = next;
  }
}

static void task_ready(Task *task) {
  struct timeval now = {0, 0};
  if (tasks.base != loop_base()) { /* the first, or the first in a child */
    tasks.base = loop_base();
    tasks.ready = NULL;
    tasks.end = &tasks.ready;
    tasks.turn = evtimer_new(tasks.base, tasks_turn, NULL);
  }
  *tasks.end = task;
  tasks.end = &task->next;
  evtimer_add(tasks.turn, &now);
}

void loop_expect(lua_State *L) {
  task_of(L)->suspended = true;
}

int loop_suspend(lua_State *L) {
  loop_expect(L);
  return lua_yield(L, 0);
}

void loop_resume(lua_State *co, int count) {
  Task *task = task_of(co);
  task->arguments = count;
  if (tasks.lua_runs || loop_state() == NULL)
    task_ready(task);
  else
    task_step(task);
}

void loop_resume_later(lua_State *co, int count) {
  Task *task = task_of(co);
  task->arguments = count;
  task_ready(task);
}

static void sleep_over(evutil_socket_t fd, short what, void *context) {
  (void)fd, (void)what;
  task_step(context);
}

static Task *task_new(lua_State *L) {
  Task *task = lua_newuserdatauv(L, sizeof *task, 2);
  task->co = lua_newthread(L);
  lua_setiuservalue(L, -2, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, task->co);
  return task;
}

/* One that rests, or a new one. Who keeps a coroutine that has ended may
** find it running again. */
static Task *task_take(lua_State *L) {
  Task *task = tasks.resting;
  if (task == NULL) return task_new(L);
  tasks.resting = task->next;
  tasks.resting_count--;
  return task;
}

/* Gives it the function below `arguments` values on top of L's stack. */
static void task_begin(Task *task, lua_State *L, int arguments, LoopDone done,
                       void *context) {
  lua_State *co = task->co;
  memset(task, 0, sizeof *task);
  task->co = co;
  task->done = done;
  task->context = context;
  task->arguments = arguments;
  evtimer_assign(&task->timer, loop_base(), sleep_over, task);
  lua_xmove(L, co, arguments + 1);
}

void loop_spawn(lua_State *L, int arguments, LoopDone done, void *context) {
  Task *task = task_take(L);
  task_begin(task, L, arguments, done, context);
  loop_resume(task->co, arguments);
}

/* Hands the traceback to spawn's on_error, or leaves it on L's stack for
** server.run to throw. */
static void spawned_done(void *context, lua_State *co, int status,
                         double busy) {
  (void)context, (void)busy;
  lua_State *L = loop_state();
  if (status == LUA_OK) return;
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
  loop_fail();
}

static Task *spawn(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 2);
  if (!lua_isnil(L, 2)) luaL_checktype(L, 2, LUA_TFUNCTION);
  Task *task = task_take(L);
  lua_rawgetp(L, LUA_REGISTRYINDEX, task->co);
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, -2, 2);
  lua_pushvalue(L, 1);
  task_begin(task, L, 0, spawned_done, NULL);
  return task;
}

/* server.spawn(run [, on_error]) */
static int server_spawn(lua_State *L) {
  task_ready(spawn(L));
  return 0;
}

/* server.begin(run [, on_error]) */
static int server_begin(lua_State *L) {
  if (!loop_owns(L))
    return luaL_error(L, "server.begin outside a coroutine of the server");
  task_step_from(spawn(L), L);
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
  evtimer_assign(&task->timer, loop_base(), sleep_over, task);
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
    evtimer_assign(&task->timer, loop_base(), signal_timeout, task);
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

void coroutine_register(lua_State *L) {
  static const luaL_Reg methods[] = {
    {"wait", signal_wait},
    {"wake", signal_wake},
    {NULL, NULL},
  };
  static const luaL_Reg functions[] = {
    {"begin", server_begin},
    {"spawn", server_spawn},
    {"sleep", server_sleep},
    {"signal", server_signal},
    {NULL, NULL},
  };
  luaL_newmetatable(L, SIGNAL_TYPE);
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  luaL_setfuncs(L, functions, 0);
}
