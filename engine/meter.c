/* The wall clock is cheap to read, the processor's clock is fair on a busy
** machine, and neither is on one that its host has stopped for a while. */
#include "meter.h"

#include <time.h>

#define GAPS_MAX 2

static int64_t nanoseconds(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void meter_start(Meter *meter, int64_t limit, int64_t most) {
  meter->limit = limit;
  meter->most = most;
  meter->charged = 0;
  meter->gaps = 0;
  meter->cpu_started = nanoseconds(CLOCK_THREAD_CPUTIME_ID);
  meter->looked = nanoseconds(CLOCK_MONOTONIC);
}

bool meter_is_over(Meter *meter) {
  int64_t now = nanoseconds(CLOCK_MONOTONIC), passed = now - meter->looked;
  meter->looked = now;
  if (passed > meter->most && meter->gaps++ < GAPS_MAX) passed = meter->most;
  meter->charged += passed;
  if (meter->charged < meter->limit) return false;
  return nanoseconds(CLOCK_THREAD_CPUTIME_ID) - meter->cpu_started >=
    meter->limit;
}
