/* SPDX-License-Identifier: Apache-2.0 */
#include "session/bare.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "init/kin.h"
#include "session/quarantine.h"
#include "session/rmtree.h"

enum { SWEEPS = 5000 }; /* of a millisecond */

static const char SHARED[] = "/tmp";

/* Whether a directory can be made there: in the last part of the way that exists. */
static bool can_be_made(const char *path, size_t len)
{
	char part[sizeof(((struct immure_bare *)0)->dir)];

	if (len >= sizeof(part))
		return false;
	memcpy(part, path, len);
	for (;;) {
		part[len] = '\0';
		if (faccessat(AT_FDCWD, len ? part : "/", W_OK | X_OK, AT_EACCESS) == 0)
			return true;
		if (errno != ENOENT || len == 0)
			return false;
		while (len > 0 && part[--len] != '/')
			;
	}
}

/* The plan's environment with the directory's true name in it. */
static bool make_env(struct immure_bare *b, const struct immure_plan *plan, const char *word)
{
	size_t n = strlen(word), room = 0, len = strlen(b->dir);
	char *at;

	for (size_t i = 0; i < plan->env.n; i++)
		room += strlen(plan->env.v[i]) + len + 1;
	b->env = calloc(plan->env.n + 1, sizeof(*b->env));
	b->texts = malloc(room + 1);
	if (!b->env || !b->texts)
		return false;
	at = b->texts;
	for (size_t i = 0; i < plan->env.n; i++) {
		const char *text = plan->env.v[i], *eq = strchr(text, '=');

		b->env[i] = text;
		if (!eq || strncmp(eq + 1, word, n) != 0 || eq[1 + n] != '/')
			continue;
		b->env[i] = at;
		at += sprintf(at, "%.*s=%s%s", (int)(eq - text), text, b->dir, eq + 1 + n) + 1;
	}
	return true;
}

int32_t immure_bare_name(struct immure_bare *b, const struct immure_plan *plan,
			 struct immure_init *init, struct immure_error **err)
{
	const struct immure_op *op = immure_plan_find(plan, IMMURE_OP_SESSION_DIR);
	const char *slash = op ? strrchr(op->dst, '/') : NULL;
	struct timespec now;
	int n;

	b->wanted = op;
	if (!op)
		return 0;
	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
	/* Inside another sandbox our own place is often out of reach. What is made in the
	 * shared one is made at once or not at all, and is ours alone from then on. */
	if (!can_be_made(op->dst, (size_t)(slash - op->dst)) &&
	    can_be_made(SHARED, sizeof(SHARED) - 1))
		n = snprintf(b->dir, sizeof(b->dir), "%s/immure-%d-%llx", SHARED, (int)getpid(),
			     (unsigned long long)now.tv_sec * 1000000000U +
				     (unsigned long long)now.tv_nsec);
	else
		n = snprintf(b->dir, sizeof(b->dir), "%.*s/%d-%llx", (int)(slash - op->dst), op->dst,
			     (int)getpid(),
			     (unsigned long long)now.tv_sec * 1000000000U +
				     (unsigned long long)now.tv_nsec);
	if (n >= (int)sizeof(b->dir)) {
		b->dir[0] = '\0';
		return immure_fail(err, IMMURE_ERR_LAUNCH, ENAMETOOLONG, "state", op->dst,
				   "%s: too long", op->dst);
	}
	if (!make_env(b, plan, op->dst))
		return immure_fail(err, IMMURE_ERR_NOMEM, 0, "start", "", "out of memory");
	init->session_dir = b->dir;
	init->env = b->env;
	return 0;
}

/* Whether the plan's command gets one of its own by that name. */
static bool is_named(const struct immure_plan *plan, const char *word, const char *part)
{
	size_t n = strlen(word);

	for (size_t i = 0; i < plan->env.n; i++) {
		const char *eq = strchr(plan->env.v[i], '=');

		if (eq && strncmp(eq + 1, word, n) == 0 && strcmp(eq + 1 + n, part) == 0)
			return true;
	}
	return false;
}

static int make_dirs(const struct immure_bare *b, const struct immure_plan *plan, const char *word)
{
	static const char *const parts[] = { "", "/tmp", "/home" };
	const struct immure_op *id = immure_plan_find(plan, IMMURE_OP_IDMAP);
	char path[sizeof(b->dir) + 8];

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		/* One less to make and to remove, which on a disk takes its time. */
		if (i > 0 && !is_named(plan, word, parts[i]))
			continue;
		(void)snprintf(path, sizeof(path), "%s%s", b->dir, parts[i]); /* fits */
		if (mkdir(path, 0700) < 0)
			return -errno;
		if (id && id->num[0] != geteuid() &&
		    chown(path, (uid_t)id->num[0], (gid_t)id->num[2]) < 0)
			return -errno;
	}
	return 0;
}

int32_t immure_bare_make(const struct immure_bare *b, const struct immure_plan *plan,
			 struct immure_error **err)
{
	const struct immure_op *op = immure_plan_find(plan, IMMURE_OP_SESSION_DIR);
	char parent[sizeof(b->dir)];
	int r = -ENOENT;

	if (!op)
		return 0;
	(void)snprintf(parent, sizeof(parent), "%.*s", (int)(strrchr(b->dir, '/') - b->dir), b->dir);
	/* Another session may just be removing the parent, which was empty. */
	for (int i = 0; i < 16 && r == -ENOENT; i++) {
		r = immure_make_dirs(parent);
		if (r == 0)
			r = make_dirs(b, plan, op->dst);
	}
	if (r < 0)
		return immure_fail(err, IMMURE_ERR_LAUNCH, r, "state", b->dir,
				   "%s: cannot be made: %s", b->dir, strerror(-r));
	return 0;
}

/* No child at all, but for those that waiting for any does not see. */
static bool is_childless(void)
{
	siginfo_t si;

	return waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD;
}

int32_t immure_bare_adopt(struct immure_bare *b, bool alone, struct immure_error **err)
{
	long n;

	if (!b->wanted)
		return 0;
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		return immure_fail(err, IMMURE_ERR_LAUNCH, errno, "start", "",
				   "cannot look after orphans: %s", strerror(errno));
	n = alone || is_childless() ? 0 : immure_kin_children(b->before, IMMURE_BARE_CHILDREN);
	if (n < 0)
		return immure_fail(err, IMMURE_ERR_LAUNCH, (int)-n, "start", "",
				   "cannot tell the session's processes from others: %s",
				   strerror((int)-n));
	b->before_n = (size_t)n;
	return 0;
}

void immure_bare_spare(struct immure_bare *b, int pid)
{
	if (b->wanted)
		b->before[b->before_n++] = pid; /* there is room for this one */
}

/* Under a filter and never to gain privileges: what a session's processes are and
 * a stranger that became an orphan meanwhile hardly is. */
static bool is_confined(int pid)
{
	IMMURE_CLEANUP_FREE char *text = NULL;
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/status", pid);
	return immure_read_file_at(AT_FDCWD, path, 1 << 16, &text, NULL) == 0 &&
	       strstr(text, "\nNoNewPrivs:\t1\n") && strstr(text, "\nSeccomp:\t2\n");
}

static bool was_before(const struct immure_bare *b, int pid)
{
	for (size_t i = 0; i < b->before_n; i++)
		if (b->before[i] == pid)
			return true;
	return false;
}

int immure_bare_sweep(const struct immure_bare *b)
{
	struct timespec pause = { .tv_nsec = 1000000 };

	if (is_childless())
		return 0;
	for (int i = 0; b->wanted && i < SWEEPS; i++) {
		int list[IMMURE_BARE_CHILDREN];
		long n = immure_kin_children(list, IMMURE_BARE_CHILDREN);
		bool any = n == -E2BIG;

		if (n == -E2BIG)
			n = IMMURE_BARE_CHILDREN;
		for (long k = 0; k < n; k++) {
			int status;

			/* The list before may name one that ended and whose number is
			 * used again: then it is no child of ours to wait for. */
			if (was_before(b, list[k]))
				continue;
			if (waitpid(list[k], &status, WNOHANG) != 0 || !is_confined(list[k]))
				continue;
			any = true;
			(void)kill(list[k], SIGKILL); /* ESRCH: it is dead */
		}
		if (!any)
			return 0;
		(void)nanosleep(&pause, NULL); /* cut short: looked at once more */
	}
	return b->wanted ? -EBUSY : 0;
}

int immure_bare_done(struct immure_bare *b)
{
	int r = b->dir[0] ? immure_rmtree(b->dir) : 0;

	if (r == 0 && b->dir[0]) {
		size_t n;

		*strrchr(b->dir, '/') = '\0';
		n = strlen(b->dir);
		/* Ours stays for the next one: on a disk it costs as much as a session's. What
		 * was made in somebody's directory for temporary files does not. */
		if (n < 4 || strcmp(b->dir + n - 4, "/tmp") != 0)
			(void)rmdir(b->dir); /* other sessions are in it */
		b->dir[0] = '\0';
	}
	free(b->env);
	free(b->texts);
	b->env = NULL;
	b->texts = NULL;
	return r;
}
