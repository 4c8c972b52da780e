/* SPDX-License-Identifier: Apache-2.0 */
/* The judge of the proof, given honest, broken and hostile reports. The
 * attacker's tables are linked in as well, to be compared with the judge's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <netinet/in.h>

#include <cmocka.h>

#include "evidence/attack/attack.h"
#include "evidence/bait.h"
#include "evidence/points.h"
#include "evidence/proof.h"
#include "evidence/records.h"
#include "evidence/targets.h"
#include "plan/plan.h"

static const struct attack_list *const lists[] = {
	&attack_controls, &attack_files, &attack_secrets, &attack_network, &attack_ipc,
	&attack_processes, &attack_syscalls, &attack_privileges, &attack_devices,
	&attack_resources, &attack_kernel, &attack_egress, &attack_values,
};

static struct immure_op ops[] = {
	{ .kind = IMMURE_OP_NAMESPACES, .num = { 0x7e020000 }, .key = "(always)" },
	{ .kind = IMMURE_OP_IDMAP, .num = { 1000, 1000, 1000, 1000 }, .key = "identity" },
	{ .kind = IMMURE_OP_RLIMIT, .src = "nofile", .num = { 1024 }, .key = "limits.open_files" },
	{ .kind = IMMURE_OP_CGROUP_PIDS, .num = { 64 }, .key = "limits.processes" },
	{ .kind = IMMURE_OP_ROOT_HOST, .dst = "/", .key = "files.view" },
	{ .kind = IMMURE_OP_TMPFS, .dst = "/tmp", .num = { 1 << 20 }, .key = "files.tmp" },
	{ .kind = IMMURE_OP_TMPFS, .dst = "/run", .flags = IMMURE_OPF_RO, .key = "files" },
	{ .kind = IMMURE_OP_BIND, .src = "/home/u/w", .dst = "/home/u/w", .key = "workspace" },
	{ .kind = IMMURE_OP_READONLY, .dst = "/home/u/w/.git/hooks", .key = "files.protect" },
	{ .kind = IMMURE_OP_MASK, .dst = "/home/u/.ssh", .key = "files.deny" },
	{ .kind = IMMURE_OP_MASK, .dst = "/home/u/a\nb", .key = "files.deny" },
	{ .kind = IMMURE_OP_MASK, .dst = "/tmp/hidden-by-tmpfs", .key = "files.deny" },
	{ .kind = IMMURE_OP_EGRESS, .src = "198.18.0.0/15", .dst = "fd53:6e62::/64",
	  .num = { 3128 }, .key = "network.mode" },
	{ .kind = IMMURE_OP_EGRESS_ALLOW, .src = "one.example:443", .key = "network.allow" },
	{ .kind = IMMURE_OP_EGRESS_ALLOW, .src = "all.example:1-65535", .key = "network.allow" },
	{ .kind = IMMURE_OP_EGRESS_ALLOW, .src = "*.wild.example:443", .key = "network.allow" },
	{ .kind = IMMURE_OP_EGRESS_ALLOW, .src = "not.example:443", .key = "network.allow" },
	{ .kind = IMMURE_OP_EGRESS_ALLOW, .src = "192.0.2.1:443", .key = "network.allow" },
	{ .kind = IMMURE_OP_EGRESS_DENY, .src = "not.example", .key = "network.deny" },
	{ .kind = IMMURE_OP_SECCOMP, .src = "default", .key = "syscalls" },
};
#define OPS_N (sizeof(ops) / sizeof(ops[0]))

static struct immure_plan make_plan(void)
{
	static const char *env[] = { "HOME=/home/u", "PATH=/bin" };
	struct immure_plan p = { .backend = "native", .policy_version = "policy-1",
				 .workspace = "/home/u/w", .cwd = "/home/u/w", .ops = ops,
				 .ops_n = OPS_N };

	for (size_t i = 0; i < OPS_N; i++) {
		if (!ops[i].src)
			ops[i].src = "";
		if (!ops[i].dst)
			ops[i].dst = "";
	}
	p.env.v = env;
	p.env.n = 2;
	return p;
}

static struct immure_bait make_bait(void)
{
	struct immure_bait b = IMMURE_BAIT_INIT;

	for (int i = 0; i < IMMURE_BAIT_MAX; i++)
		b.fd[i] = 1000; /* only looked at */
	b.pid = 4711;
	b.start_time = 99;
	b.unix_path = "/run/x/bait";
	for (int i = 0; i < IMMURE_BAIT_NS_MAX; i++)
		b.ns[i] = 4026531836U + (unsigned int)i;
	return b;
}

/* An errno or outcome with which the point holds. */
static void good_answer(struct immure_buf *b, const struct immure_point *p)
{
	static const struct { uint32_t bit; int errnum; } pick[] = {
		{ IMMURE_SEEN_FACT, 0 }, { IMMURE_SEEN_ACCES, EACCES }, { IMMURE_SEEN_PERM, EPERM },
		{ IMMURE_SEEN_NOSYS, ENOSYS }, { IMMURE_SEEN_ROFS, EROFS },
		{ IMMURE_SEEN_NOENT, ENOENT }, { IMMURE_SEEN_INVAL, EINVAL },
		{ IMMURE_SEEN_MFILE, EMFILE }, { IMMURE_SEEN_FBIG, EFBIG },
		{ IMMURE_SEEN_NOMEM, ENOMEM }, { IMMURE_SEEN_AGAIN, EAGAIN },
		{ IMMURE_SEEN_REFUSED, ECONNREFUSED },
	};

	if (p->accept & IMMURE_SEEN_DONE) {
		immure_buf_printf(b, "%s done 900 - fine\n", p->id);
		return;
	}
	for (size_t i = 0; i < sizeof(pick) / sizeof(pick[0]); i++) {
		if (p->accept & pick[i].bit) {
			immure_buf_printf(b, "%s denied 900 %d refused\n", p->id, pick[i].errnum);
			return;
		}
	}
	fail_msg("%s: no answer would do", p->id);
}

/* A report in which everything holds; line of `id` is replaced when given
 * (NULL replacement: left out). */
static void report(struct immure_buf *b, const char *id, const char *replacement)
{
	size_t n = 0;

	immure_buf_puts(b, "immure-attack 1\n");
	for (size_t i = 0; i < immure_points_n; i++) {
		if (id && strcmp(immure_points[i].id, id) == 0) {
			if (!replacement)
				continue;
			immure_buf_printf(b, "%s %s\n", id, replacement);
		} else {
			good_answer(b, &immure_points[i]);
		}
		n++;
	}
	immure_buf_printf(b, "end %zu\n", n);
}

static struct immure_proof *judge_with(const struct immure_bait *bait, const void *text, size_t len,
				       struct immure_attack_exit how)
{
	struct immure_plan plan = make_plan();
	struct immure_proof *proof = NULL;

	assert_int_equal(immure_proof_evaluate(&plan, bait, text, len, &how, &proof, NULL), 0);
	assert_non_null(proof);
	assert_int_equal(proof->n, immure_points_n + 1);
	assert_int_equal(proof->held + proof->fell_short + proof->not_applicable, proof->n);
	return proof;
}

static struct immure_proof *judge(const void *text, size_t len)
{
	struct immure_bait bait = make_bait();

	return judge_with(&bait, text, len, (struct immure_attack_exit){ 0 });
}

static const struct immure_proof_point *point(const struct immure_proof *p, const char *id)
{
	for (size_t i = 0; i < p->n; i++)
		if (strcmp(p->points[i].id, id) == 0)
			return &p->points[i];
	fail_msg("no point %s", id);
	return NULL;
}

static void tables_agree(void **state)
{
	size_t n = 0;

	(void)state;
	for (size_t l = 0; l < sizeof(lists) / sizeof(lists[0]); l++) {
		for (size_t i = 0; i < lists[l]->n; i++, n++) {
			size_t found = 0;

			for (size_t k = 0; k < immure_points_n; k++)
				found += strcmp(immure_points[k].id, lists[l]->v[i].id) == 0;
			if (found != 1)
				fail_msg("%s: in %zu rows of the judge's table", lists[l]->v[i].id,
					 found);
		}
	}
	assert_int_equal(n, immure_points_n);
	assert_true(n < IMMURE_RECORDS_MAX);
	assert_true(n >= 55);
}

static void dimensions_are_known(void **state)
{
	static const char *const known[] = {
		"control", "file_write", "file_read", "secret_read", "network_egress",
		"network_ingress", "ipc", "process_visibility", "signals", "syscalls",
		"privileges", "devices", "resources", "kernel_surface",
	};

	(void)state;
	for (size_t i = 0; i < immure_points_n; i++) {
		size_t len = strcspn(immure_points[i].id, "."), k;

		for (k = 0; k < sizeof(known) / sizeof(known[0]); k++)
			if (strlen(known[k]) == len && !strncmp(known[k], immure_points[i].id, len))
				break;
		if (k == sizeof(known) / sizeof(known[0]))
			fail_msg("%s: no such dimension", immure_points[i].id);
		/* A control accepts success and nothing else does. */
		assert_int_equal(!!(immure_points[i].accept & IMMURE_SEEN_DONE),
				 !strncmp(immure_points[i].id, "control.", 8));
		assert_int_not_equal(immure_points[i].accept, 0);
	}
}

static void all_holds(void **state)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_proof *p;

	(void)state;
	report(&b, NULL, NULL);
	p = judge(b.data, b.len);
	assert_int_equal(p->fell_short, 0);
	assert_true(p->held > 90);
	assert_true(immure_proof_holds(p));
	assert_string_equal(p->trouble, "");
	assert_non_null(strstr(point(p, "secret_read.masked-read")->asked, "[files.deny]"));
	immure_proof_free(p);
	immure_buf_done(&b);
}

/* Each point in turn: succeeded, refused oddly, missing. None may hold. */
static void each_point_can_fall_short(void **state)
{
	static const char *const bad[] = { "done 900 - did it", "denied 900 12345 odd",
					   "denied 900 - no reason", "error 0 - fork",
					   "unsupported 0 - nothing here", "hung 1 14 slow",
					   "silent 0 -  ", "killed 1 9 killed", "denied 900 1,77 two",
					   NULL };

	(void)state;
	for (size_t i = 0; i < immure_points_n; i++) {
		const struct immure_point *q = &immure_points[i];

		for (size_t k = 0; k < sizeof(bad) / sizeof(bad[0]); k++) {
			struct immure_buf b = IMMURE_BUF_INIT;
			struct immure_proof *p;

			report(&b, q->id, k == 0 && (q->accept & IMMURE_SEEN_DONE)
						  ? "denied 900 13 no" : bad[k]);
			p = judge(b.data, b.len);
			if (point(p, q->id)->verdict == IMMURE_PROOF_HELD)
				fail_msg("%s holds with \"%s\"", q->id, bad[k] ? bad[k] : "(none)");
			if (point(p, q->id)->verdict == IMMURE_PROOF_SHORT) {
				assert_false(immure_proof_holds(p));
				assert_string_not_equal(point(p, q->id)->reason, "");
			}
			immure_proof_free(p);
			immure_buf_done(&b);
		}
	}
}

static void untried_targets(void **state)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_proof *p;

	(void)state;
	report(&b, "secret_read.masked-read", "denied 1 13 only one of two");
	p = judge(b.data, b.len);
	assert_int_equal(point(p, "secret_read.masked-read")->verdict, IMMURE_PROOF_SHORT);
	assert_string_equal(point(p, "secret_read.masked-read")->reason, "not every target was tried");
	immure_proof_free(p);
	immure_buf_done(&b);
}

/* What a rule lets through is no target; names that rules name are. */
static void targets_of_the_gate(void **state)
{
	struct immure_bait bait = make_bait();
	struct immure_plan plan = make_plan();
	struct immure_buf b = IMMURE_BUF_INIT;

	(void)state;
	immure_targets_write(&plan, &bait, &b);
	assert_true(immure_buf_ok(&b));
	assert_non_null(strstr(b.data, "\nallowed one.example 443\n"));
	assert_non_null(strstr(b.data, "\nclosed one.example 1\n"));
	assert_non_null(strstr(b.data, "\nallowed all.example 1\n"));
	assert_null(strstr(b.data, "closed all.example"));
	assert_null(strstr(b.data, "not.example"));
	assert_null(strstr(b.data, "wild.example"));
	assert_null(strstr(b.data, "literal4 192.0.2.1 443"));
	assert_non_null(strstr(b.data, "\nliteral4 192.0.2.1 80\n"));
	assert_null(strstr(b.data, "mapped ::ffff:192.0.2.1 443"));
	assert_non_null(strstr(b.data, "\nresolver 198.18.0.1\n"));
	assert_non_null(strstr(b.data, "\nproxy 198.18.0.1 3128\n"));
	assert_non_null(strstr(b.data, "\nproxy-to 127.0.0.1:80\n"));
	assert_null(strstr(b.data, "proxy-to 192.0.2.1:443"));
	assert_null(strstr(b.data, "proxy-to [::ffff:192.0.2.1]:443"));
	assert_non_null(strstr(b.data, "\nunknown-address 198.19.255.254 443\n"));
	immure_buf_done(&b);
}

/* A mask that looks absent is not a mask. */
static void absent_is_not_denied(void **state)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_proof *p;

	(void)state;
	report(&b, "secret_read.masked-read", "denied 2 2 not there");
	p = judge(b.data, b.len);
	assert_int_equal(point(p, "secret_read.masked-read")->verdict, IMMURE_PROOF_SHORT);
	immure_proof_free(p);
	immure_buf_done(&b);
}

static void expect_trouble(const char *text, size_t len, struct immure_attack_exit how,
			   const char *why)
{
	struct immure_bait bait = make_bait();
	struct immure_proof *p = judge_with(&bait, text, len, how);

	assert_false(immure_proof_holds(p));
	assert_int_equal(point(p, "control.report")->verdict, IMMURE_PROOF_SHORT);
	if (!strstr(p->trouble, why))
		fail_msg("trouble is \"%s\", not \"%s\"", p->trouble, why);
	immure_proof_free(p);
}

static void attacker_that_ended_badly(void **state)
{
	struct immure_buf b = IMMURE_BUF_INIT;

	(void)state;
	report(&b, NULL, NULL);
	expect_trouble(b.data, b.len, (struct immure_attack_exit){ .code = 3 }, "outside");
	expect_trouble(b.data, b.len, (struct immure_attack_exit){ .code = 1 }, "ended with 1");
	expect_trouble(b.data, b.len, (struct immure_attack_exit){ .code = -1, .signo = 9 },
		       "signal 9");
	expect_trouble(b.data, b.len, (struct immure_attack_exit){ .timed_out = true }, "in time");
	immure_buf_done(&b);
}

static void truncated(void **state)
{
	struct immure_buf b = IMMURE_BUF_INIT;

	(void)state;
	report(&b, NULL, NULL);
	for (size_t len = 0; len < b.len; len += 13) {
		struct immure_proof *p = judge(b.data, len);

		assert_false(immure_proof_holds(p));
		assert_int_equal(point(p, "control.report")->verdict, IMMURE_PROOF_SHORT);
		immure_proof_free(p);
	}
	immure_buf_done(&b);
}

static void hostile(void **state)
{
	static const struct { const char *text; const char *why; } cases[] = {
		{ "", "nothing" },
		{ "\n", "no beginning" },
		{ "immure-attack 2\nend 0\n", "no beginning" },
		{ "immure-attack 1\n", "no end" },
		{ "immure-attack 1\nend 1\n", "does not fit" },
		{ "immure-attack 1\nend 0\nmore\n", "does not fit" },
		{ "immure-attack 1\nend -1\n", "does not fit" },
		{ "immure-attack 1\nend 99999999999999999999\n", "does not fit" },
		{ "immure-attack 1\nend \n", "does not fit" },
		{ "immure-attack 1\n\nend 0\n", "not a record" },
		{ "immure-attack 1\nfile_write.root\nend 1\n", "not a record" },
		{ "immure-attack 1\nfile_write.root denied\nend 1\n", "not a record" },
		{ "immure-attack 1\nfile_write.root denied 1 13\nend 1\n", "not a record" },
		{ "immure-attack 1\nfile_write.root held 1 13 x\nend 1\n", "not a record" },
		{ "immure-attack 1\nfile_write.root denied -1 13 x\nend 1\n", "not a record" },
		{ "immure-attack 1\nfile_write.root denied 1 1,,2 x\nend 1\n", "not a record" },
		{ "immure-attack 1\nfile_write.root denied 1 1,2,3,4,5,6,7 x\nend 1\n",
		  "not a record" },
		{ "immure-attack 1\nfile_write.root denied 9999999999 13 x\nend 1\n",
		  "not a record" },
		{ "immure-attack 1\n file_write.root denied 1 13 x\nend 1\n", "not a record" },
		{ "immure-attack 1\nnobody.asked denied 1 13 x\nend 1\n", "nobody asked" },
		{ "immure-attack 1\nfile_write.root denied 1 13 \033]0;x\007\nend 1\n", "not text" },
		{ "immure-attack 1\nend 0", "middle" },
	};
	char *big = malloc(IMMURE_PROOF_RECORDS_MAX + 1);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		expect_trouble(cases[i].text, strlen(cases[i].text),
			       (struct immure_attack_exit){ 0 }, cases[i].why);
	expect_trouble("immure-attack 1\nx\0y\nend 1\n", 26, (struct immure_attack_exit){ 0 },
		       "not text");
	assert_non_null(big);
	memset(big, 'a', IMMURE_PROOF_RECORDS_MAX + 1);
	expect_trouble(big, IMMURE_PROOF_RECORDS_MAX + 1, (struct immure_attack_exit){ 0 },
		       "too long");
	free(big);
}

static void reported_twice(void **state)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_proof *p;

	(void)state;
	immure_buf_puts(&b, "immure-attack 1\nfile_write.root denied 1 30 x\n"
			    "file_write.root denied 1 30 x\nend 2\n");
	p = judge(b.data, b.len);
	assert_int_equal(point(p, "file_write.root")->verdict, IMMURE_PROOF_SHORT);
	assert_string_equal(point(p, "file_write.root")->reason, "reported more than once");
	immure_proof_free(p);
	immure_buf_done(&b);
}

static void too_many_records(void **state)
{
	struct immure_buf b = IMMURE_BUF_INIT;

	(void)state;
	immure_buf_puts(&b, "immure-attack 1\n");
	for (int i = 0; i < IMMURE_RECORDS_MAX + 1; i++)
		immure_buf_puts(&b, "a.b denied 1 13 x\n");
	immure_buf_printf(&b, "end %d\n", IMMURE_RECORDS_MAX + 1);
	expect_trouble(b.data, b.len, (struct immure_attack_exit){ 0 }, "not a record");
	immure_buf_done(&b);
}

/* Whatever the attacker says, a visitor at the bait tells otherwise. */
static void touched_bait(void **state)
{
	struct immure_bait bait = make_bait();
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_proof *p;

	(void)state;
	report(&b, NULL, NULL);
	bait.touched = 1U << IMMURE_BAIT_UDP4;
	p = judge_with(&bait, b.data, b.len, (struct immure_attack_exit){ 0 });
	assert_int_equal(p->fell_short, 1);
	assert_int_equal(point(p, "network_egress.udp4-host")->verdict, IMMURE_PROOF_SHORT);
	immure_proof_free(p);
	immure_buf_done(&b);
}

/* What the plan does not ask for is not counted as held. */
static void not_asked(void **state)
{
	struct immure_op host = { .kind = IMMURE_OP_NET_HOST, .src = "", .dst = "",
				  .key = "network.mode" };
	struct immure_plan plan = make_plan();
	struct immure_bait bait = make_bait();
	struct immure_attack_exit how = { 0 };
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_proof *p = NULL;

	(void)state;
	report(&b, NULL, NULL);
	plan.ops = &host;
	plan.ops_n = 1;
	assert_int_equal(immure_proof_evaluate(&plan, &bait, b.data, b.len, &how, &p, NULL), 0);
	assert_int_equal(point(p, "network_egress.route4")->verdict, IMMURE_PROOF_NOT_APPLICABLE);
	assert_int_equal(point(p, "network_egress.tcp4-host")->verdict, IMMURE_PROOF_NOT_APPLICABLE);
	assert_int_equal(point(p, "ipc.abstract-socket")->verdict, IMMURE_PROOF_NOT_APPLICABLE);
	assert_int_equal(point(p, "secret_read.masked-read")->verdict, IMMURE_PROOF_NOT_APPLICABLE);
	assert_int_equal(point(p, "syscalls.bpf")->verdict, IMMURE_PROOF_HELD);
	immure_proof_free(p);
	immure_buf_done(&b);
}

static void targets_of_a_plan(void **state)
{
	struct immure_plan plan = make_plan();
	struct immure_bait bait = make_bait();
	struct immure_buf b = IMMURE_BUF_INIT;
	uint64_t v = 0;

	(void)state;
	assert_int_equal(immure_proof_targets(&plan, &bait, &b, NULL), 0);
	assert_non_null(strstr(b.data, "mask /home/u/.ssh\n"));
	assert_non_null(strstr(b.data, "mask /home/u/a\\x0ab\n"));
	assert_int_equal(immure_targets_count(b.data, "mask"), 3);
	assert_non_null(strstr(b.data, "protect /home/u/w/.git/hooks\n"));
	assert_non_null(strstr(b.data, "workspace-rw /home/u/w\n"));
	assert_non_null(strstr(b.data, "tmp /tmp\n"));
	assert_non_null(strstr(b.data, "write-outside /home/u\n"));
	assert_non_null(strstr(b.data, "host-pid 4711 99\n"));
	assert_non_null(strstr(b.data, "disk 1048576 /tmp\n"));
	assert_int_equal(immure_targets_number(b.data, "processes"), 64);
	assert_true(immure_targets_rlimit(b.data, "nofile", &v));
	assert_int_equal(v, 1024);
	assert_false(immure_targets_rlimit(b.data, "as", &v));
	immure_buf_done(&b);
}

/* Thousands of masks: still within what fits into a pipe. */
static void targets_stay_bounded(void **state)
{
	struct immure_plan plan = make_plan();
	struct immure_bait bait = make_bait();
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_op *many = calloc(5000, sizeof(*many));
	char *name = calloc(1, 400);

	(void)state;
	assert_non_null(many);
	assert_non_null(name);
	memset(name, 'x', 300);
	name[0] = '/';
	for (size_t i = 0; i < 5000; i++)
		many[i] = (struct immure_op){ .kind = IMMURE_OP_MASK, .src = "", .dst = name };
	/* Only the last of the same name decides. */
	plan.ops = many;
	plan.ops_n = 5000;
	assert_int_equal(immure_proof_targets(&plan, &bait, &b, NULL), 0);
	assert_int_equal(immure_targets_count(b.data, "mask"), 1);
	assert_true(b.len <= IMMURE_PROOF_TARGETS_MAX);
	immure_buf_done(&b);
	free(name);
	free(many);
}

static void connect_to(int family, uint16_t port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(port),
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(family, SOCK_STREAM, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(close(fd), 0);
}

static void real_bait(void **state)
{
	static const char *const env[] = { "A=1", "SECRET=x", "broken", NULL };
	struct immure_bait b;

	(void)state;
	assert_int_equal(immure_bait_prepare(&b, NULL, env), 0);
	assert_int_equal(b.env.n, 2);
	assert_int_equal(b.pid, getpid());
	assert_int_not_equal(b.start_time, 0);
	immure_bait_check(&b);
	assert_int_equal(b.touched, 0);
	if (b.fd[IMMURE_BAIT_TCP4] >= 0) {
		connect_to(AF_INET, b.port[IMMURE_BAIT_TCP4]);
		immure_bait_check(&b);
		assert_int_equal(b.touched, 1U << IMMURE_BAIT_TCP4);
	}
	immure_bait_done(&b);
	assert_int_equal(b.fd[IMMURE_BAIT_TCP4], -1);
}

static void bait_leaves_nothing(void **state)
{
	char dir[] = "/tmp/immure-test-XXXXXX", *path;
	struct immure_bait b;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(immure_bait_prepare(&b, dir, NULL), 0);
	assert_true(b.fd[IMMURE_BAIT_UNIX] >= 0);
	path = strdup(b.unix_path);
	assert_int_equal(access(path, F_OK), 0);
	immure_bait_done(&b);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(rmdir(dir), 0);
	free(path);
}

static void printed(void **state)
{
	struct immure_buf b = IMMURE_BUF_INIT, text = IMMURE_BUF_INIT, json = IMMURE_BUF_INIT;
	struct immure_jsonw w;
	struct immure_proof *p;

	(void)state;
	report(&b, "syscalls.bpf", "done 2 - bpf: make a map: succeeded");
	p = judge(b.data, b.len);
	immure_proof_print(p, &text);
	assert_non_null(strstr(text.data, "SHORT  bpf"));
	assert_non_null(strstr(text.data, "the attack succeeded: bpf: make a map"));
	assert_non_null(strstr(text.data, " 1 fell short, "));
	immure_jsonw_init(&w, &json, 0);
	immure_proof_json(p, &w, NULL);
	assert_non_null(strstr(json.data, "\"holds\":false"));
	assert_non_null(strstr(json.data, "\"id\":\"syscalls.bpf\""));
	immure_proof_free(p);
	immure_buf_done(&b);
	immure_buf_done(&text);
	immure_buf_done(&json);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables_agree),
		cmocka_unit_test(dimensions_are_known),
		cmocka_unit_test(all_holds),
		cmocka_unit_test(each_point_can_fall_short),
		cmocka_unit_test(untried_targets),
		cmocka_unit_test(targets_of_the_gate),
		cmocka_unit_test(absent_is_not_denied),
		cmocka_unit_test(attacker_that_ended_badly),
		cmocka_unit_test(truncated),
		cmocka_unit_test(hostile),
		cmocka_unit_test(reported_twice),
		cmocka_unit_test(too_many_records),
		cmocka_unit_test(touched_bait),
		cmocka_unit_test(not_asked),
		cmocka_unit_test(targets_of_a_plan),
		cmocka_unit_test(targets_stay_bounded),
		cmocka_unit_test(real_bait),
		cmocka_unit_test(bait_leaves_nothing),
		cmocka_unit_test(printed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
