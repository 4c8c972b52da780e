/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a sealed plan. The bytes come from another process: every count,
 * offset, kind, flag and path is checked before anything is believed, and what
 * a plan must have in order to confine is demanded. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "base/sha256.h"
#include "plan/seal.h"

struct in {
	const unsigned char *p, *end; /* records left */
	const char *strings;
	uint32_t strings_len;
	bool bad;
};

static uint32_t get32(struct in *i)
{
	uint32_t v = 0;

	if (i->end - i->p < 4) {
		i->bad = true;
		return 0;
	}
	for (int k = 0; k < 4; k++)
		v |= (uint32_t)*i->p++ << 8 * k;
	return v;
}

static uint64_t get64(struct in *i)
{
	uint64_t lo = get32(i);

	return lo | (uint64_t)get32(i) << 32;
}

/* The table ends in NUL, so any offset inside it is a string. */
static const char *get_string(struct in *i)
{
	uint32_t off = get32(i);

	if (off >= i->strings_len) {
		i->bad = true;
		return "";
	}
	return i->strings + off;
}

static const char *check_field(uint8_t field, const char *s)
{
	switch (field) {
	case IMMURE_FIELD_NONE:
		return *s ? "a field that must be empty" : NULL;
	case IMMURE_FIELD_PATH:
		return immure_path_is_normal(s) ? NULL : "a path that is not absolute and normal";
	default:
		return NULL;
	}
}

/* NULL = fine, else what is wrong. */
static const char *get_op(struct in *i, struct immure_op *op, uint32_t least_stage)
{
	uint32_t head = get32(i);
	const struct immure_op_info *info;
	const char *wrong;

	op->kind = head & 0xff;
	op->stage = head >> 8 & 0xff;
	op->flags = head >> 16 & 0xfff;
	op->src = get_string(i);
	op->dst = get_string(i);
	op->key = get_string(i);
	for (unsigned int k = 0; k < 4; k++)
		if (head >> 28 & 1u << k) {
			op->num[k] = get64(i);
			if (op->num[k] == 0)
				return "a number that is not in its shortest form";
		}
	if (i->bad)
		return "an operation outside its bounds";
	if (op->kind >= IMMURE_OP_MAX)
		return "an unknown operation";
	info = &immure_op_table[op->kind];
	if (op->stage != info->stage || op->stage < least_stage)
		return "an operation out of order";
	if (op->flags & ~(uint32_t)info->flags)
		return "an unknown flag";
	if (!*op->key)
		return "an operation without a cause";
	wrong = check_field(info->src, op->src);
	return wrong ? wrong : check_field(info->dst, op->dst);
}

/* Without these, once each, it would be no sandbox. */
static const char *check_whole(const struct immure_plan *p)
{
	static const uint8_t once[] = {
		IMMURE_OP_NAMESPACES, IMMURE_OP_PROC, IMMURE_OP_DEV, IMMURE_OP_PIVOT,
		IMMURE_OP_CLOSE_FDS, IMMURE_OP_DROP_CAPS, IMMURE_OP_NO_NEW_PRIVS,
		IMMURE_OP_SELF_CHECK, IMMURE_OP_SECCOMP, IMMURE_OP_EXEC,
	};
	unsigned int seen[IMMURE_OP_MAX] = { 0 };

	for (size_t i = 0; i < p->ops_n; i++)
		seen[p->ops[i].kind]++;
	for (size_t i = 0; i < sizeof(once); i++)
		if (seen[once[i]] != 1)
			return "a stage that is missing or doubled";
	if (seen[IMMURE_OP_ROOT_HOST] + seen[IMMURE_OP_ROOT_EMPTY] != 1)
		return "not one root";
	if (seen[IMMURE_OP_IDMAP] + seen[IMMURE_OP_IDMAP_SUBID] != 1)
		return "not one id map";
	if (seen[IMMURE_OP_LOOPBACK] + seen[IMMURE_OP_NET_HOST] != 1)
		return "not one network";
	if (seen[IMMURE_OP_LANDLOCK] > 1 || (seen[IMMURE_OP_LANDLOCK_RULE] &&
					     !seen[IMMURE_OP_LANDLOCK]))
		return "Landlock rules without their set";
	if (!immure_path_is_normal(p->workspace) || !immure_path_is_normal(p->cwd) ||
	    (p->state_dir[0] && !immure_path_is_normal(p->state_dir)))
		return "a path that is not absolute and normal";
	if (!p->argv.n || !p->argv.v[0][0])
		return "no command";
	for (size_t i = 0; i < p->env.n; i++)
		if (p->env.v[i][0] == '=' || !strchr(p->env.v[i], '='))
			return "an environment string without a name";
	return NULL;
}

static bool get_strv(struct in *i, struct immure_arena *a, struct immure_strv *l, uint32_t n)
{
	l->v = immure_arena_alloc(a, ((size_t)n + 1) * sizeof(*l->v));
	if (!l->v)
		return false;
	l->n = n;
	l->cap = (size_t)n + 1;
	for (uint32_t k = 0; k < n; k++)
		l->v[k] = get_string(i);
	return true;
}

static const char *get_plan(struct in *i, struct immure_plan *p, uint32_t argv_n, uint32_t env_n)
{
	const char **const fixed[IMMURE_SEAL_FIXED] = {
		&p->backend, &p->backend_why, &p->profile, &p->policy_version, &p->workspace,
		&p->cwd, &p->state_dir,
	};
	const char *wrong;
	uint32_t stage = 0;

	for (unsigned int k = 0; k < IMMURE_SEAL_FIXED; k++)
		*fixed[k] = get_string(i);
	for (size_t k = 0; k < p->ops_n; k++) {
		wrong = get_op(i, &p->ops[k], stage);
		if (wrong)
			return wrong;
		stage = p->ops[k].stage;
	}
	for (size_t k = 0; k < p->gaps_n; k++) {
		struct immure_gap *g = &p->gaps[k];
		uint32_t approved;

		g->key = get_string(i);
		g->dimension = get_string(i);
		g->what = get_string(i);
		g->remedy = get_string(i);
		approved = get32(i);
		if (approved > 1)
			return "an unknown flag";
		g->approved = approved;
	}
	if (!get_strv(i, &p->arena, &p->argv, argv_n) || !get_strv(i, &p->arena, &p->env, env_n))
		return "too much for this machine's memory";
	if (i->bad || i->p != i->end)
		return "records that do not fill their place";
	return check_whole(p);
}

static const char *open_sealed(struct immure_plan *p, const unsigned char *data, size_t len)
{
	struct in i = { .p = data + 4, .end = data + IMMURE_SEAL_HEADER };
	unsigned char digest[32];
	struct immure_sha256 sha;
	uint32_t ops, gaps, argv, env;
	uint64_t least;

	if (memcmp(data, IMMURE_SEAL_MAGIC, 4) != 0)
		return "not a sealed plan";
	if (get32(&i) != IMMURE_SEAL_VERSION)
		return "of another version";
	if (get64(&i) != len)
		return "of another length";
	immure_sha256_init(&sha);
	immure_sha256_add(&sha, data, len - 32);
	immure_sha256_done(&sha, digest);
	if (memcmp(digest, data + len - 32, 32) != 0)
		return "changed since it was sealed";
	ops = get32(&i);
	gaps = get32(&i);
	argv = get32(&i);
	env = get32(&i);
	i.strings_len = get32(&i);
	if (ops > IMMURE_SEAL_OPS_MAX || gaps > IMMURE_SEAL_GAPS_MAX || i.strings_len == 0)
		return "counts out of range";
	least = (uint64_t)IMMURE_SEAL_HEADER + 16ull * ops + 20ull * gaps + 4ull * argv +
		4ull * env + i.strings_len + 32;
	if (least > len)
		return "counts out of range";
	i.strings = (const char *)data + len - 32 - i.strings_len;
	if (i.strings[0] != '\0' || i.strings[i.strings_len - 1] != '\0')
		return "strings without an end";
	i.end = (const unsigned char *)i.strings;
	p->ops_n = ops;
	p->gaps_n = gaps;
	p->ops = immure_arena_alloc(&p->arena, ((size_t)ops + 1) * sizeof(*p->ops));
	p->gaps = immure_arena_alloc(&p->arena, ((size_t)gaps + 1) * sizeof(*p->gaps));
	if (!p->ops || !p->gaps)
		return "too much for this machine's memory";
	if (!immure_plan_add_digest(p))
		return "too much for this machine's memory";
	immure_plan_set_digest(p->digest, digest);
	return get_plan(&i, p, argv, env);
}

int32_t immure_plan_unseal(const void *data, size_t len, struct immure_plan **ret,
			   struct immure_error **err)
{
	struct immure_plan *p;
	unsigned char *copy;
	const char *wrong;

	if (len < IMMURE_SEAL_HEADER + 32 || len > IMMURE_SEAL_LEN_MAX)
		return immure_fail(err, IMMURE_ERR_INVALID, 0, "plan", "",
				   "sealed plan: %zu bytes cannot be one", len);
	p = calloc(1, sizeof(*p));
	if (!p)
		goto oom;
	copy = immure_arena_alloc(&p->arena, len);
	if (!copy)
		goto oom;
	memcpy(copy, data, len);
	wrong = open_sealed(p, copy, len);
	if (wrong) {
		immure_plan_destroy(p);
		return immure_fail(err, IMMURE_ERR_INVALID, 0, "plan", "", "sealed plan: %s", wrong);
	}
	p->sealed = copy;
	p->sealed_len = len - 32;
	*ret = p;
	return 0;
oom:
	immure_plan_destroy(p);
	return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "plan", "", "plan: out of memory");
}
