/* SPDX-License-Identifier: Apache-2.0 */
/* What is recorded of sessions, and the removal of what they left. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/jsonw.h"
#include "facts/facts.h"
#include "lib/options.h"
#include "session/gc.h"
#include "session/journal.h"
#include "session/ticket.h"

/* ---- reports ---- */

static int32_t new_report(struct immure_report **ret, struct immure_error **err)
{
	struct immure_report *r = calloc(1, sizeof(*r));

	if (!r)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "gc", "", "out of memory");
	*ret = r;
	return 0;
}

uint64_t immure_report_count(const immure_report *report, int32_t fate)
{
	return report && fate >= 0 && fate < IMMURE_FATE_MAX ? report->count[fate] : 0;
}

void immure_report_free(immure_report *report)
{
	if (report)
		immure_report_done(report);
	free(report);
}

static int32_t give_text(struct immure_buf *b, char **ret, struct immure_error **err)
{
	char *text = immure_buf_take(b);

	if (!text)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "gc", "", "out of memory");
	*ret = text;
	return 0;
}

int32_t immure_report_print(const immure_report *report, int32_t json, char **ret, immure_error **err)
{
	struct immure_buf b = IMMURE_BUF_INIT;

	if (!report || !ret)
		return immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "gc", "",
				   "report: nothing to print, or no place for it");
	if (json)
		immure_report_json(report, &b);
	else
		immure_report_text(report, &b);
	return give_text(&b, ret, err);
}

/* ---- gc ---- */

int32_t immure_gc(const struct immure_gc_options *options, immure_report **ret, immure_error **err)
{
	const struct immure_gc_options none = { .size = sizeof(none) };
	struct immure_report *report = NULL;
	struct immure_facts *places = NULL;
	struct immure_gc_options o;
	int32_t r = immure_options_copy(&o, sizeof(o), options ? options : &none, "gc", err);

	if (r == 0 && !ret)
		r = immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "api", "ret", "no place for the report");
	if (r == 0 && (o.flags & ~(uint32_t)(IMMURE_GC_DRY_RUN | IMMURE_GC_FORCE | IMMURE_GC_ENDED)))
		r = immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "api", "flags", "unknown flags");
	if (r == 0)
		r = immure_facts_places(o.env, &places, err);
	if (r == 0)
		r = new_report(&report, err);
	if (r == 0) {
		const struct immure_gc gc = {
			.runtime_dir = places->runtime_dir,
			.state_dir = places->state_dir,
			.dry_run = o.flags & IMMURE_GC_DRY_RUN,
			.force = o.flags & IMMURE_GC_FORCE,
			.ended = o.flags & IMMURE_GC_ENDED,
			.grace_ms = o.grace_ms,
		};

		r = immure_gc_run(&gc, report, err);
	}
	immure_facts_destroy(places);
	if (r < 0)
		immure_report_free(report);
	else
		*ret = report;
	return r;
}

/* ---- one session ---- */

struct place {
	struct immure_facts *places;
	struct immure_registry registry;
	struct immure_entry entry;
};

static void close_place(struct place *p)
{
	immure_entry_done(&p->entry);
	immure_registry_done(&p->registry);
	immure_facts_destroy(p->places);
}

/* The journal of a run is named by its directory. */
static int32_t open_directory(const char *path, struct place *ret, struct immure_error **err)
{
	struct place p = { .registry = IMMURE_REGISTRY_INIT, .entry = IMMURE_ENTRY_INIT };

	p.entry.dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p.entry.dir_fd < 0)
		return immure_fail(err, IMMURE_ERR_IO, errno, "journal", path, "%s: %s", path, strerror(errno));
	*ret = p;
	return 0;
}

static int32_t open_place(const char *session, const char *const *env, struct place *ret,
			  struct immure_error **err)
{
	struct place p = { .registry = IMMURE_REGISTRY_INIT, .entry = IMMURE_ENTRY_INIT };
	int32_t r = immure_facts_places(env, &p.places, err);

	if (r == 0)
		r = immure_registry_open(p.places->runtime_dir, false, &p.registry, err);
	if (r == 0)
		r = immure_entry_find(&p.registry, session, &p.entry, err);
	if (r < 0)
		close_place(&p);
	else
		*ret = p;
	return r;
}

/* A ticket whose session is gone is as invalid as one that never was. */
static int32_t open_ticket(const char *ticket, const char *const *env, struct place *ret,
			   struct immure_error **err)
{
	char id[IMMURE_ID_LEN + 1];
	struct immure_error *why = NULL;
	int32_t r;

	if (!ticket || !immure_ticket_parse(ticket, id))
		return immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "ticket", "",
				   "this is not a ticket; one looks like imt-SESSION-SECRET");
	r = open_place(id, env, ret, &why);
	if (r == -IMMURE_ERR_NO_SESSION) {
		immure_error_free(why);
		return immure_fail(err, IMMURE_ERR_NO_SESSION, ENOENT, "ticket", id,
				   "the ticket is not valid: its session %s is gone", id);
	}
	if (r < 0 && err && !*err)
		*err = why;
	else
		immure_error_free(why);
	return r;
}

int32_t immure_acknowledge(const char *ticket, const char *const *env, immure_error **err)
{
	struct place p;
	int32_t r = open_ticket(ticket, env, &p, err);

	if (r < 0)
		return r;
	r = immure_ticket_acknowledge(&p.entry, ticket, err);
	close_place(&p);
	return r;
}

int32_t immure_reclaim(const char *ticket, const struct immure_reclaim_options *options,
		       immure_report **ret, immure_error **err)
{
	const struct immure_reclaim_options none = { .size = sizeof(none) };
	struct immure_report *report = NULL;
	struct immure_reclaim_options o;
	struct place p;
	int32_t r = immure_options_copy(&o, sizeof(o), options ? options : &none, "reclaim", err);

	if (r == 0 && (!ret || (o.flags & ~(uint32_t)IMMURE_GC_FORCE)))
		r = immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "api", "", "no place for the report, or "
									     "unknown flags");
	if (r == 0)
		r = open_ticket(ticket, o.env, &p, err);
	if (r < 0)
		return r;
	r = new_report(&report, err);
	if (r == 0)
		r = immure_ticket_use(&p.entry, ticket, err);
	if (r == 0) {
		const struct immure_gc gc = {
			.runtime_dir = p.places->runtime_dir,
			.force = o.flags & IMMURE_GC_FORCE,
		};

		r = immure_gc_session(&gc, &p.registry, &p.entry, o.stop_ms ? o.stop_ms : 10000, report,
				      err);
	}
	close_place(&p);
	if (r < 0)
		immure_report_free(report);
	else
		*ret = report;
	return r;
}

/* ---- the journal ---- */

struct printing {
	struct immure_buf out;
	struct immure_jsonw w;
	bool json;
};

static int print_record(void *ctx, const struct immure_journal_record *r)
{
	struct printing *p = ctx;

	if (p->json) {
		immure_jsonw_object(&p->w, NULL);
		immure_jsonw_uint(&p->w, "seq", r->seq);
		immure_jsonw_uint(&p->w, "ms", r->ms);
		immure_jsonw_str(&p->w, "kind", immure_journal_kind_name(r->kind));
		immure_jsonw_str(&p->w, "phase", immure_journal_phase_name(r->phase));
		if (r->of)
			immure_jsonw_uint(&p->w, "of", r->of);
		if (r->subject[0])
			immure_jsonw_str(&p->w, "subject", r->subject);
		if (r->detail[0])
			immure_jsonw_str(&p->w, "detail", r->detail);
		immure_jsonw_end(&p->w, '}');
		return 0;
	}
	immure_buf_printf(&p->out, "%6llu  %llu.%03llu  %-10s %-8s", (unsigned long long)r->seq,
			  (unsigned long long)(r->ms / 1000), (unsigned long long)(r->ms % 1000),
			  immure_journal_kind_name(r->kind), immure_journal_phase_name(r->phase));
	if (r->of)
		immure_buf_printf(&p->out, " of %llu", (unsigned long long)r->of);
	if (r->subject[0]) {
		immure_buf_putc(&p->out, ' ');
		immure_buf_put_printable(&p->out, r->subject, strlen(r->subject));
	}
	if (r->detail[0]) {
		immure_buf_puts(&p->out, r->subject[0] ? " | " : " ");
		immure_buf_put_printable(&p->out, r->detail, strlen(r->detail));
	}
	immure_buf_putc(&p->out, '\n');
	return 0;
}

/* What has been begun and not ended: what would be looked into after a crash. */
static void print_standing(struct printing *p, int dir_fd)
{
	struct immure_standing *s = NULL;
	size_t n = 0;

	(void)immure_journal_standing(dir_fd, &s, &n); /* the good part is what was printed */
	if (p->json) {
		immure_jsonw_array(&p->w, "standing");
		for (size_t i = 0; i < n; i++)
			immure_jsonw_uint(&p->w, NULL, s[i].seq);
		immure_jsonw_end(&p->w, ']');
	} else {
		immure_buf_puts(&p->out, "standing:");
		for (size_t i = 0; i < n; i++)
			immure_buf_printf(&p->out, " %llu", (unsigned long long)s[i].seq);
		immure_buf_puts(&p->out, n ? "\n" : " nothing\n");
	}
	immure_standing_free(s, n);
}

int32_t immure_journal_print(const char *session, const char *const *env, int32_t json, char **ret,
			     immure_error **err)
{
	struct printing p = { .json = json != 0 };
	uint64_t torn = 0;
	struct place place;
	int32_t r, k;

	if (!session || !ret)
		return immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "api", "", "no session, or no place "
									       "for the journal");
	r = strchr(session, '/') ? open_directory(session, &place, err) : open_place(session, env, &place, err);
	if (r < 0)
		return r;
	immure_jsonw_init(&p.w, &p.out, 0);
	if (p.json) {
		immure_jsonw_object(&p.w, NULL);
		immure_jsonw_str(&p.w, "session", place.entry.id);
		immure_jsonw_array(&p.w, "records");
	}
	k = immure_journal_read(place.entry.dir_fd, true, print_record, &p, &torn);
	if (p.json)
		immure_jsonw_end(&p.w, ']');
	if (k == 0 || k == -EBADMSG)
		print_standing(&p, place.entry.dir_fd);
	if (p.json) {
		immure_jsonw_uint(&p.w, "torn_bytes", torn);
		immure_jsonw_bool(&p.w, "intact", k == 0);
		immure_jsonw_end(&p.w, '}');
		immure_buf_putc(&p.out, '\n');
	}
	if (k < 0 && k != -EBADMSG) {
		immure_buf_done(&p.out);
		r = immure_fail(err, IMMURE_ERR_IO, k, "journal", session, "%s: no journal: %s", session,
				strerror(-k));
	} else {
		r = give_text(&p.out, ret, err);
	}
	if (r == 0 && k < 0)
		r = immure_fail(err, IMMURE_ERR_TRUST, k, "journal", session,
				"%s: its journal was changed by somebody; what is shown is good", session);
	close_place(&place);
	return r;
}
