/* SPDX-License-Identifier: Apache-2.0 */
#include "session/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "session/fields.h"
#include "session/journal_line.h"
#include "session/runtime.h"

struct words {
	const char *at[8];
	size_t len[8];
};

/* Exactly eight words, one space between two. */
static int split(const char *line, size_t len, struct words *w)
{
	for (int i = 0; i < 8; i++) {
		const char *space = memchr(line, ' ', len);
		size_t n = i < 7 ? (space ? (size_t)(space - line) : 0) : len;

		if (n == 0 || (i == 7 && space))
			return -EBADMSG;
		w->at[i] = line;
		w->len[i] = n;
		line += n + (i < 7);
		len -= n + (i < 7);
	}
	return 0;
}

static int find_word(const char *word, size_t len, const char *(*name)(int), int max)
{
	for (int i = 0; i < max; i++)
		if (strlen(name(i)) == len && memcmp(name(i), word, len) == 0)
			return i;
	return -EBADMSG;
}

static const char *kind_at(int i)
{
	return immure_journal_kind_name((enum immure_journal_kind)i);
}

static const char *phase_at(int i)
{
	return immure_journal_phase_name((enum immure_journal_phase)i);
}

struct reader {
	char subject[IMMURE_JOURNAL_SUBJECT_MAX], detail[IMMURE_JOURNAL_DETAIL_MAX];
	int (*each)(void *ctx, const struct immure_journal_record *r);
	void *ctx;
	struct immure_journal_end *end;
};

static int read_record(struct reader *rd, const struct words *w, struct immure_journal_record *r)
{
	int kind = find_word(w->at[2], w->len[2], kind_at, IMMURE_JK_MAX);
	int phase = find_word(w->at[3], w->len[3], phase_at, IMMURE_JP_MAX);

	if (kind < 0 || phase < 0 ||
	    immure_field_uint(w->at[0], w->len[0], UINT64_MAX - 1, &r->seq) < 0 ||
	    immure_field_uint(w->at[1], w->len[1], UINT64_MAX, &r->ms) < 0 ||
	    immure_field_uint(w->at[4], w->len[4], UINT64_MAX, &r->of) < 0 ||
	    immure_field_get(w->at[5], w->len[5], rd->subject, sizeof(rd->subject)) < 0 ||
	    immure_field_get(w->at[6], w->len[6], rd->detail, sizeof(rd->detail)) < 0)
		return -EBADMSG;
	r->kind = (enum immure_journal_kind)kind;
	r->phase = (enum immure_journal_phase)phase;
	r->subject = rd->subject;
	r->detail = rd->detail;
	return r->of >= r->seq || r->seq == 0 ? -EBADMSG : 0;
}

static int hex_nibble(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A file that follows an older one says where that ended. */
static int take_checkpoint(struct immure_journal_end *end, const struct immure_journal_record *r)
{
	const char *p = r->detail;

	if (strncmp(p, "head=", 5) != 0 || strlen(p) != 5 + 64)
		return -EBADMSG;
	for (int i = 0; i < 32; i++) {
		int hi = hex_nibble(p[5 + 2 * i]), lo = hex_nibble(p[6 + 2 * i]);

		if (hi < 0 || lo < 0)
			return -EBADMSG;
		end->before[i] = (unsigned char)(hi << 4 | lo);
	}
	return 0;
}

static int one_line(struct reader *rd, const char *line, size_t len)
{
	struct immure_journal_end *end = rd->end;
	char hash[IMMURE_JOURNAL_HASH_LEN + 1];
	struct immure_journal_record r;
	unsigned char head[32];
	struct words w;

	if (split(line, len, &w) < 0 || w.len[7] != IMMURE_JOURNAL_HASH_LEN)
		return -EBADMSG;
	immure_journal_chain(end->head, line, len - IMMURE_JOURNAL_HASH_LEN, head);
	immure_journal_hex(head, IMMURE_JOURNAL_HASH_LEN / 2, hash);
	if (memcmp(hash, w.at[7], IMMURE_JOURNAL_HASH_LEN) != 0 || read_record(rd, &w, &r) < 0)
		return -EBADMSG;
	if (end->first == 0) {
		/* Only one that was begun anew does not begin with 1. */
		if (r.kind == IMMURE_JK_CHECKPOINT ? take_checkpoint(end, &r) < 0 : r.seq != 1)
			return -EBADMSG;
		end->first = r.seq;
	} else if (r.seq != end->next || r.kind == IMMURE_JK_CHECKPOINT) {
		return -EBADMSG;
	}
	end->next = r.seq + 1;
	end->size += len + 1;
	memcpy(end->head, head, sizeof(head));
	return rd->each ? rd->each(rd->ctx, &r) : 0;
}

int immure_journal_parse(const char *text, size_t len,
			 int (*each)(void *ctx, const struct immure_journal_record *r), void *ctx,
			 struct immure_journal_end *ret)
{
	struct reader *rd = malloc(sizeof(*rd));
	int r = 0;

	memset(ret, 0, sizeof(*ret));
	ret->next = 1;
	if (!rd)
		return -ENOMEM;
	*rd = (struct reader){ .each = each, .ctx = ctx, .end = ret };
	while (len > 0 && r == 0) {
		const char *end = memchr(text, '\n', len);

		if (!end) {
			ret->torn = len;
			break;
		}
		r = one_line(rd, text, (size_t)(end - text));
		len -= (size_t)(end + 1 - text);
		text = end + 1;
	}
	free(rd);
	return r;
}

int immure_journal_scan(int dir_fd, const char *name,
			int (*each)(void *ctx, const struct immure_journal_record *r), void *ctx,
			struct immure_journal_end *ret)
{
	IMMURE_CLEANUP_FREE char *text = NULL;
	size_t len = 0;
	int r = immure_runtime_read(dir_fd, name, IMMURE_JOURNAL_FILE_MAX, &text, &len);

	if (r < 0) {
		memset(ret, 0, sizeof(*ret));
		return r;
	}
	return immure_journal_parse(text, len, each, ctx, ret);
}

int immure_journal_read(int dir_fd, bool older,
			int (*each)(void *ctx, const struct immure_journal_record *r), void *ctx,
			uint64_t *ret_torn)
{
	struct immure_journal_end end, old = { .next = 0 };
	struct stat a, b;
	bool two = older && fstatat(dir_fd, "journal.1", &a, AT_SYMLINK_NOFOLLOW) == 0 &&
		   fstatat(dir_fd, "journal", &b, AT_SYMLINK_NOFOLLOW) == 0 && a.st_ino != b.st_ino;
	int r = two ? immure_journal_scan(dir_fd, "journal.1", each, ctx, &old) : 0;

	if (r == 0)
		r = immure_journal_scan(dir_fd, "journal", each, ctx, &end);
	if (r == 0 && two && (end.first != old.next || memcmp(end.before, old.head, 32) != 0))
		r = -EBADMSG;
	if (r == 0 && ret_torn)
		*ret_torn = end.torn;
	return r;
}

/* ---- what is standing ---- */

struct collection {
	struct immure_standing *v;
	size_t n, cap;
};

static struct immure_standing *find(struct collection *c, uint64_t seq)
{
	for (size_t i = c->n; i > 0; i--)
		if (c->v[i - 1].seq == seq)
			return &c->v[i - 1];
	return NULL;
}

static int add(struct collection *c, const struct immure_journal_record *r, uint64_t id)
{
	struct immure_standing s = { .seq = id, .ms = r->ms, .kind = r->kind, .phase = r->phase };

	if (c->n == c->cap) {
		size_t cap = c->cap ? c->cap * 2 : 16;
		struct immure_standing *v = realloc(c->v, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		c->v = v;
		c->cap = cap;
	}
	s.subject = strdup(r->subject);
	s.detail = strdup(r->detail);
	if (!s.subject || !s.detail) {
		free(s.subject);
		free(s.detail);
		return -ENOMEM;
	}
	c->v[c->n++] = s;
	return 0;
}

static void drop(struct collection *c, struct immure_standing *s)
{
	size_t i = (size_t)(s - c->v);

	free(s->subject);
	free(s->detail);
	memmove(s, s + 1, (c->n - i - 1) * sizeof(*s));
	c->n--;
}

static int collect(void *ctx, const struct immure_journal_record *r)
{
	/* Carried over from an older file, a record has the number of its intent in
	 * `of`, and the intent's subject. */
	uint64_t id = r->of ? r->of : r->seq;
	struct collection *c = ctx;
	struct immure_standing *s;
	char *detail;

	if (r->phase == IMMURE_JP_NOTE)
		return 0;
	s = find(c, id);
	if (s && s->kind != r->kind)
		return -EBADMSG;
	if (r->phase == IMMURE_JP_FAILED || r->phase == IMMURE_JP_GONE) {
		if (s)
			drop(c, s);
		return 0;
	}
	if (!s)
		return add(c, r, id);
	s->phase = r->phase;
	if (!r->detail[0])
		return 0;
	detail = strdup(r->detail);
	if (!detail)
		return -ENOMEM;
	free(s->detail);
	s->detail = detail;
	return 0;
}

int immure_journal_standing(int dir_fd, struct immure_standing **ret, size_t *ret_n)
{
	struct collection c = { .v = NULL };
	struct immure_journal_end end;
	int r = immure_journal_scan(dir_fd, "journal", collect, &c, &end);

	*ret = NULL;
	*ret_n = 0;
	if (r < 0 && r != -EBADMSG) {
		immure_standing_free(c.v, c.n);
		return r;
	}
	*ret = c.v;
	*ret_n = c.n;
	return r;
}

void immure_standing_free(struct immure_standing *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(s[i].subject);
		free(s[i].detail);
	}
	free(s);
}

int immure_detail_uint(const char *detail, const char *key, uint64_t *ret)
{
	size_t n = strlen(key);

	while (*detail) {
		size_t len = strcspn(detail, " ");

		if (len > n && strncmp(detail, key, n) == 0 && detail[n] == '=')
			return immure_field_uint(detail + n + 1, len - n - 1, UINT64_MAX, ret);
		detail += len + (detail[len] == ' ');
	}
	return -ENOENT;
}
