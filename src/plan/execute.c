/* SPDX-License-Identifier: Apache-2.0 */
/*
 * files.executables: listed. Landlock's right to execute, which everything readable has
 * otherwise, is given to what is named alone, and to the dynamic loaders, without which
 * hardly any program starts.
 *
 * execve(2) of anything else is refused from inside, whoever calls it. Landlock looks at
 * the file that is executed, its interpreter and its loader; it does not look at what is
 * mapped with PROT_EXEC, so a loader started by name runs any file that may be read. What
 * the command writes itself is kept from that by mounts without execution, and files in
 * memory, which no path leads to and Landlock lets pass, by a filter of their own.
 */
#include <string.h>

#include "base/path.h"
#include "kernel/landlock.h"
#include "plan/compile.h"

static const char KEY[] = "files.execute";

/* Where the loaders of the C libraries are, of the machines that there is a build for. */
static const char *const loaders[] = {
	"/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1",
	"/lib/ld-musl-x86_64.so.1",    "/lib/ld-musl-aarch64.so.1",
};

bool immure_compile_listed(const struct immure_compile *b)
{
	return b->p->executables == IMMURE_EXECUTABLES_LISTED;
}

uint64_t immure_compile_denied_groups(const struct immure_compile *b)
{
	uint64_t r = 0;

	for (size_t i = 0; i < IMMURE_CALL_GROUPS; i++)
		if (immure_strv_has(&b->p->deny_calls, immure_call_groups[i].name))
			r |= UINT64_C(1) << i;
	return r;
}

void immure_compile_ask_execute(const struct immure_policy *p, const struct immure_facts *f,
				struct immure_arena *a, struct immure_strv *to)
{
	for (size_t i = 0; i < p->execute.n; i++) {
		const char *path = immure_compile_path(a, p, f, p->execute.v[i]);

		if (path)
			(void)immure_strv_add(a, to, path); /* failure stays in the arena */
	}
	for (size_t i = 0; p->executables == IMMURE_EXECUTABLES_LISTED &&
			   i < sizeof(loaders) / sizeof(loaders[0]); i++)
		(void)immure_strv_add(a, to, loaders[i]); /* as above */
}

static int32_t rule(struct immure_compile *b, const struct immure_fact_path *s, const char *key)
{
	struct immure_op *op = immure_compile_op(b, IMMURE_OP_LANDLOCK_RULE, NULL, s->real, key);

	if (!op)
		return -IMMURE_ERR_NOMEM;
	op->num[0] = IMMURE_LANDLOCK_FS_EXECUTE;
	op->flags = s->type == 'd' ? 0u : IMMURE_OPF_FILE;
	return 0;
}

static int32_t listed(struct immure_compile *b, const char *text)
{
	const char *path = immure_compile_path(b->a, b->p, b->f, text);
	const struct immure_fact_path *s = path ? immure_facts_path(b->f, path) : NULL;

	if (!s || !s->real || (s->type != 'd' && s->type != 'f'))
		return immure_compile_refuse(b, KEY, "%s: %s", path ? path : text,
					     !s ? "cannot be examined" : !s->real ? "does not exist" :
					     "neither a file nor a directory");
	for (size_t i = 0; i < b->roots_n; i++) {
		if (!immure_path_is_under(s->real, b->roots[i].real) &&
		    !immure_path_is_under(b->roots[i].real, s->real))
			continue;
		(void)immure_compile_refuse(b, KEY, "%s: the command can write in %s, so it could execute "
					    "what it likes", s->real, b->roots[i].real);
		immure_compile_hint(b, "put the program elsewhere, or make that place read-only");
		return -IMMURE_ERR_POLICY;
	}
	if (!immure_compile_visible(b, s->real))
		return immure_compile_refuse(b, KEY, "%s: is not visible inside", s->real);
	return rule(b, s, KEY);
}

int32_t immure_compile_execute(struct immure_compile *b, uint64_t fs)
{
	int32_t r = 0;

	if (!immure_compile_listed(b)) {
		if (!b->p->execute.n)
			return 0;
		(void)immure_compile_refuse(b, KEY, "names files while files.executables is any");
		immure_compile_hint(b, "files.executables: listed (--executables listed)");
		return -IMMURE_ERR_POLICY;
	}
	if (!b->p->execute.n)
		return immure_compile_refuse(b, KEY, "is empty: nothing could be executed");
	if (!fs) {
		immure_compile_gap(b, true, "files.executables", "landlock",
				   "without Landlock nothing tells one program from another",
				   "boot with landlock among the lsm= of the kernel command line "
				   "(Linux 5.13 or later), or files.executables: any");
		return 0;
	}
	for (size_t i = 0; r == 0 && i < b->p->execute.n; i++)
		r = listed(b, b->p->execute.v[i]);
	for (size_t i = 0; r == 0 && i < sizeof(loaders) / sizeof(loaders[0]); i++) {
		const struct immure_fact_path *s = immure_facts_path(b->f, loaders[i]);

		if (s && s->real && s->type != 'd' && immure_compile_visible(b, s->real))
			r = rule(b, s, "files.executables");
	}
	return r;
}
