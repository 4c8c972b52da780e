/* SPDX-License-Identifier: Apache-2.0 */
/* What a plan becomes on platforms that are not this one: a profile, or a contract
 * for another program. Text only; whoever starts it is that platform's affair. */
#ifndef IMMURE_PLAN_RENDER_H
#define IMMURE_PLAN_RENDER_H

#include "base/buf.h"
#include "base/jsonw.h"
#include "plan/plan.h"

struct immure_compile;

/* elsewhere.c: the planner of those backends; whether a name is one of them. */
int32_t immure_elsewhere_compile(struct immure_compile *b);
bool immure_elsewhere_is(const char *backend);
/* The gaps that the platform itself leaves. */
void immure_elsewhere_gaps(struct immure_compile *b);

/* The artefact of the plan's backend; caller frees. NULL with *ret_known false when
 * that backend has none, NULL with true when out of memory. */
char *immure_plan_artefact(const struct immure_plan *p, bool *ret_known);

/* One of each. */
void immure_render_seatbelt(const struct immure_plan *p, struct immure_buf *out);
void immure_render_vz(const struct immure_plan *p, struct immure_buf *out);
void immure_render_wsl2(const struct immure_plan *p, struct immure_buf *out);
void immure_render_remote(const struct immure_plan *p, struct immure_buf *out);

/* ---- what they share ---- */

/* Below /proc, /sys, /dev or /run: what those are is another kernel's matter. */
bool immure_render_is_kernels(const char *path);
bool immure_render_is_proxy(const char *variable); /* "HTTP_PROXY=..." and its kin */
/* "contract", "version", "policy_version", "plan". */
void immure_render_head(struct immure_jsonw *w, const struct immure_plan *p, const char *contract);
void immure_render_limits(struct immure_jsonw *w, const struct immure_plan *p);
void immure_render_words(struct immure_jsonw *w, const char *key, const struct immure_strv *words);

enum {
	IMMURE_RENDER_PROXY = 18080,   /* guest's loopback, and vsock to the gatekeeper */
	IMMURE_RENDER_PTY = 18081,     /* vsock */
	IMMURE_RENDER_PTY_CONTROL = 18082,
	IMMURE_RENDER_DNS = 1053,      /* guest's loopback */
};

#endif
