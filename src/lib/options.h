/* SPDX-License-Identifier: Apache-2.0 */
/* Option structs of callers that were built against an older or newer header:
 * what they have is copied, what they lack is zero, what we do not know must
 * be zero (the rule of clone3(2) and openat2(2)). */
#ifndef IMMURE_LIB_OPTIONS_H
#define IMMURE_LIB_OPTIONS_H

#include <stdint.h>
#include <string.h>

#include "base/error.h"

static inline int32_t immure_options_copy(void *to, size_t to_size, const void *from,
					  const char *call, struct immure_error **err)
{
	uint64_t size = 0;

	memset(to, 0, to_size);
	if (from)
		memcpy(&size, from, sizeof(size));
	if (size < sizeof(size) || size > 65536)
		return immure_fail(err, IMMURE_ERR_INVALID, 0, "api", call,
				   "options are missing or their size is not set");
	for (uint64_t i = to_size; i < size; i++)
		if (((const char *)from)[i])
			return immure_fail(err, IMMURE_ERR_INVALID, 0, "api", call,
					   "options that this version of the library does not know");
	memcpy(to, from, size < to_size ? size : to_size);
	return 0;
}

#endif
