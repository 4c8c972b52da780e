# SPDX-License-Identifier: Apache-2.0
"""The file policy of a living session, tightened: for every later command, whatever way
it takes, and never taken back."""

import json
import os
import socket

import pytest

import harness
from sessions import Session

SECRET = harness.SECRET.decode()
everybody = pytest.mark.modes("root", "user", "nocgroup", "enosys")


@pytest.fixture
def tree(site):
    """ws/a/b/secret, and the same directory at another place, all of it the command's."""
    deep = site.ws / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "secret").write_text(SECRET)
    (site.ws / "a" / "note").write_text("note")
    for each in (site.ws, site.ws / "a", deep):
        os.chmod(each, 0o777)
    for each in (deep / "secret", site.ws / "a" / "note"):
        os.chmod(each, 0o666)
    return site.ws / "a"


def tighten(s, verb, *paths):
    done = s.site.call(s.site.immure, "tighten", verb, "--json", s.id, *map(str, paths))
    assert done.code == 0, done
    return json.loads(done.out)


def refused(s, verb, *paths):
    done = s.site.call(s.site.immure, "tighten", verb, s.id, *map(str, paths))
    assert done.code == 125 and done.errors.count("\n") == 1, done
    return done.errors


@everybody
def test_denied_and_read_only(site, tree):
    with Session(site) as s, s.connect() as c:
        first = s.json("inspect")
        assert first["policy_revision"] == 0 and not first["tightened"]
        assert s.sh(f"cat {tree}/b/secret").out == SECRET.encode()
        done = tighten(s, "deny", tree / "b")
        assert done["policy_revision"] == 1 and "later" in done["applies"]
        assert done["policy_version"] != first["policy_version"]
        for attempt in (f"cat {tree}/b/secret", f"ls {tree}/b", f"cd {tree} && cat b/secret",
                        f"chmod 777 {tree}/b", f"echo x > {tree}/b/new", f"mv {tree}/b {tree}/c",
                        f"rmdir {tree}/b", f"mv {tree} {site.ws}/other", f"ln -s {tree}/b l && ls l/",
                        f"umount {tree}/b"):
            denied = s.sh(attempt)
            assert denied.code != 0 and SECRET not in denied.text, attempt
        # A mask says so; it does not look absent.
        assert "ermission denied" in s.sh(f"cat {tree}/b/secret").errors
        assert s.sh(f"cat {tree}/note; echo more >> {tree}/note; touch {tree}/new").out == b"note"
        done = tighten(s, "read-only", tree / "note")
        assert done["policy_revision"] == 2
        for attempt in (f"echo x > {tree}/note", f"rm {tree}/note", f"mv {tree}/note {tree}/n",
                        f"mv {tree}/new {tree}/note", f"chmod 600 {tree}/note"):
            assert s.sh(attempt).code != 0, attempt
        assert s.sh(f"cat {tree}/note").out == b"notemore\n"
        # Each command says under which policy it ran, and so does the session.
        ended, _, _ = c.run("/bin/true")
        about = s.json("inspect")
        assert ended["policy_revision"] == 2
        assert ended["policy_version"] == about["policy_version"] == done["policy_version"]
        assert [(t["path"], t["how"], t["revision"]) for t in about["tightened"]] == [
            (str(tree / "note"), "read-only", 2), (str(tree / "b"), "deny", 1)]
        # The host is as it was, but for what the commands did before and beside.
        assert (tree / "b/secret").read_text() == SECRET
        assert sorted(os.listdir(tree)) == ["b", "new", "note"]


@everybody
def test_by_other_ways(site, tree):
    """The same directory seen at other places, and descriptors of before."""
    with Session(site) as s, s.connect() as c:
        assert s.cli("mount", "--rw", "--", str(tree / "b"), "/tmp/alias").code == 0
        assert s.cli("mount", "--", str(tree), "/tmp/above").code == 0
        assert s.sh("cat /tmp/alias/secret /tmp/above/b/secret").out == 2 * SECRET.encode()
        old = c.ask("exec", argv=["/bin/sh", "-c", f"cd {tree}/b && exec 7<secret 8<. && echo && "
                                  "exec sleep 1000"])
        c.event("frame", old["exec"])
        done = tighten(s, "deny", tree / "b")
        assert done["older"] == [old["exec"]]
        for way in ("/tmp/alias/secret", "/tmp/above/b/secret", f"{tree}/b/secret"):
            assert s.sh(f"cat {way}").code != 0, way
        pid = old["pid"]
        ways = [f"/proc/{pid}/fd/7", f"/proc/{pid}/fd/8/secret", f"/proc/{pid}/cwd/secret"]
        if done["apart"]:
            for way in ways:
                assert SECRET not in s.sh(f"cat {way}").text, way
            for way in (f"readlink /proc/{pid}/fd/7", f"cd /proc/{pid}/cwd", f"head -c1 /proc/{pid}/mem"):
                assert s.sh(way).code != 0, way
            # Commands of the same revision are apart too, and each still sees its own.
            assert s.sh("exec 3</etc/passwd; head -c1 /proc/self/fd/3; (head -c1 /proc/$$/fd/3)").code == 0
        # What runs has it until it ends, and it can be ended.
        assert s.sh(f"kill {pid}").code == 0
        assert c.event("exited", old["exec"])["policy_revision"] == 0


@everybody
def test_a_running_command_meets_it_too(site, tree):
    """From directories above, opened before."""
    with Session(site) as s, s.connect() as c:
        old = c.ask("exec", argv=["/bin/sh", "-c", f"cd {site.ws}; exec 8<{tree}; echo; read x; "
                                  "cat a/b/secret; cat /proc/self/fd/8/b/secret; mv a other; echo $?"],
                    stdin="stream")
        c.event("frame", old["exec"])
        tighten(s, "deny", tree / "b")
        import base64
        assert c.ask("input", exec=old["exec"], data=base64.b64encode(b"\n").decode())["ok"]
        _, out, _ = c.collect(old["exec"])
        assert SECRET.encode() not in out and not out.endswith(b"0\n")


def test_never_looser(site, tree):
    with Session(site) as s, s.connect() as c:
        assert s.cli("mount", "--", str(site.out), "/tmp/out").code == 0
        tighten(s, "deny", tree / "b")
        tighten(s, "deny", "/tmp/out")
        # Not by attaching it again, from above, below, or over it.
        for source, target in ((tree / "b", "/tmp/x"), (tree, "/tmp/x"), (site.ws, "/tmp/x"),
                               (tree / "b/secret", "/tmp/x"), (site.home, tree / "b"),
                               (site.home, tree), (site.home, "/tmp/out")):
            done = s.cli("mount", "--", str(source), str(target))
            assert done.code == 125 and "tightened" in done.errors, (source, target)
        assert "tightened" in s.cli("umount", "--", "/tmp/out").errors
        assert s.sh("ls /tmp/out").code != 0
        # Saying less afterwards changes nothing; the same once more neither.
        for verb in ("read-only", "deny"):
            assert tighten(s, verb, tree / "b", tree / "b/secret")["policy_revision"] == 2
        assert s.sh(f"cat {tree}/b/secret").code != 0
        for wrong in ({"allow": ["/tmp"]}, {"deny": "/tmp"}, {"deny": [1]}, {"deny": ["/"]},
                      {"deny": ["/dev"]}, {"deny": ["relative"]}, {"deny": ["/tmp/../etc"]}):
            answer = c.ask("tighten", **wrong)
            assert not answer["ok"], wrong
        # What an attachment hid is tightened as well when that goes.
        assert s.sh("mkdir /tmp/p").code == 0
        assert s.cli("mount", "--", str(site.home), "/tmp/p").code == 0
        assert s.cli("umount", "--", "/tmp/p").code == 0
        assert s.json("inspect")["policy_revision"] == 2


def test_what_was_hidden_by_an_attachment(site, tree):
    with Session(site) as s:
        assert s.cli("mount", "--", str(tree / "b"), "/tmp/alias").code == 0
        assert s.cli("mount", "--", str(site.home), "/tmp/alias").code == 0
        tighten(s, "deny", tree / "b")
        assert s.cli("umount", "--", "/tmp/alias").code == 0
        assert SECRET not in s.sh("cat /tmp/alias/secret").text


def test_refused_where_it_would_not_hold(site, tree):
    with Session(site) as s:
        os.link(tree / "b/secret", site.ws / "name")
        assert "hard links" in refused(s, "deny", tree / "b/secret")
        os.symlink(tree / "b", site.ws / "link")
        assert "link" in refused(s, "deny", site.ws / "link" / "secret")
        assert "No such file" in refused(s, "deny", tree / "nothing")
        # None of several is done when one cannot be.
        refused(s, "deny", tree / "b", tree / "nothing")
        assert s.sh(f"cat {tree}/b/secret").out == SECRET.encode()
        assert s.json("inspect")["policy_revision"] == 0
        for argv in (["tighten"], ["tighten", "allow", s.id, "/tmp"], ["tighten", "deny", s.id]):
            assert site.call(site.immure, *argv).code == 125


def test_a_frozen_session_is_tightened(site, tree):
    with Session(site) as s:
        assert s.cli("freeze").code == 0
        tighten(s, "deny", tree / "b")
        assert s.cli("thaw").code == 0
        assert s.sh(f"cat {tree}/b/secret").code != 0


def test_by_a_lane_as_well(site, tree):
    """A plain command goes to init directly."""
    with Session(site) as s, s.connect() as c:
        assert c.ask("tighten", deny=[str(tree / "b")])["ok"]
        ran = s.json("stats")["execs_started"]
        assert SECRET not in s.exec("/bin/cat", str(tree / "b/secret")).text
        assert s.json("stats")["execs_started"] == ran + 1
