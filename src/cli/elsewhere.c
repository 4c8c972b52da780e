/* SPDX-License-Identifier: Apache-2.0 */
/* The commands that need Linux, where the host is another: each says so. What is left is
 * what needs only a policy: policy, plan and help. */
#include "cli/cli.h"

#define NEEDS_LINUX(name)                                                                          \
	int immure_cli_##name(int argc, char **argv)                                              \
	{                                                                                         \
		return needs_linux(argc, argv);                                                   \
	}

static int needs_linux(int argc, char **argv)
{
	immure_cli_say("%s: unsupported here: needs Linux; on this platform immure checks policies "
		       "and prints plans", argc > 0 ? argv[0] : "immure");
	return IMMURE_EXIT_FAILED;
}

NEEDS_LINUX(run)
NEEDS_LINUX(shell)
NEEDS_LINUX(prove)
NEEDS_LINUX(explain)
NEEDS_LINUX(init)
NEEDS_LINUX(create)
NEEDS_LINUX(exec)
NEEDS_LINUX(supervise)
NEEDS_LINUX(ps)
NEEDS_LINUX(inspect)
NEEDS_LINUX(freeze)
NEEDS_LINUX(thaw)
NEEDS_LINUX(attach)
NEEDS_LINUX(logs)
NEEDS_LINUX(stats)
NEEDS_LINUX(signal)
NEEDS_LINUX(kill)
NEEDS_LINUX(stop)
NEEDS_LINUX(ls)
NEEDS_LINUX(cat)
NEEDS_LINUX(put)
NEEDS_LINUX(cp)
NEEDS_LINUX(mount)
NEEDS_LINUX(umount)
NEEDS_LINUX(net)
NEEDS_LINUX(tighten)
NEEDS_LINUX(serve)
NEEDS_LINUX(mcp)
NEEDS_LINUX(bench)
NEEDS_LINUX(rm)
NEEDS_LINUX(snapshot)
NEEDS_LINUX(resume)
NEEDS_LINUX(fork)
NEEDS_LINUX(pool)
NEEDS_LINUX(image)
NEEDS_LINUX(journal)
NEEDS_LINUX(detach)
NEEDS_LINUX(reclaim)
NEEDS_LINUX(gc)
NEEDS_LINUX(diff)
NEEDS_LINUX(apply)
NEEDS_LINUX(discard)

const char *immure_cli_shell_name(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return NULL;
}

int immure_cli_as_shell(const char *name, int argc, char **argv)
{
	(void)name;
	return needs_linux(argc, argv);
}

/* No other program of ours is there. */

bool immure_cli_own_directory(char *ret)
{
	(void)ret;
	return false;
}

bool immure_cli_own_program(const char *name, char *ret_path)
{
	(void)name;
	(void)ret_path;
	return false;
}
