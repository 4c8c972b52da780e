/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of src/facts that only src/facts and its tests use. Parsers take text,
 * so that a test can hand them what another host would have said. */
#ifndef IMMURE_FACTS_INTERNAL_H
#define IMMURE_FACTS_INTERNAL_H

#include <stdint.h>

#include "facts/report.h"

/* Paths of sockets bound to a name in some file system, sorted, each once. */
int immure_facts_parse_unix(struct immure_arena *a, const char *text, struct immure_strv *ret);

/* -ENOENT when uid is not there. The strings are copies. */
int immure_facts_parse_passwd(struct immure_arena *a, const char *text, uint32_t uid,
			      const char **ret_name, const char **ret_home);

/* Fills what immure_facts_places() does. passwd: text of /etc/passwd, NULL = it cannot be
 * read. */
enum { IMMURE_FACTS_MAX_PASSWD = 1 << 20 };
void immure_facts_gather_places(struct immure_facts *f, const char *const *env, const char *passwd);

/* The value of NAME in an environment block, NULL when unset or env is NULL. */
const char *immure_facts_env(const char *const *env, const char *name);

/* What finding a cgroup asks of the file system. */
struct immure_cgroup_fs {
	void *ctx;
	/* A leaf can be made in this directory and a process moved into it. */
	bool (*writable)(void *ctx, const char *dir, bool v2);
	/* First bytes of dir/name, NUL-terminated; < 0 when it cannot be read. */
	int (*read)(void *ctx, const char *dir, const char *name, char *buf, size_t cap);
};

/* Never fails: what it cannot find is absent. cgroup is /proc/self/cgroup. */
void immure_facts_find_cgroup(struct immure_arena *a, const char *cgroup,
			      const struct immure_fact_mount *mounts, size_t mounts_n, bool root,
			      const struct immure_cgroup_fs *fs, struct immure_cgroup_facts *ret);
extern const struct immure_cgroup_fs immure_cgroup_real_fs;

/* The directory of the cgroup (v2) that text, /proc/self/cgroup, names, through the first
 * mount that may be written to; NULL: there is none, or it shows another part of the tree. */
char *immure_facts_own_cgroup2(struct immure_arena *a, const char *text, const struct immure_fact_mount *mounts,
			       size_t n, const struct immure_fact_mount **ret_mount);

/* Resolves an absolute path one component at a time, for kernels and filters
 * that have no openat2. Fills everything of ret except path. */
void immure_facts_walk(struct immure_arena *a, const char *path, struct immure_fact_path *ret);
/* What stands at these paths, sorted, each once, of which only the path is filled. */
void immure_facts_resolve(struct immure_arena *a, struct immure_fact_path **v, size_t n);
struct stat;
/* report_landlock.c */
void immure_report_landlock(const struct immure_facts *f, struct immure_arena *a,
			    struct immure_backend_report *r);
void immure_facts_set_stat(struct immure_fact_path *p, const struct stat *st);

#endif
