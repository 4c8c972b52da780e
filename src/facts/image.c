/* SPDX-License-Identifier: Apache-2.0 */
/* The image that a policy names, as the store has it: its layers, what its config says of a
 * process, and which user that is by the image's own list. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/parse.h"
#include "base/path.h"
#include "facts/facts.h"
#include "image/store.h"
#include "kernel/sys.h"

enum { ACCOUNTS_MAX = 1 << 20, FIELDS = 5 };

#define BENEATH (IMMURE_RESOLVE_BENEATH | IMMURE_RESOLVE_NO_SYMLINKS | IMMURE_RESOLVE_NO_MAGICLINKS)

/* ---- accounts ---- */

/* A file of the image, from the topmost layer that says something of it; no link is followed.
 * -ENOENT: there is none, or it was deleted. */
static int open_in(const struct immure_fact_image *im, const char *path)
{
	for (size_t i = 0; i < im->layers.n; i++) {
		IMMURE_CLEANUP_FD int tree = open(im->layers.v[i], O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		IMMURE_CLEANUP_FD int fd = tree < 0 ? -errno :
			immure_sys_openat2(tree, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, BENEATH);
		struct stat st;

		if (fd == -ENOENT)
			continue;
		if (fd < 0)
			return fd == -ENXIO || fd == -ENODEV || fd == -EACCES ? -ENOENT : fd; /* a whiteout */
		if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
			return -ENOENT;
		return immure_take_fd(&fd);
	}
	return -ENOENT;
}

static bool is_number(const char *s, uint32_t *ret)
{
	uint64_t n;

	if (immure_parse_u64(s, &n) < 0 || n >= UINT32_MAX)
		return false;
	*ret = (uint32_t)n;
	return true;
}

/* Of the line that begins with name: fields 2 and 3, numbers both, or in a list of groups
 * field 2 alone. */
static int account(const struct immure_fact_image *im, const char *file, const char *name, uint32_t *ret_id,
		   uint32_t *ret_gid)
{
	IMMURE_CLEANUP_FD int fd = open_in(im, file);
	IMMURE_CLEANUP_FREE char *text = NULL;
	size_t len;
	int r = fd < 0 ? fd : immure_read_all(fd, ACCOUNTS_MAX, &text, &len);

	if (r < 0)
		return r;
	for (char *line = text, *next; line; line = next) {
		char *field[FIELDS] = { line };

		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		for (int i = 1; i < FIELDS && field[i - 1]; i++) {
			field[i] = strchr(field[i - 1], ':');
			if (field[i])
				*field[i]++ = '\0';
		}
		if (!field[2] || strcmp(field[0], name) != 0)
			continue;
		if (!is_number(field[2], ret_id) || (ret_gid && (!field[3] || !is_number(field[3], ret_gid))))
			return -EINVAL;
		return 0;
	}
	return -ENOENT;
}

/* "", "root", "1000", "name", "1000:1000", "name:group". */
static int find_user(struct immure_arena *a, struct immure_fact_image *im, const char *user)
{
	const char *colon = strchr(user, ':');
	char *name = immure_arena_strndup(a, user, colon ? (size_t)(colon - user) : strlen(user));

	if (!name)
		return -ENOMEM;
	if (*name && !is_number(name, &im->uid)) {
		int r = account(im, "etc/passwd", name, &im->uid, &im->gid);

		if (r == -ENOENT && strcmp(name, "root") == 0)
			r = 0;
		if (r < 0)
			return r;
	}
	if (!colon || is_number(colon + 1, &im->gid))
		return 0;
	return account(im, "etc/group", colon + 1, &im->gid, NULL);
}

/* ---- the image ---- */

static int fill(struct immure_facts *f, int store_fd, const char *images, struct immure_fact_image *im)
{
	char digest[IMMURE_IMAGE_DIGEST + 1];
	struct immure_image_record rec;
	int r = immure_image_resolve(store_fd, im->ref, digest);

	if (r == 0)
		r = immure_image_read(store_fd, digest, &f->arena, &rec);
	if (r < 0)
		return r;
	for (size_t i = rec.layers.n; i-- > 0;) { /* the topmost first */
		const char *tree = immure_arena_printf(&f->arena, "%s/layers/%s/tree", images, rec.layers.v[i] + 7);

		if (!tree || !immure_strv_add(&f->arena, &im->layers, tree))
			return -ENOMEM;
	}
	im->digest = rec.digest;
	im->platform = rec.platform;
	im->user = rec.user;
	im->workdir = rec.workdir;
	im->env = rec.env;
	im->command = rec.entrypoint;
	for (size_t i = 0; i < rec.cmd.n; i++)
		if (!immure_strv_add(&f->arena, &im->command, rec.cmd.v[i]))
			return -ENOMEM;
	im->user_errnum = -find_user(&f->arena, im, rec.user);
	return 0;
}

int32_t immure_facts_image(struct immure_facts *f, const char *ref, struct immure_error **err)
{
	struct immure_fact_image *im = immure_arena_alloc(&f->arena, sizeof(*im));
	IMMURE_CLEANUP_FD int store_fd = -1;
	char *real = NULL;
	int r;

	if (im)
		im->ref = immure_arena_strdup(&f->arena, ref);
	if (!im || !im->ref)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "facts", "", "facts: out of memory");
	store_fd = f->state_dir ? immure_image_store_open(f->state_dir) : -ENOENT;
	r = store_fd < 0 ? store_fd : 0;
	if (r == 0) { /* as mounts are opened: through no link */
		real = realpath(f->state_dir, NULL);
		im->store = real ? immure_arena_printf(&f->arena, "%s/images", real) : NULL;
		r = im->store ? fill(f, store_fd, im->store, im) : -ENOMEM;
		free(real);
	}
	im->errnum = -r;
	f->image = im;
	return 0;
}
