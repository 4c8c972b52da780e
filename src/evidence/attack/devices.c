/* SPDX-License-Identifier: Apache-2.0 */
/* Devices by their numbers: a name says nothing. */
#include "attack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* null zero full random urandom tty ptmx, and terminals of the session. */
static bool harmless(const struct stat *st)
{
	unsigned int major_n = major(st->st_rdev), minor_n = minor(st->st_rdev);

	if (!S_ISCHR(st->st_mode))
		return false;
	if (major_n == 1)
		return minor_n == 3 || minor_n == 5 || minor_n == 7 || minor_n == 8 || minor_n == 9;
	if (major_n == 5)
		return minor_n == 0 || minor_n == 2;
	return major_n >= 136 && major_n <= 143;
}

static void scan(struct attack_result *r, int dir_fd, const char *name, int depth)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	struct dirent *e;
	DIR *d;

	if (fd < 0 || !(d = fdopendir(fd))) {
		attack_denied(r, errno, "read %.60s: %s", name, strerror(errno));
		return;
	}
	while ((e = readdir(d))) {
		struct stat st;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") ||
		    fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISDIR(st.st_mode) && depth < 3)
			scan(r, dirfd(d), e->d_name, depth + 1);
		else if ((S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) && !harmless(&st))
			attack_done(r, "/dev holds %.60s, device %u:%u", e->d_name,
				    major(st.st_rdev), minor(st.st_rdev));
		else if (S_ISSOCK(st.st_mode))
			attack_done(r, "/dev holds the socket %.60s", e->d_name);
	}
	(void)closedir(d); /* only read */
}

static void listing(const struct attack_ctx *ctx, struct attack_result *r)
{
	struct attack_result found = { 0 };

	(void)ctx;
	scan(&found, AT_FDCWD, "/dev", 0);
	if (found.outcome == ATTACK_DONE)
		*r = found;
	else
		attack_denied(r, 0, "/dev holds only null, zero, full, random, urandom and terminals");
}

static bool named(const struct attack_ctx *ctx, const char *path)
{
	const char *value;
	size_t i = 0;

	while ((value = attack_next(ctx, "device", &i)))
		if (strcmp(value, path) == 0)
			return true;
	return false;
}

enum { MOUNTS_MAX = 8192 };

struct mount_line {
	int id, parent;
	const char *at, *options;
};

static bool stacked_on(const struct mount_line *m, size_t n, size_t under, int but)
{
	for (size_t i = 0; i < n; i++)
		if (m[i].parent == m[under].id && m[i].id != but && i != under &&
		    strcmp(m[i].at, m[under].at) == 0)
			return true;
	return false;
}

/* Something is mounted over it, or over what it is in: no path leads there, and nothing
 * here can take that away (that is other attacks' business). */
static bool covered(const struct mount_line *m, size_t n, size_t i)
{
	if (stacked_on(m, n, i, -1))
		return true;
	for (size_t depth = 0; depth < 256; depth++) {
		size_t p = 0;

		while (p < n && m[p].id != m[i].parent)
			p++;
		if (p == n)
			return false;
		if (stacked_on(m, n, p, m[i].id))
			return true;
		i = p;
	}
	return false;
}

static size_t parse_mounts(char *text, struct mount_line *m)
{
	size_t n = 0;
	char *next;

	for (char *line = text; line && n < MOUNTS_MAX; line = next) {
		char *field[6], *p = line, *word;
		size_t k = 0;

		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		while (k < 6 && (word = strsep(&p, " ")))
			field[k++] = word;
		if (k == 6)
			m[n++] = (struct mount_line){ atoi(field[0]), atoi(field[1]), field[4],
						      field[5] };
	}
	return n;
}

/* A node that lies in some tree must not work: every mount says nodev, but for
 * those in /dev and devices that the policy names. Nor may a setuid bit. */
static void stray_nodes(const struct attack_ctx *ctx, struct attack_result *r)
{
	static struct mount_line m[MOUNTS_MAX];
	static char text[1 << 20];
	long len = attack_read_file("/proc/self/mountinfo", text, sizeof(text));
	size_t n;

	if (len < 0 || (size_t)len == sizeof(text) - 1) {
		attack_error(r, "/proc/self/mountinfo: %s", len < 0 ? strerror(errno) : "too long");
		return;
	}
	n = parse_mounts(text, m);
	if (n == 0 || n == MOUNTS_MAX) {
		attack_error(r, "/proc/self/mountinfo: %zu lines", n);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		const char *at = m[i].at;

		if (covered(m, n, i))
			continue;
		if (!strstr(m[i].options, "nosuid"))
			attack_done(r, "%.120s is mounted without nosuid", at);
		else if (!strstr(m[i].options, "nodev") && strcmp(at, "/dev") != 0 &&
			 strncmp(at, "/dev/", 5) != 0 && !named(ctx, at))
			attack_done(r, "%.120s is mounted without nodev", at);
	}
	attack_denied(r, 0, "every mount says nodev and nosuid");
}

/* A path descriptor: opening some devices is an act of its own. Where the host's /dev
 * is in sight that says nothing, so there it has to be the act. */
static int reach(const struct attack_ctx *ctx, const char *path)
{
	return open(path, O_CLOEXEC | (attack_first(ctx, "shared") ? O_RDONLY | O_NONBLOCK | O_NOCTTY
								   : O_PATH));
}

static void dangerous(const struct attack_ctx *ctx, struct attack_result *r)
{
	static const char *const paths[] = { "/dev/mem", "/dev/kmem", "/dev/port", "/dev/kmsg",
					     "/dev/kvm", "/dev/sda", "/dev/vda", "/dev/nvme0n1",
					     "/dev/loop-control", "/dev/loop0", "/dev/fuse",
					     "/dev/mapper/control", "/dev/net/tun", "/dev/vsock",
					     "/dev/uinput", "/dev/userfaultfd", "/dev/vhost-net",
					     "/dev/dri/card0", "/dev/snd/control", "/dev/ttyS0" };

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		attack_try(r, reach(ctx, paths[i]), paths[i]);
}

static void make_node(struct attack_result *r, const char *dir, mode_t type, dev_t dev,
		      const char *what)
{
	char path[4096];

	attack_name(path, sizeof(path), dir);
	if (attack_try(r, mknod(path, type | 0600, dev), what))
		(void)unlink(path); /* undoing */
}

static void make(const struct attack_ctx *ctx, struct attack_result *r)
{
	static const char *const kinds[] = { "tmp", "workspace-rw" };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		const char *dir = attack_first(ctx, kinds[i]);

		if (!dir)
			continue;
		make_node(r, dir, S_IFBLK, makedev(8, 0), "mknod a block device");
		make_node(r, dir, S_IFCHR, makedev(1, 1), "mknod a character device");
	}
	make_node(r, "/dev", S_IFCHR, makedev(1, 1), "mknod in /dev");
}

/* Someone else's terminal, or the pty master of the caller. */
static void terminals(const struct attack_ctx *ctx, struct attack_result *r)
{
	static const char *const paths[] = { "/dev/console", "/dev/tty0", "/dev/tty1",
					     "/dev/vcs", "/dev/vcsa" };
	DIR *d = opendir("/dev/pts");
	struct dirent *e;
	int n = 0;

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		attack_try(r, reach(ctx, paths[i]), paths[i]);
	while (d && (e = readdir(d)))
		n += e->d_name[0] >= '0' && e->d_name[0] <= '9';
	if (d)
		(void)closedir(d); /* only read */
	if (n > 1)
		attack_done(r, "%d terminals in /dev/pts before any was made", n);
}

static const struct attack table[] = {
	{ "devices.listing", listing },
	{ "devices.dangerous", dangerous },
	{ "devices.mknod", make },
	{ "devices.stray-nodes", stray_nodes },
	{ "devices.terminals", terminals },
};
const struct attack_list attack_devices = { table, sizeof(table) / sizeof(table[0]) };
