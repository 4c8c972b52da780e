/* SPDX-License-Identifier: Apache-2.0 */
/* Rights that a command has, can take, or can get by executing something. */
#include "attack.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef PR_CAP_AMBIENT
#define PR_CAP_AMBIENT 47
#define PR_CAP_AMBIENT_IS_SET 1
#define PR_CAP_AMBIENT_RAISE 2
#endif

#define NR_LANDLOCK_CREATE_RULESET 444
#define NR_LANDLOCK_RESTRICT_SELF 446
#define LANDLOCK_LAYERS 16

static void status_zero(struct attack_result *r, const char *const *keys, size_t n)
{
	char text[8192];

	if (attack_read_file("/proc/self/status", text, sizeof(text)) < 0) {
		attack_error(r, "/proc/self/status: %s", strerror(errno));
		return;
	}
	for (size_t i = 0; i < n; i++) {
		const char *v = attack_field(text, keys[i]);

		if (!v)
			attack_error(r, "no %s in /proc/self/status", keys[i]);
		else if (strtoull(v, NULL, 16) != 0)
			attack_done(r, "%s is %.16s", keys[i], v);
		else
			attack_denied(r, 0, "every capability set is empty");
	}
}

static void cap_sets(const struct attack_ctx *ctx, struct attack_result *r)
{
	static const char *const keys[] = { "CapInh", "CapPrm", "CapEff", "CapAmb" };
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2] = { 0 };

	(void)ctx;
	status_zero(r, keys, sizeof(keys) / sizeof(keys[0]));
	if (syscall(SYS_capget, &h, d) == 0 &&
	    (d[0].effective | d[0].permitted | d[0].inheritable | d[1].effective |
	     d[1].permitted | d[1].inheritable) != 0)
		attack_done(r, "capget reports a capability");
}

static void cap_bounding(const struct attack_ctx *ctx, struct attack_result *r)
{
	static const char *const keys[] = { "CapBnd" };

	(void)ctx;
	status_zero(r, keys, 1);
	for (int cap = 0; cap < 64; cap++)
		if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1)
			attack_done(r, "capability %d is in the bounding set", cap);
}

static void cap_raise(const struct attack_ctx *ctx, struct attack_result *r)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2] = {
		{ .effective = 1U << 21, .permitted = 1U << 21 }, /* CAP_SYS_ADMIN */
	};

	(void)ctx;
	attack_try(r, syscall(SYS_capset, &h, d), "capset CAP_SYS_ADMIN");
	attack_try(r, prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 21, 0, 0),
		   "raise ambient CAP_SYS_ADMIN");
}

static void no_new_privs(const struct attack_ctx *ctx, struct attack_result *r)
{
	int is = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
	char text[8192];
	const char *v = NULL;

	(void)ctx;
	if (attack_read_file("/proc/self/status", text, sizeof(text)) >= 0)
		v = attack_field(text, "NoNewPrivs");
	if (is != 1 || !v || *v != '1') {
		attack_done(r, "no_new_privs is %d", is);
		return;
	}
	attack_denied(r, 0, "no_new_privs is set");
	attack_try(r, prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), "clear no_new_privs");
}

static void seccomp_mode(const struct attack_ctx *ctx, struct attack_result *r)
{
	char text[8192];
	const char *v = NULL;

	(void)ctx;
	if (attack_read_file("/proc/self/status", text, sizeof(text)) >= 0)
		v = attack_field(text, "Seccomp");
	if (!v || *v != '2')
		attack_done(r, "Seccomp in /proc/self/status is %.1s", v ? v : "?");
	else
		attack_denied(r, 0, "a seccomp filter is in force");
}

/* A domain cannot be read back, but at most sixteen can be stacked: where one
 * is in force, fewer than sixteen more fit. Only this child is affected. */
static void landlock(const struct attack_ctx *ctx, struct attack_result *r)
{
	uint64_t execute = 1;
	long ruleset = syscall(NR_LANDLOCK_CREATE_RULESET, &execute, sizeof(execute), 0);
	int n = 0;

	(void)ctx;
	if (ruleset < 0) {
		/* Where nobody can make one inside, this cannot be counted. */
		attack_unsupported(r, "landlock_create_ruleset: %s", strerror(errno));
		return;
	}
	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); /* else the first one is refused */
	while (n < 32 && syscall(NR_LANDLOCK_RESTRICT_SELF, ruleset, 0) == 0)
		n++;
	if (errno != E2BIG)
		attack_error(r, "landlock_restrict_self: %s after %d", strerror(errno), n);
	else if (n >= LANDLOCK_LAYERS)
		attack_done(r, "no Landlock domain is in force");
	else
		attack_denied(r, 0, "a Landlock domain is in force: %d more fit", n);
}

static void raise_ids(const struct attack_ctx *ctx, struct attack_result *r)
{
	unsigned int uid = getuid() == 0 ? 65534 : 0, gid = getgid() == 0 ? 65534 : 0;

	(void)ctx;
	/* The calls themselves: a library would speak to all threads. */
	attack_try(r, syscall(SYS_setuid, uid), "setuid");
	attack_try(r, syscall(SYS_setreuid, uid, uid), "setreuid");
	attack_try(r, syscall(SYS_setresuid, uid, uid, uid), "setresuid");
	attack_try(r, syscall(SYS_setgid, gid), "setgid");
	attack_try(r, syscall(SYS_setresgid, gid, gid, gid), "setresgid");
}

static void groups(const struct attack_ctx *ctx, struct attack_result *r)
{
	gid_t gid = 0;

	(void)ctx;
	attack_try(r, syscall(SYS_setgroups, 0, NULL), "setgroups to none");
	attack_try(r, syscall(SYS_setgroups, 1, &gid), "setgroups to 0");
}

/* "UID GID", and no other in any of the four places. */
static void identity(const struct attack_ctx *ctx, struct attack_result *r)
{
	const char *value = attack_first(ctx, "id");
	unsigned int uid, gid;
	uid_t u[3];
	gid_t g[3];

	if (!value) {
		attack_unsupported(r, "no identity told");
		return;
	}
	uid = (unsigned int)attack_number(&value);
	gid = (unsigned int)attack_number(&value);
	if (getresuid(&u[0], &u[1], &u[2]) < 0 || getresgid(&g[0], &g[1], &g[2]) < 0) {
		attack_error(r, "getresuid: %s", strerror(errno));
		return;
	}
	for (int i = 0; i < 3; i++)
		if (u[i] != uid || g[i] != gid)
			attack_done(r, "runs as %u:%u", u[i], g[i]);
	attack_denied(r, 0, "runs as %u:%u and nothing else", uid, gid);
}

static void give_away(const struct attack_ctx *ctx, struct attack_result *r)
{
	const char *dir = attack_first(ctx, "tmp");
	unsigned int other = getuid() == 1 ? 2 : 1;
	char path[4096];
	int fd;

	if (!dir)
		dir = attack_first(ctx, "workspace-rw");
	if (!dir) {
		attack_unsupported(r, "no place to make a file");
		return;
	}
	attack_name(path, sizeof(path), dir);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) {
		attack_error(r, "create in %s: %s", dir, strerror(errno));
		return;
	}
	attack_try(r, fchown(fd, other, (gid_t)-1), "chown to another user");
	attack_try(r, fchown(fd, (uid_t)-1, other), "chown to another group");
	(void)close(fd); /* removed next */
	(void)unlink(path);
}

static void securebits(const struct attack_ctx *ctx, struct attack_result *r)
{
	(void)ctx;
	attack_try(r, prctl(PR_CAPBSET_DROP, 0, 0, 0, 0), "drop a capability from the bounding set");
	attack_try(r, prctl(PR_SET_SECUREBITS, 1, 0, 0, 0), "set securebits");
}

static const struct attack table[] = {
	{ "privileges.capabilities", cap_sets },
	{ "privileges.bounding-set", cap_bounding },
	{ "privileges.raise-capability", cap_raise },
	{ "privileges.no-new-privs", no_new_privs },
	{ "privileges.seccomp", seccomp_mode },
	{ "privileges.landlock", landlock },
	{ "privileges.raise-ids", raise_ids },
	{ "privileges.groups", groups },
	{ "privileges.identity", identity },
	{ "privileges.give-away", give_away },
	{ "privileges.securebits", securebits },
};
const struct attack_list attack_privileges = { table, sizeof(table) / sizeof(table[0]) };
