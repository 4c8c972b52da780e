/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "base/fd.h"
#include "kernel/privs.h"
#include "netplumb_session.h"

/* ---- the sandbox: one request in, one errno out ---- */

struct request {
	enum plumbed_act act;
	struct immure_inet to;
};

static int act_on(const struct request *q)
{
	int type = q->act == ACT_TCP || q->act == ACT_BIND ? SOCK_STREAM : SOCK_DGRAM;
	int protocol = q->act != ACT_ICMP ? 0 : q->to.v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
	static const char echo4[8] = { 8 }, echo6[8] = { (char)128 };
	IMMURE_CLEANUP_FD int fd = -1;
	struct sockaddr_storage sa;
	socklen_t len = immure_inet_sockaddr(&q->to, &sa);
	struct sockaddr *to = (struct sockaddr *)&sa;
	char b;

	fd = socket(q->to.v6 ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC, protocol);
	if (fd < 0)
		return errno;
	switch (q->act) {
	case ACT_TCP:
		if (connect(fd, to, len) < 0)
			return errno;
		/* One byte of a stranger's shows that it is a connection. */
		return recv(fd, &b, 1, 0) == 1 && b == 'y' ? 0 : ECONNRESET;
	case ACT_UDP:
		return sendto(fd, "x", 1, 0, to, len) < 0 ? errno : 0;
	case ACT_UDP_CONNECTED:
		if (connect(fd, to, len) < 0)
			return errno;
		return send(fd, "x", 1, 0) < 0 ? errno : 0;
	case ACT_ICMP:
		return sendto(fd, q->to.v6 ? echo6 : echo4, 8, 0, to, len) < 0 ? errno : 0;
	case ACT_BIND:
		return bind(fd, to, len) < 0 ? errno : 0;
	case ACT_DNS:
		if (sendto(fd, "?", 1, 0, to, len) < 0)
			return errno;
		return recv(fd, &b, 1, 0) == 1 && b == '!' ? 0 : EBADMSG;
	}
	return ENOSYS;
}

static void sandbox(int ctl, int ready)
{
	/* Lets it have ping sockets; the test looks whether it does. */
	(void)immure_write_file_at(AT_FDCWD, "/proc/sys/net/ipv4/ping_group_range", "0 0");
	if (write(ready, "r", 1) != 1)
		_exit(1);
	for (;;) {
		struct request q;
		int answer;

		if (recv(ctl, &q, sizeof(q), 0) != sizeof(q))
			_exit(0);
		answer = act_on(&q);
		if (send(ctl, &answer, sizeof(answer), MSG_NOSIGNAL) != sizeof(answer))
			_exit(0);
	}
}

/* ---- setting up ---- */

struct built {
	int result;
	long us;
	char what[64];
	struct immure_netplumb p;
};

static long now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void deny_netfilter(void)
{
	/* A kernel without it, as far as this process can tell. */
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 5),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NETLINK_NETFILTER, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPROTONOSUPPORT),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(f) / sizeof(f[0]), f };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0)
		_exit(3);
}

static void send_built(int to, struct built *b)
{
	union {
		char buf[CMSG_SPACE(sizeof(int) * IMMURE_NETPLUMB_MAX)];
		struct cmsghdr align;
	} control;
	struct iovec iov = { b, sizeof(*b) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	int fds[IMMURE_NETPLUMB_MAX];
	size_t n = 0;

	for (size_t i = 0; i < IMMURE_NETPLUMB_MAX; i++)
		if (b->result == 0 && b->p.fd[i] >= 0)
			fds[n++] = b->p.fd[i];
	memset(&control, 0, sizeof(control));
	if (n) {
		m.msg_control = control.buf;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * n);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int) * n);
		memcpy(CMSG_DATA(&control.align), fds, sizeof(int) * n);
	}
	_exit(sendmsg(to, &m, 0) == (ssize_t)sizeof(*b) ? 0 : 4);
}

static void recv_built(int from, struct built *b)
{
	union {
		char buf[CMSG_SPACE(sizeof(int) * IMMURE_NETPLUMB_MAX)];
		struct cmsghdr align;
	} control;
	struct iovec iov = { b, sizeof(*b) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf,
			    .msg_controllen = sizeof(control.buf) };
	struct cmsghdr *c;
	size_t at = 0;

	assert_int_equal(recvmsg(from, &m, MSG_CMSG_CLOEXEC), sizeof(*b));
	c = CMSG_FIRSTHDR(&m);
	for (size_t i = 0; i < IMMURE_NETPLUMB_MAX && b->result == 0; i++) {
		if (b->p.fd[i] < 0)
			continue;
		assert_non_null(c);
		memcpy(&b->p.fd[i], CMSG_DATA(c) + sizeof(int) * at++, sizeof(int));
	}
}

static void helper(int pidfd, int to, const struct immure_netplumb_config *c, bool filtered)
{
	struct built b = { 0 };
	const char *what = "";
	long start;

	if (setns(pidfd, CLONE_NEWUSER | CLONE_NEWNET) < 0)
		_exit(2);
	if (filtered)
		deny_netfilter();
	start = now_us();
	b.result = immure_netplumb_make(c, &b.p, &what);
	b.us = now_us() - start;
	(void)snprintf(b.what, sizeof(b.what), "%s", what);
	send_built(to, &b);
}

/* A child in new namespaces, with uid 0 there mapped to ours. false: this host
 * does not allow it. */
bool plumbed_start(struct plumbed *s)
{
	int ctl[2], ready[2];
	char c = 0;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ctl), 0);
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	s->pid = fork();
	assert_true(s->pid >= 0);
	if (s->pid == 0) {
		uint32_t uid = (uint32_t)geteuid(), gid = (uint32_t)getegid();

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ctl[0]);
		close(ready[0]);
		if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0 ||
		    immure_ids_map_self(0, uid, 0, gid) < 0)
			_exit(9);
		sandbox(ctl[1], ready[1]);
	}
	close(ctl[1]);
	close(ready[1]);
	s->ctl = ctl[0];
	if (read(ready[0], &c, 1) != 1) {
		close(ready[0]);
		close(s->ctl);
		assert_int_equal(waitpid(s->pid, NULL, 0), s->pid);
		return false;
	}
	close(ready[0]);
	s->pidfd = (int)syscall(SYS_pidfd_open, s->pid, 0);
	assert_true(s->pidfd >= 0);
	return true;
}

int plumbed_build(struct plumbed *s, const struct immure_netplumb_config *c, bool filtered,
		 char *what, size_t len)
{
	struct built b;
	int pair[2], status;
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		helper(s->pidfd, pair[1], c, filtered);
	close(pair[1]);
	recv_built(pair[0], &b);
	close(pair[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	if (b.result == 0) {
		s->p = b.p;
		s->setup_us = b.us;
	}
	if (what)
		(void)snprintf(what, len, "%s", b.what);
	return b.result;
}

void plumbed_stop(struct plumbed *s)
{
	close(s->ctl); /* the sandbox ends at that */
	close(s->pidfd);
	assert_int_equal(waitpid(s->pid, NULL, 0), s->pid);
	immure_netplumb_done(&s->p);
}

struct immure_netplumb_config plumbed_config(void)
{
	struct immure_netplumb_config c = { .port = 41000, .spare = 2, .without_refusals = true };

	immure_rtnl_setup_default(&c.routes, true);
	return c;
}

bool plumbed_start_built(struct plumbed *s)
{
	struct immure_netplumb_config c = plumbed_config();
	char what[64] = "";
	int r;

	if (!plumbed_start(s))
		return false;
	r = plumbed_build(s, &c, false, what, sizeof(what));
	if (r != 0)
		fail_msg("%s: %s", what, strerror(-r));
	return true;
}

void plumbed_need(bool there, const char *what)
{
	if (there)
		return;
	print_message("# skipped: no %s here\n", what);
	skip();
}

void plumbed_need_namespaces(bool started)
{
	plumbed_need(started, "user and network namespaces");
}

/* A session whose names are caught by the table. */
void plumbed_start_caught(struct plumbed *s)
{
	plumbed_need_namespaces(plumbed_start_built(s));
	if (!s->p.with_nft || !s->p.with_v6)
		plumbed_stop(s);
	plumbed_need(s->p.with_nft, "nf_tables with tproxy");
	plumbed_need(s->p.with_v6, "IPv6");
}

/* ---- asking the sandbox ---- */

struct immure_inet plumbed_at(const char *text, uint16_t port)
{
	struct immure_inet a = { .port = port, .v6 = strchr(text, ':') != NULL };

	assert_int_equal(inet_pton(a.v6 ? AF_INET6 : AF_INET, text, a.addr), 1);
	return a;
}

void plumbed_ask(const struct plumbed *s, enum plumbed_act act, struct immure_inet to)
{
	struct request q = { .act = act, .to = to };

	assert_int_equal(send(s->ctl, &q, sizeof(q), 0), sizeof(q));
}

int plumbed_answer(const struct plumbed *s)
{
	struct pollfd p = { .fd = s->ctl, .events = POLLIN };
	int e = -1;

	/* Only a failing test waits this long: nothing here may hang. */
	if (poll(&p, 1, 10000) != 1)
		return ETIMEDOUT;
	assert_int_equal(recv(s->ctl, &e, sizeof(e), 0), sizeof(e));
	return e;
}

int plumbed_result(const struct plumbed *s, enum plumbed_act act, const char *to, uint16_t port)
{
	plumbed_ask(s, act, plumbed_at(to, port));
	return plumbed_answer(s);
}

void plumbed_wait_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&p, 1, 10000), 1);
}

/* A connection arrives at this listener, meant for that address and port. */
void plumbed_arrives(const struct plumbed *s, int listener, const char *to, uint16_t port)
{
	struct immure_inet want = plumbed_at(to, port), meant, from;
	int fd;

	plumbed_ask(s, ACT_TCP, want);
	plumbed_wait_readable(listener);
	fd = immure_netsock_accept(listener, &meant, &from);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_memory_equal(&meant, &want, sizeof(meant));
	assert_int_equal(send(fd, "y", 1, MSG_NOSIGNAL), 1);
	assert_int_equal(plumbed_answer(s), 0);
	close(fd);
}

const struct plumbed_family plumbed_families[2] = {
	{ "198.19.0.7", "198.19.0.8", "192.0.2.1", IMMURE_NETPLUMB_TCP4 },
	{ "fd53:6e62::8000:7", "fd53:6e62::8000:8", "2001:db8::1", IMMURE_NETPLUMB_TCP6 },
};

struct immure_rtnl_net plumbed_net(const char *text, unsigned int bits, uint16_t lo,
				   uint16_t hi)
{
	struct immure_inet a = plumbed_at(text, 0);
	struct immure_rtnl_net n = { .v6 = a.v6, .bits = (uint8_t)bits, .lo = lo, .hi = hi };

	memcpy(n.addr, a.addr, sizeof(n.addr));
	return n;
}
