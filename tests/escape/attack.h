/* SPDX-License-Identifier: Apache-2.0 */
/* Attacks: small acts that a sandbox must deny. One table per family. */
#ifndef ATTACK_H
#define ATTACK_H

#include <errno.h>
#include <stddef.h>

enum {
	ACT_DONE = 0,    /* the act succeeded: an escape */
	ACT_UNSAFE = 3,  /* refused to try: this is the initial pid namespace */
	ACT_BROKEN = 4,  /* the attack itself went wrong: proves nothing */
	ACT_DENIED = 10, /* something said no; its errno is printed */
	ACT_NA = 77,     /* does not apply to this kernel or machine */
};

struct attack {
	const char *name;
	const char *tags; /* what the driver selects by, e.g. "path read" */
	int (*act)(char **argv);
};

struct family {
	const char *name;
	const struct attack *attacks;
	size_t n;
};

extern const struct family family_path, family_fs, family_process, family_net, family_kernel,
	family_privilege, family_leak, family_bomb, family_ipc;

#define FAMILY(id, table) \
	const struct family family_##id = {#id, table, sizeof(table) / sizeof(table[0])}

int done(const char *format, ...) __attribute__((format(printf, 1, 2)));
int denied(int errnum);
int not_applicable(const char *why);
int broken(const char *what);
/* < 0: denied with errno; else done. */
int verdict(long rc);
/* For calls made with arguments that cannot work: did they get past whatever
 * guards the kernel, i.e. was the answer about the arguments? */
int reached(long rc);

/* Reads up to 64 KiB of a file; 0 or -errno. */
int slurp(const char *path, char *buf, size_t size, size_t *ret_len);
const char *parent_of(const char *path, char *buf, size_t size);

#endif
