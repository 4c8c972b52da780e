/* SPDX-License-Identifier: Apache-2.0 */
/* Connections. A request is one packet and never longer than our one buffer, so
 * a client that sends half of one, or a gigabyte, has sent garbage. Answers wait
 * in a queue of bounded size for as long as the client does not read; nothing
 * else waits for it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/fdmsg.h"
#include "session/handover.h"
#include "session/serve.h"
#include "session/snapshot.h"

static void flush(struct immure_server *s, struct immure_client *c)
{
	while (c->sent < c->queue.len) {
		uint32_t len;
		struct iovec iov;
		ssize_t n;

		memcpy(&len, c->queue.data + c->sent, sizeof(len));
		iov = (struct iovec){ c->queue.data + c->sent + sizeof(len), len };
		n = immure_fdmsg_send(c->watch.fd, &iov, 1, NULL, 0, MSG_DONTWAIT);
		if (n == -EAGAIN)
			break;
		if (n < 0) {
			immure_client_drop(s, c);
			return;
		}
		c->sent += sizeof(len) + len;
	}
	c->stuck = c->sent < c->queue.len;
	if (!c->stuck) {
		immure_buf_done(&c->queue);
		c->sent = 0;
	}
	(void)immure_server_watch(s, &c->watch, EPOLLIN | (c->stuck ? EPOLLOUT : 0)); /* a change only */
}

void immure_client_send(struct immure_server *s, struct immure_client *c, const char *data, size_t len,
			const int *fds, size_t fds_n)
{
	struct iovec iov = { (void *)(uintptr_t)data, len };
	uint32_t n = (uint32_t)len;

	if (c->dead)
		return;
	if (!c->stuck) {
		ssize_t sent = immure_fdmsg_send(c->watch.fd, &iov, 1, fds, fds_n, MSG_DONTWAIT);

		if (sent >= 0)
			return;
		if (sent != -EAGAIN) {
			immure_client_drop(s, c);
			return;
		}
	}
	/* Descriptors do not wait: who asks for one reads the answer. */
	if (fds_n || c->queue.len - c->sent + len > IMMURE_SERVE_QUEUE) {
		immure_client_drop(s, c);
		return;
	}
	if (c->sent > IMMURE_SERVE_QUEUE) {
		memmove(c->queue.data, c->queue.data + c->sent, c->queue.len - c->sent);
		c->queue.len -= c->sent;
		c->sent = 0;
	}
	immure_buf_put(&c->queue, &n, sizeof(n));
	immure_buf_put(&c->queue, data, len);
	if (!immure_buf_ok(&c->queue)) {
		immure_client_drop(s, c);
		return;
	}
	c->stuck = true;
	(void)immure_server_watch(s, &c->watch, EPOLLIN | EPOLLOUT); /* a change only */
}

static void refuse_packet(struct immure_server *s, struct immure_client *c)
{
	struct immure_error *err = NULL;

	(void)immure_fail(&err, IMMURE_ERR_INVALID, EMSGSIZE, "protocol", "",
			  "a request is at most %d bytes with %d descriptors", IMMURE_SERVE_PACKET,
			  IMMURE_SERVE_FDS);
	immure_answer_error(s, c, 0, err);
	immure_error_free(err);
	immure_client_drop(s, c);
}

static void on_client(struct immure_server *s, struct immure_watch *w, uint32_t events)
{
	struct immure_client *c = (struct immure_client *)w;
	int fds[IMMURE_SERVE_FDS];
	size_t n = 0;
	ssize_t len;

	if (events & EPOLLOUT) {
		flush(s, c);
		if (!c->dead && !c->stuck)
			immure_stream_pump(s, c);
	}
	if (c->dead || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	/* Who does not read its answers is not asked for more requests. */
	if (c->stuck && !(events & (EPOLLHUP | EPOLLERR))) {
		(void)immure_server_watch(s, w, EPOLLOUT); /* a change only */
		return;
	}
	len = immure_fdmsg_receive(w->fd, s->packet, IMMURE_SERVE_PACKET, fds, IMMURE_SERVE_FDS, &n,
				   MSG_DONTWAIT);
	if (len == -EMSGSIZE)
		refuse_packet(s, c);
	else if (len == 0 || (len < 0 && len != -EAGAIN && len != -EINTR))
		immure_client_drop(s, c);
	else if (len > 0)
		immure_ask_take(s, c, s->packet, (size_t)len, fds, n);
	immure_close_all(fds, n);
}

/* The same user or root; nobody else can have come here, since the directory is
 * 0700, but a descriptor may have been passed on. */
static bool welcome(int fd, struct immure_client *c)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return false;
	c->uid = cred.uid;
	c->pid = cred.pid;
	return cred.uid == geteuid() || cred.uid == 0;
}

int immure_client_add(struct immure_server *s, int *fd, bool boss)
{
	struct immure_client *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->watch = (struct immure_watch){ .fd = immure_take_fd(fd), .ready = on_client };
	c->boss = boss;
	c->lane = -1;
	c->since_ms = c->asked_ms = immure_server_ms();
	r = welcome(c->watch.fd, c) ? immure_server_watch(s, &c->watch, EPOLLIN) : -EPERM;
	if (r < 0) {
		immure_close(&c->watch.fd);
		free(c);
		return r;
	}
	c->next = s->clients;
	s->clients = c;
	s->clients_n++;
	immure_life_arm(s);
	return 0;
}

/* Nothing would be lost with it but the connection. */
static bool is_idle(const struct immure_server *s, const struct immure_client *c)
{
	if (c->dead || c->boss || c->spare || c->lane >= 0 || c->follows_n || s->creator == c ||
	    s->measurer == c || immure_snapshot_is_for(s, c))
		return false;
	for (const struct immure_task *t = s->tasks; t; t = t->next)
		if (t->input_asker == c || (t->owner == c && !t->ended && !t->detached))
			return false;
	return true;
}

static size_t connections_of(const struct immure_server *s, pid_t pid)
{
	size_t n = 0;

	for (const struct immure_client *c = s->clients; c; c = c->next)
		n += !c->dead && c->pid == pid;
	return n;
}

/* Room for a newcomer is made by who never said hello, the longest silent one; else by
 * an idle connection of the process that has the most, if that has more than one. */
static void make_room(struct immure_server *s)
{
	struct immure_client *oldest = NULL, *idle = NULL;
	size_t most = 1;

	for (struct immure_client *c = s->clients; c; c = c->next) {
		size_t n;

		if (!c->hello && !c->boss && !c->dead)
			oldest = c; /* new ones come first */
		if (oldest || !is_idle(s, c))
			continue;
		n = connections_of(s, c->pid);
		if (n > most || (idle && n == most && c->asked_ms <= idle->asked_ms))
			idle = c, most = n;
	}
	if (oldest || idle)
		immure_client_drop(s, oldest ? oldest : idle);
}

/* All others are busy: whoever comes now may still see that and end it. Of these the
 * oldest goes for the newest. */
static void take_spare(struct immure_server *s, int *fd)
{
	struct immure_client *oldest = NULL;
	size_t n = 0;

	for (struct immure_client *c = s->clients; c; c = c->next)
		if (c->spare && !c->dead)
			oldest = c, n++;
	if (n >= IMMURE_SERVE_SPARE)
		immure_client_drop(s, oldest);
	if (immure_client_add(s, fd, false) == 0) /* refused: it sees the end */
		s->clients->spare = true;
}

void immure_client_accept(struct immure_server *s, struct immure_watch *w, uint32_t events)
{
	IMMURE_CLEANUP_FD int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
		/* No descriptor is left: whoever waits there would keep us awake. */
		(void)immure_server_watch(s, w, 0); /* a change only */
		s->deaf_until_ms = immure_server_ms() + IMMURE_SERVE_DEAF_MS;
		immure_life_arm(s);
	}
	if (fd < 0)
		return;
	if (s->clients_n >= IMMURE_SERVE_CLIENTS)
		make_room(s);
	if (s->clients_n < IMMURE_SERVE_CLIENTS)
		(void)immure_client_add(s, &fd, false); /* refused: it sees the end */
	else
		take_spare(s, &fd);
}

static const char alone[] = "one of those it was made with could not be made";

bool immure_client_is_settled(const struct immure_server *s)
{
	return !s->many || __atomic_load_n(s->many->settled, __ATOMIC_ACQUIRE);
}

static void on_maker(struct immure_server *s, struct immure_watch *w, uint32_t events)
{
	(void)events; /* nothing is ever said there: it is the end */
	immure_server_unwatch(s, w);
	if (!immure_client_is_settled(s))
		immure_server_stop(s, 0, alone);
}

int immure_client_watch_maker(struct immure_server *s)
{
	if (!s->many)
		return 0;
	s->maker = (struct immure_watch){ .fd = immure_take_fd(&s->many->life_fd), .ready = on_maker };
	return immure_server_watch(s, &s->maker, EPOLLIN);
}

void immure_client_drop(struct immure_server *s, struct immure_client *c)
{
	if (c->dead)
		return;
	c->dead = true;
	s->clients_n--;
	immure_server_unwatch(s, &c->watch);
	if (s->creator == c)
		s->creator = NULL;
	if (s->measurer == c)
		s->measurer = NULL;
	immure_life_lane_gone(s, c);
	immure_mediated_client_gone(s, c);
	immure_snapshot_client_gone(s, c);
	immure_task_client_gone(s, c);
	if (immure_reuse_client_gone(s, c) || !c->boss)
		return;
	if (s->many && !s->init_ready) /* later its maker lets go of the line, and holds the other */
		immure_server_stop(s, 0, alone);
	else if (s->meta.lifetime == IMMURE_LIFETIME_CALLER && !immure_handover_goes_on(s))
		immure_server_stop(s, 0, "the program that made it has ended");
}

void immure_client_bury(struct immure_server *s)
{
	for (struct immure_client **at = &s->clients; *at;) {
		struct immure_client *c = *at;

		if (!c->dead) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		free(c->follows);
		immure_buf_done(&c->queue);
		immure_wipe(c, sizeof(*c));
		free(c);
	}
}
