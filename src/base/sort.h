/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMMURE_BASE_SORT_H
#define IMMURE_BASE_SORT_H

#include <stddef.h>

/* Stable merge sort of pointers, in time that shrinks with the order already
 * there: tables that are written down sorted cost one comparison an entry.
 * scratch has room for n pointers. */
void immure_sort(const void **v, size_t n, const void **scratch,
		 int (*compare)(const void *a, const void *b));

#endif
