/* engine.pkcs11: tokens for Lua. */
#include "hsm.h"

#include <openssl/crypto.h>
#include <p11-kit/uri.h>
#include <stdlib.h>
#include <string.h>

#define SESSIONS 8
#define SESSIONS_MAX 1024
#define WAIT_SECONDS 2
#define WAIT_MAX 3600

Token *token_check(lua_State *L, int index) {
  Token **token = luaL_checkudata(L, index, TOKEN_TYPE);
  luaL_argcheck(L, *token != NULL, index, "the token is closed");
  return *token;
}

/* Pushes what the token was named by. */
static const char *push_name(lua_State *L, const Token *token) {
  const TokenName *name = &token->name;
  const char *text = name->label != NULL ? name->label : name->serial;
  if (text == NULL && name->slot >= 0)
    return lua_pushfstring(L, "in the slot of ID %d", (int)name->slot);
  if (text == NULL) text = token->serial;
  return lua_pushstring(L, text);
}

int token_fail(lua_State *L, const Token *token, const char *what, CK_RV rv) {
  const char *name = push_name(L, token);
  const Profile *profile = token->profile;
  const char *hint = ckr_trouble(rv) == TROUBLE_PIN ? profile->pin_form : NULL;
  if (rv == CKR_OURS_NO_MODULE)
    return engine_fail(L, ckr_code(rv), "loading %s: %s", token->module->path,
                       ckr_name(rv));
  return engine_fail(L, ckr_code(rv), "%s on token %s of %s: %s%s%s", what,
                     name, token->module->path, ckr_name(rv),
                     hint == NULL ? "" : "; its PIN is ",
                     hint == NULL ? "" : hint);
}

KeyName key_name_at(lua_State *L, int index) {
  KeyName name = {NULL, NULL, 0};
  lua_getfield(L, index, "label");
  if (!lua_isnil(L, -1)) name.label = (char *)luaL_checkstring(L, -1);
  lua_getfield(L, index, "id");
  if (!lua_isnil(L, -1))
    name.id = (unsigned char *)luaL_checklstring(L, -1, &name.id_size);
  lua_pop(L, 2);
  return name;
}

static char *text_at(lua_State *L, const char *name) {
  lua_getfield(L, 1, name);
  const char *text = luaL_optstring(L, -1, NULL);
  char *copy = text == NULL ? NULL : strdup(text);
  lua_pop(L, 1);
  return copy;
}

static double number_at(lua_State *L, const char *name, double otherwise) {
  lua_getfield(L, 1, name);
  double value = luaL_optnumber(L, -1, otherwise);
  lua_pop(L, 1);
  return value;
}

static void read_name(lua_State *L, TokenName *name) {
  name->label = text_at(L, "label");
  name->serial = text_at(L, "serial");
  name->maker = text_at(L, "manufacturer");
  name->model = text_at(L, "model");
  name->slot = (long)number_at(L, "slot", -1);
}

static void read_pin(lua_State *L, Token *token) {
  lua_getfield(L, 1, "pin");
  Slice pin = secret_slice(L, -1);
  if (pin.data != NULL) {
    token->pin.bytes = OPENSSL_malloc(pin.size + 1);
    if (token->pin.bytes == NULL) luaL_error(L, "not enough memory");
    memcpy(token->pin.bytes, pin.data, pin.size);
    token->pin.bytes[pin.size] = '\0';
    token->pin.size = pin.size;
  }
  lua_pop(L, 1);
}

static void read_profile(lua_State *L, Token *token) {
  lua_getfield(L, 1, "profile");
  const char *name = luaL_optstring(L, -1, NULL);
  token->profile_given = name != NULL;
  if (name == NULL) name = "generic";
  token->profile = quirk_named(name);
  if (token->profile == NULL) luaL_error(L, "unknown HSM profile \"%s\"", name);
}

static void read_sessions(lua_State *L, Token *token) {
  token->wait = number_at(L, "wait", WAIT_SECONDS);
  double sessions = number_at(L, "sessions", SESSIONS);
  if (!(sessions >= 1 && sessions <= SESSIONS_MAX))
    luaL_error(L, "sessions must be 1 to %d", SESSIONS_MAX);
  if (!(token->wait >= 0 && token->wait <= WAIT_MAX))
    luaL_error(L, "wait must be 0 to %d seconds", WAIT_MAX);
  token->sessions_max = (unsigned)sessions;
  token->idle = calloc(token->sessions_max, sizeof *token->idle);
  if (token->idle == NULL) luaL_error(L, "not enough memory");
}

static void read_options(lua_State *L, Token *token) {
  static const char *const names[] = {
    "module", "init",         "label",    "serial", "slot",   "pin",
    "login",  "profile",      "sessions", "wait",   "verify", "lock",
    "lazy",   "manufacturer", "model",    "prove",  NULL};
  static const char *const verify[] = {"sampled", "all", NULL};
  engine_check_options(L, 1, names);
  read_name(L, &token->name);
  read_pin(L, token);
  lua_getfield(L, 1, "login");
  token->login = lua_isnil(L, -1) || lua_toboolean(L, -1);
  lua_getfield(L, 1, "lazy");
  token->lazy = lua_toboolean(L, -1);
  lua_getfield(L, 1, "prove");
  token->prove = lua_toboolean(L, -1);
  lua_getfield(L, 1, "verify");
  token->verify_all = luaL_checkoption(L, -1, "sampled", verify) == 1;
  token->turn = text_at(L, "lock");
  read_profile(L, token);
  read_sessions(L, token);
  lua_getfield(L, 1, "module");
  const char *path = luaL_checkstring(L, -1);
  char *init = text_at(L, "init");
  token->module = module_open(path, init);
  free(init);
  if (token->module == NULL) luaL_error(L, "not enough memory");
  lua_settop(L, 2);
}

static Token *token_make(void) {
  Token *token = calloc(1, sizeof *token);
  if (token == NULL) return NULL;
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_mutex_init(&token->lock, NULL);
  pthread_cond_init(&token->freed, &attributes);
  pthread_condattr_destroy(&attributes);
  atomic_init(&token->users, 1);
  token->state = TOKEN_DOWN;
  token->retry_at = token_clock();
  token->why = CKR_TOKEN_NOT_PRESENT;
  return token;
}

/* pkcs11.open(options) --> token | nil, message, code */
static int pkcs11_open(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  Token **owner = lua_newuserdata(L, sizeof(Token *));
  *owner = NULL;
  luaL_setmetatable(L, TOKEN_TYPE);
  *owner = token_make();
  if (*owner == NULL) return luaL_error(L, "not enough memory");
  read_options(L, *owner);
  Token *token = *owner;
  if (token->lazy) {
    if (pool_ready(token)) return 1;
    return engine_fail(L, "hsm_busy", "no signer thread could be started");
  }
  CK_RV rv = token_connect(token);
  if (rv != CKR_OK) return token_fail(L, token, "opening", rv);
  return 1;
}

/* token:close(): also done when collected. Its keys then sign no more. */
static int token_close(lua_State *L) {
  Token **token = luaL_checkudata(L, 1, TOKEN_TYPE);
  if (*token == NULL) return 0;
  pool_stop(*token);
  token_shut(*token);
  token_release(*token);
  *token = NULL;
  return 0;
}

/* token:ready() --> true | nil, message, code */
static int token_ready(lua_State *L) {
  Token *token = token_check(L, 1);
  pthread_mutex_lock(&token->lock);
  bool up = token->state == TOKEN_UP;
  CK_RV why = token->why, ill = token->ill;
  pthread_mutex_unlock(&token->lock);
  if (!up) return token_fail(L, token, "waiting for the HSM", why);
  if (ill != CKR_OK) return token_fail(L, token, "signing", ill);
  if (pool_stuck(token))
    return token_fail(L, token, "waiting for a signature", CKR_OURS_STUCK);
  lua_pushboolean(L, 1);
  return 1;
}

/* token:still() --> seconds, seconds, seconds, boolean */
static int token_still(lua_State *L) {
  Token *token = token_check(L, 1);
  double still = pool_still(token), blocked = token_blocked(token);
  pthread_mutex_lock(&token->lock);
  bool up = token->state == TOKEN_UP;
  pthread_mutex_unlock(&token->lock);
  lua_pushnumber(L, still > blocked ? still : blocked);
  lua_pushnumber(L, token_connecting(token));
  lua_pushnumber(L, pool_idle(token));
  lua_pushboolean(L, up);
  return 4;
}

/* token:info() --> table */
static int token_info(lua_State *L) {
  Token *token = token_check(L, 1);
  CK_INFO info;
  const Profile *profile = token->profile;
  lua_createtable(L, 0, 7);
  lua_pushstring(L, profile->name);
  lua_setfield(L, -2, "profile");
  lua_pushstring(L, token->serial);
  lua_setfield(L, -2, "serial");
  lua_pushstring(L, token->model);
  lua_setfield(L, -2, "model");
  lua_pushinteger(L, token->sessions_max);
  lua_setfield(L, -2, "sessions");
  lua_pushboolean(L, !profile->no_certificates);
  lua_setfield(L, -2, "certificates");
  pthread_rwlock_rdlock(&token->module->use);
  CK_RV rv = CKR_CRYPTOKI_NOT_INITIALIZED;
  if (token->module->ctx != NULL) rv = token->module->call->C_GetInfo(&info);
  pthread_rwlock_unlock(&token->module->use);
  if (rv != CKR_OK) return 1;
  lua_pushlstring(L, (char *)info.manufacturerID, 32);
  lua_setfield(L, -2, "manufacturer");
  lua_pushlstring(L, (char *)info.libraryDescription, 32);
  lua_setfield(L, -2, "library");
  return 1;
}

/* RFC 7512 ------------------------------------------------------------- */

static void set_padded(lua_State *L, const char *name,
                       const unsigned char *field, size_t size) {
  if (field[0] == '\0') return; /* p11-kit leaves what was not said zero */
  while (size > 0 && field[size - 1] == ' ') size--;
  lua_pushlstring(L, (const char *)field, size);
  lua_setfield(L, -2, name);
}

static void set_text(lua_State *L, const char *name, const char *text) {
  if (text == NULL) return;
  lua_pushstring(L, text);
  lua_setfield(L, -2, name);
}

static void set_attribute(lua_State *L, const char *name, P11KitUri *uri,
                          CK_ATTRIBUTE_TYPE type) {
  const CK_ATTRIBUTE *attribute = p11_kit_uri_get_attribute(uri, type);
  if (attribute == NULL) return;
  lua_pushlstring(L, attribute->pValue, attribute->ulValueLen);
  lua_setfield(L, -2, name);
}

/* What of a URI is never looked at, so must not be there; NULL: nothing. */
static const char *unused_part(P11KitUri *uri) {
  const CK_INFO *module = p11_kit_uri_get_module_info(uri);
  const CK_SLOT_INFO *slot = p11_kit_uri_get_slot_info(uri);
  const CK_ATTRIBUTE *class = p11_kit_uri_get_attribute(uri, CKA_CLASS);
  if (module->libraryDescription[0] != '\0' ||
      module->manufacturerID[0] != '\0' ||
      module->libraryVersion.major != (CK_BYTE)-1)
    return "leave out library-…: module-path names the library";
  if (slot->slotDescription[0] != '\0' || slot->manufacturerID[0] != '\0')
    return "leave out slot-…: only slot-id, serial and token name a token";
  if (class != NULL && *(CK_OBJECT_CLASS *)class->pValue != CKO_PRIVATE_KEY)
    return "its type must be private";
  if (p11_kit_uri_get_pin_value(uri) != NULL &&
      p11_kit_uri_get_pin_source(uri) != NULL)
    return "give one of pin-value and pin-source";
  return NULL;
}

/* The same of the whole; result is p11-kit's. */
static const char *uri_fault(P11KitUri *uri, int result) {
  if (result != P11_KIT_URI_OK) return p11_kit_uri_message(result);
  if (p11_kit_uri_any_unrecognized(uri))
    return "it has an attribute that is not known";
  return unused_part(uri);
}

/* pkcs11.parse_uri(text) --> { token, serial, manufacturer, model, slot_id,
** object, id, module_path, pin_value, pin_source }
** | nil, message, "bad_uri" */
static int pkcs11_parse_uri(lua_State *L) {
  const char *text = luaL_checkstring(L, 1);
  lua_newtable(L);
  P11KitUri *uri = p11_kit_uri_new();
  int result = p11_kit_uri_parse(text, P11_KIT_URI_FOR_ANY, uri);
  const char *fault = uri_fault(uri, result);
  if (fault != NULL) {
    p11_kit_uri_free(uri);
    return engine_fail(L, "bad_uri",
                       "not a PKCS#11 URI of a key (RFC 7512): %s", fault);
  }
  const CK_TOKEN_INFO *info = p11_kit_uri_get_token_info(uri);
  set_padded(L, "token", info->label, sizeof info->label);
  set_padded(L, "manufacturer", info->manufacturerID,
             sizeof info->manufacturerID);
  set_padded(L, "model", info->model, sizeof info->model);
  set_padded(L, "serial", info->serialNumber, sizeof info->serialNumber);
  CK_SLOT_ID slot = p11_kit_uri_get_slot_id(uri);
  if (slot != (CK_SLOT_ID)-1) {
    lua_pushinteger(L, (lua_Integer)slot);
    lua_setfield(L, -2, "slot_id");
  }
  set_attribute(L, "object", uri, CKA_LABEL);
  set_attribute(L, "id", uri, CKA_ID);
  set_text(L, "module_path", p11_kit_uri_get_module_path(uri));
  set_text(L, "pin_value", p11_kit_uri_get_pin_value(uri));
  set_text(L, "pin_source", p11_kit_uri_get_pin_source(uri));
  p11_kit_uri_free(uri);
  return 1;
}

static const luaL_Reg token_methods[] = {
  {"key", hsmkey_open},
  {"generate", object_generate},
  {"certificates", object_certificates},
  {"store", object_store},
  {"list", object_list},
  {"info", token_info},
  {"ready", token_ready},
  {"still", token_still},
  {"probe", hsmkey_probe},
  {"close", token_close},
  {NULL, NULL},
};

static const luaL_Reg pkcs11_functions[] = {
  {"open", pkcs11_open},
  {"parse_uri", pkcs11_parse_uri},
  {NULL, NULL},
};

int engine_open_pkcs11(lua_State *L) {
  if (luaL_newmetatable(L, TOKEN_TYPE)) {
    lua_pushcfunction(L, token_close);
    lua_setfield(L, -2, "__gc");
    lua_newtable(L);
    luaL_setfuncs(L, token_methods, 0);
    lua_setfield(L, -2, "__index");
  }
  lua_pop(L, 1);
  lua_newtable(L);
  luaL_setfuncs(L, pkcs11_functions, 0);
  return 1;
}
