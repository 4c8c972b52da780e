/* SPDX-License-Identifier: Apache-2.0 */
/* Names as a directory that folds case finds them. */
#ifndef IMMURE_BASE_FOLD_H
#define IMMURE_BASE_FOLD_H

#include <stddef.h>

enum { IMMURE_FOLD_NAME = 256 };

/* A name, without what such a directory passes over when it compares, and with the two letters
 * beyond ASCII that are ASCII ones to it as those; the case of others stays, strcasecmp(3) is
 * for that. A name of ASCII alone is returned itself, another one in to, NUL-terminated. */
const char *immure_fold_name(const char *name, char to[IMMURE_FOLD_NAME]);

#endif
