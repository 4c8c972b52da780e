/* SPDX-License-Identifier: Apache-2.0 */
/* What a session that runs many commands is asked for, but for the commands
 * themselves (api_process.c). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "kernel/sys.h"
#include "lib/session.h"

int32_t immure_session_usable(const immure_session *s, struct immure_error **err)
{
	if (!s || s->kind != IMMURE_SESSION_SERVED)
		return immure_fail(err, IMMURE_ERR_STATE, 0, "session", "",
				   "this session runs one command only");
	if (s->owner != getpid())
		return immure_fail(err, IMMURE_ERR_STATE, 0, "session", "",
				   "this session belongs to the process that opened it");
	return 0;
}

static int32_t plain_request(immure_session *s, const char *op, struct immure_error **err)
{
	struct immure_link_ask ask;
	int32_t r = immure_session_usable(s, err);

	if (r < 0)
		return r;
	immure_link_begin(s->link, &ask, op);
	return immure_link_request(s->link, &ask, NULL, NULL, err);
}

int32_t immure_session_freeze(immure_session *session, immure_error **err)
{
	return plain_request(session, "freeze", err);
}

int32_t immure_session_thaw(immure_session *session, immure_error **err)
{
	return plain_request(session, "thaw", err);
}

int32_t immure_session_detach(immure_session *session, immure_error **err)
{
	int32_t r = plain_request(session, "detach", err);

	if (r == 0)
		session->let_go = true;
	return r;
}

int32_t immure_session_ticket(immure_session *session, uint64_t valid_ms, char **ret, immure_error **err)
{
	const struct immure_jsonr_value *root;
	struct immure_link_ask ask;
	const char *text;
	int32_t r = immure_session_usable(session, err);

	if (r == 0 && !ret)
		r = immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "api", "ret", "no place for the ticket");
	if (r < 0)
		return r;
	immure_link_begin(session->link, &ask, "detach");
	immure_jsonw_bool(&ask.w, "ticket", true);
	if (valid_ms)
		immure_jsonw_uint(&ask.w, "valid_ms", valid_ms);
	r = immure_link_request(session->link, &ask, &root, NULL, err);
	if (r < 0)
		return r;
	session->let_go = true;
	text = immure_link_string(session->link, root, "ticket");
	*ret = text ? strdup(text) : NULL;
	return *ret ? 0 : immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "detach", "", "out of memory");
}

int32_t immure_session_kill(immure_session *session, int32_t signo, immure_error **err)
{
	int32_t r = immure_session_usable(session, err);

	return r < 0 ? r : immure_link_signal_all(session->link, signo, err);
}

int32_t immure_session_stop(immure_session *session, uint64_t grace_ms, uint32_t flags, immure_error **err)
{
	struct immure_link_ask ask;
	int32_t r = immure_session_usable(session, err);

	if (r < 0)
		return r;
	immure_link_begin(session->link, &ask, "stop");
	immure_jsonw_uint(&ask.w, "grace_ms", grace_ms);
	if (flags & IMMURE_SESSION_REMOVE)
		immure_jsonw_bool(&ask.w, "remove", true);
	r = immure_link_request(session->link, &ask, NULL, NULL, err);
	/* Its end of the line is the last thing it closes. */
	while (r == 0 && !session->link->ended)
		r = immure_link_read(session->link, true, err);
	return r;
}

int32_t immure_session_request(immure_session *session, const char *op, const char *arguments_json,
			       char **ret_json, immure_error **err)
{
	const char *a = arguments_json, *end;
	const struct immure_jsonr_value *root;
	struct immure_link_ask ask;
	int32_t r = immure_session_usable(session, err);

	if (r < 0)
		return r;
	immure_link_begin(session->link, &ask, op);
	if (a) { /* its members follow ours; what is wrong with them the server says */
		a += strspn(a, " \t\r\n");
		end = a + strlen(a);
		while (end > a && strchr(" \t\r\n", end[-1]))
			end--;
		if (end - a < 2 || a[0] != '{' || end[-1] != '}') {
			immure_buf_done(&ask.text);
			return immure_fail(err, IMMURE_ERR_INVALID, 0, op, "", "arguments are a JSON object");
		}
		if (strspn(a + 1, " \t\r\n") < (size_t)(end - a - 2)) {
			immure_buf_putc(&ask.text, ',');
			immure_buf_put(&ask.text, a + 1, (size_t)(end - a - 2));
		}
	}
	r = immure_link_request(session->link, &ask, &root, NULL, err);
	if (r < 0 || !ret_json)
		return r;
	*ret_json = immure_link_text(session->link, root);
	return *ret_json ? 0 : immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, op, "", "out of memory");
}

int32_t immure_session_root(immure_session *s, int *ret_fd, struct immure_error **err)
{
	const struct immure_jsonr_value *root, *inside;
	struct immure_link_ask ask;
	int32_t r = immure_session_usable(s, err);

	if (r < 0 || s->link->inside)
		return r < 0 ? r : 1;
	immure_link_begin(s->link, &ask, "root");
	r = immure_link_request(s->link, &ask, &root, ret_fd, err);
	if (r < 0)
		return r;
	inside = immure_jsonr_get(&s->link->json, root, "inside");
	s->link->inside = *ret_fd < 0 && inside && inside->integer;
	return s->link->inside;
}

int32_t immure_session_inside(immure_session *s, const struct immure_inside_file *f, int *ret_fd,
			      struct immure_error **err)
{
	struct immure_error *why = NULL;
	struct immure_link_ask ask;
	char path[4096], to[4096];
	int32_t r;

	/* Names are from the root, as everywhere. */
	if (snprintf(path, sizeof(path), "%s%s", f->path[0] == '/' ? "" : "/", f->path) >= (int)sizeof(path) ||
	    snprintf(to, sizeof(to), "%s%s", !f->to || f->to[0] == '/' ? "" : "/", f->to ? f->to : "") >=
		    (int)sizeof(to))
		return immure_fail(err, IMMURE_ERR_IO, ENAMETOOLONG, "file", f->path, "%s: %s", f->path,
				   strerror(ENAMETOOLONG));
	immure_link_begin(s->link, &ask, "file");
	immure_jsonw_str(&ask.w, "do", f->act);
	immure_jsonw_str(&ask.w, "path", path);
	if (f->to)
		immure_jsonw_str(&ask.w, "to", to);
	immure_jsonw_uint(&ask.w, "flags", f->flags & ~(uint32_t)O_CLOEXEC);
	immure_jsonw_uint(&ask.w, "mode", f->mode & 0777);
	r = immure_link_request(s->link, &ask, NULL, ret_fd, &why);
	if (r == -IMMURE_ERR_IO) /* in the words of files */
		(void)immure_fail(err, IMMURE_ERR_IO, immure_error_errno(why), "file", f->path, "%s: %s", f->path,
				  immure_error_text(why));
	else if (r < 0 && err)
		*err = why, why = NULL;
	immure_error_free(why);
	return r;
}

int32_t immure_session_open_file(immure_session *session, const char *path, int32_t flags, uint32_t mode,
				 int32_t *ret_fd, immure_error **err)
{
	struct immure_open_how how = {
		.flags = (uint64_t)(uint32_t)(flags | O_CLOEXEC | (flags & O_PATH ? 0 : O_NOCTTY)),
		.mode = flags & O_CREAT ? mode : 0,
		.resolve = IMMURE_RESOLVE_IN_ROOT | IMMURE_RESOLVE_NO_MAGICLINKS,
	};
	struct immure_inside_file inside = { .act = "open", .path = path, .flags = (uint32_t)flags,
					     .mode = (uint32_t)how.mode };
	IMMURE_CLEANUP_FD int root = -1;
	int32_t r = immure_session_root(session, &root, err);
	int got = -1;
	long fd;

	if (r < 0)
		return r;
	if (r == 1) {
		r = immure_session_inside(session, &inside, &got, err);
		if (r == 0)
			*ret_fd = got;
		return r;
	}
	fd = root < 0 ? -EBADF : IMMURE_SYS(syscall(SYS_openat2, root, path, &how, sizeof(how)));
	if (fd < 0)
		return immure_fail(err, IMMURE_ERR_IO, (int)-fd, "file", path, "%s: %s", path,
				   strerror((int)-fd));
	*ret_fd = (int32_t)fd;
	return 0;
}

int32_t immure_session_proof(immure_session *session, char **ret_json, immure_error **err)
{
	enum { PROOF_MAX = 4 << 20 };
	IMMURE_CLEANUP_FD int fd = -1;
	struct immure_link_ask ask;
	int32_t r = immure_session_usable(session, err);
	size_t len = 0;
	int e;

	if (r < 0)
		return r;
	immure_link_begin(session->link, &ask, "proof");
	r = immure_link_request(session->link, &ask, NULL, &fd, err);
	if (r < 0)
		return r;
	e = fd < 0 ? -EBADF : immure_read_all(fd, PROOF_MAX, ret_json, &len);
	return e < 0 ? immure_fail(err, IMMURE_ERR_IO, -e, "proof", "", "the proof cannot be read: %s", strerror(-e))
		     : 0;
}
