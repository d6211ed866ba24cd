/* What one raw signature costs a PKCS#11 module: CPU seconds of C_SignInit
** and C_Sign, a mean over SECONDS of them.
**
** Usage: hsm_speed MODULE LABEL PIN DIGEST_SIZE SECONDS */
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SIGNATURES = 100 };

static CK_FUNCTION_LIST *call;

static void must(CK_RV rv, const char *what) {
  if (rv == CKR_OK) return;
  fprintf(stderr, "hsm_speed: %s: 0x%lx\n", what, rv);
  exit(EXIT_FAILURE);
}

static void load(const char *path) {
  void *module = dlopen(path, RTLD_NOW);
  CK_C_GetFunctionList list;
  *(void **)&list = module == NULL ? NULL : dlsym(module, "C_GetFunctionList");
  must(list == NULL ? CKR_GENERAL_ERROR : list(&call), path);
  must(call->C_Initialize(NULL), "C_Initialize");
}

static CK_OBJECT_HANDLE find_key(CK_SESSION_HANDLE session, char *label) {
  CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
  CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof class},
                             {CKA_LABEL, label, strlen(label)}};
  CK_OBJECT_HANDLE key;
  unsigned long count;
  must(call->C_FindObjectsInit(session, template, 2), "C_FindObjectsInit");
  must(call->C_FindObjects(session, &key, 1, &count), "C_FindObjects");
  must(count == 1 ? CKR_OK : CKR_GENERAL_ERROR, "the key");
  must(call->C_FindObjectsFinal(session), "C_FindObjectsFinal");
  return key;
}

static double processor(void) {
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void sign(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key,
                 unsigned long size) {
  CK_MECHANISM mechanism = {CKM_ECDSA, NULL, 0};
  unsigned char digest[64] = {1}, signature[512];
  for (int i = 0; i < SIGNATURES; i++) {
    unsigned long room = sizeof signature;
    digest[0] = (unsigned char)i;
    must(call->C_SignInit(session, &mechanism, key), "C_SignInit");
    must(call->C_Sign(session, digest, size, signature, &room), "C_Sign");
  }
}

int main(int argc, char **argv) {
  CK_SLOT_ID slots[8];
  unsigned long count = 8;
  CK_SESSION_HANDLE session;
  if (argc != 6) return EXIT_FAILURE;
  load(argv[1]);
  must(call->C_GetSlotList(CK_TRUE, slots, &count), "C_GetSlotList");
  must(call->C_OpenSession(slots[0], CKF_SERIAL_SESSION, NULL, NULL, &session),
       "C_OpenSession");
  must(call->C_Login(session, CKU_USER, (unsigned char *)argv[3],
                     strlen(argv[3])),
       "C_Login");
  CK_OBJECT_HANDLE key = find_key(session, argv[2]);
  unsigned long size = strtoul(argv[4], NULL, 10), made = 0;
  sign(session, key, size); /* warm */
  double start = processor(), seconds = strtod(argv[5], NULL), took;
  do {
    sign(session, key, size);
    made += SIGNATURES;
    took = processor() - start;
  } while (took < seconds);
  printf("%.9f\n", took / (double)made);
  return EXIT_SUCCESS;
}
