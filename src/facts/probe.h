/* SPDX-License-Identifier: Apache-2.0 */
/* Finding out by trying. Everything that could leave a trace or be refused by
 * a filter that kills is done in a throw-away child. */
#ifndef IMMURE_FACTS_PROBE_H
#define IMMURE_FACTS_PROBE_H

#include "facts/facts.h"

/* One system call each, harmless, for quick facts. */
int immure_probe_landlock_abi(void);               /* 0 = none */
enum immure_tri immure_probe_seccomp(const char **ret_missing); /* may be NULL */
enum immure_tri immure_probe_notify(void);

/* Runs every probe and fills what quick facts leave untried. */
int32_t immure_probe_all(struct immure_facts *f, const char *const *env,
			 struct immure_error **err);

#endif
