/* SPDX-License-Identifier: Apache-2.0 */
#include "session/serve.h"
#include "session/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "session/snapshot.h"

uint64_t immure_server_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_BOOTTIME, &ts); /* cannot fail */
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* ---- descriptors ---- */

int immure_server_watch(struct immure_server *s, struct immure_watch *w, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.ptr = w };
	int op = w->events == 0 ? EPOLL_CTL_ADD : events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;

	if (w->events == events)
		return 0;
	if (epoll_ctl(s->epoll_fd, op, w->fd, &e) < 0)
		return -errno;
	w->events = events;
	return 0;
}

void immure_server_unwatch(struct immure_server *s, struct immure_watch *w)
{
	if (w->fd >= 0 && w->events)
		(void)epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL); /* its end removes it as well */
	w->events = 0;
	immure_close(&w->fd);
}

/* ---- states ---- */

void immure_server_state(struct immure_server *s, enum immure_state to, const char *note)
{
	if (!immure_state_may_become(s->state, to))
		return;
	s->state = to;
	immure_book_status(s, note);
}

void immure_server_stop(struct immure_server *s, uint64_t grace_ms, const char *why)
{
	struct immure_init_order o = { .type = IMMURE_INIT_KILL, .signo = SIGTERM,
				       .target = IMMURE_TARGET_ALL };

	if (s->state == IMMURE_STATE_FROZEN)
		immure_life_woken(s);
	if (s->state == IMMURE_STATE_STOPPING) {
		if (grace_ms == 0)
			immure_sealed_kill(&s->sealed);
		return;
	}
	if (s->state != IMMURE_STATE_RUNNING || grace_ms == 0) {
		immure_server_state(s, IMMURE_STATE_STOPPING, why);
		immure_sealed_kill(&s->sealed);
		if (s->sealed.child.pidfd < 0)
			s->init_gone = true;
		return;
	}
	immure_server_state(s, IMMURE_STATE_STOPPING, why);
	(void)immure_life_order(s, &o, NULL, 0); /* full or gone: it is killed below */
	s->kill_at_ms = immure_server_ms() + grace_ms;
	immure_life_arm(s);
	if (s->alive == 0 && (!s->shared || s->shared->running == 0))
		immure_sealed_kill(&s->sealed); /* nobody to be graceful to */
}

/* ---- the loop ---- */

static void on_signal(struct immure_server *s, struct immure_watch *w, uint32_t events)
{
	struct signalfd_siginfo si;

	(void)events;
	if (read(w->fd, &si, sizeof(si)) != sizeof(si))
		return;
	if (si.ssi_signo == SIGTERM)
		immure_server_stop(s, s->state == IMMURE_STATE_STOPPING ? 0 : 2000, "SIGTERM");
}

static void on_timer(struct immure_server *s, struct immure_watch *w, uint32_t events)
{
	uint64_t ticks;

	(void)events;
	(void)!read(w->fd, &ticks, sizeof(ticks)); /* only to empty it */
	immure_life_tick(s);
}

static int prepare_loop(struct immure_server *s)
{
	struct sigaction plain = { .sa_handler = SIG_DFL };
	sigset_t all, term;

	sigfillset(&all);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	/* Nothing that a terminal or a parent's end sends concerns a session. */
	if (sigprocmask(SIG_SETMASK, &all, NULL) < 0 || sigaction(SIGCHLD, &plain, NULL) < 0)
		return -errno;
	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	s->signals.fd = signalfd(-1, &term, SFD_CLOEXEC | SFD_NONBLOCK);
	s->timer.fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (s->epoll_fd < 0 || s->signals.fd < 0 || s->timer.fd < 0)
		return -errno;
	s->signals.ready = on_signal;
	s->timer.ready = on_timer;
	if (immure_server_watch(s, &s->signals, EPOLLIN) < 0 ||
	    immure_server_watch(s, &s->timer, EPOLLIN) < 0)
		return -ENOMEM;
	/* Pages that are there when they are touched, and only those. */
	s->packet = mmap(NULL, IMMURE_SERVE_PACKET + 1, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	s->values = mmap(NULL, IMMURE_SERVE_VALUES * sizeof(*s->values), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	s->scratch = mmap(NULL, IMMURE_SERVE_READ, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	return s->packet == MAP_FAILED || s->scratch == MAP_FAILED || (void *)s->values == MAP_FAILED ? -ENOMEM : 0;
}

static void on_gate(struct immure_server *s, struct immure_watch *w, uint32_t events)
{
	(void)w;
	(void)events;
	immure_gatekeeper_step(s->sealed.gate);
}

/* Which descriptor it is changes with what the gatekeeper is doing; it is its own. */
static void follow_gate(struct immure_server *s)
{
	int fd = immure_gatekeeper_fd(s->sealed.gate);

	if (fd == s->gate.fd)
		return;
	if (s->gate.fd >= 0)
		(void)immure_server_watch(s, &s->gate, 0); /* closed already: it is not watched */
	s->gate = (struct immure_watch){ .fd = fd, .ready = on_gate };
	if (fd >= 0)
		(void)immure_server_watch(s, &s->gate, EPOLLIN); /* no memory: nothing gets out */
}

/* One event at a time: what one handler frees, no other event points to. */
static void loop(struct immure_server *s)
{
	while (!s->init_gone || s->creator) {
		struct epoll_event e;
		int n;

		follow_gate(s);
		n = epoll_wait(s->epoll_fd, &e, 1, -1);

		if (n < 0 && errno != EINTR)
			break;
		if (n == 1) {
			struct immure_watch *w = e.data.ptr;

			w->ready(s, w, e.events);
		}
		immure_client_bury(s);
		if (s->init_pidfd.fd >= 0 && s->init_pidfd.events == 0 && !s->init_gone) {
			/* Init is dead; its last words are in the socket or there are none. */
			char c;

			if (recv(s->init_sock.fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) <= 0)
				s->init_gone = true;
		}
		if (s->init_gone && s->creator)
			immure_create_ended(s);
	}
}

static void tear_down(struct immure_server *s)
{
	struct immure_result *result = immure_result_new();
	char left[4096] = "";

	if (!immure_client_is_settled(s))
		s->remove = true; /* nobody has heard of it, however it comes to end now */
	if (s->state != IMMURE_STATE_STOPPING)
		immure_book_status(s, "");
	immure_snapshot_done(s);
	immure_create_let_go(s); /* where it did not come to that */
	immure_sealed_kill(&s->sealed);
	s->init_sock.fd = s->init_pidfd.fd = -1; /* the sealed place's own */
	immure_sealed_end(&s->sealed, NULL);
	immure_server_state(s, IMMURE_STATE_EXITED, s->over_memory ? "limits.memory" : "");
	/* What is still in the pipes is said, then how each command ended. */
	for (struct immure_task *t = s->tasks; t; t = t->next) {
		struct immure_init_reply killed = { .type = IMMURE_INIT_ENDED, .id = t->id,
						    .status = SIGKILL };

		if (t->started && !t->ended)
			immure_task_reply(s, &killed, NULL);
	}
	immure_client_bury(s);
	if (result)
		immure_gatekeeper_finish(s->sealed.gate, result);
	if (result && s->init_ready)
		immure_watch_collect(s->plan, &s->sealed.since,
				     s->plan->state_dir[0] ? s->plan->state_dir : NULL, result);
	immure_result_free(result);
	if (immure_sealed_done(&s->sealed, left, sizeof(left)) < 0) {
		if (s->journal.fd >= 0) /* as gc will find by itself */
			(void)immure_journal_note(&s->journal, IMMURE_JK_REPAIR, left, NULL);
		s->repair = true;
		s->exit_status = 1;
	}
	immure_book_end(s);
	while (s->clients)
		immure_client_drop(s, s->clients), immure_client_bury(s);
	immure_mediated_done(s);
	immure_task_done_all(s);
	immure_attach_done(s);
	immure_tighten_done(s);
	immure_reuse_done(s);
	for (int i = 0; i < IMMURE_HANDLE_MAX; i++)
		immure_close(&s->handle[i]);
	for (int i = 0; i < IMMURE_INIT_LANES; i++)
		immure_server_unwatch(s, &s->lanes[i].watch);
	immure_server_unwatch(s, &s->listener);
	immure_server_unwatch(s, &s->maker);
	immure_server_unwatch(s, &s->signals);
	immure_server_unwatch(s, &s->timer);
	immure_close(&s->creator_lane);
	immure_close(&s->epoll_fd);
}

int immure_session_serve(const struct immure_serve_options *o)
{
	struct immure_server *s = calloc(1, sizeof(*s));
	int control = o->control_fd, r;

	if (!s)
		return 1;
	s->plan = o->plan;
	s->plan_data = o->plan_data;
	s->plan_len = o->plan_len;
	s->before = o->before;
	s->unprovable = o->unprovable;
	s->waits = o->waits;
	s->many = o->many;
	s->next_task = 1;
	s->epoll_fd = s->creator_lane = s->restore_fd = -1;
	s->metadata.fd = s->maker.fd = s->gate.fd = s->listener.fd = s->init_sock.fd = s->init_pidfd.fd = s->signals.fd = s->timer.fd = -1;
	s->registry = (struct immure_registry)IMMURE_REGISTRY_INIT;
	s->entry = (struct immure_entry)IMMURE_ENTRY_INIT;
	s->journal = (struct immure_journal)IMMURE_JOURNAL_INIT;
	for (int i = 0; i < IMMURE_HANDLE_MAX; i++)
		s->handle[i] = -1;
	for (int i = 0; i < IMMURE_INIT_LANES; i++)
		s->lanes[i].watch.fd = -1;
	immure_sealed_init(&s->sealed, o->plan);
	s->mould = o->mould;
	s->sealed.init.mould = o->mould;
	s->sealed.egress = o->egress;
	s->sealed.freezable = true;
	(void)setsid();      /* a group leader already: as good */
	(void)!chdir("/");   /* or the caller's directory is kept busy for as long as we live */
	r = prepare_loop(s);
	if (r == 0)
		r = immure_client_watch_maker(s);
	if (r == 0)
		r = immure_client_add(s, &control, true);
	immure_close(&control);
	if (r == 0 && o->first) { /* read in place, so it has to be ours */
		memcpy(s->packet, o->first, o->first_len);
		s->clients->hello = true; /* the same program speaks at both ends */
		immure_ask_take(s, s->clients, s->packet, o->first_len, NULL, 0);
	}
	if (r == 0)
		loop(s);
	tear_down(s);
	r = r < 0 ? 1 : s->exit_status;
	immure_plan_destroy(s->taken);
	free(s);
	return r;
}
