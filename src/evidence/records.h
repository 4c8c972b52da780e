/* SPDX-License-Identifier: Apache-2.0 */
/* The attacker's report as read from its pipe: bytes of something that ran in
 * the session, so every byte is checked. */
#ifndef IMMURE_EVIDENCE_RECORDS_H
#define IMMURE_EVIDENCE_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IMMURE_RECORD_ERRNOS 6
#define IMMURE_RECORDS_MAX 512

enum immure_record_outcome {
	IMMURE_RECORD_DENIED,
	IMMURE_RECORD_DONE,
	IMMURE_RECORD_ERROR,
	IMMURE_RECORD_UNSUPPORTED,
	IMMURE_RECORD_KILLED, /* errnos[0] is the signal */
	IMMURE_RECORD_HUNG,
	IMMURE_RECORD_SILENT,
};

struct immure_record {
	const char *id; /* in the text */
	enum immure_record_outcome outcome;
	uint32_t count;
	uint32_t errnos_n;
	int32_t errnos[IMMURE_RECORD_ERRNOS];
	const char *detail; /* printable ASCII */
};

struct immure_records {
	struct immure_record *v;
	size_t n;
	const char *trouble; /* what is wrong with the whole, NULL = nothing */
};

/* Parses text (len bytes, NUL-terminated, changed in place) into v, which holds
 * IMMURE_RECORDS_MAX. Stops at the first thing that is not as it must be; what
 * came before is kept, and trouble says so. */
void immure_records_parse(char *text, size_t len, struct immure_record *v,
			  struct immure_records *ret);

#endif
