/* Connections that wait, in the order in which their time will be over. */
#include "server.h"

#include <event2/event.h>

static void ageing_arm(Ageing *list) {
  if (list->first == NULL || evtimer_pending(list->timer, NULL)) return;
  struct timeval span =
    loop_span(list->first->since + list->seconds - loop_clock());
  evtimer_add(list->timer, &span);
}

static void ageing_over(evutil_socket_t fd, short what, void *context) {
  (void)fd, (void)what;
  Ageing *list = context;
  double now = loop_clock() + 0.001;
  while (list->first != NULL && list->first->since + list->seconds <= now)
    list->expire(list->first);
  ageing_arm(list);
}

void ageing_open(Ageing *list, double seconds,
                 void (*expire)(Connection *connection)) {
  list->first = NULL;
  list->end = &list->first;
  list->seconds = seconds;
  list->expire = expire;
  list->timer = evtimer_new(loop_base(), ageing_over, list);
}

void connection_wait(Connection *connection, Ageing *list) {
  Ageing *old = connection->ageing;
  if (old != NULL) {
    *connection->link = connection->next;
    if (connection->next != NULL)
      connection->next->link = connection->link;
    else
      old->end = connection->link;
  }
  connection->next = NULL;
  connection->ageing = list;
  if (list == NULL) return;
  connection->since = loop_clock();
  connection->link = list->end;
  *list->end = connection;
  list->end = &connection->next;
  ageing_arm(list);
}

void ageing_close(Ageing *list) {
  while (list->first != NULL) connection_close(list->first);
}
