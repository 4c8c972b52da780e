/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/ahead.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "base/fd.h"
#include "kernel/loopback.h"
#include "kernel/rawcall.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV /* 5.19 */
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

/* Sanitizers know the stacks of threads and no others. */
#if defined(__SANITIZE_ADDRESS__)
#define NO_STACKS_OF_OURS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define NO_STACKS_OF_OURS 1
#endif
#endif

#if defined(IMMURE_HAVE_RAWCALL) && !defined(NO_STACKS_OF_OURS)

/* CHILD_STACK is as large as init may need it; only what is touched is ever there. */
enum { CHILD_STACK = 1 << 20, GUARD = 4096, NET_STACK = 8192, STACK = 32768 };

static const uint64_t namespaces = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS;

enum { WORKING, READY, BORN }; /* states of the maker; below them: -errno */

/* Not in the child's memory. Were it, each page that the makers write to after its birth
 * would be copied first, and every processor that runs one of them interrupted for it. */
struct immure_ahead {
	int pid;         /* of the maker */
	int parent;      /* of it */
	int pair[2];     /* the child's end, and that of who makes the network namespace */
	bool loopback;
	int within[2];   /* a user and a mount namespace to begin in; -1 = in new ones */
	uint64_t made;   /* namespaces that the child does not get anew; 0: filters instead */
	struct immure_ahead_filters filters;
	bool alone;      /* when it was started */
	int listener;    /* in the table that both have */
	uid_t uid;
	gid_t gid;
	int state;       /* futex */
	int ordered;     /* futex: the child is wanted */
	struct immure_clone_args args;
	void (*entry)(void *ctx);
	void *ctx;
	long child;
	int pidfd;       /* of the child */
	char *child_stack;
	_Alignas(16) char net_stack[NET_STACK], stack[STACK];
};

/* One wait for a change, or for a while: the other side may be unable to wake us, or be
 * dead. Gives 0 or -errno, which matters only to who wants to look around meanwhile. */
static long wait_while(const int *word, int value)
{
	const struct timespec pause = { .tv_nsec = 50000000 };

	return immure_rawcall(SYS_futex, (long)word, FUTEX_WAIT_PRIVATE, value, (long)&pause);
}

static int look_at(const int *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static void set(int *word, int value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
	(void)immure_rawcall(SYS_futex, (long)word, FUTEX_WAKE_PRIVATE, 1, 0); /* nobody: fine */
}

/* ---- beside the caller and on its memory: only system calls, and only ones that leave
 * errno alone ---- */

/* To be called after a change of credentials, which clears it. */
static void die_with(int parent)
{
	(void)immure_rawcall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0); /* cannot fail */
	if (immure_rawcall(SYS_getppid, 0, 0, 0, 0) != parent)
		(void)immure_rawcall(SYS_exit, 1, 0, 0, 0);
}

static void hand_over(const struct immure_ahead *a, int result, int fd)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { .space = { 0 } };
	struct iovec iov = { .iov_base = &result, .iov_len = sizeof(result) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		struct cmsghdr *c = &control.align;

		msg.msg_control = control.space;
		msg.msg_controllen = sizeof(control.space);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		*(int *)(void *)CMSG_DATA(c) = fd;
	}
	/* Not sent: the end of file says it. */
	(void)immure_rawcall(SYS_sendmsg, a->pair[1], (long)&msg, MSG_NOSIGNAL, 0);
}

static int net_maker(void *ctx)
{
	const struct immure_ahead *a = ctx;
	long r;

	die_with(a->pid);
	r = immure_rawcall(SYS_unshare, CLONE_NEWNET, 0, 0, 0);
	if (r == 0 && a->loopback)
		r = immure_loopback_up_raw();
	if (r == 0)
		r = immure_rawcall(SYS_openat, AT_FDCWD, (long)"/proc/thread-self/ns/net",
				   O_RDONLY | O_CLOEXEC, 0);
	hand_over(a, r < 0 ? (int)r : 0, (int)r);
	return 0;
}

/* What the child begins with, on its own stack. */
struct first {
	void (*entry)(void *ctx);
	void *ctx;
};

static int born(void *ctx)
{
	const struct first *f = ctx;

	f->entry(f->ctx); /* in a process of its own, on memory of its own */
	(void)immure_rawcall(SYS_exit_group, 1, 0, 0, 0);
	return 1;
}

static long give_birth(struct immure_ahead *a)
{
	char *top = a->child_stack + CHILD_STACK - sizeof(struct first);
	long r;

	*(struct first *)(void *)top = (struct first){ a->entry, a->ctx };
	a->args.stack = (uint64_t)(uintptr_t)a->child_stack;
	a->args.stack_size = (uint64_t)(top - a->child_stack);
	a->args.pidfd = (uint64_t)(uintptr_t)&a->pidfd;
	r = immure_rawclone3(&a->args, sizeof(a->args), born, top);
	/* As in native.c: filters that cannot see clone3's flags say that it is not there. */
	if (r == -ENOSYS && !(a->args.flags & (IMMURE_CLONE_INTO_CGROUP | CLONE_NEWTIME)))
		r = immure_rawclone(born, top, a->args.flags | SIGCHLD, top, &a->pidfd);
	return r;
}

/* As immure_ids_become() and init's stage of privileges, which say why. */
static long shed(const struct immure_ahead *a)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };
	long r = immure_rawcall(SYS_keyctl, 1 /* KEYCTL_JOIN_SESSION_KEYRING */, 0, 0, 0);

	if (r < 0 && r != -ENOSYS && r != -EPERM)
		return r;
	if (a->uid == 0) {
		r = immure_rawcall(SYS_setgroups, 0, 0, 0, 0);
		if (r < 0 && r != -EPERM)
			return r;
		r = immure_rawcall(SYS_setresgid, a->gid, a->gid, a->gid, 0);
		if (r < 0)
			return r;
	}
	for (long cap = 0; cap < 64; cap++)
		if (immure_rawcall5(SYS_prctl, PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			break; /* EPERM: not ours to drop; EINVAL: past the last one */
	r = immure_rawcall5(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (r == 0)
		r = immure_rawcall(SYS_capset, (long)&head, (long)none, 0, 0);
	return r < 0 ? r : immure_rawcall5(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static long install(const struct immure_filter *f, long flags)
{
	const struct sock_fprog prog = { .len = f->len, .filter = (struct sock_filter *)(uintptr_t)f->insns };

	return immure_rawcall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, (long)&prog, 0);
}

/* As init does (setup.c): with a listener where one can be had. */
static long filter(struct immure_ahead *a)
{
	long r = install(a->filters.beneath, SECCOMP_FILTER_FLAG_NEW_LISTENER |
						     SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);

	if (r == -EINVAL)
		r = install(a->filters.beneath, SECCOMP_FILTER_FLAG_NEW_LISTENER);
	if (r >= 0)
		a->listener = (int)r;
	else
		r = install(a->filters.unanswered, 0);
	return r < 0 ? r : install(a->filters.filter, 0);
}

static long begin_anew(struct immure_ahead *a)
{
	long r = immure_rawcall(SYS_unshare, (long)a->made, 0, 0, 0);

	die_with(a->parent);
	return r < 0 ? r : immure_rawclone(net_maker, a->net_stack + sizeof(a->net_stack), CLONE_VM | SIGCHLD, a,
					       NULL);
}

/* One of many: all processors are busy anyway, so nobody else makes the network. */
static long begin_within(const struct immure_ahead *a)
{
	long r = immure_rawcall(SYS_setns, a->within[0], CLONE_NEWUSER, 0, 0);

	die_with(a->parent);
	if (r == 0)
		r = immure_rawcall(SYS_setns, a->within[1], CLONE_NEWNS, 0, 0);
	if (r == 0)
		r = immure_rawcall(SYS_unshare, CLONE_NEWNET, 0, 0, 0);
	return r == 0 && a->loopback ? immure_loopback_up_raw() : r;
}

static long begin_filtered(struct immure_ahead *a)
{
	long r = shed(a);

	die_with(a->parent);
	return r < 0 ? r : filter(a);
}

static int maker(void *ctx)
{
	struct immure_ahead *a = ctx;
	long r, net = -1;

	a->pid = (int)immure_rawcall(SYS_getpid, 0, 0, 0, 0); /* as the caller will, too */
	if (a->within[0] >= 0)
		r = begin_within(a);
	else
		r = a->made ? (net = begin_anew(a)) : begin_filtered(a);
	/* Theirs is a table of their own; in ours, which is the caller's, its end would
	 * keep the child from seeing that they died. */
	if (a->pair[1] >= 0)
		(void)immure_rawcall(SYS_close, a->pair[1], 0, 0, 0);
	set(&a->state, r < 0 ? (int)r : READY);
	if (r < 0)
		return 1;
	while (look_at(&a->ordered) == 0)
		(void)wait_while(&a->ordered, 0);
	a->child = give_birth(a);
	set(&a->state, BORN);
	while (net > 0 && immure_rawcall(SYS_wait4, net, 0, 0, 0) == -EINTR)
		;
	return 0;
}

/* ---- the caller ---- */

static void *map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static bool make_stack(struct immure_ahead *a)
{
	a->child_stack = map(CHILD_STACK);
	return a->child_stack && mprotect(a->child_stack, GUARD, PROT_NONE) == 0;
}

static struct immure_ahead *ahead_new(void)
{
	struct immure_ahead *a = map(sizeof(*a));

	if (!a)
		return NULL;
	/* All zero already. Without the advice the child has a copy, and uses none of it. */
	(void)madvise(a, sizeof(*a), MADV_DONTFORK);
	a->pair[0] = a->pair[1] = a->listener = a->within[0] = a->within[1] = -1;
	a->parent = getpid();
	if (make_stack(a))
		return a;
	immure_ahead_free(a);
	return NULL;
}

static struct immure_ahead *start(struct immure_ahead *a)
{
	sigset_t all, before;
	int pid;

	/* A signal that is for the caller must not end the maker instead. */
	sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &before); /* cannot fail with these */
	pid = clone(maker, a->stack + sizeof(a->stack), CLONE_VM | CLONE_FILES | SIGCHLD, a);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	if (pid < 0) {
		immure_close(&a->pair[1]);
		immure_ahead_free(a);
		return NULL;
	}
	a->pid = pid;
	return a;
}

struct immure_ahead *immure_ahead_start(bool loopback)
{
	struct immure_ahead *a = ahead_new();

	if (!a)
		return NULL;
	a->loopback = loopback;
	a->made = namespaces;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, a->pair) < 0 ||
	    immure_fd_raise(&a->pair[0], 10) < 0) {
		immure_close(&a->pair[1]);
		immure_ahead_free(a);
		return NULL;
	}
	return start(a);
}

struct immure_ahead *immure_ahead_start_filtered(const struct immure_ahead_filters *f)
{
	struct immure_ahead *a = f->beneath && f->unanswered && f->filter ? ahead_new() : NULL;
	siginfo_t si;

	if (!a)
		return NULL;
	a->filters = *f;
	a->alone = waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD;
	a->uid = geteuid();
	a->gid = getegid();
	return start(a);
}

struct immure_ahead *immure_ahead_start_in(int user_fd, int mount_fd, bool loopback)
{
	struct immure_ahead *a = ahead_new();

	if (!a)
		return NULL;
	a->made = CLONE_NEWUSER;
	a->within[0] = user_fd;
	a->within[1] = mount_fd;
	a->loopback = loopback;
	return start(a);
}

bool immure_ahead_is_within(const struct immure_ahead *a)
{
	return a->within[0] >= 0;
}

bool immure_ahead_has(const struct immure_ahead *a, const struct immure_ahead_filters *f)
{
	return a && a->filters.filter && a->filters.beneath == f->beneath &&
	       a->filters.unanswered == f->unanswered && a->filters.filter == f->filter;
}

bool immure_ahead_is_alone(const struct immure_ahead *a)
{
	return a && a->alone;
}

int immure_ahead_take_listener(struct immure_ahead *a)
{
	return immure_take_fd(&a->listener);
}

/* A maker that was killed never says anything, so it is looked after now and then.
 * False: it is gone. */
static bool wait_for(struct immure_ahead *a, int state)
{
	while (look_at(&a->state) == state) {
		if (wait_while(&a->state, state) < 0 && waitpid(a->pid, NULL, WNOHANG) != 0) {
			a->pid = 0;
			break;
		}
	}
	return look_at(&a->state) != state; /* perhaps the last thing that it did */
}

void immure_ahead_order(struct immure_ahead *a, const struct immure_clone_args *args,
			void (*entry)(void *ctx), void *ctx)
{
	a->args = *args;
	a->args.flags = (args->flags & ~a->made) | CLONE_PARENT;
	a->args.exit_signal = 0; /* the maker's, which is the usual one */
	a->entry = entry;
	a->ctx = ctx;
	a->child = -ECHILD;
	a->pidfd = -1;
	set(&a->ordered, 1);
}

long immure_ahead_clone(struct immure_ahead *a, const struct immure_clone_args *args,
			void (*entry)(void *ctx), void *ctx)
{
	const uint64_t least = a->made ? namespaces : 0;
	long r;

	if ((args->flags & least) != least)
		return -EINVAL;
	if (!wait_for(a, WORKING))
		return -ECHILD;
	if (a->state < 0)
		return a->state;
	if (!a->ordered)
		immure_ahead_order(a, args, entry, ctx);
	/* Killed just now, by somebody: whether there is a child is not known, so there
	 * must not be a second one. */
	r = wait_for(a, READY) ? a->child : -EOWNERDEAD;
	if (args->pidfd && a->pidfd >= 0)
		*(int *)(uintptr_t)args->pidfd = a->pidfd;
	return r;
}

int immure_ahead_socket(const struct immure_ahead *a)
{
	return a->pair[0];
}

bool immure_ahead_lingers(const struct immure_ahead *a)
{
	return a && a->pid > 0 && look_at(&a->state) == BORN;
}

void immure_ahead_reap(struct immure_ahead *a)
{
	if (!immure_ahead_lingers(a))
		return;
	while (waitpid(a->pid, NULL, 0) < 0 && errno == EINTR)
		;
	a->pid = 0;
}

void immure_ahead_end(struct immure_ahead *a)
{
	if (!a)
		return;
	if (a->pid > 0) {
		/* Not reaped yet, so the number is its own; one that gave birth ends anyway. */
		if (a->state < BORN)
			(void)kill(a->pid, SIGKILL);
		while (waitpid(a->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	a->pid = 0;
	immure_close(&a->pair[0]);
	immure_close(&a->listener);
}

void immure_ahead_free(struct immure_ahead *a)
{
	if (!a)
		return;
	immure_ahead_end(a);
	if (a->child_stack)
		(void)munmap(a->child_stack, CHILD_STACK); /* as it was mapped, so valid */
	(void)munmap(a, sizeof(*a)); /* as above */
}

#else

struct immure_ahead *immure_ahead_start(bool loopback)
{
	(void)loopback;
	return NULL;
}

struct immure_ahead *immure_ahead_start_in(int user_fd, int mount_fd, bool loopback)
{
	(void)user_fd;
	(void)mount_fd;
	(void)loopback;
	return NULL;
}

bool immure_ahead_is_within(const struct immure_ahead *a)
{
	(void)a;
	return false;
}

void immure_ahead_order(struct immure_ahead *a, const struct immure_clone_args *args,
			void (*entry)(void *ctx), void *ctx)
{
	(void)a;
	(void)args;
	(void)entry;
	(void)ctx;
}

long immure_ahead_clone(struct immure_ahead *a, const struct immure_clone_args *args,
			void (*entry)(void *ctx), void *ctx)
{
	(void)a;
	(void)args;
	(void)entry;
	(void)ctx;
	return -ENOSYS;
}

int immure_ahead_socket(const struct immure_ahead *a)
{
	(void)a;
	return -1;
}

struct immure_ahead *immure_ahead_start_filtered(const struct immure_ahead_filters *f)
{
	(void)f;
	return NULL;
}

bool immure_ahead_has(const struct immure_ahead *a, const struct immure_ahead_filters *f)
{
	(void)a;
	(void)f;
	return false;
}

bool immure_ahead_is_alone(const struct immure_ahead *a)
{
	(void)a;
	return false;
}

int immure_ahead_take_listener(struct immure_ahead *a)
{
	(void)a;
	return -1;
}

bool immure_ahead_lingers(const struct immure_ahead *a)
{
	(void)a;
	return false;
}

void immure_ahead_reap(struct immure_ahead *a)
{
	(void)a;
}

void immure_ahead_end(struct immure_ahead *a)
{
	(void)a;
}

void immure_ahead_free(struct immure_ahead *a)
{
	(void)a;
}

#endif
