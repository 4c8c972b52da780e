# SPDX-License-Identifier: Apache-2.0
"""Requests where they are looked at: how long they may be, what programs are told by, protocols
beside HTTP/1, with TLS that ends at us and in clear."""

import json
import os
import shutil
import subprocess

import pytest

from netlab import allow
from test_gatekeeper import network
from test_intercept import HOST, OPEN, impostors, raw, reached, request, requests, run  # noqa: F401

pytestmark = pytest.mark.modes("root", "user")
CLEAR = "web.example.net"
BOUNDS = ["--request-body", "1000", "--response-body", "1000"]
ASK = """
import http.client, json, sys
out = []
for scheme, host, method, path, size, chunked in json.loads(sys.argv[1]):
    kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
    c = kind(host, timeout=10)
    body = iter([b"b" * 100] * (size // 100) + [b"b" * (size % 100)] * (size % 100 > 0)) if chunked else b"b" * size
    try:
        c.request(method, path, body=body if size else None, encode_chunked=chunked)
        r = c.getresponse()
        out.append([r.status, len(r.read())])
    except (OSError, http.client.HTTPException) as e: out.append([0, type(e).__name__])
print(json.dumps(out))
"""


def ask(net, flags, *what):
    return run(net, ASK, json.dumps(what), flags=flags + ["--proxy", "false"])


def codes(net, which="denied"):
    return [(e["code"], e["step"]) for e in network(net.last)[which]]


@pytest.mark.parametrize("scheme,host", [("https", HOST), ("http", CLEAR)])
def test_bodies_have_bounds(net, scheme, host):
    def one(method, path, size=0, chunked=False):
        return [scheme, host, method, path, size, chunked]

    got = ask(net, allow(f"{scheme}://{host}/*") + BOUNDS, one("POST", "/post", 1000), one("POST", "/post", 1001),
              one("POST", "/post", 1000, True), one("POST", "/post", 1001, True), one("GET", "/big/1000"),
              one("GET", "/big/1001"), one("GET", "/drip/0"), one("GET", "/drip/1"), one("HEAD", "/big/5000"))
    assert [g[0] for g in got[:3]] == [200, 413, 200] and got[0][1] == got[2][1] == 1000, got
    assert got[3][0] in (0, 413) and got[4] == [200, 1000] and got[5][0] in (0, 502) and got[6] == [200, 0], got
    assert got[7][0] in (0, 502) and got[8][0] == 200, got
    said = codes(net)
    assert said and set(said) == {("http_body_too_large", "limit")}, said
    why = {e["why"].split(": ")[-1] for e in network(net.last)["denied"]}
    assert why == {"the request's body is longer than network.request_body",
                   "the answer's body is longer than network.response_body"}, why
    # Of the one whose length was told nothing arrived.
    assert reached(net).count("POST /post") <= 3
    got = ask(net, allow(f"{scheme}://{host}/*"), one("POST", "/post", 5000), one("GET", "/big/5000"))
    assert got == [[200, 5000], [200, 5000]]


def test_later_bodies_have_bounds_as_well(net):
    """A second request on the same connection."""
    first = request("/post", "POST", extra="Content-Length: 2\r\n", body="hi", close=False)
    got = raw(net, allow(f"https://{HOST}/*") + BOUNDS,
              (first + request("/post", "POST", extra="Content-Length: 1001\r\n", body="x" * 1001), HOST, None),
              (request("/big/9", close=False) + request("/big/1001"), HOST, None))
    assert got[0].count("HTTP/1.1 200") <= 1 and got[1].count("HTTP/1.1 200") <= 1, got
    assert "x" * 1001 not in got[0] and len(got[1]) < 1000, got
    assert reached(net).count("POST /post") <= 1
    assert codes(net) == [("http_body_too_large", "limit")] * 2, codes(net)


def test_each_has_a_code(net, impostors):
    port = impostors["self"]
    flags = allow(OPEN, f"https://{HOST}:{port}/*", f"http://{CLEAR}/open/*") + ["--proxy", "false"]
    requests(net, flags, ["GET", f"https://{HOST}/closed"], ["GET", f"http://{CLEAR}/closed"])
    assert codes(net) == [("http_denied_acl", "content")] * 2
    requests(net, flags, ["GET", f"https://{HOST}:{port}/"])
    assert codes(net, "failed") == [("http_tls_fail", "reach")]
    raw(net, flags, request("/open/../closed"), "GET\r\n\r\n", (request(), HOST, ["h2"]))
    assert codes(net) == [("http_invalid_url", "content")] * 2 + [("http_tls_fail", "content")]
    net.last = net.run("curl", "-sS", "http://denied.example.net/", flags=flags, record=True)
    assert codes(net) == [(None, "lookup")]


def test_long_heads(net):
    def long(n):
        return request(extra="".join(f"X{i}: {'y' * 20000}\r\n" for i in range(n)))

    got = raw(net, allow(OPEN), long(1), long(6), long(7))
    assert [g.startswith("HTTP/1.1 200") for g in got] == [True, True, False], [g[:80] for g in got]


def test_requests_say_whose_they_are(net):
    """Where rules ask for it, by nobody's choice inside; elsewhere nothing is said."""
    net.put("policy.json", json.dumps({"agent": "agent-7", "network": {
        "mode": "limited", "allow": [HOST, "other.example.net"], "attribution": [f"GET {HOST}/headers"]}}).encode())
    script = f"""
import http.client, json
out = []
for host, path in (("{HOST}", "/headers"), ("other.example.net", "/headers")):
    c = http.client.HTTPSConnection(host, timeout=10)
    c.request("GET", path, headers={{"Immure-Agent": "boss", "IMMURE_SESSION": "x", "Immure-Role": "root", "X-Mine": "1"}})
    out.append(c.getresponse().read().decode())
print(json.dumps(out))
"""
    def fields(text):
        found = [line.split(": ", 1) for line in text.splitlines() if line.lower().startswith(("immure", "x-mine"))]
        assert len(found) == len({name for name, _ in found}), text
        return dict(found)

    flags = ["--policy", "policy.json", "--proxy", "false"]
    there, elsewhere = map(fields, run(net, script, flags=flags))
    assert set(there) == {"Immure-Agent", "Immure-Policy", "X-Mine"} and there["Immure-Agent"] == "agent-7", there
    assert there["Immure-Policy"].startswith("policy-"), there
    assert elsewhere["Immure-Agent"] == "boss" and "Immure-Policy" not in elsewhere, elsewhere
    name = f"s{os.urandom(4).hex()}"
    made = net.call(net.immure, "create", "--name", name, *flags)
    assert made.code == 0, made
    try:
        got = net.call(net.immure, "exec", name, "--", "/usr/bin/python3", "-c", script)
        session = json.loads(net.call(net.immure, "inspect", "--json", name).out)["session"]
        assert fields(json.loads(got.out)[0])["Immure-Session"] == session, (got, session)
    finally:
        net.call(net.immure, "rm", "--force", name)


# ---- beside HTTP/1 ---------------------------------------------------------------

UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: aaaa\r\n"


def upgrade(path, host=HOST):
    return request(path, extra=UPGRADE, host=host, close=False)


SOCKET = """
import json, socket, ssl, sys
out = []
for scheme, host, head, then in json.loads(sys.argv[1]):
    try:
        s = socket.create_connection((host, 443 if scheme == "https" else 80), timeout=10)
        if scheme == "https": s = ssl.create_default_context().wrap_socket(s, server_hostname=host)
        s.sendall(head.encode()); got = b""
        while b"\\r\\n\\r\\n" not in got and (more := s.recv(65536)): got += more
        status, rest = got.split()[1].decode(), got.partition(b"\\r\\n\\r\\n")[2]
        if status == "426":
            while not rest.endswith(b"here\\n") and (more := s.recv(65536)): rest += more
            rest = b""
        if status in ("101", "426"):
            s.sendall(then.encode("latin-1"))
            while len(rest) < len(then) and (more := s.recv(65536)): rest += more
        out.append([status, rest.decode("latin-1")])
    except OSError as e: out.append([type(e).__name__, ""])
print(json.dumps(out))
"""


@pytest.mark.parametrize("scheme,host", [("https", HOST), ("http", CLEAR)])
def test_websockets(net, scheme, host):
    """Only where a rule names them; then whatever passes is not looked at, and before that all is."""
    def sockets(flags, *what):
        return run(net, SOCKET, json.dumps([[scheme, host, *w] for w in what]), flags=flags + ["--proxy", "false"])

    noise = "\x81\x85\0\xff\r\n\r\n" + request("/closed", host=host)
    flags = allow(f"WEBSOCKET {scheme}://{host}/socket*", f"GET {scheme}://{host}/open/*")
    got = sockets(flags, (upgrade("/socket", host), noise), (upgrade("/open/x", host), ""),
                  (request("/socket", host=host), ""))
    assert got[0] == ["101", noise] and got[1][0] == got[2][0] == "403", got
    adds = [e["add"] for e in network(net.last)["denied"]]
    port = 443 if scheme == "https" else 80
    assert adds == [f"WEBSOCKET {scheme}://{host}:{port}/open/x", f"GET {scheme}://{host}:{port}/socket"], adds
    got = sockets(allow(f"{scheme}://{host}/*"), (upgrade("/socket", host), ""))
    assert got[0][0] == "403", got
    # The server does not take it: what follows is a request like any other.
    seen = [e for e in net.lab.seen().log if e[0] == "socket"]
    got = sockets(flags, (upgrade("/socket-not", host), request("/closed", host=host)),
                  (upgrade("/socket-not", host), request("/open/x", host=host)))
    assert got[0][0] in ("426", "ConnectionResetError") and "200" not in got[0][1] and "200 OK" in got[1][1], got
    assert seen and "GET /closed" not in reached(net)


def test_a_secret_goes_with_an_upgrade(net):
    net.put("policy.json", json.dumps({"secrets": {"api": {"from": "env:API_KEY", "to": [HOST]}}}).encode())
    value = "canary" + os.urandom(12).hex()
    got = run(net, SOCKET, json.dumps([["https", HOST, upgrade("/socket"), "hello " + value[:4]]]),
              flags=["--policy", "policy.json", *allow(HOST, f"WEBSOCKET https://{HOST}/socket")],
              env={"API_KEY": value})
    assert got == [["101", "hello " + value[:4]]], got


GO = """
package main
import ("fmt"; "io"; "net/http"; "os")
func main() {
	r, err := http.Get(os.Args[1])
	if err != nil { fmt.Println(err); os.Exit(1) }
	b, _ := io.ReadAll(r.Body)
	fmt.Println(r.Proto, r.StatusCode, string(b))
}
"""


@pytest.fixture(scope="module")
def go_client(lab):
    """Built outside: what is tried is whom it trusts and what it speaks."""
    if not shutil.which("go"):
        pytest.skip("go is not installed")
    made = lab.path / "go-client"
    (lab.path / "client.go").write_text(GO)
    env = {**os.environ, "GOCACHE": str(lab.path / "go-cache"), "GO111MODULE": "off", "HOME": str(lab.path),
           "GOFLAGS": ""}
    subprocess.run(["go", "build", "-o", str(made), str(lab.path / "client.go")], check=True, env=env)
    return made


def test_go(net, go_client):
    """It offers HTTP/2 first."""
    shutil.copy(go_client, net.ws / "client")
    result = net.run("./client", f"https://{HOST}/open/x", flags=allow(OPEN) + ["--proxy", "false"])
    assert result.text.startswith("HTTP/1.1 200 web"), result


HTTP2 = {
    "curl": ["curl", "-sS", "--http2", "-w", " HTTP/%{http_version}", f"https://{HOST}/open/x"],
    "node": ["node", "-e", f"""
const s = require('tls').connect({{host: '{HOST}', port: 443, servername: '{HOST}', ALPNProtocols: ['h2', 'http/1.1']}},
  () => {{ console.log('web HTTP/' + s.alpnProtocol.slice(5)); s.destroy(); }});"""],
}


@pytest.mark.parametrize("name", list(HTTP2))
def test_who_offers_both_gets_http1(net, name):
    if not shutil.which(HTTP2[name][0]):
        pytest.skip(f"{name} is not installed")
    result = net.run(*HTTP2[name], flags=allow(OPEN) + ["--proxy", "false"])
    assert "web" in result.text and result.text.endswith("HTTP/1.1\n" if name == "node" else "HTTP/1.1"), result


def test_who_speaks_nothing_else_is_told_so(net):
    """As clients of gRPC do: an alert that says what is the matter, and a line of ours."""
    if not shutil.which("node"):
        pytest.skip("node is not installed")
    script = f"""
const c = require('http2').connect('https://{HOST}');
c.on('error', e => {{ console.log(e.code); c.destroy(); }});
c.request({{':path': '/open/x'}}).on('response', h => {{ console.log('answered', h[':status']); c.destroy(); }})
  .on('error', () => 0);
"""
    net.last = net.run("node", "-e", script, flags=allow(OPEN) + ["--proxy", "false"], record=True)
    assert "NO_APPLICATION_PROTOCOL" in net.last.text, net.last
    assert codes(net) == [("http_tls_fail", "content")]
    assert "HTTP/1.1 is all that is spoken here" in net.last.errors, net.last
    assert not reached(net)
