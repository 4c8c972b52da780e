/* SPDX-License-Identifier: Apache-2.0 */
/* From the plan, or from rules given later, to what the worker is told. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "policy/netrule.h"
#include "session/gatekeep.h"

enum { BACKLOG = 4096 };

int32_t immure_gate_open_program(struct immure_gatekeeper *g, const char *program,
				 struct immure_error **err)
{
	const char *path = program ? program : IMMURE_LIBEXECDIR "/immure-egress";
	struct stat st;
	int32_t r;

	g->program_fd = open(path, O_PATH | O_CLOEXEC);
	if (g->program_fd >= 0 && immure_fd_raise(&g->program_fd, 10) >= 0 &&
	    fstat(g->program_fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 0111))
		return 0;
	r = immure_fail(err, IMMURE_ERR_LAUNCH, errno ? errno : ENOEXEC, "network", "network.mode",
			"%s: the program that judges the network cannot be used: %s", path,
			strerror(errno ? errno : ENOEXEC));
	if (err && *err)
		immure_error_set_hint(*err, "install immure completely, or network.mode: none");
	return r;
}

/* ---- rules ---- */

static int32_t bad_rule(struct immure_error **err, const char *text, const char *why)
{
	return immure_fail(err, IMMURE_ERR_POLICY, EINVAL, "network", "network.allow", "%s: %s", text,
			   why);
}

static int32_t add_nets(struct immure_gate_rules *r, const struct immure_netrule *rule,
			struct immure_error **err)
{
	for (unsigned int i = 0; i < rule->ports_n; i++) {
		struct immure_rtnl_net *n;

		if (r->nets_n == IMMURE_NETPLUMB_NETS_MAX)
			return bad_rule(err, "network.allow", "too many addresses and networks");
		n = &r->nets[r->nets_n++];
		*n = (struct immure_rtnl_net){ .v6 = rule->kind == IMMURE_HOST_NET6,
					       .bits = (uint8_t)rule->prefix,
					       .lo = rule->ports[i].lo, .hi = rule->ports[i].hi };
		memcpy(n->addr, rule->address, sizeof(n->addr));
	}
	return 0;
}

static int32_t add_rule(struct immure_gate_rules *r, struct immure_strv *to,
			const struct immure_netrule *rule, struct immure_error **err)
{
	const char *text = immure_netrule_print(&r->arena, rule);

	if (!text)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "network", "", "out of memory");
	if (immure_strv_has(to, text))
		return 0;
	if (!immure_strv_add(&r->arena, to, text))
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "network", "", "out of memory");
	if (to != &r->allow || rule->kind == IMMURE_HOST_NAME || rule->kind == IMMURE_HOST_WILDCARD)
		return 0;
	return add_nets(r, rule, err);
}

static int32_t take(struct immure_gate_rules *r, struct immure_strv *to,
		    const struct immure_strv *from, struct immure_error **err)
{
	for (size_t i = 0; i < from->n; i++) {
		struct immure_netrule rule, local[2];
		struct immure_complaint c = { 0 };
		unsigned int local_n;
		int32_t e;

		if (immure_netrule_parse(&r->arena, from->v[i], &rule, &c) < 0)
			return bad_rule(err, from->v[i], c.text);
		r->inside |= rule.protocol == IMMURE_PROTO_HTTPS && (rule.path || rule.methods);
		e = add_rule(r, to, &rule, err);
		local_n = immure_netrule_localhost(&rule, local);
		for (unsigned int k = 0; k < local_n && e == 0; k++)
			e = add_rule(r, to, &local[k], err);
		if (e < 0)
			return e;
	}
	return 0;
}

int32_t immure_gate_rules_take(struct immure_gate_rules *r, const struct immure_strv *allow,
			       const struct immure_strv *deny, struct immure_error **err)
{
	int32_t e;

	r->nets = immure_arena_alloc(&r->arena, IMMURE_NETPLUMB_NETS_MAX * sizeof(*r->nets));
	if (!r->nets)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "network", "", "out of memory");
	e = take(r, &r->allow, allow, err);
	if (e == 0)
		e = take(r, &r->deny, deny, err);
	if (e < 0)
		immure_gate_rules_done(r);
	return e;
}

void immure_gate_rules_use(struct immure_gatekeeper *g)
{
	g->config.allow = g->rules.allow;
	g->config.deny = g->rules.deny;
}

void immure_gate_rules_done(struct immure_gate_rules *r)
{
	immure_arena_done(&r->arena);
	memset(r, 0, sizeof(*r));
}

/* ---- from the plan ---- */

static int32_t plan_rules(struct immure_gatekeeper *g, const struct immure_plan *plan,
			  struct immure_error **err)
{
	struct immure_strv allow = { 0 }, deny = { 0 };
	struct immure_arena a = IMMURE_ARENA_INIT;
	int32_t r;

	for (size_t i = 0; i < plan->ops_n; i++) {
		const struct immure_op *op = &plan->ops[i];

		if (op->kind == IMMURE_OP_EGRESS_ALLOW)
			(void)immure_strv_add(&a, &allow, op->src); /* failure stays in the arena */
		else if (op->kind == IMMURE_OP_EGRESS_DENY)
			(void)immure_strv_add(&a, &deny, op->src);
	}
	r = a.failed ? immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "network", "", "out of memory") :
		       immure_gate_rules_take(&g->rules, &allow, &deny, err);
	immure_arena_done(&a);
	if (r == 0)
		immure_gate_rules_use(g);
	return r;
}

static int parse_range(const char *text, bool v6, struct immure_rtnl_range *ret)
{
	struct immure_complaint c;
	enum immure_host_kind kind;
	unsigned char address[16] = { 0 };
	unsigned int bits;
	int r = immure_network_parse(text, &kind, address, &bits, &c);

	return r < 0 ? r : immure_rtnl_range_from(v6, address, bits, ret);
}

static int32_t ranges(struct immure_gatekeeper *g, const struct immure_op *op,
		      struct immure_error **err)
{
	struct immure_complaint c = { 0 };

	g->routes.with_v6 = true;
	if (parse_range(op->src, false, &g->routes.v4) < 0 ||
	    parse_range(op->dst, true, &g->routes.v6) < 0 ||
	    immure_synth_prefix(&g->config.synth, op->src, &c) < 0 ||
	    immure_synth_prefix(&g->config.synth, op->dst, &c) < 0)
		return immure_fail(err, IMMURE_ERR_LAUNCH, EINVAL, "network", "network.prefix",
				   "not a range of addresses for names: %s", c.text);
	return 0;
}

/* ---- published ports ---- */

static int listen_at(const struct immure_inet *a)
{
	IMMURE_CLEANUP_FD int fd = immure_netsock_tcp(a->v6);
	int on = 1, r;

	if (fd < 0)
		return fd;
	/* Connections of an earlier session that linger are no reason to refuse; a
	 * listener that is there is, with this as without. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return -errno;
	r = immure_netsock_listen_on(fd, a, BACKLOG);
	if (r == 0)
		r = immure_fd_raise(&fd, 10);
	return r < 0 ? r : immure_take_fd(&fd);
}

static int32_t publish(struct immure_gatekeeper *g, const struct immure_op *op, bool bare,
		       struct immure_error **err)
{
	size_t n = bare ? g->broker.ports_n : g->config.publish_n;
	struct immure_inet a = { .port = (uint16_t)op->num[0] };
	struct immure_complaint c;
	enum immure_host_kind kind;
	unsigned int bits;
	int32_t r;
	int fd;

	if (n == IMMURE_EGRESS_PUBLISH_MAX)
		return immure_fail(err, IMMURE_ERR_POLICY, E2BIG, "network", op->key,
				   "network.publish: more than %d ports", IMMURE_EGRESS_PUBLISH_MAX);
	if (immure_network_parse(op->src, &kind, a.addr, &bits, &c) < 0)
		return immure_fail(err, IMMURE_ERR_LAUNCH, EINVAL, "network", op->key, "%s", c.text);
	a.v6 = kind == IMMURE_HOST_NET6;
	fd = bare ? immure_brokerport_hold(&a) : listen_at(&a);
	if (fd >= 0 && bare) {
		g->broker.ports[g->broker.ports_n++] = (struct immure_broker_port){
			.fd = fd, .at = a, .inside = (uint16_t)op->num[1],
		};
		return 0;
	}
	if (fd >= 0) {
		g->listeners[n] = fd;
		g->config.publish[n].port = (uint16_t)op->num[1];
		g->config.publish_n++;
		return 0;
	}
	r = immure_fail(err, IMMURE_ERR_LAUNCH, -fd, "network", op->key,
			"network.publish: %s port %u cannot be used: %s", op->src, a.port, strerror(-fd));
	if (err && *err && fd == -EADDRINUSE)
		immure_error_set_hint(*err, "something else listens there; publish at another port");
	return r;
}

static void plan_limits(struct immure_gatekeeper *g, const struct immure_plan *plan)
{
	const struct immure_op *op = immure_plan_find(plan, IMMURE_OP_EGRESS_BODIES);

	if (op) {
		g->config.limits.bodies.request_body = op->num[0];
		g->config.limits.bodies.response_body = op->num[1];
	}
	op = immure_plan_find(plan, IMMURE_OP_EGRESS_LIMITS);
	if (!op)
		return;
	if (op->num[0])
		g->config.limits.idle_ms = (uint32_t)op->num[0];
	if (op->num[1])
		g->config.limits.first_ms = (uint32_t)op->num[1];
	g->config.refuse_ech = op->num[2];
}

int32_t immure_gate_secrets(struct immure_gatekeeper *g, const struct immure_plan *plan, struct immure_error **err)
{
	const char *wrong;

	g->config.secret = g->config.attribute = g->config.fields = (struct immure_strv){ 0 };
	for (size_t i = 0; i < plan->ops_n; i++)
		if ((plan->ops[i].kind == IMMURE_OP_SECRET_TO || plan->ops[i].kind == IMMURE_OP_ATTRIBUTE) &&
		    !immure_strv_add(&g->arena, &g->config.secret,
				     immure_arena_strdup(&g->arena, plan->ops[i].src)))
			return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "network", "", "out of memory");
	wrong = immure_egress_config_check(&g->config);
	return wrong ? immure_fail(err, IMMURE_ERR_POLICY, EINVAL, "network", "network", "%s", wrong) : 0;
}

int32_t immure_gate_configure(struct immure_gatekeeper *g, const struct immure_plan *plan,
			      struct immure_error **err)
{
	const struct immure_op *op = immure_plan_find(plan, IMMURE_OP_EGRESS);
	const char *wrong;
	int32_t r = 0;

	immure_egress_config_defaults(&g->config);
	immure_rtnl_setup_default(&g->routes, true);
	if (op) {
		g->proxy = op->num[0];
		g->config.private_ok = op->num[1];
		if (op->num[2])
			g->config.limits.connections = (uint32_t)op->num[2];
		g->config.limits.bytes_per_s = op->num[3];
		r = ranges(g, op, err);
	}
	plan_limits(g, plan);
	if (r == 0)
		r = plan_rules(g, plan, err);
	if (r == 0)
		r = immure_gate_secrets(g, plan, err);
	for (size_t i = 0; i < plan->ops_n && r == 0; i++)
		if (plan->ops[i].kind == IMMURE_OP_PUBLISH)
			r = publish(g, &plan->ops[i], immure_plan_is_bare(plan), err);
	wrong = r == 0 ? immure_egress_config_check(&g->config) : NULL;
	return wrong ? immure_fail(err, IMMURE_ERR_POLICY, EINVAL, "network", "network", "%s", wrong) : r;
}

/* Who it is, as servers are told: nothing that the command can choose. */
static void add_field(struct immure_gatekeeper *g, const char *name, const char *value)
{
	if (value && *value)
		(void)immure_strv_add(&g->arena, &g->config.fields,
				      immure_arena_printf(&g->arena, IMMURE_ATTRIBUTION "%s: %s", name, value));
}

int32_t immure_gate_attribute(struct immure_gatekeeper *g, const struct immure_plan *plan,
			      const char *session, struct immure_error **err)
{
	for (size_t i = 0; i < plan->ops_n; i++)
		if (plan->ops[i].kind == IMMURE_OP_ATTRIBUTE)
			(void)immure_strv_add(&g->arena, &g->config.attribute, plan->ops[i].src);
	if (g->config.attribute.n) {
		add_field(g, "Session", session);
		add_field(g, "Agent", immure_plan_agent(plan));
		add_field(g, "Policy", plan->policy_version);
	}
	if (g->arena.failed)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "network", "", "out of memory");
	return immure_egress_config_check(&g->config) ?
		       immure_fail(err, IMMURE_ERR_POLICY, EINVAL, "network", "network.attribution",
				   "network.attribution: %s", immure_egress_config_check(&g->config)) : 0;
}
