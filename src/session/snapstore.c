/* SPDX-License-Identifier: Apache-2.0 */
#include "session/snapstore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/names.h"
#include "base/sha256.h"
#include "session/rmtree.h"
#include "session/runtime.h"
#include "session/snapfiles.h"

enum { META_MAX = 8 << 20, VALUES = 32768, MAKING_S = 60, LEAST = 4 };

static const char half[] = ".new.", head[] = "immure-snapshot 1 ";

static int32_t failed(struct immure_error **err, int errnum, const char *what)
{
	return immure_fail(err, IMMURE_ERR_IO, errnum, "snapshot", what, "%s: %s", what,
			   strerror(errnum < 0 ? -errnum : errnum));
}

static int place(const char *state_dir, char *path)
{
	return snprintf(path, PATH_MAX, "%s/snapshots", state_dir) >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static int open_all(const char *state_dir, bool make, char *path)
{
	int r = place(state_dir, path);

	if (r == 0 && make)
		r = immure_make_dirs(path);
	return r < 0 ? r : immure_runtime_dir(AT_FDCWD, path);
}

/* ---- made ---- */

static int fill(struct immure_snapstore *s)
{
	int r;

	s->lock_fd = immure_runtime_file(s->dir_fd, "lock", O_RDWR | O_CREAT);
	r = s->lock_fd < 0 ? s->lock_fd : immure_runtime_lock(s->lock_fd, false);
	if (r < 0)
		return r;
	s->files_fd = openat(s->dir_fd, "files", O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return s->files_fd < 0 ? -errno : 0;
}

int32_t immure_snapstore_begin(const char *state_dir, struct immure_snapstore *ret, struct immure_error **err)
{
	struct immure_snapstore s = IMMURE_SNAPSTORE_INIT;
	char all[PATH_MAX], name[IMMURE_ID_LEN + 8];
	int r;

	s.all_fd = open_all(state_dir, true, all);
	r = s.all_fd < 0 ? s.all_fd : immure_id_new(s.id);
	(void)snprintf(name, sizeof(name), "%s%s", half, s.id);
	if (r == 0 && snprintf(s.path, sizeof(s.path), "%s/%s", all, name) >= (int)sizeof(s.path))
		r = -ENAMETOOLONG;
	if (r == 0 && mkdirat(s.all_fd, name, 0700) < 0)
		r = -errno;
	if (r == 0) {
		s.dir_fd = immure_runtime_dir(s.all_fd, name);
		r = s.dir_fd < 0 ? s.dir_fd : fill(&s);
		if (r < 0)
			immure_snapstore_done(&s);
	}
	if (r < 0) {
		immure_close(&s.all_fd);
		return failed(err, r, all);
	}
	*ret = s;
	return 0;
}

int32_t immure_snapstore_nameless(const char *state_dir, int *ret_fd, struct immure_error **err)
{
	char path[PATH_MAX];
	IMMURE_CLEANUP_FD int all = open_all(state_dir, true, path);
	int fd = all < 0 ? all : openat(all, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0)
		return failed(err, all < 0 ? all : errno, path);
	*ret_fd = fd;
	return 0;
}

static int write_meta(const struct immure_snapstore *s, const char *json)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	char hex[65];
	int r;

	immure_sha256_hex(json, strlen(json), 32, hex);
	immure_buf_printf(&b, "%s%s\n%s", head, hex, json);
	r = immure_buf_ok(&b) ? immure_file_replace(s->dir_fd, "meta", b.data, b.len, true) : -ENOMEM;
	immure_buf_done(&b);
	return r;
}

void immure_snapstore_done(struct immure_snapstore *s)
{
	if (s->path[0])
		(void)immure_rmtree(s->path); /* or gc does */
	s->path[0] = '\0';
	immure_close(&s->files_fd);
	immure_close(&s->lock_fd);
	immure_close(&s->dir_fd);
	immure_close(&s->all_fd);
}

/* ---- read ---- */

static int32_t damaged(struct immure_error **err, const char *id, const char *why)
{
	int32_t r = immure_fail(err, IMMURE_ERR_SNAPSHOT, EBADMSG, "snapshot", id, "%s: invalid_snapshot: %s", id, why);

	if (err && *err)
		immure_error_set_hint(*err, "immure snapshot rm %s", id);
	return r;
}

int immure_snapshot_parse(const char *data, size_t len, struct immure_snapshot_read *s)
{
	const char *body = data + sizeof(head) - 1 + 65;
	char hex[65];

	if (len < (size_t)(body - data) || memcmp(data, head, sizeof(head) - 1) != 0 || body[-1] != '\n')
		return -EBADMSG;
	len -= (size_t)(body - data);
	immure_sha256_hex(body, len, 32, hex);
	if (memcmp(hex, data + sizeof(head) - 1, 64) != 0 || strlen(body) != len)
		return -EBADMSG;
	s->text = strdup(body);
	s->parsed = strdup(body);
	s->v = calloc(VALUES, sizeof(*s->v));
	if (!s->text || !s->parsed || !s->v)
		return -ENOMEM;
	return immure_jsonr_parse(&s->json, s->parsed, len, s->v, VALUES) < 0 ||
	       s->v[0].type != IMMURE_JSON_OBJECT ? -EBADMSG : 0;
}

static int32_t read_one(int all, const char *id, struct immure_snapshot_read *ret, struct immure_error **err)
{
	struct immure_snapshot_read s = IMMURE_SNAPSHOT_READ_INIT;
	IMMURE_CLEANUP_FREE char *data = NULL;
	const struct immure_jsonr_value *v = NULL;
	size_t len = 0;
	int r;

	(void)snprintf(s.id, sizeof(s.id), "%s", id);
	s.dir_fd = immure_runtime_dir(all, id);
	r = s.dir_fd < 0 ? s.dir_fd : immure_runtime_read(s.dir_fd, "meta", META_MAX, &data, &len);
	if (r == 0)
		r = immure_snapshot_parse(data, len, &s);
	if (r == 0)
		v = immure_jsonr_get(&s.json, s.v, "id");
	if (r == 0 && (!v || v->type != IMMURE_JSON_STRING || strcmp(v->text, id) != 0))
		r = -EBADMSG;
	if (r == 0) {
		s.files_fd = immure_runtime_file(s.dir_fd, "files", O_RDONLY);
		r = s.files_fd < 0 ? s.files_fd : 0;
	}
	if (r < 0) {
		immure_snapshot_read_done(&s);
		return damaged(err, id, r == -EBADMSG ? "what is said of it was changed, or is half" : strerror(-r));
	}
	*ret = s;
	return 0;
}

struct search {
	int all;
	const char *name;
	char id[IMMURE_ID_LEN + 1];
	unsigned int n; /* that match */
};

static bool has_name(int all, const char *id, const char *name)
{
	struct immure_snapshot_read s = IMMURE_SNAPSHOT_READ_INIT;
	const struct immure_jsonr_value *v;
	bool yes;

	if (read_one(all, id, &s, NULL) < 0)
		return false;
	v = immure_jsonr_get(&s.json, s.v, "name");
	yes = v && v->type == IMMURE_JSON_STRING && strcmp(v->text, name) == 0;
	immure_snapshot_read_done(&s);
	return yes;
}

static int match(void *ctx, const char *id)
{
	struct search *f = ctx;
	size_t len = strlen(f->name);
	bool by_id = len >= LEAST && strncmp(id, f->name, len) == 0;

	if (!immure_id_valid(id) || (!by_id && !(immure_name_valid(f->name) && has_name(f->all, id, f->name))))
		return 0;
	(void)snprintf(f->id, sizeof(f->id), "%s", id);
	f->n++;
	return 0;
}

/* ---- published ---- */

/* While the whole is locked: nobody else takes the name in between. */
static int32_t publish(struct immure_snapstore *s, const char *state_dir, const char *name, struct immure_error **err)
{
	IMMURE_CLEANUP_FD int lock = immure_runtime_file(s->all_fd, "lock", O_RDWR | O_CREAT);
	struct search same = { .all = s->all_fd, .name = name };
	char was[IMMURE_ID_LEN + 8];
	int r = lock < 0 ? lock : immure_runtime_lock(lock, true);

	if (r == 0 && name[0])
		r = immure_snapstore_each(state_dir, match, &same);
	if (r < 0)
		return failed(err, r, s->path);
	if (same.n)
		return immure_fail(err, IMMURE_ERR_STATE, EEXIST, "snapshot", "name", "%s: there is a snapshot of that "
				   "name", name);
	(void)snprintf(was, sizeof(was), "%s%s", half, s->id);
	if (renameat(s->all_fd, was, s->all_fd, s->id) < 0)
		return failed(err, errno, s->path);
	s->path[0] = '\0'; /* it stays */
	(void)fsync(s->all_fd); /* a machine that stops now may forget its name; then it is half-made */
	return 0;
}

int32_t immure_snapstore_commit(struct immure_snapstore *s, const char *state_dir, const char *name, const char *json,
				struct immure_error **err)
{
	int r = fsync(s->files_fd) < 0 ? -errno : write_meta(s, json);

	return r < 0 ? failed(err, r, s->path) : publish(s, state_dir, name, err);
}

/* ---- found ---- */

static int32_t find(const char *state_dir, const char *name, struct search *f, struct immure_error **err)
{
	char path[PATH_MAX];
	int r;

	*f = (struct search){ .all = open_all(state_dir, false, path), .name = name };
	r = f->all < 0 ? (f->all == -ENOENT ? 0 : f->all) : immure_snapstore_each(state_dir, match, f);
	if (r == 0 && f->n == 1)
		return 0;
	immure_close(&f->all);
	if (r < 0)
		return failed(err, r, path);
	(void)immure_fail(err, IMMURE_ERR_SNAPSHOT, ENOENT, "snapshot", name, f->n ? "%s: several snapshots begin with "
			  "that" : "%s: no such snapshot", name);
	if (err && *err)
		immure_error_set_hint(*err, "immure snapshot ls lists them");
	return -IMMURE_ERR_SNAPSHOT;
}

int32_t immure_snapstore_read(const char *state_dir, const char *name, struct immure_snapshot_read *ret,
			      struct immure_error **err)
{
	struct search f;
	int32_t r = find(state_dir, name, &f, err);

	if (r < 0)
		return r;
	r = read_one(f.all, f.id, ret, err);
	immure_close(&f.all);
	return r;
}

int32_t immure_snapstore_verify(const struct immure_snapshot_read *s, struct immure_error **err)
{
	const struct immure_jsonr_value *files = immure_jsonr_get(&s->json, s->v, "about"), *hash, *length;
	unsigned char sum[32];
	char hex[65];
	uint64_t len = 0;
	int r;

	files = immure_jsonr_get(&s->json, files, "files");
	hash = immure_jsonr_get(&s->json, files, "sha256");
	length = immure_jsonr_get(&s->json, files, "length");
	if (!hash || hash->type != IMMURE_JSON_STRING || !length || length->type != IMMURE_JSON_INTEGER)
		return damaged(err, s->id, "it does not say what its files are");
	r = immure_snap_hash(s->files_fd, sum, &len);
	if (r < 0)
		return damaged(err, s->id, strerror(-r));
	for (int i = 0; i < 32; i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", sum[i]);
	if (len != (uint64_t)length->integer || strcmp(hex, hash->text) != 0)
		return damaged(err, s->id, "its files were changed, or are half");
	return 0;
}

void immure_snapshot_read_done(struct immure_snapshot_read *s)
{
	immure_close(&s->files_fd);
	immure_close(&s->dir_fd);
	free(s->text);
	free(s->parsed);
	free(s->v);
	*s = (struct immure_snapshot_read)IMMURE_SNAPSHOT_READ_INIT;
}

/* ---- removed ---- */

static int remove_one(const char *state_dir, const char *name)
{
	char path[PATH_MAX], gone[PATH_MAX];
	int r = place(state_dir, gone);

	if (r < 0 || strchr(name, '/') || snprintf(path, sizeof(path), "%s/snapshots/%s", state_dir, name) >= PATH_MAX)
		return -ENAMETOOLONG;
	if (!immure_id_valid(name))
		return immure_rmtree(path);
	/* Half of one is none. */
	if (snprintf(gone, sizeof(gone), "%s/snapshots/%s%s", state_dir, half, name) >= PATH_MAX)
		return -ENAMETOOLONG;
	return rename(path, gone) < 0 ? -errno : immure_rmtree(gone);
}

int32_t immure_snapstore_remove(const char *state_dir, const char *name, struct immure_error **err)
{
	struct search f;
	int32_t r = find(state_dir, name, &f, err);
	int e;

	if (r < 0)
		return r;
	immure_close(&f.all);
	e = remove_one(state_dir, f.id);
	return e < 0 ? failed(err, e, f.id) : 0;
}

int immure_snapstore_each(const char *state_dir, int (*each)(void *ctx, const char *name), void *ctx)
{
	char path[PATH_MAX];
	int fd = open_all(state_dir, false, path), r = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	if (!d) {
		r = -errno;
		immure_close(&fd);
		return r;
	}
	while (r == 0 && (e = immure_readdir(d, &r)))
		if (immure_id_valid(e->d_name) || strncmp(e->d_name, half, strlen(half)) == 0)
			r = each(ctx, e->d_name);
	(void)closedir(d); /* read only: nothing is lost */
	return r;
}

/* ---- what is left ---- */

struct run {
	const char *state_dir;
	bool dry_run;
	struct immure_report *report;
};

/* Its maker holds a lock in it, except for a moment in the beginning. */
static bool is_being_made(int dir)
{
	IMMURE_CLEANUP_FD int lock = immure_runtime_file(dir, "lock", O_RDWR);
	struct stat st;

	if (lock >= 0)
		return immure_runtime_lock(lock, false) == -EAGAIN;
	return fstat(dir, &st) < 0 || st.st_ctim.tv_sec + MAKING_S > time(NULL);
}

static int look(void *ctx, const char *name)
{
	const struct run *run = ctx;
	char path[PATH_MAX];
	IMMURE_CLEANUP_FD int all = open_all(run->state_dir, false, path);
	IMMURE_CLEANUP_FD int dir = all < 0 ? -1 : immure_runtime_dir(all, name);
	struct immure_snapshot_read s = IMMURE_SNAPSHOT_READ_INIT;
	int r = 0;

	if (dir < 0)
		return 0; /* gone meanwhile */
	if (!immure_id_valid(name)) {
		if (is_being_made(dir))
			return 0;
		r = run->dry_run ? 0 : remove_one(run->state_dir, name);
		immure_report_add(run->report, NULL, "snapshot", name, r < 0 ? IMMURE_FATE_FAILED : IMMURE_FATE_REMOVED,
				  r < 0 ? strerror(-r) : "half-made");
	} else if (read_one(all, name, &s, NULL) < 0) {
		immure_report_add(run->report, NULL, "snapshot", name, IMMURE_FATE_KEPT, "damaged; immure snapshot rm "
				  "removes it");
	}
	immure_snapshot_read_done(&s);
	return 0;
}

void immure_snapstore_collect(const char *state_dir, bool dry_run, struct immure_report *report)
{
	struct run run = { state_dir, dry_run, report };
	int r = state_dir ? immure_snapstore_each(state_dir, look, &run) : 0;

	if (r < 0)
		immure_report_add(report, NULL, "directory", state_dir, IMMURE_FATE_FAILED, strerror(-r));
}
