/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run_filtered PROFILE local|net CMD...: runs a program under a built-in filter
 * and nothing else, to find out whether the filter lets it live.
 */
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "kernel/seccomp.h"

int main(int argc, char **argv)
{
	const struct immure_filter *f;
	int r;

	if (argc < 4) {
		(void)fprintf(stderr, "usage: run_filtered PROFILE local|net CMD...\n");
		return 125;
	}
	f = immure_filter_builtin(argv[1], strcmp(argv[2], "local") == 0 ? IMMURE_FAMILIES_LOCAL
									 : IMMURE_FAMILIES_NET);
	if (!f) {
		(void)fprintf(stderr, "run_filtered: no such filter: %s\n", argv[1]);
		return 125;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
		perror("run_filtered: no_new_privs");
		return 125;
	}
	r = immure_filter_install(f, 0);
	if (r < 0) {
		(void)fprintf(stderr, "run_filtered: install: %s\n", strerror(-r));
		return 125;
	}
	(void)execvp(argv[3], argv + 3);
	perror(argv[3]);
	return 126;
}
