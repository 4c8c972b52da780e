/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The session's network. With network.mode limited nothing leads out of it but
 * names: they are looked up at an address of ours, and what they resolve to is
 * ours as well. So the files that say how names are looked up are part of the
 * mechanism: a host's /etc/hosts entry or another name service would lead to an
 * address that nobody listens on.
 */
#include <stdio.h>
#include <string.h>

#include "base/path.h"
#include "kernel/netplumb.h"
#include "plan/compile.h"
#include "plan/render.h"
#include "policy/netrule.h"

#define PROXY_NAME "proxy.immure"

static const char RANGE6[] = "fd53:6e62::/64", RANGE4[] = "198.18.0.0/15";

static bool is_limited(const struct immure_compile *b)
{
	return b->p->network == IMMURE_NETWORK_LIMITED;
}

static const char *range4(const struct immure_compile *b)
{
	return b->p->net_prefix ? b->p->net_prefix : RANGE4;
}

int32_t immure_compile_names(struct immure_compile *b)
{
	struct immure_complaint c;
	unsigned char address[16] = { 0 };
	enum immure_host_kind kind;
	unsigned int bits;

	immure_rtnl_setup_default(&b->names, true);
	if (immure_network_parse(range4(b), &kind, address, &bits, &c) < 0 ||
	    kind != IMMURE_HOST_NET4 ||
	    immure_rtnl_range_from(false, address, bits, &b->names.v4) < 0)
		return immure_compile_refuse(b, "network.prefix", "%s: not a range of ours",
					     range4(b));
	return 0;
}

static const char *gateway(struct immure_compile *b)
{
	char text[IMMURE_ADDRESS_TEXT];

	return immure_arena_strdup(b->a, immure_address_print(IMMURE_HOST_NET4, b->names.v4.gateway,
							      text));
}

/* ---- files ---- */

/* Where a file is to stand, so that this name leads to it. NULL: it cannot. */
const char *immure_compile_place(const struct immure_compile *b, const char *path)
{
	const struct immure_fact_path *s = immure_facts_path(b->f, path);
	const char *to;

	if (b->p->view != IMMURE_VIEW_HOST || !s)
		return path;
	if (s->real)
		return s->real;
	/* A link into /run, where what it leads to will be made again. */
	if (!s->link || !s->link_target)
		return NULL;
	to = s->link_target[0] == '/' ? s->link_target :
	     strncmp(s->link_target, "../", 3) == 0 ? s->link_target + 2 : NULL;
	to = to ? immure_path_normalize(b->a, to) : NULL;
	return to && immure_path_is_under(to, "/run") ? to : NULL;
}

static void put(struct immure_compile *b, const char *path, const char *contents, bool optional)
{
	const char *at = immure_compile_place(b, path);
	struct immure_point *pt;

	if (!at || !contents)
		return; /* absent, and for resolv.conf a gap */
	pt = immure_compile_point(b, IMMURE_POINT_TEXT, IMMURE_RANK_OURS, at, "network.mode");
	if (!pt)
		return;
	pt->src = contents;
	pt->mode = 0644;
	pt->file = pt->cover = true;
	pt->optional = optional;
}

/* The proxy has a name, so that programs that were told to use one family find it. */
static const char *hosts(struct immure_compile *b, const char *server)
{
	static const char own[] = "127.0.0.1 localhost immure\n"
				  "::1 localhost ip6-localhost ip6-loopback\n";
	char six[IMMURE_ADDRESS_TEXT];

	if (!b->p->net_proxy)
		return own;
	(void)immure_address_print(IMMURE_HOST_NET6, b->names.v6.gateway, six);
	return immure_arena_printf(b->a, "%s%s " PROXY_NAME "\n%s " PROXY_NAME "\n", own, server, six);
}

void immure_compile_lookup(struct immure_compile *b)
{
	const char *server = is_limited(b) && !b->bare ? gateway(b) : NULL;

	if (!server)
		return;
	put(b, "/etc/resolv.conf",
	    immure_arena_printf(b->a, "nameserver %s\noptions timeout:2 attempts:2\n", server), false);
	/* The host's entries are looked up outside, by whoever dials. */
	put(b, "/etc/hosts", hosts(b, server), true);
	put(b, "/etc/nsswitch.conf", b->p->view == IMMURE_VIEW_HOST ?
	    "passwd: files sss systemd\ngroup: files sss systemd\nshadow: files\n"
	    "hosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n"
	    "ethers: files\nrpc: files\n" :
	    "passwd: files\ngroup: files\nshadow: files\n"
	    "hosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n", true);
}

/* ---- operations ---- */

static int32_t put_nets(struct immure_compile *b, const struct immure_netrule *r, size_t *n)
{
	char text[IMMURE_ADDRESS_TEXT];

	(void)immure_address_print(r->kind, r->address, text);
	for (unsigned int i = 0; i < r->ports_n; i++) {
		struct immure_op *op = immure_compile_op(
			b, IMMURE_OP_EGRESS_NET, immure_arena_printf(b->a, "%s/%u", text, r->prefix),
			NULL, "network.allow");

		if (!op)
			return -IMMURE_ERR_NOMEM;
		op->num[0] = r->ports[i].lo;
		op->num[1] = r->ports[i].hi;
		if (++*n > IMMURE_NETPLUMB_NETS_MAX)
			return immure_compile_refuse(b, "network.allow",
						     "more than %d addresses and networks",
						     IMMURE_NETPLUMB_NETS_MAX);
	}
	return 0;
}

static int32_t put_rule(struct immure_compile *b, enum immure_op_kind kind,
			const struct immure_netrule *r, const char *text, size_t *n)
{
	bool allow = kind == IMMURE_OP_EGRESS_ALLOW;

	if (!immure_compile_op(b, kind, immure_arena_strdup(b->a, text), NULL,
			       allow ? "network.allow" : "network.deny"))
		return -IMMURE_ERR_NOMEM;
	if (allow && (r->kind == IMMURE_HOST_NET4 || r->kind == IMMURE_HOST_NET6))
		return put_nets(b, r, n);
	return 0;
}

static int32_t put_rules(struct immure_compile *b, enum immure_op_kind kind,
			 const struct immure_strv *rules)
{
	struct immure_complaint c = { 0 };
	size_t nets = 0;

	for (size_t i = 0; i < rules->n; i++) {
		struct immure_netrule r, local[2];
		unsigned int local_n;
		int32_t e;

		if (immure_netrule_parse(b->a, rules->v[i], &r, &c) < 0)
			return immure_compile_refuse(b, "network", "%s: %s", rules->v[i], c.text);
		e = put_rule(b, kind, &r, rules->v[i], &nets);
		local_n = immure_netrule_localhost(&r, local); /* denied by all its names too */
		for (unsigned int k = 0; k < local_n && e == 0; k++) {
			const char *text = immure_netrule_print(b->a, &local[k]);

			e = text ? put_rule(b, kind, &local[k], text, &nets) : -IMMURE_ERR_NOMEM;
		}
		if (e < 0)
			return e;
	}
	return 0;
}

static int32_t put_limits(struct immure_compile *b)
{
	const struct immure_policy *p = b->p;
	struct immure_op *op;

	if (p->net_request_body || p->net_response_body) {
		op = immure_compile_op(b, IMMURE_OP_EGRESS_BODIES, NULL, NULL, p->net_request_body ?
				       "network.request_body" : "network.response_body");
		if (!op)
			return -IMMURE_ERR_NOMEM;
		op->num[0] = p->net_request_body;
		op->num[1] = p->net_response_body;
	}
	if (!p->net_idle && !p->net_handshake && p->net_ech)
		return 0;
	op = immure_compile_op(b, IMMURE_OP_EGRESS_LIMITS, NULL, NULL,
			       p->net_idle ? "network.idle_time" :
			       p->net_handshake ? "network.handshake_time" : "network.ech");
	if (!op)
		return -IMMURE_ERR_NOMEM;
	op->num[0] = p->net_idle;
	op->num[1] = p->net_handshake;
	op->num[2] = !p->net_ech;
	return 0;
}

static int32_t put_published(struct immure_compile *b)
{
	for (size_t i = 0; i < b->p->publish.n; i++) {
		struct immure_complaint c = { 0 };
		char text[IMMURE_ADDRESS_TEXT];
		struct immure_publish p;
		struct immure_op *op;

		if (immure_publish_parse(b->p->publish.v[i], &p, &c) < 0)
			return immure_compile_refuse(b, "network.publish", "%s: %s",
						     b->p->publish.v[i], c.text);
		(void)immure_address_print(p.kind, p.address, text);
		op = immure_compile_op(b, IMMURE_OP_PUBLISH, immure_arena_strdup(b->a, text), NULL,
				       "network.publish");
		if (!op)
			return -IMMURE_ERR_NOMEM;
		op->num[0] = p.host_port;
		op->num[1] = p.port;
	}
	return 0;
}

/* How names are caught in a namespace here; NULL: not found out. */
static const char *found_way(const struct immure_compile *b)
{
	return strcmp(b->report->backend, "bwrap") == 0 ? b->f->bwrap_way :
	       strcmp(b->report->backend, "native") == 0 ? b->f->egress_way : NULL;
}

static const char *way(const struct immure_compile *b)
{
	if (b->bare)
		return IMMURE_NETPLUMB_WAY_MADE;
	if (found_way(b))
		return found_way(b);
	return strcmp(b->report->backend, "bwrap") && strcmp(b->report->backend, "native") ? NULL :
	       "names caught by nf_tables, or with a listener for each port: the start finds out";
}

int32_t immure_compile_network(struct immure_compile *b)
{
	struct immure_op *op;
	int32_t r;

	if (!is_limited(b)) {
		enum immure_op_kind none = b->bare ? IMMURE_OP_NET_CLOSED : IMMURE_OP_LOOPBACK;

		if (!immure_compile_op(b, b->netns ? none : IMMURE_OP_NET_HOST, NULL, NULL,
				       "network.mode"))
			return -IMMURE_ERR_NOMEM;
		return b->netns && !b->bare ? put_published(b) : 0;
	}
	op = immure_compile_op(b, IMMURE_OP_EGRESS, immure_arena_strdup(b->a, range4(b)), RANGE6,
			       "network.mode");
	if (!op)
		return -IMMURE_ERR_NOMEM;
	b->plan->way = way(b) ? immure_arena_strdup(b->a, way(b)) : NULL;
	op->num[0] = b->p->net_proxy ? IMMURE_NETPLUMB_PROXY_PORT : 0;
	op->num[1] = b->p->net_private;
	op->num[2] = b->p->net_connections;
	op->num[3] = b->p->net_bandwidth;
	r = put_limits(b);
	if (r == 0)
		r = put_rules(b, IMMURE_OP_EGRESS_ALLOW, &b->p->net_allow);
	if (r == 0)
		r = put_rules(b, IMMURE_OP_EGRESS_DENY, &b->p->net_deny);
	if (r == 0)
		r = immure_compile_intercept(b);
	return r < 0 ? r : put_published(b);
}

/* ---- variables ---- */

static bool names(const char *entry, const char *name)
{
	size_t n = strlen(name);

	return strncmp(entry, name, n) == 0 && entry[n] == '=';
}

void immure_compile_proxy(struct immure_compile *b, const struct immure_strv *env)
{
	enum { HTTPS = 4, NONE = 6 };
	static const char *const proxied[] = { "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy",
					       "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy" };
	const char *server = is_limited(b) && b->p->net_proxy ? gateway(b) : NULL;

	if (!server)
		return;
	if (!b->bare && immure_compile_place(b, "/etc/hosts")) /* where the name is */
		server = PROXY_NAME;
	/* One that the user chose speaks for all of them. */
	for (size_t i = 0; i < env->n; i++)
		for (size_t k = 0; k < sizeof(proxied) / sizeof(proxied[0]); k++)
			if (names(env->v[i], proxied[k]))
				return;
	/* Not for plain HTTP: what programs then say to a proxy is a request, not
	 * CONNECT, and without one they reach what they may all the same. */
	for (size_t k = HTTPS; k < sizeof(proxied) / sizeof(proxied[0]); k++)
		(void)immure_strv_add(
			b->a, &b->plan->env,
			/* A server of the command's own is on its own loopback. */
			k >= NONE ? immure_arena_printf(b->a, "%s=localhost,127.0.0.1,::1", proxied[k]) :
				    immure_arena_printf(b->a, "%s=http://%s:%d", proxied[k], server,
							IMMURE_NETPLUMB_PROXY_PORT));
}

/* ---- gaps ---- */

/* Without nf_tables a listener stands for each address and port. */
static void networks_gap(struct immure_compile *b)
{
	const char *how = found_way(b);
	struct immure_complaint c;
	struct immure_netrule r;

	if (b->bare || !how || immure_netplumb_text_nft(how))
		return;
	for (size_t i = 0; i < b->p->net_allow.n; i++) {
		struct immure_rtnl_net net = { 0 };

		/* One that cannot be read is refused elsewhere. */
		if (immure_netrule_parse(b->a, b->p->net_allow.v[i], &r, &c) < 0 ||
		    (r.kind != IMMURE_HOST_NET4 && r.kind != IMMURE_HOST_NET6))
			continue;
		net.v6 = r.kind == IMMURE_HOST_NET6;
		net.bits = (uint8_t)r.prefix;
		for (unsigned int k = 0; k < r.ports_n; k++) {
			net.lo = r.ports[k].lo;
			net.hi = r.ports[k].hi;
			if (immure_netplumb_listenable(&net))
				continue;
			immure_compile_gap(b, true, "network.allow", "egress_allowlist",
					   immure_arena_printf(b->a, "%s: networks and many ports are caught by "
							       "nf_tables with tproxy, which is not to be had here",
							       b->p->net_allow.v[i]),
					   "name hosts, or single addresses with few ports");
			break;
		}
	}
}

void immure_compile_network_gaps(struct immure_compile *b)
{
	const struct immure_policy *p = b->p;
	/* A namespace on this host, which a plan for another platform does not rest on. */
	bool here = !b->bare && !immure_elsewhere_is(b->report->backend);

	if (b->bare && is_limited(b) && b->f->seccomp_notify == IMMURE_NO)
		immure_compile_gap(b, true, "network.mode", "egress_allowlist",
				   "without a network namespace names can only be reached by sockets that "
				   "the supervisor makes, and it cannot answer for the command here",
				   "immure doctor tells why (seccomp_notify); or network.mode: none");
	if (b->bare && p->network == IMMURE_NETWORK_NONE && p->publish.n)
		immure_compile_gap(b, false, "network.publish", "network_ingress",
				   "without a network namespace a port is published by the supervisor, which "
				   "makes sockets for the command only where names may be reached",
				   "network.mode: limited, which without rules reaches nothing; or another backend");
	/* Where bubblewrap makes the namespace, it is another question (bwrap.c). */
	if (here && is_limited(b) && strcmp(b->report->backend, "bwrap") != 0 &&
	    b->f->egress == IMMURE_NO)
		immure_compile_gap(b, true, "network.mode", "egress_allowlist",
				   "a network from which only names can be reached cannot be made here",
				   "immure doctor tells why and what helps");
	if (here && is_limited(b) && !immure_compile_place(b, "/etc/resolv.conf"))
		immure_compile_gap(b, false, "network.mode", "egress_allowlist",
				   "/etc/resolv.conf is missing, so names could not be looked up inside",
				   "make an empty one");
	if (is_limited(b))
		networks_gap(b);
	if (p->network != IMMURE_NETWORK_HOST)
		return;
	if (p->net_allow.n)
		immure_compile_gap(b, true, "network.allow", "egress_allowlist",
				   "the host's network cannot be limited to the rules given",
				   "network.mode: limited, or take the rules out");
	if (p->net_deny.n)
		immure_compile_gap(b, true, "network.deny", "egress_allowlist",
				   "nothing can be denied on the host's network",
				   "network.mode: limited, or take the rules out");
}
