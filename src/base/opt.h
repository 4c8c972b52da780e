/* SPDX-License-Identifier: Apache-2.0 */
/* Command-line options from one table: parsing, help, and the lists that
 * completions and man pages are made from. Not getopt_long(): it keeps global
 * state and accepts abbreviations, which change meaning when a flag is added. */
#ifndef IMMURE_BASE_OPT_H
#define IMMURE_BASE_OPT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

struct immure_opt {
	const char *name;     /* long name without dashes */
	char letter;          /* 0 = none */
	const char *argument; /* "FILE"; NULL = takes none */
	const char *help;     /* one line, no full stop */
	const char *choices;  /* "a|b|c", NULL = free; a choice in capitals is a placeholder */
	int id;               /* > 0, handed to the callback */
};

/* Calls each(ctx, id, value) for every option up to the first operand or "--";
 * returns the index of the first operand in argv, or -EINVAL after putting one
 * line into *ret_error (caller frees). A non-zero return of each() stops and is
 * passed on: it should be negative. Options must precede operands (POSIX), so a
 * command's own flags are never ours. argv[0] is skipped. */
int immure_opt_parse(const struct immure_opt *table, size_t n, int argc, char **argv,
		     int (*each)(void *ctx, int id, const char *value), void *ctx,
		     char **ret_error);
/* The options part of --help, aligned. */
void immure_opt_help(const struct immure_opt *table, size_t n, struct immure_buf *out);
/* How many single-character edits turn a into b, counted up to `limit`. */
unsigned int immure_opt_distance(const char *a, const char *b, unsigned int limit);

#endif
