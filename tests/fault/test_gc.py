# SPDX-License-Identifier: Apache-2.0
"""What a killed run leaves when everything that would have cleaned up after it is
killed as well, and `immure gc` after it."""

import contextlib
import json
import os
import pathlib
import time

import pytest

import harness
from test_kills import descendants_of

BARE = list(harness.BARE)


def gc(site, *flags):
    r = site.call(site.immure, "gc", "--json", *flags)
    assert r.code in (0, 1), r
    report = json.loads(r.out)
    assert report["complete"] and (r.code == 1) == (report["failed"] > 0), report
    return report


def of_kind(report, kind):
    """Root's gc finds what others left on this machine, too."""
    ours = harness.OWN_CGROUP if kind == "cgroup" else ""
    return [r for r in report["resources"] if r["kind"] == kind and ours in r["what"]]


def start(site, script, *flags):
    process = site.spawn(site.immure, "run", *flags, "--", "/bin/sh", "-c", f"{script}; echo ready; exec sleep 60")
    assert process.stdout.readline() == b"ready\n", process.communicate()
    return process


def end(process):
    process.wait()
    process.stdout.close()
    process.stderr.close()


def kill_all(process):
    """The supervisor, the janitor, init and the command, so fast that none of them acts."""
    harness.stop_and_kill([process.pid] + [p for p, _ in descendants_of(process.pid)])
    end(process)


@pytest.mark.modes("root", "user")
def test_nothing_to_do(site):
    before = harness.tree_hash(site.path)
    assert not of_kind(gc(site), "cgroup")
    assert not of_kind(gc(site, "--dry-run"), "cgroup")
    assert harness.tree_hash(site.path) == before


@pytest.mark.modes("root")
def test_leaf_cgroup_of_a_run(site):
    process = start(site, ":", "--memory", "64M")
    leaves = harness.cgroups_of_ours()
    assert leaves
    assert not of_kind(gc(site), "cgroup")      # in use
    assert harness.cgroups_of_ours() == leaves
    kill_all(process)
    assert harness.until(lambda: not harness.descendants(), 1)
    assert harness.cgroups_of_ours() == leaves  # nobody was left to remove it
    assert [r["fate"] for r in of_kind(gc(site), "cgroup")] == ["kept"] * len(leaves)
    time.sleep(2)
    found = of_kind(gc(site, "--dry-run"), "cgroup")
    assert {r["what"] for r in found} == set(map(str, leaves)) and harness.cgroups_of_ours() == leaves
    found = of_kind(gc(site), "cgroup")
    assert {r["what"] for r in found} == set(map(str, leaves))
    assert {r["fate"] for r in found} == {"removed"}, found
    assert not harness.cgroups_of_ours()
    assert not of_kind(gc(site), "cgroup")


@pytest.mark.modes("root")
def test_new_files_are_put_aside_when_the_supervisor_was_killed(site):
    process = start(site, "mkdir -p sub/.vscode; echo '{}' > sub/.vscode/tasks.json", "--memory", "64M")
    process.kill()
    end(process)
    new = site.ws / "sub/.vscode/tasks.json"
    assert harness.until(lambda: not new.exists() and not harness.descendants(), 5)
    told = of_kind(gc(site), "file")
    assert [r["what"] for r in told] == [str(new)]
    aside = told[0]["why"].rpartition(": ")[2]
    assert pathlib.Path(aside).read_text() == "{}\n"
    assert of_kind(gc(site), "file") == []      # told once


@pytest.mark.modes("root", "user")
def test_run_without_namespaces(site):
    """No pid namespace to die with init: gc knows what is left by its directory."""
    if site.call(site.immure, "run", *BARE, "--", "/bin/true").code:
        pytest.skip("the backend landlock refuses here")
    process = start(site, "(trap '' TERM HUP INT; while :; do sleep 1; done) & :", *BARE)
    innocent = site.spawn("/bin/sleep", "60")
    everybody = [p for p, _ in descendants_of(process.pid)]
    assert everybody
    # All but the command: what is outside of the sandbox.
    harness.stop_and_kill([process.pid] + [p for p in everybody if not confined(p)])
    end(process)
    report = gc(site)
    assert report["failed"] == 0
    assert harness.until(lambda: set(harness.descendants()) <= {innocent.pid}, 2), \
        [harness.describe(p) for p in harness.descendants()]
    assert innocent.poll() is None
    innocent.kill()
    innocent.communicate()
    tmp = (pathlib.Path("/run/immure") if site.mode.name == "root" else site.run_dir / "immure") / "tmp"
    assert not tmp.exists() or not [n for n in os.listdir(tmp) if n.startswith(f"{process.pid}-")]


def confined(pid):
    with contextlib.suppress(OSError):
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
        return "\nSeccomp:\t2\n" in text
    return False


@pytest.mark.modes("user")
def test_runtime_directory_of_others(site):
    place = site.run_dir / "immure"
    place.mkdir(mode=0o755, exist_ok=True)
    place.chmod(0o755)
    site.own(place)
    for argv in (["gc"], ["journal", "x"], ["reclaim", "imt-2aaaaaaaaaaaaaaa-" + "0" * 64]):
        r = site.call(site.immure, *argv)
        assert r.code == 125 and "not a directory of yours alone" in r.errors, r


@pytest.mark.modes("root", "user")
@pytest.mark.parametrize("argv, said", [
    (["journal", "nobody"], "no such session"),
    (["journal", "a b"], "neither the name nor the id"),
    (["journal", "../x"], "No such file"), # a path is a run's
    (["journal"], "expected one session"),
    (["reclaim", "x"], "this is not a ticket"),
    (["reclaim", "imt-2aaaaaaaaaaaaaaa-" + "0" * 64], "not valid"),
    (["reclaim", "--acknowledge", "imt-2aaaaaaaaaaaaaaa-" + "0" * 64], "not valid"),
    (["reclaim"], "expected one ticket"),
    (["gc", "x"], "takes options only"),
])
def test_what_is_not_there(site, argv, said):
    r = site.call(site.immure, *argv)
    assert r.code == 125 and r.errors.count('\n') == 1 and said in r.errors and not r.out, r
