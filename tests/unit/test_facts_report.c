/* SPDX-License-Identifier: Apache-2.0 */
/* Reports from made-up facts, and full probes of this host: whatever the
 * answers are, they must fit together and leave nothing behind. */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "facts/internal.h"
#include "facts/probe.h"
#include "facts/report.h"

static const struct immure_backend_report *native(const struct immure_facts *f,
						  struct immure_arena *a)
{
	struct immure_backend_report *r;

	assert_true(immure_reports(f, a, &r) > 0);
	assert_string_equal(r[0].backend, "native");
	return &r[0];
}

static void assert_nothing_enforced(const struct immure_backend_report *r)
{
	for (int d = 0; d < IMMURE_DIM_MAX; d++) {
		assert_int_equal(r->dims[d].level, IMMURE_LEVEL_NONE);
		assert_int_equal(r->dims[d].evidence, IMMURE_EVIDENCE_NONE);
	}
	assert_int_equal(r->capabilities, 0);
}

static struct immure_facts good(void)
{
	return (struct immure_facts){
		.full = true, .landlock_abi = 7, .userns = IMMURE_YES, .userns_mount = IMMURE_YES,
		.userns_proc = IMMURE_YES, .netns = IMMURE_YES, .seccomp = IMMURE_YES,
		.cgroup = { .kind = IMMURE_CGROUP_V2, .v2 = "/x", .memory = true, .pids = true },
	};
}

static void names(void **state)
{
	(void)state;
	assert_int_equal(immure_capability_names_n, 19);
	for (size_t i = 0; i < immure_capability_names_n; i++)
		assert_non_null(immure_capability_names[i]);
	assert_string_equal(immure_capability_names[IMMURE_CAP_NO_NETWORK_GUARANTEE],
			    "no_network_guarantee");
	for (int d = 0; d < IMMURE_DIM_MAX; d++)
		assert_string_not_equal(immure_dimension_name(d), "?");
	assert_string_equal(immure_dimension_name(IMMURE_DIM_MAX), "?");
}

static void all_work(void **state)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_facts f = good();
	const struct immure_backend_report *r = native(&f, &a);

	(void)state;
	assert_int_equal(r->available, IMMURE_YES);
	for (int d = 0; d < IMMURE_DIM_MAX; d++) {
		assert_int_equal(r->dims[d].level, IMMURE_LEVEL_ENFORCED);
		assert_int_equal(r->dims[d].evidence, IMMURE_EVIDENCE_PROBED);
		assert_non_null(r->dims[d].mechanism);
	}
	assert_true(r->capabilities & 1u << IMMURE_CAP_NO_NETWORK_GUARANTEE);
	assert_true(r->capabilities & 1u << IMMURE_CAP_EGRESS_ALLOWLIST);
	immure_arena_done(&a);
}

static void untried_is_configured(void **state)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_facts f = { .landlock_abi = 3, .seccomp = IMMURE_YES };
	const struct immure_backend_report *r = native(&f, &a);

	(void)state;
	assert_int_equal(r->available, IMMURE_UNTRIED);
	assert_int_equal(r->dims[IMMURE_DIM_FILE_WRITE].level, IMMURE_LEVEL_ENFORCED);
	assert_int_equal(r->dims[IMMURE_DIM_FILE_WRITE].evidence, IMMURE_EVIDENCE_CONFIGURED);
	assert_int_equal(r->dims[IMMURE_DIM_RESOURCES].level, IMMURE_LEVEL_ADVISORY);
	immure_arena_done(&a);
}

/* Each missing necessity takes native away; nothing may stay enforced. */
static void necessities(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		struct immure_arena a = IMMURE_ARENA_INIT;
		struct immure_facts f = good();
		enum immure_tri *needs[] = { &f.userns, &f.userns_mount, &f.userns_proc, &f.seccomp };
		struct immure_fact row = { "userns_mount", IMMURE_NO, EPERM, "why", "do this" };
		const struct immure_backend_report *r;

		*needs[i] = IMMURE_NO;
		f.all = &row;
		f.all_n = 1;
		r = native(&f, &a);
		assert_int_equal(r->available, IMMURE_NO);
		assert_nothing_enforced(r);
		assert_string_equal(r->why, "userns_mount: why");
		assert_string_equal(r->remedy, "do this");
		immure_arena_done(&a);
	}
}

static void without_netns(void **state)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_facts f = good();
	const struct immure_backend_report *r;

	(void)state;
	f.netns = IMMURE_NO;
	r = native(&f, &a);
	assert_int_equal(r->available, IMMURE_YES);
	assert_int_equal(r->dims[IMMURE_DIM_NETWORK_EGRESS].level, IMMURE_LEVEL_NONE);
	assert_int_equal(r->dims[IMMURE_DIM_NETWORK_INGRESS].level, IMMURE_LEVEL_NONE);
	assert_false(r->capabilities & 1u << IMMURE_CAP_NO_NETWORK_GUARANTEE);
	immure_arena_done(&a);
}

static void others_are_not_built(void **state)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_facts f = good();
	struct immure_backend_report *r;
	size_t n = immure_reports(&f, &a, &r);

	(void)state;
	assert_int_equal(n, 10);
	for (size_t i = 1; i < n; i++) {
		bool elsewhere = strstr("seatbelt vz wsl2 remote", r[i].backend) != NULL;

		if (strcmp(r[i].backend, "landlock") == 0)
			continue;
		assert_int_equal(r[i].available, IMMURE_NO);
		assert_nothing_enforced(&r[i]);
		if (strcmp(r[i].backend, "bwrap") == 0) /* it was not looked for */
			assert_string_equal(r[i].why, "was not looked for");
		else if (elsewhere)
			assert_memory_equal(r[i].why, "unsupported here: ", 18);
		else
			assert_memory_equal(r[i].why, "not built in this version", 25);
	}
	immure_arena_done(&a);
}

static const struct immure_backend_report *landlock(struct immure_facts *f, struct immure_arena *a)
{
	struct immure_backend_report *r;
	size_t n = immure_reports(f, a, &r);

	for (size_t i = 0; i < n; i++)
		if (strcmp(r[i].backend, "landlock") == 0)
			return &r[i];
	fail();
	return NULL;
}

/* Needs no namespace; says what it lacks; each version of Landlock adds to it. */
static void landlock_alone(void **state)
{
	(void)state;
	for (int abi = -1; abi <= 7; abi++) {
		struct immure_arena a = IMMURE_ARENA_INIT;
		struct immure_facts f = good();
		const struct immure_backend_report *r;

		f.userns = f.userns_mount = f.userns_proc = f.netns = IMMURE_NO;
		f.landlock_abi = abi < 0 ? 0 : abi;
		r = landlock(&f, &a);
		if (abi <= 0) {
			assert_int_equal(r->available, IMMURE_NO);
			assert_nothing_enforced(r);
			assert_true(*r->remedy);
			immure_arena_done(&a);
			continue;
		}
		assert_int_equal(r->available, IMMURE_YES);
		assert_int_equal(r->dims[IMMURE_DIM_FILE_WRITE].level, IMMURE_LEVEL_ENFORCED);
		assert_int_equal(r->dims[IMMURE_DIM_NETWORK_EGRESS].level, IMMURE_LEVEL_ENFORCED);
		assert_int_equal(r->dims[IMMURE_DIM_PROCESS_VISIBILITY].level, IMMURE_LEVEL_NONE);
		assert_int_equal(r->dims[IMMURE_DIM_SIGNALS].level,
				 abi < 6 ? IMMURE_LEVEL_NONE : IMMURE_LEVEL_ENFORCED);
		assert_int_equal(!!(r->capabilities & 1u << IMMURE_CAP_CLEANUP), abi >= 6);
		assert_false(r->capabilities & 1u << IMMURE_CAP_MOUNT_READ_ONLY_ENFORCEMENT);
		f.seccomp = IMMURE_NO;
		assert_int_equal(landlock(&f, &a)->available, IMMURE_NO);
		immure_arena_done(&a);
	}
}

static const struct immure_backend_report *bwrap(const struct immure_facts *f,
						 struct immure_arena *a)
{
	struct immure_backend_report *r = NULL;
	size_t n = immure_reports(f, a, &r);

	for (size_t i = 0; i < n; i++)
		if (strcmp(r[i].backend, "bwrap") == 0)
			return &r[i];
	fail();
	return NULL;
}

/* One answer for all that bubblewrap makes, and what our init inside needs besides. */
static void bubblewrap(void **state)
{
	static const char *const needs[] = { "bwrap", "seccomp", "openat2", "close_range" };
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_facts f = good();
	const struct immure_backend_report *r;

	(void)state;
	f.bwrap = IMMURE_YES;
	f.bwrap_path = "/usr/bin/bwrap";
	/* what this process itself may do does not count */
	f.userns = f.userns_mount = f.userns_proc = f.netns = IMMURE_NO;
	r = bwrap(&f, &a);
	assert_int_equal(r->available, IMMURE_YES);
	for (int d = 0; d < IMMURE_DIM_MAX; d++)
		assert_int_equal(r->dims[d].level, IMMURE_LEVEL_ENFORCED);
	for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++) {
		struct immure_fact row = { needs[i], IMMURE_NO, EPERM, "why", "do this" };

		f.all = &row;
		f.all_n = 1;
		r = bwrap(&f, &a);
		assert_int_equal(r->available, IMMURE_NO);
		assert_nothing_enforced(r);
		assert_non_null(strstr(r->why, needs[i]));
		assert_string_equal(r->remedy, "do this");
	}
	immure_arena_done(&a);
}

/* Who may be executed as bubblewrap. */
static void fit(void **state)
{
	static const struct {
		mode_t mode;
		uid_t uid;
		uint32_t euid;
		bool ok;
	} t[] = {
		{ S_IFREG | 0755, 0, 1000, true },     { S_IFREG | 0755, 0, 0, true },
		{ S_IFREG | 04755, 0, 1000, false },   { S_IFREG | 02755, 0, 1000, false },
		{ S_IFREG | 0775, 0, 1000, false },    { S_IFREG | 0757, 0, 1000, false },
		{ S_IFREG | 0755, 1000, 1000, false }, { S_IFREG | 0755, 1000, 0, false },
		{ S_IFLNK | 0777, 0, 1000, false },    { S_IFDIR | 0755, 0, 1000, false },
		{ S_IFREG | 0755, 65534, 1000, true }, { S_IFREG | 0755, 65534, 65534, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct stat st = { .st_mode = t[i].mode, .st_uid = t[i].uid };

		if ((immure_bwrap_unfit(&st, t[i].euid) == NULL) != t[i].ok)
			fail_msg("%zu", i);
	}
}

/* The narrow remedy for each cause; the host's switch never first. */
static void remedies(void **state)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	const struct immure_outcome eperm = { .ok = IMMURE_NO, .errnum = EPERM, .step = "unshare user namespace" };
	const struct immure_outcome none = { .ok = IMMURE_NO, .errnum = EACCES, .step = "x" };
	const struct immure_outcome absent = { .ok = IMMURE_NO, .step = "not installed" };
	const struct immure_outcome yes = { .ok = IMMURE_YES };
	struct immure_facts f = { .uid = 1000, .user = "alice" };
	struct immure_surroundings s = { .userns_clone = -1, .max_userns = 100, .apparmor_userns = 1,
					 .yama = -1 };

	(void)state;
	assert_string_equal(immure_remedy("userns", &yes, &s, &f, &a), "");
	assert_non_null(strstr(immure_remedy("userns_proc", &eperm, &s, &f, &a), "AppArmor profile"));
	/* A namespace without capabilities: nothing can be mounted, /proc is not the reason. */
	s.no_mounts = true;
	assert_non_null(strstr(immure_remedy("userns_proc", &none, &s, &f, &a), "AppArmor profile"));
	assert_non_null(strstr(immure_remedy("bwrap_net", &none, &s, &f, &a), "AppArmor profile"));
	s.no_mounts = false;
	assert_non_null(strstr(immure_remedy("userns_proc", &none, &s, &f, &a), "partly covered"));
	assert_string_equal(immure_remedy("bwrap_net", &absent, &s, &f, &a), "");
	s.filtered = true;
	assert_non_null(strstr(immure_remedy("userns", &eperm, &s, &f, &a), "another sandbox"));
	s.container = "docker";
	assert_non_null(strstr(immure_remedy("userns", &eperm, &s, &f, &a), "this container's"));
	s = (struct immure_surroundings){ .userns_clone = 0, .apparmor_userns = -1, .max_userns = 9 };
	assert_memory_equal(immure_remedy("userns", &eperm, &s, &f, &a), "run immure as root", 18);
	s.systemd = true;
	assert_non_null(strstr(immure_remedy("cgroup_memory", &none, &s, &f, &a),
			       "loginctl enable-linger"));
	assert_non_null(strstr(immure_remedy("kvm", &none, &s, &f, &a), "usermod -aG kvm alice"));
	immure_arena_done(&a);
}

static size_t count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static const struct immure_fact *row(const struct immure_facts *f, const char *name)
{
	for (size_t i = 0; i < f->all_n; i++)
		if (strcmp(f->all[i].name, name) == 0)
			return &f->all[i];
	fail_msg("no fact %s", name);
	return NULL;
}

static void full(void **state)
{
	size_t before = count_fds();
	struct immure_facts *f;
	char *text, *json;

	(void)state;
	assert_int_equal(immure_facts_gather(IMMURE_FACTS_FULL, NULL, &f, NULL), 0);
	assert_true(f->full);
	for (size_t i = 0; i < f->all_n; i++) {
		assert_int_not_equal(f->all[i].ok, IMMURE_UNTRIED);
		assert_non_null(f->all[i].detail);
		assert_non_null(f->all[i].remedy);
	}
	assert_int_equal(f->userns, row(f, "userns")->ok);
	assert_int_equal(f->landlock_abi > 0, row(f, "landlock")->ok == IMMURE_YES);
	assert_int_equal(f->cgroup.memory, row(f, "cgroup_memory")->ok == IMMURE_YES);
	if (f->userns == IMMURE_NO) /* a namespace that is not there holds no mount */
		assert_int_equal(f->userns_mount, IMMURE_NO);
	text = immure_facts_text(f);
	json = immure_facts_json(f);
	assert_non_null(text);
	assert_non_null(json);
	free(text);
	free(json);
	immure_facts_destroy(f);
	/* No child is left, not even one that sends no signal; no descriptor. */
	assert_int_equal(waitpid(-1, NULL, __WALL | WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	assert_int_equal(count_fds(), before);
}

/* The caller's own namespaces, filters and privileges are as they were. */
static void full_changes_nothing(void **state)
{
	static const char *const links[] = { "user", "mnt", "net", "pid", "ipc", "uts", "cgroup",
					     "pid_for_children", "time_for_children" };
	char was[9][64] = { 0 }, is[64], path[64];
	struct immure_facts *f;

	(void)state;
	for (size_t i = 0; i < 9; i++) {
		(void)snprintf(path, sizeof(path), "/proc/self/ns/%s", links[i]);
		assert_true(readlink(path, was[i], 63) > 0 || errno == ENOENT);
	}
	assert_int_equal(immure_facts_gather(IMMURE_FACTS_FULL, NULL, &f, NULL), 0);
	immure_facts_destroy(f);
	for (size_t i = 0; i < 9; i++) {
		memset(is, 0, sizeof(is));
		(void)snprintf(path, sizeof(path), "/proc/self/ns/%s", links[i]);
		assert_true(readlink(path, is, 63) > 0 || errno == ENOENT);
		assert_string_equal(is, was[i]);
	}
}

static void hang(const struct immure_facts *f, struct immure_outcome *o)
{
	(void)f;
	(void)o;
	for (;;)
		pause();
}

/* A child that does not end is killed, and its end is waited for. */
static void child_deadline(void **state)
{
	int pidfd = -1, status = 0, pid = immure_child_start(&pidfd);

	(void)state;
	if (pid == 0) {
		hang(NULL, NULL);
		_exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(immure_child_wait(pid, &pidfd, 10, &status), -ETIMEDOUT);
	assert_int_equal(pidfd, -1);
	assert_int_equal(waitpid(-1, NULL, __WALL | WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

/* What a killed child leaves is ended as well. */
static void child_orphans(void **state)
{
	int pidfd = -1, status = 0, ready[2], pid;
	char c;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	pid = immure_child_start(&pidfd);
	if (pid == 0) {
		immure_child_adopt();
		if (immure_child_start(&pidfd) == 0) {
			for (int i = 0; i < 3; i++)
				if (fork() == 0)
					hang(NULL, NULL);
			_exit(write(ready[1], "x", 1) == 1 ? 0 : 1);
		}
		if (read(ready[0], &c, 1) != 1)
			_exit(1);
		immure_child_end_all();
		_exit(waitpid(-1, NULL, __WALL | WNOHANG) == -1 && errno == ECHILD ? 0 : 2);
	}
	assert_true(pid > 0);
	assert_int_equal(immure_child_wait(pid, &pidfd, 20000, &status), 0);
	assert_int_equal(status, 0);
	(void)close(ready[0]);
	(void)close(ready[1]);
}

static void wsl_kinds(void **state)
{
	struct immure_surroundings s = { .wsl = 2, .yama = -1 };
	struct immure_arena a = IMMURE_ARENA_INIT;

	(void)state;
	assert_int_equal(immure_wsl_kind("4.4.0-19041-Microsoft"), 1);
	assert_int_equal(immure_wsl_kind("5.15.90.1-microsoft-standard-WSL2"), 2);
	assert_int_equal(immure_wsl_kind("6.1.0-18-amd64"), 0);
	assert_int_equal(immure_wsl_kind(NULL), 0);
	assert_string_equal(immure_surroundings_text(&s, &a), "WSL 2");
	immure_arena_done(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(all_work),
		cmocka_unit_test(untried_is_configured),
		cmocka_unit_test(necessities),
		cmocka_unit_test(without_netns),
		cmocka_unit_test(others_are_not_built), cmocka_unit_test(landlock_alone),
		cmocka_unit_test(bubblewrap), cmocka_unit_test(fit),
		cmocka_unit_test(remedies), cmocka_unit_test(wsl_kinds),
		cmocka_unit_test(full),
		cmocka_unit_test(full_changes_nothing),
		cmocka_unit_test(child_deadline), cmocka_unit_test(child_orphans),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
