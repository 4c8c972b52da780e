/* SPDX-License-Identifier: Apache-2.0 */
#include "init/run.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/fdmsg.h"
#include "policy/env.h"

/* ---- the sender's side ---- */

/* Calls put for every string, in order: cwd, argv, env. */
static int each(const struct immure_run_spec *s, int (*put)(void *ctx, const char *text, size_t n),
		void *ctx)
{
	const char *const *lists[] = { s->argv, s->env };
	const char *cwd = s->cwd ? s->cwd : "";
	int r = put(ctx, cwd, strlen(cwd) + 1);

	for (int i = 0; i < 2; i++)
		for (const char *const *p = lists[i]; p && *p && r == 0; p++)
			r = put(ctx, *p, strlen(*p) + 1);
	return r;
}

struct counted {
	size_t bytes, strings;
};

static int count(void *ctx, const char *text, size_t n)
{
	struct counted *c = ctx;

	(void)text;
	c->bytes += n;
	c->strings++;
	return c->bytes > IMMURE_RUN_BLOB_MAX || c->strings > IMMURE_RUN_STRINGS_MAX ? -E2BIG : 0;
}

static int append(void *ctx, const char *text, size_t n)
{
	char **at = ctx;

	memcpy(*at, text, n);
	*at += n;
	return 0;
}

static int append_fd(void *ctx, const char *text, size_t n)
{
	return immure_write_all(*(int *)ctx, text, n);
}

static int memfd_for(const struct immure_run_spec *s)
{
	int fd = (int)syscall(SYS_memfd_create, "immure-run", 1U /* MFD_CLOEXEC */), r;

	if (fd < 0)
		return -errno;
	r = each(s, append_fd, &fd);
	if (r < 0)
		immure_close(&fd);
	return r < 0 ? r : fd;
}

static int send_it(int sock, const struct immure_init_run *head, const char *blob, size_t len,
		   const int *fds, size_t fds_n, int flags)
{
	struct iovec iov[2] = { { .iov_base = (void *)(uintptr_t)head, .iov_len = sizeof(*head) },
				{ .iov_base = (void *)(uintptr_t)blob, .iov_len = len } };
	ssize_t n = immure_fdmsg_send(sock, iov, len ? 2 : 1, fds, fds_n, flags);

	return n < 0 ? (int)n : 0;
}

/* Two sizes, because the compiler clears what is on the stack. */
enum { SMALL = 2048 };

static int send_small(int sock, const struct immure_run_spec *s, size_t len, const int *fds,
		      size_t fds_n, int flags)
{
	char blob[SMALL], *at = blob;

	(void)each(s, append, &at); /* sized by the caller */
	return send_it(sock, &s->head, blob, len, fds, fds_n, flags);
}

static int send_inline(int sock, const struct immure_run_spec *s, size_t len, const int *fds,
		       size_t fds_n, int flags)
{
	char blob[IMMURE_RUN_INLINE_MAX], *at = blob;

	(void)each(s, append, &at); /* sized by the caller */
	return send_it(sock, &s->head, blob, len, fds, fds_n, flags);
}

int immure_run_send(int sock, struct immure_run_spec *s, int flags)
{
	static const uint32_t null_bit[3] = { IMMURE_RUNF_NULL_IN, IMMURE_RUNF_NULL_OUT,
					      IMMURE_RUNF_NULL_ERR };
	IMMURE_CLEANUP_FD int memfd = -1;
	struct counted c = { 0 };
	int fds[IMMURE_RUN_FDS], r = each(s, count, &c);
	size_t n = 0;

	if (r < 0)
		return r;
	s->head.type = IMMURE_INIT_RUN;
	s->head.argc = s->head.envc = 0;
	while (s->argv[s->head.argc])
		s->head.argc++;
	while (s->env && s->env[s->head.envc])
		s->head.envc++;
	s->head.blob_len = c.bytes;
	s->head.flags &= ~(uint32_t)(7 | IMMURE_RUNF_MEMFD);
	for (int i = 0; i < 3 && !(s->head.flags & IMMURE_RUNF_PTY); i++) {
		if (s->stdio[i] < 0)
			s->head.flags |= null_bit[i];
		else
			fds[n++] = s->stdio[i];
	}
	if (s->head.flags & IMMURE_RUNF_TERMINAL)
		fds[n++] = s->stdio[0];
	if (c.bytes <= SMALL)
		return send_small(sock, s, c.bytes, fds, n, flags);
	if (c.bytes <= IMMURE_RUN_INLINE_MAX)
		return send_inline(sock, s, c.bytes, fds, n, flags);
	memfd = memfd_for(s);
	if (memfd < 0)
		return memfd;
	s->head.flags |= IMMURE_RUNF_MEMFD;
	fds[n++] = memfd;
	return send_it(sock, &s->head, NULL, 0, fds, n, flags);
}

/* ---- init's side ---- */

size_t immure_run_pointers(const struct immure_init_run *head, size_t plan_env)
{
	return (size_t)head->argc + head->envc + plan_env + 2;
}

static size_t name_len(const char *entry)
{
	const char *eq = strchr(entry, '=');

	return eq && eq != entry ? (size_t)(eq - entry) : 0;
}

static bool names_it(const char *const *env, size_t n, const char *entry, size_t len)
{
	for (size_t i = 0; i < n; i++)
		if (strncmp(env[i], entry, len) == 0 && env[i][len] == '=')
			return true;
	return false;
}

/* What is added is under the policy's rule as well: what loaders and
 * interpreters obey passes only where the policy itself set that name. */
static int judge_env(const char *const *env, size_t n, const char *const *plan_env,
		     size_t plan_env_n, const char **ret_name)
{
	for (size_t i = 0; i < n; i++) {
		size_t len = name_len(env[i]);

		*ret_name = env[i];
		if (len == 0 || names_it(env, i, env[i], len))
			return -EINVAL;
		if (immure_env_is_control(env[i], len) && !names_it(plan_env, plan_env_n, env[i], len))
			return -EACCES;
	}
	return 0;
}

int immure_run_parse(const struct immure_init_run *head, const char *blob,
		     const char *const *plan_env, size_t plan_env_n, const char **v,
		     struct immure_run_strings *ret, const char **ret_name)
{
	const char *p = blob, *end = blob + head->blob_len;
	size_t strings = (size_t)head->argc + head->envc, n = 0, env_at, kept = 0;
	const char *cwd = NULL;
	int r;

	*ret_name = "";
	if (head->argc == 0 || head->argc > IMMURE_RUN_STRINGS_MAX ||
	    head->envc > IMMURE_RUN_ENV_MAX || head->blob_len > IMMURE_RUN_BLOB_MAX)
		return -EINVAL;
	env_at = (size_t)head->argc + 1;
	for (size_t i = 0; i <= strings; i++) {
		const char *nul = p < end ? memchr(p, 0, (size_t)(end - p)) : NULL;

		if (!nul)
			return -EINVAL;
		if (i == 0)
			cwd = p;
		else
			v[n++] = p;
		if (n == head->argc && i > 0)
			v[n++] = NULL;
		p = nul + 1;
	}
	if (p != end || v[0][0] == '\0' || (cwd[0] && cwd[0] != '/'))
		return -EINVAL;
	r = judge_env(v + env_at, head->envc, plan_env, plan_env_n, ret_name);
	if (r < 0)
		return r;
	for (size_t i = 0; i < plan_env_n && !(head->flags & IMMURE_RUNF_CLEAR_ENV); i++) {
		if (names_it(v + env_at, head->envc, plan_env[i], name_len(plan_env[i])))
			continue;
		v[env_at + head->envc + kept++] = plan_env[i];
	}
	v[env_at + head->envc + kept] = NULL;
	*ret = (struct immure_run_strings){ .cwd = cwd, .argv = v, .envp = v + env_at };
	return 0;
}
