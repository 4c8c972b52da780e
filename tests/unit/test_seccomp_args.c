/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Boundaries of every argument rule, stated here by hand: what an attacker
 * would try and what a program needs. Each case is judged on both machines,
 * with the upper words clear and set.
 */
#include <errno.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "seccomp_filters.h"
#include "seccomp_oracle.h"

#define HIGH UINT64_C(0xdeadbeef00000000)

enum { OK = 0, ANY_ERRNO = -1 };

static struct oracle *table;

static int setup(void **unused)
{
	char dir[1024];

	(void)unused;
	(void)snprintf(dir, sizeof(dir), "%s/src/kernel/filters", getenv("IMMURE_SOURCE_DIR"));
	table = oracle_new(dir, "default");
	return 0;
}

static int teardown(void **unused)
{
	(void)unused;
	oracle_free(table);
	return 0;
}

/* profiles: "default strict guard" in any choice; variant NULL: all. */
static void expect(const char *profiles, const char *variant, const char *call,
		   uint64_t a0, uint64_t a1, uint64_t a2, int errnum)
{
	const uint64_t args[6] = { a0, a1, a2, HIGH, HIGH, HIGH };
	uint32_t want = errnum == OK ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | (uint32_t)errnum;

	for (int m = 0; m < 2; m++) {
		int nr = oracle_by_name(table, call)->nr[m];

		for (size_t i = 0; nr >= 0 && i < *machines[m].filters_n; i++) {
			const struct immure_filter_builtin *b = &machines[m].filters[i];
			uint32_t got;

			if (!strstr(profiles, b->profile) ||
			    (variant && strcmp(variant, b->variant) != 0))
				continue;
			got = ask(b, machines[m].arch, (uint32_t)nr, args).action;
			if (errnum == ANY_ERRNO ? (got & SECCOMP_RET_ACTION_FULL) != SECCOMP_RET_ERRNO
						: got != want)
				fail_msg("%s %s/%s: %s(%#llx, %#llx, %#llx) gives %#x",
					 machines[m].name, b->profile, b->variant, call,
					 (unsigned long long)a0, (unsigned long long)a1,
					 (unsigned long long)a2, got);
		}
	}
}

/* The same verdict with rubbish in the upper words, which the kernel drops. */
static void expect_int(const char *profiles, const char *variant, const char *call,
		       uint32_t a0, uint32_t a1, uint32_t a2, int errnum)
{
	expect(profiles, variant, call, a0, a1, a2, errnum);
	expect(profiles, variant, call, HIGH | a0, a1, a2, errnum);
	expect(profiles, variant, call, a0, HIGH | a1, a2, errnum);
	expect(profiles, variant, call, HIGH | a0, HIGH | a1, HIGH | a2, errnum);
}

#define ALL "default strict guard"
#define BOTH "default strict"

static void socket_families(void **unused)
{
	(void)unused;
	for (uint32_t af = 0; af < 70; af++) {
		int unix_ok = af == 1 ? OK : EPERM;
		int inet_ok = af == 1 || af == 2 || af == 10 ? OK : EPERM;

		if (af == 16)
			continue;
		expect_int(ALL, "local", "socket", af, 1, 0, unix_ok);
		expect_int(ALL, "net", "socket", af, 1, 0, inet_ok);
		expect_int(ALL, "net", "socket", af, 2 | 0x80800, 0, inet_ok);
		expect_int(ALL, NULL, "socketpair", af, 1, 0, unix_ok);
	}
	expect_int(ALL, NULL, "socket", 0xffffffff, 1, 0, EPERM);
	expect_int(ALL, NULL, "socket", 0x10001, 1, 0, EPERM);
	expect_int(ALL, NULL, "socketpair", 0x10001, 1, 0, EPERM);
}

static void socket_netlink(void **unused)
{
	(void)unused;
	for (uint32_t type = 2; type <= 3; type++) {
		expect_int("default guard", "net", "socket", 16, type, 0, OK);
		expect_int(ALL, "local", "socket", 16, type, 0, EPERM);
		expect_int("strict", NULL, "socket", 16, type, 0, EPERM);
		for (uint32_t proto = 1; proto < 40; proto++)
			expect_int(ALL, NULL, "socket", 16, type, proto, ANY_ERRNO);
	}
	/* the protocol is an int: route with rubbish above is still route */
	expect("default", "net", "socket", 16, 3, HIGH, OK);
}

static void socket_types(void **unused)
{
	static const uint32_t inet[] = { 2, 10 };

	(void)unused;
	for (uint32_t type = 0; type < 16; type++) {
		int unix_ok = type == 1 || type == 2 || type == 5 ? OK : EPERM;
		int inet_ok = type == 1 || type == 2 ? OK : EPERM;

		if (unix_ok == OK)
			expect_int(ALL, NULL, "socket", 1, type | 0x80000, 0, OK);
		else
			expect_int(ALL, NULL, "socket", 1, type, 0, ANY_ERRNO);
		for (int i = 0; i < 2; i++) {
			expect_int(ALL, "net", "socket", inet[i], type, 0, inet_ok);
			expect_int(ALL, "net", "socket", inet[i], type | 0x80800, 0, inet_ok);
		}
	}
}

static void socket_protocols(void **unused)
{
	(void)unused;
	for (uint32_t proto = 0; proto < 300; proto++) {
		int ok = proto == 0 || proto == 1 || proto == 6 || proto == 17 || proto == 58
				 ? OK : EPROTONOSUPPORT;

		expect_int(ALL, "net", "socket", 2, 1, proto, ok);
		expect_int(ALL, "net", "socket", 2, 2, proto, ok);
		expect_int(ALL, "net", "socket", 10, 1 | 0x80000, proto, ok);
	}
	expect_int(ALL, "net", "socket", 2, 1, 0x10006, EPROTONOSUPPORT);
}

static void new_namespaces(void **unused)
{
	static const uint64_t news[] = { 0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000,
					 0x10000000, 0x20000000, 0x40000000 };

	(void)unused;
	for (size_t i = 0; i < sizeof(news) / sizeof(news[0]); i++) {
		expect(BOTH, NULL, "clone", news[i], 0, 0, EPERM);
		expect(BOTH, NULL, "clone", HIGH | news[i] | 17, 0, 0, EPERM);
		expect(BOTH, NULL, "clone", news[i] | 0x3d0f00, 0, 0, EPERM);
		expect(BOTH, NULL, "unshare", news[i], 0, 0, EPERM);
		expect(BOTH, NULL, "unshare", HIGH | news[i] | 0x200, 0, 0, EPERM);
	}
	expect(BOTH, NULL, "clone", 17, 0, 0, OK);
	expect(BOTH, NULL, "clone", 0x3d0f00, 0, 0, OK);      /* a thread */
	expect(BOTH, NULL, "clone", HIGH | 0x1200011, 0, 0, OK); /* cut to 32 bits */
	expect(BOTH, NULL, "unshare", 0, 0, 0, OK);
	expect(BOTH, NULL, "unshare", 0x50f00, 0, 0, OK);
	expect(BOTH, NULL, "unshare", 0x400, 0, 0, OK);
	for (int bit = 32; bit < 64; bit++)
		expect(BOTH, NULL, "unshare", UINT64_C(1) << bit, 0, 0, EPERM);
	expect(BOTH, NULL, "clone3", 0, 0, 0, ENOSYS);
	expect(BOTH, NULL, "setns", 3, 0, 0, EPERM);
}

static void terminals_and_files(void **unused)
{
	static const uint32_t always[] = { 0x5412, 0x541c };
	static const uint32_t closed[] = { 0x541d, 0x5423, 0xc0045877, 0xc0045878, 0x800c6613,
					   0xc0506617, 0xc0406618, 0xc0406619 };
	static const uint32_t needed[] = { 0x5401, 0x5402, 0x5403, 0x5404, 0x540e, 0x540f, 0x5410,
					   0x5411, 0x5413, 0x5414, 0x541b, 0x5421, 0x5450, 0x5451,
					   0x5452, 0x80045430, 0x40045431, 0x5441, 0x802c542a,
					   0x402c542b, 0x402c542c, 0x402c542d, 0x40049409,
					   0x4020940d, 0x80086601, 0x8912 };

	(void)unused;
	for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++)
		expect_int(ALL, NULL, "ioctl", 0, always[i], 0, EPERM);
	for (size_t i = 0; i < sizeof(closed) / sizeof(closed[0]); i++) {
		expect_int("default", NULL, "ioctl", 0, closed[i], 0, EPERM);
		expect_int("strict", NULL, "ioctl", 0, closed[i], 0, ANY_ERRNO);
	}
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		expect_int(ALL, NULL, "ioctl", 0, needed[i], 0, OK);
	expect_int("strict", NULL, "ioctl", 0, 0x5400, 0, ENOTTY);
	expect_int("strict", NULL, "ioctl", 0, 0x5461, 0, ENOTTY);
	expect_int("strict", NULL, "ioctl", 0, 0xb701, 0, ENOTTY);
	expect_int("strict", NULL, "ioctl", 0, 0xffffffff, 0, ENOTTY);
	expect_int("strict", NULL, "ioctl", 0, 0, 0, ENOTTY);
	expect_int("strict", NULL, "ioctl", 0, 0x402c542e, 0, ENOTTY);
	expect_int("default", NULL, "ioctl", 0, 0xb701, 0, OK);
}

static void socket_options(void **unused)
{
	static const struct {
		uint32_t level, name;
	} closed[] = { { 1, 26 }, { 1, 50 }, { 1, 51 }, { 1, 52 }, { 6, 14 }, { 6, 19 }, { 6, 20 },
		       { 6, 22 }, { 6, 31 }, { 6, 32 }, { 6, 38 }, { 6, 42 }, { 0, 16 }, { 0, 17 },
		       { 0, 64 }, { 0, 255 }, { 41, 1 }, { 41, 32 }, { 41, 34 }, { 41, 35 },
		       { 41, 64 }, { 41, 65 }, { 17, 100 }, { 263, 1 }, { 279, 1 }, { 282, 1 },
		       { 284, 1 }, { 132, 0 }, { 33, 0 }, { 136, 0 }, { 255, 1 },
		       { 0xffffffff, 1 }, { 2, 1 }, { 18, 1 }, { 271, 1 } },
	  needed[] = { { 1, 2 }, { 1, 9 }, { 1, 15 }, { 1, 20 }, { 1, 25 }, { 1, 27 }, { 1, 49 },
		       { 1, 53 }, { 6, 1 }, { 6, 4 }, { 6, 13 }, { 6, 18 }, { 6, 23 }, { 6, 30 },
		       { 6, 33 }, { 6, 37 }, { 6, 43 }, { 0, 1 }, { 0, 8 }, { 0, 10 }, { 0, 15 },
		       { 0, 18 }, { 0, 24 }, { 0, 63 }, { 0, 256 }, { 41, 26 }, { 41, 2 },
		       { 41, 33 }, { 41, 36 }, { 41, 49 }, { 41, 66 }, { 41, 67 }, { 17, 99 },
		       { 17, 103 }, { 17, 104 }, { 58, 1 }, { 270, 1 } };

	(void)unused;
	for (size_t i = 0; i < sizeof(closed) / sizeof(closed[0]); i++)
		expect_int(BOTH, NULL, "setsockopt", 3, closed[i].level, closed[i].name, EPERM);
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		expect_int(BOTH, NULL, "setsockopt", 3, needed[i].level, needed[i].name, OK);
}

static void process_options(void **unused)
{
	static const uint32_t closed[] = { 28, 35, 57, 58, 62 };
	static const uint32_t needed[] = { 1, 3, 4, 8, 15, 16, 22, 23, 24, 27, 29, 34, 36, 38, 47,
					   52, 53, 56, 59, 61, 63, 68, 0x53564d41, 0x41555856,
					   0x59616d61 };
	static const uint32_t unknown[] = { 0, 69, 78, 100, 0x53564d40, 0x53564d42, 0xffffffff };

	(void)unused;
	for (size_t i = 0; i < sizeof(closed) / sizeof(closed[0]); i++)
		expect_int(BOTH, NULL, "prctl", closed[i], 0, 0, EPERM);
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		expect_int(BOTH, NULL, "prctl", needed[i], 0, 0, OK);
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		expect_int(BOTH, NULL, "prctl", unknown[i], 0, 0, EINVAL);
}

static void personalities(void **unused)
{
	static const uint32_t closed[] = { 1, 7, 9, 0x20000, 0x40001, 0x100000, 0x400000,
					   0x440000, 0x800000, 0x4000000, 0xfffffffe };

	(void)unused;
	expect_int(BOTH, NULL, "personality", 0, 0, 0, OK);
	expect_int(BOTH, NULL, "personality", 0xffffffff, 0, 0, OK);
	expect_int("default", NULL, "personality", 8, 0, 0, OK);
	expect_int("default", NULL, "personality", 0x40000, 0, 0, OK);
	expect_int("strict", NULL, "personality", 8, 0, 0, EPERM);
	expect_int("strict", NULL, "personality", 0x40000, 0, 0, EPERM);
	for (size_t i = 0; i < sizeof(closed) / sizeof(closed[0]); i++)
		expect_int(BOTH, NULL, "personality", closed[i], 0, 0, EPERM);
}

static void limits_of_init(void **unused)
{
	(void)unused;
	expect_int(BOTH, NULL, "prlimit64", 1, 7, 0, EPERM);
	expect_int(BOTH, NULL, "prlimit64", 0, 7, 0, OK);
	expect_int(BOTH, NULL, "prlimit64", 2, 7, 0, OK);
	expect_int(BOTH, NULL, "prlimit64", 0x10001, 7, 0, OK);
}

static void device_nodes(void **unused)
{
	(void)unused;
	for (uint32_t type = 0; type < 16; type++) {
		int ok = type == 2 || type == 6 ? EPERM : OK;

		/* the mode is 16 bits wide: what lies above does not hide it */
		expect_int(BOTH, NULL, "mknod", 0, type << 12 | 0644, 0x103, ok);
		expect_int(BOTH, NULL, "mknod", 0, 0x10000 | type << 12 | 0644, 0x103, ok);
		expect_int(BOTH, NULL, "mknodat", 0, 0, type << 12 | 0666, ok);
		expect(BOTH, NULL, "mknodat", 0, 0, HIGH | 0xffff0000 | type << 12, ok);
	}
}

/* openat's mode is the fourth argument. */
static void expect_openat(uint32_t flags, uint32_t mode, uint32_t want)
{
	static const uint64_t high[] = { 0, HIGH };

	for (int m = 0; m < 2; m++) {
		uint32_t nr = (uint32_t)oracle_by_name(table, "openat")->nr[m];

		for (size_t i = 0; i < *machines[m].filters_n; i++) {
			const struct immure_filter_builtin *b = &machines[m].filters[i];

			for (int k = 0; strstr(BOTH, b->profile) && k < 4; k++) {
				const uint64_t args[6] = { HIGH, HIGH, high[k & 1] | flags,
							   high[k >> 1] | mode, HIGH, HIGH };

				assert_int_equal(ask(b, machines[m].arch, nr, args).action, want);
			}
		}
	}
}

/* Whatever else is in the mode, and above its 16 bits. */
static void setuid_files(void **unused)
{
	static const uint32_t modes[] = { 04000, 04755, 06755, 07777, 0104755 };
	static const uint32_t plain[] = { 0, 0644, 0755, 01777, 02755, 03777, 0100644 };
	static const uint32_t making[] = { 0100, 0101, 0102, 0301, 020200000, 020200002, 020000000 };
	static const uint32_t finding[] = { 0, 1, 2, 0200000, 02000000, 010000000 };

	(void)unused;
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		uint32_t m = modes[i];

		expect_int(BOTH, NULL, "chmod", 0, m, 0, EPERM);
		expect_int(BOTH, NULL, "fchmod", 3, m, 0, EPERM);
		expect_int(BOTH, NULL, "fchmodat", 0, 0, m, EPERM);
		expect_int(BOTH, NULL, "fchmodat2", 0, 0, m, EPERM);
		expect_int(BOTH, NULL, "creat", 0, m, 0, EPERM);
		expect_int(BOTH, NULL, "mknod", 0, m, 0, EPERM);
		expect_int(BOTH, NULL, "mknodat", 0, 0, m, EPERM);
		for (size_t k = 0; k < sizeof(making) / sizeof(making[0]); k++) {
			expect_int(BOTH, NULL, "open", 0, making[k], m, EPERM);
			expect_openat(making[k], m, SECCOMP_RET_ERRNO | EPERM);
		}
		for (size_t k = 0; k < sizeof(finding) / sizeof(finding[0]); k++) {
			expect_int(BOTH, NULL, "open", 0, finding[k], m, OK);
			expect_openat(finding[k], m, SECCOMP_RET_ALLOW);
		}
	}
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
		expect_int(BOTH, NULL, "chmod", 0, plain[i], 0, OK);
		expect_int(BOTH, NULL, "fchmodat", 0, 0, plain[i], OK);
		expect_int(BOTH, NULL, "creat", 0, plain[i], 0, OK);
		expect_int(BOTH, NULL, "open", 0, 0101, plain[i], OK);
		expect_openat(0101, plain[i], SECCOMP_RET_ALLOW);
	}
	expect(BOTH, NULL, "openat2", 0, 0, 0, ENOSYS);
}

#define BARE "bare_old" /* names contain each other: this says both */

/* What namespaces would keep apart, where there are none. */
static void without_namespaces(void **unused)
{
	static const char *const metadata[] = { "chmod", "fchmod", "fchmodat", "fchmodat2", "chown",
						"fchown", "lchown", "fchownat", "utime", "utimes",
						"futimesat", "utimensat" };
	static const char *const objects[] = { "shmget", "shmat", "semget", "msgget", "mq_open" };

	(void)unused;
	for (uint32_t family = 0; family < 46; family++) {
		bool net = family == 2 || family == 10 || family == 16;

		expect_int(BARE, "net", "socket", family, 1, 0, net ? OK : EPERM);
		expect_int(BARE, "local", "socket", family, 1, 0, family ? EPERM : OK);
	}
	expect_int(BARE, NULL, "socketpair", 1, 1, 0, OK);
	expect_int(BARE, NULL, "socketpair", 1, 5, 0, OK);
	expect_int(BARE, NULL, "socketpair", 1, 0x80001, 0, OK);
	for (uint32_t type = 0; type < 16; type++)
		if (type != 1 && type != 5)
			expect_int(BARE, NULL, "socketpair", 1, 0x80000 | type, 0, EPERM);
	for (size_t i = 0; i < sizeof(metadata) / sizeof(metadata[0]); i++)
		expect_int(BARE, NULL, metadata[i], 3, 4, 5, EPERM);
	for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]); i++)
		expect_int(BARE, NULL, objects[i], 0, 0, 0, ENOSYS);
	expect_int(BARE, NULL, "getxattr", 0, 0, 0, EOPNOTSUPP);
	expect_int(BARE, NULL, "setxattr", 0, 0, 0, EOPNOTSUPP);
	for (uint32_t pid = 0; pid < 3; pid++) {
		int want = pid ? EPERM : OK;

		expect_int(BARE, NULL, "prlimit64", pid, 7, 0, want);
		expect_int(BARE, NULL, "sched_setaffinity", pid, 8, 0, want);
		expect_int(BARE, NULL, "sched_setscheduler", pid, 0, 0, want);
		expect_int(BARE, NULL, "sched_setparam", pid, 0, 0, want);
		expect_int(BARE, NULL, "sched_setattr", pid, 0, 0, want);
		expect_int(BARE, NULL, "setpriority", 0, pid, 1, want);
		expect_int(BARE, NULL, "setpriority", 1, pid, 1, EPERM);
		expect_int(BARE, NULL, "setpriority", 2, pid, 1, EPERM);
		expect_int(BARE, NULL, "ioprio_set", 1, pid, 1, want);
		expect_int(BARE, NULL, "ioprio_set", 3, pid, 1, EPERM);
	}
	expect_int(BARE, NULL, "ioctl", 3, 0x40086602, 0, EPERM); /* SETFLAGS */
	expect_int(BARE, NULL, "ioctl", 3, 0x40046602, 0, EPERM);
	expect_int(BARE, NULL, "ioctl", 3, 0x401c5820, 0, EPERM); /* FSSETXATTR */
	expect_int(BARE, NULL, "ioctl", 3, 0x5000940e, 0, EPERM); /* a btrfs subvolume */
	expect_int(BARE, NULL, "ioctl", 3, 0x80086601, 0, OK);
	expect_int(BARE, NULL, "ioctl", 3, 0x40049409, 0, OK); /* FICLONE */
	expect_int(BARE, NULL, "ioctl", 3, 0x5401, 0, OK);
	expect_int(BARE, NULL, "read", 0, 0, 0, OK);
	/* the second version closes truncation by reading descriptors as well */
	expect_int("bare_old", NULL, "open", 0, 0, 0, OK);
	expect_int("bare_old", NULL, "open", 0, 01001, 0, OK);
}

static void truncation_without_its_right(void **unused)
{
	(void)unused;
	for (int m = 0; m < 2; m++) {
		for (size_t i = 0; i < *machines[m].filters_n; i++) {
			const struct immure_filter_builtin *b = &machines[m].filters[i];
			const uint64_t at[6] = { 0, 0, HIGH | 01000, 0, 0, 0 }, none[6] = { 0 };
			bool old = strncmp(b->profile, "bare_old", 8) == 0;
			uint32_t want = old ? SECCOMP_RET_ERRNO | EPERM : SECCOMP_RET_ALLOW;

			if (strncmp(b->profile, "bare", 4) != 0)
				continue;
			assert_int_equal(ask(b, machines[m].arch,
					     (uint32_t)oracle_by_name(table, "openat")->nr[m], at).action,
					 want);
			assert_int_equal(ask(b, machines[m].arch,
					     (uint32_t)oracle_by_name(table, "truncate")->nr[m],
					     none).action, want);
		}
	}
}

static uint32_t of_names(const struct machine *m, const struct immure_filter_builtin *b,
			 const char *call, const uint64_t args[6])
{
	return ask(b, m->arch, (uint32_t)oracle_by_name(table, call)->nr[m - machines], args).action;
}

#define OF_NAMES(call, ...) of_names(m, b, call, (const uint64_t[6]){ __VA_ARGS__ })

/* Modes and times are answered, owners never; and where nobody can answer all is closed. */
static void metadata_that_is_answered(void **unused)
{
	static const struct {
		const char *call;
		bool answered;
	} calls[] = {
		{ "chmod", true }, { "fchmod", true }, { "fchmodat", true }, { "fchmodat2", true },
		{ "utimensat", true }, { "utime", false }, { "utimes", false }, { "futimesat", false },
		{ "chown", false }, { "fchown", false }, { "lchown", false }, { "fchownat", false },
	};
	unsigned int seen = 0;

	(void)unused;
	for (const struct machine *m = machines; m < machines + 2; m++)
		for (size_t i = 0; i < *m->filters_n; i++) {
			const struct immure_filter_builtin *b = &m->filters[i];
			bool listens = strstr(b->profile, "_files") || strstr(b->profile, "_names");

			if (strncmp(b->profile, "bare", 4) != 0)
				continue;
			seen += listens;
			for (size_t k = 0; k < sizeof(calls) / sizeof(calls[0]); k++) {
				if (oracle_by_name(table, calls[k].call)->nr[m - machines] < 0)
					continue; /* none of this machine's */
				assert_int_equal(OF_NAMES(calls[k].call, 3, 4, 5),
						 listens && calls[k].answered ? SECCOMP_RET_USER_NOTIF
									      : SECCOMP_RET_ERRNO | EPERM);
			}
		}
	assert_int_equal(seen, 16);
}

/* Where the supervisor answers: every way to make a socket of the internet or to name
 * an address, and no option that leads a connection of ours elsewhere. */
static void names_without_namespaces(void **unused)
{
	const uint32_t ask = SECCOMP_RET_USER_NOTIF, ok = SECCOMP_RET_ALLOW;
	const uint32_t eperm = SECCOMP_RET_ERRNO | EPERM, no = SECCOMP_RET_ERRNO | EOPNOTSUPP;
	unsigned int seen = 0;

	(void)unused;
	for (const struct machine *m = machines; m < machines + 2; m++)
		for (size_t i = 0; i < *m->filters_n; i++) {
			const struct immure_filter_builtin *b = &m->filters[i];

			if (!strstr(b->profile, "_names") || strcmp(b->variant, "net") != 0)
				continue;
			seen++;
			for (uint64_t f = 0; f < 46; f++)
				for (uint64_t t = 0; t < 16; t++) {
					uint32_t want = (f == 2 || f == 10) && (t == 1 || t == 2) ? ask : eperm;

					assert_int_equal(OF_NAMES("socket", f, t | 0x80800), want);
				}
			assert_int_equal(OF_NAMES("socket", 2, 1, 6), ask);
			assert_int_equal(OF_NAMES("socket", 2, 2, 17), ask);
			for (uint64_t p = 1; p < 300; p++) {
				if (p != 6)
					assert_int_not_equal(OF_NAMES("socket", 10, 1, p), ask);
				if (p != 17)
					assert_int_not_equal(OF_NAMES("socket", 10, 2, p), ask);
			}
			assert_int_equal(OF_NAMES("connect", 3), ask);
			assert_int_equal(OF_NAMES("bind", 3), ask);
			assert_int_equal(OF_NAMES("listen", 3), ask);
			assert_int_equal(OF_NAMES("sendto", 3, 4, 5, 0x20000000), ok);
			assert_int_equal(OF_NAMES("sendto", 3, 4, 5, 0, 1), ask);
			assert_int_equal(OF_NAMES("sendto", 3, 4, 5, 0, HIGH), ask);
			assert_int_equal(OF_NAMES("sendmsg", 3, 4, 0x4000), ok);
			assert_int_equal(OF_NAMES("sendmsg", 3, 4, 0x20004000), no);
			assert_int_equal(OF_NAMES("sendmmsg", 3, 4, 2, 0x4000), ok);
			assert_int_equal(OF_NAMES("sendmmsg", 3, 4, 2, HIGH | 0x20000000), no);
			for (uint64_t level = 0; level < 300; level++)
				for (uint64_t name = 0; name < 130; name++) {
					bool bad = (level == 1 && (name == 25 || name == 36 || name == 62 ||
								   name == 26 || name == 27 || name == 5)) ||
						   (level == 0 && (name == 4 || name == 7 || name == 19 ||
								   name == 32 || name == 35 || name == 50)) ||
						   (level == 41 && (name == 6 || name == 17 || name == 20 ||
								    name == 57 || name == 59 || name == 76)) ||
						   (level == 6 && (name == 30 || name == 31 || name == 34)) ||
						   (level != 0 && level != 1 && level != 6 && level != 41);

					if (bad)
						assert_int_equal(OF_NAMES("setsockopt", 3, level, name),
								 eperm);
				}
			for (uint64_t name = 6; name < 11; name++)
				assert_int_equal(OF_NAMES("setsockopt", 3, 1, name), ok);
			assert_int_equal(OF_NAMES("setsockopt", 3, 6, 1), ok);
			assert_int_equal(OF_NAMES("setsockopt", 3, 0, 11), ok); /* RECVERR: resolvers */
			assert_int_equal(OF_NAMES("setsockopt", 3, 41, 26), ok);
		}
	assert_int_equal(seen, 4);
}

static void listeners(void **unused)
{
	(void)unused;
	expect_int(ALL, NULL, "seccomp", 1, 0, 0, OK);
	expect_int(ALL, NULL, "seccomp", 0, 0, 0, OK);
	expect_int(ALL, NULL, "seccomp", 2, 8, 0, OK);
	expect_int("default guard", NULL, "seccomp", 1, 8, 0, OK);
	expect_int("strict", NULL, "seccomp", 1, 8, 0, EPERM);
	expect_int("strict", NULL, "seccomp", 1, 0x29, 0, EPERM);
}

/* The gatekeeper's: sockets of two families, and nothing to execute or open. */
static void the_gatekeeper_can_do_little(void **unused)
{
	static const char *const closed[] = { "open", "openat", "openat2", "creat", "mkdirat",
		"unlinkat", "renameat2", "linkat", "symlinkat", "readlinkat", "stat", "newfstatat",
		"statx", "chdir", "kill", "tgkill", "tkill", "pidfd_open", "ioctl", "socketpair",
		"memfd_create", "setuid", "setresuid", "capset", "prlimit64", "setrlimit",
		"rt_sigaction", "dup", "dup3", "bpf", "mount", "keyctl", "userfaultfd",
		"seccomp", "landlock_restrict_self", "sched_setaffinity", "shmget", "io_setup",
		"perf_event_open", "pidfd_getfd", "kcmp", "open_by_handle_at", "chmod",
		"getdents64", "inotify_init1", "eventfd2", "timerfd_create", "signalfd4" };
	static const char *const killed[] = { "execve", "execveat", "fork", "vfork", "clone",
		"clone3", "ptrace", "process_vm_readv", "process_vm_writev", "io_uring_setup",
		"unshare", "setns" };

	(void)unused;
	for (size_t i = 0; i < sizeof(closed) / sizeof(closed[0]); i++)
		expect("egress", NULL, closed[i], 0, 0, 0, EPERM);
	for (int m = 0; m < 2; m++)
		for (size_t i = 0; i < sizeof(killed) / sizeof(killed[0]); i++) {
			static const uint64_t zero[6];
			int nr = oracle_by_name(table, killed[i])->nr[m];

			for (size_t k = 0; nr >= 0 && k < *machines[m].filters_n; k++)
				if (strcmp(machines[m].filters[k].profile, "egress") == 0)
					assert_int_equal(ask(&machines[m].filters[k],
							     machines[m].arch, (uint32_t)nr,
							     zero).action,
							 SECCOMP_RET_KILL_PROCESS);
		}
	for (uint32_t af = 0; af < 70; af++) {
		int want = af == 2 || af == 10 ? OK : EPERM;

		expect_int("egress", NULL, "socket", af, 1 | 0x80800, 0, want);
		expect_int("egress", NULL, "socket", af, 2, 0, want);
		for (uint32_t type = 3; type < 16; type++)
			expect_int("egress", NULL, "socket", af, type, 0, EPERM);
		for (uint32_t proto = 1; proto < 300; proto++)
			expect_int("egress", NULL, "socket", af, 1, proto, EPERM);
	}
	expect("egress", NULL, "mmap", 0, 4096, 3, OK);
	expect("egress", NULL, "mmap", 0, 4096, 7, EPERM);
	expect("egress", NULL, "mprotect", 0, 4096, 4, EPERM);
	expect_int("egress", NULL, "setsockopt", 3, 1, 13, OK);
	expect_int("egress", NULL, "setsockopt", 3, 6, 1, OK);
	expect_int("egress", NULL, "setsockopt", 3, 6, 13, OK); /* TCP_CONGESTION */
	expect_int("egress", NULL, "setsockopt", 3, 6, 31, EPERM); /* TCP_ULP */
	expect_int("egress", NULL, "setsockopt", 3, 0, 19, EPERM); /* IP_TRANSPARENT */
	expect_int("egress", NULL, "setsockopt", 3, 1, 26, EPERM); /* SO_ATTACH_FILTER */
	expect_int("egress", NULL, "fcntl", 3, 3, 0, OK);
	expect_int("egress", NULL, "fcntl", 3, 8, 0, EPERM); /* F_SETOWN */
	expect_int("egress", NULL, "prctl", 39, 0, 0, OK);
	expect_int("egress", NULL, "prctl", 4, 1, 0, EPERM);
}

/* What unpacks strangers' archives: files by descriptors, and none of the rest. */
static void image_worker(void **unused)
{
	static const char *const open[] = { "openat2", "mkdirat", "unlinkat", "renameat", "linkat", "symlinkat",
		"getdents64", "fsetxattr", "flock", "syncfs", "fchmod", "utimensat", "newfstatat" };
	static const char *const closed[] = { "socket", "socketpair", "connect", "bind", "sendto", "sendmsg", "chmod",
		"fchown", "fchownat", "chown", "lchown", "setxattr", "lsetxattr", "chdir", "chroot", "mount", "kill",
		"ioctl", "prlimit64", "setuid", "capset", "memfd_create", "bpf", "keyctl", "open_by_handle_at",
		"pidfd_open", "seccomp", "truncate", "link", "symlink", "mknod" };
	static const char *const killed[] = { "execve", "execveat", "fork", "vfork", "clone", "clone3", "ptrace",
		"process_vm_readv", "process_vm_writev", "io_uring_setup", "unshare", "setns" };

	(void)unused;
	for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++)
		expect("image", NULL, open[i], 0, 0, 0, OK);
	for (size_t i = 0; i < sizeof(closed) / sizeof(closed[0]); i++)
		expect("image", NULL, closed[i], 0, 0, 0, EPERM);
	for (size_t i = 0; i < sizeof(killed) / sizeof(killed[0]); i++) {
		static const uint64_t zero[6];

		for (int m = 0; m < 2; m++) {
			int nr = oracle_by_name(table, killed[i])->nr[m];

			for (size_t k = 0; nr >= 0 && k < *machines[m].filters_n; k++)
				if (strcmp(machines[m].filters[k].profile, "image") == 0)
					assert_int_equal(ask(&machines[m].filters[k], machines[m].arch,
							     (uint32_t)nr, zero).action,
							 SECCOMP_RET_KILL_PROCESS);
		}
	}
	/* mknodat is asked with arguments below, for it has four */
	for (int m = 0; m < 2; m++) {
		int nr = oracle_by_name(table, "mknodat")->nr[m];
		static const struct { uint64_t args[6]; uint32_t action; } nodes[] = {
			{ { 5, 0, 0020000, 0 }, SECCOMP_RET_ALLOW },   /* what stands for a deleted name */
			{ { 5, 0, 0020644, 0 }, SECCOMP_RET_ALLOW },
			{ { 5, 0, 0020000, 0x103 }, SECCOMP_RET_ERRNO }, /* /dev/null */
			{ { 5, 0, 0060000, 0 }, SECCOMP_RET_ERRNO },
			{ { 5, 0, 0010000, 0 }, SECCOMP_RET_ERRNO },
			{ { 5, 0, 0140000, 0 }, SECCOMP_RET_ERRNO },
			{ { 5, 0, 0, 0 }, SECCOMP_RET_ERRNO },
		};

		for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
			for (size_t k = 0; k < *machines[m].filters_n; k++)
				if (strcmp(machines[m].filters[k].profile, "image") == 0)
					assert_int_equal(ask(&machines[m].filters[k], machines[m].arch, (uint32_t)nr,
							     nodes[i].args).action & SECCOMP_RET_ACTION_FULL,
							 nodes[i].action);
	}
	expect("image", NULL, "mmap", 0, 4096, 3, OK);
	expect("image", NULL, "mmap", 0, 4096, 7, EPERM);
	expect("image", NULL, "mprotect", 0, 4096, 4, EPERM);
}

/* Whoever ends TLS: not even sockets of its own. */
static void whoever_ends_tls_can_do_less(void **unused)
{
	static const char *const closed[] = { "openat", "open", "connect", "bind", "listen", "accept4",
		"socketpair", "memfd_create", "kill", "tgkill", "pidfd_open", "ioctl", "prlimit64",
		"splice", "pipe2", "ftruncate", "pwrite64", "dup", "mount", "rt_sigaction" };

	(void)unused;
	for (size_t i = 0; i < sizeof(closed) / sizeof(closed[0]); i++)
		expect("intercept", NULL, closed[i], 0, 0, 0, EPERM);
	for (uint32_t af = 0; af < 70; af++)
		for (uint32_t type = 1; type < 8; type++)
			expect_int("intercept", NULL, "socket", af, type, 0, EPERM);
	expect("intercept", NULL, "mmap", 0, 4096, 3, OK);
	expect("intercept", NULL, "mmap", 0, 4096, 7, EPERM);
	expect_int("intercept", NULL, "setsockopt", 3, 6, 1, OK); /* TCP_NODELAY */
	expect_int("intercept", NULL, "setsockopt", 3, 6, 31, EPERM); /* TCP_ULP */
	expect_int("intercept", NULL, "prctl", 4, 1, 0, EPERM); /* PR_SET_DUMPABLE */
}

static void closed_in_every_profile(void **unused)
{
	static const char *const calls[] = {
		"mount", "umount2", "pivot_root", "chroot", "setns", "open_tree", "open_tree_attr",
		"move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr",
		"clone3", "io_uring_setup", "io_uring_enter", "io_uring_register", "bpf",
		"perf_event_open", "userfaultfd", "keyctl", "add_key", "request_key", "reboot",
		"kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module",
		"swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "settimeofday",
		"clock_settime", "clock_adjtime", "adjtimex", "iopl", "ioperm", "kcmp",
		"pidfd_getfd", "syslog", "vhangup", "open_by_handle_at", "name_to_handle_at",
		"fanotify_init", "modify_ldt", "uselib", "ustat", "sysfs", "_sysctl", "nfsservctl",
		"lookup_dcookie", "sethostname", "setdomainname", "move_pages", "migrate_pages",
		"memfd_secret", "lsm_set_self_attr", "remap_file_pages",
	};
	static const uint64_t fill[] = { 0, 1, ~UINT64_C(0) };

	(void)unused;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		for (int k = 0; k < 3; k++)
			expect(BOTH, NULL, calls[i], fill[k], fill[k], fill[k], ANY_ERRNO);
	}
	expect("guard", NULL, "io_uring_setup", 1, 0, 0, ENOSYS);
	expect("guard", NULL, "io_uring_enter", 1, 0, 0, ENOSYS);
	expect("guard", NULL, "io_uring_register", 1, 0, 0, ENOSYS);
	expect("guard", NULL, "keyctl", 0, 0, 0, EPERM);
	expect("guard", NULL, "add_key", 0, 0, 0, EPERM);
	expect("guard", NULL, "request_key", 0, 0, 0, EPERM);
	expect("strict", NULL, "ptrace", 0, 0, 0, EPERM);
	expect("strict", NULL, "process_vm_readv", 0, 0, 0, EPERM);
	expect("strict", NULL, "process_vm_writev", 0, 0, 0, EPERM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(socket_families),
		cmocka_unit_test(socket_netlink),
		cmocka_unit_test(socket_types),
		cmocka_unit_test(socket_protocols),
		cmocka_unit_test(new_namespaces),
		cmocka_unit_test(terminals_and_files),
		cmocka_unit_test(socket_options),
		cmocka_unit_test(process_options),
		cmocka_unit_test(personalities),
		cmocka_unit_test(limits_of_init),
		cmocka_unit_test(device_nodes),
		cmocka_unit_test(setuid_files),
		cmocka_unit_test(without_namespaces), cmocka_unit_test(truncation_without_its_right),
		cmocka_unit_test(metadata_that_is_answered),
		cmocka_unit_test(names_without_namespaces),
		cmocka_unit_test(listeners),
		cmocka_unit_test(closed_in_every_profile),
		cmocka_unit_test(the_gatekeeper_can_do_little), cmocka_unit_test(image_worker),
		cmocka_unit_test(whoever_ends_tls_can_do_less),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
