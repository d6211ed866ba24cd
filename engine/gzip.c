/* gzip (RFC 1952), read within a limit: a little of it can become much. */
#include "engine.h"

#include <zlib.h>

#define GZIP_ALONE (16 + MAX_WBITS) /* inflateInit2: neither zlib nor raw */
#define SCRATCH 4096

/* Inflates members one after the other, as many as there are; *size is what
** they hold together. NULL, or the code of what is wrong. With `out` NULL,
** which is the first time, it counts only. */
static const char *inflate_all(z_stream *stream, unsigned char *out,
                               size_t limit, size_t *size) {
  unsigned char scratch[SCRATCH] = {0};
  *size = 0;
  for (;;) {
    size_t room = out == NULL ? sizeof scratch : limit - *size;
    stream->next_out = out == NULL ? scratch : out + *size;
    stream->avail_out = (uInt)room;
    int status = inflate(stream, Z_NO_FLUSH);
    *size += room - stream->avail_out;
    if (*size > limit) return "too_large";
    if (status == Z_STREAM_END && stream->avail_in == 0) return NULL;
    if (status == Z_STREAM_END) status = inflateReset(stream);
    if (status != Z_OK) return "bad_gzip";
  }
}

static const char *gunzip(Slice bytes, unsigned char *out, size_t limit,
                          size_t *size) {
  z_stream stream = {.next_in = (unsigned char *)(uintptr_t)bytes.data,
                     .avail_in = (uInt)bytes.size};
  if (inflateInit2(&stream, GZIP_ALONE) != Z_OK) return "bad_gzip";
  const char *code = inflate_all(&stream, out, limit, size);
  inflateEnd(&stream);
  return code;
}

/* bytes.gunzip(bytes, limit) --> bytes | nil, message, code. Twice, so that
** an error of Lua finds nothing of zlib's. */
int bytes_gunzip(lua_State *L) {
  Slice bytes = engine_slice(L, 1);
  lua_Integer limit = luaL_checkinteger(L, 2);
  luaL_argcheck(L, limit >= 0 && limit <= 1 << 30, 2, "0 to 2^30 bytes");
  luaL_argcheck(L, bytes.size <= 1 << 30, 1, "at most 2^30 bytes");
  size_t size;
  const char *code = gunzip(bytes, NULL, (size_t)limit, &size);
  if (code != NULL)
    return engine_fail(L, code, "%s",
                       *code == 't' ? "larger than it may be" : "not gzip");
  Room room;
  unsigned char *out = engine_room(L, &room, size + 1);
  gunzip(bytes, out, size + 1, &size);
  lua_pushlstring(L, (const char *)out, size);
  return 1;
}
