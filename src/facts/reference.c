/* SPDX-License-Identifier: Apache-2.0 */
/* What every backend would enforce on a host that lacks nothing: the same reports,
 * made from facts that say yes to everything, so that the page cannot say anything
 * else than the program. What one host lacks, doctor says. */
#include <string.h>

#include "base/buf.h"
#include "facts/report.h"
#include "kernel/landlock.h"

static struct immure_facts ideal(void)
{
	return (struct immure_facts){
		.landlock_abi = IMMURE_LANDLOCK_ABI_MAX, .userns = IMMURE_YES,
		.userns_mount = IMMURE_YES, .userns_proc = IMMURE_YES, .netns = IMMURE_YES,
		.overlay_userns = IMMURE_YES, .seccomp = IMMURE_YES, .seccomp_notify = IMMURE_YES,
		.kvm = IMMURE_YES, .newuidmap = IMMURE_YES, .egress = IMMURE_YES,
		.bwrap = IMMURE_YES, .bwrap_path = "bubblewrap", .bwrap_pins = true, .bwrap_net = IMMURE_YES,
		.cgroup = { .kind = IMMURE_CGROUP_V2, .v2 = "/sys/fs/cgroup", .memory = true,
			    .pids = true, .cpu = true },
	};
}

static void row(struct immure_buf *b, const char *name, const struct immure_backend_report *r,
		size_t n, const char *(*cell)(const struct immure_backend_report *, int), int which)
{
	immure_buf_printf(b, "| `%s` |", name);
	for (size_t i = 0; i < n; i++)
		if (r[i].available != IMMURE_NO)
			immure_buf_printf(b, " %s |", cell(&r[i], which));
	immure_buf_putc(b, '\n');
}

static const char *level(const struct immure_backend_report *r, int d)
{
	return immure_level_name(r->dims[d].level);
}

static const char *capability(const struct immure_backend_report *r, int c)
{
	return r->capabilities & 1u << c ? "yes" : "no";
}

static const char *trust(const struct immure_backend_report *r, int t)
{
	return immure_trust_fields[t].values[r->trust[t]];
}

static const char *class_of(const struct immure_backend_report *r, int unused)
{
	(void)unused;
	return r->isolation_class;
}

static void heading(struct immure_buf *b, const struct immure_backend_report *r, size_t n)
{
	immure_buf_puts(b, "| |");
	for (size_t i = 0; i < n; i++)
		if (r[i].available != IMMURE_NO)
			immure_buf_printf(b, " `%s` |", r[i].backend);
	immure_buf_puts(b, "\n|---|");
	for (size_t i = 0; i < n; i++)
		if (r[i].available != IMMURE_NO)
			immure_buf_puts(b, "---|");
	immure_buf_putc(b, '\n');
}

static void mechanisms(struct immure_buf *b, const struct immure_backend_report *r)
{
	immure_buf_printf(b, "\n### What `%s` does it with\n\n| dimension | mechanism |\n|---|---|\n",
			  r->backend);
	for (int d = 0; d < IMMURE_DIM_MAX; d++)
		immure_buf_printf(b, "| `%s` | %s |\n",
				  immure_dimension_name((enum immure_dimension)d),
				  r->dims[d].mechanism ? r->dims[d].mechanism : "nothing");
}

char *immure_backends_reference(void)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_backend_report *r = NULL;
	struct immure_facts f = ideal();
	size_t n = immure_reports(&f, &a, &r);

	if (n == 0)
		b.failed = true;
	immure_buf_puts(&b, "## Reports\n\nWhat each backend enforces on a host that lacks nothing, as the "
			    "program itself reports it. Where something is missing,\n`immure doctor` "
			    "says what and what follows.\n\n");
	heading(&b, r, n);
	row(&b, "class", r, n, class_of, 0);
	for (int d = 0; d < IMMURE_DIM_MAX; d++)
		row(&b, immure_dimension_name((enum immure_dimension)d), r, n, level, d);
	immure_buf_puts(&b, "\nCapabilities that can be required:\n\n");
	heading(&b, r, n);
	for (size_t c = 0; c < immure_capability_names_n; c++)
		row(&b, immure_capability_names[c], r, n, capability, (int)c);
	immure_buf_puts(&b, "\nTrust:\n\n");
	heading(&b, r, n);
	for (int t = 0; t < IMMURE_TRUST_MAX; t++)
		row(&b, immure_trust_fields[t].name, r, n, trust, t);
	for (size_t i = 0; i < n; i++)
		if (r[i].available != IMMURE_NO)
			mechanisms(&b, &r[i]);
	immure_buf_puts(&b, "\n### Not on this platform, or not in this version\n\n"
			    "| backend | class | why |\n|---|---|---|\n");
	for (size_t i = 0; i < n; i++)
		if (r[i].available == IMMURE_NO)
			immure_buf_printf(&b, "| `%s` | %s | %s |\n", r[i].backend,
					  r[i].isolation_class, r[i].why);
	immure_arena_done(&a);
	return immure_buf_take(&b);
}
