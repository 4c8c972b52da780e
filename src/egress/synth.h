/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Synthetic addresses: every name that a command may use gets an address of its
 * own, from a prefix that leads nowhere but to the gatekeeper. What is dialled
 * later says by its address which name was meant.
 *
 * A name keeps its address, and an address its name, for the whole session:
 * nothing is evicted, because a cached answer in some program must never come
 * to mean another host. A full table refuses new names instead.
 *
 * Under a wildcard the command makes up the labels, and the upstream resolver
 * of that domain reads them: a way out for data. So such names are bounded in
 * length, in bytes in all, and in rate.
 */
#ifndef IMMURE_EGRESS_SYNTH_H
#define IMMURE_EGRESS_SYNTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "egress/endpoint.h"

struct immure_synth;

struct immure_synth_config {
	unsigned char prefix4[4];    /* 198.18.0.0 */
	unsigned int bits4;          /* 15; 8 to 24 */
	unsigned char prefix6[16];   /* fd53:6e62:: */
	unsigned int bits6;          /* 64; 32 to 96 */
	uint32_t names_max;          /* fewer when the prefix has no room */
	uint32_t wild_label_bytes;   /* of one name, what comes before the rule's part */
	uint32_t wild_burst_bytes;   /* the same summed over new names: at once … */
	uint32_t wild_bytes_per_s;   /* … and from then on */
	uint32_t wild_names_max;     /* names that only wildcards allow */
	uint64_t seed;               /* random: the command chooses the names */
	uint32_t first;              /* numbers before it were another table's */
};

enum immure_synth_outcome {
	IMMURE_SYNTH_OK,
	IMMURE_SYNTH_FULL,     /* no room for another name */
	IMMURE_SYNTH_LONG,     /* more label bytes than one name may have */
	IMMURE_SYNTH_FAST,     /* more label bytes than may pass at this time */
};

void immure_synth_defaults(struct immure_synth_config *c);
/* Takes the policy's network.prefix, which replaces that of its family. -EINVAL with
 * the complaint filled. */
int immure_synth_prefix(struct immure_synth_config *c, const char *text,
			struct immure_complaint *complaint);
/* -EINVAL for limits or prefixes out of range, -ENOSPC when `first` leaves no
 * room, -ENOMEM. */
int immure_synth_new(const struct immure_synth_config *c, struct immure_synth **ret);
void immure_synth_free(struct immure_synth *s);

/* The number of a name, counted from `first`, made when it is new. wild_bytes: for a name that only a
 * wildcard rule allows, how many of its bytes the rule does not fix; 0 for
 * others. Returns an immure_synth_outcome, or -ENOMEM, or -EINVAL for no name. */
int immure_synth_add(struct immure_synth *s, const char *name, size_t wild_bytes,
		     uint64_t now_ms, uint32_t *ret_number);
/* Whether the name has a number. */
bool immure_synth_find(const struct immure_synth *s, const char *name, uint32_t *ret_number);
/* Addresses of a number; the gatekeeper's own, where its DNS listens. */
void immure_synth_address(const struct immure_synth *s, enum immure_host_kind kind,
			  uint32_t number, unsigned char ret[16]);
void immure_synth_own(const struct immure_synth *s, enum immure_host_kind kind,
		      unsigned char ret[16]);
/* The name behind an address, mapped ones too; NULL when it was never given out. */
const char *immure_synth_name(const struct immure_synth *s, enum immure_host_kind kind,
			      const unsigned char address[16]);
/* Whether the address lies in one of the two prefixes. */
bool immure_synth_covers(const struct immure_synth *s, enum immure_host_kind kind,
			 const unsigned char address[16]);
uint32_t immure_synth_count(const struct immure_synth *s);

#endif
