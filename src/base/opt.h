/* SPDX-License-Identifier: Apache-2.0 */
/* Command-line options from one table: parsing (getopt_long), help, and the
 * lists that completions and man pages are made from. */
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
	const char *choices;  /* "a|b|c", NULL = free */
	int id;               /* > 0, handed to the callback */
};

/* Calls each(ctx, id, value) for every option up to the first operand or "--";
 * returns the index of the first operand in argv, or -EINVAL after putting one
 * line into *ret_error (caller frees). A non-zero return of each() stops and is
 * passed on. Options must precede operands (POSIX), so a command's own flags
 * are never ours. */
int immure_opt_parse(const struct immure_opt *table, size_t n, int argc, char **argv,
		     int (*each)(void *ctx, int id, const char *value), void *ctx,
		     char **ret_error);
/* The options part of --help, aligned. */
void immure_opt_help(const struct immure_opt *table, size_t n, struct immure_buf *out);

#endif
