/* SPDX-License-Identifier: Apache-2.0 */
/* What a teardown came to, resource by resource: one report for all errors. */
#ifndef IMMURE_SESSION_REPORT_H
#define IMMURE_SESSION_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

enum immure_fate {
	IMMURE_FATE_REMOVED, /* or, in a dry run, would be */
	IMMURE_FATE_KEPT,    /* on purpose; why says which */
	IMMURE_FATE_FAILED,  /* it is still there: repair needed */
	IMMURE_FATE_MAX,
};

struct immure_report_item {
	char *session;    /* id, "" = of none */
	const char *kind; /* "process", "cgroup", "directory" ...; static */
	char *what;
	enum immure_fate fate;
	char *why;        /* "" */
};

struct immure_report {
	bool dry_run, failed; /* failed: out of memory, items are missing */
	uint32_t sessions, alive; /* dead ones cleaned up; living ones left alone */
	uint32_t ended;           /* ended in order, and only on record: left alone */
	uint32_t repair_needed;   /* sessions of which something is left */
	uint32_t count[IMMURE_FATE_MAX];
	uint64_t wall_us;
	struct immure_report_item *items;
	uint32_t items_n, items_cap;
};

void immure_report_add(struct immure_report *r, const char *session, const char *kind,
		       const char *what, enum immure_fate fate, const char *why);
void immure_report_done(struct immure_report *r);
void immure_report_text(const struct immure_report *r, struct immure_buf *out);
void immure_report_json(const struct immure_report *r, struct immure_buf *out);
const char *immure_fate_name(enum immure_fate f);

#endif
