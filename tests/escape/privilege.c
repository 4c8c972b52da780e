// SPDX-License-Identifier: Apache-2.0
/* Getting more than was given. */
#include "attack.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int act_setuid(char **a)
{
	/* Another id than ours: a privilege whichever one we have. */
	(void)a;
	return verdict(setresuid(getuid() + 1, getuid() + 1, getuid() + 1));
}

static int act_setgid(char **a)
{
	(void)a;
	return verdict(setresgid(getgid() + 1, getgid() + 1, getgid() + 1));
}

static int act_setgroups(char **a)
{
	gid_t none = 0;

	(void)a;
	return verdict(setgroups(0, &none));
}

static int act_capset(char **a)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {{1u << 21, 1u << 21, 0}, {0, 0, 0}};

	(void)a;
	return verdict(syscall(SYS_capset, &head, data));
}

/* Any capability in any set, bounding included. */
static int act_any_capability(char **a)
{
	char buf[8192];
	size_t len = 0;

	(void)a;
	if (slurp("/proc/self/status", buf, sizeof(buf) - 1, &len) < 0)
		return broken("/proc/self/status");
	buf[len] = '\0';
	for (char *line = strtok(buf, "\n"); line; line = strtok(NULL, "\n"))
		if (strncmp(line, "Cap", 3) == 0 && strtoull(line + 8, NULL, 16))
			return done("%s", line);
	return denied(EPERM);
}

static int act_ambient(char **a)
{
	(void)a;
	return verdict(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 21, 0, 0));
}

static int act_new_privs(char **a)
{
	(void)a;
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? denied(EPERM) : done("not set");
}

/* With no_new_privs a process always may; the bit must not grant anything. */
static int act_securebits(char **a)
{
	(void)a;
	return verdict(prctl(PR_SET_SECUREBITS, 0x10, 0, 0, 0));
}

static int act_nice(char **a)
{
	(void)a;
	return verdict(setpriority(PRIO_PROCESS, 0, -10));
}

static int act_realtime(char **a)
{
	struct sched_param param = {.sched_priority = 1};

	(void)a;
	return verdict(sched_setscheduler(0, SCHED_FIFO, &param));
}

static int act_rlimit_raise(char **a)
{
	struct rlimit limit;

	(void)a;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_max++;
	return verdict(setrlimit(RLIMIT_NOFILE, &limit));
}

static int act_oom_score(char **a)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY);

	(void)a;
	return verdict(fd < 0 ? -1 : write(fd, "-1000", 5));
}

static int act_sethostname(char **a)
{
	(void)a;
	return verdict(sethostname("immure-attack", 13));
}

static int act_setdomainname(char **a)
{
	(void)a;
	return verdict(setdomainname("immure-attack", 13));
}

static int act_uid_map(char **a)
{
	char text[64];
	int fd;

	(void)a;
	snprintf(text, sizeof(text), "0 %d 1\n", (int)getuid());
	if (unshare(CLONE_NEWUSER) < 0)
		return denied(errno);
	fd = open("/proc/self/uid_map", O_WRONLY);
	return verdict(fd < 0 ? -1 : write(fd, text, strlen(text)));
}

/* 0 = a directory of cgroups (any hierarchy) */
static int act_cgroup_mkdir(char **a)
{
	char name[4200];

	snprintf(name, sizeof(name), "%s/immure-attack", a[0]);
	return verdict(mkdir(name, 0755));
}

/* Leave the leaf for the directory named; 1 = "tasks" or "cgroup.procs". */
static int act_cgroup_move(char **a)
{
	char name[4200];
	int fd;

	snprintf(name, sizeof(name), "%s/%s", a[0], a[1]);
	fd = open(name, O_WRONLY);
	return verdict(fd < 0 ? -1 : write(fd, "0", 1));
}

static int act_setuid_program(char **a)
{
	/* 1 = a program owned by us: setuid must not stick to what others run.
	 * The bit itself may be set; that the file system ignores it is what is
	 * asked here. */
	char options[4096], *line, *end;
	size_t len = 0;

	if (slurp("/proc/self/mountinfo", options, sizeof(options) - 1, &len) < 0)
		return broken("mountinfo");
	options[len] = '\0';
	line = strstr(options, " / / ");
	end = line ? strchr(line, '\n') : NULL;
	(void)a;
	if (!line || !end)
		return broken("no root in mountinfo");
	*end = '\0';
	return strstr(line, "nosuid") ? denied(EPERM) : done("root is not nosuid");
}

static const struct attack attacks[] = {
	{"setuid", "caps2", act_setuid},
	{"setgid", "caps2", act_setgid},
	{"setgroups", "caps2", act_setgroups},
	{"capset", "caps", act_capset},
	{"any_capability", "caps", act_any_capability},
	{"ambient", "caps", act_ambient},
	{"new_privs", "nnp", act_new_privs},
	{"securebits", "caps", act_securebits},
	{"nice", "host", act_nice},
	{"realtime", "host", act_realtime},
	{"rlimit_raise", "host", act_rlimit_raise},
	{"oom_score", "host", act_oom_score},
	{"sethostname", "caps", act_sethostname},
	{"setdomainname", "caps", act_setdomainname},
	{"uid_map", "open", act_uid_map},
	{"cgroup_mkdir", "cgroup", act_cgroup_mkdir},
	{"cgroup_move", "cgroup", act_cgroup_move},
	{"setuid_program", "suid", act_setuid_program},
};
FAMILY(privilege, attacks);
