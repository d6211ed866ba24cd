/* TLS on a connection: what the socket brings is decrypted into the
** connection's input, what is sent is encrypted before the socket gets it. */
#include "server.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

#define RECORD 16384 /* bytes of text in one (RFC 8446 section 5.1) */

struct Channel {
  SSL *ssl;
  struct evbuffer *input; /* decrypted */
  bool broken;
};

/* Records that one call into OpenSSL made, sent after it. */
static struct {
  unsigned char *bytes;
  size_t size, room;
} text;

/* OpenSSL's side of the socket -------------------------------------- */

static int socket_read(BIO *bio, char *to, int room) {
  Connection *connection = BIO_get_data(bio);
  struct evbuffer *input = bufferevent_get_input(connection->stream);
  int size = evbuffer_remove(input, to, (size_t)room);
  BIO_clear_retry_flags(bio);
  if (size > 0) return size;
  BIO_set_retry_read(bio);
  return -1;
}

static int socket_write(BIO *bio, const char *from, int size) {
  (void)bio;
  if (size <= 0) return 0;
  if (text.size + (size_t)size > text.room) {
    text.room = (text.size + (size_t)size) * 2;
    text.bytes = realloc(text.bytes, text.room);
    if (text.bytes == NULL) abort();
  }
  memcpy(text.bytes + text.size, from, (size_t)size);
  text.size += (size_t)size;
  return size;
}

static long socket_control(BIO *bio, int what, long number, void *pointer) {
  (void)bio, (void)number, (void)pointer;
  return what == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO *socket_new(Connection *connection) {
  static BIO_METHOD *method;
  if (method == NULL) {
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "loop");
    if (method == NULL) abort();
    BIO_meth_set_read(method, socket_read);
    BIO_meth_set_write(method, socket_write);
    BIO_meth_set_ctrl(method, socket_control);
  }
  BIO *bio = BIO_new(method);
  if (bio == NULL) abort();
  BIO_set_data(bio, connection);
  BIO_set_init(bio, 1);
  return bio;
}

/* life -------------------------------------------------------------- */

void channel_open(Connection *connection) {
  Channel *channel = calloc(1, sizeof *channel);
  if (channel == NULL) abort();
  channel->ssl = tls_accept(connection->service->tls);
  channel->input = evbuffer_new();
  if (channel->ssl == NULL || channel->input == NULL) abort();
  BIO *bio = socket_new(connection);
  SSL_set_bio(channel->ssl, bio, bio);
  connection->channel = channel;
  connection->input = channel->input;
}

void channel_free(Channel *channel) {
  SSL_free(channel->ssl);
  evbuffer_free(channel->input);
  free(channel);
}

bool channel_is_ready(const Channel *channel) {
  return SSL_is_init_finished(channel->ssl);
}

/* traffic ----------------------------------------------------------- */

static bool text_send(Connection *connection) {
  Slice bytes = {text.bytes, text.size};
  text.size = 0;
  if (bytes.size == 0) return true;
  return connection_push(connection, bytes, (Slice){NULL, 0});
}

bool channel_read(Connection *connection, size_t room) {
  static unsigned char record[RECORD];
  Channel *channel = connection->channel;
  int size = 1;
  while (size > 0 && evbuffer_get_length(channel->input) < room) {
    ERR_clear_error();
    size = SSL_read(channel->ssl, record, sizeof record);
    if (size > 0) evbuffer_add(channel->input, record, (size_t)size);
  }
  int error = size > 0 ? SSL_ERROR_NONE : SSL_get_error(channel->ssl, size);
  ERR_clear_error();
  if (!text_send(connection)) return false;
  if (error == SSL_ERROR_ZERO_RETURN) connection->ended = true;
  if (error == SSL_ERROR_SSL || error == SSL_ERROR_SYSCALL) {
    channel->broken = true;
    connection_close(connection);
    return false;
  }
  return true;
}

static void channel_write(Channel *channel, Slice bytes) {
  while (bytes.size > 0) {
    size_t size = bytes.size < RECORD ? bytes.size : RECORD;
    int done = SSL_write(channel->ssl, bytes.data, (int)size);
    if (done <= 0) break; /* what reads next says why */
    bytes.data += done;
    bytes.size -= (size_t)done;
  }
}

bool channel_send(Connection *connection, Slice head, Slice body) {
  static unsigned char record[RECORD];
  Channel *channel = connection->channel;
  ERR_clear_error();
  if (body.size > 0 && head.size + body.size <= sizeof record) {
    memcpy(record, head.data, head.size);
    memcpy(record + head.size, body.data, body.size);
    head = (Slice){record, head.size + body.size};
    body.size = 0;
  }
  channel_write(channel, head);
  channel_write(channel, body);
  ERR_clear_error();
  return text_send(connection);
}

void channel_end(Connection *connection) {
  Channel *channel = connection->channel;
  if (channel->broken || !SSL_is_init_finished(channel->ssl)) return;
  ERR_clear_error();
  SSL_shutdown(channel->ssl);
  ERR_clear_error();
  text_send(connection);
}
