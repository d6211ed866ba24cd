/* URI references (RFC 3986 section 4.1), read as Go's net/url does. */
#include "uri.h"

#include <arpa/inet.h>
#include <string.h>

bool uri_decode(Work *work, Part text, Mode mode, Part *out, Part *raw) {
  if (!uri_unescape(work, text, mode, out)) return false;
  if (!part_same(uri_escape(work, *out, mode), text)) *raw = text;
  return true;
}

/* Cuts off "scheme:", lower-cased, when there is one. */
static bool split_scheme(Work *work, Part *text, Part *scheme) {
  for (size_t i = 0; i < text->size; i++) {
    unsigned char c = (unsigned char)text->at[i];
    if (uri_alpha(c)) continue;
    if (c == ':') {
      if (i == 0) return uri_fail(work, "missing protocol scheme");
      *scheme = part_of(work->next, i);
      for (size_t j = 0; j < i; j++) {
        c = (unsigned char)text->at[j];
        *work->next++ = (char)(uri_alpha(c) ? c | 0x20 : c);
      }
      *text = part_rest(*text, i + 1);
      return true;
    }
    if (i == 0 || (!uri_digit(c) && strchr("+-.", c) == NULL)) return true;
  }
  return true;
}

bool uri_valid_port(Part text) {
  if (text.size == 0) return true;
  if (text.at[0] != ':') return false;
  for (size_t i = 1; i < text.size; i++)
    if (!uri_digit((unsigned char)text.at[i])) return false;
  return true;
}

/* An IPv6 address, with or without a zone; IPv4 is no IP-literal. */
static bool check_address(Work *work, Part host) {
  unsigned char address[16];
  char text[INET6_ADDRSTRLEN];
  ptrdiff_t zone = part_find(host, '%');
  size_t size = zone < 0 ? host.size : (size_t)zone;
  if (size < sizeof text && (size_t)zone + 1 != host.size) {
    memcpy(text, host.at, size);
    text[size] = '\0';
    if (inet_pton(AF_INET6, text, address) == 1) return true;
    if (zone < 0 && inet_pton(AF_INET, text, address) == 1)
      return uri_fail(work, "invalid IP-literal");
  }
  return uri_fail_quoting(work, "invalid host: ParseAddr(", host,
                          "): unable to parse IP");
}

/* "[address%25zone]:port" */
static bool parse_literal(Work *work, Part host, Part *out) {
  Part port, address, zone = {NULL, 0};
  ptrdiff_t end = part_find_last(host, ']');
  if (end < 0) return uri_fail(work, "missing ']' in host");
  port = part_rest(host, (size_t)end + 1);
  if (!uri_valid_port(port))
    return uri_fail_quoting(work, "invalid port ", port, " after host");
  address = part_of(host.at + 1, (size_t)end - 1);
  for (size_t i = 0; i + 3 <= address.size; i++) {
    if (memcmp(address.at + i, "%25", 3) != 0) continue;
    zone = part_rest(address, i);
    address.size = i;
    break;
  }
  out->at = work->next;
  *work->next++ = '[';
  if (!uri_unescape(work, address, HOST, &address) ||
      !uri_unescape(work, zone, ZONE, &zone))
    return false;
  address.size += zone.size; /* they lie one behind the other */
  if (!check_address(work, address)) return false;
  *work->next++ = ']';
  if (port.size > 0) memcpy(work->next, port.at, port.size);
  work->next += port.size;
  out->size = (size_t)(work->next - out->at);
  return true;
}

static bool parse_host(Work *work, Part scheme, Part host, Part *out) {
  ptrdiff_t bracket = part_find_last(host, '['), colon = part_find(host, ':');
  if (bracket > 0) return uri_fail(work, "invalid IP-literal");
  if (bracket == 0) return parse_literal(work, host, out);
  if (colon >= 0) {
    /* Some databases list several hosts with ports. */
    if (!part_same(scheme, part_of("http", 4)) &&
        !part_same(scheme, part_of("https", 5)))
      colon = part_find_last(host, ':');
    Part port = part_rest(host, (size_t)colon);
    if (!uri_valid_port(port))
      return uri_fail_quoting(work, "invalid port ", port, " after host");
  }
  return uri_unescape(work, host, HOST, out);
}

static bool parse_user(Work *work, Part text, Uri *uri) {
  for (size_t i = 0; i < text.size; i++) {
    unsigned char c = (unsigned char)text.at[i];
    if (!uri_alpha(c) && !uri_digit(c) &&
        (c == '\0' || strchr("-._:~!$&'()*+,;=%@", c) == NULL))
      return uri_fail(work, "net/url: invalid userinfo");
  }
  ptrdiff_t colon = part_find(text, ':');
  Part user = colon < 0 ? text : part_of(text.at, (size_t)colon);
  if (!uri_unescape(work, user, USER, &uri->user)) return false;
  return colon < 0 ||
    uri_unescape(work, part_rest(text, (size_t)colon + 1), USER,
                 &uri->password);
}

/* "user:password@host:port" */
static bool parse_authority(Work *work, Part text, Uri *uri) {
  ptrdiff_t at = part_find_last(text, '@');
  if (!parse_host(work, uri->scheme, part_rest(text, (size_t)(at + 1)),
                  &uri->host))
    return false;
  return at < 0 || parse_user(work, part_of(text.at, (size_t)at), uri);
}

static void split_query(Part *text, Uri *uri) {
  ptrdiff_t mark = part_find(*text, '?');
  if (mark < 0) return;
  uri->force_query = (size_t)mark + 1 == text->size;
  uri->query = part_rest(*text, (size_t)mark + 1);
  text->size = (size_t)mark;
}

static bool parse_hierarchy(Work *work, Part text, Uri *uri) {
  bool has_scheme = uri->scheme.size > 0;
  if (!part_starts(text, "/")) {
    if (has_scheme) {
      uri->opaque = text;
      return true;
    }
    ptrdiff_t slash = part_find(text, '/');
    Part segment = slash < 0 ? text : part_of(text.at, (size_t)slash);
    if (part_find(segment, ':') >= 0)
      return uri_fail(work, "first path segment in URL cannot contain colon");
  }
  if (part_starts(text, "//") && (has_scheme || !part_starts(text, "///"))) {
    Part authority = part_rest(text, 2);
    ptrdiff_t slash = part_find(authority, '/');
    text = part_rest(authority, slash < 0 ? authority.size : (size_t)slash);
    if (slash >= 0) authority.size = (size_t)slash;
    if (!parse_authority(work, authority, uri)) return false;
  } else if (has_scheme) {
    uri->omit_host = true;
  }
  return uri_decode(work, text, PATH, &uri->path, &uri->raw_path);
}

/* All but the fragment. */
static bool parse_base(Work *work, Part text, Uri *uri) {
  for (size_t i = 0; i < text.size; i++)
    if ((unsigned char)text.at[i] < ' ' || text.at[i] == 0x7f)
      return uri_fail(work, "net/url: invalid control character in URL");
  if (part_same(text, part_of("*", 1))) {
    uri->path = text;
    return true;
  }
  if (!split_scheme(work, &text, &uri->scheme)) return false;
  split_query(&text, uri);
  return parse_hierarchy(work, text, uri);
}

bool uri_read(Work *work, Part *text, Uri *uri) {
  Part whole = *text;
  ptrdiff_t mark = part_find(whole, '#');
  memset(uri, 0, sizeof *uri);
  if (mark >= 0) text->size = (size_t)mark;
  if (!parse_base(work, *text, uri)) return false;
  if (mark < 0) return true;
  *text = whole;
  return uri_decode(work, part_rest(whole, (size_t)mark + 1), FRAGMENT,
                    &uri->fragment, &uri->raw_fragment);
}
