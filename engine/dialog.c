/* dialog: frames on a socket, read as they come, sent at a turn's end. A
** frame is its size and its number, of 32 bits in the machine's order, and
** that many bytes. */
#include "dialog.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ 65536     /* bytes at once */
#define PATIENCE 0.001 /* seconds that the oldest waits while others come */

typedef struct Frame {
  uint32_t size, number;
} Frame;

/* Those that have something to send. */
static struct {
  Dialog *first, **end;
  double since;
} waiting;

/* Nobody looks at these any more once the turn has ended. */
static Dialog *gone;

static unsigned char *heap_room(Heap *heap, size_t size) {
  if (heap->room - heap->size < size) {
    heap->room = heap->size + size + heap->room / 2;
    heap->data = realloc(heap->data, heap->room);
    if (heap->data == NULL) abort();
  }
  return heap->data + heap->size;
}

static void heap_put(Heap *heap, const void *bytes, size_t size) {
  memcpy(heap_room(heap, size), bytes, size);
  heap->size += size;
}

static void heap_drop(Heap *heap, size_t size) {
  heap->size -= size;
  memmove(heap->data, heap->data + size, heap->size);
}

void dialog_pin(Dialog *dialog) {
  dialog->pins++;
}

void dialog_unpin(Dialog *dialog) {
  if (--dialog->pins > 0) return;
  dialog->next = gone;
  gone = dialog;
}

static void free_gone(void) {
  while (gone != NULL) {
    Dialog *dialog = gone;
    gone = dialog->next;
    free(dialog->in.data);
    free(dialog->out.data);
    free(dialog);
  }
}

static void dialog_leave(Dialog *dialog) {
  Dialog **at = &waiting.first;
  if (!dialog->waits) return;
  while (*at != dialog) at = &(*at)->next;
  *at = dialog->next;
  if (*at == NULL) waiting.end = at;
  dialog->waits = false;
}

void dialog_close(Dialog *dialog) {
  if (dialog->fd < 0) return;
  dialog_leave(dialog);
  event_free(dialog->readable);
  event_free(dialog->writable);
  close(dialog->fd);
  dialog->fd = -1;
  dialog->in.size = dialog->out.size = 0;
  dialog->ended(dialog);
}

/* sending ------------------------------------------------------------- */

static void dialog_send(Dialog *dialog) {
  const Heap *out = &dialog->out;
  ssize_t sent = send(dialog->fd, out->data, out->size, MSG_NOSIGNAL);
  if (sent < 0 && errno != EAGAIN && errno != EINTR) {
    dialog_close(dialog);
    return;
  }
  if (sent > 0) heap_drop(&dialog->out, (size_t)sent);
  if (out->size > 0) event_add(dialog->writable, NULL);
}

static void dialog_writable(evutil_socket_t fd, short what, void *context) {
  (void)fd, (void)what;
  dialog_send(context);
}

static void dialogs_send(void) {
  while (waiting.first != NULL) {
    Dialog *dialog = waiting.first;
    dialog_leave(dialog);
    dialog_send(dialog);
  }
}

static void dialogs_turn(void) {
  dialogs_send();
  free_gone();
}

void dialogs_look(void) {
  if (waiting.first != NULL && loop_clock() - waiting.since > PATIENCE)
    dialogs_send();
}

void dialog_say(Dialog *dialog, uint32_t number, Slice bytes) {
  Frame head = {.size = (uint32_t)bytes.size, .number = number};
  if (dialog->fd < 0) return;
  heap_put(&dialog->out, &head, sizeof head);
  heap_put(&dialog->out, bytes.data, bytes.size);
  if (dialog->waits || event_pending(dialog->writable, EV_WRITE, NULL)) return;
  if (waiting.first == NULL) {
    waiting.end = &waiting.first;
    waiting.since = loop_clock();
  }
  dialog->waits = true;
  dialog->next = NULL;
  *waiting.end = dialog;
  waiting.end = &dialog->next;
}

/* reading ------------------------------------------------------------- */

/* Hands over the frames that are whole. What is heard may close it. */
static void dialog_hear(Dialog *dialog) {
  size_t at = 0;
  Frame head;
  while (dialog->fd >= 0 && dialog->in.size - at >= sizeof head) {
    memcpy(&head, dialog->in.data + at, sizeof head);
    if (head.size > DIALOG_MOST) {
      dialog_close(dialog);
      return;
    }
    if (dialog->in.size - at - sizeof head < head.size) break;
    Slice bytes = {dialog->in.data + at + sizeof head, head.size};
    at += sizeof head + head.size;
    dialog->heard(dialog, head.number, bytes);
  }
  if (dialog->fd >= 0) heap_drop(&dialog->in, at);
}

static void dialog_readable(evutil_socket_t fd, short what, void *context) {
  (void)what;
  Dialog *dialog = context;
  void *to = heap_room(&dialog->in, READ);
  ssize_t got = recv(fd, to, READ, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    dialog_close(dialog);
    return;
  }
  dialog->in.size += (size_t)got;
  dialog_hear(dialog);
}

void dialog_open(Dialog *dialog, int fd) {
  struct event_base *base = loop_base();
  dialog->fd = fd;
  dialog->readable =
    event_new(base, fd, EV_READ | EV_PERSIST, dialog_readable, dialog);
  dialog->writable = event_new(base, fd, EV_WRITE, dialog_writable, dialog);
  if (dialog->readable == NULL || dialog->writable == NULL) abort();
  event_add(dialog->readable, NULL);
  loop_on_turn(dialogs_turn);
}
