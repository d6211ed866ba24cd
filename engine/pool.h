/* What pool.c (jobs and the event loop) and signer.c (threads) share. */
#ifndef FULCIO_POOL_H
#define FULCIO_POOL_H

#include "hsm.h"

#include <semaphore.h>
#include <sys/queue.h>

enum { THREADS_MAX = 64 };

typedef struct Job {
  Signing *signing;
  lua_State *L;         /* loop's side only; NULL: nobody waits any more */
  bool begun, finished; /* the pool's lock; at most one of the latter */
  bool abandoned;       /*   and this */
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
  struct Signer *below;  /* in the pile of those that rest */
  struct Signer *called; /* the loop's side only: who is called after it */
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

/* signer.c. Starts the threads, whose first connects; false: there are none. */
bool signers_begin(Pool *pool);
/* Calls as many as are worth it, and in a hurry at least one. */
void signers_call(Pool *pool, bool hurry);
/* With the lock held: whether each job is worth a call of its own. */
bool signers_are_slow(const Pool *pool);
/* Ends the threads; false: one hangs in the module, and keeps what it uses. */
bool signers_end(Pool *pool);

#endif
