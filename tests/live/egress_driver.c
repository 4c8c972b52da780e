/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plays supervisor to immure-egress, for tests: egress_driver PROGRAM [nonft] [PORT...]
 *
 * Makes a user, network and mount namespace below the ones it is started in (the
 * lab's host), plumbs it, prints "sandbox PID", and then obeys lines of its standard
 * input; PORT is published (127.0.0.1:PORT here, the same inside). Words are
 * separated by tabs:
 *
 *   config WORD...   allow=RULE deny=RULE private connections=N rate=N first=N head=N idle=N
 *                    dial=N resolve=N names=N; replaces the one before
 *   start            a worker with it; "ready N ABI" or "failed WHY"
 *   policy           the running worker gets it; "done RESULT MICROSECONDS WHY"
 *   stats            "stats" and its numbers
 *   show             "show" and its lines, each ended by " |"
 *   kill             kill -9; "killed"
 *   restart          a new worker with the config, from the last name on
 *   close            lets go of the plumbing
 *   end              closes the control socket; "ended STATUS"
 *
 * "denied STEP HOST PORT RULE|WHY|ADD" whenever there is one.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "egress/wire.h"
#include "kernel/netplumb.h"
#include "kernel/netsock.h"
#include "kernel/privs.h"

struct driver {
	const char *program;
	bool nonft, native;
	pid_t sandbox, worker;
	int pidfd, control, listeners[IMMURE_EGRESS_PUBLISH_MAX];
	struct immure_netplumb net;
	struct immure_arena arena;
	struct immure_egress_config config;
	uint32_t upto, id;
	uint64_t asked_us;
	int shown;
};

static void die(const char *what)
{
	(void)fprintf(stderr, "egress_driver: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* ---- the session's namespace ---- */

static void cover(const char *what, const char *with, const char *text)
{
	int fd = open(with, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);

	if (fd < 0 || immure_write_all(fd, text, strlen(text)) < 0 ||
	    mount(with, what, NULL, MS_BIND, NULL) < 0)
		_exit(9);
	close(fd);
}

static void sandbox_main(int ready, int stay)
{
	uint32_t uid = (uint32_t)geteuid(), gid = (uint32_t)getegid();
	char c;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS) < 0 ||
	    immure_ids_map_self(0, uid, 0, gid) < 0)
		_exit(9);
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", "/mnt", "tmpfs", 0, NULL) < 0)
		_exit(9);
	cover("/etc/resolv.conf", "/mnt/resolv.conf", "nameserver 198.18.0.1\n");
	cover("/etc/hosts", "/mnt/hosts", "127.0.0.1 localhost\n::1 localhost\n");
	if (write(ready, "r", 1) != 1)
		_exit(9);
	/* Until the driver is gone. */
	_exit(read(stay, &c, 1) == 0 ? 0 : 1);
}

/* Runs in the session's namespaces and sends back what it made. */
static void helper(struct driver *d, int to, unsigned int n4, unsigned int n6)
{
	struct immure_wire m = { .type = IMMURE_WIRE_SOCKETS };
	int fds[IMMURE_WIRE_FDS_MAX];
	size_t n = 0;

	if (setns(d->pidfd, CLONE_NEWUSER | CLONE_NEWNET) < 0)
		_exit(8);
	if (n4 + n6 == 0) {
		struct immure_netplumb_config c = { .spare = IMMURE_NETPLUMB_SPARE, .proxy = true,
						    .without_nft = d->nonft,
						    .native_queue = d->native };
		struct immure_netplumb p;
		int zero = 0;

		immure_rtnl_setup_default(&c.routes, true);
		if (immure_netplumb_make(&c, &p, NULL) < 0)
			_exit(7);
		_exit(immure_wire_send_start(to, zero, &p, NULL, 0, 0) < 0 ? 6 : 0);
	}
	m.sockets.n4 = n4;
	m.sockets.n6 = n6;
	for (unsigned int i = 0; i < n4 + n6; i++)
		fds[n++] = immure_netsock_tcp(i >= n4);
	_exit(immure_wire_send(to, &m, fds, n) < 0 ? 6 : 0);
}

static size_t from_helper(struct driver *d, unsigned int n4, unsigned int n6, struct immure_wire *m,
			  int fds[IMMURE_WIRE_FDS_MAX])
{
	int pair[2], status;
	size_t n = 0;
	pid_t pid;

	if (immure_wire_pair(pair) < 0)
		die("socketpair");
	pid = fork();
	if (pid == 0)
		helper(d, pair[1], n4, n6);
	if (waitpid(pid, &status, 0) != pid || status != 0) {
		errno = EIO;
		die("helper");
	}
	if (immure_wire_recv(pair[0], true, m, fds, &n) != 1)
		die("helper's answer");
	close(pair[0]);
	close(pair[1]);
	return n;
}

static void make_session(struct driver *d)
{
	int ready[2], stay[2], fds[IMMURE_WIRE_FDS_MAX];
	struct immure_wire m;
	size_t at = 1;
	char c;

	if (pipe2(ready, O_CLOEXEC) < 0 || pipe2(stay, O_CLOEXEC) < 0)
		die("pipe");
	d->sandbox = fork();
	if (d->sandbox == 0) {
		close(stay[1]);
		close(ready[0]);
		sandbox_main(ready[1], stay[0]);
	}
	close(ready[1]);
	if (read(ready[0], &c, 1) != 1)
		die("sandbox");
	d->pidfd = (int)syscall(SYS_pidfd_open, d->sandbox, 0);
	(void)from_helper(d, 0, 0, &m, fds);
	for (unsigned int i = 0; i < IMMURE_NETPLUMB_MAX; i++)
		d->net.fd[i] = m.start.present & 1U << i ? fds[at++] : -1;
	d->net.with_v6 = m.start.with_v6;
	d->net.with_nft = m.start.with_nft;
	close(fds[0]);
}

/* ---- the worker ---- */

static void start(struct driver *d)
{
	int pair[2], config;

	if (immure_wire_pair(pair) < 0)
		die("socketpair");
	d->worker = fork();
	if (d->worker == 0) {
		if (pair[1] != IMMURE_WIRE_FD)
			(void)dup2(pair[1], IMMURE_WIRE_FD);
		else
			(void)fcntl(IMMURE_WIRE_FD, F_SETFD, 0);
		execl(d->program, "immure-egress", (char *)NULL);
		_exit(127);
	}
	close(pair[1]);
	d->control = pair[0];
	d->config.first_name = d->upto;
	if (immure_egress_config_seal(&d->config, &config) < 0) {
		printf("failed config\n");
		return;
	}
	if (immure_wire_send_start(d->control, config, &d->net, d->listeners, d->config.publish_n, 0) < 0)
		die("START");
	close(config);
	for (unsigned int i = IMMURE_NETPLUMB_SPARE4; i < IMMURE_NETPLUMB_MAX; i++)
		immure_close(&d->net.fd[i]);
}

static void word(struct driver *d, char *w)
{
	struct immure_egress_limits *l = &d->config.limits;
	char *value = strchr(w, '=');
	uint32_t n = value ? (uint32_t)strtoul(value + 1, NULL, 10) : 0;

	if (value)
		*value++ = '\0';
	if (strcmp(w, "allow") == 0)
		(void)immure_strv_add(&d->arena, &d->config.allow,
				      immure_arena_strdup(&d->arena, value));
	else if (strcmp(w, "deny") == 0)
		(void)immure_strv_add(&d->arena, &d->config.deny,
				      immure_arena_strdup(&d->arena, value));
	else if (strcmp(w, "private") == 0)
		d->config.private_ok = true;
	else if (strcmp(w, "connections") == 0)
		l->connections = n;
	else if (strcmp(w, "rate") == 0)
		l->bytes_per_s = n;
	else if (strcmp(w, "first") == 0)
		l->first_ms = n;
	else if (strcmp(w, "head") == 0)
		l->head_ms = n;
	else if (strcmp(w, "idle") == 0)
		l->idle_ms = n;
	else if (strcmp(w, "dial") == 0)
		l->dial_ms = n;
	else if (strcmp(w, "resolve") == 0)
		l->resolve_ms = n;
	else if (strcmp(w, "names") == 0)
		d->config.synth.names_max = n;
	else
		printf("no such word: %s\n", w);
}

static void configure(struct driver *d, char *rest)
{
	struct immure_egress_config old = d->config;

	immure_egress_config_defaults(&d->config);
	d->config.synth.seed = 4711;
	d->config.first_name = old.first_name;
	d->config.publish_n = old.publish_n;
	memcpy(d->config.publish, old.publish, sizeof(old.publish));
	for (char *w = rest; w && *w;) {
		char *tab = strchr(w, '\t');

		if (tab)
			*tab = '\0';
		word(d, w);
		w = tab ? tab + 1 : NULL;
	}
}

static void heard(struct driver *d, const struct immure_wire *m)
{
	char text[65536];
	ssize_t n;

	switch (m->type) {
	case IMMURE_WIRE_READY:
		printf("ready %u %u\n", m->ready.connections, m->ready.landlock_abi);
		break;
	case IMMURE_WIRE_DONE:
		if (d->shown >= 0) {
			n = pread(d->shown, text, sizeof(text) - 1, 0);
			text[n < 0 ? 0 : n] = '\0';
			for (char *c = text; *c; c++)
				*c = *c == '\n' ? '|' : *c;
			printf("show %s\n", text);
			immure_close(&d->shown);
			break;
		}
		printf("done %d %llu %s\n", m->done.result,
		       (unsigned long long)(now_us() - d->asked_us), m->done.why);
		break;
	case IMMURE_WIRE_DENIED:
		printf("denied %u %s %u %s|%s|%s\n", m->denied.step,
		       m->denied.host[0] ? m->denied.host : "-", m->denied.port, m->denied.rule,
		       m->denied.why, m->denied.add);
		if (m->id) { /* held: nobody is looked for here */
			const struct immure_wire looked = { .type = IMMURE_WIRE_LOOKED, .id = m->id };

			(void)immure_wire_send(d->control, &looked, NULL, 0);
		}
		break;
	case IMMURE_WIRE_STATS:
		printf("stats %llu %llu %llu %llu %llu %llu %llu %llu %llu\n",
		       (unsigned long long)m->stats.connections,
		       (unsigned long long)m->stats.connections_all,
		       (unsigned long long)m->stats.bytes_out, (unsigned long long)m->stats.bytes_in,
		       (unsigned long long)m->stats.names, (unsigned long long)m->stats.lookups,
		       (unsigned long long)m->stats.denied, (unsigned long long)m->stats.lost,
		       (unsigned long long)m->stats.failed);
		break;
	case IMMURE_WIRE_NAMES:
		d->upto = m->names.upto;
		break;
	case IMMURE_WIRE_FAILED:
		printf("failed %s\n", m->failed.why);
		break;
	default:
		break;
	}
}

static void from_worker(struct driver *d)
{
	int fds[IMMURE_WIRE_FDS_MAX], r;
	struct immure_wire m;
	size_t n;

	while ((r = immure_wire_recv(d->control, false, &m, fds, &n)) == 1) {
		if (m.type == IMMURE_WIRE_WANT) {
			n = from_helper(d, m.want.n4, m.want.n6, &m, fds);
			(void)immure_wire_send(d->control, &m, fds, n);
			for (size_t i = 0; i < n; i++)
				close(fds[i]);
			continue;
		}
		heard(d, &m);
	}
	if (r != -EAGAIN) {
		printf("gone\n");
		immure_close(&d->control);
	}
}

static void ask(struct driver *d, uint32_t type, int fd)
{
	struct immure_wire m = { .type = type, .id = ++d->id };

	d->asked_us = now_us();
	if (immure_wire_send(d->control, &m, &fd, fd >= 0) < 0)
		printf("failed not sent\n");
}

static void obey(struct driver *d, char *line)
{
	char *rest = strchr(line, '\t');
	int fd, status;

	if (rest)
		*rest++ = '\0';
	if (strcmp(line, "config") == 0) {
		configure(d, rest);
	} else if (strcmp(line, "start") == 0) {
		start(d);
	} else if (strcmp(line, "policy") == 0) {
		if (immure_egress_config_seal(&d->config, &fd) < 0) {
			printf("failed config\n");
			return;
		}
		ask(d, IMMURE_WIRE_POLICY, fd);
		close(fd);
	} else if (strcmp(line, "stats") == 0) {
		ask(d, IMMURE_WIRE_ASK, -1);
	} else if (strcmp(line, "show") == 0) {
		d->shown = memfd_create("show", MFD_CLOEXEC);
		ask(d, IMMURE_WIRE_SHOW, d->shown);
	} else if (strcmp(line, "kill") == 0) {
		(void)kill(d->worker, SIGKILL);
		(void)waitpid(d->worker, &status, 0);
		from_worker(d);
		immure_close(&d->control);
		printf("killed\n");
	} else if (strcmp(line, "close") == 0) {
		immure_netplumb_done(&d->net);
		printf("closed\n");
	} else if (strcmp(line, "end") == 0) {
		immure_close(&d->control);
		(void)waitpid(d->worker, &status, 0);
		printf("ended %d\n", status);
	} else {
		printf("no such order: %s\n", line);
	}
}

static void publish(struct driver *d, const char *port)
{
	struct immure_inet at = { .addr = { 127, 0, 0, 1 }, .port = (uint16_t)atoi(port) };
	uint32_t i = d->config.publish_n++;

	d->config.publish[i].port = at.port;
	d->listeners[i] = immure_netsock_listen(&at, 128);
	if (d->listeners[i] < 0)
		die("publish");
}

int main(int argc, char **argv)
{
	struct driver d = { .control = -1, .shown = -1 };
	char line[65536];
	size_t have = 0;

	if (argc < 2)
		return 2;
	d.program = argv[1];
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	for (int i = 2; i < argc; i++) {
		if (strcmp(argv[i], "nonft") == 0)
			d.nonft = true;
		else if (strcmp(argv[i], "native") == 0)
			d.native = true;
		else
			publish(&d, argv[i]);
	}
	make_session(&d);
	printf("sandbox %d %d %d %d\n", d.sandbox, d.net.with_nft, d.net.with_v6,
	       d.net.fd[IMMURE_NETPLUMB_REFUSALS] >= 0);
	for (;;) {
		struct pollfd p[2] = { { .fd = 0, .events = POLLIN },
				       { .fd = d.control, .events = POLLIN } };
		ssize_t n;
		char *eol;

		if (poll(p, 2, -1) < 0)
			die("poll");
		if (p[1].revents)
			from_worker(&d);
		if (!p[0].revents)
			continue;
		n = read(0, line + have, sizeof(line) - have - 1);
		if (n <= 0)
			break;
		have += (size_t)n;
		line[have] = '\0';
		while ((eol = strchr(line, '\n'))) {
			*eol = '\0';
			obey(&d, line);
			have -= (size_t)(eol + 1 - line);
			memmove(line, eol + 1, have + 1);
		}
	}
	if (d.control >= 0 && d.worker > 0)
		(void)kill(d.worker, SIGKILL);
	(void)kill(d.sandbox, SIGKILL);
	while (wait(NULL) > 0)
		;
	return 0;
}
