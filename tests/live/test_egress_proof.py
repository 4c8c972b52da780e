# SPDX-License-Identifier: Apache-2.0
"""`immure prove` of a limited session: its network points hold, each was tried, and
while they were nothing left but the connection of the control."""

import contextlib
import json
import os
import signal
import threading
import time

import pytest

from netlab import LIMITED, allow
from test_gatekeeper import workers


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


class Slow(threading.Thread):
    """Lets the gatekeeper below a process run a twentieth of a second after each 0.7 s."""

    def __init__(self, pid):
        super().__init__()
        self.pid, self.over, self.times = pid, threading.Event(), 0

    def run(self):
        while not self.over.is_set():
            for worker in workers(self.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGSTOP)
                    time.sleep(0.7)
                    os.kill(worker, signal.SIGCONT)
                    self.times += 1
            time.sleep(0.05)


def test_who_is_slow_to_refuse_has_refused(net):
    """A busy machine is no hole: what is refused late is waited for."""
    process = net.spawn(net.immure, "prove", "--json", *allow("web.example.net:80"))
    slow = Slow(process.pid)
    slow.start()
    try:
        out, err = process.communicate(timeout=100)
    finally:
        slow.over.set()
        slow.join()
        process.kill()
        process.wait(10)
    short = [p for p in json.loads(out)["points"] if p["verdict"] == "fell_short"]
    assert process.returncode == 0 and slow.times >= 2 and not short, (short, err, slow.times)
