/* SPDX-License-Identifier: Apache-2.0 */
#include "session/mould.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/backend.h"
#include "base/fd.h"
#include "base/fdmsg.h"
#include "init/message.h"
#include "init/stands.h"

static void become(void *ctx)
{
	immure_mould_main(ctx);
}

/* Its descriptors, out of the way of those that a session's server begins with. */
static bool receive(int line, struct immure_mould_held *h)
{
	int *where[IMMURE_MOULD_MAX] = {
		[IMMURE_MOULD_ROOT] = &h->root_fd,
		[IMMURE_MOULD_USER] = &h->mould.user_fd,
		[IMMURE_MOULD_MOUNT] = &h->mould.mount_fd,
		[IMMURE_MOULD_HOST] = &h->mould.host_fd,
	};
	size_t wanted = geteuid() == 0 ? IMMURE_MOULD_HOST : IMMURE_MOULD_MAX, n = 0;
	struct immure_init_msg m;
	int fds[IMMURE_MOULD_MAX];
	ssize_t len;
	bool good;

	do
		len = immure_fdmsg_receive(line, &m, sizeof(m), fds, IMMURE_MOULD_MAX, &n, 0);
	while (len == -EINTR);
	good = len == sizeof(m) && m.type == IMMURE_INIT_READY && n == wanted;
	for (size_t i = 0; i < n && good; i++) {
		*where[i] = immure_take_fd(&fds[i]);
		good = immure_fd_raise(where[i], 10) == 0;
	}
	immure_close_all(fds, n);
	return good;
}

/* It ends by itself, or never gets as far: with our end of the line. */
static bool build(struct immure_mould_held *h, struct immure_fresh *shared)
{
	const struct immure_backend *native = immure_backend_by_name("native");
	struct immure_backend_child child = { .pid = -1, .pidfd = -1, .init_pidfd = -1, .ahead_fd = -1 };
	struct immure_mould_make o = { .plan = h->plan, .needed = h->needed, .fresh = shared,
				       .keep_host = geteuid() != 0 };
	int pair[2];
	bool good;

	if (!native || native->maps_outside(h->plan) ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return false;
	o.line_fd = pair[1];
	good = native->spawn(h->plan, NULL, become, &o, &child, NULL) == 0;
	immure_close(&pair[1]);
	good = good && receive(pair[0], h);
	immure_close(&pair[0]);
	immure_close(&child.pidfd);
	while (child.pid > 0 && waitpid(child.pid, NULL, 0) < 0 && errno == EINTR)
		;
	return good;
}

/* What it wrote is copied, so that no session has memory in common with another. */
static bool make(struct immure_mould_held *h)
{
	struct immure_fresh *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
					   -1, 0);
	bool good;

	if ((void *)shared == MAP_FAILED)
		return false;
	good = build(h, shared);
	if (good)
		h->mould.fresh = *shared;
	(void)munmap(shared, sizeof(*shared)); /* as it was mapped, so valid */
	return good && immure_mould_stands(h);
}

struct immure_mould_held *immure_mould_make(const struct immure_plan *plan)
{
	struct immure_mould_held *h = immure_mould_can(plan) ? calloc(1, sizeof(*h)) : NULL;

	if (!h)
		return NULL;
	h->plan = plan;
	h->root_fd = h->mould.user_fd = h->mould.mount_fd = h->mould.host_fd = -1;
	h->needed = calloc(plan->ops_n, sizeof(*h->needed));
	for (size_t i = 0; h->needed && i < plan->ops_n; i++)
		h->needed[i] = immure_fresh_needs(plan, (uint32_t)i);
	if (h->needed && make(h))
		return h;
	immure_mould_free(h);
	return NULL;
}

/* Mounts are on files, not on paths: one that is replaced takes them away, in the copies too,
 * a directory that is moved takes them along, and when it comes back, back. So a look at
 * the end is enough. */
bool immure_mould_stands(const struct immure_mould_held *h)
{
	for (size_t i = 0; i < h->plan->ops_n; i++)
		if (h->needed[i] && h->plan->ops[i].stage == IMMURE_STAGE_MOUNT &&
		    !immure_op_stands(h->root_fd, h->plan, &h->plan->ops[i]))
			return false;
	return true;
}

void immure_mould_free(struct immure_mould_held *h)
{
	if (!h)
		return;
	immure_close(&h->root_fd);
	immure_close(&h->mould.user_fd);
	immure_close(&h->mould.mount_fd);
	immure_close(&h->mould.host_fd);
	free(h->needed);
	free(h);
}
