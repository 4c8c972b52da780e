/* SPDX-License-Identifier: Apache-2.0 */
#include "session/relay.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char cut_marker[] = "\n[immure: output limit reached, the rest was discarded]\n";

void immure_relay_init(struct immure_relay *r, int from_fd, int to_fd,
		       struct immure_output_count *count)
{
	r->from_fd = from_fd;
	r->to_fd = to_fd;
	r->count = count;
	r->ended = r->broken = r->marked = false;
	r->have = r->sent = 0;
	r->buf = NULL;
	r->room = 0;
}

void immure_relay_free(struct immure_relay *r)
{
	if (r->buf != r->small)
		free(r->buf);
	r->buf = NULL;
	r->have = r->sent = 0;
}

static void make_room(struct immure_relay *r)
{
	enum { ROOM = 16384 };

	r->buf = malloc(ROOM);
	r->room = r->buf ? ROOM : sizeof(r->small);
	if (!r->buf)
		r->buf = r->small;
}

/* Applies the cap to what was just read; what is over it is dropped, the
 * command is not blocked, and the stream says once that it was cut. */
static void charge(struct immure_relay *r)
{
	struct immure_output_count *c = r->count;
	uint64_t left;

	if (!c)
		return;
	left = c->cap > c->bytes ? c->cap - c->bytes : 0;
	if (c->cap && r->have > left) {
		r->have = (size_t)left;
		c->bytes += left;
		c->cut = true;
		if (!r->marked && r->have + sizeof(cut_marker) <= r->room) {
			memcpy(r->buf + r->have, cut_marker, sizeof(cut_marker) - 1);
			r->have += sizeof(cut_marker) - 1;
			r->marked = true;
		}
		return;
	}
	c->bytes += r->have;
}

void immure_relay_read(struct immure_relay *r)
{
	ssize_t n;

	if (!r->buf)
		make_room(r);
	/* Room is left for the marker. */
	n = read(r->from_fd, r->buf, r->room - sizeof(cut_marker));
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) { /* EIO: the last user of a terminal is gone */
		r->ended = true;
		return;
	}
	r->have = (size_t)n;
	r->sent = 0;
	charge(r);
	if (r->broken || r->to_fd < 0)
		r->have = 0;
}

void immure_relay_write(struct immure_relay *r)
{
	size_t n = r->have - r->sent;
	ssize_t put;

	/* What poll calls writable takes this much without blocking (pipe(7)):
	 * the descriptor is the caller's and cannot be made non-blocking. */
	if (n > PIPE_BUF)
		n = PIPE_BUF;
	put = write(r->to_fd, r->buf + r->sent, n);
	if (put < 0) {
		if (errno == EINTR || errno == EAGAIN)
			return;
		r->broken = true;
		r->have = r->sent = 0;
		return;
	}
	r->sent += (size_t)put;
	if (r->sent == r->have)
		r->have = r->sent = 0;
}
