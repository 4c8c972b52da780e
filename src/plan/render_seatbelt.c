/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A profile for sandbox-exec(1) of macOS. Everything is denied first; of the rules
 * that match, the last one decides, and the operations of a plan come parents first,
 * so the deeper path wins here as it does with mounts. What may not appear is denied
 * by pattern, which Linux has to look for afterwards.
 *
 * Parameters, given with -D: TMP, a private directory that stands in for those that
 * would be mounted empty; PROXY, "localhost:PORT" of the gatekeeper, with
 * network.mode limited.
 *
 * Paths are matched as the kernel has them: /tmp, /var and /etc are links into
 * /private, so a rule about them is written for both.
 */
#include <stdio.h>
#include <string.h>

#include "base/path.h"
#include "plan/render.h"

/* A string of the profile language: quotes, backslashes and control bytes. */
static void put_string(struct immure_buf *out, const char *s)
{
	immure_buf_putc(out, '"');
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\')
			immure_buf_printf(out, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			immure_buf_printf(out, "\\x%02x", c);
		else
			immure_buf_putc(out, (char)c);
	}
	immure_buf_putc(out, '"');
}

/* A comment must end where its line does. */
static void put_comment(struct immure_buf *out, const char *what, const char *text)
{
	immure_buf_printf(out, "; %s", what);
	immure_buf_put_printable(out, text, strlen(text));
	immure_buf_putc(out, '\n');
}

static bool is_linked(const char *path)
{
	return immure_path_is_under(path, "/tmp") || immure_path_is_under(path, "/var") ||
	       immure_path_is_under(path, "/etc");
}

static void put_rule(struct immure_buf *out, const char *act, const char *filter, const char *path)
{
	immure_buf_printf(out, "(%s (%s ", act, filter);
	put_string(out, path);
	immure_buf_putc(out, ')');
	if (is_linked(path)) {
		struct immure_buf other = IMMURE_BUF_INIT;

		immure_buf_printf(&other, "/private%s", path);
		immure_buf_printf(out, " (%s ", filter);
		put_string(out, other.data ? other.data : "/");
		immure_buf_putc(out, ')');
		if (!immure_buf_ok(&other))
			out->failed = true;
		immure_buf_done(&other);
	}
	immure_buf_puts(out, ")\n");
}

#define READ "allow file-read* process-exec*"
#define READ_WRITE "allow file-read* file-write* process-exec*"

static void put_mount(struct immure_buf *out, const struct immure_op *op)
{
	const char *filter = op->flags & IMMURE_OPF_FILE ? "literal" : "subpath";

	switch (op->kind) {
	case IMMURE_OP_ROOT_HOST:
		put_rule(out, READ, "subpath", "/");
		put_rule(out, "deny file-write*", "subpath", "/");
		break;
	case IMMURE_OP_BIND:
		put_rule(out, op->flags & IMMURE_OPF_RO ? READ : READ_WRITE, filter, op->dst);
		if (op->flags & IMMURE_OPF_RO)
			put_rule(out, "deny file-write*", filter, op->dst);
		if (op->flags & IMMURE_OPF_NOEXEC)
			put_rule(out, "deny process-exec*", filter, op->dst);
		break;
	case IMMURE_OP_TMPFS: /* nothing can be mounted: the host's is out of reach, TMP is there */
	case IMMURE_OP_MASK:
	case IMMURE_OP_MASK_KEEP:
		put_rule(out, "deny file* process-exec*", "subpath", op->dst);
		break;
	case IMMURE_OP_READONLY:
		put_rule(out, "deny file-write*", filter, op->dst);
		break;
	case IMMURE_OP_PIN:
		put_rule(out, "deny file-write-unlink file-write-create", "literal", op->dst);
		break;
	default: /* generated files and links of the view are Linux's */
		break;
	}
}

static bool is_simple_bind(const struct immure_op *op)
{
	return op->kind != IMMURE_OP_BIND || strcmp(op->src, op->dst) == 0;
}

static void put_files(struct immure_buf *out, const struct immure_plan *p)
{
	static const char *const always[] = { "/System", "/usr/lib", "/usr/share", "/Library/Apple",
					      "/private/var/db/dyld", "/private/var/db/timezone" };

	immure_buf_puts(out, "\n; files: parents first, the last rule that matches decides\n");
	for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++)
		immure_buf_printf(out, "(allow file-read* process-exec* (subpath \"%s\"))\n", always[i]);
	immure_buf_puts(out, "(allow file-read-metadata (literal \"/\"))\n");
	for (size_t i = 0; i < p->ops_n; i++)
		if (p->ops[i].stage == IMMURE_STAGE_MOUNT && is_simple_bind(&p->ops[i]) &&
		    !immure_render_is_kernels(p->ops[i].dst))
			put_mount(out, &p->ops[i]);
	immure_buf_puts(out, "(allow file-read* file-write* process-exec* (subpath (param \"TMP\")))\n");
}

/* ---- what may not appear ---- */

static void put_regex_text(struct immure_buf *out, const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (strchr("\\^$.|?*+()[]{}", s[i]))
			immure_buf_putc(out, '\\');
		immure_buf_putc(out, s[i]);
	}
}

/* At the start the directory, perhaps others, the name, then a slash or the end. A
 * last component may begin with a star. */
static void put_watch(struct immure_buf *out, const struct immure_op *op)
{
	struct immure_buf regex = IMMURE_BUF_INIT;
	const char *name = immure_path_basename(op->dst);
	size_t dir = (size_t)(name - op->dst);

	immure_buf_putc(&regex, '^');
	if (is_linked(op->src))
		immure_buf_puts(&regex, "(/private)?");
	if (strcmp(op->src, "/") != 0)
		put_regex_text(&regex, op->src, strlen(op->src));
	immure_buf_putc(&regex, '/');
	if (op->flags & IMMURE_OPF_ANYWHERE)
		immure_buf_puts(&regex, "(.*/)?");
	put_regex_text(&regex, op->dst, dir);
	if (*name == '*') {
		immure_buf_puts(&regex, "[^/]*");
		name++;
	}
	put_regex_text(&regex, name, strlen(name));
	immure_buf_puts(&regex, "(/|$)");
	if (immure_buf_ok(&regex)) {
		immure_buf_puts(out, "(deny file-write* (regex ");
		put_string(out, regex.data);
		immure_buf_puts(out, "))\n");
	} else {
		out->failed = true;
	}
	immure_buf_done(&regex);
}

static void put_watches(struct immure_buf *out, const struct immure_plan *p)
{
	immure_buf_puts(out, "\n; names that programs on the host obey by themselves\n");
	for (size_t i = 0; i < p->ops_n; i++)
		if (p->ops[i].kind == IMMURE_OP_WATCH &&
		    !(p->ops[i].flags & (IMMURE_OPF_ALLOWED | IMMURE_OPF_BUILD)))
			put_watch(out, &p->ops[i]);
}

/* ---- the rest ---- */

static void put_network(struct immure_buf *out, const struct immure_plan *p)
{
	immure_buf_puts(out, "\n; network\n");
	if (immure_plan_find(p, IMMURE_OP_NET_HOST))
		immure_buf_puts(out, "(allow network*)\n(allow system-socket)\n"
				     "(allow mach-lookup (global-name \"com.apple.dnssd.service\"))\n");
	if (immure_plan_find(p, IMMURE_OP_EGRESS))
		immure_buf_puts(out, "(allow network-outbound (remote tcp (param \"PROXY\")))\n");
	for (size_t i = 0; i < p->ops_n; i++)
		if (p->ops[i].kind == IMMURE_OP_PUBLISH)
			immure_buf_printf(out, "(allow network-bind network-inbound (local tcp "
					  "\"localhost:%llu\"))\n", (unsigned long long)p->ops[i].num[1]);
}

static void put_basics(struct immure_buf *out)
{
	immure_buf_puts(out,
			"(version 1)\n(deny default)\n\n"
			"; processes: their own kind only\n"
			"(allow process-fork)\n"
			"(allow signal (target same-sandbox))\n"
			"(allow process-info* (target same-sandbox))\n"
			"(allow sysctl-read)\n"
			"(allow pseudo-tty)\n"
			"(allow mach-lookup (global-name \"com.apple.system.opendirectoryd.libinfo\")\n"
			"\t(global-name \"com.apple.system.logger\")\n"
			"\t(global-name \"com.apple.system.notification_center\"))\n");
}

static void put_devices(struct immure_buf *out)
{
	immure_buf_puts(out,
			"\n; devices\n"
			"(deny file* process-exec* (subpath \"/dev\"))\n"
			"(allow file-read* (literal \"/dev/random\") (literal \"/dev/urandom\"))\n"
			"(allow file-read* file-write-data (literal \"/dev/null\") (literal \"/dev/zero\"))\n"
			"(allow file-read* file-write-data file-ioctl (literal \"/dev/tty\") "
			"(literal \"/dev/ptmx\")\n\t(regex \"^/dev/ttys[0-9]+$\"))\n"
			"(allow file-read* file-write-data (regex \"^/dev/fd/[0-9]+$\"))\n");
}

void immure_render_seatbelt(const struct immure_plan *p, struct immure_buf *out)
{
	put_comment(out, "immure, plan ", immure_plan_hash_of(p));
	put_comment(out, "policy ", p->policy_version);
	put_comment(out, "start with: sandbox-exec -D TMP=DIR -D PROXY=localhost:PORT -f THIS ", p->argv.v[0]);
	put_basics(out);
	put_files(out, p);
	put_watches(out, p);
	put_devices(out);
	put_network(out, p);
}
