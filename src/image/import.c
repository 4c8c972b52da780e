/* SPDX-License-Identifier: Apache-2.0 */
/* An image into the store: what is missing of its layers, then its record, then its name. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "image/worker.h"

struct import {
	struct image_worker *w;
	struct image_source source;
	struct image_found_image image;
	int locks[IMMURE_IMAGE_LAYERS_MAX]; /* of the layers that were missing */
	size_t locks_n;
	struct image_layer layers[IMMURE_IMAGE_LAYERS_MAX];
	bool fresh[IMMURE_IMAGE_LAYERS_MAX];
	size_t fresh_n;
};

static int store_failed(struct import *m)
{
	return image_fail(m->w, errno, "the store cannot be written: %s", strerror(errno));
}

static int open_source(struct import *m)
{
	struct stat st;

	m->source = (struct image_source){ -1, -1, { 0 } };
	if (fstat(IMAGE_INPUT_FD, &st) < 0)
		return image_fail(m->w, errno, "cannot be read");
	if (!S_ISDIR(st.st_mode))
		return image_archive_spool(m->w, IMAGE_INPUT_FD, &m->source);
	m->source.dir_fd = IMAGE_INPUT_FD;
	return 0;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* In the order of their digests, whatever the image's own is: two imports with the same
 * layers cannot wait for each other. */
static int lock_missing(struct import *m)
{
	const struct immure_strv *ids = &m->image.record.layers;
	const char *sorted[IMMURE_IMAGE_LAYERS_MAX];

	memcpy(sorted, ids->v, ids->n * sizeof(*sorted));
	qsort(sorted, ids->n, sizeof(*sorted), compare);
	for (size_t i = 0; i < ids->n; i++) {
		int fd;

		if (image_keep_has(m->w, "layers", sorted[i]) || (i && strcmp(sorted[i], sorted[i - 1]) == 0))
			continue;
		fd = image_keep_lock_layer(m->w, sorted[i]);
		if (fd < 0)
			return fd;
		m->locks[m->locks_n++] = fd;
	}
	return 0;
}

static int write_layer_record(struct import *m, int dir, const struct image_layer *l)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	int r;

	immure_buf_printf(&b, "immure-layer 1\ndiff %s\ntree %s\nentries %llu\nbytes %llu\n"
			  "left-out devices %llu special %llu setid %llu xattrs %llu\n", l->diff_id, l->tree,
			  (unsigned long long)l->entries, (unsigned long long)l->bytes,
			  (unsigned long long)l->devices, (unsigned long long)l->special,
			  (unsigned long long)l->setuid, (unsigned long long)l->xattrs);
	r = b.failed ? image_fail(m->w, ENOMEM, "out of memory") :
		       image_keep_write(m->w, dir, "record", b.data, b.len);
	immure_buf_done(&b);
	return r;
}

static int blob_fd(struct import *m, size_t i)
{
	return m->image.members.n ? image_source_open(m->w, &m->source, m->image.members.v[i]) :
		image_source_open_digest(m->w, &m->source, m->image.manifest.layers.v[i].digest);
}

static int unpack_into(struct import *m, size_t i, int dir)
{
	IMMURE_CLEANUP_FD int blob = blob_fd(m, i);
	IMMURE_CLEANUP_FD int owners = openat(dir, "owners", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	IMMURE_CLEANUP_FD int tree = -1;
	struct image_layer *l = &m->layers[i];
	struct image_blob *b = NULL;
	int r;

	if (blob < 0)
		return blob;
	if (owners < 0 || mkdirat(dir, "tree", 0755) < 0 || fchmodat(dir, "tree", 0755, 0) < 0 ||
	    (tree = openat(dir, "tree", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
		return store_failed(m);
	l->diff_id = m->image.record.layers.v[i];
	r = image_blob_open(m->w, blob, &b);
	if (r == 0)
		r = image_unpack(m->w, b, tree, owners, l);
	if (r == 0)
		r = image_blob_finish(m->w, b, &m->image.manifest.layers.v[i], l->diff_id);
	image_blob_close(b);
	if (r == 0)
		r = image_tree_digest(m->w, tree, l->tree);
	return r < 0 ? r : write_layer_record(m, dir, l);
}

/* Looked at again under the lock: another import may have made it meanwhile. */
static int layer(struct import *m, size_t i)
{
	const char *diff_id = m->image.record.layers.v[i];
	IMMURE_CLEANUP_FD int dir = -1;
	int tmp = image_keep_tmp(m->w);
	char name[24];

	if (tmp < 0)
		return tmp;
	if (image_keep_has(m->w, "layers", diff_id))
		return 0;
	for (size_t j = 0; j < i; j++)
		if (m->fresh[j] && strcmp(m->image.record.layers.v[j], diff_id) == 0)
			return 0; /* the same twice in one image */
	(void)snprintf(name, sizeof(name), "%zu", i);
	if (mkdirat(tmp, name, 0700) < 0 ||
	    (dir = openat(tmp, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
		return store_failed(m);
	m->fresh[i] = true;
	m->fresh_n++;
	return unpack_into(m, i, dir);
}

static int write_image(struct import *m, int dir)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	const struct image_found_image *f = &m->image;
	int r;

	immure_image_record_put(&f->record, &b);
	r = b.failed ? image_fail(m->w, ENOMEM, "out of memory") : image_keep_write(m->w, dir, "record", b.data, b.len);
	immure_buf_done(&b);
	if (r == 0 && f->manifest_text)
		r = image_keep_write(m->w, dir, "manifest.json", f->manifest_text, f->manifest_len);
	return r < 0 ? r : image_keep_write(m->w, dir, "config.json", f->config_text, f->config_len);
}

static int layer_bytes(struct image_worker *w, const char *diff_id, uint64_t *sum)
{
	char path[IMMURE_IMAGE_HEX + 32], *text = NULL, *line;
	unsigned long long bytes = 0;
	size_t len;
	int r;

	(void)snprintf(path, sizeof(path), "layers/%s/record", diff_id + 7);
	r = immure_read_file_at(w->store_fd, path, 4096, &text, &len);
	line = r == 0 ? strstr(text, "\nbytes ") : NULL;
	if (line)
		bytes = strtoull(line + 7, NULL, 10);
	free(text);
	*sum += bytes;
	return r < 0 || !line ? image_fail(w, EIO, "the layer %s has no record; 'immure image gc'", diff_id) : 0;
}

/* All that is new reaches the disk before anything of it has a name: after a power cut a
 * layer is whole or is not there. */
static int publish(struct import *m)
{
	struct immure_image_record *rec = &m->image.record;
	IMMURE_CLEANUP_FD int dir = -1;
	int r = 0;

	if (m->fresh_n && syncfs(m->w->tmp_fd) < 0)
		return store_failed(m);
	for (size_t i = 0; r == 0 && i < rec->layers.n; i++) {
		char name[24];

		(void)snprintf(name, sizeof(name), "%zu", i);
		if (m->fresh[i])
			r = image_keep_move(m->w, name, "layers", rec->layers.v[i]);
		if (r == 0)
			r = layer_bytes(m->w, rec->layers.v[i], &rec->bytes);
	}
	if (r < 0 || image_keep_has(m->w, "images", rec->digest))
		return r;
	if (mkdirat(m->w->tmp_fd, "image", 0700) < 0 ||
	    (dir = openat(m->w->tmp_fd, "image", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
		return store_failed(m);
	r = write_image(m, dir);
	if (r == 0 && syncfs(m->w->tmp_fd) < 0)
		return store_failed(m);
	return r < 0 ? r : image_keep_move(m->w, "image", "images", rec->digest);
}

static void answer(const struct import *m, const char *name, struct immure_buf *out)
{
	const struct immure_image_record *rec = &m->image.record;
	uint64_t left[4] = { 0 };
	struct immure_jsonw j;

	for (size_t i = 0; i < rec->layers.n; i++) {
		left[0] += m->layers[i].devices;
		left[1] += m->layers[i].special;
		left[2] += m->layers[i].setuid;
		left[3] += m->layers[i].xattrs;
	}
	if (!m->w->json) {
		immure_buf_printf(out, "%s\n", rec->digest);
		return;
	}
	immure_jsonw_init(&j, out, 0);
	immure_jsonw_object(&j, NULL);
	immure_jsonw_str(&j, "digest", rec->digest);
	immure_jsonw_str(&j, "name", name);
	immure_jsonw_str(&j, "platform", rec->platform);
	immure_jsonw_uint(&j, "layers", rec->layers.n);
	immure_jsonw_uint(&j, "unpacked", m->fresh_n);
	immure_jsonw_uint(&j, "bytes", rec->bytes);
	immure_jsonw_object(&j, "left_out");
	immure_jsonw_uint(&j, "devices", left[0]);
	immure_jsonw_uint(&j, "special_files", left[1]);
	immure_jsonw_uint(&j, "setid_bits", left[2]);
	immure_jsonw_uint(&j, "xattrs", left[3]);
	immure_jsonw_end(&j, '}');
	immure_jsonw_end(&j, '}');
	immure_buf_putc(out, '\n');
}

/* The caller's name, or the image's own where that is one. */
static const char *name_for(const struct import *m, const struct image_request *q)
{
	if (q->name)
		return q->name;
	return m->image.name && immure_image_is_name(m->image.name) ? m->image.name : NULL;
}

int image_import(struct image_worker *w, const struct image_request *q, struct immure_buf *out)
{
	struct import *m = immure_arena_alloc(&w->arena, sizeof(*m));
	IMMURE_CLEANUP_FD int lock = -1;
	const char *name;
	int r = m ? image_keep_dirs(w) : image_fail(w, ENOMEM, "out of memory");

	if (r == 0)
		r = lock = image_keep_lock(w, false);
	if (r < 0)
		return r;
	m->w = w;
	r = open_source(m);
	if (r == 0)
		r = image_gather(w, &m->source, q, &m->image);
	if (r == 0)
		r = lock_missing(m);
	for (size_t i = 0; r == 0 && i < m->image.record.layers.n; i++)
		r = layer(m, i);
	if (r == 0)
		r = publish(m);
	name = r == 0 ? name_for(m, q) : NULL;
	if (name)
		r = image_keep_name(w, name, m->image.record.digest);
	for (size_t i = 0; m->locks_n && i < m->locks_n; i++)
		immure_close(&m->locks[i]);
	immure_close(&m->source.spool_fd);
	if (r == 0)
		answer(m, name, out);
	return r;
}
