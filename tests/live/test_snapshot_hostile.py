# SPDX-License-Identifier: Apache-2.0
"""Snapshots of trees that somebody made to be trouble, of a store that is not ours alone, and ends of who
takes them at any point: whole, or refused, and nothing of the host in them."""

import collections
import contextlib
import json
import os
import pathlib
import re
import shutil
import time

import pytest

import harness
from sessions import Session
from test_snapshots import resumed, snap, snapshot, store

everybody = pytest.mark.modes("root", "user", "nocgroup")
CANARY = b"canary-host-71c4"

# What is neither file, directory, link nor pipe is counted and left out; what is seen through a link is not there.
TREE = r"""
import os, socket, sys
os.chdir("/tmp"), os.umask(0o022)
s = socket.socket(socket.AF_UNIX); s.bind("sock")
with open("sparse", "wb") as f: f.truncate(1 << 40); f.seek(1 << 39); f.write(b"middle")
with open("hole", "wb") as f: f.truncate(1 << 40)
os.mkfifo("fifo")
open("one", "w").write("1"); [os.link("one", "name%d" % i) for i in range(1000)]
os.symlink(sys.argv[1] + "/id_rsa", "out"), os.symlink(sys.argv[1], "outdir"), os.symlink("/tmp/loop", "loop")
os.symlink("../" * 40 + sys.argv[1][1:] + "/id_rsa", "up")
for name in (b"new\nline", b"\xff\xfe\x80", b"-rf", b" ", b"\x1b[31m", b"a" * 255, b"\xe2\x80\xae"):
    open(b"/tmp/n_" + name[:250], "wb").write(name)
for name, mode in ("suid", 0o4755), ("sgid", 0o2755), ("sticky", 0o1644), ("none", 0):
    open(name, "w").write("#!/bin/sh\n")
    try: os.chmod(name, mode)
    except OSError: pass  # set-user-id is refused inside; a file that has it all the same: tests/unit
d = "/tmp"
for i in range(190):
    d += "/d"
    os.mkdir(d)
open(d + "/bottom", "w").write("b")
for name, value in (b"user.a", b"\0\xff"), (b"user.empty", b""), (b"user.long", b"x" * 3000):
    try: os.setxattr("one", name, value)
    except OSError: pass
"""

XATTRS = "import os; print(sorted((n, os.getxattr('/tmp/name7', n)) for n in os.listxattr('/tmp/name7')))"


def holds(site, data):
    return [p for p in store(site).rglob("*") if p.is_file() and data in p.read_bytes()]


@everybody
def test_a_tree_made_to_be_trouble(site):
    site.put("id_rsa", CANARY)
    with Session(site) as s:
        made = s.exec("/usr/bin/python3", "-c", TREE, str(site.ws))
        assert made.code == 0, made
        assert CANARY in s.sh("cat /tmp/out /tmp/up").out  # inside the links lead there
        one = snapshot(site, s, "--name", "odd")
        files = one["about"]["files"]
        assert files["left_out"] == 1 and files["entries"] > 1200
        assert files["length"] < 4 << 20, "holes and further names cost nothing"
        assert not holds(site, CANARY) and not holds(site, harness.SECRET)
        was, xattrs = look_at(s), s.exec("/usr/bin/python3", "-c", XATTRS).text
        with resumed(site, "odd") as r:
            assert look_at(r) == was and r.exec("/usr/bin/python3", "-c", XATTRS).text == xattrs
            assert r.sh("stat -c '%h %s' /tmp/one; stat -c '%s' /tmp/hole; readlink /tmp/out; test -e /tmp/sock").text == \
                f"1001 1\n{1 << 40}\n{site.ws}/id_rsa\n"
            assert r.sh("tail -c +549755813889 /tmp/sparse | head -c 6").text == "middle"
    assert snap(site, "rm", "odd").code == 0


def look_at(session):
    """Without the socket, and what is read through a hole."""
    done = session.exec("/usr/bin/python3", "-c", r"""
import os, stat
for root, dirs, files in os.walk(b"/tmp"):
    for name in dirs + files:
        path = os.path.join(root, name)
        st = os.lstat(path)
        if not stat.S_ISSOCK(st.st_mode):
            print((path, oct(st.st_mode), st.st_uid, st.st_gid, 0 if stat.S_ISDIR(st.st_mode) else (st.st_size, st.st_nlink)))
""")
    assert done.code == 0, done
    return sorted(done.text.splitlines())


@pytest.mark.modes("root")
def test_a_hundred_thousand_entries(site):
    script = """
import os
for i in range(100):
    os.mkdir(f"/tmp/{i}")
    for k in range(999):
        os.close(os.open(f"/tmp/{i}/{k}", os.O_CREAT | os.O_WRONLY))
"""
    with Session(site) as s:
        made = s.exec("/usr/bin/python3", "-c", script)
        assert made.code == 0, made
        assert snapshot(site, s, "--name", "many")["about"]["files"]["entries"] >= 100000
        with resumed(site, "many") as r:
            assert r.sh("find /tmp -mindepth 1 | wc -l; find /tmp -type f | wc -l").text == "100000\n99900\n"
    assert snap(site, "rm", "many").code == 0
    assert harness.until(lambda: not harness.descendants(), 60)  # so many take their time to go


@pytest.mark.modes("root", "user")
def test_whiteouts_of_a_workspace(site):
    """What was removed from it stays so; a device that a command could not make is none."""
    site.put("gone", "x"), site.put("dir/in", "x"), site.put("id_rsa", CANARY)
    with Session(site, "--cow") as s:
        assert s.sh("rm gone; rm -r dir; mkdir dir; rm id_rsa; ln -s /etc/passwd id_rsa; mknod null c 1 3").code != 0
        snapshot(site, s, "--name", "white")
        assert not holds(site, CANARY)
    with resumed(site, "white") as r:
        assert r.sh("ls gone dir; readlink id_rsa").text == "dir:\n/etc/passwd\n"
    assert snap(site, "rm", "white").code == 0
    for row in json.loads(site.call(site.immure, "diff", "--list", "--json").out):
        assert site.call(site.immure, "discard", row["id"]).code == 0


@pytest.mark.modes("root", "user")
def test_two_at_once(site):
    """One after the other or one refused; whatever is there is whole."""
    with Session(site) as s:
        assert s.sh("head -c 40M /dev/zero | tr '\\0' x > /tmp/f").code == 0
        refused = False
        for _ in range(5):
            both = [site.spawn(site.immure, "snapshot", "create", s.id) for _ in range(2)]
            done = [(*p.communicate(timeout=60), p.returncode) for p in both]
            assert sorted(d[2] for d in done) in ([0, 0], [0, 125]), done
            for out, err, code in done:
                if code:
                    refused = True
                    assert b"a snapshot is being taken" in err and err.count(b"\n") == 1, err
                else:
                    assert snap(site, "inspect", out.decode().strip()).code == 0
                    assert snap(site, "rm", out.decode().strip()).code == 0
            assert not list(store(site).glob("[!l]*")) and not list(store(site).glob(".new.*"))
            if refused:
                break
        assert refused
        assert s.json("inspect")["state"] == "RUNNING"


NAMES = ["", "1a", "-n", ".", "..", "../up", "a/b", "a b", "a\nb", "a\x1b[31m", "é", "a" * 65, "a\\b", "a*", ".new.a"]


@pytest.mark.modes("root", "user")
def test_names_are_letters_and_digits(site):
    with Session(site) as s:
        snapshot(site, s, "--name", "a.b-c_9")
        for name in NAMES:
            done = site.call(site.immure, "snapshot", "create", f"--name={name}", s.id)
            assert done.code == 125, name
            for command in (["resume", "--", name], ["snapshot", "inspect", "--", name], ["snapshot", "rm", "--", name]):
                none = site.call(site.immure, *command)
                assert none.code == 125 and none.errors.count("\n") == 1 and "\x1b" not in none.errors, (command, none)
        assert len(list(store(site).glob("[!l]*"))) == 1
        assert site.ws.is_dir() and store(site).is_dir()
    assert snap(site, "rm", "a.b-c_9").code == 0


def refusals(site, session):
    """Each command that looks there; all of them refuse."""
    for command in (["snapshot", "create", session.id], ["snapshot", "ls"], ["resume", "mine"],
                    ["snapshot", "inspect", "mine"], ["snapshot", "rm", "mine"], ["fork", session.id]):
        done = site.call(site.immure, *command)
        assert done.code == 125 and done.errors.count("\n") == 1, (command, done)


@pytest.mark.modes("root", "user")
def test_a_store_that_others_can_write(site):
    with Session(site) as s:
        snapshot(site, s, "--name", "mine")
        where = store(site)
        for mode in 0o777, 0o720, 0o702:
            where.chmod(mode)
            refusals(site, s)
        where.chmod(0o700)
        kept = site.path / "kept"
        where.rename(kept)
        where.symlink_to(kept)
        refusals(site, s)
        where.unlink()
        kept.rename(where)
        assert snap(site, "inspect", "mine").code == 0
        if os.geteuid() == 0:
            uid = 65534 if site.uid == 0 else 0  # somebody else's
            os.chown(where, uid, -1)
            refusals(site, s)
            os.chown(where, site.uid, site.gid)
        assert snap(site, "rm", "mine").code == 0


@contextlib.contextmanager
def aside(path):
    """Something else may take its place."""
    was = path.with_name(path.name + ".was")
    path.rename(was)
    yield was
    path.unlink()
    was.rename(path)


@pytest.mark.modes("root", "user")
def test_parts_that_are_not_ours_alone(site):
    with Session(site) as s:
        one = snapshot(site, s, "--name", "mine")
        place = store(site) / one["id"]

        def refused(why):
            for name in "mine", one["id"]:
                done = site.call(site.immure, "resume", name)
                assert done.code == 125 and done.errors.count("\n") == 1, (why, done)

        for part in "files", "meta":
            path = place / part
            with aside(path) as was:
                path.symlink_to(was)
                refused("a link")
            with aside(path):
                os.mkfifo(path)
                refused("a pipe")
            if os.geteuid() == 0:
                os.chown(path, 65534 if site.uid == 0 else 0, -1)
                refused("somebody else's")
                os.chown(path, site.uid, site.gid)
            path.chmod(0o622)
            refused("others can write it")
            path.chmod(0o600)
        place.chmod(0o777)
        refused("others can write there")
        place.chmod(0o700)
        if os.geteuid() == 0:
            os.chown(place, 65534 if site.uid == 0 else 0, -1)
            refused("somebody else's")
            os.chown(place, site.uid, site.gid)
        with resumed(site, "mine"):
            pass
    assert snap(site, "rm", "mine").code == 0


@pytest.mark.modes("root")
def test_another_users_snapshots(site, account):
    """Root does not take what an ordinary user could have made; a user does not get at root's."""
    with Session(site) as s:
        snapshot(site, s, "--name", "roots")
    state = site.path / "state"
    as_user = harness.become(account.pw_uid, account.pw_gid, "/", site.immure, "resume", "roots")
    none = site.call(*as_user, env={"XDG_RUNTIME_DIR": str(site.path / "none")})
    assert none.code == 125, none
    for top, dirs, files in os.walk(state):
        for name in [top] + [os.path.join(top, n) for n in dirs + files]:
            os.chown(name, account.pw_uid, account.pw_gid)
    theirs = site.call(site.immure, "resume", "roots")
    assert theirs.code == 125, theirs
    harness.remove_tree(state)


# ---- ends at any point ----

CALLS = ("mkdirat", "openat", "fcntl", "sendmsg", "recvmsg", "fsync", "fdatasync", "write", "renameat", "renameat2", "close")


def calls_of(site, session):
    """Of who takes one, from when the place for it is made: how often each is made before, and after."""
    log = site.path / "trace"
    done = site.call("strace", "-f", "-o", str(log), site.immure, "snapshot", "create", session.id)
    assert done.code == 0, done
    assert snap(site, "rm", done.text.strip()).code == 0
    before, after, begun = collections.Counter(), collections.Counter(), False
    for line in log.read_text(errors="replace").splitlines():
        call = re.match(r"\d+ +(\w+)\(", line)
        if call:
            begun |= call[1] == "mkdirat" and ".new." in line
            (after if begun else before)[call[1]] += 1
    log.unlink()
    return before, after


@pytest.mark.modes("root")
def test_killed_at_each_call(site):
    """Nothing is half there: what can be seen is whole, what is not can be taken away, and the session goes on."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    with Session(site) as s:
        assert s.sh("head -c 300K /dev/zero | tr '\\0' x > /tmp/f").code == 0
        before, after = calls_of(site, s)
        torn = whole = 0
        for call in CALLS:
            for n in range(before[call] + 1, before[call] + after[call] + 1):
                done = site.call("strace", "-f", "-o", "/dev/null", "-e", f"inject={call}:signal=KILL:when={n}",
                                 site.immure, "snapshot", "create", s.id)
                assert done.code in (0, 137), (call, n, done)
                rows = json.loads(snap(site, "ls", "--json").out)
                halves = list(store(site).glob(".new.*"))
                assert not any(row["damaged"] for row in rows) and len(rows) + len(halves) <= 1, (call, n, rows, halves)
                for row in rows:
                    whole += 1
                    assert snap(site, "inspect", row["id"]).code == 0, (call, n)
                    assert snap(site, "rm", row["id"]).code == 0
                for half in halves:
                    torn += 1
                    for command in "resume", "inspect":
                        named = site.call(site.immure, *(["snapshot"] if command == "inspect" else []), command, half.name[5:])
                        assert named.code == 125, (call, n, named)
                assert harness.until(lambda: s.json("inspect")["state"] == "RUNNING", 10), (call, n)
                site.call(site.immure, "gc")
                for half in store(site).glob(".new.*"):  # a moment old, and nothing in it yet
                    assert not list(half.iterdir()), (call, n)
                    half.rmdir()
        assert torn > 10 and whole, (torn, whole)
        assert s.sh("stat -c %s /tmp/f").text == f"{300 << 10}\n"


@pytest.mark.modes("root", "nocgroup")
def test_the_copying_child_is_killed(site):
    with Session(site) as s:
        assert s.sh("head -c 80M /dev/zero | tr '\\0' x > /tmp/f").code == 0
        pid = s.json("inspect")["supervisor_pid"]
        killed = 0
        for _ in range(5):
            taking = site.spawn(site.immure, "snapshot", "create", s.id)
            was = children(pid)
            end = time.monotonic() + 10
            while taking.poll() is None and time.monotonic() < end:
                new = [c for c in children(pid) - was if any(f.stat().st_size for f in store(site).glob(".new.*/files"))]
                for child in new:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(child, 9)
                if new:
                    break
            out, err = taking.communicate(timeout=60)
            if taking.returncode == 0:
                assert snap(site, "rm", out.decode().strip()).code == 0
                continue
            killed += 1
            assert taking.returncode == 125 and err.count(b"\n") == 1, err
            assert not list(store(site).glob("[!l]*")) and not list(store(site).glob(".new.*"))
            assert s.json("inspect")["state"] == "RUNNING" and s.sh("stat -c %s /tmp/f").text == f"{80 << 20}\n"
        assert killed


def children(pid):
    found = set()
    with contextlib.suppress(OSError):
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            found |= {int(c) for c in (task / "children").read_text().split()}
    return found
