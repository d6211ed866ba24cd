/* Certificates, as Lua sees them: read only. */
#include "certificate.h"
#include "pem.h"

#include <openssl/crypto.h>
#include <string.h>

X509Holder *x509_check(lua_State *L, int index) {
  return luaL_checkudata(L, index, X509_TYPE);
}

static int fail(lua_State *L, const char *reason) {
  return engine_fail(L, "bad_certificate", "certificate: %s", reason);
}

/* Pushes one certificate. 0, or 3 with a failure pushed. */
static int push_certificate(lua_State *L, Slice der) {
  X509Holder *holder = lua_newuserdata(L, sizeof *holder);
  memset(holder, 0, sizeof *holder);
  luaL_setmetatable(L, X509_TYPE);
  holder->bytes = OPENSSL_memdup(der.data, der.size);
  holder->size = der.size;
  if (holder->bytes == NULL) return fail(L, "empty");
  der.data = holder->bytes;
  const char *reason = certificate_read(der, &holder->parts);
  return reason == NULL ? 0 : fail(L, reason);
}

Pkey *x509_key(X509Holder *certificate) {
  Pkey *key = &certificate->key;
  if (key->spki == NULL) key_keep_spki(key, certificate->parts.spki);
  return key;
}

bool x509_key_id(const X509Holder *certificate, Slice *id) {
  Extension extension;
  return extension_find(certificate->parts.extensions, OID_SUBJECT_KEY_ID,
                        &extension) &&
    der_take(&extension.value, DER_OCTET_STRING, id);
}

/* x509.parse(bytes) --> x509[] | nil, message, "bad_certificate" */
static int x509_parse(lua_State *L) {
  Slice text = engine_slice(L, 1), label, der;
  lua_settop(L, 1);
  unsigned char *room = lua_newuserdata(L, text.size / 4 * 3 + 3);
  int count = 0, failed = 0;
  lua_newtable(L);
  while (failed == 0 && pem_next(&text, &label, room, &der.size)) {
    if (!slice_is(label, "CERTIFICATE")) continue;
    der.data = room;
    failed = push_certificate(L, der);
    if (failed == 0) lua_rawseti(L, 3, ++count);
  }
  if (failed != 0 || count > 0) return failed != 0 ? failed : 1;
  text = engine_slice(L, 1);
  if (!der_at(text, DER_SEQUENCE)) return fail(L, "no PEM block and not DER");
  failed = push_certificate(L, text);
  if (failed != 0) return failed;
  lua_rawseti(L, 3, 1);
  return 1;
}

static void push_slice(lua_State *L, Slice slice) {
  lua_pushlstring(L, (const char *)slice.data, slice.size);
}

/* The TBS without one extension; without [3] when no other is left. */
static void push_without(lua_State *L, const Certificate *parts,
                         Slice removed) {
  Slice before = parts->extensions, after;
  before.size = (size_t)(removed.data - before.data);
  after.data = removed.data + removed.size;
  after.size = parts->extensions.size - before.size - removed.size;
  size_t list = before.size + after.size;
  size_t wrapped = list + der_header_size(list);
  size_t tail = list == 0 ? 0 : wrapped + der_header_size(wrapped);
  size_t content = parts->head.size + tail;
  Room room;
  unsigned char *out =
    engine_room(L, &room, content + der_header_size(content));
  unsigned char *at = der_header(out, DER_SEQUENCE, content);
  memcpy(at, parts->head.data, parts->head.size);
  at += parts->head.size;
  if (list > 0) {
    at = der_header(at, DER_CONSTRUCTED | 3, wrapped);
    at = der_header(at, DER_SEQUENCE, list);
    memcpy(at, before.data, before.size);
    memcpy(at + before.size, after.data, after.size);
    at += list;
  }
  lua_pushlstring(L, (const char *)out, (size_t)(at - out));
  lua_remove(L, -2);
}

/* x509.skim(der) --> fields | nil, message, "bad_certificate"
** RFC 6962 3.1: a precertificate has the critical poison, NULL; 3.3: the
** SCT list is an OCTET STRING within extnValue. */
static int x509_skim(lua_State *L) {
  static const Slice null = {(const unsigned char *)"\x05\x00", 2};
  Certificate parts;
  Extension poison, scts;
  Slice der = engine_slice(L, 1), list;
  const char *reason = certificate_read(der, &parts);
  if (reason != NULL) return fail(L, reason);
  bool poisoned = extension_find(parts.extensions, OID_POISON, &poison);
  bool stamped = extension_find(parts.extensions, OID_SCT_LIST, &scts);
  if (poisoned && stamped) return fail(L, "both poison and SCT list");
  if (poisoned && !(poison.critical && slice_equal(poison.value, null)))
    return fail(L, "CT poison ext is not critical or invalid");
  if (stamped &&
      (!der_take(&scts.value, DER_OCTET_STRING, &list) || scts.value.size != 0))
    return fail(L, "its SCT list is malformed");
  lua_newtable(L);
  if (poisoned || stamped) {
    push_without(L, &parts, poisoned ? poison.whole : scts.whole);
  } else {
    push_slice(L, parts.tbs);
  }
  lua_setfield(L, -2, "defanged");
  push_slice(L, parts.tbs);
  lua_setfield(L, -2, "tbs");
  push_slice(L, parts.issuer);
  lua_setfield(L, -2, "issuer_der");
  engine_push_hex(L, parts.serial);
  lua_setfield(L, -2, "serial");
  engine_push_time(L, parts.not_after);
  lua_setfield(L, -2, "not_after");
  lua_pushboolean(L, poisoned);
  lua_setfield(L, -2, "poisoned");
  if (stamped) {
    push_slice(L, list);
    lua_setfield(L, -2, "sct_list");
  }
  return 1;
}

/* x509:pkey() --> pkey | nil, message, "bad_key" */
static int x509_pkey(lua_State *L) {
  X509Holder *holder = x509_check(L, 1);
  if (pkey_push_spki(L, holder->parts.spki)) return 1;
  return engine_fail(L, "bad_key", "certificate key of an unknown kind");
}

/* x509:signed(der) --> true | nil, message, code */
static int x509_signed(lua_State *L) {
  X509Holder *holder = x509_check(L, 1);
  Certificate child;
  const char *reason = certificate_read(engine_slice(L, 2), &child);
  if (reason != NULL) return fail(L, reason);
  const Algorithm *algorithm = algorithm_read(child.algorithm);
  if (algorithm == NULL ||
      !algorithm_verify(algorithm, x509_key(holder), child.tbs,
                        child.signature))
    return engine_fail(L, "bad_signature", "certificate signature is wrong");
  lua_pushboolean(L, 1);
  return 1;
}

static int x509_tostring(lua_State *L) {
  X509Holder *holder = x509_check(L, 1);
  lua_pushliteral(L, "x509: ");
  name_push(L, holder->parts.subject);
  lua_concat(L, 2);
  return 1;
}

static int x509_free(lua_State *L) {
  X509Holder *holder = x509_check(L, 1);
  X509_free(holder->object);
  key_clear(&holder->key);
  OPENSSL_free(holder->bytes);
  memset(holder, 0, sizeof *holder);
  return 0;
}

static const luaL_Reg METHODS[] = {
  {"pkey", x509_pkey}, {"signed", x509_signed}, {NULL, NULL}};

static const luaL_Reg X509_FUNCTIONS[] = {{"parse", x509_parse},
                                          {"skim", x509_skim},
                                          {"verify", chain_verify},
                                          {NULL, NULL}};

int engine_open_x509(lua_State *L) {
  luaL_newmetatable(L, X509_TYPE);
  lua_newtable(L);
  luaL_setfuncs(L, METHODS, 0);
  lua_pushcclosure(L, x509_index, 1);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, x509_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pushcfunction(L, x509_free);
  lua_setfield(L, -2, "__gc");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_newtable(L);
  luaL_setfuncs(L, X509_FUNCTIONS, 0);
  return 1;
}
