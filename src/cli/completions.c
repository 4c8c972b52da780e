/* SPDX-License-Identifier: Apache-2.0 */
/* Everything here is made from the command and option tables, so that a flag
 * exists in the parser, the help, the man pages and the completions or nowhere. */
#include "cli/runflags.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

enum { SUBCOMMANDS = 96 };

/* "check|show ..." of a usage, as words; "" when it does not begin so. */
static const char *subcommands(const struct immure_cli_command *c, char buf[SUBCOMMANDS])
{
	size_t n = strcspn(c->usage, " ");

	if (n >= SUBCOMMANDS || !memchr(c->usage, '|', n) || c->usage[0] < 'a' || c->usage[0] > 'z')
		n = 0;
	for (size_t i = 0; i < n; i++)
		buf[i] = c->usage[i] == '|' ? ' ' : c->usage[i];
	buf[n] = '\0';
	return buf;
}

static bool takes_command(const struct immure_cli_command *c)
{
	return (c->bit & (IMMURE_CLI_RUN | IMMURE_CLI_PLAN | IMMURE_CLI_PROVE)) != 0;
}

static bool is_path(const struct immure_opt *o)
{
	return o->argument && (!strcmp(o->argument, "FILE") || !strcmp(o->argument, "PATH") ||
			       !strcmp(o->argument, "DIR"));
}

static void put_roff(struct immure_buf *out, const char *s)
{
	for (; *s; s++) {
		if (*s == '\\')
			immure_buf_puts(out, "\\e");
		else if (*s == '-')
			immure_buf_puts(out, "\\-");
		else
			immure_buf_putc(out, *s);
	}
}

static void man_options(const struct immure_opt *table, size_t n, struct immure_buf *out)
{
	for (size_t i = 0; i < n; i++) {
		immure_buf_puts(out, ".TP\n");
		if (table[i].letter)
			immure_buf_printf(out, "\\fB\\-%c\\fR, ", table[i].letter);
		immure_buf_puts(out, "\\fB\\-\\-");
		put_roff(out, table[i].name);
		immure_buf_puts(out, "\\fR");
		if (table[i].argument) {
			immure_buf_puts(out, " \\fI");
			put_roff(out, table[i].argument);
			immure_buf_puts(out, "\\fR");
		}
		immure_buf_putc(out, '\n');
		put_roff(out, table[i].help ? table[i].help : "");
		if (table[i].choices) {
			immure_buf_puts(out, " (");
			put_roff(out, table[i].choices);
			immure_buf_putc(out, ')');
		}
		immure_buf_puts(out, ".\n");
	}
}

/* One paragraph a command, for immure(1). */
static void man_commands(struct immure_buf *out)
{
	for (const struct immure_cli_command *c = immure_cli_commands(); c->name; c++) {
		if (c->hidden)
			continue;
		immure_buf_printf(out, ".TP\n\\fBimmure %s\\fR ", c->name);
		put_roff(out, c->usage);
		immure_buf_putc(out, '\n');
		put_roff(out, c->summary);
		immure_buf_puts(out, ".\n");
	}
}

static int emit(struct immure_buf *out)
{
	char *text = immure_buf_take(out);
	int status = immure_cli_print(text);

	free(text);
	return status;
}

int immure_cli_generate_man(const char *command)
{
	const struct immure_cli_command *c = immure_cli_command_find(command);
	struct immure_buf out = IMMURE_BUF_INIT;
	struct immure_opt *table;
	size_t n = 0;

	if (!strcmp(command, "commands")) {
		man_commands(&out);
		return emit(&out);
	}
	table = c ? immure_runflags_table(c->bit, &n) : NULL;
	if (!table) {
		immure_cli_say("help: --man: no command '%s'", command);
		return IMMURE_EXIT_FAILED;
	}
	man_options(table, n, &out);
	free(table);
	return emit(&out);
}

/* ---- bash: one function; the words before "--" or the first operand are ours,
 * the rest is completed as a command line of its own. ---- */

static void bash_command(const struct immure_cli_command *c, struct immure_buf *out)
{
	char verbs[SUBCOMMANDS];
	size_t n = 0;
	struct immure_opt *table = immure_runflags_table(c->bit, &n);

	if (!table) {
		out->failed = true;
		return;
	}
	immure_buf_printf(out, "\t%s)\n\t\twords='%s", c->name, subcommands(c, verbs));
	for (size_t i = 0; i < n; i++)
		immure_buf_printf(out, " --%s", table[i].name);
	immure_buf_puts(out, "'\n\t\tvalued='");
	for (size_t i = 0; i < n; i++)
		if (table[i].argument)
			immure_buf_printf(out, " --%s", table[i].name);
	immure_buf_puts(out, " '\n\t\tcase $prev in\n");
	for (size_t i = 0; i < n; i++) {
		if (table[i].choices) {
			immure_buf_printf(out, "\t\t--%s) choices='", table[i].name);
			for (const char *s = table[i].choices; *s; s++)
				immure_buf_putc(out, *s == '|' ? ' ' : *s);
			immure_buf_puts(out, "' ;;\n");
		} else if (!strcmp(table[i].name, "profile")) {
			immure_buf_puts(out, "\t\t--profile|-p) choices=$(immure policy profiles "
					     "2>/dev/null) ;;\n");
		} else if (is_path(&table[i])) {
			immure_buf_printf(out, "\t\t--%s) files=1 ;;\n", table[i].name);
		}
	}
	immure_buf_printf(out, "\t\tesac\n\t\toperands=%s\n\t\t;;\n",
			  takes_command(c) ? "command" : "files");
	free(table);
}

static int bash(void)
{
	struct immure_buf out = IMMURE_BUF_INIT;

	immure_buf_puts(&out,
		"# bash completion for immure, generated from its option table\n"
		"_immure()\n{\n"
		"\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
		"\tlocal words='' valued='' choices='' files='' operands='' i\n"
		"\tlocal commands='");
	for (const struct immure_cli_command *c = immure_cli_commands(); c->name; c++)
		if (!c->hidden)
			immure_buf_printf(&out, "%s ", c->name);
	immure_buf_puts(&out,
		"--version --help'\n"
		"\tif [ \"$COMP_CWORD\" -eq 1 ]; then\n"
		"\t\tCOMPREPLY=($(compgen -W \"$commands\" -- \"$cur\"))\n\t\treturn\n\tfi\n"
		"\tcase ${COMP_WORDS[1]} in\n");
	for (const struct immure_cli_command *c = immure_cli_commands(); c->name; c++)
		if (!c->hidden)
			bash_command(c, &out);
	immure_buf_puts(&out,
		"\tesac\n"
		"\tfor ((i = 2; i < COMP_CWORD; i++)); do\n"
		"\t\tcase ${COMP_WORDS[i]} in\n"
		"\t\t--) i=$((i + 1)); break ;;\n"
		"\t\t-*) case $valued in *\" ${COMP_WORDS[i]} \"*) i=$((i + 1)) ;; esac ;;\n"
		"\t\t*) break ;;\n"
		"\t\tesac\n"
		"\tdone\n"
		"\tif [ \"$i\" -lt \"$COMP_CWORD\" ] ||\n"
		"\t   { [ \"$i\" -eq \"$COMP_CWORD\" ] && [ \"$prev\" = -- ]; }; then\n"
		"\t\tif [ \"$operands\" = command ] && declare -F _command_offset >/dev/null; then\n"
		"\t\t\t_command_offset \"$i\"\n"
		"\t\telse\n"
		"\t\t\tCOMPREPLY=($(compgen -f -- \"$cur\"))\n"
		"\t\tfi\n"
		"\telif [ -n \"$choices\" ]; then\n"
		"\t\tCOMPREPLY=($(compgen -W \"$choices\" -- \"$cur\"))\n"
		"\telif [ -n \"$files\" ]; then\n"
		"\t\tCOMPREPLY=($(compgen -f -- \"$cur\"))\n"
		"\telif [[ $cur == -* || $operands != command ]]; then\n"
		"\t\tCOMPREPLY=($(compgen -W \"$words -- \" -- \"$cur\"))\n"
		"\telse\n"
		"\t\tCOMPREPLY=($(compgen -c -- \"$cur\"))\n"
		"\tfi\n"
		"}\ncomplete -o bashdefault -o default -F _immure immure\n");
	return emit(&out);
}

/* ---- zsh ---- */

static void zsh_text(struct immure_buf *out, const char *s)
{
	for (; *s; s++) {
		if (*s == '\'')
			immure_buf_puts(out, "'\\''");
		else if (strchr("[]:\\", *s))
			immure_buf_printf(out, "\\%c", *s);
		else
			immure_buf_putc(out, *s);
	}
}

static void zsh_option(const struct immure_opt *o, struct immure_buf *out)
{
	immure_buf_printf(out, "\t\t\t'*--%s[", o->name);
	zsh_text(out, o->help ? o->help : "");
	immure_buf_puts(out, "]");
	if (o->argument) {
		immure_buf_puts(out, ":");
		zsh_text(out, o->argument);
		immure_buf_puts(out, ":");
		if (!strcmp(o->name, "profile")) {
			immure_buf_puts(out, "($(immure policy profiles 2>/dev/null))");
		} else if (o->choices) {
			immure_buf_puts(out, "(");
			for (const char *s = o->choices; *s; s++)
				immure_buf_putc(out, *s == '|' ? ' ' : *s);
			immure_buf_puts(out, ")");
		} else if (is_path(o)) {
			immure_buf_puts(out, "_files");
		}
	}
	immure_buf_puts(out, "' \\\n");
}

static void zsh_command(const struct immure_cli_command *c, struct immure_buf *out)
{
	char verbs[SUBCOMMANDS];
	size_t n = 0;
	struct immure_opt *table = immure_runflags_table(c->bit, &n);

	if (!table) {
		out->failed = true;
		return;
	}
	immure_buf_printf(out, "\t(%s)\n\t\t_arguments -S \\\n", c->name);
	for (size_t i = 0; i < n; i++)
		zsh_option(&table[i], out);
	if (takes_command(c))
		immure_buf_puts(out, "\t\t\t'(-)1:command:_command_names -e' '*::arguments:_normal'");
	else if (subcommands(c, verbs)[0])
		immure_buf_printf(out, "\t\t\t'1:subcommand:(%s)' '*:file:_files'",
				  subcommands(c, verbs));
	else
		immure_buf_puts(out, "\t\t\t'*:argument:_files'");
	immure_buf_puts(out, "\n\t\t;;\n");
	free(table);
}

static int zsh(void)
{
	struct immure_buf out = IMMURE_BUF_INIT;

	immure_buf_puts(&out, "#compdef immure\n# generated from immure's option table\n"
			      "local -a of_immure\nof_immure=(\n");
	for (const struct immure_cli_command *c = immure_cli_commands(); c->name; c++) {
		if (c->hidden)
			continue;
		immure_buf_printf(&out, "\t'%s:", c->name);
		zsh_text(&out, c->summary);
		immure_buf_puts(&out, "'\n");
	}
	immure_buf_puts(&out, ")\nif (( CURRENT == 2 )); then\n"
			      "\t_describe -t commands 'immure command' of_immure\n\treturn\nfi\n"
			      "shift words\n(( CURRENT-- ))\ncase $words[1] in\n");
	for (const struct immure_cli_command *c = immure_cli_commands(); c->name; c++)
		if (!c->hidden)
			zsh_command(c, &out);
	immure_buf_puts(&out, "esac\n");
	return emit(&out);
}

/* ---- fish ---- */

static void fish_text(struct immure_buf *out, const char *s)
{
	immure_buf_putc(out, '\'');
	for (; *s; s++) {
		if (*s == '\'' || *s == '\\')
			immure_buf_putc(out, '\\');
		immure_buf_putc(out, *s);
	}
	immure_buf_putc(out, '\'');
}

static void fish_command(const struct immure_cli_command *c, struct immure_buf *out)
{
	char verbs[SUBCOMMANDS];
	size_t n = 0;
	struct immure_opt *table = immure_runflags_table(c->bit, &n);

	if (!table) {
		out->failed = true;
		return;
	}
	immure_buf_printf(out, "complete -c immure -n __fish_use_subcommand -f -a %s -d ", c->name);
	fish_text(out, c->summary);
	immure_buf_putc(out, '\n');
	for (size_t i = 0; i < n; i++) {
		const struct immure_opt *o = &table[i];

		immure_buf_printf(out, "complete -c immure -n '__fish_seen_subcommand_from %s' -l %s",
				  c->name, o->name);
		if (o->letter)
			immure_buf_printf(out, " -s %c", o->letter);
		if (!strcmp(o->name, "profile")) {
			immure_buf_puts(out, " -x -a '(immure policy profiles 2>/dev/null)'");
		} else if (o->choices) {
			immure_buf_puts(out, " -x -a '");
			for (const char *s = o->choices; *s; s++)
				immure_buf_putc(out, *s == '|' ? ' ' : *s);
			immure_buf_putc(out, '\'');
		} else if (o->argument) {
			immure_buf_puts(out, is_path(o) ? " -r -F" : " -x");
		}
		immure_buf_puts(out, " -d ");
		fish_text(out, o->help ? o->help : "");
		immure_buf_putc(out, '\n');
	}
	if (takes_command(c))
		immure_buf_printf(out, "complete -c immure -n '__fish_seen_subcommand_from %s' -x "
				  "-a '(__fish_complete_subcommand --fcs-skip=2)'\n", c->name);
	else if (subcommands(c, verbs)[0])
		immure_buf_printf(out, "complete -c immure -n '__fish_seen_subcommand_from %s' "
				  "-a '%s'\n", c->name, subcommands(c, verbs));
	free(table);
}

static int fish(void)
{
	struct immure_buf out = IMMURE_BUF_INIT;

	immure_buf_puts(&out, "# fish completion for immure, generated from its option table\n");
	for (const struct immure_cli_command *c = immure_cli_commands(); c->name; c++)
		if (!c->hidden)
			fish_command(c, &out);
	return emit(&out);
}

int immure_cli_generate_completions(const char *shell)
{
	if (!strcmp(shell, "bash"))
		return bash();
	if (!strcmp(shell, "zsh"))
		return zsh();
	if (!strcmp(shell, "fish"))
		return fish();
	immure_cli_say("help: --completions: no '%s'; bash, zsh or fish", shell);
	return IMMURE_EXIT_FAILED;
}
