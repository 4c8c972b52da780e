/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMMURE_CLI_UNIFIED_H
#define IMMURE_CLI_UNIFIED_H

#include <stdbool.h>

#include "base/buf.h"

/* Appends how b differs from a (descriptors; -1 = nothing was or is there), as diff -u tells
 * it, under this name. safe: whatever a terminal might obey is made visible. */
void immure_cli_unified(const char *name, int a, int b, bool safe, struct immure_buf *out);

#endif
