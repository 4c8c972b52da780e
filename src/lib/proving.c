/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/proving.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "evidence/proof.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

static int32_t proof_text(struct immure_result *result, struct immure_proof *proof,
			  struct immure_error **err)
{
	struct immure_buf text = IMMURE_BUF_INIT, json = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	proof->network = result->network.way;
	immure_proof_print(proof, &text);
	immure_jsonw_init(&w, &json, 2);
	immure_proof_json(proof, &w, NULL);
	result->proof_text = immure_buf_ok(&text) ? immure_arena_strdup(&result->arena, text.data) : NULL;
	result->proof_json = immure_buf_ok(&json) ? immure_arena_strdup(&result->arena, json.data) : NULL;
	result->proof_points = proof->held + proof->fell_short; /* those that apply */
	result->proof_short = proof->fell_short;
	immure_buf_done(&text);
	immure_buf_done(&json);
	if (!result->proof_text || !result->proof_json)
		return immure_fail(err, IMMURE_ERR_NOMEM, 0, "proof", "", "out of memory");
	return 0;
}

/* Nothing runs in a session that is less than its plan. */
static void reject(struct immure_result *result, const struct immure_proof *proof)
{
	const struct immure_proof_point *first = NULL;

	for (size_t i = 0; i < proof->n && !first; i++)
		if (proof->points[i].verdict == IMMURE_PROOF_SHORT)
			first = &proof->points[i];
	if (first)
		immure_result_notice(result, "proof: %zu of %zu points fell short, nothing ran: %s: %s",
				     proof->fell_short, proof->n, first->id, first->reason);
	else
		immure_result_notice(result, "proof: no point held, nothing ran: %s", proof->trouble);
}

/* Everything the attacker wrote; it is dead, so the pipe ends. */
static int32_t judge(void *ctx, int status, struct immure_result *result, struct immure_error **err)
{
	struct immure_proving *p = ctx;
	struct immure_attack_exit how = { .code = -1 };
	IMMURE_CLEANUP_FREE char *records = NULL;
	struct immure_proof *proof = NULL;
	size_t len = 0;
	int32_t r;
	int e;

	immure_close(&p->before.report_fd); /* ours; the session's copy went with it */
	if (status == -1)
		how.timed_out = true;
	else if (WIFEXITED(status))
		how.code = WEXITSTATUS(status);
	else if (WIFSIGNALED(status))
		how.signo = WTERMSIG(status);
	e = immure_read_all(p->records_fd, IMMURE_PROOF_RECORDS_MAX, &records, &len);
	if (e == -ENOMEM)
		return immure_fail(err, IMMURE_ERR_NOMEM, 0, "proof", "", "out of memory");
	immure_bait_check(&p->bait);
	r = immure_proof_evaluate(p->plan, &p->bait, records ? records : "", e < 0 ? 0 : len, &how,
				  &proof, err);
	if (r < 0)
		return r;
	r = proof_text(result, proof, err);
	if (r == 0 && !immure_proof_holds(proof)) {
		reject(result, proof);
		r = 1;
	}
	immure_proof_free(proof);
	return r;
}

/* The text fits into a pipe, so nobody needs to read while it is written. */
static int32_t fill_stdin(struct immure_proving *p, struct immure_error **err)
{
	struct immure_buf text = IMMURE_BUF_INIT;
	int ends[2];
	int32_t r = immure_proof_targets(p->plan, &p->bait, &text, err);

	if (r == 0 && pipe2(ends, O_CLOEXEC) < 0)
		r = immure_fail(err, IMMURE_ERR_LAUNCH, errno, "proof", "", "pipe: %s", strerror(errno));
	if (r == 0) {
		int e = text.len > IMMURE_PROOF_TARGETS_MAX ? -E2BIG
							    : immure_write_all(ends[1], text.data, text.len);

		p->before.stdin_fd = ends[0];
		immure_close(&ends[1]);
		if (e < 0)
			r = immure_fail(err, IMMURE_ERR_LAUNCH, e, "proof", "",
					"cannot hand over the targets: %s", strerror(-e));
	}
	immure_buf_done(&text);
	return r;
}

/* The attacker as a sealed file in memory: inside, the path it was installed at
 * need not exist, Landlock would not let it be executed if it does not, and a
 * descriptor of a file on the host is nothing that should be handed in. */
static int attacker_in_memory(const char *path)
{
	IMMURE_CLEANUP_FD int from = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	int fd, e = 0;
	ssize_t n;

	if (from < 0)
		return -errno;
	fd = memfd_create("immure-attack", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
	if (fd < 0 && errno == EINVAL) /* before Linux 6.3 all of them could be executed */
		fd = memfd_create("immure-attack", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	/* Some runtimes have no such call: then the file itself, which init can
	 * execute where the plan's view includes it. */
	if (fd < 0)
		return errno == ENOSYS || errno == EPERM ? immure_take_fd(&from) : -errno;
	while ((n = sendfile(fd, from, NULL, 1 << 20)) > 0)
		;
	/* Its mode is for who looks at it, the seals are what keeps it from being changed. Inside a
	 * sandbox without namespaces the mode cannot be. */
	(void)fchmod(fd, 0555);
	if (n < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		e = -errno;
	if (e)
		immure_close(&fd);
	return e ? e : fd;
}

int32_t immure_proving_prepare(struct immure_proving *p, const struct immure_plan *plan,
			       const struct immure_run_options *o, struct immure_error **err)
{
	const char *path = o->attacker ? o->attacker : IMMURE_LIBEXECDIR "/immure-attack";
	int ends[2], r;
	int32_t ret;

	p->plan = plan;
	p->before.judge = judge;
	p->before.ctx = p;
	p->before.timeout_ms = IMMURE_PROOF_TIMEOUT_MS;
	r = attacker_in_memory(path);
	if (r < 0)
		return immure_fail(err, IMMURE_ERR_LAUNCH, -r, "proof", path,
				   "cannot read the attacker: %s", strerror(-r));
	p->before.program_fd = r;
	r = immure_bait_prepare(&p->bait, NULL, o->env);
	if (r == 0)
		r = immure_bait_secrets(&p->bait, plan, o->env);
	if (r < 0)
		return immure_fail(err, IMMURE_ERR_LAUNCH, r, "proof", "", "cannot lay out bait: %s",
				   strerror(-r));
	ret = fill_stdin(p, err);
	if (ret < 0)
		return ret;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return immure_fail(err, IMMURE_ERR_LAUNCH, errno, "proof", "", "pipe: %s", strerror(errno));
	p->records_fd = ends[0];
	p->before.report_fd = ends[1];
	return 0;
}

void immure_proving_done(struct immure_proving *p)
{
	immure_bait_done(&p->bait);
	immure_close(&p->before.program_fd);
	immure_close(&p->before.stdin_fd);
	immure_close(&p->before.report_fd);
	immure_close(&p->records_fd);
}
