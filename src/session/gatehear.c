/* SPDX-License-Identifier: Apache-2.0 */
/* What the worker says: denials, answers, and what it is in want of. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <time.h>

#include "base/fd.h"
#include "session/gatekeep.h"
#include "session/gateproc.h"

enum { HEAR_MS = 20, WANTS_A_SECOND = 64 };

static uint64_t now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail */
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void give_sockets(struct immure_gatekeeper *g, const struct immure_wire_want *want)
{
	const uint32_t half = IMMURE_WIRE_SOCKETS_MAX / 2;
	struct immure_wire m = { .type = IMMURE_WIRE_SOCKETS };
	int fds[IMMURE_WIRE_SOCKETS_MAX], n;
	uint64_t now = now_ms() / 1000;

	/* Each time is a process: one that cannot have enough waits. */
	if (now != g->wants_s)
		g->wants_n = 0;
	g->wants_s = now;
	if (++g->wants_n > WANTS_A_SECOND)
		return;
	m.sockets.n4 = want->n4 < half ? want->n4 : half;
	m.sockets.n6 = !g->plumb.with_v6 ? 0 : want->n6 < half ? want->n6 : half;
	n = immure_gateproc_sockets(g->userns_fd, g->netns_fd, m.sockets.n4, m.sockets.n6, fds);
	if (n > 0) /* not taken: it asks again, or does without */
		(void)immure_wire_send(g->wire_fd, &m, fds, (size_t)n);
	for (int i = 0; i < n; i++)
		immure_close(&fds[i]);
}

/* Whoever is held meanwhile may go on. Lost: the next try of its is told of anew. */
static void looked(struct immure_gatekeeper *g, uint32_t id)
{
	const struct immure_wire m = { .type = IMMURE_WIRE_LOOKED, .id = id };

	(void)immure_wire_send(g->wire_fd, &m, NULL, 0);
}

static void hear(struct immure_gatekeeper *g, const struct immure_wire *m)
{
	switch (m->type) {
	case IMMURE_WIRE_DENIED:
		immure_gate_denied(g, &m->denied);
		if (m->id)
			looked(g, m->id);
		break;
	case IMMURE_WIRE_STATS:
		g->stats = m->stats;
		g->answered = m->id;
		break;
	case IMMURE_WIRE_DONE:
		g->done = m->done;
		g->answered = m->id;
		break;
	case IMMURE_WIRE_NAMES: /* the next one's names start there: no address means two */
		if (m->names.upto > g->config.first_name)
			g->config.first_name = m->names.upto;
		break;
	case IMMURE_WIRE_WANT:
		give_sockets(g, &m->want);
		break;
	case IMMURE_WIRE_VERDICT:
		immure_broker_verdict(g, m->id, m->verdict.errnum);
		break;
	case IMMURE_WIRE_FAILED:
		(void)snprintf(g->failed_why, sizeof(g->failed_why), "%s", m->failed.why);
		break;
	case IMMURE_WIRE_READY:
	default:
		break;
	}
}

bool immure_gate_hear(struct immure_gatekeeper *g)
{
	int fds[IMMURE_WIRE_FDS_MAX];
	uint64_t start = now_ms();
	struct immure_wire m;
	size_t n = 0;
	int r;

	/* A flood of denials, each of which somebody is looked for, must not keep the supervisor
	 * from its other work. What is left is heard the next time. */
	for (int i = 0; i < 64 && (i == 0 || now_ms() - start < HEAR_MS); i++) {
		r = immure_wire_recv(g->wire_fd, false, &m, fds, &n);
		if (r == -EAGAIN)
			return true;
		if (r != 1)
			return false;
		for (size_t k = 0; k < n; k++)
			immure_close(&fds[k]); /* it has none to give */
		hear(g, &m);
	}
	return true;
}

bool immure_gate_answer(struct immure_gatekeeper *g, uint32_t id, int timeout_ms)
{
	struct timespec start, now;

	(void)clock_gettime(CLOCK_MONOTONIC, &start); /* cannot fail */
	while (g->answered != id) {
		struct pollfd p = { .fd = g->wire_fd, .events = POLLIN };
		long passed;

		(void)clock_gettime(CLOCK_MONOTONIC, &now);
		passed = (now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000;
		if (passed >= timeout_ms)
			return false;
		if (poll(&p, 1, timeout_ms - (int)passed) < 0 && errno != EINTR)
			return false;
		if (p.revents && !immure_gate_hear(g))
			return false;
	}
	return true;
}
