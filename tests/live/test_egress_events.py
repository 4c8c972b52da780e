# SPDX-License-Identifier: Apache-2.0
"""Every denial is an event: who, what, which rule, what to add. Also those that the
kernel makes by itself; and what was allowed and failed is no denial."""

import contextlib
import ctypes
import json
import os
import pathlib
import pty
import re
import select
import signal
import socket
import stat
import time

import pytest

import harness
import netlab_zone as zone
from netlab import allow
from sessions import Session
from test_gatekeeper import network, workers

WEB = "web.example.net:80"
OUTSIDE = {4: "45.90.1.10", 6: "2a0e:97c0:1::a"}
libc = ctypes.CDLL(None, use_errno=True)
OTHER_SERVER = {4: "8.8.8.8", 6: "2001:4860:4860::8888"}


def bracket(host):
    return f"[{host}]" if ":" in host else host


def entries(result, kind="denied"):
    return {(e["host"], e["port"], e["step"]): e for e in network(result)[kind]}


def test_what_the_kernel_refuses_is_told(net, family):
    """Ports of a name, addresses that no rule names, other protocols, other name servers."""
    acts = [{"do": "tcp", "host": "web.example.net", "port": 81, "family": family},
            {"do": "tcp", "host": OUTSIDE[family], "port": 443},
            {"do": "udp", "host": OUTSIDE[family], "port": 443, "how": "sendto"},
            {"do": "udp", "host": "web.example.net", "port": 443, "how": "connect", "family": family},
            {"do": "dns", "server": OTHER_SERVER[family], "name": "secret.attacker.test", "type": "TXT"},
            {"do": "dns", "server": OTHER_SERVER[family], "name": "secret.attacker.test", "type": "TXT",
             "tcp": True}]
    answers = net.probe(*acts, flags=allow(WEB), record=True)
    assert [a["error"] for a in answers] == ["ECONNREFUSED"] * 2 + ["EACCES"] * 3 + ["ECONNREFUSED"]
    assert all(a["ms"] < 500 for a in answers), answers
    told, outside = entries(net.last), bracket(OUTSIDE[family])
    server = bracket(OTHER_SERVER[family])
    assert set(told) == {("web.example.net", 81, "connect"), (outside, 443, "connect"),
                         (outside, 443, "datagram"), ("web.example.net", 443, "datagram"),
                         (server, 53, "datagram"), (server, 53, "connect")}
    for what, entry in told.items():
        if what[2] == "connect":  # these are held until somebody has looked
            assert "python3" in entry["exe"] and 0 < entry["pid"] < 100, entry
        assert entry["rule"] is None and entry["at_ms"] > 1.7e12, entry
        assert entry["add"] == (f"{what[0]}:{what[1]}" if what[2] == "connect" else None), entry
    assert "name servers" in told[server, 53, "datagram"]["why"]
    assert network(net.last)["denied_more"] == 0 and network(net.last)["failed"] == []
    assert not net.lab.seen().only().asked()


def test_a_rule_that_denies_is_named(net, family):
    acts = [{"do": "tcp", "host": "web.example.net", "port": 81, "family": family},
            {"do": "tcp", "host": OUTSIDE[family], "port": 80}]
    rule = f"{bracket(OUTSIDE[family])}:80"
    net.probe(*acts, flags=[*allow("web.example.net:80-90", f"{bracket(OUTSIDE[family])}:443"),
                            "--deny-host", "web.example.net:81", "--deny-host", rule], record=True)
    told = entries(net.last)
    assert told["web.example.net", 81, "connect"]["rule"] == "web.example.net:81", told
    assert told[bracket(OUTSIDE[family]), 80, "connect"]["rule"] == rule, told


def test_who_is_known_although_it_ends_at_once(net, family):
    """A connection is held until its owner was looked for; it is refused all the same."""
    script = ("import os, socket, sys\n"
              "for port in range(100, 110):\n"
              "  if os.fork() == 0:\n"
              f"    s = socket.socket(socket.AF_INET{'6' * (family == 6)})\n"
              f"    s.connect_ex(('{OUTSIDE[family]}', port))\n"
              "    os._exit(0)\n"
              "for port in range(100, 110): os.wait()\n")
    result = net.python(script, flags=allow(WEB), record=True)
    told = entries(result)
    assert len(told) == 10 and all("python3" in e["exe"] and e["pid"] for e in told.values()), told
    assert len({e["pid"] for e in told.values()}) == 10


@pytest.mark.parametrize("how", ["udp", "tcp"])
def test_who_looked_up_is_known_although_it_ends_at_once(net, how):
    """The answer, too, waits until its owner was looked for; it says no all the same."""
    server = "open('/etc/resolv.conf').read().split('nameserver ')[1].split()[0]"
    script = ("import os, socket, struct\n"
              f"server = {server}\n"
              "def ask(name):\n"
              "  q = struct.pack('!6H', 7, 256, 1, 0, 0, 0)\n"
              "  q += b''.join(bytes([len(l)]) + l.encode() for l in name.split('.')) + b'\\0\\0\\1\\0\\1'\n"
              f"  s = socket.socket(socket.AF_INET, socket.SOCK_{'DGRAM' if how == 'udp' else 'STREAM'})\n"
              "  s.settimeout(5); s.connect((server, 53))\n"
              f"  s.sendall({'q' if how == 'udp' else 'struct.pack(chr(33) + chr(72), len(q)) + q'})\n"
              f"  got = s.recv(600){'' if how == 'udp' else '[2:]'}\n"
              "  os._exit(got[3] & 15)\n"
              "for i in range(10):\n"
              "  if os.fork() == 0: ask('n%d.other.example.org' % i)\n"
              "print(*[os.waitstatus_to_exitcode(os.wait()[1]) for i in range(10)])\n")
    result = net.python(script, flags=allow(WEB), record=True)
    assert result.text.split() == ["3"] * 10, result
    told = entries(result)
    assert len(told) == 10 and all("python3" in e["exe"] and e["pid"] for e in told.values()), told
    assert len({e["pid"] for e in told.values()}) == 10


def test_a_socket_that_is_gone_is_nobodys(net):
    """Who sends and ends may not be found: then it says so and does not guess."""
    script = ("import os, socket\n"
              "for i in range(20):\n"
              "  if os.fork() == 0:\n"
              "    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
              "    try: s.sendto(b'x', ('8.8.4.4', 1000 + i))\n"
              "    except OSError: pass\n"
              "    os._exit(0)\n"
              "  os.wait()\n")
    told = entries(net.python(script, flags=allow(WEB), record=True))
    assert len(told) == 20
    for entry in told.values():
        assert entry["exe"] is None or "python3" in entry["exe"] and entry["pid"], entry
    net.lab.seen().only()


def test_who_sends_is_known_while_the_socket_is_open(net, family):
    script = ("import socket, sys, time\n"
              f"s = socket.socket(socket.AF_INET{'6' * (family == 6)}, socket.SOCK_DGRAM)\n"
              f"try: s.sendto(b'x', ('{OUTSIDE[family]}', 443))\n"
              "except OSError as e: print(e.errno)\n"
              "sys.stdin.readline()\n")
    process = net.spawn(net.immure, "run", *allow(WEB), "--result", "result.json", "--",
                        "/usr/bin/python3", "-uc", script, stdin=-1)
    assert process.stdout.readline() == b"13\n"
    assert b"datagram" not in process.stderr.readline()  # told at once, while it runs
    process.communicate(b"\n", timeout=20)
    entry, = json.loads((net.ws / "result.json").read_text())["network"]["denied"]
    assert entry["step"] == "datagram" and "python3" in entry["exe"] and entry["pid"], entry


FLOOD = """
import errno, socket, sys
kind = {'tcp': socket.SOCK_STREAM, 'udp': socket.SOCK_DGRAM}[sys.argv[1]]
family = socket.AF_INET6 if ':' in sys.argv[2] else socket.AF_INET
seen = set()
for i in range(4000):
    s = socket.socket(family, kind)
    try: s.sendto(b'x', (sys.argv[2], 1 + i)) if sys.argv[1] == 'udp' else s.connect((sys.argv[2], 1 + i))
    except OSError as e: seen.add(errno.errorcode[e.errno])
    s.close()
print(*seen)
"""


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_a_flood_is_bounded_and_counted(net, family, kind):
    result = net.run("/usr/bin/python3", "-c", FLOOD, kind, OUTSIDE[family], flags=allow(WEB),
                     record=True)
    assert result.text.strip() == {"tcp": "ECONNREFUSED", "udp": "EACCES"}[kind], result
    told = network(result)
    assert len(told["denied"]) <= 256 and sum(e["count"] for e in told["denied"]) + told[
        "denied_more"] >= 4000, (len(told["denied"]), told["denied_more"])
    lines = [line for line in result.errors.splitlines() if "denied" in line]
    assert len(lines) == 11 and "more; the record has them" in lines[-1], lines


def refusals_of(pid):
    """The supervisor's copy of the socket that the kernel tells refusals by."""
    pidfd = os.pidfd_open(pid)
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            fd = libc.syscall(438, pidfd, int(name), 0)  # pidfd_getfd
            if fd < 0:
                continue
            if not stat.S_ISSOCK(os.fstat(fd).st_mode):
                os.close(fd)
                continue
            s = socket.socket(fileno=fd)
            if s.family == socket.AF_NETLINK and s.proto == 12 and s.getsockopt(270, 5):  # NETLINK_NO_ENOBUFS
                return s
            s.close()
    finally:
        os.close(pidfd)
    return None


@pytest.mark.parametrize("small", [False, True])
def test_a_flood_that_nobody_reads_is_counted(net, family, small):
    """More than a burst, while the gatekeeper does not run; and where there is no room for it."""
    flood = FLOOD.replace("seen = set()", "seen = set()\nprint('ready', flush=True)\nsys.stdin.readline()")
    process = net.spawn(net.immure, "run", *allow(WEB), "--result", "result.json", "--", "/usr/bin/python3", "-c",
                        "import socket\ntry: socket.getaddrinfo('nobody.example.com', 80)\n"
                        "except OSError: pass\n" + flood, "udp", OUTSIDE[family], stdin=-1)
    try:
        assert process.stdout.readline() == b"ready\n"
        worker, = workers(process.pid)
        os.kill(worker, signal.SIGSTOP)
        if small:
            with refusals_of(process.pid) as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"EACCES\n"
        os.kill(worker, signal.SIGCONT)
        process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait(10)
    told = json.loads((net.ws / "result.json").read_text())["network"]
    counted = sum(e["count"] for e in told["denied"]) + told["denied_more"]
    assert counted >= 4001, (len(told["denied"]), told["denied_more"])


def test_a_worker_that_dies_holds_nobody(net, family):
    """Whoever it had looked at is let go by the next one, with nothing open."""
    script = ("import socket, sys\n"
              "def go(port):\n"
              f"  s = socket.socket(socket.AF_INET{'6' * (family == 6)}); s.settimeout(10)\n"
              f"  print(s.connect_ex(('{OUTSIDE[family]}', port)), flush=True)\n"
              "go(1); sys.stdin.readline()\n"
              "for port in range(2, 20): go(port)\n")
    process = net.spawn(net.immure, "run", *allow(WEB), "--result", "result.json", "--",
                        "/usr/bin/python3", "-c", script, stdin=-1)
    try:
        assert process.stdout.readline() == b"111\n"
        worker, = workers(process.pid)
        os.kill(worker, signal.SIGKILL)
        out, err = process.communicate(b"\n", timeout=60)
    finally:
        process.kill()
        process.wait(10)
    assert out.split() == [b"111"] * 18, (out, err)
    record = json.loads((net.ws / "result.json").read_text())
    assert record["network"]["gatekeeper_restarts"] == 1 and len(record["network"]["denied"]) == 19


def test_without_a_worker_it_is_refused_all_the_same(net, family):
    """When the gatekeeper is closed for good nobody holds anything any more."""
    script = ("import socket, sys\n"
              "while sys.stdin.readline():\n"
              f"  s = socket.socket(socket.AF_INET{'6' * (family == 6)}); s.settimeout(10)\n"
              f"  print(s.connect_ex(('{OUTSIDE[family]}', 1)), flush=True)\n")
    process = net.spawn(net.immure, "run", *allow(WEB), "--", "/usr/bin/python3", "-uc", script, stdin=-1)
    try:
        for _ in range(20):
            process.stdin.write(b"\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"111\n"
            for pid in workers(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        out, err = process.communicate(timeout=30)
        assert b"ended too often" in err, err
    finally:
        process.kill()
        process.wait(10)


def test_what_is_allowed_and_fails_is_no_denial(net, family):
    """Refused by the other side, not resolved, not there: told apart from what we deny."""
    acts = [{"do": "tcp", "host": "web.example.net", "port": zone.CLOSED, "family": family, "say": "x"},
            {"do": "tcp", "host": "absent.example.net", "port": 80, "family": family, "say": "x"},
            {"do": "tcp", "host": f"loop{family}.bad.example.net", "port": 80, "family": family, "say": "x"}]
    net.probe(*acts, flags=allow(f"web.example.net:{zone.CLOSED}", "absent.example.net:80",
                                 "*.bad.example.net:80"), record=True)
    failed = entries(net.last, "failed")
    assert set(failed) == {("web.example.net", zone.CLOSED, "reach"),
                           ("absent.example.net", 80, "resolve")}, network(net.last)
    reach = failed["web.example.net", zone.CLOSED, "reach"]
    assert "refused" in reach["why"] and reach["add"] is None and reach["rule"] is None
    assert [e["step"] for e in network(net.last)["denied"]] == ["dial"], network(net.last)
    lines = [line for line in net.last.errors.splitlines() if "web.example.net" in line]
    assert len(lines) == 1 and lines[0].startswith("immure: not reached: "), lines
    assert "the rules allow it" in lines[0] and "denied" not in lines[0]


# ---- told while it happens, and afterwards ----


def test_a_line_comes_when_it_happens(net):
    script = ("import socket, sys\n"
              f"print(socket.socket().connect_ex(('{OUTSIDE[4]}', 7)), flush=True)\n"
              "sys.stdin.readline()\n")
    process = net.spawn(net.immure, "run", *allow(WEB), "--", "/usr/bin/python3", "-c", script, stdin=-1)
    try:
        line = process.stderr.readline()  # the command still runs
        assert line.startswith(f"immure: denied: {OUTSIDE[4]}:7 ".encode()) and b"python3" in line, line
        assert line.rstrip().endswith(f"allow it with --allow {OUTSIDE[4]}:7".encode()), line
        assert process.poll() is None
        out, err = process.communicate(b"\n", timeout=20)
        assert out == b"111\n" and err == b"", (out, err)  # and not once more at the end
    finally:
        process.kill()
        process.wait(10)


def test_lines_can_be_switched_off(net):
    result = net.python(f"import socket\nsocket.socket().connect_ex(('{OUTSIDE[4]}', 7))\n",
                        flags=["--quiet", *allow(WEB)], record=True)
    assert "denied" not in result.errors and len(network(result)["denied"]) == 1, result


def test_a_reader_that_does_not_read_holds_up_nothing(net):
    """The pipe is full: the lines come when all is over, and nothing waits for them."""
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    filled = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            filled += os.write(write_fd, b"x" * 4096)
    os.set_blocking(write_fd, True)
    script = ("import socket\n"
              f"print([socket.socket().connect_ex(('{OUTSIDE[4]}', p)) for p in range(1, 4)], flush=True)\n"
              "print(input())\n")
    process = net.spawn(net.immure, "run", *allow(WEB), "--", "/usr/bin/python3", "-c", script,
                        stdin=-1, stderr=write_fd)
    os.close(write_fd)
    try:
        assert process.stdout.readline() == b"[111, 111, 111]\n"
        while filled:
            filled -= len(os.read(read_fd, min(filled, 65536)))
        process.stdin.write(b"on\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"on\n" and process.wait(20) == 0
        with os.fdopen(read_fd, "rb") as f:
            lines = f.read().splitlines()
        assert len(lines) == 3 and all(l.startswith(b"immure: denied: ") for l in lines), lines
    finally:
        process.kill()
        process.wait(10)


def test_a_session_tells_and_keeps_it(net):
    with Session(net, *allow(WEB)) as s:
        script = (f"import socket\nprint([socket.socket().connect_ex(('{OUTSIDE[4]}', p))"
                  " for p in range(1, 12)])\n")
        assert s.exec("/usr/bin/python3", "-c", script).text.startswith("[111")
        lines = [l for l in s.cli("logs").errors.splitlines() if l.startswith("immure: denied: ")]
        assert len(lines) == 11 and f"{OUTSIDE[4]}:11 " in lines[-1] and "python3" in lines[-1], lines
        assert "denied" not in s.cli("logs", "--quiet").errors
        assert "denied" not in s.cli("logs").text
        shown = s.json("inspect")["network"]
        assert shown["denials"] == 11 and len(shown["denied"]) == 11 and shown["failures"] == 0, shown
        text = net.call(net.immure, "net", "show", s.id).text
        assert "network.denials: 11" in text and f"{OUTSIDE[4]}:11 is not in network.allow" in text, text
        assert s.cli("stop", "--force").code == 0
        journal = net.call(net.immure, "journal", s.id).text
        assert journal.count(" denial ") == 11 and f"{OUTSIDE[4]}:11" in journal, journal
        assert s.cli("rm").code == 0


# ---- told while it happens: who follows a session ----


STEPS = ("import socket, sys, time, os\n"
         "for port in (21, 22, 23):\n"
         f"  print(port, socket.socket().connect_ex(('{OUTSIDE[4]}', port)), flush=True)\n"
         "  while not os.path.exists('go%d' % port): time.sleep(0.02)\n")


def go(net, port):
    (net.ws / f"go{port}").touch()


def test_logs_that_are_followed_tell_when_it_happens(net):
    with Session(net, *allow(WEB)) as s:
        assert s.exec("/usr/bin/python3", "-c", STEPS, flags=["--detach"]).code == 0
        assert harness.until(lambda: s.json("inspect")["network"]["denials"] == 1, 10)
        process = net.spawn(net.immure, "logs", "-f", s.id)
        try:
            assert b":21 " in process.stderr.readline()  # from before
            for port in (21, 22):
                go(net, port)
                line = process.stderr.readline()
                assert line.startswith(f"immure: denied: {OUTSIDE[4]}:{port + 1} ".encode()), line
                assert process.poll() is None
            go(net, 23)
            out, err = process.communicate(timeout=20)
            assert out == b"21 111\n22 111\n23 111\n" and err == b"", (out, err)  # none twice
        finally:
            process.kill()
            process.wait(10)


def test_the_protocol_tells_when_it_happens(net):
    with Session(net, *allow(WEB)) as s, s.connect() as c, s.connect() as other:
        assert c.ask("net", follow=True)["mode"] == "limited"
        script = f"import socket\nsocket.socket().connect_ex(('{OUTSIDE[4]}', %d))\n"
        s.exec("/usr/bin/python3", "-c", script % 31)
        event = c.event("denial")
        assert event["number"] == 1 and event["failed"] is False, event
        assert event["line"].startswith(f"denied: {OUTSIDE[4]}:31 "), event
        assert event["denial"]["port"] == 31 and "python3" in event["denial"]["exe"], event
        assert c.ask("net", follow=False)["ok"]
        s.exec("/usr/bin/python3", "-c", script % 32)
        assert c.ask("net")["network"]["denials"] == 2 and not c.events
        assert other.ask("net")["ok"] and not other.events  # who did not ask is not told


def test_who_does_not_read_is_not_waited_for(net):
    """It finds a gap in the numbers, or none, and can ask for all of them."""
    with Session(net, *allow(WEB)) as s, s.connect() as c:
        assert c.ask("net", follow=True)["ok"]
        script = ("import socket\n"
                  f"for p in range(1, 200): socket.socket().connect_ex(('{OUTSIDE[4]}', p))\n")
        assert s.exec("/usr/bin/python3", "-c", script).code == 0
        begun = time.monotonic()
        last = c.ask("net")["network"]["denials"]  # whatever came meanwhile is before the answer
        assert time.monotonic() - begun < 10
        numbers = [e["number"] for e in c.events if e["event"] == "denial"]
        assert last >= 190 and numbers == sorted(set(numbers)) and numbers[0] == 1
        assert s.sh("echo lives").text == "lives\n"


PYTHON = """
import immure, sys, threading
s = immure.Session.open(sys.argv[1])
told = s.denials(timeout=20)
def act():
    immure.Session.open(sys.argv[1]).run(["/usr/bin/python3", "-c", sys.argv[2]])
t = threading.Thread(target=act); t.start()
for e in told:
    print(e["number"], e["denial"]["host"], e["denial"]["port"], flush=True)
    if e["number"] == 2: break
t.join()
told.close()
assert s.inspect()["network"]["denials"] == 2
"""


ASYNC = """
import asyncio, sys
from immure import aio
async def main():
    s, other = await aio.Session.open(sys.argv[1]), await aio.Session.open(sys.argv[1])
    told = s.denials()
    first = asyncio.ensure_future(told.__anext__())
    while not s._watch.waiters: await asyncio.sleep(0.01)  # it is asked for
    await other.run(["/usr/bin/python3", "-c", sys.argv[2]])
    for e in (await first, await told.__anext__()):
        print(e["number"], e["denial"]["host"], e["denial"]["port"], flush=True)
    await told.aclose()
    assert (await s.inspect())["network"]["denials"] == 2
asyncio.run(main())
"""


@pytest.mark.parametrize("program", [PYTHON, ASYNC], ids=["threads", "asyncio"])
def test_the_python_binding_tells_when_it_happens(net, program):
    top = pathlib.Path(__file__).resolve().parents[2]
    script = ("import socket\n"
              f"for p in (41, 42): socket.socket().connect_ex(('{OUTSIDE[4]}', p))\n")
    with Session(net, *allow(WEB)) as s:
        done = net.call("/usr/bin/python3", "-c", program, s.id, script,
                        env={"PYTHONPATH": str(top / "bindings/python"), "PYTHONDONTWRITEBYTECODE": "1",
                             "IMMURE_LIBRARY": str(harness.BUILD / "src/lib/libimmure.so"),
                             "IMMURE_PROGRAM": str(net.immure)})
        assert done.code == 0 and done.text == f"1 {OUTSIDE[4]} 41\n2 {OUTSIDE[4]} 42\n", done


# ---- on a terminal ----


class Screen:
    """A program that leads a terminal of its own; what it showed, byte for byte."""

    def __init__(self, net, *argv):
        self.master, slave = pty.openpty()
        os.fchown(slave, net.uid, net.gid)
        self.process = net.spawn("/usr/bin/setsid", "-c", *argv, stdin=slave, stdout=slave,
                                 stderr=slave, env={"TERM": "xterm"})
        os.close(slave)
        self.seen = b""

    def until(self, pattern, seconds=20):
        end = time.monotonic() + seconds * harness.SLOWER
        while not re.search(pattern, self.seen):
            assert time.monotonic() < end, self.seen
            if select.select([self.master], [], [], 0.2)[0]:
                with contextlib.suppress(OSError):  # nobody has the other side any more
                    self.seen += os.read(self.master, 65536)
                    continue
                break
        assert re.search(pattern, self.seen), self.seen

    def end(self):
        self.process.kill()
        self.process.wait(10)
        os.close(self.master)


SPEAK = ("import socket, sys, tty\n"
         "%s"
         "sys.stdout.write('before'); sys.stdout.flush()\n"
         f"socket.socket().connect_ex(('{OUTSIDE[4]}', 51))\n"
         "sys.stdin.readline()\n"
         "print('after')\n")


@pytest.mark.parametrize("discipline", ["cooked", "raw"])
def test_on_a_terminal_lines_are_lines(net, discipline):
    """Ours is raw while the command has one: a line ends with both characters, begins where a
    line begins, and nothing of it reaches the command's input."""
    raw = "tty.setraw(0)\n" if discipline == "raw" else ""
    screen = Screen(net, net.immure, "run", *allow(WEB), "--", "/usr/bin/python3", "-c", SPEAK % raw)
    try:
        screen.until(rb"denied: .*\n")
        assert screen.process.poll() is None
        line = re.search(rb"immure: denied: 45\.90\.1\.10:51 [ -~]*--allow 45\.90\.1\.10:51(\r*\n)",
                         screen.seen)
        assert line and line.group(1) == b"\r\n", screen.seen
        os.write(screen.master, b"\n")
        screen.until(rb"after")
        assert screen.process.wait(20) == 0
        assert screen.seen.count(b"denied") == 1, screen.seen
        assert re.search(rb"before(\r\n)?immure: denied", screen.seen), screen.seen
    finally:
        screen.end()


def test_on_a_terminal_names_cannot_draw(net):
    """What a command makes up is shown escaped: no byte of it moves a cursor."""
    name = "\x1b[2Jx.example.net"
    script = ("import socket\n"
              "s = socket.create_connection(('198.18.0.1', 3128), 5)\n"
              f"s.sendall(b'CONNECT {name}:443 HTTP/1.1\\r\\nHost: {name}:443\\r\\n\\r\\n')\n"
              "s.recv(100)\n"
              "try: socket.getaddrinfo('x\\x07y.example.org', 1)\n"
              "except OSError: pass\n"
              "import os; os.symlink('/usr/bin/python3', 'p\\x1b[31m')\n"
              f"os.system(\"'./p\\x1b[31m' -c 'import socket; socket.socket().connect_ex((chr(52)+chr(53)+"
              "\\\".90.1.10\\\", 52))'\")\n"
              "print('end')\n")
    screen = Screen(net, net.immure, "run", *allow(WEB), "--", "/usr/bin/python3", "-c", script)
    try:
        screen.until(rb"end")
        screen.process.wait(20)
        screen.until(rb":52 .*\n")
        assert b"\x1b" not in screen.seen and b"\x07" not in screen.seen, screen.seen
    finally:
        screen.end()


def test_logs_that_are_followed_on_a_terminal(net):
    with Session(net, *allow(WEB)) as s:
        screen = Screen(net, net.immure, "exec", "-t", s.id, "--", "/usr/bin/python3", "-c", STEPS)
        try:
            screen.until(rb"21 111")
            logs = Screen(net, net.immure, "logs", "-f", s.id)
            try:
                logs.until(rb":21 [ -~]*\r\n")
                go(net, 21)
                logs.until(rb":22 [ -~]*\r\n")
                assert b"\r\r\n" not in logs.seen, logs.seen
                go(net, 22)
                go(net, 23)
                logs.until(rb"23 111")
            finally:
                logs.end()
        finally:
            screen.end()
