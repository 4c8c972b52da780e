/* SPDX-License-Identifier: Apache-2.0 */
#include "seccomp_oracle.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void read_calls(struct oracle *o, const char *dir)
{
	char path[1024], line[256], x[16], a[16];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/syscalls.tbl", dir);
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		struct oracle_call *c = &o->calls[o->calls_n];

		if (*line == '#')
			continue;
		assert_int_equal(sscanf(line, "%39s %15s %15s", c->name, x, a), 3);
		c->nr[0] = *x == '-' ? -1 : atoi(x);
		c->nr[1] = *a == '-' ? -1 : atoi(a);
		o->calls_n++;
	}
	(void)fclose(f);
}

static void add_line(struct oracle *o, const char *text)
{
	char *old;

	if (*text != ' ' && *text != '\t') {
		o->lines[o->lines_n] = strdup(text);
		assert_non_null(o->lines[o->lines_n++]);
		assert_true(o->lines_n < 1024);
		return;
	}
	assert_true(o->lines_n > 0);
	old = o->lines[o->lines_n - 1];
	o->lines[o->lines_n - 1] = malloc(strlen(old) + strlen(text) + 2);
	(void)sprintf(o->lines[o->lines_n - 1], "%s %s", old, text);
	free(old);
}

static void read_policy(struct oracle *o, const char *dir, const char *file)
{
	char path[1024], line[512], name[48], value[48];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, file);
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		char *hash = strchr(line, '#');

		if (hash)
			*hash = '\0';
		line[strcspn(line, "\n")] = '\0';
		if (strspn(line, " \t") == strlen(line))
			continue;
		if (sscanf(line, "include %47s", name) == 1) {
			read_policy(o, dir, name);
		} else if (sscanf(line, "const %47s %47s", name, value) == 2) {
			(void)snprintf(o->const_names[o->consts_n], 48, "%s", name);
			o->consts[o->consts_n++] = strtoull(value, NULL, 0);
		} else {
			add_line(o, line);
		}
	}
	(void)fclose(f);
}

struct oracle *oracle_new(const char *dir, const char *profile)
{
	struct oracle *o = calloc(1, sizeof(*o));
	char file[64];

	assert_non_null(o);
	read_calls(o, dir);
	(void)snprintf(file, sizeof(file), "%s.policy", profile);
	read_policy(o, dir, file);
	return o;
}

void oracle_free(struct oracle *o)
{
	for (size_t i = 0; i < o->lines_n; i++)
		free(o->lines[i]);
	free(o);
}

const struct oracle_call *oracle_by_nr(const struct oracle *o, int machine, uint32_t nr)
{
	for (size_t i = 0; i < o->calls_n; i++) {
		if (o->calls[i].nr[machine] >= 0 && (uint32_t)o->calls[i].nr[machine] == nr)
			return &o->calls[i];
	}
	return NULL;
}

const struct oracle_call *oracle_by_name(const struct oracle *o, const char *name)
{
	for (size_t i = 0; i < o->calls_n; i++) {
		if (strcmp(o->calls[i].name, name) == 0)
			return &o->calls[i];
	}
	fail_msg("no call %s", name);
	return NULL;
}

static uint64_t number(const struct oracle *o, const char *word)
{
	char *end;
	uint64_t v;

	for (size_t i = 0; i < o->consts_n; i++) {
		if (strcmp(o->const_names[i], word) == 0)
			return o->consts[i];
	}
	v = strtoull(word, &end, 0);
	if (*end)
		fail_msg("not a number: %s", word);
	return v;
}

static uint32_t action(const char *word)
{
	static const struct {
		const char *name;
		uint32_t value;
	} all[] = { { "ALLOW", SECCOMP_RET_ALLOW },
		    { "KILL", SECCOMP_RET_KILL_PROCESS },
		    { "NOTIFY", SECCOMP_RET_USER_NOTIF },
		    { "EPERM", SECCOMP_RET_ERRNO | EPERM },
		    { "ENOSYS", SECCOMP_RET_ERRNO | ENOSYS },
		    { "EINVAL", SECCOMP_RET_ERRNO | EINVAL },
		    { "ENOTTY", SECCOMP_RET_ERRNO | ENOTTY },
		    { "EOPNOTSUPP", SECCOMP_RET_ERRNO | EOPNOTSUPP },
		    { "EPROTONOSUPPORT", SECCOMP_RET_ERRNO | EPROTONOSUPPORT } };

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (strcmp(all[i].name, word) == 0)
			return all[i].value;
	}
	fail_msg("no action %s", word);
	return 0;
}

static bool has_word(const char *line, const char *word, int from)
{
	char copy[8192], *save = NULL;
	int at = 0;

	(void)snprintf(copy, sizeof(copy), "%s", line);
	for (char *w = strtok_r(copy, " \t", &save); w; w = strtok_r(NULL, " \t", &save), at++) {
		if (at >= from && strcmp(w, word) == 0)
			return true;
	}
	return false;
}

static bool in_list(const struct oracle *o, const char *variant, const char *word, uint32_t v)
{
	char copy[128], *dots;

	if (strcmp(word, "$families") == 0) {
		const char *last = NULL;
		char list[512], *save = NULL;

		for (size_t i = 0; i < o->lines_n; i++) {
			char name[64];

			if (sscanf(o->lines[i], "families %63s", name) == 1 &&
			    strcmp(name, variant) == 0)
				last = o->lines[i];
		}
		assert_non_null(last);
		(void)snprintf(list, sizeof(list), "%s", last);
		(void)strtok_r(list, " \t", &save);
		(void)strtok_r(NULL, " \t", &save);
		for (char *w; (w = strtok_r(NULL, " \t", &save));) {
			if (number(o, w) == v)
				return true;
		}
		return false;
	}
	(void)snprintf(copy, sizeof(copy), "%s", word);
	dots = strstr(copy, "..");
	if (!dots)
		return number(o, copy) == v;
	*dots = '\0';
	return number(o, copy) <= v && v <= number(o, dots + 2);
}

/* words: "argN.. is A B C", up to n of them. */
static bool holds(const struct oracle *o, const char *variant, char **words, int n,
		  const uint64_t args[6])
{
	uint64_t v = args[words[0][3] - '0'];
	bool found = false;

	if (strcmp(words[1], "has") == 0 || strcmp(words[1], "lacks") == 0) {
		if (strstr(words[0], ":64") == NULL)
			v &= 0xffffffff;
		found = (v & number(o, words[2])) != 0;
		return (strcmp(words[1], "has") == 0) == found;
	}
	v &= 0xffffffff;
	if (words[0][4] == '&')
		v &= number(o, words[0] + 5);
	for (int i = 2; i < n; i++)
		found |= in_list(o, variant, words[i], (uint32_t)v);
	return (strcmp(words[1], "is") == 0) == found;
}

/* One rule line; true and *ret set when it decides. */
static bool rule_decides(const struct oracle *o, const char *variant, const char *line,
			 const uint64_t args[6], uint32_t *ret)
{
	char copy[8192], *save = NULL, *words[200] = { NULL };
	int n = 0, start = 4;

	(void)snprintf(copy, sizeof(copy), "%s", line);
	for (char *w = strtok_r(copy, " \t", &save); w; w = strtok_r(NULL, " \t", &save))
		words[n++] = w;
	*ret = action(words[2]);
	while (start < n) {
		int end = start;

		while (end < n && strcmp(words[end], "and") != 0)
			end++;
		if (!holds(o, variant, words + start, end - start, args))
			return false;
		start = end + 1;
	}
	return true;
}

uint32_t oracle_verdict(const struct oracle *o, const char *variant, int machine, uint32_t nr,
			const uint64_t args[6])
{
	const struct oracle_call *c = oracle_by_nr(o, machine, nr);
	uint32_t otherwise = 0, plain = 0, found = 0;
	bool decided = false, ruled = false;

	if (machine == ORACLE_X86_64 && nr >= 0x40000000)
		return SECCOMP_RET_ERRNO | ENOSYS;
	for (size_t i = 0; i < o->lines_n; i++) {
		const char *line = o->lines[i];
		char first[64], second[64] = "", act[64] = "";

		(void)sscanf(line, "%63s %63s %63s", first, second, act);
		if (strcmp(first, "default") == 0)
			otherwise = action(second);
		if (!c || strcmp(first, "families") == 0)
			continue;
		if (strcmp(first, "rule") == 0) {
			if (strcmp(second, c->name) == 0 && !ruled)
				ruled = rule_decides(o, variant, line, args, &found);
		} else if (strcmp(first, "reset") == 0 && has_word(line, c->name, 1)) {
			decided = ruled = false;
		} else if (strcmp(first, "allow") == 0 && has_word(line, c->name, 1)) {
			decided = true;
			plain = SECCOMP_RET_ALLOW;
		} else if (strcmp(first, "errno") == 0 && has_word(line, c->name, 2)) {
			decided = true;
			plain = action(second);
		}
	}
	return ruled ? found : decided ? plain : otherwise;
}

bool oracle_has_rules(const struct oracle *o, const char *name)
{
	bool has = false;

	for (size_t i = 0; i < o->lines_n; i++) {
		char call[64];

		if (sscanf(o->lines[i], "rule %63s", call) == 1 && strcmp(call, name) == 0)
			has = true;
		if (strncmp(o->lines[i], "reset", 5) == 0 && has_word(o->lines[i], name, 1))
			has = false;
	}
	return has;
}
