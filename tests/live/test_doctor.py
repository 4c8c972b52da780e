# SPDX-License-Identifier: Apache-2.0
"""doctor says what is true: about whoever asks, and on a host made poorer."""
import json
import os
import pathlib
import pty
import subprocess

import pytest

import harness


# What the backend without namespaces lacks, approved.
BARE = ("--downgrade", harness.BARE_GAPS)


def ask(site, **kw):
    result = site.call(site.immure, "doctor", "--json", **kw)
    assert result.errors == "", result
    return result.code, json.loads(result.text)


def fact(report, name):
    found = [f for f in report["facts"] if f["name"] == name]
    assert len(found) == 1, name
    return found[0]


def backend(report, name):
    return next(b for b in report["backends"] if b["backend"] == name)


def verdict(report):
    """The exit status: whether any backend can be used."""
    return 0 if any(b["available"] == "yes" for b in report["backends"]) else 1


def levels(report):
    return {d["level"] for d in backend(report, "native")["dimensions"].values()}


@pytest.mark.modes("root", "user")
def test_who_and_where(site):
    code, report = ask(site)
    host = report["host"]
    assert (host["uid"], host["gid"], host["user"]) == (site.uid, site.gid, site.mode.user)
    assert (host["home"], host["cwd"]) == (str(site.home), str(site.ws))
    assert host["kernel"] == os.uname().release
    assert report["full"] is True
    assert code == verdict(report)


@pytest.mark.modes("root", "user")
def test_agrees_with_other_programs(site):
    """unshare(1) is the oracle: it is somebody else's code."""
    _, report = ask(site)
    for name, argv in {
        "userns": ["unshare", "--user", "--map-root-user", "true"],
        "userns_mount": ["unshare", "--user", "--map-root-user", "--mount",
                         "mount", "-t", "tmpfs", "none", "/"],
        "userns_proc": ["unshare", "--user", "--map-root-user", "--pid", "--fork",
                        "--mount-proc", "true"],
    }.items():
        oracle = site.call(*argv)
        assert (fact(report, name)["ok"] == "yes") == (oracle.code == 0), (name, oracle)


@pytest.mark.modes("root", "user")
def test_every_no_has_a_reason_and_no_yes_a_remedy(site):
    _, report = ask(site, without="userns")
    for f in report["facts"]:
        assert f["ok"] in ("yes", "no") and f["detail"], f
        assert f["ok"] == "no" or f["remedy"] == "", f
    assert fact(report, "userns")["remedy"] != ""


@pytest.mark.modes("root", "user")
@pytest.mark.parametrize("without, missing", [
    ("userns", "userns"), ("fsopen", "userns_mount"), ("open_tree", "mount_api"),
    ("mount_setattr", "mount_api"), ("seccomp", "seccomp"),
])
def test_without_what_native_needs(site, without, missing):
    code, report = ask(site, without=without)
    native = backend(report, "native")
    assert code == verdict(report)
    assert fact(report, missing)["ok"] == "no"
    # The one that needs no namespaces stays, unless what it needs is gone too.
    assert backend(report, "landlock")["available"] == ("no" if without == "seccomp" else "yes")
    assert native["available"] == "no"
    assert native["why"].startswith(missing) and native["remedy"]
    assert levels(report) == {"none"} and native["capabilities"] == []
    assert "sysctl" not in native["remedy"].split(",")[0]


@pytest.mark.modes("root", "user")
def test_without_landlock(site):
    code, report = ask(site, without="landlock_create_ruleset")
    assert code == 0
    assert fact(report, "landlock")["ok"] == "no"
    assert backend(report, "landlock")["available"] == "no"
    assert report["host"]["landlock_abi"] == 0
    assert "Landlock" not in backend(report, "native")["dimensions"]["file_write"]["mechanism"]


@pytest.mark.modes("root", "user")
@pytest.mark.parametrize("call, name", [
    ("openat2", "openat2"), ("close_range", "close_range"), ("clone3", "clone3"),
    ("pidfd_open", "pidfd"), ("pidfd_send_signal", "pidfd"), ("fsconfig", "userns_mount"),
])
def test_older_kernels(site, call, name):
    _, report = ask(site, without=call)
    assert fact(report, name)["ok"] == "no"
    assert fact(report, name)["errno"] == 38  # ENOSYS


@pytest.mark.modes("root", "user")
@pytest.mark.parametrize("poorer", [
    None, "userns", "seccomp", "openat2", "clone3", "close_range", "fsopen", "fsconfig", "fsmount",
    "open_tree", "move_mount", "mount_setattr", "pidfd_open", "pidfd_send_signal", "memfd_create",
    "faccessat2", "statx",
])
def test_says_yes_exactly_when_a_run_starts(site, poorer):
    _, report = ask(site, without=poorer)
    for name, flags in (("native", ()), ("landlock", BARE)):
        ran = site.run("/bin/true", flags=["--backend", name, *flags], without=poorer)
        assert (backend(report, name)["available"] == "yes") == (ran.code == 0), ran


@pytest.mark.modes("nocgroup")
def test_limits_without_a_cgroup_are_advisory(site):
    _, report = ask(site)
    assert report["host"]["cgroup"]["kind"] == "none"
    assert fact(report, "cgroup_memory")["ok"] == "no"
    assert backend(report, "native")["dimensions"]["resources"]["level"] == "advisory"


@pytest.mark.modes("root", "user")
def test_cgroup_facts_are_what_the_file_system_says(site):
    _, report = ask(site)
    for name in ("memory", "pids", "cpu"):
        parent = report["host"]["cgroup"]["v2"] or report["host"]["cgroup"]["v1_" + name]
        assert (fact(report, "cgroup_" + name)["ok"] == "yes") == \
            report["host"]["cgroup"][name]
        if parent and report["host"]["cgroup"][name]:
            assert site.call("test", "-w", parent).code == 0
            assert [p for p in os.listdir(parent) if p.startswith("immure-probe")] == []


@pytest.mark.modes("root", "user")
def test_inside_itself(site):
    """What the sandbox forbids, doctor inside of it must report as missing."""
    result = site.run(site.immure, "doctor", "--json")
    report = json.loads(result.text)
    assert result.code == verdict(report), result
    assert fact(report, "userns")["ok"] == "no"
    assert backend(report, "native")["available"] == "no"
    assert levels(report) == {"none"}
    assert "seccomp filter" in fact(report, "surroundings")["detail"]


@pytest.mark.modes("root", "user")
def test_same_answer_twice(site):
    one, two = ask(site), ask(site)
    for a, b in zip(one[1]["programs"], two[1]["programs"]):
        if None in (a["version"], b["version"]):  # did not answer in time, which is said
            a["version"] = b["version"] = None
    assert one == two


@pytest.mark.modes("root", "user")
def test_programs_are_not_taken_from_path(site):
    trap = site.put("bin/bwrap", f"#!/bin/sh\ntouch {site.ws}/ran\necho bubblewrap 9\n", 0o755)
    _, report = ask(site, env={"PATH": f"{trap.parent}:/usr/bin:/bin"})
    found = {p["name"]: p for p in report["programs"]}
    assert not (site.ws / "ran").exists()
    assert found["bwrap"]["path"] in (None, "/usr/bin/bwrap", "/usr/local/bin/bwrap")
    if harness.SLOWER == 1:  # a program that does not answer in time has no version
        assert found["git"]["version"].startswith("git version")


@pytest.mark.modes("root")
def test_nothing_of_a_probe_stays(site):
    """A bubblewrap that is killed leaves the child that waited for it."""
    fake = site.path / "bwrap"
    fake.write_text("#!/usr/bin/python3\nimport os, signal\nif os.fork() == 0:\n"
                    "    os.closerange(0, 4096)\n    signal.pause()\nos.kill(os.getpid(), 9)\n")
    fake.chmod(0o755)
    result = site.call("unshare", "--mount", "--propagation", "private", "/bin/sh", "-c",
                       'mount --bind "$0" /usr/bin/bwrap && exec "$@"', fake, site.immure, "doctor", "--json")
    found = {f["name"]: f for f in json.loads(result.out)["facts"]}
    assert found["bwrap"]["ok"] == "no", found["bwrap"]
    assert not harness.descendants(), [harness.describe(pid) for pid in harness.descendants()]


@pytest.mark.modes("root")
def test_text(site):
    result = site.call(site.immure, "doctor")
    assert result.code == 0
    for heading in ("Facts", "Programs", "Backends"):
        assert f"\n{heading}\n" in result.text
    assert "\x1b" not in result.text
    assert site.call(site.immure, "doctor", "everything").code == 125


@pytest.mark.modes("root")
@pytest.mark.parametrize("env, colour", [({}, True), ({"NO_COLOR": "1"}, False),
                                         ({"TERM": "dumb"}, False)])
def test_colours_on_a_terminal_only(site, env, colour):
    outside, inside = pty.openpty()
    process = site.spawn(site.immure, "doctor", stdout=inside, stderr=subprocess.DEVNULL,
                         env={"TERM": "xterm", **env})
    os.close(inside)
    text = b""
    while True:
        try:
            chunk = os.read(outside, 65536)
        except OSError:  # the other end is closed
            break
        if not chunk:
            break
        text += chunk
    os.close(outside)
    assert process.wait() == 0
    assert (b"\x1b[32m" in text) == colour
    assert b"\nBackends" in text.replace(b"\x1b[1m", b"")


@pytest.mark.modes("root")
def test_nobody_home(site):
    code, report = ask(site, env={"HOME": None, "USER": None, "XDG_STATE_HOME": None})
    assert code == 0
    assert report["host"]["home"] == "/root"
    gone = site.ws / "gone"
    gone.mkdir()
    process = site.spawn("/bin/sh", "-c", 'rmdir "$PWD" && exec "$0" doctor --json', site.immure,
                         cwd=gone)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and err == b""
    assert json.loads(out)["host"]["cwd"] is None
    assert not pathlib.Path("/gone").exists()
