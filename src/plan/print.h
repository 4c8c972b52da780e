/* SPDX-License-Identifier: Apache-2.0 */
/* A plan for people, in parts. */
#ifndef IMMURE_PLAN_PRINT_H
#define IMMURE_PLAN_PRINT_H

#include "base/buf.h"
#include "plan/plan.h"

/* print_network.c: what an operation of the network does; false: it is none. */
bool immure_print_network(struct immure_buf *o, const struct immure_op *op);

#endif
