/* SPDX-License-Identifier: Apache-2.0 */
#include "inet.h"

#include "attack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

bool attack_inet(const char *text, uint16_t port, struct attack_inet *ret)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&ret->sa;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&ret->sa;

	memset(ret, 0, sizeof(*ret));
	if (!strchr(text, ':')) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		ret->len = sizeof(*v4);
		return inet_pton(AF_INET, text, &v4->sin_addr) == 1;
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	ret->len = sizeof(*v6);
	return inet_pton(AF_INET6, text, &v6->sin6_addr) == 1;
}

int attack_wait_connected(int fd, int wait_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	socklen_t size = sizeof(int);
	int e = ETIMEDOUT;

	if (poll(&p, 1, wait_ms) == 1 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &size) < 0)
		e = errno;
	errno = e;
	return e ? -1 : 0;
}

int attack_connect(int fd, const struct attack_inet *to, int wait_ms)
{
	if (connect(fd, (const struct sockaddr *)&to->sa, to->len) == 0)
		return 0;
	return errno == EINPROGRESS ? attack_wait_connected(fd, wait_ms) : -1;
}

bool attack_leaves(void)
{
	char text[8192], name[64];
	const char *line;

	if (attack_read_file("/proc/self/net/dev", text, sizeof(text)) < 0)
		return true;
	/* Two lines of headings. */
	line = strchr(text, '\n');
	line = line ? strchr(line + 1, '\n') : NULL;
	for (; line && line[1]; line = strchr(line + 1, '\n'))
		if (sscanf(line + 1, " %63[^:]", name) != 1 || strcmp(name, "lo") != 0)
			return true;
	return !line; /* cut short: who knows */
}
