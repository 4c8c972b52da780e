# SPDX-License-Identifier: Apache-2.0
"""Sealed in without namespaces, on a host that gives none."""

import json
import os
import pathlib
import pty
import signal
import subprocess
import time

import pytest

import harness

BARE = list(harness.BARE)
CREATE = [*BARE, "--downgrade", "file_create"]

pytestmark = pytest.mark.modes("root", "user")


def bare(site, script, flags=(), **kw):
    """As Docker leaves it: no user namespace to be had."""
    kw.setdefault("without", "userns")
    return site.sh(script, flags=[*BARE, *flags], **kw)


def own_dirs(site):
    """Those whose maker, whose number is in the name, is gone: others may be at work."""
    where = pathlib.Path("/run/immure/tmp") if site.uid == 0 else site.run_dir / "immure/tmp"
    return [d for d in where.iterdir() if not os.path.exists(f"/proc/{d.name.split('-')[0]}")] \
        if where.is_dir() else []


def test_runs_where_native_does_not(site):
    assert site.run("/bin/true", flags=["--backend", "native"], without="userns").code == 125
    result = bare(site, "echo out; echo err >&2; exit 7", record=True)
    assert (result.code, result.out) == (7, b"out\n"), result
    assert result.record["backend"] == "landlock"
    assert b"err\n" in result.err


def test_losses_must_be_approved(site):
    for missing in ("process_visibility", "file_metadata"):
        flags = ["--backend", "landlock"]
        for one in {"process_visibility", "file_metadata"} - {missing}:
            flags += ["--downgrade", one]
        result = site.run("/bin/touch", "ran", flags=flags)
        assert result.code == 125 and missing in result.errors, result
        assert not (site.ws / "ran").exists()
    (site.ws / ".git").mkdir()
    (site.ws / ".git/config").write_text("")
    site.own(site.ws)
    result = bare(site, "touch ran")
    assert result.code == 125 and "file_create" in result.errors, result


def test_never_for_work_from_elsewhere(site):
    result = bare(site, "touch ran", flags=["--origin", "remote"])
    assert result.code == 125 and not (site.ws / "ran").exists(), result


@pytest.mark.parametrize("script", [
    "cat ~/.ssh/id_rsa", "ls ~/.ssh", "cat {deny}/secret", "ls {deny}", "echo x >{out}/ro.txt",
    "touch {out}/new", "mkdir {out}/dir/new", "rm {out}/ro.txt", "mv {out}/ro.txt ws-got",
    "ln {out}/ro.txt got", "ln {deny}/secret got", "echo x >/tmp/x", "ls /tmp", "ls /run", "echo x >/dev/shm/x",
    "echo x >/proc/self/comm", "echo x >/proc/sys/kernel/hostname", "echo 0 >/proc/$PPID/oom_score_adj",
    "chmod 777 {out}/ro.txt", "chmod 777 {home}/.ssh", "touch -t 200001010000 {out}/ro.txt",
    "cat /proc/{pid}/environ", "ls -l /proc/{pid}/fd/0", "kill -0 {pid}", "kill -0 $PPID",
    "kill -9 {pid}", "kill -STOP $PPID", "setfattr -n user.planted -v x {out}/ro.txt",
    "getfattr -d {priv}/secret.txt | grep planted",
])
def test_denied(site, script):
    for place in ("home", "out", "deny"):
        assert (getattr(site, place)).is_dir()
    with subprocess.Popen(["/bin/sleep", "60"], env={"CANARY": "x"}, **site.identity()) as victim:
        words = {k: str(v) for k, v in vars(site).items()}
        before = harness.tree_hash(site.out)
        # By the shell's own kill and redirections, so that each is one act.
        result = bare(site, script.format(pid=victim.pid, **words), flags=["--deny", site.deny])
        alive = victim.poll() is None
        victim.kill()
    assert alive, "the process outside was killed"
    assert result.code != 0 and harness.SECRET not in result.out, result
    assert harness.tree_hash(site.out) == before


@pytest.mark.parametrize("code", [
    "socket.socket(socket.AF_INET)", "socket.socket(socket.AF_UNIX)", "socket.socket(socket.AF_NETLINK, 3)",
    "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)", "os.truncate(sys.argv[1], 0)",
    "open(os.open(sys.argv[1], os.O_RDONLY | os.O_TRUNC))",
    "resource.prlimit(int(sys.argv[2]), resource.RLIMIT_NOFILE, (9, 9))",
    "os.setpriority(os.PRIO_PROCESS, int(sys.argv[2]), 19)",
    "os.sched_setaffinity(int(sys.argv[2]), {0})",
    "ctypes.CDLL(None, use_errno=True).shmget(1, 4096, 0o1600) >= 0 or sys.exit(1)",
])
def test_calls_denied(site, code):
    with subprocess.Popen(["/bin/sleep", "60"], **site.identity()) as victim:
        script = f"import os, sys, socket, resource, ctypes\n{code}\nprint('DONE')"
        result = site.run("/usr/bin/python3", "-c", script, f"{site.out}/ro.txt", str(victim.pid),
                          flags=BARE)
        victim.kill()
    assert result.code != 0 and b"DONE" not in result.out, result
    assert (site.out / "ro.txt").read_bytes() == b"OUTSIDE\n"


def test_work_goes_on(site):
    script = """set -e
mkdir -p a/b; echo one >a/b/f; mv a/b/f a/g; cp a/g h; ln h i; ln -s h j; cat j; rm i; rmdir a/b
f=$(mktemp); echo tmp >$f; cat $f; python3 -c 'import tempfile; tempfile.TemporaryFile().write(b"x")'
(echo in; sleep 0.01) | cat; true > /dev/null; head -c 4 /dev/urandom >/dev/null; ls >/dev/null
"""
    result = bare(site, script)
    assert result.code == 0, result
    assert result.out.split() == [b"one", b"tmp", b"in"]
    assert own_dirs(site) == []


@pytest.mark.parametrize("profile", ["dev", "readonly", "strict"])
def test_proven(site, profile):
    result = site.call(site.immure, "prove", "--json", "--profile", profile, *BARE, without="userns")
    assert result.code == 0, result
    proof = json.loads(result.out)
    assert proof["holds"] is True and proof["held"] >= 100, proof["held"]
    for point in proof["points"]:
        if point["verdict"] == "not_applicable":
            assert point["reason"], point


@pytest.mark.parametrize("version", [1, 3, 5])
def test_proven_where_landlock_is_older(site, version):
    """Without scopes init can be killed from inside: a gap, and no act of the attack's."""
    result = site.call(site.immure, "prove", "--json", "--backend", "landlock", "--downgrade",
                       "process_visibility,file_metadata,signals", without=f"userns,landlock={version}")
    assert result.code == 0, result
    proof = json.loads(result.out)
    assert proof["holds"] is True and proof["held"] >= 100, proof["held"]
    points = {point["id"]: point for point in proof["points"]}
    assert points["signals.init"]["verdict"] == "not_applicable", points["signals.init"]


def test_proof_needs_the_gaps_it_rests_on(site):
    """Without approval nothing starts, so nothing is called proven either."""
    result = site.call(site.immure, "prove", "--json", "--backend", "landlock")
    assert result.code == 125, result


# ---- nothing is left --------------------------------------------------------

DAEMONS = """
for i in 1 2 3; do setsid sh -c 'sleep 300 & sleep 300' </dev/null >/dev/null 2>&1 & done
python3 -c '
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(300)
    os._exit(0)
os.wait()'
mkdir -p $TMPDIR/deep/$(seq -s/ 60) ; touch $TMPDIR/deep/f
echo ready
"""


def sleepers(site):
    found = []
    for p in pathlib.Path("/proc").iterdir():
        if p.name.isdigit():
            try:
                if (p / "cwd").readlink() == site.ws and int(p.name) != os.getpid():
                    found.append(int(p.name))
            except OSError:
                pass
    return found


def all_gone(site):
    assert harness.until(lambda: not sleepers(site), 3), sleepers(site)
    assert harness.until(lambda: not own_dirs(site), 3), own_dirs(site)


def test_daemons_end_with_the_command(site):
    result = bare(site, DAEMONS, timeout=30)
    assert (result.code, result.out) == (0, b"ready\n"), result
    all_gone(site)


@pytest.mark.parametrize("whom", ["supervisor", "init", "command"])
def test_killed(site, whom):
    process = site.spawn(site.immure, "run", *BARE, "--", "/bin/sh", "-c", DAEMONS + "sleep 300",
                         without="userns")
    assert process.stdout.readline() == b"ready\n"

    def child(pid):
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
            pids = [int(p) for p in f.read().split()]
        return pids

    init = next(p for p in child(process.pid)
                if pathlib.Path(f"/proc/{p}/comm").read_text() == "immure-init\n")
    victim = {"supervisor": process.pid, "init": init, "command": min(child(init))}[whom]
    os.kill(victim, signal.SIGKILL)
    process.communicate(timeout=20)
    assert process.returncode != 0
    all_gone(site)


def test_strangers_are_left_alone(site):
    """A child that the shell had before it became the launcher is not the session's."""
    process = site.spawn("/bin/sh", "-c", 'sleep 300 >/dev/null 2>&1 & echo $! >stranger; exec "$@"', "sh",
                         site.immure, "run", *BARE, "--", "/bin/echo", "done")
    out, _ = process.communicate(timeout=20)
    assert out == b"done\n"
    stranger = int((site.ws / "stranger").read_text())
    assert pathlib.Path(f"/proc/{stranger}").exists()
    os.kill(stranger, signal.SIGKILL)


def test_wall_time_and_signals(site):
    start = time.monotonic()
    result = bare(site, "sleep 300", flags=["--timeout", "300ms"], timeout=30)
    assert result.code == 124 and time.monotonic() - start < 20, result
    process = site.spawn(site.immure, "run", *BARE, "--", "/bin/sh", "-c",
                         "trap 'echo got; exit 3' TERM; echo ready; while :; do sleep 0.05; done")
    assert process.stdout.readline() == b"ready\n"
    process.terminate()
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (3, b"got\n")


def test_terminal(site):
    outside, inside = pty.openpty()
    process = site.spawn(site.immure, "run", *BARE, "--", "/bin/sh", "-c",
                         "test -t 0 && test -t 1 && stty size </dev/tty >/dev/null && echo is-a-tty",
                         stdin=inside, stdout=inside, stderr=inside)
    os.close(inside)
    text = b""
    while True:
        try:
            chunk = os.read(outside, 4096)
        except OSError:
            break
        if not chunk:
            break
        text += chunk
    os.close(outside)
    assert process.wait(20) == 0 and b"is-a-tty" in text, text


# ---- older, poorer ----------------------------------------------------------


def test_without_landlock_it_refuses(site):
    for call in ("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self", "seccomp"):
        result = site.run("/bin/touch", "ran", flags=BARE, without=call)
        assert result.code == 125 and not (site.ws / "ran").exists(), (call, result)


@pytest.mark.parametrize("without", ["openat2", "clone3", "close_range", "pidfd_open", "memfd_create",
                                     "faccessat2"])
def test_older_kernels(site, without):
    result = bare(site, "cat {}/secret; echo x >{}/ro.txt; echo end".format(site.deny, site.out),
                  flags=["--deny", site.deny], without=f"userns,{without}")
    if result.code == 125:
        assert without in ("close_range",), result
        return
    assert (result.code, result.out) == (0, b"end\n"), result
    assert (site.out / "ro.txt").read_bytes() == b"OUTSIDE\n"


def test_inside_itself(site):
    """An agent in an agent: two deep, and the inner denies more."""
    inner = [str(site.immure), "run", *CREATE, "--deny", "sub", "--", "/bin/sh", "-c",
             "cat mine; cat sub/hidden/secret; cat ../deny/secret; echo x >sub/x; echo end"]
    script = "export XDG_RUNTIME_DIR=$TMPDIR; " + " ".join(f"'{w}'" for w in inner)
    result = bare(site, script, flags=["--deny", site.deny, "--downgrade", "file_create"])
    if site.uid == 0 and result.code == 125 and "/run/immure" in result.errors:
        return  # root's state directory is the outer's
    assert (result.code, result.out) == (0, b"mine\nend\n"), result
    assert not (site.ws / "sub/x").exists()


def test_what_was_there_right_before_stays(site):
    """Told by the tick of a clock it is as new as what the command makes; but it could not be changed."""
    for _ in range(12):
        site.put(".envrc", "mine")
        result = site.run("/bin/true", flags=["--backend", "landlock",
                                              "--downgrade", harness.BARE_GAPS + ",file_create"])
        assert result.code == 0 and (site.ws / ".envrc").read_text() == "mine", result
        (site.ws / ".envrc").unlink()
