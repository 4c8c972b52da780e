/* SPDX-License-Identifier: Apache-2.0 */
/* Every value is aligned to its size, counted from the message's first byte: that of a
 * structure is 8. A variant is its type and the value. Of both byte orders ours is written,
 * and an answer in the other one is none. */
#include "kernel/dbusmsg.h"

#include <string.h>

enum { CALL = 1, RETURN = 2, FAILED = 3, SIGNAL = 4 };
enum { PATH = 1, INTERFACE = 2, MEMBER = 3, REPLY_SERIAL = 5, DESTINATION = 6, SIGNATURE = 8 };

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ORDER 'l'
#else
#define ORDER 'B'
#endif

/* ---- writing ---- */

struct out {
	unsigned char *p;
	size_t n, cap;
	bool full;
};

static void put(struct out *o, const void *data, size_t len)
{
	if (o->full || len > o->cap - o->n) {
		o->full = true;
		return;
	}
	memcpy(o->p + o->n, data, len);
	o->n += len;
}

static void align(struct out *o, size_t to)
{
	static const unsigned char zero[8];

	put(o, zero, (to - o->n % to) % to);
}

static void put_u32(struct out *o, uint32_t v)
{
	align(o, 4);
	put(o, &v, sizeof(v));
}

static void put_string(struct out *o, const char *s)
{
	put_u32(o, (uint32_t)strlen(s));
	put(o, s, strlen(s) + 1);
}

static void put_type(struct out *o, const char *s)
{
	unsigned char len = (unsigned char)strlen(s);

	put(o, &len, 1);
	put(o, s, strlen(s) + 1);
}

/* A length that is known later, and what it counts from. */
struct span {
	size_t at, from;
};

static struct span begin(struct out *o, size_t alignment)
{
	struct span s;

	put_u32(o, 0);
	s.at = o->n - 4;
	align(o, alignment); /* which does not count */
	s.from = o->n;
	return s;
}

static void end(struct out *o, struct span s)
{
	uint32_t len = (uint32_t)(o->n - s.from);

	if (!o->full)
		memcpy(o->p + s.at, &len, sizeof(len));
}

static void field(struct out *o, unsigned char code, const char *type, const char *value)
{
	align(o, 8);
	put(o, &code, 1);
	put_type(o, type);
	if (*type == 'g')
		put_type(o, value);
	else
		put_string(o, value);
}

static void property(struct out *o, const char *name, const char *type)
{
	align(o, 8);
	put_string(o, name);
	put_type(o, type);
}

static void properties(struct out *o, uint32_t pid)
{
	struct span all = begin(o, 8), pids;

	property(o, "Description", "s");
	put_string(o, "sealed in by immure");
	property(o, "CollectMode", "s");
	put_string(o, "inactive-or-failed");
	property(o, "Delegate", "b");
	put_u32(o, 1);
	property(o, "PIDs", "au");
	pids = begin(o, 4);
	put_u32(o, pid);
	end(o, pids);
	end(o, all);
}

size_t immure_dbus_scope_call(unsigned char *buf, size_t cap, uint32_t serial, const char *name, uint32_t pid)
{
	static const unsigned char kind[4] = { ORDER, CALL, 0, 1 };
	struct out o = { .p = buf, .cap = cap };
	struct span fields, aux;
	uint32_t len;
	size_t body;

	put(&o, kind, sizeof(kind));
	put_u32(&o, 0); /* the body's length, below */
	put_u32(&o, serial);
	fields = begin(&o, 8);
	field(&o, PATH, "o", "/org/freedesktop/systemd1");
	field(&o, INTERFACE, "s", "org.freedesktop.systemd1.Manager");
	field(&o, MEMBER, "s", "StartTransientUnit");
	field(&o, DESTINATION, "s", "org.freedesktop.systemd1");
	field(&o, SIGNATURE, "g", "ssa(sv)a(sa(sv))");
	end(&o, fields);
	align(&o, 8);
	body = o.n;
	put_string(&o, name);
	put_string(&o, "fail");
	properties(&o, pid);
	aux = begin(&o, 8);
	end(&o, aux);
	len = (uint32_t)(o.n - body);
	if (o.full)
		return 0;
	memcpy(buf + 4, &len, sizeof(len));
	return o.n;
}

/* ---- reading ---- */

static uint32_t u32_at(const unsigned char *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

size_t immure_dbus_length(const unsigned char *head)
{
	uint32_t body = u32_at(head + 4), fields = u32_at(head + 12);

	if (head[0] != ORDER || head[3] != 1 || body > IMMURE_DBUS_MESSAGE || fields > IMMURE_DBUS_MESSAGE)
		return 0;
	fields = (fields + 7) / 8 * 8;
	return IMMURE_DBUS_HEAD + fields + body <= IMMURE_DBUS_MESSAGE ? IMMURE_DBUS_HEAD + (size_t)fields + body : 0;
}

struct field {
	unsigned char code;
	uint32_t number;  /* of type u, else 0 */
	const char *text; /* of type s or o, else "" */
};

/* The field at *at, which is passed over. False: it is broken. */
static bool next_field(const unsigned char *msg, size_t end_at, size_t *at, struct field *ret)
{
	size_t i = (*at + 7) / 8 * 8;
	uint32_t len;
	char type;

	if (i + 4 > end_at || msg[i + 1] != 1 || msg[i + 3])
		return false;
	*ret = (struct field){ .code = msg[i], .text = "" };
	type = (char)msg[i + 2];
	i += 4;
	if (type == 'g') {
		if (i >= end_at || end_at - i < msg[i] + 2U)
			return false;
		*at = i + msg[i] + 2U;
		return true;
	}
	if ((type != 'u' && type != 's' && type != 'o') || end_at - i < 4)
		return false;
	len = u32_at(msg + i); /* such fields begin on a multiple of 8, so this is one of 4 */
	i += 4;
	if (type == 'u') {
		ret->number = len;
	} else {
		if (len >= end_at - i || msg[i + len])
			return false;
		ret->text = (const char *)msg + i;
		i += len + 1U;
	}
	*at = i;
	return true;
}

/* Whether a string of the body, which begins at from, is that. */
static bool names(const unsigned char *msg, size_t from, size_t len, const char *unit)
{
	size_t n = strlen(unit) + 1;

	for (size_t i = from + 4; i + n <= len; i += 4)
		if (memcmp(msg + i, unit, n) == 0 && u32_at(msg + i - 4) == n - 1)
			return true;
	return false;
}

enum immure_dbus_answer immure_dbus_judge(const unsigned char *msg, size_t len, uint32_t serial, const char *unit)
{
	size_t at = IMMURE_DBUS_HEAD, fields_end;
	const char *member = "";
	struct field f;
	uint32_t to = 0;

	if (len < IMMURE_DBUS_HEAD || immure_dbus_length(msg) != len)
		return IMMURE_DBUS_BROKEN;
	fields_end = at + u32_at(msg + 12);
	while (at < fields_end) {
		if (!next_field(msg, fields_end, &at, &f))
			return IMMURE_DBUS_BROKEN;
		if (f.code == REPLY_SERIAL)
			to = f.number;
		else if (f.code == MEMBER)
			member = f.text;
	}
	if (msg[1] == SIGNAL)
		return strcmp(member, "JobRemoved") == 0 && names(msg, (fields_end + 7) / 8 * 8, len, unit) ? IMMURE_DBUS_OVER :
													      IMMURE_DBUS_OTHER;
	if ((msg[1] != RETURN && msg[1] != FAILED) || to != serial)
		return IMMURE_DBUS_OTHER;
	return msg[1] == RETURN ? IMMURE_DBUS_BEGUN : IMMURE_DBUS_REFUSED;
}
