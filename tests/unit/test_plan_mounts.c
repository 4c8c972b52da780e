/* SPDX-License-Identifier: Apache-2.0 */
/* The same files at another path inside: what is decided of the source holds there. */
#include <stdio.h>
#include <string.h>

#include "plan_host.h"

#define ANY IMMURE_OP_MAX

static int setup(void **state)
{
	static struct host h;

	host_init(&h);
	host_has(&h, "/data", 'd');
	host_has(&h, "/data/a", 'd');
	host_has(&h, "/data/a/b", 'd');
	host_has(&h, "/data/f", 'f');
	host_has(&h, "/in", 'd');
	*state = &h;
	return 0;
}

static void shown_there(void **state)
{
	struct host *h = *state;
	const struct immure_op *op;

	host_must(h, "dev", "+files.mounts=/data:/in", NULL);
	op = host_at(h, "/in", IMMURE_OP_BIND);
	assert_non_null(op);
	assert_string_equal(op->src, "/data");
	assert_true(op->flags & IMMURE_OPF_RO);
	host_lacks(h, "/data");
	assert_null(host_at(h, "/in", IMMURE_OP_LANDLOCK_RULE));
	host_must(h, "dev", "+files.mounts=/data:/in:rw", NULL);
	assert_false(host_at(h, "/in", IMMURE_OP_BIND)->flags & IMMURE_OPF_RO);
	assert_non_null(host_at(h, "/in", IMMURE_OP_LANDLOCK_RULE));
	assert_null(host_at(h, "/data", IMMURE_OP_LANDLOCK_RULE)); /* not at its own path */
	/* a view without it */
	host_must(h, "strict", "+files.mounts=/data:/x/y", NULL);
	host_shows(h, "/x/y", IMMURE_OP_BIND);
	/* the workspace elsewhere */
	host_must(h, "dev", "workspace.target=/in", NULL);
	host_shows(h, "/in", IMMURE_OP_BIND);
	assert_string_equal(h->plan->cwd, "/in");
	assert_string_equal(h->plan->workspace, "/home/u/ws");
	host_lacks(h, "/home/u/ws");
}

/* A denial names files, not a path: it holds under both names, whichever it used. */
static void masks_hold_at_both(void **state)
{
	struct host *h = *state;

	host_must(h, "dev", "+files.mounts=/data:/in:rw", "+files.deny=/data/a", NULL);
	host_shows(h, "/data/a", IMMURE_OP_MASK);
	host_shows(h, "/in/a", IMMURE_OP_MASK);
	assert_true(host_position(h, IMMURE_OP_BIND, "/in") < host_position(h, IMMURE_OP_MASK, "/in/a"));
	host_must(h, "dev", "+files.mounts=/data:/in:rw", "+files.deny=/in/a", NULL);
	host_shows(h, "/data/a", IMMURE_OP_MASK);
	host_shows(h, "/in/a", IMMURE_OP_MASK);
	/* what is allowed again below it */
	host_must(h, "dev", "+files.mounts=/data:/in", "+files.deny=/data/a", "+files.read=/data/a/b",
		  NULL);
	host_shows(h, "/in/a", IMMURE_OP_MASK_KEEP);
	host_shows(h, "/in/a/b", IMMURE_OP_BIND);
	assert_true(host_at(h, "/in/a/b", IMMURE_OP_BIND)->flags & IMMURE_OPF_RO);
	/* the source itself, or the target */
	host_must(h, "dev", "+files.mounts=/data:/in", "+files.deny=/data", NULL);
	host_shows(h, "/in", IMMURE_OP_MASK);
	host_must(h, "dev", "+files.mounts=/data:/in", "+files.deny=/in", NULL);
	host_shows(h, "/in", IMMURE_OP_MASK);
	/* places of secrets, also where the view does not show them at their own path */
	host_has(h, "/home/u/.ssh", 'd');
	host_must(h, "strict", "+files.mounts=/home/u:/x", NULL);
	host_shows(h, "/x/.ssh", IMMURE_OP_MASK);
	/* private areas */
	host_must(h, "dev", "files.home=empty", "+files.mounts=/home:/in", NULL);
	host_shows(h, "/in/u", IMMURE_OP_TMPFS);
}

static void nothing_becomes_writable(void **state)
{
	struct host *h = *state;

	/* read-only below a writable source */
	host_must(h, "dev", "+files.mounts=/data:/in:rw", "+files.read=/data/a", NULL);
	host_shows(h, "/in/a", IMMURE_OP_READONLY);
	/* writable below a read-only mount: not through the mount */
	host_must(h, "dev", "+files.mounts=/data:/in:ro", "+files.write=/data/a", NULL);
	host_shows(h, "/data/a", IMMURE_OP_BIND);
	host_lacks(h, "/in/a");
	/* protected files, named by either path, with the way to them */
	host_must(h, "dev", "+files.mounts=/data:/in:rw", "+files.protect=/data/a/b", NULL);
	host_shows(h, "/in/a", IMMURE_OP_PIN);
	host_shows(h, "/in/a/b", IMMURE_OP_READONLY);
	host_lacks(h, "/data/a/b"); /* cannot be changed there anyway */
	host_must(h, "dev", "+files.mounts=/data:/in:rw", "+files.protect=/in/a/b", NULL);
	host_shows(h, "/in/a/b", IMMURE_OP_READONLY);
	/* the built-in table, existing and not */
	host_has(h, "/data/.envrc", 'f');
	host_must(h, "dev", "+files.mounts=/data:/in:rw", NULL);
	host_shows(h, "/in/.envrc", IMMURE_OP_READONLY);
	assert_non_null(host_watch(h, "/data", ".vscode/tasks.json"));
	host_must(h, "dev", "workspace.target=/in", NULL);
	assert_non_null(host_watch(h, "/home/u/ws", ".envrc"));
}

/* A missing target is made in a directory of ours, which shows what the host's showed. */
static void missing_targets(void **state)
{
	struct host *h = *state;
	const struct immure_op *op;

	host_has(h, "/mnt", 'd');
	host_has(h, "/mnt/disk", 'd');
	host_has(h, "/mnt/secret", 'd');
	host_lists(h, "/mnt", "d:disk", "d:secret", "f:file", "c:device", NULL);
	host_must(h, "dev", "+files.mounts=/data:/mnt/new/x", "+files.deny=/mnt/secret", NULL);
	op = host_at(h, "/mnt", IMMURE_OP_TMPFS);
	assert_non_null(op);
	assert_true(op->flags & IMMURE_OPF_RO);
	op = host_at(h, "/mnt/disk", IMMURE_OP_BIND);
	assert_non_null(op);
	assert_true(op->flags & IMMURE_OPF_RO);
	host_shows(h, "/mnt/new/x", IMMURE_OP_BIND);
	host_lacks(h, "/mnt/device");
	/* denied, not absent */
	assert_true(host_position(h, IMMURE_OP_BIND, "/mnt/secret") >= 0);
	assert_true(host_position(h, IMMURE_OP_BIND, "/mnt/secret") <
		    host_position(h, IMMURE_OP_MASK, "/mnt/secret"));
	/* in the root: all of it is ours then */
	host_lists(h, "/", "d:data", "d:mnt", "d:home", "d:dev", NULL);
	host_must(h, "dev", "workspace.target=/workspace", NULL);
	assert_int_equal(host_count(h, IMMURE_OP_ROOT_HOST), 0);
	assert_int_equal(host_count(h, IMMURE_OP_ROOT_EMPTY), 1);
	host_shows(h, "/data", IMMURE_OP_BIND);
	host_shows(h, "/workspace", IMMURE_OP_BIND);
	/* one of them in another */
	host_must(h, "dev", "workspace.target=/workspace", "+files.mounts=/data:/mnt/new/x", NULL);
	host_shows(h, "/mnt", IMMURE_OP_TMPFS);
	host_shows(h, "/mnt/disk", IMMURE_OP_BIND);
	host_shows(h, "/mnt/new/x", IMMURE_OP_BIND);
	/* in a private area, and below a mask, there is room already */
	host_must(h, "dev", "+files.mounts=/data:/tmp/x", NULL);
	assert_int_equal(host_count(h, IMMURE_OP_ROOT_HOST), 1);
	host_must(h, "dev", "+files.mounts=/data:/mnt/secret/x", "+files.deny=/mnt/secret", NULL);
	host_shows(h, "/mnt/secret", IMMURE_OP_MASK_KEEP);
	assert_null(host_at(h, "/mnt", IMMURE_OP_TMPFS));
	/* never in the user's own tree */
	host_refuses(h, IMMURE_ERR_POLICY, "cannot be made in /home/u/ws", "dev",
		     "+files.mounts=/data:/home/u/ws/new", NULL);
}

static void refusals(void **state)
{
	struct host *h = *state;

	host_link(h, "/way", "data", "/data", 'd');
	host_has(h, "/home/u/.local/state/immure", 'd');
	host_has(h, "/proc/sys", 'd');
	host_refuses(h, IMMURE_ERR_POLICY, "covers /home/u/ws", "dev", "+files.mounts=/data:/home/u/ws", NULL);
	host_refuses(h, IMMURE_ERR_POLICY, "covers /data/a", "dev", "+files.mounts=/in:/data",
		     "+files.read=/data/a", NULL);
	host_refuses(h, IMMURE_ERR_POLICY, "through the link /way", "dev", "+files.mounts=/in:/way/a", NULL);
	host_refuses(h, IMMURE_ERR_POLICY, "is a link", "dev", "+files.mounts=/in:/way", NULL);
	host_refuses(h, IMMURE_ERR_POLICY, "no directory here", "dev", "+files.mounts=/in:/data/f", NULL);
	host_refuses(h, IMMURE_ERR_POLICY, "does not exist", "dev", "+files.mounts=/gone:/in", NULL);
	host_refuses(h, IMMURE_ERR_POLICY, "own state", "dev",
		     "+files.mounts=/home/u/.local/state/immure:/in", NULL);
	host_refuses(h, IMMURE_ERR_POLICY, "own state", "dev",
		     "+files.mounts=/in:/home/u/.local/state/immure", NULL);
	host_refuses(h, IMMURE_ERR_POLICY, "kernel's", "dev", "+files.mounts=/proc/sys:/in", NULL);
	host_refuses(h, IMMURE_ERR_POLICY, "whole file system", "dev", "+files.mounts=/:/in", NULL);
	/* no mounts, no second name */
	host_must(h, "dev", "backend=landlock", "+files.mounts=/data:/in", NULL);
	assert_int_equal(immure_plan_startable(h->plan, NULL), -IMMURE_ERR_GAP);
}

static void links_that_lead_out(void **state)
{
	struct host *h = *state;

	host_link(h, "/data/out", "/in", "/in", 'd');
	host_link(h, "/data/in", "a", "/data/a", 'd');
	host_must(h, "dev", "+files.mounts=/data/out:/mnt/x", "files.view=system", NULL);
	host_must(h, "dev", "files.links=deny_escapes", "+files.write=/data/in", NULL);
	/* from where the command may have put it */
	host_must(h, "dev", "+files.write=/data/in", "+files.write=/data", NULL);
	host_refuses(h, IMMURE_ERR_POLICY, "leads out to /in", "dev", "+files.write=/data", "+files.read=/data/out",
		     NULL);
	host_must(h, "dev", "files.links=follow", "+files.write=/data", "+files.read=/data/out", NULL);
	host_link(h, "/home/u/ws/out", "/in", "/in", 'd');
	host_link(h, "/to-ws", "home/u/ws", "/home/u/ws", 'd');
	host_link(h, "/to-ws/out", "/in", "/in", 'd');
	for (size_t i = 0; i < 3; i++) {
		static const char *const planted[] = { "+files.write=out", "+files.read=/to-ws/out",
						       "+files.mounts=/home/u/ws/out:/mnt/x" };

		host_refuses(h, IMMURE_ERR_POLICY, "leads out to /in", "dev", planted[i], NULL);
		host_refuses(h, IMMURE_ERR_POLICY, "leads out to /in", "dev", "workspace.mode=ro", planted[i], NULL);
		host_must(h, "dev", "files.links=follow", planted[i], NULL);
	}
	host_refuses(h, IMMURE_ERR_POLICY, "leads out to /in", "dev", "files.links=deny_escapes",
		     "+files.write=/data/out", NULL);
	host_refuses(h, IMMURE_ERR_POLICY, "leads out to /in", "dev", "files.links=deny_escapes",
		     "+files.mounts=/data/out:/mnt/x", NULL);
}

static void workspaces(void **state)
{
	struct host *h = *state;

	host_must(h, "dev", "workspace.mode=none", NULL);
	host_lacks(h, "/home/u/ws");
	assert_string_equal(h->plan->cwd, "/");
	assert_int_equal(host_count(h, IMMURE_OP_WATCH), 0);
	host_must(h, "dev", "workspace.mode=scratch", NULL);
	host_shows(h, "/home/u/ws", IMMURE_OP_TMPFS);
	assert_string_equal(h->plan->cwd, "/home/u/ws");
	assert_int_equal(host_count(h, IMMURE_OP_WATCH), 0);
	host_must(h, "dev", "workspace.mode=scratch", "workspace.target=/in", NULL);
	host_shows(h, "/in", IMMURE_OP_TMPFS);
	host_lacks(h, "/home/u/ws");
	host_must(h, "dev", "workspace.mode=ro", "workspace.target=/in", NULL);
	assert_true(host_at(h, "/in", IMMURE_OP_BIND)->flags & IMMURE_OPF_RO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(shown_there, setup, host_teardown),
		cmocka_unit_test_setup_teardown(masks_hold_at_both, setup, host_teardown),
		cmocka_unit_test_setup_teardown(nothing_becomes_writable, setup, host_teardown),
		cmocka_unit_test_setup_teardown(missing_targets, setup, host_teardown),
		cmocka_unit_test_setup_teardown(refusals, setup, host_teardown),
		cmocka_unit_test_setup_teardown(links_that_lead_out, setup, host_teardown),
		cmocka_unit_test_setup_teardown(workspaces, setup, host_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
