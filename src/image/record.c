/* SPDX-License-Identifier: Apache-2.0 */
#include "image/record.h"

#include <errno.h>
#include <string.h>

#include "base/parse.h"

static const char HEAD[] = "immure-image 1";

bool immure_image_is_digest(const char *s)
{
	if (strncmp(s, "sha256:", 7) != 0 || strlen(s) != IMMURE_IMAGE_DIGEST)
		return false;
	for (s += 7; *s; s++)
		if (!((*s >= '0' && *s <= '9') || (*s >= 'a' && *s <= 'f')))
			return false;
	return true;
}

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool immure_image_is_name(const char *s)
{
	size_t n = strlen(s);

	if (n == 0 || n > IMMURE_IMAGE_NAME_MAX || !is_alnum(s[0]) || immure_image_is_digest(s))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_alnum(s[i]) && !strchr("._-/:@+", s[i]))
			return false;
	return !strstr(s, "..") && !strstr(s, "//") && s[n - 1] != '/';
}

/* ---- writing ---- */

static void put(struct immure_buf *b, const char *key, const char *value)
{
	immure_buf_puts(b, key);
	immure_buf_putc(b, ' ');
	for (const char *c = value ? value : ""; *c; c++) {
		if (*c == '\n' || *c == '\\')
			immure_buf_putc(b, '\\');
		immure_buf_putc(b, *c == '\n' ? 'n' : *c);
	}
	immure_buf_putc(b, '\n');
}

static void put_all(struct immure_buf *b, const char *key, const struct immure_strv *l)
{
	for (size_t i = 0; i < l->n; i++)
		put(b, key, l->v[i]);
}

void immure_image_record_put(const struct immure_image_record *r, struct immure_buf *b)
{
	immure_buf_printf(b, "%s\n", HEAD);
	put(b, "digest", r->digest);
	put(b, "config", r->config);
	put(b, "platform", r->platform);
	immure_buf_printf(b, "bytes %llu\n", (unsigned long long)r->bytes);
	put_all(b, "layer", &r->layers);
	put(b, "user", r->user);
	put(b, "workdir", r->workdir);
	put(b, "stop", r->stop);
	put_all(b, "env", &r->env);
	put_all(b, "entrypoint", &r->entrypoint);
	put_all(b, "cmd", &r->cmd);
	immure_buf_puts(b, "end\n"); /* a record that was cut short is none */
}

/* ---- reading ---- */

static char *unescape(struct immure_arena *a, const char *s, size_t n)
{
	char *out = immure_arena_alloc(a, n + 1), *to = out;

	if (!out)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		char c = s[i];

		if (c == '\0')
			return NULL;
		if (c == '\\') {
			if (++i == n || (s[i] != 'n' && s[i] != '\\'))
				return NULL;
			c = s[i] == 'n' ? '\n' : '\\';
		}
		*to++ = c;
	}
	*to = '\0';
	return out;
}

static int once(const char **at, const char *value)
{
	if (*at)
		return -EINVAL;
	*at = value;
	return 0;
}

static int take(struct immure_arena *a, struct immure_image_record *r, const char *key, size_t n,
		const char *value)
{
	const struct {
		const char *key;
		const char **one;
		struct immure_strv *list;
	} fields[] = {
		{ "digest", &r->digest, NULL },	  { "config", &r->config, NULL },
		{ "platform", &r->platform, NULL }, { "user", &r->user, NULL },
		{ "workdir", &r->workdir, NULL }, { "stop", &r->stop, NULL },
		{ "layer", NULL, &r->layers },	  { "env", NULL, &r->env },
		{ "entrypoint", NULL, &r->entrypoint }, { "cmd", NULL, &r->cmd },
	};

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (strlen(fields[i].key) != n || memcmp(fields[i].key, key, n) != 0)
			continue;
		if (fields[i].one)
			return once(fields[i].one, value);
		return immure_strv_add(a, fields[i].list, value) ? 0 : -ENOMEM;
	}
	if (n == 5 && memcmp(key, "bytes", 5) == 0)
		return immure_parse_u64(value, &r->bytes) < 0 ? -EINVAL : 0;
	return -EINVAL;
}

static int check(const struct immure_image_record *r)
{
	if (!r->digest || !r->config || !r->platform || !r->user || !r->workdir || !r->stop ||
	    !immure_image_is_digest(r->digest) || !immure_image_is_digest(r->config))
		return -EINVAL;
	if (r->layers.n == 0 || r->layers.n > IMMURE_IMAGE_LAYERS_MAX)
		return -EINVAL;
	for (size_t i = 0; i < r->layers.n; i++)
		if (!immure_image_is_digest(r->layers.v[i]))
			return -EINVAL;
	return 0;
}

int immure_image_record_parse(struct immure_arena *a, const char *text, size_t len,
			      struct immure_image_record *ret)
{
	struct immure_image_record r = { 0 };
	const char *end = text + len;
	bool first = true;

	while (text < end) {
		const char *stop = memchr(text, '\n', (size_t)(end - text));
		const char *space = stop ? memchr(text, ' ', (size_t)(stop - text)) : NULL;
		char *value;
		int e;

		if (!stop)
			return -EINVAL;
		if (first) {
			if ((size_t)(stop - text) != strlen(HEAD) || memcmp(text, HEAD, strlen(HEAD)) != 0)
				return -EINVAL;
			first = false;
			text = stop + 1;
			continue;
		}
		if (stop - text == 3 && memcmp(text, "end", 3) == 0) {
			e = stop + 1 == end ? check(&r) : -EINVAL;
			if (e == 0)
				*ret = r;
			return e;
		}
		if (!space)
			return -EINVAL;
		value = unescape(a, space + 1, (size_t)(stop - space - 1));
		if (!value)
			return a->failed ? -ENOMEM : -EINVAL;
		e = take(a, &r, text, (size_t)(space - text), value);
		if (e < 0)
			return e;
		text = stop + 1;
	}
	return -EINVAL;
}
