/* SPDX-License-Identifier: Apache-2.0 */
#include "session/handover.h"

#include <errno.h>

#include "session/ticket.h"

static const uint64_t valid_default_ms = 600000, valid_max_ms = 30ULL * 24 * 3600000;

/* The session is nobody's in particular from now on. */
static void let_go(struct immure_server *s, const char *whom)
{
	s->handover_ms = 0;
	if (s->meta.lifetime != IMMURE_LIFETIME_CALLER)
		return;
	s->meta.lifetime = s->life_end_ms ? IMMURE_LIFETIME_LEASED : IMMURE_LIFETIME_DETACHED;
	(void)immure_entry_set_meta(&s->entry, &s->meta); /* what others read; ours stands */
	if (s->journal.fd >= 0) /* a full disk must not end the session */
		(void)immure_journal_note(&s->journal, IMMURE_JK_DETACH, immure_lifetime_name(s->meta.lifetime),
					  whom);
}

int32_t immure_handover_detach(struct immure_ask *a)
{
	char ticket[IMMURE_TICKET_LEN + 1];
	struct immure_buf b = IMMURE_BUF_INIT;
	uint64_t valid = valid_default_ms;
	struct immure_jsonw w;
	bool wanted = false;
	int32_t r = immure_arg_bool(a, "ticket", &wanted);

	if (r == 0)
		r = immure_arg_uint(a, "valid_ms", valid_max_ms, &valid);
	if (r == 0 && wanted && valid == 0)
		r = immure_ask_fail(a, IMMURE_ERR_INVALID, ERANGE, "valid_ms", "a ticket that is valid for no time");
	if (r == 0 && wanted)
		r = immure_ticket_issue(&a->s->entry, &a->s->journal, valid, ticket, &a->err);
	if (r < 0)
		return r;
	if (!wanted) {
		let_go(a->s, "at once");
		immure_answer_ok(a->s, a->c, a->id);
		return 0;
	}
	immure_answer_begin(&w, &b, a->id);
	immure_jsonw_str(&w, "ticket", ticket);
	immure_jsonw_uint(&w, "valid_ms", valid);
	immure_answer_send(a->s, a->c, &w, NULL, 0);
	return 0;
}

bool immure_handover_goes_on(struct immure_server *s)
{
	struct immure_ticket_info t;
	uint64_t now = immure_now_ms();

	if (s->entry.dir_fd < 0 || immure_ticket_current(&s->entry, &t) < 0)
		return false;
	if (t.acknowledged) {
		let_go(s, "acknowledged");
		return true;
	}
	/* Until it is void; a millisecond later it is known to be. */
	s->handover_ms = immure_server_ms() + (t.until_ms > now ? t.until_ms - now : 0) + 1;
	immure_life_arm(s);
	return true;
}

void immure_handover_tick(struct immure_server *s)
{
	struct immure_ticket_info t;

	s->handover_ms = 0;
	if (immure_ticket_current(&s->entry, &t) == 0 && t.acknowledged)
		let_go(s, "acknowledged");
	else
		immure_server_stop(s, 2000, "the program that made it has ended, and nobody took it over");
}
