/* A private key in a token, and one signature by it with the recovery that
** each return code asks for. */
#include "hsm.h"

#include "der.h"
#include "key.h"

#include <openssl/ecdsa.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What finding a key brings; all owned. */
typedef struct Found {
  const KeyName *name;
  CK_KEY_TYPE type;
  unsigned char *label, *id;
  size_t label_size, id_size;
  unsigned char *first, *second; /* params and point, or modulus and e */
  size_t first_size, second_size;
} Found;

static void found_free(Found *found) {
  free(found->label);
  free(found->id);
  free(found->first);
  free(found->second);
}

void hsmkey_release(HsmKey *key) {
  if (atomic_fetch_sub(&key->users, 1) > 1) return;
  EVP_PKEY_free(key->public);
  free(key->name.label);
  free(key->name.id);
  token_release(key->token);
  free(key);
}

static CK_RV only_one(Token *token, CK_SESSION_HANDLE session,
                      CK_OBJECT_CLASS class, const KeyName *name,
                      CK_OBJECT_HANDLE *object) {
  CK_OBJECT_HANDLE objects[2];
  unsigned count;
  CK_RV rv = object_find(token, session, class, name, objects, 2, &count);
  if (rv != CKR_OK) return rv;
  if (count == 0) return CKR_OURS_NO_KEY;
  *object = objects[0];
  return count == 1 ? CKR_OK : CKR_OURS_TWO_KEYS;
}

static CK_RV read_public(Token *token, CK_SESSION_HANDLE session,
                         CK_OBJECT_HANDLE object, Found *found) {
  bool rsa = found->type == CKK_RSA;
  free(found->first);
  free(found->second);
  found->first = found->second = NULL;
  CK_RV rv =
    object_read(token, session, object, rsa ? CKA_MODULUS : CKA_EC_PARAMS,
                &found->first, &found->first_size);
  if (rv != CKR_OK) return rv;
  return object_read(token, session, object,
                     rsa ? CKA_PUBLIC_EXPONENT : CKA_EC_POINT, &found->second,
                     &found->second_size);
}

/* The public object of the same CKA_ID and label, or of what the private
** one has of them. */
static CK_RV find_twin(Token *token, CK_SESSION_HANDLE session,
                       const Found *found, CK_OBJECT_HANDLE *object) {
  KeyName twin = {NULL, found->id, found->id_size};
  twin.label = found->label == NULL
    ? NULL
    : strndup((const char *)found->label, found->label_size);
  CK_RV rv = only_one(token, session, CKO_PUBLIC_KEY, &twin, object);
  free(twin.label);
  twin.label = NULL;
  if (rv == CKR_OURS_NO_KEY && twin.id != NULL)
    rv = only_one(token, session, CKO_PUBLIC_KEY, &twin, object);
  return rv;
}

/* The public half is on the private object, or on its twin. */
static CK_RV find(lua_State *L, Token *token, CK_SESSION_HANDLE session,
                  void *context) {
  (void)L;
  Found *found = context;
  CK_OBJECT_HANDLE object;
  CK_ATTRIBUTE type = {CKA_KEY_TYPE, &found->type, sizeof found->type};
  CK_RV rv = only_one(token, session, CKO_PRIVATE_KEY, found->name, &object);
  if (rv == CKR_OK)
    rv = token->module->call->C_GetAttributeValue(session, object, &type, 1);
  if (rv == CKR_OK)
    rv = object_read(token, session, object, CKA_LABEL, &found->label,
                     &found->label_size);
  if (rv == CKR_OK)
    rv =
      object_read(token, session, object, CKA_ID, &found->id, &found->id_size);
  if (rv == CKR_OK) rv = read_public(token, session, object, found);
  if (rv != CKR_OK || (found->first != NULL && found->second != NULL))
    return rv;
  if (find_twin(token, session, found, &object) != CKR_OK) return CKR_OK;
  return read_public(token, session, object, found);
}

/* SubjectPublicKeyInfo -------------------------------------------------- */

static const unsigned char EC_OID[] = {6,    7,    0x2a, 0x86, 0x48,
                                       0xce, 0x3d, 2,    1};
static const unsigned char RSA_OID[] = {6,    9, 0x2a, 0x86, 0x48, 0x86, 0xf7,
                                        0x0d, 1, 1,    1,    5,    0};
static const unsigned char ED25519_OID[] = {6, 3, 0x2b, 0x65, 0x70};

/* CKA_EC_POINT is an OCTET STRING of the point; some modules give the
** point itself. */
static Slice point_of(const Found *found) {
  Slice whole = {found->second, found->second_size}, inner;
  Slice rest = whole;
  if (der_take(&rest, DER_OCTET_STRING, &inner) && rest.size == 0) return inner;
  return whole;
}

static void put_bits(lua_State *L, DerWriter *writer, Slice bits) {
  size_t mark = der_mark(writer);
  der_put(L, writer, bits);
  der_put_byte(L, writer, 0);
  der_wrap(L, writer, DER_BIT_STRING, mark);
}

/* Pushes a public key from what was found; false: it is of no use. */
static bool push_public(lua_State *L, const Found *found) {
  if (found->first == NULL || found->second == NULL) return false;
  Slice first = {found->first, found->first_size};
  Slice second = {found->second, found->second_size};
  DerWriter opened, *writer = der_writer_open(L, &opened);
  if (found->type == CKK_RSA) {
    size_t mark = der_mark(writer);
    der_put_unsigned(L, writer, second);
    der_put_unsigned(L, writer, first);
    der_wrap(L, writer, DER_SEQUENCE, mark);
    der_put_byte(L, writer, 0);
    der_wrap(L, writer, DER_BIT_STRING, mark);
  } else {
    put_bits(L, writer, point_of(found));
  }
  size_t mark = der_mark(writer);
  if (found->type == CKK_RSA) {
    der_put(L, writer, (Slice){RSA_OID, sizeof RSA_OID});
  } else if (found->type == CKK_EC) {
    der_put(L, writer, first);
    der_put(L, writer, (Slice){EC_OID, sizeof EC_OID});
  } else {
    der_put(L, writer, (Slice){ED25519_OID, sizeof ED25519_OID});
  }
  der_wrap(L, writer, DER_SEQUENCE, mark);
  der_wrap(L, writer, DER_SEQUENCE, 0);
  return pkey_push_spki(L, der_written(writer));
}

/* token:key ------------------------------------------------------------- */

static HsmKey *owned(lua_State *L, const Pkey *pkey) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, pkey->signer_ref);
  HsmKey *key = *(HsmKey **)lua_touserdata(L, -1);
  lua_pop(L, 1);
  return key;
}

static int start(lua_State *L, HsmKey *key, Signing *signing, bool probe) {
  if (signing == NULL) return luaL_error(L, "not enough memory");
  if (loop_owns != NULL && loop_owns(L) && !token_is_shut(key->token))
    return pool_sign(L, signing, probe);
  signing_run(signing);
  int results = signing_push(L, signing);
  signing_free(signing);
  return results;
}

static int hsmkey_sign(lua_State *L, Pkey *pkey, Slice data, const char *hash) {
  HsmKey *key = owned(L, pkey);
  return start(L, key, signing_make(key, data, hash), false);
}

/* token:probe(key) --> signature | nil, message, code */
int hsmkey_probe(lua_State *L) {
  static const char text[] = "fulcio probe";
  Token *token = token_check(L, 1);
  Pkey *pkey = pkey_check(L, 2);
  bool ours = pkey->signer == hsmkey_sign && owned(L, pkey)->token == token;
  luaL_argcheck(L, ours, 2, "a key of this token expected");
  Slice data = {(const unsigned char *)text, sizeof text - 1};
  HsmKey *key = owned(L, pkey);
  const char *hash = key_shape(pkey)->hash;
  return start(L, key, signing_make(key, data, hash), true);
}

static int owner_collect(lua_State *L) {
  HsmKey **owner = lua_touserdata(L, 1);
  if (*owner != NULL) hsmkey_release(*owner);
  *owner = NULL;
  return 0;
}

/* Pushes a userdata that holds one reference to a new key. */
static HsmKey *push_owner(lua_State *L, Token *token) {
  HsmKey **owner = lua_newuserdata(L, sizeof(HsmKey *));
  *owner = NULL;
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, owner_collect);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  HsmKey *key = calloc(1, sizeof *key);
  if (key == NULL) {
    luaL_error(L, "not enough memory");
    return NULL;
  }
  atomic_init(&key->users, 1);
  atomic_fetch_add(&token->users, 1);
  key->token = token;
  *owner = key;
  return key;
}

static void remember(HsmKey *key, const KeyName *name, Pkey *pkey) {
  key->name.label = name->label == NULL ? NULL : strdup(name->label);
  key->name.id_size = name->id_size;
  if (name->id != NULL) {
    key->name.id = malloc(name->id_size + 1);
    if (key->name.id != NULL) memcpy(key->name.id, name->id, name->id_size);
  }
  key->public = pkey_object(pkey);
  EVP_PKEY_up_ref(key->public);
  key->type = EVP_PKEY_get_base_id(key->public);
  key->field = (unsigned)(EVP_PKEY_get_bits(key->public) + 7) / 8;
}

/* Pushes the public half that the caller gave, or nil, message, code. */
static int push_given(lua_State *L, const Token *token, const KeyName *name) {
  lua_getfield(L, 2, "public");
  if (lua_isnil(L, -1))
    return engine_fail(
      L, "unsupported",
      "the key %s on token %s has no public half of a kind that is known",
      name->label == NULL ? "" : name->label,
      token->name.label == NULL ? token->serial : token->name.label);
  if (!pkey_push_spki(L, pkey_spki(pkey_check(L, -1))))
    return engine_fail(L, "unsupported", "a key of an unknown kind");
  return 0;
}

/* Whether it is enough to know the public half: the token looks for the
** private one when it is used. */
static bool is_lazy(lua_State *L, const Token *token) {
  lua_getfield(L, 2, "public");
  bool given = !lua_isnil(L, -1);
  lua_pop(L, 1);
  return token->lazy && given;
}

/* token:key{label =, id =, public =} --> pkey | nil, message, code.
** `public` (a pkey) stands in where the token has no public half. */
int hsmkey_open(lua_State *L) {
  Token *token = token_check(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  KeyName name = key_name_at(L, 2);
  Found found = {.name = &name};
  CK_RV rv = CKR_OK;
  if (!is_lazy(L, token)) rv = token_work(L, token, find, &found);
  bool pushed = rv == CKR_OK && push_public(L, &found);
  found_free(&found);
  if (rv != CKR_OK) return token_fail(L, token, "finding the key", rv);
  int failed = pushed ? 0 : push_given(L, token, &name);
  if (failed != 0) return failed;
  Pkey *pkey = pkey_check(L, -1);
  HsmKey *key = push_owner(L, token);
  remember(key, &name, pkey);
  pkey->signer_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  pkey->signer = hsmkey_sign;
  pkey->is_private = true;
  return 1;
}
