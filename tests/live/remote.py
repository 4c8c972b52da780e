# SPDX-License-Identifier: Apache-2.0
"""One system call in another process (x86_64, root): for what only a mistake of ours could do."""

import ctypes
import os
import signal

ATTACH, DETACH, GETREGS, SETREGS, SYSCALL = 16, 17, 12, 13, 24
NAMES = ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss "
         "fs_base gs_base ds es fs gs").split()


class Regs(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in NAMES]


libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def ptrace(what, pid, data=None):
    if libc.ptrace(what, pid, None, data) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def remote_call(pid, number, *arguments):
    """Its result. The process sleeps in a system call, which goes on afterwards."""
    before, now = Regs(), Regs()
    ptrace(ATTACH, pid)
    os.waitpid(pid, 0x40000000)  # __WALL
    ptrace(GETREGS, pid, ctypes.addressof(before))
    ctypes.memmove(ctypes.addressof(now), ctypes.addressof(before), ctypes.sizeof(now))
    now.rip -= 2  # the instruction it sleeps in
    now.rax, now.orig_rax = number, ctypes.c_ulonglong(-1).value
    for name, value in zip(("rdi", "rsi", "rdx"), arguments):
        setattr(now, name, value)
    ptrace(SETREGS, pid, ctypes.addressof(now))
    for _ in range(2):  # at its beginning and at its end; a single step would unblock a signal there
        ptrace(SYSCALL, pid)
        _, status = os.waitpid(pid, 0x40000000)
        assert os.WIFSTOPPED(status) and os.WSTOPSIG(status) == signal.SIGTRAP, status
    ptrace(GETREGS, pid, ctypes.addressof(now))
    ptrace(SETREGS, pid, ctypes.addressof(before))  # interrupted: the kernel begins it again
    ptrace(DETACH, pid)
    return ctypes.c_longlong(now.rax).value
