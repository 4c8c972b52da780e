// SPDX-License-Identifier: Apache-2.0
/*
 * become UID GID DIRECTORY FD... -- COMMAND...
 *
 * Runs a command as another caller somewhere else: enters the namespaces that the
 * descriptors stand for, in their order, goes to the directory, then gives up the groups
 * and takes the ids ("-" for both: stays who it is). Of a large program that starts many
 * others it costs less to start this one than to fork.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void die(const char *what)
{
	fprintf(stderr, "become: %s: %s\n", what, strerror(errno));
	exit(99);
}

int main(int argc, char **argv)
{
	int i = 4;

	for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
		int fd = atoi(argv[i]);

		if (setns(fd, 0) < 0)
			die("setns");
		close(fd);
	}
	if (i + 1 >= argc) {
		fputs("usage: become UID GID DIRECTORY FD... -- COMMAND...\n", stderr);
		return 99;
	}
	if (chdir(argv[3]) < 0)
		die(argv[3]);
	if (strcmp(argv[1], "-") != 0) {
		uid_t uid = (uid_t)strtoul(argv[1], NULL, 10);
		gid_t gid = (gid_t)strtoul(argv[2], NULL, 10);

		if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
			die("ids");
	}
	execvp(argv[i + 1], argv + i + 1);
	die(argv[i + 1]);
}
