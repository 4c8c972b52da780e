/* SPDX-License-Identifier: Apache-2.0 */
/* A line for whoever watches, while the command runs. */
#ifndef IMMURE_SESSION_NOTE_H
#define IMMURE_SESSION_NOTE_H

#include <stdbool.h>

/* "immure: TEXT" in one write, or nothing: false where it would have to wait or nobody
 * reads. raw: fd is a terminal that does not return the carriage by itself. */
bool immure_note(int fd, bool raw, const char *text);

#endif
