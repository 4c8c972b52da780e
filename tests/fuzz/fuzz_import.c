/* SPDX-License-Identifier: Apache-2.0 */
/* The first byte chooses the format. What is made must pass our own parser, and
 * every note has a text. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "policy/file.h"
#include "policy/import/import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const formats[] = { "srt", "claude", "codex", "firejail" };
	struct immure_import *im = NULL;
	struct immure_policy *policy = NULL;
	struct immure_error *err = NULL;

	if (size < 1)
		return 0;
	if (immure_import_run(formats[data[0] % 4], (const char *)data + 1, size - 1, "f", &im, &err) < 0) {
		/* A message that begins otherwise is of our own parser, about what we made. */
		if (strcmp(immure_error_stage(err), "import") != 0)
			abort();
		immure_error_free(err);
		return 0;
	}
	if (immure_policy_from_text(im->text, strlen(im->text), "f", &policy, NULL) < 0)
		abort();
	for (size_t i = 0; i < im->lines_n; i++)
		if (!im->lines[i].what || !*im->lines[i].why || im->lines[i].kind < 1 ||
		    im->lines[i].kind > 4)
			abort();
	immure_policy_destroy(policy);
	immure_import_destroy(im);
	return 0;
}
