# SPDX-License-Identifier: Apache-2.0
"""run --cleanup: what a command leaves goes always, on success only, or when told."""

import json
import re

import pytest

import harness
from sessions import mark, of_policy

pytestmark = pytest.mark.modes("root", "user")


def kept(result):
    return re.search(r"kept for inspection: immure exec (\S+)", result.errors).group(1)


@pytest.mark.modes("root")
def test_what_is_left_would_be_found(site, base):
    """The fixture that looks after each module sees a session that was made from a site,
    and none that only speaks of one, as those do that hide a site's sockets."""
    def registered(place):
        return {name for name in harness.host_state(place)["files"] if made in name}

    made = json.loads(site.call(site.immure, "create", "--json", "--deny", site.deny / "secret").out)["session"]
    try:
        assert registered(base) == {f"/run/immure/sessions/{made}"}
        assert not registered(site.deny)
    finally:
        assert site.call(site.immure, "rm", "--force", made).code == 0
    assert not registered(base)


def test_success_leaves_nothing(site):
    result = site.sh("echo out; pwd", flags=["--cleanup", "on-success", *mark(site)], input=b"")
    assert (result.code, result.errors) == (0, "") and result.text == f"out\n{site.ws}\n"
    assert harness.until(lambda: of_policy(site, *mark(site)) == [], 10)


def test_failure_can_be_looked_at(site):
    flags = ["--deny", site.deny, *mark(site)]
    result = site.sh("echo broken > /tmp/core; exit 3", flags=["--cleanup", "on-success", *flags])
    assert result.code == 3
    session = kept(result)
    assert of_policy(site, *flags) == [session]
    done = site.call(site.immure, "exec", session, "--", "/bin/sh", "-c", f"cat /tmp/core {site.deny}/secret")
    assert done.out == b"broken\n" and "Permission denied" in done.errors  # sealed in as before
    assert site.call(site.immure, "stop", "--rm", session).code == 0
    assert of_policy(site, *flags) == []


def test_host_keeps_it_in_any_case(site):
    result = site.sh("echo x > /tmp/x", flags=["--cleanup", "host"])
    assert result.code == 0
    assert site.call(site.immure, "cat", kept(result), "/tmp/x").out == b"x\n"
    assert site.call(site.immure, "stop", "--force", "--rm", kept(result)).code == 0


def test_always_is_the_default(site):
    for flags in [], ["--cleanup", "always"]:
        result = site.sh("exit 3", flags=[*flags, *mark(site)])
        assert (result.code, result.errors) == (3, "") and of_policy(site, *mark(site)) == []


def test_what_does_not_go_together(site):
    for flags in ["--result", site.path / "r"], ["--prove"], ["--trace-time"]:
        result = site.sh("true", flags=["--cleanup", "host", *flags])
        assert result.code == 125 and result.errors.count("\n") == 1
    assert site.run("/bin/true", flags=["--cleanup", "never"]).code == 125
    result = site.run("no-such-program", flags=["--cleanup", "on-success"])
    assert result.code == 127
    assert site.call(site.immure, "stop", "--force", "--rm", kept(result)).code == 0
