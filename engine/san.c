/* subjectAltName (RFC 5280 4.2.1.6). */
#include "certificate.h"

#include <arpa/inet.h>
#include <string.h>

enum { OTHER = 0, EMAIL = 1, DNS = 2, URI = 6, IP = 7 };

/* Ours are read by many programs, as C strings by some. */
static bool is_plain_ascii(Slice text) {
  for (size_t i = 0; i < text.size; i++)
    if (text.data[i] < 0x20 || text.data[i] > 0x7e) return false;
  return true;
}

/* [0] OtherName ::= { type-id OID, value [0] EXPLICIT UTF8String } */
static int put_other(lua_State *L, DerWriter *writer, int index, Slice text) {
  unsigned char oid[OID_MAX];
  size_t mark = der_mark(writer);
  lua_getfield(L, index, "oid");
  size_t size = oid_encode(engine_slice(L, lua_gettop(L)), oid);
  if (size == 0) return luaL_error(L, "oid of an other name is no OID");
  if (!engine_is_utf8(text) || memchr(text.data, 0, text.size) != NULL)
    return engine_fail(L, "bad_utf8", "subject name is not UTF-8");
  der_put_value(L, writer, DER_UTF8_STRING, text);
  der_wrap(L, writer, DER_CONSTRUCTED, mark);
  der_put_value(L, writer, DER_OID, (Slice){oid, size});
  der_wrap(L, writer, DER_CONSTRUCTED, mark);
  lua_pop(L, 1);
  return 0;
}

int san_put(lua_State *L, DerWriter *writer, int index) {
  static const char *const types[] = {"email", "uri", "other", NULL};
  static const char *const options[] = {"type", "value", "oid", NULL};
  size_t mark = der_mark(writer);
  engine_check_options(L, index, options);
  lua_getfield(L, index, "type");
  int type = luaL_checkoption(L, -1, NULL, types);
  lua_getfield(L, index, "value");
  Slice text = engine_slice(L, lua_gettop(L));
  int failed = 0;
  if (type == 2) {
    failed = put_other(L, writer, index, text);
  } else if (!is_plain_ascii(text)) {
    failed = engine_fail(L, "not_ascii",
                         "x509: \"%.256s\" cannot be encoded as an IA5String",
                         (const char *)text.data);
  } else {
    der_put_value(L, writer, DER_CONTEXT | (type == 0 ? EMAIL : URI), text);
  }
  if (failed != 0) return failed;
  der_wrap(L, writer, DER_SEQUENCE, mark);
  lua_pop(L, 2);
  return 0;
}

static void push_entry(lua_State *L, const char *type, Slice value) {
  lua_newtable(L);
  lua_pushstring(L, type);
  lua_setfield(L, -2, "type");
  lua_pushlstring(L, (const char *)value.data, value.size);
  lua_setfield(L, -2, "value");
}

/* One entry for an OtherName; what is no UTF8String is only shown. */
static void push_other(lua_State *L, Slice whole, Slice content) {
  Slice oid, wrapper, text;
  if (!der_take(&content, DER_OID, &oid) ||
      !der_take(&content, DER_CONSTRUCTED, &wrapper) || content.size != 0) {
    push_entry(L, "malformed", whole);
    return;
  }
  bool good = der_take(&wrapper, DER_UTF8_STRING, &text) && wrapper.size == 0 &&
    engine_is_utf8(text);
  push_entry(L, good ? "other" : "unknown", good ? text : whole);
  if (oid_push(L, oid)) lua_setfield(L, -2, "oid");
}

static void push_address(lua_State *L, Slice whole, Slice content) {
  char text[INET6_ADDRSTRLEN];
  int family = content.size == 4 ? AF_INET : AF_INET6;
  if (content.size != 4 && content.size != 16) {
    push_entry(L, "malformed", whole);
    return;
  }
  inet_ntop(family, content.data, text, sizeof text);
  push_entry(L, "ip", (Slice){(unsigned char *)text, strlen(text)});
}

static void push_name(lua_State *L, unsigned tag, Slice whole, Slice content) {
  switch (tag) {
    case DER_CONTEXT | EMAIL: push_entry(L, "email", content); break;
    case DER_CONTEXT | DNS: push_entry(L, "dns", content); break;
    case DER_CONTEXT | URI: push_entry(L, "uri", content); break;
    case DER_CONTEXT | IP: push_address(L, whole, content); break;
    case DER_CONSTRUCTED | OTHER: push_other(L, whole, content); break;
    default: push_entry(L, "unknown", whole);
  }
}

void san_push(lua_State *L, Slice value) {
  Slice all = value, names, content;
  unsigned tag;
  int count = 0;
  lua_newtable(L);
  if (!der_take(&value, DER_SEQUENCE, &names) || value.size != 0) {
    push_entry(L, "malformed", all);
    lua_rawseti(L, -2, 1);
    return;
  }
  while (names.size > 0) {
    Slice whole = names;
    if (der_take_any(&names, &tag, &content)) {
      whole.size -= names.size;
      push_name(L, tag, whole, content);
    } else {
      push_entry(L, "malformed", names);
      names.size = 0;
    }
    lua_rawseti(L, -2, ++count);
  }
}
