# SPDX-License-Identifier: Apache-2.0
"""What a session made from a snapshot may do: never more than the one before it could at the end, and less
where whoever resumes it says so. And what is kept: no value of a secret."""

import json
import os

import pytest

import harness
from sessions import Session
from test_snapshots import Clone, resumed, snap, snapshot, store

pytestmark = pytest.mark.modes("root", "user")
A, B, C, D = (f"{name}.example.com:443" for name in "abcd")


def limited(*rules):
    flags = ["--set", "network.mode=limited"]
    for rule in rules:
        flags += ["--set", "+network.allow=" + rule]
    return flags


def rules(session):
    shown = json.loads(session.site.call(session.site.immure, "net", "show", "--json", session.id).out)
    network = shown.get("network") or {}
    return shown["mode"], sorted(network.get("allow", [])), sorted(network.get("deny", []))


def change(session, verb, rule):
    done = session.site.call(session.site.immure, "net", verb, session.id, rule)
    assert done.code == 0, done


@pytest.fixture
def taken(site):
    """A session that could reach A and B; B was taken from it, C given to it beyond its policy."""
    with Session(site, *limited(A, B)) as s:
        change(s, "deny", B)
        change(s, "allow", C)
        assert rules(s) == ("limited", sorted([A, C]), [B])
        about = snapshot(site, s, "--name", "net")["about"]
        assert about["network"] == {"allow": [C, A], "deny": [B]}
        yield s
    assert snap(site, "rm", "net").code == 0


def test_the_network_is_what_both_allow(site, taken):
    with resumed(site, "net") as r:
        assert rules(r) == ("limited", [A], [B])
    with resumed(site, "net", "--set", "network.allow=" + A) as r:
        assert rules(r) == ("limited", [A], [B])
    with resumed(site, "net", "--set", "+network.allow=" + A) as r:
        assert rules(r) == ("limited", [A], [B])
    with resumed(site, "net", "--set", "+network.allow=" + C) as r:
        assert rules(r) == ("limited", [A, C], [B])
    for more in (["--set", "network.allow=" + B], ["--set", "network.allow=" + D], ["--set", "+network.allow=" + D], ["--allow", D]):
        done = site.call(site.immure, "resume", *more, "net")  # B was taken away, so it stays away
        assert done.code == 125 and "not allowed in the snapshot's session" in done.errors, done
    with resumed(site, "net", "--set", "+network.deny=" + A) as r:
        assert rules(r) == ("limited", [A], [A, B])
    with resumed(site, "net", "--set", "network.mode=none") as r:
        assert rules(r) == ("none", [], [])
    done = site.call(site.immure, "fork", "--json", taken.id)
    assert done.code == 0, done
    with Clone(site, json.loads(done.out)["session"]) as r:
        assert rules(r) == ("limited", [A], [B])


def test_a_network_without_rules_takes_a_policy_that_says_so(site, taken):
    before = set(harness.descendants())
    wide = site.call(site.immure, "resume", "--set", "network.mode=host", "net")
    assert wide.code == 125 and "had rules for its network" in wide.errors, wide
    assert harness.until(lambda: set(harness.descendants()) <= before, 10), "a session is there all the same"


def test_another_policy_is_the_one_in_force(site, taken):
    (site.out / "tight.json").write_text(json.dumps({"extends": "dev", "network": {"mode": "none"}}))
    (site.out / "other.json").write_text(json.dumps({"extends": "dev", "network": {"mode": "limited", "allow": [C]}}))
    site.own(site.out)
    with resumed(site, "net", "--policy", str(site.out / "tight.json")) as r:
        assert rules(r) == ("none", [], [])
    with resumed(site, "net", "--policy", str(site.out / "other.json")) as r:
        assert rules(r) == ("limited", [C], [])


def test_a_workspaces_own_file_is_part_of_the_policy_for_good(site):
    """It took away from the first session, so it does from each that comes of it, whatever is in the
    workspace then; what it says later counts where policies are made, not here."""
    site.put(".immure/policy.json", json.dumps({"network": {"mode": "none"}, "files": {"+deny": [str(site.priv)]}}))
    site.own(site.ws)
    with Session(site) as s:
        assert rules(s)[0] == "none" and s.sh(f"cat {site.priv}/public.txt").code != 0
        snapshot(site, s, "--name", "own")
        harness.remove_tree(site.ws / ".immure")
        with resumed(site, "own") as r:
            assert rules(r)[0] == "none" and r.sh(f"cat {site.priv}/public.txt").code != 0
        # Nor does one that asks for more give anything.
        site.put(".immure/policy.json", json.dumps({"network": {"mode": "host"}}))
        with resumed(site, "own") as r:
            assert rules(r)[0] == "none" and r.sh(f"cat {site.priv}/public.txt").code != 0
    assert snap(site, "rm", "own").code == 0


def kept(site):
    """Every byte below the state directory."""
    for path in (site.path / "state").rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path, path.read_bytes()


def test_no_value_of_a_secret_is_kept(site):
    """Nor of the caller's environment, nor what a command asked the network for."""
    canary = "c" + os.urandom(12).hex()
    (site.out / "key").write_text(canary + "-file\n")
    (site.out / "key").chmod(0o600)
    (site.out / "p.json").write_text(json.dumps({
        "extends": "dev", "network": {"mode": "limited", "allow": [A]}, "environment": {"pass": ["LENT"]},
        "secrets": {"one": {"from": f"file:{site.out}/key", "to": ["a.example.com"], "as": "header:X-Key"}}}))
    site.own(site.out)
    env = {"LENT": canary + "-lent", "OTHER": canary + "-other"}
    with Session(site, "--policy", str(site.out / "p.json"), env=env) as s:
        assert s.sh("echo $LENT").text.strip() == canary + "-lent"  # it is there, to be found
        s.sh(f"getent hosts {canary}.example.com")
        assert canary in site.call(site.immure, "net", "show", "--json", s.id).text
        about = snapshot(site, s, "--name", "canary")["about"]
        assert "secrets" in about["excludes"] and any(str(site.out / "key") in v for v in about["policy"])
        files = list(kept(site))
        assert {path.name for path, _ in files} >= {"meta", "files"}
        for path, data in files:
            assert canary.encode() not in data, path
        with resumed(site, "canary") as r:  # which has the secret, from where it is
            assert canary not in r.sh("env").text and rules(r)[0] == "limited"
        (site.out / "key").unlink()
        gone = site.call(site.immure, "resume", "canary")
        assert gone.code == 125 and "secret one" in gone.errors, gone
    assert snap(site, "rm", "canary").code == 0
