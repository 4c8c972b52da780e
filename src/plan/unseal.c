/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a sealed plan. The bytes come from another process: every count,
 * offset, kind, flag and path is checked before anything is believed, and what
 * a plan must have in order to confine is demanded. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
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

/* NULL = fine, else what is wrong. */
static const char *get_op(struct in *i, struct immure_op *op, uint32_t least_stage)
{
	uint32_t head = get32(i);

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
	return immure_plan_check_op(op, least_stage);
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
	return immure_plan_check_whole(p);
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

int32_t immure_plan_unseal_fd(int fd, const void **ret_data, size_t *ret_len, struct immure_plan **ret,
			      struct immure_error **err)
{
	const void *data;
	size_t len;
	int32_t r = immure_map_whole(fd, IMMURE_SEAL_LEN_MAX, &data, &len);

	if (r < 0)
		return immure_fail(err, IMMURE_ERR_INVALID, -r, "plan", "",
				   "sealed plan: the file that holds it cannot be read");
	r = immure_plan_unseal(data, len, ret, err);
	if (r < 0 || !ret_data) {
		immure_unmap(data, len); /* it was copied */
		return r;
	}
	*ret_data = data;
	*ret_len = len;
	return 0;
}
