/* SPDX-License-Identifier: Apache-2.0 */
/* How the processes that read what a sandbox says close themselves in. */
#ifndef IMMURE_EGRESS_CONFINE_H
#define IMMURE_EGRESS_CONFINE_H

#include <stdbool.h>
#include <stdint.h>

/* Whether a descriptor is a control socket, as a supervisor hands it over. */
bool immure_confine_has_control(int fd);
/* Nothing of whoever started the calling process stays but fd: 0, 1 and 2 are /dev/null
 * (a sanitizer keeps 2), what is above fd is closed. 0, -errno. */
int immure_confine_keep_only(int fd);

/* For the calling process, for good, and looks whether that is so. filter: name of a built-in one.
 * memory_max: bytes that it may map; the kernel's buffers are not in it, they have their own limits.
 * no_bind: no socket is bound any more. 0, or -errno with *ret_why. */
int immure_confine(const char *filter, uint64_t memory_max, bool no_bind, uint32_t *ret_landlock_abi,
		   const char **ret_why);

#endif
