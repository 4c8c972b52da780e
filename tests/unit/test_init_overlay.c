/* SPDX-License-Identifier: Apache-2.0 */
/* Overlays, in a user and mount namespace of the test's own: layers in their order, where
 * changes go, and that what is opened is what was named. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "init/build.h"
#include "kernel/mount.h"
#include "plan/plan.h"

static void put(const char *path, const char *text)
{
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);

	assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	(void)close(fd);
}

static bool holds(int root, const char *path, const char *text)
{
	char got[64] = "";
	int fd = openat(root, path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, got, sizeof(got) - 1);

	if (fd >= 0)
		(void)close(fd);
	return n >= 0 && strcmp(got, text) == 0;
}

static void write_map(const char *path, unsigned int id)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%u %u 1", id, id);
	put(path, text);
}

/* A place of our own, with a tree of layers in it. */
static void enter(void)
{
	unsigned int uid = geteuid(), gid = getegid();

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		_exit(77);
	put("/proc/self/setgroups", "deny");
	write_map("/proc/self/uid_map", uid);
	write_map("/proc/self/gid_map", gid);
	assert_int_equal(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	assert_int_equal(mount("t", "/mnt", "tmpfs", 0, NULL), 0);
	for (int i = 0; i < 4; i++) {
		char path[64];

		(void)snprintf(path, sizeof(path), "/mnt/l%d", i);
		assert_int_equal(mkdir(path, 0755), 0);
		(void)snprintf(path, sizeof(path), "/mnt/l%d/common", i);
		put(path, path + 5);
		(void)snprintf(path, sizeof(path), "/mnt/l%d/only%d", i, i);
		put(path, "x");
	}
	for (const char *const *d = (const char *const[]){ "/mnt/c", "/mnt/c/upper", "/mnt/c/work", NULL };
	     *d; d++)
		assert_int_equal(mkdir(*d, 0755), 0);
	assert_int_equal(symlink("/mnt/l0", "/mnt/link"), 0);
}

enum { LAYERS = 4 };

static int build(struct immure_build *b, uint32_t flags, const char *src, const char *first,
		 const char *dst)
{
	static struct immure_init_net net;
	static char names[LAYERS][16];
	struct immure_op ops[LAYERS + 1] = { 0 };
	int r = 0;

	*b = (struct immure_build)IMMURE_BUILD_INIT(&net, -1);
	for (int i = 0; i < LAYERS; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "/mnt/l%d", i);
		ops[i] = (struct immure_op){ .kind = IMMURE_OP_LAYER, .stage = IMMURE_STAGE_MOUNT, .dst = dst,
					     .src = i || !first ? names[i] : first };
	}
	ops[LAYERS] = (struct immure_op){ .kind = IMMURE_OP_OVERLAY, .stage = IMMURE_STAGE_MOUNT, .flags = flags,
					  .num = { LAYERS }, .src = src, .dst = dst };
	for (int i = 0; r == 0 && i <= LAYERS; i++)
		r = immure_build_apply(b, &ops[i]);
	return r;
}

static int child_of(void (*what)(void))
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		enter();
		what();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static void must(bool ok, const char *what)
{
	if (!ok) {
		(void)fprintf(stderr, "overlay: %s (%s)\n", what, strerror(errno));
		_exit(1);
	}
}

static void readonly_root(void)
{
	struct immure_build b;
	int r = build(&b, IMMURE_OPF_RO, "", NULL, "/");

	errno = -r;
	must(r == 0, "is mounted");
	must(holds(b.root_fd, "common", "l0/common"), "the first layer covers the others");
	must(holds(b.root_fd, "only0", "x") && holds(b.root_fd, "only3", "x"), "all layers are seen");
	must(openat(b.root_fd, "new", O_CREAT | O_WRONLY | O_CLOEXEC, 0600) < 0 && errno == EROFS,
	     "nothing is written");
}

static void private_root(void)
{
	struct immure_build b;
	int r = build(&b, IMMURE_OPF_SHARED, "", NULL, "/");
	int fd;

	errno = -r;
	must(r == 0, "is mounted");
	fd = openat(b.root_fd, "common", O_TRUNC | O_WRONLY | O_CLOEXEC);
	must(fd >= 0 && write(fd, "new", 3) == 3, "can be written");
	must(holds(b.root_fd, "common", "new"), "shows what was written");
	must(holds(AT_FDCWD, "/mnt/l0/common", "l0/common"), "layers stay as they are");
	fd = immure_build_target(&b, "/made/here", false);
	must(fd >= 0, "mount points are made in it");
	must(access("/mnt/l0/made", F_OK) < 0, "and not in a layer");
}

/* Nothing of the host's tree is above the root, nor below it. */
static void pivoted(void)
{
	struct immure_build b;
	int r = build(&b, IMMURE_OPF_SHARED, "", NULL, "/");

	must(r == 0 && immure_build_target(&b, "/dev", false) >= 0, "is mounted");
	must(immure_mount_pivot(b.root_fd) == 0, "becomes the root");
	must(holds(AT_FDCWD, "/common", "l0/common") && holds(AT_FDCWD, "/../common", "l0/common"),
	     "is above itself");
	must(access("/mnt", F_OK) < 0 && access("/../mnt", F_OK) < 0, "the tree before is gone");
}

/* What lies between the two roots would leave the old one in place: that is no success. */
static void stacked(void)
{
	int root = -1;

	for (int i = 0; i < 2; i++) {
		int top = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

		root = immure_mount_tmpfs(0, 0755, 0);
		must(top >= 0 && root >= 0 && immure_mount_attach(root, top) == 0, "is stacked");
	}
	must(immure_mount_pivot(root) == -EBUSY, "a root beneath which something lies is refused");
}

static void sealed_root(void)
{
	struct immure_build b;
	int r = build(&b, IMMURE_OPF_SHARED | IMMURE_OPF_RO, "", NULL, "/");

	must(r == 0 && immure_build_target(&b, "/made", false) >= 0, "mount points are made in it");
	must(immure_root_end(&b) >= 0, "is sealed");
	must(openat(b.root_fd, "new", O_CREAT | O_WRONLY | O_CLOEXEC, 0600) < 0 && errno == EROFS,
	     "nothing is written after that");
}

static void kept(void)
{
	struct immure_build b;
	int r = build(&b, 0, "/mnt/c", NULL, "/");

	must(r == 0, "is mounted");
	must(openat(b.root_fd, "new", O_CREAT | O_WRONLY | O_CLOEXEC, 0600) >= 0, "can be written");
	must(access("/mnt/c/upper/new", F_OK) == 0, "changes are where they should be");
	must(unlinkat(b.root_fd, "only3", 0) == 0, "files of layers can be removed");
	struct stat st;
	must(lstat("/mnt/c/upper/only3", &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == 0, "by a whiteout");
}

static void wrong_places(void)
{
	struct immure_build b;

	must(build(&b, IMMURE_OPF_RO, "", "/mnt/link", "/") == -ELOOP, "a link is no layer");
	must(build(&b, IMMURE_OPF_RO, "", "/mnt/l0/common", "/") == -ENOTDIR, "nor is a file");
	must(build(&b, IMMURE_OPF_RO, "", "/mnt/none", "/") == -ENOENT, "nor what is not there");
	must(build(&b, IMMURE_OPF_KEPT, "/mnt/c", NULL, "/") == -EINVAL, "nobody made that directory");
	must(build(&b, 0, "/mnt/l0", NULL, "/") == -ENOENT, "changes go to a directory made for them");
	must(build(&b, IMMURE_OPF_RO, "", NULL, "/x") == -EINVAL, "a root comes first");
	/* What is called /proc there is a directory of somebody's. */
	must(mount("t", "/proc", "tmpfs", 0, NULL) == 0 && mkdir("/proc/self", 0755) == 0 &&
	     mkdir("/proc/self/fd", 0755) == 0, "another /proc");
	must(build(&b, IMMURE_OPF_RO, "", NULL, "/") == -EINVAL, "descriptors are in a real /proc");
}

static void run(void (*what)(void))
{
	int code = child_of(what);

	if (code == 77) {
		print_message("no user namespaces here\n");
		skip();
	}
	assert_int_equal(code, 0);
}

#define TEST(name) static void test_##name(void **state) { (void)state; run(name); }
TEST(readonly_root)
TEST(private_root)
TEST(sealed_root)
TEST(kept)
TEST(pivoted)
TEST(stacked)
TEST(wrong_places)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_readonly_root), cmocka_unit_test(test_private_root),
		cmocka_unit_test(test_sealed_root),   cmocka_unit_test(test_kept),
		cmocka_unit_test(test_wrong_places),  cmocka_unit_test(test_pivoted),
		cmocka_unit_test(test_stacked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
