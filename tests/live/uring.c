/* SPDX-License-Identifier: Apache-2.0 */
/* uring {tcp|udp} ADDRESS PORT ...
 *
 * Connects by io_uring alone, as a program does that means to go past filters of system
 * calls. For each: "0", or the number of the error. Exit 77: this kernel has none. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

struct ring {
	int fd;
	unsigned int *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
};

static void *map(int fd, size_t len, off_t at)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, at);

	if (p == MAP_FAILED) {
		perror("uring: mmap");
		exit(1);
	}
	return p;
}

static void open_ring(struct ring *r)
{
	struct io_uring_params p = { .flags = 0 };
	char *sq, *cq;

	r->fd = (int)syscall(SYS_io_uring_setup, 4, &p);
	if (r->fd < 0) {
		perror("uring: io_uring_setup");
		exit(77);
	}
	sq = map(r->fd, p.sq_off.array + p.sq_entries * sizeof(unsigned int), IORING_OFF_SQ_RING);
	cq = map(r->fd, p.cq_off.cqes + p.cq_entries * sizeof(*r->cqes), IORING_OFF_CQ_RING);
	r->sqes = map(r->fd, p.sq_entries * sizeof(*r->sqes), IORING_OFF_SQES);
	r->sq_tail = (void *)(sq + p.sq_off.tail);
	r->sq_mask = (void *)(sq + p.sq_off.ring_mask);
	r->sq_array = (void *)(sq + p.sq_off.array);
	r->cq_head = (void *)(cq + p.cq_off.head);
	r->cq_tail = (void *)(cq + p.cq_off.tail);
	r->cq_mask = (void *)(cq + p.cq_off.ring_mask);
	r->cqes = (void *)(cq + p.cq_off.cqes);
}

static int submit(struct ring *r, const struct io_uring_sqe *e)
{
	unsigned int at = *r->sq_tail & *r->sq_mask, head = *r->cq_head;
	int res;

	r->sqes[at] = *e;
	r->sq_array[at] = at;
	__atomic_store_n(r->sq_tail, *r->sq_tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, r->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1 ||
	    __atomic_load_n(r->cq_tail, __ATOMIC_ACQUIRE) == head) {
		perror("uring: io_uring_enter");
		exit(1);
	}
	res = r->cqes[head & *r->cq_mask].res;
	__atomic_store_n(r->cq_head, head + 1, __ATOMIC_RELEASE);
	return res;
}

static int connect_by(struct ring *r, const char *kind, const char *address, const char *port)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)atoi(port)) };
	int six = strchr(address, ':') != NULL, res;
	struct io_uring_sqe e = { .opcode = IORING_OP_CONNECT };

	if (inet_pton(six ? AF_INET6 : AF_INET, address,
		      six ? (void *)&v6.sin6_addr : (void *)&v4.sin_addr) != 1)
		return EINVAL;
	e.fd = socket(six ? AF_INET6 : AF_INET,
		      (strcmp(kind, "udp") == 0 ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
	if (e.fd < 0)
		return errno;
	e.addr = (unsigned long)(six ? (void *)&v6 : (void *)&v4);
	e.off = six ? sizeof(v6) : sizeof(v4);
	res = submit(r, &e);
	(void)close(e.fd);
	return -res;
}

int main(int argc, char **argv)
{
	struct ring r;

	open_ring(&r);
	for (int i = 1; i + 2 < argc; i += 3)
		printf("%d\n", connect_by(&r, argv[i], argv[i + 1], argv[i + 2]));
	return 0;
}
