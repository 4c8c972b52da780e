/* SPDX-License-Identifier: Apache-2.0 */
/* In the place of ahead.c where the host is not Linux: nothing is begun ahead. */
#include "backend/ahead.h"

struct immure_ahead *immure_ahead_start(bool loopback)
{
	(void)loopback;
	return NULL;
}

struct immure_ahead *immure_ahead_start_filtered(const struct immure_ahead_filters *f)
{
	(void)f;
	return NULL;
}

void immure_ahead_free(struct immure_ahead *a)
{
	(void)a;
}
