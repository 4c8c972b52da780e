/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sealed plans from a stranger. The digest is made right first, or nothing past
 * it would ever be reached. What is accepted must print, and must be accepted
 * again when it is sealed again.
 */
#include <stdlib.h>
#include <string.h>

#include "base/sha256.h"
#include "fuzz.h"
#include "plan/seal.h"

static void use(struct immure_plan *p)
{
	char *text = immure_plan_text(p), *json = immure_plan_to_json(p);
	struct immure_plan *again = NULL;
	void *data = NULL;
	size_t n = 0;

	if (!text || !json)
		abort();
	(void)immure_plan_startable(p, NULL);
	if (immure_plan_close(p, NULL) < 0 || immure_plan_seal_bytes(p, &data, &n, NULL) < 0 ||
	    immure_plan_unseal(data, n, &again, NULL) < 0)
		abort();
	immure_plan_destroy(again);
	free(data);
	free(text);
	free(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct immure_plan *p = NULL;
	unsigned char *copy = malloc(len + !len);

	if (!copy)
		return 0;
	memcpy(copy, data, len);
	if (len >= IMMURE_SEAL_HEADER + 32) {
		struct immure_sha256 sha;
		uint64_t n = len;

		for (int i = 0; i < 8; i++)
			copy[8 + i] = (unsigned char)(n >> 8 * i);
		immure_sha256_init(&sha);
		immure_sha256_add(&sha, copy, len - 32);
		immure_sha256_done(&sha, copy + len - 32);
	}
	if (immure_plan_unseal(copy, len, &p, NULL) == 0)
		use(p);
	immure_plan_destroy(p);
	free(copy);
	return 0;
}
