/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMMURE_EVIDENCE_BARE_H
#define IMMURE_EVIDENCE_BARE_H

struct immure_plan;

/* Why a point says nothing about a plan without namespaces, NULL when it does. What
 * rests on a gap counts only while the plan has that gap, approved. */
const char *immure_bare_not_asked(const struct immure_plan *plan, const char *id);

#endif
