/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench: how long this host takes, by this policy. A sample counts only when its command
 * ended with status 0, and nothing is timed before one sandbox of the same plan was
 * attacked from inside and held.
 *
 *	cold-start        policy known; from planning to the exit status, and all of it gone
 *	hot-acquire       a pool that is full: acquire alone, to the first byte, to the exit
 *	warm-throughput   one session, one command after another
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/jsonw.h"
#include "cli/session.h"

enum { COUNT = 50, FIGURES = 3 };

struct figure {
	const char *name;
	uint64_t *ns;
	size_t n;
};

struct bench {
	struct immure_runflags *f;
	immure_policy *policy;
	immure_plan *plan;
	const char *const *argv;
	char program[IMMURE_CLI_PATH_MAX];
	struct figure figures[FIGURES];
	size_t figures_n, count;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail */
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

static void sample(struct bench *b, size_t figure, const char *name, uint64_t start)
{
	struct figure *x = &b->figures[figure];

	x->name = name;
	x->ns[x->n++] = now_ns() - start;
	if (b->figures_n <= figure)
		b->figures_n = figure + 1;
}

static int32_t wrong(struct immure_error **err, const char *what)
{
	return immure_fail(err, IMMURE_ERR_PROOF, 0, "bench", "", "bench: %s", what);
}

static int32_t make_plan(struct bench *b, immure_plan **ret, struct immure_error **err)
{
	struct immure_plan_options o = { .size = sizeof(o), .argv = b->argv, .env = b->f->policy.env,
					 .cwd = b->f->cwd, .facts = IMMURE_FACTS_QUICK };

	return immure_plan_create(b->policy, &o, ret, err);
}

static int32_t run_once(struct bench *b, const immure_plan *plan, uint32_t flags, struct immure_error **err)
{
	struct immure_run_options o = { .size = sizeof(o), .stdin_fd = -1, .stdout_fd = -1,
					.stderr_fd = STDERR_FILENO, .flags = flags,
					.supervisor = b->program, .env = b->f->policy.env };
	uint64_t points = 0, fell_short = 0;
	immure_result *result = NULL;
	int32_t r = immure_run(plan, &o, &result, err);

	if (r == 0 && immure_result_exit_status(result) != 0)
		r = wrong(err, "the command did not end with status 0");
	if (r == 0 && flags & IMMURE_RUN_PROVE) {
		immure_result_proof_counts(result, &points, &fell_short);
		if (points == 0 || fell_short)
			r = wrong(err, "the sandbox does not hold; see immure prove");
	}
	immure_result_free(result);
	return r;
}

static int32_t cold_start(struct bench *b, struct immure_error **err)
{
	int32_t r = 0;

	for (size_t i = 0; r == 0 && i < b->count; i++) {
		immure_plan *plan = NULL;
		uint64_t start = now_ns();

		r = make_plan(b, &plan, err);
		if (r == 0)
			r = run_once(b, plan, 0, err);
		if (r == 0)
			sample(b, 0, "to exit", start);
		immure_plan_free(plan);
	}
	return r;
}

/* Until its first byte, when `byte` is wanted, and its end. */
static int32_t follow(struct bench *b, immure_session *s, immure_process *p, uint64_t start, bool byte,
		      size_t last, struct immure_error **err)
{
	struct immure_event e = { .size = sizeof(e) };
	struct immure_exit x = { .size = sizeof(x) };
	int32_t r = 0;

	while (r >= 0 && byte) {
		struct pollfd p1 = { .fd = immure_session_fd(s), .events = POLLIN };

		r = immure_session_next(s, &e, err);
		if (r == 0)
			(void)poll(&p1, 1, -1); /* EINTR: asked again */
		if (r == 1 && e.type != IMMURE_EVENT_OUTPUT)
			return wrong(err, "the command ended without a word");
		if (r == 1) {
			sample(b, 1, "acquire to first byte", start);
			break;
		}
	}
	if (r >= 0)
		r = immure_process_wait(p, -1, &x, err);
	if (r < 0)
		return r;
	if (x.code != 0)
		return wrong(err, "the command did not end with status 0");
	sample(b, last, byte ? "acquire to exit" : "request to exit", start);
	return 0;
}

static int32_t exec_once(struct bench *b, immure_session *s, uint64_t start, bool byte, size_t last,
			 struct immure_error **err)
{
	static const char *const echo[] = { "/bin/echo", "ready", NULL };
	struct immure_exec_options o = { .size = sizeof(o), .argv = byte ? echo : b->argv, .stdin_fd = -1,
					 .stdout_fd = byte ? IMMURE_STREAM_EVENTS : IMMURE_STREAM_NULL,
					 .stderr_fd = IMMURE_STREAM_NULL };
	immure_process *p = NULL;
	int32_t r = immure_session_exec(s, &o, &p, err);

	if (r == 0)
		r = follow(b, s, p, start, byte, last, err);
	immure_process_free(p);
	return r;
}

static int32_t hot_acquire(struct bench *b, struct immure_error **err)
{
	struct immure_pool_options o = { .size = sizeof(o), .pool_size = 4, .pool_max = 8,
					 .supervisor = b->program, .env = b->f->policy.env };
	struct immure_acquire_options how = { .size = sizeof(how), .wait_ms = 30000 };
	immure_pool *pool = NULL;
	int32_t r = immure_pool_open(b->plan, &o, &pool, err);

	for (size_t i = 0; r == 0 && i < b->count; i++) {
		immure_session *s = NULL;
		uint64_t start;

		r = immure_pool_warm(pool, 4, err); /* a hit is measured, not how fast it refills */
		start = now_ns();
		if (r >= 0)
			r = immure_pool_acquire(pool, &how, &s, err);
		if (r == 0) {
			sample(b, 0, "acquire", start);
			r = exec_once(b, s, start, true, 2, err);
		}
		immure_pool_release(pool, s);
	}
	immure_pool_free(pool);
	return r;
}

static int32_t warm_throughput(struct bench *b, struct immure_error **err)
{
	char path[IMMURE_CLI_PATH_MAX];
	struct immure_session_options o = immure_cli_session_options(path);
	immure_session *s = NULL;
	int32_t r = immure_session_create(b->plan, &o, &s, err);

	for (size_t i = 0; r == 0 && i < b->count; i++)
		r = exec_once(b, s, now_ns(), false, 0, err);
	immure_session_free(s);
	return r;
}

/* ---- what came of it ---- */

static int by_size(const void *x, const void *y)
{
	const uint64_t *a = x, *b = y;

	return (*a > *b) - (*a < *b);
}

/* The smallest that at least p percent do not exceed. */
static uint64_t percentile(const struct figure *x, unsigned int p)
{
	size_t at = (x->n * p + 99) / 100;

	return x->ns[at ? at - 1 : 0];
}

static void print_one(struct immure_jsonw *w, struct immure_buf *out, const struct figure *x, bool json)
{
	static const struct {
		const char *key;
		unsigned int p;
	} columns[] = { { "min_ns", 0 }, { "p50_ns", 50 }, { "p90_ns", 90 }, { "p99_ns", 99 }, { "max_ns", 100 } };
	uint64_t sum = 0;

	for (size_t i = 0; i < x->n; i++)
		sum += x->ns[i];
	if (!json)
		immure_buf_printf(out, "%-22s", x->name);
	else
		immure_jsonw_object(w, x->name);
	for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
		uint64_t v = percentile(x, columns[i].p);

		if (json)
			immure_jsonw_uint(w, columns[i].key, v);
		else
			immure_buf_printf(out, " %10.1f", (double)v / 1000);
	}
	if (json) {
		immure_jsonw_uint(w, "per_second", sum ? x->n * 1000000000U / sum : 0);
		immure_jsonw_end(w, '}');
	} else {
		immure_buf_printf(out, " %10llu\n", (unsigned long long)(sum ? x->n * 1000000000U / sum : 0));
	}
}

static int print(struct bench *b, const char *target)
{
	struct immure_buf out = IMMURE_BUF_INIT;
	struct immure_jsonw w;
	char *text;
	int status;

	immure_jsonw_init(&w, &out, 0);
	if (b->f->json) {
		immure_jsonw_object(&w, NULL);
		immure_jsonw_str(&w, "target", target);
		immure_jsonw_uint(&w, "count", b->count);
		immure_jsonw_str(&w, "policy", immure_policy_version(b->policy));
		immure_jsonw_object(&w, "figures");
	} else {
		immure_buf_printf(&out, "%-22s %10s %10s %10s %10s %10s %10s\n", target, "least", "p50",
				  "p90", "p99", "most us", "per s");
	}
	for (size_t i = 0; i < b->figures_n; i++) {
		qsort(b->figures[i].ns, b->figures[i].n, sizeof(uint64_t), by_size);
		print_one(&w, &out, &b->figures[i], b->f->json);
	}
	if (b->f->json) {
		immure_jsonw_end(&w, '}');
		immure_jsonw_end(&w, '}');
		immure_buf_putc(&out, '\n');
	}
	text = immure_buf_take(&out);
	status = text ? immure_cli_print(text) : IMMURE_EXIT_FAILED;
	free(text);
	return status;
}

static int32_t measure(struct bench *b, const char *target, struct immure_error **err)
{
	int32_t r = immure_runflags_policy(b->f, &b->policy, err);

	if (r == 0)
		r = make_plan(b, &b->plan, err);
	if (r == 0)
		r = immure_plan_check(b->plan, err);
	if (r == 0)
		r = run_once(b, b->plan, IMMURE_RUN_PROVE, err);
	if (r < 0)
		return r;
	if (strcmp(target, "cold-start") == 0)
		return cold_start(b, err);
	return strcmp(target, "hot-acquire") == 0 ? hot_acquire(b, err) : warm_throughput(b, err);
}

int immure_cli_bench(int argc, char **argv)
{
	static const char *const nothing[] = { "/bin/true", NULL };
	struct immure_runflags f;
	struct immure_error *err = NULL;
	struct bench b = { .f = &f };
	bool memory = true;
	const char *target;
	int status = immure_runflags_parse("bench", argc, argv, &f);
	int32_t r = 0;

	if (status != IMMURE_CLI_GO_ON)
		return status;
	b.argv = f.first < argc ? (const char *const *)argv + f.first : nothing;
	b.count = f.session.count ? f.session.count : COUNT;
	target = f.session.target ? f.session.target : "cold-start";
	for (size_t i = 0; i < FIGURES; i++) {
		b.figures[i].ns = calloc(b.count, sizeof(uint64_t));
		memory = memory && b.figures[i].ns;
	}
	if (!memory || !immure_cli_own_program("immure", b.program))
		r = immure_fail(&err, IMMURE_ERR_NOT_FOUND, 0, "bench", "", "bench: %s",
				memory ? "the program immure is not found" : "out of memory");
	if (r == 0)
		r = measure(&b, target, &err);
	status = r < 0 ? immure_cli_fail(err) : print(&b, target);
	for (size_t i = 0; i < FIGURES; i++)
		free(b.figures[i].ns);
	immure_plan_free(b.plan);
	immure_policy_free(b.policy);
	immure_runflags_done(&f);
	return status;
}
