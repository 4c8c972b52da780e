// SPDX-License-Identifier: Apache-2.0
/* Using more than was given. "done" means that all of it was had at once. */
#include "attack.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* 0 = how many */
static int act_fork(char **a)
{
	long n = atol(a[0]), i;
	int saved = 0;
	pid_t *all = calloc((size_t)n, sizeof(*all));

	for (i = 0; i < n; i++) {
		all[i] = fork();
		if (all[i] == 0) {
			pause();
			_exit(0);
		}
		if (all[i] < 0) {
			saved = errno;
			break;
		}
	}
	for (long j = 0; j < i; j++)
		kill(all[j], SIGKILL);
	while (wait(NULL) > 0)
		;
	return saved ? denied(saved) : done("%ld processes", i);
}

static int act_zombies(char **a)
{
	long n = atol(a[0]);

	for (long i = 0; i < n; i++) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(0);
		if (pid < 0)
			return denied(errno);
	}
	return done("%ld zombies", n);
}

/* Children that leave the process group and session of who started them. */
static int act_daemons(char **a)
{
	int status;

	for (long i = 0; i < atol(a[0]); i++) {
		pid_t pid = fork();

		if (pid < 0)
			return denied(errno);
		if (pid == 0) {
			setsid();
			pid = fork();
			if (pid == 0)
				for (;;)
					pause();
			_exit(pid < 0);
		}
		waitpid(pid, &status, 0);
		if (status)
			return denied(EAGAIN);
	}
	return done("%s daemons", a[0]);
}

static void *sleeper(void *arg)
{
	(void)arg;
	for (;;)
		pause();
	return NULL;
}

static int act_threads(char **a)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 65536);
	for (long i = 0; i < atol(a[0]); i++) {
		int rc = pthread_create(&thread, &attr, sleeper, NULL);

		if (rc)
			return denied(rc);
	}
	return done("%s threads", a[0]);
}

/* Had, and kept for a while: a limit that is held by watching needs that. */
static int touch(char *at, size_t size)
{
	for (size_t i = 0; i < size; i += 4096)
		at[i] = 1;
	sleep(2);
	return done("%zu bytes", size);
}

static int act_memory(char **a)
{
	size_t size = strtoul(a[0], NULL, 10);
	char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return at == MAP_FAILED ? denied(errno) : touch(at, size);
}

/* Whoever watches may be our equal: take its descriptors away first. */
static int act_memory_blind(char **a)
{
	struct rlimit none = {0, 0};

	(void)prlimit(1, RLIMIT_NOFILE, &none, NULL); /* refused where it is not our equal */
	(void)setpriority(PRIO_PROCESS, 1, 19);
	(void)kill(1, SIGSTOP);
	return act_memory(a);
}

static int act_memfd(char **a)
{
	size_t size = strtoul(a[0], NULL, 10);
	int fd = memfd_create("bomb", 0);
	char *at;

	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		return denied(errno);
	at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return at == MAP_FAILED ? denied(errno) : touch(at, size);
}

/* Each process is small; together they are not. 0 = bytes each, 1 = how many */
static int act_memory_family(char **a)
{
	enum { MAX = 64 };
	size_t size = strtoul(a[0], NULL, 10);
	int n = atoi(a[1]), ends[MAX][2], had = 0;

	for (int i = 0; i < n && i < MAX; i++) {
		pid_t pid;

		/* A pipe for each: its end tells of a child that was killed. */
		if (pipe2(ends[i], O_CLOEXEC) < 0)
			return broken("pipe");
		pid = fork();
		if (pid < 0)
			return denied(errno);
		if (pid == 0) {
			char *at = mmap(NULL, size, PROT_READ | PROT_WRITE,
					MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			if (at == MAP_FAILED)
				_exit(1);
			for (size_t j = 0; j < size; j += 4096)
				at[j] = 1;
			(void)!write(ends[i][1], "x", 1);
			for (;;)
				pause();
		}
		close(ends[i][1]);
	}
	for (int i = 0; i < n; i++) {
		char byte;

		had += read(ends[i][0], &byte, 1) == 1;
	}
	if (had < n)
		return denied(ENOMEM);
	sleep(2);
	for (int i = 0; i < n; i++) {
		char byte;

		fcntl(ends[i][0], F_SETFL, O_NONBLOCK);
		if (read(ends[i][0], &byte, 1) == 0)
			return denied(ENOMEM); /* killed after all */
	}
	return done("%d times %zu bytes", n, size);
}

/* 0 = path, 1 = bytes */
static int act_file(char **a)
{
	static char block[65536];
	size_t left = strtoul(a[1], NULL, 10);
	int fd = open(a[0], O_CREAT | O_WRONLY | O_TRUNC, 0600);

	signal(SIGXFSZ, SIG_IGN);
	if (fd < 0)
		return broken(a[0]);
	memset(block, 'x', sizeof(block));
	while (left) {
		ssize_t n = write(fd, block, left < sizeof(block) ? left : sizeof(block));

		if (n < 0)
			return denied(errno);
		left -= (size_t)n;
	}
	return done("%s bytes", a[1]);
}

/* 0 = directory, 1 = how many files */
static int act_inodes(char **a)
{
	char name[4200];

	for (long i = 0; i < atol(a[1]); i++) {
		int fd;

		snprintf(name, sizeof(name), "%s/%ld", a[0], i);
		fd = open(name, O_CREAT | O_WRONLY, 0600);
		if (fd < 0)
			return denied(errno);
		close(fd);
	}
	return done("%s files", a[1]);
}

static int act_descriptors(char **a)
{
	for (long i = 0; i < atol(a[0]); i++)
		if (dup(0) < 0)
			return denied(errno);
	return done("%s descriptors", a[0]);
}

static int act_raise_descriptors(char **a)
{
	struct rlimit limit = {(rlim_t)atol(a[0]) + 16, (rlim_t)atol(a[0]) + 16};

	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		return denied(errno);
	return act_descriptors(a);
}

/* 0 = milliseconds of CPU */
static int act_cpu(char **a)
{
	struct rusage usage;

	do {
		for (volatile int i = 0; i < 1000000; i++)
			;
		getrusage(RUSAGE_SELF, &usage);
	} while (usage.ru_utime.tv_sec * 1000 + usage.ru_utime.tv_usec / 1000 < atol(a[0]));
	return done("%s ms", a[0]);
}

/* Each process stays below a limit of its own. 0 = ms each, 1 = processes */
static int act_cpu_family(char **a)
{
	for (int i = 0; i < atoi(a[1]); i++) {
		pid_t pid = fork();
		int status;

		if (pid == 0)
			_exit(act_cpu(a));
		if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
			return denied(ECHILD);
	}
	return done("%s times %s ms", a[1], a[0]);
}

static const struct attack attacks[] = {
	{"fork", "limit", act_fork},
	{"zombies", "limit", act_zombies},
	{"daemons", "limit", act_daemons},
	{"threads", "limit", act_threads},
	{"memory", "limit", act_memory},
	{"memory_blind", "limit", act_memory_blind},
	{"memfd", "limit", act_memfd},
	{"memory_family", "limit", act_memory_family},
	{"file", "limit", act_file},
	{"inodes", "limit", act_inodes},
	{"descriptors", "limit", act_descriptors},
	{"raise_descriptors", "limit", act_raise_descriptors},
	{"cpu", "limit", act_cpu},
	{"cpu_family", "limit", act_cpu_family},
};
FAMILY(bomb, attacks);
