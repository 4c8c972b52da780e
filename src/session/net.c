/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of a limited network, shown and changed while the session lives. What
 * is allowed anew is not denied any more and the other way round; where both say
 * something of a host, deny wins as ever. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/netrule.h"
#include "session/serve.h"

enum { VALUES = 4096 };

static int32_t take(struct immure_ask *a, const char *key, struct immure_strv *ret)
{
	const struct immure_jsonr_value *v = immure_jsonr_get(&a->json, a->root, key), *e;

	if (!v || v->type == IMMURE_JSON_NULL)
		return 0;
	for (e = immure_jsonr_first(&a->json, v); e; e = immure_jsonr_after(&a->json, v, e))
		if (e->type != IMMURE_JSON_STRING || !immure_strv_add(&a->arena, ret, e->text))
			return immure_ask_fail(a, IMMURE_ERR_INVALID, 0, key, "%s is a list of rules", key);
	if (v->type != IMMURE_JSON_ARRAY)
		return immure_ask_fail(a, IMMURE_ERR_INVALID, 0, key, "%s is a list of rules", key);
	return 0;
}

/* Adds what is in force now and is neither there already nor taken back. */
static bool keep(struct immure_ask *a, const struct immure_jsonr *now, const char *key,
		 struct immure_strv *to, const struct immure_strv *back)
{
	const struct immure_jsonr_value *v = immure_jsonr_get(now, now->v, key), *e;

	for (e = immure_jsonr_first(now, v); e; e = immure_jsonr_after(now, v, e))
		if (!immure_strv_has(to, e->text) && !immure_strv_has(back, e->text) &&
		    !immure_strv_add(&a->arena, to, immure_arena_strdup(&a->arena, e->text)))
			return false;
	return true;
}

/* As the rules in force are written. What is no rule is refused when it is to be used. */
static bool normal(struct immure_ask *a, const struct immure_strv *from, struct immure_strv *to)
{
	for (size_t i = 0; i < from->n; i++) {
		struct immure_netrule rule, local[2];
		struct immure_complaint c = { 0 };
		unsigned int n;

		if (immure_netrule_parse(&a->arena, from->v[i], &rule, &c) < 0)
			continue;
		n = immure_netrule_localhost(&rule, local);
		if (!immure_strv_add(&a->arena, to, immure_netrule_print(&a->arena, &rule)))
			return false;
		for (unsigned int k = 0; k < n; k++)
			if (!immure_strv_add(&a->arena, to, immure_netrule_print(&a->arena, &local[k])))
				return false;
	}
	return true;
}

static int32_t merge(struct immure_ask *a, struct immure_strv *allow, struct immure_strv *deny)
{
	struct immure_strv allow_back = { 0 }, deny_back = { 0 };
	struct immure_jsonr_value *v = calloc(VALUES, sizeof(*v));
	char *text = immure_gatekeeper_show(a->s->sealed.gate, 0);
	struct immure_jsonr now;
	bool ok = v && text && normal(a, deny, &allow_back) && normal(a, allow, &deny_back) &&
		  immure_jsonr_parse(&now, text, strlen(text), v, VALUES) == 0 &&
		  keep(a, &now, "allow", allow, &allow_back) && keep(a, &now, "deny", deny, &deny_back);

	free(text);
	free(v);
	return ok ? 0 : immure_ask_fail(a, IMMURE_ERR_NOMEM, ENOMEM, "", "too many rules, or out of memory");
}

static int32_t answer(struct immure_ask *a, uint64_t from)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;
	char *text = immure_gatekeeper_show(a->s->sealed.gate, (size_t)from);

	immure_answer_begin(&w, &b, a->id);
	immure_jsonw_str(&w, "mode", a->s->sealed.gate ? "limited"
				     : immure_plan_find(a->s->plan, IMMURE_OP_NET_HOST) ? "host" : "none");
	if (text)
		immure_jsonw_raw(&w, "network", text);
	immure_answer_send(a->s, a->c, &w, NULL, 0);
	free(text);
	return 0;
}

int32_t immure_net_rules(struct immure_ask *a)
{
	struct immure_strv allow = { 0 }, deny = { 0 };
	bool replace = false, change = immure_jsonr_get(&a->json, a->root, "allow") ||
				       immure_jsonr_get(&a->json, a->root, "deny");
	uint64_t seq = 0, from = 0;
	int32_t r = immure_arg_bool(a, "replace", &replace);

	if (r == 0)
		r = immure_arg_bool(a, "follow", &a->c->denials);
	if (r == 0)
		r = immure_arg_uint(a, "from", UINT32_MAX, &from);
	if (r == 0 && !change)
		return answer(a, from);
	if (r == 0 && !a->s->sealed.gate)
		return immure_ask_fail(a, IMMURE_ERR_STATE, EOPNOTSUPP, "network.mode", "network.mode is not "
				       "limited here: nothing would enforce rules");
	if (r == 0)
		r = take(a, "allow", &allow);
	if (r == 0)
		r = take(a, "deny", &deny);
	if (r == 0 && !replace)
		r = merge(a, &allow, &deny);
	if (r < 0)
		return r;
	if (immure_journal_intent(&a->s->journal, IMMURE_JK_NETWORK, "rules", NULL, &seq) < 0)
		return immure_ask_fail(a, IMMURE_ERR_IO, EIO, "journal", "the journal cannot be written");
	r = immure_gatekeeper_set_rules(a->s->sealed.gate, &allow, &deny, &a->err);
	(void)immure_journal_result(&a->s->journal, IMMURE_JK_NETWORK, seq, r < 0 ? EINVAL : 0, NULL); /* stands */
	if (r == 0) /* nothing is left of it that somebody would have to undo */
		(void)immure_journal_gone(&a->s->journal, IMMURE_JK_NETWORK, seq, NULL);
	return r < 0 ? r : answer(a, 0);
}
