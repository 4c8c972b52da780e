/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The attacker's report, from something that ran in a session: whatever it
 * holds, it is judged; it holds nothing unless it is whole; and what is printed
 * about it is text.
 */
#include <stdlib.h>
#include <string.h>

#include "evidence/bait.h"
#include "evidence/proof.h"
#include "fuzz.h"
#include "plan/plan.h"

static const struct immure_op ops[] = {
	{ .kind = IMMURE_OP_ROOT_HOST, .src = "", .dst = "/", .key = "files.view" },
	{ .kind = IMMURE_OP_MASK, .src = "", .dst = "/root/.ssh", .key = "files.deny" },
	{ .kind = IMMURE_OP_SECCOMP, .src = "default", .dst = "", .key = "syscalls" },
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct immure_plan plan = { .backend = "native", .policy_version = "p", .workspace = "/w",
				    .cwd = "/w", .ops = (struct immure_op *)(uintptr_t)ops,
				    .ops_n = sizeof(ops) / sizeof(ops[0]) };
	struct immure_attack_exit how = { 0 };
	struct immure_bait bait = IMMURE_BAIT_INIT;
	struct immure_buf text = IMMURE_BUF_INIT;
	struct immure_proof *proof = NULL;

	if (immure_proof_evaluate(&plan, &bait, data, len, &how, &proof, NULL) < 0)
		abort(); /* bad evidence is a proof that falls short, not an error */
	if (proof->held + proof->fell_short + proof->not_applicable != proof->n)
		abort();
	if (*proof->trouble && immure_proof_holds(proof))
		abort();
	immure_proof_print(proof, &text);
	for (size_t i = 0; i < text.len; i++)
		if ((text.data[i] < ' ' && text.data[i] != '\n') || text.data[i] > '~')
			abort();
	immure_buf_done(&text);
	immure_proof_free(proof);
	return 0;
}
