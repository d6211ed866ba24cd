/* What the files of engine.server share. */
#ifndef FULCIO_SERVER_H
#define FULCIO_SERVER_H

#include "engine.h"

#include <sys/types.h>

/* loop.c ------------------------------------------------------------- */

/* Seconds of a clock that never goes back. */
double loop_clock(void);
/* The state to call Lua with from an event callback; NULL: not running. */
lua_State *loop_state(void);
/* Told when the coroutine has ended: its results, or the error and its
** stack, are still on co. busy: seconds for which it held the loop. */
typedef void (*LoopDone)(void *context, lua_State *co, int status,
                         double busy);
/* Starts the function below `arguments` values on top of L's stack in a
** coroutine of ours, and pops all of them. */
void loop_spawn(lua_State *L, int arguments, LoopDone done, void *context);
/* Counts what must end before a loop that was told to stop may end. */
void loop_hold(int by);
/* Calls hook(false) on stop, and hook(true) when the grace is over. */
void loop_on_stop(void (*hook)(bool now));
void loop_stop(void);
bool loop_stopping(void);
/* In a new child: only `master` may stop it; `started` is called when the
** loop begins to run. */
void loop_after_fork(pid_t master, double grace, void (*started)(void));
void loop_register(lua_State *L);

#endif
