/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/synth.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/checks.h"

struct immure_synth {
	struct immure_synth_config c;
	char **names;       /* by number */
	uint32_t n, cap;
	uint32_t *slots;    /* open addressing: number + 1, 0 = free */
	uint32_t slots_n;   /* a power of two, never more than half full */
	uint32_t wild_n;
	uint64_t credit;    /* label bytes times 1000 that may still pass */
	uint64_t last_ms;
};

void immure_synth_defaults(struct immure_synth_config *c)
{
	*c = (struct immure_synth_config){
		.prefix4 = { 198, 18 }, .bits4 = 15,
		.prefix6 = { 0xfd, 0x53, 0x6e, 0x62 }, .bits6 = 64,
		.names_max = 16384,
		.wild_label_bytes = 100,
		.wild_burst_bytes = 8192,
		.wild_bytes_per_s = 64,
		.wild_names_max = 4096,
	};
}

int immure_synth_prefix(struct immure_synth_config *c, const char *text,
			struct immure_complaint *complaint)
{
	enum immure_host_kind kind;
	unsigned char address[16];
	unsigned int bits;
	int r = immure_network_parse(text, &kind, address, &bits, complaint);

	if (r < 0)
		return r;
	if (kind == IMMURE_HOST_NET4) {
		if (bits < 8 || bits > 24)
			return immure_complain(complaint, "an IPv4 prefix has 8 to 24 bits, got %u",
					       bits);
		memcpy(c->prefix4, address, 4);
		c->bits4 = bits;
	} else {
		if (bits < 32 || bits > 96)
			return immure_complain(complaint, "an IPv6 prefix has 32 to 96 bits, got %u",
					       bits);
		memcpy(c->prefix6, address, 16);
		c->bits6 = bits;
	}
	return 0;
}

/* The upper half of the IPv4 prefix is for names, without its first and last
 * address: the lower half has our own ones, and the last is a broadcast. */
static uint32_t half4(const struct immure_synth_config *c)
{
	return 1U << (31 - c->bits4);
}

static bool masked(const unsigned char *address, unsigned int bits, unsigned int all)
{
	for (unsigned int i = bits; i < all; i++)
		if (address[i / 8] & (0x80U >> (i % 8)))
			return false;
	return true;
}

int immure_synth_new(const struct immure_synth_config *c, struct immure_synth **ret)
{
	struct immure_synth *s;
	uint32_t room;

	if (c->bits4 < 8 || c->bits4 > 24 || c->bits6 < 32 || c->bits6 > 96 ||
	    !masked(c->prefix4, c->bits4, 32) || !masked(c->prefix6, c->bits6, 128) ||
	    c->names_max == 0 || c->names_max > 1U << 20)
		return -EINVAL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->c = *c;
	room = half4(c) - 2;
	if (c->first >= room) {
		free(s);
		return -ENOSPC;
	}
	room -= c->first;
	if (s->c.names_max > room)
		s->c.names_max = room;
	s->credit = (uint64_t)c->wild_burst_bytes * 1000;
	*ret = s;
	return 0;
}

void immure_synth_free(struct immure_synth *s)
{
	if (!s)
		return;
	for (uint32_t i = 0; i < s->n; i++)
		free(s->names[i]);
	free(s->names);
	free(s->slots);
	free(s);
}

static uint32_t hash(const struct immure_synth *s, const char *name)
{
	uint64_t h = s->c.seed ^ 0x9e3779b97f4a7c15ULL;

	for (; *name; name++) {
		h ^= (unsigned char)*name;
		h *= 0xff51afd7ed558ccdULL;
		h ^= h >> 32;
	}
	return (uint32_t)h;
}

/* Where the name is, or the free slot where it would go. */
static uint32_t *slot_of(const struct immure_synth *s, const char *name)
{
	uint32_t i = hash(s, name);

	for (;; i++) {
		uint32_t *slot = &s->slots[i & (s->slots_n - 1)];

		if (*slot == 0 || strcmp(s->names[*slot - 1], name) == 0)
			return slot;
	}
}

static int grow(struct immure_synth *s)
{
	uint32_t cap = s->cap ? s->cap * 2 : 64;
	uint32_t *slots, *old = s->slots;
	char **names;

	names = realloc(s->names, cap * sizeof(*names));
	if (!names)
		return -ENOMEM;
	s->names = names;
	slots = calloc((size_t)cap * 2, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	s->slots = slots;
	s->slots_n = cap * 2;
	s->cap = cap;
	for (uint32_t i = 0; i < s->n; i++)
		*slot_of(s, s->names[i]) = i + 1;
	free(old);
	return 0;
}

/* A bucket that fills with time: what a burst takes comes back slowly. */
static bool pay(struct immure_synth *s, size_t bytes, uint64_t now_ms)
{
	uint64_t full = (uint64_t)s->c.wild_burst_bytes * 1000, gone = 0;

	if (now_ms > s->last_ms) {
		gone = now_ms - s->last_ms;
		s->last_ms = now_ms;
	}
	/* Bytes a second times milliseconds are thousandths of bytes. */
	if (s->c.wild_bytes_per_s && gone >= full / s->c.wild_bytes_per_s)
		s->credit = full;
	else
		s->credit += gone * s->c.wild_bytes_per_s;
	if (s->credit > full)
		s->credit = full;
	if (s->credit < (uint64_t)bytes * 1000)
		return false;
	s->credit -= (uint64_t)bytes * 1000;
	return true;
}

int immure_synth_add(struct immure_synth *s, const char *name, size_t wild_bytes,
		     uint64_t now_ms, uint32_t *ret_number)
{
	char *copy;

	if (!*name || strlen(name) > IMMURE_HOST_NAME_MAX)
		return -EINVAL;
	if (s->slots_n && *slot_of(s, name)) {
		*ret_number = s->c.first + *slot_of(s, name) - 1;
		return IMMURE_SYNTH_OK;
	}
	if (s->n >= s->c.names_max || (wild_bytes && s->wild_n >= s->c.wild_names_max))
		return IMMURE_SYNTH_FULL;
	if (wild_bytes > s->c.wild_label_bytes)
		return IMMURE_SYNTH_LONG;
	if (s->n == s->cap && grow(s) < 0)
		return -ENOMEM;
	copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	if (wild_bytes && !pay(s, wild_bytes, now_ms)) {
		free(copy);
		return IMMURE_SYNTH_FAST;
	}
	s->wild_n += wild_bytes > 0;
	s->names[s->n] = copy;
	*slot_of(s, copy) = s->n + 1;
	*ret_number = s->c.first + s->n++;
	return IMMURE_SYNTH_OK;
}

bool immure_synth_find(const struct immure_synth *s, const char *name, uint32_t *ret_number)
{
	const uint32_t *slot = s->slots_n ? slot_of(s, name) : NULL;

	if (!slot || !*slot)
		return false;
	*ret_number = s->c.first + *slot - 1;
	return true;
}

static void put_low(unsigned char *end, uint32_t v)
{
	for (int i = 1; i <= 4; i++, v >>= 8)
		end[-i] |= (unsigned char)v;
}

/* The last 32 bits: number + 1 with the top bit of the host part set. */
static void address_of(const struct immure_synth *s, enum immure_host_kind kind, uint32_t low,
		       unsigned char ret[16])
{
	memset(ret, 0, 16);
	if (kind == IMMURE_HOST_NET6) {
		memcpy(ret, s->c.prefix6, 16);
		put_low(ret + 16, low);
	} else {
		memcpy(ret, s->c.prefix4, 4);
		put_low(ret + 4, low);
	}
}

void immure_synth_address(const struct immure_synth *s, enum immure_host_kind kind,
			  uint32_t number, unsigned char ret[16])
{
	uint32_t half = kind == IMMURE_HOST_NET6 ? 1U << 31 : half4(&s->c);

	address_of(s, kind, half + number + 1, ret);
}

void immure_synth_own(const struct immure_synth *s, enum immure_host_kind kind,
		      unsigned char ret[16])
{
	address_of(s, kind, 1, ret);
}

const char *immure_synth_name(const struct immure_synth *s, enum immure_host_kind kind,
			      const unsigned char address[16])
{
	struct immure_endpoint e;
	unsigned char again[16];
	const unsigned char *end;
	uint32_t low = 0, half;

	immure_endpoint_address(&e, kind, address);
	half = e.kind == IMMURE_HOST_NET6 ? 1U << 31 : half4(&s->c);
	end = e.address + (e.kind == IMMURE_HOST_NET6 ? 16 : 4);
	for (int i = 4; i >= 1; i--)
		low = low << 8 | end[-i];
	low &= half | (half - 1);
	if (low <= half + s->c.first || low - half - 1 - s->c.first >= s->n)
		return NULL;
	/* Every other bit must be the prefix's. */
	immure_synth_address(s, e.kind, low - half - 1, again);
	return memcmp(again, e.address, 16) == 0 ? s->names[low - half - 1 - s->c.first] : NULL;
}

bool immure_synth_covers(const struct immure_synth *s, enum immure_host_kind kind,
			 const unsigned char address[16])
{
	struct immure_endpoint e;
	bool six;
	const unsigned char *prefix;
	unsigned int bits;

	immure_endpoint_address(&e, kind, address);
	six = e.kind == IMMURE_HOST_NET6;
	prefix = six ? s->c.prefix6 : s->c.prefix4;
	bits = six ? s->c.bits6 : s->c.bits4;
	for (unsigned int i = 0; i < bits; i++)
		if ((prefix[i / 8] ^ e.address[i / 8]) & (0x80U >> (i % 8)))
			return false;
	return true;
}

uint32_t immure_synth_count(const struct immure_synth *s)
{
	return s->n;
}
