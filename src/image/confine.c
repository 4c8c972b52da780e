/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What reads strangers' archives with other people's libraries is closed in before it reads a
 * byte. Afterwards it can change files below the store, read below its input, and nothing
 * else: no other file, no program, no process, no socket.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "image/worker.h"
#include "kernel/landlock.h"
#include "kernel/privs.h"
#include "kernel/seccomp.h"

/* Windows of decompressors, names and times of directories; not the layers. */
#define MEMORY_MAX (1UL << 30)

/* REFER: a rename from tmp/ to where it belongs. */
#define STORE_RIGHTS                                                                             \
	(IMMURE_LANDLOCK_FS_WRITE_FILE | IMMURE_LANDLOCK_FS_READ_FILE | IMMURE_LANDLOCK_FS_READ_DIR | \
	 IMMURE_LANDLOCK_FS_REMOVE_DIR | IMMURE_LANDLOCK_FS_REMOVE_FILE | IMMURE_LANDLOCK_FS_MAKE_CHAR | \
	 IMMURE_LANDLOCK_FS_MAKE_DIR | IMMURE_LANDLOCK_FS_MAKE_REG | IMMURE_LANDLOCK_FS_MAKE_SYM | \
	 IMMURE_LANDLOCK_FS_REFER | IMMURE_LANDLOCK_FS_TRUNCATE)
#define INPUT_RIGHTS (IMMURE_LANDLOCK_FS_READ_FILE | IMMURE_LANDLOCK_FS_READ_DIR)

static int limit(void)
{
#ifndef __SANITIZE_ADDRESS__ /* which maps terabytes */
	const struct rlimit memory = { MEMORY_MAX, MEMORY_MAX };

	if (setrlimit(RLIMIT_AS, &memory) < 0)
		return -errno;
#endif
	return setrlimit(RLIMIT_CORE, &(const struct rlimit){ 0, 0 }) < 0 ? -errno : 0;
}

static int landlock(void)
{
	IMMURE_CLEANUP_FD int fd = -1;
	int abi = immure_landlock_abi(), r;
	struct stat st;

	if (abi < 2) /* before, nothing can be renamed from one directory to another */
		return -ENOSYS;
	fd = immure_landlock_create(immure_landlock_fs_rights(abi), immure_landlock_net_rights(abi),
				    immure_landlock_scopes(abi));
	if (fd < 0)
		return fd;
	r = immure_landlock_add_path(fd, IMAGE_STORE_FD, STORE_RIGHTS & immure_landlock_fs_rights(abi));
	if (r == 0 && fstat(IMAGE_INPUT_FD, &st) == 0 && S_ISDIR(st.st_mode))
		r = immure_landlock_add_path(fd, IMAGE_INPUT_FD, INPUT_RIGHTS);
	return r < 0 ? r : immure_landlock_restrict(fd, 0);
}

/* Landlock alone, before the filter hides it. */
static int try_landlock(void)
{
	int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return errno == EACCES ? 0 : -errno;
	immure_close(&fd);
	return -EPERM;
}

/* Each line was just asked for; here it is looked at. */
static int check(const char **what)
{
	int fd;

	*what = "self-check: capabilities are left";
	if (immure_caps_check_empty() < 0)
		return -EPERM;
	*what = "self-check: no_new_privs is not set";
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return -EPERM;
	*what = "self-check: no filter is in force";
	if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != 2)
		return -EPERM;
	*what = "self-check: a socket can be made";
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 || errno != EPERM)
		return -EPERM;
	*what = "self-check: memory can be made executable";
	if (mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
		return -EPERM;
	*what = "self-check: another file can be opened";
	fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 || errno != EACCES)
		return -EPERM;
	return 0;
}

static int close_in(const char **what)
{
	const struct immure_filter *filter = immure_filter_builtin("image", IMMURE_FAMILIES_LOCAL);
	int r;

	*what = "limits";
	r = limit();
	if (r < 0)
		return r;
	*what = "dropping capabilities";
	r = immure_caps_check_empty() == 0 ? 0 : immure_caps_drop_all();
	if (r < 0)
		return r;
	*what = "no_new_privs";
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	*what = "Landlock (ABI 2 or later, Linux 5.19)";
	r = landlock();
	if (r == 0)
		r = try_landlock();
	if (r < 0)
		return r;
	*what = "system call filter";
	r = filter ? immure_filter_install(filter, 0) : -ENOENT;
	return r < 0 ? r : check(what);
}

int image_confine(struct image_worker *w)
{
	const char *what = "";
	int r = close_in(&what);

	return r < 0 ? image_fail(w, -r, "cannot close itself in: %s: %s", what, strerror(-r)) : 0;
}
