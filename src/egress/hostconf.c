/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/hostconf.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"

struct immure_hosts_line {
	char *name;
	struct immure_inet at;
	size_t order; /* in the file */
};

static bool blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* The next word of [*at, end) up to a comment; NULL = none. */
static const char *word(const char **at, const char *end, size_t *ret_len)
{
	const char *start;

	while (*at < end && blank(**at))
		(*at)++;
	if (*at == end || **at == '#' || **at == ';')
		return NULL;
	start = *at;
	while (*at < end && !blank(**at) && **at != '#')
		(*at)++;
	*ret_len = (size_t)(*at - start);
	return start;
}

static int address(const char *text, size_t len, struct immure_inet *ret)
{
	unsigned char bytes[16];
	struct immure_endpoint e;
	char copy[64];
	int kind;

	if (len >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, text, len);
	copy[len] = '\0';
	kind = immure_address_parse(copy, bytes);
	if (kind < 0)
		return -EINVAL;
	immure_endpoint_address(&e, (enum immure_host_kind)kind, bytes);
	memset(ret, 0, sizeof(*ret));
	ret->v6 = e.kind == IMMURE_HOST_NET6;
	memcpy(ret->addr, e.address, 16);
	return 0;
}

static void one_resolver(struct immure_hostconf *h, const char *text, size_t len)
{
	struct immure_resolver_address *s = &h->server[h->servers_n];
	const char *percent = memchr(text, '%', len);
	char name[IF_NAMESIZE];

	if (h->servers_n == IMMURE_RESOLVERS_MAX)
		return;
	s->scope = 0;
	if (percent) {
		size_t n = len - (size_t)(percent + 1 - text);

		if (n == 0 || n >= sizeof(name))
			return;
		memcpy(name, percent + 1, n);
		name[n] = '\0';
		s->scope = if_nametoindex(name);
		if (s->scope == 0)
			return;
		len = (size_t)(percent - text);
	}
	if (address(text, len, &s->at) < 0)
		return;
	s->at.port = 53;
	h->servers_n++;
}

void immure_hostconf_resolvers(struct immure_hostconf *h, const char *text, size_t len)
{
	const char *end = text + len;

	h->servers_n = 0;
	while (text < end) {
		const char *eol = memchr(text, '\n', (size_t)(end - text)), *w;
		size_t n;

		eol = eol ? eol : end;
		w = word(&text, eol, &n);
		if (w && n == 10 && memcmp(w, "nameserver", 10) == 0) {
			w = word(&text, eol, &n);
			if (w)
				one_resolver(h, w, n);
		}
		text = eol + 1;
	}
	if (h->servers_n == 0)
		one_resolver(h, "127.0.0.1", 9);
}

static int add_host(struct immure_hostconf *h, const char *name, const struct immure_inet *at)
{
	struct immure_hosts_line *l;

	if (h->hosts_n == h->hosts_cap) {
		size_t cap = h->hosts_cap ? h->hosts_cap * 2 : 32;

		l = realloc(h->hosts, cap * sizeof(*l));
		if (!l)
			return -ENOMEM;
		h->hosts = l;
		h->hosts_cap = cap;
	}
	l = &h->hosts[h->hosts_n];
	l->name = strdup(name);
	if (!l->name)
		return -ENOMEM;
	l->at = *at;
	l->order = h->hosts_n++;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const struct immure_hosts_line *x = a, *y = b;
	int k = strcmp(x->name, y->name);

	if (k)
		return k;
	return x->order < y->order ? -1 : x->order > y->order;
}

int immure_hostconf_hosts(struct immure_hostconf *h, const char *text, size_t len)
{
	const char *end = text + len;
	int r = 0;

	while (text < end && r == 0) {
		const char *eol = memchr(text, '\n', (size_t)(end - text)), *w;
		struct immure_inet at;
		size_t n;

		eol = eol ? eol : end;
		w = word(&text, eol, &n);
		if (w && address(w, n, &at) == 0)
			while (r == 0 && (w = word(&text, eol, &n))) {
				struct immure_endpoint e = { 0 };

				if (immure_endpoint_host(&e, w, n) == 0 &&
				    e.kind == IMMURE_HOST_NAME)
					r = add_host(h, e.name, &at);
			}
		text = eol + 1;
	}
	if (h->hosts_n)
		qsort(h->hosts, h->hosts_n, sizeof(*h->hosts), by_name);
	return r;
}

static int read_one(const char *path, char **ret, size_t *ret_len)
{
	int r = immure_read_file_at(AT_FDCWD, path, IMMURE_HOSTS_FILE_MAX, ret, ret_len);

	if (r == -ENOENT) {
		*ret = NULL;
		*ret_len = 0;
		return 0;
	}
	return r;
}

int immure_hostconf_read(struct immure_hostconf *h)
{
	IMMURE_CLEANUP_FREE char *resolv = NULL;
	IMMURE_CLEANUP_FREE char *hosts = NULL;
	size_t len = 0;
	int r = read_one("/etc/resolv.conf", &resolv, &len);

	if (r < 0)
		return r;
	immure_hostconf_resolvers(h, resolv ? resolv : "", len);
	r = read_one("/etc/hosts", &hosts, &len);
	return r < 0 ? r : immure_hostconf_hosts(h, hosts ? hosts : "", len);
}

static int read_copy(int fd, char **ret, size_t *ret_len)
{
	off_t size = lseek(fd, 0, SEEK_END);
	size_t at = 0;
	char *text;

	if (size < 0)
		return -errno;
	if (size > IMMURE_HOSTS_FILE_MAX)
		return -EFBIG;
	text = malloc((size_t)size + 1);
	if (!text)
		return -ENOMEM;
	while (at < (size_t)size) {
		ssize_t n = pread(fd, text + at, (size_t)size - at, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		at += (size_t)n;
	}
	*ret = text;
	*ret_len = at;
	return 0;
}

int immure_hostconf_replace(struct immure_hostconf *h, int resolv_fd, int hosts_fd)
{
	IMMURE_CLEANUP_FREE char *resolv = NULL;
	IMMURE_CLEANUP_FREE char *hosts = NULL;
	struct immure_hostconf next = { 0 };
	size_t resolv_len = 0, hosts_len = 0;
	int r = read_copy(resolv_fd, &resolv, &resolv_len);

	if (r == 0)
		r = read_copy(hosts_fd, &hosts, &hosts_len);
	if (r < 0)
		return r;
	immure_hostconf_resolvers(&next, resolv, resolv_len);
	r = immure_hostconf_hosts(&next, hosts, hosts_len);
	if (r < 0) {
		immure_hostconf_done(&next);
		return r;
	}
	immure_hostconf_done(h);
	*h = next;
	return 0;
}

void immure_hostconf_done(struct immure_hostconf *h)
{
	for (size_t i = 0; i < h->hosts_n; i++)
		free(h->hosts[i].name);
	free(h->hosts);
	memset(h, 0, sizeof(*h));
}

size_t immure_hostconf_find(const struct immure_hostconf *h, const char *name,
			    struct immure_inet *ret, size_t max)
{
	size_t lo = 0, hi = h->hosts_n, n = 0;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(h->hosts[mid].name, name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < h->hosts_n && n < max && strcmp(h->hosts[lo].name, name) == 0; lo++)
		ret[n++] = h->hosts[lo].at;
	return n;
}
