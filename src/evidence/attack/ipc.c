/* SPDX-License-Identifier: Apache-2.0 */
/* Talking to what runs outside without a network. */
#include "attack.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* The policy lends it. */
static bool is_lent(const struct attack_ctx *ctx, const char *path)
{
	const char *lent;
	size_t i = 0;

	while ((lent = attack_next(ctx, "lent", &i))) {
		size_t n = strlen(lent);

		if (strncmp(path, lent, n) == 0 && (path[n] == '\0' || path[n] == '/'))
			return true;
	}
	return false;
}

static void connect_unix(struct attack_result *r, const char *name, bool abstract)
{
	static const int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	size_t len = strlen(name);
	char what[160];

	if (len + 1 > sizeof(sun.sun_path))
		return;
	memcpy(sun.sun_path + abstract, name, len);
	(void)snprintf(what, sizeof(what), "connect %s%s", abstract ? "@" : "", name); /* cut is fine */
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		int fd = socket(AF_UNIX, types[i] | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		long ret = fd < 0 ? -1 : connect(fd, (struct sockaddr *)&sun,
						 (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
							     len + 1));

		/* A full queue or another type still means: it is reachable. */
		if (ret < 0 && (errno == EAGAIN || errno == EPROTOTYPE))
			attack_done(r, "%s reached a socket", what);
		else
			attack_try(r, ret, what);
		if (fd >= 0)
			(void)close(fd); /* nothing was sent */
	}
}

/* Bound on the host for this attack. */
static void abstract_socket(const struct attack_ctx *ctx, struct attack_result *r)
{
	const char *name = attack_first(ctx, "abstract");

	if (!name)
		attack_unsupported(r, "the host could not bind one");
	else
		connect_unix(r, name, true);
}

static void path_socket(const struct attack_ctx *ctx, struct attack_result *r)
{
	const char *path;
	size_t i = 0;

	while ((path = attack_next(ctx, "unix-socket", &i)))
		connect_unix(r, path, false);
	if (r->outcome == ATTACK_NONE)
		attack_unsupported(r, "the host could not bind one");
}

/* The doors through which others have left. */
static void known_sockets(const struct attack_ctx *ctx, struct attack_result *r)
{
	static const char *const paths[] = {
		"/run/docker.sock", "/var/run/docker.sock", "/run/podman/podman.sock",
		"/run/containerd/containerd.sock", "/run/crio/crio.sock",
		"/run/buildkit/buildkitd.sock", "/run/dbus/system_bus_socket",
		"/run/systemd/private", "/run/systemd/notify", "/run/systemd/journal/socket",
		"/run/systemd/resolve/io.systemd.Resolve", "/run/systemd/io.system.ManagedOOM",
		"/run/udev/control", "/run/snapd.socket", "/run/libvirt/libvirt-sock",
		"/run/pcscd/pcscd.comm", "/run/cups/cups.sock", "/run/acpid.socket",
		"/run/nscd/socket", "/run/uuidd/request", "/run/avahi-daemon/socket", "/dev/log",
		"/tmp/.X11-unix/X0", "/tmp/.X11-unix/X1", "/tmp/.ICE-unix",
	};
	static const char *const user[] = {
		"bus", "systemd/private", "wayland-0", "pulse/native", "pipewire-0",
		"gnupg/S.gpg-agent", "gnupg/S.gpg-agent.ssh", "keyring/control", "keyring/ssh",
		"podman/podman.sock", "docker.sock", "at-spi/bus",
	};
	const char *id = attack_first(ctx, "host-uid");
	char path[160];

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		if (!is_lent(ctx, paths[i]))
			connect_unix(r, paths[i], false);
	for (size_t i = 0; id && i < sizeof(user) / sizeof(user[0]); i++) {
		(void)snprintf(path, sizeof(path), "/run/user/%.20s/%s", id, user[i]); /* fits */
		if (!is_lent(ctx, path))
			connect_unix(r, path, false);
	}
}

/* Objects of System V that the host has would be listed here. */
static void sysv(const struct attack_ctx *ctx, struct attack_result *r)
{
	static const char *const files[] = { "/proc/sysvipc/shm", "/proc/sysvipc/sem",
					     "/proc/sysvipc/msg" };

	(void)ctx;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		char text[4096], *newline;
		long len = attack_read_file(files[i], text, sizeof(text));

		newline = len > 0 ? strchr(text, '\n') : NULL;
		if (len < 0)
			attack_denied(r, errno, "%s: %s", files[i], strerror(errno));
		else if (newline && newline[1])
			attack_done(r, "%s lists an object", files[i]);
		else
			attack_denied(r, 0, "no object of System V is here");
	}
}

/* A service's address in the environment is an invitation. */
static void addresses(const struct attack_ctx *ctx, struct attack_result *r)
{
	static const char *const names[] = { "SSH_AUTH_SOCK", "DBUS_SESSION_BUS_ADDRESS",
					     "GPG_AGENT_INFO", "WAYLAND_DISPLAY", "DISPLAY",
					     "XDG_RUNTIME_DIR", "TMUX", "DOCKER_HOST",
					     "CONTAINER_HOST", "PULSE_SERVER" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = getenv(names[i]), *asked;
		size_t j = 0;

		while (value && (asked = attack_next(ctx, "env", &j)))
			if (strcmp(asked, names[i]) == 0)
				value = NULL; /* the policy passes it */
		if (value)
			attack_done(r, "%s is set", names[i]);
		else
			attack_denied(r, 0, "no address of a service of the host is set");
	}
}

static const struct attack table[] = {
	{ "ipc.abstract-socket", abstract_socket },
	{ "ipc.path-socket", path_socket },
	{ "ipc.known-sockets", known_sockets },
	{ "ipc.sysv", sysv },
	{ "ipc.addresses", addresses },
};
const struct attack_list attack_ipc = { table, sizeof(table) / sizeof(table[0]) };
