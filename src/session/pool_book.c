/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers of a pool: no descriptor, process or clock here. */
#include "session/pool.h"

void immure_pool_book_init(struct immure_pool_book *b, uint32_t size, uint32_t max)
{
	*b = (struct immure_pool_book){ .size = size, .max = max, .target = size };
	b->count[IMMURE_SLOT_FREE] = max;
}

/* From a caller there is a way back for what has proven itself clean: it is made again. */
bool immure_pool_move(struct immure_pool_book *b, enum immure_slot_state *state, enum immure_slot_state to)
{
	static const uint32_t may[IMMURE_SLOT_MAX] = {
		[IMMURE_SLOT_FREE] = 1 << IMMURE_SLOT_MAKING,
		[IMMURE_SLOT_MAKING] = 1 << IMMURE_SLOT_IDLE | 1 << IMMURE_SLOT_ENDING,
		[IMMURE_SLOT_CHECKING] = 1 << IMMURE_SLOT_IDLE | 1 << IMMURE_SLOT_ENDING,
		[IMMURE_SLOT_IDLE] = 1 << IMMURE_SLOT_CHECKING | 1 << IMMURE_SLOT_USED |
				     1 << IMMURE_SLOT_ENDING,
		[IMMURE_SLOT_USED] = 1 << IMMURE_SLOT_MAKING | 1 << IMMURE_SLOT_ENDING,
		[IMMURE_SLOT_ENDING] = 1 << IMMURE_SLOT_FREE,
	};

	if (*state >= IMMURE_SLOT_MAX || to >= IMMURE_SLOT_MAX || !(may[*state] & 1U << to))
		return false;
	b->count[*state]--;
	b->count[to]++;
	*state = to;
	return true;
}

uint32_t immure_pool_alive(const struct immure_pool_book *b)
{
	return b->max - b->count[IMMURE_SLOT_FREE];
}

static uint32_t at_hand(const struct immure_pool_book *b)
{
	return b->count[IMMURE_SLOT_MAKING] + b->count[IMMURE_SLOT_CHECKING] + b->count[IMMURE_SLOT_IDLE];
}

uint32_t immure_pool_to_make(const struct immure_pool_book *b, uint32_t waiting)
{
	uint64_t want = (uint64_t)b->target + waiting, have = at_hand(b);
	uint32_t room = b->count[IMMURE_SLOT_FREE], making = b->count[IMMURE_SLOT_MAKING];
	uint64_t n = want > have ? want - have : 0;
	uint32_t hands = making < IMMURE_POOL_PARALLEL ? IMMURE_POOL_PARALLEL - making : 0;

	n = n < room ? n : room;
	return (uint32_t)(n < hands ? n : hands);
}

uint32_t immure_pool_in_vain(const struct immure_pool_book *b, uint32_t waiting)
{
	/* What is ending already makes room by itself. */
	uint64_t soon = (uint64_t)at_hand(b) + b->count[IMMURE_SLOT_FREE] + b->count[IMMURE_SLOT_ENDING];

	return waiting > soon ? waiting - (uint32_t)soon : 0;
}

uint32_t immure_pool_surplus(const struct immure_pool_book *b)
{
	uint32_t n = b->count[IMMURE_SLOT_IDLE] + b->count[IMMURE_SLOT_CHECKING];

	return n > b->target ? n - b->target : 0;
}

void immure_pool_latency(struct immure_pool_book *b, uint64_t us)
{
	uint32_t i = 0;

	while (i < IMMURE_POOL_BUCKETS - 1 && us > 1ULL << i)
		i++;
	b->latency[i]++;
}

const char *immure_slot_state_name(enum immure_slot_state s)
{
	static const char *const names[] = { "free", "making", "checking", "idle", "used", "ending" };

	return s < IMMURE_SLOT_MAX ? names[s] : "?";
}

void immure_pool_book_json(const struct immure_pool_book *b, struct immure_jsonw *w)
{
	immure_jsonw_uint(w, "size", b->size);
	immure_jsonw_uint(w, "max", b->max);
	immure_jsonw_uint(w, "warm", b->warm);
	immure_jsonw_uint(w, "idle", b->count[IMMURE_SLOT_IDLE] + b->count[IMMURE_SLOT_CHECKING]);
	immure_jsonw_uint(w, "in_use", b->count[IMMURE_SLOT_USED]);
	immure_jsonw_uint(w, "making", b->count[IMMURE_SLOT_MAKING]);
	immure_jsonw_uint(w, "ending", b->count[IMMURE_SLOT_ENDING]);
	immure_jsonw_uint(w, "hits", b->hits);
	immure_jsonw_uint(w, "misses", b->misses);
	immure_jsonw_uint(w, "evictions", b->evictions);
	immure_jsonw_uint(w, "created", b->created);
	immure_jsonw_uint(w, "failed", b->failed);
	immure_jsonw_array(w, "acquire_us");
	for (uint32_t i = 0; i < IMMURE_POOL_BUCKETS; i++) {
		if (!b->latency[i])
			continue;
		immure_jsonw_object(w, NULL);
		/* The last has no upper end. */
		if (i < IMMURE_POOL_BUCKETS - 1)
			immure_jsonw_uint(w, "up_to", 1ULL << i);
		else
			immure_jsonw_null(w, "up_to");
		immure_jsonw_uint(w, "count", b->latency[i]);
		immure_jsonw_end(w, '}');
	}
	immure_jsonw_end(w, ']');
}
