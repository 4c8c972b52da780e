# SPDX-License-Identifier: Apache-2.0
"""deny_syscalls: groups of calls that fail, whatever the filter says."""

import pytest

from sessions import Session

DELETE = """
import os
open('a', 'w').close(); open('b', 'w').close(); os.mkdir('d')
def attempt(f, *a, **k):
    try: f(*a, **k); return 'done'
    except PermissionError: return 'EPERM'
    except FileNotFoundError: return 'gone'
d = os.open('.', os.O_RDONLY)
print(attempt(os.unlink, 'a'), attempt(os.unlink, 'a', dir_fd=d), attempt(os.rmdir, 'd'),
      attempt(os.rename, 'a', 'c'), attempt(os.rename, 'b', 'c', src_dir_fd=d, dst_dir_fd=d),
      attempt(os.truncate, 'b', 0))
"""
CREDENTIALS = """
import os
u, g = os.getuid(), os.getgid()
def attempt(f, *a):
    try: f(*a); return 'done'
    except PermissionError: return 'EPERM'
print(attempt(os.setuid, u), attempt(os.setgid, g), attempt(os.setresuid, u, u, u), attempt(os.setresgid, g, g, g),
      attempt(os.setreuid, u, u), attempt(os.setregid, g, g))
"""


def python(site, script, *groups, **kw):
    flags = [w for g in groups for w in ("--deny-syscalls", g)]
    return site.run("/usr/bin/python3", "-c", script, flags=flags, **kw)


def test_delete(site):
    assert python(site, DELETE, "filesystem.delete").out.split() == [b"EPERM"] * 5 + [b"done"]
    assert sorted(p.name for p in site.ws.iterdir() if len(p.name) == 1) == ["a", "b", "d"]


def test_delete_control(site):
    out = python(site, DELETE).out.split()
    assert out == b"done gone done gone done gone".split(), out


def test_credentials(site):
    assert python(site, CREDENTIALS, "credential.write").out.split() == [b"EPERM"] * 6
    assert python(site, CREDENTIALS).out.split() == [b"done"] * 6


def test_both_and_strict(site):
    both = site.run("/usr/bin/python3", "-c", DELETE, flags=[
        "--syscalls", "strict", "--deny-syscalls", "filesystem.delete", "--deny-syscalls", "credential.write"])
    assert both.out.split()[:5] == [b"EPERM"] * 5, both


@pytest.mark.parametrize("name", ["system.execute", "system.install", "unlink", ""])
def test_other_names(site, name):
    done = site.run("/bin/true", flags=["--deny-syscalls", name])
    assert done.code == 125 and "no group of system calls" in done.errors, done


def test_in_a_session(site):
    with Session(site, "--deny-syscalls", "filesystem.delete") as session:
        assert session.sh("touch x; rm x 2>&1; echo $?").out.endswith(b"1\n")
    assert (site.ws / "x").exists()


@pytest.mark.modes("landlock", "bwrap")
def test_other_backends(site):
    assert python(site, DELETE, "filesystem.delete").out.split() == [b"EPERM"] * 5 + [b"done"]


def test_bytes_of_disks_are_on_record(site):
    done = site.run("/bin/sh", "-c", "head -c 3M /dev/zero > big; sync big 2>/dev/null || sync", record=True)
    usage = done.record["usage"]
    assert isinstance(usage["io_read_bytes"], int) and usage["io_write_bytes"] % 512 == 0, usage
