/* Signer threads: a token's signatures are made beside the event loop, as
** many at once as it has sessions. */
#include "hsm.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* Longer than this a request does not wait for the HSM. */
#define ANSWER_SECONDS 5
#define STOP_SECONDS 3

enum { THREADS_MAX = 64, JOBS_MAX = 1024 };

typedef struct Job {
  Signing *signing;
  lua_State *L;          /* loop's side only; NULL: nobody waits any more */
  atomic_bool abandoned; /* the same, for the threads */
  struct event *timer;
  struct Job *next;
} Job;

typedef struct Pool {
  Token *token;
  pthread_mutex_t lock; /* what follows */
  pthread_cond_t work;
  Job *first, **end; /* to do */
  Job *done;
  unsigned jobs;   /* that are not done */
  double seconds;  /* that one takes, about */
  double moved_at; /* a job was done, or the first came */
  bool stop;
  int fd; /* eventfd: something is done */
  struct event *event;
  pthread_t threads[THREADS_MAX];
  unsigned count;
} Pool;

/* Waits for a job; NULL: time to look after the token, or to stop. */
static Job *next_job(Pool *pool, bool keeper) {
  pthread_mutex_lock(&pool->lock);
  while (pool->first == NULL && !pool->stop) {
    double due = keeper ? token_due(pool->token) : 0;
    if (due == 0) {
      pthread_cond_wait(&pool->work, &pool->lock);
      continue;
    }
    double left = due - token_clock();
    if (left <= 0) break;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)(left * 1e9) % 1000000000L;
    until.tv_sec += (time_t)left + until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_cond_timedwait(&pool->work, &pool->lock, &until);
  }
  Job *job = pool->first;
  if (job != NULL) {
    pool->first = job->next;
    if (pool->first == NULL) pool->end = &pool->first;
  }
  pthread_mutex_unlock(&pool->lock);
  return job;
}

static void run(Job *job) {
  if (atomic_load(&job->abandoned))
    job->signing->rv = CKR_OURS_STUCK;
  else
    signing_run(job->signing);
}

static void finish(Pool *pool, Job *job, double began) {
  static const uint64_t one = 1;
  double now = token_clock();
  pthread_mutex_lock(&pool->lock);
  bool first = pool->done == NULL; /* else the loop knows already */
  job->next = pool->done;
  pool->done = job;
  pool->jobs--;
  pool->moved_at = now;
  if (job->signing->rv == CKR_OK)
    pool->seconds += (now - began - pool->seconds) / 8;
  /* The keeper may have something to wait for now. */
  if (job->signing->rv != CKR_OK) pthread_cond_broadcast(&pool->work);
  pthread_mutex_unlock(&pool->lock);
  if (!first) return;
  ssize_t written = write(pool->fd, &one, sizeof one);
  (void)written; /* a full counter wakes the loop as well */
}

static void *signer(void *context) {
  Pool *pool = context;
  bool keeper = pthread_equal(pthread_self(), pool->threads[0]);
  for (;;) {
    Job *job = next_job(pool, keeper);
    if (job != NULL) {
      double began = token_clock();
      run(job);
      finish(pool, job, began);
      continue;
    }
    pthread_mutex_lock(&pool->lock);
    bool stop = pool->stop;
    pthread_mutex_unlock(&pool->lock);
    if (stop) return NULL;
    token_lost(pool->token, 0, CKR_DEVICE_REMOVED);
  }
}

/* the loop's side ------------------------------------------------------ */

static void job_free(Job *job) {
  if (job->timer != NULL) event_free(job->timer);
  signing_free(job->signing);
  free(job);
}

static void on_done(evutil_socket_t fd, short what, void *context) {
  Pool *pool = context;
  uint64_t count;
  ssize_t got = read(fd, &count, sizeof count);
  (void)got;
  (void)what;
  pthread_mutex_lock(&pool->lock);
  Job *job = pool->done;
  pool->done = NULL;
  pthread_mutex_unlock(&pool->lock);
  while (job != NULL) {
    Job *next = job->next;
    lua_State *L = job->L;
    if (L != NULL) {
      int results = signing_push(L, job->signing);
      job_free(job);
      loop_resume(L, results);
    } else {
      job_free(job);
    }
    job = next;
  }
}

static void on_late(evutil_socket_t fd, short what, void *context) {
  Job *job = context;
  lua_State *L = job->L;
  (void)fd;
  (void)what;
  job->L = NULL;
  atomic_store(&job->abandoned, true);
  int results = engine_fail(L, "hsm_busy", "the HSM has not answered for %d s",
                            ANSWER_SECONDS);
  loop_resume(L, results);
}

static bool pool_threads(Pool *pool) {
  sigset_t all, before;
  unsigned wanted = pool->token->sessions_max;
  if (wanted > THREADS_MAX) wanted = THREADS_MAX;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  pthread_mutex_lock(&pool->lock); /* until threads[0] is written */
  while (pool->count < wanted &&
         pthread_create(&pool->threads[pool->count], NULL, signer, pool) == 0)
    pool->count++;
  pthread_mutex_unlock(&pool->lock);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return pool->count > 0;
}

static Pool *pool_make(Token *token) {
  Pool *pool = calloc(1, sizeof *pool);
  if (pool == NULL) return NULL;
  pool->token = token;
  pool->end = &pool->first;
  pthread_mutex_init(&pool->lock, NULL);
  pthread_cond_init(&pool->work, NULL);
  pool->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  pool->event =
    event_new(loop_base(), pool->fd, EV_READ | EV_PERSIST, on_done, pool);
  event_add(pool->event, NULL);
  token->pool = pool;
  if (pool_threads(pool)) return pool;
  signer_stop(token);
  return NULL;
}

bool signer_ready(Token *token) {
  return token->pool != NULL || loop_base == NULL || pool_make(token) != NULL;
}

/* With the lock held. */
static bool stuck(const Pool *pool) {
  return pool->jobs >= pool->count &&
    token_clock() - pool->moved_at > pool->token->wait;
}

bool signer_stuck(Token *token) {
  Pool *pool = token->pool;
  if (pool == NULL) return false;
  pthread_mutex_lock(&pool->lock);
  bool is = stuck(pool);
  pthread_mutex_unlock(&pool->lock);
  return is;
}

/* Whether the jobs before it leave one a chance to be done in time; then
** it is counted. */
static bool admit(Pool *pool) {
  pthread_mutex_lock(&pool->lock);
  double wait = pool->seconds * pool->jobs / pool->count;
  bool good =
    pool->jobs < JOBS_MAX && wait <= pool->token->wait && !stuck(pool);
  if (good && pool->jobs++ == 0) pool->moved_at = token_clock();
  pthread_mutex_unlock(&pool->lock);
  return good;
}

static int refuse(lua_State *L, Signing *signing, const char *why) {
  signing_free(signing);
  return engine_fail(L, "hsm_busy", "%s", why);
}

int signer_start(lua_State *L, Signing *signing) {
  static const struct timeval late = {ANSWER_SECONDS, 0};
  Token *token = signing->key->token;
  if (!signer_ready(token))
    return refuse(L, signing, "no signer thread could be started");
  Pool *pool = token->pool;
  if (!admit(pool))
    return refuse(L, signing, "more signatures wait for the HSM than it makes");
  Job *job = calloc(1, sizeof *job);
  if (job == NULL) return luaL_error(L, "not enough memory");
  job->signing = signing;
  job->L = L;
  job->timer = event_new(loop_base(), -1, 0, on_late, job);
  event_add(job->timer, &late);
  pthread_mutex_lock(&pool->lock);
  *pool->end = job;
  pool->end = &job->next;
  pthread_cond_signal(&pool->work);
  pthread_mutex_unlock(&pool->lock);
  return loop_suspend(L);
}

void signer_stop(Token *token) {
  Pool *pool = token->pool;
  if (pool == NULL) return;
  token->pool = NULL;
  pthread_mutex_lock(&pool->lock);
  pool->stop = true;
  pthread_cond_broadcast(&pool->work);
  pthread_mutex_unlock(&pool->lock);
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += STOP_SECONDS;
  for (unsigned i = 0; i < pool->count; i++)
    /* A thread that hangs in the module keeps what it uses. */
    if (pthread_timedjoin_np(pool->threads[i], NULL, &until) != 0) return;
  if (pool->event != NULL) event_free(pool->event);
  close(pool->fd);
  for (Job *job = pool->done; job != NULL;) {
    Job *next = job->next;
    job_free(job);
    job = next;
  }
  pthread_cond_destroy(&pool->work);
  pthread_mutex_destroy(&pool->lock);
  free(pool);
}
