// SPDX-License-Identifier: Apache-2.0
/*
 * attack FAMILY.NAME ARG...
 *
 * Every act is real. So nothing happens in the initial pid namespace: the
 * program proves to itself that it is somewhere disposable before it looks at
 * its arguments. The act runs in a child, because a filter may answer by
 * killing and that is an answer to be told apart from a crash.
 */
#include "attack.h"

#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct family *const families[] = {
	&family_path,    &family_fs,        &family_process, &family_net, &family_kernel,
	&family_privilege, &family_leak, &family_bomb,    &family_ipc,
};

#define FAMILIES_N (sizeof(families) / sizeof(families[0]))

int done(const char *format, ...)
{
	va_list ap;

	fputs("done ", stdout);
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	putchar('\n');
	return ACT_DONE;
}

int denied(int errnum)
{
	const char *name = strerrorname_np(errnum);

	printf("denied %s\n", name ? name : "?");
	return ACT_DENIED;
}

int not_applicable(const char *why)
{
	printf("not applicable: %s\n", why);
	return ACT_NA;
}

int broken(const char *what)
{
	printf("broken: %s: %s\n", what, strerror(errno));
	return ACT_BROKEN;
}

int verdict(long rc)
{
	return rc < 0 ? denied(errno) : done("%ld", rc);
}

int reached(long rc)
{
	if (rc >= 0)
		return done("returned %ld", rc);
	if (errno == EPERM || errno == ENOSYS || errno == EACCES)
		return denied(errno);
	return done("reached: %s", strerrorname_np(errno));
}

int slurp(const char *path, char *buf, size_t size, size_t *ret_len)
{
	size_t len = 0;
	ssize_t n = 1;
	int saved = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -errno;
	while (len < size && (n = read(fd, buf + len, size - len)) > 0)
		len += (size_t)n;
	if (n < 0)
		saved = errno;
	close(fd);
	*ret_len = len;
	return len ? 0 : -saved;
}

const char *parent_of(const char *path, char *buf, size_t size)
{
	char *copy = strdup(path);

	if (!copy)
		abort();
	snprintf(buf, size, "%s", dirname(copy));
	free(copy);
	return buf;
}

/* The inode number of the initial pid namespace is part of the kernel's ABI. */
static int disposable(void)
{
	char link[64];
	ssize_t n = readlink("/proc/self/ns/pid", link, sizeof(link) - 1);

	if (n < 0)
		return 0;
	link[n] = '\0';
	return strcmp(link, "pid:[4026531836]") != 0;
}

static const struct attack *find(const char *name)
{
	for (size_t i = 0; i < FAMILIES_N; i++) {
		size_t len = strlen(families[i]->name);

		if (strncmp(name, families[i]->name, len) != 0 || name[len] != '.')
			continue;
		for (size_t j = 0; j < families[i]->n; j++)
			if (strcmp(name + len + 1, families[i]->attacks[j].name) == 0)
				return &families[i]->attacks[j];
	}
	return NULL;
}

static int list(void)
{
	for (size_t i = 0; i < FAMILIES_N; i++)
		for (size_t j = 0; j < families[i]->n; j++)
			printf("%s.%s %s\n", families[i]->name, families[i]->attacks[j].name,
			       families[i]->attacks[j].tags);
	return 0;
}

/* Enough of each: absent arguments are empty strings, so that no act needs to
 * count. */
static char **padded(int argc, char **argv)
{
	char **all = calloc((size_t)argc + 9, sizeof(*all));

	if (!all)
		abort();
	for (int i = 0; i < argc + 8; i++)
		all[i] = i < argc ? argv[i] : strdup("");
	return all;
}

int main(int argc, char **argv)
{
	const struct attack *attack;
	int status;
	pid_t pid;

	if (argc == 2 && strcmp(argv[1], "--list") == 0)
		return list();
	if (!disposable()) {
		fputs("attack: this is the initial pid namespace: nothing tried\n", stderr);
		return ACT_UNSAFE;
	}
	attack = argc > 1 ? find(argv[1]) : NULL;
	if (!attack) {
		fputs("attack: no such attack\n", stderr);
		return ACT_BROKEN;
	}
	pid = fork();
	if (pid < 0)
		return broken("fork");
	if (pid == 0) {
		int rc = attack->act(padded(argc - 2, argv + 2));

		fflush(stdout);
		_exit(rc);
	}
	if (waitpid(pid, &status, 0) < 0)
		return broken("waitpid");
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	if (WTERMSIG(status) == SIGSYS) {
		puts("denied SIGSYS");
		return ACT_DENIED;
	}
	printf("broken: died of signal %d\n", WTERMSIG(status));
	return ACT_BROKEN;
}
