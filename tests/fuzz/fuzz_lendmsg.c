/* SPDX-License-Identifier: Apache-2.0 */
/* A datagram from whoever ends TLS, who is fed with hostile bytes: what is taken for a message
 * has text that ends in its field and numbers in their range. The first byte: how many
 * descriptors come along. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fdmsg.h"
#include "egress/lendmsg.h"
#include "fuzz.h"

static void look(const struct immure_lend_msg *m)
{
	switch (m->type) {
	case IMMURE_LEND_AUTHORITY:
		if (strnlen(m->authority.pem, IMMURE_LEND_PEM) == IMMURE_LEND_PEM)
			abort();
		break;
	case IMMURE_LEND_DENIED:
		if (m->denied.step >= IMMURE_WIRE_STEPS || m->denied.port > 65535 ||
		    strnlen(m->denied.why, sizeof(m->denied.why)) == sizeof(m->denied.why))
			abort();
		break;
	case IMMURE_LEND_MARK:
		if (m->mark.number >= IMMURE_LEND_SECRETS || m->mark.needle[0].len > IMMURE_NEEDLE_MOST ||
		    m->mark.needle[1].len > IMMURE_NEEDLE_MOST)
			abort();
		break;
	case IMMURE_LEND_LEND:
		if (m->lend.port == 0 || m->lend.port > 65535 || m->lend.kind == IMMURE_HOST_WILDCARD)
			abort();
		break;
	default:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	int pair[2], fds[IMMURE_LEND_FDS], give[4];
	struct immure_lend_msg m;
	struct iovec iov;
	size_t n;

	if (len < 2 || len > 64 * 1024 || immure_lend_pair(pair) < 0)
		return 0;
	n = data[0] % 5;
	for (size_t i = 0; i < n; i++)
		give[i] = pair[0];
	iov = (struct iovec){ .iov_base = (void *)(uintptr_t)(data + 1), .iov_len = len - 1 };
	if (immure_fdmsg_send(pair[0], &iov, 1, give, n, 0) > 0) {
		int r = immure_lend_recv(pair[1], &m, fds);

		if (r == 1)
			look(&m);
		for (size_t i = 0; r != 1 && i < IMMURE_LEND_FDS; i++)
			if (fds[i] >= 0)
				abort();
		immure_close_all(fds, IMMURE_LEND_FDS);
	}
	(void)close(pair[0]);
	(void)close(pair[1]);
	return 0;
}
