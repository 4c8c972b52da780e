/* SPDX-License-Identifier: Apache-2.0 */
#include "session/sealed_parts.h"

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

#include "backend/ahead.h"
#include "base/buf.h"
#include "base/fd.h"
#include "base/fdmsg.h"
#include "init/handover.h"
#include "kernel/landlock.h"
#include "kernel/procid.h"
#include "session/plumb.h"
#include "session/freezer.h"
#include "session/quarantine.h"
#include "session/rmtree.h"

int32_t immure_sealed_failed(struct immure_error **err, int errnum, const char *stage, const char *what)
{
	return immure_fail(err, IMMURE_ERR_LAUNCH, errnum, stage, "", "%s: %s", what,
			   strerror(errnum < 0 ? -errnum : errnum));
}

int32_t immure_sealed_unrecorded(struct immure_error **err, int r)
{
	return immure_fail(err, IMMURE_ERR_IO, r, "journal", "", "the journal cannot be written: %s",
			   strerror(-r));
}

void immure_sealed_init(struct immure_sealed *s, const struct immure_plan *plan)
{
	*s = (struct immure_sealed){
		.plan = plan,
		.janitor = IMMURE_JANITOR_INIT,
		.child = { .pid = -1, .pidfd = -1, .init_pidfd = -1, .ahead_fd = -1 },
		.upper = IMMURE_UPPER_INIT,
		.handover_fd = -1,
		.sock_fd = -1,
		.metadata = { .listener_fd = -1 },
		.init = { .plan = plan, .report_fd = -1, .ahead_fd = -1, .ruleset_fd = -1 },
	};
	immure_cgroup_init(&s->cgroup);
}

/* An intent that cannot be written down is not acted upon. */
static int note_init(struct immure_sealed *s, int32_t errnum)
{
	char text[64] = "";

	if (!s->journal)
		return 0;
	if (errnum == 0 && immure_procid_of(s->child.pid, &s->init_id, NULL) == 0)
		(void)snprintf(text, sizeof(text), "pid=%d start=%llu", (int)s->init_id.pid,
			       (unsigned long long)s->init_id.start);
	return immure_journal_result(s->journal, IMMURE_JK_INIT, s->init_seq, errnum ? EIO : 0,
				     text[0] ? text : NULL);
}

/* ---- prepare ---- */

static int32_t prepare_filter(struct immure_sealed *s, struct immure_error **err)
{
	const struct immure_op *op = immure_plan_find(s->plan, IMMURE_OP_SECCOMP);
	static const char *const beneath[] = {
		[IMMURE_BENEATH_BARE] = "bare", [IMMURE_BENEATH_BARE_OLD] = "bare_old",
		[IMMURE_BENEATH_FILES] = "bare_files", [IMMURE_BENEATH_FILES_OLD] = "bare_old_files",
		[IMMURE_BENEATH_NAMES] = "bare_names", [IMMURE_BENEATH_NAMES_OLD] = "bare_old_names",
	};
	uint64_t families = op ? op->num[0] : 0;
	const char *why = "";
	int r;

	if (!op)
		return 0;
	if (op->num[1] == IMMURE_BENEATH_FILES || op->num[1] == IMMURE_BENEATH_FILES_OLD) {
		bool old = op->num[1] == IMMURE_BENEATH_FILES_OLD;

		s->init.unanswered = immure_filter_builtin(old ? "bare_old" : "bare", op->num[0] ? op->num[0] : 1);
	}
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
			return immure_sealed_unrecorded(err, r);
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

static int32_t prepare_upper(struct immure_sealed *s, struct immure_error **err)
{
	int32_t r = immure_upper_make(s->plan, s->session ? s->session : "", &s->upper, err);

	s->init.kept = s->upper.path;
	return r;
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
		r = immure_layers_hold(&s->layers, s->plan, err);
	if (r == 0)
		r = immure_sealed_own_dirs(s, err);
	if (r == 0 && immure_upper_op(s->plan))
		r = prepare_upper(s, err);
	if (r == 0)
		r = immure_bare_name(&s->bare, s->plan, &s->init, err);
	if (r == 0)
		r = immure_bare_adopt(&s->bare, immure_ahead_is_alone(s->plan->ahead), err);
	if (r == 0)
		r = immure_gatekeeper_new(s->plan, s->egress, &s->gate, err);
	if (r == 0 && !s->init.template) /* what is made after it has leaves of its own */
		r = immure_sealed_make_leaf(s, err);
	if (r == 0)
		r = immure_gatekeeper_look_inside(s->gate, s->init.cgroup ? &s->cgroup : NULL, s->egress,
						  s->session, &s->plan, err);
	if (r == 0)
		s->init.plan = s->plan;
	s->metadata.plan = s->plan;
	s->metadata.session_dir = s->bare.dir;
	immure_gatekeeper_metadata(s->gate, &s->metadata);
	return r;
}

/* Before there is anything to remove: else a kill in between leaves it. */
int32_t immure_sealed_janitor(struct immure_sealed *s, struct immure_error **err)
{
	int r = immure_janitor_start(&s->janitor, &s->cgroup, s->bare.wanted ? s->bare.dir : NULL,
				     s->orphaned, s->orphaned_ctx);

	if (r == 0)
		immure_bare_spare(&s->bare, s->janitor.pid);
	return r < 0 ? immure_sealed_failed(err, r, "start", "cannot start the process that outlives this one") : 0;
}

/* ---- start ---- */

struct newborn {
	struct immure_sealed *s;
	const int *stdio;
	struct immure_error **err;
	bool made; /* the directory for temporary files: with what came of it in r */
	int32_t r;
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
	s->init.filtered = s->child.filtered;
	if (!s->child.within) /* what would be made after it is not there to be made in */
		s->init.mould = NULL;
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

/* The directory is there. Where init is still being born it is helped. */
static void tell_place(struct immure_sealed *s)
{
	const struct immure_op *op = immure_plan_find(s->plan, IMMURE_OP_LANDLOCK);
	IMMURE_CLEANUP_FD int ruleset = -1;
	struct immure_init_msg m = { .type = IMMURE_INIT_RULES };
	struct iovec iov = { .iov_base = &m, .iov_len = sizeof(m) };
	size_t share = immure_init_share(s->plan);
	int r = 0;

	if (s->child.filtered && op && share <= INT32_MAX)
		ruleset = immure_landlock_create(op->num[1], op->num[3], op->num[2]);
	m.status = (int32_t)share;
	/* Where it cannot be sent nobody is helped, and init does it all. */
	if (ruleset >= 0 && immure_fdmsg_send(s->sock_fd, &iov, 1, &ruleset, 1, 0) == sizeof(m))
		r = immure_init_help(&s->init, ruleset, share);
	(void)immure_sealed_send(s, IMMURE_INIT_PLACE, r < 0, NULL); /* gone: its end is seen */
}

/* While init does what needs no place for temporary files, which is told when it is
 * there. The device and inode tell the directory from another of that name later on. */
static int32_t make_bare(struct immure_sealed *s, struct immure_error **err)
{
	char text[64] = "";
	struct stat st;
	int32_t r = s->janitor.pid < 0 ? immure_sealed_janitor(s, err) : 0;

	if (r < 0)
		return r;
	if (s->journal)
		r = immure_journal_intent(s->journal, IMMURE_JK_DIR, s->bare.dir, "bare", &s->bare_seq);
	if (r < 0)
		return immure_sealed_unrecorded(err, r);
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
		return immure_sealed_unrecorded(err, r);
	tell_place(s);
	return 0;
}

/* Whether init may be born under filters that were begun with the plan. What it does under
 * them is what a plain command needs: neither a terminal nor a cgroup to enter. */
static bool may_be_filtered(const struct immure_sealed *s)
{
	const struct immure_ahead_filters wanted = {
		.beneath = s->init.beneath, .unanswered = s->init.unanswered, .filter = s->init.filter,
	};
	const struct immure_op *op = immure_plan_find(s->plan, IMMURE_OP_SECCOMP);

	return op && !op->num[2] && !op->num[3] && s->init.filter_on_init && !s->init.cgroup &&
	       !s->init.tty[0] && !s->init.tty[1] && !s->init.tty[2] &&
	       immure_ahead_has(s->plan->ahead, &wanted);
}

/* Init finds the word when it comes to wait for it. */
static void make_bare_meanwhile(void *ctx)
{
	struct newborn *b = ctx;

	b->made = true;
	b->r = make_bare(b->s, b->err);
}

int32_t immure_sealed_start(struct immure_sealed *s, const int stdio[3], struct immure_error **err)
{
	const struct immure_op *memory = immure_plan_find(s->plan, IMMURE_OP_MEMORY_WATCH);
	struct newborn b = { .s = s, .stdio = stdio, .err = err };
	int pair[2];
	int32_t r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return immure_sealed_failed(err, errno, "start", "socketpair");
	s->sock_fd = pair[0];
	s->init.report_fd = pair[1];
	if (immure_fd_raise(&s->sock_fd, 10) < 0 || immure_fd_raise(&s->init.report_fd, 10) < 0)
		return immure_sealed_failed(err, errno, "start", "descriptors");
	s->init.wait_for_maps = s->backend->maps_outside && s->backend->maps_outside(s->plan);
	s->init.memory_watch = memory ? memory->num[0] : 0;
	(void)clock_gettime(CLOCK_REALTIME_COARSE, &s->since); /* cannot fail */
	if (s->backend->become) {
		r = immure_sealed_prepare_other(s, err);
		if (r < 0)
			return r;
	}
	if (s->journal) {
		r = immure_journal_intent(s->journal, IMMURE_JK_INIT, "", NULL, &s->init_seq);
		if (r < 0)
			return immure_sealed_unrecorded(err, r);
	}
	s->child.filtered = may_be_filtered(s);
	if (s->bare.wanted && !s->journal) { /* which has an order */
		s->child.meanwhile = make_bare_meanwhile;
		s->child.meanwhile_ctx = &b;
	}
	r = s->backend->spawn(s->plan, s->init.cgroup, become_init, &b, &s->child, err);
	if (r == 0 && s->child.filtered)
		s->metadata.listener_fd = immure_ahead_take_listener(s->plan->ahead);
	immure_close(&s->init.report_fd);
	immure_close(&s->handover_fd);
	if (r == 0)
		r = b.r;
	if (r == 0 && s->backend->become)
		r = immure_sealed_meet(s, stdio, err);
	if (r < 0) {
		(void)note_init(s, r); /* the first error is the one to tell */
		return r;
	}
	r = note_init(s, 0);
	if (r < 0)
		return immure_sealed_unrecorded(err, r);
	if (s->init.wait_for_maps) {
		r = s->backend->write_maps(s->plan, s->child.pid, err);
		if (r == 0) /* gone: its end is seen */
			(void)immure_sealed_send(s, IMMURE_INIT_MAPPED, 0, NULL);
	}
	if (r == 0 && s->bare.wanted && !b.made)
		r = make_bare(s, err);
	return r;
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

void immure_sealed_clear(struct immure_sealed *s)
{
	if (s->bare.dir[0])
		(void)immure_rmtree(s->bare.dir); /* or later */
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
	immure_ahead_end(s->plan->ahead); /* a child as well, which is none of the session's */
	s->left_running = immure_bare_sweep(&s->bare);
	if (s->journal && s->init_seq) /* not written: looked into later, to no effect */
		(void)immure_journal_gone(s->journal, IMMURE_JK_INIT, s->init_seq, NULL);
	s->init_seq = 0;
}

int immure_sealed_done(struct immure_sealed *s, char *left, size_t len)
{
	int r, bare;

	immure_gatekeeper_free(s->gate); /* its worker is in the leaf */
	s->gate = NULL;
	r = immure_sealed_remove_leaf(s, left, len);
	bare = immure_bare_done(&s->bare);

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
	immure_close(&s->metadata.listener_fd);
	immure_close(&s->handover_fd);
	(void)immure_upper_end(&s->upper); /* what is left of an empty one, gc finds */
	if (s->backend && s->backend->done)
		s->backend->done(&s->child);
	immure_filter_free(&s->user_filter);
	immure_layers_done(&s->layers);
	return r;
}
