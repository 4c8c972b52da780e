/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plans for backends of other platforms: seatbelt and vz (macOS), wsl2 (Windows),
 * remote. They are planned, checked and rendered everywhere, and started where the
 * report of the backend says that it can be, which is nowhere on Linux.
 *
 *	seatbelt, vz   what is asked of files, network and limits, without the
 *	               mechanisms of Linux; rendered as a profile and as a contract
 *	wsl2, remote   immure itself on the other side, with the policy in its arguments:
 *	               what can be enforced there is found out there
 */
#include <string.h>

#include "plan/compile.h"
#include "plan/render.h"
#include "policy/carry.h"

static const char *const backends[] = { "seatbelt", "vz", "wsl2", "remote" };

static bool is(const struct immure_compile *b, const char *backend)
{
	return strcmp(b->report->backend, backend) == 0;
}

bool immure_elsewhere_is(const char *backend)
{
	for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++)
		if (strcmp(backends[i], backend) == 0)
			return true;
	return false;
}

/* ---- seatbelt, vz ---- */

static bool rlimit(struct immure_compile *b, const char *what, uint64_t value, const char *key)
{
	struct immure_op *op = value ? immure_compile_op(b, IMMURE_OP_RLIMIT, what, NULL, key) : NULL;

	if (op)
		op->num[0] = value;
	return !value || op;
}

static int32_t limits(struct immure_compile *b)
{
	const struct immure_limits *l = &b->p->limits;

	if (!rlimit(b, "cpu", l->cpu_time / 1000, "limits.cpu_time") ||
	    !rlimit(b, "nofile", l->open_files, "limits.open_files") ||
	    !rlimit(b, "fsize", l->file_size, "limits.file_size") ||
	    !rlimit(b, "nproc", l->processes, "limits.processes"))
		return -IMMURE_ERR_NOMEM;
	return 0;
}

static int32_t asked(struct immure_compile *b)
{
	int32_t r = immure_compile_points(b);

	if (r == 0)
		r = limits(b);
	if (r == 0)
		r = immure_compile_tree(b);
	if (r == 0)
		r = immure_compile_network(b);
	if (r == 0 && (!immure_compile_op(b, IMMURE_OP_CLOSE_FDS, NULL, NULL, "(always)") ||
		       !immure_compile_op(b, IMMURE_OP_EXEC, NULL, NULL, "(always)")))
		r = -IMMURE_ERR_NOMEM;
	if (r == 0)
		r = immure_compile_command(b);
	return r < 0 ? r : immure_compile_supervision(b);
}

/* ---- wsl2, remote ---- */

/* C:\x\y is /mnt/c/x/y below WSL, unless somebody moved it. */
static const char *linux_path(struct immure_arena *a, const char *path)
{
	bool drive = ((path[0] | 0x20) >= 'a' && (path[0] | 0x20) <= 'z') && path[1] == ':' &&
		     (path[2] == '\\' || path[2] == '/' || !path[2]);
	char *unix_path;

	if (!drive)
		return path;
	unix_path = immure_arena_printf(a, "/mnt/%c%s", path[0] | 0x20, path + 2);
	for (char *p = unix_path; p && *p; p++)
		if (*p == '\\')
			*p = '/';
	return unix_path;
}

static void word(struct immure_compile *b, const char *text)
{
	const char *copy = immure_arena_strdup(b->a, text);

	if (copy)
		(void)immure_strv_add(b->a, &b->plan->argv, copy); /* the arena knows */
}

static void words(struct immure_compile *b, const char *const *list)
{
	for (; *list; list++)
		word(b, *list);
}

/* immure run with the whole policy in its arguments, as `immure wrap` has it. The
 * backend is chosen anew: this one is how to get there. */
static void carried(struct immure_compile *b, const struct immure_carried *c)
{
	words(b, (const char *const[]){ "immure", "run", "--no-policy", "--profile", c->profile,
					"--workspace", c->workspace, "--cwd", b->cmd->cwd ? b->cmd->cwd : ".",
					NULL });
	for (size_t i = 0; i < c->settings_n; i++) {
		const struct immure_setting *s = &c->settings[i];

		if (strcmp(s->key, "backend") == 0)
			continue;
		word(b, "--set");
		if (s->key[0] == '-')
			word(b, s->key);
		else
			(void)immure_strv_add(b->a, &b->plan->argv,
					      immure_arena_printf(b->a, "%s=%s", s->key, s->value));
	}
	word(b, "--");
	words(b, b->cmd->argv);
}

static int32_t over_there(struct immure_compile *b)
{
	const char *own = b->p->workspace && strcmp(b->p->workspace, ".") != 0 ? b->p->workspace :
										 b->f->cwd;
	struct immure_carried c = { .profile = NULL };
	int32_t r;

	if (!b->cmd->argv || !b->cmd->argv[0] || !b->cmd->argv[0][0])
		return immure_fail(b->err, IMMURE_ERR_INVALID, 0, "plan", "command", "command: empty");
	r = immure_policy_carry(b->p, own ? linux_path(b->a, own) : NULL, NULL, b->a, &c, b->err);
	if (r < 0)
		return r;
	b->workspace = own;
	b->plan->cwd = c.workspace;
	if (is(b, "wsl2"))
		words(b, (const char *const[]){ "wsl.exe", "--cd", c.workspace, "--exec", NULL });
	carried(b, &c);
	return immure_compile_op(b, IMMURE_OP_EXEC, NULL, NULL, "(always)") ? 0 : -IMMURE_ERR_NOMEM;
}

int32_t immure_elsewhere_compile(struct immure_compile *b)
{
	int32_t r = is(b, "wsl2") || is(b, "remote") ? over_there(b) : asked(b);

	if (r == 0)
		r = immure_compile_gaps(b);
	if (r < 0)
		return r;
	b->plan->profile = immure_arena_strdup(b->a, b->p->profile ? b->p->profile : "");
	b->plan->policy_version = immure_arena_strdup(b->a, b->p->version);
	b->plan->workspace = b->workspace;
	b->plan->state_dir = "";
	return b->a->failed ? -IMMURE_ERR_NOMEM : 0;
}

/* ---- gaps ---- */

static void seatbelt_gaps(struct immure_compile *b)
{
	const struct immure_policy *p = b->p;

	immure_compile_gap(b, false, "(always)", "process_visibility",
			   "macOS shows the processes of the same user to a sandboxed one",
			   "backend vz");
	if (p->syscalls && strcmp(p->syscalls, "default") != 0)
		immure_compile_gap(b, true, "syscalls", "syscalls",
				   "macOS has no filter of system calls", "syscalls: default, or backend vz");
	if (p->limits.memory)
		immure_compile_gap(b, false, "limits.memory", "resources",
				   "macOS limits no memory; it is watched and can be outrun", "backend vz");
	if (p->limits.cpus)
		immure_compile_gap(b, false, "limits.cpus", "resources",
				   "macOS binds no process to a share of the CPUs", "backend vz");
	if (p->limits.disk)
		immure_compile_gap(b, false, "limits.disk", "resources",
				   "private directories are on the host's disk", "backend vz");
	if (p->identity != IMMURE_IDENTITY_CALLER)
		immure_compile_gap(b, true, "identity", "privileges",
				   "without a user namespace the command is who the caller is",
				   "identity: caller, or backend vz");
}

static void vz_gaps(struct immure_compile *b)
{
	if (!b->netns)
		immure_compile_gap(b, true, "network.mode", "network_egress",
				   "a guest has no interface, so not the host's network",
				   "network.mode: none or limited");
	if (b->p->publish.n)
		immure_compile_gap(b, false, "network.publish", "network_ingress",
				   "no port of a guest can be published", "take network.publish out");
}

void immure_elsewhere_gaps(struct immure_compile *b)
{
	if (is(b, "seatbelt"))
		seatbelt_gaps(b);
	if (is(b, "vz"))
		vz_gaps(b);
}
