/* SPDX-License-Identifier: Apache-2.0 */
/* A file of snapfiles.h while it is read.
 *
 *   snapbytes.c  its bytes, and what they stand for
 *   snapput.c    contents and attributes, on something that was just made
 *   snapread.c   the trees: what is made, where */
#ifndef IMMURE_SESSION_SNAPREADER_H
#define IMMURE_SESSION_SNAPREADER_H

#include "base/buf.h"
#include "session/snapfiles.h"

enum {
	IMMURE_SNAP_BUFFER = 64 << 10,
	IMMURE_SNAP_VALUE = 64 << 10, /* of an attribute */
	IMMURE_SNAP_PATH = 256 * (IMMURE_SNAP_DEPTH + 2),
};

struct immure_snap_attributes {
	uint32_t mode, uid, gid;
	struct timespec mtim;
	struct immure_buf xattrs; /* name 0 u32 value, one after another */
};

/* A directory whose owner may not search it gets its mode when all else is there: more may
 * have to be reached through it. */
struct immure_snap_closed {
	char *path;
	uint32_t mode;
	struct timespec mtim;
};

struct immure_snap_reader {
	int fd;
	uint64_t at, size;       /* of buf[0]; of the file */
	size_t n, i;             /* bytes in buf; the next one */
	struct immure_snap_count *count;
	const struct immure_snap_area *area; /* NULL: passed over */
	uint32_t own_uid, own_gid; /* in the file */
	struct immure_buf path;
	struct immure_snap_closed *closed;
	size_t closed_n, closed_cap, closed_bytes; /* closed_bytes: of paths, ever */
	bool no_range;
	unsigned char buf[IMMURE_SNAP_BUFFER];
	char name[IMMURE_SNAP_LABEL + 1], value[IMMURE_SNAP_VALUE], other[IMMURE_SNAP_PATH];
};

/* ---- snapbytes.c: 0 or -errno; -EBADMSG: not such a file ---- */

/* The next piece into buf, which is used up. */
int immure_snap_refill(struct immure_snap_reader *r);
int immure_snap_get(struct immure_snap_reader *r, void *data, size_t len);
int immure_snap_get_number(struct immure_snap_reader *r, size_t bytes, uint64_t *ret);
int immure_snap_get_u32(struct immure_snap_reader *r, uint32_t *ret);
/* A text of less than size bytes without NUL; bytes: of its length. */
int immure_snap_get_text(struct immure_snap_reader *r, size_t bytes, char *ret, size_t size);
/* One name, into r->name. */
int immure_snap_get_name(struct immure_snap_reader *r);
/* ret->xattrs is an initialised buffer, and the caller's. */
int immure_snap_get_attributes(struct immure_snap_reader *r, struct immure_snap_attributes *ret);
/* Neither empty nor a way elsewhere; a slash is the caller's to look for. */
bool immure_snap_is_name(const char *s);

/* ---- snapput.c ---- */

/* Into fd, from its beginning; fd -1: passed over. */
int immure_snap_get_contents(struct immure_snap_reader *r, int fd);
/* The owner of name in dir; name "": of dir. */
int immure_snap_give(const struct immure_snap_reader *r, int dir, const char *name,
		     const struct immure_snap_attributes *a);
/* The same; name NULL: of dir. */
int immure_snap_set_time(int dir, const char *name, const struct timespec *mtim);
/* All attributes, of a file or directory. */
int immure_snap_finish(const struct immure_snap_reader *r, int fd, const struct immure_snap_attributes *a);

#endif
