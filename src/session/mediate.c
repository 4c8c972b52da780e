/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking before a command starts: what is asked, by whom, and what becomes of the answer.
 *
 * The executable is named as it is found on the host: the first word is looked up as the
 * command will be, along its own PATH and directory, each path is carried over to the
 * host's by the plan's mounts, and links are followed. What is not on the host (made
 * inside, or shown by no mount of the plan) has no such name: null is asked about then.
 */
#include "session/mediate.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/jsonw.h"
#include "base/path.h"
#include "kernel/sys.h"

struct question {
	const struct immure_plan *plan;
	const struct immure_mediate_about *about;
	const char *executable;
};

/* ---- what is asked ---- */

/* The host's path of one inside: of the deepest mount that it lies in. */
static bool outside(const struct immure_plan *p, const char *path, char ret[PATH_MAX])
{
	const struct immure_op *in = NULL;
	const char *src;
	int n;

	for (size_t i = 0; i < p->ops_n; i++) {
		const struct immure_op *op = &p->ops[i];

		if (op->stage != IMMURE_STAGE_MOUNT || op->dst[0] != '/' || !immure_path_is_under(path, op->dst))
			continue;
		if (op->kind == IMMURE_OP_READONLY || op->kind == IMMURE_OP_PIN) /* what stands there stays */
			continue;
		if (!in || strlen(op->dst) >= strlen(in->dst))
			in = op;
	}
	if (in && in->kind != IMMURE_OP_BIND)
		return false; /* something of the session's own */
	if (!in && !immure_plan_find(p, IMMURE_OP_ROOT_HOST) && !immure_plan_is_bare(p))
		return false;
	src = in ? in->src : "/";
	path += in && strcmp(in->dst, "/") != 0 ? strlen(in->dst) : 0;
	n = snprintf(ret, PATH_MAX, "%s%s", strcmp(src, "/") == 0 ? "" : src, path);
	return n > 0 && n < PATH_MAX;
}

static bool found(const struct immure_plan *p, const char *dir, size_t dir_len, const char *name,
		  char ret[PATH_MAX])
{
	char path[PATH_MAX], host[PATH_MAX], normal[PATH_MAX];
	struct immure_arena a = { 0 };
	const char *plain;
	struct stat st;
	bool is;
	int n = snprintf(path, sizeof(path), "%.*s%s%s", (int)dir_len, dir, dir_len ? "/" : "", name);

	if (n < 0 || n >= (int)sizeof(path))
		return false;
	plain = immure_path_normalize(&a, path);
	is = plain && plain[0] == '/' && snprintf(normal, sizeof(normal), "%s", plain) < (int)sizeof(normal);
	immure_arena_done(&a);
	return is && outside(p, normal, host) && realpath(host, ret) && stat(ret, &st) == 0 &&
	       S_ISREG(st.st_mode) && access(ret, X_OK) == 0;
}

static const char *path_of(const char *const *env)
{
	for (size_t i = 0; env && env[i]; i++)
		if (strncmp(env[i], "PATH=", 5) == 0)
			return env[i] + 5;
	return "/usr/local/bin:/usr/bin:/bin";
}

/* As init will look for it. */
static const char *executable(const struct question *q, char ret[PATH_MAX])
{
	const char *name = q->about->argv[0], *dir = path_of(q->about->env);
	const char *cwd = q->about->cwd;

	if (name[0] == '/')
		return found(q->plan, "", 0, name, ret) ? ret : NULL;
	if (strchr(name, '/'))
		return found(q->plan, cwd, strlen(cwd), name, ret) ? ret : NULL;
	for (;;) {
		size_t n = strcspn(dir, ":");

		if (n && dir[0] == '/' ? found(q->plan, dir, n, name, ret)
				       : found(q->plan, cwd, strlen(cwd), name, ret))
			return ret;
		if (!dir[n])
			return NULL;
		dir += n + 1;
	}
}

static bool is_utf8(const char *s)
{
	size_t left = strlen(s), n;
	uint32_t c;

	for (; left; s += n, left -= n) {
		n = immure_utf8_len(s, left, &c);
		if (n == 0)
			return false;
	}
	return true;
}

static char *line_of(const struct question *q, const char *token)
{
	const struct immure_op *op = immure_plan_find(q->plan, IMMURE_OP_MEDIATOR);
	const struct immure_op *budget = immure_plan_find(q->plan, IMMURE_OP_MEDIATOR_BUDGET);
	const struct immure_op *agent = immure_plan_find(q->plan, IMMURE_OP_AGENT);
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	immure_jsonw_init(&w, &b, 0);
	immure_jsonw_object(&w, NULL);
	immure_jsonw_uint(&w, "version", 1);
	immure_jsonw_str(&w, "action", "local.exec");
	immure_jsonw_str(&w, "executable", q->executable);
	immure_jsonw_array(&w, "args");
	for (size_t i = 0; q->about->argv[i]; i++)
		immure_jsonw_str(&w, NULL, q->about->argv[i]);
	immure_jsonw_end(&w, ']');
	immure_jsonw_str(&w, "cwd", q->about->cwd);
	immure_jsonw_str(&w, "session_id", q->about->session[0] ? q->about->session : NULL);
	immure_jsonw_str(&w, "agent_id", agent ? agent->src : NULL);
	immure_jsonw_str(&w, "profile", q->plan->profile);
	immure_jsonw_str(&w, "policy_version", q->plan->policy_version);
	immure_jsonw_str(&w, "hitl_mode", op->num[1] ? "async_token" : "sync_wait");
	immure_jsonw_str(&w, "budget_state_ref", budget ? budget->src : NULL);
	immure_jsonw_str(&w, "approval_token", token && token[0] ? token : NULL);
	immure_jsonw_end(&w, '}');
	immure_buf_putc(&b, '\n');
	return immure_buf_take(&b);
}

static char *again(void *ctx, const char *token)
{
	return line_of(ctx, token);
}

/* ---- who asks ---- */

static void decide(struct question *q, struct immure_verdict *v)
{
	struct immure_mediate_talk talk = { .op = immure_plan_find(q->plan, IMMURE_OP_MEDIATOR),
					    .again = again, .ctx = q };
	char path[PATH_MAX];
	char *line;

	*v = (struct immure_verdict){ .decision = IMMURE_DECISION_DENY, .failed = 1 };
	q->executable = executable(q, path);
	for (size_t i = 0; q->about->argv[i]; i++)
		if (!is_utf8(q->about->argv[i])) {
			(void)snprintf(v->reason, sizeof(v->reason), "an argument is no UTF-8, so nobody can be "
				       "asked about it");
			return;
		}
	line = line_of(q, q->about->approval);
	talk.line = line;
	if (line)
		immure_mediate_talk(&talk, v);
	free(line);
}

/* Holds nothing of the session's: whoever waits for an end of those would wait for it. */
static void be_asker(struct question *q, int fd)
{
	struct immure_verdict v;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); /* if not, it ends by itself in time */
	if (dup2(fd, 3) < 0 || immure_sys_close_range(4, ~0U, 0) < 0)
		_exit(1);
	(void)fcntl(3, F_SETFD, FD_CLOEXEC); /* a descriptor that is open */
	decide(q, &v);
	(void)!write(3, &v, sizeof(v)); /* not all of it: a denial */
	_exit(0);
}

int immure_mediate_start(const struct immure_plan *plan, const struct immure_mediate_about *about,
			 struct immure_mediation *ret)
{
	struct question q = { .plan = plan, .about = about };
	int pair[2], e;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	ret->pid = fork();
	e = errno;
	if (ret->pid == 0)
		be_asker(&q, pair[1]);
	immure_close(&pair[1]);
	if (ret->pid < 0) {
		immure_close(&pair[0]);
		return -e;
	}
	ret->fd = pair[0];
	return 0;
}

void immure_mediate_read(struct immure_mediation *m, struct immure_verdict *ret)
{
	ssize_t n = recv(m->fd, ret, sizeof(*ret), MSG_DONTWAIT);

	if (n == (ssize_t)sizeof(*ret)) {
		ret->reason[sizeof(ret->reason) - 1] = ret->token[sizeof(ret->token) - 1] = '\0';
		return;
	}
	*ret = (struct immure_verdict){ .decision = IMMURE_DECISION_DENY, .failed = 1 };
	(void)snprintf(ret->reason, sizeof(ret->reason), "whoever asks it ended");
}

void immure_mediate_end(struct immure_mediation *m)
{
	if (m->fd < 0)
		return;
	immure_close(&m->fd);
	(void)kill(m->pid, SIGKILL);    /* ours, not waited for: it is there */
	(void)waitpid(m->pid, NULL, 0); /* as above, and dead */
}

int32_t immure_mediate_refusal(const struct immure_plan *plan, const struct immure_verdict *v,
			       const char *what, struct immure_error **err)
{
	const struct immure_op *op = immure_plan_find(plan, IMMURE_OP_MEDIATOR);
	bool pending = v->decision == IMMURE_DECISION_PENDING;
	int32_t code = pending ? IMMURE_ERR_PENDING : IMMURE_ERR_DENIED;
	int32_t r = immure_fail(err, code, pending ? EAGAIN : EACCES, "mediator", what, "%s: %s%s%s", what,
				pending ? "approval is pending" : v->failed ? "the mediator did not allow it" :
									      "denied by the mediator",
				v->reason[0] ? ": " : "", v->reason);

	if (err && *err && pending && v->token[0])
		immure_error_set_hint(*err, "when it is approved: --approval %s (asked again after %llu ms)",
				      v->token, (unsigned long long)v->retry_ms);
	else if (err && *err && v->failed)
		immure_error_set_hint(*err, "%s must answer {\"decision\":\"allow\"} in one line within %llu ms",
				      op->src, (unsigned long long)op->num[2]);
	return r;
}
