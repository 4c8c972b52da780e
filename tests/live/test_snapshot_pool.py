# SPDX-License-Identifier: Apache-2.0
"""Pools whose sessions begin with the files of a snapshot: each is what it is resumed as, and nothing more."""

import contextlib
import json
import os

import pytest

import harness
from sessions import Session
from test_snapshots import snap, snapshot, store

pytestmark = pytest.mark.modes("root", "user", "nocgroup")
A, B = "a.example.com:443", "b.example.com:443"


@contextlib.contextmanager
def pool(site, *flags, size=2):
    name = f"snap{os.getpid()}"
    done = site.call(site.immure, "pool", "start", "--name", name, "--size", str(size), *flags)
    assert done.code == 0, done
    try:
        yield name
    finally:
        assert site.call(site.immure, "pool", "stop", "--force", name).code == 0
        assert harness.until(lambda: site.call(site.immure, "pool", "stats", name).code != 0, 10)


def stats(site, name):
    return json.loads(site.call(site.immure, "pool", "stats", "--json", name).out)


def rules(site, name):
    """Of those that answer; one that was used may be about to end."""
    for row in json.loads(site.call(site.immure, "ps", "--json").out):
        if row.get("labels", {}).get("pool") != name:
            continue
        done = site.call(site.immure, "net", "show", "--json", row["session"])
        if done.code == 0:
            network = json.loads(done.out)["network"]
            yield network["allow"], network["deny"]


def run(site, name, script):
    return site.call(site.immure, "run", "--pool", name, "--pool-wait", "10s", "--", "/bin/sh", "-c", script)


def test_each_begins_with_the_files(site):
    with Session(site) as s:
        assert s.sh("mkdir -p /tmp/d; echo base > /tmp/d/f; chmod 640 /tmp/d/f").code == 0
        one = snapshot(site, s, "--name", "warm")
    with pool(site, "--snapshot", "warm") as name:
        assert stats(site, name)["snapshot"] == one["id"] and stats(site, name)["idle"] == 2
        for _ in range(4):  # more than wait: those that are made later are the same
            done = run(site, name, "cat /tmp/d/f; stat -c %a /tmp/d/f; echo more >> /tmp/d/f; ls /tmp")
            assert done.text == "base\n640\nd\n", done
        assert snap(site, "rm", "warm").code == 0  # the holder has it open
        assert run(site, name, "cat /tmp/d/f").text == "base\n"
    assert not list(store(site).glob("[!l]*"))


def test_what_was_taken_from_the_first_is_taken_from_all(site):
    flags = ["--set", "network.mode=limited", "--set", "network.allow=" + A, "--set", "+network.allow=" + B]
    with Session(site, *flags) as s:
        assert s.sh("mkdir /tmp/t; echo secret > /tmp/t/s; echo base > /tmp/f").code == 0
        assert site.call(site.immure, "tighten", "deny", s.id, "/tmp/t/s").code == 0
        assert site.call(site.immure, "net", "deny", s.id, B).code == 0
        snapshot(site, s, "--name", "less")
    with pool(site, "--snapshot", "less", size=1) as name:
        for _ in range(3):
            done = run(site, name, "cat /tmp/f; cat /tmp/t/s")
            assert done.text == "base\n" and done.code != 0, done
        seen = []
        assert harness.until(lambda: seen.extend(rules(site, name)) or len(seen) >= 2, 10)
        assert all(each == ([A], [B]) for each in seen), seen
    wide = site.call(site.immure, "pool", "start", "--name", "wide", "--snapshot", "less", "--set", "network.mode=host")
    assert wide.code == 125 and "had rules for its network" in wide.errors, wide
    with pool(site, "--snapshot", "less", "--deny", str(site.priv), size=1) as name:  # flags are on top
        assert run(site, name, f"cat {site.priv}/public.txt").code != 0
        assert run(site, name, "cat /tmp/f").text == "base\n"
    assert snap(site, "rm", "less").code == 0


def test_what_cannot_be_is_refused(site):
    with Session(site, "--disk", "8M") as s:
        assert s.sh("head -c 5M /dev/zero | tr '\\0' x > /tmp/f").code == 0
        one = snapshot(site, s, "--name", "five")
    for flags, why in [(["--reuse"], "uses each once"), (["--mode", "zygote"], "uses each once"),
                       (["--disk", "2M"], "No space left"), (["--set", "files.tmp=/var/tmp"], "no such place")]:
        done = site.call(site.immure, "pool", "start", "--name", "no", "--snapshot", "five", *flags)
        assert done.code == 125 and why in done.errors and done.errors.count("\n") == 1, (flags, done)
    none = site.call(site.immure, "pool", "start", "--name", "no", "--snapshot", "nosuch")
    assert none.code == 125 and "no such snapshot" in none.errors
    files = store(site) / one["id"] / "files"
    files.write_bytes(files.read_bytes()[:-1])
    hurt = site.call(site.immure, "pool", "start", "--name", "no", "--snapshot", "five")
    assert hurt.code == 125 and "invalid_snapshot" in hurt.errors
    assert site.call(site.immure, "pool", "stats", "no").code == 125
    assert snap(site, "rm", "five").code == 0
