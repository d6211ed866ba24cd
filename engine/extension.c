/* Contents of extensions, encoded. */
#include "certificate.h"

static int push_written(lua_State *L, const DerWriter *writer) {
  Slice der = der_written(writer);
  lua_pushlstring(L, (const char *)der.data, der.size);
  return 1;
}

/* extension.utf8(text) --> der | nil, message, "bad_utf8" */
static int extension_utf8(lua_State *L) {
  Slice text = engine_slice(L, 1);
  if (!engine_is_utf8(text))
    return engine_fail(L, "bad_utf8", "text is not UTF-8");
  DerWriter opened, *writer = der_writer_open(L, &opened);
  der_put_value(L, writer, DER_UTF8_STRING, text);
  return push_written(L, writer);
}

/* extension.oid(dots) --> der | nil, message, "bad_oid" */
static int extension_oid(lua_State *L) {
  unsigned char bytes[OID_MAX];
  Slice text = engine_slice(L, 1);
  size_t size = oid_encode(text, bytes);
  if (size == 0)
    return engine_fail(L, "bad_oid", "%.128s: not an object identifier",
                       (const char *)text.data);
  DerWriter opened, *writer = der_writer_open(L, &opened);
  der_put_value(L, writer, DER_OID, (Slice){bytes, size});
  return push_written(L, writer);
}

/* extension.san(name) --> der | nil, message, code */
static int extension_san(lua_State *L) {
  lua_settop(L, 1);
  DerWriter opened, *writer = der_writer_open(L, &opened);
  int failed = san_put(L, writer, 1);
  return failed != 0 ? failed : push_written(L, writer);
}

static const luaL_Reg EXTENSION[] = {{"oid", extension_oid},
                                     {"san", extension_san},
                                     {"utf8", extension_utf8},
                                     {NULL, NULL}};

int engine_open_extension(lua_State *L) {
  lua_newtable(L);
  luaL_setfuncs(L, EXTENSION, 0);
  return 1;
}
