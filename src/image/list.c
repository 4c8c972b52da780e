/* SPDX-License-Identifier: Apache-2.0 */
/* What is in the store, for people and programs. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/names.h"
#include "base/parse.h"
#include "image/store.h"
#include "image/worker.h"

int image_lookup(struct image_worker *w, const char *ref, struct immure_image_record *ret)
{
	char *digest = immure_arena_alloc(&w->arena, IMMURE_IMAGE_DIGEST + 1);
	int r = digest ? immure_image_resolve(w->store_fd, ref, digest) : -ENOMEM;

	if (r == 0)
		r = immure_image_read(w->store_fd, digest, &w->arena, ret);
	if (r == -ENOENT) {
		(void)image_fail(w, ENOENT, "%.100s: no such image", ref);
		(void)snprintf(w->hint, sizeof(w->hint), "immure image ls lists them");
	} else if (r < 0) {
		(void)image_fail(w, -r, "%.100s: %s", ref, r == -EEXIST ? "several images begin so" :
				 r == -EINVAL ? "its record is damaged" : strerror(-r));
	}
	return r;
}

struct row {
	struct image_worker *w;
	struct immure_buf *out;
	struct immure_jsonw j;
	const char *digest;
	size_t names;
};

static void text_row(struct row *row, const char *name, const struct immure_image_record *rec)
{
	char size[32];

	immure_buf_printf(row->out, "%-40s %.12s  %-14s %2zu layers  %s\n", name, rec->digest + 7, rec->platform,
			  rec->layers.n, immure_format_size(rec->bytes, size, sizeof(size)));
}

struct naming {
	struct row *row;
	const struct immure_image_record *rec;
};

static int one_name(void *ctx, const char *name, const char *digest)
{
	struct naming *n = ctx;

	if (strcmp(digest, n->rec->digest) != 0)
		return 0;
	n->row->names++;
	if (n->row->w->json)
		immure_jsonw_str(&n->row->j, NULL, name);
	else
		text_row(n->row, name, n->rec);
	return 0;
}

static int put_names(struct row *row, const struct immure_image_record *rec)
{
	struct naming n = { row, rec };

	row->names = 0;
	return immure_image_names(row->w->store_fd, one_name, &n);
}

static int list_one(struct row *row, const char *hex)
{
	struct immure_image_record rec;
	char digest[IMMURE_IMAGE_DIGEST + 1];
	int r;

	(void)snprintf(digest, sizeof(digest), "sha256:%.64s", hex);
	r = immure_image_read(row->w->store_fd, digest, &row->w->arena, &rec);
	if (r < 0)
		return image_fail(row->w, -r, "%s: its record cannot be read: %s", digest, strerror(-r));
	if (row->w->json) {
		immure_jsonw_object(&row->j, NULL);
		immure_jsonw_str(&row->j, "digest", rec.digest);
		immure_jsonw_array(&row->j, "names");
	}
	r = put_names(row, &rec);
	if (!row->w->json && row->names == 0)
		text_row(row, "-", &rec);
	if (row->w->json) {
		immure_jsonw_end(&row->j, ']');
		immure_jsonw_str(&row->j, "platform", rec.platform);
		immure_jsonw_uint(&row->j, "layers", rec.layers.n);
		immure_jsonw_uint(&row->j, "bytes", rec.bytes);
		immure_jsonw_end(&row->j, '}');
	}
	return r < 0 ? image_fail(row->w, -r, "the store's list of names cannot be read") : 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int image_list(struct image_worker *w, struct immure_buf *out)
{
	struct row row = { .w = w, .out = out };
	int fd = openat(w->store_fd, "images", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), r = 0, unread = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct immure_strv all = { 0 };
	struct dirent *e;

	while (d && (e = immure_readdir(d, &unread)))
		if (strlen(e->d_name) == IMMURE_IMAGE_HEX)
			(void)immure_strv_add(&w->arena, &all, immure_arena_strdup(&w->arena, e->d_name));
	if (unread < 0)
		r = image_fail(w, -unread, "the store cannot be read: %s", strerror(-unread));
	if (d)
		(void)closedir(d);
	if (all.n)
		qsort(all.v, all.n, sizeof(*all.v), by_name);
	if (w->json) {
		immure_jsonw_init(&row.j, out, 0);
		immure_jsonw_array(&row.j, NULL);
	}
	for (size_t i = 0; r == 0 && i < all.n; i++)
		r = list_one(&row, all.v[i]);
	if (w->json) {
		immure_jsonw_end(&row.j, ']');
		immure_buf_putc(out, '\n');
	}
	return w->arena.failed ? image_fail(w, ENOMEM, "out of memory") : r;
}

static void put_list(struct immure_jsonw *j, const char *key, const struct immure_strv *l)
{
	immure_jsonw_array(j, key);
	for (size_t i = 0; i < l->n; i++)
		immure_jsonw_str(j, NULL, l->v[i]);
	immure_jsonw_end(j, ']');
}

int image_inspect(struct image_worker *w, const struct image_request *q, struct immure_buf *out)
{
	struct immure_image_record rec;
	struct row row = { .w = w, .out = out };
	int r = image_lookup(w, q->ref, &rec);

	if (r < 0)
		return r;
	w->json = true; /* there is one form of it */
	immure_jsonw_init(&row.j, out, 2);
	immure_jsonw_object(&row.j, NULL);
	immure_jsonw_str(&row.j, "digest", rec.digest);
	immure_jsonw_str(&row.j, "config", rec.config);
	immure_jsonw_array(&row.j, "names");
	r = put_names(&row, &rec);
	immure_jsonw_end(&row.j, ']');
	immure_jsonw_str(&row.j, "platform", rec.platform);
	immure_jsonw_uint(&row.j, "bytes", rec.bytes);
	put_list(&row.j, "layers", &rec.layers);
	put_list(&row.j, "env", &rec.env);
	put_list(&row.j, "entrypoint", &rec.entrypoint);
	put_list(&row.j, "cmd", &rec.cmd);
	immure_jsonw_str(&row.j, "user", rec.user);
	immure_jsonw_str(&row.j, "workdir", rec.workdir);
	immure_jsonw_str(&row.j, "stop_signal", rec.stop);
	immure_jsonw_end(&row.j, '}');
	immure_buf_putc(out, '\n');
	return r;
}
