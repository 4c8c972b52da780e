/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/httpflow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "egress/http1_answer.h"

enum state { HEAD, BODY, SIZE, SIZE_LF, DATA, DATA_CR, DATA_LF, LAST_CR, LAST_LF, SWITCHING, OPAQUE, END };

enum { SIZE_DIGITS = 15, /* so that 64 bits hold it */
       HEAD_FIRST = 8 * 1024 }; /* of room; more when it is needed */

struct immure_http_flow {
	immure_http_flow_judge *judge;
	immure_http_flow_rewrite *rewrite; /* NULL: heads go on as they are */
	void *ctx;
	enum state state;
	bool close, once;
	struct immure_http_bounds bounds;
	struct immure_http_answers *answers; /* NULL: nobody follows them */
	uint64_t left, body;
	unsigned int digits;
	uint64_t requests;
	int result;
	const char *why;
	struct immure_http_reader reader;
	char *head;
	size_t head_cap;
	char *last;      /* the head that was allowed last */
	size_t last_len;
	unsigned char *out;
	size_t out_len, out_cap;
};

int immure_http_flow_new(immure_http_flow_judge *judge, void *ctx, struct immure_http_flow **ret)
{
	struct immure_http_flow *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->judge = judge;
	f->ctx = ctx;
	f->head = malloc(HEAD_FIRST);
	if (!f->head) {
		free(f);
		return -ENOMEM;
	}
	f->head_cap = HEAD_FIRST;
	immure_http_reader_init(&f->reader, f->head, f->head_cap);
	*ret = f;
	return 0;
}

void immure_http_flow_free(struct immure_http_flow *f)
{
	if (!f)
		return;
	free(f->head);
	free(f->answers);
	free(f->last);
	immure_wipe(f->out, f->out_cap);
	free(f->out);
	free(f);
}

void immure_http_flow_set_rewrite(struct immure_http_flow *f, immure_http_flow_rewrite *rewrite)
{
	f->rewrite = rewrite;
}

void immure_http_flow_bound(struct immure_http_flow *f, const struct immure_http_bounds *b)
{
	f->bounds = *b;
}

static int refuse(struct immure_http_flow *f, const char *why)
{
	f->why = why;
	return -EPROTO;
}

static int put(struct immure_http_flow *f, const void *data, size_t len)
{
	if (len > f->out_cap - f->out_len) {
		size_t cap = f->out_len + len + 1024;
		unsigned char *out = realloc(f->out, cap);

		if (!out)
			return -ENOMEM;
		f->out = out;
		f->out_cap = cap;
	}
	memcpy(f->out + f->out_len, data, len);
	f->out_len += len;
	return 0;
}

static void after_body(struct immure_http_flow *f)
{
	f->state = f->close || f->once ? END : HEAD;
	immure_http_reader_init(&f->reader, f->head, f->head_cap);
}

/* Most heads are short, and connections many. */
static int room_for_head(struct immure_http_flow *f, size_t more)
{
	size_t cap = f->head_cap;
	char *head;

	while (cap - f->reader.len < more && cap < IMMURE_HTTP_HEAD_MAX)
		cap *= 2;
	if (cap == f->head_cap)
		return 0;
	head = realloc(f->head, cap);
	if (!head)
		return -ENOMEM;
	f->head = f->reader.buf = head;
	f->head_cap = f->reader.cap = cap;
	return 0;
}

static int too_large(struct immure_http_flow *f)
{
	f->why = "the request's body is longer than network.request_body";
	return -EFBIG;
}

/* One that is followed only from its second request on is not understood. */
static int follow(struct immure_http_flow *f, const struct immure_http_head *h)
{
	if (!f->answers && !f->bounds.response_body && !h->websocket)
		return 0;
	if (!f->answers && f->requests)
		return refuse(f, "an upgrade that is not the first request of its connection");
	if (!f->answers) {
		f->answers = calloc(1, sizeof(*f->answers));
		if (!f->answers)
			return -ENOMEM;
		immure_http_answers_init(f->answers, f->bounds.response_body);
	}
	if (immure_http_answers_asked(f->answers, h->method_bit == IMMURE_METHOD_HEAD, h->websocket) < 0)
		return refuse(f, f->answers->why);
	return 0;
}

static int remember(struct immure_http_flow *f)
{
	char *last = realloc(f->last, f->reader.len);

	if (!last)
		return -ENOMEM;
	memcpy(last, f->reader.buf, f->reader.len);
	f->last = last;
	f->last_len = f->reader.len;
	return 0;
}

/* Without wiping, realloc may leave a copy of what must not stay. */
static int put_rewritten(struct immure_http_flow *f, const struct immure_http_head *h)
{
	unsigned char *old = f->out;
	size_t old_len = f->out_len, len = 0;
	char *text = NULL;
	int r = f->rewrite(f->ctx, h, f->reader.buf, f->reader.len, &text, &len);

	if (r == 0 && len > f->out_cap - old_len) {
		f->out_cap = old_len + len + 1024;
		f->out = malloc(f->out_cap);
		if (!f->out) {
			f->out = old;
			f->out_cap = old_len;
			r = -ENOMEM;
		} else {
			if (old_len)
				memcpy(f->out, old, old_len);
			immure_wipe(old, old_len);
			free(old);
		}
	}
	if (r == 0)
		r = put(f, text, len);
	immure_wipe(text, len);
	free(text);
	return r;
}

static int whole_head(struct immure_http_flow *f)
{
	struct immure_http_head h;
	int r = remember(f);

	if (r < 0)
		return r;
	if (immure_http_head_parse(&f->reader, &h) < 0)
		return refuse(f, f->reader.why);
	r = f->judge(f->ctx, &h);
	if (r == 0 && f->bounds.request_body && h.length > f->bounds.request_body)
		r = too_large(f);
	if (r == 0)
		r = follow(f, &h);
	if (r == 0)
		r = f->rewrite ? put_rewritten(f, &h) : put(f, f->reader.buf, f->reader.len);
	if (r < 0)
		return r;
	f->requests++;
	f->close = h.close || h.minor == 0;
	f->left = h.length;
	f->digits = 0;
	f->body = 0;
	if (h.websocket) {
		f->state = SWITCHING;
	} else if (h.body == IMMURE_HTTP_CHUNKED) {
		f->state = SIZE;
		f->left = 0;
	} else if (h.body == IMMURE_HTTP_LENGTH && h.length) {
		f->state = BODY;
	} else {
		after_body(f);
	}
	return 0;
}

static int hex(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte of what stands between the chunks. Extensions and trailers are
 * refused: few send them, and many have read them wrongly. */
static int framing(struct immure_http_flow *f, unsigned char c)
{
	switch (f->state) {
	case SIZE:
		if (c == '\r' && f->digits) {
			f->state = SIZE_LF;
			return 0;
		}
		if (hex(c) < 0 || f->digits == SIZE_DIGITS)
			return refuse(f, "a chunk's size");
		f->left = f->left << 4 | (unsigned int)hex(c);
		f->digits++;
		return 0;
	case SIZE_LF:
		f->state = f->left ? DATA : LAST_CR;
		if (c != '\n')
			return refuse(f, "a chunk's size");
		return f->bounds.request_body && f->left > f->bounds.request_body - f->body ? too_large(f) : 0;
	case DATA_CR:
		f->state = DATA_LF;
		return c == '\r' ? 0 : refuse(f, "a chunk's end");
	case DATA_LF:
		f->state = SIZE;
		f->left = f->digits = 0;
		return c == '\n' ? 0 : refuse(f, "a chunk's end");
	case LAST_CR:
		f->state = LAST_LF;
		return c == '\r' ? 0 : refuse(f, "fields after the chunks");
	case LAST_LF:
		after_body(f);
		return c == '\n' ? 0 : refuse(f, "the end of the chunks");
	case SWITCHING:
		return refuse(f, "bytes before the answer to an upgrade");
	case HEAD:
	case BODY:
	case DATA:
	case OPAQUE:
	case END:
		break;
	}
	return refuse(f, "bytes after the last request");
}

static int step(struct immure_http_flow *f, const unsigned char *data, size_t len, size_t *ret_used)
{
	int r;

	*ret_used = 1;
	if (f->state == END && f->once) {
		*ret_used = len;
		return 0;
	}
	if (f->state == OPAQUE) {
		*ret_used = len;
		return put(f, data, len);
	}
	if (f->state == HEAD) {
		r = room_for_head(f, len);
		if (r < 0)
			return r;
		r = immure_http_reader_feed(&f->reader, (const char *)data, len, ret_used);
		if (r < 0)
			return refuse(f, f->reader.why);
		return r ? whole_head(f) : 0;
	}
	if (f->state == BODY || f->state == DATA) {
		size_t n = f->left < len ? (size_t)f->left : len;

		*ret_used = n;
		f->left -= n;
		f->body += n;
		r = put(f, data, n);
		if (r == 0 && f->left == 0 && f->state == BODY)
			after_body(f);
		else if (f->left == 0)
			f->state = DATA_CR;
		return r;
	}
	r = framing(f, *data);
	return r < 0 ? r : put(f, data, 1);
}

int immure_http_flow_feed(struct immure_http_flow *f, const unsigned char *data, size_t len,
			  const unsigned char **ret, size_t *ret_len)
{
	f->out_len = 0;
	while (len && f->result == 0) {
		size_t used = 0;

		f->result = step(f, data, len, &used);
		data += used;
		len -= used;
	}
	*ret = f->out;
	*ret_len = f->result ? 0 : f->out_len;
	return f->result;
}

bool immure_http_flow_follows(const struct immure_http_flow *f)
{
	return f->answers;
}

int immure_http_flow_answer(struct immure_http_flow *f, const unsigned char *data, size_t len)
{
	int r = f->answers ? immure_http_answers_feed(f->answers, (const char *)data, len) : 0;

	if (r < 0)
		f->why = f->answers->why;
	else if (f->state == SWITCHING && immure_http_answers_switched(f->answers))
		f->state = OPAQUE;
	else if (f->state == SWITCHING && f->answers->asked == f->answers->answered)
		after_body(f);
	return r;
}

const char *immure_http_flow_why(const struct immure_http_flow *f)
{
	return f->why ? f->why : "";
}

enum immure_code immure_http_flow_code(int r)
{
	return r == -EFBIG ? IMMURE_CODE_HTTP_BODY_TOO_LARGE : r == -EPROTO ? IMMURE_CODE_HTTP_INVALID_URL :
	       IMMURE_CODE_NONE;
}

uint64_t immure_http_flow_requests(const struct immure_http_flow *f)
{
	return f->requests;
}

void immure_http_flow_once(struct immure_http_flow *f)
{
	f->once = true;
}

bool immure_http_flow_in_head(const struct immure_http_flow *f)
{
	return f->state == HEAD && f->reader.len > 0;
}

int immure_http_flow_again(struct immure_http_flow *f)
{
	struct immure_http_reader r;
	struct immure_http_head h;
	char *copy;
	size_t used;
	int k;

	if (!f->last)
		return 0;
	copy = malloc(f->last_len);
	if (!copy)
		return -ENOMEM;
	immure_http_reader_init(&r, copy, f->last_len);
	k = immure_http_reader_feed(&r, f->last, f->last_len, &used) == 1 ?
		    immure_http_head_parse(&r, &h) : -EPROTO;
	if (k == 0)
		k = f->judge(f->ctx, &h);
	free(copy);
	return k;
}
