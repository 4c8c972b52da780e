/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting bubblewrap.
 *
 *   supervisor ── child ── bubblewrap, outside ── init, pid 1 inside (--as-pid-1)
 *
 * What it is told goes through a memfd (--args), so that nothing of the plan is in a
 * command line. Its own streams are nothing and a memfd for what it says; those of the
 * command reach init by another way. The program that is executed inside is this one,
 * by a descriptor: no path of it needs to be visible there, and none can be replaced.
 *
 * It leads its own session, so that a terminal's signals do not end it; the end of the
 * supervisor does, and its end is init's. A setuid bubblewrap is refused: it is not
 * made for what is asked of it here, and its rights are more than the caller's.
 */
#include "backend/bwrap.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "facts/probe.h"
#include "kernel/sys.h"

static int32_t failed(struct immure_error **err, int r, const char *subject, const char *what)
{
	return immure_fail(err, IMMURE_ERR_LAUNCH, -r, "backend", subject, "%s: %s", what,
			   strerror(-r));
}

/* ---- the programs ---- */

static int32_t open_bubblewrap(const char *path, int *ret, struct immure_error **err)
{
	IMMURE_CLEANUP_FD int fd = open(path, O_PATH | O_CLOEXEC | O_NOFOLLOW);
	const char *unfit;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return failed(err, -errno, path, path);
	unfit = immure_bwrap_unfit(&st, geteuid());
	if (unfit)
		return immure_fail(err, IMMURE_ERR_LAUNCH, EPERM, "backend", path, "%s: %s", path, unfit);
	*ret = immure_take_fd(&fd);
	return 0;
}

/* Of this program the one that was built to start fast, if it is there: beside the
 * running one, or where it is installed. Nobody else may be able to change it. */
static int open_own(const char *path)
{
	int fd = open(path, O_PATH | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (st.st_mode & 022) ||
	    (st.st_uid != 0 && st.st_uid != geteuid() && st.st_uid != 65534))
		immure_close(&fd);
	return fd < 0 ? -EPERM : fd;
}

static int32_t open_helper(int *ret, struct immure_error **err)
{
	char exe[PATH_MAX], path[PATH_MAX + 16];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	char *slash;
	int fd = -ENOENT;

	exe[n > 0 ? n : 0] = '\0';
	slash = strrchr(exe, '/');
	if (slash && strcmp(slash + 1, "immure") == 0)
		fd = open_own("/proc/self/exe");
	if (fd < 0 && slash) {
		(void)snprintf(path, sizeof(path), "%.*s/immure", (int)(slash - exe), exe);
		fd = open_own(path);
	}
	if (fd < 0)
		fd = open_own(IMMURE_BINDIR "/immure");
	if (fd < 0)
		return failed(err, fd, "immure", "the program that goes on inside");
	*ret = fd;
	return 0;
}

/* ---- prepare ---- */

static void done(struct immure_backend_child *child)
{
	struct immure_bwrap *w = child->state;

	if (!w)
		return;
	for (size_t i = 0; i < w->fds_n; i++)
		immure_close(&w->fds[i]);
	free(w->fds);
	free(w->seen);
	immure_buf_done(&w->args);
	immure_close(&w->program_fd);
	immure_close(&w->args_fd);
	immure_close(&w->helper_fd);
	immure_close(&w->error_fd);
	immure_close(&w->null_fd);
	free(w);
	child->state = NULL;
}

/* The namespaces that this process is in, for init to find itself in others. */
static int note_namespaces(struct immure_backend_seen *seen)
{
	static const char *const paths[IMMURE_SEEN_NAMESPACES] = {
		"/proc/self/ns/user", "/proc/self/ns/mnt", "/proc/self/ns/pid",
		"/proc/self/ns/net",  "/proc/self/ns/ipc", "/proc/self/ns/uts",
	};
	struct stat st;

	for (size_t i = 0; i < IMMURE_SEEN_NAMESPACES; i++) {
		if (stat(paths[i], &st) < 0)
			return -errno;
		seen[i].outside = st.st_ino;
	}
	return 0;
}

static int make_files(struct immure_bwrap *w)
{
	int r;

	w->args_fd = memfd_create("immure-args", MFD_CLOEXEC);
	w->error_fd = memfd_create("immure-errors", MFD_CLOEXEC);
	if (w->args_fd < 0 || w->error_fd < 0)
		return -errno;
	w->null_fd = immure_open_null();
	if (w->null_fd < 0)
		return w->null_fd;
	r = immure_write_all(w->args_fd, w->args.data, w->args.len);
	if (r == 0 && lseek(w->args_fd, 0, SEEK_SET) < 0)
		r = -errno;
	/* 0..2 are about to be taken in the child */
	if (r == 0)
		r = immure_fd_raise(&w->error_fd, 10);
	return r < 0 ? r : immure_fd_raise(&w->null_fd, 10);
}

static int32_t prepare(const struct immure_plan *p, struct immure_backend_child *child,
		       const struct immure_backend_seen **ret_seen, struct immure_error **err)
{
	const struct immure_op *by = immure_plan_find(p, IMMURE_OP_BWRAP);
	struct immure_bwrap *w = calloc(1, sizeof(*w));
	int32_t r;
	int k;

	if (!w || !by || !immure_plan_find(p, IMMURE_OP_NAMESPACES) ||
	    !immure_plan_find(p, IMMURE_OP_IDMAP) || p->ops_n < IMMURE_SEEN_NAMESPACES) {
		free(w);
		return immure_fail(err, w ? IMMURE_ERR_LAUNCH : IMMURE_ERR_NOMEM, EINVAL, "backend", "",
				   "the plan is not one for bubblewrap, or there is no memory");
	}
	w->program_fd = w->args_fd = w->helper_fd = w->error_fd = w->null_fd = -1;
	child->state = w;
	r = open_bubblewrap(by->src, &w->program_fd, err);
	if (r == 0)
		r = open_helper(&w->helper_fd, err);
	if (r == 0)
		r = immure_bwrap_render(w, p, err);
	if (r < 0)
		return r;
	k = note_namespaces(w->seen);
	if (k == 0)
		k = make_files(w);
	if (k < 0)
		return failed(err, k, "", "what bubblewrap is to be told");
	*ret_seen = w->seen;
	return 0;
}

/* ---- the child ---- */

static int32_t spawn(const struct immure_plan *p, const struct immure_cgroup *cgroup,
		     void (*entry)(void *ctx), void *ctx, struct immure_backend_child *ret,
		     struct immure_error **err)
{
	struct immure_clone_args args = { .exit_signal = SIGCHLD, .flags = CLONE_PIDFD };
	int pidfd = -1;
	long pid;

	(void)p;
	args.pidfd = (uint64_t)(uintptr_t)&pidfd;
	pid = immure_sys_clone3(&args);
	if (pid == -ENOSYS)
		pid = immure_sys_clone((unsigned long)args.flags | SIGCHLD, &pidfd);
	/* Its leaf is entered by the child: it is bubblewrap that makes the namespace. v1's by
	 * what it is about to become. */
	if (pid == 0) {
		if (!cgroup || immure_cgroup_enter_v2(cgroup) == 0)
			entry(ctx);
		_exit(1);
	}
	if (pid < 0)
		return failed(err, (int)pid, "bubblewrap", "cannot make a process");
	ret->pid = (int)pid;
	ret->pidfd = pidfd;
	return 0;
}

static int keep_over_exec(int fd)
{
	return fcntl(fd, F_SETFD, 0) < 0 ? -errno : 0;
}

static int become(const struct immure_plan *p, struct immure_backend_child *self, int report_fd,
		  int handover_fd, const char **ret_what)
{
	struct immure_bwrap *w = self->state;
	char args[16], helper[32], report[16], handover[16], c;
	const char *const argv[] = { "bwrap", "--args", args, "--", helper, "init", "--handover-fd",
				     handover, "--report-fd", report, NULL };
	const char *const env[] = { "LC_ALL=C", NULL };
	sigset_t none;
	int r;

	(void)p;
	*ret_what = "bubblewrap";
	(void)snprintf(args, sizeof(args), "%d", w->args_fd);
	(void)snprintf(helper, sizeof(helper), "/proc/self/fd/%d", w->helper_fd);
	(void)snprintf(report, sizeof(report), "%d", report_fd);
	(void)snprintf(handover, sizeof(handover), "%d", handover_fd);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return -errno;
	if (recv(report_fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
		_exit(1);
	(void)setsid(); /* fails only for a group leader, which a new process is not */
	/* Only root can, and must: its groups would go with it. */
	if (geteuid() == 0 && syscall(SYS_setgroups, 0, NULL) < 0 && errno != EPERM)
		return -errno;
	for (int i = 0; i < 3; i++)
		if (dup2(i == 2 ? w->error_fd : w->null_fd, i) < 0)
			return -errno;
	r = keep_over_exec(w->args_fd);
	if (r == 0)
		r = keep_over_exec(w->helper_fd);
	if (r == 0)
		r = keep_over_exec(report_fd);
	if (r == 0)
		r = keep_over_exec(handover_fd);
	for (size_t i = 0; i < w->fds_n && r == 0; i++)
		r = keep_over_exec(w->fds[i]);
	if (r < 0)
		return r;
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL); /* cannot fail with these */
	(void)syscall(SYS_execveat, w->program_fd, "", argv, env, AT_EMPTY_PATH);
	return -errno;
}

static void complaint(struct immure_backend_child *child, char *buf, size_t len)
{
	const struct immure_bwrap *w = child->state;
	ssize_t n = w ? pread(w->error_fd, buf, len - 1, 0) : -1;

	buf[n > 0 ? n : 0] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
}

const struct immure_backend immure_bwrap = {
	.name = "bwrap",
	.prepare = prepare,
	.done = done,
	.spawn = spawn,
	.become = become,
	.complaint = complaint,
};
