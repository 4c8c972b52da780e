/* SPDX-License-Identifier: Apache-2.0 */
/* Texts made from the key table: for people, for editors, for the pages. All
 * are owned by the caller; NULL when out of memory. */
#ifndef IMMURE_POLICY_DESCRIBE_H
#define IMMURE_POLICY_DESCRIBE_H

#include <stdbool.h>

#include "policy/policy.h"

/* The effective policy, with the source of every value. */
char *immure_policy_describe(const struct immure_policy *p, bool json);
/* A line for each thing that is allowed and surely not meant; "" = none. */
char *immure_policy_notices_text(const struct immure_policy *p);
/* JSON Schema (2020-12) of policy files. */
char *immure_policy_schema_text(void);
/* format "markdown", "man" (roff) or "keys"; *ret_known false for another. */
char *immure_policy_reference_text(const char *format, bool *ret_known);

#endif
