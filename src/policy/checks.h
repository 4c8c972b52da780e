/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of single values, named by the key table. */
#ifndef IMMURE_POLICY_CHECKS_H
#define IMMURE_POLICY_CHECKS_H

#include "policy/keys.h"

immure_key_check immure_check_write;      /* the same, and "?" before it */
immure_key_check immure_check_path;       /* "~", "~/x", "/x" or "x"; no ".." */
immure_key_check immure_check_target;     /* absolute; where something may be mounted */
immure_key_check immure_check_mount;      /* -> "SOURCE:TARGET:MODE" */
immure_key_check immure_check_socket;     /* a socket of the host, or a directory of such */
immure_key_check immure_check_preset;     /* a name of the presets */
immure_key_check immure_check_created;    /* an entry of the protected table */
immure_key_check immure_check_host_rule;  /* netrule.h */
immure_key_check immure_check_publish;    /* -> "ADDR:HOSTPORT:PORT" */
immure_key_check immure_check_prefix;     /* CIDR */
immure_key_check immure_check_pass;       /* NAME or PREFIX* */
immure_key_check immure_check_artifact;   /* an absolute path */
immure_key_check immure_check_image;
immure_key_check immure_check_call_group; /* a name of immure_call_groups */
immure_key_check immure_check_agent;      /* a short name */
immure_key_check immure_check_mediator;   /* unix:PATH or program:PATH */
immure_key_check immure_check_capability;
immure_key_check immure_check_backend;    /* one that the key backend can name */

/* "NAME=value" split and checked. */
int immure_check_env(struct immure_arena *a, const char *text, const char **ret_name,
		     const char **ret_value, struct immure_complaint *c);
int immure_check_env_name(const char *name, size_t len, struct immure_complaint *c);

struct immure_secret;
/* All fields of a secret; as may be NULL and becomes "bearer". */
int immure_check_secret(struct immure_arena *a, struct immure_secret *s,
			struct immure_complaint *c);

/* Fills a complaint; returns -EINVAL. */
int immure_complain(struct immure_complaint *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void immure_complain_hint(struct immure_complaint *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
