/* SPDX-License-Identifier: Apache-2.0 */
/* One session's directory: made, adopted, asked, removed. */
#include "session/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "session/fields.h"
#include "session/runtime.h"

enum { PLAN_MAX = 64 << 20 };

int immure_id_new(char ret[IMMURE_ID_LEN + 1])
{
	static const char first[] = "234567", rest[] = "abcdefghijklmnopqrstuvwxyz234567";
	unsigned char bytes[IMMURE_ID_LEN];
	ssize_t n = getrandom(bytes, sizeof(bytes), 0);

	if (n != (ssize_t)sizeof(bytes))
		return n < 0 ? -errno : -EIO;
	ret[0] = first[bytes[0] % 6];
	for (int i = 1; i < IMMURE_ID_LEN; i++)
		ret[i] = rest[bytes[i] % 32];
	ret[IMMURE_ID_LEN] = '\0';
	return 0;
}

int immure_file_replace(int dir_fd, const char *name, const void *data, size_t len, bool sync)
{
	char fresh[128];
	int n = snprintf(fresh, sizeof(fresh), "%s.new", name), fd, r;

	if (n < 0 || (size_t)n >= sizeof(fresh))
		return -ENAMETOOLONG;
	fd = openat(dir_fd, fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 && errno == EEXIST) { /* of one who was killed here */
		if (unlinkat(dir_fd, fresh, 0) < 0)
			return -errno;
		fd = openat(dir_fd, fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	}
	if (fd < 0)
		return -errno;
	r = immure_write_all(fd, data, len);
	if (r == 0 && sync && fdatasync(fd) < 0)
		r = -errno;
	immure_close(&fd);
	if (r == 0 && renameat(dir_fd, fresh, dir_fd, name) < 0)
		r = -errno;
	if (r == 0 && sync && fsync(dir_fd) < 0 && errno != EINVAL)
		r = -errno;
	if (r < 0)
		(void)unlinkat(dir_fd, fresh, 0); /* the first error is the one to tell */
	return r;
}

/* ---- lock: who keeps it ---- */

int immure_entry_adopt(struct immure_entry *e)
{
	char boot[IMMURE_BOOT_ID_LEN + 1] = "";
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_procid self;
	int r = immure_procid_of(getpid(), &self, NULL);

	if (r == 0)
		r = immure_boot_id(boot);
	if (r < 0)
		return r;
	immure_fields_begin(&b, "owner");
	immure_fields_uint(&b, "pid", (uint64_t)self.pid);
	immure_fields_uint(&b, "start", self.start);
	immure_fields_str(&b, "boot", boot);
	/* In place: the file is what is locked. A reader that comes in between sees
	 * no owner, and the lock all the same. */
	if (!immure_buf_ok(&b))
		r = -ENOMEM;
	else if (ftruncate(e->lock_fd, 0) < 0 || lseek(e->lock_fd, 0, SEEK_SET) < 0)
		r = -errno;
	else
		r = immure_write_all(e->lock_fd, b.data, b.len);
	immure_buf_done(&b);
	return r;
}

static int take_owner(void *ctx, const char *key, const char *word, size_t len)
{
	struct immure_owner *o = ctx;
	uint64_t v = 0;
	int r = 0;

	if (strcmp(key, "pid") == 0) {
		r = immure_field_uint(word, len, INT32_MAX, &v);
		o->process.pid = (int32_t)v;
	} else if (strcmp(key, "start") == 0) {
		r = immure_field_uint(word, len, UINT64_MAX, &o->process.start);
	} else if (strcmp(key, "boot") == 0) {
		r = immure_field_get(word, len, o->boot_id, sizeof(o->boot_id));
	}
	return r;
}

int immure_entry_owner(const struct immure_entry *e, struct immure_owner *ret)
{
	IMMURE_CLEANUP_FREE char *text = NULL;
	struct immure_owner o = { .process = { .pid = 0 } };
	size_t len = 0;
	int r = immure_runtime_read(e->dir_fd, "lock", IMMURE_RUNTIME_FILE_MAX, &text, &len);

	if (r == 0)
		r = immure_fields_each(text, len, "owner", take_owner, &o);
	if (r == 0 && (o.process.pid <= 0 || strlen(o.boot_id) != IMMURE_BOOT_ID_LEN))
		r = -EINVAL;
	if (r == 0)
		*ret = o;
	return r;
}

int immure_entry_alive(const struct immure_entry *e)
{
	IMMURE_CLEANUP_FD int fd = -1;
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (e->lock_fd >= 0)
		return 1; /* we are its keeper */
	fd = immure_runtime_file(e->dir_fd, "lock", O_RDWR);
	if (fd < 0)
		return fd;
	if (fcntl(fd, F_OFD_GETLK, &l) < 0)
		return -errno;
	return l.l_type != F_UNLCK;
}

int immure_entry_lock(struct immure_entry *e)
{
	IMMURE_CLEANUP_FD int fd = -1;
	struct stat st;
	int r;

	if (e->lock_fd >= 0)
		return 0;
	fd = immure_runtime_file(e->dir_fd, "lock", O_RDWR);
	if (fd < 0)
		return fd;
	r = immure_runtime_lock(fd, false);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_nlink == 0) /* somebody else cleaned it up while we asked */
		return -ENOENT;
	e->lock_fd = immure_take_fd(&fd);
	return 0;
}

/* ---- making ---- */

int immure_file_new(int dir_fd, const char *name, const void *data, size_t len)
{
	IMMURE_CLEANUP_FD int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : immure_write_all(fd, data, len);
}

/* A file that is there, under one name more: nobody writes to one in place. */
static int link_file(int dir_fd, const char *name, int fd)
{
	char path[32];

	if (fd < 0)
		return -EBADF;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return linkat(AT_FDCWD, path, dir_fd, name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

/* Nobody reads them before the directory has its name, so theirs are the final ones. */
static int write_all_of(struct immure_entry *e, const struct immure_meta *meta, const struct immure_plan_file *plan)
{
	int r = immure_entry_adopt(e);

	if (r == 0)
		r = immure_entry_new_meta(e, meta);
	if (r == 0 && plan->data && link_file(e->dir_fd, "plan", plan->fd) < 0) /* or there is none to link to */
		r = immure_file_new(e->dir_fd, "plan", plan->data, plan->len);
	return r; /* without a status it is NEW */
}

/* With the registry locked, so that nobody takes a directory whose lock file is
 * not there yet for an abandoned one. */
static int make_locked(struct immure_registry *r, const struct immure_meta *meta, const char *half,
		       struct immure_entry *ret)
{
	IMMURE_CLEANUP_FD int all = immure_runtime_lock_all(r);
	int k;

	if (all < 0)
		return all;
	if (mkdirat(r->sessions_fd, half, 0700) < 0)
		return -errno;
	k = ret->dir_fd = immure_runtime_dir(r->sessions_fd, half);
	if (k >= 0)
		k = ret->lock_fd = immure_runtime_file(ret->dir_fd, "lock", O_RDWR | O_CREAT | O_EXCL);
	if (k >= 0)
		k = immure_runtime_lock(ret->lock_fd, false);
	if (k >= 0 && meta->name[0])
		k = immure_name_claim(r, meta->name, meta->id);
	return k < 0 ? k : 0;
}

static int check_meta(const struct immure_meta *meta, const char **ret_what)
{
	*ret_what = meta->name;
	if (meta->name[0] && !immure_name_valid(meta->name))
		return -EINVAL;
	if (meta->labels_n > IMMURE_LABELS_MAX)
		return -E2BIG;
	for (uint32_t i = 0; i < meta->labels_n; i++) {
		*ret_what = meta->labels[i].key;
		if (!immure_label_valid(meta->labels[i].key, meta->labels[i].value))
			return -EINVAL;
	}
	return 0;
}

/* Takes back what was made; the caller tells why. */
static void unmake(struct immure_registry *r, const char *half, const char *name,
		   struct immure_entry *e)
{
	char left[256], holder[IMMURE_ID_LEN + 2];
	ssize_t n = name[0] ? readlinkat(r->names_fd, name, holder, sizeof(holder) - 1) : 0;

	if (n == IMMURE_ID_LEN && memcmp(holder, e->id, IMMURE_ID_LEN) == 0)
		(void)unlinkat(r->names_fd, name, 0); /* or gc finds it */
	if (e->dir_fd >= 0)
		(void)immure_runtime_empty(e->dir_fd, NULL, left, sizeof(left));
	(void)unlinkat(r->sessions_fd, half, AT_REMOVEDIR);
	immure_entry_done(e);
}

int32_t immure_entry_create(struct immure_registry *r, struct immure_meta *meta, const struct immure_plan_file *plan,
			    struct immure_entry *ret, struct immure_error **err)
{
	struct immure_entry e = IMMURE_ENTRY_INIT;
	char half[IMMURE_ID_LEN + 5];
	const char *what = "";
	int k = check_meta(meta, &what);

	if (k < 0)
		return immure_fail(err, IMMURE_ERR_INVALID, k, "registry", what,
				   "%s: cannot be the name or a label of a session", what);
	k = immure_id_new(meta->id);
	if (k < 0)
		return immure_fail(err, IMMURE_ERR_IO, k, "registry", "", "no random bytes: %s",
				   strerror(-k));
	meta->created_ms = immure_now_ms();
	memcpy(e.id, meta->id, sizeof(e.id));
	(void)snprintf(half, sizeof(half), "new.%s", meta->id);
	k = make_locked(r, meta, half, &e);
	if (k == 0)
		k = write_all_of(&e, meta, plan);
	if (k == 0 && renameat(r->sessions_fd, half, r->sessions_fd, e.id) < 0)
		k = -errno;
	if (k == 0) {
		*ret = e;
		return 0;
	}
	unmake(r, half, meta->name, &e);
	if (k == -EEXIST)
		return immure_fail(err, IMMURE_ERR_STATE, EEXIST, "registry", meta->name,
				   "%s: a session of that name is there already", meta->name);
	return immure_fail(err, IMMURE_ERR_IO, k, "registry", r->path,
			   "%s: the session cannot be recorded: %s", r->path, strerror(-k));
}

/* ---- asking ---- */

int immure_entry_open(struct immure_registry *r, const char *id, struct immure_entry *ret)
{
	struct immure_entry e = IMMURE_ENTRY_INIT;

	if (!immure_id_valid(id))
		return -EINVAL;
	if (r->sessions_fd < 0)
		return -ENOENT;
	e.dir_fd = immure_runtime_dir(r->sessions_fd, id);
	if (e.dir_fd < 0)
		return e.dir_fd;
	memcpy(e.id, id, sizeof(e.id));
	*ret = e;
	return 0;
}

void immure_entry_done(struct immure_entry *e)
{
	immure_close(&e->dir_fd);
	immure_close(&e->lock_fd);
}

int immure_entry_plan(const struct immure_entry *e, char **ret, size_t *ret_len)
{
	return immure_runtime_read(e->dir_fd, "plan", PLAN_MAX, ret, ret_len);
}

const char *immure_entry_socket(const struct immure_entry *e, char *buf, size_t len)
{
	(void)snprintf(buf, len, "/proc/self/fd/%d/control", e->dir_fd);
	return buf;
}

/* ---- removing ---- */

/* The name that an entry has, when it really is its own. */
static void drop_name(struct immure_registry *r, const struct immure_entry *e)
{
	char holder[IMMURE_ID_LEN + 2];
	struct immure_meta meta;
	ssize_t n;

	if (r->names_fd < 0 || immure_entry_meta(e, &meta) < 0 || !meta.name[0])
		return;
	n = readlinkat(r->names_fd, meta.name, holder, sizeof(holder) - 1);
	if (n == IMMURE_ID_LEN && memcmp(holder, e->id, IMMURE_ID_LEN) == 0)
		(void)unlinkat(r->names_fd, meta.name, 0); /* gc prunes what stays */
}

int immure_entry_remove(struct immure_registry *r, struct immure_entry *e, char *left, size_t len)
{
	IMMURE_CLEANUP_FD int all = -1;
	int k;

	if (len > 0)
		left[0] = '\0';
	if (e->lock_fd < 0)
		return -EPERM;
	all = immure_runtime_lock_all(r);
	if (all < 0)
		return all;
	drop_name(r, e);
	/* The lock last: as long as it is there, the entry is somebody's to remove. */
	k = immure_runtime_empty(e->dir_fd, "lock", left, len);
	if (k < 0)
		return k;
	if (unlinkat(e->dir_fd, "lock", 0) < 0 && errno != ENOENT)
		return -errno;
	if (unlinkat(r->sessions_fd, e->id, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return -errno;
	immure_entry_done(e);
	return 0;
}

int immure_registry_remove_half(struct immure_registry *r, const char *id)
{
	IMMURE_CLEANUP_FD int all = immure_runtime_lock_all(r);
	char half[IMMURE_ID_LEN + 5], left[256];
	int k = 0;

	if (all < 0)
		return all;
	(void)snprintf(half, sizeof(half), "new.%s", id);
	for (int i = 0; i < 2 && k == 0; i++) {
		const char *name = i == 0 ? half : id;
		IMMURE_CLEANUP_FD int dir = immure_runtime_dir(r->sessions_fd, name);
		IMMURE_CLEANUP_FD int lock = -1;

		if (dir < 0 && dir != -ENOENT)
			return dir;
		if (dir < 0)
			continue;
		lock = immure_runtime_file(dir, "lock", O_RDWR);
		if (lock < 0 && lock != -ENOENT)
			return lock;
		if (lock >= 0 && (i == 1 || immure_runtime_lock(lock, false) < 0))
			continue; /* complete, or being made right now */
		k = immure_runtime_empty(dir, NULL, left, sizeof(left));
		if (k == 0 && unlinkat(r->sessions_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
			k = -errno;
		if (k == 0)
			return 1;
	}
	return k;
}
