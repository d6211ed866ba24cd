/* wipe.c: OpenSSL's memory, overwritten while a private key is read. */
#ifndef FULCIO_WIPE_H
#define FULCIO_WIPE_H

/* For a program's beginning, before OpenSSL has any memory: it is too late
** then, and what follows does nothing. */
void wipe_install(void);
/* What this thread's OpenSSL gives back in between is overwritten. */
void wipe_begin(void);
void wipe_end(void);

#endif
