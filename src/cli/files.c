/* SPDX-License-Identifier: Apache-2.0 */
/* ls, cat and put: files of a session, from outside. The session's view decides
 * what a path means; a symbolic link in it never leads out of it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/jsonw.h"
#include "base/names.h"
#include "base/sort.h"
#include "cli/copy.h"
#include "cli/session.h"

static const char *type_of(mode_t mode)
{
	return S_ISDIR(mode) ? "dir" : S_ISREG(mode) ? "file" : S_ISLNK(mode) ? "symlink" : "other";
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void print_entry(struct immure_jsonw *w, struct immure_buf *b, int dir, const char *name, bool json)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return; /* gone meanwhile */
	if (json) {
		immure_jsonw_object(w, NULL);
		immure_jsonw_str(w, "name", name);
		immure_jsonw_str(w, "type", type_of(st.st_mode));
		immure_jsonw_uint(w, "size", (uint64_t)st.st_size);
		immure_jsonw_uint(w, "mode", st.st_mode & 07777);
		immure_jsonw_int(w, "modified_ms", (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000);
		immure_jsonw_end(w, '}');
		return;
	}
	immure_buf_printf(b, "%-7s %04o %12lld  ", type_of(st.st_mode), st.st_mode & 07777,
			  (long long)st.st_size);
	immure_buf_put_printable(b, name, strlen(name));
	immure_buf_putc(b, '\n');
}

static int list(int fd, bool json)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_strv names = { 0 };
	struct immure_jsonw w;
	struct dirent *e;
	DIR *d = fdopendir(fd);
	int status, r = 0;
	char *text;

	if (!d) {
		immure_cli_say("ls: %s", strerror(errno));
		immure_close(&fd);
		return IMMURE_EXIT_FAILED;
	}
	while ((e = immure_readdir(d, &r)))
		(void)immure_strv_add(&a, &names, immure_arena_strdup(&a, e->d_name)); /* a.failed */
	if (names.n)
		qsort(names.v, names.n, sizeof(*names.v), by_name);
	immure_jsonw_init(&w, &b, 0);
	if (json)
		immure_jsonw_array(&w, NULL);
	for (size_t i = 0; i < names.n; i++)
		print_entry(&w, &b, dirfd(d), names.v[i], json);
	if (json) {
		immure_jsonw_end(&w, ']');
		immure_buf_putc(&b, '\n');
	}
	text = immure_buf_take(&b);
	if (r < 0)
		immure_cli_say("ls: %s", strerror(-r));
	status = a.failed || r < 0 ? IMMURE_EXIT_FAILED : immure_cli_print(text ? text : "");
	free(text);
	(void)closedir(d); /* nothing was written */
	immure_arena_done(&a);
	return status;
}

/* The operand after SESSION, or a word about it. */
static const char *path_operand(const char *command, int argc, char **argv, int next)
{
	if (next < argc)
		return argv[next];
	immure_cli_say("%s: which path, inside the session?", command);
	return NULL;
}

static int with_file(const char *command, int argc, char **argv, int flags, int (*act)(int fd, bool json))
{
	struct immure_runflags f;
	struct immure_error *err = NULL;
	immure_session *session = NULL;
	const char *path;
	int32_t fd;
	int next, status = immure_cli_session_open(command, argc, argv, &f, &session, &next);

	if (status != IMMURE_CLI_GO_ON)
		return status;
	status = IMMURE_EXIT_FAILED;
	path = path_operand(command, argc, argv, next);
	if (path && immure_session_open_file(session, path, flags, 0666, &fd, &err) < 0)
		status = immure_cli_fail(err);
	else if (path)
		status = act(fd, f.json);
	immure_session_free(session);
	immure_runflags_done(&f);
	return status;
}

static int print_file(int fd, bool json)
{
	int r = immure_copy_bytes(fd, STDOUT_FILENO);

	(void)json;
	immure_close(&fd);
	if (r < 0)
		immure_cli_say("cat: %s", strerror(-r));
	return r < 0 ? IMMURE_EXIT_FAILED : 0;
}

static int fill_file(int fd, bool json)
{
	int r = immure_copy_bytes(STDIN_FILENO, fd);

	immure_close(&fd);
	if (r < 0)
		immure_cli_say("put: %s", strerror(-r));
	else if (json)
		return immure_cli_print("{\"written\":true}\n");
	return r < 0 ? IMMURE_EXIT_FAILED : 0;
}

int immure_cli_ls(int argc, char **argv)
{
	return with_file("ls", argc, argv, O_RDONLY | O_DIRECTORY, list);
}

int immure_cli_cat(int argc, char **argv)
{
	return with_file("cat", argc, argv, O_RDONLY | O_NONBLOCK, print_file);
}

int immure_cli_put(int argc, char **argv)
{
	return with_file("put", argc, argv, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK, fill_file);
}
