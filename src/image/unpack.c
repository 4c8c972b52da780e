/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entries of a layer, in their order; the last of a name wins. Everything belongs to
 * whoever imports: whose it was in the image goes to the file "owners". Left out and counted:
 * devices, fifos and sockets; set-id bits, which mean nothing on a nosuid mount and harm in a
 * store that is on none; extended attributes other than user's, and of those overlayfs's own,
 * by which a layer could tell the kernel to look elsewhere.
 *
 * What a layer deletes becomes what overlayfs understands: a character device 0:0, which
 * anybody may make, and on a directory user.overlay.opaque.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "image/worker.h"

enum { NAME_MAX_BYTES = 4000, DEPTH_MAX = 128, XATTRS_MAX = 64, XATTR_BYTES = 64 << 10 };

struct unpack {
	struct image_worker *w;
	struct image_blob *blob;
	struct archive *a;
	struct image_layer *l;
	struct image_place place;
	struct immure_buf owners;
	int owners_fd;
	struct dir_time *times; /* of directories, set when nothing is put in them any more */
	size_t times_n, times_cap;
};

struct dir_time {
	char *path;
	struct timespec mtime;
};

/* "a/b" of "./a//b/", "/a/b"; "" for the root. ret has NAME_MAX_BYTES + 1. */
static int normal_name(struct image_worker *w, const char *name, char *ret)
{
	size_t out = 0, depth = 0;

	if (!name)
		return image_fail(w, EILSEQ, "an entry has a name that cannot be read");
	for (const char *c = name; *c;) {
		size_t n = strcspn(c, "/");

		if (n == 2 && c[0] == '.' && c[1] == '.')
			return image_fail(w, EINVAL, "the entry %.200s has \"..\" in its name", name);
		if (n > 255 || out + n + 1 > NAME_MAX_BYTES || depth > DEPTH_MAX)
			return image_fail(w, ENAMETOOLONG, "an entry has too long a name: %.60s...", name);
		if (n && !(n == 1 && c[0] == '.')) {
			if (out)
				ret[out++] = '/';
			memcpy(ret + out, c, n);
			out += n;
			depth++;
		}
		c += n + (c[n] == '/');
	}
	ret[out] = '\0';
	return 0;
}

static int failed(struct unpack *u, int errnum, const char *path)
{
	return image_fail(u->w, errnum, "the entry %.200s cannot be made: %s", path, strerror(errnum));
}

/* ---- attributes ---- */

static struct timespec time_of(struct archive_entry *e)
{
	return (struct timespec){ archive_entry_mtime_is_set(e) ? archive_entry_mtime(e) : 0,
				  archive_entry_mtime_is_set(e) ? archive_entry_mtime_nsec(e) : 0 };
}

static int set_xattrs(struct unpack *u, int fd, struct archive_entry *e, const char *path)
{
	const char *name;
	const void *value;
	size_t size;
	int n = 0;

	(void)archive_entry_xattr_reset(e); /* only counts them */
	while (archive_entry_xattr_next(e, &name, &value, &size) == ARCHIVE_OK && name) {
		if (strncmp(name, "user.", 5) != 0 || strncmp(name, "user.overlay.", 13) == 0) {
			u->l->xattrs++;
			continue;
		}
		if (++n > XATTRS_MAX || size > XATTR_BYTES)
			return image_fail(u->w, E2BIG, "the entry %.200s has too many attributes", path);
		if (fsetxattr(fd, name, value, size, 0) < 0)
			return failed(u, errno, path);
	}
	return 0;
}

static mode_t mode_of(struct unpack *u, struct archive_entry *e, mode_t always)
{
	mode_t mode = archive_entry_perm(e);

	if (mode & 06000)
		u->l->setuid++;
	return (mode & 01777) | always;
}

static void note_owner(struct unpack *u, struct archive_entry *e, const char *path)
{
	la_int64_t uid = archive_entry_uid(e), gid = archive_entry_gid(e);

	if (uid == 0 && gid == 0)
		return;
	immure_buf_printf(&u->owners, "%lld %lld ", (long long)uid, (long long)gid);
	for (const char *c = path; *c; c++) {
		if (*c == '\n' || *c == '\\')
			immure_buf_putc(&u->owners, '\\');
		immure_buf_putc(&u->owners, *c == '\n' ? 'n' : *c);
	}
	immure_buf_putc(&u->owners, '\n');
}

static int flush_owners(struct unpack *u, size_t least)
{
	int r;

	if (u->owners.failed)
		return image_fail(u->w, ENOMEM, "out of memory");
	if (u->owners.len < least)
		return 0;
	r = immure_write_all(u->owners_fd, u->owners.data, u->owners.len);
	immure_buf_done(&u->owners);
	return r < 0 ? image_fail(u->w, -r, "the store cannot be written: %s", strerror(-r)) : 0;
}

/* ---- kinds ---- */

static int file_data(struct unpack *u, int fd, struct archive_entry *e, const char *path)
{
	la_int64_t size = archive_entry_size(e), offset = 0;
	const void *data;
	size_t n;
	int r;

	if (size < 0 || (uint64_t)size > u->w->max_bytes - u->w->bytes)
		return image_fail(u->w, EFBIG, "the image is too large: more than %llu bytes, --max-size",
				  (unsigned long long)u->w->max_bytes);
	u->w->bytes += (uint64_t)size;
	u->l->bytes += (uint64_t)size;
	while ((r = archive_read_data_block(u->a, &data, &n, &offset)) == ARCHIVE_OK) {
		if (offset < 0 || offset > size || (la_int64_t)n > size - offset)
			return image_fail(u->w, EBADMSG, "the entry %.200s is longer than it says", path);
		for (size_t done = 0; done < n;) {
			ssize_t wrote = pwrite(fd, (const char *)data + done, n - done,
					       (off_t)(offset + (la_int64_t)done));

			if (wrote < 0 && errno != EINTR)
				return failed(u, errno, path);
			done += wrote > 0 ? (size_t)wrote : 0;
		}
	}
	if (r != ARCHIVE_EOF)
		return image_blob_why(u->w, u->blob, u->a);
	return ftruncate(fd, (off_t)size) < 0 ? failed(u, errno, path) : 0; /* holes at the end */
}

static int put_file(struct unpack *u, int dir, const char *name, struct archive_entry *e, const char *path)
{
	struct timespec times[2] = { time_of(e), time_of(e) };
	IMMURE_CLEANUP_FD int fd = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r;

	if (fd < 0)
		return failed(u, errno, path);
	r = file_data(u, fd, e, path);
	if (r == 0)
		r = set_xattrs(u, fd, e, path);
	if (r < 0)
		return r;
	/* Its owner can read it in any case, as root can where the image was made. */
	if (fchmod(fd, mode_of(u, e, 0400) & 0777) < 0 || futimens(fd, times) < 0)
		return failed(u, errno, path);
	return 0;
}

static int opaque(struct unpack *u, int fd, const char *path)
{
	return fsetxattr(fd, "user.overlay.opaque", "y", 1, 0) < 0 ? failed(u, errno, path) : 0;
}

static int later_time(struct unpack *u, const char *path, struct archive_entry *e)
{
	if (u->times_n == u->times_cap) {
		size_t cap = u->times_cap ? u->times_cap * 2 : 64;
		struct dir_time *t = realloc(u->times, cap * sizeof(*t));

		if (!t)
			return image_fail(u->w, ENOMEM, "out of memory");
		u->times = t;
		u->times_cap = cap;
	}
	u->times[u->times_n] = (struct dir_time){ strdup(path), time_of(e) };
	if (!u->times[u->times_n].path)
		return image_fail(u->w, ENOMEM, "out of memory");
	u->times_n++;
	return 0;
}

static int put_dir(struct unpack *u, int dir, const char *name, struct archive_entry *e,
		   const char *path, enum image_found was)
{
	IMMURE_CLEANUP_FD int fd = -1;
	int r;

	if (was != IMAGE_DIRECTORY && mkdirat(dir, name, 0700) < 0)
		return failed(u, errno, path);
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return failed(u, errno, path);
	/* It was deleted by this layer and made anew: nothing below shines through. */
	r = was == IMAGE_WHITEOUT ? opaque(u, fd, path) : 0;
	if (r == 0)
		r = set_xattrs(u, fd, e, path);
	if (r == 0 && fchmod(fd, mode_of(u, e, 0700)) < 0)
		r = failed(u, errno, path);
	return r < 0 ? r : later_time(u, path, e);
}

/* The target is an entry of this layer, named from its root, and a link's name, not what it
 * leads to. */
static int put_hard_link(struct unpack *u, int dir, const char *name, const char *target, const char *path)
{
	struct image_place from = { u->place.root_fd, -1, "" };
	char text[NAME_MAX_BYTES + 1];
	const char *last;
	struct stat st;
	int at, r = normal_name(u->w, target, text);

	if (r < 0)
		return r;
	at = *text ? image_place_parent(u->w, &from, text, &last) : -1;
	if (at < 0)
		return *text ? at : image_fail(u->w, EINVAL, "the entry %.200s is a link to a directory", path);
	if (fstatat(at, last, &st, AT_SYMLINK_NOFOLLOW) < 0)
		r = image_fail(u->w, errno, "the entry %.100s is a hard link to %.100s, which is not in its layer",
			       path, target);
	else if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
		r = image_fail(u->w, EINVAL, "the entry %.100s is a hard link to %.100s, which is no file",
			       path, target);
	else if (linkat(at, last, dir, name, 0) < 0)
		r = failed(u, errno, path);
	image_place_done(&from);
	return r;
}

static int put_symlink(struct unpack *u, int dir, const char *name, struct archive_entry *e, const char *path)
{
	struct timespec times[2] = { time_of(e), time_of(e) };
	const char *text = archive_entry_symlink(e);

	if (!text || !*text || strlen(text) > NAME_MAX_BYTES)
		return image_fail(u->w, EINVAL, "the entry %.200s is a link to nothing", path);
	if (symlinkat(text, dir, name) < 0 || utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return failed(u, errno, path);
	return 0;
}

/* ---- whiteouts ---- */

static int put_opaque(struct unpack *u, int dir, const char *path)
{
	IMMURE_CLEANUP_FD int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? failed(u, errno, path) : opaque(u, fd, path);
}

static int put_whiteout(struct unpack *u, int dir, const char *name, const char *path)
{
	enum image_found was;
	int r;

	if (strcmp(name, ".opq") == 0 || strncmp(name, ".wh.", 4) == 0) {
		if (strcmp(name, ".wh..opq") == 0)
			return put_opaque(u, dir, path);
		return 0; /* aufs's own notes */
	}
	if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return image_fail(u->w, EINVAL, "the entry %.200s deletes what has no name", path);
	r = image_place_look(dir, name, &was);
	if (r < 0)
		return failed(u, -r, path);
	if (was == IMAGE_DIRECTORY) { /* this layer's own stays; below it nothing does */
		IMMURE_CLEANUP_FD int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		return fd < 0 ? failed(u, errno, path) : opaque(u, fd, path);
	}
	if (was != IMAGE_NOTHING)
		return 0;
	return mknodat(dir, name, S_IFCHR, makedev(0, 0)) < 0 ? failed(u, errno, path) : 0;
}

/* ---- entries ---- */

static int put_root(struct unpack *u, struct archive_entry *e)
{
	if (archive_entry_filetype(e) != AE_IFDIR)
		return image_fail(u->w, EINVAL, "an entry would replace the root");
	return fchmod(u->place.root_fd, mode_of(u, e, 0700)) < 0 ? failed(u, errno, "/") : 0;
}

/* -1: it is left out. */
static int is_left_out(struct unpack *u, struct archive_entry *e)
{
	switch (archive_entry_filetype(e)) {
	case AE_IFCHR:
	case AE_IFBLK:
		u->l->devices++;
		return 1;
	case AE_IFREG:
	case AE_IFDIR:
	case AE_IFLNK:
		return 0;
	default:
		u->l->special++;
		return 1;
	}
}

static int put(struct unpack *u, int dir, const char *name, struct archive_entry *e, const char *path)
{
	const char *target = archive_entry_hardlink(e);
	bool directory = !target && archive_entry_filetype(e) == AE_IFDIR;
	enum image_found was;
	int r;

	if (!target && is_left_out(u, e))
		return 0;
	r = image_place_clear(u->w, &u->place, dir, name, directory, &was);
	if (r < 0)
		return r;
	if (target)
		return put_hard_link(u, dir, name, target, path);
	note_owner(u, e, path);
	if (directory)
		return put_dir(u, dir, name, e, path, was);
	return archive_entry_filetype(e) == AE_IFLNK ? put_symlink(u, dir, name, e, path) :
						       put_file(u, dir, name, e, path);
}

static int entry(struct unpack *u, struct archive_entry *e)
{
	char path[NAME_MAX_BYTES + 1];
	const char *name;
	int dir, r = normal_name(u->w, archive_entry_pathname(e), path);

	if (r < 0)
		return r;
	if (++u->w->entries > u->w->max_entries)
		return image_fail(u->w, EFBIG, "the image has more than %llu entries",
				  (unsigned long long)u->w->max_entries);
	u->l->entries++;
	if (!*path)
		return put_root(u, e);
	dir = image_place_parent(u->w, &u->place, path, &name);
	if (dir < 0)
		return dir;
	if (strncmp(name, ".wh.", 4) == 0)
		r = put_whiteout(u, dir, name + 4, path);
	else
		r = put(u, dir, name, e, path);
	return r < 0 ? r : flush_owners(u, 64 << 10);
}

/* Last to first: a directory's time is not touched by what is done above it. */
static void set_times(struct unpack *u)
{
	for (size_t i = u->times_n; i-- > 0;) {
		struct timespec times[2] = { u->times[i].mtime, u->times[i].mtime };
		const char *name;
		int dir = image_place_parent(u->w, &u->place, u->times[i].path, &name);

		/* One that a later entry replaced has its own time, or none to set. */
		if (dir >= 0)
			(void)utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW);
	}
}

int image_unpack(struct image_worker *w, struct image_blob *b, int tree_fd, int owners_fd,
		 struct image_layer *l)
{
	struct unpack u = { .w = w, .blob = b, .a = image_blob_archive(b), .l = l,
			    .place = { tree_fd, -1, "" }, .owners_fd = owners_fd };
	struct archive_entry *e;
	int r = 0, got;

	while (r == 0 && (got = archive_read_next_header(u.a, &e)) != ARCHIVE_EOF) {
		if (got != ARCHIVE_OK)
			r = image_blob_why(w, b, u.a);
		else
			r = entry(&u, e);
	}
	if (r == 0)
		r = flush_owners(&u, 1);
	if (r == 0)
		set_times(&u);
	for (size_t i = 0; i < u.times_n; i++)
		free(u.times[i].path);
	free(u.times);
	immure_buf_done(&u.owners);
	image_place_done(&u.place);
	return r;
}
