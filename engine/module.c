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

static CK_RV module_start(Module *module) {
  module->ctx = PKCS11_CTX_new();
  if (module->ctx == NULL) return CKR_HOST_MEMORY;
  if (module->init != NULL) PKCS11_CTX_init_args(module->ctx, module->init);
  ERR_clear_error();
  if (PKCS11_CTX_load(module->ctx, module->path) != 0) {
    CK_RV rv = libp11_reason();
    PKCS11_CTX_free(module->ctx);
    module->ctx = NULL;
    return rv;
  }
  /* p11-kit gives every caller an instance of its own, to be initialised
  ** apart; elsewhere libp11 has done it for us. */
  CK_C_INITIALIZE_ARGS arguments = {.flags = CKF_OS_LOCKING_OK};
  arguments.pReserved = module->init;
  CK_RV rv = module->call->C_Initialize(&arguments);
  module->apart = rv == CKR_OK;
  if (rv != CKR_OK && rv != CKR_CRYPTOKI_ALREADY_INITIALIZED) {
    module_halt(module);
    return rv;
  }
  module->generation++;
  return CKR_OK;
}

CK_RV module_restart(Module *module) {
  module_halt(module);
  return module_start(module);
}

static void module_free(Module *module) {
  module_halt(module);
  if (module->handle != NULL) dlclose(module->handle);
  pthread_rwlock_destroy(&module->use);
  free(module->path);
  free(module->init);
  free(module);
}

/* The raw functions are of the same library that libp11 loaded. */
static CK_RV module_bind(Module *module) {
  module->handle = dlopen(module->path, RTLD_NOW | RTLD_LOCAL);
  if (module->handle == NULL) return CKR_OURS_NO_MODULE;
  CK_C_GetFunctionList list;
  *(void **)&list = dlsym(module->handle, "C_GetFunctionList");
  if (list == NULL) return CKR_OURS_NO_MODULE;
  CK_RV rv = list(&module->call);
  return rv == CKR_OK ? module_start(module) : rv;
}

static bool same(const char *a, const char *b) {
  return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

Module *module_open(const char *path, const char *init, CK_RV *rv) {
  pthread_mutex_lock(&modules_lock);
  Module *module = modules;
  while (module != NULL &&
         !(same(module->path, path) && same(module->init, init)))
    module = module->next;
  *rv = CKR_OK;
  if (module == NULL) {
    module = calloc(1, sizeof *module);
    pthread_rwlock_init(&module->use, NULL);
    module->path = strdup(path);
    module->init = init == NULL ? NULL : strdup(init);
    *rv = module_bind(module);
    if (*rv == CKR_OK) {
      module->next = modules;
      modules = module;
    }
  }
  if (*rv == CKR_OK) {
    module->users++;
  } else {
    module_free(module);
    module = NULL;
  }
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

static bool token_fits(const TokenName *name, const PKCS11_TOKEN *token) {
  return token->initialized &&
    (name->label == NULL || strcmp(name->label, token->label) == 0) &&
    (name->serial == NULL || strcmp(name->serial, token->serialnr) == 0);
}

static bool slot_fits(const TokenName *name, PKCS11_SLOT *slot, long index) {
  if (name->slot < 0) return true;
  if (!name->by_id) return name->slot == index;
  return (unsigned long)name->slot == PKCS11_get_slotid_from_slot(slot);
}

CK_RV module_find(Module *module, const TokenName *name, CK_SLOT_ID *slot,
                  char serial[17], char model[17]) {
  if (module->ctx == NULL) return CKR_CRYPTOKI_NOT_INITIALIZED;
  PKCS11_SLOT *slots;
  unsigned count;
  ERR_clear_error();
  if (PKCS11_enumerate_slots(module->ctx, &slots, &count) != 0)
    return libp11_reason();
  unsigned found = 0;
  for (unsigned i = 0; i < count; i++) {
    PKCS11_TOKEN *token = slots[i].token;
    if (token == NULL || !token_fits(name, token)) continue;
    if (!slot_fits(name, &slots[i], (long)i)) continue;
    if (found++ > 0) continue;
    *slot = PKCS11_get_slotid_from_slot(&slots[i]);
    strncpy(serial, token->serialnr, 16);
    strncpy(model, token->model, 16);
    serial[16] = model[16] = '\0';
  }
  PKCS11_release_all_slots(module->ctx, slots, count);
  ERR_clear_error();
  if (found == 0) return CKR_OURS_NO_TOKEN;
  return found == 1 ? CKR_OK : CKR_OURS_TWO_TOKENS;
}
