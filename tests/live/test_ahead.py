# SPDX-License-Identifier: Apache-2.0
"""Namespaces that are begun while the plan is made: whatever becomes of who makes them,
the command runs as sealed in as ever, or not at all."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest

import harness

INSIDE = """
grep -qE '^Cap(Inh|Prm|Eff|Bnd|Amb):.*[1-9a-f]' /proc/self/status && exit 3
[ "$(wc -l < /proc/net/dev)" -le 3 ] || exit 4
[ "$(ls /proc | grep -c '^[0-9]')" -lt 8 ] || exit 5
readlink /proc/self/ns/user /proc/self/ns/net /proc/self/ns/mnt
"""


def traced(site, *options):
    if not shutil.which("strace"):
        pytest.skip("no strace")
    log = site.out / "trace"
    result = site.call("strace", "-f", "-qq", "-b", "execve", "-o", log,
                       *options, "--", site.immure, "run", "--backend", "native", "--",
                       "/bin/sh", "-c", INSIDE)
    return result, log.read_text() if log.exists() else ""


def sealed_in(result):
    assert result.code == 0, result
    spaces = re.findall(r"\w+:\[\d+\]", result.text)
    assert len(spaces) == 3 and not set(spaces) & {
        os.readlink(f"/proc/self/ns/{kind}") for kind in ("user", "net", "mnt")}


def test_they_are_begun_ahead(site):
    result, log = traced(site, "-e", "trace=unshare,clone3,clone")
    sealed_in(result)
    assert "CLONE_NEWUSER" in log and log.index("unshare(") < log.index("CLONE_PARENT")


def test_without_the_maker_a_session_makes_its_own(site):
    """getppid is a call of the makers alone."""
    result, log = traced(site, "-e", "trace=getppid,clone3", "-e", "inject=getppid:signal=KILL:when=1")
    assert "killed by SIGKILL" in log and "CLONE_PARENT" not in log and "CLONE_NEWUSER" in log
    sealed_in(result)


@pytest.mark.parametrize("what", ["error=ENOMEM", "signal=KILL"])
def test_without_the_network_nothing_runs(site, what):
    """Only who makes the network asks for a socket, and there loopback waits for it."""
    result, log = traced(site, "-e", "trace=socket", "-e", f"inject=socket:{what}:when=1")
    assert "AF_UNIX" in log, log
    assert result.code == 125 and not result.out, result


@pytest.mark.parametrize("call", ["futex", "exit"])
@pytest.mark.parametrize("when", [1, 2, 3])
def test_nothing_runs_twice(site, call, when):
    """A word that does not get through, or an end that comes early."""
    what = "error=EPERM" if call == "futex" else "delay_enter=100000"
    result, log = traced(site, "-e", f"trace={call},clone3", "-e", f"inject={call}:{what}:when={when}")
    assert result.text.count("user:") == 1 and log.count("CLONE_PIDFD") == 1, (result, log)


def test_a_refused_plan_leaves_nothing(site):
    """The teardown of each test looks for processes that are left."""
    assert site.call(site.immure, "run", "--syscalls", "/nowhere/at/all", "--", "/bin/true").code == 125


def test_a_caller_that_ignores_its_children(site):
    result = site.call("/bin/sh", "-c", "trap '' CHLD; exec \"$0\" run -- /bin/sh -c 'exit 7'", site.immure)
    assert result.code == 7, result


def test_a_killed_maker_is_no_refusal_of_the_host(site):
    """Nobody knows whether the command was started: nothing starts it a second time."""
    if not shutil.which("strace"):
        pytest.skip("no strace")
    log = site.out / "trace"
    result = site.call("strace", "-f", "-qq", "-b", "execve", "-o", log, "-e", "trace=clone3,unshare",
                       "-e", "inject=clone3:signal=KILL:when=1", "--",
                       site.immure, "run", "--", "/bin/sh", "-c", "echo ran")
    assert result.code == 125 and not result.out, result
    assert log.read_text().count("CLONE_NEWUSER") == 1, log.read_text()


@pytest.mark.parametrize("backend", ["native", "landlock"])
def test_who_made_them_is_gone_while_the_command_lasts(site, backend):
    """No dead process beside a command that goes on for hours."""
    flags = ["--backend", backend, *(["--downgrade", harness.BARE_GAPS] if backend == "landlock" else [])]
    process = site.spawn(site.immure, "run", *flags, "--", "/bin/sh", "-c", "echo up; read x", stdin=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"up\n"

        def states():
            task = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
            return [pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
                    for pid in task.read_text().split()]

        assert harness.until(lambda: states() and "Z" not in states(), 5), states()
    finally:
        process.communicate(b"\n", timeout=20)
    assert process.returncode == 0
