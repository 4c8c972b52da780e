/* SPDX-License-Identifier: Apache-2.0 */
/* What follows from the rows of doctor, however they came: tried just now, or tried
 * before and kept (cache.c). */
#include <stdlib.h>
#include <string.h>

#include "facts/probe.h"

static const struct immure_fact *row(const struct immure_facts *f, const char *name)
{
	for (size_t i = 0; i < f->all_n; i++)
		if (strcmp(f->all[i].name, name) == 0)
			return &f->all[i];
	return NULL;
}

/* What a row says where it says yes. */
static const char *told(const struct immure_facts *f, const char *name)
{
	const struct immure_fact *r = row(f, name);

	return r && r->ok == IMMURE_YES ? r->detail : NULL;
}

static enum immure_tri answer(const struct immure_facts *f, const char *name)
{
	const struct immure_fact *r = row(f, name);

	return r ? r->ok : IMMURE_UNTRIED;
}

/* A limit that could not be set when tried must not be planned with. */
static void correct_cgroup(struct immure_facts *f)
{
	struct immure_cgroup_facts *c = &f->cgroup;

	if (answer(f, "cgroup_memory") != IMMURE_YES) {
		c->memory = false;
		c->v1_memory = NULL;
	}
	if (answer(f, "cgroup_pids") != IMMURE_YES) {
		c->pids = false;
		c->v1_pids = NULL;
	}
	if (answer(f, "cgroup_cpu") != IMMURE_YES) {
		c->cpu = false;
		c->v1_cpu = NULL;
	}
	if (!c->memory && !c->pids && !c->cpu)
		*c = (struct immure_cgroup_facts){ 0 };
}

void immure_facts_conclude(struct immure_facts *f)
{
	const struct immure_fact *bwrap = row(f, "bwrap");

	f->userns = answer(f, "userns");
	f->userns_mount = answer(f, "userns_mount");
	f->userns_proc = answer(f, "userns_proc");
	f->netns = answer(f, "netns");
	f->egress = answer(f, "egress");
	f->egress_way = told(f, "egress");
	f->overlay_userns = answer(f, "overlay_userns");
	f->seccomp = answer(f, "seccomp");
	f->seccomp_notify = answer(f, "seccomp_notify");
	f->kvm = answer(f, "kvm");
	f->newuidmap = answer(f, "subids");
	if (answer(f, "landlock") != IMMURE_YES)
		f->landlock_abi = 0;
	correct_cgroup(f);
	f->bwrap = bwrap ? bwrap->ok : IMMURE_UNTRIED;
	f->bwrap_net = answer(f, "bwrap_net");
	f->bwrap_way = told(f, "bwrap_net");
	f->bwrap_pins = f->bwrap == IMMURE_YES && strstr(bwrap->detail, "by descriptor");
	for (size_t i = 0; f->bwrap == IMMURE_YES && !f->bwrap_path && i < f->programs_n; i++) {
		char *real = strcmp(f->programs[i].name, "bwrap") == 0 && f->programs[i].path
				     ? realpath(f->programs[i].path, NULL) : NULL;

		f->bwrap_path = real ? immure_arena_strdup(&f->arena, real) : NULL;
		free(real);
	}
	if (!f->bwrap_path && f->bwrap == IMMURE_YES)
		f->bwrap = IMMURE_NO;
	f->full = true;
}
