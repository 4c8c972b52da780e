/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/backend.h"

#include <stddef.h>
#include <string.h>

#include "backend/bwrap.h"
#include "backend/landlock.h"
#include "backend/native.h"

const struct immure_backend *immure_backend_by_name(const char *name)
{
	static const struct immure_backend *const all[] = { &immure_native, &immure_bwrap,
							    &immure_landlock };

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (strcmp(all[i]->name, name) == 0)
			return all[i];
	return NULL;
}
