/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/judge.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "policy/checks.h"

enum { SHOWN_PATH = 160 };

/* ---- rules ---- */

static int parse_rules(struct immure_arena *a, const struct immure_strv *l,
		       struct immure_judge_rule **ret, struct immure_complaint *c)
{
	struct immure_judge_rule *rules = NULL;

	if (l->n)
		rules = immure_arena_alloc(a, l->n * sizeof(*rules));
	if (l->n && !rules)
		return -ENOMEM;
	for (size_t i = 0; i < l->n; i++) {
		int r = immure_netrule_parse(a, l->v[i], &rules[i].rule, c);

		if (r < 0)
			return r;
		rules[i].text = immure_netrule_print(a, &rules[i].rule);
		if (!rules[i].text)
			return -ENOMEM;
	}
	*ret = rules;
	return 0;
}

int immure_judge_init(struct immure_arena *a, const struct immure_strv *allow,
		      const struct immure_strv *deny, struct immure_judge *ret,
		      struct immure_complaint *c)
{
	struct immure_judge j = { .allow_n = allow->n, .deny_n = deny->n };
	int r = parse_rules(a, allow, &j.allow, c);

	if (r == 0)
		r = parse_rules(a, deny, &j.deny, c);
	if (r == 0)
		*ret = j;
	return r;
}

int immure_judge_secrets(struct immure_arena *a, const struct immure_strv *to,
			 struct immure_judge *j, struct immure_complaint *c)
{
	int r = parse_rules(a, to, &j->secret, c);

	j->secret_n = r < 0 ? 0 : to->n;
	return r;
}

/* What must be seen before a rule can be decided. */
enum needs { NEEDS_NOTHING, NEEDS_TLS, NEEDS_HTTP, NEEDS_INTERCEPTION };

static enum needs needs_of(const struct immure_netrule *r)
{
	switch (r->protocol) {
	case IMMURE_PROTO_TLS:
		return NEEDS_TLS;
	case IMMURE_PROTO_HTTP:
		return NEEDS_HTTP;
	case IMMURE_PROTO_HTTPS:
		return r->path || r->methods ? NEEDS_INTERCEPTION : NEEDS_TLS;
	case IMMURE_PROTO_ANY:
	case IMMURE_PROTO_TCP:
	case IMMURE_PROTO_SSH:
		return NEEDS_NOTHING;
	}
	return NEEDS_INTERCEPTION;
}

/* Whether there is a way to see it. */
static bool can_see(const struct immure_judge *j, enum needs needs)
{
	return needs != NEEDS_INTERCEPTION || j->intercepts;
}

/* A deny rule about some requests only. */
static bool conditional(const struct immure_judge *j, const struct immure_netrule *r)
{
	enum needs needs = needs_of(r);

	return (needs == NEEDS_HTTP || needs == NEEDS_INTERCEPTION) && can_see(j, needs) &&
	       (r->path || r->methods);
}

static bool covers_host(const struct immure_netrule *r, const struct immure_endpoint *to)
{
	return to->kind == IMMURE_HOST_NAME ?
		       immure_netrule_has_name(r, to->name) :
		       immure_netrule_has_address(r, to->kind, to->address);
}

bool immure_judge_covers(const struct immure_netrule *r, const struct immure_endpoint *to)
{
	return immure_netrule_has_port(r, to->port) && covers_host(r, to);
}

/* ---- verdicts ---- */

static enum immure_verdict_kind allow(struct immure_verdict *v, const char *rule)
{
	*v = (struct immure_verdict){ .kind = IMMURE_VERDICT_ALLOW, .rule = rule };
	return v->kind;
}

enum immure_verdict_kind immure_verdict_deny(struct immure_verdict *v, const char *rule,
					     const char *fmt, ...)
{
	va_list ap;

	*v = (struct immure_verdict){ .kind = IMMURE_VERDICT_DENY, .rule = rule };
	va_start(ap, fmt);
	(void)vsnprintf(v->why, sizeof(v->why), fmt, ap);
	va_end(ap);
	return v->kind;
}

static enum immure_verdict_kind deny_by(struct immure_verdict *v, const char *rule)
{
	(void)immure_verdict_deny(v, rule, "network.deny has \"%s\"", rule);
	(void)snprintf(v->add, sizeof(v->add), "nothing; take \"%.250s\" out of network.deny", rule);
	return v->kind;
}

static enum immure_verdict_kind deny_unlisted(struct immure_verdict *v,
					      const struct immure_endpoint *to)
{
	char text[IMMURE_ENDPOINT_TEXT];

	(void)immure_endpoint_print(to, text);
	(void)immure_verdict_deny(v, NULL, "%s is not in network.allow", text);
	(void)snprintf(v->add, sizeof(v->add), "\"%s\" in network.allow", text);
	return v->kind;
}

/* ---- lookup ---- */

/* The first port from lo to hi that no unconditional deny rule takes away; 0 =
 * none is left. */
static unsigned int port_left(const struct immure_judge *j, const struct immure_endpoint *to,
			      struct immure_port_range range, const char **ret_denied_by)
{
	unsigned int port = range.lo;

	while (port <= range.hi) {
		unsigned int past = 0;

		for (size_t i = 0; i < j->deny_n && !past; i++) {
			const struct immure_netrule *r = &j->deny[i].rule;

			if (conditional(j, r) || !covers_host(r, to))
				continue;
			for (unsigned int k = 0; k < r->ports_n; k++)
				if (port >= r->ports[k].lo && port <= r->ports[k].hi)
					past = r->ports[k].hi + 1U;
			if (past)
				*ret_denied_by = j->deny[i].text;
		}
		if (!past)
			return port;
		port = past;
	}
	return 0;
}

enum immure_verdict_kind immure_judge_name(const struct immure_judge *j, const char *name,
					   size_t *ret_wild_bytes, struct immure_verdict *ret)
{
	struct immure_endpoint to = { .kind = IMMURE_HOST_NAME };
	const char *rule = NULL, *denied_by = NULL, *unable = NULL;
	size_t len = strlen(name), wild = len;

	if (len == 0 || len > IMMURE_HOST_NAME_MAX)
		return immure_verdict_deny(ret, NULL, "no host name");
	memcpy(to.name, name, len + 1);
	for (size_t i = 0; i < j->allow_n; i++) {
		const struct immure_netrule *r = &j->allow[i].rule;
		size_t free_bytes = 0;
		bool left = false;

		if (!covers_host(r, &to))
			continue;
		if (!can_see(j, needs_of(r))) {
			unable = j->allow[i].text;
			continue;
		}
		for (unsigned int k = 0; k < r->ports_n; k++)
			left |= port_left(j, &to, r->ports[k], &denied_by) != 0;
		if (!left)
			continue;
		if (r->kind == IMMURE_HOST_WILDCARD)
			free_bytes = len - strlen(r->name) - 1;
		if (!rule || free_bytes < wild) {
			wild = free_bytes;
			rule = j->allow[i].text;
		}
	}
	if (!rule && unable && !denied_by)
		return immure_verdict_deny(ret, unable, "%s: the rule cannot be enforced without "
					   "interception", name);
	if (!rule)
		return denied_by ? deny_by(ret, denied_by) : deny_unlisted(ret, &to);
	*ret_wild_bytes = wild;
	return allow(ret, rule);
}

static void mark(uint64_t *ports, const struct immure_netrule *r, bool value)
{
	for (unsigned int k = 0; k < r->ports_n; k++)
		for (unsigned int p = r->ports[k].lo; p <= r->ports[k].hi; p++) {
			uint64_t bit = UINT64_C(1) << (p % 64);

			ports[p / 64] = value ? ports[p / 64] | bit : ports[p / 64] & ~bit;
		}
}

size_t immure_judge_ports(const struct immure_judge *j, const struct immure_endpoint *host,
			  struct immure_port_range ret[IMMURE_JUDGE_PORTS])
{
	uint64_t ports[65536 / 64];
	bool any = false, open = false;
	size_t n = 0;

	for (size_t i = 0; i < j->allow_n; i++) {
		const struct immure_netrule *r = &j->allow[i].rule;

		if (!covers_host(r, host) || !can_see(j, needs_of(r)))
			continue;
		if (!any)
			memset(ports, 0, sizeof(ports));
		any = true;
		mark(ports, r, true);
	}
	for (size_t i = 0; any && i < j->deny_n; i++)
		if (covers_host(&j->deny[i].rule, host) && !conditional(j, &j->deny[i].rule))
			mark(ports, &j->deny[i].rule, false);
	for (unsigned int p = 1; any && p < 65536; p++) {
		if (ports[p / 64] == 0) {
			open = false;
			p |= 63;
			continue;
		}
		if (!(ports[p / 64] >> (p % 64) & 1)) {
			open = false;
			continue;
		}
		if (!open && n < IMMURE_JUDGE_PORTS)
			ret[n++].lo = (uint16_t)p;
		open = true;
		ret[n - 1].hi = (uint16_t)p;
	}
	return n;
}

/* ---- connection and first bytes ---- */

/* What has been seen of a connection; both NULL = nothing yet. */
struct seen {
	const struct immure_tls_hello *tls;
	const struct immure_http_head *http;
	bool https;         /* the request came by TLS that ended at us */
	bool unasked;       /* rules mean upgrades that they do not name: no rule allows by it */
	bool no_path;       /* the request's path has no one reading */
	const char *path;   /* in the rules' form, when any rule asks */
	const char *why;    /* the last reason why a rule did not fit */
	bool other_request; /* … which was that it is for other requests */
};

static bool host_agrees(const struct immure_endpoint *to, const struct immure_http_head *h)
{
	return immure_endpoint_same_host(to, &h->host) &&
	       (h->host.port == 0 || h->host.port == to->port);
}

static bool tls_fits(const struct immure_judge *j, const struct immure_endpoint *to,
		     struct seen *s)
{
	if (!s->tls) {
		s->why = "the rule asks for TLS";
		return false;
	}
	/* RFC 6066: addresses are never in the SNI. */
	if (strcmp(s->tls->sni, to->kind == IMMURE_HOST_NAME ? to->name : "") != 0) {
		s->why = s->tls->sni[0] ? "the SNI names another host" : "there is no SNI";
		return false;
	}
	if (s->tls->ech && j->refuse_ech) {
		s->why = "the SNI may be hidden by ECH";
		return false;
	}
	return true;
}

/* Method and path; overridden ones cannot be told. */
static bool request_is_of(const struct immure_netrule *r, const struct seen *s)
{
	if (r->methods && !(s->http->method_bit & r->methods))
		return false;
	return !r->path || (s->path && immure_http_rule_has_path(r, s->path));
}

/* What follows an upgrade is not looked at: only a rule that says so lets it be. */
static bool request_matches(const struct immure_netrule *r, const struct seen *s)
{
	return (!s->http->websocket || s->unasked || (r->methods & IMMURE_METHOD_WEBSOCKET)) &&
	       request_is_of(r, s);
}

static bool http_fits(const struct immure_netrule *r, const struct immure_endpoint *to,
		      struct seen *s)
{
	const char *why = NULL;

	if (!s->http)
		why = "the rule asks for HTTP";
	else if (!host_agrees(to, s->http))
		why = "Host names another host";
	else if (s->https && s->http->form == IMMURE_HTTP_ABSOLUTE)
		why = "the target is for a proxy";
	else if ((r->path || r->methods) && s->http->overrides)
		why = "a field that servers may take for method or path";
	else if (r->path && s->no_path)
		why = "the path can be read in two ways";
	s->other_request = !why && !request_matches(r, s);
	if (s->other_request)
		why = "no rule has this method and path";
	if (why)
		s->why = why;
	s->other_request = s->other_request && s->path;
	return !why;
}

/* For conditional deny rules: nothing may be in doubt. */
static bool surely_other(const struct immure_netrule *r, const struct immure_endpoint *to,
			 const struct seen *s)
{
	return s->http && host_agrees(to, s->http) && !s->http->overrides &&
	       !(r->path && s->no_path) && !request_is_of(r, s);
}

static enum immure_verdict_kind deny_mismatch(struct immure_verdict *v, const char *rule,
					      const struct immure_endpoint *to, const char *why)
{
	char text[IMMURE_ENDPOINT_TEXT];

	(void)immure_verdict_deny(v, rule, "%s: %s", immure_endpoint_print(to, text), why);
	(void)snprintf(v->add, sizeof(v->add), "\"tcp://%s\" in network.allow, for any content", text);
	return v->kind;
}

/* What was asked for is one request, so that is what would allow it. */
static enum immure_verdict_kind deny_request(struct immure_verdict *v, const char *rule,
					     const struct immure_endpoint *to, const struct seen *s)
{
	const char *method = s->http->websocket ? "WEBSOCKET" : s->http->method;
	char text[IMMURE_ENDPOINT_TEXT];
	bool whole = strlen(s->path) <= SHOWN_PATH;

	(void)immure_endpoint_print(to, text);
	(void)immure_verdict_deny(v, rule, "no rule has %s %s%.*s%s", method, text, SHOWN_PATH, s->path,
				  whole ? "" : "...");
	/* A path that ends in a star would mean others as well. */
	if (s->http->method_bit && whole && !strchr(s->path, '*'))
		(void)snprintf(v->add, sizeof(v->add), "\"%s %s://%s%s\" in network.allow", method,
			       s->https ? "https" : "http", text, s->path);
	return v->kind;
}

static bool takes_secrets(const struct immure_judge *j, const struct immure_endpoint *to)
{
	for (size_t i = 0; i < j->secret_n; i++)
		if (immure_judge_covers(&j->secret[i].rule, to))
			return true;
	return false;
}

/* What the allow rules for a place take. */
struct early {
	const char *first;   /* that needs nothing */
	const char *looking; /* that needs to look */
	const char *inside;  /* that needs interception */
	unsigned int look;
};

static void ask_rules(const struct immure_judge *j, const struct immure_endpoint *to, struct early *e)
{
	for (size_t i = 0; i < j->allow_n; i++) {
		const struct immure_judge_rule *r = &j->allow[i];

		if (!immure_judge_covers(&r->rule, to))
			continue;
		switch (needs_of(&r->rule)) {
		case NEEDS_NOTHING:
			e->first = e->first ? e->first : r->text;
			break;
		case NEEDS_TLS:
			e->look |= IMMURE_LOOK_TLS;
			e->looking = r->text;
			break;
		case NEEDS_HTTP:
			e->look |= IMMURE_LOOK_HTTP;
			e->looking = r->text;
			break;
		case NEEDS_INTERCEPTION:
			e->inside = r->text;
			break;
		}
	}
}

static enum immure_verdict_kind look_at(struct immure_verdict *v, const char *rule, unsigned int look)
{
	*v = (struct immure_verdict){ .kind = IMMURE_VERDICT_LOOK, .look = look, .rule = rule };
	return v->kind;
}

/* Before any byte: can some allow rule decide, or what must be seen? look: what a deny rule
 * about some requests needs. */
static enum immure_verdict_kind judge_early(const struct immure_judge *j,
					    const struct immure_endpoint *to, unsigned int look,
					    struct immure_verdict *v)
{
	bool secrets = takes_secrets(j, to);
	struct early e = { 0 };
	const char *any;

	ask_rules(j, to, &e);
	any = e.first ? e.first : e.inside ? e.inside : e.looking;
	if (!any)
		return deny_unlisted(v, to);
	if (secrets || (look & IMMURE_LOOK_INTERCEPT) || (e.inside && !e.first)) {
		if (j->intercepts)
			return look_at(v, any, IMMURE_LOOK_INTERCEPT);
		/* Not to do without: what it would have seen to is not seen to. */
		if (secrets || !e.look)
			return deny_mismatch(v, any, to, "it cannot be enforced without interception");
	}
	if (e.first)
		return look ? look_at(v, e.first, look) : allow(v, e.first);
	if (look) /* only HTTP can be told apart from it */
		e.look &= look;
	return e.look ? look_at(v, e.looking, e.look) :
			deny_mismatch(v, any, to, "the rule cannot be enforced without interception");
}

static bool seen_fits(const struct immure_judge *j, const struct immure_netrule *r,
		      const struct immure_endpoint *to, struct seen *s)
{
	switch (needs_of(r)) {
	case NEEDS_NOTHING:
		return true;
	case NEEDS_TLS:
		return tls_fits(j, to, s);
	case NEEDS_HTTP:
		return http_fits(r, to, s);
	case NEEDS_INTERCEPTION:
		break;
	}
	s->why = "the rule cannot be enforced without interception";
	return false;
}

/* Inside TLS every rule but those for plain HTTP is one about requests: what is not HTTP/1
 * never comes so far. */
static bool https_fits(const struct immure_netrule *r, const struct immure_endpoint *to,
		       struct seen *s)
{
	if (r->protocol == IMMURE_PROTO_HTTP) {
		s->why = "the rule is for HTTP without TLS";
		return false;
	}
	return http_fits(r, to, s);
}

static enum immure_verdict_kind judge_seen(const struct immure_judge *j,
					   const struct immure_endpoint *to, struct seen *s,
					   struct immure_verdict *v)
{
	const char *rule = NULL;

	for (size_t i = 0; i < j->allow_n; i++) {
		const struct immure_judge_rule *r = &j->allow[i];
		bool fits = false;

		if (!immure_judge_covers(&r->rule, to))
			continue;
		fits = s->https ? https_fits(&r->rule, to, s) : seen_fits(j, &r->rule, to, s);
		if (fits)
			return allow(v, r->text);
		rule = r->text;
	}
	if (rule && s->other_request)
		return deny_request(v, rule, to, s);
	return rule ? deny_mismatch(v, rule, to, s->why) : deny_unlisted(v, to);
}

static enum immure_verdict_kind judge(const struct immure_judge *j,
				      const struct immure_endpoint *to, struct seen *s,
				      struct immure_verdict *v)
{
	bool early = !s->tls && !s->http;
	unsigned int look = 0;

	if (to->kind != IMMURE_HOST_NAME &&
	    immure_vet_address(j, to, to->kind, to->address, v) == IMMURE_VERDICT_DENY)
		return v->kind;
	for (size_t i = 0; i < j->deny_n; i++) {
		const struct immure_judge_rule *r = &j->deny[i];

		if (!immure_judge_covers(&r->rule, to))
			continue;
		if (conditional(j, &r->rule) && early)
			look |= r->rule.protocol == IMMURE_PROTO_HTTPS ? IMMURE_LOOK_INTERCEPT :
									 IMMURE_LOOK_HTTP;
		else if (!conditional(j, &r->rule) || !surely_other(&r->rule, to, s))
			return deny_by(v, r->text);
	}
	return early ? judge_early(j, to, look, v) : judge_seen(j, to, s, v);
}

enum immure_verdict_kind immure_judge_connect(const struct immure_judge *j,
					      const struct immure_endpoint *to,
					      struct immure_verdict *ret)
{
	return judge(j, to, &(struct seen){ 0 }, ret);
}

enum immure_verdict_kind immure_judge_tls(const struct immure_judge *j,
					  const struct immure_endpoint *to,
					  const struct immure_tls_hello *hello,
					  struct immure_verdict *ret)
{
	struct seen s = { .tls = hello };

	return judge(j, to, &s, ret);
}

/* path holds IMMURE_HTTP_LINE_MAX + 1 bytes. */
static void see_path(struct seen *s, char *path)
{
	const struct immure_http_head *head = s->http;
	const char *why;

	if (head->form == IMMURE_HTTP_ASTERISK || head->form == IMMURE_HTTP_AUTHORITY ||
	    head->path_len > IMMURE_HTTP_LINE_MAX ||
	    immure_http_path(head->target, head->path_len, path, &why) < 0)
		s->no_path = true;
	else
		s->path = path;
}

static enum immure_verdict_kind judge_request(const struct immure_judge *j,
					      const struct immure_endpoint *to,
					      const struct immure_http_head *head, bool https,
					      struct immure_verdict *v)
{
	char path[IMMURE_HTTP_LINE_MAX + 1];
	struct seen s = { .http = head, .https = https };

	see_path(&s, path);
	if (judge(j, to, &s, v) == IMMURE_VERDICT_DENY)
		v->code = s.no_path ? IMMURE_CODE_HTTP_INVALID_URL : IMMURE_CODE_HTTP_DENIED_ACL;
	return v->kind;
}

enum immure_verdict_kind immure_judge_http(const struct immure_judge *j,
					   const struct immure_endpoint *to,
					   const struct immure_http_head *head,
					   struct immure_verdict *ret)
{
	return judge_request(j, to, head, false, ret);
}

enum immure_verdict_kind immure_judge_https(const struct immure_judge *j,
					    const struct immure_endpoint *to,
					    const struct immure_http_head *head,
					    struct immure_verdict *ret)
{
	return judge_request(j, to, head, true, ret);
}

bool immure_judge_is_about(const struct immure_judge_rule *rules, size_t n, const struct immure_endpoint *to,
			   const struct immure_http_head *head)
{
	char path[IMMURE_HTTP_LINE_MAX + 1];
	struct seen s = { .http = head, .https = true, .unasked = true };
	bool is = false;

	see_path(&s, path);
	for (size_t i = 0; i < n && !is; i++)
		is = immure_judge_covers(&rules[i].rule, to) && http_fits(&rules[i].rule, to, &s);
	return is;
}
