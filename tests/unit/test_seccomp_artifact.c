/* SPDX-License-Identifier: Apache-2.0 */
/* A user's own filter: what is taken, and each reason for refusal. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/sha256.h"
#include "kernel/bpf.h"
#include "kernel/seccomp.h"

#ifdef __x86_64__
#define NATIVE AUDIT_ARCH_X86_64
#else
#define NATIVE AUDIT_ARCH_AARCH64
#endif

/* Kills other architectures and x32, allows the rest but one number. */
static const struct sock_filter good[] = {
	{ BPF_LD | BPF_W | BPF_ABS, 0, 0, 4 },
	{ BPF_JMP | BPF_JEQ | BPF_K, 1, 0, NATIVE },
	{ BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_PROCESS },
	{ BPF_LD | BPF_W | BPF_ABS, 0, 0, 0 },
	{ BPF_JMP | BPF_JGE | BPF_K, 2, 0, 0x40000000 },
	{ BPF_JMP | BPF_JEQ | BPF_K, 1, 0, SYS_personality },
	{ BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW },
	{ BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | EPERM },
};

struct fixture {
	char dir[PATH_MAX];
	char path[PATH_MAX + 32];
	char side[PATH_MAX + 64];
};

static void put(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	(void)close(fd);
}

static void put_sum(const struct fixture *f, const void *data, size_t len)
{
	char text[128];

	immure_sha256_hex(data, len, 32, text);
	(void)strcat(text, "  f.bpf\n");
	put(f->side, text, strlen(text));
}

static void put_program(const struct fixture *f, const void *data, size_t len)
{
	put(f->path, data, len);
	put_sum(f, data, len);
}

static int setup(void **state)
{
	static struct fixture f;
	char made[] = "/tmp/immure-artifact-XXXXXX";

	assert_non_null(mkdtemp(made));
	assert_non_null(realpath(made, f.dir));
	(void)snprintf(f.path, sizeof(f.path), "%s/f.bpf", f.dir);
	(void)snprintf(f.side, sizeof(f.side), "%s.sha256", f.path);
	put_program(&f, good, sizeof(good));
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)unlink(f->path);
	(void)unlink(f->side);
	return rmdir(f->dir);
}

static void refused(const char *path, int errnum, const char *why_part)
{
	struct immure_filter f = { NULL, 77 };
	char digest[65] = "untouched";
	const char *why = NULL;

	assert_int_equal(immure_filter_load(path, geteuid(), &f, digest, &why), -errnum);
	assert_null(f.insns);
	assert_int_equal(f.len, 77);
	assert_string_equal(digest, "untouched");
	assert_non_null(why);
	if (!strstr(why, why_part))
		fail_msg("said: %s", why);
	assert_int_equal(immure_filter_load(path, geteuid(), &f, NULL, NULL), -errnum);
}

static void good_one_is_taken(void **state)
{
	struct fixture *t = *state;
	struct immure_filter f;
	char digest[65], want[65];

	assert_int_equal(immure_filter_load(t->path, geteuid(), &f, digest, NULL), 0);
	assert_int_equal(f.len, sizeof(good) / sizeof(good[0]));
	assert_memory_equal(f.insns, good, sizeof(good));
	immure_sha256_hex(good, sizeof(good), 32, want);
	assert_string_equal(digest, want);
	immure_filter_free(&f);
	assert_null(f.insns);
	immure_filter_free(&f);
}

static void paths(void **state)
{
	struct fixture *t = *state;
	char other[PATH_MAX + 64];

	refused("f.bpf", EINVAL, "");
	refused("", EINVAL, "");
	refused("/", EISDIR, "");
	refused("/tmp/../tmp/f.bpf", EINVAL, "");
	refused("/nowhere-at-all/f.bpf", ENOENT, "");
	refused(t->dir, EINVAL, "not a regular file");
	(void)snprintf(other, sizeof(other), "%s/", t->path);
	refused(other, ENOTDIR, "");
	(void)snprintf(other, sizeof(other), "%s/link", t->dir);
	assert_int_equal(symlink(t->path, other), 0);
	refused(other, ELOOP, "symlink");
	assert_int_equal(unlink(other), 0);
	assert_int_equal(symlink(t->dir, other), 0);
	(void)strcat(other, "/f.bpf");
	refused(other, ENOTDIR, "symlink");
	other[strlen(other) - strlen("/f.bpf")] = '\0';
	assert_int_equal(unlink(other), 0);
	assert_int_equal(mkfifo(other, 0600), 0);
	refused(other, EINVAL, "not a regular file");
	assert_int_equal(unlink(other), 0);
}

static void owner_and_mode(void **state)
{
	struct fixture *t = *state;
	struct immure_filter f;

	assert_int_equal(chmod(t->path, 0620), 0);
	refused(t->path, EPERM, "group or others");
	assert_int_equal(chmod(t->path, 0602), 0);
	refused(t->path, EPERM, "group or others");
	assert_int_equal(chmod(t->path, 0644), 0);
	assert_int_equal(chmod(t->side, 0666), 0);
	refused(t->path, EPERM, "checksum file");
	assert_int_equal(chmod(t->side, 0600), 0);
	if (geteuid() != 0)
		return;
	/* only root can give files away; the rest of the rule needs that */
	assert_int_equal(immure_filter_load(t->path, 1234, &f, NULL, NULL), 0);
	immure_filter_free(&f);
	assert_int_equal(chown(t->path, 1234, 1234), 0);
	refused(t->path, EPERM, "another user");
	assert_int_equal(immure_filter_load(t->path, 1234, &f, NULL, NULL), 0);
	immure_filter_free(&f);
	assert_int_equal(chown(t->side, 4321, 0), 0);
	assert_int_equal(immure_filter_load(t->path, 1234, &f, NULL, NULL), -EPERM);
}

static void checksum(void **state)
{
	struct fixture *t = *state;
	char text[128];

	put(t->side, "", 0);
	refused(t->path, EINVAL, "form of sha256sum");
	put(t->side, "abc", 3);
	refused(t->path, EINVAL, "form of sha256sum");
	immure_sha256_hex(good, sizeof(good), 32, text);
	(void)strcat(text, "0  f.bpf\n");
	put(t->side, text, strlen(text));
	refused(t->path, EINVAL, "form of sha256sum");
	text[64] = ' ';
	text[0] ^= 1;
	put(t->side, text, strlen(text));
	refused(t->path, EBADMSG, "does not match");
	assert_int_equal(unlink(t->side), 0);
	refused(t->path, ENOENT, "is missing");
	put_sum(t, good, sizeof(good));
	put(t->path, good, sizeof(good) - sizeof(good[0]));
	refused(t->path, EBADMSG, "does not match");
}

static void contents(void **state)
{
	static struct sock_filter many[IMMURE_BPF_MAX + 1];
	struct fixture *t = *state;
	struct sock_filter p[sizeof(good) / sizeof(good[0])];

	put_program(t, good, 0);
	refused(t->path, EINVAL, "whole number of instructions");
	put_program(t, good, sizeof(good) - 1);
	refused(t->path, EINVAL, "whole number of instructions");
	put_program(t, many, sizeof(many));
	refused(t->path, EFBIG, "too long");
	memcpy(p, good, sizeof(p));
	p[4].jt = 200;
	put_program(t, p, sizeof(p));
	refused(t->path, EINVAL, "not a valid seccomp program");
	memcpy(p, good, sizeof(p));
	p[1].jf = 1; /* forgets the architecture */
	put_program(t, p, sizeof(p));
	refused(t->path, EINVAL, "foreign architecture");
	memcpy(p, good, sizeof(p));
	p[5].k = SYS_execve;
	put_program(t, p, sizeof(p));
	refused(t->path, EINVAL, "execve");
#ifdef __x86_64__
	memcpy(p, good, sizeof(p));
	p[4].jt = 0; /* forgets x32 */
	put_program(t, p, sizeof(p));
	refused(t->path, EINVAL, "x32");
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(good_one_is_taken, setup, teardown),
		cmocka_unit_test_setup_teardown(paths, setup, teardown),
		cmocka_unit_test_setup_teardown(owner_and_mode, setup, teardown),
		cmocka_unit_test_setup_teardown(checksum, setup, teardown),
		cmocka_unit_test_setup_teardown(contents, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
