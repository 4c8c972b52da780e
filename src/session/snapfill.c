/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session that begins with the files of a snapshot. What was changed in a copy-on-write
 * workspace is there before overlayfs is; the private areas are filled by a child once init is
 * ready, with the identity of the session and within its limits, before the answer to create:
 * nothing of anybody's has run in them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "session/snapshot.h"

struct outcome {
	int32_t errnum;
	struct immure_snap_count count;
};

static int32_t refuse(struct immure_error **err, int errnum, const char *where)
{
	const char *why = strerror(errnum);
	int32_t code = IMMURE_ERR_SNAPSHOT;

	if (errnum == EBADMSG)
		why = "the snapshot is damaged";
	else if (errnum == ENOENT)
		why = "the new session has no such place of its own";
	else if (errnum == ESTALE)
		why = "the workspace is not the directory any more that the changes are of";
	else if (errnum == EEXIST)
		why = "something is in the way";
	else
		code = IMMURE_ERR_IO;
	(void)immure_fail(err, code, errnum, "resume", where, "%s%s%s", where, where[0] ? ": " : "", why);
	if (err && *err && errnum == ENOSPC)
		immure_error_set_hint(*err, "raise limits.disk");
	if (err && *err && errnum == ECHILD)
		immure_error_set_hint(*err, "raise limits.memory: private files are in memory");
	return -code;
}

int32_t immure_snapshot_given(struct immure_ask *a)
{
	const struct immure_jsonr_value *v = immure_jsonr_get(&a->json, a->root, "restore");
	const char *policy = NULL;
	struct stat st;
	int fd = -1;
	int32_t r = immure_arg_string(a, "policy", &policy);

	if (r == 0 && v)
		r = immure_arg_fd(a, v, &fd);
	if (r < 0)
		return r;
	if (policy) {
		free(a->s->policy);
		a->s->policy = strdup(policy);
		if (!a->s->policy)
			return immure_ask_fail(a, IMMURE_ERR_NOMEM, ENOMEM, "", "out of memory");
	}
	if (!v)
		return 0;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return immure_ask_fail(a, IMMURE_ERR_INVALID, EINVAL, "restore", "restore is a file");
	a->s->restore_fd = fcntl(fd, F_DUPFD_CLOEXEC, 10);
	return a->s->restore_fd >= 0 ? 0 : immure_ask_fail(a, IMMURE_ERR_IO, errno, "restore", "%s", strerror(errno));
}

int32_t immure_snapshot_fill_upper(struct immure_server *s, struct immure_error **err)
{
	struct immure_snap_areas areas = IMMURE_SNAP_AREAS_INIT;
	struct immure_snap_count count = { 0 };
	int32_t r;
	int e;

	if (s->restore_fd < 0)
		return 0;
	r = immure_snap_areas(s, "c", &areas, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < areas.n; i++) { /* seen from outside */
		areas.v[i].uid = geteuid();
		areas.v[i].gid = getegid();
	}
	e = immure_snap_read(s->restore_fd, "c", areas.v, areas.n, &count);
	for (size_t i = 0; e == 0 && i < areas.n; i++)
		if (areas.v[i].filled) /* what the host changed since then is a conflict, as it was */
			e = immure_upper_set_since(&s->sealed.upper, &areas.v[i].since);
	immure_snap_areas_done(&areas);
	return e < 0 ? refuse(err, -e, count.where) : 0;
}

__attribute__((noreturn)) static void fill(const struct immure_server *s, struct immure_snap_areas *areas, int to)
{
	struct outcome o = { 0 };
	/* What it makes counts as the session's: files in memory are memory. */
	int r = s->sealed.init.cgroup ? immure_cgroup_join_self(&s->sealed.cgroup) : 0;

	if (r == 0)
		r = immure_snap_enter(s, true);
	if (r == 0)
		r = immure_snap_read(s->restore_fd, "p", areas->v, areas->n, &o.count);
	o.errnum = -r;
	_exit(immure_write_all(to, &o, sizeof(o)) < 0);
}

static int in_child(const struct immure_server *s, struct immure_snap_areas *areas, struct outcome *ret)
{
	int pair[2], r = 0;
	size_t at = 0;
	pid_t pid;

	if (pipe2(pair, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid == 0) {
		immure_close(&pair[0]);
		fill(s, areas, pair[1]);
	}
	r = pid < 0 ? -errno : 0;
	immure_close(&pair[1]);
	while (r == 0 && at < sizeof(*ret)) {
		ssize_t n = read(pair[0], (char *)ret + at, sizeof(*ret) - at);

		if (n > 0)
			at += (size_t)n;
		else if (n == 0 || errno != EINTR)
			r = -ECHILD;
	}
	immure_close(&pair[0]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return r;
}

int32_t immure_snapshot_fill(struct immure_server *s, struct immure_error **err)
{
	struct immure_snap_areas areas = IMMURE_SNAP_AREAS_INIT;
	struct outcome o = { 0 };
	int32_t r;
	int e;

	if (s->restore_fd < 0)
		return 0;
	r = immure_snap_areas(s, "p", &areas, err);
	if (r < 0)
		return r;
	e = in_child(s, &areas, &o);
	immure_snap_areas_done(&areas);
	immure_close(&s->restore_fd);
	if (e < 0 || o.errnum)
		return refuse(err, e < 0 ? -e : o.errnum, o.count.where);
	return 0;
}
