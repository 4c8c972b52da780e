/* SPDX-License-Identifier: Apache-2.0 */
#include "session/registry.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/names.h"
#include "session/quarantine.h"
#include "session/runtime.h"

enum { PREFIX_MIN = 4 };

uint64_t immure_now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t); /* cannot fail */
	return (uint64_t)t.tv_sec * 1000U + (uint64_t)t.tv_nsec / 1000000U;
}

/* ---- what ids, names and labels are ---- */

static bool id_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '2' && c <= '7');
}

static bool letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* An id begins with a digit and a name with a letter: neither is ever taken for
 * the other. */
bool immure_id_valid(const char *s)
{
	size_t n = 0;

	if (s[0] < '2' || s[0] > '7')
		return false;
	while (n <= IMMURE_ID_LEN && id_char(s[n]))
		n++;
	return n == IMMURE_ID_LEN && s[n] == '\0';
}

bool immure_name_valid(const char *s)
{
	size_t n = 0;

	if (!letter(s[0]))
		return false;
	while (n <= IMMURE_NAME_MAX && (letter(s[n]) || (s[n] >= '0' && s[n] <= '9') ||
					s[n] == '_' || s[n] == '-' || s[n] == '.'))
		n++;
	return n <= IMMURE_NAME_MAX && s[n] == '\0';
}

bool immure_label_valid(const char *key, const char *value)
{
	size_t n = strlen(value);

	if (!immure_name_valid(key) || n > IMMURE_LABEL_VALUE_MAX)
		return false;
	for (size_t i = 0, step; i < n; i += step) {
		uint32_t c = 0;

		step = immure_utf8_len(value + i, n - i, &c);
		if (step == 0 || c < 0x20 || (c >= 0x7f && c < 0xa0))
			return false;
	}
	return true;
}

const char *immure_lifetime_name(enum immure_lifetime l)
{
	static const char *const names[] = {
		[IMMURE_LIFETIME_CALLER] = "caller",
		[IMMURE_LIFETIME_DETACHED] = "detached",
		[IMMURE_LIFETIME_LEASED] = "leased",
	};

	return (unsigned int)l < IMMURE_LIFETIME_MAX ? names[l] : "";
}

/* ---- the directory ---- */

static int open_sub(int root, const char *name, bool create)
{
	int fd = immure_runtime_dir(root, name);

	if (fd != -ENOENT || !create)
		return fd;
	return mkdirat(root, name, 0700) < 0 && errno != EEXIST ? -errno : immure_runtime_dir(root, name);
}

int32_t immure_registry_open(const char *runtime_dir, bool create, struct immure_registry *ret,
			     struct immure_error **err)
{
	struct immure_registry r = IMMURE_REGISTRY_INIT;
	const char *what = "";
	int k = 0;

	if (!runtime_dir || runtime_dir[0] != '/' || strlen(runtime_dir) >= sizeof(r.path))
		return immure_fail(err, IMMURE_ERR_INVALID, 0, "registry", "",
				   "no directory for sessions: neither XDG_RUNTIME_DIR nor HOME is usable");
	(void)snprintf(r.path, sizeof(r.path), "%s", runtime_dir);
	k = r.root_fd = immure_runtime_dir(AT_FDCWD, runtime_dir);
	if (k == -ENOENT && create) { /* most of the time it is there */
		k = immure_make_dirs(runtime_dir);
		if (k == 0)
			k = r.root_fd = immure_runtime_dir(AT_FDCWD, runtime_dir);
	}
	if (k == -ENOENT && !create) { /* nothing was ever made here */
		*ret = r;
		return 0;
	}
	if (k >= 0) {
		what = "/sessions";
		k = r.sessions_fd = open_sub(r.root_fd, "sessions", create);
	}
	if (k >= 0 || (k == -ENOENT && !create)) {
		what = "/names";
		k = r.names_fd = open_sub(r.root_fd, "names", create);
	}
	if (k >= 0 || (k == -ENOENT && !create)) {
		*ret = r;
		return 0;
	}
	immure_registry_done(&r);
	return immure_fail(err, IMMURE_ERR_TRUST, k, "registry", runtime_dir, "%s%s: %s", runtime_dir,
			   what, k == -EPERM ? "is not a directory of yours alone (mode 0700)"
					     : strerror(-k));
}

void immure_registry_done(struct immure_registry *r)
{
	immure_close(&r->root_fd);
	immure_close(&r->sessions_fd);
	immure_close(&r->names_fd);
}

int immure_registry_each(struct immure_registry *r,
			 int (*each)(void *ctx, const char *id, bool half_made), void *ctx)
{
	int fd = r->sessions_fd < 0 ? -1 : openat(r->sessions_fd, ".",
						  O_RDONLY | O_DIRECTORY | O_CLOEXEC), k = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;

	if (!dir) {
		k = r->sessions_fd < 0 ? 0 : -errno;
		immure_close(&fd);
		return k;
	}
	while (k == 0 && (d = immure_readdir(dir, &k))) {
		bool half = strncmp(d->d_name, "new.", 4) == 0;
		const char *id = d->d_name + (half ? 4 : 0);

		if (immure_id_valid(id)) /* anything else is not ours to judge */
			k = each(ctx, id, half);
	}
	(void)closedir(dir); /* read only: nothing is lost */
	return k;
}

/* ---- names ---- */

/* The id that a name stands for. */
static int name_target(const struct immure_registry *r, const char *name, char ret[IMMURE_ID_LEN + 1])
{
	char text[IMMURE_ID_LEN + 2];
	ssize_t n;

	if (r->names_fd < 0)
		return -ENOENT;
	n = readlinkat(r->names_fd, name, text, sizeof(text) - 1);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	if (!immure_id_valid(text))
		return -EINVAL;
	memcpy(ret, text, IMMURE_ID_LEN + 1);
	return 0;
}

/* Whether a session of that id is there, or being made. */
static bool id_there(const struct immure_registry *r, const char *id)
{
	char half[IMMURE_ID_LEN + 5];
	struct stat st;

	(void)snprintf(half, sizeof(half), "new.%s", id);
	return fstatat(r->sessions_fd, id, &st, AT_SYMLINK_NOFOLLOW) == 0 ||
	       fstatat(r->sessions_fd, half, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Called with the lock of the registry: nobody else removes or makes one now. */
int immure_name_claim(struct immure_registry *r, const char *name, const char *id)
{
	char holder[IMMURE_ID_LEN + 1];
	int k;

	if (symlinkat(id, r->names_fd, name) == 0)
		return 0;
	if (errno != EEXIST)
		return -errno;
	k = name_target(r, name, holder);
	if (k == 0 && id_there(r, holder))
		return strcmp(holder, id) == 0 ? 0 : -EEXIST;
	if (k < 0 && k != -EINVAL && k != -ENOENT)
		return k;
	if (unlinkat(r->names_fd, name, 0) < 0 && errno != ENOENT)
		return -errno;
	return symlinkat(id, r->names_fd, name) < 0 ? -errno : 0;
}

int immure_registry_prune_names(struct immure_registry *r, bool dry_run)
{
	IMMURE_CLEANUP_FD int lock = r->names_fd < 0 ? -1 : immure_runtime_lock_all(r);
	int fd = r->names_fd < 0 ? -1 : openat(r->names_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	char id[IMMURE_ID_LEN + 1];
	struct dirent *d;
	int n = 0, k = 0;

	if (!dir || lock < 0) {
		n = r->names_fd < 0 ? 0 : lock < 0 ? lock : -errno;
		if (dir)
			(void)closedir(dir); /* read only */
		else
			immure_close(&fd);
		return n;
	}
	while ((d = immure_readdir(dir, &k))) {
		if (!immure_name_valid(d->d_name) ||
		    (name_target(r, d->d_name, id) == 0 && id_there(r, id)))
			continue;
		if (dry_run || unlinkat(r->names_fd, d->d_name, 0) == 0)
			n++;
	}
	(void)closedir(dir); /* read only: nothing is lost */
	return k < 0 ? k : n;
}

/* ---- finding ---- */

struct search {
	const char *prefix;
	char id[IMMURE_ID_LEN + 1];
	int found;
};

static int try_prefix(void *ctx, const char *id, bool half_made)
{
	struct search *s = ctx;

	if (half_made || strncmp(id, s->prefix, strlen(s->prefix)) != 0)
		return 0;
	memcpy(s->id, id, sizeof(s->id));
	return ++s->found > 1;
}

int32_t immure_entry_find(struct immure_registry *r, const char *name, struct immure_entry *ret,
			  struct immure_error **err)
{
	struct search s = { .prefix = name };
	int k = -ENOENT;

	if (immure_name_valid(name)) {
		k = name_target(r, name, s.id);
	} else if (immure_id_valid(name)) {
		memcpy(s.id, name, sizeof(s.id));
		k = 0;
	} else if (name[0] >= '2' && name[0] <= '7' && strlen(name) >= PREFIX_MIN &&
		   strlen(name) < IMMURE_ID_LEN) {
		k = immure_registry_each(r, try_prefix, &s);
		if (s.found > 1)
			return immure_fail(err, IMMURE_ERR_INVALID, 0, "registry", name,
					   "%s: more than one session's id begins so", name);
		k = s.found == 1 ? 0 : k < 0 ? k : -ENOENT;
	} else {
		return immure_fail(err, IMMURE_ERR_INVALID, 0, "registry", name,
				   "%s: is neither the name nor the id of a session", name);
	}
	if (k == 0)
		k = immure_entry_open(r, s.id, ret);
	if (k == 0)
		return 0;
	if (k == -ENOENT)
		k = immure_fail(err, IMMURE_ERR_NO_SESSION, ENOENT, "registry", name,
				"%s: no such session", name);
	else
		k = immure_fail(err, IMMURE_ERR_TRUST, k, "registry", name, "%s: %s", name,
				k == -EPERM ? "its directory is not yours alone" : strerror(-k));
	if (err)
		immure_error_set_hint(*err, "'immure ps' lists them");
	return k;
}
