/* SPDX-License-Identifier: Apache-2.0 */
/* One policy file: its text, and applying it as a layer. */
#ifndef IMMURE_POLICY_FILE_H
#define IMMURE_POLICY_FILE_H

#include "base/error.h"
#include "policy/build.h"

struct immure_json;

enum { IMMURE_POLICY_FILE_MAX = 1024 * 1024 };

struct immure_policy_file {
	char *name; /* in messages */
	char *text; /* comments blanked */
	size_t len;
	struct immure_json *json;
	const char *extends; /* points into json; NULL = none */
	size_t extends_line;
};

/* Syntax only. Takes a copy of the text. In the lean build
 * -IMMURE_ERR_UNSUPPORTED with stage "json". */
int32_t immure_policy_file_parse(const char *text, size_t len, const char *name,
				 struct immure_policy_file *ret, struct immure_error **err);
void immure_policy_file_done(struct immure_policy_file *f);
/* Every key, as one layer. Messages are NAME:LINE: KEY: WHY. */
int32_t immure_policy_file_apply(const struct immure_policy_file *f,
				 struct immure_policy_build *b, struct immure_error **err);

/* A policy from the text of one file alone, on the profile that it extends or dev;
 * name is for messages (text.c). */
int32_t immure_policy_from_text(const char *text, size_t len, const char *name,
				struct immure_policy **ret, struct immure_error **err);

/* Whether an "extends" names a file; otherwise it names a built-in profile. */
bool immure_policy_extends_file(const char *extends);

#endif
