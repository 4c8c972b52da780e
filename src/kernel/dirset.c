/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/dirset.h"

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint32_t hash(const char *name, size_t len)
{
	uint32_t h = 2166136261U; /* FNV-1a */

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)name[i];

		h = (h ^ (c >= 'A' && c <= 'Z' ? c + 32U : c)) * 16777619U;
	}
	return (h ^ h >> 16) % 4096;
}

void immure_dirset_read(struct immure_dirset *s, int fd, size_t most)
{
	char buf[8192] __attribute__((aligned(8)));
	long n;

	memset(s, 0, sizeof(*s));
	while ((n = syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0) {
		for (long i = 0; i < n;) {
			const char *name = buf + i + 19; /* struct linux_dirent64 */
			unsigned short reclen;
			uint32_t h = hash(name, strlen(name));

			memcpy(&reclen, buf + i + 16, sizeof(reclen));
			s->bits[h / 64] |= UINT64_C(1) << (h % 64);
			i += reclen;
			if (most-- == 0)
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
