/* SPDX-License-Identifier: Apache-2.0 */
/* One instruction of a filter: what its description is made of, and nobody runs. */
#ifndef IMMURE_BASE_ELSEWHERE_FILTER_H
#define IMMURE_BASE_ELSEWHERE_FILTER_H

#include <stdint.h>

struct sock_filter {
	uint16_t code;
	uint8_t jt, jf;
	uint32_t k;
};

#endif
