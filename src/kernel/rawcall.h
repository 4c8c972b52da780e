/* SPDX-License-Identifier: Apache-2.0 */
/* System calls that touch no errno: for code that shares its memory, and so
 * its thread-local storage, with another running thread of control. Returns
 * what the kernel returned, a negative errno included. */
#ifndef IMMURE_KERNEL_RAWCALL_H
#define IMMURE_KERNEL_RAWCALL_H

#if defined(__x86_64__)
#define IMMURE_HAVE_RAWCALL 1

static inline long immure_rawcall5(long nr, long a, long b, long c, long d, long e)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
	return ret;
}

/* clone(2) of a process that runs fn(arg) on a stack of its own (top, 16-aligned) and
 * ends with what that returns. pidfd: for CLONE_PIDFD, or NULL. */
static inline long immure_rawclone(int (*fn)(void *arg), void *top, unsigned long flags, void *arg,
				   int *pidfd)
{
	register long none __asm__("r10") = 0;
	register int (*f)(void *) __asm__("r12") = fn;
	register void *a __asm__("r13") = arg;
	long ret;

	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "mov %%r13, %%rdi\n\t"
			 "call *%%r12\n\t"
			 "mov %%eax, %%edi\n\t"
			 "mov $60, %%eax\n\t" /* exit */
			 "syscall\n"
			 "1:"
			 : "=a"(ret)
			 : "a"(56L /* clone */), "D"(flags), "S"(top), "d"(pidfd), "r"(none), "r"(f), "r"(a)
			 : "rcx", "r11", "memory");
	return ret;
}

/* clone3(2), args naming a stack, of a process that runs fn(arg) there and ends with what
 * that returns. */
static inline long immure_rawclone3(const void *args, unsigned long size, int (*fn)(void *arg), void *arg)
{
	register int (*f)(void *) __asm__("r12") = fn;
	register void *a __asm__("r13") = arg;
	long ret;

	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "mov %%r13, %%rdi\n\t"
			 "call *%%r12\n\t"
			 "mov %%eax, %%edi\n\t"
			 "mov $60, %%eax\n\t" /* exit */
			 "syscall\n"
			 "1:"
			 : "=a"(ret)
			 : "a"(435L /* clone3 */), "D"(args), "S"(size), "r"(f), "r"(a)
			 : "rcx", "r11", "memory");
	return ret;
}

#elif defined(__aarch64__)
#define IMMURE_HAVE_RAWCALL 1

static inline long immure_rawcall5(long nr, long a, long b, long c, long d, long e)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
	return x0;
}

static inline long immure_rawclone(int (*fn)(void *arg), void *top, unsigned long flags, void *arg,
				   int *pidfd)
{
	register long x8 __asm__("x8") = 220; /* clone */
	register long x0 __asm__("x0") = (long)flags;
	register void *x1 __asm__("x1") = top;
	register int *x2 __asm__("x2") = pidfd;
	register long x3 __asm__("x3") = 0;
	register int (*x19)(void *) __asm__("x19") = fn;
	register void *x20 __asm__("x20") = arg;

	__asm__ volatile("svc 0\n\t"
			 "cbnz x0, 1f\n\t"
			 "mov x29, xzr\n\t"
			 "mov x0, x20\n\t"
			 "blr x19\n\t"
			 "mov x8, #93\n\t" /* exit */
			 "svc 0\n"
			 "1:"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x19), "r"(x20)
			 : "memory");
	return x0;
}

static inline long immure_rawclone3(const void *args, unsigned long size, int (*fn)(void *arg), void *arg)
{
	register long x8 __asm__("x8") = 435; /* clone3 */
	register long x0 __asm__("x0") = (long)args;
	register long x1 __asm__("x1") = (long)size;
	register int (*x19)(void *) __asm__("x19") = fn;
	register void *x20 __asm__("x20") = arg;

	__asm__ volatile("svc 0\n\t"
			 "cbnz x0, 1f\n\t"
			 "mov x29, xzr\n\t"
			 "mov x0, x20\n\t"
			 "blr x19\n\t"
			 "mov x8, #93\n\t" /* exit */
			 "svc 0\n"
			 "1:"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x19), "r"(x20)
			 : "memory");
	return x0;
}

#endif

#ifdef IMMURE_HAVE_RAWCALL
static inline long immure_rawcall(long nr, long a, long b, long c, long d)
{
	return immure_rawcall5(nr, a, b, c, d, 0);
}
#endif

#endif
