/* SPDX-License-Identifier: Apache-2.0 */
#include "session/answer.h"

static void head(struct immure_jsonw *w, struct immure_buf *b, uint64_t id, bool ok)
{
	immure_jsonw_init(w, b, 0);
	immure_jsonw_object(w, NULL);
	immure_jsonw_uint(w, "id", id);
	immure_jsonw_bool(w, "ok", ok);
}

void immure_answer_begin(struct immure_jsonw *w, struct immure_buf *b, uint64_t id)
{
	head(w, b, id, true);
}

void immure_answer_refusal(struct immure_jsonw *w, struct immure_buf *b, uint64_t id,
			   const struct immure_error *err)
{
	head(w, b, id, false);
	immure_jsonw_object(w, "error");
	immure_jsonw_int(w, "code", immure_error_code(err));
	immure_jsonw_int(w, "errno", immure_error_errno(err));
	immure_jsonw_str(w, "stage", immure_error_stage(err));
	immure_jsonw_str(w, "subject", immure_error_subject(err));
	immure_jsonw_str(w, "text", immure_error_text(err));
	immure_jsonw_str(w, "hint", immure_error_hint(err));
	immure_jsonw_end(w, '}');
}
