# SPDX-License-Identifier: Apache-2.0
"""A place that is sealed in once and runs many commands. Objects here may be used by
several threads; immure.aio has the same for an event loop."""
from __future__ import annotations

import contextlib
import ctypes
import enum
import json
import os
import select
import shutil
import socket
import threading
import time
from dataclasses import dataclass
from typing import IO, Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Union

from . import _native, errors
from ._channel import (Channel, Exit, Limits, Output, State, exec_options, session_options, start)
from ._native import PathLike, call, encode, library, made, string_of
from ._streams import DEVNULL, EVENTS, Stream, Streams, exchange, remaining
from .policy import Plan, Policy, Setting, Values, setting_array
from .running import Completed, Programs, decoded, wanted


class Lifetime(enum.IntEnum):
    CALLER = 0    # ends when the handle is closed or this program ends
    DETACHED = 1  # until somebody ends it
    LEASED = 2    # ends by itself as well: life, idle


class Target(enum.IntEnum):
    PROCESS = 0
    GROUP = 1
    TREE = 2


class FileType(enum.IntEnum):
    REGULAR = 1
    DIRECTORY = 2
    LINK = 3
    OTHER = 4


@dataclass(frozen=True)
class FileInfo:
    type: FileType
    mode: int
    bytes: int
    modified: float


class Waiter:
    """Threads that wait for one descriptor: one of them polls, the others are told."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.changed = threading.Condition(channel.lock)
        self.polling = False

    def until(self, check: Callable[[], Any], timeout: Optional[float],
              end: bool = False) -> Any:
        """check() under the lock until it is not None; None when the time was up. end:
        waits for an end, for which output may be dropped."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self.changed:
            self.channel.waiting += end
            try:
                while True:
                    self.channel.pump()
                    found = check()
                    if found is not None:
                        self.changed.notify_all()
                        return found
                    if self.channel.ended:
                        raise errors.StateError(errors.ErrorCode.STATE, "the session has ended",
                                                stage="wait")
                    left = remaining(deadline)
                    if left == 0.0:
                        return None
                    if self.polling:
                        self.changed.wait(left)
                    else:
                        self._poll(left)
            finally:
                self.channel.waiting -= end

    def _poll(self, left: Optional[float]) -> None:
        p = select.poll()
        # A copy: whoever closes the session meanwhile must not pull it from under poll.
        fd = os.dup(self.channel.fileno())
        self.polling = True
        try:
            p.register(fd, select.POLLIN)
            self.changed.release()
            try:
                p.poll(None if left is None else left * 1000 + 1)
            finally:
                self.changed.acquire()
        finally:
            os.close(fd)
            self.polling = False
            self.changed.notify_all()


class Process:
    """A command in a session. Iterating gives its output (Output) until it has ended."""

    def __init__(self, session: "Session", state: State, streams: Optional[Streams]) -> None:
        self._session = session
        self._state = state
        self.stdin: Optional[IO[bytes]] = None
        self.stdout: Optional[IO[bytes]] = None
        self.stderr: Optional[IO[bytes]] = None
        if streams:
            self.stdin, self.stdout, self.stderr = streams.files()

    @property
    def id(self) -> int:
        """Its number in the session; 0 when the supervisor does not know it."""
        with self._session._channel.lock:
            return library().immure_process_id(self._state.pointer)

    @property
    def pid(self) -> int:
        """Inside."""
        with self._session._channel.lock:
            return library().immure_process_pid(self._state.pointer)

    @property
    def has_terminal(self) -> bool:
        with self._session._channel.lock:
            return bool(library().immure_process_has_terminal(self._state.pointer))

    def poll(self) -> Optional[Exit]:
        if not self._state.exit:
            self._session._channel.pump()
        return self._state.outcome()

    def wait(self, timeout: Optional[float] = None) -> Exit:
        """Why it could not be started may be told here: NotFound, NotExecutable."""
        found = self._session._waiter.until(self._state.outcome, timeout, end=True)
        if found is None:
            raise errors.TimeoutExpired("it still runs after %s seconds" % timeout)
        return found

    def __iter__(self) -> Iterator[Output]:
        state, waiter = self._state, self._session._waiter
        state.reading = True
        try:
            while True:
                e = waiter.until(lambda: state.take() or state.outcome(), None)
                if isinstance(e, Exit):
                    return
                yield e
        finally:
            state.reading = False

    def communicate(self, input: Optional[bytes] = None,
                    timeout: Optional[float] = None) -> "tuple[bytes, bytes]":
        """(stdout, stderr) of those that are pipes."""
        deadline = None if timeout is None else time.monotonic() + timeout
        channel = self._session._channel
        woken, waker = os.pipe()  # another thread may take the news that this one waits for
        os.set_blocking(waker, False)
        with channel.lock:
            channel.waiting += 1
            channel.wakers.add(waker)
        try:
            got = exchange(self.stdin, [self.stdout, self.stderr], input,
                           [channel.fileno(), woken], lambda: self.poll() is not None, deadline)
        finally:
            with channel.lock:
                channel.waiting -= 1
                channel.wakers.discard(waker)
            os.close(woken)
            os.close(waker)
        if got is None:
            raise errors.TimeoutExpired("it still runs after %s seconds" % timeout)
        return got[0], got[1]

    def write(self, data: bytes, *, eof: bool = False) -> None:
        """Input of a terminal, or with stdin=EVENTS; waits until there is room for it."""
        pieces = [data[i:i + 32768] for i in range(0, len(data), 32768)] or [b""]
        for i, piece in enumerate(pieces):
            self._session._channel.call("immure_process_write", self._state.pointer, piece,
                                        len(piece), int(eof and i == len(pieces) - 1))

    def signal(self, signo: int, target: Target = Target.GROUP) -> None:
        self._session._channel.call("immure_process_signal", self._state.pointer, int(signo),
                                    int(target))

    def resize(self, rows: int, cols: int) -> None:
        self._session._channel.call("immure_process_resize", self._state.pointer, rows, cols)


def resume_options(session: Any, policy: Optional[Policy],
                   settings: "Union[Mapping[str, Values], Iterable[Setting], None]") -> Any:
    array = setting_array(settings)
    o = _native.immure_resume_options(policy=policy._pointer if policy else None, settings=array,
                                      settings_n=len(array), session=ctypes.pointer(session))
    return o


class Session:
    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._waiter = Waiter(channel)

    @classmethod
    def create(cls, plan: Plan, *, name: Optional[str] = None,
               labels: Optional[Mapping[str, str]] = None,
               lifetime: Lifetime = Lifetime.CALLER, life: Optional[float] = None,
               idle: Optional[float] = None, idle_stops: bool = False, remove: bool = False,
               prove: bool = False,
               runtime_dir: Optional[PathLike] = None, env: Optional[Mapping[str, str]] = None,
               programs: Optional[Programs] = None) -> "Session":
        """Of the plan, whose argv is not run. life, idle: seconds."""
        o = session_options(name=name, labels=labels, lifetime=lifetime, life=life, idle=idle,
                            idle_stops=idle_stops, remove=remove, prove=prove,
                            runtime_dir=runtime_dir, env=env,
                            supervisor=(programs or Programs.find()).supervisor)
        return cls(Channel(made("immure_session_create", plan._pointer, ctypes.byref(o))))

    @staticmethod
    def create_many(plan: Plan, count: int, *, name: Optional[str] = None,
                    labels: Optional[Mapping[str, str]] = None,
                    lifetime: Lifetime = Lifetime.DETACHED, life: Optional[float] = None,
                    idle: Optional[float] = None, idle_stops: bool = False, remove: bool = False,
                    prove: bool = False,
                    runtime_dir: Optional[PathLike] = None, env: Optional[Mapping[str, str]] = None,
                    programs: Optional[Programs] = None) -> "List[Dict[str, Any]]":
        """All of them or none: their ids and names (NAME-1, NAME-2 ...), for Session.open()."""
        o = session_options(name=name, labels=labels, lifetime=lifetime, life=life, idle=idle,
                            idle_stops=idle_stops, remove=remove, prove=prove,
                            runtime_dir=runtime_dir, env=env,
                            supervisor=(programs or Programs.find()).supervisor)
        return json.loads(string_of("immure_session_create_many", plan._pointer, ctypes.byref(o), count))

    @classmethod
    def open(cls, name: str, *, runtime_dir: Optional[PathLike] = None,
             env: Optional[Mapping[str, str]] = None) -> "Session":
        """By name, id, or the unambiguous beginning of an id."""
        o = session_options(runtime_dir=runtime_dir, env=env)
        return cls(Channel(made("immure_session_open", encode(name), ctypes.byref(o))))

    @staticmethod
    def connect(name: str, *, runtime_dir: Optional[PathLike] = None,
                env: Optional[Mapping[str, str]] = None) -> socket.socket:
        """For a program that speaks the protocol itself (docs/PROTOCOL.md)."""
        o, ret = session_options(runtime_dir=runtime_dir, env=env), ctypes.c_int32(-1)
        call("immure_session_connect", encode(name), ctypes.byref(o), ctypes.byref(ret))
        return socket.socket(fileno=ret.value)

    @staticmethod
    def list(*, runtime_dir: Optional[PathLike] = None,
             env: Optional[Mapping[str, str]] = None) -> "List[Dict[str, Any]]":
        o = session_options(runtime_dir=runtime_dir, env=env)
        return json.loads(string_of("immure_session_list", ctypes.byref(o)))

    @staticmethod
    def remove(name: str, *, runtime_dir: Optional[PathLike] = None,
               env: Optional[Mapping[str, str]] = None) -> None:
        """What is recorded of one that has ended."""
        o = session_options(runtime_dir=runtime_dir, env=env)
        call("immure_session_remove", encode(name), ctypes.byref(o))

    @property
    def id(self) -> str:
        return self._channel.id

    @property
    def ended(self) -> bool:
        return self._channel.ended

    def fileno(self) -> int:
        return self._channel.fileno()

    # ---- others with the same files ----

    def snapshot(self, *, name: Optional[str] = None, labels: Optional[Mapping[str, str]] = None,
                 env: Optional[Mapping[str, str]] = None) -> Dict[str, Any]:
        """Its files as they are now, kept: id, name and "about" with contains and excludes."""
        o = _native.immure_snapshot_options(
            name=encode(name), env=_native.environment(env),
            labels=None if labels is None else _native.words("%s=%s" % p for p in labels.items()))
        with self._channel.lock:
            return json.loads(string_of("immure_snapshot_create", self._channel._pointer, ctypes.byref(o)))

    @classmethod
    def resume(cls, snapshot: str, *, policy: Optional[Policy] = None,
               settings: "Union[Mapping[str, Values], Iterable[Setting], None]" = None,
               name: Optional[str] = None, labels: Optional[Mapping[str, str]] = None,
               lifetime: Lifetime = Lifetime.CALLER, life: Optional[float] = None,
               idle: Optional[float] = None, idle_stops: bool = False, remove: bool = False,
               runtime_dir: Optional[PathLike] = None, env: Optional[Mapping[str, str]] = None,
               programs: Optional[Programs] = None) -> "Session":
        """A session that begins with the files of a snapshot, under its policy with the settings
        on top, or under another policy."""
        so = session_options(name=name, labels=labels, lifetime=lifetime, life=life, idle=idle,
                             idle_stops=idle_stops, remove=remove, runtime_dir=runtime_dir, env=env,
                             supervisor=(programs or Programs.find()).supervisor)
        o = resume_options(so, policy, settings)
        return cls(Channel(made("immure_session_resume", encode(snapshot), ctypes.byref(o))))

    def fork(self, count: int = 1, *, policy: Optional[Policy] = None,
             settings: "Union[Mapping[str, Values], Iterable[Setting], None]" = None,
             name: Optional[str] = None, labels: Optional[Mapping[str, str]] = None,
             lifetime: Lifetime = Lifetime.CALLER, life: Optional[float] = None,
             idle: Optional[float] = None, idle_stops: bool = False, remove: bool = False,
             runtime_dir: Optional[PathLike] = None, env: Optional[Mapping[str, str]] = None,
             programs: Optional[Programs] = None) -> "List[Session]":
        """As many sessions with its files as they are now; it goes on."""
        so = session_options(name=name, labels=labels, lifetime=lifetime, life=life, idle=idle,
                             idle_stops=idle_stops, remove=remove, runtime_dir=runtime_dir, env=env,
                             supervisor=(programs or Programs.find()).supervisor)
        o = resume_options(so, policy, settings)
        ret = (ctypes.c_void_p * max(count, 1))()
        with self._channel.lock:
            call("immure_session_fork", self._channel._pointer, count, ctypes.byref(o), ret)
        return [type(self)(Channel(pointer)) for pointer in ret if pointer]

    # ---- commands ----

    def exec(self, argv: Sequence[PathLike], *, env: Optional[Mapping[str, str]] = None,
             cwd: Optional[PathLike] = None, stdin: Stream = DEVNULL, stdout: Stream = EVENTS,
             stderr: Stream = EVENTS, clear_env: bool = False,
             pty: "Union[bool, tuple[int, int]]" = False, detach: bool = False,
             timeout: Optional[float] = None, grace: Optional[float] = None,
             key: Optional[str] = None, capture: str = "summary", capture_max: int = 0,
             limits: Optional[Limits] = None, approval: Optional[str] = None) -> Process:
        """Starts a command. Streams: DEVNULL, EVENTS, PIPE, INHERIT (or None), a descriptor
        or file; stderr also STDOUT. pty: a terminal inside, True or (rows, columns)."""
        streams = Streams(stdin, stdout, stderr)
        try:
            o = exec_options(argv, streams, env=env, cwd=cwd, clear_env=clear_env, pty=pty,
                             detach=detach, timeout=timeout, grace=grace, key=key, capture=capture,
                             capture_max=capture_max, limits=limits, approval=approval)
            state = start(self._channel, o, os.fsdecode(argv[0]) if argv else "")
        except BaseException:
            streams.abandon()
            raise
        streams.done()
        return Process(self, state, streams)

    def attach(self, exec: int) -> Process:
        """A command that was started before: its kept output comes again, then what is new."""
        with self._channel.lock:
            pointer = made("immure_session_attach", self._channel._pointer, exec)
            return Process(self, self._channel.adopt(pointer, "exec %d" % exec), None)

    def run(self, argv: Sequence[PathLike], *, input: "Union[bytes, str, None]" = None,
            stdin: Stream = None, stdout: Stream = None, stderr: Stream = None,
            capture_output: bool = False, text: bool = False, timeout: Optional[float] = None,
            check: bool = False, **options: Any) -> Completed:
        """As subprocess.run. After timeout seconds the session ends the command: 124."""
        streams = wanted(input, (stdin, stdout, stderr), capture_output)
        p = self.exec(argv, stdin=streams[0], stdout=streams[1], stderr=streams[2],
                      timeout=timeout, **options)
        with contextlib.ExitStack() as stack:
            for f in (p.stdin, p.stdout, p.stderr):
                if f:
                    stack.enter_context(f)
            out, err = p.communicate(input.encode() if isinstance(input, str) else input)
        done = Completed(argv, p.wait().returncode, decoded(out, text), decoded(err, text))
        return done.check() if check else done

    # ---- the session itself ----

    def kill(self, signo: int) -> None:
        """Everything inside gets the signal."""
        self._channel.call("immure_session_kill", self._channel._pointer, int(signo))

    def freeze(self) -> None:
        self._channel.call("immure_session_freeze", self._channel._pointer)

    def thaw(self) -> None:
        self._channel.call("immure_session_thaw", self._channel._pointer)

    def detach(self) -> None:
        """One of Lifetime.CALLER goes on without us."""
        self._channel.call("immure_session_detach", self._channel._pointer)

    def ticket(self, valid: Optional[float] = None) -> str:
        """The right and the duty to clean up, for whoever takes over: acknowledge() keeps
        the session alive without us, reclaim() ends it. valid: seconds until it is void."""
        with self._channel.lock:
            return string_of("immure_session_ticket", self._channel._pointer,
                             _native.milliseconds(valid))

    def request(self, op: str, **arguments: Any) -> Dict[str, Any]:
        """Any request of the protocol: inspect, stats, execs, limits, lease ..."""
        with self._channel.lock:
            return json.loads(string_of(
                "immure_session_request", self._channel._pointer, encode(op),
                json.dumps(arguments).encode() if arguments else None))

    def inspect(self) -> Dict[str, Any]:
        return self.request("inspect")

    def denials(self, timeout: Optional[float] = None) -> "Iterator[Dict[str, Any]]":
        """What the network refuses from now on, as it happens: "line" for people, "denial"
        as in a record, "failed" when the rules allow it, "number". Until the session has
        ended, or nothing came for timeout seconds."""
        self.request("net", follow=True)
        return self._denials(timeout)

    def _denials(self, timeout: Optional[float]) -> "Iterator[Dict[str, Any]]":
        channel = self._channel
        try:
            while True:
                try:
                    found = self._waiter.until(
                        lambda: channel.denials.popleft() if channel.denials else None, timeout)
                except errors.StateError:
                    return
                if found is None:
                    return
                yield found
        finally:
            if not channel.ended:
                with contextlib.suppress(errors.Error):
                    self.request("net", follow=False)
            channel.denials.clear()

    def stats(self) -> Dict[str, Any]:
        return self.request("stats")

    def proof(self) -> Dict[str, Any]:
        """What was tried in a session made with prove=True, and what held."""
        with self._channel.lock:
            return json.loads(string_of("immure_session_proof", self._channel._pointer))

    def tighten(self, deny: Iterable[PathLike] = (),
                read_only: Iterable[PathLike] = ()) -> Dict[str, Any]:
        """Paths inside that no later command reaches, or changes; there is no way back."""
        return self.request("tighten", deny=[os.fspath(p) for p in deny],
                            read_only=[os.fspath(p) for p in read_only])

    def execs(self) -> Dict[str, Any]:
        return self.request("execs")

    def open_file(self, path: PathLike, mode: str = "rb", **options: Any) -> IO[Any]:
        """As open(), by its path inside; a link never leads out."""
        def opener(name: str, flags: int) -> int:
            ret = ctypes.c_int32(-1)
            self._channel.call("immure_session_open_file", self._channel._pointer, encode(name),
                               flags, 0o666, ctypes.byref(ret))
            return ret.value
        return open(path, mode, opener=opener, **options)

    def read_file(self, path: PathLike, limit: Optional[int] = None) -> bytes:
        """Its content, or the first `limit` bytes."""
        with self.open_file(path) as f:
            return f.read(-1 if limit is None else limit)

    def write_file(self, path: PathLike, data: bytes, *, append: bool = False) -> None:
        """Made when it is missing; what it had is replaced, or added to."""
        with self.open_file(path, "ab" if append else "wb") as f:
            f.write(data)

    def copy_in(self, source: PathLike, path: PathLike) -> int:
        """A file of this side to one inside; how many bytes."""
        with open(source, "rb") as f, self.open_file(path, "wb") as t:
            shutil.copyfileobj(f, t, 1 << 20)
            return t.tell()

    def copy_out(self, path: PathLike, target: PathLike) -> int:
        with self.open_file(path) as f, open(target, "wb") as t:
            shutil.copyfileobj(f, t, 1 << 20)
            return t.tell()

    def stat(self, path: PathLike) -> FileInfo:
        """The last name is not followed."""
        info = _native.immure_file_info()
        self._channel.call("immure_session_stat_file", self._channel._pointer, encode(path),
                           ctypes.byref(info))
        return FileInfo(FileType(info.type), info.mode, info.bytes, info.modified_ms / 1000)

    def list_files(self, path: PathLike) -> "List[Dict[str, Any]]":
        with self._channel.lock:
            return json.loads(string_of("immure_session_list_files", self._channel._pointer,
                                        encode(path)))

    def remove_file(self, path: PathLike) -> None:
        """A file, a link, or an empty directory."""
        self._channel.call("immure_session_remove_file", self._channel._pointer, encode(path))

    def rename_file(self, old: PathLike, new: PathLike) -> None:
        self._channel.call("immure_session_rename_file", self._channel._pointer, encode(old),
                           encode(new))

    def make_directory(self, path: PathLike, mode: int = 0o755) -> None:
        self._channel.call("immure_session_make_directory", self._channel._pointer, encode(path),
                           mode)

    def stop(self, grace: float = 2.0, *, remove: bool = False) -> None:
        """SIGTERM to all, SIGKILL after grace seconds; returns when all is cleaned up."""
        with self._channel.lock:
            call("immure_session_stop", self._channel._pointer, round(grace * 1000),
                 2 if remove else 0)
            self._channel.ended = True
            self._waiter.changed.notify_all()

    def close(self) -> None:
        """Lets go of it: one of Lifetime.CALLER that was made here ends."""
        with self._channel.lock:
            self._channel.ended = True
            self._channel.close()
            self._waiter.changed.notify_all()

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
