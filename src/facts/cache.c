/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of the probes, kept in the caller's own runtime directory, so that a host
 * on which the quick way does not work is not tried out again for each launch.
 *
 * They hold for one key: the boot, the kernel, this program's file, the caller, the
 * namespaces, filters and capabilities it lives under, the switches of the kernel that
 * speak of user namespaces, and the bubblewrap that is installed. Anything else, and
 * anything that is not exactly as it was written by the same user, is no answer.
 *
 * A wrong answer cannot weaken anything: what a plan says is applied or refused by the
 * launch; here it is only decided which plan is tried.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/parse.h"
#include "base/sha256.h"
#include "facts/probe.h"

static const char NAME[] = "facts.cache", MAGIC[] = "immure-facts 1\n";
enum { CACHE_MAX = 32 << 10, ROWS_MAX = 64 };

/* ---- the key ---- */

static void add_file(struct immure_buf *b, const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		immure_buf_printf(b, "%s %d\n", path, errno);
	else
		immure_buf_printf(b, "%s %llx:%llx %llx %o %u %lld.%09ld\n", path,
				  (unsigned long long)st.st_dev, (unsigned long long)st.st_ino,
				  (unsigned long long)st.st_size, st.st_mode, st.st_uid,
				  (long long)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
}

static void add_link(struct immure_buf *b, const char *path)
{
	char text[128];
	ssize_t n = readlink(path, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	immure_buf_printf(b, "%s %s\n", path, text);
}

/* The lines of /proc/self/status that say what is around this process. */
static void add_status(struct immure_buf *b)
{
	static const char *const names[] = { "CapEff:", "CapBnd:", "NoNewPrivs:", "Seccomp:",
					     "Seccomp_filters:" };
	IMMURE_CLEANUP_FREE char *text = NULL;

	if (immure_read_file_at(AT_FDCWD, "/proc/self/status", 1 << 16, &text, NULL) < 0)
		return;
	for (const char *line = text; *line; line += strcspn(line, "\n") + 1) {
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			if (strncmp(line, names[i], strlen(names[i])) == 0)
				immure_buf_printf(b, "%.*s\n", (int)strcspn(line, "\n"), line);
		if (!strchr(line, '\n'))
			break;
	}
}

static void add_text(struct immure_buf *b, const char *path)
{
	IMMURE_CLEANUP_FREE char *text = NULL;

	if (immure_read_file_at(AT_FDCWD, path, 4096, &text, NULL) == 0)
		immure_buf_printf(b, "%s %s\n", path, text);
}

static bool make_key(const struct immure_facts *f, char ret[65])
{
	static const char *const links[] = { "/proc/self/ns/user", "/proc/self/ns/mnt",
					     "/proc/self/ns/pid", "/proc/self/ns/net",
					     "/proc/self/exe" };
	static const char *const texts[] = {
		"/proc/sys/kernel/random/boot_id", "/proc/self/uid_map", "/proc/self/cgroup",
		"/proc/self/attr/current", "/proc/sys/kernel/unprivileged_userns_clone",
		"/proc/sys/user/max_user_namespaces",
		"/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
	};
	static const char *const files[] = { "/proc/self/exe", "/usr/local/bin/bwrap",
					     "/usr/bin/bwrap", "/bin/bwrap" };
	struct immure_buf b = IMMURE_BUF_INIT;
	struct utsname u;
	bool ok;

	if (uname(&u) == 0)
		immure_buf_printf(&b, "%s %s %s\n", u.release, u.version, u.machine);
	immure_buf_printf(&b, "%s %u %u %d\n", IMMURE_VERSION, f->uid, f->gid, f->landlock_abi);
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		add_link(&b, links[i]);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		add_text(&b, texts[i]);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		add_file(&b, files[i]);
	add_status(&b);
	ok = immure_buf_ok(&b) && b.data;
	if (ok)
		immure_sha256_hex(b.data, b.len, 32, ret);
	immure_buf_done(&b);
	return ok;
}

/* ---- where ---- */

/* Ours, and nobody else's to write or even to look into. */
static bool is_private(int fd, mode_t type)
{
	struct stat st;

	return fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == type && st.st_uid == geteuid() &&
	       (st.st_mode & 077) == 0 && (type == S_IFDIR || st.st_nlink == 1);
}

static int open_dir(const struct immure_facts *f, bool create)
{
	int fd;

	if (!f->runtime_dir || (create && immure_make_dirs(f->runtime_dir) < 0))
		return -1;
	fd = open(f->runtime_dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && !is_private(fd, S_IFDIR))
		immure_close(&fd);
	return fd;
}

/* ---- text ---- */

/* One field up to a tab or the end of the line. */
static char *field(char **at)
{
	char *ret = *at, *end = ret + strcspn(ret, "\t\n");

	*at = end + (*end != '\0');
	*end = '\0';
	return ret;
}

static bool parse_row(struct immure_arena *a, char *line, struct immure_fact *ret)
{
	uint64_t errnum;

	ret->name = immure_arena_strdup(a, field(&line));
	ret->ok = strcmp(field(&line), "yes") == 0 ? IMMURE_YES : IMMURE_NO;
	if (immure_parse_u64(field(&line), &errnum) < 0 || errnum > 4095)
		return false;
	ret->errnum = (int)errnum;
	ret->detail = immure_arena_strdup(a, field(&line));
	ret->remedy = immure_arena_strdup(a, field(&line));
	return !a->failed && *ret->name;
}

/* Lines: the magic, the key, bubblewrap's path (may be empty), then rows. */
static bool parse(struct immure_facts *f, char *text, const char *key)
{
	struct immure_arena *a = &f->arena;
	struct immure_fact *rows = immure_arena_alloc(a, ROWS_MAX * sizeof(*rows));
	const char *path;
	size_t n = 0;

	if (!rows || strncmp(text, MAGIC, sizeof(MAGIC) - 1) != 0)
		return false;
	text += sizeof(MAGIC) - 1;
	if (strcmp(field(&text), key) != 0)
		return false;
	path = field(&text);
	while (*text) {
		char *line = text, *end = strchr(text, '\n');

		if (!end || n == ROWS_MAX)
			return false;
		*end = '\0';
		text = end + 1;
		if (!parse_row(a, line, &rows[n++]))
			return false;
	}
	if (n == 0 || (*path && *path != '/'))
		return false;
	f->all = rows;
	f->all_n = n;
	f->bwrap_path = *path ? immure_arena_strdup(a, path) : NULL;
	return !a->failed;
}

/* Filters look alike from outside. What was just asked of the kernel tells at least
 * whether the answers were given under one that hides Landlock. */
static bool agrees(const struct immure_facts *f)
{
	for (size_t i = 0; i < f->all_n; i++)
		if (strcmp(f->all[i].name, "landlock") == 0)
			return (f->all[i].ok == IMMURE_YES) == (f->landlock_abi > 0);
	return false;
}

bool immure_cache_load(struct immure_facts *f)
{
	IMMURE_CLEANUP_FD int dir = open_dir(f, false);
	IMMURE_CLEANUP_FD int fd = dir < 0 ? -1 : openat(dir, NAME, O_RDONLY | O_NOFOLLOW |
								    O_CLOEXEC | O_NONBLOCK);
	IMMURE_CLEANUP_FREE char *text = NULL;
	char key[65];
	size_t len;

	if (fd < 0 || !is_private(fd, S_IFREG) || immure_read_all(fd, CACHE_MAX, &text, &len) < 0 ||
	    strlen(text) != len || !make_key(f, key) || !parse(f, text, key))
		return false;
	if (!agrees(f)) {
		f->all = NULL;
		f->all_n = 0;
		return false;
	}
	immure_facts_conclude(f);
	return true;
}

void immure_cache_store(const struct immure_facts *f)
{
	IMMURE_CLEANUP_FD int dir = open_dir(f, true);
	struct immure_buf b = IMMURE_BUF_INIT;
	IMMURE_CLEANUP_FD int fd = -1;
	char key[65], name[64];
	int r = -1;

	if (dir < 0 || !make_key(f, key))
		return;
	immure_buf_printf(&b, "%s%s\n%s\n", MAGIC, key, f->bwrap_path ? f->bwrap_path : "");
	for (size_t i = 0; i < f->all_n; i++) {
		const struct immure_fact *x = &f->all[i];

		/* what was said by others was made printable: no tabs, no newlines */
		if (x->ok != IMMURE_UNTRIED)
			immure_buf_printf(&b, "%s\t%s\t%d\t%s\t%s\n", x->name,
					  x->ok == IMMURE_YES ? "yes" : "no", x->errnum, x->detail,
					  x->remedy);
	}
	(void)snprintf(name, sizeof(name), ".%s.%d", NAME, (int)getpid());
	if (immure_buf_ok(&b) && b.len < CACHE_MAX)
		fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0)
		r = immure_write_all(fd, b.data, b.len);
	if (r == 0)
		r = renameat(dir, name, dir, NAME);
	if (fd >= 0 && r < 0) /* half an answer is none */
		(void)unlinkat(dir, name, 0);
	immure_buf_done(&b);
}
