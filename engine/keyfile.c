/* Private keys in files: read once, written once, never shown. */
#include "key.h"
#include "wipe.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ITERATIONS = 100000 };

/* What OpenSSL's password callback knows. It never asks a terminal. */
typedef struct Password {
  Slice text;
  bool asked;
} Password;

static int give_password(char *out, int room, int writing, void *context) {
  Password *password = context;
  (void)writing;
  password->asked = true;
  if (password->text.data == NULL || password->text.size > (size_t)room)
    return -1;
  memcpy(out, password->text.data, password->text.size);
  return (int)password->text.size;
}

/* A sealed memory file comes from our own supervisor, and has no owner. */
static bool is_inherited(const char *path) {
  return strncmp(path, "/proc/self/fd/", 14) == 0;
}

/* Pushes nothing and gives a descriptor, or pushes a failure and gives -1.
** Not blocking: a pipe put in a key's place must not stop us. */
static int open_key(lua_State *L, const char *path, KeyText *text) {
  struct stat about;
  int file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (file < 0 || fstat(file, &about) != 0) {
    engine_fail(L, "no_file", "%s: %s", path, strerror(errno));
  } else if (!S_ISREG(about.st_mode)) {
    engine_fail(L, "no_file", "%s: not a file", path);
  } else if (about.st_size > KEYFILE_MAX) {
    engine_fail(L, "bad_key", "%s: too large for a key", path);
  } else {
    text->size = (size_t)about.st_size;
    text->open_to_others = (about.st_mode & 066) != 0 && !is_inherited(path);
    return file;
  }
  if (file >= 0) close(file);
  return -1;
}

int keyfile_open_to_others(lua_State *L, const char *path) {
  return engine_fail(L, "open_to_others",
                     "%s: key file is open to others (chmod 600 %s)", path,
                     path);
}

/* From the start, whoever else has moved a shared descriptor. */
static bool read_all(int file, unsigned char *out, size_t size) {
  size_t done = 0;
  while (done < size) {
    ssize_t count = pread(file, out + done, size - done, (off_t)done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    done += (size_t)count;
  }
  return true;
}

bool keyfile_read(lua_State *L, const char *path, KeyText *text) {
  int file = open_key(L, path, text);
  if (file < 0) return false;
  text->data = OPENSSL_malloc(text->size + 1);
  bool read = text->data != NULL && read_all(file, text->data, text->size);
  if (!read) engine_fail(L, "no_file", "%s: %s", path, strerror(errno));
  close(file);
  if (!read) keyfile_wipe(text);
  return read;
}

void keyfile_wipe(KeyText *text) {
  OPENSSL_clear_free(text->data, text->size + 1);
  text->data = NULL;
}

static EVP_PKEY *decode(Slice text, Password *password) {
  BIO *bio = BIO_new_mem_buf(text.data, (int)text.size);
  if (bio == NULL) return NULL;
  wipe_begin();
  EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, give_password, password);
  wipe_end();
  BIO_free(bio);
  return key;
}

/* Whether the halves belong together: a test signature verifies. */
static bool halves_match(Pkey *key) {
  static const unsigned char text[] = "fulcio";
  unsigned char signature[SIGNATURE_MAX];
  size_t size = sizeof signature;
  Slice data = {text, sizeof text};
  EVP_PKEY *other = pkey_from_spki(pkey_spki(key));
  bool match = other != NULL &&
    signature_make(key, NULL, data, signature, &size) &&
    pkey_verifies_once(other, NULL, false, data, (Slice){signature, size});
  EVP_PKEY_free(other);
  return match;
}

static int check_opened(lua_State *L, const char *path, Pkey *key,
                        const Password *password) {
  if (key->key == NULL && password->asked) {
    bool given = password->text.data != NULL;
    return engine_fail(L, "bad_password", "%s: %s", path,
                       given ? "the password does not open it"
                             : "it is encrypted and no password was given");
  }
  if (key->key == NULL)
    return engine_fail(L, "bad_key", "%s: no PEM private key", path);
  const KeyShape *shape = key_shape(key);
  if (strcmp(shape->kind, "unknown") == 0 || strcmp(shape->kind, "Ed448") == 0)
    return engine_fail(L, "bad_key", "%s: a kind of key we do not use", path);
  if (!halves_match(key))
    return engine_fail(L, "bad_key", "%s: its halves do not match", path);
  key->is_private = true;
  return 1;
}

int keyfile_take(lua_State *L, const char *path, Pkey *key, KeyText *text,
                 Slice pem, Slice with) {
  Password password = {with, false};
  key->key = decode(pem, &password);
  keyfile_wipe(text);
  return check_opened(L, path, key, &password);
}

/* pkey.open(file, password?) --> pkey | nil, message, code */
int keyfile_open(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  Slice password = secret_slice(L, 2);
  Pkey *key = pkey_push(L);
  KeyText text;
  if (!keyfile_read(L, path, &text)) return 3;
  if (text.open_to_others) {
    keyfile_wipe(&text);
    return keyfile_open_to_others(L, path);
  }
  return keyfile_take(L, path, key, &text, (Slice){text.data, text.size},
                      password);
}

/* PKCS#8, encrypted when there is a password. False: see the queue. */
static bool encode(EVP_PKEY *key, Slice password, BIO *out) {
  PKCS8_PRIV_KEY_INFO *plain = EVP_PKEY2PKCS8(key);
  X509_SIG *locked = NULL;
  bool good = plain != NULL;
  if (good && password.data == NULL) {
    good = PEM_write_bio_PKCS8_PRIV_KEY_INFO(out, plain) == 1;
  } else if (good) {
    locked = PKCS8_encrypt(-1, EVP_aes_256_cbc(), (const char *)password.data,
                           (int)password.size, NULL, 0, ITERATIONS, plain);
    good = locked != NULL && PEM_write_bio_PKCS8(out, locked) == 1;
  }
  X509_SIG_free(locked);
  PKCS8_PRIV_KEY_INFO_free(plain);
  return good;
}

static bool write_all(int file, const char *text, size_t size) {
  while (size > 0) {
    ssize_t count = write(file, text, size);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    text += count;
    size -= (size_t)count;
  }
  return fsync(file) == 0;
}

/* 0, or errno. What could not be finished is not left behind. */
static int write_new(const char *path, BIO *pem) {
  char *text;
  long size = BIO_get_mem_data(pem, &text);
  int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY;
  int file = open(path, flags, 0600);
  if (file < 0) return errno;
  int error = write_all(file, text, (size_t)size) ? 0 : errno;
  close(file);
  if (error != 0) unlink(path);
  return error;
}

/* pkey:save(file, password?) --> true | nil, message, code */
int keyfile_save(lua_State *L) {
  Pkey *key = pkey_check(L, 1);
  const char *path = luaL_checkstring(L, 2);
  Slice password = secret_slice(L, 3);
  if (!key->is_private || key->signer != NULL)
    return engine_fail(L, "not_private", "no private key to save");
  BIO *pem = BIO_new(BIO_s_secmem());
  bool encoded = pem != NULL && encode(key->key, password, pem);
  int error = encoded ? write_new(path, pem) : 0;
  BIO_free(pem);
  if (!encoded) return engine_ssl_fail(L, "failed", "cannot encode the key");
  if (error != 0)
    return engine_fail(L, error == EEXIST ? "exists" : "no_file", "%s: %s",
                       path, strerror(error));
  lua_pushboolean(L, 1);
  return 1;
}
