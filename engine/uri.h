/* What the files about URIs share: percent.c (percent-encoding), uri.c (the
** module), reference.c (reading), quote.c (messages). */
#ifndef FULCIO_URI_H
#define FULCIO_URI_H

#include "engine.h"

/* The component that decides which bytes stand for themselves. */
typedef enum Mode { PATH, HOST, ZONE, USER, FRAGMENT } Mode;

typedef struct Part {
  const char *at; /* NULL: absent */
  size_t size;
} Part;

typedef struct Uri {
  Part scheme, opaque, user, password, host, query;
  Part path, raw_path;         /* decoded; as written when that matters */
  Part fragment, raw_fragment; /* the same */
  bool force_query;            /* "?" with nothing after it */
  bool omit_host;              /* "scheme:/path" */
} Uri;

/* Room for every part that is made, and where a reason is left. */
typedef struct Work {
  char *next;
  const char *what; /* NULL: no failure */
  Part quote;       /* what the reason quotes, when `after` is not NULL */
  const char *after;
} Work;

/* percent.c */
Part part_of(const char *at, size_t size);
/* The part from `from` to its end. */
Part part_rest(Part whole, size_t from);
bool part_same(Part a, Part b);
bool part_starts(Part text, const char *prefix);
/* Index of the first (or last) `c`, or -1. */
ptrdiff_t part_find(Part text, char c);
ptrdiff_t part_find_last(Part text, char c);
bool uri_alpha(unsigned char c);
bool uri_digit(unsigned char c);
/* Whether `c` stands for itself. */
bool uri_plain(unsigned char c, Mode mode);
/* Leaves a reason; always false. The second: WHAT "QUOTE" AFTER. */
bool uri_fail(Work *work, const char *what);
bool uri_fail_quoting(Work *work, const char *what, Part quote,
                      const char *after);
bool uri_unescape(Work *work, Part text, Mode mode, Part *out);
Part uri_escape(Work *work, Part text, Mode mode);

/* reference.c. On failure `text` is what the message has to quote. */
bool uri_read(Work *work, Part *text, Uri *uri);
/* Nothing, or ":" and digits. */
bool uri_valid_port(Part text);
/* Sets the path or fragment; `raw` stays absent when escaping what was
** unescaped gives the same text. */
bool uri_decode(Work *work, Part text, Mode mode, Part *out, Part *raw);

/* quote.c. nil, message, "bad_uri"; `text`: the URI, or absent. */
int uri_failed(lua_State *L, const Work *work, Part text);

#endif
