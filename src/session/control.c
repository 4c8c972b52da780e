/* SPDX-License-Identifier: Apache-2.0 */
#include "session/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"

#ifndef F_ADD_SEALS
#define F_ADD_SEALS 1033
#endif

enum { WORD_RESULT = 1, WORD_ERROR = 2 };
static const size_t control_max = 16 << 20;

static int nameless(const void *data, size_t len)
{
	static const char *const places[] = { "/dev/shm", "/tmp" };
	int fd = -1, r;

	for (int i = 0; i < 2 && fd < 0; i++)
		fd = open(places[i], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = immure_write_all(fd, data, len);
	if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
		r = -errno;
	if (r < 0)
		immure_close(&fd);
	return r < 0 ? r : fd;
}

int immure_memfd_of(const char *name, const void *data, size_t len)
{
	int fd = (int)syscall(SYS_memfd_create, name, 3 /* MFD_CLOEXEC | MFD_ALLOW_SEALING */), r;

	/* A kernel without it: a file without a name, in memory as well where that is. */
	if (fd < 0 && errno == ENOSYS)
		return nameless(data, len);
	if (fd < 0)
		return -errno;
	r = immure_write_all(fd, data, len);
	if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
		r = -errno;
	if (r == 0 && fcntl(fd, F_ADD_SEALS, 0xf /* SEAL, SHRINK, GROW, WRITE */) < 0)
		r = -errno;
	if (r < 0) {
		immure_close(&fd);
		return r;
	}
	return fd;
}

static void put(struct immure_buf *b, const char *s)
{
	immure_buf_puts(b, s);
	immure_buf_putc(b, '\0');
}

int immure_control_send(int fd, const struct immure_result *result, const struct immure_error *err)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { .space = { 0 } };
	uint32_t word = result ? WORD_RESULT : WORD_ERROR;
	struct iovec iov = { .iov_base = &word, .iov_len = sizeof(word) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.space,
			      .msg_controllen = sizeof(control.space) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int memfd, r = 0;

	if (result) {
		(void)immure_result_encode(result, &b); /* out of memory shows below */
	} else {
		immure_buf_put_u32(&b, (uint32_t)immure_error_code(err));
		immure_buf_put_u32(&b, (uint32_t)immure_error_errno(err));
		put(&b, immure_error_stage(err));
		put(&b, immure_error_subject(err));
		put(&b, immure_error_text(err));
		put(&b, immure_error_hint(err));
	}
	if (!immure_buf_ok(&b)) {
		immure_buf_done(&b);
		return -ENOMEM;
	}
	memfd = immure_memfd_of("immure-result", b.data, b.len);
	immure_buf_done(&b);
	if (memfd < 0)
		return memfd;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &memfd, sizeof(int));
	if (sendmsg(fd, &msg, MSG_NOSIGNAL) < 0)
		r = -errno;
	immure_close(&memfd);
	return r;
}

/* Four strings, one after another, all there or none taken. */
static int32_t carried_error(const char *data, size_t len, struct immure_error **err)
{
	const char *text[4], *p = data + 8, *end = data + len;
	const unsigned char *u = (const unsigned char *)data;
	uint32_t code, eno;

	if (len < 8)
		return -1;
	code = u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 24;
	eno = u[4] | (uint32_t)u[5] << 8 | (uint32_t)u[6] << 16 | (uint32_t)u[7] << 24;
	for (int i = 0; i < 4; i++) {
		const char *nul = p < end ? memchr(p, 0, (size_t)(end - p)) : NULL;

		if (!nul)
			return -1;
		text[i] = p;
		p = nul + 1;
	}
	if (code == 0 || code > 1000 || eno > 4095)
		return -1;
	(void)immure_fail(err, (int32_t)code, (int)eno, text[0], text[1], "%s", text[2]);
	if (err && *err && text[3][0])
		immure_error_set_hint(*err, "%s", text[3]);
	return -(int32_t)code;
}

static int32_t decode(int memfd, uint32_t word, struct immure_result **ret, struct immure_error **err)
{
	IMMURE_CLEANUP_FREE char *data = NULL;
	size_t len = 0;
	int32_t r = -1;

	if (lseek(memfd, 0, SEEK_SET) == 0 && immure_read_all(memfd, control_max, &data, &len) == 0) {
		if (word == WORD_RESULT)
			r = immure_result_decode(data, len, ret) == 0 ? 1 : -1;
		else if (word == WORD_ERROR)
			r = carried_error(data, len, err);
	}
	if (r == -1)
		return immure_fail(err, IMMURE_ERR_IO, EPROTO, "session", "",
				   "the supervisor's answer cannot be read");
	return r;
}

int32_t immure_control_receive(int fd, struct immure_result **ret_result, struct immure_error **err)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	uint32_t word = 0;
	struct iovec iov = { .iov_base = &word, .iov_len = sizeof(word) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.space,
			      .msg_controllen = sizeof(control.space) };
	IMMURE_CLEANUP_FD int memfd = -1;
	ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	c = n == sizeof(word) ? CMSG_FIRSTHDR(&msg) : NULL;
	if (!c || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int)))
		return immure_fail(err, IMMURE_ERR_IO, EPIPE, "session", "",
				   "the supervisor ended without an answer");
	memcpy(&memfd, CMSG_DATA(c), sizeof(int));
	return decode(memfd, word, ret_result, err);
}
