/* A token's jobs: signatures that requests wait for, while signer threads
** make them and the event loop goes on. */
#include "pool.h"

#include <event2/event.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Longer than this a request does not wait for the HSM. */
#define ANSWER_SECONDS 5
/* How often the loop looks after signatures that are under way. */
#define LOOK_SECONDS 0.01
/* So many times as long as a signature takes it may take now and then. */
#define SLOW 4

enum { JOBS_MAX = 1024 };

static Pool *pools;

static void on_turn(void) {
  for (Pool *pool = pools; pool != NULL; pool = pool->others) {
    if (pool->fresh) signers_call(pool, false);
    pool->fresh = false;
  }
}

static void job_free(Job *job) {
  signing_free(job->signing);
  free(job);
}

/* Who is resumed may close the token: the pool is not touched after. */
static void deliver(Pool *pool) {
  struct Jobs done = STAILQ_HEAD_INITIALIZER(done);
  Job *job;
  pthread_mutex_lock(&pool->lock);
  STAILQ_CONCAT(&done, &pool->done);
  pool->told = false;
  pthread_mutex_unlock(&pool->lock);
  for (job = STAILQ_FIRST(&done); job != NULL; job = STAILQ_NEXT(job, next))
    if (job->L != NULL) TAILQ_REMOVE(&pool->waiting, job, waits);
  while ((job = STAILQ_FIRST(&done)) != NULL) {
    STAILQ_REMOVE_HEAD(&done, next);
    lua_State *L = job->L;
    int results = L == NULL ? 0 : signing_push(L, job->signing);
    job_free(job);
    if (L != NULL) loop_resume(L, results);
  }
}

static void on_done(evutil_socket_t fd, short what, void *context) {
  (void)fd;
  (void)what;
  deliver(context);
}

static void look_again(Pool *pool, double seconds) {
  struct timeval span = {0, (suseconds_t)(seconds * 1e6)};
  if (!TAILQ_EMPTY(&pool->waiting) && !evtimer_pending(pool->look, NULL))
    evtimer_add(pool->look, &span);
}

/* Whether it was still to come, and is not waited for any more. */
static bool abandon(Pool *pool, Job *job) {
  pthread_mutex_lock(&pool->lock);
  job->abandoned = !job->finished;
  if (job->abandoned) {
    pool->jobs--;
    pool->silent = true;
  }
  pthread_mutex_unlock(&pool->lock);
  return job->abandoned;
}

/* The oldest of those that wait, when it has waited for too long. */
static Job *late(Pool *pool) {
  Job *job = TAILQ_FIRST(&pool->waiting);
  if (job == NULL || token_clock() - job->since < ANSWER_SECONDS ||
      !abandon(pool, job))
    return NULL;
  TAILQ_REMOVE(&pool->waiting, job, waits);
  return job;
}

/* A thread may hang with jobs behind it that nobody was called for, or with
** jobs before it that nobody was told of. */
static void on_look(evutil_socket_t fd, short what, void *context) {
  Pool *pool = context;
  (void)fd;
  (void)what;
  Job *job = late(pool);
  look_again(pool, job == NULL ? LOOK_SECONDS : 0);
  if (job == NULL) {
    pthread_mutex_lock(&pool->lock);
    bool moves = token_clock() - pool->moved_at < LOOK_SECONDS;
    pthread_mutex_unlock(&pool->lock);
    signers_call(pool, !moves);
    deliver(pool);
    return;
  }
  lua_State *L = job->L;
  job->L = NULL;
  int results = engine_fail(L, "hsm_busy", "the HSM has not answered for %d s",
                            ANSWER_SECONDS);
  loop_resume(L, results);
}

static Pool *pool_make(Token *token) {
  Pool *pool = calloc(1, sizeof *pool);
  if (pool == NULL) return NULL;
  pool->token = token;
  pool->loop = pthread_self();
  pool->unproved = token->prove;
  TAILQ_INIT(&pool->waiting);
  STAILQ_INIT(&pool->to_do);
  STAILQ_INIT(&pool->done);
  pthread_mutex_init(&pool->lock, NULL);
  pool->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  /* By its edge: the counter needs not be read. */
  pool->event = event_new(loop_base(), pool->fd, EV_READ | EV_PERSIST | EV_ET,
                          on_done, pool);
  event_add(pool->event, NULL);
  pool->look = evtimer_new(loop_base(), on_look, pool);
  pool->others = pools;
  pools = pool;
  loop_on_turn(on_turn);
  token->pool = pool;
  if (signers_begin(pool)) return pool;
  pool_stop(token);
  return NULL;
}

bool pool_ready(Token *token) {
  return token->pool != NULL || loop_base == NULL || pool_make(token) != NULL;
}

/* With the lock held: seconds for which nothing has come of what was asked
** for; 0: nothing was. */
static double still(const Pool *pool) {
  bool asked = pool->jobs > 0 || pool->silent;
  return asked ? token_clock() - pool->moved_at : 0;
}

/* With the lock held: whether to wait any longer makes no sense. Even a slow
** HSM has done something meanwhile. */
static bool stuck(const Pool *pool) {
  double patience = pool->token->wait;
  if (patience < SLOW * pool->seconds) patience = SLOW * pool->seconds;
  return pool->silent || pool->unproved || still(pool) > patience;
}

bool pool_stuck(Token *token) {
  Pool *pool = token->pool;
  if (pool == NULL) return false;
  pthread_mutex_lock(&pool->lock);
  bool is = stuck(pool);
  pthread_mutex_unlock(&pool->lock);
  return is;
}

double pool_still(Token *token) {
  Pool *pool = token->pool;
  if (pool == NULL) return 0;
  pthread_mutex_lock(&pool->lock);
  double seconds = still(pool);
  pthread_mutex_unlock(&pool->lock);
  return seconds;
}

double pool_idle(Token *token) {
  Pool *pool = token->pool;
  if (pool == NULL) return 0;
  pthread_mutex_lock(&pool->lock);
  double seconds = pool->jobs > 0 ? 0 : token_clock() - pool->moved_at;
  pthread_mutex_unlock(&pool->lock);
  return seconds;
}

/* Whether the jobs before it leave one a chance to be done in time, or it is
** there to find out; then it is counted. */
static bool admit(Pool *pool, bool probe) {
  pthread_mutex_lock(&pool->lock);
  double wait = pool->seconds * pool->jobs / pool->count;
  bool good = pool->jobs < JOBS_MAX &&
    (probe || (wait <= pool->token->wait && !stuck(pool)));
  if (good && pool->jobs++ == 0 && !pool->silent)
    pool->moved_at = token_clock();
  pthread_mutex_unlock(&pool->lock);
  return good;
}

static int refuse(lua_State *L, Signing *signing, const char *why) {
  signing_free(signing);
  return engine_fail(L, "hsm_busy", "%s", why);
}

/* Fast HSMs are called at the end of the turn, for all of its jobs. */
static void queue(Pool *pool, Job *job) {
  TAILQ_INSERT_TAIL(&pool->waiting, job, waits);
  look_again(pool, LOOK_SECONDS);
  pthread_mutex_lock(&pool->lock);
  STAILQ_INSERT_TAIL(&pool->to_do, job, next);
  pool->queued++;
  bool slow = signers_are_slow(pool);
  pthread_mutex_unlock(&pool->lock);
  if (slow)
    signers_call(pool, false);
  else
    pool->fresh = true;
}

int pool_sign(lua_State *L, Signing *signing, bool probe) {
  Token *token = signing->key->token;
  if (!pool_ready(token))
    return refuse(L, signing, "no signer thread could be started");
  Pool *pool = token->pool;
  if (!admit(pool, probe))
    return refuse(L, signing, "more signatures wait for the HSM than it makes");
  Job *job = calloc(1, sizeof *job);
  if (job == NULL) return luaL_error(L, "not enough memory");
  job->signing = signing;
  job->L = L;
  job->since = token_clock();
  queue(pool, job);
  return loop_suspend(L);
}

static void pool_forget(Pool *pool) {
  Pool **link = &pools;
  while (*link != pool) link = &(*link)->others;
  *link = pool->others;
  event_free(pool->event);
  event_free(pool->look);
}

void pool_stop(Token *token) {
  Pool *pool = token->pool;
  if (pool == NULL) return;
  token->pool = NULL;
  pool_forget(pool);
  if (!signers_end(pool)) return;
  close(pool->fd);
  for (Job *job; (job = STAILQ_FIRST(&pool->done)) != NULL;) {
    STAILQ_REMOVE_HEAD(&pool->done, next);
    job_free(job);
  }
  pthread_mutex_destroy(&pool->lock);
  free(pool);
}
