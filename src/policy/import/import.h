/* SPDX-License-Identifier: Apache-2.0 */
/* Settings of other sandboxes as a policy of ours. What they say is turned into
 * values of our keys, each with the line it came from; what has no value is a
 * note. Nothing of theirs widens ours in silence: a restriction that is not in the
 * result is a note of its own kind. Full build only. */
#ifndef IMMURE_POLICY_IMPORT_IMPORT_H
#define IMMURE_POLICY_IMPORT_IMPORT_H

#include "policy/build.h"
#include "policy/import/tree.h"

struct immure_import_value {
	const char *key;   /* "files.deny" */
	bool append;
	const char *value;
	const char *from;  /* their name for it */
	size_t line;
};

struct immure_import_line {
	int32_t kind;      /* IMMURE_IMPORT_* */
	const char *what, *why;
	size_t line;
};

struct immure_import {
	struct immure_arena arena;
	struct immure_arena *a;
	const char *format, *file;
	struct immure_policy_build build; /* what was taken so far, for checking */
	struct immure_import_value *values;
	size_t values_n, values_cap;
	struct immure_import_line *lines;
	size_t lines_n, lines_cap;
	char *text; /* the policy file */
	uint64_t lost;
};

/* One reader a format: 0, or an error after immure_fail(). */
typedef int32_t immure_import_reader(struct immure_import *im, const char *text, size_t len,
				     struct immure_error **err);
immure_import_reader immure_import_srt, immure_import_claude, immure_import_codex,
	immure_import_firejail;

/* Takes a value, when its check does; a list's element is added to the profile's.
 * limits: it restricts, so a value that is refused is a restriction lost. */
void immure_import_put(struct immure_import *im, const char *key, const char *value, bool limits,
		       size_t line, const char *from);
/* Replaces the profile's list by this one; call for each element, and with NULL
 * for an empty list. */
void immure_import_replace(struct immure_import *im, const char *key, const char *value,
			   size_t line, const char *from);
void immure_import_note(struct immure_import *im, int32_t kind, size_t line, const char *what,
			const char *fmt, ...) IMMURE_PRINTF(5, 6);
bool immure_import_has(const struct immure_import *im, const char *key, const char *value);
/* Takes values away again, for what theirs says later. */
void immure_import_drop(struct immure_import *im, const char *key, const char *value);

/* codexenv.c */
void immure_import_codex_env(struct immure_import *im, const struct immure_tree *policy);

/* shared.c: what srt and Claude Code have in common. prefix: "sandbox.". */
void immure_import_network(struct immure_import *im, const struct immure_tree *network,
			   const char *prefix);
void immure_import_files(struct immure_import *im, const struct immure_tree *files,
			 const char *prefix);
/* Nothing that theirs denies becomes readable again because a deeper path is
 * allowed; srt's allowRead, which means just that, is left when `again` is set. */
void immure_import_settle(struct immure_import *im, bool again);
/* A host as theirs writes it: no scheme and no path, which our rules have. Denied
 * hosts are denied at every port. */
void immure_import_host(struct immure_import *im, const char *host, bool deny, size_t line,
			const char *name);
/* Drops what is writable below a path that may not be written. */
void immure_import_take_back(struct immure_import *im, const char *denied, size_t line,
			     const char *name);
/* Notes the members of a table that nobody looked at: those in `known`
 * ("key\0why\0...") with their reason as dropped, others as lost. */
struct immure_import_known {
	const char *key;
	int32_t kind;   /* 0: it is read elsewhere */
	const char *why;
};
void immure_import_rest(struct immure_import *im, const struct immure_tree *table,
			const char *prefix, const struct immure_import_known *known,
			int32_t otherwise, const char *why);
/* A pattern without its last parts where these are what "everything below" is
 * written as; NULL when it stays a pattern. */
const char *immure_import_unglob(struct immure_arena *a, const char *path);
/* path is base or below it, as text. */
bool immure_import_below(const char *path, const char *base);
/* "a.b" from prefix "a." and "b". */
const char *immure_import_name(struct immure_import *im, const char *prefix, const char *key);
/* Whether the profile hands a variable of this name through. */
bool immure_import_passes(const struct immure_import *im, const char *name);

int32_t immure_import_run(const char *format, const char *text, size_t len, const char *file,
			  struct immure_import **ret, struct immure_error **err);
void immure_import_destroy(struct immure_import *im);

enum { IMMURE_IMPORT_FILE_MAX = 1024 * 1024, IMMURE_IMPORT_VALUES_MAX = 4096 };

#endif
