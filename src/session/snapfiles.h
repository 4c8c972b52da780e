/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a snapshot: one file in which trees of files are, one after another. Names and
 * contents are a hostile program's, so they lie in there as bytes and become files nowhere but
 * in the private areas of another session.
 *
 *   "immure-files 1\n"
 *   A area    u8 kind, u16+label, u32 own uid, u32 own gid, u64 u32 since, u64 dev, u64 ino, ATTRS
 *             what is in it follows, ends with U
 *   D dir     u16+name, ATTRS ... U                                 what is in it, in between
 *   F file    u16+name, ATTRS, u64 size, { u64 at, u64 len, u16 pad, pad, data }*, len 0
 *   H link    u16+name, u32+path of the file in the same area that it is another name of
 *   L symlink u16+name, ATTRS, u16+text
 *   P fifo    u16+name, ATTRS
 *   W whiteout u16+name, ATTRS         a device 0:0, as overlayfs writes "removed"
 *   E end
 *
 *   ATTRS     u32 mode, uid, gid, u64 seconds, u32 ns, u16 n, { u16+name, u32+value }*
 *
 * Numbers are little-endian, u16+ and u32+ are a length and so many bytes. Contents that are
 * large begin at a multiple of 4096, so that a file system that can share blocks does. A
 * uid or gid that is the area's own stands for whoever the files are given to. */
#ifndef IMMURE_SESSION_SNAPFILES_H
#define IMMURE_SESSION_SNAPFILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

enum immure_area_kind {
	IMMURE_AREA_PRIVATE = 'p', /* a tmpfs of the session's, or a directory of its own */
	IMMURE_AREA_COW = 'c',     /* the upper directory of a copy-on-write workspace */
};

enum {
	IMMURE_SNAP_DEPTH = 200,   /* directories below each other, as in a workspace's changes */
	IMMURE_SNAP_LABEL = 4096,
	IMMURE_SNAP_ALIGN = 4096,
	/* What the paths come to that have to be kept, or written more than once: of files with
	 * several names, of directories that their owner may not search. A tree can have a million
	 * of them, each as long as it is deep. */
	IMMURE_SNAP_PATHS = 64 << 20,
	IMMURE_SNAP_LARGE = 128 << 10, /* contents of so much begin at a multiple of that */
};

/* What came of it; where: the path at which it failed, in printable form. */
struct immure_snap_count {
	uint64_t entries, bytes; /* names, and of contents without holes */
	uint64_t left_out;       /* sockets, devices */
	uint64_t length;         /* of the whole */
	unsigned char hash[32];
	char where[256];
};

/* One tree to be saved, or to be filled. */
struct immure_snap_area {
	uint8_t kind;
	const char *label;
	int fd;            /* its top */
	uint32_t uid, gid; /* whose the files are that are the session's own */
	struct timespec since; /* of a workspace: since when it was changed; and which directory */
	uint64_t dev, ino;     /* it is. Else 0 */
	bool filled;
};

/* Everything from the areas into to_fd, which is at its beginning. Nothing in them is opened
 * that could wait, no link is followed. -EAGAIN: something changed meanwhile; -ELOOP: deeper
 * than IMMURE_SNAP_DEPTH; -ENAMETOOLONG: more than IMMURE_SNAP_PATHS; -EXDEV: a mount; other -errno. *ret is filled in either case. */
int immure_snap_write(const struct immure_snap_area *areas, size_t n, int to_fd, struct immure_snap_count *ret);
/* The other way, into those of the areas of whose kind is in `kinds` ("p", "c"); others in the
 * file are passed over. An area there is none for: -ENOENT; a workspace that is another
 * directory now: -ESTALE; something in the way: -EEXIST; not such a file: -EBADMSG. */
int immure_snap_read(int from_fd, const char *kinds, struct immure_snap_area *areas, size_t n,
		     struct immure_snap_count *ret);
/* The hash of all that is in a file, and its length. */
int immure_snap_hash(int fd, unsigned char ret[32], uint64_t *ret_len);

#endif
