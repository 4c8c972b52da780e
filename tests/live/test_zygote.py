# SPDX-License-Identifier: Apache-2.0
"""A pool that makes a sandbox for each command, after a template."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import time

import pytest

import harness
from test_pool import Pool

everybody = pytest.mark.modes("root", "user", "nocgroup")


class Zygote(Pool):
    def __init__(self, site, *flags, size=2, most=16):
        super().__init__(site, "--mode", "zygote", *flags, size=size, most=most)

    @property
    def template(self):
        return self.stats()["template_pid"]

    def inside(self):
        """The host's numbers of all that was made after the template."""
        pid = self.template
        found, todo = [], [pid]
        while todo:
            with contextlib.suppress(OSError):
                p = todo.pop()
                todo += map(int, pathlib.Path(f"/proc/{p}/task/{p}/children").read_text().split())
                found += [p] if p != pid else []
        return found


def is_there(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def gone(pids):
    return harness.until(lambda: not any(map(is_there, pids)), 10)


@everybody
def test_as_if_it_ran_here(site):
    with Zygote(site) as pool:
        done = pool.sh("echo out; echo err >&2; pwd; exit 7")
        assert (done.code, done.out, done.err) == (7, f"out\n{site.ws}\n".encode(), b"err\n")
        assert pool.sh("cat", input=b"x" * 300000).out == b"x" * 300000
        assert pool.run("no-such-command").code == 127
        (site.ws / "plain").write_text("text")
        assert pool.run("./plain").code == 126
        assert pool.sh("kill -SEGV $$").code == 128 + signal.SIGSEGV
        assert pool.sh("kill -TERM $$").code == 128 + signal.SIGTERM, "the command is not pid 1"
        assert pool.run("true", flags=["--cwd", "/nowhere"]).code == 125
        many = ["x" * 1000] * 200
        assert pool.run("/bin/echo", *many).out == " ".join(many).encode() + b"\n"
        # SIGPIPE is the command's own matter, and orphans have a parent who reaps them.
        assert pool.sh("yes | head -1; (true &) ; sleep 0.1; ps -e | grep -c defunct").out == b"y\n0\n"
        assert pool.sh("echo $0 $PPID").out == b"/bin/sh 1\n"
        assert (site.ws / "made").exists() is False
        assert pool.sh("echo made > made").code == 0
        assert (site.ws / "made").read_text() == "made\n" and (site.ws / "made").stat().st_uid == site.uid
        assert harness.until(lambda: pool.stats()["started"] == pool.stats()["ended"], 5)
        assert pool.stats()["mode"] == "zygote" and pool.stats()["started"] >= 10


@everybody
def test_nothing_is_left_of_a_command(site):
    with Zygote(site) as pool:
        done = pool.sh("echo mine | tee /tmp/left /var/tmp/left /dev/shm/left; setsid sleep 100 & echo done")
        assert done.out == b"mine\ndone\n"
        # When its end is seen, so is the end of all of it.
        after = pool.sh("ls -A /tmp /var/tmp /dev/shm; echo /proc/[0-9]*")
        assert "left" not in after.text and after.text.split()[-2:] == ["/proc/1", "/proc/2"]
        assert harness.until(lambda: pool.stats()["running"] == 0, 5)
        assert all("sleep" not in harness.describe(p) for p in pool.inside())


STATE = r"""
import json, os, re, resource
def lines(path):
    with open(path) as f: return f.read().splitlines()
status = dict(l.split(":\t", 1) for l in lines("/proc/self/status"))
mounts = {}
for l in lines("/proc/self/mountinfo"):
    w = l.split()
    if os.path.lexists(w[4]): mounts[w[4]] = [w[5], l.split(" - ")[1].split()[0]]  # the last is on top
def listed(d):
    try: return sorted(n for n in os.listdir(d) if not n.isdigit())
    except OSError as e: return e.errno
def mode(p):
    s = os.lstat(p); return [oct(s.st_mode), s.st_uid, s.st_gid]
print(json.dumps({
    "status": {k: status[k] for k in status if k in ("Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp",
        "Seccomp_filters", "SigBlk", "SigCgt") or k.startswith("Cap")},
    "mounts": mounts, "maps": [lines("/proc/self/" + n) for n in ("uid_map", "gid_map", "setgroups")],
    # Not of locks: the kernel looks at it no more, and init tells by it whose a process is.
    "limits": [resource.getrlimit(n) for n in range(16) if n != 10],
    "lists": {d: listed(d) for d in ("/", "/dev", "/dev/pts", "/dev/shm", "/proc", "/sys", "/run", "/tmp", "/var/tmp",
                                     "/proc/self/fd", "/proc/sys/kernel")},
    "modes": {d: mode(d) for d in ("/dev", "/dev/shm", "/dev/null", "/tmp", "/var/tmp", "/proc", "/run")},
    "environment": {k: os.environ[k] for k in os.environ}, "host": os.uname().nodename,
    "cpus": os.cpu_count(), "umask": oct(os.umask(0)), "session": os.getsid(0) == os.getpid(),
    "net": sorted(l.split(":")[0].strip() for l in lines("/proc/self/net/dev")[2:]),
    "cgroup": [l.split(":")[1:] for l in lines("/proc/self/cgroup")], "cwd": os.getcwd(), "score": lines("/proc/self/oom_score_adj"),
}))
"""


@pytest.mark.modes("root", "user", "nocgroup")
@pytest.mark.parametrize("flags", [[], ["--profile", "strict"], ["--profile", "readonly", "--open-files", "100"],
                                   ["--home", "empty", "--deny", "{deny}", "--read", "{out}"],
                                   ["--identity", "nobody"]], ids=lambda f: "-".join(f[:2]).strip("-") or "dev")
def test_the_same_place_as_a_run(site, flags):
    flags = [f.format(**{k: str(v) for k, v in vars(site).items()}) for f in flags]
    run = json.loads(site.run("/usr/bin/python3", "-c", STATE, flags=flags).out)
    with Zygote(site, *flags) as pool:
        for _ in range(3):
            got = json.loads(pool.run("/usr/bin/python3", "-c", STATE).out)
            assert got.keys() == run.keys()
            for what in run:
                if what == "maps":  # one step further down: the same id, of the template's
                    assert [m[0].split()[0] for m in got[what][:2]] == [m[0].split()[0] for m in run[what][:2]]
                    assert [m[0].split()[2] for m in got[what][:2]] == ["1", "1"]
                else:
                    assert got[what] == run[what], (what, flags)


@everybody
def test_time_and_signals(site):
    with Zygote(site, "--timeout", f"{2 * int(harness.SLOWER)}s") as pool:
        late = pool.sh("sleep 60")
        assert late.code == 124, late
        for signo in (signal.SIGINT, signal.SIGTERM):
            running = site.spawn(site.immure, "run", "--pool", pool.name, "--", "/bin/sh", "-c",
                                 "trap 'exit 9' INT TERM; echo up; while :; do sleep 0.05; done")
            assert running.stdout.readline() == b"up\n"
            running.send_signal(signo)
            assert running.wait(10) == 9
        stubborn = site.spawn(site.immure, "run", "--pool", pool.name, "--", "/bin/sh", "-c",
                              "trap '' INT; echo up; sleep 1.5 & wait; sleep 60")
        assert stubborn.stdout.readline() == b"up\n"
        stubborn.send_signal(signal.SIGINT)
        stubborn.send_signal(signal.SIGTERM)
        assert stubborn.wait(10) == 128 + signal.SIGKILL


@everybody
def test_limits_are_of_each_command(site):
    with Zygote(site, "--open-files", "64", "--cpu-time", "1s", "--home", "empty", "--disk", "1M",
                size=2, most=3) as pool:
        assert pool.sh("ulimit -n").out == b"64\n"
        for _ in range(2):  # the second is not charged for what the first has used
            assert pool.sh("while :; do :; done").code in (128 + signal.SIGXCPU, 128 + signal.SIGKILL)
            full = pool.sh("head -c 2000000 /dev/zero > /tmp/big; stat -c %s /tmp/big")
            assert "No space left" in full.errors and int(full.out) <= 1 << 20
        running = [site.spawn(site.immure, "run", "--pool", pool.name, "--", "/bin/sh", "-c", "echo up; sleep 60")
                   for _ in range(3)]
        assert [r.stdout.readline() for r in running] == [b"up\n"] * 3
        more = pool.run("true")
        assert more.code == 125 and "--max" in more.errors
        for r in running:
            r.terminate()
            r.communicate(timeout=10)
        assert pool.run("true").code == 0


@everybody
def test_processes_are_counted_for_each_command(site):
    """Where there is no cgroup, and so no template with one, the kernel counts by user."""
    with Zygote(site, "--identity", "nobody" if site.uid == 0 else "caller") as pool:
        forks = "i=0; while [ $i -lt 20 ]; do sleep 5 & i=$((i+1)); done; echo $i"
        assert pool.sh("ulimit -u 40; " + forks).out == b"20\n"


def usable(site, *flags):
    """Whether this mode has cgroups for them."""
    plan = json.loads(site.call(site.immure, "plan", "--json", *flags, "--", "true").out)
    return "cgroup_leaf" in json.dumps(plan)


HOG = "x = bytearray(int(__import__('sys').argv[1]) << 20); print('up', flush=True); __import__('time').sleep(float(__import__('sys').argv[2]))"


@pytest.mark.modes("root", "delegated")
def test_each_command_has_a_cgroup(site):
    flags = ["--memory", "64M", "--processes", "20"]
    if not usable(site, *flags):
        pytest.skip("no cgroup here for these limits")
    with Zygote(site, *flags, size=2, most=6) as pool:
        def hog(megabytes, seconds=0):
            return site.spawn(site.immure, "run", "--pool", pool.name, "--", "/usr/bin/python3", "-c", HOG,
                              str(megabytes), str(seconds))
        for _ in range(10):  # more often than there are leaves
            much = hog(200)
            much.communicate(timeout=30)
            assert much.returncode == 128 + signal.SIGKILL
            forks = pool.sh("i=0; while [ $i -lt 40 ]; do sleep 1 & i=$((i+1)); done; echo all")
            assert b"all" not in forks.out, forks
            assert pool.sh("echo fine").out == b"fine\n", "the next one starts from nothing"
        # Together they may have more than one of them.
        three = [hog(40, 60) for _ in range(3)]
        assert [h.stdout.readline() for h in three] == [b"up\n"] * 3
        for h in three:
            h.terminate()
            h.communicate(timeout=10)


@pytest.mark.modes("root")
def test_a_killed_pool_leaves_no_cgroup(site):
    if not usable(site, "--memory", "64M"):
        pytest.skip("no cgroup here for these limits")
    before = harness.cgroups_of_ours()
    pool = Zygote(site, "--memory", "64M")
    made = harness.cgroups_of_ours() - before
    os.kill(pool.holder, signal.SIGKILL)
    gone = harness.until(lambda: not harness.cgroups_of_ours() - before, 10)
    site.call(site.immure, "gc")  # in any case: its name is wanted again
    assert made and gone and not pool.directory.exists()


def test_open_files_are_those_of_who_started_the_pool(site):
    import resource
    low = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (700, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    name = f"files{os.getpid()}"
    assert site.call(site.immure, "pool", "start", "--mode", "zygote", "--name", name, preexec_fn=low).code == 0
    try:
        assert site.call(site.immure, "run", "--pool", name, "--", "/bin/sh", "-c", "ulimit -n").out == b"700\n"
    finally:
        assert site.call(site.immure, "pool", "stop", name).code == 0


@everybody
@pytest.mark.parametrize("flags", [["--net", "host"], ["--net", "limited", "--allow", "example.com:443"], ["--output", "1M"],
                                   ["--backend", "landlock", "--downgrade", harness.BARE_GAPS]],
                         ids=lambda f: "-".join(f[:2]).strip("-"))
def test_what_has_no_template_is_refused_at_the_start(site, flags):
    done = site.call(site.immure, "pool", "start", "--mode", "zygote", "--name", "refused", *flags)
    without_scopes = 0 < harness.LANDLOCK_ABI < 6 and "Landlock here has no scopes" in done.errors
    assert done.code == 125 and ("template" in done.errors or without_scopes), done
    assert site.call(site.immure, "run", "--pool", "refused", "--", "true").code == 125


@everybody
def test_what_does_not_agree_is_refused(site):
    with Zygote(site) as pool:
        assert "sealed in under policy" in pool.run("true", flags=["--set", "limits.memory=123M"]).errors
        assert "workspace" in pool.run("true", flags=["--workspace", str(site.out)]).errors
        assert pool.run("true", flags=["--profile", "dev"]).code == 0
        assert pool.stats()["started"] == 1


@everybody
def test_a_file_that_the_host_replaces_is_masked_again(site):
    """The kernel takes away what was mounted on a file that is renamed over, everywhere."""
    secret, code = site.ws / "hidden.txt", site.ws / "kept.conf"
    code.write_text("host\n")
    site.own(site.ws)
    kind = site.call("stat", "-c", "%F", str(secret)).text
    look = f"cat {secret}; echo more >> {secret}; echo more >> {code}; cat {code}"

    def replaced(path, text):
        new = path.parent / "new"
        new.write_text(text)
        site.own(site.ws)
        new.rename(path)

    with Zygote(site, "--deny", str(secret), "--protect", str(code)) as pool:
        assert "SECRET" not in pool.sh(look).text and code.read_text() == "host\n" and kind
        for n in range(3):
            replaced(secret, f"SECRET {n}\n")
            replaced(code, f"host {n}\n")
            done = pool.sh(look)
            assert "SECRET" not in done.text, done
            assert f"host {n}\n" in done.text and "more" not in done.text, done
        # Gone for a while, and back.
        secret.unlink()
        assert pool.sh("true").code == 0
        replaced(secret, "SECRET again\n")
        assert "SECRET" not in pool.sh(look).text
        assert "more" not in secret.read_text() + code.read_text()


# ---- ends --------------------------------------------------------------------

@everybody
def test_a_killed_caller_takes_its_command_along(site):
    with Zygote(site) as pool:
        running = site.spawn(site.immure, "run", "--pool", pool.name, "--", "/bin/sh", "-c", "echo up; sleep 60")
        assert running.stdout.readline() == b"up\n"
        running.kill()
        running.communicate()
        assert harness.until(lambda: pool.stats()["running"] == 0, 10)
        assert pool.run("true").code == 0


@everybody
@pytest.mark.parametrize("who", ["holder", "template"])
def test_killed(site, who):
    """Nothing of it runs then; what is recorded, gc removes."""
    pool = Zygote(site)
    template, caller = pool.template, None
    try:
        caller = site.spawn(site.immure, "run", "--pool", pool.name, "--", "/bin/sh", "-c", "echo up; sleep 60")
        assert caller.stdout.readline() == b"up\n"
        inside = pool.inside()
        assert len(inside) >= 3
        os.kill(pool.holder if who == "holder" else template, signal.SIGKILL)
        assert gone([*inside, template, pool.holder])
        caller.communicate(timeout=10)
        assert caller.returncode in (125, 128 + signal.SIGKILL)
    finally:
        if caller and caller.poll() is None:
            caller.kill()
        site.call(site.immure, "gc")
    assert not pool.directory.exists()


@everybody
def test_a_killed_sandbox_is_answered_for_and_replaced(site):
    with Zygote(site, size=1) as pool:
        caller = site.spawn(site.immure, "run", "--pool", pool.name, "--", "/bin/sh", "-c", "echo up; sleep 60")
        assert caller.stdout.readline() == b"up\n"
        assert harness.until(lambda: len(pool.inside()) >= 4, 10), "the next one is there"
        killed = pool.inside()
        for p in killed:
            with contextlib.suppress(OSError):
                os.kill(p, signal.SIGKILL)
        caller.communicate(timeout=10)
        assert caller.returncode == 128 + signal.SIGKILL and gone(killed)
        assert pool.run("true").code == 0


def test_garbage_over_a_lane_hurts_only_its_sender(site):
    with Zygote(site) as pool, pool.connect() as client:
        import socket
        for rubbish in (b"", b"x", b"\x96" + b"\0" * 3, b"\x96\0\0\0" + b"\xff" * 200, os.urandom(40000)):
            client.number += 1
            client.send({"id": client.number, "op": "lane"})
            data, fds, _, _ = socket.recv_fds(client.socket, 1 << 16, 1)
            assert json.loads(data)["ok"] and len(fds) == 1
            with socket.socket(fileno=fds[0]) as lane:
                lane.settimeout(10)
                with contextlib.suppress(OSError):
                    lane.send(rubbish)
                    lane.recv(4096)  # refused, or the end of the lane
        assert pool.run("true").code == 0
        for op in ("acquire", "warm"):
            assert not client.ask(op)["ok"]


# ---- what it leaves in the tree ----------------------------------------------

@everybody
def test_what_the_host_would_obey_is_put_aside(site):
    with Zygote(site) as pool:
        assert pool.sh("mkdir -p sub; echo evil > .envrc; echo fine > kept").code == 0
        assert not (site.ws / ".envrc").exists(), "before the run returns"
        assert (site.ws / "kept").exists()
    # Of those that go over a lane and never ask, at the end.
    with Zygote(site) as pool:
        caller = site.spawn(site.immure, "run", "--pool", pool.name, "--", "/bin/sh", "-c",
                            "echo evil > .envrc; echo up; sleep 60")
        assert caller.stdout.readline() == b"up\n"
        caller.kill()
        caller.communicate()
    assert not (site.ws / ".envrc").exists()


def test_many_at_once(site):
    with Zygote(site, size=4, most=32) as pool:
        callers = [site.spawn(site.immure, "run", "--pool", pool.name, "--", "/bin/sh", "-c",
                              f"test -z \"$(ls -A /tmp)\" && echo {n} > /tmp/n && cat /tmp/n") for n in range(24)]
        for n, caller in enumerate(callers):
            out, err = caller.communicate(timeout=60)
            assert (caller.returncode, out) == (0, b"%d\n" % n), err
        assert harness.until(lambda: pool.stats()["running"] == 0, 10)
        assert pool.stats()["started"] == pool.stats()["ended"] == 24
