/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both ends of the way to an init that bubblewrap executes.
 *
 * The memfd comes from the supervisor and is sealed, but whoever could make bubblewrap
 * run something could also hand over something else: the plan in it carries its own
 * digest and is checked like any other, and everything else is a count or a flag.
 *
 * The streams do not pass through bubblewrap at all. They come by the line to the
 * supervisor once it has seen who is at the other end of it.
 */
#include "init/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/fdmsg.h"

enum { MAGIC = 0x494d4831, FILTER_MAX = 4096, HANDOVER_MAX = 64 << 20 };

enum {
	FLAG_ONE_SHOT = 1, FLAG_COUNT = 2, FLAG_TRACE = 4, FLAG_SERVE = 8, FLAG_HANDLES = 16,
	FLAG_FILTER_ON_INIT = 32, FLAG_TTY = 64, /* and the next two */
	FLAGS_ALL = 511,
};

struct header {
	uint32_t magic, flags;
	uint32_t filter_len, guard_len; /* instructions */
	uint64_t memory_watch, start_ns;
	uint64_t plan_len, seen_n;
};

static uint32_t flags_of(const struct immure_init *in)
{
	return (in->one_shot ? FLAG_ONE_SHOT : 0u) | (in->count_forks ? FLAG_COUNT : 0u) |
	       (in->trace ? FLAG_TRACE : 0u) | (in->serve ? FLAG_SERVE : 0u) |
	       (in->handles ? FLAG_HANDLES : 0u) | (in->filter_on_init ? FLAG_FILTER_ON_INIT : 0u) |
	       (in->tty[0] ? FLAG_TTY : 0u) | (in->tty[1] ? FLAG_TTY * 2u : 0u) |
	       (in->tty[2] ? FLAG_TTY * 4u : 0u);
}

static void put_filter(struct immure_buf *b, const struct immure_filter *f)
{
	if (f)
		immure_buf_put(b, f->insns, f->len * sizeof(*f->insns));
}

int immure_handover_write(const struct immure_init *in, const struct immure_backend_seen *seen)
{
	struct header h = {
		.magic = MAGIC, .flags = flags_of(in),
		.filter_len = in->filter ? in->filter->len : 0,
		.guard_len = in->guard ? in->guard->len : 0,
		.memory_watch = in->memory_watch, .start_ns = in->start_ns, .seen_n = in->plan->ops_n,
	};
	struct immure_buf b = IMMURE_BUF_INIT;
	IMMURE_CLEANUP_FREE void *plan = NULL;
	size_t len = 0;
	int fd = -1, r = -ENOMEM;

	if (immure_plan_seal_bytes(in->plan, &plan, &len, NULL) < 0)
		return -ENOMEM;
	h.plan_len = len;
	immure_buf_put(&b, &h, sizeof(h));
	put_filter(&b, in->filter);
	put_filter(&b, in->guard);
	immure_buf_put(&b, seen, h.seen_n * sizeof(*seen));
	immure_buf_put(&b, plan, len);
	if (immure_buf_ok(&b))
		r = fd = memfd_create("immure-init", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd >= 0)
		r = immure_write_all(fd, b.data, b.len);
	if (r == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW |
						     F_SEAL_WRITE) < 0)
		r = -errno;
	immure_buf_done(&b);
	if (r < 0)
		immure_close(&fd);
	return r < 0 ? r : fd;
}

/* ---- the executed side ---- */

struct parts {
	const char *at;
	size_t left;
};

static const void *take(struct parts *p, uint64_t len)
{
	const void *ret = p->at;

	if (len > p->left)
		return NULL;
	p->at += len;
	p->left -= len;
	return ret;
}

static int take_filter(struct parts *p, uint32_t len, struct immure_filter *f,
		       const struct immure_filter **ret)
{
	if (len == 0)
		return 0;
	if (len > FILTER_MAX)
		return -EPROTO;
	f->len = (uint16_t)len;
	f->insns = take(p, (uint64_t)len * sizeof(*f->insns));
	*ret = f;
	return f->insns ? 0 : -EPROTO;
}

static int read_all(int fd, char **ret, size_t *ret_len)
{
	struct stat st;
	char *data;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size < (off_t)sizeof(struct header) || st.st_size > HANDOVER_MAX)
		return -EPROTO;
	/* mapped: what follows the header must be aligned for its type only */
	data = malloc((size_t)st.st_size);
	if (!data)
		return -ENOMEM;
	if (pread(fd, data, (size_t)st.st_size, 0) != st.st_size) {
		free(data);
		return -EIO;
	}
	*ret = data;
	*ret_len = (size_t)st.st_size;
	return 0;
}

/* What is read stays allocated: this process is init until its end. */
static int take_handover(int fd, struct immure_init *in, struct immure_filter filters[2])
{
	const struct immure_backend_seen *seen;
	struct immure_plan *plan = NULL;
	const struct header *h;
	struct parts p = { NULL, 0 };
	char *data = NULL;
	const void *sealed;
	int r = read_all(fd, &data, &p.left);

	if (r < 0)
		return r;
	p.at = data;
	h = take(&p, sizeof(*h));
	if (!h || h->magic != MAGIC || h->flags > FLAGS_ALL || h->seen_n > HANDOVER_MAX)
		return -EPROTO;
	r = take_filter(&p, h->filter_len, &filters[0], &in->filter);
	if (r == 0)
		r = take_filter(&p, h->guard_len, &filters[1], &in->guard);
	if (r < 0)
		return r;
	seen = take(&p, h->seen_n * sizeof(*seen));
	sealed = take(&p, h->plan_len);
	if (!seen || !sealed || p.left ||
	    immure_plan_unseal(sealed, (size_t)h->plan_len, &plan, NULL) < 0 || plan->ops_n != h->seen_n)
		return -EPROTO;
	in->plan = plan;
	in->seen = seen;
	in->one_shot = h->flags & FLAG_ONE_SHOT;
	in->count_forks = h->flags & FLAG_COUNT;
	in->trace = h->flags & FLAG_TRACE;
	in->serve = h->flags & FLAG_SERVE;
	in->handles = h->flags & FLAG_HANDLES;
	in->filter_on_init = h->flags & FLAG_FILTER_ON_INIT;
	for (int i = 0; i < 3; i++)
		in->tty[i] = h->flags & (uint32_t)FLAG_TTY << i;
	in->memory_watch = h->memory_watch;
	in->start_ns = h->start_ns;
	return 0;
}

/* The supervisor looks who sent this, and answers with the streams. */
static int take_streams(int report_fd)
{
	struct immure_init_msg m = { .type = IMMURE_INIT_ARRIVED };
	struct iovec iov = { .iov_base = &m, .iov_len = sizeof(m) };
	int fds[3];
	ssize_t n = immure_fdmsg_send(report_fd, &iov, 1, NULL, 0, 0);
	size_t fds_n = 0;
	int r = 0;

	if (n < 0)
		return (int)n;
	do
		n = immure_fdmsg_receive(report_fd, &m, sizeof(m), fds, 3, &fds_n, 0);
	while (n == -EINTR);
	if (n == 0)
		_exit(1); /* nobody is there any more */
	if (n != sizeof(m) || m.type != IMMURE_INIT_STREAMS || fds_n != 3)
		r = n < 0 ? (int)n : -EPROTO;
	/* Out of the way first: one may be a number that is to be taken. */
	for (int i = 0; i < 3 && r == 0; i++)
		r = immure_fd_raise(&fds[i], 10);
	for (int i = 0; i < 3 && r == 0; i++)
		r = dup2(fds[i], i) < 0 ? -errno : 0;
	immure_close_all(fds, fds_n);
	return r;
}

static void say_failed(int report_fd, int r)
{
	struct immure_init_msg m = { .type = IMMURE_INIT_FAILED,
				     .stage = IMMURE_STAGE_NAMESPACE,
				     .errnum = -r,
				     .subject = "init inside bubblewrap" };

	(void)send(report_fd, &m, sizeof(m), MSG_NOSIGNAL); /* or our end says it */
}

int immure_handover_become(int handover_fd, int report_fd)
{
	static const struct immure_init none = { .report_fd = -1, .ahead_fd = -1, .ruleset_fd = -1 };
	struct immure_init in = none;
	struct immure_filter filters[2] = { { 0 } };
	int r;

	in.report_fd = report_fd;
	r = take_handover(handover_fd, &in, filters);
	immure_close(&handover_fd);
	if (r == 0)
		r = take_streams(report_fd);
	if (r == 0)
		r = immure_fd_raise(&in.report_fd, 10);
	if (r == 0)
		immure_init_main(&in);
	say_failed(in.report_fd, r);
	return r;
}
