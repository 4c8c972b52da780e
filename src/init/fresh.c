/* SPDX-License-Identifier: Apache-2.0 */
#include "init/fresh.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "init/build.h"
#include "kernel/mount.h"

/* ---- which ---- */

static bool is_entry(const struct immure_op *op)
{
	return op->kind == IMMURE_OP_DIR || op->kind == IMMURE_OP_SYMLINK ||
	       (op->kind == IMMURE_OP_FILE && !(op->flags & IMMURE_OPF_COVER));
}

static bool is_new(const struct immure_op *op)
{
	return op->kind == IMMURE_OP_PROC || op->kind == IMMURE_OP_SYSFS || op->kind == IMMURE_OP_DEV ||
	       (op->kind == IMMURE_OP_TMPFS && !(op->flags & IMMURE_OPF_RO)) ||
	       (op->kind == IMMURE_OP_OVERLAY && op->flags != IMMURE_OPF_RO);
}

/* path is at or below top. */
static bool is_at(const char *path, const char *top)
{
	size_t n = strlen(top);

	return strncmp(path, top, n) == 0 && (path[n] == '\0' || path[n] == '/' || n == 1);
}

/* The mount that op i is put on or into: the deepest one above it that came before. */
static const struct immure_op *below(const struct immure_plan *p, uint32_t i)
{
	const struct immure_op *best = NULL;

	for (uint32_t j = 0; j < i; j++) {
		const struct immure_op *op = &p->ops[j];

		if (op->stage != IMMURE_STAGE_MOUNT || is_entry(op) || !op->dst[0] ||
		    !is_at(p->ops[i].dst, op->dst))
			continue;
		if (!best || strlen(op->dst) >= strlen(best->dst))
			best = op;
	}
	return best;
}

enum immure_fresh_kind immure_fresh_kind_of(const struct immure_plan *p, uint32_t i)
{
	const struct immure_op *op = &p->ops[i], *top;

	if (op->stage != IMMURE_STAGE_MOUNT || !op->dst[0])
		return IMMURE_FRESH_SHARED;
	if (is_new(op))
		return IMMURE_FRESH_NEW;
	top = below(p, i);
	/* Of /dev only what is named there is made anew, and no plan has more in those. */
	if (!top || !is_new(top) || top->kind == IMMURE_OP_DEV)
		return IMMURE_FRESH_SHARED;
	switch (op->kind) {
	case IMMURE_OP_BIND:
	case IMMURE_OP_OVERLAY: /* read-only, or there would be no template */
	case IMMURE_OP_TMPFS: /* read-only: what is in it is as the template made it */
	case IMMURE_OP_MASK_KEEP:
		return IMMURE_FRESH_CLONE;
	case IMMURE_OP_FILE:
		return op->flags & IMMURE_OPF_COVER ? IMMURE_FRESH_CLONE : IMMURE_FRESH_AGAIN;
	default:
		return IMMURE_FRESH_AGAIN;
	}
}

bool immure_fresh_needs(const struct immure_plan *p, uint32_t i)
{
	const struct immure_op *top = below(p, i);

	return immure_fresh_kind_of(p, i) != IMMURE_FRESH_AGAIN ||
	       (top->kind != IMMURE_OP_PROC && top->kind != IMMURE_OP_SYSFS);
}

bool immure_fresh_fits(const struct immure_plan *p)
{
	for (uint32_t i = 0; i < p->ops_n; i++) {
		const struct immure_op *top = below(p, i);

		if (p->ops[i].stage == IMMURE_STAGE_MOUNT && p->ops[i].dst[0] && top &&
		    immure_fresh_kind_of(p, i) == IMMURE_FRESH_SHARED &&
		    immure_fresh_kind_of(p, (uint32_t)(top - p->ops)) == IMMURE_FRESH_AGAIN)
			return false;
	}
	return true;
}

/* ---- what is shared, and whether it still holds ---- */

/* 1 when something is mounted right there, 0 when not, or -errno. */
static int is_mounted(int root, const char *path)
{
	IMMURE_CLEANUP_FD int fd = immure_mount_open_in(root, path);

	return fd < 0 ? fd : immure_mount_is_root(fd);
}

static bool is_gone(int r)
{
	return r == -ENOENT || r == -ENOTDIR || r == -EACCES || r == -ELOOP;
}

static int hold(const struct immure_plan *p, int root, uint32_t i, struct immure_fresh *f)
{
	int r = is_mounted(root, p->ops[i].dst);

	if (r <= 0)
		return is_gone(r) ? 0 : r;
	if (f->held_n == IMMURE_FRESH_HELD)
		return -E2BIG;
	f->held[f->held_n++] = i;
	return 0;
}

static int put_back(struct immure_build *b, const struct immure_op *op)
{
	int r = 0;

	switch (op->kind) {
	case IMMURE_OP_MASK:
	case IMMURE_OP_READONLY:
	case IMMURE_OP_PIN:
		if (b->mask_dir_fd < 0)
			r = immure_build_masks_again(b);
		return r < 0 ? r : immure_build_apply(b, op);
	default:
		return -ESTALE; /* what it came from is out of reach since the pivot */
	}
}

int immure_fresh_repair(const struct immure_plan *p, struct immure_fresh *f)
{
	struct immure_init_net joined = { .wanted = false };
	IMMURE_CLEANUP_FD int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct immure_build b = IMMURE_BUILD_INIT(&joined, root);
	mode_t old = umask(0);
	int r = root < 0 ? -errno : 0, n = 0;

	f->missing = 0;
	for (uint32_t i = 0; i < f->held_n && r >= 0; i++) {
		r = is_mounted(root, p->ops[f->held[i]].dst);
		if (is_gone(r)) {
			f->missing++;
			r = 0;
		} else if (r == 0) {
			r = put_back(&b, &p->ops[f->held[i]]);
			n++;
			if (is_gone(r)) { /* just now */
				f->missing++;
				r = 0;
			}
		}
	}
	if (b.mask_dir_fd >= 0 && r >= 0)
		r = immure_build_drop_mask_names(&b);
	immure_close(&b.mask_dir_fd);
	immure_close(&b.mask_file_fd);
	immure_close(&b.mask_mount[0]);
	immure_close(&b.mask_mount[1]);
	immure_close(&b.parent_fd);
	(void)umask(old);
	return r < 0 ? r : n;
}

int immure_fresh_prepare(const struct immure_plan *p, struct immure_fresh *f)
{
	IMMURE_CLEANUP_FD int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = root < 0 ? -errno : 0;

	f->n = f->held_n = f->missing = 0;
	for (uint32_t i = 0; i < p->ops_n && r == 0; i++) {
		enum immure_fresh_kind kind = immure_fresh_kind_of(p, i);

		if (kind == IMMURE_FRESH_SHARED) {
			if (p->ops[i].stage == IMMURE_STAGE_MOUNT && p->ops[i].dst[0] &&
			    !is_entry(&p->ops[i]))
				r = hold(p, root, i, f);
			continue;
		}
		if (f->n == IMMURE_FRESH_STEPS)
			return -E2BIG;
		f->step[f->n].op = i;
		f->step[f->n++].kind = kind;
	}
	return r;
}

/* ---- making it ---- */

/* What is to be cloned is opened before anything covers it. -1: it is not there, and
 * need not be. */
static int open_sources(const struct immure_plan *p, const struct immure_fresh *f, int root, int *fds,
			struct immure_init_step *step)
{
	for (uint32_t i = 0; i < f->n; i++) {
		const struct immure_op *op = &p->ops[f->step[i].op];

		fds[i] = -1;
		if (f->step[i].kind != IMMURE_FRESH_CLONE)
			continue;
		step->op = f->step[i].op;
		step->subject = op->dst;
		fds[i] = immure_mount_open_in(root, op->dst);
		if (fds[i] < 0 && !(fds[i] == -ENOENT && (op->flags & IMMURE_OPF_OPTIONAL)))
			return fds[i];
	}
	return 0;
}

static int clone_into(struct immure_build *b, int source, const char *dst)
{
	struct stat st;

	if (source < 0)
		return 0;
	if (fstat(source, &st) < 0)
		return -errno;
	IMMURE_CLEANUP_FD int tree = immure_mount_clone(source, 0); /* its attributes come along */
	return tree < 0 ? tree : immure_build_attach(b, tree, dst, !S_ISDIR(st.st_mode));
}

/* Every descriptor that is opened here goes with all others when the sandbox closes in. */
int immure_fresh_apply(const struct immure_plan *p, const struct immure_fresh *f, int *ret_areas,
		       struct immure_init_step *step)
{
	struct immure_init_net joined = { .wanted = false };
	struct immure_build b = IMMURE_BUILD_INIT(&joined, open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
	int fds[IMMURE_FRESH_STEPS], r;
	mode_t old = umask(0);

	step->stage = IMMURE_STAGE_MOUNT;
	step->subject = "/";
	if (b.root_fd < 0)
		return -errno;
	r = open_sources(p, f, b.root_fd, fds, step);
	for (uint32_t i = 0; i < f->n && r == 0; i++) {
		const struct immure_op *op = &p->ops[f->step[i].op];

		step->op = f->step[i].op;
		step->subject = op->dst;
		if (f->step[i].kind == IMMURE_FRESH_CLONE)
			r = clone_into(&b, fds[i], op->dst);
		else if (op->kind == IMMURE_OP_DEV)
			r = immure_build_dev_again(&b, op);
		else
			r = immure_build_apply(&b, op);
	}
	if (r == 0)
		r = immure_build_drop_mask_names(&b);
	(void)umask(old);
	if (ret_areas) /* closed with all that is init's own, else */
		*ret_areas = immure_take_fd(&b.areas_fd);
	return r;
}
