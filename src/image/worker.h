/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of immure-image share; not in the library.
 *
 * The program is started with the store as descriptor 3 and what is to be read as 4, closes
 * itself in (confine.c) and only then reads. An import goes
 *
 *     source.c    a layout's directory; archive.c makes one of an archive, in the store's tmp
 *     manifest.c  index, manifest and config: JSON to values
 *     blob.c      one layer's bytes: counted, hashed as they are, unpacked, hashed again
 *     unpack.c    the entries of its archive, one after another, into a new tree
 *     place.c     what it means to put something into that tree and nowhere else
 *     tree.c      the finished tree's own digest; removal of trees
 *     keep.c      locks, and the store's names for what is whole
 *
 * Functions return 0 or a value, or -errno with the reason in w->why. */
#ifndef IMMURE_IMAGE_WORKER_H
#define IMMURE_IMAGE_WORKER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "image/record.h"

enum { IMAGE_STORE_FD = 3, IMAGE_INPUT_FD = 4, IMAGE_JSON_MAX = 4 << 20 };

struct image_worker {
	struct immure_arena arena;
	char why[512];       /* what went wrong, one line; may hold bytes of the input */
	char hint[200];
	int store_fd;
	int tmp_fd;          /* our own directory in the store's tmp, made when needed */
	char tmp_name[40];
	bool json;           /* the answer is JSON, not lines */
	uint64_t max_bytes;  /* of one image, unpacked */
	uint64_t max_entries;
	uint64_t bytes, entries; /* so far */
};

/* Keeps the first reason; returns -errnum. */
int image_fail(struct image_worker *w, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* confine.c: nothing but the store can be changed afterwards. */
int image_confine(struct image_worker *w);

/* ---- digest.c: SHA-256; the only file that knows the library ---- */
struct image_hash {
	void *ctx;
};
int image_hash_warm(void); /* before confinement */
int image_hash_begin(struct image_hash *h);
int image_hash_add(struct image_hash *h, const void *data, size_t len);
int image_hash_end(struct image_hash *h, char ret[IMMURE_IMAGE_DIGEST + 1]);
void image_hash_done(struct image_hash *h);
int image_hash_text(const void *data, size_t len, char ret[IMMURE_IMAGE_DIGEST + 1]);

/* ---- manifest.c ---- */
struct image_descriptor {
	const char *digest;
	uint64_t size;       /* IMAGE_ANY_SIZE: not said */
	const char *name;    /* what an index calls it; NULL = nothing */
	const char *platform; /* "linux/amd64"; NULL = not said */
	bool index;          /* leads to another index */
};
#define IMAGE_ANY_SIZE UINT64_MAX
struct image_descriptors {
	struct image_descriptor *v;
	size_t n;
};
struct image_manifest {
	struct image_descriptor config;
	struct image_descriptors layers;
};
int image_index_parse(struct image_worker *w, const char *text, size_t len, struct image_descriptors *ret);
int image_manifest_parse(struct image_worker *w, const char *text, size_t len, struct image_manifest *ret);
/* Fills all of *r that comes from the config: platform, user, layers, env ... */
int image_config_parse(struct image_worker *w, const char *text, size_t len, struct immure_image_record *r);
/* docker save: manifest.json; names of members instead of digests. */
struct image_saved {
	const char *config;
	struct immure_strv tags, layers;
};
int image_saved_parse(struct image_worker *w, const char *text, size_t len, struct image_saved **ret, size_t *ret_n);

/* ---- source.c: where blobs come from ---- */
struct image_source {
	int dir_fd;                /* a layout's directory, or -1 */
	int spool_fd;              /* the members of an archive, as numbered files, or -1 */
	struct immure_strv members; /* name, link target or "", ... ; two a member */
};
/* Any file of it, plain, below it and not through a link. */
int image_source_open(struct image_worker *w, const struct image_source *s, const char *name);
int image_source_open_digest(struct image_worker *w, const struct image_source *s, const char *digest);
int image_source_read(struct image_worker *w, const struct image_source *s, const char *name, char **ret, size_t *ret_len);
/* Checked against digest and size. */
int image_source_read_digest(struct image_worker *w, const struct image_source *s, const struct image_descriptor *d,
			     char **ret, size_t *ret_len);
bool image_source_has(const struct image_source *s, const char *name);
/* archive.c: an archive's plain files go to the spool. */
int image_archive_spool(struct image_worker *w, int fd, struct image_source *ret);
/* A name of a member in normal form, in the arena; NULL: not one that may be. */
char *image_member_name(struct immure_arena *a, const char *name);

/* ---- blob.c ---- */
struct archive;
struct image_blob;
/* fd is borrowed. What is read as an archive comes of exactly these bytes. */
int image_blob_open(struct image_worker *w, int fd, struct image_blob **ret);
struct archive *image_blob_archive(struct image_blob *b);
/* Reads to the end and compares: d as the manifest says, diff_id as the config says. */
int image_blob_finish(struct image_worker *w, struct image_blob *b, const struct image_descriptor *d,
		      const char *diff_id);
void image_blob_close(struct image_blob *b);
/* What the library says went wrong, or that the caps were passed. */
int image_blob_why(struct image_worker *w, struct image_blob *b, struct archive *a);

/* ---- place.c: nothing is put anywhere but below root_fd, nor through a link ---- */
struct image_place {
	int root_fd;
	int parent_fd;        /* the last directory that something was put in */
	char parent[4096];
};
enum image_found { IMAGE_NOTHING, IMAGE_PLAIN, IMAGE_DIRECTORY, IMAGE_WHITEOUT };
/* The directory of an entry, made where it is missing; borrowed. *ret_name points into path. */
int image_place_parent(struct image_worker *w, struct image_place *p, const char *path, const char **ret_name);
int image_place_look(int dir, const char *name, enum image_found *ret);
/* Makes room: what is there goes, but a directory stays for a directory. */
int image_place_clear(struct image_worker *w, struct image_place *p, int dir, const char *name,
		      bool directory, enum image_found *ret_was);
void image_place_done(struct image_place *p);

/* ---- unpack.c ---- */
struct image_layer {
	const char *diff_id;
	uint64_t entries, bytes;
	uint64_t devices, special, setuid, xattrs; /* left out */
	char tree[IMMURE_IMAGE_DIGEST + 1];
};
/* tree_fd: an empty directory. owners_fd: gets a line for each entry that is not root's. */
int image_unpack(struct image_worker *w, struct image_blob *b, int tree_fd, int owners_fd,
		 struct image_layer *l);

/* ---- tree.c ---- */
int image_tree_digest(struct image_worker *w, int dir_fd, char ret[IMMURE_IMAGE_DIGEST + 1]);
/* Removes name in dir with all that is in it, following nothing. */
int image_tree_remove(int dir_fd, const char *name);

/* ---- keep.c ---- */
int image_keep_dirs(struct image_worker *w);     /* the store's own directories */
int image_keep_lock(struct image_worker *w, bool alone); /* descriptor of the store's lock */
int image_keep_lock_layer(struct image_worker *w, const char *diff_id);
bool image_keep_has(struct image_worker *w, const char *kind, const char *digest);
int image_keep_tmp(struct image_worker *w);
int image_keep_write(struct image_worker *w, int dir, const char *name, const void *data, size_t len);
/* A directory of our tmp becomes kind/HEX; already there is no failure. */
int image_keep_move(struct image_worker *w, const char *from, const char *kind, const char *digest);
void image_keep_end(struct image_worker *w);     /* removes our tmp */
/* name NULL: the digest loses all its names; digest NULL: that name is removed. */
int image_keep_name(struct image_worker *w, const char *name, const char *digest);

/* ---- commands ---- */
struct image_request {
	const char *verb, *ref, *name, *platform, *which;
};
int image_import(struct image_worker *w, const struct image_request *q, struct immure_buf *out);
int image_list(struct image_worker *w, struct immure_buf *out);
int image_inspect(struct image_worker *w, const struct image_request *q, struct immure_buf *out);
int image_verify(struct image_worker *w, const struct image_request *q, struct immure_buf *out);
int image_remove(struct image_worker *w, const struct image_request *q, struct immure_buf *out);
int image_gc(struct image_worker *w, struct immure_buf *out);

/* gather.c: of a source, one image's manifest, config, record. */
struct image_found_image {
	struct immure_image_record record;
	struct image_manifest manifest;    /* layers' digests; from docker save, names in members */
	const char *manifest_text;         /* NULL: docker save has none */
	size_t manifest_len;
	const char *config_text;
	size_t config_len;
	const char *name;                  /* what the source calls it; NULL = nothing */
	struct immure_strv members;        /* docker save: of each layer */
};
int image_gather(struct image_worker *w, const struct image_source *s, const struct image_request *q,
		 struct image_found_image *ret);
const char *image_host_platform(void);
/* list.c: the record of REF; the digest in the arena. */
int image_lookup(struct image_worker *w, const char *ref, struct immure_image_record *ret);

#endif
