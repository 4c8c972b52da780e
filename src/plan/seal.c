/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sealed form: a plan as bytes, for another process to apply.
 *
 *	"IMPL", u32 version, u64 length of all
 *	u32 ops, gaps, argv, env, length of strings
 *	u32 x 7: backend, backend_why, profile, policy_version, workspace, cwd, state_dir
 *	each op:   u32 kind | stage << 8 | flags << 16 | present nums << 28,
 *	           u32 src, dst, key; u64 for each num that is not zero
 *	each gap:  u32 key, dimension, what, remedy, approved
 *	u32 for each argument, then for each environment string
 *	strings, NUL-terminated, the first one empty
 *	SHA-256 of everything before it
 *
 * Little-endian; strings are offsets into the string table. Sealing also moves
 * every string of the plan into that table, so a finished plan borrows nothing
 * from the policy and facts it was made of.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sha256.h"
#include "plan/seal.h"

struct out {
	unsigned char *p;    /* next record byte */
	char *strings;
	uint32_t used;
	const char *keys[16]; /* keys repeat: the latest, in the table already */
	unsigned int keys_n;
};

static void put32(struct out *o, uint32_t v)
{
	v = htole32(v);
	memcpy(o->p, &v, sizeof(v));
	o->p += sizeof(v);
}

static void put64(struct out *o, uint64_t v)
{
	v = htole64(v);
	memcpy(o->p, &v, sizeof(v));
	o->p += sizeof(v);
}

/* Moves *s into the table and writes its offset. */
static void put_string(struct out *o, const char **s)
{
	size_t n;
	char *at;

	if (!(*s)[0]) {
		*s = o->strings;
		put32(o, 0);
		return;
	}
	n = strlen(*s) + 1;
	at = o->strings + o->used;
	memcpy(at, *s, n);
	put32(o, o->used);
	o->used += (uint32_t)n;
	*s = at;
}

/* One of a few that repeat; by content, so that same plans have same bytes. */
static void put_key(struct out *o, const char **s)
{
	const unsigned int max = sizeof(o->keys) / sizeof(o->keys[0]);

	/* The latest first: neighbours mostly share it. */
	for (unsigned int i = 0; i < o->keys_n && i < max; i++) {
		const char *k = o->keys[(o->keys_n - 1 - i) % max];

		if (strcmp(k, *s) == 0) {
			*s = k;
			put32(o, (uint32_t)(k - o->strings));
			return;
		}
	}
	put_string(o, s);
	o->keys[o->keys_n++ % max] = *s;
}

static uint32_t present(const struct immure_op *op)
{
	uint32_t mask = 0;

	for (unsigned int i = 0; i < 4; i++)
		mask |= (uint32_t)(op->num[i] != 0) << i;
	return mask;
}

static void put_op(struct out *o, struct immure_op *op)
{
	uint32_t nums = present(op);

	put32(o, op->kind | op->stage << 8 | op->flags << 16 | nums << 28);
	if (op->kind == IMMURE_OP_WATCH) /* one directory, many patterns */
		put_key(o, &op->src);
	else
		put_string(o, &op->src);
	put_string(o, &op->dst);
	put_key(o, &op->key);
	for (unsigned int i = 0; i < 4; i++)
		if (nums & 1u << i)
			put64(o, op->num[i]);
}

static const char **fixed_string(struct immure_plan *p, unsigned int i)
{
	const char **const all[] = { &p->backend, &p->backend_why, &p->profile,
				     &p->policy_version, &p->workspace, &p->cwd,
				     &p->state_dir };

	return all[i];
}

/* Upper bounds: a string that is shared is counted each time. */
static void measure(struct immure_plan *p, size_t *ret_records, size_t *ret_strings)
{
	size_t records = IMMURE_SEAL_HEADER, strings = 1;

	for (unsigned int i = 0; i < IMMURE_SEAL_FIXED; i++)
		strings += strlen(*fixed_string(p, i)) + 1;
	for (size_t i = 0; i < p->ops_n; i++) {
		const struct immure_op *op = &p->ops[i];

		records += 16 + 8 * ((op->num[0] != 0) + (op->num[1] != 0) + (op->num[2] != 0) +
				     (size_t)(op->num[3] != 0));
		strings += strlen(op->src) + strlen(op->dst) + strlen(op->key) + 3;
	}
	for (size_t i = 0; i < p->gaps_n; i++) {
		const struct immure_gap *g = &p->gaps[i];

		records += 20;
		strings += strlen(g->key) + strlen(g->dimension) + strlen(g->what) +
			   strlen(g->remedy) + 4;
	}
	records += 4 * (p->argv.n + p->env.n);
	for (size_t i = 0; i < p->argv.n; i++)
		strings += strlen(p->argv.v[i]) + 1;
	for (size_t i = 0; i < p->env.n; i++)
		strings += strlen(p->env.v[i]) + 1;
	*ret_records = records;
	*ret_strings = strings;
}

static void put_all(struct out *o, struct immure_plan *p)
{
	for (unsigned int i = 0; i < IMMURE_SEAL_FIXED; i++)
		put_string(o, fixed_string(p, i));
	for (size_t i = 0; i < p->ops_n; i++)
		put_op(o, &p->ops[i]);
	for (size_t i = 0; i < p->gaps_n; i++) {
		struct immure_gap *g = &p->gaps[i];

		put_string(o, &g->key);
		put_string(o, &g->dimension);
		put_string(o, &g->what);
		put_string(o, &g->remedy);
		put32(o, g->approved);
	}
	for (size_t i = 0; i < p->argv.n; i++)
		put_string(o, &p->argv.v[i]);
	for (size_t i = 0; i < p->env.n; i++)
		put_string(o, &p->env.v[i]);
}

int32_t immure_plan_close(struct immure_plan *p, struct immure_error **err)
{
	struct out o = { .used = 1 };
	size_t records, strings, len;
	unsigned char *data;

	measure(p, &records, &strings);
	if (p->ops_n > IMMURE_SEAL_OPS_MAX || p->gaps_n > IMMURE_SEAL_GAPS_MAX ||
	    records + strings > IMMURE_SEAL_LEN_MAX - 32)
		return immure_fail(err, IMMURE_ERR_INVALID, E2BIG, "plan", "",
				   "plan: too large (%zu operations, %zu bytes of text)", p->ops_n,
				   strings);
	data = immure_arena_alloc(&p->arena, records + strings);
	if (!data || !immure_plan_add_digest(p))
		return -IMMURE_ERR_NOMEM;
	o.strings = (char *)data + records;
	o.p = data + IMMURE_SEAL_HEADER - 4 * IMMURE_SEAL_FIXED;
	put_all(&o, p);
	len = records + o.used + 32;
	o.p = data;
	memcpy(o.p, IMMURE_SEAL_MAGIC, 4);
	o.p += 4;
	put32(&o, IMMURE_SEAL_VERSION);
	put64(&o, len);
	put32(&o, (uint32_t)p->ops_n);
	put32(&o, (uint32_t)p->gaps_n);
	put32(&o, (uint32_t)p->argv.n);
	put32(&o, (uint32_t)p->env.n);
	put32(&o, o.used);
	p->sealed = data;
	p->sealed_len = len - 32;
	return 0;
}

bool immure_plan_add_digest(struct immure_plan *p)
{
	p->digest = immure_arena_alloc(&p->arena, sizeof(*p->digest));
	return p->digest;
}

static void digest_of(const struct immure_plan *p, unsigned char ret[32])
{
	struct immure_sha256 sha;

	immure_sha256_init(&sha);
	immure_sha256_add(&sha, p->sealed, p->sealed_len);
	immure_sha256_done(&sha, ret);
}

void immure_plan_set_digest(struct immure_plan_digest *d, const unsigned char digest[32])
{
	static const char hex[] = "0123456789abcdef";
	int none = 0;

	if (!atomic_compare_exchange_strong(&d->state, &none, 1))
		return; /* somebody else writes the same */
	for (int i = 0; i < 32; i++) {
		d->text[2 * i] = hex[digest[i] >> 4];
		d->text[2 * i + 1] = hex[digest[i] & 15];
	}
	atomic_store(&d->state, 2);
}

const char *immure_plan_hash_of(const struct immure_plan *p)
{
	if (!p->digest)
		return ""; /* not finished */
	if (atomic_load(&p->digest->state) != 2) {
		unsigned char digest[32];

		digest_of(p, digest);
		immure_plan_set_digest(p->digest, digest);
		while (atomic_load(&p->digest->state) != 2)
			; /* the other thread has some bytes left to write */
	}
	return p->digest->text;
}

int32_t immure_plan_seal_bytes(const struct immure_plan *p, void **ret, size_t *ret_len,
			       struct immure_error **err)
{
	unsigned char *copy = malloc(p->sealed_len + 32);

	if (!copy)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "plan", "",
				   "plan: out of memory");
	memcpy(copy, p->sealed, p->sealed_len);
	digest_of(p, copy + p->sealed_len);
	*ret = copy;
	*ret_len = p->sealed_len + 32;
	return 0;
}
