# SPDX-License-Identifier: Apache-2.0
"""Snapshots: what a session's files were is what another begins with, and nothing else of it."""

import contextlib
import json
import os

import pytest

import harness
from sessions import Session

everybody = pytest.mark.modes("root", "user", "nocgroup")
CANARY = "canary-5b1f0c"

WORK = r"""
set -e; cd /tmp; umask 022
mkdir -p d/sub; echo one > d/f; ln d/f d/sub/other; ln -s ../../etc/passwd link; ln -s /nowhere dangling
mkfifo pipe; printf x > "$(printf 'odd\nname')"; printf y > "$(printf 'byte\377')"; echo t > -rf
truncate -s 3T sparse; printf end >> sparse; mkdir closed; echo in > closed/in; ln closed/in twice; chmod 0 closed
echo s > setgid; chmod 2750 setgid; chmod 640 d/f; touch -d 2001-02-03T04:05:06.789 d/f; touch -d 2002-02-03 d
mkdir -m 1777 sticky; echo hid > /var/tmp/hid; echo q > unreadable; chmod 0 unreadable
dd if=/dev/urandom of=big bs=300K count=2 2>/dev/null
"""

LOOK = r"""
import hashlib, os, stat
def look(top):
    for root, dirs, files in os.walk(top):
        for name in sorted(dirs + files):
            path = os.path.join(root, name)
            st = os.lstat(path)
            what = os.readlink(path) if stat.S_ISLNK(st.st_mode) else ""
            if stat.S_ISREG(st.st_mode) and st.st_mode & 0o400:
                with open(path, "rb") as f:
                    if st.st_size > 1 << 30:
                        f.seek(-100, 2)
                    what = hashlib.sha256(f.read()).hexdigest()
            dir = stat.S_ISDIR(st.st_mode)
            print(repr((path, oct(st.st_mode), st.st_uid, st.st_gid, 0 if dir else st.st_size, 0 if dir else st.st_nlink,
                        st.st_mtime_ns if not stat.S_ISLNK(st.st_mode) else 0, 0 if dir else st.st_blocks // 64, what)))
os.chmod("/tmp/closed", 0o700)
look("/tmp"), look("/var/tmp")
"""


def snapshot(site, session, *flags):
    done = site.call(site.immure, "snapshot", "create", "--json", *flags, session.id)
    assert done.code == 0, done
    return json.loads(done.out)


def snap(site, what, *args):
    return site.call(site.immure, "snapshot", what, *args)


class Clone(Session):
    """A session that a command printed the id of."""

    def __init__(self, site, id):
        self.site, self.id = site, id


@contextlib.contextmanager
def resumed(site, name, *flags):
    done = site.call(site.immure, "resume", *flags, name)
    assert done.code == 0, done
    with Clone(site, done.text.strip()) as s:
        yield s


def look(session):
    done = session.exec("/usr/bin/python3", "-c", LOOK)
    assert done.code == 0, done
    return sorted(done.text.splitlines())


def store(site):
    return site.path / "state/immure/snapshots"


def discard_all(site):
    for row in json.loads(site.call(site.immure, "diff", "--list", "--json").out):
        assert site.call(site.immure, "discard", row["id"]).code == 0


@everybody
def test_files_are_what_they_were(site):
    with Session(site) as s:
        assert s.sh(WORK).code == 0
        s.sh("umask 022; python3 -c \"import os; os.setxattr('/tmp/d/f', 'user.mine', b'\\x00v')\"")
        one = snapshot(site, s, "--name", "first", "--label", "a=b")
        was = look(s)
        assert one["name"] == "first" and one["labels"] == {"a": "b"}
        about = one["about"]
        assert about["contains"] == ["files"] and about["session"] == s.id
        assert {"processes", "memory", "secrets"} <= set(about["excludes"])
        assert "the workspace, which is the host's own" in about["excludes"]
        assert {a["path"] for a in about["areas"]} == {"/tmp", "/var/tmp"}
        assert s.json("inspect")["state"] == "RUNNING"
        with resumed(site, "first") as r:
            assert r.id != s.id and look(r) == was
            assert r.exec("python3", "-c", "import os; print(os.getxattr('/tmp/d/sub/other', 'user.mine'))").text == \
                s.exec("python3", "-c", "import os; print(os.getxattr('/tmp/d/sub/other', 'user.mine'))").text
            assert r.sh("echo more >> /tmp/d/f; rm /tmp/link").code == 0
        assert look(s) == was  # and a clone's files are its own
        listed = json.loads(snap(site, "ls", "--json").out)
        assert [(row["id"], row["name"], row["damaged"]) for row in listed] == [(one["id"], "first", False)]
        assert listed[0]["size"] == about["files"]["length"]
    with resumed(site, one["id"][:6]) as r:  # the session has ended
        assert look(r) == was
    assert snap(site, "rm", "first").code == 0
    assert not list(store(site).glob("[!l]*"))
    gone = site.call(site.immure, "resume", "first")
    assert gone.code == 125 and "no such snapshot" in gone.errors


@pytest.mark.modes("root", "user")
def test_a_copy_on_write_workspace_is_part_of_it(site):
    site.put("gone/x", "x")
    site.put("replaced/in", "1")
    site.put("kept", "kept")
    with Session(site, "--cow") as s:
        assert s.sh("echo more >> mine; rm -r gone replaced; mkdir replaced; echo n > replaced/new; "
                    "ln mine alias; ln -s kept l; chmod 700 kept").code == 0
        before = json.loads(site.call(site.immure, "diff", "--json", s.id).out)["changes"]
        about = snapshot(site, s, "--name", "cow")["about"]
        assert about["workspace_mode"] == "cow"
        assert "the workspace, which is the host's own" not in about["excludes"]
    site.put("kept", "the host was here")  # since the first session began
    with resumed(site, "cow") as r:
        assert r.sh("cat mine; ls; ls replaced; cat replaced/*; stat -c %h mine").text == \
            "mine\nmore\nalias\nattack\nempty\nhidden.txt\nkept\nl\nmine\nreplaced\nsub\nnew\nn\n2\n"
    after = {c["path"]: c for c in json.loads(site.call(site.immure, "diff", "--json", r.id).out)["changes"]}
    assert set(after) == {c["path"] for c in before}
    # What the host changed since the first session began is a conflict of the second's.
    assert after["kept"]["conflict"] and not after["mine"].get("conflict")
    os.rename(site.ws, site.path / "away")
    os.mkdir(site.ws)
    os.chown(site.ws, site.uid, site.gid)
    other = site.call(site.immure, "resume", "cow", cwd=site.path)
    assert other.code == 125 and "not the directory any more" in other.errors
    os.rmdir(site.ws)
    os.rename(site.path / "away", site.ws)
    assert snap(site, "rm", "cow").code == 0
    discard_all(site)


@everybody
def test_fork(site):
    with Session(site) as s:
        assert s.sh("echo base > /tmp/f; head -c 16 /dev/urandom > /tmp/r; sleep 1000 > /dev/null 2>&1 &").code == 0
        done = site.call(site.immure, "fork", "--count", "3", "--json", s.id)
        assert done.code == 0, done
        with contextlib.ExitStack() as stack:
            clones = [stack.enter_context(Clone(site, row["session"])) for row in json.loads(done.out)]
            random = {c.sh("head -c 16 /dev/urandom | od -An -tx1").text for c in clones}
            assert len(clones) == len(random) == 3
            for i, c in enumerate(clones):
                assert c.sh(f"cat /tmp/f; echo {i} > /tmp/f; ls /proc | grep -c '^[0-9]'").text.startswith("base\n")
            assert [c.sh("cat /tmp/f").text for c in clones] == ["0\n", "1\n", "2\n"]
            assert len({c.sh("od -An -tx1 /tmp/r").text for c in clones}) == 1  # files are files
            assert len({c.json("inspect")["policy_version"] for c in clones}) == 1
            assert clones[0].sh("pgrep sleep").code != 0  # no processes
        assert s.sh("cat /tmp/f; pgrep -c sleep").text == "base\n1\n"
    assert not list(store(site).glob("[!l]*"))  # no snapshot is kept


@everybody
def test_one_of_many(site):
    """Made after a mould, with others: its private directories are found as well."""
    made = site.call(site.immure, "create", "--count", "2", "--json")
    assert made.code == 0, made
    with contextlib.ExitStack() as stack:
        one, two = [stack.enter_context(Clone(site, row["session"])) for row in json.loads(made.out)]
        assert one.sh("mkdir -m 0 /tmp/d; echo one > /tmp/f").code == 0 and two.sh("echo two > /tmp/f").code == 0
        snapshot(site, one, "--name", "many")
        with resumed(site, "many") as r:
            assert r.sh("cat /tmp/f; stat -c %a /tmp/d").text == "one\n0\n"
    assert snap(site, "rm", "many").code == 0


@everybody
def test_what_runs_is_frozen_meanwhile(site):
    """A writer that never rests: what is saved is of one moment, or it is refused."""
    with Session(site) as s:
        assert s.sh("i=0; while :; do i=$((i+1)); echo $i > /tmp/a; echo $i > /tmp/b; done > /dev/null 2>&1 &").code == 0
        for _ in range(5):
            done = site.call(site.immure, "snapshot", "create", "--name", "busy", s.id)
            assert done.code == 0 or "changed while" in done.errors, done
            if done.code:
                assert not list(store(site).glob("[!l]*"))
                continue
            with resumed(site, "busy") as r:
                got = r.sh("cat /tmp/a; echo; cat /tmp/b").text.split()
                assert len(got) < 2 or int(got[0]) - int(got[1]) in (0, 1)
            assert snap(site, "rm", "busy").code == 0
        assert s.json("inspect")["state"] == "RUNNING"
        assert s.cli("freeze").code == 0
        snapshot(site, s, "--name", "frozen")
        assert s.json("inspect")["state"] == "FROZEN"
        assert s.cli("thaw").code == 0


@everybody
def test_nothing_secret_is_in_it(site):
    """Not what the caller's environment lent, either."""
    lent = CANARY + "-lent"
    with Session(site, "--set", "environment.pass=LENT", env={"LENT": lent}) as s:
        assert s.sh("echo $LENT; echo hello > /tmp/f").text == lent + "\n"
        snapshot(site, s, "--name", "clean")
        for path in store(site).rglob("*"):
            if path.is_file():
                assert CANARY.encode() not in path.read_bytes(), path
                assert path.stat().st_mode & 0o077 == 0
        with resumed(site, "clean") as r:  # names are passed, values are the resumer's
            assert r.sh("echo [$LENT]; cat /tmp/f").text == "[]\nhello\n"
    assert snap(site, "rm", "clean").code == 0


@everybody
def test_the_policy_is_kept_and_planned_anew(site):
    hidden = site.path / "later"
    with Session(site, "--deny", str(hidden), "--set", "files.write=" + str(site.out)) as s:
        assert s.sh(f"echo x > /tmp/f; mkdir /tmp/t; echo y > /tmp/t/y; test ! -e {hidden}").code == 0
        assert s.cli("tighten", "--", "/tmp/t").code != 0  # deny or read-only comes first
        assert site.call(site.immure, "tighten", "deny", s.id, "/tmp/t/y").code == 0
        assert site.call(site.immure, "tighten", "read-only", s.id, str(site.out)).code == 0
        version = s.json("inspect")["policy_version"]
        about = snapshot(site, s, "--name", "policy")["about"]
        assert about["policy_version"] == version and len(about["tightened"]) == 2
    hidden.mkdir()
    (hidden / "secret").write_bytes(harness.SECRET)
    os.chmod(hidden, 0o755)
    with resumed(site, "policy") as r:
        # What was tightened is, and what came to be since is hidden.
        assert r.sh("cat /tmp/t/y").code != 0 and r.sh(f"echo > {site.out}/new").code != 0
        assert harness.SECRET not in r.sh(f"cat {hidden}/secret").out
        assert r.json("inspect")["policy_revision"] == 1
        assert r.sh("cat /tmp/f").text == "x\n"
    with resumed(site, "policy", "--deny", str(site.priv)) as r:  # a tighter one, on top
        assert r.sh(f"cat {site.priv}/public.txt").code != 0
        assert r.sh("cat /tmp/f").text == "x\n" and r.sh(f"echo > {site.out}/new").code != 0
    assert snap(site, "rm", "policy").code == 0


@everybody
def test_another_policy(site):
    with Session(site) as s:
        assert s.sh("echo x > /tmp/f").code == 0
        snapshot(site, s, "--name", "plain")
    with resumed(site, "plain", "--profile", "strict", "--set", "files.tmp=/tmp", "--set", "+files.tmp=/var/tmp") as r:
        assert r.sh("cat /tmp/f").text == "x\n" and r.json("inspect")["profile"] == "strict"
    none = site.call(site.immure, "resume", "--set", "files.tmp=/var/tmp", "plain")
    assert none.code == 125 and "/tmp: the new session has no such place of its own" in none.errors, none
    assert snap(site, "rm", "plain").code == 0


@everybody
def test_limits_hold_in_the_clone(site):
    with Session(site, "--disk", "8M") as s:
        assert s.sh("head -c 5M /dev/zero | tr '\\0' x > /tmp/f").code == 0
        snapshot(site, s, "--name", "five")
        with resumed(site, "five") as r:
            assert r.sh("stat -c %s /tmp/f; head -c 6M /dev/zero > /tmp/g").code != 0
        small = site.call(site.immure, "resume", "--disk", "2M", "five")
        assert small.code == 125 and "No space left" in small.errors and "limits.disk" in small.errors
    assert snap(site, "rm", "five").code == 0


@pytest.mark.modes("root")
def test_what_is_restored_counts_as_the_sessions_memory(site):
    if not site.call(site.immure, "run", "--memory", "64M", "--", "true").code == 0:
        pytest.skip("no cgroup to limit memory with")
    with Session(site, "--memory", "200M") as s:
        assert s.sh("head -c 60M /dev/zero | tr '\\0' x > /tmp/f").code == 0
        snapshot(site, s, "--name", "sixty")
        with resumed(site, "sixty") as r:
            stats = r.json("stats")
            if stats["memory_of"] == "session":
                assert stats["memory"] > 60 << 20
        refused = site.call(site.immure, "resume", "--memory", "24M", "sixty")
        assert refused.code == 125, refused
    assert snap(site, "rm", "sixty").code == 0


@everybody
def test_damage_is_refused(site):
    with Session(site) as s:
        assert s.sh("echo hello > /tmp/f").code == 0
        one = snapshot(site, s, "--name", "hurt")
        again = site.call(site.immure, "snapshot", "create", "--name", "hurt", s.id)
        assert again.code == 125 and "there is a snapshot of that name" in again.errors
    files, meta = (store(site) / one["id"] / n for n in ("files", "meta"))
    good, said = files.read_bytes(), meta.read_bytes()
    for broken in (good[:-1], good + b"x", good.replace(b"hello", b"jello"), b"", good[:40]):
        files.write_bytes(broken)
        for command in (["resume", "hurt"], ["snapshot", "inspect", "hurt"]):
            done = site.call(site.immure, *command)
            assert done.code == 125 and "invalid_snapshot" in done.errors, (command, done)
    files.write_bytes(good)
    for broken in (said[:-3], said.replace(b'"dev"', b'"untrusted"'), said.replace(b"policy", b"polics"), b""):
        meta.write_bytes(broken)
        done = site.call(site.immure, "resume", one["id"])
        assert done.code == 125 and "invalid_snapshot" in done.errors, done
    assert [row["damaged"] for row in json.loads(snap(site, "ls", "--json").out)] == [True]
    assert "damaged" in snap(site, "ls").text
    kept = site.call(site.immure, "gc")
    assert one["id"] in kept.text + kept.errors and (store(site) / one["id"]).exists()
    meta.write_bytes(said)
    with resumed(site, "hurt") as r:
        assert r.sh("cat /tmp/f").text == "hello\n"
    assert snap(site, "rm", one["id"]).code == 0


@pytest.mark.modes("bwrap", "bwrap-user")
def test_bwrap_refuses_by_name(site):
    with Session(site) as s:
        done = site.call(site.immure, "snapshot", "create", s.id)
        assert done.code == 125 and "native" in done.errors and site.mode.backend in done.errors, done
        assert s.sh("true").code == 0
    assert not list(store(site).glob("[!l]*"))


BARE = r"""
set -e; cd "$TMPDIR"; echo one > f; ln f g; mkdir -p d/e; ln -s ../../etc/passwd l; mkfifo p; truncate -s 1T sparse
chmod 640 f; touch -d 2001-02-03T04:05:06.789 f; printf x > "$(printf 'odd\nname')"; sleep 1000 >/dev/null 2>&1 &
"""


@pytest.mark.modes("landlock", "landlock-user")
def test_without_namespaces(site):
    """TMPDIR is a directory of the session's own there, and its files are who runs in it's."""
    look = "cd $TMPDIR; find . -printf '%P %M %U %G %s %n %l\\n' | sort; stat -c %.Y f; stat -c %h f"
    with Session(site) as s:
        assert s.sh(BARE).code == 0
        was = s.sh(look).text.replace("/" + s.id, "")
        about = snapshot(site, s, "--name", "bare")["about"]
        assert about["backend"] == "landlock" and [a["path"] for a in about["areas"]] == ["TMPDIR"]
        assert s.json("inspect")["state"] == "RUNNING"
        with resumed(site, "bare") as r:
            assert r.sh(look).text == was and r.sh("echo $TMPDIR").text != s.sh("echo $TMPDIR").text
            assert r.sh("echo more >> $TMPDIR/f").code == 0
            done = site.call(site.immure, "fork", "--count", "2", "--json", r.id)
            assert done.code == 0, done
            for row in json.loads(done.out):
                with Clone(site, row["session"]) as c:
                    assert c.sh("cat $TMPDIR/f").text == "one\nmore\n"
        assert s.sh("cat $TMPDIR/f").text == "one\n"
        if site.uid:  # who is not root has no rights over what is closed to him, either
            assert s.sh("mkdir -m 0 $TMPDIR/closed").code == 0
            done = site.call(site.immure, "snapshot", "create", s.id)
            assert done.code == 125 and "TMPDIR/closed: Permission denied" in done.errors, done
        else:  # nor does root put back more than the session could have made
            os.chown(s.sh("echo $TMPDIR").text.strip() + "/f", 12345, -1)
            snapshot(site, s, "--name", "given")
            done = site.call(site.immure, "resume", "given")
            assert done.code == 125 and "TMPDIR/f: Operation not permitted" in done.errors, done
            assert snap(site, "rm", "given").code == 0
        other = site.call(site.immure, "resume", "--set", "backend=native", "bare")
        assert other.code == 125 and "no such place of its own" in other.errors, other
    assert snap(site, "rm", "bare").code == 0
    assert not list(store(site).glob("[!l]*"))


@everybody
def test_names_and_operands(site):
    with Session(site) as s:
        assert site.call(site.immure, "snapshot", "create", "--name", "1", s.id).code == 125
        assert site.call(site.immure, "snapshot", "create", "--label", "no", s.id).code == 125
        assert site.call(site.immure, "snapshot", "create").code == 125
        assert site.call(site.immure, "fork", "--count", "257", s.id).code == 125
        assert not list(store(site).glob("[!l]*"))
    assert site.call(site.immure, "snapshot", "create", s.id).code == 125
    assert site.call(site.immure, "snapshot", "what").code == 125
    assert snap(site, "ls").code == 0 and json.loads(snap(site, "ls", "--json").out) == []


@pytest.mark.modes("user")
@pytest.mark.parametrize("who", ["client", "server"])
def test_killed_half_way(site, who):
    """All of it or nothing: gc removes what was being made, and the session goes on."""
    with contextlib.ExitStack() as stack:
        s = Session(site, "--rm")
        if who == "client":
            stack.enter_context(s)
        assert s.sh("head -c 60M /dev/zero | tr '\\0' x > /tmp/f").code == 0
        pid = s.json("inspect")["supervisor_pid"]
        taking = site.spawn(site.immure, "snapshot", "create", s.id, start_new_session=True)
        assert harness.until(lambda: any(f.stat().st_size for f in store(site).glob(".new.*/files")), 10)
        os.kill(taking.pid if who == "client" else pid, 9)
        taking.communicate()
        if who == "client":
            assert harness.until(lambda: s.json("inspect")["state"] == "RUNNING", 10)
            assert s.sh("stat -c %s /tmp/f").text == f"{60 << 20}\n"
        site.call(site.immure, "gc")
        assert not list(store(site).glob(".new.*"))
        if who == "server":
            assert harness.until(lambda: not os.path.exists(f"/proc/{pid}") or not harness.descendants(), 10)
            site.call(site.immure, "gc")
            s.cli("rm")


@pytest.mark.modes("root")
def test_a_full_disk(site):
    """One line, nothing left, and the session goes on; wherever it is that the space ends."""
    with Session(site) as s:
        assert s.sh("head -c 3M /dev/zero | tr '\\0' x > /tmp/f").code == 0
        length = snapshot(site, s, "--name", "fits")["about"]["files"]["length"]
        assert snap(site, "rm", "fits").code == 0
        where = store(site)
        exact = (length + 4095) // 4096 * 4096  # the files, and not what is said of them
        full = "/tmp/f: no space is left where the snapshot is written"  # not in /tmp
        for size, command, why in (1 << 20, "snapshot create", full), (1 << 20, "fork", full), \
                (exact, "snapshot create", ": No space left on device"):
            done = site.call("unshare", "--mount", "--propagation", "private", "/bin/sh", "-c",
                             f"mount -t tmpfs -o size={size},mode=700 none '{where}' || exit 1\n"
                             f"'{site.immure}' {command} {s.id}\necho $?; ls -A '{where}'; df -k --output=used '{where}'")
            assert done.text.split() in (["125", "lock", "Used", "0"], ["125", "Used", "0"]), (size, command, done)
            assert why in done.errors and done.errors.count("\n") == 1, (size, command, done)
            assert s.json("inspect")["state"] == "RUNNING"
            assert s.sh("stat -c %s /tmp/f; echo more > /tmp/g").text == f"{3 << 20}\n"
        assert not list(where.glob("[!l]*")) and not list(where.glob(".new.*"))
        snapshot(site, s, "--name", "after")
    with resumed(site, "after") as r:
        assert r.sh("stat -c %s /tmp/f; cat /tmp/g").text == f"{3 << 20}\nmore\n"
    assert snap(site, "rm", "after").code == 0
