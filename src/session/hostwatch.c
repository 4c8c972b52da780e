/* SPDX-License-Identifier: Apache-2.0 */
#include "session/hostwatch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "egress/hostconf.h"

enum { FILES = 2 };

static const char *const files[FILES] = { "/etc/resolv.conf", "/etc/hosts" };

static const char *base_of(const char *path)
{
	return strrchr(path, '/') + 1; /* they are absolute */
}

/* In a directory: a file of that name was replaced. Of a file: it was written. */
static void add(int fd, const char *path)
{
	char dir[PATH_MAX];
	size_t len = (size_t)(base_of(path) - path);

	if (len >= sizeof(dir))
		return;
	memcpy(dir, path, len);
	dir[len] = '\0';
	/* What is not there cannot be watched, and need not. */
	(void)inotify_add_watch(fd, dir, IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_ONLYDIR);
	/* Bound from elsewhere (containers), it is written in a directory that we do not see. */
	(void)inotify_add_watch(fd, path, IN_CLOSE_WRITE);
}

/* Adding what is watched already changes nothing. */
static void add_all(int fd)
{
	for (int i = 0; i < FILES; i++) {
		char target[PATH_MAX];

		add(fd, files[i]);
		if (realpath(files[i], target) && strcmp(target, files[i]) != 0)
			add(fd, target);
	}
}

int immure_hostwatch_open(int *ret_fd)
{
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	if (fd < 0)
		return -errno;
	add_all(fd);
	*ret_fd = fd;
	return 0;
}

/* Links are followed to names that may be others: then any of that name counts. */
static bool is_ours(const char *name)
{
	for (int i = 0; i < FILES; i++) {
		char target[PATH_MAX];

		if (strcmp(name, base_of(files[i])) == 0 ||
		    (realpath(files[i], target) && strcmp(name, base_of(target)) == 0))
			return true;
	}
	return false;
}

bool immure_hostwatch_changed(int fd)
{
	_Alignas(struct inotify_event) char buf[4096];
	bool ours = false;
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *e = (const struct inotify_event *)(buf + at);

			ours |= e->len == 0 || is_ours(e->name);
			at += (ssize_t)(sizeof(*e) + e->len);
		}
	if (ours)
		add_all(fd); /* a link may lead elsewhere now, a new file is not watched yet */
	return ours;
}

static int take_one(const char *path, int *ret_fd)
{
	IMMURE_CLEANUP_FREE char *text = NULL;
	IMMURE_CLEANUP_FD int fd = -1;
	size_t len = 0;
	int r = immure_read_file_at(AT_FDCWD, path, IMMURE_HOSTS_FILE_MAX, &text, &len);

	if (r < 0 && r != -ENOENT)
		return r;
	fd = memfd_create("immure-hostconf", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = text && len ? immure_write_all(fd, text, len) : 0;
	if (r < 0)
		return r;
	*ret_fd = immure_take_fd(&fd);
	return 0;
}

int immure_hostwatch_take(int ret_fds[2])
{
	int r;

	ret_fds[0] = ret_fds[1] = -1;
	r = take_one(files[0], &ret_fds[0]);
	if (r == 0)
		r = take_one(files[1], &ret_fds[1]);
	if (r < 0)
		immure_close(&ret_fds[0]);
	return r;
}
