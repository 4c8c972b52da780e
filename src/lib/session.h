/* SPDX-License-Identifier: Apache-2.0 */
/* The public session handle: either one run under a supervisor of its own
 * (api_run.c), or a connection to the server of a session that runs many
 * commands (link.c, api_session.c, api_process.c). */
#ifndef IMMURE_LIB_SESSION_H
#define IMMURE_LIB_SESSION_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/jsonr.h"
#include "base/jsonw.h"
#include "init/message.h"

enum immure_session_kind { IMMURE_SESSION_ONE_SHOT, IMMURE_SESSION_SERVED };

struct immure_session {
	enum immure_session_kind kind;
	pid_t pid;   /* of the supervisor when it is our child, else <= 0 */
	pid_t owner; /* after a fork the copy in the child is not usable */
	int control_fd; /* one shot only, else -1 */
	bool finished;
	bool let_go; /* it may outlive this handle: freeing does not wait for it */
	struct immure_link *link;
	struct immure_link_event *taken_event; /* whose data the caller may still look at */
};

struct immure_process {
	struct immure_link *link; /* NULL: the session's handle was freed */
	struct immure_process *next;
	uint64_t id;      /* of the server, or of the lane */
	bool lane, over, pty;
	int32_t pid;
	struct immure_exit exit;
};

struct immure_link_event {
	struct immure_link_event *next;
	struct immure_event event; /* data points into this */
	char data[];
};

enum { IMMURE_LINK_PACKET = 64 << 10, IMMURE_LINK_VALUES = 2048, IMMURE_LINK_QUEUE = 4 << 20 };

struct immure_link {
	int fd, lane_fd, epoll_fd; /* -1 = none */
	pid_t owner;
	bool lane_tried, ended;
	bool inside; /* its files are its own business: known once asked */
	uint64_t next_id, next_lane_id, wall_ms;
	char session[32], state[16], mode[16]; /* mode: of a pool */
	struct immure_process *processes;
	struct immure_link_event *first, **last;
	size_t queued;
	char *packet;
	struct immure_jsonr_value *values;
	struct immure_jsonr json; /* of the last message */
};

/* An answer or event: json is valid until the next receive. */
struct immure_link_ask {
	struct immure_buf text;
	struct immure_jsonw w;
	uint64_t id;
	const char *op;
};

/* ---- spawn.c ---- */
/* path NULL: the installed program. fds become 0..4; those below 0 /dev/null. The
 * environment is empty. 0 or -errno. */
int immure_spawn_supervisor(const char *path, const char *const *argv, const int fds[5], pid_t *ret_pid);

void immure_reap(pid_t *pid); /* waits for our child and forgets it; <= 0: none */

/* ---- api_request.c ---- */
/* 0, or why it cannot be asked for anything. */
int32_t immure_session_usable(const immure_session *s, struct immure_error **err);

/* Its root: 0, with a descriptor; 1: it has none, and does by itself what is asked of its
 * files (immure_session_inside()). */
int32_t immure_session_root(immure_session *s, int *ret_fd, struct immure_error **err);
struct immure_inside_file {
	const char *act; /* open, look, remove, rename, mkdir */
	const char *path, *to;
	uint32_t flags, mode;
};
int32_t immure_session_inside(immure_session *s, const struct immure_inside_file *f, int *ret_fd,
			      struct immure_error **err);

/* ---- api_process.c ---- */
/* A command over the link's lane, which is there: as immure_session_exec(). UNSUPPORTED:
 * it asks for what a lane has not. */
int32_t immure_exec_over_lane(struct immure_link *l, const struct immure_exec_options *options,
			      struct immure_process **ret, struct immure_error **err);

/* ---- rundir.c ---- */
/* NULL when the environment names none; owned by the arena or static. */
const char *immure_runtime_dir_of(struct immure_arena *a, const char *const *env);

/* ---- api_session.c ---- */
int32_t immure_session_options_take(struct immure_session_options *to,
				    const struct immure_session_options *from, struct immure_error **err);
/* "labels": {...}, of "key=value" strings; labels may be NULL. */
int32_t immure_link_put_labels(struct immure_link_ask *ask, const char *const *labels,
			       struct immure_error **err);

/* As immure_session_create(), with the files of a snapshot (session/snapfiles.h); -1 = none. */
int32_t immure_session_make(const immure_plan *plan, const struct immure_session_options *options,
			    int restore_fd, immure_session **ret, struct immure_error **err);

/* ---- link.c ---- */
/* Takes fd, a connected socket; says hello. */
int32_t immure_link_new(int *fd, struct immure_link **ret, struct immure_error **err);
/* Takes a connection on which hello was said already, and a lane (or -1). */
int32_t immure_link_adopt(int *fd, int *lane_fd, const char *session, struct immure_link **ret,
			  struct immure_error **err);
void immure_link_free(struct immure_link *l);
int immure_link_pollable(struct immure_link *l);
/* A request: begin, add arguments to ask->w, then send with its descriptors. */
void immure_link_begin(struct immure_link *l, struct immure_link_ask *ask, const char *op);
int32_t immure_link_send(struct immure_link *l, struct immure_link_ask *ask, const int *fds, size_t n,
			 struct immure_error **err);
/* Waits for the answer to ask; events that come first are queued. ret_fd: the
 * descriptor that came with it, may be NULL. *ret_json points to its root. */
int32_t immure_link_answer(struct immure_link *l, const struct immure_link_ask *ask,
			   const struct immure_jsonr_value **ret, int *ret_fd, struct immure_error **err);
/* With up to two descriptors. */
int32_t immure_link_answer_fds(struct immure_link *l, const struct immure_link_ask *ask,
			       const struct immure_jsonr_value **ret, int *ret_fds, size_t want,
			       struct immure_error **err);
/* Both. */
int32_t immure_link_request(struct immure_link *l, struct immure_link_ask *ask,
			    const struct immure_jsonr_value **ret, int *ret_fd, struct immure_error **err);
/* Reads what is there, at least one message when wait is set. 0, or a code. */
int32_t immure_link_read(struct immure_link *l, bool wait, struct immure_error **err);
/* Until an event is queued, or nothing is there: whoever takes events one by one
 * loses none of them to the bound of the queue. */
int32_t immure_link_read_event(struct immure_link *l, struct immure_error **err);
int32_t immure_link_signal_all(struct immure_link *l, int signo, struct immure_error **err);
/* A lane, when there is one to be had; false = use the server. */
bool immure_link_lane(struct immure_link *l);
int32_t immure_link_lane_read(struct immure_link *l, bool wait, struct immure_error **err);

/* ---- linkread.c ---- */
/* The text of an answer without its "id" and "ok", as JSON; freed by the caller. */
char *immure_link_text(const struct immure_link *l, const struct immure_jsonr_value *root);
const char *immure_link_string(const struct immure_link *l, const struct immure_jsonr_value *of,
			       const char *key);
uint64_t immure_link_uint(const struct immure_link *l, const struct immure_jsonr_value *of,
			  const char *key);
/* The refusal that is one. */
int32_t immure_link_carried_error(struct immure_link *l, const struct immure_jsonr_value *root,
				  struct immure_error **err);

#endif
