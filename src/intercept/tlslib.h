/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS, by OpenSSL: an authority of this session's own, which certifies the names that clients
 * ask for, and both ends of intercepted connections. Nothing here waits or opens a file.
 */
#ifndef IMMURE_INTERCEPT_TLSLIB_H
#define IMMURE_INTERCEPT_TLSLIB_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "egress/endpoint.h"

struct immure_tls_lib;
struct immure_tls_end;

/* An authority, whose certificate *ret_pem holds: len bytes of room. memory: a memfd, borrowed; an
 * empty one gets a new key and certificate and is sealed, else they are what it holds.
 * Before confining: what OpenSSL loads, it loads here. */
int immure_tls_lib_new(unsigned int days, int memory, char *ret_pem, size_t len,
		       struct immure_tls_lib **ret, const char **ret_why);
void immure_tls_lib_free(struct immure_tls_lib *l);
/* Whom servers may be certified by: PEM, read when the first connection needs it. Taken. */
void immure_tls_lib_roots(struct immure_tls_lib *l, char *pem, size_t len);

/* fd is borrowed. server: to the client, for that name or address; its SNI has to be the same.
 * client: to the server, which has to prove that it is that one. */
int immure_tls_server(struct immure_tls_lib *l, int fd, const struct immure_endpoint *to,
		      struct immure_tls_end **ret);
int immure_tls_client(struct immure_tls_lib *l, int fd, const struct immure_endpoint *to,
		      struct immure_tls_end **ret);
void immure_tls_end_free(struct immure_tls_end *e);

enum { IMMURE_TLS_READ = 1, IMMURE_TLS_WRITE = 2 }; /* for what to wait */

/* The client is told "certificate unknown" instead: there is nobody behind. */
void immure_tls_give_up(struct immure_tls_end *e);
/* 1: done. 0: it waits. -EPROTO: no, and why. */
int immure_tls_handshake(struct immure_tls_end *e);
/* Bytes; -EAGAIN; 0: an orderly end (read); -ECONNRESET: any other end. */
ssize_t immure_tls_read(struct immure_tls_end *e, void *buf, size_t len);
ssize_t immure_tls_write(struct immure_tls_end *e, const void *data, size_t len);
/* Says that nothing more comes; what does not fit is not waited for. */
void immure_tls_bye(struct immure_tls_end *e);
/* What the last call that said 0 or -EAGAIN waits for, IMMURE_TLS_*. */
unsigned int immure_tls_waits(const struct immure_tls_end *e);
const char *immure_tls_why(const struct immure_tls_end *e);

#endif
