/* SPDX-License-Identifier: Apache-2.0 */
#include "base/jsonr.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

struct reader {
	struct immure_jsonr *r;
	char *text, *p, *end;
};

static int bad(struct reader *x, const char *why)
{
	x->r->why = why;
	x->r->at = (size_t)(x->p - x->text);
	return -EINVAL;
}

static void skip_space(struct reader *x)
{
	while (x->p < x->end && (*x->p == ' ' || *x->p == '\t' || *x->p == '\n' || *x->p == '\r'))
		x->p++;
}

/* ---- strings ---- */

static int hex4(struct reader *x, uint32_t *ret)
{
	uint32_t v = 0;

	if (x->end - x->p < 4)
		return bad(x, "a \\u without four digits");
	for (int i = 0; i < 4; i++) {
		char c = x->p[i];

		v = v << 4 | (uint32_t)(c >= '0' && c <= '9' ? c - '0' :
					c >= 'a' && c <= 'f' ? c - 'a' + 10 :
					c >= 'A' && c <= 'F' ? c - 'A' + 10 : 0x10000);
		if (v > 0xffff)
			return bad(x, "a \\u without four digits");
	}
	x->p += 4;
	*ret = v;
	return 0;
}

static char *put_utf8(char *to, uint32_t c)
{
	if (c < 0x80) {
		*to++ = (char)c;
	} else if (c < 0x800) {
		*to++ = (char)(0xc0 | c >> 6);
		*to++ = (char)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		*to++ = (char)(0xe0 | c >> 12);
		*to++ = (char)(0x80 | (c >> 6 & 0x3f));
		*to++ = (char)(0x80 | (c & 0x3f));
	} else {
		*to++ = (char)(0xf0 | c >> 18);
		*to++ = (char)(0x80 | (c >> 12 & 0x3f));
		*to++ = (char)(0x80 | (c >> 6 & 0x3f));
		*to++ = (char)(0x80 | (c & 0x3f));
	}
	return to;
}

/* After "\u": one code point, of two halves when it is beyond the first plane. */
static int code_point(struct reader *x, uint32_t *ret)
{
	uint32_t hi, lo;
	int r = hex4(x, &hi);

	if (r < 0)
		return r;
	if (hi >= 0xd800 && hi < 0xdc00) {
		if (x->end - x->p < 2 || x->p[0] != '\\' || x->p[1] != 'u')
			return bad(x, "half of a surrogate pair");
		x->p += 2;
		r = hex4(x, &lo);
		if (r < 0)
			return r;
		if (lo < 0xdc00 || lo > 0xdfff)
			return bad(x, "half of a surrogate pair");
		hi = 0x10000 + ((hi & 0x3ff) << 10 | (lo & 0x3ff));
	} else if (hi >= 0xdc00 && hi < 0xe000) {
		return bad(x, "half of a surrogate pair");
	}
	if (hi == 0)
		return bad(x, "a NUL in a string");
	*ret = hi;
	return 0;
}

static int escape(struct reader *x, char **to)
{
	static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
	const char *at;
	uint32_t c = 0;
	int r;

	if (x->p == x->end)
		return bad(x, "a string without end");
	if (*x->p == 'u') {
		x->p++;
		r = code_point(x, &c);
		if (r == 0)
			*to = put_utf8(*to, c);
		return r;
	}
	at = *x->p ? strchr(from, *x->p) : NULL;
	if (!at)
		return bad(x, "no such escape");
	*(*to)++ = into[at - from];
	x->p++;
	return 0;
}

/* At the opening quote. What is decoded is never longer than what it was. */
static int string(struct reader *x, const char **ret, uint32_t *ret_len)
{
	char *to = ++x->p, *from = to;

	for (;;) {
		unsigned char c;
		size_t n;
		int r;

		if (x->p == x->end)
			return bad(x, "a string without end");
		c = (unsigned char)*x->p;
		if (c == '"')
			break;
		if (c == '\\') {
			x->p++;
			r = escape(x, &to);
			if (r < 0)
				return r;
			continue;
		}
		if (c < 0x20)
			return bad(x, "a control character in a string");
		n = immure_utf8_len(x->p, (size_t)(x->end - x->p), NULL);
		if (n == 0)
			return bad(x, "a string that is not UTF-8");
		if (to != x->p)
			memmove(to, x->p, n);
		to += n;
		x->p += n;
	}
	x->p++;
	*to = '\0';
	*ret = from;
	*ret_len = (uint32_t)(to - from);
	return 0;
}

/* ---- the rest ---- */

static const char *digits(const char *p, const char *end)
{
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p;
}

static int number(struct reader *x, struct immure_jsonr_value *v)
{
	const char *p = x->p, *first = *p == '-' ? p + 1 : p, *q = digits(first, x->end);
	char keep, *stop;

	if (q == first || (*first == '0' && q - first > 1))
		return bad(x, "not a number");
	v->type = IMMURE_JSON_INTEGER;
	if (q < x->end && *q == '.') {
		const char *fraction = q + 1;

		q = digits(fraction, x->end);
		if (q == fraction)
			return bad(x, "not a number");
		v->type = IMMURE_JSON_REAL;
	}
	if (q < x->end && (*q == 'e' || *q == 'E')) {
		const char *exponent = q + 1;

		if (exponent < x->end && (*exponent == '+' || *exponent == '-'))
			exponent++;
		q = digits(exponent, x->end);
		if (q == exponent)
			return bad(x, "not a number");
		v->type = IMMURE_JSON_REAL;
	}
	/* The C library wants an end; what stands there is put back. */
	keep = x->text[q - x->text];
	x->text[q - x->text] = '\0';
	errno = 0;
	if (v->type == IMMURE_JSON_INTEGER)
		v->integer = strtoll(p, &stop, 10);
	else if (isinf(strtod(p, &stop)))
		errno = ERANGE;
	else
		errno = 0; /* too small is zero */
	x->text[q - x->text] = keep;
	if (errno == ERANGE)
		return bad(x, "a number out of range");
	v->text = p;
	v->len = (uint32_t)(q - p);
	x->p = x->text + (q - x->text);
	return 0;
}

static bool word(struct reader *x, const char *w)
{
	size_t n = strlen(w);

	if ((size_t)(x->end - x->p) < n || memcmp(x->p, w, n) != 0)
		return false;
	x->p += n;
	return true;
}

static int scalar(struct reader *x, struct immure_jsonr_value *v)
{
	if (*x->p == '"') {
		v->type = IMMURE_JSON_STRING;
		return string(x, &v->text, &v->len);
	}
	if (*x->p == '-' || (*x->p >= '0' && *x->p <= '9'))
		return number(x, v);
	v->type = IMMURE_JSON_BOOL;
	if (word(x, "true")) {
		v->integer = 1;
		return 0;
	}
	if (word(x, "false"))
		return 0;
	v->type = IMMURE_JSON_NULL;
	return word(x, "null") ? 0 : bad(x, "not a value");
}

static int key_of(struct reader *x, uint32_t object, struct immure_jsonr_value *v)
{
	const struct immure_jsonr *r = x->r;
	uint32_t len;
	int e;

	if (x->p == x->end || *x->p != '"')
		return bad(x, "a key is a string");
	e = string(x, &v->key, &len);
	if (e < 0)
		return e;
	if (r->v[object].size == IMMURE_JSONR_MEMBERS)
		return bad(x, "an object with too many members");
	for (size_t i = object + 1; i < r->n; i = r->v[i].next)
		if (strcmp(r->v[i].key, v->key) == 0)
			return bad(x, "a key that is there twice");
	skip_space(x);
	if (x->p == x->end || *x->p != ':')
		return bad(x, "a key without ':'");
	x->p++;
	skip_space(x);
	return 0;
}

struct nest {
	uint32_t of[IMMURE_JSON_DEPTH];
	size_t n;
};

/* One value, or the beginning of one that others are in. */
static int value(struct reader *x, struct nest *nest)
{
	struct immure_jsonr_value v = { .type = IMMURE_JSON_NULL };
	struct immure_jsonr *r = x->r;
	uint32_t in = nest->n ? nest->of[nest->n - 1] : 0;
	int e = 0;

	if (nest->n && r->v[in].type == IMMURE_JSON_OBJECT)
		e = key_of(x, in, &v);
	if (e < 0)
		return e;
	if (x->p == x->end)
		return bad(x, "the end comes too early");
	if (r->n == r->cap)
		return -E2BIG;
	if (*x->p == '{' || *x->p == '[') {
		if (nest->n == IMMURE_JSON_DEPTH)
			return bad(x, "nested too deep");
		v.type = *x->p++ == '{' ? IMMURE_JSON_OBJECT : IMMURE_JSON_ARRAY;
		nest->of[nest->n++] = (uint32_t)r->n;
	} else {
		e = scalar(x, &v);
	}
	v.next = (uint32_t)r->n + 1;
	r->v[r->n++] = v;
	if (r->n > 1 && e == 0)
		r->v[in].size++;
	return e;
}

/* Closes what ends here. *ret_more: another value follows. */
static int after_value(struct reader *x, struct nest *nest, bool opened, bool *ret_more)
{
	struct immure_jsonr *r = x->r;

	*ret_more = true;
	while (nest->n > 0) {
		struct immure_jsonr_value *v = &r->v[nest->of[nest->n - 1]];
		char close = v->type == IMMURE_JSON_OBJECT ? '}' : ']';

		skip_space(x);
		if (x->p == x->end)
			return bad(x, "the end comes too early");
		if (*x->p == close) {
			x->p++;
			nest->n--;
			v->next = (uint32_t)r->n;
			opened = false;
			continue;
		}
		if (opened)
			return 0;
		if (*x->p != ',')
			return bad(x, "neither ',' nor the end");
		x->p++;
		skip_space(x);
		return 0;
	}
	*ret_more = false;
	return 0;
}

int immure_jsonr_parse(struct immure_jsonr *r, char *text, size_t len,
		       struct immure_jsonr_value *v, size_t cap)
{
	struct reader x = { .r = r, .text = text, .p = text, .end = text + len };
	struct nest nest = { .n = 0 };
	bool more = true;
	int e;

	*r = (struct immure_jsonr){ .v = v, .cap = cap, .why = "" };
	if (len > UINT32_MAX / 2)
		return -E2BIG;
	skip_space(&x);
	while (more) {
		size_t before = nest.n;

		e = value(&x, &nest);
		if (e == 0)
			e = after_value(&x, &nest, nest.n > before, &more);
		if (e < 0)
			return e;
	}
	skip_space(&x);
	return x.p == x.end ? 0 : bad(&x, "something after the end");
}

const struct immure_jsonr_value *immure_jsonr_first(const struct immure_jsonr *r,
						    const struct immure_jsonr_value *of)
{
	return of && of->size ? r->v + (of - r->v) + 1 : NULL;
}

const struct immure_jsonr_value *immure_jsonr_after(const struct immure_jsonr *r,
						    const struct immure_jsonr_value *of,
						    const struct immure_jsonr_value *v)
{
	return v->next < of->next ? r->v + v->next : NULL;
}

const struct immure_jsonr_value *immure_jsonr_get(const struct immure_jsonr *r,
						  const struct immure_jsonr_value *object,
						  const char *key)
{
	if (!object || object->type != IMMURE_JSON_OBJECT)
		return NULL;
	for (const struct immure_jsonr_value *v = immure_jsonr_first(r, object); v;
	     v = immure_jsonr_after(r, object, v))
		if (strcmp(v->key, key) == 0)
			return v;
	return NULL;
}

const char *immure_jsonr_text(const struct immure_jsonr *r, const struct immure_jsonr_value *object, const char *key)
{
	const struct immure_jsonr_value *v = immure_jsonr_get(r, object, key);

	return v && v->type == IMMURE_JSON_STRING ? v->text : "";
}

long long immure_jsonr_number(const struct immure_jsonr *r, const struct immure_jsonr_value *object, const char *key)
{
	const struct immure_jsonr_value *v = immure_jsonr_get(r, object, key);

	return v && (v->type == IMMURE_JSON_INTEGER || v->type == IMMURE_JSON_BOOL) ? (long long)v->integer : 0;
}
