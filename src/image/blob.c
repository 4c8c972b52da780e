/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of one layer. Two archives of libarchive's, one in the other: the outer takes
 * away the compression and nothing else, the inner reads the tar. So what is hashed on the
 * way in, what is hashed in the middle and what is unpacked are the same bytes, read once:
 * no file is looked at before and opened again after.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image/worker.h"

/* A layer of nothing but zeros is as small as this and not larger by more: what grows
 * beyond it is made to fill disks. */
#define RATIO_FROM (UINT64_C(256) << 20)
enum { CHUNK = 128 << 10, RATIO = 200 };

struct image_blob {
	struct image_worker *w;
	int fd;
	struct archive *outer, *inner;
	struct image_hash raw, plain;
	uint64_t raw_n, plain_n;
	int errnum;      /* why a callback said no */
	const char *what;
	char buf[CHUNK];
};

static la_ssize_t give_up(struct image_blob *b, struct archive *a, int errnum, const char *what)
{
	b->errnum = errnum;
	b->what = what;
	archive_set_error(a, errnum, "%s", what);
	return -1;
}

static la_ssize_t read_raw(struct archive *a, void *ctx, const void **ret)
{
	struct image_blob *b = ctx;
	ssize_t n;

	do
		n = read(b->fd, b->buf, sizeof(b->buf));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return give_up(b, a, errno, "cannot be read");
	if (n > 0 && image_hash_add(&b->raw, b->buf, (size_t)n) < 0)
		return give_up(b, a, EIO, "cannot be hashed");
	b->raw_n += (uint64_t)n;
	*ret = b->buf;
	return n;
}

static la_ssize_t read_plain(struct archive *a, void *ctx, const void **ret)
{
	struct image_blob *b = ctx;
	la_int64_t offset;
	size_t n = 0;
	int r;

	do
		r = archive_read_data_block(b->outer, ret, &n, &offset);
	while (r == ARCHIVE_OK && n == 0);
	if (r == ARCHIVE_EOF)
		return 0;
	if (r != ARCHIVE_OK)
		return give_up(b, a, b->errnum ? b->errnum : EBADMSG,
			       b->what ? b->what : "is damaged: it cannot be decompressed");
	if (image_hash_add(&b->plain, *ret, n) < 0)
		return give_up(b, a, EIO, "cannot be hashed");
	b->plain_n += n;
	if (b->plain_n > RATIO_FROM && b->plain_n / RATIO > b->raw_n)
		return give_up(b, a, EFBIG, "is a decompression bomb: it grows more than 200 times");
	/* An archive's own headers and padding count as well. */
	if (b->plain_n > 2 * b->w->max_bytes)
		return give_up(b, a, EFBIG, "is too large unpacked");
	return (la_ssize_t)n;
}

static int open_both(struct image_blob *b)
{
	struct archive_entry *e;
	int r;

	b->outer = archive_read_new();
	b->inner = archive_read_new();
	if (!b->outer || !b->inner)
		return -ENOMEM;
	if (archive_read_support_filter_gzip(b->outer) != ARCHIVE_OK ||
	    archive_read_support_filter_zstd(b->outer) != ARCHIVE_OK ||
	    archive_read_support_format_raw(b->outer) != ARCHIVE_OK ||
	    archive_read_support_format_empty(b->outer) != ARCHIVE_OK ||
	    archive_read_support_format_tar(b->inner) != ARCHIVE_OK ||
	    archive_read_support_format_empty(b->inner) != ARCHIVE_OK)
		return -ENOSYS;
	if (archive_read_open(b->outer, b, NULL, read_raw, NULL) != ARCHIVE_OK)
		return -EBADMSG;
	r = archive_read_next_header(b->outer, &e);
	if (r != ARCHIVE_OK && r != ARCHIVE_EOF)
		return -EBADMSG;
	return archive_read_open(b->inner, b, NULL, read_plain, NULL) == ARCHIVE_OK ? 0 : -EBADMSG;
}

int image_blob_open(struct image_worker *w, int fd, struct image_blob **ret)
{
	struct image_blob *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return image_fail(w, ENOMEM, "out of memory");
	b->w = w;
	b->fd = fd;
	r = image_hash_begin(&b->raw);
	if (r == 0)
		r = image_hash_begin(&b->plain);
	if (r == 0)
		r = open_both(b);
	if (r < 0) {
		r = image_fail(w, -r, "a layer %s", b->what ? b->what : "is no archive");
		image_blob_close(b);
		return r;
	}
	*ret = b;
	return 0;
}

struct archive *image_blob_archive(struct image_blob *b)
{
	return b->inner;
}

int image_blob_why(struct image_worker *w, struct image_blob *b, struct archive *a)
{
	if (b->what)
		return image_fail(w, b->errnum, "the layer %s", b->what);
	return image_fail(w, EBADMSG, "the layer is damaged: %.200s",
			  archive_error_string(a) ? archive_error_string(a) : "no archive");
}

/* What follows the archive's end, in the archive and after the compressed stream, was
 * hashed by whoever made the digests. */
static int drain(struct image_blob *b)
{
	const void *data;
	la_ssize_t n;

	do
		n = read_plain(b->inner, b, &data);
	while (n > 0);
	if (n < 0)
		return -1;
	do
		n = read_raw(b->outer, b, &data);
	while (n > 0);
	return n < 0 ? -1 : 0;
}

int image_blob_finish(struct image_worker *w, struct image_blob *b, const struct image_descriptor *d,
		      const char *diff_id)
{
	char raw[IMMURE_IMAGE_DIGEST + 1], plain[IMMURE_IMAGE_DIGEST + 1];

	if (drain(b) < 0)
		return image_blob_why(w, b, b->inner);
	if (image_hash_end(&b->raw, raw) < 0 || image_hash_end(&b->plain, plain) < 0)
		return image_fail(w, EIO, "the layer cannot be hashed");
	if (d->size != IMAGE_ANY_SIZE && d->size != b->raw_n)
		return image_fail(w, EBADMSG, "layer %s has %llu bytes, the manifest says %llu",
				  d->digest, (unsigned long long)b->raw_n, (unsigned long long)d->size);
	if (d->digest && strcmp(d->digest, raw) != 0)
		return image_fail(w, EBADMSG, "layer %s is not what it says: its digest is %s",
				  d->digest, raw);
	if (strcmp(diff_id, plain) != 0)
		return image_fail(w, EBADMSG, "layer %s unpacks to %s, the config says %s",
				  d->digest ? d->digest : "", plain, diff_id);
	return 0;
}

void image_blob_close(struct image_blob *b)
{
	if (!b)
		return;
	(void)archive_read_free(b->inner); /* in this order: it reads from the other */
	(void)archive_read_free(b->outer);
	image_hash_done(&b->raw);
	image_hash_done(&b->plain);
	free(b);
}
