# SPDX-License-Identifier: Apache-2.0
"""The programs of examples/ run and print what they are there to show."""
import json
import os
import subprocess
import sys

import pytest

from test_python import sanitized

PYTHON = ["run", "session", "stream", "pool", "reclaim"]


@pytest.fixture
def example(root, build, run, tmp_path):
    os.chmod(tmp_path, 0o755)
    env = {k: v for k, v in os.environ.items() if not k.startswith("IMMURE_")}
    env.update(IMMURE_PROGRAM=str(build / "immure"), PYTHONPATH=str(root / "bindings/python"),
               IMMURE_LIBRARY=str(build / "src/lib/libimmure.so"), PYTHONDONTWRITEBYTECODE="1")

    def start(name, *args):
        if not name.endswith(".py"):
            return run(build / "examples" / ("example-" + name), *args, cwd=tmp_path, env=env)
        if sanitized(build):
            pytest.skip("the same as in the plain build")
        return run(sys.executable, root / "examples/python" / name, *args, cwd=tmp_path, env=env)
    return start


def test_all_are_tested(root):
    programs = {p.stem for p in (root / "examples").glob("*.c")} - {"primes"}
    assert programs == {n[5:] for n in globals() if n.startswith("test_") and n[5:] in programs}
    assert {p.stem for p in (root / "examples/python").glob("*.py")} == set(PYTHON)


@pytest.mark.parametrize("name", ["run", "run.py"])
def test_run(example, name):
    r = example(name, "/bin/sh", "-c", "echo out; echo err >&2; exit 4")
    assert (r.status, r.out, r.err) == (4, "out\n", "err\n")
    r = example(name, "no-such-command")
    assert r.status in (125, 127) and "no-such-command" in r.err and r.out == ""


def test_session(example):
    r = example("session")
    assert r.status == 0, r
    assert r.out.splitlines() == ["status 0", "written by one command", "status 3", "status 143",
                                  "status 124", "status 127"]


def test_session_py(example):
    r = example("session.py")
    assert (r.status, r.err) == (0, "")
    assert r.out.splitlines() == ["written by one command", "status 124",
                                  "no-such-command: No such file or directory",
                                  "statuses [0, 1, 2, 3, 4, 5, 6, 7]"]


def test_stream(example):
    r = example("stream")
    assert (r.status, r.err) == (0, "")
    assert sorted(r.out.splitlines()) == [
        "reader ended with 0", "reader stdout 0: got a line", "talker ended with 5",
        "talker stderr 0: two", "talker stdout 0: one"]


def test_stream_py(example):
    r = example("stream.py")
    assert (r.status, r.err) == (0, "")
    assert sorted(r.out.splitlines()) == [
        "first ended with 5", "first stderr 0 b'two\\n'", "first stdout 0 b'one\\n'",
        "second ended with 0", "second stdout 0 b'three\\n'"]


def projects(tmp_path):
    made = []
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"of-{name}").touch()
        made.append(os.path.realpath(tmp_path / name))
    return made


def test_pool(example, tmp_path):
    made = projects(tmp_path)
    r = example("pool", *made)
    assert r.status == 0, r
    assert r.out.splitlines() == [line for d in made for line in (f"{d}: of-{os.path.basename(d)}", "status 0")]
    stats = json.loads(r.err)
    assert stats["hits"] + stats["misses"] == 3 and stats["failed"] == 0 and stats["open"]
    assert all(open(d + "/made").read() == "kept\n" for d in made)


def test_pool_py(example, tmp_path):
    made = projects(tmp_path)
    r = example("pool.py", *made)
    assert (r.status, r.err) == (0, "taken 3\n"), r
    assert r.out.splitlines() == [f"{d}: of-{os.path.basename(d)}" for d in made]


def test_reclaim(example):
    r = example("reclaim")
    assert (r.status, r.err) == (0, "")
    assert r.out.splitlines() == ["handed over", "removed: yes, left: 0",
                                  "a second time: no such ticket"]


def test_reclaim_py(example):
    r = example("reclaim.py")
    assert (r.status, r.err) == (0, "")
    assert r.out.splitlines()[:2] == ["handed over", "removed: yes left: 0"]
    assert "ticket is not valid" in r.out.splitlines()[2]


@pytest.mark.parametrize("script", ["job.sh"])
def test_scripts_are_right(root, script):
    assert subprocess.run(["bash", "-n", str(root / "examples" / script)]).returncode == 0
