/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A keeper of a session that is killed at every step it takes, and gc after it:
 * nothing of it is left, wherever it was, and nothing of anybody else is touched.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "facts/facts.h"
#include "kernel/cgroup.h"
#include "kernel/cgtree.h"
#include "session/gc.h"
#include "session/journal.h"
#include "session/ticket.h"

static char top[64], place[96], state[96];
static struct immure_facts *facts;
static struct immure_gc gc;

static int setup(void **ctx)
{
	(void)ctx;
	/* In memory where that is possible, as the runtime directory is. */
	(void)snprintf(top, sizeof(top), "%s/immure-test-gc-XXXXXX",
		       access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	assert_non_null(mkdtemp(top));
	(void)snprintf(place, sizeof(place), "%s/run", top);
	(void)snprintf(state, sizeof(state), "%s/state", top);
	gc = (struct immure_gc){ .runtime_dir = place, .state_dir = state };
	assert_int_equal(immure_facts_gather(0, NULL, &facts, NULL), 0);
	/* What a killed keeper leaves becomes ours, so that it can be seen and reaped. */
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
	return 0;
}

static int teardown(void **ctx)
{
	char cmd[128];

	(void)ctx;
	immure_facts_destroy(facts);
	(void)snprintf(cmd, sizeof(cmd), "rm -rf %s", top);
	return system(cmd);
}

/* ---- the keeper ---- */

static int steps, die_at;

/* Between any two things that it does. */
static void step(void)
{
	if (++steps == die_at)
		(void)kill(getpid(), SIGKILL);
}

static void must(bool ok)
{
	if (!ok)
		_exit(9);
}

static const char *cgroup_parents(bool *ret_v2)
{
	static char text[1024];
	const struct immure_cgroup_facts *c = &facts->cgroup;

	*ret_v2 = c->kind == IMMURE_CGROUP_V2;
	if (c->kind == IMMURE_CGROUP_V2)
		return c->v2;
	if (c->kind != IMMURE_CGROUP_V1 || (!c->v1_memory && !c->v1_pids))
		return NULL;
	(void)snprintf(text, sizeof(text), "%s%s%s%s%s", c->v1_memory ? "memory=" : "",
		       c->v1_memory ? c->v1_memory : "", c->v1_memory && c->v1_pids ? ":" : "",
		       c->v1_pids ? "pids=" : "", c->v1_pids ? c->v1_pids : "");
	return text;
}

/* A process that nobody waits for and that dies of nothing by itself. Greedy: it
 * keeps all that its maker had open, the lock above all. */
static bool greedy;

static pid_t stray(const struct immure_cgroup *c)
{
	pid_t pid = fork();

	if (pid == 0) {
		(void)setsid();
		if (c && c->v2)
			must(immure_write_file_at(c->dir_fd[0], "cgroup.procs", "0") == 0);
		else if (c)
			must(immure_cgroup_join_self(c) == 0);
		if (!greedy)
			must(close_range(3, ~0U, 0) == 0);
		for (;;)
			(void)pause();
	}
	return pid;
}

static void note_process(struct immure_journal *j, uint64_t seq, enum immure_journal_kind kind, pid_t pid)
{
	struct immure_procid p;
	char text[64];

	must(immure_procid_of(pid, &p, NULL) == 0);
	(void)snprintf(text, sizeof(text), "pid=%d start=%llu", p.pid, (unsigned long long)p.start);
	must(immure_journal_result(j, kind, seq, 0, text) == 0);
}

static void note_inode(struct immure_journal *j, uint64_t seq, enum immure_journal_kind kind,
		       const char *path)
{
	struct stat st;
	char text[64];

	must(stat(path, &st) == 0);
	(void)snprintf(text, sizeof(text), "dev=%llu ino=%llu", (unsigned long long)st.st_dev,
		       (unsigned long long)st.st_ino);
	must(immure_journal_result(j, kind, seq, 0, text) == 0);
}

static struct immure_cgroup leaf;
static bool have_leaf;

static void make_leaf(struct immure_journal *j)
{
	uint64_t seq[IMMURE_CGROUP_DIRS];
	struct timespec t;
	char name[64];
	bool v2;
	const char *parents = cgroup_parents(&v2);

	if (!parents)
		return;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	(void)snprintf(name, sizeof(name), "immure-%d-%llx", (int)getpid(),
		       (unsigned long long)t.tv_sec * 1000000000U + (unsigned long long)t.tv_nsec);
	immure_cgroup_init(&leaf);
	must(immure_cgroup_name(&leaf, v2, parents, name) == 0);
	for (int i = 0; i < leaf.n; i++) {
		must(immure_journal_intent(j, IMMURE_JK_CGROUP, leaf.path[i], NULL, &seq[i]) == 0);
		step();
	}
	must(immure_cgroup_make(&leaf) == 0);
	have_leaf = true;
	step();
	for (int i = 0; i < leaf.n; i++) {
		must(immure_journal_result(j, IMMURE_JK_CGROUP, seq[i], 0, NULL) == 0);
		step();
	}
}

/* Makes one of everything, and takes it down again: returns when nothing is left. */
static void keep(void)
{
	struct immure_registry r = IMMURE_REGISTRY_INIT;
	struct immure_meta m = { .name = "kept" };
	struct immure_entry e = IMMURE_ENTRY_INIT;
	char file[160], dir[160], sub[200], ticket[IMMURE_TICKET_LEN + 1], left[64];
	struct immure_journal j;
	uint64_t s, init, f, d;
	pid_t pid;
	int fd;

	must(immure_registry_open(place, true, &r, NULL) == 0);
	step();
	must(immure_entry_create(&r, &m, &(struct immure_plan_file){ "PLAN", 4, -1 }, &e, NULL) == 0);
	step();
	must(immure_journal_create(e.dir_fd, &j) == 0);
	step();
	must(immure_journal_intent(&j, IMMURE_JK_SESSION, e.id, NULL, &s) == 0);
	step();
	make_leaf(&j);
	must(immure_journal_intent(&j, IMMURE_JK_FILE, (snprintf(file, sizeof(file), "%s/immure-file", top), file),
				   NULL, &f) == 0);
	step();
	fd = open(file, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	must(fd >= 0);
	step();
	note_inode(&j, f, IMMURE_JK_FILE, file);
	step();
	(void)snprintf(dir, sizeof(dir), "%s/immure-dir", top);
	must(immure_journal_intent(&j, IMMURE_JK_DIR, dir, NULL, &d) == 0);
	step();
	must(mkdir(dir, 0700) == 0);
	step();
	note_inode(&j, d, IMMURE_JK_DIR, dir);
	(void)snprintf(sub, sizeof(sub), "%s/x", dir);
	must(symlink("../../../etc", sub) == 0);
	step();
	must(immure_journal_intent(&j, IMMURE_JK_PROCESS, "helper", NULL, &init) == 0);
	step();
	pid = stray(have_leaf ? &leaf : NULL);
	note_process(&j, init, IMMURE_JK_PROCESS, pid);
	step();
	must(immure_ticket_issue(&e, &j, 0, ticket, NULL) == 0);
	step();
	must(immure_journal_result(&j, IMMURE_JK_SESSION, s, 0, NULL) == 0);
	step();
	/* and down */
	must(immure_journal_removing(&j, IMMURE_JK_PROCESS, init) == 0);
	step();
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	step();
	must(immure_journal_gone(&j, IMMURE_JK_PROCESS, init, NULL) == 0);
	step();
	must(unlink(file) == 0);
	step();
	must(immure_journal_gone(&j, IMMURE_JK_FILE, f, NULL) == 0);
	step();
	must(unlink(sub) == 0 && rmdir(dir) == 0);
	step();
	for (int i = 0; have_leaf && i < 1000 && immure_cgroup_remove(&leaf) < 0; i++)
		(void)usleep(1000);
	step();
	must(immure_entry_remove(&r, &e, left, sizeof(left)) == 0);
	step();
	_exit(0);
}

/* ---- what is left ---- */

static int entries_of(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int n = 0;

	if (!d)
		return 0;
	while ((e = readdir(d)))
		n += e->d_name[0] != '.';
	(void)closedir(d);
	return n;
}

static int our_leaf(void *ctx, const char *path)
{
	const char *name = strrchr(path, '/') + 1;
	uint64_t ns;
	int32_t pid;

	return immure_cgtree_name(name, &pid, &ns) && pid == *(pid_t *)ctx ? 1 : 0;
}

/* Children that were left to us: dead ones are reaped, a living one is a failure. */
static void nobody_lives(void)
{
	pid_t pid = 0;

	for (int i = 0; i < 1000; i++) {
		pid = waitpid(-1, NULL, WNOHANG);
		if (pid < 0)
			return;
		if (pid == 0)
			(void)usleep(1000);
	}
	fail_msg("a process is left");
}

static void nothing_left(pid_t keeper)
{
	char path[128];

	nobody_lives();
	(void)snprintf(path, sizeof(path), "%s/sessions", place);
	assert_int_equal(entries_of(path), 0);
	(void)snprintf(path, sizeof(path), "%s/names", place);
	assert_int_equal(entries_of(path), 0);
	assert_true(entries_of(top) <= 2); /* run, state */
	(void)snprintf(path, sizeof(path), "%s/immure-file", top);
	assert_int_equal(access(path, F_OK), -1);
	(void)snprintf(path, sizeof(path), "%s/immure-dir", top);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(immure_cgtree_each(our_leaf, &keeper), 0);
}

static void run_gc(struct immure_report *r)
{
	struct immure_error *err = NULL;

	memset(r, 0, sizeof(*r));
	if (immure_gc_run(&gc, r, &err) < 0)
		fail_msg("%s", immure_error_text(err));
}

static void at_every_step(void)
{
	int at, status = 0;

	for (at = 1; at < 200; at++) {
		struct immure_report r;
		pid_t pid = fork();

		if (pid == 0) {
			die_at = at;
			keep();
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
		run_gc(&r);
		assert_int_equal(r.count[IMMURE_FATE_FAILED], 0);
		assert_int_equal(r.repair_needed, 0);
		immure_report_done(&r);
		nothing_left(pid);
		run_gc(&r); /* again: finds nothing to do */
		assert_int_equal(r.count[IMMURE_FATE_REMOVED] + r.count[IMMURE_FATE_FAILED], 0);
		immure_report_done(&r);
		if (WIFEXITED(status))
			break;
	}
	assert_true(at > 20 && at < 200);
}

static void killed_at_every_step(void **ctx)
{
	(void)ctx;
	greedy = false;
	at_every_step();
}

static void the_lock_lives_on(void **ctx)
{
	(void)ctx;
	greedy = true;
	at_every_step();
	greedy = false;
}

/* The removal itself is killed, at each of its records and all over it. */
static void gc_killed_and_repeated(void **ctx)
{
	(void)ctx;
	for (unsigned int us = 0; us < 6000; us += 150) {
		struct immure_report r;
		int status;
		pid_t pid = fork(), cleaner;

		if (pid == 0) {
			die_at = 24;
			keep();
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		cleaner = fork();
		if (cleaner == 0) {
			(void)immure_gc_run(&gc, &r, NULL);
			_exit(0);
		}
		(void)usleep(us);
		(void)kill(cleaner, SIGKILL);
		assert_int_equal(waitpid(cleaner, &status, 0), cleaner);
		run_gc(&r);
		assert_int_equal(r.count[IMMURE_FATE_FAILED], 0);
		immure_report_done(&r);
		nothing_left(pid);
	}
}

/* ---- others are left alone ---- */

static void lock_text(const struct immure_entry *e, pid_t pid, uint64_t start, const char *boot)
{
	char text[200];
	int fd = openat(e->dir_fd, "lock", O_WRONLY | O_TRUNC | O_CLOEXEC);
	int n = snprintf(text, sizeof(text), "immure-owner 1\npid %d\nstart %llu\nboot %s\n", (int)pid,
			 (unsigned long long)start, boot);

	assert_int_equal(write(fd, text, (size_t)n), n);
	(void)close(fd);
}

static void numbers_do_not_fool_it(void **ctx)
{
	struct immure_registry r = IMMURE_REGISTRY_INIT;
	char text[64], boot[IMMURE_BOOT_ID_LEN + 1], other[IMMURE_BOOT_ID_LEN + 1];
	struct immure_procid p;
	pid_t innocent = stray(NULL);

	(void)ctx;
	assert_int_equal(immure_procid_of(innocent, &p, NULL), 0);
	assert_int_equal(immure_boot_id(boot), 0);
	memcpy(other, boot, sizeof(other));
	other[0] = other[0] == '0' ? '1' : '0';
	for (int i = 0; i < 2; i++) {
		/* 0: this boot, the number was given anew; 1: the same process by all
		 * appearances, but written down before the machine was started anew. */
		unsigned long long start = (unsigned long long)p.start - (i == 0);
		struct immure_meta m = { .name = "" };
		struct immure_entry e = IMMURE_ENTRY_INIT;
		struct immure_journal j;
		struct immure_report rep;
		uint64_t seq;

		assert_int_equal(immure_registry_open(place, true, &r, NULL), 0);
		assert_int_equal(immure_entry_create(&r, &m, &(struct immure_plan_file){ NULL, 0, -1 }, &e, NULL), 0);
		assert_int_equal(immure_journal_create(e.dir_fd, &j), 0);
		assert_int_equal(immure_journal_intent(&j, IMMURE_JK_INIT, "", NULL, &seq), 0);
		(void)snprintf(text, sizeof(text), "pid=%d start=%llu", (int)innocent, start);
		assert_int_equal(immure_journal_result(&j, IMMURE_JK_INIT, seq, 0, text), 0);
		lock_text(&e, innocent, start, i == 0 ? boot : other);
		immure_journal_done(&j);
		immure_entry_done(&e);
		immure_registry_done(&r);
		run_gc(&rep);
		assert_int_equal(rep.sessions, 1);
		assert_int_equal(rep.count[IMMURE_FATE_REMOVED], 1); /* the entry */
		immure_report_done(&rep);
		assert_int_equal(kill(innocent, 0), 0);
		assert_int_equal(waitpid(innocent, NULL, WNOHANG), 0);
	}
	(void)kill(innocent, SIGKILL);
	assert_int_equal(waitpid(innocent, NULL, 0), innocent);
}

static struct immure_entry dead_entry(struct immure_registry *r, struct immure_journal *j)
{
	struct immure_meta m = { .name = "" };
	struct immure_entry e = IMMURE_ENTRY_INIT;

	assert_int_equal(immure_registry_open(place, true, r, NULL), 0);
	assert_int_equal(immure_entry_create(r, &m, &(struct immure_plan_file){ NULL, 0, -1 }, &e, NULL), 0);
	assert_int_equal(immure_journal_create(e.dir_fd, j), 0);
	return e;
}

/* A journal is not a way to have anything deleted. */
static void names_do_not_fool_it(void **ctx)
{
	struct immure_registry r;
	struct immure_journal j;
	struct immure_entry e = dead_entry(&r, &j);
	char mine[128], link[128], below[160], cgroup[128];
	struct immure_report rep;
	uint64_t seq;

	(void)ctx;
	(void)snprintf(mine, sizeof(mine), "%s/mine", top);
	(void)snprintf(link, sizeof(link), "%s/link", top);
	(void)snprintf(below, sizeof(below), "%s/immure-x", link);
	(void)snprintf(cgroup, sizeof(cgroup), "%s/immure-1-1", top);
	assert_int_equal(mkdir(mine, 0700), 0);
	assert_int_equal(mkdir(cgroup, 0700), 0); /* a name of ours, but no cgroup */
	assert_int_equal(symlink(mine, link), 0);
	(void)snprintf(mine, sizeof(mine), "%s/mine/immure-x", top);
	assert_int_equal(mkdir(mine, 0700), 0);
	/* made by somebody else, or replaced since; through a link; no name of ours */
	assert_int_equal(immure_journal_intent(&j, IMMURE_JK_DIR, mine, NULL, &seq), 0);
	assert_int_equal(immure_journal_result(&j, IMMURE_JK_DIR, seq, 0, "dev=1 ino=2"), 0);
	assert_int_equal(immure_journal_intent(&j, IMMURE_JK_DIR, below, NULL, NULL), 0);
	(void)snprintf(mine, sizeof(mine), "%s/mine", top);
	assert_int_equal(immure_journal_intent(&j, IMMURE_JK_DIR, mine, NULL, NULL), 0);
	assert_int_equal(immure_journal_intent(&j, IMMURE_JK_CGROUP, cgroup, NULL, NULL), 0);
	assert_int_equal(immure_journal_intent(&j, IMMURE_JK_CGROUP, "/sys/fs/cgroup", NULL, NULL), 0);
	assert_int_equal(immure_journal_intent(&j, IMMURE_JK_FILE, "relative", NULL, NULL), 0);
	immure_journal_done(&j);
	immure_entry_done(&e);
	run_gc(&rep);
	assert_int_equal(rep.repair_needed, 1);
	immure_report_done(&rep);
	(void)snprintf(mine, sizeof(mine), "%s/mine/immure-x", top);
	assert_int_equal(access(mine, F_OK), 0);
	assert_int_equal(access(cgroup, F_OK), 0);
	immure_registry_done(&r);
}

static void living_ones_are_left_alone(void **ctx)
{
	struct immure_registry r;
	struct immure_journal j;
	struct immure_entry e = dead_entry(&r, &j), again;
	struct immure_report rep;

	(void)ctx;
	run_gc(&rep);
	assert_int_equal(rep.alive, 1);
	assert_int_equal(rep.sessions, 0);
	assert_int_equal(rep.count[IMMURE_FATE_REMOVED], 0);
	immure_report_done(&rep);
	gc.dry_run = true; /* says what it would do, and does not */
	immure_entry_done(&e);
	run_gc(&rep);
	assert_int_equal(rep.sessions, 1);
	assert_int_equal(rep.count[IMMURE_FATE_REMOVED], 1);
	immure_report_done(&rep);
	gc.dry_run = false;
	assert_int_equal(immure_entry_open(&r, e.id, &again), 0);
	immure_entry_done(&again);
	immure_journal_done(&j);
	immure_registry_done(&r);
}

/* The record of one that ended in order is kept, unless it left something. */
static void ended_in_order(void **ctx)
{
	struct immure_status status = { .state = "SEALED" };
	struct immure_registry r;
	struct immure_journal j;
	struct immure_entry e = dead_entry(&r, &j);
	struct immure_report rep;
	uint64_t seq;

	(void)ctx;
	assert_int_equal(immure_journal_intent(&j, IMMURE_JK_SESSION, e.id, NULL, &seq), 0);
	assert_int_equal(immure_entry_set_status(&e, &status), 0);
	immure_journal_done(&j);
	immure_entry_done(&e);
	run_gc(&rep);
	assert_int_equal(rep.ended, 1);
	assert_int_equal(rep.sessions + rep.count[IMMURE_FATE_REMOVED], 0);
	immure_report_done(&rep);
	gc.ended = true;
	run_gc(&rep);
	assert_int_equal(rep.sessions, 1);
	immure_report_done(&rep);
	gc.ended = false;
	immure_registry_done(&r);
	e = dead_entry(&r, &j);
	assert_int_equal(immure_journal_intent(&j, IMMURE_JK_CGROUP, "/sys/fs/cgroup/immure-1-1", NULL, &seq), 0);
	assert_int_equal(immure_entry_set_status(&e, &status), 0);
	immure_journal_done(&j);
	immure_entry_done(&e);
	run_gc(&rep);
	assert_int_equal(rep.sessions, 1);
	assert_int_equal(rep.ended, 0);
	immure_report_done(&rep);
	immure_registry_done(&r);
}

/* A journal that was changed is not obeyed past that point, and not forgotten. */
static void changed_journal(void **ctx)
{
	struct immure_registry r;
	struct immure_journal j;
	struct immure_entry e = dead_entry(&r, &j);
	struct immure_status status;
	struct immure_report rep;
	char path[128], id[IMMURE_ID_LEN + 1];

	(void)ctx;
	memcpy(id, e.id, sizeof(id));
	(void)snprintf(path, sizeof(path), "%s/immure-victim", top);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(immure_journal_note(&j, IMMURE_JK_STATE, "RUNNING", NULL), 0);
	assert_int_equal(pwrite(j.fd, "1 1 dir intent 0 ", 17, 0), 17); /* O_APPEND: at the end */
	assert_int_equal(write(j.fd, path, strlen(path)), (ssize_t)strlen(path));
	assert_int_equal(write(j.fd, " - 00000000000000000000000000000000\n", 36), 36);
	immure_journal_done(&j);
	immure_entry_done(&e);
	run_gc(&rep);
	assert_int_equal(rep.repair_needed, 1);
	assert_int_equal(rep.count[IMMURE_FATE_FAILED], 1);
	immure_report_done(&rep);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(immure_entry_open(&r, id, &e), 0);
	assert_int_equal(immure_entry_status(&e, &status), 0);
	assert_string_equal(status.state, "REPAIR_NEEDED");
	immure_entry_done(&e);
	gc.force = true;
	run_gc(&rep);
	assert_int_equal(rep.repair_needed, 0);
	immure_report_done(&rep);
	gc.force = false;
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(immure_entry_open(&r, id, &e), -ENOENT);
	immure_registry_done(&r);
}

static pid_t hundred[100];

/* Others have theirs on this machine. */
static int one_of_ours(void *ctx, const char *path)
{
	const char *name = strrchr(path, '/');
	uint64_t ns;
	int32_t pid;

	for (int i = 0; name && immure_cgtree_name(name + 1, &pid, &ns) && i < 100; i++)
		*(int *)ctx += hundred[i] == pid;
	return 0;
}

/* A hundred dead ones, with a process and a cgroup each. */
static void a_hundred(void **ctx)
{
	struct immure_report rep;
	int status, left = 0;
	bool v2;

	(void)ctx;
	for (int i = 0; i < 100; i++) {
		pid_t pid = hundred[i] = fork();

		if (pid == 0) {
			struct immure_registry r;
			struct immure_journal j;
			struct immure_entry e = dead_entry(&r, &j);
			uint64_t seq;

			make_leaf(&j);
			must(immure_journal_intent(&j, IMMURE_JK_PROCESS, "helper", NULL, &seq) == 0);
			note_process(&j, seq, IMMURE_JK_PROCESS, stray(have_leaf ? &leaf : NULL));
			immure_entry_done(&e);
			(void)kill(getpid(), SIGKILL);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
	}
	(void)immure_cgtree_each(one_of_ours, &left);
	assert_true(left >= 100 || !cgroup_parents(&v2)); /* seen, where there are any */
	left = 0;
	run_gc(&rep);
	assert_int_equal(rep.sessions, 100);
	assert_int_equal(rep.count[IMMURE_FATE_FAILED], 0);
	assert_true(rep.count[IMMURE_FATE_REMOVED] >= 200);
	print_message("100 dead sessions: %llu us\n", (unsigned long long)rep.wall_us);
	immure_report_done(&rep);
	nobody_lives();
	(void)immure_cgtree_each(one_of_ours, &left);
	assert_int_equal(left, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(killed_at_every_step, setup, teardown),
		cmocka_unit_test_setup_teardown(the_lock_lives_on, setup, teardown),
		cmocka_unit_test_setup_teardown(gc_killed_and_repeated, setup, teardown),
		cmocka_unit_test_setup_teardown(numbers_do_not_fool_it, setup, teardown),
		cmocka_unit_test_setup_teardown(names_do_not_fool_it, setup, teardown),
		cmocka_unit_test_setup_teardown(living_ones_are_left_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(ended_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(changed_journal, setup, teardown),
		cmocka_unit_test_setup_teardown(a_hundred, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
