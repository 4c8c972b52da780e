/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of a session's directory, whatever is in them. The first byte chooses
 * journal, status or meta. What a journal hands out before it is refused is the
 * same as when the text ended there; what is accepted can be written again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "session/journal_line.h"
#include "session/registry.h"

static int each(void *ctx, const struct immure_journal_record *r)
{
	uint64_t *last = ctx;

	if (r->seq <= *last || r->of >= r->seq || strlen(r->subject) >= IMMURE_JOURNAL_SUBJECT_MAX ||
	    strlen(r->detail) >= IMMURE_JOURNAL_DETAIL_MAX)
		abort();
	*last = r->seq;
	return 0;
}

static void journal(const char *text, size_t len)
{
	struct immure_journal_end end, again;
	uint64_t last = 0, same = 0;
	int r = immure_journal_parse(text, len, each, &last, &end);

	if (r < 0 && r != -EBADMSG)
		abort();
	if (end.size + end.torn > len || (r == 0 && end.size + end.torn != len) ||
	    (last && end.next != last + 1))
		abort();
	if (immure_journal_parse(text, (size_t)end.size, each, &same, &again) < 0 || same != last ||
	    again.torn || memcmp(again.head, end.head, 32) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const char *text = (const char *)data + 1;
	struct immure_status status;
	struct immure_meta meta;

	if (len == 0)
		return 0;
	if (data[0] == 'j')
		journal(text, len - 1);
	else if (data[0] == 's' && immure_status_parse(text, len - 1, &status) == 0 && !status.state[0])
		abort();
	else if (data[0] == 'm' && immure_meta_parse(text, len - 1, &meta) == 0 &&
		 (!immure_id_valid(meta.id) || meta.labels_n > IMMURE_LABELS_MAX))
		abort();
	return 0;
}
