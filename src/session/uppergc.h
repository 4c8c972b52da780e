/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMMURE_SESSION_UPPERGC_H
#define IMMURE_SESSION_UPPERGC_H

#include "session/report.h"
#include "session/upper.h"

/* Half-made and unchanged ones go; the others are named, and stay. */
void immure_upper_collect(const char *state_dir, bool dry_run, struct immure_report *report);

#endif
