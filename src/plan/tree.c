/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree of what stands where, and the order of the mount stage.
 *
 * Every part of the compiler adds points: "at this path, this". Here they are
 * sorted as a walk of the tree, parents before children, and turned into
 * operations. That order is the security property of the mount stage:
 *
 *  - a mount hides what its parent showed, so what is deeper is decided later
 *    and the deeper path wins, whether it allows or denies;
 *  - at one path there is one point: of several the one with the highest rank
 *    (a deny before an allow, the policy's words before the built-in tables,
 *    our own state before everything);
 *  - a point that its surroundings already satisfy makes no operation: hidden
 *    inside an empty or masked place, readable where all is readable;
 *  - what is allowed below a masked place turns that mask into one that keeps
 *    the allowed child reachable;
 *  - /dev comes before all else: what masks show is made there;
 *  - binds take their source from the host's tree as it was before the first
 *    operation, never from what earlier operations built.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "base/sort.h"
#include "plan/bare.h"

/* IMAGE: there is something, and nothing of it is the host's. COW: writable, and not the host's. */
enum state { EMPTY, SHOWN, WRITABLE, COW, MASKED, IMAGE };

struct place {
	const char *path;
	size_t len;
	enum state state;
	size_t op; /* its operation plus one, 0 = none */
};

enum { TREE_DEPTH_MAX = 256 };

struct walk {
	struct immure_compile *b;
	struct place stack[TREE_DEPTH_MAX];
	size_t n;
};

struct immure_point *immure_compile_point(struct immure_compile *b, enum immure_point_kind kind,
					enum immure_rank rank, const char *path,
					const char *key)
{
	struct immure_point *pt;

	if (b->points_n == b->points_cap) {
		size_t cap = b->points_cap ? b->points_cap * 2 : 96;
		struct immure_point *points = immure_arena_alloc(b->a, cap * sizeof(*points));

		if (!points)
			return NULL;
		if (b->points_n)
			memcpy(points, b->points, b->points_n * sizeof(*points));
		b->points = points;
		b->points_cap = cap;
	}
	pt = &b->points[b->points_n];
	*pt = (struct immure_point){
		.path = path, .key = key, .kind = (uint8_t)kind, .rank = (uint8_t)rank,
		.seq = (uint32_t)b->points_n,
	};
	b->points_n++;
	return pt;
}

/* strcmp with '/' before every other byte, so a directory's contents follow it
 * at once: "/a", "/a/b", "/a-b". */
static int compare_paths(const char *x, const char *y)
{
	unsigned char c, d;

	while (*x == *y && *x)
		x++, y++;
	c = *x == '/' ? 1 : (unsigned char)*x;
	d = *y == '/' ? 1 : (unsigned char)*y;
	if (*x && *x < 2 && *x > 0)
		c = 2; /* byte 1 itself: the order among odd names is free, but total */
	if (*y && *y < 2 && *y > 0)
		d = 2;
	return (c > d) - (c < d);
}

/* A point and the beginning of its path as numbers in the same order, which
 * mostly tell without looking at it. */
struct keyed {
	uint64_t key[3];
	const struct immure_point *pt;
};

static void set_key(struct keyed *k, const struct immure_point *pt)
{
	const char *s = pt->path;

	k->pt = pt;
	for (int i = 0; i < 3; i++) {
		uint64_t v = 0;

		for (int shift = 56; shift >= 0 && *s; shift -= 8, s++) {
			unsigned char c = (unsigned char)*s;

			v |= (uint64_t)(c == '/' ? 1 : c < 2 ? 2 : c) << shift;
		}
		k->key[i] = v;
	}
}

static int compare_points(const void *x, const void *y)
{
	const struct keyed *k = x, *l = y;
	const struct immure_point *a = k->pt, *b = l->pt;
	int r;

	for (int i = 0; i < 3; i++)
		if (k->key[i] != l->key[i])
			return k->key[i] < l->key[i] ? -1 : 1;
	r = compare_paths(a->path, b->path);
	if (r != 0)
		return r;
	if (a->rank != b->rank)
		return a->rank > b->rank ? -1 : 1;
	return (a->seq > b->seq) - (a->seq < b->seq);
}

/* By pointers: a point is large, and most of them come from tables in order. */
static bool sort_points(struct immure_compile *b)
{
	size_t n = b->points_n;
	const void **v = immure_arena_alloc(b->a, 2 * (n + 1) * sizeof(*v));
	struct keyed *keyed = immure_arena_alloc(b->a, (n + 1) * sizeof(*keyed));
	struct immure_point *points = immure_arena_alloc(b->a, (n + 1) * sizeof(*points));

	if (!v || !keyed || !points)
		return false;
	for (size_t i = 0; i < n; i++) {
		set_key(&keyed[i], &b->points[i]);
		v[i] = &keyed[i];
	}
	immure_sort(v, n, v + n + 1, compare_points);
	for (size_t i = 0; i < n; i++)
		points[i] = *((const struct keyed *)v[i])->pt;
	b->points = points;
	b->points_cap = n + 1;
	return true;
}

/* One point a path. Of two allows the wider one holds; a protected path that is
 * also allowed is shown read-only. */
static void merge(struct immure_compile *b)
{
	size_t out = 0;

	for (size_t i = 0; i < b->points_n; i++) {
		struct immure_point *win = out ? &b->points[out - 1] : NULL;
		const struct immure_point *pt = &b->points[i];

		if (!win || strcmp(win->path, pt->path) != 0) {
			b->points[out++] = *pt;
			continue;
		}
		win->entry |= pt->entry;
		if (win->rank != IMMURE_RANK_ALLOW)
			continue;
		if (pt->rank == IMMURE_RANK_ALLOW)
			win->socket = pt->file ? win->socket || pt->socket :
						 win->socket && pt->socket;
		if (pt->kind == IMMURE_POINT_READONLY) {
			win->kind = IMMURE_POINT_READ;
			win->key = pt->key;
		} else if (pt->rank == IMMURE_RANK_ALLOW && pt->kind == IMMURE_POINT_WRITE &&
			   win->kind == IMMURE_POINT_READ) {
			win->kind = IMMURE_POINT_WRITE;
			win->key = pt->key;
		}
	}
	b->points_n = out;
}

bool immure_compile_sort(struct immure_compile *b)
{
	if (b->a->failed || !sort_points(b))
		return false;
	merge(b);
	return true;
}

static bool is_writable(const struct place *p)
{
	return p->state == WRITABLE || p->state == COW;
}

static struct place *parent_of(struct walk *w, const char *path)
{
	while (w->n > 1) {
		const struct place *p = &w->stack[w->n - 1];

		if (strncmp(path, p->path, p->len) == 0 &&
		    (path[p->len] == '/' || path[p->len] == '\0'))
			break;
		w->n--;
	}
	return &w->stack[w->n - 1];
}

static int32_t push(struct walk *w, const char *path, enum state state, size_t op)
{
	if (w->n == TREE_DEPTH_MAX)
		return immure_compile_refuse(w->b, "files", "paths are nested more than %d deep",
					   TREE_DEPTH_MAX);
	w->stack[w->n++] = (struct place){ path, strlen(path), state, op };
	return 0;
}

/* An operation that shows something below place. */
static struct immure_op *show(struct walk *w, struct place *place, enum immure_op_kind kind,
			      const char *src, const struct immure_point *pt)
{
	if (place->state == MASKED && place->op) {
		struct immure_op *mask = &w->b->plan->ops[place->op - 1];

		if (mask->kind == IMMURE_OP_MASK)
			mask->kind = IMMURE_OP_MASK_KEEP;
	}
	return immure_compile_op(w->b, kind, src, pt->path, pt->key);
}

static uint32_t op_flags(const struct immure_point *pt)
{
	return (pt->file ? IMMURE_OPF_FILE : 0u) | (pt->optional ? IMMURE_OPF_OPTIONAL : 0u) |
	       (pt->socket ? IMMURE_OPF_SOCKET : 0u);
}

static void note_writable(struct walk *w, const struct immure_point *pt)
{
	struct immure_compile *b = w->b;
	struct immure_strv *to = pt->file ? &b->writable_files : &b->writable;

	(void)immure_strv_add(b->a, to, pt->path);
	(void)immure_strv_add(b->a, to, pt->key);
}

/* What the command writes it shall not map as code either (execute.c). */
static uint32_t not_executed(const struct walk *w, const struct immure_point *pt)
{
	return immure_compile_listed(w->b) && !pt->socket ? IMMURE_OPF_NOEXEC : 0u;
}

static int32_t put_bind(struct walk *w, struct place *in, const struct immure_point *pt, bool ro)
{
	const char *src = pt->src ? pt->src : pt->path;
	bool same = src == pt->path || strcmp(src, pt->path) == 0 || pt->again;
	bool target = pt->mount && !pt->again;
	struct immure_op *op;

	if (same && ro && in->state == SHOWN && !pt->socket)
		return 0;
	/* Written for good, in what is not: by a mount of the host's own. */
	if (same && (in->state == WRITABLE || (in->state == COW && pt->socket)) && (!ro || (pt->socket && !pt->file))) {
		/* A writable place in another: what is protected below it must not
		 * be moved away with it. Nor what is lent; a directory is lent for its
		 * sockets, which takes no writing away. */
		op = show(w, in, IMMURE_OP_PIN, NULL, pt);
		if (op)
			op->flags = pt->socket ? IMMURE_OPF_SOCKET : 0u;
		return op ? push(w, pt->path, in->state, w->b->plan->ops_n) : -IMMURE_ERR_NOMEM;
	}
	if (!same && !target && (in->state == SHOWN || is_writable(in)))
		return 0; /* the host's own entry, a link to src, is there */
	if (same && ro && is_writable(in) && !pt->socket) {
		op = show(w, in, IMMURE_OP_READONLY, NULL, pt);
		if (!op)
			return -IMMURE_ERR_NOMEM;
		op->flags = op_flags(pt);
		return push(w, pt->path, SHOWN, w->b->plan->ops_n);
	}
	op = show(w, in, IMMURE_OP_BIND, src, pt);
	if (!op)
		return -IMMURE_ERR_NOMEM;
	op->flags = op_flags(pt) | (ro ? IMMURE_OPF_RO : not_executed(w, pt));
	if (!ro)
		note_writable(w, pt);
	return push(w, pt->path, ro ? SHOWN : WRITABLE, w->b->plan->ops_n);
}

/* The host's directory below, what is changed above it, in a place of our own. */
static int32_t put_cow(struct walk *w, struct place *in, const struct immure_point *pt)
{
	struct immure_op *op = show(w, in, IMMURE_OP_LAYER, pt->src ? pt->src : pt->path, pt);
	const char *kept = immure_compile_join(w->b->a, immure_compile_state(w->b), "workspaces");

	op = op && kept ? immure_compile_op(w->b, IMMURE_OP_OVERLAY, kept, pt->path, pt->key) : NULL;
	if (!op)
		return -IMMURE_ERR_NOMEM;
	op->num[0] = 1;
	op->flags = IMMURE_OPF_KEPT;
	note_writable(w, pt);
	return push(w, pt->path, COW, w->b->plan->ops_n);
}

static int32_t put_tmpfs(struct walk *w, struct place *in, const struct immure_point *pt)
{
	struct immure_op *op = show(w, in, IMMURE_OP_TMPFS, NULL, pt);

	if (!op)
		return -IMMURE_ERR_NOMEM;
	op->num[0] = pt->ro ? 0 : immure_compile_disk(w->b);
	op->num[1] = pt->mode;
	op->flags = pt->ro ? IMMURE_OPF_RO : IMMURE_OPF_SHARED | not_executed(w, pt);
	if (!pt->ro)
		note_writable(w, pt);
	return push(w, pt->path, EMPTY, w->b->plan->ops_n);
}

static int32_t put_mask(struct walk *w, struct place *in, const struct immure_point *pt)
{
	struct immure_op *op;

	if (in->state == EMPTY && pt->entry) { /* denied is not absent */
		op = show(w, in, IMMURE_OP_BIND, pt->path, pt);
		if (!op)
			return -IMMURE_ERR_NOMEM;
		op->flags = IMMURE_OPF_RO | IMMURE_OPF_OPTIONAL | (pt->file ? IMMURE_OPF_FILE : 0u);
	} else if (in->state == EMPTY || in->state == MASKED ||
		   (in->state == IMAGE && pt->rank != IMMURE_RANK_DENY)) {
		return 0; /* not there to be seen; what tables name is the host's */
	}
	op = immure_compile_op(w->b, IMMURE_OP_MASK, NULL, pt->path, pt->key);
	if (!op)
		return -IMMURE_ERR_NOMEM;
	op->flags = op_flags(pt) | (in->state == IMAGE ? IMMURE_OPF_OPTIONAL : 0u);
	return push(w, pt->path, MASKED, w->b->plan->ops_n);
}

/* What the kernel tells about the whole host to whoever asks. OPTIONAL: which
 * of them exist depends on the kernel's configuration. */
static const char *const proc_masks[] = {
	"/proc/acpi", "/proc/interrupts", "/proc/iomem", "/proc/ioports", "/proc/kallsyms",
	"/proc/kcore", "/proc/key-users", "/proc/keys", "/proc/kmsg", "/proc/kpagecgroup",
	"/proc/kpagecount", "/proc/kpageflags", "/proc/latency_stats", "/proc/modules",
	"/proc/sched_debug", "/proc/scsi", "/proc/slabinfo", "/proc/sysrq-trigger",
	"/proc/timer_list", "/proc/timer_stats", "/proc/vmallocinfo",
};
static const char *const proc_readonly[] = {
	"/proc/asound", "/proc/bus", "/proc/driver", "/proc/fs", "/proc/irq", "/proc/sys",
};
static const char *const sys_masks[] = {
	"/sys/devices/virtual/dmi", "/sys/devices/virtual/powercap", "/sys/firmware",
	"/sys/fs", "/sys/hypervisor", "/sys/kernel", "/sys/module", "/sys/power",
};

bool immure_compile_sys_masked(const char *path)
{
	for (size_t i = 0; i < sizeof(sys_masks) / sizeof(sys_masks[0]); i++)
		if (immure_path_is_under(path, sys_masks[i]))
			return true;
	return false;
}

static int32_t put_list(struct walk *w, enum immure_op_kind kind, const char *const *paths,
			size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct immure_op *op = immure_compile_op(w->b, kind, NULL, paths[i], "(always)");

		if (!op)
			return -IMMURE_ERR_NOMEM;
		op->flags = IMMURE_OPF_OPTIONAL;
	}
	return 0;
}

static int32_t put_proc(struct walk *w, struct place *in, const struct immure_point *pt)
{
	struct immure_op *op = show(w, in, IMMURE_OP_PROC, NULL, pt);
	int32_t r;

	if (!op)
		return -IMMURE_ERR_NOMEM;
	if (w->b->p->proc == IMMURE_PROC_PIDS) { /* nothing is there that needs a mask */
		op->flags = IMMURE_OPF_PIDS;
		op->key = "files.proc";
		return 0;
	}
	r = put_list(w, IMMURE_OP_MASK, proc_masks, sizeof(proc_masks) / sizeof(proc_masks[0]));
	return r < 0 ? r : put_list(w, IMMURE_OP_READONLY, proc_readonly,
				    sizeof(proc_readonly) / sizeof(proc_readonly[0]));
}

static int32_t put_kernel(struct walk *w, struct place *in, const struct immure_point *pt)
{
	int32_t r;

	switch (pt->kind) {
	case IMMURE_POINT_DEV: /* its operation is the first */
		return push(w, pt->path, EMPTY, 0);
	case IMMURE_POINT_PROC:
		r = put_proc(w, in, pt);
		return r < 0 ? r : push(w, pt->path, SHOWN, w->b->plan->ops_n);
	default: /* SYSFS, SYS */
		if (pt->kind == IMMURE_POINT_SYSFS && !show(w, in, IMMURE_OP_SYSFS, NULL, pt))
			return -IMMURE_ERR_NOMEM;
		r = put_list(w, IMMURE_OP_MASK, sys_masks,
			     sizeof(sys_masks) / sizeof(sys_masks[0]));
		return r < 0 ? r : push(w, pt->path, SHOWN, w->b->plan->ops_n);
	}
}

/* No bind was needed in a link's place, because the link is seen there as it is:
 * nothing can be mounted on it, and where it leads everything is settled. */
static bool link_leads_there(const struct walk *w, const struct place *in,
			     const struct immure_point *pt)
{
	const struct immure_fact_path *s;

	if (!pt->through || in->state == EMPTY || in->state == MASKED || in->state == IMAGE ||
	    in->len >= strlen(pt->through))
		return false;
	s = immure_facts_path(w->b->f, pt->through);
	return s && s->real && strcmp(s->real, pt->through) != 0;
}

static int32_t put(struct walk *w, const struct immure_point *pt)
{
	struct place *in = parent_of(w, pt->path);
	struct immure_op *op;

	if (link_leads_there(w, in, pt))
		return 0;
	switch ((enum immure_point_kind)pt->kind) {
	case IMMURE_POINT_PIN:
	case IMMURE_POINT_READONLY:
		if (!is_writable(in))
			return 0; /* cannot be changed there anyway */
		op = immure_compile_op(w->b, pt->kind == IMMURE_POINT_PIN ? IMMURE_OP_PIN :
				     IMMURE_OP_READONLY, NULL, pt->path, pt->key);
		if (!op)
			return -IMMURE_ERR_NOMEM;
		op->flags = op_flags(pt);
		return push(w, pt->path, pt->kind == IMMURE_POINT_PIN ? in->state : SHOWN,
			    w->b->plan->ops_n);
	case IMMURE_POINT_READ:
		return put_bind(w, in, pt, true);
	case IMMURE_POINT_WRITE:
		return put_bind(w, in, pt, false);
	case IMMURE_POINT_COW:
		return put_cow(w, in, pt);
	case IMMURE_POINT_TMPFS:
		return put_tmpfs(w, in, pt);
	case IMMURE_POINT_SYMLINK:
	case IMMURE_POINT_TEXT:
		if (in->state == MASKED || (in->state != EMPTY && !pt->cover))
			return 0; /* the host's own is there */
		op = immure_compile_op(w->b, pt->kind == IMMURE_POINT_SYMLINK ? IMMURE_OP_SYMLINK :
				     IMMURE_OP_FILE, pt->src, pt->path, pt->key);
		if (!op)
			return -IMMURE_ERR_NOMEM;
		op->num[1] = pt->mode;
		if (in->state != EMPTY)
			op->flags = IMMURE_OPF_COVER | (pt->optional ? IMMURE_OPF_OPTIONAL : 0u);
		return 0;
	case IMMURE_POINT_MASK:
		return put_mask(w, in, pt);
	case IMMURE_POINT_DEV:
	case IMMURE_POINT_PROC:
	case IMMURE_POINT_SYSFS:
	case IMMURE_POINT_SYS:
		return put_kernel(w, in, pt);
	}
	return -IMMURE_ERR_INVALID;
}

int32_t immure_compile_tree(struct immure_compile *b)
{
	struct walk w = { .b = b, .n = 1 };
	bool host = b->p->view == IMMURE_VIEW_HOST && !b->own_root;
	bool image = b->p->view == IMMURE_VIEW_IMAGE;
	struct immure_op *dev;

	if (!immure_compile_sort(b))
		return -IMMURE_ERR_NOMEM;
	if (image ? immure_compile_image_root(b) < 0 :
		    !immure_compile_op(b, host ? IMMURE_OP_ROOT_HOST : IMMURE_OP_ROOT_EMPTY, NULL, NULL,
				       "files.view"))
		return -IMMURE_ERR_NOMEM;
	dev = immure_compile_op(b, IMMURE_OP_DEV, NULL, "/dev", "(always)");
	if (!dev)
		return -IMMURE_ERR_NOMEM;
	/* limits.disk is one sum over areas of ours, so they are one file system. */
	dev->num[0] = immure_compile_disk(b);
	dev->flags = IMMURE_OPF_SHARED;
	w.stack[0] = (struct place){ "/", 0, host ? SHOWN : image ? IMAGE : EMPTY, 0 };
	for (size_t i = 0; i < b->points_n; i++) {
		int32_t r = put(&w, &b->points[i]);

		if (r < 0)
			return r;
	}
	return b->a->failed ? -IMMURE_ERR_NOMEM : 0;
}

/* What procfs has with subset=pid. */
static bool is_of_process(const char *below)
{
	size_t n = strcspn(below + (*below == '/'), "/");
	const char *name = below + (*below == '/');

	return n == 0 || (name[0] >= '0' && name[0] <= '9') || (n == 4 && strncmp(name, "self", n) == 0) ||
	       (n == 11 && strncmp(name, "thread-self", n) == 0);
}

/* Reads the answer off the finished operations: the last one at or above path. */
bool immure_compile_visible(struct immure_compile *b, const char *path)
{
	const struct immure_plan *plan = b->plan;
	bool seen = false;

	if (b->bare)
		return immure_bare_visible(b, path);
	for (size_t i = 0; i < plan->ops_n; i++) {
		const struct immure_op *op = &plan->ops[i];

		if (op->stage != IMMURE_STAGE_MOUNT)
			continue;
		if (op->kind == IMMURE_OP_ROOT_HOST)
			seen = true;
		if (op->dst[0] != '/' || !immure_path_is_under(path, op->dst))
			continue;
		switch (op->kind) {
		case IMMURE_OP_MASK:
		case IMMURE_OP_MASK_KEEP:
			seen = false;
			break;
		case IMMURE_OP_TMPFS:
		case IMMURE_OP_DEV:
			seen = strcmp(path, op->dst) == 0;
			break;
		case IMMURE_OP_PROC:
			seen = !(op->flags & IMMURE_OPF_PIDS) || is_of_process(path + strlen(op->dst));
			break;
		case IMMURE_OP_SYMLINK:
			break;
		default:
			seen = true;
			break;
		}
	}
	return seen;
}

const struct immure_root *immure_compile_root(const struct immure_compile *b, const char *real)
{
	const struct immure_root *in = NULL;

	for (size_t i = 0; i < b->roots_n; i++)
		if (immure_path_is_under(real, b->roots[i].real) &&
		    (!in || strlen(b->roots[i].real) > strlen(in->real)))
			in = &b->roots[i];
	return in;
}

bool immure_compile_writable(const struct immure_compile *b, const char *real)
{
	return immure_compile_root(b, real);
}

static int32_t pins_below(struct immure_compile *b, const char *root, const char *path,
			  const char *key)
{
	for (const char *c = path + strlen(root) + 1; (c = strchr(c, '/')); c++) {
		const char *dir = immure_arena_strndup(b->a, path, (size_t)(c - path));

		if (!dir || !immure_compile_point(b, IMMURE_POINT_PIN, IMMURE_RANK_PIN, dir, key))
			return -IMMURE_ERR_NOMEM;
	}
	return 0;
}

int32_t immure_compile_pins(struct immure_compile *b, const char *path, const char *key)
{
	/* Of nested writable places the outermost counts: from there everything
	 * on the way could be moved. */
	const struct immure_root *out = NULL;

	for (size_t i = 0; i < b->roots_n; i++) {
		const struct immure_root *r = &b->roots[i];

		if (immure_path_is_under(path, r->real) && strcmp(path, r->real) != 0 &&
		    (!out || strlen(r->real) < strlen(out->real)))
			out = r;
	}
	return out ? pins_below(b, out->real, path, key) : 0;
}
