/* SPDX-License-Identifier: Apache-2.0 */
/* What a snapshot says of a file, on one that was just made. */
#include "session/snapreader.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "kernel/sys.h"

/* ---- attributes ---- */

int immure_snap_give(const struct immure_snap_reader *r, int dir, const char *name,
		     const struct immure_snap_attributes *a)
{
	uid_t uid = a->uid == r->own_uid ? r->area->uid : a->uid;
	gid_t gid = a->gid == r->own_gid ? r->area->gid : a->gid;
	struct stat st;
	int flags = AT_SYMLINK_NOFOLLOW | (name[0] ? 0 : AT_EMPTY_PATH);

	if (fstatat(dir, name, &st, flags) < 0)
		return -errno;
	if ((st.st_uid == uid && st.st_gid == gid) || !r->path.len) /* the top is whose it was made */
		return 0;
	return fchownat(dir, name, uid, gid, flags) < 0 ? -errno : 0;
}

static int set_xattrs(int fd, const struct immure_snap_attributes *a)
{
	const char *p = a->xattrs.data, *end = p + a->xattrs.len;

	while (p && p < end) {
		size_t name = strlen(p) + 1;
		const unsigned char *u = (const unsigned char *)p + name;
		uint32_t len = u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 24;

		if (fsetxattr(fd, p, u + 4, len, 0) < 0)
			return -errno;
		p += name + 4 + len;
	}
	return 0;
}

int immure_snap_set_time(int dir, const char *name, const struct timespec *mtim)
{
	const struct timespec when[2] = { { .tv_nsec = UTIME_OMIT }, *mtim };

	return (name ? utimensat(dir, name, when, AT_SYMLINK_NOFOLLOW) : futimens(dir, when)) < 0 ? -errno : 0;
}

/* The owner first: changing it clears bits of the mode. */
int immure_snap_finish(const struct immure_snap_reader *r, int fd, const struct immure_snap_attributes *a)
{
	int e = immure_snap_give(r, fd, "", a);

	if (e == 0)
		e = set_xattrs(fd, a);
	if (e == 0 && fchmod(fd, a->mode) < 0)
		e = -errno;
	return e < 0 ? e : immure_snap_set_time(fd, NULL, &a->mtim);
}

/* ---- contents ---- */

static int copy_range(struct immure_snap_reader *r, int fd, uint64_t at, uint64_t *left)
{
	loff_t from = (loff_t)(r->at + r->i), to = (loff_t)at;

	if (*left < IMMURE_SNAP_LARGE || r->no_range)
		return 0;
	while (*left) {
		long n = IMMURE_SYS(syscall(SYS_copy_file_range, r->fd, &from, fd, &to, (size_t)*left, 0));

		if (n <= 0) {
			r->no_range = true; /* the rest by hand, which says why if it fails again */
			break;
		}
		*left -= (uint64_t)n;
	}
	r->at = (uint64_t)from;
	r->n = r->i = 0;
	return 0;
}

static int get_extent(struct immure_snap_reader *r, int fd, uint64_t at, uint64_t len)
{
	uint64_t left = len, here = r->at + r->i;
	int e;

	if (len > r->size || here > r->size - len)
		return -EBADMSG;
	r->count->bytes += len;
	if (fd < 0) { /* passed over */
		r->at = here + len;
		r->n = r->i = 0;
		return 0;
	}
	e = copy_range(r, fd, at, &left);
	at += len - left;
	while (left && e == 0) {
		size_t k = left < r->n - r->i ? (size_t)left : r->n - r->i;
		ssize_t n;

		if (k == 0) {
			e = immure_snap_refill(r);
			continue;
		}
		n = pwrite(fd, r->buf + r->i, k, (off_t)at);
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		r->i += (size_t)n;
		at += (uint64_t)n;
		left -= (uint64_t)n;
	}
	return e;
}

int immure_snap_get_contents(struct immure_snap_reader *r, int fd)
{
	uint64_t size = 0, at = 0, len = 0, pad = 0, end = 0;
	unsigned char skip[IMMURE_SNAP_ALIGN];
	int e = immure_snap_get_number(r, 8, &size);

	if (e == 0 && size > INT64_MAX)
		return -EBADMSG;
	if (e == 0 && fd >= 0 && size && ftruncate(fd, (off_t)size) < 0)
		e = -errno;
	while (e == 0) {
		e = immure_snap_get_number(r, 8, &at);
		if (e == 0)
			e = immure_snap_get_number(r, 8, &len);
		if (e == 0)
			e = immure_snap_get_number(r, 2, &pad);
		if (e < 0 || (len == 0 && pad == 0))
			break;
		if (len == 0 || pad >= sizeof(skip) || at < end || at > size || len > size - at)
			return -EBADMSG;
		end = at + len;
		e = immure_snap_get(r, skip, (size_t)pad);
		if (e == 0)
			e = get_extent(r, fd, at, len);
	}
	return e;
}
