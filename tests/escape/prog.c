// SPDX-License-Identifier: Apache-2.0
/* What an attack tries to run where it may not: a program of no library, because every
 * test has two copies of it, whose bytes are looked at before and after. */
#include <sys/syscall.h>

void _start(void);

void _start(void)
{
#if defined(__x86_64__)
	__asm__ volatile("syscall" : : "a"(SYS_exit), "D"(0) : "rcx", "r11", "memory");
#elif defined(__aarch64__)
	register long number __asm__("x8") = SYS_exit, status __asm__("x0") = 0;

	__asm__ volatile("svc #0" : : "r"(number), "r"(status) : "memory");
#endif
	__builtin_unreachable();
}
