/* SPDX-License-Identifier: Apache-2.0 */
#include "base/opt.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define WORD_MAX 32
#define HELP_COLUMN 26
#define HELP_WIDTH 80

unsigned int immure_opt_distance(const char *a, const char *b, unsigned int limit)
{
	size_t la = strlen(a), lb = strlen(b);
	unsigned int row[WORD_MAX + 1];

	if (la > WORD_MAX || lb > WORD_MAX)
		return limit;
	for (size_t j = 0; j <= lb; j++)
		row[j] = (unsigned int)j;
	for (size_t i = 1; i <= la; i++) {
		unsigned int diagonal = row[0];

		row[0] = (unsigned int)i;
		for (size_t j = 1; j <= lb; j++) {
			unsigned int best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[lb] < limit ? row[lb] : limit;
}

static int fail(struct immure_buf *line, char **ret_error)
{
	*ret_error = immure_buf_take(line);
	return -EINVAL;
}

static int unknown_long(const struct immure_opt *table, size_t n, const char *name, size_t len,
			char **ret_error)
{
	struct immure_buf line = IMMURE_BUF_INIT;
	const struct immure_opt *near = NULL;
	unsigned int least = 3;
	char word[WORD_MAX + 1] = "";

	immure_buf_puts(&line, "--");
	immure_buf_put_printable(&line, name, len);
	immure_buf_puts(&line, ": no such option");
	if (len <= WORD_MAX)
		memcpy(word, name, len);
	for (size_t i = 0; i < n && word[0]; i++) {
		unsigned int d = immure_opt_distance(word, table[i].name, least);

		if (!strncmp(table[i].name, word, len))
			d = 0; /* cut short rather than mistyped */
		else if (d > 1 && word[0] != table[i].name[0])
			continue; /* two mistakes, the first letter among them: another word */
		if (d < least) {
			least = d;
			near = &table[i];
		}
	}
	if (near)
		immure_buf_printf(&line, "; did you mean --%s?", near->name);
	else
		immure_buf_puts(&line, "; see --help");
	return fail(&line, ret_error);
}

static bool is_placeholder(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!isupper((unsigned char)s[i]))
			return false;
	return len > 0;
}

static bool choice_allowed(const char *choices, const char *value)
{
	size_t want = strlen(value);

	for (const char *c = choices;; c++) {
		size_t len = strcspn(c, "|");

		if ((len == want && !memcmp(c, value, len)) || is_placeholder(c, len))
			return true;
		c += len;
		if (!*c)
			return false;
	}
}

static int deliver(const struct immure_opt *opt, const char *value,
		   int (*each)(void *ctx, int id, const char *value), void *ctx, char **ret_error)
{
	if (value && opt->choices && !choice_allowed(opt->choices, value)) {
		struct immure_buf line = IMMURE_BUF_INIT;

		immure_buf_printf(&line, "--%s: '", opt->name);
		immure_buf_put_printable(&line, value, strlen(value));
		immure_buf_puts(&line, "' is not one of ");
		for (const char *c = opt->choices; *c; c++)
			immure_buf_put(&line, *c == '|' ? ", " : c, *c == '|' ? 2 : 1);
		return fail(&line, ret_error);
	}
	return each(ctx, opt->id, value);
}

static int needs_value(const struct immure_opt *opt, char **ret_error)
{
	struct immure_buf line = IMMURE_BUF_INIT;

	immure_buf_printf(&line, "--%s: needs %s", opt->name, opt->argument);
	return fail(&line, ret_error);
}

/* Returns how many words of argv were used, or what stopped it. */
static int parse_long(const struct immure_opt *table, size_t n, const char *word, const char *next,
		      int (*each)(void *ctx, int id, const char *value), void *ctx,
		      char **ret_error)
{
	size_t len = strcspn(word, "=");
	const char *value = word[len] ? word + len + 1 : NULL;
	const struct immure_opt *opt = NULL;
	int used = 1, r;

	for (size_t i = 0; i < n && !opt; i++)
		if (!strncmp(table[i].name, word, len) && !table[i].name[len])
			opt = &table[i];
	if (!opt)
		return unknown_long(table, n, word, len, ret_error);
	if (!opt->argument && value) {
		struct immure_buf line = IMMURE_BUF_INIT;

		immure_buf_printf(&line, "--%s: takes no value", opt->name);
		return fail(&line, ret_error);
	}
	if (opt->argument && !value) {
		if (!next)
			return needs_value(opt, ret_error);
		value = next;
		used = 2;
	}
	r = deliver(opt, value, each, ctx, ret_error);
	return r ? r : used;
}

static int parse_letters(const struct immure_opt *table, size_t n, const char *word,
			 const char *next, int (*each)(void *ctx, int id, const char *value),
			 void *ctx, char **ret_error)
{
	for (const char *c = word; *c; c++) {
		const struct immure_opt *opt = NULL;
		const char *value = NULL;
		int used = 1, r;

		for (size_t i = 0; i < n && !opt; i++)
			if (table[i].letter && table[i].letter == *c)
				opt = &table[i];
		if (!opt) {
			struct immure_buf line = IMMURE_BUF_INIT;

			immure_buf_putc(&line, '-');
			immure_buf_put_printable(&line, c, 1);
			immure_buf_puts(&line, ": no such option; see --help");
			return fail(&line, ret_error);
		}
		if (opt->argument) {
			value = c[1] ? c + 1 : next;
			used = c[1] ? 1 : 2;
			if (!value)
				return needs_value(opt, ret_error);
		}
		r = deliver(opt, value, each, ctx, ret_error);
		if (r || opt->argument)
			return r ? r : used;
	}
	return 1;
}

int immure_opt_parse(const struct immure_opt *table, size_t n, int argc, char **argv,
		     int (*each)(void *ctx, int id, const char *value), void *ctx,
		     char **ret_error)
{
	int i = 1;

	while (i < argc) {
		const char *word = argv[i];
		const char *next = i + 1 < argc ? argv[i + 1] : NULL;
		int r;

		if (word[0] != '-' || !word[1])
			return i;
		if (word[1] == '-' && !word[2])
			return i + 1;
		if (word[1] == '-')
			r = parse_long(table, n, word + 2, next, each, ctx, ret_error);
		else
			r = parse_letters(table, n, word + 1, next, each, ctx, ret_error);
		if (r < 0)
			return r;
		i += r;
	}
	return argc;
}

/* Appends help text wrapped at HELP_WIDTH, continued under HELP_COLUMN. */
static void put_wrapped(struct immure_buf *out, const char *text)
{
	size_t column = HELP_COLUMN;

	while (*text) {
		size_t len = strcspn(text, " ");

		if (column > HELP_COLUMN) {
			if (column + 1 + len > HELP_WIDTH) {
				immure_buf_printf(out, "\n%*s", HELP_COLUMN, "");
				column = HELP_COLUMN;
			} else {
				immure_buf_putc(out, ' ');
				column++;
			}
		}
		immure_buf_put(out, text, len);
		column += len;
		text += len;
		while (*text == ' ')
			text++;
	}
}

void immure_opt_help(const struct immure_opt *table, size_t n, struct immure_buf *out)
{
	for (size_t i = 0; i < n; i++) {
		size_t start = out->len, width;

		if (table[i].letter)
			immure_buf_printf(out, "  -%c, --%s", table[i].letter, table[i].name);
		else
			immure_buf_printf(out, "      --%s", table[i].name);
		if (table[i].argument)
			immure_buf_printf(out, " %s", table[i].argument);
		width = out->len - start;
		if (width + 2 > HELP_COLUMN)
			immure_buf_printf(out, "\n%*s", HELP_COLUMN, "");
		else
			immure_buf_printf(out, "%*s", (int)(HELP_COLUMN - width), "");
		put_wrapped(out, table[i].help ? table[i].help : "");
		immure_buf_putc(out, '\n');
	}
}
