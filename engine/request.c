/* Requests: queued, run in a coroutine each, answered. */
#include "dialog.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

/* A queue that would take longer than this is full. */
#define MAX_WAIT 2.0
/* How long queued requests run before sockets are looked at again, as a
** multiple of what the sockets took, and its bounds: those who hammer on
** a full queue cannot stop it. */
#define SLICE 3
#define MIN_SLICE 0.002
#define MAX_SLICE 0.050
#define MEAN_WEIGHT (1.0 / 16)
#define INTERVAL_WEIGHT (1.0 / 256) /* sockets come between some of them */
/* Bytes of requests and unsent answers that one process holds. */
#define MAX_HELD (64u << 20)

static struct {
  Request *first, **end;
  struct event *runner;
  struct event_base *base; /* the runner's */
  double rested;           /* when the last slice ended */
  double started;          /* the last request, if others waited; 0: none did */
  double interval;         /* mean seconds between two starts while some wait */
  uint64_t ids;
  size_t held;
} queue;

/* life -------------------------------------------------------------- */

Request *request_new(Connection *connection) {
  Request *request = calloc(1, sizeof *request);
  if (request == NULL) abort();
  request->connection = connection;
  request->service = connection->service;
  return request;
}

void request_free(Request *request) {
  peers_release(request->held);
  streaming_close(request);
  free(request->head);
  free(request->fields);
  free(request->body);
  free(request);
}

void request_abandon(Request *request) {
  request->connection = NULL;
  if (!request->queued) request_free(request);
}

bool peers_hold(size_t size) {
  if (queue.held + size > MAX_HELD) return false;
  queue.held += size;
  return true;
}

void peers_release(size_t size) {
  queue.held -= size;
}

bool request_hold(Request *request, size_t size) {
  if (!peers_hold(size)) return false;
  request->held += size;
  return true;
}

void request_drop_body(Request *request) {
  free(request->body);
  request->body = NULL;
  request->held -= request->body_room;
  peers_release(request->body_room);
  request->body_size = request->body_room = 0;
}

int request_append(Request *request, const void *data, size_t size) {
  size_t whole = request->body_size + size;
  if (whole > request->service->max_body) return 413;
  if (whole > request->body_room) {
    size_t room = request->body_room * 2;
    if (room < whole) room = whole;
    if (!request_hold(request, room - request->body_room)) return 503;
    unsigned char *body = realloc(request->body, room);
    if (body == NULL) abort();
    request->body = body;
    request->body_room = room;
  }
  memcpy(request->body + request->body_size, data, size);
  request->body_size = whole;
  return 0;
}

static bool starts_with(Slice text, const char *start) {
  size_t size = strlen(start);
  return text.size >= size && memcmp(text.data, start, size) == 0;
}

bool request_target(Request *request, Slice target) {
  if (starts_with(target, "http://") || starts_with(target, "https://")) {
    size_t skip = target.data[4] == ':' ? 7 : 8;
    while (skip < target.size && target.data[skip] != '/' &&
           target.data[skip] != '?')
      skip++;
    target.data += skip;
    target.size -= skip;
  } else if (target.size == 0 ||
             (target.data[0] != '/' &&
              !(target.size == 1 && target.data[0] == '*'))) {
    return false;
  }
  const unsigned char *mark =
    target.size > 0 ? memchr(target.data, '?', target.size) : NULL;
  request->path = target;
  if (mark != NULL) {
    request->path.size = (size_t)(mark - target.data);
    request->query.data = mark + 1;
    request->query.size = target.size - request->path.size - 1;
  }
  if (request->path.size == 0)
    request->path = (Slice){(const unsigned char *)"/", 1};
  return true;
}

/* what Lua sees ----------------------------------------------------- */

static void push_slice(lua_State *L, Slice slice) {
  lua_pushlstring(L, (const char *)slice.data, slice.size);
}

/* A field that came more than once is one list (RFC 9110 section 5.3). */
static void push_headers(lua_State *L, const Request *request) {
  lua_createtable(L, 0, request->field_count);
  for (int i = 0; i < request->field_count; i++) {
    Field field = request->fields[i];
    lua_pushlstring(L, request->head + field.name, field.name_size);
    lua_pushvalue(L, -1);
    int before = lua_rawget(L, -3);
    if (before == LUA_TNIL)
      lua_pop(L, 1);
    else
      lua_pushliteral(L, ", ");
    lua_pushlstring(L, request->head + field.value, field.value_size);
    if (before != LUA_TNIL) lua_concat(L, 3);
    lua_rawset(L, -3);
  }
}

static void push_request(lua_State *L, Request *request) {
  lua_createtable(L, 0, 8);
  push_slice(L, request->method);
  lua_setfield(L, -2, "method");
  push_slice(L, request->path);
  lua_setfield(L, -2, "path");
  if (request->query.data != NULL) {
    push_slice(L, request->query);
    lua_setfield(L, -2, "query");
  }
  push_headers(L, request);
  lua_setfield(L, -2, "headers");
  lua_pushlstring(L, (const char *)request->body, request->body_size);
  lua_setfield(L, -2, "body");
  lua_pushstring(L, request->connection->peer);
  lua_setfield(L, -2, "peer");
  lua_pushinteger(L, (lua_Integer)request->id);
  lua_setfield(L, -2, "id");
  lua_pushstring(L, request->connection->protocol->name);
  lua_setfield(L, -2, "protocol");
  if (request->streaming) {
    streaming_push_read(L, request);
    lua_setfield(L, -2, "read");
  }
}

/* answers ----------------------------------------------------------- */

static void request_respond(Request *request, const Response *response) {
  if (request->connection == NULL) return;
  request->answered = true;
  request->connection->protocol->respond(request, response);
}

static void request_finish(Request *request) {
  if (request->connection != NULL)
    request->connection->protocol->finish(request);
  else
    request_free(request);
}

/* refusals ---------------------------------------------------------- */

/* refuse_in_words(request, status) */
static int refuse_in_words(lua_State *L) {
  Request *request = lua_touserdata(L, 1);
  Response response;
  lua_rawgeti(L, LUA_REGISTRYINDEX, request->service->refuse);
  lua_pushvalue(L, 2);
  if (request->path.data != NULL && request->connection != NULL)
    push_request(L, request);
  else
    lua_pushnil(L);
  lua_call(L, 2, 1);
  response_read(L, &response);
  if (response.streams) luaL_error(L, "a refusal cannot be streamed");
  response_add_retry(&response);
  request_respond(request, &response);
  return 0;
}

static void refuse_plainly(Request *request, int status) {
  Response response = {.status = status};
  response_add_retry(&response);
  request_respond(request, &response);
}

/* Tells on_error what is on top of co. */
static void report(Request *request, lua_State *co) {
  lua_State *L = loop_state();
  const char *text = lua_tostring(co, -1);
  if (request->service->on_error == LUA_REFNIL) return;
  lua_rawgeti(L, LUA_REGISTRYINDEX, request->service->on_error);
  luaL_traceback(L, co, text != NULL ? text : "error without a text", 0);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) lua_pop(L, 1);
}

void request_refuse(Request *request, int status) {
  lua_State *L = loop_state();
  request->queued = true;
  request_drop_body(request);
  if (L != NULL && request->service->refuse != LUA_REFNIL) {
    lua_pushcfunction(L, refuse_in_words);
    lua_pushlightuserdata(L, request);
    lua_pushinteger(L, status);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
      report(request, L);
      lua_pop(L, 1);
    }
  }
  if (!request->answered) refuse_plainly(request, status);
  request_finish(request);
}

/* running ----------------------------------------------------------- */

/* What `stream` returned is on top: the trailers. */
static int answer_end(lua_State *L, int status, lua_KContext context) {
  (void)status;
  Request *request = (Request *)context;
  Response response = {.status = 0};
  response_read_trailers(L, &response);
  if (request->connection != NULL)
    request->connection->protocol->end(request, &response);
  return 0;
}

static int answer(lua_State *L, int status, lua_KContext context) {
  (void)status;
  Request *request = (Request *)context;
  Response response;
  int table = lua_gettop(L);
  response_read(L, &response);
  if (response.streams && request->connection != NULL &&
      request->connection->protocol->write == NULL)
    return luaL_error(L, "only HTTP/2 can stream an answer");
  request_respond(request, &response);
  if (!response.streams) return 0;
  lua_settop(L, table);
  lua_getfield(L, table, "stream");
  streaming_push_write(L, request);
  lua_callk(L, 1, 1, context, answer_end);
  return answer_end(L, LUA_OK, context);
}

/* The coroutine: run(request) */
static int run(lua_State *L) {
  Request *request = lua_touserdata(L, 1);
  lua_KContext context = (lua_KContext)request;
  lua_rawgeti(L, LUA_REGISTRYINDEX, request->service->handler);
  push_request(L, request);
  lua_callk(L, 1, 1, context, answer);
  return answer(L, LUA_OK, context);
}

static void run_done(void *context, lua_State *co, int status, double busy) {
  Request *request = context;
  Service *service = request->service;
  service->service_time += (busy - service->service_time) * MEAN_WEIGHT;
  if (status != LUA_OK) report(request, co);
  if (status != LUA_OK && request->connection != NULL && !request->answered)
    request_refuse(request, 500);
  else
    request_finish(request);
  loop_hold(-1);
}

static void request_start(Request *request) {
  lua_State *L = loop_state();
  request->service->queued--;
  if (request->connection == NULL) {
    request_free(request);
  } else if (loop_clock() - request->arrived > MAX_WAIT) {
    request_refuse(request, 503);
  } else {
    loop_hold(1);
    lua_pushcfunction(L, run);
    lua_pushlightuserdata(L, request);
    loop_spawn(L, 1, run_done, request);
  }
}

static void queue_run(evutil_socket_t fd, short what, void *context);

static void queue_arm(void) {
  struct timeval now = {0, 0};
  if (queue.base != loop_base()) {
    queue.base = loop_base();
    queue.runner = evtimer_new(queue.base, queue_run, NULL);
  }
  if (!evtimer_pending(queue.runner, NULL)) evtimer_add(queue.runner, &now);
}

static void queue_measure(void) {
  double now = loop_clock();
  if (queue.started > 0)
    queue.interval += (now - queue.started - queue.interval) * INTERVAL_WEIGHT;
  queue.started = queue.first != NULL ? now : 0;
}

static void queue_run(evutil_socket_t fd, short what, void *context) {
  (void)fd, (void)what, (void)context;
  double start = loop_clock(), slice = (start - queue.rested) * SLICE;
  if (slice < MIN_SLICE) slice = MIN_SLICE;
  if (slice > MAX_SLICE) slice = MAX_SLICE;
  while (queue.first != NULL && loop_clock() - start < slice) {
    Request *request = queue.first;
    queue.first = request->next;
    if (queue.first == NULL) queue.end = &queue.first;
    queue_measure();
    request_start(request);
    held_look();
    dialogs_look();
  }
  queue.rested = loop_clock();
  if (queue.first != NULL) queue_arm();
}

bool requests_wait(void) {
  return queue.first != NULL;
}

void request_submit(Request *request) {
  Service *service = request->service;
  request->id = ++queue.ids;
  request->arrived = loop_clock();
  double each = service->service_time > queue.interval ? service->service_time
                                                       : queue.interval;
  if (service->queued * each > MAX_WAIT) {
    request_refuse(request, 503);
    return;
  }
  service->queued++;
  request->queued = true;
  request->next = NULL;
  if (queue.first == NULL) queue.end = &queue.first;
  *queue.end = request;
  queue.end = &request->next;
  queue_arm();
}
