# SPDX-License-Identifier: Apache-2.0
"""What no rule allows: refused at once, in a way that programs understand, and the
spy sees nothing. Each with a rule for something else, so that the gate is there;
the control of all of them is test_the_spy_sees_everything."""

import socket

import pytest

import harness
import netlab_zone as zone
from netlab import allow

FLAGS = {"none": ["--net", "none"], "limited": allow("web.example.net:80", "*.wild.example.org")}
FAST_MS = 500 * harness.SLOWER  # not a measurement: a timeout is seconds

TARGETS = {
    4: [(a, 80) for a in zone.STRANGERS4 if a != "198.18.0.77"] + [
        ("45.90.1.10", 80), (zone.HOST_LAN4, zone.HOST_ANY), (zone.HOST_PUBLIC4, zone.HOST_ANY),
        (zone.WORLD_LAN4, 22), (zone.DNS4, 53), ("203.0.113.9", 25)],
    6: [(a, 80) for a in zone.STRANGERS6 if a != "fd53:6e62::77"] + [
        ("2a0e:97c0:1::a", 80), (zone.HOST_LAN6, zone.HOST_ANY),
        (zone.HOST_PUBLIC6, zone.HOST_ANY), (zone.WORLD_LAN6, 22), (zone.DNS6, 53),
        ("2001:db8::9", 25), ("::ffff:8.8.8.8", 80), ("::ffff:169.254.169.254", 80),
        (f"::ffff:{zone.HOST_LAN4}", zone.HOST_ANY), ("::ffff:45.90.1.10", 80)],
}
LOOPBACK = {4: ["127.0.0.1", "127.1.2.3", "0.0.0.0"], 6: ["::1", "::ffff:127.0.0.1", "::"]}
NO_WAY = {"none": {"ENETUNREACH"}, "limited": {"EACCES"}}
NO_CONNECTION = {"none": {"ENETUNREACH"}, "limited": {"ECONNREFUSED"}}


@pytest.fixture(params=list(FLAGS))
def gate(request):
    return request.param


def refused(acts, answers, errors):
    for act, answer in zip(acts, answers):
        assert not answer["ok"] and answer["error"] in errors, (act, answer)
        assert answer["ms"] < FAST_MS, (act, answer)


def test_literal_addresses(net, family, gate):
    acts = [{"do": "tcp", "host": host, "port": port} for host, port in TARGETS[family]]
    refused(acts, net.probe(*acts, flags=FLAGS[gate]), NO_CONNECTION[gate])
    net.lab.seen().only()


def test_the_hosts_loopback(net, family, gate):
    """Loopback inside is another one."""
    acts = [{"do": "tcp", "host": host, "port": port} for host in LOOPBACK[family]
            for port in (zone.HOST_LOOPBACK, zone.HOST_ANY)]
    refused(acts, net.probe(*acts, flags=FLAGS[gate]), {"ECONNREFUSED"})
    net.lab.seen().only()


@pytest.mark.parametrize("how", ["connect", "sendto", "sendmsg"])
def test_datagrams_to_addresses(net, family, gate, how):
    acts = [{"do": "udp", "host": host, "port": port, "how": how}
            for host, _ in TARGETS[family] for port in (443, 123)]
    refused(acts, net.probe(*acts, flags=FLAGS[gate]), NO_WAY[gate])
    net.lab.seen().only()


@pytest.mark.parametrize("how", ["connect", "sendto", "sendmsg"])
@pytest.mark.parametrize("port", [443, 123, 80], ids=["quic", "ntp", "allowed-for-tcp"])
def test_datagrams_to_names(net, family, how, port):
    """An error at once, or a program that tries QUIC first waits for its timeout."""
    act = {"do": "udp", "host": "web.example.net", "port": port, "how": how, "family": family}
    refused([act], net.probe(act, flags=FLAGS["limited"]), {"EACCES"})
    net.lab.seen().only()


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
def test_other_name_servers(net, family, gate, tcp):
    servers = {4: ["8.8.8.8", "1.1.1.1", zone.DNS4], 6: ["2001:4860:4860::8888", zone.DNS6]}
    acts = [{"do": "dns", "server": server, "name": f"secret.{i}.attacker.test", "type": "TXT",
             "tcp": tcp} for i, server in enumerate(servers[family])]
    refused(acts, net.probe(*acts, flags=FLAGS[gate]), (NO_CONNECTION if tcp else NO_WAY)[gate])
    assert not net.lab.seen().only().asked()


def test_unlisted_ports(net, family):
    """Of a name that is allowed: refused as if nobody listened there."""
    acts = [{"do": "tcp", "host": "web.example.net", "port": port, "family": family}
            for port in (443, 22, 53, 8443, zone.CLOSED, 1, 65535)]
    refused(acts, net.probe(*acts, flags=FLAGS["limited"]), {"ECONNREFUSED"})
    net.lab.seen().only()


def test_unlisted_names(net, family):
    names = ["other.example.net", "example.net", "attacker.test", "secret-data.attacker.test",
             "wild.example.org", "evil-wild.example.org", "x" * 60 + ".attacker.test",
             "web.example.net.attacker.test", "metadata.google.internal"]
    acts = [{"do": "resolve", "host": name, "family": family} for name in names]
    refused(acts, net.probe(*acts, flags=FLAGS["limited"]), {"EAI_NONAME", "EAI_NODATA"})
    assert not net.lab.seen().only().asked()


def test_addresses_of_the_prefix_that_mean_no_name(net, family):
    hosts = {4: ["198.18.0.77", "198.18.200.1", "198.19.255.254", "::ffff:198.18.0.77"],
             6: ["fd53:6e62::77", "fd53:6e62::ffff:1"]}
    acts = [{"do": "tcp", "host": host, "port": 80} for host in hosts[family]]
    refused(acts, net.probe(*acts, flags=FLAGS["limited"]), {"ECONNREFUSED", "EACCES"})
    net.lab.seen().only()


@pytest.mark.parametrize("where", ["name", "address"])
def test_fast_open(net, family, gate, where):
    """A destination in sendto(), of a stream: the same answer as connect()."""
    host = "web.example.net" if where == "name" else TARGETS[family][0][0]
    act = {"do": "fastopen", "host": host, "port": 22, "family": family}
    errors = {"EAI_NONAME", "EAI_AGAIN", "ECONNREFUSED", "EACCES", "ENETUNREACH", "EOPNOTSUPP",
              "ENOTSUP"}
    refused([act], net.probe(act, flags=FLAGS[gate]), errors)
    net.lab.seen().only()


def test_multipath(net, family, gate):
    act = {"do": "mptcp", "host": TARGETS[family][0][0], "port": 80}
    refused([act], net.probe(act, flags=FLAGS[gate]),
            NO_CONNECTION[gate] | {"EPROTONOSUPPORT", "EPERM", "EACCES", "ENOPROTOOPT"})
    net.lab.seen().only()


SOCKETS = {
    "icmp": (socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP),
    "icmp6": (socket.AF_INET6, socket.SOCK_DGRAM, 58),
    "raw": (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW),
    "raw6": (socket.AF_INET6, socket.SOCK_RAW, 58),
    "udplite": (socket.AF_INET, socket.SOCK_DGRAM, 136),
    "sctp": (socket.AF_INET, socket.SOCK_STREAM, 132),
    "dccp": (socket.AF_INET, 6, 33),
    "packet": (17, socket.SOCK_RAW, 0),
    "vsock": (40, socket.SOCK_STREAM, 0),
    "netfilter": (16, socket.SOCK_RAW, 12),
    "xdp": (44, socket.SOCK_RAW, 0),
    "bluetooth": (31, socket.SOCK_RAW, 0),
    "alg": (38, socket.SOCK_SEQPACKET, 0),
    "kcm": (41, socket.SOCK_DGRAM, 0),
    "tipc": (30, socket.SOCK_STREAM, 0),
}


def test_other_sockets(net, gate):
    acts = [{"do": "socket", "family": f, "kind": k, "protocol": p} for f, k, p in SOCKETS.values()]
    for name, answer in zip(SOCKETS, net.probe(*acts, flags=FLAGS[gate])):
        assert not answer["ok"], name
    net.lab.seen().only()


def test_the_hosts_abstract_sockets(net, gate):
    act = {"do": "unix", "path": "\0" + zone.HOST_ABSTRACT}
    assert net.probe_outside(act)[0]["ok"]
    answer, = net.probe(act, flags=FLAGS[gate])
    assert answer["error"] in ("ECONNREFUSED", "EPERM", "EACCES"), answer


def test_namespaces_lead_nowhere(net, gate):
    """A new user or network namespace is no way to reach more."""
    script = "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n" \
             "for flags in (0x10000000, 0x40000000, 0x50000000):\n" \
             " print(libc.unshare(flags), end=' ')\n"
    assert net.python(script, flags=FLAGS[gate]).text.split() == ["-1"] * 3
    net.lab.seen().only()


def test_nothing_when_the_list_is_empty(net, family):
    """No rule at all: no name, no address. An empty list is not a missing one."""
    acts = [{"do": "resolve", "host": "web.example.net", "family": family},
            {"do": "tcp", "host": TARGETS[family][0][0], "port": 443},
            {"do": "tcp", "host": TARGETS[family][0][0], "port": 80}]
    answers = net.probe(*acts, flags=["--net", "limited"])
    assert not any(a["ok"] for a in answers), answers
    net.lab.seen().only()


@pytest.mark.parametrize("rules", ["[]", "null", None])
def test_empty_lists_in_a_file(net, rules):
    body = '"mode": "limited"' + (f', "allow": {rules}' if rules else "")
    net.put("p.json", '{ "network": { %s } }' % body, 0o644)
    acts = [{"do": "resolve", "host": "web.example.net"}, {"do": "tcp", "host": "8.8.8.8",
                                                           "port": 443}]
    answers = net.probe(*acts, flags=["--policy", net.ws / "p.json"])
    assert not any(a["ok"] for a in answers), answers
    net.lab.seen().only()
