/* SPDX-License-Identifier: Apache-2.0 */
/* Reads targets from standard input, runs every point, writes records:
 *
 *     immure-attack 1
 *     ID OUTCOME COUNT ERRNO[,ERRNO...] DETAIL
 *     ...
 *     end N
 *
 * OUTCOME: denied done error unsupported killed hung silent. ERRNO is "-" when
 * there is none, and the signal for "killed". DETAIL is printable ASCII. */
#include "attack.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TARGET_BYTES 65536
#define TARGETS_MAX 2048
#define POINT_SECONDS 10 /* none needs it: so long a busy machine may keep one waiting */
/* PROC_PID_INIT_INO of the kernel: the one pid namespace that was not made by anybody. */
#define INITIAL_PID_NAMESPACE 0xEFFFFFFCUL

#define EXIT_USAGE 2
#define EXIT_HOST 3

static const struct attack_list *const lists[] = {
	&attack_controls, &attack_files, &attack_secrets, &attack_network, &attack_ipc,
	&attack_processes, &attack_syscalls, &attack_privileges, &attack_devices,
	&attack_resources, &attack_kernel, &attack_egress, &attack_values,
};
#define LISTS_N (sizeof(lists) / sizeof(lists[0]))

static int list_points(void)
{
	for (size_t i = 0; i < LISTS_N; i++)
		for (size_t j = 0; j < lists[i]->n; j++)
			if (puts(lists[i]->v[j].id) < 0)
				return 1;
	return fflush(stdout) ? 1 : 0;
}

/* Not knowing counts as being on the host. */
static bool on_the_host(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) < 0 || st.st_ino == INITIAL_PID_NAMESPACE;
}

static int unhex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* Shares the host's processes, and is confined all the same: then what is tried here
 * meets a Landlock domain and a filter, or it is not tried. */
static bool confined(void)
{
	char text[4096];
	const char *caps, *privs, *mode;
	int fd;

	if (attack_read_file("/proc/self/status", text, sizeof(text)) < 0)
		return false;
	caps = attack_field(text, "CapEff");
	privs = attack_field(text, "NoNewPrivs");
	mode = attack_field(text, "Seccomp");
	if (!caps || strtoull(caps, NULL, 16) != 0 || !privs || atoi(privs) != 1 || !mode ||
	    atoi(mode) != 2)
		return false;
	/* One's own name may always be written, but in a domain without that right. */
	fd = open("/proc/self/comm", O_WRONLY | O_CLOEXEC);
	if (fd >= 0)
		(void)close(fd); /* nothing was written */
	return fd < 0 && errno == EACCES;
}

/* Undoes the escapes \xNN in place. */
static void unescape(char *s)
{
	char *w = s;

	while (*s) {
		if (s[0] == '\\' && s[1] == 'x' && unhex(s[2]) >= 0 && unhex(s[3]) >= 0) {
			*w++ = (char)(unhex(s[2]) * 16 + unhex(s[3]));
			s += 4;
		} else {
			*w++ = *s++;
		}
	}
	*w = '\0';
}

/* -1 when the text is too long or cannot be read: half the targets would be a
 * weaker attack that looks like a whole one. */
static long read_targets(char *text, size_t size, struct attack_target *ret)
{
	size_t len = 0, n = 0;
	char *line, *next;

	for (;;) {
		ssize_t k = read(0, text + len, size - 1 - len);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return -1;
		if (k == 0)
			break;
		len += (size_t)k;
		if (len == size - 1)
			return -1;
	}
	text[len] = '\0';
	for (line = text; *line; line = next) {
		char *end = strchr(line, '\n'), *space;

		if (!end || n == TARGETS_MAX)
			return -1;
		*end = '\0';
		next = end + 1;
		space = strchr(line, ' ');
		if (!space)
			return -1;
		*space = '\0';
		unescape(space + 1);
		/* A variable's value is a place that was not known when this was written. */
		if (space[1] == '$' && !getenv(space + 2))
			return -1;
		ret[n++] = (struct attack_target){
			.kind = line, .value = space[1] == '$' ? getenv(space + 2) : space + 1,
		};
	}
	return (long)n;
}

static const char *outcome_name(enum attack_outcome o)
{
	switch (o) {
	case ATTACK_NONE:
		return "silent";
	case ATTACK_DENIED:
		return "denied";
	case ATTACK_DONE:
		return "done";
	case ATTACK_ERROR:
		return "error";
	case ATTACK_UNSUPPORTED:
		return "unsupported";
	}
	return "error";
}

/* What the child wrote is data of an attacked process: bounded and cleaned. */
static void record(FILE *out, const char *id, const char *outcome, struct attack_result *r)
{
	r->detail[ATTACK_DETAIL - 1] = '\0';
	for (char *p = r->detail; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
	(void)fprintf(out, "%s %s %u ", id, outcome, r->count); /* checked by fflush() */
	if (r->errnos_n > ATTACK_ERRNOS)
		r->errnos_n = ATTACK_ERRNOS;
	for (unsigned int i = 0; i < r->errnos_n; i++)
		(void)fprintf(out, "%s%d", i ? "," : "", r->errnos[i]);
	(void)fprintf(out, "%s %s\n", r->errnos_n ? "" : "-", r->detail);
}

static void run_point(const struct attack *a, const struct attack_ctx *ctx,
		      struct attack_result *shared, FILE *out)
{
	struct attack_result r = { 0 };
	const char *outcome;
	int status = 0;
	pid_t pid;

	memset(shared, 0, sizeof(*shared));
	pid = fork();
	if (pid == 0) {
		(void)alarm(POINT_SECONDS); /* cannot fail */
		a->fn(ctx, shared);
		_exit(0);
	}
	if (pid < 0) {
		r.outcome = ATTACK_ERROR;
		(void)snprintf(r.detail, sizeof(r.detail), "fork: %s", strerror(errno));
		record(out, a->id, outcome_name(r.outcome), &r);
		return;
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	memcpy(&r, shared, sizeof(r));
	outcome = outcome_name(r.outcome);
	/* A success counts even when the child was then killed for it. */
	if (r.outcome != ATTACK_DONE && WIFSIGNALED(status)) {
		outcome = WTERMSIG(status) == SIGALRM ? "hung" : "killed";
		r.errnos_n = 1;
		r.errnos[0] = WTERMSIG(status);
		r.count++;
		(void)snprintf(r.detail, sizeof(r.detail), "killed by signal %d", WTERMSIG(status));
	}
	record(out, a->id, outcome, &r);
}

static int attack_all(const struct attack_ctx *ctx, FILE *out)
{
	struct attack_result *shared;
	unsigned int n = 0;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	if (shared == MAP_FAILED)
		return 1;
	(void)fputs("immure-attack 1\n", out);
	for (size_t i = 0; i < LISTS_N; i++) {
		for (size_t j = 0; j < lists[i]->n; j++) {
			run_point(&lists[i]->v[j], ctx, shared, out);
			n++;
		}
	}
	(void)fprintf(out, "end %u\n", n);
	return fflush(out) ? 1 : 0;
}

int main(int argc, char **argv, char **envp)
{
	static char text[TARGET_BYTES];
	static char output[1 << 16];
	static struct attack_target targets[TARGETS_MAX];
	struct attack_ctx ctx = { .targets = targets, .init = getppid(), .envp = envp };
	char *end;
	FILE *out;
	long n;

	if (argc == 2 && strcmp(argv[1], "--list") == 0)
		return list_points();
	if (argc != 2) {
		fputs("immure-attack: usage: immure-attack FD | --list\n", stderr);
		return EXIT_USAGE;
	}
	if (on_the_host() && !confined()) {
		fputs("immure-attack: refusing: this is the initial pid namespace, not a session\n",
		      stderr);
		return EXIT_HOST;
	}
	ctx.report_fd = (int)strtol(argv[1], &end, 10);
	out = *end || ctx.report_fd < 0 ? NULL : fdopen(ctx.report_fd, "w");
	/* Fully buffered, so that no child inherits half a line to write again. */
	if (!out || setvbuf(out, output, _IOFBF, sizeof(output)))
		return EXIT_USAGE;
	n = read_targets(text, sizeof(text), targets);
	if (n < 0) {
		fputs("immure-attack: targets: unreadable\n", stderr);
		return EXIT_USAGE;
	}
	ctx.n = (size_t)n;
	return attack_all(&ctx, out);
}
