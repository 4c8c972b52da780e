# SPDX-License-Identifier: Apache-2.0
"""kill -9 at every call by which an apply changes something: afterwards it can be finished, or
undone, and nothing of ours is left in the tree. The same for calls that fail."""

import json
import os
import shutil
import stat
import time

import pytest

CALLS = "mkdirat,renameat,renameat2,rename,linkat,symlinkat,unlinkat,fchmod,fsync,fdatasync,ftruncate"

WORK = """
echo c > mine; mkdir -p new/deep; echo n > new/deep/f; ln -s mine ln; rm -r sub/gone; rm turned; mkdir turned
echo t > turned/in; chmod 700 sub/keep; rm plain
"""


def tree(path):
    found = {}
    for top, dirs, files in os.walk(path):
        for name in dirs + files:
            full = os.path.join(top, name)
            st = os.lstat(full)
            found[os.path.relpath(full, path)] = (
                st.st_mode, os.readlink(full) if stat.S_ISLNK(st.st_mode) else
                open(full, "rb").read() if stat.S_ISREG(st.st_mode) else "")
    return found


def prepare(site):
    site.rebuild()
    site.put("sub/gone/deep/x", "x")
    site.put("sub/keep", "k", 0o644)
    site.put("turned", "t")
    site.put("plain", "p")
    time.sleep(0.02)
    assert site.sh(WORK, flags=["--cow", "-q"]).code == 0


def apply(site, *more, inject=None):
    traced = ["strace", "-qq", "-o", os.devnull, "-e", f"trace={CALLS}", "-e", f"inject={inject}"] if inject else []
    return site.call(*traced, site.immure.parent / "immure-full", "apply", *more)


def calls_of(site):
    log = site.path / "trace"
    done = site.call("strace", "-qq", "-o", log, "-e", f"trace={CALLS}", site.immure.parent / "immure-full", "apply")
    assert done.code == 0, done
    names = [line.split("(")[0] for line in log.read_text().splitlines() if "(" in line]
    return {name: names.count(name) for name in names}


def torn(site):
    listed = json.loads(site.call(site.immure, "diff", "--list", "--json").out)
    return listed[0]["torn"] if listed else None


@pytest.fixture(scope="module")
def strace():
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")


def test_killed(site, strace):
    """Finished after every second one, undone after the others; for root the other way round than for a user."""
    prepare(site)
    before = tree(site.ws)
    calls = calls_of(site)
    after = tree(site.ws)
    assert before != after and calls["renameat"] >= 2 and calls["mkdirat"] >= 3
    reached, turn = set(), site.mode.name == "root"
    for name, count in calls.items():
        for when in range(1, count + 1):
            turn = not turn
            prepare(site)
            done = apply(site, inject=f"{name}:signal=KILL:when={when}")
            assert done.code != 0, (name, when)
            now = tree(site.ws)
            mess = [n for n in now if n.startswith(".immure-apply")]
            state = torn(site)
            reached.add((state, bool(mess)))
            if state is None:  # it was on its way out
                assert {k: v for k, v in now.items() if k not in mess} == after, (name, when)
                continue
            if turn:
                again = apply(site, "--undo")
                assert again.code == 0, (name, when, again)
                assert tree(site.ws) in (before, after), (name, when)
            again = apply(site)
            assert again.code == 0 or torn(site) is None, (name, when, again)
            assert tree(site.ws) == after, (name, when)
    assert (True, True) in reached


def test_failing_calls(site, strace):
    """What fails half-way is undone at once."""
    prepare(site)
    before = tree(site.ws)
    calls = calls_of(site)
    after = tree(site.ws)
    for name, count in calls.items():
        for when in range(1, count + 1):
            prepare(site)
            done = apply(site, inject=f"{name}:error=ENOSPC:when={when}")
            now = tree(site.ws)
            if done.code != 0 and now not in (before, after):
                assert torn(site), (name, when, done)  # said, and to be recovered
                assert apply(site, "--undo").code == 0, (name, when)
                assert tree(site.ws) in (before, after), (name, when)
            assert apply(site).code == 0 or tree(site.ws) == after, (name, when)
            assert tree(site.ws) == after, (name, when, done)


def test_torn_is_not_discarded(site, strace):
    prepare(site)
    assert apply(site, inject="renameat:signal=KILL:when=3").code != 0
    assert torn(site)
    kept = json.loads(site.call(site.immure, "diff", "--list", "--json").out)[0]["id"]
    refused = site.call(site.immure, "discard", kept)
    assert refused.code == 125 and "interrupted" in refused.errors
    assert "an apply was interrupted" in site.call(site.immure, "gc").text
    assert apply(site, "--undo").code == 0
    assert site.call(site.immure, "discard", kept).code == 0


def rewrite(path):
    path.write_text("somebody's\n")


def take_away(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("way", ["--undo", None])
@pytest.mark.parametrize("change", [rewrite, take_away])
def test_what_somebody_changed_since_is_not_touched(site, strace, way, change):
    """Neither by taking the apply back nor by finishing it; and that is no dead end."""
    prepare(site)
    before = tree(site.ws)
    renames = calls_of(site)["renameat"]
    prepare(site)
    assert apply(site, inject=f"renameat:signal=KILL:when={renames}").code != 0
    landed = [n for n in ("new/deep/f", "turned/in") if (site.ws / n).exists()]
    assert landed and torn(site)
    for name in landed:
        change(site.ws / name)
    done = apply(site, *([way] if way else []))
    if way:
        assert done.code != 0 and landed[0] in done.errors or landed[-1] in done.errors, done
        assert torn(site)
        done = apply(site, "--abandon")
        assert done.code == 0 and torn(site) is False, done
    for name in landed:
        assert (site.ws / name).is_dir() or (site.ws / name).read_text() == "somebody's\n"
    now = tree(site.ws)
    assert not [n for n in now if n.startswith(".immure-apply")]
    if not way:
        return
    # What was there before is there still, at its place or beside it.
    kept = json.loads(site.call(site.immure, "diff", "--list", "--json").out)[0]["id"]
    for name, (mode, content) in before.items():
        beside = now.get(f"{name}.before-apply-{kept}")
        if now.get(name) != (mode, content):
            assert beside == (mode, content) or name == "turned" and beside, (name, now.get(name), beside)
    assert site.call(site.immure, "discard", kept).code == 0


def test_a_place_that_is_gone(site, strace):
    """The directory of what was removed is gone as well: it comes to lie at the top."""
    site.rebuild()
    site.put("a/b/precious", "p")
    site.put("a/other", "o")
    time.sleep(0.02)
    assert site.sh("rm a/b/precious; echo x > zz; chmod 700 a/other", flags=["--cow", "-q"]).code == 0
    assert apply(site, inject="fchmod:signal=KILL:when=2").code != 0 and torn(site)
    shutil.rmtree(site.ws / "a")
    assert apply(site, "--undo").code != 0 and torn(site)
    done = apply(site, "--abandon", "--json")
    assert done.code == 0, done
    (beside,) = json.loads(done.out)["beside"]
    assert (site.ws / beside).read_text() == "p" and beside.startswith("precious.before-apply-")
