# SPDX-License-Identifier: Apache-2.0
"""Sessions of a pool that are used again: only when nothing at all is left in them. Each row
of the table (docs/SESSIONS.md) is made dirty here by itself, and the session is destroyed."""

import json
import os
import shutil
import subprocess
import sys

import pytest

import harness
from pools import Pool, acquire
from remote import remote_call
from sessions import Client, runtime

everybody = pytest.mark.modes("root", "user", "nocgroup")
only_root = pytest.mark.modes("root")
PLAIN = ("--reuse", "--profile", "readonly", "--set", "workspace.mode=ro")


class Reused(Pool):
    """At most one session: who comes next gets what the one before had, if anybody may."""

    def __init__(self, site, *flags):
        super().__init__(site, *PLAIN, *flags, size=1, most=1)

    def run(self, *argv, flags=(), **kw):
        return super().run(*argv, flags=("--pool-wait", "20s", *flags), **kw)


def pool_of(site, *flags):
    return Reused(site, *flags)


def looked_at(pool, n):
    """The newest proof, when there are n."""
    done = lambda: pool.stats()["reused"] + pool.stats()["refused"] >= n  # noqa: E731
    assert harness.until(done, 10), pool.stats()
    return pool.stats()["proofs"][-1]


def made(pool):
    """But for those that the host put something beside in the meantime, which are given to nobody."""
    stats = pool.stats()
    return stats["created"] - stats["evictions"]


def is_destroyed(pool, proof, *rows):
    assert not proof["clean"] and proof["not_as_before"].split() == list(rows), proof
    assert harness.until(lambda: proof["session"] not in pool.entries(), 10), "it lives on"
    pool.settles(idle=1, failed=0)


@everybody
def test_one_that_is_clean_is_used_again(site):
    with pool_of(site) as pool:
        seen = [pool.sh("echo $$; ls -A /tmp /var/tmp /dev/shm; exit 3") for _ in range(4)]
        assert all(done.code == 3 and done.text == seen[0].text for done in seen), seen
        assert seen[0].text.split()[0] == "2", "numbers begin anew for each"
        proof = looked_at(pool, 4)
        assert proof["clean"] and proof["not_as_before"] == "" and proof["use"] == 4 and proof["rows_looked_at"] == 18
        stats = pool.stats()
        assert stats["reuse"] and stats["reused"] == 4 and stats["refused_reuse"] == {} and stats["created"] == 1
        told = json.loads(site.call(site.immure, "journal", "--json", pool.id).out)["records"]
        assert [r["subject"] for r in told if r["kind"] == "reuse"] == ["clean"] * 4
        inspected = json.loads(site.call(site.immure, "inspect", "--json", proof["session"]).out)
        assert inspected["reuse"]["uses"] == 4 and inspected["reuse"]["last"] == "clean"


@everybody
def test_without_the_flag_each_is_destroyed(site):
    with Pool(site, *PLAIN[1:], size=1) as pool:
        assert pool.run("true").code == 0 and pool.run("true").code == 0
        pool.settles(idle=1)
        assert made(pool) == 3 and not pool.stats()["reuse"]


INSIDE = {
    "file": ("areas", "echo x > /tmp/x"),
    "mode": ("areas", "chmod 700 /var/tmp"),
    "shm": ("areas", "mkdir /dev/shm/d"),
    "attribute": ("areas", "python3 -c 'import os; os.setxattr(\"/tmp\", \"user.x\", b\"1\")'"),
    "background": ("processes", "setsid sleep 1000 > /dev/null 2>&1 < /dev/null &"),
    "nice": ("init", "python3 -c 'import os; os.setpriority(os.PRIO_PROCESS, 1, 19)'"),
    "affinity": ("init", "python3 -c 'import os; os.sched_setaffinity(1, {0})'"),
    "shared memory": ("sysv_ipc", "ipcmk -M 4096 > /dev/null"),
    "semaphores": ("sysv_ipc", "ipcmk -S 1 > /dev/null"),
    "queue": ("sysv_ipc", "ipcmk -Q > /dev/null"),
    "connection": ("network", "python3 -c 'import socket; s = socket.create_server((\"127.0.0.1\", 0)); "
                              "socket.create_connection(s.getsockname()); s.accept()'"),
    "datagram": ("network", "python3 -c 'import socket; "
                            "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b\"x\", (\"127.0.0.1\", 9))'"),
}


@everybody
@pytest.mark.parametrize("what", INSIDE)
def test_what_a_command_left(site, what):
    row, script = INSIDE[what]
    with pool_of(site) as pool:
        done = pool.sh(script)
        assert done.code == 0, done
        rows = [row]
        if what == "background" and "cgroup" in looked_at(pool, 1)["not_as_before"]:
            rows.append("cgroup")  # where there is one, it is in that as well
        is_destroyed(pool, looked_at(pool, 1), *rows)
        assert pool.stats()["refused_reuse"] == {row: 1 for row in rows} and made(pool) == 2


TURNS = """
import ctypes, platform, struct
number = {"x86_64": 314, "aarch64": 274}[platform.machine()]
syscall, now = ctypes.CDLL(None).syscall, ctypes.create_string_buffer(48)
syscall(number + 1, 1, now, 48, 0)
struct.pack_into("Q", now, 24, 77000000)
syscall(number, 1, now, 0)
syscall(number + 1, 1, now, 48, 0)
print(struct.unpack_from("Q", now, 24)[0] == 77000000)
"""


@everybody
def test_how_long_inits_turns_are(site):
    """What a command has set for init, the next one's commands would have."""
    with pool_of(site) as pool:
        done = pool.run("python3", "-c", TURNS)
        assert done.code == 0, done
        if done.text == "False\n":
            pytest.skip("no length of turns: Linux 6.12")
        is_destroyed(pool, looked_at(pool, 1), "init")


@everybody
def test_what_a_caller_asked_for(site):
    """More than commands over the lane: there the supervisor has words of his, or was told to change something."""
    with pool_of(site) as pool, pool.connect() as client:
        for n, ask in enumerate((lambda s: s.ask("root"), lambda s: s.ask("lease", life_ms=0),
                                 lambda s: s.run("/bin/true"), lambda s: s.ask("mount", source="/x", target="/y"))):
            _, session = acquire(client, wait_ms=10000)
            ask(session)
            session.socket.close()
            is_destroyed(pool, looked_at(pool, n + 1), "requests")


@everybody
def test_somebody_else_is_connected(site):
    with pool_of(site) as pool, pool.connect() as client:
        answer, session = acquire(client, wait_ms=10000)
        other = type("", (), {"directory": runtime(site) / "sessions" / answer["session"]})
        with Client(other):
            session.socket.close()
            is_destroyed(pool, looked_at(pool, 1), "connections")
        # One that has begun something and gone.
        answer, session = acquire(client, wait_ms=10000)
        other.directory = runtime(site) / "sessions" / answer["session"]
        with Client(other) as second:
            second.ask("exec", argv=["/bin/sleep", "1000"], stdin="null", stdout="null", stderr="null", detach=True)
        session.socket.close()
        is_destroyed(pool, looked_at(pool, 2), "requests", "commands")


def held(pool, client):
    """A session that somebody has, and its processes."""
    answer, session = acquire(client, wait_ms=10000)
    about = session.ask("inspect")
    return session, about["init_pid"], about["supervisor_pid"], answer["session"]


@only_root
@pytest.mark.skipif(not shutil.which("nsenter"), reason="nsenter is not installed")
def test_what_only_root_outside_could_do(site):
    """Nothing inside can: so it is done from outside, in the session's own namespaces."""
    def enter(init, *argv):
        subprocess.run(["nsenter", "-t", str(init), *argv], check=True, stdout=subprocess.DEVNULL)

    with pool_of(site) as pool, pool.connect() as client:
        session, init, _, _ = held(pool, client)
        enter(init, "-m", "--", "mount", "-t", "tmpfs", "none", "/opt")
        session.socket.close()
        is_destroyed(pool, looked_at(pool, 1), "mounts")
        session, init, _, _ = held(pool, client)
        enter(init, "-u", "--", "hostname", "other")
        session.socket.close()
        is_destroyed(pool, looked_at(pool, 2), "hostname")
        session, init, _, _ = held(pool, client)
        enter(init, "-n", "--", "ip", "address", "add", "10.9.8.7/32", "dev", "lo")
        session.socket.close()
        is_destroyed(pool, looked_at(pool, 3), "network")
        session, init, _, _ = held(pool, client)
        enter(init, "-i", "--", sys.executable, "-c", "import ctypes; exit(ctypes.CDLL(None).mq_open("
              "b'/left', 0o102, 0o600, None) < 0)")
        session.socket.close()
        is_destroyed(pool, looked_at(pool, 4), "mqueues")


@only_root
def test_limits_and_members_of_its_cgroup(site):
    def leaf(init):
        for line in open(f"/proc/{init}/cgroup"):
            _, names, path = line.rstrip("\n").split(":", 2)
            if names == "pids":
                return next(f"{m}{path}" for m in harness.cgroup_mounts("pids"))
        pytest.skip("no v1 hierarchy for pids")

    with pool_of(site, "--set", "limits.processes=50") as pool, pool.connect() as client:
        session, init, _, _ = held(pool, client)
        with open(f"{leaf(init)}/pids.max", "w") as file:
            file.write("40")
        session.socket.close()
        is_destroyed(pool, looked_at(pool, 1), "cgroup")
        session, init, _, _ = held(pool, client)
        with subprocess.Popen(["sleep", "1000"]) as stranger:
            with open(f"{leaf(init)}/cgroup.procs", "w") as file:
                file.write(str(stranger.pid))
            session.socket.close()
            proof = looked_at(pool, 2)
            stranger.kill()
        is_destroyed(pool, proof, "cgroup")


DUP, PRLIMIT = 32, 302


@only_root
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="written for x86_64")
def test_descriptors_that_are_left(site):
    with pool_of(site) as pool, pool.connect() as client:
        session, init, _, _ = held(pool, client)
        assert remote_call(init, DUP, 0) > 2
        session.socket.close()
        is_destroyed(pool, looked_at(pool, 1), "init_descriptors")
        session, _, supervisor, _ = held(pool, client)
        assert remote_call(supervisor, DUP, 0) > 2
        session.socket.close()
        is_destroyed(pool, looked_at(pool, 2), "supervisor_descriptors")


def holds(pid, needle):
    """Whether it is anywhere in what this process can write to."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            span, rights = line.split()[:2]
            if "w" not in rights or "[v" in line:
                continue
            begin, end = (int(n, 16) for n in span.split("-"))
            memory.seek(begin)
            if needle in memory.read(end - begin):
                return True
    return False


@only_root
def test_no_word_of_a_caller_is_left_in_memory(site):
    """What came in a request, arguments and environment alike, in init; what a client called himself in the
    supervisor."""
    word = "left-behind-" + "7f3a"
    with pool_of(site) as pool, pool.connect() as client:
        session, init, supervisor, name = held(pool, client)
        session.ask("hello", protocol=1, client=word)
        assert holds(supervisor, word.encode()), "it is looked for in the right place"
        session.socket.close()
        assert looked_at(pool, 1)["clean"]
        waiting = site.spawn(site.immure, "run", "--pool", pool.name, "--pool-wait", "10s", "--", "/bin/sh", "-c",
                             f"read line; : {word}", stdin=subprocess.PIPE)
        assert harness.until(lambda: pool.stats()["in_use"] == 1 and holds(init, word.encode()), 10), "not there"
        waiting.communicate(b"\n", timeout=20)
        assert waiting.returncode == 0
        proof = looked_at(pool, 2)
        assert proof["clean"] and proof["session"] == name
        assert not holds(init, word.encode()) and not holds(supervisor, word.encode())


@only_root
@pytest.mark.skipif(not shutil.which("nsenter"), reason="nsenter is not installed")
def test_a_process_that_came_from_outside(site):
    """Init may not end it, and cannot even see whose it is: it is there, and that is enough."""
    with pool_of(site) as pool, pool.connect() as client:
        session, init, _, _ = held(pool, client)
        with subprocess.Popen(["nsenter", "-t", str(init), "-p", "--", "sleep", "1000"]) as stranger:
            assert harness.until(lambda: "sleep" in session_names(init), 10)
            session.socket.close()
            proof = looked_at(pool, 1)
            is_destroyed(pool, proof, "processes")
            stranger.wait(20)


def session_names(init):
    wanted = os.readlink(f"/proc/{init}/ns/pid")
    names = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{pid}/ns/pid") == wanted:
                names.append(open(f"/proc/{pid}/comm").read().strip())
        except OSError:
            pass
    return names


@everybody
def test_a_limited_network_that_was_used(site):
    with pool_of(site, "--set", "network.mode=limited", "--set", "network.allow=good.test:443") as pool:
        assert pool.run("true").code == 0
        first = looked_at(pool, 1)
        assert first["clean"], first
        pool.run("python3", "-c", "import socket\ntry: socket.create_connection(('bad.test', 80), 5)\nexcept OSError: pass")
        proof = looked_at(pool, 2)
        assert not proof["clean"] and "gatekeeper" in proof["not_as_before"].split(), proof


@pytest.mark.modes("user")
def test_never_across_users(site):
    """Root may use this user's pool, and gets none that the user had."""
    if os.geteuid() != 0:
        pytest.skip("only root can be two users")
    with pool_of(site) as pool, pool.connect() as root:
        assert pool.run("true").code == 0
        mine = looked_at(pool, 1)
        assert mine["clean"]
        answer, session = acquire(root, wait_ms=10000)
        assert answer["session"] != mine["session"]
        assert pool.stats()["refused_reuse"]["other_owner"] == 1
        session.socket.close()
        assert looked_at(pool, 2)["clean"]
        pool.settles(idle=1)
        assert pool.run("true").code == 0
        assert looked_at(pool, 3)["session"] != answer["session"]


@everybody
@pytest.mark.parametrize("flags, why", [
    (("--profile", "dev"), "stays"),
    (("--profile", "readonly", "--set", "workspace.mode=ro", "--set", "files.write=/srv"), "stays"),
    (("--profile", "readonly", "--set", "workspace.mode=ro", "--set", "network.mode=host"), "network.mode"),
    (("--profile", "readonly", "--set", "workspace.mode=ro", "--set", "limits.output=1M"), "limits.output"),
    (("--profile", "readonly", "--set", "workspace.mode=ro", "--mode", "zygote"), "never used again"),
])
def test_what_could_not_be_proven_is_refused_at_once(site, flags, why):
    done = site.call(site.immure, "pool", "start", "--reuse", "--name", f"no{os.getpid()}", "--workspace", str(site.ws), *flags)
    assert done.code == 125 and why in done.errors, done
    open_one = site.call(site.immure, "pool", "start", "--reuse", "--name", f"no{os.getpid()}", "--profile", "readonly")
    assert open_one.code == 125 and "cannot be opened for another" in open_one.errors, open_one


@everybody
def test_the_end_of_the_holder(site):
    """Whoever has a session keeps it; then it ends, since nobody is there to lend it."""
    with pool_of(site) as pool:
        client = pool.connect()
        answer, session = acquire(client, wait_ms=10000)
        client.socket.close()
        assert pool.cli("stop").code == 0
        assert session.ask("stats")["ok"]
        directory = runtime(site) / "sessions" / answer["session"]
        session.socket.close()
        assert harness.until(lambda: not directory.exists(), 10)
