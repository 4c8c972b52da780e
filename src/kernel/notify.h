/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls that a filter sends to a listener, and their answers. The caller
 * waits; its arguments are numbers and pointers into its own memory, which another
 * of its threads may be rewriting. So memory is read once, judged as it was read,
 * and nothing is ever continued: what is allowed is done by whoever answers.
 */
#ifndef IMMURE_KERNEL_NOTIFY_H
#define IMMURE_KERNEL_NOTIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct immure_filter;

struct immure_notice {
	uint64_t id;
	int tid;          /* the caller's thread, in our numbers */
	int nr;           /* of the native ABI: filters close the others */
	uint64_t args[6];
};

/* Installs the filter on the calling thread: a listener, CLOEXEC, or -errno (-EBUSY:
 * one of the filters that are there has one). Where the kernel can (5.19), a
 * caller whose notice was received is interrupted by death alone. */
int immure_notify_install(const struct immure_filter *f);

/* 1: some call waits; 0: none; -ENOTCONN: nobody is left who could make one. */
int immure_notify_waits(int listener_fd);
/* Where one waits. 1; 0: it has gone; -errno. */
int immure_notify_receive(int listener_fd, struct immure_notice *ret);
/* Whether the caller still waits: what was read of it before was its own. */
bool immure_notify_valid(int listener_fd, uint64_t id);
/* The call returns value, or fails with errnum when that is not 0. -ENOENT: the caller
 * has gone. */
int immure_notify_answer(int listener_fd, uint64_t id, int64_t value, int errnum);
/* The call returns a new descriptor for fd's file. 5.14 */
int immure_notify_answer_fd(int listener_fd, uint64_t id, int fd, bool cloexec);
/* The caller's descriptor `theirs` becomes one for fd's file; the call still waits. */
int immure_notify_replace_fd(int listener_fd, uint64_t id, int fd, int theirs, bool cloexec);

/* All of it, or -errno. */
int immure_notify_read(const struct immure_notice *n, uint64_t at, void *ret, size_t len);
int immure_notify_write(const struct immure_notice *n, uint64_t at, const void *data, size_t len);
/* A descriptor for what the caller's is one for: the same open file. */
int immure_notify_take_fd(const struct immure_notice *n, int theirs);
/* The flags of the caller's descriptor: O_NONBLOCK, O_CLOEXEC and the rest. */
int immure_notify_fd_flags(const struct immure_notice *n, int theirs);

#endif
