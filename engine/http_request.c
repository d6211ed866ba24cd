/* http_request: the request a Lua table describes, as libcurl takes it. */
#include "http.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define DEFAULT_SECONDS 5.0
#define DEFAULT_BODY (256 * 1024)
#define MAX_HEAD ((size_t)64 * 1024)
/* curl would allocate 64 KiB for each body it sends. */
#define SMALL_BUFFER 16384L

/* What arrives ---------------------------------------------------------- */

static bool buffer_append(HttpBuffer *buffer, const char *data, size_t size) {
  if (size > buffer->max - buffer->size) return false;
  if (size > buffer->capacity - buffer->size) {
    size_t capacity = (buffer->size + size) * 2;
    char *grown = realloc(buffer->data, capacity);
    if (grown == NULL) return false;
    buffer->data = grown;
    buffer->capacity = capacity;
  }
  memcpy(buffer->data + buffer->size, data, size);
  buffer->size += size;
  return true;
}

static size_t exchange_body(char *data, size_t one, size_t size, void *user) {
  HttpExchange *exchange = user;
  if (buffer_append(&exchange->body, data, one * size)) return one * size;
  exchange->too_large = true;
  return 0;
}

/* curl keeps the lines; here they are only counted. */
static size_t exchange_head(const char *line, size_t one, size_t size,
                            void *user) {
  HttpExchange *exchange = user;
  (void)line;
  exchange->head_size += one * size;
  if (exchange->head_size <= MAX_HEAD) return one * size;
  exchange->too_large = true;
  return 0;
}

static curl_socket_t exchange_socket(void *user, curlsocktype purpose,
                                     struct curl_sockaddr *address) {
  HttpExchange *exchange = user;
  (void)purpose;
  if (exchange->only_public && !address_is_public(&address->addr)) {
    exchange->denied = true;
    return CURL_SOCKET_BAD;
  }
  return socket(address->family, address->socktype | SOCK_CLOEXEC,
                address->protocol);
}

/* What is asked --------------------------------------------------------- */

static const char *option_text(lua_State *L, const char *name) {
  size_t size;
  lua_getfield(L, 1, name);
  if (lua_isnil(L, -1)) return NULL; /* the nil stays, as a text would */
  if (lua_type(L, -1) != LUA_TSTRING) luaL_error(L, "%s: no text", name);
  const char *text = lua_tolstring(L, -1, &size);
  if (strlen(text) != size) luaL_error(L, "%s: has a zero byte", name);
  return text;
}

static double option_number(lua_State *L, const char *name, double absent) {
  lua_getfield(L, 1, name);
  if (!lua_isnil(L, -1) && lua_type(L, -1) != LUA_TNUMBER)
    luaL_error(L, "%s: no number", name);
  double number = lua_isnil(L, -1) ? absent : lua_tonumber(L, -1);
  lua_pop(L, 1);
  if (!(number > 0 && number <= 1e9)) luaL_error(L, "%s: out of range", name);
  return number;
}

static void add_header(lua_State *L, HttpExchange *exchange, const char *line) {
  struct curl_slist *list = curl_slist_append(exchange->headers, line);
  if (list == NULL) luaL_error(L, "not enough memory");
  exchange->headers = list;
}

/* Text of a header: no line breaks, no zero bytes. */
static const char *header_text(lua_State *L, int index) {
  size_t size;
  if (lua_type(L, index) != LUA_TSTRING)
    luaL_error(L, "headers: names and values are texts");
  const char *text = lua_tolstring(L, index, &size);
  if (strcspn(text, "\r\n") != size)
    luaL_error(L, "headers: line break or zero byte");
  return text;
}

static void exchange_headers(lua_State *L, HttpExchange *exchange) {
  bool typed = false;
  lua_getfield(L, 1, "headers");
  if (!lua_isnil(L, -1)) {
    luaL_checktype(L, -1, LUA_TTABLE);
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
      const char *name = header_text(L, -2), *value = header_text(L, -1);
      /* In curl's list "Name:" removes a header and "Name;" empties it. */
      const char *form = *value == '\0' ? "%s;" : "%s: %s";
      if (*name == '\0' || strpbrk(name, ":; \t") != NULL)
        luaL_error(L, "headers: bad name");
      typed = typed || strcasecmp(name, "content-type") == 0;
      lua_pushfstring(L, form, name, value);
      add_header(L, exchange, lua_tostring(L, -1));
      lua_pop(L, 2);
    }
  }
  lua_pop(L, 1);
  /* What curl would add by itself, but signs as if it were there. */
  lua_getfield(L, 1, "aws_sigv4");
  if (lua_isnil(L, -1)) add_header(L, exchange, "Expect:");
  lua_pop(L, 1);
  if (!typed) add_header(L, exchange, "Content-Type:");
  curl_easy_setopt(exchange->easy, CURLOPT_HTTPHEADER, exchange->headers);
}

static void exchange_method(lua_State *L, HttpExchange *exchange) {
  CURL *easy = exchange->easy;
  size_t size;
  const char *method = option_text(L, "method");
  lua_getfield(L, 1, "body");
  const char *body = luaL_optlstring(L, -1, NULL, &size);
  if (method == NULL) method = body == NULL ? "GET" : "POST";
  if (body != NULL || strcmp(method, "POST") == 0) {
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                     (curl_off_t)(body == NULL ? 0 : size));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body == NULL ? "" : body);
  } else if (strcmp(method, "HEAD") == 0) {
    curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
  }
  curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
  exchange->body_ref = luaL_ref(L, LUA_REGISTRYINDEX); /* curl points to it */
  lua_pop(L, 1);
}

/* Loopback and unix sockets are never reached through a proxy. */
static bool without_proxy(const char *url) {
  char *host = NULL;
  CURLU *parts = curl_url();
  bool near = false;
  if (parts != NULL && curl_url_set(parts, CURLUPART_URL, url, 0) == 0 &&
      curl_url_get(parts, CURLUPART_HOST, &host, 0) == 0) {
    near = strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
      strncmp(host, "127.", 4) == 0;
  }
  curl_free(host);
  curl_url_cleanup(parts);
  return near;
}

/* Whom to trust: those certificates, and not the system's as well. */
static void exchange_trust(lua_State *L, CURL *easy) {
  const char *file = option_text(L, "ca_file");
  const char *pem = option_text(L, "ca_pem");
  if (file != NULL || pem != NULL) {
    curl_easy_setopt(easy, CURLOPT_CAINFO, file);
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
  }
  if (pem != NULL) {
    struct curl_blob blob = {(void *)pem, strlen(pem), CURL_BLOB_COPY};
    curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &blob);
  }
  lua_pop(L, 2);
}

static void exchange_route(lua_State *L, HttpExchange *exchange) {
  CURL *easy = exchange->easy;
  const char *const kinds[] = {"any", "public", NULL};
  const char *url = option_text(L, "url");
  if (url == NULL) luaL_error(L, "url: missing");
  const char *unix_socket = option_text(L, "unix_socket");
  lua_getfield(L, 1, "addresses");
  exchange->only_public = luaL_checkoption(L, -1, "any", kinds) == 1;
  curl_easy_setopt(easy, CURLOPT_URL, url);
  curl_easy_setopt(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR,
                   exchange->only_public ? "https" : "http,https");
  if (unix_socket != NULL)
    curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, unix_socket);
  if (unix_socket != NULL || exchange->only_public || without_proxy(url))
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
  /* A connection made for others was not asked where it leads. */
  curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, (long)exchange->only_public);
  curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, (long)exchange->only_public);
  lua_pop(L, 3);
  exchange_trust(L, easy);
}

static const char *sigv4_text(lua_State *L, int table, const char *name) {
  lua_getfield(L, table, name);
  const char *text = lua_tostring(L, -1);
  if (text == NULL || *text == '\0' || strchr(text, ':') != NULL)
    luaL_error(L, "aws_sigv4.%s: no text", name);
  return text;
}

static void exchange_sigv4(lua_State *L, CURL *easy) {
  static const char *const names[] = {"region", "service", "key", "secret",
                                      NULL};
  lua_getfield(L, 1, "aws_sigv4");
  int table = lua_gettop(L);
  if (!lua_isnil(L, table)) {
    luaL_checktype(L, table, LUA_TTABLE);
    engine_check_options(L, table, names);
    const char *region = sigv4_text(L, table, "region");
    const char *service = sigv4_text(L, table, "service");
    lua_getfield(L, table, "secret");
    Slice secret = secret_slice(L, -1); /* a string or a Secret ends in NUL */
    if (secret.data == NULL) luaL_error(L, "aws_sigv4.secret: missing");
    curl_easy_setopt(easy, CURLOPT_USERNAME, sigv4_text(L, table, "key"));
    curl_easy_setopt(easy, CURLOPT_PASSWORD, (const char *)secret.data);
    const char *who = lua_pushfstring(L, "aws:amz:%s:%s", region, service);
    curl_easy_setopt(easy, CURLOPT_AWS_SIGV4, who);
  }
  lua_settop(L, table - 1);
}

static void exchange_limits(lua_State *L, HttpExchange *exchange) {
  CURL *easy = exchange->easy;
  exchange->timeout = option_number(L, "timeout", DEFAULT_SECONDS);
  exchange->body.max = (size_t)option_number(L, "max_body", DEFAULT_BODY);
  long ms = (long)(exchange->timeout * 1000 + 0.999);
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, ms);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, ms);
  curl_easy_setopt(easy, CURLOPT_MAXFILESIZE_LARGE,
                   (curl_off_t)exchange->body.max);
}

void http_setup(lua_State *L, HttpExchange *exchange) {
  CURL *easy = exchange->easy = curl_easy_init();
  if (easy == NULL) luaL_error(L, "not enough memory");
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, exchange->reason);
  curl_easy_setopt(easy, CURLOPT_PRIVATE, exchange);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, SMALL_BUFFER);
  /* Do not wait for a resolver thread that hangs. */
  curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
  curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
  curl_easy_setopt(easy, CURLOPT_USERAGENT, "fulcio/" ENGINE_VERSION);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, exchange_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, exchange);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, exchange_head);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, exchange);
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, exchange_socket);
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, exchange);
  exchange_route(L, exchange);
  exchange_method(L, exchange);
  exchange_headers(L, exchange);
  exchange_sigv4(L, easy);
  exchange_limits(L, exchange);
}
