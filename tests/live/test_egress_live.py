# SPDX-License-Identifier: Apache-2.0
"""Rules of a living session, changed while a command in it is running; limits, and
poorer hosts, with immure around the gatekeeper."""

import contextlib
import json
import subprocess
import time

import pytest

import harness
import netlab_zone as zone
from netlab import allow
from sessions import Session
from test_gatekeeper import network

ECHO = f"echo.example.net:{zone.ECHO}"
OPEN_WEB = "web.example.net 80"
REFUSED = ("ConnectionRefusedError", "ConnectionResetError", "gaierror", "PermissionError")

# open N HOST PORT, of family N: what comes of it. talk: an echo on the last one.
# cut: waits until the last one is ended by somebody else, and says when that was.
TALK = """import socket, sys, time
last = None
def open_it(n, host, port):
    global last
    family = {'4': socket.AF_INET, '6': socket.AF_INET6}[n]
    last = socket.socket(family, socket.SOCK_STREAM)
    last.settimeout(10)
    last.connect(socket.getaddrinfo(host, int(port), family, socket.SOCK_STREAM)[0][4])
    return 'opened'
def talk():
    last.sendall(b'x')
    return 'heard' if last.recv(1) else 'closed'
def cut():
    try: how = 'data' if last.recv(1) else 'closed'
    except OSError as e: how = type(e).__name__
    return f'{how} {time.monotonic()}'
print('ready')
for line in sys.stdin:
    word, *rest = line.split()
    if word == 'cut': print('waiting')
    try: print({'open': open_it, 'talk': talk, 'cut': cut}[word](*rest))
    except OSError as e: print(type(e).__name__)
"""


class Talker:
    """A command in the session that does what it is told, line by line."""

    def __init__(self, session):
        site = session.site
        self.process = site.spawn(site.immure, "exec", session.id, "--", "/usr/bin/python3", "-uc",
                                  TALK, stdin=subprocess.PIPE)
        assert self.hear() == "ready", self.process.stderr.read()

    def hear(self):
        return self.process.stdout.readline().decode().strip()

    def say(self, *words):
        self.process.stdin.write(" ".join(map(str, words)).encode() + b"\n")
        self.process.stdin.flush()
        return self.hear()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


def rules(session, verb, *given):
    site = session.site
    done = site.call(site.immure, "net", verb, "--json", session.id, *given)
    assert done.code == 0, done
    return json.loads(done.out)["network"]


def test_a_host_that_is_allowed_while_a_command_runs(net, family):
    """Neither the session nor the command is started again; and taken back it is refused."""
    with Session(net, *allow(ECHO)) as s, Talker(s) as t:
        assert t.say("open", family, *OPEN_WEB.split()) in REFUSED
        net.lab.seen().only()
        rules(s, "allow", "web.example.net:80")
        assert t.say("open", family, *OPEN_WEB.split()) == "opened"
        assert t.say("open", family, "web.example.net", 443) in REFUSED
        rules(s, "deny", "web.example.net:80")
        net.lab.forget()
        assert t.say("open", family, *OPEN_WEB.split()) in REFUSED
        net.lab.seen().only()
        assert t.say("open", family, "echo.example.net", zone.ECHO) == "opened"
        assert t.say("talk") == "heard"


def test_an_address_that_is_allowed_while_a_command_runs(net, family):
    """Addresses are caught by the kernel from then on, and not any more when denied: then they
    are refused as ever, with or without a gatekeeper that runs."""
    host = {4: "45.90.1.10", 6: "2a0e:97c0:1::a"}[family]
    rule = f"{host}:80" if family == 4 else f"[{host}]:80"
    with Session(net, *allow(ECHO)) as s, Talker(s) as t:
        rules(s, "allow", rule)
        rules(s, "deny", rule)
        for _ in range(2):
            assert t.say("open", family, host, 80) == "ConnectionRefusedError"
            rules(s, "allow", rule)
            assert t.say("open", family, host, 80) == "opened"
            rules(s, "deny", rule)
        assert t.say("open", family, host, 80) == "ConnectionRefusedError"


def test_an_open_connection_is_cut(net, family, record_property):
    """By the time the answer is there; others go on."""
    with Session(net, *allow(ECHO, "web.example.net:80")) as s, Talker(s) as t, Talker(s) as other:
        assert t.say("open", family, "echo.example.net", zone.ECHO) == "opened"
        assert t.say("talk") == "heard"
        assert other.say("open", family, *OPEN_WEB.split()) == "opened"
        assert t.say("cut") == "waiting"
        asked = time.monotonic()
        rules(s, "deny", ECHO)
        answered = time.monotonic()
        how, when = t.hear().split()
        assert how == "ConnectionResetError"
        record_property("cut_ms_after_asking", round((float(when) - asked) * 1000, 1))
        record_property("cut_ms_after_answer", round((float(when) - answered) * 1000, 1))
        assert float(when) - answered < 1 * harness.SLOWER
        assert t.say("open", family, "echo.example.net", zone.ECHO) in REFUSED
        assert other.say("open", family, *OPEN_WEB.split()) == "opened"


def test_the_sessions_name_may_come_first(net):
    """And what is shown after a change are the rules as they are then."""
    with Session(net, *allow(ECHO)) as s:
        for words in ([s.id, "allow", "web.example.net:80"], ["deny", s.id, "*.example.org"],
                      [s.id, "show"]):
            done = net.call(net.immure, "net", *words)
            assert done.code == 0 and "network.allow: " in done.text and ECHO in done.text, done
        assert "web.example.net:80" in done.text and "network.deny: *.example.org" in done.text, done
        assert net.call(net.immure, "net", s.id, "permit", "x.example").code == 125


def test_a_denial_wins_over_what_is_allowed_later(net):
    with Session(net, *allow("*.example.net:80")) as s, Talker(s) as t:
        rules(s, "deny", "*.example.net")
        shown = rules(s, "allow", "web.example.net:80")
        assert shown["deny"] == ["*.example.net"] and "web.example.net:80" in shown["allow"]
        net.lab.forget()
        assert t.say("open", 4, *OPEN_WEB.split()) in REFUSED
        net.lab.seen().only()
        # Taken back however it is spelled.
        rules(s, "allow", "*.Example.NET.")
        assert t.say("open", 4, *OPEN_WEB.split()) == "opened"


def test_a_service_of_the_host_is_denied_under_each_of_its_names(net, family):
    rule, host = f"localhost:{zone.HOST_LOOPBACK}", {4: "127.0.0.1", 6: "::1"}[family]
    with Session(net, *allow(rule)) as s, Talker(s) as t:
        for _ in range(2):
            assert t.say("open", family, host, zone.HOST_LOOPBACK) == "opened"
            assert t.say("talk") == "heard"
            rules(s, "deny", rule)
            assert t.say("talk") != "heard"
            t.say("open", family, host, zone.HOST_LOOPBACK)
            net.lab.forget()
            assert t.say("open", family, host, zone.HOST_LOOPBACK) in REFUSED
            assert not net.lab.seen().reached("loopback")
            rules(s, "allow", rule)


def test_a_denied_service_of_the_host(net, family):
    """Of a run: by name it is allowed and denied, so its addresses are denied as well."""
    rule, host = f"localhost:{zone.HOST_LOOPBACK}", {4: "127.0.0.1", 6: "::1"}[family]
    answer, = net.probe({"do": "tcp", "host": host, "port": zone.HOST_LOOPBACK, "say": "x"},
                        flags=allow(rule) + ["--deny-host", rule])
    assert answer["error"] == "ECONNRESET", answer
    assert not net.lab.seen().reached("loopback")


def test_denied_connections_are_ended_and_do_not_count(net, family):
    """By address, where nothing but the gatekeeper can refuse: at once, and nothing stays."""
    host, other = {4: ("45.90.1.10", "45.90.1.11"), 6: ("2a0e:97c0:1::a", "2a0e:97c0:1::b")}[family]
    wide, one = {4: ("45.90.1.0/24:80", f"{host}:80"),
                 6: ("[2a0e:97c0:1::/64]:80", f"[{host}]:80")}[family]
    acts = [{"do": "tcp", "host": host, "port": 80, "say": "x"}] * 8 + [
        {"do": "tcp", "host": other, "port": 80, "say": "GET / HTTP/1.0\r\n\r\n"}]
    answers = net.probe(*acts, flags=allow(wide) + ["--deny-host", one, "--connections", "4"])
    assert [a["error"] for a in answers] == ["ECONNRESET"] * 8 + [None], answers
    assert net.lab.seen().opened() == {(other, 80)}


def test_what_was_denied_is_shown(net):
    with Session(net, *allow(ECHO)) as s, Talker(s) as t:
        shown = rules(s, "show")
        assert shown.pop("way").startswith("names caught by nf_tables")
        assert shown == {"state": "idle", "allow": [ECHO], "deny": [], "denials": 0, "failures": 0,
                         "untold": 0, "denied": []}
        for _ in range(2):
            assert t.say("open", 4, "other.example.net", 443) == "gaierror"
        assert harness.until(lambda: rules(s, "show")["denials"] == 1, 5), rules(s, "show")
        shown = rules(s, "show")
        assert shown["state"] == "running"
        denied, = shown["denied"]
        assert denied["host"] == "other.example.net" and denied["count"] >= 1
        assert denied["add"].startswith("other.example.net")
        text = net.call(net.immure, "net", "show", s.id).text
        assert f"network.allow: {ECHO}" in text and "other.example.net" in text


@pytest.mark.parametrize("network", ["none", "host"])
def test_without_a_gatekeeper_rules_are_refused(net, network):
    with Session(net, "--net", network) as s:
        for verb in ("allow", "deny"):
            done = net.call(net.immure, "net", verb, s.id, "web.example.net")
            assert done.code == 125 and not done.out, done
            assert "network.mode is not limited here" in done.errors, done
            assert len(done.errors.splitlines()) == 1
        assert f"mode: {network}" in net.call(net.immure, "net", "show", s.id).text


# ---- limits -----------------------------------------------------------------------


STALL = f"""import socket, sys, threading, time
def silent(s): s.recv(1)
def drip(s):
    for c in b'GET / HTTP/1.1\\r\\nHost: web.example.net\\r\\nA: ' + b'a' * 200:
        s.sendall(bytes([c])); time.sleep(0.1)
def go(name, host, port, act):
    start, s = time.monotonic(), socket.create_connection((host, port))
    s.settimeout(40)
    try: act(s); how = 'ended'
    except OSError as e: how = type(e).__name__
    print(name, how, time.monotonic() - start)
threads = [threading.Thread(target=go, args=a) for a in (
    ('tls', 'secure.example.net', 443, silent), ('http', 'web.example.net', 80, silent),
    ('drip', 'web.example.net', 80, drip), ('proxy', '198.18.0.1', 3128, silent))]
for t in threads: t.start()
s = socket.create_connection(('echo.example.net', {zone.ECHO})); time.sleep(11)
s.sendall(b'x'); print('echo', s.recv(1).decode(), 0)
for t in threads: t.join()
"""


@pytest.mark.modes("user")
def test_first_bytes_that_do_not_come(net):
    """Nothing, or one at a time: 10 s in all. Nothing was dialled for them. What no rule looks
    at may be silent."""
    result = net.python(STALL, flags=allow("tls://secure.example.net:443", ECHO,
                                           "http://web.example.net:80"))
    told = {line.split()[0]: line.split()[1:] for line in result.text.splitlines()}
    assert set(told) == {"tls", "http", "drip", "proxy", "echo"}, result
    for name, (how, seconds) in told.items():
        if name != "echo":
            assert how in ("ConnectionResetError", "BrokenPipeError", "ended"), (name, result)
            assert 8 < float(seconds) < 18 * harness.SLOWER, (name, result)
    assert told["echo"][0] == "x"
    net.lab.seen().only(ECHO)


def test_so_many_connections(net, family):
    script = f"""import socket
kept, refused = [], 0
for i in range(10):
    try:
        a = socket.getaddrinfo('echo.example.net', {zone.ECHO}, socket.AF_INET{family - 4 and 6 or ''})[0]
        s = socket.socket(a[0]); s.settimeout(5); s.connect(a[4])
        s.sendall(b'x'); assert s.recv(1); kept.append(s)
    except (OSError, AssertionError): refused += 1
print(len(kept), refused)
for s in kept: s.close()
import time; time.sleep(0.3)
print(socket.create_connection(a[4][:2], 5) and 'again')
"""
    result = net.python(script, flags=allow(ECHO) + ["--connections", "4"], record=True)
    assert result.text.split() == ["4", "6", "again"], result
    assert "open already" in json.dumps(result.record["network"]["denied"]), result.record


@pytest.mark.modes("user")
def test_bandwidth(net):
    """So many bytes a second, up and down together, and all of them in the end."""
    act = {"do": "half", "host": "echo.example.net", "port": zone.ECHO, "data": "x" * 1024,
           "times": 1024, "wait": 30}
    fast, = net.probe(act, flags=allow(ECHO))
    slow, = net.probe(act, flags=allow(ECHO) + ["--bandwidth", "1MiB"])
    assert fast["ok"] and slow["ok"] and slow["got"] == 1 << 20, (fast, slow)
    assert slow["ms"] > 900, (fast, slow)  # 2 MiB, of which some at once


# ---- poorer hosts -----------------------------------------------------------------


def test_without_nftables(net, family):
    """A listener for each pair; the rest is as ever."""
    acts = [{"do": "tcp", "host": host, "port": port, "family": family,
             "say": "GET / HTTP/1.0\r\nHost: x\r\n\r\n"}
            for host, port in (("web.example.net", 80), ("web.example.net", 443),
                               ("other.example.net", 80), ("8.8.8.8", 80))]
    answers = net.probe(*acts[:3], flags=allow("web.example.net:80"), without="nftables")
    assert [a["error"] for a in answers] == [None, "ECONNREFUSED", "EAI_NONAME"], answers
    net.lab.seen().only("web.example.net:80")
    host = {4: "45.90.1.10", 6: "2a0e:97c0:1::a"}[family]
    rule = f"{host}:80" if family == 4 else f"[{host}]:80"
    good, bad = net.probe(dict(acts[0], host=host), dict(acts[0], host=host, port=22),
                          flags=allow(rule), without="nftables")
    assert good["ok"] and not bad["ok"], (good, bad)
    wide = net.run("/bin/true", flags=allow("45.90.1.0/24:80"), without="nftables")
    assert wide.code == 125 and len(wide.errors.splitlines()) == 1, wide


def test_rules_that_change_without_nftables(net, family):
    with Session(net, *allow(ECHO), without="nftables") as s, Talker(s) as t:
        assert t.say("open", family, "echo.example.net", zone.ECHO) == "opened"
        assert t.say("talk") == "heard"
        rules(s, "allow", "web.example.net:80")
        assert t.say("open", family, *OPEN_WEB.split()) == "opened"
        rules(s, "deny", "web.example.net:80")
        assert t.say("open", family, *OPEN_WEB.split()) in REFUSED
        assert t.say("open", family, "echo.example.net", zone.ECHO) == "opened"


@pytest.mark.modes("root")
def test_a_host_whose_settings_are_read_only(net):
    """As in a container: slower under load, no refusal."""
    read_only = net.call("/bin/sh", "-c", "echo 1 >/proc/sys/net/ipv4/tcp_tw_reuse",
                         without="proc_sys")
    assert read_only.code != 0 and "Read-only" in read_only.errors
    answer, = net.probe({"do": "tcp", "host": "web.example.net", "port": 80,
                         "say": "GET / HTTP/1.0\r\nHost: x\r\n\r\n"},
                        flags=allow("web.example.net:80"), without="proc_sys", record=True)
    assert answer["ok"], answer
    assert network(net.last)["way"].endswith("/proc/sys is read-only"), network(net.last)
