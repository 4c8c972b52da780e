/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a stranger's policy file, rule or path may be. The first byte chooses:
 * 'r' a network rule, 'u' a publish entry, 'p' a path, 'n' a number, anything
 * else is (the start of) a policy file. What is taken must have a normal form
 * that is taken again and stays as it is.
 */
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "base/path.h"
#include "fuzz.h"
#include "policy/build.h"
#include "policy/checks.h"
#include "policy/describe.h"
#include "policy/file.h"
#include "policy/netrule.h"
#include "policy/tighten.h"

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void normal_form(const char *text, immure_key_check *check)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_complaint c = { 0 };
	const char *once = NULL, *twice = NULL;

	if (check(&a, text, &once, &c) == 0) {
		must(once != NULL);
		must(check(&a, once, &twice, &c) == 0);
		must(strcmp(once, twice) == 0);
	} else {
		must(c.text[0] != '\0');
	}
	immure_arena_done(&a);
}

/* No ".." and no doubled slash survives, whatever was written. */
static void path(const char *text)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_complaint c = { 0 };
	const char *p = NULL;

	normal_form(text, immure_check_path);
	if (immure_check_path(&a, text, &p, &c) == 0) {
		const char *joined = p[0] == '~' ? immure_path_join(&a, "/h", p + 1 + (p[1] == '/')) :
						   immure_path_join(&a, "/w", p);

		must(immure_path_normalize(&a, joined) != NULL);
	}
	immure_arena_done(&a);
}

static void numbers(const char *text)
{
	uint64_t v, w;
	char buf[32];

	if (immure_parse_size(text, &v) == 0)
		must(immure_parse_size(immure_format_size(v, buf, sizeof(buf)), &w) == 0 && v == w);
	if (immure_parse_duration(text, &v) == 0)
		must(immure_parse_duration(immure_format_duration(v, buf, sizeof(buf)), &w) == 0 &&
		     v == w);
	(void)immure_parse_milli(text, &v);
	(void)immure_parse_u64(text, &v);
}

static struct immure_policy *load(const char *text, size_t len)
{
	struct immure_policy_file f = { 0 };
	struct immure_policy_build b = { 0 };
	struct immure_policy *p = NULL;
	struct immure_error *e = NULL;
	const char *profile;
	int32_t r = immure_policy_file_parse(text, len, "fuzz", &f, &e);

	if (r < 0) {
		must(e && e->text[0]);
		immure_error_free(e);
		return NULL;
	}
	profile = f.extends && immure_profile_find(f.extends) ? f.extends : "dev";
	must(immure_build_begin(&b, NULL) == 0 && immure_build_profile(&b, profile, NULL) == 0);
	r = immure_policy_file_apply(&f, &b, &e);
	if (r == 0)
		r = immure_build_finish(&b, &p, &e);
	else
		immure_build_abort(&b);
	must((r < 0) == (p == NULL) && (r < 0) == (e != NULL));
	immure_error_free(e);
	immure_policy_file_done(&f);
	return p;
}

static void policy(const char *text, size_t len)
{
	struct immure_policy *p = load(text, len), *again;
	char *s;

	if (!p)
		return;
	again = load(text, len);
	must(again && strcmp(p->version, again->version) == 0);
	must(immure_policy_loosened(p, again) == NULL);
	for (int json = 0; json < 2; json++) {
		s = immure_policy_describe(p, json);
		must(s != NULL);
		free(s);
	}
	immure_policy_destroy(p);
	immure_policy_destroy(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text = malloc(len + 1); /* its own block: one byte too far is seen */

	if (!text)
		return 0;
	memcpy(text, data, len);
	text[len] = '\0';
	switch (len ? text[0] : 0) {
	case 'r':
		normal_form(text + 1, immure_check_host_rule);
		break;
	case 'u':
		normal_form(text + 1, immure_check_publish);
		break;
	case 'p':
		path(text + 1);
		break;
	case 'n':
		numbers(text + 1);
		break;
	default:
		policy(text, len);
	}
	free(text);
	return 0;
}
