/* SPDX-License-Identifier: Apache-2.0 */
/* The call itself is not there (linux.h): only what its arguments are made of. */
#ifndef IMMURE_BASE_ELSEWHERE_OPENAT2_H
#define IMMURE_BASE_ELSEWHERE_OPENAT2_H

#include <stdint.h>

struct open_how {
	uint64_t flags, mode, resolve;
};
#define RESOLVE_NO_MAGICLINKS 0x02
#define RESOLVE_NO_SYMLINKS 0x04
#define RESOLVE_BENEATH 0x08

#endif
