// SPDX-License-Identifier: Apache-2.0
/* Interprocess communication that has names of its own. Argument 0 is the
 * name or key that the driver made outside. */
#include "attack.h"

#include <fcntl.h>
#include <mqueue.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

static int act_shm(char **a)
{
	return verdict(shmget((key_t)strtol(a[0], NULL, 0), 0, 0));
}

static int act_sem(char **a)
{
	return verdict(semget((key_t)strtol(a[0], NULL, 0), 0, 0));
}

static int act_msg(char **a)
{
	return verdict(msgget((key_t)strtol(a[0], NULL, 0), 0));
}

static int act_mqueue(char **a)
{
	return verdict(mq_open(a[0], O_RDONLY));
}

static int act_posix_shm(char **a)
{
	return verdict(open(a[0], O_RDONLY));
}

/* request_key searches the keyrings that came with us. */
static int act_request_key(char **a)
{
	return verdict(syscall(SYS_request_key, "user", a[0], NULL, 0));
}

static int act_keyctl_search(char **a)
{
	return verdict(syscall(SYS_keyctl, 10 /* SEARCH */, -3 /* session */, "user", a[0], 0));
}

static const struct attack attacks[] = {
	{"shm", "sysv", act_shm},
	{"sem", "sysv", act_sem},
	{"msg", "sysv", act_msg},
	{"mqueue", "mqueue", act_mqueue},
	{"posix_shm", "file", act_posix_shm},
	{"request_key", "key", act_request_key},
	{"keyctl_search", "key", act_keyctl_search},
};
FAMILY(ipc, attacks);
