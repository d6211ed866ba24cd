/* The structures of Certificate Transparency (RFC 6962), both ways. All
** integers are big-endian. */
#include "key.h"

#include <string.h>

#define LOG_ID 32
#define HASH_SHA256 4 /* HashAlgorithm and SignatureAlgorithm, RFC 5246 */
#define SIGNATURE_RSA 1
#define SIGNATURE_ECDSA 3
#define EXACT_MAX ((uint64_t)1 << 53) /* what every Lua can count */

static void put(luaL_Buffer *out, uint64_t number, int size) {
  for (int i = size - 1; i >= 0; i--)
    luaL_addchar(out, (char)(number >> (8 * i) & 0xff));
}

static void put_slice(luaL_Buffer *out, Slice bytes) {
  luaL_addlstring(out, (const char *)bytes.data, bytes.size);
}

/* opaque x<0..2^(8 * size) - 1> */
static void put_opaque(luaL_Buffer *out, Slice bytes, int size) {
  put(out, bytes.size, size);
  put_slice(out, bytes);
}

static bool take(Slice *in, int size, uint64_t *number) {
  *number = 0;
  if (in->size < (size_t)size) return false;
  for (int i = 0; i < size; i++) *number = *number << 8 | in->data[i];
  in->data += size;
  in->size -= (size_t)size;
  return true;
}

static bool take_slice(Slice *in, size_t size, Slice *bytes) {
  if (in->size < size) return false;
  bytes->data = in->data;
  bytes->size = size;
  in->data += size;
  in->size -= size;
  return true;
}

static bool take_opaque(Slice *in, int size, Slice *bytes) {
  uint64_t length;
  return take(in, size, &length) && take_slice(in, (size_t)length, bytes);
}

/* The field of the table at index, no longer than `most`; stays on the
** stack. Absent: empty when `optional`. */
static Slice field(lua_State *L, int index, const char *name, size_t most,
                   bool optional) {
  Slice bytes = {(const unsigned char *)"", 0};
  lua_getfield(L, index, name);
  if (optional && lua_isnil(L, -1)) return bytes;
  if (lua_type(L, -1) != LUA_TSTRING)
    luaL_error(L, "field \"%s\" must be a string", name);
  bytes.data = (const unsigned char *)lua_tolstring(L, -1, &bytes.size);
  if (bytes.size > most) luaL_error(L, "field \"%s\" is too long", name);
  return bytes;
}

static uint64_t check_count(lua_State *L, int index) {
  lua_Number number = luaL_checknumber(L, index);
  luaL_argcheck(L, number >= 0 && number <= (lua_Number)EXACT_MAX, index,
                "out of range");
  return (uint64_t)number;
}

static uint64_t timestamp_field(lua_State *L, int index) {
  lua_getfield(L, index, "timestamp_ms");
  if (lua_type(L, -1) != LUA_TNUMBER)
    luaL_error(L, "field \"timestamp_ms\" must be a number");
  uint64_t timestamp = check_count(L, lua_gettop(L));
  lua_pop(L, 1);
  return timestamp;
}

static void set_bytes(lua_State *L, const char *name, Slice bytes) {
  lua_pushlstring(L, (const char *)bytes.data, bytes.size);
  lua_setfield(L, -2, name);
}

static void set_count(lua_State *L, const char *name, uint64_t count) {
  engine_push_time(L, (int64_t)count);
  lua_setfield(L, -2, name);
}

/* MerkleTreeLeaf: version v1, timestamped_entry, then TimestampedEntry
** { uint64 timestamp; uint16 entry_type; signed_entry; opaque extensions
** <0..2^16-1> }, where signed_entry is opaque ASN.1Cert<1..2^24-1> or
** { opaque issuer_key_hash[32]; opaque TBSCertificate<1..2^24-1> }. */

/* sct.leaf(entry) --> bytes */
static int sct_leaf(lua_State *L) {
  static const char *const kinds[] = {"x509", "precert", NULL};
  luaL_Buffer out;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  uint64_t timestamp = timestamp_field(L, 1);
  lua_getfield(L, 1, "kind");
  int kind = luaL_checkoption(L, 2, NULL, kinds);
  Slice entry = field(L, 1, kind == 1 ? "tbs" : "certificate", 0xffffff, false);
  Slice extensions = field(L, 1, "extensions", 0xffff, true);
  Slice issuer = field(L, 1, "issuer_key_hash", LOG_ID, kind == 0);
  if (kind == 1 && issuer.size != LOG_ID)
    return luaL_error(L, "field \"issuer_key_hash\" must be 32 bytes");
  luaL_buffinit(L, &out);
  put(&out, 0, 2);
  put(&out, timestamp, 8);
  put(&out, (uint64_t)kind, 2);
  if (kind == 1) put_slice(&out, issuer);
  put_opaque(&out, entry, 3);
  put_opaque(&out, extensions, 2);
  luaL_pushresult(&out);
  return 1;
}

/* sct.parse_leaf(leaf) --> entry | nil, message, "bad_leaf" */
static int sct_parse_leaf(lua_State *L) {
  Slice in = engine_slice(L, 1);
  Slice issuer = {NULL, 0}, entry, extensions;
  uint64_t version, timestamp, kind;
  bool good = take(&in, 2, &version) && version == 0 &&
    take(&in, 8, &timestamp) && timestamp <= EXACT_MAX && take(&in, 2, &kind) &&
    kind <= 1 && (kind == 0 || take_slice(&in, LOG_ID, &issuer)) &&
    take_opaque(&in, 3, &entry) && take_opaque(&in, 2, &extensions) &&
    in.size == 0;
  if (!good) return engine_fail(L, "bad_leaf", "not a MerkleTreeLeaf");
  lua_createtable(L, 0, 5);
  lua_pushstring(L, kind == 1 ? "precert" : "x509");
  lua_setfield(L, -2, "kind");
  set_count(L, "timestamp_ms", timestamp);
  set_bytes(L, kind == 1 ? "tbs" : "certificate", entry);
  if (kind == 1) set_bytes(L, "issuer_key_hash", issuer);
  set_bytes(L, "extensions", extensions);
  return 1;
}

/* DigitallySigned (RFC 5246 4.7): hash, signature algorithm, opaque
** signature<0..2^16-1>. */

/* The key's SignatureAlgorithm, or 0. */
static int algorithm_of(Pkey *key) {
  const char *kind = key_shape(key)->kind;
  if (strcmp(kind, "RSA") == 0) return SIGNATURE_RSA;
  return strcmp(kind, "EC") == 0 ? SIGNATURE_ECDSA : 0;
}

static int finish_signed(lua_State *L, Slice signature) {
  luaL_Buffer out;
  uint64_t algorithm = (uint64_t)algorithm_of(pkey_check(L, 2));
  luaL_buffinit(L, &out);
  put(&out, HASH_SHA256, 1);
  put(&out, algorithm, 1);
  put_opaque(&out, signature, 2);
  luaL_pushresult(&out);
  return 1;
}

/* sct.sign(input, key) --> bytes | nil, message, code */
static int sct_sign(lua_State *L) {
  Slice input = engine_slice(L, 1);
  Pkey *key = pkey_check(L, 2);
  luaL_argcheck(L, algorithm_of(key) != 0, 2, "EC or RSA key expected");
  lua_settop(L, 2);
  return pkey_sign_then(L, 2, input, "SHA-256", finish_signed);
}

/* sct.verify(input, signed, key) --> true | nil, message, "bad_signature" */
static int sct_verify(lua_State *L) {
  Slice input = engine_slice(L, 1), in = engine_slice(L, 2), signature;
  Pkey *key = pkey_check(L, 3);
  uint64_t hash, algorithm;
  if (!take(&in, 1, &hash) || !take(&in, 1, &algorithm) ||
      !take_opaque(&in, 2, &signature) || in.size != 0)
    return engine_fail(L, "bad_signature", "not a DigitallySigned");
  if (hash != HASH_SHA256 || algorithm == 0 ||
      (int)algorithm != algorithm_of(key))
    return engine_fail(L, "bad_signature",
                       "signature algorithm does not fit the log's key");
  if (!pkey_verifies(key, "SHA-256", false, input, signature))
    return engine_fail(L, "bad_signature", "signature is wrong");
  lua_pushboolean(L, 1);
  return 1;
}

/* SignedCertificateTimestamp: version v1, opaque log_id[32], uint64
** timestamp, opaque extensions<0..2^16-1>, DigitallySigned. */

/* sct.serialize(sct) --> bytes */
static int sct_serialize(lua_State *L) {
  luaL_Buffer out;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  uint64_t timestamp = timestamp_field(L, 1);
  Slice log_id = field(L, 1, "log_id", LOG_ID, false);
  Slice extensions = field(L, 1, "extensions", 0xffff, true);
  Slice signature = field(L, 1, "signature", 0xffff + 4, false);
  if (log_id.size != LOG_ID)
    return luaL_error(L, "field \"log_id\" must be 32 bytes");
  luaL_buffinit(L, &out);
  put(&out, 0, 1);
  put_slice(&out, log_id);
  put(&out, timestamp, 8);
  put_opaque(&out, extensions, 2);
  put_slice(&out, signature);
  luaL_pushresult(&out);
  return 1;
}

/* Whether what is left is one DigitallySigned. */
static bool is_signed(Slice in) {
  uint64_t algorithms;
  Slice signature;
  return take(&in, 2, &algorithms) && take_opaque(&in, 2, &signature) &&
    in.size == 0;
}

/* sct.parse(bytes) --> sct | nil, message, "bad_sct" */
static int sct_parse(lua_State *L) {
  Slice in = engine_slice(L, 1), log_id, extensions;
  uint64_t version, timestamp;
  bool good = take(&in, 1, &version) && version == 0 &&
    take_slice(&in, LOG_ID, &log_id) && take(&in, 8, &timestamp) &&
    timestamp <= EXACT_MAX && take_opaque(&in, 2, &extensions) && is_signed(in);
  if (!good)
    return engine_fail(L, "bad_sct", "not a SignedCertificateTimestamp of v1");
  lua_createtable(L, 0, 5);
  set_count(L, "version", version);
  set_bytes(L, "log_id", log_id);
  set_count(L, "timestamp_ms", timestamp);
  set_bytes(L, "extensions", extensions);
  set_bytes(L, "signature", in);
  return 1;
}

/* The strings of the list at index, each after its length: `size` bytes
** for a length, and for the length of all. */
static void put_list(lua_State *L, luaL_Buffer *out, int index, int size) {
  uint64_t total = 0, most = ((uint64_t)1 << (8 * size)) - 1;
  int count = (int)lua_rawlen(L, index);
  luaL_checkstack(L, count + 8, "list is too long");
  int first = lua_gettop(L) + 1;
  for (int i = 1; i <= count; i++) {
    lua_rawgeti(L, index, i);
    if (lua_type(L, -1) != LUA_TSTRING)
      luaL_error(L, "element %d must be a string", i);
    total += (uint64_t)size + lua_rawlen(L, -1);
    if (total > most) luaL_error(L, "list is too long");
  }
  luaL_buffinit(L, out);
  put(out, total, size);
  for (int i = 0; i < count; i++)
    put_opaque(out, engine_slice(L, first + i), size);
}

/* sct.list(scts) --> bytes */
static int sct_list(lua_State *L) {
  luaL_Buffer out;
  luaL_checktype(L, 1, LUA_TTABLE);
  put_list(L, &out, 1, 2);
  luaL_pushresult(&out);
  return 1;
}

/* sct.parse_list(bytes) --> list | nil, message, "bad_sct" */
static int sct_parse_list(lua_State *L) {
  Slice whole = engine_slice(L, 1), in, one;
  bool good = take_opaque(&whole, 2, &in) && whole.size == 0;
  lua_newtable(L);
  for (int i = 1; good && in.size > 0; i++) {
    good = take_opaque(&in, 2, &one) && one.size > 0;
    if (!good) break;
    lua_pushlstring(L, (const char *)one.data, one.size);
    lua_rawseti(L, -2, i);
  }
  if (!good)
    return engine_fail(L, "bad_sct", "not a SignedCertificateTimestampList");
  return 1;
}

/* sct.tree_head(timestamp_ms, size, root) --> bytes
** TreeHeadSignature: version v1, tree_hash, uint64 timestamp, uint64
** tree_size, opaque sha256_root_hash[32]. */
static int sct_tree_head(lua_State *L) {
  luaL_Buffer out;
  uint64_t timestamp = check_count(L, 1), size = check_count(L, 2);
  Slice root = engine_slice(L, 3);
  luaL_argcheck(L, root.size == 32, 3, "32 bytes expected");
  luaL_buffinit(L, &out);
  put(&out, 1, 2);
  put(&out, timestamp, 8);
  put(&out, size, 8);
  put_slice(&out, root);
  luaL_pushresult(&out);
  return 1;
}

/* sct.extra_data(chain [, precert]) --> bytes
** ASN.1Cert certificate_chain<0..2^24-1>, or PrecertChainEntry
** { ASN.1Cert pre_certificate; ASN.1Cert precertificate_chain<0..2^24-1> }. */
static int sct_extra_data(lua_State *L) {
  luaL_Buffer out;
  luaL_checktype(L, 1, LUA_TTABLE);
  bool is_precert = !lua_isnoneornil(L, 2);
  lua_settop(L, 2);
  if (is_precert) {
    Slice precert = engine_slice(L, 2);
    luaL_argcheck(L, precert.size <= 0xffffff, 2, "too long");
    luaL_buffinit(L, &out);
    put_opaque(&out, precert, 3);
    luaL_pushresult(&out);
  }
  put_list(L, &out, 1, 3);
  luaL_pushresult(&out);
  if (!is_precert) return 1;
  lua_pushvalue(L, 3);
  lua_insert(L, -2);
  lua_concat(L, 2);
  return 1;
}

int engine_open_sct(lua_State *L) {
  static const luaL_Reg functions[] = {
    {"leaf", sct_leaf},
    {"parse_leaf", sct_parse_leaf},
    {"sign", sct_sign},
    {"verify", sct_verify},
    {"serialize", sct_serialize},
    {"parse", sct_parse},
    {"list", sct_list},
    {"parse_list", sct_parse_list},
    {"tree_head", sct_tree_head},
    {"extra_data", sct_extra_data},
    {NULL, NULL},
  };
  luaL_newlib(L, functions);
  return 1;
}
