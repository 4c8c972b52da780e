/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sort.h"

#include <stdbool.h>
#include <string.h>

static size_t run_end(const void **v, size_t from, size_t n, int (*compare)(const void *, const void *))
{
	size_t i = from + 1;

	while (i < n && compare(v[i - 1], v[i]) <= 0)
		i++;
	return i;
}

static void merge(const void **v, size_t from, size_t mid, size_t to, const void **scratch,
		  int (*compare)(const void *, const void *))
{
	size_t left = mid - from, i = 0, j = mid, out = from;

	memcpy(scratch, v + from, left * sizeof(*v));
	while (i < left && j < to)
		v[out++] = compare(scratch[i], v[j]) <= 0 ? scratch[i++] : v[j++];
	memcpy(v + out, scratch + i, (left - i) * sizeof(*v));
}

void immure_sort(const void **v, size_t n, const void **scratch,
		 int (*compare)(const void *a, const void *b))
{
	bool merged = true;

	while (merged) {
		size_t from = 0;

		merged = false;
		while (from < n) {
			size_t mid = run_end(v, from, n, compare), to;

			if (mid == n)
				break;
			to = run_end(v, mid, n, compare);
			merge(v, from, mid, to, scratch, compare);
			from = to;
			merged = true;
		}
	}
}
