# SPDX-License-Identifier: Apache-2.0
"""Standard streams of a command: what may be given, and reading and writing pipes."""
from __future__ import annotations

import contextlib
import io
import os
import selectors
import time
from typing import IO, Any, Callable, Dict, List, Optional, Union

DEVNULL = -1
EVENTS = -2   # of commands in a session: output as events, input by write()
STDOUT = -3   # for stderr: where stdout goes
PIPE = -11    # a pipe to this process
INHERIT = -12  # this process's own

Stream = Union[int, IO[Any], None]


class Streams:
    """Turns what was given into three descriptors; closes what it opened for the other
    side when it is done()."""

    def __init__(self, stdin: Stream, stdout: Stream, stderr: Stream) -> None:
        self._theirs: List[int] = []
        self.ours: Dict[int, int] = {}
        try:
            self.fds = [self._one(0, stdin), self._one(1, stdout)]
            self.fds.append(self._one(2, stderr))
        except BaseException:
            self.abandon()
            raise

    def _one(self, which: int, given: Stream) -> int:
        if given is None or given == INHERIT:
            return which
        if given == STDOUT and which != 2:
            raise ValueError("STDOUT is for stderr")
        if given == PIPE:
            read, write = os.pipe()
            mine, theirs = (write, read) if which == 0 else (read, write)
            self.ours[which] = mine
            self._theirs.append(theirs)
            return theirs
        return given if isinstance(given, int) else given.fileno()

    def done(self) -> None:
        for fd in self._theirs:
            os.close(fd)
        self._theirs = []

    def abandon(self) -> None:
        self.done()
        for fd in self.ours.values():
            os.close(fd)
        self.ours = {}

    def files(self) -> "tuple[Optional[IO[bytes]], Optional[IO[bytes]], Optional[IO[bytes]]]":
        """Ours, unbuffered."""
        made = [io.FileIO(self.ours[i], "w" if i == 0 else "r") if i in self.ours else None
                for i in range(3)]
        self.ours = {}
        return made[0], made[1], made[2]


def remaining(deadline: Optional[float]) -> Optional[float]:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def exchange(stdin: Optional[IO[bytes]], outputs: "List[Optional[IO[bytes]]]",
             data: Optional[bytes], fds: List[int], over: Callable[[], bool],
             deadline: Optional[float]) -> "Optional[List[bytes]]":
    """Writes data and reads outputs until over(), which is asked whenever one of fds may
    have news, and whatever was written until then is read; None when the time was up. What
    a process in the background still holds open does not delay it."""
    got: Dict[Any, bytearray] = {f: bytearray() for f in outputs if f}
    view = memoryview(data or b"")
    with selectors.DefaultSelector() as s:
        for fd in fds:
            s.register(fd, selectors.EVENT_READ, None)
        for f in got:
            os.set_blocking(f.fileno(), False)
            s.register(f, selectors.EVENT_READ, f)
        if stdin and len(view):
            os.set_blocking(stdin.fileno(), False)
            s.register(stdin, selectors.EVENT_WRITE, stdin)
        elif stdin:
            stdin.close()
        finished = over()
        while not finished:
            left = remaining(deadline)
            for key, _ in s.select(left):
                if key.data is None:
                    continue
                if key.data is stdin:
                    view = _feed(s, stdin, view)
                elif _drain(key.data, got[key.data]):
                    s.unregister(key.data)
            finished = over()
            if not finished and left == 0.0:
                return None
    for f in got:
        with contextlib.suppress(OSError):
            while not _drain(f, got[f]) and select_now(f):
                pass
    if stdin and not stdin.closed:
        stdin.close()
    return [bytes(got[f]) if f else b"" for f in outputs]


def select_now(f: IO[bytes]) -> bool:
    with selectors.DefaultSelector() as s:
        s.register(f, selectors.EVENT_READ)
        return bool(s.select(0))


def _feed(s: selectors.BaseSelector, stdin: IO[bytes], view: memoryview) -> memoryview:
    try:
        view = view[os.write(stdin.fileno(), view[:1 << 16]):]
    except BlockingIOError:
        return view
    except BrokenPipeError:
        view = view[:0]
    if not len(view):
        s.unregister(stdin)
        stdin.close()
    return view


def _drain(f: IO[bytes], into: bytearray) -> bool:
    """Reads what is there, once; True at its end."""
    try:
        data = os.read(f.fileno(), 1 << 16)
    except BlockingIOError:
        return False
    into += data
    return not data
