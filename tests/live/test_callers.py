# SPDX-License-Identifier: Apache-2.0
"""Odd callers: what they are like must change nothing that matters."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import pytest

import harness


def test_command_line_of_the_supervisor_is_unknown_inside(site):
    """Flags hold values of --env; pid 1 is a copy of the process that has them."""
    result = site.sh("cat /proc/1/cmdline /proc/1/comm; grep Name: /proc/1/status",
                     flags=["--env", "TOKEN=CANARY-4c1e"])
    assert result.code == 0, result
    assert result.out.strip(b"\0") == b"immure-init\nName:\timmure-init\n", result


@pytest.mark.modes("root", "user")
@pytest.mark.skipif(not os.path.exists("/proc/self/autogroup"), reason="no autogroups in this kernel")
@pytest.mark.parametrize("backend", ["native", "bwrap"])
def test_processor_time_of_the_callers_session(site, backend):
    """Whoever owns /proc/1 sets it for all that is of init's session, which is of nobody else's."""
    look = "sed 's/.*nice//' /proc/self/autogroup"
    result = site.call("/bin/sh", "-c", f"{look}; \"$@\"; {look}", "sh", site.immure, "run", "--backend", backend, "--",
                       "/bin/sh", "-c", "for p in /proc/[0-9]*; do echo 7 > $p/autogroup; done 2> /dev/null")
    assert result.out.split() == [b"0", b"0"], result


def test_long_command_line(site):
    many = ["x" * 100_000] * 15
    result = site.run("/bin/sh", "-c", 'echo $# ${#1}; tr -d "\\0" </proc/1/cmdline | wc -c',
                      "sh", *many)
    assert result.out.split() == [b"15", b"100000", b"0"], result


def odd(site, setup, *argv, **kw):
    """Runs argv by way of a python that does something to itself first."""
    script = f"import os, signal, sys\n{setup}\nos.execv(sys.argv[1], sys.argv[1:])"
    return site.call(sys.executable, "-c", script, site.immure, "run", *argv, **kw)


def test_ignored_sigchld(site):
    ignored = "signal.signal(signal.SIGCHLD, signal.SIG_IGN)"
    result = odd(site, ignored, "--", "/bin/sh", "-c", "sleep 0.05 & wait; exit 7", timeout=20)
    assert result.code == 7, result
    result = odd(site, ignored, "--memory", "256M", "--output", "1M", "--", "/bin/echo", "out",
                 timeout=20)
    assert (result.code, result.out) == (0, b"out\n"), result


def test_small_stack(site):
    """Refused before anything is made, rather than dying of it at some point."""
    limit = "import resource\nhard = resource.getrlimit(resource.RLIMIT_STACK)[1]\n" \
            "resource.setrlimit(resource.RLIMIT_STACK, ({} << 10, hard))"
    result = odd(site, limit.format(64), "--", "/bin/touch", "ran")
    assert result.code == 125 and result.errors.startswith("immure: stack: "), result
    assert not (site.ws / "ran").exists()
    result = odd(site, limit.format(512), "--", "/bin/sh", "-c", "ulimit -s")
    assert (result.code, result.out) == (0, b"512\n"), result


def test_supervisor_dies_before_init_can_be_told(site):
    """Between clone and the request to be told of the parent's death there is a
    moment in which nobody would tell. Stretched here, and used."""
    strace = shutil.which("strace")
    if not strace:
        pytest.skip("strace is not installed")
    log = site.path / "trace"
    tracer = site.spawn(strace, "-f", "-o", log, "-e", "trace=prctl", "-e",
                        "inject=prctl:delay_enter=400000:when=1", site.immure, "run", "--",
                        "/bin/touch", "marker")

    def children(pid):
        return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def waiting():
        return log.exists() and "PR_SET_PDEATHSIG" in log.read_text()

    assert harness.until(waiting, 10)
    (supervisor,) = children(tracer.pid)
    os.kill(supervisor, signal.SIGKILL)
    tracer.communicate(timeout=20)
    assert not (site.ws / "marker").exists()
    assert "PR_CAPBSET_DROP" not in log.read_text(), log.read_text()


@pytest.mark.slow
def test_slow_reader_gets_everything(site):
    """With an output limit the streams are relayed: the command is long gone when
    the last of it is read."""
    process = site.spawn(site.immure, "run", "--output", "64M", "--", "/bin/sh", "-c",
                         "head -c 130000 /dev/zero; echo done >&2")
    assert process.stderr.readline() == b"done\n"
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.Popen.wait(process, 8)  # longer than it was ever waited for
    assert len(process.stdout.read()) == 130000
    assert process.wait(20) == 0


def test_reader_that_never_reads_can_be_given_up(site):
    process = site.spawn(site.immure, "run", "--output", "64M", "--", "/bin/sh", "-c",
                         "head -c 130000 /dev/zero; echo done >&2")
    assert process.stderr.readline() == b"done\n"
    while process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.5)
    process.stdout.close()


@pytest.mark.modes("root")
def test_supervisor_dies_right_after_making_a_cgroup(site):
    strace = shutil.which("strace")
    if not strace:
        pytest.skip("strace is not installed")
    log = site.path / "trace"
    tracer = site.spawn(strace, "-f", "-o", log, "-e", "trace=mkdir", "-e",
                        "inject=mkdir:delay_exit=400000", site.immure, "run", "--memory", "64M",
                        "--", "/bin/true")

    def made():
        if not log.exists():
            return []
        return re.findall(r'mkdir\("(/sys/fs/cgroup/[^"]*)"', log.read_text())

    if not harness.until(lambda: made() or tracer.poll() is not None, 10) or not made():
        tracer.communicate(timeout=20)
        pytest.skip("no cgroup is made here")
    (supervisor,) = pathlib.Path(
        f"/proc/{tracer.pid}/task/{tracer.pid}/children").read_text().split()
    os.kill(int(supervisor), signal.SIGKILL)
    tracer.communicate(timeout=20)
    assert harness.until(lambda: not any(os.path.isdir(p) for p in made()), 2), made()


@pytest.mark.modes("root")
@pytest.mark.parametrize("cover", [
    "mount --bind /dev/null /proc/$$/mountinfo",
    "mount -t tmpfs none /proc/$$/net", "mount -t tmpfs none /proc",
    "mount --bind /dev/zero /dev/null",
], ids=lambda c: c.split()[-1] + " " + c.split()[-2])
def test_what_hides_facts_is_a_refusal(site, cover):
    """In a mount namespace of its own: what must be known is not there, or is not it."""
    result = site.call("/usr/bin/unshare", "-m", "/bin/sh", "-ec",
                       f'{cover}; exec "$@"', "sh", site.immure, "run", "--", "/bin/touch", "ran")
    assert result.code == 125 and not (site.ws / "ran").exists(), result


@pytest.mark.modes("root")
@pytest.mark.parametrize("cover", ["mount --bind /dev/null /dev/full", "touch $0/x; mount --bind $0/x /dev/zero",
                                   "mount -t tmpfs none /dev; mknod /dev/null c 1 3"])
def test_a_device_that_is_none(site, cover):
    """Said as what it is: the file system alone would say that there is no such device."""
    result = site.call("/usr/bin/unshare", "-m", "/bin/sh", "-ec", f'{cover}; exec "$@"', site.out, site.immure, "run",
                       "--", "/bin/touch", "ran")
    assert result.code == 125 and not (site.ws / "ran").exists(), result
    assert "/dev: No such" in result.errors and "is not that device" in result.errors, result


@pytest.mark.modes("root")
@pytest.mark.parametrize("words", [["run", "--", "/bin/touch", "ran"], ["doctor"], ["create", "--name", "nothing"],
                                   ["pool", "start", "--name", "nothing", "--size", "1"],
                                   ["run", "--backend", "bwrap", "--", "/bin/touch", "ran"],
                                   ["run", "--backend=landlock", f"--downgrade={harness.BARE_GAPS}", "--",
                                    "/bin/touch", "ran"], ["image", "ls"]],
                         ids=lambda w: "-".join(w[:3]))
def test_what_stands_for_dev_null_is_not_written_to(site, words):
    """What is thrown away would come to lie in somebody's file."""
    precious = site.out / "precious"
    precious.write_text("precious\n" * 100)
    before = precious.read_bytes()
    result = site.call("/usr/bin/unshare", "-m", "/bin/sh", "-ec",
                       'mount --bind "$0" /dev/null; exec "$@" <&- 2>&-', precious, site.immure, *words)
    assert precious.read_bytes() == before
    assert (result.code == 0) == (words[0] == "doctor") and not (site.ws / "ran").exists(), result
