/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What immure-intercept hears and says, on two pairs of SOCK_SEQPACKET sockets: one to the
 * supervisor, which is its control socket, one to the gatekeeper. A datagram is one message,
 * of the exact length of its type, with descriptors beside it.
 *
 *   supervisor                                   intercept
 *   BEGIN    config, roots, authority          ->          once, first
 *   SECRET   where its value is to be read     ->          as many as BEGIN says, next
 *                                              <- MARK        as many
 *                                              <- AUTHORITY   or FAILED, and it exits
 *   LINK     a socket to the gatekeeper        ->          again when there is a new one;
 *                                                          what came by the old one is cut
 *   POLICY   config                            ->
 *                                              <- DONE
 *                                              <- DENIED   any time
 *   gatekeeper
 *   LEND     two connected sockets             ->          the client's, the server's
 *                                              <- RETURN   it is over
 *
 * Who lends keeps descriptors of the same two sockets, and cuts by shutting them down.
 */
#ifndef IMMURE_EGRESS_LENDMSG_H
#define IMMURE_EGRESS_LENDMSG_H

#include "base/needle.h"
#include "egress/endpoint.h"
#include "egress/wire.h"

enum immure_lend_type {
	IMMURE_LEND_BEGIN = 1,
	IMMURE_LEND_LINK,
	IMMURE_LEND_POLICY,
	IMMURE_LEND_LEND,
	IMMURE_LEND_SECRET,
	IMMURE_LEND_AUTHORITY = 32,
	IMMURE_LEND_DONE,
	IMMURE_LEND_DENIED,
	IMMURE_LEND_FAILED,
	IMMURE_LEND_RETURN,
	IMMURE_LEND_MARK,
};

enum { IMMURE_LEND_PEM = 2048, IMMURE_LEND_FDS = 3 };

/* Descriptors: the config; certificates to trust, as PEM; memory for the authority: empty, to be
 * filled and sealed, or as another one left it. */
struct immure_lend_begin {
	uint32_t secrets_n;
	uint32_t days; /* that what is issued holds; a session that goes on for longer needs a new one */
};

enum immure_lend_use { IMMURE_LEND_BEARER, IMMURE_LEND_BASIC, IMMURE_LEND_HEADER };
enum { IMMURE_LEND_SECRETS = 64, IMMURE_LEND_TO = 2048, IMMURE_LEND_PLACEHOLDER = 128 };

/* Descriptor: the value, to be read to its end. */
struct immure_lend_secret {
	uint32_t use;      /* enum immure_lend_use */
	char name[80];
	char header[80];   /* HEADER: which */
	char placeholder[IMMURE_LEND_PLACEHOLDER]; /* "" = none was given out */
	char to[IMMURE_LEND_TO]; /* rules, '|' between two */
};

/* By what secret `number` is known wherever it is met: as it is, and as it is sent where that is another text. */
struct immure_lend_mark {
	uint32_t number, n;
	struct immure_needle needle[2];
};

/* The certificate that clients are to trust. */
struct immure_lend_authority {
	char pem[IMMURE_LEND_PEM];
};

struct immure_lend_lend {
	struct immure_inet source, meant; /* inside, for what is told of denials */
	uint32_t kind;                    /* enum immure_host_kind: NAME, NET4 or NET6 */
	char name[IMMURE_HOST_NAME_MAX + 1];
	unsigned char address[16];
	uint32_t port, proxy;
};

struct immure_lend_return {
	uint64_t bytes[2]; /* of content, outwards and inwards */
	uint32_t reset;
};

struct immure_lend_msg {
	uint32_t type, pad;
	uint64_t id; /* LEND, RETURN: the gatekeeper's; POLICY, DONE: the supervisor's */
	union {
		struct immure_lend_begin begin;
		struct immure_lend_secret secret;
		struct immure_lend_authority authority;
		struct immure_lend_mark mark;
		struct immure_lend_lend lend;
		struct immure_lend_return returned;
		struct immure_wire_denied denied;
		struct immure_wire_done done; /* FAILED, too */
	};
};

/* CLOEXEC and non-blocking, both ends. */
int immure_lend_pair(int ret[2]);
/* fds are borrowed. 0, -EAGAIN, or -errno. */
int immure_lend_send(int fd, const struct immure_lend_msg *m, const int *fds, size_t n_fds);
/* 1: a message; its descriptors are the caller's, the rest of fds is -1. 0: the other side is
 * gone. -EAGAIN: none yet. -EPROTO: no message; descriptors that came were closed. */
int immure_lend_recv(int fd, struct immure_lend_msg *ret, int fds[IMMURE_LEND_FDS]);

#endif
