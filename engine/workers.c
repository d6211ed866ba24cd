/* The supervisor: forks processes, replaces those that die, ends them in
** order. It holds no loop: it sleeps until a signal or a moment is due. */
#include "server.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GRACE 10
#define EXIT_SECONDS 3
#define QUICK_SECONDS 1 /* a process that lived less died quickly */
#define QUICK_DEATHS 5  /* in a row, after which the next one waits */
#define MAX_DELAY 8.0

/* Of two SIGTERM that wait for a process it sees the first: when that was
** somebody else's, which it ignores, ours is lost. So we repeat it. */
#define REPEAT_SECONDS 0.1

#define NEVER 1e18

typedef struct Process {
  pid_t pid; /* 0: does not run */
  int role, index;
  double started;
  double due; /* when it is to be started */
  int quick;  /* deaths in a row */
} Process;

typedef struct Supervisor {
  lua_State *L;
  pid_t pid;
  double grace;
  int role_count, count;
  bool ready; /* on_ready was called */
  bool stopping;
  int role;    /* that is being stopped; those after it have ended */
  double told; /* when it was last sent SIGTERM */
  double kill; /* when what is left of that role is killed */
  double tick;
  bool failed; /* the message is on top of the stack */
  sigset_t signals, before;
  Process processes[SEATS];
} Supervisor;

#define OPTIONS 1 /* index of the options table on the stack */

/* children ---------------------------------------------------------- */

static void follow_parent(pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(EXIT_FAILURE);
}

static pid_t child_parent;
static int child_role;

/* The loop runs: tells the supervisor. The change of user that may have
** happened since the fork undid follow_parent. */
static void child_started(void) {
  follow_parent(child_parent);
  listeners_close(UNSERVED_LISTENERS);
  shared_ready(child_role);
  kill(child_parent, SIGUSR1);
}

static int traceback(lua_State *L) {
  luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
  return 1;
}

/* Pushes roles[role + 1][field]. */
static void push_role(lua_State *L, int role, const char *field) {
  lua_getfield(L, OPTIONS, "roles");
  lua_geti(L, -1, role + 1);
  lua_getfield(L, -1, field);
  lua_replace(L, -3);
  lua_pop(L, 1);
}

static void report(lua_State *L, const char *text) {
  lua_getfield(L, OPTIONS, "on_error");
  lua_pushstring(L, text);
  if (lua_isnil(L, -2) || lua_pcall(L, 1, 0, 0) != LUA_OK)
    fprintf(stderr, "%s\n", text);
}

/* Calls options[name]; what it throws is reported, and changes nothing. */
static void call_back(lua_State *L, const char *name) {
  int top = lua_gettop(L);
  lua_pushcfunction(L, traceback);
  lua_getfield(L, OPTIONS, name);
  if (!lua_isnil(L, -1) && lua_pcall(L, 0, 0, top + 1) != LUA_OK)
    report(L, lua_tostring(L, -1));
  lua_settop(L, top);
}

/* The life of a child; does not return. */
static void child_run(Supervisor *all, const Process *process, int seat) {
  lua_State *L = all->L;
  child_parent = all->pid;
  child_role = process->role + 1;
  follow_parent(all->pid);
  signal(SIGINT, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  sigset_t later = all->before;
  sigaddset(&later, SIGTERM); /* until the loop takes it */
  sigprocmask(SIG_SETMASK, &later, NULL);
  shared_sit(seat);
  loop_after_fork(all->pid, all->grace, child_started);
  push_role(L, process->role, "name");
  prctl(PR_SET_NAME, lua_tostring(L, -1));
  lua_pushcfunction(L, traceback);
  push_role(L, process->role, "run");
  lua_pushinteger(L, process->index);
  int status = lua_pcall(L, 1, 0, -3);
  if (status != LUA_OK) report(L, lua_tostring(L, -1));
  fflush(NULL);
  /* Libraries have work at exit, too, and an HSM's may hang in it. */
  signal(SIGALRM, SIG_DFL);
  alarm(EXIT_SECONDS);
  exit(status == LUA_OK ? EXIT_SUCCESS : EXIT_FAILURE);
}

/* starting and ending ----------------------------------------------- */

static void fail(Supervisor *all, const char *what, const Process *one) {
  lua_State *L = all->L;
  if (all->failed) return;
  all->failed = true;
  push_role(L, one->role, "name");
  lua_pushfstring(L, "%s %d %s", lua_tostring(L, -1), one->index, what);
  lua_remove(L, -2);
}

static void tell_role(Supervisor *all, int role) {
  all->told = loop_clock();
  for (int i = 0; i < all->count; i++)
    if (all->processes[i].role == role && all->processes[i].pid != 0)
      kill(all->processes[i].pid, SIGTERM);
}

static void stop_role(Supervisor *all, int role) {
  all->role = role;
  all->kill = loop_clock() + all->grace + 1;
  tell_role(all, role);
}

static void stop_all(Supervisor *all) {
  if (all->stopping) return;
  all->stopping = true;
  listeners_close(TCP_LISTENERS);
  stop_role(all, all->role_count - 1);
}

static void process_start(Supervisor *all, int i) {
  Process *process = &all->processes[i];
  fflush(NULL);
  shared_clear(i + 1);
  process->started = loop_clock();
  pid_t pid = fork();
  if (pid == 0) child_run(all, process, i + 1);
  if (pid < 0) {
    process->due = loop_clock() + 1;
    return;
  }
  process->pid = pid;
  process->due = NEVER;
}

/* Decides what follows from a death. */
static void process_ended(Supervisor *all, Process *process, int status) {
  double now = loop_clock();
  bool quick = now - process->started < QUICK_SECONDS;
  process->pid = 0;
  if (all->stopping) return;
  if (!all->ready && WIFEXITED(status)) {
    fail(all, "ended before it was ready", process);
    stop_all(all);
    return;
  }
  process->quick = quick ? process->quick + 1 : 0;
  double delay = 0;
  if (process->quick >= QUICK_DEATHS) {
    int doubled = process->quick - QUICK_DEATHS;
    delay = doubled > 5 ? MAX_DELAY : 0.5 * (1 << doubled);
    if (delay > MAX_DELAY) delay = MAX_DELAY;
  }
  process->due = now + delay;
}

static void reap(Supervisor *all) {
  for (int i = 0; i < all->count; i++) {
    Process *process = &all->processes[i];
    int status;
    if (process->pid != 0 &&
        waitpid(process->pid, &status, WNOHANG) == process->pid) {
      shared_clear(i + 1);
      process_ended(all, process, status);
    }
  }
}

static void start_due(Supervisor *all) {
  double now = loop_clock();
  for (int i = 0; i < all->count && !all->stopping; i++)
    if (all->processes[i].pid == 0 && all->processes[i].due <= now)
      process_start(all, i);
}

static void check_ready(Supervisor *all) {
  for (int i = 0; i < all->count; i++)
    if (!shared_is_ready(i + 1)) return;
  all->ready = true;
  call_back(all->L, "on_ready");
}

static int running(const Supervisor *all, int role) {
  int count = 0;
  for (int i = 0; i < all->count; i++)
    count += all->processes[i].pid != 0 && all->processes[i].role == role;
  return count;
}

static void kill_late(Supervisor *all) {
  for (int i = 0; i < all->count; i++)
    if (all->processes[i].pid != 0 && all->processes[i].role >= all->role)
      kill(all->processes[i].pid, SIGKILL);
  all->kill = NEVER;
}

/* Goes from the last role to the first; true when all have ended. */
static bool stop_next(Supervisor *all) {
  while (running(all, all->role) == 0) {
    if (all->role == 0) return true;
    stop_role(all, all->role - 1);
  }
  double now = loop_clock();
  if (now >= all->kill) {
    kill_late(all);
  } else if (now >= all->told + REPEAT_SECONDS) {
    tell_role(all, all->role);
  }
  return false;
}

/* waiting ----------------------------------------------------------- */

static void tick(Supervisor *all) {
  double now = loop_clock();
  if (now < all->tick || all->stopping) return;
  all->tick = now - all->tick > 1 ? now + 1 : all->tick + 1;
  call_back(all->L, "on_tick");
}

static double next_moment(const Supervisor *all) {
  double again = all->told + REPEAT_SECONDS;
  if (all->stopping) return again < all->kill ? again : all->kill;
  double moment = all->tick;
  for (int i = 0; i < all->count; i++)
    if (all->processes[i].due < moment) moment = all->processes[i].due;
  return moment;
}

static void wait_signal(Supervisor *all) {
  double left = next_moment(all) - loop_clock();
  struct timeval span = loop_span(left);
  struct timespec timeout = {span.tv_sec, span.tv_usec * 1000};
  switch (sigtimedwait(&all->signals, NULL, &timeout)) {
    case SIGTERM:
    case SIGINT:
      if (all->stopping)
        all->kill = loop_clock(); /* asked twice: at once */
      else
        stop_all(all);
      break;
    case SIGHUP:
      if (!all->stopping) call_back(all->L, "on_reload");
      break;
    default: break; /* a child's death or readiness, or a moment */
  }
}

static void supervise(Supervisor *all) {
  for (;;) {
    reap(all);
    if (all->stopping && stop_next(all)) return;
    start_due(all);
    if (!all->ready && !all->stopping) check_ready(all);
    tick(all);
    wait_signal(all);
  }
}

static void block_signals(Supervisor *all) {
  sigemptyset(&all->signals);
  sigaddset(&all->signals, SIGCHLD);
  sigaddset(&all->signals, SIGTERM);
  sigaddset(&all->signals, SIGINT);
  sigaddset(&all->signals, SIGHUP);
  sigaddset(&all->signals, SIGUSR1);
  signal(SIGCHLD, SIG_DFL);
  sigprocmask(SIG_BLOCK, &all->signals, &all->before);
}

static void read_roles(lua_State *L, Supervisor *all) {
  static const char *const names[] = {"name", "count", "run", NULL};
  lua_getfield(L, OPTIONS, "roles");
  luaL_checktype(L, -1, LUA_TTABLE);
  all->role_count = (int)luaL_len(L, -1);
  luaL_argcheck(L, all->role_count > 0, OPTIONS, "no roles");
  for (int role = 0; role < all->role_count; role++) {
    lua_geti(L, -1, role + 1);
    luaL_checktype(L, -1, LUA_TTABLE);
    engine_check_options(L, lua_gettop(L), names);
    lua_getfield(L, -1, "name");
    luaL_checkstring(L, -1);
    lua_getfield(L, -2, "run");
    luaL_checktype(L, -1, LUA_TFUNCTION);
    lua_getfield(L, -3, "count");
    lua_Integer count = luaL_checkinteger(L, -1);
    luaL_argcheck(L, count >= 0 && count < SEATS - all->count, OPTIONS,
                  "too many processes");
    for (int i = 0; i < count; i++)
      all->processes[all->count++] = (Process){.role = role, .index = i + 1};
    lua_pop(L, 4);
  }
  lua_pop(L, 1);
}

/* server.supervise(options) --> true | nil, message */
static int server_supervise(lua_State *L) {
  static const char *const names[] = {
    "roles", "on_ready", "on_reload", "on_tick", "on_error", "grace", NULL};
  luaL_checktype(L, OPTIONS, LUA_TTABLE);
  engine_check_options(L, OPTIONS, names);
  lua_settop(L, OPTIONS);
  Supervisor *all = lua_newuserdatauv(L, sizeof *all, 0);
  memset(all, 0, sizeof *all);
  all->L = L;
  all->pid = getpid();
  read_roles(L, all);
  lua_getfield(L, OPTIONS, "grace");
  all->grace = luaL_optnumber(L, -1, GRACE);
  lua_pop(L, 1);
  all->tick = loop_clock() + 1;
  shared_open();
  lua_gc(L, LUA_GCCOLLECT);
  block_signals(all);
  supervise(all);
  listeners_close(ALL_LISTENERS);
  sigprocmask(SIG_SETMASK, &all->before, NULL);
  if (!all->failed) {
    lua_pushboolean(L, true);
    return 1;
  }
  lua_pushnil(L);
  lua_insert(L, -2);
  return 2;
}

void workers_register(lua_State *L) {
  lua_pushcfunction(L, server_supervise);
  lua_setfield(L, -2, "supervise");
}
