/* SPDX-License-Identifier: Apache-2.0 */
/* The reference of all keys, profiles and built-in tables, for docs/POLICY.md,
 * immure-policy(5) and completions. */
#include <ctype.h>
#include <string.h>

#include "base/buf.h"
#include "base/parse.h"
#include "policy/build.h"
#include "policy/describe.h"
#include "policy/env.h"
#include "policy/keys.h"

static const char *const tighten_texts[IMMURE_TIGHTEN_MAX] = {
	[IMMURE_TIGHTEN_NEVER] = "not at all",
	[IMMURE_TIGHTEN_RANK] = "to a stricter value",
	[IMMURE_TIGHTEN_TRUE] = "to true",
	[IMMURE_TIGHTEN_FALSE] = "to false",
	[IMMURE_TIGHTEN_LOWER] = "to set or lower it",
	[IMMURE_TIGHTEN_MORE] = "to add to it",
	[IMMURE_TIGHTEN_FEWER] = "to take from it",
	[IMMURE_TIGHTEN_SET] = "to set it",
	[IMMURE_TIGHTEN_DENY] = "to deny, or to name fewer gaps",
};

/* What may be written, in one phrase. */
static void put_values(struct immure_buf *b, const struct immure_key *k)
{
	char lo[32], hi[32];

	if (k->names && k->type != IMMURE_KEY_DOWNGRADE) {
		for (size_t i = 0; k->names[i]; i++)
			immure_buf_printf(b, "%s\"%s\"", i ? ", " : "", k->names[i]);
		if (k->check)
			immure_buf_puts(b, ", or an absolute path");
		return;
	}
	immure_buf_puts(b, immure_key_expects(k));
	if (k->type == IMMURE_KEY_SIZE && k->min > 1)
		immure_buf_printf(b, "; at least %s", immure_format_size(k->min, lo, sizeof(lo)));
	if (k->type == IMMURE_KEY_DURATION && k->min > 1)
		immure_buf_printf(b, "; at least %s", immure_format_duration(k->min, hi, sizeof(hi)));
	if (k->type == IMMURE_KEY_COUNT)
		immure_buf_printf(b, ", %llu to %llu", (unsigned long long)k->min,
				  (unsigned long long)k->max);
	if (k->nullable)
		immure_buf_puts(b, ", or null, which is an empty list");
}

/* Prose for markdown: stars are stars. */
static void md(struct immure_buf *b, const char *s)
{
	for (; *s; s++) {
		if (*s == '*' || *s == '_' || *s == '[' || *s == '<' || *s == '\\')
			immure_buf_putc(b, '\\');
		immure_buf_putc(b, *s);
	}
}

static void md_key(struct immure_buf *b, const struct immure_key *k)
{
	immure_buf_printf(b, "### `%s`\n\n%c", k->path, toupper((unsigned char)k->help[0]));
	md(b, k->help + 1);
	immure_buf_puts(b, ".\n\n");
	md(b, k->doc);
	immure_buf_puts(b, "\n\n");
	immure_buf_puts(b, "* Value: ");
	put_values(b, k);
	immure_buf_printf(b, "\n* Example: `%s`\n", k->example);
	immure_buf_printf(b, "* Default: %s%s%s\n", k->fallback ? "`" : "",
			  k->fallback ? k->fallback : "none", k->fallback ? "`" : "");
	if (k->flag)
		immure_buf_printf(b, "* Flag: `--%s %s`%s\n", k->flag, k->argument,
				  immure_key_appends(k) ? " (adds one; may be repeated)" : "");
	if (immure_key_appends(k))
		immure_buf_printf(b, "* A later layer replaces it, or adds with `\"+%s\"`.\n",
				  strrchr(k->path, '.') ? strrchr(k->path, '.') + 1 : k->path);
	immure_buf_printf(b, "* An untrusted workspace file may change it: %s.\n",
			  tighten_texts[k->tighten]);
	immure_buf_printf(b, "* Must be enforced: `%s`\n\n", k->enforced_by);
}

static void md_profiles(struct immure_buf *b)
{
	immure_buf_puts(b, "## Profiles\n\n| profile | builds on | what it is |\n|---|---|---|\n");
	for (size_t i = 0; i < immure_profiles_n; i++)
		immure_buf_printf(b, "| `%s` | %s | %s |\n", immure_profiles[i].name,
				  immure_profiles[i].extends ? immure_profiles[i].extends : "-",
				  immure_profiles[i].help);
	immure_buf_puts(b, "\n`immure policy show --profile NAME` prints every value of one.\n\n");
}

static void md_tables(struct immure_buf *b)
{
	immure_buf_puts(b, "## Sensitive paths\n\nDenied by `files.sensitive`.\n\n"
			   "| path | what is there |\n|---|---|\n");
	for (size_t i = 0; i < immure_sensitive_paths_n; i++)
		immure_buf_printf(b, "| `%s` | %s |\n", immure_sensitive_paths[i].path,
				  immure_sensitive_paths[i].why);
	immure_buf_puts(b, "\n## Presets\n\nRead by `files.presets`.\n\n| preset | path |\n|---|---|\n");
	for (size_t i = 0; i < immure_presets_n; i++)
		immure_buf_printf(b, "| `%s` | `%s` |\n", immure_presets[i].name, immure_presets[i].path);
	immure_buf_puts(b, "\n## Protected files\n\nProtected by `files.protected` in the workspace: "
			   "at its top, or anywhere in it. A build's own inputs can be written and are "
			   "reported.\n\n| path | where | who obeys it |\n|---|---|---|\n");
	for (size_t i = 0; i < immure_protected_paths_n; i++) {
		const struct immure_protected_path *p = &immure_protected_paths[i];

		immure_buf_printf(b, "| `%s` | %s%s | %s |\n", p->path, p->anywhere ? "anywhere" : "top",
				  p->build ? ", build" : "", p->why);
	}
	immure_buf_puts(b, "\n## Variables that are never passed\n\nNot by name and not by a pattern; "
			   "`environment.set` can give them a value.\n\n");
	for (size_t i = 0; immure_env_controls[i]; i++)
		immure_buf_printf(b, "%s`%s`", i ? ", " : "", immure_env_controls[i]);
	immure_buf_puts(b, "\n");
}

static void markdown(struct immure_buf *b)
{
	immure_buf_puts(b, "## Keys\n\n");
	for (size_t i = 0; i < immure_keys_n; i++)
		md_key(b, &immure_keys[i]);
	md_profiles(b);
	md_tables(b);
}

/* Text for roff: dashes, backslashes, and dots or quotes that open a line. */
static void roff(struct immure_buf *b, const char *s)
{
	bool start = true;

	for (; *s; s++) {
		if (start && (*s == '.' || *s == '\''))
			immure_buf_puts(b, "\\&");
		if (*s == '\\')
			immure_buf_puts(b, "\\e");
		else if (*s == '-')
			immure_buf_puts(b, "\\-");
		else
			immure_buf_putc(b, *s);
		start = *s == '\n';
	}
}

static void man_key(struct immure_buf *b, const struct immure_key *k)
{
	struct immure_buf values = IMMURE_BUF_INIT;

	put_values(&values, k);
	immure_buf_puts(b, ".TP\n\\fB");
	roff(b, k->path);
	immure_buf_puts(b, "\\fR\n");
	roff(b, k->doc);
	immure_buf_puts(b, "\n.br\nValue: ");
	roff(b, values.data ? values.data : "");
	immure_buf_puts(b, ". Default: ");
	roff(b, k->fallback ? k->fallback : "none");
	if (k->flag) {
		immure_buf_puts(b, ". Flag: \\fB\\-\\-");
		roff(b, k->flag);
		immure_buf_puts(b, "\\fR \\fI");
		roff(b, k->argument);
		immure_buf_puts(b, "\\fR");
	}
	immure_buf_puts(b, ".\n");
	immure_buf_done(&values);
}

static void man(struct immure_buf *b)
{
	immure_buf_puts(b, ".SH KEYS\n");
	for (size_t i = 0; i < immure_keys_n; i++)
		man_key(b, &immure_keys[i]);
	immure_buf_puts(b, ".SH PROFILES\n");
	for (size_t i = 0; i < immure_profiles_n; i++) {
		immure_buf_puts(b, ".TP\n\\fB");
		roff(b, immure_profiles[i].name);
		immure_buf_puts(b, "\\fR\n");
		roff(b, immure_profiles[i].help);
		immure_buf_puts(b, ".\n");
	}
}

char *immure_policy_reference_text(const char *format, bool *ret_known)
{
	struct immure_buf b = IMMURE_BUF_INIT;

	*ret_known = true;
	if (strcmp(format, "markdown") == 0) {
		markdown(&b);
	} else if (strcmp(format, "man") == 0) {
		man(&b);
	} else if (strcmp(format, "keys") == 0) {
		for (size_t i = 0; i < immure_keys_n; i++)
			immure_buf_printf(&b, "%s\n", immure_keys[i].path);
	} else if (strcmp(format, "backends") == 0) {
		immure_buf_done(&b);
		return immure_backends_reference();
	} else {
		*ret_known = false;
	}
	return immure_buf_take(&b);
}
