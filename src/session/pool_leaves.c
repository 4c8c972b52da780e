/* SPDX-License-Identifier: Apache-2.0 */
#include "session/pool_leaves.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"

/* The last member leaves a leaf just after it was reaped. */
static int remove_one(struct immure_cgroup *c)
{
	struct timespec pause = { .tv_nsec = 1000000 };
	int r = 0;

	for (int i = 0; i < 1000 && c->n > 0; i++) {
		r = immure_cgroup_remove(c);
		if (r != -EBUSY)
			break;
		immure_cgroup_kill(c);
		(void)nanosleep(&pause, NULL); /* cut short: tried once more */
	}
	return r;
}

/* In the process that outlives the holder: the names are those of before they were
 * made. The template dies of the holder's death, and all that was made after it. */
static void after_holder(void *ctx)
{
	struct immure_pool_leaves *l = ctx;

	for (uint32_t i = 0; i < l->n; i++) {
		struct immure_cgroup *c = &l->v[i];

		for (int k = 0; k < c->n; k++)
			c->dir_fd[k] = open(c->path[k], O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (c->n > 0 && c->dir_fd[0] >= 0)
			(void)remove_one(c); /* what is left gc finds by its name */
	}
}

static int name_all(struct immure_pool_leaves *l, const struct immure_op *leaf)
{
	struct timespec now;
	char name[64];
	int r = 0;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
	for (uint32_t i = 0; i < l->n && r == 0; i++) {
		immure_cgroup_init(&l->v[i]);
		/* As every leaf of ours, after its maker and a time. */
		(void)snprintf(name, sizeof(name), "immure-%d-%llx", (int)getpid(),
			       (unsigned long long)now.tv_sec * 1000000000U +
				       (unsigned long long)now.tv_nsec + i);
		r = immure_cgroup_name(&l->v[i], leaf->num[0] == 2, leaf->src, name);
	}
	return r;
}

static int limit(struct immure_cgroup *c, const struct immure_plan *plan)
{
	int r = 0;

	for (size_t i = 0; i < plan->ops_n && r == 0; i++) {
		const struct immure_op *op = &plan->ops[i];

		if (op->kind == IMMURE_OP_CGROUP_MEMORY)
			r = immure_cgroup_set_memory(c, op->num[0]);
		else if (op->kind == IMMURE_OP_CGROUP_PIDS)
			r = immure_cgroup_set_pids(c, op->num[0]);
		else if (op->kind == IMMURE_OP_CGROUP_CPU)
			r = immure_cgroup_set_cpu(c, op->num[0]);
	}
	return r;
}

/* v2: the file to enter by is opened here, as v1's is: what counts then is our right
 * to, not that of who enters. */
static int make_one(struct immure_cgroup *c, const struct immure_plan *plan)
{
	int r = immure_cgroup_make(c);

	if (r == 0)
		r = limit(c, plan);
	if (r == 0 && c->v2) {
		c->tasks_fd[0] = openat(c->dir_fd[0], "cgroup.procs", O_WRONLY | O_CLOEXEC);
		r = c->tasks_fd[0] < 0 ? -errno : 0;
	}
	return r;
}

static int enable(const struct immure_plan *p, const struct immure_op *leaf)
{
	char list[64];

	(void)snprintf(list, sizeof(list), "%s%s%s",
		       immure_plan_find(p, IMMURE_OP_CGROUP_MEMORY) ? "+memory " : "",
		       immure_plan_find(p, IMMURE_OP_CGROUP_PIDS) ? "+pids " : "",
		       immure_plan_find(p, IMMURE_OP_CGROUP_CPU) ? "+cpu " : "");
	return leaf->num[1] ? immure_cgroup_enable(leaf->src, list) : 0;
}

int32_t immure_pool_leaves_make(struct immure_pool_leaves *l, const struct immure_plan *plan,
				uint32_t count, struct immure_error **err)
{
	const struct immure_op *leaf = immure_plan_find(plan, IMMURE_OP_CGROUP_LEAF);
	int r;

	if (!leaf)
		return 0;
	l->v = calloc(count, sizeof(*l->v));
	if (!l->v)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "pool", "", "out of memory");
	l->n = count;
	r = name_all(l, leaf);
	if (r == 0)
		r = enable(plan, leaf);
	if (r == 0) { /* before there is anything to remove: else a kill in between leaves it */
		struct immure_cgroup none;

		immure_cgroup_init(&none);
		r = immure_janitor_start(&l->janitor, &none, NULL, after_holder, l);
	}
	for (uint32_t i = 0; i < l->n && r == 0; i++)
		r = make_one(&l->v[i], plan);
	return r < 0 ? immure_fail(err, IMMURE_ERR_LAUNCH, -r, "cgroup", leaf->key,
				   "cannot make a cgroup for each command: %s", strerror(-r)) : 0;
}

int immure_pool_leaves_done(struct immure_pool_leaves *l)
{
	int r = 0;

	for (uint32_t i = 0; i < l->n; i++) {
		int one = l->v[i].dir_fd[0] >= 0 ? remove_one(&l->v[i]) : 0;

		r = r < 0 ? r : one;
		immure_cgroup_done(&l->v[i]);
	}
	immure_janitor_dismiss(&l->janitor);
	free(l->v);
	*l = (struct immure_pool_leaves)IMMURE_POOL_LEAVES_INIT;
	return r;
}
