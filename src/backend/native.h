/* SPDX-License-Identifier: Apache-2.0 */
/* The native backend: a child in new namespaces that becomes the session's
 * init. What it does inside is src/init's. */
#ifndef IMMURE_BACKEND_NATIVE_H
#define IMMURE_BACKEND_NATIVE_H

#include "backend/backend.h"

extern const struct immure_backend immure_native;

/* Whether a child may write id maps like those of IDMAP by itself: they name the caller's own, who
 * has no groups that only root can take away. */
bool immure_native_maps_itself(const uint64_t ids[4]);

#endif
