# SPDX-License-Identifier: Apache-2.0
"""What the suites share: modes, sites, and looking for what was left."""

import contextlib
import ctypes
import hashlib
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import stat
import subprocess
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("IMMURE_BUILD", TOP / "build"))
USER = f"immure-t{os.getpid()}"
MUST_RUN = os.environ.get("IMMURE_MUST_RUN") == "1"

# What an older kernel lacks and the launcher has another way for. Anything not
# here is tested one by one in tests/fault: it works, or it is a refusal.
OLD_KERNEL = "clone3,faccessat2,epoll_pwait2,fchmodat2,statmount,listmount,memfd_create"

SECRET = b"SECRET-CANARY-8d1f"
PR_SET_CHILD_SUBREAPER = 36
KEYCTL, ADD_KEY = (250, 248) if os.uname().machine == "x86_64" else (219, 217)


# Each cgroup hierarchy gets a directory of this name for the suite, so that
# leaves made by our runs are not mixed up with anybody else's.
OWN_CGROUP = f"immure-test-{os.getpid()}"


# Where one processor plays another, everything takes longer, deadlines too.
SLOWER = float(os.environ.get("IMMURE_TEST_SLOWER", "1"))


class Mode:
    def __init__(self, name, user, without=None, delegated=False, backend=None):
        self.name, self.user, self.without = name, user, without
        self.delegated, self.backend = delegated, backend


MODES = {
    "root": Mode("root", "root"),
    "user": Mode("user", USER),
    "nocgroup": Mode("nocgroup", "root", "cgroup"),
    "enosys": Mode("enosys", "root", OLD_KERNEL),
    "enosys-user": Mode("enosys-user", USER, OLD_KERNEL),
    "delegated": Mode("delegated", USER, delegated=True),
    "bwrap": Mode("bwrap", "root", backend="bwrap"),
    "bwrap-user": Mode("bwrap-user", USER, backend="bwrap"),
    "landlock": Mode("landlock", "root", backend="landlock"),
    "landlock-user": Mode("landlock-user", USER, backend="landlock"),
}
DEFAULT_MODES = ["root", "user"]


libc = ctypes.CDLL(None, use_errno=True)

# What a run without namespaces never has here, to be approved by name.
LANDLOCK_ABI = libc.syscall(444, None, 0, 1)
BARE_GAPS = "process_visibility,file_metadata" + (",signals" if 0 < LANDLOCK_ABI < 6 else "")
BARE = ("--backend", "landlock", "--downgrade", BARE_GAPS)


def program():
    path = pathlib.Path(os.environ.get("IMMURE", BUILD / "immure"))
    return path if path.is_file() else None


def for_the_library():
    """Environment for a program that loads the library: a sanitizer's runtime comes first."""
    if BUILD.name != "asan":
        return {}
    found = subprocess.run(["cc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    return {"LD_PRELOAD": found.stdout.strip(), "ASAN_OPTIONS": "detect_leaks=0"}


def remove_tree(path):
    remove_trees([path])


def remove_trees(paths):
    # rm is faster by far; what it cannot remove, the other can.
    if paths:
        subprocess.run(["rm", "-rf", "--", *paths], stderr=subprocess.DEVNULL)
    for path in filter(os.path.lexists, paths):
        remove_closed(path)


def remove_closed(path):
    """Directories that a test left without permissions are removed as well.
    Only those: the tree's own parent is the host's."""
    def again(function, name, info):
        with contextlib.suppress(OSError):
            if os.fspath(name) != os.fspath(path):
                os.chmod(os.path.dirname(name), 0o700)
            os.chmod(name, 0o700)
            function(name)

    shutil.rmtree(path, onerror=again)


KEPT_FACTS = {}


def keep_facts(site):
    """An ordinary user's bubblewrap is examined once and kept in the runtime directory,
    which is new for each site: it gets what the first one's examination found. A refusal
    is examined anew by the program in any case."""
    if site.mode.backend != "bwrap" or site.uid == 0 or not site.immure:
        return
    place = site.run_dir / "immure"
    if site.mode.name not in KEPT_FACTS:
        site.run("/bin/true")
        file = place / "facts.cache"
        KEPT_FACTS[site.mode.name] = file.read_bytes() if file.exists() else b""
        return
    place.mkdir(mode=0o700)
    (place / "facts.cache").write_bytes(KEPT_FACTS[site.mode.name])
    (place / "facts.cache").chmod(0o600)
    for one in (place, place / "facts.cache"):
        os.chown(one, site.uid, site.gid)


DISCARDED = []


def discard(path):
    """Removes a tree at leisure: with others, and before the module is over."""
    DISCARDED.append(path)
    if len(DISCARDED) >= 40:
        remove_discarded()


def remove_discarded():
    paths, DISCARDED[:] = DISCARDED[:], []
    remove_trees(paths)


BECOME = str(BUILD / "tests/escape/become")


def become(uid, gid, cwd, *argv, fds=()):
    """argv as another user and elsewhere, see escape/become.c."""
    return [BECOME, str(uid), str(gid), os.fspath(cwd), *map(str, fds), "--", *argv]


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


class Process(subprocess.Popen):
    """Its deadlines are as much longer as this machine is slower."""

    def wait(self, timeout=None):
        return super().wait(timeout and timeout * SLOWER)

    def communicate(self, input=None, timeout=None):
        return super().communicate(input, timeout and timeout * SLOWER)


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
            shutil.copy(self.bin / "prog", self.path / name / "prog")
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
            "XDG_RUNTIME_DIR": str(self.run_dir),
            "XDG_STATE_HOME": str(self.path / "state"), "USER": self.mode.user,
        }
        env.update(extra)
        return {k: v for k, v in env.items() if v is not None}

    def command(self, *argv, without=None):
        poorer = ",".join(w for w in (self.mode.without, without) if w)
        argv = [os.fspath(a) if isinstance(a, os.PathLike) else a for a in argv]
        if self.mode.backend and argv[0] == os.fspath(self.immure) and "--backend" not in argv \
                and argv[1] in ("run", "plan", "prove", "shell", "create") \
                and not {"--session", "--pool"} & set(argv):
            argv[2:2] = BARE if self.mode.backend == "landlock" else ["--backend", self.mode.backend]
        argv = ([str(self.bin / "without"), poorer, "--"] if poorer else []) + argv
        if self.mode.delegated:
            argv = ["/bin/sh", "-c", 'echo 0 >"$0" && exec setpriv --reuid "$1" --regid "$2" --clear-groups '
                    '-- /bin/sh -c \'shift 2; exec "$@"\' - "$@"', str(delegated_leaf() / "cgroup.procs"),
                    str(self.uid), str(self.gid)] + argv
        return argv

    def identity(self):
        """What subprocess needs to be told; root's groups were given up (conftest)."""
        if os.geteuid() != 0 or self.uid == 0 or self.mode.delegated:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def spawn(self, *argv, env=None, cwd=None, without=None, **popen):
        popen.setdefault("stdin", subprocess.DEVNULL)
        popen.setdefault("stdout", subprocess.PIPE)
        popen.setdefault("stderr", subprocess.PIPE)
        argv = self.command(*argv, without=without)
        who = self.identity()
        if who and "preexec_fn" not in popen:
            # A program that changes the user spares a fork of this process.
            argv = become(self.uid, self.gid, cwd or self.ws, *argv)
            who = {}
        return Process(argv, cwd=cwd or self.ws, env=self.environment(**(env or {})), **who, **popen)

    def call(self, *argv, input=None, timeout=60, **kw):
        """Runs argv on the host, as this mode's caller; to the end."""
        if input is not None:
            kw["stdin"] = subprocess.PIPE
        kw.setdefault("start_new_session", True)  # so that all of it can be ended
        process = self.spawn(*argv, **kw)
        timeout *= SLOWER
        try:
            out, err = process.communicate(input, timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            raise AssertionError(f"{argv} did not end in {timeout * SLOWER} s\n{out!r}\n{err!r}") from None
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


def stop_and_kill(pids):
    """All of them, so fast that none sees another go. One may have ended by itself, and then
    the others must not stay stopped."""
    for sign in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sign)


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
    end = time.monotonic() + seconds * SLOWER
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def unified():
    """The directory of this process in a cgroup v2 that has the controllers of limits, or None."""
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, where = line.split(":", 2)
        for mount in cgroup_mounts(controllers) if not controllers else ():
            path = pathlib.Path(mount + where)
            with contextlib.suppress(OSError):
                if {"memory", "pids", "cpu"} <= set((path / "cgroup.controllers").read_text().split()):
                    return path
    return None


def delegated_leaf():
    """Where the user of mode `delegated` starts: below a directory that is that user's."""
    return unified().parent / "delegated" / "shell"


def cgroups_of_ours():
    found = set()
    for top, dirs, _ in os.walk("/sys/fs/cgroup"):
        found |= {os.path.join(top, d) for d in dirs if OWN_CGROUP in top}
    return found


def cgroup_mounts(controllers):
    wanted = set(controllers.split(",")) if controllers else set()
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ", 1)
        kind, _, options = right.split(" ", 2)
        if kind == "cgroup2" and not wanted:
            yield left.split()[4]
        elif kind == "cgroup" and wanted and wanted <= set(options.split(",")):
            yield left.split()[4]


def is_session_of(base, place, name):
    """A registered session, or a name of one, that was made from a site of ours. Its plan
    may speak of the sites of others: of their sockets, for instance, which it hides."""
    if place.endswith("/names"):
        name = os.readlink(os.path.join(place, name))
    with contextlib.suppress(OSError):
        plan = pathlib.Path("/run/immure/sessions", name, "plan").read_bytes()
        ours = os.fsencode(base) + b"/"
        return b"HOME=" + ours in plan or re.search(re.escape(ours) + rb"[^/\0]*/state/immure\0", plan) is not None
    return False


def host_state(base):
    mounts = set()
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        mounts.add(line.split(" - ")[0].split(" ", 3)[3])
    files = set()
    for place in ("/run/immure/sessions", "/run/immure/names", "/tmp", "/dev/shm", "/var/tmp"):
        with contextlib.suppress(OSError):
            for name in os.listdir(place):
                if place.startswith("/run/immure/") and not is_session_of(base, place, name):
                    continue  # of somebody else on this machine
                if place.startswith("/run/immure/") or name.startswith(".immure"):
                    files.add(os.path.join(place, name))
    sites = {p.name for p in base.iterdir()}
    return {"mounts": mounts, "files": files, "sites": sites, "cgroups": cgroups_of_ours()}


def tree_hash(path, content=True):
    """Names, types, modes, owners, times of change and bytes below path."""
    digest = hashlib.sha256()

    def look(directory, above):
        try:
            entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
        except OSError:
            return  # closed to who runs the suite; its own line tells of changes
        for entry in entries:
            st, name = entry.stat(follow_symlinks=False), above + entry.name
            regular = stat.S_ISREG(st.st_mode)
            digest.update(repr((name, st.st_mode, st.st_uid, st.st_gid, st.st_nlink if regular else 0,
                                st.st_size if regular else 0, st.st_mtime_ns)).encode())
            if content and regular:
                with open(entry.path, "rb", buffering=0) as file:
                    digest.update(file.read())
            elif stat.S_ISLNK(st.st_mode):
                digest.update(os.readlink(entry.path).encode(errors="surrogateescape"))
            elif stat.S_ISDIR(st.st_mode):
                look(entry.path, name + "/")

    look(os.fspath(path), "")
    return digest.hexdigest()


def names(path):
    """Every name below path, relative to it."""
    return {os.path.relpath(os.path.join(top, name), path)
            for top, dirs, files in os.walk(path) for name in dirs + files}
