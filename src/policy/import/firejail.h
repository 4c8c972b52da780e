/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMMURE_POLICY_IMPORT_FIREJAIL_H
#define IMMURE_POLICY_IMPORT_FIREJAIL_H

#include "policy/import/import.h"

struct immure_firejail {
	struct immure_import *im;
	const char *word, *arg; /* of the line */
	size_t line;
	bool net_said;
};

struct immure_firejail_action {
	const char *word;
	void (*act)(struct immure_firejail *f);
};
extern const struct immure_firejail_action immure_firejail_actions[];

/* Commands that come to nothing here, and why (firejailwords.c). */
struct immure_firejail_word {
	const char *word;
	int32_t kind;
	const char *why;
	bool prefix;
};
extern const struct immure_firejail_word immure_firejail_words[];

#endif
