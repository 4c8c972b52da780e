# SPDX-License-Identifier: Apache-2.0
"""kill -9 at random points: nothing may be left within a second. The seed is
printed and can be given back in IMMURE_TEST_SEED."""

import contextlib
import os
import pathlib
import random
import signal
import time

import pytest

import harness

SEED = int(os.environ.get("IMMURE_TEST_SEED", int.from_bytes(os.urandom(4), "big")))
POINTS = 50

SCRIPT = """
(setsid sh -c 'trap "" TERM INT HUP; while :; do sleep 5; done' >/dev/null 2>&1 &)
i=0; while [ $i -lt 400 ]; do i=$((i+1)); echo x > f$i; rm f$i; done; sleep 30
"""


def network_namespaces():
    found = set()
    for pid in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if pid.isdigit():
                found.add(os.readlink(f"/proc/{pid}/ns/net"))
    return found


def descendants_of(pid):
    """All processes below pid, as (pid, start time): numbers are reused."""
    parents = {}
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError, IndexError):
            if name.isdigit():
                fields = pathlib.Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
                parents[int(name)] = (int(fields[1]), int(fields[19]))
    found, todo = set(), [pid]
    while todo:
        one = todo.pop()
        for child, (parent, start) in parents.items():
            if parent == one:
                found.add((child, start))
                todo.append(child)
    return found


def alive(process):
    with contextlib.suppress(OSError, IndexError):
        fields = pathlib.Path(f"/proc/{process[0]}/stat").read_text().rpartition(")")[2].split()
        return int(fields[19]) == process[1] and fields[0] not in "ZX"
    return False


def all_gone(site, names):
    def check():
        return not harness.descendants() and not harness.cgroups_of_ours()

    assert harness.until(check, 1), \
        [harness.describe(p) for p in harness.descendants()] + sorted(harness.cgroups_of_ours())
    # The place of all sessions' temporary files may stay, empty.
    left = {n for n in harness.names(site.path) - names
            if not n.startswith(("ws/f", "state")) and n != "run/immure"}
    assert left == set()


def launch(site, *more):
    flags = ["--memory", "512M", "--processes", "100"] if site.mode.name == "root" else []
    return site.spawn(site.immure, "run", *flags, *more, "--deny", site.deny, "--", "/bin/sh", "-c",
                      SCRIPT, start_new_session=True, env={"TMPDIR": str(site.run_dir)})


@pytest.mark.modes("root", "user")
@pytest.mark.parametrize("backend", [[], harness.BARE], ids=["native", "landlock"])
def test_supervisor_killed_at_random_points(site, backend):
    print("seed", SEED)
    rng = random.Random(SEED)
    mounts = harness.host_state(site.path.parent)["mounts"]
    names = harness.names(site.path)
    for point in range(POINTS):
        # Half of them while it is set up (a few ms), half while it runs.
        delay = rng.uniform(0, 0.012) if point % 2 else rng.uniform(0, 0.12)
        process = launch(site, *backend)
        time.sleep(delay)
        below = descendants_of(process.pid)
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
        assert harness.until(lambda b=below: not any(alive(p) for p in b), 1), \
            f"seed {SEED} point {point} delay {delay}: {[harness.describe(p[0]) for p in below]}"
        all_gone(site, names)
    assert harness.host_state(site.path.parent)["mounts"] == mounts


@pytest.mark.modes("root", "user")
def test_init_killed(site):
    """Somebody outside kills pid 1: the supervisor says so and leaves nothing."""
    names = harness.names(site.path)
    process = site.spawn(site.immure, "run", "--", "/bin/sh", "-c", "echo ready; exec sleep 60")
    assert process.stdout.readline() == b"ready\n"
    inner = [p for p in descendants_of(process.pid) if nspid(p[0]) == 1]
    assert len(inner) == 1, inner
    os.kill(inner[0][0], signal.SIGKILL)
    out, err = process.communicate(timeout=10)
    assert process.returncode != 0, (out, err)
    all_gone(site, names)


def nspid(pid):
    with contextlib.suppress(OSError):
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("NSpid:"):
                return int(line.split()[-1])
    return None


@pytest.mark.modes("root", "user")
def test_network_namespace_is_gone(site):
    process = site.spawn(site.immure, "run", "--", "/bin/sh", "-c",
                         "readlink /proc/self/ns/net; exec sleep 60")
    name = process.stdout.readline().decode().strip()
    assert name.startswith("net:[") and name != os.readlink("/proc/self/ns/net")
    process.kill()
    process.wait()
    process.stdout.close()
    process.stderr.close()
    assert harness.until(lambda: name not in network_namespaces(), 1)


@pytest.mark.modes("root", "user")
def test_everything_killed_and_the_tree_is_as_before(site):
    (site.ws / ".git/hooks").mkdir(parents=True)
    site.own(site.ws)
    before = harness.tree_hash(site.path)
    process = site.spawn(site.immure, "run", "--deny", site.deny, "--protect", "later", "--", "/bin/sh",
                         "-c", "echo ready; exec sleep 60")
    assert process.stdout.readline() == b"ready\n"
    for pid, _ in descendants_of(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.kill()
    process.wait()
    process.stdout.close()
    process.stderr.close()
    assert harness.until(lambda: not harness.descendants() and not harness.cgroups_of_ours(), 1)
    assert harness.tree_hash(site.path) == before


@pytest.mark.modes("root", "user")
def test_parent_shell_killed(site):
    """The CLI's own parent dies: the command goes on or ends with it, and can be ended."""
    process = site.spawn("/bin/sh", "-c", '"$0" run -- /bin/sh -c "echo ready; exec sleep 60"; :',
                         site.immure, start_new_session=True)
    assert process.stdout.readline() == b"ready\n"
    below = descendants_of(process.pid)
    process.kill()
    process.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    process.stdout.close()
    process.stderr.close()
    assert harness.until(lambda: not any(alive(p) for p in below), 5)


@pytest.mark.modes("root", "user")
def test_supervisor_stopped_does_not_unlock(site):
    """SIGSTOP to the supervisor: the command stays confined, and dies with it."""
    process = site.spawn(site.immure, "run", "--deny", site.deny, "--", "/bin/sh", "-c",
                         f"echo ready; sleep 0.2; cat {site.deny}/secret; echo end", stdout=-1)
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGSTOP)
    assert process.stdout.readline() == b"end\n"
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=10)
    assert process.returncode == 0
