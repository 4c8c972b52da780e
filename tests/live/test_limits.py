# SPDX-License-Identifier: Apache-2.0
"""Limits, and what the record says when one was hit."""

import pytest

MODES = ("root", "user", "nocgroup", "delegated")


HAS_CGROUP = {}


def has_memory_cgroup(site):
    """Asked once for each kind of caller: the whole host is examined for it."""
    if site.mode.name not in HAS_CGROUP:
        plan = site.call(site.immure, "plan", "--json", "--memory", "64M", "--", "/bin/true")
        HAS_CGROUP[site.mode.name] = "cgroup_memory" in plan.text
    return HAS_CGROUP[site.mode.name]


def attack(site, *args, **kw):
    return site.run(site.ws / "attack", *args, record=True, **kw)


@pytest.mark.modes(*MODES)
@pytest.mark.parametrize("act,args", [("memory", [200 << 20]), ("memfd", [200 << 20]),
                                      ("memory_family", [30 << 20, 8])])
def test_memory(site, act, args):
    if act == "memfd" and not has_memory_cgroup(site):
        pytest.xfail("without a cgroup, sampling counts private pages only")
    result = attack(site, f"bomb.{act}", *map(str, args), flags=["--memory", "64M"], timeout=30)
    assert result.record["verdict"] == "oom", result.record
    assert result.code != 0 and not result.out.startswith(b"done")


@pytest.mark.modes(*MODES)
def test_memory_below_the_limit(site):
    result = attack(site, "bomb.memory", str(20 << 20), flags=["--memory", "128M"])
    assert result.code == 0 and result.record["verdict"] == "none", (result, result.record)


@pytest.mark.modes(*MODES)
def test_tmp_counts_as_memory(site):
    if not has_memory_cgroup(site):
        pytest.xfail("without a cgroup, sampling counts private pages only")
    result = attack(site, "bomb.file", "/tmp/x", str(200 << 20), flags=["--memory", "64M"], timeout=30)
    assert result.record["verdict"] in ("oom", "none") and not result.out.startswith(b"done")


def refused(site, result):
    """Root is not bound by RLIMIT_NPROC: without a cgroup there is no limit, so no run."""
    if site.mode.name != "nocgroup":
        return False
    assert result.code == 125 and not result.out, result
    return True


@pytest.mark.modes(*MODES)
@pytest.mark.parametrize("act", ["fork", "zombies", "threads", "daemons"])
def test_processes(site, act):
    result = attack(site, f"bomb.{act}", "200", flags=["--processes", "20"], timeout=30)
    if refused(site, result):
        return
    assert not result.out.startswith(b"done"), result
    assert result.out.startswith(b"denied EAGAIN"), result
    if site.mode.name in ("root", "delegated"):
        assert result.record["verdict"] == "process_limit", result.record


@pytest.mark.modes(*MODES)
def test_fork_bomb(site):
    result = site.sh("f() { f | f & }; f; sleep 0.2", record=True, timeout=60,
                     flags=["--processes", "40", "--timeout", "3s"])
    assert refused(site, result) or result.record["outcome"] in ("exited", "signaled")


def test_two_sessions_do_not_share_a_limit(site):
    one = site.spawn(site.immure, "run", "--processes", "20", "--", "/bin/sh", "-c",
                     "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 30 & done; echo ready; wait")
    assert one.stdout.readline() == b"ready\n"
    two = site.sh("for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 0 & done; wait; echo fine",
                  flags=["--processes", "20"])
    one.kill()
    one.communicate()
    assert two.text == "fine\n", two


def test_cpu_time(site):
    result = attack(site, "bomb.cpu", "5000", flags=["--cpu-time", "1s"], timeout=30)
    assert result.code != 0
    direct = site.python("while True: pass", flags=["--cpu-time", "1s"], record=True, timeout=30)
    assert direct.record["verdict"] == "cpu_time", direct.record
    assert direct.code in (128 + 24, 128 + 9), direct


def test_file_size(site):
    result = attack(site, "bomb.file", "big", str(30 << 20), flags=["--file-size", "4M"])
    assert result.out.startswith(b"denied EFBIG"), result
    assert (site.ws / "big").stat().st_size <= 4 << 20


def test_open_files(site):
    result = attack(site, "bomb.descriptors", "300", flags=["--open-files", "64"])
    assert result.out.startswith(b"denied EMFILE"), result
    assert site.sh("ulimit -n; ulimit -Hn", flags=["--open-files", "64"]).text.split() == ["64", "64"]


@pytest.mark.parametrize("path", ["/tmp/x", "/dev/shm/x", "/var/tmp/x"])
def test_disk(site, path):
    result = attack(site, "bomb.file", path, str(80 << 20), flags=["--disk", "8M"])
    assert result.out.startswith(b"denied ENOSPC"), result


def test_disk_inodes(site):
    result = attack(site, "bomb.inodes", "/tmp", "300000", flags=["--disk", "1M", "--timeout", "30s"])
    assert not result.out.startswith(b"done"), result


@pytest.mark.modes(*MODES)
def test_cpus(site):
    """One process cannot use more than one; four busy ones get what one would."""
    script = "import os,time,resource\n" \
             "pids=[]\nfor i in range(4):\n p=os.fork()\n if p==0:\n" \
             "  e=time.monotonic()+1\n" \
             "  while time.monotonic()<e: pass\n  os._exit(0)\n pids.append(p)\n" \
             "for p in pids: os.waitpid(p,0)\n" \
             "r=resource.getrusage(resource.RUSAGE_CHILDREN)\nprint(r.ru_utime+r.ru_stime)\n"
    used = float(site.python(script, flags=["--cpus", "1"]).text)
    assert used < 1.35, used


@pytest.mark.parametrize("flag,value", [
    ("--memory", "0"), ("--memory", "-1"), ("--memory", "1x"), ("--memory", "1K"),
    ("--memory", "99999999999999999999"), ("--memory", ""), ("--processes", "0"),
    ("--processes", "1.5"), ("--processes", "-3"), ("--cpus", "0"), ("--cpus", "-1"),
    ("--cpus", "nan"), ("--timeout", "0"), ("--timeout", "10"), ("--timeout", "1 s"),
    ("--timeout", "9999999999h"), ("--cpu-time", "1ms"), ("--open-files", "0"), ("--disk", "0"),
    ("--output", "0"), ("--output", "0x10"), ("--file-size", "0"), ("--identity", "1000:foo"),
    ("--identity", ""), ("--identity", "99999999999"), ("--net", "some"), ("--profile", "../x"),
    ("--profile", ""), ("--read", ""), ("--write", ""), ("--deny", ""), ("--workspace", ""),
    ("--workspace", "/no/such"), ("--env", "=x"), ("--env", "novalue"), ("--allow", ""),
    ("--syscalls", "relative"), ("--backend", "nosuch"), ("--require", "nosuch"),
    ("--downgrade", "maybe"), ("--origin", "elsewhere"), ("--no-such-flag", "x"),
])
def test_bad_values_are_errors(site, flag, value):
    result = site.sh("echo ran > mark", flags=[flag, value])
    if (flag, value) == ("--timeout", "10") and result.code == 0:
        return  # a plain number is seconds
    assert result.code == 125, result
    assert not (site.ws / "mark").exists()
    assert result.errors.startswith("immure: ") and result.errors.count("\n") == 1, result


@pytest.mark.modes("root", "user", "bwrap")
def test_private_directories_hold_so_much_together(site):
    """One after the other, so what the first holds is missing in the last."""
    script = ("for d in /tmp /var/tmp /dev/shm; do head -c 4194304 /dev/zero > $d/x 2>/dev/null && "
              "echo $d; done; true")
    result = site.run("/bin/sh", "-c", script, flags=["--disk", "10M"])
    assert result.code == 0, result
    assert len(result.text.split()) == (2 if site.mode.backend is None else 0), result


@pytest.mark.modes("root", "user")
def test_private_directories_stay_apart(site):
    """They are of one file system, and each is a mount of its own."""
    script = ("echo a > /tmp/a; ln /tmp/a /var/tmp/b 2>&1; ls -A /var/tmp /dev/shm; "
              "stat -fc %T /tmp /var/tmp /dev/shm; stat -c %a /tmp /var/tmp /dev/shm; "
              "umount /dev/shm 2>/dev/null && echo away")
    result = site.run("/bin/sh", "-c", script)
    lines = result.text.splitlines()
    assert "cross-device" in lines[0].lower() and "away" not in lines, result
    assert lines.count("tmpfs") == 3 and lines.count("1777") == 3, result
