/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers of the sealed form; seal.c describes it. */
#ifndef IMMURE_PLAN_SEAL_H
#define IMMURE_PLAN_SEAL_H

#include "plan/compile.h"

#define IMMURE_SEAL_MAGIC "IMPL"
#define IMMURE_SEAL_VERSION 1u
#define IMMURE_SEAL_FIXED 7u /* strings in the header */
#define IMMURE_SEAL_HEADER (4u + 4u + 8u + 4u * 5u + 4u * IMMURE_SEAL_FIXED)
#define IMMURE_SEAL_OPS_MAX 65536u
#define IMMURE_SEAL_GAPS_MAX 4096u
#define IMMURE_SEAL_LEN_MAX (64u * 1024u * 1024u)

void immure_plan_hash_text(const unsigned char digest[32], char ret[65]);

#endif
