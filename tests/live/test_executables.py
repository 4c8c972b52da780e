# SPDX-License-Identifier: Apache-2.0
"""files.executables: listed. What is not on the list is not executed, by whoever inside."""

import os
import shutil

import pytest

import harness

SH = os.path.realpath("/bin/sh")
PYTHON = os.path.realpath("/usr/bin/python3")
pytestmark = pytest.mark.skipif(harness.LANDLOCK_ABI <= 0, reason="no Landlock here")


def listed(*paths, more=()):
    flags = ["--executables", "listed", *more]
    for path in paths:
        flags += ["--execute", str(path)]
    return flags


def test_listed_runs(site):
    done = site.run("/bin/sh", "-c", "echo ran; /bin/true && echo true", flags=listed("/bin/sh", "/bin/true"))
    assert done.out == b"ran\ntrue\n" and done.code == 0, done


def test_others_do_not(site):
    script = "for p in /bin/ls /usr/bin/env /bin/true; do $p >/dev/null 2>&1; echo $?; done"
    done = site.run("/bin/sh", "-c", script, flags=listed("/bin/sh", "/bin/true"))
    assert done.out == b"126\n126\n0\n", done
    assert site.sh(script).out == b"0\n0\n0\n"  # and without the list they do


def test_the_command_itself(site):
    done = site.run("/bin/ls", flags=listed("/bin/sh"))
    assert done.code == 126 and not done.out, done


def test_a_directory(site):
    tools = site.path / "tools"
    tools.mkdir()
    shutil.copy("/bin/true", tools / "one")
    site.own(tools)
    script = f"{tools}/one && echo one; {site.path}/out/two 2>/dev/null || echo no"
    shutil.copy("/bin/true", site.path / "out/two")
    done = site.run("/bin/sh", "-c", script, flags=listed("/bin/sh", tools))
    assert done.out == b"one\nno\n", done


def test_what_it_writes(site):
    """Copies of programs, scripts, and the loader told to run a copy: none is executed."""
    script = ("for d in . /tmp /dev/shm; do cp /bin/true $d/copy || exit 9; $d/copy 2>/dev/null; echo $?;"
              "printf '#!/bin/sh\\necho hi\\n' > $d/script; chmod +x $d/script; $d/script 2>/dev/null; echo $?;"
              "done")
    done = site.run("/bin/sh", "-c", script, flags=listed("/bin/sh", "/bin/cp", "/bin/chmod", "/bin/true"))
    assert done.out == b"126\n126\n" * 3, done


def loader():
    for name in ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"):
        if os.path.exists(name):
            return name
    pytest.skip("no loader that is known")


def test_the_loader_runs_no_copy(site):
    """Mounts without execution, where there are mounts: the loader cannot map it."""
    script = f"cp /bin/true copy; {loader()} ./copy 2>/dev/null; echo $?"
    with_copy = listed("/bin/sh", "/bin/cp")
    done = site.run("/bin/sh", "-c", script, flags=with_copy)
    assert done.out.strip() != b"0", done
    assert site.run("/bin/sh", "-c", script).out == b"0\n"


MEMORY = """
import os
def attempt(flags):
    try:
        fd = os.memfd_create("x", flags)
    except OSError as e:
        return "not made"
    try:
        os.write(fd, open("/bin/true", "rb").read())
        pid = os.fork()
        if pid == 0:
            try:
                os.execve("/proc/self/fd/%d" % fd, ["x"], {})
            except OSError:
                os._exit(126)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        os.close(fd)
print(attempt(0), attempt(8))
"""


def test_files_in_memory(site):
    """Landlock lets what no path leads to pass: nothing there can be executed."""
    done = site.run(PYTHON, "-c", MEMORY, flags=listed(PYTHON))
    assert done.out in (b"not made 126\n", b"not made not made\n"), done
    assert site.run(PYTHON, "-c", MEMORY).out.startswith(b"0 "), "no control"


def test_threads_and_children(site):
    script = ("import subprocess, threading\n"
              "def f():\n"
              "    try: subprocess.run(['/bin/ls'])\n"
              "    except PermissionError: print('denied')\n"
              "t = threading.Thread(target=f); t.start(); t.join()\n")
    assert site.run(PYTHON, "-c", script, flags=listed(PYTHON)).out == b"denied\n"


@pytest.mark.parametrize("flags, says", [
    (["--execute", "/bin/sh"], "files.executables is any"),
    (["--executables", "listed"], "is empty"),
    (["--executables", "listed", "--execute", "/nonexistent/x"], "does not exist"),
    (["--executables", "listed", "--execute", "/dev/null"], "neither a file nor a directory"),
    (["--executables", "listed", "--execute", "mine"], "the command can write"),
    (["--executables", "listed", "--execute", "/"], "the command can write"),
])
def test_contradictions(site, flags, says):
    done = site.run("/bin/true", flags=flags)
    assert done.code == 125 and says in done.errors, done


def test_proof_holds(site):
    done = site.run("/bin/sh", "-c", "echo ran", flags=["--prove", *listed("/bin/sh")])
    assert done.code == 0 and b"ran" in done.out, done


@pytest.mark.parametrize("how", ["session"])
def test_in_sessions(site, how):
    from sessions import Session
    with Session(site, *listed("/bin/sh", "/bin/true")) as session:
        assert session.sh("/bin/true && echo yes").out == b"yes\n"
        assert session.exec("/bin/ls").code == 126
        assert session.sh("/bin/ls; echo $?").out == b"126\n"


@pytest.mark.modes("bwrap", "bwrap-user")
def test_bubblewrap_refuses(site):
    done = site.run("/bin/sh", "-c", "echo ran", flags=listed("/bin/sh"))
    assert done.code == 125 and "noexec" in done.errors and not done.out, done


@pytest.mark.modes("landlock", "landlock-user")
def test_without_namespaces(site):
    script = "/bin/ls 2>/dev/null; echo $?; cp /bin/true copy; ./copy 2>/dev/null; echo $?"
    done = site.run("/bin/sh", "-c", script, flags=listed("/bin/sh", "/bin/cp"))
    assert done.out == b"126\n126\n", done
