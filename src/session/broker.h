/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network of a session without a namespace. Its filter lets no call reach the
 * kernel that makes an internet socket or carries an address: the caller waits and
 * we answer (kernel/notify.h).
 *
 *   socket    we make it. TCP: an ordinary one, which without connect() leads
 *             nowhere. UDP: one that can neither send nor receive.
 *   connect   TCP: the worker is asked whether the address, as it was read, may be
 *             reached. If so, the caller's own socket, which we then hold as well,
 *             is connected to a port of ours, and the other end of that connection
 *             goes to the worker with the address that was meant. So options, copies
 *             of the descriptor, and epoll keep what they have.
 *             UDP to port 53: the descriptor is replaced by one end of a pair whose
 *             other end the worker answers questions on. UDP elsewhere: refused.
 *   sendto    with an address: UDP to port 53, as connect and send.
 *   bind      to no address and no port: nothing to do. TCP, to a port that is
 *             published: brokerport.c. All else is refused.
 *   listen    by a socket that was bound so; else refused.
 *
 * A question to the worker is pending until its verdict comes; meanwhile others are
 * dealt with. The end of the worker refuses what is pending; our own end leaves
 * the kernel to answer ENOSYS.
 */
#ifndef IMMURE_SESSION_BROKER_H
#define IMMURE_SESSION_BROKER_H

#include "egress/config.h"
#include "kernel/netsock.h"
#include "kernel/notify.h"

/* Callers that wait for a verdict at once; more are told to come again. */
enum { IMMURE_BROKER_PENDING = 256 };

struct immure_broker_pending {
	bool used;
	struct immure_notice notice;
	uint32_t ask;            /* the number of the question */
	int fd;                  /* the caller's socket */
	struct immure_inet asked, meant; /* as it was written, as the kernel takes it */
};

/* Callers that were connected and did not hear of it. */
enum { IMMURE_BROKER_MISSED = 32 };

struct immure_broker_missed {
	int tid;
	uint64_t inode;
	struct immure_inet meant;
};

struct immure_broker_port {
	int fd;                  /* holds the host's address */
	struct immure_inet at;   /* the host's */
	uint16_t inside;         /* what the command binds to */
};

struct immure_broker {
	int listener_fd;         /* -1: there is none */
	int port_fd[2];          /* where ends are made: 127.0.0.1, ::1; -1 = not yet */
	uint32_t last_ask;
	const char *trouble;     /* why it cannot do its work; NULL = it can */
	int trouble_errnum;
	struct immure_broker_pending pending[IMMURE_BROKER_PENDING];
	struct immure_broker_missed missed[IMMURE_BROKER_MISSED];
	unsigned int missed_at;
	struct immure_broker_port ports[IMMURE_EGRESS_PUBLISH_MAX];
	size_t ports_n;
};

struct immure_gatekeeper;

enum { IMMURE_BROKER_NO_PORT = -2 }; /* in port_fd: it was tried, and cannot be had */

void immure_broker_init(struct immure_broker *b);
/* What waits, some of it: the rest makes the descriptor readable again. */
void immure_broker_step(struct immure_gatekeeper *g);
void immure_broker_verdict(struct immure_gatekeeper *g, uint32_t ask, int errnum);
/* Everybody who waits for a verdict is refused. */
void immure_broker_refuse(struct immure_broker *b);
void immure_broker_done(struct immure_broker *b);
/* The thread that waits for a verdict on this address; 0: nobody, or several may. */
int immure_broker_asker(const struct immure_broker *b, const struct immure_inet *meant);

/* ---- brokersock.c: the sockets themselves. Descriptor or 0, or -errno ---- */

/* For socket(family, type, protocol) of the internet. */
int immure_brokersock_make(int family, int type);
/* Whether those of UDP are what they must be; and whether there is IPv6. */
int immure_brokersock_check(bool *ret_v6);
/* Whether it is a TCP socket; its family in *ret_family. */
bool immure_brokersock_is(int fd, int type, int *ret_family);
bool immure_brokersock_is_pair(int fd);
/* Connects the caller's socket to a port of ours; *ret_far: the other end. */
int immure_brokersock_connect(int port_fd[2], int fd, int *ret_far);
/* One end for questions, and the other. CLOEXEC; the worker's does not block. */
int immure_brokersock_pair(bool nonblock, int *ret_theirs, int *ret_far);

/* ---- brokerport.c: published ports. Descriptor or 0, or -errno ---- */

/* Takes an address of the host, for sockets that are to listen there later. -EADDRINUSE. */
int immure_brokerport_hold(const struct immure_inet *at);
/* Whether a port inside is published. */
bool immure_brokerport_is(const struct immure_broker *b, uint16_t port);
/* Binds the caller's socket to what that port is published as. */
int immure_brokerport_bind(const struct immure_broker *b, int fd, uint16_t port);
/* Only where that was done. */
int immure_brokerport_listen(const struct immure_broker *b, int fd, int backlog);

#endif
