/* A token: its state, and its sessions, taken and given back. Locks:
** module->use (see hsm.h), then token->lock. */
#include "hsm.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Seconds between attempts to connect: the first pause, the longest. */
#define BACKOFF_FIRST 0.1
#define BACKOFF_LAST 1.0
/* Whoever finds the token lost waits so long for who is reconnecting it. */
#define LOST_SECONDS 0.8

double token_clock(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

struct timespec token_time(double when) {
  struct timespec at = {(time_t)when, 0};
  at.tv_nsec = (long)((when - (double)at.tv_sec) * 1e9);
  return at;
}

/* With the lock held: when the next attempt may be made. */
static void back_off(Token *token) {
  double pause = token->backoff * 2;
  if (pause < BACKOFF_FIRST) pause = BACKOFF_FIRST;
  if (pause > BACKOFF_LAST) pause = BACKOFF_LAST;
  token->backoff = pause;
  token->retry_at = token_clock() + pause;
}

/* With the lock held: what a finished attempt to connect means. */
static void settle(Token *token, CK_RV rv, CK_SESSION_HANDLE session) {
  token->connecting = false;
  token->why = rv;
  if (rv == CKR_OK && token->state == TOKEN_DOWN) {
    token->state = TOKEN_UP;
    token->epoch++;
    token->generation = token->module->generation;
    token->idle[0] = session;
    token->idle_count = token->session_count = 1;
  } else if (token->refused) {
    token->state = TOKEN_REFUSED;
  }
  back_off(token);
  pthread_cond_broadcast(&token->freed);
}

CK_RV token_connect(Token *token) {
  CK_SESSION_HANDLE session = CK_INVALID_HANDLE;
  CK_RV rv = token_attach(token, false, &session);
  pthread_mutex_lock(&token->lock);
  settle(token, rv, session);
  pthread_mutex_unlock(&token->lock);
  return rv;
}

void token_proved(Token *token, unsigned epoch) {
  pthread_mutex_lock(&token->lock);
  if (token->epoch == epoch && token->state == TOKEN_UP) {
    token->backoff = 0;
    token->retry_at = token_clock();
  }
  pthread_mutex_unlock(&token->lock);
}

/* With the lock held: nothing of the epoch can be used any more. */
static void drop(Token *token, CK_RV why) {
  if (token->state == TOKEN_UP) {
    token->state = TOKEN_DOWN;
    token->lost_at = token_clock();
  }
  token->why = why;
  token->idle_count = token->session_count = 0;
  pthread_cond_broadcast(&token->freed);
}

/* With the lock held: waits until something comes back; false when the
** time is over. */
static bool await(Token *token, double until) {
  if (until <= token_clock()) return false;
  struct timespec at = token_time(until);
  pthread_cond_timedwait(&token->freed, &token->lock, &at);
  return true;
}

/* With the lock held: whether this thread is to connect. Else *rv is what
** came of another's attempt, if it came soon after the loss. */
static bool may_connect(Token *token, CK_RV *rv) {
  double last = token->lost_at + LOST_SECONDS;
  bool waits = true;
  while (token->state == TOKEN_DOWN && waits)
    waits = token->connecting
      ? await(token, last)
      : token->retry_at < last && await(token, token->retry_at);
  *rv = token->state == TOKEN_UP ? CKR_OK : token->why;
  if (token->state != TOKEN_DOWN || token->connecting ||
      token_clock() < token->retry_at)
    return false;
  token->connecting = true;
  return true;
}

CK_RV token_lost(Token *token, unsigned epoch, CK_RV why) {
  CK_SESSION_HANDLE session = CK_INVALID_HANDLE;
  CK_RV rv = CKR_OK;
  pthread_mutex_lock(&token->lock);
  if (token->state == TOKEN_UP && token->epoch == epoch) drop(token, why);
  bool ours = may_connect(token, &rv);
  pthread_mutex_unlock(&token->lock);
  if (!ours) return rv;
  rv = token_attach(token, true, &session);
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

double token_connecting(Token *token) {
  pthread_mutex_lock(&token->lock);
  double began = token->called_at;
  pthread_mutex_unlock(&token->lock);
  return began == 0 ? 0 : token_clock() - began;
}

double token_blocked(Token *token) {
  pthread_mutex_lock(&token->lock);
  double since = token->blocked_at;
  pthread_mutex_unlock(&token->lock);
  return since == 0 ? 0 : token_clock() - since;
}

/* With the lock held, which is let go meanwhile: one session more. */
static CK_RV add_session(Token *token, CK_SESSION_HANDLE *session,
                         unsigned epoch) {
  token->session_count++;
  pthread_mutex_unlock(&token->lock);
  CK_RV rv = token_session(token, session);
  pthread_mutex_lock(&token->lock);
  if (rv == CKR_OK || token->epoch != epoch || token->state != TOKEN_UP)
    return rv;
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
        (token->module->ctx == NULL ||
         token->generation != token->module->generation))
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
  /* After "busy" nobody knows what the session is still at. */
  bool close = trouble == TROUBLE_SESSION || trouble == TROUBLE_BUSY;
  pthread_mutex_lock(&token->lock);
  if (token->epoch != epoch || token->state != TOKEN_UP) {
    close = false; /* it went with its epoch */
  } else if (close && token->session_count == 1) {
    close = false; /* to close the last one is to log out */
    drop(token, CKR_SESSION_CLOSED);
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
  free(token->name.maker);
  free(token->name.model);
  free(token->turn);
  free(token->idle);
  free(token);
}
