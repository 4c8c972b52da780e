/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"

#ifndef F_ADD_SEALS
#define F_ADD_SEALS 1033
#define F_GET_SEALS 1034
#define F_SEAL_SEAL 1
#define F_SEAL_SHRINK 2
#define F_SEAL_GROW 4
#define F_SEAL_WRITE 8
#endif
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

/* MAGIC, length of all, fields in the order of put_fixed(), rules as length and
 * bytes. Little-endian. */
#define MAGIC UINT32_C(0x33474549) /* "IEG3" */

enum { FLAG_PRIVATE = 1, FLAG_REFUSE_ECH = 2, FLAG_INTERCEPTS = 4, FLAGS_ALL = 7 };

void immure_egress_config_defaults(struct immure_egress_config *c)
{
	memset(c, 0, sizeof(*c));
	immure_synth_defaults(&c->synth);
	c->limits = (struct immure_egress_limits){
		.connections = 4096,
		.resolve_ms = 15000,
		.dial_ms = 20000,
		.first_ms = 10000,
		.head_ms = 60000,
		.idle_ms = 2 * 3600 * 1000,
	};
}

static const char *check_rules(const struct immure_strv *l)
{
	if (l->n > IMMURE_EGRESS_RULES_MAX)
		return "too many rules";
	for (size_t i = 0; i < l->n; i++) {
		size_t len = strlen(l->v[i]);

		if (len == 0 || len > IMMURE_EGRESS_RULE_MAX)
			return "a rule is empty or too long";
	}
	return NULL;
}

static bool stray_bits(const unsigned char *prefix, unsigned int bits, unsigned int all)
{
	for (unsigned int i = bits; i < all; i++)
		if (prefix[i / 8] & (0x80U >> (i % 8)))
			return true;
	return false;
}

static const char *check_synth(const struct immure_egress_config *c)
{
	const struct immure_synth_config *s = &c->synth;

	if (s->bits4 < 8 || s->bits4 > 24 || stray_bits(s->prefix4, s->bits4, 32))
		return "the IPv4 prefix is none";
	if (s->bits6 < 32 || s->bits6 > 96 || stray_bits(s->prefix6, s->bits6, 128))
		return "the IPv6 prefix is none";
	if (s->names_max == 0 || s->names_max > 1U << 20)
		return "the number of names is out of range";
	return NULL;
}

/* Timeouts of 0 would be no timeouts, and those are what keeps a slow peer from
 * holding everything. */
static bool timeout_ok(uint32_t ms)
{
	return ms >= 10 && ms <= 24U * 3600 * 1000;
}

/* Whole fields of a request, of ours: "NAME: VALUE". */
static const char *check_fields(const struct immure_strv *l)
{
	for (size_t i = 0; i < l->n; i++) {
		if (strncmp(l->v[i], IMMURE_ATTRIBUTION, strlen(IMMURE_ATTRIBUTION)) != 0 || !strstr(l->v[i], ": "))
			return "a field that is none of ours";
		for (const char *p = l->v[i]; *p; p++)
			if (*p < 0x20 || *p > 0x7e)
				return "a field with a byte that none can have";
	}
	return l->n > 8 ? "too many fields" : NULL;
}

static const char *check_limits(const struct immure_egress_limits *l)
{
	if (l->connections == 0 || l->connections > 65536)
		return "the number of connections is out of range";
	if (l->bytes_per_s != 0 && l->bytes_per_s < 1024)
		return "a bandwidth of less than 1 KiB a second";
	if (!timeout_ok(l->resolve_ms) || !timeout_ok(l->dial_ms) || !timeout_ok(l->first_ms) ||
	    !timeout_ok(l->head_ms) || (l->idle_ms && l->idle_ms < 10))
		return "a timeout is out of range";
	return NULL;
}

const char *immure_egress_config_check(const struct immure_egress_config *c)
{
	const char *why = check_rules(&c->allow);

	if (!why)
		why = check_rules(&c->deny);
	if (!why)
		why = check_rules(&c->secret);
	if (!why)
		why = check_rules(&c->attribute);
	if (!why)
		why = check_fields(&c->fields);
	if (!why)
		why = check_synth(c);
	if (!why)
		why = check_limits(&c->limits);
	if (why)
		return why;
	if (c->first_name > 1U << 30)
		return "the number of the first name is out of range";
	if (c->publish_n > IMMURE_EGRESS_PUBLISH_MAX)
		return "too many published ports";
	for (uint32_t i = 0; i < c->publish_n; i++)
		if (c->publish[i].port == 0)
			return "a published port is 0";
	return NULL;
}

bool immure_egress_config_can_replace(const struct immure_egress_config *a,
				      const struct immure_egress_config *b)
{
	const struct immure_synth_config *x = &a->synth, *y = &b->synth;
	bool same = x->bits4 == y->bits4 && x->bits6 == y->bits6 &&
		    memcmp(x->prefix4, y->prefix4, sizeof(x->prefix4)) == 0 &&
		    memcmp(x->prefix6, y->prefix6, sizeof(x->prefix6)) == 0 &&
		    x->names_max == y->names_max && x->wild_label_bytes == y->wild_label_bytes &&
		    x->wild_burst_bytes == y->wild_burst_bytes &&
		    x->wild_bytes_per_s == y->wild_bytes_per_s &&
		    x->wild_names_max == y->wild_names_max && x->seed == y->seed;

	same = same && a->first_name == b->first_name && a->publish_n == b->publish_n &&
	       a->intercepts == b->intercepts;
	for (uint32_t i = 0; same && i < a->publish_n; i++)
		same = a->publish[i].port == b->publish[i].port;
	return same;
}

/* ---- writing ---- */

static void put_rules(struct immure_buf *b, const struct immure_strv *l)
{
	immure_buf_put_u32(b, (uint32_t)l->n);
	for (size_t i = 0; i < l->n; i++) {
		immure_buf_put_u32(b, (uint32_t)strlen(l->v[i]));
		immure_buf_puts(b, l->v[i]);
	}
}

static void put_synth(struct immure_buf *b, const struct immure_synth_config *s)
{
	immure_buf_put(b, s->prefix4, 4);
	immure_buf_put_u32(b, s->bits4);
	immure_buf_put(b, s->prefix6, 16);
	immure_buf_put_u32(b, s->bits6);
	immure_buf_put_u32(b, s->names_max);
	immure_buf_put_u32(b, s->wild_label_bytes);
	immure_buf_put_u32(b, s->wild_burst_bytes);
	immure_buf_put_u32(b, s->wild_bytes_per_s);
	immure_buf_put_u32(b, s->wild_names_max);
	immure_buf_put_u64(b, s->seed);
}

static void put_limits(struct immure_buf *b, const struct immure_egress_limits *l)
{
	immure_buf_put_u32(b, l->connections);
	immure_buf_put_u64(b, l->bytes_per_s);
	immure_buf_put_u32(b, l->resolve_ms);
	immure_buf_put_u32(b, l->dial_ms);
	immure_buf_put_u32(b, l->first_ms);
	immure_buf_put_u32(b, l->head_ms);
	immure_buf_put_u32(b, l->idle_ms);
	immure_buf_put_u64(b, l->bodies.request_body);
	immure_buf_put_u64(b, l->bodies.response_body);
}

int immure_egress_config_encode(const struct immure_egress_config *c, unsigned char **ret_data,
				size_t *ret_len)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	size_t len;

	if (immure_egress_config_check(c))
		return -EINVAL;
	immure_buf_put_u32(&b, MAGIC);
	immure_buf_put_u32(&b, 0); /* the length, when it is known */
	immure_buf_put_u32(&b, (c->private_ok ? FLAG_PRIVATE : 0U) |
				       (c->refuse_ech ? FLAG_REFUSE_ECH : 0U) |
				       (c->intercepts ? FLAG_INTERCEPTS : 0U));
	put_synth(&b, &c->synth);
	immure_buf_put_u32(&b, c->first_name);
	put_limits(&b, &c->limits);
	immure_buf_put_u32(&b, c->publish_n);
	for (uint32_t i = 0; i < c->publish_n; i++)
		immure_buf_put_u32(&b, c->publish[i].port);
	put_rules(&b, &c->allow);
	put_rules(&b, &c->deny);
	put_rules(&b, &c->secret);
	put_rules(&b, &c->attribute);
	put_rules(&b, &c->fields);
	if (!immure_buf_ok(&b) || b.len > IMMURE_EGRESS_CONFIG_MAX) {
		int r = immure_buf_ok(&b) ? -EINVAL : -ENOMEM;

		immure_buf_done(&b);
		return r;
	}
	len = b.len;
	for (int i = 0; i < 4; i++)
		b.data[4 + i] = (char)(len >> 8 * i);
	*ret_len = len;
	*ret_data = (unsigned char *)immure_buf_take(&b);
	return 0;
}

/* ---- reading ---- */

struct in {
	const unsigned char *p, *end;
	bool bad;
};

static uint32_t get32(struct in *i)
{
	uint32_t v = 0;

	if (i->end - i->p < 4) {
		i->bad = true;
		return 0;
	}
	for (int k = 0; k < 4; k++)
		v |= (uint32_t)*i->p++ << 8 * k;
	return v;
}

static uint64_t get64(struct in *i)
{
	uint64_t lo = get32(i);

	return lo | (uint64_t)get32(i) << 32;
}

static void get_bytes(struct in *i, unsigned char *to, size_t len)
{
	if ((size_t)(i->end - i->p) < len) {
		i->bad = true;
		return;
	}
	memcpy(to, i->p, len);
	i->p += len;
}

static int get_rules(struct in *i, struct immure_arena *a, struct immure_strv *l)
{
	uint32_t n = get32(i);

	if (n > IMMURE_EGRESS_RULES_MAX)
		i->bad = true;
	for (uint32_t k = 0; k < n && !i->bad; k++) {
		uint32_t len = get32(i);
		const char *text;

		if (len == 0 || len > IMMURE_EGRESS_RULE_MAX || (size_t)(i->end - i->p) < len ||
		    memchr(i->p, '\0', len)) {
			i->bad = true;
			break;
		}
		text = immure_arena_strndup(a, (const char *)i->p, len);
		if (!text || !immure_strv_add(a, l, text))
			return -ENOMEM;
		i->p += len;
	}
	return 0;
}

static void get_synth(struct in *i, struct immure_synth_config *s)
{
	get_bytes(i, s->prefix4, 4);
	s->bits4 = get32(i);
	get_bytes(i, s->prefix6, 16);
	s->bits6 = get32(i);
	s->names_max = get32(i);
	s->wild_label_bytes = get32(i);
	s->wild_burst_bytes = get32(i);
	s->wild_bytes_per_s = get32(i);
	s->wild_names_max = get32(i);
	s->seed = get64(i);
}

static void get_limits(struct in *i, struct immure_egress_limits *l)
{
	l->connections = get32(i);
	l->bytes_per_s = get64(i);
	l->resolve_ms = get32(i);
	l->dial_ms = get32(i);
	l->first_ms = get32(i);
	l->head_ms = get32(i);
	l->idle_ms = get32(i);
	l->bodies.request_body = get64(i);
	l->bodies.response_body = get64(i);
}

static int get_all(struct in *i, struct immure_arena *a, struct immure_egress_config *c)
{
	uint32_t flags = get32(i);
	int r;

	if (flags & ~(uint32_t)FLAGS_ALL)
		i->bad = true;
	c->private_ok = flags & FLAG_PRIVATE;
	c->refuse_ech = flags & FLAG_REFUSE_ECH;
	c->intercepts = flags & FLAG_INTERCEPTS;
	get_synth(i, &c->synth);
	c->first_name = get32(i);
	get_limits(i, &c->limits);
	c->publish_n = get32(i);
	if (c->publish_n > IMMURE_EGRESS_PUBLISH_MAX)
		i->bad = true;
	for (uint32_t k = 0; k < c->publish_n && !i->bad; k++) {
		uint32_t port = get32(i);

		i->bad |= port > 65535;
		c->publish[k].port = (uint16_t)port;
	}
	r = get_rules(i, a, &c->allow);
	if (r == 0)
		r = get_rules(i, a, &c->deny);
	if (r == 0)
		r = get_rules(i, a, &c->secret);
	if (r == 0)
		r = get_rules(i, a, &c->attribute);
	return r < 0 ? r : get_rules(i, a, &c->fields);
}

int immure_egress_config_decode(struct immure_arena *a, const unsigned char *data, size_t len,
				struct immure_egress_config *ret)
{
	struct in i = { .p = data, .end = data + len };
	struct immure_egress_config c;
	int r;

	memset(&c, 0, sizeof(c));
	if (len > IMMURE_EGRESS_CONFIG_MAX || get32(&i) != MAGIC || get32(&i) != len)
		return -EBADMSG;
	r = get_all(&i, a, &c);
	if (r < 0)
		return r;
	if (i.bad || i.p != i.end || immure_egress_config_check(&c))
		return -EBADMSG;
	*ret = c;
	return 0;
}

/* ---- by descriptor ---- */

int immure_egress_config_seal(const struct immure_egress_config *c, int *ret_fd)
{
	IMMURE_CLEANUP_FREE unsigned char *data = NULL;
	IMMURE_CLEANUP_FD int fd = -1;
	size_t len = 0;
	int r = immure_egress_config_encode(c, &data, &len);

	if (r < 0)
		return r;
	fd = memfd_create("immure-egress", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	r = immure_write_all(fd, data, len);
	if (r < 0)
		return r;
	if (fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		return -errno;
	*ret_fd = immure_take_fd(&fd);
	return 0;
}

int immure_egress_config_load(struct immure_arena *a, int fd, struct immure_egress_config *ret)
{
	IMMURE_CLEANUP_FREE unsigned char *data = NULL;
	int seals = fcntl(fd, F_GET_SEALS);
	size_t at = 0, len;
	off_t size;

	/* What can still change under our hands is not read. */
	if (seals < 0 || (seals & SEALS) != SEALS)
		return -EPERM;
	size = lseek(fd, 0, SEEK_END);
	if (size < 0)
		return -errno;
	if (size == 0 || size > IMMURE_EGRESS_CONFIG_MAX)
		return -EBADMSG;
	len = (size_t)size;
	data = malloc(len);
	if (!data)
		return -ENOMEM;
	while (at < len) {
		ssize_t n = pread(fd, data + at, len - at, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EBADMSG;
		at += (size_t)n;
	}
	return immure_egress_config_decode(a, data, len, ret);
}
