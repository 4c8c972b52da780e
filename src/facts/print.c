/* SPDX-License-Identifier: Apache-2.0 */
/* Facts and reports for a reader and for a program. Plain text: colours are the
 * command line's affair. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/jsonw.h"
#include "facts/report.h"

/* What the four columns of a fact line say; quick facts say "untried". */
static const char *fact_word(enum immure_tri t)
{
	return t == IMMURE_YES ? "ok" : t == IMMURE_NO ? "missing" : "untried";
}

static const char *backend_word(enum immure_tri t)
{
	return t == IMMURE_YES ? "available" : t == IMMURE_NO ? "missing" : "untried";
}

static const char *cgroup_kind_name(enum immure_cgroup_kind k)
{
	return k == IMMURE_CGROUP_V2 ? "v2" : k == IMMURE_CGROUP_V1 ? "v1" : "none";
}

static void put(struct immure_buf *b, const char *s)
{
	immure_buf_put_printable(b, s ? s : "-", strlen(s ? s : "-"));
}

static void text_host(const struct immure_facts *f, struct immure_buf *b)
{
	immure_buf_printf(b, "immure %s on Linux %s (%s), as ", IMMURE_VERSION, f->kernel,
			  f->machine);
	put(b, f->user);
	immure_buf_printf(b, " (%u:%u)\n\nFacts\n", f->uid, f->gid);
	if (!f->full)
		immure_buf_printf(b, "  %-15s %-8s ABI %d\n", "landlock",
				  f->landlock_abi ? "ok" : "missing", f->landlock_abi);
	for (size_t i = 0; i < f->all_n; i++) {
		immure_buf_printf(b, "  %-15s %-8s ", f->all[i].name, fact_word(f->all[i].ok));
		put(b, f->all[i].detail);
		immure_buf_putc(b, '\n');
	}
}

static void text_programs(const struct immure_facts *f, struct immure_buf *b)
{
	size_t missing = 0;

	if (!f->programs_n)
		return;
	immure_buf_puts(b, "\nPrograms\n");
	for (size_t i = 0; i < f->programs_n; i++) {
		const struct immure_fact_program *p = &f->programs[i];

		if (!p->path) {
			missing++;
			continue;
		}
		immure_buf_printf(b, "  %-15s %-8s ", p->name, "ok");
		put(b, p->version ? p->version : p->path);
		immure_buf_putc(b, '\n');
	}
	if (!missing)
		return;
	immure_buf_puts(b, "  not installed  ");
	for (size_t i = 0; i < f->programs_n; i++)
		if (!f->programs[i].path)
			immure_buf_printf(b, " %s%s", f->programs[i].name, --missing ? "," : "\n");
}

static void text_backend(const struct immure_backend_report *r, struct immure_buf *b)
{
	immure_buf_printf(b, "  %-12s %-9s %-14s ", r->backend, backend_word(r->available),
			  r->isolation_class);
	put(b, r->why);
	immure_buf_putc(b, '\n');
	if (r->available == IMMURE_NO)
		return;
	for (int d = 0; d < IMMURE_DIM_MAX; d++) {
		const struct immure_dimension_report *x = &r->dims[d];

		immure_buf_printf(b, "    %-19s %-8s %-10s %s\n", immure_dimension_name(d),
				  immure_level_name(x->level), immure_evidence_name(x->evidence),
				  x->mechanism ? x->mechanism : "-");
	}
	immure_buf_puts(b, "    trust:");
	for (int t = 0; t < IMMURE_TRUST_MAX; t++)
		immure_buf_printf(b, "%s %s %s", t ? "," : "", immure_trust_fields[t].name,
				  immure_trust_fields[t].values[r->trust[t]]);
	immure_buf_puts(b, "\n    can require:");
	for (size_t c = 0, col = 16; c < immure_capability_names_n; c++) {
		const char *name = immure_capability_names[c];

		if (!name || !(r->capabilities & 1u << c))
			continue;
		if (col + 1 + strlen(name) > 92) {
			immure_buf_puts(b, "\n                ");
			col = 16;
		}
		immure_buf_printf(b, " %s", name);
		col += 1 + strlen(name);
	}
	immure_buf_putc(b, '\n');
}

/* A remedy already said for an earlier fact. */
static bool said_before(const struct immure_facts *f, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (strcmp(f->all[k].remedy, f->all[i].remedy) == 0)
			return true;
	return false;
}

static bool shares_remedy(const struct immure_facts *f, size_t i, size_t k)
{
	return strcmp(f->all[i].remedy, f->all[k].remedy) == 0;
}

static void text_remedies(const struct immure_facts *f, struct immure_buf *b)
{
	bool heading = false;

	for (size_t i = 0; i < f->all_n; i++) {
		if (!*f->all[i].remedy || said_before(f, i))
			continue;
		if (!heading)
			immure_buf_puts(b, "\nRemedies\n");
		heading = true;
		immure_buf_puts(b, "  ");
		for (size_t k = i; k < f->all_n; k++)
			if (shares_remedy(f, i, k))
				immure_buf_printf(b, "%s%s", k == i ? "" : ", ", f->all[k].name);
		immure_buf_puts(b, "\n      ");
		put(b, f->all[i].remedy);
		immure_buf_putc(b, '\n');
	}
}

char *immure_facts_text(const struct immure_facts *f)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_backend_report *r = NULL;
	struct immure_buf b = IMMURE_BUF_INIT;
	size_t n = immure_reports(f, &a, &r);

	if (n == 0)
		b.failed = true;
	text_host(f, &b);
	text_programs(f, &b);
	immure_buf_puts(&b, "\nBackends\n");
	for (size_t i = 0; i < n; i++)
		text_backend(&r[i], &b);
	text_remedies(f, &b);
	immure_arena_done(&a);
	return immure_buf_take(&b);
}

static void json_host(const struct immure_facts *f, struct immure_jsonw *w)
{
	immure_jsonw_object(w, "host");
	immure_jsonw_str(w, "kernel", f->kernel);
	immure_jsonw_str(w, "machine", f->machine);
	immure_jsonw_str(w, "boot_id", f->boot_id);
	immure_jsonw_str(w, "user", f->user);
	immure_jsonw_uint(w, "uid", f->uid);
	immure_jsonw_uint(w, "gid", f->gid);
	immure_jsonw_str(w, "home", f->home);
	immure_jsonw_str(w, "cwd", f->cwd);
	immure_jsonw_str(w, "runtime_dir", f->runtime_dir);
	immure_jsonw_str(w, "state_dir", f->state_dir);
	immure_jsonw_str(w, "config_dir", f->config_dir);
	immure_jsonw_int(w, "landlock_abi", f->landlock_abi);
	immure_jsonw_uint(w, "mounts", f->mounts_n);
	immure_jsonw_uint(w, "sockets", f->sockets.n);
	immure_jsonw_object(w, "cgroup");
	immure_jsonw_str(w, "kind", cgroup_kind_name(f->cgroup.kind));
	immure_jsonw_bool(w, "memory", f->cgroup.memory);
	immure_jsonw_bool(w, "pids", f->cgroup.pids);
	immure_jsonw_bool(w, "cpu", f->cgroup.cpu);
	immure_jsonw_str(w, "v2", f->cgroup.v2);
	immure_jsonw_str(w, "v1_memory", f->cgroup.v1_memory);
	immure_jsonw_str(w, "v1_pids", f->cgroup.v1_pids);
	immure_jsonw_str(w, "v1_cpu", f->cgroup.v1_cpu);
	immure_jsonw_end(w, '}');
	immure_jsonw_end(w, '}');
}

static void json_facts(const struct immure_facts *f, struct immure_jsonw *w)
{
	immure_jsonw_array(w, "facts");
	for (size_t i = 0; i < f->all_n; i++) {
		immure_jsonw_object(w, NULL);
		immure_jsonw_str(w, "name", f->all[i].name);
		immure_jsonw_str(w, "ok", immure_tri_name(f->all[i].ok));
		immure_jsonw_int(w, "errno", f->all[i].errnum);
		immure_jsonw_str(w, "detail", f->all[i].detail);
		immure_jsonw_str(w, "remedy", f->all[i].remedy);
		immure_jsonw_end(w, '}');
	}
	immure_jsonw_end(w, ']');
	immure_jsonw_array(w, "programs");
	for (size_t i = 0; i < f->programs_n; i++) {
		immure_jsonw_object(w, NULL);
		immure_jsonw_str(w, "name", f->programs[i].name);
		immure_jsonw_str(w, "path", f->programs[i].path);
		immure_jsonw_str(w, "version", f->programs[i].version);
		immure_jsonw_end(w, '}');
	}
	immure_jsonw_end(w, ']');
}

static void json_backend(const struct immure_backend_report *r, struct immure_jsonw *w)
{
	const char *reason;

	immure_jsonw_object(w, NULL);
	immure_jsonw_str(w, "backend", r->backend);
	immure_jsonw_str(w, "class", r->isolation_class);
	immure_jsonw_str(w, "available", immure_tri_name(r->available));
	immure_jsonw_str(w, "why", r->why);
	immure_jsonw_str(w, "remedy", r->remedy);
	immure_jsonw_str(w, "health", immure_report_health(r, &reason));
	immure_jsonw_str(w, "degraded_by", reason);
	immure_jsonw_object(w, "trust");
	for (int t = 0; t < IMMURE_TRUST_MAX && r->available != IMMURE_NO; t++)
		immure_jsonw_str(w, immure_trust_fields[t].name,
				 immure_trust_fields[t].values[r->trust[t]]);
	immure_jsonw_end(w, '}');
	immure_jsonw_object(w, "dimensions");
	for (int d = 0; d < IMMURE_DIM_MAX; d++) {
		immure_jsonw_object(w, immure_dimension_name(d));
		immure_jsonw_str(w, "level", immure_level_name(r->dims[d].level));
		immure_jsonw_str(w, "evidence", immure_evidence_name(r->dims[d].evidence));
		immure_jsonw_str(w, "mechanism", r->dims[d].mechanism);
		immure_jsonw_end(w, '}');
	}
	immure_jsonw_end(w, '}');
	immure_jsonw_array(w, "capabilities");
	for (size_t c = 0; c < immure_capability_names_n; c++)
		if (r->capabilities & 1u << c)
			immure_jsonw_str(w, NULL, immure_capability_names[c]);
	immure_jsonw_end(w, ']');
	immure_jsonw_end(w, '}');
}

char *immure_facts_json(const struct immure_facts *f)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_backend_report *r = NULL;
	struct immure_buf b = IMMURE_BUF_INIT;
	size_t n = immure_reports(f, &a, &r);
	struct immure_jsonw w;

	if (n == 0)
		b.failed = true;
	immure_jsonw_init(&w, &b, 2);
	immure_jsonw_object(&w, NULL);
	immure_jsonw_str(&w, "immure", IMMURE_VERSION);
	immure_jsonw_bool(&w, "full", f->full);
	json_host(f, &w);
	json_facts(f, &w);
	immure_jsonw_array(&w, "backends");
	for (size_t i = 0; i < n; i++)
		json_backend(&r[i], &w);
	immure_jsonw_end(&w, ']');
	immure_jsonw_end(&w, '}');
	immure_buf_putc(&b, '\n');
	immure_arena_done(&a);
	return immure_buf_take(&b);
}
