/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "session/pool_zygote.h"

uint64_t immure_pool_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail */
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static uint64_t now_ms(void)
{
	return immure_pool_us() / 1000;
}

int immure_pool_watch(struct immure_holder *p, struct immure_pool_watch *w)
{
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = w };

	if (epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, w->fd, &e) < 0)
		return -errno;
	w->watched = true;
	return 0;
}

/* Taken out by name: a copy that a caller has would keep it in. */
void immure_pool_unwatch(struct immure_holder *p, struct immure_pool_watch *w)
{
	if (w->fd >= 0 && w->watched)
		(void)epoll_ctl(p->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL); /* it is in */
	w->watched = false;
	immure_close(&w->fd);
}

/* ---- the entry ---- */

static void note(struct immure_holder *p)
{
	struct immure_status st = { .state = "POOL", .used_ms = immure_now_ms() };
	const struct immure_pool_book *b = &p->book;

	st.running = b->count[IMMURE_SLOT_USED];
	st.started = (uint32_t)(b->hits + b->misses);
	(void)snprintf(st.note, sizeof(st.note), "%u idle, %u in use, at most %u",
		       b->count[IMMURE_SLOT_IDLE] + b->count[IMMURE_SLOT_CHECKING],
		       b->count[IMMURE_SLOT_USED], b->max);
	if (p->zygote)
		immure_pool_zygote_note(p, &st);
	(void)immure_entry_set_status(&p->entry, &st); /* a full disk must not end the pool */
	p->noted_ms = now_ms();
}

static int listen_at(struct immure_holder *p)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	IMMURE_CLEANUP_FD int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)immure_entry_socket(&p->entry, at.sun_path, sizeof(at.sun_path));
	if (fd < 0 || bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 512) < 0)
		return -errno;
	p->listener = (struct immure_pool_watch){ .fd = immure_take_fd(&fd), .ready = immure_pool_accept };
	return immure_pool_watch(p, &p->listener);
}

int32_t immure_pool_begin(struct immure_holder *p, struct immure_error **err)
{
	const struct immure_plan_file plan = { p->plan_data, p->plan_len, -1 };
	struct immure_meta *m = &p->meta;
	int32_t r = immure_registry_open(p->runtime, true, &p->registry, err);
	int e;

	(void)snprintf(m->policy_version, sizeof(m->policy_version), "%s", p->plan->policy_version);
	(void)snprintf(m->plan_hash, sizeof(m->plan_hash), "%s", immure_plan_hash_of(p->plan));
	(void)snprintf(m->backend, sizeof(m->backend), "%s", p->plan->backend);
	(void)snprintf(m->profile, sizeof(m->profile), "%s", p->plan->profile);
	m->lifetime = p->with_caller ? IMMURE_LIFETIME_CALLER : IMMURE_LIFETIME_DETACHED;
	m->labels_n = 1;
	memcpy(m->labels[0].key, "kind", 5);
	memcpy(m->labels[0].value, "pool", 5);
	p->slots = calloc(p->book.max, sizeof(*p->slots));
	if (r == 0 && !p->slots)
		r = immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "pool", "", "out of memory");
	for (uint32_t i = 0; r == 0 && i < p->book.max; i++)
		p->slots[i].boss.fd = p->slots[i].lent_fd = p->slots[i].lane_fd = p->slots[i].root_fd = -1;
	if (r == 0)
		r = immure_entry_create(&p->registry, m, &plan, &p->entry, err);
	if (r < 0)
		return r;
	e = listen_at(p);
	if (e < 0)
		return immure_fail(err, IMMURE_ERR_LAUNCH, -e, "pool", "control",
				   "cannot listen on the control socket: %s", strerror(-e));
	if (p->template)
		r = immure_pool_zygote_start(p, err);
	else if (p->reuse)
		r = immure_pool_reuse_begin(p, err);
	if (r < 0)
		return r;
	p->started = true;
	note(p);
	return 0;
}

/* ---- who waits ---- */

/* Whoever asked first, so that nobody waits for ever. last: the other end. */
static struct immure_pool_client *waiting(const struct immure_holder *p, bool last)
{
	struct immure_pool_client *best = NULL;

	for (struct immure_pool_client *c = p->clients; c; c = c->next) {
		if (!c->waits || c->dead || (last && c->until_ms))
			continue;
		if (!best || (last ? c->asked_us > best->asked_us : c->asked_us < best->asked_us))
			best = c;
	}
	return best;
}

static void refuse(struct immure_holder *p, struct immure_pool_client *c, struct immure_error *err)
{
	c->waits = false;
	p->waiting--;
	immure_pool_refuse(p, c, c->request, err);
}

static struct immure_error *copy(const struct immure_error *of)
{
	struct immure_error *err = NULL;

	(void)immure_fail(&err, immure_error_code(of), immure_error_errno(of), immure_error_stage(of),
			  immure_error_subject(of), "%s", immure_error_text(of));
	if (err && immure_error_hint(of)[0])
		immure_error_set_hint(err, "%s", immure_error_hint(of));
	return err;
}

static struct immure_error *full(const struct immure_holder *p)
{
	struct immure_error *err = NULL;

	(void)immure_fail(&err, IMMURE_ERR_STATE, EAGAIN, "pool", p->meta.name,
			  "all %u sessions that this pool may have are in use", p->book.max);
	if (err)
		immure_error_set_hint(err, "wait for one, or start the pool with a larger --max");
	return err;
}

enum { LET_GO_MS = 2000 };

/* Those that were let go of and have not ended yet. A word that does not come true is
 * not believed for long. */
static uint32_t coming_back(const struct immure_holder *p, uint64_t now)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < p->book.max; i++)
		n += p->slots[i].state == IMMURE_SLOT_USED && p->slots[i].let_go_ms &&
		     now < p->slots[i].let_go_ms + LET_GO_MS;
	return n;
}

static void serve_waiting(struct immure_holder *p)
{
	struct immure_pool_client *c;
	uint64_t now = now_ms();

	while ((c = waiting(p, false)) && immure_pool_give(p, c))
		;
	/* Those that would have to wait for a release, and do not want to. */
	while (immure_pool_in_vain(&p->book, p->waiting) > coming_back(p, now) && (c = waiting(p, true)))
		refuse(p, c, full(p));
	for (c = p->clients; c; c = c->next)
		if (c->waits && c->until_ms && c->until_ms <= now)
			refuse(p, c, full(p));
}

/* Nothing is on its way and the last attempt failed: whoever waits is told why. */
static void tell_failure(struct immure_holder *p)
{
	struct immure_pool_client *c;

	if (p->book.count[IMMURE_SLOT_MAKING] || !p->retry_ms || !p->failure)
		return;
	while ((c = waiting(p, false)))
		refuse(p, c, copy(p->failure));
	if (p->starter) {
		immure_pool_refuse(p, p->starter, p->starter_request, copy(p->failure));
		p->starter = NULL;
		p->ending = true;
	}
	if (p->warmer) {
		immure_pool_refuse(p, p->warmer, p->warmer_request, copy(p->failure));
		p->warmer = NULL;
		p->book.target = p->book.size;
	}
}

static void answer_complete(struct immure_holder *p)
{
	const uint32_t *n = p->book.count;
	bool is_full = n[IMMURE_SLOT_IDLE] + n[IMMURE_SLOT_CHECKING] >= p->book.target ||
		       (!n[IMMURE_SLOT_FREE] && !n[IMMURE_SLOT_MAKING] && !n[IMMURE_SLOT_ENDING]);
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	if (p->template)
		is_full = p->zygote->ready;
	if (!is_full)
		return;
	if (p->starter) {
		note(p);
		immure_answer_begin(&w, &b, p->starter_request);
		immure_jsonw_str(&w, "session", p->entry.id);
		immure_jsonw_str(&w, "state", "POOL");
		(void)immure_pool_answer_send(p, p->starter, &w, NULL, 0); /* gone: dropped by it */
		p->starter = NULL;
	}
	if (p->warmer) {
		immure_answer_begin(&w, &b, p->warmer_request);
		immure_jsonw_uint(&w, "inserted", p->book.created - p->warm_before);
		(void)immure_pool_answer_send(p, p->warmer, &w, NULL, 0); /* gone: dropped by it */
		p->warmer = NULL;
		p->book.target = p->book.size;
	}
}

/* Whoever was just given a session is about to use the CPU; another one is needed
 * later. Not when the last one was given, or somebody waits. */
static bool may_wait(struct immure_holder *p)
{
	uint64_t now = now_ms();

	if (p->waiting || p->starter || p->warmer || !p->book.count[IMMURE_SLOT_IDLE] ||
	    (p->refill_ms && p->refill_ms <= now)) {
		p->refill_ms = 0;
		return false;
	}
	if (!p->refill_ms)
		p->refill_ms = now + IMMURE_POOL_REFILL_MS;
	return true;
}

void immure_pool_step(struct immure_holder *p)
{
	uint32_t n, demand;

	if (!p->started || p->ending)
		return;
	if (p->template) {
		answer_complete(p);
		return;
	}
	serve_waiting(p);
	n = p->retry_ms > now_ms() ? 0 : immure_pool_to_make(&p->book, p->waiting);
	if (n == 0)
		p->refill_ms = 0; /* or the timer would look for ever */
	else if (may_wait(p))
		n = 0;
	demand = p->waiting;
	for (uint32_t i = 0; i < n; i++)
		immure_pool_make(p, i < demand);
	tell_failure(p);
	answer_complete(p);
}

/* ---- the clock ---- */

static void look_at(struct immure_holder *p, struct immure_pool_slot *s, uint64_t now, uint32_t *surplus)
{
	if (s->state == IMMURE_SLOT_IDLE && *surplus && p->idle_ms && now >= s->since_ms + p->idle_ms) {
		--*surplus;
		p->book.evictions++;
		immure_pool_slot_end(p, s, false);
	} else if (s->state == IMMURE_SLOT_IDLE && p->check_ms && now >= s->checked_ms + p->check_ms) {
		s->checked_ms = now;
		immure_pool_check(p, s);
	} else if (s->deadline_ms && now >= s->deadline_ms) {
		/* Did not become ready, did not answer, or did not end. */
		p->book.evictions += s->state == IMMURE_SLOT_CHECKING;
		p->book.failed += s->state == IMMURE_SLOT_MAKING;
		immure_pool_slot_end(p, s, true);
	}
}

static void tick(struct immure_holder *p)
{
	uint32_t surplus = immure_pool_surplus(&p->book);
	uint64_t now = now_ms();

	for (uint32_t i = 0; i < p->book.max && p->started; i++)
		look_at(p, &p->slots[i], now, &surplus);
	if (p->started && now >= p->noted_ms + 1000)
		note(p);
	immure_pool_step(p);
}

static void sooner(uint64_t *at, uint64_t than)
{
	if (than && (*at == 0 || than < *at))
		*at = than;
}

/* One timer, for whatever comes first. */
static void arm(struct immure_holder *p)
{
	uint32_t surplus = p->started ? immure_pool_surplus(&p->book) : 0;
	struct itimerspec t = { 0 };
	uint64_t at = 0, now = now_ms();

	for (uint32_t i = 0; i < p->book.max && p->started; i++) {
		const struct immure_pool_slot *s = &p->slots[i];

		sooner(&at, s->deadline_ms);
		if (s->state == IMMURE_SLOT_USED && s->let_go_ms && p->waiting && s->let_go_ms + LET_GO_MS > now)
			sooner(&at, s->let_go_ms + LET_GO_MS);
		if (s->state == IMMURE_SLOT_IDLE && p->check_ms)
			sooner(&at, s->checked_ms + p->check_ms);
		if (s->state == IMMURE_SLOT_IDLE && p->idle_ms && surplus)
			sooner(&at, s->since_ms + p->idle_ms);
	}
	for (const struct immure_pool_client *c = p->clients; c; c = c->next)
		sooner(&at, c->waits ? c->until_ms : 0);
	sooner(&at, p->refill_ms);
	if (p->retry_ms > now)
		sooner(&at, p->retry_ms);
	if (at == p->armed_ms && at > now)
		return;
	p->armed_ms = at;
	at = at && at <= now ? now + 1 : at;
	t.it_value.tv_sec = (time_t)(at / 1000);
	t.it_value.tv_nsec = (long)(at % 1000) * 1000000;
	(void)timerfd_settime(p->timer.fd, TFD_TIMER_ABSTIME, &t, NULL); /* a valid time */
}

static void on_timer(struct immure_holder *p, struct immure_pool_watch *w, uint32_t events)
{
	uint64_t n;

	(void)events;
	(void)!read(w->fd, &n, sizeof(n)); /* only to empty it */
	p->armed_ms = 0;
	tick(p);
}

/* ---- children ---- */

static void reap(struct immure_holder *p)
{
	for (uint32_t i = 0; p->slots && i < p->book.max; i++) {
		struct immure_pool_slot *s = &p->slots[i];

		if (s->pid > 0 && waitpid(s->pid, NULL, WNOHANG) == s->pid)
			immure_pool_slot_gone(p, s);
	}
}

static void on_signal(struct immure_holder *p, struct immure_pool_watch *w, uint32_t events)
{
	struct signalfd_siginfo si;

	(void)events;
	if (read(w->fd, &si, sizeof(si)) != sizeof(si))
		return;
	if (si.ssi_signo == SIGTERM)
		p->ending = true;
	reap(p);
	immure_pool_step(p);
}

/* ---- life ---- */

static int prepare(struct immure_holder *p)
{
	struct sigaction plain = { .sa_handler = SIG_DFL };
	struct rlimit all;
	sigset_t every, some;

	sigfillset(&every);
	sigemptyset(&some);
	sigaddset(&some, SIGTERM);
	sigaddset(&some, SIGCHLD);
	(void)setsid();    /* a group leader already: as good */
	(void)!chdir("/"); /* or the caller's directory is kept busy for as long as we live */
	if (sigprocmask(SIG_SETMASK, &every, NULL) < 0 || sigaction(SIGCHLD, &plain, NULL) < 0 ||
	    getrlimit(RLIMIT_NOFILE, &p->files) < 0)
		return -errno;
	all = p->files;
	all.rlim_cur = all.rlim_max; /* two for each session that waits */
	(void)setrlimit(RLIMIT_NOFILE, &all); /* then fewer fit, and making them says so */
	p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	p->signals = (struct immure_pool_watch){ .fd = signalfd(-1, &some, SFD_CLOEXEC | SFD_NONBLOCK),
						 .ready = on_signal };
	p->timer = (struct immure_pool_watch){
		.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), .ready = on_timer };
	p->packet = malloc(IMMURE_POOL_PACKET + 1);
	p->values = malloc(IMMURE_POOL_VALUES * sizeof(*p->values));
	if (p->epoll_fd < 0 || p->signals.fd < 0 || p->timer.fd < 0 || !p->packet || !p->values)
		return -ENOMEM;
	return immure_pool_watch(p, &p->signals) < 0 || immure_pool_watch(p, &p->timer) < 0 ? -ENOMEM : 0;
}

static void loop(struct immure_holder *p)
{
	while (!p->ending) {
		struct epoll_event e;
		int n;

		arm(p);
		n = epoll_wait(p->epoll_fd, &e, 1, -1); /* one: what it frees, no other points to */
		if (n < 0 && errno != EINTR)
			break;
		if (n == 1) {
			struct immure_pool_watch *w = e.data.ptr;

			w->ready(p, w, e.events);
		}
		immure_pool_client_bury(p);
	}
}

/* Those that wait end with us; those in use are their callers'. */
static void end_sessions(struct immure_holder *p)
{
	uint64_t until = now_ms() + 10000;
	bool left = true;

	for (uint32_t i = 0; p->slots && i < p->book.max; i++) {
		struct immure_pool_slot *s = &p->slots[i];

		if (s->state == IMMURE_SLOT_USED && p->kill_used)
			(void)kill(s->pid, SIGTERM); /* our child, not waited for: this very one */
		if (s->state != IMMURE_SLOT_FREE && s->state != IMMURE_SLOT_USED)
			immure_pool_slot_end(p, s, false);
	}
	while (left && p->slots) {
		struct timespec moment = { .tv_nsec = 2000000 };

		left = false;
		reap(p);
		for (uint32_t i = 0; i < p->book.max; i++) {
			struct immure_pool_slot *s = &p->slots[i];

			if (s->pid <= 0 || (s->state == IMMURE_SLOT_USED && !p->kill_used))
				continue;
			left = true;
			if (now_ms() > until)
				(void)kill(s->pid, SIGKILL); /* as above */
		}
		if (left)
			(void)nanosleep(&moment, NULL); /* cut short: looks again sooner */
	}
}

static int done(struct immure_holder *p, int r)
{
	char left[4096];

	immure_pool_unwatch(p, &p->listener);
	end_sessions(p);
	if (immure_pool_zygote_end(p) < 0)
		r = r < 0 ? r : -EIO;
	immure_pool_reuse_done(p);
	if (p->entry.dir_fd >= 0 && immure_entry_remove(&p->registry, &p->entry, left, sizeof(left)) < 0)
		r = r < 0 ? r : -EIO;
	immure_entry_done(&p->entry);
	immure_registry_done(&p->registry);
	while (p->clients) {
		immure_pool_client_drop(p, p->clients);
		immure_pool_client_bury(p);
	}
	immure_pool_unwatch(p, &p->signals);
	immure_pool_unwatch(p, &p->timer);
	immure_close(&p->epoll_fd);
	immure_error_free(p->failure);
	immure_buf_done(&p->policy);
	immure_close(&p->restore_fd);
	free(p->snapshot);
	free(p->after[0]);
	free(p->after[1]);
	free(p->slots);
	free(p->packet);
	free(p->values);
	return r < 0 ? 1 : 0;
}

int immure_pool_hold(const struct immure_hold_options *o)
{
	struct immure_holder *p = calloc(1, sizeof(*p));
	int control = o->control_fd, r;

	if (!p)
		return 1;
	p->plan = o->plan;
	p->plan_data = o->plan_data;
	p->plan_len = o->plan_len;
	p->egress = o->egress;
	p->registry = (struct immure_registry)IMMURE_REGISTRY_INIT;
	p->entry = (struct immure_entry)IMMURE_ENTRY_INIT;
	p->epoll_fd = p->listener.fd = p->signals.fd = p->timer.fd = p->restore_fd = -1;
	p->with_caller = true;
	r = prepare(p);
	if (r == 0)
		r = immure_pool_client_add(p, &control, true);
	immure_close(&control);
	if (r == 0)
		loop(p);
	r = done(p, r);
	free(p);
	return r;
}
