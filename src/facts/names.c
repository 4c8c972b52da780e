/* SPDX-License-Identifier: Apache-2.0 */
#include "facts/internal.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"

/* A listing costs about half a lookup for each entry, and a directory's size tells
 * roughly how many it may have: beyond this it does not pay. */
enum { ENTRIES_MOST = 4000, SIZE_MOST = 16384 };

void immure_facts_find_names(struct immure_facts *f, const char *dir)
{
	struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS,
	};
	IMMURE_CLEANUP_FD int fd = (int)syscall(SYS_openat2, AT_FDCWD, dir, &how, sizeof(how));
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size > SIZE_MOST)
		return;
	immure_dirset_read(&f->names, fd, ENTRIES_MOST);
	f->names_dir = f->names.complete ? dir : NULL;
}

bool immure_facts_lacks(const struct immure_facts *f, const char *dir, const char *sub)
{
	if (!f->names_dir || strcmp(f->names_dir, dir) != 0)
		return false;
	return !immure_dirset_may_have(&f->names, sub, strcspn(sub, "/"));
}
