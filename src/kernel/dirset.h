/* SPDX-License-Identifier: Apache-2.0 */
/* Which names a directory may have: one pass over its entries answers "surely
 * not there" for any number of names, without a system call for each. Case is
 * folded (ASCII), because some directories are looked up that way. */
#ifndef IMMURE_KERNEL_DIRSET_H
#define IMMURE_KERNEL_DIRSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct immure_dirset {
	uint64_t bits[64];
	bool complete; /* false: unreadable, too large or not to be trusted: every name
			* may be there */
};

/* name may be there. The set is zeroed before the first. */
void immure_dirset_add(struct immure_dirset *s, const char *name);
/* fd: a directory open for reading, at its start. Gives up after `most` entries. */
void immure_dirset_read(struct immure_dirset *s, int fd, size_t most);
bool immure_dirset_may_have(const struct immure_dirset *s, const char *name, size_t len);

#endif
