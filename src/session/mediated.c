/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands of a session that somebody is asked about first (mediator.*). The request
 * is put aside whole, with its descriptors; when the mediator allows it, it is taken
 * again as if it came then, so that all that is checked is checked of that moment.
 * There are no lanes in such a session: init would start what nobody was asked about.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "session/mediate.h"
#include "session/serve.h"
#include "session/taskargs.h"

enum { ASKED_MAX = 64 };

struct immure_asked {
	struct immure_watch watch;
	struct immure_asked *next;
	struct immure_server *s;
	struct immure_client *client;
	struct immure_mediation mediation;
	char *text; /* the request as it came */
	size_t len;
	int fds[IMMURE_SERVE_FDS];
	size_t fds_n;
	uint64_t request;
	char *what;
};

static void asked_free(struct immure_server *s, struct immure_asked *d)
{
	for (struct immure_asked **at = &s->asked; *at; at = &(*at)->next)
		if (*at == d) {
			*at = d->next;
			break;
		}
	d->mediation.fd = immure_take_fd(&d->watch.fd);
	if (d->mediation.fd >= 0) /* out of the set, and open still */
		(void)epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, d->mediation.fd, NULL);
	immure_mediate_end(&d->mediation);
	for (size_t i = 0; i < d->fds_n; i++)
		immure_close(&d->fds[i]);
	free(d->text);
	free(d->what);
	free(d);
}

static void on_verdict(struct immure_server *s, struct immure_watch *w, uint32_t events)
{
	struct immure_asked *d = (struct immure_asked *)w; /* its first member */
	struct immure_error *err = NULL;
	struct immure_verdict v;

	(void)events;
	d->mediation.fd = w->fd;
	immure_mediate_read(&d->mediation, &v);
	if (v.decision == IMMURE_DECISION_ALLOW && !v.failed) {
		immure_ask_again(s, d->client, d->text, d->len, d->fds, d->fds_n);
	} else {
		(void)immure_mediate_refusal(s->plan, &v, d->what, &err);
		immure_answer_error(s, d->client, d->request, err);
		immure_error_free(err);
	}
	asked_free(s, d);
}

static const char *const *env_of(const struct immure_server *s, const struct immure_task_args *args)
{
	for (size_t i = 0; args->spec.env && args->spec.env[i]; i++)
		if (strncmp(args->spec.env[i], "PATH=", 5) == 0)
			return args->spec.env;
	return (const char *const *)s->plan->env.v;
}

static int put_aside(struct immure_ask *a, struct immure_asked *d)
{
	d->text = malloc(a->raw_len + 1);
	if (!d->text)
		return -ENOMEM;
	memcpy(d->text, a->raw, a->raw_len);
	d->text[a->raw_len] = '\0';
	d->len = a->raw_len;
	for (; d->fds_n < a->fds_n; d->fds_n++) {
		d->fds[d->fds_n] = fcntl(a->fds[d->fds_n], F_DUPFD_CLOEXEC, 10);
		if (d->fds[d->fds_n] < 0)
			return -errno;
	}
	return 0;
}

int32_t immure_mediated_ask(struct immure_ask *a, const struct immure_task_args *args)
{
	struct immure_server *s = a->s;
	const struct immure_mediate_about about = {
		.argv = args->spec.argv,
		.env = env_of(s, args),
		.cwd = args->spec.cwd && args->spec.cwd[0] ? args->spec.cwd : s->plan->cwd,
		.session = s->entry.id,
		.approval = args->approval,
	};
	struct immure_asked *d;
	size_t n = 0;
	int r;

	for (d = s->asked; d; d = d->next)
		n++;
	if (n >= ASKED_MAX)
		return immure_ask_fail(a, IMMURE_ERR_STATE, EAGAIN, "", "the mediator is being asked about %d "
				       "commands already", ASKED_MAX);
	d = calloc(1, sizeof(*d));
	if (!d)
		return immure_ask_fail(a, IMMURE_ERR_NOMEM, ENOMEM, "", "out of memory");
	*d = (struct immure_asked){ .s = s, .client = a->c, .request = a->id, .next = s->asked,
				    .watch = { .fd = -1, .ready = on_verdict }, .mediation = { .fd = -1 } };
	s->asked = d;
	d->what = strdup(args->spec.argv[0]);
	r = d->what ? put_aside(a, d) : -ENOMEM;
	if (r == 0)
		r = immure_mediate_start(s->plan, &about, &d->mediation);
	if (r == 0) {
		d->watch.fd = d->mediation.fd;
		r = immure_server_watch(s, &d->watch, EPOLLIN);
	}
	if (r < 0) {
		asked_free(s, d);
		return immure_ask_fail(a, IMMURE_ERR_LAUNCH, -r, "mediator.ask", "nobody can be asked: %s",
				       strerror(-r));
	}
	immure_life_touch(s);
	return 0;
}

void immure_mediated_client_gone(struct immure_server *s, const struct immure_client *c)
{
	for (struct immure_asked *d = s->asked, *next; d; d = next) {
		next = d->next;
		if (d->client == c)
			asked_free(s, d);
	}
}

void immure_mediated_done(struct immure_server *s)
{
	while (s->asked)
		asked_free(s, s->asked);
}
