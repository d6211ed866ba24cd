/* Seals: how a private key gets from a process to those it has forked before,
** through memory that others have, too. What a seal shuts is AES-256-GCM
** under a key that never leaves C and that only a fork inherits, so whoever
** sees the bytes, Lua and a log among them, has nothing. */
#include "key.h"
#include "wipe.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <string.h>

#define SEAL_TYPE "fulcio.seal"

/* What is shut: nonce, ciphertext, tag. */
enum { SECRET = 32, NONCE = 12, TAG = 16 };

typedef struct Seal {
  unsigned char *secret; /* owned, from OPENSSL_malloc */
} Seal;

/* pkey.seal() --> seal */
static int seal_new(lua_State *L) {
  Seal *seal = lua_newuserdata(L, sizeof *seal);
  seal->secret = NULL;
  luaL_setmetatable(L, SEAL_TYPE);
  seal->secret = OPENSSL_malloc(SECRET);
  if (seal->secret == NULL || RAND_priv_bytes(seal->secret, SECRET) != 1)
    return luaL_error(L, "no random bytes for a seal");
  return 1;
}

static int seal_free(lua_State *L) {
  Seal *seal = luaL_checkudata(L, 1, SEAL_TYPE);
  OPENSSL_clear_free(seal->secret, SECRET);
  seal->secret = NULL;
  return 0;
}

/* PKCS#8 DER, to be freed with OPENSSL_clear_free; NULL: see the queue. */
static unsigned char *encode(EVP_PKEY *key, int *size) {
  unsigned char *der = NULL;
  wipe_begin();
  PKCS8_PRIV_KEY_INFO *plain = EVP_PKEY2PKCS8(key);
  *size = plain == NULL ? -1 : i2d_PKCS8_PRIV_KEY_INFO(plain, &der);
  PKCS8_PRIV_KEY_INFO_free(plain);
  wipe_end();
  return *size > 0 ? der : NULL;
}

static EVP_PKEY *decode(Slice der) {
  const unsigned char *at = der.data;
  wipe_begin();
  PKCS8_PRIV_KEY_INFO *plain =
    d2i_PKCS8_PRIV_KEY_INFO(NULL, &at, (long)der.size);
  EVP_PKEY *key = plain == NULL ? NULL : EVP_PKCS82PKEY(plain);
  PKCS8_PRIV_KEY_INFO_free(plain);
  wipe_end();
  return key;
}

/* Writes nonce, ciphertext and tag. */
static bool encrypt(const Seal *seal, Slice plain, unsigned char *out) {
  unsigned char *text = out + NONCE;
  int size = 0, last = 0;
  EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
  bool good = cipher != NULL && RAND_bytes(out, NONCE) == 1 &&
    EVP_EncryptInit_ex(cipher, EVP_aes_256_gcm(), NULL, seal->secret, out) &&
    EVP_EncryptUpdate(cipher, text, &size, plain.data, (int)plain.size) &&
    EVP_EncryptFinal_ex(cipher, text + size, &last) &&
    EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, TAG, text + plain.size);
  EVP_CIPHER_CTX_free(cipher);
  return good;
}

/* Writes what `encrypt` was given, which is NONCE + TAG bytes shorter. */
static bool decrypt(const Seal *seal, Slice shut, unsigned char *out) {
  int inside = (int)shut.size - NONCE - TAG, size = 0, last = 0;
  const unsigned char *text = shut.data + NONCE;
  unsigned char tag[TAG];
  memcpy(tag, text + inside, TAG);
  EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
  bool good = cipher != NULL &&
    EVP_DecryptInit_ex(cipher, EVP_aes_256_gcm(), NULL, seal->secret,
                       shut.data) &&
    EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, TAG, tag) &&
    EVP_DecryptUpdate(cipher, out, &size, text, inside) &&
    EVP_DecryptFinal_ex(cipher, out + size, &last);
  EVP_CIPHER_CTX_free(cipher);
  return good;
}

/* seal:shut(key) --> bytes | nil, message, code */
static int seal_shut(lua_State *L) {
  const Seal *seal = luaL_checkudata(L, 1, SEAL_TYPE);
  Pkey *key = pkey_check(L, 2);
  if (!key->is_private || key->signer != NULL)
    return engine_fail(L, "not_private", "no private key to seal");
  unsigned char out[NONCE + KEYFILE_MAX + TAG];
  int size;
  unsigned char *der = encode(key->key, &size);
  bool good = der != NULL && size <= KEYFILE_MAX &&
    encrypt(seal, (Slice){der, (size_t)size}, out);
  OPENSSL_clear_free(der, der == NULL ? 0 : (size_t)size);
  if (!good) return engine_ssl_fail(L, "failed", "cannot seal the key");
  lua_pushlstring(L, (const char *)out, NONCE + (size_t)size + TAG);
  return 1;
}

/* seal:open(bytes) --> pkey | nil, message, "bad_key" */
static int seal_open(lua_State *L) {
  const Seal *seal = luaL_checkudata(L, 1, SEAL_TYPE);
  Slice shut = engine_slice(L, 2);
  unsigned char der[KEYFILE_MAX];
  Pkey *key = pkey_push(L);
  if (shut.size > NONCE + TAG && shut.size <= NONCE + KEYFILE_MAX + TAG) {
    size_t size = shut.size - NONCE - TAG;
    if (decrypt(seal, shut, der)) key->key = decode((Slice){der, size});
    OPENSSL_cleanse(der, size);
  }
  if (key->key == NULL)
    return engine_fail(L, "bad_key", "nothing that this seal has shut");
  key->is_private = true;
  return 1;
}

static const luaL_Reg METHODS[] = {
  {"open", seal_open},
  {"shut", seal_shut},
  {NULL, NULL},
};

void seal_register(lua_State *L) {
  luaL_newmetatable(L, SEAL_TYPE);
  lua_newtable(L);
  luaL_setfuncs(L, METHODS, 0);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, seal_free);
  lua_setfield(L, -2, "__gc");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_pop(L, 1);
  lua_pushcfunction(L, seal_new);
  lua_setfield(L, -2, "seal");
}
