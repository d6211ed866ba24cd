/* What a certificate says, field by field. */
#include "certificate.h"
#include "pem.h"

#include <string.h>

static void push_slice(lua_State *L, Slice slice) {
  lua_pushlstring(L, (const char *)slice.data, slice.size);
}

static Slice whole(const X509Holder *holder) {
  return (Slice){holder->bytes, holder->size};
}

static void push_der(lua_State *L, const X509Holder *holder) {
  push_slice(L, whole(holder));
}

static void push_pem(lua_State *L, const X509Holder *holder) {
  pem_push(L, "CERTIFICATE", whole(holder));
}

static void push_tbs(lua_State *L, const X509Holder *holder) {
  push_slice(L, holder->parts.tbs);
}

static void push_subject(lua_State *L, const X509Holder *holder) {
  name_push(L, holder->parts.subject);
}

static void push_issuer(lua_State *L, const X509Holder *holder) {
  name_push(L, holder->parts.issuer);
}

static void push_subject_der(lua_State *L, const X509Holder *holder) {
  push_slice(L, holder->parts.subject);
}

static void push_issuer_der(lua_State *L, const X509Holder *holder) {
  push_slice(L, holder->parts.issuer);
}

static void push_serial(lua_State *L, const X509Holder *holder) {
  engine_push_hex(L, holder->parts.serial);
}

static void push_not_before(lua_State *L, const X509Holder *holder) {
  engine_push_time(L, holder->parts.not_before);
}

static void push_not_after(lua_State *L, const X509Holder *holder) {
  engine_push_time(L, holder->parts.not_after);
}

/* BasicConstraints ::= SEQUENCE { cA DEFAULT FALSE, pathLen OPTIONAL };
** false when it is absent or malformed. */
static bool read_constraints(const X509Holder *holder, bool *ca,
                             int *path_length) {
  Extension extension;
  Slice body;
  unsigned length;
  *ca = false;
  *path_length = -1;
  if (!extension_find(holder->parts.extensions, OID_BASIC_CONSTRAINTS,
                      &extension) ||
      !der_take(&extension.value, DER_SEQUENCE, &body))
    return false;
  if (der_at(body, DER_BOOLEAN) && !der_take_boolean(&body, ca)) return false;
  if (der_take_small(&body, &length)) *path_length = (int)length;
  return body.size == 0;
}

static void push_ca(lua_State *L, const X509Holder *holder) {
  bool ca;
  int path_length;
  bool good = read_constraints(holder, &ca, &path_length);
  lua_pushboolean(L, good && ca);
}

static void push_path_length(lua_State *L, const X509Holder *holder) {
  bool ca;
  int path_length;
  if (read_constraints(holder, &ca, &path_length) && path_length >= 0) {
    lua_pushinteger(L, path_length);
  } else {
    lua_pushnil(L);
  }
}

static void push_key_usage(lua_State *L, const X509Holder *holder) {
  usage_push_key(L, holder->parts.extensions);
}

static void push_extended_key_usage(lua_State *L, const X509Holder *holder) {
  usage_push_extended(L, holder->parts.extensions);
}

static void push_ski(lua_State *L, const X509Holder *holder) {
  Slice id;
  if (x509_key_id(holder, &id)) {
    push_slice(L, id);
  } else {
    lua_pushnil(L);
  }
}

/* AuthorityKeyIdentifier ::= SEQUENCE { keyIdentifier [0] OPTIONAL, … } */
static void push_aki(lua_State *L, const X509Holder *holder) {
  Extension extension;
  Slice body, id;
  if (extension_find(holder->parts.extensions, OID_AUTHORITY_KEY_ID,
                     &extension) &&
      der_take(&extension.value, DER_SEQUENCE, &body) &&
      der_take(&body, DER_CONTEXT, &id)) {
    push_slice(L, id);
  } else {
    lua_pushnil(L);
  }
}

static void push_san(lua_State *L, const X509Holder *holder) {
  Extension extension;
  if (extension_find(holder->parts.extensions, OID_SUBJECT_ALT_NAME,
                     &extension)) {
    san_push(L, extension.value);
  } else {
    lua_newtable(L);
  }
}

static void push_san_critical(lua_State *L, const X509Holder *holder) {
  Extension extension;
  lua_pushboolean(L,
                  extension_find(holder->parts.extensions, OID_SUBJECT_ALT_NAME,
                                 &extension) &&
                    extension.critical);
}

static void push_extensions(lua_State *L, const X509Holder *holder) {
  Slice list = holder->parts.extensions;
  Extension extension;
  lua_newtable(L);
  for (int i = 1; list.size > 0 && extension_next(&list, &extension); i++) {
    lua_newtable(L);
    if (!oid_push(L, extension.oid)) lua_pushliteral(L, "malformed");
    lua_setfield(L, -2, "oid");
    push_slice(L, extension.value);
    lua_setfield(L, -2, "value");
    lua_pushboolean(L, extension.critical);
    lua_setfield(L, -2, "critical");
    lua_rawseti(L, -2, i);
  }
}

static void push_algorithm(lua_State *L, const X509Holder *holder) {
  const Algorithm *algorithm = algorithm_read(holder->parts.algorithm);
  lua_pushstring(L, algorithm == NULL ? "0" : algorithm->name);
}

static void push_fingerprint(lua_State *L, const X509Holder *holder) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  size_t size = 0;
  digest_make("SHA-256", whole(holder), digest, &size);
  push_slice(L, (Slice){digest, size});
}

static const struct {
  const char *name;
  void (*push)(lua_State *L, const X509Holder *holder);
} FIELDS[] = {
  {"aki", push_aki},
  {"ca", push_ca},
  {"der", push_der},
  {"extended_key_usage", push_extended_key_usage},
  {"extensions", push_extensions},
  {"fingerprint", push_fingerprint},
  {"issuer", push_issuer},
  {"issuer_der", push_issuer_der},
  {"key_usage", push_key_usage},
  {"not_after", push_not_after},
  {"not_before", push_not_before},
  {"path_length", push_path_length},
  {"pem", push_pem},
  {"san", push_san},
  {"san_critical", push_san_critical},
  {"serial", push_serial},
  {"signature_algorithm", push_algorithm},
  {"ski", push_ski},
  {"subject", push_subject},
  {"subject_der", push_subject_der},
  {"tbs", push_tbs},
};

/* x509.FIELD or a method: upvalue 1 holds the methods. */
int x509_index(lua_State *L) {
  X509Holder *holder = x509_check(L, 1);
  const char *name = luaL_checkstring(L, 2);
  for (size_t i = 0; i < sizeof FIELDS / sizeof *FIELDS; i++) {
    if (strcmp(name, FIELDS[i].name) != 0) continue;
    FIELDS[i].push(L, holder);
    return 1;
  }
  lua_pushvalue(L, 2);
  lua_rawget(L, lua_upvalueindex(1));
  return 1;
}
