/* SPDX-License-Identifier: Apache-2.0 */
#include "image/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/names.h"

enum { NAMES_MAX = 1 << 20, SHORTEST = 12 };

int immure_image_store_open(const char *state_dir)
{
	char path[4096];
	struct stat st;
	int fd, n = snprintf(path, sizeof(path), "%s/images", state_dir);

	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || st.st_uid != geteuid() || (st.st_mode & 022)) {
		immure_close(&fd);
		return -EPERM;
	}
	return fd;
}

/* ---- names ---- */

int immure_image_names(int store_fd, int (*each)(void *ctx, const char *name, const char *digest),
		       void *ctx)
{
	IMMURE_CLEANUP_FREE char *text = NULL;
	size_t len;
	int r = immure_read_file_at(store_fd, "names", NAMES_MAX, &text, &len);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	for (char *line = text, *stop; *line && r == 0; line = stop + 1) {
		char *space;

		stop = strchr(line, '\n');
		if (!stop)
			return -EINVAL;
		*stop = '\0';
		space = strchr(line, ' ');
		if (!space)
			return -EINVAL;
		*space = '\0';
		if (!immure_image_is_name(line) || !immure_image_is_digest(space + 1))
			return -EINVAL;
		r = each(ctx, line, space + 1);
	}
	return r;
}

struct search {
	const char *name, *with_tag;
	char *ret;
};

static int match(void *ctx, const char *name, const char *digest)
{
	struct search *s = ctx;

	if (strcmp(name, s->name) != 0 && strcmp(name, s->with_tag) != 0)
		return 0;
	memcpy(s->ret, digest, IMMURE_IMAGE_DIGEST + 1);
	return 1;
}

/* ---- digests ---- */

static int by_prefix(int store_fd, const char *hex, char *ret)
{
	size_t n = strlen(hex), found = 0;
	int r = 0;
	int fd = openat(store_fd, "images", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct dirent *d;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir) {
		immure_close(&fd);
		return -errno;
	}
	while ((d = immure_readdir(dir, &r))) {
		if (strlen(d->d_name) != IMMURE_IMAGE_HEX || strncmp(d->d_name, hex, n) != 0)
			continue;
		(void)snprintf(ret, IMMURE_IMAGE_DIGEST + 1, "sha256:%.64s", d->d_name);
		found++;
	}
	(void)closedir(dir);
	return r < 0 ? r : found == 1 ? 0 : found ? -EEXIST : -ENOENT;
}

int immure_image_resolve(int store_fd, const char *ref, char *ret)
{
	char tagged[IMMURE_IMAGE_NAME_MAX + 8];
	struct search s = { ref, tagged, ret };
	const char *hex = strncmp(ref, "sha256:", 7) == 0 ? ref + 7 : ref;
	size_t n = strlen(hex);
	int r;

	(void)snprintf(tagged, sizeof(tagged), "%.255s:latest", ref);
	r = immure_image_names(store_fd, match, &s);
	if (r != 0)
		return r < 0 ? r : 0;
	if (n < SHORTEST || n > IMMURE_IMAGE_HEX || strspn(hex, "0123456789abcdef") != n)
		return -ENOENT;
	return by_prefix(store_fd, hex, ret);
}

/* ---- records ---- */

static int open_record(int store_fd, const char *digest)
{
	char path[IMMURE_IMAGE_HEX + 32];
	int fd;

	if (!immure_image_is_digest(digest))
		return -EINVAL;
	(void)snprintf(path, sizeof(path), "images/%s/record", digest + 7);
	fd = openat(store_fd, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int immure_image_read(int store_fd, const char *digest, struct immure_arena *a,
		      struct immure_image_record *ret)
{
	IMMURE_CLEANUP_FD int fd = open_record(store_fd, digest);
	IMMURE_CLEANUP_FREE char *text = NULL;
	size_t len;
	int r;

	if (fd < 0)
		return fd;
	r = immure_read_all(fd, IMMURE_IMAGE_RECORD_MAX, &text, &len);
	if (r == 0)
		r = immure_image_record_parse(a, text, len, ret);
	if (r == 0 && strcmp(ret->digest, digest) != 0)
		r = -EINVAL; /* another's record */
	return r;
}
