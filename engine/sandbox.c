/* A second Lua state for what operators write. */
#include "sandbox.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SANDBOX_TYPE "fulcio.sandbox"
#define TEXT_MAX 262144
#define COPY_IN_MAX 4194304
#define COPY_OUT_MAX 1048576
#define RESULTS 2
#define JUMPS_MAX 1000

static char functions_key; /* of the inner state's registry */

static lua_Integer keep_function(lua_State *L) {
  Sandbox *sandbox = limits_sandbox(L);
  lua_pushlightuserdata(L, &functions_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  lua_insert(L, -2);
  lua_rawseti(L, -2, (int)++sandbox->functions);
  lua_pop(L, 1);
  return sandbox->functions;
}

static bool starts(const char *text, const char *prefix) {
  return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* What ended the thread, or (when that did not run) the job. */
static void note_failure(Sandbox *sandbox, lua_State *thread, int status) {
  if (sandbox->stopped) {
    sandbox->outcome = TOO_LONG;
  } else if (sandbox->exhausted || status == LUA_ERRMEM) {
    sandbox->outcome = OUT_OF_MEMORY;
    limits_explain(sandbox, thread, "needs more memory than it may use");
  } else {
    const char *message = NULL;
    sandbox->outcome = BAD_SCRIPT;
    if (lua_type(thread, -1) == LUA_TSTRING) message = lua_tostring(thread, -1);
    if (message == NULL)
      limits_explain(sandbox, thread, "error that is no text");
    else if (starts(message, sandbox->name))
      snprintf(sandbox->message, sizeof sandbox->message, "%s", message);
    else
      limits_explain(sandbox, thread, message);
  }
}

/* Notes the name by which messages call the function on the top. */
static void note_name(lua_State *L, Sandbox *sandbox) {
  lua_Debug about;
  lua_pushvalue(L, -1);
  lua_getinfo(L, ">S", &about);
  memcpy(sandbox->name, about.short_src, sizeof about.short_src);
}

/* How many of two words there are that the parser remembers until a block
** ends, and then looks at each for each. */
static int count_jumps(const Sandbox *sandbox) {
  static const char *const jumps[] = {"goto", "break"};
  int count = 0;
  for (int i = 0; i < 2; i++) {
    const char *at = sandbox->text, *end = at + sandbox->text_size;
    size_t size = strlen(jumps[i]);
    while ((at = memmem(at, (size_t)(end - at), jumps[i], size)) != NULL) {
      at += size;
      count++;
    }
  }
  return count;
}

/* Pushes the script as a function with an environment of its own. */
static bool push_script(lua_State *L, Sandbox *sandbox) {
  if (count_jumps(sandbox) > JUMPS_MAX) {
    sandbox->outcome = BAD_SCRIPT;
    snprintf(sandbox->message, sizeof sandbox->message,
             "%s: more than %d times goto or break", sandbox->name, JUMPS_MAX);
    return false;
  }
  lua_pushfstring(L, "@%s", sandbox->script);
  int status = limits_load(sandbox, L, lua_tostring(L, -1));
  if (status != 0 || sandbox->stopped) {
    note_failure(sandbox, L, status);
    return false;
  }
  note_name(L, sandbox);
  words_push(L);
  limits_environment(L);
  return true;
}

/* Pushes the function that was kept, and its arguments. */
static void push_call(lua_State *L, Sandbox *sandbox) {
  lua_pushlightuserdata(L, &functions_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  lua_rawgeti(L, -1, (int)sandbox->handle);
  note_name(L, sandbox);
  luaL_checkstack(L, sandbox->arguments + 6, "too many arguments");
  sandbox->plain.read = 0;
  for (int i = 0; i < sandbox->arguments; i++)
    plain_decode(L, &sandbox->plain, true);
}

/* Encodes what stands from `first` to the top. Only a script's functions are
** kept: those that calls return would be without end. */
static void take_results(lua_State *L, Sandbox *sandbox, int first) {
  Plain *plain = &sandbox->plain;
  KeepFunction keep = sandbox->text != NULL ? keep_function : NULL;
  plain->size = 0;
  plain->limit = COPY_OUT_MAX;
  for (int i = first; i <= lua_gettop(L); i++) {
    if (plain_encode(L, i, plain, keep)) continue;
    sandbox->outcome = plain->out_of_space ? OUT_OF_MEMORY : BAD_SCRIPT;
    bool named = plain->where[0] != '\0' && !plain->out_of_space;
    snprintf(sandbox->message, sizeof sandbox->message, "%s: returns %s%s%s",
             sandbox->name, plain->error, named ? " as " : "",
             named ? plain->where : "");
    return;
  }
}

/* Runs protected in the inner state; 1: the sandbox. */
static int run_job(lua_State *L) {
  Sandbox *sandbox = lua_touserdata(L, 1);
  int wanted = sandbox->text != NULL ? 1 : RESULTS;
  lua_State *thread = lua_newthread(L);
  int first = lua_gettop(L) + 1;
  if (sandbox->text == NULL)
    push_call(L, sandbox);
  else if (!push_script(L, sandbox))
    return 0;
  int arguments = sandbox->text == NULL ? sandbox->arguments : 0;
  luaL_checkstack(thread, arguments + 6, "too many arguments");
  lua_xmove(L, thread, arguments + 1);
  lua_settop(L, first - 1);
  int status = limits_resume(thread, L, arguments);
  if (status != 0) {
    note_failure(sandbox, thread, status);
    limits_kill(thread, L);
    return 0;
  }
  lua_settop(thread, wanted);
  lua_xmove(thread, L, wanted);
  take_results(L, sandbox, first);
  return 0;
}

/* Runs the job that is described in the sandbox. */
static void run(Sandbox *sandbox) {
  lua_State *inner = sandbox->inner;
  limits_begin(sandbox);
  sandbox->outcome = DONE;
  sandbox->message[0] = '\0';
  lua_pushcfunction(inner, run_job);
  lua_pushlightuserdata(inner, sandbox);
  int status = lua_pcall(inner, 1, 0, 0);
  if (status != 0) note_failure(sandbox, inner, status);
  lua_settop(inner, 0);
  if (sandbox->used > sandbox->limit / 2) lua_gc(inner, LUA_GCCOLLECT, 0);
}

static int sandbox_collect(lua_State *L) {
  Sandbox *sandbox = luaL_checkudata(L, 1, SANDBOX_TYPE);
  if (sandbox->inner != NULL) lua_close(sandbox->inner);
  sandbox->inner = NULL;
  free(sandbox->plain.bytes);
  memset(&sandbox->plain, 0, sizeof sandbox->plain);
  return 0;
}

/* Pushes the results of the job, or nil, message, code. */
static int answer(lua_State *L, Sandbox *sandbox, int results) {
  static const char *const codes[] = {
    [BAD_SCRIPT] = "bad_script",
    [TOO_LONG] = "too_long",
    [OUT_OF_MEMORY] = "out_of_memory",
  };
  if (sandbox->outcome != DONE)
    return engine_fail(L, codes[sandbox->outcome], "%s", sandbox->message);
  sandbox->plain.read = 0;
  for (int i = 0; i < results; i++) plain_decode(L, &sandbox->plain, false);
  return results;
}

/* Names the script as Lua does: of a long path the end is shown. */
static void name_script(Sandbox *sandbox, const char *name) {
  size_t size = strlen(name), room = sizeof sandbox->name - 1;
  bool whole = size <= room;
  sandbox->script = name;
  snprintf(sandbox->name, sizeof sandbox->name, "%s%s", whole ? "" : "...",
           whole ? name : name + size - (room - 3));
}

/* sandbox:load(name, text) --> any | nil, message, code */
static int sandbox_load(lua_State *L) {
  static const char bom[] = "\xef\xbb\xbf";
  Sandbox *sandbox = luaL_checkudata(L, 1, SANDBOX_TYPE);
  const char *name = luaL_checkstring(L, 2);
  sandbox->text = luaL_checklstring(L, 3, &sandbox->text_size);
  if (sandbox->text_size > TEXT_MAX)
    return engine_fail(L, "bad_script", "%s: is longer than %d KiB", name,
                       TEXT_MAX / 1024);
  if (starts(sandbox->text, LUA_SIGNATURE))
    return engine_fail(L, "bad_script", "%s: is compiled Lua, not text", name);
  if (starts(sandbox->text, bom)) {
    sandbox->text += sizeof bom - 1;
    sandbox->text_size -= sizeof bom - 1;
  }
  name_script(sandbox, name);
  run(sandbox);
  return answer(L, sandbox, 1);
}

static lua_Integer check_handle(lua_State *L, const Sandbox *sandbox) {
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_getfield(L, 2, "function");
  lua_Integer handle = lua_tointeger(L, -1);
  luaL_argcheck(L, handle >= 1 && handle <= sandbox->functions, 2,
                "function that load has met expected");
  lua_pop(L, 1);
  return handle;
}

/* sandbox:call(handle, ...) --> any, any | nil, message, code */
static int sandbox_call(lua_State *L) {
  Sandbox *sandbox = luaL_checkudata(L, 1, SANDBOX_TYPE);
  sandbox->handle = check_handle(L, sandbox);
  sandbox->arguments = lua_gettop(L) - 2;
  sandbox->plain.size = 0;
  sandbox->plain.limit = COPY_IN_MAX;
  for (int i = 3; i <= sandbox->arguments + 2; i++) {
    if (plain_encode(L, i, &sandbox->plain, NULL)) continue;
    if (sandbox->plain.out_of_space)
      return engine_fail(L, "out_of_memory", "arguments are too large");
    return luaL_error(L, "argument holds %s", sandbox->plain.error);
  }
  sandbox->text = NULL;
  name_script(sandbox, "function");
  run(sandbox);
  return answer(L, sandbox, RESULTS);
}

/* Protected in the inner state; 1: the sandbox, 2: the prelude. */
static int set_up(lua_State *L) {
  limits_open(L, lua_touserdata(L, 1));
  lua_pushlightuserdata(L, &functions_key);
  lua_newtable(L);
  lua_rawset(L, LUA_REGISTRYINDEX);
  lua_remove(L, 1);
  return words_open(L);
}

static lua_Integer check_number(lua_State *L, const char *name,
                                lua_Integer least) {
  lua_getfield(L, 1, name);
  lua_Integer number = luaL_checkinteger(L, -1);
  if (number < least) luaL_error(L, "%s must be at least %d", name, (int)least);
  lua_pop(L, 1);
  return number;
}

/* sandbox.new(options) --> sandbox */
static int sandbox_new(lua_State *L) {
  static const char *const names[] = {"memory", "instructions", "prelude",
                                      NULL};
  Slice prelude;
  luaL_checktype(L, 1, LUA_TTABLE);
  engine_check_options(L, 1, names);
  lua_settop(L, 1);
  lua_Integer memory = check_number(L, "memory", 262144);
  lua_Integer instructions = check_number(L, "instructions", 1000);
  lua_getfield(L, 1, "prelude");
  prelude.data = (const unsigned char *)luaL_checklstring(L, -1, &prelude.size);
  Sandbox *sandbox = lua_newuserdata(L, sizeof *sandbox);
  memset(sandbox, 0, sizeof *sandbox);
  luaL_setmetatable(L, SANDBOX_TYPE);
  sandbox->limit = (size_t)memory;
  sandbox->instructions = instructions;
  sandbox->inner = limits_state(sandbox);
  if (sandbox->inner == NULL) return luaL_error(L, "not enough memory");
  lua_pushcfunction(sandbox->inner, set_up);
  lua_pushlightuserdata(sandbox->inner, sandbox);
  lua_pushlightuserdata(sandbox->inner, &prelude);
  if (lua_pcall(sandbox->inner, 2, 0, 0) != 0)
    return luaL_error(L, "%s", lua_tostring(sandbox->inner, -1));
  return 1;
}

int engine_open_sandbox(lua_State *L) {
  static const luaL_Reg functions[] = {
    {"new", sandbox_new},
    {NULL, NULL},
  };
  static const luaL_Reg methods[] = {
    {"load", sandbox_load},
    {"call", sandbox_call},
    {NULL, NULL},
  };
  luaL_newmetatable(L, SANDBOX_TYPE);
  lua_pushcfunction(L, sandbox_collect);
  lua_setfield(L, -2, "__gc");
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  luaL_newlib(L, functions);
  return 1;
}
