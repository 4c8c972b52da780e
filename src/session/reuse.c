/* SPDX-License-Identifier: Apache-2.0 */
#include "session/reuse.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "kernel/cgtree.h"
#include "session/serve.h"

enum { PROOF_MS = 10000 };

struct immure_reuse {
	struct immure_look base;         /* as it was before the first caller */
	unsigned char cgroup[32];        /* the same of its limits */
	int init_fds, server_fds;
	int last_pid_fd;
	struct immure_client *tenant;    /* whoever has it now; NULL = nobody */
	bool orphaned;                   /* the maker is gone: the tenant's end is its own */
	bool based, looking;
	int request;                     /* what the tenant should not have asked for; MAX = nothing */
	uint64_t uses, since_us;
	uint32_t dirty;                  /* rows, a bit each */
	char last[400];                  /* what came of the last look */
};

static uint64_t now_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail */
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void soil(struct immure_reuse *r, enum immure_spot row)
{
	r->dirty |= 1U << row;
}

/* ---- what the server itself knows ---- */

static bool is_init(void *ctx, int32_t pid)
{
	return pid == ((struct immure_server *)ctx)->sealed.child.pid;
}

static int stranger(void *ctx, int32_t pid)
{
	return is_init(ctx, pid) ? 0 : 1;
}

static int limits_of(const struct immure_server *s, unsigned char digest[32])
{
	static const char *const files[] = { "memory.max", "memory.high", "memory.swap.max", "pids.max", "cpu.max",
					     "cpu.weight", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes",
					     "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.shares", "cgroup.freeze",
					     "freezer.state" };
	const struct immure_cgroup *c = &s->sealed.cgroup;
	struct immure_sha256 sha;
	char text[256];

	immure_sha256_init(&sha);
	for (int i = 0; s->sealed.init.cgroup && i < c->n; i++)
		for (size_t k = 0; k < sizeof(files) / sizeof(files[0]); k++) {
			IMMURE_CLEANUP_FD int fd = openat(c->dir_fd[i], files[k], O_RDONLY | O_CLOEXEC);
			ssize_t n = fd >= 0 ? read(fd, text, sizeof(text)) : errno == ENOENT ? 0 : -1;

			if (n < 0)
				return -errno;
			immure_sha256_add(&sha, text, (size_t)n);
			immure_sha256_add(&sha, "", 1);
		}
	immure_sha256_done(&sha, digest);
	return 0;
}

static bool has_strangers(struct immure_server *s)
{
	const struct immure_cgroup *c = &s->sealed.cgroup;

	for (int i = 0; s->sealed.init.cgroup && i < c->n; i++)
		if (immure_cgtree_members(c->dir_fd[i], stranger, s) != 0)
			return true;
	return false;
}

/* Requests and answers were in these; who looks finds zeroes. */
static bool forget(struct immure_server *s)
{
	const struct {
		void *at;
		size_t len;
	} all[] = { { s->packet, IMMURE_SERVE_PACKET + 1 },
		    { s->values, IMMURE_SERVE_VALUES * sizeof(*s->values) },
		    { s->scratch, IMMURE_SERVE_READ } };

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		const volatile unsigned char *p = all[i].at;

		if (madvise(all[i].at, all[i].len, MADV_DONTNEED) < 0)
			return false;
		for (size_t k = 0; k < all[i].len; k += 61)
			if (p[k])
				return false;
	}
	return true;
}

/* ---- the verdict ---- */

static void list_rows(const struct immure_reuse *r, char *to, size_t cap)
{
	size_t n = 0;

	to[0] = '\0';
	for (int i = 0; i < IMMURE_SPOT_MAX; i++)
		if (r->dirty & 1U << i && n < cap)
			n += (size_t)snprintf(to + n, cap - n, "%s%s", n ? " " : "",
					      immure_spot_name((enum immure_spot)i));
}

static struct immure_client *maker(struct immure_server *s)
{
	for (struct immure_client *c = s->clients; c; c = c->next)
		if (c->boss && !c->dead)
			return c;
	return NULL;
}

static void tell(struct immure_server *s, const char *what, const char *rows, uint64_t took)
{
	struct immure_client *c = maker(s);
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	immure_jsonw_init(&w, &b, 0);
	immure_jsonw_object(&w, NULL);
	immure_jsonw_str(&w, "event", what);
	immure_jsonw_str(&w, "rows", rows);
	immure_jsonw_uint(&w, "rows_looked_at", IMMURE_SPOT_MAX);
	immure_jsonw_uint(&w, "use", s->reuse->uses);
	immure_jsonw_uint(&w, "took_us", took);
	immure_jsonw_end(&w, '}');
	if (c && immure_buf_ok(&b))
		immure_client_send(s, c, b.data, b.len, NULL, 0);
	immure_buf_done(&b);
}

static void judge(struct immure_server *s)
{
	struct immure_reuse *r = s->reuse;
	uint64_t took = now_us() - r->since_us;
	const char *what = r->dirty ? "dirty" : "clean";
	char rows[300];

	r->looking = false;
	s->kill_at_ms = s->armed_ms = 0;
	r->uses++;
	list_rows(r, rows, sizeof(rows));
	if (r->dirty & 1U << IMMURE_SPOT_REQUESTS && r->request < IMMURE_REQ_MAX)
		(void)snprintf(r->last, sizeof(r->last), "%s: %s (%s)", what, rows,
			       immure_request_name((enum immure_request)r->request));
	else
		(void)snprintf(r->last, sizeof(r->last), "%s%s%s", what, rows[0] ? ": " : "", rows);
	if (s->journal.fd >= 0) { /* a full disk must not end the session */
		char detail[400];

		(void)snprintf(detail, sizeof(detail), "use=%llu rows=%d took_us=%llu %s",
			       (unsigned long long)r->uses, IMMURE_SPOT_MAX, (unsigned long long)took, rows);
		(void)immure_journal_note(&s->journal, IMMURE_JK_REUSE, what, detail);
	}
	tell(s, what, rows, took);
	if (r->dirty) {
		immure_server_stop(s, 0, r->last);
		return;
	}
	immure_life_arm(s);
	immure_book_status(s, "");
}

/* ---- looking ---- */

/* What was counted so far is of those before. */
static void count_anew(struct immure_server *s, const struct immure_init_reply *reply)
{
	s->earlier = (struct immure_cgroup_stats){ 0 };
	if (s->sealed.init.cgroup)
		immure_cgroup_stats(&s->sealed.cgroup, &s->earlier);
	s->attacked = s->earlier;
	s->earlier_us = reply->user_us + reply->system_us;
	s->bytes_in = s->bytes_out = 0;
}

static int32_t unprovable(struct immure_error **err, const char *row, int e)
{
	(void)immure_fail(err, IMMURE_ERR_UNSUPPORTED, e < 0 ? -e : e, "pool", "reuse",
			  "sessions cannot be proven clean on this host: %s: %s", row,
			  e > 0 ? "it was not looked at" : strerror(-e));
	if (err && *err)
		immure_error_set_hint(*err, "a pool without --reuse makes a session for each caller");
	return -IMMURE_ERR_UNSUPPORTED;
}

/* Before the first caller: what is there is what is to be there again. */
static int32_t take_base(struct immure_server *s, const struct immure_init_reply *reply, struct immure_error **err)
{
	struct immure_reuse *r = s->reuse;
	int e = immure_reuse_look(s->plan, s->handle, r->last_pid_fd, &r->base);

	if (e < 0)
		return unprovable(err, "its namespaces", e);
	for (int i = 0; i < IMMURE_SPOT_MAX; i++)
		if (r->base.error[i] || r->base.foreign[i])
			return unprovable(err, immure_spot_name((enum immure_spot)i),
					  r->base.error[i] ? r->base.error[i] : -EEXIST);
	if (reply->flags || reply->pid < 0)
		return unprovable(err, "init", reply->pid < 0 ? reply->pid : -EBUSY);
	e = limits_of(s, r->cgroup);
	if (e < 0)
		return unprovable(err, "cgroup", e);
	r->init_fds = reply->pid;
	r->server_fds = immure_count_fds();
	return r->server_fds < 0 ? unprovable(err, "the supervisor's descriptors", r->server_fds) : 0;
}

static void look_within(struct immure_server *s)
{
	struct immure_reuse *r = s->reuse;
	struct immure_look now = { 0 };
	int e = immure_reuse_look(s->plan, s->handle, r->last_pid_fd, &now);

	for (int i = 0; i < IMMURE_SPOT_MAX; i++)
		if (immure_spot_is_inside((enum immure_spot)i) &&
		    (e < 0 || now.error[i] || now.foreign[i] ||
		     memcmp(now.digest[i], r->base.digest[i], sizeof(now.digest[i])) != 0))
			soil(r, (enum immure_spot)i);
}

static void look_without(struct immure_server *s, const struct immure_init_reply *reply)
{
	struct immure_reuse *r = s->reuse;
	unsigned char limits[32];

	if (reply->flags & IMMURE_WIPED_COMMANDS)
		soil(r, IMMURE_SPOT_COMMANDS);
	if (reply->flags & IMMURE_WIPED_LANES)
		soil(r, IMMURE_SPOT_CONNECTIONS);
	if (reply->flags & IMMURE_WIPED_MEMORY)
		soil(r, IMMURE_SPOT_INIT_MEMORY);
	if (reply->pid != r->init_fds)
		soil(r, IMMURE_SPOT_INIT_FDS);
	if (!forget(s))
		soil(r, IMMURE_SPOT_SERVER_MEMORY);
	if (immure_count_fds() != r->server_fds)
		soil(r, IMMURE_SPOT_SERVER_FDS);
	if (has_strangers(s) || limits_of(s, limits) < 0 || memcmp(limits, r->cgroup, sizeof(limits)) != 0)
		soil(r, IMMURE_SPOT_CGROUP);
	if (!immure_gatekeeper_untouched(s->sealed.gate))
		soil(r, IMMURE_SPOT_GATEKEEPER);
}

void immure_reuse_wiped(struct immure_server *s, const struct immure_init_reply *reply)
{
	struct immure_reuse *r = s->reuse;
	struct immure_error *err = NULL;

	if (!r || !r->looking)
		return;
	if (!r->based) {
		r->looking = false;
		r->based = take_base(s, reply, &err) == 0;
		immure_server_created(s, r->based ? NULL : err);
		immure_error_free(err);
		return;
	}
	look_without(s, reply);
	look_within(s);
	if (!r->dirty)
		count_anew(s, reply);
	judge(s);
}

static void begin(struct immure_server *s)
{
	struct immure_init_order o = { .type = IMMURE_INIT_WIPE };
	struct immure_reuse *r = s->reuse;

	r->dirty = 0;
	r->looking = true;
	r->since_us = now_us();
	if (r->request != IMMURE_REQ_MAX)
		soil(r, IMMURE_SPOT_REQUESTS);
	if (s->alive || (s->shared && s->shared->running))
		soil(r, IMMURE_SPOT_COMMANDS);
	if (r->based && s->clients_n != 1)
		soil(r, IMMURE_SPOT_CONNECTIONS);
	if (r->dirty) {
		judge(s);
		return;
	}
	if (s->state == IMMURE_STATE_RUNNING || !r->based)
		r->looking = immure_life_order(s, &o, NULL, 0) == 0;
	s->kill_at_ms = immure_server_ms() + (r->looking ? PROOF_MS : 0); /* who does not answer is not clean */
	s->armed_ms = 0;
	immure_life_arm(s);
}

/* ---- lent, and given back ---- */

int32_t immure_reuse_begin(struct immure_server *s, struct immure_error **err)
{
	int32_t r = immure_reuse_possible(s->plan, err);

	if (r < 0)
		return r;
	if (s->waits)
		return immure_fail(err, IMMURE_ERR_UNSUPPORTED, 0, "pool", "reuse", "a session that was sealed in "
				   "for its caller's workspace cannot be opened again");
	s->reuse = calloc(1, sizeof(*s->reuse));
	if (!s->reuse)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "pool", "", "out of memory");
	s->reuse->request = IMMURE_REQ_MAX;
	s->reuse->last_pid_fd = open("/proc/sys/kernel/ns_last_pid", O_RDWR | O_CLOEXEC);
	if (s->reuse->last_pid_fd < 0)
		return unprovable(err, "pids", -errno);
	s->sealed.init.provable = true;
	return 0;
}

bool immure_reuse_ready(struct immure_server *s)
{
	if (!s->reuse)
		return false;
	begin(s);
	return true;
}

void immure_reuse_asked(struct immure_server *s, const struct immure_client *c, int request)
{
	static const enum immure_request plain[] = { IMMURE_REQ_HELLO, IMMURE_REQ_LANE, IMMURE_REQ_STATS,
						     IMMURE_REQ_INSPECT, IMMURE_REQ_EXECS };

	if (!s->reuse || c->boss)
		return;
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		if (plain[i] == (enum immure_request)request)
			return;
	s->reuse->request = request;
}

int32_t immure_reuse_lend(struct immure_ask *a)
{
	struct immure_server *s = a->s;
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;
	int pair[2], fds[2] = { -1, -1 };

	if (!a->c->boss || !s->reuse)
		return immure_ask_fail(a, IMMURE_ERR_STATE, 0, "", "only who made a session to be used again lends it");
	if (s->reuse->tenant || s->reuse->looking)
		return immure_ask_fail(a, IMMURE_ERR_STATE, EBUSY, "", "somebody has it");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return immure_ask_fail(a, IMMURE_ERR_IO, errno, "", "socketpair: %s", strerror(errno));
	fds[0] = pair[0];
	if (immure_client_add(s, &pair[1], false) < 0) {
		immure_close(&fds[0]);
		return immure_ask_fail(a, IMMURE_ERR_IO, EIO, "", "no line could be made");
	}
	s->reuse->tenant = s->clients;
	s->reuse->tenant->hello = true;
	(void)immure_life_lane_make(s, s->clients, &fds[1]); /* none: commands go by the server, and it ends after */
	immure_answer_begin(&w, &b, a->id);
	immure_life_lane_tell(s, &w);
	immure_answer_send(s, a->c, &w, fds, fds[1] >= 0 ? 2 : 1);
	immure_close(&fds[0]);
	immure_close(&fds[1]);
	return 0;
}

bool immure_reuse_client_gone(struct immure_server *s, const struct immure_client *c)
{
	struct immure_reuse *r = s->reuse;

	if (!r)
		return false;
	if (c->boss) {
		r->orphaned = true;
		return r->tenant != NULL;
	}
	if (c != r->tenant)
		return false;
	r->tenant = NULL;
	if (s->state == IMMURE_STATE_STOPPING)
		return true;
	if (r->orphaned)
		immure_server_stop(s, 0, "the program that had it has ended");
	else
		begin(s);
	return true;
}

void immure_reuse_json(struct immure_jsonw *w, const struct immure_server *s)
{
	if (!s->reuse)
		return;
	immure_jsonw_object(w, "reuse");
	immure_jsonw_uint(w, "uses", s->reuse->uses);
	immure_jsonw_bool(w, "lent", s->reuse->tenant != NULL);
	immure_jsonw_str(w, "last", s->reuse->last);
	immure_jsonw_end(w, '}');
}

void immure_reuse_done(struct immure_server *s)
{
	if (s->reuse)
		immure_close(&s->reuse->last_pid_fd);
	free(s->reuse);
	s->reuse = NULL;
}
