/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/print.h"

#include <string.h>

#include "base/parse.h"

static void put(struct immure_buf *o, const char *s)
{
	immure_buf_put_printable(o, s, strlen(s));
}

static void put_ports(struct immure_buf *o, const struct immure_op *op)
{
	immure_buf_printf(o, " port%s %llu", op->num[0] == op->num[1] ? "" : "s",
			  (unsigned long long)op->num[0]);
	if (op->num[0] != op->num[1])
		immure_buf_printf(o, " to %llu", (unsigned long long)op->num[1]);
}

static void put_net_limits(struct immure_buf *o, const struct immure_op *op)
{
	const char *comma = "";
	char text[32];

	if (op->num[0]) {
		(void)immure_format_duration(op->num[0], text, sizeof(text));
		immure_buf_printf(o, "silent for %s at most", text);
		comma = ", ";
	}
	if (op->num[1]) {
		(void)immure_format_duration(op->num[1], text, sizeof(text));
		immure_buf_printf(o, "%sfirst bytes within %s", comma, text);
		comma = ", ";
	}
	if (op->num[2])
		immure_buf_printf(o, "%sno hidden name in TLS", comma);
}

static void put_bodies(struct immure_buf *o, const struct immure_op *op)
{
	static const char *const of[] = { "request", "answer" };
	char text[32];

	immure_buf_puts(o, "bodies: ");
	for (int i = 0; i < 2; i++)
		if (op->num[i])
			immure_buf_printf(o, "%s%s of %s at most", i && op->num[0] ? ", " : "", of[i],
					  immure_format_size(op->num[i], text, sizeof(text)));
}

bool immure_print_network(struct immure_buf *o, const struct immure_op *op)
{
	switch (op->kind) {
	case IMMURE_OP_LOOPBACK:
		immure_buf_puts(o, "loopback only, no way out");
		break;
	case IMMURE_OP_NET_HOST:
		immure_buf_puts(o, "the host's network");
		break;
	case IMMURE_OP_NET_CLOSED:
		immure_buf_puts(o, "no network: no socket can be made");
		break;
	case IMMURE_OP_EGRESS:
		immure_buf_puts(o, "names only (");
		put(o, op->src);
		immure_buf_puts(o, ", ");
		put(o, op->dst);
		immure_buf_puts(o, "), judged outside");
		break;
	case IMMURE_OP_EGRESS_LIMITS:
		put_net_limits(o, op);
		break;
	case IMMURE_OP_EGRESS_BODIES:
		put_bodies(o, op);
		break;
	case IMMURE_OP_EGRESS_ALLOW:
	case IMMURE_OP_EGRESS_DENY:
		immure_buf_puts(o, op->kind == IMMURE_OP_EGRESS_ALLOW ? "may reach " : "may not reach ");
		put(o, op->src);
		break;
	case IMMURE_OP_INTERCEPT:
		immure_buf_puts(o, "TLS ends outside where rules look inside, with an authority of this "
				   "session's");
		if (op->num[0])
			immure_buf_puts(o, ", the only one that is trusted inside");
		break;
	case IMMURE_OP_SECRET:
		immure_buf_puts(o, "secret put into requests outside: ");
		put(o, op->src);
		immure_buf_puts(o, " from ");
		put(o, op->dst);
		break;
	case IMMURE_OP_SECRET_TO:
		immure_buf_puts(o, "… and only to ");
		put(o, op->src);
		break;
	case IMMURE_OP_ATTRIBUTE:
		immure_buf_puts(o, "told whose they are: requests to ");
		put(o, op->src);
		break;
	case IMMURE_OP_EGRESS_NET:
		immure_buf_puts(o, "by address: ");
		put(o, op->src);
		put_ports(o, op);
		break;
	case IMMURE_OP_PUBLISH:
		immure_buf_printf(o, "port %llu is the host's ", (unsigned long long)op->num[1]);
		put(o, op->src);
		immure_buf_printf(o, " port %llu", (unsigned long long)op->num[0]);
		break;
	default:
		return false;
	}
	return true;
}
