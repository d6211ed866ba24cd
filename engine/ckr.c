/* PKCS#11 return codes: their names, and what each asks for. */
#include "hsm.h"

#include <stdio.h>

typedef struct Code {
  CK_RV rv;
  const char *name;
  Trouble trouble;
  const char *word;
} Code;

#define CODE(name, trouble, word) \
  { name, #name, TROUBLE_##trouble, word }

static const Code codes[] = {
  CODE(CKR_SESSION_HANDLE_INVALID, SESSION, "hsm_gone"),
  CODE(CKR_SESSION_CLOSED, SESSION, "hsm_gone"),
  CODE(CKR_OPERATION_NOT_INITIALIZED, SESSION, "hsm_gone"),
  CODE(CKR_OPERATION_ACTIVE, SESSION, "hsm_busy"),

  CODE(CKR_USER_NOT_LOGGED_IN, LOGIN, "hsm_gone"),
  CODE(CKR_KEY_HANDLE_INVALID, LOGIN, "hsm_gone"),
  CODE(CKR_OBJECT_HANDLE_INVALID, LOGIN, "hsm_gone"),
  CODE(CKR_KEY_CHANGED, LOGIN, "hsm_gone"),
  /* SoftHSM of a key whose file has gone. */
  CODE(CKR_KEY_INDIGESTIBLE, LOGIN, "hsm_gone"),

  CODE(CKR_DEVICE_REMOVED, GONE, "hsm_gone"),
  CODE(CKR_TOKEN_NOT_PRESENT, GONE, "hsm_gone"),
  CODE(CKR_TOKEN_NOT_RECOGNIZED, GONE, "hsm_gone"),
  CODE(CKR_SLOT_ID_INVALID, GONE, "hsm_gone"),
  CODE(CKR_DEVICE_ERROR, GONE, "hsm_gone"),
  CODE(CKR_DEVICE_MEMORY, GONE, "hsm_gone"),
  CODE(CKR_HOST_MEMORY, GONE, "hsm_gone"),
  CODE(CKR_GENERAL_ERROR, GONE, "hsm_gone"),
  CODE(CKR_CRYPTOKI_NOT_INITIALIZED, GONE, "hsm_gone"),
  {CKR_OURS_NO_TOKEN, "no such token", TROUBLE_GONE, "no_token"},

  CODE(CKR_FUNCTION_FAILED, BUSY, "hsm_busy"),
  CODE(CKR_SESSION_COUNT, LIMIT, "hsm_busy"),
  {CKR_OURS_STUCK, "it does not answer", TROUBLE_LIMIT, "hsm_busy"},

  CODE(CKR_PIN_INCORRECT, PIN, "bad_pin"),
  CODE(CKR_PIN_INVALID, PIN, "bad_pin"),
  CODE(CKR_PIN_LEN_RANGE, PIN, "bad_pin"),
  CODE(CKR_PIN_EXPIRED, PIN, "bad_pin"),
  CODE(CKR_PIN_LOCKED, PIN, "pin_locked"),
  CODE(CKR_USER_PIN_NOT_INITIALIZED, PIN, "bad_pin"),
  CODE(CKR_ARGUMENTS_BAD, PIN, "bad_pin"),
  {CKR_OURS_PIN_FORM, "the PIN has not the form it must have", TROUBLE_PIN,
   "bad_pin"},
  {CKR_OURS_NO_PIN, "it wants a PIN and none was given", TROUBLE_PIN,
   "bad_pin"},
  {CKR_OURS_PIN_BEFORE, "the PIN was refused before and is not tried again",
   TROUBLE_PIN, "bad_pin"},

  CODE(CKR_MECHANISM_INVALID, FATAL, "unsupported"),
  CODE(CKR_KEY_TYPE_INCONSISTENT, FATAL, "unsupported"),
  CODE(CKR_KEY_FUNCTION_NOT_PERMITTED, FATAL, "unsupported"),
  CODE(CKR_DATA_LEN_RANGE, FATAL, "unsupported"),
  CODE(CKR_FUNCTION_NOT_SUPPORTED, FATAL, "unsupported"),
  CODE(CKR_ATTRIBUTE_TYPE_INVALID, FATAL, "unsupported"),
  CODE(CKR_ATTRIBUTE_VALUE_INVALID, FATAL, "unsupported"),
  CODE(CKR_TEMPLATE_INCOMPLETE, FATAL, "unsupported"),
  CODE(CKR_TEMPLATE_INCONSISTENT, FATAL, "unsupported"),
  CODE(CKR_CURVE_NOT_SUPPORTED, FATAL, "unsupported"),
  CODE(CKR_TOKEN_WRITE_PROTECTED, FATAL, "read_only"),
  CODE(CKR_SESSION_READ_ONLY, FATAL, "read_only"),
  {CKR_OURS_TWO_TOKENS, "more than one token fits: name it by its serial",
   TROUBLE_FATAL, "ambiguous_token"},
  {CKR_OURS_NO_KEY, "no such key", TROUBLE_FATAL, "no_key"},
  {CKR_OURS_TWO_KEYS, "more than one key fits", TROUBLE_FATAL, "ambiguous_key"},
  {CKR_OURS_BAD_SIGNATURE, "the signature does not verify", TROUBLE_FATAL,
   "wrong_signature"},
  {CKR_OURS_NO_MODULE, "it is not a PKCS#11 module", TROUBLE_FATAL,
   "no_module"},
};

static const Code *code_of(CK_RV rv) {
  for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
    if (codes[i].rv == rv) return &codes[i];
  return NULL;
}

Trouble ckr_trouble(CK_RV rv) {
  if (rv == CKR_OK) return TROUBLE_NONE;
  const Code *code = code_of(rv);
  return code == NULL ? TROUBLE_FATAL : code->trouble;
}

const char *ckr_name(CK_RV rv) {
  static _Thread_local char text[32];
  const Code *code = code_of(rv);
  if (code != NULL) return code->name;
  snprintf(text, sizeof text, "CKR 0x%lx", (unsigned long)rv);
  return text;
}

const char *ckr_code(CK_RV rv) {
  const Code *code = code_of(rv);
  return code == NULL ? "hsm_failed" : code->word;
}
