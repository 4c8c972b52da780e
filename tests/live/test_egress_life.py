# SPDX-License-Identifier: Apache-2.0
"""The gatekeeper over time: when it starts, what it may do itself, what its death
does, how many connections it bears; ports that are published; proxies."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

import pytest

import harness
import netlab
import netlab_zone as zone
from netlab import allow

ECHO = f"echo.example.net:{zone.ECHO}"


class Running:
    """A session that is talked to line by line; its script says "ready" first."""

    def __init__(self, net, script, *flags):
        argv = [net.immure, "run", *flags, "--", "/usr/bin/python3", "-uc", script]
        self.process = net.spawn(*argv, stdin=subprocess.PIPE, start_new_session=True)
        line = self.process.stdout.readline()
        assert line == b"ready\n", (line, self.process.stderr.read() if not line else b"")

    def say(self, line=""):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        return self.line()

    def line(self):
        return self.process.stdout.readline().decode().strip()

    def workers(self):
        """Pids of gatekeepers below it."""
        found, new = [], [self.process.pid]
        while new:
            pid = new.pop()
            with contextlib.suppress(OSError):  # it ended meanwhile
                for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
                    new += map(int, task.read_text().split())
                if pathlib.Path(f"/proc/{pid}/comm").read_text().startswith("immure-egress"):
                    found.append(pid)
        return found

    def end(self):
        self.process.stdin.close()
        out, err = self.process.stdout.read(), self.process.stderr.read()
        code = self.process.wait(20)
        return harness.Result(code, out, err)


@pytest.fixture
def start(net):
    made = []

    def one(script, *flags):
        made.append(Running(net, script, *flags))
        return made[-1]

    yield one
    for session in made:
        session.process.kill()
        session.process.wait()
        for stream in (session.process.stdin, session.process.stdout, session.process.stderr):
            with contextlib.suppress(OSError):
                stream.close()


TALK = """import socket, sys
print('ready')
open_ones = []
for line in sys.stdin:
    word, *rest = line.split()
    try:
        if word == 'open':
            s = socket.create_connection((rest[0], int(rest[1])), timeout=5)
            open_ones.append(s)
            print('opened')
        elif word == 'talk':
            s = open_ones[-1]; s.sendall(b'x'); print('heard' if s.recv(1) else 'closed')
        elif word == 'look':
            print(socket.getaddrinfo(rest[0], 80)[0][4][0])
    except OSError as e:
        print(type(e).__name__)
"""
GONE = ("closed", "ConnectionResetError", "BrokenPipeError")


# ---- its life ---------------------------------------------------------------------


def test_it_starts_when_first_needed(start):
    """Not before; and a lookup is need enough."""
    session = start(TALK, *allow(ECHO))
    assert session.workers() == []
    assert session.say("look echo.example.net").startswith(("198.18.", "fd53:"))
    assert len(session.workers()) == 1
    assert session.say(f"open echo.example.net {zone.ECHO}") == "opened"
    assert len(session.workers()) == 1
    assert session.end().code == 0


def test_a_command_without_network_use(net):
    assert net.run("/bin/true", flags=allow(ECHO)).code == 0
    net.lab.seen().only()


@pytest.mark.modes("root")
def test_what_it_may_do_itself(start):
    """Confined before it reads a byte: no privilege, no program, no file."""
    session = start(TALK, *allow(ECHO))
    assert session.say(f"open echo.example.net {zone.ECHO}") == "opened"
    pid, = session.workers()
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["NoNewPrivs"] == "1" and fields["Seccomp"] == "2"
    for name in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
        assert int(fields[name], 16) == 0, (name, fields[name])
    for fd in os.listdir(f"/proc/{pid}/fd"):
        target = os.readlink(f"/proc/{pid}/fd/{fd}")
        assert target.startswith(("socket:", "anon_inode:", "pipe:", "/memfd:")) or (
            target in ("/dev/null",)), (fd, target)
    environment = pathlib.Path(f"/proc/{pid}/environ").read_bytes()
    assert environment.strip(b"\0") == b"", environment
    assert session.end().code == 0


def test_its_death_closes_everything(net, start):
    session = start(TALK, *allow(ECHO))
    assert session.say(f"open echo.example.net {zone.ECHO}") == "opened"
    assert session.say("talk") == "heard"
    pid, = session.workers()
    os.kill(pid, signal.SIGKILL)
    assert session.say("talk") in GONE
    net.lab.forget()
    # Another connection is refused, or goes through a new one with the same policy.
    assert session.say(f"open echo.example.net {zone.ECHO}") in (
        "opened", "ConnectionRefusedError", "gaierror")
    assert session.say("open other.example.net 80") == "gaierror"
    assert session.say(f"open echo.example.net {zone.CLOSED}") != "opened"
    net.lab.seen().only(ECHO)
    assert session.end().code == 0


def test_addresses_stay_after_its_death(start):
    """What a program remembers of a name never comes to mean another."""
    session = start(TALK, *allow(ECHO, "web.example.net"))
    first = session.say("look echo.example.net")
    os.kill(session.workers()[0], signal.SIGKILL)
    assert harness.until(lambda: session.workers() == [] or True, 0.1)
    other = session.say("look web.example.net")
    assert other != first
    assert session.end().code == 0


def test_the_end_of_the_supervisor_is_the_end_of_it(start, net):
    session = start(TALK, *allow(ECHO))
    assert session.say(f"open echo.example.net {zone.ECHO}") == "opened"
    pid, = session.workers()
    session.process.kill()
    session.process.wait()
    assert harness.until(lambda: not os.path.exists(f"/proc/{pid}") or pathlib.Path(
        f"/proc/{pid}/stat").read_text().rsplit(") ")[1][0] == "Z", 2)


def test_two_sessions_have_nothing_in_common(net, start):
    one, two = start(TALK, *allow(ECHO)), start(TALK, *allow("web.example.net"))
    assert one.say(f"open echo.example.net {zone.ECHO}") == "opened"
    assert two.say(f"open echo.example.net {zone.ECHO}") == "gaierror"
    assert two.say("open web.example.net 80") == "opened"
    assert one.say("open web.example.net 80") == "gaierror"
    assert one.workers() != two.workers()
    assert one.end().code == two.end().code == 0


# ---- bytes ------------------------------------------------------------------------


def test_many_bytes_both_ways(net, family):
    """30 MB there and back, half-closed at the end, byte for byte."""
    answer, = net.probe({"do": "half", "host": "echo.example.net", "port": zone.ECHO,
                         "family": family, "data": "0123456789abcdef" * 64, "times": 30 * 1024,
                         "wait": 60}, flags=allow(ECHO))
    assert answer["ok"] and answer["got"] == 30 << 20, answer


def test_nothing_inside_is_paced_for_far_places(net, family):
    """Whatever the host has chosen for real networks: on loopback it only costs time."""
    script = ("import socket\n"
              f"s = socket.socket(socket.AF_INET{'6' if family == 6 else ''})\n"
              "print(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).split(b'\\0')[0].decode())\n")
    assert net.python(script, flags=allow(ECHO)).text.strip() == "reno"


def test_a_reset_stays_a_reset(net, family):
    """What a server says by resetting is not made an orderly end, nor the other way."""
    answer, = net.probe({"do": "tcp", "host": "echo.example.net", "port": zone.RESET,
                         "family": family, "say": "x"},
                        flags=allow(f"echo.example.net:{zone.RESET}"))
    assert answer["error"] == "ECONNRESET", answer


def test_a_refusal_outside(net, family):
    """connect() has succeeded by then; the connection ends at once."""
    answer, = net.probe({"do": "tcp", "host": "web.example.net", "port": zone.CLOSED,
                         "family": family, "say": ""},
                        flags=allow(f"web.example.net:{zone.CLOSED}"))
    assert answer["error"] in ("ECONNRESET", "ECONNREFUSED", "EPIPE"), answer
    assert answer["ms"] < 2000


def test_the_next_address_when_one_is_silent(net, family):
    """Of a name with a dead address and a live one the live one is found."""
    answer, = net.probe({"do": "tcp", "host": "half.example.net", "port": 80, "family": family,
                         "say": "GET / HTTP/1.0\r\nHost: x\r\n\r\n", "expect": "web x",
                         "wait": 30}, flags=allow("half.example.net:80"))
    assert answer["ok"], answer
    net.lab.seen().only("half.example.net:80")


CROWD = f"""import asyncio, resource, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
async def one(i, gate):
    async with gate:
        r, w = await asyncio.open_connection('echo.example.net', {zone.CROWD})
    w.write(b'%06d' % i)
    assert await r.readexactly(6) == b'%06d' % i
    return w
async def main():
    gate = asyncio.Semaphore(64)
    open_ones = await asyncio.gather(*[one(i, gate) for i in range(int(sys.argv[1]))])
    for w in open_ones: w.close()
    print(len(open_ones))
asyncio.run(main())
"""


@pytest.mark.slow
def test_three_thousand_at_once(net):
    result = net.run("/usr/bin/python3", "-c", CROWD, "3000",
                     flags=allow(f"echo.example.net:{zone.CROWD}"), timeout=120)
    assert result.text.strip() == "3000", result


CHURN = f"""import socket, sys
print('ready')
a = socket.getaddrinfo('echo.example.net', {zone.CROWD}, socket.AF_INET)[0][4]
for line in sys.stdin:
    for i in range(int(line)):
        s = socket.create_connection(a); s.sendall(b'x'); assert s.recv(1) == b'x'; s.close()
    print('done')
"""


CONNECTIONS = 40000 if os.environ.get("IMMURE_TEST_LONG") else 6000


@pytest.mark.slow
@pytest.mark.modes(*(("root", "user") if os.environ.get("IMMURE_TEST_LONG") else ("user",)))
def test_forty_thousand_in_a_row(net, start):
    """Without an error, and without anything that grows. Fewer unless IMMURE_TEST_LONG."""
    session = start(CHURN, *allow(f"echo.example.net:{zone.CROWD}"))

    def size(pid):
        fds = len(os.listdir(f"/proc/{pid}/fd")) if os.geteuid() == 0 else 0  # only root may look
        pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
        return fds, pages

    assert session.say("2000") == "done"
    pid, = session.workers()
    time.sleep(0.2)
    before = size(pid)
    assert session.say(str(CONNECTIONS - 2000)) == "done"
    assert session.workers() == [pid]
    assert harness.until(lambda: size(pid)[0] <= before[0] + 4, 5), (before, size(pid))
    assert size(pid)[1] <= before[1] + 256, (before, size(pid))
    print(f"descriptors {before[0]} and {size(pid)[0]}, resident pages {before[1]} and {size(pid)[1]}")
    assert session.end().code == 0


# ---- inside -----------------------------------------------------------------------


def test_servers_inside(net, family):
    """On loopback and on every address, on ports that rules name too."""
    host = {4: "127.0.0.1", 6: "::1"}[family]
    script = f"""import socket, threading
for address, port in (('{host}', 8000), ('{ {4: "0.0.0.0", 6: "::"}[family] }', 8443)):
    s = socket.create_server((address, port), family=socket.{netlab.HOST_FAMILY[family].name})
    threading.Thread(target=lambda: s.accept()[0].sendall(b'mine')).start()
    print(socket.create_connection(('{host}', port)).recv(9).decode())
u = socket.socket(socket.{netlab.HOST_FAMILY[family].name}, socket.SOCK_DGRAM); u.bind(('{host}', 0))
u.sendto(b'datagram', u.getsockname()); print(u.recv(99).decode())
print(socket.create_connection(('web.example.net', 8443)) and 'outside')
"""
    assert net.python(script, flags=allow("web.example.net:8443")).text.split() == [
        "mine", "mine", "datagram", "outside"]


def test_localhost_is_the_sandboxs_own(net):
    script = "import socket; print(sorted({a[4][0] for a in socket.getaddrinfo('localhost', 80)}))"
    assert "127.0.0.1" in net.python(script, flags=allow("web.example.net")).text


# ---- proxies ----------------------------------------------------------------------


def test_proxy_variables(net):
    def variables(*flags):
        text = net.run("/usr/bin/env", flags=allow("web.example.net") + list(flags)).text
        return {line.split("=")[0].lower() for line in text.splitlines()
                if "_proxy" in line.lower()}

    # For plain HTTP a proxy would be told the request itself, which this one is not for.
    assert variables() == {"https_proxy", "no_proxy"}
    assert not variables("--proxy", "false") & {"https_proxy", "http_proxy", "all_proxy"}


@pytest.mark.parametrize("option", ["connect", "socks5"])
def test_a_proxy_for_those_that_want_one(net, option):
    if not netlab.which("curl"):
        pytest.skip("curl is not installed")
    gate = "198.18.0.1:3128"
    proxy = ["-p", "-x", f"http://{gate}"] if option == "connect" else ["--socks5-hostname", gate]
    good = net.run("curl", "-sS", *proxy, "https://secure.example.net/x",
                   flags=allow("secure.example.net"))
    assert good.text == "web secure.example.net /x\n", good
    net.lab.seen().only("secure.example.net:443")
    for url in ("https://other.example.net/", "https://8.8.8.8/", "http://secure.example.net:22/",
                f"http://127.0.0.1:{zone.HOST_LOOPBACK}/", "http://169.254.169.254/",
                f"http://[::ffff:127.0.0.1]:{zone.HOST_LOOPBACK}/"):
        net.lab.forget()
        bad = net.run("curl", "-sS", "-m", "5", *proxy, url, flags=allow("secure.example.net"))
        assert bad.code not in (0, 28), (url, bad)
        net.lab.seen().only()


def test_the_proxy_that_the_variables_name_is_there_in_both_families(net, family):
    if not netlab.which("curl"):
        pytest.skip("curl is not installed")
    result = net.run("curl", "-sSv", f"-{family}", "https://secure.example.net/x",
                     flags=allow("secure.example.net"))
    assert result.text == "web secure.example.net /x\n", result
    assert "Connected to proxy.immure (" + {4: "198.18.0.1", 6: "fd53:6e62::1"}[family] in \
        result.errors, result


# ---- published ports --------------------------------------------------------------


SERVER = """import http.server, socket, threading
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        body = b'inside %s' % self.client_address[0].encode()
        self.send_response(200); self.send_header('Content-Length', str(len(body)))
        self.end_headers(); self.wfile.write(body)
    def log_message(self, *a): pass
s = http.server.ThreadingHTTPServer(('127.0.0.1', 8000), H)
threading.Thread(target=s.serve_forever, daemon=True).start()
print('ready')
input()
"""


def fetch(net, host, port, times=1):
    script = f"""import http.client
for i in range({times}):
    c = http.client.HTTPConnection('{host}', {port}, timeout=3); c.request('GET', '/')
    r = c.getresponse().read().decode(); c.close()
print(r)
"""
    return net.call("/usr/bin/python3", "-c", script)


def test_a_published_port(net, start):
    session = start(SERVER, "--net", "limited", "--publish", "18000:8000")
    assert fetch(net, "127.0.0.1", 18000).text == "inside 127.0.0.1\n"
    # Its sockets are used again and again.
    assert fetch(net, "127.0.0.1", 18000, 100).text == "inside 127.0.0.1\n"
    assert fetch(net, zone.HOST_LAN4, 18000).code != 0
    with pytest.raises(RuntimeError):
        net.lab.call("world", "/usr/bin/python3", "-c", "import socket; "
                     f"socket.create_connection(('{zone.HOST_LAN4}', 18000), 2)")
    session.say()
    session.end()
    assert fetch(net, "127.0.0.1", 18000).code != 0


def test_published_to_the_network_when_asked(net, start):
    session = start(SERVER, "--net", "limited", "--publish", f"{zone.HOST_LAN4}:18001:8000")
    net.lab.call("world", "/usr/bin/python3", "-c", "import socket; "
                 f"socket.create_connection(('{zone.HOST_LAN4}', 18001), 2)")
    assert fetch(net, "127.0.0.1", 18001).code != 0
    session.say()
    session.end()


def test_a_port_is_published_once(net, start):
    session = start(SERVER, "--net", "limited", "--publish", "18002:8000")
    second = net.run("/bin/true", flags=["--net", "limited", "--publish", "18002:8000"])
    assert second.code == 125 and "18002" in second.errors, second
    session.say()
    session.end()


def test_published_although_nobody_listens(net, start):
    session = start("print('ready'); input()", "--net", "limited", "--publish", "18003:8000")
    assert fetch(net, "127.0.0.1", 18003).code != 0
    session.say()
    assert session.end().code == 0


def test_publishing_needs_no_way_out(net, start):
    """With network.mode none: a port in, no route out."""
    session = start(SERVER, "--net", "none", "--publish", "18004:8000")
    assert fetch(net, "127.0.0.1", 18004).text == "inside 127.0.0.1\n"
    session.say()
    session.end()
    net.lab.seen().strange()


# ---- what is said about denials ---------------------------------------------------


def test_denials_are_told(net):
    """One line each on stderr, whatever their number; and all of them in the record."""
    script = "import socket\nfor i in range(3):\n" \
             " for h, p in (('other.example.net', 443), ('web.example.net', 22)):\n" \
             "  try: socket.create_connection((h, p), 2)\n" \
             "  except OSError: pass\n"
    result = net.python(script, flags=allow("web.example.net"), record=True)
    assert result.code == 0
    lines = [line for line in result.errors.splitlines() if line.startswith("immure:")]
    assert len([line for line in lines if "other.example.net" in line]) == 1, result
    assert "other.example.net" in json.dumps(result.record)


def test_nothing_is_left_in_the_hosts_namespace(net):
    """No link, no rule, no socket that stays."""
    def state():
        links = net.lab.call("host", "ip", "-o", "link")
        rules = net.lab.call("host", "ip", "rule") + net.lab.call("host", "ip", "-6", "rule")
        listeners = net.call("/bin/cat", "/proc/net/tcp", "/proc/net/tcp6", "/proc/net/udp").text
        return links, rules, [line.split()[1] for line in listeners.splitlines()
                              if " 0A " in line or " 07 " in line]

    before = state()
    assert net.run("/usr/bin/python3", "-c", "import socket; "
                   "socket.create_connection(('web.example.net', 80))",
                   flags=allow("web.example.net") + ["--publish", "18005:8000"]).code == 0
    assert state() == before
