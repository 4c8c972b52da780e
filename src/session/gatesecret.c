/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets, from where the policy says they are to immure-intercept. Nobody reads them here. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/fdmsg.h"
#include "session/gatetls.h"

static int32_t failed(struct immure_error **err, int r, const char *what)
{
	return immure_fail(err, IMMURE_ERR_LAUNCH, -r, "network", "secrets", "%s: %s", what,
			   strerror(-r));
}

/* What is only in a variable goes through memory that the two of us share, and nobody else. */
static int from_env(const char *name)
{
	IMMURE_CLEANUP_FD int fd = -1;
	const char *value = getenv(name);
	int r;

	if (!value)
		return -ENOENT;
	fd = memfd_create("immure-secret", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = immure_write_all(fd, value, strlen(value));
	if (r < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return r < 0 ? r : -errno;
	return immure_take_fd(&fd);
}

static int again(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 10);

	return copy < 0 ? -errno : copy;
}

/* Opened here, since whoever is sealed in opens nothing; read there. A file is opened once: one
 * that is put in its place later, by whoever may write there, is none that was named. */
static int open_source(const char *from, bool brought, int *kept)
{
	int fd;
	struct stat st;

	if (*kept >= 0)
		return again(*kept);
	if (strncmp(from, "env:", 4) == 0)
		return brought ? -ENOENT : from_env(from + 4);
	fd = open(from + strlen("file:"), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		immure_close(&fd);
		return -EINVAL;
	}
	*kept = fd;
	return again(fd);
}

static int make_placeholder(char *to, size_t cap)
{
	unsigned char random[16];
	size_t n;

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	n = (size_t)snprintf(to, cap, "%s", IMMURE_PLACEHOLDER);
	for (size_t i = 0; i < sizeof(random); i++)
		n += (size_t)snprintf(to + n, cap - n, "%02x", random[i]);
	return 0;
}

/* The use of a SECRET operation; its name is returned. NULL: none. */
static const char *use_of(const char *text, struct immure_lend_secret *s)
{
	const char *space = strchr(text, ' ');
	size_t n = space ? (size_t)(space - text) : 0;

	if (n == 6 && memcmp(text, "bearer", 6) == 0)
		s->use = IMMURE_LEND_BEARER;
	else if (n == 5 && memcmp(text, "basic", 5) == 0)
		s->use = IMMURE_LEND_BASIC;
	else if (n > 7 && n - 7 < sizeof(s->header) && memcmp(text, "header:", 7) == 0) {
		s->use = IMMURE_LEND_HEADER;
		memcpy(s->header, text + 7, n - 7);
	} else
		return NULL;
	return space + 1;
}

static bool list_targets(const struct immure_plan *plan, uint64_t number, char *to, size_t cap)
{
	size_t n = 0;

	for (size_t i = 0; i < plan->ops_n; i++) {
		const struct immure_op *op = &plan->ops[i];
		size_t len = strlen(op->src);

		if (op->kind != IMMURE_OP_SECRET_TO || op->num[0] != number)
			continue;
		if (len + 2 > cap - n)
			return false;
		n += (size_t)snprintf(to + n, cap - n, "%s%s", n ? "|" : "", op->src);
	}
	return n > 0;
}

int32_t immure_gate_tls_secret(struct immure_gate_tls *t, const struct immure_plan *plan,
			   const struct immure_op *op, struct immure_error **err)
{
	struct immure_lend_msg m = { .type = IMMURE_LEND_SECRET };
	const char *name = use_of(op->src, &m.secret);
	IMMURE_CLEANUP_FD int fd = -1;
	int32_t r;
	int e;

	if (!name || strlen(name) >= sizeof(m.secret.name) ||
	    !list_targets(plan, op->num[0], m.secret.to, sizeof(m.secret.to)))
		return immure_fail(err, IMMURE_ERR_POLICY, EINVAL, "network", "secrets",
				   "secrets: too much of it, or none");
	(void)snprintf(m.secret.name, sizeof(m.secret.name), "%s", name);
	if (strncmp(op->dst, "env:", 4) == 0 && !t->placeholder[op->num[0]][0]) {
		e = make_placeholder(t->placeholder[op->num[0]], IMMURE_LEND_PLACEHOLDER);
		if (e < 0)
			return failed(err, e, "randomness");
	}
	memcpy(m.secret.placeholder, t->placeholder[op->num[0]], IMMURE_LEND_PLACEHOLDER);
	fd = open_source(op->dst, t->brought, &t->source_fd[op->num[0]]);
	if (fd < 0) {
		r = immure_fail(err, IMMURE_ERR_LAUNCH, -fd, "network", "secrets", "secret %s: %s: %s",
				name, op->dst, fd == -ENOENT && op->dst[0] == 'e' ?
				"there is no such variable where the session is supervised" :
				fd == -EINVAL ? "no regular file" : strerror(-fd));
		if (err && *err && op->dst[0] == 'e')
			immure_error_set_hint(*err, "`immure run` has the caller's variables; for other "
					      "sessions name a file: file:/PATH");
		return r;
	}
	e = immure_lend_send(t->wire_fd, &m, &fd, 1);
	return e < 0 ? failed(err, e, "handing over secrets") : 0;
}
