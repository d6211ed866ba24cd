/* A PKCS#11 library in this process: loaded once, found again by its path,
** restarted when nothing else helps. Slots are libp11's. */
#include "hsm.h"

#include <dlfcn.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

static Module *modules;
static pthread_mutex_t modules_lock = PTHREAD_MUTEX_INITIALIZER;

/* libp11 leaves the module's return code as OpenSSL's reason. */
static CK_RV libp11_reason(void) {
  unsigned long error = ERR_peek_error();
  ERR_clear_error();
  int reason = ERR_GET_REASON(error);
  return error == 0 || reason <= 0 ? CKR_GENERAL_ERROR : (CK_RV)reason;
}

static void module_halt(Module *module) {
  if (module->ctx == NULL) return;
  if (module->apart) module->call->C_Finalize(NULL);
  module->apart = false;
  PKCS11_CTX_unload(module->ctx);
  PKCS11_CTX_free(module->ctx);
  module->ctx = NULL;
  ERR_clear_error();
}

/* The raw functions are of the same library that libp11 loads. */
static CK_RV module_bind(Module *module) {
  if (module->call != NULL) return CKR_OK;
  module->handle = dlopen(module->path, RTLD_NOW | RTLD_LOCAL);
  if (module->handle == NULL) return CKR_OURS_NO_MODULE;
  CK_C_GetFunctionList list;
  *(void **)&list = dlsym(module->handle, "C_GetFunctionList");
  CK_RV rv = list == NULL ? CKR_OURS_NO_MODULE : list(&module->call);
  if (rv == CKR_OK) return rv;
  dlclose(module->handle);
  module->handle = NULL;
  module->call = NULL;
  return rv;
}

static CK_RV module_load(Module *module) {
  module->ctx = PKCS11_CTX_new();
  if (module->ctx == NULL) return CKR_HOST_MEMORY;
  if (module->init != NULL) PKCS11_CTX_init_args(module->ctx, module->init);
  ERR_clear_error();
  if (PKCS11_CTX_load(module->ctx, module->path) == 0) return CKR_OK;
  CK_RV rv = libp11_reason();
  PKCS11_CTX_free(module->ctx);
  module->ctx = NULL;
  return rv;
}

CK_RV module_restart(Module *module) {
  module_halt(module);
  CK_RV rv = module_bind(module);
  if (rv == CKR_OK) rv = module_load(module);
  if (rv != CKR_OK) return rv;
  /* p11-kit gives every caller an instance of its own, to be initialised
  ** apart; elsewhere libp11 has done it for us. */
  CK_C_INITIALIZE_ARGS arguments = {.flags = CKF_OS_LOCKING_OK};
  arguments.pReserved = module->init;
  rv = module->call->C_Initialize(&arguments);
  module->apart = rv == CKR_OK;
  if (rv != CKR_OK && rv != CKR_CRYPTOKI_ALREADY_INITIALIZED) {
    module_halt(module);
    return rv;
  }
  module->generation++;
  return CKR_OK;
}

static void module_free(Module *module) {
  module_halt(module);
  if (module->handle != NULL) dlclose(module->handle);
  pthread_rwlock_destroy(&module->use);
  free(module->path);
  free(module->init);
  free(module);
}

static bool same(const char *a, const char *b) {
  return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* Readers come without a pause while the token is away: who restarts the
** module goes before them. */
static void prefer_writers(pthread_rwlock_t *lock) {
  pthread_rwlockattr_t attributes;
  pthread_rwlockattr_init(&attributes);
  pthread_rwlockattr_setkind_np(&attributes,
                                PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
  pthread_rwlock_init(lock, &attributes);
  pthread_rwlockattr_destroy(&attributes);
}

static Module *module_make(const char *path, const char *init) {
  Module *module = calloc(1, sizeof *module);
  if (module == NULL) return NULL;
  prefer_writers(&module->use);
  module->path = strdup(path);
  module->init = init == NULL ? NULL : strdup(init);
  module->next = modules;
  modules = module;
  return module;
}

Module *module_open(const char *path, const char *init) {
  pthread_mutex_lock(&modules_lock);
  Module *module = modules;
  while (module != NULL &&
         !(same(module->path, path) && same(module->init, init)))
    module = module->next;
  if (module == NULL) module = module_make(path, init);
  if (module != NULL) module->users++;
  pthread_mutex_unlock(&modules_lock);
  return module;
}

void module_close(Module *module) {
  pthread_mutex_lock(&modules_lock);
  if (--module->users == 0) {
    Module **link = &modules;
    while (*link != module) link = &(*link)->next;
    *link = module->next;
    module_free(module);
  }
  pthread_mutex_unlock(&modules_lock);
}

static bool fits(const char *wanted, const char *found) {
  return wanted == NULL || strcmp(wanted, found) == 0;
}

static bool token_fits(const TokenName *name, const PKCS11_TOKEN *token) {
  return token->initialized && fits(name->label, token->label) &&
    fits(name->serial, token->serialnr) &&
    fits(name->maker, token->manufacturer) && fits(name->model, token->model);
}

typedef struct Slots {
  PKCS11_SLOT *first;
  unsigned count;
} Slots;

/* How many fit, and the first of them. */
static unsigned find_fitting(const TokenName *name, const Slots *slots,
                             PKCS11_SLOT **found) {
  unsigned count = 0;
  for (unsigned i = 0; i < slots->count; i++) {
    PKCS11_SLOT *slot = &slots->first[i];
    if (slot->token == NULL || !token_fits(name, slot->token)) continue;
    unsigned long id = PKCS11_get_slotid_from_slot(slot);
    if (name->slot >= 0 && id != (unsigned long)name->slot) continue;
    if (count++ == 0) *found = slot;
  }
  return count;
}

CK_RV module_find(Module *module, const TokenName *name, CK_SLOT_ID *slot,
                  char serial[17], char model[17]) {
  if (module->ctx == NULL) return CKR_CRYPTOKI_NOT_INITIALIZED;
  Slots slots;
  ERR_clear_error();
  if (PKCS11_enumerate_slots(module->ctx, &slots.first, &slots.count) != 0)
    return libp11_reason();
  PKCS11_SLOT *one = NULL;
  unsigned found = find_fitting(name, &slots, &one);
  if (found > 0) {
    *slot = PKCS11_get_slotid_from_slot(one);
    strncpy(serial, one->token->serialnr, 16);
    strncpy(model, one->token->model, 16);
    serial[16] = model[16] = '\0';
  }
  PKCS11_release_all_slots(module->ctx, slots.first, slots.count);
  ERR_clear_error();
  if (found == 0) return CKR_OURS_NO_TOKEN;
  return found == 1 ? CKR_OK : CKR_OURS_TWO_TOKENS;
}
