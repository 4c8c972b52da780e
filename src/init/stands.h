/* SPDX-License-Identifier: Apache-2.0 */
/* Mounts hold on to what they were made on. When a program of the host replaces a file
 * by rename, the kernel takes away the mounts that stood on the old one; when it
 * moves a directory away and makes another, they move along. Then what a plan hides or
 * protects is open again: in a session that has long been made nobody sees that
 * without looking. */
#ifndef IMMURE_INIT_STANDS_H
#define IMMURE_INIT_STANDS_H

#include <stdbool.h>

#include "plan/plan.h"

/* Whether what the operation of the MOUNT stage made is still at its place, below
 * root_fd; with a source, also whether that is still what it was, from here. */
bool immure_op_stands(int root_fd, const struct immure_plan *p, const struct immure_op *op);
/* All of them. */
bool immure_plan_stands(int root_fd, const struct immure_plan *p);

#endif
