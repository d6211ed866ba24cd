/* Certificates being made. A draft is written once; poisoned, stamped and
** plain are the same bytes but for the last extension and the lengths
** around it (RFC 6962 3.1 to 3.3). */
#include "certificate.h"
#include "pem.h"

#include <string.h>

#define DRAFT_TYPE "fulcio.draft"

/* `bytes`: what stands before [3], then the content of Extensions. */
typedef struct Draft {
  Serial serial;
  size_t head, size;
  unsigned char bytes[];
} Draft;

/* Extension: poison, critical, NULL. */
static const unsigned char POISON[] = {
  0x30, 0x13, 0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xd6, 0x79,
  0x02, 0x04, 0x03, 0x01, 0x01, 0xff, 0x04, 0x02, 0x05, 0x00};

/* draft.new(profile) --> draft | nil, message, code */
static int draft_new(lua_State *L) {
  Serial serial;
  size_t extensions;
  lua_settop(L, 1);
  DerWriter opened, *writer = der_writer_open(L, &opened);
  int failed = profile_write(L, writer, &serial, &extensions);
  if (failed != 0) return failed;
  Slice written = der_written(writer);
  Draft *draft = lua_newuserdata(L, sizeof *draft + written.size);
  draft->serial = serial;
  draft->head = written.size - extensions;
  draft->size = written.size;
  memcpy(draft->bytes, written.data, written.size);
  luaL_setmetatable(L, DRAFT_TYPE);
  return 1;
}

/* The TBSCertificate with one more extension at the end, or none. */
static int push_tbs(lua_State *L, const Draft *draft, Slice last) {
  size_t list = draft->size - draft->head + last.size;
  size_t wrapped = list + der_header_size(list);
  size_t content = draft->head + wrapped + der_header_size(wrapped);
  Room room;
  unsigned char *out =
    engine_room(L, &room, content + der_header_size(content));
  unsigned char *at = der_header(out, DER_SEQUENCE, content);
  memcpy(at, draft->bytes, draft->head);
  at = der_header(at + draft->head, DER_CONSTRUCTED | 3, wrapped);
  at = der_header(at, DER_SEQUENCE, list);
  memcpy(at, draft->bytes + draft->head, draft->size - draft->head);
  at += draft->size - draft->head;
  if (last.size > 0) memcpy(at, last.data, last.size);
  at += last.size;
  lua_pushlstring(L, (const char *)out, (size_t)(at - out));
  return 1;
}

/* draft:poisoned() --> tbs */
static int draft_poisoned(lua_State *L) {
  Draft *draft = luaL_checkudata(L, 1, DRAFT_TYPE);
  return push_tbs(L, draft, (Slice){POISON, sizeof POISON});
}

/* draft:plain() --> tbs */
static int draft_plain(lua_State *L) {
  return push_tbs(L, luaL_checkudata(L, 1, DRAFT_TYPE), (Slice){NULL, 0});
}

/* draft:stamped(sct_list) --> tbs */
static int draft_stamped(lua_State *L) {
  Draft *draft = luaL_checkudata(L, 1, DRAFT_TYPE);
  Slice list = engine_slice(L, 2);
  DerWriter opened, *writer = der_writer_open(L, &opened);
  der_put_value(L, writer, DER_OCTET_STRING, list);
  der_wrap(L, writer, DER_OCTET_STRING, 0);
  der_put_value(L, writer, DER_OID, OID_SCT_LIST);
  der_wrap(L, writer, DER_SEQUENCE, 0);
  return push_tbs(L, draft, der_written(writer));
}

/* Certificate ::= SEQUENCE { tbs, AlgorithmIdentifier, BIT STRING }, the
** algorithm being the one that the TBS names. */
static int push_certificate(lua_State *L, Slice tbs, Slice algorithm,
                            Slice signature) {
  size_t bits = signature.size + 1;
  size_t content = tbs.size + algorithm.size + der_header_size(bits) + bits;
  Room room;
  unsigned char *out =
    engine_room(L, &room, content + der_header_size(content));
  unsigned char *at = der_header(out, DER_SEQUENCE, content);
  memcpy(at, tbs.data, tbs.size);
  at += tbs.size;
  memcpy(at, algorithm.data, algorithm.size);
  at = der_header(at + algorithm.size, DER_BIT_STRING, bits);
  *at++ = 0;
  memcpy(at, signature.data, signature.size);
  at += signature.size;
  lua_pushlstring(L, (const char *)out, (size_t)(at - out));
  return 1;
}

static Slice check_tbs(lua_State *L, Slice *algorithm) {
  Slice tbs = engine_slice(L, 1);
  bool good = certificate_tbs_algorithm(tbs, algorithm);
  luaL_argcheck(L, good, 1, "not a TBSCertificate");
  return tbs;
}

static int join_signed(lua_State *L, Slice signature) {
  Slice algorithm, tbs = check_tbs(L, &algorithm);
  return push_certificate(L, tbs, algorithm, signature);
}

/* draft.sign(tbs, key) --> der | nil, message, code */
static int draft_sign(lua_State *L) {
  Slice named, tbs = check_tbs(L, &named);
  Pkey *key = pkey_check(L, 2);
  const Algorithm *algorithm = algorithm_of(key_shape(key));
  bool fits = algorithm != NULL && slice_equal(named, algorithm->der);
  luaL_argcheck(L, fits, 2, "key does not fit the algorithm in the TBS");
  lua_settop(L, 2);
  return pkey_sign_then(L, 2, tbs, NULL, join_signed);
}

/* draft.join(tbs, signature) --> der */
static int draft_join(lua_State *L) {
  return join_signed(L, engine_slice(L, 2));
}

/* draft.pem(der, label?, newline?) --> text */
static int draft_pem(lua_State *L) {
  Slice der = engine_slice(L, 1);
  const char *label = luaL_optstring(L, 2, "CERTIFICATE");
  if (lua_isnoneornil(L, 3))
    pem_push(L, label, der);
  else
    pem_push_lines(L, label, der, engine_slice(L, 3));
  return 1;
}

/* A method, or the field serial. */
static int draft_index(lua_State *L) {
  Draft *draft = luaL_checkudata(L, 1, DRAFT_TYPE);
  if (strcmp(luaL_checkstring(L, 2), "serial") == 0) {
    engine_push_hex(L, (Slice){draft->serial.bytes, draft->serial.size});
    return 1;
  }
  lua_pushvalue(L, 2);
  lua_rawget(L, lua_upvalueindex(1));
  return 1;
}

static const luaL_Reg METHODS[] = {{"plain", draft_plain},
                                   {"poisoned", draft_poisoned},
                                   {"stamped", draft_stamped},
                                   {NULL, NULL}};

static const luaL_Reg DRAFT[] = {{"join", draft_join},
                                 {"new", draft_new},
                                 {"pem", draft_pem},
                                 {"sign", draft_sign},
                                 {NULL, NULL}};

int engine_open_draft(lua_State *L) {
  luaL_newmetatable(L, DRAFT_TYPE);
  lua_newtable(L);
  luaL_setfuncs(L, METHODS, 0);
  lua_pushcclosure(L, draft_index, 1);
  lua_setfield(L, -2, "__index");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_newtable(L);
  luaL_setfuncs(L, DRAFT, 0);
  return 1;
}
