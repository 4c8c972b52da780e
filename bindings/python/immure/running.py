# SPDX-License-Identifier: Apache-2.0
"""One command in a place of its own."""
from __future__ import annotations

import ctypes
import enum
import functools
import json
import os
import select
import time
from dataclasses import dataclass, field
from typing import IO, Any, Dict, List, Mapping, Optional, Sequence, Union

from . import _native, errors
from ._native import PathLike, call, encode, library, made, string_of
from ._streams import DEVNULL, PIPE, STDOUT, Stream, Streams, exchange, remaining
from .policy import Plan, Policy


class Outcome(enum.IntEnum):
    EXITED = 1
    SIGNALED = 2
    REFUSED = 3


class Verdict(enum.IntEnum):
    """What ended or cut it, beyond itself."""

    NONE = 0
    TIMEOUT = 1
    CPU_TIME = 2
    OOM = 3
    PROCESS_LIMIT = 4
    OUTPUT_CAP = 5
    INTERRUPTED = 6


@functools.lru_cache(maxsize=None)
def _beside(program: bytes, name: bytes) -> Optional[bytes]:
    path = os.path.join(os.path.dirname(program), name)
    return path if os.access(path, os.X_OK) else None


@dataclass(frozen=True)
class Programs:
    """Where immure's own programs are; None: the installed ones. Programs.find() obeys
    IMMURE_PROGRAM, and takes the others from beside it."""

    supervisor: Optional[PathLike] = None
    attacker: Optional[PathLike] = None
    egress: Optional[PathLike] = None

    @classmethod
    def find(cls) -> "Programs":
        named = os.environb.get(b"IMMURE_PROGRAM")
        if not named:
            return cls()
        named = os.path.abspath(named)
        return cls(named, _beside(named, b"immure-attack"), _beside(named, b"immure-egress"))


@dataclass(frozen=True)
class Proof:
    """What an attack from inside came to."""

    points: int
    fell_short: int
    text: str
    record: Dict[str, Any]

    @property
    def holds(self) -> bool:
        return self.points > 0 and self.fell_short == 0


class Result(_native.Handle):
    _free = "immure_result_free"

    @property
    def outcome(self) -> Outcome:
        return Outcome(library().immure_result_outcome(self._pointer))

    @property
    def code(self) -> int:
        """The exit code, or the signal."""
        return library().immure_result_code(self._pointer)

    @property
    def verdict(self) -> Verdict:
        return Verdict(library().immure_result_verdict(self._pointer))

    @property
    def exit_status(self) -> int:
        """0 to 255 as a shell expects it."""
        return library().immure_result_exit_status(self._pointer)

    @property
    def notices(self) -> List[str]:
        return _native._text(library().immure_result_notices(self._pointer)).splitlines()

    def print(self, *, json: bool = False) -> str:
        return string_of("immure_result_print", self._pointer, int(json))

    def as_dict(self) -> Dict[str, Any]:
        return json.loads(self.print(json=True))

    @property
    def proof(self) -> Optional[Proof]:
        """When it was asked for."""
        points, short = ctypes.c_uint64(), ctypes.c_uint64()
        library().immure_result_proof_counts(self._pointer, ctypes.byref(points),
                                             ctypes.byref(short))
        if not points.value:
            return None
        return Proof(points.value, short.value,
                     string_of("immure_result_proof", self._pointer, 0),
                     json.loads(string_of("immure_result_proof", self._pointer, 1)))


class Run(_native.Handle):
    """A command that runs; close() kills it and all that it started."""

    _free = "immure_session_free"
    stdin: Optional[IO[bytes]] = None
    stdout: Optional[IO[bytes]] = None
    stderr: Optional[IO[bytes]] = None
    result: Optional[Result] = None

    @classmethod
    def start(cls, plan: Plan, *, stdin: Stream = None, stdout: Stream = None,
              stderr: Stream = None, prove: bool = False, trace_time: bool = False,
              count: bool = False, state_dir: Optional[PathLike] = None,
              env: Optional[Mapping[str, str]] = None, approval: Optional[str] = None,
              programs: Optional[Programs] = None) -> "Run":
        """The streams: None for this process's own, DEVNULL, PIPE, a descriptor or file;
        stderr also STDOUT."""
        at = programs or Programs.find()
        streams = Streams(stdin, stdout, stderr)
        try:
            fds = streams.fds
            o = _native.immure_run_options(
                stdin_fd=fds[0], stdout_fd=fds[1],
                stderr_fd=fds[1] if fds[2] == STDOUT else fds[2],
                flags=(1 if prove else 0) | (2 if trace_time else 0) | (8 if count else 0),
                supervisor=encode(at.supervisor), attacker=encode(at.attacker),
                egress=encode(at.egress), state_dir=encode(state_dir),
                env=_native.environment(env), control_fd=-1, approval=encode(approval))
            run = cls(made("immure_session_start", plan._pointer, ctypes.byref(o)))
        except BaseException:
            streams.abandon()
            raise
        streams.done()
        run.stdin, run.stdout, run.stderr = streams.files()
        return run

    def fileno(self) -> int:
        """Readable when step() has something: for any event loop."""
        return library().immure_session_fd(self._pointer)

    def step(self) -> Optional[Result]:
        """Never blocks."""
        if self.result is None:
            ret = ctypes.c_void_p()
            if call("immure_session_step", self._pointer, ctypes.byref(ret)) == 1:
                self.result = Result(ret.value or 0)
        return self.result

    def signal(self, signo: int) -> None:
        """To the command's process group."""
        call("immure_session_signal", self._pointer, int(signo))

    def wait(self, timeout: Optional[float] = None) -> Result:
        """TimeoutExpired leaves it running."""
        deadline = None if timeout is None else time.monotonic() + timeout
        p = select.poll()
        p.register(self.fileno(), select.POLLIN)
        while True:
            result = self.step()
            if result:
                return result
            left = remaining(deadline)
            if left == 0.0:
                raise errors.TimeoutExpired("it still runs after %s seconds" % timeout)
            p.poll(None if left is None else left * 1000 + 1)

    def communicate(self, input: Optional[bytes] = None,
                    timeout: Optional[float] = None) -> "tuple[bytes, bytes]":
        """Writes input, reads what comes, waits: (stdout, stderr) of those that are pipes."""
        deadline = None if timeout is None else time.monotonic() + timeout
        got = exchange(self.stdin, [self.stdout, self.stderr], input, [self.fileno()],
                       lambda: self.step() is not None, deadline)
        if got is None:
            raise errors.TimeoutExpired("it still runs after %s seconds" % timeout)
        return got[0], got[1]

    def close(self) -> None:
        super().close()
        for f in (self.stdin, self.stdout, self.stderr):
            if f:
                f.close()


@dataclass
class Completed:
    """What became of a command: returncode is 0 to 255 as a shell expects it."""

    args: Sequence[PathLike]
    returncode: int
    stdout: Any = b""
    stderr: Any = b""
    result: Optional[Result] = field(default=None, repr=False)

    def check(self) -> "Completed":
        if self.returncode:
            raise CommandFailed(self)
        return self


class CommandFailed(Exception):
    """check=True, and its exit status was not 0."""

    def __init__(self, completed: Completed) -> None:
        super().__init__("%s: exit status %d" % (os.fsdecode(completed.args[0]) if completed.args
                                                 else "the command", completed.returncode))
        self.completed = completed

    @property
    def returncode(self) -> int:
        return self.completed.returncode


def decoded(value: bytes, text: bool) -> Any:
    return value.decode("utf-8", "replace") if text else value


def run(what: "Union[Plan, Sequence[PathLike]]", policy: Optional[Policy] = None, *,
        cwd: Optional[PathLike] = None, env: Optional[Mapping[str, str]] = None,
        input: "Union[bytes, str, None]" = None, stdin: Stream = None, stdout: Stream = None,
        stderr: Stream = None, capture_output: bool = False, text: bool = False,
        timeout: Optional[float] = None, check: bool = False, prove: bool = False,
        programs: Optional[Programs] = None) -> Completed:
    """As subprocess.run, sealed in: a plan, or an argv under a policy (None: the one that
    is found for this directory). env is the caller's environment; the policy filters it.
    A refusal is an Error; when the time is up everything is ended: TimeoutExpired."""
    if isinstance(what, Plan):
        return _run(what, (), input, (stdin, stdout, stderr), capture_output, text, timeout, check,
                    prove, env, programs)
    own = Policy.load(env=env) if policy is None else None
    try:
        with Plan.create(policy or own, what, env=env, cwd=cwd) as plan:  # type: ignore[arg-type]
            return _run(plan, what, input, (stdin, stdout, stderr), capture_output, text, timeout,
                        check, prove, env, programs)
    finally:
        if own:
            own.close()


def _run(plan: Plan, args: Sequence[PathLike], input: "Union[bytes, str, None]", streams: Any,
         capture: bool, text: bool, timeout: Optional[float], check: bool, prove: bool,
         env: Optional[Mapping[str, str]], programs: Optional[Programs]) -> Completed:
    stdin, stdout, stderr = wanted(input, streams, capture)
    data = input.encode() if isinstance(input, str) else input
    with Run.start(plan, stdin=stdin, stdout=stdout, stderr=stderr, prove=prove, env=env,
                   programs=programs) as r:
        out, err = r.communicate(data, timeout)
        result = r.wait()
    done = Completed(args, result.exit_status, decoded(out, text), decoded(err, text), result)
    return done.check() if check else done


def wanted(input: Any, streams: "tuple[Stream, Stream, Stream]",
           capture: bool) -> "tuple[Stream, Stream, Stream]":
    stdin, stdout, stderr = streams
    if input is not None and stdin is not None:
        raise ValueError("stdin and input exclude each other")
    if capture and (stdout is not None or stderr is not None):
        raise ValueError("stdout and stderr are not given together with capture_output")
    return (PIPE if input is not None else stdin,
            *((PIPE, PIPE) if capture else (stdout, stderr)))


__all__ = ["Completed", "CommandFailed", "DEVNULL", "Outcome", "PIPE", "Programs", "Proof", "Result",
           "Run", "STDOUT", "Verdict", "run"]
