/* URIs as Go's net/url reads and prints them, since that is what stands in
** the certificates that verifiers compare with. */
#include "uri.h"

#include <string.h>

/* Work for texts of `size` bytes in all: each is unescaped once, escaped
** again to compare, and printed. Left on the stack. */
static void work_begin(lua_State *L, Work *work, size_t size) {
  memset(work, 0, sizeof *work);
  work->next = lua_newuserdata(L, size * 16 + 256);
}

/* Whether a path or fragment that was written this way may stay so. */
static bool valid_encoded(Part raw, Mode mode) {
  for (size_t i = 0; i < raw.size; i++) {
    unsigned char c = (unsigned char)raw.at[i];
    if (!uri_plain(c, mode) && (c == '\0' || strchr("!'()*[]%", c) == NULL))
      return false;
  }
  return true;
}

static Part escaped(Work *work, Part text, Part raw, Mode mode) {
  if (raw.size > 0 && valid_encoded(raw, mode)) return raw;
  if (mode == PATH && part_same(text, part_of("*", 1))) return text;
  return uri_escape(work, text, mode);
}

static void add(luaL_Buffer *out, Part text) {
  if (text.size > 0) luaL_addlstring(out, text.at, text.size);
}

static void add_user(luaL_Buffer *out, Work *work, const Uri *uri) {
  add(out, uri_escape(work, uri->user, USER));
  if (uri->password.at == NULL) return;
  luaL_addchar(out, ':');
  add(out, uri_escape(work, uri->password, USER));
}

static void add_authority(luaL_Buffer *out, Work *work, const Uri *uri) {
  bool has_user = uri->user.at != NULL, has_host = uri->host.size > 0;
  if (uri->scheme.size == 0 && !has_host && !has_user) return;
  if (uri->omit_host && !has_host && !has_user) return;
  if (has_host || uri->path.size > 0 || has_user) luaL_addstring(out, "//");
  if (has_user) {
    add_user(out, work, uri);
    luaL_addchar(out, '@');
  }
  add(out, uri_escape(work, uri->host, HOST));
}

static void add_path(luaL_Buffer *out, Work *work, const Uri *uri) {
  Part path = escaped(work, uri->path, uri->raw_path, PATH);
  bool alone =
    uri->scheme.size == 0 && uri->host.size == 0 && uri->user.at == NULL;
  if (path.size > 0 && path.at[0] != '/' && uri->host.size > 0)
    luaL_addchar(out, '/');
  if (alone) {
    ptrdiff_t slash = part_find(path, '/');
    Part segment = slash < 0 ? path : part_of(path.at, (size_t)slash);
    if (part_find(segment, ':') >= 0) luaL_addstring(out, "./");
  }
  add(out, path);
}

/* Pushes the text that Go's URL.String gives. */
static void push_text(lua_State *L, Work *work, const Uri *uri) {
  luaL_Buffer out;
  luaL_buffinit(L, &out);
  if (uri->scheme.size > 0) {
    add(&out, uri->scheme);
    luaL_addchar(&out, ':');
  }
  if (uri->opaque.size > 0) {
    add(&out, uri->opaque);
  } else {
    add_authority(&out, work, uri);
    add_path(&out, work, uri);
  }
  if (uri->force_query || uri->query.size > 0) {
    luaL_addchar(&out, '?');
    add(&out, uri->query);
  }
  if (uri->fragment.size > 0) {
    luaL_addchar(&out, '#');
    add(&out, escaped(work, uri->fragment, uri->raw_fragment, FRAGMENT));
  }
  luaL_pushresult(&out);
}

static Part check_text(lua_State *L, int index) {
  Part text;
  text.at = luaL_checklstring(L, index, &text.size);
  return text;
}

static void set_part(lua_State *L, const char *name, Part text) {
  if (text.size == 0) return;
  lua_pushlstring(L, text.at, text.size);
  lua_setfield(L, -2, name);
}

/* "host:port" apart, without the brackets of an IPv6 address. */
static void set_host(lua_State *L, Part host) {
  ptrdiff_t colon = part_find_last(host, ':');
  if (colon >= 0 && uri_valid_port(part_rest(host, (size_t)colon))) {
    set_part(L, "port", part_rest(host, (size_t)colon + 1));
    host.size = (size_t)colon;
  }
  if (host.size > 1 && host.at[0] == '[' && host.at[host.size - 1] == ']')
    host = part_of(host.at + 1, host.size - 2);
  set_part(L, "host", host);
}

static void set_user(lua_State *L, Work *work, const Uri *uri) {
  luaL_Buffer out;
  if (uri->user.at == NULL) return;
  luaL_buffinit(L, &out);
  add_user(&out, work, uri);
  luaL_pushresult(&out);
  lua_setfield(L, -2, "user");
}

/* uri.uri_read(text) --> table | nil, message, "bad_uri" */
static int uri_parse(lua_State *L) {
  Part text = check_text(L, 1);
  Work work;
  Uri uri;
  work_begin(L, &work, text.size);
  if (!uri_read(&work, &text, &uri)) return uri_failed(L, &work, text);
  lua_newtable(L);
  set_part(L, "scheme", uri.scheme);
  set_part(L, "opaque", uri.opaque);
  set_user(L, &work, &uri);
  set_host(L, uri.host);
  lua_pushlstring(L, uri.path.at == NULL ? "" : uri.path.at, uri.path.size);
  lua_setfield(L, -2, "path");
  set_part(L, "query", uri.query);
  set_part(L, "fragment", uri.fragment);
  push_text(L, &work, &uri);
  lua_setfield(L, -2, "text");
  return 1;
}

/* Cleans a path that begins with "/" in place: single slashes, "." and
** ".." resolved, no slash at the end. The new size. */
static size_t clean(char *path, size_t size) {
  size_t read = 0, written = 0;
  while (read < size) {
    size_t end = read + 1;
    while (end < size && path[end] != '/') end++;
    size_t length = end - read - 1;
    if (length == 2 && memcmp(path + read, "/..", 3) == 0) {
      while (written > 0 && path[--written] != '/') continue;
    } else if (length > 0 && !(length == 1 && path[read + 1] == '.')) {
      memmove(path + written, path + read, length + 1);
      written += length + 1;
    }
    read = end;
  }
  return written == 0 ? 1 : written; /* path[0] is "/" still */
}

/* Joins the elements on the stack, from index 2, to the path. */
static bool join_path(lua_State *L, Work *work, Uri *uri) {
  Part path = escaped(work, uri->path, uri->raw_path, PATH);
  Part element = path;
  char *joined = work->next;
  size_t size = 0;
  bool relative = !part_starts(path, "/");
  if (relative) joined[size++] = '/';
  if (path.size > 0) memcpy(joined + size, path.at, path.size);
  size += path.size;
  for (int i = 2; i <= lua_gettop(L) - 1; i++) {
    element = check_text(L, i);
    if (element.size == 0) continue;
    joined[size++] = '/';
    memcpy(joined + size, element.at, element.size);
    size += element.size;
  }
  if (lua_gettop(L) > 2) element = check_text(L, lua_gettop(L) - 1);
  bool slash = element.size > 0 ? element.at[element.size - 1] == '/'
                                : relative && lua_gettop(L) == 2;
  Part result = part_of(joined, clean(joined, size));
  if (relative) result = part_rest(result, 1);
  work->next = joined + size + 1;
  if (slash && (result.size == 0 || result.at[result.size - 1] != '/')) {
    joined[(size_t)(result.at - joined) + result.size] = '/';
    result.size++;
  }
  uri->raw_path = part_of(NULL, 0);
  return uri_decode(work, result, PATH, &uri->path, &uri->raw_path);
}

/* uri.join(base, ...) --> text | nil, message, "bad_uri" */
static int uri_join(lua_State *L) {
  Part base = check_text(L, 1);
  size_t size = base.size * 3 + 8;
  Work work;
  Uri uri;
  for (int i = 2; i <= lua_gettop(L); i++) size += check_text(L, i).size + 1;
  work_begin(L, &work, size);
  if (!uri_read(&work, &base, &uri)) return uri_failed(L, &work, base);
  if (!join_path(L, &work, &uri)) return uri_failed(L, &work, part_of(NULL, 0));
  push_text(L, &work, &uri);
  return 1;
}

static bool is_spiffe_plain(unsigned char c) {
  return uri_digit(c) || c == '-' || c == '.' || c == '_';
}

/* What is wrong with the path of a SPIFFE ID, or NULL. */
static const char *spiffe_path_error(Part path) {
  while (path.size > 0) {
    size_t end = 1;
    while (end < path.size && path.at[end] != '/') {
      unsigned char c = (unsigned char)path.at[end++];
      if (!uri_alpha(c) && !is_spiffe_plain(c))
        return "path segment characters are limited to letters, numbers, "
               "dots, dashes, and underscores";
    }
    if (end == 1)
      return path.size == 1 ? "path cannot have a trailing slash"
                            : "path cannot contain empty segments";
    if ((end == 2 && path.at[1] == '.') ||
        (end == 3 && memcmp(path.at, "/..", 3) == 0))
      return "path cannot contain dot segments";
    path = part_rest(path, end);
  }
  return NULL;
}

/* uri.spiffe(text) --> trust domain | nil, message, "bad_spiffe_id" */
static int uri_spiffe(lua_State *L) {
  static const char *const code = "bad_spiffe_id";
  Part text = check_text(L, 1);
  if (text.size == 0) return engine_fail(L, code, "cannot be empty");
  if (!part_starts(text, "spiffe://"))
    return engine_fail(L, code, "scheme is missing or invalid");
  Part domain = part_rest(text, 9);
  ptrdiff_t slash = part_find(domain, '/');
  Part path = part_rest(domain, slash < 0 ? domain.size : (size_t)slash);
  if (slash >= 0) domain.size = (size_t)slash;
  if (domain.size == 0) return engine_fail(L, code, "trust domain is missing");
  for (size_t i = 0; i < domain.size; i++) {
    unsigned char c = (unsigned char)domain.at[i];
    if (!(c >= 'a' && c <= 'z') && !is_spiffe_plain(c))
      return engine_fail(L, code,
                         "trust domain characters are limited to lowercase "
                         "letters, numbers, dots, dashes, and underscores");
  }
  const char *wrong = spiffe_path_error(path);
  if (wrong != NULL) return engine_fail(L, code, "%s", wrong);
  lua_pushlstring(L, domain.at, domain.size);
  return 1;
}

int engine_open_uri(lua_State *L) {
  static const luaL_Reg functions[] = {
    {"parse", uri_parse},
    {"join", uri_join},
    {"spiffe", uri_spiffe},
    {NULL, NULL},
  };
  luaL_newlib(L, functions);
  return 1;
}
