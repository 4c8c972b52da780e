# SPDX-License-Identifier: Apache-2.0
"""Sessions and runs for asyncio. The loop watches the session's descriptor; requests
that wait for an answer are made in the loop's executor, so the loop never stands still."""
from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from typing import (IO, Any, AsyncIterator, Callable, Dict, Generator, Iterable, List, Mapping, Optional,
                    Sequence, Set, Union)

from . import errors, session as blocking
from ._channel import Channel, Exit, Output, State
from ._native import PathLike
from ._streams import Stream, _drain, select_now
from .policy import Facts, Plan, Policy
from .running import Completed, Programs, Result, Run, decoded, wanted
from .session import FileInfo, Target


class _Watch:
    """What the loop knows of one channel."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.loop = asyncio.get_running_loop()
        self.fd = channel.fileno()
        self.waiters: "Set[asyncio.Future[None]]" = set()
        self.busy = False  # a call is under way in another thread
        self.watching = False
        self.turn = asyncio.Lock()
        self.update()

    def update(self) -> None:
        c = self.channel
        want = not (self.busy or c.closed or c.ended or c.full())
        if want and not self.watching:
            self.loop.add_reader(self.fd, self.ready)
        elif self.watching and not want:
            self.loop.remove_reader(self.fd)
        self.watching = want

    def ready(self) -> None:
        if not self.busy and not self.channel.closed:
            with contextlib.suppress(errors.Error):  # whoever asks next is told
                self.channel.pump()
        self.update()
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def until(self, check: Callable[[], Any], end: bool = False) -> Any:
        self.channel.waiting += end
        try:
            while True:
                if not self.busy and not self.channel.closed:
                    self.channel.pump()
                found = check()
                self.update()
                if found is not None:
                    return found
                if self.channel.ended or self.channel.closed:
                    raise errors.StateError(errors.ErrorCode.STATE, "the session has ended",
                                            stage="wait")
                waiter: "asyncio.Future[None]" = self.loop.create_future()
                self.waiters.add(waiter)
                try:
                    await waiter
                finally:
                    self.waiters.discard(waiter)
        finally:
            self.channel.waiting -= end
            self.update()

    async def off(self, function: Callable[..., Any], *args: Any) -> Any:
        """In another thread, one at a time. When the caller is cancelled it goes on, and
        the loop stays away from the channel until it is over."""
        await self.turn.acquire()
        self.busy = True
        self.update()
        future = self.loop.run_in_executor(None, lambda: function(*args))

        def over(done: "asyncio.Future[Any]") -> None:
            self.busy = False
            self.turn.release()
            self.ready()
            if not done.cancelled():
                done.exception()  # seen, also when nobody waits any more
        future.add_done_callback(over)
        return await asyncio.shield(future)


async def _exchange(loop: asyncio.AbstractEventLoop, stdin: Optional[IO[bytes]],
                    outputs: "List[Optional[IO[bytes]]]", data: Optional[bytes],
                    end: "Callable[[], Any]") -> "List[bytes]":
    """Writes and reads until end(), a coroutine function, has returned."""
    got: Dict[Any, bytearray] = {f: bytearray() for f in outputs if f}
    view = memoryview(data or b"")

    def read(f: IO[bytes]) -> None:
        if _drain(f, got[f]):
            loop.remove_reader(f.fileno())

    def write() -> None:
        nonlocal view
        try:
            view = view[os.write(stdin.fileno(), view[:1 << 16]):]  # type: ignore[union-attr]
        except BlockingIOError:
            return
        except BrokenPipeError:
            view = view[:0]
        if not len(view):
            finish()

    def finish() -> None:
        if stdin and not stdin.closed:
            loop.remove_writer(stdin.fileno())
            stdin.close()

    for f in got:
        os.set_blocking(f.fileno(), False)
        loop.add_reader(f.fileno(), read, f)
    if stdin and len(view):
        os.set_blocking(stdin.fileno(), False)
        loop.add_writer(stdin.fileno(), write)
    else:
        finish()
    try:
        await end()
    finally:
        for f in got:
            loop.remove_reader(f.fileno())
        finish()
    for f in got:
        with contextlib.suppress(OSError):
            while not _drain(f, got[f]) and select_now(f):
                pass
    return [bytes(got[f]) if f else b"" for f in outputs]


class Process:
    """A command in a session: `async for` gives its output until it has ended."""

    def __init__(self, session: "Session", inner: blocking.Process) -> None:
        self._session = session
        self._inner = inner
        self._state: State = inner._state

    @property
    def id(self) -> int:
        return self._inner.id

    @property
    def pid(self) -> int:
        return self._inner.pid

    @property
    def has_terminal(self) -> bool:
        return self._inner.has_terminal

    @property
    def stdin(self) -> Optional[IO[bytes]]:
        return self._inner.stdin

    @property
    def stdout(self) -> Optional[IO[bytes]]:
        return self._inner.stdout

    @property
    def stderr(self) -> Optional[IO[bytes]]:
        return self._inner.stderr

    async def wait(self) -> Exit:
        return await self._session._watch.until(self._state.outcome, end=True)

    async def __aiter__(self) -> "AsyncIterator[Output]":
        self._state.reading = True
        try:
            while True:
                e = await self._session._watch.until(
                    lambda: self._state.take() or self._state.outcome())
                if isinstance(e, Exit):
                    return
                yield e
        finally:
            self._state.reading = False
            self._session._watch.update()

    async def communicate(self, input: Optional[bytes] = None) -> "tuple[bytes, bytes]":
        got = await _exchange(asyncio.get_running_loop(), self.stdin, [self.stdout, self.stderr],
                              input, self.wait)
        return got[0], got[1]

    async def write(self, data: bytes, *, eof: bool = False) -> None:
        pieces = [data[i:i + 32768] for i in range(0, len(data), 32768)] or [b""]
        for i, piece in enumerate(pieces):
            last = eof and i == len(pieces) - 1
            await self._session._watch.off(
                lambda p=piece, e=last: self._inner.write(p, eof=e))

    async def signal(self, signo: int, target: Target = Target.GROUP) -> None:
        await self._session._watch.off(self._inner.signal, signo, target)

    async def resize(self, rows: int, cols: int) -> None:
        await self._session._watch.off(self._inner.resize, rows, cols)


class _Making:
    """`await` it for the session, or enter it with `async with`."""

    def __init__(self, make: Callable[[], blocking.Session]) -> None:
        self._make = make
        self._session: Optional[Session] = None

    def __await__(self) -> "Generator[Any, None, Session]":
        return self._run().__await__()

    async def _run(self) -> "Session":
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(None, self._make)
        try:
            return Session(await asyncio.shield(future))
        except asyncio.CancelledError:
            def drop(done: "asyncio.Future[blocking.Session]") -> None:
                if not done.exception():
                    done.result().close()
            future.add_done_callback(drop)
            raise

    async def __aenter__(self) -> "Session":
        self._session = await self._run()
        return self._session

    async def __aexit__(self, *_: Any) -> None:
        if self._session:
            await self._session.close()


class Session:
    """Made by `async with Session.create(plan) as session` or `await Session.open(name)`."""

    def __init__(self, inner: blocking.Session) -> None:
        self._inner = inner
        self._channel = inner._channel
        self._watch = _Watch(inner._channel)

    @staticmethod
    def create(plan: Plan, **options: Any) -> _Making:
        """The arguments of immure.Session.create()."""
        return _Making(lambda: blocking.Session.create(plan, **options))

    @staticmethod
    async def create_many(plan: Plan, count: int, **options: Any) -> List[Dict[str, Any]]:
        """The arguments of immure.Session.create_many()."""
        return await asyncio.get_running_loop().run_in_executor(
            None, lambda: blocking.Session.create_many(plan, count, **options))

    @staticmethod
    def resume(snapshot: str, **options: Any) -> _Making:
        """The arguments of immure.Session.resume()."""
        return _Making(lambda: blocking.Session.resume(snapshot, **options))

    async def snapshot(self, **options: Any) -> Dict[str, Any]:
        """The arguments of immure.Session.snapshot()."""
        return await self._watch.off(lambda: self._inner.snapshot(**options))

    async def fork(self, count: int = 1, **options: Any) -> "List[Session]":
        """The arguments of immure.Session.fork()."""
        made = await self._watch.off(lambda: self._inner.fork(count, **options))
        return [Session(inner) for inner in made]

    @staticmethod
    def open(name: str, **options: Any) -> _Making:
        return _Making(lambda: blocking.Session.open(name, **options))

    @property
    def id(self) -> str:
        return self._channel.id

    @property
    def ended(self) -> bool:
        return self._channel.ended

    async def exec(self, argv: Sequence[PathLike], **options: Any) -> Process:
        """The arguments of immure.Session.exec()."""
        return Process(self, await self._watch.off(lambda: self._inner.exec(argv, **options)))

    async def attach(self, exec: int) -> Process:
        return Process(self, await self._watch.off(self._inner.attach, exec))

    async def run(self, argv: Sequence[PathLike], *, input: "Union[bytes, str, None]" = None,
                  stdin: Stream = None, stdout: Stream = None, stderr: Stream = None,
                  capture_output: bool = False, text: bool = False,
                  timeout: Optional[float] = None, check: bool = False,
                  **options: Any) -> Completed:
        """As immure.Session.run(). When the caller is cancelled the command is killed."""
        streams = wanted(input, (stdin, stdout, stderr), capture_output)
        p = await self.exec(argv, stdin=streams[0], stdout=streams[1], stderr=streams[2],
                            timeout=timeout, **options)
        try:
            out, err = await p.communicate(input.encode() if isinstance(input, str) else input)
            ended = await p.wait()
        except asyncio.CancelledError:
            with contextlib.suppress(errors.Error):
                await asyncio.shield(p.signal(9, Target.TREE))
            raise
        finally:
            for f in (p.stdin, p.stdout, p.stderr):
                if f:
                    f.close()
        done = Completed(argv, ended.returncode, decoded(out, text), decoded(err, text))
        return done.check() if check else done

    async def kill(self, signo: int) -> None:
        await self._watch.off(self._inner.kill, signo)

    async def freeze(self) -> None:
        await self._watch.off(self._inner.freeze)

    async def thaw(self) -> None:
        await self._watch.off(self._inner.thaw)

    async def detach(self) -> None:
        await self._watch.off(self._inner.detach)

    async def ticket(self, valid: Optional[float] = None) -> str:
        return await self._watch.off(self._inner.ticket, valid)

    async def request(self, op: str, **arguments: Any) -> Dict[str, Any]:
        return await self._watch.off(lambda: self._inner.request(op, **arguments))

    async def inspect(self) -> Dict[str, Any]:
        return await self.request("inspect")

    async def denials(self) -> "AsyncIterator[Dict[str, Any]]":
        """As immure.Session.denials(), from when the first is asked for."""
        channel = self._watch.channel
        await self.request("net", follow=True)
        try:
            while True:
                try:
                    found = await self._watch.until(
                        lambda: channel.denials.popleft() if channel.denials else None)
                except errors.StateError:
                    return
                yield found
        finally:
            if not channel.ended:
                with contextlib.suppress(errors.Error):
                    await self.request("net", follow=False)
            channel.denials.clear()

    async def proof(self) -> Dict[str, Any]:
        return await self._watch.off(self._inner.proof)

    async def tighten(self, deny: Iterable[PathLike] = (),
                      read_only: Iterable[PathLike] = ()) -> Dict[str, Any]:
        return await self._watch.off(lambda: self._inner.tighten(deny, read_only))

    async def stats(self) -> Dict[str, Any]:
        return await self.request("stats")

    async def execs(self) -> Dict[str, Any]:
        return await self.request("execs")

    # ---- files, by their paths inside ----

    async def read_file(self, path: PathLike, limit: Optional[int] = None) -> bytes:
        """Its content, or the first `limit` bytes."""
        return await self._watch.off(self._inner.read_file, path, limit)

    async def write_file(self, path: PathLike, data: bytes, *, append: bool = False) -> None:
        await self._watch.off(lambda: self._inner.write_file(path, data, append=append))

    async def copy_in(self, source: PathLike, path: PathLike) -> int:
        """A file of this side to one inside; how many bytes."""
        return await self._watch.off(self._inner.copy_in, source, path)

    async def copy_out(self, path: PathLike, target: PathLike) -> int:
        return await self._watch.off(self._inner.copy_out, path, target)

    async def stat(self, path: PathLike) -> FileInfo:
        return await self._watch.off(self._inner.stat, path)

    async def list_files(self, path: PathLike) -> List[Dict[str, Any]]:
        return await self._watch.off(self._inner.list_files, path)

    async def remove_file(self, path: PathLike) -> None:
        await self._watch.off(self._inner.remove_file, path)

    async def rename_file(self, old: PathLike, new: PathLike) -> None:
        await self._watch.off(self._inner.rename_file, old, new)

    async def make_directory(self, path: PathLike, mode: int = 0o755) -> None:
        await self._watch.off(self._inner.make_directory, path, mode)

    async def stop(self, grace: float = 2.0, *, remove: bool = False) -> None:
        await self._watch.off(lambda: self._inner.stop(grace, remove=remove))

    async def wait_ended(self) -> None:
        """Until the session is over, whoever ended it."""
        with contextlib.suppress(errors.StateError):
            await self._watch.until(lambda: None)

    async def close(self) -> None:
        if not self._channel.closed:
            await self._watch.off(self._inner.close)

    async def __aenter__(self) -> "Session":
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()


async def probe(*, full: bool = True, env: Optional[Mapping[str, str]] = None) -> Facts:
    """As immure.Facts.probe(), which tries things for about a tenth of a second."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(None, lambda: Facts.probe(full=full, env=env))


async def wait(run: Run) -> Result:
    """The end of a run that immure.Run.start() started."""
    result = run.step()
    if result:
        return result
    loop = asyncio.get_running_loop()
    ended: "asyncio.Future[Result]" = loop.create_future()

    def look() -> None:
        try:
            found = run.step()
        except errors.Error as e:
            if not ended.done():
                ended.set_exception(e)
        else:
            if found and not ended.done():
                ended.set_result(found)

    fd = run.fileno()
    loop.add_reader(fd, look)
    try:
        return await ended
    finally:
        loop.remove_reader(fd)


async def run(what: "Union[Plan, Sequence[PathLike]]", policy: Optional[Policy] = None, *,
              cwd: Optional[PathLike] = None, env: Optional[Mapping[str, str]] = None,
              input: "Union[bytes, str, None]" = None, stdin: Stream = None,
              stdout: Stream = None, stderr: Stream = None, capture_output: bool = False,
              text: bool = False, check: bool = False, prove: bool = False,
              programs: Optional[Programs] = None) -> Completed:
    """As immure.run(). When the caller is cancelled everything is ended."""
    loop = asyncio.get_running_loop()
    args: Sequence[PathLike] = () if isinstance(what, Plan) else what
    own: Optional[Plan] = None
    if isinstance(what, Plan):
        plan = what
    else:
        used = policy or await loop.run_in_executor(None, lambda: Policy.load(env=env))
        plan = own = await loop.run_in_executor(
            None, functools.partial(Plan.create, used, args, env=env, cwd=cwd))
    i, o, e = wanted(input, (stdin, stdout, stderr), capture_output)
    try:
        with Run.start(plan, stdin=i, stdout=o, stderr=e, prove=prove, env=env,
                       programs=programs) as r:
            out, err = await _exchange(
                loop, r.stdin, [r.stdout, r.stderr],
                input.encode() if isinstance(input, str) else input, lambda: wait(r))
            result = await wait(r)
    finally:
        if own:
            own.close()
    done = Completed(args, result.exit_status, decoded(out, text), decoded(err, text), result)
    return done.check() if check else done
