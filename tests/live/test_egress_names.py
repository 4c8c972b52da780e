# SPDX-License-Identifier: Apache-2.0
"""Names: answered without asking anybody, whatever is asked; a question leaves the
host only when a connection that a rule allows is dialled."""

import ipaddress
import random

import pytest

import harness
import netlab_zone as zone
from netlab import allow

GATE = {4: "198.18.0.1", 6: "fd53:6e62::1"}
PREFIX = {4: ipaddress.ip_network("198.18.0.0/15"), 6: ipaddress.ip_network("fd53:6e62::/64")}
WEB = allow("web.example.net:80", "only4.example.net:80", "only6.example.net:80",
            "*.wild.example.org")
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
GET = {"say": "GET / HTTP/1.0\r\nHost: x\r\n\r\n", "expect": "web x"}


def ask(name, kind, tcp=False, server=GATE[4], **more):
    return {"do": "dns", "server": server, "name": name, "type": kind, "tcp": tcp, **more}


@pytest.fixture(params=[False, True], ids=["udp", "tcp"])
def tcp(request):
    return request.param


def test_allowed_names_get_synthetic_addresses(net, family):
    first, again, upper, dot = net.probe(
        *({"do": "resolve", "host": name, "family": family}
          for name in ("web.example.net", "web.example.net", "WEB.Example.NET",
                       "web.example.net.")), flags=WEB)
    assert first["ok"] and len(first["addresses"]) == 1
    assert ipaddress.ip_address(first["addresses"][0]) in PREFIX[family]
    assert first["addresses"] == again["addresses"] == upper["addresses"] == dot["addresses"]
    assert first["ms"] < 500 * harness.SLOWER
    net.lab.seen().only()


def test_looking_up_asks_nobody(net):
    """Labels under a wildcard would carry data out at the mere lookup."""
    acts = [{"do": "resolve", "host": f"secret{i}.wild.example.org"} for i in range(5)]
    assert all(a["ok"] for a in net.probe(*acts, flags=WEB))
    assert not net.lab.seen().only().wire


@pytest.mark.parametrize("ttl,questions", [(300, 1), (0, 3)])
def test_an_answer_is_used_as_long_as_it_says(net, ttl, questions):
    net.lab.set_name("brief.example.net", **zone.both(10), TTL=ttl)
    answers = net.probe(*[{"do": "tcp", "host": "brief.example.net", "port": 80, **GET}] * 3,
                        flags=allow("brief.example.net:80"))
    assert all(a["ok"] for a in answers), answers
    asked = [e for e in net.lab.seen().log if e[:3] == ("dns", "brief.example.net", "A")]
    assert len(asked) == questions, asked


def test_resolv_conf_inside(net):
    text = net.run("/bin/cat", "/etc/resolv.conf", flags=WEB).text
    servers = [line.split()[1] for line in text.splitlines() if line.startswith("nameserver")]
    assert servers and set(servers) <= set(GATE.values()), text
    assert zone.DNS4 not in text


def test_unlisted_names_are_told_so_at_once(net, tcp):
    names = ["other.example.net", "attacker.test", "wild.example.org", "evil-wild.example.org",
             "example.net", "web.example.net.attacker.test", "localhost.attacker.test", "net"]
    for name, answer in zip(names, net.probe(*(ask(n, k, tcp) for n in names for k in ("A",)),
                                             flags=WEB)):
        assert answer["rcode"] == NXDOMAIN and answer["authority"] == 1, (name, answer)
        assert answer["ms"] < 500 * harness.SLOWER
    net.lab.seen().only()


@pytest.mark.parametrize("kind", ["TXT", "HTTPS", "SVCB", "MX", "NS", "SRV", 99, 10])
def test_no_data_of_other_types(net, tcp, kind):
    listed, unlisted = net.probe(ask("web.example.net", kind, tcp),
                                 ask("data.attacker.test", kind, tcp), flags=WEB)
    assert (listed["rcode"], listed["answers"]) == (NOERROR, 0), listed
    assert unlisted["rcode"] == NXDOMAIN, unlisted
    net.lab.seen().only()


def test_transfers(net, tcp):
    answer, = net.probe(ask("web.example.net", "AXFR", tcp), flags=WEB)
    assert answer["rcode"] == REFUSED
    net.lab.seen().only()


def test_reverse(net):
    """Of addresses that were given out; no other."""
    # Another session gives other addresses, so one must do both.
    script = "import socket; a = socket.getaddrinfo('web.example.net', 80)[0][4][0]; " \
             "print(socket.getnameinfo((a, 0), socket.NI_NAMEREQD)[0])\n" \
             "try: print(socket.getnameinfo(('8.8.8.8', 0), socket.NI_NAMEREQD)[0])\n" \
             "except OSError as e: print('none')"
    assert net.python(script, flags=WEB).text.split() == ["web.example.net", "none"]
    net.lab.seen().only()


@pytest.mark.parametrize("outside", ["only4", "only6"])
def test_each_family_inside_reaches_each_outside(net, family, outside):
    """A synthetic address stands for the name, not for one of its addresses."""
    name = f"{outside}.example.net"
    answer, = net.probe({"do": "tcp", "host": name, "port": 80, "family": family, **GET},
                        flags=WEB)
    assert answer["ok"], answer
    seen = net.lab.seen().only(f"{name}:80")
    assert {a for a, _ in seen.opened()} == {zone.ZONE[name]["A" if outside == "only4" else
                                                            "AAAA"][0]}


def test_the_mapped_form_of_a_synthetic_address(net):
    script = "import socket; a = socket.getaddrinfo('web.example.net', 80, socket.AF_INET)[0][4][0]\n" \
             "s = socket.create_connection(('::ffff:' + a, 80)); s.send(b'GET / HTTP/1.0\\r\\n\\r\\n')\n" \
             "print(s.recv(100)[:15])"
    assert "HTTP/1.1 200" in net.python(script, flags=WEB).text
    net.lab.seen().only("web.example.net:80")


def test_odd_names(net, tcp):
    """Two readers of one name must not differ: what is not a host name is none."""
    names = ["attacker.test\x00.wild.example.org", "attacker\x00.wild.example.org",
             "a b.wild.example.org", "a%00.wild.example.org", "a/b.wild.example.org",
             "a@b.wild.example.org", "a\n.wild.example.org", "a\\.wild.example.org",
             "\xff\xfe.wild.example.org", "é.wild.example.org", "*.wild.example.org",
             "a.wild.example.org\x00", "127.0.0.1.wild.example.org\x07"]
    for name, answer in zip(names, net.probe(*(ask(n, "A", tcp) for n in names), flags=WEB)):
        assert not answer.get("addresses"), (name, answer)
    net.lab.seen().only()


def test_long_labels_under_a_wildcard(net):
    """How much a command may say in one name is bounded."""
    long = ".".join(["x" * 60] * 3) + ".wild.example.org"
    short, much = net.probe({"do": "resolve", "host": "short.wild.example.org"},
                            {"do": "resolve", "host": long}, flags=WEB)
    assert short["ok"] and not much["ok"], (short, much)
    net.lab.seen().only()


def test_many_names_under_a_wildcard(net):
    """And how much in all of them; what needs no wildcard goes on."""
    script = """import socket
good = 0
for i in range(3000):
    try:
        socket.getaddrinfo('%040x.wild.example.org' % i, 80, socket.AF_INET)
        good += 1
    except OSError:
        pass
socket.getaddrinfo('web.example.net', 80)
print(good)
"""
    good = int(net.python(script, flags=WEB).text)
    assert 0 < good < 1500, good
    net.lab.seen().only()


def test_junk_to_the_name_server(net, tcp):
    """It is answered with an error or not at all, and the next question is."""
    random.seed(20)
    junk = [bytes(random.randrange(256) for _ in range(random.choice([1, 11, 12, 13, 40, 600])))
            for _ in range(60)]
    junk += [b"\0" * 12, b"\xff" * 12, b"\x12\x34\x01\0\0\1\0\0\0\0\0\0" + b"\xc0\x0c\0\1\0\1",
             b"\x12\x34\x01\0\0\1\0\0\0\0\0\0" + b"\x3f" * 300,
             b"\x12\x34\x81\x80\0\1\0\0\0\0\0\0\3web\7example\3net\0\0\1\0\1"]
    acts = [{"do": "raw", "server": GATE[4], "data": j.hex(), "tcp": tcp, "wait": 0.02}
            for j in junk]
    answers = net.probe(*acts, ask("web.example.net", "A", tcp), flags=WEB)
    assert answers[-1]["rcode"] == NOERROR and answers[-1]["answers"] == 1
    assert not any(a["ok"] and int(a["got"][6:8], 16) & 15 == NOERROR and
                   int(a["got"][12:16], 16) for a in answers[:-1])
    net.lab.seen().only()


def test_questions_in_pieces_and_in_a_row(net):
    """Over TCP: two questions in one write, one question byte by byte."""
    script = f"""import socket, struct, time, sys
sys.argv = ['x', '[]']
sys.path.insert(0, '.')
from probe import question
q = question('web.example.net', 'A')
m = struct.pack('!H', len(q)) + q
s = socket.create_connection(('{GATE[4]}', 53)); s.settimeout(5)
r = s.makefile('rb')
def one():
    n, = struct.unpack('!H', r.read(2)); d = r.read(n); return d[3] & 15, d[7]
s.sendall(m + m); print(one(), one())
for b in m: s.send(bytes([b])); time.sleep(0.001)
print(one())
"""
    assert net.python(script, flags=WEB).text.split("\n")[:2] == ["(0, 1) (0, 1)", "(0, 1)"]


@pytest.mark.parametrize("prefix", ["100.127.0.0/16", "10.200.0.0/20"])
def test_another_prefix(net, prefix):
    answer, got = net.probe({"do": "resolve", "host": "web.example.net", "family": 4},
                            {"do": "tcp", "host": "web.example.net", "port": 80, "family": 4, **GET},
                            flags=WEB + ["--prefix", prefix])
    assert ipaddress.ip_address(answer["addresses"][0]) in ipaddress.ip_network(prefix)
    assert got["ok"], got
    net.lab.seen().only("web.example.net:80")


def test_one_question_for_each_dial(net):
    """Resolved when dialled, each time anew, and never more often than that."""
    acts = [{"do": "tcp", "host": "only4.example.net", "port": 80, **GET}] * 3
    assert all(a["ok"] for a in net.probe(*acts, flags=WEB))
    seen = net.lab.seen().only("only4.example.net:80")
    asked = [e for e in seen.log if e[0] == "dns" and e[2] == "A"]
    assert 1 <= len(asked) <= 3


@pytest.mark.parametrize("name,limit_ms", [("absent.example.net", 2000), (zone.BROKEN, 8000),
                                           (zone.EMPTY, 2000), ("cloop.bad.example.net", 5000)])
def test_names_that_lead_nowhere(net, family, name, limit_ms):
    act = {"do": "tcp", "host": name, "port": 80, "family": family, "wait": 20, "say": ""}
    answer, = net.probe(act, flags=allow("*.example.net:80"))
    assert not answer["ok"] and answer["ms"] < limit_ms * harness.SLOWER, answer
    net.lab.seen().only(f"{name}:80")


@pytest.mark.slow
def test_a_name_server_that_is_silent(net):
    act = {"do": "tcp", "host": zone.NEVER, "port": 80, "wait": 40, "say": ""}
    answer, = net.probe(act, flags=allow("*.example.net:80"))
    assert not answer["ok"] and answer["error"] != "TIMEOUT", answer
    net.lab.seen().only(f"{zone.NEVER}:80")


@pytest.mark.parametrize("lines", [[f"nameserver {zone.DNS6}"],
                                   [f"nameserver {zone.SILENT4}", f"nameserver {zone.DNS4}"],
                                   [f"nameserver {zone.DNS4}", "search example.net",
                                    "options ndots:1 timeout:1"]],
                         ids=["v6", "first-silent", "search"])
def test_name_servers_of_the_host(net, lines):
    net.lab.say_names(*lines)
    try:
        answer, = net.probe({"do": "tcp", "host": "web.example.net", "port": 80, **GET,
                             "wait": 20}, flags=WEB)
    finally:
        net.lab.say_names(f"nameserver {zone.DNS4}")
    assert answer["ok"], answer
    assert net.lab.seen().asked() == {"web.example.net"}


def test_getaddrinfo_asks_for_both_families(net):
    answer, = net.probe({"do": "resolve", "host": "web.example.net"}, flags=WEB)
    kinds = {ipaddress.ip_address(a).version for a in answer["addresses"]}
    assert kinds == {4, 6}
