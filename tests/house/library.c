/* SPDX-License-Identifier: Apache-2.0 */
/* library SUPERVISOR ATTACKER WORKSPACE CASE: a host program of libimmure. Each
 * case prints what went wrong and exits 1, or exits 0. After every case the
 * process must be as it was: descriptors, children, signals. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <immure/immure.h>

#define CHECK(condition)                                                                        \
	do {                                                                                    \
		if (!(condition)) {                                                             \
			printf("%s:%d: %s\n", __func__, __LINE__, #condition);                  \
			return 1;                                                               \
		}                                                                               \
	} while (0)

extern char **environ;

static struct immure_run_options options;
static immure_policy *policy;

static int plan_for(const char *script, immure_plan **ret)
{
	const char *argv[] = { "/bin/sh", "-c", script, NULL };
	struct immure_plan_options o = { .size = sizeof(o), .argv = argv,
					 .env = (const char *const *)environ };
	immure_error *err = NULL;

	if (immure_plan_create(policy, &o, ret, &err) == 0)
		return 0;
	printf("plan: %s\n", immure_error_text(err));
	immure_error_free(err);
	return 1;
}

static int wait_for(immure_session *s, immure_result **ret)
{
	int32_t r;

	while ((r = immure_session_step(s, ret, NULL)) == 0) {
		struct pollfd p = { .fd = immure_session_fd(s), .events = POLLIN };

		if (poll(&p, 1, 30000) != 1)
			return -1;
	}
	return r;
}

static int case_wrap(void)
{
	const char *argv[] = { "/bin/sh", "-c", "exit $CODE", NULL };
	const char *env[] = { "CODE=6", NULL };
	struct immure_wrap_options o = { .size = sizeof(o), .argv = argv, .env = env, .program = "/p" };
	immure_wrapped *once = NULL, *twice = NULL;
	const char *const *words;
	size_t n = 0;

	CHECK(immure_wrap(policy, &o, &once, NULL) == 0);
	words = immure_wrapped_argv(once);
	CHECK(strcmp(words[0], "/p") == 0 && immure_wrapped_env(once)[0] == NULL);
	CHECK(strncmp(immure_wrapped_policy_version(once), "policy-", 7) == 0);
	while (words[n])
		n++;
	CHECK(strcmp(words[n - 1], "exit $CODE") == 0 && strcmp(words[n - 4], "--") == 0);
	o.argv = words;
	CHECK(immure_wrap(policy, &o, &twice, NULL) == 0);
	for (size_t i = 0; i <= n; i++)
		CHECK(i == n ? !immure_wrapped_argv(twice)[n]
			     : strcmp(immure_wrapped_argv(twice)[i], words[i]) == 0);
	immure_wrapped_free(twice);
	o.program = "relative";
	CHECK(immure_wrap(policy, &o, &twice, NULL) == -IMMURE_ERR_INVALID);
	o.program = NULL;
	o.flags = 2;
	CHECK(immure_wrap(policy, &o, &twice, NULL) == -IMMURE_ERR_INVALID);
	CHECK(immure_wrap(policy, NULL, &twice, NULL) == -IMMURE_ERR_INVALID);
	immure_wrapped_free(once);
	immure_wrapped_free(NULL);
	o = (struct immure_wrap_options){ .size = sizeof(o), .argv = argv, .env = env, .cwd = "sub",
					  .session = "s1", .where = (const char *[]){ "HOME=/h", NULL } };
	CHECK(immure_wrap(policy, &o, &once, NULL) == -IMMURE_ERR_INVALID);
	CHECK(immure_wrap(NULL, &o, &once, NULL) == 0);
	words = immure_wrapped_argv(once);
	CHECK(strcmp(words[0], "/usr/bin/env") == 0 && strcmp(words[1], "HOME=/h") == 0);
	CHECK(strcmp(words[3], "exec") == 0 && strcmp(words[5], "sub") == 0);
	CHECK(strcmp(words[7], "CODE=6") == 0 && strcmp(words[8], "s1") == 0 &&
	      strcmp(words[9], "--") == 0 && strcmp(words[12], argv[2]) == 0 && !words[13]);
	CHECK(strcmp(immure_wrapped_policy_version(once), "") == 0);
	immure_wrapped_free(once);
	o.session = "-x";
	CHECK(immure_wrap(NULL, &o, &once, NULL) == -IMMURE_ERR_INVALID);
	o.session = "s1";
	o.where = (const char *[]){ "LD_PRELOAD=/x", NULL };
	CHECK(immure_wrap(NULL, &o, &once, NULL) == -IMMURE_ERR_INVALID);
	return 0;
}

static int case_run(void)
{
	immure_plan *plan = NULL;
	immure_result *result = NULL;
	immure_error *err = NULL;

	CHECK(plan_for("exit 7", &plan) == 0);
	CHECK(immure_plan_gap_count(plan) == 0 && immure_plan_check(plan, NULL) == 0);
	if (immure_run(plan, &options, &result, &err) < 0)
		printf("%s\n", immure_error_text(err));
	CHECK(result);
	CHECK(immure_result_outcome(result) == IMMURE_OUTCOME_EXITED);
	CHECK(immure_result_code(result) == 7 && immure_result_exit_status(result) == 7);
	CHECK(immure_result_verdict(result) == IMMURE_VERDICT_NONE);
	CHECK(strcmp(immure_result_notices(result), "") == 0);
	immure_result_free(result);
	immure_plan_free(plan);
	return 0;
}

static int case_signal(void)
{
	immure_session *s = NULL;
	immure_plan *plan = NULL;
	immure_result *result = NULL;
	struct immure_run_options o = options;
	int out[2];
	char byte;

	CHECK(pipe(out) == 0);
	o.stdout_fd = out[1];
	CHECK(plan_for("echo; exec sleep 60", &plan) == 0);
	CHECK(immure_session_start(plan, &o, &s, NULL) == 0);
	close(out[1]);
	CHECK(read(out[0], &byte, 1) == 1);
	CHECK(immure_session_step(s, &result, NULL) == 0); /* not finished, and did not block */
	CHECK(immure_session_signal(s, 0, NULL) == -IMMURE_ERR_INVALID);
	CHECK(immure_session_signal(s, SIGTERM, NULL) == 0);
	CHECK(wait_for(s, &result) == 1);
	CHECK(immure_result_outcome(result) == IMMURE_OUTCOME_SIGNALED);
	CHECK(immure_result_code(result) == SIGTERM);
	CHECK(immure_session_step(s, &result, NULL) == -IMMURE_ERR_STATE);
	immure_result_free(result);
	immure_session_free(s);
	immure_plan_free(plan);
	close(out[0]);
	return 0;
}

/* Freeing a session that runs ends everything in it. */
static int case_free(void)
{
	immure_session *s = NULL;
	immure_plan *plan = NULL;
	struct immure_run_options o = options;
	int out[2];
	char byte;

	CHECK(pipe(out) == 0);
	o.stdout_fd = out[1];
	CHECK(plan_for("echo; trap '' TERM INT HUP; sleep 60 & sleep 60", &plan) == 0);
	CHECK(immure_session_start(plan, &o, &s, NULL) == 0);
	close(out[1]);
	CHECK(read(out[0], &byte, 1) == 1);
	immure_session_free(s);
	CHECK(read(out[0], &byte, 1) == 0); /* the last writer is gone */
	immure_plan_free(plan);
	close(out[0]);
	return 0;
}

static int case_two(void)
{
	immure_session *s[2] = { NULL };
	immure_plan *plan = NULL;
	immure_result *result = NULL;

	CHECK(plan_for("sleep 0.1; exit 3", &plan) == 0);
	for (int i = 0; i < 2; i++)
		CHECK(immure_session_start(plan, &options, &s[i], NULL) == 0);
	for (int i = 1; i >= 0; i--) {
		CHECK(wait_for(s[i], &result) == 1);
		CHECK(immure_result_exit_status(result) == 3);
		immure_result_free(result);
		immure_session_free(s[i]);
	}
	immure_plan_free(plan);
	return 0;
}

static int case_prove(void)
{
	struct immure_run_options o = options;
	uint64_t points = 0, fell_short = 1;
	immure_plan *plan = NULL;
	immure_result *result = NULL;
	char *text = NULL;

	o.flags = IMMURE_RUN_PROVE;
	CHECK(plan_for("exit 0", &plan) == 0);
	CHECK(immure_run(plan, &o, &result, NULL) == 0);
	immure_result_proof_counts(result, &points, &fell_short);
	CHECK(points >= 45 && fell_short == 0);
	CHECK(immure_result_proof(result, 1, &text, NULL) == 0 && text[0] == '{');
	immure_string_free(text);
	immure_result_free(result);
	immure_plan_free(plan);
	return 0;
}

static int case_no_supervisor(void)
{
	struct immure_run_options o = options;
	immure_plan *plan = NULL;
	immure_result *result = NULL;
	immure_error *err = NULL;

	o.supervisor = "/no/such/immure";
	CHECK(plan_for("exit 0", &plan) == 0);
	CHECK(immure_run(plan, &o, &result, &err) == -IMMURE_ERR_LAUNCH);
	CHECK(!result && immure_error_errno(err) == ENOENT);
	immure_error_free(err);
	immure_plan_free(plan);
	return 0;
}

static int case_not_found(void)
{
	const char *argv[] = { "no-such-program", NULL };
	struct immure_plan_options o = { .size = sizeof(o), .argv = argv };
	immure_plan *plan = NULL;
	immure_result *result = NULL;
	immure_error *err = NULL;

	CHECK(immure_plan_create(policy, &o, &plan, NULL) == 0);
	CHECK(immure_run(plan, &options, &result, &err) == -IMMURE_ERR_NOT_FOUND);
	CHECK(strstr(immure_error_text(err), "no-such-program"));
	immure_error_free(err);
	immure_plan_free(plan);
	return 0;
}

/* Its maker gone, a session goes on while its ticket may be acknowledged, and after that
 * when it was. A ticket cleans up once. */
static int case_handover(void)
{
	struct immure_session_options o = { .size = sizeof(o), .supervisor = options.supervisor,
					    .env = (const char *const *)environ };
	struct immure_reclaim_options ro = { .size = sizeof(ro), .env = (const char *const *)environ };

	for (int taken = 0; taken < 2; taken++) {
		immure_session *s = NULL, *other = NULL;
		immure_report *report = NULL;
		char *ticket = NULL, *text = NULL, id[64];
		immure_plan *plan = NULL;
		int32_t r;

		CHECK(plan_for("true", &plan) == 0);
		CHECK(immure_session_create(plan, &o, &s, NULL) == 0);
		snprintf(id, sizeof(id), "%s", immure_session_id(s));
		CHECK(immure_session_ticket(s, 60000, &ticket, NULL) == 0); /* withdrawn by the next */
		immure_string_free(ticket);
		CHECK(immure_session_ticket(s, 400, &ticket, NULL) == 0);
		if (taken)
			CHECK(immure_acknowledge(ticket, o.env, NULL) == 0);
		immure_session_free(s);
		CHECK(immure_session_open(id, &o, &other, NULL) == 0);
		immure_session_free(other);
		usleep(1500000);
		r = immure_session_open(id, &o, &other, NULL);
		CHECK(taken ? r == 0 : r < 0);
		if (taken) {
			immure_session_free(other);
			CHECK(immure_journal_print(id, o.env, 1, &text, NULL) == 0);
			CHECK(strstr(text, "\"kind\":\"detach\""));
			immure_string_free(text);
		}
		r = immure_reclaim(ticket, &ro, &report, NULL);
		CHECK(taken ? r == 0 : r == -IMMURE_ERR_NO_SESSION);
		if (taken) {
			CHECK(immure_report_count(report, IMMURE_REMOVED) >= 2);
			CHECK(immure_report_count(report, IMMURE_LEFT) == 0);
			CHECK(immure_report_print(report, 0, &text, NULL) == 0);
			CHECK(strstr(text, "init: by its supervisor"));
			immure_string_free(text);
			immure_report_free(report);
			CHECK(immure_reclaim(ticket, &ro, &report, NULL) == -IMMURE_ERR_NO_SESSION);
		}
		CHECK(immure_acknowledge(ticket, o.env, NULL) == -IMMURE_ERR_NO_SESSION);
		immure_string_free(ticket);
		immure_plan_free(plan);
		CHECK(wait(NULL) > 0); /* the supervisor was a child of ours */
	}
	return 0;
}

static int case_seal(void)
{
	immure_plan *plan = NULL, *copy = NULL;
	uint64_t len = 0;
	void *bytes = NULL;

	CHECK(plan_for("exit 0", &plan) == 0);
	CHECK(immure_plan_seal(plan, &bytes, &len, NULL) == 0 && len > 0);
	CHECK(immure_plan_open(bytes, len, &copy, NULL) == 0);
	CHECK(strcmp(immure_plan_hash(plan), immure_plan_hash(copy)) == 0);
	immure_plan_free(copy);
	copy = NULL;
	((char *)bytes)[len / 2] ^= 1;
	CHECK(immure_plan_open(bytes, len, &copy, NULL) < 0 && !copy);
	free(bytes);
	immure_plan_free(plan);
	return 0;
}

static int case_gap(void)
{
	struct immure_setting s[] = { { "require.class", "lightweight_vm", NULL } };
	struct immure_policy_options o = { .size = sizeof(o), .profile = "strict", .settings = s,
					   .settings_n = 1, .flags = IMMURE_POLICY_NO_DISCOVERY };
	struct immure_gap_info gap = { .size = sizeof(gap) };
	immure_policy *kept = policy;
	immure_result *result = NULL;
	immure_plan *plan = NULL;

	CHECK(immure_policy_load(&o, &policy, NULL) == 0);
	CHECK(plan_for("exit 0", &plan) == 0);
	immure_policy_free(policy);
	policy = kept;
	CHECK(immure_plan_gap_count(plan) == 1);
	CHECK(immure_plan_gap(plan, 0, &gap) == 0 && !gap.approved);
	CHECK(strcmp(gap.key, "require.class") == 0 && gap.what[0] && gap.remedy[0]);
	CHECK(immure_plan_gap(plan, 1, &gap) == -IMMURE_ERR_INVALID);
	CHECK(immure_plan_check(plan, NULL) == -IMMURE_ERR_GAP);
	CHECK(immure_run(plan, &options, &result, NULL) == -IMMURE_ERR_GAP);
	immure_plan_free(plan);
	return 0;
}

/* A command whose output the supervisor reads; its kept bytes by request "output". */
static int captured(immure_session *s, uint32_t capture, uint64_t want_bytes, int want_kept)
{
	const char *argv[] = { "/bin/echo", "sealed in", NULL };
	struct immure_exec_options o = { .size = sizeof(o), .argv = argv, .stdin_fd = IMMURE_STREAM_NULL,
					 .stdout_fd = IMMURE_STREAM_EVENTS,
					 .stderr_fd = IMMURE_STREAM_EVENTS, .capture = capture };
	struct immure_exit x = { .size = sizeof(x) };
	immure_process *p = NULL;
	char question[64], *text = NULL;

	CHECK(immure_session_exec(s, &o, &p, NULL) == 0);
	CHECK(immure_process_wait(p, 30000, &x, NULL) == 1 && x.code == 0);
	CHECK(x.stdout_bytes == want_bytes);
	snprintf(question, sizeof(question), "{\"exec\":%llu,\"stream\":\"stdout\"}",
		 (unsigned long long)immure_process_id(p));
	if (immure_session_request(s, "output", question, &text, NULL) == 0) {
		CHECK((strstr(text, "c2VhbGVkIGluCg==") != NULL) == want_kept);
		immure_string_free(text);
	} else {
		CHECK(!want_kept);
	}
	immure_process_free(p);
	return 0;
}

static int case_session(void)
{
	struct immure_session_options o = { .size = sizeof(o), .supervisor = options.supervisor,
					    .env = (const char *const *)environ };
	struct immure_file_info info = { .size = sizeof(info) };
	struct immure_gc_options gc = { .size = sizeof(gc), .flags = IMMURE_GC_DRY_RUN,
					.env = (const char *const *)environ };
	immure_session *s = NULL;
	immure_report *report = NULL;
	immure_plan *plan = NULL;
	char *text = NULL;
	int32_t fd = -1;

	CHECK(plan_for("true", &plan) == 0);
	CHECK(immure_session_create(plan, &o, &s, NULL) == 0);
	CHECK(captured(s, IMMURE_CAPTURE_SUMMARY_MODE, 10, 1) == 0);
	CHECK(captured(s, IMMURE_CAPTURE_CONTENT_MODE, 10, 1) == 0);
	CHECK(captured(s, IMMURE_CAPTURE_METADATA_MODE, 10, 0) == 0);
	CHECK(captured(s, IMMURE_CAPTURE_OFF_MODE, 0, 0) == 0);
	CHECK(immure_session_make_directory(s, "/tmp/d", 0700, NULL) == 0);
	CHECK(immure_session_open_file(s, "/tmp/d/f", O_WRONLY | O_CREAT, 0600, &fd, NULL) == 0);
	CHECK(write(fd, "x", 1) == 1 && close(fd) == 0);
	CHECK(immure_session_stat_file(s, "/tmp/d/f", &info, NULL) == 0);
	CHECK(info.type == IMMURE_FILE_REGULAR && info.bytes == 1 && info.mode == 0600);
	CHECK(immure_session_stat_file(s, "/tmp/d", &info, NULL) == 0);
	CHECK(info.type == IMMURE_FILE_DIRECTORY);
	CHECK(immure_session_stat_file(s, "/dev/null", &info, NULL) == 0);
	CHECK(info.type == IMMURE_FILE_OTHER);
	CHECK(immure_session_stat_file(s, "/proc/self", &info, NULL) == 0);
	CHECK(info.type == IMMURE_FILE_LINK);
	CHECK(immure_session_rename_file(s, "/tmp/d/f", "/tmp/d/g", NULL) == 0);
	CHECK(immure_session_list_files(s, "/tmp/d", &text, NULL) == 0);
	CHECK(strstr(text, "\"g\"") && strstr(text, "\"file\""));
	immure_string_free(text);
	CHECK(immure_session_remove_file(s, "/tmp/d/g", NULL) == 0);
	CHECK(immure_session_remove_file(s, "/tmp/d", NULL) == 0);
	CHECK(immure_session_stop(s, 100, IMMURE_SESSION_REMOVE, NULL) == 0);
	immure_session_free(s);
	immure_plan_free(plan);
	CHECK(immure_gc(&gc, &report, NULL) == 0);
	CHECK(immure_report_count(report, IMMURE_LEFT) == 0);
	CHECK(immure_report_print(report, 1, &text, NULL) == 0 && strstr(text, "\"kept\""));
	CHECK(immure_report_count(report, IMMURE_KEPT) < 10000);
	immure_string_free(text);
	immure_report_free(report);
	return 0;
}

/* Structs of another version: shorter is fine, an unknown field is not. */
static int case_sizes(void)
{
	struct {
		struct immure_policy_options known;
		uint64_t unknown;
	} o = { .known = { .size = sizeof(o), .profile = "strict",
			   .flags = IMMURE_POLICY_NO_DISCOVERY } };
	immure_policy *p = NULL;

	CHECK(immure_policy_load(&o.known, &p, NULL) == 0);
	immure_policy_free(p);
	o.unknown = 1;
	CHECK(immure_policy_load(&o.known, &p, NULL) == -IMMURE_ERR_INVALID);
	o.known.size = 16; /* only the profile */
	CHECK(immure_policy_load(&o.known, &p, NULL) == 0);
	immure_policy_free(p);
	o.known.size = 0;
	CHECK(immure_policy_load(&o.known, &p, NULL) == -IMMURE_ERR_INVALID);
	return 0;
}

static const struct {
	const char *name;
	int (*fn)(void);
} cases[] = {
	{ "wrap", case_wrap },
	{ "run", case_run }, { "signal", case_signal }, { "free", case_free }, { "two", case_two },
	{ "prove", case_prove }, { "no_supervisor", case_no_supervisor },
	{ "not_found", case_not_found }, { "seal", case_seal }, { "gap", case_gap },
	{ "sizes", case_sizes }, { "session", case_session }, { "handover", case_handover },
};

static int open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (dir && readdir(dir))
		n++;
	closedir(dir);
	return n;
}

struct state {
	int descriptors;
	sigset_t mask;
	struct sigaction actions[32];
};

static void look(struct state *s)
{
	memset(s, 0, sizeof(*s));
	s->descriptors = open_descriptors();
	sigprocmask(SIG_SETMASK, NULL, &s->mask);
	for (int signo = 1; signo < 32; signo++)
		sigaction(signo, NULL, &s->actions[signo]);
}

static int as_before(const struct state *before)
{
	struct state now;

	look(&now);
	CHECK(now.descriptors == before->descriptors);
	CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
	for (int signo = 1; signo < 32; signo++) {
		CHECK(sigismember(&now.mask, signo) == sigismember(&before->mask, signo));
		CHECK(now.actions[signo].sa_handler == before->actions[signo].sa_handler);
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct immure_policy_options o = { .size = sizeof(o), .profile = "strict",
					   .flags = IMMURE_POLICY_NO_DISCOVERY };
	struct state before;
	int r = 2;

	if (argc != 5)
		return 2;
	look(&before);
	o.workspace = argv[3];
	options = (struct immure_run_options){ .size = sizeof(options), .stdin_fd = -1,
					       .stdout_fd = -1, .stderr_fd = 2,
					       .supervisor = argv[1], .attacker = argv[2] };
	if (immure_policy_load(&o, &policy, NULL) < 0)
		return 2;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (strcmp(cases[i].name, argv[4]) == 0)
			r = cases[i].fn();
	immure_policy_free(policy);
	return r ? r : as_before(&before);
}
