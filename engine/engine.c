/* The module fulcio.engine: one table of the subjects that were built. */
#include "engine.h"

/* Weak: a host without the loop or SQLite leaves some of these out. */
#define SUBJECT(name) \
  int engine_open_##name(lua_State *L) __attribute__((weak));
#include "subjects.h"
#undef SUBJECT

typedef struct Subject {
  const char *name;
  lua_CFunction open;
} Subject;

static Subject subject_at(int i) {
  const Subject subjects[] = {
#define SUBJECT(name) {#name, engine_open_##name},
#include "subjects.h"
#undef SUBJECT
    {NULL, NULL},
  };
  return subjects[i];
}

int luaopen_fulcio_engine(lua_State *L) {
  lua_newtable(L);
  lua_pushliteral(L, ENGINE_VERSION);
  lua_setfield(L, -2, "version");
  for (int i = 0; subject_at(i).name != NULL; i++) {
    Subject subject = subject_at(i);
    if (subject.open == NULL) continue;
    lua_pushcfunction(L, subject.open);
    lua_call(L, 0, 1);
    lua_setfield(L, -2, subject.name);
  }
  return 1;
}
