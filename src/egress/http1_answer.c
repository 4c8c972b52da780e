/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/http1_answer.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "egress/http1.h"

enum { LINE, LENGTH, SIZE, SIZE_REST, DATA, DATA_END, TRAILER, TO_END, SWITCHED };

enum { SIZE_DIGITS = 15 }; /* so that 64 bits hold it */

static int refuse(struct immure_http_answers *a, const char *why)
{
	a->why = why;
	return -EPROTO;
}

static void next_answer(struct immure_http_answers *a)
{
	a->state = LINE;
	a->line_len = a->head_len = 0;
	a->lines = a->status = a->digits = 0;
	a->chunked = a->other_coding = a->has_length = false;
	a->length = a->left = a->body = 0;
}

void immure_http_answers_init(struct immure_http_answers *a, uint64_t max)
{
	memset(a, 0, sizeof(*a));
	a->max = max;
	next_answer(a);
}

int immure_http_answers_asked(struct immure_http_answers *a, bool head, bool upgrade)
{
	uint64_t bit = UINT64_C(1) << a->asked % IMMURE_HTTP_PENDING_MAX;

	if (a->asked - a->answered == IMMURE_HTTP_PENDING_MAX)
		return refuse(a, "too many requests without an answer");
	a->head = head ? a->head | bit : a->head & ~bit;
	a->upgrade = upgrade ? a->upgrade | bit : a->upgrade & ~bit;
	a->asked++;
	return 0;
}

/* ---- the head ---- */

static int status_line(struct immure_http_answers *a)
{
	const char *l = a->line;

	if (a->line_len < 12 || memcmp(l, "HTTP/1.", 7) != 0 || l[8] != ' ')
		return refuse(a, "the answer is not HTTP/1");
	for (int i = 9; i < 12; i++) {
		if (l[i] < '0' || l[i] > '9')
			return refuse(a, "the answer is not HTTP/1");
		a->status = a->status * 10 + (unsigned int)(l[i] - '0');
	}
	if (a->asked == a->answered)
		return refuse(a, "an answer that nobody asked for");
	return 0;
}

static int take_length(struct immure_http_answers *a, const char *v, size_t len)
{
	uint64_t n = 0;

	if (len == 0 || len > 18)
		return refuse(a, "the answer's Content-Length is no number");
	for (size_t i = 0; i < len; i++) {
		if (v[i] < '0' || v[i] > '9')
			return refuse(a, "the answer's Content-Length is no number");
		n = n * 10 + (uint64_t)(v[i] - '0');
	}
	if (a->has_length && n != a->length)
		return refuse(a, "the answer has two lengths");
	a->has_length = true;
	a->length = n;
	return 0;
}

static bool named(const char *line, size_t len, const char *name)
{
	size_t n = strlen(name);

	return len > n && strncasecmp(line, name, n) == 0 && line[n] == ':';
}

static int field_line(struct immure_http_answers *a)
{
	bool length = named(a->line, a->line_len, "content-length");
	bool coding = named(a->line, a->line_len, "transfer-encoding");
	const char *v, *end = a->line + a->line_len;

	if (!length && !coding)
		return 0;
	if (a->line_len == sizeof(a->line))
		return refuse(a, "the answer's length takes too many words");
	v = (const char *)memchr(a->line, ':', a->line_len) + 1;
	while (v < end && (*v == ' ' || *v == '\t'))
		v++;
	while (end > v && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	if (length)
		return take_length(a, v, (size_t)(end - v));
	a->chunked = end - v == 7 && strncasecmp(v, "chunked", 7) == 0 && !a->other_coding;
	a->other_coding |= !a->chunked;
	return 0;
}

static int whole_head(struct immure_http_answers *a)
{
	uint64_t bit = UINT64_C(1) << a->answered % IMMURE_HTTP_PENDING_MAX;

	if (a->status == 101) {
		if (!(a->upgrade & bit))
			return refuse(a, "the server leaves HTTP without being asked");
		a->state = SWITCHED;
		return 0;
	}
	if (a->status < 200) { /* the answer is still to come */
		next_answer(a);
		return 0;
	}
	a->answered++;
	if (a->status == 204 || a->status == 304 || (a->head & bit)) {
		next_answer(a);
		return 0;
	}
	/* With both the coding counts; one that is not known ends with the connection. */
	a->state = a->chunked ? SIZE : a->other_coding || !a->has_length ? TO_END : LENGTH;
	a->left = a->state == LENGTH ? a->length : 0;
	if (a->state == LENGTH && a->max && a->length > a->max)
		return -EFBIG;
	if (a->state == LENGTH && a->length == 0)
		next_answer(a);
	return 0;
}

/* A line without its end; its beginning is in a->line. */
static int whole_line(struct immure_http_answers *a)
{
	size_t len = a->line_len;
	int r;

	if (a->state == TRAILER) {
		if (len == 0)
			next_answer(a);
		a->line_len = 0;
		return 0;
	}
	if (len == 0 && a->lines == 0)
		return 0; /* some send a line too many after a body */
	if (len == 0)
		return whole_head(a);
	if (a->lines > 0 && (a->line[0] == ' ' || a->line[0] == '\t'))
		return refuse(a, "a folded field in the answer");
	r = a->lines++ == 0 ? status_line(a) : field_line(a);
	a->line_len = 0;
	return r;
}

static int line_byte(struct immure_http_answers *a, char c)
{
	if (++a->head_len > IMMURE_HTTP_HEAD_MAX)
		return refuse(a, "the answer's head is too long");
	if (c == '\n') {
		if (a->line_len && a->line_len < sizeof(a->line) && a->line[a->line_len - 1] == '\r')
			a->line_len--;
		return whole_line(a);
	}
	if (a->line_len < sizeof(a->line))
		a->line[a->line_len++] = c;
	return 0;
}

/* ---- the body ---- */

static int size_byte(struct immure_http_answers *a, char c)
{
	unsigned char low = (unsigned char)c | 0x20;

	if (c == '\n') {
		if (!a->digits)
			return refuse(a, "a chunk's size in the answer");
		a->state = a->left ? DATA : TRAILER;
		a->line_len = a->head_len = 0;
		return a->max && a->left > a->max - a->body ? -EFBIG : 0;
	}
	if (a->state == SIZE_REST)
		return 0; /* extensions are nobody's length */
	if ((c >= '0' && c <= '9') || (low >= 'a' && low <= 'f')) {
		if (++a->digits > SIZE_DIGITS)
			return refuse(a, "a chunk's size in the answer");
		a->left = a->left << 4 | (uint64_t)(c <= '9' ? c - '0' : low - 'a' + 10);
		return 0;
	}
	if (!a->digits || !strchr("\r; \t", c) || !c)
		return refuse(a, "a chunk's size in the answer");
	a->state = SIZE_REST;
	return 0;
}

static int data_end(struct immure_http_answers *a, char c)
{
	if (c == '\r')
		return 0;
	a->state = SIZE;
	a->digits = 0;
	return c == '\n' ? 0 : refuse(a, "a chunk's end in the answer");
}

/* Bytes that are a body's, as many as there are; how many. */
static size_t content(struct immure_http_answers *a, size_t len)
{
	size_t n = a->state == TO_END || a->left > len ? len : (size_t)a->left;

	a->body += n;
	if (a->state == TO_END)
		return n;
	a->left -= n;
	if (a->left == 0 && a->state == LENGTH)
		next_answer(a);
	else if (a->left == 0)
		a->state = DATA_END;
	return n;
}

static int step(struct immure_http_answers *a, const char *data, size_t len, size_t *ret_used)
{
	*ret_used = 1;
	switch (a->state) {
	case LINE:
	case TRAILER:
		return line_byte(a, *data);
	case SIZE:
	case SIZE_REST:
		return size_byte(a, *data);
	case DATA_END:
		return data_end(a, *data);
	case SWITCHED:
		*ret_used = len;
		return 0;
	default:
		*ret_used = content(a, len);
		return a->max && a->body > a->max ? -EFBIG : 0;
	}
}

int immure_http_answers_feed(struct immure_http_answers *a, const char *data, size_t len)
{
	while (len && a->result == 0) {
		size_t used = 0;

		a->result = step(a, data, len, &used);
		data += used;
		len -= used;
	}
	if (a->result == -EFBIG)
		a->why = "the answer's body is longer than network.response_body";
	return a->result;
}

bool immure_http_answers_switched(const struct immure_http_answers *a)
{
	return a->state == SWITCHED;
}

bool immure_http_answers_idle(const struct immure_http_answers *a)
{
	return a->asked == a->answered && a->state == LINE && a->lines == 0;
}
