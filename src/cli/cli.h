/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands share. Each command is one file with one function: argv[0]
 * is the command's name, the return value the exit status:
 *   0    done, and the answer is yes
 *   1    done, and the answer is no (a check that failed, a proof that fell short)
 *   125  immure failed or refused; nothing ran
 * `run` and `shell` return the command's own status instead (cli/run.c). */
#ifndef IMMURE_CLI_CLI_H
#define IMMURE_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "immure/immure.h"

enum {
	IMMURE_EXIT_NO = 1,
	IMMURE_EXIT_TIMEOUT = 124,
	IMMURE_EXIT_FAILED = 125,
	IMMURE_EXIT_NOT_EXECUTABLE = 126,
	IMMURE_EXIT_NOT_FOUND = 127,
};

/* A command takes the options whose mask has its bit (cli/runflags.c). */
#define IMMURE_CLI_BIT(n) (UINT64_C(1) << (n))
#define IMMURE_CLI_RUN IMMURE_CLI_BIT(0)
#define IMMURE_CLI_SHELL IMMURE_CLI_BIT(1)
#define IMMURE_CLI_PROVE IMMURE_CLI_BIT(2)
#define IMMURE_CLI_PLAN IMMURE_CLI_BIT(3)
#define IMMURE_CLI_DOCTOR IMMURE_CLI_BIT(4)
#define IMMURE_CLI_POLICY IMMURE_CLI_BIT(5) /* policy show */
#define IMMURE_CLI_POLICY_FILE IMMURE_CLI_BIT(6) /* policy check, schema, trust, reference */
#define IMMURE_CLI_WRAP IMMURE_CLI_BIT(7)
#define IMMURE_CLI_GC IMMURE_CLI_BIT(8)
#define IMMURE_CLI_JOURNAL IMMURE_CLI_BIT(9)
#define IMMURE_CLI_RECLAIM IMMURE_CLI_BIT(10)
#define IMMURE_CLI_DETACH IMMURE_CLI_BIT(11)
#define IMMURE_CLI_CREATE IMMURE_CLI_BIT(12)
#define IMMURE_CLI_EXEC IMMURE_CLI_BIT(13)
#define IMMURE_CLI_ATTACH IMMURE_CLI_BIT(14)
#define IMMURE_CLI_PS IMMURE_CLI_BIT(15)
#define IMMURE_CLI_ASK IMMURE_CLI_BIT(16) /* of one session: --json and nothing else */
#define IMMURE_CLI_STATS IMMURE_CLI_BIT(17)
#define IMMURE_CLI_LOGS IMMURE_CLI_BIT(18)
#define IMMURE_CLI_STOP IMMURE_CLI_BIT(19)
#define IMMURE_CLI_SIGNAL IMMURE_CLI_BIT(20)
#define IMMURE_CLI_COPY IMMURE_CLI_BIT(21)
#define IMMURE_CLI_RM IMMURE_CLI_BIT(22)
#define IMMURE_CLI_SERVE IMMURE_CLI_BIT(23)
#define IMMURE_CLI_MOUNT IMMURE_CLI_BIT(24)
#define IMMURE_CLI_DIFF IMMURE_CLI_BIT(25)
#define IMMURE_CLI_POOL IMMURE_CLI_BIT(26)
#define IMMURE_CLI_APPLY IMMURE_CLI_BIT(27) /* discard has none of its options but --json */
#define IMMURE_CLI_MCP IMMURE_CLI_BIT(28)
#define IMMURE_CLI_BENCH IMMURE_CLI_BIT(29)
#define IMMURE_CLI_EXPLAIN IMMURE_CLI_BIT(30)
#define IMMURE_CLI_IMAGE IMMURE_CLI_BIT(31)
#define IMMURE_CLI_SNAPSHOT IMMURE_CLI_BIT(32)
#define IMMURE_CLI_RESUME IMMURE_CLI_BIT(33)
#define IMMURE_CLI_FORK IMMURE_CLI_BIT(34)
#define IMMURE_CLI_CLONE (IMMURE_CLI_RESUME | IMMURE_CLI_FORK)
#define IMMURE_CLI_WITH_POLICY \
	(IMMURE_CLI_RUN | IMMURE_CLI_SHELL | IMMURE_CLI_PROVE | IMMURE_CLI_PLAN | \
	 IMMURE_CLI_POLICY | IMMURE_CLI_WRAP | IMMURE_CLI_CREATE | IMMURE_CLI_SERVE | \
	 IMMURE_CLI_POOL | IMMURE_CLI_MCP | IMMURE_CLI_BENCH | IMMURE_CLI_EXPLAIN | IMMURE_CLI_CLONE)

struct immure_cli_command {
	const char *name;
	int (*fn)(int argc, char **argv); /* NULL: only the full program has it */
	uint64_t bit;                     /* IMMURE_CLI_*; 0: no options but --help */
	const char *usage;                /* after the name */
	const char *summary;              /* one line, no full stop */
	const char *description;          /* a few sentences for --help; may be NULL */
	bool hidden;
};

/* The command table, ended by a NULL name (cli/main.c). */
const struct immure_cli_command *immure_cli_commands(void);
const struct immure_cli_command *immure_cli_command_find(const char *name);

int immure_cli_run(int argc, char **argv);
int immure_cli_shell(int argc, char **argv);
int immure_cli_prove(int argc, char **argv);
int immure_cli_plan(int argc, char **argv);
int immure_cli_explain(int argc, char **argv);
int immure_cli_doctor(int argc, char **argv);
int immure_cli_policy(int argc, char **argv);
int immure_cli_policy_import(int argc, char **argv); /* import.c */
int immure_cli_help(int argc, char **argv);
int immure_cli_gc(int argc, char **argv);
int immure_cli_image(int argc, char **argv);
int immure_cli_journal(int argc, char **argv);
int immure_cli_reclaim(int argc, char **argv);
int immure_cli_detach(int argc, char **argv);
int immure_cli_supervise(int argc, char **argv);
int immure_cli_init(int argc, char **argv);
int immure_cli_create(int argc, char **argv);
int immure_cli_exec(int argc, char **argv);
int immure_cli_attach(int argc, char **argv);
int immure_cli_ps(int argc, char **argv);
int immure_cli_inspect(int argc, char **argv);
int immure_cli_stats(int argc, char **argv);
int immure_cli_logs(int argc, char **argv);
int immure_cli_kill(int argc, char **argv);
int immure_cli_signal(int argc, char **argv);
int immure_cli_freeze(int argc, char **argv);
int immure_cli_thaw(int argc, char **argv);
int immure_cli_stop(int argc, char **argv);
int immure_cli_rm(int argc, char **argv);
int immure_cli_snapshot(int argc, char **argv);
int immure_cli_resume(int argc, char **argv);
int immure_cli_fork(int argc, char **argv); /* resume.c */
int immure_cli_serve(int argc, char **argv);
int immure_cli_mcp(int argc, char **argv);
int immure_cli_bench(int argc, char **argv);
int immure_cli_net(int argc, char **argv);
int immure_cli_tighten(int argc, char **argv);
int immure_cli_mount(int argc, char **argv);
int immure_cli_umount(int argc, char **argv);
int immure_cli_ls(int argc, char **argv);
int immure_cli_cat(int argc, char **argv);
int immure_cli_put(int argc, char **argv);
int immure_cli_cp(int argc, char **argv);
int immure_cli_pool(int argc, char **argv);
int immure_cli_diff(int argc, char **argv);
int immure_cli_apply(int argc, char **argv);
int immure_cli_discard(int argc, char **argv);
int immure_cli_wrap(int argc, char **argv);

/* shell.c: this program in the place of a shell. The name of the shell that it
 * was started as ("sh" for immure-sh, "" for `immure -c`), NULL: not as one. */
const char *immure_cli_shell_name(int argc, char **argv);
int immure_cli_as_shell(const char *name, int argc, char **argv);

/* say.c: one message is one line, "immure: ...", escaped, in one write. */
void immure_cli_say(const char *fmt, ...) IMMURE_PRINTF(1, 2);
/* Several such lines in one write. */
struct immure_buf;
void immure_cli_collect(struct immure_buf *lines, const char *fmt, ...) IMMURE_PRINTF(2, 3);
/* Also done with them. */
void immure_cli_say_collected(struct immure_buf *lines);
/* raw: on a terminal that does not turn the end of a line into one. */
void immure_cli_say_raw(bool raw, const char *fmt, ...) IMMURE_PRINTF(2, 3);
/* Prints the error, frees it, and returns the exit status it stands for. */
int immure_cli_fail(struct immure_error *err);
/* Adds to a refusal what another backend would have lacked; other may be NULL. */
void immure_cli_add_other(struct immure_error *err, const struct immure_error *other);
/* Writes text to standard output; 0, or the exit status after saying why not. */
int immure_cli_print(const char *text);

/* completions.c: the text of `immure help --man COMMAND` and
 * `immure help --completions SHELL`; an exit status. */
int immure_cli_generate_man(const char *command);
int immure_cli_generate_completions(const char *shell);

/* Whether `name` is there as a program of ours, and where: beside our own
 * executable, or in the libexec directory of the same prefix. ret_path has
 * IMMURE_CLI_PATH_MAX bytes. */
enum { IMMURE_CLI_PATH_MAX = 4096 + 64 };
bool immure_cli_own_program(const char *name, char *ret_path);
/* The directory of our own executable, without a slash at the end; false
 * without /proc. ret has PATH_MAX bytes. */
bool immure_cli_own_directory(char *ret);

/* The lean program has no JSON reader: what needs one is done by immure-full,
 * which takes the place of this process. argv[0] is the command's name. Returns
 * only on failure. */
int32_t immure_cli_hand_over(int argc, char **argv, struct immure_error **err);

#endif
