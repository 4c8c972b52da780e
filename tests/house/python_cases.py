# SPDX-License-Identifier: Apache-2.0
"""python_cases.py WORKSPACE CASE: a host program of the Python binding. After every
case the process must be as it was: descriptors, children."""
import asyncio
import contextlib
import gc
import io
import os
import pathlib
import pickle
import signal
import sys
import threading
import time

import immure
from immure import aio

WORKSPACE = sys.argv[1]


def policy(**kw):
    return immure.Policy.load(profile="strict", workspace=WORKSPACE, discover=False, **kw)


@contextlib.contextmanager
def raises(kind):
    class Caught:
        error = None
    try:
        yield Caught
    except kind as e:
        Caught.error = e
    else:
        raise AssertionError("%s was not raised" % kind.__name__)


def sh(script):
    return ["/bin/sh", "-c", script]


@contextlib.contextmanager
def session(**kw):
    with policy() as p, immure.Plan.create(p, ["true"]) as plan, \
            immure.Session.create(plan, **kw) as s:
        yield s


# ---- policy, facts, plan ----


def case_images():
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "live"))
    import imagelab
    top = pathlib.Path(WORKSPACE) / "images"
    lay = imagelab.Layout(top / "layout")
    digest = lay.add([[imagelab.entry("f", "x")]], config={"Cmd": ["/f"]})
    images = immure.Images(env={"HOME": str(top), "XDG_STATE_HOME": str(top / "state")},
                           worker=str(pathlib.Path(os.environ["IMMURE_PROGRAM"]).parent / "immure-image"))
    assert images.list() == []
    assert images.import_(top / "layout", name="x:1")["digest"] == digest
    one, = images.list()
    assert (one.digest, one.names, one.layers, one.bytes) == (digest, ["x:1"], 1, 1)
    assert images.inspect("x:1")["cmd"] == ["/f"] and images.verify(digest[7:19])["whole"]
    with raises(immure.NoImage):
        images.verify("y:1")
    with raises(immure.NoImage):
        images.import_(top / "none")
    with raises(immure.InvalidArgument):
        images.import_(top / "layout", name="../x")
    next((top / "state/immure/images/layers").glob("*/tree/f")).write_text("y")
    with raises(immure.TrustError) as caught:
        images.verify("x:1")
    assert "was changed" in str(caught.error)
    assert images.remove("x:1") == {"images": 1, "layers": 1, "leftovers": 0, "in_use": 0}
    assert images.gc()["images"] == 0


def case_policy():
    with policy(settings={"limits.memory": "64M",
                          "files.deny": ["/etc/hostname", "/etc/hosts"]}) as p:
        assert p.version.startswith("policy-")
        shown = p.show()
        assert "64" in shown and "/etc/hosts" in shown and "python" in shown
        assert isinstance(p.as_dict(), dict)
    assert p.closed
    with raises(immure.StateError):
        p.version
    with raises(immure.PolicyError) as caught:
        immure.Policy.load(settings={"limits.memory": "much"}, discover=False)
    assert caught.error.code is immure.ErrorCode.POLICY and caught.error.subject
    with raises(immure.PolicyError):
        immure.Policy.parse('{"nonsense": 1}', "x.json")
    assert immure.Policy.parse("{}", "x.json").version
    assert "strict" in immure.profiles() and "$schema" in immure.schema()
    assert any(f.key == "network.mode" and "none" in f.choices for f in immure.flags())
    again = pickle.loads(pickle.dumps(caught.error))
    assert (type(again), again.code, again.subject, str(again)) == (
        immure.PolicyError, caught.error.code, caught.error.subject, str(caught.error))


def case_import():
    got = immure.import_policy("srt", '{"network": {"allowedDomains": ["example.org"]}}')
    assert "example.org" in got.policy
    immure.Policy.parse(got.policy, "imported.json").close()
    assert all(isinstance(n.kind, immure.NoteKind) and n.why for n in got.notes)
    with raises(immure.InvalidArgument):
        immure.import_policy("nonsense", "{}")


def case_facts():
    with immure.Facts.probe() as facts:
        assert "native" in facts.report()
        assert isinstance(facts.as_dict(), dict)


def case_scope():
    with policy() as p:  # of which no limit is asked
        assert not immure.enter_scope(p)
    nowhere = {"XDG_RUNTIME_DIR": str(pathlib.Path(WORKSPACE) / "nowhere")}
    assert not immure.enter_scope(env=nowhere)


def case_plan():
    with policy() as p, immure.Plan.create(p, sh("exit 0")) as plan:
        assert plan.gaps == []
        plan.check()
        sealed = plan.seal()
        with immure.Plan.open(sealed) as copy:
            assert copy.hash == plan.hash and len(plan.hash) == 64
        with raises(immure.Error):
            immure.Plan.open(sealed[:-1])
        assert isinstance(plan.as_dict(), dict) and "/bin/sh" in plan.print()
        assert WORKSPACE in plan.summary() and "no network" in plan.summary()
    with policy(settings={"backend": "microvm"}) as p, immure.Plan.create(p, ["true"]) as plan:
        assert plan.gaps and not plan.gaps[0].approved and plan.gaps[0].what
        with raises(immure.GapError):
            plan.check()
        with raises(immure.GapError):
            immure.run(plan)
        with raises(immure.GapError):
            immure.Session.create(plan)


def case_wrap():
    with policy() as p:
        w = immure.wrap(p, sh("exit $CODE"), env={"CODE": "6"}, program="/p")
        assert w.argv[0] == "/p" and w.argv[-1] == "exit $CODE" and w.env == {}
        assert immure.wrap(p, w.argv, env={"CODE": "6"}, program="/p").argv == w.argv
        assert w.policy_version.startswith("policy-")
    w = immure.wrap(None, ["true"], session="some", program="/p")
    assert "some" in w.argv and w.argv[-1] == "true" and w.policy_version == ""
    # A platform that is not this one: what it would start from.
    with policy(settings={"backend": "seatbelt"}) as p, immure.Plan.create(p, ["true"]) as plan:
        assert plan.gaps and "(version 1)" in plan.render()


# ---- one command ----


def case_run():
    with policy() as p:
        done = immure.run(sh("cat; echo err >&2; exit 7"), p, input="in\n", capture_output=True,
                          text=True)
        assert (done.returncode, done.stdout, done.stderr) == (7, "in\n", "err\n")
        assert done.result.outcome is immure.Outcome.EXITED and done.result.code == 7
        assert done.result.verdict is immure.Verdict.NONE and done.result.notices == []
        assert done.result.as_dict() and done.result.proof is None
        assert immure.run(sh("kill -TERM $$"), p).returncode == 128 + signal.SIGTERM
        with raises(immure.NotFound) as caught:
            immure.run(["no-such-program"], p)
        assert "no-such-program" in str(caught.error)
        with raises(immure.NotExecutable):
            immure.run(["/etc/passwd"], p)
        with raises(immure.CommandFailed) as failed:
            immure.run(sh("exit 9"), p, check=True)
        assert failed.error.returncode == 9
        big = b"x" * 3000000
        assert immure.run(["cat"], p, input=big, capture_output=True).stdout == big
        # Input that nobody reads, and output that somebody in the background holds open.
        assert immure.run(["true"], p, input=big, capture_output=True).returncode == 0
        with raises(TypeError):
            immure.run("echo", p)
        with raises(immure.LaunchError) as launch:
            immure.run(["true"], p, programs=immure.Programs("/no/such/immure"))
        assert launch.error.errno == 2


def case_run_times_out():
    with policy() as p:
        with raises(immure.TimeoutExpired):
            immure.run(["sleep", "60"], p, timeout=0.3)
        limited = policy(settings={"limits.wall_time": "300ms"})
        done = immure.run(["sleep", "60"], limited)
        assert (done.returncode, done.result.verdict) == (124, immure.Verdict.TIMEOUT)
        limited.close()


def case_run_by_steps():
    with policy() as p, immure.Plan.create(p, sh("echo; exec sleep 60")) as plan:
        with immure.Run.start(plan, stdin=immure.DEVNULL, stdout=immure.PIPE,
                              stderr=immure.STDOUT) as r:
            assert r.stdout.read(1) == b"\n"
            assert r.step() is None and r.fileno() >= 0
            with raises(immure.TimeoutExpired):
                r.wait(0.05)
            with raises(immure.InvalidArgument):
                r.signal(0)
            r.signal(signal.SIGTERM)
            result = r.wait()
            assert (result.outcome, result.code) == (immure.Outcome.SIGNALED, signal.SIGTERM)
            assert r.wait() is result
        # Closing one that runs ends everything in it.
        with immure.Run.start(plan, stdout=immure.PIPE) as r:
            out = os.fdopen(os.dup(r.stdout.fileno()), "rb")
            assert out.read(1) == b"\n"
        assert out.read() == b""
        out.close()


def case_prove():
    with policy() as p:
        done = immure.run(["true"], p, prove=True)
        assert done.result.proof.holds and done.result.proof.points >= 45
        assert done.result.proof.record and done.result.proof.text


# ---- sessions ----


def case_session():
    with session(name="py%d" % os.getpid(), labels={"for": "tests"}) as s:
        assert s.run(sh("echo kept > /tmp/file; exit 3")).returncode == 3
        done = s.run(sh("cat /tmp/file; cat; echo err >&2"), input="in", capture_output=True,
                     text=True, check=True)
        assert (done.stdout, done.stderr) == ("kept\nin", "err\n")
        assert s.run(sh("kill -KILL $$")).returncode == 128 + signal.SIGKILL
        assert s.run(["sleep", "60"], timeout=0.2).returncode == 124
        assert s.run(sh("echo $A"), env={"A": "b"}, capture_output=True).stdout == b"b\n"
        with raises(immure.CommandFailed):
            s.run(["false"], check=True)
        big = bytes(range(256)) * 8192
        assert s.run(["cat"], input=big, capture_output=True).stdout == big
        for found in (immure.NotFound, "no-such-command"), (immure.NotExecutable, "/etc/passwd"):
            with raises(found[0]):  # over the lane, and by way of the supervisor
                s.run([found[1]])
            with raises(found[0]):
                s.exec([found[1]])
        with raises(immure.PolicyError):
            s.exec(["true"], env={"LD_PRELOAD": "/x"})
        # What goes on in the background does not delay the end.
        began = time.monotonic()
        assert s.run(sh("echo a; sleep 30 & exit 0"), capture_output=True).stdout == b"a\n"
        assert time.monotonic() - began < 10
        assert s.inspect()["labels"] == {"for": "tests"}
        assert s.stats()["state"] == "RUNNING"
        assert [e["session"] for e in immure.Session.list() if e["name"] == "py%d" % os.getpid()
                ] == [s.id]
        with immure.Session.open("py%d" % os.getpid()) as other:
            assert other.id == s.id and other.run(["true"]).returncode == 0
        with immure.Session.connect(s.id) as raw:
            raw.send(b'{"id":1,"op":"hello","protocol":1}')
            assert s.id.encode() in raw.recv(4096)
        with s.open_file("/tmp/file") as f:
            assert f.read() == b"kept\n"
        with raises(immure.InputOutputError) as caught:
            s.open_file("/tmp/none")
        assert caught.error.errno == 2
        with raises(immure.StateError):  # it was not made twice
            with policy() as p, immure.Plan.create(p, ["true"]) as plan:
                immure.Session.create(plan, name="py%d" % os.getpid())
    with raises(immure.NoSession):
        immure.Session.open("py%d" % os.getpid())
    with raises(immure.StateError):
        s.run(["true"])


def case_many_sessions():
    name = "pym%d" % os.getpid()
    with policy() as p, immure.Plan.create(p, ["true"]) as plan:
        made = immure.Session.create_many(plan, 3, name=name)
        assert [m["name"] for m in made] == [name + "-1", name + "-2", name + "-3"]
        for m in made:
            with immure.Session.open(m["name"]) as s:
                assert s.id == m["session"] and s.run(["true"]).returncode == 0
                s.stop(remove=True)
        with raises(immure.InvalidArgument):
            immure.Session.create_many(plan, 3, lifetime=immure.Lifetime.CALLER)


def case_snapshots():
    name = "pys%d" % os.getpid()
    with session() as s:
        s.write_file("/tmp/f", b"kept")
        taken = s.snapshot(name=name, labels={"for": "tests"})
        try:
            assert taken["about"]["contains"] == ["files"]
            assert taken["id"] in [row["id"] for row in immure.snapshots.snapshots()]
            assert immure.snapshots.inspect(name)["labels"] == {"for": "tests"}
            with immure.Session.resume(name, settings={"limits.wall_time": "1m"}) as other:
                assert other.read_file("/tmp/f") == b"kept" and other.id != s.id
            one, two = s.fork(2)
            with one, two:
                one.write_file("/tmp/f", b"its own")
                assert two.read_file("/tmp/f") == s.read_file("/tmp/f") == b"kept"
        finally:
            immure.snapshots.remove(name)
    with raises(immure.SnapshotError) as caught:
        immure.Session.resume(name)
    assert caught.error.code == immure.ErrorCode.SNAPSHOT


def case_streams():
    with session() as s:
        p = s.exec(sh("printf out; printf err >&2; exit 5"))
        got = {1: b"", 2: b""}
        for output in p:
            assert output.cursor == len(got[output.stream]) and len(output.sha256) == 64
            got[output.stream] += output.data
        assert got == {1: b"out", 2: b"err"}
        ended = p.wait()
        assert (ended.returncode, ended.stdout_bytes, ended.stderr_bytes) == (5, 3, 3)
        assert p.poll() == ended and p.id > 0 and not p.has_terminal
        # All of it, in order, however slow the reader.
        size = 0
        p = s.exec(["head", "-c", "20000000", "/dev/zero"])
        for i, output in enumerate(p):
            assert (output.lost, output.cursor) == (0, size)
            size += len(output.data)
            if i < 3:
                time.sleep(0.1)
        assert size == 20000000
        # Nobody reads: the end is seen all the same, and what was dropped is told.
        p = s.exec(["head", "-c", "20000000", "/dev/zero"])
        assert p.wait().stdout_bytes == 20000000
        rest = list(p)
        assert rest[0].cursor + sum(len(o.data) for o in rest) >= 4000000
        assert sum(o.lost + len(o.data) for o in rest) == 20000000
        # Input.
        p = s.exec(["cat"], stdin=immure.EVENTS)
        p.write(b"one ")
        p.write(b"two", eof=True)
        assert b"".join(o.data for o in p) == b"one two"
        # A terminal.
        p = s.exec(sh("stty size; read x; echo got $x; exit 4"), pty=(33, 77))
        assert p.has_terminal
        p.write(b"line\n")
        assert b"33 77" in (text := b"".join(o.data for o in p)) and b"got line" in text
        assert p.wait().returncode == 4
        # Signals, and what attach replays.
        p = s.exec(["sleep", "60"], capture="content")
        with raises(immure.TimeoutExpired):
            p.wait(0.05)
        p.signal(signal.SIGINT)
        assert p.wait().returncode == 128 + signal.SIGINT
        first = s.exec(sh("echo once"), key="k", capture="content")
        first.wait()
        again = s.exec(sh("echo once"), key="k", capture="content")
        assert (again.id, again.wait()) == (first.id, first.wait())
        again = s.attach(first.id)
        assert b"".join(o.data for o in again) == b"once\n"


def case_files():
    with session() as s:
        s.make_directory("/tmp/t")  # the workspace may lie in /tmp as well
        with s.open_file("/tmp/t/f", "w") as f:
            f.write("12345")
        info = s.stat("/tmp/t/f")
        assert (info.type, info.bytes, info.mode & 0o600) == (immure.FileType.REGULAR, 5, 0o600)
        assert abs(info.modified - time.time()) < 600
        s.make_directory("/tmp/t/d")
        assert s.stat("/tmp/t/d").type is immure.FileType.DIRECTORY
        assert s.stat("/").type is immure.FileType.DIRECTORY
        s.rename_file("/tmp/t/f", "/tmp/t/d/g")
        # Links that were planted inside lead nowhere: to what is there inside, at most.
        s.run(sh("ln -s /etc/passwd /tmp/t/link; ln -s ../../../../.. /tmp/t/up; mkfifo /tmp/t/pipe"),
              check=True)
        assert s.stat("/tmp/t/link").type is immure.FileType.LINK
        assert s.stat("/tmp/t/pipe").type is immure.FileType.OTHER
        assert {e["name"]: e["type"] for e in s.list_files("/tmp/t/d")} == {"g": "file"}
        assert {e["name"]: e["type"] for e in s.list_files("/tmp/t/up/tmp/t")} == {
            "d": "directory", "link": "link", "up": "link", "pipe": "other"}
        for wrong in lambda: s.remove_file("/tmp/t/d"), lambda: s.stat("/tmp/t/none"):
            with raises(immure.InputOutputError):
                wrong()
        for wrong in "/tmp/t/..", "/tmp/t/d/", ".", "":
            with raises(immure.InvalidArgument):
                s.remove_file(wrong)
        with raises(immure.InputOutputError):  # what is not there inside
            s.make_directory("/root/not-there/immure-test")
        with raises(immure.InputOutputError):  # what is read-only inside is so from here as well
            s.make_directory("/usr/immure-test")
        for gone in "/tmp/t/link", "/tmp/t/up", "/tmp/t/pipe", "/tmp/t/d/g", "/tmp/t/d":
            s.remove_file(gone)
        assert s.list_files("/tmp/t") == []
        assert os.path.exists("/etc/passwd")


def case_file_contents():
    with session() as s:
        s.make_directory("/tmp/t")
        s.write_file("/tmp/t/f", b"one\n")
        s.write_file("/tmp/t/f", b"two\n", append=True)
        assert s.read_file("/tmp/t/f") == b"one\ntwo\n" and s.read_file("/tmp/t/f", 3) == b"one"
        assert s.run(["cat", "/tmp/t/f"], capture_output=True).stdout == b"one\ntwo\n"
        big = os.path.join(WORKSPACE, "big")
        with open(big, "wb") as f:
            f.write(bytes(range(256)) * 8000)
        assert s.copy_in(big, "/tmp/t/big") == s.copy_out("/tmp/t/big", big + "2") == 2048000
        with open(big, "rb") as f, open(big + "2", "rb") as g:
            assert f.read() == g.read()
        with raises(immure.InputOutputError):
            s.read_file("/tmp/t/none")


def case_aio_files():
    async def main():
        with policy() as pol, immure.Plan.create(pol, ["true"]) as plan:
            async with aio.Session.create(plan) as s:
                await s.make_directory("/tmp/t")
                await asyncio.gather(*[s.write_file("/tmp/t/%d" % i, b"%d" % i) for i in range(5)])
                got = await asyncio.gather(*[s.read_file("/tmp/t/%d" % i) for i in range(5)])
                assert got == [b"%d" % i for i in range(5)]
                await s.rename_file("/tmp/t/4", "/tmp/t/last")
                assert {e["name"] for e in await s.list_files("/tmp/t")} == set("0123") | {"last"}
                assert (await s.stat("/tmp/t/last")).bytes == 1
                host = os.path.join(WORKSPACE, "f")
                assert await s.copy_out("/tmp/t/last", host) == 1
                await s.write_file("/tmp/t/last", b"+", append=True)
                assert await s.copy_in(host, "/tmp/t/back") == 1
                assert await s.read_file("/tmp/t/last", 1) == await s.read_file("/tmp/t/back")
                await s.remove_file("/tmp/t/back")
                with raises(immure.InputOutputError):
                    await s.read_file("/tmp/t/back")
                assert (await s.execs())["execs"] == []
        with await aio.probe(full=False) as facts:
            assert "native" in facts.report()
    asyncio.run(main())


def case_session_life():
    with session(lifetime=immure.Lifetime.DETACHED) as s:
        name = s.id
    with session(prove=True) as s:
        assert s.proof()["holds"] and s.proof()["held"] > 50
    with immure.Session.open(name) as s:
        with raises(immure.Error):
            s.proof()
        p = s.exec(["sleep", "60"])
        assert s.tighten(read_only=["/tmp"])["policy_revision"] == 1
        s.freeze()
        assert s.inspect()["state"] == "FROZEN"
        s.thaw()
        s.kill(signal.SIGKILL)
        assert p.wait().returncode == 137
        s.stop(remove=True)
        assert s.ended
        with raises(immure.Error):
            s.run(["true"])
    with raises(immure.NoSession):
        immure.Session.open(name)
    # The end of the session is the end of what waits for it.
    with session() as s:
        p = s.exec(["sleep", "60"])

        def end():
            time.sleep(0.1)
            with immure.Session.open(s.id) as other:
                other.stop(0.1)
        ender = threading.Thread(target=end)
        ender.start()
        assert p.wait().returncode in (128 + signal.SIGTERM, 128 + signal.SIGKILL)
        ender.join()


def case_pool():
    with policy() as p, immure.Plan.create(p, ["true"]) as plan, \
            immure.Pool.start(plan, size=1, maximum=2) as pool:
        assert pool.warm(1) == 0
        with pool.acquire(plan, owner="case") as one, pool.acquire() as two:
            assert one.id != two.id
            assert one.run(["echo", "hi"], capture_output=True, text=True).stdout == "hi\n"
            assert pool.stats()["in_use"] == 2
            with raises(immure.StateError):
                pool.acquire()
        pool.stop(force=True)
    with raises(immure.NoSession):
        immure.Pool.open("no-such-pool")
    with policy() as p, immure.Plan.create(p, ["true"]) as plan:
        with raises(immure.InvalidArgument):
            immure.Pool.start(plan, size=5, maximum=2)
        with open("/proc/self/task/%d/children" % threading.get_native_id()) as f:
            before = set(f.read().split())
        pool = immure.Pool.start(plan)
        with open("/proc/self/task/%d/children" % threading.get_native_id()) as f:
            holder, = set(f.read().split()) - before
        os.kill(int(holder), signal.SIGKILL)  # then nobody is given anything any more
        os.waitid(os.P_PID, int(holder), os.WEXITED | os.WNOWAIT)
        with raises(immure.StateError):
            pool.acquire()
        pool.close()
        immure.gc()  # of what was killed, nothing stays


def case_open_pool():
    def look(session):
        return session.run(["sh", "-c", "pwd; cat mine; echo $COLOUR"], capture_output=True, text=True).stdout

    with policy() as p, immure.Pool.start(p, size=1, maximum=3) as pool:
        for name in ("one", "two"):
            here = pathlib.Path(os.path.realpath(WORKSPACE), name)
            here.mkdir()
            (here / "mine").write_text(name)
            with pool.acquire(workspace=here, settings={"+environment.set": "COLOUR=red"},
                              labels={"for": name}) as session:
                assert look(session) == f"{here}\n{name}red\n"
                assert session.inspect()["labels"]["for"] == name
        with raises(immure.PolicyError):
            pool.acquire(settings={"network.mode": "host"})
        with policy(settings={"files.write": ["/srv"]}) as other, raises(immure.PolicyError):
            pool.acquire(policy=other)
        with policy() as own, pool.acquire(policy=own, workspace=WORKSPACE + "/one") as session:
            assert look(session).endswith("one\n")
        # A plan is taken as it is, if it fits.
        with immure.Policy.load(profile="dev", workspace=WORKSPACE + "/one", discover=False) as dev, \
                immure.Plan.create(dev, ["true"]) as plan, raises(immure.PolicyError):
            pool.acquire(plan)


def case_pool_of_a_snapshot():
    name = f"warm{os.getpid()}"
    with policy() as p, immure.Plan.create(p, ["true"]) as plan, immure.Session.create(plan) as session:
        session.run(["sh", "-c", "echo kept > /var/tmp/f"])
        taken = session.snapshot(name=name)
    try:
        with immure.Pool.restore(name, size=1) as pool:
            assert pool.stats()["snapshot"] == taken["id"]
            for _ in range(2):
                with pool.acquire(wait=20) as again:
                    assert again.run(["cat", "/var/tmp/f"], capture_output=True, text=True).stdout == "kept\n"
    finally:
        immure.snapshots.remove(name)
    with raises(immure.SnapshotError):
        immure.Pool.restore(name)


def case_pool_of_one_command_each():
    with policy() as p, immure.Plan.create(p, ["true"]) as plan, \
            immure.Pool.start(plan, size=2, maximum=4, mode=immure.PoolMode.ZYGOTE) as pool:
        assert pool.stats()["mode"] == "zygote" and pool.fileno() == -1
        with raises(immure.UnsupportedError):
            pool.acquire()
        done = pool.run(["sh", "-c", "cat; echo $$ >/var/tmp/mine; ls /var/tmp; exit 7"], input="in\n",
                        capture_output=True, text=True, plan=plan)
        assert (done.returncode, done.stdout) == (7, "in\nmine\n")
        assert pool.run(["ls", "-A", "/var/tmp"], capture_output=True).stdout == b""
        with pool.exec(["sleep", "60"]) as one, pool.exec(["sleep", "0.2"]) as two:
            assert one.poll() is None and two.wait(20).code == 0
            with raises(immure.TimeoutExpired):
                one.wait(0.05)
            one.signal(signal.SIGTERM)
            assert one.wait(20).signal == signal.SIGTERM
        assert pool.exec(["sleep", "60"], timeout=0.1).wait(20).timed_out
        with raises(immure.NotFound):
            pool.run(["no-such-command"])
        with raises(immure.PolicyError):
            pool.exec(["true"], workspace="/usr")
        pool.settle()


def case_threads():
    with session() as s:
        said, lock = [], threading.Lock()

        def work(i):
            for n in range(5):
                try:
                    if n % 2:
                        p = s.exec(sh("echo %d; exit %d" % (i, i)))
                        got = (b"".join(o.data for o in p), p.wait().returncode)
                    else:
                        done = s.run(sh("echo %d; exit %d" % (i, i)), capture_output=True)
                        got = (done.stdout, done.returncode)
                    assert got == (b"%d\n" % i, i), got
                except BaseException as e:
                    with lock:
                        said.append(repr(e))
        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(60)
            assert not t.is_alive(), "a thread hangs"
        assert said == []


def case_fork():
    with session() as s, policy() as p, immure.Plan.create(p, sh("exit 6")) as plan:
        pid = os.fork()
        if pid == 0:
            status = 1
            with contextlib.suppress(BaseException):
                with raises(immure.StateError):
                    s.run(["true"])
                s.close()  # ends nothing: it is the parent's
                status = 0 if immure.run(plan).returncode == 6 else 2
            os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0
        assert s.run(sh("exit 8")).returncode == 8


def case_dropped():
    """Objects that nobody closes are freed when nobody has them."""
    p = policy()
    s = immure.Session.create(immure.Plan.create(p, ["true"]))
    s.exec(["sleep", "60"])
    r = immure.Run.start(immure.Plan.create(p, ["sleep", "60"]))
    del p, s, r
    gc.collect()


def case_ledger():
    report = immure.gc(dry_run=True)
    assert report.left == 0 and isinstance(report.record, dict) and report.text
    with raises(immure.InvalidArgument):
        immure.reclaim("not a ticket")
    with raises(immure.NoSession):
        immure.journal("none%d" % os.getpid())


# ---- asyncio ----


def case_aio_run():
    async def main():
        with policy() as p:
            done = await aio.run(sh("cat; echo err >&2; exit 5"), p, input="in", text=True,
                                 capture_output=True)
            assert (done.returncode, done.stdout, done.stderr) == (5, "in", "err\n")
            many = await asyncio.gather(*[aio.run(sh("exit %d" % i), p) for i in range(4)])
            assert [d.returncode for d in many] == [0, 1, 2, 3]
            with raises(immure.NotFound):
                await aio.run(["no-such-program"], p)
            with raises(asyncio.TimeoutError):
                await asyncio.wait_for(aio.run(["sleep", "60"], p), 0.3)
    asyncio.run(main())


def case_aio_session():
    async def stream(s, i):
        p = await s.exec(sh("for i in 1 2 3; do echo $i; sleep 0.01; done; exit %d" % i))
        out = b"".join([o.data async for o in p])
        return out, (await p.wait()).returncode

    async def main():
        with policy() as pol, immure.Plan.create(pol, ["true"]) as plan:
            async with aio.Session.create(plan) as s:
                assert await asyncio.gather(*[stream(s, i) for i in range(6)]) == [
                    (b"1\n2\n3\n", i) for i in range(6)]
                big = b"x" * 2000000
                assert (await s.run(["cat"], input=big, capture_output=True)).stdout == big
                # The loop goes on while commands run.
                ticks, sleeper = 0, asyncio.ensure_future(s.run(["sleep", "0.3"]))
                while not sleeper.done():
                    ticks += 1
                    await asyncio.sleep(0.01)
                assert ticks > 5 and sleeper.result().returncode == 0
                # A slow reader loses nothing, and does not hold up others.
                p = await s.exec(["head", "-c", "12000000", "/dev/zero"])
                size = 0
                async for output in p:
                    assert output.lost == 0
                    size += len(output.data)
                    if size < 200000:
                        assert (await s.run(["true"])).returncode == 0
                assert size == 12000000
                p = await s.exec(["cat"], stdin=immure.EVENTS)
                await p.write(b"y" * 100000, eof=True)
                assert sum([len(o.data) async for o in p]) == 100000
                with raises(immure.NotFound):
                    await s.exec(["no-such-command"])
                # Who is cancelled leaves nothing running.
                with raises(asyncio.TimeoutError):
                    await asyncio.wait_for(s.run(["sleep", "60"]), 0.3)
                p = await s.exec(["sleep", "60"])
                await p.signal(signal.SIGTERM)
                assert (await p.wait()).returncode == 128 + signal.SIGTERM
                for _ in range(200):
                    if (await s.stats())["execs_running"] == 0:
                        break
                    await asyncio.sleep(0.05)
                else:
                    raise AssertionError("a command of a cancelled call still runs")
                async with aio.Session.open(s.id) as other:
                    ending = asyncio.ensure_future(other.wait_ended())
                    waiting = asyncio.ensure_future((await other.exec(["sleep", "60"])).wait())
                    await s.stop(0.1)
                    await asyncio.wait_for(ending, 10)
                    assert (await waiting).returncode in (137, 143)
    asyncio.run(main())


# ---- as it was ----


def descriptors():
    return {fd: os.readlink("/proc/self/fd/" + fd) for fd in os.listdir("/proc/self/fd")
            if os.path.exists("/proc/self/fd/" + fd)}


def main():
    sys.stdout, told = io.StringIO(), sys.stdout
    immure.api_version()
    before = descriptors()
    globals()["case_" + sys.argv[2]]()
    gc.collect()
    sys.stdout = told
    assert set(descriptors()) == set(before), (before, descriptors())
    with raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


if __name__ == "__main__":
    main()
