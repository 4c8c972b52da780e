/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
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

#include "base/fd.h"
#include "session/fields.h"
#include "session/registry.h"

static char top[64], place[80];
static struct immure_registry reg;

static int setup(void **state)
{
	(void)state;
	memcpy(top, "/tmp/immure-test-registry-XXXXXX", 33);
	assert_non_null(mkdtemp(top));
	(void)snprintf(place, sizeof(place), "%s/run", top);
	assert_int_equal(immure_registry_open(place, true, &reg, NULL), 0);
	return 0;
}

static int teardown(void **state)
{
	char cmd[128];

	(void)state;
	immure_registry_done(&reg);
	(void)snprintf(cmd, sizeof(cmd), "rm -rf %s", top);
	return system(cmd);
}

static struct immure_entry make(const char *name)
{
	struct immure_meta m = { .lifetime = IMMURE_LIFETIME_DETACHED };
	struct immure_entry e = IMMURE_ENTRY_INIT;

	(void)snprintf(m.name, sizeof(m.name), "%s", name);
	assert_int_equal(immure_entry_create(&reg, &m, &(struct immure_plan_file){ "PLAN", 4, -1 }, &e, NULL), 0);
	return e;
}

static int count(void *ctx, const char *id, bool half_made)
{
	int *n = ctx;

	assert_true(immure_id_valid(id));
	n[half_made]++;
	return 0;
}

static void charset(void **state)
{
	static const char *const bad_names[] = {
		"", ".", "..", "../x", "a/b", "1a", "-a", "_a", "a b", "a\nb", "a\x01", "\xc3\xa4", "a%",
		"a\x7f", "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggg",
	};
	static const char *const bad_ids[] = {
		"", "2", "a234567234567234", "8aaaaaaaaaaaaaaa", "2AAAAAAAAAAAAAAA",
		"2aaaaaaaaaaaaaa/", "2aaaaaaaaaaaaaaaa", "2aaaaaaaaaaaaaa", "2aaaaaaaaaaaaaa\n",
		"../aaaaaaaaaaaaa", "1aaaaaaaaaaaaaaa",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad_names) / sizeof(bad_names[0]); i++)
		assert_false(immure_name_valid(bad_names[i]));
	for (size_t i = 0; i < sizeof(bad_ids) / sizeof(bad_ids[0]); i++)
		assert_false(immure_id_valid(bad_ids[i]));
	assert_true(immure_name_valid("a"));
	assert_true(immure_name_valid("Build-1.x_y"));
	assert_true(immure_name_valid("aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg"));
	assert_true(immure_id_valid("2aaaaaaaaaaaaaaa"));
	/* No name is an id: what is looked up is never two things. */
	assert_false(immure_name_valid("2aaaaaaaaaaaaaaa"));
	assert_true(immure_label_valid("k", ""));
	assert_true(immure_label_valid("k", "a b=\xc3\xa4"));
	assert_false(immure_label_valid("k", "a\nb"));
	assert_false(immure_label_valid("k", "\x1b[31m"));
	assert_false(immure_label_valid("k", "\xff"));
	assert_false(immure_label_valid("1k", "x"));
}

static void words(void **state)
{
	static const char *const texts[] = { "", "-", "--", "a", "a b", "%", "%2D", "a%20", "\n", "\x7f\xff",
					     "path/with spaces and \\ \"quotes\"" };
	static const char *const bad[] = { "", " ", "%", "%4", "%41", "%00", "%2d", "a b", "\x80", "%2D%2D" };
	char back[256];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct immure_buf b = IMMURE_BUF_INIT;

		immure_field_put(&b, texts[i]);
		assert_int_equal(immure_field_get(b.data, b.len, back, sizeof(back)), 0);
		assert_string_equal(back, texts[i]);
		immure_buf_done(&b);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(immure_field_get(bad[i], strlen(bad[i]), back, sizeof(back)), -EINVAL);
	assert_int_equal(immure_field_get("abcd", 4, back, 4), -ENAMETOOLONG);
}

static void made_and_found(void **state)
{
	struct immure_entry a = make("one"), b = make(""), f;
	struct immure_meta m;
	struct immure_status s;
	struct immure_owner o;
	char prefix[IMMURE_ID_LEN + 1], *plan = NULL, left[64];
	size_t len = 0;
	int n[2] = { 0, 0 };

	(void)state;
	assert_int_equal(immure_entry_find(&reg, "one", &f, NULL), 0);
	assert_string_equal(f.id, a.id);
	assert_int_equal(immure_entry_alive(&f), 1);
	assert_int_equal(immure_entry_lock(&f), -EAGAIN);
	assert_int_equal(immure_entry_owner(&f, &o), 0);
	assert_int_equal(o.process.pid, getpid());
	assert_true(immure_procid_runs(&o.process));
	assert_int_equal(immure_entry_meta(&f, &m), 0);
	assert_string_equal(m.name, "one");
	assert_int_equal(m.lifetime, IMMURE_LIFETIME_DETACHED);
	assert_int_equal(immure_entry_status(&f, &s), 0);
	assert_string_equal(s.state, "NEW");
	assert_int_equal(immure_entry_plan(&f, &plan, &len), 0);
	assert_int_equal(len, 4);
	free(plan);
	/* Only its keeper removes it. */
	assert_int_equal(immure_entry_remove(&reg, &f, left, sizeof(left)), -EPERM);
	immure_entry_done(&f);
	(void)snprintf(prefix, sizeof(prefix), "%.8s", b.id);
	assert_int_equal(immure_entry_find(&reg, prefix, &f, NULL), 0);
	assert_string_equal(f.id, b.id);
	immure_entry_done(&f);
	assert_int_equal(immure_entry_find(&reg, "nobody", &f, NULL), -IMMURE_ERR_NO_SESSION);
	assert_int_equal(immure_entry_find(&reg, "../x", &f, NULL), -IMMURE_ERR_INVALID);
	assert_int_equal(immure_entry_find(&reg, "", &f, NULL), -IMMURE_ERR_INVALID);
	assert_int_equal(immure_registry_each(&reg, count, n), 0);
	assert_int_equal(n[0], 2);
	assert_int_equal(n[1], 0);
	assert_int_equal(immure_entry_remove(&reg, &a, left, sizeof(left)), 0);
	assert_int_equal(immure_entry_find(&reg, "one", &f, NULL), -IMMURE_ERR_NO_SESSION);
	immure_entry_done(&a);
	immure_entry_done(&b);
}

static void names_are_claimed_once(void **state)
{
	struct immure_meta m = { .name = "one" };
	struct immure_entry a = make("one"), b = IMMURE_ENTRY_INIT;
	int n[2] = { 0, 0 };

	(void)state;
	assert_int_equal(immure_entry_create(&reg, &m, &(struct immure_plan_file){ NULL, 0, -1 }, &b, NULL), -IMMURE_ERR_STATE);
	assert_int_equal(immure_registry_each(&reg, count, n), 0);
	assert_int_equal(n[0] + n[1], 1); /* nothing of the second is left */
	/* Its keeper dead, it still has the name: it may be cleaned up by that name. */
	immure_entry_done(&a);
	assert_int_equal(immure_entry_create(&reg, &m, &(struct immure_plan_file){ NULL, 0, -1 }, &b, NULL), -IMMURE_ERR_STATE);
	/* The directory gone, the name is nobody's. */
	assert_int_equal(immure_entry_find(&reg, "one", &b, NULL), 0);
	assert_int_equal(immure_entry_lock(&b), 0);
	assert_int_equal(renameat(reg.sessions_fd, b.id, reg.root_fd, "elsewhere"), 0);
	immure_entry_done(&b);
	assert_int_equal(immure_registry_prune_names(&reg, true), 1);
	assert_int_equal(immure_entry_create(&reg, &m, &(struct immure_plan_file){ NULL, 0, -1 }, &b, NULL), 0);
	assert_int_equal(immure_registry_prune_names(&reg, false), 0);
	immure_entry_done(&b);
}

/* The lock goes with the process, whatever kills it, and not with a child of it. */
/* Many of one plan have one file of it; what one of them writes anew is its own. */
static void one_plan_for_many(void **state)
{
	int fd = openat(reg.sessions_fd, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	struct immure_entry e[2] = { IMMURE_ENTRY_INIT, IMMURE_ENTRY_INIT };
	char left[256], *text;
	struct stat st[2];
	size_t len;

	(void)state;
	if (fd < 0)
		skip();
	assert_int_equal(write(fd, "PLAN", 4), 4);
	for (int i = 0; i < 2; i++) {
		struct immure_meta m = { .lifetime = IMMURE_LIFETIME_DETACHED };

		assert_int_equal(immure_entry_create(&reg, &m, &(struct immure_plan_file){ "PLAN", 4, fd }, &e[i], NULL), 0);
		assert_int_equal(fstatat(e[i].dir_fd, "plan", &st[i], AT_SYMLINK_NOFOLLOW), 0);
	}
	(void)close(fd);
	assert_int_equal(st[0].st_ino, st[1].st_ino);
	assert_int_equal(st[0].st_mode, S_IFREG | 0600);
	assert_int_equal(immure_file_replace(e[0].dir_fd, "plan", "OTHERS", 6, false), 0);
	assert_int_equal(immure_entry_remove(&reg, &e[0], left, sizeof(left)), 0);
	assert_int_equal(immure_entry_plan(&e[1], &text, &len), 0);
	assert_int_equal(len, 4);
	assert_memory_equal(text, "PLAN", 4);
	free(text);
	assert_int_equal(immure_entry_remove(&reg, &e[1], left, sizeof(left)), 0);
}

static void death_is_seen(void **state)
{
	struct immure_entry e = IMMURE_ENTRY_INIT;
	int status, ends[2];
	pid_t pid;
	char c;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	pid = fork();
	if (pid == 0) {
		e = make("mine");
		assert_int_equal(write(ends[1], "x", 1), 1);
		(void)pause();
		_exit(1);
	}
	assert_int_equal(read(ends[0], &c, 1), 1);
	assert_int_equal(immure_entry_find(&reg, "mine", &e, NULL), 0);
	assert_int_equal(immure_entry_alive(&e), 1);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(immure_entry_alive(&e), 0);
	assert_int_equal(immure_entry_lock(&e), 0);
	assert_int_equal(immure_entry_alive(&e), 1); /* ours now */
	immure_entry_done(&e);
	(void)close(ends[0]);
	(void)close(ends[1]);
}

static void half_made(void **state)
{
	struct immure_entry e = make("x");
	char half[32], id[IMMURE_ID_LEN + 1];
	int n[2] = { 0, 0 };

	(void)state;
	memcpy(id, e.id, sizeof(id));
	(void)snprintf(half, sizeof(half), "new.%s", id);
	assert_int_equal(renameat(reg.sessions_fd, id, reg.sessions_fd, half), 0);
	assert_int_equal(immure_registry_each(&reg, count, n), 0);
	assert_int_equal(n[1], 1);
	assert_int_equal(immure_registry_remove_half(&reg, id), 0); /* its maker is at it */
	assert_int_equal(immure_registry_prune_names(&reg, false), 0);
	immure_entry_done(&e);
	assert_int_equal(immure_registry_remove_half(&reg, id), 1);
	assert_int_equal(immure_registry_remove_half(&reg, id), 0);
	assert_int_equal(immure_registry_prune_names(&reg, false), 1);
	/* Killed before there was a lock file, or after it was removed. */
	assert_int_equal(mkdirat(reg.sessions_fd, half, 0700), 0);
	assert_int_equal(immure_registry_remove_half(&reg, id), 1);
	assert_int_equal(mkdirat(reg.sessions_fd, id, 0700), 0);
	assert_int_equal(immure_entry_open(&reg, id, &e), 0);
	assert_int_equal(immure_entry_alive(&e), -ENOENT);
	immure_entry_done(&e);
	assert_int_equal(immure_registry_remove_half(&reg, id), 1);
}

/* Whatever lies in the directory: no link followed, no pipe waited for, nothing of
 * others believed. */
static void hostile_contents(void **state)
{
	struct immure_entry e = make("x"), f = IMMURE_ENTRY_INIT;
	char outside[128], left[64];
	struct immure_status s;
	struct immure_meta m;
	struct stat st;
	int fd;

	(void)state;
	(void)snprintf(outside, sizeof(outside), "%s/outside", top);
	assert_int_equal(mkdir(outside, 0700), 0);
	fd = open(outside, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(immure_file_replace(fd, "keep", "k", 1, false), 0);
	/* status: none yet, a link, a pipe, a directory, garbage, somebody else's mode */
	assert_int_equal(immure_entry_status(&e, &s), 0);
	assert_string_equal(s.state, "NEW");
	assert_int_equal(symlinkat(outside, e.dir_fd, "status"), 0);
	assert_true(immure_entry_status(&e, &s) < 0);
	assert_int_equal(unlinkat(e.dir_fd, "status", 0), 0);
	assert_int_equal(mkfifoat(e.dir_fd, "status", 0600), 0);
	assert_true(immure_entry_status(&e, &s) < 0);
	assert_int_equal(unlinkat(e.dir_fd, "status", 0), 0);
	assert_int_equal(mkdirat(e.dir_fd, "status", 0700), 0);
	assert_true(immure_entry_status(&e, &s) < 0);
	assert_int_equal(unlinkat(e.dir_fd, "status", AT_REMOVEDIR), 0);
	assert_int_equal(immure_file_replace(e.dir_fd, "status", "immure-status 1\nstate ../x\n", 27, false), 0);
	assert_int_equal(immure_entry_status(&e, &s), -EINVAL);
	assert_int_equal(fchmodat(e.dir_fd, "status", 0666, 0), 0);
	assert_int_equal(immure_entry_status(&e, &s), -EPERM);
	/* meta of another session */
	assert_int_equal(immure_file_replace(e.dir_fd, "meta", "immure-meta 1\nid 2aaaaaaaaaaaaaaa\n", 34,
					     false), 0);
	assert_int_equal(immure_entry_meta(&e, &m), -EINVAL);
	/* links in it are removed, not what they lead to */
	assert_int_equal(symlinkat(outside, e.dir_fd, "link"), 0);
	assert_int_equal(mkdirat(e.dir_fd, "sub", 0700), 0);
	assert_int_equal(symlinkat("../../../../outside", e.dir_fd, "sub/link"), 0);
	assert_int_equal(immure_entry_remove(&reg, &e, left, sizeof(left)), 0);
	assert_int_equal(fstatat(fd, "keep", &st, 0), 0);
	/* the entry itself a link, or open to others */
	assert_int_equal(symlinkat(outside, reg.sessions_fd, "2aaaaaaaaaaaaaaa"), 0);
	assert_true(immure_entry_open(&reg, "2aaaaaaaaaaaaaaa", &f) < 0);
	assert_int_equal(mkdirat(reg.sessions_fd, "2aaaaaaaaaaaaaab", 0700), 0);
	assert_int_equal(fchmodat(reg.sessions_fd, "2aaaaaaaaaaaaaab", 0770, 0), 0);
	assert_int_equal(immure_entry_open(&reg, "2aaaaaaaaaaaaaab", &f), -EPERM);
	/* a name that leads anywhere */
	assert_int_equal(symlinkat("../../outside", reg.names_fd, "evil"), 0);
	assert_true(immure_entry_find(&reg, "evil", &f, NULL) < 0);
	(void)close(fd);
}

static void hostile_place(void **state)
{
	struct immure_registry r = IMMURE_REGISTRY_INIT;
	char path[128], link[128];

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/open", top);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(chmod(path, 0755), 0);
	assert_int_equal(immure_registry_open(path, true, &r, NULL), -IMMURE_ERR_TRUST);
	assert_int_equal(chmod(path, 0700), 0);
	(void)snprintf(link, sizeof(link), "%s/link", top);
	assert_int_equal(symlink(path, link), 0);
	assert_int_equal(immure_registry_open(link, true, &r, NULL), -IMMURE_ERR_TRUST);
	if (geteuid() == 0) {
		assert_int_equal(chown(path, 65534, 65534), 0);
		assert_int_equal(immure_registry_open(path, true, &r, NULL), -IMMURE_ERR_TRUST);
	}
	assert_int_equal(immure_registry_open("relative", true, &r, NULL), -IMMURE_ERR_INVALID);
	assert_int_equal(immure_registry_open(NULL, true, &r, NULL), -IMMURE_ERR_INVALID);
	/* Looking makes nothing. */
	(void)snprintf(path, sizeof(path), "%s/none", top);
	assert_int_equal(immure_registry_open(path, false, &r, NULL), 0);
	assert_int_equal(r.sessions_fd, -1);
	assert_int_equal(immure_registry_each(&r, count, NULL), 0);
	assert_int_equal(immure_registry_prune_names(&r, false), 0);
	assert_int_equal(access(path, F_OK), -1);
	immure_registry_done(&r);
}

static void texts(void **state)
{
	static const char *const bad[] = {
		"", "immure-status 1", "immure-status 2\nstate RUNNING\n", "immure-meta 1\nstate RUNNING\n",
		"immure-status 1\nstate RUNNING", "immure-status 1\nstate\n", "immure-status 1\n\n",
		"immure-status 1\nstate running\n", "immure-status 1\nstate RUNNING\nsince -1\n",
		"immure-status 1\nstate RUNNING\nsince 18446744073709551616\n",
		"immure-status 1\nstate RUNNING\ninit 2147483648\n",
		"immure-status 1\nstate AAAAAAAAAAAAAAAA\n", "immure-status 1\nsince 1\n",
	};
	static const char good[] = "immure-status 1\nstate RUNNING\nlater %20x\ninit 7\n";
	struct immure_status s;
	char text[200];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_true(immure_status_parse(bad[i], strlen(bad[i]), &s) < 0);
	assert_int_equal(immure_status_parse(good, strlen(good), &s), 0);
	assert_int_equal(s.init.pid, 7);
	/* Cut off anywhere, it is refused: it was written in one step. */
	for (size_t n = 0; n < strlen(good); n++) {
		memcpy(text, good, n);
		if (n == 30 || n == 41) /* whole lines: a shorter file, as valid */
			continue;
		assert_true(immure_status_parse(text, n, &s) < 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(charset),
		cmocka_unit_test(words),
		cmocka_unit_test(texts),
		cmocka_unit_test_setup_teardown(made_and_found, setup, teardown),
		cmocka_unit_test_setup_teardown(names_are_claimed_once, setup, teardown),
		cmocka_unit_test_setup_teardown(one_plan_for_many, setup, teardown),
		cmocka_unit_test_setup_teardown(death_is_seen, setup, teardown),
		cmocka_unit_test_setup_teardown(half_made, setup, teardown),
		cmocka_unit_test_setup_teardown(hostile_contents, setup, teardown),
		cmocka_unit_test_setup_teardown(hostile_place, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
