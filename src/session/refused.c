/* SPDX-License-Identifier: Apache-2.0 */
#include "session/refused.h"

#include <errno.h>
#include <string.h>

#include "plan/plan.h"

#define NO_DEVICE \
	"null, zero, full, random, urandom and tty of this host's /dev are lent; one of them is missing or is not that device"
#define NO_RIGHTS \
	"this host gives a user namespace no rights of its own; `immure doctor` says why and what to do"

static const struct {
	uint32_t stage;
	int errnum;
	const char *subject; /* NULL = any */
	const char *hint;
} hints[] = {
	{ IMMURE_STAGE_NAMESPACE, EPERM, NULL, NO_RIGHTS },
	{ IMMURE_STAGE_NAMESPACE, EACCES, NULL, NO_RIGHTS },
	{ IMMURE_STAGE_IDS, EPERM, NULL, NO_RIGHTS },
	{ IMMURE_STAGE_IDS, EACCES, NULL, NO_RIGHTS },
	{ IMMURE_STAGE_MOUNT, EMLINK, NULL,
	  "it has another hard link; list it in files.created or break the link" },
	{ IMMURE_STAGE_MOUNT, ESTALE, NULL, "it was changed on the host while the session was set up; try again" },
	{ IMMURE_STAGE_MOUNT, ELOOP, NULL, "it became a symbolic link after the plan was made" },
	{ IMMURE_STAGE_MOUNT, EOPNOTSUPP, NULL,
	  "the directory for changes is on an overlay itself, as in a container, and cannot hold those of "
	  "another one; set XDG_STATE_HOME to a directory on another file system" },
	{ IMMURE_STAGE_MOUNT, EPERM, "/proc",
	  "the /proc here is covered in part, as in a container, and then the kernel gives no fresh one" },
	{ IMMURE_STAGE_MOUNT, ENODEV, "/dev", NO_DEVICE },
	{ IMMURE_STAGE_MOUNT, ENOENT, "/dev", NO_DEVICE },
	{ IMMURE_STAGE_NETWORK, EOPNOTSUPP, NULL,
	  "rules for addresses need nf_tables with tproxy in the kernel; name hosts instead" },
};

int32_t immure_refused(const struct immure_init_msg *m, int32_t code, struct immure_error **err)
{
	const char *stage = immure_stage_name(m->stage);
	int32_t r = immure_fail(err, code, m->errnum, stage, m->subject, "%s: %s",
				m->subject[0] ? m->subject : stage, strerror(m->errnum));

	for (size_t i = 0; err && *err && i < sizeof(hints) / sizeof(hints[0]); i++)
		if (hints[i].stage == m->stage && hints[i].errnum == m->errnum &&
		    (!hints[i].subject || strcmp(hints[i].subject, m->subject) == 0))
			immure_error_set_hint(*err, "%s", hints[i].hint);
	return r;
}
