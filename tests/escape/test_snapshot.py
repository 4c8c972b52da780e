# SPDX-License-Identifier: Apache-2.0
"""A program that changes its files all the while they are saved, and wakes whoever was stopped: what is
saved is of one moment, or it is refused, and nothing from outside is in it. Its control is a copy made
inside by somebody who looks first and opens then."""

import json
import os

import pytest

import harness

CANARY = b"canary-outside-3f90"
TRIES = 10

RACE = r"""
import contextlib, ctypes, os, signal, socket, sys
out, top = sys.argv[1], "/tmp/race"
libc = ctypes.CDLL(None)
os.makedirs(top + "/a/deep/deeper")
for name in "a/id_rsa", "a/deep/id_rsa", "file":
    open(f"{top}/{name}", "w").write("own")
os.symlink(out, top + "/b"), os.symlink(out + "/id_rsa", top + "/link")

def exchange(a, b):
    libc.renameat2(-100, f"{top}/{a}".encode(), -100, f"{top}/{b}".encode(), 2)

def swap():  # a directory and a way out; a file and a way out
    exchange("a", "b"), exchange("file", "link")

def other():  # what cannot be opened without waiting, and links to what lies outside
    def replace(make):
        with contextlib.suppress(OSError):
            make(top + "/new")
            os.rename(top + "/new", top + "/node")
    def listen(path):
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(path)
    replace(os.mkfifo), replace(listen), replace(lambda p: os.symlink(out + "/id_rsa", p))
    replace(lambda p: os.link(out + "/id_rsa", p)), replace(lambda p: os.link(top + "/link", p))

def deep():  # the way down moves while somebody is on it
    exchange("a/deep", "b/deep"), exchange("a", "link")
    exchange("link", "a")

pids, parent = [], os.getpid()
for job in swap, other, deep:
    pid = os.fork()
    if pid == 0:
        while True:
            job()
            for other_pid in pids + [parent]:
                with contextlib.suppress(OSError):
                    os.kill(other_pid, signal.SIGCONT)
    pids.append(pid)
open("/tmp/ready", "w").close()
while True:
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
"""

LOOK_AND_OPEN = r"""
import os, stat, sys, time
end = time.monotonic() + 20
while time.monotonic() < end:
    for name in "file", "link", "node":
        try:
            if stat.S_ISREG(os.lstat("/tmp/race/" + name).st_mode):
                fd = os.open("/tmp/race/" + name, os.O_RDONLY | os.O_NONBLOCK)  # it may be a pipe by now
                led = sys.argv[1].encode() in os.read(fd, 100)
                os.close(fd)
                if led:
                    sys.exit("it was led outside")
        except OSError:
            pass
"""

# Of one moment: each pair has one of each.
WHOLE = r"""
import os, stat, sys
top = "/tmp/race/"
names = {"a", "b", "file", "link"}
assert names <= set(os.listdir(top)), os.listdir(top)
kinds = sorted(stat.S_IFMT(os.lstat(top + n).st_mode) for n in names)
assert kinds == sorted([stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK, stat.S_IFLNK]), [oct(k) for k in kinds]
own = [n for n in names if stat.S_ISDIR(os.lstat(top + n).st_mode)][0]
assert os.path.isdir(top + own + "/deep/deeper"), own
for root, dirs, files in os.walk("/tmp"):
    for f in files:
        path = os.path.join(root, f)
        if stat.S_ISREG(os.lstat(path).st_mode):
            assert open(path).read() in ("own", ""), path
"""


@pytest.fixture
def race(site):
    """An id of a session in which it runs."""
    site.put("id_rsa", CANARY)  # in the workspace, which is seen inside and is not saved
    made = site.call(site.immure, "create", "--json")
    assert made.code == 0, made
    session = json.loads(made.out)["session"]
    program = site.spawn(site.immure, "exec", session, "--", "/usr/bin/python3", "-c", RACE, str(site.ws))
    try:
        assert harness.until(lambda: site.call(site.immure, "exec", session, "--", "test", "-e", "/tmp/ready").code == 0, 10)
        yield session
    finally:
        site.call(site.immure, "stop", "--force", "--rm", session)
        program.communicate(timeout=30)


@pytest.mark.modes("root", "user", "nocgroup")
def test_a_race_with_who_saves(site, race):
    store = site.path / "state/immure/snapshots"
    control = site.call(site.immure, "exec", race, "--", "/usr/bin/python3", "-c", LOOK_AND_OPEN, CANARY.decode())
    assert "led outside" in control.errors, control
    taken = 0
    for _ in range(TRIES):
        done = site.call(site.immure, "snapshot", "create", race, timeout=20)
        if done.code:
            assert done.code == 125 and done.errors.count("\n") == 1, done
            assert "changed while it was copied" in done.errors or "could not be frozen" in done.errors, done
            assert os.listdir(store) in ([], ["lock"])
            continue
        taken += 1
        name = done.text.strip()
        for part in "files", "meta":
            data = (store / name / part).read_bytes()
            assert CANARY not in data and harness.SECRET not in data
        again = site.call(site.immure, "resume", name)
        assert again.code == 0, again
        whole = site.call(site.immure, "exec", again.text.strip(), "--", "/usr/bin/python3", "-c", WHOLE)
        assert site.call(site.immure, "stop", "--force", "--rm", again.text.strip()).code == 0
        assert whole.code == 0, whole
        assert site.call(site.immure, "snapshot", "rm", name).code == 0
    assert taken or site.mode.name != "root"  # stopped by signals, which others undo, it may be refused each time
    assert json.loads(site.call(site.immure, "inspect", "--json", race).out)["state"] == "RUNNING"
