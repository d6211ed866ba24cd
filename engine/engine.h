/* What the files of the engine share. Each engine/SUBJECT.c defines one
** engine_open_SUBJECT, which pushes that subject's table. */
#ifndef FULCIO_ENGINE_H
#define FULCIO_ENGINE_H

#include <lua.h>
#include <lauxlib.h>
#include <lualib.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The one place for what Lua 5.1 (LuaJIT) has under another name. */
#if LUA_VERSION_NUM < 502
#define lua_rawlen lua_objlen
#endif

#define ENGINE_VERSION "0.1.0"

/* error.c: the one place that drains OpenSSL's error queue. Both push
** nil, message, code and return 3. With engine_fail the message is made
** from the format; engine_ssl_fail appends OpenSSL's own reason. */
int engine_fail(lua_State *L, const char *code, const char *format, ...)
  __attribute__((format(printf, 3, 4)));
int engine_ssl_fail(lua_State *L, const char *code, const char *what);
/* Throws when the table at index has a key that names (NULL-ended) lacks. */
void engine_check_options(lua_State *L, int index, const char *const *names);

/* A slice of memory that somebody else owns. */
typedef struct Slice {
  const unsigned char *data;
  size_t size;
} Slice;

/* bytes.c */
/* The string argument at index; throws when there is none. */
Slice engine_slice(lua_State *L, int index);
/* Bytes to work in, on the C stack while those suffice, else in a userdata;
** pushes one value. */
typedef struct Room {
  unsigned char few[4096];
} Room;
void *engine_room(lua_State *L, Room *room, size_t size);
/* Pushes lower-case hexadecimal. */
void engine_push_hex(lua_State *L, Slice bytes);
/* Pushes seconds since 1970, whole also where Lua has no integers. */
void engine_push_time(lua_State *L, int64_t seconds);

/* text.c; its functions of Lua are in the table `bytes` */
bool engine_is_utf8(Slice text);
/* How many bytes from the first on are printable ASCII that JSON's strings
** have as it is: no quote, no backslash. */
size_t engine_plain(const unsigned char *at, size_t size);
int text_json(lua_State *L);
int text_json_members(lua_State *L);
int text_is_printable(lua_State *L);
int text_is_ascii(lua_State *L);
int text_is_utf8(lua_State *L);

/* base64.c */
enum {
  BASE64_STANDARD = 1, /* + and / may occur */
  BASE64_WEB = 2,      /* - and _ may occur, but never both alphabets */
  BASE64_PADDING = 4,  /* "=" may fill up the last group */
  BASE64_BLANKS = 8    /* space, tab, CR and LF are skipped */
};
/* `out` has room for (size + 2) / 3 * 4 bytes; the length it took. Only the
** standard alphabet is padded. */
size_t base64_encode(Slice bytes, bool web, char *out);
/* `out` has room for size / 4 * 3 + 3 bytes. False: something that `allow`
** does not name, or bits after the last byte that are not zero. */
bool base64_decode(Slice text, unsigned allow, unsigned char *out,
                   size_t *size);

/* gzip.c; its function of Lua is in the table `bytes` */
int bytes_gunzip(lua_State *L);

/* digest.c: "SHA-1", "SHA-256", "SHA-384", "SHA-512"; NULL and false for
** another name. `out` has room for EVP_MAX_MD_SIZE. */
const EVP_MD *digest_named(const char *name);
bool digest_make(const char *name, Slice data, unsigned char *out,
                 size_t *size);

/* pkey.c. `signer` is set for keys whose private half is elsewhere (an
** HSM): it returns as pkey:sign does, that is 1 (the signature) or 3 (nil,
** message, code). It is called as the last act of pkey:sign, whose Lua
** arguments (1 the key, 2 the data, 3 the hash) stay on the stack until it
** returns: `data` and `hash` point into them, so another thread may read
** them while the coroutine waits. To wait, a signer whose coroutine
** loop_owns() returns lua_yield(L, 0), and whoever resumes it passes the
** results; or lua_yieldk with a continuation of its own. `hash` is never
** NULL but for Ed25519. ECDSA signatures are DER. */
typedef struct Pkey Pkey;
/* An operation of OpenSSL on a key, prepared once. */
typedef struct KeyUse {
  EVP_PKEY_CTX *context; /* owned; NULL: not prepared yet */
  const EVP_MD *digest;  /* what RSA is prepared for, and whether with PSS */
  bool pss;
} KeyUse;
typedef int (*PkeySign)(lua_State *L, Pkey *key, Slice data, const char *hash);
struct KeyShape;
struct Pkey {
  EVP_PKEY *key; /* owned; NULL: ask pkey_object(). Public part only when
                 ** signer is set */
  bool is_private;
  PkeySign signer;     /* NULL: sign with `key` in software */
  int signer_ref;      /* registry reference that keeps the signer's owner */
  unsigned char *spki; /* DER, cached; owned, from OPENSSL_malloc */
  size_t spki_size;
  const struct KeyShape *shape; /* what the SPKI says; ask key_shape() */
  KeyUse signing, verifying;    /* in software */
  bool lent;                    /* it was verified with by curve_lend() */
};
#define PKEY_TYPE "fulcio.pkey"
/* Pushes a userdata with no key yet; the caller then fills `key`. */
Pkey *pkey_push(lua_State *L);
Pkey *pkey_check(lua_State *L, int index);
/* Recognises the SPKI of the kinds we allow by its bytes, without
** OpenSSL's decoders. NULL: not one of them. */
EVP_PKEY *pkey_from_spki(Slice spki);
/* Pushes a public key made from such an SPKI; false, and nothing pushed,
** when it is not one of them. */
bool pkey_push_spki(lua_State *L, Slice spki);
/* OpenSSL's object for it, made when first asked for. NULL: a kind of key
** that can be shown and not used. */
EVP_PKEY *pkey_object(Pkey *key);
/* DER SubjectPublicKeyInfo, cached in the key. */
Slice pkey_spki(Pkey *key);
/* SHA-1 of the subjectPublicKey bits. */
void pkey_id(Pkey *key, unsigned char id[20]);
/* Verifies in software. hash NULL: the key's own. pss: RSA-PSS with a salt
** of any length, as Go takes it. The queue is drained. */
bool pkey_verifies(Pkey *key, const char *hash, bool pss, Slice data,
                   Slice signature);
/* The same, once, and from any thread. */
bool pkey_verifies_once(EVP_PKEY *key, const char *hash, bool pss, Slice data,
                        Slice signature);

/* Signs, and makes something of the signature: every C function that needs
** a signature ends in `return pkey_sign_then(…)`. `index` is where the key
** is; hash NULL is the key's own. When it is there, finish(L, signature)
** is called and its results are the function's; when it cannot be made,
** they are nil, message, code. Whatever coroutine switches lie between,
** `finish` finds what stood on the stack at the call under the same
** positive indices (and maybe more above), and nothing else: C pointers it
** uses must be into values there. `data` is copied when the key has a
** signer, so it need not be. */
typedef int (*PkeyFinish)(lua_State *L, Slice signature);
int pkey_sign_then(lua_State *L, int index, Slice data, const char *hash,
                   PkeyFinish finish);

/* x509.c */
#define X509_TYPE "fulcio.x509"

/* secret.c: a password or PIN, readable from C only. */
#define SECRET_TYPE "fulcio.secret"
typedef struct Secret {
  char *bytes; /* NUL after the end as well */
  size_t size;
} Secret;
/* A string or secret at index as a slice; size 0 and data NULL when nil. */
Slice secret_slice(lua_State *L, int index);
/* The function system.secret, and its type's metatable. */
int secret_from(lua_State *L);
void secret_open(lua_State *L);
/* apart.c: the function system.apart. */
int system_apart(lua_State *L);
/* landlock.c: the function system.read_only. */
int system_read_only(lua_State *L);
/* Tells where the command line is, so that secrets can be wiped from it. */
void system_argv(int argc, char **argv);

/* loop.c and coroutine.c: the process's event loop, and the coroutines on
** it. Weak: absent in a host without the loop, so test
** `loop_owns != NULL && loop_owns(L)`. Where that is true, a Lua-callable
** function may start something that ends in an event callback on loop_base,
** and
**   return loop_suspend(L);
** The callback later pushes values on that coroutine (the L it remembers,
** alive until then) and calls loop_resume(L, count): they become what the
** function returns in Lua. Each suspend is resumed exactly once, never
** before loop_suspend was reached. */
#define LOOP_WEAK __attribute__((weak))
/* Made on first use in a process; a forked child has its own. */
struct event_base *loop_base(void) LOOP_WEAK;
/* Calls hook at the end of each turn. */
void loop_on_turn(void (*hook)(void)) LOOP_WEAK;
/* Whether L is a coroutine that our loop started and can yield here. */
bool loop_owns(lua_State *L) LOOP_WEAK;
int loop_suspend(lua_State *L) LOOP_WEAK;
/* Says that the lua_yield or lua_yieldk that follows is such a wait, too. */
void loop_expect(lua_State *L) LOOP_WEAK;
/* At once from an event callback; in the next turn while Lua runs. */
void loop_resume(lua_State *co, int count) LOOP_WEAK;
/* In the next turn in any case. */
void loop_resume_later(lua_State *co, int count) LOOP_WEAK;

#endif
