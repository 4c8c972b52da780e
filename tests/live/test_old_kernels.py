# SPDX-License-Identifier: Apache-2.0
"""Calls that older kernels lack, one by one: a run and a session are as sealed without
each as with it, or are refused in one line, before anything of the command runs."""
import json

import pytest

import harness
from test_environments import attempt, backend_of, flags_of, immure, proven, without

pytestmark = pytest.mark.modes("root", "user")

# call: (since which Linux, what auto takes for the policy as it is; None: a refusal)
CALLS = {
    "memfd_create": ("3.17", "native"),
    "seccomp": ("3.17", None),
    "execveat": ("3.19", "native"),
    "statx": ("4.11", "native"),
    "pidfd_send_signal": ("5.1", "native"),
    "open_tree": ("5.2", "bwrap"),
    "move_mount": ("5.2", "bwrap"),
    "fsopen": ("5.2", "bwrap"),
    "fsconfig": ("5.2", "bwrap"),
    "fsmount": ("5.2", "bwrap"),
    "pidfd_open": ("5.3", "native"),
    "clone3": ("5.3", "native"),
    "openat2": ("5.6", None),
    "pidfd_getfd": ("5.6", "native"),
    "faccessat2": ("5.8", "native"),
    "close_range": ("5.9", None),
    "epoll_pwait2": ("5.11", "native"),
    "mount_setattr": ("5.12", "bwrap"),
    "landlock_create_ruleset": ("5.13", None),
    "landlock_add_rule": ("5.13", None),
    "landlock_restrict_self": ("5.13", None),
    "cachestat": ("6.5", "native"),
    "fchmodat2": ("6.6", "native"),
    "statmount": ("6.8", "native"),
    "listmount": ("6.8", "native"),
    "mseal": ("6.10", "native"),
    "open_tree_attr": ("6.15", "native"),
}


def refused(result):
    own = [line for line in result.errors.splitlines() if line.startswith("immure: ")]
    return result.code == 125 and len(own) == 1


@pytest.mark.parametrize("call", CALLS)
def test_a_run(site, call):
    expected = CALLS[call][1]
    record, result = attempt(site, without(call)(site))
    assert backend_of(record) == expected, result
    assert record or refused(result), result
    if call == "landlock_restrict_self":
        assert "immure: Landlock: Function not implemented" in result.errors, result


@pytest.mark.parametrize("call", CALLS)
def test_a_session(site, call):
    expected = CALLS[call][1]
    made = immure(site, without(call)(site), "create", "--name", "old", *flags_of(site))
    try:
        if not expected:
            assert refused(made), made
            return
        assert made.code == 0, made
        assert json.loads(immure(site, [], "inspect", "--json", argv=["old"]).out)["backend"] == expected
        done = immure(site, without(call)(site), "exec", "old", argv=["/bin/sh", "-c", f"cat {site.deny}/secret; echo in"])
        assert done.out == b"in\n", done
    finally:
        immure(site, [], "stop", "--force", "--rm", "old")
    assert harness.SECRET not in made.out


@pytest.mark.parametrize("call", [call for call in CALLS if CALLS[call][1]])
def test_a_proof(site, call):
    result, short = proven(site, without(call)(site))
    if call == "execveat":  # by which init starts the attacker, in memory
        assert short is None and refused(result), result
        return
    assert (result.code, short) == (0, []), result
