/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the filters say about every call, against committed lists; their
 * foundations: call numbers, constants, foreign ABIs, what init needs.
 *
 * IMMURE_GOLDEN=write makes the lists anew; the difference is then in the commit.
 */
#include <errno.h>
#include <linux/fs.h>
#include <linux/in6.h>
#include <linux/netlink.h>
#include <linux/personality.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <cmocka.h>

#include "seccomp_filters.h"
#include "seccomp_oracle.h"

static struct oracle *open_oracle(const char *profile)
{
	char dir[1024];

	(void)snprintf(dir, sizeof(dir), "%s/src/kernel/filters", getenv("IMMURE_SOURCE_DIR"));
	return oracle_new(dir, profile);
}

static const char *word(struct immure_bpf_result r)
{
	if (r.read_args)
		return "arguments";
	switch (r.action) {
	case SECCOMP_RET_ALLOW: return "allow";
	case SECCOMP_RET_ERRNO | EPERM: return "EPERM";
	case SECCOMP_RET_ERRNO | ENOSYS: return "ENOSYS";
	case SECCOMP_RET_ERRNO | EOPNOTSUPP: return "NOTSUPP";
	case SECCOMP_RET_USER_NOTIF: return "notify";
	default: return "other";
	}
}

static void print_row(char *out, size_t len, const struct machine *m, uint32_t nr,
		      const char *name)
{
	static const uint64_t zero[6];
	size_t at = (size_t)snprintf(out, len, "%-4u %-24s", nr, name);

	for (size_t i = 0; i < *m->filters_n; i++)
		at += (size_t)snprintf(out + at, len - at, " %-9s",
				       word(ask(&m->filters[i], m->arch, nr, zero)));
	while (out[at - 1] == ' ')
		at--;
	(void)strcpy(out + at, "\n");
}

static void compare_list(int which, const struct oracle *o)
{
	const struct machine *m = &machines[which];
	const char *mode = getenv("IMMURE_GOLDEN");
	char path[1024], want[512], got[512];
	bool write = mode && strcmp(mode, "write") == 0;
	FILE *f;
	size_t at;

	(void)snprintf(path, sizeof(path), "%s/tests/unit/golden/seccomp-%s.txt",
		       getenv("IMMURE_SOURCE_DIR"), m->name);
	f = fopen(path, write ? "w" : "r");
	if (!f)
		fail_msg("%s: cannot be opened", path);
	at = (size_t)snprintf(got, sizeof(got), "# nr name");
	for (size_t i = 0; i < *m->filters_n; i++)
		at += (size_t)snprintf(got + at, sizeof(got) - at, " %s/%s", m->filters[i].profile,
				       m->filters[i].variant);
	(void)strcpy(got + at, "\n");
	for (int nr = -1; nr < 1024; nr++) {
		const struct oracle_call *c = nr < 0 ? NULL : oracle_by_nr(o, which, (uint32_t)nr);

		if (nr >= 0)
			print_row(got, sizeof(got), m, (uint32_t)nr, c ? c->name : "-");
		if (nr >= 0 && !c && nr > 480)
			continue; /* the other test compares these with the text */
		if (write)
			(void)fputs(got, f);
		else if (!fgets(want, sizeof(want), f) || strcmp(want, got) != 0)
			fail_msg("%s differs:\nwas %sis  %s", path, want, got);
	}
	if (!write && fgets(want, sizeof(want), f))
		fail_msg("%s has more lines: %s", path, want);
	(void)fclose(f);
}

static void lists_are_as_committed(void **unused)
{
	struct oracle *o = open_oracle("default");

	(void)unused;
	compare_list(ORACLE_X86_64, o);
	compare_list(ORACLE_AARCH64, o);
	oracle_free(o);
}

static void foreign_abis_are_closed(void **unused)
{
	static const uint32_t arches[] = { AUDIT_ARCH_I386, AUDIT_ARCH_X86_64, AUDIT_ARCH_ARM,
					   AUDIT_ARCH_AARCH64, AUDIT_ARCH_RISCV64, 0, 0xffffffff,
					   AUDIT_ARCH_X86_64 & ~__AUDIT_ARCH_64BIT,
					   AUDIT_ARCH_ARMEB };
	static const uint64_t zero[6];

	(void)unused;
	for (int m = 0; m < 2; m++) {
		for (size_t i = 0; i < *machines[m].filters_n; i++) {
			const struct immure_filter_builtin *b = &machines[m].filters[i];

			for (uint32_t nr = 0; nr < 1024; nr++) {
				for (size_t a = 0; a < sizeof(arches) / sizeof(arches[0]); a++) {
					if (arches[a] == machines[m].arch)
						continue;
					assert_int_equal(ask(b, arches[a], nr, zero).action,
							 SECCOMP_RET_KILL_PROCESS);
				}
				if (m == ORACLE_X86_64)
					assert_int_equal(ask(b, machines[m].arch, nr | 0x40000000,
							     zero).action,
							 SECCOMP_RET_ERRNO | ENOSYS);
			}
		}
	}
}

static void programs_are_valid(void **unused)
{
	(void)unused;
	for (int m = 0; m < 2; m++) {
		assert_int_equal(*machines[m].filters_n, 24);
		for (size_t i = 0; i < *machines[m].filters_n; i++) {
			const struct immure_filter *f = &machines[m].filters[i].filter;

			assert_int_equal(immure_bpf_check(f->insns, f->len, NULL), 0);
			/* each instruction costs every launch a tenth of a microsecond */
			assert_true(f->len <= 270);
		}
	}
}

/* Init lives under the filter too; arguments as it passes them. */
static void init_can_work(void **unused)
{
	static const struct {
		const char *name;
		uint64_t args[6];
	} needs[] = {
		{ "wait4", { 0 } }, { "waitid", { 0 } }, { "ppoll", { 0 } }, { "poll", { 0 } },
		{ "read", { 0 } }, { "write", { 0 } }, { "readv", { 0 } }, { "writev", { 0 } },
		{ "recvmsg", { 0 } }, { "sendmsg", { 0 } }, { "recvfrom", { 0 } },
		{ "sendto", { 0 } }, { "fork", { 0 } }, { "vfork", { 0 } },
		{ "clone", { 0x4111 } },   /* VM VFORK SIGCHLD */
		{ "clone", { 0x1200011 } }, /* as C libraries fork */
		{ "execve", { 0 } }, { "execveat", { 0 } }, { "kill", { 0 } },
		{ "tgkill", { 0 } }, { "setsid", { 0 } }, { "setpgid", { 0 } },
		{ "ioctl", { 0, 0x540e } }, /* TIOCSCTTY */
		{ "ioctl", { 0, 0x5410 } }, /* TIOCSPGRP */
		{ "dup2", { 0 } }, { "dup3", { 0 } }, { "fcntl", { 0 } }, { "close", { 0 } },
		{ "close_range", { 0 } }, { "rt_sigaction", { 0 } }, { "rt_sigprocmask", { 0 } },
		{ "rt_sigreturn", { 0 } }, { "rt_sigtimedwait", { 0 } }, { "signalfd4", { 0 } },
		{ "exit", { 0 } }, { "exit_group", { 0 } }, { "pidfd_open", { 0 } },
		{ "pidfd_send_signal", { 0 } }, { "clock_gettime", { 0 } }, { "chdir", { 0 } },
		{ "fchdir", { 0 } }, { "openat", { 0 } }, { "getdents64", { 0 } },
		{ "getrusage", { 0 } }, { "setrlimit", { 0 } }, { "prlimit64", { 0 } },
		{ "prctl", { 1 } }, { "prctl", { 4 } }, { "prctl", { 38 } },
		{ "seccomp", { 1, 0 } }, { "landlock_restrict_self", { 0 } },
		{ "mmap", { 0 } }, { "munmap", { 0 } }, { "brk", { 0 } }, { "mprotect", { 0 } },
		{ "restart_syscall", { 0 } }, { "set_tid_address", { 0 } },
	};
	struct oracle *o = open_oracle("default");

	(void)unused;
	for (int m = 0; m < 2; m++) {
		for (size_t k = 0; k < sizeof(needs) / sizeof(needs[0]); k++) {
			int nr = oracle_by_name(o, needs[k].name)->nr[m];

			for (size_t i = 0; nr >= 0 && i < *machines[m].filters_n; i++) {
				if (strcmp(machines[m].filters[i].profile, "egress") != 0 &&
				    strcmp(machines[m].filters[i].profile, "image") != 0 &&
				    strcmp(machines[m].filters[i].profile, "intercept") != 0 &&
				    ask(&machines[m].filters[i], machines[m].arch, (uint32_t)nr,
					needs[k].args).action != SECCOMP_RET_ALLOW)
					fail_msg("%s %s: %s is closed", machines[m].name,
						 machines[m].filters[i].profile, needs[k].name);
			}
		}
	}
	oracle_free(o);
}

static void numbers_are_the_kernels(void **unused)
{
#define CALL(name) { #name, SYS_##name }
	static const struct {
		const char *name;
		long nr;
	} here[] = { CALL(read), CALL(write), CALL(ioctl), CALL(socket), CALL(clone), CALL(execve),
		     CALL(ptrace), CALL(unshare), CALL(setns), CALL(mount), CALL(keyctl), CALL(bpf),
		     CALL(userfaultfd), CALL(io_uring_setup), CALL(clone3), CALL(close_range),
		     CALL(mount_setattr), CALL(setsockopt), CALL(prctl), CALL(personality),
		     CALL(mknodat), CALL(seccomp), CALL(process_vm_readv), CALL(fsopen),
		     CALL(memfd_create), CALL(execveat), CALL(statx), CALL(preadv2) };
	struct oracle *o = open_oracle("default");

	(void)unused;
	for (size_t i = 0; i < sizeof(here) / sizeof(here[0]); i++) {
#ifdef __x86_64__
		assert_int_equal(oracle_by_name(o, here[i].name)->nr[ORACLE_X86_64], here[i].nr);
#else
		assert_int_equal(oracle_by_name(o, here[i].name)->nr[ORACLE_AARCH64], here[i].nr);
#endif
	}
	oracle_free(o);
}

static void constants_are_the_headers(void **unused)
{
#define CONST(name) { #name, (uint64_t)(uint32_t)(name) }
#define CONST_AS(ours, theirs) { #ours, (uint64_t)(uint32_t)(theirs) }
	static const struct {
		const char *name;
		uint64_t value;
	} here[] = {
		CONST(AF_UNIX), CONST(AF_INET), CONST(AF_INET6), CONST(AF_NETLINK),
		CONST(SOCK_STREAM), CONST(SOCK_DGRAM), CONST(SOCK_SEQPACKET),
		CONST(IPPROTO_ICMP), CONST(IPPROTO_TCP), CONST(IPPROTO_UDP), CONST(IPPROTO_ICMPV6),
		CONST(NETLINK_ROUTE), CONST(MSG_FASTOPEN), CONST(SO_DEBUG), CONST(SO_REUSEADDR),
		CONST(SO_BROADCAST), CONST(SO_OOBINLINE), CONST(SO_PRIORITY), CONST(SO_PASSCRED),
		CONST(SO_RCVLOWAT), CONST_AS(SO_SNDTIMEO, SO_SNDTIMEO_OLD),
		CONST_AS(SO_TIMESTAMP, SO_TIMESTAMP_OLD), CONST_AS(SO_TIMESTAMPNS, SO_TIMESTAMPNS_OLD),
		CONST(SO_RXQ_OVFL), CONST(SO_PEEK_OFF), CONST(SO_BUSY_POLL), CONST(SO_INCOMING_CPU),
		CONST(SO_ZEROCOPY), CONST(SO_TIMESTAMP_NEW), CONST(SO_SNDTIMEO_NEW),
		CONST(IP_TOS), CONST(IP_TTL), CONST(IP_RECVOPTS), CONST(IP_PKTINFO),
		CONST(IP_MTU_DISCOVER), CONST(IP_RECVTOS), CONST(IP_FREEBIND),
		CONST(IP_BIND_ADDRESS_NO_PORT), CONST(IPV6_UNICAST_HOPS), CONST(IPV6_MTU_DISCOVER),
		CONST(IPV6_RECVPKTINFO), CONST(IPV6_RECVHOPLIMIT), CONST(IPV6_DONTFRAG),
		CONST(IPV6_RECVTCLASS), CONST(IPV6_TCLASS), CONST(IPV6_AUTOFLOWLABEL),
		CONST_AS(CLONE_NEW_ANY, CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS |
			 CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET |
			 CLONE_NEWTIME),
		CONST(S_IFMT), CONST(S_IFCHR), CONST(S_IFBLK),
		CONST(TIOCSTI), CONST(TIOCLINUX), CONST(TIOCCONS), CONST(TIOCSETD),
		CONST(FIFREEZE), CONST(FITHAW), CONST(FS_IOC_SET_ENCRYPTION_POLICY),
		CONST(FS_IOC_ADD_ENCRYPTION_KEY), CONST(FS_IOC_REMOVE_ENCRYPTION_KEY),
		CONST(FS_IOC_REMOVE_ENCRYPTION_KEY_ALL_USERS),
		CONST_AS(TTY_FIRST, TCGETS), CONST_AS(TTY_LAST, FIOQSIZE),
		CONST(TIOCGPTN), CONST(TIOCSPTLCK), CONST(TIOCSIG),
		CONST(FICLONE), CONST(FICLONERANGE), CONST(FS_IOC_GETFLAGS),
		CONST(SIOCATMARK), CONST(SIOCGIFNAME), CONST(SIOCGIFFLAGS), CONST(SIOCGIFADDR),
		CONST(SIOCGIFINDEX), CONST(SOL_SOCKET), CONST(SOL_IP), CONST(SOL_IPV6),
		CONST(SOL_ICMPV6), CONST(SOL_NETLINK), CONST_AS(SOL_TCP, IPPROTO_TCP),
		CONST_AS(SOL_UDP, IPPROTO_UDP), CONST(SO_ATTACH_FILTER), CONST(SO_ATTACH_BPF),
		CONST(SO_ATTACH_REUSEPORT_EBPF), CONST(TCP_MD5SIG), CONST(TCP_REPAIR),
		CONST(TCP_REPAIR_OPTIONS), CONST(TCP_ULP), CONST(TCP_MD5SIG_EXT),
		CONST(TCP_FASTOPEN_CONNECT), CONST(TCP_FASTOPEN_NO_COOKIE),
		CONST(IP_IPSEC_POLICY), CONST(IP_XFRM_POLICY), CONST(IPV6_ADDRFORM),
		CONST(IPV6_FLOWLABEL_MGR), CONST(IPV6_IPSEC_POLICY), CONST(IPV6_XFRM_POLICY),
		CONST(UDP_ENCAP), CONST(PER_LINUX), CONST(PER_LINUX32), CONST(ADDR_NO_RANDOMIZE),
		CONST(PR_SET_PDEATHSIG), CONST(PR_SET_SECUREBITS), CONST(PR_SET_MM),
		CONST(PR_SET_IO_FLUSHER), CONST(PR_GET_IO_FLUSHER), CONST(PR_SCHED_CORE),
		CONST(PR_SET_VMA), CONST(PR_SET_PTRACER), CONST(SECCOMP_SET_MODE_FILTER),
		CONST(SECCOMP_FILTER_FLAG_NEW_LISTENER), CONST(SO_LINGER), CONST(TCP_NODELAY),
		CONST(TCP_CONGESTION),
		CONST(IPV6_V6ONLY), CONST(F_GETFD), CONST(F_SETFD), CONST(F_GETFL),
		CONST(F_SETFL), CONST(F_SETPIPE_SZ), CONST(F_GETPIPE_SZ), CONST(F_GET_SEALS),
		CONST(PROT_EXEC), CONST(PR_GET_DUMPABLE), CONST(PR_GET_SECCOMP),
		CONST(PR_CAPBSET_READ), CONST(PR_GET_NO_NEW_PRIVS),
	};
	struct oracle *o = open_oracle("strict");

	(void)unused;
	for (size_t i = 0; i < sizeof(here) / sizeof(here[0]); i++) {
		size_t k = 0;

		while (k < o->consts_n && strcmp(o->const_names[k], here[i].name) != 0)
			k++;
		if (k == o->consts_n || o->consts[k] != here[i].value)
			fail_msg("%s is %#llx in the headers", here[i].name,
				 (unsigned long long)here[i].value);
	}
	oracle_free(o);
}

static void builtin_never_exceeds_families(void **unused)
{
	static const char *const names[] = { "default", "strict", "guard" };

	(void)unused;
	for (size_t i = 0; i < 3; i++) {
		const struct immure_filter *net, *local;

		net = immure_filter_builtin(names[i], IMMURE_FAMILIES_NET);
		local = immure_filter_builtin(names[i], IMMURE_FAMILIES_LOCAL);
		assert_non_null(net);
		assert_non_null(local);
		assert_ptr_not_equal(net, local);
		assert_ptr_equal(immure_filter_builtin(names[i], ~UINT64_C(0)), net);
		assert_ptr_equal(immure_filter_builtin(names[i], IMMURE_FAMILY_UNIX |
						       IMMURE_FAMILY_INET), local);
		assert_null(immure_filter_builtin(names[i], IMMURE_FAMILY_INET));
		assert_null(immure_filter_builtin(names[i], 0));
	}
	for (size_t i = 0; i < 2; i++) { /* of all families, those that it knows */
		const char *name = i ? "bare_old_names" : "bare_names";
		const uint64_t inet = IMMURE_FAMILY_INET | IMMURE_FAMILY_INET6;

		assert_non_null(immure_filter_builtin(name, inet));
		assert_ptr_not_equal(immure_filter_builtin(name, inet), immure_filter_builtin(name, 1));
	}
	for (size_t i = 0; i < 2; i++) { /* bit 0 stands for no family at all */
		const char *name = i ? "bare_old" : "bare";
		const uint64_t net = IMMURE_FAMILIES_NET & ~IMMURE_FAMILY_UNIX;

		assert_non_null(immure_filter_builtin(name, 1));
		assert_non_null(immure_filter_builtin(name, net));
		assert_ptr_not_equal(immure_filter_builtin(name, 1), immure_filter_builtin(name, net));
		assert_null(immure_filter_builtin(name, IMMURE_FAMILIES_LOCAL));
	}
	assert_null(immure_filter_builtin("", IMMURE_FAMILIES_NET));
	assert_null(immure_filter_builtin("defaul", IMMURE_FAMILIES_NET));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists_are_as_committed),
		cmocka_unit_test(foreign_abis_are_closed),
		cmocka_unit_test(programs_are_valid),
		cmocka_unit_test(init_can_work),
		cmocka_unit_test(numbers_are_the_kernels),
		cmocka_unit_test(constants_are_the_headers),
		cmocka_unit_test(builtin_never_exceeds_families),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
