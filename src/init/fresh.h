/* SPDX-License-Identifier: Apache-2.0 */
/* The part of the view that a sandbox has for itself when it is made after a
 * template: what anybody could write to or be seen in (/proc, /sys, private areas,
 * terminals, shared memory), and what the plan puts into those. The rest of the
 * view nobody inside can change, so a copy of the template's mounts is as good. */
#ifndef IMMURE_INIT_FRESH_H
#define IMMURE_INIT_FRESH_H

#include <stdbool.h>
#include <stdint.h>

#include "init/init.h"

enum { IMMURE_FRESH_STEPS = 512, IMMURE_FRESH_HELD = 2048 };

enum immure_fresh_kind {
	IMMURE_FRESH_SHARED, /* the template's */
	IMMURE_FRESH_NEW,    /* made anew */
	IMMURE_FRESH_AGAIN,  /* the operation once more, in what was made anew */
	IMMURE_FRESH_CLONE,  /* the template's mount there, into what was made anew */
};

struct immure_fresh {
	uint32_t n;
	struct {
		uint32_t op;
		uint32_t kind;
	} step[IMMURE_FRESH_STEPS];
	uint32_t held_n, held[IMMURE_FRESH_HELD]; /* operations whose mounts are shared */
	uint32_t missing; /* of these, how many have nothing to be on at the moment */
};

/* What operation i of the plan needs; a pure function of the plan. */
enum immure_fresh_kind immure_fresh_kind_of(const struct immure_plan *p, uint32_t i);
/* Whether a view that only is to be copied needs it: not what is put only into what every
 * copy has of its own, in /proc and /sys. The same. */
bool immure_fresh_needs(const struct immure_plan *p, uint32_t i);
/* Whether what these say of all operations of the plan holds together: nothing that is
 * shared lies in what is only made again. The same. */
bool immure_fresh_fits(const struct immure_plan *p);
/* In the template, when its view is complete. 0 or -errno. */
int immure_fresh_prepare(const struct immure_plan *p, struct immure_fresh *ret);
/* A host program that replaces a file by another takes away what was mounted on it, in
 * every namespace. Puts masks and protections back on what is there now: how many, or
 * -errno (-ESTALE: something that cannot be). In the template, when its mounts have
 * changed, and before each use while something is missing. */
int immure_fresh_repair(const struct immure_plan *p, struct immure_fresh *f);
/* In a process that has a copy of the template's mounts, and is in the other namespaces
 * it will live in. 0 or -errno with *step set. ret_areas: what its areas are directories of,
 * -1 = it has none; NULL: not wanted. */
int immure_fresh_apply(const struct immure_plan *p, const struct immure_fresh *f, int *ret_areas,
		       struct immure_init_step *step);

#endif
