/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMMURE_FACTS_REPORT_ELSEWHERE_H
#define IMMURE_FACTS_REPORT_ELSEWHERE_H

#include "facts/report.h"

/* Fills the report of a backend of another platform; false: it is none. */
bool immure_report_elsewhere(struct immure_backend_report *r);

#endif
