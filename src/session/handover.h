/* SPDX-License-Identifier: Apache-2.0 */
/* Letting go of a session: the server's part of tickets (ticket.h). A session that
 * ends with its maker goes on without it once the ticket was acknowledged, and as
 * long as it still may be. */
#ifndef IMMURE_SESSION_HANDOVER_H
#define IMMURE_SESSION_HANDOVER_H

#include "session/serve.h"

/* The request: with "ticket", one is issued; without, the session is let go of at once. */
int32_t immure_handover_detach(struct immure_ask *a);
/* The one who made it has gone: true when the session goes on. */
bool immure_handover_goes_on(struct immure_server *s);
/* The time of a ticket is up: taken over by then, or the session ends. */
void immure_handover_tick(struct immure_server *s);

#endif
