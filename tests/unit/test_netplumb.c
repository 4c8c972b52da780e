/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plumbing of a session's network namespace, in namespaces of the test's
 * own. Three processes, as in a session: a sandbox in a new user and network
 * namespace; a helper that enters both, builds, passes the descriptors out and
 * ends; and this one, outside, which never enters and works on the descriptors.
 * The sandbox acts on command: it has the view that a sealed command has.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fd.h"
#include "egress/synth.h"
#include "kernel/netlink.h"
#include "kernel/netplumb.h"
#include "kernel/netsock.h"
#include "kernel/nft.h"
#include "kernel/privs.h"

/* ---- the sandbox: one request in, one errno out ---- */

enum act { ACT_TCP, ACT_UDP, ACT_UDP_CONNECTED, ACT_ICMP, ACT_BIND, ACT_DNS };

struct request {
	enum act act;
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

struct session {
	pid_t pid;
	int pidfd, ctl;
	long setup_us; /* in the helper: immure_netplumb_make() alone */
	struct immure_netplumb p;
};

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
static bool start(struct session *s)
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

static int build(struct session *s, const struct immure_netplumb_config *c, bool filtered,
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

static void stop(struct session *s)
{
	close(s->ctl); /* the sandbox ends at that */
	close(s->pidfd);
	assert_int_equal(waitpid(s->pid, NULL, 0), s->pid);
	immure_netplumb_done(&s->p);
}

static struct immure_netplumb_config config(void)
{
	struct immure_netplumb_config c = { .port = 41000, .spare = 2, .without_refusals = true };

	immure_rtnl_setup_default(&c.routes, true);
	return c;
}

static bool start_built(struct session *s)
{
	struct immure_netplumb_config c = config();
	char what[64] = "";
	int r;

	if (!start(s))
		return false;
	r = build(s, &c, false, what, sizeof(what));
	if (r != 0)
		fail_msg("%s: %s", what, strerror(-r));
	return true;
}

static void need(bool there, const char *what)
{
	if (there)
		return;
	print_message("# skipped: no %s here\n", what);
	skip();
}

static void need_namespaces(bool started)
{
	need(started, "user and network namespaces");
}

/* A session whose names are caught by the table. */
static void start_caught(struct session *s)
{
	need_namespaces(start_built(s));
	if (!s->p.with_nft || !s->p.with_v6)
		stop(s);
	need(s->p.with_nft, "nf_tables with tproxy");
	need(s->p.with_v6, "IPv6");
}

/* ---- asking the sandbox ---- */

static struct immure_inet at(const char *text, uint16_t port)
{
	struct immure_inet a = { .port = port, .v6 = strchr(text, ':') != NULL };

	assert_int_equal(inet_pton(a.v6 ? AF_INET6 : AF_INET, text, a.addr), 1);
	return a;
}

static void ask(const struct session *s, enum act act, struct immure_inet to)
{
	struct request q = { .act = act, .to = to };

	assert_int_equal(send(s->ctl, &q, sizeof(q), 0), sizeof(q));
}

static int answer(const struct session *s)
{
	struct pollfd p = { .fd = s->ctl, .events = POLLIN };
	int e = -1;

	/* Only a failing test waits this long: nothing here may hang. */
	if (poll(&p, 1, 10000) != 1)
		return ETIMEDOUT;
	assert_int_equal(recv(s->ctl, &e, sizeof(e), 0), sizeof(e));
	return e;
}

static int result(const struct session *s, enum act act, const char *to, uint16_t port)
{
	ask(s, act, at(to, port));
	return answer(s);
}

static void wait_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&p, 1, 10000), 1);
}

/* A connection arrives at this listener, meant for that address and port. */
static void arrives(const struct session *s, int listener, const char *to, uint16_t port)
{
	struct immure_inet want = at(to, port), meant, from;
	int fd;

	ask(s, ACT_TCP, want);
	wait_readable(listener);
	fd = immure_netsock_accept(listener, &meant, &from);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_memory_equal(&meant, &want, sizeof(meant));
	assert_int_equal(send(fd, "y", 1, MSG_NOSIGNAL), 1);
	assert_int_equal(answer(s), 0);
	close(fd);
}

static const struct {
	const char *name, *other, *outside;
	enum immure_netplumb_fd listener;
} families[2] = {
	{ "198.19.0.7", "198.19.0.8", "192.0.2.1", IMMURE_NETPLUMB_TCP4 },
	{ "fd53:6e62::8000:7", "fd53:6e62::8000:8", "2001:db8::1", IMMURE_NETPLUMB_TCP6 },
};

/* ---- tests ---- */

static void pairs_that_are_allowed_arrive(void **unused)
{
	struct session s;

	(void)unused;
	start_caught(&s);
	print_message("setup: %ld us\n", s.setup_us);
	for (size_t i = 0; i < 2; i++) {
		struct immure_inet pair = at(families[i].name, 443);
		int listener = s.p.fd[families[i].listener], nft = s.p.fd[IMMURE_NETPLUMB_NFT];

		assert_int_equal(result(&s, ACT_TCP, families[i].name, 443), ECONNREFUSED);
		assert_int_equal(immure_nft_add(nft, &pair, 1), 0);
		arrives(&s, listener, families[i].name, 443);
		/* Adding again is no error and changes nothing. */
		assert_int_equal(immure_nft_add(nft, &pair, 1), 0);
		arrives(&s, listener, families[i].name, 443);
		assert_int_equal(result(&s, ACT_TCP, families[i].name, 80), ECONNREFUSED);
		assert_int_equal(result(&s, ACT_TCP, families[i].other, 443), ECONNREFUSED);
		/* The listener's own port is not a way past the set. */
		assert_int_equal(result(&s, ACT_TCP, families[i].name, 41000), ECONNREFUSED);
		/* By its own address it can be reached, and is told so. */
		arrives(&s, listener, i ? "::1" : "127.0.0.1", 41000);
		assert_int_equal(immure_nft_remove(nft, &pair, 1), 0);
		assert_int_equal(result(&s, ACT_TCP, families[i].name, 443), ECONNREFUSED);
		assert_int_equal(immure_nft_remove(nft, &pair, 1), -ENOENT);
	}
	stop(&s);
}

static void many_pairs_in_one_call(void **unused)
{
	struct immure_inet pairs[IMMURE_NFT_PAIRS + 1];
	struct session s;

	(void)unused;
	start_caught(&s);
	for (size_t i = 0; i <= IMMURE_NFT_PAIRS; i++)
		pairs[i] = at(families[i % 2].name, (uint16_t)(1000 + i));
	assert_int_equal(immure_nft_add(s.p.fd[IMMURE_NETPLUMB_NFT], pairs, 0), 0);
	assert_int_equal(immure_nft_add(s.p.fd[IMMURE_NETPLUMB_NFT], pairs, IMMURE_NFT_PAIRS + 1),
			 -E2BIG);
	assert_int_equal(immure_nft_add(s.p.fd[IMMURE_NETPLUMB_NFT], pairs, IMMURE_NFT_PAIRS), 0);
	arrives(&s, s.p.fd[IMMURE_NETPLUMB_TCP4], families[0].name, 1000);
	arrives(&s, s.p.fd[IMMURE_NETPLUMB_TCP6], families[1].name, 1063);
	/* One that is not there: nothing is removed. */
	assert_int_equal(immure_nft_remove(s.p.fd[IMMURE_NETPLUMB_NFT], pairs + 1,
					   IMMURE_NFT_PAIRS), -ENOENT);
	arrives(&s, s.p.fd[IMMURE_NETPLUMB_TCP6], families[1].name, 1063);
	stop(&s);
}

static void all_else_is_refused_at_once(void **unused)
{
	struct session s;

	(void)unused;
	start_caught(&s);
	/* The control: a refusal below is not for want of the socket itself. */
	assert_int_equal(result(&s, ACT_ICMP, "127.0.0.1", 0), 0);
	assert_int_equal(result(&s, ACT_ICMP, "::1", 0), 0);
	assert_int_equal(result(&s, ACT_ICMP, "198.18.0.1", 0), 0);
	for (size_t i = 0; i < 2; i++) {
		struct immure_inet pair = at(families[i].name, 443);

		/* Allowed for TCP says nothing about other protocols. */
		assert_int_equal(immure_nft_add(s.p.fd[IMMURE_NETPLUMB_NFT], &pair, 1), 0);
		assert_int_equal(result(&s, ACT_UDP, families[i].name, 443), EACCES);
		assert_int_equal(result(&s, ACT_UDP_CONNECTED, families[i].name, 443), EACCES);
		assert_int_equal(result(&s, ACT_ICMP, families[i].name, 0), EACCES);
		assert_int_equal(result(&s, ACT_TCP, families[i].outside, 443), EACCES);
		assert_int_equal(result(&s, ACT_UDP, families[i].outside, 53), EACCES);
		assert_int_equal(result(&s, ACT_ICMP, families[i].outside, 0), EACCES);
	}
	assert_int_equal(result(&s, ACT_TCP, "169.254.169.254", 80), EACCES);
	assert_int_equal(result(&s, ACT_TCP, "::ffff:192.0.2.1", 443), EACCES);
	assert_int_equal(result(&s, ACT_TCP, "127.0.0.1", 22), ECONNREFUSED);
	assert_int_equal(result(&s, ACT_TCP, "::1", 22), ECONNREFUSED);
	/* Servers of the sandbox's own: the port of a name stays free. */
	assert_int_equal(result(&s, ACT_BIND, "0.0.0.0", 443), 0);
	assert_int_equal(result(&s, ACT_BIND, "127.0.0.1", 41000), EADDRINUSE);
	assert_int_equal(result(&s, ACT_BIND, "0.0.0.0", 41000), EADDRINUSE);
	stop(&s);
}

static struct immure_rtnl_net net(const char *text, unsigned int bits, uint16_t lo, uint16_t hi)
{
	struct immure_inet a = at(text, 0);
	struct immure_rtnl_net n = { .v6 = a.v6, .bits = (uint8_t)bits, .lo = lo, .hi = hi };

	memcpy(n.addr, a.addr, sizeof(n.addr));
	return n;
}

static void networks_are_reached_by_address(void **unused)
{
	struct immure_netplumb_config c = config();
	const struct immure_rtnl_net nets[] = {
		net("192.0.2.0", 27, 80, 90), net("203.0.113.9", 32, 443, 443),
		net("2001:db8::", 61, 443, 443), net("127.0.0.1", 32, 5432, 5432),
	};
	const struct immure_rtnl_net all = net("0.0.0.0", 0, 1, 65535);
	struct session s;
	int tcp4, tcp6;

	(void)unused;
	need_namespaces(start(&s));
	c.nets = nets;
	c.nets_n = sizeof(nets) / sizeof(nets[0]);
	assert_int_equal(build(&s, &c, false, NULL, 0), 0);
	need(s.p.with_nft && s.p.with_v6, "nf_tables with tproxy, or IPv6");
	tcp4 = s.p.fd[IMMURE_NETPLUMB_TCP4];
	tcp6 = s.p.fd[IMMURE_NETPLUMB_TCP6];
	arrives(&s, tcp4, "192.0.2.1", 80);
	arrives(&s, tcp4, "192.0.2.31", 90);
	assert_int_equal(result(&s, ACT_TCP, "192.0.2.1", 79), ECONNREFUSED);
	assert_int_equal(result(&s, ACT_TCP, "192.0.2.1", 91), ECONNREFUSED);
	assert_int_equal(result(&s, ACT_TCP, "192.0.2.32", 80), EACCES);
	arrives(&s, tcp4, "203.0.113.9", 443);
	assert_int_equal(result(&s, ACT_TCP, "203.0.113.8", 443), EACCES);
	arrives(&s, tcp6, "2001:db8:0:7::1", 443);
	assert_int_equal(result(&s, ACT_TCP, "2001:db8:0:8::1", 443), EACCES);
	/* A service of the host's own loopback, by its own rule only. */
	arrives(&s, tcp4, "127.0.0.1", 5432);
	assert_int_equal(result(&s, ACT_TCP, "127.0.0.1", 5433), ECONNREFUSED);
	assert_int_equal(result(&s, ACT_UDP, "192.0.2.1", 80), EACCES);
	assert_int_equal(result(&s, ACT_ICMP, "192.0.2.1", 0), EACCES);
	assert_int_equal(result(&s, ACT_UDP, "2001:db8::1", 443), EACCES);

	/* Everything, from outside; what is the sandbox's own stays so. */
	assert_int_equal(immure_netplumb_set_nets(&s.p, &c.routes, &all, 1), 0);
	arrives(&s, tcp4, "192.0.2.32", 7);
	assert_int_equal(result(&s, ACT_TCP, "127.0.0.1", 5432), ECONNREFUSED);
	assert_int_equal(result(&s, ACT_TCP, "198.19.0.7", 443), ECONNREFUSED);
	assert_int_equal(result(&s, ACT_TCP, "198.18.0.1", 443), ECONNREFUSED);
	assert_int_equal(result(&s, ACT_TCP, "2001:db8:0:7::1", 443), ECONNREFUSED);
	assert_int_equal(result(&s, ACT_UDP, "192.0.2.1", 80), EACCES);
	/* And nothing. */
	assert_int_equal(immure_netplumb_set_nets(&s.p, &c.routes, NULL, 0), 0);
	assert_int_equal(result(&s, ACT_TCP, "192.0.2.32", 7), ECONNREFUSED);
	stop(&s);
}

/* More rules than fit into one message to the kernel. */
static void many_networks(void **unused)
{
	struct immure_netplumb_config c = config();
	struct immure_rtnl_net nets[100];
	struct session s;

	(void)unused;
	for (size_t i = 0; i < 100; i++) {
		nets[i] = net(i % 2 ? "2001:db8::" : "192.0.2.0", i % 2 ? 128 : 32, 1, 9);
		nets[i].addr[i % 2 ? 15 : 3] = (uint8_t)i;
	}
	need_namespaces(start(&s));
	c.nets = nets;
	c.nets_n = 100;
	assert_int_equal(build(&s, &c, false, NULL, 0), 0);
	need(s.p.with_nft && s.p.with_v6, "nf_tables with tproxy, or IPv6");
	arrives(&s, s.p.fd[IMMURE_NETPLUMB_TCP4], "192.0.2.98", 9);
	arrives(&s, s.p.fd[IMMURE_NETPLUMB_TCP6], "2001:db8::63", 9);
	assert_int_equal(result(&s, ACT_TCP, "192.0.2.99", 9), EACCES);
	stop(&s);
}

static void the_proxy_has_a_listener(void **unused)
{
	struct immure_netplumb_config c = config();
	struct session s;

	(void)unused;
	need_namespaces(start(&s));
	c.proxy = true;
	assert_int_equal(build(&s, &c, false, NULL, 0), 0);
	arrives(&s, s.p.fd[IMMURE_NETPLUMB_PROXY], "198.18.0.1", IMMURE_NETPLUMB_PROXY_PORT);
	stop(&s);
	start_caught(&s);
	assert_int_equal(s.p.fd[IMMURE_NETPLUMB_PROXY], -1);
	assert_int_equal(result(&s, ACT_TCP, "198.18.0.1", IMMURE_NETPLUMB_PROXY_PORT),
			 ECONNREFUSED);
	stop(&s);
}

static void a_mapped_address_is_the_plain_one(void **unused)
{
	struct immure_inet pair = at("198.19.0.7", 443), meant, from;
	struct session s;
	int fd;

	(void)unused;
	start_caught(&s);
	assert_int_equal(immure_nft_add(s.p.fd[IMMURE_NETPLUMB_NFT], &pair, 1), 0);
	ask(&s, ACT_TCP, at("::ffff:198.19.0.7", 443));
	wait_readable(s.p.fd[IMMURE_NETPLUMB_TCP4]);
	fd = immure_netsock_accept(s.p.fd[IMMURE_NETPLUMB_TCP4], &meant, &from);
	assert_true(fd >= 0);
	assert_memory_equal(&meant, &pair, sizeof(pair));
	assert_int_equal(send(fd, "y", 1, MSG_NOSIGNAL), 1);
	assert_int_equal(answer(&s), 0);
	close(fd);
	stop(&s);
}

static void ranges_stand_beside_pairs(void **unused)
{
	struct session s;

	(void)unused;
	start_caught(&s);
	for (size_t i = 0; i < 2; i++) {
		struct immure_nft_range r = { .at = at(families[i].name, 0), .lo = 8000,
					      .hi = 8100 };
		int nft = s.p.fd[IMMURE_NETPLUMB_NFT], listener = s.p.fd[families[i].listener];
		struct immure_inet pair = at(families[i].name, 443);

		assert_int_equal(immure_nft_range_add(nft, 41000, 41000, &r, 1), 0);
		arrives(&s, listener, families[i].name, 8000);
		arrives(&s, listener, families[i].name, 8100);
		assert_int_equal(result(&s, ACT_TCP, families[i].name, 7999), ECONNREFUSED);
		assert_int_equal(result(&s, ACT_TCP, families[i].name, 8101), ECONNREFUSED);
		assert_int_equal(result(&s, ACT_TCP, families[i].other, 8000), ECONNREFUSED);
		assert_int_equal(immure_nft_add(nft, &pair, 1), 0);
		assert_int_equal(immure_nft_clear(nft, false, true), 0);
		assert_int_equal(result(&s, ACT_TCP, families[i].name, 8000), ECONNREFUSED);
		arrives(&s, listener, families[i].name, 443);
		assert_int_equal(immure_nft_clear(nft, true, true), 0);
		assert_int_equal(result(&s, ACT_TCP, families[i].name, 443), ECONNREFUSED);
	}
	stop(&s);
}

static void the_name_service_is_reached(void **unused)
{
	struct sockaddr_storage from;
	socklen_t len = sizeof(from);
	struct session s;
	char b;

	(void)unused;
	start_caught(&s);
	ask(&s, ACT_DNS, at("198.18.0.1", 53));
	wait_readable(s.p.fd[IMMURE_NETPLUMB_DNS_UDP]);
	assert_int_equal(recvfrom(s.p.fd[IMMURE_NETPLUMB_DNS_UDP], &b, 1, 0,
				  (struct sockaddr *)&from, &len), 1);
	assert_int_equal(sendto(s.p.fd[IMMURE_NETPLUMB_DNS_UDP], "!", 1, 0,
				(struct sockaddr *)&from, len), 1);
	assert_int_equal(answer(&s), 0);
	arrives(&s, s.p.fd[IMMURE_NETPLUMB_DNS_TCP], "198.18.0.1", 53);
	stop(&s);
}

static void when_all_is_closed_nothing_answers(void **unused)
{
	struct immure_inet pair = at("198.19.0.7", 443);
	struct session s;

	(void)unused;
	start_caught(&s);
	assert_int_equal(immure_nft_add(s.p.fd[IMMURE_NETPLUMB_NFT], &pair, 1), 0);
	immure_netplumb_done(&s.p); /* what the gatekeeper's death does */
	assert_int_equal(result(&s, ACT_TCP, "198.19.0.7", 443), ECONNREFUSED);
	assert_int_equal(result(&s, ACT_TCP, "198.18.0.1", 53), ECONNREFUSED);
	stop(&s);
}

static void without_nf_tables_pairs_have_listeners(void **unused)
{
	struct immure_netplumb_config c = config();
	struct session s;

	(void)unused;
	need_namespaces(start(&s));
	assert_int_equal(build(&s, &c, true, NULL, 0), 0);
	assert_false(s.p.with_nft);
	assert_int_equal(s.p.fd[IMMURE_NETPLUMB_NFT], -1);
	assert_int_equal(s.p.fd[IMMURE_NETPLUMB_TCP4], -1);
	assert_int_equal(s.p.fd[IMMURE_NETPLUMB_TCP6], -1);
	{
		const struct immure_rtnl_net one = net("192.0.2.1", 32, 80, 80);

		assert_int_equal(immure_netplumb_set_nets(&s.p, &c.routes, &one, 1), -EOPNOTSUPP);
		assert_int_equal(immure_netplumb_set_nets(&s.p, &c.routes, NULL, 0), 0);
		assert_true(immure_netplumb_listenable(&one));
	}
	for (size_t i = 0; i < (s.p.with_v6 ? 2U : 1U); i++) {
		int spare = i ? IMMURE_NETPLUMB_SPARE6 : IMMURE_NETPLUMB_SPARE4;
		struct immure_inet pair = at(families[i].name, 443);

		/* Bound from outside, below 1024, on a socket born inside. */
		assert_int_equal(immure_netsock_listen_on(s.p.fd[spare], &pair, 16), 0);
		arrives(&s, s.p.fd[spare], families[i].name, 443);
		assert_int_equal(result(&s, ACT_TCP, families[i].name, 80), ECONNREFUSED);
		immure_close(&s.p.fd[spare]);
		assert_int_equal(result(&s, ACT_TCP, families[i].name, 443), ECONNREFUSED);
		assert_int_equal(result(&s, ACT_UDP, families[i].name, 443), EACCES);
	}
	stop(&s);
}

static void the_first_failure_is_named(void **unused)
{
	struct immure_netplumb_config c = config();
	char what[64] = "";
	struct session s;

	(void)unused;
	start_caught(&s);
	immure_netplumb_done(&s.p);
	/* A second time: the address is there already. (The table is, too, but comes first.) */
	c.without_nft = true;
	assert_int_equal(build(&s, &c, false, what, sizeof(what)), -EEXIST);
	assert_string_equal(what, "gateway address");
	stop(&s);
}

static void ranges(void **unused)
{
	static const uint8_t v4[4] = { 10, 64, 0, 0 }, stray[4] = { 10, 64, 0, 1 };
	static const uint8_t v6[16] = { 0xfd, 1 };
	static const uint8_t names6[16] = { 0xfd, 1, [12] = 0x80 };
	struct immure_rtnl_range r;

	(void)unused;
	assert_int_equal(immure_rtnl_range_from(false, v4, 15, &r), 0);
	assert_memory_equal(r.gateway, ((uint8_t[]){ 10, 64, 0, 1 }), 4);
	assert_memory_equal(r.names, ((uint8_t[]){ 10, 65, 0, 0 }), 4);
	assert_int_equal(r.names_bits, 16);
	assert_int_equal(immure_rtnl_range_from(false, v4, 24, &r), 0);
	assert_memory_equal(r.names, ((uint8_t[]){ 10, 64, 0, 128 }), 4);
	assert_int_equal(immure_rtnl_range_from(true, v6, 48, &r), 0);
	assert_memory_equal(r.names, names6, 16);
	assert_int_equal(r.names_bits, 97);
	assert_int_equal(immure_rtnl_range_from(false, stray, 15, &r), -EINVAL);
	assert_int_equal(immure_rtnl_range_from(false, v4, 7, &r), -EINVAL);
	assert_int_equal(immure_rtnl_range_from(false, v4, 25, &r), -EINVAL);
	assert_int_equal(immure_rtnl_range_from(true, v6, 97, &r), -EINVAL);
}

/* What the names are given addresses from is what the routes make local. */
static void routes_and_addresses_agree(void **unused)
{
	static const enum immure_host_kind kinds[2] = { IMMURE_HOST_NET4, IMMURE_HOST_NET6 };
	struct immure_synth_config c;
	struct immure_rtnl_setup routes;
	struct immure_synth *synth = NULL;
	unsigned char a[16];
	uint32_t number = 0;

	(void)unused;
	immure_synth_defaults(&c);
	immure_rtnl_setup_default(&routes, true);
	assert_int_equal(immure_synth_new(&c, &synth), 0);
	for (int i = 0; i < 300; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "n%d.example", i);
		assert_int_equal(immure_synth_add(synth, name, 0, 0, &number), IMMURE_SYNTH_OK);
	}
	for (int i = 0; i < 2; i++) {
		const struct immure_rtnl_range *r = i ? &routes.v6 : &routes.v4;
		struct immure_rtnl_range again;
		size_t size = i ? 16 : 4, whole;

		assert_int_equal(immure_rtnl_range_from(i, i ? c.prefix6 : c.prefix4,
							i ? c.bits6 : c.bits4, &again), 0);
		assert_memory_equal(&again, r, sizeof(again));
		immure_synth_own(synth, kinds[i], a);
		assert_memory_equal(a, r->gateway, size);
		immure_synth_address(synth, kinds[i], number, a);
		whole = r->names_bits / 8;
		assert_memory_equal(a, r->names, whole);
		assert_int_equal((a[whole] ^ r->names[whole]) >> (8 - r->names_bits % 8), 0);
	}
	immure_synth_free(synth);
}

static void a_batch_that_does_not_fit_is_not_sent(void **unused)
{
	static const char block[1000];
	struct immure_netlink b;

	(void)unused;
	immure_netlink_init(&b, 1);
	immure_netlink_begin(&b, 1, 0, block, 16);
	for (int i = 0; i < 9; i++)
		immure_netlink_put(&b, 1, block, sizeof(block));
	assert_true(b.len <= sizeof(b.data));
	assert_int_equal(immure_netlink_send(-1, &b, NULL), -EMSGSIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pairs_that_are_allowed_arrive),
		cmocka_unit_test(many_pairs_in_one_call),
		cmocka_unit_test(all_else_is_refused_at_once),
		cmocka_unit_test(networks_are_reached_by_address),
		cmocka_unit_test(many_networks),
		cmocka_unit_test(the_proxy_has_a_listener),
		cmocka_unit_test(a_mapped_address_is_the_plain_one),
		cmocka_unit_test(ranges_stand_beside_pairs),
		cmocka_unit_test(the_name_service_is_reached),
		cmocka_unit_test(when_all_is_closed_nothing_answers),
		cmocka_unit_test(without_nf_tables_pairs_have_listeners),
		cmocka_unit_test(the_first_failure_is_named),
		cmocka_unit_test(ranges),
		cmocka_unit_test(routes_and_addresses_agree),
		cmocka_unit_test(a_batch_that_does_not_fit_is_not_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
