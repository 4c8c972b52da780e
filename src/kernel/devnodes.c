/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/devnodes.h"

#include <stddef.h>

const struct immure_devnode immure_devnodes[IMMURE_DEVNODES] = {
	{ "/dev/null", 1, 3 },	 { "/dev/zero", 1, 5 },	   { "/dev/full", 1, 7 },
	{ "/dev/random", 1, 8 }, { "/dev/urandom", 1, 9 }, { "/dev/tty", 5, 0 },
};

const struct immure_devlink immure_devlinks[IMMURE_DEVLINKS] = {
	{ "/proc/self/fd", "fd" },	 { "/proc/self/fd/0", "stdin" }, { "/proc/self/fd/1", "stdout" },
	{ "/proc/self/fd/2", "stderr" }, { "pts/ptmx", "ptmx" },
};

const char *const immure_devpts_options[] = { "newinstance", "", "ptmxmode", "0666", "mode", "0620", NULL };
