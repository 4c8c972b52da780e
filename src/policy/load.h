/* SPDX-License-Identifier: Apache-2.0 */
/* From options to a policy: which files there are, whether they may be obeyed,
 * and in which order the layers go. */
#ifndef IMMURE_POLICY_LOAD_H
#define IMMURE_POLICY_LOAD_H

#include "base/arena.h"
#include "policy/file.h"
#include "policy/policy.h"
#include "policy/safeopen.h"

/* Everything about where to look, taken from the caller's environment block;
 * strings live in the arena or the block, NULL = unknown. */
struct immure_policy_places {
	const char *explicit_env; /* IMMURE_POLICY */
	const char *home;
	const char *config_tree;  /* what the user's file may not link out of */
	const char *config_rel;   /* the file below that */
	const char *state_dir;    /* ours */
};
void immure_policy_find_places(struct immure_arena *a, const char *const *env,
			       struct immure_policy_places *ret);

/* A file and the files that it extends, nearest first. */
enum { IMMURE_POLICY_CHAIN_MAX = 8 };
struct immure_policy_link {
	struct immure_safe_file opened;
	struct immure_policy_file parsed;
	char *path; /* real path, for trust and messages */
};
struct immure_policy_chain {
	struct immure_policy_link links[IMMURE_POLICY_CHAIN_MAX];
	size_t n;
	const char *profile; /* built-in at the bottom; NULL = none named */
};
void immure_policy_chain_done(struct immure_policy_chain *c);

/* An explicitly named file. "~/" counts from home. */
int32_t immure_policy_chain_open(const char *path, const char *home,
				 struct immure_policy_chain *ret, struct immure_error **err);
/* rel below the directory tree, from which no link may lead out. 1 and *ret
 * set when it is there, 0 when there is no such file, < 0 on error. */
int32_t immure_policy_chain_find(const char *tree, const char *rel, const char *home,
				 struct immure_policy_chain *ret, struct immure_error **err);
/* The nearest .immure/policy.json at or above the workspace; as above. */
int32_t immure_policy_find_workspace(const char *workspace, const char *home,
				     struct immure_policy_chain *ret, struct immure_error **err);
/* Layers of the chain, lowest first. */
int32_t immure_policy_chain_apply(const struct immure_policy_chain *c,
				  struct immure_policy_build *b, struct immure_error **err);

int32_t immure_policy_load_all(const struct immure_policy_options *o, struct immure_policy **ret,
			       struct immure_error **err);

#endif
