/* SPDX-License-Identifier: Apache-2.0 */
/* From an empty process to one that is closed in and ready; the rules that replace those in
 * force. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/fdmsg.h"
#include "egress/confine.h"
#include "intercept/intercept.h"

enum { ROOTS_MAX = 16 << 20, MEMORY_MAX = 512 << 20 };

static int failed(struct intercept *in, int r, const char *why)
{
	if (r < 0)
		in->why = why;
	return r;
}

static int load(struct intercept *in, int fd, struct immure_arena *a, struct immure_egress_config *c,
		struct immure_judge *j, char *why, size_t len)
{
	struct immure_complaint complaint = { 0 };
	int r = immure_egress_config_load(a, fd, c);

	(void)in;
	if (r == 0)
		r = immure_judge_init(a, &c->allow, &c->deny, j, &complaint);
	if (r == 0) /* it is in its place for the gatekeeper, which looks into TLS there */
		r = immure_judge_secrets(a, &c->attribute, j, &complaint);
	if (r < 0) {
		(void)snprintf(why, len, "the rules cannot be read: %s",
			       complaint.text[0] ? complaint.text : strerror(-r));
		return r;
	}
	j->private_ok = c->private_ok;
	j->intercepts = true;
	return 0;
}

static void attribute(struct intercept *in)
{
	in->attribution = (struct immure_attribution){
		.rules = in->judge.secret, .rules_n = in->judge.secret_n, .fields = &in->config.fields };
}

int immure_intercept_policy(struct intercept *in, int config_fd, char *ret_why, size_t len)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_egress_config c;
	struct immure_judge j;
	int r = load(in, config_fd, &a, &c, &j, ret_why, len);

	if (r < 0) {
		immure_arena_done(&a);
		return r;
	}
	immure_arena_done(&in->arena);
	in->arena = a;
	in->config = c;
	in->judge = j;
	attribute(in);
	for (struct lent *l = in->lents, *next; l; l = next) {
		next = l->next;
		immure_lent_rejudge(l);
	}
	return 0;
}

static int read_roots(struct intercept *in, int fd)
{
	struct stat st;
	size_t n = 0, size;
	char *pem;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size > ROOTS_MAX)
		return -E2BIG;
	size = (size_t)st.st_size;
	pem = malloc(size + 1);
	if (!pem)
		return -ENOMEM;
	while (n < size) {
		ssize_t got = pread(fd, pem + n, size - n, (off_t)n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		n += (size_t)got;
	}
	immure_tls_lib_roots(in->tls, pem, n);
	return 0;
}

/* The supervisor sends these at once; one that does not is none. */
static int receive(struct intercept *in, uint32_t type, struct immure_lend_msg *m,
		   int fds[IMMURE_LEND_FDS])
{
	struct pollfd p = { .fd = in->control_fd, .events = POLLIN };
	int r;

	do
		r = poll(&p, 1, 10000);
	while (r < 0 && errno == EINTR);
	r = immure_lend_recv(in->control_fd, m, fds);
	if (r == 1 && m->type == type)
		return 0;
	immure_close_all(fds, IMMURE_LEND_FDS);
	return r < 0 ? r : -EPROTO;
}

static int take_secret(struct intercept *in)
{
	int fds[IMMURE_LEND_FDS], r;
	struct immure_lend_msg m;
	const char *why;

	r = receive(in, IMMURE_LEND_SECRET, &m, fds);
	if (r < 0)
		return failed(in, r, "no SECRET");
	r = immure_secrets_add(&in->secrets, &in->fixed, &m.secret, fds[0], &why);
	immure_close_all(fds, IMMURE_LEND_FDS);
	if (r < 0) {
		(void)snprintf(in->why_text, sizeof(in->why_text), "secret %s: %s", m.secret.name, why);
		return failed(in, r, in->why_text);
	}
	return 0;
}

static int begin(struct intercept *in, struct immure_lend_msg *authority)
{
	int fds[IMMURE_LEND_FDS], r;
	struct immure_lend_msg m;
	char why[256] = "";

	r = receive(in, IMMURE_LEND_BEGIN, &m, fds);
	if (r < 0)
		return failed(in, r, "no BEGIN");
	r = load(in, fds[0], &in->arena, &in->config, &in->judge, why, sizeof(why));
	if (r < 0) {
		(void)snprintf(in->why_text, sizeof(in->why_text), "%s", why);
		in->why = in->why_text;
	}
	attribute(in);
	if (r == 0)
		r = immure_tls_lib_new(m.begin.days, fds[2], authority->authority.pem,
				       sizeof(authority->authority.pem), &in->tls, &in->why);
	if (r == 0)
		r = failed(in, read_roots(in, fds[1]), "certificates to trust");
	immure_close_all(fds, IMMURE_LEND_FDS);
	for (uint32_t i = 0; i < m.begin.secrets_n && r == 0; i++)
		r = take_secret(in);
	return r;
}

/* So that what is kept of a session can be looked through by those who do not know them. */
static int tell_marks(struct intercept *in)
{
	int r = 0;

	for (size_t i = 0; i < in->secrets.n && r == 0; i++) {
		struct immure_lend_msg m = { .type = IMMURE_LEND_MARK };

		r = immure_secrets_mark(&in->secrets, i, &m.mark);
		if (r == 0)
			r = immure_lend_send(in->control_fd, &m, NULL, 0);
	}
	return failed(in, r, "what secrets are known by");
}

int immure_intercept_start(struct intercept *in)
{
	struct immure_lend_msg m = { .type = IMMURE_LEND_AUTHORITY };
	struct epoll_event e = { .events = EPOLLIN };
	uint32_t abi;
	int flags = fcntl(in->control_fd, F_GETFL);
	int r = failed(in, immure_secrets_init(&in->secrets), "memory for secrets");

	if (r == 0 && (flags < 0 || fcntl(in->control_fd, F_SETFL, flags | O_NONBLOCK) < 0))
		r = failed(in, -errno, "control socket");
	if (r == 0)
		r = begin(in, &m);
	if (r == 0)
		r = tell_marks(in);
	if (r == 0) {
		in->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
		e.data.ptr = in;
		r = in->epoll_fd < 0 ||
		    epoll_ctl(in->epoll_fd, EPOLL_CTL_ADD, in->control_fd, &e) < 0 ? -errno : 0;
		(void)failed(in, r, "event loop");
	}
	if (r == 0)
		r = immure_confine("intercept", MEMORY_MAX, true, &abi, &in->why);
	if (r == 0)
		r = failed(in, immure_lend_send(in->control_fd, &m, NULL, 0), "the supervisor");
	return r;
}

void immure_intercept_done(struct intercept *in)
{
	while (in->lents)
		immure_lent_end(in->lents, true);
	immure_secrets_done(&in->secrets);
	immure_tls_lib_free(in->tls);
	immure_arena_done(&in->arena);
	immure_arena_done(&in->fixed);
	immure_close(&in->epoll_fd);
	immure_close(&in->link_fd);
}
