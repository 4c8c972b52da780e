/* SPDX-License-Identifier: Apache-2.0 */
#include "intercept/secret.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/buf.h"

enum { MEMORY = 1 << 20, VALUE_MAX = 16 * 1024, FIELD_MAX = 24 * 1024,
       SCRUB_LEAST = 8 }; /* of a value: shorter ones are in every text */

int immure_secrets_init(struct immure_secrets *s)
{
	memset(s, 0, sizeof(*s));
	s->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (s->memory == MAP_FAILED) {
		s->memory = NULL;
		return -ENOMEM;
	}
	s->size = MEMORY;
	/* As far as limits permit: without it the kernel may write it to swap. */
	(void)mlock(s->memory, s->size);
	return madvise(s->memory, s->size, MADV_DONTDUMP) < 0 ? -errno : 0;
}

void immure_secrets_done(struct immure_secrets *s)
{
	if (s->memory) {
		immure_wipe(s->memory, s->size);
		(void)munmap(s->memory, s->size);
	}
	memset(s, 0, sizeof(*s));
}

static char *room(struct immure_secrets *s, size_t len)
{
	char *p = s->memory + s->used;

	if (len > s->size - s->used)
		return NULL;
	s->used += len;
	return p;
}

/* ---- reading ---- */

static int read_value(struct immure_secrets *s, int fd, struct immure_secret_use *u)
{
	char *p = room(s, VALUE_MAX + 1);
	size_t n = 0;

	if (!p)
		return -E2BIG;
	while (n <= VALUE_MAX) {
		ssize_t got = pread(fd, p + n, VALUE_MAX + 1 - n, (off_t)n); /* others read it, too */

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		n += (size_t)got;
	}
	if (n > VALUE_MAX)
		return -E2BIG;
	/* Files end in a line's end. */
	if (n && p[n - 1] == '\n')
		n--;
	if (n && p[n - 1] == '\r')
		n--;
	s->used -= VALUE_MAX + 1 - n;
	u->value = p;
	u->value_len = n;
	return 0;
}

static const char *wrong_with(const struct immure_secret_use *u, uint32_t use)
{
	if (u->value_len == 0)
		return "the value is empty";
	for (size_t i = 0; i < u->value_len; i++)
		if ((unsigned char)u->value[i] < 0x20 || u->value[i] == 0x7f)
			return "the value has a byte that no field of a request can have";
	if (u->value[0] == ' ' || u->value[u->value_len - 1] == ' ')
		return "the value begins or ends with a space";
	if (use == IMMURE_LEND_BASIC && !memchr(u->value, ':', u->value_len))
		return "for \"basic\" the value has to be USER:PASSWORD";
	return NULL;
}

/* The whole field, made once. */
static int make_field(struct immure_secrets *s, uint32_t use, struct immure_secret_use *u)
{
	const char *scheme = use == IMMURE_LEND_BEARER ? "Bearer " : use == IMMURE_LEND_BASIC ? "Basic " : "";
	size_t len = strlen(scheme);
	struct immure_buf b = IMMURE_BUF_INIT;
	char *p;

	if (use == IMMURE_LEND_BASIC) {
		immure_buf_reserve(&b, u->value_len * 2 + 8); /* so that it never moves */
		immure_base64_put(&b, u->value, u->value_len);
	}
	u->field_len = len + (use == IMMURE_LEND_BASIC ? b.len : u->value_len);
	p = immure_buf_ok(&b) && u->field_len <= FIELD_MAX ? room(s, u->field_len) : NULL;
	if (p) {
		memcpy(p, scheme, len);
		memcpy(p + len, use == IMMURE_LEND_BASIC ? b.data : u->value, u->field_len - len);
		u->field = p;
	}
	if (p && use == IMMURE_LEND_BASIC) {
		u->coded = p + len;
		u->coded_len = u->field_len - len;
	}
	immure_wipe(b.data, b.cap);
	immure_buf_done(&b);
	return p ? 0 : -ENOMEM;
}

static int parse_to(struct immure_arena *a, const char *text, struct immure_secret_use *u)
{
	struct immure_judge j = { 0 };
	struct immure_complaint c = { 0 };
	struct immure_strv to = { 0 };
	int r;

	while (*text) {
		size_t n = strcspn(text, "|");

		if (!immure_strv_add(a, &to, immure_arena_strndup(a, text, n)))
			return -ENOMEM;
		text += n + (text[n] == '|');
	}
	r = immure_judge_secrets(a, &to, &j, &c);
	u->to = j.secret;
	u->to_n = j.secret_n;
	return r < 0 ? r : u->to_n ? 0 : -EINVAL;
}

int immure_secrets_add(struct immure_secrets *s, struct immure_arena *a,
		       const struct immure_lend_secret *m, int fd, const char **ret_why)
{
	struct immure_secret_use *u = &s->v[s->n];
	int r;

	*ret_why = "it cannot be read";
	if (s->n == IMMURE_LEND_SECRETS)
		return -E2BIG;
	memset(u, 0, sizeof(*u));
	memcpy(u->name, m->name, sizeof(u->name));
	memcpy(u->header, m->use == IMMURE_LEND_HEADER ? m->header : "Authorization",
	       m->use == IMMURE_LEND_HEADER ? sizeof(u->header) : sizeof("Authorization"));
	memcpy(u->placeholder, m->placeholder, sizeof(u->placeholder));
	r = read_value(s, fd, u);
	if (r < 0)
		return r;
	*ret_why = wrong_with(u, m->use);
	if (*ret_why)
		return -EINVAL;
	*ret_why = "where it goes";
	r = parse_to(a, m->to, u);
	if (r == 0)
		r = make_field(s, m->use, u);
	if (r == 0)
		s->n++;
	return r;
}

int immure_secrets_mark(const struct immure_secrets *s, size_t i, struct immure_lend_mark *ret)
{
	const struct immure_secret_use *u = &s->v[i];
	uint64_t base[2];

	*ret = (struct immure_lend_mark){ .number = (uint32_t)i };
	if (getrandom(base, sizeof(base), 0) != sizeof(base))
		return -EIO;
	if (u->value_len >= IMMURE_NEEDLE_LEAST)
		immure_needle_make(&ret->needle[ret->n++], u->value, u->value_len, base[0]);
	if (u->coded && u->coded_len >= IMMURE_NEEDLE_LEAST && u->coded_len <= IMMURE_NEEDLE_MOST)
		immure_needle_make(&ret->needle[ret->n++], u->coded, u->coded_len, base[1]);
	return 0;
}

/* ---- requests ---- */

static bool goes_there(const struct immure_secret_use *u, const struct immure_endpoint *to)
{
	for (size_t i = 0; i < u->to_n; i++)
		if (immure_judge_covers(&u->to[i].rule, to))
			return true;
	return false;
}

const char *immure_secrets_misplaced(const struct immure_secrets *s, const struct immure_endpoint *to,
				     const char *text, size_t len)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct immure_secret_use *u = &s->v[i];

		if (u->placeholder[0] && memmem(text, len, u->placeholder, strlen(u->placeholder)) &&
		    !goes_there(u, to))
			return u->name;
	}
	return NULL;
}

static bool is_field(const char *line, size_t name_len, const char *name)
{
	return strlen(name) == name_len && strncasecmp(line, name, name_len) == 0;
}

/* Which secrets this request takes: the first for each field. */
static uint64_t takes(const struct immure_secrets *s, const struct immure_endpoint *to,
		      const struct immure_http_head *h)
{
	uint64_t set = 0;

	for (size_t i = 0; i < s->n; i++) {
		bool had = false;

		for (size_t k = 0; k < i; k++)
			had |= (set >> k & 1) && strcasecmp(s->v[k].header, s->v[i].header) == 0;
		if (!had && immure_judge_is_about(s->v[i].to, s->v[i].to_n, to, h))
			set |= UINT64_C(1) << i;
	}
	return set;
}

/* Whether a line of the client's gives way to one of ours. Responses are looked through only
 * as they are, so none is asked for that is packed. */
static bool gives_way(const struct immure_secrets *s, uint64_t set, const char *line, size_t name_len)
{
	for (size_t i = 0; i < s->n; i++)
		if ((set >> i & 1) && is_field(line, name_len, s->v[i].header))
			return true;
	return is_field(line, name_len, "accept-encoding");
}

static char *put(char *to, const char *from, size_t len)
{
	memcpy(to, from, len);
	return to + len;
}

int immure_secrets_rewrite(const struct immure_secrets *s, const struct immure_endpoint *to,
			   const struct immure_http_head *head, const char *text, size_t len,
			   uint64_t *sent, char **ret, size_t *ret_len)
{
	static const char plain[] = "Accept-Encoding: identity\r\n";
	uint64_t set = takes(s, to, head);
	const char *end = text + len, *line = (const char *)memchr(text, '\n', len) + 1;
	size_t most = len + sizeof(plain);
	char *out, *at;

	for (size_t i = 0; i < s->n; i++)
		most += set >> i & 1 ? strlen(s->v[i].header) + s->v[i].field_len + 4 : 0;
	out = malloc(most);
	if (!out)
		return -ENOMEM;
	at = put(out, text, (size_t)(line - text));
	while (end - line > 2) { /* the last one is empty */
		const char *next = (const char *)memchr(line, '\n', (size_t)(end - line)) + 1;
		const char *colon = memchr(line, ':', (size_t)(next - line));

		if (!set || !gives_way(s, set, line, (size_t)(colon - line)))
			at = put(at, line, (size_t)(next - line));
		line = next;
	}
	if (set)
		at = put(at, plain, sizeof(plain) - 1);
	for (size_t i = 0; i < s->n; i++) {
		const struct immure_secret_use *u = &s->v[i];

		if (!(set >> i & 1))
			continue;
		at = put(at, u->header, strlen(u->header));
		at = put(at, ": ", 2);
		at = put(at, u->field, u->field_len);
		at = put(at, "\r\n", 2);
	}
	at = put(at, "\r\n", 2);
	*sent |= set;
	*ret = out;
	*ret_len = (size_t)(at - out);
	return 0;
}

/* ---- responses ---- */

static void stars(char *text, size_t len, const char *value, size_t n)
{
	char *at = text;

	while (n >= SCRUB_LEAST && (at = memmem(at, len - (size_t)(at - text), value, n)))
		memset(at, '*', n);
}

/* The longest end of text that a value begins with. */
static size_t begins(const char *text, size_t len, const char *value, size_t n)
{
	size_t k = n - 1 < len ? n - 1 : len;

	for (; n >= SCRUB_LEAST && k > 0; k--)
		if (memcmp(text + len - k, value, k) == 0)
			return k;
	return 0;
}

int immure_secrets_scrub(const struct immure_secrets *s, struct immure_scrub *k, const char *data,
			 size_t len, bool end, char **ret, size_t *ret_len)
{
	size_t all = k->len + len, hold = 0;
	char *text = malloc(all + 1);

	if (!text)
		return -ENOMEM;
	if (k->len)
		memcpy(text, k->held, k->len);
	if (len)
		memcpy(text + k->len, data, len);
	immure_scrub_done(k);
	for (size_t i = 0; i < s->n; i++) {
		const struct immure_secret_use *u = &s->v[i];
		size_t a, b;

		if (!(k->sent >> i & 1))
			continue;
		stars(text, all, u->value, u->value_len);
		if (u->coded)
			stars(text, all, u->coded, u->coded_len);
		a = end ? 0 : begins(text, all, u->value, u->value_len);
		b = end || !u->coded ? 0 : begins(text, all, u->coded, u->coded_len);
		hold = a > hold ? a : hold;
		hold = b > hold ? b : hold;
	}
	if (hold) {
		k->held = malloc(hold);
		if (!k->held) {
			immure_wipe(text, all);
			free(text);
			return -ENOMEM;
		}
		memcpy(k->held, text + all - hold, hold);
		k->len = hold;
	}
	*ret = text;
	*ret_len = all - hold;
	return 0;
}

void immure_scrub_done(struct immure_scrub *k)
{
	immure_wipe(k->held, k->len);
	free(k->held);
	k->held = NULL;
	k->len = 0;
}
