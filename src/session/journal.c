/* SPDX-License-Identifier: Apache-2.0 */
/* Writing the journal. Reading it is journal_read.c. */
#include "session/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/sha256.h"
#include "session/fields.h"
#include "session/journal_line.h"
#include "session/registry.h"
#include "session/runtime.h"

enum { ROTATE_AT = 4 << 20 };

/* durable: what it names outlives the machine, so the record is made to as well
 * before anybody acts on it. Processes, cgroups and namespaces do not. */
static const struct {
	const char *name;
	bool durable;
} kinds[] = {
	[IMMURE_JK_SESSION] = { "session", true },
	[IMMURE_JK_CHECKPOINT] = { "checkpoint", true },
	[IMMURE_JK_SUPERVISOR] = { "supervisor", false },
	[IMMURE_JK_OWN_DIR] = { "own_dir", false },
	[IMMURE_JK_CGROUP] = { "cgroup", false },
	[IMMURE_JK_INIT] = { "init", false },
	[IMMURE_JK_PROCESS] = { "process", false },
	[IMMURE_JK_SOCKET] = { "socket", false },
	[IMMURE_JK_FILE] = { "file", true },
	[IMMURE_JK_DIR] = { "dir", true },
	[IMMURE_JK_MOUNT] = { "mount", false },
	[IMMURE_JK_EXEC] = { "exec", false },
	[IMMURE_JK_PORT] = { "port", false },
	[IMMURE_JK_NETWORK] = { "network", false },
	[IMMURE_JK_LIMIT] = { "limit", false },
	[IMMURE_JK_TICKET] = { "ticket", true },
	[IMMURE_JK_DETACH] = { "detach", true },
	[IMMURE_JK_RECLAIM] = { "reclaim", true },
	[IMMURE_JK_STATE] = { "state", false },
	[IMMURE_JK_REPAIR] = { "repair", true },
	[IMMURE_JK_NETNS] = { "netns", false },
	[IMMURE_JK_SNAPSHOT] = { "snapshot", true },
	[IMMURE_JK_DENIAL] = { "denial", false },
	[IMMURE_JK_REUSE] = { "reuse", false },
};
_Static_assert(sizeof(kinds) / sizeof(kinds[0]) == IMMURE_JK_MAX, "a kind has no name");

static const char *const phases[] = {
	[IMMURE_JP_INTENT] = "intent",
	[IMMURE_JP_DONE] = "done",
	[IMMURE_JP_FAILED] = "failed",
	[IMMURE_JP_REMOVING] = "removing",
	[IMMURE_JP_GONE] = "gone",
	[IMMURE_JP_NOTE] = "note",
};
_Static_assert(sizeof(phases) / sizeof(phases[0]) == IMMURE_JP_MAX, "a phase has no name");

const char *immure_journal_kind_name(enum immure_journal_kind k)
{
	return (unsigned int)k < IMMURE_JK_MAX ? kinds[k].name : "";
}

const char *immure_journal_phase_name(enum immure_journal_phase p)
{
	return (unsigned int)p < IMMURE_JP_MAX ? phases[p] : "";
}

/* ---- one line ---- */

void immure_journal_chain(const unsigned char before[32], const char *line, size_t len,
			  unsigned char ret[32])
{
	struct immure_sha256 s;

	immure_sha256_init(&s);
	immure_sha256_add(&s, before, 32);
	immure_sha256_add(&s, line, len);
	immure_sha256_done(&s, ret);
}

void immure_journal_hex(const unsigned char *bytes, size_t n, char *ret)
{
	static const char hex[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		*ret++ = hex[bytes[i] >> 4];
		*ret++ = hex[bytes[i] & 15];
	}
	*ret = '\0';
}

/* Appends the line of a record to b and moves head on. */
static void put_line(struct immure_buf *b, const struct immure_journal_record *r,
		     unsigned char head[32])
{
	char hash[IMMURE_JOURNAL_HASH_LEN + 1];
	size_t begin = b->len;

	immure_buf_printf(b, "%llu %llu %s %s %llu ", (unsigned long long)r->seq,
			  (unsigned long long)r->ms, kinds[r->kind].name, phases[r->phase],
			  (unsigned long long)r->of);
	immure_field_put(b, r->subject);
	immure_buf_putc(b, ' ');
	immure_field_put(b, r->detail);
	immure_buf_putc(b, ' ');
	if (!immure_buf_ok(b))
		return;
	immure_journal_chain(head, b->data + begin, b->len - begin, head);
	immure_journal_hex(head, IMMURE_JOURNAL_HASH_LEN / 2, hash);
	immure_buf_puts(b, hash);
	immure_buf_putc(b, '\n');
}

/* ---- appending ---- */

/* What an append that failed left behind is cut off: half a line would be taken
 * for a torn end now, and for a forgery once another line followed it. */
static int take_back(struct immure_journal *j, int why)
{
	if (ftruncate(j->fd, (off_t)j->size) < 0)
		j->broken = true;
	return why;
}

/* That a session was made is what its directory says by being there. */
static bool must_last(const struct immure_journal *j, const struct immure_journal_record *r)
{
	if (r->kind == IMMURE_JK_SESSION && (j->brief || r->phase == IMMURE_JP_DONE))
		return false;
	return kinds[r->kind].durable;
}

static int append(struct immure_journal *j, const struct immure_journal_record *r)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	unsigned char head[32];
	int k;

	if (j->fd < 0 || j->broken)
		return -EBADF;
	if ((r->subject && strlen(r->subject) >= IMMURE_JOURNAL_SUBJECT_MAX) ||
	    (r->detail && strlen(r->detail) >= IMMURE_JOURNAL_DETAIL_MAX))
		return -E2BIG;
	memcpy(head, j->head, sizeof(head));
	put_line(&b, r, head);
	k = immure_buf_ok(&b) ? immure_write_all(j->fd, b.data, b.len) : -ENOMEM;
	if (k == 0 && must_last(j, r) && fdatasync(j->fd) < 0)
		k = -errno;
	if (k == 0) {
		memcpy(j->head, head, sizeof(head));
		j->size += b.len;
		j->next++;
	} else {
		k = take_back(j, k);
	}
	immure_buf_done(&b);
	return k;
}

/* ---- rotation ---- */

static int put_standing(struct immure_buf *b, struct immure_journal *fresh, int dir_fd)
{
	struct immure_standing *s = NULL;
	size_t n = 0;
	int r = immure_journal_standing(dir_fd, &s, &n);

	for (size_t i = 0; i < n && r == 0; i++) {
		const struct immure_journal_record rec = {
			.seq = fresh->next++, .ms = s[i].ms, .of = s[i].seq, .kind = s[i].kind,
			.phase = s[i].phase, .subject = s[i].subject, .detail = s[i].detail,
		};

		put_line(b, &rec, fresh->head);
	}
	immure_standing_free(s, n);
	return r;
}

/* The file is begun anew with what is standing; the old one stays as journal.1
 * for whoever wants to read it. The name `journal` always stands for a whole one. */
static int rotate(struct immure_journal *j)
{
	struct immure_journal fresh = { .fd = -1, .dir_fd = j->dir_fd, .next = j->next };
	struct immure_buf b = IMMURE_BUF_INIT;
	char count[24], detail[80] = "head=";
	struct immure_journal_record first = {
		.seq = fresh.next++, .ms = immure_now_ms(), .kind = IMMURE_JK_CHECKPOINT,
		.phase = IMMURE_JP_NOTE, .subject = count, .detail = detail,
	};
	int r;

	(void)snprintf(count, sizeof(count), "%llu", (unsigned long long)(j->next - 1));
	immure_journal_hex(j->head, sizeof(j->head), detail + strlen(detail));
	put_line(&b, &first, fresh.head);
	r = put_standing(&b, &fresh, j->dir_fd);
	if (r == 0 && !immure_buf_ok(&b))
		r = -ENOMEM;
	if (r == 0 && unlinkat(j->dir_fd, "journal.1", 0) < 0 && errno != ENOENT)
		r = -errno;
	if (r == 0 && linkat(j->dir_fd, "journal", j->dir_fd, "journal.1", 0) < 0)
		r = -errno;
	if (r == 0)
		r = immure_file_replace(j->dir_fd, "journal", b.data, b.len, true);
	fresh.size = b.len;
	immure_buf_done(&b);
	if (r == 0)
		r = fresh.fd = immure_runtime_file(j->dir_fd, "journal", O_RDWR | O_APPEND);
	if (r < 0)
		return r;
	immure_close(&j->fd);
	j->fd = fresh.fd;
	j->next = fresh.next;
	j->size = fresh.size;
	memcpy(j->head, fresh.head, sizeof(j->head));
	/* So much is standing that it would rotate again at once. */
	if (j->rotate_at && j->size > j->rotate_at / 2)
		j->rotate_at = j->size * 2;
	return 0;
}

static int record(struct immure_journal *j, enum immure_journal_kind kind,
		  enum immure_journal_phase phase, uint64_t of, const char *subject,
		  const char *detail)
{
	struct immure_journal_record r = {
		.ms = immure_now_ms(), .of = of, .kind = kind, .phase = phase,
		.subject = subject, .detail = detail,
	};
	int k = 0;

	if ((unsigned int)kind >= IMMURE_JK_MAX)
		return -EINVAL;
	/* One that does not work out is tried again later: nothing is lost by a long file. */
	if (j->fd >= 0 && j->rotate_at && j->size > j->rotate_at && rotate(j) < 0)
		j->rotate_at += ROTATE_AT;
	r.seq = j->next;
	k = append(j, &r);
	return k;
}

int immure_journal_intent(struct immure_journal *j, enum immure_journal_kind kind,
			  const char *subject, const char *detail, uint64_t *ret_seq)
{
	int r = record(j, kind, IMMURE_JP_INTENT, 0, subject, detail);

	if (r == 0 && ret_seq)
		*ret_seq = j->next - 1;
	return r;
}

int immure_journal_result(struct immure_journal *j, enum immure_journal_kind kind, uint64_t of,
			  int errnum, const char *detail)
{
	if (errnum < 0)
		errnum = -errnum;
	return record(j, kind, errnum ? IMMURE_JP_FAILED : IMMURE_JP_DONE, of, NULL,
		      errnum && !detail ? strerror(errnum) : detail);
}

int immure_journal_removing(struct immure_journal *j, enum immure_journal_kind kind, uint64_t of)
{
	return record(j, kind, IMMURE_JP_REMOVING, of, NULL, NULL);
}

int immure_journal_gone(struct immure_journal *j, enum immure_journal_kind kind, uint64_t of,
			const char *detail)
{
	return record(j, kind, IMMURE_JP_GONE, of, NULL, detail);
}

int immure_journal_note(struct immure_journal *j, enum immure_journal_kind kind,
			const char *subject, const char *detail)
{
	return record(j, kind, IMMURE_JP_NOTE, 0, subject, detail);
}

/* ---- opening ---- */

int immure_journal_create(int dir_fd, struct immure_journal *ret)
{
	int fd = immure_runtime_file(dir_fd, "journal", O_RDWR | O_APPEND | O_CREAT | O_EXCL);

	if (fd < 0)
		return fd;
	*ret = (struct immure_journal){
		.fd = fd, .dir_fd = dir_fd, .next = 1, .rotate_at = ROTATE_AT,
	};
	return 0;
}

int immure_journal_open(int dir_fd, struct immure_journal *ret)
{
	struct immure_journal j = { .fd = -1, .dir_fd = dir_fd, .rotate_at = ROTATE_AT };
	struct immure_journal_end end;
	int r = immure_journal_scan(dir_fd, "journal", NULL, NULL, &end);

	if (r < 0)
		return r;
	j.fd = immure_runtime_file(dir_fd, "journal", O_RDWR | O_APPEND);
	if (j.fd < 0)
		return j.fd;
	j.next = end.next;
	j.size = end.size;
	memcpy(j.head, end.head, sizeof(j.head));
	if (end.torn > 0 && ftruncate(j.fd, (off_t)j.size) < 0) {
		r = -errno;
		immure_close(&j.fd);
		return r;
	}
	*ret = j;
	return 0;
}

void immure_journal_done(struct immure_journal *j)
{
	immure_close(&j->fd);
}
