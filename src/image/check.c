/* SPDX-License-Identifier: Apache-2.0 */
/* Whether an image is still what was imported: manifest and config by their digests, each
 * layer's tree by the digest that was taken when it had just been verified and unpacked. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "image/worker.h"

static int same_file(struct image_worker *w, const char *image, const char *file, const char *digest)
{
	char path[IMMURE_IMAGE_HEX + 40], is[IMMURE_IMAGE_DIGEST + 1], *text = NULL;
	size_t len;
	int r;

	(void)snprintf(path, sizeof(path), "images/%s/%.16s", image + 7, file);
	r = immure_read_file_at(w->store_fd, path, IMAGE_JSON_MAX, &text, &len);
	if (r == 0)
		r = image_hash_text(text, len, is);
	free(text);
	if (r < 0)
		return image_fail(w, -r, "%s: %s cannot be read: %s", image, file, strerror(-r));
	return strcmp(is, digest) == 0 ? 0 : image_fail(w, EBADMSG, "%s: %s was changed", image, file);
}

static int same_layer(struct image_worker *w, const char *diff_id)
{
	char path[IMMURE_IMAGE_HEX + 32], is[IMMURE_IMAGE_DIGEST + 1], want[IMMURE_IMAGE_DIGEST + 16];
	IMMURE_CLEANUP_FREE char *text = NULL;
	IMMURE_CLEANUP_FD int tree = -1;
	size_t len;
	int r;

	(void)snprintf(path, sizeof(path), "layers/%s/record", diff_id + 7);
	r = immure_read_file_at(w->store_fd, path, 4096, &text, &len);
	if (r < 0)
		return image_fail(w, -r, "layer %s: its record cannot be read: %s", diff_id, strerror(-r));
	(void)snprintf(path, sizeof(path), "layers/%s/tree", diff_id + 7);
	tree = openat(w->store_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (tree < 0)
		return image_fail(w, errno, "layer %s: its tree cannot be read: %s", diff_id, strerror(errno));
	r = image_tree_digest(w, tree, is);
	if (r < 0)
		return r;
	(void)snprintf(want, sizeof(want), "\ntree %s\n", is);
	return strstr(text, want) ? 0 : image_fail(w, EBADMSG, "layer %s was changed", diff_id);
}

int image_verify(struct image_worker *w, const struct image_request *q, struct immure_buf *out)
{
	struct immure_image_record rec;
	int r = image_lookup(w, q->ref, &rec);

	/* Of docker save there is no manifest: the config is the image. */
	if (r == 0 && strcmp(rec.digest, rec.config) != 0)
		r = same_file(w, rec.digest, "manifest.json", rec.digest);
	if (r == 0)
		r = same_file(w, rec.digest, "config.json", rec.config);
	for (size_t i = 0; r == 0 && i < rec.layers.n; i++)
		r = same_layer(w, rec.layers.v[i]);
	if (r < 0) {
		if (r == -EBADMSG)
			(void)snprintf(w->hint, sizeof(w->hint), "remove the image and import it again");
		return r;
	}
	immure_buf_printf(out, w->json ? "{\"digest\":\"%s\",\"layers\":%zu,\"whole\":true}\n" :
					 "%s is whole: %zu layers\n", rec.digest, rec.layers.n);
	return 0;
}
