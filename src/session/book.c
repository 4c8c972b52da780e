/* SPDX-License-Identifier: Apache-2.0 */
/* The session's directory as its server keeps it: the entry, the status, the
 * control socket, and what the journal has to say. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "session/serve.h"

/* From here on nothing is made in the world that is not written down first. */
static int32_t open_journal(struct immure_server *s, struct immure_error **err)
{
	int r = immure_journal_create(s->entry.dir_fd, &s->journal);
	const char *agent = immure_plan_agent(s->plan);
	char about[128];

	(void)snprintf(about, sizeof(about), "agent=%s", agent);
	s->journal.brief = s->remove && s->meta.lifetime == IMMURE_LIFETIME_CALLER;
	if (r == 0)
		r = immure_journal_intent(&s->journal, IMMURE_JK_SESSION, s->entry.id, agent[0] ? about : NULL,
					  &s->session_seq);
	if (r == 0)
		r = immure_journal_result(&s->journal, IMMURE_JK_SESSION, s->session_seq, 0,
					  s->meta.plan_hash);
	s->sealed.journal = &s->journal;
	s->sealed.session = s->entry.id;
	return r == 0 ? 0 : immure_fail(err, IMMURE_ERR_IO, -r, "journal", "",
					"the journal cannot be written: %s", strerror(-r));
}

int32_t immure_book_create(struct immure_server *s, const char *runtime_dir, struct immure_error **err)
{
	const struct immure_plan_file plan = { s->plan_data, s->plan_len, s->many ? s->many->plan_fd : -1 };
	struct immure_meta *m = &s->meta;
	int32_t r = immure_registry_open(runtime_dir, true, &s->registry, err);

	if (r < 0)
		return r;
	(void)snprintf(m->policy_version, sizeof(m->policy_version), "%s", s->plan->policy_version);
	(void)snprintf(m->plan_hash, sizeof(m->plan_hash), "%s", immure_plan_hash_of(s->plan));
	(void)snprintf(m->backend, sizeof(m->backend), "%s", s->plan->backend);
	(void)snprintf(m->profile, sizeof(m->profile), "%s", s->plan->profile);
	r = immure_entry_create(&s->registry, m, &plan, &s->entry, err);
	if (s->many)
		immure_close(&s->many->plan_fd);
	return r < 0 ? r : open_journal(s, err);
}

/* To those who asked for it. Who does not read has a gap in the numbers and asks for it. */
static void tell_clients(struct immure_server *s, size_t number, const struct immure_denial *d,
			 const char *line)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	immure_jsonw_init(&w, &b, 0);
	immure_jsonw_object(&w, NULL);
	immure_jsonw_str(&w, "event", "denial");
	immure_jsonw_uint(&w, "number", number);
	immure_jsonw_bool(&w, "failed", d->failed);
	immure_jsonw_str(&w, "line", line);
	immure_result_denial_json("denial", d, &w);
	immure_jsonw_end(&w, '}');
	for (struct immure_client *c = s->clients; c && immure_buf_ok(&b); c = c->next)
		if (c->denials && !c->stuck)
			immure_client_send(s, c, b.data, b.len, NULL, 0);
	immure_buf_done(&b);
}

bool immure_book_denial(void *ctx, size_t number, const struct immure_denial *d, const char *line)
{
	struct immure_server *s = ctx;
	char what[300];

	if (s->attacking) /* it is tried on purpose, and forgotten */
		return false;
	(void)snprintf(what, sizeof(what), d->port ? "%s:%u" : "%s", d->host, d->port); /* fits */
	if (s->journal.fd >= 0) /* a full disk must not end the session */
		(void)immure_journal_note(&s->journal, IMMURE_JK_DENIAL, what, line);
	tell_clients(s, number, d, line);
	return false; /* it may be that nobody has read it */
}

void immure_book_status(struct immure_server *s, const char *note)
{
	struct immure_status st = { .used_ms = immure_now_ms() };

	if (s->entry.dir_fd < 0)
		return;
	(void)snprintf(st.state, sizeof(st.state), "%s", immure_state_name(s->state));
	(void)snprintf(st.note, sizeof(st.note), "%s", note);
	st.running = (uint32_t)s->alive;
	st.started = s->shared ? s->shared->started : s->next_task - 1;
	/* What was found out when it was made is true as long as it lives. */
	if (s->state == IMMURE_STATE_RUNNING && s->sealed.init_id.pid == s->sealed.child.pid)
		st.init = s->sealed.init_id;
	else if (s->sealed.child.pid > 0)
		(void)immure_procid_of(s->sealed.child.pid, &st.init, NULL); /* gone: it has none */
	/* It is RUNNING, or gone, in a moment, unless it waits for somebody. Each file that is
	 * replaced slows down the making of the next on some file systems. */
	if (s->state != IMMURE_STATE_PREPARED || s->waits)
		(void)immure_entry_set_status(&s->entry, &st); /* a full disk must not end the session */
	if (s->journal.fd >= 0) /* as above */
		(void)immure_journal_note(&s->journal, IMMURE_JK_STATE, st.state, note[0] ? note : NULL);
}

int32_t immure_book_listen(struct immure_server *s, struct immure_error **err)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	IMMURE_CLEANUP_FD int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r;

	(void)immure_entry_socket(&s->entry, at.sun_path, sizeof(at.sun_path));
	r = fd < 0 ? -errno : immure_journal_intent(&s->journal, IMMURE_JK_SOCKET, "control", NULL,
						    &s->socket_seq);
	if (r == 0 && (bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 512) < 0))
		r = -errno;
	if (r == 0) {
		s->listener = (struct immure_watch){ .fd = immure_take_fd(&fd),
						     .ready = immure_client_accept };
		r = immure_server_watch(s, &s->listener, EPOLLIN);
	}
	if (s->socket_seq && r == 0)
		r = immure_journal_result(&s->journal, IMMURE_JK_SOCKET, s->socket_seq, 0, NULL);
	if (r < 0)
		return immure_fail(err, IMMURE_ERR_LAUNCH, -r, "session", "control",
				   "cannot listen on the control socket: %s", strerror(-r));
	return 0;
}

/* The end, as far as it goes: what could not be undone stays on record for gc. */
void immure_book_end(struct immure_server *s)
{
	bool keep = !s->remove && s->meta.lifetime != IMMURE_LIFETIME_CALLER && !s->exit_status;
	char left[4096];

	immure_server_unwatch(s, &s->listener);
	if (s->entry.dir_fd < 0) {
		immure_registry_done(&s->registry);
		return;
	}
	if (unlinkat(s->entry.dir_fd, "control", 0) == 0 && s->socket_seq)
		(void)immure_journal_gone(&s->journal, IMMURE_JK_SOCKET, s->socket_seq, NULL); /* gc looks */
	immure_server_state(s, IMMURE_STATE_SEALED, s->over_memory ? "limits.memory" : "");
	if (!s->repair)
		(void)immure_journal_gone(&s->journal, IMMURE_JK_SESSION, s->session_seq, NULL); /* as above */
	immure_journal_done(&s->journal);
	if (!keep && !s->repair &&
	    immure_entry_remove(&s->registry, &s->entry, left, sizeof(left)) < 0)
		s->exit_status = 1;
	immure_entry_done(&s->entry);
	immure_registry_done(&s->registry);
}

int immure_book_exec_asked(struct immure_server *s, struct immure_task *t)
{
	const char *subject = t->key ? t->key :
			      immure_plan_find(s->plan, IMMURE_OP_JOURNAL) ? t->what : NULL;

	return subject ? immure_journal_intent(&s->journal, IMMURE_JK_EXEC, subject, NULL, &t->journal) : 0;
}

void immure_book_exec_started(struct immure_server *s, struct immure_task *t, int errnum)
{
	char text[64];

	if (!t->journal)
		return;
	(void)snprintf(text, sizeof(text), "pid=%d exec=%llu", t->pid, (unsigned long long)t->id);
	/* Not written: after a crash it may have run, which is what an intent says. */
	(void)immure_journal_result(&s->journal, IMMURE_JK_EXEC, t->journal, errnum,
				    errnum ? NULL : text);
	if (errnum)
		t->journal = 0;
}

void immure_book_exec_ended(struct immure_server *s, struct immure_task *t)
{
	char text[64];

	if (!t->journal)
		return;
	(void)snprintf(text, sizeof(text), "status=%d", t->end.status);
	(void)immure_journal_gone(&s->journal, IMMURE_JK_EXEC, t->journal, text); /* as above */
	t->journal = 0;
}
