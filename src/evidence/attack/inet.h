/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and connections, for the points about networks. */
#ifndef IMMURE_ATTACK_INET_H
#define IMMURE_ATTACK_INET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct attack_inet {
	struct sockaddr_storage sa;
	socklen_t len;
};

/* IPv6 when the text has a colon. False: not an address. */
bool attack_inet(const char *text, uint16_t port, struct attack_inet *ret);
/* fd does not block. 0 when connected, else -1 with errno; an answer that does
 * not come is ETIMEDOUT. */
int attack_connect(int fd, const struct attack_inet *to, int wait_ms);
int attack_wait_connected(int fd, int wait_ms);
/* Whether anything leads out of this network namespace: an interface besides lo. What is
 * refused then may have been refused by somebody else. */
bool attack_leaves(void);

#endif
