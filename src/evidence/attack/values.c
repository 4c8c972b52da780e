/* SPDX-License-Identifier: Apache-2.0 */
/* Values of secrets, looked for in everything here that can be read. They are not known here either:
 * the targets have their lengths and hashes (base/needle.h). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attack.h"
#include "base/needle.h"

#define BLOCK ((size_t)1 << 20)
#define OVERLAP ((size_t)IMMURE_NEEDLE_MOST)
#define MEMORY_MOST ((uint64_t)64 << 20)
#define FILES_MOST 4000
#define BYTES_MOST ((uint64_t)32 << 20)
#define DEPTH_MOST 12

struct search {
	const struct attack_ctx *ctx;
	struct attack_result *r;
	char *buf; /* OVERLAP and BLOCK */
	uint64_t left;
	unsigned int files;
};

static void look_at(struct search *s, const char *text, size_t len, const char *where)
{
	const char *v;
	size_t i = 0;

	while ((v = attack_next(s->ctx, "secret", &i))) {
		struct immure_needle n;

		n.len = (uint32_t)attack_number(&v);
		n.base = attack_number(&v);
		n.hash = attack_number(&v);
		if (immure_needle_find(&n, text, len, 0) < len)
			attack_done(s->r, "%.100s holds the value of %.60s", where, v);
	}
}

/* From where it stands, at most `most` bytes; a value may lie across two blocks. */
static void look_through(struct search *s, int fd, off_t at, uint64_t most, const char *where)
{
	size_t kept = 0;

	while (most > 0 && s->left > 0) {
		size_t want = most < BLOCK ? (size_t)most : BLOCK;
		ssize_t n = pread(fd, s->buf + kept, want, at);

		if (n <= 0)
			return;
		look_at(s, s->buf, kept + (size_t)n, where);
		at += n;
		most -= (uint64_t)n;
		s->left = s->left > (uint64_t)n ? s->left - (uint64_t)n : 0;
		kept += (size_t)n;
		if (kept > OVERLAP) {
			memmove(s->buf, s->buf + kept - OVERLAP, OVERLAP);
			kept = OVERLAP;
		}
	}
}

static void look_in_file(struct search *s, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return;
	look_through(s, fd, 0, BYTES_MOST, path);
	(void)close(fd); /* only read */
}

static void look_in_memory(struct search *s, const char *pid)
{
	char path[64], line[512];
	FILE *maps;
	int mem;

	(void)snprintf(path, sizeof(path), "/proc/%.20s/maps", pid); /* fits */
	maps = fopen(path, "re");
	(void)snprintf(path, sizeof(path), "/proc/%.20s/mem", pid); /* as above */
	mem = open(path, O_RDONLY | O_CLOEXEC);
	while (maps && mem >= 0 && fgets(line, sizeof(line), maps)) {
		unsigned long from, to;
		char mode[5];

		if (sscanf(line, "%lx-%lx %4s", &from, &to, mode) == 3 && mode[0] == 'r')
			look_through(s, mem, (off_t)from, to - from, path);
	}
	if (maps)
		(void)fclose(maps); /* only read */
	if (mem >= 0)
		(void)close(mem); /* the same */
}

static void look_in_processes(struct search *s)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	char path[64];

	while (d && (e = readdir(d))) {
		if (e->d_name[0] < '1' || e->d_name[0] > '9')
			continue;
		(void)snprintf(path, sizeof(path), "/proc/%.20s/environ", e->d_name); /* fits */
		look_in_file(s, path);
		(void)snprintf(path, sizeof(path), "/proc/%.20s/cmdline", e->d_name); /* as above */
		look_in_file(s, path);
		look_in_memory(s, e->d_name);
	}
	if (d)
		(void)closedir(d); /* only read */
}

static void look_below(struct search *s, const char *dir, int depth)
{
	DIR *d = depth < DEPTH_MOST ? opendir(dir) : NULL;
	struct dirent *e;

	while (d && s->files < FILES_MOST && (e = readdir(d))) {
		char path[4096];
		struct stat st;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
		    snprintf(path, sizeof(path), "%s/%s", dir, e->d_name) >= (int)sizeof(path) ||
		    lstat(path, &st) < 0)
			continue;
		if (S_ISDIR(st.st_mode)) {
			look_below(s, path, depth + 1);
		} else if (S_ISREG(st.st_mode)) {
			s->files++;
			look_in_file(s, path);
		}
	}
	if (d)
		(void)closedir(d); /* only read */
}

static void value(const struct attack_ctx *ctx, struct attack_result *r)
{
	static const char *const dirs[] = { ".", "/tmp", "/var/tmp", "/dev/shm", "/run" };
	struct search s = { .ctx = ctx, .r = r, .buf = malloc(OVERLAP + BLOCK), .left = MEMORY_MOST };
	const char *path;
	size_t i = 0;

	if (!s.buf) {
		attack_error(r, "out of memory");
		return;
	}
	look_in_processes(&s);
	while ((path = attack_next(ctx, "secret-file", &i))) {
		s.left = BYTES_MOST;
		look_in_file(&s, path);
	}
	s.left = BYTES_MOST;
	for (i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		look_below(&s, dirs[i], 0);
	free(s.buf);
	if (r->outcome == ATTACK_NONE)
		attack_denied(r, 0, "no process, and none of %u files, holds one", s.files);
}

/* What stands for it in the command's environment. */
static void placeholder(const struct attack_ctx *ctx, struct attack_result *r)
{
	static const char begin[] = "immure-placeholder-";
	const char *name;
	size_t i = 0, good = 0, all = 0;

	while ((name = attack_next(ctx, "secret-env", &i))) {
		size_t len = strlen(name);

		all++;
		for (char **e = ctx->envp; *e; e++)
			good += strncmp(*e, name, len) == 0 && (*e)[len] == '=' &&
				strncmp(*e + len + 1, begin, sizeof(begin) - 1) == 0 &&
				strlen(*e + len + 1) == sizeof(begin) - 1 + 32;
	}
	if (all && good == all)
		attack_done(r, "%zu variables hold placeholders", good);
	else
		attack_denied(r, 0, "%zu of %zu variables hold placeholders", good, all);
}

static const struct attack table[] = {
	{ "control.secret-placeholder", placeholder },
	{ "secret_read.value", value },
};

const struct attack_list attack_values = { table, sizeof(table) / sizeof(table[0]) };
