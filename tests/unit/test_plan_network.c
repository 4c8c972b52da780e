/* SPDX-License-Identifier: Apache-2.0 */
/* What a plan makes of network.*: operations, the files by which names are looked
 * up, variables, and what is a gap. */
#include <stdio.h>
#include <string.h>

#include "plan_host.h"

static size_t count(const struct host *h, enum immure_op_kind kind)
{
	size_t n = 0;

	for (size_t i = 0; i < h->plan->ops_n; i++)
		n += h->plan->ops[i].kind == kind;
	return n;
}

static const struct immure_op *with_src(const struct host *h, enum immure_op_kind kind,
					const char *src)
{
	for (size_t i = 0; i < h->plan->ops_n; i++)
		if (h->plan->ops[i].kind == kind && strcmp(h->plan->ops[i].src, src) == 0)
			return &h->plan->ops[i];
	return NULL;
}

static const struct immure_op *must_src(const struct host *h, enum immure_op_kind kind,
					const char *src)
{
	static const struct immure_op none;
	const struct immure_op *op = with_src(h, kind, src);

	if (!op)
		fail_msg("no %s %s", immure_op_name(kind), src);
	return op ? op : &none;
}

static const char *variable(const struct host *h, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < h->plan->env.n; i++)
		if (strncmp(h->plan->env.v[i], name, n) == 0 && h->plan->env.v[i][n] == '=')
			return h->plan->env.v[i] + n + 1;
	return NULL;
}

static void resolver(struct host *h)
{
	host_has(h, "/etc", 'd');
	host_has(h, "/etc/resolv.conf", 'f');
	host_has(h, "/etc/hosts", 'f');
	host_has(h, "/etc/nsswitch.conf", 'f');
}

static void one_network(void **state)
{
	static const struct { const char *mode; enum immure_op_kind kind; } modes[] = {
		{ "network.mode=none", IMMURE_OP_LOOPBACK },
		{ "network.mode=limited", IMMURE_OP_EGRESS },
		{ "network.mode=host", IMMURE_OP_NET_HOST },
	};
	struct host *h = *state;

	resolver(h);
	for (size_t i = 0; i < 3; i++) {
		host_must(h, "dev", modes[i].mode, NULL);
		assert_int_equal(count(h, IMMURE_OP_LOOPBACK) + count(h, IMMURE_OP_EGRESS) +
					 count(h, IMMURE_OP_NET_HOST), 1);
		assert_int_equal(count(h, modes[i].kind), 1);
		assert_int_equal(immure_plan_startable(h->plan, NULL), 0);
	}
}

static void rules(void **state)
{
	struct host *h = *state;
	const struct immure_op *op;

	resolver(h);
	host_must(h, "dev", "network.mode=limited", "+network.allow=PyPI.org", "+network.allow=*.a.example:22",
		  "+network.allow=192.0.2.0/24", "+network.allow=[2001:db8::1]:443",
		  "+network.allow=localhost:5432", "+network.deny=10.0.0.0/8",
		  "network.private=true", "network.connections=9", "network.bandwidth=1M", NULL);
	assert_non_null(with_src(h, IMMURE_OP_EGRESS_ALLOW, "pypi.org"));
	assert_non_null(with_src(h, IMMURE_OP_EGRESS_ALLOW, "*.a.example:22"));
	/* by address: a default of two ports is two ranges */
	assert_int_equal(count(h, IMMURE_OP_EGRESS_NET), 5);
	op = must_src(h, IMMURE_OP_EGRESS_NET, "192.0.2.0/24");
	assert_int_equal(op->num[0], op->num[1]);
	op = must_src(h, IMMURE_OP_EGRESS_NET, "2001:db8::1/128");
	assert_int_equal(op->num[0], 443);
	/* a name that nobody is asked for */
	assert_non_null(with_src(h, IMMURE_OP_EGRESS_ALLOW, "127.0.0.1:5432"));
	assert_non_null(with_src(h, IMMURE_OP_EGRESS_ALLOW, "[::1]:5432"));
	assert_non_null(with_src(h, IMMURE_OP_EGRESS_NET, "127.0.0.1/32"));
	/* a denial needs no way to what it denies */
	assert_non_null(with_src(h, IMMURE_OP_EGRESS_DENY, "10.0.0.0/8"));
	assert_null(with_src(h, IMMURE_OP_EGRESS_NET, "10.0.0.0/8"));
	op = immure_plan_find(h->plan, IMMURE_OP_EGRESS);
	assert_int_equal(op->num[1], 1);
	assert_int_equal(op->num[2], 9);
	assert_int_equal(op->num[3], 1 << 20);
	assert_null(immure_plan_find(h->plan, IMMURE_OP_EGRESS_LIMITS));
	host_must(h, "dev", "network.mode=limited", "network.idle_time=90s",
		  "network.handshake_time=3s", "network.ech=false", NULL);
	op = immure_plan_find(h->plan, IMMURE_OP_EGRESS_LIMITS);
	assert_non_null(op);
	assert_null(immure_plan_find(h->plan, IMMURE_OP_EGRESS_BODIES));
	assert_int_equal(op->num[0], 90000);
	assert_int_equal(op->num[1], 3000);
	assert_int_equal(op->num[2], 1);
	host_must(h, "dev", "network.mode=limited", "network.request_body=1K", "network.response_body=2M", NULL);
	op = immure_plan_find(h->plan, IMMURE_OP_EGRESS_BODIES);
	assert_non_null(op);
	assert_int_equal(op->num[0], 1024);
	assert_int_equal(op->num[1], 2 << 20);
}

static void covered(const struct host *h, const char *path, const char *contains)
{
	const struct immure_op *op = host_at(h, path, IMMURE_OP_FILE);

	if (!op)
		fail_msg("%s is not of ours", path);
	assert_non_null(strstr(op->src, contains));
}

static void names_are_looked_up_at_ours(void **state)
{
	struct host *h = *state;
	const struct immure_op *op;

	resolver(h);
	host_must(h, "dev", "network.mode=limited", "network.prefix=10.64.0.0/16", NULL);
	covered(h, "/etc/resolv.conf", "nameserver 10.64.0.1\n");
	covered(h, "/etc/hosts", "127.0.0.1 localhost");
	covered(h, "/etc/nsswitch.conf", "hosts: files dns\n");
	op = host_at(h, "/etc/resolv.conf", IMMURE_OP_FILE);
	assert_true(op->flags & IMMURE_OPF_COVER);
	/* without it nothing would be looked up, so a policy cannot show the host's */
	assert_false(op->flags & IMMURE_OPF_OPTIONAL);
	host_must(h, "dev", "network.mode=limited", "+files.read=/etc/resolv.conf", NULL);
	covered(h, "/etc/resolv.conf", "198.18.0.1");
	host_must(h, "strict", "network.mode=limited", NULL);
	covered(h, "/etc/resolv.conf", "198.18.0.1");
	assert_false(host_at(h, "/etc/resolv.conf", IMMURE_OP_FILE)->flags & IMMURE_OPF_COVER);
	host_must(h, "strict", "network.mode=limited", "+files.read=/etc", NULL);
	covered(h, "/etc/resolv.conf", "198.18.0.1");
	assert_true(host_at(h, "/etc/resolv.conf", IMMURE_OP_FILE)->flags & IMMURE_OPF_COVER);
	host_must(h, "dev", NULL);
	assert_null(host_at(h, "/etc/resolv.conf", IMMURE_OP_FILE));
}

static void links(void **state)
{
	struct host *h = *state;

	host_has(h, "/etc", 'd');
	host_has(h, "/run/systemd/resolve/stub-resolv.conf", 'f');
	host_link(h, "/etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf",
		  "/run/systemd/resolve/stub-resolv.conf", 'f');
	host_must(h, "dev", "network.mode=limited", NULL);
	covered(h, "/run/systemd/resolve/stub-resolv.conf", "198.18.0.1");
	assert_int_equal(immure_plan_startable(h->plan, NULL), 0);
}

static void dangling_link(void **state)
{
	struct host *h = *state;

	host_has(h, "/etc", 'd');
	host_link(h, "/etc/resolv.conf", "/run/resolvconf/resolv.conf", NULL, 0);
	host_must(h, "dev", "network.mode=limited", NULL);
	covered(h, "/run/resolvconf/resolv.conf", "198.18.0.1");
	assert_int_equal(immure_plan_startable(h->plan, NULL), 0);
}

static void stray_link(void **state)
{
	struct host *h = *state;

	host_has(h, "/etc", 'd');
	host_link(h, "/etc/resolv.conf", "/nowhere/resolv.conf", NULL, 0);
	host_must(h, "dev", "network.mode=limited", NULL);
	assert_non_null(host_gap(h, "egress_allowlist"));
	assert_int_equal(immure_plan_startable(h->plan, NULL), -IMMURE_ERR_GAP);
}

static void proxy_variables(void **state)
{
	static const char *const all[] = { "HTTPS_PROXY", "https_proxy" };
	static const char *const none[] = { "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy" };
	struct host *h = *state;

	resolver(h);
	host_must(h, "dev", "network.mode=limited", NULL);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		assert_string_equal(variable(h, all[i]), "http://proxy.immure:3128");
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		assert_null(variable(h, none[i])); /* it is told CONNECT, not requests */
	assert_string_equal(variable(h, "NO_PROXY"), "localhost,127.0.0.1,::1");
	assert_int_equal(immure_plan_find(h->plan, IMMURE_OP_EGRESS)->num[0], 3128);
	host_must(h, "dev", "network.mode=limited", "network.proxy=false", NULL);
	assert_null(variable(h, "HTTPS_PROXY"));
	assert_null(variable(h, "NO_PROXY"));
	assert_int_equal(immure_plan_find(h->plan, IMMURE_OP_EGRESS)->num[0], 0);
	/* the user's own word stands, and is not mixed with ours */
	host_must(h, "dev", "network.mode=limited", "+environment.set=https_proxy=http://x:1", NULL);
	assert_string_equal(variable(h, "https_proxy"), "http://x:1");
	assert_null(variable(h, "HTTPS_PROXY"));
	host_must(h, "dev", NULL);
	assert_null(variable(h, "HTTPS_PROXY"));
}

static void published(void **state)
{
	struct host *h = *state;
	const struct immure_op *op;

	host_must(h, "dev", "+network.publish=8080", "+network.publish=[::1]:9000:80", NULL);
	assert_int_equal(count(h, IMMURE_OP_PUBLISH), 2);
	assert_int_equal(count(h, IMMURE_OP_LOOPBACK), 1);
	op = must_src(h, IMMURE_OP_PUBLISH, "127.0.0.1");
	assert_int_equal(op->num[0], 8080);
	assert_int_equal(op->num[1], 8080);
	op = must_src(h, IMMURE_OP_PUBLISH, "::1");
	assert_int_equal(op->num[0], 9000);
	assert_int_equal(op->num[1], 80);
	assert_int_equal(immure_plan_startable(h->plan, NULL), 0);
	/* the host's own network needs no publishing */
	host_must(h, "dev", "network.mode=host", "+network.publish=8080", NULL);
	assert_int_equal(count(h, IMMURE_OP_PUBLISH), 0);
}

static void what_nobody_can_judge(void **state)
{
	static const char *const cases[] = {
		"+network.allow=https://a.example/x", "+network.allow=GET https://a.example",
		"+network.allow=GET a.example/x", "+network.deny=https://a.example/x",
	};
	struct host *h = *state;

	resolver(h);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		host_must(h, "dev", "network.mode=limited", cases[i], NULL);
		assert_non_null(host_gap(h, "egress_allowlist"));
		assert_int_equal(immure_plan_startable(h->plan, NULL), -IMMURE_ERR_GAP);
	}
	/* approved: the rule stays, and the judge makes nothing of it but a denial */
	host_must(h, "dev", "network.mode=limited", cases[0], "require.downgrade=egress_allowlist",
		  NULL);
	assert_int_equal(immure_plan_startable(h->plan, NULL), 0);
	assert_int_equal(count(h, IMMURE_OP_EGRESS_ALLOW), 1);
	host_must(h, "dev", "network.mode=limited", "+network.allow=https://a.example:443",
		  "+network.allow=GET http://a.example/x*", "+network.deny=http://a.example/x/y", NULL);
	assert_int_equal(immure_plan_startable(h->plan, NULL), 0);
}

/* As far as it was found out; what one start finds is its own affair, so the hash is the same. */
static void the_way_that_applies(void **state)
{
	static const char lists[] = "names with a listener for each port: no nf_tables with tproxy, IPv4",
			  caught[] = "names caught by nf_tables, IPv4";
	struct host *h = *state;
	char hash[65];

	resolver(h);
	host_must(h, "dev", "network.mode=limited", "+network.allow=10.0.0.0/8:80", NULL);
	assert_non_null(strstr(h->plan->way, "the start finds out"));
	(void)snprintf(hash, sizeof(hash), "%s", immure_plan_hash_of(h->plan));
	h->facts.egress_way = caught;
	host_must(h, "dev", "network.mode=limited", "+network.allow=10.0.0.0/8:80", NULL);
	assert_string_equal(h->plan->way, caught);
	assert_string_equal(hash, immure_plan_hash_of(h->plan));
	h->facts.egress_way = lists;
	host_must(h, "dev", "network.mode=limited", "+network.allow=10.0.0.1:80", "+network.allow=a.example", NULL);
	assert_string_equal(h->plan->way, lists);
	assert_int_equal(immure_plan_startable(h->plan, NULL), 0);
	for (int i = 0; i < 2; i++) {
		host_must(h, "dev", "network.mode=limited",
			  i ? "+network.allow=[2001:db8::1]:1-65535" : "+network.allow=10.0.0.0/8:80", NULL);
		assert_non_null(strstr(host_gap(h, "egress_allowlist")->what, "nf_tables"));
		assert_int_equal(immure_plan_startable(h->plan, NULL), -IMMURE_ERR_GAP);
	}
	host_must(h, "dev", "network.mode=none", NULL);
	assert_null(h->plan->way);
}

static void many(struct immure_policy *p)
{
	for (int i = 0; i < 1025; i++)
		(void)immure_strv_add(&p->arena, &p->net_allow,
				      immure_arena_printf(&p->arena, "10.%d.%d.1:80", i / 200, i % 200));
}

static void too_many_networks(void **state)
{
	struct host *h = *state;

	resolver(h);
	h->change = many;
	host_refuses(h, IMMURE_ERR_POLICY, "addresses and networks", "dev", "network.mode=limited", NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_network, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(rules, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(names_are_looked_up_at_ours, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(links, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(dangling_link, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(stray_link, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(proxy_variables, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(published, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(what_nobody_can_judge, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(the_way_that_applies, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(too_many_networks, host_setup, host_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
