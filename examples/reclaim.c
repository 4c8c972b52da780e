/* SPDX-License-Identifier: Apache-2.0 */
/* reclaim: a session is handed over. Its maker gets a ticket for it and lets go; the
 * receiver acknowledges, and later uses the ticket, once: everything is cleaned up,
 * and each resource is accounted for. Here both are one program. */

#include "common.h"

static void hand_over(char **ret_ticket)
{
	immure_session *session = make_session(IMMURE_LIFE_CALLER);
	immure_error *err = NULL;

	/* Void unless it is acknowledged within a minute: then the session ends with us. */
	if (immure_session_ticket(session, 60000, ret_ticket, &err) < 0 ||
	    immure_acknowledge(*ret_ticket, (const char *const *)environ, &err) < 0)
		fail(err);
	immure_session_free(session); /* it goes on */
}

int main(void)
{
	struct immure_reclaim_options o = { .size = sizeof(o), .env = (const char *const *)environ };
	immure_report *report = NULL, *none = NULL;
	immure_error *err = NULL;
	char *ticket = NULL;
	int32_t again;

	hand_over(&ticket);
	printf("handed over\n");
	if (immure_reclaim(ticket, &o, &report, &err) < 0)
		fail(err);
	printf("removed: %s, left: %llu\n", immure_report_count(report, IMMURE_REMOVED) ? "yes" : "no",
	       (unsigned long long)immure_report_count(report, IMMURE_LEFT));
	again = immure_reclaim(ticket, &o, &none, NULL);
	printf("a second time: %s\n", again == -IMMURE_ERR_NO_SESSION ? "no such ticket" : "?");
	immure_report_free(report);
	immure_string_free(ticket);
	return 0;
}
