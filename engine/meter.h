/* How long work takes that is cut short when it takes too long. */
#ifndef FULCIO_METER_H
#define FULCIO_METER_H

#include <stdbool.h>
#include <stdint.h>

typedef struct Meter {
  int64_t limit, most; /* ns, in all and between two looks */
  int64_t looked;      /* at the wall clock */
  int64_t charged;
  int gaps; /* that were not charged in full */
  int64_t cpu_started;
} Meter;

/* Begins. `most` is the longest that the work itself may go without a look:
** when more has passed the machine stood still (its host ran others, which
** the processor's clock counts too), and no more is charged, but twice at
** most: then it is the work after all. */
void meter_start(Meter *meter, int64_t limit, int64_t most);
/* Looks at the clock. Whether the work has had its time. */
bool meter_is_over(Meter *meter);

#endif
