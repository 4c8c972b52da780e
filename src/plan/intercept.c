/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is inside TLS: rules with methods and paths, and secrets that are put into requests.
 * Both take somebody whom programs inside trust as if he were the server, so the files that
 * say whom to trust are covered, with contents that are made when the session starts.
 */
#include <stdio.h>
#include <string.h>

#include "plan/compile.h"
#include "policy/netrule.h"

/* Where distributions keep the certificates that programs trust. */
static const char *const bundles[] = {
	"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem", NULL,
};
const char *const *immure_plan_bundles(void)
{
	return bundles;
}

/* Those that take a file; it stands for all certificates that the program trusts. */
static const char *const variables[] = {
	"SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO",
	"PIP_CERT", "CARGO_HTTP_CAINFO", "AWS_CA_BUNDLE", "DENO_CERT", "NIX_SSL_CERT_FILE",
	"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "HTTPLIB2_CA_CERTS", "npm_config_cafile",
	"CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
};

static bool is_inside(const char *text, struct immure_arena *a)
{
	struct immure_complaint c = { 0 };
	struct immure_netrule r;

	return immure_netrule_parse(a, text, &r, &c) == 0 && r.protocol == IMMURE_PROTO_HTTPS &&
	       (r.path || r.methods);
}

bool immure_plan_intercepts(const struct immure_policy *p, struct immure_arena *a)
{
	if (p->network != IMMURE_NETWORK_LIMITED)
		return false;
	for (size_t i = 0; i < p->net_allow.n; i++)
		if (is_inside(p->net_allow.v[i], a))
			return true;
	for (size_t i = 0; i < p->net_deny.n; i++)
		if (is_inside(p->net_deny.v[i], a))
			return true;
	return p->secrets_n > 0 || p->net_attribute.n > 0;
}

static bool intercepts(const struct immure_compile *b)
{
	/* One that waits gets that with the caller, whose secrets they are. */
	return !b->bare && !(b->cmd && b->cmd->no_workspace) && immure_plan_intercepts(b->p, b->a);
}

/* ---- whom to trust ---- */

static const char *first_bundle(const struct immure_compile *b)
{
	for (size_t i = 0; bundles[i]; i++)
		if (immure_facts_path(b->f, bundles[i]) && immure_compile_place(b, bundles[i]))
			return bundles[i];
	return NULL;
}

void immure_compile_trust_files(struct immure_compile *b)
{
	if (!intercepts(b))
		return;
	for (size_t i = 0; bundles[i]; i++) {
		const char *at = immure_facts_path(b->f, bundles[i]) ?
					 immure_compile_place(b, bundles[i]) : NULL;
		struct immure_point *pt;

		if (!at)
			continue;
		pt = immure_compile_point(b, IMMURE_POINT_TEXT, IMMURE_RANK_OURS, at, IMMURE_KEY_TRUST);
		if (!pt)
			return;
		pt->src = ""; /* at the start: session/gatetrust.c */
		pt->mode = 0644;
		pt->file = pt->cover = true;
		pt->optional = true;
	}
}

static bool has(const struct immure_strv *env, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < env->n; i++)
		if (strncmp(env->v[i], name, n) == 0 && env->v[i][n] == '=')
			return true;
	return false;
}

/* What the command sees where the value would be. It is made different for each session. */
static void placeholder(struct immure_compile *b, const struct immure_secret *s)
{
	struct immure_strv *env = &b->plan->env;
	const char *name = s->from + strlen("env:"), *text;
	size_t n = strlen(name);

	text = immure_arena_printf(b->a, "%s=" IMMURE_PLACEHOLDER "%s", name, s->name);
	for (size_t i = 0; text && i < env->n; i++)
		if (strncmp(env->v[i], name, n) == 0 && env->v[i][n] == '=') {
			env->v[i] = text;
			return;
		}
	if (text)
		(void)immure_strv_add(b->a, env, text); /* failure stays in the arena */
}

void immure_compile_trust_env(struct immure_compile *b, const struct immure_strv *env)
{
	const char *file = intercepts(b) ? first_bundle(b) : NULL;

	/* Not even when the run goes on without: its own value is nothing for the command. */
	for (size_t i = 0; i < b->p->secrets_n; i++)
		if (strncmp(b->p->secrets[i].from, "env:", 4) == 0)
			placeholder(b, &b->p->secrets[i]);
	if (!file)
		return;
	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
		if (!has(env, variables[i])) /* one that the user set speaks for itself */
			(void)immure_strv_add(b->a, &b->plan->env,
					      immure_arena_printf(b->a, "%s=%s", variables[i], file));
}

/* ---- operations ---- */

/* Without a port a rule is for 443 and 80; a secret goes by TLS alone. */
static int32_t put_to(struct immure_compile *b, enum immure_op_kind kind, const char *key, size_t index,
		      const char *text)
{
	struct immure_complaint c = { 0 };
	struct immure_netrule r;
	struct immure_op *op;

	if (immure_netrule_parse(b->a, text, &r, &c) < 0)
		return immure_compile_refuse(b, key, "%s: %s", text, c.text);
	if (r.ports_n == 2)
		r.ports_n = 1;
	r.protocol = IMMURE_PROTO_HTTPS;
	text = immure_netrule_print(b->a, &r);
	op = text ? immure_compile_op(b, kind, text, NULL, key) : NULL;
	if (!op)
		return -IMMURE_ERR_NOMEM;
	op->num[0] = index;
	return 0;
}

static int32_t put_secret(struct immure_compile *b, size_t index)
{
	const struct immure_secret *s = &b->p->secrets[index];
	const char *from = s->from;
	struct immure_op *op;
	int32_t r = 0;

	if (strncmp(from, "file:~", 6) == 0)
		from = immure_arena_printf(b->a, "file:%s", immure_compile_path(b->a, b->p, b->f, from + 5));
	op = from ? immure_compile_op(b, IMMURE_OP_SECRET, immure_arena_printf(b->a, "%s %s", s->as, s->name),
				      from, "secrets") : NULL;
	if (!op)
		return -IMMURE_ERR_NOMEM;
	op->num[0] = index;
	for (size_t i = 0; i < s->to.n && r == 0; i++)
		r = put_to(b, IMMURE_OP_SECRET_TO, "secrets", index, s->to.v[i]);
	return r;
}

int32_t immure_compile_intercept(struct immure_compile *b)
{
	struct immure_op *op;
	int32_t r = 0;

	if (!intercepts(b))
		return 0;
	op = immure_compile_op(b, IMMURE_OP_INTERCEPT, NULL, NULL,
			       b->p->secrets_n ? "secrets" :
			       b->p->net_attribute.n ? "network.attribution" : "network.allow");
	if (!op)
		return -IMMURE_ERR_NOMEM;
	op->num[0] = b->p->net_trust == IMMURE_TRUST_SOLE;
	for (size_t i = 0; i < b->p->secrets_n && r == 0; i++)
		r = put_secret(b, i);
	for (size_t i = 0; i < b->p->net_attribute.n && r == 0; i++)
		r = put_to(b, IMMURE_OP_ATTRIBUTE, "network.attribution", 0, b->p->net_attribute.v[i]);
	return r;
}

/* ---- gaps ---- */

static void gap_rules(struct immure_compile *b, const char *key, const struct immure_strv *rules)
{
	for (size_t i = 0; i < rules->n; i++)
		if (is_inside(rules->v[i], b->a))
			immure_compile_gap(b, false, key, "egress_allowlist",
					   immure_arena_printf(b->a, "%s: paths and methods inside TLS are not "
							       "looked at by this backend", rules->v[i]),
					   "backend native or bwrap; or name the host alone, as in "
					   "tls://HOST:443; approved, it reaches nothing");
}

static const char *why_not(const struct immure_compile *b, const struct immure_secret *s)
{
	if (strncmp(s->from, "fd:", 3) == 0)
		return "a descriptor is not taken yet";
	if (strncmp(s->as, "query:", 6) == 0)
		return "in an address it would be in every log on the way";
	if (strncmp(s->as, "env:", 4) == 0)
		return "handed to the command it would be no secret any more";
	if (b->p->network != IMMURE_NETWORK_LIMITED)
		return "it takes network.mode limited";
	return b->bare ? "this backend cannot say whom to trust" : NULL;
}

void immure_compile_intercept_gaps(struct immure_compile *b)
{
	for (size_t i = 0; i < b->p->secrets_n; i++) {
		const struct immure_secret *s = &b->p->secrets[i];
		const char *why = why_not(b, s);

		if (why)
			immure_compile_gap(b, false, "secrets", "secret_isolation",
					   immure_arena_printf(b->a, "secret %s is not delivered: %s", s->name,
							       why),
					   "from env: or file:, as bearer, basic or header:NAME, with "
					   "network.mode limited and backend native or bwrap; or take it out");
	}
	if (b->p->net_attribute.n && (b->bare || b->p->network != IMMURE_NETWORK_LIMITED))
		immure_compile_gap(b, false, "network.attribution", "egress_allowlist",
				   "nobody is told whose requests they are: it takes network.mode limited and a "
				   "backend that can say whom to trust", "network.mode limited with backend "
				   "native or bwrap; or take it out");
	if (b->p->network != IMMURE_NETWORK_LIMITED)
		return;
	if (b->bare) {
		gap_rules(b, "network.allow", &b->p->net_allow);
		gap_rules(b, "network.deny", &b->p->net_deny);
	} else if (intercepts(b) && !first_bundle(b)) {
		immure_compile_gap(b, false, "network.allow", "egress_allowlist",
				   "this host has no file of trusted certificates, which would be covered "
				   "with one that has this session's as well",
				   "install ca-certificates, or name hosts alone, as in tls://HOST:443");
	}
}
