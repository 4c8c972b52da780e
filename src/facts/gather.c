/* SPDX-License-Identifier: Apache-2.0 */
/* The quick facts: what a launch can learn about its host in microseconds.
 * Nothing here goes through NSS, forks, or depends on a name service. */
#include "facts/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "facts/probe.h"

enum {
	MAX_MOUNTINFO = 16 << 20,
	MAX_SOCKETS = 16 << 20,
	MAX_CGROUP = 64 << 10,
};

/* One buffer for all files, one after the other: what a launch reads is small,
 * and fresh memory for each would cost more than the reading. */
struct text {
	char *big; /* for what does not fit */
	char *data;
	char scratch[64 * 1024]; /* only what is used of it is ever touched */
};

static void drop_big(struct text *t)
{
	free(t->big);
	t->big = NULL;
}

static int read_text(struct text *t, const char *path, size_t max)
{
	IMMURE_CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	t->data = t->scratch;
	while ((n = read(fd, t->scratch + len, sizeof(t->scratch) - 1 - len)) != 0) {
		if (n < 0 && errno != EINTR)
			return -errno;
		len += n > 0 ? (size_t)n : 0;
		if (len < sizeof(t->scratch) - 1)
			continue;
		drop_big(t);
		n = immure_read_file_at(AT_FDCWD, path, max, &t->big, NULL);
		t->data = t->big;
		return (int)n;
	}
	t->scratch[len] = '\0';
	return 0;
}

static void gather_boot(struct immure_facts *f)
{
	char id[64];
	int n = immure_cgroup_real_fs.read(NULL, "/proc/sys/kernel/random", "boot_id", id, sizeof(id));

	if (n < 0)
		id[0] = '\0';
	id[strcspn(id, "\n")] = '\0';
	f->boot_id = immure_arena_strdup(&f->arena, id);
}

static int gather_kernel(struct immure_facts *f, bool for_plan)
{
	struct utsname u;

	if (uname(&u) < 0)
		return -errno;
	f->boot_id = "";
	f->kernel = immure_arena_strdup(&f->arena, u.release);
	f->machine = immure_arena_strdup(&f->arena, u.machine);
	f->landlock_abi = immure_probe_landlock_abi();
	f->seccomp = immure_probe_seccomp(NULL);
	if (!for_plan) {
		gather_boot(f);
		f->seccomp_notify = immure_probe_notify();
	}
	return f->arena.failed ? -ENOMEM : 0;
}

static int gather_mounts(struct immure_facts *f, struct text *t)
{
	int r = read_text(t, "/proc/self/mountinfo", MAX_MOUNTINFO);

	if (r < 0)
		return r;
	r = immure_facts_parse_mountinfo(&f->arena, t->data, &f->mounts, &f->mounts_n);
	return r == 0 && f->mounts_n == 0 ? -EINVAL : r; /* covered by something empty */
}

/* Whatever hides the list would hide sockets that must be masked: that there is
 * none, or nothing in it, not even its heading, is no answer. */
static int gather_sockets(struct immure_facts *f, struct text *t)
{
	int r = read_text(t, "/proc/net/unix", MAX_SOCKETS);

	if (r < 0)
		return r;
	if (strncmp(t->data, "Num ", 4) != 0)
		return -EINVAL;
	return immure_facts_parse_unix(&f->arena, t->data, &f->sockets);
}

static void gather_cgroup(struct immure_facts *f, struct text *t)
{
	if (read_text(t, "/proc/self/cgroup", MAX_CGROUP) < 0)
		return;
	immure_facts_find_cgroup(&f->arena, t->data, f->mounts, f->mounts_n, f->uid == 0,
				 &immure_cgroup_real_fs, &f->cgroup);
}

static int32_t begin(struct immure_facts *f, struct text *t, struct immure_error **err)
{
	int r = gather_mounts(f, t);

	if (r == 0)
		return 0;
	immure_fail(err, IMMURE_ERR_IO, -r, "facts", "/proc/self/mountinfo", "/proc/self/mountinfo: %s",
		    r == -EINVAL ? "malformed" : strerror(-r));
	if (r == -ENOENT && err)
		immure_error_set_hint(*err, "mount proc on /proc");
	return -IMMURE_ERR_IO;
}

static int32_t gather_quick(struct immure_facts *f, uint32_t flags, const char *const *env,
			    struct text *t, struct immure_error **err)
{
	int r = gather_kernel(f, flags & IMMURE_FACTS_FOR_PLAN);

	if (r < 0)
		return immure_fail(err, IMMURE_ERR_IO, -r, "facts", "kernel",
				   "kernel: %s", strerror(-r));
	immure_facts_gather_places(f, env, read_text(t, "/etc/passwd", IMMURE_FACTS_MAX_PASSWD) == 0 ? t->data : NULL);
	r = flags & IMMURE_FACTS_NO_SOCKETS ? 0 : gather_sockets(f, t);
	if (r < 0)
		return immure_fail(err, IMMURE_ERR_IO, -r, "facts", "/proc/net/unix",
				   "/proc/net/unix: %s", r == -EINVAL ? "malformed" : strerror(-r));
	if (!(flags & IMMURE_FACTS_NO_CGROUP) || (flags & IMMURE_FACTS_KEPT))
		gather_cgroup(f, t);
	if (f->arena.failed)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "facts", "",
				   "facts: out of memory");
	return 0;
}

static int32_t gather_tried(struct immure_facts *f, uint32_t flags, struct immure_error **err)
{
	int32_t r;

	if (!(flags & (IMMURE_FACTS_FULL | IMMURE_FACTS_ANEW)) && immure_cache_load(f))
		return 0;
	r = immure_probe_all(f, err);
	if (r == 0 && (flags & IMMURE_FACTS_KEPT))
		immure_cache_store(f);
	return r;
}

int32_t immure_facts_begin(struct immure_facts **ret, struct immure_error **err)
{
	struct immure_facts *f = calloc(1, sizeof(*f));
	struct text *t = malloc(sizeof(*t));
	int32_t r = -IMMURE_ERR_NOMEM;

	if (f && t) {
		t->big = NULL;
		r = begin(f, t, err);
		drop_big(t);
	} else {
		immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "facts", "", "facts: out of memory");
	}
	free(t);
	if (r < 0) {
		immure_facts_destroy(f);
		return r;
	}
	*ret = f;
	return 0;
}

int32_t immure_facts_complete(struct immure_facts *f, uint32_t flags, const char *const *env,
			      struct immure_error **err)
{
	struct text *t;
	int32_t r;

	if (flags & ~(IMMURE_FACTS_FULL | IMMURE_FACTS_NO_CGROUP | IMMURE_FACTS_FOR_PLAN |
		      IMMURE_FACTS_KEPT | IMMURE_FACTS_ANEW | IMMURE_FACTS_NO_SOCKETS))
		return immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "facts", "flags",
				   "facts: unknown flags 0x%x", flags);
	t = malloc(sizeof(*t));
	if (!t)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "facts", "",
				   "facts: out of memory");
	t->big = NULL;
	r = gather_quick(f, flags, env, t, err);
	drop_big(t);
	free(t);
	if (r == 0 && (flags & (IMMURE_FACTS_FULL | IMMURE_FACTS_KEPT)))
		r = gather_tried(f, flags, err);
	return r;
}

int32_t immure_facts_gather(uint32_t flags, const char *const *env, struct immure_facts **ret,
			    struct immure_error **err)
{
	struct immure_facts *f;
	int32_t r = immure_facts_begin(&f, err);

	if (r < 0)
		return r;
	r = immure_facts_complete(f, flags, env, err);
	if (r < 0)
		immure_facts_destroy(f);
	else
		*ret = f;
	return r;
}
