/* A process that writes no file (landlock(7)). */
#include "engine.h"

#include <errno.h>
#include <linux/landlock.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* All that changes a file system, as the first version of Landlock has it. */
#define WRITES \
  (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | \
   LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR | \
   LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | \
   LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | \
   LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM)

/* system.read_only() --> true | nil, message, "unsupported" */
int system_read_only(lua_State *L) {
  struct landlock_ruleset_attr handled = {.handled_access_fs = WRITES};
  long rules =
    syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0);
  if (rules < 0)
    return engine_fail(L, "unsupported", "Landlock: %s", strerror(errno));
  long failed = syscall(SYS_landlock_restrict_self, (int)rules, 0);
  int number = errno;
  close((int)rules);
  if (failed != 0)
    return engine_fail(L, "unsupported", "Landlock: %s", strerror(number));
  lua_pushboolean(L, 1);
  return 1;
}
