/* http_loop: exchanges under way on the event loop. libcurl says which
** sockets it waits for and until when; libevent tells it what happened. */
#include "http.h"

#include <event2/event.h>

static void client_drain(HttpClient *client) {
  CURLMsg *message;
  int left;
  while ((message = curl_multi_info_read(client->multi, &left)) != NULL) {
    if (message->msg != CURLMSG_DONE) continue;
    CURLcode status = message->data.result;
    HttpExchange *exchange = NULL;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &exchange);
    lua_State *waiter = exchange->waiter;
    loop_resume(waiter, http_result(waiter, exchange, status));
  }
}

static void client_event(evutil_socket_t fd, short what, void *user) {
  HttpClient *client = user;
  int running, flags = 0;
  if (what & EV_READ) flags |= CURL_CSELECT_IN;
  if (what & EV_WRITE) flags |= CURL_CSELECT_OUT;
  curl_multi_socket_action(client->multi, fd, flags, &running);
  client_drain(client);
}

static void client_timeout(evutil_socket_t fd, short what, void *user) {
  HttpClient *client = user;
  int running;
  (void)fd, (void)what;
  curl_multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &running);
  client_drain(client);
}

/* CURLMOPT_TIMERFUNCTION */
static int client_timer(CURLM *multi, long ms, void *user) {
  HttpClient *client = user;
  (void)multi;
  if (ms < 0) return evtimer_del(client->timer);
  struct timeval span = {ms / 1000, ms % 1000 * 1000};
  return evtimer_add(client->timer, &span);
}

/* CURLMOPT_SOCKETFUNCTION; `known` is the socket's event, once it has one. */
static int client_socket(CURL *easy, curl_socket_t fd, int what, void *user,
                         void *known) {
  HttpClient *client = user;
  struct event *event = known;
  (void)easy;
  if (event != NULL) event_del(event);
  if (what == CURL_POLL_REMOVE) {
    if (event != NULL) event_free(event);
    return 0;
  }
  short wanted = EV_PERSIST;
  if (what & CURL_POLL_IN) wanted |= EV_READ;
  if (what & CURL_POLL_OUT) wanted |= EV_WRITE;
  if (event == NULL) {
    event = event_new(loop_base(), fd, wanted, client_event, client);
    if (event == NULL) return -1;
    curl_multi_assign(client->multi, fd, event);
  } else {
    event_assign(event, loop_base(), fd, wanted, client_event, client);
  }
  return event_add(event, NULL);
}

static void client_release(HttpClient *client) {
  curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, NULL);
  event_free(client->timer);
}

int http_suspend(lua_State *L, HttpClient *client, HttpExchange *exchange) {
  if (client->timer == NULL) {
    client->timer = evtimer_new(loop_base(), client_timeout, client);
    if (client->timer == NULL) return luaL_error(L, "not enough memory");
    client->release = client_release;
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, client_socket);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, client_timer);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
  }
  exchange->waiter = L;
  if (curl_multi_add_handle(client->multi, exchange->easy) != CURLM_OK)
    return http_result(L, exchange, CURLE_FAILED_INIT);
  exchange->multi = client->multi;
  return loop_suspend(L);
}
