/* A worker's own processor. Signatures that its threads compute cost less
** where its loop runs, too: neither finds its caches cold. */
#include "hsm.h"
#include "server.h"

#include <sched.h>

static struct {
  bool known;
  bool several; /* processors, so that there is something to choose */
  cpu_set_t all, own;
} processors;

/* Asked before anything is bound: each process of the program has another. */
static void look(int seat) {
  int count, number = 0, wanted;
  processors.known = true;
  if (seat == 0 ||
      sched_getaffinity(0, sizeof(cpu_set_t), &processors.all) != 0)
    return;
  count = CPU_COUNT(&processors.all);
  if (count < 2) return;
  wanted = seat % count;
  for (int i = 0; i < CPU_SETSIZE; i++)
    if (CPU_ISSET(i, &processors.all) && number++ == wanted)
      CPU_SET(i, &processors.own);
  processors.several = true;
}

bool affinity_may_bind(void) {
  if (!processors.known) look(shared_seat());
  return processors.several;
}

void affinity_bind(pthread_t thread, bool bind) {
  if (!processors.several) return;
  /* What the kernel refuses costs time and nothing else. */
  pthread_setaffinity_np(thread, sizeof(cpu_set_t),
                         bind ? &processors.own : &processors.all);
}
