/* SPDX-License-Identifier: Apache-2.0 */
/* The text readers of src/facts, fed what other hosts and hostile users write. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "facts/internal.h"

static int parse(struct immure_arena *a, const char *text, struct immure_fact_mount **m, size_t *n)
{
	return immure_facts_parse_mountinfo(a, text, m, n);
}

static void mountinfo_fields(void **state)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_fact_mount *m;
	size_t n;

	(void)state;
	assert_int_equal(parse(&a,
			       "36 35 98:0 /mnt1 /mnt2 ro,noatime master:1 propagate_from:2 - "
			       "ext3 /dev/root rw,errors=continue\n"
			       "1 0 0:4 mnt:[4026531841] /run/ns rw - nsfs nsfs rw\n"
			       "7 1 0:5 / /x\\040y\\011\\012\\134\\043 rw shared:3 - fuse.a\\040b  rw\n",
			       &m, &n), 0);
	assert_int_equal(n, 3);
	assert_int_equal(m[0].id, 36);
	assert_int_equal(m[0].parent, 35);
	assert_int_equal(m[0].major, 98);
	assert_int_equal(m[0].minor, 0);
	assert_string_equal(m[0].root, "/mnt1");
	assert_string_equal(m[0].target, "/mnt2");
	assert_string_equal(m[0].fstype, "ext3");
	assert_string_equal(m[0].super, "rw,errors=continue");
	assert_true(m[0].readonly);
	assert_string_equal(m[1].root, "mnt:[4026531841]");
	assert_false(m[1].readonly);
	assert_string_equal(m[2].target, "/x y\t\n\\#");
	assert_string_equal(m[2].fstype, "fuse.a b");
	assert_string_equal(m[2].super, "rw");
	immure_arena_done(&a);
}

static void mountinfo_refuses(void **state)
{
	static const char *const bad[] = {
		"36 35 98:0 / /mnt rw ext3 /dev/root rw\n",   /* no separator */
		"36 35 98:0 / /mnt rw -\n",                   /* nothing after it */
		"36 35 98:0 / /mnt rw - ext3\n",              /* no source */
		"36 35 98:0 / mnt rw - ext3 s rw\n",          /* relative target */
		"36 35 98:0 / /m\\04 rw - ext3 s rw\n",       /* short escape */
		"36 35 98:0 / /m\\000x rw - ext3 s rw\n",     /* NUL */
		"36 35 98:0 / /m\\777 rw - ext3 s rw\n",      /* more than a byte */
		"36 35 98:0 / /m\\x rw - ext3 s rw\n",
		"36 35 98 / /mnt rw - ext3 s rw\n",           /* no minor */
		"-1 35 98:0 / /mnt rw - ext3 s rw\n",
		"4294967296 35 98:0 / /mnt rw - ext3 s rw\n", /* overflow */
		"36 35 98:0  /mnt rw - ext3 s rw\n",          /* empty root */
		"36 35 98:0 / /mnt\n",
		"36 35 98:0 / /ok rw - ext3 s rw\n\n36 35 98:0 / /ok rw - ext3 s rw\n",
		"garbage\n",
		" \n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct immure_arena a = IMMURE_ARENA_INIT;
		struct immure_fact_mount *m = NULL;
		size_t n = 77;

		if (parse(&a, bad[i], &m, &n) != -EINVAL)
			fail_msg("accepted: %s", bad[i]);
		assert_null(m);
		assert_int_equal(n, 77);
		immure_arena_done(&a);
	}
}

static void mountinfo_edges(void **state)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_fact_mount *m;
	size_t n;

	(void)state;
	assert_int_equal(parse(&a, "", &m, &n), 0);
	assert_int_equal(n, 0);
	/* no newline at the end; a mount point called "-" is no separator */
	assert_int_equal(parse(&a, "1 0 0:1 / /- rw - tmpfs none rw", &m, &n), 0);
	assert_int_equal(n, 1);
	assert_string_equal(m[0].target, "/-");
	immure_arena_done(&a);
}

#define UNIX_HEAD "Num       RefCount Protocol Flags    Type St Inode Path\n"
#define UNIX_LINE(inode) "ffff8881000dcc40: 00000002 00000000 00010000 0001 01 " inode

static void unix_sockets(void **state)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_strv l;

	(void)state;
	assert_int_equal(immure_facts_parse_unix(&a,
		UNIX_HEAD
		UNIX_LINE("22361 /run/dbus/system_bus_socket\n")
		UNIX_LINE(" 1057\n")                     /* unnamed */
		UNIX_LINE("22362 @/tmp/.X11-unix/X0\n")  /* abstract */
		UNIX_LINE("22363 relative.sock\n")
		UNIX_LINE("22363 /proc/self/fd/11/control\n") /* likewise */
		UNIX_LINE("22364 /a/with space \n")
		UNIX_LINE("22365 /run/dbus/system_bus_socket\n")
		UNIX_LINE("22366 /a/new\nline\n")
		"0000000000000000: 00000002 00000000 00010000 0001 01 9 /z", &l), 0);
	assert_int_equal(l.n, 4);
	assert_string_equal(l.v[0], "/a/new\nline");
	assert_string_equal(l.v[1], "/a/with space ");
	assert_string_equal(l.v[2], "/run/dbus/system_bus_socket");
	assert_string_equal(l.v[3], "/z");
	assert_int_equal(immure_facts_parse_unix(&a, UNIX_HEAD, &l), 0);
	assert_int_equal(l.n, 0);
	assert_int_equal(immure_facts_parse_unix(&a, "", &l), 0);
	assert_int_equal(l.n, 0);
	immure_arena_done(&a);
}

/* A name made to look like the list's end must not hide the socket after it. */
static void unix_sockets_hostile(void **state)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_strv l;

	(void)state;
	assert_int_equal(immure_facts_parse_unix(&a,
		UNIX_HEAD
		UNIX_LINE("1 /evil\n\nNum RefCount\n: :\n")
		UNIX_LINE("2 @abs\nrest of an abstract name\n/fake\n")
		UNIX_LINE("3 /real\n"), &l), 0);
	assert_int_equal(l.n, 2);
	assert_string_equal(l.v[0], "/evil\n\nNum RefCount\n: :");
	assert_string_equal(l.v[1], "/real");
	immure_arena_done(&a);
}

static void passwd(void **state)
{
	static const char text[] =
		"# comment\n"
		"root:x:0:0:root:/root:/bin/bash\n"
		"+nis::::::\n"
		"short:x:1000\n"
		":x:1000:1000::/nameless:/bin/sh\n"
		"over:x:18446744073709552616:0::/over:/bin/sh\n"
		"tail:x:1000x:0::/tail:/bin/sh\n"
		"alice:x:1000:1000:Alice,,,:/home/alice:/bin/bash\n"
		"second:x:1000:1000::/home/second:/bin/bash\n"
		"last:x:1001:1001::/home/last:";
	struct immure_arena a = IMMURE_ARENA_INIT;
	const char *name = NULL, *home = NULL;

	(void)state;
	assert_int_equal(immure_facts_parse_passwd(&a, text, 1000, &name, &home), 0);
	assert_string_equal(name, "alice");
	assert_string_equal(home, "/home/alice");
	assert_int_equal(immure_facts_parse_passwd(&a, text, 1001, &name, &home), 0);
	assert_string_equal(name, "last");
	assert_string_equal(home, "/home/last");
	assert_int_equal(immure_facts_parse_passwd(&a, text, 1002, &name, &home), -ENOENT);
	assert_int_equal(immure_facts_parse_passwd(&a, "", 0, &name, &home), -ENOENT);
	immure_arena_done(&a);
}

static void environment(void **state)
{
	const char *const env[] = { "HOMEX=/no", "HOME", "HOME=/yes", "HOME=/later", "EMPTY=", NULL };

	(void)state;
	assert_string_equal(immure_facts_env(env, "HOME"), "/yes");
	assert_string_equal(immure_facts_env(env, "EMPTY"), "");
	assert_null(immure_facts_env(env, "NONE"));
	assert_null(immure_facts_env(NULL, "HOME"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mountinfo_fields),
		cmocka_unit_test(mountinfo_refuses),
		cmocka_unit_test(mountinfo_edges),
		cmocka_unit_test(unix_sockets),
		cmocka_unit_test(unix_sockets_hostile),
		cmocka_unit_test(passwd),
		cmocka_unit_test(environment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
