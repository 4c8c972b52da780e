/* SPDX-License-Identifier: Apache-2.0 */
/* By what the attacker knows the values of secrets: they are read here, as the caller, and what goes
 * on is their length and a hash. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/needle.h"
#include "evidence/bait.h"
#include "plan/plan.h"

static const char *of_caller(const char *const *env, const char *name)
{
	size_t len = strlen(name);

	for (; env && *env; env++)
		if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
			return *env + len + 1;
	return NULL;
}

/* As immure-intercept reads them, without the line's end. */
static size_t read_value(const char *from, const char *const *env, char *buf, size_t room)
{
	IMMURE_CLEANUP_FD int fd = -1;
	const char *value;
	ssize_t n = 0;

	if (strncmp(from, "env:", 4) == 0) {
		value = of_caller(env, from + 4);
		n = value ? (ssize_t)strlen(value) : 0;
		if (n > (ssize_t)room)
			return 0;
		memcpy(buf, value ? value : "", (size_t)n);
	} else if (strncmp(from, "file:", 5) == 0) {
		fd = open(from + 5, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		n = fd < 0 ? 0 : read(fd, buf, room);
	}
	while (n > 0 && (buf[n - 1] == '\n' || buf[n - 1] == '\r'))
		n--;
	return n > 0 ? (size_t)n : 0;
}

int immure_bait_secrets(struct immure_bait *b, const struct immure_plan *plan, const char *const *env)
{
	static const size_t room = 16 * 1024;
	char value[16 * 1024];

	for (size_t i = 0; i < plan->ops_n; i++) {
		const struct immure_op *op = &plan->ops[i];
		const char *name = op->kind == IMMURE_OP_SECRET ? strchr(op->src, ' ') : NULL;
		struct immure_needle n;
		uint64_t base;
		size_t len;

		if (!name)
			continue;
		len = read_value(op->dst, env, value, room);
		if (getrandom(&base, sizeof(base), 0) != sizeof(base))
			return -EIO;
		if (len >= IMMURE_NEEDLE_LEAST) { /* shorter ones are in every text */
			immure_needle_make(&n, value, len, base);
			(void)immure_strv_add(&b->arena, &b->secrets, immure_arena_printf(&b->arena, "%u %" PRIu64
					      " %" PRIu64 " %s", n.len, n.base, n.hash, name + 1));
		}
		immure_wipe(value, sizeof(value));
		(void)immure_strv_add(&b->arena, strncmp(op->dst, "env:", 4) == 0 ? &b->secret_env : &b->secret_files,
				      strchr(op->dst, ':') + 1); /* failure stays in the arena */
	}
	return b->arena.failed ? -ENOMEM : 0;
}
