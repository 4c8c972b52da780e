/* SPDX-License-Identifier: Apache-2.0 */
/* Init of a session whose namespaces another program has made: bubblewrap executes
 * this. Says nothing; a failure is a message on the report descriptor. */
#include "cli/cli.h"

#include <fcntl.h>
#include <stdlib.h>

#include "base/opt.h"
#include "base/parse.h"

enum { OPT_HANDOVER_FD = 1, OPT_REPORT_FD };

static const struct immure_opt table[] = {
	{ "handover-fd", 0, "N", "the sealed plan and what belongs to it", NULL, OPT_HANDOVER_FD },
	{ "report-fd", 0, "N", "the line to the supervisor", NULL, OPT_REPORT_FD },
};

struct fds {
	int handover, report;
};

static int take_option(void *ctx, int id, const char *value)
{
	struct fds *f = ctx;
	uint64_t n;

	if (immure_parse_u64(value, &n) < 0 || n < 3 || n > 1 << 20 ||
	    fcntl((int)n, F_SETFD, FD_CLOEXEC) < 0)
		return -1;
	*(id == OPT_HANDOVER_FD ? &f->handover : &f->report) = (int)n;
	return 0;
}

int immure_cli_init(int argc, char **argv)
{
	struct fds f = { -1, -1 };
	char *error = NULL;

	if (immure_opt_parse(table, sizeof(table) / sizeof(table[0]), argc, argv, take_option, &f,
			     &error) != argc || f.handover < 0 || f.report < 0) {
		free(error);
		immure_cli_say("init: is started by a backend, with a plan");
		return IMMURE_EXIT_FAILED;
	}
	(void)immure_become_init(f.handover, f.report); /* returns only when it failed, and said so */
	return IMMURE_EXIT_FAILED;
}
