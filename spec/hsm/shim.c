/* A PKCS#11 module for specs: SoftHSM (or another) behind the documented
** rules of HSMs that cannot be bought here, with faults on request.
**
**   SHIM_MODULE    the real module (default SoftHSM's)
**   SHIM_PROFILE   aws-cloudhsm azure-cloud-hsm luna yubihsm2 nshield gcp-kms
**   SHIM_PIN       the real module's user PIN, for profiles with own login
**   SHIM_SIGN_MS   how long a signature takes
**   SHIM_WORK_MS   how long it computes
**   SHIM_HOLD      a file; while it exists no signature is made
**   SHIM_SESSIONS  most sessions that may be open
**   SHIM_FAULT     a file; while it exists its lines decide: "FUNCTION CKR
**                  [TIMES]", e.g. "C_Sign 0x30" or "C_OpenSession 0xe0 3";
**                  CKR "hang": it never returns; "lie": C_Sign's result is
**                  wrong
**   SHIM_LIE       from this signature on (1: the first) all are wrong
**   SHIM_COUNT     a file to which each C_Login, C_Sign and fault adds a line,
**                  and "N at once" when there were never so many C_Sign in it
*/
#include <dlfcn.h>
#include <fcntl.h>
#include <p11-kit/pkcs11.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define REAL "/usr/lib/softhsm/libsofthsm2.so"

typedef struct Profile {
  const char *name;
  const char *manufacturer;
  const char *library;
  bool user_pin;      /* PIN is user:password */
  bool key_id_pin;    /* PIN is four hex digits and a password */
  bool own_login;     /* login is the shim's: any PIN, or none */
  bool no_login_flag; /* CKF_LOGIN_REQUIRED is unset */
  bool rw_only;       /* read-only sessions are refused */
  bool no_cert;       /* certificates cannot be stored */
  bool single_part;   /* C_SignUpdate does not exist */
  bool two_byte_id;   /* CKA_ID is two bytes, labels at most 40 */
  unsigned sessions;  /* most sessions, 0 no limit */
} Profile;

static const Profile profiles[] = {
  {.name = "aws-cloudhsm", .manufacturer = "Marvell Semiconductors, Inc.",
   .library = "CloudHSM PKCS#11", .user_pin = true, .rw_only = true,
   .no_cert = true, .single_part = true, .sessions = 1024},
  {.name = "azure-cloud-hsm", .manufacturer = "Marvell Semiconductors, Inc.",
   .library = "Azure Cloud HSM PKCS#11", .user_pin = true, .rw_only = true,
   .sessions = 1024},
  {.name = "luna", .manufacturer = "SafeNet", .library = "Chrystoki"},
  {.name = "yubihsm2", .manufacturer = "Yubico (www.yubico.com)",
   .library = "YubiHSM PKCS#11 Library", .key_id_pin = true,
   .two_byte_id = true, .sessions = 16},
  {.name = "nshield", .manufacturer = "nCipher Corp. Ltd",
   .library = "nCipher PKCS#11", .own_login = true, .no_login_flag = true},
  {.name = "gcp-kms", .manufacturer = "Google",
   .library = "Cryptographic service", .own_login = true,
   .no_login_flag = true, .no_cert = true},
  {.name = "none"},
};

static CK_FUNCTION_LIST list; /* what we hand out */
static CK_FUNCTION_LIST *real;
static const Profile *profile;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned open_sessions;
static unsigned max_sessions;

static const char *setting(const char *name, const char *otherwise) {
  const char *value = getenv(name);
  return value != NULL && *value != '\0' ? value : otherwise;
}

static void note(const char *what) {
  const char *path = setting("SHIM_COUNT", NULL);
  if (path == NULL) return;
  int fd = open(path, O_WRONLY | O_APPEND | O_CREAT, 0600);
  if (fd < 0) return;
  ssize_t ignored = write(fd, what, strlen(what));
  (void)ignored;
  close(fd);
}

/* How often each line of the fault file has struck. */
static unsigned strikes[16];

#define LIE (CKR_VENDOR_DEFINED | 1UL)

/* The CKR that the fault file wants from a function now, else CKR_OK. */
static CK_RV fault(const char *function) {
  const char *path = setting("SHIM_FAULT", NULL);
  FILE *file = path == NULL ? NULL : fopen(path, "r");
  if (file == NULL) {
    memset(strikes, 0, sizeof strikes);
    return CKR_OK;
  }
  CK_RV result = CKR_OK;
  char name[64];
  char line[128];
  for (unsigned i = 0; i < 16 && fgets(line, sizeof line, file); i++) {
    char code[16];
    unsigned times = 0;
    int items = sscanf(line, "%63s %15s %u", name, code, &times);
    if (items < 2 || strcmp(name, function) != 0) continue;
    if (items == 3 && strikes[i] >= times) continue;
    strikes[i]++;
    result = strcmp(code, "lie") == 0 ? LIE : strtoul(code, NULL, 0);
    note("fault\n");
    while (strcmp(code, "hang") == 0) pause();
    break;
  }
  fclose(file);
  return result;
}

static void pad(unsigned char *field, size_t size, const char *text) {
  memset(field, ' ', size);
  size_t length = strlen(text);
  memcpy(field, text, length < size ? length : size);
}

static CK_RV shim_GetInfo(CK_INFO *info) {
  CK_RV rv = real->C_GetInfo(info);
  if (rv == CKR_OK && profile->manufacturer != NULL) {
    pad(info->manufacturerID, sizeof info->manufacturerID,
        profile->manufacturer);
    pad(info->libraryDescription, sizeof info->libraryDescription,
        profile->library);
  }
  return rv;
}

static CK_RV shim_Initialize(void *arguments) {
  CK_RV rv = fault("C_Initialize");
  if (rv != CKR_OK) return rv;
  open_sessions = 0;
  return real->C_Initialize(arguments);
}

static CK_RV shim_GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO *info) {
  CK_RV rv = fault("C_GetTokenInfo");
  if (rv == CKR_OK) rv = real->C_GetTokenInfo(slot, info);
  if (rv == CKR_OK && profile->no_login_flag)
    info->flags &= ~(CK_FLAGS)CKF_LOGIN_REQUIRED;
  return rv;
}

static CK_RV own_login(CK_SESSION_HANDLE session) {
  const char *pin = setting("SHIM_PIN", "1234");
  CK_RV rv = real->C_Login(session, CKU_USER, (unsigned char *)pin,
                           strlen(pin));
  return rv == CKR_USER_ALREADY_LOGGED_IN ? CKR_OK : rv;
}

static CK_RV shim_OpenSession(CK_SLOT_ID slot, CK_FLAGS flags, void *data,
                              CK_NOTIFY notify, CK_SESSION_HANDLE *session) {
  CK_RV rv = fault("C_OpenSession");
  if (rv != CKR_OK) return rv;
  if (profile->rw_only && !(flags & CKF_RW_SESSION))
    return CKR_FUNCTION_FAILED;
  pthread_mutex_lock(&lock);
  if (max_sessions != 0 && open_sessions >= max_sessions)
    rv = CKR_SESSION_COUNT;
  else
    rv = real->C_OpenSession(slot, flags, data, notify, session);
  if (rv == CKR_OK) open_sessions++;
  pthread_mutex_unlock(&lock);
  if (rv == CKR_OK && profile->own_login) own_login(*session);
  return rv;
}

static CK_RV shim_CloseSession(CK_SESSION_HANDLE session) {
  CK_RV rv = real->C_CloseSession(session);
  pthread_mutex_lock(&lock);
  if (rv == CKR_OK && open_sessions > 0) open_sessions--;
  pthread_mutex_unlock(&lock);
  return rv;
}

static CK_RV shim_CloseAllSessions(CK_SLOT_ID slot) {
  open_sessions = 0;
  return real->C_CloseAllSessions(slot);
}

/* How many bytes of the PIN are the user's name, -1 when malformed. */
static int pin_prefix(const unsigned char *pin, size_t size) {
  if (profile->user_pin) {
    const unsigned char *colon = memchr(pin, ':', size);
    size_t name = colon == NULL ? 0 : (size_t)(colon - pin);
    if (name == 0 || name > 31) return -1;
    size_t password = size - name - 1;
    return password < 4 || password > 32 ? -1 : (int)name + 1;
  }
  if (!profile->key_id_pin) return 0;
  if (size < 8 || strspn((const char *)pin, "0123456789abcdefABCDEF") < 4)
    return -1;
  return 4;
}

static CK_RV shim_Login(CK_SESSION_HANDLE session, CK_USER_TYPE user,
                        unsigned char *pin, unsigned long size) {
  note("C_Login\n");
  CK_RV rv = fault("C_Login");
  if (rv != CKR_OK) return rv;
  if (profile->own_login) return own_login(session);
  if (user != CKU_USER) return real->C_Login(session, user, pin, size);
  int prefix = pin_prefix(pin, size);
  if (prefix < 0) return CKR_ARGUMENTS_BAD;
  return real->C_Login(session, user, pin + prefix,
                       size - (unsigned long)prefix);
}

static const CK_ATTRIBUTE *attribute(const CK_ATTRIBUTE *template,
                                     unsigned long count,
                                     CK_ATTRIBUTE_TYPE type) {
  for (unsigned long i = 0; i < count; i++)
    if (template[i].type == type) return &template[i];
  return NULL;
}

/* CKA_ID and CKA_LABEL as the profile wants them. */
static bool names_fit(const CK_ATTRIBUTE *template, unsigned long count) {
  if (!profile->two_byte_id) return true;
  const CK_ATTRIBUTE *id = attribute(template, count, CKA_ID);
  const CK_ATTRIBUTE *label = attribute(template, count, CKA_LABEL);
  return (id == NULL || id->ulValueLen == 2) &&
         (label == NULL || label->ulValueLen <= 40);
}

static CK_RV shim_CreateObject(CK_SESSION_HANDLE session,
                               CK_ATTRIBUTE *template, unsigned long count,
                               CK_OBJECT_HANDLE *object) {
  CK_RV rv = fault("C_CreateObject");
  if (rv != CKR_OK) return rv;
  const CK_ATTRIBUTE *class = attribute(template, count, CKA_CLASS);
  if (profile->no_cert && class != NULL &&
      *(const CK_OBJECT_CLASS *)class->pValue == CKO_CERTIFICATE)
    return CKR_FUNCTION_NOT_SUPPORTED;
  if (!names_fit(template, count)) return CKR_ATTRIBUTE_VALUE_INVALID;
  return real->C_CreateObject(session, template, count, object);
}

static CK_RV shim_GenerateKeyPair(
  CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *public,
  unsigned long public_count, CK_ATTRIBUTE *private,
  unsigned long private_count, CK_OBJECT_HANDLE *public_key,
  CK_OBJECT_HANDLE *private_key) {
  CK_RV rv = fault("C_GenerateKeyPair");
  if (rv != CKR_OK) return rv;
  const CK_ATTRIBUTE *token = attribute(private, private_count, CKA_TOKEN);
  const CK_ATTRIBUTE *sign = attribute(private, private_count, CKA_SIGN);
  if (profile->user_pin && (token == NULL || sign == NULL))
    return CKR_TEMPLATE_INCOMPLETE;
  if (!names_fit(private, private_count)) return CKR_ATTRIBUTE_VALUE_INVALID;
  return real->C_GenerateKeyPair(session, mechanism, public, public_count,
                                 private, private_count, public_key,
                                 private_key);
}

static CK_RV shim_SignInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
                           CK_OBJECT_HANDLE key) {
  CK_RV rv = fault("C_SignInit");
  return rv != CKR_OK ? rv : real->C_SignInit(session, mechanism, key);
}

static atomic_uint under_way;

/* Says so when it is one more at once than ever before. */
static void count_in(void) {
  static unsigned most;
  const char *path = setting("SHIM_COUNT", NULL);
  unsigned now = atomic_fetch_add(&under_way, 1) + 1;
  char line[32];
  pthread_mutex_lock(&lock);
  if (path == NULL || access(path, F_OK) != 0) most = 0; /* begun anew */
  bool more = now > most;
  if (more) most = now;
  pthread_mutex_unlock(&lock);
  snprintf(line, sizeof line, "%u at once\n", now);
  if (more) note(line);
}

static double processor(void) {
  struct timespec used;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return (double)used.tv_sec * 1e3 + (double)used.tv_nsec / 1e6;
}

/* As the environment says a signature does. */
static void take_time(void) {
  static const struct timespec shortly = {0, 5000000};
  long ms = strtol(setting("SHIM_SIGN_MS", "0"), NULL, 10);
  double work = strtod(setting("SHIM_WORK_MS", "0"), NULL);
  const char *hold = setting("SHIM_HOLD", NULL);
  struct timespec wait = {ms / 1000, ms % 1000 * 1000000};
  if (ms > 0) nanosleep(&wait, NULL);
  for (double end = processor() + work; work > 0 && processor() < end;) {
  }
  while (hold != NULL && access(hold, F_OK) == 0) nanosleep(&shortly, NULL);
}

static CK_RV shim_Sign(CK_SESSION_HANDLE session, unsigned char *data,
                       unsigned long size, unsigned char *signature,
                       unsigned long *signature_size) {
  CK_RV rv = fault("C_Sign");
  bool lies = rv == LIE;
  if (rv != CKR_OK && !lies) return rv;
  if (signature != NULL) {
    count_in();
    take_time();
    note("C_Sign\n");
    atomic_fetch_sub(&under_way, 1);
  }
  rv = real->C_Sign(session, data, size, signature, signature_size);
  static unsigned long made;
  unsigned long lie = strtoul(setting("SHIM_LIE", "0"), NULL, 10);
  if (lie != 0 && signature != NULL && ++made >= lie) lies = true;
  if (rv == CKR_OK && signature != NULL && lies)
    signature[*signature_size / 2] ^= 1;
  return rv;
}

static CK_RV shim_SignUpdate(CK_SESSION_HANDLE session, unsigned char *data,
                             unsigned long size) {
  if (profile->single_part) return CKR_FUNCTION_NOT_SUPPORTED;
  return real->C_SignUpdate(session, data, size);
}

static CK_RV shim_FindObjectsInit(CK_SESSION_HANDLE session,
                                  CK_ATTRIBUTE *template,
                                  unsigned long count) {
  CK_RV rv = fault("C_FindObjectsInit");
  return rv != CKR_OK ? rv : real->C_FindObjectsInit(session, template, count);
}

static CK_RV shim_GetSlotList(unsigned char present, CK_SLOT_ID *slots,
                              unsigned long *count) {
  CK_RV rv = fault("C_GetSlotList");
  return rv != CKR_OK ? rv : real->C_GetSlotList(present, slots, count);
}

static void shim_wrap(void) {
  list = *real;
  list.C_GetInfo = shim_GetInfo;
  list.C_Initialize = shim_Initialize;
  list.C_GetTokenInfo = shim_GetTokenInfo;
  list.C_GetSlotList = shim_GetSlotList;
  list.C_OpenSession = shim_OpenSession;
  list.C_CloseSession = shim_CloseSession;
  list.C_CloseAllSessions = shim_CloseAllSessions;
  list.C_Login = shim_Login;
  list.C_CreateObject = shim_CreateObject;
  list.C_GenerateKeyPair = shim_GenerateKeyPair;
  list.C_SignInit = shim_SignInit;
  list.C_Sign = shim_Sign;
  list.C_SignUpdate = shim_SignUpdate;
  list.C_FindObjectsInit = shim_FindObjectsInit;
}

static CK_RV shim_load(void) {
  const char *wanted = setting("SHIM_PROFILE", "none");
  profile = profiles;
  while (profile->manufacturer != NULL && strcmp(profile->name, wanted) != 0)
    profile++;
  max_sessions = (unsigned)strtoul(setting("SHIM_SESSIONS", "0"), NULL, 10);
  if (max_sessions == 0) max_sessions = profile->sessions;
  void *module = dlopen(setting("SHIM_MODULE", REAL), RTLD_NOW | RTLD_LOCAL);
  if (module == NULL) return CKR_GENERAL_ERROR;
  CK_C_GetFunctionList open_real;
  *(void **)&open_real = dlsym(module, "C_GetFunctionList");
  if (open_real == NULL || open_real(&real) != CKR_OK)
    return CKR_GENERAL_ERROR;
  shim_wrap();
  return CKR_OK;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **functions) {
  pthread_mutex_lock(&lock);
  CK_RV rv = real == NULL ? shim_load() : CKR_OK;
  pthread_mutex_unlock(&lock);
  if (rv == CKR_OK) *functions = &list;
  return rv;
}
