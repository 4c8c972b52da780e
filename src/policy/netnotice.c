/* SPDX-License-Identifier: Apache-2.0 */
/* Rules that are right in themselves and let nothing pass all the same. */
#include <stdlib.h>

#include "base/buf.h"
#include "policy/describe.h"
#include "policy/netrule.h"
#include "policy/policy.h"

/* Ports whose usual protocol does not begin with what a rule about content waits for. */
static const struct {
	uint16_t port;
	const char *what;
} others[] = {
	{ 21, "FTP: the server speaks first" },	   { 22, "SSH: the server speaks first" },
	{ 25, "SMTP: the server speaks first" },   { 110, "POP3: the server speaks first" },
	{ 119, "NNTP: the server speaks first" },  { 143, "IMAP: the server speaks first" },
	{ 587, "SMTP: the server speaks first" },  { 3306, "MySQL: the server speaks first" },
	{ 5432, "PostgreSQL: it begins in clear" }, { 5900, "VNC: the server speaks first" },
};

const char *immure_netrule_notice(struct immure_arena *a, const char *text)
{
	struct immure_complaint c = { 0 };
	struct immure_netrule r;

	if (immure_netrule_parse(a, text, &r, &c) < 0)
		return NULL; /* told by others */
	if (r.protocol != IMMURE_PROTO_TLS && r.protocol != IMMURE_PROTO_HTTP &&
	    r.protocol != IMMURE_PROTO_HTTPS)
		return NULL;
	for (unsigned int i = 0; i < r.ports_n; i++)
		for (size_t k = 0; k < sizeof(others) / sizeof(others[0]); k++)
			if (r.ports[i].lo == others[k].port && r.ports[i].hi == others[k].port)
				return immure_arena_printf(
					a, "port %u is usually %s, so the rule would wait for what "
					   "does not come; without a scheme it lets all pass",
					others[k].port, others[k].what);
	return NULL;
}

char *immure_policy_notices_text(const struct immure_policy *p)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_buf out = IMMURE_BUF_INIT;
	char *text;

	for (size_t i = 0; i < p->net_allow.n; i++) {
		const char *notice = immure_netrule_notice(&a, p->net_allow.v[i]);

		if (notice)
			immure_buf_printf(&out, "network.allow: %s: %s\n", p->net_allow.v[i], notice);
	}
	text = immure_buf_take(&out);
	if (a.failed) {
		free(text);
		text = NULL;
	}
	immure_arena_done(&a);
	return text;
}
