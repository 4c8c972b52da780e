/* SPDX-License-Identifier: Apache-2.0 */
/* The text of a journal, shared by the files that write and read it. */
#ifndef IMMURE_SESSION_JOURNAL_LINE_H
#define IMMURE_SESSION_JOURNAL_LINE_H

#include "session/journal.h"

enum {
	IMMURE_JOURNAL_HASH_LEN = 32, /* characters */
	IMMURE_JOURNAL_FILE_MAX = 64 << 20,
};

/* Where a journal ends: what an append needs. */
struct immure_journal_end {
	uint64_t first, next; /* numbers */
	uint64_t size, torn;  /* bytes that are good, bytes after them */
	unsigned char head[32];
	unsigned char before[32]; /* of a rotated one: the head of the older file */
};

/* ret may be `before`. */
void immure_journal_chain(const unsigned char before[32], const char *line, size_t len,
			  unsigned char ret[32]);
void immure_journal_hex(const unsigned char *bytes, size_t n, char *ret);
/* Checks a text and hands out its records; all of *ret is set, on -EBADMSG as
 * well. */
int immure_journal_parse(const char *text, size_t len,
			 int (*each)(void *ctx, const struct immure_journal_record *r), void *ctx,
			 struct immure_journal_end *ret);
/* The same of a file. */
int immure_journal_scan(int dir_fd, const char *name,
			int (*each)(void *ctx, const struct immure_journal_record *r), void *ctx,
			struct immure_journal_end *ret);

#endif
