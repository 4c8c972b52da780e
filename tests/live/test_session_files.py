# SPDX-License-Identifier: Apache-2.0
"""Files of a living session, what is attached to it, its network's rules, and the
protocol over standard streams."""

import json
import os
import subprocess

import pytest

import harness
from sessions import Session

everybody = pytest.mark.modes("root", "user", "nocgroup")


@everybody
def test_in_and_out(site):
    with Session(site) as s:
        data = os.urandom(200000)
        assert s.cli("put", "--", "/tmp/in", input=data).code == 0
        assert s.cli("cat", "--", "/tmp/in").out == data
        assert s.sh("cat /tmp/in").out == data
        assert s.sh("mkdir -p /tmp/d/sub; echo one > /tmp/d/f; echo two > /tmp/d/sub/g; chmod 750 /tmp/d/sub").code == 0
        rows = json.loads(s.cli("ls", "--json", "--", "/tmp/d").out)
        assert [(r["name"], r["type"]) for r in rows] == [("f", "file"), ("sub", "dir")]
        assert s.cli("ls", "--", "/tmp/d").text.count("\n") == 2
        assert site.call(site.immure, "cp", f"{s.id}:/tmp/d", "copied").code == 0
        assert (site.ws / "copied/f").read_text() == "one\n"
        assert (site.ws / "copied/sub/g").read_text() == "two\n"
        assert (site.ws / "copied/sub").stat().st_mode & 0o777 == 0o750
        assert site.call(site.immure, "cp", "copied", f"{s.id}:/tmp/again").code == 0
        assert s.sh("cat /tmp/again/sub/g").out == b"two\n"
        missing = s.cli("cat", "--", "/tmp/nothing")
        assert missing.code == 125 and "/tmp/nothing" in missing.errors


def test_links_never_lead_out(site):
    """A link planted inside means what it means inside: what is masked or private there
    is not reached by the one who reads from outside, who might be root."""
    with Session(site, "--deny", str(site.deny)) as s:
        (site.path / "tmp-secret").write_text("HOST")
        assert s.sh(f"ln -s {site.deny}/secret /tmp/a; ln -s /proc/self/root{site.deny} /tmp/b;"
                    f"ln -s ../../../../../../{site.deny}/secret /tmp/c; ln -s /proc/1/root /tmp/p;"
                    "ln -s /tmp/only-here /tmp/e; echo inside > /tmp/only-here; mkdir /tmp/t; ln -s / /tmp/t/l;"
                    "mkfifo /tmp/t/fifo; echo x > /tmp/t/plain").code == 0
        for name in ("/tmp/a", "/tmp/b/secret", "/tmp/c", "/tmp/p/etc/passwd", "../../../../etc/shadow"):
            done = s.cli("cat", "--", name)
            assert harness.SECRET not in done.out, name
        assert s.cli("cat", "--", "/tmp/e").out == b"inside\n"
        assert s.cli("cat", "--", "/tmp/b/secret").code == 125  # a magic link on the way
        copied = site.call(site.immure, "cp", f"{s.id}:/tmp/t", "t")
        assert copied.code == 1 and "symbolic link" in copied.errors
        assert sorted(os.listdir(site.ws / "t")) == ["plain"]
        # Nor does writing: the link's target is not touched, on either side.
        assert s.sh("ln -s /tmp/only-here /tmp/w").code == 0
        assert s.cli("put", "--", "/tmp/w", input=b"changed").code == 125
        assert s.sh("cat /tmp/only-here").out == b"inside\n"
        assert s.cli("put", "--", str(site.out / "ro.txt"), input=b"changed").code == 125
        assert (site.out / "ro.txt").read_bytes() == b"OUTSIDE\n"


@everybody
def test_attach_and_detach(site):
    with Session(site) as s:
        (site.out / "dir" / "f").write_text("attached\n")
        os.chmod(site.out / "dir", 0o777)
        assert s.cli("mount", "--", str(site.out / "dir"), "/tmp/ro").code == 0
        assert s.sh("cat /tmp/ro/f").out == b"attached\n"
        assert s.sh("echo x > /tmp/ro/new").code != 0 and not (site.out / "dir/new").exists()
        assert s.cli("mount", "--rw", "--", str(site.out / "dir"), "/tmp/rw").code == 0
        assert s.sh("echo x > /tmp/rw/new").code == 0 and (site.out / "dir/new").exists()
        assert s.cli("mount", "--", str(site.out / "ro.txt"), "/tmp/file").code == 0
        assert s.sh("cat /tmp/file").out == b"OUTSIDE\n"
        assert {m["target"]: m["mode"] for m in s.json("inspect")["mounts"]} == {
            "/tmp/ro": "ro", "/tmp/rw": "rw", "/tmp/file": "ro"}
        # A setuid program, a device: nothing of that works there.
        assert "nosuid" in s.sh("grep /tmp/rw /proc/self/mountinfo").text
        assert s.cli("umount", "--", "/tmp/ro").code == 0
        assert s.sh("ls /tmp/ro").out == b""
        assert s.cli("umount", "--", "/tmp/ro").code == 125
    assert (site.out / "dir/f").read_text() == "attached\n"


def test_attach_is_refused_where_it_must_be(site):
    with Session(site) as s:
        def refused(*args):
            done = s.cli("mount", *args)
            assert done.code == 125 and done.errors.count("\n") == 1, args
            return done.errors

        assert "state" in refused("--", str(s.directory), "/tmp/x")
        assert "state" in refused("--", "/", "/tmp/x")
        refused("--", str(site.out), "/nonexistent/place")
        refused("--", str(site.out), "relative")
        refused("--", str(site.out / "nothing"), "/tmp/x")
        refused("--", str(site.out), "/tmp/../etc")
        assert "Landlock" in refused("--rw", "--", str(site.out), "/usr")
        assert s.sh("ls /tmp").out == b""


@everybody
def test_what_is_denied_is_not_attached(site):
    """Neither itself, nor what it is in, nor what is in it."""
    with Session(site, "--deny", str(site.deny)) as s:
        for source in site.deny, site.deny.parent, site.deny / "secret":
            done = s.cli("mount", "--", str(source), "/tmp/x")
            assert done.code == 125 and ("denies" in done.errors or source == site.deny.parent), (source, done)
        assert s.cli("mount", "--", str(site.out), "/tmp/x").code == 0
        assert s.sh("cat /tmp/x/ro.txt").out == b"OUTSIDE\n"
    (site.out / "dir/f").write_text("denied")
    with Session(site, "--deny", str(site.out / "dir/f")) as s:
        done = s.cli("mount", "--", str(site.out), "/tmp/x")
        assert done.code == 125 and "denies" in done.errors, done
        assert s.sh("ls -A /tmp").out == b""


def test_limits_of_a_living_session(site):
    with Session(site, "--processes", "50") as s:
        text = site.call(site.immure, "inspect", s.id).text
        assert "RUNNING" in text
        with s.connect() as c:
            if c.ask("limits", processes=8)["ok"]:
                done = s.sh("for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 5 >&- 2>&- & done")
                assert done.code != 0 or "fork" in done.errors
                assert c.ask("stats")["forks_denied"] > 0
            else:
                assert site.uid != 0, "root has a cgroup here"
            assert not c.ask("limits", processes=0)["ok"]
            assert not c.ask("limits", nosuch=1)["ok"]


def test_limits_of_one_command(site):
    with Session(site) as s, s.connect() as c:
        exited, out, _ = c.run("/bin/sh", "-c", "ulimit -n; ulimit -f; ulimit -t",
                               limits={"open_files": 32, "file_size": 1 << 20, "cpu_time_ms": 3000})
        assert out.split()[0] == b"32" and out.split()[2] == b"3" and exited["code"] == 0
        exited, _, _ = c.run("/bin/sh", "-c", "while :; do :; done", limits={"cpu_time_ms": 1000})
        assert exited["signal"] in (24, 9)
        # Each holds, for this command alone, and none is above the session's.
        exited, _, _ = c.run("/bin/sh", "-c", "head -c 2000000 /dev/zero > big", limits={"file_size": 1 << 20})
        assert exited["code"] != 0 and (site.ws / "big").stat().st_size == 1 << 20
        for kind in ("address_space", "data"):
            eat = ["python3", "-c", "x = bytearray(1 << 29); print('had')"]
            exited, out, _ = c.run(*eat, limits={kind: 1 << 28})
            assert exited["code"] != 0 and not out, kind
            assert c.run(*eat)[1] == b"had\n"
        hard = int(s.sh("ulimit -Hn").out)
        assert int(c.run("/bin/sh", "-c", "ulimit -n", limits={"open_files": hard + 1000})[1]) <= hard


def test_rules_of_the_network(site):
    with Session(site) as s:
        shown = site.call(site.immure, "net", "show", s.id)
        assert shown.code == 0 and "none" in shown.text
        refused = site.call(site.immure, "net", "allow", s.id, "example.com")
        assert refused.code == 125 and "network.mode" in refused.errors
    with Session(site, "--net", "limited", "--allow", "example.com") as s:
        def net(verb, *rules):
            done = site.call(site.immure, "net", verb, "--json", s.id, *rules)
            assert done.code == 0, done
            return json.loads(done.out)["network"]

        assert net("show")["allow"] == ["example.com"]
        assert sorted(net("allow", "pypi.org:443")["allow"]) == ["example.com", "pypi.org:443"]
        after = net("deny", "example.com")
        assert after["allow"] == ["pypi.org:443"] and after["deny"] == ["example.com"]
        assert site.call(site.immure, "net", "allow", s.id, "not a rule!").code == 125
        assert net("show") == after


def test_serve(site):
    def speak(lines, *args):
        process = site.spawn(site.immure, "serve", "--stdio", *args, stdin=subprocess.PIPE)
        answers = []
        for line in lines:
            process.stdin.write(json.dumps(line).encode() + b"\n")
            process.stdin.flush()
            while True:
                answers.append(json.loads(process.stdout.readline()))
                if answers[-1].get("id") == line["id"] and line["op"] != "exec":
                    break
                if answers[-1].get("event") == "exited":
                    break
        process.stdin.close()
        assert process.wait(20) == 0, process.stderr.read()
        process.stdout.close()
        process.stderr.close()
        return answers

    hello = {"id": 1, "op": "hello"}
    run = {"id": 2, "op": "exec", "argv": ["/bin/echo", "said"]}
    with Session(site) as s:
        answers = speak([hello, run], s.id)
        assert answers[0]["session"] == s.id and answers[-1]["code"] == 0
        many = {"id": 3, "op": "exec", "argv": ["/bin/sh", "-c", "echo $#", "sh"] + ["w" * 50] * 3000}
        frames = [a for a in speak([hello, many], s.id) if a.get("event") == "frame"]
        assert frames[0]["data"] == "MzAwMAo="
    made = speak([hello, run])[0]["session"]
    assert harness.until(lambda: made not in site.call(site.immure, "ps", "--all").text, 5)
