/* SPDX-License-Identifier: Apache-2.0 */
/* The journal of a session: what was about to be done, and what came of it.
 *
 * One line a record:
 *
 *   SEQ MS KIND PHASE OF SUBJECT DETAIL HASH
 *
 * HASH is the first 16 bytes (hex) of SHA-256 over the hash of the line before and
 * this line up to it, so a record cannot be changed, dropped, moved or put in
 * between without all later ones becoming wrong. (Whoever can write the file can
 * write all of them anew: the runtime directory is 0700 and hidden from inside.)
 *
 * A thing in the world is one intent and what follows with OF = its number:
 *
 *   intent -> done -> removing -> gone       made, later taken away
 *          -> failed                         never came to be
 *
 * Everything that is not failed or gone is *standing*: it may be there. An intent
 * without a result may or may not have happened; whoever recovers looks at the
 * world and treats both alike.
 *
 * One write(2) a record. A record lost with its process cannot happen (the page
 * cache outlives it); fdatasync is for what outlives the machine as well: kinds
 * with `durable` in the table (journal.c). The end of the file may be torn: bytes
 * after the last newline are dropped, and cut off before the next append. A wrong
 * hash anywhere else is refused.
 */
#ifndef IMMURE_SESSION_JOURNAL_H
#define IMMURE_SESSION_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum immure_journal_kind {      /* subject | detail when done */
	IMMURE_JK_SESSION,      /* id | agent=NAME, then plan hash; gone = all is cleaned up */
	IMMURE_JK_CHECKPOINT,   /* first line after rotation: number of records before */
	IMMURE_JK_SUPERVISOR,   /* pid | start */
	IMMURE_JK_OWN_DIR,      /* path of a directory of ours */
	IMMURE_JK_CGROUP,       /* path of a leaf; one record a path */
	IMMURE_JK_INIT,         /* "" | pid=N start=N */
	IMMURE_JK_PROCESS,      /* what (egress, vmm ...) | pid=N start=N */
	IMMURE_JK_SOCKET,       /* file name within the session's directory */
	IMMURE_JK_FILE,         /* absolute path of a file made outside the session's directory | dev=N ino=N */
	IMMURE_JK_DIR,          /* the same, of a directory with all in it */
	IMMURE_JK_MOUNT,        /* target inside | source */
	IMMURE_JK_EXEC,         /* idempotency key | pid=N ...; gone: status=N */
	IMMURE_JK_PORT,         /* address of a published port */
	IMMURE_JK_NETWORK,      /* policy version of the applied network policy */
	IMMURE_JK_LIMIT,        /* limit=value */
	IMMURE_JK_TICKET,       /* hash of the ticket; gone = used or withdrawn */
	IMMURE_JK_DETACH,       /* receiver's acknowledgement */
	IMMURE_JK_RECLAIM,      /* hash of the ticket | what was done */
	IMMURE_JK_STATE,        /* note: the new state | why */
	IMMURE_JK_REPAIR,       /* note: what could not be removed | why */
	IMMURE_JK_NETNS,        /* a network namespace kept by a mount: its absolute path; else any word */
	IMMURE_JK_SNAPSHOT,     /* file */
	IMMURE_JK_DENIAL,       /* note: host and port, or the name | what people are told of it */
	IMMURE_JK_REUSE,        /* note: clean, or dirty | what was proven, or not */
	IMMURE_JK_MAX,
};

enum immure_journal_phase {
	IMMURE_JP_INTENT,
	IMMURE_JP_DONE,
	IMMURE_JP_FAILED,
	IMMURE_JP_REMOVING,
	IMMURE_JP_GONE,
	IMMURE_JP_NOTE,         /* stands by itself */
	IMMURE_JP_MAX,
};

enum {
	IMMURE_JOURNAL_SUBJECT_MAX = 4096,
	IMMURE_JOURNAL_DETAIL_MAX = 1024,
	IMMURE_JOURNAL_LINE_MAX = 3 * (IMMURE_JOURNAL_SUBJECT_MAX + IMMURE_JOURNAL_DETAIL_MAX) + 256,
};

struct immure_journal {
	int fd, dir_fd;         /* dir_fd is borrowed: the session's directory */
	uint64_t next;          /* number of the next record, from 1 */
	uint64_t size;          /* bytes in the file */
	uint64_t rotate_at;     /* bytes; 0 = never. Default 4 MiB */
	unsigned char head[32];
	bool broken;            /* an append failed half-way and could not be undone */
	bool brief;             /* the session is to leave nothing behind, its record included: that
				 * there is one need not outlive the machine */
};

#define IMMURE_JOURNAL_INIT { .fd = -1, .dir_fd = -1 }

/* A record as it is read; the strings are valid during the call. */
struct immure_journal_record {
	uint64_t seq, ms, of;
	enum immure_journal_kind kind;
	enum immure_journal_phase phase;
	const char *subject, *detail;
};

/* What the world may still hold of a session. */
struct immure_standing {
	uint64_t seq, ms;
	enum immure_journal_kind kind;
	enum immure_journal_phase phase; /* the last one: INTENT, DONE or REMOVING */
	char *subject, *detail;          /* of the intent, and of its last record */
};

const char *immure_journal_kind_name(enum immure_journal_kind k);
const char *immure_journal_phase_name(enum immure_journal_phase p);

/* A new one; -EEXIST when there is one. */
int immure_journal_create(int dir_fd, struct immure_journal *ret);
/* An old one, to append to: checked whole, its torn end cut off. -EBADMSG when it
 * was tampered with, -ENOENT. */
int immure_journal_open(int dir_fd, struct immure_journal *ret);
void immure_journal_done(struct immure_journal *j);

/* Before a side effect. When it fails, do not act. ret_seq may be NULL. */
int immure_journal_intent(struct immure_journal *j, enum immure_journal_kind kind,
			  const char *subject, const char *detail, uint64_t *ret_seq);
/* After it. errnum 0: done; else failed, and detail defaults to its text. */
int immure_journal_result(struct immure_journal *j, enum immure_journal_kind kind, uint64_t of,
			  int errnum, const char *detail);
/* Before and after taking it away again. */
int immure_journal_removing(struct immure_journal *j, enum immure_journal_kind kind, uint64_t of);
int immure_journal_gone(struct immure_journal *j, enum immure_journal_kind kind, uint64_t of,
			const char *detail);
int immure_journal_note(struct immure_journal *j, enum immure_journal_kind kind,
			const char *subject, const char *detail);

/* Reads without opening for writing. each() may be NULL (only checks); a non-zero
 * return ends it. -EBADMSG: everything up to there was handed out and is good.
 * older: also what was rotated away. ret_torn (may be NULL): bytes of a torn end. */
int immure_journal_read(int dir_fd, bool older,
			int (*each)(void *ctx, const struct immure_journal_record *r), void *ctx,
			uint64_t *ret_torn);
/* What is standing, in order; freed with immure_standing_free(). On -EBADMSG *ret is
 * what the good part says. */
int immure_journal_standing(int dir_fd, struct immure_standing **ret, size_t *ret_n);
void immure_standing_free(struct immure_standing *s, size_t n);
/* The number after "key=" in a detail; -ENOENT, -EINVAL. */
int immure_detail_uint(const char *detail, const char *key, uint64_t *ret);

#endif
