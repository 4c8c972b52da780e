/* SPDX-License-Identifier: Apache-2.0 */
#include "attack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

__attribute__((format(printf, 2, 0)))
static void detail(struct attack_result *r, const char *fmt, va_list ap)
{
	(void)vsnprintf(r->detail, sizeof(r->detail), fmt, ap); /* cut is fine */
}

void attack_denied(struct attack_result *r, int errnum, const char *fmt, ...)
{
	unsigned int i;
	va_list ap;

	r->count++;
	for (i = 0; i < r->errnos_n && r->errnos[i] != errnum; i++)
		;
	if (i == ATTACK_ERRNOS) { /* one that the judge would not see */
		attack_error(r, "more different errors than can be reported");
		return;
	}
	if (i == r->errnos_n)
		r->errnos[r->errnos_n++] = errnum;
	if (r->outcome != ATTACK_NONE)
		return;
	r->outcome = ATTACK_DENIED;
	va_start(ap, fmt);
	detail(r, fmt, ap);
	va_end(ap);
}

void attack_done(struct attack_result *r, const char *fmt, ...)
{
	va_list ap;

	r->count++;
	if (r->outcome == ATTACK_DONE)
		return;
	r->outcome = ATTACK_DONE;
	va_start(ap, fmt);
	detail(r, fmt, ap);
	va_end(ap);
}

void attack_error(struct attack_result *r, const char *fmt, ...)
{
	va_list ap;

	if (r->outcome == ATTACK_DONE)
		return;
	r->outcome = ATTACK_ERROR;
	va_start(ap, fmt);
	detail(r, fmt, ap);
	va_end(ap);
}

void attack_unsupported(struct attack_result *r, const char *fmt, ...)
{
	va_list ap;

	if (r->outcome != ATTACK_NONE)
		return;
	r->outcome = ATTACK_UNSUPPORTED;
	va_start(ap, fmt);
	detail(r, fmt, ap);
	va_end(ap);
}

bool attack_try(struct attack_result *r, long ret, const char *what)
{
	int e = errno;

	if (ret < 0) {
		attack_denied(r, e, "%s: %s", what, strerror(e));
		return false;
	}
	attack_done(r, "%s: succeeded", what);
	return true;
}

const char *attack_next(const struct attack_ctx *ctx, const char *kind, size_t *i)
{
	while (*i < ctx->n) {
		const struct attack_target *t = &ctx->targets[(*i)++];

		if (strcmp(t->kind, kind) == 0)
			return t->value;
	}
	return NULL;
}

const char *attack_first(const struct attack_ctx *ctx, const char *kind)
{
	size_t i = 0;

	return attack_next(ctx, kind, &i);
}

uint64_t attack_number(const char **s)
{
	uint64_t v = 0;

	for (; **s >= '0' && **s <= '9'; (*s)++)
		v = v * 10 + (uint64_t)(**s - '0');
	if (**s == ' ')
		(*s)++;
	return v;
}

long attack_read_file(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	size_t len = 0;
	ssize_t k = 0;
	int e;

	if (fd < 0)
		return -1;
	while (len < size - 1 && (k = read(fd, buf + len, size - 1 - len)) > 0)
		len += (size_t)k;
	e = errno;
	(void)close(fd); /* only read from */
	errno = e;
	if (k < 0)
		return -1;
	buf[len] = '\0';
	return (long)len;
}

void attack_name(char *buf, size_t size, const char *dir)
{
	struct timespec ts = { 0 };

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* zero would do as well */
	(void)snprintf(buf, size, "%s/.immure-proof-%ld-%lx", strcmp(dir, "/") ? dir : "",
		       (long)getpid(), ts.tv_nsec);
}

const char *attack_field(const char *text, const char *key)
{
	size_t len = strlen(key);

	while (text && *text) {
		if (strncmp(text, key, len) == 0 && text[len] == ':') {
			text += len + 1;
			while (*text == ' ' || *text == '\t')
				text++;
			return text;
		}
		text = strchr(text, '\n');
		if (text)
			text++;
	}
	return NULL;
}

const char *attack_init_file(const struct attack_ctx *ctx, const char *name, char *buf, size_t size)
{
	(void)snprintf(buf, size, "/proc/%ld/%s", ctx->init, name); /* names are short */
	return buf;
}
