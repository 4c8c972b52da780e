/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/targets.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/path.h"
#include "evidence/bait.h"
#include "evidence/bare.h"
#include "evidence/proof.h"
#include "evidence/targets_net.h"
#include "kernel/landlock.h"
#include "plan/plan.h"

/* Of each kind, so that a policy with thousands of entries stays a sample that
 * fits; the proof says how many were tried. */
#define EACH_MAX 256
/* Kept free for the lines that are always there. */
#define RESERVE 8192

static bool full(const struct immure_buf *out)
{
	return out->len > IMMURE_PROOF_TARGETS_MAX - RESERVE;
}

static void line(struct immure_buf *out, const char *kind, const char *value)
{
	immure_buf_printf(out, "%s ", kind);
	for (const char *p = value; *p; p++) {
		unsigned char c = (unsigned char)*p;

		if (c < ' ' || c == '\\' || c == 0x7f)
			immure_buf_printf(out, "\\x%02x", c);
		else
			immure_buf_putc(out, *p);
	}
	immure_buf_putc(out, '\n');
}

/* The operation that decides what is at path: the last one that covers it. */
static const struct immure_op *covering(const struct immure_plan *plan, const char *path)
{
	const struct immure_op *ret = NULL;

	for (size_t i = 0; i < plan->ops_n; i++) {
		const struct immure_op *op = &plan->ops[i];

		switch (op->kind) {
		case IMMURE_OP_ROOT_HOST:
		case IMMURE_OP_ROOT_EMPTY:
			ret = op;
			break;
		case IMMURE_OP_OVERLAY:
		case IMMURE_OP_BIND:
		case IMMURE_OP_TMPFS:
		case IMMURE_OP_DEV:
		case IMMURE_OP_PROC:
		case IMMURE_OP_SYSFS:
		case IMMURE_OP_MASK:
		case IMMURE_OP_MASK_KEEP:
		case IMMURE_OP_READONLY:
		case IMMURE_OP_PIN:
			if (immure_path_is_under(path, op->dst))
				ret = op;
			break;
		default:
			break;
		}
	}
	return ret;
}

/* Without mounts: something grants changes at or above path. */
static bool granted(const struct immure_plan *plan, const char *path)
{
	for (size_t i = 0; i < plan->ops_n; i++)
		if (plan->ops[i].kind == IMMURE_OP_LANDLOCK_RULE &&
		    (plan->ops[i].num[0] & IMMURE_LANDLOCK_FS_MAKE_REG) &&
		    immure_path_is_under(path, plan->ops[i].dst))
			return true;
	return false;
}

static bool writable(const struct immure_plan *plan, const char *path)
{
	const struct immure_op *op = covering(plan, path);

	if (immure_plan_is_bare(plan))
		return granted(plan, path);

	if (!op)
		return false;
	return op->kind == IMMURE_OP_PIN ||
	       ((op->kind == IMMURE_OP_BIND || op->kind == IMMURE_OP_TMPFS || op->kind == IMMURE_OP_OVERLAY) &&
		!(op->flags & IMMURE_OPF_RO));
}

static void places(const struct immure_plan *plan, struct immure_buf *out)
{
	static const char *const outside[] = { "/usr", "/usr/local", "/etc", "/var", "/var/lib",
					       "/opt", "/home", "/root", "/boot", "/srv", "/lib",
					       "/bin", "/mnt" };
	static const char *const tmp[] = { "/tmp", "/var/tmp", "/dev/shm" };

	line(out, writable(plan, immure_plan_inside(plan)) ? "workspace-rw" : "workspace-ro",
	     immure_plan_inside(plan));
	line(out, "cwd", plan->cwd);
	if (!writable(plan, "/")) /* an image's may be: what is changed there is nobody's */
		line(out, "root-ro", "/");
	for (size_t i = 0; i < sizeof(tmp) / sizeof(tmp[0]); i++) {
		const struct immure_op *op = covering(plan, tmp[i]);

		if (op && op->kind == IMMURE_OP_TMPFS && !(op->flags & IMMURE_OPF_RO))
			line(out, "tmp", tmp[i]);
	}
	if (immure_plan_is_bare(plan)) {
		line(out, "shared", "1");
		line(out, "tmp", "$TMPDIR");
	}
	/* An approved gap is not made use of: the attack would end its own session. */
	if (immure_bare_not_asked(plan, "signals.init"))
		line(out, "signals-reach", "init");
	for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++)
		if (!writable(plan, outside[i]))
			line(out, "write-outside", outside[i]);
	for (size_t i = 0; i < plan->env.n; i++)
		if (strncmp(plan->env.v[i], "HOME=/", 6) == 0 && !writable(plan, plan->env.v[i] + 5))
			line(out, "write-outside", plan->env.v[i] + 5);
}

static void masks(const struct immure_plan *plan, struct immure_buf *out)
{
	size_t n = 0;

	for (size_t i = 0; i < plan->ops_n && n < EACH_MAX && !full(out); i++) {
		const struct immure_op *op = &plan->ops[i];
		struct stat st;

		if (op->kind == IMMURE_OP_WITHHELD ? (op->flags & IMMURE_OPF_RO) != 0 :
		    (op->kind != IMMURE_OP_MASK && op->kind != IMMURE_OP_MASK_KEEP) ||
		    covering(plan, op->dst) != op)
			continue;
		/* One that may be skipped is attacked when the host has it now. */
		if ((op->flags & IMMURE_OPF_OPTIONAL) && lstat(op->dst, &st) < 0)
			continue;
		line(out, "mask", op->dst);
		n++;
	}
}

static void protected_files(const struct immure_plan *plan, struct immure_buf *out)
{
	size_t n = 0;

	for (size_t i = 0; i < plan->ops_n && n < EACH_MAX && !full(out); i++) {
		const struct immure_op *op = &plan->ops[i];
		struct stat st;

		/* Those of /proc and /sys have points of their own. */
		if (op->kind == IMMURE_OP_WITHHELD ? !(op->flags & IMMURE_OPF_RO) :
		    op->kind != IMMURE_OP_READONLY || covering(plan, op->dst) != op ||
		    immure_path_is_under(op->dst, "/proc") || immure_path_is_under(op->dst, "/sys"))
			continue;
		if ((op->flags & IMMURE_OPF_OPTIONAL) && lstat(op->dst, &st) < 0)
			continue;
		line(out, "protect", op->dst);
		n++;
	}
}

/* Areas of the session's own: another object than the host's of that name, and
 * no larger than asked. */
static void areas(const struct immure_plan *plan, struct immure_buf *out)
{
	for (size_t i = 0; i < plan->ops_n && !full(out); i++) {
		const struct immure_op *op = &plan->ops[i];
		struct immure_buf value = IMMURE_BUF_INIT;
		struct stat st = { 0 };

		if (op->kind != IMMURE_OP_TMPFS || covering(plan, op->dst) != op)
			continue;
		(void)stat(op->dst, &st); /* absent on the host: any other will do */
		immure_buf_printf(&value, "%llu %llu %s", (unsigned long long)st.st_dev,
				  (unsigned long long)st.st_ino, op->dst);
		if (immure_buf_ok(&value))
			line(out, "private", value.data);
		else
			out->failed = true;
		immure_buf_done(&value);
		if (op->num[0] && !(op->flags & IMMURE_OPF_RO))
			immure_buf_printf(out, "disk %llu %s\n", (unsigned long long)op->num[0],
					  op->dst);
	}
}

/* Devices that the policy names: their mounts may be used as such. */
static void devices(const struct immure_plan *plan, struct immure_buf *out)
{
	for (size_t i = 0; i < plan->ops_n && !full(out); i++) {
		const struct immure_op *op = &plan->ops[i];
		struct stat st;

		if (op->kind == IMMURE_OP_BIND && lstat(op->src, &st) == 0 &&
		    (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)))
			line(out, "device", op->dst);
	}
}

static void lent(const struct immure_plan *plan, struct immure_buf *out)
{
	for (size_t i = 0; i < plan->ops_n && !full(out); i++)
		if (plan->ops[i].flags & IMMURE_OPF_SOCKET)
			line(out, "lent", plan->ops[i].dst);
}

static void limits(const struct immure_plan *plan, struct immure_buf *out)
{
	uint64_t processes = 0;

	for (size_t i = 0; i < plan->ops_n; i++) {
		const struct immure_op *op = &plan->ops[i];

		if (op->kind == IMMURE_OP_RLIMIT) {
			immure_buf_printf(out, "rlimit %s %llu\n", op->src,
					  (unsigned long long)op->num[0]);
			if (strcmp(op->src, "nproc") == 0 && !processes)
				processes = op->num[0];
		} else if (op->kind == IMMURE_OP_CGROUP_PIDS) {
			processes = op->num[0];
		}
	}
	if (processes)
		immure_buf_printf(out, "processes %llu\n", (unsigned long long)processes);
}

static bool passed(const struct immure_plan *plan, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < plan->env.n; i++)
		if (strncmp(plan->env.v[i], name, len) == 0 && plan->env.v[i][len] == '=')
			return true;
	return false;
}

static void environment(const struct immure_plan *plan, const struct immure_bait *bait,
			struct immure_buf *out)
{
	size_t n = 0;

	immure_buf_puts(out, "env-known 1\n");
	for (size_t i = 0; i < plan->env.n; i++) {
		size_t len = strcspn(plan->env.v[i], "=");
		char name[128];

		if (len >= sizeof(name))
			continue; /* then it is taken for one that is not the plan's */
		memcpy(name, plan->env.v[i], len);
		name[len] = '\0';
		line(out, "env", name);
	}
	for (size_t i = 0; i < bait->env.n && n < EACH_MAX && !full(out); i++) {
		if (passed(plan, bait->env.v[i]))
			continue;
		line(out, "hidden-env", bait->env.v[i]);
		n++;
	}
}

static void secrets(const struct immure_bait *bait, struct immure_buf *out)
{
	for (size_t i = 0; i < bait->secrets.n && !full(out); i++)
		line(out, "secret", bait->secrets.v[i]);
	for (size_t i = 0; i < bait->secret_env.n && !full(out); i++)
		line(out, "secret-env", bait->secret_env.v[i]);
	for (size_t i = 0; i < bait->secret_files.n && !full(out); i++)
		line(out, "secret-file", bait->secret_files.v[i]);
}

static void outside_world(const struct immure_plan *plan, const struct immure_bait *bait,
			  struct immure_buf *out)
{
	static const char *const ports[] = { "tcp4-port", "tcp6-port", "udp4-port", "udp6-port" };
	const struct immure_op *ns = immure_plan_find(plan, IMMURE_OP_NAMESPACES);
	const struct immure_op *id = immure_plan_find(plan, IMMURE_OP_IDMAP);

	for (int i = 0; i < 4; i++)
		if (bait->fd[i] >= 0)
			immure_buf_printf(out, "%s %u\n", ports[i], bait->port[i]);
	if (bait->fd[IMMURE_BAIT_ABSTRACT] >= 0)
		line(out, "abstract", bait->abstract);
	if (bait->fd[IMMURE_BAIT_UNIX] >= 0 && bait->unix_path)
		line(out, "unix-socket", bait->unix_path);
	if (bait->pid && (!ns || (ns->num[0] & 0x20000000 /* CLONE_NEWPID */)))
		immure_buf_printf(out, "host-pid %u %llu\n", bait->pid,
				  (unsigned long long)bait->start_time);
	for (int i = 0; ns && i < IMMURE_BAIT_NS_MAX; i++)
		if ((ns->num[0] & immure_bait_ns[i].flag) && bait->ns[i])
			immure_buf_printf(out, "ns %s %llu\n", immure_bait_ns[i].name,
					  (unsigned long long)bait->ns[i]);
	if (!id)
		id = immure_plan_find(plan, IMMURE_OP_IDMAP_SUBID);
	if (id) {
		immure_buf_printf(out, "id %llu %llu\n", (unsigned long long)id->num[0],
				  (unsigned long long)id->num[2]);
		immure_buf_printf(out, "host-uid %llu\n", (unsigned long long)id->num[1]);
	}
}

void immure_targets_write(const struct immure_plan *plan, const struct immure_bait *bait,
			  struct immure_buf *out)
{
	places(plan, out);
	limits(plan, out);
	outside_world(plan, bait, out);
	immure_targets_network(plan, bait, out);
	areas(plan, out);
	devices(plan, out);
	lent(plan, out);
	masks(plan, out);
	protected_files(plan, out);
	environment(plan, bait, out);
	secrets(bait, out);
}

/* The value after "KIND " in the n-th such line; NULL when there is none. */
static const char *nth(const char *text, const char *kind, size_t n)
{
	size_t len = strlen(kind);

	while (text && *text) {
		if (strncmp(text, kind, len) == 0 && text[len] == ' ' && n-- == 0)
			return text + len + 1;
		text = strchr(text, '\n');
		if (text)
			text++;
	}
	return NULL;
}

size_t immure_targets_count(const char *text, const char *kind)
{
	size_t n = 0;

	while (nth(text, kind, n))
		n++;
	return n;
}

uint64_t immure_targets_number(const char *text, const char *kind)
{
	const char *v = nth(text, kind, 0);

	return v ? strtoull(v, NULL, 10) : 0;
}

bool immure_targets_rlimit(const char *text, const char *name, uint64_t *ret)
{
	size_t len = strlen(name);
	const char *v;

	for (size_t n = 0; (v = nth(text, "rlimit", n)); n++) {
		if (strncmp(v, name, len) == 0 && v[len] == ' ') {
			*ret = strtoull(v + len, NULL, 10);
			return true;
		}
	}
	return false;
}
