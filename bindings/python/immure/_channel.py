# SPDX-License-Identifier: Apache-2.0
"""One connection to a living session, whoever waits for it: threads (session.py) or
an event loop (aio.py). A handle belongs to one thread at a time, so every call is
made under the lock; waiting happens outside it."""
from __future__ import annotations

import collections
import ctypes
import json
import os
import threading
import weakref
from dataclasses import dataclass
from typing import Any, Deque, Dict, Mapping, Optional, Sequence, Union

from . import _native, errors
from ._native import PathLike, call, encode, library, made
from ._streams import STDOUT, Streams

KEEP = 4 << 20  # bytes of a command's output that wait for their reader


@dataclass(frozen=True)
class Output:
    """Bytes that a command wrote. cursor: number of the first one in its stream; lost:
    bytes before it that were dropped, because nobody read them in time."""

    stream: int  # 1 stdout, 2 stderr
    data: bytes
    cursor: int
    lost: int
    sha256: str


@dataclass(frozen=True)
class Exit:
    """How a command ended. Times are seconds, sizes bytes."""

    code: int  # -1 after a signal
    signal: int
    timed_out: bool
    over_memory: bool
    wall: float
    cpu_user: float
    cpu_system: float
    peak_memory: int
    stdout_bytes: int
    stderr_bytes: int
    output_cut: bool = False  # there was more than limits.output

    @property
    def returncode(self) -> int:
        """0 to 255 as a shell expects it: 124 after a timeout, 128+N after signal N."""
        if self.timed_out:
            return 124
        return 128 + self.signal if self.signal else self.code


class State:
    """What is known here of one command."""

    def __init__(self, pointer: int, what: str) -> None:
        self.pointer = pointer
        self.what = what
        self.queue: Deque[Output] = collections.deque()
        self.queued = 0
        self.lost = {1: 0, 2: 0}
        self.reading = False  # somebody iterates: output waits for them rather than go
        self.exit: Optional[Exit] = None
        self.failure: Optional[errors.Error] = None

    def put(self, event: Output) -> None:
        self.queue.append(event)
        self.queued += len(event.data)
        while self.queued > KEEP and not self.reading and len(self.queue) > 1:
            old = self.queue.popleft()
            self.queued -= len(old.data)
            self.lost[old.stream] += len(old.data) + old.lost

    def take(self) -> Optional[Output]:
        if not self.queue:
            return None
        e = self.queue.popleft()
        self.queued -= len(e.data)
        if self.lost[e.stream]:
            e = Output(e.stream, e.data, e.cursor, e.lost + self.lost[e.stream], e.sha256)
            self.lost[e.stream] = 0
        return e

    def outcome(self) -> Optional[Exit]:
        if self.failure:
            raise self.failure
        return self.exit


def _free(pointer: int, lock: Any) -> None:
    with lock:
        library().immure_process_free(pointer)


class Channel(_native.Handle):
    _free = "immure_session_free"

    def __init__(self, pointer: int) -> None:
        super().__init__(pointer)
        self.lock = threading.RLock()
        self.states: "weakref.WeakValueDictionary[int, State]" = weakref.WeakValueDictionary()
        self.ended = False
        self.denials: Deque[Dict[str, Any]] = collections.deque()
        self.waiting = 0  # for ends: then output makes room rather than wait
        self.wakers: "set[int]" = set()  # descriptors of threads that wait for pipes as well

    def fileno(self) -> int:
        return library().immure_session_fd(self._pointer)

    @property
    def id(self) -> str:
        return _native._text(library().immure_session_id(self._pointer))

    def adopt(self, pointer: int, what: str) -> State:
        state = State(pointer, what)
        weakref.finalize(state, _free, pointer, self.lock)
        self.states[pointer] = state
        return state

    # ---- events ----

    def full(self) -> bool:
        return not self.waiting and any(
            s.reading and s.queued > KEEP // 4 for s in list(self.states.values()))

    def pump(self) -> None:
        """Takes what there is; leaves the rest where it is when a reader is behind."""
        event = _native.immure_event()
        with self.lock:
            while not self.full():
                if call("immure_session_next", self._pointer, ctypes.byref(event)) == 0:
                    return
                self._take(event)

    def _take(self, event: Any) -> None:
        state = self.states.get(event.process) if event.process else None
        if event.type == 3:
            self.ended = True
        elif event.type == 4:
            self.denials.append(json.loads(ctypes.string_at(event.data, event.bytes)))
        elif state is not None and event.type == 1:
            state.put(Output(event.stream, ctypes.string_at(event.data, event.bytes), event.cursor,
                             event.lost, event.sha256.decode()))
        elif state is not None and event.type == 2:
            self._exit_of(state)

    def _exit_of(self, state: State) -> None:
        x = _native.immure_exit()
        if call("immure_process_wait", state.pointer, 0, ctypes.byref(x)) == 0:
            return
        if x.failed:
            state.failure = errors.make(
                x.failed, "%s: %s" % (state.what, _why(x.errnum)), errno=x.errnum, stage="exec",
                subject=state.what)
        state.exit = Exit(x.code, x.signo, bool(x.timed_out), bool(x.over_memory),
                          x.wall_us / 1e6, x.cpu_user_us / 1e6, x.cpu_system_us / 1e6,
                          x.peak_memory, x.stdout_bytes, x.stderr_bytes,
                          bool(x.output_cut))
        for fd in self.wakers:
            os.write(fd, b"x")

    def call(self, name: str, *args: Any) -> int:
        with self.lock:
            return call(name, *args)


def _why(errnum: int) -> str:
    return os.strerror(errnum) if errnum else "it could not be started"


# ---- options ----


@dataclass(frozen=True)
class Limits:
    """Of one command, never above the session's. None: the session's."""

    cpu_time: Optional[float] = None  # seconds
    open_files: int = 0
    file_size: int = 0
    address_space: int = 0


CAPTURES = {"summary": 0, "off": 1, "metadata": 2, "content": 3}


def exec_options(argv: Sequence[PathLike], streams: Streams, *, env: Optional[Mapping[str, str]],
                 cwd: Optional[PathLike], clear_env: bool, pty: "Union[bool, tuple[int, int]]",
                 detach: bool, timeout: Optional[float], grace: Optional[float],
                 key: Optional[str], capture: str, capture_max: int,
                 limits: Optional[Limits], approval: Optional[str] = None) -> Any:
    rows, cols = pty if isinstance(pty, tuple) else (0, 0)
    limits = limits or Limits()
    return _native.immure_exec_options(
        argv=_native.words(argv), env=None if env is None else _native.environment(env),
        cwd=encode(cwd), stdin_fd=streams.fds[0], stdout_fd=streams.fds[1],
        stderr_fd=STDOUT if streams.fds[2] == STDOUT else streams.fds[2],
        flags=(1 if pty else 0) | (2 if detach else 0) | (4 if clear_env else 0), rows=rows,
        cols=cols, capture=CAPTURES[capture], capture_max=capture_max,
        timeout_ms=_native.milliseconds(timeout), grace_ms=_native.milliseconds(grace),
        key=encode(key), limit_cpu_ms=_native.milliseconds(limits.cpu_time),
        limit_open_files=limits.open_files, limit_file_size=limits.file_size,
        limit_address_space=limits.address_space, approval=encode(approval))


def session_options(*, name: Optional[str] = None, labels: Optional[Mapping[str, str]] = None,
                    lifetime: int = 0, life: Optional[float] = None, idle: Optional[float] = None,
                    idle_stops: bool = False, remove: bool = False,
                    prove: bool = False,
                    supervisor: Optional[PathLike] = None,
                    runtime_dir: Optional[PathLike] = None,
                    env: Optional[Mapping[str, str]] = None) -> Any:
    return _native.immure_session_options(
        name=encode(name),
        labels=None if labels is None else _native.words("%s=%s" % p for p in labels.items()),
        lifetime=int(lifetime),
        flags=(1 if idle_stops else 0) | (2 if remove else 0) | (4 if prove else 0),
        life_ms=_native.milliseconds(life), idle_ms=_native.milliseconds(idle),
        supervisor=encode(supervisor), runtime_dir=encode(runtime_dir),
        env=_native.environment(env))


def start(channel: Channel, options: Any, what: str) -> State:
    with channel.lock:
        pointer = made("immure_session_exec", channel._pointer, ctypes.byref(options))
        return channel.adopt(pointer, what)
