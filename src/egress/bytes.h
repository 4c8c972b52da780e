/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMMURE_EGRESS_BYTES_H
#define IMMURE_EGRESS_BYTES_H

#include <stdint.h>

/* Network byte order, no alignment assumed. */
static inline uint16_t get16(const unsigned char *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t get24(const unsigned char *p)
{
	return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

#endif
