/* SPDX-License-Identifier: Apache-2.0 */
/* TOML 1.0, as strict as it asks for: what is defined once may not be defined or
 * added to elsewhere, and nothing is guessed. Numbers that are not whole and dates
 * stay text, since no setting of ours needs them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "policy/import/tree.h"

struct toml {
	struct immure_arena *a;
	const char *p, *end;
	size_t line, nodes, depth;
	struct immure_tree_failure *f;
};

#define bad(t, ...) immure_tree_fail((t)->f, (t)->line, __VA_ARGS__)

static bool at(const struct toml *t, const char *word)
{
	size_t n = strlen(word);

	return (size_t)(t->end - t->p) >= n && memcmp(t->p, word, n) == 0;
}

static char peek(const struct toml *t)
{
	return t->p < t->end ? *t->p : '\0';
}

static void blanks(struct toml *t)
{
	while (t->p < t->end && (*t->p == ' ' || *t->p == '\t'))
		t->p++;
}

/* The rest of the line: blanks, a comment, the newline. */
static int end_of_line(struct toml *t)
{
	blanks(t);
	if (peek(t) == '#')
		while (t->p < t->end && *t->p != '\n') {
			unsigned char c = (unsigned char)*t->p++;

			if ((c < 0x20 && c != '\t' && c != '\r') || c == 0x7f)
				return bad(t, "a control character in a comment");
		}
	if (at(t, "\r\n"))
		t->p++;
	if (t->p == t->end)
		return 0;
	if (*t->p != '\n')
		return bad(t, "expected the end of the line");
	t->p++;
	t->line++;
	return 0;
}

/* Between the elements of an array: blanks, comments and newlines. */
static int any_space(struct toml *t)
{
	for (;;) {
		blanks(t);
		if (peek(t) != '#' && peek(t) != '\n' && !at(t, "\r\n"))
			return 0;
		int r = end_of_line(t);

		if (r < 0)
			return r;
	}
}

static struct immure_tree *node(struct toml *t, struct immure_tree *parent, const char *key,
				enum immure_tree_type type)
{
	return ++t->nodes > IMMURE_TREE_NODES_MAX ? NULL :
						    immure_tree_add(t->a, parent, key, type, t->line);
}

static int no_node(struct toml *t)
{
	return t->nodes > IMMURE_TREE_NODES_MAX ? bad(t, "too many values") : -ENOMEM;
}

/* ---- strings ---- */

static int put_code_point(struct toml *t, struct immure_buf *b, int digits)
{
	uint32_t c = 0;
	char u[4];
	size_t n;

	for (int i = 0; i < digits; i++) {
		char d = peek(t);

		if (d >= '0' && d <= '9')
			c = c << 4 | (uint32_t)(d - '0');
		else if ((d | 0x20) >= 'a' && (d | 0x20) <= 'f')
			c = c << 4 | (uint32_t)((d | 0x20) - 'a' + 10);
		else
			return bad(t, "an escape without its digits");
		t->p++;
	}
	if (c == 0 || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return bad(t, "an escape that is no character");
	n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	for (size_t i = n - 1; i > 0; i--, c >>= 6)
		u[i] = (char)(0x80 | (c & 0x3f));
	u[0] = (char)(n == 1 ? c : (0xf00U >> n & 0xff) | c);
	immure_buf_put(b, u, n);
	return 0;
}

/* After a backslash. */
static int escape(struct toml *t, struct immure_buf *b, bool multi)
{
	static const char names[] = "btnfre\"\\", values[] = "\b\t\n\f\r\033\"\\";
	char c = peek(t);
	const char *at_name = c ? strchr(names, c) : NULL;

	if (multi && (c == ' ' || c == '\t' || c == '\n' || c == '\r')) { /* joins lines */
		bool newline = false;

		for (; t->p < t->end && strchr(" \t\r\n", *t->p); t->p++)
			if (*t->p == '\n') {
				newline = true;
				t->line++;
			}
		return newline ? 0 : bad(t, "an escaped blank");
	}
	t->p += t->p < t->end;
	if (c == 'u' || c == 'U')
		return put_code_point(t, b, c == 'u' ? 4 : 8);
	if (!at_name)
		return bad(t, "an unknown escape");
	immure_buf_putc(b, values[at_name - names]);
	return 0;
}

static int plain_byte(struct toml *t, struct immure_buf *b, bool multi)
{
	unsigned char c = (unsigned char)*t->p;
	uint32_t code;
	size_t n;

	if (c == '\n' && multi) {
		t->line++;
	} else if ((c < 0x20 && c != '\t' && !(multi && c == '\r')) || c == 0x7f) {
		return bad(t, c == '\n' ? "a string that does not end" : "a control character in a string");
	}
	n = immure_utf8_len(t->p, (size_t)(t->end - t->p), &code);
	if (n == 0)
		return bad(t, "not UTF-8");
	immure_buf_put(b, t->p, n);
	t->p += n;
	return 0;
}

/* Up to two quotes more than the three that end it belong to a long string. */
static bool long_end(struct toml *t, struct immure_buf *b, const char *quotes)
{
	int extra = 0;

	if (!at(t, quotes))
		return false;
	t->p += 3;
	for (; extra < 2 && peek(t) == quotes[0]; extra++, t->p++)
		immure_buf_putc(b, quotes[0]);
	return true;
}

static int string(struct toml *t, const char **ret)
{
	char quote = *t->p;
	const char *quotes = quote == '"' ? "\"\"\"" : "'''";
	struct immure_buf b = IMMURE_BUF_INIT;
	bool multi = at(t, quotes), done = false;
	int r = 0;

	t->p += multi ? 3 : 1;
	if (multi && at(t, "\r\n"))
		t->p++;
	if (multi && peek(t) == '\n') {
		t->p++;
		t->line++;
	}
	immure_buf_puts(&b, "");
	while (r == 0 && !done) {
		if (t->p >= t->end) {
			r = bad(t, "a string that does not end");
		} else if (multi && long_end(t, &b, quotes)) {
			done = true;
		} else if (!multi && *t->p == quote) {
			t->p++;
			done = true;
		} else if (*t->p == '\\' && quote == '"') {
			t->p++;
			r = escape(t, &b, multi);
		} else {
			r = plain_byte(t, &b, multi);
		}
	}
	if (r == 0) {
		*ret = immure_buf_ok(&b) ? immure_arena_strndup(t->a, b.data ? b.data : "", b.len) : NULL;
		r = *ret ? 0 : -ENOMEM;
	}
	immure_buf_done(&b);
	return r;
}

/* ---- keys ---- */

static int simple_key(struct toml *t, const char **ret)
{
	static const char bare[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
	const char *start = t->p;

	if (peek(t) == '"' || peek(t) == '\'') {
		if (at(t, "\"\"\"") || at(t, "'''"))
			return bad(t, "a key in three quotes");
		return string(t, ret);
	}
	while (t->p < t->end && *t->p && strchr(bare, *t->p))
		t->p++;
	if (t->p == start)
		return bad(t, "expected a key");
	*ret = immure_arena_strndup(t->a, start, (size_t)(t->p - start));
	return *ret ? 0 : -ENOMEM;
}

static struct immure_tree *find(struct immure_tree *table, const char *key)
{
	for (struct immure_tree *c = table->first; c; c = c->next)
		if (strcmp(c->key, key) == 0)
			return c;
	return NULL;
}

/* The table `key` in parent, made when it is missing. by_key: on the way of a
 * dotted key, which may not reach into what a header defined. */
static int step(struct toml *t, struct immure_tree **table, const char *key, bool by_key)
{
	struct immure_tree *c = find(*table, key);

	if (!c) {
		c = node(t, *table, key, IMMURE_TREE_TABLE);
		if (!c)
			return no_node(t);
		c->defined = by_key;
	}
	if (c->type == IMMURE_TREE_ARRAY && c->of_tables && !by_key)
		c = c->last;
	if (c->type != IMMURE_TREE_TABLE || c->closed)
		return bad(t, "\"%.60s\" cannot be added to here", key);
	*table = c;
	return 0;
}

/* A dotted key up to its last part, from table on. */
static int walk_key(struct toml *t, struct immure_tree **table, const char **ret_last, bool by_key)
{
	size_t parts = 0;

	for (;;) {
		int r = simple_key(t, ret_last);

		if (r < 0)
			return r;
		blanks(t);
		if (peek(t) != '.')
			return 0;
		if (++parts > IMMURE_TREE_DEPTH)
			return bad(t, "a key of too many parts");
		t->p++;
		blanks(t);
		r = step(t, table, *ret_last, by_key);
		if (r < 0)
			return r;
	}
}

/* ---- values ---- */

static int value(struct toml *t, struct immure_tree *parent, const char *key);

static int array(struct toml *t, struct immure_tree *v)
{
	int r;

	t->p++;
	for (;;) {
		r = any_space(t);
		if (r < 0)
			return r;
		if (peek(t) == ']')
			break;
		r = value(t, v, NULL);
		if (r == 0)
			r = any_space(t);
		if (r < 0)
			return r;
		if (peek(t) == ',')
			t->p++;
		else if (peek(t) != ']')
			return bad(t, "expected \",\" or \"]\"");
	}
	t->p++;
	return 0;
}

static int key_value(struct toml *t, struct immure_tree *table)
{
	const char *key = NULL;
	int r = walk_key(t, &table, &key, true);

	if (r < 0)
		return r;
	if (find(table, key))
		return bad(t, "\"%.60s\" is there twice", key);
	if (peek(t) != '=')
		return bad(t, "expected \"=\" after \"%.60s\"", key);
	t->p++;
	blanks(t);
	return value(t, table, key);
}

static int inline_table(struct toml *t, struct immure_tree *v)
{
	int r = 0;

	t->p++;
	blanks(t);
	while (r == 0 && peek(t) != '}') {
		r = key_value(t, v);
		if (r < 0)
			return r;
		blanks(t);
		if (peek(t) == '}')
			break;
		if (peek(t) != ',')
			return bad(t, "expected \",\" or \"}\"");
		t->p++;
		blanks(t);
		if (peek(t) == '}')
			return bad(t, "a comma before \"}\"");
	}
	t->p++;
	v->closed = true;
	return r;
}

static int whole_number(const char *text, size_t n, int64_t *ret)
{
	char digits[72], *end;
	size_t out = 0;
	int base = 10;

	if (n > 2 && text[0] == '0' && strchr("xob", text[1])) {
		base = text[1] == 'x' ? 16 : text[1] == 'o' ? 8 : 2;
		text += 2;
		n -= 2;
	}
	for (size_t i = 0; i < n; i++) {
		bool between = i > 0 && i + 1 < n && text[i - 1] != '_' && text[i + 1] != '_';

		if (text[i] == '_' && !between)
			return -EINVAL;
		if (text[i] != '_' && out + 1 < sizeof(digits))
			digits[out++] = text[i];
	}
	digits[out] = '\0';
	if (out == 0 || out > 66 || (base != 10 && strspn(digits, "0123456789abcdefABCDEF") != out))
		return -EINVAL;
	if (base == 10) {
		const char *d = digits + (digits[0] == '+' || digits[0] == '-');

		if (!*d || d[strspn(d, "0123456789")] || (d[0] == '0' && d[1]))
			return -EINVAL;
	}
	errno = 0;
	*ret = strtoll(digits, &end, base);
	return errno || *end ? -EINVAL : 0;
}

/* A word without quotes: a boolean, a number, a date. */
static int word(struct toml *t, struct immure_tree *v)
{
	const char *start = t->p;
	size_t n;

	while (t->p < t->end && *t->p && !strchr(" \t\r\n,]}#=", *t->p))
		t->p++;
	/* A date and its time may be a blank apart. */
	if (t->p - start == 10 && start[4] == '-' && t->end - t->p > 1 && *t->p == ' ' &&
	    t->p[1] >= '0' && t->p[1] <= '9')
		for (t->p++; t->p < t->end && *t->p && !strchr(" \t\r\n,]}#=", *t->p);)
			t->p++;
	n = (size_t)(t->p - start);
	if ((n == 4 && memcmp(start, "true", 4) == 0) || (n == 5 && memcmp(start, "false", 5) == 0)) {
		v->type = IMMURE_TREE_BOOL;
		v->number = n == 4;
		return 0;
	}
	if (whole_number(start, n, &v->number) == 0)
		return 0;
	v->type = IMMURE_TREE_OTHER;
	v->text = immure_arena_strndup(t->a, start, n);
	if (!v->text)
		return -ENOMEM;
	if (v->text[0] && strspn(v->text + 1, "0123456789_") == n - 1)
		return bad(t, "not a number as TOML writes it");
	if (n == 0 || strspn(v->text, "0123456789.:+-_eETZtz infa") != n ||
	    (!strpbrk(v->text, "0123456789") && strspn(v->text, "+-infa") != n))
		return bad(t, "expected a value");
	return 0;
}

static int value(struct toml *t, struct immure_tree *parent, const char *key)
{
	struct immure_tree *v = node(t, parent, key, IMMURE_TREE_INTEGER);
	char c = peek(t);
	int r;

	if (!v)
		return no_node(t);
	if (++t->depth > IMMURE_TREE_DEPTH)
		return bad(t, "nested too deeply");
	if (c == '"' || c == '\'') {
		v->type = IMMURE_TREE_STRING;
		r = string(t, &v->text);
	} else if (c == '[') {
		v->type = IMMURE_TREE_ARRAY;
		r = array(t, v);
	} else if (c == '{') {
		v->type = IMMURE_TREE_TABLE;
		r = inline_table(t, v);
	} else {
		r = word(t, v);
	}
	t->depth--;
	return r;
}

/* ---- headers ---- */

static int table_header(struct toml *t, struct immure_tree *parent, const char *key,
			struct immure_tree **current)
{
	struct immure_tree *c = find(parent, key);

	if (c && (c->type != IMMURE_TREE_TABLE || c->defined || c->closed))
		return bad(t, "[%.60s] is there twice", key);
	if (!c)
		c = node(t, parent, key, IMMURE_TREE_TABLE);
	if (!c)
		return no_node(t);
	c->defined = true;
	*current = c;
	return 0;
}

static int element_header(struct toml *t, struct immure_tree *parent, const char *key,
			  struct immure_tree **current)
{
	struct immure_tree *list = find(parent, key);

	if (list && !list->of_tables)
		return bad(t, "[[%.60s]] is something else already", key);
	if (!list) {
		list = node(t, parent, key, IMMURE_TREE_ARRAY);
		if (!list)
			return no_node(t);
		list->of_tables = true;
	}
	*current = node(t, list, NULL, IMMURE_TREE_TABLE);
	if (!*current)
		return no_node(t);
	(*current)->defined = true;
	return 0;
}

static int header(struct toml *t, struct immure_tree *top, struct immure_tree **current)
{
	bool element = at(t, "[[");
	struct immure_tree *parent = top;
	const char *key = NULL;
	int r;

	t->p += element ? 2 : 1;
	blanks(t);
	r = walk_key(t, &parent, &key, false);
	if (r < 0)
		return r;
	if (!at(t, element ? "]]" : "]"))
		return bad(t, "expected \"]\"");
	t->p += element ? 2 : 1;
	return element ? element_header(t, parent, key, current)
		       : table_header(t, parent, key, current);
}

int immure_tree_from_toml(struct immure_arena *a, const char *text, size_t len,
			  struct immure_tree **ret, struct immure_tree_failure *f)
{
	struct toml t = { .a = a, .p = text, .end = text + len, .line = 1, .f = f };
	struct immure_tree *top = node(&t, NULL, NULL, IMMURE_TREE_TABLE), *current = top;
	int r = 0;

	if (!top)
		return -ENOMEM;
	if (at(&t, "\xef\xbb\xbf"))
		t.p += 3;
	while (r == 0 && t.p < t.end) {
		blanks(&t);
		if (peek(&t) == '[')
			r = header(&t, top, &current);
		else if (t.p < t.end && *t.p != '#' && *t.p != '\n' && *t.p != '\r')
			r = key_value(&t, current);
		if (r == 0)
			r = end_of_line(&t);
	}
	if (r == 0 && a->failed)
		r = -ENOMEM;
	if (r == 0)
		*ret = top;
	return r;
}
