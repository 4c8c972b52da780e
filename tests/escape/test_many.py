# SPDX-License-Identifier: Apache-2.0
"""Attacks in a session that was made with others after one mould, and what two of those
can find of each other. With IMMURE_TEST_LONG=1 every attack of the table."""

import contextlib
import fcntl
import json
import os

import pytest

import harness
import test_escape
from test_escape import ATTACKS, BY_NAME, act, judge, modes_of, outside, prepared
from test_zygote import LEAVES, LOOKS

COUNT = 8  # fewer are made one by one
NS_GET_USERNS = 0xB701
MINE = ("root", "user") if os.geteuid() == 0 else ("caller",)
# Those that aim at what is shared here, or is owned by somebody else, than in other sessions.
FEW = ["path.open-masked", "path.open-wsmasked", "path.chmod-readonly", "path.rename_exchange-wsmasked",
       "umount_mask", "remount_rw", "mount_tmpfs", "chroot_walk", "mknod_char", "process.attach-init",
       "process.mem-init", "process.find", "abstract", "sysv_shm", "request_key", "kernel.unshare_user",
       "kernel.clone3_newuser", "capset", "any_capability", "open_write:/proc/sysrq-trigger", "descriptors", "cwd"]
# Bombs leave daemons, which in a session live on: what bounds them is the same there.
TRIED = [a for a in ATTACKS if not a.name.startswith("bomb_")] if os.environ.get("IMMURE_TEST_LONG") else [BY_NAME[name] for name in FEW]
PAIRS = [pytest.param(mode, attack, id=f"{attack.name}-{mode}")
         for mode in MINE for attack in TRIED if mode in modes_of(attack)]
if os.geteuid() != 0:  # not those that need root outside
    PAIRS = [pair for pair in PAIRS if "user" in (pair.values[1].modes or ("user",))]


@contextlib.contextmanager
def many(site, *flags, **kw):
    """Their ids; the refusal when there are none."""
    made = site.call(site.immure, "create", "--json", "--count", str(COUNT), *flags, **kw)
    if made.code != 0:
        yield made
        return
    ids = [row["session"] for row in json.loads(made.out)]
    try:
        yield ids
    finally:
        assert site.call(site.immure, "rm", "--force", *ids).code == 0


def owner(pid, kind):
    with open(f"/proc/{pid}/ns/{kind}") as f:
        fd = fcntl.ioctl(f, NS_GET_USERNS)
    try:
        return os.fstat(fd).st_ino
    finally:
        os.close(fd)


def denied_in_one(attack, site):
    harness.keep_facts(site)
    with prepared(attack, site) as (words, how):
        before = outside(site)
        with many(site, *words.fill(attack.flags), env=how["_env"], cwd=how["_cwd"]) as ids:
            if isinstance(ids, harness.Result):
                result = ids
            else:
                result = test_escape.start(site, how, [site.immure, "exec", ids[3], "--",
                                                       *act(attack, site, words, "sandbox")])
        after = outside(site)
    assert result.code != 0 and not result.out.startswith(b"done"), f"ESCAPE: {result}"
    assert before == after, f"changed outside: {[k for k in before if before[k] != after[k]]}"
    return result


@pytest.mark.parametrize("mode,attack", PAIRS, indirect=["mode"])
def test_denied_in_one_of_many(attack, site):
    weak = attack.weak.get({"caller": "user"}.get(site.mode.name, site.mode.name))
    if weak:
        with pytest.raises(AssertionError, match="ESCAPE"):
            denied_in_one(attack, site)
        pytest.xfail(weak)
    judge(attack, denied_in_one(attack, site), site.mode.name)


@pytest.mark.modes("root", "user")
def test_two_of_many_find_nothing_of_each_other(site):
    with many(site) as ids:
        first = site.spawn(site.immure, "exec", ids[0], "--", "/usr/bin/python3", "-c", LEAVES)
        try:
            spaces = first.stdout.readline().decode().split()
            terminal = first.stdout.readline().decode().strip()
            assert terminal.startswith("/dev/pts/"), first.communicate(timeout=20)
            second = site.call(site.immure, "exec", ids[1], "--", "/usr/bin/python3", "-c", LOOKS, terminal)
        finally:
            first.kill()
            first.communicate(timeout=20)
    assert second.code == 0, second
    others, found = second.text.splitlines()
    assert found == "[]", found
    shared = set(spaces) & set(others.split())
    assert {s.split(":")[0] for s in shared} <= {"time", "time_for_children"}, shared


@pytest.mark.modes("root")
def test_a_session_of_many_owns_nothing(site):
    """Its user namespace is its own, and what it lives in is owned by another, in which nobody is."""
    with many(site) as ids:
        inits = [json.loads(site.call(site.immure, "inspect", "--json", i).out)["init_pid"] for i in ids]
        own = {os.stat(f"/proc/{pid}/ns/user").st_ino for pid in inits}
        assert len(own) == COUNT
        owners = {owner(pid, kind) for pid in inits for kind in ("mnt", "pid", "net", "ipc", "uts")}
        assert len(owners) == 1 and not owners & own
        everybody = set()
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                everybody.add(os.stat(f"/proc/{pid}/ns/user").st_ino)
        assert own <= everybody and not owners & everybody


@pytest.mark.modes("root", "user")
@pytest.mark.parametrize("profile", ["dev", "strict"])
def test_each_of_many_is_proven(site, profile):
    with many(site, "--prove", "--profile", profile) as ids:
        held = {json.loads(site.call(site.immure, "inspect", "--json", i).out)["proven"] for i in ids}
    alone = json.loads(site.call(site.immure, "create", "--prove", "--json", "--profile", profile).out)
    assert site.call(site.immure, "rm", "--force", alone["session"]).code == 0
    assert held == {alone["proof"]["held"]} and alone["proof"]["fell_short"] == 0
