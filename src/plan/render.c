/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/render.h"

#include <string.h>

#include "base/path.h"

static const struct {
	const char *backend;
	void (*render)(const struct immure_plan *p, struct immure_buf *out);
} renderers[] = {
	{ "seatbelt", immure_render_seatbelt },
	{ "vz", immure_render_vz },
	{ "wsl2", immure_render_wsl2 },
	{ "remote", immure_render_remote },
};

char *immure_plan_artefact(const struct immure_plan *p, bool *ret_known)
{
	for (size_t i = 0; i < sizeof(renderers) / sizeof(renderers[0]); i++) {
		struct immure_buf out = IMMURE_BUF_INIT;

		if (strcmp(renderers[i].backend, p->backend) != 0)
			continue;
		*ret_known = true;
		renderers[i].render(p, &out);
		return immure_buf_take(&out);
	}
	*ret_known = false;
	return NULL;
}

bool immure_render_is_kernels(const char *path)
{
	return immure_path_is_under(path, "/proc") || immure_path_is_under(path, "/sys") ||
	       immure_path_is_under(path, "/dev") || immure_path_is_under(path, "/run");
}

bool immure_render_is_proxy(const char *variable)
{
	static const char *const names[] = { "HTTP_PROXY=", "http_proxy=", "HTTPS_PROXY=", "https_proxy=",
					     "ALL_PROXY=", "all_proxy=", "NO_PROXY=", "no_proxy=" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strncmp(variable, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

void immure_render_head(struct immure_jsonw *w, const struct immure_plan *p, const char *contract)
{
	immure_jsonw_str(w, "contract", contract);
	immure_jsonw_int(w, "version", 1);
	immure_jsonw_str(w, "policy_version", p->policy_version);
	immure_jsonw_str(w, "plan", immure_plan_hash_of(p));
}

void immure_render_words(struct immure_jsonw *w, const char *key, const struct immure_strv *words)
{
	immure_jsonw_array(w, key);
	for (size_t i = 0; i < words->n; i++)
		immure_jsonw_str(w, NULL, words->v[i]);
	immure_jsonw_end(w, ']');
}

static void put_limit(struct immure_jsonw *w, const char *key, const struct immure_op *op, unsigned int n)
{
	if (op)
		immure_jsonw_uint(w, key, op->num[n]);
	else
		immure_jsonw_null(w, key);
}

static const struct immure_op *rlimit(const struct immure_plan *p, const char *what)
{
	for (size_t i = 0; i < p->ops_n; i++)
		if (p->ops[i].kind == IMMURE_OP_RLIMIT && strcmp(p->ops[i].src, what) == 0)
			return &p->ops[i];
	return NULL;
}

void immure_render_limits(struct immure_jsonw *w, const struct immure_plan *p)
{
	immure_jsonw_object(w, "limits");
	put_limit(w, "memory_bytes", immure_plan_find(p, IMMURE_OP_MEMORY_WATCH), 0);
	put_limit(w, "processes", rlimit(p, "nproc"), 0);
	put_limit(w, "open_files", rlimit(p, "nofile"), 0);
	put_limit(w, "file_size_bytes", rlimit(p, "fsize"), 0);
	put_limit(w, "cpu_time_s", rlimit(p, "cpu"), 0);
	put_limit(w, "wall_time_ms", immure_plan_find(p, IMMURE_OP_WALL_TIME), 0);
	put_limit(w, "grace_ms", immure_plan_find(p, IMMURE_OP_WALL_TIME), 1);
	put_limit(w, "output_bytes", immure_plan_find(p, IMMURE_OP_OUTPUT_CAP), 0);
	immure_jsonw_end(w, '}');
}
