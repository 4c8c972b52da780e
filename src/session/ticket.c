/* SPDX-License-Identifier: Apache-2.0 */
#include "session/ticket.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/names.h"
#include "base/sha256.h"
#include "session/fields.h"
#include "session/journal_line.h"
#include "session/runtime.h"

enum { FILE_LEN = 7 + 64 }; /* "ticket-" and the hash */

static bool hex_only(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f')))
			return false;
	return true;
}

bool immure_ticket_parse(const char *ticket, char ret_id[IMMURE_ID_LEN + 1])
{
	char id[IMMURE_ID_LEN + 1];

	if (strlen(ticket) != IMMURE_TICKET_LEN || strncmp(ticket, "imt-", 4) != 0 ||
	    ticket[4 + IMMURE_ID_LEN] != '-')
		return false;
	memcpy(id, ticket + 4, IMMURE_ID_LEN);
	id[IMMURE_ID_LEN] = '\0';
	if (!immure_id_valid(id) || !hex_only(ticket + 5 + IMMURE_ID_LEN, 64))
		return false;
	memcpy(ret_id, id, sizeof(id));
	return true;
}

/* The file's name follows from the ticket: whoever has not got it cannot find the
 * file, and comparing bytes, which takes a time that tells, is nobody's task. */
static void file_of(const char *ticket, char ret[FILE_LEN + 1])
{
	memcpy(ret, "ticket-", 8);
	immure_sha256_hex(ticket, strlen(ticket), 32, ret + 7);
}

/* Acknowledged is a file of its own that is only ever made: writing the ticket's
 * file anew could bring back one that is being used at this moment. */
static void acknowledged_name(const char *file, char ret[FILE_LEN + 1])
{
	memcpy(ret, file, FILE_LEN + 1);
	memcpy(ret, "acked-", 6);
	memmove(ret + 6, ret + 7, 65);
}

static int write_info(int dir_fd, const char *file, const struct immure_ticket_info *t)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	int r;

	immure_fields_begin(&b, "ticket");
	immure_fields_uint(&b, "issued", t->issued_ms);
	immure_fields_uint(&b, "until", t->until_ms);
	r = immure_buf_ok(&b) ? immure_file_replace(dir_fd, file, b.data, b.len, true) : -ENOMEM;
	immure_buf_done(&b);
	return r;
}

static int take_info(void *ctx, const char *key, const char *word, size_t len)
{
	struct immure_ticket_info *t = ctx;
	int r = 0;

	if (strcmp(key, "issued") == 0) {
		r = immure_field_uint(word, len, UINT64_MAX, &t->issued_ms);
	} else if (strcmp(key, "until") == 0) {
		r = immure_field_uint(word, len, UINT64_MAX, &t->until_ms);
	}
	return r;
}

/* -ENOENT when it is void as well. */
static int read_info(int dir_fd, const char *file, struct immure_ticket_info *ret)
{
	IMMURE_CLEANUP_FREE char *text = NULL;
	struct immure_ticket_info t;
	char acked[FILE_LEN + 1];
	size_t len = 0;
	int r = immure_runtime_read(dir_fd, file, IMMURE_RUNTIME_FILE_MAX, &text, &len);

	memset(&t, 0, sizeof(t));
	if (r == 0)
		r = immure_fields_each(text, len, "ticket", take_info, &t);
	if (r < 0)
		return r;
	acknowledged_name(file, acked);
	t.acknowledged = faccessat(dir_fd, acked, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	if (!t.acknowledged && t.until_ms && immure_now_ms() > t.until_ms)
		return -ENOENT;
	memcpy(t.hash, file + 7, sizeof(t.hash));
	*ret = t;
	return 0;
}

static int each_ticket(int dir_fd, int (*each)(void *ctx, int dir_fd, const char *file), void *ctx)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;

	if (!dir) {
		r = -errno;
		immure_close(&fd);
		return r;
	}
	while (r == 0 && (d = immure_readdir(dir, &r)))
		if (strlen(d->d_name) == FILE_LEN && strncmp(d->d_name, "ticket-", 7) == 0 &&
		    hex_only(d->d_name + 7, 64))
			r = each(ctx, dir_fd, d->d_name);
	(void)closedir(dir); /* read only: nothing is lost */
	return r;
}

/* ---- issue ---- */

static int journal_gone(struct immure_journal *j, const char *hash, const char *why)
{
	struct immure_standing *s = NULL;
	size_t n = 0;
	int r = immure_journal_standing(j->dir_fd, &s, &n);

	for (size_t i = 0; i < n && r == 0; i++)
		if (s[i].kind == IMMURE_JK_TICKET && strcmp(s[i].subject, hash) == 0)
			r = immure_journal_gone(j, IMMURE_JK_TICKET, s[i].seq, why);
	immure_standing_free(s, n);
	return r;
}

static int withdraw(void *ctx, int dir_fd, const char *file)
{
	struct immure_journal *j = ctx;

	if (unlinkat(dir_fd, file, 0) < 0)
		return errno == ENOENT ? 0 : -errno;
	return journal_gone(j, file + 7, "withdrawn");
}

int32_t immure_ticket_issue(struct immure_entry *e, struct immure_journal *j, uint64_t valid_ms,
			    char *ret, struct immure_error **err)
{
	struct immure_ticket_info info = { .issued_ms = immure_now_ms() };
	char ticket[IMMURE_TICKET_LEN + 1], file[FILE_LEN + 1];
	unsigned char secret[32];
	uint64_t seq = 0;
	int r = 0;

	if (getrandom(secret, sizeof(secret), 0) != (ssize_t)sizeof(secret))
		r = -EIO;
	(void)snprintf(ticket, sizeof(ticket), "imt-%s-", e->id);
	immure_journal_hex(secret, sizeof(secret), ticket + 5 + IMMURE_ID_LEN);
	file_of(ticket, file);
	info.until_ms = valid_ms ? info.issued_ms + valid_ms : 0;
	if (r == 0)
		r = each_ticket(e->dir_fd, withdraw, j);
	if (r == 0)
		r = immure_journal_intent(j, IMMURE_JK_TICKET, file + 7, NULL, &seq);
	if (r == 0) {
		r = write_info(e->dir_fd, file, &info);
		if (r < 0)
			(void)immure_journal_result(j, IMMURE_JK_TICKET, seq, r, NULL); /* r is told */
		else
			r = immure_journal_result(j, IMMURE_JK_TICKET, seq, 0, NULL);
	}
	if (r < 0)
		return immure_fail(err, IMMURE_ERR_IO, r, "ticket", e->id,
				   "%s: no ticket can be issued: %s", e->id, strerror(-r));
	memcpy(ret, ticket, sizeof(ticket));
	return 0;
}

/* ---- acknowledge, use ---- */

static int32_t no_such(struct immure_error **err, int r)
{
	if (r != -ENOENT)
		return immure_fail(err, IMMURE_ERR_IO, r, "ticket", "", "the ticket cannot be read: %s",
				   strerror(-r));
	return immure_fail(err, IMMURE_ERR_NO_SESSION, ENOENT, "ticket", "",
			   "the ticket is not valid: used, withdrawn, not acknowledged in time, or "
			   "never issued");
}

static int of_this(const struct immure_entry *e, const char *ticket, char file[FILE_LEN + 1])
{
	char id[IMMURE_ID_LEN + 1];

	if (!immure_ticket_parse(ticket, id) || strcmp(id, e->id) != 0)
		return -ENOENT;
	file_of(ticket, file);
	return 0;
}

int32_t immure_ticket_acknowledge(struct immure_entry *e, const char *ticket,
				  struct immure_error **err)
{
	char file[FILE_LEN + 1], acked[FILE_LEN + 1];
	IMMURE_CLEANUP_FD int fd = -1;
	struct immure_ticket_info info;
	int r = of_this(e, ticket, file);

	if (r == 0)
		r = read_info(e->dir_fd, file, &info);
	if (r == 0) {
		acknowledged_name(file, acked);
		fd = immure_runtime_file(e->dir_fd, acked, O_RDWR | O_CREAT);
		r = fd < 0 ? fd : fsync(e->dir_fd) < 0 && errno != EINVAL ? -errno : 0;
	}
	return r < 0 ? no_such(err, r) : 0;
}

int32_t immure_ticket_use(struct immure_entry *e, const char *ticket, struct immure_error **err)
{
	struct immure_ticket_info info;
	char file[FILE_LEN + 1];
	int r = of_this(e, ticket, file);

	if (r == 0)
		r = read_info(e->dir_fd, file, &info);
	/* Two may come this far; one removes it. */
	if (r == 0 && unlinkat(e->dir_fd, file, 0) < 0)
		r = -errno;
	return r < 0 ? no_such(err, r) : 0;
}

static int take_current(void *ctx, int dir_fd, const char *file)
{
	struct immure_ticket_info *t = ctx;
	int r = read_info(dir_fd, file, t);

	return r == 0 ? 1 : r == -ENOENT ? 0 : r;
}

int immure_ticket_current(const struct immure_entry *e, struct immure_ticket_info *ret)
{
	int r = each_ticket(e->dir_fd, take_current, ret);

	return r == 1 ? 0 : r == 0 ? -ENOENT : r;
}
