/* SPDX-License-Identifier: Apache-2.0 */
/* A session that is attacked from inside before anybody gets it: init executes the
 * attacker as it would a command, and what came of it is judged here. Until then the
 * session is PREPARED; it is RUNNING only when everything held. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "session/result.h"
#include "session/serve.h"
#include "session/supervise.h"

static const char FILE_NAME[] = "proof";

int immure_prove_start(struct immure_server *s)
{
	const int fds[3] = { s->before->program_fd, s->before->stdin_fd, s->before->report_fd };

	s->attacking = true;
	s->kill_at_ms = immure_server_ms() + (uint64_t)s->before->timeout_ms;
	immure_life_arm(s);
	return immure_sealed_send(&s->sealed, IMMURE_INIT_EXEC_FD, 0, fds) < 0 ? -EIO : 0;
}

static int32_t keep(struct immure_server *s, const struct immure_result *result, struct immure_error **err)
{
	int r = immure_file_replace(s->entry.dir_fd, FILE_NAME, result->proof_json, strlen(result->proof_json),
				    false);

	s->proof_points = result->proof_points;
	return r == 0 ? 0 : immure_fail(err, IMMURE_ERR_IO, -r, "proof", FILE_NAME, "the proof cannot be kept: %s",
					strerror(-r));
}

int32_t immure_prove_ended(struct immure_server *s, int status, struct immure_error **err)
{
	struct immure_result *result = immure_result_new();
	int32_t r;

	s->attacking = false;
	immure_gatekeeper_forget(s->sealed.gate);
	s->kill_at_ms = s->armed_ms = 0;
	immure_life_arm(s);
	if (s->sealed.init.cgroup) /* what the attack ran into on purpose is not the session's */
		immure_cgroup_stats(&s->sealed.cgroup, &s->attacked);
	if (!result)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "proof", "", "out of memory");
	result->network.way = immure_arena_strdup(&result->arena, immure_gatekeeper_way(s->sealed.gate));
	r = s->before->judge(s->before->ctx, status, result, err);
	if (r > 0)
		r = immure_fail(err, IMMURE_ERR_LAUNCH, 0, "proof", "", "%.*s",
				(int)strcspn(immure_result_notices(result), "\n"), immure_result_notices(result));
	else if (r == 0)
		r = keep(s, result, err);
	immure_result_free(result);
	if (s->before->release)
		s->before->release(s->before->ctx);
	return r;
}

int32_t immure_prove_tell(struct immure_ask *a)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	IMMURE_CLEANUP_FD int fd = -1;
	struct immure_jsonw w;

	if (a->s->proof_points)
		fd = openat(a->s->entry.dir_fd, FILE_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return immure_ask_fail(a, IMMURE_ERR_STATE, ENOENT, "", "this session was not attacked when it was made");
	immure_answer_begin(&w, &b, a->id);
	immure_jsonw_uint(&w, "points", a->s->proof_points);
	immure_answer_send(a->s, a->c, &w, &fd, 1);
	return 0;
}
