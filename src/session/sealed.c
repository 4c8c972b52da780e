/* SPDX-License-Identifier: Apache-2.0 */
#include "session/sealed.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "init/handover.h"
#include "kernel/procid.h"
#include "session/plumb.h"
#include "session/freezer.h"
#include "session/quarantine.h"

static int32_t failed(struct immure_error **err, int errnum, const char *stage, const char *what)
{
	return immure_fail(err, IMMURE_ERR_LAUNCH, errnum, stage, "", "%s: %s", what,
			   strerror(errnum < 0 ? -errnum : errnum));
}

void immure_sealed_init(struct immure_sealed *s, const struct immure_plan *plan)
{
	*s = (struct immure_sealed){
		.plan = plan,
		.janitor = IMMURE_JANITOR_INIT,
		.child = { .pid = -1, .pidfd = -1, .init_pidfd = -1, .ahead_fd = -1 },
		.handover_fd = -1,
		.sock_fd = -1,
		.init = { .plan = plan, .report_fd = -1, .ahead_fd = -1, .ruleset_fd = -1 },
	};
	immure_cgroup_init(&s->cgroup);
}

/* ---- the journal: an intent that cannot be written down is not acted upon ---- */

static int32_t unrecorded(struct immure_error **err, int r)
{
	return immure_fail(err, IMMURE_ERR_IO, r, "journal", "", "the journal cannot be written: %s",
			   strerror(-r));
}

static int note_cgroups(struct immure_sealed *s)
{
	int r = 0;

	for (int i = 0; s->journal && i < s->cgroup.n && r == 0; i++)
		r = immure_journal_intent(s->journal, IMMURE_JK_CGROUP, s->cgroup.path[i], NULL,
					  &s->cgroup_seq[i]);
	return r;
}

static int note_cgroups_made(struct immure_sealed *s, int errnum)
{
	int r = 0;

	for (int i = 0; s->journal && i < s->cgroup.n && r == 0; i++)
		r = immure_journal_result(s->journal, IMMURE_JK_CGROUP, s->cgroup_seq[i], errnum, NULL);
	return r;
}

/* A result that is not written leaves an intent, which is looked into later. */
static void note_cgroups_gone(struct immure_sealed *s)
{
	for (int i = 0; s->journal && i < s->cgroup.n; i++)
		if (s->cgroup_seq[i] && !s->cgroup.path[i][0])
			(void)immure_journal_gone(s->journal, IMMURE_JK_CGROUP, s->cgroup_seq[i], NULL);
	memset(s->cgroup_seq, 0, sizeof(s->cgroup_seq));
}

static int note_init(struct immure_sealed *s, int32_t errnum)
{
	struct immure_procid init;
	char text[64] = "";

	if (!s->journal)
		return 0;
	if (errnum == 0 && immure_procid_of(s->child.pid, &init, NULL) == 0)
		(void)snprintf(text, sizeof(text), "pid=%d start=%llu", (int)init.pid,
			       (unsigned long long)init.start);
	return immure_journal_result(s->journal, IMMURE_JK_INIT, s->init_seq, errnum ? EIO : 0,
				     text[0] ? text : NULL);
}

/* ---- prepare ---- */

static int32_t prepare_filter(struct immure_sealed *s, struct immure_error **err)
{
	const struct immure_op *op = immure_plan_find(s->plan, IMMURE_OP_SECCOMP);
	static const char *const beneath[] = {
		[IMMURE_BENEATH_BARE] = "bare", [IMMURE_BENEATH_BARE_OLD] = "bare_old",
		[IMMURE_BENEATH_NAMES] = "bare_names", [IMMURE_BENEATH_NAMES_OLD] = "bare_old_names",
	};
	uint64_t families = op ? op->num[0] : 0;
	const char *why = "";
	int r;

	if (!op)
		return 0;
	if (op->num[1]) {
		/* AF_UNSPEC, which makes no socket, stands for no family at all. */
		s->init.beneath = immure_filter_builtin(beneath[op->num[1]],
							op->num[0] ? op->num[0] : 1);
		if (!s->init.beneath)
			return immure_fail(err, IMMURE_ERR_LAUNCH, ENOENT, "seccomp", op->key,
					   "no filter beneath for these socket families");
		/* the one beneath decides */
		families = families ? IMMURE_FAMILIES_NET : IMMURE_FAMILIES_LOCAL;
	}
	if (op->src[0] != '/') {
		s->init.filter = immure_filter_builtin(op->src, families);
		s->init.filter_on_init = true;
		if (!s->init.filter)
			return immure_fail(err, IMMURE_ERR_LAUNCH, ENOENT, "seccomp", op->key,
					   "no built-in filter %s for these socket families", op->src);
		return 0;
	}
	r = immure_filter_load(op->src, geteuid(), &s->user_filter, NULL, &why);
	if (r < 0)
		return immure_fail(err, IMMURE_ERR_LAUNCH, r, "seccomp", op->key,
				   "%s: %s", op->src, why && why[0] ? why : strerror(-r));
	s->init.filter = &s->user_filter;
	s->init.guard = immure_filter_builtin("guard", families);
	if (!s->init.guard)
		return immure_fail(err, IMMURE_ERR_LAUNCH, ENOENT, "seccomp", op->key,
				   "no guard filter for these socket families");
	return 0;
}


static int32_t cgroup_limit(struct immure_sealed *s, const struct immure_op *op,
			    struct immure_error **err)
{
	int r = 0;

	if (op->kind == IMMURE_OP_CGROUP_MEMORY)
		r = immure_cgroup_set_memory(&s->cgroup, op->num[0]);
	else if (op->kind == IMMURE_OP_CGROUP_PIDS)
		r = immure_cgroup_set_pids(&s->cgroup, op->num[0]);
	else if (op->kind == IMMURE_OP_CGROUP_CPU)
		r = immure_cgroup_set_cpu(&s->cgroup, op->num[0]);
	if (r < 0)
		return immure_fail(err, IMMURE_ERR_LAUNCH, r, "cgroup", op->key,
				   "cannot set the limit: %s", strerror(-r));
	return 0;
}

static int enable_controllers(const struct immure_sealed *s, const struct immure_op *leaf)
{
	const struct immure_plan *p = s->plan;
	char list[64];

	(void)snprintf(list, sizeof(list), "%s%s%s",
		       immure_plan_find(p, IMMURE_OP_CGROUP_MEMORY) ? "+memory " : "",
		       immure_plan_find(p, IMMURE_OP_CGROUP_PIDS) ? "+pids " : "",
		       immure_plan_find(p, IMMURE_OP_CGROUP_CPU) ? "+cpu " : "");
	return immure_cgroup_enable(leaf->src, list);
}

/* Before there is anything to remove: else a kill in between leaves it. */
static int32_t start_janitor(struct immure_sealed *s, struct immure_error **err)
{
	int r = immure_janitor_start(&s->janitor, &s->cgroup, s->bare.wanted ? s->bare.dir : NULL,
				     s->orphaned, s->orphaned_ctx);

	if (r == 0)
		immure_bare_spare(&s->bare, s->janitor.pid);
	return r < 0 ? failed(err, r, "start", "cannot start the process that outlives this one") : 0;
}

int immure_sealed_guard(struct immure_sealed *s)
{
	if (immure_cgroup_freezer(&s->cgroup) != 1 || s->janitor.pid >= 0)
		return 0;
	return immure_janitor_start(&s->janitor, &s->cgroup, NULL, s->orphaned, s->orphaned_ctx);
}

/* For limits, and for a session to be frozen by: v1 needs a leaf more for that, v2 has
 * it with any. */
static int name_cgroup(struct immure_sealed *s, const struct immure_op *leaf, bool freezer)
{
	char name[64], dir[2048], parents[4096];
	struct timespec now;
	int version = 0, n;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
	(void)snprintf(name, sizeof(name), "immure-%d-%llx", (int)getpid(),
		       (unsigned long long)now.tv_sec * 1000000000U + (unsigned long long)now.tv_nsec);
	if (freezer && !(leaf && leaf->num[0] == 2))
		version = immure_freezer_find(!leaf, dir, sizeof(dir));
	if (version == 2)
		return immure_cgroup_name(&s->cgroup, true, dir, name);
	if (version == 0)
		return leaf ? immure_cgroup_name(&s->cgroup, leaf->num[0] == 2, leaf->src, name) : 0;
	n = snprintf(parents, sizeof(parents), "%s%sfreezer=%s", leaf ? leaf->src : "", leaf ? ":" : "", dir);
	return n < 0 || (size_t)n >= sizeof(parents) ? -ENAMETOOLONG :
						       immure_cgroup_name(&s->cgroup, false, parents, name);
}

/* Below a threaded cgroup of v2 nothing can be born into a leaf. */
static int check_domain(const struct immure_cgroup *c)
{
	IMMURE_CLEANUP_FREE char *type = NULL;
	int r = c->v2 ? immure_read_file_at(c->dir_fd[0], "cgroup.type", 64, &type, NULL) : 0;

	return r < 0 || !type || strcmp(type, "domain\n") == 0 ? r : -EOPNOTSUPP;
}

/* Written down, made, written down. */
static int32_t make_cgroup(struct immure_sealed *s, int *ret_made, struct immure_error **err)
{
	int r = note_cgroups(s), made;

	if (r < 0)
		return unrecorded(err, r);
	made = immure_cgroup_make(&s->cgroup);
	if (made == 0)
		made = check_domain(&s->cgroup);
	if (made == -EOPNOTSUPP)
		(void)immure_cgroup_remove(&s->cgroup); /* or gc finds it by its name */
	r = note_cgroups_made(s, made);
	if (r < 0 && made == 0)
		return unrecorded(err, r);
	*ret_made = made; /* the first error is the one to tell */
	return 0;
}

static int32_t prepare_cgroup(struct immure_sealed *s, struct immure_error **err)
{
	const struct immure_op *leaf = immure_plan_find(s->plan, IMMURE_OP_CGROUP_LEAF);
	int made = -1;
	int32_t r;

	if (leaf && leaf->num[1]) {
		r = enable_controllers(s, leaf);
		if (r < 0)
			return failed(err, r, "cgroup", "cannot hand controllers down");
	}
	for (int i = 0; i < 2 && made < 0; i++) { /* without the freezer if it must be */
		bool freezer = s->freezable && i == 0;

		r = name_cgroup(s, leaf, freezer);
		if (r < 0)
			return failed(err, r, "cgroup", "cannot make a cgroup");
		/* What only freezes is watched when it does (immure_sealed_guard()). */
		r = leaf && s->janitor.pid < 0 ? start_janitor(s, err) : 0;
		if (r < 0)
			return r;
		if (s->cgroup.n == 0)
			return 0;
		r = make_cgroup(s, &made, err);
		if (r < 0)
			return r;
		if (made < 0 && (!freezer || leaf))
			return failed(err, made, "cgroup", "cannot make a cgroup");
		if (made < 0) {
			immure_cgroup_done(&s->cgroup);
			immure_cgroup_init(&s->cgroup);
		}
	}
	r = 0;
	for (size_t i = 0; i < s->plan->ops_n && r == 0; i++)
		if (s->plan->ops[i].stage == IMMURE_STAGE_CGROUP)
			r = cgroup_limit(s, &s->plan->ops[i], err);
	s->init.cgroup = &s->cgroup;
	return r;
}


/* What a command must find masked has to be there first. */
int32_t immure_sealed_own_dirs(const struct immure_sealed *s, struct immure_error **err)
{
	for (size_t i = 0; i < s->plan->ops_n; i++) {
		const struct immure_op *op = &s->plan->ops[i];
		uint64_t seq = 0;
		int r = 0;

		if (op->kind != IMMURE_OP_OWN_DIR)
			continue;
		if (s->journal)
			r = immure_journal_intent(s->journal, IMMURE_JK_OWN_DIR, op->dst, NULL, &seq);
		if (r < 0)
			return unrecorded(err, r);
		r = immure_make_dirs(op->dst);
		if (s->journal && immure_journal_result(s->journal, IMMURE_JK_OWN_DIR, seq, r, NULL) < 0 &&
		    r == 0)
			r = -EIO;
		if (r < 0)
			return immure_fail(err, IMMURE_ERR_LAUNCH, -r, "state", op->dst,
					   "%s: cannot be made: %s", op->dst, strerror(-r));
	}
	return 0;
}


int32_t immure_sealed_prepare(struct immure_sealed *s, struct immure_error **err)
{
	int32_t r;

	s->backend = immure_backend_by_name(s->plan->backend);
	if (!s->backend)
		return immure_fail(err, IMMURE_ERR_UNSUPPORTED, 0, "backend", s->plan->backend,
				   "this build cannot start the backend %s", s->plan->backend);
	r = prepare_filter(s, err);
	if (r == 0)
		r = immure_sealed_own_dirs(s, err);
	if (r == 0)
		r = immure_bare_name(&s->bare, s->plan, &s->init, err);
	if (r == 0)
		r = immure_bare_adopt(&s->bare, err);
	if (r == 0)
		r = immure_gatekeeper_new(s->plan, s->egress, &s->gate, err);
	if (r == 0 && !s->init.template) /* what is made after it has leaves of its own */
		r = prepare_cgroup(s, err);
	return r;
}

/* ---- start ---- */

struct newborn {
	struct immure_sealed *s;
	const int *stdio;
};

/* Out of the way first: a source may be one of the numbers to be taken. */
static int take_streams(const int stdio[3])
{
	int fds[3], r = 0;

	for (int i = 0; i < 3 && r == 0; i++) {
		fds[i] = fcntl(stdio[i], F_DUPFD_CLOEXEC, 10);
		r = fds[i] < 0 ? -errno : 0;
	}
	for (int i = 0; i < 3 && r == 0; i++)
		r = dup2(fds[i], i) < 0 ? -errno : 0;
	return r;
}

/* In the child: the streams take their places, then init takes over. */
__attribute__((noreturn)) static void become_init(void *ctx)
{
	struct newborn *b = ctx;
	struct immure_sealed *s = b->s;
	struct immure_init_msg m = { .type = IMMURE_INIT_FAILED, .stage = IMMURE_STAGE_FDS };
	const char *what = "";
	int r;

	/* The supervisor's end of the pair: as long as we held it as well, its end
	 * would not be seen, and one before PDEATHSIG is set would leave us alone. */
	immure_close(&s->sock_fd);
	s->init.ahead_fd = s->child.ahead_fd;
	if (s->backend->become) {
		m.stage = IMMURE_STAGE_CGROUP;
		r = s->init.cgroup ? immure_cgroup_join_self(s->init.cgroup) : 0;
		if (r == 0) {
			m.stage = IMMURE_STAGE_NAMESPACE;
			r = s->backend->become(s->plan, &s->child, s->init.report_fd, s->handover_fd,
					       &what);
		}
		(void)snprintf(m.subject, sizeof(m.subject), "%s", what);
	} else {
		r = take_streams(b->stdio);
		if (r == 0)
			immure_init_main(&s->init);
	}
	m.errnum = -r;
	(void)send(s->init.report_fd, &m, sizeof(m), MSG_NOSIGNAL); /* or our end says it */
	_exit(1);
}

/* ---- an init that is executed ---- */

enum { ARRIVE_MS = 30000 };

static int32_t lost(struct immure_sealed *s, struct immure_error **err)
{
	char said[256] = "";
	struct immure_buf text = IMMURE_BUF_INIT;
	int32_t r;

	if (s->backend->complaint)
		s->backend->complaint(&s->child, said, sizeof(said));
	immure_buf_put_printable(&text, said, strlen(said));
	/* All that is passed on was there; what was taken away meanwhile, a file that is
	 * being replaced above all, may be there again. */
	s->overtaken = strstr(said, "No such file or directory"); /* LC_ALL=C */
	r = immure_fail(err, IMMURE_ERR_LAUNCH, ECHILD, "namespace", s->backend->name,
			"backend %s: %s", s->backend->name,
			said[0] && immure_buf_ok(&text) ? text.data
							: "ended before init was there");
	if (err && *err)
		immure_error_set_hint(*err, "`immure doctor` tries it and says what helps");
	immure_buf_done(&text);
	return r;
}

/* A message from the other end of the line, and by which process it was sent. */
static int receive_from(int sock, struct immure_init_msg *m, struct ucred *who)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(*who))];
	} control = { .space = { 0 } };
	struct iovec iov = { .iov_base = m, .iov_len = sizeof(*m) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space,
			      .msg_controllen = sizeof(control.space) };
	ssize_t n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	const struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	if (n != sizeof(*m) || !c || c->cmsg_type != SCM_CREDENTIALS ||
	    c->cmsg_len != CMSG_LEN(sizeof(*who)))
		return n < 0 ? -errno : -EPROTO;
	memcpy(who, CMSG_DATA(c), sizeof(*who));
	return 0;
}

/* Waits for init, holds it, and gives it the streams. It waits for them, so the number
 * that the kernel put under its message is still its own when it is opened. */
static int32_t meet(struct immure_sealed *s, const int stdio[3], struct immure_error **err)
{
	struct pollfd p[2] = { { .fd = s->sock_fd, .events = POLLIN },
			       { .fd = s->child.pidfd, .events = POLLIN } };
	struct immure_init_msg m;
	struct ucred who = { 0 };
	int r, n, off = 0;

	do
		n = poll(p, 2, ARRIVE_MS);
	while (n < 0 && errno == EINTR);
	r = receive_from(s->sock_fd, &m, &who);
	if (r == 0 && m.type == IMMURE_INIT_FAILED)
		return immure_fail(err, IMMURE_ERR_LAUNCH, m.errnum, immure_stage_name(m.stage),
				   s->backend->name, "%.*s: %s", (int)sizeof(m.subject), m.subject,
				   strerror(m.errnum));
	if (r < 0 || m.type != IMMURE_INIT_ARRIVED || who.pid <= 0)
		return lost(s, err);
	s->child.init_pidfd = (int)syscall(SYS_pidfd_open, who.pid, 0);
	if (s->child.init_pidfd < 0)
		return failed(err, errno, "start", "pidfd of init");
	if (setsockopt(s->sock_fd, SOL_SOCKET, SO_PASSCRED, &off, sizeof(off)) < 0)
		return failed(err, errno, "start", "line to init");
	r = immure_plumb_outside(s->plan, who.pid, s->child.init_pidfd, s->gate, err);
	if (r < 0)
		return r;
	(void)immure_sealed_send(s, IMMURE_INIT_STREAMS, 0, stdio); /* gone: its end is seen */
	return 0;
}

static int32_t prepare_other(struct immure_sealed *s, struct immure_error **err)
{
	int on = 1;
	int32_t r = s->backend->prepare(s->plan, &s->child, &s->init.seen, err);

	if (r < 0)
		return r;
	s->handover_fd = immure_handover_write(&s->init, s->init.seen);
	if (s->handover_fd < 0)
		return failed(err, s->handover_fd, "start", "what init is to be told");
	if (immure_fd_raise(&s->handover_fd, 10) < 0 ||
	    setsockopt(s->sock_fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0)
		return failed(err, errno, "start", "line to init");
	return 0;
}

/* While init does what needs no place for temporary files, which is told when it is
 * there. The device and inode tell the directory from another of that name later on. */
static int32_t make_bare(struct immure_sealed *s, struct immure_error **err)
{
	char text[64] = "";
	struct stat st;
	int32_t r = s->janitor.pid < 0 ? start_janitor(s, err) : 0;

	if (r < 0)
		return r;
	if (s->journal)
		r = immure_journal_intent(s->journal, IMMURE_JK_DIR, s->bare.dir, "bare", &s->bare_seq);
	if (r < 0)
		return unrecorded(err, r);
	r = immure_bare_make(&s->bare, s->plan, err);
	if (r < 0)
		return r; /* an intent that came to nothing is looked into later */
	if (s->journal && lstat(s->bare.dir, &st) == 0)
		(void)snprintf(text, sizeof(text), "bare dev=%llu ino=%llu", (unsigned long long)st.st_dev,
			       (unsigned long long)st.st_ino);
	if (s->journal)
		r = immure_journal_result(s->journal, IMMURE_JK_DIR, s->bare_seq, 0,
					  text[0] ? text : NULL);
	if (r < 0)
		return unrecorded(err, r);
	(void)immure_sealed_send(s, IMMURE_INIT_PLACE, 0, NULL); /* gone: its end is seen */
	return 0;
}

int32_t immure_sealed_start(struct immure_sealed *s, const int stdio[3], struct immure_error **err)
{
	const struct immure_op *memory = immure_plan_find(s->plan, IMMURE_OP_MEMORY_WATCH);
	struct newborn b = { .s = s, .stdio = stdio };
	int pair[2];
	int32_t r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return failed(err, errno, "start", "socketpair");
	s->sock_fd = pair[0];
	s->init.report_fd = pair[1];
	if (immure_fd_raise(&s->sock_fd, 10) < 0 || immure_fd_raise(&s->init.report_fd, 10) < 0)
		return failed(err, errno, "start", "descriptors");
	s->init.wait_for_maps = s->backend->maps_outside && s->backend->maps_outside(s->plan);
	s->init.memory_watch = memory ? memory->num[0] : 0;
	(void)clock_gettime(CLOCK_REALTIME_COARSE, &s->since); /* cannot fail */
	if (s->backend->become) {
		r = prepare_other(s, err);
		if (r < 0)
			return r;
	}
	if (s->journal) {
		r = immure_journal_intent(s->journal, IMMURE_JK_INIT, "", NULL, &s->init_seq);
		if (r < 0)
			return unrecorded(err, r);
	}
	r = s->backend->spawn(s->plan, s->init.cgroup, become_init, &b, &s->child, err);
	immure_close(&s->init.report_fd);
	immure_close(&s->handover_fd);
	if (r == 0 && s->backend->become)
		r = meet(s, stdio, err);
	if (r < 0) {
		(void)note_init(s, r); /* the first error is the one to tell */
		return r;
	}
	r = note_init(s, 0);
	if (r < 0)
		return unrecorded(err, r);
	if (s->init.wait_for_maps) {
		r = s->backend->write_maps(s->plan, s->child.pid, err);
		if (r == 0) /* gone: its end is seen */
			(void)immure_sealed_send(s, IMMURE_INIT_MAPPED, 0, NULL);
	}
	if (r == 0 && s->bare.wanted)
		r = make_bare(s, err);
	return r;
}

int32_t immure_sealed_send(struct immure_sealed *s, uint32_t type, int32_t status, const int fds[3])
{
	struct immure_init_msg m = { .type = type, .status = status };
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(3 * sizeof(int))];
	} control = { .space = { 0 } };
	struct iovec iov = { .iov_base = &m, .iov_len = sizeof(m) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fds) {
		struct cmsghdr *c;

		msg.msg_control = control.space;
		msg.msg_controllen = sizeof(control.space);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(3 * sizeof(int));
		memcpy(CMSG_DATA(c), fds, 3 * sizeof(int));
	}
	return sendmsg(s->sock_fd, &msg, MSG_NOSIGNAL) == sizeof(m) ? 0 : -IMMURE_ERR_IO;
}

int32_t immure_sealed_receive(struct immure_sealed *s, struct immure_init_msg *ret,
			      int fds[IMMURE_INIT_FDS_MAX], struct immure_error **err)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(IMMURE_INIT_FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = ret, .iov_len = sizeof(*ret) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.space,
			      .msg_controllen = sizeof(control.space) };
	ssize_t n = recvmsg(s->sock_fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	struct cmsghdr *c;
	size_t count = 0;

	/* Init ended with something unread, which is told before its last words are. */
	if (n < 0 && errno == ECONNRESET)
		n = recvmsg(s->sock_fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	c = n >= 0 ? CMSG_FIRSTHDR(&msg) : NULL;

	for (int i = 0; i < IMMURE_INIT_FDS_MAX; i++)
		fds[i] = -1;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (c && c->cmsg_type == SCM_RIGHTS) {
		count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(c), count * sizeof(int));
	}
	if (n != sizeof(*ret)) { /* end of file: init died without a word */
		for (size_t i = 0; i < count; i++)
			immure_close(&fds[i]);
		return -IMMURE_ERR_IO;
	}
	if (ret->type == IMMURE_INIT_NETWORK) {
		int32_t r = immure_gatekeeper_adopt(s->gate, ret, fds, count, s->child.pid, err);

		return r < 0 ? r : 1;
	}
	return 1;
}

/* ---- end ---- */

void immure_sealed_kill(struct immure_sealed *s)
{
	/* Init alone where both are known: what led to it ends when it has seen all of
	 * init's namespace end, and so is waited for. */
	int fd = s->child.init_pidfd >= 0 ? s->child.init_pidfd : s->child.pidfd;

	if (fd < 0) /* ESRCH: it is dead, which is the aim */
		return;
	if (immure_cgroup_freezer(&s->cgroup) == 1)
		(void)immure_cgroup_freeze(&s->cgroup, false); /* or it would not die */
	/* Without that call: the child is not reaped yet, so its number is its own. */
	if (syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) < 0 && errno == ENOSYS)
		(void)kill(s->child.pid, SIGKILL);
}

void immure_sealed_end(struct immure_sealed *s, struct rusage *usage)
{
	siginfo_t si;

	if (s->child.pidfd < 0)
		return;
	memset(&si, 0, sizeof(si));
	while (syscall(SYS_waitid, 3 /* P_PIDFD */, s->child.pidfd, &si, WEXITED, usage) < 0)
		if (errno != EINTR)
			break;
	immure_close(&s->child.pidfd);
	/* Should what led to init have been killed, init is only about to die. */
	if (s->child.init_pidfd >= 0) {
		struct pollfd p = { .fd = s->child.init_pidfd, .events = POLLIN };

		(void)syscall(SYS_pidfd_send_signal, s->child.init_pidfd, SIGKILL, NULL, 0);
		while (poll(&p, 1, -1) < 0 && errno == EINTR)
			;
		immure_close(&s->child.init_pidfd);
	}
	s->left_running = immure_bare_sweep(&s->bare);
	if (s->journal && s->init_seq) /* not written: looked into later, to no effect */
		(void)immure_journal_gone(s->journal, IMMURE_JK_INIT, s->init_seq, NULL);
	s->init_seq = 0;
}

static int remove_cgroup(struct immure_sealed *s, char *left, size_t len)
{
	struct timespec pause = { .tv_nsec = 1000000 };
	int r = 0;

	/* The last member leaves the leaf just after it was reaped. */
	for (int i = 0; i < 1000 && s->cgroup.n > 0; i++) {
		r = immure_cgroup_remove(&s->cgroup);
		if (r == 0 || (r != -EBUSY && i > 2)) /* other errors get a second try */
			break;
		immure_cgroup_kill(&s->cgroup);
		(void)nanosleep(&pause, NULL); /* cut short: tried once more */
	}
	if (r < 0)
		(void)snprintf(left, len, "%s", s->cgroup.path[0]);
	note_cgroups_gone(s);
	immure_cgroup_done(&s->cgroup);
	return r;
}

int immure_sealed_done(struct immure_sealed *s, char *left, size_t len)
{
	int r = remove_cgroup(s, left, len);
	int bare = immure_bare_done(&s->bare);

	if (s->journal && s->bare_seq && bare == 0)
		(void)immure_journal_gone(s->journal, IMMURE_JK_DIR, s->bare_seq, NULL); /* or later */
	s->bare_seq = 0;
	if (r == 0 && bare < 0) {
		(void)snprintf(left, len, "%s", s->bare.dir);
		r = bare;
	}
	immure_janitor_dismiss(&s->janitor);
	immure_close(&s->sock_fd);
	immure_close(&s->init.report_fd);
	immure_gatekeeper_free(s->gate);
	s->gate = NULL;
	immure_close(&s->handover_fd);
	if (s->backend && s->backend->done)
		s->backend->done(&s->child);
	immure_filter_free(&s->user_filter);
	return r;
}
