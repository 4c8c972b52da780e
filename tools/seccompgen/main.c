/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seccompgen MACHINE SYSCALLS.TBL OUT.c PROFILE.policy...
 *
 * Runs while the project is built. Writes the filters of all profiles and
 * variants for one machine as C; a profile is named after its file.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/audit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compile.h"

static const struct machine machines[] = {
	{ "x86_64", AUDIT_ARCH_X86_64, true },
	{ "aarch64", AUDIT_ARCH_AARCH64, false },
};

struct row {
	char profile[NAME_MAX_LEN];
	char variant[NAME_MAX_LEN];
	uint64_t families;
	size_t len;
};

static uint64_t family_bits(const struct variant *v)
{
	uint64_t bits = 0;

	for (size_t i = 0; i < v->families_n; i++) {
		for (uint32_t f = v->families[i].lo; f <= v->families[i].hi; f++)
			bits |= UINT64_C(1) << f;
	}
	return bits;
}

static void write_filter(FILE *out, const struct row *row, const struct sock_filter *insns)
{
	(void)fprintf(out, "/* %zu instructions */\n", row->len);
	(void)fprintf(out, "static const struct sock_filter %s_%s[] = {\n", row->profile,
		      row->variant);
	for (size_t i = 0; i < row->len; i++) {
		(void)fprintf(out, "\t{ 0x%02x, %u, %u, 0x%08" PRIx32 " },\n", insns[i].code,
			      insns[i].jt, insns[i].jf, (uint32_t)insns[i].k);
	}
	(void)fprintf(out, "};\n\n");
}

static void profile_name(char *name, size_t len, const char *path)
{
	const char *base = strrchr(path, '/');
	const char *dot;

	base = base ? base + 1 : path;
	dot = strchr(base, '.');
	if (!dot || (size_t)(dot - base) >= len)
		die(path, 0, "expected NAME.policy");
	memcpy(name, base, (size_t)(dot - base));
	name[dot - base] = '\0';
}

static size_t write_profile(FILE *out, const struct machine *m, const struct call_table *table,
			    const char *path, struct row *rows)
{
	static struct policy policy;
	static struct sock_filter insns[BPF_MAXINSNS];

	policy_read(&policy, table, path);
	for (size_t i = 0; i < policy.variants_n; i++) {
		profile_name(rows[i].profile, sizeof(rows[i].profile), path);
		memcpy(rows[i].variant, policy.variants[i].name, sizeof(rows[i].variant));
		rows[i].families = family_bits(&policy.variants[i]);
		rows[i].len = compile_filter(&policy, &policy.variants[i], m, insns, BPF_MAXINSNS);
		write_filter(out, &rows[i], insns);
	}
	policy_free(&policy);
	return policy.variants_n;
}

int main(int argc, char **argv)
{
	static struct call_table table;
	static struct row rows[64];
	const struct machine *m = NULL;
	size_t n = 0, column = 0;
	FILE *out;

	if (argc < 5)
		die(argv[0], 0, "expected: MACHINE SYSCALLS.TBL OUT.c PROFILE.policy...");
	for (; column < sizeof(machines) / sizeof(machines[0]) && !m; column++) {
		if (strcmp(machines[column].name, argv[1]) == 0)
			m = &machines[column];
	}
	if (!m)
		die(argv[0], 0, "no such machine: %s", argv[1]);
	call_table_read(&table, argv[2], (int)column - 1);
	out = fopen(argv[3], "w");
	if (!out)
		die(argv[3], 0, "%s", strerror(errno));
	(void)fprintf(out, "/* Made by seccompgen from src/kernel/filters. */\n"
			   "#include \"kernel/seccomp_builtin.h\"\n\n");
	for (int i = 4; i < argc; i++) {
		if (n + VARIANTS_MAX > sizeof(rows) / sizeof(rows[0]))
			die(argv[i], 0, "too many filters");
		n += write_profile(out, m, &table, argv[i], rows + n);
	}
	(void)fprintf(out, "const struct immure_filter_builtin immure_filters_%s[] = {\n", m->name);
	for (size_t i = 0; i < n; i++)
		(void)fprintf(out, "\t{ \"%s\", \"%s\", UINT64_C(0x%" PRIx64 "), { %s_%s, %zu } },\n",
			      rows[i].profile, rows[i].variant, rows[i].families, rows[i].profile,
			      rows[i].variant, rows[i].len);
	(void)fprintf(out, "};\nconst size_t immure_filters_%s_n = %zu;\n", m->name, n);
	if (fclose(out) != 0)
		die(argv[3], 0, "%s", strerror(errno));
	return 0;
}
