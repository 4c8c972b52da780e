/* SPDX-License-Identifier: Apache-2.0 */
/* What supervisor and gatekeeper tell each other: config and messages. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "egress/config.h"
#include "egress/wire.h"

static void fill(struct immure_arena *a, struct immure_egress_config *c)
{
	immure_egress_config_defaults(c);
	assert_true(immure_strv_add(a, &c->allow, "example.com:443"));
	assert_true(immure_strv_add(a, &c->allow, "*.example.org"));
	assert_true(immure_strv_add(a, &c->deny, "evil.example.org"));
	c->private_ok = true;
	c->synth.seed = 0x1122334455667788;
	c->first_name = 3;
	c->publish_n = 2;
	c->publish[0].port = 8080;
	c->publish[1].port = 80;
	c->limits.bytes_per_s = 1 << 20;
}

static void a_config_comes_back_as_it_was(void **unused)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_egress_config c, d;
	unsigned char *data, *again;
	size_t len, again_len;

	(void)unused;
	fill(&a, &c);
	assert_int_equal(immure_egress_config_encode(&c, &data, &len), 0);
	assert_int_equal(immure_egress_config_decode(&a, data, len, &d), 0);
	assert_int_equal(d.allow.n, 2);
	assert_string_equal(d.allow.v[1], "*.example.org");
	assert_string_equal(d.deny.v[0], "evil.example.org");
	assert_true(d.private_ok);
	assert_false(d.refuse_ech);
	assert_int_equal(d.publish[1].port, 80);
	assert_true(immure_egress_config_can_replace(&c, &d));
	d.synth.seed++;
	assert_false(immure_egress_config_can_replace(&c, &d));
	d.synth.seed--;
	d.publish[0].port = 1;
	assert_false(immure_egress_config_can_replace(&c, &d));
	d.publish[0].port = 8080;
	assert_int_equal(immure_egress_config_encode(&d, &again, &again_len), 0);
	assert_int_equal(again_len, len);
	assert_memory_equal(again, data, len);
	free(again);
	free(data);
	immure_arena_done(&a);
}

/* Every shorter and longer form is refused; a changed byte never does harm. */
static void a_damaged_config_is_refused(void **unused)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_egress_config c, d;
	unsigned char *data, *copy;
	size_t len;

	(void)unused;
	fill(&a, &c);
	assert_int_equal(immure_egress_config_encode(&c, &data, &len), 0);
	for (size_t i = 0; i < len; i++) {
		copy = malloc(i ? i : 1); /* so that a read beyond is seen */
		assert_non_null(copy);
		memcpy(copy, data, i);
		assert_int_equal(immure_egress_config_decode(&a, copy, i, &d), -EBADMSG);
		free(copy);
	}
	copy = malloc(len + 1);
	assert_non_null(copy);
	memcpy(copy, data, len);
	copy[len] = 0;
	assert_int_equal(immure_egress_config_decode(&a, copy, len + 1, &d), -EBADMSG);
	for (size_t i = 0; i < len; i++) {
		int r;

		copy[i] ^= 0xff;
		r = immure_egress_config_decode(&a, copy, len, &d);
		assert_true(r == 0 || r == -EBADMSG);
		if (r == 0)
			assert_null(immure_egress_config_check(&d));
		copy[i] ^= 0xff;
	}
	/* A NUL would end the rule's text early. */
	copy[len - 15] = 0; /* before the empty lists at the end */
	assert_int_equal(immure_egress_config_decode(&a, copy, len, &d), -EBADMSG);
	free(copy);
	free(data);
	immure_arena_done(&a);
}

static void a_config_out_of_range_is_not_written(void **unused)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_egress_config c;
	unsigned char *data;
	size_t len;

	(void)unused;
#define REFUSED(change)                                                                         \
	do {                                                                                    \
		fill(&a, &c);                                                                   \
		change;                                                                         \
		assert_non_null(immure_egress_config_check(&c));                                \
		assert_int_equal(immure_egress_config_encode(&c, &data, &len), -EINVAL);        \
	} while (0)
	REFUSED(c.limits.connections = 0);
	REFUSED(c.limits.connections = 65537);
	REFUSED(c.limits.bytes_per_s = 1);
	REFUSED(c.limits.first_ms = 0);
	REFUSED(c.limits.resolve_ms = 0);
	REFUSED(c.limits.dial_ms = UINT32_MAX);
	REFUSED(c.synth.bits4 = 7);
	REFUSED(c.synth.bits6 = 97);
	REFUSED(c.synth.prefix4[3] = 1);
	REFUSED(c.synth.names_max = 0);
	REFUSED(c.first_name = UINT32_MAX);
	REFUSED(c.publish[0].port = 0);
	REFUSED(c.publish_n = IMMURE_EGRESS_PUBLISH_MAX + 1);
	REFUSED((void)immure_strv_add(&a, &c.allow, ""));
#undef REFUSED
	immure_arena_done(&a);
}

static void only_a_sealed_config_is_read(void **unused)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_egress_config c, d;
	unsigned char *data;
	size_t len;
	int fd, plain;

	(void)unused;
	fill(&a, &c);
	assert_int_equal(immure_egress_config_seal(&c, &fd), 0);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(pwrite(fd, "x", 1, 0), -1);
	assert_int_equal(ftruncate(fd, 1), -1);
	assert_int_equal(immure_egress_config_load(&a, fd, &d), 0);
	assert_string_equal(d.allow.v[0], "example.com:443");
	close(fd);
	assert_int_equal(immure_egress_config_encode(&c, &data, &len), 0);
	plain = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	assert_true(plain >= 0);
	assert_int_equal(immure_write_all(plain, data, len), 0);
	assert_int_equal(immure_egress_config_load(&a, plain, &d), -EPERM);
	close(plain);
	free(data);
	immure_arena_done(&a);
}

static void close_all(int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		immure_close(&fds[i]);
}

static void start_carries_what_there_is_in_order(void **unused)
{
	struct immure_netplumb p = { .with_v6 = true };
	int pair[2], fds[IMMURE_WIRE_FDS_MAX], listeners[2] = { 0, 1 };
	struct immure_wire m;
	size_t n = 0;

	(void)unused;
	for (size_t i = 0; i < IMMURE_NETPLUMB_MAX; i++)
		p.fd[i] = -1;
	p.fd[IMMURE_NETPLUMB_DNS_UDP] = 1;
	p.fd[IMMURE_NETPLUMB_SPARE6] = 2;
	assert_int_equal(immure_wire_pair(pair), 0);
	assert_int_equal(immure_wire_send_start(pair[0], 0, &p, listeners, 2, 0), 0);
	assert_int_equal(immure_wire_recv(pair[1], true, &m, fds, &n), 1);
	assert_int_equal(m.type, IMMURE_WIRE_START);
	assert_int_equal(n, 5);
	assert_int_equal(m.start.present,
			 1U << IMMURE_NETPLUMB_DNS_UDP | 1U << IMMURE_NETPLUMB_SPARE6);
	assert_int_equal(m.start.with_v6, 1);
	assert_int_equal(m.start.with_nft, 0);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(fcntl(fds[i], F_GETFD), FD_CLOEXEC);
	assert_int_equal(fds[n], -1);
	close_all(fds, n);
	assert_int_equal(immure_wire_recv(pair[0], false, &m, fds, &n), -EAGAIN);
	close(pair[1]);
	assert_int_equal(immure_wire_recv(pair[0], false, &m, fds, &n), 0);
	close(pair[0]);
}

static int decode(const struct immure_wire *m, size_t len, bool to_worker, size_t fds)
{
	struct immure_wire out;

	return immure_wire_decode(to_worker, m, len, fds, &out);
}

#define LEN(member) (offsetof(struct immure_wire, member) + sizeof(((struct immure_wire *)0)->member))

static void what_is_no_message_is_refused(void **unused)
{
	struct immure_wire m = { .type = IMMURE_WIRE_DENIED };

	(void)unused;
	assert_int_equal(decode(&m, LEN(denied), false, 0), 0);
	assert_int_equal(decode(&m, LEN(denied), true, 0), -EPROTO); /* the wrong way */
	assert_int_equal(decode(&m, LEN(denied), false, 1), -EPROTO);
	assert_int_equal(decode(&m, LEN(denied) - 1, false, 0), -EPROTO);
	assert_int_equal(decode(&m, LEN(denied) + 1, false, 0), -EPROTO);
	assert_int_equal(decode(&m, 3, false, 0), -EPROTO);
	m.denied.step = IMMURE_WIRE_STEPS;
	assert_int_equal(decode(&m, LEN(denied), false, 0), -EPROTO);
	m.denied.step = 0;
	m.denied.why[0] = '\033';
	assert_int_equal(decode(&m, LEN(denied), false, 0), -EPROTO);
	memset(m.denied.why, 'x', sizeof(m.denied.why));
	assert_int_equal(decode(&m, LEN(denied), false, 0), -EPROTO);
	m = (struct immure_wire){ .type = IMMURE_WIRE_DENIED };
	memset(&m.denied.meant.v6, 7, 1);
	assert_int_equal(decode(&m, LEN(denied), false, 0), -EPROTO);
	m = (struct immure_wire){ .type = IMMURE_WIRE_START };
	m.start.publish_n = UINT32_MAX;
	assert_int_equal(decode(&m, LEN(start), true, 0), -EPROTO);
	m.start.publish_n = 0;
	assert_int_equal(decode(&m, LEN(start), true, 1), 0);
	m.start.present = UINT32_MAX;
	assert_int_equal(decode(&m, LEN(start), true, 33), -EPROTO);
	m = (struct immure_wire){ .type = IMMURE_WIRE_SOCKETS };
	m.sockets.n4 = UINT32_MAX;
	m.sockets.n6 = 3;
	assert_int_equal(decode(&m, LEN(sockets), true, 2), -EPROTO);
	m = (struct immure_wire){ .type = IMMURE_WIRE_DONE };
	m.done.result = 1;
	assert_int_equal(decode(&m, LEN(done), false, 0), -EPROTO);
	m = (struct immure_wire){ .type = 31 };
	assert_int_equal(decode(&m, offsetof(struct immure_wire, start), true, 0), -EPROTO);
}

static void what_is_handed_over_has_its_bounds(void **unused)
{
	struct immure_wire m = { .type = IMMURE_WIRE_START };

	(void)unused;
	for (uint32_t i = 0; i < 5; i++) {
		m.start.handed = i;
		assert_int_equal(decode(&m, LEN(start), true, 1), i <= 2 ? 0 : -EPROTO);
	}
	m = (struct immure_wire){ .type = IMMURE_WIRE_REACH };
	assert_int_equal(decode(&m, LEN(reach), true, 0), 0);
	assert_int_equal(decode(&m, LEN(reach), false, 0), -EPROTO);
	assert_int_equal(decode(&m, LEN(reach), true, 1), -EPROTO);
	memset(&m.reach.meant.v6, 7, 1);
	assert_int_equal(decode(&m, LEN(reach), true, 0), -EPROTO);
	m = (struct immure_wire){ .type = IMMURE_WIRE_HANDED };
	for (uint32_t i = 0; i < 4; i++) {
		m.handed.kind = i;
		assert_int_equal(decode(&m, LEN(handed), true, 1),
				 i <= IMMURE_WIRE_HANDED_NAMES ? 0 : -EPROTO);
		assert_int_equal(decode(&m, LEN(handed), true, 0), -EPROTO);
		assert_int_equal(decode(&m, LEN(handed), true, 2), -EPROTO);
	}
	m = (struct immure_wire){ .type = IMMURE_WIRE_VERDICT };
	assert_int_equal(decode(&m, LEN(verdict), false, 0), 0);
	assert_int_equal(decode(&m, LEN(verdict), true, 0), -EPROTO);
	m.verdict.errnum = -1; /* it would become a number that connect() returns */
	assert_int_equal(decode(&m, LEN(verdict), false, 0), -EPROTO);
	m.verdict.errnum = 4096;
	assert_int_equal(decode(&m, LEN(verdict), false, 0), -EPROTO);
}

static void descriptors_of_a_bad_message_are_closed(void **unused)
{
	struct immure_wire m = { .type = IMMURE_WIRE_ASK };
	int pair[2], fds[IMMURE_WIRE_FDS_MAX], one = 0, before, after;
	size_t n = 0;

	(void)unused;
	assert_int_equal(immure_wire_pair(pair), 0);
	before = dup(0);
	close(before);
	assert_int_equal(immure_wire_send(pair[0], &m, &one, 1), 0);
	assert_int_equal(immure_wire_recv(pair[1], true, &m, fds, &n), -EPROTO);
	after = dup(0);
	close(after);
	assert_int_equal(before, after);
	/* Longer than any message. */
	assert_int_equal(send(pair[0], &(char[sizeof(m) + 1]){ 0 }, sizeof(m) + 1, 0), sizeof(m) + 1);
	assert_int_equal(immure_wire_recv(pair[1], true, &m, fds, &n), -EPROTO);
	close(pair[0]);
	close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_config_comes_back_as_it_was),
		cmocka_unit_test(a_damaged_config_is_refused),
		cmocka_unit_test(a_config_out_of_range_is_not_written),
		cmocka_unit_test(only_a_sealed_config_is_read),
		cmocka_unit_test(start_carries_what_there_is_in_order),
		cmocka_unit_test(what_is_no_message_is_refused),
		cmocka_unit_test(what_is_handed_over_has_its_bounds),
		cmocka_unit_test(descriptors_of_a_bad_message_are_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
