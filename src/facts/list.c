/* SPDX-License-Identifier: Apache-2.0 */
/* The entries of directories that the planner asks about. */
#include "facts/facts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"

enum { ENTRIES_MAX = 2048 };

struct reader {
	struct immure_arena *a;
	struct immure_fact_listing *list;
	size_t cap;
};

static char type_of(int dir, const char *name, unsigned char d_type)
{
	struct stat st;

	switch (d_type) {
	case DT_DIR: return 'd';
	case DT_REG: return 'f';
	case DT_LNK: return 'l';
	case DT_SOCK: return 's';
	case DT_FIFO: return 'p';
	case DT_BLK: return 'b';
	case DT_CHR: return 'c';
	default: break; /* some file systems do not say */
	}
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	return S_ISDIR(st.st_mode) ? 'd' : S_ISLNK(st.st_mode) ? 'l' : S_ISREG(st.st_mode) ? 'f' : 's';
}

static const char *text_of(struct immure_arena *a, int dir, const char *name)
{
	char text[PATH_MAX];
	ssize_t n = readlinkat(dir, name, text, sizeof(text));

	return n > 0 && n < (ssize_t)sizeof(text) ? immure_arena_strndup(a, text, (size_t)n) : NULL;
}

static bool add(struct reader *r, int dir, const char *name, char type)
{
	struct immure_fact_listing *l = r->list;

	if (l->n == r->cap) {
		size_t cap = r->cap ? r->cap * 2 : 64;
		struct immure_fact_entry *e = immure_arena_alloc(r->a, cap * sizeof(*e));

		if (!e)
			return false;
		if (l->n)
			memcpy(e, l->entries, l->n * sizeof(*e));
		l->entries = e;
		r->cap = cap;
	}
	l->entries[l->n] = (struct immure_fact_entry){
		immure_arena_strdup(r->a, name), type, type == 'l' ? text_of(r->a, dir, name) : NULL
	};
	return l->entries[l->n++].name;
}

/* Entries of one buffer of getdents64. false: no more are wanted. */
static bool take(struct reader *r, int fd, const char *buf, long len)
{
	for (long i = 0; i < len;) {
		const char *name = buf + i + 19; /* struct linux_dirent64 */
		unsigned char d_type = (unsigned char)buf[i + 18];
		unsigned short reclen;

		memcpy(&reclen, buf + i + 16, sizeof(reclen));
		i += reclen;
		if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
			continue;
		if (r->list->n == ENTRIES_MAX) {
			r->list->truncated = true;
			return false;
		}
		if (!add(r, fd, name, type_of(fd, name, d_type)))
			return false;
	}
	return true;
}

static void list_one(struct immure_arena *a, struct immure_fact_listing *l)
{
	char buf[16384] __attribute__((aligned(8)));
	IMMURE_CLEANUP_FD int fd = open(l->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct reader r = { .a = a, .list = l };
	long n = 0;

	while (fd >= 0 && (n = syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0)
		if (!take(&r, fd, buf, n))
			return;
	if (fd < 0 || n < 0) {
		l->errnum = errno;
		l->n = 0;
	}
}

/* Inside a sandbox of this kind the directories that it divides cannot be listed,
 * and what lies in them by these names can be looked up. Whatever else is there is
 * not granted: less, never more. */
static const struct {
	const char *dir, *names[48];
} usual[] = {
	{ "/", { "bin", "boot", "data", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "media",
		 "mnt", "nix", "opt", "proc", "root", "run", "sbin", "snap", "srv", "sys", "tmp", "usr",
		 "var", "work", "workspace" } },
	{ "/etc", { "alternatives", "apt", "bash.bashrc", "ca-certificates", "ca-certificates.conf",
		    "crypto-policies", "debian_version", "environment", "fonts", "gitconfig", "group",
		    "host.conf", "hostname", "hosts", "inputrc", "java-11-openjdk",
		    "java-17-openjdk", "java-21-openjdk", "ld-musl-aarch64.path",
		    "ld-musl-x86_64.path", "ld.so.cache", "ld.so.conf", "ld.so.conf.d",
		    "locale.alias", "localtime", "login.defs", "machine-id", "magic", "mime.types",
		    "nsswitch.conf", "os-release", "passwd", "pki", "profile", "profile.d",
		    "protocols", "python3", "resolv.conf", "rpc", "services", "shells", "ssl",
		    "terminfo", "timezone", "xdg" } },
};

static void look_up(struct immure_arena *a, struct immure_fact_listing *l)
{
	IMMURE_CLEANUP_FD int fd = open(l->path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct reader r = { .a = a, .list = l };

	for (size_t i = 0; fd >= 0 && i < sizeof(usual) / sizeof(usual[0]); i++) {
		if (strcmp(usual[i].dir, l->path) != 0)
			continue;
		for (const char *const *name = usual[i].names; *name; name++) {
			char type = type_of(fd, *name, DT_UNKNOWN);

			if (type && !add(&r, fd, *name, type))
				return;
		}
	}
}

void immure_facts_find_closed(struct immure_facts *f)
{
	if (f->uid == 0)
		return;
	for (size_t i = 0; i < f->paths_n; i++) {
		struct immure_fact_path *p = &f->paths[i];

		/* Asked of the kernel, because lists of access are not in the mode; and
		 * only about what others own, who alone can open it to us. */
		if (p->real && (p->type == 'f' || p->type == 'd') && p->uid != f->uid &&
		    (p->mode & 004) == 0)
			p->closed = faccessat(AT_FDCWD, p->real, R_OK, AT_EACCESS) < 0 &&
				    faccessat(AT_FDCWD, p->real, X_OK, AT_EACCESS) < 0;
	}
}

int32_t immure_facts_list(struct immure_facts *f, const struct immure_strv *dirs,
			  struct immure_error **err)
{
	f->listings = immure_arena_alloc(&f->arena, (dirs->n + 1) * sizeof(*f->listings));
	for (size_t i = 0; f->listings && i < dirs->n; i++) {
		f->listings[i] = (struct immure_fact_listing){ .path = dirs->v[i] };
		list_one(&f->arena, &f->listings[i]);
		if (f->listings[i].errnum == EACCES)
			look_up(&f->arena, &f->listings[i]);
		f->listings_n++;
	}
	if (f->arena.failed)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "facts", "",
				   "facts: out of memory");
	return 0;
}
