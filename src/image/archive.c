/* SPDX-License-Identifier: Apache-2.0 */
/* An archive of a layout, or what docker save writes: its members may come in any order and
 * are needed in another, and the archive may be compressed or a pipe. So the plain files are
 * put aside once, under numbers, in the store's tmp; their names are only compared. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "image/worker.h"

enum { MEMBERS_MAX = 20000, CHUNK = 128 << 10 };

/* "a/b" of "./a//b"; ".." goes up, but not out: only ever compared with other names. */
char *image_member_name(struct immure_arena *a, const char *name)
{
	char *out = immure_arena_alloc(a, strlen(name) + 1), *to = out;

	for (const char *c = name; out && *c;) {
		size_t n = strcspn(c, "/");

		if (n && !(n == 1 && c[0] == '.') && !(n == 2 && c[0] == '.' && c[1] == '.')) {
			if (to != out)
				*to++ = '/';
			memcpy(to, c, n);
			to += n;
		}
		c += n + (c[n] == '/');
	}
	if (out)
		*to = '\0';
	return out;
}

struct input {
	int fd;
	char buf[CHUNK];
};

static la_ssize_t read_input(struct archive *a, void *ctx, const void **ret)
{
	struct input *in = ctx;
	ssize_t n;

	do
		n = read(in->fd, in->buf, sizeof(in->buf));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		archive_set_error(a, errno, "cannot be read");
	*ret = in->buf;
	return n;
}

static int why(struct image_worker *w, struct archive *a)
{
	return image_fail(w, EBADMSG, "no image layout and no archive of one: %.200s",
			  archive_error_string(a) ? archive_error_string(a) : "damaged");
}

static int put_aside(struct image_worker *w, struct archive *a, int spool_fd, size_t number, uint64_t *sum)
{
	IMMURE_CLEANUP_FD int fd = -1;
	char name[24];
	const void *data;
	la_int64_t offset;
	size_t n;
	int r;

	(void)snprintf(name, sizeof(name), "%zu", number);
	fd = openat(spool_fd, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return image_fail(w, errno, "the store cannot be written: %s", strerror(errno));
	while ((r = archive_read_data_block(a, &data, &n, &offset)) == ARCHIVE_OK) {
		*sum += n;
		if (*sum > w->max_bytes || offset < 0 || (uint64_t)offset > w->max_bytes)
			return image_fail(w, EFBIG, "the archive is too large: more than %llu bytes, --max-size",
					  (unsigned long long)w->max_bytes);
		if (lseek(fd, (off_t)offset, SEEK_SET) < 0)
			return image_fail(w, errno, "the store cannot be written: %s", strerror(errno));
		r = immure_write_all(fd, data, n);
		if (r < 0)
			return image_fail(w, -r, "the store cannot be written: %s", strerror(-r));
	}
	return r == ARCHIVE_EOF ? 0 : why(w, a);
}

/* A link's text, as the name of another member: "../ID/layer.tar" from where the link is. */
static const char *link_text(struct image_worker *w, struct archive_entry *e)
{
	const char *text = archive_entry_hardlink(e);

	if (!text && archive_entry_filetype(e) == AE_IFLNK)
		text = archive_entry_symlink(e);
	return text ? image_member_name(&w->arena, text) : NULL;
}

static int member(struct image_worker *w, struct archive *a, struct archive_entry *e, struct image_source *s,
		  uint64_t *sum)
{
	const char *name = archive_entry_pathname(e), *to = link_text(w, e);
	size_t number = s->members.n / 2;

	if (!name || (archive_entry_filetype(e) != AE_IFREG && !to))
		return 0;
	if (number >= MEMBERS_MAX)
		return image_fail(w, EFBIG, "the archive has more than %d members", MEMBERS_MAX);
	name = image_member_name(&w->arena, name);
	if (!name || !immure_strv_add(&w->arena, &s->members, name) ||
	    !immure_strv_add(&w->arena, &s->members, to ? to : ""))
		return image_fail(w, ENOMEM, "out of memory");
	return to ? 0 : put_aside(w, a, s->spool_fd, number, sum);
}

static int members(struct image_worker *w, struct archive *a, struct image_source *s)
{
	struct archive_entry *e;
	uint64_t sum = 0;
	int r = 0, got;

	while (r == 0 && (got = archive_read_next_header(a, &e)) != ARCHIVE_EOF)
		r = got == ARCHIVE_OK ? member(w, a, e, s, &sum) : why(w, a);
	return r;
}

int image_archive_spool(struct image_worker *w, int fd, struct image_source *ret)
{
	static const char SPOOL[] = "spool";
	struct image_source s = { .dir_fd = -1, .spool_fd = -1 };
	struct input *in = immure_arena_alloc(&w->arena, sizeof(*in));
	struct archive *a = archive_read_new();
	int tmp = image_keep_tmp(w), r = 0;

	if (tmp < 0)
		r = tmp;
	else if (!a || !in)
		r = image_fail(w, ENOMEM, "out of memory");
	else if (mkdirat(tmp, SPOOL, 0700) < 0 ||
		 (s.spool_fd = openat(tmp, SPOOL, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
		r = image_fail(w, errno, "the store cannot be written: %s", strerror(errno));
	if (r == 0) {
		in->fd = fd;
		(void)archive_read_support_filter_gzip(a); /* refusals show at the opening */
		(void)archive_read_support_filter_zstd(a);
		(void)archive_read_support_format_tar(a);
		r = archive_read_open(a, in, NULL, read_input, NULL) == ARCHIVE_OK ? members(w, a, &s) : why(w, a);
	}
	(void)archive_read_free(a);
	if (r < 0)
		immure_close(&s.spool_fd);
	else
		*ret = s;
	return r;
}
