/* SPDX-License-Identifier: Apache-2.0 */
/* The record may lie in a directory that the command can write to, so nothing
 * of its name is trusted after the command ran: the directory is opened before,
 * the text goes to a fresh file in it (O_EXCL) that then takes the name; a link
 * put there is replaced, not followed. */
#include "cli/record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/jsonw.h"

static int32_t fail(struct immure_error **err, const char *path, int errnum)
{
	return immure_fail(err, IMMURE_ERR_IO, errnum, "result", path, "--result %s: %s", path,
			   strerror(errnum));
}

/* Whatever has that name is removed. A device, or /dev/stdout, is not what anybody means by
 * that: root would take it away from the whole machine. */
static bool may_go(int dir_fd, const char *name)
{
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return true; /* nothing there, or the next call says what */
	if (S_ISLNK(st.st_mode) && fstatat(dir_fd, name, &st, 0) < 0)
		return true;
	return S_ISREG(st.st_mode) || S_ISDIR(st.st_mode); /* a directory stays, and is told */
}

int32_t immure_record_prepare(struct immure_record *r, const char *path, struct immure_error **err)
{
	const char *slash;
	char *dir;

	if (!path)
		return 0;
	slash = strrchr(path, '/');
	r->path = path;
	r->name = slash ? slash + 1 : path;
	if (!r->name[0] || !strcmp(r->name, ".") || !strcmp(r->name, "..") || !strcmp(path, "-"))
		return immure_fail(err, IMMURE_ERR_INVALID, 0, "result", path,
				   "--result %s: not the name of a file", path);
	dir = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	if (!dir)
		return fail(err, path, ENOMEM);
	r->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(dir);
	if (r->dir_fd < 0)
		return fail(err, path, errno);
	if (!may_go(r->dir_fd, r->name)) {
		immure_close(&r->dir_fd);
		return immure_fail(err, IMMURE_ERR_INVALID, EEXIST, "result", path, "--result %s: what is there is no "
				   "file, and a record would take its place", path);
	}
	if (faccessat(r->dir_fd, ".", W_OK | X_OK, 0) < 0 ||
	    (unlinkat(r->dir_fd, r->name, 0) < 0 && errno != ENOENT)) {
		int errnum = errno;

		immure_close(&r->dir_fd); /* the refusal cannot be recorded either */
		return fail(err, path, errnum);
	}
	return 0;
}

static char *refusal_text(const immure_policy *policy, const immure_plan *plan,
			  const struct immure_error *refusal)
{
	struct immure_buf out = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	immure_jsonw_init(&w, &out, 2);
	immure_jsonw_object(&w, NULL);
	immure_jsonw_str(&w, "outcome", "refused");
	immure_jsonw_str(&w, "policy_version", policy ? immure_policy_version(policy) : NULL);
	immure_jsonw_str(&w, "plan_hash", plan ? immure_plan_hash(plan) : NULL);
	immure_jsonw_object(&w, "error");
	immure_jsonw_int(&w, "code", immure_error_code(refusal));
	immure_jsonw_int(&w, "errno", immure_error_errno(refusal));
	immure_jsonw_str(&w, "stage", immure_error_stage(refusal));
	immure_jsonw_str(&w, "subject", immure_error_subject(refusal));
	immure_jsonw_str(&w, "text", immure_error_text(refusal));
	immure_jsonw_str(&w, "hint", immure_error_hint(refusal));
	immure_jsonw_end(&w, '}');
	immure_jsonw_end(&w, '}');
	return immure_buf_take(&out);
}

static int write_file(int dir_fd, const char *name, const char *text)
{
	IMMURE_CLEANUP_FD int fd = -1;
	char tmp[32];
	uint64_t nonce = 0;
	int r;

	if (getrandom(&nonce, sizeof(nonce), 0) != sizeof(nonce))
		return -errno;
	(void)snprintf(tmp, sizeof(tmp), ".immure-%016llx", (unsigned long long)nonce); /* fits */
	fd = openat(dir_fd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = immure_write_all(fd, text, strlen(text));
	/* fsync: where the disk is only found to be full when data reach it. */
	if (r >= 0 && fsync(fd) < 0 && errno != EINVAL && errno != EROFS)
		r = -errno;
	if (r >= 0 && renameat(dir_fd, tmp, dir_fd, name) < 0)
		r = -errno;
	if (r < 0)
		(void)unlinkat(dir_fd, tmp, 0); /* the first failure is the one to tell */
	return r < 0 ? r : 0;
}

int32_t immure_record_write(const struct immure_record *r, const immure_policy *policy,
			    const immure_plan *plan, const immure_result *result,
			    const struct immure_error *refusal, struct immure_error **err)
{
	char *text = NULL;
	int32_t code = 0;
	int n;

	if (r->dir_fd < 0)
		return 0;
	if (result)
		code = immure_result_print(result, 1, &text, err);
	else
		text = refusal_text(policy, plan, refusal);
	if (code < 0)
		return code;
	n = text ? write_file(r->dir_fd, r->name, text) : -ENOMEM;
	immure_string_free(text);
	return n < 0 ? fail(err, r->path, -n) : 0;
}

void immure_record_done(struct immure_record *r)
{
	immure_close(&r->dir_fd);
}
