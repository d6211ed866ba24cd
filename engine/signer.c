/* Signer threads: a token's signatures are made beside the event loop, as
** many at once as it has sessions. */
#include "hsm.h"

#include <errno.h>
#include <event2/event.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

/* Longer than this a request does not wait for the HSM. */
#define ANSWER_SECONDS 5
#define STOP_SECONDS 3
/* So long a signature may wait for who is awake. To wake a thread, and then
** the loop, costs as much as a fast HSM's signature. */
#define BATCH_SECONDS 0.001
/* The same where signatures are this machine's own work. In a worker, which
** is one of as many as there are processors, one signer then works at a time,
** on the loop's processor. */
#define COMPUTED_SECONDS 0.020
/* How often the loop looks after signatures that are under way. */
#define LOOK_SECONDS 0.01

/* Of so many in a row one is computed, or the module waits for a device. */
enum { THREADS_MAX = 64, JOBS_MAX = 1024, WAITED_MAX = 64 };
/* So many times as long as a signature takes it may take now and then. */
#define SLOW 4

typedef struct Job {
  Signing *signing;
  lua_State *L;          /* loop's side only; NULL: nobody waits any more */
  bool begun, abandoned; /* the pool's lock; the latter is the same */
  double since;
  TAILQ_ENTRY(Job) waits; /* loop's side only */
  STAILQ_ENTRY(Job) next; /* to do, or done */
} Job;
STAILQ_HEAD(Jobs, Job);

typedef struct Signer {
  struct Pool *pool;
  pthread_t thread;
  sem_t call;
  bool rests;
  struct Signer *below; /* in the pile of those that rest */
} Signer;

typedef struct Pool {
  Token *token;
  /* The loop's side only. */
  struct Pool *others;
  struct event *event, *look;
  TAILQ_HEAD(Waiting, Job) waiting; /* the oldest first */
  bool fresh;                       /* jobs came in this turn of the loop */
  int fd;                           /* eventfd: something is done */
  pthread_mutex_t lock;             /* what follows */
  struct Jobs to_do, done;
  unsigned queued; /* of to_do */
  unsigned jobs;   /* that are not done, nor abandoned */
  bool silent;     /* one was abandoned, and the HSM has done none since */
  bool unproved;   /* it has done none yet, and is to be probed first */
  double done_at;  /* the first of `done` was */
  bool told;       /* the loop knows of `done` */
  double seconds;  /* that one takes, about */
  double work;     /* the processor's seconds of it */
  unsigned waited; /* jobs since one was for the most part work */
  bool may_bind;   /* all threads to one processor */
  bool bound;
  double moved_at; /* a job was done, or the first came */
  Signer *resting; /* who worked last is called first: it is warm */
  unsigned resting_count;
  bool stop;
  pthread_t loop;
  Signer signers[THREADS_MAX];
  unsigned count;
} Pool;

static Pool *pools; /* the loop's side only */

/* threads -------------------------------------------------------------- */

/* With the lock held, which is let go meanwhile: until it is called, or
** `due`; 0: no such time. */
static void rest(Signer *self, double due) {
  Pool *pool = self->pool;
  self->below = pool->resting;
  self->rests = true;
  pool->resting = self;
  pool->resting_count++;
  pthread_mutex_unlock(&pool->lock);
  struct timespec until = {(time_t)due, 0};
  until.tv_nsec = (long)((due - (double)until.tv_sec) * 1e9);
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
  if (!job->abandoned) pool->jobs--;
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

/* the loop's side ------------------------------------------------------ */

/* With the lock held: whether the signers that are awake will do. */
static bool enough(const Pool *pool) {
  unsigned awake = pool->count - pool->resting_count;
  if (awake == 0) return false;
  return pool->bound || pool->queued * cost(pool) <= awake * batch(pool);
}

/* Calls as many signers as are worth it, and in a hurry at least one. */
static void call_signers(Pool *pool, bool hurry) {
  Signer *called = NULL;
  pthread_mutex_lock(&pool->lock);
  while (pool->resting != NULL && pool->queued > 0) {
    if (!hurry && enough(pool)) break;
    hurry = false;
    Signer *one = pool->resting;
    pool->resting = one->below;
    pool->resting_count--;
    one->rests = false;
    one->below = called;
    called = one;
  }
  pthread_mutex_unlock(&pool->lock);
  while (called != NULL) {
    Signer *one = called;
    called = one->below; /* it is the signer's own again once called */
    sem_post(&one->call);
  }
}

static void signers_turn(void) {
  for (Pool *pool = pools; pool != NULL; pool = pool->others) {
    if (pool->fresh) call_signers(pool, false);
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

/* The oldest of those that wait, unless it may still wait. */
static Job *late(Pool *pool) {
  Job *job = TAILQ_FIRST(&pool->waiting);
  if (job == NULL || token_clock() - job->since < ANSWER_SECONDS) return NULL;
  TAILQ_REMOVE(&pool->waiting, job, waits);
  return job;
}

static void abandon(Pool *pool, Job *job) {
  pthread_mutex_lock(&pool->lock);
  job->abandoned = true;
  pool->jobs--;
  pool->silent = true;
  pthread_mutex_unlock(&pool->lock);
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
    call_signers(pool, !moves);
    deliver(pool);
    return;
  }
  lua_State *L = job->L;
  job->L = NULL;
  abandon(pool, job);
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

static Pool *pool_make(Token *token) {
  Pool *pool = calloc(1, sizeof *pool);
  if (pool == NULL) return NULL;
  pool->token = token;
  pool->loop = pthread_self();
  pool->may_bind = affinity_may_bind();
  pool->waited = WAITED_MAX;
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
  loop_on_turn(signers_turn);
  token->pool = pool;
  if (pool_threads(pool)) return pool;
  signer_stop(token);
  return NULL;
}

bool signer_ready(Token *token) {
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

bool signer_stuck(Token *token) {
  Pool *pool = token->pool;
  if (pool == NULL) return false;
  pthread_mutex_lock(&pool->lock);
  bool is = stuck(pool);
  pthread_mutex_unlock(&pool->lock);
  return is;
}

double signer_still(Token *token) {
  Pool *pool = token->pool;
  if (pool == NULL) return 0;
  pthread_mutex_lock(&pool->lock);
  double seconds = still(pool);
  pthread_mutex_unlock(&pool->lock);
  return seconds;
}

double signer_idle(Token *token) {
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
  bool slow = cost(pool) > batch(pool);
  pthread_mutex_unlock(&pool->lock);
  if (slow)
    call_signers(pool, false);
  else
    pool->fresh = true;
}

int signer_start(lua_State *L, Signing *signing, bool probe) {
  Token *token = signing->key->token;
  if (!signer_ready(token))
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

void signer_stop(Token *token) {
  Pool *pool = token->pool;
  if (pool == NULL) return;
  token->pool = NULL;
  pool_forget(pool);
  pthread_mutex_lock(&pool->lock);
  pool->stop = true;
  affinity_bind(pool->loop, false);
  pthread_mutex_unlock(&pool->lock);
  for (unsigned i = 0; i < pool->count; i++) sem_post(&pool->signers[i].call);
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += STOP_SECONDS;
  for (unsigned i = 0; i < pool->count; i++)
    /* A thread that hangs in the module keeps what it uses. */
    if (pthread_timedjoin_np(pool->signers[i].thread, NULL, &until) != 0)
      return;
  close(pool->fd);
  for (Job *job; (job = STAILQ_FIRST(&pool->done)) != NULL;) {
    STAILQ_REMOVE_HEAD(&pool->done, next);
    job_free(job);
  }
  for (unsigned i = 0; i < pool->count; i++)
    sem_destroy(&pool->signers[i].call);
  pthread_mutex_destroy(&pool->lock);
  free(pool);
}
