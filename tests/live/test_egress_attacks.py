# SPDX-License-Identifier: Apache-2.0
"""What a command tries against the gatekeeper itself: its proxies, its memory, its
bounds, rules that change under it. Through egress_driver, as test_egress_worker.py."""

import errno
import json
import pathlib
import time

import pytest

import harness
import netlab_zone as zone

from test_egress_worker import (GET, PROXY, gate, gates, hello, tcp, through_connect,
                                through_socks)

__all__ = ["gate", "gates"]  # fixtures
LONG = "a" * 60 + "." + "b" * 60 + ".wild.example.org"


def plain(gate, target, host=None, method="GET", extra="", body="", expect="\r\n\r\n", **more):
    """A request for the proxy, without a tunnel."""
    host = host or target.split("/")[2]
    text = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{extra}\r\n{body}"
    return gate.probe(tcp(*PROXY, say=text, expect=expect, **more))[0]


# ---- names ----


def test_names_told_to_a_proxy_are_bounded_like_lookups(gate):
    gate.start("*.wild.example.org:80")
    assert "403" in through_connect(gate, f"{LONG}:80")["got"]
    assert through_socks(gate, LONG, 80)[1] == "2"
    assert "403" in plain(gate, f"http://{LONG}/")["got"]
    assert not gate.lab.seen().asked()
    assert "200" in through_connect(gate, "a.wild.example.org:80")["got"]
    told = [line for line in gate.denied() if "label" in line]
    assert told and all(line.startswith("denied 5 ") for line in told)


ODD = ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "017700000001", "0.0.0.0", "[::]", "[::1]",
       "[::ffff:127.0.0.1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[fe80::1%25lo]", "[fe80::1%lo]",
       "127.0.0.1.", "localhost.", "localhost", "LOCALHOST", "10.77.0.2", "91.198.10.2",
       "[2a0e:97c1::2]", "web.example.net.", "web.example.net..", "web%2eexample.net",
       "web.example.net%00.x", "wéb.example.net", "web。example。net", "user@web.example.net",
       "web.example.net#x", "web.example.net/x", "web.example.net:80", "-web.example.net",
       "web..example.net", "198.18.0.1", "169.254.169.254", "*.example.net", "", " web.example.net"]


def test_odd_forms_of_hosts_lead_nowhere(gates):
    """Where loopback, the host itself or an allowed name in other clothes are meant."""
    gate = gates()  # with nf_tables: a listener each cannot do networks
    if not gate.nft:
        pytest.skip("no nf_tables with tproxy here")
    gate.start("web.example.net:80", "0.0.0.0/0:7001", "[::/0]:7001")
    script = """
import json, socket, sys
out = {}
for host in json.loads(sys.argv[1]):
    for how in ("CONNECT", "GET"):
        for port in (80, 7001):
            s = socket.create_connection(("198.18.0.1", 3128), 5)
            s.settimeout(5)
            where = f"{host}:{port}"
            target = where if how == "CONNECT" else f"http://{where}/"
            s.sendall(f"{how} {target} HTTP/1.1\\r\\nHost: {where}\\r\\n\\r\\n".encode())
            out[f"{how} {target}"] = s.recv(100).decode("latin-1")[:12]
            s.close()
print(json.dumps(out))
"""
    got = json.loads(gate.python(script, json.dumps(ODD)))
    wrong = {k: v for k, v in got.items() if v not in ("HTTP/1.1 400", "HTTP/1.1 403")}
    assert not wrong, wrong
    seen = gate.lab.seen()
    assert not seen.asked() and not seen.wire, seen


# ---- what a proxy answers ----


def test_the_proxy_says_why(gate):
    gate.start("web.example.net:80", "loop4.bad.example.net:80", "web.example.net:9",
               "http://secure.example.net:80/only")
    for answer in (through_connect(gate, "other.example.net:443"),
                   plain(gate, "http://other.example.net:443/")):
        head, _, body = answer["got"].partition("\r\n\r\n")
        assert head.startswith("HTTP/1.1 403 ") and "text/plain" in head, answer
        assert body.startswith("immure: ") and '"other.example.net:443" in network.allow' in body
        assert body.count("\n") == 1 and body.endswith("\n")
        assert f"Content-Length: {len(body)}\r\n" in head
    # What a name leads to inside other networks is not for the command to know.
    hidden = through_connect(gate, "loop4.bad.example.net:80")["got"]
    assert hidden.startswith("HTTP/1.1 403 ") and "127.0.0.1" not in hidden, hidden
    # Nobody listens there.
    refused = through_connect(gate, "web.example.net:9")["got"]
    assert refused.startswith("HTTP/1.1 502 ") and "refused" in refused.lower(), refused
    assert "no rule has GET secure.example.net:80/x; it takes" in plain(gate, "http://secure.example.net/x")["got"]
    bad = gate.probe(tcp(*PROXY, say="GET / HTTP/1.1\r\nHost: web.example.net\r\n\r\n",
                         expect="\n"))[0]["got"]
    assert bad.startswith("HTTP/1.1 400 ") and "immure: " in bad


def test_a_name_looked_up_before_it_is_told_to_the_proxy(gate):
    gate.start("web.example.net:80")
    address, = gate.probe({"do": "resolve", "host": "web.example.net", "family": 4})[0]["addresses"]
    assert "web" in through_connect(gate, f"{address}:80", GET)["got"]
    assert "403" in through_connect(gate, f"{address}:81")["got"]
    assert "403" in through_connect(gate, "198.19.0.99:80")["got"]


# ---- plain requests through the proxy ----


def test_a_plain_request_is_forwarded_as_the_server_wants_it(gate):
    gate.start("echo.example.net:7")
    extra = ("Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic eDp5\r\nX-Own: 1\r\n"
             "Connection: keep-alive, te\r\nKeep-Alive: 5\r\nTE: trailers\r\nContent-Length: 4\r\n")
    got = plain(gate, "http://Echo.example.net:7/a/b?c=d", method="POST", extra=extra,
                body="bodyGET http://web.example.net/ HTTP/1.1\r\nHost: web.example.net\r\n\r\n",
                expect="body")["got"]
    head, _, body = got.partition("\r\n\r\n")
    assert head.split("\r\n") == ["POST /a/b?c=d HTTP/1.1", "Host: Echo.example.net:7",
                                  "Connection: close", "X-Own: 1", "Content-Length: 4"]
    assert body == "body"  # and nothing of a second request


def test_plain_requests_are_judged_like_any(gate):
    gate.start("http://web.example.net/ok/*", "secure.example.net:80", deny=["secure.example.net:81"])
    assert "200" in plain(gate, "http://web.example.net/ok/x", expect="web")["got"]
    for target in ("http://web.example.net/no", "http://web.example.net/ok/../no",
                   "http://web.example.net/ok/%2e%2e/no", "http://other.example.net/ok/x",
                   "http://secure.example.net:81/"):
        assert "403" in plain(gate, target)["got"], target
    for extra in ("Host: other.example.net\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
                  "Transfer-Encoding : chunked\r\n", "Content-Length: +3\r\n", " folded: 1\r\n",
                  "Upgrade: h2c\r\n", "Connection: Host\r\n",
                  "Connection: Upgrade\r\nUpgrade: websocket\r\n"):
        got = plain(gate, "http://web.example.net/ok/x", extra=extra)["got"]
        assert got.startswith(("HTTP/1.1 400", "HTTP/1.1 403")), (extra, got)
    assert "400" in plain(gate, "http://web.example.net/ok/x", host="other.example.net")["got"]
    assert "400" in plain(gate, "https://web.example.net/ok/x")["got"]
    assert gate.lab.seen().asked() <= {"web.example.net"}


# ---- rules that change under a connection ----


SAY_AND_WAIT = """
import socket, sys, errno
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)
s.sendall(sys.argv[3].encode("latin-1"))
print("said", flush=True)
s.settimeout(20)
try:
    print("end" if s.recv(1) == b"" else "data", flush=True)
except OSError as e:
    print(errno.errorcode.get(e.errno, e), flush=True)
"""


def test_what_was_looked_at_has_to_fit_the_new_rules_before_it_is_dialled(gate):
    """It passed as TLS and is still being dialled; from now on only HTTP may pass."""
    gate.start("tls://silent.example.net:443", dial=8000)
    said = "".join(chr(b) for b in hello("silent.example.net").encode("latin-1"))
    # NUL cannot be an argument: as escapes.
    script = SAY_AND_WAIT.replace('sys.argv[3].encode("latin-1")', "bytes.fromhex(sys.argv[3])")
    held = gate.interactive(script, "silent.example.net", 443, said.encode("latin-1").hex())
    assert held.stdout.readline() == "said\n"
    deadline = time.monotonic() + 5
    while "dialling" not in show(gate) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert "dialling" in show(gate)
    gate.policy("http://silent.example.net:443", dial=8000)
    assert gate.stats()["now"] == 0
    assert held.stdout.readline() == "ECONNRESET\n"
    held.communicate()


def show(gate):
    gate.say("show")
    return " ".join(gate.wait("show"))


# ---- its memory ----


HOG = """
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
head = b"GET / HTTP/1.1\\r\\nHost: silent.example.net\\r\\nX: " + b"x" * 30000 + b"\\r\\n\\r\\n"
where = socket.getaddrinfo("silent.example.net", 80, socket.AF_INET, socket.SOCK_STREAM)[0][4]
held = []
for i in range(2600):
    try:
        s = socket.create_connection(where, 5)
        s.sendall(head)
        held.append(s)
    except OSError:
        pass
print(len(held), flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_its_memory_has_an_end(gates):
    """Requests that wait for a server which never answers, each as long as may be."""
    gate = gates()
    gate.start("http://silent.example.net:80", "web.example.net:80", dial=6000)
    pid = gate.worker()
    held = gate.interactive(HOG)
    assert int(held.stdout.readline()) > 1000
    most, deadline = 0, time.monotonic() + 5
    while gate.stats()["all"] < 2600 and time.monotonic() < deadline:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        most = max(most, int(status.partition("VmSize:")[2].split()[0]))
    assert most <= 256 * 1024, most
    assert gate.worker() == pid  # what did not fit was refused; nothing fell over
    held.communicate()
    deadline = time.monotonic() + 10
    while gate.stats()["now"] > 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert gate.probe(tcp("web.example.net", 80, say=GET, expect="web"))[0]["ok"]


# ---- past the filter of system calls ----


def test_io_uring_leads_where_connect_does(gate):
    """No filter stands here: where a policy's own lets it be used, the namespace still holds."""
    gate.start("web.example.net:80", "45.90.1.10:81")
    four, six = (gate.probe({"do": "resolve", "host": "web.example.net", "family": f})[0]["addresses"][0]
                 for f in (4, 6))
    literal = errno.ECONNREFUSED if gate.nft else errno.EACCES  # where the kernel asks us
    datagram = 0 if gate.nft else errno.EACCES                  # connected, which sends nothing
    tries = [("tcp", four, 80, 0), ("tcp", six, 80, 0), ("tcp", "45.90.1.10", 81, 0),
             ("tcp", four, 81, errno.ECONNREFUSED), ("tcp", "45.90.1.10", 80, errno.ECONNREFUSED),
             ("tcp", "8.8.8.8", 53, literal), ("tcp", "2001:4860:4860::8888", 53, literal),
             ("tcp", "::ffff:8.8.8.8", 53, literal), ("udp", "8.8.8.8", 53, datagram),
             ("udp", four, 443, datagram), ("udp", six, 443, datagram),
             ("tcp", "127.0.0.1", zone.HOST_LOOPBACK, errno.ECONNREFUSED)]
    code, out, err = gate.run(harness.BUILD / "tests/live/uring",
                              *(str(word) for t in tries for word in t[:3]))
    if code == 77:
        pytest.skip("io_uring: this kernel has none, or it is turned off")
    assert code == 0, err
    assert [int(line) for line in out.split()] == [t[3] for t in tries]
    assert gate.lab.seen().opened() <= {("45.90.1.10", 80), ("2a0e:97c0:1::a", 80), ("45.90.1.10", 81)}
