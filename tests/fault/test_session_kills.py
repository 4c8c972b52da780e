# SPDX-License-Identifier: Apache-2.0
"""kill -9 of a session's server, of its init, of clients, at any moment: what ran in
it is gone, and `immure gc` removes the rest."""

import json
import os
import random
import signal
import sys
import time

import pytest

import harness

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "live"))
from sessions import Session, runtime  # noqa: E402

SEED = int(os.environ.get("IMMURE_TEST_SEED", time.time()))


def all_gone(pids):
    harness.descendants()  # reaps
    return not any(os.path.exists(f"/proc/{p}") for p in pids)


def collect(site):
    done = site.call(site.immure, "gc", "--json")
    assert done.code == 0, done
    return json.loads(done.out)


@pytest.mark.parametrize("who", ["supervisor_pid", "init_pid", "both"])
def test_nothing_is_left(site, who):
    s = Session(site, "--memory", "1G", "--processes", "60")
    for script in ("sleep 93 >&- 2>&- & setsid sleep 93 >&- 2>&- &", "(sleep 93; true) >&- 2>&- &"):
        assert s.sh(script).code == 0
    pids = s.json("inspect")
    for k in ("init_pid", "supervisor_pid"):
        if who in (k, "both"):
            os.kill(pids[k], signal.SIGKILL)
    assert harness.until(lambda: all_gone([pids["init_pid"], pids["supervisor_pid"]]), 5)
    collect(site)
    assert not s.directory.exists() or s.cli("rm").code == 0
    assert not s.directory.exists()


def test_kill_while_it_is_made(site):
    """At any moment of `create`: a session that is whole, or nothing that gc does not remove."""
    dice = random.Random(SEED)
    mine = f"made{os.getpid()}"  # the host may have other sessions
    before = set((runtime(site) / "sessions").glob("*"))
    for i in range(12):
        process = site.spawn(site.immure, "create", "--memory", "1G", "--name", f"{mine}-{i}")
        time.sleep(dice.random() * 0.04)
        process.kill()
        process.communicate()
        time.sleep(0.05)
        for row in json.loads(site.call(site.immure, "ps", "--json").out):
            if row["alive"] and row["name"].startswith(mine):
                site.call(site.immure, "stop", "--force", "--rm", row["session"])
    time.sleep(0.2)
    collect(site)
    assert harness.until(lambda: collect(site) is not None and
                         not set((runtime(site) / "sessions").glob("*")) - before, 5), f"seed {SEED}"


def test_kill_at_random_moments(site):
    dice = random.Random(SEED + 1)
    for _ in range(8):
        s = Session(site)
        pid = s.json("inspect")["supervisor_pid"]
        clients = [site.spawn(site.immure, "exec", s.id, "--", "/bin/sh", "-c",
                              "for i in 1 2 3 4 5 6 7 8 9; do head -c 100000 /dev/zero; done")
                   for _ in range(3)]
        time.sleep(dice.random() * 0.05)
        os.kill(pid, signal.SIGKILL)
        for c in clients:
            c.communicate(timeout=20)  # none waits for ever
        assert harness.until(lambda: all_gone([pid]), 5), f"seed {SEED}"
        collect(site)
        assert not s.directory.exists(), f"seed {SEED}"
