# SPDX-License-Identifier: Apache-2.0
"""Many callers for long: no error, nothing left, nothing that grows. Fewer rounds unless
IMMURE_TEST_LONG; IMMURE_TEST_SOAK=FILE gets the numbers."""

import json
import os
import pathlib
import threading

import pytest

import harness
from pools import Pool, acquire
from sessions import Session

LONG = bool(os.environ.get("IMMURE_TEST_LONG"))
CALLERS = 8
GROWTH_KB = 64  # a page of a table here and there; 10,000 leaked execs of 64 bytes would be more
everybody = pytest.mark.modes("root", "user", "nocgroup")


def tree(pid):
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        for task in pathlib.Path(f"/proc/{found[-1]}/task").iterdir():
            todo += map(int, (task / "children").read_text().split())
    return found


def usage(pid):
    """What one process has open, and what memory is its alone. An ordinary user may not look
    into such a process; of its memory there is a number that is for everybody."""
    if os.geteuid() != 0:
        _, resident, shared, *_ = map(int, pathlib.Path(f"/proc/{pid}/statm").read_text().split())
        return {"fds": 0, "private_kb": (resident - shared) * os.sysconf("SC_PAGE_SIZE") // 1024}
    lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return {"fds": len(os.listdir(f"/proc/{pid}/fd")),
            "private_kb": sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))}


def callers(work, rounds):
    """work(caller, round), by eight at once; what any of them raised."""
    wrong = []

    def one(n):
        try:
            for i in range(rounds):
                work(n, i)
        except BaseException as e:  # all of it is the test's to say
            wrong.append(e)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(CALLERS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(3600)
    assert not wrong, wrong[0]


def report(what, **numbers):
    if os.environ.get("IMMURE_TEST_SOAK"):
        with open(os.environ["IMMURE_TEST_SOAK"], "a") as f:
            f.write(json.dumps({"what": what, **numbers}) + "\n")


def flat(before, after):
    for who in before:
        assert after[who]["fds"] <= before[who]["fds"], (who, before, after)
        assert after[who]["private_kb"] <= before[who]["private_kb"] + GROWTH_KB, (who, before, after)


@everybody
def test_many_callers_of_one_session(site):
    """The first rounds fill what is kept of ended commands; from then on it is flat."""
    rounds = 1250 if LONG else 60
    with Session(site) as session:
        top = session.json("inspect")["supervisor_pid"]
        clients = [session.connect() for _ in range(CALLERS)]
        init = session.json("inspect")["init_pid"]
        seen = {}

        def work(n, i):
            exited, out, err = clients[n].run("/bin/sh", "-c", f"echo {n} {i}; echo x >&2; exit {i % 3}", stdin="null",
                                              stdout="stream", stderr="stream")
            assert (exited["code"], out, err) == (i % 3, b"%d %d\n" % (n, i), b"x\n"), (exited, out, err)

        callers(work, 25)
        for moment, more in (("before", rounds), ("after", 0)):
            assert harness.until(lambda: tree(top)[1:] == [init] or len(tree(top)) <= 3, 10), tree(top)
            seen[moment] = {"server": usage(top), "init": usage(init)}
            callers(work, more)
        for client in clients:
            client.socket.close()
        stats = session.json("stats")
        assert stats["execs_started"] == CALLERS * (25 + rounds) and stats["processes"] == 0
        report("one session, eight callers", mode=site.mode.name, execs=CALLERS * rounds, **seen)
        flat(seen["before"], seen["after"])


@everybody
@pytest.mark.parametrize("workspace", (".", None), ids=("fixed", "open"))
def test_many_callers_of_a_pool(site, workspace):
    """A session for each command: made, used, destroyed; the holder stays as it was."""
    rounds = 250 if LONG else 12
    with Pool(site, size=4, most=24, workspace=workspace) as pool:
        def measure():
            pool.settles(idle=4, in_use=0, making=0, ending=0)
            assert len(pool.entries()) == 4
            return {"holder": usage(pool.holder)}

        def by_program(n, i):
            done = pool.sh(f"ls -A /tmp; echo x > /tmp/x; echo {n} {i}", flags=["--pool-wait", "60s"])
            assert (done.code, done.out) == (0, b"%d %d\n" % (n, i)), done

        def by_protocol(n, i):
            with pool.connect() as client:
                answer, session = acquire(client, wait_ms=60000)
                assert answer["ok"], answer
                exited, out, _ = session.run("/bin/sh", "-c", f"ls -A /tmp; echo x > /tmp/x; echo {n} {i}",
                                             stdin="null", stdout="stream", stderr="stream")
                assert (exited["code"], out) == (0, b"%d %d\n" % (n, i)), (exited, out)
                session.socket.close()

        work = by_protocol if workspace else by_program
        callers(work, 4)
        before = measure()
        callers(work, rounds)
        after = measure()
        stats = pool.stats()
        assert stats["hits"] + stats["misses"] == CALLERS * (4 + rounds) == sum(
            b["count"] for b in stats["acquire_us"])
        assert stats["failed"] == 0
        assert stats["created"] == CALLERS * (4 + rounds) + 4 + stats["evictions"]
        report("a pool, " + ("fixed" if workspace else "open"), mode=site.mode.name,
               acquired=CALLERS * rounds, before=before, after=after,
               acquire_us=stats["acquire_us"])
        flat(before, after)
