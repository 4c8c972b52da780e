/* SPDX-License-Identifier: Apache-2.0 */
/* The backend without namespaces: a plain child that becomes the session's init.
 * What confines it and the command is src/init's and the plan's. */
#ifndef IMMURE_BACKEND_LANDLOCK_H
#define IMMURE_BACKEND_LANDLOCK_H

#include "backend/backend.h"

extern const struct immure_backend immure_landlock;

#endif
