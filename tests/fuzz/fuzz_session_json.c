/* SPDX-License-Identifier: Apache-2.0 */
/* The reader of the control protocol: in bounds whatever comes, and of the same
 * opinion as the JSON library. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/jsonr.h"
#include "fuzz.h"

enum { VALUES = 512 };

static void walk(const struct immure_jsonr *r, const struct immure_jsonr_value *v, size_t depth)
{
	size_t n = 0;

	if (depth > IMMURE_JSON_DEPTH || v->next > r->n)
		abort();
	if (v->type == IMMURE_JSON_STRING && strlen(v->text) != v->len)
		abort();
	for (const struct immure_jsonr_value *e = immure_jsonr_first(r, v); e; e = immure_jsonr_after(r, v, e)) {
		walk(r, e, depth + 1);
		n++;
	}
	if (n != v->size)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct immure_jsonr_value *v = calloc(VALUES, sizeof(*v));
	char *text = malloc(len + 1);
	struct immure_json_failure f;
	struct immure_json *doc = NULL;
	struct immure_jsonr r;
	int ours, theirs;

	if (!v || !text)
		abort();
	memcpy(text, data, len);
	ours = immure_jsonr_parse(&r, text, len, v, VALUES);
	theirs = immure_json_parse((const char *)data, len, &doc, &f);
	if (ours == 0) {
		walk(&r, &v[0], 0);
		if (theirs != 0)
			abort(); /* the library takes more: depth, members, values */
	}
	if (theirs == 0)
		immure_json_free(doc);
	free(text);
	free(v);
	return 0;
}
