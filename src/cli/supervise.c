/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor process that libimmure starts for a session of a host program:
 * a sealed plan in one descriptor, requests and the result over another. Says
 * nothing; a failure is a message on the control descriptor. */
#include "cli/cli.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/opt.h"
#include "base/parse.h"

enum { PLAN_MAX = 64 << 20 };
enum { OPT_PLAN_FD = 1, OPT_CONTROL_FD, OPT_PROVE, OPT_TRACE_TIME, OPT_SESSION, OPT_POOL, OPT_DETACH, OPT_MANY };

static const struct immure_opt table[] = {
	{ "plan-fd", 0, "N", "the sealed plan", NULL, OPT_PLAN_FD },
	{ "control-fd", 0, "N", "requests and the result", NULL, OPT_CONTROL_FD },
	{ "prove", 0, NULL, "attack from inside first", NULL, OPT_PROVE },
	{ "trace-time", 0, NULL, "record when each stage ended", NULL, OPT_TRACE_TIME },
	{ "session", 0, NULL, "serve a session that runs many commands", NULL, OPT_SESSION },
	{ "many", 0, NULL, "make many sessions, all or none", NULL, OPT_MANY },
	{ "pool", 0, NULL, "hold a pool of sessions", NULL, OPT_POOL },
	{ "detach", 0, NULL, "go on in a child of its own", NULL, OPT_DETACH },
};

struct supervise {
	int plan_fd, control_fd;
	uint32_t flags;
	bool session, many, pool, detach;
};

/* A descriptor that is open and is nobody's standard stream. */
static int take_fd(const char *value, int *ret)
{
	uint64_t n;

	if (immure_parse_u64(value, &n) < 0 || n < 3 || n > 1 << 20 ||
	    fcntl((int)n, F_SETFD, FD_CLOEXEC) < 0)
		return -1;
	*ret = (int)n;
	return 0;
}

static int take_option(void *ctx, int id, const char *value)
{
	struct supervise *s = ctx;

	switch (id) {
	case OPT_PLAN_FD:
		return take_fd(value, &s->plan_fd);
	case OPT_CONTROL_FD:
		return take_fd(value, &s->control_fd);
	case OPT_SESSION:
		s->session = true;
		return 0;
	case OPT_MANY:
		s->many = true;
		return 0;
	case OPT_POOL:
		s->pool = true;
		return 0;
	case OPT_DETACH:
		s->detach = true;
		return 0;
	case OPT_PROVE:
		s->flags |= IMMURE_RUN_PROVE;
		return 0;
	default:
		s->flags |= IMMURE_RUN_TRACE_TIME;
		return 0;
	}
}

static int32_t open_plan(int fd, immure_plan **ret, immure_error **err)
{
	IMMURE_CLEANUP_FREE char *data = NULL;
	size_t len = 0;
	int r = lseek(fd, 0, SEEK_SET) < 0 ? -1 : immure_read_all(fd, PLAN_MAX, &data, &len);

	if (r < 0)
		return immure_fail(err, IMMURE_ERR_IO, r, "supervise", "", "the plan cannot be read");
	return immure_plan_open(data, len, ret, err);
}

static int serve(const struct supervise *s)
{
	char attacker[IMMURE_CLI_PATH_MAX], egress[IMMURE_CLI_PATH_MAX];
	const char *judge = immure_cli_own_program("immure-egress", egress) ? egress : NULL;
	const char *tried = !(s->flags & IMMURE_RUN_PROVE) ? NULL
			    : immure_cli_own_program("immure-attack", attacker)
				    ? attacker : IMMURE_LIBEXECDIR "/immure-attack";

	return s->many ? immure_session_make_fds(s->plan_fd, s->control_fd, judge, tried)
		       : immure_session_serve_fds(s->plan_fd, s->control_fd, judge, tried, s->detach);
}

int immure_cli_supervise(int argc, char **argv)
{
	struct supervise s = { .plan_fd = -1, .control_fd = -1, .flags = IMMURE_RUN_CONTROL };
	struct immure_run_options options = {
		.size = sizeof(options),
		.stdin_fd = STDIN_FILENO,
		.stdout_fd = STDOUT_FILENO,
		.stderr_fd = STDERR_FILENO,
	};
	char attacker[IMMURE_CLI_PATH_MAX], egress[IMMURE_CLI_PATH_MAX], *error = NULL;
	immure_result *result = NULL;
	immure_plan *plan = NULL;
	int status = IMMURE_EXIT_FAILED;

	if (immure_opt_parse(table, sizeof(table) / sizeof(table[0]), argc, argv, take_option, &s,
			     &error) != argc || s.plan_fd < 0 || s.control_fd < 0) {
		free(error);
		immure_cli_say("supervise: is started by libimmure, with a plan");
		return IMMURE_EXIT_FAILED;
	}
	if (s.pool)
		return immure_pool_hold_fds(s.plan_fd, s.control_fd,
					    immure_cli_own_program("immure-egress", egress) ? egress : NULL,
					    s.detach);
	if (s.session || s.many)
		return serve(&s);
	options.flags = s.flags;
	options.control_fd = s.control_fd;
	if (s.flags & IMMURE_RUN_PROVE && immure_cli_own_program("immure-attack", attacker))
		options.attacker = attacker;
	if (immure_cli_own_program("immure-egress", egress))
		options.egress = egress;
	if (open_plan(s.plan_fd, &plan, NULL) == 0) {
		immure_close(&s.plan_fd);
		if (immure_supervise(plan, &options, &result, NULL) == 0)
			status = immure_result_exit_status(result);
	}
	immure_result_free(result);
	immure_plan_free(plan);
	immure_close(&s.plan_fd);
	immure_close(&s.control_fd);
	return status;
}
