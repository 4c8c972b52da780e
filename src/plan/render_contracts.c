/* SPDX-License-Identifier: Apache-2.0 */
/* Launch contracts: JSON for the program that starts a guest, a Windows shell, or a
 * machine elsewhere. Files with them are for their owner alone (mode 0600): they
 * hold the command's arguments and environment. */
#include <string.h>

#include "plan/render.h"

/* ---- vz ---- */

static const char *access_of(const struct immure_op *op)
{
	switch (op->kind) {
	case IMMURE_OP_ROOT_HOST:
		return "host_read_only";
	case IMMURE_OP_ROOT_EMPTY:
		return "empty";
	case IMMURE_OP_BIND:
		return op->flags & IMMURE_OPF_RO ? "read_only" : "read_write";
	case IMMURE_OP_TMPFS:
		return op->flags & IMMURE_OPF_RO ? "empty" : "private";
	case IMMURE_OP_LAYER:
		return "layer";
	case IMMURE_OP_OVERLAY:
		return op->flags & IMMURE_OPF_RO ? "overlay_read_only" : "overlay";
	case IMMURE_OP_DIR:
	case IMMURE_OP_FILE:
		return "generated";
	case IMMURE_OP_SYMLINK:
		return "link";
	case IMMURE_OP_MASK:
		return "denied";
	case IMMURE_OP_MASK_KEEP:
		return "denied_around";
	case IMMURE_OP_READONLY:
		return "protected";
	case IMMURE_OP_PIN:
		return "pinned";
	default:
		return NULL;
	}
}

/* In the order in which they are applied: a later one decides about what it covers. */
static void mounts(struct immure_jsonw *w, const struct immure_plan *p)
{
	immure_jsonw_array(w, "mounts");
	for (size_t i = 0; i < p->ops_n; i++) {
		const struct immure_op *op = &p->ops[i];
		const char *access = op->stage == IMMURE_STAGE_MOUNT ? access_of(op) : NULL;

		/* A guest's names and hosts are answered inside of it. */
		if (!access || immure_render_is_kernels(op->dst) ||
		    (op->kind == IMMURE_OP_FILE && strcmp(op->key, "network.mode") == 0))
			continue;
		immure_jsonw_object(w, NULL);
		immure_jsonw_str(w, "target", *op->dst ? op->dst : "/");
		immure_jsonw_str(w, "access", access);
		if (op->kind == IMMURE_OP_BIND || op->kind == IMMURE_OP_LAYER)
			immure_jsonw_str(w, "source", op->src);
		if (op->kind == IMMURE_OP_FILE)
			immure_jsonw_str(w, "contents", op->src);
		if (op->kind == IMMURE_OP_SYMLINK)
			immure_jsonw_str(w, "leads_to", op->src);
		if (op->kind == IMMURE_OP_TMPFS && op->num[0])
			immure_jsonw_uint(w, "bytes", op->num[0]);
		if (op->flags & IMMURE_OPF_SHARED && op->num[0]) /* bytes of all that say so */
			immure_jsonw_bool(w, "bytes_shared", true);
		if (op->flags & IMMURE_OPF_NOEXEC)
			immure_jsonw_bool(w, "noexec", true);
		if (op->flags & IMMURE_OPF_OPTIONAL)
			immure_jsonw_bool(w, "optional", true);
		immure_jsonw_str(w, "because", op->key);
		immure_jsonw_end(w, '}');
	}
	immure_jsonw_end(w, ']');
}

static void rules(struct immure_jsonw *w, const struct immure_plan *p, const char *key, uint32_t kind)
{
	immure_jsonw_array(w, key);
	for (size_t i = 0; i < p->ops_n; i++)
		if (p->ops[i].kind == kind)
			immure_jsonw_str(w, NULL, p->ops[i].src);
	immure_jsonw_end(w, ']');
}

/* No interface at all: one stream to the gatekeeper, and what speaks for it inside. */
static void network(struct immure_jsonw *w, const struct immure_plan *p)
{
	bool limited = immure_plan_find(p, IMMURE_OP_EGRESS) != NULL;

	immure_jsonw_object(w, "network");
	immure_jsonw_str(w, "mode", limited ? "limited" : "none");
	immure_jsonw_array(w, "interfaces");
	immure_jsonw_end(w, ']');
	if (limited) {
		immure_jsonw_int(w, "egress_vsock_port", IMMURE_RENDER_PROXY);
		immure_jsonw_str(w, "guest_proxy", "127.0.0.1:18080");
		immure_jsonw_str(w, "guest_dns", "127.0.0.1:1053");
		rules(w, p, "allow", IMMURE_OP_EGRESS_ALLOW);
		rules(w, p, "deny", IMMURE_OP_EGRESS_DENY);
	}
	immure_jsonw_end(w, '}');
}

static void environment(struct immure_jsonw *w, const struct immure_plan *p)
{
	static const char *const proxied[] = { "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy",
					       "https_proxy", "all_proxy" };
	const struct immure_op *egress = immure_plan_find(p, IMMURE_OP_EGRESS);
	struct immure_buf b = IMMURE_BUF_INIT;

	immure_jsonw_array(w, "environment");
	for (size_t i = 0; i < p->env.n; i++)
		if (!immure_render_is_proxy(p->env.v[i])) /* the host's mean nothing in a guest */
			immure_jsonw_str(w, NULL, p->env.v[i]);
	for (size_t i = 0; egress && egress->num[0] && i < sizeof(proxied) / sizeof(proxied[0]); i++) {
		immure_buf_printf(&b, "%s=http://127.0.0.1:%d", proxied[i], IMMURE_RENDER_PROXY);
		immure_jsonw_str(w, NULL, b.data);
		b.len = 0;
	}
	if (!immure_buf_ok(&b))
		w->out->failed = true;
	immure_buf_done(&b);
	immure_jsonw_end(w, ']');
}

void immure_render_vz(const struct immure_plan *p, struct immure_buf *out)
{
	static const char *const invariants[] = {
		"egress_by_gatekeeper_only", "dns_confined", "fail_closed_startup",
		"fail_closed_at_runtime", "direct_bypass_resistant", "stdio_signals_exit_preserved",
	};
	struct immure_jsonw w;

	immure_jsonw_init(&w, out, 2);
	immure_jsonw_object(&w, NULL);
	immure_render_head(&w, p, "immure-vz");
	immure_jsonw_str(&w, "file_mode", "0600");
	immure_jsonw_object(&w, "guest");
	immure_jsonw_array(&w, "needs");
	immure_jsonw_str(&w, NULL, "runner");
	immure_jsonw_str(&w, NULL, "kernel");
	immure_jsonw_str(&w, NULL, "initrd");
	immure_jsonw_str(&w, NULL, "rootfs");
	immure_jsonw_end(&w, ']');
	immure_jsonw_end(&w, '}');
	immure_jsonw_object(&w, "command");
	immure_render_words(&w, "argv", &p->argv);
	environment(&w, p);
	immure_jsonw_str(&w, "directory", p->cwd);
	immure_jsonw_end(&w, '}');
	immure_jsonw_object(&w, "terminal");
	immure_jsonw_str(&w, "mode", "as_standard_input");
	immure_jsonw_int(&w, "pty_vsock_port", IMMURE_RENDER_PTY);
	immure_jsonw_int(&w, "control_vsock_port", IMMURE_RENDER_PTY_CONTROL);
	immure_jsonw_end(&w, '}');
	mounts(&w, p);
	network(&w, p);
	immure_render_limits(&w, p);
	immure_jsonw_object(&w, "invariants");
	for (size_t i = 0; i < sizeof(invariants) / sizeof(invariants[0]); i++)
		immure_jsonw_bool(&w, invariants[i], true);
	immure_jsonw_end(&w, '}');
	immure_jsonw_end(&w, '}');
}

/* ---- wsl2, remote ---- */

/* Nothing crosses but the arguments: WSLENV stays empty. */
void immure_render_wsl2(const struct immure_plan *p, struct immure_buf *out)
{
	struct immure_jsonw w;

	immure_jsonw_init(&w, out, 2);
	immure_jsonw_object(&w, NULL);
	immure_render_head(&w, p, "immure-wsl2");
	immure_jsonw_str(&w, "file_mode", "0600");
	immure_render_words(&w, "argv", &p->argv);
	immure_jsonw_object(&w, "environment");
	immure_jsonw_str(&w, "WSLENV", "");
	immure_jsonw_end(&w, '}');
	immure_jsonw_str(&w, "workspace", p->workspace);
	immure_jsonw_str(&w, "directory", p->cwd);
	immure_jsonw_str(&w, "enforced_by", "immure in the distribution, which refuses what it cannot enforce");
	immure_jsonw_object(&w, "needs");
	immure_jsonw_int(&w, "wsl_version", 2);
	immure_jsonw_str(&w, "program", "immure");
	immure_jsonw_end(&w, '}');
	immure_jsonw_end(&w, '}');
}

void immure_render_remote(const struct immure_plan *p, struct immure_buf *out)
{
	struct immure_jsonw w;

	immure_jsonw_init(&w, out, 2);
	immure_jsonw_object(&w, NULL);
	immure_render_head(&w, p, "immure-remote");
	immure_jsonw_str(&w, "file_mode", "0600");
	immure_render_words(&w, "argv", &p->argv);
	immure_jsonw_str(&w, "workspace", p->workspace);
	immure_jsonw_str(&w, "enforced_by", "immure on the other machine, which refuses what it cannot enforce");
	immure_jsonw_object(&w, "needs");
	immure_jsonw_str(&w, "program", "immure");
	immure_jsonw_bool(&w, "workspace_is_there", true);
	immure_jsonw_end(&w, '}');
	immure_jsonw_end(&w, '}');
}
