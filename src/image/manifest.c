/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON of an image, which is as hostile as its layers: everything has a type, a bound and
 * no NUL, and digests are SHA-256 in one spelling. Members that are not known are left alone,
 * as the specification has it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/worker.h"

enum { INDEX_MAX = 1024, LIST_MAX = 4096, STRING_MAX = 128 << 10, SAVED_MAX = 256 };

static int parse(struct image_worker *w, const char *what, const char *text, size_t len, struct immure_json **ret)
{
	struct immure_json_failure f = { 0 };
	int r = immure_json_parse(text, len, ret, &f);

	return r < 0 ? image_fail(w, -r, "the %s is not JSON: line %zu: %s", what, f.line, f.text) : 0;
}

static int want(struct image_worker *w, const struct immure_json *v, enum immure_json_type type, const char *what)
{
	if (v && immure_json_type(v) == type)
		return 0;
	return image_fail(w, EINVAL, "%s: expected %s", what, immure_json_type_name(type));
}

/* A copy in the arena; absent or null: "". */
static int string(struct image_worker *w, const struct immure_json *object, const char *key, const char **ret)
{
	const struct immure_json *v = immure_json_get(object, key);

	*ret = "";
	if (!v || immure_json_type(v) == IMMURE_JSON_NULL)
		return 0;
	if (want(w, v, IMMURE_JSON_STRING, key) < 0)
		return -EINVAL;
	if (strlen(immure_json_string(v)) > STRING_MAX)
		return image_fail(w, EINVAL, "%s: is too long", key);
	*ret = immure_arena_strdup(&w->arena, immure_json_string(v));
	return *ret ? 0 : image_fail(w, ENOMEM, "out of memory");
}

/* A list of strings; absent or null: empty. */
static int strings(struct image_worker *w, const struct immure_json *object, const char *key, struct immure_strv *ret)
{
	const struct immure_json *v = immure_json_get(object, key);

	if (!v || immure_json_type(v) == IMMURE_JSON_NULL)
		return 0;
	if (want(w, v, IMMURE_JSON_ARRAY, key) < 0)
		return -EINVAL;
	if (immure_json_size(v) > LIST_MAX)
		return image_fail(w, EINVAL, "%s: has too many entries", key);
	for (size_t i = 0; i < immure_json_size(v); i++) {
		const struct immure_json *e = immure_json_element(v, i);
		const char *s;

		if (want(w, e, IMMURE_JSON_STRING, key) < 0)
			return -EINVAL;
		if (strlen(immure_json_string(e)) > STRING_MAX)
			return image_fail(w, EINVAL, "%s: an entry is too long", key);
		s = immure_arena_strdup(&w->arena, immure_json_string(e));
		if (!s || !immure_strv_add(&w->arena, ret, s))
			return image_fail(w, ENOMEM, "out of memory");
	}
	return 0;
}

static int digest(struct image_worker *w, const struct immure_json *object, const char *key, const char **ret)
{
	int r = string(w, object, key, ret);

	if (r == 0 && !immure_image_is_digest(*ret))
		r = image_fail(w, EINVAL, "%s: expected sha256: and 64 hex digits, got %.80s", key, *ret);
	return r;
}

static bool is_one_of(const char *s, const char *const *list)
{
	for (; *list; list++)
		if (strcmp(s, *list) == 0)
			return true;
	return false;
}

static const char *const index_types[] = {
	"application/vnd.oci.image.index.v1+json",
	"application/vnd.docker.distribution.manifest.list.v2+json", NULL,
};
static const char *const manifest_types[] = {
	"application/vnd.oci.image.manifest.v1+json",
	"application/vnd.docker.distribution.manifest.v2+json", NULL,
};
static const char *const layer_types[] = {
	"application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.v1.tar+gzip",
	"application/vnd.oci.image.layer.v1.tar+zstd",
	"application/vnd.docker.image.rootfs.diff.tar", "application/vnd.docker.image.rootfs.diff.tar.gzip", NULL,
};

static int descriptor(struct image_worker *w, const struct immure_json *v, const char *what,
		      struct image_descriptor *ret, const char **ret_type)
{
	const struct immure_json *size;
	int r = want(w, v, IMMURE_JSON_OBJECT, what);

	if (r == 0)
		r = digest(w, v, "digest", &ret->digest);
	if (r == 0)
		r = string(w, v, "mediaType", ret_type);
	if (r < 0)
		return r;
	size = immure_json_get(v, "size");
	if (want(w, size, IMMURE_JSON_INTEGER, "size") < 0)
		return -EINVAL;
	if (immure_json_integer(size) < 0)
		return image_fail(w, EINVAL, "size: is negative");
	ret->size = (uint64_t)immure_json_integer(size);
	return 0;
}

/* ---- index ---- */

static int platform(struct image_worker *w, const struct immure_json *v, struct image_descriptor *d)
{
	const struct immure_json *p = immure_json_get(v, "platform");
	const char *os, *arch, *variant;
	int r;

	if (!p || immure_json_type(p) == IMMURE_JSON_NULL)
		return 0;
	r = want(w, p, IMMURE_JSON_OBJECT, "platform");
	if (r == 0)
		r = string(w, p, "os", &os);
	if (r == 0)
		r = string(w, p, "architecture", &arch);
	if (r == 0)
		r = string(w, p, "variant", &variant);
	if (r < 0)
		return r;
	d->platform = immure_arena_printf(&w->arena, "%.40s/%.40s%s%.40s", os, arch, *variant ? "/" : "", variant);
	return d->platform ? 0 : image_fail(w, ENOMEM, "out of memory");
}

static int name_of(struct image_worker *w, const struct immure_json *v, struct image_descriptor *d)
{
	static const char *const keys[] = { "io.containerd.image.name", "org.opencontainers.image.ref.name" };
	const struct immure_json *notes = immure_json_get(v, "annotations");

	if (!notes || immure_json_type(notes) == IMMURE_JSON_NULL)
		return 0;
	if (want(w, notes, IMMURE_JSON_OBJECT, "annotations") < 0)
		return -EINVAL;
	for (size_t i = 0; i < 2; i++) {
		const char *s;
		int r = string(w, notes, keys[i], &s);

		if (r < 0)
			return r;
		if (*s) {
			d->name = s;
			return 0;
		}
	}
	return 0;
}

static int index_entry(struct image_worker *w, const struct immure_json *v, struct image_descriptor *d)
{
	const char *type;
	int r = descriptor(w, v, "manifests", d, &type);

	if (r == 0 && *type && !is_one_of(type, index_types) && !is_one_of(type, manifest_types))
		d->digest = NULL; /* no image: a signature, a list of packages ... */
	d->index = r == 0 && is_one_of(type, index_types);
	if (r == 0)
		r = platform(w, v, d);
	return r < 0 ? r : name_of(w, v, d);
}

int image_index_parse(struct image_worker *w, const char *text, size_t len, struct image_descriptors *ret)
{
	const struct immure_json *list;
	struct immure_json *doc;
	int r = parse(w, "index", text, len, &doc);

	if (r < 0)
		return r;
	r = want(w, doc, IMMURE_JSON_OBJECT, "the index");
	list = r == 0 ? immure_json_get(doc, "manifests") : NULL;
	if (r == 0)
		r = want(w, list, IMMURE_JSON_ARRAY, "manifests");
	if (r == 0 && immure_json_size(list) > INDEX_MAX)
		r = image_fail(w, E2BIG, "the index has more than %d entries", INDEX_MAX);
	if (r == 0) {
		ret->v = immure_arena_alloc(&w->arena, (immure_json_size(list) + 1) * sizeof(*ret->v));
		r = ret->v ? 0 : image_fail(w, ENOMEM, "out of memory");
	}
	for (size_t i = 0; r == 0 && i < immure_json_size(list); i++) {
		r = index_entry(w, immure_json_element(list, i), &ret->v[ret->n]);
		if (ret->v[ret->n].digest)
			ret->n++;
		else
			memset(&ret->v[ret->n], 0, sizeof(*ret->v));
	}
	immure_json_free(doc);
	return r;
}

/* ---- manifest ---- */

static int layers(struct image_worker *w, const struct immure_json *doc, struct image_descriptors *ret)
{
	const struct immure_json *list = immure_json_get(doc, "layers");
	int r = want(w, list, IMMURE_JSON_ARRAY, "layers");

	if (r < 0)
		return r;
	if (immure_json_size(list) == 0 || immure_json_size(list) > IMMURE_IMAGE_LAYERS_MAX)
		return image_fail(w, E2BIG, "the image has %zu layers; from 1 to %d can be used",
				  immure_json_size(list), IMMURE_IMAGE_LAYERS_MAX);
	ret->v = immure_arena_alloc(&w->arena, immure_json_size(list) * sizeof(*ret->v));
	if (!ret->v)
		return image_fail(w, ENOMEM, "out of memory");
	for (size_t i = 0; r == 0 && i < immure_json_size(list); i++) {
		const char *type;

		r = descriptor(w, immure_json_element(list, i), "layers", &ret->v[i], &type);
		if (r == 0 && !is_one_of(type, layer_types))
			r = image_fail(w, ENOTSUP, "a layer is of a kind that cannot be used: %.100s", type);
	}
	ret->n = immure_json_size(list);
	return r;
}

int image_manifest_parse(struct image_worker *w, const char *text, size_t len, struct image_manifest *ret)
{
	struct immure_json *doc;
	const char *type = "";
	int r = parse(w, "manifest", text, len, &doc);

	if (r < 0)
		return r;
	r = want(w, doc, IMMURE_JSON_OBJECT, "the manifest");
	if (r == 0)
		r = string(w, doc, "mediaType", &type);
	/* One text that is two things, a manifest here and an index there, is neither. */
	if (r == 0 && ((*type && !is_one_of(type, manifest_types)) || immure_json_get(doc, "manifests") ||
		       immure_json_get(doc, "fsLayers")))
		r = image_fail(w, EINVAL, "the manifest is of a kind that cannot be used: %.100s", type);
	if (r == 0)
		r = descriptor(w, immure_json_get(doc, "config"), "config", &ret->config, &type);
	if (r == 0)
		r = layers(w, doc, &ret->layers);
	immure_json_free(doc);
	return r;
}

/* ---- config ---- */

static int diff_ids(struct image_worker *w, const struct immure_json *doc, struct immure_image_record *r)
{
	const struct immure_json *fs = immure_json_get(doc, "rootfs");
	int e = want(w, fs, IMMURE_JSON_OBJECT, "rootfs");

	if (e == 0)
		e = strings(w, fs, "diff_ids", &r->layers);
	for (size_t i = 0; e == 0 && i < r->layers.n; i++)
		if (!immure_image_is_digest(r->layers.v[i]))
			e = image_fail(w, EINVAL, "diff_ids: expected sha256: and 64 hex digits, got %.80s",
				       r->layers.v[i]);
	return e;
}

static int process(struct image_worker *w, const struct immure_json *doc, struct immure_image_record *r)
{
	const struct immure_json *c = immure_json_get(doc, "config");
	int e;

	r->user = r->workdir = r->stop = "";
	if (!c || immure_json_type(c) == IMMURE_JSON_NULL)
		return 0;
	e = want(w, c, IMMURE_JSON_OBJECT, "config");
	if (e == 0)
		e = strings(w, c, "Env", &r->env);
	if (e == 0)
		e = strings(w, c, "Entrypoint", &r->entrypoint);
	if (e == 0)
		e = strings(w, c, "Cmd", &r->cmd);
	if (e == 0)
		e = string(w, c, "User", &r->user);
	if (e == 0)
		e = string(w, c, "WorkingDir", &r->workdir);
	if (e == 0)
		e = string(w, c, "StopSignal", &r->stop);
	for (size_t i = 0; e == 0 && i < r->env.n; i++)
		if (!strchr(r->env.v[i], '=') || r->env.v[i][0] == '=')
			e = image_fail(w, EINVAL, "Env: expected NAME=value, got %.60s", r->env.v[i]);
	return e;
}

int image_config_parse(struct image_worker *w, const char *text, size_t len, struct immure_image_record *r)
{
	const char *os, *arch, *variant;
	struct immure_json *doc;
	int e = parse(w, "config", text, len, &doc);

	if (e < 0)
		return e;
	e = want(w, doc, IMMURE_JSON_OBJECT, "the config");
	if (e == 0)
		e = string(w, doc, "os", &os);
	if (e == 0)
		e = string(w, doc, "architecture", &arch);
	if (e == 0)
		e = string(w, doc, "variant", &variant);
	if (e == 0)
		e = diff_ids(w, doc, r);
	if (e == 0)
		e = process(w, doc, r);
	if (e == 0) {
		r->platform = immure_arena_printf(&w->arena, "%.40s/%.40s%s%.40s", os, arch, *variant ? "/" : "",
						  variant);
		e = r->platform ? 0 : image_fail(w, ENOMEM, "out of memory");
	}
	immure_json_free(doc);
	return e;
}

/* ---- docker save ---- */

int image_saved_parse(struct image_worker *w, const char *text, size_t len, struct image_saved **ret, size_t *ret_n)
{
	struct image_saved *v = NULL;
	struct immure_json *doc;
	size_t n = 0;
	int r = parse(w, "manifest.json", text, len, &doc);

	if (r < 0)
		return r;
	r = want(w, doc, IMMURE_JSON_ARRAY, "manifest.json");
	if (r == 0) {
		n = immure_json_size(doc);
		v = n <= SAVED_MAX ? immure_arena_alloc(&w->arena, (n + 1) * sizeof(*v)) : NULL;
		r = v ? 0 : image_fail(w, E2BIG, "manifest.json has too many entries");
	}
	for (size_t i = 0; r == 0 && i < n; i++) {
		const struct immure_json *e = immure_json_element(doc, i);

		r = want(w, e, IMMURE_JSON_OBJECT, "manifest.json");
		if (r == 0)
			r = string(w, e, "Config", &v[i].config);
		if (r == 0)
			r = strings(w, e, "RepoTags", &v[i].tags);
		if (r == 0)
			r = strings(w, e, "Layers", &v[i].layers);
		if (r == 0 && (!*v[i].config || v[i].layers.n == 0 || v[i].layers.n > IMMURE_IMAGE_LAYERS_MAX))
			r = image_fail(w, EINVAL, "manifest.json: an image has no config, or no layers, or too many");
	}
	immure_json_free(doc);
	*ret = v;
	*ret_n = n;
	return r;
}
