/* What the files of engine.pkcs11 share: one module a path, tokens that
** come and go, keys that outlive their handles, signer threads. */
#ifndef FULCIO_HSM_H
#define FULCIO_HSM_H

#include "engine.h"

#include <libp11.h>
#include <p11-kit/pkcs11.h>
#include <pthread.h>
#include <stdatomic.h>

/* ckr.c: what a return code asks for (PKCS#11 2.40 section 5.1). */
typedef enum Trouble {
  TROUBLE_NONE,
  TROUBLE_SESSION, /* this session is lost: open another, once */
  TROUBLE_LOGIN,   /* log in and find the key again, once */
  TROUBLE_GONE,    /* the token is away: reconnect, with back-off */
  TROUBLE_BUSY,    /* try again shortly, a few times */
  TROUBLE_LIMIT,   /* no more sessions: wait for one */
  TROUBLE_PIN,     /* never try again: it would lock the token */
  TROUBLE_FATAL    /* a mistake of configuration */
} Trouble;
Trouble ckr_trouble(CK_RV rv);
/* "CKR_DEVICE_REMOVED"; a number for codes that have no name. */
const char *ckr_name(CK_RV rv);
/* The stable word for Lua: "hsm_gone", "hsm_busy", "bad_pin", … */
const char *ckr_code(CK_RV rv);
/* Our own, in the vendor's range: nothing, or more than one, was found. */
#define CKR_OURS_NO_TOKEN (CKR_VENDOR_DEFINED | 0x46550001UL)
#define CKR_OURS_TWO_TOKENS (CKR_VENDOR_DEFINED | 0x46550002UL)
#define CKR_OURS_NO_KEY (CKR_VENDOR_DEFINED | 0x46550003UL)
#define CKR_OURS_TWO_KEYS (CKR_VENDOR_DEFINED | 0x46550004UL)
#define CKR_OURS_BAD_SIGNATURE (CKR_VENDOR_DEFINED | 0x46550005UL)
#define CKR_OURS_NO_MODULE (CKR_VENDOR_DEFINED | 0x46550006UL)
#define CKR_OURS_PIN_FORM (CKR_VENDOR_DEFINED | 0x46550007UL)
#define CKR_OURS_PIN_BEFORE (CKR_VENDOR_DEFINED | 0x46550008UL)
#define CKR_OURS_STUCK (CKR_VENDOR_DEFINED | 0x46550009UL)
#define CKR_OURS_NO_PIN (CKR_VENDOR_DEFINED | 0x4655000aUL)

/* quirk.c: what a vendor's module wants done differently. */
typedef struct Profile {
  const char *name;
  const char *maker;    /* is in the module's manufacturer or description */
  const char *pin_form; /* for the message when a PIN is refused */
  bool no_certificates; /* they are kept in files instead */
  bool no_login;        /* a PIN is not needed */
  unsigned id_size;     /* CKA_ID is so many bytes; 0: any */
  unsigned label_max;   /* 0: any */
  unsigned sessions;    /* most of one process; 0: the default */
} Profile;
const Profile *quirk_named(const char *name);
const Profile *quirk_for(const CK_INFO *info, const char *model);
/* Most sessions of one process; 0: any. One for p11-kit's own modules: when
** a connection is lost that several threads use, 0.24 lets some of them
** wait for ever. Its other end does one thing at a time anyway. */
unsigned quirk_sessions(const Profile *profile, const char *path);
/* Why a PIN cannot be right for the profile; NULL when it may be. */
const char *quirk_pin_fault(const Profile *profile, Slice pin);

/* module.c: a PKCS#11 library. Whoever calls one of its functions holds
** `use` for reading; who loads or finalises it, for writing. */
typedef struct Module {
  char *path;
  char *init;      /* passed to C_Initialize, for NSS; NULL: nothing */
  PKCS11_CTX *ctx; /* NULL: not initialised, and nothing may be called */
  CK_FUNCTION_LIST *call;
  void *handle;
  bool apart;          /* `call` had to be initialised for itself */
  unsigned generation; /* grows with each C_Initialize */
  unsigned users;
  pthread_rwlock_t use;
  struct Module *next;
} Module;
/* That of the path, not loaded yet or as it is; NULL: no memory. */
Module *module_open(const char *path, const char *init);
void module_close(Module *module);
/* Loads and initialises it, or C_Finalize and C_Initialize, the only cure
** for some losses. */
CK_RV module_restart(Module *module);

/* What names a token; unset members fit any. */
typedef struct TokenName {
  char *label, *serial, *maker, *model;
  long slot; /* the slot's ID; -1: any */
} TokenName;
/* Finds its slot by libp11's enumeration, and fills serial and model. */
CK_RV module_find(Module *module, const TokenName *name, CK_SLOT_ID *slot,
                  char serial[17], char model[17]);

/* token.c: its state and its sessions. connect.c: how it gets up. */
typedef enum TokenState { TOKEN_UP, TOKEN_DOWN, TOKEN_REFUSED } TokenState;
typedef struct Token {
  Module *module;
  TokenName name;
  _Atomic(const Profile *) profile;
  bool profile_given;
  Secret pin; /* bytes NULL: none was given */
  char *turn; /* a file that processes hold in turn to connect, or NULL */
  bool login;
  bool refused; /* connect.c's: the PIN was, and is not tried again */
  bool lazy;    /* connects beside the loop, keys are found when used */
  bool prove;   /* signs nothing before a probe was answered */
  bool verify_all;
  unsigned sessions_max; /* shrinks when the module refuses more */
  double wait;           /* seconds for a free session */
  CK_SLOT_ID slot;
  char serial[17], model[17];
  atomic_uint users;
  pthread_mutex_t lock; /* what follows */
  pthread_cond_t freed; /* a session came back, or the state changed */
  TokenState state;
  bool connecting;     /* a thread is at it */
  double called_at;    /* the module was, to connect; 0: not now */
  unsigned epoch;      /* grows with each connection; 0: never */
  unsigned generation; /* of the module, when it connected */
  double lost_at, retry_at, backoff;
  double blocked_at; /* a hanging call has kept it from connecting; 0: none */
  CK_RV why;         /* the state is not UP */
  CK_SESSION_HANDLE *idle;
  unsigned idle_count, session_count;
  unsigned long signatures;
  CK_RV ill;         /* no signature since is good */
  struct Pool *pool; /* pool.c; NULL: no threads */
} Token;
double token_clock(void);
/* A time of that clock, as waits with CLOCK_MONOTONIC take it. */
struct timespec token_time(double when);
/* The first connection; later ones happen by themselves. */
CK_RV token_connect(Token *token);
/* connect.c: finds the token and logs in, in a session that is then the
** first. With `again` the module may be restarted for it. */
CK_RV token_attach(Token *token, bool again, CK_SESSION_HANDLE *session);
CK_RV token_session(Token *token, CK_SESSION_HANDLE *session);
/* Gives back a reference; the last one frees. */
void token_release(Token *token);
/* A session of the present epoch; to be given back with what came of it. */
CK_RV token_take(Token *token, CK_SESSION_HANDLE *session, unsigned *epoch);
void token_give(Token *token, CK_SESSION_HANDLE session, unsigned epoch,
                CK_RV rv);
/* Reports that the token is away; connects again when it is time to, and
** CKR_OK says that it worked. */
CK_RV token_lost(Token *token, unsigned epoch, CK_RV why);
/* A signature of the epoch was good: the connection is worth something. */
void token_proved(Token *token, unsigned epoch);
/* Runs `work` in a session, and once more after a reconnection. It may
** push values on L, but must not throw: the module is locked. */
typedef CK_RV (*TokenWork)(lua_State *L, Token *token,
                           CK_SESSION_HANDLE session, void *context);
CK_RV token_work(lua_State *L, Token *token, TokenWork work, void *context);
/* Ends it for good: its keys are refused from now on. */
void token_shut(Token *token);
/* Whether no connection will be tried: shut, or its PIN was refused. */
bool token_is_shut(Token *token);
/* When a connection should be tried with nobody asking; 0: no need. */
double token_due(Token *token);
/* Seconds for which the module is at a connection; 0: it is not. */
double token_connecting(Token *token);
/* Seconds for which another call, which hangs, has prevented one. */
double token_blocked(Token *token);

/* object.c */
typedef struct KeyName {
  char *label;
  unsigned char *id;
  size_t id_size;
} KeyName;
CK_RV object_find(Token *token, CK_SESSION_HANDLE session,
                  CK_OBJECT_CLASS class, const KeyName *name,
                  CK_OBJECT_HANDLE *found, unsigned room, unsigned *count);
/* An attribute's bytes, malloc'ed; CKR_OK with size 0 when it has none. */
CK_RV object_read(Token *token, CK_SESSION_HANDLE session,
                  CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type,
                  unsigned char **bytes, size_t *size);
int object_generate(lua_State *L);
int object_store(lua_State *L);
int object_certificates(lua_State *L);
int object_list(lua_State *L);

/* hsmkey.c: a private key in a token. signing.c: a signature by it. */
typedef struct HsmKey {
  Token *token;
  KeyName name;
  CK_OBJECT_HANDLE handle; /* token->lock; good in `epoch` only */
  unsigned epoch;
  unsigned finding;   /* grows each time the key is looked for */
  unsigned good;      /* that finding's signatures are: one was verified */
  EVP_PKEY *public;   /* for verification; owned */
  int type;           /* EVP_PKEY_EC, EVP_PKEY_RSA, EVP_PKEY_ED25519 */
  unsigned field;     /* bytes of an EC coordinate */
  atomic_bool proved; /* it has made a good signature */
  atomic_uint users;
} HsmKey;
void hsmkey_release(HsmKey *key);
/* Finds the key and pushes its pkey, or nil, message, code. */
int hsmkey_open(lua_State *L);
int hsmkey_probe(lua_State *L);
enum { HSM_SIGNATURE_MAX = 1024 };
typedef struct Signing {
  HsmKey *key;         /* holds a reference */
  unsigned char *data; /* owned: a digest, or Ed25519's whole message */
  size_t data_size;
  unsigned char *plain; /* what was asked for, to verify; owned */
  size_t plain_size;
  char hash[8];
  unsigned char signature[HSM_SIGNATURE_MAX];
  size_t signature_size;
  unsigned finding; /* of the key, that made it */
  bool reached;     /* the module was asked */
  CK_RV rv;
} Signing;
Signing *signing_make(HsmKey *key, Slice data, const char *hash);
void signing_free(Signing *signing);
/* Signs, with all that recovery asks for; blocks. The result is in rv. */
void signing_run(Signing *signing);
/* Pushes pkey:sign's results. */
int signing_push(lua_State *L, const Signing *signing);

/* affinity.c */
/* Whether this process is one of several, on several processors. */
bool affinity_may_bind(void);
/* A thread to this process's processor, or wherever the process could run
** when this was first asked for. */
void affinity_bind(pthread_t thread, bool bind);

/* pool.c: signatures that are made while the loop goes on. A probe is let
** through to an HSM that has not answered others. */
int pool_sign(lua_State *L, Signing *signing, bool probe);
/* Starts the threads, whose first connects; false: there can be none. */
bool pool_ready(Token *token);
/* Whether no signature has come for longer than one may wait. */
bool pool_stuck(Token *token);
/* Seconds for which signatures wait and none has come, also since one was
** given up; 0: none waits. */
double pool_still(Token *token);
/* Seconds since the last one, while none waits. */
double pool_idle(Token *token);
void pool_stop(Token *token);

/* pkcs11.c */
#define TOKEN_TYPE "fulcio.token"
Token *token_check(lua_State *L, int index);
/* nil, "WHAT on token LABEL: CKR_…", code. */
int token_fail(lua_State *L, const Token *token, const char *what, CK_RV rv);
/* Reads { label =, id = } at index. The texts stay the table's. */
KeyName key_name_at(lua_State *L, int index);

#endif
