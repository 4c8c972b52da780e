/* SPDX-License-Identifier: Apache-2.0 */
/* A growing byte string. Out of memory is remembered and reported once, by
 * immure_buf_take() or immure_buf_ok(), so callers do not check every append. */
#ifndef IMMURE_BASE_BUF_H
#define IMMURE_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct immure_buf {
	char *data; /* always NUL-terminated once non-NULL */
	size_t len;
	size_t cap;
	bool failed;
};

#define IMMURE_BUF_INIT { 0 }

void immure_buf_done(struct immure_buf *b);
/* Makes room at once, where about how much will come is known: growing step by
 * step touches a new page each time. */
void immure_buf_reserve(struct immure_buf *b, size_t len);
void immure_buf_put(struct immure_buf *b, const void *data, size_t len);
void immure_buf_puts(struct immure_buf *b, const char *s);
void immure_buf_putc(struct immure_buf *b, char c);
void immure_buf_printf(struct immure_buf *b, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void immure_buf_vprintf(struct immure_buf *b, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));
/* Little-endian integers, for sealed records. */
void immure_buf_put_u32(struct immure_buf *b, uint32_t v);
void immure_buf_put_u64(struct immure_buf *b, uint64_t v);
/* Appends text that is safe on a terminal: control bytes, DEL, C1 and invalid
 * UTF-8 become \xNN; bidirectional controls become \u{...}. Newline and tab
 * are escaped as well. */
void immure_buf_put_printable(struct immure_buf *b, const char *s, size_t len);
static inline bool immure_buf_ok(const struct immure_buf *b) { return !b->failed; }
/* The string, owned by the caller; NULL when any append ran out of memory.
 * Leaves the buffer empty. */
char *immure_buf_take(struct immure_buf *b);
/* For what must not stay in memory: not left out by the compiler. NULL is nothing. */
static inline void immure_wipe(void *p, size_t len)
{
	if (p && len)
		explicit_bzero(p, len);
}
/* Length in bytes of the valid UTF-8 sequence at s (1..4), 0 when invalid. */
size_t immure_utf8_len(const char *s, size_t len, uint32_t *ret_codepoint);

#endif
