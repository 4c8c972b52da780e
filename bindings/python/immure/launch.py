# SPDX-License-Identifier: Apache-2.0
"""Commands that each have a sandbox of their own, made after a pool's template."""
from __future__ import annotations

import ctypes
import select
import time
import weakref
from typing import IO, Any, Callable, Optional

from . import _native, errors
from ._channel import Exit, _why
from ._native import call, library
from ._streams import Streams, exchange, remaining
from .session import Target


class Launch:
    """Belongs to the thread of its pool."""

    def __init__(self, pointer: int, what: str, streams: Streams, fileno: Callable[[], int]) -> None:
        self._pointer, self._what, self._fileno = pointer, what, fileno
        self._finalizer = weakref.finalize(self, library().immure_process_free, pointer)
        self._exit: Optional[Exit] = None
        self.stdin: Optional[IO[bytes]] = None
        self.stdout: Optional[IO[bytes]] = None
        self.stderr: Optional[IO[bytes]] = None
        self.stdin, self.stdout, self.stderr = streams.files()

    def poll(self) -> Optional[Exit]:
        """Why it could not be started is raised here: NotFound, NotExecutable, LaunchError."""
        x = _native.immure_exit()
        if self._exit or call("immure_process_wait", self._pointer, 0, ctypes.byref(x)) == 0:
            return self._exit
        if x.failed:
            raise errors.make(x.failed, "%s: %s" % (self._what, _why(x.errnum)), errno=x.errnum,
                              stage="exec", subject=self._what)
        self._exit = Exit(x.code, x.signo, bool(x.timed_out), bool(x.over_memory), x.wall_us / 1e6,
                          x.cpu_user_us / 1e6, x.cpu_system_us / 1e6, x.peak_memory, 0, 0)
        return self._exit

    def wait(self, timeout: Optional[float] = None) -> Exit:
        """When it has ended, so has all that it started."""
        deadline = None if timeout is None else time.monotonic() + timeout
        p = select.poll()
        p.register(self._fileno(), select.POLLIN)
        while True:
            done, left = self.poll(), remaining(deadline)
            if done:
                return done
            if left == 0.0:
                raise errors.TimeoutExpired("it still runs after %s seconds" % timeout)
            p.poll(None if left is None else left * 1000 + 1)

    def communicate(self, input: Optional[bytes] = None,
                    timeout: Optional[float] = None) -> "tuple[bytes, bytes]":
        """(stdout, stderr) of those that are pipes."""
        got = exchange(self.stdin, [self.stdout, self.stderr], input, [self._fileno()],
                       lambda: self.poll() is not None,
                       None if timeout is None else time.monotonic() + timeout)
        if got is None:
            raise errors.TimeoutExpired("it still runs after %s seconds" % timeout)
        return got[0], got[1]

    def signal(self, signo: int, target: Target = Target.GROUP) -> None:
        call("immure_process_signal", self._pointer, int(signo), int(target))

    def close(self) -> None:
        """Of the handle and the pipes; the command goes on."""
        self._finalizer()
        for f in (self.stdin, self.stdout, self.stderr):
            if f:
                f.close()

    def __enter__(self) -> "Launch":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
