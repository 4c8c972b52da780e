# SPDX-License-Identifier: Apache-2.0
"""Every system call of a launch fails once.

One launch is recorded with strace; each call that the launcher and init made
before the command's first instruction is then made to fail in a launch of its
own. What may follow: a refusal (exit 125, nothing ran, nothing left), or, where
the failure does not matter, the same sandbox, which the command proves from
inside. Never a weaker one."""

import collections
import os
import pathlib
import re
import shutil
import subprocess

import pytest

import harness

# What cannot fail (wait4 not with an error that a process could get over), and
# what a process cannot start without.
NOT_INJECTED = {
    "wait4",
    "exit", "exit_group", "rt_sigreturn", "restart_syscall", "execve", "arch_prctl",
    "set_tid_address", "getpid", "gettid", "getuid", "geteuid", "getgid", "getegid", "sched_yield",
}
# The first of each kind, and then every n-th, so that the whole takes its share
# of the time and no kind is left out.
PER_CALL = int(os.environ.get("IMMURE_FAULTS_PER_CALL", "6"))

PROBE = r"""
mark() { echo ran > mark; }
mark
ok=yes
[ -r DENY/secret ] && ok=readable
(echo x > OUT/ro.txt) 2>/dev/null && ok=writable
(echo x > .git/config) 2>/dev/null && ok=unprotected
grep -qE '^Cap(Inh|Prm|Eff|Bnd|Amb):.*[1-9a-f]' /proc/self/status && ok=capabilities
grep -q '^NoNewPrivs:.1' /proc/self/status || ok=new_privs
grep -q '^Seccomp:.2' /proc/self/status || ok=seccomp
[ "$(ls /proc | grep -c '^[0-9]')" -lt 8 ] || ok=processes
grep -q veth /proc/net/dev && ok=network
[ "$(wc -l < /proc/net/dev)" -le 3 ] || ok=network
[ -z "$(ls -A /tmp)" ] || ok=tmp
ls /proc/self/fd | grep -qE '^([4-9]|[0-9][0-9])' && ok=descriptors
ATTACK net.family 38 5 0 >/dev/null; [ $? = 10 ] || ok=filter
ATTACK kernel.unshare_user >/dev/null; [ $? = 10 ] || ok=userns
echo confined:$ok
"""

CONFINED = b"confined:yes\n"


@pytest.fixture(scope="module", autouse=True)
def strace():
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")


def flags(site):
    return ["--deny", str(site.deny), "--processes", "64", "--memory", "256M"] \
        if site.mode.name == "root" else ["--deny", str(site.deny)]


def probe(site):
    (site.ws / ".git").mkdir(exist_ok=True)
    (site.ws / ".git/config").write_text("[core]\n")
    site.own(site.ws)
    return PROBE.replace("DENY", str(site.deny)).replace("OUT", str(site.out)).replace(
        "ATTACK", f"{site.ws}/attack")


def traced(site, options, log):
    """Under strace, which lets go of each process when it executes another
    program: the command itself runs as if nobody watched."""
    script = probe(site)
    return site.call("strace", "-f", "-qq", "-b", "execve", "-o", log, *options, "--", site.immure,
                     "run", *flags(site), "--", "/bin/sh", "-c", script, timeout=60)


def recorded(site):
    """Calls of a launch by the process that makes most of them: name -> count.
    strace counts per process."""
    log = site.path / "trace"
    result = traced(site, [], str(log))
    assert result.out == CONFINED, result
    counts = collections.Counter()
    for line in log.read_text(errors="replace").splitlines():
        found = re.match(r"(\d+)\s+(\w+)\(", line)
        if found:
            counts[found.groups()] += 1
    log.unlink()
    most = collections.Counter()
    for (_, name), count in counts.items():
        most[name] = max(most[name], count)
    return most


ERRORS = {"mmap": "ENOMEM", "clone3": "EPERM", "clone": "EPERM", "fork": "EAGAIN", "openat": "EMFILE",
          "open": "EMFILE", "read": "EIO", "write": "ENOSPC", "pipe2": "EMFILE", "socketpair": "EMFILE",
          "close": "EIO", "mprotect": "ENOMEM"}


def chosen(counts):
    for name, count in sorted(counts.items()):
        # One newer than this strace, which can do nothing to it, is missing on other
        # hosts: see the calls of NEWER below.
        if name in NOT_INJECTED or name.startswith("syscall_0x"):
            continue
        step = max(1, count // PER_CALL)
        for when in sorted({1, count, *range(1, count + 1, step)}):
            yield name, ERRORS.get(name, "EPERM"), when


def names_left(site):
    return harness.names(site.path) - {"state", "state/immure"}


def leaves_left():
    """Cgroups that are there a second later; removed, so that each has one cause."""
    harness.until(lambda: not harness.cgroups_of_ours(), 1)
    left = harness.cgroups_of_ours()
    for path in left:
        os.rmdir(path)
    return left


@pytest.mark.modes("root", "user")
def test_each_call_fails_once(site):
    counts = recorded(site)
    assert sum(counts.values()) > 100 and len(counts) > 20, counts
    wrong, refused, harmless, killed = [], 0, 0, 0
    site.rebuild()
    probe(site)
    before = {p: harness.tree_hash(site.path / p) for p in ("out", "deny", "home", "priv")}
    names = names_left(site)
    for name, error, when in chosen(counts):
        result = traced(site, ["-e", f"trace={name}", "-e", f"inject={name}:error={error}:when={when}"],
                        "/dev/null")
        ran = (site.ws / "mark").exists()
        what = f"{name}#{when} {error}"
        (site.ws / "mark").unlink(missing_ok=True)
        if result.out == CONFINED:
            harmless += 1  # it made no difference to the sandbox
        elif result.code > 128 and not result.out:
            killed += 1  # ended, and took everything with it
        elif ran or result.out:
            wrong.append(f"{what}: {result}")
        elif result.code == 127 and b"error while loading shared libraries" in result.err:
            killed += 1  # the dynamic loader's own call, before main()
        elif result.code == 125 and (result.errors.startswith("immure: ") or name == "write"):
            refused += 1
        else:
            wrong.append(f"{what}: {result}")
        cgroups = leaves_left()
        if cgroups:
            wrong.append(f"{what}: left {cgroups}")
        # What was found out about the host is kept on purpose.
        left = names_left(site) - names - {"run/immure", "run/immure/facts.cache"}
        if left:
            wrong.append(f"{what}: left {left}")
            site.rebuild()
            probe(site)
        if {p: harness.tree_hash(site.path / p) for p in before} != before:
            wrong.append(f"{what}: changed outside")
            before = {p: harness.tree_hash(site.path / p) for p in before}
    print(f"{refused} refused, {harmless} harmless, {killed} died")
    assert wrong == [], "\n".join(wrong)
    assert refused > 30, (refused, harmless, killed)


@pytest.mark.modes("root", "user")
def test_who_cannot_watch_any_more_ends_it(site):
    """By then the command has run: 125 would say that it did not."""
    result = site.call("strace", "-f", "-qq", "-b", "execve", "-o", "/dev/null", "-e", "trace=poll", "-e",
                       "inject=poll:error=EPERM:when=2+", "--", site.immure, "run", "--", "/bin/sh", "-c", "echo a; sleep 9; echo b")
    assert result.code == 137 and result.out in (b"a\n", b""), result  # a slow start comes no further
    assert result.errors == "immure: supervise: poll: Operation not permitted; the command was ended\n"


# ---- older kernels -------------------------------------------------------------

NEWER = ["clone3", "openat2", "pidfd_open", "pidfd_send_signal", "close_range", "open_tree", "move_mount",
         "fsopen", "fsconfig", "fsmount", "mount_setattr", "faccessat2", "epoll_pwait2", "statx",
         "memfd_create", "execveat", "landlock_create_ruleset", "landlock_add_rule",
         "landlock_restrict_self", "seccomp", "fchmodat2", "statmount", "listmount", "open_tree_attr",
         "pidfd_getfd"]


@pytest.mark.modes("root", "user")
@pytest.mark.parametrize("call", NEWER)
def test_without_a_newer_call(site, call):
    result = site.call(site.immure, "run", *flags(site), "--", "/bin/sh", "-c", probe(site), without=call)
    if (site.ws / "mark").exists():
        assert result.out == CONFINED, result
    else:
        assert result.code == 125 and result.errors.startswith("immure: "), result


@pytest.mark.modes("root", "user")
def test_without_all_newer_calls(site):
    result = site.call(site.immure, "run", *flags(site), "--", "/bin/sh", "-c", probe(site),
                       without=",".join(NEWER))
    assert result.code == 125 and not (site.ws / "mark").exists(), result


# ---- a host that changes under the launcher --------------------------------------


@pytest.mark.parametrize("limit", [["-n", "8"], ["-n", "16"], ["-n", "24"], ["-v", "4000"],
                                   ["-v", "20000"], ["-f", "0"], ["-s", "64"]])
def test_under_small_limits(site, limit):
    """Few descriptors, little memory, no file size: work, or refuse."""
    script = f"ulimit {' '.join(limit)}; exec \"$0\" \"$@\""
    result = site.call("/bin/sh", "-c", script, site.immure, "run", *flags(site), "--", "/bin/sh", "-c",
                       probe(site))
    if (site.ws / "mark").exists() and b"confined" in result.out:
        assert result.out == CONFINED, result
    else:
        assert result.code != 0, result


def test_full_state_directory(site):
    """Quarantine with nowhere to go: told, not forgotten."""
    (site.path / "state").mkdir()
    (site.path / "state/immure").write_text("a file where a directory is due")
    site.own(site.path / "state")
    result = site.sh("echo evil > .envrc", record=True)
    if result.code != 125:
        assert not (site.ws / ".envrc").exists() or str(site.ws / ".envrc") in result.errors, result


def test_planted_link_for_our_runtime_directory(site):
    """Somebody made a link where our directory would be."""
    os.symlink(site.out / "dir", site.path / "run/immure")
    before = harness.tree_hash(site.out)
    site.sh("echo evil > .envrc")
    assert harness.tree_hash(site.out) == before, "followed a planted link"


def poorer(site, script, *argv):
    """Runs argv in a mount namespace that script prepared; for root."""
    return site.call("unshare", "--mount", "--propagation", "private", "sh", "-c",
                     f"{script} && exec \"$@\"", "sh", *argv)


@pytest.mark.modes("root")
@pytest.mark.parametrize("device", ["null", "zero", "full", "random", "urandom", "tty"])
def test_replaced_devices(site, device):
    """What is bound into /dev must be what its name says."""
    for source in (site.out / "ro.txt", "/dev/kmsg"):
        result = poorer(site, f"mount --bind {source} /dev/{device}", site.immure, "run", "--",
                        "/bin/sh", "-c", f"echo ran; echo x > /dev/{device}")
        assert result.code == 125 and not result.out, result
    assert (site.out / "ro.txt").read_bytes() == b"OUTSIDE\n"


@pytest.mark.modes("root")
@pytest.mark.parametrize("script", [
    "mount -t tmpfs x /proc", "mount --bind {out} /proc/self", "mount -t tmpfs x /dev",
    "mount --bind {out}/ro.txt /proc/self/mountinfo", "mount --bind {out} /sys/fs/cgroup",
    "mount --bind /dev/null /proc/self/uid_map", "mount --bind {out}/ro.txt /proc/self/cgroup",
])
def test_lying_host(site, script):
    """Something else than the kernel answers: a refusal, or a sandbox that holds."""
    result = poorer(site, script.format(out=site.out), site.immure, "run", *flags(site), "--",
                    "/bin/sh", "-c", probe(site))
    assert (site.out / "ro.txt").read_bytes() == b"OUTSIDE\n"
    if (site.ws / "mark").exists() or result.out:
        assert result.out == CONFINED, result
    else:
        assert result.code == 125, result


@pytest.mark.modes("root", "user")
def test_every_entry_confines(site):
    """run, run --prove, shell: one enforcement, whichever way in."""
    text = probe(site)
    for argv in (["run", "--deny", site.deny, "--"], ["run", "--prove", "-q", "--deny", site.deny, "--"]):
        result = site.call(site.immure, *argv, "/bin/sh", "-c", text)
        assert result.out == CONFINED, result
    result = site.call(site.immure, "shell", "--deny", site.deny, "--", "-c", text,
                       env={"SHELL": "/bin/sh"})
    assert result.out == CONFINED, result
    result = site.call(site.immure, "prove", "--deny", site.deny, "--", "/bin/sh", "-c", text)
    assert CONFINED in result.err, result
    full = site.call(site.bin / "immure-full", "run", "--deny", site.deny, "--", "/bin/sh", "-c", text)
    assert full.out == CONFINED, full


def test_workspace_swapped_during_launch(site):
    """The workspace and a link to a secret place change places all the time."""
    other = site.path / "other"
    os.symlink(site.home, other)
    racer = subprocess.Popen(
        ["/usr/bin/python3", "-c", "import ctypes,sys\nl=ctypes.CDLL(None)\n"
         "a,b=(x.encode() for x in sys.argv[1:])\n"
         "while True: l.renameat2(-100,a,-100,b,2)", str(site.ws), str(other)])
    try:
        for _ in range(60):
            result = site.sh("echo pwned > pwned; cat .ssh/id_rsa", cwd=site.path,
                             flags=["--workspace", site.path / "ws"])
            assert harness.SECRET not in result.out, result
            assert not (site.home / "pwned").exists() or result.code != 0
    finally:
        racer.kill()
        racer.wait()
    assert not (site.home / ".bashrc").exists()
