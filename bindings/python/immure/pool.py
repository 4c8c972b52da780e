# SPDX-License-Identifier: Apache-2.0
"""Pools: sessions that are sealed in already and wait."""
from __future__ import annotations

import contextlib
import ctypes
import enum
import json
import os
from types import TracebackType
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Type, Union

from . import _native
from ._channel import Channel, Limits, exec_options
from ._native import PathLike, call, encode, library, made, string_of
from ._streams import DEVNULL, Stream, Streams
from .launch import Launch
from .policy import Plan, Policy, Setting, Values, setting_array
from .running import Completed, Programs, decoded, wanted
from .session import Lifetime, Session


class PoolMode(enum.IntEnum):
    SESSIONS = 0  # acquire()
    ZYGOTE = 1    # exec(), run(): a sandbox for each command, made after a template


class Pool:
    """A connection to a pool's holder; of one thread at a time."""

    def __init__(self, pointer: int) -> None:
        self._handle: Optional[int] = pointer

    @classmethod
    def start(cls, what: Union[Plan, Policy], *, name: Optional[str] = None,
              lifetime: Lifetime = Lifetime.CALLER, size: int = 1, maximum: int = 0,
              mode: PoolMode = PoolMode.SESSIONS, reuse: bool = False,
              idle: Optional[float] = None, check: Optional[float] = None,
              runtime_dir: Optional[PathLike] = None, env: Optional[Mapping[str, str]] = None,
              programs: Optional[Programs] = None) -> "Pool":
        """Returns when it is filled. A plan: all sessions have its workspace; a policy: each
        gets that of whoever acquires it. reuse: one that proves itself clean is used again, by
        the same user. maximum: alive at a time, those in use too. idle,
        check: seconds."""
        plan = what if isinstance(what, Plan) else None
        o = _native.immure_pool_options(
            name=encode(name), lifetime=int(lifetime), pool_size=size, pool_max=maximum,
            mode=int(mode),
            idle_ms=_native.milliseconds(idle), check_ms=_native.milliseconds(check),
            supervisor=encode((programs or Programs.find()).supervisor),
            runtime_dir=encode(runtime_dir), env=_native.environment(env),
            policy=None if plan else what._pointer, reuse=int(reuse))
        return cls(made("immure_pool_open", plan._pointer if plan else None, ctypes.byref(o)))

    @classmethod
    def restore(cls, snapshot: str, *, name: Optional[str] = None,
                lifetime: Lifetime = Lifetime.CALLER, size: int = 1, maximum: int = 0,
                idle: Optional[float] = None, check: Optional[float] = None,
                runtime_dir: Optional[PathLike] = None, env: Optional[Mapping[str, str]] = None,
                programs: Optional[Programs] = None) -> "Pool":
        """Sessions that begin with the files of that snapshot, under its policy."""
        o = _native.immure_pool_options(
            name=encode(name), lifetime=int(lifetime), pool_size=size, pool_max=maximum,
            idle_ms=_native.milliseconds(idle), check_ms=_native.milliseconds(check),
            supervisor=encode((programs or Programs.find()).supervisor),
            runtime_dir=encode(runtime_dir), env=_native.environment(env), snapshot=encode(snapshot))
        return cls(made("immure_pool_open", None, ctypes.byref(o)))

    @classmethod
    def open(cls, name: str, *, runtime_dir: Optional[PathLike] = None,
             env: Optional[Mapping[str, str]] = None) -> "Pool":
        """The living pool of that name."""
        o = _native.immure_pool_options(name=encode(name), runtime_dir=encode(runtime_dir),
                                        env=_native.environment(env))
        return cls(made("immure_pool_open", None, ctypes.byref(o)))

    @property
    def _pointer(self) -> int:
        if self._handle is None:
            raise ValueError("the pool is closed")
        return self._handle

    def acquire(self, plan: Optional[Plan] = None, *, workspace: Optional[PathLike] = None,
                owner: Optional[str] = None, wait: Optional[float] = None,
                policy: Optional[Policy] = None,
                settings: "Union[Mapping[str, Values], Iterable[Setting], None]" = None,
                env: Optional[Mapping[str, str]] = None,
                labels: Optional[Mapping[str, str]] = None) -> Session:
        """A session that is the caller's alone; closing it destroys it. plan: the caller's
        own, which must agree with the pool's. wait: seconds, when all are in use. For a pool
        that was started with a policy: workspace (this process's directory unless given),
        policy (the pool's unless given) with settings on top, env (this process's) and
        labels are this caller's; what gives more than the pool's policy is refused."""
        array = setting_array(settings)
        o = _native.immure_acquire_options(
            plan=None if plan is None else plan._pointer, workspace=encode(workspace),
            owner=encode(owner), wait_ms=_native.milliseconds(wait),
            policy=None if policy is None else policy._pointer, settings=array,
            settings_n=len(array), env=_native.environment(env),
            labels=None if labels is None else
            _native.words("%s=%s" % pair for pair in labels.items()))
        return Session(Channel(made("immure_pool_acquire", self._pointer, ctypes.byref(o))))

    def exec(self, argv: Sequence[PathLike], *, plan: Optional[Plan] = None,
             workspace: Optional[PathLike] = None, env: Optional[Mapping[str, str]] = None,
             cwd: Optional[PathLike] = None, stdin: Stream = DEVNULL, stdout: Stream = DEVNULL,
             stderr: Stream = DEVNULL, clear_env: bool = False, timeout: Optional[float] = None,
             grace: Optional[float] = None, limits: Optional[Limits] = None) -> Launch:
        """Starts a command in a sandbox of its own (PoolMode.ZYGOTE). Streams: DEVNULL, PIPE,
        INHERIT (or None), a descriptor or file; stderr also STDOUT. plan, workspace: the
        caller's own, which must agree with the pool's."""
        agree = None
        if plan is not None or workspace is not None:
            agree = ctypes.byref(_native.immure_acquire_options(
                plan=None if plan is None else plan._pointer, workspace=encode(workspace)))
        streams = Streams(stdin, stdout, stderr)
        try:
            o = exec_options(argv, streams, env=env, cwd=cwd, clear_env=clear_env, pty=False,
                             detach=False, timeout=timeout, grace=grace, key=None,
                             capture="summary", capture_max=0, limits=limits)
            pointer = made("immure_pool_exec", self._pointer, ctypes.byref(o), agree)
        except BaseException:
            streams.abandon()
            raise
        streams.done()
        return Launch(pointer, os.fsdecode(argv[0]) if argv else "", streams, self.fileno)

    def run(self, argv: Sequence[PathLike], *, input: "Union[bytes, str, None]" = None,
            stdin: Stream = None, stdout: Stream = None, stderr: Stream = None,
            capture_output: bool = False, text: bool = False, timeout: Optional[float] = None,
            check: bool = False, **options: Any) -> Completed:
        """As subprocess.run, in a sandbox of its own. After timeout seconds it is ended: 124."""
        streams = wanted(input, (stdin, stdout, stderr), capture_output)
        with contextlib.closing(self.exec(argv, stdin=streams[0], stdout=streams[1],
                                          stderr=streams[2], timeout=timeout, **options)) as p:
            out, err = p.communicate(input.encode() if isinstance(input, str) else input)
            done = Completed(argv, p.wait().returncode, decoded(out, text), decoded(err, text))
        return done.check() if check else done

    def fileno(self) -> int:
        """Readable when there is news of what exec() started; -1 before the first."""
        return library().immure_pool_fd(self._pointer)

    def settle(self) -> None:
        """Looks now for what commands left in the tree and the host would obey."""
        call("immure_pool_settle", self._pointer)

    def warm(self, target: int) -> int:
        """Until so many wait; how many were made."""
        return call("immure_pool_warm", self._pointer, target)

    def stats(self) -> Dict[str, Any]:
        return json.loads(string_of("immure_pool_stats", self._pointer))

    def list(self) -> "List[Dict[str, Any]]":
        return json.loads(string_of("immure_pool_list", self._pointer))

    def stop(self, *, force: bool = False) -> None:
        """Ends what waits; what is in use as well when forced."""
        call("immure_pool_stop", self._pointer, 1 if force else 0)

    def close(self) -> None:
        """A pool with its caller's lifetime ends with it."""
        if self._handle is not None:
            library().immure_pool_free(self._handle)
            self._handle = None

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()
