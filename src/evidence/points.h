/* SPDX-License-Identifier: Apache-2.0 */
/* The points of a proof as data: when each one is asked for, by what it is
 * enforced, and which answers mean that it held. One row for each row of the
 * attacker's tables, in any order; a unit test compares the two. */
#ifndef IMMURE_EVIDENCE_POINTS_H
#define IMMURE_EVIDENCE_POINTS_H

#include <stddef.h>
#include <stdint.h>

/* When a point applies. */
enum immure_point_when {
	IMMURE_WHEN_ALWAYS,
	IMMURE_WHEN_OWN_NETWORK,  /* the plan does not share the host's network */
	IMMURE_WHEN_NO_NETWORK,   /* and nothing leads out of its own one */
	IMMURE_WHEN_GATE,         /* a gatekeeper lets some names through */
	IMMURE_WHEN_ABSTRACT,     /* own network, or a Landlock scope */
	IMMURE_WHEN_TARGETS,      /* there is a target of the point's kind */
	IMMURE_WHEN_BAIT,         /* own network, and the bait could be laid */
	IMMURE_WHEN_PROTECTED_RW, /* a protected file in a writable workspace */
	IMMURE_WHEN_PROCESSES,    /* a limit that is low enough to be tried */
	IMMURE_WHEN_NOFILE, IMMURE_WHEN_FSIZE, IMMURE_WHEN_AS,
	IMMURE_WHEN_WORKSPACE,    /* the file's own mode lets this identity write there */
	IMMURE_WHEN_LANDLOCK,     /* the plan has a domain */
	IMMURE_WHEN_PLACE,        /* any place where a file can be made */
	IMMURE_WHEN_ANY_PROGRAM,  /* the plan lists no programs */
	IMMURE_WHEN_LISTED,       /* it does */
	IMMURE_WHEN_MACHINE,      /* the attacker says whether the machine has such a thing */
};

/* Answers, as a set of bits. */
enum {
	IMMURE_SEEN_PERM = 1 << 0,
	IMMURE_SEEN_ACCES = 1 << 1,
	IMMURE_SEEN_ROFS = 1 << 2,
	IMMURE_SEEN_NOSYS = 1 << 3,
	IMMURE_SEEN_NOENT = 1 << 4,  /* also ENOTDIR */
	IMMURE_SEEN_SRCH = 1 << 5,
	IMMURE_SEEN_NET = 1 << 6,    /* ENETUNREACH EHOSTUNREACH ENETDOWN EADDRNOTAVAIL */
	IMMURE_SEEN_REFUSED = 1 << 7,
	IMMURE_SEEN_NOFAMILY = 1 << 8, /* EAFNOSUPPORT EPROTONOSUPPORT ESOCKTNOSUPPORT */
	IMMURE_SEEN_BUSY = 1 << 9,
	IMMURE_SEEN_XDEV = 1 << 10,
	IMMURE_SEEN_FACT = 1 << 11,  /* looked, and it was as it must be: errno 0 */
	IMMURE_SEEN_TXTBSY = 1 << 12,
	IMMURE_SEEN_ISDIR = 1 << 13,
	IMMURE_SEEN_INVAL = 1 << 14,
	IMMURE_SEEN_MFILE = 1 << 15, /* EMFILE EBADF */
	IMMURE_SEEN_FBIG = 1 << 16,
	IMMURE_SEEN_NOMEM = 1 << 17,
	IMMURE_SEEN_AGAIN = 1 << 18,
	IMMURE_SEEN_KILLED = 1 << 19, /* by SIGSYS */
	IMMURE_SEEN_FAULT = 1 << 20,  /* by SIGSEGV: the processor has no such gate */
	IMMURE_SEEN_OPNOTSUPP = 1 << 22,
	IMMURE_SEEN_PIPE = 1 << 23,   /* a socket that is made so that it cannot send */
	IMMURE_SEEN_DONE = 1 << 21,   /* it worked: what controls are for */
};

struct immure_point {
	const char *id;
	enum immure_point_when when;
	uint32_t accept;       /* IMMURE_SEEN_* */
	int bait;              /* kind of bait that must stay untouched, -1 = none */
	uint32_t op;           /* the operation that asks for it, for the policy key */
	const char *target;    /* kind of target, each of which must have been tried; NULL = none */
	const char *asked;
	const char *mechanism;
	const char *attempted;
};

extern const struct immure_point immure_points[];
extern const size_t immure_points_n;

/* The bit for an errno that was seen, 0 when no point accepts it. */
uint32_t immure_point_seen(int errnum);
/* "EACCES"; "errno" for one that has no name here. */
const char *immure_point_errno_name(int errnum);

#endif
