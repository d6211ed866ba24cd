/* Object identifiers: dots both ways. */
#include "der.h"

#include <openssl/asn1.h>
#include <openssl/objects.h>
#include <string.h>

enum { TEXT_MAX = 1024 };

/* One arc of digits without a leading zero; false when it is none. */
static bool take_arc(Slice *text, uint64_t *arc) {
  size_t at = 0;
  uint64_t value = 0;
  for (; at < text->size && text->data[at] != '.'; at++) {
    unsigned digit = (unsigned)text->data[at] - '0';
    if (digit > 9 || value > (UINT64_MAX >> 4) / 10) return false;
    value = value * 10 + digit;
  }
  if (at == 0 || (at > 1 && text->data[0] == '0')) return false;
  *arc = value;
  *text = (Slice){text->data + at, text->size - at};
  return true;
}

static size_t put_arc(unsigned char *out, size_t room, uint64_t arc) {
  size_t count = 1;
  if (arc < 0x80 && room > 0) {
    *out = (unsigned char)arc;
    return 1;
  }
  while (count < 10 && arc >> 7 * count != 0) count++;
  if (count > room) return 0;
  for (size_t i = 0; i < count; i++) {
    unsigned more = i + 1 < count ? 0x80 : 0;
    out[i] = (unsigned char)((arc >> 7 * (count - 1 - i) & 0x7f) | more);
  }
  return count;
}

size_t oid_encode(Slice text, unsigned char out[OID_MAX]) {
  uint64_t first, arc;
  size_t size = 0;
  if (!take_arc(&text, &first) || first > 2 || text.size == 0) return 0;
  for (bool second = true; text.size > 0; second = false) {
    text.data++; /* the dot that ended the last arc */
    text.size--;
    if (!take_arc(&text, &arc)) return 0;
    if (second && first < 2 && arc > 39) return 0;
    if (second) arc += first * 40;
    size_t count = put_arc(out + size, OID_MAX - size, arc);
    if (count == 0) return 0;
    size += count;
  }
  return size;
}

/* The OIDs of extensions are the same in all certificates of a policy. */
static struct {
  char text[48];
  size_t text_size, size; /* 0: the place is free */
  unsigned char bytes[48];
} known[64];

Slice oid_find(Slice text, unsigned char out[OID_MAX]) {
  size_t last = text.size, place = 0;
  if (last >= 2)
    place = (text.data[last - 1] + 10u * text.data[last - 2] + last) % 64;
  if (last > 0 && known[place].text_size == last &&
      memcmp(known[place].text, text.data, last) == 0)
    return (Slice){known[place].bytes, known[place].size};
  Slice found = {out, oid_encode(text, out)};
  if (found.size > 0 && found.size <= sizeof known->bytes &&
      last <= sizeof known->text) {
    memcpy(known[place].text, text.data, last);
    memcpy(known[place].bytes, out, found.size);
    known[place].text_size = last;
    known[place].size = found.size;
  }
  return found;
}

bool oid_push(lua_State *L, Slice content) {
  unsigned char der[OID_MAX + 4];
  char text[TEXT_MAX];
  if (content.size == 0 || content.size > OID_MAX) return false;
  unsigned char *at = der_header(der, DER_OID, content.size);
  for (size_t i = 0; i < content.size; i++) at[i] = content.data[i];
  const unsigned char *in = der;
  long size = (long)(at - der) + (long)content.size;
  ASN1_OBJECT *object = d2i_ASN1_OBJECT(NULL, &in, size);
  if (object == NULL) return false;
  int length = OBJ_obj2txt(text, sizeof text, object, 1);
  ASN1_OBJECT_free(object);
  if (length <= 0 || length >= TEXT_MAX) return false;
  lua_pushlstring(L, text, (size_t)length);
  return true;
}
