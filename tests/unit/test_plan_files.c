/* SPDX-License-Identifier: Apache-2.0 */
/* What stands where: allow and deny at every depth, views, masks, aliases. */
#include <stdio.h>
#include <string.h>

#include "plan_host.h"

#define ANY IMMURE_OP_MAX

/* A mask and what it covers; the allowed and denied paths by depth. */
static void depth_matrix(void **state)
{
	struct host *h = *state;

	host_has(h, "/data", 'd');
	host_has(h, "/data/a", 'd');
	host_has(h, "/data/a/b", 'd');
	host_has(h, "/data/a/b/c", 'f');

	host_must(h, "dev", "+files.deny=/data", NULL);
	host_shows(h, "/data", IMMURE_OP_MASK);
	/* allow inside deny */
	host_must(h, "dev", "+files.deny=/data", "+files.read=/data/a", NULL);
	host_shows(h, "/data", IMMURE_OP_MASK_KEEP);
	host_shows(h, "/data/a", IMMURE_OP_BIND);
	assert_true(host_at(h, "/data/a", IMMURE_OP_BIND)->flags & IMMURE_OPF_RO);
	/* deny inside allow inside deny */
	host_must(h, "dev", "+files.deny=/data", "+files.read=/data/a", "+files.deny=/data/a/b",
		  NULL);
	host_shows(h, "/data/a/b", IMMURE_OP_MASK);
	assert_true(host_position(h, IMMURE_OP_MASK_KEEP, "/data") <
		    host_position(h, IMMURE_OP_BIND, "/data/a"));
	assert_true(host_position(h, IMMURE_OP_BIND, "/data/a") <
		    host_position(h, IMMURE_OP_MASK, "/data/a/b"));
	/* and an allowed file inside that */
	host_must(h, "dev", "+files.deny=/data", "+files.read=/data/a", "+files.deny=/data/a/b",
		  "+files.read=/data/a/b/c", NULL);
	host_shows(h, "/data/a/b", IMMURE_OP_MASK_KEEP);
	host_shows(h, "/data/a/b/c", IMMURE_OP_BIND);
	assert_true(host_at(h, "/data/a/b/c", IMMURE_OP_BIND)->flags & IMMURE_OPF_FILE);
	/* at equal depth deny wins, whatever the order */
	host_must(h, "dev", "+files.read=/data/a", "+files.deny=/data/a", NULL);
	host_shows(h, "/data/a", IMMURE_OP_MASK);
	host_must(h, "dev", "+files.deny=/data/a", "+files.write=/data/a", NULL);
	host_shows(h, "/data/a", IMMURE_OP_MASK);
	/* a deny below a deny is one mask */
	host_must(h, "dev", "+files.deny=/data", "+files.deny=/data/a/b", NULL);
	host_shows(h, "/data", IMMURE_OP_MASK);
	host_lacks(h, "/data/a/b");
	/* read below a host view needs nothing */
	host_must(h, "dev", "+files.read=/data/a", NULL);
	host_lacks(h, "/data/a");
}

static void write_matrix(void **state)
{
	struct host *h = *state;

	host_has(h, "/data", 'd');
	host_has(h, "/data/a", 'd');
	host_has(h, "/data/f", 'f');
	host_must(h, "dev", "+files.write=/data", NULL);
	host_shows(h, "/data", IMMURE_OP_BIND);
	assert_false(host_at(h, "/data", IMMURE_OP_BIND)->flags & IMMURE_OPF_RO);
	assert_non_null(host_at(h, "/data", IMMURE_OP_LANDLOCK_RULE));
	/* read below write: the deeper path wins */
	host_must(h, "dev", "+files.write=/data", "+files.read=/data/a", NULL);
	host_shows(h, "/data/a", IMMURE_OP_READONLY);
	/* write below read below write */
	host_must(h, "dev", "+files.read=/data", "+files.write=/data/a", NULL);
	host_lacks(h, "/data");
	host_shows(h, "/data/a", IMMURE_OP_BIND);
	/* both at one path: the wider */
	host_must(h, "dev", "+files.read=/data", "+files.write=/data", NULL);
	host_shows(h, "/data", IMMURE_OP_BIND);
	assert_false(host_at(h, "/data", IMMURE_OP_BIND)->flags & IMMURE_OPF_RO);
	/* a file: only the rights of files */
	host_must(h, "dev", "+files.write=/data/f", NULL);
	host_shows(h, "/data/f", IMMURE_OP_BIND);
	assert_int_equal(host_at(h, "/data/f", IMMURE_OP_LANDLOCK_RULE)->num[0] & ~0x4007ull, 0);
	/* deny inside write */
	host_must(h, "dev", "+files.write=/data", "+files.deny=/data/a", NULL);
	host_shows(h, "/data/a", IMMURE_OP_MASK);
	/* an absent denied path in a writable place is watched, elsewhere nothing */
	host_must(h, "dev", "+files.write=/data", "+files.deny=/data/new/x",
		  "+files.deny=/nowhere", NULL);
	host_lacks(h, "/data/new/x");
	assert_non_null(host_watch(h, "/data", "new/x"));
	host_lacks(h, "/nowhere");
	host_refuses(h, IMMURE_ERR_POLICY, "does not exist", "dev", "+files.write=/nowhere", NULL);
	host_refuses(h, IMMURE_ERR_POLICY, "/proc", "dev", "+files.write=/proc/sys", NULL);
}

/* What a tool keeps of its own, before its first start. */
static void may_be_missing(void **state)
{
	struct host *h = *state;

	host_has(h, "/data", 'd');
	host_has(h, "/data/there", 'd');
	host_must(h, "dev", "+files.write=?/data/there", "+files.write=?/data/gone", NULL);
	host_shows(h, "/data/there", IMMURE_OP_BIND);
	host_lacks(h, "/data/gone");
	host_must(h, "dev", "+files.write=?/data/new/", "+files.write=?/gone/new/", NULL);
	host_shows(h, "/data/new", IMMURE_OP_BIND);
	assert_non_null(host_at(h, "/data/new", IMMURE_OP_OWN_DIR));
	host_lacks(h, "/gone/new");
	/* its files are protected as anywhere */
	assert_non_null(host_watch(h, "/data/new", ".envrc"));
	/* our own state is none */
	host_must(h, "dev", "+files.write=?~/.config/", "+files.write=?~/.local/state/immure/", NULL);
	assert_null(host_at(h, "/home/u/.local/state/immure", IMMURE_OP_BIND));
	/* a link that leads nowhere is not followed, and not replaced */
	host_link(h, "/data/link", "/etc/cron.d", NULL, 0);
	host_must(h, "dev", "+files.write=?/data/link/", NULL);
	host_lacks(h, "/data/link");
	assert_null(host_at(h, "/data/link", IMMURE_OP_OWN_DIR));
	/* a file of that name */
	host_refuses(h, IMMURE_ERR_POLICY, "does not exist", "dev", "+files.write=./?x", NULL);
}

/* What built-in profiles name is never a reason not to start. */
static void profiles_start(void **state)
{
	static const char *const profiles[] = { "agent-claude", "agent-codex", "agent-copilot",
						"vscode" };
	struct host *h = *state;

	host_has(h, "/etc", 'd');
	host_has(h, "/etc/resolv.conf", 'f');
	for (size_t i = 0; i < sizeof(profiles) / sizeof(profiles[0]); i++) {
		host_must(h, profiles[i], NULL);
		assert_int_equal(immure_plan_startable(h->plan, NULL), 0);
	}
}

/* "/a" sorts before "/a/b" and both before "/a-b": a sibling whose name goes on
 * with a byte below '/' must not come between. */
static void sibling_names(void **state)
{
	struct host *h = *state;

	host_has(h, "/a", 'd');
	host_has(h, "/a/b", 'd');
	host_has(h, "/a-b", 'd');
	host_has(h, "/a b", 'd');
	host_must(h, "dev", "+files.deny=/a", "+files.deny=/a-b", "+files.deny=/a b",
		  "+files.read=/a/b", NULL);
	host_shows(h, "/a", IMMURE_OP_MASK_KEEP);
	host_shows(h, "/a-b", IMMURE_OP_MASK);
	host_shows(h, "/a b", IMMURE_OP_MASK);
	host_shows(h, "/a/b", IMMURE_OP_BIND);
	assert_int_equal(host_position(h, IMMURE_OP_BIND, "/a/b"),
			 host_position(h, IMMURE_OP_MASK_KEEP, "/a") + 1);
}

static void sensitive_table(void **state)
{
	struct host *h = *state;

	host_has(h, "/home/u/.ssh", 'd');
	host_has(h, "/home/u/.ssh/known_hosts", 'f');
	host_has(h, "/home/u/.netrc", 'f');
	host_has(h, "/etc/shadow", 'f');
	host_must(h, "dev", NULL);
	host_shows(h, "/home/u/.ssh", IMMURE_OP_MASK);
	host_shows(h, "/home/u/.netrc", IMMURE_OP_MASK);
	host_shows(h, "/etc/shadow", IMMURE_OP_MASK);
	/* named exactly: readable; below: the rest stays denied */
	host_must(h, "dev", "+files.read=~/.netrc", "+files.read=~/.ssh/known_hosts", NULL);
	host_lacks(h, "/home/u/.netrc");
	host_shows(h, "/home/u/.ssh", IMMURE_OP_MASK_KEEP);
	host_shows(h, "/home/u/.ssh/known_hosts", IMMURE_OP_BIND);
	/* naming the home does not uncover what is deeper */
	host_must(h, "dev", "+files.write=~", NULL);
	host_shows(h, "/home/u/.ssh", IMMURE_OP_MASK);
	host_must(h, "dev", "files.sensitive=false", NULL);
	host_lacks(h, "/home/u/.ssh");
	/* a workspace must not open one by being started in it */
	h->facts.cwd = "/home/u/.ssh";
	host_refuses(h, IMMURE_ERR_POLICY, "secrets", "dev", NULL);
}

static void masked_links(void **state)
{
	struct host *h = *state;

	host_link(h, "/home/u/.aws", "/mnt/keys", "/mnt/keys", 'd');
	host_link(h, "/home/u/.kube", "gone", NULL, 0);
	host_must(h, "dev", NULL);
	host_shows(h, "/mnt/keys", IMMURE_OP_MASK);
	host_lacks(h, "/home/u/.aws");
	host_lacks(h, "/home/u/.kube");
}

static void unexaminable(void **state)
{
	struct host *h = *state;

	host_has(h, "/closed", 'd');
	host_has(h, "/closed/x", 0)->errnum = 13;
	h->declared[h->declared_n - 1].real = NULL;
	host_has(h, "/odd", 0)->errnum = 40;
	h->declared[h->declared_n - 1].real = NULL;
	host_must(h, "dev", "+files.deny=/closed/x", NULL);
	/* in a writable place the command could open the way */
	host_refuses(h, IMMURE_ERR_POLICY, "examined", "dev", "+files.write=/closed",
		     "+files.deny=/closed/x", NULL);
	host_refuses(h, IMMURE_ERR_POLICY, "examined", "dev", "+files.deny=/odd", NULL);
	host_refuses(h, IMMURE_ERR_POLICY, "examined", "dev", "+files.read=/odd", NULL);
}

static void host_view(void **state)
{
	struct host *h = *state;

	host_must(h, "dev", NULL);
	assert_int_equal(host_count(h, IMMURE_OP_ROOT_HOST), 1);
	host_shows(h, "/run", IMMURE_OP_TMPFS);
	assert_true(host_at(h, "/run", IMMURE_OP_TMPFS)->flags & IMMURE_OPF_RO);
	host_shows(h, "/tmp", IMMURE_OP_TMPFS);
	assert_int_equal(host_at(h, "/tmp", IMMURE_OP_TMPFS)->num[1], 01777);
	host_shows(h, "/dev", IMMURE_OP_DEV);
	host_shows(h, "/proc", IMMURE_OP_PROC);
	host_shows(h, "/sys", IMMURE_OP_SYSFS);
	host_shows(h, "/proc/kcore", IMMURE_OP_MASK);
	host_shows(h, "/proc/sys", IMMURE_OP_READONLY);
	host_shows(h, "/home/u/ws", IMMURE_OP_BIND);
	/* the shared network takes the right to mount a sysfs away */
	host_must(h, "dev", "network.mode=host", NULL);
	host_lacks(h, "/sys");
	host_shows(h, "/sys/firmware", IMMURE_OP_MASK);
	assert_int_equal(host_count(h, IMMURE_OP_NET_HOST), 1);
	assert_int_equal(host_count(h, IMMURE_OP_LOOPBACK), 0);
}

/* Nothing is there that needs a mask; builds ask for more. */
static void proc_of_processes(void **state)
{
	static const struct { const char *profile, *set; bool pids; } cases[] = {
		{ "dev", NULL, false }, { "strict", NULL, true }, { "ci", NULL, false }, { "untrusted", NULL, true },
		{ "dev", "files.proc=pids", true }, { "strict", "files.proc=masked", false },
	};
	struct host *h = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		host_must(h, cases[i].profile, cases[i].set, NULL);
		assert_int_equal(host_at(h, "/proc", IMMURE_OP_PROC)->flags, cases[i].pids ? IMMURE_OPF_PIDS : 0);
		if (cases[i].pids) {
			host_lacks(h, "/proc/kcore");
			host_lacks(h, "/proc/sys");
		} else {
			host_shows(h, "/proc/kcore", IMMURE_OP_MASK);
			host_shows(h, "/proc/sys", IMMURE_OP_READONLY);
		}
	}
}

static void empty_home(void **state)
{
	struct host *h = *state;

	host_has(h, "/home/u/.cfg", 'f');
	host_has(h, "/home/u/.ssh", 'd');
	host_must(h, "dev", "files.home=empty", "+files.read=~/.cfg", NULL);
	host_shows(h, "/home/u", IMMURE_OP_TMPFS);
	host_shows(h, "/home/u/.cfg", IMMURE_OP_BIND);
	host_shows(h, "/home/u/ws", IMMURE_OP_BIND);
	host_lacks(h, "/home/u/.ssh");
	assert_true(host_position(h, IMMURE_OP_TMPFS, "/home/u") <
		    host_position(h, IMMURE_OP_BIND, "/home/u/ws"));
	/* the home itself as workspace is not hidden, its secrets are */
	h->facts.cwd = "/home/u";
	host_must(h, "dev", "files.home=empty", NULL);
	host_shows(h, "/home/u", IMMURE_OP_BIND);
	host_shows(h, "/home/u/.ssh", IMMURE_OP_MASK);
}

static void system_view(void **state)
{
	struct host *h = *state;

	host_link(h, "/bin", "usr/bin", "/usr/bin", 'd');
	host_has(h, "/lib", 'd');
	host_has(h, "/etc/ssl", 'd');
	host_link(h, "/etc/localtime", "/usr/share/zoneinfo/UTC", "/usr/share/zoneinfo/UTC", 'f');
	host_has(h, "/etc/ld.so.cache", 'f');
	host_must(h, "strict", NULL);
	assert_int_equal(host_count(h, IMMURE_OP_ROOT_EMPTY), 1);
	host_shows(h, "/bin", IMMURE_OP_SYMLINK);
	assert_string_equal(host_at(h, "/bin", ANY)->src, "usr/bin");
	host_shows(h, "/usr", IMMURE_OP_BIND);
	host_shows(h, "/lib", IMMURE_OP_BIND);
	host_shows(h, "/etc/ssl", IMMURE_OP_BIND);
	host_shows(h, "/etc/localtime", IMMURE_OP_SYMLINK);
	host_shows(h, "/etc/passwd", IMMURE_OP_FILE);
	assert_non_null(strstr(host_at(h, "/etc/passwd", ANY)->src, "u:x:1000:1000:"));
	host_shows(h, "/home/u", IMMURE_OP_TMPFS);
	host_shows(h, "/home/u/ws", IMMURE_OP_BIND);
	host_lacks(h, "/sys");
	for (size_t i = 0; i < h->plan->ops_n; i++)
		if (h->plan->ops[i].kind == IMMURE_OP_BIND &&
		    strcmp(h->plan->ops[i].dst, "/home/u/ws") != 0)
			assert_true(h->plan->ops[i].flags & IMMURE_OPF_RO);
	/* a name with a line of its own in it is not written down */
	h->facts.user = "x\nroot2:x:0:0";
	host_must(h, "strict", NULL);
	assert_null(strstr(host_at(h, "/etc/passwd", ANY)->src, "root2"));
}

/* A link's target is bound where the link would be, and what is denied below
 * the target is denied there as well. */
static void link_places(void **state)
{
	struct host *h = *state;

	host_link(h, "/home/u/tool", "/data/tool", "/data/tool", 'd');
	host_has(h, "/data/tool", 'd');
	host_has(h, "/data/tool/key", 'f');
	host_has(h, "/data", 'd');
	host_must(h, "strict", "+files.read=~/tool", "+files.deny=/data/tool/key", NULL);
	host_shows(h, "/data/tool", IMMURE_OP_BIND);
	host_shows(h, "/home/u/tool", IMMURE_OP_BIND);
	assert_string_equal(host_at(h, "/home/u/tool", ANY)->src, "/data/tool");
	host_shows(h, "/data/tool/key", IMMURE_OP_MASK);
	host_shows(h, "/home/u/tool/key", IMMURE_OP_MASK);
	/* the target itself denied: no way round by the link */
	host_must(h, "strict", "+files.read=~/tool", "+files.deny=/data/tool", NULL);
	host_lacks(h, "/home/u/tool");
	host_lacks(h, "/data/tool");
	/* where the link is shown, nothing is needed */
	host_must(h, "dev", "+files.read=~/tool", NULL);
	host_lacks(h, "/home/u/tool");
}

static void workspace_places(void **state)
{
	struct host *h = *state;

	host_has(h, "/tmp/w", 'd');
	h->facts.cwd = "/tmp/w";
	host_must(h, "dev", NULL);
	host_shows(h, "/tmp", IMMURE_OP_TMPFS);
	host_shows(h, "/tmp/w", IMMURE_OP_BIND);
	assert_true(host_position(h, IMMURE_OP_TMPFS, "/tmp") <
		    host_position(h, IMMURE_OP_BIND, "/tmp/w"));
	host_has(h, "/run/w", 'd');
	h->facts.cwd = "/run/w";
	host_must(h, "dev", NULL);
	host_shows(h, "/run/w", IMMURE_OP_BIND);
	/* names that are not nice */
	host_has(h, "/home/u/a\nb c", 'd');
	h->facts.cwd = "/home/u/a\nb c";
	host_must(h, "dev", NULL);
	host_shows(h, "/home/u/a\nb c", IMMURE_OP_BIND);
	assert_string_equal(h->plan->cwd, "/home/u/a\nb c");
	/* reached through a link: the real path */
	host_link(h, "/home/u/l", "ws", "/home/u/ws", 'd');
	host_must(h, "dev", "workspace.path=/home/u/l", NULL);
	host_shows(h, "/home/u/ws", IMMURE_OP_BIND);
	assert_string_equal(h->plan->workspace, "/home/u/ws");
	host_must(h, "readonly", "workspace.path=/home/u/ws", NULL);
	host_lacks(h, "/home/u/ws");
	assert_int_equal(host_count(h, IMMURE_OP_WATCH), 0);

	h->facts.cwd = "/";
	host_refuses(h, IMMURE_ERR_POLICY, "whole file system", "dev", NULL);
	host_must(h, "readonly", NULL);
	h->facts.cwd = NULL;
	host_must(h, "dev", NULL); /* deleted: nothing is writable */
	assert_string_equal(h->plan->cwd, "/");
	assert_int_equal(host_count(h, IMMURE_OP_BIND), 0);
	host_must(h, "dev", "workspace.path=/home/u/ws", NULL);
	assert_string_equal(h->plan->cwd, "/home/u/ws");
	host_refuses(h, IMMURE_ERR_POLICY, "absolute", "dev", "workspace.path=sub", NULL);
	host_refuses(h, IMMURE_ERR_POLICY, "does not exist", "dev", "workspace.path=/gone", NULL);
	host_has(h, "/proc/1", 'd');
	host_refuses(h, IMMURE_ERR_POLICY, "kernel", "dev", "workspace.path=/proc/1", NULL);
	host_has(h, "/home/u/file", 'f');
	host_refuses(h, IMMURE_ERR_POLICY, "not a directory", "dev",
		     "workspace.path=/home/u/file", NULL);
}

static void own_state(void **state)
{
	struct host *h = *state;

	host_has(h, "/home/u/.config/immure", 'd');
	host_has(h, "/home/u/.config/immure/sub", 'd');
	host_must(h, "dev", "files.sensitive=false", NULL);
	host_shows(h, "/home/u/.config/immure", IMMURE_OP_MASK);
	h->facts.cwd = "/home/u";
	host_must(h, "dev", "files.sensitive=false", NULL);
	host_shows(h, "/home/u/.config/immure", IMMURE_OP_MASK);
	/* absent state below a writable home is made, masked, and its way pinned */
	assert_non_null(host_at(h, "/home/u/.local/state/immure", IMMURE_OP_OWN_DIR));
	host_shows(h, "/home/u/.local/state/immure", IMMURE_OP_MASK);
	host_shows(h, "/home/u/.local/state", IMMURE_OP_PIN);
	host_shows(h, "/home/u/.local", IMMURE_OP_PIN);
	host_shows(h, "/home/u/.config", IMMURE_OP_PIN);
	assert_null(host_watch(h, "/home/u", ".local/state/immure"));
	host_must(h, "dev", NULL);
	assert_null(host_watch(h, "/home/u", ".local/state/immure"));
	/* outside writable places there is nothing to make */
	h->facts.cwd = "/home/u/ws";
	host_must(h, "dev", NULL);
	assert_int_equal(host_count(h, IMMURE_OP_OWN_DIR), 0);
	h->facts.cwd = "/home/u";
	host_refuses(h, IMMURE_ERR_POLICY, "own state", "dev",
		     "+files.read=~/.config/immure/sub", NULL);
	host_refuses(h, IMMURE_ERR_POLICY, "own state", "dev", "+files.write=~/.config/immure",
		     NULL);
	h->facts.cwd = "/home/u/.config/immure/sub";
	host_refuses(h, IMMURE_ERR_POLICY, "own state", "dev", NULL);
}

static void host_sockets(void **state)
{
	struct host *h = *state;

	host_socket(h, "/var/lib/svc.sock");
	host_socket(h, "/run/hidden.sock");
	host_socket(h, "/home/u/ws/s");
	host_socket(h, "relative.sock");
	host_socket(h, "/proc/self/fd/11/control");
	host_socket(h, "/var/gone.sock");
	host_has(h, "/var/lib/svc.sock", 's');
	host_has(h, "/home/u/ws/s", 's');
	host_must(h, "dev", NULL);
	host_shows(h, "/var/lib/svc.sock", IMMURE_OP_MASK);
	assert_string_equal(host_at(h, "/var/lib/svc.sock", ANY)->key, "ipc (always)");
	host_shows(h, "/home/u/ws/s", IMMURE_OP_MASK);
	host_lacks(h, "/run/hidden.sock");
	host_lacks(h, "/var/gone.sock");
	/* only its exact name opens it */
	host_must(h, "dev", "+files.read=/var/lib/svc.sock", NULL);
	host_lacks(h, "/var/lib/svc.sock");
	host_has(h, "/var/lib", 'd');
	host_must(h, "dev", "+files.write=/var/lib", NULL);
	host_shows(h, "/var/lib/svc.sock", IMMURE_OP_MASK);
	host_lacks(h, "/proc/self/fd/11/control"); /* of whoever bound it */
}

static void aliases(void **state)
{
	struct host *h = *state;

	/* /home/u's file system again at /mnt/all, its part .ssh at /mnt/part,
	 * and a third one that is covered by something else */
	host_mount(h, 7, "/", "/home");
	host_mount(h, 7, "/", "/mnt/all");
	host_mount(h, 7, "/u/.ssh/sub", "/mnt/part");
	host_mount(h, 7, "/u", "/mnt/over");
	host_mount(h, 9, "/", "/mnt/over");
	host_mount(h, 8, "/", "/mnt/other");
	host_has(h, "/home/u/.ssh", 'd');
	host_must(h, "dev", NULL);
	host_shows(h, "/home/u/.ssh", IMMURE_OP_MASK);
	host_shows(h, "/mnt/all/u/.ssh", IMMURE_OP_MASK);
	host_shows(h, "/mnt/part", IMMURE_OP_MASK);
	host_lacks(h, "/mnt/over/.ssh");
	host_lacks(h, "/mnt/other/u/.ssh");
	/* in a system view none of that is shown */
	host_must(h, "strict", NULL);
	host_lacks(h, "/mnt/all/u/.ssh");
	/* a protected file stays so by its other writable name */
	host_has(h, "/mnt/all", 'd');
	host_has(h, "/home/u/ws/CLAUDE.md", 'f');
	host_must(h, "dev", "+files.write=/mnt/all", NULL);
	host_shows(h, "/home/u/ws/CLAUDE.md", IMMURE_OP_READONLY);
	host_shows(h, "/mnt/all/u/ws/CLAUDE.md", IMMURE_OP_READONLY);
}

static void special_places(void **state)
{
	struct host *h = *state;

	host_has(h, "/dev", 'd');
	host_has(h, "/dev/kvm", 'c');
	host_has(h, "/proc/cpuinfo", 'f');
	host_has(h, "/sys/module/x", 'd');
	host_must(h, "dev", "+files.write=/dev/kvm", NULL);
	host_shows(h, "/dev/kvm", IMMURE_OP_BIND);
	host_refuses(h, IMMURE_ERR_POLICY, "devices", "dev", "+files.read=/dev/kvm", NULL);
	host_refuses(h, IMMURE_ERR_POLICY, "kernel", "dev", "+files.read=/proc/cpuinfo", NULL);
	host_refuses(h, IMMURE_ERR_POLICY, "kernel", "dev", "+files.read=/sys/module/x", NULL);
	host_refuses(h, IMMURE_ERR_POLICY, "kernel", "dev", "+files.write=/dev", NULL);
	host_must(h, "dev", "+files.deny=/proc/cpuinfo", NULL);
	assert_true(host_at(h, "/proc/cpuinfo", IMMURE_OP_MASK)->flags & IMMURE_OPF_OPTIONAL);
	assert_true(host_position(h, IMMURE_OP_PROC, "/proc") <
		    host_position(h, IMMURE_OP_MASK, "/proc/cpuinfo"));
	/* with the host's network its resolver's file has to be there */
	host_link(h, "/etc/resolv.conf", "../run/r/resolv.conf", "/run/r/resolv.conf", 'f');
	host_must(h, "dev", "network.mode=host", NULL);
	host_shows(h, "/run/r/resolv.conf", IMMURE_OP_BIND);
	host_must(h, "strict", "network.mode=host", NULL);
	assert_string_equal(host_at(h, "/etc/resolv.conf", IMMURE_OP_BIND)->src,
			    "/run/r/resolv.conf");
	host_must(h, "dev", NULL);
	host_lacks(h, "/run/r/resolv.conf");
	/* the policy's private area beats a built-in denial */
	host_has(h, "/var/log", 'd');
	host_must(h, "dev", "+files.tmp=/var/log", NULL);
	host_shows(h, "/var/log", IMMURE_OP_TMPFS);
}

static void where_it_starts(void **state)
{
	struct host *h = *state;

	host_must(h, "dev", NULL);
	assert_string_equal(h->plan->cwd, "/home/u/ws");
	/* the caller's directory when it can be seen, else the workspace */
	host_has(h, "/srv/p", 'd');
	host_must(h, "dev", "workspace.path=/srv/p", NULL);
	assert_string_equal(h->plan->cwd, "/home/u/ws");
	host_must(h, "strict", "workspace.path=/srv/p", NULL);
	assert_string_equal(h->plan->cwd, "/srv/p");
	host_must(h, "dev", "workspace.path=/srv/p", "+files.deny=/home/u/ws", NULL);
	assert_string_equal(h->plan->cwd, "/srv/p");
	h->cwd = "/usr/lib";
	host_must(h, "dev", NULL);
	assert_string_equal(h->plan->cwd, "/usr/lib");
	h->cwd = "sub";
	host_must(h, "dev", NULL);
	assert_string_equal(h->plan->cwd, "/home/u/ws/sub");
	h->cwd = "/run/x";
	host_refuses(h, IMMURE_ERR_INVALID, "not visible", "dev", NULL);
	h->cwd = "/a/../b";
	host_refuses(h, IMMURE_ERR_INVALID, "..", "dev", NULL);
}

/* A copy of the workspace: the host's directory below, changes in a directory of ours; what
 * is protected and denied stands in it as in a writable one, nothing is watched for, and what
 * is named is the host's own. */
static void copied_workspace(void **state)
{
	struct host *h = *state;
	const struct immure_op *op;
	long at;

	host_has(h, "/home/u/ws/.git", 'd');
	host_has(h, "/home/u/ws/.git/config", 'f');
	host_has(h, "/home/u/ws/secret", 'f');
	host_has(h, "/home/u/ws/out", 'd');
	host_must(h, "dev", "workspace.mode=cow", "+files.deny=/home/u/ws/secret", "+files.write=/home/u/ws/out",
		  NULL);
	assert_int_equal(h->plan->gaps_n, 0);
	op = host_at(h, "/home/u/ws", IMMURE_OP_OVERLAY);
	at = host_position(h, IMMURE_OP_OVERLAY, "/home/u/ws");
	assert_int_equal(host_position(h, IMMURE_OP_LAYER, "/home/u/ws"), at - 1);
	assert_string_equal(h->plan->ops[at - 1].src, "/home/u/ws");
	assert_int_equal(op->flags, IMMURE_OPF_KEPT);
	assert_string_equal(op->src, "/home/u/.local/state/immure/workspaces");
	host_shows(h, "/home/u/ws/.git/config", IMMURE_OP_READONLY);
	host_shows(h, "/home/u/ws/.git", IMMURE_OP_PIN);
	host_shows(h, "/home/u/ws/secret", IMMURE_OP_MASK);
	assert_string_equal(host_at(h, "/home/u/ws/out", IMMURE_OP_BIND)->src, "/home/u/ws/out");
	assert_null(host_at(h, "/home/u/ws", IMMURE_OP_BIND));
	for (size_t i = 0; i < h->plan->ops_n; i++)
		if (h->plan->ops[i].kind == IMMURE_OP_WATCH && strcmp(h->plan->ops[i].src, "/home/u/ws") == 0)
			assert_true(h->plan->ops[i].flags & IMMURE_OPF_KEPT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(copied_workspace, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(depth_matrix, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(write_matrix, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(may_be_missing, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(profiles_start, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(sibling_names, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(sensitive_table, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(masked_links, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(unexaminable, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(host_view, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(proc_of_processes, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(empty_home, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(system_view, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(link_places, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(workspace_places, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(own_state, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(host_sockets, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(aliases, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(special_places, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(where_it_starts, host_setup, host_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
