/* SPDX-License-Identifier: Apache-2.0 */
/* Init is a copy of its supervisor, and whoever can see init can read its
 * command line in /proc: flags, with the values of --env among them. What the
 * kernel shows there are the bytes at the top of init's own stack, so they are
 * overwritten, the environment beside them as well. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/fd.h"
#include "init/init.h"

struct span {
	uintptr_t from, to;
};

enum { FIELD_ARG_START = 48, FIELDS = 4 }; /* proc(5): arg_start arg_end env_start env_end */

static int find_spans(struct span ret[2])
{
	IMMURE_CLEANUP_FD int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	unsigned long long at[FIELDS];
	char buf[1024], *p;
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);

	if (n < 0)
		return -errno;
	buf[n] = '\0';
	p = strrchr(buf, ')'); /* the name before it may hold anything */
	for (int field = 2; p && field < FIELD_ARG_START; field++)
		p = strchr(p + 1, ' ');
	for (int i = 0; p && i < FIELDS; i++)
		at[i] = strtoull(p, &p, 10);
	if (!p || at[0] == 0 || at[0] > at[1] || at[1] > at[2] || at[2] > at[3])
		return -EPROTO;
	ret[0] = (struct span){ (uintptr_t)at[0], (uintptr_t)at[1] };
	ret[1] = (struct span){ (uintptr_t)at[2], (uintptr_t)at[3] };
	return 0;
}

static bool within(const struct span s[2], const char *p)
{
	uintptr_t at = (uintptr_t)p;

	return (at >= s[0].from && at < s[0].to) || (at >= s[1].from && at < s[1].to);
}

static bool any_within(const struct span s[2], const struct immure_strv *l)
{
	for (size_t i = 0; i < l->n; i++)
		if (within(s, l->v[i]))
			return true;
	return false;
}

int immure_init_forget(const struct immure_plan *p, struct immure_init_step *step)
{
	struct span s[2];
	int r;

	step->stage = IMMURE_STAGE_CAPS;
	step->subject = "command line";
	r = find_spans(s);
	if (r < 0)
		return r;
	/* Of the plan only these are still needed; they are copies, or this is a bug. */
	if (any_within(s, &p->argv) || any_within(s, &p->env) || within(s, p->cwd))
		return -EFAULT;
	for (int i = 0; i < 2; i++) {
		volatile char *c = (volatile char *)s[i].from;

		while ((uintptr_t)c < s[i].to)
			*c++ = '\0';
	}
	return prctl(PR_SET_NAME, "immure-init", 0, 0, 0) < 0 ? -errno : 0;
}
