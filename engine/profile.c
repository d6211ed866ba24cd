/* A certificate's profile (RFC 5280 4.1, 4.2), read from Lua and written as
** DER, without OpenSSL. */
#include "certificate.h"

#include <openssl/rand.h>
#include <string.h>

enum { HEX_MAX = 2 * SERIAL_SIZE };
/* 9999-12-31T23:59:59Z */
static const lua_Number TIME_MAX = 253402300799.0;

static const Slice TRUE_BYTE = {(const unsigned char *)"\xff", 1};

/* What draft.new was asked for. */
typedef struct Profile {
  Pkey *key;
  X509Holder *issuer;         /* NULL: self-signed */
  const Algorithm *algorithm; /* of the signature to come */
  int64_t not_before, not_after;
  Slice subject; /* whole Name */
} Profile;

/* Index of a field of the profile, now on top of the stack. */
static int field(lua_State *L, const char *name) {
  lua_getfield(L, 1, name);
  return lua_gettop(L);
}

static int read_time(lua_State *L, const char *name, int64_t *seconds) {
  lua_Number value = luaL_checknumber(L, field(L, name));
  lua_pop(L, 1);
  if (!(value >= 0 && value <= TIME_MAX))
    return engine_fail(L, "bad_draft", "%s is out of range", name);
  *seconds = (int64_t)value;
  return 0;
}

static int hex_digit(unsigned char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Up to 20 bytes, not zero; the top bit is the sign and stays clear. */
static int read_serial(lua_State *L, int at, Serial *serial) {
  Slice hex = engine_slice(L, at);
  bool good = hex.size % 2 == 0 && hex.size > 0 && hex.size <= HEX_MAX;
  unsigned seen = 0;
  serial->size = good ? hex.size / 2 : 0;
  for (size_t i = 0; good && i < serial->size; i++) {
    int high = hex_digit(hex.data[2 * i]);
    int low = hex_digit(hex.data[2 * i + 1]);
    good = high >= 0 && low >= 0;
    serial->bytes[i] = good ? (unsigned char)(high << 4 | low) : 0;
    seen |= serial->bytes[i];
  }
  bool negative = hex.size == HEX_MAX && (serial->bytes[0] & 0x80) != 0;
  if (good && seen != 0 && !negative) return 0;
  return engine_fail(L, "bad_draft", "serial is not 1 to 20 bytes in hex");
}

static int make_serial(lua_State *L, Serial *serial) {
  int at = field(L, "serial"), failed = 0;
  if (!lua_isnil(L, at)) {
    failed = read_serial(L, at, serial);
    if (failed == 0) lua_pop(L, 1);
    return failed;
  }
  lua_pop(L, 1);
  serial->size = SERIAL_SIZE;
  do {
    if (RAND_bytes(serial->bytes, SERIAL_SIZE) != 1)
      return engine_ssl_fail(L, "bad_draft", "no random serial");
    serial->bytes[0] &= 0x7f;
  } while (serial->bytes[0] == 0);
  return 0;
}

/* The signer's kind decides the algorithm, so it must be the issuer's. */
static int read_signer(lua_State *L, Profile *profile) {
  Pkey *signer = profile->key;
  int at = field(L, "signer");
  bool given = !lua_isnil(L, at);
  if (given) signer = pkey_check(L, at);
  lua_pop(L, 1);
  const KeyShape *shape = key_shape(signer);
  if (profile->issuer != NULL) {
    shape = spki_shape(profile->issuer->parts.spki);
    if (given && !slice_equal(pkey_spki(signer), profile->issuer->parts.spki))
      return engine_fail(L, "bad_draft", "signer is not the issuer's key");
  }
  profile->algorithm = algorithm_of(shape);
  if (profile->algorithm == NULL)
    return engine_fail(L, "bad_draft", "a %s key cannot sign certificates",
                       shape->kind);
  return 0;
}

static int read_profile(lua_State *L, Profile *profile) {
  profile->key = pkey_check(L, field(L, "key"));
  profile->issuer = NULL;
  int at = field(L, "issuer");
  if (!lua_isnil(L, at)) profile->issuer = x509_check(L, at);
  lua_pop(L, 2);
  int failed = read_signer(L, profile);
  if (failed == 0) failed = read_time(L, "not_before", &profile->not_before);
  if (failed == 0) failed = read_time(L, "not_after", &profile->not_after);
  if (failed != 0) return failed;
  if (profile->not_after < profile->not_before)
    return engine_fail(L, "bad_draft", "not_after is before not_before");
  if (pkey_spki(profile->key).size == 0)
    return engine_fail(L, "bad_draft", "key has no public part");
  return 0;
}

/* Extension ::= SEQUENCE { extnID, critical, extnValue }, around what was
** written since mark. */
static void wrap_extension(lua_State *L, DerWriter *writer, Slice oid,
                           bool critical, size_t mark) {
  der_wrap(L, writer, DER_OCTET_STRING, mark);
  if (critical) der_put_value(L, writer, DER_BOOLEAN, TRUE_BYTE);
  der_put_value(L, writer, DER_OID, oid);
  der_wrap(L, writer, DER_SEQUENCE, mark);
}

/* Those that the profile has fields for, and those that are not its own. */
static bool is_reserved(Slice oid) {
  const Slice *const reserved[] = {
    &OID_SUBJECT_KEY_ID,    &OID_KEY_USAGE,        &OID_SUBJECT_ALT_NAME,
    &OID_BASIC_CONSTRAINTS, &OID_AUTHORITY_KEY_ID, &OID_EXTENDED_KEY_USAGE,
    &OID_SCT_LIST,          &OID_POISON,           NULL,
  };
  for (int i = 0; reserved[i] != NULL; i++)
    if (slice_equal(oid, *reserved[i])) return true;
  return false;
}

/* What the profile says of one extension. */
typedef struct Custom {
  Slice oid, value, text; /* data NULL: not there */
  bool critical;
} Custom;

static Slice text_field(lua_State *L, const char *name) {
  Slice text;
  if (lua_type(L, -1) != LUA_TSTRING)
    luaL_error(L, "extension: %s is not a string", name);
  text.data = (const unsigned char *)lua_tolstring(L, -1, &text.size);
  return text;
}

/* { oid, value or text, raw?, critical?, name? } at the top of the stack,
** which keeps the bytes; the text may be there already. In one walk:
** certificates have two dozen of these. */
static void read_custom(lua_State *L, Custom *custom) {
  bool raw = false;
  luaL_checktype(L, -1, LUA_TTABLE);
  lua_pushnil(L);
  while (lua_next(L, -2) != 0) {
    const char *name =
      lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
    if (strcmp(name, "oid") == 0)
      custom->oid = text_field(L, name);
    else if (strcmp(name, "raw") == 0)
      raw = lua_toboolean(L, -1);
    else if (strcmp(name, "text") == 0)
      custom->text = text_field(L, name);
    else if (strcmp(name, "value") == 0)
      custom->value = text_field(L, name);
    else if (strcmp(name, "critical") == 0)
      custom->critical = lua_toboolean(L, -1);
    else if (strcmp(name, "name") != 0)
      luaL_error(L, "unknown option \"%s\"", name);
    lua_pop(L, 1);
  }
  if (custom->oid.data == NULL) luaL_error(L, "an extension has an oid");
  if (custom->value.data == NULL && custom->text.data == NULL)
    luaL_error(L, "an extension has a value or a text");
  if (raw && custom->value.data == NULL) custom->value = custom->text;
}

/* The same as an Extension; below it on the stack its text, or nil. */
static int put_custom(lua_State *L, DerWriter *writer, uint64_t *seen) {
  unsigned char bytes[OID_MAX];
  Custom custom = {0};
  if (lua_type(L, -2) == LUA_TSTRING)
    custom.text.data =
      (const unsigned char *)lua_tolstring(L, -2, &custom.text.size);
  size_t mark = der_mark(writer);
  read_custom(L, &custom);
  const char *dots = (const char *)custom.oid.data;
  Slice oid = oid_find(custom.oid, bytes);
  if (oid.size == 0)
    return engine_fail(L, "bad_draft", "extension %.64s: not an OID", dots);
  if (is_reserved(oid) || extension_repeats(der_written(writer), oid, seen))
    return engine_fail(L, "bad_draft", "extension %s: there already", dots);
  if (custom.value.data != NULL)
    der_put(L, writer, custom.value);
  else if (engine_is_utf8(custom.text))
    der_put_value(L, writer, DER_UTF8_STRING, custom.text);
  else
    return engine_fail(L, "bad_utf8", "extension %s: text is not UTF-8", dots);
  wrap_extension(L, writer, oid, custom.critical, mark);
  return 0;
}

static int put_customs(lua_State *L, DerWriter *writer) {
  int at = field(L, "extensions"), texts = field(L, "texts"), count = 0;
  uint64_t seen = 0;
  if (!lua_isnil(L, at)) {
    luaL_checktype(L, at, LUA_TTABLE);
    count = (int)lua_rawlen(L, at);
  }
  if (!lua_isnil(L, texts)) luaL_checktype(L, texts, LUA_TTABLE);
  for (int i = count; i >= 1; i--) {
    if (lua_istable(L, texts))
      lua_rawgeti(L, texts, i);
    else
      lua_pushnil(L);
    lua_rawgeti(L, at, i);
    int failed = put_custom(L, writer, &seen);
    if (failed != 0) return failed;
    lua_pop(L, 2);
  }
  lua_pop(L, 2);
  return 0;
}

/* Critical when there is no other name (RFC 5280 4.2.1.6). */
static int put_san(lua_State *L, DerWriter *writer, const Profile *profile) {
  int at = field(L, "san");
  size_t mark = der_mark(writer);
  if (!lua_isnil(L, at)) {
    int failed = san_put(L, writer, at);
    if (failed != 0) return failed;
    bool nameless = profile->subject.size == 2;
    wrap_extension(L, writer, OID_SUBJECT_ALT_NAME, nameless, mark);
  }
  lua_pop(L, 1);
  return 0;
}

static void put_key_ids(lua_State *L, DerWriter *writer,
                        const Profile *profile) {
  unsigned char own[20];
  Slice id;
  size_t mark = der_mark(writer);
  if (profile->issuer != NULL && x509_key_id(profile->issuer, &id)) {
    der_put_value(L, writer, DER_CONTEXT, id);
    der_wrap(L, writer, DER_SEQUENCE, mark);
    wrap_extension(L, writer, OID_AUTHORITY_KEY_ID, false, mark);
  }
  mark = der_mark(writer);
  pkey_id(profile->key, own);
  der_put_value(L, writer, DER_OCTET_STRING, (Slice){own, sizeof own});
  wrap_extension(L, writer, OID_SUBJECT_KEY_ID, false, mark);
}

/* A list that may be absent or empty: then there is no extension. */
static void put_usage(lua_State *L, DerWriter *writer, const char *name,
                      Slice oid, bool critical,
                      void (*put)(lua_State *, DerWriter *, int)) {
  int at = field(L, name);
  size_t mark = der_mark(writer);
  if (!lua_isnil(L, at)) {
    luaL_checktype(L, at, LUA_TTABLE);
    if (lua_rawlen(L, at) > 0) {
      put(L, writer, at);
      wrap_extension(L, writer, oid, critical, mark);
    }
  }
  lua_pop(L, 1);
}

static void put_constraints(lua_State *L, DerWriter *writer) {
  int at = field(L, "ca");
  size_t mark = der_mark(writer);
  if (!lua_isnil(L, at)) {
    lua_getfield(L, 1, "path_length");
    if (lua_toboolean(L, at) && !lua_isnil(L, -1)) {
      int length = (int)luaL_checkinteger(L, -1);
      luaL_argcheck(L, length >= 0 && length < 128, 1, "path_length 0 to 127");
      unsigned char byte = (unsigned char)length;
      der_put_unsigned(L, writer, (Slice){&byte, 1});
    }
    lua_pop(L, 1);
    if (lua_toboolean(L, at)) der_put_value(L, writer, DER_BOOLEAN, TRUE_BYTE);
    der_wrap(L, writer, DER_SEQUENCE, mark);
    wrap_extension(L, writer, OID_BASIC_CONSTRAINTS, true, mark);
  }
  lua_pop(L, 1);
}

/* Backwards, as everything here. */
static int put_extensions(lua_State *L, DerWriter *writer,
                          const Profile *profile) {
  int failed = put_customs(L, writer);
  if (failed == 0) failed = put_san(L, writer, profile);
  if (failed != 0) return failed;
  put_key_ids(L, writer, profile);
  put_usage(L, writer, "extended_key_usage", OID_EXTENDED_KEY_USAGE, false,
            usage_put_extended);
  put_constraints(L, writer);
  put_usage(L, writer, "key_usage", OID_KEY_USAGE, true, usage_put_key);
  return 0;
}

/* version [0], serial, signature, issuer, validity, subject, SPKI */
static void put_head(lua_State *L, DerWriter *writer, const Profile *profile,
                     const Serial *serial) {
  static const Slice v3 = {(const unsigned char *)"\xa0\x03\x02\x01\x02", 5};
  der_put(L, writer, pkey_spki(profile->key));
  der_put(L, writer, profile->subject);
  size_t mark = der_mark(writer);
  der_put_time(L, writer, profile->not_after);
  der_put_time(L, writer, profile->not_before);
  der_wrap(L, writer, DER_SEQUENCE, mark);
  der_put(L, writer,
          profile->issuer == NULL ? profile->subject
                                  : profile->issuer->parts.subject);
  der_put(L, writer, profile->algorithm->der);
  der_put_unsigned(L, writer, (Slice){serial->bytes, serial->size});
  der_put(L, writer, v3);
}

int profile_write(lua_State *L, DerWriter *writer, Serial *serial,
                  size_t *extensions) {
  static const char *const names[] = {"key",       "issuer",
                                      "signer",    "not_before",
                                      "not_after", "serial",
                                      "subject",   "key_usage",
                                      "ca",        "path_length",
                                      "san",       "extensions",
                                      "texts",     "extended_key_usage",
                                      NULL};
  Profile profile = {0};
  engine_check_options(L, 1, names);
  int failed = read_profile(L, &profile);
  if (failed == 0) failed = make_serial(L, serial);
  if (failed != 0) return failed;
  DerWriter named, *subject = der_writer_open(L, &named);
  failed = name_put(L, subject, field(L, "subject"), "bad_draft");
  if (failed != 0) return failed;
  profile.subject = der_written(subject);
  failed = put_extensions(L, writer, &profile);
  if (failed != 0) return failed;
  *extensions = der_mark(writer);
  put_head(L, writer, &profile, serial);
  return 0;
}
