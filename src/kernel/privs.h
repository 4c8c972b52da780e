/* SPDX-License-Identifier: Apache-2.0 */
/* Identities and privileges of the calling thread. All return 0 or -errno. */
#ifndef IMMURE_KERNEL_PRIVS_H
#define IMMURE_KERNEL_PRIVS_H

#include <stdint.h>

/* Writes one-line id maps for the calling process, which must be in a user
 * namespace it made (user_namespaces(7)): setgroups is denied first. */
int immure_ids_map_self(uint32_t uid_in, uint32_t uid_out, uint32_t gid_in, uint32_t gid_out);
/* The same for a child, by a parent that has the capabilities for it. */
int immure_ids_map_child(int pid, uint32_t uid_in, uint32_t uid_out, uint32_t gid_in,
			 uint32_t gid_out);
/* Becomes these ids in all four slots; groups are emptied when permitted. */
int immure_ids_become(uint32_t uid, uint32_t gid);
/* 0 when all of them are these, -EPERM when not. */
int immure_ids_check(uint32_t uid, uint32_t gid);
/* Empties the bounding, ambient, inheritable, permitted and effective sets and
 * locks what an exec by uid 0 could give back (capabilities(7)). */
int immure_caps_drop_all(void);
/* -EPERM when any capability is left in any set, 0 when none. */
int immure_caps_check_none(void);
/* The same of the effective, permitted and inheritable sets only. */
int immure_caps_check_empty(void);
/* The same without a user namespace of one's own: the bounding set is dropped where
 * the caller may, else no_new_privs, which must be set too, keeps what is in it
 * from coming back. */
int immure_caps_drop_held(void);
int immure_caps_check_held(void);
/* Whether what an exec by uid 0 could give back is locked: 0, or -EPERM. */
int immure_caps_check_locked(void);

#endif
