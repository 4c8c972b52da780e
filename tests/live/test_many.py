# SPDX-License-Identifier: Apache-2.0
"""Many sessions made at once: all of them or none, and each a place of its own."""

import contextlib
import json
import os
import pathlib
import random
import signal
import time

import pytest

import harness
from sessions import runtime

SEED = int(os.environ.get("IMMURE_TEST_SEED", time.time()))
everybody = pytest.mark.modes("root", "user", "nocgroup")
KINDS = ("user", "mnt", "pid", "ipc", "uts", "net")


def records(site, name):
    """What is recorded of sessions of such names, whole or half-made: the host has others."""
    found = set()
    for p in (runtime(site) / "sessions").glob("*"):
        with contextlib.suppress(OSError):
            if f"{name}-" in (p / "meta").read_text():
                found.add(p.name)
    return found | {p.name for p in (runtime(site) / "names").glob(f"{name}-*")}


def named(site, name):
    rows = json.loads(site.call(site.immure, "ps", "--all", "--json").out)
    return [row for row in rows if row["name"].rsplit("-", 1)[0] == name]


class Many:
    def __init__(self, site, count, *flags):
        self.site, self.name = site, f"many{os.getpid()}"
        done = site.call(site.immure, "create", "--json", "--count", str(count), "--name", self.name, *flags)
        assert done.code == 0, done
        self.rows = json.loads(done.out)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for row in self.rows:
            self.cli("stop", row, "--force", "--rm")

    def cli(self, command, row, *flags, argv=()):
        rest = ["--", *argv] if argv else []
        return self.site.call(self.site.immure, command, *flags, row["session"], *rest)

    def sh(self, row, script):
        return self.cli("exec", row, argv=["/bin/sh", "-c", script])


@everybody
def test_each_is_a_place_of_its_own(site):
    with Many(site, 50, "--label", "for=tests") as many:
        assert [row["name"] for row in many.rows] == [f"{many.name}-{i + 1}" for i in range(50)]
        assert len({row["session"] for row in many.rows}) == 50
        seen = {kind: set() for kind in (*KINDS, "supervisor", "init", "journal")}
        for i, row in enumerate(many.rows):
            done = many.sh(row, "for k in %s; do readlink /proc/self/ns/$k; done; cat /tmp/mine /dev/shm/mine; "
                           "echo %d > /tmp/mine; echo %d > /dev/shm/mine; echo /proc/[0-9]*; "
                           "setsid sleep 1000 > /dev/null 2>&1 &" % (" ".join(KINDS), i, i))
            lines = done.text.split("\n")
            assert done.code == 0, done
            for kind, line in zip(KINDS, lines):
                seen[kind].add(line)
            # Neither files nor processes of another one.
            assert lines[6].startswith("/proc/1 ") and len(lines[6].split()) <= 3, lines
            about = json.loads(many.cli("inspect", row, "--json").out)
            assert about["labels"] == {"for": "tests"} and about["name"] == row["name"]
            seen["supervisor"].add(about["supervisor_pid"])
            seen["init"].add(about["init_pid"])
            assert many.cli("journal", row).code == 0  # its chain holds
            journal = (runtime(site) / "sessions" / row["session"] / "journal").read_text()
            assert row["session"] in journal
            assert not any(other["session"] in journal for other in many.rows if other is not row)
            # The chain's values, which begin with what is said of this one alone.
            seen["journal"].update(line.rsplit(" ", 1)[1] for line in journal.splitlines()[:1])
        for kind in (*KINDS, "supervisor", "init", "journal"):
            assert len(seen[kind]) == 50, (kind, seen[kind])
        for i, row in enumerate(many.rows):
            assert many.sh(row, "cat /tmp/mine /dev/shm/mine").text.split() == [str(i), str(i)]


@everybody
def test_each_lives_and_dies_for_itself(site):
    with Many(site, 4) as many:
        about = [json.loads(many.cli("inspect", row, "--json").out) for row in many.rows]
        os.kill(about[0]["supervisor_pid"], signal.SIGKILL)
        os.kill(about[1]["init_pid"], signal.SIGKILL)
        assert many.cli("stop", many.rows[2], "--rm").code == 0
        assert many.sh(many.rows[3], "echo alive").out == b"alive\n"
        gone = [about[0]["init_pid"], about[1]["supervisor_pid"]]
        assert harness.until(lambda: harness.descendants() is not None and
                             not any(os.path.exists(f"/proc/{pid}") for pid in gone), 5)
        assert site.call(site.immure, "gc", "--ended").code == 0
        assert records(site, many.name) == {many.rows[3]["session"], many.rows[3]["name"]}
        assert [row["alive"] for row in named(site, many.name) if row["session"] == many.rows[3]["session"]] == [True]
        assert many.sh(many.rows[3], "echo alive").out == b"alive\n"


@everybody
def test_one_that_cannot_be_made_leaves_none(site):
    name = f"many{os.getpid()}"
    taken = site.call(site.immure, "create", "--name", f"{name}-30")
    assert taken.code == 0
    try:
        done = site.call(site.immure, "create", "--count", "50", "--name", name)
        assert done.code == 125 and done.out == b""
        assert done.err.decode().count("\n") == 1 and f"{name}-30" in done.err.decode()
        # At once: nothing of it is still about to end.
        assert records(site, name) == {taken.text.strip(), f"{name}-30"}
        assert [row["name"] for row in named(site, name)] == [f"{name}-30"]
    finally:
        assert site.call(site.immure, "stop", "--force", "--rm", f"{name}-30").code == 0
    # The names are free again, so none of them was left claimed.
    with Many(site, 50) as many:
        assert len(many.rows) == 50


def below(pid):
    """Children, and theirs."""
    found = []
    with contextlib.suppress(OSError):
        for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found += [int(child), *below(int(child))]
    return found


def maker_of(pid):
    for child in below(pid):
        with contextlib.suppress(OSError):
            if b"--many" in pathlib.Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                return child
    return None


def ended(pid):
    """Its lines are closed then, whether or not it was waited for."""
    try:
        return pid is None or pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def goes_on(site, session):
    """It hears of its maker's end before it hears of who connects after that."""
    done = site.call(site.immure, "inspect", "--json", session)
    return done.code == 0 and json.loads(done.out)["state"] == "RUNNING"


@pytest.mark.modes("root", "user")
@pytest.mark.parametrize("who", ["maker", "caller", "both"])
def test_killed_in_the_middle_there_are_all_or_none(site, who):
    dice, name, whole = random.Random(SEED), f"many{os.getpid()}", 0
    for _ in range(6):
        process = site.spawn(site.immure, "create", "--count", "30", "--name", name)
        wanted = dice.randint(1, 29)
        maker = None
        while process.poll() is None and len(records(site, name)) < 2 * wanted:
            maker = maker or maker_of(process.pid)
        maker = maker or maker_of(process.pid)
        for victim in [maker] * (who != "caller") + [process.pid] * (who != "maker"):
            with contextlib.suppress(ProcessLookupError, TypeError):
                os.kill(victim, signal.SIGKILL)
        process.communicate()
        assert harness.until(lambda: ended(maker), 20)
        alive = [r["session"] for r in named(site, name) if goes_on(site, r["session"])]
        assert len(alive) in (0, 30), alive
        whole += len(alive) == 30
        for session in alive:
            assert site.call(site.immure, "stop", "--force", "--rm", session).code == 0
        assert harness.until(lambda: site.call(site.immure, "gc").code == 0 and not records(site, name), 10)
    assert whole < 6


@pytest.mark.modes("root")
def test_killed_with_all_servers(site):
    """Nobody is left who could take anything back but gc."""
    name = f"many{os.getpid()}"
    process = site.spawn(site.immure, "create", "--count", "40", "--name", name, "--memory", "1G")
    assert harness.until(lambda: len(records(site, name)) >= 10, 20)
    maker = maker_of(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    victims = [maker, *below(maker)]
    for pid in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.communicate()
    # One that was begun after they were listed may still be taking itself back; one that was killed
    # when it had just ended for good is an ended one, which gc removes when it is told to.
    assert harness.until(lambda: site.call(site.immure, "gc", "--ended").code == 0 and not records(site, name), 10)


def replaced(path):
    """By a file that takes its name, as editors do."""
    other = path.with_name("other")
    other.write_text("seen")
    other.rename(path)


def moved(path):
    """With the directory that it is in, and another made in its place."""
    path.parent.rename(path.parent.with_name("away"))
    path.parent.mkdir()
    path.write_text("seen")


@pytest.mark.modes("root", "user")
@pytest.mark.parametrize("change, hide", [(replaced, "file"), (moved, "dir"), (moved, "file")])
def test_what_the_host_changes_meanwhile_is_hidden(site, change, hide):
    """The view that many are made after is looked at in the end, and where it does not
    stand any more, all of them are made anew."""
    name, secret = f"many{os.getpid()}", site.path / "home" / "sub" / "secret"
    secret.parent.mkdir()
    secret.write_text("seen")
    site.own(site.path / "home")
    process = site.spawn(site.immure, "create", "--count", "100", "--name", name,
                         "--deny", secret if hide == "file" else secret.parent)
    assert harness.until(lambda: len(records(site, name)) >= 30, 20)
    maker = maker_of(process.pid)
    os.kill(maker, signal.SIGSTOP)
    first = {row["session"] for row in named(site, name)}
    change(secret)
    site.own(site.path / "home")
    os.kill(maker, signal.SIGCONT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    rows = named(site, name)
    try:
        assert len(rows) == 100 and not first & {row["session"] for row in rows}
        for row in rows[::24]:
            seen = site.call(site.immure, "exec", row["session"], "--", "/bin/cat", secret)
            assert seen.code != 0 and b"seen" not in seen.out and "Permission denied" in seen.err.decode(), seen
    finally:
        assert site.call(site.immure, "rm", "--force", *[row["session"] for row in rows]).code == 0


@everybody
def test_one_of_many_can_be_changed_like_any(site):
    """What its server does in its namespaces later it does in those of the mould."""
    (site.path / "out" / "more").mkdir()
    (site.path / "out" / "more" / "file").write_text("more")
    (site.ws / "closed").write_text("seen")
    site.own(site.path / "out")
    site.own(site.ws)
    with Many(site, 8) as many:
        row, other = many.rows[2], many.rows[3]
        done = site.call(site.immure, "mount", row["session"], site.path / "out" / "more", "/tmp/more")
        assert done.code == 0, done
        assert many.sh(row, "cat /tmp/more/file").out == b"more"
        assert many.sh(other, "ls /tmp").out == b""
        done = site.call(site.immure, "tighten", "deny", row["session"], site.ws / "closed")
        assert done.code == 0, done
        assert many.sh(row, f"cat {site.ws}/closed").code != 0
        assert many.sh(other, f"cat {site.ws}/closed").out == b"seen"
        assert many.cli("stats", row).code == 0


@pytest.mark.modes("root", "user")
def test_each_is_attacked_first(site):
    with Many(site, 3, "--prove") as many:
        for row in many.rows:
            proof = runtime(site) / "sessions" / row["session"] / "proof"
            assert "verified" in proof.read_text() or "points" in proof.read_text()
            assert many.sh(row, "echo /proc/[0-9]*").text.split()[0] == "/proc/1"


@pytest.mark.modes("root")
@pytest.mark.parametrize("flags, word", [
    (["--count", "0"], "4096"), (["--count", "4097"], "4096"),
    (["--count", "2", "--name", "n" * 62], "name"), (["--count", "2", "--label", "a b=x"], "label"),
])
def test_refused(site, flags, word):
    done = site.call(site.immure, "create", *flags)
    assert done.code == 125 and word in done.err.decode() and done.err.decode().count("\n") == 1
