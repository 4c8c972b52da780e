/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/keys.h"

#include <stddef.h>
#include <string.h>

#include "policy/checks.h"
#include "policy/policy.h"

#define AT(member) offsetof(struct immure_policy, member)
#define NAMES(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define KEY(p) .path = (p), .plus = "+" p
#define RANK(...) ((const unsigned char[]){ __VA_ARGS__ })

/* Largest numbers a limit may have: what the kernel's interfaces take. */
#define MAX_BYTES ((uint64_t)INT64_MAX)
#define MAX_MS (366ULL * 86400 * 1000)
#define MAX_IDLE_MS (30ULL * 86400 * 1000)
#define MAX_HANDSHAKE_MS (3600ULL * 1000)

const struct immure_key immure_keys[] = {
#include "policy/keys/files.inc"
#include "policy/keys/network.inc"
#include "policy/keys/limits.inc"
#include "policy/keys/require.inc"
};
const size_t immure_keys_n = sizeof(immure_keys) / sizeof(immure_keys[0]);

int immure_key_find(const char *path)
{
	for (size_t i = 0; i < immure_keys_n; i++)
		if (strcmp(immure_keys[i].path, path) == 0)
			return (int)i;
	return -1;
}

const char *immure_key_expects(const struct immure_key *k)
{
	static const char *const expects[IMMURE_KEY_TYPE_MAX] = {
		[IMMURE_KEY_TEXT] = "a string",
		[IMMURE_KEY_CHOICE] = "a string",
		[IMMURE_KEY_ENUM] = "a string",
		[IMMURE_KEY_BOOL] = "true or false",
		[IMMURE_KEY_SIZE] = "a size such as \"512M\" or \"2G\", or bytes",
		[IMMURE_KEY_DURATION] = "a time such as \"30s\" or \"10m\", or seconds",
		[IMMURE_KEY_COUNT] = "a whole number",
		[IMMURE_KEY_MILLI] = "a number such as 2 or 0.5",
		[IMMURE_KEY_PATHS] = "a list of paths",
		[IMMURE_KEY_STRINGS] = "a list of strings",
		[IMMURE_KEY_ENV] = "an object of names and string values",
		[IMMURE_KEY_SECRETS] = "an object of secrets",
		[IMMURE_KEY_DOWNGRADE] = "\"deny\", \"allow\" or a list of gaps",
	};

	return expects[k->type];
}

enum { NEAREST_MAX = 64 };

/* Levenshtein distance, one row at a time; words longer than the row are far. */
static size_t edit_distance(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b), row[NEAREST_MAX + 1];

	if (la > NEAREST_MAX || lb > NEAREST_MAX)
		return SIZE_MAX;
	for (size_t j = 0; j <= lb; j++)
		row[j] = j;
	for (size_t i = 1; i <= la; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			size_t best = diagonal + (a[i - 1] != b[j - 1]);

			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			diagonal = row[j];
			row[j] = best;
		}
	}
	return row[lb];
}

const char *immure_nearest(const char *word, const char *const *candidates, size_t n)
{
	size_t best = SIZE_MAX;
	const char *ret = NULL;

	for (size_t i = 0; i < n; i++) {
		size_t d = edit_distance(word, candidates[i]);

		if (d < best) {
			best = d;
			ret = candidates[i];
		}
	}
	return best <= 3 && best < strlen(word) ? ret : NULL;
}
