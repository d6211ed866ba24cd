/* Answers that leave together. What is made in one turn of the loop waits
** for the turn's end, at most about a millisecond: the peer, or its machine,
** is then woken once and not once for each. */
#include "server.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdlib.h>

#define PATIENCE 0.001 /* seconds that the oldest waits while others come */
#define ROOM 16384     /* bytes that wait for one connection */

static struct {
  Connection *first, **end;
  double since;
} held;

size_t connection_unsent(Connection *connection) {
  size_t waits =
    connection->held == NULL ? 0 : evbuffer_get_length(connection->held);
  return waits +
    evbuffer_get_length(bufferevent_get_output(connection->stream));
}

static void held_leave(Connection *connection) {
  *connection->held_link = connection->next_held;
  if (connection->next_held != NULL)
    connection->next_held->held_link = connection->held_link;
  else
    held.end = connection->held_link;
  connection->held_link = NULL;
}

static void held_join(Connection *connection) {
  if (held.first == NULL) {
    held.end = &held.first;
    held.since = loop_clock();
  }
  connection->next_held = NULL;
  connection->held_link = held.end;
  *held.end = connection;
  held.end = &connection->next_held;
}

/* At once what the socket takes, the rest when it takes more. False: the
** peer is not there. */
static bool send_held(Connection *connection) {
  held_leave(connection);
  int sent =
    evbuffer_write(connection->held, bufferevent_getfd(connection->stream));
  if (sent < 0 && errno != EAGAIN && errno != EINTR) return false;
  if (evbuffer_get_length(connection->held) > 0)
    bufferevent_write_buffer(connection->stream, connection->held);
  connection->unsent = connection_unsent(connection);
  return true;
}

bool connection_release(Connection *connection) {
  if (connection->held_link == NULL || send_held(connection)) return true;
  connection_close(connection);
  return false;
}

void held_close(Connection *connection) {
  if (connection->held_link != NULL) send_held(connection);
  if (connection->held != NULL) evbuffer_free(connection->held);
}

void held_release(void) {
  while (held.first != NULL) connection_release(held.first);
}

void held_look(void) {
  if (held.first != NULL && loop_clock() - held.since > PATIENCE)
    held_release();
}

bool connection_push(Connection *connection, Slice head, Slice body) {
  struct evbuffer *output = bufferevent_get_output(connection->stream);
  bool flows = evbuffer_get_length(output) > 0;
  if (connection->held == NULL) connection->held = evbuffer_new();
  if (connection->held == NULL) abort();
  struct evbuffer *to = flows ? output : connection->held;
  evbuffer_add(to, head.data, head.size);
  evbuffer_add(to, body.data, body.size);
  connection->unsent = connection_unsent(connection);
  if (flows || evbuffer_get_length(to) == 0) return true;
  if (connection->held_link == NULL) held_join(connection);
  return evbuffer_get_length(to) <= ROOM || connection_release(connection);
}
