/* SPDX-License-Identifier: Apache-2.0 */
/* The runtime directory: which sessions there are, who keeps them, in what state.
 *
 *   RUNTIME/            0700, ours        facts->runtime_dir
 *     lock              held shared for the moment an entry is made
 *     names/NAME        a symbolic link whose text is the id: claimed by making it
 *     sessions/ID/      0700
 *       lock            write-locked (OFD) by the supervisor for life; its text says who
 *       meta            what does not change: name, labels, plan hash, lifetime
 *       plan            the sealed plan
 *       status          rewritten at changes of state; all that `ps` reads
 *       journal         journal.h
 *       ticket-HASH     ticket.h
 *       control         the socket
 *
 * Liveness is the lock: the kernel lets go of it when the process ends, however it
 * ends. The pid, start time and boot id beside it say whom to kill, never whether.
 *
 * An entry is made as sessions/new.ID and renamed when it is complete, so what has
 * an id for a name is whole. Nothing here follows a symbolic link; what is not
 * owned by us, or writable by others, is refused.
 *
 * libc only; the runtime directory is the caller's to name (no environment).
 */
#ifndef IMMURE_SESSION_REGISTRY_H
#define IMMURE_SESSION_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "kernel/procid.h"

enum {
	IMMURE_ID_LEN = 16,          /* a digit, then 15 of a-z2-7: about 78 random bits */
	IMMURE_NAME_MAX = 63,        /* a letter, then letters, digits, "_", "-", "." */
	IMMURE_LABELS_MAX = 16,
	IMMURE_LABEL_KEY_MAX = 63,   /* as names */
	IMMURE_LABEL_VALUE_MAX = 255 /* printable, no control characters */
};

enum immure_lifetime {
	IMMURE_LIFETIME_CALLER,   /* ends with the program that made it */
	IMMURE_LIFETIME_DETACHED, /* until somebody ends it */
	IMMURE_LIFETIME_LEASED,   /* ends by itself: idle_ms, life_ms */
	IMMURE_LIFETIME_MAX,
};

struct immure_label {
	char key[IMMURE_LABEL_KEY_MAX + 1];
	char value[IMMURE_LABEL_VALUE_MAX + 1];
};

struct immure_meta {
	char id[IMMURE_ID_LEN + 1];
	char name[IMMURE_NAME_MAX + 1];   /* "" = none */
	uint64_t created_ms;              /* since 1970 */
	char policy_version[48];
	char plan_hash[65];
	char backend[32], profile[64];
	enum immure_lifetime lifetime;
	uint64_t idle_ms, life_ms;        /* 0 = without end */
	uint32_t labels_n;
	struct immure_label labels[IMMURE_LABELS_MAX];
};

/* Small on purpose: this is all that is read of a session by `ps`. */
struct immure_status {
	char state[16];            /* RUNNING, FROZEN ...; capitals */
	uint64_t since_ms;         /* of this state, since 1970 */
	uint64_t used_ms;          /* last exec began or ended */
	uint64_t running, started; /* execs now, and ever */
	struct immure_procid init; /* pid 0 = none yet */
	char note[256];            /* why, for people; "" */
};

struct immure_registry {
	char path[4096];
	int root_fd, sessions_fd, names_fd; /* -1 = not there, when create was false */
};

#define IMMURE_REGISTRY_INIT { .root_fd = -1, .sessions_fd = -1, .names_fd = -1 }

/* One session's directory, open. */
struct immure_entry {
	char id[IMMURE_ID_LEN + 1];
	int dir_fd;
	int lock_fd; /* >= 0: this process (or whoever gave it to us) holds the lock */
};

#define IMMURE_ENTRY_INIT { .dir_fd = -1, .lock_fd = -1 }

struct immure_owner {
	struct immure_procid process;
	char boot_id[IMMURE_BOOT_ID_LEN + 1];
};

bool immure_id_valid(const char *s);
int immure_id_new(char ret[IMMURE_ID_LEN + 1]);
bool immure_name_valid(const char *s);
bool immure_label_valid(const char *key, const char *value);
const char *immure_lifetime_name(enum immure_lifetime l); /* "caller", "detached", "leased" */

/* create: makes what is missing. Without it a directory that is not there is an
 * empty registry. */
int32_t immure_registry_open(const char *runtime_dir, bool create, struct immure_registry *ret,
			     struct immure_error **err);
void immure_registry_done(struct immure_registry *r);

struct immure_plan_file {
	const void *data; /* the sealed plan; NULL = there is none */
	size_t len;
	int fd; /* a file with that in it, which many entries may have in common, or -1 */
};

/* Makes the entry, holding its lock, and claims its name. meta->id and created_ms
 * are filled in. plan is copied, or linked to. IMMURE_ERR_STATE when the name is
 * taken. On failure nothing is left. The lock is recorded as the calling
 * process's; another that gets lock_fd calls immure_entry_adopt(). */
int32_t immure_entry_create(struct immure_registry *r, struct immure_meta *meta, const struct immure_plan_file *plan,
			    struct immure_entry *ret, struct immure_error **err);
/* Who holds lock_fd from now on: the calling process. The lock belongs to the open
 * file: it lasts until the last copy of lock_fd is closed, so no child may keep one. */
int immure_entry_adopt(struct immure_entry *e);
/* By id, by an unambiguous beginning of one (at least 4 characters), or by name.
 * IMMURE_ERR_NO_SESSION; does not lock. */
int32_t immure_entry_find(struct immure_registry *r, const char *name, struct immure_entry *ret,
			  struct immure_error **err);
int immure_entry_open(struct immure_registry *r, const char *id, struct immure_entry *ret);
void immure_entry_done(struct immure_entry *e); /* closes; lets go of the lock */

/* 1 somebody holds the lock, 0 nobody, -ENOENT half-made, or -errno. Takes nothing. */
int immure_entry_alive(const struct immure_entry *e);
/* Takes the lock of a dead session: 0, -EAGAIN when somebody has it, -ENOENT when it
 * is gone meanwhile. */
int immure_entry_lock(struct immure_entry *e);
int immure_entry_owner(const struct immure_entry *e, struct immure_owner *ret);

int immure_entry_meta(const struct immure_entry *e, struct immure_meta *ret);
int immure_entry_set_meta(const struct immure_entry *e, const struct immure_meta *meta);
/* In a directory that has none yet, and that nobody looks into. */
int immure_entry_new_meta(const struct immure_entry *e, const struct immure_meta *meta);
int immure_entry_status(const struct immure_entry *e, struct immure_status *ret);
/* Atomic: readers see the old one or the new one. since_ms 0 = now. */
int immure_entry_set_status(const struct immure_entry *e, const struct immure_status *status);
/* The texts of these files, from wherever they came. */
int immure_meta_parse(const char *text, size_t len, struct immure_meta *ret);
int immure_status_parse(const char *text, size_t len, struct immure_status *ret);
/* The sealed plan; freed by the caller. */
int immure_entry_plan(const struct immure_entry *e, char **ret, size_t *ret_len);
/* The name for bind(2) and connect(2) of the control socket: through dir_fd, so
 * that no length limit of the real path applies. Valid while dir_fd is open. */
const char *immure_entry_socket(const struct immure_entry *e, char *buf, size_t len);

/* Each entry's id, half_made ones (which have no other use than removal) too. A
 * non-zero return of each() ends it and is returned. */
int immure_registry_each(struct immure_registry *r,
			 int (*each)(void *ctx, const char *id, bool half_made), void *ctx);
/* Removes the directory with all in it and the name; the lock must be held. 0, or
 * -errno with what could not be removed in left. Repeatable. */
int immure_entry_remove(struct immure_registry *r, struct immure_entry *e, char *left, size_t len);
/* Removes what is left of an entry that was never completed: 1 removed, 0 it is being
 * made right now. */
int immure_registry_remove_half(struct immure_registry *r, const char *id);
/* Names whose session is not there: removed, and how many; -errno. */
int immure_registry_prune_names(struct immure_registry *r, bool dry_run);
/* Gives a name, or takes it back ("" = none). -EEXIST when it is taken. */
int immure_name_claim(struct immure_registry *r, const char *name, const char *id);

uint64_t immure_now_ms(void); /* since 1970 */
/* Writes a file of an entry in one step: name.new, then renamed. sync: fdatasync
 * first, and the directory after. */
int immure_file_replace(int dir_fd, const char *name, const void *data, size_t len, bool sync);
/* The same where there is none and nobody looks yet: in place. */
int immure_file_new(int dir_fd, const char *name, const void *data, size_t len);

#endif
