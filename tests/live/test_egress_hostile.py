# SPDX-License-Identifier: Apache-2.0
"""A command that means harm: odd destinations, socket options, floods, descriptors used up,
questions in pieces. What leaves is looked at by the spy; what works afterwards, by asking."""

import json
import os
import time

import pytest

import harness
import netlab_zone as zone
from netlab import allow
from sessions import Session
from test_gatekeeper import network

WEB = "web.example.net:80"
OUTSIDE = {4: "45.90.1.10", 6: "2a0e:97c0:1::a"}
TRY = """
import errno, json, socket, struct, sys, time
def outcome(act, *args):
    begun = time.monotonic()
    try: act(*args); said = "open"
    except socket.gaierror as e: said = "EAI"
    except OSError as e: said = errno.errorcode.get(e.errno, str(e))
    return said, time.monotonic() - begun
def fetch():
    with socket.create_connection(("web.example.net", 80), 10) as s:
        s.sendall(b"GET / HTTP/1.0\\r\\nHost: web.example.net\\r\\n\\r\\n")
        return b"web" in b"".join(iter(lambda: s.recv(4096), b""))
"""


def tried(net, script, *argv, flags=(), **kw):
    done = net.run("/usr/bin/python3", "-c", TRY + script, *map(str, argv), flags=[*allow(WEB), *flags], **kw)
    assert done.code == 0, done
    net.last = done
    return json.loads(done.text.splitlines()[-1])


ODD = {4: ["127.9.9.9", "0.0.0.0", "0.1.2.3", "255.255.255.255", "240.0.0.1", "224.0.0.1", "169.254.1.1",
           "198.18.0.0", "198.19.255.255", "198.18.0.2", "192.0.2.1", "100.64.0.1", zone.HOST_LAN4],
       6: ["::", "ff02::1%lo", "ff02::1%1", "ff01::1", "ff0e::1", "fe80::1%lo", "fe80::1%1", "fe80::1",
           "::ffff:0.0.0.0", "::ffff:127.9.9.9", "::ffff:255.255.255.255", "::127.0.0.1", "64:ff9b::7f00:1",
           "2002:7f00:1::1", "fec0::1", "fd53:6e62::2", "::ffff:0:1.2.3.4", zone.HOST_LAN6]}


def test_odd_destinations(net, family):
    """Nobody is there, and it is said at once: by TCP, by UDP, with and without connecting."""
    said = tried(net, """
out = {}
for host in json.loads(sys.argv[1]):
    for port in (7001, 8000):
        for kind, how in ((1, "connect"), (2, "connect"), (2, "sendto"), (2, "sendmsg")):
            # Its own loopback: as anywhere, who sends to nobody there without connecting is not told.
            if how[0] == "s" and host.split(":")[-1].startswith(("127.", "0.0.0.0")) or host == "::": continue
            where = socket.getaddrinfo(host, port, 0, kind, 0, socket.AI_NUMERICHOST)[0]
            s = socket.socket(where[0], kind)
            s.settimeout(3)
            if kind == 2: s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            def act():
                if how == "sendto": s.sendto(b"x", where[4])
                elif how == "sendmsg": s.sendmsg([b"x"], [], 0, where[4])
                else:
                    s.connect(where[4])
                    if kind == 2: s.send(b"x")
                if kind == 2: s.recv(1)
            out["%s %d %d %s" % (host, port, kind, how)] = outcome(act)
print(json.dumps(out))
""", json.dumps(ODD[family]))
    assert not [k for k, v in said.items() if v[0] == "open"], said
    late = [k for k, v in said.items() if v[0] == "timed out"]
    assert not late, late
    net.lab.seen().only()


OPTIONS = """
SOL_IP, SOL_V6, SOL, TCP = 0, 41, 1, 6
OPTIONS = [(SOL, 36, struct.pack("I", 1)), (SOL, 36, struct.pack("I", 2)), (SOL, 36, struct.pack("I", 0xffffffff)),
  (SOL, 25, b"lo\\0"), (SOL, 25, b"eth0\\0"), (SOL, 5, struct.pack("I", 1)), (SOL, 62, struct.pack("I", 1)),
  (SOL_IP, 19, struct.pack("I", 1)), (SOL_IP, 15, struct.pack("I", 1)), (SOL_IP, 4, bytes([131, 7, 4, 8, 8, 8, 8, 0])),
  (SOL_IP, 4, bytes([137, 7, 4, 8, 8, 8, 8, 0])), (SOL_IP, 50, struct.pack("I", 1)), (SOL_IP, 24, struct.pack("I", 1)),
  (SOL_V6, 75, struct.pack("I", 1)), (SOL_V6, 78, struct.pack("I", 1)), (SOL_V6, 57, bytes([0, 2, 0, 1] + [0] * 4) + bytes(16)),
  (SOL_V6, 54, bytes(8)), (SOL_V6, 76, struct.pack("I", 1)), (TCP, 19, struct.pack("I", 1)), (TCP, 30, struct.pack("I", 1)),
  (TCP, 31, b"tls\\0"), (TCP, 31, b"mptcp\\0")]
out, applied = [], 0
for level, name, value in OPTIONS:
    for host, port in json.loads(sys.argv[1]):
        for kind in (1, 2):
            where = socket.getaddrinfo(host, port, int(sys.argv[2]), kind)[0]
            s = socket.socket(where[0], kind)
            s.settimeout(5)
            try: s.setsockopt(level, name, value); applied += 1
            except OSError: pass
            def act():
                s.connect(where[4])
                if kind == 2: s.send(b"x"); s.recv(1)
            out.append([level, name, host, kind, *outcome(act)])
print(json.dumps([applied, out]))
"""


def test_socket_options_lead_nowhere(net, family):
    """Marks, devices, source routes, transparent and free binding, repair, protocols above:
    those that may be set change nothing about where a connection ends."""
    applied, said = tried(net, OPTIONS, json.dumps([(OUTSIDE[family], 443), ("web.example.net", 81)]),
                          {4: 2, 6: 10}[family])
    assert applied > 10, applied  # the control: some of them can be set
    assert not [s for s in said if s[4] in ("open", "timed out", "ETIMEDOUT")], said
    net.lab.seen().only()


def test_many_messages_in_one_call(net, family):
    """sendmmsg: what one message may, the next may not."""
    said = tried(net, """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
class iovec(ctypes.Structure): _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]
class msghdr(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("namelen", ctypes.c_uint), ("iov", ctypes.POINTER(iovec)),
                ("iovlen", ctypes.c_size_t), ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t), ("flags", ctypes.c_int)]
class mmsghdr(ctypes.Structure): _fields_ = [("hdr", msghdr), ("len", ctypes.c_uint)]
def address(host, port):
    if ":" in host: return struct.pack("=H", 10) + struct.pack("!HI", port, 0) + socket.inet_pton(10, host) + bytes(4)
    return struct.pack("=H", 2) + struct.pack("!H", port) + socket.inet_aton(host) + bytes(8)
q = struct.pack("!HHHHHH", 1, 0x100, 1, 0, 0, 0) + b"\\3web\\7example\\3net\\0" + struct.pack("!HH", 1, 1)
own, bad = sys.argv[1:3]
s = socket.socket(socket.AF_INET6 if ":" in own else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(2)
keep, l = [], (mmsghdr * 3)()
for m, (host, port) in zip(l, ((own, 53), (bad, 53), (bad, 443))):
    data, name = ctypes.create_string_buffer(q, len(q)), ctypes.create_string_buffer(address(host, port))
    v = iovec(ctypes.cast(data, ctypes.c_void_p), len(q)); keep += [data, name, v]
    m.hdr.name, m.hdr.namelen = ctypes.cast(name, ctypes.c_void_p), len(name.raw) - 1
    m.hdr.iov, m.hdr.iovlen = ctypes.pointer(v), 1
sent = libc.sendmmsg(s.fileno(), l, 3, 0)
answers = 0
try:
    while True: s.recv(512); answers += 1
except OSError: pass
print(json.dumps([sent, answers]))
""", "198.18.0.1" if family == 4 else "::ffff:198.18.0.1", "8.8.8.8" if family == 4 else "::ffff:8.8.8.8")
    assert said == [1, 1], said
    assert not net.lab.seen().only().asked()


def test_routes_and_rules_are_not_the_commands(net):
    """It may ask netlink's route protocol, and change nothing by it."""
    done = net.sh("for c in 'link set lo down' 'rule add pref 1 lookup 254' 'rule del pref 10' "
                  "'route add default dev lo' 'route add 8.8.8.8 dev lo' 'addr add 8.8.8.8/32 dev lo' "
                  "'-6 route add default dev lo' 'link add x type dummy' 'link add v type veth'; do "
                  "ip $c 2>/dev/null && echo done $c; done; echo; python3 -c 'import socket; "
                  "print(socket.create_connection((\"web.example.net\", 80), 5) and \"works\")'",
                  flags=allow(WEB))
    assert done.text.split() == ["works"], done


def test_questions_in_pieces(net):
    """Over TCP: a byte at a time, several at once, ones that promise more than comes."""
    said = tried(net, """
q = struct.pack("!HHHHHH", 7, 0x100, 1, 0, 0, 0) + b"\\3web\\7example\\3net\\0" + struct.pack("!HH", 1, 1)
bad = q.replace(b"web", b"bad")
def dial():
    s = socket.create_connection(("198.18.0.1", 53), 5); s.settimeout(10); return s
def answer(s):
    f = s.makefile("rb"); n = f.read(2)
    return f.read(struct.unpack("!H", n)[0])[3] & 15 if len(n) == 2 else "end"
s = dial(); data = struct.pack("!H", len(q)) + q
for i in range(len(data)): s.sendall(data[i:i+1]); time.sleep(0.002)
out = [answer(s)]
s = dial(); s.sendall((struct.pack("!H", len(q)) + q + struct.pack("!H", len(bad)) + bad) * 10)
f = s.makefile("rb"); got = []
for _ in range(20): got.append(f.read(struct.unpack("!H", f.read(2))[0])[3] & 15)
out.append(sorted(got))
waiting = []
for n in range(200):  # more than are let in, each with half a question
    try: w = dial(); w.sendall(struct.pack("!H", 65535) + q[:20]); waiting.append(w)
    except OSError: pass
out.append(fetch())
s = dial(); s.sendall(struct.pack("!H", 0)); s.settimeout(3)
try: out.append(answer(s))
except OSError as e: out.append("end")
print(json.dumps(out))
""")
    assert said[0] == 0 and said[1] == [0] * 10 + [3] * 10 and said[2] is True and said[3] in ("end", 1), said
    net.lab.seen().only(WEB)


def test_its_descriptors_can_be_used_up_and_come_back(net):
    """A gatekeeper that may have few: what does not fit is reset, nothing waits, nothing else
    goes through, and when the flood is over it serves as before."""
    script = TRY + """
held, said = [], {}
for i in range(int(sys.argv[2])):
    s = socket.socket(); s.settimeout(10)
    s.connect_ex(("198.18.0.1", 3128) if i % 2 else socket.getaddrinfo("web.example.net", 80, 2)[0][4])
    held.append(s)
time.sleep(1)
for s in held: s.close()
deadline = time.monotonic() + 30
works = False
while not works and time.monotonic() < deadline:
    try: works = fetch()
    except OSError: time.sleep(0.2)
bad = outcome(lambda: socket.create_connection((sys.argv[1], 443), 5))[0]
print(json.dumps([works, bad]))
"""
    done = net.call("/bin/sh", "-c", 'ulimit -n 100; exec "$0" "$@"', net.immure, "run", *allow(WEB),
                    "--result", "result.json", "--", "/usr/bin/python3", "-c", script, OUTSIDE[4], "85")
    assert done.code == 0 and json.loads(done.text) == [True, "ECONNREFUSED"], done
    told = json.loads((net.ws / "result.json").read_text())["network"]
    assert told["gatekeeper_restarts"] == 0, told
    net.lab.seen().only(WEB)


def test_connections_that_say_nothing_are_many(net, family):
    """Beyond the limit they are reset and told; whoever had a place keeps it."""
    said = tried(net, """
where = socket.getaddrinfo("web.example.net", 80, int(sys.argv[1]))[0]
held = []
for i in range(60):
    s = socket.socket(where[0]); s.settimeout(10); held.append(s)
    try: s.connect(where[4])
    except ConnectionResetError: pass  # it was looked at before this process was
time.sleep(0.5)
alive = 0
for s in held:
    try:
        s.sendall(b"GET / HTTP/1.0\\r\\nHost: web.example.net\\r\\n\\r\\n")
        alive += b"200" in s.recv(4096)
    except OSError: pass
for s in held: s.close()
deadline = time.monotonic() + 20; works = False
while not works and time.monotonic() < deadline:
    try: works = fetch()
    except OSError: time.sleep(0.1)
print(json.dumps([alive, works]))
""", {4: 2, 6: 10}[family], flags=["--connections", "20"], record=True)
    assert said == [20, True], said
    assert any(e["step"] == "limit" for e in network(net.last)["denied"]), network(net.last)


def test_one_port_for_a_good_and_a_bad_destination(net, family):
    """The same source address and port, one after the other and at the same time: each is
    judged by where it goes."""
    said = tried(net, """
out = []
family = int(sys.argv[2])
where = socket.getaddrinfo("web.example.net", 80, family)[0][4]
for i in range(20):
    good, bad = socket.socket(family), socket.socket(family)
    for s in (good, bad):
        s.settimeout(10)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.bind(("", 20000 + i))
    good.connect(where)
    out.append(outcome(bad.connect, (sys.argv[1], 80))[0])
    good.sendall(b"GET / HTTP/1.0\\r\\nHost: web.example.net\\r\\n\\r\\n")
    out.append(b"200" in good.recv(4096))
    good.close(); bad.close()
print(json.dumps(sorted(set(map(str, out)))))
""", OUTSIDE[family], {4: 2, 6: 10}[family])
    assert said == ["ECONNREFUSED", "True"], said
    net.lab.seen().only(WEB)


def test_a_port_of_the_host_is_published_once(net):
    """Whoever comes second is refused, however close they are."""
    for _ in range(3):
        runs = [net.spawn(net.immure, "run", "--publish", "8097:80", "--", "/bin/sleep", "2")
                for _ in range(4)]
        codes = sorted(p.wait(30) for p in runs)
        for p in runs:
            p.stdout.close()
            p.stderr.close()
        assert codes == [0, 125, 125, 125], codes


def test_a_session_that_floods_does_not_hold_up_its_server(net):
    """Denials by the thousand from many processes: the server answers meanwhile."""
    with Session(net, *allow(WEB)) as s:
        flood = ("import socket, os, time\n"
                 "for _ in range(3): os.fork()\n"
                 "end = time.monotonic() + 4\n"
                 "while time.monotonic() < end:\n"
                 f"  u = socket.socket(2, 2); t = socket.socket(); t.settimeout(1)\n"
                 f"  try: u.sendto(b'x', ('{OUTSIDE[4]}', 1 + int(time.monotonic() * 1e5) % 60000))\n"
                 "  except OSError: pass\n"
                 f"  t.connect_ex(('{OUTSIDE[4]}', 1 + int(time.monotonic() * 1e5) % 60000)); t.close(); u.close()\n")
        assert s.exec("/usr/bin/python3", "-c", flood, flags=["--detach"]).code == 0
        with s.connect() as c:
            for _ in range(20):
                begun = time.monotonic()
                assert c.ask("stats")["ok"]
                assert time.monotonic() - begun < 3 * harness.SLOWER
                time.sleep(0.1)
        assert s.sh("echo lives").text == "lives\n"
        shown = s.json("inspect")["network"]
        assert shown["denials"] <= 256 and shown["state"] == "running", shown["state"]
