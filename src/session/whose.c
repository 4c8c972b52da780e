/* SPDX-License-Identifier: Apache-2.0 */
#include "session/whose.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"

enum { TABLE_MAX = 4 << 20, STATUS_MAX = 16384, LOOK_EVERY = 128 };

/* An end of a socket as the kernel's tables write it: words in the machine's order. */
static void end_text(char text[48], const struct immure_inet *a, bool six)
{
	unsigned char mapped[16] = { [10] = 0xff, [11] = 0xff };
	uint32_t word[4];

	if (six && !a->v6)
		memcpy(mapped + 12, a->addr, 4);
	memcpy(word, six && !a->v6 ? mapped : a->addr, six ? 16 : 4);
	if (six)
		(void)snprintf(text, 48, "%08X%08X%08X%08X:%04X", word[0], word[1], word[2], word[3],
			       a->port);
	else
		(void)snprintf(text, 48, "%08X:%04X", word[0], a->port);
}

/* The two ends as they stand in one table, and how they stand where a UDP socket was
 * not bound to an address or not connected. */
struct ends {
	char here[48], there[48], any[48], nowhere[48];
};

static void ends_of(struct ends *e, const struct immure_whose_ends *of, bool six)
{
	const struct immure_inet any = { .v6 = six, .port = of->source.port };
	const struct immure_inet nowhere = { .v6 = six };

	end_text(e->here, &of->source, six);
	end_text(e->there, &of->meant, six);
	end_text(e->any, &any, six);
	end_text(e->nowhere, &nowhere, six);
}

/* A line is "sl: LOCAL REMOTE st tx:rx tr:tm retrnsmt uid timeout inode". What is
 * connected has both ends to itself; who else holds that port, the command can
 * arrange as it likes. Of UDP sockets that are not, several may fit: then it was
 * nobody that we could name. *inode: 0 = none so far; false: more than one. */
static bool inode_in(const char *table, const struct ends *e, bool udp, unsigned long *inode)
{
	for (const char *line = strchr(table, '\n'); line && *++line; line = strchr(line, '\n')) {
		char here[48], there[48];
		unsigned long number;
		bool fits;

		if (sscanf(line, " %*u: %47[0-9A-F:] %47[0-9A-F:] %*x %*x:%*x %*x:%*x %*x %*u %*u %lu",
			   here, there, &number) != 3 || number == 0)
			continue;
		fits = strcmp(here, e->here) == 0 && strcmp(there, e->there) == 0;
		if (udp && (strcmp(here, e->here) == 0 || strcmp(here, e->any) == 0))
			fits = strcmp(there, e->there) == 0 || strcmp(there, e->nowhere) == 0;
		if (fits && *inode && *inode != number)
			return false;
		if (fits)
			*inode = number;
	}
	return true;
}

static unsigned long find_inode(int init_pid, const struct immure_whose_ends *of, bool udp)
{
	static const char *const tables[2][2] = { { "tcp", "tcp6" }, { "udp", "udp6" } };
	unsigned long inode = 0;

	for (int six = of->source.v6; six < 2; six++) {
		IMMURE_CLEANUP_FREE char *text = NULL;
		struct ends e;
		char path[64];
		size_t len;

		ends_of(&e, of, six);
		(void)snprintf(path, sizeof(path), "/proc/%d/net/%s", init_pid, tables[udp][six]);
		if (immure_read_file_at(AT_FDCWD, path, TABLE_MAX, &text, &len) == 0 &&
		    !inode_in(text, &e, udp, &inode))
			return 0;
	}
	return inode;
}

/* What it costs us: that others keep us from running makes nobody unknown. */
static uint64_t now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts); /* cannot fail */
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static bool has_socket(int proc, const char *pid, unsigned long inode, uint64_t until)
{
	unsigned int seen = 0;
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
	while (!found && (d = readdir(dir)) && (++seen % LOOK_EVERY || now_ms() < until)) {
		ssize_t n = readlinkat(dirfd(dir), d->d_name, got, sizeof(got) - 1);

		if (n > 0) {
			got[n] = '\0';
			found = strcmp(got, want) == 0;
		}
	}
	(void)closedir(dir); /* read only */
	return found;
}

/* The last number of a line of its status: of NSpid, the innermost namespace's. */
static int status_number(int proc, const char *pid, const char *name)
{
	IMMURE_CLEANUP_FREE char *text = NULL;
	const char *line, *end, *last;
	char path[300];
	size_t len;

	(void)snprintf(path, sizeof(path), "%s/status", pid);
	if (immure_read_file_at(proc, path, STATUS_MAX, &text, &len) < 0)
		return 0;
	line = strstr(text, name);
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

	ret->pid = status_number(proc, pid, "\nNSpid:");
	(void)snprintf(path, sizeof(path), "%s/exe", pid);
	n = readlinkat(proc, path, exe, sizeof(exe));
	if (n <= 0)
		return;
	immure_buf_put_printable(&text, exe, (size_t)n);
	if (immure_buf_ok(&text))
		(void)snprintf(ret->exe, sizeof(ret->exe), "%.*s", (int)sizeof(ret->exe) - 1, text.data);
	immure_buf_done(&text);
}

void immure_whose_thread(int tid, struct immure_whose *ret)
{
	IMMURE_CLEANUP_FD int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char pid[32];

	*ret = (struct immure_whose){ 0 };
	(void)snprintf(pid, sizeof(pid), "%d", tid);
	(void)snprintf(pid, sizeof(pid), "%d", proc < 0 ? 0 : status_number(proc, pid, "\nTgid:"));
	if (proc >= 0)
		describe(proc, pid, ret);
}

void immure_whose_socket(int init_pid, int netns_fd, const struct immure_whose_ends *of, bool udp,
			 uint32_t limit_ms, struct immure_whose *ret)
{
	uint64_t until = now_ms() + limit_ms;
	unsigned long inode = find_inode(init_pid, of, udp);
	struct stat ns, other;
	struct dirent *d;
	DIR *dir;

	*ret = (struct immure_whose){ 0 };
	if (!inode || netns_fd < 0 || fstat(netns_fd, &ns) < 0)
		return;
	dir = opendir("/proc");
	while (dir && !ret->pid && (d = readdir(dir)) && now_ms() < until) {
		char path[300];

		if (d->d_name[0] < '1' || d->d_name[0] > '9')
			continue;
		(void)snprintf(path, sizeof(path), "%s/ns/net", d->d_name);
		if (fstatat(dirfd(dir), path, &other, 0) < 0 || other.st_ino != ns.st_ino ||
		    other.st_dev != ns.st_dev || !has_socket(dirfd(dir), d->d_name, inode, until))
			continue;
		describe(dirfd(dir), d->d_name, ret);
	}
	if (dir)
		(void)closedir(dir); /* read only */
}
