/* SPDX-License-Identifier: Apache-2.0 */
/* Why a probe said no, and what to do. The narrowest remedy comes first: one
 * program, one container, one user; a switch of the whole host is named only
 * where nothing narrower exists, and as somebody else's decision. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "facts/probe.h"

enum { FIRST_PID_NAMESPACE = 0xEFFFFFFC, SETFCAP = 31 };

static int64_t read_number(const char *path)
{
	IMMURE_CLEANUP_FREE char *text = NULL;

	if (immure_read_file_at(AT_FDCWD, path, 64, &text, NULL) < 0)
		return -1;
	return strtoll(text, NULL, 10);
}

/* The value of "Name:\t..." in /proc/self/status. */
static long status_field(const char *text, const char *name)
{
	const char *s = strstr(text, name);

	return s && (s == text || s[-1] == '\n') ? strtol(s + strlen(name), NULL, 10) : 0;
}

static unsigned long long capabilities(const char *status)
{
	const char *s = strstr(status, "\nCapEff:");

	return s ? strtoull(s + strlen("\nCapEff:"), NULL, 16) : ~0ULL;
}

/* The markers outlive their container where its image became a virtual machine's
 * disk; there we are in the first pid namespace, whose inode number is fixed. */
static const char *find_container(struct immure_arena *a)
{
	IMMURE_CLEANUP_FREE char *text = NULL;
	struct stat st;

	if (stat("/proc/self/ns/pid", &st) == 0 && st.st_ino == FIRST_PID_NAMESPACE)
		return NULL;
	if (access("/run/.containerenv", F_OK) == 0)
		return "podman";
	if (access("/.dockerenv", F_OK) == 0)
		return "docker";
	/* systemd's convention: the manager of a container writes its name here. */
	if (immure_read_file_at(AT_FDCWD, "/run/systemd/container", 64, &text, NULL) == 0 && *text)
		return immure_arena_strndup(a, text, strcspn(text, "\n"));
	return NULL;
}

/* In a chroot the root directory is no mount point, so no mount is seen there. */
static bool is_chrooted(const struct immure_facts *f)
{
	for (size_t i = 0; i < f->mounts_n; i++)
		if (strcmp(f->mounts[i].target, "/") == 0)
			return false;
	return true;
}

/* Microsoft's kernels say so: "4.4.0-19041-Microsoft", "5.15.90.1-microsoft-standard-WSL2". */
int immure_wsl_kind(const char *release)
{
	if (release && strstr(release, "-Microsoft"))
		return 1;
	return release && strstr(release, "microsoft") ? 2 : 0;
}

void immure_surroundings(const struct immure_facts *f, struct immure_arena *a,
			 struct immure_surroundings *ret)
{
	IMMURE_CLEANUP_FREE char *status = NULL, *map = NULL;
	struct immure_surroundings s = { 0 };
	unsigned long inside = 0, outside = 0, count = 0;

	if (immure_read_file_at(AT_FDCWD, "/proc/self/status", 1 << 16, &status, NULL) == 0) {
		s.filtered = status_field(status, "Seccomp:") == 2;
		s.no_new_privs = status_field(status, "NoNewPrivs:") == 1;
		s.no_setfcap = geteuid() == 0 && !(capabilities(status) >> SETFCAP & 1);
	}
	if (immure_read_file_at(AT_FDCWD, "/proc/self/uid_map", 1 << 16, &map, NULL) == 0 &&
	    sscanf(map, "%lu %lu %lu", &inside, &outside, &count) == 3)
		s.nested_userns = inside != 0 || outside != 0 || count != 4294967295UL;
	s.container = find_container(a);
	s.chrooted = is_chrooted(f);
	s.systemd = access("/run/systemd/system", F_OK) == 0;
	s.wsl = immure_wsl_kind(f->kernel);
	s.userns_clone = read_number("/proc/sys/kernel/unprivileged_userns_clone");
	s.max_userns = read_number("/proc/sys/user/max_user_namespaces");
	s.apparmor_userns = read_number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns");
	s.yama = read_number("/proc/sys/kernel/yama/ptrace_scope");
	*ret = s;
}

const char *immure_surroundings_text(const struct immure_surroundings *s, struct immure_arena *a)
{
	char yama[32] = "";
	const char *text;

	if (s->yama >= 0)
		(void)snprintf(yama, sizeof(yama), ", Yama ptrace scope %d", (int)s->yama);
	text = immure_arena_printf(a, "%s%s%s%s%s%s%s%s%s",
				   s->wsl == 1 ? ", WSL 1" : s->wsl ? ", WSL 2" : "",
				   s->container ? ", container: " : "",
				   s->container ? s->container : "",
				   s->nested_userns ? ", a user namespace" : "",
				   s->filtered ? ", a seccomp filter" : "",
				   s->no_new_privs ? ", no_new_privs" : "",
				   s->chrooted ? ", a chroot" : "",
				   s->apparmor_userns > 0 ? ", AppArmor restricts user namespaces"
							  : "",
				   yama);
	return text && *text ? text + 2 : "nothing is around this process";
}

#define APPARMOR_REMEDY                                                                         \
	"install the AppArmor profile for this one program (docs/BACKENDS.md, \"AppArmor\")"

static const char *userns_remedy(const struct immure_outcome *o,
				 const struct immure_surroundings *s, struct immure_arena *a)
{
	/* What is root's is given on by who has that capability; since Linux 5.12. */
	if (s->no_setfcap && (!o->step || strncmp(o->step, "unshare user", 12) != 0))
		return "root has no CAP_SETFCAP here, so it cannot map itself: start the container with "
		       "--cap-add SETFCAP, or immure in it as another user";
	if (s->filtered && s->container)
		return "allow unshare, clone and the mount calls in this container's own seccomp "
		       "profile (docker run --security-opt seccomp=FILE)";
	if (s->filtered)
		return "another sandbox around this process forbids it: start immure outside of it";
	if (s->chrooted)
		return "leave the chroot: the kernel makes no user namespace in one";
	if (s->apparmor_userns > 0)
		return APPARMOR_REMEDY;
	if (s->userns_clone == 0)
		return "run immure as root, or ask the administrator about "
		       "kernel.unprivileged_userns_clone, which is 0";
	if (s->max_userns == 0 || o->errnum == ENOSPC || o->errnum == EUSERS)
		return immure_arena_printf(a, "user namespaces are used up: their limit "
					      "user.max_user_namespaces is %lld here",
					   (long long)s->max_userns);
	if (o->errnum == EINVAL || o->errnum == ENOSYS)
		return "this kernel has no user namespaces: use one built with CONFIG_USER_NS";
	if (s->container)
		return "allow user namespaces for this container (its seccomp and AppArmor profile)";
	return "find out which security module of this host forbids user namespaces";
}

static const char *mount_remedy(const struct immure_outcome *o,
				const struct immure_surroundings *s, struct immure_arena *a)
{
	if (o->errnum == ENOSYS && !s->filtered)
		return "use Linux 5.12 or newer";
	if (s->apparmor_userns > 0)
		return APPARMOR_REMEDY;
	if (s->container)
		return "allow mounts in this container's own profiles (docker run --security-opt "
		       "seccomp=FILE --security-opt apparmor=PROFILE)";
	return userns_remedy(o, s, a);
}

static const char *proc_remedy(const struct immure_outcome *o,
			       const struct immure_surroundings *s, struct immure_arena *a)
{
	/* Where nothing at all may be mounted, what covers /proc is not the reason. */
	if ((o->errnum == EPERM || o->errnum == EACCES) && !s->no_mounts)
		return "this /proc is partly covered, so the kernel refuses a fresh one: start the "
		       "container with --security-opt systempaths=unconfined (podman: unmask=ALL; "
		       "Kubernetes: procMount: Unmasked)";
	return mount_remedy(o, s, a);
}

static const char *cgroup_remedy(const char *name, const struct immure_surroundings *s,
				 const struct immure_facts *f)
{
	if (s->container)
		return "give this container a writable cgroup of its own (podman: "
		       "--security-opt unmask=/sys/fs/cgroup --cgroupns=private)";
	if (f->uid == 0)
		return "mount the cgroup file system writable on /sys/fs/cgroup";
	if (!s->systemd)
		return "have the administrator make a cgroup that belongs to you and start in it";
	if (f->cgroup.kind == IMMURE_CGROUP_V2 && strcmp(name, "cgroup_cpu") == 0)
		return "let systemd delegate cpu to users: systemctl edit user@.service, "
		       "[Service] Delegate=cpu cpuset io memory pids";
	return "let your own service manager run, which is asked for a delegated scope: loginctl enable-linger";
}

static const char *subids_remedy(const struct immure_outcome *o, const struct immure_facts *f,
				 struct immure_arena *a)
{
	if (o->step && strstr(o->step, "newuidmap"))
		return "install the package uidmap";
	if (o->step && strstr(o->step, "/etc/subuid"))
		return immure_arena_printf(a, "give the user a range: sudo usermod --add-subuids "
					      "100000-165535 --add-subgids 100000-165535 %s",
					   f->user);
	return "check that newuidmap is setuid root or has cap_setuid, and the range is not taken";
}

static const char *kvm_remedy(const struct immure_outcome *o, const struct immure_facts *f,
			      struct immure_arena *a)
{
	if (o->errnum == EACCES || o->errnum == EPERM)
		return immure_arena_printf(a, "join the group of /dev/kvm: sudo usermod -aG kvm %s, "
					      "then log in again", f->user);
	return "microVM backends need it: enable virtualization in the firmware, or nested "
	       "virtualization for this virtual machine";
}

const char *immure_remedy(const char *name, const struct immure_outcome *o,
			  const struct immure_surroundings *s, const struct immure_facts *f,
			  struct immure_arena *a)
{
	if (o->ok != IMMURE_NO)
		return "";
	if (o->killed < 0)
		return "it did not end within its time: try again when the machine is less busy";
	if (o->step && (strncmp(o->step, "unshare user", 12) == 0 || strcmp(o->step, "write uid_map") == 0))
		return userns_remedy(o, s, a);
	if (strncmp(name, "cgroup_", 7) == 0)
		return cgroup_remedy(name, s, f);
	if (strcmp(name, "subids") == 0)
		return subids_remedy(o, f, a);
	if (strcmp(name, "kvm") == 0)
		return kvm_remedy(o, f, a);
	if (strcmp(name, "userns_proc") == 0)
		return proc_remedy(o, s, a);
	if (strcmp(name, "landlock") == 0)
		return s->filtered ? "a filter around this process hides Landlock: allow its three "
				     "calls there"
				   : "boot with Landlock: add \"landlock\" to the kernel's lsm= list "
				     "(Linux 5.13 or newer)";
	if (strcmp(name, "tun") == 0)
		return o->errnum == ENOENT ? "only pasta needs it: provide /dev/net/tun" : "";
	if (strcmp(name, "nftables") == 0)
		return ""; /* nothing rests on it yet */
	if (strcmp(name, "overlay_userns") == 0 && o->step && strstr(o->step, "overlay"))
		return "needed for workspace mode cow only: use Linux 5.11 or newer with overlayfs";
	if (strcmp(name, "seccomp_notify") == 0 && o->errnum == EBUSY)
		return "another supervisor already listens to this process: start immure outside "
		       "of it";
	if (strcmp(name, "seccomp_notify") == 0 && (o->errnum == EPERM || o->errnum == EACCES))
		return "names without a namespace need it: a container's filter has to permit "
		       "pidfd_getfd and process_vm_readv, and kernel.yama.ptrace_scope has to be "
		       "less than 2";
	if (strcmp(name, "bwrap") == 0 || strcmp(name, "bwrap_net") == 0) {
		if (o->step && strcmp(o->step, "not installed") == 0)
			return ""; /* only a backend of its own needs it */
		if (o->step && strstr(o->step, "setuid"))
			return "take the setuid bit off it (chmod u-s), or use another backend";
		return userns_remedy(o, s, a);
	}
	if (strcmp(name, "userns") == 0)
		return userns_remedy(o, s, a);
	if (strcmp(name, "userns_mount") == 0 || strcmp(name, "mount_api") == 0 ||
	    strcmp(name, "sysfs") == 0 || strcmp(name, "netns") == 0 ||
	    strcmp(name, "egress") == 0 ||
	    strcmp(name, "namespaces") == 0 || strcmp(name, "overlay_userns") == 0)
		return mount_remedy(o, s, a);
	return s->filtered ? "allow this call in the seccomp filter around this process"
			   : "use a newer kernel";
}
