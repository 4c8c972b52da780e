# SPDX-License-Identifier: Apache-2.0
"""Modes and times without namespaces: changed for the command where it may write, and
nowhere else, whatever way it says where that is."""

import os
import stat

import pytest

import harness
from sessions import Session

pytestmark = pytest.mark.modes("root", "user")
BARE = list(harness.BARE)

# Each way to name a file that is the caller's own, outside of what may be written.
REACH = """
import ctypes, os, sys
c = ctypes.CDLL(None, use_errno=True)
target, here = sys.argv[1:3]
os.chdir(here)
os.symlink(target, "link")
os.symlink(os.path.dirname(target), "dir")
up = "/".join([".."] * 20) + target
fd, path_fd = os.open(target, os.O_RDONLY), os.open(target, os.O_PATH)
parent = os.open(os.path.dirname(target), os.O_PATH)
name = os.path.basename(target).encode()
def sys_(*a): return c.syscall(*a) == 0
NOFOLLOW, EMPTY = 0x100, 0x1000
times = (ctypes.c_long * 4)(1, 0, 1, 0)
ways = {
    "chmod": lambda: os.chmod(target, 0o777), "link": lambda: os.chmod("link", 0o777),
    "dir": lambda: os.chmod("dir/" + name.decode(), 0o777), "up": lambda: os.chmod(here + up, 0o777),
    "relative": lambda: os.chmod(up, 0o777), "fd": lambda: os.fchmod(fd, 0o777),
    "proc": lambda: os.chmod(f"/proc/self/fd/{fd}", 0o777),
    "procdir": lambda: os.chmod(f"/proc/self/fd/{parent}/" + name.decode(), 0o777),
    "dirfd": lambda: os.chmod(name, 0o777, dir_fd=parent),
    "root": lambda: os.chmod("/proc/self/root" + target, 0o777),
    "chmodat2": lambda: sys_(452, path_fd, b"", 0o777, EMPTY) or 1 / 0,
    "utime": lambda: os.utime(target, (1, 1)), "utimefd": lambda: os.utime(fd, (1, 1)),
    "utimelink": lambda: os.utime("link", (1, 1)), "utimedir": lambda: os.utime(name, (1, 1), dir_fd=parent),
    "utimepath": lambda: sys_(280, path_fd, b"", times, EMPTY) or 1 / 0,
    "hardlink": lambda: (os.link(target, "hard"), os.chmod("hard", 0o777)),
    "cwd": lambda: (os.chdir(os.path.dirname(target)), os.chmod(name, 0o777)),
}
for what, way in ways.items():
    try:
        way()
        print("CHANGED", what)
    except (OSError, ZeroDivisionError):
        pass
print("tried", len(ways))
"""


def test_nothing_outside_is_changed(site):
    os.chmod(site.out / "ro.txt", 0o644)
    before = os.stat(site.out / "ro.txt")
    (site.ws / "try").mkdir()
    site.own(site.ws / "try")
    with open(site.out / "ro.txt", "ab"):
        result = site.run("/usr/bin/python3", "-c", REACH, f"{site.out}/ro.txt", f"{site.ws}/try", flags=BARE)
    assert (result.code, result.out) == (0, b"tried 18\n"), result
    after = os.stat(site.out / "ro.txt")
    assert (after.st_mode, after.st_mtime_ns, after.st_nlink) == \
        (before.st_mode, before.st_mtime_ns, before.st_nlink)


def test_an_inherited_descriptor_gives_no_right(site):
    """What is written to by the caller's will is no file of the sandbox's."""
    with open(site.out / "log", "wb") as log:
        os.chmod(log.fileno(), 0o600)
        process = site.spawn(site.immure, "run", *BARE, "--", "/usr/bin/python3", "-c",
                             "import os\ntry: os.fchmod(1, 0o666)\nexcept PermissionError: print('no')", stdout=log)
        assert process.wait(20) == 0
    assert stat.S_IMODE(os.stat(site.out / "log").st_mode) == 0o600
    assert (site.out / "log").read_text() == "no\n"


def test_denied_inside_the_workspace(site):
    os.chmod(site.ws / "sub/hidden/secret", 0o600)
    result = site.sh("chmod 666 sub/hidden/secret; chmod 777 sub/hidden; touch -c -t 200001010000 sub/hidden/secret;"
                     "ln -s sub/hidden/secret l; chmod 666 l; chmod 600 mine", flags=[
                         *BARE, "--downgrade", "file_create", "--deny", "sub/hidden"])
    assert stat.S_IMODE(os.stat(site.ws / "sub/hidden/secret").st_mode) == 0o600, result
    assert os.stat(site.ws / "sub/hidden/secret").st_mtime > 1e9
    assert stat.S_IMODE(os.stat(site.ws / "mine").st_mode) == 0o600, result


@pytest.mark.parametrize("bits", ["4755", "2755", "6777"])
def test_never_somebody_elses_program(site, bits):
    result = site.sh(f"cp /bin/true mine; chmod {bits} mine; chmod {bits} $PWD/mine; stat -c %a mine", flags=BARE)
    assert result.out.strip() in (b"755", b"644"), result
    assert not os.stat(site.ws / "mine").st_mode & (stat.S_ISUID | stat.S_ISGID)


@pytest.mark.parametrize("in_session", [False, True], ids=["run", "session"])
def test_programs_that_change_modes_and_times(site, in_session):
    script = """set -e
touch a; chmod 751 a; test "$(stat -c %a a)" = 751; touch -d @86400 a; test "$(stat -c %Y a)" = 86400
mkdir -p d/e; cp -p a d/e/b; test "$(stat -c %a%Y d/e/b)" = 75186400; cd d; chmod 700 e/../e ../a; cd ..
ln -s a l; touch -h -d @172800 l; test "$(stat -c %Y l)" = 172800; test "$(stat -c %Y a)" = 86400
f=$(mktemp); chmod 640 $f; test "$(stat -c %a $f)" = 640; install -m 755 a d/i; test "$(stat -c %a d/i)" = 755
tar cf t.tar d; rm -rf d; tar xpf t.tar --no-same-owner; test "$(stat -c %a d/i)" = 755
git init -q r; git -C r -c user.name=a -c user.email=b commit -q --allow-empty -m x; git clone -q r c; git -C c log -1 >/dev/null
echo whole"""
    if in_session:
        with Session(site, *BARE) as s:
            result = s.sh(script)
    else:
        result = site.sh(script, flags=BARE)
    assert (result.code, result.out) == (0, b"whole\n"), result


def test_without_an_answer_all_is_closed(site):
    """A kernel or a sandbox around that lets nobody listen."""
    result = site.sh("echo x >new; chmod 700 new || touch -d @0 new || echo closed", flags=BARE, without="notify")
    assert (result.code, result.out) == (0, b"closed\n"), result


def test_two_deep(site):
    """There is one listener for a process: inside, nothing is answered twice."""
    inner = f"'{site.immure}' run {' '.join(BARE)} -- /bin/sh -c 'echo x >new; chmod 700 {site.out}/ro.txt; echo end'"
    result = site.sh("export XDG_RUNTIME_DIR=$TMPDIR; " + inner, flags=[*BARE, "--downgrade", "file_create"])
    if site.uid == 0 and result.code == 125 and "/run/immure" in result.errors:
        return  # root's state directory is the outer's
    assert (result.code, result.out) == (0, b"end\n"), result
    assert stat.S_IMODE(os.stat(site.out / "ro.txt").st_mode) != 0o700
