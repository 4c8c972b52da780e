/* SPDX-License-Identifier: Apache-2.0 */
/* The facts of a host that is not Linux, in the place of gather.c, resolve.c, list.c and
 * names.c: who asks, from where, and what stands at paths. Nothing of Linux is there, so
 * every answer about it is no, and no backend that rests on it can be planned for. */
#include "facts/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/fd.h"

static int32_t no_memory(struct immure_error **err)
{
	return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "facts", "", "facts: out of memory");
}

int32_t immure_facts_begin(struct immure_facts **ret, struct immure_error **err)
{
	struct immure_facts *f = calloc(1, sizeof(*f));

	if (!f)
		return no_memory(err);
	*ret = f;
	return 0;
}

static void nothing_of_linux(struct immure_facts *f)
{
	f->boot_id = "";
	f->userns = f->userns_mount = f->userns_proc = f->netns = f->overlay_userns = IMMURE_NO;
	f->egress = f->seccomp = f->seccomp_notify = f->kvm = f->newuidmap = IMMURE_NO;
	f->bwrap = f->bwrap_net = IMMURE_NO;
}

int32_t immure_facts_complete(struct immure_facts *f, uint32_t flags, const char *const *env,
			      struct immure_error **err)
{
	IMMURE_CLEANUP_FREE char *passwd = NULL;
	struct utsname u;

	(void)flags; /* there is nothing to try, so quick facts are all there are */
	if (uname(&u) < 0)
		return immure_fail(err, IMMURE_ERR_IO, errno, "facts", "kernel", "kernel: %s",
				   strerror(errno));
	f->kernel = immure_arena_strdup(&f->arena, u.release);
	f->machine = immure_arena_strdup(&f->arena, u.machine);
	nothing_of_linux(f);
	(void)immure_read_file_at(AT_FDCWD, "/etc/passwd", IMMURE_FACTS_MAX_PASSWD, &passwd,
				  NULL); /* without it, what the environment says */
	immure_facts_gather_places(f, env, passwd);
	return f->arena.failed ? no_memory(err) : 0;
}

static int link_text(struct immure_arena *a, const char *path, const char **ret)
{
	char text[PATH_MAX];
	ssize_t n = readlink(path, text, sizeof(text));

	if (n < 0 || n == (ssize_t)sizeof(text))
		return n < 0 ? -errno : -ENAMETOOLONG;
	*ret = immure_arena_strndup(a, text, (size_t)n);
	return *ret ? 0 : -ENOMEM;
}

static int look(struct immure_arena *a, struct immure_fact_path *p)
{
	char real[PATH_MAX];
	struct stat st;
	int r;

	if (lstat(p->path, &st) < 0)
		return -errno;
	p->link = S_ISLNK(st.st_mode);
	r = p->link ? link_text(a, p->path, &p->link_target) : 0;
	if (r < 0)
		return r;
	if (!realpath(p->path, real) || lstat(real, &st) < 0)
		return -errno;
	p->real = immure_arena_strdup(a, real);
	immure_facts_set_stat(p, &st);
	return p->real ? 0 : -ENOMEM;
}

void immure_facts_resolve(struct immure_arena *a, struct immure_fact_path **v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int r = look(a, v[i]);

		if (r < 0 && r != -ENOENT && r != -ENOTDIR)
			v[i]->errnum = -r;
	}
}

/* Only plans without namespaces of Linux ask for these. */

int32_t immure_facts_list(struct immure_facts *f, const struct immure_strv *dirs,
			  struct immure_error **err)
{
	f->listings = immure_arena_alloc(&f->arena, (dirs->n + 1) * sizeof(*f->listings));
	for (size_t i = 0; f->listings && i < dirs->n; i++)
		f->listings[f->listings_n++] = (struct immure_fact_listing){
			.path = dirs->v[i], .errnum = ENOSYS };
	return f->arena.failed ? no_memory(err) : 0;
}

void immure_facts_find_closed(struct immure_facts *f)
{
	(void)f; /* nothing is known to be closed already */
}

void immure_facts_find_names(struct immure_facts *f, const char *dir)
{
	(void)f;
	(void)dir; /* each path is looked at */
}

bool immure_facts_lacks(const struct immure_facts *f, const char *dir, const char *sub)
{
	(void)f;
	(void)dir;
	(void)sub;
	return false;
}

int32_t immure_facts_image(struct immure_facts *f, const char *ref, struct immure_error **err)
{
	struct immure_fact_image *image = immure_arena_alloc(&f->arena, sizeof(*image));

	if (!image)
		return no_memory(err);
	*image = (struct immure_fact_image){ .ref = immure_arena_strdup(&f->arena, ref),
					     .errnum = ENOSYS };
	f->image = image;
	return 0;
}

int immure_facts_enter_scope(const char *const *env, uint64_t timeout_ms)
{
	(void)env;
	(void)timeout_ms;
	return 0;
}
