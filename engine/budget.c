/* The time that one decision may take: many small steps, each within its own
** limits, may be too many together. */
#include "engine.h"
#include "meter.h"

/* Of the processor; no step takes so long without a look. */
#define NANOSECONDS 20000000
#define NANOSECONDS_STEP 12000000

static struct {
  Meter meter;
  bool begun;
} budget;

/* budget.begin(): another decision, from the first look. */
static int budget_begin(lua_State *L) {
  (void)L;
  budget.begun = false;
  return 0;
}

/* budget.is_over() --> boolean */
static int budget_is_over(lua_State *L) {
  lua_pushboolean(L, budget.begun && meter_is_over(&budget.meter));
  if (!budget.begun) meter_start(&budget.meter, NANOSECONDS, NANOSECONDS_STEP);
  budget.begun = true;
  return 1;
}

int engine_open_budget(lua_State *L) {
  static const luaL_Reg functions[] = {
    {"begin", budget_begin},
    {"is_over", budget_is_over},
    {NULL, NULL},
  };
  luaL_newlib(L, functions);
  return 1;
}
