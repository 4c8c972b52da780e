/* SPDX-License-Identifier: Apache-2.0 */
#include "policy.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS_MAX = 400, LINE_LEN = 8192, INCLUDE_DEPTH = 4 };

/* One directive: its lines joined and cut into words. */
struct directive {
	const char *file;
	int line;
	char text[LINE_LEN];
	char *words[WORDS_MAX];
	size_t words_n;
};

void die(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	(void)fprintf(stderr, "seccompgen: %s:%d: ", file, line);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
	exit(1);
}

void call_table_read(struct call_table *t, const char *path, int column)
{
	char line[256], nr[2][16];
	FILE *f = fopen(path, "r");

	if (!f)
		die(path, 0, "%s", strerror(errno));
	t->n = 0;
	for (int at = 1; fgets(line, sizeof(line), f); at++) {
		struct call *c = &t->calls[t->n];

		if (line[0] == '#' || line[0] == '\n')
			continue;
		if (t->n == CALLS_MAX || sscanf(line, "%39s %15s %15s", c->name, nr[0], nr[1]) != 3)
			die(path, at, "expected: NAME NUMBER NUMBER");
		c->nr = strcmp(nr[column], "-") == 0 ? -1 : atoi(nr[column]);
		if (c->nr >= NUMBERS_MAX)
			die(path, at, "number too large");
		t->n++;
	}
	(void)fclose(f);
}

static size_t find_call(const struct policy *p, const struct directive *d, const char *name)
{
	for (size_t i = 0; i < p->table->n; i++) {
		if (strcmp(p->table->calls[i].name, name) == 0)
			return i;
	}
	die(d->file, d->line, "no such system call: %s", name);
}

static uint32_t parse_action(const struct directive *d, const char *word)
{
	static const struct {
		const char *name;
		int errnum;
	} errnos[] = { { "EPERM", EPERM }, { "ENOSYS", ENOSYS }, { "EINVAL", EINVAL },
		       { "ENOTTY", ENOTTY }, { "EOPNOTSUPP", EOPNOTSUPP },
		       { "EPROTONOSUPPORT", EPROTONOSUPPORT } };

	if (strcmp(word, "ALLOW") == 0)
		return SECCOMP_RET_ALLOW;
	if (strcmp(word, "KILL") == 0)
		return SECCOMP_RET_KILL_PROCESS;
	if (strcmp(word, "NOTIFY") == 0)
		return SECCOMP_RET_USER_NOTIF;
	for (size_t i = 0; i < sizeof(errnos) / sizeof(errnos[0]); i++) {
		if (strcmp(word, errnos[i].name) == 0)
			return SECCOMP_RET_ERRNO | (uint32_t)errnos[i].errnum;
	}
	die(d->file, d->line, "no such action: %s", word);
}

static uint64_t parse_number(const struct policy *p, const struct directive *d, const char *word)
{
	char *end;
	unsigned long long v;

	for (size_t i = 0; i < p->consts_n; i++) {
		if (strcmp(p->consts[i].name, word) == 0)
			return p->consts[i].value;
	}
	errno = 0;
	v = strtoull(word, &end, 0);
	if (errno || end == word || *end || *word == '-')
		die(d->file, d->line, "no such number or constant: %s", word);
	return v;
}

static uint32_t parse_u32(const struct policy *p, const struct directive *d, const char *word)
{
	uint64_t v = parse_number(p, d, word);

	if (v > UINT32_MAX)
		die(d->file, d->line, "%s does not fit 32 bits", word);
	return (uint32_t)v;
}

static int by_lo(const void *a, const void *b)
{
	const struct value_range *x = a, *y = b;

	return x->lo < y->lo ? -1 : x->lo > y->lo;
}

/* Sorted, and neighbours joined: what the code generator relies on. */
static size_t normalise(const struct directive *d, struct value_range *v, size_t n)
{
	size_t out = 0;

	qsort(v, n, sizeof(*v), by_lo);
	for (size_t i = 0; i < n; i++) {
		if (out && v[i].lo <= v[out - 1].hi)
			die(d->file, d->line, "value %u is listed twice", v[i].lo);
		if (out && v[i].lo == v[out - 1].hi + 1)
			v[out - 1].hi = v[i].hi;
		else
			v[out++] = v[i];
	}
	return out;
}

static struct value_range parse_range(const struct policy *p, const struct directive *d,
				      const char *word)
{
	const char *dots = strstr(word, "..");
	struct value_range r;
	char lo[NAME_MAX_LEN];

	if (!dots) {
		r.lo = r.hi = parse_u32(p, d, word);
		return r;
	}
	if ((size_t)(dots - word) >= sizeof(lo))
		die(d->file, d->line, "name too long: %s", word);
	memcpy(lo, word, (size_t)(dots - word));
	lo[dots - word] = '\0';
	r.lo = parse_u32(p, d, lo);
	r.hi = parse_u32(p, d, dots + 2);
	if (r.lo > r.hi)
		die(d->file, d->line, "empty range: %s", word);
	return r;
}

/* argN[&MASK][:64] */
static bool parse_argument(const struct policy *p, const struct directive *d, const char *word,
			   struct cond *c)
{
	if (strncmp(word, "arg", 3) != 0 || word[3] < '0' || word[3] > '5')
		die(d->file, d->line, "expected arg0 to arg5: %s", word);
	c->arg = (unsigned int)(word[3] - '0');
	c->mask = UINT32_MAX;
	if (word[4] == '&')
		c->mask = parse_u32(p, d, word + 5);
	else if (strcmp(word + 4, ":64") == 0)
		return true;
	else if (word[4])
		die(d->file, d->line, "not understood: %s", word);
	return false;
}

static void parse_values(const struct policy *p, const struct directive *d, size_t *at,
			 struct cond *c)
{
	for (; *at < d->words_n && strcmp(d->words[*at], "and") != 0; ++*at) {
		if (strcmp(d->words[*at], "$families") == 0) {
			c->families = true;
			continue;
		}
		if (c->values_n == VALUES_MAX)
			die(d->file, d->line, "too many values");
		c->values[c->values_n++] = parse_range(p, d, d->words[*at]);
	}
	if (c->families ? c->values_n != 0 : c->values_n == 0)
		die(d->file, d->line, "expected values, or $families alone");
	c->values_n = normalise(d, c->values, c->values_n);
}

static void parse_cond(const struct policy *p, const struct directive *d, size_t *at,
		       struct cond *c)
{
	static const char *const ops[] = { [COND_IS] = "is", [COND_NOT] = "not",
					   [COND_HAS] = "has", [COND_LACKS] = "lacks" };
	bool wide;
	size_t op;

	if (*at + 3 > d->words_n)
		die(d->file, d->line, "condition is cut short");
	*c = (struct cond){ 0 };
	wide = parse_argument(p, d, d->words[(*at)++], c);
	for (op = 0; op < sizeof(ops) / sizeof(ops[0]); op++) {
		if (strcmp(ops[op], d->words[*at]) == 0)
			break;
	}
	if (op == sizeof(ops) / sizeof(ops[0]))
		die(d->file, d->line, "expected is, not, has or lacks: %s", d->words[*at]);
	++*at;
	c->op = (enum cond_op)op;
	if (c->op == COND_IS || c->op == COND_NOT) {
		if (wide)
			die(d->file, d->line, ":64 goes with has and lacks only");
		parse_values(p, d, at, c);
		return;
	}
	if (c->mask != UINT32_MAX)
		die(d->file, d->line, "a mask goes with is and not only");
	c->bits = parse_number(p, d, d->words[(*at)++]);
	if (c->bits == 0 || (!wide && c->bits > UINT32_MAX))
		die(d->file, d->line, "bits are 0, or need :64");
}

static void do_rule(struct policy *p, const struct directive *d)
{
	struct decision *dec;
	struct clause *c;
	size_t at = 3;

	if (d->words_n < 3)
		die(d->file, d->line, "expected: rule CALL ACTION [when ...]");
	dec = &p->decisions[find_call(p, d, d->words[1])];
	if (dec->decided && (dec->clauses_n == 0 ||
			     dec->clauses[dec->clauses_n - 1].conds_n == 0))
		die(d->file, d->line, "%s is decided already", d->words[1]);
	if (!dec->clauses)
		dec->clauses = calloc(CLAUSES_MAX, sizeof(*dec->clauses));
	if (!dec->clauses || dec->clauses_n == CLAUSES_MAX)
		die(d->file, d->line, "too many rules for %s", d->words[1]);
	dec->decided = true;
	c = &dec->clauses[dec->clauses_n++];
	c->action = parse_action(d, d->words[2]);
	if (d->words_n > 3 && strcmp(d->words[at++], "when") != 0)
		die(d->file, d->line, "expected when: %s", d->words[3]);
	while (at < d->words_n) {
		if (c->conds_n == CONDS_MAX)
			die(d->file, d->line, "too many conditions");
		parse_cond(p, d, &at, &c->conds[c->conds_n++]);
		if (at == d->words_n)
			return;
		if (strcmp(d->words[at++], "and") != 0 || at == d->words_n)
			die(d->file, d->line, "expected and with a condition");
	}
	if (d->words_n > 3 && c->conds_n == 0)
		die(d->file, d->line, "nothing after when");
}

static void do_plain(struct policy *p, const struct directive *d, uint32_t action, size_t first)
{
	for (size_t i = first; i < d->words_n; i++) {
		struct decision *dec = &p->decisions[find_call(p, d, d->words[i])];

		if (dec->decided)
			die(d->file, d->line, "%s is decided already", d->words[i]);
		dec->decided = true;
		dec->action = action;
	}
}

static void do_reset(struct policy *p, const struct directive *d)
{
	for (size_t i = 1; i < d->words_n; i++) {
		struct decision *dec = &p->decisions[find_call(p, d, d->words[i])];

		if (!dec->decided)
			die(d->file, d->line, "%s was not decided before", d->words[i]);
		free(dec->clauses);
		*dec = (struct decision){ 0 };
	}
}

static void do_families(struct policy *p, const struct directive *d)
{
	struct variant *v = p->variants, *end = v + p->variants_n;

	if (d->words_n < 3 || strlen(d->words[1]) >= NAME_MAX_LEN)
		die(d->file, d->line, "expected: families VARIANT CONST...");
	while (v < end && strcmp(v->name, d->words[1]) != 0)
		v++;
	if (v == end) {
		if (p->variants_n++ == VARIANTS_MAX)
			die(d->file, d->line, "too many variants");
		(void)strcpy(v->name, d->words[1]);
	}
	v->families_n = 0;
	for (size_t i = 2; i < d->words_n; i++) {
		if (v->families_n == VALUES_MAX)
			die(d->file, d->line, "too many families");
		v->families[v->families_n++] = parse_range(p, d, d->words[i]);
		if (v->families[v->families_n - 1].hi > 63)
			die(d->file, d->line, "family number above 63");
	}
	v->families_n = normalise(d, v->families, v->families_n);
}

static void do_const(struct policy *p, const struct directive *d)
{
	struct named *c = &p->consts[p->consts_n];

	if (d->words_n != 3 || strlen(d->words[1]) >= NAME_MAX_LEN || p->consts_n == CONSTS_MAX)
		die(d->file, d->line, "expected: const NAME NUMBER");
	for (size_t i = 0; i < p->consts_n; i++) {
		if (strcmp(p->consts[i].name, d->words[1]) == 0)
			die(d->file, d->line, "%s is defined already", d->words[1]);
	}
	c->value = parse_number(p, d, d->words[2]);
	(void)strcpy(c->name, d->words[1]);
	p->consts_n++;
}

static void read_file(struct policy *p, const char *path, int depth);

static void do_include(struct policy *p, const struct directive *d, int depth)
{
	char path[1024];
	const char *slash = strrchr(d->file, '/');
	int dir = slash ? (int)(slash - d->file) + 1 : 0;

	if (d->words_n != 2 || depth == INCLUDE_DEPTH)
		die(d->file, d->line, "expected: include FILE, %d deep at most", INCLUDE_DEPTH);
	if (snprintf(path, sizeof(path), "%.*s%s", dir, d->file, d->words[1]) >= (int)sizeof(path))
		die(d->file, d->line, "path too long");
	read_file(p, path, depth + 1);
}

static void execute(struct policy *p, struct directive *d, int depth)
{
	const char *verb;

	d->words_n = 0;
	for (char *w = strtok(d->text, " \t\n"); w; w = strtok(NULL, " \t\n")) {
		if (d->words_n == WORDS_MAX)
			die(d->file, d->line, "too many words");
		d->words[d->words_n++] = w;
	}
	d->text[0] = '\0';
	if (d->words_n == 0)
		return;
	verb = d->words[0];
	if (strcmp(verb, "include") == 0)
		do_include(p, d, depth);
	else if (strcmp(verb, "const") == 0)
		do_const(p, d);
	else if (strcmp(verb, "families") == 0)
		do_families(p, d);
	else if (strcmp(verb, "allow") == 0 && d->words_n > 1)
		do_plain(p, d, SECCOMP_RET_ALLOW, 1);
	else if (strcmp(verb, "errno") == 0 && d->words_n > 2)
		do_plain(p, d, parse_action(d, d->words[1]), 2);
	else if (strcmp(verb, "reset") == 0 && d->words_n > 1)
		do_reset(p, d);
	else if (strcmp(verb, "rule") == 0)
		do_rule(p, d);
	else if (strcmp(verb, "complete") == 0 && d->words_n == 1)
		p->complete = true;
	else if (strcmp(verb, "default") == 0 && d->words_n == 2)
		p->default_action = parse_action(d, d->words[1]);
	else
		die(d->file, d->line, "not understood: %s", verb);
}

static void read_file(struct policy *p, const char *path, int depth)
{
	struct directive *d = calloc(1, sizeof(*d));
	char line[1024];
	FILE *f = fopen(path, "r");

	if (!f || !d)
		die(path, 0, "%s", strerror(errno));
	d->file = path;
	for (int at = 1; fgets(line, sizeof(line), f); at++) {
		line[strcspn(line, "#\n")] = '\0';
		if (line[0] != ' ' && line[0] != '\t') {
			execute(p, d, depth);
			d->line = at;
		}
		if (strlen(d->text) + strlen(line) + 2 > sizeof(d->text))
			die(path, at, "directive too long");
		(void)strcat(strcat(d->text, " "), line);
	}
	execute(p, d, depth);
	(void)fclose(f);
	free(d);
}

void policy_read(struct policy *p, const struct call_table *table, const char *path)
{
	*p = (struct policy){ .table = table, .default_action = ACTION_NONE };
	read_file(p, path, 0);
	if (p->default_action == ACTION_NONE)
		die(path, 0, "no default");
	if (p->variants_n == 0)
		die(path, 0, "no families");
	for (size_t i = 0; i < table->n; i++) {
		const struct decision *d = &p->decisions[i];

		if (p->complete && !d->decided)
			die(path, 0, "%s is not decided", table->calls[i].name);
		if (d->clauses_n && d->clauses[d->clauses_n - 1].conds_n)
			die(path, 0, "the last rule of %s has a condition", table->calls[i].name);
	}
}

void policy_free(struct policy *p)
{
	for (size_t i = 0; i < CALLS_MAX; i++)
		free(p->decisions[i].clauses);
}
