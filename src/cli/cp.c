/* SPDX-License-Identifier: Apache-2.0 */
/* cp SESSION:PATH HERE, cp HERE SESSION:PATH. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/copy.h"
#include "cli/session.h"

struct side {
	immure_session *session; /* NULL: here */
	const char *path;
};

static int32_t open_side(const char *operand, struct side *ret, struct immure_error **err)
{
	char name[128], own[IMMURE_CLI_PATH_MAX];
	struct immure_session_options o = immure_cli_session_options(own);
	const char *colon = strchr(operand, ':');

	*ret = (struct side){ .path = operand };
	/* As scp(1): a path with a slash before the colon is one of ours. */
	if (!colon || memchr(operand, '/', (size_t)(colon - operand)) ||
	    (size_t)(colon - operand) >= sizeof(name))
		return 0;
	(void)snprintf(name, sizeof(name), "%.*s", (int)(colon - operand), operand);
	ret->path = colon + 1;
	return immure_session_open(name, &o, &ret->session, err);
}

static int32_t open_at(const struct side *s, const char *path, int flags, int32_t *ret,
		       struct immure_error **err)
{
	if (s->session)
		return immure_session_open_file(s->session, path, flags, 0, ret, err);
	*ret = open(path, flags | O_CLOEXEC);
	return *ret >= 0 ? 0 : immure_fail(err, IMMURE_ERR_IO, errno, "cp", path, "%s: %s", path,
					   strerror(errno));
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Into a directory under its own name, or as the last part of the path given. */
static int32_t open_target(const struct side *to, const char *from, int32_t *ret_dir, char *name, size_t len,
			   char parent[PATH_MAX], struct immure_error **err)
{
	const char *last = last_part(to->path);

	(void)snprintf(parent, PATH_MAX, "%s", to->path[0] ? to->path : "/");
	if (open_at(to, parent, O_RDONLY | O_DIRECTORY, ret_dir, NULL) == 0) {
		(void)snprintf(name, len, "%s", last_part(from));
		return 0;
	}
	(void)snprintf(name, len, "%s", last);
	(void)snprintf(parent, PATH_MAX, "%.*s", (int)(last - to->path), to->path);
	if (!parent[0])
		(void)snprintf(parent, PATH_MAX, "%s", to->session ? "/" : ".");
	return open_at(to, parent, O_RDONLY | O_DIRECTORY, ret_dir, err);
}

static int copy(const char *from_operand, const char *to_operand)
{
	struct immure_error *err = NULL;
	struct side from = { 0 }, to = { 0 };
	char name[NAME_MAX + 1] = "", parent[PATH_MAX] = "";
	int32_t from_fd = -1, to_dir = -1, r = open_side(from_operand, &from, &err);
	int left_out = 0, status;

	if (r == 0)
		r = open_side(to_operand, &to, &err);
	if (r == 0 && !from.session && !to.session)
		r = immure_fail(&err, IMMURE_ERR_INVALID, 0, "cp", "", "cp: one of the two is SESSION:PATH");
	if (r == 0)
		r = open_at(&from, from.path, O_RDONLY | O_NONBLOCK | O_NOCTTY, &from_fd, &err);
	if (r == 0)
		r = open_target(&to, from.path, &to_dir, name, sizeof(name), parent, &err);
	if (r == 0 && (!name[0] || strcmp(name, ".") == 0 || strcmp(name, "..") == 0))
		r = immure_fail(&err, IMMURE_ERR_INVALID, 0, "cp", "", "cp: under which name?");
	if (r == 0)
		left_out = immure_copy_tree(&(struct immure_copy){
			.from_session = from.session, .from_fd = from_fd, .from_path = from.path,
			.to_session = to.session, .to_dir = to_dir, .to_path = parent, .name = name,
		});
	status = r < 0 ? immure_cli_fail(err) : left_out < 0 ? IMMURE_EXIT_FAILED : left_out ? IMMURE_EXIT_NO : 0;
	immure_close(&from_fd);
	immure_close(&to_dir);
	immure_session_free(from.session);
	immure_session_free(to.session);
	return status;
}

int immure_cli_cp(int argc, char **argv)
{
	struct immure_runflags f;
	int status = immure_runflags_parse("cp", argc, argv, &f);

	if (status != IMMURE_CLI_GO_ON)
		return status;
	if (argc - f.first != 2) {
		immure_cli_say("cp: expected FROM and TO, one of them SESSION:PATH");
		status = IMMURE_EXIT_FAILED;
	} else {
		status = copy(argv[f.first], argv[f.first + 1]);
		if (f.json && status <= IMMURE_EXIT_NO)
			(void)immure_cli_print(status ? "{\"copied\":true,\"complete\":false}\n"
						      : "{\"copied\":true,\"complete\":true}\n");
	}
	immure_runflags_done(&f);
	return status;
}
