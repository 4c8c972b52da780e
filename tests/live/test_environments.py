# SPDX-License-Identifier: Apache-2.0
"""Hosts as users have them: containers, limits on user namespaces, old kernels, a
sandbox around the sandbox. Whatever the host is, a run is as sealed as its plan, or it
is refused in one line; `auto` takes what works, and doctor says so."""
import json
import os
import pathlib
import shutil
import subprocess

import pytest

import harness

pytestmark = pytest.mark.modes("root", "user")


# ---- the environments: what stands before immure on the command line ----------------


def without(words):
    return lambda site: [str(site.bin / "without"), words, "--"]


def covered_proc(site):
    """The kernel mounts no fresh /proc where the one that is there is partly covered."""
    return ["unshare", "--user", "--map-root-user", "--mount", "--", "/bin/sh", "-c",
            'mount -t tmpfs none /proc/sys && exec "$@"', "sh"]


def bubblewrap(site):
    return ["bwrap", "--unshare-all", "--dev-bind", "/", "/", "--proc", "/proc", "--"]


def inside(depth):
    """Our own sandbox, around itself; what is inside has what the outer one left it."""
    def argv(site):
        one = [str(site.immure), "run", "--no-policy", "--backend", "native", "--"]
        more = [str(site.immure), "run", "--no-policy", "--downgrade", BARE, "--"]
        return one + more * (depth - 1)
    return argv


DOCKER_CAPS = ["CAP_" + name for name in (
    "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL "
    "AUDIT_WRITE").split()]


def container(site, filtered=True, covered=True, caps=()):
    """crun with what Docker gives by default: no capability, no new privileges, a filter
    that forbids namespaces and mounts."""
    bundle = pathlib.Path(f"/var/tmp/{site.path.name}-bundle")
    (bundle / "root").mkdir(parents=True)
    paths = ["/usr", "/bin", "/lib", "/lib64", "/etc", str(site.path.parent)]
    mounts = [{"destination": "/proc", "type": "proc", "source": "proc"},
              {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
               "options": ["nosuid", "mode=755"]},
              {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
               "options": ["newinstance", "ptmxmode=0666", "mode=0620"]},
              {"destination": "/sys", "type": "sysfs", "source": "sysfs",
               "options": ["nosuid", "noexec", "nodev", "ro"]},
              {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}]
    mounts += [{"destination": p, "type": "bind", "source": p, "options": ["rbind", "rw"]}
               for p in paths if os.path.isdir(p)]
    denied = ["mount", "umount2", "pivot_root", "unshare", "setns", "open_tree", "fsopen", "fsmount",
              "fsconfig", "move_mount", "mount_setattr"]
    config = {
        "ociVersion": "1.0.0",
        # Rootless, as podman starts it: an ordinary user is root of the container's namespace.
        "process": {"terminal": False, "user": {"uid": 0, "gid": 0},
                    "args": ["true"], "cwd": str(site.ws),
                    "env": [f"{k}={v}" for k, v in site.environment().items()],
                    "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), list(caps)),
                    "noNewPrivileges": True},
        "root": {"path": "root", "readonly": False}, "hostname": "container", "mounts": mounts,
        "linux": {"namespaces": [{"type": t} for t in ("pid", "ipc", "uts", "mount", "network")],
                  "maskedPaths": ["/proc/kcore", "/proc/keys"], "readonlyPaths": ["/proc/sys"],
                  "seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                      {"names": denied, "action": "SCMP_ACT_ERRNO", "errnoRet": 1},
                      {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
                      {"names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "args": [
                          {"index": 0, "value": 0x10000000, "valueTwo": 0x10000000,
                           "op": "SCMP_CMP_MASKED_EQ"}]}]}},
    }
    if not filtered:
        del config["linux"]["seccomp"]
    if not covered:
        del config["linux"]["maskedPaths"], config["linux"]["readonlyPaths"]
    (bundle / "config.json").write_text(json.dumps(config))
    site.own(bundle)
    # crun knows the two kinds of cgroup trees and no mixture: it is shown none.
    who = [] if site.uid == 0 else ["--user", "--map-root-user"]
    return ["unshare", *who, "--mount", "--", "/bin/sh", "-c",
            'mount -t tmpfs none /sys/fs/cgroup && exec "$@"', "sh",
            "/usr/bin/python3", "-c", CONTAINER, str(bundle), f"t{os.urandom(4).hex()}"]


def container_without_filter(site):
    """As Podman's and Kubernetes' default: namespaces may be made, but a part of /proc is
    covered, and then the kernel gives no fresh one."""
    return container(site, filtered=False, caps=DOCKER_CAPS)


def container_as_doctor_says(site):
    """What the remedies come to: neither that filter nor anything over /proc."""
    return container(site, filtered=False, covered=False, caps=DOCKER_CAPS)


def container_without_capabilities(site):
    """--cap-drop ALL: what is root's can then be mapped by nobody."""
    return container(site, filtered=False, covered=False)


# The command goes into the bundle, since that is where crun takes it from.
CONTAINER = """
import json, subprocess, sys
bundle, name, *argv = sys.argv[1:]
config = json.load(open(bundle + "/config.json"))
config["process"]["args"] = argv
json.dump(config, open(bundle + "/config.json", "w"))
sys.exit(subprocess.call(["crun", "--cgroup-manager=disabled", "--root", bundle + "/state", "run",
                          "--bundle", bundle, name]))
"""

BARE = harness.BARE_GAPS

# What came after it and a launch may ask for. Of the calls in it (close_range, openat2, the
# mount calls) each has its own answer: a way without it, or a refusal; see tests/fault.
LINUX_5_15 = "fchmodat2,statmount,listmount,cachestat,mseal,open_tree_attr,wait_killable,landlock=1"

# name: (what is before the command, backend that auto takes for the policy as it is,
#        backend when every gap that may be approved is approved); None: refused.
ENVIRONMENTS = {
    "plain": (lambda site: [], "native", "native"),
    "userns-denied": (without("userns"), None, "landlock"),
    "userns-without-capabilities": (without("caps"), None, "landlock"),
    "mount-denied": (without("mounts"), None, "landlock"),
    "make-slave-refused": (without("slave"), "native", "native"),
    "proc-mount-refused": (covered_proc, None, "landlock"),
    "no-cgroup": (without("cgroup"), "native", "native"),
    "no-new-mount-calls": (without("open_tree,fsopen,fsmount,fsconfig,move_mount,mount_setattr"),
                           "bwrap", "bwrap"),
    "no-landlock": (without("landlock_create_ruleset"), None, "native"),
    **{f"landlock-abi-{n}": (without(f"landlock={n}"), "native", "native") for n in range(1, 7)},
    "no-wait-killable": (without("wait_killable"), "native", "native"),
    "no-pidfd": (without("pidfd"), None, None),
    "linux-5.15": (without(LINUX_5_15), "native", "native"),
    "linux-5.15-no-namespaces": (without(LINUX_5_15 + ",userns"), None, "landlock"),
    "inside-itself": (inside(1), None, "landlock"),
    "inside-itself-twice": (inside(2), None, "landlock"),
    "inside-crun": (container, None, "landlock"),
    "inside-crun-unfiltered": (container_without_filter, None, "landlock"),
    "inside-crun-without-capabilities": (container_without_capabilities, None, "landlock"),
    "inside-crun-permitted": (container_as_doctor_says, "native", "native"),
    "inside-bubblewrap": (bubblewrap, None, "landlock"),
}
# What doctor has to name as missing, with a remedy; and the backends that it says can be
# used, which are then tried, each by its name: native, bwrap, landlock.
SAYS = {
    "plain": ((), "nbl"),
    "userns-denied": (("userns", "userns_mount", "userns_proc", "netns", "bwrap"), "l"),
    "userns-without-capabilities": (("userns_mount", "userns_proc", "netns", "bwrap"), "l"),
    "mount-denied": (("userns_mount", "mount_api", "userns_proc", "bwrap"), "l"),
    "make-slave-refused": (("bwrap",), "nl"),
    "proc-mount-refused": (("userns_proc", "bwrap"), "l"),
    "no-cgroup": (("cgroup_memory", "cgroup_pids", "cgroup_cpu"), "nbl"),
    "no-new-mount-calls": (("userns_mount", "mount_api"), "bl"),
    "no-landlock": (("landlock",), "nb"),
    **{f"landlock-abi-{n}": ((), "nbl") for n in range(1, 7)},
    "no-wait-killable": ((), "nbl"),
    "no-pidfd": (("clone3", "child_pidfd", "pidfd"), ""),
    "linux-5.15": ((), "nbl"),
    "linux-5.15-no-namespaces": (("userns", "netns", "bwrap"), "l"),
    "inside-itself": (("userns", "netns", "bwrap"), "l"),
    "inside-itself-twice": (("userns", "netns", "bwrap"), "l"),
    "inside-crun": (("userns", "netns", "bwrap"), "l"),
    "inside-crun-unfiltered": (("userns_proc", "bwrap"), "l"),
    "inside-crun-without-capabilities": (("userns", "userns_proc", "bwrap"), "l"),
    "inside-crun-permitted": ((), "nbl"),
    "inside-bubblewrap": (("userns_proc", "bwrap"), "l"),
}
SAYS_TO_USER = {"inside-bubblewrap": ((), "nbl")}

# Of root's /proc bubblewrap covers a part, and the kernel then gives no fresh one.
FOR_USER = {"inside-bubblewrap": (bubblewrap, "native", "native")}


@pytest.fixture(params=ENVIRONMENTS)
def environment(request, site):
    prefix, asked, approved = ENVIRONMENTS[request.param]
    if site.uid != 0:
        prefix, asked, approved = FOR_USER.get(request.param, ENVIRONMENTS[request.param])
    if request.param.startswith("inside-crun"):
        if not shutil.which("crun"):
            pytest.skip("crun is not installed")
    if "landlock-abi-" in request.param and int(request.param[-1]) > harness.LANDLOCK_ABI:
        pytest.skip("this kernel's Landlock is older than that")
    if request.param == "inside-bubblewrap" and not shutil.which("bwrap"):
        pytest.skip("bubblewrap is not installed")
    yield request.param, prefix(site), asked, approved
    harness.remove_tree(f"/var/tmp/{site.path.name}-bundle")


def immure(site, prefix, command, *flags, argv=()):
    call = [*prefix, str(site.immure), command, *flags, *(["--", *argv] if argv else [])]
    return site.call(*call, timeout=120)


def flags_of(site):
    return ["--no-policy", "--deny", str(site.deny)]


SCRIPT = """
echo ran > mark
cat {site.deny}/secret
echo x > {site.out}/ro.txt
kill -0 {pid} 2>/dev/null && echo reached
true
"""


def attempt(site, prefix, *flags):
    """The backend that ran it, or None; and that nothing got out either way."""
    before = harness.tree_hash(site.out)
    mark = site.ws / "mark"
    where = site.ws / "result.json"
    victim = subprocess.Popen(["sleep", "60"], **site.identity())
    try:
        result = immure(site, prefix, "run", "--result", str(where), *flags_of(site), *flags,
                        argv=["/bin/sh", "-c", SCRIPT.format(site=site, pid=victim.pid)])
    finally:
        victim.kill()
        victim.wait()
    assert harness.tree_hash(site.out) == before
    assert harness.SECRET not in result.out, result
    # Landlock alone keeps no signals before its sixth version; it is a gap, to be approved.
    assert b"reached" not in result.out or any("signals" in flag for flag in flags), result
    own = [line for line in result.errors.splitlines() if line.startswith("immure: ")]
    if not mark.exists():
        assert result.code == 125, result
        assert own, result
        where.unlink(missing_ok=True)
        return None, result
    assert result.code == 0, result
    mark.unlink()
    record = json.loads(where.read_text())
    where.unlink()
    return record, result


def gaps_of(site, prefix, *flags):
    plan = immure(site, prefix, "plan", "--json", *flags_of(site), *flags, argv=["/bin/true"])
    assert plan.code in (0, 1), plan
    return json.loads(plan.out)


def backend_of(record):
    return record and record["backend"]


def test_runs_as_sealed_as_planned_or_not_at_all(site, environment):
    name, prefix, asked, approved = environment
    record, result = attempt(site, prefix)
    assert backend_of(record) == asked, result
    if name.startswith("userns-"):
        assert "`immure doctor` says why and what to do" in result.errors, result
    # The plan said so, and why it is not the first of the list.
    plan = gaps_of(site, prefix)
    open_gaps = [g for g in plan["gaps"] if not g["approved"]]
    assert bool(open_gaps) == (asked is None), plan["gaps"]
    if asked:
        assert plan["backend"] == asked
    if plan["backend"] != "native":
        assert "passed over: native: " in plan["backend_why"]
    # allow alone approves nothing
    assert backend_of(attempt(site, prefix, "--downgrade", "allow")[0]) == asked


def test_what_is_approved_is_named_and_recorded(site, environment):
    name, prefix, asked, approved = environment
    if asked == approved:
        return
    names = ",".join(sorted({g["dimension"] for g in gaps_of(site, prefix)["gaps"]}))
    record, result = attempt(site, prefix, "--downgrade", names)
    assert backend_of(record) == approved, (names, result)
    if approved is None:
        return
    for gap in names.split(","):
        assert "not enforced, as the policy approves" in result.errors, (gap, result)
    # work from elsewhere never degrades
    assert attempt(site, prefix, "--downgrade", names, "--origin", "remote")[0] is None


@pytest.mark.modes("root", "user")
def test_a_proc_that_is_refused_is_explained(site):
    result = immure(site, covered_proc(site), "run", "--backend", "native", *flags_of(site), argv=["true"])
    assert result.code == 125 and "/proc: Operation not permitted; the /proc here is covered" in result.errors, result


@pytest.mark.modes("root", "user")
@pytest.mark.parametrize("command", ["run", "create"])
def test_a_refusal_says_what_would_do(site, command):
    """Not only what this host would not do: also what the next backend lacks, all of it."""
    result = immure(site, without("userns")(site), command, *flags_of(site),
                    argv=["true"] if command == "run" else ())
    assert result.code == 125, result
    assert result.errors.count("\n") == 1 and "user namespaces" in result.errors, result
    for word in ("backend landlock: ", "require.downgrade: process_visibility", "file_metadata"):
        assert word in result.errors, (word, result)


def said_of(site, name):
    return (SAYS if site.uid == 0 else {**SAYS, **SAYS_TO_USER})[name]


def doctor(site, prefix):
    result = immure(site, prefix, "doctor", "--json")
    report = json.loads(result.out)
    available = {b["backend"] for b in report["backends"] if b["available"] == "yes"}
    assert result.code == (0 if available else 1)
    return report, available


def test_doctor_says_what_is(site, environment):
    name, prefix, asked, approved = environment
    missing, usable = said_of(site, name)
    report, available = doctor(site, prefix)
    assert available == {b for b in ("native", "bwrap", "landlock") if b[0] in usable}, report["backends"]
    assert approved is None or approved in available, report["backends"]
    assert asked is None or asked in available
    for fact in report["facts"]:
        assert fact["ok"] in ("yes", "no") and fact["detail"], fact
        assert fact["name"] not in missing or (fact["ok"], bool(fact["remedy"])) == ("no", True), fact
        if fact["name"] in missing and name == "inside-crun-without-capabilities":
            assert "CAP_SETFCAP" in fact["remedy"], fact
        if fact["name"] == "landlock" and "abi-" in name:
            assert fact["detail"].startswith(f"ABI {name[-1]},"), fact
    for backend in report["backends"]:
        if backend["available"] == "no":
            assert backend["why"], backend
            assert {d["level"] for d in backend["dimensions"].values()} == {"none"}, backend


def test_what_doctor_says_of_a_backend_is_so(site, environment):
    """Each by its name, with all approved that its plan may lack: it runs, as sealed as its
    plan, or nothing does."""
    name, prefix, _, _ = environment
    _, usable = said_of(site, name)
    for backend in ("native", "bwrap", "landlock"):
        gaps = {g["dimension"] for g in gaps_of(site, prefix, "--backend", backend)["gaps"]}
        record, result = attempt(site, prefix, "--backend", backend,
                                 *(["--downgrade", ",".join(sorted(gaps))] if gaps else []))
        assert backend_of(record) == (backend if backend[0] in usable else None), (backend, gaps, result)


def proven(site, prefix, *flags):
    result = immure(site, prefix, "prove", "--json", "--no-policy", *flags)
    if not result.out:
        return result, None
    return result, [p["id"] for p in json.loads(result.out)["points"] if p["verdict"] == "fell_short"]


def test_proof_holds_where_it_runs(site, environment):
    name, prefix, asked, approved = environment
    result, short = proven(site, prefix)
    assert (result.code, short) == ((0, []) if asked else (125, None)), (short, result)
    if asked == approved:
        return
    # And of what runs when all that is missing was approved.
    names = ",".join(sorted({g["dimension"] for g in gaps_of(site, prefix)["gaps"]}))
    result, short = proven(site, prefix, "--downgrade", names)
    assert (result.code, short) == ((0, []) if approved else (125, None)), (names, short, result)


# ---- the kept answers ----------------------------------------------------------------


def cache_of(site):
    base = "/run/immure" if site.uid == 0 else f"{site.run_dir}/immure"
    return f"{base}/facts.cache"


def forget(site):
    if os.path.lexists(cache_of(site)):
        os.unlink(cache_of(site))


OLD = ["open_tree,fsopen,fsmount,fsconfig,move_mount,mount_setattr"]


def test_kept_only_where_it_is_needed(site):
    forget(site)
    assert site.run("/bin/true").code == 0
    assert not os.path.exists(cache_of(site))
    assert site.run("/bin/true", without=OLD[0]).code == 0
    info = os.stat(cache_of(site))
    assert info.st_mode & 0o777 == 0o600 and info.st_uid == site.uid
    assert os.stat(os.path.dirname(cache_of(site))).st_mode & 0o777 == 0o700
    first = info.st_mtime_ns
    assert site.run("/bin/true", without=OLD[0]).code == 0
    assert os.stat(cache_of(site)).st_mtime_ns == first  # it was used
    # another host around it: no answer of this one, or one that turns out to be wrong
    assert site.run("/bin/true", without="userns").code == 125
    assert site.run("/bin/true", without=OLD[0]).code == 0
    forget(site)


@pytest.mark.parametrize("spoil", ["mode", "link", "hardlink", "garbage", "cut", "lies", "directory",
                                   "owner", "huge"])
def test_kept_answers_are_not_believed(site, spoil):
    if spoil == "owner" and os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    forget(site)
    assert site.run("/bin/true", without=OLD[0]).code == 0
    path = cache_of(site)
    text = open(path, "rb").read()
    other = f"{path}.other"
    if spoil == "mode":
        os.chmod(path, 0o644)
    elif spoil == "link":
        os.rename(path, other)
        os.symlink(other, path)
    elif spoil == "hardlink":
        os.link(path, other)
    elif spoil == "garbage":
        open(path, "wb").write(b"\0\xff" * 500)
    elif spoil == "cut":
        open(path, "wb").write(text[:len(text) // 2])
    elif spoil == "lies":  # everything works, says it
        open(path, "wb").write(text.replace(b"\tno\t", b"\tyes\t"))
    elif spoil == "directory":
        os.unlink(path)
        os.mkdir(path, 0o700)
    elif spoil == "owner":
        os.chown(path, 12345, 12345)
    elif spoil == "huge":
        open(path, "wb").write(text + b"x" * (1 << 20))
    try:
        record, result = attempt(site, without(OLD[0])(site))
        assert backend_of(record) == "bwrap", result
        # and where nothing can be had, lies do not make it run
        assert attempt(site, without("userns")(site))[0] is None
    finally:
        if os.path.isdir(path) and not os.path.islink(path):
            os.rmdir(path)
        forget(site)
        if os.path.lexists(other):
            os.unlink(other)


def test_preferred_first_and_never_instead(site):
    forget(site)
    record, result = attempt(site, [], "--prefer", "bwrap")
    assert backend_of(record) == "bwrap", result
    assert backend_of(attempt(site, without("slave")(site), "--prefer", "bwrap")[0]) == "native"
    plan = gaps_of(site, [], "--prefer", "bwrap")
    assert plan["backend"] == "bwrap"
    plan = gaps_of(site, [], "--prefer", "landlock")
    assert plan["backend"] == "native"
    assert "landlock: " in plan["backend_why"]


def test_a_session_goes_on_to_another_backend_as_well(site):
    """Under its name, with which the refused start had been recorded as well."""
    forget(site)
    for _ in range(3):  # found out, then kept
        made = immure(site, without(OLD[0])(site), "create", "--name", "second", "--json",
                      *flags_of(site))
        try:
            assert made.code == 0, made
            inspected = immure(site, [], "inspect", "--json", argv=["second"])
            assert json.loads(inspected.out)["backend"] == "bwrap", inspected
            assert immure(site, [], "exec", "second", argv=["/bin/echo", "in"]).out == b"in\n"
        finally:
            immure(site, [], "stop", "--force", "--rm", "second")
    forget(site)
    named = immure(site, without(OLD[0])(site), "create", "--backend", "native", *flags_of(site))
    assert named.code == 125 and not named.out, named
    assert b"second" not in immure(site, [], "ps", "--all").out


def test_a_session_without_namespaces(site):
    made = immure(site, [], "create", "--name", "bare", *flags_of(site), *harness.BARE)
    assert made.code == 0, made
    try:
        assert immure(site, [], "exec", "bare", argv=["/bin/echo", "in"]).out == b"in\n"
    finally:
        immure(site, [], "stop", "--force", "--rm", "bare")
