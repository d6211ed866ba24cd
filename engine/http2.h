/* What the files of HTTP/2 share. */
#ifndef FULCIO_HTTP2_H
#define FULCIO_HTTP2_H

#include "server.h"

#include <event2/event_struct.h>
#include <nghttp2/nghttp2.h>

/* http2_flood.c: what a peer does that asks nothing of us. */
typedef struct Flood {
  double since;  /* when this count began */
  int frames;    /* that brought no request */
  int resets;    /* of streams that were not answered */
  size_t block;  /* bytes of the header block that arrives */
  bool exceeded; /* the connection ends for it */
} Flood;

/* How a session ends: by a GOAWAY that still takes what is on its way, then
** by one that names the last stream. */
typedef enum Farewell { STAYS, NOTICED, PARTED } Farewell;

struct Session {
  Connection *connection;
  nghttp2_session *h2;
  Stream *streams;
  Session *next, **link;             /* of all in this process */
  Session *next_dirty, **dirty_link; /* link NULL: nothing to send */
  struct event timer;
  double due;          /* when the timer fires; 0: it does not */
  double farewell_due; /* when the final GOAWAY follows the notice */
  Farewell farewell;
  bool greeted; /* preface and SETTINGS have come */
  bool rearm;   /* a stream waits since the timer was set */
  Flood flood;
};

/* One request and its answer. It lasts as long as nghttp2's stream; its
** request, as long as the handler. */
struct Stream {
  Session *session;
  int32_t id;
  Request *request; /* NULL: answered, or nobody answers it */
  Stream *next, **link;
  double due;    /* what it waits for must come by then; 0: waits for nobody */
  int refused;   /* status, seen within its head */
  size_t listed; /* size of its header list */
  size_t head_size, head_room;   /* of request->head */
  int field_room;                /* of request->fields */
  Field method, path, authority; /* in head */
  size_t discarded;              /* of a body that is refused */
  size_t held;                   /* bytes that were counted for it */
  bool headed;                   /* the head is complete */
  bool whole;                    /* nothing more comes */
  bool begun;                    /* the answer is */
  bool ended;                    /* the answer is given whole */
  bool sent;                     /* and gone */
  unsigned char *out;            /* of its body; owned */
  size_t out_size, out_sent, out_room;
  nghttp2_nv *trailers; /* owned, with their bytes */
  size_t trailer_count;
  lua_State *reader, *writer; /* who waits in read or write */
};

/* http2.c */
/* Sends what there is to send, in this turn of the loop. */
void session_touch(Session *session);
/* The stream's `due` was set. */
void session_expect(Session *session, double due);

/* http2_stream.c: nghttp2's callbacks about what arrives. */
int stream_begin(nghttp2_session *h2, const nghttp2_frame *frame,
                 void *context);
int stream_field(nghttp2_session *h2, const nghttp2_frame *frame,
                 const uint8_t *name, size_t name_size, const uint8_t *value,
                 size_t value_size, uint8_t flags, void *context);
int stream_data(nghttp2_session *h2, uint8_t flags, int32_t id,
                const uint8_t *data, size_t size, void *context);
int stream_closed(nghttp2_session *h2, int32_t id, uint32_t error,
                  void *context);
/* A HEADERS or DATA frame has come as a whole. */
void stream_frame(Stream *stream, const nghttp2_frame *frame);
/* Its time is over. */
void stream_late(Stream *stream);
/* Frees it; who waits for it hears nil. */
void stream_free(Stream *stream);
int stream_read(lua_State *L, Request *request);
/* Resumes who waits with the one value that was pushed for it. */
void stream_wake(lua_State **waiter);

/* http2_answer.c */
bool answer_begin(Request *request, const Response *response);
int answer_write(lua_State *L, Request *request, Slice bytes);
void answer_end(Request *request, const Response *response);
/* The handler has ended. */
void answer_finish(Request *request);
int answer_sent(nghttp2_session *h2, const nghttp2_frame *frame, void *context);

/* http2_flood.c */
/* A frame begins. False: one too many. */
bool flood_frame(Flood *flood, const nghttp2_frame_hd *head);
/* A request has come whole: so much else is forgiven. */
void flood_request(Flood *flood);
/* An unanswered stream was reset. False: one too many. */
bool flood_reset(Flood *flood);

#endif
