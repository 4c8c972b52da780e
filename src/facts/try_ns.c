/* SPDX-License-Identifier: Apache-2.0 */
/* Namespaces, and what may be done in them. Making one proves little: where
 * AppArmor restricts user namespaces, unshare succeeds and everything that the
 * new capabilities should permit fails. So each probe does the real thing. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/mount.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "facts/probe.h"
#include "kernel/netplumb.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif
#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000
#endif
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif

void immure_probe_no(struct immure_outcome *o, const char *step)
{
	o->errnum = errno;
	o->step = step;
	o->ok = IMMURE_NO;
}

/* As init does it; a filter may forbid the older call and not this one. */
static int make_private(void)
{
	struct mount_attr attr = { .propagation = MS_PRIVATE };

	if (syscall(SYS_mount_setattr, AT_FDCWD, "/", AT_RECURSIVE, &attr, sizeof(attr)) == 0)
		return 0;
	return errno == ENOSYS ? mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) : -1;
}

bool immure_probe_enter(struct immure_outcome *o, int also)
{
	char map[64];
	uid_t uid = geteuid();
	gid_t gid = getegid();

	if (unshare(CLONE_NEWUSER) < 0) {
		immure_probe_no(o, "unshare user namespace");
		return false;
	}
	(void)snprintf(map, sizeof(map), "0 %u 1\n", uid);
	errno = -immure_write_file_at(AT_FDCWD, "/proc/self/uid_map", map);
	if (errno) {
		immure_probe_no(o, "write uid_map");
		return false;
	}
	errno = -immure_write_file_at(AT_FDCWD, "/proc/self/setgroups", "deny");
	(void)snprintf(map, sizeof(map), "0 %u 1\n", gid);
	if (!errno)
		errno = -immure_write_file_at(AT_FDCWD, "/proc/self/gid_map", map);
	if (errno) {
		immure_probe_no(o, "write gid_map");
		return false;
	}
	if (also && unshare(also) < 0) {
		immure_probe_no(o, "unshare in the user namespace");
		return false;
	}
	if ((also & CLONE_NEWNS) && make_private() < 0) {
		immure_probe_no(o, "make mounts private");
		return false;
	}
	return true;
}

/* A detached mount of a file system, or -1 with o set. */
static int make_mount(struct immure_outcome *o, const char *fstype)
{
	IMMURE_CLEANUP_FD int fs = (int)syscall(SYS_fsopen, fstype, FSOPEN_CLOEXEC);
	int fd;

	if (fs < 0) {
		immure_probe_no(o, "fsopen");
		return -1;
	}
	if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0) {
		immure_probe_no(o, "fsconfig");
		return -1;
	}
	fd = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);
	if (fd < 0)
		immure_probe_no(o, "fsmount");
	return fd;
}

/* Puts it over "/", which always exists; nobody but this child sees it. */
static bool attach(struct immure_outcome *o, int fd)
{
	if (syscall(SYS_move_mount, fd, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) == 0)
		return true;
	immure_probe_no(o, "move_mount");
	return false;
}

static void try_mount(struct immure_outcome *o, const char *fstype)
{
	IMMURE_CLEANUP_FD int fd = make_mount(o, fstype);

	if (fd >= 0 && attach(o, fd))
		o->ok = IMMURE_YES;
}

void immure_try_userns(const struct immure_facts *f, struct immure_outcome *o)
{
	(void)f;
	if (immure_probe_enter(o, 0))
		o->ok = IMMURE_YES;
}

void immure_try_userns_mount(const struct immure_facts *f, struct immure_outcome *o)
{
	(void)f;
	if (immure_probe_enter(o, CLONE_NEWNS))
		try_mount(o, "tmpfs");
}

void immure_try_mount_api(const struct immure_facts *f, struct immure_outcome *o)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID };
	IMMURE_CLEANUP_FD int fd = -1;

	(void)f;
	if (!immure_probe_enter(o, CLONE_NEWNS))
		return;
	fd = (int)syscall(SYS_open_tree, AT_FDCWD, "/",
			  OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	if (fd < 0)
		return immure_probe_no(o, "open_tree");
	if (syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr,
		    sizeof(attr)) < 0)
		return immure_probe_no(o, "mount_setattr");
	if (attach(o, fd))
		o->ok = IMMURE_YES;
}

/* procfs shows a pid namespace to its members, so a member must mount it. */
void immure_try_userns_proc(const struct immure_facts *f, struct immure_outcome *o)
{
	int pid, pidfd = -1, status = 0;

	(void)f;
	if (!immure_probe_enter(o, CLONE_NEWNS | CLONE_NEWPID))
		return;
	pid = immure_child_start(&pidfd);
	if (pid == 0) {
		try_mount(o, "proc");
		_exit(0);
	}
	errno = pid < 0 ? -pid : -immure_child_wait(pid, &pidfd, 1000, &status);
	if (errno)
		immure_probe_no(o, "first process of a pid namespace");
}

void immure_try_sysfs(const struct immure_facts *f, struct immure_outcome *o)
{
	(void)f;
	if (immure_probe_enter(o, CLONE_NEWNS | CLONE_NEWNET))
		try_mount(o, "sysfs");
}

void immure_try_netns(const struct immure_facts *f, struct immure_outcome *o)
{
	struct ifreq req = { .ifr_name = "lo" };
	IMMURE_CLEANUP_FD int fd = -1;

	(void)f;
	if (!immure_probe_enter(o, CLONE_NEWNET))
		return;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return immure_probe_no(o, "socket");
	if (ioctl(fd, SIOCGIFFLAGS, &req) < 0)
		return immure_probe_no(o, "look at lo");
	req.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &req) < 0)
		return immure_probe_no(o, "bring lo up");
	o->ok = IMMURE_YES;
}

/* The same that a session's init makes, and nothing less. */
void immure_try_egress(const struct immure_facts *f, struct immure_outcome *o)
{
	struct immure_netplumb_config c = { .spare = 1, .proxy = true };
	struct immure_netplumb p;
	const char *what = "network plumbing";
	int r;

	(void)f;
	if (!immure_probe_enter(o, CLONE_NEWNET))
		return;
	immure_rtnl_setup_default(&c.routes, true);
	r = immure_netplumb_make(&c, &p, &what);
	if (r < 0) {
		errno = -r;
		return immure_probe_no(o, what);
	}
	o->value = immure_netplumb_ways(&p);
	o->ok = IMMURE_YES;
	immure_netplumb_done(&p);
}

void immure_try_namespaces(const struct immure_facts *f, struct immure_outcome *o)
{
	static const struct {
		int flag;
		const char *step;
	} kinds[] = {
		{ CLONE_NEWIPC, "unshare ipc namespace" },
		{ CLONE_NEWUTS, "unshare uts namespace" },
		{ CLONE_NEWCGROUP, "unshare cgroup namespace" },
	};

	(void)f;
	if (!immure_probe_enter(o, 0))
		return;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (unshare(kinds[i].flag) < 0)
			return immure_probe_no(o, kinds[i].step);
	if (sethostname("immure", 6) < 0)
		return immure_probe_no(o, "sethostname");
	o->value = unshare(CLONE_NEWTIME) == 0; /* nothing needs it */
	o->ok = IMMURE_YES;
}

void immure_try_overlay(const struct immure_facts *f, struct immure_outcome *o)
{
	IMMURE_CLEANUP_FD int fd = -1, file = -1;

	(void)f;
	if (!immure_probe_enter(o, CLONE_NEWNS))
		return;
	fd = make_mount(o, "tmpfs");
	if (fd < 0 || !attach(o, fd))
		return;
	if (fchdir(fd) < 0 || mkdir("lower", 0700) < 0 || mkdir("upper", 0700) < 0 ||
	    mkdir("work", 0700) < 0 || mkdir("merged", 0700) < 0)
		return immure_probe_no(o, "mkdir in a tmpfs");
	if (mount("overlay", "merged", "overlay", 0,
		  "lowerdir=lower,upperdir=upper,workdir=work,userxattr") < 0)
		return immure_probe_no(o, "mount overlay");
	file = open("merged/file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	if (file < 0)
		return immure_probe_no(o, "create through the overlay");
	o->ok = IMMURE_YES;
}

void immure_try_nftables(const struct immure_facts *f, struct immure_outcome *o)
{
	/* NFT_MSG_GETGEN: asks for the generation of the rule set. */
	struct {
		struct nlmsghdr h;
		struct {
			uint8_t family, version;
			uint16_t res;
		} nf;
	} req = { .h = { .nlmsg_len = sizeof(req), .nlmsg_type = 10 << 8 | 16,
			 .nlmsg_flags = NLM_F_REQUEST } };
	struct {
		struct nlmsghdr h;
		char data[512];
	} reply = { 0 };
	struct sockaddr_nl to = { .nl_family = AF_NETLINK };
	IMMURE_CLEANUP_FD int fd = -1;

	(void)f;
	if (!immure_probe_enter(o, CLONE_NEWNET))
		return;
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	if (fd < 0)
		return immure_probe_no(o, "netfilter socket");
	if (sendto(fd, &req, sizeof(req), 0, (struct sockaddr *)&to, sizeof(to)) < 0 ||
	    recv(fd, &reply, sizeof(reply), 0) < (ssize_t)sizeof(reply.h))
		return immure_probe_no(o, "ask nf_tables");
	if (reply.h.nlmsg_type == NLMSG_ERROR) {
		int code;

		memcpy(&code, reply.data, sizeof(code));
		errno = -code;
		return immure_probe_no(o, "ask nf_tables");
	}
	o->ok = IMMURE_YES;
}

void immure_try_tun(const struct immure_facts *f, struct immure_outcome *o)
{
	struct ifreq req = { .ifr_name = "immure0", .ifr_flags = IFF_TUN | IFF_NO_PI };
	IMMURE_CLEANUP_FD int fd = -1;

	(void)f;
	if (!immure_probe_enter(o, CLONE_NEWNET))
		return;
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return immure_probe_no(o, "open /dev/net/tun");
	if (ioctl(fd, TUNSETIFF, &req) < 0)
		return immure_probe_no(o, "TUNSETIFF");
	o->ok = IMMURE_YES;
}
