# SPDX-License-Identifier: Apache-2.0
"""Suites in sittings: each test once, what failed again, what hung last; a whole is not
green before everything has an answer."""
import json
import os
import pathlib
import subprocess
import sys

import pytest

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "kernels")]
import guests  # noqa: E402
import ledger  # noqa: E402
import vm  # noqa: E402

CASES = """
import os, pytest
@pytest.mark.parametrize("mode", ["x", "y"])
@pytest.mark.parametrize("n", range(4))
def test_many(mode, n):
    pass
def test_sometimes():
    assert not os.path.exists("bad"), "it is bad"
def test_skipped():
    pytest.skip("for a reason")
def test_dies():
    if os.path.exists("die"):
        os._exit(7)
"""


@pytest.fixture
def suite(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one/test_cases.py").write_text(CASES)

    def sit(*extra):
        env = dict(os.environ, IMMURE_TEST_LEDGER=str(tmp_path / "ledger"), PYTHONPATH=str(TESTS),
                   PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", PYTHONDONTWRITEBYTECODE="1")
        before = len((tmp_path / "ledger").read_text().splitlines()) if (tmp_path / "ledger").exists() else 0
        subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "ledger", "-p", "no:cacheprovider", "--rootdir",
                        tmp_path, "-c", os.devnull, *extra, "one"], cwd=tmp_path, env=env, stdout=subprocess.DEVNULL,
                       check=False)
        lines = (tmp_path / "ledger").read_text().splitlines()[before:]
        entries = [json.loads(line) for line in lines]
        return [e["test"].split("::")[1] for e in entries if e.get("came") == ledger.BEGUN]

    sit.place, sit.ledger = tmp_path, tmp_path / "ledger"
    return sit


def came(path):
    return {name.split("::")[1]: entry["came"] for name, entry in ledger.read(path)[0].items()}


def test_each_once_and_what_failed_again(suite):
    (suite.place / "bad").touch()
    first = suite()
    assert len(first) == len(set(first)) == 11
    assert {n.split("[")[0] for n in first[:4]} == {"test_many", "test_sometimes", "test_skipped", "test_dies"}, first
    assert first[4].startswith("test_many[") and first[4][-2] != first[0][-2], first
    assert came(suite.ledger)["test_sometimes"] == "failed" and came(suite.ledger)["test_skipped"] == "skipped"
    assert suite() == ["test_sometimes"]
    (suite.place / "bad").unlink()
    assert suite() == ["test_sometimes"] and suite() == []
    assert set(came(suite.ledger).values()) == {"passed", "skipped"}


def test_what_ended_a_sitting_comes_last(suite):
    (suite.place / "die").touch()
    first = suite()
    assert first[-1] == "test_dies" and len(first) < 11
    with open(suite.ledger, "a", encoding="ascii") as file:
        file.write('{"test": "cut o')  # as a guest that is killed leaves it
    (suite.place / "die").unlink()
    second = suite()
    assert second[-1] == "test_dies" and not set(second[:-1]) & set(first), second
    assert sorted(first[:-1] + second) == sorted(came(suite.ledger))


def test_the_whole_is_not_green_before_its_end(suite, monkeypatch, tmp_path):
    monkeypatch.setattr(vm, "STORE", tmp_path)
    monkeypatch.setenv("IMMURE_GUEST_TESTS", "one two")
    place = tmp_path / "whole/6.12"
    place.mkdir(parents=True)

    def run(broken=None, status=0):
        def fake(*_, **__):
            if broken:
                raise vm.Broken(broken)
            return status
        monkeypatch.setattr(vm, "run", fake)
        return guests.run_one("6.12", tmp_path / "build", None)

    nothing = run("ended")
    assert nothing["passed"] == 0 and "nor has any of one, nor has any of two" in nothing["failures"][-1]
    suite()
    suite.ledger.rename(place / f"ledger.{guests.programs(tmp_path / 'build')}")
    half = run()
    assert half["passed"] == 10 and half["skips"] == [("one/test_cases::test_skipped", "for a reason")]
    assert len(half["failures"]) == 1 and "nor has any of two" in half["failures"][0]
    monkeypatch.setenv("IMMURE_GUEST_TESTS", "one")
    assert run()["failures"] == []
    assert "run it again" in run("its time was over")["failures"][0]
    # other programs: nothing is known of them
    (tmp_path / "build").mkdir()
    (tmp_path / "build/immure").write_bytes(b"x")
    assert run()["passed"] == 0 and run()["failures"]


def test_what_runs_the_suites_needs_no_pytest():
    """It is started by whatever python3 comes first; the suites by the one that has it."""
    done = subprocess.run([sys.executable, "-S", "-c", "import guests"], env=dict(os.environ, PYTHONPATH=str(TESTS / "kernels")),
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
