/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A user's own filter, from file to checked instructions.
 *
 * The file decides what the command may ask of the kernel, so it is trusted no
 * further than its owner: each component of its path is opened without
 * following links, what is checked is the opened file, and what is opened is
 * read once. The checksum beside it is no secret's proof; it catches truncation
 * and a half-written file, which could well still be a valid program.
 */
#include "kernel/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sha256.h"
#include "kernel/bpf.h"

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#else
#error "no seccomp filters for this architecture"
#endif

#define X32_BIT UINT32_C(0x40000000)
#define HEX_LEN 64

/* Says why and gives -errnum back. */
static int because(const char **ret_why, const char *why, int errnum)
{
	*ret_why = why;
	return -errnum;
}

/* Opens the last component; every one before it must be a real directory. */
static int open_without_links(const char *path)
{
	IMMURE_CLEANUP_FD int dir = -1;
	char name[NAME_MAX + 1];

	if (path[0] != '/')
		return -EINVAL;
	dir = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	for (const char *p = path; dir >= 0;) {
		size_t len;
		bool last;
		int next;

		p += strspn(p, "/");
		len = strcspn(p, "/");
		last = p[len] == '\0';
		if (len == 0 || len > NAME_MAX)
			return len ? -ENAMETOOLONG : -EISDIR;
		memcpy(name, p, len);
		name[len] = '\0';
		if (strcmp(name, "..") == 0)
			return -EINVAL;
		p += len;
		/* O_NONBLOCK: a fifo must not make us wait. */
		next = openat(dir, name, O_CLOEXEC | O_NOFOLLOW |
			      (last ? O_RDONLY | O_NONBLOCK | O_NOCTTY : O_PATH | O_DIRECTORY));
		if (next < 0)
			return -errno;
		if (last)
			return next;
		immure_close(&dir);
		dir = next;
	}
	return -errno;
}

static int open_trusted(const char *path, uint32_t owner, size_t max, char **ret_data,
			size_t *ret_len, const char **ret_why)
{
	IMMURE_CLEANUP_FD int fd = open_without_links(path);
	struct stat st;
	int r;

	if (fd == -ELOOP || fd == -ENOTDIR)
		return because(ret_why, "a component of its path is a symlink or no directory", -fd);
	if (fd < 0)
		return because(ret_why, strerror(-fd), -fd);
	if (fstat(fd, &st) < 0)
		return because(ret_why, "cannot be examined", errno);
	if (!S_ISREG(st.st_mode))
		return because(ret_why, "not a regular file", EINVAL);
	if (st.st_uid != owner && st.st_uid != 0)
		return because(ret_why, "belongs to another user", EPERM);
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return because(ret_why, "group or others may write it", EPERM);
	r = immure_read_all(fd, max, ret_data, ret_len);
	if (r == -EFBIG)
		return because(ret_why, "too long", -r);
	return r < 0 ? because(ret_why, "cannot be read", -r) : 0;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\0';
}

static int check_sum(const char *path, uint32_t owner, const char *digest, const char **ret_why)
{
	IMMURE_CLEANUP_FREE char *text = NULL;
	char side[PATH_MAX];
	size_t len, n = strlen(path);
	int r;

	if (n + sizeof(".sha256") > sizeof(side))
		return because(ret_why, "its name is too long", ENAMETOOLONG);
	memcpy(side, path, n);
	memcpy(side + n, ".sha256", sizeof(".sha256"));
	r = open_trusted(side, owner, 8192, &text, &len, ret_why);
	if (r == -ENOENT)
		return because(ret_why, "its checksum file (.sha256 beside it) is missing", -r);
	if (r < 0) {
		*ret_why = "its checksum file cannot be trusted or read";
		return r;
	}
	if (len < HEX_LEN || !is_space(text[HEX_LEN]))
		return because(ret_why, "its checksum file is not in the form of sha256sum", EINVAL);
	if (memcmp(text, digest, HEX_LEN) != 0)
		return because(ret_why, "its checksum does not match", EBADMSG);
	return 0;
}

static bool permits(const struct immure_filter *f, uint32_t arch, uint32_t nr)
{
	struct seccomp_data data = { .arch = arch, .nr = (int)nr };
	uint32_t action = immure_bpf_run(f->insns, f->len, &data).action &
			  SECCOMP_RET_ACTION_FULL;

	return action == SECCOMP_RET_ALLOW || action == SECCOMP_RET_LOG;
}

/* A filter that forgets the other ABIs was written by mistake: the same number
 * is another call there. The guard beneath closes them anyway. */
static int check_reach(const struct immure_filter *f, const char **ret_why)
{
	static const uint32_t foreign[] = { AUDIT_ARCH_I386, AUDIT_ARCH_X86_64, AUDIT_ARCH_ARM,
					    AUDIT_ARCH_AARCH64 };

	for (uint32_t nr = 0; nr <= 512; nr++) {
		for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
			if (foreign[i] != NATIVE_ARCH && permits(f, foreign[i], nr))
				return because(ret_why, "it allows calls of a foreign architecture",
					       EINVAL);
		}
		if (NATIVE_ARCH == AUDIT_ARCH_X86_64 && permits(f, NATIVE_ARCH, nr | X32_BIT))
			return because(ret_why, "it allows calls with the x32 bit", EINVAL);
	}
	if (!permits(f, NATIVE_ARCH, SYS_execve))
		return because(ret_why, "it does not allow execve: nothing could start", EINVAL);
	return 0;
}

int immure_filter_load(const char *path, uint32_t owner, struct immure_filter *ret,
		       char ret_digest[65], const char **ret_why)
{
	IMMURE_CLEANUP_FREE char *data = NULL;
	char digest[HEX_LEN + 1];
	const char *why;
	struct immure_filter f;
	size_t len;
	int r;

	if (!ret_why)
		ret_why = &why;
	r = open_trusted(path, owner, IMMURE_BPF_MAX * sizeof(struct sock_filter), &data, &len,
			 ret_why);
	if (r < 0)
		return r;
	immure_sha256_hex(data, len, 32, digest);
	r = check_sum(path, owner, digest, ret_why);
	if (r < 0)
		return r;
	if (len == 0 || len % sizeof(struct sock_filter) != 0)
		return because(ret_why, "its length is not a whole number of instructions", EINVAL);
	f.insns = (const struct sock_filter *)(const void *)data; /* malloc aligns enough */
	f.len = (uint16_t)(len / sizeof(struct sock_filter));
	if (immure_bpf_check(f.insns, f.len, NULL) < 0)
		return because(ret_why, "not a valid seccomp program", EINVAL);
	r = check_reach(&f, ret_why);
	if (r < 0)
		return r;
	*ret = f;
	data = NULL;
	if (ret_digest)
		memcpy(ret_digest, digest, sizeof(digest));
	return 0;
}

void immure_filter_free(struct immure_filter *f)
{
	union {
		const struct sock_filter *ro;
		void *rw;
	} insns = { .ro = f->insns };

	free(insns.rw);
	*f = (struct immure_filter){ 0 };
}
