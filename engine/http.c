/* http: one exchange as a client, by libcurl. */
#include "http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXCHANGE_TYPE "fulcio.http.exchange"
#define CLIENT_TYPE "fulcio.http.client"
#define MAX_HOST_CONNECTIONS 64L
#define MAX_KEPT 128L /* connections, of all hosts */

/* Registry keys: their addresses. */
static const char blocking_key = 0, loop_key = 0;

/* What came of it ------------------------------------------------------- */

static void exchange_release(lua_State *L, HttpExchange *exchange) {
  if (exchange->multi != NULL)
    curl_multi_remove_handle(exchange->multi, exchange->easy);
  curl_easy_cleanup(exchange->easy);
  curl_slist_free_all(exchange->headers);
  free(exchange->body.data);
  luaL_unref(L, LUA_REGISTRYINDEX, exchange->body_ref);
  memset(exchange, 0, sizeof *exchange);
  exchange->body_ref = LUA_NOREF;
}

static int exchange_collect(lua_State *L) {
  exchange_release(L, luaL_checkudata(L, 1, EXCHANGE_TYPE));
  return 0;
}

/* Pushes a table of the last answer's headers: lower-case names, the values
** of one that came several times joined by ", ". */
static void push_headers(lua_State *L, CURL *easy) {
  struct curl_header *header = NULL;
  lua_newtable(L);
  while ((header = curl_easy_nextheader(easy, CURLH_HEADER, -1, header))) {
    luaL_Buffer name;
    luaL_buffinit(L, &name);
    for (const char *c = header->name; *c != '\0'; c++)
      luaL_addchar(&name, (char)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c));
    luaL_pushresult(&name);
    lua_pushvalue(L, -1);
    lua_rawget(L, -3);
    if (lua_isnil(L, -1)) {
      lua_pop(L, 1);
      lua_pushstring(L, header->value);
    } else {
      lua_pushfstring(L, "%s, %s", lua_tostring(L, -1), header->value);
      lua_remove(L, -2);
    }
    lua_rawset(L, -3);
  }
}

static const char *failure_code(const HttpExchange *exchange, CURLcode status) {
  if (exchange->too_large) return "too_large";
  switch (status) {
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST: return "dns";
    case CURLE_COULDNT_CONNECT:
      return exchange->denied ? "bad_address" : "refused";
    case CURLE_OPERATION_TIMEDOUT: return "timeout";
    case CURLE_FILESIZE_EXCEEDED: return "too_large";
    case CURLE_URL_MALFORMAT:
    case CURLE_LOGIN_DENIED:
    case CURLE_UNSUPPORTED_PROTOCOL: return "bad_address";
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_ISSUER_ERROR: return "tls";
    default: return "network";
  }
}

static int push_failure(lua_State *L, HttpExchange *exchange, CURLcode status) {
  const char *code = failure_code(exchange, status);
  const char *why = exchange->reason;
  char *url = NULL;
  char late[64];
  if (*why == '\0') why = curl_easy_strerror(status);
  if (strcmp(code, "too_large") == 0) why = "the answer is too large";
  if (exchange->denied && strcmp(code, "bad_address") == 0)
    why = "leads to an address that is not public";
  if (strcmp(code, "timeout") == 0) {
    snprintf(late, sizeof late, "no answer within %g s", exchange->timeout);
    why = late;
  }
  curl_easy_getinfo(exchange->easy, CURLINFO_EFFECTIVE_URL, &url);
  int length = url == NULL ? 0 : (int)strcspn(url, "?#");
  return engine_fail(L, code, "%.*s: %s", length, url ? url : "", why);
}

int http_result(lua_State *L, HttpExchange *exchange, CURLcode status) {
  long answer = 0;
  int results = 1;
  if (status == CURLE_OK) {
    curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &answer);
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, answer);
    lua_setfield(L, -2, "status");
    push_headers(L, exchange->easy);
    lua_setfield(L, -2, "headers");
    lua_pushlstring(L, exchange->body.data ? exchange->body.data : "",
                    exchange->body.size);
    lua_setfield(L, -2, "body");
  } else {
    results = push_failure(L, exchange, status);
  }
  exchange_release(L, exchange);
  return results;
}

/* The client ------------------------------------------------------------ */

static int client_collect(lua_State *L) {
  HttpClient *client = luaL_checkudata(L, 1, CLIENT_TYPE);
  if (client->multi != NULL && client->pid == getpid()) {
    if (client->release != NULL) client->release(client);
    curl_multi_cleanup(client->multi);
  }
  client->multi = NULL;
  return 0;
}

/* This state's client, kept under a registry key. It is older than every
** exchange, so that it is collected after them. */
static HttpClient *http_client(lua_State *L, const void *key) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, key);
  HttpClient *client = lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (client == NULL) {
    client = lua_newuserdata(L, sizeof *client);
    memset(client, 0, sizeof *client);
    luaL_setmetatable(L, CLIENT_TYPE);
    lua_rawsetp(L, LUA_REGISTRYINDEX, key);
  }
  if (client->multi != NULL && client->pid == getpid()) return client;
  memset(client, 0, sizeof *client);
  client->pid = getpid();
  client->multi = curl_multi_init();
  if (client->multi == NULL) luaL_error(L, "not enough memory");
  curl_multi_setopt(client->multi, CURLMOPT_MAX_HOST_CONNECTIONS,
                    MAX_HOST_CONNECTIONS);
  /* libcurl would keep four for each exchange under way, often fewer than
  ** come again in a moment. */
  curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, MAX_KEPT);
  return client;
}

/* Runs the exchange to its end while the process waits. */
static int http_block(lua_State *L, HttpClient *client,
                      HttpExchange *exchange) {
  CURLcode status = CURLE_FAILED_INIT;
  int running = 1, left;
  CURLMsg *message;
  if (curl_multi_add_handle(client->multi, exchange->easy) == CURLM_OK)
    exchange->multi = client->multi;
  while (exchange->multi != NULL && running > 0) {
    if (curl_multi_perform(client->multi, &running) != CURLM_OK) break;
    if (running > 0) curl_multi_poll(client->multi, NULL, 0, 1000, NULL);
  }
  while ((message = curl_multi_info_read(client->multi, &left)) != NULL)
    if (message->msg == CURLMSG_DONE) status = message->data.result;
  return http_result(L, exchange, status);
}

static const char *const request_names[] = {
  "url",     "method", "headers",     "body",      "timeout",   "max_body",
  "ca_file", "ca_pem", "unix_socket", "addresses", "aws_sigv4", NULL,
};

/* http.request(request) --> response | nil, message, code */
static int http_request(lua_State *L) {
  bool ours = http_suspend != NULL && loop_owns != NULL && loop_owns(L);
  luaL_checktype(L, 1, LUA_TTABLE);
  engine_check_options(L, 1, request_names);
  lua_settop(L, 1);
  HttpClient *client = http_client(L, ours ? &loop_key : &blocking_key);
  HttpExchange *exchange = lua_newuserdata(L, sizeof *exchange);
  memset(exchange, 0, sizeof *exchange);
  exchange->body_ref = LUA_NOREF;
  luaL_setmetatable(L, EXCHANGE_TYPE);
  http_setup(L, exchange);
  if (ours) return http_suspend(L, client, exchange);
  return http_block(L, client, exchange);
}

/* http.set_backend(transport?): requests go to it from now on, nil: to
** libcurl again. It takes the function's place, so that it may yield. */
static int http_set_backend(lua_State *L) {
  lua_settop(L, 1);
  if (lua_isnil(L, 1))
    lua_pushcfunction(L, http_request);
  else
    luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_setfield(L, lua_upvalueindex(1), "request");
  return 0;
}

static void make_type(lua_State *L, const char *name, lua_CFunction collect) {
  luaL_newmetatable(L, name);
  lua_pushcfunction(L, collect);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
}

static const luaL_Reg http_names[] = {
  {"request", http_request},
  {NULL, NULL},
};

int engine_open_http(lua_State *L) {
  make_type(L, EXCHANGE_TYPE, exchange_collect);
  make_type(L, CLIENT_TYPE, client_collect);
  luaL_newlib(L, http_names);
  lua_pushvalue(L, -1);
  lua_pushcclosure(L, http_set_backend, 1);
  lua_setfield(L, -2, "set_backend");
  return 1;
}
