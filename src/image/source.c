/* SPDX-License-Identifier: Apache-2.0 */
/* Where an image comes from: a directory in the form of an OCI layout, or the members of an
 * archive. A file in it is opened below it, through no link, and must be a plain one. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "image/worker.h"
#include "kernel/sys.h"

#define BENEATH (IMMURE_RESOLVE_BENEATH | IMMURE_RESOLVE_NO_SYMLINKS | IMMURE_RESOLVE_NO_MAGICLINKS)
enum { LINKS = 4 };

/* A member's number, through links among the members; -1: there is none. */
static long find(const struct image_source *s, struct immure_arena *a, const char *name)
{
	for (int hops = 0; hops <= LINKS && name; hops++) {
		long at = -1;

		for (size_t i = 0; i + 1 < s->members.n; i += 2)
			if (strcmp(s->members.v[i], name) == 0)
				at = (long)(i / 2); /* the last of a name wins */
		if (at < 0 || s->members.v[2 * at + 1][0] == '\0')
			return at;
		/* "../ID/layer.tar" of an old docker save: from where the link is. */
		name = image_member_name(a, s->members.v[2 * at + 1]);
	}
	return -1;
}

bool image_source_has(const struct image_source *s, const char *name)
{
	if (s->spool_fd >= 0) {
		for (size_t i = 0; i + 1 < s->members.n; i += 2)
			if (strcmp(s->members.v[i], name) == 0)
				return true;
		return false;
	}
	return faccessat(s->dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int image_source_open(struct image_worker *w, const struct image_source *s, const char *name)
{
	char number[24];
	struct stat st;
	int fd;

	if (s->spool_fd >= 0) {
		long at = find(s, &w->arena, name);

		if (at < 0)
			return image_fail(w, ENOENT, "%.200s is not in the archive", name);
		(void)snprintf(number, sizeof(number), "%ld", at);
		fd = openat(s->spool_fd, number, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		return fd < 0 ? image_fail(w, errno, "%.200s cannot be read", name) : fd;
	}
	fd = immure_sys_openat2(s->dir_fd, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC, BENEATH);
	if (fd < 0)
		return image_fail(w, -fd, "%.200s: %s", name, strerror(-fd));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		immure_close(&fd);
		return image_fail(w, EINVAL, "%.200s is no plain file", name);
	}
	return fd;
}

int image_source_open_digest(struct image_worker *w, const struct image_source *s, const char *digest)
{
	char path[IMMURE_IMAGE_DIGEST + 32];

	(void)snprintf(path, sizeof(path), "blobs/sha256/%s", digest + 7);
	return image_source_open(w, s, path);
}

int image_source_read(struct image_worker *w, const struct image_source *s, const char *name, char **ret,
		      size_t *ret_len)
{
	IMMURE_CLEANUP_FD int fd = image_source_open(w, s, name);
	int r;

	if (fd < 0)
		return fd;
	r = immure_read_all(fd, IMAGE_JSON_MAX, ret, ret_len);
	return r < 0 ? image_fail(w, -r, "%.200s: %s", name, r == -EFBIG ? "is too large" : strerror(-r)) : 0;
}

int image_source_read_digest(struct image_worker *w, const struct image_source *s, const struct image_descriptor *d,
			     char **ret, size_t *ret_len)
{
	char path[IMMURE_IMAGE_DIGEST + 32], is[IMMURE_IMAGE_DIGEST + 1];
	int r;

	(void)snprintf(path, sizeof(path), "blobs/sha256/%s", d->digest + 7);
	r = image_source_read(w, s, path, ret, ret_len);
	if (r < 0)
		return r;
	if (image_hash_text(*ret, *ret_len, is) < 0)
		return image_fail(w, EIO, "%s cannot be hashed", d->digest);
	if (strcmp(is, d->digest) != 0)
		return image_fail(w, EBADMSG, "%s is not what it says: its digest is %s", d->digest, is);
	if (d->size != IMAGE_ANY_SIZE && d->size != *ret_len)
		return image_fail(w, EBADMSG, "%s has %zu bytes, its descriptor says %llu", d->digest, *ret_len,
				  (unsigned long long)d->size);
	return 0;
}
