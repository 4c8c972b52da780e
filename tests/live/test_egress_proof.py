# SPDX-License-Identifier: Apache-2.0
"""`immure prove` of a limited session: its network points hold, each was tried, and
while they were nothing left but the connection of the control."""

import json

import pytest

from netlab import LIMITED, allow


def prove(net, *flags):
    result = net.call(net.immure, "prove", "--json", *flags)
    assert result.code == 0, result
    proof = json.loads(result.out)
    short = [p for p in proof["points"] if p["verdict"] == "fell_short"]
    assert not short and proof["holds"], short
    return {p["id"]: p for p in proof["points"]}


def held(points, *prefixes):
    return [i for i, p in points.items() if i.startswith(prefixes) and p["verdict"] == "held"]


@pytest.mark.parametrize("profile", ["dev", "strict"])
def test_a_limited_session(net, profile):
    points = prove(net, "--profile", profile, *allow("web.example.net:80", "tls://other.example.net"))
    assert len(held(points, "network_", "ipc.", "control.egress")) >= 30
    for name in ("control.egress-lookup", "control.egress-connect", "network_egress.closed-port",
                 "network_egress.dns-unlisted", "network_egress.proxy", "network_egress.quic",
                 "network_egress.host-address", "network_egress.unknown-address"):
        assert points[name]["verdict"] == "held", points[name]
        assert points[name]["mechanism"] and points[name]["observed"]
    assert "network.allow" in points["control.egress-connect"]["asked"]
    # The control's, if it got that far; a TLS rule waits for a hello that never comes.
    net.lab.seen().only("web.example.net:80", "other.example.net:443")


def test_without_a_rule(net):
    points = prove(net, *LIMITED)
    assert points["control.egress-connect"]["verdict"] == "not_applicable"
    assert points["network_egress.dns-unlisted"]["verdict"] == "held"
    assert len(held(points, "network_")) >= 20
    net.lab.seen().only()


def test_what_a_rule_names_is_no_target(net):
    points = prove(net, *allow("192.0.2.0/24", "169.254.169.254:80"))
    assert points["network_egress.literal4"]["verdict"] == "held"
    assert points["network_egress.metadata"]["verdict"] == "held"
    net.lab.seen().only()


def test_without_network(net):
    points = prove(net, "--net", "none")
    assert points["network_egress.dns-unlisted"]["verdict"] == "not_applicable"
    assert points["network_egress.resolve"]["verdict"] == "held"
    assert points["network_egress.literal4"]["verdict"] == "held"
    net.lab.seen().only()
