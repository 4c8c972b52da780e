/* SPDX-License-Identifier: Apache-2.0 */
/* The file of --result: one JSON object about one run. */
#ifndef IMMURE_CLI_RECORD_H
#define IMMURE_CLI_RECORD_H

#include "base/error.h"
#include "immure/immure.h"

struct immure_record {
	int dir_fd;       /* where the file goes; -1: no file was asked for */
	const char *name; /* its last component */
	const char *path; /* as given, for messages */
};
#define IMMURE_RECORD_INIT { -1, NULL, NULL }

/* Opens the directory and removes an older record, so that a file that is there
 * afterwards is about this run. path may be NULL: then nothing is written. */
int32_t immure_record_prepare(struct immure_record *r, const char *path,
			      struct immure_error **err);
/* Writes the record of the result, or of the refusal when there is none. policy,
 * plan, result and refusal may be NULL. */
int32_t immure_record_write(const struct immure_record *r, const immure_policy *policy,
			    const immure_plan *plan, const immure_result *result,
			    const struct immure_error *refusal, struct immure_error **err);
void immure_record_done(struct immure_record *r);

#endif
