/* SPDX-License-Identifier: Apache-2.0 */
/* The native backend: a child in new namespaces that becomes the session's
 * init. What it does inside is src/init's. */
#ifndef IMMURE_BACKEND_NATIVE_H
#define IMMURE_BACKEND_NATIVE_H

#include "backend/backend.h"

extern const struct immure_backend immure_native;

#endif
