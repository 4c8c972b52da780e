# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the parts of a session, in every combination, and `immure gc` after it:
no process, cgroup, mount, namespace or file is left."""

import contextlib
import json
import os
import signal
import sys
import time

import pytest

import harness
from test_gc import gc
from test_kills import descendants_of, network_namespaces

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "live"))
from sessions import Session, runtime  # noqa: E402

STRAYS = "setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 1; done' >&- 2>&- <&- & sleep 93 >&- 2>&- &"


def limits(site):
    return ["--memory", "256M"] if site.mode.name == "root" else []


def parts(session):
    pids = session.json("inspect")
    return {"supervisor": pids["supervisor_pid"], "init": pids["init_pid"]}


def all_of(pids):
    found = set(pids.values())
    for pid in pids.values():
        found |= {p for p, _ in descendants_of(pid)}
    return found


def running(pid):
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rpartition(")")[2].split()[0] not in "ZX"
    return False


def reap():
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def nothing_left(site, session, everybody, space):
    reap()
    assert harness.until(lambda: (reap(), not [p for p in everybody if running(p)])[1], 2), \
        [harness.describe(p) for p in everybody if running(p)]
    assert not session.directory.exists()
    assert not harness.cgroups_of_ours()
    assert harness.until(lambda: space not in network_namespaces(), 2)
    rows = json.loads(site.call(site.immure, "ps", "--json", "--all").out or "[]")
    assert session.id not in [r["session"] for r in rows]


@pytest.mark.modes("root", "user")
@pytest.mark.parametrize("whom", ["supervisor", "init", "supervisor+init", "everybody", "frozen"])
def test_killed(site, whom):
    session = Session(site, "--name", f"gc-{os.getpid()}", *limits(site))
    assert session.sh(STRAYS).code == 0
    client = site.spawn(site.immure, "exec", session.id, "--", "/bin/sleep", "92")
    pids = parts(session)
    # Asked inside: init lets nobody but root look into itself.
    everybody, space = all_of(pids), session.sh("readlink /proc/self/ns/net").text.strip()
    assert len(everybody) >= 4 and space != os.readlink("/proc/self/ns/net")
    if whom == "frozen":
        assert session.cli("freeze").code == 0
    victims = {"everybody": [client.pid, *everybody], "init": [pids["init"]],
               "supervisor+init": list(pids.values())}.get(whom, [pids["supervisor"]])
    harness.stop_and_kill(victims)
    # Dead, which takes a moment; of init alone: it sees that, and cleans up.
    assert harness.until(lambda: not running(pids["supervisor"]), 5)
    report = gc(site, "--ended")
    mine = [r for r in report["resources"] if r["session"] == session.id]
    assert [r["fate"] for r in mine if r["kind"] == "session"] == ["removed"], report
    assert "failed" not in [r["fate"] for r in mine]
    nothing_left(site, session, everybody, space)
    client.kill()
    client.communicate()
    # The name is free, and nothing is found again.
    with Session(site, "--name", f"gc-{os.getpid()}") as again:
        assert again.sh("true").code == 0
        report = gc(site)
        assert session.id not in [r["session"] for r in report["resources"]]
        assert report["alive"] >= 1 and again.sh("true").code == 0


@pytest.mark.modes("root", "user")
def test_dry_run_and_repeated_gc(site):
    session = Session(site)
    everybody = all_of(parts(session))
    os.kill(parts(session)["supervisor"], signal.SIGKILL)
    assert harness.until(lambda: (reap(), not any(map(running, everybody)))[1], 2)
    for _ in range(2):
        report = gc(site, "--dry-run")
        assert session.id in [r["session"] for r in report["resources"]]
    assert session.directory.exists()
    callers = [site.spawn(site.immure, "gc", "--json") for _ in range(4)]
    removed = 0
    for caller in callers:
        out, err = caller.communicate(timeout=30)
        assert caller.returncode == 0, (out, err)
        removed += [r["session"] for r in json.loads(out)["resources"] if r["kind"] == "session"
                    ].count(session.id)
    assert removed == 1 and not session.directory.exists()


@pytest.mark.modes("user")
@pytest.mark.slow
def test_many(site):
    """A hundred at once, each with a process that nothing ends by itself."""
    sessions = [Session(site) for _ in range(100)]
    everybody = set()
    for s in sessions:
        everybody |= all_of(parts(s))
    supervisors = [parts(s)["supervisor"] for s in sessions]
    for pid in supervisors:
        os.kill(pid, signal.SIGKILL)
    assert harness.until(lambda: not any(map(running, supervisors)), 5)
    begun = time.monotonic()
    report = gc(site)
    took = time.monotonic() - begun
    assert report["dead"] == 100 and report["failed"] == 0 and report["repair_needed"] == 0
    assert not os.listdir(runtime(site) / "sessions")
    assert harness.until(lambda: (reap(), not any(map(running, everybody)))[1], 2)
    print(f"gc of 100 sessions: {took * 1000:.0f} ms")
    assert took < 3     # on a machine that others use; docs/PERFORMANCE.md has figures


def names_of(site):
    place = runtime(site)
    return {n for d in ("sessions", "names") if (place / d).is_dir() for n in os.listdir(place / d)}


@pytest.mark.modes("root", "user")
@pytest.mark.parametrize("call", ["write", "fdatasync", "renameat", "mkdirat", "symlinkat", "bind", "sendmsg"])
def test_killed_at_every_record(site, call):
    """Everyone who makes the N-th such call dies before it: between an intent and its act,
    between the act and its result, and wherever else something is written down."""
    before = names_of(site)
    name = f"record-{os.getpid()}"
    for n in range(1, 100):
        tracer = site.spawn("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e",
                            f"inject={call}:signal=SIGKILL:when={n}", site.immure, "create", "--name",
                            name, *limits(site))
        made = tracer.stdout.readline()
        if made:            # nobody made so many: it lives, or was made before it died
            site.call(site.immure, "stop", "--force", "--rm", name)
        tracer.communicate(timeout=30)
        assert harness.until(lambda: (reap(), not harness.descendants())[1], 3), \
            [harness.describe(p) for p in harness.descendants()]
        report = gc(site, "--ended")
        assert report["failed"] == 0, report
        assert names_of(site) <= before, (n, names_of(site), report)
        assert not harness.cgroups_of_ours()
        if made:
            break
    assert made, "not every boundary was walked"
    # The name was never lost to a dead one.
    with Session(site, "--name", name) as session:
        assert session.sh("true").code == 0


@pytest.mark.modes("root", "user")
@pytest.mark.slow
def test_killed_at_every_record_of_a_life(site):
    """The same for all that a session writes down after it was made: the server dies before
    its N-th record, one further each time, until there is none left to die at."""
    (site.ws / "d").mkdir()
    name = f"life-{os.getpid()}"
    ran = site.ws / "ran"
    acts = (["exec", "--key", "k", name, "--", "/bin/sh", "-c", "echo >> ran"],
            ["mount", name, str(site.home), "/tmp"], ["umount", name, "/tmp"],
            ["tighten", "deny", name, str(site.ws / "d")], ["freeze", name], ["thaw", name],
            ["detach", name], ["stop", "--force", name], ["rm", name])
    whole = 0
    for n in range(1, 200):
        ran.unlink(missing_ok=True)
        created = site.call(site.immure, "create", "--name", name, *limits(site))
        assert created.code == 0, created
        about = json.loads(site.call(site.immure, "inspect", "--json", name).out)
        pid = about["supervisor_pid"]
        tracer = site.spawn("strace", "-f", "-p", str(pid), "-o", "/dev/null", "-e", "trace=write", "-e",
                            f"inject=write:signal=SIGKILL:when={n}")
        assert harness.until(lambda: traced(pid), 10)
        done = [site.call(site.immure, *act).code for act in acts]
        tracer.communicate(timeout=30)
        assert harness.until(lambda: (reap(), not harness.descendants())[1], 3), \
            [harness.describe(p) for p in harness.descendants()]
        report = gc(site, "--ended")
        mine = [r for r in report["resources"] if r["session"] == about["session"]]
        assert "failed" not in [r["fate"] for r in mine], mine
        assert not {name, about["session"]} & names_of(site), (n, report)
        assert not harness.cgroups_of_ours()
        # Nothing is started again by who cleans up.
        assert not ran.exists() or ran.read_text() == "\n"
        whole = n
        if not any(done):
            break
    assert not any(done) and whole > 10, done


def traced(pid):
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            return "\nTracerPid:\t0\n" not in f.read()
    return False


@pytest.mark.modes("root", "user")
def test_ticket(site):
    session = Session(site, *limits(site))
    everybody = all_of(parts(session))
    first = session.cli("detach").text.strip()
    ticket = json.loads(session.cli("detach", "--json").out)["ticket"]
    assert first != ticket and session.id in ticket
    assert site.call(site.immure, "reclaim", "--acknowledge", first).code == 125    # withdrawn
    for _ in range(2):
        assert site.call(site.immure, "reclaim", "--acknowledge", ticket).code == 0
    assert session.sh("true").code == 0
    records = session.json("journal")
    assert records["intact"] and ticket not in json.dumps(records)
    assert [r["phase"] for r in records["records"] if r["kind"] == "ticket"] == \
        ["intent", "done", "gone", "intent", "done"]
    callers = [site.spawn(site.immure, "reclaim", "--json", ticket) for _ in range(4)]
    done = []
    for caller in callers:
        out, err = caller.communicate(timeout=30)
        assert caller.returncode in (0, 125), (out, err)
        done += [json.loads(out)] if caller.returncode == 0 else []
    assert len(done) == 1       # once, by one
    kinds = {(r["kind"], r["fate"]) for r in done[0]["resources"]}
    assert {("process", "removed"), ("session", "removed")} <= kinds
    assert (("cgroup", "removed") in kinds) == (site.mode.name == "root"), kinds
    assert harness.until(lambda: (reap(), not any(map(running, everybody)))[1], 2)
    assert not session.directory.exists() and not harness.cgroups_of_ours()


@pytest.mark.modes("root", "user")
def test_ticket_that_nobody_takes(site):
    with Session(site) as session:
        ticket = session.cli("detach", "--valid", "1s").text.strip()
        time.sleep(1.1)
        assert site.call(site.immure, "reclaim", ticket).code == 125
        assert session.sh("true").code == 0


@pytest.mark.modes("root", "user")
def test_supervisor_that_does_not_answer(site):
    """Stopped, it neither ends nor listens: reclaim ends it all the same."""
    session = Session(site)
    pids = parts(session)
    ticket = session.cli("detach").text.strip()
    os.kill(pids["supervisor"], signal.SIGSTOP)
    r = site.call(site.immure, "reclaim", "--stop-time", "300ms", ticket)
    assert r.code == 0, r
    assert harness.until(lambda: (reap(), not any(map(running, pids.values())))[1], 2)
    assert not session.directory.exists()
