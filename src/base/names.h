/* SPDX-License-Identifier: Apache-2.0 */
/* The names in a directory, sorted by their bytes. */
#ifndef IMMURE_BASE_NAMES_H
#define IMMURE_BASE_NAMES_H

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>

/* The next entry of a stream but "." and "..". NULL: at the end, or, with *r < 0 (-errno),
 * where the rest cannot be read; else *r stays as it is. */
struct dirent *immure_readdir(DIR *dir, int *r);

struct immure_names {
	char **v;
	size_t n, cap;
};

/* All but "." and ".."; dir_fd is borrowed and may be O_PATH. 0, -E2BIG when there are more
 * than most, or -errno; never a part of them for all: who takes a name for gone because it
 * is not listed would remove it. done in any case. */
int immure_names_read(int dir_fd, size_t most, struct immure_names *ret);
/* The name is copied. 0, -ENOMEM. What is added one by one has to be sorted before has. */
int immure_names_add(struct immure_names *names, const char *name);
void immure_names_sort(struct immure_names *names);
bool immure_names_has(const struct immure_names *names, const char *name);
void immure_names_done(struct immure_names *names);

#endif
