/* dialog_answer: the side that is asked. Only our own user is heard. */
#include "dialog.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAUSE_SECONDS 0.1 /* of accepting, when out of descriptors */
/* Questions of one dialog that may be under way; then it is not read. */
#define MOST_UNDER_WAY 4096

/* A listener and who answers on it. Lives as long as the process. */
typedef struct Desk {
  struct event *accepting, *pause;
  int handler, on_error; /* registry references */
  struct Desk *next;
} Desk;

typedef struct Caller {
  Dialog dialog;
  Desk *desk;
  int under_way;
} Caller;

/* One question, until it is answered. */
typedef struct Task {
  Caller *caller;
  uint32_t number;
} Task;

static Desk *desks;

/* Tells on_error what is on top of co. */
static void desk_report(const Desk *desk, lua_State *co) {
  lua_State *L = loop_state();
  const char *text = lua_tostring(co, -1);
  if (L == NULL || desk->on_error == LUA_REFNIL) return;
  lua_rawgeti(L, LUA_REGISTRYINDEX, desk->on_error);
  luaL_traceback(L, co, text != NULL ? text : "error without a text", 0);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) lua_pop(L, 1);
}

/* Who asked what made the handler fail gets an answer without bytes. */
static void task_done(void *context, lua_State *co, int status, double busy) {
  (void)busy;
  Task *task = context;
  Caller *caller = task->caller;
  Slice answer = {(const unsigned char *)"", 0};
  if (status == LUA_OK && lua_type(co, -1) == LUA_TSTRING)
    answer.data = (const unsigned char *)lua_tolstring(co, -1, &answer.size);
  if (status != LUA_OK) desk_report(caller->desk, co);
  dialog_say(&caller->dialog, task->number, answer);
  if (caller->under_way-- == MOST_UNDER_WAY && caller->dialog.fd >= 0)
    event_add(caller->dialog.readable, NULL);
  dialog_unpin(&caller->dialog);
  free(task);
  loop_hold(-1);
}

static void caller_heard(Dialog *dialog, uint32_t number, Slice bytes) {
  Caller *caller = (Caller *)dialog;
  lua_State *L = loop_state();
  Task *task = malloc(sizeof *task);
  if (L == NULL || task == NULL) abort();
  *task = (Task){.caller = caller, .number = number};
  dialog_pin(dialog);
  loop_hold(1);
  if (++caller->under_way == MOST_UNDER_WAY) event_del(dialog->readable);
  lua_rawgeti(L, LUA_REGISTRYINDEX, caller->desk->handler);
  lua_pushlstring(L, (const char *)bytes.data, bytes.size);
  loop_spawn(L, 1, task_done, task);
  dialogs_look();
}

static void caller_ended(Dialog *dialog) {
  dialog_unpin(dialog);
}

static void caller_open(Desk *desk, int fd) {
  struct ucred owner = {.uid = (uid_t)-1};
  socklen_t size = sizeof owner;
  getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &owner, &size);
  if (owner.uid != geteuid()) {
    close(fd);
    return;
  }
  Caller *caller = calloc(1, sizeof *caller);
  if (caller == NULL) abort();
  caller->desk = desk;
  caller->dialog.heard = caller_heard;
  caller->dialog.ended = caller_ended;
  dialog_pin(&caller->dialog);
  dialog_open(&caller->dialog, fd);
}

static void desk_accept(evutil_socket_t fd, short what, void *context) {
  (void)what;
  Desk *desk = context;
  struct timeval span = loop_span(PAUSE_SECONDS);
  int caller = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (caller >= 0) {
    caller_open(desk, caller);
  } else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
    event_del(desk->accepting);
    evtimer_add(desk->pause, &span);
  }
}

static void desk_resume(evutil_socket_t fd, short what, void *context) {
  (void)fd, (void)what;
  Desk *desk = context;
  if (!loop_stopping()) event_add(desk->accepting, NULL);
}

/* Who is there is answered to the end; nobody else is let in. */
static void desks_stop(bool now) {
  (void)now;
  for (Desk *at = desks; at != NULL; at = at->next) {
    event_del(at->accepting);
    evtimer_del(at->pause);
  }
  listeners_close(ALL_LISTENERS);
}

/* server.answer(listener, handler [, on_error]) */
static int server_answer(lua_State *L) {
  Listener *listener = luaL_checkudata(L, 1, LISTENER_TYPE);
  luaL_argcheck(L, listener->fd >= 0, 1, "the listener is closed");
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 3);
  if (!lua_isnil(L, 3)) luaL_checktype(L, 3, LUA_TFUNCTION);
  Desk *desk = calloc(1, sizeof *desk);
  if (desk == NULL) return luaL_error(L, "not enough memory");
  desk->on_error = luaL_ref(L, LUA_REGISTRYINDEX);
  desk->handler = luaL_ref(L, LUA_REGISTRYINDEX);
  luaL_ref(L, LUA_REGISTRYINDEX); /* the listener lives as long */
  desk->accepting = event_new(loop_base(), listener->fd, EV_READ | EV_PERSIST,
                              desk_accept, desk);
  desk->pause = evtimer_new(loop_base(), desk_resume, desk);
  event_add(desk->accepting, NULL);
  listener->served = true;
  desk->next = desks;
  desks = desk;
  loop_on_stop(desks_stop);
  return 0;
}

void dialog_answer_register(lua_State *L) {
  lua_pushcfunction(L, server_answer);
  lua_setfield(L, -2, "answer");
}
