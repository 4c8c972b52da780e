/* SPDX-License-Identifier: Apache-2.0 */
/* One call of D-Bus and its answer, as bytes (D-Bus specification, "Message Protocol"):
 * what is asked of a user's service manager, and no more. No allocation, no descriptor. */
#ifndef IMMURE_KERNEL_DBUSMSG_H
#define IMMURE_KERNEL_DBUSMSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { IMMURE_DBUS_HEAD = 16, IMMURE_DBUS_MESSAGE = 16384 };

/* The call StartTransientUnit(name, "fail", ...) for a scope of process pid that is delegated
 * and gone when it is empty. Its length, or 0 when it does not fit. */
size_t immure_dbus_scope_call(unsigned char *buf, size_t cap, uint32_t serial, const char *name, uint32_t pid);

/* From its first IMMURE_DBUS_HEAD bytes, how long a message is, all of it; 0: it is none that
 * we read, or longer than IMMURE_DBUS_MESSAGE. */
size_t immure_dbus_length(const unsigned char *head);

enum immure_dbus_answer {
	IMMURE_DBUS_OTHER,   /* about something else */
	IMMURE_DBUS_BEGUN,   /* there is a job */
	IMMURE_DBUS_REFUSED,
	IMMURE_DBUS_OVER,    /* the job for the unit is over, well or not (JobRemoved) */
	IMMURE_DBUS_BROKEN,
};

/* What a whole message of length len says to the call of that serial, about that unit. */
enum immure_dbus_answer immure_dbus_judge(const unsigned char *msg, size_t len, uint32_t serial, const char *unit);

#endif
