# SPDX-License-Identifier: Apache-2.0
"""The journal of a run of one command: what cannot be written down does not happen."""

import json
import os

import pytest


@pytest.fixture
def log(site):
    path = site.path / "log"
    path.mkdir(mode=0o700)
    os.chown(path, site.uid, site.gid)
    return path


def records(site, directory):
    done = site.call(site.immure, "journal", "--json", str(directory))
    told = json.loads(done.out)
    assert (done.code == 0) == told["intact"], done
    return told


def one(log):
    found, = log.iterdir()
    return found


def test_a_run_is_on_record(site, log):
    assert site.run("/bin/sh", "-c", "exit 3", flags=["--journal", log]).code == 3
    told = records(site, one(log))
    execs = [(r["phase"], r.get("subject"), r.get("detail")) for r in told["records"] if r["kind"] == "exec"]
    assert [e[0] for e in execs] == ["intent", "done", "gone"], execs
    assert execs[0][1] == "/bin/sh" and execs[2][2] == "status=3", execs
    assert told["intact"] and not told.get("standing") and told["records"][0]["kind"] == "session", told


def test_each_run_has_its_own(site, log):
    for _ in range(3):
        assert site.run("/bin/true", flags=["--journal", log]).code == 0
    assert len(list(log.iterdir())) == 3


def test_a_change_shows(site, log):
    assert site.run("/bin/true", flags=["--journal", log]).code == 0
    path = one(log) / "journal"
    path.write_bytes(path.read_bytes().replace(b"/bin/true", b"/bin/fals"))
    assert not records(site, one(log))["intact"]


def test_the_mediators_denial_is_on_record(site, log):
    ask = site.path / "ask"
    ask.write_text("#!/bin/sh\necho '{\"decision\":\"deny\",\"reason\":\"not today\"}'\n")
    os.chown(ask, site.uid, site.gid)
    os.chmod(ask, 0o755)
    done = site.run("/bin/true", flags=["--journal", log, "--mediator", f"program:{ask}",
                                        "--mediator-answer-time", "10s"])
    assert done.code == 125, done
    told = records(site, one(log))
    note, = [r for r in told["records"] if r["kind"] == "denial"]
    assert "not today" in note["detail"] and not [r for r in told["records"] if r["kind"] == "exec"]


@pytest.mark.parametrize("what", ["missing", "file", "workspace", "others"])
def test_no_place_no_run(site, log, what):
    where = log
    if what == "missing":
        where = log / "none"
    elif what == "file":
        where = site.path / "file"
        where.write_text("")
    elif what == "workspace":
        where = site.ws / "log"
        where.mkdir()
        site.own(site.ws)
    else:
        os.chmod(log, 0o777)
    done = site.run("/bin/touch", "ran", flags=["--journal", where])
    assert done.code == 125 and "journal" in done.errors, done
    assert not (site.ws / "ran").exists()


def test_audit_can_be_required(site, log):
    need = ["--require", "audit_log,auditability=required"]
    assert site.run("/bin/true", flags=need).code == 125
    assert site.run("/bin/true", flags=[*need, "--journal", log]).code == 0


def test_a_session_writes_each_command(site, log):
    from sessions import Session
    with Session(site, "--journal", log) as session, session.connect() as client:
        assert session.exec("/bin/true").code == 0
        assert session.exec("/nonexistent").code == 127
        answer = client.ask("lane")
        assert answer["error"]["subject"] == "journal", answer
        told = json.loads(session.cli("journal", "--json").out)
        phases = [(r["phase"], r.get("subject")) for r in told["records"] if r["kind"] == "exec"]
        assert [p[0] for p in phases] == ["intent", "done", "gone", "intent", "failed"], phases
        assert phases[0][1] == "/bin/true" and phases[3][1] == "/nonexistent"
    with Session(site) as session:
        assert session.exec("/bin/true").code == 0
        assert "exec" not in [r["kind"] for r in json.loads(session.cli("journal", "--json").out)["records"]]
