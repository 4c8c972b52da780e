/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seccomp filters: the built-in ones, a user's own, and how they are installed.
 *
 * Built-in filters are compiled from src/kernel/filters/NAME.policy when the
 * project is built. There are three:
 *
 *   default  allow-list that runs ordinary development tools
 *   strict   the same with less kernel surface
 *   guard    allows almost everything; closes foreign ABIs, socket families
 *            outside the asked ones, io_uring (it would bypass every filter),
 *            keyrings and terminal injection. It is installed beneath a user's
 *            own filter, so that whatever that one allows, those stay closed.
 *
 * Order in a launch: a built-in filter goes onto init itself, before it starts
 * the command, for which it permits everything init does. A user's filter is
 * not written with init in mind: install `guard` on init, and the user's filter
 * in the command's process right before execve.
 */
#ifndef IMMURE_KERNEL_SECCOMP_H
#define IMMURE_KERNEL_SECCOMP_H

#include <linux/filter.h>
#include <stdint.h>

struct immure_filter {
	const struct sock_filter *insns;
	uint16_t len;
};

/* Socket families as a set: bit N stands for AF_ number N. */
#define IMMURE_FAMILY_UNIX    (UINT64_C(1) << 1)
#define IMMURE_FAMILY_INET    (UINT64_C(1) << 2)
#define IMMURE_FAMILY_INET6   (UINT64_C(1) << 10)
#define IMMURE_FAMILY_NETLINK (UINT64_C(1) << 16) /* NETLINK_ROUTE only */
#define IMMURE_FAMILIES_LOCAL IMMURE_FAMILY_UNIX
/* For a session with a network namespace of its own, or with the host's. */
#define IMMURE_FAMILIES_NET                                                                     \
	(IMMURE_FAMILY_UNIX | IMMURE_FAMILY_INET | IMMURE_FAMILY_INET6 | IMMURE_FAMILY_NETLINK)

/* The built-in filter `name` for this machine that allows the most families
 * and none outside `families`; NULL when there is none (unknown name, or not
 * even unix sockets may be allowed): the caller must refuse. `strict` never
 * allows NETLINK, whatever is asked. Static storage. */
const struct immure_filter *immure_filter_builtin(const char *name, uint64_t families);

/* Installs on the calling thread; no_new_privs must be set. flags: SECCOMP_FILTER_FLAG_*.
 * 0 or -errno; with SECCOMP_FILTER_FLAG_NEW_LISTENER the descriptor. No
 * allocation, one syscall: may be used between vfork and exec. */
int immure_filter_install(const struct immure_filter *f, uint32_t flags);

/* A user's filter: PATH is a file of struct sock_filter (the kernel's own form, in
 * this machine's byte order), PATH.sha256 its checksum as sha256sum(1) writes
 * it. Refused unless
 *   - PATH is absolute, no component is a symlink, both are regular files that
 *     belong to `owner` or root and only the owner may write;
 *   - the checksum is right;
 *   - immure_bpf_check() takes it;
 *   - run in the interpreter, it allows nothing for foreign architectures or the
 *     x32 bit, and it does allow execve.
 * 0 or -errno; *ret_why (may be NULL) then says why in a few words, static.
 * *ret is freed with immure_filter_free(). ret_digest (may be NULL): hex of the
 * file's SHA-256, for plan and proof. */
int immure_filter_load(const char *path, uint32_t owner, struct immure_filter *ret,
		       char ret_digest[65], const char **ret_why);
/* Only for what immure_filter_load() gave. */
void immure_filter_free(struct immure_filter *f);

#endif
