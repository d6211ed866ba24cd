/* How a token gets up: its module loaded, its slot found, its PIN given,
** at most once when it is wrong. */
#include "hsm.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

/* A module call that hangs must not hold up its own restart for ever, nor
** another process's. */
#define RESTART_WAIT 2
#define RESTART_WAIT_AGAIN 0.1
#define TURN_WAIT 10

/* the turn ------------------------------------------------------------ */

/* One process at a time starts the module: four at once fail on SoftHSM. */
static int take_turn(const Token *token) {
  static const struct timespec shortly = {0, 20000000};
  if (token->turn == NULL) return -1;
  int fd = open(token->turn, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  double until = token_clock() + TURN_WAIT;
  while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0 && token_clock() < until)
    nanosleep(&shortly, NULL);
  return fd;
}

/* A token counts wrong PINs and locks: once one process was refused, the
** file says so, and no other tries. */
static bool was_refused(int turn) {
  char byte;
  return turn >= 0 && pread(turn, &byte, 1, 0) == 1;
}

static void end_turn(int turn, bool refused) {
  if (turn < 0) return;
  /* An empty file is what a failed write would leave: others then try. */
  ssize_t written = refused ? pwrite(turn, "PIN refused\n", 12, 0) : 0;
  (void)written;
  close(turn);
}

/* login --------------------------------------------------------------- */

static CK_RV login(Token *token, CK_SESSION_HANDLE session) {
  CK_TOKEN_INFO info;
  CK_FUNCTION_LIST *call = token->module->call;
  if (!token->login) return CKR_OK;
  CK_RV rv = call->C_GetTokenInfo(token->slot, &info);
  if (rv != CKR_OK) return rv;
  if (!(info.flags & CKF_LOGIN_REQUIRED)) return CKR_OK;
  bool keypad = info.flags & CKF_PROTECTED_AUTHENTICATION_PATH;
  Slice pin = {(unsigned char *)token->pin.bytes, token->pin.size};
  if (pin.data == NULL && !keypad)
    rv = CKR_OURS_NO_PIN;
  else if (quirk_pin_fault(token->profile, pin) != NULL)
    rv = CKR_OURS_PIN_FORM;
  else
    rv = call->C_Login(session, CKU_USER, (unsigned char *)token->pin.bytes,
                       token->pin.size);
  token->refused = ckr_trouble(rv) == TROUBLE_PIN;
  return rv == CKR_USER_ALREADY_LOGGED_IN ? CKR_OK : rv;
}

CK_RV token_session(Token *token, CK_SESSION_HANDLE *session) {
  CK_FUNCTION_LIST *call = token->module->call;
  CK_FLAGS flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
  CK_RV rv = call->C_OpenSession(token->slot, flags, NULL, NULL, session);
  if (rv == CKR_TOKEN_WRITE_PROTECTED)
    rv =
      call->C_OpenSession(token->slot, CKF_SERIAL_SESSION, NULL, NULL, session);
  return rv;
}

/* connection ---------------------------------------------------------- */

/* What the module says of itself decides the profile and the sessions. */
static CK_RV choose_profile(Token *token) {
  CK_INFO info;
  CK_RV rv = token->module->call->C_GetInfo(&info);
  if (rv != CKR_OK) return rv;
  if (!token->profile_given) token->profile = quirk_for(&info, token->model);
  const Profile *profile = token->profile;
  if (profile->no_login && token->pin.bytes == NULL) token->login = false;
  pthread_mutex_lock(&token->lock);
  unsigned most = quirk_sessions(profile, token->module->path);
  if (most != 0 && token->sessions_max > most) token->sessions_max = most;
  pthread_mutex_unlock(&token->lock);
  return CKR_OK;
}

static CK_RV attach(Token *token, CK_SESSION_HANDLE *session) {
  Module *module = token->module;
  TokenName name = token->name;
  /* Later, only the very token that was there first will do. */
  if (token->epoch > 0 && token->serial[0] != '\0') name.serial = token->serial;
  CK_SLOT_ID slot = 0;
  char serial[17] = "", model[17] = "";
  CK_RV rv = module_find(module, &name, &slot, serial, model);
  if (rv != CKR_OK) return rv;
  token->slot = slot;
  memcpy(token->serial, serial, sizeof serial);
  memcpy(token->model, model, sizeof model);
  rv = choose_profile(token);
  if (rv != CKR_OK) return rv;
  if (token->epoch > 0) module->call->C_CloseAllSessions(slot);
  rv = token_session(token, session);
  if (rv != CKR_OK) return rv;
  rv = login(token, *session);
  if (rv != CKR_OK) module->call->C_CloseSession(*session);
  return rv;
}

/* The first time others may go on meanwhile: nothing is closed. */
static CK_RV attach_first(Token *token, CK_SESSION_HANDLE *session) {
  CK_RV rv = CKR_CRYPTOKI_NOT_INITIALIZED;
  pthread_rwlock_rdlock(&token->module->use);
  if (token->module->ctx != NULL) rv = attach(token, session);
  pthread_rwlock_unlock(&token->module->use);
  return rv;
}

/* The module for this thread alone; false: another is in a call of it. Who
** waits keeps all others out, so once it hangs the wait is short. */
static bool alone(Token *token) {
  double began = token_clock();
  pthread_mutex_lock(&token->lock);
  bool again = token->blocked_at != 0;
  pthread_mutex_unlock(&token->lock);
  struct timespec until =
    token_time(began + (again ? RESTART_WAIT_AGAIN : RESTART_WAIT));
  bool taken = pthread_rwlock_clockwrlock(&token->module->use, CLOCK_MONOTONIC,
                                          &until) == 0;
  pthread_mutex_lock(&token->lock);
  if (taken || !again) token->blocked_at = taken ? 0 : began;
  pthread_mutex_unlock(&token->lock);
  return taken;
}

/* Alone: a session must not be closed while it signs. */
static CK_RV attach_anew(Token *token, CK_SESSION_HANDLE *session, CK_RV rv) {
  Module *module = token->module;
  if (!alone(token)) return rv;
  if (module->ctx != NULL && token->epoch > 0) rv = attach(token, session);
  if (rv != CKR_OK && !token->refused) {
    rv = module_restart(module);
    if (rv == CKR_OK) rv = attach(token, session);
  }
  pthread_rwlock_unlock(&module->use);
  return rv;
}

static void note_call(Token *token, double when) {
  pthread_mutex_lock(&token->lock);
  token->called_at = when;
  pthread_mutex_unlock(&token->lock);
}

CK_RV token_attach(Token *token, bool again, CK_SESSION_HANDLE *session) {
  int turn = take_turn(token);
  note_call(token, token_clock());
  token->refused = was_refused(turn);
  CK_RV rv = CKR_OURS_PIN_BEFORE;
  if (!token->refused) {
    rv = CKR_DEVICE_ERROR;
    if (token->epoch == 0) rv = attach_first(token, session);
    if (rv == CKR_CRYPTOKI_NOT_INITIALIZED ||
        (again && rv != CKR_OK && !token->refused))
      rv = attach_anew(token, session, rv);
  }
  note_call(token, 0);
  end_turn(turn, token->refused);
  return rv;
}
