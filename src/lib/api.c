/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "immure/immure.h"

void immure_string_free(char *s)
{
	free(s);
}

uint32_t immure_api_version(void)
{
	return IMMURE_VERSION_MAJOR << 16 | IMMURE_VERSION_MINOR << 8 | IMMURE_VERSION_PATCH;
}
