/* SPDX-License-Identifier: Apache-2.0 */
/* Examining paths in a scratch tree, with openat2 and by hand: both must see
 * the same. And gathering twice gives the same facts. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "facts/internal.h"
#include "kernel/dirset.h"

struct tree {
	struct immure_facts *f;
	char dir[PATH_MAX]; /* real path of the scratch directory */
};

static const char *in(struct tree *t, const char *name)
{
	return immure_arena_printf(&t->f->arena, "%s/%s", t->dir, name);
}

static void bind_socket(const char *dir)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX, .sun_path = "sock" };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), back = open(".", O_PATH);

	assert_true(fd >= 0 && back >= 0 && chdir(dir) == 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	assert_int_equal(fchdir(back), 0);
	close(fd);
	close(back);
}

static int setup(void **state)
{
	struct tree *t = calloc(1, sizeof(*t));
	const char *base = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
	char template[PATH_MAX];
	int fd;

	(void)snprintf(template, sizeof(template), "%s/immure-examine-XXXXXX", base);
	assert_non_null(mkdtemp(template));
	assert_non_null(realpath(template, t->dir));
	assert_int_equal(immure_facts_gather(IMMURE_FACTS_QUICK, NULL, &t->f, NULL), 0);
	assert_int_equal(mkdir(in(t, "d"), 0750), 0);
	assert_int_equal(mkdir(in(t, "d/e"), 0700), 0);
	fd = open(in(t, "d/file"), O_CREAT | O_WRONLY | O_CLOEXEC, 0640);
	assert_true(fd >= 0);
	close(fd);
	fd = open(in(t, "gone (deleted)"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	close(fd);
	assert_int_equal(symlink("d", in(t, "dl")), 0);
	assert_int_equal(symlink("dl/file", in(t, "fl")), 0);
	assert_int_equal(symlink(in(t, "fl"), in(t, "fl2")), 0);
	assert_int_equal(symlink("../d/../fl", in(t, "d/up")), 0);
	assert_int_equal(symlink("../file", in(t, "d/e/to")), 0);
	assert_int_equal(symlink("../../dl/../d/./file", in(t, "d/e/odd")), 0);
	assert_int_equal(symlink("../../../../../../../../../etc", in(t, "d/e/top")), 0);
	assert_int_equal(symlink("nowhere", in(t, "dangling")), 0);
	assert_int_equal(symlink("loop2", in(t, "loop1")), 0);
	assert_int_equal(symlink("loop1", in(t, "loop2")), 0);
	assert_int_equal(symlink("/proc/self/exe", in(t, "magic")), 0);
	assert_int_equal(symlink("/proc/self/root/etc", in(t, "magicdir")), 0);
	assert_int_equal(symlink("gone (deleted)", in(t, "odd")), 0);
	assert_int_equal(symlink("/", in(t, "root")), 0);
	assert_int_equal(mkfifo(in(t, "pipe"), 0600), 0);
	bind_socket(t->dir);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	static const char *const names[] = { "d/e/to", "d/e/odd", "d/e/top", "d/up", "d/file", "d/e", "d/f", "dl", "fl", "fl2", "dangling",
					     "loop1", "loop2", "magic", "magicdir", "odd",
					     "gone (deleted)", "root", "pipe", "sock", "d", "" };
	struct tree *t = *state;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		(void)remove(in(t, names[i]));
	immure_facts_destroy(t->f);
	free(t);
	return 0;
}

struct expect {
	const char *name, *real; /* real: below the tree unless absolute; NULL: none */
	char type;
	bool link;
	int errnum;
};

static const struct expect cases[] = {
	{ "d", "d", 'd', false, 0 },
	{ "d/file", "d/file", 'f', false, 0 },
	{ "dl", "d", 'd', true, 0 },
	{ "dl/file", "d/file", 'f', false, 0 },
	{ "dl/e", "d/e", 'd', false, 0 },
	{ "fl", "d/file", 'f', true, 0 },
	{ "fl2", "d/file", 'f', true, 0 },
	{ "d/up", "d/file", 'f', true, 0 },
	{ "dl/up", "d/file", 'f', true, 0 },
	{ "d/e/to", "d/file", 'f', true, 0 },
	{ "d/e/odd", "d/file", 'f', true, 0 },
	{ "d/e/top", "/etc", 'd', true, 0 },
	{ "dangling", NULL, 0, true, 0 },
	{ "dangling/x", NULL, 0, false, 0 },
	{ "absent", NULL, 0, false, 0 },
	{ "absent/x/y", NULL, 0, false, 0 },
	{ "d/file/x", NULL, 0, false, 0 },
	{ "fl/x", NULL, 0, false, 0 },
	{ "loop1", NULL, 0, true, ELOOP },
	{ "loop1/x", NULL, 0, false, ELOOP },
	{ "magic", NULL, 0, true, ELOOP },
	{ "magicdir/passwd", NULL, 0, false, ELOOP },
	{ "odd", "gone (deleted)", 'f', true, 0 },
	{ "root", "/", 'd', true, 0 },
	{ "pipe", "pipe", 'p', false, 0 },
	{ "sock", "sock", 's', false, 0 },
};

static void check(struct tree *t, const struct expect *e, const struct immure_fact_path *p)
{
	const char *real = e->real && e->real[0] != '/' ? in(t, e->real) : e->real;

	if (p->type != e->type || p->link != e->link || p->errnum != e->errnum ||
	    !p->real != !real || (real && strcmp(p->real, real) != 0) ||
	    !p->link_target != !p->link)
		fail_msg("%s: real %s type %d link %d (%s) errno %d", e->name,
			 p->real ? p->real : "-", p->type, p->link,
			 p->link_target ? p->link_target : "-", p->errnum);
}

static void examine(void **state)
{
	struct tree *t = *state;
	struct immure_strv l = { 0 };
	struct stat st;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		immure_strv_add(&t->f->arena, &l, in(t, cases[i].name));
	immure_strv_add(&t->f->arena, &l, "/");
	immure_strv_add(&t->f->arena, &l, in(t, "d")); /* twice */
	assert_int_equal(immure_facts_examine(t->f, &l, NULL), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		check(t, &cases[i], immure_facts_path(t->f, in(t, cases[i].name)));
	assert_int_equal(immure_facts_path(t->f, "/")->type, 'd');
	assert_string_equal(immure_facts_path(t->f, in(t, "fl"))->link_target, "dl/file");
	assert_null(immure_facts_path(t->f, "/never/asked"));
	assert_int_equal(stat(in(t, "fl2"), &st), 0);
	assert_int_equal(immure_facts_path(t->f, in(t, "fl2"))->ino, st.st_ino);
	assert_int_equal(immure_facts_path(t->f, in(t, "fl2"))->dev, st.st_dev);
	assert_int_equal(immure_facts_path(t->f, in(t, "d"))->mode, 0750);
	assert_int_equal(t->f->paths_n, sizeof(cases) / sizeof(cases[0]) + 1);
	for (size_t i = 1; i < t->f->paths_n; i++)
		assert_true(strcmp(t->f->paths[i - 1].path, t->f->paths[i].path) < 0);
}

static void walk_agrees(void **state)
{
	struct tree *t = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct immure_fact_path p = { .path = in(t, cases[i].name) };

		immure_facts_walk(&t->f->arena, p.path, &p);
		check(t, &cases[i], &p);
	}
}

/* Hundreds of neighbours are ruled out by listing: the answers must be those of
 * looking each one up. */
static void many(void **state)
{
	static const char *const dirs[] = { "", "d/", "dl/", "d/e/", "absent/", "absent/deep/",
					    "d/file/", "root/", "loop1/", "magicdir/", "fl2/" };
	static const char *const names[] = { "d", "dl", "e", "file", "fl", "up", "pipe", "sock",
					     "etc", "proc", "passwd", "gone (deleted)", "x1", "x2",
					     "x3", "x4", "x5", "x6", "x7", "x8", "D", "File",
					     "absent", "d/file", "absent/e", "dangling" };
	struct tree *t = *state;
	struct immure_strv l = { 0 };

	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++)
			immure_strv_add(&t->f->arena, &l,
					immure_arena_printf(&t->f->arena, "%s/%s%s", t->dir,
							    dirs[i], names[k]));
	assert_int_equal(immure_facts_examine(t->f, &l, NULL), 0);
	assert_true(t->f->paths_n > 250);
	for (size_t i = 0; i < l.n; i++) {
		const struct immure_fact_path *p = immure_facts_path(t->f, l.v[i]);
		struct immure_fact_path w = { .path = l.v[i] };

		immure_facts_walk(&t->f->arena, w.path, &w);
		assert_non_null(p);
		if (p->type != w.type || p->ino != w.ino || p->link != w.link ||
		    p->errnum != w.errnum || !p->real != !w.real ||
		    (p->real && strcmp(p->real, w.real) != 0))
			fail_msg("%s: type %d and %d, errno %d and %d", l.v[i], p->type, w.type,
				 p->errnum, w.errnum);
	}
}

/* More names than a listing reads, and long ones: each must be found. */
static void crowded(void **state)
{
	struct tree *t = *state;
	struct immure_strv l = { 0 };
	char tail[100];

	memset(tail, 'n', sizeof(tail) - 1);
	tail[sizeof(tail) - 1] = '\0';
	for (int i = 0; i < 8400; i++) {
		const char *path = immure_arena_printf(&t->f->arena, "%s/d/e/%d%s", t->dir, i, tail);
		int fd = i % 2 ? open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600) : -1;

		if (fd >= 0)
			close(fd);
		immure_strv_add(&t->f->arena, &l, path);
	}
	assert_int_equal(immure_facts_examine(t->f, &l, NULL), 0);
	for (size_t i = 0; i < l.n; i++) {
		assert_int_equal(immure_facts_path(t->f, l.v[i])->type, i % 2 ? 'f' : 0);
		(void)unlink(l.v[i]);
	}
	assert_int_equal(mkdir(in(t, "d/f"), 0700), 0);
	l.n = 200; /* a listing that is read to its end */
	for (size_t i = 0; i < l.n; i++) {
		int fd;

		l.v[i] = immure_arena_printf(&t->f->arena, "%s/d/f/x%zu", t->dir, i);
		fd = open(l.v[i], O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
		assert_true(fd >= 0);
		close(fd);
	}
	assert_int_equal(immure_facts_examine(t->f, &l, NULL), 0);
	for (size_t i = 0; i < l.n; i++) {
		assert_int_equal(immure_facts_path(t->f, l.v[i])->type, 'f');
		(void)unlink(l.v[i]);
	}
}

/* A listing is not believed where another name may answer to the one asked for. */
static void listing_trust(void **state)
{
	struct tree *t = *state;
	struct immure_dirset names;
	int fd = open(in(t, "d"), O_RDONLY | O_DIRECTORY | O_CLOEXEC), other;

	immure_dirset_read(&names, fd, 4000);
	if (names.complete) { /* not on a file system that is unknown to it */
		assert_true(immure_dirset_may_have(&names, "file", 4));
		assert_true(immure_dirset_may_have(&names, "FILE", 4));
		assert_false(immure_dirset_may_have(&names, "absent", 6));
	}
	other = openat(fd, "\xc5\xbfsh", O_CREAT | O_WRONLY | O_CLOEXEC, 0600); /* folds to ssh */
	assert_true(other >= 0 && lseek(fd, 0, SEEK_SET) == 0);
	immure_dirset_read(&names, fd, 4000);
	assert_false(names.complete);
	assert_true(immure_dirset_may_have(&names, "ssh", 3));
	assert_int_equal(unlinkat(fd, "\xc5\xbfsh", 0), 0);
	close(other);
	close(fd);
	fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	immure_dirset_read(&names, fd, 100000);
	assert_false(names.complete);
	close(fd);
}

/* A second call adds, and keeps what was found before. */
static void examine_adds(void **state)
{
	struct tree *t = *state;
	struct immure_strv l = { 0 };
	size_t n;

	immure_strv_add(&t->f->arena, &l, in(t, "pipe"));
	assert_int_equal(immure_facts_examine(t->f, &l, NULL), 0);
	n = t->f->paths_n;
	assert_int_equal(unlink(in(t, "pipe")), 0);
	assert_int_equal(mkdir(in(t, "pipe"), 0700), 0);
	l.n = 0;
	immure_strv_add(&t->f->arena, &l, in(t, "zzz"));
	immure_strv_add(&t->f->arena, &l, in(t, "pipe"));
	assert_int_equal(immure_facts_examine(t->f, &l, NULL), 0);
	assert_int_equal(t->f->paths_n, n + 1);
	assert_int_equal(immure_facts_path(t->f, in(t, "pipe"))->type, 'p');
}

static void refuses_abnormal(void **state)
{
	static const char *const bad[] = { "relative", "/a/../b", "/a//b", "/a/", "" };
	struct tree *t = *state;
	struct immure_strv good = { 0 };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct immure_strv l = { 0 };
		struct immure_error *err = NULL;

		immure_strv_add(&t->f->arena, &l, in(t, "d"));
		immure_strv_add(&t->f->arena, &l, bad[i]);
		assert_int_equal(immure_facts_examine(t->f, &l, &err), -IMMURE_ERR_INVALID);
		assert_non_null(err);
		immure_error_free(err);
		assert_int_equal(t->f->paths_n, 0);
		assert_null(immure_facts_path(t->f, in(t, "d")));
	}
	good.v = (const char *[]){ in(t, "d") };
	good.n = 1;
	assert_int_equal(immure_facts_examine(t->f, &good, NULL), 0);
	assert_int_equal(immure_facts_path(t->f, in(t, "d"))->type, 'd');
}

/* What we may not look into is reported, not taken for absent. */
static void unreadable(void **state)
{
	struct tree *t = *state;
	struct immure_strv l = { 0 };
	uid_t me = geteuid();
	struct immure_fact_path w = { .path = in(t, "d/file") };

	assert_int_equal(chmod(in(t, "d"), 0), 0);
	if (me == 0)
		assert_int_equal(chmod(t->dir, 0755) | seteuid(65534), 0);
	immure_strv_add(&t->f->arena, &l, in(t, "d/file"));
	immure_strv_add(&t->f->arena, &l, in(t, "fl"));
	assert_int_equal(immure_facts_examine(t->f, &l, NULL), 0);
	immure_facts_walk(&t->f->arena, w.path, &w);
	assert_int_equal(seteuid(me), 0);
	assert_int_equal(chmod(in(t, "d"), 0750), 0);
	assert_int_equal(immure_facts_path(t->f, in(t, "d/file"))->errnum, EACCES);
	assert_int_equal(immure_facts_path(t->f, in(t, "d/file"))->type, 0);
	assert_int_equal(immure_facts_path(t->f, in(t, "fl"))->errnum, EACCES);
	assert_true(immure_facts_path(t->f, in(t, "fl"))->link);
	assert_int_equal(w.errnum, EACCES);
}

static void assert_same(const char *x, const char *y)
{
	assert_true(!x == !y);
	if (x)
		assert_string_equal(x, y);
}

static void stable(void **state)
{
	const char *const env[] = { "HOME=/home//x/", "XDG_STATE_HOME=relative",
				    "XDG_CONFIG_HOME=/cfg", NULL };
	struct immure_facts *a, *b;

	(void)state;
	assert_int_equal(immure_facts_gather(IMMURE_FACTS_QUICK, env, &a, NULL), 0);
	assert_int_equal(immure_facts_gather(IMMURE_FACTS_QUICK, env, &b, NULL), 0);
	assert_string_equal(a->home, "/home/x");
	assert_string_equal(a->state_dir, "/home/x/.local/state/immure");
	assert_string_equal(a->config_dir, "/cfg/immure");
	assert_false(a->full);
	assert_same(a->kernel, b->kernel);
	assert_same(a->boot_id, b->boot_id);
	assert_same(a->user, b->user);
	assert_same(a->cwd, b->cwd);
	assert_same(a->runtime_dir, b->runtime_dir);
	assert_int_equal(a->landlock_abi, b->landlock_abi);
	assert_int_equal(a->cgroup.kind, b->cgroup.kind);
	assert_same(a->cgroup.v2, b->cgroup.v2);
	assert_same(a->cgroup.v1_memory, b->cgroup.v1_memory);
	assert_int_equal(a->mounts_n, b->mounts_n);
	for (size_t i = 0; i < a->mounts_n; i++)
		assert_string_equal(a->mounts[i].target, b->mounts[i].target);
	immure_facts_destroy(a);
	immure_facts_destroy(b);
}

/* An XDG_RUNTIME_DIR that others can write into is not used. */
static void runtime_dir(void **state)
{
	struct tree *t = *state;
	const char *const env[] = {
		immure_arena_printf(&t->f->arena, "XDG_RUNTIME_DIR=%s", t->dir), "HOME=/h", NULL
	};
	struct immure_facts *f;
	uid_t me = geteuid();

	if (me == 0)
		assert_int_equal(chown(t->dir, 65534, 65534) | seteuid(65534), 0);
	assert_int_equal(immure_facts_gather(IMMURE_FACTS_QUICK, env, &f, NULL), 0);
	assert_string_equal(f->runtime_dir, in(t, "immure"));
	immure_facts_destroy(f);
	assert_int_equal(chmod(t->dir, 0777), 0);
	assert_int_equal(immure_facts_gather(IMMURE_FACTS_QUICK, env, &f, NULL), 0);
	assert_string_not_equal(f->runtime_dir, in(t, "immure"));
	immure_facts_destroy(f);
	assert_int_equal(seteuid(me), 0);
}

static void deleted_cwd(void **state)
{
	struct tree *t = *state;
	struct immure_facts *f;

	assert_int_equal(mkdir(in(t, "cwd"), 0700), 0);
	assert_int_equal(chdir(in(t, "cwd")), 0);
	assert_int_equal(rmdir(in(t, "cwd")), 0);
	assert_int_equal(immure_facts_gather(IMMURE_FACTS_QUICK, NULL, &f, NULL), 0);
	assert_null(f->cwd);
	immure_facts_destroy(f);
	assert_int_equal(chdir("/"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(examine, setup, teardown),
		cmocka_unit_test_setup_teardown(walk_agrees, setup, teardown),
		cmocka_unit_test_setup_teardown(many, setup, teardown),
		cmocka_unit_test_setup_teardown(listing_trust, setup, teardown),
		cmocka_unit_test_setup_teardown(crowded, setup, teardown),
		cmocka_unit_test_setup_teardown(examine_adds, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_abnormal, setup, teardown),
		cmocka_unit_test_setup_teardown(unreadable, setup, teardown),
		cmocka_unit_test_setup_teardown(runtime_dir, setup, teardown),
		cmocka_unit_test_setup_teardown(deleted_cwd, setup, teardown),
		cmocka_unit_test(stable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
