/* SPDX-License-Identifier: Apache-2.0 */
/* The flags --require and --downgrade, which take several words at once. */
#include <errno.h>
#include <string.h>

#include "facts/report.h"
#include "policy/build.h"
#include "policy/checks.h"

/* --require takes everything of require.*: a class, FIELD=VALUE, a capability. */
static int assign_required(struct immure_policy_build *b, const char *word, bool append,
			   struct immure_complaint *c)
{
	const char *value = strchr(word, '=');

	if (value) {
		const char *path = immure_arena_printf(&b->p->arena, "require.%.*s",
						       (int)(value - word), word);
		int i = path ? immure_key_find(path) : -1;

		if (!path)
			return -ENOMEM;
		if (i >= 0 && immure_keys[i].type == IMMURE_KEY_ENUM)
			return immure_build_assign(b, &immure_keys[i], value + 1, false, c);
		return immure_complain(c, "\"%.60s\" is no field of trust", word);
	}
	for (size_t i = 0; immure_isolation_classes[i]; i++)
		if (strcmp(immure_isolation_classes[i], word) == 0)
			return immure_build_assign(b, &immure_keys[immure_key_find("require.class")],
						   word, false, c);
	return immure_build_assign(b, &immure_keys[immure_key_find("require.capabilities")], word,
				   append, c);
}

int immure_build_flag(struct immure_policy_build *b, const struct immure_key *k, const char *value,
		      bool append, struct immure_complaint *c)
{
	bool required = strcmp(k->path, "require.capabilities") == 0;
	int r = 0;

	if (!required && k->type != IMMURE_KEY_DOWNGRADE)
		return immure_build_assign(b, k, value, append, c);
	for (;;) {
		size_t n = strcspn(value, ",");
		const char *word = immure_arena_strndup(&b->p->arena, value, n);

		if (!word)
			return -ENOMEM;
		r = required ? assign_required(b, word, append, c)
			     : immure_build_assign(b, k, word, append, c);
		if (r < 0 || !value[n])
			return r;
		value += n + 1;
	}
}
