/* SPDX-License-Identifier: Apache-2.0 */
/* What is typed to commands: bytes on their way to a pipe or a terminal, and its size. */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/base64.h"
#include "session/serve.h"

void immure_task_answer_input(struct immure_server *s, struct immure_task *t, int errnum)
{
	struct immure_error *err = NULL;

	if (t->input_asker && errnum) {
		(void)immure_fail(&err, IMMURE_ERR_IO, errnum, "input", "", "stdin: %s", strerror(errnum));
		immure_answer_error(s, t->input_asker, t->input_request, err);
		immure_error_free(err);
	} else if (t->input_asker) {
		immure_answer_ok(s, t->input_asker, t->input_request);
	}
	t->input_asker = NULL;
}

/* Writes what waits; a full pipe is waited for. */
static void push_input(struct immure_server *s, struct immure_task *t)
{
	while (t->input_sent < t->input.len) {
		ssize_t n = write(t->in.fd, t->input.data + t->input_sent, t->input.len - t->input_sent);

		if (n < 0 && errno == EAGAIN) {
			(void)immure_server_watch(s, &t->in, EPOLLOUT); /* a change only */
			return;
		}
		if (n < 0 && errno != EINTR) {
			immure_task_answer_input(s, t, errno);
			immure_buf_done(&t->input);
			t->input_sent = 0;
			immure_server_unwatch(s, &t->in);
			return;
		}
		if (n > 0) {
			t->input_sent += (size_t)n;
			s->bytes_in += (uint64_t)n;
		}
	}
	immure_buf_done(&t->input);
	t->input_sent = 0;
	(void)immure_server_watch(s, &t->in, 0); /* a change only */
	if (t->input_eof)
		immure_server_unwatch(s, &t->in);
	immure_task_answer_input(s, t, 0);
}

void immure_task_on_input(struct immure_server *s, struct immure_watch *w, uint32_t events)
{
	struct immure_task *t = (struct immure_task *)((char *)w - offsetof(struct immure_task, in));

	(void)events;
	push_input(s, t);
}

int32_t immure_task_input(struct immure_ask *a)
{
	struct immure_task *t = immure_task_find(a);
	const char *data = "";
	bool eof = false;
	long n;

	if (!t || immure_arg_string(a, "data", &data) < 0 || immure_arg_bool(a, "eof", &eof) < 0)
		return -IMMURE_ERR_INVALID;
	if (t->in.fd < 0 || !t->started)
		return immure_ask_fail(a, IMMURE_ERR_STATE, EPIPE, "exec", "nothing reads its input");
	if (t->input_asker)
		return immure_ask_fail(a, IMMURE_ERR_STATE, EAGAIN, "exec",
				       "the input before this one is still on its way");
	n = immure_base64_decode((char *)(uintptr_t)data, strlen(data));
	if (n < 0 || n > IMMURE_SERVE_INPUT)
		return immure_ask_fail(a, IMMURE_ERR_INVALID, EINVAL, "data", "data is base 64");
	immure_buf_put(&t->input, data, (size_t)n);
	if (eof && t->pty)
		immure_buf_putc(&t->input, 4); /* what a person types */
	if (!immure_buf_ok(&t->input))
		return immure_ask_fail(a, IMMURE_ERR_NOMEM, ENOMEM, "", "out of memory");
	t->input_eof = eof && !t->pty;
	t->input_asker = a->c;
	t->input_request = a->id;
	immure_life_touch(a->s);
	push_input(a->s, t);
	return 0;
}

int32_t immure_task_resize(struct immure_ask *a)
{
	struct immure_task *t = immure_task_find(a);
	uint64_t rows = 0, cols = 0;
	struct winsize size;

	if (!t || immure_arg_uint(a, "rows", 4096, &rows) < 0 || immure_arg_uint(a, "cols", 4096, &cols) < 0)
		return -IMMURE_ERR_INVALID;
	size = (struct winsize){ .ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols };
	if (!t->pty || t->in.fd < 0 || ioctl(t->in.fd, TIOCSWINSZ, &size) < 0)
		return immure_ask_fail(a, IMMURE_ERR_STATE, ENOTTY, "exec", "it has no terminal");
	immure_answer_ok(a->s, a->c, a->id);
	return 0;
}
