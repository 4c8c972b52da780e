/* SPDX-License-Identifier: Apache-2.0 */
/* What init said when a step of the plan failed, as an error with what helps. */
#ifndef IMMURE_SESSION_REFUSED_H
#define IMMURE_SESSION_REFUSED_H

#include "base/error.h"
#include "init/message.h"

/* Gives -code, as immure_fail does. */
int32_t immure_refused(const struct immure_init_msg *m, int32_t code, struct immure_error **err);

#endif
