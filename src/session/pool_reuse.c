/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions that come back. Their servers say whether they are clean (reuse.c); here it is
 * written down and shown, and seen to that nobody gets what another user had. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "session/pool.h"

int32_t immure_pool_reuse_new(struct immure_holder *p, struct immure_error **err)
{
	p->reuse = calloc(1, sizeof(*p->reuse));
	if (!p->reuse)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "pool", "reuse", "out of memory");
	p->reuse->journal = (struct immure_journal)IMMURE_JOURNAL_INIT;
	return 0;
}

int32_t immure_pool_reuse_begin(struct immure_holder *p, struct immure_error **err)
{
	int32_t r = immure_reuse_possible(p->plan, err);
	int e;

	if (r < 0)
		return r;
	e = immure_journal_create(p->entry.dir_fd, &p->reuse->journal);
	p->reuse->journal.brief = true;
	return e == 0 ? 0 : immure_fail(err, IMMURE_ERR_IO, -e, "journal", "", "the journal cannot be written: %s",
					strerror(-e));
}

void immure_pool_reuse_done(struct immure_holder *p)
{
	if (p->reuse)
		immure_journal_done(&p->reuse->journal);
	free(p->reuse);
	p->reuse = NULL;
}

bool immure_pool_reuse_may(const struct immure_pool_slot *s, const struct immure_pool_client *c)
{
	return s->uses == 0 || s->uid == c->uid;
}

/* ---- what came of it ---- */

static uint64_t number(const struct immure_jsonr *j, const char *key)
{
	const struct immure_jsonr_value *v = immure_jsonr_get(j, &j->v[0], key);

	return v && v->type == IMMURE_JSON_INTEGER ? (uint64_t)v->integer : 0;
}

static void count_rows(struct immure_pool_reuse *u, const char *rows)
{
	while (*rows) {
		size_t n = strcspn(rows, " ");

		for (int i = 0; i < IMMURE_SPOT_MAX; i++) {
			const char *name = immure_spot_name((enum immure_spot)i);

			u->rows[i] += strlen(name) == n && strncmp(rows, name, n) == 0;
		}
		rows += n + (rows[n] == ' ');
	}
}

static void write_down(struct immure_pool_reuse *u, const struct immure_pool_slot *s, const struct immure_jsonr *j,
		       bool clean)
{
	const struct immure_jsonr_value *rows = immure_jsonr_get(j, &j->v[0], "rows");
	struct immure_pool_proof *proof = &u->proofs[u->proofs_n++ % IMMURE_POOL_PROOFS];
	char detail[400];

	*proof = (struct immure_pool_proof){ .at_ms = immure_now_ms(), .use = number(j, "use"),
					     .took_us = number(j, "took_us"), .clean = clean };
	memcpy(proof->session, s->id, sizeof(proof->session));
	(void)snprintf(proof->rows, sizeof(proof->rows), "%s",
		       rows && rows->type == IMMURE_JSON_STRING ? rows->text : "");
	if (clean)
		u->reused++;
	else
		u->refused++;
	count_rows(u, proof->rows);
	(void)snprintf(detail, sizeof(detail), "session=%s use=%llu rows=%d took_us=%llu %s", proof->session,
		       (unsigned long long)proof->use, IMMURE_SPOT_MAX, (unsigned long long)proof->took_us,
		       proof->rows);
	/* A full disk must not end the pool. */
	(void)immure_journal_note(&u->journal, IMMURE_JK_REUSE, clean ? "clean" : "dirty", detail);
}

bool immure_pool_reuse_answer(struct immure_holder *p, struct immure_pool_slot *s, const struct immure_jsonr *j,
			      int *fds)
{
	const struct immure_jsonr_value *event = immure_jsonr_get(j, &j->v[0], "event"),
					*ok = immure_jsonr_get(j, &j->v[0], "ok");
	bool clean;

	if (!p->reuse)
		return true;
	if (event && event->type == IMMURE_JSON_STRING && s->state == IMMURE_SLOT_USED) {
		clean = strcmp(event->text, "clean") == 0;
		write_down(p->reuse, s, j, clean);
		if (!clean) /* it ends by itself */
			return true;
		s->uses++;
		s->caller = 0;
		immure_wipe(s->owner, sizeof(s->owner));
		(void)immure_pool_move(&p->book, &s->state, IMMURE_SLOT_MAKING);
		s->deadline_ms = immure_pool_us() / 1000 + IMMURE_POOL_MAKE_MS;
		return immure_pool_ask_lend(s) == 0;
	}
	if (s->state != IMMURE_SLOT_MAKING || !ok || !ok->integer || fds[0] < 0)
		return s->state != IMMURE_SLOT_MAKING;
	s->lent_fd = immure_take_fd(&fds[0]);
	s->lane_fd = immure_take_fd(&fds[1]);
	s->wall_ms = number(j, "timeout_ms");
	if (s->uses)
		immure_pool_slot_ready(p, s);
	else
		immure_pool_slot_made(p, s);
	return true;
}

/* ---- shown ---- */

void immure_pool_reuse_json(const struct immure_holder *p, struct immure_jsonw *w)
{
	const struct immure_pool_reuse *u = p->reuse;
	uint64_t n = u ? u->proofs_n : 0;

	immure_jsonw_bool(w, "reuse", u != NULL);
	if (!u)
		return;
	immure_jsonw_uint(w, "reused", u->reused);
	immure_jsonw_uint(w, "refused", u->refused);
	immure_jsonw_object(w, "refused_reuse");
	for (int i = 0; i < IMMURE_SPOT_MAX; i++)
		if (u->rows[i])
			immure_jsonw_uint(w, immure_spot_name((enum immure_spot)i), u->rows[i]);
	if (u->other_owner)
		immure_jsonw_uint(w, "other_owner", u->other_owner);
	immure_jsonw_end(w, '}');
	immure_jsonw_array(w, "proofs");
	for (uint64_t i = n > IMMURE_POOL_PROOFS ? n - IMMURE_POOL_PROOFS : 0; i < n; i++) {
		const struct immure_pool_proof *proof = &u->proofs[i % IMMURE_POOL_PROOFS];

		immure_jsonw_object(w, NULL);
		immure_jsonw_str(w, "session", proof->session);
		immure_jsonw_uint(w, "at_ms", proof->at_ms);
		immure_jsonw_uint(w, "use", proof->use);
		immure_jsonw_bool(w, "clean", proof->clean);
		immure_jsonw_uint(w, "rows_looked_at", IMMURE_SPOT_MAX);
		immure_jsonw_str(w, "not_as_before", proof->rows);
		immure_jsonw_uint(w, "took_us", proof->took_us);
		immure_jsonw_end(w, '}');
	}
	immure_jsonw_end(w, ']');
}
