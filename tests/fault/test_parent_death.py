# SPDX-License-Identifier: Apache-2.0
"""Init ends with its supervisor by a signal that it asks the kernel for, and looks
once more after asking. The line between the two would tell as well: so it is held
open here, or the end comes before the asking."""

import contextlib
import ctypes
import fcntl
import os
import pathlib
import select
import signal
import socket
import struct
import subprocess

import pytest

import harness

PRCTL = 157 if os.uname().machine == "x86_64" else 167
SECCOMP = 317 if os.uname().machine == "x86_64" else 277
PIDFD_GETFD = 438
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
NOTIF_RECV, NOTIF_SEND = 0xC0502100, 0xC0182101


def inside(pid):
    """Everything that descends from the supervisor."""
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            for task in pathlib.Path(f"/proc/{one}/task").iterdir():
                found += [int(p) for p in (task / "children").read_text().split()]
    return found[1:]


def sockets_of(pid):
    """Its sockets as descriptors of ours: the other ends never see an end."""
    taken = []
    pidfd = os.pidfd_open(pid)
    for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        if os.readlink(fd).startswith("socket:"):
            copy = harness.libc.syscall(PIDFD_GETFD, pidfd, int(fd.name), 0)
            if copy < 0:
                pytest.skip(f"pidfd_getfd: {os.strerror(ctypes.get_errno())}")
            taken.append(copy)
    os.close(pidfd)
    return taken


@pytest.mark.modes("root", "user")
def test_the_signal_alone_is_enough(site):
    child = site.spawn(site.immure, "run", "-q", "--", "/bin/sh", "-c", "echo up; sleep 1000",
                       start_new_session=True)
    assert child.stdout.readline() == b"up\n", child.stderr.read()
    pidfds = {os.pidfd_open(p) for p in inside(child.pid)}
    held = sockets_of(child.pid)
    try:
        assert pidfds and held, (pidfds, held)
        child.kill()
        child.wait()
        poll, left = select.poll(), set(pidfds)
        for fd in pidfds:
            poll.register(fd, select.POLLIN)
        while left:
            ready = poll.poll(5000 * harness.SLOWER)
            assert ready, f"{len(left)} live on"
            for fd, _ in ready:
                poll.unregister(fd)
                left.discard(fd)
    finally:
        for fd in pidfds:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(fd, signal.SIGKILL)
        for fd in [*pidfds, *held]:
            os.close(fd)
        child.stdout.close()
        child.stderr.close()


class Filter(ctypes.Structure):
    _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte),
                ("k", ctypes.c_uint)]


class Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.POINTER(Filter))]


def ask_before_death_signals(line):
    """In the child: whoever is about to ask for such a signal waits for our answer."""
    load, equal, ret = 0x20, 0x15, 0x06
    rules = (Filter * 6)(Filter(load, 0, 0, 0), Filter(equal, 0, 3, PRCTL), Filter(load, 0, 0, 16),
                         Filter(equal, 0, 1, PR_SET_PDEATHSIG), Filter(ret, 0, 0, 0x7FC00000),
                         Filter(ret, 0, 0, 0x7FFF0000))
    program = Program(6, rules)
    harness.libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    listener = harness.libc.syscall(SECCOMP, 1, 8, ctypes.byref(program))  # NEW_LISTENER
    socket.send_fds(line, [b"x"], [listener] if listener >= 0 else [])


def wait_for_one(listener):
    """The id of the next call that waits; None when nobody is left to make one."""
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    for _, events in poll.poll(30000 * harness.SLOWER):
        if events & select.POLLIN:
            call = bytearray(80)
            with contextlib.suppress(FileNotFoundError):  # it died meanwhile
                fcntl.ioctl(listener, NOTIF_RECV, call)
                return struct.unpack_from("Q", call)[0]
            return wait_for_one(listener)
        return None
    raise AssertionError("nobody asked for a death signal, and nobody ended")


def go_on(listener, call):
    with contextlib.suppress(FileNotFoundError):
        fcntl.ioctl(listener, NOTIF_SEND, struct.pack("QqiI", call, 0, 0, 1))


@pytest.mark.modes("root", "user")
def test_an_end_before_the_signal_was_asked_for(site):
    """The kernel sends none for it, so init has to see it by itself: nothing may run."""
    ours, theirs = socket.socketpair()
    child = site.spawn(site.immure, "run", "-q", "--", "/bin/touch", "ran",
                       preexec_fn=lambda: ask_before_death_signals(theirs),
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, fds, _, _ = socket.recv_fds(ours, 1, 1)
    ours.close()
    theirs.close()
    assert fds, "no listener"
    listener = fds[0]
    try:
        call = wait_for_one(listener)
        assert call is not None, "it ended without asking"
        orphans = [os.pidfd_open(p) for p in inside(child.pid)]
        child.kill()
        child.wait()
        while call is not None:
            go_on(listener, call)
            call = wait_for_one(listener)
        for fd in orphans:
            assert select.select([fd], [], [], 5 * harness.SLOWER)[0]
            os.close(fd)
    finally:
        os.close(listener)
    assert not (site.ws / "ran").exists()
