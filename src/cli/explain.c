/* SPDX-License-Identifier: Apache-2.0 */
/*
 * explain: why was it denied? The command runs as with `run`, and what it is refused is
 * observed from outside (observe.c); each refusal is then looked up in the plan, which
 * says what stands at that path and which key of the policy put it there.
 *
 * What the host refuses as well is told apart: no key of a policy helps there.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json.h"
#include "base/jsonw.h"
#include "base/path.h"
#include "cli/observe.h"
#include "cli/runflags.h"

struct advice {
	char key[64];             /* of the policy; "" = none has to do with it */
	char allow[PATH_MAX + 96]; /* what would let it; "" = nothing does */
	char why[160];
	bool outside;             /* the host refuses it too */
};

struct plan {
	struct immure_json *doc;
	const struct immure_json *ops;
	bool listed, limited, host_net;
	const char *backend;
};

static const char *const words[] = {
	[IMMURE_REFUSED_READ] = "read",	      [IMMURE_REFUSED_WRITE] = "write",
	[IMMURE_REFUSED_CHANGE] = "create",   [IMMURE_REFUSED_EXECUTE] = "execute",
	[IMMURE_REFUSED_CONNECT] = "connect", [IMMURE_REFUSED_DIAL] = "connect",
	[IMMURE_REFUSED_CALL] = "call",
};

/* ---- the plan ---- */

static const char *text_of(const struct immure_json *o, const char *key)
{
	const struct immure_json *v = immure_json_get(o, key);

	return v && immure_json_type(v) == IMMURE_JSON_STRING ? immure_json_string(v) : "";
}

static const struct immure_json *op_named(const struct plan *p, const char *name)
{
	for (size_t i = 0; i < immure_json_size(p->ops); i++)
		if (strcmp(text_of(immure_json_element(p->ops, i), "op"), name) == 0)
			return immure_json_element(p->ops, i);
	return NULL;
}

static int32_t read_plan(const struct immure_runflags *f, struct plan *p, struct immure_error **err)
{
	struct immure_plan_options options = {
		.size = sizeof(options), .argv = (const char *const *)f->argv + f->first,
		.env = f->policy.env, .cwd = f->cwd, .facts = IMMURE_FACTS_QUICK,
	};
	const struct immure_json *v;
	struct immure_json_failure why;
	immure_policy *policy = NULL;
	immure_plan *plan = NULL;
	char *text = NULL;
	int32_t r = immure_runflags_policy(f, &policy, err);

	if (r == 0)
		r = immure_plan_create(policy, &options, &plan, err);
	if (r == 0)
		r = immure_plan_print(plan, 1, &text, err);
	if (r == 0 && immure_json_parse(text, strlen(text), &p->doc, &why) < 0)
		r = immure_fail(err, IMMURE_ERR_IO, 0, "explain", "", "the plan cannot be read: %s", why.text);
	immure_string_free(text);
	immure_plan_free(plan);
	immure_policy_free(policy);
	if (r < 0)
		return r;
	p->ops = immure_json_get(p->doc, "operations");
	p->backend = text_of(p->doc, "backend");
	p->limited = op_named(p, "egress");
	p->host_net = op_named(p, "net_host");
	v = op_named(p, "seccomp") ? immure_json_get(op_named(p, "seccomp"), "listed") : NULL;
	p->listed = v && immure_json_integer(v);
	return 0;
}

/* The deepest that stands at or above a path. */
static const struct immure_json *standing(const struct plan *p, const char *path)
{
	const struct immure_json *ret = NULL;
	size_t best = 0;

	for (size_t i = 0; i < immure_json_size(p->ops); i++) {
		const struct immure_json *op = immure_json_element(p->ops, i);
		const char *dst = text_of(op, "dst"), *stage = text_of(op, "stage");

		if ((strcmp(stage, "mount") != 0 && strcmp(text_of(op, "op"), "withheld") != 0) ||
		    dst[0] != '/' || !immure_path_is_under(path, dst))
			continue;
		if (!ret || strlen(dst) >= best) {
			ret = op;
			best = strlen(dst);
		}
	}
	return ret;
}

/* ---- what would allow it ---- */

static bool is_hidden(const struct immure_json *op)
{
	const char *name = op ? text_of(op, "op") : "";

	return strcmp(name, "mask") == 0 || strcmp(name, "mask_keep") == 0 || strcmp(name, "withheld") == 0;
}

/* The directory in which an entry was to be made. */
static void parent_of(const char *path, char *to)
{
	const char *slash = strrchr(path, '/');
	size_t n = slash && slash != path ? (size_t)(slash - path) : 1;

	memcpy(to, path, n);
	to[n] = '\0';
}

static bool host_refuses(const struct immure_refusal *r, const char *parent)
{
	int mode = r->what == IMMURE_REFUSED_EXECUTE ? X_OK : R_OK;
	struct stat st;

	if (r->what == IMMURE_REFUSED_CHANGE)
		return faccessat(AT_FDCWD, parent, W_OK, AT_EACCESS) < 0;
	if (r->what == IMMURE_REFUSED_WRITE)
		mode = W_OK;
	else if (stat(r->path, &st) == 0 && S_ISDIR(st.st_mode))
		mode = R_OK | X_OK;
	return faccessat(AT_FDCWD, r->path, mode, AT_EACCESS) < 0;
}

static void put(char *to, size_t size, const char *flag, const char *value)
{
	(void)snprintf(to, size, "%s %s", flag, value); /* cut is enough: a path of PATH_MAX fits */
}

/* A rule of the policy hides it. */
static void of_hidden(struct advice *a, const struct immure_json *op, const struct immure_refusal *r)
{
	const char *key = text_of(op, "key");
	bool writes = r->what == IMMURE_REFUSED_WRITE || r->what == IMMURE_REFUSED_CHANGE;

	(void)snprintf(a->key, sizeof(a->key), "%s", key[0] == '(' ? "" : key);
	(void)snprintf(a->why, sizeof(a->why), "%s hides %s", key[0] == '(' ? "this program always" : key,
		       text_of(op, "dst"));
	if (strcmp(key, "files.sensitive") == 0 || strcmp(key, "files.view") == 0)
		put(a->allow, sizeof(a->allow), writes ? "--write" : "--read", r->path);
	else if (strcmp(key, "files.deny") == 0)
		put(a->allow, sizeof(a->allow), "taken out of files.deny:", text_of(op, "dst"));
}

static void of_write(struct advice *a, const struct immure_json *op, const struct immure_refusal *r,
		     const char *parent)
{
	const char *name = op ? text_of(op, "op") : "", *key = op ? text_of(op, "key") : "";

	if (strcmp(name, "readonly") == 0 && strcmp(key, "(always)") != 0 &&
	    strcmp(key, "files.read") != 0) {
		(void)snprintf(a->key, sizeof(a->key), "%s", key);
		(void)snprintf(a->why, sizeof(a->why), "%s keeps %s as it is", key, text_of(op, "dst"));
		if (strcmp(key, "files.protect") == 0)
			put(a->allow, sizeof(a->allow), "taken out of files.protect:", text_of(op, "dst"));
		else
			put(a->allow, sizeof(a->allow), "--protected false, for all of the table, or not at all:",
			    text_of(op, "dst"));
		return;
	}
	(void)snprintf(a->key, sizeof(a->key), "files.write");
	(void)snprintf(a->why, sizeof(a->why), "only the workspace and files.write can be changed");
	put(a->allow, sizeof(a->allow), "--write", r->what == IMMURE_REFUSED_CHANGE ? parent : r->path);
}

static void of_file(struct advice *a, const struct plan *p, const struct immure_refusal *r)
{
	const struct immure_json *op = standing(p, r->path);
	char parent[PATH_MAX];

	parent_of(r->path, parent);
	if (is_hidden(op)) {
		of_hidden(a, op, r);
		return;
	}
	if (r->what == IMMURE_REFUSED_EXECUTE && p->listed && r->errnum == EACCES) {
		(void)snprintf(a->key, sizeof(a->key), "files.execute");
		(void)snprintf(a->why, sizeof(a->why), "files.executables is listed, and this is not on the list");
		put(a->allow, sizeof(a->allow), "--execute", r->path);
		return;
	}
	if (r->errnum != EROFS && r->errnum != ENOENT && host_refuses(r, parent)) {
		a->outside = true;
		(void)snprintf(a->why, sizeof(a->why), "its own permissions, outside as well");
		return;
	}
	if (r->what == IMMURE_REFUSED_WRITE || r->what == IMMURE_REFUSED_CHANGE) {
		of_write(a, op, r, parent);
		return;
	}
	(void)snprintf(a->key, sizeof(a->key), "files.read");
	if (op && strcmp(text_of(op, "op"), "tmpfs") == 0)
		(void)snprintf(a->why, sizeof(a->why), "%s is private: what the host has there is not shown",
			       text_of(op, "dst"));
	else
		(void)snprintf(a->why, sizeof(a->why), "the view does not show it");
	put(a->allow, sizeof(a->allow), "--read", r->path);
}

static void of_dial(struct advice *a, const struct plan *p, const struct immure_refusal *r)
{
	if (strncmp(r->path, "127.", 4) == 0 || strncmp(r->path, "[::1]", 5) == 0) {
		(void)snprintf(a->why, sizeof(a->why), p->host_net ? "nobody listens there"
				       : "loopback inside is the sandbox's own: the host's services are not on it");
		a->outside = p->host_net;
		return;
	}
	if (p->host_net) {
		a->outside = true;
		(void)snprintf(a->why, sizeof(a->why), "the host's own network refuses it");
		return;
	}
	(void)snprintf(a->key, sizeof(a->key), "network.%s", p->limited ? "allow" : "mode");
	/* Names have a server of ours where there are any: theirs need not be allowed. */
	if (!p->limited && strlen(r->path) > 3 && strcmp(r->path + strlen(r->path) - 3, ":53") == 0) {
		(void)snprintf(a->why, sizeof(a->why), "there is no network, so no name is found");
		put(a->allow, sizeof(a->allow), "--net limited --allow", "HOST");
		return;
	}
	(void)snprintf(a->why, sizeof(a->why), p->limited ? "no rule of network.allow covers it"
							  : "there is no network");
	put(a->allow, sizeof(a->allow), p->limited ? "--allow" : "--net limited --allow", r->path);
}

static void advise(struct advice *a, const struct plan *p, const struct immure_refusal *r)
{
	*a = (struct advice){ 0 };
	switch (r->what) {
	case IMMURE_REFUSED_DIAL:
		of_dial(a, p, r);
		break;
	case IMMURE_REFUSED_CONNECT:
		(void)snprintf(a->key, sizeof(a->key), "network.sockets");
		(void)snprintf(a->why, sizeof(a->why), "sockets of the host are closed");
		put(a->allow, sizeof(a->allow), "--socket", r->path);
		break;
	case IMMURE_REFUSED_CALL:
		(void)snprintf(a->key, sizeof(a->key), "syscalls");
		(void)snprintf(a->why, sizeof(a->why), "the filter, or no right to it: no key allows it");
		break;
	case IMMURE_REFUSED_READ:
	case IMMURE_REFUSED_WRITE:
	case IMMURE_REFUSED_CHANGE:
	case IMMURE_REFUSED_EXECUTE:
		of_file(a, p, r);
		break;
	}
}

/* ---- telling ---- */

static const char *error_name(int errnum)
{
	switch (errnum) {
	case EACCES: return "EACCES";
	case EPERM: return "EPERM";
	case EROFS: return "EROFS";
	case ENOENT: return "ENOENT";
	case ENOTDIR: return "ENOTDIR";
	case ENOSYS: return "ENOSYS";
	case ENETUNREACH: return "ENETUNREACH";
	case EHOSTUNREACH: return "EHOSTUNREACH";
	case ECONNREFUSED: return "ECONNREFUSED";
	case EAFNOSUPPORT: return "EAFNOSUPPORT";
	default: return "errno";
	}
}

static void tell_json(struct immure_buf *b, const struct plan *p, const struct immure_observed *o, int status)
{
	struct immure_jsonw w;
	struct advice a;

	immure_jsonw_init(&w, b, 2);
	immure_jsonw_object(&w, NULL);
	immure_jsonw_int(&w, "status", status);
	immure_jsonw_str(&w, "backend", p->backend);
	immure_jsonw_array(&w, "refused");
	for (size_t i = 0; i < o->n; i++) {
		const struct immure_refusal *r = &o->v[i];

		advise(&a, p, r);
		immure_jsonw_object(&w, NULL);
		immure_jsonw_str(&w, "what", words[r->what]);
		immure_jsonw_str(&w, r->what == IMMURE_REFUSED_CALL ? "call" :
				     r->what == IMMURE_REFUSED_DIAL ? "address" : "path", r->path);
		immure_jsonw_str(&w, "error", error_name(r->errnum));
		immure_jsonw_uint(&w, "count", r->count);
		immure_jsonw_str(&w, "program", r->program);
		immure_jsonw_str(&w, "why", a.why);
		immure_jsonw_str(&w, "key", a.key[0] ? a.key : NULL);
		immure_jsonw_str(&w, "allow", a.allow[0] ? a.allow : NULL);
		immure_jsonw_bool(&w, "outside", a.outside);
		immure_jsonw_end(&w, '}');
	}
	immure_jsonw_end(&w, ']');
	immure_jsonw_uint(&w, "dropped", o->dropped);
	immure_jsonw_end(&w, '}');
	immure_buf_putc(b, '\n');
}

static void tell_text(struct immure_buf *b, const struct plan *p, const struct immure_observed *o)
{
	struct advice a;

	for (size_t i = 0; i < o->n; i++) {
		const struct immure_refusal *r = &o->v[i];

		advise(&a, p, r);
		immure_buf_printf(b, "%s ", words[r->what]);
		immure_buf_put_printable(b, r->path, strlen(r->path));
		immure_buf_printf(b, ": %s, ", error_name(r->errnum));
		if (r->count > 1)
			immure_buf_printf(b, "%llu times, ", (unsigned long long)r->count);
		immure_buf_puts(b, "by ");
		immure_buf_put_printable(b, r->program, strlen(r->program));
		immure_buf_puts(b, ": ");
		immure_buf_put_printable(b, a.why, strlen(a.why));
		if (a.allow[0]) {
			immure_buf_puts(b, "\n    ");
			immure_buf_put_printable(b, a.allow, strlen(a.allow));
		}
		immure_buf_putc(b, '\n');
	}
	if (o->n == 0)
		immure_buf_puts(b, "nothing was refused\n");
	if (o->dropped)
		immure_buf_printf(b, "%llu more were not kept\n", (unsigned long long)o->dropped);
}

/* The same arguments as ours, but for the command's name and --json. */
static char **run_argv(const struct immure_runflags *f)
{
	char **argv = calloc((size_t)f->argc + 3, sizeof(*argv));
	static char program[] = "immure", run[] = "run";
	int n = 0;

	if (!argv)
		return NULL;
	argv[n++] = program;
	argv[n++] = run;
	for (int i = 1; i < f->argc; i++)
		if (i >= f->first || strcmp(f->argv[i], "--json") != 0)
			argv[n++] = f->argv[i];
	return argv;
}

static int explain(const struct immure_runflags *f)
{
	struct immure_observed o = { 0 };
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_error *err = NULL;
	struct plan p = { 0 };
	int wait = 0, status, r;
	char **argv;

	if (read_plan(f, &p, &err) < 0)
		return immure_cli_fail(err);
	argv = run_argv(f);
	r = argv ? immure_observe(argv, STDERR_FILENO, &o, &wait) : -ENOMEM;
	free(argv);
	status = WIFSIGNALED(wait) ? 128 + WTERMSIG(wait) : WEXITSTATUS(wait);
	if (r < 0) {
		immure_cli_say("explain: the command cannot be traced: %s", strerror(-r));
		status = IMMURE_EXIT_FAILED;
	} else {
		if (f->json)
			tell_json(&b, &p, &o, status);
		else
			tell_text(&b, &p, &o);
		if (!immure_buf_ok(&b) || immure_cli_print(b.data) != 0)
			immure_cli_say("explain: the list cannot be printed");
	}
	immure_buf_done(&b);
	immure_observed_done(&o);
	immure_json_free(p.doc);
	return status;
}

int immure_cli_explain(int argc, char **argv)
{
	struct immure_runflags f;
	int status = immure_runflags_parse("explain", argc, argv, &f);

	if (status != IMMURE_CLI_GO_ON)
		return status;
	if (f.first >= argc) {
		immure_cli_say("explain: no command given; try 'immure explain -- COMMAND'");
		status = IMMURE_EXIT_FAILED;
	} else {
		status = explain(&f);
	}
	immure_runflags_done(&f);
	return status;
}
