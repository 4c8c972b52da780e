/* SPDX-License-Identifier: Apache-2.0 */
#include "init/mould.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "init/build.h"
#include "init/serving.h"
#include "kernel/privs.h"

/* What is only one session's, or asks for what is made beside its view. */
static bool is_single(const struct immure_op *op)
{
	switch (op->kind) {
	case IMMURE_OP_IDMAP_SUBID:
	case IMMURE_OP_NET_HOST:
	case IMMURE_OP_NET_CLOSED:
	case IMMURE_OP_EGRESS:
	case IMMURE_OP_PUBLISH:
	case IMMURE_OP_SESSION_DIR:
	case IMMURE_OP_BWRAP:
		return true;
	case IMMURE_OP_OVERLAY:
		return op->flags != IMMURE_OPF_RO;
	default:
		return false;
	}
}

bool immure_mould_can(const struct immure_plan *p)
{
	const uint64_t least = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET;
	const struct immure_op *ns = immure_plan_find(p, IMMURE_OP_NAMESPACES);

	if (strcmp(p->backend, "native") != 0 || !ns || (ns->num[0] & least) != least ||
	    !immure_plan_find(p, IMMURE_OP_IDMAP) || !immure_plan_find(p, IMMURE_OP_PIVOT) ||
	    !immure_plan_find(p, IMMURE_OP_PROC))
		return false;
	for (size_t i = 0; i < p->ops_n; i++)
		if (is_single(&p->ops[i]))
			return false;
	return immure_fresh_fits(p);
}

/* ---- in the process that builds it ---- */

static int bind_to_maker(int line_fd)
{
	char c;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return -errno;
	return recv(line_fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 0 ? -EPIPE : 0;
}

/* The network namespace is for /sys alone, which cannot be mounted without one of the
 * same owner; each session has its own. */
static int enter(const struct immure_mould_make *o, struct immure_init_step *step, int *ret_host)
{
	const struct immure_op *ids = immure_plan_find(o->plan, IMMURE_OP_IDMAP);
	int r = bind_to_maker(o->line_fd);

	step->stage = IMMURE_STAGE_IDS;
	step->subject = "id maps";
	if (r == 0)
		r = immure_ids_map_self((uint32_t)ids->num[0], (uint32_t)ids->num[1], (uint32_t)ids->num[2],
					(uint32_t)ids->num[3]);
	if (r == 0)
		r = immure_ids_become((uint32_t)ids->num[0], (uint32_t)ids->num[2]);
	if (r == 0) /* becoming somebody may have cleared it */
		r = bind_to_maker(o->line_fd);
	if (r < 0)
		return r;
	step->stage = IMMURE_STAGE_NAMESPACE;
	step->subject = "network namespace";
	if (unshare(CLONE_NEWNET) < 0)
		return -errno;
	if (!o->keep_host)
		return 0;
	step->subject = "mount namespace";
	*ret_host = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	if (*ret_host < 0 || immure_fd_raise(ret_host, 10) < 0)
		return -errno;
	return unshare(CLONE_NEWNS) < 0 ? -errno : 0;
}

static int build(const struct immure_mould_make *o, struct immure_init_step *step)
{
	struct immure_init_net joined = { .wanted = false };
	struct immure_build b;
	int r = immure_root_begin(&b, &joined, o->plan, o->needed, NULL, step), root = r < 0 ? r : immure_root_end(&b);

	if (root < 0)
		return root;
	r = immure_init_pivot(step, root);
	return r < 0 ? r : immure_fresh_prepare(o->plan, o->fresh);
}

static int hand_over(const struct immure_mould_make *o, struct immure_init_step *step, int host)
{
	static const struct {
		const char *path;
		int flags;
	} what[IMMURE_MOULD_HOST] = {
		[IMMURE_MOULD_ROOT] = { "/", O_PATH | O_DIRECTORY },
		[IMMURE_MOULD_USER] = { "/proc/self/ns/user", O_RDONLY },
		[IMMURE_MOULD_MOUNT] = { "/proc/self/ns/mnt", O_RDONLY },
	};
	struct immure_init_msg m = { .type = IMMURE_INIT_READY };
	int fds[IMMURE_MOULD_MAX];

	step->stage = IMMURE_STAGE_FDS;
	for (int i = 0; i < IMMURE_MOULD_HOST; i++) {
		step->subject = what[i].path;
		fds[i] = open(what[i].path, what[i].flags | O_CLOEXEC);
		if (fds[i] < 0)
			return -errno;
	}
	fds[IMMURE_MOULD_HOST] = host;
	return immure_init_send(o->line_fd, &m, sizeof(m), fds, IMMURE_MOULD_HOST + (host >= 0), 0);
}

void immure_mould_main(const struct immure_mould_make *o)
{
	struct immure_init_step step = { 0 };
	struct immure_init_msg m = { .type = IMMURE_INIT_FAILED };
	int host = -1, r = enter(o, &step, &host);

	if (r == 0)
		r = build(o, &step);
	if (r == 0)
		r = hand_over(o, &step, host);
	if (r < 0) {
		m.stage = step.stage;
		m.op = step.op;
		m.errnum = -r;
		(void)snprintf(m.subject, sizeof(m.subject), "%s", step.subject ? step.subject : "");
		(void)immure_init_send(o->line_fd, &m, sizeof(m), NULL, 0, 0); /* or our end says it */
	}
	_exit(r < 0);
}
