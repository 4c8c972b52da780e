/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of a session without a view of its own. Its names are the host's, so a client that
 * resolved one itself would follow links to where no command gets. Init does it instead,
 * from within (init/files.c), and answers when it has: who asked is kept until then.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/fdmsg.h"
#include "session/serve.h"

static int32_t take_path(struct immure_ask *a, const char *key, const char *text, char ret[4096])
{
	size_t n = text ? strlen(text) : 0;

	if (n == 0 || n >= 4096 || text[0] != '/')
		return immure_ask_fail(a, IMMURE_ERR_INVALID, 0, key, "%s is an absolute path", key);
	memcpy(ret, text, n + 1);
	return 0;
}

static int32_t take_act(struct immure_ask *a, struct immure_init_file *f)
{
	static const char *const names[IMMURE_FILE_ACT_MAX] = {
		[IMMURE_FILE_ACT_OPEN] = "open",     [IMMURE_FILE_ACT_LOOK] = "look",
		[IMMURE_FILE_ACT_REMOVE] = "remove", [IMMURE_FILE_ACT_RENAME] = "rename",
		[IMMURE_FILE_ACT_MKDIR] = "mkdir",
	};
	const char *name = "open", *path = NULL, *to = NULL;
	uint64_t flags = 0, mode = 0;
	int32_t r = immure_arg_string(a, "do", &name);

	if (r == 0)
		r = immure_arg_string(a, "path", &path);
	if (r == 0)
		r = immure_arg_string(a, "to", &to);
	if (r == 0)
		r = immure_arg_uint(a, "flags", INT32_MAX, &flags);
	if (r == 0)
		r = immure_arg_uint(a, "mode", 0777, &mode);
	if (r < 0)
		return r;
	while (f->act < IMMURE_FILE_ACT_MAX && strcmp(names[f->act], name) != 0)
		f->act++;
	if (f->act == IMMURE_FILE_ACT_MAX)
		return immure_ask_fail(a, IMMURE_ERR_INVALID, 0, "do", "do is open, look, remove, rename or mkdir");
	f->flags = (uint32_t)flags;
	f->mode = (uint32_t)mode;
	r = take_path(a, "path", path, f->path);
	if (r == 0 && f->act == IMMURE_FILE_ACT_RENAME)
		r = take_path(a, "to", to, f->to);
	return r;
}

int32_t immure_inside_ask(struct immure_ask *a)
{
	struct immure_init_file f = { .type = IMMURE_INIT_FILE };
	struct iovec iov = { &f, sizeof(f) };
	struct immure_server *s = a->s;
	size_t at = 0;
	ssize_t sent;
	int32_t r;

	if (!immure_plan_is_bare(s->plan))
		return immure_ask_fail(a, IMMURE_ERR_UNSUPPORTED, EOPNOTSUPP, "", "this session has a root of its "
				       "own: ask for that");
	r = take_act(a, &f);
	if (r < 0)
		return r;
	while (at < IMMURE_SERVE_FILES && s->files[at].id)
		at++;
	if (at == IMMURE_SERVE_FILES)
		return immure_ask_fail(a, IMMURE_ERR_STATE, EAGAIN, "", "too many files are being asked for");
	f.id = ++s->last_file;
	sent = immure_fdmsg_send(s->sealed.sock_fd, &iov, 1, NULL, 0, MSG_DONTWAIT);
	if (sent < 0)
		return immure_ask_fail(a, IMMURE_ERR_IO, (int)-sent, "", "init: %s", strerror((int)-sent));
	s->files[at] = (struct immure_inside){ .id = f.id, .client = a->c, .request = a->id };
	immure_life_touch(s);
	return 0;
}

void immure_inside_answered(struct immure_server *s, const struct immure_init_reply *reply, int *fd)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_error *err = NULL;
	struct immure_jsonw w;
	struct immure_inside f = { 0 };

	for (size_t i = 0; i < IMMURE_SERVE_FILES; i++)
		if (s->files[i].id == reply->id) {
			f = s->files[i];
			s->files[i].id = 0;
			break;
		}
	if (!f.id || !f.client) /* gone: nobody is to be told */
		return;
	if (reply->errnum) {
		(void)immure_fail(&err, IMMURE_ERR_IO, reply->errnum, "file", "", "%s", strerror(reply->errnum));
		immure_answer_error(s, f.client, f.request, err);
		immure_error_free(err);
		return;
	}
	immure_answer_begin(&w, &b, f.request);
	immure_answer_send(s, f.client, &w, fd, fd != NULL);
}

void immure_inside_client_gone(struct immure_server *s, const struct immure_client *c)
{
	for (size_t i = 0; i < IMMURE_SERVE_FILES; i++)
		if (s->files[i].client == c)
			s->files[i].client = NULL;
}
