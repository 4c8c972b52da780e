// SPDX-License-Identifier: Apache-2.0
/*
 * scratch [SWITCH...] -- COMMAND...
 *
 * A throw-away place for positive controls: namespaces of its own, everything
 * read-only, no capabilities, no_new_privs; no seccomp filter, no Landlock, no
 * masks. Each switch takes one protection away:
 *
 *	--rw PATH      PATH is writable
 *	--caps         all capabilities, over these namespaces only
 *	--ids          65536 user and group ids (only where the caller is root)
 *	--share-net --share-ipc   the caller's network, IPC
 *	--share-keys   the caller's session keyring
 *	--fds          descriptors above 2 stay open
 *	--new-privs    no_new_privs stays off
 *	--victim       another process, as ordinary as the command; its pid
 *	               replaces the argument @VICTIM@
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <sched.h>
#include <stddef.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RW_MAX = 16 };

struct options {
	int caps, ids, share_net, share_ipc, share_keys, fds, new_privs, victim;
	const char *rw[RW_MAX];
	int rw_n;
	char **command;
};

static void die(const char *what)
{
	fprintf(stderr, "scratch: %s: %s\n", what, strerror(errno));
	_exit(99);
}

static void parse(char **argv, struct options *o)
{
	static const struct {
		const char *name;
		size_t at;
	} switches[] = {
		{"--caps", offsetof(struct options, caps)},
		{"--ids", offsetof(struct options, ids)},
		{"--share-net", offsetof(struct options, share_net)},
		{"--share-ipc", offsetof(struct options, share_ipc)},
		{"--share-keys", offsetof(struct options, share_keys)},
		{"--fds", offsetof(struct options, fds)},
		{"--new-privs", offsetof(struct options, new_privs)},
		{"--victim", offsetof(struct options, victim)},
	};

	for (argv++; *argv && strcmp(*argv, "--") != 0; argv++) {
		size_t i;

		if (strcmp(*argv, "--rw") == 0 && argv[1] && o->rw_n < RW_MAX) {
			o->rw[o->rw_n++] = *++argv;
			continue;
		}
		for (i = 0; i < sizeof(switches) / sizeof(switches[0]); i++)
			if (strcmp(*argv, switches[i].name) == 0)
				break;
		if (i == sizeof(switches) / sizeof(switches[0])) {
			fprintf(stderr, "scratch: %s?\n", *argv);
			_exit(99);
		}
		*(int *)(void *)((char *)o + switches[i].at) = 1;
	}
	if (!*argv || !argv[1]) {
		fputs("usage: scratch [SWITCH...] -- COMMAND...\n", stderr);
		_exit(99);
	}
	o->command = argv + 1;
}

static void put(pid_t pid, const char *file, const char *text)
{
	char name[64];
	int fd;

	snprintf(name, sizeof(name), "/proc/%d/%s", (int)pid, file);
	fd = open(name, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		die(file);
	close(fd);
}

static void map_ids(pid_t pid, const struct options *o)
{
	char text[64];

	if (o->ids) {
		put(pid, "uid_map", "0 0 65536\n");
		put(pid, "gid_map", "0 0 65536\n");
		return;
	}
	snprintf(text, sizeof(text), "%d %d 1\n", (int)geteuid(), (int)geteuid());
	put(pid, "uid_map", text);
	put(pid, "setgroups", "deny");
	snprintf(text, sizeof(text), "%d %d 1\n", (int)getegid(), (int)getegid());
	put(pid, "gid_map", text);
}

static void set_mounts(const struct options *o)
{
	struct mount_attr ro = {.attr_set = MOUNT_ATTR_RDONLY};
	struct mount_attr rw = {.attr_clr = MOUNT_ATTR_RDONLY};
	char cwd[4096];

	if (!getcwd(cwd, sizeof(cwd)))
		cwd[0] = '\0';
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		die("private mounts");
	for (int i = 0; i < o->rw_n; i++)
		if (mount(o->rw[i], o->rw[i], NULL, MS_BIND | MS_REC, NULL) < 0)
			die(o->rw[i]);
	if (mount("proc", "/proc", "proc", 0, NULL) < 0)
		die("/proc");
	if (syscall(SYS_mount_setattr, AT_FDCWD, "/", AT_RECURSIVE, &ro, sizeof(ro)) < 0)
		die("read-only");
	if (syscall(SYS_mount_setattr, AT_FDCWD, "/proc", 0, &rw, sizeof(rw)) < 0)
		die("/proc writable");
	for (int i = 0; i < o->rw_n; i++)
		if (syscall(SYS_mount_setattr, AT_FDCWD, o->rw[i], 0, &rw, sizeof(rw)) < 0)
			die(o->rw[i]);
	if (cwd[0] == '/' && chdir(cwd) < 0)
		die("working directory");
}

static void set_capabilities(int keep)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {0};

	if (keep) {
		/* Ambient, or a user other than root would lose them by exec. */
		if (syscall(SYS_capget, &head, data) < 0)
			die("capget");
		for (int i = 0; i < 2; i++)
			data[i].inheritable = data[i].permitted;
		if (syscall(SYS_capset, &head, data) < 0)
			die("capset");
		for (int i = 0; i < 64; i++)
			(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0);
		return;
	}
	for (int i = 0; i < 64; i++)
		(void)prctl(PR_CAPBSET_DROP, i, 0, 0, 0); /* ends with the last one known */
	if (syscall(SYS_capset, &head, data) < 0)
		die("capset");
}

/* Returns when it is as it will stay. */
static pid_t start_victim(const struct options *o)
{
	int ready[2];
	char byte;
	pid_t pid;

	if (pipe2(ready, O_CLOEXEC) < 0)
		die("pipe");
	pid = fork();
	if (pid != 0) {
		close(ready[1]);
		if (pid < 0 || read(ready[0], &byte, 1) != 1)
			die("victim");
		close(ready[0]);
		return pid;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setpgid(0, 0);
	set_capabilities(o->caps);
	prctl(PR_SET_DUMPABLE, 1);
	if (write(ready[1], "x", 1) != 1)
		die("victim");
	for (;;)
		pause();
}

static void run(const struct options *o, pid_t victim)
{
	char number[32];

	set_capabilities(o->caps);
	if (!o->new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		die("no_new_privs");
	snprintf(number, sizeof(number), "%d", (int)victim);
	for (char **arg = o->command; *arg; arg++)
		if (strcmp(*arg, "@VICTIM@") == 0)
			*arg = number;
	if (!o->share_keys)
		(void)syscall(SYS_keyctl, 1, NULL, 0, 0, 0); /* a kernel without keys has none to share */
	if (!o->fds)
		(void)syscall(SYS_close_range, 3, ~0U, 0);
	execvp(o->command[0], o->command);
	die(o->command[0]);
}

static int inside(const struct options *o)
{
	pid_t victim = 0, command, pid;
	int status = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	set_mounts(o);
	if (o->victim)
		victim = start_victim(o);
	command = fork();
	if (command == 0)
		run(o, victim);
	if (command < 0)
		die("fork");
	do
		pid = wait(&status);
	while (pid != command && (pid > 0 || errno == EINTR));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
	struct options o = {0};
	int flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWCGROUP;
	int gate[2], status = 0;
	char byte;
	pid_t pid;

	(void)argc;
	parse(argv, &o);
	if (!o.share_net)
		flags |= CLONE_NEWNET;
	if (!o.share_ipc)
		flags |= CLONE_NEWIPC;
	if (pipe2(gate, O_CLOEXEC) < 0)
		die("pipe");
	pid = (pid_t)syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
	if (pid < 0)
		die("namespaces");
	if (pid == 0) {
		close(gate[1]);
		if (read(gate[0], &byte, 1) != 1)
			_exit(99);
		close(gate[0]);
		_exit(inside(&o));
	}
	map_ids(pid, &o);
	if (write(gate[1], "x", 1) != 1 || waitpid(pid, &status, 0) < 0)
		die("child");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
