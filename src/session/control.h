/* SPDX-License-Identifier: Apache-2.0 */
/* How a supervisor in a process of its own tells the host program how the run
 * ended: one datagram whose descriptor is a memfd with the encoded result or
 * error. Sizes are bounded; what does not decode is an error. */
#ifndef IMMURE_SESSION_CONTROL_H
#define IMMURE_SESSION_CONTROL_H

#include <stddef.h>

#include "session/result.h"

/* result or err, the other NULL. */
int immure_control_send(int fd, const struct immure_result *result, const struct immure_error *err);
/* 1: *ret_result is set; 0: nothing yet; negative code with err set: the run was
 * refused, or the supervisor is gone. Never blocks. */
int32_t immure_control_receive(int fd, struct immure_result **ret_result, struct immure_error **err);
/* A sealed memfd holding data, or -errno. */
int immure_memfd_of(const char *name, const void *data, size_t len);

#endif
