/* A token: its login, its sessions, and how it is found again after it was
** away. Locks: module->use (see hsm.h), then token->lock. */
#include "hsm.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Seconds between attempts to connect: the first pause, the longest. */
#define BACKOFF_FIRST 0.1
#define BACKOFF_LAST 1.0
/* A module call that hangs must not hold up its own restart for ever. */
#define RESTART_WAIT 2

double token_clock(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

CK_RV token_login(Token *token, CK_SESSION_HANDLE session) {
  CK_TOKEN_INFO info;
  CK_FUNCTION_LIST *call = token->module->call;
  if (!token->login) return CKR_OK;
  CK_RV rv = call->C_GetTokenInfo(token->slot, &info);
  if (rv != CKR_OK) return rv;
  if (!(info.flags & CKF_LOGIN_REQUIRED)) return CKR_OK;
  bool keypad = info.flags & CKF_PROTECTED_AUTHENTICATION_PATH;
  if (token->pin.bytes == NULL && !keypad) return CKR_PIN_INVALID;
  rv = call->C_Login(session, CKU_USER, (unsigned char *)token->pin.bytes,
                     token->pin.size);
  return rv == CKR_USER_ALREADY_LOGGED_IN ? CKR_OK : rv;
}

static CK_RV session_open(Token *token, CK_SESSION_HANDLE *session) {
  CK_FUNCTION_LIST *call = token->module->call;
  CK_FLAGS flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
  CK_RV rv = call->C_OpenSession(token->slot, flags, NULL, NULL, session);
  if (rv == CKR_TOKEN_WRITE_PROTECTED)
    rv =
      call->C_OpenSession(token->slot, CKF_SERIAL_SESSION, NULL, NULL, session);
  return rv;
}

/* Finds the token and logs in, in a session that is then the first. */
static CK_RV attach(Token *token, CK_SESSION_HANDLE *session) {
  Module *module = token->module;
  CK_SLOT_ID slot = 0;
  char serial[17] = "", model[17] = "";
  TokenName name = token->name;
  /* Later, only the very token that was there first will do. */
  if (token->epoch > 0 && token->serial[0] != '\0') name.serial = token->serial;
  CK_RV rv = module_find(module, &name, &slot, serial, model);
  if (rv != CKR_OK) return rv;
  token->slot = slot;
  memcpy(token->serial, serial, sizeof serial);
  memcpy(token->model, model, sizeof model);
  if (token->epoch > 0) module->call->C_CloseAllSessions(slot);
  rv = session_open(token, session);
  if (rv != CKR_OK) return rv;
  rv = token_login(token, *session);
  if (rv != CKR_OK) module->call->C_CloseSession(*session);
  return rv;
}

static CK_RV reattach(Token *token, CK_SESSION_HANDLE *session) {
  Module *module = token->module;
  CK_RV rv = CKR_CRYPTOKI_NOT_INITIALIZED;
  pthread_rwlock_rdlock(&module->use);
  if (module->ctx != NULL) rv = attach(token, session);
  pthread_rwlock_unlock(&module->use);
  if (rv == CKR_OK || ckr_trouble(rv) == TROUBLE_PIN) return rv;
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += RESTART_WAIT;
  if (pthread_rwlock_timedwrlock(&module->use, &until) != 0) return rv;
  rv = module_restart(module);
  if (rv == CKR_OK) rv = attach(token, session);
  pthread_rwlock_unlock(&module->use);
  return rv;
}

/* With the lock held: what a finished attempt to connect means. */
static void settle(Token *token, CK_RV rv, CK_SESSION_HANDLE session) {
  double now = token_clock();
  token->connecting = false;
  token->why = rv;
  if (rv == CKR_OK) {
    token->state = TOKEN_UP;
    token->epoch++;
    token->generation = token->module->generation;
    token->idle[0] = session;
    token->idle_count = token->session_count = 1;
    token->unproven = 1;
    token->backoff = 0;
    token->retry_at = now + BACKOFF_LAST;
  } else if (ckr_trouble(rv) == TROUBLE_PIN) {
    token->state = TOKEN_REFUSED;
  } else {
    double pause = token->backoff * 2;
    if (pause < BACKOFF_FIRST) pause = BACKOFF_FIRST;
    if (pause > BACKOFF_LAST) pause = BACKOFF_LAST;
    token->backoff = pause;
    token->retry_at = now + pause;
  }
  pthread_cond_broadcast(&token->freed);
}

CK_RV token_connect(Token *token) {
  CK_SESSION_HANDLE session = CK_INVALID_HANDLE;
  pthread_rwlock_rdlock(&token->module->use);
  CK_RV rv = attach(token, &session);
  pthread_rwlock_unlock(&token->module->use);
  pthread_mutex_lock(&token->lock);
  settle(token, rv, session);
  pthread_mutex_unlock(&token->lock);
  return rv;
}

/* With the lock held: nothing of the epoch can be used any more. */
static void drop(Token *token, CK_RV why) {
  if (token->state == TOKEN_UP) token->state = TOKEN_DOWN;
  token->why = why;
  token->idle_count = token->session_count = 0;
  pthread_cond_broadcast(&token->freed);
}

CK_RV token_lost(Token *token, unsigned epoch, CK_RV why) {
  CK_SESSION_HANDLE session = CK_INVALID_HANDLE;
  CK_RV rv = CKR_OK;
  bool ours = false;
  pthread_mutex_lock(&token->lock);
  if (token->state != TOKEN_UP || token->epoch == epoch) {
    if (token->state == TOKEN_UP) drop(token, why);
    rv = token->why;
    ours = token->state == TOKEN_DOWN && !token->connecting &&
      token_clock() >= token->retry_at;
    if (ours) token->connecting = true;
  }
  pthread_mutex_unlock(&token->lock);
  if (!ours) return rv;
  rv = reattach(token, &session);
  pthread_mutex_lock(&token->lock);
  settle(token, rv, session);
  pthread_mutex_unlock(&token->lock);
  return rv;
}

void token_shut(Token *token) {
  Module *module = token->module;
  pthread_mutex_lock(&token->lock);
  bool current =
    token->state == TOKEN_UP && token->generation == module->generation;
  unsigned count = current ? token->idle_count : 0;
  drop(token, CKR_TOKEN_NOT_PRESENT);
  token->state = TOKEN_REFUSED;
  pthread_mutex_unlock(&token->lock);
  if (count == 0) return;
  pthread_rwlock_rdlock(&module->use);
  for (unsigned i = 0; i < count; i++)
    module->call->C_CloseSession(token->idle[i]);
  pthread_rwlock_unlock(&module->use);
}

bool token_is_shut(Token *token) {
  pthread_mutex_lock(&token->lock);
  bool shut = token->state == TOKEN_REFUSED;
  pthread_mutex_unlock(&token->lock);
  return shut;
}

double token_due(Token *token) {
  pthread_mutex_lock(&token->lock);
  double due =
    token->state == TOKEN_DOWN && !token->connecting ? token->retry_at : 0;
  pthread_mutex_unlock(&token->lock);
  return due;
}

/* With the lock held: waits for a session to come back. */
static bool await(Token *token, double until) {
  double left = until - token_clock();
  if (left <= 0) return false;
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  at.tv_sec += (time_t)left;
  at.tv_nsec += (long)((left - (double)(time_t)left) * 1e9);
  if (at.tv_nsec >= 1000000000L) {
    at.tv_nsec -= 1000000000L;
    at.tv_sec++;
  }
  pthread_cond_timedwait(&token->freed, &token->lock, &at);
  return true;
}

/* With the lock held, which is let go meanwhile: one session more. */
static CK_RV add_session(Token *token, CK_SESSION_HANDLE *session,
                         unsigned epoch) {
  token->session_count++;
  pthread_mutex_unlock(&token->lock);
  CK_RV rv = session_open(token, session);
  pthread_mutex_lock(&token->lock);
  if (rv == CKR_OK || token->epoch != epoch) return rv;
  token->session_count--;
  if (rv == CKR_SESSION_COUNT && token->session_count > 0)
    token->sessions_max = token->session_count;
  return rv;
}

CK_RV token_take(Token *token, CK_SESSION_HANDLE *session, unsigned *epoch) {
  double until = token_clock() + token->wait;
  CK_RV rv = CKR_OK;
  pthread_mutex_lock(&token->lock);
  for (;;) {
    *epoch = token->epoch;
    if (token->state == TOKEN_UP &&
        token->generation != token->module->generation)
      drop(token, CKR_CRYPTOKI_NOT_INITIALIZED);
    if (token->state != TOKEN_UP) {
      rv = token->why;
      break;
    }
    if (token->idle_count > 0) {
      *session = token->idle[--token->idle_count];
      rv = CKR_OK;
      break;
    }
    if (token->session_count < token->sessions_max) {
      rv = add_session(token, session, *epoch);
      if (rv != CKR_SESSION_COUNT || token->session_count == 0) break;
    }
    rv = CKR_SESSION_COUNT;
    if (!await(token, until)) break;
  }
  pthread_mutex_unlock(&token->lock);
  return rv;
}

void token_give(Token *token, CK_SESSION_HANDLE session, unsigned epoch,
                CK_RV rv) {
  Trouble trouble = ckr_trouble(rv);
  bool close = trouble == TROUBLE_SESSION;
  pthread_mutex_lock(&token->lock);
  if (token->epoch != epoch || token->state != TOKEN_UP) {
    close = false; /* it went with its epoch */
  } else if (close) {
    token->session_count--;
  } else {
    token->idle[token->idle_count++] = session;
  }
  pthread_cond_signal(&token->freed);
  pthread_mutex_unlock(&token->lock);
  if (close) token->module->call->C_CloseSession(session);
}

CK_RV token_work(lua_State *L, Token *token, TokenWork work, void *context) {
  CK_SESSION_HANDLE session = CK_INVALID_HANDLE;
  unsigned epoch = 0;
  CK_RV rv = CKR_OK;
  for (int attempt = 0; attempt < 2; attempt++) {
    pthread_rwlock_rdlock(&token->module->use);
    rv = token_take(token, &session, &epoch);
    if (rv == CKR_OK) {
      rv = work(L, token, session, context);
      token_give(token, session, epoch, rv);
    }
    pthread_rwlock_unlock(&token->module->use);
    Trouble trouble = ckr_trouble(rv);
    if (trouble != TROUBLE_GONE && trouble != TROUBLE_SESSION &&
        trouble != TROUBLE_LOGIN)
      break;
    if (token_lost(token, epoch, rv) != CKR_OK) break;
  }
  return rv;
}

void token_release(Token *token) {
  if (atomic_fetch_sub(&token->users, 1) > 1) return;
  if (token->module != NULL) module_close(token->module);
  if (token->pin.bytes != NULL)
    OPENSSL_clear_free(token->pin.bytes, token->pin.size);
  pthread_cond_destroy(&token->freed);
  pthread_mutex_destroy(&token->lock);
  free(token->name.label);
  free(token->name.serial);
  free(token->idle);
  free(token);
}
