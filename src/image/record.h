/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of an image in the store, as lines of text: the launcher reads them at
 * every start of an image and has no JSON reader. Written by the image worker alone. */
#ifndef IMMURE_IMAGE_RECORD_H
#define IMMURE_IMAGE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"

enum {
	IMMURE_IMAGE_HEX = 64,               /* of a SHA-256 */
	IMMURE_IMAGE_DIGEST = 7 + 64,        /* "sha256:" and that */
	IMMURE_IMAGE_LAYERS_MAX = 127,
	IMMURE_IMAGE_RECORD_MAX = 1 << 20,
	IMMURE_IMAGE_NAME_MAX = 255,
};

/* Strings are in the arena of whoever parsed, or borrowed from whoever writes. */
struct immure_image_record {
	const char *digest;      /* "sha256:HEX" of the manifest, or of the config where there is none */
	const char *config;      /* the same of the config */
	const char *platform;    /* "linux/amd64" */
	const char *user;        /* as the image says; "" = root */
	const char *workdir;     /* "" = none */
	const char *stop;        /* stop signal, "" = none */
	uint64_t bytes;          /* of all layers, unpacked */
	struct immure_strv layers; /* diff ids, the lowest first */
	struct immure_strv env;
	struct immure_strv entrypoint, cmd;
};

/* -EINVAL: not one of ours. text[len] need not be NUL. */
int immure_image_record_parse(struct immure_arena *a, const char *text, size_t len,
			      struct immure_image_record *ret);
void immure_image_record_put(const struct immure_image_record *r, struct immure_buf *b);

/* "sha256:" and 64 lower-case hex digits. */
bool immure_image_is_digest(const char *s);
/* [A-Za-z0-9] and what is common in references, no path that climbs, at most NAME_MAX. */
bool immure_image_is_name(const char *s);

#endif
