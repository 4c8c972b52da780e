/* SPDX-License-Identifier: Apache-2.0 */
#include "session/place.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/path.h"

int immure_view_read(struct immure_view *v)
{
	char *text = NULL;
	int r;

	immure_arena_done(&v->arena);
	r = immure_read_file_at(v->proc_fd, "self/mountinfo", 16 << 20, &text, NULL);
	if (r >= 0)
		r = immure_facts_parse_mountinfo(&v->arena, text, &v->mounts, &v->n);
	free(text);
	return r < 0 ? r : 0;
}

int immure_view_mount_id(const struct immure_view *v, int fd, uint32_t *ret)
{
	char name[64], *text = NULL, *p;
	int r;

	(void)snprintf(name, sizeof(name), "self/fdinfo/%d", fd);
	r = immure_read_file_at(v->proc_fd, name, 65536, &text, NULL);
	p = r < 0 ? NULL : strstr(text, "mnt_id:");
	if (p)
		*ret = (uint32_t)strtoul(p + 7, NULL, 10);
	free(text);
	return r < 0 ? r : p ? 0 : -ENODATA;
}

const char *immure_view_rest(const char *path, const char *base)
{
	return strcmp(base, "/") == 0 ? (path[1] ? path : "") : path + strlen(base);
}

int immure_view_join(char *ret, const char *base, const char *rest)
{
	int n = snprintf(ret, IMMURE_PLACE, "%s%s", strcmp(base, "/") == 0 && rest[0] ? "" : base, rest);

	return n < 0 || n >= IMMURE_PLACE ? -ENAMETOOLONG : 0;
}

int immure_view_find(const struct immure_view *v, int fd, const char *path, struct immure_place *ret)
{
	uint32_t id = 0;
	int r = immure_view_mount_id(v, fd, &id);

	for (size_t i = 0; r == 0 && i < v->n; i++) {
		const struct immure_fact_mount *m = &v->mounts[i];

		if (m->id != id)
			continue;
		if (!immure_path_is_under(path, m->target))
			break;
		*ret = (struct immure_place){ .major = m->major, .minor = m->minor, .mount = m };
		return immure_view_join(ret->path, m->root, immure_view_rest(path, m->target));
	}
	return r < 0 ? r : -ESTALE; /* moved while we looked */
}
