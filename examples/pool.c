/* SPDX-License-Identifier: Apache-2.0 */
/* pool DIR...: sessions made before anybody asks. Each directory gets one of them as
 * its workspace, sees nothing of the others, and leaves nothing to the next. */
#include "common.h"

static immure_pool *make_pool(void)
{
	struct immure_policy_options po = { .size = sizeof(po), .profile = "strict",
					    .env = (const char *const *)environ,
					    .flags = IMMURE_POLICY_NO_DISCOVERY };
	struct immure_pool_options o = { .size = sizeof(o), .pool_size = 2, .pool_max = 4,
					 .supervisor = getenv("IMMURE_PROGRAM"),
					 .env = (const char *const *)environ };
	immure_policy *policy = NULL;
	immure_pool *pool = NULL;
	immure_error *err = NULL;

	if (immure_policy_load(&po, &policy, &err) < 0)
		fail(err);
	o.policy = policy; /* and no plan: the workspace is that of whoever acquires */
	if (immure_pool_open(NULL, &o, &pool, &err) < 0)
		fail(err);
	immure_policy_free(policy);
	return pool;
}

static void use(immure_pool *pool, const char *workspace)
{
	const char *argv[] = { "/bin/sh", "-c", "echo $PWD: *; cat /tmp/made 2>/dev/null; echo kept > made; echo gone > /tmp/made",
			       NULL };
	struct immure_acquire_options o = { .size = sizeof(o), .workspace = workspace, .wait_ms = 10000,
					    .env = (const char *const *)environ };
	struct immure_exec_options e = { .size = sizeof(e), .argv = argv, .stdin_fd = IMMURE_STREAM_NULL,
					 .stdout_fd = 1, .stderr_fd = 2 };
	struct immure_exit ended = { .size = sizeof(ended) };
	immure_session *session = NULL;
	immure_process *process = NULL;
	immure_error *err = NULL;

	if (immure_pool_acquire(pool, &o, &session, &err) < 0 ||
	    immure_session_exec(session, &e, &process, &err) < 0 ||
	    immure_process_wait(process, -1, &ended, &err) < 0)
		fail(err);
	immure_process_free(process);
	immure_pool_release(pool, session); /* destroyed, off our path */
	printf("status %d\n", ended.code);
}

int main(int argc, char **argv)
{
	immure_pool *pool = make_pool();
	immure_error *err = NULL;
	char *stats = NULL;

	setvbuf(stdout, NULL, _IONBF, 0);
	for (int i = 1; i < argc; i++)
		use(pool, argv[i]);
	if (immure_pool_stats(pool, &stats, &err) < 0)
		fail(err);
	fprintf(stderr, "%s\n", stats);
	immure_string_free(stats);
	immure_pool_free(pool); /* IMMURE_LIFE_CALLER: it ends here */
	return 0;
}
