# SPDX-License-Identifier: Apache-2.0
"""Rules: ports, wildcards, addresses, denials, what is said on the connection; and
addresses to which no name may lead."""

import pytest

import netlab_zone as zone
from netlab import allow
from test_gatekeeper import network

GET = {"say": "GET / HTTP/1.0\r\nHost: x\r\n\r\n", "expect": "web x"}


def to(host, port=80, **more):
    return {"do": "tcp", "host": host, "port": port, **more}


def deny(*rules):
    return [word for rule in rules for word in ("--deny-host", rule)]


def outcome(answers):
    return [a["error"] or "ok" for a in answers]


def test_without_a_port_only_80_and_443(net, family):
    answers = net.probe(*(to("web.example.net", port, family=family)
                          for port in (80, 443, 22, 8443, 7)), flags=allow("web.example.net"))
    assert outcome(answers) == ["ok", "ok"] + ["ECONNREFUSED"] * 3, answers
    net.lab.seen().only("web.example.net:80", "web.example.net:443")


def test_a_range_of_ports(net, family):
    answers = net.probe(*(to("web.example.net", port, family=family)
                          for port in (79, 80, 443, 444)),
                        flags=allow("web.example.net:80-443"))
    assert outcome(answers) == ["ECONNREFUSED", "ok", "ok", "ECONNREFUSED"], answers
    net.lab.seen().only("web.example.net:80", "web.example.net:443")


def test_wildcards(net, family):
    names = ["a.wild.example.org", "deep.b.wild.example.org", "wild.example.org",
             "evil-wild.example.org", "example.org"]
    answers = net.probe(*(to(name, family=family, **GET) for name in names),
                        flags=allow("*.wild.example.org:80"))
    assert outcome(answers) == ["ok", "ok"] + ["EAI_NONAME"] * 3, answers
    net.lab.seen().only("a.wild.example.org:80", "deep.b.wild.example.org:80")


def test_case_and_final_dot(net):
    answers = net.probe(to("WEB.eXample.net"), to("web.example.net."),
                        flags=allow("Web.Example.NET.:80"))
    assert outcome(answers) == ["ok", "ok"], answers


@pytest.mark.parametrize("denied", ["web.example.net", "*.example.net", "web.example.net:1-65535",
                                    "tcp://web.example.net:80"])
def test_a_denial_wins(net, family, denied):
    answers = net.probe(to("web.example.net", family=family),
                        to("a.wild.example.org", family=family),
                        flags=allow("web.example.net:80", "*.example.net:80", "a.wild.example.org:80") +
                        deny(denied))
    assert outcome(answers)[0] in ("EAI_NONAME", "ECONNREFUSED", "EAI_NODATA"), answers
    assert outcome(answers)[1] == "ok"
    net.lab.seen().only("a.wild.example.org:80")


def test_a_denial_of_one_port(net, family):
    answers = net.probe(to("web.example.net", 80, family=family),
                        to("web.example.net", 443, family=family),
                        flags=allow("web.example.net") + deny("web.example.net:443"))
    assert outcome(answers) == ["ok", "ECONNREFUSED"], answers
    net.lab.seen().only("web.example.net:80")


def test_a_denied_address_behind_an_allowed_name(net):
    answers = net.probe(to("only4.example.net", say=""), to("web.example.net", family=4),
                        flags=allow("*.example.net:80") + deny("45.90.1.100"))
    assert not answers[0]["ok"] and answers[1]["ok"], answers
    net.lab.seen().only("only4.example.net:53", "web.example.net:80")


ADDRESS = {4: ("45.90.1.10", "45.90.1.10:80", "45.90.1.0/28:80"),
           6: ("2a0e:97c0:1::a", "[2a0e:97c0:1::a]:80", "[2a0e:97c0:1::/124]:80")}
OUTSIDE = {4: "45.90.1.100", 6: "2a0e:97c0:1::100"}


# An address that no rule names: by a reset, or where there is no namespace by its supervisor.
NOT_NAMED = ("ECONNREFUSED", "EACCES")


@pytest.mark.parametrize("form", [1, 2], ids=["address", "network"])
def test_addresses_by_explicit_rule(net, family, form):
    host, rule = ADDRESS[family][0], ADDRESS[family][form]
    answers = net.probe(to(host, **GET), to(host, 443), to(OUTSIDE[family]), to(
        "web.example.net"), flags=allow(rule))
    assert outcome(answers[:1]) == ["ok"], answers
    assert outcome(answers)[1] in NOT_NAMED
    assert outcome(answers)[2] in NOT_NAMED and outcome(answers)[3] == "EAI_NONAME", answers
    seen = net.lab.seen()
    assert not seen.strange((), {(host, 80)}), seen


def test_the_mapped_form_of_an_allowed_address(net):
    answers = net.probe(to("::ffff:45.90.1.10", **GET), to("::ffff:45.90.1.100"),
                        flags=allow("45.90.1.10:80"))
    assert outcome(answers)[0] == "ok" and outcome(answers)[1] in NOT_NAMED, answers
    assert not net.lab.seen().strange((), {("45.90.1.10", 80)})


def test_an_address_rule_is_no_rule_for_names(net):
    answers = net.probe(to("web.example.net"), flags=allow("45.90.1.10:80"))
    assert outcome(answers) == ["EAI_NONAME"]


# ---- addresses that a name must not lead to ---------------------------------------


BAD = sorted(n for n in zone.ZONE if ".bad." in n and not n.startswith(("mixed", "cloop")))
PORTS = f":{zone.HOST_LOOPBACK}-{zone.HOST_ANY}"


@pytest.mark.parametrize("name", BAD)
def test_names_that_lead_inside(net, family, name):
    """Looked up, vetted, not dialled: neither the host nor its network is reached."""
    acts = [to(name, port, family=family, say="x", wait=10)
            for port in (80, zone.HOST_LOOPBACK, zone.HOST_ANY)]
    answers = net.probe(*acts, flags=allow(f"{name}:80", name + PORTS))
    assert not any(a["ok"] for a in answers), answers
    seen = net.lab.seen()
    assert not seen.strange({name, "loop4.bad.example.net"}), seen
    assert not seen.reached("loopback", "any", "http"), seen
    assert name in seen.asked(), "it was never dialled, so nothing was tested"


def test_a_name_that_leads_inside_and_outside(net):
    """Of two addresses the one that is refused is passed over, or the name is refused."""
    answers = net.probe(*[to("mixed.bad.example.net", **GET)] * 4,
                        flags=allow("mixed.bad.example.net:80"))
    seen = net.lab.seen()
    assert not seen.loopback and not seen.reached("loopback"), seen
    assert not seen.strange({"mixed.bad.example.net"}, {("45.90.1.102", 80)}), answers


def test_rebinding(net):
    """The answer changes with each question: the address that was vetted is dialled."""
    name, answers = zone.REBIND, []
    for _ in range(4):
        answers += net.probe(to(name, 80, **GET), to(name, zone.HOST_LOOPBACK, say="x", wait=5),
                             to(name, 80, **GET), flags=allow(name + PORTS, f"{name}:80"))
    seen = net.lab.seen()
    assert not seen.loopback and not seen.reached("loopback"), seen
    assert not seen.strange({name}, {("45.90.1.103", port) for port in (80, zone.HOST_LOOPBACK)})
    assert not any(a["ok"] for a in answers[1::3])
    web = answers[::3] + answers[2::3]
    assert any(a["ok"] for a in web) and not all(a["ok"] for a in web), answers


@pytest.mark.parametrize("name,address", [("private4", "10.0.0.5"), ("private192", "192.168.1.1"),
                                          ("private172", "172.17.0.1"), ("ula", "fd00::5")])
def test_private_networks_when_the_policy_opens_them(net, name, address):
    name += ".bad.example.net"
    flags = allow(f"{name}:80") + ["--private", "true"]
    answer, = net.probe(to(name, **GET), flags=flags)
    assert answer["ok"], answer
    assert not net.lab.seen().strange({name}, {(address, 80)})


@pytest.mark.parametrize("name", ["loop4", "meta4", "link4", "carrier", "own4", "mapped", "nat64",
                                  "meta6"])
def test_private_does_not_open_the_rest(net, name):
    name += ".bad.example.net"
    flags = allow(f"{name}:80", name + PORTS) + ["--private", "true"]
    answers = net.probe(to(name, say="x"), to(name, zone.HOST_ANY, say="x"), flags=flags)
    assert not any(a["ok"] for a in answers), answers
    assert not net.lab.seen().strange({name})


def test_a_narrow_rule_names_a_special_address(net):
    """The metadata service by its address, and a name that leads to it; a wide rule does not."""
    name = "meta4.bad.example.net"
    narrow = net.probe(to("169.254.169.254", **GET), to(name, **GET),
                       flags=allow("169.254.169.254:80", f"{name}:80"))
    assert outcome(narrow) == ["ok", "ok"], narrow
    net.lab.forget()
    wide = net.probe(to(name, say="x"), to("169.254.169.254", say="x"), to("8.8.8.8", **GET),
                     flags=allow("0.0.0.0/0:80", f"{name}:80"))
    assert not wide[0]["ok"] and not wide[1]["ok"] and wide[2]["ok"], wide
    assert not net.lab.seen().strange({name}, {("8.8.8.8", 80)})


def test_a_service_of_the_hosts_loopback_by_explicit_rule(net):
    """A name that leads to loopback, with a rule for that very address."""
    name = "loop4.bad.example.net"
    flags = allow(f"{name}:{zone.HOST_LOOPBACK}", f"127.0.0.1:{zone.HOST_LOOPBACK}")
    answers = net.probe(to(name, zone.HOST_LOOPBACK, say="hello"),
                        to(name, zone.HOST_ANY, say="x"), flags=flags)
    assert answers[0]["ok"] and answers[0]["got"] == "hello", answers
    assert not answers[1]["ok"], answers


@pytest.mark.parametrize("rule", [f"localhost:{zone.HOST_LOOPBACK}",
                                  f"127.0.0.1:{zone.HOST_LOOPBACK}"])
def test_loopback_of_the_host_by_explicit_rule(net, rule):
    """Then that port of loopback is the host's, and the others stay one's own."""
    answers = net.probe(to("127.0.0.1", zone.HOST_LOOPBACK, say="hello"),
                        to("localhost", zone.HOST_LOOPBACK, say="hello", family=4),
                        to("127.0.0.1", zone.HOST_ANY, say="x"), flags=allow(rule))
    assert [a.get("got") for a in answers] == ["hello", "hello", None], answers
    assert answers[2]["error"] == "ECONNREFUSED"


def test_names_of_the_hosts_own_file(net):
    """/etc/hosts counts where it is dialled, and is vetted as any answer is."""
    good, loop = net.probe(to("hosts-file.example.net", **GET),
                           to("hosts-loop.example.net", zone.HOST_LOOPBACK, say="x"),
                           flags=allow("hosts-file.example.net:80",
                                       f"hosts-loop.example.net:{zone.HOST_LOOPBACK}"))
    assert good["ok"] and not loop["ok"], (good, loop)
    seen = net.lab.seen()
    assert not seen.reached("loopback")
    assert not seen.strange({"hosts-file.example.net"}, {("45.90.1.150", 80)})


# ---- what is said on the connection ------------------------------------------------


TLS = """import socket, ssl, sys
host, sni = sys.argv[1:3]
c = ssl.create_default_context(); c.check_hostname = False
s = socket.create_connection((host, 443), timeout=5)
try:
    t = c.wrap_socket(s, server_hostname=sni or None)
    t.sendall(b'GET /t HTTP/1.0\\r\\nHost: x\\r\\n\\r\\n')
    data = b''
    while block := t.recv(4096): data += block
    print('ok' if b'web x' in data else data)
except (OSError, ssl.SSLError) as e:
    print('refused')
"""


@pytest.mark.parametrize("scheme", ["tls", "https"])
@pytest.mark.parametrize("sni,right", [("secure.example.net", True), ("SECURE.Example.net", True),
                                       ("other.example.net", False), ("", False),
                                       ("example.net", False), ("secure.example.net.evil", False)])
def test_tls_wants_the_name(net, scheme, sni, right):
    result = net.run("/usr/bin/python3", "-c", TLS, "secure.example.net", sni,
                     flags=allow(f"{scheme}://secure.example.net:443"))
    assert result.text.strip() == ("ok" if right else "refused"), result
    seen = net.lab.seen().only("secure.example.net:443")
    assert bool(seen.reached("sni")) == right


@pytest.mark.parametrize("bytes_", ["GET / HTTP/1.0\r\n\r\n", "SSH-2.0-x\r\n", "\x80\x2e\x01\0\x02",
                                    "\x16\x03\x01\0\x05\x01\0\0\x01\0", "\0" * 40])
def test_tls_is_no_cover_for_other_bytes(net, family, bytes_):
    answer, = net.probe(to("secure.example.net", zone.PLAIN_ON_443, say=bytes_, family=family),
                        flags=allow(f"tls://secure.example.net:{zone.PLAIN_ON_443}"))
    assert not answer["ok"], answer
    assert not net.lab.seen().reached("request")


def test_a_hello_in_pieces(net):
    """Each byte in a segment of its own, and each in a record of its own."""
    script = """import socket, ssl, struct
i, o = ssl.MemoryBIO(), ssl.MemoryBIO()
c = ssl.create_default_context()
t = c.wrap_bio(i, o, server_hostname='secure.example.net')
try: t.do_handshake()
except ssl.SSLWantReadError: pass
hello = o.read()
body = hello[5:]
cut = [body[n:n + 64] for n in range(0, len(body), 64)]
records = b''.join(b'\\x16\\x03\\x01' + struct.pack('!H', len(p)) + p for p in cut)
for data, step in ((hello, 1), (records, 7)):
    s = socket.create_connection(('secure.example.net', 443)); s.settimeout(5)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for n in range(0, len(data), step): s.send(data[n:n + step])
    print(s.recv(3)[0])
"""
    result = net.python(script, flags=allow("tls://secure.example.net"))
    assert result.text.split() == ["22", "22"], result
    net.lab.seen().only("secure.example.net:443")


HIDDEN = """import socket, ssl, struct
i, o = ssl.MemoryBIO(), ssl.MemoryBIO()
t = ssl.create_default_context().wrap_bio(i, o, server_hostname='secure.example.net')
try: t.do_handshake()
except ssl.SSLWantReadError: pass
body = o.read()[9:]
at = 34; at += 1 + body[at]; at += 2 + struct.unpack_from('!H', body, at)[0]; at += 1 + body[at]
more = body[at + 2:] + struct.pack('!HH', 0xfe0d, 4) + bytes(4)  # encrypted_client_hello
body = body[:at] + struct.pack('!H', len(more)) + more
body = b'\\x01' + struct.pack('!I', len(body))[1:] + body
s = socket.create_connection(('secure.example.net', 443), 10)
s.sendall(b'\\x16\\x03\\x01' + struct.pack('!H', len(body)) + body)
try: print(s.recv(1)[0])
except ConnectionResetError: print('reset')
"""


@pytest.mark.parametrize("flags,outcome", [
    ([], "answer"), (["--ech", "true"], "answer"), (["--ech", "false"], "reset")])
def test_a_name_that_may_be_a_cover(net, flags, outcome):
    rule = "tls://secure.example.net"
    said = net.python(HIDDEN, flags=allow(rule) + flags).text.strip()
    assert ("reset" if said == "reset" else "answer") == outcome, said
    assert net.python(HIDDEN, flags=allow("secure.example.net:443") + flags).text.strip() != "reset"
    plain = net.python("import urllib.request as u; print(len(u.urlopen('https://secure.example.net/')"
                       ".read()) > 0)", flags=allow(rule) + flags)
    assert plain.text == "True\n", plain


@pytest.mark.parametrize("flags,rule,say", [
    (["--handshake-time", "200ms"], "tls://secure.example.net:443", b"\x16\x03\x01"),
    (["--handshake-time", "200ms"], "http://web.example.net:80", b"GET / HT"),
    (["--idle-time", "200ms"], f"echo.example.net:{zone.ECHO}", b"")])
def test_what_is_too_slow_is_reset(net, flags, rule, say):
    """The control waits as long, with what holds by default."""
    host, port = rule.rpartition("/")[2].split(":")
    script = f"""import socket
s = socket.create_connection(({host!r}, {port}), 5); s.sendall({say!r}); s.settimeout(5)
try: print('end' if not s.recv(1) else 'bytes')
except OSError as e: print(type(e).__name__)
"""
    assert net.python(script, flags=allow(rule) + flags).text == "ConnectionResetError\n"
    assert net.python(script, flags=allow(rule)).text == "TimeoutError\n"


@pytest.mark.parametrize("head,right", [
    ("GET / HTTP/1.1\r\nHost: web.example.net\r\nConnection: close\r\n\r\n", True),
    ("GET / HTTP/1.1\r\nHost: WEB.example.net:80\r\nConnection: close\r\n\r\n", True),
    ("GET / HTTP/1.1\r\nHost: other.example.net\r\n\r\n", False),
    ("GET / HTTP/1.1\r\n\r\n", False),
    ("GET / HTTP/1.1\r\nHost: web.example.net\r\nHost: other.example.net\r\n\r\n", False),
    ("GET http://other.example.net/ HTTP/1.1\r\nHost: web.example.net\r\n\r\n", False),
    ("CONNECT other.example.net:443 HTTP/1.1\r\nHost: web.example.net\r\n\r\n", False),
    ("GET / HTTP/1.1\nHost: web.example.net\n\n", False),
    ("GET / HTTP/1.1\r\nHost: web.example.net\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
     False),
    ("GET / HTTP/1.1\r\nHost : web.example.net\r\n\r\n", False),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", False),
    ("POST / HTTP/1.1\r\nHost: web.example.net\r\nContent-Length: 5\r\n"
     "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", False),
    ("SSH-2.0-x\r\n\r\n", False),
])
def test_http_wants_the_name(net, head, right):
    answer, = net.probe(to("web.example.net", say=head, expect="web "),
                        flags=allow("http://web.example.net:80"))
    assert (answer["ok"] and "web web" in answer["got"].lower()) == right, answer
    seen = net.lab.seen().only("web.example.net:80")
    assert bool(seen.reached("request")) == right, seen


def test_http_requests_in_a_row(net):
    """Each is looked at: the second one's Host is another, and does not pass."""
    script = """import socket
def go(*heads):
    s = socket.create_connection(('web.example.net', 80)); s.settimeout(3)
    s.sendall(b''.join(b'GET /%d HTTP/1.1\\r\\nHost: %s\\r\\n\\r\\n' % (i, h)
                       for i, h in enumerate(heads)))
    data = b''
    try:
        while data.count(b'web ') < len(heads) and (block := s.recv(4096)): data += block
    except OSError: pass
    return data.count(b'web ')
print(go(b'web.example.net', b'web.example.net'), go(b'web.example.net', b'other.example.net'))
"""
    both, mixed = net.python(script, flags=allow("http://web.example.net:80")).text.split()
    assert both == "2" and mixed in ("0", "1")
    assert "other.example.net" not in {e[1] for e in net.lab.seen().reached("request")}


REQUEST = """
import http.client, sys
for method, path in [w.split("=") for w in sys.argv[1:]]:
    c = http.client.HTTPConnection("web.example.net", 80, timeout=5)
    try:
        c.request(method, path, body=b"x" if method == "POST" else None)
        r = c.getresponse(); print(r.status, (r.read().decode() + "\\n").splitlines()[0])
    except OSError as e: print(type(e).__name__)
"""


def requests(net, flags, *what):
    result = net.run("/usr/bin/python3", "-c", REQUEST, *what, flags=flags, record=True)
    assert result.code == 0, result
    told = [d["add"] for d in network(result)["denied"]]
    return result.text.splitlines(), told


def test_methods_and_paths(net):
    flags = allow("GET http://web.example.net/open/*", "POST http://web.example.net/in%62ox%c3%a9") \
        + deny("http://web.example.net/open/not/*")
    got, told = requests(net, flags, "GET=/open/x", "POST=/open/x", "GET=/open", "GET=/closed",
                   "POST=/inbox%C3%A9", "POST=/inbox", "GET=/open/../closed", "GET=/open/%2e%2e/x",
                   "GET=/open/not/x", "GET=/ope%6E/x")
    assert [g.split()[0] for g in got] == ["200", "403", "403", "403", "200", "403", "403", "403", "403",
                                           "200"], got
    assert got[1] == "403 immure: no rule has POST web.example.net:80/open/x; it takes " \
        '"POST http://web.example.net:80/open/x" in network.allow', got
    reached = [e[2] for e in net.lab.seen().only("web.example.net:80").reached("request")]
    assert reached == ["GET /open/x", "POST /inbox%C3%A9", "GET /ope%6E/x"], reached
    assert "GET http://web.example.net:80/closed" in told, told
