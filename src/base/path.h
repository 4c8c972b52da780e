/* SPDX-License-Identifier: Apache-2.0 */
/* Paths as text. Nothing here touches a file system. */
#ifndef IMMURE_BASE_PATH_H
#define IMMURE_BASE_PATH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"

/* Absolute, no empty, "." or ".." component, no trailing slash (except "/"). */
bool immure_path_is_normal(const char *p);
/* Removes "//" and "/./" and trailing slashes; refuses ".." (it has no meaning
 * without the file system) and relative paths: NULL. */
char *immure_path_normalize(struct immure_arena *a, const char *p);
/* base must be absolute; p may be absolute (then base is ignored). */
char *immure_path_join(struct immure_arena *a, const char *base, const char *p);
/* p is base itself or lies below it; both normal. */
bool immure_path_is_under(const char *p, const char *base);
/* Number of components: "/" is 0, "/a/b" is 2. */
size_t immure_path_depth(const char *p);
const char *immure_path_basename(const char *p);
char *immure_path_dirname(struct immure_arena *a, const char *p);

#endif
