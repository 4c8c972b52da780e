/* SPDX-License-Identifier: Apache-2.0 */
/* A root made of an image's layers, and what the image says of the process in it. The policy's
 * own words go before the image's: what it sets, where it starts, who it is. */
#include <errno.h>
#include <string.h>

#include "base/path.h"
#include "plan/compile.h"

static const char KEY[] = "image";

const struct immure_fact_image *immure_compile_image(const struct immure_compile *b)
{
	const struct immure_fact_image *im = b->f->image;

	return b->p->view == IMMURE_VIEW_IMAGE && im && !im->errnum ? im : NULL;
}

/* The layers, what covers the others first, and what makes one tree of them. Mount points are
 * made in an area of ours, so there is one of these even where nothing else may be changed. */
int32_t immure_compile_image_root(struct immure_compile *b)
{
	const struct immure_fact_image *im = immure_compile_image(b);
	struct immure_op *op;

	if (!im) /* a gap: a plan to be looked at, not to be started */
		return immure_compile_op(b, IMMURE_OP_ROOT_EMPTY, NULL, NULL, "files.view") ? 0 : -IMMURE_ERR_NOMEM;
	for (size_t i = 0; i < im->layers.n; i++)
		if (!immure_compile_op(b, IMMURE_OP_LAYER, immure_arena_strdup(b->a, im->layers.v[i]), "/", KEY))
			return -IMMURE_ERR_NOMEM;
	op = immure_compile_op(b, IMMURE_OP_OVERLAY, NULL, "/", KEY);
	if (!op)
		return -IMMURE_ERR_NOMEM;
	op->num[0] = im->layers.n;
	op->num[1] = immure_compile_disk(b);
	op->flags = IMMURE_OPF_SHARED | (b->p->root == IMMURE_ROOT_LAYER ? 0u : IMMURE_OPF_RO);
	if (b->p->root == IMMURE_ROOT_LAYER) {
		(void)immure_strv_add(b->a, &b->writable, "/"); /* the arena knows */
		(void)immure_strv_add(b->a, &b->writable, "files.root");
	}
	return b->a->failed ? -IMMURE_ERR_NOMEM : 0;
}

static void gap_missing(struct immure_compile *b)
{
	const struct immure_fact_image *im = b->f->image;

	if (!b->p->image)
		immure_compile_gap(b, true, KEY, "file_read", "no image is named for the root", "image: NAME, or "
				   "--image NAME; immure image ls lists them");
	else if (!im)
		immure_compile_gap(b, true, KEY, "file_read", "the image was not looked for", "immure image ls");
	else if (im->errnum)
		immure_compile_gap(b, true, KEY, "file_read",
				   immure_arena_printf(b->a, "%s: %s", im->ref, im->errnum == ENOENT ? "no such image" :
						       im->errnum == EEXIST ? "several images begin so" :
						       "the store of images cannot be read"),
				   "immure image import PATH --name NAME; immure image ls lists what there is");
}

void immure_compile_image_gaps(struct immure_compile *b)
{
	const struct immure_fact_image *im = immure_compile_image(b);
	bool native = strcmp(b->report->backend, "native") == 0;

	if (b->p->view != IMMURE_VIEW_IMAGE)
		return;
	if (!im)
		gap_missing(b);
	if (!native)
		immure_compile_gap(b, true, "files.view", "file_read",
				   immure_arena_printf(b->a, "backend %s takes no root from an image", b->report->backend),
				   "backend native; or files.view: host or system");
	else if (b->f->overlay_userns == IMMURE_NO)
		immure_compile_gap(b, true, "files.view", "file_read",
				   "overlays cannot be made in a user namespace here",
				   "immure doctor tells why (overlay_userns; Linux 5.11)");
	if (im && im->user_errnum && b->p->identity == IMMURE_IDENTITY_IMAGE)
		immure_compile_gap(b, true, "identity", "privileges",
				   immure_arena_printf(b->a, "the image's user %s is not in its list of users", im->user),
				   "identity: root or caller");
}

void immure_compile_image_ids(struct immure_compile *b, struct immure_op *map)
{
	const struct immure_fact_image *im = immure_compile_image(b);

	map->num[0] = im && !im->user_errnum ? im->uid : 0;
	map->num[2] = im && !im->user_errnum ? im->gid : 0;
}

/* ---- the process ---- */

static bool is_set(const struct immure_policy *p, const char *name, size_t n)
{
	for (size_t i = 0; i < p->env_set_n; i++)
		if (strncmp(p->env_set[i].name, name, n) == 0 && p->env_set[i].name[n] == '\0')
			return true;
	return false;
}

/* What environment.set says stays; what was only passed on gives way. Names that steer the
 * loader and interpreters are kept from a caller, whose environment comes from outside; an
 * image's variables and the files that they name are one thing. Ours are nobody's. */
void immure_compile_image_env(struct immure_compile *b, struct immure_strv *env)
{
	const struct immure_fact_image *im = immure_compile_image(b);

	for (size_t i = 0; im && i < im->env.n; i++) {
		const char *text = im->env.v[i];
		size_t n = strcspn(text, "="), at = 0;

		if (text[n] != '=' || is_set(b->p, text, n) || strncmp(text, "IMMURE_", 7) == 0)
			continue;
		while (at < env->n && !(strncmp(env->v[at], text, n + 1) == 0))
			at++;
		if (at < env->n)
			env->v[at] = immure_arena_strdup(b->a, text);
		else
			(void)immure_strv_add(b->a, env, immure_arena_strdup(b->a, text)); /* the arena knows */
	}
}

/* NULL: the image names none. */
const struct immure_strv *immure_compile_image_command(const struct immure_compile *b)
{
	const struct immure_fact_image *im = immure_compile_image(b);

	return im && im->command.n && im->command.v[0][0] ? &im->command : NULL;
}

/* Where the image's own command starts; NULL: it does not say, or nothing that can be. */
const char *immure_compile_image_cwd(struct immure_compile *b)
{
	const struct immure_fact_image *im = immure_compile_image(b);

	return im && im->workdir[0] == '/' ? immure_path_normalize(b->a, im->workdir) : NULL;
}
