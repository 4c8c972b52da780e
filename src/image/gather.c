/* SPDX-License-Identifier: Apache-2.0 */
/* Which image of a source is meant, and its manifest and config, each of them checked. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "image/worker.h"

enum { NESTED = 3, CHOICES = 200 };

const char *image_host_platform(void)
{
	struct utsname u;

	if (uname(&u) == 0 && strcmp(u.machine, "aarch64") == 0)
		return "linux/arm64";
	if (uname(&u) == 0 && strcmp(u.machine, "x86_64") == 0)
		return "linux/amd64";
	return "linux/unknown";
}

/* "linux/arm64" is one of "linux/arm64/v8". */
static bool fits(const char *platform, const char *asked)
{
	size_t n = strlen(asked);

	return strncmp(platform, asked, n) == 0 && (platform[n] == '\0' || platform[n] == '/');
}

static void choices(struct image_worker *w, const struct image_descriptors *d, bool names)
{
	size_t at = 0;

	for (size_t i = 0; i < d->n && at + 1 < CHOICES; i++) {
		const char *s = names ? d->v[i].name : d->v[i].platform;
		int n = s ? snprintf(w->hint + at, sizeof(w->hint) - at, "%s%.60s", at ? ", " :
				     names ? "--ref one of: " : "--platform one of: ", s) : 0;

		at += n > 0 ? (size_t)n : 0;
	}
}

/* By its name in the index, where one was asked for; then by platform. */
static int choose(struct image_worker *w, const struct image_descriptors *d, const struct image_request *q,
		  bool top, const struct image_descriptor **ret)
{
	const struct image_descriptor *found = NULL;
	bool named = top && q->which, twice = false;

	for (size_t i = 0; i < d->n; i++) {
		const struct image_descriptor *e = &d->v[i];

		if (named && !(e->name && strcmp(e->name, q->which) == 0))
			continue;
		if (e->platform && !fits(e->platform, q->platform))
			continue;
		twice = twice || (found && strcmp(found->digest, e->digest) != 0);
		if (!found)
			found = e;
	}
	if (!found) {
		(void)image_fail(w, ENOENT, "there is no image for %s%s%.100s", q->platform,
				 named ? " called " : "", named ? q->which : "");
		choices(w, d, named);
		return -ENOENT;
	}
	if (twice && top) {
		(void)image_fail(w, EINVAL, "there are several images");
		choices(w, d, true);
		return -EINVAL;
	}
	*ret = found;
	return 0;
}

static int from_layout(struct image_worker *w, const struct image_source *s, const struct image_request *q,
		       struct image_found_image *f)
{
	const struct image_descriptor *d = NULL;
	char *text = NULL;
	size_t len = 0;
	int r = image_source_read(w, s, "index.json", &text, &len);

	for (int depth = 0; r == 0; depth++) {
		struct image_descriptors list = { 0 };

		r = image_index_parse(w, text, len, &list);
		if (r == 0)
			r = choose(w, &list, q, depth == 0, &d);
		free(text);
		text = NULL;
		if (r < 0)
			return r;
		f->name = d->name ? d->name : f->name;
		r = image_source_read_digest(w, s, d, &text, &len);
		if (r < 0 || !d->index)
			break;
		if (depth == NESTED)
			r = image_fail(w, ELOOP, "the index leads to indexes without end");
	}
	if (r == 0) {
		f->manifest_text = immure_arena_strndup(&w->arena, text, len);
		f->manifest_len = len;
		f->record.digest = d->digest;
		r = f->manifest_text ? image_manifest_parse(w, text, len, &f->manifest) :
				       image_fail(w, ENOMEM, "out of memory");
	}
	free(text);
	text = NULL;
	if (r == 0)
		r = image_source_read_digest(w, s, &f->manifest.config, &text, &len);
	if (r == 0) {
		f->config_text = immure_arena_strndup(&w->arena, text, len);
		f->config_len = len;
		f->record.config = f->manifest.config.digest;
		r = f->config_text ? 0 : image_fail(w, ENOMEM, "out of memory");
	}
	free(text);
	return r;
}

static const struct image_saved *choose_saved(struct image_worker *w, const struct image_saved *v, size_t n,
					      const struct image_request *q)
{
	const struct image_saved *found = NULL;

	for (size_t i = 0; i < n; i++) {
		if (q->which && !immure_strv_has(&v[i].tags, q->which))
			continue;
		if (found) {
			(void)image_fail(w, EINVAL, "there are several images; --ref NAME says which");
			return NULL;
		}
		found = &v[i];
	}
	if (!found)
		(void)image_fail(w, ENOENT, "there is no image%s%.100s", q->which ? " called " : "",
				 q->which ? q->which : "");
	return found;
}

/* docker save names an image by the digest of its config, and layers by nothing that binds:
 * what they have to be is in the config. */
static int from_saved(struct image_worker *w, const struct image_source *s, const struct image_request *q,
		      struct image_found_image *f)
{
	char digest[IMMURE_IMAGE_DIGEST + 1], *text = NULL;
	const struct image_saved *one = NULL;
	struct image_saved *v;
	size_t n, len = 0;
	int r = image_source_read(w, s, "manifest.json", &text, &len);

	if (r == 0)
		r = image_saved_parse(w, text, len, &v, &n);
	free(text);
	text = NULL;
	if (r == 0)
		one = choose_saved(w, v, n, q);
	if (r < 0 || !one)
		return r < 0 ? r : -EINVAL;
	r = image_source_read(w, s, one->config, &text, &len);
	if (r == 0 && image_hash_text(text, len, digest) < 0)
		r = image_fail(w, EIO, "the config cannot be hashed");
	if (r == 0 && strlen(one->config) >= IMMURE_IMAGE_HEX && !strstr(one->config, digest + 7))
		r = image_fail(w, EBADMSG, "the config %.100s is not what it says: its digest is %s", one->config,
			       digest);
	if (r == 0) {
		f->config_text = immure_arena_strndup(&w->arena, text, len);
		f->config_len = len;
		f->record.digest = f->record.config = immure_arena_strdup(&w->arena, digest);
		f->name = one->tags.n ? one->tags.v[0] : NULL;
		f->members = one->layers;
		f->manifest.layers.n = one->layers.n;
		f->manifest.layers.v = immure_arena_alloc(&w->arena, one->layers.n * sizeof(struct image_descriptor));
		for (size_t i = 0; f->manifest.layers.v && i < one->layers.n; i++)
			f->manifest.layers.v[i].size = IMAGE_ANY_SIZE;
		r = w->arena.failed ? image_fail(w, ENOMEM, "out of memory") : 0;
	}
	free(text);
	return r;
}

int image_gather(struct image_worker *w, const struct image_source *s, const struct image_request *q,
		 struct image_found_image *ret)
{
	struct image_found_image f = { 0 };
	int r;

	if (image_source_has(s, "index.json"))
		r = from_layout(w, s, q, &f);
	else if (image_source_has(s, "manifest.json"))
		r = from_saved(w, s, q, &f);
	else
		r = image_fail(w, ENOENT, "there is neither index.json nor manifest.json: no image");
	if (r == 0)
		r = image_config_parse(w, f.config_text, f.config_len, &f.record);
	if (r == 0 && f.record.layers.n != f.manifest.layers.n)
		r = image_fail(w, EBADMSG, "the manifest has %zu layers, the config %zu", f.manifest.layers.n,
			       f.record.layers.n);
	if (r == 0 && !fits(f.record.platform, q->platform)) {
		r = image_fail(w, ENOENT, "the image is for %s, not %s", f.record.platform, q->platform);
		(void)snprintf(w->hint, sizeof(w->hint), "--platform %.60s takes it all the same", f.record.platform);
	}
	if (r == 0)
		*ret = f;
	return r;
}
