/* Signer threads: a token's signatures are made beside the event loop, as
** many at once as it has sessions. */
#include "pool.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

#define STOP_SECONDS 3
/* So long a signature may wait for who is awake. To wake a thread, and then
** the loop, costs as much as a fast HSM's signature. */
#define BATCH_SECONDS 0.001
/* The same where signatures are this machine's own work. In a worker, which
** is one of as many as there are processors, one signer then works at a time,
** on the loop's processor. */
#define COMPUTED_SECONDS 0.020

/* Of so many in a row one is computed, or the module waits for a device. */
enum { WAITED_MAX = 64 };

/* With the lock held, which is let go meanwhile: until it is called, or
** `due`; 0: no such time. */
static void rest(Signer *self, double due) {
  Pool *pool = self->pool;
  self->below = pool->resting;
  self->rests = true;
  pool->resting = self;
  pool->resting_count++;
  pthread_mutex_unlock(&pool->lock);
  struct timespec until = token_time(due);
  if (due == 0)
    sem_wait(&self->call);
  else
    sem_clockwait(&self->call, CLOCK_MONOTONIC, &until);
  pthread_mutex_lock(&pool->lock);
  if (!self->rests) return;
  Signer **link = &pool->resting;
  while (*link != self) link = &(*link)->below;
  *link = self->below;
  self->rests = false;
  pool->resting_count--;
}

/* Waits for a job; NULL: time to look after the token, or to stop. */
static Job *next_job(Signer *self) {
  Pool *pool = self->pool;
  bool keeper = self == pool->signers;
  pthread_mutex_lock(&pool->lock);
  while (STAILQ_EMPTY(&pool->to_do) && !pool->stop) {
    double due = keeper ? token_due(pool->token) : 0;
    if (due != 0 && due <= token_clock()) break;
    rest(self, due);
  }
  Job *job = STAILQ_FIRST(&pool->to_do);
  if (job != NULL) {
    STAILQ_REMOVE_HEAD(&pool->to_do, next);
    pool->queued--;
    job->begun = !job->abandoned;
  }
  pthread_mutex_unlock(&pool->lock);
  return job;
}

static void run(Job *job) {
  if (job->begun)
    signing_run(job->signing);
  else
    job->signing->rv = CKR_OURS_STUCK;
}

static double processor(void) {
  struct timespec used;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

/* With the lock held: what a good job of so many seconds teaches. A thread
** that shares its processor waits too, but not in all of its jobs. */
static void learn(Pool *pool, double seconds, double work) {
  pool->seconds += (seconds - pool->seconds) / 8;
  pool->work += (work - pool->work) / 8;
  if (work * 2 >= seconds)
    pool->waited = 0;
  else if (pool->waited < WAITED_MAX)
    pool->waited++;
}

/* With the lock held: how long a job may wait for who is awake. */
static double batch(const Pool *pool) {
  return pool->waited < WAITED_MAX ? COMPUTED_SECONDS : BATCH_SECONDS;
}

/* With the lock held: the same that one takes of whoever signs. */
static double cost(const Pool *pool) {
  return pool->waited < WAITED_MAX ? pool->work : pool->seconds;
}

static void bind_all(Pool *pool, bool bound) {
  affinity_bind(pool->loop, bound);
  for (unsigned i = 0; i < pool->count; i++)
    affinity_bind(pool->signers[i].thread, bound);
}

/* With the lock held: whether the threads are to be bound otherwise. */
static bool rebound(Pool *pool) {
  bool computed = pool->waited < WAITED_MAX && pool->may_bind;
  bool changed = computed != pool->bound;
  pool->bound = computed;
  return changed;
}

static void finish(Pool *pool, Job *job, double began, double work) {
  static const uint64_t one = 1;
  double now = token_clock();
  bool good = job->signing->rv == CKR_OK;
  pthread_mutex_lock(&pool->lock);
  if (STAILQ_EMPTY(&pool->done)) pool->done_at = now;
  STAILQ_INSERT_TAIL(&pool->done, job, next);
  job->finished = !job->abandoned;
  if (job->finished) pool->jobs--;
  if (job->begun) {
    pool->moved_at = now;
    pool->silent = pool->unproved = false;
  }
  if (good) learn(pool, now - began, work);
  if (!pool->stop && rebound(pool)) bind_all(pool, pool->bound);
  /* With more to do, the loop hears of several at once. */
  bool tell = !pool->told &&
    (STAILQ_EMPTY(&pool->to_do) || now - pool->done_at >= batch(pool));
  if (tell) pool->told = true;
  pthread_mutex_unlock(&pool->lock);
  /* The keeper may have something to wait for now. */
  if (!good) sem_post(&pool->signers->call);
  if (!tell) return;
  ssize_t written = write(pool->fd, &one, sizeof one);
  (void)written; /* a full counter wakes the loop as well */
}

static void *signer(void *context) {
  Signer *self = context;
  Pool *pool = self->pool;
  for (;;) {
    Job *job = next_job(self);
    if (job != NULL) {
      double began = token_clock(), used = processor();
      run(job);
      finish(pool, job, began, processor() - used);
      continue;
    }
    pthread_mutex_lock(&pool->lock);
    bool stop = pool->stop;
    pthread_mutex_unlock(&pool->lock);
    if (stop) return NULL;
    token_lost(pool->token, 0, CKR_DEVICE_REMOVED);
  }
}

/* With the lock held: whether the signers that are awake will do. */
static bool enough(const Pool *pool) {
  unsigned awake = pool->count - pool->resting_count;
  if (awake == 0) return false;
  return pool->bound || pool->queued * cost(pool) <= awake * batch(pool);
}

void signers_call(Pool *pool, bool hurry) {
  Signer *called = NULL;
  pthread_mutex_lock(&pool->lock);
  while (pool->resting != NULL && pool->queued > 0) {
    if (!hurry && enough(pool)) break;
    hurry = false;
    Signer *one = pool->resting;
    pool->resting = one->below;
    pool->resting_count--;
    one->rests = false;
    one->called = called;
    called = one;
  }
  pthread_mutex_unlock(&pool->lock);
  /* One that woke by itself may rest again by now: it looks once more. */
  while (called != NULL) {
    sem_post(&called->call);
    called = called->called;
  }
}

bool signers_are_slow(const Pool *pool) {
  return cost(pool) > batch(pool);
}

bool signers_begin(Pool *pool) {
  sigset_t all, before;
  unsigned wanted = pool->token->sessions_max;
  pool->may_bind = affinity_may_bind();
  pool->waited = WAITED_MAX; /* taken for a device's until it is known */
  if (wanted > THREADS_MAX) wanted = THREADS_MAX;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  while (pool->count < wanted) {
    Signer *one = &pool->signers[pool->count];
    one->pool = pool;
    sem_init(&one->call, 0, 0);
    if (pthread_create(&one->thread, NULL, signer, one) != 0) break;
    pool->count++;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return pool->count > 0;
}

bool signers_end(Pool *pool) {
  struct timespec until;
  pthread_mutex_lock(&pool->lock);
  pool->stop = true;
  affinity_bind(pool->loop, false);
  pthread_mutex_unlock(&pool->lock);
  for (unsigned i = 0; i < pool->count; i++) sem_post(&pool->signers[i].call);
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += STOP_SECONDS;
  for (unsigned i = 0; i < pool->count; i++)
    if (pthread_timedjoin_np(pool->signers[i].thread, NULL, &until) != 0)
      return false;
  for (unsigned i = 0; i < pool->count; i++)
    sem_destroy(&pool->signers[i].call);
  return true;
}
