// SPDX-License-Identifier: Apache-2.0
/* Trees written and made again; and what a file that says something else may do: nothing outside. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "session/rmtree.h"
#include "session/snapfiles.h"
#include "session/snapstore.h"

static char base[64];

static int set_up(void **state)
{
	(void)state;
	(void)snprintf(base, sizeof(base), "/tmp/immure-unit-snap-XXXXXX");
	return mkdtemp(base) ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	return immure_rmtree(base);
}

static int dir(const char *name)
{
	char path[128];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", base, name);
	assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static int file(void)
{
	char path[128];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/files", base);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	return fd;
}

static void put(int at, const char *name, const char *text)
{
	int fd = openat(at, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static struct immure_snap_area area(int fd)
{
	return (struct immure_snap_area){ .kind = IMMURE_AREA_PRIVATE, .label = "/tmp", .fd = fd, .uid = geteuid(),
					  .gid = getegid() };
}

static void test_there_and_back(void **state)
{
	int from = dir("from"), to = dir("to"), f = file(), fd;
	struct immure_snap_area a = area(from), b = area(to);
	struct immure_snap_count c, d;
	unsigned char hash[32];
	char text[16] = "";
	struct stat st, other;
	uint64_t len;

	(void)state;
	put(from, "one", "1");
	assert_int_equal(mkdirat(from, "sub", 0750), 0);
	assert_int_equal(linkat(from, "one", from, "sub/two", 0), 0);
	assert_int_equal(symlinkat("../../etc", from, "out"), 0);
	assert_int_equal(mkfifoat(from, "pipe", 0600), 0);
	assert_int_equal(immure_snap_write(&a, 1, f, &c), 0);
	assert_int_equal(c.entries, 5);
	assert_int_equal(immure_snap_hash(f, hash, &len), 0);
	assert_memory_equal(hash, c.hash, 32);
	assert_int_equal(len, c.length);
	assert_int_equal(immure_snap_read(f, "p", &b, 1, &d), 0);
	assert_int_equal(d.entries, 5);
	assert_int_equal(fstatat(to, "one", &st, 0), 0);
	assert_int_equal(fstatat(to, "sub/two", &other, 0), 0);
	assert_int_equal(st.st_ino, other.st_ino);
	assert_int_equal(readlinkat(to, "out", text, sizeof(text)), 9);
	assert_int_equal(fstatat(to, "sub", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
	fd = openat(to, "one", O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, text, 1), 1);
	assert_int_equal(text[0], '1');
	close(fd);
	close(from), close(to), close(f);
}

/* One area, and in it what entries says; ends as it should. */
static int read_of(const char *entries, size_t len, const char *into)
{
	static const char head[] = "immure-files 1\nAp\4\0/tmp";
	unsigned char rest[4 + 4 + 8 + 4 + 8 + 8 + 4 + 4 + 4 + 8 + 4 + 2] = { 0 };
	struct immure_snap_count c;
	struct immure_snap_area a = area(dir(into));
	int f = file(), r;

	rest[36] = 0xc0, rest[37] = 1; /* mode 0700 */
	assert_int_equal(write(f, head, sizeof(head) - 1), sizeof(head) - 1);
	assert_int_equal(write(f, rest, sizeof(rest)), sizeof(rest));
	assert_int_equal(write(f, entries, len), len);
	assert_int_equal(write(f, "UE", 2), 2);
	r = immure_snap_read(f, "p", &a, 1, &c);
	close(f);
	close(a.fd);
	return r;
}

#define ATTRS "\xa4\1\0\0" "\0\0\0\0" "\0\0\0\0" "\0\0\0\0\0\0\0\0" "\0\0\0\0" "\0\0"
#define OF(s) s, sizeof(s) - 1

static void test_names_stay_inside(void **state)
{
	char path[128];

	(void)state;
	assert_int_equal(read_of(OF("P\1\0p" ATTRS), "good"), 0); /* the form is right */
	assert_int_equal(read_of(OF("P\2\0.." ATTRS), "bad"), -EBADMSG);
	assert_int_equal(read_of(OF("P\1\0." ATTRS), "bad"), -EBADMSG);
	assert_int_equal(read_of(OF("P\0\0" ATTRS), "bad"), -EBADMSG);
	assert_int_equal(read_of(OF("P\4\0../x" ATTRS), "bad"), -EBADMSG);
	assert_int_equal(read_of(OF("P\2\0x\0" ATTRS), "bad"), -EBADMSG);
	assert_int_equal(read_of(OF("D\2\0.." ATTRS "U"), "bad"), -EBADMSG);
	assert_int_equal(read_of(OF("W\1\0w" ATTRS), "bad"), -EBADMSG); /* no workspace */
	assert_int_equal(read_of(OF("X\1\0x" ATTRS), "bad"), -EBADMSG);
	/* A link, and something below it. */
	assert_int_equal(read_of(OF("L\1\0l" ATTRS "\2\0..H\1\0h\7\0\0\0l/files"), "link"), -EBADMSG);
	assert_int_equal(read_of(OF("H\1\0h\10\0\0\0../files"), "up"), -EBADMSG);
	assert_int_equal(read_of(OF("H\1\0h\2\0\0\0.."), "up2"), -EBADMSG);
	assert_int_equal(read_of(OF("P\1\0p" ATTRS "P\1\0p" ATTRS), "twice"), -EEXIST);
	assert_int_equal(read_of(OF("L\1\0l" ATTRS "\2\0..D\1\0l" ATTRS "U"), "over"), -ENOTDIR);
	(void)snprintf(path, sizeof(path), "%s/x", base);
	assert_int_equal(access(path, F_OK), -1);
}

static void test_sizes(void **state)
{
	(void)state;
	assert_int_equal(read_of(OF("F\1\0f" ATTRS "\4\0\0\0\0\0\0\0" "\0\0\0\0\0\0\0\0" "\4\0\0\0\0\0\0\0" "\0\0" "data"
				    "\0\0\0\0\0\0\0\0" "\0\0\0\0\0\0\0\0" "\0\0"), "s1"), 0);
	/* more than there is; beyond its end; backwards; a size that is none */
	assert_int_equal(read_of(OF("F\1\0f" ATTRS "\4\0\0\0\0\0\0\0" "\0\0\0\0\0\0\0\0" "\4\0\0\0\0\0\0\1" "\0\0" "data"),
				 "s2"), -EBADMSG);
	assert_int_equal(read_of(OF("F\1\0f" ATTRS "\4\0\0\0\0\0\0\0" "\2\0\0\0\0\0\0\0" "\4\0\0\0\0\0\0\0" "\0\0" "data"),
				 "s3"), -EBADMSG);
	assert_int_equal(read_of(OF("F\1\0f" ATTRS "\10\0\0\0\0\0\0\0" "\4\0\0\0\0\0\0\0" "\2\0\0\0\0\0\0\0" "\0\0" "da"
				    "\0\0\0\0\0\0\0\0" "\2\0\0\0\0\0\0\0" "\0\0" "ta"), "s4"), -EBADMSG);
	assert_int_equal(read_of(OF("F\1\0f" ATTRS "\4\0\0\0\0\0\0\xff"), "s5"), -EBADMSG);
}

/* Whatever byte is another, or is where it ends: an error or another tree, never more. */
static void test_any_damage(void **state)
{
	int from = dir("whole"), f = file(), g;
	struct immure_snap_area a = area(from);
	struct immure_snap_count c;
	char data[4096], name[32], path[128];
	ssize_t len;

	(void)state;
	put(from, "f", "some text");
	assert_int_equal(mkdirat(from, "d", 0700), 0);
	assert_int_equal(linkat(from, "f", from, "d/g", 0), 0);
	assert_int_equal(symlinkat("f", from, "l"), 0);
	assert_int_equal(immure_snap_write(&a, 1, f, &c), 0);
	len = pread(f, data, sizeof(data), 0);
	assert_int_equal(len, c.length);
	for (ssize_t i = 0; i < 2 * len; i++) {
		size_t cut = i < len ? (size_t)i : (size_t)len;

		(void)snprintf(name, sizeof(name), "t%zd", i);
		(void)snprintf(path, sizeof(path), "%s/%s", base, name);
		a = area(dir(name));
		g = file();
		if (i >= len)
			data[i - len] ^= 0x55;
		assert_int_equal(write(g, data, cut), cut);
		if (immure_snap_read(g, "p", &a, 1, &c) == 0)
			assert_true(i >= len); /* half of it is never taken for all */
		if (i >= len)
			data[i - len] ^= 0x55;
		close(g);
		close(a.fd);
		assert_int_equal(immure_rmtree(path), 0);
	}
	close(from);
	close(f);
}

static void test_too_deep(void **state)
{
	int top = dir("deep"), at = openat(top, ".", O_PATH | O_CLOEXEC), f = file();
	struct immure_snap_area a = area(top);
	struct immure_snap_count c;

	(void)state;
	for (int i = 0; i <= IMMURE_SNAP_DEPTH; i++) {
		int next;

		assert_int_equal(mkdirat(at, "d", 0700), 0);
		next = openat(at, "d", O_PATH | O_DIRECTORY | O_CLOEXEC);
		close(at);
		at = next;
	}
	assert_int_equal(immure_snap_write(&a, 1, f, &c), -ELOOP);
	assert_non_null(strstr(c.where, "/tmp/d/d"));
	close(at), close(top), close(f);
}

/* What gives rights is left behind; a hole is one again. */
static void test_attributes(void **state)
{
	int from = dir("rights"), to = dir("less"), f = file(), fd;
	struct immure_snap_area a = area(from), b = area(to);
	struct immure_snap_count c, d;
	char list[256];
	struct stat st;
	ssize_t n;
	/* version 2, effective, cap_net_raw; and an access list with one more user */
	static const char caps[] = "\1\0\0\2\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0";
	static const char acl[] = "\2\0\0\0" "\1\0\7\0\xff\xff\xff\xff" "\2\0\7\0\7\0\0\0" "\4\0\5\0\xff\xff\xff\xff"
				  "\20\0\7\0\xff\xff\xff\xff" "\40\0\5\0\xff\xff\xff\xff";
	bool rights;

	(void)state;
	put(from, "x", "1");
	assert_int_equal(fchmodat(from, "x", 06755, 0), 0);
	fd = openat(from, "x", O_RDWR | O_CLOEXEC);
	rights = fsetxattr(fd, "security.capability", caps, 20, 0) == 0 &&
		 fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0) == 0 &&
		 fsetxattr(fd, "system.posix_acl_access", acl, sizeof(acl) - 1, 0) == 0;
	assert_true(rights || geteuid() != 0);
	assert_true(fsetxattr(fd, "user.kept", "v", 1, 0) == 0 || errno == ENOTSUP);
	assert_int_equal(ftruncate(fd, (off_t)1 << 40), 0);
	close(fd);
	assert_int_equal(immure_snap_write(&a, 1, f, &c), 0);
	assert_true(c.length < 64 << 10);
	assert_int_equal(immure_snap_read(f, "p", &b, 1, &d), 0);
	fd = openat(to, "x", O_RDONLY | O_CLOEXEC);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, (off_t)1 << 40);
	assert_true(st.st_blocks < 256);
	n = flistxattr(fd, list, sizeof(list));
	for (const char *p = list; n > 0 && p < list + n; p += strlen(p) + 1)
		assert_string_equal(p, "user.kept");
	close(fd);
	close(from), close(to), close(f);
}

static int child(void (*act)(int dir), int at)
{
	int pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves it behind */
		for (;;)
			act(at);
	}
	return pid;
}

static void end(int pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* Longer first, and then only other bytes. */
static void change(int at)
{
	static const char more[4096] = "more";
	int fd = openat(at, "log", O_WRONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 ||
	    pwrite(fd, more, sizeof(more), st.st_size < 8 << 20 ? st.st_size : 4096) < 0)
		_exit(1);
	close(fd);
}

/* A file that changes while it is read is not taken for one that was whole. */
static void test_a_file_that_changes(void **state)
{
	int from = dir("log"), f = file(), pid, changed = 0;
	struct immure_snap_area a = area(from);
	struct immure_snap_count c;
	struct stat st;

	(void)state;
	put(from, "log", "");
	pid = child(change, from);
	while (fstatat(from, "log", &st, 0) == 0 && st.st_size < 8 << 20)
		(void)usleep(1000);
	for (int i = 0; i < 200 && !changed; i++) {
		int r;

		assert_int_equal(ftruncate(f, 0), 0);
		assert_int_equal(lseek(f, 0, SEEK_SET), 0);
		r = immure_snap_write(&a, 1, f, &c);
		assert_true(r == 0 || r == -EAGAIN);
		changed += r == -EAGAIN;
		if (r == -EAGAIN)
			assert_string_equal(c.where, "/tmp/log");
	}
	end(pid);
	assert_true(changed);
	close(from), close(f);
}

static void exchange(int at)
{
	(void)renameat2(at, "d", at, "link", RENAME_EXCHANGE);
}

static bool has(int f, const char *text)
{
	static char data[1 << 16];
	ssize_t n = pread(f, data, sizeof(data), 0);

	return n > 0 && memmem(data, (size_t)n, text, strlen(text));
}

/* A directory that is a link out of the tree every other moment. */
static void test_a_directory_that_becomes_a_link(void **state)
{
	int from = dir("swap"), out = dir("secret"), in, f = file(), pid;
	struct immure_snap_area a = area(from);
	struct immure_snap_count c;
	char to[128];

	(void)state;
	put(out, "f", "canary of the host");
	(void)snprintf(to, sizeof(to), "%s/secret", base);
	assert_int_equal(mkdirat(from, "d", 0700), 0);
	in = openat(from, "d", O_PATH | O_DIRECTORY | O_CLOEXEC);
	put(in, "f", "its own");
	assert_int_equal(symlinkat(to, from, "link"), 0);
	pid = child(exchange, from);
	for (int i = 0; i < 2000; i++) {
		int r;

		assert_int_equal(ftruncate(f, 0), 0);
		assert_int_equal(lseek(f, 0, SEEK_SET), 0);
		r = immure_snap_write(&a, 1, f, &c);
		assert_true(r == 0 || r == -EAGAIN);
		assert_false(has(f, "canary of the host"));
	}
	end(pid);
	assert_int_equal(ftruncate(f, 0), 0);
	assert_int_equal(lseek(f, 0, SEEK_SET), 0);
	assert_int_equal(immure_snap_write(&a, 1, f, &c), 0);
	assert_true(has(f, "its own") && has(f, to));
	close(from), close(out), close(in), close(f);
}

enum { LONG_PATHS = IMMURE_SNAP_PATHS / (NAME_MAX * IMMURE_SNAP_DEPTH) + 64 };

/* As deep as it may be, with names as long as they may be. */
static int deepest(int top)
{
	int at = openat(top, ".", O_PATH | O_CLOEXEC);
	char name[NAME_MAX + 1];

	memset(name, 'd', NAME_MAX);
	name[NAME_MAX] = '\0';
	for (int i = 0; i < IMMURE_SNAP_DEPTH - 1; i++) {
		int next;

		assert_int_equal(mkdirat(at, name, 0700), 0);
		next = openat(at, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
		close(at);
		at = next;
	}
	return at;
}

static void one_more(int at, char what, int i)
{
	char name[16], other[16];

	(void)snprintf(name, sizeof(name), "%d", i);
	(void)snprintf(other, sizeof(other), "%d-2", i);
	if (what == 'd') { /* the owner may not search it */
		assert_int_equal(mkdirat(at, name, 0), 0);
		return;
	}
	if (what == 'f' || i == 0)
		put(at, name, "1");
	assert_int_equal(linkat(at, what == 'f' ? name : "0", at, other, 0), 0);
}

/* A million names, each as long as the tree is deep: what is kept of them has an end. */
static void test_too_many_long_paths(void **state)
{
	(void)state;
	for (const char *what = "hfd"; *what; what++) {
		char name[] = { 'l', *what, '\0' };
		int top = dir(name), at = deepest(top), f = file(), n = *what == 'f' ? LONG_PATHS / 2 : LONG_PATHS;
		struct immure_snap_area a = area(top);
		struct immure_snap_count c;

		for (int i = 0; i < n; i++) {
			one_more(at, *what, i);
			if (i == 8)
				assert_int_equal(immure_snap_write(&a, 1, f, &c), 0);
		}
		assert_int_equal(ftruncate(f, 0), 0);
		assert_int_equal(lseek(f, 0, SEEK_SET), 0);
		assert_int_equal(immure_snap_write(&a, 1, f, &c), -ENAMETOOLONG);
		assert_true(c.length <= IMMURE_SNAP_PATHS);
		close(at), close(top), close(f);
	}
}

/* Nor does a file that says so make its reader keep more. */
static void test_closed_directories_have_an_end(void **state)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	char name[NAME_MAX];

	(void)state;
	memset(name, 'd', sizeof(name));
	for (int i = 0; i < IMMURE_SNAP_DEPTH - 1; i++) {
		immure_buf_put(&b, "D\xff\0", 3);
		immure_buf_put(&b, name, sizeof(name));
		immure_buf_put(&b, "\xc0\1\0\0" "\0\0\0\0" "\0\0\0\0" "\0\0\0\0\0\0\0\0" "\0\0\0\0" "\0\0", 26);
	}
	for (int i = 0; i < LONG_PATHS; i++) {
		immure_buf_printf(&b, "D%c%c%04d", 4, 0, i);
		immure_buf_put(&b, "\0\0\0\0" "\0\0\0\0" "\0\0\0\0" "\0\0\0\0\0\0\0\0" "\0\0\0\0" "\0\0" "U", 27);
	}
	for (int i = 0; i < IMMURE_SNAP_DEPTH - 1; i++)
		immure_buf_putc(&b, 'U');
	assert_true(immure_buf_ok(&b));
	assert_int_equal(read_of(b.data, b.len, "closed"), -EBADMSG);
	immure_buf_done(&b);
}

static void test_store(void **state)
{
	struct immure_snapstore s = IMMURE_SNAPSTORE_INIT;
	struct immure_snapshot_read r = IMMURE_SNAPSHOT_READ_INIT;
	struct immure_error *err = NULL;
	char id[32], json[256], path[256];

	(void)state;
	assert_int_equal(immure_snapstore_begin(base, &s, &err), 0);
	(void)snprintf(id, sizeof(id), "%s", s.id);
	assert_int_equal(immure_snapstore_read(base, id, &r, NULL), -IMMURE_ERR_SNAPSHOT); /* not yet */
	(void)snprintf(json, sizeof(json), "{\"id\":\"%s\",\"name\":\"n\",\"about\":{\"files\":{\"length\":0,\"sha256\":"
		       "\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"}}}\n", id);
	assert_int_equal(immure_snapstore_commit(&s, base, "n", json, &err), 0);
	immure_snapstore_done(&s);
	assert_int_equal(immure_snapstore_read(base, "n", &r, &err), 0);
	assert_string_equal(r.id, id);
	assert_int_equal(immure_snapstore_verify(&r, &err), 0);
	assert_int_equal(write(openat(r.dir_fd, "files", O_WRONLY | O_CLOEXEC), "x", 1), 1);
	assert_int_equal(immure_snapstore_verify(&r, NULL), -IMMURE_ERR_SNAPSHOT);
	immure_snapshot_read_done(&r);
	/* What was not committed is gone. */
	assert_int_equal(immure_snapstore_begin(base, &s, &err), 0);
	(void)snprintf(path, sizeof(path), "%.200s", s.path);
	immure_snapstore_done(&s);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(immure_snapstore_remove(base, "n", &err), 0);
	assert_int_equal(immure_snapstore_read(base, id, &r, NULL), -IMMURE_ERR_SNAPSHOT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_there_and_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_names_stay_inside, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_sizes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_any_damage, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_attributes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_file_that_changes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_directory_that_becomes_a_link, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_too_deep, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_too_many_long_paths, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_closed_directories_have_an_end, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_store, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
