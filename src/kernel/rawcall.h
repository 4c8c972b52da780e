/* SPDX-License-Identifier: Apache-2.0 */
/* System calls that touch no errno: for code that shares its memory, and so
 * its thread-local storage, with another running thread of control. Returns
 * what the kernel returned, a negative errno included. */
#ifndef IMMURE_KERNEL_RAWCALL_H
#define IMMURE_KERNEL_RAWCALL_H

#if defined(__x86_64__)
#define IMMURE_HAVE_RAWCALL 1

static inline long immure_rawcall(long nr, long a, long b, long c, long d)
{
	register long r10 __asm__("r10") = d;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10)
			 : "rcx", "r11", "memory");
	return ret;
}

#elif defined(__aarch64__)
#define IMMURE_HAVE_RAWCALL 1

static inline long immure_rawcall(long nr, long a, long b, long c, long d)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
	return x0;
}

#endif

#endif
