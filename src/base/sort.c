/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sort.h"

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

/* Runs that are in order already are found once. Neighbours are merged when as many went into
 * one as into the other: what waits has fewer and fewer, so it is never many. */
void immure_sort(const void **v, size_t n, const void **scratch,
		 int (*compare)(const void *a, const void *b))
{
	struct {
		size_t from;
		unsigned int merged; /* how often: at least 2^merged elements */
	} run[8 * sizeof(size_t) + 1];
	size_t waiting = 0;

	for (size_t from = 0, end; from < n; from = end) {
		end = run_end(v, from, n, compare);
		run[waiting].from = from;
		run[waiting++].merged = 0;
		for (; waiting > 1 && run[waiting - 1].merged == run[waiting - 2].merged; waiting--) {
			merge(v, run[waiting - 2].from, run[waiting - 1].from, end, scratch, compare);
			run[waiting - 2].merged++;
		}
	}
	for (; waiting > 1; waiting--)
		merge(v, run[waiting - 2].from, run[waiting - 1].from, n, scratch, compare);
}
