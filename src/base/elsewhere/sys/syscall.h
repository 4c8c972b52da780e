/* SPDX-License-Identifier: Apache-2.0 */
/* Names for what is never called: linux.h. */
#ifndef IMMURE_BASE_ELSEWHERE_SYSCALL_H
#define IMMURE_BASE_ELSEWHERE_SYSCALL_H

#define SYS_clone 0
#define SYS_openat2 0
#define SYS_pivot_root 0

#endif
