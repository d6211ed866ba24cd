/* Dialogs: questions and answers in frames over a Unix socket, between
** processes of one machine that run the same program. Many questions are
** under way at once, and what is said in one turn of the loop goes out
** together. */
#ifndef FULCIO_DIALOG_H
#define FULCIO_DIALOG_H

#include "server.h"

/* Bytes of a question or an answer. */
#define DIALOG_MOST ((size_t)1 << 20)

typedef struct Heap {
  unsigned char *data;
  size_t size, room;
} Heap;

/* One end of a socket; the first member of who speaks there. */
typedef struct Dialog Dialog;
struct Dialog {
  int fd; /* -1: closed */
  struct event *readable, *writable;
  Heap in, out;
  Dialog *next; /* of those with something to send in this turn, or gone */
  bool waits;   /* it is among the former */
  int pins;     /* who will still look at it in another turn */
  /* A frame has come; its bytes live during the call. */
  void (*heard)(Dialog *dialog, uint32_t number, Slice bytes);
  /* It has been closed. */
  void (*ended)(Dialog *dialog);
};

/* Takes over a socket; the two functions are set. */
void dialog_open(Dialog *dialog, int fd);
void dialog_close(Dialog *dialog);
/* It was allocated. When the last has unpinned it, which is closed then, it
** is freed at the end of the turn. */
void dialog_pin(Dialog *dialog);
void dialog_unpin(Dialog *dialog);
/* Sends at the end of this turn, when it is still open. */
void dialog_say(Dialog *dialog, uint32_t number, Slice bytes);
/* Sends now what the oldest has waited for long enough. */
void dialogs_look(void);

/* dialog_ask.c and dialog_answer.c */
void dialog_ask_register(lua_State *L);
void dialog_answer_register(lua_State *L);

#endif
