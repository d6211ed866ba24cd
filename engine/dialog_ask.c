/* dialog_ask: the side that asks. It connects when first asked, and again
** when the other end had gone. */
#include "dialog.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ASKER_TYPE "fulcio.dialog"

typedef struct Asker Asker;

typedef struct Question {
  Asker *asker;
  lua_State *co; /* waits for the answer */
  uint32_t number;
  struct event timer;
  struct Question *next, **link;
} Question;

/* The questions under way, the oldest first. It is Lua's userdata, and the
** coroutines that wait hold it. */
struct Asker {
  Dialog *dialog; /* one pin is ours; NULL: none yet */
  uint32_t numbers;
  Question *first, **end;
  char path[];
};

/* What a dialog is to its asker. */
typedef struct Line {
  Dialog dialog;
  Asker *asker; /* NULL: it has gone */
} Line;

/* Takes it out of the list and frees it; its coroutine. */
static lua_State *question_take(Question *question) {
  lua_State *co = question->co;
  *question->link = question->next;
  if (question->next != NULL)
    question->next->link = question->link;
  else
    question->asker->end = question->link;
  event_del(&question->timer);
  free(question);
  return co;
}

static Question *question_find(const Asker *asker, uint32_t number) {
  Question *at = asker->first;
  while (at != NULL && at->number != number) at = at->next;
  return at;
}

/* No question has that number when the answer came too late. */
static void asker_heard(Dialog *dialog, uint32_t number, Slice bytes) {
  Asker *asker = ((Line *)dialog)->asker;
  if (asker == NULL) return;
  Question *question = question_find(asker, number);
  if (question == NULL) return;
  lua_State *co = question_take(question);
  lua_pushlstring(co, (const char *)bytes.data, bytes.size);
  loop_resume(co, 1);
}

static void asker_ended(Dialog *dialog) {
  Asker *asker = ((Line *)dialog)->asker;
  if (asker == NULL) return;
  asker->dialog = NULL;
  Question *next = asker->first;
  while (next != NULL) {
    Question *question = next;
    next = question->next;
    lua_State *co = question_take(question);
    int count =
      engine_fail(co, "unavailable", "%s: the other end has gone", asker->path);
    loop_resume_later(co, count);
  }
  dialog_unpin(dialog);
}

static void question_late(evutil_socket_t fd, short what, void *context) {
  (void)fd, (void)what;
  Question *question = context;
  Asker *asker = question->asker;
  lua_State *co = question_take(question);
  loop_resume(co,
              engine_fail(co, "timeout", "%s: no answer in time", asker->path));
}

/* A connected socket; -1 and errno. A Unix socket connects at once or not
** at all. */
static int asker_connect(const Asker *asker) {
  struct sockaddr_un where = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  memcpy(where.sun_path, asker->path, strlen(asker->path) + 1);
  if (connect(fd, (struct sockaddr *)&where, sizeof where) == 0) return fd;
  int error = errno;
  close(fd);
  errno = error;
  return -1;
}

static bool asker_open(Asker *asker) {
  if (asker->dialog != NULL) return true;
  int fd = asker_connect(asker);
  if (fd < 0) return false;
  Line *line = calloc(1, sizeof *line);
  if (line == NULL) abort();
  line->asker = asker;
  line->dialog.heard = asker_heard;
  line->dialog.ended = asker_ended;
  dialog_pin(&line->dialog);
  dialog_open(&line->dialog, fd);
  asker->dialog = &line->dialog;
  return true;
}

/* dialog:ask(question, seconds) --> answer | nil, message,
** "unavailable" | "timeout" | "too_long" */
static int asker_ask(lua_State *L) {
  Asker *asker = luaL_checkudata(L, 1, ASKER_TYPE);
  Slice bytes = engine_slice(L, 2);
  struct timeval span = loop_span(luaL_checknumber(L, 3));
  if (!loop_owns(L))
    return luaL_error(L, "dialog:ask outside a coroutine of the server");
  if (bytes.size > DIALOG_MOST)
    return engine_fail(L, "too_long", "%s: a question of more than %d bytes",
                       asker->path, (int)DIALOG_MOST);
  if (!asker_open(asker))
    return engine_fail(L, "unavailable", "%s: %s", asker->path,
                       strerror(errno));
  Question *question = calloc(1, sizeof *question);
  if (question == NULL) abort();
  question->asker = asker;
  question->co = L;
  question->number = ++asker->numbers;
  question->link = asker->end;
  *asker->end = question;
  asker->end = &question->next;
  evtimer_assign(&question->timer, loop_base(), question_late, question);
  evtimer_add(&question->timer, &span);
  dialog_say(asker->dialog, question->number, bytes);
  return loop_suspend(L);
}

/* Nobody waits: who does would hold it. */
static int asker_gc(lua_State *L) {
  Asker *asker = luaL_checkudata(L, 1, ASKER_TYPE);
  Dialog *dialog = asker->dialog;
  if (dialog == NULL) return 0;
  asker->dialog = NULL;
  ((Line *)dialog)->asker = NULL;
  dialog_close(dialog);
  dialog_unpin(dialog);
  return 0;
}

/* server.dialog(path) --> dialog | nil, message, "bad_address" */
static int server_dialog(lua_State *L) {
  struct sockaddr_un where;
  size_t size;
  const char *path = luaL_checklstring(L, 1, &size);
  if (size >= sizeof where.sun_path)
    return engine_fail(L, "bad_address",
                       "%s: a socket's path has at most 107 bytes", path);
  Asker *asker = lua_newuserdatauv(L, sizeof *asker + size + 1, 0);
  asker->dialog = NULL;
  asker->numbers = 0;
  asker->first = NULL;
  asker->end = &asker->first;
  memcpy(asker->path, path, size + 1);
  luaL_setmetatable(L, ASKER_TYPE);
  return 1;
}

void dialog_ask_register(lua_State *L) {
  static const luaL_Reg methods[] = {{"ask", asker_ask}, {NULL, NULL}};
  luaL_newmetatable(L, ASKER_TYPE);
  lua_pushcfunction(L, asker_gc);
  lua_setfield(L, -2, "__gc");
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  lua_pushcfunction(L, server_dialog);
  lua_setfield(L, -2, "dialog");
}
