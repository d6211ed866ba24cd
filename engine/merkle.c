/* The Merkle tree of a log (RFC 6962 section 2.1), all of it in memory:
** level k holds the roots of complete subtrees of 2^k leaves. */
#include "engine.h"

#include <stdlib.h>
#include <string.h>

#define TREE_TYPE "fulcio.tree"
#define HASH 32
#define LEVELS 48

typedef struct Tree {
  unsigned char *levels[LEVELS]; /* malloc'ed */
  size_t rooms[LEVELS];          /* in hashes */
  size_t size;                   /* leaves */
  EVP_MD_CTX *context;
} Tree;

static void fail_hash(lua_State *L) {
  luaL_error(L, "SHA-256 failed");
}

/* SHA-256(prefix || left || right), `out` may be one of them. */
static bool hash(EVP_MD_CTX *context, unsigned char prefix, Slice left,
                 Slice right, unsigned char out[HASH]) {
  return EVP_DigestInit_ex2(context, digest_named("SHA-256"), NULL) == 1 &&
    EVP_DigestUpdate(context, &prefix, 1) == 1 &&
    EVP_DigestUpdate(context, left.data, left.size) == 1 &&
    EVP_DigestUpdate(context, right.data, right.size) == 1 &&
    EVP_DigestFinal_ex(context, out, NULL) == 1;
}

static Slice hash_slice(const unsigned char *bytes) {
  Slice slice = {bytes, HASH};
  return slice;
}

static void hash_nodes(lua_State *L, EVP_MD_CTX *context,
                       const unsigned char *left, const unsigned char *right,
                       unsigned char *out) {
  if (!hash(context, 1, hash_slice(left), hash_slice(right), out)) fail_hash(L);
}

/* Pushes an empty tree; its context also serves those who only hash. */
static Tree *tree_push(lua_State *L) {
  Tree *tree = lua_newuserdata(L, sizeof *tree);
  memset(tree, 0, sizeof *tree);
  luaL_setmetatable(L, TREE_TYPE);
  tree->context = EVP_MD_CTX_new();
  if (tree->context == NULL) luaL_error(L, "not enough memory");
  return tree;
}

static Tree *check_tree(lua_State *L) {
  return luaL_checkudata(L, 1, TREE_TYPE);
}

static int tree_collect(lua_State *L) {
  Tree *tree = check_tree(L);
  for (int i = 0; i < LEVELS; i++) free(tree->levels[i]);
  EVP_MD_CTX_free(tree->context);
  memset(tree, 0, sizeof *tree);
  return 0;
}

/* Makes room for `size` leaves, so that appending cannot fail half way. */
static void reserve(lua_State *L, Tree *tree, size_t size) {
  for (int level = 0; level < LEVELS && size >> level > 0; level++) {
    size_t needed = size >> level;
    if (needed <= tree->rooms[level]) continue;
    size_t room = needed + needed / 2 + 16;
    unsigned char *larger = realloc(tree->levels[level], room * HASH);
    if (larger == NULL) luaL_error(L, "not enough memory");
    tree->levels[level] = larger;
    tree->rooms[level] = room;
  }
}

static unsigned char *node(const Tree *tree, int level, size_t index) {
  return tree->levels[level] + index * HASH;
}

static void append(lua_State *L, Tree *tree, const unsigned char *leaf) {
  size_t index = tree->size;
  memcpy(node(tree, 0, index), leaf, HASH);
  for (int level = 0; index & 1; level++, index >>= 1)
    hash_nodes(L, tree->context, node(tree, level, index - 1),
               node(tree, level, index), node(tree, level + 1, index >> 1));
  tree->size++;
}

/* tree:append(hashes) */
static int tree_append(lua_State *L) {
  Tree *tree = check_tree(L);
  Slice hashes = engine_slice(L, 2);
  luaL_argcheck(L, hashes.size % HASH == 0, 2, "32 bytes a hash expected");
  reserve(L, tree, tree->size + hashes.size / HASH);
  for (size_t i = 0; i < hashes.size; i += HASH)
    append(L, tree, hashes.data + i);
  return 0;
}

/* Root of `length` leaves from `start`, which is a multiple of the largest
** power of two in `length`. */
static void range_root(lua_State *L, Tree *tree, size_t start, size_t length,
                       unsigned char out[HASH]) {
  bool has = false;
  for (int level = 0; length >> level > 0; level++) {
    if ((length >> level & 1) == 0) continue;
    const unsigned char *complete =
      node(tree, level, (start >> level) + (length >> level) - 1);
    if (has)
      hash_nodes(L, tree->context, complete, out, out);
    else
      memcpy(out, complete, HASH);
    has = true;
  }
}

static size_t check_size(lua_State *L, int index, size_t most) {
  lua_Integer size = luaL_checkinteger(L, index);
  luaL_argcheck(L, size >= 0 && (uint64_t)size <= most, index,
                "beyond the tree");
  return (size_t)size;
}

/* tree:root([size]) --> string */
static int tree_root(lua_State *L) {
  static const Slice none = {(const unsigned char *)"", 0};
  Tree *tree = check_tree(L);
  unsigned char root[HASH];
  size_t length;
  size_t size =
    lua_isnoneornil(L, 2) ? tree->size : check_size(L, 2, tree->size);
  if (size > 0)
    range_root(L, tree, 0, size, root);
  else if (!digest_make("SHA-256", none, root, &length))
    fail_hash(L);
  lua_pushlstring(L, (const char *)root, HASH);
  return 1;
}

/* The largest power of two smaller than n, which is 2 or more. */
static size_t split(size_t n) {
  size_t k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

/* Hashes that a proof collects from the root down, and lists from the leaf
** up. */
typedef struct Proof {
  unsigned char hashes[LEVELS + 1][HASH];
  int count;
} Proof;

static void add_range(lua_State *L, Tree *tree, Proof *proof, size_t start,
                      size_t length) {
  range_root(L, tree, start, length, proof->hashes[proof->count++]);
}

static int push_proof(lua_State *L, const Proof *proof) {
  lua_createtable(L, proof->count, 0);
  for (int i = 1; i <= proof->count; i++) {
    lua_pushlstring(L, (const char *)proof->hashes[proof->count - i], HASH);
    lua_rawseti(L, -2, i);
  }
  return 1;
}

/* tree:inclusion(index, size) --> list of hashes */
static int tree_inclusion(lua_State *L) {
  Tree *tree = check_tree(L);
  size_t length = check_size(L, 3, tree->size);
  size_t index = check_size(L, 2, length);
  size_t start = 0;
  Proof proof;
  luaL_argcheck(L, index < length, 2, "beyond the tree");
  proof.count = 0;
  while (length > 1) {
    size_t left = split(length);
    if (index - start < left) {
      add_range(L, tree, &proof, start + left, length - left);
      length = left;
    } else {
      add_range(L, tree, &proof, start, left);
      start += left;
      length -= left;
    }
  }
  return push_proof(L, &proof);
}

/* tree:consistency(first, second) --> list of hashes */
static int tree_consistency(lua_State *L) {
  Tree *tree = check_tree(L);
  size_t length = check_size(L, 3, tree->size);
  size_t known = check_size(L, 2, length);
  size_t start = 0;
  bool whole = true; /* the verifier has the root of what is left */
  Proof proof;
  proof.count = 0;
  if (known == 0) length = 0;
  while (known != length) {
    size_t left = split(length);
    if (known <= left) {
      add_range(L, tree, &proof, start + left, length - left);
      length = left;
    } else {
      add_range(L, tree, &proof, start, left);
      start += left;
      known -= left;
      length -= left;
      whole = false;
    }
  }
  if (!whole) add_range(L, tree, &proof, start, length);
  return push_proof(L, &proof);
}

static int tree_index(lua_State *L) {
  Tree *tree = check_tree(L);
  if (lua_type(L, 2) == LUA_TSTRING &&
      strcmp(lua_tostring(L, 2), "size") == 0) {
    lua_pushinteger(L, (lua_Integer)tree->size);
    return 1;
  }
  lua_pushvalue(L, 2);
  lua_rawget(L, lua_upvalueindex(1));
  return 1;
}

/* merkle.tree() --> tree */
static int merkle_tree(lua_State *L) {
  tree_push(L);
  return 1;
}

/* merkle.leaf_hash(leaf) --> string */
static int merkle_leaf_hash(lua_State *L) {
  static const Slice none = {(const unsigned char *)"", 0};
  unsigned char out[HASH];
  Slice leaf = engine_slice(L, 1);
  Tree *hasher = luaL_checkudata(L, lua_upvalueindex(1), TREE_TYPE);
  if (!hash(hasher->context, 0, leaf, none, out)) fail_hash(L);
  lua_pushlstring(L, (const char *)out, HASH);
  return 1;
}

static const unsigned char *check_hash(lua_State *L, int index) {
  Slice bytes = engine_slice(L, index);
  luaL_argcheck(L, bytes.size == HASH, index, "32 bytes expected");
  return bytes.data;
}

/* Climbs one step (RFC 9162 section 2.1.3.2); false: the path is too long. */
static bool climb(lua_State *L, EVP_MD_CTX *context, uint64_t *index,
                  uint64_t *last, const unsigned char *sibling,
                  unsigned char hash[HASH]) {
  if (*last == 0) return false;
  if ((*index & 1) != 0 || *index == *last) {
    hash_nodes(L, context, sibling, hash, hash);
    while ((*index & 1) == 0 && *index != 0) {
      *index >>= 1;
      *last >>= 1;
    }
  } else {
    hash_nodes(L, context, hash, sibling, hash);
  }
  *index >>= 1;
  *last >>= 1;
  return true;
}

/* merkle.verify_inclusion(leaf_hash, index, size, path, root) --> boolean */
static int merkle_verify_inclusion(lua_State *L) {
  unsigned char hash[HASH];
  Tree *hasher = luaL_checkudata(L, lua_upvalueindex(1), TREE_TYPE);
  memcpy(hash, check_hash(L, 1), HASH);
  lua_Integer index = luaL_checkinteger(L, 2), size = luaL_checkinteger(L, 3);
  luaL_checktype(L, 4, LUA_TTABLE);
  const unsigned char *root = check_hash(L, 5);
  bool good = index >= 0 && index < size;
  uint64_t at = (uint64_t)index, last = (uint64_t)size - 1;
  int count = (int)lua_rawlen(L, 4);
  for (int i = 1; good && i <= count; i++) {
    lua_rawgeti(L, 4, i);
    size_t length = 0;
    const char *sibling =
      lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &length) : NULL;
    good = length == HASH &&
      climb(L, hasher->context, &at, &last, (const unsigned char *)sibling,
            hash);
    lua_pop(L, 1);
  }
  lua_pushboolean(L, good && last == 0 && memcmp(hash, root, HASH) == 0);
  return 1;
}

int engine_open_merkle(lua_State *L) {
  static const luaL_Reg functions[] = {
    {"tree", merkle_tree},
    {"leaf_hash", merkle_leaf_hash},
    {"verify_inclusion", merkle_verify_inclusion},
    {NULL, NULL},
  };
  static const luaL_Reg methods[] = {
    {"append", tree_append},
    {"root", tree_root},
    {"inclusion", tree_inclusion},
    {"consistency", tree_consistency},
    {NULL, NULL},
  };
  luaL_newmetatable(L, TREE_TYPE);
  lua_pushcfunction(L, tree_collect);
  lua_setfield(L, -2, "__gc");
  luaL_newlib(L, methods);
  lua_pushcclosure(L, tree_index, 1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  lua_createtable(L, 0, 3);
  tree_push(L);
  luaL_setfuncs(L, functions, 1);
  return 1;
}
