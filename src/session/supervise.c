/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One run, from the plan to the result:
 *
 *   prepare   streams, signals, what sealing in needs (nothing exists yet)
 *   start     init in its place (sealed.c)
 *   loop      loop.c
 *   end       init dead, so everything inside dead; streams drained
 *   account   usage and verdict
 *   tidy      cgroup removed, the tree looked through, mask and terminal restored
 *
 * Everything from start on is undone on every path out of here.
 */
#include "session/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "session/mediate.h"
#include "session/orphan.h"
#include "session/note.h"
#include "session/refused.h"
#include "session/run.h"
#include "session/watch.h"

/* So often it may happen to one start that it is overtaken. */
enum { OVERTAKEN_MAX = 3 };

static int32_t failed(struct immure_run *run, int errnum, const char *stage, const char *what)
{
	return immure_fail(run->err, IMMURE_ERR_LAUNCH, errnum, stage, "", "%s: %s", what,
			   strerror(errnum < 0 ? -errnum : errnum));
}

/* ---- prepare ---- */

/* A directory as a standard stream would be a way back into the host's tree. */
static int32_t check_stream(struct immure_run *run, int i)
{
	struct stat st;

	if (fstat(run->stdio[i], &st) < 0)
		return failed(run, errno, "streams", "a standard stream is not open");
	if (S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode))
		return immure_fail(run->err, IMMURE_ERR_LAUNCH, EISDIR, "streams", "",
				   "descriptor %d is a %s: it would lead out of the sandbox", i,
				   S_ISDIR(st.st_mode) ? "directory" : "block device");
	if (fcntl(run->stdio[i], F_GETFL) & O_PATH)
		return immure_fail(run->err, IMMURE_ERR_LAUNCH, EBADF, "streams", "",
				   "descriptor %d is open for its path only", i);
	return 0;
}

static int32_t prepare_pipe(struct immure_run *run, int which)
{
	int on = 1;

	if (pipe2(run->pipe_fd[which], O_CLOEXEC) < 0)
		return failed(run, errno, "streams", "pipe");
	if (immure_fd_raise(&run->pipe_fd[which][0], 10) < 0 ||
	    immure_fd_raise(&run->pipe_fd[which][1], 10) < 0)
		return failed(run, errno, "streams", "pipe");
	if (fcntl(run->pipe_fd[which][0], F_SETFL, O_NONBLOCK) < 0)
		return failed(run, errno, "streams", "pipe");
	(void)on;
	immure_relay_init(&run->relay[which == 0 ? RELAY_OUT : RELAY_ERR], run->pipe_fd[which][0],
			  run->stdio[1 + which], &run->count);
	return 0;
}

static int32_t prepare_streams(struct immure_run *run)
{
	const struct immure_op *cap = immure_plan_find(run->plan, IMMURE_OP_OUTPUT_CAP);
	int32_t r = 0;

	for (int i = 0; i < RELAY_MAX; i++)
		immure_relay_init(&run->relay[i], -1, -1, NULL);
	run->count.cap = cap ? cap->num[0] : 0;
	run->count.kill = cap && cap->num[1];
	for (int i = 0; i < 3; i++) {
		if (run->o->stdio[i] < 0 && run->null_fd < 0) {
			int null = immure_open_null();

			if (null < 0)
				return failed(run, null, "streams", "/dev/null");
			run->null_fd = null;
		}
		run->stdio[i] = run->o->stdio[i] < 0 ? run->null_fd : run->o->stdio[i];
		r = check_stream(run, i);
		if (r < 0)
			return r;
		run->sealed.init.tty[i] = isatty(run->stdio[i]) == 1;
	}
	for (int i = 0; i < 2 && r == 0 && cap; i++)
		if (!run->sealed.init.tty[1 + i])
			r = prepare_pipe(run, i);
	return r;
}

static int32_t prepare_signals(struct immure_run *run)
{
	struct sigaction plain = { .sa_handler = SIG_DFL };
	sigset_t watched, blocked;

	sigemptyset(&watched);
	sigaddset(&watched, SIGINT);
	sigaddset(&watched, SIGTERM);
	sigaddset(&watched, SIGHUP);
	sigaddset(&watched, SIGQUIT);
	sigaddset(&watched, SIGWINCH);
	sigaddset(&watched, SIGCONT);
	blocked = watched;
	/* Blocked, not ignored: an ignored signal would be inherited by the
	 * command; a blocked SIGPIPE just makes writes say EPIPE. SIGTTOU would
	 * stop us for restoring the terminal. */
	sigaddset(&blocked, SIGPIPE);
	sigaddset(&blocked, SIGTTOU);
	sigaddset(&blocked, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &blocked, &run->saved_mask) < 0)
		return failed(run, errno, "signals", "sigprocmask");
	/* Ignored, it makes the kernel reap: neither we nor init, which inherits it,
	 * would ever learn of an end. */
	if (sigaction(SIGCHLD, &plain, &run->saved_chld) < 0)
		return failed(run, errno, "signals", "sigaction");
	run->chld_changed = true;
	run->signal_fd = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
	if (run->signal_fd < 0)
		return failed(run, errno, "signals", "signalfd");
	if (immure_plan_find(run->plan, IMMURE_OP_WALL_TIME) || run->o->before) {
		run->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
		if (run->timer_fd < 0)
			return failed(run, errno, "signals", "timerfd");
	}
	return 0;
}

/* ---- the mediator ---- */

/* Whoever asked for this session said so before. */
static const char *approval(struct immure_run *run)
{
	struct {
		struct immure_control_msg head;
		char token[IMMURE_CONTROL_TOKEN];
	} m;
	ssize_t n;

	if (run->o->control_fd < 0)
		return run->o->approval;
	n = recv(run->o->control_fd, &m, sizeof(m), MSG_DONTWAIT | MSG_PEEK);
	if (n <= (ssize_t)sizeof(m.head) || m.head.type != IMMURE_CONTROL_APPROVAL)
		return run->o->approval;
	(void)recv(run->o->control_fd, &m, sizeof(m), MSG_DONTWAIT); /* what was seen */
	n -= (ssize_t)sizeof(m.head);
	if (n >= (ssize_t)sizeof(run->approval))
		return NULL;
	memcpy(run->approval, m.token, (size_t)n);
	return run->approval;
}

/* Until there is a verdict, or nobody wants one any more. */
static int32_t await_verdict(struct immure_run *run, struct immure_mediation *m)
{
	struct immure_verdict v;
	struct signalfd_siginfo si;

	for (;;) {
		struct pollfd p[3] = { { .fd = m->fd, .events = POLLIN },
				       { .fd = run->signal_fd, .events = POLLIN },
				       { .fd = run->o->control_fd, .events = POLLIN } };

		if (poll(p, 3, -1) < 0 && errno != EINTR)
			return failed(run, errno, "mediator", "poll");
		if (p[1].revents && read(run->signal_fd, &si, sizeof(si)) == sizeof(si) &&
		    si.ssi_signo != SIGWINCH && si.ssi_signo != SIGCONT)
			return failed(run, EINTR, "mediator", "the mediator was being asked");
		if (p[2].revents)
			return failed(run, ECONNRESET, "mediator", "the mediator was being asked");
		if (!p[0].revents)
			continue;
		immure_mediate_read(m, &v);
		*run->allowed = v.decision == IMMURE_DECISION_ALLOW && !v.failed;
		return *run->allowed ? 0 : immure_mediate_refusal(run->plan, &v, run->plan->argv.v[0], run->err);
	}
}

static int32_t mediate(struct immure_run *run)
{
	const struct immure_mediate_about about = {
		.argv = (const char *const *)run->plan->argv.v,
		.env = (const char *const *)run->plan->env.v,
		.cwd = run->plan->cwd,
		.session = "",
		.approval = approval(run),
	};
	struct immure_mediation m = { .fd = -1 };
	int32_t r;

	if (!immure_plan_find(run->plan, IMMURE_OP_MEDIATOR) || *run->allowed)
		return 0;
	r = immure_mediate_start(run->plan, &about, &m);
	if (r < 0)
		return failed(run, r, "mediator", "nobody can be asked");
	r = await_verdict(run, &m);
	immure_mediate_end(&m);
	if (r < 0)
		immure_runlog_denied(&run->log, run->plan->argv.v[0],
				     run->err && *run->err ? immure_error_text(*run->err) : "mediator");
	return r;
}

/* ---- start ---- */

static int32_t start(struct immure_run *run)
{
	int stdio[3];
	int32_t r;

	for (int i = 0; i < 3; i++)
		stdio[i] = i > 0 && run->pipe_fd[i - 1][1] >= 0 ? run->pipe_fd[i - 1][1] : run->stdio[i];
	/* A terminal of its own is to have the caller's settings, and the caller's to be out of the way,
	 * before the command can set it to anything. */
	run->sealed.init.one_shot = !run->o->before && !run->sealed.init.tty[0] && !run->sealed.init.tty[1] &&
				    !run->sealed.init.tty[2];
	run->sealed.init.count_forks = run->o->count;
	run->sealed.init.trace = run->o->trace;
	if (run->o->trace)
		run->result->trace_ns[IMMURE_TRACE_PREPARED] = immure_run_now();
	r = immure_sealed_start(&run->sealed, stdio, run->err);
	if (run->o->trace)
		run->result->trace_ns[IMMURE_TRACE_CLONED] = immure_run_now();
	return r;
}

/* ---- end and account ---- */

static void end_init(struct immure_run *run)
{
	struct rusage usage = { 0 };

	if (run->sealed.child.pidfd < 0)
		return;
	/* One shot: init ends by itself once the command has; its end kills what
	 * the command left behind. In every other case we see to it. */
	if (!run->exited || !run->sealed.init.one_shot)
		immure_run_kill(run);
	immure_sealed_end(&run->sealed, &usage);
	run->result->cpu_user_us = (uint64_t)usage.ru_utime.tv_sec * 1000000U +
				   (uint64_t)usage.ru_utime.tv_usec;
	run->result->cpu_system_us = (uint64_t)usage.ru_stime.tv_sec * 1000000U +
				     (uint64_t)usage.ru_stime.tv_usec;
	run->result->io_read = (uint64_t)usage.ru_inblock * 512; /* the kernel's unit, whatever a disk's is */
	run->result->io_written = (uint64_t)usage.ru_oublock * 512;
	run->result->peak_memory = (uint64_t)usage.ru_maxrss * 1024;
	run->result->peak_memory_of = "largest process";
}

static int32_t refusal(struct immure_run *run)
{
	const struct immure_init_msg *m = &run->failure;
	int32_t code = IMMURE_ERR_LAUNCH;

	/* 126 and 127 speak of the command; the attacker is a program of ours. */
	if (m->stage == IMMURE_STAGE_EXEC && (run->started || !run->o->before))
		code = m->errnum == ENOENT || m->errnum == ENOTDIR ? IMMURE_ERR_NOT_FOUND
								   : IMMURE_ERR_NOT_EXECUTABLE;
	return immure_refused(m, code, run->err);
}

static bool over_cpu_time(const struct immure_run *run)
{
	for (size_t i = 0; i < run->plan->ops_n; i++) {
		const struct immure_op *op = &run->plan->ops[i];

		/* The limit counts ticks and the usage is scaled, so the two need
		 * not agree to the last; SIGXCPU has one sender in practice. */
		if (op->kind == IMMURE_OP_RLIMIT && strcmp(op->src, "cpu") == 0)
			return WIFSIGNALED(run->status) &&
			       (WTERMSIG(run->status) == SIGXCPU ||
				(WTERMSIG(run->status) == SIGKILL &&
				 run->result->cpu_user_us + run->result->cpu_system_us >=
					 op->num[0] * 1000000U));
	}
	return false;
}

/* What the kernel counted comes before what we infer. */
static void judge(struct immure_run *run)
{
	struct immure_cgroup_stats stats = { 0 };
	struct immure_result *res = run->result;
	bool signaled = run->exited ? WIFSIGNALED(run->status) : true;

	if (run->sealed.init.cgroup) {
		immure_cgroup_stats(&run->sealed.cgroup, &stats);
		if (stats.memory_peak) {
			res->peak_memory = stats.memory_peak;
			res->peak_memory_of = "session";
		}
	}
	res->outcome = signaled ? IMMURE_OUTCOME_SIGNALED : IMMURE_OUTCOME_EXITED;
	res->code = !run->exited ? SIGKILL
		    : signaled   ? WTERMSIG(run->status)
				 : WEXITSTATUS(run->status);
	if (run->timed_out)
		res->verdict = IMMURE_VERDICT_TIMEOUT;
	else if (run->over_memory || stats.oom_kills > run->before.oom_kills)
		res->verdict = IMMURE_VERDICT_OOM;
	else if (run->interrupted)
		res->verdict = IMMURE_VERDICT_INTERRUPTED;
	else if (run->exited && over_cpu_time(run))
		res->verdict = IMMURE_VERDICT_CPU_TIME;
	else if (stats.pids_denied > run->before.pids_denied)
		res->verdict = IMMURE_VERDICT_PROCESS_LIMIT;
	else if (run->count.cut)
		res->verdict = IMMURE_VERDICT_OUTPUT_CAP;
	if (run->count.cut && run->count.kill) { /* it may have ended before we read so far */
		res->outcome = IMMURE_OUTCOME_SIGNALED;
		res->code = SIGKILL;
	}
	res->bytes_out = run->count.bytes;
	res->bytes_out_known = run->count.cap != 0 || (run->sealed.init.tty[1] && run->sealed.init.tty[2]);
	if (run->count.cut)
		immure_result_notice(res, "output limit reached after %llu bytes; the %s",
				     (unsigned long long)run->count.bytes,
				     run->count.kill ? "command was killed" : "rest was discarded");
}

/* ---- tidy ---- */

static void tidy(struct immure_run *run)
{
	char left[4096];
	int r = immure_sealed_done(&run->sealed, left, sizeof(left));

	if (r < 0)
		immure_result_notice(run->result, "%s: could not be removed: %s", left, strerror(-r));
	for (int i = 0; i < RELAY_MAX; i++)
		immure_relay_free(&run->relay[i]);
	immure_terminal_leave(&run->terminal);
	immure_close(&run->terminal.master_fd);
	for (int i = 0; i < 2; i++) {
		immure_close(&run->pipe_fd[i][0]);
		immure_close(&run->pipe_fd[i][1]);
	}
	immure_close(&run->null_fd);
	immure_close(&run->timer_fd);
	immure_close(&run->signal_fd);
	if (run->chld_changed)
		(void)sigaction(SIGCHLD, &run->saved_chld, NULL); /* what it was, so valid */
	(void)sigprocmask(SIG_SETMASK, &run->saved_mask, NULL); /* what it was, so valid */
}

/* A denial is told when it happens; what could not be told is, when all is over. */
static bool tell_denial(void *ctx, size_t number, const struct immure_denial *d, const char *line)
{
	struct immure_run *run = ctx;

	char what[300];

	(void)number;
	(void)snprintf(what, sizeof(what), d->port ? "%s:%u" : "%s", d->host, d->port); /* fits */
	if (!run->attacking)
		immure_runlog_denied(&run->log, what, line);
	if (run->attacking || run->notes == IMMURE_GATE_LINES)
		return false;
	if (!immure_note(run->o->notes_fd, run->terminal.raw && isatty(run->o->notes_fd) == 1, line))
		return false;
	run->notes++;
	return true;
}

/* Nothing of the command's runs any more: what it changed is complete. */
static void keep_changes(struct immure_run *run)
{
	struct immure_upper *u = &run->sealed.upper;
	struct immure_result *res = run->result;
	char id[IMMURE_ID_LEN + 1];
	int r;

	memcpy(id, u->id, sizeof(id));
	r = immure_upper_end(u);
	if (r < 0)
		immure_result_notice(res, "%s: cannot be looked at: %s", u->path, strerror(-r));
	if (r != 1)
		return;
	res->kept = immure_arena_strdup(&res->arena, id);
	immure_result_notice(res, "what was changed is kept: immure diff %s shows it, immure apply %s lets it "
			     "land, immure discard %s drops it", id, id, id);
}

/* Who cannot watch any more what runs ends it; and most likely it did run, so this is an end
 * of the command's, and no refusal. */
static int32_t lose_sight(struct immure_run *run)
{
	const char *why = run->err && *run->err ? immure_error_text(*run->err) : "out of memory";

	immure_result_notice(run->result, "supervise: %s; the command was ended", why);
	if (run->err) {
		immure_error_free(*run->err);
		*run->err = NULL;
	}
	immure_run_kill(run);
	run->exited = false;
	return 0;
}

static int32_t carry_out(struct immure_run *run)
{
	uint64_t begun = immure_run_now();
	int32_t r;

	if (run->o->trace)
		run->result->trace_ns[IMMURE_TRACE_START] = begun;
	r = prepare_signals(run);
	if (r == 0)
		r = mediate(run);
	if (r == 0)
		r = prepare_streams(run);
	if (r == 0)
		r = immure_sealed_prepare(&run->sealed, run->err);
	immure_gatekeeper_tell(run->sealed.gate, tell_denial, run);
	if (r == 0)
		r = immure_runlog_asked(&run->log, run->plan->argv.v[0], run->err);
	if (r == 0)
		r = start(run);
	if (r == 0 && run->o->count)
		(void)immure_plan_hash_of(run->plan); /* while init works: it costs, and is kept */
	/* The writing ends are the command's alone, or they never end. */
	for (int i = 0; i < 2; i++)
		immure_close(&run->pipe_fd[i][1]);
	if (r == 0)
		r = immure_run_loop(run);
	if (r < 0 && run->blind && !run->attacking)
		r = lose_sight(run);
	if (run->o->trace)
		run->result->trace_ns[IMMURE_TRACE_EXITED] = immure_run_now();
	/* Nothing can write any more: look while the kernel takes the place apart, and remove
	 * meanwhile what it no longer needs. */
	if (run->alone) {
		immure_watch_collect(run->plan, &run->sealed.since, run->o->state_dir, run->result);
		immure_sealed_clear(&run->sealed);
	}
	end_init(run);
	run->result->wall_ms = (immure_run_now() - begun) / 1000000U;
	if (run->o->trace)
		run->result->trace_ns[IMMURE_TRACE_REAPED] = immure_run_now();
	if (r == 0)
		immure_run_drain(run);
	if (r == 0 && run->rejected)
		run->result->outcome = IMMURE_OUTCOME_REFUSED;
	else if (r == 0 && run->failure.type)
		r = refusal(run);
	else if (r == 0 && !run->exited && !run->started)
		r = immure_fail(run->err, IMMURE_ERR_LAUNCH, ECHILD, "start", "",
				"the session ended before the command was started");
	if (r == 0 && !run->rejected)
		judge(run);
	immure_gatekeeper_finish(run->sealed.gate, run->result);
	keep_changes(run);
	if (!run->alone && (run->ready || run->started))
		immure_watch_collect(run->plan, &run->sealed.since, run->o->state_dir, run->result);
	return r;
}

/* A program of the host replaced a file just when the place was made of the old one:
 * init saw it while it set up, so nothing ran. */
static bool overtaken(const struct immure_run *run)
{
	if (run->sealed.overtaken)
		return true;
	return run->failure.type && run->failure.stage == IMMURE_STAGE_MOUNT &&
	       run->failure.errnum == ESTALE;
}

static int32_t attempt(const struct immure_plan *plan, const struct immure_supervise_options *options,
		       bool *allowed, bool *ret_again, struct immure_result **ret,
		       struct immure_error **err)
{
	struct immure_orphan orphan = { .plan = plan, .state_dir = options->state_dir };
	struct immure_run run = {
		.plan = plan,
		.o = options,
		.err = err,
		.allowed = allowed,
		.log = IMMURE_RUNLOG_INIT,
		.signal_fd = -1,
		.timer_fd = -1,
		.null_fd = -1,
		.pipe_fd = { { -1, -1 }, { -1, -1 } },
		.terminal = { .tty_fd = -1, .master_fd = -1 },
	};
	int32_t r = immure_plan_startable(plan, err);

	*ret_again = false;
	if (r < 0)
		return r;
	run.result = immure_result_new();
	if (!run.result)
		return immure_fail(err, IMMURE_ERR_NOMEM, 0, "start", "", "out of memory");
	immure_sealed_init(&run.sealed, plan);
	run.sealed.egress = options->egress;
	(void)clock_gettime(CLOCK_REALTIME_COARSE, &orphan.since); /* cannot fail */
	run.sealed.orphaned = immure_orphan_collect;
	run.sealed.orphaned_ctx = &orphan;
	(void)sigprocmask(SIG_SETMASK, NULL, &run.saved_mask); /* only asks */
	run.result->backend = immure_arena_strdup(&run.result->arena, plan->backend);
	run.result->profile = immure_arena_strdup(&run.result->arena, plan->profile);
	run.result->policy_version = immure_arena_strdup(&run.result->arena, plan->policy_version);
	run.result->agent = immure_arena_strdup(&run.result->arena, immure_plan_agent(plan));
	if (run.result->arena.failed)
		r = immure_fail(err, IMMURE_ERR_NOMEM, 0, "start", "", "out of memory");
	if (r == 0)
		r = immure_runlog_open(plan, &run.log, err);
	if (r == 0 && run.log.journal.fd >= 0)
		run.sealed.journal = &run.log.journal;
	if (r == 0)
		r = carry_out(&run);
	if (options->count)
		run.result->plan_hash =
			immure_arena_strdup(&run.result->arena, immure_plan_hash_of(plan));
	tidy(&run);
	immure_runlog_done(&run.log, r < 0 ? 0 : immure_result_exit_status(run.result),
			   r < 0 && err && *err ? immure_error_text(*err) :
			   r < 0 || run.rejected ? "it was not started" : NULL);
	if (options->trace)
		run.result->trace_ns[IMMURE_TRACE_DONE] = immure_run_now();
	*ret_again = r < 0 && overtaken(&run);
	if (r < 0) {
		immure_result_free(run.result);
		return r;
	}
	*ret = run.result;
	return 0;
}

int32_t immure_session_supervise(const struct immure_plan *plan,
				 const struct immure_supervise_options *options,
				 struct immure_result **ret, struct immure_error **err)
{
	bool again, allowed = false;
	int32_t r = attempt(plan, options, &allowed, &again, ret, err);

	for (int i = 0; i < OVERTAKEN_MAX && again; i++) {
		if (err) {
			immure_error_free(*err);
			*err = NULL;
		}
		r = attempt(plan, options, &allowed, &again, ret, err);
	}
	return r;
}
