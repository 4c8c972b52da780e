/* SPDX-License-Identifier: Apache-2.0 */
/* Removing names, images and what no image needs. Alone in the store: no import runs. A layer
 * that a session uses is locked, and stays until a later sweep. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/names.h"
#include "image/store.h"
#include "image/worker.h"

struct sweep {
	struct immure_strv layers;  /* that images need */
	uint64_t images, removed_layers, leftovers;
	uint64_t used;              /* layers that nothing needs but a session */
};

static void answer(const struct image_worker *w, const struct sweep *s, struct immure_buf *out)
{
	immure_buf_printf(out, w->json ? "{\"images\":%llu,\"layers\":%llu,\"leftovers\":%llu,\"in_use\":%llu}\n" :
			  "removed: %llu images, %llu layers, %llu things left by imports; "
			  "kept for sessions: %llu layers\n",
			  (unsigned long long)s->images, (unsigned long long)s->removed_layers,
			  (unsigned long long)s->leftovers, (unsigned long long)s->used);
}

/* Calls each for every entry of a directory of the store; its failure goes on. */
static int each(struct image_worker *w, const char *dir, struct sweep *s,
		int (*fn)(struct image_worker *w, int dir_fd, const char *name, struct sweep *s))
{
	int fd = openat(w->store_fd, dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), r = 0, unread = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d) {
		int saved = errno;

		immure_close(&fd);
		return saved == ENOENT ? 0 : image_fail(w, saved, "the store cannot be read: %s", strerror(saved));
	}
	while ((e = immure_readdir(d, &unread))) {
		int one = e->d_name[0] == '.' ? 0 : fn(w, dirfd(d), e->d_name, s);

		r = r == 0 ? one : r;
	}
	/* What is not listed is not kept: a part of what is needed would lose layers. */
	if (unread < 0 && r == 0)
		r = image_fail(w, -unread, "the store cannot be read: %s", strerror(-unread));
	(void)closedir(d);
	return r;
}

static int need(struct image_worker *w, int dir_fd, const char *name, struct sweep *s)
{
	char digest[IMMURE_IMAGE_DIGEST + 1];
	struct immure_image_record rec;
	int r;

	(void)dir_fd;
	(void)snprintf(digest, sizeof(digest), "sha256:%.64s", name);
	r = immure_image_read(w->store_fd, digest, &w->arena, &rec);
	/* What it needs is not known, so nothing may be removed. */
	if (r < 0)
		return image_fail(w, -r, "images/%.64s: its record is damaged; remove that directory", name);
	for (size_t i = 0; i < rec.layers.n; i++)
		if (!immure_strv_add(&w->arena, &s->layers, rec.layers.v[i]))
			return image_fail(w, ENOMEM, "out of memory");
	return 0;
}

static int remove_one(struct image_worker *w, int dir_fd, const char *name, uint64_t *count)
{
	int r = image_tree_remove(dir_fd, name);

	if (r < 0)
		return image_fail(w, -r, "%.64s cannot be removed: %s", name, strerror(-r));
	++*count;
	return 0;
}

static int remove_unused(struct image_worker *w, int dir_fd, const char *name, struct sweep *s)
{
	char path[IMMURE_IMAGE_HEX + 16];
	IMMURE_CLEANUP_FD int tree = -1;

	(void)snprintf(path, sizeof(path), "%.64s/tree", name);
	tree = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	/* Held until it is gone: whoever comes meanwhile is told so. */
	if (tree >= 0 && flock(tree, LOCK_EX | LOCK_NB) < 0) {
		s->used++;
		return 0;
	}
	return remove_one(w, dir_fd, name, &s->removed_layers);
}

static int drop_layer(struct image_worker *w, int dir_fd, const char *name, struct sweep *s)
{
	char digest[IMMURE_IMAGE_DIGEST + 1];

	(void)snprintf(digest, sizeof(digest), "sha256:%.64s", name);
	if (strlen(name) == IMMURE_IMAGE_HEX && immure_strv_has(&s->layers, digest))
		return 0;
	return remove_unused(w, dir_fd, name, s);
}

static int drop_leftover(struct image_worker *w, int dir_fd, const char *name, struct sweep *s)
{
	if (w->tmp_fd >= 0 && strcmp(name, w->tmp_name) == 0)
		return 0;
	return remove_one(w, dir_fd, name, &s->leftovers);
}

static int drop_lock(struct image_worker *w, int dir_fd, const char *name, struct sweep *s)
{
	uint64_t ignored = 0;

	(void)s;
	return remove_one(w, dir_fd, name, &ignored);
}

static int sweep(struct image_worker *w, struct sweep *s)
{
	int r = each(w, "images", s, need);

	if (r == 0)
		r = each(w, "layers", s, drop_layer);
	if (r == 0)
		r = each(w, "tmp", s, drop_leftover);
	return r < 0 ? r : each(w, "locks", s, drop_lock);
}

int image_gc(struct image_worker *w, struct immure_buf *out)
{
	IMMURE_CLEANUP_FD int lock = image_keep_lock(w, true);
	struct sweep s = { 0 };
	int r = lock < 0 ? lock : sweep(w, &s);

	if (r == 0)
		answer(w, &s, out);
	return r;
}

struct others {
	const char *name, *digest;
	char tagged[IMMURE_IMAGE_NAME_MAX + 8]; /* what the name may stand for */
	const char *is;                         /* which of the two there is */
	uint64_t all;
};

static int other_name(void *ctx, const char *name, const char *digest)
{
	struct others *o = ctx;

	o->all += strcmp(digest, o->digest) == 0;
	if (strcmp(name, o->name) == 0 || (!o->is && strcmp(name, o->tagged) == 0))
		o->is = strcmp(name, o->name) == 0 ? o->name : o->tagged;
	return 0;
}

static int drop_image(struct image_worker *w, const char *digest, struct sweep *s)
{
	IMMURE_CLEANUP_FD int dir = openat(w->store_fd, "images", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (dir < 0)
		return image_fail(w, errno, "%s cannot be removed: %s", digest, strerror(errno));
	return remove_one(w, dir, digest + 7, &s->images);
}

int image_remove(struct image_worker *w, const struct image_request *q, struct immure_buf *out)
{
	IMMURE_CLEANUP_FD int lock = image_keep_lock(w, true);
	struct immure_image_record rec;
	struct others o = { .name = q->ref };
	struct sweep s = { 0 };
	int r = lock < 0 ? lock : image_lookup(w, q->ref, &rec);

	if (r < 0)
		return r;
	o.digest = rec.digest;
	(void)snprintf(o.tagged, sizeof(o.tagged), "%.255s:latest", q->ref);
	r = immure_image_names(w->store_fd, other_name, &o);
	if (r < 0)
		return image_fail(w, -r, "the store's list of names cannot be read: %s", strerror(-r));
	if (o.is && o.all > 1) { /* one name of several goes */
		r = image_keep_name(w, o.is, NULL);
	} else {
		r = drop_image(w, rec.digest, &s);
		if (r == 0)
			r = image_keep_name(w, NULL, rec.digest);
		if (r == 0)
			r = sweep(w, &s);
	}
	if (r == 0)
		answer(w, &s, out);
	return r;
}
