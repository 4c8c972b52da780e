/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The supervisor's loop. It waits for: init's messages, init's end, signals,
 * the wall-time timer, requests, and whatever streams pass through it. Nothing
 * is polled on a timer.
 *
 * Signals: the first INT, TERM, HUP or QUIT is handed to the command's process
 * group, a second one kills everything. Wall time: TERM, then KILL after the
 * grace period.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "backend/ahead.h"
#include "base/fd.h"
#include "session/run.h"

uint64_t immure_run_now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail */
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

void immure_run_kill(struct immure_run *run)
{
	immure_sealed_kill(&run->sealed);
	run->killed = true;
}

static void arm(struct immure_run *run, uint64_t ms)
{
	struct itimerspec when = { .it_value = { .tv_sec = (time_t)(ms / 1000),
						 .tv_nsec = (long)(ms % 1000) * 1000000 } };

	if (run->timer_fd >= 0)
		(void)timerfd_settime(run->timer_fd, 0, &when, NULL); /* valid by construction */
}

static void start_clock(struct immure_run *run)
{
	const struct immure_op *op = immure_plan_find(run->plan, IMMURE_OP_WALL_TIME);

	if (op)
		arm(run, op->num[0]);
}

static void start_command(struct immure_run *run)
{
	start_clock(run);
	run->started = true;
	(void)immure_sealed_send(&run->sealed, IMMURE_INIT_EXEC, 0, NULL); /* failure: init's end comes next */
}

static int32_t start_attack(struct immure_run *run)
{
	const struct immure_before *b = run->o->before;
	const int fds[3] = { b->program_fd, b->stdin_fd, b->report_fd };

	run->attacking = true;
	run->attack_status = -1;
	arm(run, (uint64_t)b->timeout_ms);
	return immure_sealed_send(&run->sealed, IMMURE_INIT_EXEC_FD, 0, fds);
}

static int32_t after_attack(struct immure_run *run)
{
	int32_t r;

	run->attacking = false;
	arm(run, 0);
	immure_gatekeeper_forget(run->sealed.gate);
	if (run->sealed.init.cgroup)
		immure_cgroup_stats(&run->sealed.cgroup, &run->before);
	run->result->network.way = immure_arena_strdup(&run->result->arena,
							immure_gatekeeper_way(run->sealed.gate));
	r = run->o->before->judge(run->o->before->ctx, run->attack_status, run->result, run->err);
	if (r != 0) {
		immure_run_kill(run);
		run->rejected = r > 0;
		return r < 0 ? r : 0;
	}
	if (!run->init_gone)
		start_command(run);
	return 0;
}

/* ---- what init says ---- */

static void adopt_terminal(struct immure_run *run, int fd)
{
	int on = 1;

	run->terminal.master_fd = fd;
	(void)ioctl(fd, FIONBIO, &on); /* a blocking one would only be slower */
	for (int i = 0; i < 3 && run->terminal.tty_fd < 0; i++)
		if (run->sealed.init.tty[i])
			run->terminal.tty_fd = run->stdio[i];
	immure_terminal_resize(&run->terminal);
	if (run->sealed.init.tty[0]) {
		run->terminal.tty_fd = run->stdio[0];
		immure_terminal_enter(&run->terminal);
		immure_relay_init(&run->relay[RELAY_TTY_IN], run->stdio[0], fd, NULL);
	}
	for (int i = 1; i < 3; i++)
		if (run->sealed.init.tty[i] && run->relay[RELAY_OUT].from_fd < 0)
			immure_relay_init(&run->relay[RELAY_OUT], fd, run->stdio[i], &run->count);
	if (run->relay[RELAY_OUT].from_fd < 0) /* only stdin: its echo goes back to it */
		immure_relay_init(&run->relay[RELAY_OUT], fd, run->stdio[0], &run->count);
}

static int32_t on_message(struct immure_run *run)
{
	struct immure_init_msg m;
	int fds[IMMURE_INIT_FDS_MAX], fd;
	int32_t r = immure_sealed_receive(&run->sealed, &m, fds, run->err);

	if (r == 0)
		return 0;
	if (r < 0) {
		run->init_gone = r == -IMMURE_ERR_IO;
		if (!run->init_gone)
			immure_run_kill(run);
		return run->init_gone ? 0 : r;
	}
	fd = immure_take_fd(&fds[0]);
	for (int i = 1; i < IMMURE_INIT_FDS_MAX; i++)
		immure_close(&fds[i]); /* no message that is heard here has more */
	switch (m.type) {
	case IMMURE_INIT_FAILED:
		run->failure = m;
		run->init_gone = true;
		break;
	case IMMURE_INIT_READY:
		for (int i = 0; i < 11; i++) {
			static const uint8_t stages[11] = {
				IMMURE_STAGE_NAMESPACE, IMMURE_STAGE_CGROUP, IMMURE_STAGE_IDS,
				IMMURE_STAGE_MOUNT,	IMMURE_STAGE_PIVOT,  IMMURE_STAGE_NETWORK,
				IMMURE_STAGE_FDS,	IMMURE_STAGE_RLIMIT, IMMURE_STAGE_NO_NEW_PRIVS,
				IMMURE_STAGE_LANDLOCK,	IMMURE_STAGE_SECCOMP,
			};

			run->result->trace_ns[IMMURE_TRACE_STAGES + i] = m.stage_ns[stages[i]];
		}
		run->ready = true;
		if (fd >= 0)
			adopt_terminal(run, immure_take_fd(&fd));
		if (run->o->before)
			return start_attack(run);
		if (!run->sealed.init.one_shot)
			start_command(run);
		break;
	case IMMURE_INIT_EXITED:
		if (run->attacking) {
			run->attack_status = m.status;
			return after_attack(run);
		}
		run->exited = true;
		run->alone = m.alone != 0;
		run->status = m.status;
		run->result->processes = m.forks;
		break;
	case IMMURE_INIT_OVER_MEMORY:
		run->over_memory = true;
		break;
	default:
		break;
	}
	immure_close(&fd);
	return 0;
}

/* ---- what the caller wants ---- */

static void forward(struct immure_run *run, int signo)
{
	if (++run->signals > 1 || !run->started) {
		run->interrupted = true;
		immure_run_kill(run);
		return;
	}
	(void)immure_sealed_send(&run->sealed, IMMURE_INIT_SIGNAL, signo, NULL); /* gone: noticed next */
}

static void on_signal(struct immure_run *run)
{
	struct signalfd_siginfo si;

	if (read(run->signal_fd, &si, sizeof(si)) != sizeof(si))
		return;
	if (si.ssi_signo == SIGWINCH)
		immure_terminal_resize(&run->terminal);
	else if (si.ssi_signo == SIGCONT)
		immure_terminal_enter(&run->terminal);
	else
		forward(run, (int)si.ssi_signo);
}

static void on_timer(struct immure_run *run)
{
	const struct immure_op *op = immure_plan_find(run->plan, IMMURE_OP_WALL_TIME);
	uint64_t ticks;

	(void)!read(run->timer_fd, &ticks, sizeof(ticks)); /* only to empty it */
	if (run->attacking) {
		immure_run_kill(run);
		return;
	}
	if (!op)
		return;
	if (run->timed_out) {
		immure_run_kill(run);
		return;
	}
	run->timed_out = true;
	(void)immure_sealed_send(&run->sealed, IMMURE_INIT_SIGNAL, SIGTERM, NULL); /* gone: noticed next */
	if (op->num[1] == 0)
		immure_run_kill(run);
	else
		arm(run, op->num[1]);
}

static void on_control(struct immure_run *run)
{
	struct immure_control_msg m;
	ssize_t n = recv(run->o->control_fd, &m, sizeof(m), MSG_DONTWAIT);

	if (n == sizeof(m) && m.type == 1 && m.value > 0 && m.value < 65) {
		if (m.value == SIGKILL)
			immure_run_kill(run);
		else
			(void)immure_sealed_send(&run->sealed, IMMURE_INIT_SIGNAL, m.value, NULL); /* as above */
	} else if (n == 0) { /* whoever asked for this session is gone */
		run->interrupted = true;
		immure_run_kill(run);
	}
}

/* ---- the loop ---- */

enum { LINGER_MS = 20 };
enum { P_SOCK, P_PIDFD, P_SIGNAL, P_TIMER, P_CONTROL, P_GATE, P_METADATA, P_RELAYS, P_MAX = P_RELAYS + 2 * RELAY_MAX };

static void watch_relays(struct immure_run *run, struct pollfd *p)
{
	for (int i = 0; i < RELAY_MAX; i++) {
		const struct immure_relay *r = &run->relay[i];

		p[2 * i] = (struct pollfd){ .fd = immure_relay_wants_read(r) ? r->from_fd : -1,
					    .events = POLLIN };
		p[2 * i + 1] = (struct pollfd){ .fd = immure_relay_wants_write(r) ? r->to_fd : -1,
						.events = POLLOUT };
	}
}

/* The caller's terminal is gone, and not everybody is sent SIGHUP then: only who has it
 * as the controlling one. What is inside loses its own in the same way, and learns so by
 * SIGHUP and the end of its input. */
static void hang_up(struct immure_run *run)
{
	for (int i = 0; i < RELAY_MAX; i++) {
		if (run->relay[i].from_fd == run->terminal.master_fd || i == RELAY_TTY_IN)
			run->relay[i].from_fd = -1;
		if (run->relay[i].to_fd == run->terminal.master_fd)
			run->relay[i].to_fd = -1;
	}
	immure_close(&run->terminal.master_fd);
}

static void drive_relays(struct immure_run *run, const struct pollfd *p)
{
	for (int i = 0; i < RELAY_MAX; i++) {
		if (p[2 * i].revents)
			immure_relay_read(&run->relay[i]);
		if (p[2 * i + 1].revents)
			immure_relay_write(&run->relay[i]);
		/* The reader went away: a writer into a pipe of ours must be told
		 * (SIGPIPE), or it goes on for ever. A terminal's reader that is
		 * gone hangs up by itself. */
		if (i != RELAY_TTY_IN && run->relay[i].broken && run->pipe_fd[i][0] >= 0) {
			immure_close(&run->pipe_fd[i][0]);
			run->relay[i].from_fd = -1;
		}
	}
	/* Reading fails as well in a background that nobody can bring forward. */
	if (run->relay[RELAY_TTY_IN].ended && p[2 * RELAY_TTY_IN].revents & POLLHUP &&
	    run->terminal.master_fd >= 0)
		hang_up(run);
}

int32_t immure_run_loop(struct immure_run *run)
{
	struct pollfd p[P_MAX];
	bool watched = false;
	int32_t r = 0;
	int got;

	if (run->sealed.init.one_shot) {
		run->started = true;
		start_clock(run);
	}
	while (r == 0 && !run->exited && !run->init_gone) {
		p[P_SOCK] = (struct pollfd){ .fd = run->sealed.sock_fd, .events = POLLIN };
		p[P_PIDFD] = (struct pollfd){ .fd = run->sealed.child.pidfd, .events = POLLIN };
		p[P_SIGNAL] = (struct pollfd){ .fd = run->signal_fd, .events = POLLIN };
		p[P_TIMER] = (struct pollfd){ .fd = run->timer_fd, .events = POLLIN };
		p[P_CONTROL] = (struct pollfd){ .fd = run->o->control_fd, .events = POLLIN };
		p[P_GATE] = (struct pollfd){ .fd = immure_gatekeeper_fd(run->sealed.gate),
					     .events = POLLIN };
		p[P_METADATA] = (struct pollfd){ .fd = run->sealed.metadata.listener_fd, .events = POLLIN };
		watch_relays(run, p + P_RELAYS);
		got = poll(p, P_MAX, immure_ahead_lingers(run->plan->ahead) ? LINGER_MS : -1);
		if (got == 0) { /* the command lasts; who began its namespaces has ended long ago */
			immure_ahead_reap(run->plan->ahead);
			watched = true;
			continue;
		}
		if (got < 0) {
			if (errno == EINTR)
				continue;
			run->blind = watched && run->started;
			return immure_fail(run->err, IMMURE_ERR_IO, errno, "supervise", "",
					   "poll: %s", strerror(errno));
		}
		watched = true;
		drive_relays(run, p + P_RELAYS);
		if (run->count.cut && run->count.kill && !run->killed)
			immure_run_kill(run);
		/* Messages before the end of their sender: what it said counts. */
		if (p[P_SOCK].revents)
			r = on_message(run);
		else if (p[P_PIDFD].revents)
			run->init_gone = true;
		if (p[P_SIGNAL].revents)
			on_signal(run);
		if (p[P_TIMER].revents)
			on_timer(run);
		if (p[P_CONTROL].revents)
			on_control(run);
		if (p[P_GATE].revents)
			immure_gatekeeper_step(run->sealed.gate);
		if (p[P_METADATA].revents)
			immure_metadata_step(&run->sealed.metadata);
	}
	if (r == 0 && run->attacking && run->init_gone && !run->failure.type)
		r = after_attack(run); /* judged by what it managed to say: it falls short */
	return r;
}

/* Whether whoever waits for us does not want to any more. */
static bool told_to_stop(struct immure_run *run, const struct pollfd *p)
{
	struct signalfd_siginfo si;
	struct immure_control_msg m;

	if (p[0].revents && read(run->signal_fd, &si, sizeof(si)) == sizeof(si) &&
	    si.ssi_signo != SIGWINCH && si.ssi_signo != SIGCONT)
		return true;
	return p[1].revents && recv(run->o->control_fd, &m, sizeof(m), MSG_DONTWAIT) == 0;
}

void immure_run_drain(struct immure_run *run)
{
	enum { SIGNAL, CONTROL, RELAYS };
	struct pollfd p[RELAYS + 2 * RELAY_MAX];
	bool more = true;

	/* Nothing inside writes any more: every pipe comes to its end. How long
	 * that takes is up to who reads our streams; a signal ends it. */
	run->relay[RELAY_TTY_IN].from_fd = -1;
	while (more) {
		more = false;
		p[SIGNAL] = (struct pollfd){ .fd = run->signal_fd, .events = POLLIN };
		p[CONTROL] = (struct pollfd){ .fd = run->o->control_fd, .events = POLLIN };
		watch_relays(run, p + RELAYS);
		for (int i = 0; i < RELAY_MAX; i++)
			if (!immure_relay_done(&run->relay[i]))
				more = true;
		if (!more)
			break;
		if (poll(p, RELAYS + 2 * RELAY_MAX, -1) < 0 && errno != EINTR)
			break;
		drive_relays(run, p + RELAYS);
		if (told_to_stop(run, p))
			break;
	}
}
