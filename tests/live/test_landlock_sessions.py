# SPDX-License-Identifier: Apache-2.0
"""Sessions without namespaces: many commands, one place, nothing left of it."""

import json
import os
import pathlib
import signal
import time

import pytest

import harness
from sessions import Session

pytestmark = pytest.mark.modes("landlock", "landlock-user")


def tmp_of(s):
    return s.sh("echo $TMPDIR").text.strip()


def test_many_commands(site):
    with Session(site, "--name", f"bare{os.getpid()}") as s:
        done = s.sh("echo out; echo err >&2; exit 7")
        assert (done.code, done.out, done.err) == (7, b"out\n", b"err\n")
        assert s.sh("kill -TERM $$").code == 128 + signal.SIGTERM
        assert (s.exec("no-such-command").code, s.exec("/etc/passwd").code) == (127, 126)
        # What one leaves the next one finds: it is one place, and it goes with the session.
        assert s.sh("echo kept > $TMPDIR/file; > here").code == 0
        assert s.sh("cat $TMPDIR/file; echo here").out == b"kept\nhere\n"
        own = pathlib.Path(tmp_of(s))
        assert own.is_dir() and s.json("inspect")["backend"] == "landlock"
    assert not own.exists() and not own.parent.exists()


def test_sealed_in_from_the_first_instruction(site):
    with Session(site, "--deny", str(site.deny)) as s:
        assert harness.SECRET not in s.sh(f"cat {site.deny}/secret {site.home}/.ssh/id_rsa").out
        assert s.exec("/bin/cat", f"{site.deny}/secret").code != 0
        assert s.exec(str(site.deny / "prog")).code == 126  # not even executed
        assert s.sh(f"echo x > {site.out}/new").code != 0 and not (site.out / "new").exists()
        assert s.sh("echo x > /tmp/x").code != 0 and s.sh("chmod 777 /etc").code != 0
        status = s.sh("grep -E 'Cap(Eff|Prm|Inh|Amb)|NoNewPrivs|Seccomp:' /proc/self/status").text
        assert status.count("0000000000000000") == 4 and "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status
        assert s.sh("ls /proc/self/fd").text.split() == ["0", "1", "2", "3"]
        # Whoever could end init, or stop it, would be rid of it.
        pids = s.json("inspect")
        for pid in (pids["init_pid"], pids["supervisor_pid"], os.getpid(), 1):
            assert s.sh(f"kill -0 {pid} || kill -STOP {pid}").code != 0 or harness.LANDLOCK_ABI < 6


def test_commands_are_apart_from_each_other(site):
    """Each has a domain of its own: one cannot signal another or look into it."""
    if harness.LANDLOCK_ABI < 6:
        pytest.skip("Landlock here has no scopes")
    with Session(site) as s, s.connect() as c:
        one = c.ask("exec", argv=["/bin/sleep", "96"])
        assert s.sh(f"kill -9 {one['pid']}").code != 0
        assert s.sh(f"cat /proc/{one['pid']}/environ").code != 0
        assert c.ask("signal", exec=one["exec"], signal="KILL")["ok"]
        assert c.event("exited", one["exec"])["signal"] == 9


def test_terminal(site):
    with Session(site) as s, s.connect() as c:
        exited, out, _ = c.run("/bin/sh", "-c", "tty >/dev/null && stty size && test -t 0 && echo x >/dev/tty",
                               pty={"rows": 31, "cols": 97})
        assert exited["code"] == 0 and out.split() == [b"31", b"97", b"x"], (exited, out)
        # The others of the host stay closed.
        assert s.sh("ls /dev/pts").code != 0 and s.sh("cat /dev/ptmx").code != 0


# ---- files from outside ----------------------------------------------------------


def test_files(site):
    with Session(site) as s:
        tmp, data = tmp_of(s), os.urandom(200000)
        assert s.cli("put", "--", f"{tmp}/in", input=data).code == 0
        assert s.cli("cat", "--", f"{tmp}/in").out == data == s.sh("cat $TMPDIR/in").out
        assert s.sh("mkdir -p $TMPDIR/d/sub; echo one > $TMPDIR/d/f; echo two > $TMPDIR/d/sub/g").code == 0
        rows = json.loads(s.cli("ls", "--json", "--", f"{tmp}/d").out)
        assert [(r["name"], r["type"]) for r in rows] == [("f", "file"), ("sub", "dir")]
        assert site.call(site.immure, "cp", f"{s.id}:{tmp}/d", "copied").code == 0
        assert (site.ws / "copied/sub/g").read_text() == "two\n"
        assert site.call(site.immure, "cp", "copied", f"{s.id}:{tmp}/again").code == 0
        assert s.sh("cat $TMPDIR/again/sub/g").out == b"two\n"
        missing = s.cli("cat", "--", f"{tmp}/nothing")
        assert missing.code == 125 and "nothing" in missing.errors


def test_links_never_lead_out(site):
    """Names are the host's here: a link that a command has made leads whoever asks from
    outside, who might be root, no further than the command gets itself."""
    with Session(site, "--deny", str(site.deny)) as s:
        tmp = tmp_of(s)
        (site.ws / "payload").mkdir()
        (site.ws / "payload" / "f").write_text("payload")
        site.own(site.ws / "payload")
        assert s.sh(f"cd $TMPDIR; ln -s {site.deny}/secret a; ln -s {site.deny} b; ln -s {site.home}/.ssh h;"
                    f"ln -s {site.out} o; ln -s {site.out}/ro.txt w; ln -s /proc/self/mem m; ln -s / l;"
                    "mkdir t; ln -s / t/l; mkfifo t/fifo; echo x >t/plain").code == 0
        before = harness.tree_hash(site.out), harness.tree_hash(site.home), harness.tree_hash(site.deny)
        for name in ("a", "b/secret", "h/id_rsa", "m", "l/proc/self/maps", f"l{site.deny}/secret"):
            done = s.cli("cat", "--", f"{tmp}/{name}")
            assert done.code == 125 and harness.SECRET not in done.out, name
        assert s.cli("ls", "--", f"{tmp}/b").code == 125
        for name in ("w", "o/new", "o/ro.txt", "h/id_rsa"):
            assert s.cli("put", "--", f"{tmp}/{name}", input=b"x").code == 125, name
        for name in ("o", "h", "o/dir", "w"):
            assert site.call(site.immure, "cp", "payload", f"{s.id}:{tmp}/{name}").code != 0, name
        copied = site.call(site.immure, "cp", f"{s.id}:{tmp}/t", "t")
        assert copied.code == 1 and "symbolic link" in copied.errors
        assert sorted(os.listdir(site.ws / "t")) == ["plain"]
        with s.connect() as c:
            for request in ({"do": "remove", "path": f"{tmp}/o/ro.txt"}, {"do": "mkdir", "path": f"{tmp}/o/new"},
                            {"do": "rename", "path": f"{tmp}/o/ro.txt", "to": f"{tmp}/taken"},
                            {"do": "rename", "path": f"{tmp}/t/plain", "to": f"{tmp}/o/new"},
                            {"do": "open", "path": f"{tmp}/o", "flags": os.O_PATH},
                            {"do": "open", "path": "relative"}, {"do": "chmod", "path": f"{tmp}/t"}, {}):
                assert not c.ask("file", **request)["ok"], request
            assert c.ask("file", do="remove", path=f"{tmp}/t/plain")["ok"]
        assert before == (harness.tree_hash(site.out), harness.tree_hash(site.home), harness.tree_hash(site.deny))


def test_what_it_cannot_do_is_refused(site):
    with Session(site) as s:
        for words, why in ((("mount", s.id, site.out, "/mnt"), "no view of files of its own"),
                           (("tighten", "deny", s.id, site.ws / "mine"), "no view of files of its own"),
                           (("net", "allow", s.id, "example.com"), "not limited")):
            done = site.call(site.immure, *words)
            assert done.code == 125 and why in done.errors and done.errors.count("\n") == 1, done
        assert s.sh("cat mine").code == 0


# ---- nothing is left ----------------------------------------------------------

DAEMONS = """
for i in 1 2 3; do setsid sh -c 'sleep 300 & sleep 300' </dev/null >/dev/null 2>&1 & done
python3 -c '
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        null = os.open("/dev/null", os.O_RDWR)
        for i in range(3):
            os.dup2(null, i)
        time.sleep(300)
    os._exit(0)
os.wait()'
echo ready
"""


def inside(site):
    found = []
    for p in pathlib.Path("/proc").iterdir():
        if p.name.isdigit() and int(p.name) != os.getpid():
            try:
                if (p / "cwd").readlink() == site.ws and b"immure" not in (p / "comm").read_bytes():
                    found.append(int(p.name))
            except OSError:
                pass
    return found


def clean(site, s, own):
    harness.descendants()  # reaps
    assert harness.until(lambda: not inside(site), 2), [harness.describe(p) for p in inside(site)]
    assert harness.until(lambda: not own.exists(), 2), own
    assert site.call(site.immure, "gc", "--json").code == 0
    # The server may still be about to end.
    assert harness.until(lambda: not s.directory.exists() or s.cli("rm").code == 0, 5)


@pytest.mark.parametrize("frozen", [False, True], ids=["running", "frozen"])
@pytest.mark.parametrize("who", ["supervisor_pid", "init_pid", "both"])
def test_kill_leaves_nothing(site, who, frozen):
    s = Session(site)
    own = pathlib.Path(tmp_of(s)).parent
    assert s.sh(DAEMONS).out == b"ready\n"
    assert harness.until(lambda: len(inside(site)) >= 7, 5)
    pids = s.json("inspect")
    if frozen:
        assert s.cli("freeze").code == 0
    # Both: init first, or it would see to the rest itself.
    for k in ("init_pid", "supervisor_pid"):
        if who in (k, "both"):
            os.kill(pids[k], signal.SIGKILL)
    if frozen and who == "init_pid":
        s.cli("thaw")  # what is frozen by a v1 cgroup dies when it is not any more
    clean(site, s, own)


def test_stop_ends_daemons(site):
    s = Session(site)
    own = pathlib.Path(tmp_of(s)).parent
    assert s.sh(DAEMONS).out == b"ready\n"
    assert s.cli("stop", "--rm").code == 0
    clean(site, s, own)


def test_frozen_and_thawed(site):
    with Session(site) as s:
        counter = site.ws / "count"
        assert s.sh("(while :; do echo x >>count; sleep 0.02; done) </dev/null >/dev/null 2>&1 &").code == 0
        assert harness.until(counter.exists, 5)
        assert s.cli("freeze").code == 0
        time.sleep(0.1)
        stood = counter.stat().st_size
        time.sleep(0.3)
        assert counter.stat().st_size == stood
        assert s.cli("thaw").code == 0
        assert harness.until(lambda: counter.stat().st_size > stood, 5)


def test_detached_and_reclaimed(site):
    with Session(site) as s:
        ticket = site.call(site.immure, "detach", "--json", s.id)
        assert ticket.code == 0, ticket
        assert s.sh("echo still").out == b"still\n"


def test_pools(site):
    """Of one workspace they follow; one whose sessions get theirs later cannot be."""
    name = f"bare{os.getpid()}"
    opened = site.call(site.immure, "pool", "start", *harness.BARE, "--name", name)
    if opened.code == 0:
        site.call(site.immure, "pool", "stop", "--force", name)
    assert opened.code == 125 and "given a workspace later" in opened.errors, opened
    assert site.call(site.immure, "pool", "start", *harness.BARE, "--workspace", ".", "--name", name).code == 0
    try:
        for _ in range(3):
            done = site.call(site.immure, "run", "--pool", name, "--", "/bin/sh", "-c",
                             f"echo in; test ! -e $TMPDIR/x && echo >$TMPDIR/x; cat {site.home}/.ssh/id_rsa")
            assert done.out == b"in\n" and done.code == 1, done
    finally:
        assert site.call(site.immure, "pool", "stop", "--force", name).code == 0
