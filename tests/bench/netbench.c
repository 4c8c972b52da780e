/* SPDX-License-Identifier: Apache-2.0 */
/* netbench serve ECHO-PORT BULK-PORT
 * netbench client HOST ECHO-PORT BULK-PORT [proxy]
 *
 * The client takes orders from standard input and answers each with one line:
 * nanoseconds, or "error" and why. What did not do its work is no sample: bytes
 * are counted, and the echoed one compared.
 *
 *     connect N    N times socket and connect
 *     first N      N times socket, connect, one byte there and back
 *     whole N      N times getaddrinfo (not with a proxy, which does it), then as first
 *     get BYTES    a connection on which so many bytes come
 *     put BYTES    one on which so many bytes go, until the other side has them
 *     dns NAME     getaddrinfo
 *     try ADDR PORT  says "open" or "closed": no sample
 *
 * With "proxy", each connection begins with a CONNECT to the one that HTTP_PROXY
 * names. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 256 * 1024, TIMES_MAX = 2000 };

static char block[BLOCK];

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

/* ---- server ---- */

struct listener {
	int fd;
	void (*serve)(int fd);
};

static void serve_echo(int fd)
{
	char byte;

	while (recv(fd, &byte, 1, 0) == 1 && send(fd, &byte, 1, MSG_NOSIGNAL) == 1)
		;
}

static bool take(int fd, uint64_t bytes)
{
	char own[BLOCK / 2];

	while (bytes) {
		ssize_t n = recv(fd, own, bytes < sizeof(own) ? bytes : sizeof(own), 0);

		if (n <= 0)
			return false;
		bytes -= (uint64_t)n;
	}
	return true;
}

static bool give(int fd, uint64_t bytes)
{
	while (bytes) {
		ssize_t n = send(fd, block, bytes < BLOCK ? bytes : BLOCK, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		bytes -= (uint64_t)n;
	}
	return true;
}

static void serve_bulk(int fd)
{
	char order[9];
	uint64_t bytes;

	if (recv(fd, order, sizeof(order), MSG_WAITALL) != (ssize_t)sizeof(order))
		return;
	memcpy(&bytes, order + 1, sizeof(bytes));
	if (order[0] == 'g')
		(void)give(fd, bytes); /* the client counts */
	else if (take(fd, bytes))
		(void)send(fd, ".", 1, MSG_NOSIGNAL); /* the client waits for it */
}

struct served {
	int fd;
	void (*serve)(int fd);
};

static void *serve_one(void *arg)
{
	struct served s = *(struct served *)arg;

	free(arg);
	s.serve(s.fd);
	close(s.fd);
	return NULL;
}

static void *accept_all(void *arg)
{
	struct listener *l = arg;

	for (;;) {
		struct served *s = malloc(sizeof(*s));
		pthread_t t;

		if (!s)
			return NULL;
		*s = (struct served){ accept(l->fd, NULL, NULL), l->serve };
		if (s->fd < 0 || pthread_create(&t, NULL, serve_one, s)) {
			free(s);
			continue;
		}
		pthread_detach(t);
	}
}

static int serve(char **ports)
{
	static struct listener l[2] = { { -1, serve_echo }, { -1, serve_bulk } };
	pthread_t t;

	for (int i = 0; i < 2; i++) {
		struct sockaddr_in6 any = { .sin6_family = AF_INET6,
					    .sin6_port = htons((uint16_t)atoi(ports[i])) };
		int off = 0;

		l[i].fd = socket(AF_INET6, SOCK_STREAM, 0);
		setsockopt(l[i].fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
		if (bind(l[i].fd, (struct sockaddr *)&any, sizeof(any)) || listen(l[i].fd, 1024) ||
		    pthread_create(&t, NULL, accept_all, &l[i])) {
			perror("netbench");
			return 1;
		}
	}
	puts("ready");
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}

/* ---- client ---- */

struct place {
	struct sockaddr_storage sa;
	socklen_t len;
};

static struct place echo, bulk, proxy;
static const char *host;
static char **ports;

static int resolve(const char *name, const char *port, struct place *ret)
{
	struct addrinfo hint = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM }, *found;
	int e = getaddrinfo(name, port, &hint, &found);

	if (e)
		return e;
	memcpy(&ret->sa, found->ai_addr, found->ai_addrlen);
	ret->len = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

static char authorization[1024];

/* "USER:PASSWORD", percent-encoded, to a line of a request. */
static void authorize(const char *user, size_t len)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	unsigned char text[600] = { 0 };
	size_t n = 0, at;
	unsigned int byte;

	for (size_t i = 0; i < len && n < sizeof(text) - 3; i++) {
		if (user[i] == '%' && sscanf(user + i + 1, "%2x", &byte) == 1)
			i += 2;
		else
			byte = (unsigned char)user[i];
		text[n++] = (unsigned char)byte;
	}
	at = (size_t)sprintf(authorization, "Proxy-Authorization: Basic ");
	for (size_t i = 0; i < n; i += 3) {
		unsigned int v = (unsigned int)text[i] << 16 | (unsigned int)text[i + 1] << 8 |
				 text[i + 2];

		authorization[at++] = digits[v >> 18];
		authorization[at++] = digits[v >> 12 & 63];
		authorization[at++] = i + 1 < n ? digits[v >> 6 & 63] : '=';
		authorization[at++] = i + 2 < n ? digits[v & 63] : '=';
	}
	strcpy(authorization + at, "\r\n");
}

/* http://[USER[:PASSWORD]@]HOST:PORT */
static const char *use_proxy(void)
{
	const char *url = getenv("HTTP_PROXY"), *at;
	char name[256], port[16];

	if (!url || strncmp(url, "http://", 7))
		return "no HTTP_PROXY";
	url += 7;
	at = strrchr(url, '@');
	if (at) {
		authorize(url, (size_t)(at - url));
		url = at + 1;
	}
	if (sscanf(url, "%255[^:]:%15[0-9]", name, port) != 2)
		return "no port in HTTP_PROXY";
	return resolve(name, port, &proxy) ? "it has no address" : NULL;
}

static bool tunnel(int fd, const char *port)
{
	char text[2048];
	size_t n = 0;
	int len = snprintf(text, sizeof(text), "CONNECT %s:%s HTTP/1.1\r\nHost: %s:%s\r\n%s\r\n",
			   host, port, host, port, authorization);

	if (send(fd, text, (size_t)len, MSG_NOSIGNAL) != len)
		return false;
	while (n < sizeof(text) - 1 && recv(fd, text + n, 1, 0) == 1) {
		text[++n] = '\0';
		if (n >= 4 && !strcmp(text + n - 4, "\r\n\r\n"))
			return !strncmp(text + 9, "200", 3);
	}
	return false;
}

static int dial(const struct place *to, const char *port)
{
	const struct place *first = proxy.len ? &proxy : to;
	int fd = socket(first->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || connect(fd, (const struct sockaddr *)&first->sa, first->len) ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) ||
	    (proxy.len && !tunnel(fd, port))) {
		close(fd);
		return -1;
	}
	return fd;
}

static void say_error(const char *what)
{
	printf("error %s: %s\n", what, strerror(errno));
}

static void connections(unsigned int times, bool first, bool whole)
{
	static uint64_t took[TIMES_MAX];

	for (unsigned int i = 0; i < times && i < TIMES_MAX; i++) {
		char byte = (char)('a' + i % 26), back = 0;
		uint64_t start = now_ns();
		int fd = -1;

		if (!whole || proxy.len || resolve(host, ports[0], &echo) == 0)
			fd = dial(&echo, ports[0]);
		if (fd < 0) {
			say_error("connect");
			return;
		}
		if (first && (send(fd, &byte, 1, MSG_NOSIGNAL) != 1 || recv(fd, &back, 1, 0) != 1 ||
			      back != byte)) {
			say_error("echo");
			return;
		}
		took[i] = now_ns() - start;
		close(fd);
	}
	for (unsigned int i = 0; i < times && i < TIMES_MAX; i++)
		printf("%llu ", (unsigned long long)took[i]);
	putchar('\n');
}

static void move(char how, uint64_t bytes)
{
	char order[9] = { how }, done = 0;
	int fd = dial(&bulk, ports[1]);
	uint64_t start;
	bool ok;

	memcpy(order + 1, &bytes, sizeof(bytes));
	if (fd < 0) {
		say_error("connect");
		return;
	}
	start = now_ns();
	ok = send(fd, order, sizeof(order), MSG_NOSIGNAL) == (ssize_t)sizeof(order);
	if (how == 'g')
		ok = ok && take(fd, bytes);
	else
		ok = ok && give(fd, bytes) && recv(fd, &done, 1, 0) == 1;
	if (ok)
		printf("%llu\n", (unsigned long long)(now_ns() - start));
	else
		say_error("bytes");
	close(fd);
}

static void look_up(const char *name)
{
	uint64_t start = now_ns();
	struct place p;
	int e = resolve(name, "80", &p);

	if (e)
		printf("error %s\n", gai_strerror(e));
	else
		printf("%llu\n", (unsigned long long)(now_ns() - start));
}

static void try_place(const char *address, const char *port)
{
	struct timeval wait = { .tv_sec = 1 };
	struct place p;
	int fd;

	if (resolve(address, port, &p)) {
		puts("closed");
		return;
	}
	fd = socket(p.sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	puts(connect(fd, (struct sockaddr *)&p.sa, p.len) ? "closed" : "open");
	close(fd);
}

static int client(int argc, char **argv)
{
	char line[512], word[16], a[256], b[16];
	const char *why;

	host = argv[0];
	ports = argv + 1;
	why = argc > 3 ? use_proxy() : NULL;
	if (why) {
		printf("error proxy: %s\n", why);
		return 1;
	}
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		int n = sscanf(line, "%15s %255s %15s", word, a, b);

		/* Once it is there: networks of some kinds are attached later. */
		if (!proxy.len && !echo.len && strcmp(word, "try") &&
		    (resolve(host, ports[0], &echo) || resolve(host, ports[1], &bulk)))
			puts("error host");
		else if (n == 2 && !strcmp(word, "connect"))
			connections((unsigned int)atoi(a), false, false);
		else if (n == 2 && !strcmp(word, "first"))
			connections((unsigned int)atoi(a), true, false);
		else if (n == 2 && !strcmp(word, "whole"))
			connections((unsigned int)atoi(a), true, true);
		else if (n == 2 && (!strcmp(word, "get") || !strcmp(word, "put")))
			move(word[0], strtoull(a, NULL, 10));
		else if (n == 2 && !strcmp(word, "dns"))
			look_up(a);
		else if (n == 3 && !strcmp(word, "try"))
			try_place(a, b);
		else
			puts("error order");
		fflush(stdout);
	}
	return 0;
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc == 4 && !strcmp(argv[1], "serve"))
		return serve(argv + 2);
	if (argc >= 5 && !strcmp(argv[1], "client"))
		return client(argc - 2, argv + 2);
	fputs("usage: see the source\n", stderr);
	return 2;
}
