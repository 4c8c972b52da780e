/* SPDX-License-Identifier: Apache-2.0 */
/* What was denied, and what was allowed and failed: once for each thing, with a count,
 * and who asked. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/jsonw.h"
#include "session/gatekeep.h"
#include "session/whose.h"

/* Of the time for looking a twentieth
 * of what passes comes back. */
enum { SHOWN_MAX = 16, PAGE = 8, WHOSE_MS = 100, WHOSE_ALL_MS = 2000, WHOSE_BACK = 20 };

static const char *code_name(uint32_t code)
{
	static const char *const names[IMMURE_CODES] = {
		[IMMURE_CODE_NONE] = "",
		[IMMURE_CODE_HTTP_DENIED_ACL] = "http_denied_acl",
		[IMMURE_CODE_HTTP_INVALID_URL] = "http_invalid_url",
		[IMMURE_CODE_HTTP_BODY_TOO_LARGE] = "http_body_too_large",
		[IMMURE_CODE_HTTP_TLS_FAIL] = "http_tls_fail",
	};

	return code < IMMURE_CODES ? names[code] : "";
}

static const char *step_name(uint32_t step)
{
	static const char *const names[IMMURE_WIRE_STEPS] = {
		[IMMURE_WIRE_LOOKUP] = "lookup",   [IMMURE_WIRE_CONNECT] = "connect",
		[IMMURE_WIRE_DIAL] = "dial",	   [IMMURE_WIRE_CONTENT] = "content",
		[IMMURE_WIRE_CUT] = "cut",	   [IMMURE_WIRE_LIMIT] = "limit",
		[IMMURE_WIRE_DATAGRAM] = "datagram", [IMMURE_WIRE_UNRESOLVED] = "resolve",
		[IMMURE_WIRE_UNREACHED] = "reach",
	};

	return step < IMMURE_WIRE_STEPS ? names[step] : "?";
}

static struct immure_denial *find(struct immure_gatekeeper *g, const struct immure_wire_denied *d)
{
	for (size_t i = 0; i < g->denials_n; i++) {
		struct immure_denial *k = &g->denials[i];

		if (k->port == d->port && strcmp(k->host, d->host) == 0 &&
		    strcmp(k->step, step_name(d->step)) == 0 && strcmp(k->why, d->why) == 0)
			return k;
	}
	return NULL;
}

/* "\"RULE\" in network.allow" is how the judge says what would help. */
static const char *rule_to_add(struct immure_arena *a, const char *add)
{
	const char *end = add[0] == '"' ? strchr(add + 1, '"') : NULL;

	if (!end || strcmp(end + 1, " in network.allow") != 0)
		return "";
	return immure_arena_strndup(a, add + 1, (size_t)(end - add - 1));
}

static uint64_t ms_of(clockid_t clock)
{
	struct timespec ts;

	(void)clock_gettime(clock, &ts); /* cannot fail */
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* The command can make this slow, and meanwhile nothing else is done: so much time it
 * gets, once and altogether, and then nobody is looked for until some has come back. */
static void look_for(struct immure_gatekeeper *g, const struct immure_wire_denied *d,
		     struct immure_whose *ret)
{
	const struct immure_whose_ends ends = { .source = d->source, .meant = d->meant };
	uint64_t now = ms_of(CLOCK_MONOTONIC), start = ms_of(CLOCK_PROCESS_CPUTIME_ID);
	uint64_t back = g->whose_at_ms ? (now - g->whose_at_ms) / WHOSE_BACK : 0;
	int tid = immure_broker_asker(&g->broker, &d->meant);

	*ret = (struct immure_whose){ 0 };
	if (tid) { /* it waits for the verdict */
		immure_whose_thread(tid, ret);
		return;
	}
	if (back) {
		g->whose_ms -= back < g->whose_ms ? (uint32_t)back : g->whose_ms;
		g->whose_at_ms = now;
	}
	if (g->whose_ms >= WHOSE_ALL_MS)
		return;
	immure_whose_socket(g->init_pid, g->netns_fd, &ends,
			    (d->port == 0 && d->proxy != IMMURE_WIRE_ASKED_TCP) ||
				    d->step == IMMURE_WIRE_DATAGRAM, WHOSE_MS, ret);
	g->whose_at_ms = g->whose_at_ms ? g->whose_at_ms : now;
	g->whose_ms += (uint32_t)(ms_of(CLOCK_PROCESS_CPUTIME_ID) - start);
}

static void tell(struct immure_gatekeeper *g, size_t i)
{
	struct immure_buf line = IMMURE_BUF_INIT;

	if (!g->tell)
		return;
	immure_result_denial_text(&g->denials[i], &line);
	if (immure_buf_ok(&line))
		g->told[i] = g->tell(g->tell_ctx, i + 1, &g->denials[i], line.data) || g->told[i];
	immure_buf_done(&line);
}

const struct immure_needle *immure_gatekeeper_needles(const struct immure_gatekeeper *g, size_t *ret_n)
{
	*ret_n = g ? g->tls.needles_n : 0;
	return *ret_n ? g->tls.needles : NULL;
}

static void never(void *ctx, size_t back, size_t len)
{
	(void)ctx;
	(void)back;
	(void)len;
}

/* A text by itself. */
static void redact(const struct immure_gatekeeper *g, char *text)
{
	struct immure_redactor r = { 0 };

	(void)immure_redactor_feed(&r, g->tls.needles, g->tls.needles_n, text, strlen(text), never, NULL); /* stars then */
	immure_redactor_done(&r);
}

static void keep_denied(struct immure_gatekeeper *g, const struct immure_wire_denied *d);

/* What a request asked for is in there, and that may be what nobody is to read. */
void immure_gate_denied(struct immure_gatekeeper *g, const struct immure_wire_denied *d)
{
	struct immure_wire_denied clean = *d;

	if (g->tls.needles_n) {
		redact(g, clean.host);
		redact(g, clean.why);
		redact(g, clean.add);
	}
	keep_denied(g, &clean);
}

static void keep_denied(struct immure_gatekeeper *g, const struct immure_wire_denied *d)
{
	struct immure_denial *k = find(g, d);
	struct immure_whose who;
	struct immure_denial v = { .port = d->port, .count = 1, .step = step_name(d->step), .code = code_name(d->code),
				   .failed = immure_wire_is_failure(d->step) };

	if (k) {
		k->count++;
		return;
	}
	if (g->denials_n == IMMURE_GATE_DENIALS) {
		g->denials_more++;
		return;
	}
	look_for(g, d, &who);
	v.at_ms = ms_of(CLOCK_REALTIME);
	v.pid = (uint32_t)who.pid;
	v.exe = immure_arena_strdup(&g->arena, who.exe);
	v.host = immure_arena_strdup(&g->arena, d->host);
	v.rule = immure_arena_strdup(&g->arena, d->rule);
	v.why = immure_arena_strdup(&g->arena, d->why);
	v.add = rule_to_add(&g->arena, d->add);
	if (g->arena.failed || !v.add) {
		g->denials_more++;
		return;
	}
	g->denials[g->denials_n++] = v;
	tell(g, g->denials_n - 1);
}

void immure_gatekeeper_forget(struct immure_gatekeeper *g)
{
	struct immure_wire_stats now;

	/* What is on its way is heard before the answer. */
	if (!g || !immure_gatekeeper_stats(g, &now))
		return;
	g->denials_n = 0;
	g->denials_more = 0;
	g->forgotten = now.lost;
	memset(g->told, 0, sizeof(g->told));
}

void immure_gatekeeper_tell(struct immure_gatekeeper *g, immure_gate_tell *fn, void *ctx)
{
	if (!g)
		return;
	g->tell = fn;
	g->tell_ctx = ctx;
}

static void show_denials(const struct immure_gatekeeper *g, size_t from, struct immure_jsonw *w)
{
	size_t at = from ? from - 1 : g->denials_n > SHOWN_MAX ? g->denials_n - SHOWN_MAX : 0;
	size_t end = at + (from ? PAGE : SHOWN_MAX);
	uint64_t failed = 0;

	if (end > g->denials_n)
		end = g->denials_n;
	for (size_t i = 0; i < g->denials_n; i++)
		failed += g->denials[i].failed;
	immure_jsonw_uint(w, "denials", g->denials_n - failed);
	immure_jsonw_uint(w, "failures", failed);
	immure_jsonw_uint(w, "untold", g->denials_more);
	immure_jsonw_array(w, "denied");
	for (size_t i = at; i < end; i++)
		immure_result_denial_json(NULL, &g->denials[i], w);
	immure_jsonw_end(w, ']');
	if (!from)
		return;
	immure_jsonw_array(w, "lines");
	for (size_t i = at; i < end; i++) {
		struct immure_buf line = IMMURE_BUF_INIT;

		immure_result_denial_text(&g->denials[i], &line);
		immure_jsonw_str(w, NULL, immure_buf_ok(&line) ? line.data : "");
		immure_buf_done(&line);
	}
	immure_jsonw_end(w, ']');
}

static void show_rules(const struct immure_strv *l, const char *name, struct immure_jsonw *w)
{
	immure_jsonw_array(w, name);
	for (size_t i = 0; i < l->n; i++)
		immure_jsonw_str(w, NULL, l->v[i]);
	immure_jsonw_end(w, ']');
}

char *immure_gatekeeper_show(struct immure_gatekeeper *g, size_t from)
{
	static const char *const states[] = { "idle", "running", "closed" };
	struct immure_buf out = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	if (!g)
		return NULL;
	immure_jsonw_init(&w, &out, 0);
	immure_jsonw_object(&w, NULL);
	immure_jsonw_str(&w, "state", states[g->state]);
	immure_jsonw_str(&w, "way", g->way[0] ? g->way : NULL);
	show_rules(&g->config.allow, "allow", &w);
	show_rules(&g->config.deny, "deny", &w);
	show_denials(g, from, &w);
	immure_jsonw_end(&w, '}');
	return immure_buf_take(&out);
}

char *immure_gatekeeper_rules(const struct immure_gatekeeper *g)
{
	struct immure_buf out = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	if (!g)
		return NULL;
	immure_jsonw_init(&w, &out, 0);
	immure_jsonw_object(&w, NULL);
	show_rules(&g->config.allow, "allow", &w);
	show_rules(&g->config.deny, "deny", &w);
	immure_jsonw_end(&w, '}');
	return immure_buf_take(&out);
}

void immure_gate_report(struct immure_gatekeeper *g, struct immure_result *result)
{
	struct immure_network *n = &result->network;
	uint64_t lines = 0, more;

	n->there = true;
	n->way = immure_arena_strdup(&result->arena, g->way);
	n->connections = g->total.connections_all;
	n->bytes_out = g->total.bytes_out;
	n->bytes_in = g->total.bytes_in;
	n->lookups = g->total.lookups;
	n->restarts = g->deaths;
	n->denied_more = g->denials_more + g->total.lost - g->forgotten;
	for (size_t i = 0; i < g->denials_n; i++)
		lines += g->told[i];
	more = n->denied_more;
	for (size_t i = 0; i < g->denials_n; i++) {
		struct immure_buf line = IMMURE_BUF_INIT;

		if (!immure_result_add_denial(result, &g->denials[i]))
			n->denied_more++;
		if (g->told[i])
			continue;
		if (lines++ >= IMMURE_GATE_LINES) {
			more++;
			continue;
		}
		immure_result_denial_text(&g->denials[i], &line);
		if (immure_buf_ok(&line))
			immure_result_notice(result, "%s", line.data);
		immure_buf_done(&line);
	}
	if (more)
		immure_result_notice(result, "denied: %" PRIu64 " more; the record has them (--result)",
				     more);
}
