/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/opt.h"

enum { OPT_HELP = 1, OPT_NET, OPT_READ, OPT_QUIET, OPT_FILTER };

static const struct immure_opt table[] = {
	{ "help", 'h', NULL, "print this", NULL, OPT_HELP },
	{ "net", 0, "MODE", "the network", "none|limited|host", OPT_NET },
	{ "read", 'r', "PATH", "may be read", NULL, OPT_READ },
	{ "quiet", 'q', NULL, "say nothing", NULL, OPT_QUIET },
	{ "filter", 0, "NAME", "a name or a file", "default|strict|FILE", OPT_FILTER },
};
#define N (sizeof(table) / sizeof(table[0]))

struct seen {
	char text[256]; /* "id=value " for each option */
	int stop_at;
};

static int each(void *ctx, int id, const char *value)
{
	struct seen *s = ctx;
	size_t len = strlen(s->text);

	if (id == s->stop_at)
		return -ECANCELED;
	s->text[len] = (char)('0' + id);
	s->text[len + 1] = '=';
	strcpy(s->text + len + 2, value ? value : "");
	strcat(s->text, " ");
	return 0;
}

/* Parses NULL-terminated words after a program name. */
static int parse(struct seen *s, char **error, char **words)
{
	char *argv[16] = { (char *)(uintptr_t)"immure" };
	int argc = 1;

	for (; words[argc - 1]; argc++)
		argv[argc] = words[argc - 1];
	*error = NULL;
	return immure_opt_parse(table, N, argc, argv, each, s, error);
}
#define WORDS(...) ((char *[]){ __VA_ARGS__, NULL })

static void expect(char **words, int first, const char *options)
{
	struct seen s = { "", 0 };
	char *error;

	assert_int_equal(parse(&s, &error, words), first);
	assert_string_equal(s.text, options);
	assert_null(error);
}

static void refuse(char **words, const char *why)
{
	struct seen s = { "", 0 };
	char *error;

	assert_int_equal(parse(&s, &error, words), -EINVAL);
	assert_non_null(error);
	assert_string_equal(error, why);
	free(error);
}

static void test_forms(void **state)
{
	(void)state;
	expect(WORDS("--read", "a", "--net=host", "-q"), 5, "3=a 2=host 4= ");
	expect(WORDS("-r", "a", "-rb", "-qrc"), 5, "3=a 3=b 4= 3=c ");
	expect(WORDS("--read="), 2, "3= ");
	expect(WORDS("--read=a=b"), 2, "3=a=b ");
	expect(WORDS("--read", "--quiet"), 3, "3=--quiet ");
	expect(WORDS("--filter", "/etc/filter"), 3, "5=/etc/filter ");
}

static void test_operands_end_options(void **state)
{
	(void)state;
	expect(WORDS("-q", "ls", "-r", "x"), 2, "4= ");
	expect(WORDS("-q", "--", "-r"), 3, "4= ");
	expect(WORDS("--", "--"), 2, "");
	expect(WORDS("-", "-q"), 1, "");
	expect(WORDS("--read", "--", "ls"), 3, "3=-- ");
}

static void test_refusals(void **state)
{
	(void)state;
	refuse(WORDS("--raed", "x"), "--raed: no such option; did you mean --read?");
	refuse(WORDS("--yelo", "x"), "--yelo: no such option; see --help");
	refuse(WORDS("--re", "x"), "--re: no such option; did you mean --read?");
	refuse(WORDS("--something"), "--something: no such option; see --help");
	refuse(WORDS("--\x1b[31m"), "--\\x1b[31m: no such option; see --help");
	refuse(WORDS("--quiet=1"), "--quiet: takes no value");
	refuse(WORDS("--read"), "--read: needs PATH");
	refuse(WORDS("-r"), "--read: needs PATH");
	refuse(WORDS("-qx"), "-x: no such option; see --help");
	refuse(WORDS("--net", "NONE"), "--net: 'NONE' is not one of none, limited, host");
	refuse(WORDS("--net", "lim"), "--net: 'lim' is not one of none, limited, host");
	refuse(WORDS("--net="), "--net: '' is not one of none, limited, host");
	refuse(WORDS("--=x"), "--: no such option; see --help");
}

static void test_callback_stops(void **state)
{
	struct seen s = { "", OPT_HELP };
	char *error;

	(void)state;
	assert_int_equal(parse(&s, &error, WORDS("-q", "-h", "--nonsense")), -ECANCELED);
	assert_string_equal(s.text, "4= ");
	assert_null(error);
}

static void test_distance(void **state)
{
	(void)state;
	assert_int_equal(immure_opt_distance("run", "run", 9), 0);
	assert_int_equal(immure_opt_distance("rnu", "run", 9), 2);
	assert_int_equal(immure_opt_distance("", "abc", 9), 3);
	assert_int_equal(immure_opt_distance("kitten", "sitting", 9), 3);
	assert_int_equal(immure_opt_distance("kitten", "sitting", 2), 2);
	assert_int_equal(immure_opt_distance("a-word-that-is-longer-than-any-option-name", "a", 5), 5);
}

static void test_help(void **state)
{
	struct immure_buf out = IMMURE_BUF_INIT;
	char *text;

	(void)state;
	immure_opt_help(table, 2, &out);
	text = immure_buf_take(&out);
	assert_string_equal(text, "  -h, --help              print this\n"
				  "      --net MODE          the network\n");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_operands_end_options),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_callback_stops),
		cmocka_unit_test(test_distance),
		cmocka_unit_test(test_help),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
