/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/base64.h"
#include "base/jsonw.h"
#include "changes/changes.h"

char immure_change_type(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return 'f';
	case S_IFDIR:
		return 'd';
	case S_IFLNK:
		return 'l';
	case S_IFCHR:
		return 'c';
	case S_IFBLK:
		return 'b';
	case S_IFIFO:
		return 'p';
	case S_IFSOCK:
		return 's';
	default:
		return '?';
	}
}

static const char *type_name(char type)
{
	static const struct {
		char type;
		const char *name;
	} names[] = {
		{ 'f', "file" },   { 'd', "directory" }, { 'l', "link" },   { 'c', "device" },
		{ 'b', "device" }, { 'p', "pipe" },	 { 's', "socket" },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].type == type)
			return names[i].name;
	return "unknown";
}

const char *immure_change_name(uint8_t kind)
{
	static const char *const names[IMMURE_CHANGE_KINDS] = { "added", "modified", "removed", "replaced", "mode" };

	return kind < IMMURE_CHANGE_KINDS ? names[kind] : "unknown";
}

/* A name is bytes: where it is no UTF-8, what stands in "path" is for people. */
static bool is_utf8(const char *s)
{
	const unsigned char *p = (const unsigned char *)s;

	while (*p) {
		unsigned int n = *p < 0x80 ? 0 : *p >= 0xc2 && *p < 0xe0 ? 1 : *p >= 0xe0 && *p < 0xf0 ? 2 :
				 *p >= 0xf0 && *p < 0xf5 ? 3 : 9;

		if (n == 9 || (*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) ||
		    (*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] > 0x8f))
			return false;
		for (p++; n; n--, p++)
			if ((*p & 0xc0) != 0x80)
				return false;
	}
	return true;
}

static void put_change(struct immure_jsonw *w, const struct immure_change *ch)
{
	immure_jsonw_object(w, NULL);
	immure_jsonw_str(w, "path", ch->path);
	if (!is_utf8(ch->path)) {
		struct immure_buf b = IMMURE_BUF_INIT;

		immure_base64_put(&b, ch->path, strlen(ch->path));
		immure_jsonw_str(w, "path_base64", immure_buf_ok(&b) ? b.data : "");
		immure_buf_done(&b);
	}
	immure_jsonw_str(w, "change", immure_change_name(ch->kind));
	if (ch->type)
		immure_jsonw_str(w, "type", type_name(ch->type));
	if (ch->was)
		immure_jsonw_str(w, "was", type_name(ch->was));
	if (ch->type) {
		immure_jsonw_uint(w, "mode", ch->mode);
		immure_jsonw_uint(w, "size", ch->size);
	}
	if (ch->was)
		immure_jsonw_uint(w, "was_mode", ch->was_mode);
	if (ch->refused)
		immure_jsonw_str(w, "refused", ch->refused);
	if (ch->conflict)
		immure_jsonw_str(w, "conflict", ch->conflict);
	if (ch->selected)
		immure_jsonw_bool(w, "lands", true);
	immure_jsonw_end(w, '}');
}

void immure_changes_json(const struct immure_changes *c, struct immure_buf *out)
{
	struct immure_jsonw w;
	uint64_t refused = 0, conflicts = 0;

	for (size_t i = 0; i < c->n; i++) {
		refused += c->v[i].refused != NULL;
		conflicts += c->v[i].conflict != NULL;
	}
	immure_jsonw_init(&w, out, 2);
	immure_jsonw_object(&w, NULL);
	immure_jsonw_str(&w, "id", c->id);
	immure_jsonw_str(&w, "workspace", c->plan->workspace);
	immure_jsonw_str(&w, "session", c->meta.session);
	immure_jsonw_uint(&w, "created_ms", c->meta.created_ms);
	immure_jsonw_bool(&w, "in_use", c->lock_fd < 0);
	immure_jsonw_bool(&w, "torn", immure_changes_is_torn(c));
	if (c->why_not)
		immure_jsonw_str(&w, "why_not", c->why_not);
	immure_jsonw_uint(&w, "refused", refused);
	immure_jsonw_uint(&w, "conflicts", conflicts);
	immure_jsonw_array(&w, "changes");
	for (size_t i = 0; i < c->n; i++)
		put_change(&w, &c->v[i]);
	immure_jsonw_end(&w, ']');
	immure_jsonw_end(&w, '}');
	immure_buf_putc(out, '\n');
}

void immure_changes_text(const struct immure_changes *c, struct immure_buf *out)
{
	static const char marks[IMMURE_CHANGE_KINDS] = { 'A', 'M', 'D', 'T', 'm' };

	for (size_t i = 0; i < c->n; i++) {
		const struct immure_change *ch = &c->v[i];

		immure_buf_printf(out, "%c ", marks[ch->kind]);
		immure_buf_put_printable(out, ch->path, strlen(ch->path));
		if ((ch->type ? ch->type : ch->was) == 'd')
			immure_buf_putc(out, '/');
		else if (ch->type && ch->type != 'f')
			immure_buf_printf(out, " (%s)", type_name(ch->type));
		if (ch->type && ch->was && ch->mode != ch->was_mode && ch->type != 'l')
			immure_buf_printf(out, " mode %04o -> %04o", ch->was_mode, ch->mode);
		if (ch->refused)
			immure_buf_printf(out, "  refused: %s", ch->refused);
		else if (ch->conflict)
			immure_buf_printf(out, "  conflict: %s", ch->conflict);
		immure_buf_putc(out, '\n');
	}
	if (c->why_not)
		immure_buf_printf(out, "nothing of it can land: %s\n", c->why_not);
}
