/* SPDX-License-Identifier: Apache-2.0 */
/* What was denied: once for each thing, with a count, and who asked. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "session/gatekeep.h"
#include "session/whose.h"

/* So many lines are told; the record has the rest. */
enum { TOLD_MAX = 10, SHOWN_MAX = 16, WHOSE_MS = 100, WHOSE_ALL_MS = 2000 };

static const char *step_name(uint32_t step)
{
	static const char *const names[IMMURE_WIRE_STEPS] = {
		[IMMURE_WIRE_LOOKUP] = "lookup",   [IMMURE_WIRE_CONNECT] = "connect",
		[IMMURE_WIRE_DIAL] = "dial",	   [IMMURE_WIRE_CONTENT] = "content",
		[IMMURE_WIRE_CUT] = "cut",	   [IMMURE_WIRE_LIMIT] = "limit",
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

static uint64_t now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail */
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* The command can make this slow, and meanwhile nothing else is done: so much time
 * it gets, once and altogether, and then nobody is looked for any more. */
static void look_for(struct immure_gatekeeper *g, const struct immure_wire_denied *d,
		     struct immure_whose *ret)
{
	const struct immure_whose_ends ends = { .source = d->source, .meant = d->meant };
	uint64_t start = now_ms();

	int tid = immure_broker_asker(&g->broker, &d->meant);

	*ret = (struct immure_whose){ 0 };
	if (tid) { /* it waits for the verdict */
		immure_whose_thread(tid, ret);
		return;
	}
	if (g->whose_ms >= WHOSE_ALL_MS)
		return;
	/* A question came over UDP, mostly; where it was TCP, nobody is found. */
	immure_whose_socket(g->init_pid, g->netns_fd, &ends, d->port == 0, WHOSE_MS, ret);
	g->whose_ms += (uint32_t)(now_ms() - start);
}

void immure_gate_denied(struct immure_gatekeeper *g, const struct immure_wire_denied *d)
{
	struct immure_denial *k = find(g, d);
	struct immure_whose who;
	struct immure_denial v = { .port = d->port, .count = 1, .step = step_name(d->step) };

	if (k) {
		k->count++;
		return;
	}
	if (g->denials_n == IMMURE_GATE_DENIALS) {
		g->denials_more++;
		return;
	}
	look_for(g, d, &who);
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
}

static const char *base(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static void tell(const struct immure_denial *d, struct immure_result *result)
{
	char place[300], who[320] = "", hint[700] = "";

	(void)snprintf(place, sizeof(place), d->port ? "%s:%u" : "%s", d->host, d->port);
	if (d->exe[0])
		(void)snprintf(who, sizeof(who), " (%s)", base(d->exe));
	if (d->add[0])
		(void)snprintf(hint, sizeof(hint), "; allow it with --allow %s", d->add);
	/* Most reasons begin with what they are about. */
	if (strncmp(d->why, d->host, strlen(d->host)) == 0)
		immure_result_notice(result, "denied: %s%s%s", d->why, who, hint);
	else
		immure_result_notice(result, "denied: %s: %s%s%s", place, d->why, who, hint);
}

void immure_gate_show_denials(const struct immure_gatekeeper *g, struct immure_jsonw *w)
{
	for (size_t i = g->denials_n > SHOWN_MAX ? g->denials_n - SHOWN_MAX : 0; i < g->denials_n; i++)
		immure_result_denial_json(&g->denials[i], w);
}

void immure_gate_report(struct immure_gatekeeper *g, struct immure_result *result)
{
	struct immure_network *n = &result->network;

	n->there = true;
	n->connections = g->total.connections_all;
	n->bytes_out = g->total.bytes_out;
	n->bytes_in = g->total.bytes_in;
	n->lookups = g->total.lookups;
	n->restarts = g->deaths;
	n->denied_more = g->denials_more + g->total.lost;
	for (size_t i = 0; i < g->denials_n; i++) {
		if (!immure_result_add_denial(result, &g->denials[i]))
			n->denied_more++;
		if (i < TOLD_MAX)
			tell(&g->denials[i], result);
	}
	if (g->denials_n > TOLD_MAX)
		immure_result_notice(result, "denied: %zu more; the record has them (--result)",
				     g->denials_n - TOLD_MAX);
}
