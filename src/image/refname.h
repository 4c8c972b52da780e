/* SPDX-License-Identifier: Apache-2.0 */
/* What an image is called where it is kept, as the distribution specification has it:
 * [docker://][HOST[:PORT]/]REPOSITORY[:TAG][@sha256:HEX]. The first part is a host when it has a
 * dot or a colon or is "localhost"; without one it is docker.io, where a name of one part lies
 * below library/. */
#ifndef IMMURE_IMAGE_REFNAME_H
#define IMMURE_IMAGE_REFNAME_H

#include "image/record.h"

enum { IMMURE_REFNAME_MAX = 255, IMMURE_REFNAME_TAG = 128 };

struct immure_refname {
	char host[IMMURE_REFNAME_MAX + 1]; /* with the port, where there is one */
	char repository[IMMURE_REFNAME_MAX + 1];
	char tag[IMMURE_REFNAME_TAG + 1];  /* "latest" when neither it nor a digest is said */
	char digest[IMMURE_IMAGE_DIGEST + 1];
};

/* 0, or -EINVAL with what is wrong. */
int immure_refname_parse(const char *text, struct immure_refname *ret, const char **ret_why);

#endif
