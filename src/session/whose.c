/* SPDX-License-Identifier: Apache-2.0 */
#include "session/whose.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"

enum { TABLE_MAX = 4 << 20, STATUS_MAX = 16384 };

/* A line is "sl: LOCAL:PORT REMOTE:PORT st tx:rx tr:tm retrnsmt uid timeout inode"; the
 * address is in the machine's order, word by word, so only the port is taken: in
 * one namespace and protocol it tells enough. 0: not there. */
static unsigned long inode_in(const char *table, uint16_t port)
{
	for (const char *line = strchr(table, '\n'); line && *++line; line = strchr(line, '\n')) {
		unsigned int local;
		unsigned long inode;

		if (sscanf(line, " %*u: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %*x %*x:%*x %*x:%*x %*x %*u %*u "
				 "%lu", &local, &inode) == 2 && local == port && inode)
			return inode;
	}
	return 0;
}

static unsigned long find_inode(int init_pid, uint16_t port, bool udp)
{
	static const char *const tables[2][2] = { { "tcp", "tcp6" }, { "udp", "udp6" } };
	unsigned long inode = 0;

	for (int i = 0; i < 2 && !inode; i++) {
		IMMURE_CLEANUP_FREE char *text = NULL;
		char path[64];
		size_t len;

		(void)snprintf(path, sizeof(path), "/proc/%d/net/%s", init_pid, tables[udp][i]);
		if (immure_read_file_at(AT_FDCWD, path, TABLE_MAX, &text, &len) == 0)
			inode = inode_in(text, port);
	}
	return inode;
}

static bool has_socket(int proc, const char *pid, unsigned long inode)
{
	char path[300], want[64], got[64];
	struct dirent *d;
	bool found = false;
	DIR *dir;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/fd", pid);
	fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		immure_close(&fd);
		return false;
	}
	(void)snprintf(want, sizeof(want), "socket:[%lu]", inode);
	while (!found && (d = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), d->d_name, got, sizeof(got) - 1);

		if (n > 0) {
			got[n] = '\0';
			found = strcmp(got, want) == 0;
		}
	}
	(void)closedir(dir); /* read only */
	return found;
}

/* The last number of NSpid is the innermost namespace's. */
static int inside_pid(int proc, const char *pid)
{
	IMMURE_CLEANUP_FREE char *text = NULL;
	const char *line, *end, *last;
	char path[300];
	size_t len;

	(void)snprintf(path, sizeof(path), "%s/status", pid);
	if (immure_read_file_at(proc, path, STATUS_MAX, &text, &len) < 0)
		return 0;
	line = strstr(text, "\nNSpid:");
	end = line ? strchr(line + 1, '\n') : NULL;
	if (!end)
		return 0;
	for (last = end; last > line && last[-1] >= '0' && last[-1] <= '9'; last--)
		;
	return atoi(last);
}

static void describe(int proc, const char *pid, struct immure_whose *ret)
{
	struct immure_buf text = IMMURE_BUF_INIT;
	char path[300], exe[4096];
	ssize_t n;

	ret->pid = inside_pid(proc, pid);
	(void)snprintf(path, sizeof(path), "%s/exe", pid);
	n = readlinkat(proc, path, exe, sizeof(exe));
	if (n <= 0)
		return;
	immure_buf_put_printable(&text, exe, (size_t)n);
	if (immure_buf_ok(&text))
		(void)snprintf(ret->exe, sizeof(ret->exe), "%.*s", (int)sizeof(ret->exe) - 1, text.data);
	immure_buf_done(&text);
}

void immure_whose_socket(int init_pid, int netns_fd, const struct immure_inet *source, bool udp,
			 struct immure_whose *ret)
{
	unsigned long inode = find_inode(init_pid, source->port, udp);
	struct stat ns, other;
	struct dirent *d;
	DIR *dir;

	*ret = (struct immure_whose){ 0 };
	if (!inode || netns_fd < 0 || fstat(netns_fd, &ns) < 0)
		return;
	dir = opendir("/proc");
	while (dir && !ret->pid && (d = readdir(dir))) {
		char path[300];

		if (d->d_name[0] < '1' || d->d_name[0] > '9')
			continue;
		(void)snprintf(path, sizeof(path), "%s/ns/net", d->d_name);
		if (fstatat(dirfd(dir), path, &other, 0) < 0 || other.st_ino != ns.st_ino ||
		    other.st_dev != ns.st_dev || !has_socket(dirfd(dir), d->d_name, inode))
			continue;
		describe(dirfd(dir), d->d_name, ret);
	}
	if (dir)
		(void)closedir(dir); /* read only */
}
