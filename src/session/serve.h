/* SPDX-License-Identifier: Apache-2.0 */
/* The server of one session: the process that a session lives in from `create`
 * to its end. It owns the sealed place and the session's directory, listens on
 * the control socket, and lives in one epoll loop without ever waiting for a
 * client. The protocol is described in docs/PROTOCOL.md.
 *
 *   server.c   the loop, making the session, ending it
 *   client.c   connections: packets in, bounded queue out
 *   ask.c      requests: the permit table, arguments, answers
 *   task.c     commands: starting, ends, what is kept of them
 *   mediated.c those that somebody is asked about first
 *   stream.c   their output: rings, frames, back-pressure
 *   take.c     a session that waited becomes a caller's
 *   inside.c   files, where the session has no view of its own
 *   life.c     leases, freezing, statistics, limits
 *   attach.c   files and directories of the host, added to a living session
 *   snapask.c  its files, saved (snapshot.h)
 *   tighten.c  files that later commands may not reach or change any more
 *   prove.c    an attack from inside before anybody gets it
 *   net.c      rules of its network
 *   book.c     directory, status and journal
 */
#ifndef IMMURE_SESSION_SERVE_H
#define IMMURE_SESSION_SERVE_H

#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/types.h>

#include "base/needle.h"
#include "base/buf.h"
#include "base/jsonr.h"
#include "base/jsonw.h"
#include "base/sha256.h"
#include "session/answer.h"
#include "session/journal.h"
#include "session/registry.h"
#include "session/reuse.h"
#include "session/ring.h"
#include "session/sealed.h"
#include "session/states.h"

enum {
	IMMURE_SERVE_PROTOCOL = 1,
	IMMURE_SERVE_PACKET = 64 << 10, /* of a request or an answer */
	IMMURE_SERVE_PARAMS = 4 << 20,  /* of a request whose arguments are in a memfd */
	IMMURE_SERVE_VALUES = 4096,     /* JSON values of a request */
	IMMURE_SERVE_FDS = 8,
	IMMURE_SERVE_QUEUE = 256 << 10, /* bytes that wait for one client */
	IMMURE_SERVE_CLIENTS = 128,
	IMMURE_SERVE_SPARE = 8,         /* beyond those: for who comes to see what is wrong */
	IMMURE_SERVE_FILES = 64,        /* that init is asked for at a time (inside.c) */
	IMMURE_SERVE_FOLLOWS = 64,      /* streams that one client follows */
	IMMURE_SERVE_TASKS = 512,       /* alive */
	IMMURE_SERVE_KEPT = 64,         /* finished, remembered */
	IMMURE_SERVE_HELD = 16 << 20,   /* bytes of output kept of finished ones together */
	IMMURE_SERVE_FRAME = 24 << 10,  /* bytes of output in one frame */
	IMMURE_SERVE_READ = 32 << 10,
	IMMURE_SERVE_SUMMARY = 512,
	IMMURE_SERVE_INPUT = 128 << 10, /* bytes of input that wait for a command */
	IMMURE_SERVE_VERSION = 40,      /* bytes of a policy version */
	IMMURE_SERVE_DEAF_MS = 100,
	IMMURE_SERVE_HELLO_MS = 10000,  /* who has not said hello by then is sent away */
};

struct immure_before;
struct immure_many;
struct immure_server;
struct immure_client;
struct immure_task;

struct immure_watch {
	int fd;          /* -1 = not watched */
	uint32_t events; /* as epoll has them now */
	void (*ready)(struct immure_server *s, struct immure_watch *w, uint32_t events);
};

enum immure_capture {
	IMMURE_CAPTURE_OFF,      /* nothing is kept */
	IMMURE_CAPTURE_METADATA, /* counts and hash */
	IMMURE_CAPTURE_SUMMARY,  /* and the last bytes */
	IMMURE_CAPTURE_CONTENT,  /* as much as fits capture_max */
	IMMURE_CAPTURE_MAX,
};

struct immure_stream {
	struct immure_watch watch;
	struct immure_task *task;
	struct immure_ring ring;
	struct immure_redactor redactor; /* of the values of secrets */
	struct immure_sha256 sha;
	bool used, eof;
	bool settled; /* all that was written before the command's end was read */
	uint64_t since_end; /* bytes read after it */
	uint64_t last;      /* where it stood when the command was complete */
};

struct immure_task {
	struct immure_task *next;
	uint64_t id;
	char *what;               /* argv[0] */
	char *key;                /* idempotency, NULL = none */
	unsigned char request[32]; /* hash of what the key was first used for */
	struct immure_client *owner; /* who started it; NULL = gone */
	uint64_t owner_request;   /* the request that STARTED answers, 0 = answered */
	bool started, ended, complete, pty, detached;
	enum immure_capture capture;
	size_t capture_max;
	int pid;                  /* inside */
	int terminal_fd;          /* its master end, made here, until it has started; -1 = none */
	uint64_t revision;        /* of the policy, when it was started */
	uint64_t started_ms;      /* since 1970 */
	struct immure_init_reply end;
	uint64_t output;          /* bytes kept or passed on, of both streams */
	bool cut;                 /* there was more than limits.output */
	bool doomed;              /* it is to be killed as soon as it runs */
	struct immure_stream out[2];
	struct immure_watch in;   /* the writing end of its stdin */
	struct immure_buf input;  /* not written yet */
	size_t input_sent;
	bool input_eof;
	struct immure_client *input_asker;
	uint64_t input_request, journal;
};

struct immure_follow {
	struct immure_task *task;
	int stream;      /* 0, 1; -1: the exited event only */
	uint64_t cursor;
	bool blocking;   /* its slowness is the command's */
};

struct immure_client {
	struct immure_watch watch;
	struct immure_client *next;
	uid_t uid;
	pid_t pid;
	bool hello, boss, dead, stuck;
	bool denials; /* it is told of them as they happen */
	bool spare; /* one too many: it may look, and end things, and not start any */
	uint64_t since_ms, asked_ms;
	struct immure_buf queue; /* u32 length, bytes; ... */
	size_t sent;
	struct immure_follow *follows;
	size_t follows_n;
	int lane; /* -1 = none */
};

struct immure_inside {
	uint64_t id; /* 0 = free */
	struct immure_client *client; /* NULL: it is gone */
	uint64_t request;
};

struct immure_lane {
	struct immure_watch watch; /* init's end, looked at only while frozen */
	struct immure_client *client;
};

struct immure_server {
	const struct immure_plan *plan;
	const void *plan_data;
	size_t plan_len;
	struct immure_sealed sealed;
	struct immure_init_shared *shared;
	enum immure_state state;
	bool waits;     /* made without a workspace: PREPARED until a caller's plan comes (take.c) */
	bool give_root; /* its maker gets a descriptor of its root, to look at it from outside */
	bool awaiting;  /* then, and init is as far */
	struct immure_plan *taken; /* that plan; ours */
	struct immure_mould *mould; /* as in the options */
	bool suspended; /* FROZEN because it was idle: the next exec wakes it */
	bool by_signals; /* FROZEN so that init runs on */
	bool init_ready, init_gone, over_memory;
	char *policy;   /* what its policy can be made from again, as JSON; NULL = not known */
	int restore_fd; /* files that it begins with, until they are there; -1 = none */
	struct immure_snapping *snapping; /* a snapshot is being taken */
	bool remove;    /* the session's directory goes with the session */
	bool repair;    /* something of it is left: its record stays for gc */
	int exit_status;

	int epoll_fd;
	struct immure_watch listener, init_sock, init_pidfd, signals, timer, gate, metadata, maker;
	struct immure_client *clients;
	size_t clients_n;
	struct immure_task *tasks;
	struct immure_asked *asked; /* commands that the mediator is asked about */
	size_t alive;
	uint64_t next_task;
	struct immure_attached *attached;
	struct immure_tight *tight; /* the newest first */
	size_t tight_n;
	uint64_t revision; /* of the policy: how often it was tightened */
	const struct immure_before *before; /* NULL: not asked for */
	const struct immure_error *unprovable;
	bool attacking;
	uint64_t proof_points; /* that held; 0 = nobody looked */
	struct immure_cgroup_stats attacked;
	struct immure_reuse *reuse; /* NULL: it is used once */
	struct immure_cgroup_stats earlier; /* used by those who had it before */
	uint64_t earlier_us;
	bool apart;        /* later commands cannot get at what others have open */
	struct immure_inside files[IMMURE_SERVE_FILES];
	uint64_t last_file;
	struct immure_lane lanes[IMMURE_INIT_LANES];
	int next_lane;
	int handle[IMMURE_HANDLE_MAX];

	struct immure_client *creator; /* waits for the answer to create */
	uint64_t creator_request;
	int creator_lane; /* goes with that answer; -1 = none */
	struct immure_client *measurer;
	uint64_t measurer_request;

	/* lease */
	uint64_t life_end_ms, idle_ms, active_ms; /* CLOCK_BOOTTIME */
	bool idle_stops;
	uint64_t kill_at_ms, armed_ms;
	uint64_t handover_ms; /* its maker has gone, its ticket is not acknowledged yet */
	struct immure_many *many; /* as in the options; NULL: it is made for itself */
	uint64_t deaf_until_ms; /* nobody is let in until then, 0 = they are */
	uint64_t frozen_at_ns;
	uint32_t notes_running; /* what init said, when there is no shared page */
	uint64_t bytes_in, bytes_out;

	struct immure_registry registry;
	struct immure_entry entry;
	struct immure_journal journal;
	uint64_t session_seq, socket_seq;
	struct immure_meta meta;
	struct immure_error *failure; /* why it could not be made */

	char *packet;  /* requests */
	char *scratch; /* output on its way */
	struct immure_jsonr_value *values;
};

struct immure_ask {
	const char *raw; /* as it came; NULL unless there is a mediator */
	size_t raw_len;
	bool allowed;    /* by the mediator */
	struct immure_server *s;
	struct immure_client *c;
	uint64_t id;
	enum immure_request what;
	struct immure_jsonr json;
	const struct immure_jsonr_value *root;
	int *fds;
	size_t fds_n;
	struct immure_error *err;
	struct immure_arena arena;
};

/* ---- server.c ---- */
int immure_server_watch(struct immure_server *s, struct immure_watch *w, uint32_t events);
void immure_server_unwatch(struct immure_server *s, struct immure_watch *w); /* closes */
void immure_server_stop(struct immure_server *s, uint64_t grace_ms, const char *why);
void immure_server_state(struct immure_server *s, enum immure_state to, const char *note);
uint64_t immure_server_ms(void); /* CLOCK_BOOTTIME: a lease runs out in suspended machines too */

/* ---- create.c ---- */
int32_t immure_server_create(struct immure_server *s, struct immure_ask *a);
int32_t immure_server_labels(struct immure_ask *a);
/* What was to be waited for before it is anybody's: is done, or failed. */
void immure_server_created(struct immure_server *s, const struct immure_error *why_not);
/* Init has ended, and somebody waits to hear that the session is there. */
void immure_create_ended(struct immure_server *s);
/* Of the mould: init has what it needs of it. */
void immure_create_let_go(struct immure_server *s);

/* ---- take.c ---- */
int32_t immure_take(struct immure_ask *a);

/* ---- client.c ---- */
/* Of many: it ends with its maker until all of them are there. 0 or -errno. */
int immure_client_watch_maker(struct immure_server *s);
bool immure_client_is_settled(const struct immure_server *s);
int immure_client_add(struct immure_server *s, int *fd, bool boss);
void immure_client_drop(struct immure_server *s, struct immure_client *c);
void immure_client_bury(struct immure_server *s); /* frees the dropped */
/* Sends now or queues; a client that lets too much pile up is dropped. */
void immure_client_send(struct immure_server *s, struct immure_client *c, const char *data, size_t len,
			const int *fds, size_t fds_n);
void immure_client_accept(struct immure_server *s, struct immure_watch *w, uint32_t events);

/* ---- ask.c ---- */
void immure_ask_take(struct immure_server *s, struct immure_client *c, char *text, size_t len, int *fds,
		     size_t fds_n);
/* A request of exec that was put aside, taken now that the mediator allowed it. */
void immure_ask_again(struct immure_server *s, struct immure_client *c, char *text, size_t len, int *fds,
		      size_t fds_n);
void immure_answer_send(struct immure_server *s, struct immure_client *c, struct immure_jsonw *w,
			const int *fds, size_t fds_n);
void immure_answer_ok(struct immure_server *s, struct immure_client *c, uint64_t id);
void immure_answer_error(struct immure_server *s, struct immure_client *c, uint64_t id,
			 const struct immure_error *err);
/* Arguments: of the right type or an error; absent leaves *ret. */
int32_t immure_arg_string(struct immure_ask *a, const char *key, const char **ret);
int32_t immure_arg_uint(struct immure_ask *a, const char *key, uint64_t max, uint64_t *ret);
int32_t immure_arg_bool(struct immure_ask *a, const char *key, bool *ret);
/* {"fd":N} as a value: index into a->fds, taken (borrowed) once. */
int32_t immure_arg_fd(struct immure_ask *a, const struct immure_jsonr_value *v, int *ret);
int32_t immure_ask_fail(struct immure_ask *a, int32_t code, int errnum, const char *subject,
			const char *fmt, ...) IMMURE_PRINTF(5, 6);

/* ---- task.c ---- */
int32_t immure_task_exec(struct immure_ask *a);
int32_t immure_task_signal(struct immure_ask *a);
int32_t immure_task_wait(struct immure_ask *a);
int32_t immure_task_list(struct immure_ask *a);
int32_t immure_task_forget(struct immure_ask *a);
void immure_task_reply(struct immure_server *s, const struct immure_init_reply *r, int *fd);
/* Whether it is complete now; tells its followers then. */
void immure_task_settle(struct immure_server *s, struct immure_task *t);
/* It, and all that it started. */
void immure_task_kill(struct immure_server *s, struct immure_task *t);
void immure_task_client_gone(struct immure_server *s, struct immure_client *c);
struct immure_task *immure_task_find(struct immure_ask *a);
void immure_task_done_all(struct immure_server *s);
void immure_task_json(struct immure_jsonw *w, const struct immure_server *s, const struct immure_task *t);

/* ---- taskinput.c ---- */
int32_t immure_task_input(struct immure_ask *a);
int32_t immure_task_resize(struct immure_ask *a);
/* There is room for more, in what t->in watches. */
void immure_task_on_input(struct immure_server *s, struct immure_watch *w, uint32_t events);
/* Whoever waits for his input to be written: it is, or never will be. */
void immure_task_answer_input(struct immure_server *s, struct immure_task *t, int errnum);

/* ---- mediated.c ---- */
struct immure_task_args;
int32_t immure_mediated_ask(struct immure_ask *a, const struct immure_task_args *args);
void immure_mediated_client_gone(struct immure_server *s, const struct immure_client *c);
void immure_mediated_done(struct immure_server *s);

/* ---- stream.c ---- */
int32_t immure_stream_attach(struct immure_ask *a);
int32_t immure_stream_output(struct immure_ask *a);
int immure_stream_start(struct immure_server *s, struct immure_task *t, int which, int *fd);
int immure_stream_follow(struct immure_client *c, struct immure_task *t, int which, uint64_t cursor,
			 bool blocking);
/* The command has ended: what is in the pipe is read. */
void immure_stream_settle(struct immure_server *s, struct immure_stream *st);
void immure_stream_done(struct immure_server *s, struct immure_stream *st);
/* Complete and delivered: down to what is to be kept. */
void immure_stream_retire(struct immure_server *s, struct immure_task *t);
bool immure_stream_followed(const struct immure_server *s, const struct immure_task *t);
/* Sends the client what it follows, as far as it takes it. */
void immure_stream_pump(struct immure_server *s, struct immure_client *c);
void immure_stream_pump_all(struct immure_server *s, const struct immure_task *t);
void immure_stream_forget(struct immure_server *s, const struct immure_task *t);
/* A blocking follower went on or away: read again. */
void immure_stream_resume(struct immure_server *s, struct immure_task *t);

/* ---- life.c ---- */
int32_t immure_life_freeze(struct immure_ask *a);
int32_t immure_life_thaw(struct immure_ask *a);
int32_t immure_life_lease(struct immure_ask *a);
int32_t immure_life_stats(struct immure_ask *a);
int32_t immure_life_inspect(struct immure_ask *a);
int32_t immure_life_limits(struct immure_ask *a);
int32_t immure_life_lane(struct immure_ask *a);
/* Its other end is init's, or will be when init has time. 0, or -errno: -EOPNOTSUPP when
 * there is no way past the server, -EALREADY, -EAGAIN. */
int immure_life_lane_make(struct immure_server *s, struct immure_client *c, int *ret_fd);
void immure_life_lane_tell(const struct immure_server *s, struct immure_jsonw *w);
void immure_life_touch(struct immure_server *s);
/* Wakes what is suspended; an error when it is frozen by request. */
int32_t immure_life_wake(struct immure_ask *a);
void immure_life_woken(struct immure_server *s); /* init woke by itself */
void immure_life_tick(struct immure_server *s);
void immure_life_arm(struct immure_server *s);
void immure_life_lane_gone(struct immure_server *s, struct immure_client *c);
void immure_life_measured(struct immure_server *s, const struct immure_init_reply *r);
int immure_life_order(struct immure_server *s, const struct immure_init_order *o, const int *fds,
		      size_t n);

/* ---- inside.c ---- */
int32_t immure_inside_ask(struct immure_ask *a);
void immure_inside_answered(struct immure_server *s, const struct immure_init_reply *reply, int *fd);
void immure_inside_client_gone(struct immure_server *s, const struct immure_client *c);

/* ---- attach.c ---- */
int32_t immure_attach_mount(struct immure_ask *a);
int32_t immure_attach_unmount(struct immure_ask *a);
void immure_attach_json(struct immure_jsonw *w, const struct immure_server *s);
void immure_attach_done(struct immure_server *s);

/* ---- tighten.c ---- */
int32_t immure_tighten(struct immure_ask *a);
/* 0, or the refusal: source (path on the host) must not be seen, or seen at target. */
int32_t immure_tighten_forbids_mount(struct immure_ask *a, int source, const char *path, const char *target);
int32_t immure_tighten_forbids_unmount(struct immure_ask *a, const char *target);
/* Something was taken away, and what it hid is seen again. 0 or -errno. */
int immure_tighten_again(struct immure_server *s);
void immure_tighten_version(const struct immure_server *s, uint64_t revision,
			    char ret[IMMURE_SERVE_VERSION]);
/* policy_version, policy_revision, tightened */
void immure_tighten_json(struct immure_jsonw *w, const struct immure_server *s);
void immure_tighten_done(struct immure_server *s);

/* ---- net.c ---- */
int32_t immure_net_rules(struct immure_ask *a);

/* ---- book.c ---- */
int32_t immure_book_create(struct immure_server *s, const char *runtime_dir,
			     struct immure_error **err);
/* As immure_gatekeeper_tell() wants it; ctx is the server. */
bool immure_book_denial(void *ctx, size_t number, const struct immure_denial *d, const char *line);
void immure_book_status(struct immure_server *s, const char *note);
int32_t immure_book_listen(struct immure_server *s, struct immure_error **err);
void immure_book_end(struct immure_server *s);
/* A command with a key, or any where the policy has journal: written down before it is started (or it is not: -errno), and
 * what came of it. errnum 0: it runs. */
int immure_book_exec_asked(struct immure_server *s, struct immure_task *t);
void immure_book_exec_started(struct immure_server *s, struct immure_task *t, int errnum);
void immure_book_exec_ended(struct immure_server *s, struct immure_task *t);

/* ---- prove.c ---- */
int immure_prove_start(struct immure_server *s);
/* 0: everything held, and the proof is kept. */
int32_t immure_prove_ended(struct immure_server *s, int status, struct immure_error **err);
int32_t immure_prove_tell(struct immure_ask *a);

struct immure_serve_options {
	const struct immure_plan *plan;
	const void *plan_data; /* its sealed form, for the session's directory */
	size_t plan_len;
	const char *egress;    /* immure-egress; NULL: the installed one */
	const struct immure_before *before; /* what has to hold first; may be NULL */
	const struct immure_error *unprovable; /* why that cannot be tried; NULL: it can */
	int control_fd;        /* taken: the first client, which says `create` */
	bool waits;            /* the plan has no workspace: its maker, or who has its line, says `take` */
	const char *first;     /* a request, as if it had come by control_fd; NULL: none */
	size_t first_len;
	struct immure_many *many; /* it is one of those (many.h); NULL: not */
	struct immure_mould *mould; /* of many: it is made after that; its descriptors are taken. NULL: not */
};

struct immure_many {
	const uint32_t *settled; /* while it is 0 the session ends with its maker, whatever its lifetime */
	int life_fd;             /* taken: its other end is the maker's alone */
	int plan_fd;             /* taken: the plan that all of them have, -1 = none */
};

/* Until the session has ended; an exit status. */
int immure_session_serve(const struct immure_serve_options *o);

#endif
