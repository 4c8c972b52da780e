/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/dirset.h"

#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Only here does a lookup find nothing that a listing does not show: others make
 * entries on demand (autofs, FUSE, network) or compare names in their own way. */
static bool shows_all(int fd)
{
	static const unsigned long known[] = {
		0xEF53 /* ext */, 0x01021994 /* tmpfs */, 0x9123683E /* btrfs */,
		0x58465342 /* xfs */, 0xF2F52010 /* f2fs */, 0x794C7630 /* overlay */,
	};
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return false;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if ((unsigned long)fs.f_type == known[i])
			return true;
	return false;
}

/* A directory that folds case also folds letters beyond ASCII to ASCII ones and
 * ignores some characters: such a name may be found by another. */
static bool is_ascii(const char *name)
{
	for (; *name; name++)
		if ((unsigned char)*name >= 0x80)
			return false;
	return true;
}

static uint32_t hash(const char *name, size_t len)
{
	uint32_t h = 2166136261U; /* FNV-1a */

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)name[i];

		h = (h ^ (c >= 'A' && c <= 'Z' ? c + 32U : c)) * 16777619U;
	}
	return (h ^ h >> 16) % 4096;
}

void immure_dirset_add(struct immure_dirset *s, const char *name)
{
	uint32_t h = hash(name, strlen(name));

	s->bits[h / 64] |= UINT64_C(1) << (h % 64);
}

void immure_dirset_read(struct immure_dirset *s, int fd, size_t most)
{
	char buf[8192] __attribute__((aligned(8)));
	long n;

	memset(s, 0, sizeof(*s));
	if (!shows_all(fd))
		return;
	while ((n = syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0) {
		for (long i = 0; i < n;) {
			const char *name = buf + i + 19; /* struct linux_dirent64 */
			unsigned short reclen;

			memcpy(&reclen, buf + i + 16, sizeof(reclen));
			immure_dirset_add(s, name);
			i += reclen;
			if (most-- == 0 || !is_ascii(name))
				return;
		}
	}
	s->complete = n == 0;
}

bool immure_dirset_may_have(const struct immure_dirset *s, const char *name, size_t len)
{
	uint32_t h = hash(name, len);

	return !s->complete || (s->bits[h / 64] >> (h % 64) & 1);
}
