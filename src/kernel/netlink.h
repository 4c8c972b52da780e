/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw netlink: messages are put one after another into one buffer, the buffer
 * is sent in one call, and the answers are read at once.
 *
 * A configuration socket answers while it is being written to: when sendto
 * returns, every answer is already queued. So nothing here ever waits. Failing
 * messages are always answered; of the others only the last one asks to be, and
 * without that answer the batch does not count as done.
 */
#ifndef IMMURE_KERNEL_NETLINK_H
#define IMMURE_KERNEL_NETLINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { IMMURE_NETLINK_MAX = 8192 };

struct immure_netlink {
	size_t len;
	size_t msg;      /* offset of the message being written */
	uint32_t first;  /* sequence number of the first message */
	uint32_t next;
	bool overflow;   /* something did not fit: send refuses */
	_Alignas(4) unsigned char data[IMMURE_NETLINK_MAX];
};

/* `first`: any number; answers to earlier batches are told apart by it. */
void immure_netlink_init(struct immure_netlink *b, uint32_t first);
/* Starts a message with its fixed part; flags besides NLM_F_REQUEST. Whatever
 * is put next belongs to it. */
void immure_netlink_begin(struct immure_netlink *b, uint16_t type, uint16_t flags,
			  const void *head, size_t len);
void immure_netlink_put(struct immure_netlink *b, uint16_t type, const void *data, size_t len);
void immure_netlink_put_u32(struct immure_netlink *b, uint16_t type, uint32_t v);
void immure_netlink_put_be32(struct immure_netlink *b, uint16_t type, uint32_t v);
void immure_netlink_put_str(struct immure_netlink *b, uint16_t type, const char *s);
/* An attribute made of attributes: returns what nest_end() takes. */
size_t immure_netlink_nest(struct immure_netlink *b, uint16_t type);
void immure_netlink_nest_end(struct immure_netlink *b, size_t at);
/* Asks for an answer to the message being written. */
void immure_netlink_want_ack(struct immure_netlink *b);

/* A descriptor or -errno; -EPROTONOSUPPORT: this kernel does not have it. */
int immure_netlink_open(int protocol);
/* Sends all and reads what came back: 0 when the message that wanted an ack
 * got it and none failed; the -errno of the first that failed, and in
 * *ret_failed (when not NULL) its number in the batch, from 0; -EPROTO when the
 * answer is missing, -EMSGSIZE when the buffer was too small. */
int immure_netlink_send(int fd, const struct immure_netlink *b, size_t *ret_failed);

#endif
