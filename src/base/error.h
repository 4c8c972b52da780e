/* SPDX-License-Identifier: Apache-2.0 */
/* Errors as objects. base/ and kernel/ return 0 or -errno; everything above
 * them fills one of these through a last parameter that may be NULL. */
#ifndef IMMURE_BASE_ERROR_H
#define IMMURE_BASE_ERROR_H

#include <stdint.h>

#include "immure/immure.h"

#define IMMURE_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* The public opaque type. Strings are owned; text is one line of printable
 * UTF-8 (control bytes are escaped on the way in). */
struct immure_error {
	int32_t code;    /* IMMURE_ERR_* */
	int32_t errnum;  /* errno value behind it, 0 when there is none */
	char *stage;     /* where: "policy", "plan", "mount", "seccomp" ... */
	char *subject;   /* policy key, operation or path, may be "" */
	char *text;      /* WHAT: WHY */
	char *hint;      /* what to do about it, may be "" */
};

/* Sets *err (when err is not NULL and *err is NULL; the first error wins) and
 * returns -code, so a function ends with `return immure_fail(err, ...)`.
 * Out of memory sets a static object, never NULL. */
int32_t immure_fail(struct immure_error **err, int32_t code, int errnum,
		    const char *stage, const char *subject, const char *fmt, ...)
	IMMURE_PRINTF(6, 7);

/* Adds or replaces the hint of an error already set; does nothing on NULL. */
void immure_error_set_hint(struct immure_error *err, const char *fmt, ...)
	IMMURE_PRINTF(2, 3);

#endif
