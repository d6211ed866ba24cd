/* Whether a chain of certificates leads to its anchor (RFC 5280 6). */
#include "certificate.h"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <time.h>

enum { CHAIN_MAX = 16 };

/* OpenSSL's object of a certificate; NULL when it does not like it. */
static X509 *object_of(X509Holder *holder) {
  const unsigned char *in = holder->bytes;
  if (holder->object == NULL)
    holder->object = d2i_X509(NULL, &in, (long)holder->size);
  return holder->object;
}

/* Every certificate of the path that limits its usage allows this one. */
static bool allows_code_signing(STACK_OF(X509) * path) {
  for (int i = 0; i < sk_X509_num(path); i++) {
    X509 *certificate = sk_X509_value(path, i);
    uint32_t usage = X509_get_extended_key_usage(certificate);
    /* UINT32_MAX: no such extension. */
    if (usage != UINT32_MAX && (usage & (XKU_CODE_SIGN | XKU_ANYEKU)) == 0)
      return false;
  }
  return true;
}

/* OpenSSL takes keyUsage alone for a CA's mark; what stands between the
** first and the anchor must say it in basicConstraints. */
static bool intermediates_are_cas(STACK_OF(X509) * path) {
  for (int i = 1; i < sk_X509_num(path) - 1; i++)
    if (X509_check_ca(sk_X509_value(path, i)) != 1) return false;
  return true;
}

static const char *code_of(int error) {
  return error == X509_V_ERR_CERT_HAS_EXPIRED ||
      error == X509_V_ERR_CERT_NOT_YET_VALID
    ? "expired"
    : "bad_chain";
}

/* What a verification needs, freed in one place. */
typedef struct Check {
  X509_STORE *store;
  X509_STORE_CTX *context;
  STACK_OF(X509) * others;
} Check;

static void check_free(Check *check) {
  X509_STORE_CTX_free(check->context);
  X509_STORE_free(check->store);
  sk_X509_free(check->others);
}

/* NULL when the chain is good; a reason otherwise. */
static const char *check_chain(Check *check, X509 **chain, int count,
                               time_t when, bool code_signing,
                               const char **code) {
  *code = "bad_chain";
  check->store = X509_STORE_new();
  check->context = X509_STORE_CTX_new();
  check->others = sk_X509_new_null();
  if (check->store == NULL || check->context == NULL || check->others == NULL)
    return "not enough memory";
  for (int i = 1; i < count - 1; i++)
    if (sk_X509_push(check->others, chain[i]) == 0) return "not enough memory";
  if (X509_STORE_add_cert(check->store, chain[count - 1]) != 1 ||
      X509_STORE_CTX_init(check->context, check->store, chain[0],
                          check->others) != 1)
    return "not enough memory";
  X509_STORE_CTX_set_flags(check->context, X509_V_FLAG_PARTIAL_CHAIN);
  X509_STORE_CTX_set_time(check->context, 0, when);
  if (X509_verify_cert(check->context) != 1) {
    int error = X509_STORE_CTX_get_error(check->context);
    *code = code_of(error);
    return X509_verify_cert_error_string(error);
  }
  STACK_OF(X509) *path = X509_STORE_CTX_get0_chain(check->context);
  if (!intermediates_are_cas(path)) return "a certificate is not a CA";
  if (code_signing && !allows_code_signing(path))
    return "a certificate is not for code signing";
  return NULL;
}

/* The list at index 1 as OpenSSL's objects; their number, or 0. */
static int take_chain(lua_State *L, X509 **chain) {
  luaL_checktype(L, 1, LUA_TTABLE);
  int count = (int)lua_rawlen(L, 1);
  luaL_argcheck(L, count >= 1 && count <= CHAIN_MAX, 1, "1 to 16 certificates");
  for (int i = 0; i < count; i++) {
    lua_rawgeti(L, 1, i + 1);
    chain[i] = object_of(x509_check(L, -1));
    lua_pop(L, 1);
    if (chain[i] == NULL) return 0;
  }
  return count;
}

/* x509.verify(chain, options) --> true | nil, message, code */
int chain_verify(lua_State *L) {
  static const char *const names[] = {"time", "usage", NULL};
  static const char *const usages[] = {"any", "code_signing", NULL};
  X509 *chain[CHAIN_MAX];
  Check check = {NULL, NULL, NULL};
  const char *code;
  engine_check_options(L, 2, names);
  lua_getfield(L, 2, "time");
  time_t when = (time_t)luaL_checknumber(L, -1);
  lua_getfield(L, 2, "usage");
  bool code_signing = luaL_checkoption(L, -1, "any", usages) == 1;
  int count = take_chain(L, chain);
  if (count == 0)
    return engine_ssl_fail(L, "bad_chain", "a certificate cannot be read");
  const char *reason =
    check_chain(&check, chain, count, when, code_signing, &code);
  check_free(&check);
  if (reason != NULL)
    return engine_fail(L, code, "certificate chain: %s", reason);
  ERR_clear_error();
  lua_pushboolean(L, 1);
  return 1;
}
