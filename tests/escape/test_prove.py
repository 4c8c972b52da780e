# SPDX-License-Identifier: Apache-2.0
"""`immure prove`: everything holds where it must, each point can fall short, and
nothing runs when one does."""

import json
import os
import shutil
import subprocess

import pytest

import harness

PROFILES = ["dev", "readonly", "strict", "ci"]


def prove(site, *flags, command=(), **kw):
    argv = [site.immure, "prove", "--json", *flags]
    if command:
        argv += ["--", *command]
    return site.call(*argv, **kw)


def shortfalls(proof):
    return [f"{p['id']}: {p['reason']}: {p['observed']}" for p in proof["points"]
            if p["verdict"] == "fell_short"]


def point(proof, name):
    return next(p for p in proof["points"] if p["id"] == name)


@pytest.mark.modes("all")
@pytest.mark.parametrize("profile", PROFILES)
def test_everything_holds(site, profile):
    result = prove(site, "--profile", profile)
    if profile == "ci" and site.mode.without == "cgroup":
        assert result.code == 125 and "limit" in result.errors, result
        return
    if profile in ("strict", "ci") and "memfd_create" in (site.mode.without or ""):
        # The attacker is no part of the view then, and cannot be handed in.
        assert result.code == 125 and "immure-attack" in result.errors, result
        return
    assert result.code == 0, result
    proof = json.loads(result.out)
    assert shortfalls(proof) == []
    assert proof["holds"] is True
    assert proof["held"] >= 100
    points = proof["points"]
    assert len({p["id"] for p in points}) == len(points)
    for one in points:
        assert one["observed"] if one["verdict"] == "held" else one["reason"], one
    counted = [p["verdict"] for p in points]
    assert counted.count("held") == proof["held"]
    assert counted.count("not_applicable") == proof["not_applicable"]


def test_limits_are_tried(site):
    result = prove(site, "--processes", "40", "--open-files", "64", "--file-size", "1M",
                   "--disk", "16M")
    assert result.code == 0, result
    proof = json.loads(result.out)
    for name in ("processes", "open-files", "file-size", "disk", "limits", "raise-limits"):
        assert point(proof, f"resources.{name}")["verdict"] == "held", name


def test_protected_and_masked(site):
    for name in (".git/hooks/pre-commit", ".git/config"):
        site.put(name, "")
    result = prove(site, "--deny", str(site.deny), "--deny", "hidden.txt")
    assert result.code == 0, result
    proof = json.loads(result.out)
    for one in proof["points"]:
        if one["id"].startswith(("file_write.protected", "secret_read.masked")):
            assert one["verdict"] == "held", one
    assert "files.deny" in result.text or "files.sensitive" in result.text


def test_host_network_is_not_called_proven(site):
    result = prove(site, "--net", "host")
    if result.code == 125:  # without Landlock's scopes the host's abstract sockets stay open
        assert b"Landlock here has no scopes" in result.err and not result.out, result
        abi = harness.libc.syscall(444, None, 0, 1)  # landlock_create_ruleset, its version
        assert abi < 6, abi
        return
    proof = json.loads(result.out)
    assert shortfalls(proof) == []
    for name in ("tcp4-host", "udp4-host", "route4", "resolve"):
        assert point(proof, f"network_egress.{name}")["verdict"] == "not_applicable"
    assert point(proof, "network_egress.raw")["verdict"] == "held"


def test_the_tree_is_as_before(site):
    """But for the times of directories: the controls make files and remove them."""
    def content():
        return {name: (os.lstat(site.path / name).st_mode, os.lstat(site.path / name).st_ino,
                       (site.path / name).read_bytes() if (site.path / name).is_file() else b"")
                for name in harness.names(site.path)}

    site.put(".git/config", "[core]\n")
    before = content()
    assert prove(site).code == 0
    assert content() == before


def test_then_the_command_runs(site):
    result = site.run("/bin/sh", "-c", "echo ran; exit 7", flags=["--prove"], record=True)
    assert (result.code, result.out) == (7, b"ran\n"), result
    assert result.record["proof"]["holds"] is True
    assert result.record["outcome"] == "exited"


def test_limits_hit_by_the_attack_are_not_the_commands(site):
    """The attacker runs into the process limit on purpose."""
    result = site.run("/bin/true", flags=["--prove", "--processes", "40"], record=True)
    assert result.code == 0, result
    assert not result.record.get("verdict") or result.record["verdict"] == "none", result.record


# ---- a proof that cannot hold -------------------------------------------------


@pytest.fixture
def with_attacker(site, base):
    """The programs in a directory of their own, with another attacker."""
    where = base / f"bin-{os.urandom(4).hex()}"
    shutil.copytree(site.bin, where)
    site.immure = where / "immure"

    def replace(program):
        (where / "immure-attack").unlink()
        shutil.copy(program, where / "immure-attack")

    yield replace
    harness.remove_tree(where)


@pytest.mark.parametrize("program", ["/bin/true", "/bin/false", "/bin/cat"])
def test_an_attacker_that_lies(site, with_attacker, program):
    """Ends well without a word; ends badly; echoes what it was told."""
    with_attacker(program)
    result = prove(site, command=["/bin/sh", "-c", "echo ran >mark"])
    assert result.code == 1, result
    proof = json.loads(result.out)
    assert proof["holds"] is False
    assert proof["held"] == 0
    assert not (site.ws / "mark").exists()


def test_run_does_not_start_either(site, with_attacker):
    with_attacker("/bin/true")
    result = site.sh("echo ran >mark", flags=["--prove"])
    assert result.code == 125, result
    assert "fell short" in result.errors
    assert not (site.ws / "mark").exists()


def test_no_attacker(site, with_attacker, tmp_path):
    with_attacker("/bin/true")
    (site.immure.parent / "immure-attack").unlink()
    result = site.sh("echo ran >mark", flags=["--prove"])
    assert result.code == 125, result
    assert not (site.ws / "mark").exists()


@pytest.mark.parametrize("flags", [(), ("--processes", "40", "--memory", "200M")])
def test_a_session_is_proven_before_it_is_handed_out(site, flags):
    made = site.call(site.immure, "create", "--prove", "--json", *flags)
    assert made.code == 0, made
    made = json.loads(made.out)
    assert made["proof"]["holds"] and made["proof"]["fell_short"] == 0
    try:
        def ask(command):
            return json.loads(site.call(site.immure, command, "--json", made["session"]).out)

        assert ask("inspect")["proven"] == made["proof"]["held"]
        assert made["proof"]["policy_version"] == ask("inspect")["policy_version"]
        # Of the attack nothing is left, and what it ran into is not the session's.
        stats = ask("stats")
        assert (stats["processes"], stats["oom_kills"], stats["forks_denied"]) == (0, 0, 0)
        left = site.call(site.immure, "exec", made["session"], "--", "ls", "-A", "/tmp")
        assert (left.code, left.out) == (0, b"")
    finally:
        assert site.call(site.immure, "stop", "--rm", made["session"]).code == 0


@pytest.mark.parametrize("program", ["/bin/true", "/bin/cat", None])
def test_no_session_without_a_proof(site, with_attacker, program):
    with_attacker(program or "/bin/true")
    if not program:
        (site.immure.parent / "immure-attack").unlink()
    made = site.call(site.immure, "create", "--prove", "--name", "unproven")
    assert made.code == 125 and made.out == b"", made
    assert made.errors.count("\n") == 1
    if program:
        assert "fell short" in made.errors or "no point held" in made.errors
    assert harness.until(lambda: site.call(site.immure, "inspect", "unproven").code == 125, 5)
    assert "unproven" not in site.call(site.immure, "ps", "--json").text


# ---- each point can fall short --------------------------------------------------

# Points that no throw-away place can show unprotected, and why.
NOT_SHOWN = {
    "file_write.own-image": "a running program's file is busy, protected or not",
    "file_write.climb": "needs a root that is not the top of its mount",
    "file_read.by-handle": "asks for a right over the host itself",
    "network_ingress.interfaces": "needs a second interface",
    "process_visibility.listing": "needs a process that was put in from outside",
    "process_visibility.parent": "needs the host's pid namespace",
    "signals.init": "pid 1 of any namespace",
    "signals.everyone": "the same anywhere but on the host",
    "syscalls.bpf": "asks for a right over the host itself",
    "syscalls.clocks": "asks for a right over the host itself",
    "syscalls.modules": "asks for a right over the host itself",
    "syscalls.swap": "asks for a right over the host itself",
    "syscalls.kernel-log": "depends on a setting of the host",
    "syscalls.io-ports": "asks for a right over the host itself",
    "syscalls.x32": "depends on how the kernel was built",
    "privileges.raise-ids": "one id is mapped, there is no other to take",
    "privileges.groups": "refused wherever an ordinary user made the map",
    "privileges.give-away": "one id is mapped, there is no other to give to",
    "devices.mknod": "asks for a right over the host itself",
    "resources.scheduling": "asks for a right over the host itself",
    "kernel_surface.sysrq": "may be compiled out; the host's is root's",
    "kernel_surface.id-maps": "a map can be written once",
    "kernel_surface.crypto-sockets": "depends on how the kernel was built",
}
# Where it is not refused for lack of a right the act fails in its own way.
OTHERWISE = {
    "secret_read.masked-exists": {2},     # ENOENT: looks absent
    "syscalls.unmount": {11, 16, 22},     # marked; busy; not a mount point
    "syscalls.pivot-root": {16, 22},
    "syscalls.tioclinux": {22, 25},       # this terminal is no console
    "syscalls.tcp-ulp": {2, 95, 107},
    "syscalls.reboot": {22},              # the magic number is wrong
    "syscalls.accounting": {2, 15, 22, 38},
    "syscalls.perf": {13},                # Debian: kernel.perf_event_paranoid 3
    "syscalls.tiocsti": {5},              # since 6.2: dev.tty.legacy_tiocsti 0
}


def test_the_attacker_refuses_on_the_host(site):
    result = site.call(site.bin / "immure-attack", "1")
    assert result.code == 3, result
    assert result.out == b""


@pytest.mark.modes("root")
def test_each_point_can_fall_short(site):
    """The same attacker where nothing is protected, in namespaces of its own."""
    if os.geteuid() != 0:
        pytest.skip("an unprotected place needs a root file system that its root may write")
    work = site.out / "open"
    work.mkdir()
    site.own(work)
    here = os.path.join(os.path.dirname(__file__), "open_place.py")
    script = site.path / "open_place.py"
    shutil.copy(here, script)
    result = site.call("unshare", "-UrpmfniuC", "--mount-proc", "--propagation", "private",
                       "/usr/bin/python3", script, site.bin / "immure-attack", work)
    assert result.code == 0, result
    lines = result.text.splitlines()
    assert lines[0] == "immure-attack 1" and lines[-1] == f"end {len(lines) - 2}"
    protected = []
    for line in lines[1:-1]:
        name, outcome, _, errnos, _ = (line + " ").split(" ", 4)
        seen = set() if errnos == "-" else {int(e) for e in errnos.split(",")}
        if name.startswith("control."):
            assert outcome == "done", line
        elif outcome == "hung" and harness.SLOWER > 1:
            continue  # the attacker's own deadline, in a machine that is emulated
        elif outcome != "done" and not seen & OTHERWISE.get(name, set()):
            protected.append(line)
    unexpected = [line for line in protected if line.split()[0] not in NOT_SHOWN]
    assert unexpected == []
    known = subprocess.run([site.bin / "immure-attack", "--list"], capture_output=True, text=True,
                           check=True).stdout.split()
    assert set(NOT_SHOWN) | set(OTHERWISE) <= set(known)
