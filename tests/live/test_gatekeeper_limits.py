# SPDX-License-Identifier: Apache-2.0
"""What the gatekeeper takes is its session's: memory, processors, processes. It is in a
group below the session's own, which goes with it."""

import os
import pathlib
import re
import signal

import pytest

import harness
from netlab import allow
from sessions import Session
from test_gatekeeper import FETCH, WEB, network, workers
from test_intercept import interceptors

pytestmark = pytest.mark.modes("root")

LITERAL = "45.90.1.10"


def groups(pid):
    """Controller (v2: "") to path, of a process."""
    lines = pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return {name: path for _, names, path in (l.split(":", 2) for l in lines) for name in names.split(",")}


def leaf_of(pid):
    """The leaf of a worker, as the kernel says, in every hierarchy that has one."""
    return {name: path for name, path in groups(pid).items() if re.search(r"/immure-\d+-[0-9a-f]+(/|$)", path)}


def left(names):
    """Directories with these names in any hierarchy; others come and go meanwhile."""
    return [path for path, below, _ in os.walk("/sys/fs/cgroup") if set(below) & names]


def test_it_is_in_the_sessions_group(net):
    with Session(net, *allow(WEB), "--memory", "512M", "--processes", "50", "--cpus", "1") as s:
        server = s.json("inspect")["supervisor_pid"]
        assert "web" in s.exec("/usr/bin/python3", "-c", FETCH).text
        worker, = workers(server)
        found = leaf_of(worker)
        wanted = {"memory", "pids", "cpu"} if "pids" in groups(1) else {""}
        assert wanted <= set(found) and "freezer" not in found, (found, groups(worker))
        assert all(p.endswith("/gatekeeper") for p in found.values()), found
        init = groups(s.json("inspect")["init_pid"])
        assert all(p == init[name] + "/gatekeeper" for name, p in found.items()), (found, init)


def test_nothing_of_it_is_left(net):
    with Session(net, *allow(WEB), "--memory", "512M") as s:
        assert "web" in s.exec("/usr/bin/python3", "-c", FETCH).text
        worker, = workers(s.json("inspect")["supervisor_pid"])
        names = {pathlib.Path(p).parent.name for p in leaf_of(worker).values()}
        assert len(names) == 1
    assert not left(names)


def test_a_killed_supervisor_leaves_nothing_of_it(net):
    process = net.spawn(net.immure, "run", *allow(WEB), "--memory", "512M", "--", "/bin/sh", "-c",
                        f"python3 -c \"{FETCH}\"; sleep 60")
    try:
        assert b"web" in process.stdout.readline()
        worker, = workers(process.pid)
        names = {pathlib.Path(p).parent.name for p in leaf_of(worker).values()}
        assert names
        process.kill()
        process.wait(10)
        assert harness.until(lambda: not left(names), 5)
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()
        process.stderr.close()


FORKS = """
import os, socket, sys, time
def most():
    n, children = 0, []
    while n < 100:
        try: pid = os.fork()
        except OSError: break
        if pid == 0: time.sleep(60)
        children.append(pid); n += 1
    for pid in children: os.kill(pid, 9); os.waitpid(pid, 0)
    return n
before = most()
s = socket.create_connection(('198.18.0.1', 3128), 5)
s.sendall(b'CONNECT denied.example.net:443 HTTP/1.1\\r\\nHost: denied.example.net:443\\r\\n\\r\\n')
assert s.recv(100)  # it is there
print(before, most(), flush=True)
sys.stdin.readline()
print(most(), flush=True)
"""


MOST = FORKS[:FORKS.index("before =")] + """
import urllib.request
for line in sys.stdin:
    try: said = urllib.request.urlopen('https://secure.example.net/open/x').status
    except OSError as e: said = 0
    print(most(), said, most(), flush=True)
"""


def test_whoever_ends_tls_is_there_too(net):
    """Both are, the next one as well, and neither takes a place of the command's."""
    process = net.spawn(net.immure, "run", *allow("https://secure.example.net/open/*"), "--memory", "512M",
                        "--processes", "12", "--", "/usr/bin/python3", "-c", MOST, stdin=-1)

    def counted():
        process.stdin.write(b"\n")
        process.stdin.flush()
        return process.stdout.readline().split()

    try:
        assert counted() == [b"11", b"200", b"11"]
        old, = interceptors(process.pid)
        found = [leaf_of(p) for p in (old, *workers(process.pid))]
        assert len(found) == 2 and found[0] == found[1] and found[0], found
        assert all(p.endswith("/gatekeeper") for p in found[0].values()), found
        os.kill(old, signal.SIGKILL)
        assert harness.until(lambda: [p for p in interceptors(process.pid) if p != old], 10)
        again, = interceptors(process.pid)
        assert leaf_of(again) == found[0]
        assert harness.until(lambda: b"200" in counted(), 10)
        assert counted() == [b"11", b"200", b"11"]
    finally:
        process.communicate(timeout=20)


def test_processes_that_were_granted_stay_the_commands(net):
    """One more may be there while it runs, and not when it has ended."""
    process = net.spawn(net.immure, "run", *allow(WEB), "--processes", "12", "--", "/usr/bin/python3",
                        "-c", FORKS, stdin=-1)
    try:
        line = process.stdout.readline().split()
        assert line == [b"11", b"11"], (line, process.stderr.read() if not line else b"")
        worker, = workers(process.pid)
        os.kill(worker, signal.SIGKILL)
        assert harness.until(lambda: not workers(process.pid), 5)
        out, _ = process.communicate(b"\n", timeout=20)
        assert out.split() == [b"11"], out
    finally:
        process.kill()
        process.wait(10)


def test_what_was_denied_before_the_memory_was_used_up_is_told(net):
    script = ("import socket\n"
              f"for port in range(1, 30): socket.socket().connect_ex(('{LITERAL}', port))\n"
              "keep = []\n"
              "while True: keep.append(bytearray(b'x') * (1 << 20))\n")
    result = net.python(script, flags=[*allow(WEB), "--memory", "48M"], record=True)
    assert result.record["verdict"] == "oom", result
    told = network(result)["denied"]
    assert {e["port"] for e in told} == set(range(1, 30)), (told, result)


def test_rules_change_while_it_is_frozen(net):
    """By v2 it stands still with the session; new rules are in force when it goes on."""
    with Session(net, *allow(WEB)) as s:
        script = ("import socket,sys,time\n"
                  "s = socket.create_connection(('web.example.net', 80), 10)\n"
                  "print('open', flush=True)\n"
                  "s.settimeout(20)\n"
                  "try: print(s.recv(1) or 'end', flush=True)\n"
                  "except OSError as e: print(type(e).__name__, flush=True)\n"
                  "try: socket.create_connection(('web.example.net', 80), 10)\n"
                  "except OSError as e: print(type(e).__name__, flush=True)\n")
        process = net.spawn(net.immure, "exec", s.id, "--", "/usr/bin/python3", "-c", script)
        try:
            assert process.stdout.readline() == b"open\n"
            assert s.cli("freeze").code == 0
            denied = net.call(net.immure, "net", "deny", s.id, WEB)
            assert denied.code == 0, denied
            assert s.json("inspect")["network"]["deny"] == ["web.example.net:80"]
            assert s.cli("thaw").code == 0
            out, err = process.communicate(timeout=20)
            assert out.split() == [b"ConnectionResetError", b"gaierror"], (out, err)
        finally:
            process.kill()
            process.wait(10)
