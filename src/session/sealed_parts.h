/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of a sealed place (sealed.h) share. */
#ifndef IMMURE_SESSION_SEALED_PARTS_H
#define IMMURE_SESSION_SEALED_PARTS_H

#include "session/sealed.h"

int32_t immure_sealed_failed(struct immure_error **err, int errnum, const char *stage, const char *what);
/* The journal cannot be written: what it would have told of is not done. */
int32_t immure_sealed_unrecorded(struct immure_error **err, int r);
/* Before there is anything to remove. */
int32_t immure_sealed_janitor(struct immure_sealed *s, struct immure_error **err);

/* ---- sealed_leaf.c ---- */
int32_t immure_sealed_make_leaf(struct immure_sealed *s, struct immure_error **err);
/* As immure_sealed_done(). */
int immure_sealed_remove_leaf(struct immure_sealed *s, char *left, size_t len);

/* ---- sealed_meet.c: an init that is executed ---- */
int32_t immure_sealed_prepare_other(struct immure_sealed *s, struct immure_error **err);
/* Waits for it, holds it, and gives it the streams. */
int32_t immure_sealed_meet(struct immure_sealed *s, const int stdio[3], struct immure_error **err);

#endif
