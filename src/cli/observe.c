/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tracing of a run from outside. The launcher is traced from its first instruction and
 * everything that it makes with it, so that nothing has to be attached to later: init lets
 * nobody do that. Enforcement does not know of it; a tracer has no way to let a call pass
 * that is refused, and does not try.
 *
 * Calls are looked at only in processes that executed something under a filter more than
 * this process has: the command and what it starts. Everybody else stops for births alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/observe.h"

#ifndef PTRACE_GET_SYSCALL_INFO
#define PTRACE_GET_SYSCALL_INFO 0x420e
#endif
#ifndef PTRACE_EVENT_STOP
#define PTRACE_EVENT_STOP 128
#endif

enum {
	OPTIONS = PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC |
		  PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL,
	TRACEES = 8192,
};

/* What the kernel fills in (linux/ptrace.h; the C libraries differ about its name). */
struct call_info {
	uint8_t op, pad[3];
	uint32_t arch;
	uint64_t ip, sp;
	union {
		struct { uint64_t nr, args[6]; } entry;
		struct { int64_t rval; uint8_t is_error; } leave;
	};
};
enum { CALL_ENTRY = 1, CALL_EXIT = 2 };

struct tracee {
	pid_t pid;   /* 0 = free */
	bool known;  /* whose child it is; before that it waits, stopped */
	bool waits;
	bool inside, entered;
	uint64_t nr, args[6];
};

struct trace {
	struct tracee *v;
	size_t top; /* none is beyond */
	struct immure_observed *out;
	long filters; /* of our own */
	pid_t main;
	int status;
	bool ended;
};

/* ---- who ---- */

static struct tracee *find(struct trace *t, pid_t pid, bool make)
{
	struct tracee *spare = NULL;

	for (size_t i = 0; i < t->top; i++) {
		if (t->v[i].pid == pid)
			return &t->v[i];
		if (!t->v[i].pid && !spare)
			spare = &t->v[i];
	}
	if (!spare && make && t->top < TRACEES)
		spare = &t->v[t->top++];
	if (!make || !spare)
		return NULL;
	*spare = (struct tracee){ .pid = pid };
	return spare;
}

/* Filters that a process is under: a number of the kernel's since Linux 5.9. */
static long filters_of(pid_t pid)
{
	char name[48], text[4096], *at;
	ssize_t n;

	if (pid)
		(void)snprintf(name, sizeof(name), "/proc/%d/status", (int)pid);
	else
		(void)snprintf(name, sizeof(name), "/proc/self/status");
	IMMURE_CLEANUP_FD int fd = open(name, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return -1;
	text[n] = '\0';
	at = strstr(text, "\nSeccomp_filters:");
	if (at)
		return strtol(at + 17, NULL, 10);
	at = strstr(text, "\nSeccomp:");
	return at ? strtol(at + 9, NULL, 10) : -1;
}

/* ---- what ---- */

static void note(struct trace *t, pid_t pid, enum immure_refused what, int errnum, const char *path)
{
	struct immure_observed *o = t->out;
	struct immure_refusal *r;
	char name[48];

	for (size_t i = 0; i < o->n; i++) {
		if (o->v[i].what == what && o->v[i].errnum == errnum && strcmp(o->v[i].path, path) == 0) {
			o->v[i].count++;
			return;
		}
	}
	if (o->n == IMMURE_OBSERVED_MAX) {
		o->dropped++;
		return;
	}
	r = &o->v[o->n];
	*r = (struct immure_refusal){ .what = what, .errnum = errnum, .count = 1, .path = strdup(path) };
	if (!r->path) {
		o->dropped++;
		return;
	}
	o->n++;
	(void)snprintf(name, sizeof(name), "/proc/%d/comm", (int)pid);
	IMMURE_CLEANUP_FD int fd = open(name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, r->program, sizeof(r->program) - 1);
	r->program[n > 0 ? n : 0] = '\0';
	r->program[strcspn(r->program, "\n")] = '\0';
}

static void on_call(struct trace *t, struct tracee *p)
{
	struct call_info info = { 0 };
	enum immure_refused what;
	char path[PATH_MAX];

	if (ptrace(PTRACE_GET_SYSCALL_INFO, p->pid, sizeof(info), &info) <= 0)
		return;
	if (info.op == CALL_ENTRY) {
		p->entered = true;
		p->nr = info.entry.nr;
		memcpy(p->args, info.entry.args, sizeof(p->args));
	} else if (info.op == CALL_EXIT && p->entered) {
		p->entered = false;
		if (info.leave.is_error && info.leave.rval < 0 && info.leave.rval > -4096 &&
		    immure_observe_call(p->pid, p->nr, p->args, (int)-info.leave.rval, &what, path))
			note(t, p->pid, what, (int)-info.leave.rval, path);
	}
}

/* ---- one stop ---- */

static void resume(const struct tracee *p, int signo)
{
	/* It may have been killed meanwhile: its end is waited for like any other. */
	(void)ptrace(p->inside ? PTRACE_SYSCALL : PTRACE_CONT, p->pid, 0, (long)signo);
}

static void on_event(struct trace *t, struct tracee *p, int event, int signo)
{
	unsigned long message = 0;
	struct tracee *child;

	switch (event) {
	case PTRACE_EVENT_FORK:
	case PTRACE_EVENT_VFORK:
	case PTRACE_EVENT_CLONE:
		if (ptrace(PTRACE_GETEVENTMSG, p->pid, 0, &message) == 0 && message) {
			child = find(t, (pid_t)message, true);
			if (child) {
				child->known = true;
				child->inside = p->inside;
				if (child->waits)
					resume(child, 0);
				child->waits = false;
			}
		}
		break;
	case PTRACE_EVENT_EXEC:
		if (ptrace(PTRACE_GETEVENTMSG, p->pid, 0, &message) == 0 && (pid_t)message != p->pid) {
			child = find(t, (pid_t)message, false); /* the thread that it was */
			if (child) {
				p->inside |= child->inside;
				child->pid = 0;
			}
		}
		p->entered = false;
		p->inside |= filters_of(p->pid) > t->filters;
		break;
	case PTRACE_EVENT_STOP:
		if (signo == SIGSTOP || signo == SIGTSTP || signo == SIGTTIN || signo == SIGTTOU) {
			(void)ptrace(PTRACE_LISTEN, p->pid, 0, 0); /* as in resume() */
			return;
		}
		break;
	default:
		break;
	}
	resume(p, 0);
}

static int one(struct trace *t)
{
	int status, signo;
	pid_t pid = waitpid(-1, &status, __WALL);
	struct tracee *p;

	if (pid < 0)
		return errno == EINTR ? 0 : -errno;
	if (WIFEXITED(status) || WIFSIGNALED(status)) {
		p = find(t, pid, false);
		if (p)
			p->pid = 0;
		if (pid == t->main) {
			t->status = status;
			t->ended = true;
		}
		return 0;
	}
	p = find(t, pid, true);
	if (!p)
		return -EAGAIN; /* more than can be followed: nobody goes on unobserved */
	if (!WIFSTOPPED(status))
		return 0;
	if (!p->known && pid != t->main) { /* its parent's stop, which says so, comes later */
		p->waits = true;
		return 0;
	}
	signo = WSTOPSIG(status);
	if (signo == (SIGTRAP | 0x80)) {
		on_call(t, p);
		resume(p, 0);
	} else if (status >> 16) {
		on_event(t, p, status >> 16, signo);
	} else {
		resume(p, signo);
	}
	return 0;
}

/* ---- all of it ---- */

static void be_traced(char *const argv[], int gate, int stdout_fd)
{
	char go;

	if (read(gate, &go, 1) != 1 || (stdout_fd >= 0 && dup2(stdout_fd, STDOUT_FILENO) < 0))
		_exit(125);
	(void)execv("/proc/self/exe", argv);
	_exit(125);
}

int immure_observe(char *const argv[], int stdout_fd, struct immure_observed *ret, int *ret_status)
{
	struct trace t = { .out = ret, .filters = filters_of(0) };
	int gate[2], r = 0;

	t.v = calloc(TRACEES, sizeof(*t.v));
	ret->v = calloc(IMMURE_OBSERVED_MAX, sizeof(*ret->v));
	if (!t.v || !ret->v || pipe2(gate, O_CLOEXEC) < 0) {
		free(t.v);
		return -ENOMEM;
	}
	t.main = fork();
	if (t.main == 0)
		be_traced(argv, gate[0], stdout_fd);
	immure_close(&gate[0]);
	(void)signal(SIGINT, SIG_IGN);  /* the command's, who gets them as well; */
	(void)signal(SIGQUIT, SIG_IGN); /* any other end of ours is everybody's */
	if (t.main < 0 || ptrace(PTRACE_SEIZE, t.main, 0, (long)OPTIONS) < 0)
		r = -errno;
	else if (write(gate[1], "", 1) != 1)
		r = -EPIPE;
	immure_close(&gate[1]); /* not let go: it ends */
	while (r == 0)
		r = one(&t);
	if (r == -ECHILD && t.ended)
		r = 0;
	else if (t.main > 0 && !t.ended)
		(void)kill(t.main, SIGKILL); /* not waited for yet, so it is there */
	free(t.v);
	*ret_status = t.status;
	return r;
}

void immure_observed_done(struct immure_observed *o)
{
	for (size_t i = 0; i < o->n; i++)
		free(o->v[i].path);
	free(o->v);
	*o = (struct immure_observed){ 0 };
}
