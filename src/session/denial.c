/* SPDX-License-Identifier: Apache-2.0 */
/* One denial, as it is printed. */
#include <string.h>

#include "base/jsonw.h"
#include "session/result.h"

void immure_result_denial_json(const char *name, const struct immure_denial *d,
			       struct immure_jsonw *w)
{
	immure_jsonw_object(w, name);
	immure_jsonw_str(w, "step", d->step);
	immure_jsonw_str(w, "code", d->code[0] ? d->code : NULL);
	immure_jsonw_str(w, "host", d->host);
	if (d->port)
		immure_jsonw_uint(w, "port", d->port);
	else
		immure_jsonw_null(w, "port");
	immure_jsonw_str(w, "why", d->why);
	immure_jsonw_str(w, "rule", d->rule[0] ? d->rule : NULL);
	immure_jsonw_str(w, "add", d->add[0] ? d->add : NULL);
	immure_jsonw_str(w, "exe", d->exe[0] ? d->exe : NULL);
	if (d->pid)
		immure_jsonw_uint(w, "pid", d->pid);
	else
		immure_jsonw_null(w, "pid");
	immure_jsonw_uint(w, "count", d->count);
	immure_jsonw_uint(w, "at_ms", d->at_ms);
	immure_jsonw_end(w, '}');
}

static const char *last_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

void immure_result_denial_text(const struct immure_denial *d, struct immure_buf *out)
{
	immure_buf_puts(out, d->failed ? "not reached: " : "denied: ");
	/* Most reasons begin with what they are about. */
	if (strncmp(d->why, d->host, strlen(d->host)) != 0 && d->port)
		immure_buf_printf(out, "%s:%u: ", d->host, d->port);
	else if (strncmp(d->why, d->host, strlen(d->host)) != 0)
		immure_buf_printf(out, "%s: ", d->host);
	immure_buf_puts(out, d->why);
	if (d->pid)
		immure_buf_printf(out, " (%s, pid %u)", d->exe[0] ? last_name(d->exe) : "?", d->pid);
	if (d->add[0])
		immure_buf_printf(out, "; allow it with --allow %s", d->add);
	if (d->failed)
		immure_buf_puts(out, "; the rules allow it");
}
