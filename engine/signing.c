/* One signature by a token: the mechanism, its forms, and what to do when
** it does not come. Runs in a signer thread, or in a host without a loop. */
#include "hsm.h"

#include "der.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BUSY_TRIES = 3, SAMPLED = 64 };
/* No attempt begins later than this. */
#define RECOVERY_SECONDS 1

/* DigestInfo before the digest (RFC 8017 section 9.2, note 1). */
static const unsigned char DIGEST_INFO[] = {
  0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
  0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20,
};

/* The same with another hash: its OID's last byte and the three lengths. */
static void digest_info(unsigned char *out, size_t digest) {
  memcpy(out, DIGEST_INFO, sizeof DIGEST_INFO);
  out[1] = (unsigned char)(digest + 17);
  out[14] = digest == 32 ? 1 : digest == 48 ? 2 : 3;
  out[18] = (unsigned char)digest;
}

static bool prepare(Signing *signing) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  size_t size = 0;
  Slice plain = {signing->plain, signing->plain_size};
  if (signing->key->type == EVP_PKEY_ED25519) {
    signing->data = malloc(plain.size + 1);
    if (signing->data == NULL) return false;
    memcpy(signing->data, plain.data, plain.size);
    signing->data_size = plain.size;
    return true;
  }
  if (!digest_make(signing->hash, plain, digest, &size)) return false;
  signing->data = malloc(sizeof DIGEST_INFO + size);
  if (signing->data == NULL) return false;
  size_t prefix = 0;
  if (signing->key->type == EVP_PKEY_RSA) {
    digest_info(signing->data, size);
    prefix = sizeof DIGEST_INFO;
  }
  memcpy(signing->data + prefix, digest, size);
  signing->data_size = prefix + size;
  return true;
}

Signing *signing_make(HsmKey *key, Slice data, const char *hash) {
  Signing *signing = calloc(1, sizeof *signing);
  if (signing == NULL) return NULL;
  atomic_fetch_add(&key->users, 1);
  signing->key = key;
  signing->plain = malloc(data.size + 1);
  if (signing->plain != NULL) {
    memcpy(signing->plain, data.data, data.size);
    signing->plain_size = data.size;
    if (hash != NULL) strncpy(signing->hash, hash, sizeof signing->hash - 1);
    if (prepare(signing)) return signing;
  }
  signing_free(signing);
  return NULL;
}

void signing_free(Signing *signing) {
  free(signing->data);
  free(signing->plain);
  hsmkey_release(signing->key);
  free(signing);
}

static CK_RV handle_of(Signing *signing, CK_SESSION_HANDLE session,
                       unsigned epoch, CK_OBJECT_HANDLE *handle) {
  HsmKey *key = signing->key;
  Token *token = key->token;
  pthread_mutex_lock(&token->lock);
  bool known = key->epoch == epoch && key->handle != CK_INVALID_HANDLE;
  *handle = key->handle;
  signing->finding = key->finding;
  pthread_mutex_unlock(&token->lock);
  if (known) return CKR_OK;
  CK_OBJECT_HANDLE found[2];
  unsigned count;
  CK_RV rv =
    object_find(token, session, CKO_PRIVATE_KEY, &key->name, found, 2, &count);
  if (rv != CKR_OK) return rv;
  if (count != 1) return count == 0 ? CKR_OURS_NO_KEY : CKR_OURS_TWO_KEYS;
  *handle = found[0];
  pthread_mutex_lock(&token->lock);
  key->handle = found[0];
  key->epoch = epoch;
  signing->finding = ++key->finding;
  pthread_mutex_unlock(&token->lock);
  return CKR_OK;
}

static void forget_handle(HsmKey *key) {
  pthread_mutex_lock(&key->token->lock);
  key->handle = CK_INVALID_HANDLE;
  pthread_mutex_unlock(&key->token->lock);
}

/* An INTEGER of an unsigned number; its size. */
static size_t put_integer(unsigned char *out, const unsigned char *number,
                          size_t size) {
  while (size > 1 && number[0] == 0) number++, size--;
  size_t sign = number[0] >> 7;
  out[0] = DER_INTEGER;
  out[1] = (unsigned char)(size + sign);
  out[2] = 0;
  memcpy(out + 2 + sign, number, size);
  return 2 + sign + size;
}

/* r || s as PKCS#11 has it becomes ECDSA-Sig-Value. Of 66 bytes each at most,
** so every length but the whole one's is short. */
static void ecdsa_der(Signing *signing, const unsigned char *raw, size_t half) {
  unsigned char body[2 * (3 + 66)], *out = signing->signature;
  size_t size = put_integer(body, raw, half);
  size += put_integer(body + size, raw + half, half);
  *out++ = DER_SEQUENCE;
  if (size > 127) *out++ = 0x81;
  *out++ = (unsigned char)size;
  memcpy(out, body, size);
  signing->signature_size = (size_t)(out - signing->signature) + size;
}

static CK_RV sign_once(Signing *signing, CK_SESSION_HANDLE session,
                       unsigned epoch) {
  HsmKey *key = signing->key;
  CK_FUNCTION_LIST *call = key->token->module->call;
  CK_MECHANISM mechanism = {CKM_ECDSA, NULL, 0};
  if (key->type == EVP_PKEY_RSA) mechanism.mechanism = CKM_RSA_PKCS;
  if (key->type == EVP_PKEY_ED25519) mechanism.mechanism = CKM_EDDSA;
  CK_OBJECT_HANDLE handle;
  CK_RV rv = handle_of(signing, session, epoch, &handle);
  if (rv == CKR_OK) rv = call->C_SignInit(session, &mechanism, handle);
  if (rv != CKR_OK) return rv;
  unsigned char raw[HSM_SIGNATURE_MAX];
  CK_ULONG size = sizeof raw;
  rv = call->C_Sign(session, signing->data, signing->data_size, raw, &size);
  if (rv != CKR_OK) return rv;
  if (key->type == EVP_PKEY_EC) {
    if (size != 2UL * key->field || key->field > 66)
      return CKR_OURS_BAD_SIGNATURE;
    ecdsa_der(signing, raw, key->field);
    return CKR_OK;
  }
  memcpy(signing->signature, raw, size);
  signing->signature_size = size;
  return CKR_OK;
}

/* One attempt in one session. A handle that is not good any more is looked
** for again; who is logged out connects anew, where one thread does it for
** all, so that a wrong PIN is tried once. */
static CK_RV attempt(Signing *signing, unsigned *epoch) {
  Token *token = signing->key->token;
  CK_SESSION_HANDLE session;
  pthread_rwlock_rdlock(&token->module->use);
  CK_RV rv = token_take(token, &session, epoch);
  if (rv == CKR_OK) {
    signing->reached = true;
    rv = sign_once(signing, session, *epoch);
    if (ckr_trouble(rv) == TROUBLE_LOGIN) {
      forget_handle(signing->key);
      if (rv != CKR_USER_NOT_LOGGED_IN)
        rv = sign_once(signing, session, *epoch);
    }
    token_give(token, session, *epoch, rv);
  }
  pthread_rwlock_unlock(&token->module->use);
  /* The key was there at start: without it this is not the same token. */
  return rv == CKR_OURS_NO_KEY ? CKR_TOKEN_NOT_PRESENT : rv;
}

/* Rule: all signatures after the key was looked for, which each connection
** does, until one has passed; then one in 64, or all of them. */
static bool to_verify(const Signing *signing) {
  Token *token = signing->key->token;
  pthread_mutex_lock(&token->lock);
  bool due = token->verify_all || signing->finding != signing->key->good ||
    token->signatures % SAMPLED == 0;
  token->signatures++;
  pthread_mutex_unlock(&token->lock);
  return due;
}

/* A signature that was looked at says so of those that will not be. */
static void judge(const Signing *signing, bool good) {
  HsmKey *key = signing->key;
  pthread_mutex_lock(&key->token->lock);
  if (!good)
    key->good = 0;
  else if (signing->finding == key->finding)
    key->good = signing->finding;
  pthread_mutex_unlock(&key->token->lock);
}

static CK_RV verified(Signing *signing, unsigned epoch) {
  if (!to_verify(signing)) return CKR_OK;
  const char *hash = signing->hash[0] == '\0' ? NULL : signing->hash;
  bool good =
    pkey_verifies_once(signing->key->public, hash, false,
                       (Slice){signing->plain, signing->plain_size},
                       (Slice){signing->signature, signing->signature_size});
  judge(signing, good);
  if (!good) return CKR_OURS_BAD_SIGNATURE;
  atomic_store(&signing->key->proved, true);
  token_proved(signing->key->token, epoch);
  return CKR_OK;
}

/* 50 to 300 ms, so that callers do not come back together. */
static void pause_a_little(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  struct timespec wait = {0, 50000000L + now.tv_nsec % 250000000L};
  nanosleep(&wait, NULL);
}

/* A key that has signed and now cannot is not a mistake of configuration:
** SoftHSM answers anything when its files are away. */
static Trouble trouble_of(const Signing *signing) {
  Trouble trouble = ckr_trouble(signing->rv);
  if (trouble != TROUBLE_FATAL || signing->rv == CKR_OURS_BAD_SIGNATURE ||
      !atomic_load(&signing->key->proved))
    return trouble;
  return TROUBLE_GONE;
}

/* A token that was asked and did not sign is not ready, until it does. */
static void note_health(const Signing *signing) {
  Token *token = signing->key->token;
  if (!signing->reached) return;
  pthread_mutex_lock(&token->lock);
  token->ill = signing->rv;
  pthread_mutex_unlock(&token->lock);
}

static void sign(Signing *signing) {
  Token *token = signing->key->token;
  bool renewed = false;
  double last = token_clock() + RECOVERY_SECONDS;
  int busy = 0;
  for (;;) {
    unsigned epoch = 0;
    CK_RV rv = attempt(signing, &epoch);
    if (rv == CKR_OK) rv = verified(signing, epoch);
    signing->rv = rv;
    Trouble trouble = trouble_of(signing);
    if (trouble == TROUBLE_SESSION && !renewed) {
      renewed = true;
    } else if (trouble == TROUBLE_BUSY && busy++ < BUSY_TRIES) {
      pause_a_little();
    } else if (trouble == TROUBLE_GONE || trouble == TROUBLE_SESSION ||
               trouble == TROUBLE_LOGIN) {
      if (token_lost(token, epoch, rv) != CKR_OK || token_clock() > last)
        return;
    } else {
      return;
    }
  }
}

void signing_run(Signing *signing) {
  sign(signing);
  note_health(signing);
}

int signing_push(lua_State *L, const Signing *signing) {
  if (signing->rv != CKR_OK) {
    int count = token_fail(L, signing->key->token, "signing", signing->rv);
    if (trouble_of(signing) != TROUBLE_GONE) return count;
    lua_pop(L, 1);
    lua_pushliteral(L, "hsm_gone");
    return count;
  }
  lua_pushlstring(L, (const char *)signing->signature, signing->signature_size);
  return 1;
}
