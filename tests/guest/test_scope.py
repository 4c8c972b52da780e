# SPDX-License-Identifier: Apache-2.0
"""systemd's own user manager: from a cgroup that is root's, as a login has it, a run gets
a scope in which its limits are the kernel's, and nothing of it stays."""
import json
import os
import pathlib
import signal
import subprocess
import time

import pytest

import harness

LIMITED = ["--memory", "64M", "--processes", "20", "--cpus", "0.5"]

pytestmark = pytest.mark.modes("user")

if pathlib.Path("/proc/1/comm").read_text() != "systemd\n":
    pytest.exit("these tests start services: they are for a guest with systemd", 4)


@pytest.fixture(scope="module")
def managers():
    """{uid: cgroup} of those that were started; they are slow to come."""
    started = {}
    yield started
    for uid in started:
        subprocess.run(["systemctl", "stop", f"user@{uid}.service"], check=True)


@pytest.fixture
def login(site, managers):
    """The user's manager, as a login starts it, and a caller outside of what is delegated
    to it; yields that."""
    if site.uid not in managers:
        managers[site.uid] = pathlib.Path(f"/sys/fs/cgroup/user.slice/user-{site.uid}.slice/user@{site.uid}.service")
        subprocess.run(["systemctl", "start", f"user@{site.uid}.service"], check=True)
    plain = site.environment
    site.environment = lambda **extra: plain(**{"XDG_RUNTIME_DIR": f"/run/user/{site.uid}", **extra})
    return managers[site.uid]


def scopes(place):
    """They may go away while one looks."""
    return [pathlib.Path(path) for path, _, _ in os.walk(place) if path.endswith(".scope") and "/immure-" in path]


def test_a_run(site, login):
    """Its limits are there in the kernel; and when it is over the scope goes away."""
    process = site.spawn(site.immure, "run", *LIMITED, "--", "/bin/sleep", "60")
    try:
        leaf = lambda: [p.parent for s in scopes(login) for p in s.glob("*/cgroup.procs")
                        if p.parent.name != "supervisor" and p.read_text()]
        assert harness.until(lambda: leaf() or process.poll() is not None, 10) and process.poll() is None, process.stderr.read()
        where, = leaf()
        assert (where / "memory.max").read_text() == f"{64 << 20}\n" and (where / "pids.max").read_text() == "21\n"  # and init
        assert (where / "cpu.max").read_text().split()[0] == "50000"
    finally:
        process.kill()
        process.communicate()
    assert harness.until(lambda: not scopes(login), 5)


def test_verdicts(site, login):
    result = site.python("x = bytearray(200 << 20)", flags=LIMITED, record=True)
    assert result.record["verdict"] == "oom", result
    assert harness.until(lambda: not scopes(login), 5)


def test_plan_and_doctor(site, login):
    plan = json.loads(site.call(site.immure, "plan", "--json", *LIMITED, "--", "/bin/true").out)
    assert any(op["op"].startswith("cgroup") for op in plan["operations"]), plan["operations"]
    report = json.loads(site.call(site.immure, "doctor", "--json").out)
    assert [f["ok"] for f in report["facts"] if f["name"].startswith("cgroup_")] == ["yes"] * 3


def test_a_session(site, login):
    """Its supervisor is in the scope for as long as it lives."""
    made = site.call(site.immure, "create", "--name", "kept", *LIMITED)
    assert made.code == 0, made
    try:
        assert site.call(site.immure, "exec", "kept", "--", "/bin/true").code == 0
        assert len(scopes(login)) == 1
    finally:
        assert site.call(site.immure, "rm", "--force", "kept").code == 0
    assert harness.until(lambda: not scopes(login), 5)


def test_from_a_terminal_of_a_desktop(site, login):
    """In a unit of the manager's already: its slice may be written to, and is not ours."""
    script = f"cat /proc/self/cgroup; {site.immure} run {' '.join(LIMITED)} -- /bin/sleep 60"
    process = site.spawn("/usr/bin/systemd-run", "--user", "--scope", "--quiet", "--unit=terminal", "/bin/sh", "-c", script)
    try:
        assert process.stdout.readline().endswith(b"/app.slice/terminal.scope\n")
        assert harness.until(lambda: scopes(login) or process.poll() is not None, 10)
        place, = scopes(login)
        assert harness.until(lambda: list(place.glob("immure-*/cgroup.procs")), 10)
        assert [p.name for p in (login / "app.slice").glob("immure-*")] == [place.name]
    finally:
        for one in (login / "app.slice/terminal.scope/cgroup.procs", *login.rglob("supervisor/cgroup.procs")):
            for pid in one.read_text().split():
                os.kill(int(pid), signal.SIGKILL)
        process.communicate()
    assert harness.until(lambda: not scopes(login), 5)


def test_what_it_takes(site, login, record_property):
    """Printed, not judged."""
    took = []
    for flags in (LIMITED, []) * 5:
        before = time.monotonic()
        assert site.run("/bin/true", flags=flags).code == 0
        took.append(time.monotonic() - before)
    record_property("with, without", (sorted(took[::2])[2], sorted(took[1::2])[2]))
