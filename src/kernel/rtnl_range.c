/* SPDX-License-Identifier: Apache-2.0 */
/* Which addresses stand for names: numbers alone, that plans are made with as well. */
#include "kernel/rtnl.h"

#include <errno.h>
#include <string.h>

void immure_rtnl_setup_default(struct immure_rtnl_setup *s, bool with_v6)
{
	static const uint8_t v4[4] = { 198, 18, 0, 0 };
	static const uint8_t v6[16] = { 0xfd, 0x53, 0x6e, 0x62 };

	memset(s, 0, sizeof(*s));
	s->with_v6 = with_v6;
	/* Both are right by construction: nothing to refuse. */
	(void)immure_rtnl_range_from(false, v4, 15, &s->v4);
	(void)immure_rtnl_range_from(true, v6, 64, &s->v6);
}

int immure_rtnl_range_from(bool v6, const uint8_t *prefix, unsigned int bits,
			   struct immure_rtnl_range *ret)
{
	unsigned int size = v6 ? 16 : 4;

	if (bits < (v6 ? 32U : 8U) || bits > (v6 ? 96U : 24U))
		return -EINVAL;
	for (unsigned int i = bits; i < size * 8; i++)
		if (prefix[i / 8] & (0x80U >> (i % 8)))
			return -EINVAL;
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->gateway, prefix, size);
	ret->gateway[size - 1] |= 1;
	ret->bits = (uint8_t)bits;
	memcpy(ret->names, prefix, size);
	if (v6)
		bits = 96;
	ret->names[bits / 8] |= (uint8_t)(0x80U >> (bits % 8));
	ret->names_bits = (uint8_t)(bits + 1);
	return 0;
}
