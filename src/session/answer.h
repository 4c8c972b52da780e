/* SPDX-License-Identifier: Apache-2.0 */
/* The beginnings of answers, which sessions and pools word alike (docs/PROTOCOL.md). */
#ifndef IMMURE_SESSION_ANSWER_H
#define IMMURE_SESSION_ANSWER_H

#include "base/buf.h"
#include "base/error.h"
#include "base/jsonw.h"

/* {"id":N,"ok":true, and the object stays open */
void immure_answer_begin(struct immure_jsonw *w, struct immure_buf *b, uint64_t id);
/* {"id":N,"ok":false,"error":{...}, and the object stays open */
void immure_answer_refusal(struct immure_jsonw *w, struct immure_buf *b, uint64_t id,
			   const struct immure_error *err);

#endif
