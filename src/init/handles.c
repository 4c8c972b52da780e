/* SPDX-License-Identifier: Apache-2.0 */
/* The descriptors of init: what the supervisor gets of them, and which are kept. */
#include "init/serving.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include "base/fd.h"
#include "kernel/sys.h"

/* The supervisor outside may enter what we are about to leave the keys of: it
 * made it. Its files, statistics and attached directories come by these. */
int immure_init_hand_over(struct immure_serving *s, struct immure_init_step *step)
{
	static const struct {
		const char *path;
		int flags;
	} what[IMMURE_HANDLE_MAX] = {
		[IMMURE_HANDLE_ROOT] = { "/", O_PATH | O_DIRECTORY },
		[IMMURE_HANDLE_USERNS] = { "/proc/self/ns/user", O_RDONLY },
		[IMMURE_HANDLE_MNTNS] = { "/proc/self/ns/mnt", O_RDONLY },
		[IMMURE_HANDLE_NETNS] = { "/proc/self/ns/net", O_RDONLY },
		[IMMURE_HANDLE_IPCNS] = { "/proc/self/ns/ipc", O_RDONLY },
		[IMMURE_HANDLE_UTSNS] = { "/proc/self/ns/uts", O_RDONLY },
		[IMMURE_HANDLE_PIDNS] = { "/proc/self/ns/pid", O_RDONLY },
	};
	struct immure_init_msg m = { .type = IMMURE_INIT_HANDLES };
	int fds[IMMURE_HANDLE_MAX], r = 0, n = s->in->provable ? IMMURE_HANDLE_MAX : IMMURE_HANDLE_IPCNS;

	if (!s->in->handles)
		return 0;
	step->stage = IMMURE_STAGE_FDS;
	step->subject = "handles";
	for (int i = 0; i < n; i++) {
		fds[i] = i == IMMURE_HANDLE_HOSTNS ? immure_take_fd(&s->host_ns_fd)
			 : i == IMMURE_HANDLE_AREAS ? immure_take_fd(&s->areas_fd)
						    : open(what[i].path, what[i].flags | O_CLOEXEC);
		if (fds[i] >= 0)
			m.status |= 1 << i;
		else
			fds[i] = immure_open_null();
		if (fds[i] < 0)
			r = fds[i];
	}
	if (r == 0)
		r = immure_init_send(s->in->report_fd, &m, sizeof(m), fds, (size_t)n, 0);
	for (int i = 0; i < n; i++)
		immure_close(&fds[i]);
	return r;
}

int immure_init_hand_over_areas(const struct immure_serving *s, int areas_fd)
{
	struct immure_init_msg m = { .type = IMMURE_INIT_HANDLES, .status = 1 << IMMURE_HANDLE_AREAS };
	int fds[IMMURE_HANDLE_AREAS + 1];

	for (int i = 0; i <= IMMURE_HANDLE_AREAS; i++)
		fds[i] = areas_fd; /* its place among them says which it is */
	return s->in->handles ? immure_init_send(s->in->report_fd, &m, sizeof(m), fds, IMMURE_HANDLE_AREAS + 1, 0) : 0;
}

/* What is attached later comes from the host's tree, of which nothing is left
 * after the pivot: so the namespace that still has it is kept, by a descriptor
 * that only the supervisor gets, and the pivot happens in a copy. So does a caller's
 * workspace, where a session waits for one (await.c). */
int immure_init_keep_host_tree(struct immure_serving *s, struct immure_init_step *step)
{
	if (!s->in->attachable && !s->in->waits)
		return 0;
	step->stage = IMMURE_STAGE_NAMESPACE;
	step->subject = "mount namespace";
	s->host_ns_fd = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	if (s->host_ns_fd < 0 || immure_fd_raise(&s->host_ns_fd, 10) < 0)
		return -errno;
	return unshare(CLONE_NEWNS) < 0 ? -errno : 0;
}

int immure_init_keep(int *keep, size_t n)
{
	unsigned int from = 3;
	int r = 0;

	for (size_t i = 0; i < n; i++) /* a few numbers: the simplest sort there is */
		for (size_t j = i + 1; j < n; j++)
			if (keep[j] < keep[i]) {
				int t = keep[i];

				keep[i] = keep[j];
				keep[j] = t;
			}
	for (size_t i = 0; i < n && r == 0; i++) {
		if (keep[i] < (int)from)
			continue; /* none, or one of 0..2, or named twice */
		if ((unsigned int)keep[i] > from)
			r = immure_sys_close_range(from, (unsigned int)keep[i] - 1, 0);
		from = (unsigned int)keep[i] + 1;
	}
	return r < 0 ? r : immure_sys_close_range(from, ~0U, 0);
}

int immure_init_close_fds(struct immure_serving *s, struct immure_init_step *step)
{
	int keep[4] = { s->in->report_fd, s->master_fd, s->slave_fd, s->signal_fd };

	step->stage = IMMURE_STAGE_FDS;
	step->subject = "close_range";
	return immure_init_keep(keep, 4);
}
