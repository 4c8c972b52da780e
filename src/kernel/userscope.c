/* SPDX-License-Identifier: Apache-2.0 */
/* Nobody but the manager can do this: to move a process takes the right to write to
 * cgroup.procs of the nearest common ancestor (cgroups(7)), which for one that logged in by
 * a terminal is root's. Its socket speaks D-Bus to one side alone, so there is no daemon
 * between, and no name to be asked for first. */
#include "kernel/userscope.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "kernel/dbusmsg.h"

enum { SERIAL = 1, NAME = 64 };

static uint64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int wait_for(int fd, short events, uint64_t end)
{
	struct pollfd p = { .fd = fd, .events = events };
	uint64_t now = now_ms();
	int n = now < end ? poll(&p, 1, (int)(end - now)) : 0;

	return n > 0 ? 0 : n == 0 ? -ETIMEDOUT : errno == EINTR ? 0 : -errno;
}

static int send_all(int fd, const void *data, size_t len, uint64_t end)
{
	const char *p = data;

	while (len) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		int r = 0;

		if (n > 0) {
			p += n;
			len -= (size_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			r = wait_for(fd, POLLOUT, end);
		} else if (n < 0 && errno != EINTR) {
			r = -errno;
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int receive(int fd, void *data, size_t len, uint64_t end)
{
	char *p = data;

	while (len) {
		ssize_t n = recv(fd, p, len, MSG_DONTWAIT);
		int r = 0;

		if (n > 0) {
			p += n;
			len -= (size_t)n;
		} else if (n == 0) {
			r = -ECONNRESET;
		} else if (errno == EAGAIN) {
			r = wait_for(fd, POLLIN, end);
		} else if (errno != EINTR) {
			r = -errno;
		}
		if (r < 0)
			return r;
	}
	return 0;
}

/* Whose it is the kernel says, and not the directory it is in. */
static int open_line(const char *runtime_dir, uint64_t end)
{
	IMMURE_CLEANUP_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct ucred who;
	socklen_t len = sizeof(who);
	int n = snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/systemd/private", runtime_dir);

	if (fd < 0)
		return -errno;
	if (n < 0 || (size_t)n >= sizeof(sa.sun_path))
		return -ENOENT;
	while (connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0) {
		if (errno != EAGAIN) /* its queue is full */
			return errno == ECONNREFUSED ? -ENOENT : -errno;
		if (now_ms() >= end)
			return -ETIMEDOUT;
		(void)poll(NULL, 0, 1);
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0)
		return -errno;
	return who.uid == geteuid() ? immure_take_fd(&fd) : -EPERM;
}

/* D-Bus specification, "Authentication Protocol": EXTERNAL, the number in hexadecimal of its
 * decimal digits. */
static int authenticate(int fd, uint64_t end)
{
	static const char begin[] = "BEGIN\r\n";
	char uid[16], line[128];
	size_t n = 0;
	int r;

	(void)snprintf(uid, sizeof(uid), "%u", (unsigned int)geteuid());
	line[n++] = '\0';
	n += (size_t)snprintf(line + n, sizeof(line) - n, "AUTH EXTERNAL ");
	for (const char *p = uid; *p; p++)
		n += (size_t)snprintf(line + n, sizeof(line) - n, "%02x", (unsigned char)*p);
	n += (size_t)snprintf(line + n, sizeof(line) - n, "\r\n");
	r = send_all(fd, line, n, end);
	/* byte by byte: what follows the line is not ours to take */
	for (n = 0; r == 0 && (n < 2 || memcmp(line + n - 2, "\r\n", 2) != 0); n++)
		r = n < sizeof(line) ? receive(fd, line + n, 1, end) : -EPROTO;
	if (r == 0 && (n < 5 || memcmp(line, "OK ", 3) != 0))
		r = -EACCES;
	return r < 0 ? r : send_all(fd, begin, sizeof(begin) - 1, end);
}

/* Of cgroup v2: "0::/user.slice/.../NAME", the last line where there is version 1 as well. */
static bool is_in(const char *name)
{
	IMMURE_CLEANUP_FD int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
	char text[8192];
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	size_t len, want = strlen(name);
	const char *line;

	if (n <= 0)
		return false;
	text[n] = '\0';
	line = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
	if (!line)
		return false;
	line += line != text;
	len = strcspn(line, "\n");
	return len > want && line[len - want - 1] == '/' && memcmp(line + len - want, name, want) == 0;
}

/* The job that does it is begun when the call is answered, and over when the manager says so
 * to everybody, which need not be to us: what counts is where we are. */
static int ask(int fd, const char *name, uint64_t end)
{
	unsigned char msg[IMMURE_DBUS_MESSAGE];
	size_t len = immure_dbus_scope_call(msg, sizeof(msg), SERIAL, name, (uint32_t)getpid());
	int r = len ? send_all(fd, msg, len, end) : -EMSGSIZE;
	bool begun = false;

	while (r == 0 && !is_in(name)) {
		uint64_t soon = now_ms() + 2;

		r = wait_for(fd, POLLIN, begun && soon < end ? soon : end);
		if (r == -ETIMEDOUT && begun && now_ms() < end) {
			r = 0;
			continue;
		}
		if (r == 0)
			r = receive(fd, msg, IMMURE_DBUS_HEAD, end);
		len = r == 0 ? immure_dbus_length(msg) : 0;
		if (r == 0)
			r = len ? receive(fd, msg + IMMURE_DBUS_HEAD, len - IMMURE_DBUS_HEAD, end) : -EPROTO;
		if (r < 0)
			break;
		switch (immure_dbus_judge(msg, len, SERIAL, name)) {
		case IMMURE_DBUS_BEGUN: begun = true; break;
		case IMMURE_DBUS_REFUSED: r = -EACCES; break;
		case IMMURE_DBUS_OVER: r = -EACCES; break;
		case IMMURE_DBUS_BROKEN: r = -EPROTO; break;
		case IMMURE_DBUS_OTHER: break;
		}
	}
	return r == 0 || is_in(name) ? 0 : r;
}

int immure_userscope_enter(const char *runtime_dir, uint64_t timeout_ms)
{
	uint64_t end = now_ms() + timeout_ms;
	unsigned char random[4];
	char name[NAME];
	int r;

	IMMURE_CLEANUP_FD int fd = open_line(runtime_dir, end);
	if (fd < 0)
		return fd;
	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	(void)snprintf(name, sizeof(name), "immure-%u-%02x%02x%02x%02x.scope", (unsigned int)getpid(), random[0],
		       random[1], random[2], random[3]);
	r = authenticate(fd, end);
	return r < 0 ? r : ask(fd, name, end);
}

int immure_userscope_step_down(const char *dir)
{
	IMMURE_CLEANUP_FD int at = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	IMMURE_CLEANUP_FD int procs = -1;

	if (at < 0)
		return -errno;
	if (mkdirat(at, "supervisor", 0755) < 0)
		return -errno;
	procs = openat(at, "supervisor/cgroup.procs", O_WRONLY | O_CLOEXEC);
	if (procs < 0 || write(procs, "0", 1) != 1) {
		int e = errno;

		(void)unlinkat(at, "supervisor", AT_REMOVEDIR);
		return -e;
	}
	return 0;
}
