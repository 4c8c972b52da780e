# SPDX-License-Identifier: Apache-2.0
"""Pools: sessions that are sealed in already and wait for a caller."""

import json
import os
import shutil
import signal
import threading

import pytest

import harness
from pools import Pool, acquire
from sessions import runtime

everybody = pytest.mark.modes("root", "user", "nocgroup")


@everybody
def test_runs_a_command_in_a_fresh_one(site):
    with Pool(site) as pool:
        done = pool.sh("echo out; echo err >&2; pwd; exit 7")
        assert (done.code, done.out, done.err) == (7, f"out\n{site.ws}\n".encode(), b"err\n")
        assert pool.sh("cat", input=b"x" * 100000).out == b"x" * 100000
        # What one caller leaves, the next one does not find.
        assert pool.sh("echo mine > /tmp/left; sleep 100 & echo $!").code == 0
        after = pool.sh("ls -A /tmp; echo /proc/[0-9]*")
        assert "left" not in after.text and len(after.text.split()) <= 3
        assert pool.run("no-such-command").code == 127
        pool.settles(idle=2, in_use=0, failed=0)
        made = pool.stats()  # one that the host put something beside in the meantime is not given
        assert made["created"] == 7 + made["evictions"]
        assert pool.stats()["hits"] + pool.stats()["misses"] == 5 and pool.stats()["hits"] >= 1
        assert sum(b["count"] for b in pool.stats()["acquire_us"]) == 5


@everybody
def test_sealed_in_as_any_run(site):
    with Pool(site, "--deny", str(site.deny)) as pool:
        assert b"SECRET" not in pool.sh(f"cat {site.deny}/secret {site.home}/.ssh/id_rsa").out
        assert pool.sh(f"echo x > {site.out}/new").code != 0
        assert not (site.out / "new").exists()
        assert pool.sh("cat < /dev/tcp/127.0.0.1/1").code != 0
        assert pool.sh("grep Cap /proc/self/status").text.count("0000000000000000") == 5
        assert "Seccomp:\t2" in pool.sh("cat /proc/self/status").text
        # Nothing of the holder, of other sessions or of their servers.
        assert pool.sh("ls /proc/self/fd").text.split() == ["0", "1", "2", "3"]
        assert len(pool.sh("echo /proc/[0-9]*").text.split()) <= 3


@pytest.mark.modes("root")
@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_what_leaves_nothing_behind_waits_for_no_disk(site):
    """Its record need not outlive the machine; that of a session that is to last must."""
    name, log = f"sync{os.getpid()}", site.path / "strace"

    def synced(make, look, end):
        # strace goes with what it started, and that is there until it is ended.
        traced = site.spawn("strace", "-f", "-o", str(log), "-e", "trace=fdatasync,fsync", site.immure, *make)
        there = harness.until(lambda: site.call(site.immure, *look, name).code == 0, 20)
        written = log.read_text().count("sync(")
        assert site.call(site.immure, *end, name).code == 0 and there
        traced.communicate(timeout=20)
        return written

    assert synced(["pool", "start", "--name", name, "--size", "2", "--workspace", str(site.ws)],
                  ["pool", "stats"], ["pool", "stop"]) == 0
    assert synced(["create", "--name", name], ["inspect"], ["stop", "--force", "--rm"]) >= 1


@everybody
def test_what_cannot_be_given_to_a_living_session_is_refused(site):
    with Pool(site) as pool:
        other = pool.run("true", flags=["--set", "limits.memory=123M"])
        assert other.code == 125 and "sealed in under policy" in other.errors
        elsewhere = pool.run("true", flags=["--workspace", str(site.out)])
        assert elsewhere.code == 125 and "workspace" in elsewhere.errors
        assert pool.stats()["created"] == 2, "a refusal takes nothing"
        assert pool.run("true", flags=["--profile", "dev"]).code == 0


@everybody
def test_limits_bound_those_in_use(site):
    with Pool(site, size=1, most=2) as pool, pool.connect() as client:
        one, a = acquire(client)
        two, b = acquire(client)
        assert one["hit"] and one["session"] != two["session"]
        pool.settles(in_use=2, idle=0)
        full, none = acquire(client)
        assert none is None and not full["ok"] and "in use" in full["error"]["text"]
        assert pool.run("true").code == 125
        # Whoever waits gets what another one gives back, made anew.
        released = threading.Timer(0.3, a.socket.close)
        released.start()
        waited = pool.run("true", flags=["--pool-wait", "10s"])
        assert waited.code == 0, waited
        assert b.run("/bin/true")[0]["code"] == 0
        b.socket.close()
        pool.settles(in_use=0, idle=1)


@everybody
def test_one_command_after_another(site):
    """The end of one is seen a moment after whoever ran it is told: the next is not refused for that."""
    with Pool(site, size=1, most=1) as pool:
        for n in range(12):
            result = pool.run("true")
            assert result.code == 0, (n, result)


def test_a_word_that_does_not_come_true(site):
    """Who says that he has let go and goes on makes others wait, but not for long."""
    with Pool(site, size=1, most=1) as pool, pool.connect() as client, pool.connect() as other:
        answer, session = acquire(client)
        assert other.ask("release", session="no-such-one")["ok"]
        full, none = acquire(other)
        assert none is None and not full["ok"]
        assert client.ask("release", session=answer["session"])["ok"]
        full, none = acquire(other)
        assert none is None and not full["ok"] and "in use" in full["error"]["text"]
        assert session.run("/bin/true")[0]["code"] == 0
        session.socket.close()


@everybody
def test_no_two_callers_get_the_same_one(site):
    with Pool(site, size=4, most=24) as pool:
        got, wrong = [], []

        def caller():
            with pool.connect() as client:
                for _ in range(6):
                    answer, session = acquire(client, wait_ms=20000)
                    if not answer["ok"]:
                        wrong.append(answer)
                        return
                    exited, out, _ = session.run("/bin/sh", "-c", "ls -A /tmp; echo x > /tmp/x; echo $$",
                                                 stdin="null", stdout="stream", stderr="stream")
                    got.append(answer["session"])
                    if exited["code"] != 0 or len(out.split()) != 1:
                        wrong.append((exited, out))
                    session.socket.close()

        callers = [threading.Thread(target=caller) for _ in range(8)]
        for t in callers:
            t.start()
        for t in callers:
            t.join(120)
        assert not wrong
        assert len(got) == 48 and len(set(got)) == 48
        pool.settles(in_use=0, idle=4, failed=0)


@everybody
def test_a_session_ends_with_its_caller(site):
    with Pool(site, size=1) as pool:
        client = pool.connect()
        answer, session = acquire(client, owner="somebody")
        client.socket.close()  # not needed to keep what was taken
        session.ask("exec", argv=["/bin/sleep", "1000"], stdin="null", stdout="null", stderr="null")
        taken = runtime(site) / "sessions" / answer["session"]
        assert taken.exists()
        session.socket.close()
        assert harness.until(lambda: not taken.exists(), 10)
        pool.settles(in_use=0, idle=1)


@everybody
def test_stop_leaves_nothing(site):
    with Pool(site, size=3) as pool:
        assert len(pool.entries()) == 3
        with pool.connect() as client:
            _, session = acquire(client)
            assert pool.cli("stop").code == 0
            # What is in use is its caller's.
            assert session.run("/bin/true")[0]["code"] == 0
            session.socket.close()
        assert harness.until(lambda: not pool.entries() and not pool.directory.exists(), 10)
        gone = pool.run("true")
        assert gone.code == 125 and pool.name in gone.errors


@everybody
def test_a_pool_is_no_session(site):
    with Pool(site) as pool:
        refused = site.call(site.immure, "exec", pool.name, "--", "true")
        assert refused.code == 125 and "pool" in refused.errors
        assert site.call(site.immure, "pool", "start", "--name", pool.name).code == 125
        assert pool.name in site.call(site.immure, "pool", "ls").text
        missing = site.call(site.immure, "pool", "stats", "nosuchpool")
        assert missing.code == 125 and "nosuchpool: no such pool" in missing.errors
        # The name as start takes it, or as an operand; not both.
        assert site.call(site.immure, "pool", "stats", "--name", pool.name).code == 0
        assert site.call(site.immure, "pool", "stats", "--name", pool.name, pool.name).code == 125
        assert pool.stats()["idle"] == 2


@everybody
def test_surplus_expires_by_itself(site):
    with Pool(site, "--idle", "300ms", size=1, most=4) as pool, pool.connect() as client:
        assert client.ask("warm", target=3) | {"id": 0} == {"id": 0, "ok": True, "inserted": 2}
        assert pool.stats()["idle"] >= 1
        pool.settles(idle=1, evictions=2, created=3)


# ---- faults ------------------------------------------------------------------------


@everybody
def test_nothing_is_left_of_a_killed_holder(site):
    with Pool(site, size=3) as pool:
        entries = pool.entries()
        assert len(entries) == 3
        os.kill(pool.holder, signal.SIGKILL)
        assert harness.until(lambda: not pool.entries(), 10), "the sessions that waited are still there"
        assert pool.directory.exists()
        assert pool.run("true").code == 125
        assert site.call(site.immure, "gc").code == 0
        assert not pool.directory.exists()


@everybody
def test_a_dead_one_is_never_given(site):
    with Pool(site, size=2) as pool:
        for session in pool.entries():
            listed = json.loads(site.call(site.immure, "inspect", "--json", session).out)
            os.kill(listed["supervisor_pid"], signal.SIGKILL)
            assert harness.until(lambda: not os.path.exists(f"/proc/{listed['supervisor_pid']}"), 10)
        assert pool.sh("echo well").out == b"well\n"
        pool.settles(idle=2, in_use=0, evictions=2)
        assert len(pool.entries()) == 2


@everybody
def test_an_unhealthy_one_is_evicted(site):
    with Pool(site, size=2) as pool:
        used, stuck = pool.entries()
        inspected = json.loads(site.call(site.immure, "inspect", "--json", stuck).out)
        # One does not answer any more; in the other somebody ran something.
        os.kill(inspected["supervisor_pid"], signal.SIGSTOP)
        assert site.call(site.immure, "exec", used, "--", "/bin/true").code == 0
        assert harness.until(lambda: not {used, stuck} & set(pool.entries()), 20)
        pool.settles(idle=2, evictions=2)


@everybody
def test_a_client_that_sends_nonsense_hurts_itself(site):
    with Pool(site, size=1) as pool:
        for data in (b"{", b"[]", b"\0" * 100, b'"x"', b"x" * 60000):
            with pool.connect() as client:
                client.send(data)
                assert client.socket.recv(100) == b""
        with pool.connect() as client:
            assert not client.ask("exec", argv=["/bin/true"])["ok"]
            assert not client.ask("start", runtime="/tmp")["ok"]
            assert not client.ask("nonsense")["ok"]
        assert pool.sh("echo well").out == b"well\n"
