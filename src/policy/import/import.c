/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/import/import.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/jsonw.h"
#include "base/parse.h"
#include "policy/checks.h"
#include "policy/env.h"
#include "policy/file.h"
#include "policy/keys.h"

static const struct {
	const char *name;
	immure_import_reader *read;
} formats[] = {
	{ "srt", immure_import_srt },
	{ "claude", immure_import_claude },
	{ "codex", immure_import_codex },
	{ "firejail", immure_import_firejail },
};
enum { FORMATS = sizeof(formats) / sizeof(formats[0]) };

/* ---- what the readers say ---- */

void immure_import_note(struct immure_import *im, int32_t kind, size_t line, const char *what,
			const char *fmt, ...)
{
	struct immure_import_line *v;
	char why[400];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(why, sizeof(why), fmt, ap); /* cut is fine: a message */
	va_end(ap);
	if (im->lines_n == im->lines_cap) {
		size_t cap = im->lines_cap ? im->lines_cap * 2 : 32;

		v = immure_arena_alloc(im->a, cap * sizeof(*v));
		if (!v)
			return; /* the arena knows */
		if (im->lines_n)
			memcpy(v, im->lines, im->lines_n * sizeof(*v));
		im->lines = v;
		im->lines_cap = cap;
	}
	im->lost += kind == IMMURE_IMPORT_LOST;
	im->lines[im->lines_n++] = (struct immure_import_line){
		.kind = kind, .line = line, .what = immure_arena_strdup(im->a, what),
		.why = immure_arena_strdup(im->a, why),
	};
}

static void take(struct immure_import *im, const struct immure_key *k, bool append,
		 const char *value, size_t line, const char *from)
{
	struct immure_import_value *v = im->values;

	if (im->values_n == im->values_cap) {
		size_t cap = im->values_cap ? im->values_cap * 2 : 64;

		v = immure_arena_alloc(im->a, cap * sizeof(*v));
		if (!v)
			return;
		if (im->values_n)
			memcpy(v, im->values, im->values_n * sizeof(*v));
		im->values = v;
		im->values_cap = cap;
	}
	v[im->values_n++] = (struct immure_import_value){
		.key = k->path, .append = append, .line = line,
		.value = value ? immure_arena_strdup(im->a, value) : NULL,
		.from = immure_arena_strdup(im->a, from),
	};
}

static bool is_utf8(const char *s)
{
	size_t left = strlen(s), n;
	uint32_t code;

	for (; left; s += n, left -= n) {
		n = immure_utf8_len(s, left, &code);
		if (!n)
			return false;
	}
	return true;
}

/* A name stands once in a map. */
static void drop_variable(struct immure_import *im, const char *value)
{
	size_t n = strcspn(value, "=");

	for (size_t i = 0; i < im->values_n; i++) {
		const char *old = im->values[i].value;

		if (strcmp(im->values[i].key, "environment.set") == 0 && old &&
		    strncmp(old, value, n) == 0 && old[n] == '=') {
			immure_import_drop(im, "environment.set", old);
			return;
		}
	}
}

static void put(struct immure_import *im, const char *key, const char *value, bool limits,
		bool append, size_t line, const char *from)
{
	const struct immure_key *k = &immure_keys[immure_key_find(key)];
	struct immure_complaint c = { 0 };
	int r = 0;

	if (value && immure_import_has(im, key, value))
		return;
	if (!immure_key_appends(k)) /* of two values for one key the later counts, as with them */
		immure_import_drop(im, key, NULL);
	if (k->type == IMMURE_KEY_ENV && value)
		drop_variable(im, value);
	if (value && !is_utf8(value))
		r = immure_complain(&c, "not UTF-8");
	else if (immure_key_appends(k) && im->values_n >= IMMURE_IMPORT_VALUES_MAX)
		r = immure_complain(&c, "more than %d values", IMMURE_IMPORT_VALUES_MAX);
	else if (value)
		r = immure_build_assign(&im->build, k, value, append, &c);
	if (r == -ENOMEM)
		im->a->failed = true;
	else if (r < 0)
		immure_import_note(im, limits ? IMMURE_IMPORT_LOST : IMMURE_IMPORT_DROPPED, line, from,
				   "%s", c.text);
	else
		take(im, k, append, value, line, from);
}

void immure_import_put(struct immure_import *im, const char *key, const char *value, bool limits,
		       size_t line, const char *from)
{
	put(im, key, value, limits, immure_key_appends(&immure_keys[immure_key_find(key)]), line, from);
}

void immure_import_replace(struct immure_import *im, const char *key, const char *value,
			   size_t line, const char *from)
{
	put(im, key, value, false, false, line, from);
}

bool immure_import_has(const struct immure_import *im, const char *key, const char *value)
{
	for (size_t i = 0; i < im->values_n; i++)
		if (strcmp(im->values[i].key, key) == 0 &&
		    (!value || (im->values[i].value && strcmp(im->values[i].value, value) == 0)))
			return true;
	return false;
}

void immure_import_drop(struct immure_import *im, const char *key, const char *value)
{
	size_t out = 0;

	for (size_t i = 0; i < im->values_n; i++)
		if (strcmp(im->values[i].key, key) != 0 ||
		    (value && (!im->values[i].value || strcmp(im->values[i].value, value) != 0)))
			im->values[out++] = im->values[i];
	im->values_n = out;
}

bool immure_import_passes(const struct immure_import *im, const char *name)
{
	return immure_env_passes(im->build.p, name, strlen(name));
}

const char *immure_import_name(struct immure_import *im, const char *prefix, const char *key)
{
	const char *name = immure_arena_printf(im->a, "%s%s", prefix, key);

	return name ? name : key;
}

/* ---- the file ---- */

static void put_comment(struct immure_buf *out, const struct immure_import *im, size_t line,
			const char *text)
{
	immure_buf_puts(out, "// ");
	immure_buf_put_printable(out, im->file, strlen(im->file));
	if (line)
		immure_buf_printf(out, ":%zu", line);
	immure_buf_puts(out, ": ");
	immure_buf_put_printable(out, text, strlen(text));
}

static const char *section_of(const char *key, size_t *ret_len)
{
	const char *dot = strchr(key, '.');

	*ret_len = dot ? (size_t)(dot - key) : 0;
	return dot ? dot + 1 : key;
}

static void put_scalar(struct immure_buf *out, const struct immure_key *k, const char *value)
{
	uint64_t n;

	if (k->type == IMMURE_KEY_COUNT && immure_parse_u64(value, &n) == 0) /* "007" is no JSON */
		immure_buf_printf(out, "%llu", (unsigned long long)n);
	else if (k->type == IMMURE_KEY_BOOL || k->type == IMMURE_KEY_MILLI)
		immure_buf_puts(out, value);
	else
		immure_json_quote(out, value, strlen(value));
}

static size_t values_of(const struct immure_import *im, const char *key)
{
	size_t n = 0;

	for (size_t i = 0; i < im->values_n; i++)
		n += strcmp(im->values[i].key, key) == 0 && im->values[i].value != NULL;
	return n;
}

static void put_element(struct immure_buf *out, const struct immure_key *k, const char *value)
{
	const char *eq = k->type == IMMURE_KEY_ENV ? strchr(value, '=') : NULL;

	if (eq) {
		immure_json_quote(out, value, (size_t)(eq - value));
		immure_buf_puts(out, ": ");
		value = eq + 1;
	}
	immure_json_quote(out, value, strlen(value));
}

static void put_list(struct immure_buf *out, const struct immure_import *im,
		     const struct immure_key *k, const char *indent)
{
	bool map = k->type == IMMURE_KEY_ENV;
	size_t n = values_of(im, k->path), seen = 0;

	immure_buf_putc(out, map ? '{' : '[');
	for (size_t i = 0; i < im->values_n; i++) {
		const struct immure_import_value *v = &im->values[i];

		if (strcmp(v->key, k->path) != 0 || !v->value)
			continue;
		immure_buf_printf(out, "\n%s\t", indent);
		put_element(out, k, v->value);
		immure_buf_puts(out, ++seen < n ? ", " : " ");
		put_comment(out, im, v->line, v->from);
	}
	if (seen)
		immure_buf_printf(out, "\n%s", indent);
	immure_buf_putc(out, map ? '}' : ']');
}

/* The first value of a key: whether it is set at all, and whether it appends. */
static const struct immure_import_value *first_of(const struct immure_import *im, const char *key)
{
	for (size_t i = 0; i < im->values_n; i++)
		if (strcmp(im->values[i].key, key) == 0)
			return &im->values[i];
	return NULL;
}

static void put_key(struct immure_buf *out, const struct immure_import *im,
		    const struct immure_key *k, const struct immure_import_value *v,
		    const char *indent, bool last)
{
	size_t section;
	const char *name = section_of(k->path, &section);

	immure_buf_printf(out, "%s\"%s%s\": ", indent, v->append ? "+" : "", name);
	if (immure_key_appends(k))
		put_list(out, im, k, indent);
	else
		put_scalar(out, k, v->value);
	immure_buf_puts(out, last ? "" : ",");
	if (!immure_key_appends(k)) {
		immure_buf_putc(out, ' ');
		put_comment(out, im, v->line, v->from);
	}
	immure_buf_putc(out, '\n');
}

static void put_head(struct immure_buf *out, const struct immure_import *im)
{
	immure_buf_printf(out, "// Made by: immure policy import --from %s ", im->format);
	immure_buf_put_printable(out, im->file, strlen(im->file));
	immure_buf_putc(out, '\n');
	if (im->lost)
		immure_buf_printf(out, "// %llu restriction%s of it %s not in here:\n",
				  (unsigned long long)im->lost, im->lost == 1 ? "" : "s",
				  im->lost == 1 ? "is" : "are");
	for (size_t i = 0; i < im->lines_n; i++) {
		if (im->lines[i].kind != IMMURE_IMPORT_LOST)
			continue;
		put_comment(out, im, im->lines[i].line, im->lines[i].what);
		immure_buf_puts(out, ": LOST: ");
		immure_buf_put_printable(out, im->lines[i].why, strlen(im->lines[i].why));
		immure_buf_putc(out, '\n');
	}
}

/* The last key of the table that is set, or of one section. */
static size_t last_set(const struct immure_import *im, const char *section, size_t len)
{
	size_t last = immure_keys_n;

	for (size_t i = 0; i < immure_keys_n; i++)
		if (first_of(im, immure_keys[i].path) &&
		    (!section || (strncmp(immure_keys[i].path, section, len) == 0 &&
				  immure_keys[i].path[len] == '.')))
			last = i;
	return last;
}

static void put_section(struct immure_buf *out, const struct immure_import *im, const char *path,
			size_t len)
{
	size_t end = last_set(im, path, len);

	immure_buf_printf(out, "\t\"%.*s\": {\n", (int)len, path);
	for (size_t i = 0; i < immure_keys_n; i++) {
		const struct immure_import_value *v = first_of(im, immure_keys[i].path);

		if (v && strncmp(immure_keys[i].path, path, len) == 0 &&
		    immure_keys[i].path[len] == '.')
			put_key(out, im, &immure_keys[i], v, "\t\t", i == end);
	}
	immure_buf_puts(out, "\t}");
}

/* A key outside of any section. Its comment goes ahead: a comma may follow. */
static void put_single(struct immure_buf *out, const struct immure_import *im,
		       const struct immure_key *k, const struct immure_import_value *v)
{
	immure_buf_putc(out, '\t');
	put_comment(out, im, v->line, v->from);
	immure_buf_printf(out, "\n\t\"%s\": ", k->path);
	put_scalar(out, k, v->value);
}

static char *print(const struct immure_import *im)
{
	struct immure_buf out = IMMURE_BUF_INIT;
	const char *done = "";
	size_t done_len = 0;

	put_head(&out, im);
	immure_buf_puts(&out, "{\n\t\"extends\": \"dev\"");
	for (size_t i = 0; i < immure_keys_n; i++) {
		const char *path = immure_keys[i].path;
		const struct immure_import_value *first = first_of(im, path);
		size_t len;

		(void)section_of(path, &len);
		if (!first || (len && len == done_len && strncmp(path, done, len) == 0))
			continue;
		immure_buf_puts(&out, ",\n");
		if (len) {
			put_section(&out, im, path, len);
			done = path;
			done_len = len;
		} else {
			put_single(&out, im, &immure_keys[i], first);
		}
	}
	immure_buf_puts(&out, "\n}\n");
	return immure_buf_take(&out);
}

/* ---- all of it ---- */

void immure_import_destroy(struct immure_import *im)
{
	if (!im)
		return;
	immure_build_abort(&im->build);
	immure_arena_done(&im->arena);
	free(im->text);
	free(im);
}

/* What was made is held against our own parser: better nothing than a file that
 * says something else than was meant. */
static int32_t finish(struct immure_import *im, struct immure_error **err)
{
	struct immure_policy *policy = NULL;
	int32_t r;

	im->text = im->a->failed ? NULL : print(im);
	if (!im->text)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "import", "", "out of memory");
	r = immure_policy_from_text(im->text, strlen(im->text), im->file, &policy, err);
	immure_policy_destroy(policy);
	return r;
}

int32_t immure_import_run(const char *format, const char *text, size_t len, const char *file,
			  struct immure_import **ret, struct immure_error **err)
{
	struct immure_import *im;
	size_t f = 0;
	int32_t r;

	while (f < FORMATS && strcmp(formats[f].name, format) != 0)
		f++;
	if (f == FORMATS) {
		r = immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "import", "format",
				"\"%s\": settings in this format cannot be read", format);
		if (err)
			immure_error_set_hint(*err, "formats are srt, claude, codex and firejail");
		return r;
	}
	if (len > IMMURE_IMPORT_FILE_MAX)
		return immure_fail(err, IMMURE_ERR_POLICY, EFBIG, "import", file,
				   "%s: larger than %d bytes", file, IMMURE_IMPORT_FILE_MAX);
	im = calloc(1, sizeof(*im));
	if (!im)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "import", "", "out of memory");
	im->a = &im->arena;
	im->format = formats[f].name;
	im->file = immure_arena_strdup(im->a, file);
	r = im->file ? immure_build_begin(&im->build, err) :
		       immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "import", "", "out of memory");
	if (r == 0)
		r = immure_build_profile(&im->build, "dev", err);
	if (r == 0) {
		immure_build_layer(&im->build, "import");
		r = formats[f].read(im, text, len, err);
	}
	if (r == 0)
		r = finish(im, err);
	if (r < 0)
		immure_import_destroy(im);
	else
		*ret = im;
	return r;
}
