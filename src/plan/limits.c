/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits, each by the best this host offers:
 *
 *	memory     cgroup: enforced     else sampled over the session's processes
 *	processes  cgroup: enforced     else RLIMIT_NPROC: enforced, but never on uid 0
 *	cpus       cgroup: enforced     else CPU affinity: whole CPUs, enforced
 *	cpu_time   RLIMIT_CPU: enforced for each process
 *	wall_time, output               enforced by the supervisor
 *	disk       the size of what the private areas are in (tree.c)
 */
#include <string.h>

#include "plan/compile.h"

static const char KEY_MEMORY[] = "limits.memory";
static const char KEY_PROCESSES[] = "limits.processes";
static const char KEY_CPUS[] = "limits.cpus";

static bool op1(struct immure_compile *b, enum immure_op_kind kind, const char *src, uint64_t num,
		const char *key)
{
	struct immure_op *op = immure_compile_op(b, kind, src, NULL, key);

	if (op)
		op->num[0] = num;
	return op;
}

/* A ':' in a directory's name would end it early; then the controller is as
 * good as absent. */
static bool usable(const char *dir)
{
	return dir && !strchr(dir, ':');
}

struct controllers {
	bool memory, pids, cpu;
};

static struct controllers wanted(const struct immure_compile *b)
{
	const struct immure_cgroup_facts *c = &b->f->cgroup;
	const struct immure_limits *l = &b->p->limits;
	bool v1 = c->kind == IMMURE_CGROUP_V1;
	struct controllers w = { 0 };

	if (c->kind == IMMURE_CGROUP_NONE || (!v1 && !usable(c->v2)))
		return w;
	w.memory = l->memory && c->memory && (!v1 || usable(c->v1_memory));
	w.pids = l->processes && c->pids && (!v1 || usable(c->v1_pids));
	w.cpu = l->cpus && c->cpu && (!v1 || usable(c->v1_cpu));
	return w;
}

static const char *parents(struct immure_compile *b, struct controllers w)
{
	const struct immure_cgroup_facts *c = &b->f->cgroup;
	struct { bool use; const char *name, *dir; } v1[] = {
		{ w.memory, "memory", c->v1_memory },
		{ w.pids, "pids", c->v1_pids },
		{ w.cpu, "cpu", c->v1_cpu },
		{ usable(c->v1_cpuacct), "cpuacct", c->v1_cpuacct },
	};
	const char *text = "";

	if (c->kind == IMMURE_CGROUP_V2)
		return c->v2;
	for (size_t i = 0; text && i < sizeof(v1) / sizeof(v1[0]); i++)
		if (v1[i].use)
			text = immure_arena_printf(b->a, "%s%s%s=%s", text, *text ? ":" : "",
						   v1[i].name, v1[i].dir);
	return text;
}

static bool cgroup(struct immure_compile *b, struct controllers w)
{
	const struct immure_limits *l = &b->p->limits;
	struct immure_op *leaf;
	const char *src;

	if (!w.memory && !w.pids && !w.cpu)
		return true; /* a leaf costs; nothing would use it */
	src = parents(b, w);
	leaf = src ? immure_compile_op(b, IMMURE_OP_CGROUP_LEAF, src, NULL, "limits") : NULL;
	if (!leaf)
		return false;
	leaf->num[0] = b->f->cgroup.kind;
	leaf->num[1] = b->f->cgroup.kind == IMMURE_CGROUP_V2 && b->f->cgroup.v2_enable;
	if (w.memory && !op1(b, IMMURE_OP_CGROUP_MEMORY, NULL, l->memory, KEY_MEMORY))
		return false;
	if (w.pids && !op1(b, IMMURE_OP_CGROUP_PIDS, NULL, l->processes, KEY_PROCESSES))
		return false;
	return !w.cpu || op1(b, IMMURE_OP_CGROUP_CPU, NULL, l->cpus, KEY_CPUS);
}

static bool rlimits(struct immure_compile *b, struct controllers w)
{
	const struct immure_limits *l = &b->p->limits;
	/* One byte, not none: where core_pattern is a pipe the kernel does not look
	 * at the limit, but for this one value, and starts the host's crash handler
	 * as root outside. A file of one byte is never written either. */
	bool ok = op1(b, IMMURE_OP_RLIMIT, "core", 1, "(always)");

	/* On some desktops an ordinary user may ask for real-time scheduling,
	 * which comes before everything else that the host does. */
	ok = ok && op1(b, IMMURE_OP_RLIMIT, "rtprio", 0, "(always)");
	ok = ok && op1(b, IMMURE_OP_RLIMIT, "nice", 0, "(always)");
	if (l->processes && !w.pids) {
		ok = ok && op1(b, IMMURE_OP_RLIMIT, "nproc", l->processes, KEY_PROCESSES);
		/* The kernel exempts the real uid 0, whatever it is called inside. */
		if (b->f->uid == 0 && b->p->identity != IMMURE_IDENTITY_NOBODY)
			immure_compile_gap(b, false, KEY_PROCESSES, "resources",
					 "the number of processes cannot be limited: no pids cgroup "
					 "here, and RLIMIT_NPROC does not bind uid 0",
					 "run as an ordinary user, or identity: nobody, or give this "
					 "process a writable cgroup");
	}
	if (l->cpu_time)
		ok = ok && op1(b, IMMURE_OP_RLIMIT, "cpu", l->cpu_time / 1000 +
			       (l->cpu_time % 1000 != 0), "limits.cpu_time");
	if (l->open_files)
		ok = ok && op1(b, IMMURE_OP_RLIMIT, "nofile", l->open_files, "limits.open_files");
	if (l->file_size)
		ok = ok && op1(b, IMMURE_OP_RLIMIT, "fsize", l->file_size, "limits.file_size");
	if (l->cpus && !w.cpu)
		ok = ok && op1(b, IMMURE_OP_CPU_AFFINITY, NULL, l->cpus / 1000 +
			       (l->cpus % 1000 != 0), KEY_CPUS);
	return ok;
}

/* Files in private areas are memory. A cgroup counts them; sampling does not,
 * so there the areas together get no more than the memory limit. */
uint64_t immure_compile_disk(const struct immure_compile *b)
{
	const struct immure_limits *l = &b->p->limits;

	if (l->memory && !wanted(b).memory && (!l->disk || l->disk > l->memory))
		return l->memory;
	return l->disk;
}

int32_t immure_compile_limits(struct immure_compile *b)
{
	struct controllers w = wanted(b);

	return cgroup(b, w) && rlimits(b, w) ? 0 : -IMMURE_ERR_NOMEM;
}

int32_t immure_compile_supervision(struct immure_compile *b)
{
	const struct immure_limits *l = &b->p->limits;
	int32_t r;

	if (l->wall_time) {
		struct immure_op *op = immure_compile_op(b, IMMURE_OP_WALL_TIME, NULL, NULL,
						       "limits.wall_time");

		if (!op)
			return -IMMURE_ERR_NOMEM;
		op->num[0] = l->wall_time;
		op->num[1] = 2000; /* from SIGTERM to SIGKILL */
	}
	if (l->output) {
		struct immure_op *op = immure_compile_op(b, IMMURE_OP_OUTPUT_CAP, NULL, NULL,
						       "limits.output");

		if (!op)
			return -IMMURE_ERR_NOMEM;
		op->num[0] = l->output;
		op->num[1] = l->output_over == IMMURE_OUTPUT_FAIL;
	}
	if (b->p->capture != IMMURE_KEEP_CONTENT) {
		struct immure_op *op = immure_compile_op(b, IMMURE_OP_CAPTURE, NULL, NULL,
						       "session.capture");

		if (!op)
			return -IMMURE_ERR_NOMEM;
		op->num[0] = b->p->capture;
	}
	r = immure_compile_mediator(b);
	if (r < 0)
		return r;
	if (l->memory && !wanted(b).memory &&
	    !op1(b, IMMURE_OP_MEMORY_WATCH, NULL, l->memory, KEY_MEMORY))
		return -IMMURE_ERR_NOMEM;
	for (size_t i = 0; i < b->later_n; i++) {
		const struct immure_later *from = &b->later[i];
		struct immure_op *op = immure_compile_op(b, from->kind, from->src, from->dst,
						       from->key);

		if (!op)
			return -IMMURE_ERR_NOMEM;
		op->flags = from->flags;
	}
	return 0;
}
