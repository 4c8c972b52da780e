/* SPDX-License-Identifier: Apache-2.0 */
/* What an image says of itself, whoever wrote it; and the store's own records. The first byte
 * says which of them the rest is. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "image/worker.h"

int image_fail(struct image_worker *w, int errnum, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (!w->why[0])
		(void)vsnprintf(w->why, sizeof(w->why), fmt, ap);
	va_end(ap);
	return errnum > 0 ? -errnum : -5;
}

static void check_descriptors(const struct image_descriptors *d)
{
	for (size_t i = 0; i < d->n; i++)
		if (!immure_image_is_digest(d->v[i].digest) || d->v[i].size > INT64_MAX)
			abort();
}

/* What was taken is written and read again as the same. */
static void check_record(struct immure_arena *a, const char *text, size_t len)
{
	struct immure_buf once = IMMURE_BUF_INIT, twice = IMMURE_BUF_INIT;
	struct immure_image_record r, again;

	if (immure_image_record_parse(a, text, len, &r) < 0)
		return;
	immure_image_record_put(&r, &once);
	if (immure_image_record_parse(a, once.data, once.len, &again) < 0)
		abort();
	immure_image_record_put(&again, &twice);
	if (once.len != twice.len || memcmp(once.data, twice.data, once.len) != 0)
		abort();
	immure_buf_done(&once);
	immure_buf_done(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct image_worker w = { .store_fd = -1, .tmp_fd = -1 };
	struct image_descriptors index = { 0 };
	struct image_manifest manifest = { 0 };
	struct immure_image_record rec = { 0 };
	struct image_saved *saved = NULL;
	size_t n = 0;
	char *text;

	if (len == 0)
		return 0;
	text = malloc(len);
	if (!text)
		return 0;
	memcpy(text, data + 1, len - 1);
	text[--len] = '\0';
	switch (data[0]) {
	case 'i':
		if (image_index_parse(&w, text, len, &index) == 0)
			check_descriptors(&index);
		else if (!w.why[0])
			abort();
		break;
	case 'm':
		if (image_manifest_parse(&w, text, len, &manifest) == 0) {
			check_descriptors(&manifest.layers);
			if (manifest.layers.n == 0 || manifest.layers.n > IMMURE_IMAGE_LAYERS_MAX)
				abort();
		}
		break;
	case 'c':
		if (image_config_parse(&w, text, len, &rec) == 0)
			for (size_t i = 0; i < rec.env.n; i++)
				if (!strchr(rec.env.v[i], '='))
					abort();
		break;
	case 's':
		if (image_saved_parse(&w, text, len, &saved, &n) == 0)
			for (size_t i = 0; i < n; i++)
				if (!*saved[i].config || saved[i].layers.n == 0)
					abort();
		break;
	default:
		check_record(&w.arena, text, len);
		break;
	}
	immure_arena_done(&w.arena);
	free(text);
	return 0;
}
