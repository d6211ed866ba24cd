/* Quirks: what vendors' PKCS#11 modules want done differently. */
#include "hsm.h"

#include <ctype.h>
#include <string.h>

static const Profile profiles[] = {
  {.name = "aws-cloudhsm",
   .maker = "CloudHSM",
   .pin_form = "USER:PASSWORD",
   .no_certificates = true},
  {.name = "azure-cloud-hsm",
   .maker = "Azure Cloud HSM",
   .pin_form = "USER:PASSWORD"},
  {.name = "luna", .maker = "SafeNet"},
  {.name = "luna", .maker = "Chrystoki"},
  {.name = "luna", .maker = "Thales"},
  {.name = "yubihsm2",
   .maker = "YubiHSM",
   .pin_form = "four hexadecimal digits of the key's ID, then its password",
   .id_size = 2,
   .label_max = 40,
   .sessions = 8},
  {.name = "nshield", .maker = "nCipher", .no_login = true},
  {.name = "nshield", .maker = "nShield", .no_login = true},
  {.name = "gcp-kms",
   .maker = "Google",
   .no_certificates = true,
   .no_login = true},
  {.name = "nss", .maker = "Mozilla"},
  {.name = "nss", .maker = "NSS"},
  {.name = "tpm2", .maker = "tpm2"},
  {.name = "kryoptic", .maker = "Kryoptic"},
  {.name = "softhsm", .maker = "SoftHSM"},
  {.name = "generic", .maker = ""},
};

enum { PROFILES = sizeof profiles / sizeof *profiles };

const Profile *quirk_named(const char *name) {
  for (int i = 0; i < PROFILES; i++)
    if (strcmp(profiles[i].name, name) == 0) return &profiles[i];
  return NULL;
}

/* Whether a blank-padded field contains the text, in any case. */
static bool field_says(const unsigned char *field, size_t size,
                       const char *text) {
  size_t length = strlen(text);
  for (size_t at = 0; at + length <= size; at++) {
    size_t i = 0;
    while (i < length &&
           tolower(field[at + i]) == tolower((unsigned char)text[i]))
      i++;
    if (i == length) return true;
  }
  return false;
}

const Profile *quirk_for(const CK_INFO *info, const char *model) {
  /* Azure's module is of the same family as Amazon's and says both. */
  const Profile *azure = quirk_named("azure-cloud-hsm");
  if (field_says(info->libraryDescription, 32, azure->maker)) return azure;
  for (int i = 0; i < PROFILES; i++) {
    const char *maker = profiles[i].maker;
    if (field_says(info->manufacturerID, 32, maker) ||
        field_says(info->libraryDescription, 32, maker) ||
        field_says((const unsigned char *)model, strlen(model), maker))
      return &profiles[i];
  }
  return &profiles[PROFILES - 1];
}

unsigned quirk_sessions(const Profile *profile, const char *path) {
  const char *file = strrchr(path, '/');
  file = file == NULL ? path : file + 1;
  if (strncmp(file, "p11-kit-", 8) == 0) return 1;
  return profile->sessions;
}

const char *quirk_pin_fault(const Profile *profile, Slice pin) {
  if (profile->pin_form == NULL || pin.data == NULL) return NULL;
  bool fits;
  if (profile->id_size == 2)
    fits = pin.size > 4 && isxdigit(pin.data[0]) && isxdigit(pin.data[1]) &&
      isxdigit(pin.data[2]) && isxdigit(pin.data[3]);
  else
    fits = memchr(pin.data, ':', pin.size) != NULL;
  /* YubiHSM's other forms begin with a mark of their own. */
  if (profile->id_size == 2 && pin.size > 0 &&
      (pin.data[0] == '@' || pin.data[0] == '#'))
    fits = true;
  return fits ? NULL : profile->pin_form;
}
