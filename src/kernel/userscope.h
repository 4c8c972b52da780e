/* SPDX-License-Identifier: Apache-2.0 */
/* A cgroup that an ordinary user may divide, from the service manager of that user's. */
#ifndef IMMURE_KERNEL_USERSCOPE_H
#define IMMURE_KERNEL_USERSCOPE_H

#include <stdint.h>

/* Has the calling process put into a scope of its own, which is delegated (cgroup v2,
 * systemd.resource-control(5), "Delegate="), through the manager that listens in runtime_dir
 * (XDG_RUNTIME_DIR). It goes away with the last process in it. Returns once
 * /proc/self/cgroup tells so: 0, or -errno: -ENOENT there is none, -EPERM it is not this
 * user's, -EACCES it refuses, -ETIMEDOUT, -EPROTO what it says is not D-Bus. */
int immure_userscope_enter(const char *runtime_dir, uint64_t timeout_ms);

/* From the cgroup that dir names, in which only the calling process is, to one below it:
 * a cgroup with processes in it can set no limits on others. 0 or -errno. */
int immure_userscope_step_down(const char *dir);

#endif
