/* One HTTP exchange, shared by http.c and http_loop.c. */
#ifndef FULCIO_HTTP_H
#define FULCIO_HTTP_H

#include "engine.h"

#include <curl/curl.h>
#include <sys/socket.h>

typedef struct HttpBuffer {
  char *data;
  size_t size, capacity, max;
} HttpBuffer;

typedef struct HttpExchange {
  CURL *easy;
  CURLM *multi; /* where easy is under way; NULL: nowhere */
  struct curl_slist *headers;
  HttpBuffer body;
  size_t head_size;
  lua_State *waiter; /* the coroutine on whose stack this is; http_loop.c */
  int body_ref;      /* keeps the request's body, which curl points to */
  double timeout;
  bool only_public; /* refuse addresses that are not */
  bool denied;      /* one was refused */
  bool too_large;
  char reason[CURL_ERROR_SIZE];
} HttpExchange;

/* A multi handle and its connections; made anew in a forked child, which
** must not touch its parent's sockets. */
typedef struct HttpClient HttpClient;
struct HttpClient {
  CURLM *multi;
  int pid;
  struct event *timer;           /* http_loop.c */
  void (*release)(HttpClient *); /* frees the timer */
};

/* http_request.c: fills the exchange from the options at index 1; throws
** on the caller's mistakes. */
void http_setup(lua_State *L, HttpExchange *exchange);
/* Pushes what http.request returns once curl is done with the exchange,
** and frees what it holds. */
int http_result(lua_State *L, HttpExchange *exchange, CURLcode status);
/* http_loop.c: starts the exchange, which is on this coroutine's stack, on
** the loop and yields. NULL where there is no loop. */
int http_suspend(lua_State *L, HttpClient *client, HttpExchange *exchange)
  __attribute__((weak));

/* address.c: whether an address is anybody's on the Internet: not private,
** not this machine, not a cloud's metadata. */
bool address_is_public(const struct sockaddr *address);

#endif
