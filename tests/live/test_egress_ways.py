# SPDX-License-Identifier: Apache-2.0
"""A kernel that has less: names are caught in another way, which the record, the proof and
doctor name, and what is refused stays refused."""

import json

from netlab import allow
from sessions import Session
from test_gatekeeper import FETCH, WEB, network

LISTENERS = "names with a listener for each port: no nf_tables with tproxy"
OUTSIDE = {4: "45.90.1.10", 6: "2a0e:97c0:1::a"}


def poor(net, *argv):
    return net.call(net.immure, *argv, without="nftables")


def test_the_way_is_named(net):
    done = net.python(FETCH, flags=allow(WEB), record=True)
    assert network(done)["way"].startswith("names caught by nf_tables, IPv4 and IPv6"), done
    with Session(net, *allow(WEB)) as s:
        assert s.json("inspect")["network"]["way"] == network(done)["way"]
    none = net.sh("true", flags=["--publish", "8091"], record=True)
    assert none.code == 0 and network(none)["way"] is None, none


def test_without_nf_tables(net, family):
    """What is allowed works, what is not is refused: by a listener each, and by routes."""
    script = ("import errno, socket, sys\n"
              f"{FETCH}"
              f"for kind, a in ((1, ('{OUTSIDE[family]}', 80)), (2, ('{OUTSIDE[family]}', 443)),\n"
              "                (1, ('web.example.net', 81)), (1, ('other.example.org', 80))):\n"
              f"  try:\n"
              f"    to = socket.getaddrinfo(*a, {2 if family == 4 else 10})[0][4]\n"
              f"    s = socket.socket({2 if family == 4 else 10}, kind)\n"
              "    s.settimeout(10); s.sendto(b'x', to) if kind == 2 else s.connect(to); print('open')\n"
              "  except socket.gaierror: print('NXDOMAIN')\n"
              "  except OSError as e: print(errno.errorcode.get(e.errno, e))\n")
    done = poor(net, "run", *allow(WEB), "--result", "result.json", "--", "/usr/bin/python3", "-c", script)
    assert done.code == 0 and done.text.split()[-4:] == ["EACCES", "EACCES", "ECONNREFUSED", "NXDOMAIN"], done
    assert "web" in done.text, done
    told = json.loads((net.ws / "result.json").read_text())["network"]
    assert told["way"].startswith(LISTENERS) and "is not told of" in told["way"], told
    net.lab.seen().only(WEB)


def test_without_nf_tables_the_proof_says_so(net):
    done = poor(net, "prove", *allow(WEB))
    assert done.code == 0 and f"network: {LISTENERS}" in done.text, done
    said = json.loads(poor(net, "prove", "--json", *allow(WEB)).text)
    assert said.get("proof", said)["network"].startswith(LISTENERS), said


def test_without_nf_tables_networks_are_refused(net):
    """A listener cannot stand for a whole network: the run is refused, not the rule ignored."""
    done = poor(net, "run", *allow("45.90.1.0/24:80"), "--", "/bin/sh", "-c", "touch ran")
    assert done.code == 125 and not (net.ws / "ran").exists(), done


def test_the_plan_names_the_way(net):
    """The one that applies here; and what that one cannot do is a gap before anything starts."""
    def plan(*rules, **options):
        done = net.call(net.immure, "plan", "--json", *allow(*rules), "--", "/bin/true", **options)
        return done.code, json.loads(done.text)

    code, rich = plan("45.90.1.0/24:80")
    assert code == 0 and rich["network_way"].startswith("names caught by nf_tables"), rich
    code, bare = plan(WEB, without="nftables")
    assert code == 0 and bare["network_way"].startswith(LISTENERS), bare
    code, wide = plan("45.90.1.0/24:80", without="nftables")
    assert code == 1 and "nf_tables" in wide["gaps"][0]["what"], wide
    assert f"network    {LISTENERS}" in poor(net, "plan", *allow(WEB), "--", "/bin/true").text


def test_doctor_names_the_way(net):
    def row(done):
        return next(l for l in done.text.splitlines() if l.split()[:1] == ["egress"])

    assert "names caught by nf_tables" in row(net.call(net.immure, "doctor"))
    assert LISTENERS in row(poor(net, "doctor"))
