/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/records.h"

#include <string.h>

#define HEADER "immure-attack 1"

static const char *const outcomes[] = {
	[IMMURE_RECORD_DENIED] = "denied",
	[IMMURE_RECORD_DONE] = "done",
	[IMMURE_RECORD_ERROR] = "error",
	[IMMURE_RECORD_UNSUPPORTED] = "unsupported",
	[IMMURE_RECORD_KILLED] = "killed",
	[IMMURE_RECORD_HUNG] = "hung",
	[IMMURE_RECORD_SILENT] = "silent",
};
#define OUTCOMES_N (sizeof(outcomes) / sizeof(outcomes[0]))

/* Digits up to the end of s and at most a million; -1 otherwise. */
static int32_t number(const char *s)
{
	int32_t v = 0;

	if (!*s)
		return -1;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return -1;
		v = v * 10 + (*s - '0');
		if (v > 1000000)
			return -1;
	}
	return v;
}

/* Cuts the word at *s off and moves *s behind it; NULL when no space follows. */
static char *word(char **s)
{
	char *space = strchr(*s, ' '), *ret = *s;

	if (!space || space == ret)
		return NULL;
	*space = '\0';
	*s = space + 1;
	return ret;
}

static bool parse_errnos(char *s, struct immure_record *r)
{
	if (strcmp(s, "-") == 0)
		return true;
	while (s) {
		char *comma = strchr(s, ',');
		int32_t v;

		if (comma)
			*comma = '\0';
		v = number(s);
		if (v < 0 || r->errnos_n == IMMURE_RECORD_ERRNOS)
			return false;
		r->errnos[r->errnos_n++] = v;
		s = comma ? comma + 1 : NULL;
	}
	return true;
}

static bool parse_line(char *line, struct immure_record *r)
{
	char *id = word(&line), *outcome = id ? word(&line) : NULL;
	char *count = outcome ? word(&line) : NULL, *errnos = count ? word(&line) : NULL;
	int32_t n;
	size_t i;

	if (!errnos)
		return false;
	*r = (struct immure_record){ .id = id, .detail = line };
	for (i = 0; i < OUTCOMES_N && strcmp(outcomes[i], outcome) != 0; i++)
		;
	n = number(count);
	if (i == OUTCOMES_N || n < 0)
		return false;
	r->outcome = (enum immure_record_outcome)i;
	r->count = (uint32_t)n;
	return parse_errnos(errnos, r);
}

static const char *check_bytes(const char *text, size_t len)
{
	if (len == 0)
		return "nothing was reported";
	for (size_t i = 0; i < len; i++)
		if (text[i] != '\n' && (text[i] < ' ' || text[i] > '~'))
			return "the report holds bytes that are not text";
	if (text[len - 1] != '\n')
		return "the report ends in the middle of a line";
	return NULL;
}

void immure_records_parse(char *text, size_t len, struct immure_record *v,
			  struct immure_records *ret)
{
	char *line = text, *end = NULL;

	*ret = (struct immure_records){ .v = v, .trouble = check_bytes(text, len) };
	if (ret->trouble)
		return;
	ret->trouble = "the report has no beginning";
	for (; *line; line = end + 1) {
		end = strchr(line, '\n');
		*end = '\0'; /* the text ends in a newline */
		if (line == text) {
			if (strcmp(line, HEADER) != 0)
				return;
			ret->trouble = "the report has no end";
			continue;
		}
		if (strncmp(line, "end ", 4) == 0) {
			ret->trouble = number(line + 4) == (int32_t)ret->n && !end[1]
					       ? NULL
					       : "the report's end does not fit what came before";
			return;
		}
		if (ret->n == IMMURE_RECORDS_MAX || !parse_line(line, &v[ret->n])) {
			ret->trouble = "the report holds a line that is not a record";
			return;
		}
		ret->n++;
	}
}
