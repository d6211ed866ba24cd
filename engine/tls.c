/* Certificates and keys of listeners that speak TLS, from files that may
** change. */
#include "key.h"
#include "server.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <string.h>

/* Forward secret and authenticated; TLS 1.3 has no others (RFC 9113 section
** 9.2.2 forbids the rest for HTTP/2). */
#define CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20"

/* Uservalues: 1 the certificate's path, 2 the key's. */
struct Tls {
  SSL_CTX *context;
};
typedef struct Tls Tls;

/* As ALPN lists them (RFC 7301 section 3.1), the best first. */
static const unsigned char protocols[] = "\x02h2\x08http/1.1";

static int choose_protocol(SSL *ssl, const unsigned char **out,
                           unsigned char *size, const unsigned char *offered,
                           unsigned offered_size, void *context) {
  (void)ssl, (void)context;
  unsigned char *chosen = NULL;
  int found = SSL_select_next_proto(
    &chosen, size, protocols, sizeof protocols - 1, offered, offered_size);
  *out = chosen;
  return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK
                                         : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* No tickets: another process, or this one after a reload, could not open
** them, and one that leaks would open what was said. */
static SSL_CTX *context_new(void) {
  SSL_CTX *context = SSL_CTX_new(TLS_server_method());
  if (context == NULL) return NULL;
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_options(context,
                      SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                        SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(context,
                   SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                     SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
  if (SSL_CTX_set_cipher_list(context, CIPHERS) == 1) return context;
  SSL_CTX_free(context);
  return NULL;
}

/* The certificate, and those that lead from it towards a root. With an
** empty password OpenSSL does not ask a terminal. */
static bool use_chain(SSL_CTX *context, const char *path) {
  static char password[] = "";
  SSL_CTX_set_default_passwd_cb_userdata(context, password);
  return SSL_CTX_use_certificate_chain_file(context, path) == 1;
}

/* Puts both into a new context. NULL, or what is wrong with which. */
static const char *use_pair(SSL_CTX *context, const char *certificate,
                            EVP_PKEY *key) {
  if (!use_chain(context, certificate)) return "bad_certificate";
  bool fits = SSL_CTX_use_PrivateKey(context, key) == 1 &&
    SSL_CTX_check_private_key(context) == 1;
  return fits ? NULL : "bad_key";
}

static int load_failed(lua_State *L, const char *code, const char *certificate,
                       const char *key) {
  bool chain = strcmp(code, "bad_certificate") == 0;
  lua_pushfstring(L,
                  chain ? "%s: no certificate that can be used"
                        : "%s: not the key of the certificate",
                  chain ? certificate : key);
  return engine_ssl_fail(L, code, lua_tostring(L, -1));
}

/* The Tls at 1. 1, or 3 with a failure pushed: then what it had stays. */
static int tls_load(lua_State *L, Tls *tls) {
  lua_settop(L, 1);
  lua_getiuservalue(L, 1, 1);
  lua_getiuservalue(L, 1, 2);
  const char *certificate = lua_tostring(L, 2), *path = lua_tostring(L, 3);
  lua_pushcfunction(L, keyfile_open);
  lua_pushvalue(L, 3);
  lua_call(L, 1, 3);
  if (lua_isnil(L, 4)) return 3;
  Pkey *key = pkey_check(L, 4);
  SSL_CTX *context = context_new();
  if (context == NULL)
    return engine_ssl_fail(L, "failed", "cannot prepare TLS");
  const char *wrong = use_pair(context, certificate, key->key);
  if (wrong != NULL) {
    SSL_CTX_free(context);
    return load_failed(L, wrong, certificate, path);
  }
  SSL_CTX_free(tls->context);
  tls->context = context;
  return 1;
}

/* tls:reload() --> true | nil, message, code */
static int tls_reload(lua_State *L) {
  int results = tls_load(L, luaL_checkudata(L, 1, TLS_TYPE));
  if (results == 1) lua_pushboolean(L, true);
  return results;
}

static void set_path(lua_State *L, const char *name, int place) {
  lua_getfield(L, 1, name);
  luaL_checktype(L, -1, LUA_TSTRING);
  lua_setiuservalue(L, -2, place);
}

/* server.tls{certificate, key} --> tls | nil, message, code */
static int server_tls(lua_State *L) {
  static const char *const names[] = {"certificate", "key", NULL};
  luaL_checktype(L, 1, LUA_TTABLE);
  engine_check_options(L, 1, names);
  lua_settop(L, 1);
  Tls *tls = lua_newuserdatauv(L, sizeof *tls, 2);
  tls->context = NULL;
  luaL_setmetatable(L, TLS_TYPE);
  set_path(L, "certificate", 1);
  set_path(L, "key", 2);
  lua_replace(L, 1);
  int results = tls_load(L, tls);
  if (results == 1) lua_pushvalue(L, 1);
  return results;
}

struct ssl_st *tls_accept(Tls *tls) {
  SSL *ssl = SSL_new(tls->context);
  if (ssl != NULL) SSL_set_accept_state(ssl);
  return ssl;
}

static int tls_gc(lua_State *L) {
  Tls *tls = luaL_checkudata(L, 1, TLS_TYPE);
  SSL_CTX_free(tls->context);
  tls->context = NULL;
  return 0;
}

void tls_register(lua_State *L) {
  static const luaL_Reg methods[] = {
    {"reload", tls_reload},
    {NULL, NULL},
  };
  luaL_newmetatable(L, TLS_TYPE);
  lua_pushcfunction(L, tls_gc);
  lua_setfield(L, -2, "__gc");
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  lua_pushcfunction(L, server_tls);
  lua_setfield(L, -2, "tls");
}
