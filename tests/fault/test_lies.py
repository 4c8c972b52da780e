# SPDX-License-Identifier: Apache-2.0
"""Calls that say that they worked and did nothing, one in each launch: init's own
look at what the kernel says now finds it, and refuses before anything runs."""

import collections
import os
import pathlib
import shutil

import pytest

import harness

# Without a user namespace of one's own the bounding set may stay; no_new_privs is then
# what keeps it from mattering.
PROBE = r"""
echo ran > mark
ok=yes
grep -qE '^Cap(Inh|Prm|Eff|Amb|BOUND):.*[1-9a-f]' /proc/self/status && ok=capabilities
grep -q '^NoNewPrivs:.1' /proc/self/status || ok=new_privs
grep -q '^Seccomp:.2' /proc/self/status || ok=seccomp
echo confined:$ok
"""
SAME = b"confined:yes\n"
BARE = ["--no-policy", *harness.BARE]
# A filter of the policy's own words is not put on ahead of the plan: init does all of it.
BY_INIT = [*BARE, "--deny-syscalls", "credential.write"]


@pytest.fixture(autouse=True)
def strace():
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")


def traced(site, call, flags, *options):
    """Under strace, which lets go of each process when it executes another program."""
    log = site.path / "log"
    result = site.call("strace", "-f", "-qq", "-b", "execve", "-e", f"trace={call}", *options, "-o", log,
                       "--", site.immure, "run", *flags, "--", "/bin/sh", "-c",
                       PROBE if flags else PROBE.replace("BOUND", "Bnd"))
    lines = [line for line in log.read_text().splitlines() if f" {call}(" in line]
    return result, lines


def lies(site, call, flags=(), only=("(",)):
    """(refused, the same sandbox all the same), as the calls that lied: those with one of
    these words. strace counts for each process by itself, so there may be one in the
    launcher and one in init."""
    result, lines = traced(site, call, flags)
    assert (result.code, result.out) == (0, SAME), result
    seen, steps = collections.Counter(), collections.defaultdict(list)
    for line in lines:
        pid = line.split()[0]
        seen[pid] += 1
        steps[seen[pid]].append(line)
    refused, same, wrong = [], [], []
    for when, lied in steps.items():
        if not named(lied, *only):
            continue
        (site.ws / "mark").unlink(missing_ok=True)
        result, _ = traced(site, call, flags, "-e", f"inject={call}:retval=0:when={when}")
        ran = (site.ws / "mark").exists()
        if result.code == 125 and not ran and "immure: " in result.errors:
            refused += lied
        elif (result.code, result.out) == (0, SAME):
            same += lied
        else:
            wrong.append((lied, result))
    assert not wrong, wrong[:3]
    return refused, same


def named(lines, *words):
    return [line for line in lines if any(word in line for word in words)]


@pytest.mark.modes("root", "user")
def test_capabilities_that_were_not_dropped(site):
    refused, same = lies(site, "capset")
    assert refused and not same, same


@pytest.mark.modes("root")
def test_capabilities_without_namespaces(site):
    refused, same = lies(site, "capset", BARE)
    assert refused and not same, same


@pytest.mark.modes("root", "user")
@pytest.mark.parametrize("flags", [[], BARE, BY_INIT], ids=["native", "landlock", "landlock-by-init"])
def test_prctl(site, flags):
    only = ["PR_SET_NO_NEW_PRIVS", "PR_SET_DUMPABLE"]
    if flags == BARE:  # set twice, so one that lied alone is made good: lies() sees to it
        only.remove("PR_SET_NO_NEW_PRIVS")
    if not flags:
        only += ["PR_SET_SECUREBITS", "PR_CAPBSET_DROP, CAP_CHOWN)", "PR_CAPBSET_DROP, CAP_NET_RAW)",
                 "PR_CAPBSET_DROP, CAP_SYS_ADMIN)"]
    refused, same = lies(site, "prctl", flags, only)
    for one in only:
        assert len(named(refused, one)) == 1 and not named(same, one), (one, refused, same)


@pytest.mark.modes("root", "user")
@pytest.mark.parametrize("flags", [[], BARE], ids=["native", "landlock"])
def test_landlock(site, flags):
    """Also where mounts deny the same: as a second gate it has to be there."""
    if harness.LANDLOCK_ABI <= 0:
        pytest.skip("no Landlock here")
    refused, same = lies(site, "landlock_restrict_self", flags)
    assert refused and not same, (refused, same)


@pytest.mark.modes("root", "user")
def test_seccomp(site):
    refused, same = lies(site, "seccomp")
    assert len(named(refused, "SECCOMP_SET_MODE_FILTER")) == 1, same
    assert not named(same, "SECCOMP_SET_MODE_FILTER"), same


@pytest.mark.modes("root", "user")
def test_proc_that_has_all(site):
    refused, same = lies(site, "fsconfig", ["--proc", "pids"], ['"subset"'])
    assert len(refused) == 1 and not same, (refused, same)


@pytest.mark.modes("root", "user")
def test_proc_of_bubblewrap_that_was_not_masked(site):
    """A list of /proc that has nothing in it: what is masked is what it has."""
    if not shutil.which("bwrap"):
        pytest.skip("bwrap is not installed")
    flags = ["--backend", "bwrap", "--proc", "pids"]
    refused, same = lies(site, "getdents64", flags)
    assert refused and same, (refused, same)
    assert not lies(site, "getdents64", flags[:2])[0]


@pytest.mark.modes("root")
@pytest.mark.parametrize("call", ["setresuid", "setresgid"])
def test_identity(site, call):
    refused, same = lies(site, call, ["--identity", "nobody"])
    assert len(refused) == 1 and not same, (refused, same)


# ---- what a caller left open -------------------------------------------------


def below(pid):
    """pid and what descends from it."""
    found = [pid]
    for one in found:
        for task in pathlib.Path(f"/proc/{one}/task").iterdir():
            found += [int(p) for p in (task / "children").read_text().split()]
    return found


def holders(pids, path):
    found = []
    for pid in pids:
        for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            if os.path.realpath(fd) == os.path.realpath(path):
                found.append((pid, int(fd.name)))
    return found


@pytest.mark.modes("root", "user")
@pytest.mark.parametrize("flags", [[], BARE], ids=["native", "landlock"])
def test_init_itself_holds_nothing_of_the_callers(site, flags):
    """The command's own view is tested elsewhere: it is made of a second call."""
    if os.geteuid() != 0:
        pytest.skip("only root can look into init")
    path = site.deny / "secret"
    child = site.spawn("/bin/sh", "-c", 'exec 7<"$0" 9<"$0"; exec "$@"', path, site.immure,
                       "run", "-q", *flags, "--", "/bin/sh", "-c", "echo up; read x", stdin=-1)
    try:
        assert child.stdout.readline() == b"up\n", child.stderr.read()
        inside = [p for p in below(child.pid) if p != child.pid]
        assert len(inside) >= 2, inside
        assert len(holders([child.pid], path)) == 2, "the test itself is wrong: not inherited"
        assert not holders(inside, path)
    finally:
        child.communicate()
