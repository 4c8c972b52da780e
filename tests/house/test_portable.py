# SPDX-License-Identifier: Apache-2.0
"""What needs no Linux: the program that a Mac gets, run here, and built for both kinds of
Mac where a compiler for them is found. It was never run on one."""
import json
import os
import re
import shutil
import struct

import pytest

BACKENDS = ["seatbelt", "vz", "wsl2", "remote"]


@pytest.fixture(scope="session")
def portable(build):
    return build / "tests/house/immure-portable"


@pytest.fixture
def place(tmp_path):
    """A workspace and a home that the policy has something to say about."""
    for name in ("ws/.git/hooks", "home/.ssh", "ws/private"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "ws/.git/config").write_text("[core]\n")
    (tmp_path / "ws/link").symlink_to("private")
    (tmp_path / "ws/policy.json").write_text(
        '{ // of a Mac\n"extends": "dev", "files": {"deny": ["private"], "write": ["link"]},'
        ' "network": {"mode": "limited", "allow": ["example.org"]}}')
    return {"cwd": tmp_path / "ws", "env": {"HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin", "USER": "u"}}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("flags", [["--profile", "strict"], ["--profile", "dev"], ["--policy", "policy.json"]],
                         ids=["strict", "dev", "file"])
def test_plans_as_the_whole_program_does(run, portable, full, place, backend, flags):
    """But for what is Linux's: sockets to hide, mounts, and the hash of it all."""
    def plan(program, *more):
        r = run(program, "plan", *more, "--backend", backend, *flags, "--", "/bin/ls", "-l", **place)
        assert r.status in (0, 1) and r.out and not r.err, r
        return re.sub(r"\b[0-9a-f]{64}\b", "HASH", r.out)

    ours, whole = json.loads(plan(portable, "--json")), json.loads(plan(full, "--json"))
    assert ours["gaps"] == whole["gaps"] and ours["backend"] == backend
    assert {op["op"] for op in ours["operations"]} == {op["op"] for op in whole["operations"]}
    rendered = plan(portable, "--render")
    assert len(rendered) > 200
    of_sockets = re.compile(r"/run/|\.sock|/tmp/")
    lines = [[line for line in text.splitlines() if not of_sockets.search(line)]
             for text in (rendered, plan(full, "--render"))]
    assert lines[0] == lines[1]


def test_a_policy_is_checked(run, portable, place):
    assert run(portable, "policy", "check", "policy.json", **place).status == 0
    (place["cwd"] / "bad.json").write_text('{"files": {"deny": "x"}}')
    r = run(portable, "policy", "check", "bad.json", **place)
    assert r.status == 1 and "bad.json:1" in r.err, r


@pytest.mark.parametrize("command", [["run", "--", "/bin/true"], ["prove"], ["create"], ["gc"]], ids=lambda c: c[0])
def test_nothing_is_run(run, portable, place, command):
    r = run(portable, *command, **place)
    assert (r.status, r.out) == (125, "") and "needs Linux" in r.err, r


def test_no_backend_of_linux_is_planned_for(run, portable, place):
    r = run(portable, "plan", "--json", "--", "/bin/ls", **place)
    assert r.status == 1 and json.loads(r.out)["startable"] is False, r


# ---- for a Mac ---------------------------------------------------------------

CPUS = {"x86_64": 0x01000007, "aarch64": 0x0100000C}


@pytest.fixture(scope="session")
def zig():
    found = os.environ.get("IMMURE_ZIG") or shutil.which("zig")
    if not found:
        pytest.skip("zig is not installed: it brings headers and libraries of macOS")
    return found


@pytest.mark.parametrize("cpu", CPUS)
def test_built_for_a_mac(run, root, zig, tmp_path, cpu):
    r = run(root / "tools/portable.sh", tmp_path, f"{zig} cc -target {cpu}-macos", timeout=600)
    assert r.status == 0, r
    assert "warning:" not in r.out + r.err, r
    magic, machine, _, kind = struct.unpack("<IIII", (tmp_path / "src/cli/immure").read_bytes()[:16])
    assert (magic, machine, kind) == (0xFEEDFACF, CPUS[cpu], 2)  # Mach-O of 64 bits, a program
