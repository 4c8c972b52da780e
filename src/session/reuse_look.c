/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The look from inside. A child of the server enters the session's namespaces by the
 * descriptors that init left, and its own child, the first that is in the pid namespace
 * too, reads what is there: as text, of which only a digest is kept, since all that
 * matters is whether it is what it was. Both have capabilities over the session and
 * nothing of it is executed or believed: what a path leads to is opened without links,
 * and only in places that the command cannot mount on.
 *
 * The last thing it does is to set back the number that the next process gets (since
 * Linux 5.9 who has CAP_CHECKPOINT_RESTORE there may), its own having been one more.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sha256.h"
#include "init/message.h"
#include "kernel/mount.h"
#include "session/reuse.h"

enum { SECONDS = 5, DEPTH = 32, ENTRIES = 4096, PAGE = 32 << 10 };

struct looking {
	const struct immure_plan *plan;
	int last_pid_fd;
	struct immure_sha256 sha;
	int entries;
	char page[PAGE];
};

static void put(struct looking *l, const void *data, size_t len)
{
	immure_sha256_add(&l->sha, data, len);
}

__attribute__((format(printf, 2, 3))) static void say(struct looking *l, const char *fmt, ...)
{
	char line[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	put(l, line, n < 0 ? 0 : (size_t)n < sizeof(line) ? (size_t)n : sizeof(line));
}

static int put_fd(struct looking *l, int fd)
{
	ssize_t n;

	while ((n = read(fd, l->page, sizeof(l->page))) > 0)
		put(l, l->page, (size_t)n);
	return n < 0 ? -errno : 0;
}

/* ---- processes, and what init is ---- */

static int processes(struct looking *l, int32_t *foreign)
{
	char own[16];
	IMMURE_CLEANUP_FD int fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	long n;

	(void)snprintf(own, sizeof(own), "%d", (int)getpid());
	/* Everybody but init and us, whoever he is; a zombie is somebody. */
	if (kill(-1, 0) == 0 || errno != ESRCH)
		*foreign = 1;
	if (fd < 0)
		return -errno;
	while ((n = syscall(SYS_getdents64, fd, l->page, sizeof(l->page))) > 0)
		for (long i = 0; i < n;) {
			const char *e = l->page + i, *name = e + 19;
			unsigned short len;

			memcpy(&len, e + 16, sizeof(len));
			if (name[0] >= '0' && name[0] <= '9' && strcmp(name, "1") != 0 && strcmp(name, own) != 0)
				++*foreign;
			i += len;
		}
	return n < 0 ? -errno : 0;
}

/* Of /proc/1/status what does not change by itself. */
static int status_of_init(struct looking *l)
{
	static const char *const lines[] = { "Name", "Umask", "TracerPid", "Uid", "Gid", "Groups", "NSpgid", "NSsid",
					     "Threads", "Sig", "Shd", "Cap", "NoNewPrivs", "Seccomp",
					     "Speculation", "Mems_allowed", "CoreDumping" };
	IMMURE_CLEANUP_FD int fd = open("/proc/1/status", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, l->page, sizeof(l->page) - 1);

	if (n <= 0)
		return n < 0 ? -errno : -EIO;
	l->page[n] = '\0';
	for (char *line = l->page, *end; line && *line; line = end) {
		end = strchr(line, '\n');
		end = end ? end + 1 : line + strlen(line);
		for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
			/* SigQ counts for the user, all his sessions together. */
			if (strncmp(line, lines[i], strlen(lines[i])) == 0 && strncmp(line, "SigQ", 4) != 0)
				put(l, line, (size_t)(end - line));
	}
	return 0;
}

static int init(struct looking *l, int32_t *foreign)
{
	static const char *const files[] = { "/proc/1/oom_score_adj", "/proc/1/coredump_filter", "/proc/1/autogroup" };
	uint64_t attributes[8] = { 0 };
	cpu_set_t cpus;
	int r = status_of_init(l);
	long n;

	(void)foreign;
	for (int i = 0; i < RLIM_NLIMITS && r == 0; i++) {
		uint64_t lim[2];

		if (syscall(SYS_prlimit64, 1, i, NULL, lim) < 0)
			return -errno;
		say(l, "%d %llu %llu\n", i, (unsigned long long)lim[0], (unsigned long long)lim[1]);
	}
	errno = 0;
	n = getpriority(PRIO_PROCESS, 1);
	say(l, "nice %ld %d\n", n, errno);
	CPU_ZERO(&cpus);
	/* Policy, priorities, length of its turns (since Linux 6.12), bounds of its load. */
	if (syscall(SYS_sched_getattr, 1, attributes, sizeof(attributes), 0) < 0 ||
	    syscall(SYS_sched_getaffinity, 1, sizeof(cpus), &cpus) < 0)
		return -errno;
	say(l, "io %ld\n", syscall(SYS_ioprio_get, 1, 1));
	put(l, attributes, sizeof(attributes));
	put(l, &cpus, sizeof(cpus));
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]) && r == 0; i++) {
		IMMURE_CLEANUP_FD int fd = open(files[i], O_RDONLY | O_CLOEXEC);

		if (fd >= 0)
			r = put_fd(l, fd);
		else if (errno != ENOENT) /* one that this kernel has not */
			r = -errno;
	}
	return r;
}

/* ---- files ---- */

static int attributes(struct looking *l, int fd)
{
	ssize_t n = flistxattr(fd, l->page, sizeof(l->page) / 2);
	char *value = l->page + sizeof(l->page) / 2;

	if (n < 0)
		return errno == ENOTSUP ? 0 : -errno;
	for (char *name = l->page; name < l->page + n; name += strlen(name) + 1) {
		ssize_t len = fgetxattr(fd, name, value, sizeof(l->page) / 2);

		if (len < 0)
			return -errno;
		say(l, "  %s %zd ", name, len);
		put(l, value, (size_t)len);
	}
	return 0;
}

static int tree(struct looking *l, int dir, const char *name, int depth);

static int entries(struct looking *l, int fd, int depth)
{
	char buf[4096] __attribute__((aligned(8)));
	int r = 0;
	long n;

	while (r == 0 && (n = syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0)
		for (long i = 0; i < n && r == 0;) {
			const char *e = buf + i, *name = e + 19;
			unsigned short len;

			memcpy(&len, e + 16, sizeof(len));
			i += len;
			if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
				r = tree(l, fd, name, depth + 1);
		}
	return r < 0 || n >= 0 ? r : -errno;
}

/* One object and all below it, on one file system. What it is, whose, how long, its
 * attributes and contents; not its times. */
static int tree(struct looking *l, int dir, const char *name, int depth)
{
	IMMURE_CLEANUP_FD int fd = -1;
	struct stat st, top;
	int r;

	if (depth > DEPTH || ++l->entries > ENTRIES)
		return -E2BIG;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || fstat(dir, &top) < 0)
		return -errno;
	say(l, "%d %s %llu %llu %o %u:%u %llu %llu %llu\n", depth, name, (unsigned long long)st.st_dev,
	    (unsigned long long)st.st_ino, st.st_mode, st.st_uid, st.st_gid, (unsigned long long)st.st_nlink,
	    (unsigned long long)st.st_size, (unsigned long long)st.st_rdev);
	if (st.st_dev != top.st_dev || (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)))
		return 0; /* another's row, or nothing to read */
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = attributes(l, fd);
	if (r == 0)
		r = S_ISDIR(st.st_mode) ? entries(l, fd, depth) : put_fd(l, fd);
	return r;
}

static int area(struct looking *l, int root, const char *path)
{
	IMMURE_CLEANUP_FD int at = immure_mount_open_in(root, path);
	IMMURE_CLEANUP_FD int fd = -1;
	struct statvfs v;
	int r;

	if (at < 0)
		return at;
	fd = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* Room that is taken though no name leads to it is somebody's open file. */
	if (fd < 0 || fstatvfs(fd, &v) < 0)
		return -errno;
	say(l, "%s %llu %llu\n", path, (unsigned long long)(v.f_blocks - v.f_bfree),
	    (unsigned long long)(v.f_files - v.f_ffree));
	r = attributes(l, fd);
	return r < 0 ? r : tree(l, fd, ".", 0);
}

static int areas(struct looking *l, int32_t *foreign)
{
	IMMURE_CLEANUP_FD int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = root < 0 ? -errno : 0;

	(void)foreign;
	for (size_t i = 0; i < l->plan->ops_n && r == 0; i++) {
		const struct immure_op *op = &l->plan->ops[i];

		if (op->kind == IMMURE_OP_TMPFS && !(op->flags & IMMURE_OPF_RO))
			r = area(l, root, op->dst);
		else if (op->kind == IMMURE_OP_DEV)
			for (int k = 0; k < 3 && r == 0; k++)
				r = area(l, root, (const char *const[]){ "/dev", "/dev/shm", "/dev/pts" }[k]);
	}
	return r;
}

static int mounts(struct looking *l, int32_t *foreign)
{
	IMMURE_CLEANUP_FD int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);

	(void)foreign;
	return fd < 0 ? -errno : put_fd(l, fd);
}

/* ---- what has no path ---- */

static int sysv(struct looking *l, int32_t *foreign)
{
	struct shm_info shm;
	struct seminfo sem;
	struct msginfo msg;

	(void)l;
	if (shmctl(0, SHM_INFO, (struct shmid_ds *)(void *)&shm) < 0 || semctl(0, 0, SEM_INFO, &sem) < 0 ||
	    msgctl(0, MSG_INFO, (struct msqid_ds *)(void *)&msg) < 0)
		return -errno;
	*foreign = shm.used_ids + sem.semusz + msg.msgpool;
	return 0;
}

static int mqueues(struct looking *l, int32_t *foreign)
{
	static const char *const none[] = { NULL };
	IMMURE_CLEANUP_FD int tree_fd = immure_mount_new("mqueue", none, 0);
	IMMURE_CLEANUP_FD int fd = tree_fd < 0 ? -1 : openat(tree_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	long n;

	if (tree_fd < 0 || fd < 0)
		return tree_fd < 0 ? tree_fd : -errno;
	while ((n = syscall(SYS_getdents64, fd, l->page, sizeof(l->page))) > 0)
		for (long i = 0; i < n;) {
			unsigned short len;

			memcpy(&len, l->page + i + 16, sizeof(len));
			*foreign += l->page[i + 19] != '.';
			i += len;
		}
	return n < 0 ? -errno : 0;
}

static int names(struct looking *l, int32_t *foreign)
{
	struct utsname u;

	(void)foreign;
	if (uname(&u) < 0)
		return -errno;
	put(l, &u, sizeof(u));
	return 0;
}

/* How many the kernel tracks. The list in /proc is for an owner that not every user
 * namespace has. */
static int connections(struct looking *l)
{
	struct {
		struct nlmsghdr head;
		struct nfgenmsg gen;
	} ask = { .head = { .nlmsg_len = sizeof(ask), .nlmsg_flags = NLM_F_REQUEST,
			    .nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | 5 /* IPCTNL_MSG_CT_GET_STATS */ } };
	IMMURE_CLEANUP_FD int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	struct nlmsghdr head;
	struct nlmsgerr no;
	ssize_t n;

	if (fd < 0)
		return errno == EPROTONOSUPPORT ? 0 : -errno;
	if (send(fd, &ask, sizeof(ask), 0) != sizeof(ask))
		return -errno;
	n = recv(fd, l->page, sizeof(l->page), 0);
	if (n < (ssize_t)sizeof(head))
		return n < 0 ? -errno : -EIO;
	memcpy(&head, l->page, sizeof(head));
	if (head.nlmsg_type == NLMSG_ERROR && n >= (ssize_t)(sizeof(head) + sizeof(no))) {
		memcpy(&no, l->page + sizeof(head), sizeof(no));
		/* No such subsystem: then nothing tracks, unless the list says that something does. */
		return no.error == -EINVAL && access("/proc/self/net/nf_conntrack", F_OK) < 0 ? 0 : no.error;
	}
	put(l, l->page + sizeof(head), (size_t)n - sizeof(head));
	return 0;
}

/* In whatever order: it is that of a table which the kernel arranges anew at times. */
static int netlinks(struct looking *l)
{
	IMMURE_CLEANUP_FD int fd = open("/proc/self/net/netlink", O_RDONLY | O_CLOEXEC);
	uint64_t sum = 0, line = 0;
	ssize_t n = -1;

	while (fd >= 0 && (n = read(fd, l->page, sizeof(l->page))) > 0)
		for (ssize_t i = 0; i < n; i++) {
			line = (line ^ (unsigned char)l->page[i]) * 0x100000001b3;
			if (l->page[i] != '\n')
				continue;
			sum += line;
			line = 0;
		}
	put(l, &sum, sizeof(sum));
	return n < 0 ? -errno : 0;
}

/* Counters too: who has used the network at all, be it only within, has used it. All
 * families that a filter of ours lets through have a list. */
static int network(struct looking *l, int32_t *foreign)
{
	static const char *const files[] = {
		"dev", "snmp", "snmp6", "netstat", "tcp", "tcp6", "udp", "udp6", "udplite",
		"udplite6", "raw", "raw6", "icmp", "icmp6", "unix", "packet", "route", "ipv6_route",
		"if_inet6", "fib_trie", "arp", "igmp", "igmp6", "mcfilter", "mcfilter6", "ip6_flowlabel",
		"dev_mcast",
	};
	int r = 0;

	(void)foreign;
	r = connections(l);
	if (r == 0)
		r = netlinks(l);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]) && r == 0; i++) {
		IMMURE_CLEANUP_FD int fd = -1;
		char path[64];

		(void)snprintf(path, sizeof(path), "/proc/self/net/%s", files[i]);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		say(l, "%s %d\n", files[i], fd < 0 ? errno : 0);
		if (fd >= 0)
			r = put_fd(l, fd);
		else if (errno != ENOENT)
			return -errno;
	}
	return r;
}

static int pids(struct looking *l, int32_t *foreign)
{
	char text[16] = "";

	(void)l;
	if (pwrite(l->last_pid_fd, "1", 1, 0) != 1 || pread(l->last_pid_fd, text, sizeof(text) - 1, 0) <= 0)
		return errno ? -errno : -EIO;
	*foreign = atoi(text) != 1;
	return 0;
}

/* ---- all of it ---- */

/* The numbers last: whatever came before them may need one. */
static const struct {
	enum immure_spot row;
	int (*look)(struct looking *l, int32_t *foreign);
} looks[] = {
	{ IMMURE_SPOT_PROCESSES, processes }, { IMMURE_SPOT_INIT, init }, { IMMURE_SPOT_AREAS, areas },
	{ IMMURE_SPOT_MOUNTS, mounts }, { IMMURE_SPOT_SYSV, sysv }, { IMMURE_SPOT_MQUEUES, mqueues },
	{ IMMURE_SPOT_NETWORK, network }, { IMMURE_SPOT_NAMES, names }, { IMMURE_SPOT_PIDS, pids },
};

static void look(struct looking *l, struct immure_look *ret)
{
	for (size_t i = 0; i < sizeof(looks) / sizeof(looks[0]); i++) {
		enum immure_spot row = looks[i].row;

		immure_sha256_init(&l->sha);
		l->entries = 0;
		errno = 0;
		ret->foreign[row] = 0;
		ret->error[row] = looks[i].look(l, &ret->foreign[row]);
		immure_sha256_done(&l->sha, ret->digest[row]);
	}
}

/* Whoever is left in there can neither trace us nor wait us out. */
static void guard(void)
{
	struct sigaction plain = { .sa_handler = SIG_DFL };
	sigset_t some;

	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	(void)sigaction(SIGALRM, &plain, NULL);
	sigemptyset(&some);
	sigaddset(&some, SIGALRM);
	(void)sigprocmask(SIG_UNBLOCK, &some, NULL); /* cannot fail with these */
	(void)alarm(SECONDS);
}

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
}

static int enter_and_look(struct looking *l, const int *handle, struct immure_look *ret)
{
	static const int order[] = { IMMURE_HANDLE_USERNS, IMMURE_HANDLE_IPCNS, IMMURE_HANDLE_UTSNS,
				     IMMURE_HANDLE_NETNS,  IMMURE_HANDLE_PIDNS, IMMURE_HANDLE_MNTNS };
	pid_t pid;

	guard();
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		if (setns(handle[order[i]], 0) < 0)
			return -errno;
	pid = fork();
	if (pid == 0) {
		guard();
		look(l, ret);
		_exit(0);
	}
	return pid < 0 ? -errno : wait_for(pid);
}

int immure_reuse_look(const struct immure_plan *p, const int *handle, int last_pid_fd, struct immure_look *ret)
{
	struct immure_look *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
					  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct looking *l = malloc(sizeof(*l));
	pid_t pid;
	int r = -ENOMEM;

	if ((void *)shared == MAP_FAILED)
		shared = NULL;
	if (l && shared) {
		l->plan = p;
		l->last_pid_fd = last_pid_fd;
		for (int i = 0; i < IMMURE_SPOT_MAX; i++)
			shared->error[i] = immure_spot_is_inside((enum immure_spot)i) ? 1 : 0;
		pid = fork();
		if (pid == 0) {
			r = enter_and_look(l, handle, shared);
			_exit(r < 0 && r > -125 ? -r : r < 0 ? 125 : 0);
		}
		r = pid < 0 ? -errno : wait_for(pid);
		*ret = *shared;
	}
	if (shared)
		(void)munmap(shared, sizeof(*shared)); /* its own mapping */
	free(l);
	return r;
}
