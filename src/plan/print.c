/* SPDX-License-Identifier: Apache-2.0 */
/* A plan for people: one line an operation, the policy key that caused it at
 * the right. Values of environment variables are not printed: they may be
 * secrets. Every string may be a stranger's and is escaped. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/parse.h"
#include "facts/facts.h"
#include "kernel/landlock.h"
#include "plan/plan.h"
#include "plan/print.h"
#include "policy/netrule.h"
#include "policy/policy.h"

enum { KEY_COLUMN = 68, WRAP_COLUMN = 92 };

static void put(struct immure_buf *o, const char *s)
{
	immure_buf_put_printable(o, s, strlen(s));
}

/* One word of a command as a shell would take it. */
static void put_word(struct immure_buf *o, const char *s)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "_-./=:,@%+";

	if (*s && s[strspn(s, plain)] == '\0') {
		put(o, s);
		return;
	}
	immure_buf_putc(o, '\'');
	for (size_t n; *s; s += n) {
		n = strcspn(s, "'");
		immure_buf_put_printable(o, s, n);
		if (s[n] == '\'') {
			immure_buf_puts(o, "'\\''");
			n++;
		}
	}
	immure_buf_putc(o, '\'');
}

static void put_size(struct immure_buf *o, uint64_t bytes)
{
	char text[32];

	immure_buf_puts(o, immure_format_size(bytes, text, sizeof(text)));
}

static void put_duration(struct immure_buf *o, uint64_t ms)
{
	char text[32];

	immure_buf_puts(o, immure_format_duration(ms, text, sizeof(text)));
}

static void put_milli(struct immure_buf *o, uint64_t milli)
{
	immure_buf_printf(o, "%llu", (unsigned long long)(milli / 1000));
	if (milli % 1000)
		immure_buf_printf(o, ".%03llu", (unsigned long long)(milli % 1000));
}

static void put_number(struct immure_buf *o, uint64_t v)
{
	immure_buf_printf(o, "%llu", (unsigned long long)v);
}

static bool describe_limit(struct immure_buf *o, const struct immure_op *op)
{
	switch (op->kind) {
	case IMMURE_OP_CGROUP_LEAF:
		immure_buf_puts(o, op->num[0] == IMMURE_CGROUP_V2 ? "leaf of cgroup v2 in " :
								    "leaves of cgroup v1 in ");
		put(o, op->src);
		break;
	case IMMURE_OP_CGROUP_MEMORY:
		immure_buf_puts(o, "memory at most ");
		put_size(o, op->num[0]);
		immure_buf_puts(o, " (enforced)");
		break;
	case IMMURE_OP_CGROUP_PIDS:
		immure_buf_puts(o, "processes at most ");
		put_number(o, op->num[0]);
		immure_buf_puts(o, " (enforced)");
		break;
	case IMMURE_OP_CGROUP_CPU:
		immure_buf_puts(o, "cpus at most ");
		put_milli(o, op->num[0]);
		immure_buf_puts(o, " (enforced)");
		break;
	case IMMURE_OP_RLIMIT:
		immure_buf_puts(o, "rlimit ");
		put(o, op->src);
		immure_buf_putc(o, ' ');
		put_number(o, op->num[0]);
		immure_buf_puts(o, strcmp(op->src, "nproc") == 0 ? " (enforced for this user)" :
							" (enforced for each process)");
		break;
	case IMMURE_OP_CPU_AFFINITY:
		immure_buf_puts(o, "pinned to ");
		put_number(o, op->num[0]);
		immure_buf_puts(o, " cpus (enforced, whole cpus)");
		break;
	case IMMURE_OP_WALL_TIME:
		immure_buf_puts(o, "ended after ");
		put_duration(o, op->num[0]);
		immure_buf_puts(o, ", killed ");
		put_duration(o, op->num[1]);
		immure_buf_puts(o, " later (enforced)");
		break;
	case IMMURE_OP_OUTPUT_CAP:
		immure_buf_puts(o, op->num[1] ? "killed when its output is more than " : "output cut after ");
		put_size(o, op->num[0]);
		immure_buf_puts(o, " (enforced)");
		break;
	case IMMURE_OP_CAPTURE:
		immure_buf_printf(o, "of output a session keeps %s (enforced)",
				  op->num[0] == 0 ? "nothing" : op->num[0] == 1 ? "counts and hashes" :
				  "counts, hashes and the last 512 bytes");
		break;
	case IMMURE_OP_AGENT:
		immure_buf_puts(o, "on behalf of ");
		put(o, op->src);
		break;
	case IMMURE_OP_MEDIATOR:
		immure_buf_puts(o, "before each command is asked: ");
		put(o, op->src);
		immure_buf_puts(o, ", within ");
		put_duration(o, op->num[2]);
		immure_buf_puts(o, op->num[1] ? ", pending is refused" : ", pending is waited for, ");
		if (!op->num[1])
			put_duration(o, op->num[3]);
		break;
	case IMMURE_OP_JOURNAL:
		immure_buf_puts(o, "a run keeps a journal in ");
		put(o, op->src);
		break;
	case IMMURE_OP_MEDIATOR_BUDGET:
		immure_buf_puts(o, "the mediator is told of ");
		put(o, op->src);
		break;
	case IMMURE_OP_MEMORY_WATCH:
		immure_buf_puts(o, "killed when its processes use more than ");
		put_size(o, op->num[0]);
		immure_buf_puts(o, " (sampled)");
		break;
	default:
		return false;
	}
	return true;
}

static void put_path(struct immure_buf *o, const char *what, const struct immure_op *op)
{
	immure_buf_puts(o, what);
	put(o, op->dst);
	if (op->flags & IMMURE_OPF_OPTIONAL)
		immure_buf_puts(o, " (if there)");
}

static const char *bind_word(uint32_t flags)
{
	if (flags & IMMURE_OPF_SOCKET)
		return flags & IMMURE_OPF_FILE ? "socket " : "sockets below ";
	return flags & IMMURE_OPF_RO ? "read " : "write ";
}

static void put_overlay(struct immure_buf *o, const struct immure_op *op)
{
	put_path(o, op->flags & IMMURE_OPF_RO ? "read " : "copy on write ", op);
	immure_buf_printf(o, ", %llu layer%s", (unsigned long long)op->num[0],
			  op->num[0] == 1 ? "" : "s");
	if (op->num[1]) {
		immure_buf_puts(o, ", at most ");
		put_size(o, op->num[1]);
	}
	if (*op->src) {
		immure_buf_puts(o, op->flags & IMMURE_OPF_KEPT ? ", changes kept in "
								: ", changes go to ");
		put(o, op->src);
	}
}

static bool describe_mount(struct immure_buf *o, const struct immure_op *op)
{
	switch (op->kind) {
	case IMMURE_OP_ROOT_HOST:
		immure_buf_puts(o, "root: the host's tree, read-only");
		break;
	case IMMURE_OP_ROOT_EMPTY:
		immure_buf_puts(o, "root: empty");
		break;
	case IMMURE_OP_BIND:
		put_path(o, bind_word(op->flags), op);
		if (strcmp(op->src, op->dst) != 0) {
			immure_buf_puts(o, " from ");
			put(o, op->src);
		}
		break;
	case IMMURE_OP_LAYER:
		put_path(o, "layer of ", op);
		immure_buf_puts(o, ": ");
		put(o, op->src);
		break;
	case IMMURE_OP_OVERLAY:
		put_overlay(o, op);
		break;
	case IMMURE_OP_TMPFS:
		put_path(o, op->flags & IMMURE_OPF_RO ? "empty " : "private ", op);
		if (op->num[0]) {
			immure_buf_puts(o, op->flags & IMMURE_OPF_SHARED ? ", all together at most "
									 : ", at most ");
			put_size(o, op->num[0]);
		}
		break;
	case IMMURE_OP_DEV:
		put_path(o, "minimal ", op);
		break;
	case IMMURE_OP_PROC:
	case IMMURE_OP_SYSFS:
		put_path(o, op->flags & IMMURE_OPF_RO ? "own, read-only " : "own ", op);
		if (op->flags & IMMURE_OPF_PIDS)
			immure_buf_puts(o, ", of processes alone");
		break;
	case IMMURE_OP_SYMLINK:
		put_path(o, "link ", op);
		immure_buf_puts(o, " to ");
		put(o, op->src);
		break;
	case IMMURE_OP_DIR:
		put_path(o, "directory ", op);
		break;
	case IMMURE_OP_FILE:
		put_path(o, op->flags & IMMURE_OPF_COVER ? "generated, over the host's: " : "generated ",
			 op);
		break;
	case IMMURE_OP_MASK:
		put_path(o, "deny ", op);
		break;
	case IMMURE_OP_MASK_KEEP:
		put_path(o, "deny ", op);
		immure_buf_puts(o, ", except what follows");
		break;
	case IMMURE_OP_READONLY:
		put_path(o, "read-only ", op);
		break;
	case IMMURE_OP_PIN:
		put_path(o, "cannot be moved: ", op);
		break;
	default:
		return false;
	}
	return true;
}

static void put_ids(struct immure_buf *o, const struct immure_op *op)
{
	immure_buf_printf(o, "uid %llu is %llu outside, gid %llu is %llu%s",
			  (unsigned long long)op->num[0], (unsigned long long)op->num[1],
			  (unsigned long long)op->num[2], (unsigned long long)op->num[3],
			  op->kind == IMMURE_OP_IDMAP_SUBID ? ", and the user's range of sub-ids" :
							      "");
}

static const char *rule_name(uint64_t rights)
{
	if (rights & IMMURE_LANDLOCK_FS_MAKE_REG)
		return "Landlock: write below ";
	if (rights & IMMURE_LANDLOCK_FS_WRITE_FILE)
		return "Landlock: write what is there, ";
	if (rights == IMMURE_LANDLOCK_FS_EXECUTE)
		return "Landlock: execute ";
	if (rights == IMMURE_LANDLOCK_FS_READ_DIR)
		return "Landlock: list below ";
	return rights & IMMURE_LANDLOCK_FS_EXECUTE ? "Landlock: read and execute below " :
						     "Landlock: read below ";
}

static void describe(struct immure_buf *o, const struct immure_op *op)
{
	if (describe_limit(o, op) || describe_mount(o, op) || immure_print_network(o, op))
		return;
	switch (op->kind) {
	case IMMURE_OP_NAMESPACES:
		immure_buf_puts(o, "own namespaces: ");
		put(o, op->src);
		break;
	case IMMURE_OP_BWRAP:
		immure_buf_puts(o, "made by ");
		put(o, op->src);
		if (op->num[0])
			immure_buf_puts(o, ", binds by descriptor");
		break;
	case IMMURE_OP_IDMAP:
	case IMMURE_OP_IDMAP_SUBID:
		put_ids(o, op);
		break;
	case IMMURE_OP_HOSTNAME:
		immure_buf_puts(o, "host name ");
		put(o, op->src);
		break;
	case IMMURE_OP_WITHHELD:
		put_path(o, op->flags & IMMURE_OPF_RO ? "read-only " : "deny ", op);
		break;
	case IMMURE_OP_SESSION_DIR:
		put_path(o, "temporary files in a directory of its own, ", op);
		break;
	case IMMURE_OP_LANDLOCK:
		immure_buf_printf(o, "Landlock ABI %llu%s", (unsigned long long)op->num[0],
				  op->num[2] ? ", signals and abstract sockets scoped" : "");
		break;
	case IMMURE_OP_LANDLOCK_RULE:
		put_path(o, rule_name(op->num[0]), op);
		break;
	case IMMURE_OP_SECCOMP:
		immure_buf_puts(o, "system calls: ");
		put(o, op->src);
		if (op->num[1])
			immure_buf_puts(o, ", and what namespaces would keep apart");
		if (op->num[2])
			immure_buf_puts(o, ", no program in memory");
		for (unsigned int i = 0; i < IMMURE_CALL_GROUPS; i++)
			if (op->num[3] & 1U << i)
				immure_buf_printf(o, ", not %s", immure_call_groups[i].name);
		break;
	case IMMURE_OP_OWN_DIR:
		put_path(o, "made if it is missing: ", op);
		break;
	case IMMURE_OP_PROTECT_LINK:
		put_path(o, "link that must stay: ", op);
		immure_buf_puts(o, " to ");
		put(o, op->src);
		break;
	default:
		for (const char *c = immure_op_name(op->kind); *c; c++)
			immure_buf_putc(o, *c == '_' ? ' ' : *c);
		break;
	}
}

static size_t column(const struct immure_buf *o)
{
	const char *nl = o->len ? memrchr(o->data, '\n', o->len) : NULL;

	return nl ? o->len - (size_t)(nl + 1 - o->data) : o->len;
}

static void put_key(struct immure_buf *o, const char *key)
{
	do
		immure_buf_putc(o, ' ');
	while (immure_buf_ok(o) && column(o) < KEY_COLUMN);
	put(o, key);
	immure_buf_putc(o, '\n');
}

static bool same_watch(const struct immure_op *a, const struct immure_op *b)
{
	return a->kind == b->kind && a->flags == b->flags && strcmp(a->src, b->src) == 0 &&
	       strcmp(a->key, b->key) == 0;
}

/* Many patterns of one directory: one paragraph. */
static void put_watches(struct immure_buf *o, const struct immure_op *op, size_t n,
			  unsigned char *done)
{
	const struct immure_op *first = op;

	immure_buf_puts(o, "  created ");
	immure_buf_puts(o, first->flags & IMMURE_OPF_ANYWHERE ? "anywhere below " : "in ");
	put(o, first->src);
	if (first->flags & IMMURE_OPF_KEPT)
		immure_buf_puts(o, first->flags & IMMURE_OPF_ALLOWED ? ": may be applied" :
								       ": not applied");
	else
		immure_buf_puts(o, first->flags & IMMURE_OPF_ALLOWED ? ": reported" :
								       ": reported and moved away");
	put_key(o, first->key);
	immure_buf_puts(o, "    ");
	for (size_t i = 0; i < n; i++) {
		if (done[i] || !same_watch(first, &op[i]))
			continue;
		done[i] = 1;
		if (column(o) > 4 && column(o) + strlen(op[i].dst) > WRAP_COLUMN)
			immure_buf_puts(o, "\n    ");
		if (column(o) > 4)
			immure_buf_putc(o, ' ');
		put(o, op[i].dst);
	}
	immure_buf_putc(o, '\n');
}

static void put_ops(struct immure_buf *o, const struct immure_plan *p, unsigned char *done)
{
	uint32_t stage = IMMURE_STAGE_MAX;

	for (size_t i = 0; i < p->ops_n; i++) {
		const struct immure_op *op = &p->ops[i];

		if (done[i])
			continue;
		if (op->stage != stage) {
			stage = op->stage;
			immure_buf_printf(o, "%s\n", immure_stage_name(stage));
		}
		if (op->kind == IMMURE_OP_WATCH) {
			put_watches(o, op, p->ops_n - i, done + i);
			continue;
		}
		immure_buf_puts(o, "  ");
		describe(o, op);
		put_key(o, op->key);
	}
}

static void put_notices(struct immure_buf *o, const struct immure_plan *p)
{
	struct immure_arena a = IMMURE_ARENA_INIT;

	for (size_t i = 0; i < p->ops_n; i++) {
		const struct immure_op *op = &p->ops[i];
		const char *notice = op->kind == IMMURE_OP_EGRESS_ALLOW ?
					     immure_netrule_notice(&a, op->src) : NULL;

		if (notice) {
			immure_buf_puts(o, "\nnotice: ");
			put(o, op->src);
			immure_buf_printf(o, ": %s\n", notice);
		}
	}
	immure_arena_done(&a);
}

static void put_gaps(struct immure_buf *o, const struct immure_plan *p)
{
	size_t open = 0;

	for (size_t i = 0; i < p->gaps_n; i++)
		open += !p->gaps[i].approved;
	if (!p->gaps_n) {
		immure_buf_puts(o, "\nno gaps: everything asked for is enforced\n");
		return;
	}
	immure_buf_printf(o, "\n%zu gap%s%s\n", p->gaps_n, p->gaps_n == 1 ? "" : "s",
			  open ? ": this plan is not started" : ", approved by the policy");
	for (size_t i = 0; i < p->gaps_n; i++) {
		const struct immure_gap *g = &p->gaps[i];

		immure_buf_puts(o, "  ");
		put(o, g->key);
		immure_buf_puts(o, ": ");
		put(o, g->what);
		immure_buf_puts(o, " (");
		put(o, g->dimension);
		immure_buf_puts(o, g->approved ? ", approved)\n" : ")\n");
		immure_buf_puts(o, "    remedy: ");
		put(o, g->remedy);
		immure_buf_putc(o, '\n');
	}
}

static void put_head(struct immure_buf *o, const struct immure_plan *p)
{
	immure_buf_puts(o, "plan       ");
	put(o, immure_plan_hash_of(p));
	immure_buf_puts(o, "\npolicy     ");
	put(o, p->policy_version);
	immure_buf_puts(o, ", profile ");
	put(o, p->profile);
	immure_buf_puts(o, "\nbackend    ");
	put(o, p->backend);
	immure_buf_puts(o, ": ");
	put(o, p->backend_why);
	immure_buf_puts(o, "\nworkspace  ");
	put(o, p->workspace);
	if (strcmp(immure_plan_inside(p), p->workspace) != 0) {
		immure_buf_puts(o, ", inside ");
		put(o, immure_plan_inside(p));
	}
	if (strcmp(p->workspace, "/") == 0) /* never a writable one */
		immure_buf_puts(o, " (read-only)");
	immure_buf_puts(o, "\ndirectory  ");
	put(o, p->cwd);
	if (p->way) {
		immure_buf_puts(o, "\nnetwork    ");
		put(o, p->way);
	}
	immure_buf_puts(o, "\ncommand   ");
	for (size_t i = 0; i < p->argv.n; i++) {
		immure_buf_putc(o, ' ');
		put_word(o, p->argv.v[i]);
	}
	immure_buf_puts(o, "\nvariables ");
	for (size_t i = 0; i < p->env.n; i++) {
		immure_buf_putc(o, ' ');
		immure_buf_put_printable(o, p->env.v[i], strcspn(p->env.v[i], "="));
	}
	immure_buf_puts(o, "\n\n");
}

char *immure_plan_text(const struct immure_plan *p)
{
	struct immure_buf o = IMMURE_BUF_INIT;
	unsigned char *done = calloc(p->ops_n + 1, 1);

	if (!done)
		return NULL;
	put_head(&o, p);
	put_ops(&o, p, done);
	put_notices(&o, p);
	put_gaps(&o, p);
	free(done);
	return immure_buf_take(&o);
}
