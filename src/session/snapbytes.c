/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a snapshot's files, and what they stand for. */
#include "session/snapreader.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/sha256.h"

enum { XATTRS = 256 };

int immure_snap_refill(struct immure_snap_reader *r)
{
	ssize_t k = pread(r->fd, r->buf, IMMURE_SNAP_BUFFER, (off_t)(r->at + r->n));

	if (k <= 0)
		return k < 0 ? -errno : -EBADMSG;
	r->at += r->n;
	r->n = (size_t)k;
	r->i = 0;
	return 0;
}

int immure_snap_get(struct immure_snap_reader *r, void *data, size_t len)
{
	unsigned char *p = data;
	int e = 0;

	while (len && e == 0) {
		size_t k = len < r->n - r->i ? len : r->n - r->i;

		memcpy(p, r->buf + r->i, k);
		r->i += k;
		p += k;
		len -= k;
		if (len)
			e = immure_snap_refill(r);
	}
	return e;
}

int immure_snap_get_number(struct immure_snap_reader *r, size_t bytes, uint64_t *ret)
{
	unsigned char b[8];
	int e = immure_snap_get(r, b, bytes);

	*ret = 0;
	for (size_t i = 0; e == 0 && i < bytes; i++)
		*ret |= (uint64_t)b[i] << (8 * i);
	return e;
}

int immure_snap_get_u32(struct immure_snap_reader *r, uint32_t *ret)
{
	uint64_t v = 0;
	int e = immure_snap_get_number(r, 4, &v);

	*ret = (uint32_t)v;
	return e;
}

/* A text of less than size bytes without NUL. */
int immure_snap_get_text(struct immure_snap_reader *r, size_t bytes, char *ret, size_t size)
{
	uint64_t len = 0;
	int e = immure_snap_get_number(r, bytes, &len);

	if (e == 0 && len >= size)
		return -EBADMSG;
	if (e == 0)
		e = immure_snap_get(r, ret, (size_t)len);
	if (e < 0)
		return e;
	ret[len] = '\0';
	return strlen(ret) == len ? 0 : -EBADMSG;
}

bool immure_snap_is_name(const char *s)
{
	return s[0] && strcmp(s, ".") != 0 && strcmp(s, "..") != 0;
}

int immure_snap_get_name(struct immure_snap_reader *r)
{
	int e = immure_snap_get_text(r, 2, r->name, NAME_MAX + 1);

	if (e < 0)
		return e;
	return strchr(r->name, '/') || !immure_snap_is_name(r->name) ? -EBADMSG : 0;
}

int immure_snap_get_attributes(struct immure_snap_reader *r, struct immure_snap_attributes *ret)
{
	uint64_t s = 0, ns = 0, n = 0;
	int e = immure_snap_get_u32(r, &ret->mode);

	if (e == 0)
		e = immure_snap_get_u32(r, &ret->uid);
	if (e == 0)
		e = immure_snap_get_u32(r, &ret->gid);
	if (e == 0)
		e = immure_snap_get_number(r, 8, &s);
	if (e == 0)
		e = immure_snap_get_number(r, 4, &ns);
	if (e == 0)
		e = immure_snap_get_number(r, 2, &n);
	if (e == 0 && (ret->mode & ~07777U || ns >= 1000000000))
		return -EBADMSG;
	ret->mtim = (struct timespec){ .tv_sec = (time_t)s, .tv_nsec = (long)ns };
	ret->xattrs.len = 0;
	for (; e == 0 && n; n--) {
		char name[XATTRS];
		uint32_t len = 0;

		e = immure_snap_get_text(r, 2, name, sizeof(name));
		if (e == 0 && strncmp(name, "user.", 5) != 0)
			return -EBADMSG;
		if (e == 0)
			e = immure_snap_get_u32(r, &len);
		if (e == 0 && len > IMMURE_SNAP_VALUE)
			return -EBADMSG;
		if (e == 0)
			e = immure_snap_get(r, r->value, len);
		immure_buf_put(&ret->xattrs, name, strlen(name) + 1);
		immure_buf_put_u32(&ret->xattrs, len);
		immure_buf_put(&ret->xattrs, r->value, len);
	}
	return e < 0 ? e : immure_buf_ok(&ret->xattrs) ? 0 : -ENOMEM;
}

int immure_snap_hash(int fd, unsigned char ret[32], uint64_t *ret_len)
{
	struct immure_sha256 sha;
	unsigned char *buf = malloc(IMMURE_SNAP_BUFFER);
	uint64_t at = 0;
	ssize_t k = 0;
	int e = buf ? 0 : -ENOMEM;

	immure_sha256_init(&sha);
	while (e == 0 && (k = pread(fd, buf, IMMURE_SNAP_BUFFER, (off_t)at)) > 0) {
		immure_sha256_add(&sha, buf, (size_t)k);
		at += (uint64_t)k;
	}
	if (e == 0 && k < 0)
		e = -errno;
	immure_sha256_done(&sha, ret);
	*ret_len = at;
	free(buf);
	return e;
}
