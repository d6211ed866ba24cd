/* What the files of engine.server share. */
#ifndef FULCIO_SERVER_H
#define FULCIO_SERVER_H

#include "engine.h"

#include <sys/time.h>
#include <sys/types.h>

/* loop.c ------------------------------------------------------------- */

/* Seconds of a clock that never goes back. */
double loop_clock(void);
/* Not negative, at most 30 years. */
struct timeval loop_span(double seconds);
/* The state to call Lua with from an event callback; NULL: not running. */
lua_State *loop_state(void);
/* server.run throws what is on top of its state's stack. */
void loop_fail(void);
/* coroutine.c. Told when the coroutine has ended: its results, or the error
** and its stack, are still on co. busy: seconds that it ran. */
typedef void (*LoopDone)(void *context, lua_State *co, int status, double busy);
/* Starts the function below `arguments` values on top of L's stack in a
** coroutine of ours, and pops all of them. */
void loop_spawn(lua_State *L, int arguments, LoopDone done, void *context);
/* Counts what must end before a loop that was told to stop may end. */
void loop_hold(int by);
/* Calls hook(false) on stop, and hook(true) when the grace is over. */
void loop_on_stop(void (*hook)(bool now));
void loop_stop(void);
bool loop_stopping(void);
/* In a new child: only `master` may stop it; `started` is called when the
** loop begins to run. */
void loop_after_fork(pid_t master, double grace, void (*started)(void));
void loop_register(lua_State *L);
void coroutine_register(lua_State *L);

/* listener.c --------------------------------------------------------- */

#define LISTENER_TYPE "fulcio.listener"
typedef struct Listener {
  int fd; /* -1: closed */
  int port;
  bool served;  /* server.http was called for it in this process */
  pid_t opened; /* by which process, which removes the socket's file */
  struct Listener *next;
  char address[128];
} Listener;
typedef enum Listeners {
  UNSERVED_LISTENERS, /* for which server.http was not called here */
  TCP_LISTENERS,
  ALL_LISTENERS
} Listeners;
void listeners_close(Listeners which);
void listener_register(lua_State *L);

/* connection.c ------------------------------------------------------- */

typedef struct Connection Connection;
typedef struct Request Request;
typedef struct Response Response;
typedef struct Session Session; /* HTTP/2 on a connection: http2.h */
typedef struct Stream Stream;   /* one request of it */
typedef struct Channel Channel; /* TLS on a connection: channel.c */

/* Unsent bytes above which nothing is added for a peer that does not take
** them. */
#define MAX_UNSENT 65536

/* How one version of HTTP uses a connection. */
typedef struct Protocol {
  const char *name;
  /* There may be new bytes in connection->input. */
  void (*feed)(Connection *connection);
  /* Writes the answer; false when it cannot be written (the connection is
  ** closed then). Called once a request, connection still there. */
  bool (*respond)(Request *request, const Response *response);
  /* The request was answered: frees it and goes on with what is next. */
  void (*finish)(Request *request);
  /* The request took longer to arrive than it may. */
  void (*late)(Connection *connection);
  /* The connection closes: let go of its requests. */
  void (*leave)(Connection *connection);
  /* It was idle for as long as it may be. NULL: it is closed. */
  void (*expire)(Connection *connection);
  /* The steps of a streaming request in its coroutine; NULL: there are
  ** none. read and write return as request.read and write do in Lua. */
  int (*read)(lua_State *L, Request *request);
  int (*write)(lua_State *L, Request *request, Slice bytes);
  /* The answer that was begun ends, with its trailers. */
  void (*end)(Request *request, const Response *response);
} Protocol;

/* Connections that wait for the same thing, the longest first. */
typedef struct Ageing {
  Connection *first, **end;
  double seconds;
  void (*expire)(Connection *connection);
  struct event *timer;
} Ageing;

/* A listener, who answers on it, and within which limits. */
typedef struct Service {
  Listener *listener;
  int handler, refuse, on_error; /* registry references */
  int streams;                   /* the same: paths that stream; or none */
  struct Tls *tls;               /* NULL: plain only */
  bool plain;                    /* plain as well */
  size_t max_header, max_body;
  double request_seconds, idle_seconds;
  int max_connections;
  bool same_user;
  struct event *accepting, *pause;
  double courtesy; /* since when others were let go first; 0: not */
  Ageing idle, reading, leaving;
  int queued;          /* requests that have not started */
  double service_time; /* mean seconds that one runs */
  struct Service *next;
} Service;

struct Connection {
  Service *service;
  const Protocol *protocol; /* NULL until the first byte */
  struct bufferevent *stream;
  struct evbuffer *input;
  struct evbuffer *held; /* to be sent at the end of this turn; or NULL */
  Connection *next_held;
  Connection **held_link; /* NULL: nothing is held */
  Channel *channel;       /* NULL: plain; else input is what it decrypted */
  Request *request;       /* HTTP/1.1: the one that arrives or runs */
  Session *session;       /* HTTP/2 */
  Ageing *ageing;         /* the list it is in */
  Connection *next, **link;
  double since;  /* in that list */
  size_t unsent; /* when last looked at */
  int pins;      /* who still looks at it: freed when none */
  bool closed;   /* gone but for the pins */
  bool ended;    /* the peer has sent all that it will send */
  bool closing;  /* no further request is read */
  bool leaving;  /* what comes is dropped */
  char peer[48]; /* address, or "uid:NUMBER" of a unix socket */
};

/* service.c */
void service_open(Service *service);
/* Takes over a socket that was accepted. */
void connection_open(Service *service, int fd);
/* What becomes of it when it has waited in `idle` or `leaving`, or in
** `reading`, for as long as it may. */
void connection_expire(Connection *connection);
void connection_late(Connection *connection);
/* ageing.c: what `expire` is given has left its list, or joins it anew. */
void ageing_open(Ageing *list, double seconds,
                 void (*expire)(Connection *connection));
/* Closes all that are in it. */
void ageing_close(Ageing *list);
/* Moves it to a list of its service, or to none (NULL). */
void connection_wait(Connection *connection, Ageing *list);
/* No request is under way: waits for the next one (or until the peer has
** taken what was sent to it), or closes. */
void connection_rest(Connection *connection);
/* Gives the protocol what has come. */
void connection_feed(Connection *connection);
/* Sends, when the loop's turn ends; false: the connection was closed. */
bool connection_send(Connection *connection, Slice head, Slice body);
/* held.c: the same below TLS: bytes as the socket gets them. */
bool connection_push(Connection *connection, Slice head, Slice body);
size_t connection_unsent(Connection *connection);
/* Sends now what is held; false: the connection was closed. */
bool connection_release(Connection *connection);
/* Sends what can be sent now, and holds no more. */
void held_close(Connection *connection);
/* Sends what is held for anybody: all, or when the oldest waited enough. */
void held_release(void);
void held_look(void);
/* Closes when all is sent. unread: the peer may still be sending, so it
** gets time to read the answer before a reset would destroy it. */
void connection_leave(Connection *connection, bool unread);
void connection_close(Connection *connection);
void connection_pin(Connection *connection);
/* false: it has gone. */
bool connection_unpin(Connection *connection);

/* tls.c and channel.c ------------------------------------------------- */

#define TLS_TYPE "fulcio.tls"
struct ssl_st;
/* A new connection's SSL by the newest certificate; NULL: no memory. */
struct ssl_st *tls_accept(struct Tls *tls);
void tls_register(lua_State *L);

/* Begins to speak TLS; the first byte says so. */
void channel_open(Connection *connection);
/* Decrypts what has come, as far as there is room. False: it was closed. */
bool channel_read(Connection *connection, size_t room);
bool channel_send(Connection *connection, Slice head, Slice body);
bool channel_is_ready(const Channel *channel);
/* Tells the peer that nothing more is sent. */
void channel_end(Connection *connection);
void channel_free(Channel *channel);

/* request.c ---------------------------------------------------------- */

/* A header field, as offsets into the request's head. */
typedef struct Field {
  uint16_t name, name_size, value, value_size;
} Field;
#define MAX_FIELDS 128

typedef enum Arrival { IN_HEAD, IN_BODY, IN_CHUNKS, ARRIVED } Arrival;

/* chunked.c: where a chunked body has got to. */
typedef struct Chunked {
  int state;
  int digits;
  uint64_t left;   /* of the chunk */
  size_t overhead; /* bytes that are not the body's */
} Chunked;

/* What Lua knows a streaming request by: NULL when it has gone. */
typedef struct Handle {
  Request *request;
} Handle;

struct Request {
  Connection *connection; /* NULL when it has gone */
  Service *service;
  Request *next; /* in the queue */
  uint64_t id;
  double arrived;
  Arrival arrival;
  size_t seen;   /* bytes of the head that were looked at */
  char *head;    /* owned */
  Field *fields; /* owned */
  int field_count;
  Slice method, path, query; /* in head; query.data NULL: none */
  unsigned char *body;       /* owned */
  size_t body_size, body_room, body_left;
  size_t held;    /* bytes of all that was counted for it */
  Stream *stream; /* HTTP/2; NULL when it has gone */
  Handle *handle; /* NULL: Lua has none */
  int handle_ref;
  bool streaming; /* the handler reads the body itself */
  Chunked chunked;
  bool queued; /* request.c has it, and frees it */
  bool answered;
  bool keep_alive, is_head, old; /* old: HTTP/1.0 */
};

typedef struct Pair {
  Slice name, value;
} Pair;
#define MAX_TRAILERS 16

struct Response {
  int status;
  bool close;
  bool streams; /* the body comes later */
  Pair fields[MAX_FIELDS], trailers[MAX_TRAILERS];
  int field_count, trailer_count;
  Slice body;
};

Request *request_new(Connection *connection);
void request_free(Request *request);
/* Splits a request-target (RFC 9112 section 3.2) into path and query;
** false when it is of no form that we answer. */
bool request_target(Request *request, Slice target);
/* Lets go of a connection that closes. Frees what has not started. */
void request_abandon(Request *request);
/* Counts memory that this process holds because of peers; false, and not
** counted: it would be too much. */
bool peers_hold(size_t size);
void peers_release(size_t size);
/* The same for a request, which releases it. */
bool request_hold(Request *request, size_t size);
/* Adds to the body. 0; 413: longer than max_body, 503: no room for it. */
int request_append(Request *request, const void *data, size_t size);
/* Forgets the body that has come. */
void request_drop_body(Request *request);
/* The request is whole: runs it in its turn, or answers 503. */
void request_submit(Request *request);
/* Whether any that are whole have not started. */
bool requests_wait(void);
/* Answers with what the service's `refuse` says, without a coroutine. */
void request_refuse(Request *request, int status);

/* streaming.c: the handler's side of bodies that are read and written bit
** by bit. Counts the request as one of these; false: there are too many. */
bool streaming_open(Request *request);
void streaming_close(Request *request);
/* Pushes request.read and write; they work while the request does. */
void streaming_push_read(lua_State *L, Request *request);
void streaming_push_write(lua_State *L, Request *request);

/* response.c: reads the table on top of the stack, or throws. The strings
** live while that stack does. */
void response_read(lua_State *L, Response *response);
/* The same for trailers; nil: none. */
void response_read_trailers(lua_State *L, Response *response);
/* The Date field's value (RFC 9110 section 6.6.1). */
const char *response_date(void);
/* Those who are told to come again (503) are told when. */
void response_add_retry(Response *response);

/* head.c and chunked.c: pure functions on bytes ---------------------- */

/* Size of the head that the bytes begin with, 0 when its end is not among
** them, -1 when it can never be one. *seen: from where to look. */
long head_end(const unsigned char *bytes, size_t size, size_t *seen);

typedef struct Head {
  Slice method, target;
  int minor; /* HTTP/1.minor */
  bool has_length, chunked, keep_alive, expects;
  uint64_t length;
  Field fields[MAX_FIELDS];
  int field_count;
} Head;

/* Another protocol, which would not understand an answer. */
#define NOT_HTTP (-1)

/* Parses a whole head and lowers its field names in place. 0, or the
** status to refuse it with, or NOT_HTTP. */
int head_parse(char *bytes, size_t size, Head *head);

/* Takes bytes, gives the body's to request_append. 0: wants more (all were
** taken), 1: complete; else the status to refuse it with. */
int chunked_feed(Request *request, const unsigned char *bytes, size_t size,
                 size_t *taken);

extern const Protocol http1_protocol;
extern const Protocol http2_protocol;
/* Tells the sessions of this process when it stops. */
void http2_open(void);

/* shared.c: pages that all processes of the program see -------------- */

#define SEATS 256

/* Makes the pages; must have happened before a fork. */
void shared_open(void);
/* Frees a seat: nobody is there, and has no connections. */
void shared_clear(int place);
/* This process's seat among all, from 1. */
void shared_sit(int place);
/* The same again; 0: it is no worker's process, nor the log's. */
int shared_seat(void);
/* It can do now what processes of its role (from 1) do. */
void shared_ready(int role);
bool shared_is_ready(int place);
/* Adds to this process's connections and returns everybody's. */
int shared_connections(int by);
/* Whether another process of its role has so many fewer connections. */
bool shared_is_ahead(int by);
void shared_register(lua_State *L);

/* workers.c */
void workers_register(lua_State *L);

#endif
