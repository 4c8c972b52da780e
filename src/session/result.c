/* SPDX-License-Identifier: Apache-2.0 */
#include "session/result.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jsonw.h"

static const char *const outcome_names[] = {
	[IMMURE_OUTCOME_EXITED] = "exited",
	[IMMURE_OUTCOME_SIGNALED] = "signaled",
	[IMMURE_OUTCOME_REFUSED] = "refused",
};

static const char *const verdict_names[] = {
	[IMMURE_VERDICT_NONE] = "none",
	[IMMURE_VERDICT_TIMEOUT] = "timeout",
	[IMMURE_VERDICT_CPU_TIME] = "cpu_time",
	[IMMURE_VERDICT_OOM] = "oom",
	[IMMURE_VERDICT_PROCESS_LIMIT] = "process_limit",
	[IMMURE_VERDICT_OUTPUT_CAP] = "output_cap",
	[IMMURE_VERDICT_INTERRUPTED] = "interrupted",
};

/* In the order in which they pass; the numbers are places in trace_ns. */
static const struct {
	int at;
	const char *name;
} trace_names[] = {
	{ IMMURE_TRACE_PREPARED, "prepare" }, { IMMURE_TRACE_CLONED, "clone" },
	{ 3, "start of init" },		      { 4, "cgroup" },
	{ 5, "ids" },			      { 6, "mounts" },
	{ 7, "pivot" },			      { 8, "network" },
	{ 9, "descriptors" },		      { 10, "rlimits" },
	{ 11, "privileges" },		      { 12, "landlock" },
	{ 13, "seccomp" },		      { IMMURE_TRACE_EXITED, "command" },
	{ IMMURE_TRACE_REAPED, "teardown" },  { IMMURE_TRACE_DONE, "aftercare" },
};

struct immure_result *immure_result_new(void)
{
	struct immure_result *r = calloc(1, sizeof(*r));

	if (r) {
		r->backend = r->profile = r->policy_version = r->plan_hash = r->agent = "";
		r->notices = r->peak_memory_of = r->kept = "";
	}
	return r;
}

void immure_result_free(immure_result *r)
{
	if (!r)
		return;
	immure_arena_done(&r->arena);
	free(r);
}

void immure_result_notice(struct immure_result *r, const char *fmt, ...)
{
	struct immure_buf raw = IMMURE_BUF_INIT, line = IMMURE_BUF_INIT;
	const char *all;
	va_list ap;

	va_start(ap, fmt);
	immure_buf_vprintf(&raw, fmt, ap);
	va_end(ap);
	immure_buf_put_printable(&line, raw.data ? raw.data : "", raw.len);
	all = immure_arena_printf(&r->arena, "%s%s%s", r->notices, r->notices[0] ? "\n" : "",
				  line.data ? line.data : "");
	if (all)
		r->notices = all;
	immure_buf_done(&raw);
	immure_buf_done(&line);
}

bool immure_result_add_found(struct immure_result *r, const char *path, const char *why,
			     const char *action, const char *to)
{
	struct immure_found *f;

	if (r->found_n == IMMURE_FOUND_MAX)
		return true;
	if (r->found_n == r->found_cap) {
		size_t cap = r->found_cap ? r->found_cap * 2 : 8;
		struct immure_found *v = immure_arena_alloc(&r->arena, cap * sizeof(*v));

		if (!v)
			return false;
		if (r->found_n)
			memcpy(v, r->found, r->found_n * sizeof(*v));
		r->found = v;
		r->found_cap = cap;
	}
	f = &r->found[r->found_n];
	f->path = immure_arena_strdup(&r->arena, path);
	f->why = immure_arena_strdup(&r->arena, why);
	f->action = immure_arena_strdup(&r->arena, action);
	f->to = immure_arena_strdup(&r->arena, to ? to : "");
	if (r->arena.failed)
		return false;
	r->found_n++;
	return true;
}

bool immure_result_add_denial(struct immure_result *r, const struct immure_denial *d)
{
	struct immure_network *n = &r->network;
	struct immure_denial *to;

	if (n->denied_n == IMMURE_DENIED_MAX)
		return false;
	if (n->denied_n == n->denied_cap) {
		size_t cap = n->denied_cap ? n->denied_cap * 2 : 8;
		struct immure_denial *v = immure_arena_alloc(&r->arena, cap * sizeof(*v));

		if (!v)
			return false;
		if (n->denied_n)
			memcpy(v, n->denied, n->denied_n * sizeof(*v));
		n->denied = v;
		n->denied_cap = cap;
	}
	to = &n->denied[n->denied_n];
	*to = *d;
	to->step = immure_arena_strdup(&r->arena, d->step);
	to->code = immure_arena_strdup(&r->arena, d->code);
	to->host = immure_arena_strdup(&r->arena, d->host);
	to->why = immure_arena_strdup(&r->arena, d->why);
	to->rule = immure_arena_strdup(&r->arena, d->rule);
	to->add = immure_arena_strdup(&r->arena, d->add);
	to->exe = immure_arena_strdup(&r->arena, d->exe);
	if (r->arena.failed)
		return false;
	n->denied_n++;
	return true;
}

/* ---- public ---- */

int32_t immure_result_outcome(const immure_result *r)
{
	return r->outcome;
}

int32_t immure_result_code(const immure_result *r)
{
	return r->code;
}

int32_t immure_result_verdict(const immure_result *r)
{
	return r->verdict;
}

int32_t immure_result_exit_status(const immure_result *r)
{
	if (r->verdict == IMMURE_VERDICT_TIMEOUT)
		return 124;
	if (r->outcome == IMMURE_OUTCOME_EXITED)
		return r->code & 0xff;
	return r->outcome == IMMURE_OUTCOME_SIGNALED ? 128 + r->code : 125;
}

const char *immure_result_notices(const immure_result *r)
{
	return r->notices;
}

void immure_result_proof_counts(const immure_result *r, uint64_t *ret_points, uint64_t *ret_short)
{
	*ret_points = r->proof_points;
	*ret_short = r->proof_short;
}

int32_t immure_result_proof(const immure_result *r, int32_t json, char **ret, immure_error **err)
{
	const char *text = json ? r->proof_json : r->proof_text;
	char *copy;

	if (!text)
		return immure_fail(err, IMMURE_ERR_STATE, 0, "proof", "",
				   "this run was not asked for a proof");
	copy = strdup(text);
	if (!copy)
		return immure_fail(err, IMMURE_ERR_NOMEM, 0, "proof", "", "out of memory");
	*ret = copy;
	return 0;
}

int32_t immure_result_print(const immure_result *r, int32_t json, char **ret, immure_error **err)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	char *text;

	if (json)
		immure_result_json(r, &b);
	else
		immure_result_text(r, &b);
	text = immure_buf_take(&b);
	if (!text)
		return immure_fail(err, IMMURE_ERR_NOMEM, 0, "result", "", "out of memory");
	*ret = text;
	return 0;
}

/* ---- printing ---- */

static void json_usage(const struct immure_result *r, struct immure_jsonw *w)
{
	immure_jsonw_object(w, "usage");
	immure_jsonw_uint(w, "wall_ms", r->wall_ms);
	immure_jsonw_uint(w, "cpu_user_us", r->cpu_user_us);
	immure_jsonw_uint(w, "cpu_system_us", r->cpu_system_us);
	immure_jsonw_uint(w, "peak_memory_bytes", r->peak_memory);
	immure_jsonw_str(w, "peak_memory_of", r->peak_memory_of);
	if (r->processes)
		immure_jsonw_uint(w, "processes", r->processes);
	else
		immure_jsonw_null(w, "processes");
	immure_jsonw_uint(w, "io_read_bytes", r->io_read);
	immure_jsonw_uint(w, "io_write_bytes", r->io_written);
	if (r->bytes_out_known)
		immure_jsonw_uint(w, "bytes_out", r->bytes_out);
	else
		immure_jsonw_null(w, "bytes_out");
	immure_jsonw_end(w, '}');
}

static void json_denials(const struct immure_network *n, const char *name, bool failed,
			 struct immure_jsonw *w)
{
	immure_jsonw_array(w, name);
	for (size_t i = 0; i < n->denied_n; i++)
		if (n->denied[i].failed == failed)
			immure_result_denial_json(NULL, &n->denied[i], w);
	immure_jsonw_end(w, ']');
}

static void json_network(const struct immure_result *r, struct immure_jsonw *w)
{
	const struct immure_network *n = &r->network;

	if (!n->there) {
		immure_jsonw_null(w, "network");
		return;
	}
	immure_jsonw_object(w, "network");
	immure_jsonw_str(w, "way", n->way && n->way[0] ? n->way : NULL);
	immure_jsonw_uint(w, "connections", n->connections);
	immure_jsonw_uint(w, "bytes_out", n->bytes_out);
	immure_jsonw_uint(w, "bytes_in", n->bytes_in);
	immure_jsonw_uint(w, "lookups", n->lookups);
	immure_jsonw_uint(w, "gatekeeper_restarts", n->restarts);
	json_denials(n, "denied", false, w);
	immure_jsonw_uint(w, "denied_more", n->denied_more);
	json_denials(n, "failed", true, w);
	immure_jsonw_end(w, '}');
}

static void json_trace(const struct immure_result *r, struct immure_jsonw *w)
{
	uint64_t last = r->trace_ns[IMMURE_TRACE_START];

	if (!last)
		return;
	immure_jsonw_array(w, "trace");
	for (size_t i = 0; i < sizeof(trace_names) / sizeof(trace_names[0]); i++) {
		uint64_t at = r->trace_ns[trace_names[i].at];

		if (!at)
			continue;
		immure_jsonw_object(w, NULL);
		immure_jsonw_str(w, "step", trace_names[i].name);
		/* Two processes, two CPUs: what ended before its predecessor took
		 * no time of its own. */
		immure_jsonw_uint(w, "us", at > last ? (at - last) / 1000 : 0);
		immure_jsonw_end(w, '}');
		last = at > last ? at : last;
	}
	immure_jsonw_end(w, ']');
}

void immure_result_json(const struct immure_result *r, struct immure_buf *out)
{
	struct immure_jsonw w;

	immure_jsonw_init(&w, out, 2);
	immure_jsonw_object(&w, NULL);
	immure_jsonw_str(&w, "outcome", outcome_names[r->outcome]);
	immure_jsonw_int(&w, r->outcome == IMMURE_OUTCOME_SIGNALED ? "signal" : "exit_code", r->code);
	immure_jsonw_int(&w, "exit_status", immure_result_exit_status(r));
	immure_jsonw_str(&w, "verdict", verdict_names[r->verdict]);
	json_usage(r, &w);
	immure_jsonw_str(&w, "backend", r->backend);
	immure_jsonw_str(&w, "profile", r->profile);
	immure_jsonw_str(&w, "policy_version", r->policy_version);
	immure_jsonw_str(&w, "plan_hash", r->plan_hash);
	immure_jsonw_str(&w, "agent", r->agent[0] ? r->agent : NULL);
	if (r->kept[0])
		immure_jsonw_str(&w, "workspace_kept", r->kept);
	immure_jsonw_array(&w, "found");
	for (size_t i = 0; i < r->found_n; i++) {
		immure_jsonw_object(&w, NULL);
		immure_jsonw_str(&w, "path", r->found[i].path);
		immure_jsonw_str(&w, "why", r->found[i].why);
		immure_jsonw_str(&w, "action", r->found[i].action);
		if (r->found[i].to[0])
			immure_jsonw_str(&w, "to", r->found[i].to);
		immure_jsonw_end(&w, '}');
	}
	immure_jsonw_end(&w, ']');
	json_network(r, &w);
	json_trace(r, &w);
	if (r->proof_json)
		immure_jsonw_raw(&w, "proof", r->proof_json);
	else
		immure_jsonw_null(&w, "proof");
	immure_jsonw_end(&w, '}');
}

void immure_result_text(const struct immure_result *r, struct immure_buf *out)
{
	uint64_t last = r->trace_ns[IMMURE_TRACE_START], first = last;

	immure_buf_printf(out, "%s %d", outcome_names[r->outcome], r->code);
	if (r->verdict)
		immure_buf_printf(out, " (%s)", verdict_names[r->verdict]);
	immure_buf_printf(out, ", %llu ms, cpu %llu ms, peak %llu KiB (%s)\n",
			  (unsigned long long)r->wall_ms,
			  (unsigned long long)((r->cpu_user_us + r->cpu_system_us) / 1000),
			  (unsigned long long)(r->peak_memory / 1024), r->peak_memory_of);
	if (!last)
		return;
	for (size_t i = 0; i < sizeof(trace_names) / sizeof(trace_names[0]); i++) {
		uint64_t at = r->trace_ns[trace_names[i].at];

		if (!at)
			continue;
		immure_buf_printf(out, "%8llu us  %s\n",
				  (unsigned long long)(at > last ? (at - last) / 1000 : 0),
				  trace_names[i].name);
		last = at > last ? at : last;
	}
	immure_buf_printf(out, "%8llu us  in all\n", (unsigned long long)((last - first) / 1000));
}

/* ---- carried to another process of ours ---- */

static const uint32_t codec_magic = 0x31524d49; /* "IMR1" */

static void put_text(struct immure_buf *out, const char *s)
{
	size_t n = s ? strlen(s) : 0;

	immure_buf_put_u32(out, s ? (uint32_t)n + 1 : 0);
	immure_buf_put(out, s ? s : "", n);
}

static void put_network(const struct immure_network *n, struct immure_buf *out)
{
	const uint64_t numbers[] = { n->there, n->connections, n->bytes_out, n->bytes_in, n->lookups,
				     n->restarts, n->denied_more, n->denied_n };

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		immure_buf_put_u64(out, numbers[i]);
	put_text(out, n->way ? n->way : "");
	for (size_t i = 0; i < n->denied_n; i++) {
		const struct immure_denial *d = &n->denied[i];

		immure_buf_put_u32(out, d->port);
		immure_buf_put_u32(out, d->pid);
		immure_buf_put_u64(out, d->count);
		immure_buf_put_u64(out, d->at_ms);
		immure_buf_put_u32(out, d->failed);
		put_text(out, d->step);
		put_text(out, d->code);
		put_text(out, d->host);
		put_text(out, d->why);
		put_text(out, d->rule);
		put_text(out, d->add);
		put_text(out, d->exe);
	}
}

int32_t immure_result_encode(const struct immure_result *r, struct immure_buf *out)
{
	immure_buf_put_u32(out, codec_magic);
	immure_buf_put_u32(out, (uint32_t)r->outcome);
	immure_buf_put_u32(out, (uint32_t)r->code);
	immure_buf_put_u32(out, (uint32_t)r->verdict);
	immure_buf_put_u64(out, r->wall_ms);
	immure_buf_put_u64(out, r->cpu_user_us);
	immure_buf_put_u64(out, r->cpu_system_us);
	immure_buf_put_u64(out, r->peak_memory);
	immure_buf_put_u64(out, r->processes);
	immure_buf_put_u64(out, r->io_read);
	immure_buf_put_u64(out, r->io_written);
	immure_buf_put_u64(out, r->bytes_out);
	immure_buf_put_u64(out, r->bytes_out_known);
	immure_buf_put_u64(out, r->proof_points);
	immure_buf_put_u64(out, r->proof_short);
	for (size_t i = 0; i < sizeof(r->trace_ns) / sizeof(r->trace_ns[0]); i++)
		immure_buf_put_u64(out, r->trace_ns[i]);
	put_text(out, r->peak_memory_of);
	put_text(out, r->backend);
	put_text(out, r->profile);
	put_text(out, r->policy_version);
	put_text(out, r->plan_hash);
	put_text(out, r->agent);
	put_text(out, r->kept);
	put_text(out, r->notices);
	put_text(out, r->proof_json);
	put_text(out, r->proof_text);
	immure_buf_put_u32(out, (uint32_t)r->found_n);
	for (size_t i = 0; i < r->found_n; i++) {
		put_text(out, r->found[i].path);
		put_text(out, r->found[i].why);
		put_text(out, r->found[i].action);
		put_text(out, r->found[i].to);
	}
	put_network(&r->network, out);
	return immure_buf_ok(out) ? 0 : -IMMURE_ERR_NOMEM;
}

struct reader {
	const unsigned char *p;
	size_t left;
	bool bad;
};

static uint64_t get(struct reader *in, int bytes)
{
	uint64_t v = 0;

	if (in->left < (size_t)bytes) {
		in->bad = true;
		return 0;
	}
	for (int i = 0; i < bytes; i++)
		v |= (uint64_t)in->p[i] << (8 * i);
	in->p += bytes;
	in->left -= (size_t)bytes;
	return v;
}

static const char *get_text(struct reader *in, struct immure_arena *a)
{
	uint64_t n = get(in, 4);
	const char *s;

	if (n == 0)
		return NULL;
	n--;
	if (n > in->left) {
		in->bad = true;
		return NULL;
	}
	s = immure_arena_strndup(a, (const char *)in->p, n);
	in->p += n;
	in->left -= n;
	return s;
}

static const char *get_name(struct reader *in, struct immure_arena *a)
{
	const char *s = get_text(in, a);

	return s ? s : "";
}

static void get_network(struct reader *in, struct immure_result *r)
{
	struct immure_network *n = &r->network;
	uint64_t count;

	n->there = get(in, 8) != 0;
	n->connections = get(in, 8);
	n->bytes_out = get(in, 8);
	n->bytes_in = get(in, 8);
	n->lookups = get(in, 8);
	n->restarts = get(in, 8);
	n->denied_more = get(in, 8);
	count = get(in, 8);
	n->way = get_name(in, &r->arena);
	for (uint64_t i = 0; i < count && !in->bad; i++) {
		struct immure_denial d = { 0 };

		d.port = (uint32_t)get(in, 4);
		d.pid = (uint32_t)get(in, 4);
		d.count = get(in, 8);
		d.at_ms = get(in, 8);
		d.failed = get(in, 4) != 0;
		d.step = get_name(in, &r->arena);
		d.code = get_name(in, &r->arena);
		d.host = get_name(in, &r->arena);
		d.why = get_name(in, &r->arena);
		d.rule = get_name(in, &r->arena);
		d.add = get_name(in, &r->arena);
		d.exe = get_name(in, &r->arena);
		if (!immure_result_add_denial(r, &d))
			in->bad = true;
	}
}

int32_t immure_result_decode(const void *data, size_t len, struct immure_result **ret)
{
	struct reader in = { .p = data, .left = len };
	struct immure_result *r = immure_result_new();
	uint64_t n;

	if (!r)
		return -IMMURE_ERR_NOMEM;
	in.bad = get(&in, 4) != codec_magic;
	r->outcome = (int32_t)get(&in, 4);
	r->code = (int32_t)get(&in, 4);
	r->verdict = (int32_t)get(&in, 4);
	r->wall_ms = get(&in, 8);
	r->cpu_user_us = get(&in, 8);
	r->cpu_system_us = get(&in, 8);
	r->peak_memory = get(&in, 8);
	r->processes = get(&in, 8);
	r->io_read = get(&in, 8);
	r->io_written = get(&in, 8);
	r->bytes_out = get(&in, 8);
	r->bytes_out_known = get(&in, 8) != 0;
	r->proof_points = get(&in, 8);
	r->proof_short = get(&in, 8);
	for (size_t i = 0; i < sizeof(r->trace_ns) / sizeof(r->trace_ns[0]); i++)
		r->trace_ns[i] = get(&in, 8);
	r->peak_memory_of = get_name(&in, &r->arena);
	r->backend = get_name(&in, &r->arena);
	r->profile = get_name(&in, &r->arena);
	r->policy_version = get_name(&in, &r->arena);
	r->plan_hash = get_name(&in, &r->arena);
	r->agent = get_name(&in, &r->arena);
	r->kept = get_name(&in, &r->arena);
	r->notices = get_name(&in, &r->arena);
	r->proof_json = get_text(&in, &r->arena);
	r->proof_text = get_text(&in, &r->arena);
	n = get(&in, 4);
	for (uint64_t i = 0; i < n && !in.bad; i++) {
		const char *path = get_name(&in, &r->arena), *why = get_name(&in, &r->arena);
		const char *action = get_name(&in, &r->arena), *to = get_name(&in, &r->arena);

		if (!immure_result_add_found(r, path, why, action, to))
			in.bad = true;
	}
	get_network(&in, r);
	if (in.bad || in.left || r->arena.failed || r->outcome < IMMURE_OUTCOME_EXITED ||
	    r->outcome > IMMURE_OUTCOME_REFUSED || r->verdict < 0 ||
	    r->verdict > IMMURE_VERDICT_INTERRUPTED) {
		immure_result_free(r);
		return -IMMURE_ERR_IO;
	}
	*ret = r;
	return 0;
}
