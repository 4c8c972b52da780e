/* SPDX-License-Identifier: Apache-2.0 */
/* The store of images, as far as it is read: below state_dir,
 *
 *     images/names            NAME sha256:HEX, a line each
 *     images/images/HEX/      record (record.h), manifest.json, config.json
 *     images/layers/HEX/      tree/, record, owners; HEX is the layer's diff id
 *     images/tmp/             what is being made; gc removes what was left
 *     images/locks/HEX        held while that layer is made
 *     images/lock             shared while anything is made, exclusive while anything is removed
 *
 * All of it is its owner's alone. Whoever uses layers holds a shared lock on each one's tree, so
 * that it is not removed meanwhile. */
#ifndef IMMURE_IMAGE_STORE_H
#define IMMURE_IMAGE_STORE_H

#include "image/record.h"

/* The store's own directory: only ours to write, or -EPERM. -ENOENT: no images yet. */
int immure_image_store_open(const char *state_dir);
/* The digest that a name, a digest or the beginning of one (at least 12 digits) stands for.
 * -ENOENT; -EEXIST: several begin so. ret has IMMURE_IMAGE_DIGEST + 1 bytes. */
int immure_image_resolve(int store_fd, const char *ref, char *ret);
/* The image's record. */
int immure_image_read(int store_fd, const char *digest, struct immure_arena *a,
		      struct immure_image_record *ret);
/* Calls each(ctx, name, digest) for all names; stops when that is not 0 and returns it. */
int immure_image_names(int store_fd, int (*each)(void *ctx, const char *name, const char *digest),
		       void *ctx);

#endif
