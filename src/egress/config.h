/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the gatekeeper is told: one value, made from the plan by the supervisor,
 * encoded into a sealed memfd, and read once at the other side. The encoding is
 * strict both ways: what is out of range is neither written nor believed.
 */
#ifndef IMMURE_EGRESS_CONFIG_H
#define IMMURE_EGRESS_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "egress/httpflow.h"
#include "egress/synth.h"

enum {
	IMMURE_EGRESS_RULES_MAX = 4096, /* allow and deny, each */
	IMMURE_EGRESS_RULE_MAX = 2048,  /* bytes of one rule's text */
	IMMURE_EGRESS_PUBLISH_MAX = 64,
	IMMURE_EGRESS_CONFIG_MAX = 4 * 1024 * 1024, /* bytes, encoded */
};

/* What the names of fields begin with that say whose a request is. */
#define IMMURE_ATTRIBUTION "Immure-"

/* All limits are of the session as a whole. */
struct immure_egress_limits {
	uint32_t connections;      /* open at once, 1 to 65536; more are reset at accept */
	uint64_t bytes_per_s;      /* both directions together, 0 = no limit */
	uint32_t resolve_ms;       /* one name, all resolvers and tries */
	uint32_t dial_ms;          /* one address */
	uint32_t first_ms;         /* from accept to whole first bytes, where a rule looks at them */
	uint32_t head_ms;          /* one request's head on a kept-alive connection, and a
				    * proxy's preamble */
	uint32_t idle_ms;          /* no byte either way; 0 = no limit */
	struct immure_http_bounds bodies; /* where requests are looked at; 0 = no limit */
};

/* A host port that leads into the session. The listener itself is passed as a
 * descriptor (wire.h), in the same order. */
struct immure_egress_publish {
	uint16_t port; /* inside, on the session's own loopback: 127.0.0.1, then ::1 */
};

struct immure_egress_config {
	struct immure_strv allow, deny; /* rules, as policy/netrule.h reads them */
	bool private_ok;                /* network.private */
	bool refuse_ech;
	struct immure_strv secret; /* rules: where secrets are sent, so that TLS ends at us */
	struct immure_strv attribute; /* rules: requests that get `fields`; of those that are looked into */
	struct immure_strv fields;    /* "Immure-NAME: VALUE" */
	/* What follows cannot change while the worker runs. */
	bool intercepts; /* LINK follows START: immure-intercept is at its other end */
	struct immure_synth_config synth; /* prefixes, name limits, seed; see defaults() */
	/* Names get addresses counted from here: 0 for the session's first worker, then
	 * the last `upto` it told (wire.h), so that no address ever means two names. */
	uint32_t first_name;
	struct immure_egress_publish publish[IMMURE_EGRESS_PUBLISH_MAX];
	uint32_t publish_n;
	struct immure_egress_limits limits; /* may change; connections only downwards counts
					     * for new ones */
};

/* No rules (deny all), the default prefixes and limits, seed 0: the
 * caller sets a random one. */
void immure_egress_config_defaults(struct immure_egress_config *c);
/* NULL, or what is wrong with it (static). Rules are only measured here. */
const char *immure_egress_config_check(const struct immure_egress_config *c);
/* Whether a running worker can take `b` in place of `a`. */
bool immure_egress_config_can_replace(const struct immure_egress_config *a,
				      const struct immure_egress_config *b);

/* *ret_data is the caller's to free. -EINVAL when check() finds something, -ENOMEM. */
int immure_egress_config_encode(const struct immure_egress_config *c, unsigned char **ret_data,
				size_t *ret_len);
/* Strings live in the arena. -EBADMSG for anything that encode() would not have
 * written, -ENOMEM. */
int immure_egress_config_decode(struct immure_arena *a, const unsigned char *data, size_t len,
				struct immure_egress_config *ret);
/* The same by descriptor. seal: a new memfd, CLOEXEC, sealed against every change.
 * load: -EPERM when it is not sealed so; fd is borrowed. */
int immure_egress_config_seal(const struct immure_egress_config *c, int *ret_fd);
int immure_egress_config_load(struct immure_arena *a, int fd, struct immure_egress_config *ret);

#endif
