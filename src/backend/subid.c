/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/subid.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

bool immure_subid_range(const char *text, const char *user, uint32_t uid, uint32_t *ret_first,
			uint32_t *ret_count)
{
	char number[16];

	(void)snprintf(number, sizeof(number), "%u", uid);
	while (*text) {
		size_t line = strcspn(text, "\n"), n = strcspn(text, ":");

		if (n < line && ((strlen(number) == n && strncmp(text, number, n) == 0) ||
				 (user && strlen(user) == n && strncmp(text, user, n) == 0))) {
			char *end;
			unsigned long first = strtoul(text + n + 1, &end, 10), count = 0;

			if (*end == ':')
				count = strtoul(end + 1, &end, 10);
			if (first > 0 && count > 0 && first < UINT32_MAX && count < UINT32_MAX) {
				*ret_first = (uint32_t)first;
				*ret_count = (uint32_t)count;
				return true;
			}
		}
		text += line + (text[line] == '\n');
	}
	return false;
}

/* The login name of uid in passwd(5) text, copied to buf; NULL when absent. */
static const char *login_name(uint32_t uid, char *buf, size_t len)
{
	char *text = NULL;
	const char *ret = NULL;

	if (immure_read_file_at(AT_FDCWD, "/etc/passwd", 4 << 20, &text, NULL) < 0)
		return NULL;
	for (char *p = text; *p && !ret;) {
		size_t line = strcspn(p, "\n"), n = strcspn(p, ":");
		char *second = n < line ? strchr(p + n + 1, ':') : NULL;

		if (second && second < p + line && strtoul(second + 1, NULL, 10) == uid && n < len) {
			memcpy(buf, p, n);
			buf[n] = '\0';
			ret = buf;
		}
		p += line + (p[line] == '\n');
	}
	free(text);
	return ret;
}

static int run_helper(const char *path, int pid, uint32_t in, uint32_t out, uint32_t first,
		      uint32_t count)
{
	char text[6][16];
	char *argv[] = { (char *)(uintptr_t)path, text[0], text[1], text[2], text[3],
			 text[4],	 text[5], (char[]){ "0" }, NULL };
	char *env[] = { NULL };
	int status, r;
	pid_t child;

	(void)snprintf(text[0], 16, "%d", pid);
	(void)snprintf(text[1], 16, "%u", in);
	(void)snprintf(text[2], 16, "%u", out);
	(void)snprintf(text[3], 16, "1");
	(void)snprintf(text[4], 16, "%u", in + 1);
	(void)snprintf(text[5], 16, "%u", first);
	char count_text[16];

	(void)snprintf(count_text, sizeof(count_text), "%u", count);
	argv[7] = count_text;
	r = posix_spawn(&child, path, NULL, NULL, argv, env);
	if (r)
		return -r;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EPERM;
}

int32_t immure_subid_write_maps(const struct immure_op *op, int pid, struct immure_error **err)
{
	static const struct {
		const char *file, *helper;
	} kinds[] = { { "/etc/subgid", "/usr/bin/newgidmap" }, { "/etc/subuid", "/usr/bin/newuidmap" } };
	char name[64];
	const char *user = login_name(getuid(), name, sizeof(name));

	for (size_t i = 0; i < 2; i++) {
		uint32_t first = 0, count = 0, in = (uint32_t)op->num[i ? 0 : 2];
		char *text = NULL;
		bool found = immure_read_file_at(AT_FDCWD, kinds[i].file, 1 << 20, &text, NULL) == 0 &&
			     immure_subid_range(text, user, getuid(), &first, &count);
		int r;

		free(text);
		if (!found || in != 0) {
			r = immure_fail(err, IMMURE_ERR_LAUNCH, ENOENT, "ids", op->key,
					found ? "a sub-id range goes with identity root only"
					      : "no sub-id range for this user in %s",
					kinds[i].file);
			if (err && *err)
				immure_error_set_hint(*err, "usermod --add-subuids 100000-165535 "
							    "--add-subgids 100000-165535 USER");
			return r;
		}
		r = run_helper(kinds[i].helper, pid, in, (uint32_t)op->num[i ? 1 : 3], first, count);
		if (r < 0)
			return immure_fail(err, IMMURE_ERR_LAUNCH, r, "ids", op->key,
					   "%s failed: %s", kinds[i].helper, strerror(-r));
	}
	return 0;
}
