# SPDX-License-Identifier: Apache-2.0
"""Drives the built program from outside. tests/README.md has the theory.

Every test runs in a *site*: a directory tree of its own, made anew, that holds
a workspace, a place outside it, things to hide and a home. Every test runs in
one or more *modes*, which say who the caller is and how poor the host."""

import contextlib
import ctypes
import hashlib
import json
import os
import pathlib
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time

import pytest

TOP = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("IMMURE_BUILD", TOP / "build"))
USER = "immure-test"
MUST_RUN = os.environ.get("IMMURE_MUST_RUN") == "1"

# What an older kernel lacks and the launcher has another way for. Anything not
# here is tested one by one in tests/fault: it works, or it is a refusal.
OLD_KERNEL = "clone3,close_range,faccessat2,epoll_pwait2,fchmodat2,statmount,listmount"

SECRET = b"SECRET-CANARY-8d1f"
PR_SET_CHILD_SUBREAPER = 36
KEYCTL, ADD_KEY = (250, 248) if os.uname().machine == "x86_64" else (219, 217)


class Mode:
    def __init__(self, name, user, without=None):
        self.name, self.user, self.without = name, user, without


MODES = {
    "root": Mode("root", "root"),
    "user": Mode("user", USER),
    "nocgroup": Mode("nocgroup", "root", "cgroup"),
    "enosys": Mode("enosys", "root", OLD_KERNEL),
    "enosys-user": Mode("enosys-user", USER, OLD_KERNEL),
}
DEFAULT_MODES = ["root", "user"]


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
        names = list(MODES)
    if os.geteuid() != 0:
        names = ["caller"]
    metafunc.parametrize("mode", names, indirect=True, scope="session")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if MUST_RUN and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped although IMMURE_MUST_RUN=1: {report.longrepr}"


# ---- the session: who, where ----------------------------------------------

libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture(scope="session", autouse=True)
def subreaper():
    """Whatever a test leaves running becomes a child of ours, so it is found."""
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        pytest.exit("cannot become a subreaper")
    libc.syscall(KEYCTL, 1, None, 0, 0, 0)  # a session keyring of our own


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
    if mode.user == USER:
        request.getfixturevalue("account")
    return mode


def program():
    path = pathlib.Path(os.environ.get("IMMURE", BUILD / "immure"))
    return path if path.is_file() else None


@pytest.fixture(scope="session")
def base():
    """Not below /tmp: what is there is hidden inside. Readable for everybody."""
    where = "/var/lib" if os.geteuid() == 0 else os.path.expanduser("~")
    path = pathlib.Path(where) / f"immure-test-{os.getpid()}"
    path.mkdir(mode=0o755)
    os.chmod(path, 0o755)
    yield path
    remove_tree(path)


@pytest.fixture(scope="session")
def bin_dir(base):
    """The programs, copied to where every user can execute them."""
    found = program()
    path = base / "bin"
    path.mkdir()
    for name in ("attack", "scratch", "without"):
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


def remove_tree(path):
    def again(function, name, info):
        # Directories that a test left without permissions are removed as well.
        with contextlib.suppress(OSError):
            os.chmod(os.path.dirname(name), 0o700)
            os.chmod(name, 0o700)
            function(name)

    shutil.rmtree(path, onerror=again)


# ---- one site per test ------------------------------------------------------


class Result:
    def __init__(self, code, out, err, record=None):
        self.code, self.out, self.err, self.record = code, out, err, record

    @property
    def text(self):
        return self.out.decode(errors="replace")

    @property
    def errors(self):
        return self.err.decode(errors="replace")

    def __repr__(self):
        return f"exit {self.code}\n--- out\n{self.out[-4000:]!r}\n--- err\n{self.errors[-4000:]}"


class Site:
    def __init__(self, path, mode, bin_dir, programs):
        self.path, self.mode, self.bin, self.immure = path, mode, bin_dir, programs
        entry = pwd.getpwnam(mode.user)
        self.uid, self.gid = entry.pw_uid, entry.pw_gid
        self.ws, self.out, self.deny = path / "ws", path / "out", path / "deny"
        self.priv, self.home, self.run_dir = path / "priv", path / "home", path / "run"
        self.build()

    def build(self):
        """The tree: what each place is for is in README.md."""
        self.path.mkdir()
        for name in ("ws", "ws/empty", "ws/sub", "ws/sub/hidden", "out", "out/dir", "out/empty",
                     "deny", "deny/dir", "deny/empty", "priv", "home", "home/.ssh", "run"):
            (self.path / name).mkdir()
        for name, data in {
            "ws/mine": b"mine\n", "ws/hidden.txt": SECRET, "ws/sub/hidden/secret": SECRET,
            "out/ro.txt": b"OUTSIDE\n", "deny/secret": SECRET, "priv/secret.txt": SECRET,
            "priv/public.txt": b"public\n", "home/.ssh/id_rsa": SECRET, "home/.profile": b"",
        }.items():
            (self.path / name).write_bytes(data)
        for name in ("deny", "ws/sub/hidden"):
            shutil.copy(self.bin / "scratch", self.path / name / "prog")
            os.symlink("secret", self.path / name / "link")
        shutil.copy(self.bin / "attack", self.ws / "attack")
        for name in ("out/ro.txt", "deny/secret", "priv/secret.txt", "ws/hidden.txt",
                     "ws/sub/hidden/secret"):
            os.setxattr(self.path / name, "user.planted", b"x")
        os.chmod(self.run_dir, 0o700)
        self.own(self.path)

    def own(self, top):
        if os.geteuid() != 0 or self.uid == 0:
            return
        for root, dirs, files in os.walk(top):
            for name in [root] + [os.path.join(root, f) for f in files + dirs]:
                os.chown(name, self.uid, self.gid, follow_symlinks=False)

    def rebuild(self):
        remove_tree(self.path)
        self.build()

    def put(self, name, data="", mode=None):
        path = self.ws / name
        fresh = [p for p in path.parents if not p.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        if mode is not None:
            path.chmod(mode)
        for one in [path] + fresh:
            os.chown(one, self.uid, self.gid)
        return path

    def environment(self, **extra):
        env = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.home), "LANG": "C.UTF-8", "TERM": "dumb",
            "XDG_RUNTIME_DIR": str(self.run_dir), "USER": self.mode.user,
        }
        env.update(extra)
        return {k: v for k, v in env.items() if v is not None}

    def command(self, *argv, without=None):
        poorer = ",".join(w for w in (self.mode.without, without) if w)
        argv = [os.fspath(a) if isinstance(a, os.PathLike) else a for a in argv]
        return ([str(self.bin / "without"), poorer, "--"] if poorer else []) + argv

    def identity(self):
        if os.geteuid() != 0:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def spawn(self, *argv, env=None, cwd=None, without=None, **popen):
        popen.setdefault("stdin", subprocess.DEVNULL)
        popen.setdefault("stdout", subprocess.PIPE)
        popen.setdefault("stderr", subprocess.PIPE)
        return subprocess.Popen(self.command(*argv, without=without), cwd=cwd or self.ws,
                                env=self.environment(**(env or {})), **self.identity(), **popen)

    def call(self, *argv, input=None, timeout=60, **kw):
        """Runs argv on the host, as this mode's caller; to the end."""
        if input is not None:
            kw["stdin"] = subprocess.PIPE
        process = self.spawn(*argv, **kw)
        try:
            out, err = process.communicate(input, timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"{argv} did not end in {timeout} s\n{out!r}\n{err!r}") from None
        code = process.returncode
        return Result(code if code >= 0 else 128 - code, out or b"", err or b"")

    def run(self, *command, flags=(), record=False, **kw):
        """immure run FLAGS -- COMMAND. record: read --result as well."""
        flags = [os.fspath(f) if isinstance(f, os.PathLike) else f for f in flags]
        where = self.path / "result.json"
        if record:
            flags += ["--result", str(where)]
        result = self.call(self.immure, "run", *flags, "--", *command, **kw)
        if record and where.exists():
            result.record = json.loads(where.read_text())
            where.unlink()
        return result

    def sh(self, script, **kw):
        return self.run("/bin/sh", "-c", script, **kw)

    def python(self, script, **kw):
        return self.run("/usr/bin/python3", "-c", script, **kw)


@pytest.fixture
def site(request, base, mode, bin_dir, immure):
    path = base / f"site-{os.urandom(4).hex()}"
    site = Site(path, mode, bin_dir, immure)
    yield site
    remove_tree(path)


# ---- nothing may be left ----------------------------------------------------


def descendants():
    """Children of ours, zombies reaped: after a test there are none."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    found = []
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError):
            children = pathlib.Path(f"/proc/self/task/{task}/children").read_text().split()
            found += [int(pid) for pid in children]
    return found


def describe(pid):
    with contextlib.suppress(OSError):
        return f"{pid}: {pathlib.Path(f'/proc/{pid}/cmdline').read_bytes()[:120]!r}"
    return str(pid)


def until(condition, seconds):
    """Waits for something that must become true; the deadline only fails."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


@pytest.fixture(autouse=True)
def no_process_left():
    before = set(descendants())
    yield
    left = []

    def gone():
        left[:] = set(descendants()) - before
        return not left

    if not until(gone, 1):
        names = [describe(pid) for pid in left]
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(gone, 5)
        pytest.fail(f"still running: {names}")


def cgroups_of_ours():
    found = set()
    for top, dirs, _ in os.walk("/sys/fs/cgroup"):
        found |= {os.path.join(top, d) for d in dirs if own_cgroup and own_cgroup in top}
    return found


own_cgroup = None


@pytest.fixture(scope="session", autouse=True)
def cgroup_of_ours():
    """Each hierarchy gets a directory for the suite, so that leaves made by
    our runs are not mixed up with anybody else's."""
    global own_cgroup
    if os.geteuid() != 0:
        yield
        return
    name = f"immure-test-{os.getpid()}"
    made = []
    lines = pathlib.Path("/proc/self/cgroup").read_text().splitlines()
    for line in lines:
        _, controllers, where = line.split(":", 2)
        for mount in cgroup_mounts(controllers):
            path = pathlib.Path(mount + where) / name
            with contextlib.suppress(OSError):
                path.mkdir()
                for control in ("cpuset.cpus", "cpuset.mems"):
                    if (path / control).exists():
                        (path / control).write_text((path.parent / control).read_text())
                (path / "cgroup.procs").write_text(str(os.getpid()))
                made.append(path)
    own_cgroup = name
    yield
    for path in made:
        with contextlib.suppress(OSError):
            (path.parent / "cgroup.procs").write_text(str(os.getpid()))
            path.rmdir()


def cgroup_mounts(controllers):
    wanted = set(controllers.split(",")) if controllers else set()
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ", 1)
        kind, _, options = right.split(" ", 2)
        if kind == "cgroup2" and not wanted:
            yield left.split()[4]
        elif kind == "cgroup" and wanted and wanted <= set(options.split(",")):
            yield left.split()[4]


def host_state(base):
    mounts = set()
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        mounts.add(line.split(" - ")[0].split(" ", 3)[3])
    files = set()
    for place in ("/run/immure", "/tmp", "/dev/shm", "/var/tmp"):
        with contextlib.suppress(OSError):
            for name in os.listdir(place):
                if place == "/run/immure" or name.startswith((".immure", "immure-", "immure.")):
                    files.add(os.path.join(place, name))
    sites = {p.name for p in base.iterdir()}
    return {"mounts": mounts, "files": files, "sites": sites, "cgroups": cgroups_of_ours()}


@pytest.fixture(scope="module", autouse=True)
def nothing_left(base, bin_dir):
    before = host_state(base)
    yield
    after = host_state(base)
    for what in before:
        assert after[what] - before[what] == set(), f"{what} left behind"


def tree_hash(path, content=True):
    """Names, types, modes, owners, times of change and bytes below path."""
    digest = hashlib.sha256()
    for top, dirs, files in os.walk(path):
        dirs.sort()
        for name in sorted(files + dirs):
            full = os.path.join(top, name)
            st = os.lstat(full)
            digest.update(repr((os.path.relpath(full, path), st.st_mode, st.st_uid, st.st_gid,
                                st.st_nlink if stat.S_ISREG(st.st_mode) else 0,
                                st.st_size if stat.S_ISREG(st.st_mode) else 0,
                                st.st_mtime_ns)).encode())
            if content and stat.S_ISREG(st.st_mode):
                digest.update(pathlib.Path(full).read_bytes())
            elif stat.S_ISLNK(st.st_mode):
                digest.update(os.readlink(full).encode(errors="surrogateescape"))
    return digest.hexdigest()


@pytest.fixture
def hash_tree():
    return tree_hash
