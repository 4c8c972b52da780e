# SPDX-License-Identifier: Apache-2.0
"""Every attack of the table once more, in a sandbox that was made after a template; and
what two commands of one template can find of each other."""

import contextlib
import dataclasses
import json
import os
import signal

import pytest

import harness
import test_escape
from test_escape import ATTACKS, BY_NAME, REFUSED, act, judge, modes_of, outside, prepared

SAYS_SO = "not with a template"


@contextlib.contextmanager
def template(site, *flags, size=1, most=16, **kw):
    """Its name; None when it refuses such a policy."""
    name = f"zygote{os.getpid()}-{os.urandom(3).hex()}"
    made = site.call(site.immure, "pool", "start", "--mode", "zygote", "--name", name, "--size", str(size),
                     "--max", str(most), *flags, **kw)
    if made.code != 0:
        yield made
        return
    try:
        yield name
    finally:
        stopped = site.call(site.immure, "pool", "stop", name)
        assert stopped.code == 0, stopped


def denied_after(attack, site):
    with prepared(attack, site) as (words, how):
        before = outside(site)
        with template(site, *words.fill(attack.flags), env=how["_env"], cwd=how["_cwd"]) as name:
            if isinstance(name, harness.Result):
                result = name
            else:
                argv = [site.immure, "run", "--pool", name, "--", *act(attack, site, words, "sandbox")]
                result = test_escape.start(site, how, argv)
        after = outside(site)
    assert result.code != 0 and not result.out.startswith(b"done"), f"ESCAPE: {result}"
    assert before == after, f"changed outside: {[k for k in before if before[k] != after[k]]}"
    return result


MINE = ("root", "user") if os.geteuid() == 0 else ("caller",)
PAIRS = [pytest.param(mode, attack, id=f"{attack.name}-{mode}")
         for mode in MINE for attack in ATTACKS if mode in modes_of(attack)]
if os.geteuid() != 0:  # not those that need root outside
    PAIRS = [pair for pair in PAIRS if "user" in (pair.values[1].modes or ("user",))]


@pytest.mark.parametrize("mode,attack", PAIRS, indirect=["mode"])
def test_denied_after_a_template(attack, site):
    weak = attack.weak.get({"caller": "user"}.get(site.mode.name, site.mode.name))
    if weak:
        with pytest.raises(AssertionError, match="ESCAPE"):
            denied_after(attack, site)
        pytest.xfail(weak)
    result = denied_after(attack, site)
    if result.code == REFUSED and SAYS_SO in result.errors:
        return  # such a policy has no template, which is an answer
    judge(attack, result, site.mode.name)


@pytest.mark.parametrize("variant", [("--profile", "strict"), ("--profile", "readonly"), ("--identity", "nobody"),
                                     ("--syscalls", "strict"), ("--home", "empty")],
                         ids=lambda v: "-".join(v).replace("--", ""))
@pytest.mark.parametrize("name", [n for n in test_escape.SAMPLE if "runtime" not in n])
def test_denied_in_variant_after_a_template(name, variant, site):
    attack = dataclasses.replace(BY_NAME[name], flags=(*BY_NAME[name].flags, *variant))
    result = denied_after(attack, site)
    if result.code == REFUSED and SAYS_SO in result.errors:
        return
    judge(attack, result, site.mode.name)


# ---- two commands of one template --------------------------------------------

LEAVES = r"""
import ctypes, os, signal, socket, sys, time
libc = ctypes.CDLL(None, use_errno=True)
for place in ("/tmp", "/var/tmp", "/dev/shm"):
    open(place + "/left", "w").write("left")
    s = socket.socket(socket.AF_UNIX); s.bind(place + "/socket"); s.listen(); globals()[place] = s
assert libc.shmget(0x1234, 4096, 0o1666) >= 0, "shmget"
assert libc.msgget(0x1234, 0o1666) >= 0, "msgget"
assert libc.semget(0x1234, 1, 0o1666) >= 0, "semget"
a = socket.socket(socket.AF_UNIX); a.bind("\0left"); a.listen()
t = socket.socket(); t.bind(("127.0.0.1", 7777)); t.listen()
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("127.0.0.1", 7777))
master, slave = os.openpty()
print(" ".join(os.readlink("/proc/self/ns/" + n) for n in sorted(os.listdir("/proc/self/ns"))), flush=True)
print(os.ttyname(slave), flush=True)
signal.pause()
"""

LOOKS = r"""
import ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
found = []
def tries(what, act):
    try:
        if act() is not False:
            found.append(what)
    except OSError:
        pass
for place in ("/tmp", "/var/tmp", "/dev/shm"):
    if os.listdir(place):
        found.append("files in " + place)
    tries("socket in " + place, lambda: socket.socket(socket.AF_UNIX).connect(place + "/socket"))
tries("shm", lambda: libc.shmget(0x1234, 4096, 0o666) >= 0)
tries("msg", lambda: libc.msgget(0x1234, 0o666) >= 0)
tries("sem", lambda: libc.semget(0x1234, 1, 0o666) >= 0)
tries("abstract", lambda: socket.socket(socket.AF_UNIX).connect("\0left"))
tries("tcp", lambda: socket.create_connection(("127.0.0.1", 7777), 2))
tries("pty", lambda: os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY))
if len(open("/proc/net/unix").readlines()) > 1:
    found.append("/proc/net/unix")
if "1E61" in open("/proc/net/tcp").read() + open("/proc/net/udp").read():
    found.append("/proc/net")
if open("/proc/sysvipc/shm").read().count("\n") > 1:
    found.append("/proc/sysvipc")
pids = sorted(int(n) for n in os.listdir("/proc") if n.isdigit())
if pids != [1, 2]:
    found.append("processes %s" % pids)
for pid in range(1, 400):
    if pid != os.getpid():
        tries("signal to %d" % pid, lambda: os.kill(pid, 0) if pid > 2 else False)
tries("memory of pid 1", lambda: open("/proc/1/mem", "rb"))
tries("environment of pid 1", lambda: open("/proc/1/environ", "rb").read(1) or False)
print(" ".join(os.readlink("/proc/self/ns/" + n) for n in sorted(os.listdir("/proc/self/ns"))))
print(found)
"""


def pair(site, name):
    """One command that leaves what it can, and what another finds: (theirs, found)."""
    first = site.spawn(site.immure, "run", "--pool", name, "--", "/usr/bin/python3", "-c", LEAVES)
    try:
        spaces = first.stdout.readline().decode().split()
        terminal = first.stdout.readline().decode().strip()
        assert terminal.startswith("/dev/pts/"), first.communicate(timeout=20)
        second = site.call(site.immure, "run", "--pool", name, "--", "/usr/bin/python3", "-c", LOOKS, terminal)
    finally:
        first.send_signal(signal.SIGTERM)
        first.communicate(timeout=20)
    assert first.returncode == 128 + signal.SIGTERM, first.returncode
    assert second.code == 0, second
    others, found = second.text.splitlines()
    return set(spaces) & set(others.split()), found


@pytest.mark.modes("root", "user")
def test_two_commands_find_nothing_of_each_other(site):
    with template(site, size=2) as name:
        for _ in range(2):  # those made in advance, and those made since
            shared, found = pair(site, name)
            assert found == "[]", found
            # Clocks are the host's for both, as in any run whose policy says nothing of them.
            assert {s.split(":")[0] for s in shared} <= {"time", "time_for_children"}, shared


@pytest.mark.modes("root")
def test_a_session_is_what_would_have_shown_it(site):
    """The control: the same two in one session find each other."""
    made = json.loads(site.call(site.immure, "create", "--json").out)["session"]
    try:
        first = site.spawn(site.immure, "exec", made, "--", "/usr/bin/python3", "-c", LEAVES)
        spaces, terminal = first.stdout.readline().split(), first.stdout.readline().decode().strip()
        second = site.call(site.immure, "exec", made, "--", "/usr/bin/python3", "-c", LOOKS, terminal)
        first.kill()
        first.communicate()
    finally:
        site.call(site.immure, "stop", "--force", "--rm", made)
    others, found = second.text.splitlines()
    assert set(spaces) == {s.encode() for s in others.split()}
    for what in ("files in /tmp", "socket in /dev/shm", "shm", "msg", "sem", "tcp", "pty", "/proc/net/unix",
                 "/proc/sysvipc", "processes", "signal to"):
        assert what in found, (what, found)
