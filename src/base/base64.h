/* SPDX-License-Identifier: Apache-2.0 */
/* Base 64 (RFC 4648, section 4), with padding, without line breaks. */
#ifndef IMMURE_BASE_BASE64_H
#define IMMURE_BASE_BASE64_H

#include <stddef.h>

#include "base/buf.h"

void immure_base64_put(struct immure_buf *out, const void *data, size_t len);
/* Decodes in place: strict, canonical padding. The length, or -EINVAL. */
long immure_base64_decode(char *text, size_t len);

#endif
