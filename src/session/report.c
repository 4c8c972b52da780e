/* SPDX-License-Identifier: Apache-2.0 */
#include "session/report.h"

#include <stdlib.h>
#include <string.h>

#include "base/jsonw.h"

enum { ITEMS_MAX = 100000 };

const char *immure_fate_name(enum immure_fate f)
{
	static const char *const names[] = {
		[IMMURE_FATE_REMOVED] = "removed",
		[IMMURE_FATE_KEPT] = "kept",
		[IMMURE_FATE_FAILED] = "failed",
	};

	return (unsigned int)f < IMMURE_FATE_MAX ? names[f] : "";
}

static bool grow(struct immure_report *r)
{
	uint32_t cap = r->items_cap ? r->items_cap * 2 : 32;
	struct immure_report_item *v;

	if (r->items_n < r->items_cap)
		return true;
	v = r->items_n < ITEMS_MAX ? realloc(r->items, cap * sizeof(*v)) : NULL;
	if (!v)
		return false;
	r->items = v;
	r->items_cap = cap;
	return true;
}

void immure_report_add(struct immure_report *r, const char *session, const char *kind,
		       const char *what, enum immure_fate fate, const char *why)
{
	struct immure_report_item item = { .kind = kind, .fate = fate };

	r->count[fate]++;
	item.session = strdup(session ? session : "");
	item.what = strdup(what ? what : "");
	item.why = strdup(why ? why : "");
	if (item.session && item.what && item.why && grow(r)) {
		r->items[r->items_n++] = item;
		return;
	}
	r->failed = true;
	free(item.session);
	free(item.what);
	free(item.why);
}

void immure_report_done(struct immure_report *r)
{
	for (uint32_t i = 0; i < r->items_n; i++) {
		free(r->items[i].session);
		free(r->items[i].what);
		free(r->items[i].why);
	}
	free(r->items);
	memset(r, 0, sizeof(*r));
}

static void put_text(struct immure_buf *out, const char *s)
{
	immure_buf_put_printable(out, s, strlen(s));
}

void immure_report_text(const struct immure_report *r, struct immure_buf *out)
{
	for (uint32_t i = 0; i < r->items_n; i++) {
		const struct immure_report_item *it = &r->items[i];
		const char *fate = immure_fate_name(it->fate);

		immure_buf_printf(out, "%-13s ", r->dry_run && it->fate == IMMURE_FATE_REMOVED
							 ? "would remove" : fate);
		immure_buf_printf(out, "%-16s  %-9s  ", it->session[0] ? it->session : "-", it->kind);
		put_text(out, it->what);
		if (it->why[0]) {
			immure_buf_puts(out, ": ");
			put_text(out, it->why);
		}
		immure_buf_putc(out, '\n');
	}
	immure_buf_printf(out, "%u dead, %u ended, %u alive; %u %s, %u kept, %u failed in %llu.%03llu ms\n",
			  r->sessions, r->ended, r->alive, r->count[IMMURE_FATE_REMOVED],
			  r->dry_run ? "to remove" : "removed", r->count[IMMURE_FATE_KEPT],
			  r->count[IMMURE_FATE_FAILED], (unsigned long long)(r->wall_us / 1000),
			  (unsigned long long)(r->wall_us % 1000));
	if (r->repair_needed)
		immure_buf_printf(out, "repair needed: something of %u session%s is left; gc tries again\n",
				  r->repair_needed, r->repair_needed == 1 ? "" : "s");
	if (r->failed)
		immure_buf_puts(out, "out of memory: this list is not complete\n");
}

void immure_report_json(const struct immure_report *r, struct immure_buf *out)
{
	struct immure_jsonw w;

	immure_jsonw_init(&w, out, 2);
	immure_jsonw_object(&w, NULL);
	immure_jsonw_bool(&w, "dry_run", r->dry_run);
	immure_jsonw_uint(&w, "dead", r->sessions);
	immure_jsonw_uint(&w, "ended", r->ended);
	immure_jsonw_uint(&w, "alive", r->alive);
	for (unsigned int f = 0; f < IMMURE_FATE_MAX; f++)
		immure_jsonw_uint(&w, immure_fate_name((enum immure_fate)f), r->count[f]);
	immure_jsonw_uint(&w, "repair_needed", r->repair_needed);
	immure_jsonw_bool(&w, "complete", !r->failed);
	immure_jsonw_uint(&w, "wall_us", r->wall_us);
	immure_jsonw_array(&w, "resources");
	for (uint32_t i = 0; i < r->items_n; i++) {
		const struct immure_report_item *it = &r->items[i];

		immure_jsonw_object(&w, NULL);
		immure_jsonw_str(&w, "session", it->session[0] ? it->session : NULL);
		immure_jsonw_str(&w, "kind", it->kind);
		immure_jsonw_str(&w, "what", it->what);
		immure_jsonw_str(&w, "fate", immure_fate_name(it->fate));
		immure_jsonw_str(&w, "why", it->why[0] ? it->why : NULL);
		immure_jsonw_end(&w, '}');
	}
	immure_jsonw_end(&w, ']');
	immure_jsonw_end(&w, '}');
}
