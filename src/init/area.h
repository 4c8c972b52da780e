/* SPDX-License-Identifier: Apache-2.0 */
/* What the directories that the shared areas are made of are called: by the operation that
 * wants one, so that whoever looks at them later, from outside, knows which is which. */
#ifndef IMMURE_INIT_AREA_H
#define IMMURE_INIT_AREA_H

#include "plan/plan.h"

enum { IMMURE_AREA_NAME = 34 };
enum immure_area_part { IMMURE_AREA_TOP, IMMURE_AREA_UPPER, IMMURE_AREA_WORK };

void immure_area_name(const struct immure_op *op, enum immure_area_part part, char ret[IMMURE_AREA_NAME]);

#endif
