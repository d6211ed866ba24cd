/* Protocol Buffers' wire format, by tables of fields: a message type is a
** list of { number, name, type [, detail] }, with `repeated` and `oneof`
** where they apply; `detail` of a message is its type. */
#include "engine.h"

#include <string.h>

#define MAX_DEPTH 16
#define MAX_NUMBER 536870911
#define MAX_VARINT 10 /* bytes of 64 bits */
/* Values of one message that wait on Lua's stack, at most. */
#define STACK 12

/* Groups (3, 4) are not in proto3. */
enum { VARINT = 0, FIXED64 = 1, DELIMITED = 2, FIXED32 = 5 };

typedef enum Kind { STRING, BYTES, MESSAGE, BOOL, NUMBER } Kind;

static unsigned wire_of(Kind kind) {
  return kind == BOOL || kind == NUMBER ? VARINT : DELIMITED;
}

/* fields ------------------------------------------------------------ */

/* Pushes the name of the field at `field`. */
static const char *push_name(lua_State *L, int field) {
  lua_rawgeti(L, field, 2);
  return luaL_checkstring(L, -1);
}

static Kind kind_of(lua_State *L, int field) {
  static const struct {
    const char *name;
    Kind kind;
  } kinds[] = {
    {"string", STRING}, {"bytes", BYTES},  {"message", MESSAGE},
    {"enum", NUMBER},   {"int32", NUMBER}, {"bool", BOOL},
  };
  lua_rawgeti(L, field, 3);
  const char *name = luaL_checkstring(L, -1);
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    if (strcmp(kinds[i].name, name) != 0) continue;
    lua_pop(L, 1);
    return kinds[i].kind;
  }
  luaL_error(L, "a field of protobuf cannot be \"%s\"", name);
  return BOOL;
}

static uint32_t number_of(lua_State *L, int field) {
  lua_rawgeti(L, field, 1);
  uint32_t number = (uint32_t)lua_tointeger(L, -1);
  lua_pop(L, 1);
  return number;
}

static bool is_repeated(lua_State *L, int field) {
  lua_getfield(L, field, "repeated");
  bool repeated = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return repeated;
}

/* Pushes field `i` of a type; where it is. */
static int push_field(lua_State *L, int type, int i) {
  lua_rawgeti(L, type, i);
  luaL_checktype(L, -1, LUA_TTABLE);
  return lua_gettop(L);
}

/* Pushes the field of that number; 0, and nothing pushed: there is none. */
static int push_numbered(lua_State *L, int type, uint64_t number) {
  int count = (int)lua_rawlen(L, type);
  for (int i = 1; i <= count; i++) {
    int field = push_field(L, type, i);
    if (number_of(L, field) == number) return field;
    lua_pop(L, 1);
  }
  return 0;
}

/* Pushes the type of a field that is a message; where it is. */
static int push_type(lua_State *L, int field) {
  lua_rawgeti(L, field, 4);
  luaL_checktype(L, -1, LUA_TTABLE);
  return lua_gettop(L);
}

/* reading ----------------------------------------------------------- */

/* Leaves a message on top of the stack, and returns false. */
static bool fail(lua_State *L, const char *what) {
  lua_pushstring(L, what);
  return false;
}

static bool fail_in(lua_State *L, int field, const char *what) {
  lua_pushfstring(L, "field %s is %s", push_name(L, field), what);
  return false;
}

static void skip(Slice *in, size_t size) {
  in->data += size;
  in->size -= size;
}

/* False: cut short, or of more than 64 bits. */
static bool take_varint(Slice *in, uint64_t *value) {
  *value = 0;
  for (size_t i = 0; i < MAX_VARINT && i < in->size; i++) {
    uint64_t bits = in->data[i];
    if (i == MAX_VARINT - 1 && bits > 1) return false;
    *value |= (bits & 0x7f) << (7 * i);
    if (bits < 0x80) {
      skip(in, i + 1);
      return true;
    }
  }
  return false;
}

static bool take(Slice *in, uint64_t size, Slice *out) {
  if (size > in->size) return false;
  *out = (Slice){in->data, (size_t)size};
  skip(in, (size_t)size);
  return true;
}

static bool take_delimited(Slice *in, Slice *out) {
  uint64_t size;
  return take_varint(in, &size) && take(in, size, out);
}

/* Passes over a field that the type does not have. */
static bool take_unknown(Slice *in, unsigned wire) {
  uint64_t value;
  Slice out;
  switch (wire) {
    case VARINT: return take_varint(in, &value);
    case FIXED64: return take(in, 8, &out);
    case FIXED32: return take(in, 4, &out);
    case DELIMITED: return take_delimited(in, &out);
    default: return false;
  }
}

/* Of a oneof, the member that was sent last is the one that there is. */
static void choose(lua_State *L, int result, int field) {
  lua_getfield(L, field, "oneof");
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    return;
  }
  push_name(L, field);
  lua_pushvalue(L, -2);
  lua_rawget(L, result);
  if (!lua_isnil(L, -1) && !lua_rawequal(L, -1, -2)) {
    lua_pushvalue(L, -1);
    lua_pushnil(L);
    lua_rawset(L, result);
  }
  lua_pop(L, 1);
  lua_rawset(L, result);
}

/* Puts what is on top into the result, and pops it. */
static void keep(lua_State *L, int result, int field, bool repeated) {
  int value = lua_gettop(L);
  if (!repeated) {
    choose(L, result, field);
    push_name(L, field);
    lua_pushvalue(L, value);
    lua_rawset(L, result);
    lua_pop(L, 1);
    return;
  }
  push_name(L, field);
  lua_rawget(L, result);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_newtable(L);
    push_name(L, field);
    lua_pushvalue(L, -2);
    lua_rawset(L, result);
  }
  lua_pushvalue(L, value);
  lua_rawseti(L, -2, (int)lua_rawlen(L, -2) + 1);
  lua_pop(L, 2);
}

static bool read_message(lua_State *L, int type, Slice in, int depth);

/* A message that is sent in parts is merged. */
static bool push_message(lua_State *L, int result, int field, bool repeated,
                         Slice bytes, int depth) {
  int type = push_type(L, field);
  lua_pushnil(L);
  if (!repeated) {
    lua_pop(L, 1);
    push_name(L, field);
    lua_rawget(L, result);
  }
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_newtable(L);
  }
  if (!read_message(L, type, bytes, depth)) return false;
  lua_remove(L, type);
  return true;
}

static bool push_delimited(lua_State *L, int field, Kind kind, Slice bytes) {
  if (kind == STRING && !engine_is_utf8(bytes))
    return fail_in(L, field, "not UTF-8");
  lua_pushlstring(L, (const char *)bytes.data, bytes.size);
  return true;
}

static bool read_field(lua_State *L, int result, int field, Kind kind,
                       Slice *in, int depth) {
  bool repeated = is_repeated(L, field), good = true;
  uint64_t value;
  Slice bytes;
  if (!(wire_of(kind) == VARINT ? take_varint(in, &value)
                                : take_delimited(in, &bytes)))
    return fail_in(L, field, "cut short");
  if (kind == BOOL)
    lua_pushboolean(L, value != 0);
  else if (kind == NUMBER) /* the lower half of 64 bits */
    lua_pushinteger(L, (int32_t)(uint32_t)value);
  else if (kind == MESSAGE)
    good = push_message(L, result, field, repeated, bytes, depth + 1);
  else
    good = push_delimited(L, field, kind, bytes);
  if (good) keep(L, result, field, repeated);
  return good;
}

/* Reads into the table on top, which stays there; false: a message for
** people is on top. */
static bool read_message(lua_State *L, int type, Slice in, int depth) {
  int result = lua_gettop(L);
  uint64_t key;
  if (depth > MAX_DEPTH) return fail(L, "nested too deep");
  luaL_checkstack(L, STACK, "protobuf");
  while (in.size > 0) {
    if (!take_varint(&in, &key)) return fail(L, "field key is cut short");
    unsigned wire = key & 7;
    if (key >> 3 < 1 || key >> 3 > MAX_NUMBER)
      return fail(L, "field number out of range");
    int field = push_numbered(L, type, key >> 3);
    Kind kind = field == 0 ? BOOL : kind_of(L, field);
    if (field == 0 || wire != wire_of(kind)) {
      if (!take_unknown(&in, wire))
        return fail(L, "unknown field is malformed");
    } else if (!read_field(L, result, field, kind, &in, depth)) {
      return false;
    }
    lua_settop(L, result);
  }
  return true;
}

/* protobuf.decode(type, bytes) --> message | nil, message, "bad_message" */
static int protobuf_decode(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  Slice bytes = engine_slice(L, 2);
  lua_newtable(L);
  if (read_message(L, 1, bytes, 1)) return 1;
  return engine_fail(L, "bad_message", "protobuf: %s", lua_tostring(L, -1));
}

/* writing ----------------------------------------------------------- */

/* From the end to the beginning: then the length of what is inside is known
** when it is written. */
typedef struct Writer {
  unsigned char *bytes; /* of which the last `size` are written */
  size_t room, size;
  int owner; /* what on the stack `bytes` is in */
  Room few;
} Writer;

static unsigned char *put(lua_State *L, Writer *to, size_t size) {
  if (size > to->room - to->size) {
    size_t room = (to->room + size) * 2;
    unsigned char *bytes = lua_newuserdata(L, room);
    memcpy(bytes + room - to->size, to->bytes + to->room - to->size, to->size);
    lua_replace(L, to->owner);
    to->bytes = bytes;
    to->room = room;
  }
  to->size += size;
  return to->bytes + to->room - to->size;
}

static void put_varint(lua_State *L, Writer *to, uint64_t value) {
  unsigned char bytes[MAX_VARINT];
  size_t size = 0;
  for (; value >= 0x80; value >>= 7)
    bytes[size++] = (unsigned char)(value | 0x80);
  bytes[size++] = (unsigned char)value;
  memcpy(put(L, to, size), bytes, size);
}

static void write_message(lua_State *L, Writer *to, int type, int depth);

static void check_value(lua_State *L, int field, int wanted) {
  if (lua_type(L, -1) == wanted) return;
  const char *found = luaL_typename(L, -1);
  luaL_error(L, "protobuf: %s is a %s, not a %s", push_name(L, field), found,
             lua_typename(L, wanted));
}

/* int32 and enum are sent as 64 bits of two's complement. */
static int64_t whole(lua_State *L, int field) {
  check_value(L, field, LUA_TNUMBER);
  lua_Integer value = lua_tointeger(L, -1);
  if ((lua_Number)value != lua_tonumber(L, -1))
    luaL_error(L, "protobuf: %s is not whole", push_name(L, field));
  return value;
}

/* Writes what is on top, and its key. */
static void put_value(lua_State *L, Writer *to, int field, Kind kind,
                      int depth) {
  size_t before = to->size, size;
  if (kind == BOOL) {
    put_varint(L, to, (uint64_t)lua_toboolean(L, -1));
  } else if (kind == NUMBER) {
    put_varint(L, to, (uint64_t)whole(L, field));
  } else if (kind == MESSAGE) {
    check_value(L, field, LUA_TTABLE);
    push_type(L, field);
    lua_insert(L, -2);
    write_message(L, to, lua_gettop(L) - 1, depth + 1);
    lua_remove(L, -2);
    put_varint(L, to, to->size - before);
  } else {
    check_value(L, field, LUA_TSTRING);
    const char *text = lua_tolstring(L, -1, &size);
    memcpy(put(L, to, size), text, size);
    put_varint(L, to, size);
  }
  put_varint(L, to, (uint64_t)number_of(L, field) << 3 | wire_of(kind));
}

/* Whether what is on top is what an absent field reads as. */
static bool is_default(lua_State *L) {
  switch (lua_type(L, -1)) {
    case LUA_TBOOLEAN: return !lua_toboolean(L, -1);
    case LUA_TNUMBER: return lua_tonumber(L, -1) == 0;
    case LUA_TSTRING: return lua_rawlen(L, -1) == 0;
    default: return false;
  }
}

static bool is_in_oneof(lua_State *L, int field) {
  lua_getfield(L, field, "oneof");
  bool member = !lua_isnil(L, -1);
  lua_pop(L, 1);
  return member;
}

/* The value or the list of them is on top. */
static void put_field(lua_State *L, Writer *to, int field, int depth) {
  Kind kind = kind_of(L, field);
  if (lua_isnil(L, -1)) return;
  if (!is_repeated(L, field)) {
    if (!is_default(L) || is_in_oneof(L, field))
      put_value(L, to, field, kind, depth);
    return;
  }
  check_value(L, field, LUA_TTABLE);
  for (int i = (int)lua_rawlen(L, -1); i >= 1; i--) {
    lua_rawgeti(L, -1, i);
    put_value(L, to, field, kind, depth);
    lua_pop(L, 1);
  }
}

/* The message's table is on top, and stays there. */
static void write_message(lua_State *L, Writer *to, int type, int depth) {
  int message = lua_gettop(L);
  if (depth > MAX_DEPTH) luaL_error(L, "protobuf: nested too deep");
  luaL_checkstack(L, STACK, "protobuf");
  for (int i = (int)lua_rawlen(L, type); i >= 1; i--) {
    int field = push_field(L, type, i);
    push_name(L, field);
    lua_rawget(L, message);
    put_field(L, to, field, depth);
    lua_settop(L, message);
  }
}

/* protobuf.encode(type, message) --> bytes */
static int protobuf_encode(lua_State *L) {
  Writer to;
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  to.room = sizeof to.few.few;
  to.size = 0;
  to.bytes = engine_room(L, &to.few, to.room);
  to.owner = 3;
  lua_pushvalue(L, 2);
  write_message(L, &to, 1, 1);
  lua_pushlstring(L, (const char *)to.bytes + to.room - to.size, to.size);
  return 1;
}

static const luaL_Reg PROTOBUF[] = {
  {"decode", protobuf_decode},
  {"encode", protobuf_encode},
  {NULL, NULL},
};

int engine_open_protobuf(lua_State *L) {
  lua_newtable(L);
  luaL_setfuncs(L, PROTOBUF, 0);
  return 1;
}
