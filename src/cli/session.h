/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands about sessions share. */
#ifndef IMMURE_CLI_SESSION_H
#define IMMURE_CLI_SESSION_H

#include <signal.h>

#include "cli/runflags.h"

/* Options of this caller: environment, supervisor. path has IMMURE_CLI_PATH_MAX bytes. */
struct immure_session_options immure_cli_session_options(char *path);
/* Parses argv for a command about one session, which is its first operand, and
 * opens it. IMMURE_CLI_GO_ON or an exit status; operands: index of the one after. */
int immure_cli_session_open(const char *command, int argc, char **argv, struct immure_runflags *flags,
			    immure_session **ret, int *ret_next);
/* One request whose answer is printed: as JSON, or one "key: value" a line. */
int immure_cli_session_ask(immure_session *session, const char *op, const char *arguments, bool json);
/* Runs argv in the session with our own streams, or a terminal; the exit status. */
int immure_cli_exec_in(immure_session *session, const struct immure_runflags *flags,
		       const char *const *argv);
/* Denials that are told as they come, in their order. */
struct immure_cli_denials {
	uint64_t told; /* the last one's number */
	int (*print)(const char *event, bool raw);
};
/* Follows a process until its end: output to ours, our signals and (tty) input to it.
 * denials NULL: they are not told. */
int immure_cli_follow(immure_session *session, immure_process *process, bool tty,
		      struct immure_cli_denials *denials);
/* Makes a session as the flags say (create.c). with_us: it ends with this process. */
int32_t immure_cli_create_session(struct immure_runflags *flags, bool with_us, immure_session **ret,
				  struct immure_error **err);
/* What is kept of an exec's output. */
int immure_cli_print_output(immure_session *session, uint64_t exec, bool json);
/* What was denied of the session's network, a line each on stderr; with json, on stdout.
 * After number *told, which becomes the last one's. */
int immure_cli_print_denials(immure_session *session, bool json, uint64_t *told);
/* One event of that kind. 0 or -errno. */
int immure_cli_print_denial(const char *event, bool raw);
/* Each approved downgrade is one line, before the start (run.c). */
void immure_cli_print_downgrades(const immure_plan *plan);
/* Runs argv in a session of a pool; the exit status (poolrun.c). */
int immure_cli_in_pool(struct immure_runflags *f, const char *const *argv);
/* The same after a pool's template (poolexec.c). */
int immure_cli_exec_after(immure_pool *pool, const struct immure_acquire_options *agree,
			  const struct immure_runflags *f, const char *const *argv);
/* Over its lane, where what is asked for lets it. */
bool immure_cli_can_lane(const struct immure_runflags *f);
int immure_cli_exec_lane(immure_session *session, const struct immure_runflags *f, const char *const *argv);
/* Runs argv in a session that may stay; the exit status (runkeep.c). */
int immure_cli_run_kept(struct immure_runflags *f, const char *const *argv);
/* Those that matter to a command: a descriptor that tells of them, or -1; *saved: the mask
 * before. Then each is passed on; which it was, 0 = none (signals.c). */
int immure_cli_watch_signals(sigset_t *saved);
int immure_cli_pass_signal(int fd, immure_process *process, int *seen);
/* The JSON text, one "key: value" a line. */
int immure_cli_print_lines(char *text);
/* Prints JSON as it is. */
int immure_cli_print_json(char *text);

/* What flags say of a session that begins with the files of a snapshot: they are on top of the policy
 * that comes with those, unless they begin one of their own. The settings are to be forgotten with
 * their number, the policy is freed. */
int32_t immure_cli_resume_policy(const struct immure_runflags *f, struct immure_resume_options *o,
				 struct immure_setting **ret_own, immure_policy **ret, struct immure_error **err);
void immure_cli_resume_forget(struct immure_setting *v, uint64_t n);

#endif
