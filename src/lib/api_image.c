/* SPDX-License-Identifier: Apache-2.0 */
/* Images: each act is one immure-image, which closes itself in before it reads anything. Its
 * answer begins with a line that is a number: 0, or what went wrong. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "facts/facts.h"
#include "image/store.h"
#include "lib/options.h"

enum { ANSWER_MAX = 64 << 20, ARGS = 16 };

struct call {
	struct immure_image_options o;
	const char *argv[ARGS];
	size_t argc;
	int store_fd, input_fd;
	char max_size[24];
};

static void add(struct call *c, const char *key, const char *value)
{
	if (!value || c->argc + 3 > ARGS)
		return;
	c->argv[c->argc++] = key;
	c->argv[c->argc++] = value;
}

/* For an import it is made; else what is not there is empty. */
static int32_t open_store(struct call *c, bool make, struct immure_error **err)
{
	struct immure_facts *places = NULL;
	int32_t r = immure_facts_places(c->o.env, &places, err);
	char path[4096];
	int e = 0;

	if (r < 0)
		return r;
	if (!places->state_dir) {
		r = immure_fail(err, IMMURE_ERR_IO, 0, "image", "", "image: there is no directory for state: "
				"neither HOME nor XDG_STATE_HOME is set");
	} else {
		(void)snprintf(path, sizeof(path), "%s/images", places->state_dir);
		e = make ? immure_make_dirs(path) : 0;
		c->store_fd = e < 0 ? e : immure_image_store_open(places->state_dir);
		if (c->store_fd < 0)
			r = immure_fail(err, c->store_fd == -ENOENT ? IMMURE_ERR_NO_IMAGE : IMMURE_ERR_IO, -c->store_fd,
					"image", path, c->store_fd == -ENOENT ? "image: there are no images: %s" :
					"image: the store cannot be used: %s", strerror(-c->store_fd));
	}
	immure_facts_destroy(places);
	return r;
}

static int32_t begin(struct call *c, const char *verb, const char *ref, const struct immure_image_options *options,
		     bool make, struct immure_error **err)
{
	const struct immure_image_options none = { .size = sizeof(none) };
	int32_t r;

	*c = (struct call){ .argv = { "immure-image", verb }, .argc = 2, .store_fd = -1, .input_fd = -1 };
	r = immure_options_copy(&c->o, sizeof(c->o), options ? options : &none, "image", err);
	if (r < 0)
		return r;
	if (c->o.flags & ~(uint32_t)IMMURE_IMAGE_JSON || c->o.hosts || c->o.auth_file)
		return immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "api", "flags", "unknown flags, or options for pull alone");
	add(c, "--json", c->o.flags & IMMURE_IMAGE_JSON ? "1" : "0");
	add(c, "--ref", ref);
	return open_store(c, make, err);
}

/* ---- the worker ---- */

static int start(const struct call *c, int out, pid_t *ret)
{
	char *env[] = { NULL };
	posix_spawn_file_actions_t acts;
	IMMURE_CLEANUP_FD int null = immure_open_null();
	int store = fcntl(c->store_fd, F_DUPFD_CLOEXEC, 16), input = -1, answer = fcntl(out, F_DUPFD_CLOEXEC, 16), r;

	if (null >= 0)
		input = fcntl(c->input_fd < 0 ? null : c->input_fd, F_DUPFD_CLOEXEC, 16);
	r = null < 0 ? -null : store < 0 || input < 0 || answer < 0 ? EMFILE : posix_spawn_file_actions_init(&acts);
	if (r == 0) {
		r = posix_spawn_file_actions_adddup2(&acts, null, 0);
		if (r == 0)
			r = posix_spawn_file_actions_adddup2(&acts, answer, 1);
		if (r == 0)
			r = posix_spawn_file_actions_adddup2(&acts, store, 3);
		if (r == 0)
			r = posix_spawn_file_actions_adddup2(&acts, input, 4);
		if (r == 0)
			r = posix_spawn(ret, c->o.worker ? c->o.worker : IMMURE_LIBEXECDIR "/immure-image", &acts, NULL,
					(char *const *)(uintptr_t)c->argv, env);
		(void)posix_spawn_file_actions_destroy(&acts);
	}
	immure_close(&store);
	immure_close(&input);
	immure_close(&answer);
	return -r;
}

static int32_t code_of(const char *number)
{
	static const struct {
		const char *number;
		int32_t code;
	} codes[] = { { "2", IMMURE_ERR_NO_IMAGE }, { "16", IMMURE_ERR_STATE }, { "22", IMMURE_ERR_INVALID },
		      { "12", IMMURE_ERR_NOMEM }, { "74", IMMURE_ERR_TRUST } };

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (strcmp(number, codes[i].number) == 0)
			return codes[i].code;
	return IMMURE_ERR_IO;
}

/* "0\n" and the answer; else an errno, what it is, a hint; a line each. */
static int32_t take_answer(char *text, size_t len, char **ret, struct immure_error **err)
{
	char *what = memchr(text, '\n', len), *hint;

	if (!what)
		return immure_fail(err, IMMURE_ERR_IO, EPIPE, "image", "", "image: the worker ended without an answer");
	*what++ = '\0';
	if (strcmp(text, "0") == 0) {
		memmove(text, what, len - (size_t)(what - text) + 1);
		*ret = text;
		return 0;
	}
	hint = strchr(what, '\n');
	if (hint)
		*hint++ = '\0';
	if (hint)
		hint[strcspn(hint, "\n")] = '\0';
	(void)immure_fail(err, code_of(text), atoi(text), "image", "", "image: %s", what);
	if (err && *err && hint && *hint)
		immure_error_set_hint(*err, "%s", hint);
	return -code_of(text);
}

static int32_t finish(struct call *c, char **ret, struct immure_error **err)
{
	IMMURE_CLEANUP_FREE char *text = NULL;
	int pipe_fd[2], r;
	size_t len = 0;
	pid_t pid = 0;
	int32_t e;

	if (pipe2(pipe_fd, O_CLOEXEC) < 0)
		return immure_fail(err, IMMURE_ERR_IO, errno, "image", "", "image: no pipe: %s", strerror(errno));
	r = start(c, pipe_fd[1], &pid);
	immure_close(&pipe_fd[1]);
	if (r == 0) {
		r = immure_read_all(pipe_fd[0], ANSWER_MAX, &text, &len);
		immure_close(&pipe_fd[0]);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	} else {
		(void)immure_fail(err, IMMURE_ERR_UNSUPPORTED, -r, "image", "", "image: %s cannot be started: %s",
				  c->o.worker ? c->o.worker : IMMURE_LIBEXECDIR "/immure-image", strerror(-r));
	}
	immure_close(&pipe_fd[0]);
	if (r < 0)
		return immure_fail(err, IMMURE_ERR_IO, -r, "image", "", "image: %s", strerror(-r));
	e = take_answer(text, len, ret, err);
	if (e == 0)
		text = NULL; /* the caller's now */
	return e;
}

static void done(struct call *c)
{
	immure_close(&c->store_fd);
	immure_close(&c->input_fd);
}

static int32_t run(const char *verb, const char *ref, const struct immure_image_options *options, char **ret,
		   struct immure_error **err)
{
	struct call c;
	int32_t r;

	if (!ret)
		return immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "api", verb, "no place for the answer");
	r = begin(&c, verb, ref, options, !ref, err);
	if (r == 0)
		r = finish(&c, ret, err);
	done(&c);
	return r;
}

/* ---- the calls ---- */

int32_t immure_image_import(const char *path, const struct immure_image_options *options, char **ret,
			    immure_error **err)
{
	struct call c;
	int32_t r;

	if (!path || !ret)
		return immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "api", "import",
				   "image: no path, or no place for the answer");
	r = begin(&c, "import", NULL, options, true, err);
	if (r == 0) {
		c.input_fd = strcmp(path, "-") == 0 ? fcntl(0, F_DUPFD_CLOEXEC, 3) : open(path, O_RDONLY | O_CLOEXEC);
		if (c.input_fd < 0)
			r = immure_fail(err, errno == ENOENT ? IMMURE_ERR_NO_IMAGE : IMMURE_ERR_IO, errno, "image",
					path, "image: %s: %s", path, strerror(errno));
	}
	if (r == 0) {
		add(&c, "--name", c.o.name);
		add(&c, "--platform", c.o.platform);
		add(&c, "--which", c.o.which);
		(void)snprintf(c.max_size, sizeof(c.max_size), "%llu", (unsigned long long)c.o.max_bytes);
		add(&c, "--max-size", c.o.max_bytes ? c.max_size : NULL);
		r = finish(&c, ret, err);
	}
	done(&c);
	return r;
}

int32_t immure_image_list(const struct immure_image_options *options, char **ret, immure_error **err)
{
	return run("ls", NULL, options, ret, err);
}

int32_t immure_image_gc(const struct immure_image_options *options, char **ret, immure_error **err)
{
	return run("gc", NULL, options, ret, err);
}

static int32_t of_one(const char *verb, const char *ref, const struct immure_image_options *options, char **ret,
		      immure_error **err)
{
	if (!ref || !*ref)
		return immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "api", verb, "image: none was named");
	return run(verb, ref, options, ret, err);
}

int32_t immure_image_inspect(const char *ref, const struct immure_image_options *options, char **ret,
			     immure_error **err)
{
	return of_one("inspect", ref, options, ret, err);
}

int32_t immure_image_verify(const char *ref, const struct immure_image_options *options, char **ret,
			    immure_error **err)
{
	return of_one("verify", ref, options, ret, err);
}

int32_t immure_image_remove(const char *ref, const struct immure_image_options *options, char **ret,
			    immure_error **err)
{
	return of_one("rm", ref, options, ret, err);
}
