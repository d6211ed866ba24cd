/* memory.c: the Lua state of a program, which has only one. */
#ifndef FULCIO_MEMORY_H
#define FULCIO_MEMORY_H

#include "engine.h"

lua_State *memory_state(void);

#endif
