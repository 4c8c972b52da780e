/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the caller requires: an isolation class, capabilities, trust. Each thing that
 * a backend does not offer is one gap with a name of its own, the delta:
 *
 *   require.class          the class offered instead ("sandbox")
 *   require.capabilities   the capability or dimension that is missing
 *   require.FIELD          "trust_FIELD"
 *
 * A delta is accepted by two, neither of whom can do it alone: the policy lists it and
 * the caller approves it. A policy without files is the caller's own flags, which do
 * both. Work of remote origin never degrades.
 */
#include "plan/require.h"

#include <string.h>

#include "policy/keys.h"

/* These keys hold several deltas each: their names would approve all of them. */
static bool is_exact(const char *key)
{
	return strcmp(key, "require.class") != 0 && strcmp(key, "require.capabilities") != 0;
}

static bool names(const struct immure_strv *l, const char *key, const char *dimension)
{
	return immure_strv_has(l, dimension) || (is_exact(key) && immure_strv_has(l, key));
}

static bool by_caller(const struct immure_policy *p, const char *key, const char *dimension)
{
	return p->downgrade == IMMURE_DOWNGRADE_ALLOW && names(&p->downgrades, key, dimension);
}

static bool by_policy(const struct immure_policy *p, const char *key, const char *dimension)
{
	return !p->downgrade_bounded || names(&p->downgrade_listed, key, dimension);
}

bool immure_require_approved(const struct immure_policy *p, const char *key, const char *dimension)
{
	return p->origin == IMMURE_ORIGIN_LOCAL && by_caller(p, key, dimension) &&
	       by_policy(p, key, dimension);
}

const char *immure_require_remedy(struct immure_arena *a, const struct immure_policy *p,
				  const char *key, const char *dimension, const char *remedy)
{
	if (p->origin == IMMURE_ORIGIN_LOCAL && by_caller(p, key, dimension) &&
	    !by_policy(p, key, dimension))
		return immure_arena_printf(a, "%s; it is approved, but the policy file does not list "
					      "%s in require.downgrade", remedy, dimension);
	return remedy;
}

static void require_class(struct immure_compile *b, const struct immure_backend_report *r)
{
	const char *asked = b->p->require_class;

	if (!asked || immure_class_enough(r->isolation_class, asked))
		return;
	immure_compile_gap(b, false, "require.class", r->isolation_class,
			 immure_arena_printf(b->a, "backend %s is of class %s, not %s", r->backend,
					     r->isolation_class, asked),
			 immure_arena_printf(b->a, "require.class: %s, or a backend of class %s",
					     r->isolation_class, asked));
}

/* By its name, with what the policy at hand makes of it: a guarantee of no network is
 * none beside the host's network. */
static bool offers(const struct immure_compile *b, const struct immure_backend_report *r,
		   const char *name)
{
	/* Not the backend's: whoever supervises it keeps the journal. */
	if (b->p->journal && strcmp(name, immure_capability_names[IMMURE_CAP_AUDIT_LOG]) == 0)
		return true;
	for (size_t c = 0; c < immure_capability_names_n; c++)
		if (strcmp(immure_capability_names[c], name) == 0 && (r->capabilities & 1u << c) &&
		    (c != IMMURE_CAP_NO_NETWORK_GUARANTEE ||
		     b->p->network == IMMURE_NETWORK_NONE))
			return true;
	for (int d = 0; d < IMMURE_DIM_MAX; d++) {
		if (strcmp(immure_dimension_name((enum immure_dimension)d), name) != 0)
			continue;
		if ((d == IMMURE_DIM_NETWORK_EGRESS || d == IMMURE_DIM_NETWORK_INGRESS) &&
		    b->p->network == IMMURE_NETWORK_HOST)
			return false;
		return r->dims[d].level == IMMURE_LEVEL_ENFORCED;
	}
	return false;
}

static void require_capabilities(struct immure_compile *b, const struct immure_backend_report *r)
{
	for (size_t i = 0; i < b->p->require_caps.n; i++) {
		const char *name = b->p->require_caps.v[i];

		if (!offers(b, r, name))
			immure_compile_gap(b, false, "require.capabilities", name,
					 immure_arena_printf(b->a, "backend %s does not offer %s "
							     "with this policy", r->backend, name),
					 "take it out of require.capabilities, or another backend");
	}
}

static void require_trust(struct immure_compile *b, const struct immure_backend_report *r)
{
	for (unsigned int t = 0; t < IMMURE_TRUST_MAX; t++) {
		const struct immure_trust_info *info = &immure_trust_fields[t];
		uint32_t asked = b->p->require_trust[t];

		if (immure_trust_enough((enum immure_trust_field)t, r->trust[t], asked))
			continue;
		if (t == IMMURE_TRUST_AUDITABILITY && b->p->journal)
			continue; /* as above */
		immure_compile_gap(b, false, info->key, info->delta,
				 immure_arena_printf(b->a, "backend %s gives %s, not %s", r->backend,
						     info->values[r->trust[t]], info->values[asked]),
				 immure_arena_printf(b->a, "%s: %s, or another backend", info->key,
						     info->values[r->trust[t]]));
	}
}

void immure_require_gaps(struct immure_compile *b, const struct immure_backend_report *r)
{
	require_class(b, r);
	require_capabilities(b, r);
	require_trust(b, r);
}
