# SPDX-License-Identifier: Apache-2.0
"""Sessions that many commands run in, by the command line and by the protocol."""

import base64
import contextlib
import hashlib
import json
import os
import pathlib
import pty
import select
import signal
import socket
import subprocess
import threading
import time

import pytest

import harness
from sessions import Client, Session, closed, runtime

everybody = pytest.mark.modes("root", "user", "nocgroup", "enosys", "landlock-user")
# What rests on a view of files or processes of its own.
with_namespaces = pytest.mark.modes("root", "user", "nocgroup", "enosys")


# ---- commands and their ends --------------------------------------------------


@with_namespaces
def test_many_commands(site):
    with Session(site, "--name", f"one{os.getpid()}", "--label", "for=tests") as s:
        done = s.sh("echo out; echo err >&2; exit 7")
        assert (done.code, done.out, done.err) == (7, b"out\n", b"err\n")
        assert s.sh("cat", input=b"x" * 300000).out == b"x" * 300000
        assert s.sh("kill -TERM $$").code == 128 + signal.SIGTERM
        assert s.exec("no-such-command").code == 127
        assert s.exec("/etc/passwd").code == 126
        assert s.sh("sleep 30", flags=["--timeout", "100ms"]).code == 124
        # What one leaves the next one finds: it is one place.
        assert s.sh("echo kept > /tmp/file").code == 0
        assert s.sh("cat /tmp/file").out == b"kept\n"
        assert s.cli("inspect").text.count(f"name: one{os.getpid()}") == 1
        assert s.json("inspect")["labels"] == {"for": "tests"}
        # By name and by the beginning of the id as well.
        assert site.call(site.immure, "exec", f"one{os.getpid()}", "--", "echo", "by name").out == b"by name\n"
        assert site.call(site.immure, "run", "--session", s.id[:6], "--", "pwd").text.strip() == str(site.ws)


def test_sealed_in_as_any_run(site):
    with Session(site, "--deny", str(site.deny)) as s:
        assert b"SECRET" not in s.sh(f"cat {site.deny}/secret {site.home}/.ssh/id_rsa").out
        assert s.sh(f"echo x > {site.out}/new").code != 0
        assert not (site.out / "new").exists()
        assert s.sh("cat < /dev/tcp/127.0.0.1/1").code != 0
        assert s.sh("grep Cap /proc/self/status").text.count("0000000000000000") == 5
        assert "Seccomp:\t2" in s.sh("cat /proc/self/status").text
        # The server's own descriptors, environment and processes are not there.
        assert s.sh("ls /proc/self/fd").text.split() == ["0", "1", "2", "3"]
        assert s.sh("echo /proc/[0-9]*").text.split()[0] == "/proc/1"
        assert len(s.sh("echo /proc/[0-9]*").text.split()) <= 3


def test_arguments_of_every_size(site):
    with Session(site) as s:
        big = "y" * 120000
        assert s.exec("/usr/bin/printf", "%s", big).out == big.encode()
        many = [str(i) for i in range(3000)]
        assert s.exec("/bin/sh", "-c", "echo $#", "sh", *many).out == b"3000\n"
        assert s.exec("/bin/sh", "-c", "echo \"$1\"", "sh", "a\nb\t\"\\ü").out == "a\nb\t\"\\ü\n".encode()


def test_environment(site):
    with Session(site, "--env", "FROM_POLICY=1", "--env", "LD_PRELOAD=/nonexistent") as s:
        assert s.sh("echo $FROM_POLICY $MINE", flags=["--env", "MINE=2"]).out == b"1 2\n"
        assert s.sh("echo $FROM_POLICY", flags=["-e", "FROM_POLICY=3"]).out == b"3\n"
        refused = s.sh("true", flags=["-e", "BASH_ENV=/x"])
        assert refused.code == 125 and "BASH_ENV" in refused.errors and "/x" not in refused.errors
        # The policy set this one, so it may be set anew.
        assert s.sh("echo $LD_PRELOAD", flags=["-e", "LD_PRELOAD="]).out == b"\n"
        assert s.sh("pwd", flags=["--cwd", "/usr"]).out == b"/usr\n"
        lost = s.sh("pwd", flags=["--cwd", "/nonexistent"])
        assert lost.code == 125 and "/nonexistent" in lost.errors


def test_killed_client_takes_its_command_along(site):
    with Session(site) as s:
        mark = site.ws / "mark"
        process = site.spawn(site.immure, "exec", s.id, "--", "/bin/sh", "-c",
                             "setsid sh -c 'echo $$ > mark; exec sleep 97' & sleep 98",
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert harness.until(lambda: mark.exists() and mark.read_text(), 10)
        process.kill()
        process.wait()
        assert harness.until(lambda: s.json("stats")["processes"] == 0, 5)


# A program that uses the library: each line on stdin is a command for /bin/sh, run over a
# lane with our own streams; its exit status is a line on stdout.
LANE = """
import ctypes, os, sys
c = ctypes
class Options(c.Structure):
    _fields_ = [("size", c.c_uint64), ("name", c.c_char_p), ("labels", c.c_void_p), ("lifetime", c.c_uint32),
                ("flags", c.c_uint32), ("life", c.c_uint64), ("idle", c.c_uint64), ("supervisor", c.c_char_p),
                ("runtime", c.c_char_p), ("env", c.c_void_p)]
class Exec(c.Structure):
    _fields_ = [("size", c.c_uint64), ("argv", c.c_void_p), ("env", c.c_void_p), ("cwd", c.c_char_p),
                ("fd", c.c_int32 * 3), ("flags", c.c_uint32), ("rest", c.c_uint64 * 13)]
class Exit(c.Structure):
    _fields_ = [("size", c.c_uint64), ("code", c.c_int32), ("signo", c.c_int32), ("timed_out", c.c_int32),
                ("over_memory", c.c_int32), ("failed", c.c_int32), ("errnum", c.c_int32), ("rest", c.c_uint64 * 6)]
lib = c.CDLL(sys.argv[1])
o = Options(size=c.sizeof(Options), runtime=sys.argv[2].encode())
s, p = c.c_void_p(), c.c_void_p()
assert lib.immure_session_open(sys.argv[3].encode(), c.byref(o), c.byref(s), None) == 0
for line in sys.stdin:
    argv = (c.c_char_p * 4)(b"/bin/sh", b"-c", line.strip().encode(), None)
    e = Exec(size=112, argv=c.cast(argv, c.c_void_p), fd=(-1, 1, 2))
    assert lib.immure_session_exec(s, c.byref(e), c.byref(p), None) == 0
    assert lib.immure_process_id(p) == 0, "not over a lane"
    x = Exit(size=c.sizeof(Exit))
    assert lib.immure_process_wait(p, -1, c.byref(x), None) == 1
    print(x.code, x.signo, x.failed, flush=True)
    lib.immure_process_free(p)
"""


def over_lane(site, s, **popen):
    library = next(harness.BUILD.glob("src/lib/libimmure.so*"))
    copy = site.path / "libimmure.so"
    copy.write_bytes(library.read_bytes())
    return site.spawn("/usr/bin/python3", "-c", LANE, copy, runtime(site), s.id, stdin=subprocess.PIPE,
                      stderr=subprocess.DEVNULL, env=harness.for_the_library(), **popen)


def test_lane(site):
    with Session(site, "--idle-timeout", "300ms") as s:
        process = over_lane(site, s)

        def ask(line):
            process.stdin.write(line.encode() + b"\n")
            process.stdin.flush()
            return process.stdout.readline()

        assert ask("exit 4") == b"4 0 0\n"
        assert ask("kill -9 $$") == b"-1 9 0\n"
        assert ask("echo out") == b"out\n" and process.stdout.readline() == b"0 0 0\n"
        # A request over the lane wakes a suspended session: the server is not asked.
        assert harness.until(lambda: s.json("inspect")["state"] == "FROZEN", 5)
        assert ask("exit 6") == b"6 0 0\n"
        assert s.json("stats")["execs_started"] == 4
        # What runs over a lane ends with it, what left its group too.
        process.stdin.write(b"setsid sh -c 'echo x > mark; sleep 89' & sleep 88\n")
        process.stdin.flush()
        assert harness.until((site.ws / "mark").exists, 10)
        process.kill()
        process.wait()
        assert harness.until(lambda: s.json("stats")["processes"] == 0, 5)


def test_signals(site):
    with Session(site) as s, s.connect() as c:
        first = c.ask("exec", argv=["/bin/sh", "-c", "trap 'echo got; exit 5' USR1; while :; do sleep 0.05; done"])
        other = c.ask("exec", argv=["/bin/sleep", "96"])
        time.sleep(0.2)
        assert c.ask("signal", exec=first["exec"], signal="USR1")["ok"]
        exited, out, _ = c.collect(first["exec"])
        assert exited["code"] == 5 and out == b"got\n"
        assert [e["state"] for e in c.ask("execs")["execs"] if e["exec"] == other["exec"]] == ["running"]
        assert c.ask("signal", signal=9, target="all")["ok"]
        assert c.collect(other["exec"])[0]["signal"] == 9
        assert c.ask("signal", exec=other["exec"], signal=9)["error"]["errno"] == 3
        assert not c.ask("signal", exec=other["exec"], signal="NOSUCH")["ok"]


def test_timeout_reaches_what_left_the_group(site):
    with Session(site) as s, s.connect() as c:
        exited, out, _ = c.run("/bin/sh", "-c", "setsid sleep 95 & echo $!; trap '' TERM; sleep 95; sleep 95",
                               timeout_ms=1000, grace_ms=200)
        assert exited["timed_out"] and exited["signal"] == 9, exited
        assert harness.until(lambda: s.json("stats")["processes"] == 0, 5)


DAEMON = """
import os, resource, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
if "lower" in sys.argv:  # as if it came of no command at all
    resource.setrlimit(10, (0, 0))
for _ in range(int(sys.argv[1])):
    os.fork()
os.closerange(0, 3)
time.sleep(100)
"""


@everybody
def test_timeout_reaches_daemons(site):
    (site.ws / "daemon.py").write_text(DAEMON)
    start = "python3 daemon.py 2; python3 daemon.py 1 lower; "
    with Session(site) as s, s.connect() as c:
        # What an earlier command left, and what another one does, stays as it is.
        assert s.sh("python3 daemon.py 0").code == 0
        other = c.ask("exec", argv=["/bin/sleep", "100"])
        assert harness.until(lambda: s.json("stats")["processes"] == 2, 5)
        for script in ("sleep 95", "trap '' TERM; sleep 95; sleep 95"):
            exited, _, _ = c.run("/bin/sh", "-c", start + script, timeout_ms=1000, grace_ms=200)
            assert exited["timed_out"]
            assert harness.until(lambda: s.json("stats")["processes"] == 2, 5), script
        assert c.ask("signal", exec=other["exec"], signal="KILL")["ok"]
        assert c.event("exited", other["exec"])["signal"] == 9
        # A signal to the tree and the end of who asked reach them as well.
        started = c.ask("exec", argv=["/bin/sh", "-c", start + "echo; sleep 95"])
        c.event("frame", started["exec"])
        assert s.json("stats")["processes"] > 3
        assert c.ask("signal", exec=started["exec"], signal="KILL", target="tree")["ok"]
        assert harness.until(lambda: s.json("stats")["processes"] == 1, 5)
        with s.connect() as goes:
            goes.ask("exec", argv=["/bin/sh", "-c", start + "echo; sleep 95"])
            goes.event("frame")
        assert harness.until(lambda: s.json("stats")["processes"] == 1, 5)


# ---- streams ----------------------------------------------------------------


@everybody
def test_frames(site):
    with Session(site) as s, s.connect() as c:
        data = os.urandom(3_000_000)
        (site.ws / "data").write_bytes(data)
        started = c.ask("exec", argv=["/bin/sh", "-c", "cat data; echo end >&2"], capture="metadata")
        cursor, got = 0, b""
        while True:
            e = c.receive()
            if e["event"] == "exited":
                break
            piece = base64.b64decode(e["data"])
            assert e["bytes"] == len(piece)
            assert e["sha256"] == hashlib.sha256(piece).hexdigest()
            if e["stream"] == "stdout":
                assert e["cursor"] == cursor and not e["truncated"]
                cursor += len(piece)
                got += piece
            else:
                assert piece == b"end\n"
        assert got == data
        assert e["stdout"]["bytes"] == len(data)
        assert e["stdout"]["sha256"] == hashlib.sha256(data).hexdigest()
        assert e["stderr"]["bytes"] == 4 and e["exec"] == started["exec"]


def test_slow_reader_holds_the_command_and_nobody_else(site):
    with Session(site) as s, s.connect() as slow, s.connect() as other:
        started = slow.ask("exec", argv=["/bin/sh", "-c", "head -c 20000000 /dev/zero; echo done > ended"])
        time.sleep(0.5)
        assert not (site.ws / "ended").exists()
        assert other.run("/bin/echo", "quick")[1] == b"quick\n"
        total, last = 0, None
        while last != "exited":
            e = slow.receive()
            last = e["event"]
            total += e.get("bytes", 0)
        assert total == 20_000_000 and e["code"] == 0 and e["exec"] == started["exec"]


def test_attach_replays_the_last_mebibyte(site):
    with Session(site) as s:
        number = int(s.sh(f"head -c 3000000 /dev/zero; echo tail; sleep {2 * harness.SLOWER}; echo after",
                          flags=["-d"]).out)
        time.sleep(0.5 * harness.SLOWER)
        with s.connect() as c:
            assert c.ask("attach", exec=number)["ok"]
            exited, out, _ = c.collect(number)
        assert out.endswith(b"tail\nafter\n") and len(out) == (1 << 20) + len("after\n")
        assert exited["stdout"]["bytes"] == 3000000 + len("tail\nafter\n")


def test_capture_modes(site):
    with Session(site) as s, s.connect() as c:
        for mode, kept in (("off", b""), ("metadata", b""), ("content", b"0123456789" * 10), ("summary", None)):
            exited, out, _ = c.run("/bin/sh", "-c", "for i in 0 1 2 3 4 5 6 7 8 9; do printf 0123456789; done",
                                   capture=mode, capture_max=1000)
            assert out == b"0123456789" * 10
            assert ("stdout" in exited) == (mode != "off")
            left = c.ask("output", exec=exited["exec"])
            if kept is not None:
                assert base64.b64decode(left["data"]) == kept
            else:
                assert exited["stdout"]["tail"] == "0123456789" * 10
        long, _, _ = c.run("/bin/sh", "-c", "head -c 100000 /dev/zero; echo end", capture="content",
                           capture_max=4096)
        assert long["stdout"]["bytes"] == 100004
        again = c.ask("output", exec=long["exec"], cursor=0)
        assert again["truncated"] and again["lost"] == 100004 - 4096
        kept = base64.b64decode(again["data"])
        while again["bytes"]:  # the end of the ring is not the end of what is in it
            again = c.ask("output", exec=long["exec"], cursor=again["cursor"] + again["bytes"])
            kept += base64.b64decode(again["data"])
        assert len(kept) == 4096 and kept.endswith(b"\0end\n")


@pytest.mark.parametrize("most,kept", [("off", "off"), ("metadata", "metadata"), ("summary", "summary"),
                                       ("content", "content")])
def test_the_policy_says_what_may_be_kept(site, most, kept):
    with Session(site, "--session-capture", most) as session, session.connect() as client:
        for asked in "content", "off":
            started, out, _ = client.run("/bin/echo", "secret words", capture=asked)
            assert out == b"secret words\n"  # who runs it reads it
            exec_ = started["exec"] if "exec" in started else 1
            listed = client.ask("execs")["execs"][0]
            assert listed["capture"] == (kept if asked == "content" else "off")
            text = json.dumps(listed)
            assert ("tail" in text or "secret" in text or "c2VjcmV0" in text) == (
                listed["capture"] == "summary"), (exec_, listed)
        piece = client.ask("output", exec=1, stream="stdout")
        assert bool(piece.get("bytes")) == (kept in ("summary", "content")), piece


def test_logs(site):
    """What is kept of a command, asked for later and by number."""
    with Session(site) as session:
        assert session.sh("echo one; echo err >&2", flags=["--detach"]).out == b"1\n"
        assert session.sh("echo two", flags=["--detach"]).out == b"2\n"
        with session.connect() as client:
            for number in 1, 2:
                assert client.ask("wait", exec=number)["ok"]
                client.event("exited", number)
        first = session.cli("logs", "--exec", "1")
        assert (first.code, first.out, first.err) == (0, b"one\n", b"err\n")
        assert session.cli("logs").out == b"two\n"
        listed = session.json("logs")["execs"]
        assert [e["exec"] for e in listed] == [2, 1]
        assert session.cli("logs", "--exec", "9").code == 125


def test_input(site):
    with Session(site) as s, s.connect() as c:
        exited, out, _ = c.run("/bin/cat", stdin={"data": base64.b64encode(b"given").decode()})
        assert out == b"given" and exited["code"] == 0
        started = c.ask("exec", argv=["/bin/cat"], stdin="stream")
        for piece in (b"a" * 40000, b"b" * 40000, b"c" * 40000):
            assert c.ask("input", exec=started["exec"], data=base64.b64encode(piece).decode())["ok"]
        assert c.ask("input", exec=started["exec"], eof=True)["ok"]
        exited, out, _ = c.collect(started["exec"])
        assert out == b"a" * 40000 + b"b" * 40000 + b"c" * 40000
        with open(site.ws / "mine") as f:
            assert c.run("/bin/cat", stdin={"fd": 0}, fds=[f.fileno()])[1] == b"mine\n"
        directory = os.open(site.path, os.O_RDONLY)
        refused = c.ask("exec", argv=["/bin/cat"], stdin={"fd": 0}, fds=[directory])
        os.close(directory)
        assert refused["error"]["errno"] == 21


def test_terminal(site):
    with Session(site) as s, s.connect() as c:
        started = c.ask("exec", argv=["/bin/sh", "-c", "tty; stty size; read x; stty size; echo got $x"],
                        pty={"rows": 30, "cols": 100})
        time.sleep(0.3)
        assert c.ask("resize", exec=started["exec"], rows=40, cols=120)["ok"]
        assert c.ask("input", exec=started["exec"], data=base64.b64encode(b"word\n").decode())["ok"]
        exited, out, _ = c.collect(started["exec"])
        lines = out.replace(b"\r\n", b"\n").split(b"\n")
        assert lines[0].startswith(b"/dev/pts/") and lines[1] == b"30 100"
        assert b"40 120" in lines and b"got word" in lines and exited["code"] == 0


def test_terminal_by_the_command_line(site):
    with Session(site) as s:
        master, slave = pty.openpty()
        process = site.spawn(site.immure, "exec", "-t", s.id, "--", "/bin/sh", "-c",
                             "stty size; read x; echo got $x; exit 9",
                             stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)
        os.write(master, b"typed\r")
        seen = b""
        while b"got typed" not in seen:
            assert select.select([master], [], [], 10)[0], seen
            seen += os.read(master, 4096)
        assert process.wait(10) == 9
        os.close(master)


# ---- asking twice -----------------------------------------------------------


def test_idempotency_key(site):
    with Session(site) as s, s.connect() as c, s.connect() as d:
        line = ["/bin/sh", "-c", "echo once >> log; echo said; exit 3"]
        first, out, _ = c.run(*line, key="k1", capture="content")
        again, replayed, _ = d.run(*line, key="k1", capture="content")
        assert first["exec"] == again["exec"] and again["code"] == 3
        assert out == replayed == b"said\n"
        assert (site.ws / "log").read_text() == "once\n"
        other = c.ask("exec", argv=["/bin/true"], key="k1")
        assert not other["ok"] and other["error"]["errno"] == 17


# ---- life -------------------------------------------------------------------


@everybody
def test_freeze_and_thaw(site):
    with Session(site) as s, s.connect() as c:
        started = c.ask("exec", argv=["/bin/sh", "-c", "while :; do echo .; sleep 0.02; done"])
        c.event("frame")
        assert s.cli("freeze").code == 0 and s.cli("freeze").code == 0
        assert s.json("inspect")["state"] == "FROZEN"
        time.sleep(0.2)
        c.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            while True:
                c.receive()
        c.socket.settimeout(20)
        refused = s.sh("true")
        assert refused.code == 125 and "frozen" in refused.errors
        assert s.cli("thaw").code == 0
        c.event("frame")
        assert c.ask("signal", exec=started["exec"], signal="KILL")["ok"]


# Forks all the time, and has a timer of its own that continues it when it is stopped.
RESTLESS = """
import ctypes, os, signal, time
event = (ctypes.c_char * 64)()
ctypes.memmove(ctypes.addressof(event) + 8, (ctypes.c_int * 2)(signal.SIGCONT, 0), 8)
timer, libc = ctypes.c_void_p(), ctypes.CDLL(None)
assert libc.timer_create(1, event, ctypes.byref(timer)) == 0
assert libc.timer_settime(timer, 0, (ctypes.c_long * 4)(0, 10000000, 0, 10000000), None) == 0
while True:
    if os.fork() == 0:
        with open("ticks", "a") as f:
            f.write(".")
        os._exit(0)
    os.wait()
"""


def freezer_here(site):
    """What freezes a session of this caller."""
    if site.mode.without == "cgroup":
        return "signals"
    if site.uid == 0 and any(harness.cgroup_mounts("freezer")):
        return "cgroup v1"
    return "cgroup v2" if any(harness.cgroup_mounts("")) and (site.uid == 0 or site.mode.delegated) else "signals"


@everybody
def test_what_freezes(site):
    (site.ws / "restless.py").write_text(RESTLESS)
    os.chmod(site.ws, 0o777)
    with Session(site) as s, s.connect() as c:
        freezer = s.json("inspect")["freezer"]
        assert freezer == freezer_here(site)
        assert c.ask("exec", argv=["python3", "restless.py"])["ok"]
        for _ in range(3):
            before = ticks(site)
            assert harness.until(lambda: ticks(site) > before, 10)
            assert s.cli("freeze").code == 0
            stats = s.json("stats")
            assert stats["state"] == "FROZEN" and stats["processes"] >= 1 and stats["memory"] > 0
            time.sleep(0.05)  # what was on its way into the file
            before = ticks(site)
            time.sleep(0.3)
            # Only a cgroup holds who was made to be continued (docs/PROTOCOL.md).
            assert ticks(site) == before or freezer == "signals"
            assert s.cli("thaw").code == 0
        before = ticks(site)
        assert harness.until(lambda: ticks(site) > before, 10)
        assert s.cli("freeze").code == 0  # and it ends all the same


def ticks(site):
    path = site.ws / "ticks"
    return path.stat().st_size if path.exists() else 0


def test_kill_of_what_is_frozen(site):
    for whom in ("supervisor_pid", "init_pid"):
        with Session(site) as s, s.connect() as c:
            assert c.ask("exec", argv=["/bin/sleep", "1000"])["ok"]
            assert s.cli("freeze").code == 0
            about = s.json("inspect")
            os.kill(about[whom], signal.SIGKILL)
            if whom == "supervisor_pid":
                # Nobody has to ask for it: what is frozen is let die.
                assert harness.until(lambda: not running(about["init_pid"]), 5)
                assert harness.until(lambda: not site.call(site.immure, "gc").code and
                                     not s.directory.exists(), 5)
            else:  # by v1 it dies when it is thawed, and stop does that
                s.cli("stop", "--force", "--rm")
                assert harness.until(lambda: not s.directory.exists() or not s.cli("rm").code, 5)


def running(pid):
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def test_idle_sessions_are_suspended_and_woken(site):
    with Session(site, "--idle-timeout", "300ms") as s:
        assert harness.until(lambda: s.json("inspect")["state"] == "FROZEN", 5)
        assert s.json("inspect")["suspended"] is True
        assert s.sh("echo awake").out == b"awake\n"
        assert s.json("inspect")["state"] == "RUNNING"
        assert harness.until(lambda: s.json("inspect")["state"] == "FROZEN", 5)


def test_leases_end(site):
    for flags in (["--max-life", "300ms"], ["--idle-timeout", "300ms", "--on-idle", "stop"]):
        made = site.call(site.immure, "create", "--json", "--rm", *flags)
        where = runtime(site) / "sessions" / json.loads(made.out)["session"]
        assert harness.until(lambda: not where.exists(), 8), flags


BUSY = """
import os, sys, time
for _ in range(2):
    if os.fork() == 0:
        time.sleep(100)
        os._exit(0)
held = bytearray(64 << 20)
end = time.process_time() + 0.3
while time.process_time() < end:
    pass
open("/tmp/held", "wb").write(bytes(3 << 20))
sys.stdout.write("x" * 5000)
sys.stdout.flush()
sys.stdin.read()
"""


@pytest.mark.modes("root", "user", "nocgroup", "delegated", "bwrap")
@pytest.mark.parametrize("flags", [(), ("--memory", "1G", "--processes", "64")])
def test_stats(site, flags):
    """From cgroup v1, v2, or the processes, whichever there is: the same numbers."""
    (site.ws / "busy.py").write_text(BUSY)
    cgroup = bool(flags) and site.mode.without != "cgroup" and (site.uid == 0 or site.mode.delegated)
    if flags and site.mode.without == "cgroup":
        flags = ("--memory", "1G")  # RLIMIT_NPROC would not bind root
    with Session(site, *flags) as s, s.connect() as c:
        before = s.json("stats")
        assert (before["execs_running"], before["processes"], before["bytes_out"]) == (0, 0, 0)
        task = c.ask("exec", argv=["python3", "busy.py"], stdin="stream")["exec"]
        while sum(e["bytes"] for e in c.events) < 5000:
            c.events.append(c.receive())
        assert c.ask("input", exec=task, data=base64.b64encode(b"y" * 3000).decode())["ok"]
        now = s.json("stats")
        # The dead ones' time alone is known without a cgroup.
        assert now["cpu_of"] == ("session" if cgroup else now["cpu_of"])
        assert now["memory_of"] == ("session" if cgroup else now["memory_of"])
        assert now["memory"] > 60 << 20 and now["processes"] == 3 and now["execs_running"] == 1
        assert now["disk"] - before["disk"] >= 3 << 20
        assert (now["bytes_out"], now["bytes_in"]) == (5000, 3000)
        assert now["network_in"] is None and now["state"] == "RUNNING"
        if cgroup:
            assert now["cpu_us"] > 250000 and now["memory_peak"] >= now["memory"] > 0
        assert c.ask("signal", exec=task, signal="KILL", target="tree")["ok"]
        c.event("exited", task)
        assert harness.until(lambda: s.json("stats")["processes"] == 0, 5)
        after = s.json("stats")
        assert after["cpu_us"] > 250000 and after["memory"] < 60 << 20
        assert after["execs_started"] == 1 and after["execs_running"] == 0


def test_ps(site):
    name = f"listed{os.getpid()}"
    with Session(site, "--name", name) as s:
        rows = json.loads(site.call(site.immure, "ps", "--json").out)
        mine = [r for r in rows if r["session"] == s.id]
        assert mine[0]["name"] == name and mine[0]["state"] == "RUNNING"
        assert name in site.call(site.immure, "ps").text
        taken = site.call(site.immure, "create", "--name", name)
        assert taken.code == 125 and name in taken.errors
    assert s.id not in site.call(site.immure, "ps", "--all").text


def test_ps_is_in_the_order_of_making(site):
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(Session(site)).id for _ in range(6)]
        rows = json.loads(site.call(site.immure, "ps", "--json").out)
        assert [r["session"] for r in rows if r["session"] in made] == made
        times = [r["created_ms"] for r in rows]
        assert times == sorted(times)


def test_bad_names(site):
    for name in ("../x", "a/b", "", "1abc", "x" * 64, "a\nb", "-x", "ä"):
        assert site.call(site.immure, "create", "--name", name).code == 125, name
    assert site.call(site.immure, "exec", "../x", "--", "true").code == 125
    gone = site.call(site.immure, "exec", "nobody", "--", "true")
    assert gone.code == 125 and "nobody" in gone.errors


# ---- other people -----------------------------------------------------------


def test_garbage_hurts_only_its_sender(site):
    with Session(site) as s, s.connect() as good:
        for junk in (b"\0", b"x" * 1000, b"{", b"[1,2]", b'"a"', b'{"op":"hello"', b"\xff\xfe", b"{}" * 10,
                     b'{"id":1,"op":"hello","id":2}', b"[" * 5000):
            with s.connect(hello=False) as bad:
                bad.send(junk)
                answer = bad.receive()
                assert answer is None or answer["ok"] is False, junk
        with s.connect(hello=False) as bad:
            bad.send({"id": 1, "op": "exec", "argv": ["/bin/true"]})
            assert bad.receive()["error"]["code"] == 8
        with s.connect() as bad:
            for wrong in ({"op": "nosuch"}, {"op": "exec"}, {"op": "exec", "argv": []},
                          {"op": "exec", "argv": "ls"}, {"op": "exec", "argv": [1]},
                          {"op": "exec", "argv": ["x"], "nosuch": 1}, {"op": "exec", "argv": ["a\0b"]},
                          {"op": "exec", "argv": ["x"], "timeout_ms": -1},
                          {"op": "exec", "argv": ["x"], "stdin": {"fd": 0}},
                          {"op": "exec", "argv": ["x"], "stdin": {"fd": 99}},
                          {"op": "exec", "argv": ["x"], "cwd": "relative"},
                          {"op": "exec", "argv": ["x"], "env": {"A=B": "c"}},
                          {"op": "exec", "argv": ["x"], "limits": {"nosuch": 1}},
                          {"op": "attach", "exec": 12345}, {"op": "wait", "exec": -1},
                          {"op": "create", "runtime": "/tmp"}, {"op": "input", "exec": 1}):
                bad.number += 1
                bad.send({"id": bad.number, **wrong})
                answer = bad.receive()
                assert answer["ok"] is False and answer["error"]["text"], wrong
        assert good.run("/bin/echo", "well")[1] == b"well\n"


def test_a_flood_hurts_only_its_sender(site):
    with Session(site) as s, s.connect() as good:
        silent = [s.connect(hello=False) for _ in range(200)]
        assert good.run("/bin/echo", "well")[1] == b"well\n"
        for client in silent:
            client.socket.close()
        with s.connect(hello=False) as bad:
            bad.socket.setblocking(False)
            with pytest.raises((BlockingIOError, BrokenPipeError, ConnectionResetError)):
                while True:
                    bad.socket.send(b'{"id":1,"op":"hello"}')
        with s.connect() as bad:  # a packet with more descriptors than there may be
            null = os.open("/dev/null", os.O_RDWR)
            bad.send({"id": 9, "op": "inspect"}, [null] * 200)
            os.close(null)
            assert bad.receive()["ok"] is False
        assert good.run("/bin/echo", "well")[1] == b"well\n"
        before = len(os.listdir(f"/proc/{s.json('inspect')['supervisor_pid']}/fd"))
        for _ in range(50):
            with s.connect() as bad:
                null = os.open("/dev/null", os.O_RDWR)
                bad.send({"id": 9, "op": "inspect"}, [null] * 5)
                os.close(null)
        assert harness.until(lambda: len(os.listdir(
            f"/proc/{s.json('inspect')['supervisor_pid']}/fd")) <= before, 5)


def test_many_connections_do_not_lock_the_owner_out(site):
    with Session(site) as s:
        polite = [s.connect() for _ in range(128)]  # each has said hello
        assert s.sh("echo in").out == b"in\n"
        assert sum(closed_already(c) for c in polite) >= 1
        for c in polite:
            c.socket.close()
        busy = [s.connect() for _ in range(128)]
        for c in busy:
            assert c.ask("exec", argv=["/bin/sleep", "100"])["ok"]
        refused = s.sh("true")
        assert refused.code == 125 and "connections" in refused.errors
        assert s.json("inspect")["execs_running"] == 128
        spare = [s.connect() for _ in range(20)]  # only the newest of these stay
        assert not any(closed_already(c) for c in busy)
        assert s.json("stats")["execs_running"] == 128
        assert s.cli("stop", "--force", "--rm").code == 0
        for c in spare + busy:
            c.socket.close()


def closed_already(client):
    try:
        return bool(select.select([client.socket], [], [], 0)[0]) and \
            client.socket.recv(1, socket.MSG_PEEK) == b""
    except ConnectionResetError:
        return True


def test_large_requests(site):
    with Session(site) as s, s.connect() as c:
        with pytest.raises(OSError):
            c.socket.setsockopt(1, 7, 1 << 22)  # SO_SNDBUF
            c.send(b" " * 100000)
            assert c.receive()["ok"] is False
            c.send({"id": 1, "op": "inspect"})
            if c.receive() is None:
                raise OSError
        with s.connect() as d:
            words = ["w" * 100] * 2000
            request = json.dumps({"id": 5, "op": "exec", "argv": ["/bin/sh", "-c", "echo $#", "sh"] + words})
            memfd = os.memfd_create("request", os.MFD_ALLOW_SEALING)
            os.write(memfd, request.encode())
            d.send({"id": 5, "op": "exec", "params": {"fd": 0}}, [memfd])
            os.close(memfd)
            assert d.receive()["ok"]
            assert b"2000\n" in base64.b64decode(d.event("frame")["data"])
            d.event("exited")
            reader, writer = os.pipe()  # never ends: must not be read
            d.send({"id": 6, "op": "exec", "params": {"fd": 0}}, [reader])
            assert d.receive()["ok"] is False
            os.close(reader)
            os.close(writer)


def test_many_callers_at_once(site):
    with Session(site) as s:
        wrong = []

        def caller(k):
            with s.connect() as c:
                for i in range(40):
                    exited, out, err = c.run("/bin/sh", "-c", f"echo {k}.{i}; echo e{k}.{i} >&2; exit {i}")
                    if (exited["code"], out, err) != (i, f"{k}.{i}\n".encode(), f"e{k}.{i}\n".encode()):
                        wrong.append((k, i, exited, out, err))

        threads = [threading.Thread(target=caller, args=(k,)) for k in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert wrong == []


def test_many_commands_at_once(site):
    with Session(site) as s, s.connect() as c:
        numbers = []
        for i in range(300):
            started = c.ask("exec", argv=["/bin/sleep", "60"], stdout="null", stderr="null")
            assert started["ok"], (i, started)
            numbers.append(started["exec"])
            if i == 29:  # one connection follows so many streams, ends included
                break
        clients = [s.connect() for _ in range(9)]
        for d in clients:
            for _ in range(30):
                assert d.ask("exec", argv=["/bin/sleep", "60"], stdout="null", stderr="null")["ok"]
        assert s.json("stats")["execs_running"] == 300
        assert c.ask("signal", signal="KILL", target="all")["ok"]
        for n in numbers:
            assert c.event("exited", n)["signal"] == 9
        for d in clients:
            d.socket.close()


# ---- nothing is left --------------------------------------------------------


def test_kill_of_the_server_leaves_no_process(site):
    s = Session(site)
    s.sh("sleep 94 >&- 2>&- & setsid sleep 94 >&- 2>&- & true")
    pids = s.json("inspect")
    os.kill(pids["supervisor_pid"], signal.SIGKILL)

    def gone():
        return not any(os.path.exists(f"/proc/{pids[k]}") for k in ("supervisor_pid", "init_pid"))

    harness.descendants()
    assert harness.until(lambda: harness.descendants() is not None and gone(), 5)
    rows = json.loads(site.call(site.immure, "ps", "--json").out)
    assert [r["alive"] for r in rows if r["session"] == s.id] == [False]
    assert s.sh("true").code == 125
    assert site.call(site.immure, "gc").code == 0 and not s.directory.exists()


def test_kill_of_init_ends_the_session(site):
    s = Session(site, "--rm")
    os.kill(s.json("inspect")["init_pid"], signal.SIGKILL)
    assert harness.until(lambda: not s.directory.exists(), 5)


MARKER = b"\n[immure: output limit reached, the rest was discarded]\n"


def test_output_limit(site):
    """Of each command, both streams together; the command is not blocked, and goes on."""
    with Session(site, "--output", "1000") as session:
        for _ in range(2):
            done = session.sh("head -c 600 /dev/zero; head -c 600 /dev/zero >&2; sleep 0.1; head -c 9M /dev/zero;"
                              " echo done > mark")
            assert done.code == 0 and "limits.output" in done.errors, done
            assert len(done.out.replace(MARKER, b"")) + done.err.count(b"\0") == 1000, done
            assert done.out.count(MARKER) + done.err.count(MARKER) == 1, done
            assert (site.ws / "mark").read_text() == "done\n"
        done = session.sh("echo small")
        assert (done.out, done.err) == (b"small\n", b""), done


def test_output_limit_that_kills(site):
    with Session(site, "--output", "1000", "--output-over", "fail") as session:
        done = session.sh("head -c 2000 /dev/zero; sleep 1000")
        assert done.code == 137, done
        assert session.sh("echo on").out == b"on\n"


def test_nothing_passes_the_output_limit(site):
    """No descriptor of the caller's, and no lane: nobody would count there."""
    with Session(site, "--output", "1000") as session, session.connect() as client, \
            open(site.path / "file", "wb") as file:
        for stream in ("stdout", "stderr"):
            answer = client.ask("exec", [file.fileno()], argv=["/bin/true"], **{stream: {"fd": 0}})
            assert answer["error"]["subject"] == "limits.output", answer
        assert client.ask("lane")["error"]["subject"] == "limits.output"
        exited, out, _ = client.run("/usr/bin/head", "-c", "1M", "/dev/zero")
        assert exited["output_cut"] and out.count(b"\0") == 1000, exited


def test_output_limit_of_a_terminal(site):
    with Session(site, "--output", "1000") as session:
        done = session.sh("head -c 5000 /dev/zero | tr '\\0' x", flags=["--tty"])
        assert done.out.count(b"x") == 1000 - 0 and MARKER.strip() in done.out.replace(b"\r", b""), done


def test_profile_ci_makes_sessions(site):
    with Session(site, "--profile", "ci") as session:
        assert session.sh("echo ci").out == b"ci\n"
        lots = session.sh("head -c 100M /dev/zero | tail -c 1")
        assert lots.code == 0


def test_output_limit_in_a_pool(site):
    name = f"out{os.getpid()}"
    start = site.call(site.immure, "pool", "start", "--name", name, "--size", "1", "--output", "1000")
    assert start.code == 0, start
    try:
        done = site.call(site.immure, "run", "--pool", name, "--output", "1000", "--", "/usr/bin/head", "-c", "5000", "/dev/zero")
        assert done.code == 0 and done.out.count(b"\0") == 1000, done
    finally:
        site.call(site.immure, "pool", "stop", name)
