/* SPDX-License-Identifier: Apache-2.0 */
/* floor [-l FS SCOPES PATH=RIGHTS...] [-s] -- COMMAND...
 *
 * Runs COMMAND under what the kernel itself cannot do for less: -l a Landlock domain
 * with these rights handled and these rules, and nothing else; -s a seccomp filter
 * of one instruction that allows everything. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As of its sixth version; headers may be older. */
struct ruleset {
	uint64_t fs, net, scopes;
};

static void need(int ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
		exit(9);
	}
}

static char **landlock(char **argv)
{
	struct ruleset set = { .fs = strtoull(argv[0], NULL, 0), .scopes = strtoull(argv[1], NULL, 0) };
	int fd = (int)syscall(SYS_landlock_create_ruleset, &set, sizeof(set), 0);

	need(fd >= 0, "landlock_create_ruleset");
	for (argv += 2; *argv && (*argv)[0] == '/'; argv++) {
		struct landlock_path_beneath_attr rule;
		char *rights = strrchr(*argv, '=');

		need(rights != NULL, *argv);
		*rights++ = '\0';
		rule.allowed_access = strtoull(rights, NULL, 0);
		rule.parent_fd = open(*argv, O_PATH | O_CLOEXEC);
		need(rule.parent_fd >= 0, *argv);
		need(!syscall(SYS_landlock_add_rule, fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0), *argv);
		close(rule.parent_fd);
	}
	need(!syscall(SYS_landlock_restrict_self, fd, 0), "landlock_restrict_self");
	close(fd);
	return argv;
}

int main(int argc, char **argv)
{
	struct sock_filter allow = { BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW };
	struct sock_fprog program = { 1, &allow };

	(void)argc;
	argv++;
	need(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
	if (*argv && !strcmp(*argv, "-l"))
		argv = landlock(argv + 1);
	if (*argv && !strcmp(*argv, "-s")) {
		need(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), "seccomp");
		argv++;
	}
	need(*argv && !strcmp(*argv, "--") && argv[1], "--");
	execvp(argv[1], argv + 1);
	need(0, argv[1]);
}
