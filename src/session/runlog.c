/* SPDX-License-Identifier: Apache-2.0 */
#include "session/runlog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "session/registry.h"

enum { TRIES = 100 };

static int32_t failed(struct immure_error **err, int e, const char *path)
{
	return immure_fail(err, IMMURE_ERR_IO, -e, "journal", path, "journal: %s: %s", path, strerror(-e));
}

/* One run, one directory: what two of them write at one time would be no chain. */
static int make_dir(int parent)
{
	char name[64];
	int fd;

	for (unsigned int i = 0; i < TRIES; i++) {
		(void)snprintf(name, sizeof(name), "run-%llu-%d-%u", (unsigned long long)immure_now_ms(),
			       (int)getpid(), i);
		if (mkdirat(parent, name, 0700) == 0) {
			fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			return fd < 0 ? -errno : fd;
		}
		if (errno != EEXIST)
			return -errno;
	}
	return -EEXIST;
}

int32_t immure_runlog_open(const struct immure_plan *plan, struct immure_runlog *ret,
			   struct immure_error **err)
{
	const struct immure_op *op = immure_plan_find(plan, IMMURE_OP_JOURNAL);
	const char *agent = immure_plan_agent(plan);
	char about[256];
	struct stat st;
	int r = 0;

	if (!op)
		return 0;
	(void)snprintf(about, sizeof(about), "%s%s%s", plan->policy_version, agent[0] ? " agent=" : "", agent);
	IMMURE_CLEANUP_FD int parent = open(op->src, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent < 0 || fstat(parent, &st) < 0)
		return failed(err, -errno, op->src);
	/* Where others may write, they could put another in the place of ours. */
	if ((st.st_uid != 0 && st.st_uid != geteuid()) || ((st.st_mode & 0022) && !(st.st_mode & S_ISVTX)))
		return failed(err, -EPERM, op->src);
	ret->dir_fd = make_dir(parent);
	if (ret->dir_fd < 0)
		return failed(err, ret->dir_fd, op->src);
	r = immure_journal_create(ret->dir_fd, &ret->journal);
	if (r == 0)
		r = immure_journal_intent(&ret->journal, IMMURE_JK_SESSION, "run", about, &ret->session_seq);
	if (r == 0)
		r = immure_journal_result(&ret->journal, IMMURE_JK_SESSION, ret->session_seq, 0,
					  immure_plan_hash_of(plan));
	return r < 0 ? failed(err, r, op->src) : 0;
}

int32_t immure_runlog_asked(struct immure_runlog *l, const char *command, struct immure_error **err)
{
	int r = l->journal.fd < 0 ? 0 :
		immure_journal_intent(&l->journal, IMMURE_JK_EXEC, command, NULL, &l->exec_seq);

	return r < 0 ? failed(err, r, "the command") : 0;
}

void immure_runlog_denied(struct immure_runlog *l, const char *what, const char *why)
{
	if (l->journal.fd >= 0) /* what is denied stays so, on record or not */
		(void)immure_journal_note(&l->journal, IMMURE_JK_DENIAL, what, why);
}

void immure_runlog_done(struct immure_runlog *l, int exit_status, const char *why)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "status=%d", exit_status);
	/* It is over: what cannot be written any more shows as an intent without a result. */
	if (l->exec_seq && why) {
		(void)immure_journal_result(&l->journal, IMMURE_JK_EXEC, l->exec_seq, ECANCELED, why);
	} else if (l->exec_seq) {
		(void)immure_journal_result(&l->journal, IMMURE_JK_EXEC, l->exec_seq, 0, NULL);
		(void)immure_journal_gone(&l->journal, IMMURE_JK_EXEC, l->exec_seq, text);
	}
	if (l->session_seq)
		(void)immure_journal_gone(&l->journal, IMMURE_JK_SESSION, l->session_seq, why ? why : text);
	immure_journal_done(&l->journal);
	immure_close(&l->dir_fd);
}
