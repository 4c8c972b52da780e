/* SPDX-License-Identifier: Apache-2.0 */
/* Tickets: the right and the duty to clean up a session whose maker has let go.
 *
 *   issue         by the one who lets go; the session's directory has the hash only
 *   acknowledge   by the one who takes over: from then on the session is detached
 *   use           once: whoever removes the file ticket-HASH has used it
 *
 * A ticket is "imt-ID-SECRET": 256 random bits, in hex. Not acknowledged within the
 * time given it is void, and the session stays with its maker.
 */
#ifndef IMMURE_SESSION_TICKET_H
#define IMMURE_SESSION_TICKET_H

#include <stdbool.h>
#include <stdint.h>

#include "session/journal.h"
#include "session/registry.h"

enum { IMMURE_TICKET_LEN = 4 + IMMURE_ID_LEN + 1 + 64 };

struct immure_ticket_info {
	char hash[65];
	bool acknowledged;
	uint64_t issued_ms, until_ms; /* until_ms: when it is void unless acknowledged, 0 = never */
};

/* The id within, when it has the form of a ticket. */
bool immure_ticket_parse(const char *ticket, char ret_id[IMMURE_ID_LEN + 1]);
/* Journaled with j. A session has one valid ticket: an older one is withdrawn.
 * ret has IMMURE_TICKET_LEN + 1 bytes. */
int32_t immure_ticket_issue(struct immure_entry *e, struct immure_journal *j, uint64_t valid_ms,
			    char *ret, struct immure_error **err);
/* IMMURE_ERR_NO_SESSION: no such ticket, used, withdrawn or void. Repeatable. */
int32_t immure_ticket_acknowledge(struct immure_entry *e, const char *ticket,
				  struct immure_error **err);
/* Takes it: exactly one caller gets 0, ever. */
int32_t immure_ticket_use(struct immure_entry *e, const char *ticket, struct immure_error **err);
/* The valid one, if any: 0, -ENOENT, -errno. */
int immure_ticket_current(const struct immure_entry *e, struct immure_ticket_info *ret);

#endif
