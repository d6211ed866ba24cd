/* Objects in a token: found, read, made, stored and listed by raw PKCS#11
** calls, where libp11 is short of a module or a key type. */
#include "hsm.h"

#include <stdlib.h>
#include <string.h>

enum { LISTED_MAX = 256 };

CK_RV object_find(Token *token, CK_SESSION_HANDLE session,
                  CK_OBJECT_CLASS class, const KeyName *name,
                  CK_OBJECT_HANDLE *found, unsigned room, unsigned *count) {
  CK_FUNCTION_LIST *call = token->module->call;
  CK_ATTRIBUTE template[3] = {{CKA_CLASS, &class, sizeof class}};
  unsigned long used = 1;
  if (name->label != NULL)
    template[used++] =
      (CK_ATTRIBUTE){CKA_LABEL, name->label, strlen(name->label)};
  if (name->id != NULL)
    template[used++] = (CK_ATTRIBUTE){CKA_ID, name->id, name->id_size};
  CK_RV rv = call->C_FindObjectsInit(session, template, used);
  if (rv != CKR_OK) return rv;
  unsigned long got = 0;
  *count = 0;
  do {
    rv = call->C_FindObjects(session, found + *count, room - *count, &got);
    *count += (unsigned)got;
  } while (rv == CKR_OK && got > 0 && *count < room);
  CK_RV final = call->C_FindObjectsFinal(session);
  return rv == CKR_OK ? final : rv;
}

CK_RV object_read(Token *token, CK_SESSION_HANDLE session,
                  CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type,
                  unsigned char **bytes, size_t *size) {
  CK_FUNCTION_LIST *call = token->module->call;
  CK_ATTRIBUTE attribute = {type, NULL, 0};
  *bytes = NULL;
  *size = 0;
  CK_RV rv = call->C_GetAttributeValue(session, object, &attribute, 1);
  if (rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_SENSITIVE)
    return CKR_OK;
  if (rv != CKR_OK) return rv;
  if (attribute.ulValueLen == 0 || attribute.ulValueLen == (CK_ULONG)-1)
    return CKR_OK;
  attribute.pValue = malloc(attribute.ulValueLen);
  rv = call->C_GetAttributeValue(session, object, &attribute, 1);
  if (rv != CKR_OK) {
    free(attribute.pValue);
    return rv;
  }
  *bytes = attribute.pValue;
  *size = attribute.ulValueLen;
  return CKR_OK;
}

/* generate ------------------------------------------------------------ */

typedef struct Algorithm {
  const char *name;
  CK_MECHANISM_TYPE mechanism;
  unsigned long bits; /* RSA */
  unsigned char oid[11];
  unsigned oid_size;
} Algorithm;

static const Algorithm algorithms[] = {
  {"P-256",
   CKM_EC_KEY_PAIR_GEN,
   0,
   {6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7},
   10},
  {"P-384", CKM_EC_KEY_PAIR_GEN, 0, {6, 5, 0x2b, 0x81, 4, 0, 0x22}, 7},
  {"P-521", CKM_EC_KEY_PAIR_GEN, 0, {6, 5, 0x2b, 0x81, 4, 0, 0x23}, 7},
  {"Ed25519", CKM_EC_EDWARDS_KEY_PAIR_GEN, 0, {6, 3, 0x2b, 0x65, 0x70}, 5},
  {"RSA-2048", CKM_RSA_PKCS_KEY_PAIR_GEN, 2048, {0}, 0},
  {"RSA-3072", CKM_RSA_PKCS_KEY_PAIR_GEN, 3072, {0}, 0},
  {"RSA-4096", CKM_RSA_PKCS_KEY_PAIR_GEN, 4096, {0}, 0},
};

static const Algorithm *algorithm_at(lua_State *L, int index) {
  lua_getfield(L, index, "algorithm");
  const char *name = luaL_checkstring(L, -1);
  for (size_t i = 0; i < sizeof algorithms / sizeof *algorithms; i++)
    if (strcmp(algorithms[i].name, name) == 0) return &algorithms[i];
  luaL_error(L, "unknown algorithm \"%s\"", name);
  return NULL;
}

static CK_RV generate(lua_State *L, Token *token, CK_SESSION_HANDLE session,
                      void *context) {
  (void)context;
  const Algorithm *algorithm = algorithm_at(L, 2);
  KeyName name = key_name_at(L, 2);
  CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
  CK_ULONG bits = algorithm->bits;
  unsigned char exponent[] = {1, 0, 1};
  CK_MECHANISM mechanism = {algorithm->mechanism, NULL, 0};
  CK_ATTRIBUTE label = {CKA_LABEL, name.label, strlen(name.label)};
  CK_ATTRIBUTE id = {CKA_ID, name.id, name.id_size};
  CK_ATTRIBUTE public[] = {
    {CKA_TOKEN, &yes, sizeof yes},
    {CKA_VERIFY, &yes, sizeof yes},
    label,
    id,
    {CKA_EC_PARAMS, (void *)algorithm->oid, algorithm->oid_size},
    {CKA_PUBLIC_EXPONENT, exponent, sizeof exponent},
  };
  CK_ULONG public_count = 5;
  if (bits != 0) {
    public[4] = (CK_ATTRIBUTE){CKA_MODULUS_BITS, &bits, sizeof bits};
    public_count = 6;
  }
  CK_ATTRIBUTE private[] = {
    {CKA_TOKEN, &yes, sizeof yes},
    {CKA_PRIVATE, &yes, sizeof yes},
    {CKA_SENSITIVE, &yes, sizeof yes},
    {CKA_EXTRACTABLE, &no, sizeof no},
    {CKA_SIGN, &yes, sizeof yes},
    label,
    id,
  };
  CK_OBJECT_HANDLE a, b;
  return token->module->call->C_GenerateKeyPair(
    session, &mechanism, public, public_count, private,
    sizeof private / sizeof *private, &a, &b);
}

/* token:generate{algorithm =, label =, id =} --> true | nil, message, code */
int object_generate(lua_State *L) {
  Token *token = token_check(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  algorithm_at(L, 2);
  KeyName name = key_name_at(L, 2);
  if (name.label == NULL || name.id == NULL)
    return luaL_error(L, "a new key needs a label and an id");
  CK_RV rv = token_work(L, token, generate, NULL);
  if (rv != CKR_OK) return token_fail(L, token, "generating a key", rv);
  lua_pushboolean(L, 1);
  return 1;
}

/* certificates -------------------------------------------------------- */

/* The field of the table at 2, as an attribute. */
static CK_ATTRIBUTE field(lua_State *L, CK_ATTRIBUTE_TYPE type,
                          const char *name) {
  size_t size;
  lua_getfield(L, 2, name);
  const char *bytes = luaL_checklstring(L, -1, &size);
  return (CK_ATTRIBUTE){type, (void *)bytes, size};
}

static CK_RV store(lua_State *L, Token *token, CK_SESSION_HANDLE session,
                   void *context) {
  (void)context;
  CK_OBJECT_CLASS class = CKO_CERTIFICATE;
  CK_CERTIFICATE_TYPE type = CKC_X_509;
  CK_BBOOL yes = CK_TRUE;
  CK_ATTRIBUTE template[] = {
    {CKA_CLASS, &class, sizeof class},
    {CKA_CERTIFICATE_TYPE, &type, sizeof type},
    {CKA_TOKEN, &yes, sizeof yes},
    field(L, CKA_ID, "id"),
    field(L, CKA_LABEL, "label"),
    field(L, CKA_SUBJECT, "subject"),
    field(L, CKA_ISSUER, "issuer"),
    field(L, CKA_SERIAL_NUMBER, "serial"),
    field(L, CKA_VALUE, "der"),
  };
  CK_OBJECT_HANDLE object;
  return token->module->call->C_CreateObject(
    session, template, sizeof template / sizeof *template, &object);
}

/* token:store{id =, label =, der =, subject =, issuer =, serial =}, the
** names and the serial number as DER --> true | nil, message, code */
int object_store(lua_State *L) {
  Token *token = token_check(L, 1);
  static const char *const fields[] = {"id",     "label",  "subject",
                                       "issuer", "serial", "der"};
  luaL_checktype(L, 2, LUA_TTABLE);
  const Profile *profile = token->profile;
  if (profile->no_certificates)
    return engine_fail(L, "unsupported",
                       "profile %s keeps no certificates in the token",
                       profile->name);
  for (unsigned i = 0; i < sizeof fields / sizeof *fields; i++)
    field(L, 0, fields[i]);
  lua_settop(L, 2);
  CK_RV rv = token_work(L, token, store, NULL);
  if (rv != CKR_OK) return token_fail(L, token, "storing a certificate", rv);
  lua_pushboolean(L, 1);
  return 1;
}

static CK_RV push_certificates(lua_State *L, Token *token,
                               CK_SESSION_HANDLE session, void *context) {
  (void)context;
  KeyName name = key_name_at(L, 2);
  CK_OBJECT_HANDLE found[LISTED_MAX];
  unsigned count;
  CK_RV rv = object_find(token, session, CKO_CERTIFICATE, &name, found,
                         LISTED_MAX, &count);
  if (rv != CKR_OK) return rv;
  lua_settop(L, 2);
  lua_newtable(L);
  for (unsigned i = 0; i < count && rv == CKR_OK; i++) {
    unsigned char *der;
    size_t size;
    rv = object_read(token, session, found[i], CKA_VALUE, &der, &size);
    lua_pushlstring(L, (char *)der, size);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    free(der);
  }
  return rv;
}

/* token:certificates{id =, label =} --> DERs | nil, message, code */
int object_certificates(lua_State *L) {
  Token *token = token_check(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  CK_RV rv = token_work(L, token, push_certificates, NULL);
  return rv == CKR_OK ? 1 : token_fail(L, token, "reading certificates", rv);
}

/* list ---------------------------------------------------------------- */

static void push_text(lua_State *L, Token *token, CK_SESSION_HANDLE session,
                      CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type,
                      const char *name) {
  unsigned char *bytes;
  size_t size;
  if (object_read(token, session, object, type, &bytes, &size) != CKR_OK)
    return;
  lua_pushlstring(L, (char *)bytes, size);
  lua_setfield(L, -2, name);
  free(bytes);
}

static CK_RV push_list(lua_State *L, Token *token, CK_SESSION_HANDLE session,
                       void *context) {
  (void)context;
  static const struct {
    CK_OBJECT_CLASS class;
    const char *word;
  } classes[] = {{CKO_PRIVATE_KEY, "private key"},
                 {CKO_PUBLIC_KEY, "public key"},
                 {CKO_CERTIFICATE, "certificate"}};
  lua_settop(L, 1);
  lua_newtable(L);
  CK_RV rv = CKR_OK;
  for (int c = 0; c < 3 && rv == CKR_OK; c++) {
    CK_OBJECT_HANDLE found[LISTED_MAX];
    unsigned count;
    const KeyName any = {NULL, NULL, 0};
    rv = object_find(token, session, classes[c].class, &any, found, LISTED_MAX,
                     &count);
    for (unsigned i = 0; rv == CKR_OK && i < count; i++) {
      lua_newtable(L);
      lua_pushstring(L, classes[c].word);
      lua_setfield(L, -2, "class");
      push_text(L, token, session, found[i], CKA_LABEL, "label");
      push_text(L, token, session, found[i], CKA_ID, "id");
      lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    }
  }
  return rv;
}

/* token:list() --> { class, label, id }[] | nil, message, code */
int object_list(lua_State *L) {
  Token *token = token_check(L, 1);
  CK_RV rv = token_work(L, token, push_list, NULL);
  return rv == CKR_OK ? 1 : token_fail(L, token, "listing objects", rv);
}
