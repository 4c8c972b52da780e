/* SPDX-License-Identifier: Apache-2.0 */
#include "base/names.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"

struct dirent *immure_readdir(DIR *dir, int *r)
{
	struct dirent *d;

	do {
		errno = 0; /* readdir(3): the end and a failure look alike */
		d = readdir(dir);
	} while (d && (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0));
	if (!d && errno)
		*r = -errno;
	return d;
}

void immure_names_done(struct immure_names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->v[i]);
	free(names->v);
	*names = (struct immure_names){ 0 };
}

int immure_names_add(struct immure_names *names, const char *name)
{
	if (names->n == names->cap) {
		size_t cap = names->cap ? names->cap * 2 : 32;
		char **v = reallocarray(names->v, cap, sizeof(*v));

		if (!v)
			return -ENOMEM;
		names->v = v;
		names->cap = cap;
	}
	names->v[names->n] = strdup(name);
	if (!names->v[names->n])
		return -ENOMEM;
	names->n++;
	return 0;
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void immure_names_sort(struct immure_names *names)
{
	if (names->n)
		qsort(names->v, names->n, sizeof(*names->v), by_bytes);
}

int immure_names_read(int dir_fd, size_t most, struct immure_names *ret)
{
	IMMURE_CLEANUP_FD int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;
	int r = 0;

	*ret = (struct immure_names){ 0 };
	if (!dir)
		return -errno;
	(void)immure_take_fd(&fd); /* the stream's now */
	while (r == 0 && (e = immure_readdir(dir, &r)))
		r = ret->n < most ? immure_names_add(ret, e->d_name) : -E2BIG;
	(void)closedir(dir); /* read only: nothing is lost */
	immure_names_sort(ret);
	return r;
}

bool immure_names_has(const struct immure_names *names, const char *name)
{
	return names->n && bsearch(&name, names->v, names->n, sizeof(*names->v), by_bytes);
}
