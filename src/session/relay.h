/* SPDX-License-Identifier: Apache-2.0 */
/* Copies bytes from one descriptor to another as both are ready, with a count
 * and a cap. Never blocks the loop that drives it. */
#ifndef IMMURE_SESSION_RELAY_H
#define IMMURE_SESSION_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Shared by the relays of one session: stdout and stderr are capped together. */
struct immure_output_count {
	uint64_t bytes; /* passed on */
	uint64_t cap;   /* 0 = none */
	bool cut;       /* something was discarded */
	bool kill;      /* and that ends everything */
};

struct immure_relay {
	int from_fd, to_fd; /* borrowed; -1 = closed */
	bool ended;         /* nothing more will be read */
	bool broken;        /* the reader is gone: read on, discard */
	bool marked;
	size_t have, sent;
	struct immure_output_count *count; /* NULL: input, not counted */
	char *buf;          /* from the first read on: most relays never see a byte */
	size_t room;
	char small[512];    /* what serves when there is no memory for more */
};

void immure_relay_init(struct immure_relay *r, int from_fd, int to_fd,
		       struct immure_output_count *count);
/* What was read and not written yet is gone. */
void immure_relay_free(struct immure_relay *r);
static inline bool immure_relay_wants_read(const struct immure_relay *r)
{
	return r->from_fd >= 0 && !r->ended && r->have == 0;
}
static inline bool immure_relay_wants_write(const struct immure_relay *r)
{
	return r->to_fd >= 0 && r->have > r->sent;
}
static inline bool immure_relay_done(const struct immure_relay *r)
{
	return r->from_fd < 0 || (r->ended && r->have == r->sent);
}
/* Call when poll(2) says so. */
void immure_relay_read(struct immure_relay *r);
void immure_relay_write(struct immure_relay *r);

#endif
