/* SPDX-License-Identifier: Apache-2.0 */
/* run and prove, and what shell.c makes of a shell: load the policy, make the plan, become its supervisor.
 *
 * The exit status is the command's own; 128+N after signal N; 124 after the
 * wall time; 125 when nothing ran because of us; 126 and 127 as a shell has
 * them. A record that cannot be written after the command ended does not
 * change its status: 125 would claim that nothing ran. */
#include "cli/runflags.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "cli/record.h"
#include "cli/session.h"

struct run {
	struct immure_runflags flags;
	struct immure_record record;
	const char *const *argv;
	immure_policy *policy;
	immure_plan *plan;
	immure_result *result;
	struct immure_error *err;
	uint64_t started_ns, policy_ns, plan_ns, end_ns;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail with this clock */
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

/* Each approved downgrade is one line, every time, and before the start. */
void immure_cli_print_downgrades(const immure_plan *plan)
{
	struct immure_gap_info gap = { .size = sizeof(gap) };
	struct immure_buf lines = IMMURE_BUF_INIT;

	for (uint64_t i = 0; immure_plan_gap(plan, i, &gap) == 0; i++)
		if (gap.approved)
			immure_cli_collect(&lines, "%s: not enforced, as the policy approves: %s", gap.key,
					   gap.what);
	immure_cli_say_collected(&lines); /* at once: whoever reads them is woken once */
}

static void disclose(const immure_plan *plan)
{
	char *line = NULL;

	if (immure_plan_summary(plan, &line, NULL) == 0)
		immure_cli_say("%s", line);
	immure_string_free(line);
}

static int32_t start(struct run *run, const struct immure_run_options *options)
{
	int32_t r = immure_plan_check(run->plan, &run->err);

	if (r < 0)
		return r;
	immure_cli_print_downgrades(run->plan);
	if (run->flags.disclose)
		disclose(run->plan);
	return immure_supervise(run->plan, options, &run->result, &run->err);
}

/* The quick way looks at little and finds out by starting. Where that is refused, and
 * the policy leaves the choice, what works here is found out and kept. */
static int32_t start_somehow(struct run *run, const struct immure_plan_options *how,
			     const struct immure_run_options *options)
{
	struct immure_error *first = NULL, *err = NULL;
	int32_t r = start(run, options), first_r = r;

	for (int i = 0; i < 3 && r < 0; i++) { /* each time another backend */
		immure_plan *other = NULL;

		if (immure_plan_replace(run->policy, how, run->plan, run->err, &other, &err) < 0 ||
		    !other)
			break;
		immure_plan_free(run->plan);
		run->plan = other;
		if (first)
			immure_error_free(run->err);
		else
			first = run->err;
		run->err = NULL;
		r = start(run, options);
	}
	if (r < 0 && first) { /* the first refusal is what counts */
		immure_error_free(run->err);
		run->err = first;
		r = first_r;
	} else {
		immure_error_free(first);
	}
	if (r < 0)
		immure_cli_add_other(run->err, err);
	immure_error_free(err);
	return r;
}

static int32_t supervise(struct run *run, bool prove, int stdout_fd)
{
	struct immure_run_options options = {
		.size = sizeof(options),
		.stdin_fd = STDIN_FILENO,
		.stdout_fd = stdout_fd,
		.stderr_fd = STDERR_FILENO,
		.env = run->flags.policy.env,
		.approval = run->flags.session.approval,
	};
	struct immure_plan_options plan = {
		.size = sizeof(plan),
		.argv = run->argv,
		.env = run->flags.policy.env,
		.cwd = run->flags.cwd,
		.facts = IMMURE_FACTS_QUICK,
		.flags = IMMURE_PLAN_TO_START,
	};
	char attacker[IMMURE_CLI_PATH_MAX], egress[IMMURE_CLI_PATH_MAX];
	int32_t r;

	if (immure_cli_own_program("immure-egress", egress))
		options.egress = egress;
	if (prove) {
		options.flags |= IMMURE_RUN_PROVE;
		if (immure_cli_own_program("immure-attack", attacker))
			options.attacker = attacker;
	}
	if (run->flags.result)
		options.flags |= IMMURE_RUN_COUNT;
	if (!run->flags.quiet) {
		options.flags |= IMMURE_RUN_NOTES;
		options.notes_fd = STDERR_FILENO;
	}
	if (run->flags.trace_time) {
		options.flags |= IMMURE_RUN_TRACE_TIME;
		run->started_ns = now_ns();
	}
	r = immure_record_prepare(&run->record, run->flags.result, &run->err);
	if (r < 0)
		return r;
	r = immure_runflags_policy(&run->flags, &run->policy, &run->err);
	if (r < 0)
		return r;
	/* What cannot be limited the plan says. */
	(void)immure_scope_enter(run->policy, run->flags.policy.env, NULL);
	if (run->flags.trace_time)
		run->policy_ns = now_ns();
	r = immure_plan_create(run->policy, &plan, &run->plan, &run->err);
	if (r < 0)
		return r;
	if (run->flags.trace_time)
		run->plan_ns = now_ns();
	r = start_somehow(run, &plan, &options);
	if (run->flags.trace_time)
		run->end_ns = now_ns();
	return r;
}

/* What a status of 124 or 137 alone does not tell. */
static const char *verdict_text(int32_t verdict)
{
	switch (verdict) {
	case IMMURE_VERDICT_TIMEOUT:
		return "limits.wall_time: the time ran out; the command was ended";
	case IMMURE_VERDICT_CPU_TIME:
		return "limits.cpu_time: the time ran out; the command was ended";
	case IMMURE_VERDICT_OOM:
		return "limits.memory: the limit was reached; processes were killed";
	case IMMURE_VERDICT_PROCESS_LIMIT:
		return "limits.processes: the limit was reached; processes could not be started";
	default:
		return NULL;
	}
}

static void print_notices(const struct run *run)
{
	const char *line = immure_result_notices(run->result);
	const char *verdict = verdict_text(immure_result_verdict(run->result));

	if (verdict)
		immure_cli_say("%s", verdict);
	while (line && *line) {
		size_t len = strcspn(line, "\n");

		if (len > 0)
			immure_cli_say("%.*s", (int)len, line);
		line += len + (line[len] == '\n');
	}
}

static void print_times(const struct run *run)
{
	char *text = NULL;

	immure_cli_say("time: policy %llu us, facts and plan %llu us, session %llu us",
		       (unsigned long long)(run->policy_ns - run->started_ns) / 1000,
		       (unsigned long long)(run->plan_ns - run->policy_ns) / 1000,
		       (unsigned long long)(run->end_ns - run->plan_ns) / 1000);
	if (immure_result_print(run->result, 0, &text, NULL) == 0)
		for (char *line = text; *line;) {
			size_t len = strcspn(line, "\n");

			immure_cli_say("%.*s", (int)len, line);
			line += len + (line[len] == '\n');
		}
	immure_string_free(text);
}

static void print_proof_summary(const struct run *run)
{
	uint64_t points = 0, fell_short = 0;

	immure_result_proof_counts(run->result, &points, &fell_short);
	if (points)
		immure_cli_say("proof: %llu of %llu points hold",
			       (unsigned long long)(points - fell_short),
			       (unsigned long long)points);
}

/* What is left to do and say once the command ended or was refused. */
static int finish(struct run *run, int32_t r)
{
	struct immure_error *err = NULL;
	int status;

	/* The command is over: a reader of our messages that went away must not
	 * turn its status into 128+SIGPIPE. */
	(void)signal(SIGPIPE, SIG_IGN);
	if (immure_record_write(&run->record, run->policy, run->plan, run->result, run->err,
				&err) < 0)
		(void)immure_cli_fail(err); /* the command's status stands */
	if (run->result) {
		if (!run->flags.quiet)
			print_notices(run);
		if (run->flags.trace_time)
			print_times(run);
		status = immure_result_exit_status(run->result);
	} else {
		status = IMMURE_EXIT_FAILED;
	}
	if (r < 0) {
		status = immure_cli_fail(run->err);
		run->err = NULL;
	}
	return status;
}

static void run_done(struct run *run)
{
	immure_record_done(&run->record);
#ifndef IMMURE_LEAN
	/* The launcher ends now. Its memory is shared with what it started until one of them
	 * writes to a page, and freeing would write to most. */
	immure_result_free(run->result);
	immure_plan_free(run->plan);
	immure_policy_free(run->policy);
	immure_error_free(run->err);
	immure_runflags_done(&run->flags);
#endif
}

static int run_command(struct run *run)
{
	int32_t r = supervise(run, run->flags.prove, STDOUT_FILENO);

	if (r == 0 && run->flags.prove && !run->flags.quiet &&
	    immure_result_outcome(run->result) != IMMURE_OUTCOME_REFUSED)
		print_proof_summary(run);
	return finish(run, r);
}

int immure_cli_run_argv(struct immure_runflags *flags, const char *const *argv)
{
	struct run run = { .record = IMMURE_RECORD_INIT, .flags = *flags, .argv = argv };
	int status = run_command(&run);

	run_done(&run);
	return status;
}

/* run --session: the session's policy counts, so one given here would be ignored. */
static int in_session(struct immure_runflags *f, int argc, char **argv)
{
	char path[IMMURE_CLI_PATH_MAX];
	struct immure_session_options o = immure_cli_session_options(path);
	struct immure_error *err = NULL;
	immure_session *session = NULL;
	int status;

	if (f->policy.settings_n > f->self_n || f->policy.profile || f->policy.file || f->policy.workspace) {
		immure_cli_say("run: --session: the policy is the session's; it cannot be given anew here");
		return IMMURE_EXIT_FAILED;
	}
	if (f->first >= argc) {
		immure_cli_say("run: no command given; try 'immure run --session SESSION -- COMMAND'");
		return IMMURE_EXIT_FAILED;
	}
	if (immure_session_open(f->session.session, &o, &session, &err) < 0)
		return immure_cli_fail(err);
	status = immure_cli_exec_in(session, f, (const char *const *)argv + f->first);
	immure_session_free(session);
	return status;
}

int immure_cli_run(int argc, char **argv)
{
	struct run run = { .record = IMMURE_RECORD_INIT };
	int status = immure_runflags_parse("run", argc, argv, &run.flags);

	if (status != IMMURE_CLI_GO_ON)
		return status;
	if (run.flags.first < argc && (run.flags.session.keep_failed || run.flags.session.keep_always)) {
		status = immure_cli_run_kept(&run.flags, (const char *const *)argv + run.flags.first);
	} else if (run.flags.session.labels.n && !run.flags.session.pool) {
		immure_cli_say("run: --label: a run by itself is not registered; with --pool, or immure create");
		status = IMMURE_EXIT_FAILED;
	} else if (run.flags.session.pool) {
		status = immure_cli_in_pool(&run.flags, (const char *const *)argv + run.flags.first);
	} else if (run.flags.session.session) {
		status = in_session(&run.flags, argc, argv);
	} else if (run.flags.first >= argc && !run.flags.image.is_named) {
		immure_cli_say("run: no command given; try 'immure run -- COMMAND'");
		status = IMMURE_EXIT_FAILED;
	} else {
		run.argv = (const char *const *)argv + run.flags.first;
		status = run_command(&run);
	}
	run_done(&run);
	return status;
}

static int print_proof(const struct run *run)
{
	struct immure_error *err = NULL;
	char *text = NULL;
	int status;

	if (immure_result_proof(run->result, run->flags.json, &text, &err) < 0)
		return immure_cli_fail(err);
	status = immure_cli_print(text);
	immure_string_free(text);
	return status;
}

int immure_cli_prove(int argc, char **argv)
{
	static const char *const nothing[] = { "/bin/true", NULL };
	struct run run = { .record = IMMURE_RECORD_INIT };
	int status = immure_runflags_parse("prove", argc, argv, &run.flags);
	uint64_t points = 0, fell_short = 0;
	int32_t r;

	if (status != IMMURE_CLI_GO_ON)
		return status;
	run.argv = run.flags.first < argc ? (const char *const *)argv + run.flags.first : nothing;
	r = supervise(&run, true, STDERR_FILENO);
	if (run.result) {
		immure_result_proof_counts(run.result, &points, &fell_short);
		status = print_proof(&run);
	}
	if (fell_short) {
		(void)finish(&run, r); /* a proof that fell short outweighs the command's status */
		status = IMMURE_EXIT_NO;
	} else {
		int end = finish(&run, r);

		status = status > 0 ? status : end;
	}
	run_done(&run);
	return status;
}
