/* SPDX-License-Identifier: Apache-2.0 */
/* A plan for programs: everything it says, in its order, except the values of
 * environment variables, which may be secrets. */
#include <string.h>

#include "base/jsonw.h"
#include "plan/compile.h"
#include "policy/netrule.h"

static const struct { uint32_t bit; const char *name; } flag_names[] = {
	{ IMMURE_OPF_RO, "read_only" },
	{ IMMURE_OPF_OPTIONAL, "optional" },
	{ IMMURE_OPF_NOEXEC, "noexec" },
	{ IMMURE_OPF_FILE, "file" },
	{ IMMURE_OPF_BUILD, "build" },
	{ IMMURE_OPF_ANYWHERE, "anywhere" },
	{ IMMURE_OPF_ALLOWED, "allowed" },
	{ IMMURE_OPF_COVER, "cover" },
	{ IMMURE_OPF_SOCKET, "socket" },
	{ IMMURE_OPF_SHARED, "shared" },
	{ IMMURE_OPF_KEPT, "kept" },
	{ IMMURE_OPF_PIDS, "pids" },
};

static void put_op(struct immure_jsonw *w, const struct immure_op *op)
{
	const struct immure_op_info *info = &immure_op_table[op->kind];

	immure_jsonw_object(w, NULL);
	immure_jsonw_str(w, "stage", immure_stage_name(op->stage));
	immure_jsonw_str(w, "op", info->name);
	if (info->src != IMMURE_FIELD_NONE)
		immure_jsonw_str(w, "src", op->src);
	if (info->dst != IMMURE_FIELD_NONE)
		immure_jsonw_str(w, "dst", op->dst);
	for (unsigned int i = 0; i < 4; i++)
		if (info->num[i])
			immure_jsonw_uint(w, info->num[i], op->num[i]);
	if (op->flags) {
		immure_jsonw_array(w, "flags");
		for (size_t i = 0; i < sizeof(flag_names) / sizeof(flag_names[0]); i++)
			if (op->flags & flag_names[i].bit)
				immure_jsonw_str(w, NULL, flag_names[i].name);
		immure_jsonw_end(w, ']');
	}
	immure_jsonw_str(w, "key", op->key);
	immure_jsonw_end(w, '}');
}

static void put_notices(struct immure_jsonw *w, const struct immure_plan *p)
{
	struct immure_arena a = IMMURE_ARENA_INIT;

	immure_jsonw_array(w, "notices");
	for (size_t i = 0; i < p->ops_n; i++) {
		const struct immure_op *op = &p->ops[i];
		const char *notice = op->kind == IMMURE_OP_EGRESS_ALLOW ?
					     immure_netrule_notice(&a, op->src) : NULL;

		if (notice)
			immure_jsonw_str(w, NULL, immure_arena_printf(&a, "%s: %s", op->src, notice));
	}
	immure_jsonw_end(w, ']');
	immure_arena_done(&a);
}

static void put_gaps(struct immure_jsonw *w, const struct immure_plan *p)
{
	bool startable = true;

	immure_jsonw_array(w, "gaps");
	for (size_t i = 0; i < p->gaps_n; i++) {
		const struct immure_gap *g = &p->gaps[i];

		immure_jsonw_object(w, NULL);
		immure_jsonw_str(w, "key", g->key);
		immure_jsonw_str(w, "dimension", g->dimension);
		immure_jsonw_str(w, "what", g->what);
		immure_jsonw_str(w, "remedy", g->remedy);
		immure_jsonw_bool(w, "approved", g->approved);
		immure_jsonw_end(w, '}');
		startable = startable && g->approved;
	}
	immure_jsonw_end(w, ']');
	immure_jsonw_bool(w, "startable", startable);
}

/* Names only; a name may hold any byte but '='. */
static void put_env(struct immure_jsonw *w, const struct immure_plan *p)
{
	immure_jsonw_array(w, "environment");
	for (size_t i = 0; i < p->env.n; i++) {
		struct immure_buf name = IMMURE_BUF_INIT;

		immure_buf_put(&name, p->env.v[i], strcspn(p->env.v[i], "="));
		if (immure_buf_ok(&name))
			immure_jsonw_str(w, NULL, name.data ? name.data : "");
		else
			w->out->failed = true;
		immure_buf_done(&name);
	}
	immure_jsonw_end(w, ']');
}

char *immure_plan_to_json(const struct immure_plan *p)
{
	struct immure_buf out = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	immure_jsonw_init(&w, &out, 2);
	immure_jsonw_object(&w, NULL);
	immure_jsonw_str(&w, "plan_hash", immure_plan_hash_of(p));
	immure_jsonw_str(&w, "policy_version", p->policy_version);
	immure_jsonw_str(&w, "profile", p->profile);
	immure_jsonw_str(&w, "backend", p->backend);
	immure_jsonw_str(&w, "backend_why", p->backend_why);
	immure_jsonw_str(&w, "workspace", p->workspace);
	immure_jsonw_str(&w, "cwd", p->cwd);
	immure_jsonw_str(&w, "network_way", p->way);
	immure_jsonw_array(&w, "argv");
	for (size_t i = 0; i < p->argv.n; i++)
		immure_jsonw_str(&w, NULL, p->argv.v[i]);
	immure_jsonw_end(&w, ']');
	put_env(&w, p);
	immure_jsonw_array(&w, "operations");
	for (size_t i = 0; i < p->ops_n; i++)
		put_op(&w, &p->ops[i]);
	immure_jsonw_end(&w, ']');
	put_notices(&w, p);
	put_gaps(&w, p);
	immure_jsonw_end(&w, '}');
	immure_buf_putc(&out, '\n');
	return immure_buf_take(&out);
}
