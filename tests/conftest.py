# SPDX-License-Identifier: Apache-2.0
"""Drives the built program from outside. tests/README.md has the theory.

Every test runs in a *site*: a directory tree of its own, made anew, that holds
a workspace, a place outside it, things to hide and a home. Every test runs in
one or more *modes*, which say who the caller is and how poor the host."""

import contextlib
import os
import pathlib
import pwd
import resource
import shutil
import signal
import subprocess
import sys

import pytest

import harness
from harness import BUILD, DEFAULT_MODES, KEYCTL, MODES, MUST_RUN, USER, Mode, Site

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools"))
import runtests  # noqa: E402  it knows which skips are allowed

pytest_plugins = ["ledger"]


def pytest_configure(config):
    config.addinivalue_line("markers", "modes(names...): run in these modes; 'all' for each")
    config.addinivalue_line("markers", "slow: takes more than a few seconds")


def pytest_generate_tests(metafunc):
    own = any("mode" in str(m.args[0]) for m in metafunc.definition.iter_markers("parametrize"))
    if "mode" not in metafunc.fixturenames or own:
        return
    marker = metafunc.definition.get_closest_marker("modes")
    names = list(marker.args) if marker else DEFAULT_MODES
    if names == ["all"]:
        names = [name for name in MODES if MODES[name].backend != "landlock"]
    if "delegated" in names and not (os.geteuid() == 0 and harness.unified()):
        names.remove("delegated")
    if os.geteuid() != 0:
        names = ["caller" if "user" in names else names[0]]
    metafunc.parametrize("mode", names, indirect=True, scope="session")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if not MUST_RUN or not report.skipped:
        return
    name = f"{item.path.parent.name}/{item.path.stem}::{item.name}"
    reason = getattr(report, "wasxfail", "").removeprefix("reason: ") or str(call.excinfo.value)
    if not any(n.match(name) and r.match(reason) for n, r in runtests.allowed_skips()):
        report.outcome = "failed"
        report.longrepr = f"skipped although IMMURE_MUST_RUN=1: {reason}"


# ---- the session: who, where ------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def subreaper():
    """Whatever a test leaves running becomes a child of ours, so it is found."""
    if harness.libc.prctl(harness.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        pytest.exit("cannot become a subreaper")
    os.umask(0o022)
    if os.geteuid() == 0:
        os.setgroups([])  # of what is started as root, too
    # A shell starts what runs in its background without them, and that is inherited.
    for number, usual in (signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, signal.SIG_DFL):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, usual)
    # Some tests hand in descriptors above 1024, where select(2) ends.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    harness.libc.syscall(KEYCTL, 1, None, 0, 0, 0)  # a session keyring of our own


@pytest.fixture(scope="session")
def account():
    """The ordinary user; made for the suite, removed after it."""
    if os.geteuid() != 0:
        pytest.skip("only root can become an ordinary user")
    made = False
    try:
        pwd.getpwnam(USER)
    except KeyError:
        done = subprocess.run(["useradd", "--no-create-home", "--home-dir", "/nonexistent",
                               "--shell", "/bin/sh", USER], capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"useradd: {done.stderr.strip()}")
        made = True
    yield pwd.getpwnam(USER)
    if made:
        subprocess.run(["userdel", USER], capture_output=True)


@pytest.fixture(scope="session")
def mode(request):
    if request.param == "caller":
        return Mode("caller", pwd.getpwuid(os.geteuid()).pw_name)
    mode = MODES[request.param]
    if os.geteuid() != 0:
        pytest.skip("only root can be this caller")
    if mode.backend == "bwrap" and not os.access("/usr/bin/bwrap", os.X_OK):
        pytest.skip("bubblewrap is not installed")
    if mode.user == USER:
        request.getfixturevalue("account")
    return mode


@pytest.fixture(scope="session")
def base():
    """Not below /tmp: what is there is hidden inside. Readable for everybody."""
    where = os.path.expanduser("~")
    if os.geteuid() == 0:
        where = next(p for p in ("/srv", "/opt", "/var/lib", "/var/cache", "/usr/local")
                     if os.path.isdir(p) and os.stat(p).st_mode & 0o005 == 0o005)
    path = pathlib.Path(where) / f"immure-test-{os.getpid()}"
    path.mkdir(mode=0o755)
    os.chmod(path, 0o755)
    yield path
    harness.remove_tree(path)


@pytest.fixture(scope="session")
def bin_dir(base):
    """The programs, copied to where every user can execute them."""
    found = harness.program()
    path = base / "bin"
    path.mkdir()
    for name in ("attack", "scratch", "without", "prog"):
        tool = BUILD / "tests/escape" / name
        if not tool.is_file():
            pytest.exit(f"{tool} is not built")
        shutil.copy(tool, path / name)
    if found:
        for tool in found.parent.iterdir():
            if tool.is_file() and (tool.name.startswith("immure") or
                                   tool.name.startswith("libimmure.so")):
                shutil.copy(tool, path / tool.name, follow_symlinks=True)
        if found.name != "immure":
            shutil.copy(found, path / "immure")
    return path


@pytest.fixture(scope="session")
def immure(bin_dir):
    if not (bin_dir / "immure").exists():
        pytest.skip("immure is not built")
    return bin_dir / "immure"


# ---- one site per test ------------------------------------------------------


@pytest.fixture
def site(request, base, mode, bin_dir, immure):
    path = base / f"site-{os.urandom(4).hex()}"
    site = Site(path, mode, bin_dir, immure)
    yield site
    harness.discard(path)


# ---- nothing may be left ----------------------------------------------------


@pytest.fixture(autouse=True)
def no_process_left():
    before = set(harness.descendants())
    yield
    left = []

    def gone():
        left[:] = set(harness.descendants()) - before
        return not left

    if not harness.until(gone, 1):
        names = [harness.describe(pid) for pid in left]
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        harness.until(gone, 5)
        pytest.fail(f"still running: {names}")


def delegate(path, user):
    """As systemd does for a user's session: controllers handed down, a directory that
    is the user's, and the processes one below it."""
    controllers = "+memory +pids +cpu"
    suite, theirs = path / "suite", path / "delegated"
    for each in (suite, theirs, theirs / "shell"):
        each.mkdir()
    (suite / "cgroup.procs").write_text(str(os.getpid()))
    (path / "cgroup.subtree_control").write_text(controllers)
    (theirs / "cgroup.subtree_control").write_text(controllers)
    for each in (theirs, theirs / "shell"):
        for name in ("", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"):
            os.chown(each / name, user.pw_uid, user.pw_gid)
    return [theirs / "shell", theirs, suite]


@pytest.fixture(scope="session", autouse=True)
def cgroup_of_ours(request):
    if os.geteuid() != 0:
        yield
        return
    name, made, tops = harness.OWN_CGROUP, [], []
    lines = pathlib.Path("/proc/self/cgroup").read_text().splitlines()
    for line in lines:
        _, controllers, where = line.split(":", 2)
        for mount in harness.cgroup_mounts(controllers):
            path = pathlib.Path(mount + where) / name
            with contextlib.suppress(OSError):
                path.mkdir()
                for control in ("cpuset.cpus", "cpuset.mems"):
                    if (path / control).exists():
                        (path / control).write_text((path.parent / control).read_text())
                (path / "cgroup.procs").write_text(str(os.getpid()))
                made.append(path)
                tops.append(path.parent)
                if not controllers and harness.unified():
                    made[:0] = delegate(path, request.getfixturevalue("account"))
    yield
    for top in tops:
        with contextlib.suppress(OSError):
            (top / "cgroup.procs").write_text(str(os.getpid()))
    for path in made:
        with contextlib.suppress(OSError):
            path.rmdir()


@pytest.fixture(scope="module", autouse=True)
def nothing_left(base, bin_dir):
    before = harness.host_state(base)
    yield
    harness.remove_discarded()
    after = harness.host_state(base)
    for what in before:
        assert after[what] - before[what] == set(), f"{what} left behind"


@pytest.fixture
def hash_tree():
    return harness.tree_hash
