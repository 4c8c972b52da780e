/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "cli/runflags.h"

extern char **environ;

/* The library writes plain columns; a line's second word is its status. */
static const char *colour_of(const char *word, size_t n)
{
	static const struct {
		const char *word, *colour;
	} colours[] = {
		{ "ok", "\033[32m" }, { "available", "\033[32m" }, { "enforced", "\033[32m" },
		{ "missing", "\033[31m" }, { "none", "\033[31m" },
		{ "advisory", "\033[33m" }, { "untried", "\033[33m" },
	};

	for (size_t i = 0; i < sizeof(colours) / sizeof(colours[0]); i++)
		if (strlen(colours[i].word) == n && !memcmp(colours[i].word, word, n))
			return colours[i].colour;
	return NULL;
}

static void paint_line(struct immure_buf *out, const char *line, size_t len)
{
	size_t first = strspn(line, " "), name = strcspn(line + first, " \n");
	size_t word = first + name, n;
	const char *colour;

	if (first == 0 && len > 0 && strchr(line, '\n') != line) { /* a heading */
		immure_buf_puts(out, "\033[1m");
		immure_buf_put(out, line, len);
		immure_buf_puts(out, "\033[0m");
		return;
	}
	word += strspn(line + word, " ");
	n = word < len ? strcspn(line + word, " \n") : 0;
	colour = n ? colour_of(line + word, n) : NULL;
	if (!colour) {
		immure_buf_put(out, line, len);
		return;
	}
	immure_buf_put(out, line, word);
	immure_buf_puts(out, colour);
	immure_buf_put(out, line + word, n);
	immure_buf_puts(out, "\033[0m");
	immure_buf_put(out, line + word + n, len - word - n);
}

static char *paint(const char *text)
{
	struct immure_buf out = IMMURE_BUF_INIT;

	while (*text) {
		size_t len = strcspn(text, "\n");

		paint_line(&out, text, len);
		if (text[len])
			immure_buf_putc(&out, text[len++]);
		text += len;
	}
	return immure_buf_take(&out);
}

static bool wants_colour(void)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && !(no && *no) && !(term && !strcmp(term, "dumb"));
}

/* Some backend can be used here: what the exit status says. */
static bool any_available(const char *text)
{
	const char *backends = strstr(text, "\nBackends\n");

	return backends && strstr(backends, " available ");
}

static int print_text(const char *text)
{
	char *painted = wants_colour() ? paint(text) : NULL;
	int status = immure_cli_print(painted ? painted : text);

	free(painted);
	return status;
}

static int print_json(const immure_facts *facts)
{
	struct immure_error *err = NULL;
	char *json = NULL;
	int status;

	if (immure_facts_report(facts, 1, &json, &err) < 0)
		return immure_cli_fail(err);
	status = immure_cli_print(json);
	immure_string_free(json);
	return status;
}

static int report(const immure_facts *facts, bool json)
{
	struct immure_error *err = NULL;
	char *text = NULL;
	int status;

	if (immure_facts_report(facts, 0, &text, &err) < 0)
		return immure_cli_fail(err);
	status = json ? print_json(facts) : print_text(text);
	if (status == 0 && !any_available(text))
		status = IMMURE_EXIT_NO;
	immure_string_free(text);
	return status;
}

int immure_cli_doctor(int argc, char **argv)
{
	struct immure_error *err = NULL;
	immure_facts *facts = NULL;
	struct immure_runflags flags;
	int status = immure_runflags_parse("doctor", argc, argv, &flags);

	if (status != IMMURE_CLI_GO_ON)
		return status;
	if (flags.first < argc) {
		immure_cli_say("doctor: %s: takes no arguments", argv[flags.first]);
		status = IMMURE_EXIT_FAILED;
	} else {
		/* What is said of limits is what a run would have. */
		(void)immure_scope_enter(NULL, (const char *const *)environ, NULL);
		if (immure_facts_probe(IMMURE_FACTS_FULL, (const char *const *)environ, &facts, &err) < 0) {
			status = immure_cli_fail(err);
		} else {
			status = report(facts, flags.json);
			immure_facts_free(facts);
		}
	}
	immure_runflags_done(&flags);
	return status;
}
