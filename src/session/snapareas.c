/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "init/area.h"
#include "kernel/privs.h"
#include "session/snapshot.h"

static const struct immure_op *ids_of(const struct immure_plan *p)
{
	const struct immure_op *op = immure_plan_find(p, IMMURE_OP_IDMAP);

	return op ? op : immure_plan_find(p, IMMURE_OP_IDMAP_SUBID);
}

static int32_t unsupported(struct immure_error **err, const char *key, const char *why)
{
	return immure_fail(err, IMMURE_ERR_UNSUPPORTED, EOPNOTSUPP, "snapshot", key, "%s", why);
}

static int32_t check(const struct immure_server *s, struct immure_error **err)
{
	const struct immure_plan *p = s->plan;

	if (immure_plan_find(p, IMMURE_OP_BWRAP) || (immure_plan_is_bare(p) && !s->sealed.bare.dir[0]))
		return immure_fail(err, IMMURE_ERR_UNSUPPORTED, EOPNOTSUPP, "snapshot", "backend", "backend %s: the "
				   "files of its sessions cannot be saved; native can", p->backend);
	if (immure_plan_find(p, IMMURE_OP_IDMAP_SUBID) && immure_upper_op(p))
		return unsupported(err, "identity", "a copy-on-write workspace in which several users have files "
				   "cannot be saved");
	for (size_t i = 0; i < p->ops_n; i++)
		if (p->ops[i].kind == IMMURE_OP_OVERLAY && p->ops[i].flags & IMMURE_OPF_SHARED &&
		    !(p->ops[i].flags & IMMURE_OPF_RO))
			return unsupported(err, "image.root", "a root from an image that can be written cannot be saved");
	return 0;
}

static int open_private(const struct immure_server *s, const struct immure_op *op)
{
	char name[IMMURE_AREA_NAME];
	int fd;

	if (s->handle[IMMURE_HANDLE_AREAS] < 0)
		return -ENXIO;
	immure_area_name(op, IMMURE_AREA_TOP, name);
	fd = openat(s->handle[IMMURE_HANDLE_AREAS], name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Without mounts the private ones are real, in a directory of the session's own whose name no other
 * session will have, so they are called by what the commands know them as. */
static int32_t add_bare(const struct immure_server *s, const struct immure_op *ids, struct immure_snap_areas *ret,
			struct immure_error **err)
{
	static const char *const own[][2] = { { "tmp", "TMPDIR" }, { "home", "HOME" } };
	IMMURE_CLEANUP_FD int dir = open(s->sealed.bare.dir, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		struct immure_snap_area a = { .kind = IMMURE_AREA_PRIVATE, .label = own[i][1] };

		a.uid = ids ? (uint32_t)ids->num[0] : geteuid();
		a.gid = ids ? (uint32_t)ids->num[2] : getegid();
		a.fd = dir < 0 ? -1 : openat(dir, own[i][0], O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (a.fd >= 0)
			ret->v[ret->n++] = a;
		else if (dir < 0 || errno != ENOENT) /* only those that its policy names are made */
			return immure_fail(err, IMMURE_ERR_IO, errno, "snapshot", a.label, "%s: %s", a.label,
					   strerror(errno));
	}
	return 0;
}

/* As the kept workspace says: when it was begun over which directory. */
static int open_cow(const struct immure_server *s, struct immure_snap_area *a)
{
	IMMURE_CLEANUP_FD int dir = open(s->sealed.upper.path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct immure_upper_meta m;
	int fd, r = dir < 0 ? -errno : immure_upper_meta(dir, &m);

	if (r < 0)
		return r;
	fd = openat(dir, "upper", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	a->since = m.since;
	a->dev = m.dev;
	a->ino = m.ino;
	return fd < 0 ? -errno : fd;
}

static uint8_t kind_of(const struct immure_op *op)
{
	if (op->kind == IMMURE_OP_TMPFS && op->flags & IMMURE_OPF_SHARED && !(op->flags & IMMURE_OPF_RO))
		return IMMURE_AREA_PRIVATE;
	return op->kind == IMMURE_OP_OVERLAY && op->flags & IMMURE_OPF_KEPT ? IMMURE_AREA_COW : 0;
}

int32_t immure_snap_areas(const struct immure_server *s, const char *kinds, struct immure_snap_areas *ret,
			  struct immure_error **err)
{
	const struct immure_op *ids = ids_of(s->plan);
	int32_t r = check(s, err);

	ret->n = 0;
	if (r == 0 && immure_plan_is_bare(s->plan) && strchr(kinds, IMMURE_AREA_PRIVATE))
		r = add_bare(s, ids, ret, err);
	for (size_t i = 0; i < s->plan->ops_n && r == 0; i++) {
		const struct immure_op *op = &s->plan->ops[i];
		struct immure_snap_area a = { .kind = kind_of(op), .label = op->dst };

		if (!a.kind || !strchr(kinds, a.kind))
			continue;
		a.uid = ids ? (uint32_t)ids->num[0] : 0;
		a.gid = ids ? (uint32_t)ids->num[2] : 0;
		a.fd = ret->n == IMMURE_SNAP_AREAS ? -E2BIG
		       : a.kind == IMMURE_AREA_COW ? open_cow(s, &a) : open_private(s, op);
		if (a.fd < 0)
			r = immure_fail(err, IMMURE_ERR_IO, a.fd, "snapshot", op->dst, "%s: %s", op->dst,
					strerror(-a.fd));
		else
			ret->v[ret->n++] = a;
	}
	if (r < 0)
		immure_snap_areas_done(ret);
	return r;
}

void immure_snap_areas_done(struct immure_snap_areas *a)
{
	while (a->n)
		immure_close(&a->v[--a->n].fd);
}

/* Ends with the server; becoming someone has cleared what was set of that before. */
static int end_with(pid_t server)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return -errno;
	return getppid() == server ? 0 : -ECHILD;
}

static int enter_bare(const struct immure_op *ids, pid_t server)
{
	int r = ids && geteuid() == 0 ? immure_ids_become((uint32_t)ids->num[0], (uint32_t)ids->num[2]) : 0;

	if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = -errno;
	if (r == 0)
		r = immure_caps_drop_held();
	return r < 0 ? r : end_with(server);
}

int immure_snap_enter(const struct immure_server *s, bool become)
{
	const struct immure_op *ids = ids_of(s->plan);
	bool bare = immure_plan_is_bare(s->plan);
	pid_t server = getppid();

	if (!bare && (s->handle[IMMURE_HANDLE_USERNS] < 0 || !ids))
		return -ENXIO;
	if (!bare && setns(s->handle[IMMURE_HANDLE_USERNS], 0) < 0)
		return -errno;
	/* No namespace bounds what they are good for: what is made is made as the session. */
	if (bare && become)
		return enter_bare(ids, server);
	/* The capabilities stay: modes that a command set must not keep us out. */
	if (become && prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) < 0)
		return -errno;
	if (become) {
		int r = immure_ids_become((uint32_t)ids->num[0], (uint32_t)ids->num[2]);

		if (r < 0)
			return r;
	}
	return end_with(server);
}
