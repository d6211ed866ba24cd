/* Limits on what costs the peer little and us much: frames that ask for
** nothing, requests that are taken back, endless header blocks. */
#include "http2.h"

#define SECONDS 10
#define MAX_FRAMES 1000
#define MAX_RESETS 200
/* Frames that one request may bring along: windows, pings, settings. */
#define FORGIVEN 8
#define MAX_BLOCK 65536 /* bytes of a header block as it is sent */

static bool flood_exceed(Flood *flood, bool exceeded) {
  if (exceeded) flood->exceeded = true;
  return exceeded;
}

static void flood_roll(Flood *flood) {
  double now = loop_clock();
  if (now - flood->since < SECONDS) return;
  flood->since = now;
  flood->frames = flood->resets = 0;
}

/* Whether a frame of that kind alone asks for nothing. Padding may be all
** that a DATA frame has. */
static bool is_idle_talk(const nghttp2_frame_hd *head) {
  if (head->type == NGHTTP2_DATA)
    return (head->length == 0 || (head->flags & NGHTTP2_FLAG_PADDED) != 0) &&
      (head->flags & NGHTTP2_FLAG_END_STREAM) == 0;
  return head->type != NGHTTP2_HEADERS && head->type != NGHTTP2_CONTINUATION;
}

bool flood_frame(Flood *flood, const nghttp2_frame_hd *head) {
  bool exceeded = false;
  if (head->type == NGHTTP2_HEADERS) flood->block = 0;
  if (head->type == NGHTTP2_HEADERS || head->type == NGHTTP2_CONTINUATION) {
    flood->block += head->length;
    exceeded = flood->block > MAX_BLOCK;
  } else if (is_idle_talk(head)) {
    flood_roll(flood);
    exceeded = ++flood->frames > MAX_FRAMES;
  }
  return !flood_exceed(flood, exceeded);
}

void flood_request(Flood *flood) {
  flood->frames = flood->frames > FORGIVEN ? flood->frames - FORGIVEN : 0;
}

bool flood_reset(Flood *flood) {
  flood_roll(flood);
  return !flood_exceed(flood, ++flood->resets > MAX_RESETS);
}
