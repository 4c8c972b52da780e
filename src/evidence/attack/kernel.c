/* SPDX-License-Identifier: Apache-2.0 */
/* Files through which the kernel itself speaks or is steered, and the kinds of
 * socket whose code has been the way in before. Opened, never written. */
#include "attack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static void open_all(struct attack_result *r, const char *const *v, size_t n, int flags)
{
	for (size_t i = 0; i < n; i++) {
		int fd = open(v[i], flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

		if (attack_try(r, fd, v[i]))
			(void)close(fd); /* nothing was written */
	}
}
#define OPEN_ALL(flags, ...)                                                          \
	do {                                                                          \
		static const char *const paths[] = { __VA_ARGS__ };                   \
		(void)ctx;                                                            \
		open_all(r, paths, sizeof(paths) / sizeof(paths[0]), flags);          \
	} while (0)

static void sysrq(const struct attack_ctx *ctx, struct attack_result *r)
{
	OPEN_ALL(O_WRONLY, "/proc/sysrq-trigger");
}

static void memory_image(const struct attack_ctx *ctx, struct attack_result *r)
{
	OPEN_ALL(O_RDONLY, "/proc/kcore", "/proc/kpagecount", "/proc/kpageflags", "/proc/kpagecgroup",
		 "/proc/vmallocinfo");
}

static void symbols(const struct attack_ctx *ctx, struct attack_result *r)
{
	OPEN_ALL(O_RDONLY, "/proc/kallsyms", "/proc/modules");
}

static void host_wide(const struct attack_ctx *ctx, struct attack_result *r)
{
	OPEN_ALL(O_RDONLY, "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/proc/kmsg",
		 "/proc/latency_stats");
}

static void sysctl(const struct attack_ctx *ctx, struct attack_result *r)
{
	OPEN_ALL(O_WRONLY, "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname",
		 "/proc/sys/kernel/modprobe", "/proc/sys/vm/drop_caches",
		 "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/panic",
		 "/proc/sys/kernel/domainname", "/proc/sys/fs/binfmt_misc/register");
}

static void control_files(const struct attack_ctx *ctx, struct attack_result *r)
{
	OPEN_ALL(O_WRONLY, "/proc/irq/default_smp_affinity", "/proc/mtrr", "/proc/acpi/wakeup",
		 "/proc/scsi/scsi", "/proc/bus/pci/devices", "/proc/timer_stats",
		 "/proc/sys/user/max_user_namespaces");
}

/* Root inside may open init's; writing is what must be refused. Where it is not,
 * what is written is what a map of one id has anyway. */
static void id_maps(const struct attack_ctx *ctx, struct attack_result *r)
{
	static const struct {
		const char *path, *text;
	} v[] = {
		{ "uid_map", "0 0 1\n" },	       { "gid_map", "0 0 1\n" },
		{ "setgroups", "allow\n" },	       { "/proc/self/uid_map", "0 0 1\n" },
		{ "/proc/self/gid_map", "0 0 1\n" },  { "/proc/self/setgroups", "allow\n" },
	};
	char init[64];

	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		const char *path = v[i].path[0] == '/' ? v[i].path :
				   attack_init_file(ctx, v[i].path, init, sizeof(init));
		int fd = open(path, O_WRONLY | O_CLOEXEC);

		attack_try(r, fd < 0 ? -1 : write(fd, v[i].text, strlen(v[i].text)), v[i].path);
		if (fd >= 0)
			(void)close(fd); /* tried */
	}
}

static void sysfs(const struct attack_ctx *ctx, struct attack_result *r)
{
	OPEN_ALL(O_WRONLY, "/sys/kernel/uevent_helper", "/sys/power/state", "/sys/kernel/profiling",
		 "/sys/module/kernel/parameters/panic", "/sys/kernel/mm/ksm/run",
		 "/sys/devices/system/cpu/cpu0/online", "/sys/class/net/lo/mtu");
}

static void debug(const struct attack_ctx *ctx, struct attack_result *r)
{
	OPEN_ALL(O_RDONLY, "/sys/kernel/debug/tracing/trace", "/sys/kernel/tracing/trace",
		 "/sys/kernel/debug/kprobes/list", "/sys/fs/bpf/.", "/sys/firmware/efi/efivars/.",
		 "/sys/firmware/acpi/tables/DSDT", "/sys/kernel/security/lsm");
}

static void try_sockets(struct attack_result *r, int family)
{
	static const int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET };
	char what[40];

	(void)snprintf(what, sizeof(what), "socket of family %d", family); /* fits */
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		int fd = socket(family, types[i] | SOCK_CLOEXEC, 0);

		if (attack_try(r, fd, what))
			(void)close(fd); /* unused */
	}
}

/* All families but unix (1), inet (2), inet6 (10) and netlink (16, its own point). */
static void families(const struct attack_ctx *ctx, struct attack_result *r)
{
	(void)ctx;
	for (int family = 0; family < 64; family++)
		if (family != 1 && family != 2 && family != 10 && family != 16)
			try_sockets(r, family);
}

static void crypto_sockets(const struct attack_ctx *ctx, struct attack_result *r)
{
	(void)ctx;
	try_sockets(r, 38); /* AF_ALG */
	try_sockets(r, 33); /* AF_RXRPC */
	try_sockets(r, 15); /* AF_KEY */
}

/* Only NETLINK_ROUTE (0), which programs ask for addresses. */
static void netlink(const struct attack_ctx *ctx, struct attack_result *r)
{
	(void)ctx;
	for (int protocol = 1; protocol < 32; protocol++) {
		char what[40];
		int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);

		(void)snprintf(what, sizeof(what), "netlink protocol %d", protocol); /* fits */
		if (attack_try(r, fd, what))
			(void)close(fd); /* unused */
	}
}

static const struct attack table[] = {
	{ "kernel_surface.sysrq", sysrq },
	{ "kernel_surface.memory-image", memory_image },
	{ "kernel_surface.symbols", symbols },
	{ "kernel_surface.host-wide", host_wide },
	{ "kernel_surface.sysctl", sysctl },
	{ "kernel_surface.control-files", control_files },
	{ "kernel_surface.id-maps", id_maps },
	{ "kernel_surface.sysfs", sysfs },
	{ "kernel_surface.debug", debug },
	{ "kernel_surface.socket-families", families },
	{ "kernel_surface.crypto-sockets", crypto_sockets },
	{ "kernel_surface.netlink", netlink },
};
const struct attack_list attack_kernel = { table, sizeof(table) / sizeof(table[0]) };
