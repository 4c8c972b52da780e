# SPDX-License-Identifier: Apache-2.0
"""A directory that cannot be read to its end looks like one that ends early: what is not listed is not
taken for gone. Every call that lists one fails once."""

import json
import os
import re
import shutil

import pytest

CALLS = "getdents64"
MOST = 60  # no command lists more often


@pytest.fixture(scope="module")
def strace():
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")


def count(site, *argv):
    """The most that one process of it lists."""
    log = site.path / "listed"
    assert site.call("strace", "-f", "-qq", "-o", log, "-e", f"trace={CALLS}", *argv).code == 0
    of = re.findall(r"^(\d+) .*getdents64\(", log.read_text(), re.M)
    most = max((of.count(pid) for pid in set(of)), default=0)
    assert 0 < most < MOST, most
    return most


def failing(site, when, *argv):
    return site.call("strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={CALLS}", "-e",
                     f"inject={CALLS}:error=EIO:when={when}", *argv)


def kept(site):
    return json.loads(site.call(site.immure, "diff", "--list", "--json").out)


def forget(site):
    for one in kept(site):
        assert site.call(site.immure, "discard", one["id"]).code == 0


def cow(site):
    return [site.immure, "run", "--cow", "-q", "--", "/bin/sh", "-c", "mkdir d; echo work > d/made; echo ran"]


def test_end_of_a_copied_workspace(site, strace):
    """Work is kept whenever the command ran."""
    n = count(site, *cow(site))
    forget(site)
    for when in range(1, n + 1):
        result = failing(site, when, *cow(site))
        if b"ran" not in result.out:
            assert result.code == 125 and not kept(site), (when, result)
            continue
        (one,) = kept(site)
        done = site.call(site.immure, "apply", one["id"])
        assert done.code == 0 and (site.ws / "d/made").read_text() == "work\n", (when, result, done)
        shutil.rmtree(site.ws / "d")
    assert not (site.ws / "d").exists()


def test_gc(site, strace):
    """What is kept stays kept, whatever of it is not seen."""
    assert site.call(*cow(site)).code == 0
    (before,) = kept(site)
    argv = (site.immure, "gc")
    for when in range(1, count(site, *argv) + 1):
        result = failing(site, when, *argv)
        assert [one["id"] for one in kept(site)] == [before["id"]], (when, result)
    assert site.call(site.immure, "apply", before["id"]).code == 0
    assert (site.ws / "d/made").read_text() == "work\n"


def test_apply(site, strace):
    """All of it, or a refusal and the tree as it was; never a part that is called all."""
    argv = (site.immure.parent / "immure-full", "apply")
    assert site.call(*cow(site)).code == 0
    n = count(site, *argv)
    shutil.rmtree(site.ws / "d")
    for when in range(1, n + 1):
        assert site.call(*cow(site)).code == 0
        result = failing(site, when, *argv)
        made = site.ws / "d/made"
        if result.code == 0:
            assert made.read_text() == "work\n", (when, result)
        else:
            assert not (site.ws / "d").exists() and len(kept(site)) == 1, (when, result)
            assert site.call(*argv).code == 0 and made.read_text() == "work\n", when
        shutil.rmtree(site.ws / "d")
        forget(site)
