/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/bait.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"

#define ADDRESSES_MAX 16

const struct immure_bait_ns immure_bait_ns[IMMURE_BAIT_NS_MAX] = {
	{ "user", 0x10000000 }, { "mnt", 0x00020000 }, { "pid", 0x20000000 },
	{ "net", 0x40000000 },	{ "ipc", 0x08000000 }, { "uts", 0x04000000 },
	{ "cgroup", 0x02000000 }, { "time", 0x00000080 },
};

static bool is_tcp(int kind)
{
	return kind == IMMURE_BAIT_TCP4 || kind == IMMURE_BAIT_TCP6;
}

/* -1 where this host has no such loopback. */
static int bind_inet(int kind, uint16_t *ret_port)
{
	bool v6 = kind == IMMURE_BAIT_TCP6 || kind == IMMURE_BAIT_UDP6;
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct sockaddr *sa = v6 ? (struct sockaddr *)&sin6 : (struct sockaddr *)&sin;
	socklen_t len = v6 ? sizeof(sin6) : sizeof(sin);
	int fd = socket(sa->sa_family, (is_tcp(kind) ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC |
			SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	if (bind(fd, sa, len) < 0 || (is_tcp(kind) && listen(fd, 8) < 0) ||
	    getsockname(fd, sa, &len) < 0) {
		immure_close(&fd);
		return -1;
	}
	*ret_port = ntohs(v6 ? sin6.sin6_port : sin.sin_port);
	return fd;
}

static int bind_unix(const char *name, bool abstract)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	size_t len = strlen(name);
	int fd;

	if (len + 1 > sizeof(sun.sun_path))
		return -1;
	memcpy(sun.sun_path + abstract, name, len);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	len += offsetof(struct sockaddr_un, sun_path) + 1;
	if (bind(fd, (struct sockaddr *)&sun, (socklen_t)len) < 0 || listen(fd, 8) < 0)
		immure_close(&fd);
	return fd;
}

/* Field 22 of /proc/self/stat. */
static uint64_t own_start_time(void)
{
	IMMURE_CLEANUP_FREE char *text = NULL;
	size_t len;
	char *p;

	if (immure_read_file_at(AT_FDCWD, "/proc/self/stat", 4096, &text, &len) < 0)
		return 0;
	p = strrchr(text, ')');
	for (int i = 2; p && i < 22; i++) {
		p = strchr(p, ' ');
		if (p)
			p++;
	}
	return p ? strtoull(p, NULL, 10) : 0;
}

static void note_self(struct immure_bait *b)
{
	b->pid = (uint32_t)getpid();
	b->start_time = own_start_time();
	for (int i = 0; i < IMMURE_BAIT_NS_MAX; i++) {
		char path[48];
		struct stat st;

		(void)snprintf(path, sizeof(path), "/proc/self/ns/%s", immure_bait_ns[i].name);
		b->ns[i] = stat(path, &st) == 0 ? (uint64_t)st.st_ino : 0;
	}
}

static void note_environment(struct immure_bait *b, const char *const *env)
{
	for (; env && *env; env++) {
		size_t len = strcspn(*env, "=");

		if (len == 0 || len > 120 || !(*env)[len])
			continue;
		(void)immure_strv_add(&b->arena, &b->env,
				      immure_arena_strndup(&b->arena, *env, len));
	}
}

/* Of every interface but loopback; link-local ones need more than an address. */
static void note_addresses(struct immure_bait *b)
{
	struct ifaddrs *all = NULL;
	char text[INET6_ADDRSTRLEN];

	if (getifaddrs(&all) < 0)
		return;
	for (struct ifaddrs *i = all; i && b->addresses.n < ADDRESSES_MAX; i = i->ifa_next) {
		const struct sockaddr_in *sin = (const void *)i->ifa_addr;
		const struct sockaddr_in6 *sin6 = (const void *)i->ifa_addr;

		if (!i->ifa_addr || (i->ifa_flags & IFF_LOOPBACK) || !(i->ifa_flags & IFF_UP))
			continue;
		if (i->ifa_addr->sa_family == AF_INET)
			(void)inet_ntop(AF_INET, &sin->sin_addr, text, sizeof(text)); /* fits */
		else if (i->ifa_addr->sa_family == AF_INET6 &&
			 !IN6_IS_ADDR_LINKLOCAL(&sin6->sin6_addr))
			(void)inet_ntop(AF_INET6, &sin6->sin6_addr, text, sizeof(text)); /* fits */
		else
			continue;
		(void)immure_strv_add(&b->arena, &b->addresses,
				      immure_arena_strdup(&b->arena, text));
	}
	freeifaddrs(all);
}

int immure_bait_prepare(struct immure_bait *b, const char *dir, const char *const *env)
{
	unsigned char id[8] = { 0 };
	char hex[20];

	*b = (struct immure_bait)IMMURE_BAIT_INIT;
	if (getrandom(id, sizeof(id), GRND_NONBLOCK) != (ssize_t)sizeof(id)) {
		pid_t pid = getpid(); /* a name that is free, not a secret */

		memcpy(id, &pid, sizeof(pid));
	}
	for (size_t i = 0; i < sizeof(id); i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", id[i]);
	for (int i = IMMURE_BAIT_TCP4; i <= IMMURE_BAIT_UDP6; i++)
		b->fd[i] = bind_inet(i, &b->port[i]);
	(void)snprintf(b->abstract, sizeof(b->abstract), "immure-bait-%s", hex);
	b->fd[IMMURE_BAIT_ABSTRACT] = bind_unix(b->abstract, true);
	if (dir) {
		b->unix_path = immure_arena_printf(&b->arena, "%s/bait-%s", dir, hex);
		if (b->unix_path)
			b->fd[IMMURE_BAIT_UNIX] = bind_unix(b->unix_path, false);
	}
	note_self(b);
	note_environment(b, env);
	note_addresses(b);
	if (b->arena.failed) {
		immure_bait_done(b);
		return -ENOMEM;
	}
	return 0;
}

void immure_bait_check(struct immure_bait *b)
{
	for (int i = 0; i < IMMURE_BAIT_MAX; i++) {
		bool datagram = i == IMMURE_BAIT_UDP4 || i == IMMURE_BAIT_UDP6;
		char byte;
		int fd;

		if (b->fd[i] < 0)
			continue;
		if (datagram) {
			if (recv(b->fd[i], &byte, 1, MSG_DONTWAIT) >= 0)
				b->touched |= 1U << i;
			continue;
		}
		fd = accept4(b->fd[i], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0)
			b->touched |= 1U << i;
		immure_close(&fd);
	}
}

void immure_bait_done(struct immure_bait *b)
{
	if (b->unix_path && b->fd[IMMURE_BAIT_UNIX] >= 0)
		(void)unlink(b->unix_path); /* ours; gc finds what is left */
	for (int i = 0; i < IMMURE_BAIT_MAX; i++)
		immure_close(&b->fd[i]);
	immure_arena_done(&b->arena);
	*b = (struct immure_bait)IMMURE_BAIT_INIT;
}
