/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the probes. The calling process forks once (it may be large); that child
 * starts one short-lived child a probe and writes what they found into shared
 * memory. Nothing of a probe outlives its child: namespaces, filters and
 * Landlock domains go with it, leaf cgroups are removed before. */
#include "facts/probe.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "kernel/netplumb.h"

/* Long enough for a host that is busy with other things: they are waited for only where
 * something hangs. */
enum { PROBE_MS = 5000, ALL_MS = 30000 };

static const struct {
	const char *name;
	immure_probe_fn *run;
	const char *yes;
} probes[] = {
	{ "userns", immure_try_userns, "own ids mapped" },
	{ "userns_mount", immure_try_userns_mount, "a tmpfs mounted inside" },
	{ "mount_api", immure_try_mount_api, "a read-only copy of / mounted inside" },
	{ "userns_proc", immure_try_userns_proc, "proc mounted in a pid namespace" },
	{ "sysfs", immure_try_sysfs, "sysfs mounted in a network namespace" },
	{ "netns", immure_try_netns, "lo brought up" },
	{ "namespaces", immure_try_namespaces, NULL },
	{ "overlay_userns", immure_try_overlay, "a file made through an overlay" },
	{ "landlock", immure_try_landlock, NULL },
	{ "seccomp", immure_try_seccomp, "a filter loaded and obeyed" },
	{ "seccomp_notify", immure_try_notify, NULL },
	{ "clone3", immure_try_clone3, "a child with a pidfd, waited for" },
	{ "child_pidfd", immure_try_child_pidfd, "a child with its pidfd" },
	{ "pidfd", immure_try_pidfd, "pidfd_open, pidfd_send_signal" },
	{ "openat2", immure_try_openat2, "RESOLVE_NO_SYMLINKS" },
	{ "close_range", immure_try_close_range, "with CLOEXEC" },
	{ "cgroup_memory", immure_try_cgroup_memory, NULL },
	{ "cgroup_pids", immure_try_cgroup_pids, NULL },
	{ "cgroup_cpu", immure_try_cgroup_cpu, NULL },
	{ "subids", immure_try_subids, NULL },
	{ "kvm", immure_try_kvm, "a virtual machine made" },
	{ "nftables", immure_try_nftables, "nf_tables answers in a user namespace" },
	{ "egress", immure_try_egress, NULL },
	{ "tun", immure_try_tun, "a tun device made inside" },
	{ "bwrap", immure_try_bwrap, NULL },
	{ "bwrap_net", immure_try_bwrap_net, NULL },
};
enum { PROBES = sizeof(probes) / sizeof(probes[0]) };

struct board {
	struct immure_outcome rows[PROBES];
	char versions[IMMURE_PROGRAMS_MAX][IMMURE_VERSION_LEN];
};

static void run_one(const struct immure_facts *f, immure_probe_fn *run, struct immure_outcome *o)
{
	int pidfd = -1, status = 0, r, pid = immure_child_start(&pidfd);

	if (pid == 0) {
		(void)alarm(PROBE_MS / 1000 + 1); /* where there is no pidfd */
		run(f, o);
		_exit(0);
	}
	r = pid < 0 ? pid : immure_child_wait(pid, &pidfd, PROBE_MS, &status);
	if (r == 0 && WIFEXITED(status) && o->ok != IMMURE_UNTRIED)
		return;
	o->ok = IMMURE_NO;
	o->errnum = r < 0 ? -r : 0;
	o->killed = r == -ETIMEDOUT ? -1 : WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	o->step = o->step ? o->step : "run the probe";
	if (pid > 0)
		immure_try_cgroup_sweep(f, pid);
}

static void run_all(const struct immure_facts *f, struct board *b)
{
	int pidfd = -1, status, pid;

	/* Bubblewrap that is killed while its child waits for its ids leaves the child
	 * waiting for ever: such children come here. */
	immure_child_adopt();
	pid = immure_child_start(&pidfd);
	/* Other programs take their time to start: meanwhile the probes run. */
	if (pid == 0) {
		immure_programs_ask(f, b->versions);
		_exit(0);
	}
	for (size_t i = 0; i < PROBES; i++)
		run_one(f, probes[i].run, &b->rows[i]);
	if (pid > 0)
		(void)immure_child_wait(pid, &pidfd, PROBE_MS, &status); /* versions are optional */
	immure_child_end_all();
}

static const char *yes_detail(const struct immure_facts *f, struct immure_arena *a, size_t i,
			      const struct immure_outcome *o)
{
	const char *name = probes[i].name, *dir = f->cgroup.v2;
	char text[IMMURE_NETPLUMB_WAY_TEXT];

	if (probes[i].yes)
		return probes[i].yes;
	if (strcmp(name, "landlock") == 0)
		return immure_arena_printf(a, "ABI %u, errata 0x%x, a denial seen",
					   (unsigned int)o->value, (unsigned int)(o->value >> 32));
	if (strcmp(name, "namespaces") == 0)
		return o->value ? "ipc, uts, cgroup, time" : "ipc, uts, cgroup; no time";
	if (strcmp(name, "seccomp_notify") == 0)
		return o->value ? "a call answered, killable wait" : "a call answered";
	if (strcmp(name, "bwrap") == 0)
		return o->value ? "a shell started in it, binds by descriptor"
				: "a shell started in it";
	if (strcmp(name, "egress") == 0 || strcmp(name, "bwrap_net") == 0)
		return immure_arena_strdup(a, immure_netplumb_way_text(o->value, text));
	if (strcmp(name, "subids") == 0)
		return immure_arena_printf(a, "%llu ids mapped", (unsigned long long)o->value);
	if (!dir)
		dir = strcmp(name, "cgroup_memory") == 0 ? f->cgroup.v1_memory
		      : strcmp(name, "cgroup_pids") == 0 ? f->cgroup.v1_pids
							 : f->cgroup.v1_cpu;
	return immure_arena_printf(a, "%s below %s", f->cgroup.v2_enable ? "to be enabled"
									  : "a leaf with a limit",
				   dir ? dir : "?");
}

static const char *no_detail(struct immure_arena *a, const struct immure_outcome *o)
{
	if (o->killed < 0)
		return immure_arena_printf(a, "%s: no end within %d ms", o->step, PROBE_MS);
	if (o->killed > 0)
		return immure_arena_printf(a, "%s: killed by %s", o->step, strsignal(o->killed));
	if (o->said[0]) {
		struct immure_buf text = IMMURE_BUF_INIT;
		const char *ret = NULL;

		immure_buf_put_printable(&text, o->said, strnlen(o->said, sizeof(o->said) - 1));
		if (immure_buf_ok(&text) && text.data)
			ret = immure_arena_printf(a, "%s: %s", o->step, text.data);
		immure_buf_done(&text);
		return ret ? ret : o->step;
	}
	if (o->errnum)
		return immure_arena_printf(a, "%s: %s", o->step, strerror(o->errnum));
	return o->step;
}

static void fill_versions(struct immure_facts *f, const struct board *b)
{
	for (size_t i = 0; i < f->programs_n; i++) {
		struct immure_buf text = IMMURE_BUF_INIT;
		const char *v = b->versions[i];

		if (!*v)
			continue;
		immure_buf_put_printable(&text, v, strnlen(v, IMMURE_VERSION_LEN - 1));
		if (immure_buf_ok(&text))
			f->programs[i].version = immure_arena_strdup(&f->arena, text.data);
		immure_buf_done(&text);
	}
}

static void fill(struct immure_facts *f, const struct board *b)
{
	struct immure_arena *a = &f->arena;
	struct immure_surroundings s;

	immure_surroundings(f, a, &s);
	for (size_t i = 0; i < PROBES; i++)
		if (strcmp(probes[i].name, "userns_mount") == 0)
			s.no_mounts = b->rows[i].ok != IMMURE_YES;
	f->all = immure_arena_alloc(a, (PROBES + 1) * sizeof(*f->all));
	if (!f->all)
		return;
	for (size_t i = 0; i < PROBES; i++) {
		const struct immure_outcome *o = &b->rows[i];

		f->all[f->all_n++] = (struct immure_fact){
			.name = probes[i].name,
			.ok = o->ok,
			.errnum = o->ok == IMMURE_YES ? 0 : o->errnum,
			.detail = o->ok == IMMURE_YES ? yes_detail(f, a, i, o) : no_detail(a, o),
			.remedy = immure_remedy(probes[i].name, o, &s, f, a),
		};
	}
	f->all[f->all_n++] = (struct immure_fact){
		.name = "surroundings",
		.ok = IMMURE_YES,
		.detail = immure_surroundings_text(&s, a),
		.remedy = "",
	};
	fill_versions(f, b);
	immure_facts_conclude(f);
}

int32_t immure_probe_all(struct immure_facts *f, struct immure_error **err)
{
	struct board *b = mmap(NULL, sizeof(*b), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int pidfd = -1, status = 0, r, pid;

	if (b == MAP_FAILED)
		return immure_fail(err, IMMURE_ERR_NOMEM, errno, "facts", "",
				   "facts: %s", strerror(errno));
	immure_programs_find(f);
	pid = immure_child_start(&pidfd);
	if (pid == 0) {
		run_all(f, b);
		_exit(0);
	}
	r = pid < 0 ? pid : immure_child_wait(pid, &pidfd, ALL_MS, &status);
	if (r == 0 && !(WIFEXITED(status) && WEXITSTATUS(status) == 0))
		r = -ECHILD;
	if (r == 0)
		fill(f, b);
	(void)munmap(b, sizeof(*b)); /* of our own mapping: cannot fail */
	if (r < 0)
		return immure_fail(err, IMMURE_ERR_IO, -r, "facts", "", "probes: %s", strerror(-r));
	if (f->arena.failed)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "facts", "",
				   "facts: out of memory");
	return 0;
}
