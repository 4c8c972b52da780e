# SPDX-License-Identifier: Apache-2.0
"""Inside TLS: methods and paths, by whom programs trust and whom we trust."""

import contextlib
import json
import os
import shutil
import signal
import subprocess

import pytest

import harness
from netlab import allow
from test_gatekeeper import network

pytestmark = pytest.mark.modes("root", "user")
HOST = "secure.example.net"
OPEN = f"https://{HOST}/open/*"
WAYS = {"caught": ["--proxy", "false"], "proxied": []}
GET = """
import json, sys, urllib.request, urllib.error
out = []
for method, url in json.loads(sys.argv[1]):
    try:
        r = urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10)
        out.append([r.status, r.read().decode(), r.headers.get("X-Said")])
    except urllib.error.HTTPError as e: out.append([e.code, e.read().decode(), ""])
    except urllib.error.URLError as e: out.append([0, str(e.reason), ""])
    except OSError as e: out.append([0, type(e).__name__, ""])
print(json.dumps(out))
"""
# Bytes inside TLS as they are, with any SNI and ALPN: what came back, or how it failed.
RAW = """
import json, socket, ssl, sys
out = []
for say, sni, alpn in json.load(open(sys.argv[2])):
    c = ssl.create_default_context(); c.check_hostname = False
    if alpn: c.set_alpn_protocols(alpn)
    try:
        s = socket.create_connection((sys.argv[1], 443), timeout=10)
        if sni != "plain": s = c.wrap_socket(s, server_hostname=sni or None)
        for piece in say if isinstance(say, list) else [say]: s.sendall(piece.encode("latin-1"))
        got = b""
        while block := s.recv(65536): got += block
        out.append(got.decode("latin-1"))
    except OSError as e: out.append(type(e).__name__)
print(json.dumps(out))
"""


@pytest.fixture(params=list(WAYS))
def way(request):
    return WAYS[request.param]


def run(net, script, *args, flags=(), env=None):
    result = net.run("/usr/bin/python3", "-c", script, *args, flags=flags, record=True, env=env or {})
    assert result.code == 0, result
    net.last = result
    return json.loads(result.out)


def requests(net, flags, *what, **kw):
    return run(net, GET, json.dumps(what), flags=flags, **kw)


def raw(net, flags, *what, host=HOST, env=None):
    whole = [w if isinstance(w, tuple) else (w, host, None) for w in what]
    net.put("said.json", json.dumps(whole).encode())
    return run(net, RAW, host, "said.json", flags=flags, env=env)


def reached(net):
    return [e[2] for e in net.lab.seen().reached("request")]


def request(path="/open/x", method="GET", host=HOST, extra="", body="", close=True):
    last = "Connection: close\r\n" if close else ""
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{extra}{last}\r\n{body}"


def test_methods_and_paths(net, way):
    got = requests(net, allow(f"GET {HOST}/open/*", f"https://{HOST}/both") + way,
                   ["GET", f"https://{HOST}/open/x"], ["POST", f"https://{HOST}/open/x"],
                   ["GET", f"https://{HOST}/closed"], ["POST", f"https://{HOST}/both"],
                   ["GET", f"https://{HOST}/open/%2e%2e/closed"], ["GET", f"https://{HOST}/%6fpen/y"])
    assert [g[0] for g in got] == [200, 403, 403, 200, 403, 200], got
    assert f'it takes "POST https://{HOST}:443/open/x" in network.allow' in got[1][1], got
    seen = net.lab.seen().only(f"{HOST}:443")
    assert [e[2] for e in seen.reached("request")] == ["GET /open/x", "POST /both", "GET /%6fpen/y"], seen
    told = [d["add"] for d in network(net.last)["denied"]]
    assert f"GET https://{HOST}:443/closed" in told, told


def test_a_denial_inside(net):
    flags = allow(HOST) + ["--deny-host", f"https://{HOST}/admin/*", "--deny-host", f"DELETE {HOST}"]
    got = requests(net, flags, ["GET", f"https://{HOST}/x"], ["GET", f"https://{HOST}/admin/x"],
                   ["DELETE", f"https://{HOST}/x"])
    assert [g[0] for g in got] == [200, 403, 403], got
    assert reached(net) == ["GET /x"]


@pytest.mark.parametrize("family", ["-4", "-6"])
def test_curl(net, way, family):
    result = net.run("curl", "-sS", family, "-w", "%{http_code} %{ssl_verify_result}",
                     f"https://{HOST}/open/x", flags=allow(OPEN) + way)
    assert result.text.endswith("/open/x\n200 0"), result
    net.lab.seen().only(f"{HOST}:443")


PROGRAMS = {
    "wget": ["wget", "-qO-", f"https://{HOST}/open/x"],
    "node": ["node", "-e", f"fetch('https://{HOST}/open/x').then(r => r.text()).then(t => console.log(t))"],
    "openssl": ["sh", "-c", f"printf 'GET /open/x HTTP/1.0\\r\\nHost: {HOST}\\r\\n\\r\\n' | openssl s_client "
                f"-verify_return_error -quiet -ign_eof -connect {HOST}:443 -servername {HOST} 2>&1"],
}


@pytest.mark.parametrize("name", list(PROGRAMS))
def test_programs_trust_the_sessions_authority(net, name):
    if not shutil.which(PROGRAMS[name][0]):
        pytest.skip(f"{name} is not installed")
    result = net.run(*PROGRAMS[name], flags=allow(OPEN) + ["--proxy", "false"])
    assert "web secure.example.net /open/x" in result.text, result


def test_git(net):
    net.lab.repository("inside.git", {"a.txt": "hello"})
    result = net.run("git", "clone", "-q", f"https://{HOST}/git/inside.git", "got",
                     flags=allow(f"https://{HOST}/git/inside.git/*"))
    assert result.code == 0 and (net.ws / "got/a.txt").read_text() == "hello", result


JAVA = """
public class Get { public static void main(String[] a) throws Exception {
    try (var in = new java.net.URI(a[0]).toURL().openStream()) { System.out.write(in.readAllBytes()); System.out.flush(); }
    catch (javax.net.ssl.SSLException e) { System.out.println("not trusted"); }
} }
"""
# As in docs/EGRESS.md.
KEY_STORE = """
awk '/BEGIN CERT/ { last = "" } { last = last $0 "\\n" } END { printf "%s", last }' "$SSL_CERT_FILE" > /tmp/session.pem
cp "$(dirname "$(dirname "$(readlink -f "$(command -v java)")")")/lib/security/cacerts" /tmp/trust && chmod u+w /tmp/trust
keytool -importcert -noprompt -storepass changeit -alias session -file /tmp/session.pem -keystore /tmp/trust
export JAVA_TOOL_OPTIONS=-Djavax.net.ssl.trustStore=/tmp/trust
"""


@pytest.mark.parametrize("told", [True, False])
def test_java_has_to_be_told(net, told):
    """It keeps a store of its own, in a format of its own; a command can make one."""
    if not shutil.which("javac") or not shutil.which("keytool"):
        pytest.skip("no Java here")
    net.put("Get.java", JAVA)
    get = f"java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 Get.java https://{HOST}/open/x"
    result = net.run("sh", "-ec", KEY_STORE * told + get, flags=allow(OPEN) + ["--proxy", "false"])
    assert (f"web {HOST} /open/x" if told else "not trusted") in result.text, result


def test_only_hosts_that_ask_for_it(net):
    """Others show their own certificate."""
    script = ("for h in secure web; do openssl s_client -connect $h.example.net:443 -servername "
              "$h.example.net </dev/null 2>/dev/null | openssl x509 -noout -issuer; done")
    result = net.run("sh", "-c", script, flags=allow(OPEN, "tls://web.example.net") + ["--proxy", "false"])
    inside, other = result.text.splitlines()
    assert "immure session" in inside and other.endswith("netlab"), result


def test_each_session_has_its_own_authority(net):
    script = f"openssl s_client -connect {HOST}:443 -servername {HOST} -showcerts </dev/null 2>/dev/null"
    issuers = {line for _ in range(2) for line in
               net.run("sh", "-c", script, flags=allow(OPEN) + ["--proxy", "false"]).text.splitlines()
               if "i:CN = immure session" in line}
    assert len(issuers) == 2, issuers


def test_nobody_else_is_trusted_with_sole(net):
    flags = allow(OPEN, "tls://web.example.net")
    what = ["GET", f"https://{HOST}/open/x"], ["GET", "https://web.example.net/"]
    assert [g[0] for g in requests(net, flags, *what)] == [200, 200]
    got = requests(net, flags + ["--trust", "sole"], *what)
    assert got[0][0] == 200 and "CERTIFICATE_VERIFY_FAILED" in got[1][1], got


def test_the_files_of_trust_cannot_be_written(net):
    result = net.run("sh", "-c", "echo $SSL_CERT_FILE $NODE_EXTRA_CA_CERTS; grep -c BEGIN $SSL_CERT_FILE; "
                     "echo x >> $SSL_CERT_FILE", flags=allow(OPEN))
    assert result.code != 0 and result.text.split()[0] == result.text.split()[1], result


# ---- servers that are not who they should be -------------------------------------


@pytest.fixture(scope="module")
def impostors(lab):
    """Ports of the world with certificates that are wrong, each in one way."""
    def openssl(*argv):
        subprocess.run(["openssl", *argv], cwd=lab.path, check=True, stdin=subprocess.DEVNULL,
                       capture_output=True)

    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *new, "-keyout", "self.key", "-out", "self.pem", "-days", "2", "-subj",
            f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}")
    for name, san, days in (("other", "other.example.org", "2"), ("late", HOST, "0")):
        openssl("req", *new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={HOST}")
        (lab.path / f"{name}.ext").write_text(f"subjectAltName=DNS:{san}\n")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-days", days, "-out", f"{name}.pem", "-extfile", f"{name}.ext")
    ports = {"self": 9441, "other": 9442, "late": 9443, "old": 9444}
    for name, port in ports.items():
        cert = "leaf" if name == "old" else name
        lab.service(f"impostor-{name}", ["openssl", "s_server", "-quiet", "-www", "-accept", str(port),
                                         "-cert", str(lab.path / f"{cert}.pem"), "-key",
                                         str(lab.path / f"{cert}.key"), "-cipher", "ALL:@SECLEVEL=0",
                                         *(["-tls1_1"] if name == "old" else [])], port)
    return ports


@pytest.mark.parametrize("kind,why", [("self", "self-signed"), ("other", "hostname mismatch"),
                                      ("late", "expired"), ("old", "TLS with the server")])
def test_a_server_that_cannot_prove_itself(net, impostors, kind, why):
    port = impostors[kind]
    got = requests(net, allow(f"https://{HOST}:{port}/*"), ["GET", f"https://{HOST}:{port}/"])
    assert got[0][0] == 0, got
    told = network(net.last)["failed"]
    assert len(told) == 1 and told[0]["port"] == port and why.lower() in told[0]["why"].lower(), told


# ---- clients that would get around it --------------------------------------------


def test_the_name_in_tls_and_in_the_request(net):
    got = raw(net, allow(OPEN), (request(), HOST, None), (request(), "web.example.net", None),
              (request(), "", None), (request(host="web.example.net"), HOST, None),
              (request(), HOST, ["h2"]), (request(), HOST, ["h2", "http/1.1"]),
              (request(), "plain", None), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "SSH-2.0-x\r\n")
    assert got[0].startswith("HTTP/1.1 200") and got[5].startswith("HTTP/1.1 200"), got
    assert got[3].startswith("HTTP/1.1 403"), got
    for i in (1, 2, 4, 6, 7, 8):
        assert not got[i].startswith("HTTP"), (i, got[i])
    assert reached(net) == ["GET /open/x"] * 2


CHUNKED = "Transfer-Encoding: chunked\r\n"
SMUGGLED = request("/closed")
SMUGGLING = [
    request(method="POST", extra="Content-Length: 5\r\n" + CHUNKED, body="0\r\n\r\n" + SMUGGLED),
    request(method="POST", extra=CHUNKED + "Content-Length: 5\r\n", body="0\r\n\r\n" + SMUGGLED),
    request(method="POST", extra="Content-Length: 0\r\nContent-Length: 90\r\n", body=SMUGGLED),
    request(method="POST", extra="Content-Length: +5\r\n", body=SMUGGLED),
    request(method="POST", extra="Content-Length: 5, 5\r\n", body=SMUGGLED),
    request(method="POST", extra="Transfer-Encoding: xchunked\r\n", body="0\r\n\r\n" + SMUGGLED),
    request(method="POST", extra="Transfer-Encoding : chunked\r\n", body="0\r\n\r\n" + SMUGGLED),
    request(method="POST", extra="Transfer_Encoding: chunked\r\n", body="0\r\n\r\n" + SMUGGLED),
    request(method="POST", extra="Transfer-Encoding:\tchunked, identity\r\n", body="0\r\n\r\n" + SMUGGLED),
    request(method="POST", extra=CHUNKED, body="5;x=y\r\nhello\r\n0\r\n\r\n"),
    request(method="POST", extra=CHUNKED, body="0\r\nX: y\r\n\r\n" + SMUGGLED),
    request(method="POST", extra=CHUNKED, body="0x5\r\nhello\r\n0\r\n\r\n"),
    request(extra="X: a\r\n GET /closed HTTP/1.1\r\n"), request(extra="X: a\nHost: web.example.net\r\n"),
    request(extra="X: a\rHost: web.example.net\r\n"), request(extra="X: \0\r\n"),
    request(extra="Host: web.example.net\r\n"), request(extra="X-HTTP-Method-Override: DELETE\r\n"),
    request(extra="X-Original-URL: /closed\r\n"), request(f"https://{HOST}/open/x"),
    request(f"http://{HOST}/open/x"), request("//open/x"), request("/open/../closed"),
    request("/open/..;/closed"), request("/open/%2e%2e/closed"), request("/open/%2fx"), request("/open\\x"),
    request(f"{HOST}:443", method="CONNECT"), request(method="TRACE"), request("*", method="OPTIONS"),
    request(extra="Upgrade: websocket\r\nConnection: Upgrade\r\n", close=False),
    request(extra="Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMA\r\n"),
    request(extra="Connection: close, Host\r\n"), "GET /open/x\r\n\r\n", "GET /open/x HTTP/2.0\r\n\r\n",
    "GET /open/x HTTP/1.1\r\n\r\n", request(extra="X: " + "y" * 140000 + "\r\n"),
    request(extra="".join(f"X{i}: y\r\n" for i in range(200))), "\r\n" + request(),
]


def test_smuggling(net):
    got = raw(net, allow(OPEN), request(), *SMUGGLING)
    assert got[0].startswith("HTTP/1.1 200"), got[0]
    seen = reached(net)
    assert "GET /closed" not in seen and "/closed" not in " ".join(seen), seen
    for text, answer in zip(SMUGGLING, got[1:]):
        assert answer.count("HTTP/1.1 200") == 0 or "POST" in text, (text, answer)
    # A body that is refused only once it comes has had its head passed on, never what follows it.
    assert len([s for s in seen if s != "GET /open/x"]) <= 3, seen


def test_later_requests_are_judged_as_well(net):
    two = request(close=False) + request("/open/y")
    mixed = request(close=False) + request("/closed", close=False) + request("/open/z")
    body = request(method="POST", extra="Content-Length: 2\r\n", body="hi", close=False) + request()
    got = raw(net, allow(OPEN), two, mixed, body)
    assert [g.count("HTTP/1.1 200") for g in (got[0], got[2])] == [2, 2], got
    assert got[1].count("HTTP/1.1 200") <= 1, got
    assert "GET /closed" not in (seen := reached(net)) and "GET /open/z" not in seen, seen


def test_slow_clients(net):
    """Slow before TLS is whole, and in the middle of a head."""
    script = f"""
import socket, ssl, time
def end(s, what):
    start = time.monotonic(); s.settimeout(20)
    try: s.sendall(what); got = s.recv(1)
    except OSError: got = b""
    print(got == b"" and time.monotonic() - start < 15)
end(socket.create_connection(("{HOST}", 443)), b"\\x16\\x03\\x01")
"""
    result = net.python(script, flags=allow(OPEN) + ["--proxy", "false", "--handshake-time", "300ms"])
    assert result.text.split() == ["True"], result


# ---- its end ---------------------------------------------------------------------


def children(pid):
    return [int(p) for t in os.listdir(f"/proc/{pid}/task")
            for p in open(f"/proc/{pid}/task/{t}/children").read().split()]


def interceptors(pid):
    found = []
    for child in children(pid):
        with contextlib.suppress(OSError):
            if b"immure-intercept" in open(f"/proc/{child}/cmdline", "rb").read():
                found.append(child)
    return found


# One connection that stands, then others: a line of input each, and what came of it.
STANDING = f"""
import os, socket, ssl, sys
c = ssl.create_default_context()
def new(): return c.wrap_socket(socket.create_connection(("{HOST}", 443), timeout=10), server_hostname="{HOST}")
def get(s, path):
    s.sendall(f"GET {{path}} HTTP/1.1\\r\\nHost: {HOST}\\r\\n\\r\\n".encode()); got = s.recv(999)
    while got and not got.endswith(b"\\n") and (more := s.recv(999)): got += more
    return got.split()[1].decode() if got else "end"
s = None
for line in sys.stdin:
    how, path = line.split()
    try:
        if how == "new" or not s: s = new()
        print(get(s, path), flush=True)
    except OSError as e: print(type(e).__name__, flush=True)
"""


class Standing:
    """That program in a session."""

    def __init__(self, net, flags, **kw):
        self.process = net.spawn(net.immure, "run", *flags, "--proxy", "false", "--", "/usr/bin/python3",
                                 "-c", STANDING, stdin=subprocess.PIPE, **kw)

    def ask(self, how, path="/open/x"):
        self.process.stdin.write(f"{how} {path}\n".encode())
        self.process.stdin.flush()
        return self.process.stdout.readline().decode().strip()

    def worker(self, but=None):
        found = [None]

        def there():
            found[:] = [p for p in interceptors(self.process.pid) if p != but]
            return len(found) == 1

        assert harness.until(there, 10)
        return found[0]

    def end(self):
        return self.process.communicate(timeout=30 * harness.SLOWER)[1].decode()


def test_how_it_is_confined(net):
    with_it = Standing(net, allow(OPEN))
    assert with_it.ask("new") == "200"
    status = open(f"/proc/{with_it.worker()}/status").read()
    assert "Seccomp:\t2" in status and "NoNewPrivs:\t1" in status and "CapEff:\t0000000000000000" in status
    assert "ended" not in with_it.end()


def test_without_it_nothing_goes_on_and_the_next_one_is_the_same(net):
    """Its connections end with it. Another has the same authority, which the client goes on to
    trust, and the same rules."""
    s = Standing(net, allow(OPEN))
    assert s.ask("new") == "200"
    old = s.worker()
    os.kill(old, signal.SIGKILL)
    assert s.ask("same") not in ("200", "403")
    s.worker(but=old)
    assert harness.until(lambda: s.ask("new") == "200", 10)
    assert s.ask("new", "/closed") == "403"
    assert "immure-intercept ended 1 time and was started again" in s.end()
    assert all(r == "GET /open/x" for r in reached(net))


def test_one_that_ends_over_and_over(net):
    s = Standing(net, allow(OPEN))
    assert s.ask("new") == "200"
    worker = s.worker()
    for _ in range(16):
        os.kill(worker, signal.SIGKILL)
        worker = s.worker(but=worker)
    os.kill(worker, signal.SIGKILL)
    assert harness.until(lambda: not interceptors(s.process.pid), 10)
    assert s.ask("new") not in ("200", "403")
    assert not interceptors(s.process.pid)
    assert "was refused from then on" in s.end()


def test_the_next_one_has_the_rules_of_now(net):
    name = f"s{os.urandom(4).hex()}"
    get = ["/usr/bin/python3", "-c", GET, json.dumps([["GET", f"https://{HOST}/open/x"],
                                                      ["GET", f"https://{HOST}/more"]])]
    made = net.call(net.immure, "create", "--name", name, *allow(OPEN))
    assert made.code == 0, made
    try:
        def codes():
            return [g[0] for g in json.loads(net.call(net.immure, "exec", name, "--", *get).out)]

        supervisor = json.loads(net.call(net.immure, "inspect", "--json", name).out)["supervisor_pid"]
        assert net.call(net.immure, "net", "allow", name, f"https://{HOST}/more").code == 0
        assert net.call(net.immure, "net", "deny", name, OPEN).code == 0
        old, = interceptors(supervisor)
        os.kill(old, signal.SIGKILL)
        assert harness.until(lambda: [p for p in interceptors(supervisor) if p != old], 10)
        assert harness.until(lambda: codes() == [403, 200], 20), codes()
    finally:
        net.call(net.immure, "rm", "--force", name)


def test_a_pool_has_none(net):
    result = net.call(net.immure, "pool", "start", "--name", f"p{os.urandom(4).hex()}", "--workspace",
                      str(net.ws), *allow(OPEN))
    assert result.code == 125 and "cannot wait in a pool" in result.errors, result


def test_a_session_and_its_rules(net):
    """Rules inside TLS change while it runs; one that began without takes none."""
    name = f"s{os.urandom(4).hex()}"
    get = ["/usr/bin/python3", "-c", GET, json.dumps([["GET", f"https://{HOST}/open/x"],
                                                      ["GET", f"https://{HOST}/more"]])]

    def codes():
        return [g[0] for g in json.loads(net.call(net.immure, "exec", name, "--", *get).out)]

    made = net.call(net.immure, "create", "--name", name, *allow(OPEN))
    assert made.code == 0, made
    try:
        assert codes() == [200, 403]
        assert net.call(net.immure, "net", "allow", name, f"https://{HOST}/more").code == 0
        assert codes() == [200, 200]
        assert net.call(net.immure, "net", "deny", name, OPEN).code == 0
        assert codes() == [403, 200]
    finally:
        net.call(net.immure, "rm", "--force", name)
    made = net.call(net.immure, "create", "--name", name, *allow(HOST))
    assert made.code == 0, made
    try:
        more = net.call(net.immure, "net", "allow", name, f"https://{HOST}/more")
        assert more.code != 0 and "inside TLS" in more.errors, more
    finally:
        net.call(net.immure, "rm", "--force", name)
