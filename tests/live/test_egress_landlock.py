# SPDX-License-Identifier: Apache-2.0
"""A network of names without a namespace. What holds with one holds here: those tests
are run once more, where the supervisor stands between the command and its sockets.
What differs, and attacks on that place, follow."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import threading

import pytest

import harness
import netlab_zone as zone
from netlab import allow
from test_egress_denied import (  # noqa: F401
    TARGETS, refused, test_addresses_of_the_prefix_that_mean_no_name, test_fast_open,
    test_multipath, test_namespaces_lead_nowhere, test_nothing_when_the_list_is_empty,
    test_other_sockets, test_the_hosts_abstract_sockets, test_the_hosts_loopback, test_unlisted_names)
from test_egress_life import (  # noqa: F401
    SERVER, TALK, GONE, fetch, start, test_a_command_without_network_use,
    test_a_port_is_published_once, test_a_proxy_for_those_that_want_one, test_a_published_port,
    test_a_refusal_outside, test_a_reset_stays_a_reset, test_addresses_stay_after_its_death,
    Running, test_denials_are_told, test_it_starts_when_first_needed,
    test_its_death_closes_everything, test_many_bytes_both_ways,
    test_nothing_is_left_in_the_hosts_namespace, test_proxy_variables,
    test_published_although_nobody_listens, test_published_to_the_network_when_asked,
    test_the_end_of_the_supervisor_is_the_end_of_it, test_the_next_address_when_one_is_silent,
    test_three_thousand_at_once, test_two_sessions_have_nothing_in_common)
from test_egress_names import (  # noqa: F401
    tcp,
    test_allowed_names_get_synthetic_addresses, test_another_prefix,
    test_each_family_inside_reaches_each_outside, test_getaddrinfo_asks_for_both_families,
    test_junk_to_the_name_server, test_long_labels_under_a_wildcard, test_looking_up_asks_nobody,
    test_many_names_under_a_wildcard, test_no_data_of_other_types, test_odd_names,
    test_one_question_for_each_dial, test_questions_in_pieces_and_in_a_row, test_reverse,
    test_the_mapped_form_of_a_synthetic_address, test_transfers,
    test_unlisted_names_are_told_so_at_once)
from test_egress_programs import (  # noqa: F401
    go_client, test_bash, test_cargo, test_curl_by_the_proxy,
    test_curl_follows_a_redirect_to_allowed_places_only, test_curl_http, test_curl_https,
    test_curl_refuses_others, test_curl_without_any_variable, test_getent,
    test_go, test_java, test_nc, test_nc_where_the_server_speaks_first, test_node, test_perl,
    test_psql, test_python, test_python_asyncio, test_redis_cli, test_wget)
from test_egress_rules import (  # noqa: F401
    test_a_denial_of_one_port, test_a_denial_wins, test_a_denied_address_behind_an_allowed_name,
    test_a_range_of_ports, test_addresses_by_explicit_rule, test_an_address_rule_is_no_rule_for_names,
    test_case_and_final_dot, test_names_that_lead_inside, test_rebinding,
    test_the_mapped_form_of_an_allowed_address, test_tls_wants_the_name, test_wildcards,
    test_without_a_port_only_80_and_443)

pytestmark = pytest.mark.modes("landlock", "landlock-user")


@pytest.fixture(params=["limited"])
def gate(request):
    return request.param


@pytest.fixture
def net(lab, base, mode, bin_dir, immure, net, monkeypatch):  # what the other one asks for
    """Connections to a port of the supervisor's own are how it is done."""
    seen = net.lab.seen

    def without_ours():
        it = seen()
        it.loopback = [p for p in it.loopback
                       if not (p[0] == "tcp" and p[1] in ("127.0.0.1", "::1") and p[2] >= 32768)]
        return it

    monkeypatch.setattr(net.lab, "seen", without_ours)
    return net


FLAGS = allow("web.example.net:80", f"echo.example.net:{zone.ECHO}")


def inside(net, script, flags=FLAGS, **kw):
    """What the script says, a line each, as it says it in JSON."""
    result = net.python("import json, socket\n"
                        "def tell(f, *a):\n"
                        "  try: r = f(*a)\n"
                        "  except OSError as e: r = e.errno\n"
                        "  print(json.dumps(r if isinstance(r, (int, str, list)) else None))\n"
                        + script, flags=flags, **kw)
    assert result.code == 0, result
    net.last = result
    return [json.loads(line) for line in result.text.splitlines()]


# ---- what programs see of it --------------------------------------------------------


def test_git(net):
    """A clone changes modes, which nothing may here; what it fetches it can keep."""
    net.lab.repository("three.git", {"f": "content\n"})
    subprocess.run(["git", "init", "-q", "--bare", net.ws / "bare"], check=True)
    net.own(net.ws)
    script = "git ls-remote --heads https://git.example.net/git/three.git | wc -l; cd bare && " \
             "git fetch -q https://git.example.net/git/three.git HEAD && git show FETCH_HEAD:f"
    result = net.sh(script, flags=allow("git.example.net:443"))
    assert result.code == 0 and result.text == "1\ncontent\n", result
    net.lab.seen().only("git.example.net:443")


def test_literal_addresses(net, family):
    acts = [{"do": "tcp", "host": host, "port": port} for host, port in TARGETS[family]
            if port != 53]
    assert all(a["ok"] for a in net.probe_outside(*acts[:3]))
    net.lab.forget()
    refused(acts, net.probe(*acts, flags=FLAGS), {"EACCES"})
    net.lab.seen().only()


def test_unlisted_ports(net, family):
    acts = [{"do": "tcp", "host": "web.example.net", "port": port, "family": family}
            for port in (22, 53, 443, 8080, 65535)]
    refused(acts, net.probe(*acts, flags=FLAGS), {"ECONNREFUSED"})
    net.lab.seen().only()


def test_whatever_name_server_is_asked(net, family, tcp):
    """The gatekeeper answers, and nobody hears of it."""
    servers = {4: ["8.8.8.8", zone.DNS4, "127.0.0.53"], 6: ["2001:4860:4860::8888", zone.DNS6]}
    acts = [{"do": "dns", "server": server, "name": name, "type": "A", "tcp": tcp}
            for server in servers[family] for name in ("secret.attacker.test", "web.example.net")]
    for act, answer in zip(acts, net.probe(*acts, flags=FLAGS)):
        assert answer["ok"] and answer["rcode"] == (3 if "secret" in act["name"] else 0), answer
    assert not net.lab.seen().only().asked()


@pytest.mark.parametrize("how", ["connect", "sendto", "sendmsg"])
def test_datagrams(net, family, how):
    hosts = [host for host, _ in TARGETS[family]] + ["127.0.0.1" if family == 4 else "::1"]
    acts = [{"do": "udp", "host": host, "port": port, "how": how} for host in hosts
            for port in (443, 7001)]
    acts += [{"do": "udp", "host": "web.example.net", "port": 443, "how": how, "family": family}]
    refused(acts, net.probe(*acts, flags=FLAGS), {"EPIPE"} if how == "sendmsg" else {"EACCES"})
    net.lab.seen().only()


def test_nothing_comes_in(net, start):
    """A socket that tried to send has a port then; whoever sends there is not heard."""
    session = start("import socket, sys\n"
                    "print('ready'); sys.stdin.readline()\n"
                    "u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
                    "try: u.sendmsg([b'x'], [], 0, ('127.0.0.1', 9))\n"
                    "except BrokenPipeError: pass\n"
                    "print(u.getsockname()[1]); sys.stdin.readline(); u.setblocking(False)\n"
                    "try: print(u.recv(9))\n"
                    "except BlockingIOError: print('nothing')\n"
                    "for s in (u, socket.socket()):\n"
                    " try: s.bind(('0.0.0.0', 0)); s.bind(('', 8000))\n"
                    " except OSError as e: print(e.errno, end=' ')\n"
                    "try: s.listen(); print('listens')\n"
                    "except OSError as e: print(e.errno)\n", *FLAGS)
    port = int(session.say())
    assert port
    send = f"import socket; s = socket.socket(2, 2); s.sendto(b'x', ('127.0.0.1', {port}))"
    assert net.call("/usr/bin/python3", "-c", send).code == 0
    assert session.say() == "nothing"
    assert session.end().text.split() == ["13", "13", "1"]


def test_a_socket_keeps_what_it_has(net):
    """Its options, its flags, copies of the descriptor, and an epoll set that it was in
    before: the socket that is connected is the caller's own."""
    out = inside(net, f"""
import fcntl, os, select
where = socket.getaddrinfo('echo.example.net', {zone.ECHO}, type=socket.SOCK_STREAM)
for family, kind, proto, _, to in where:
    s = socket.socket(family, kind); s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1); s.setblocking(False)
    e = select.epoll(); e.register(s, select.EPOLLOUT | select.EPOLLONESHOT)
    copy = os.dup(s.fileno()); cookie = s.getsockopt(socket.SOL_SOCKET, 57, 8)
    e.poll(0); e.modify(s, select.EPOLLOUT)
    r = s.connect_ex(to); print(json.dumps(r))
    print(json.dumps(e.poll(5)[0][1] & select.EPOLLOUT))
    print(json.dumps([s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR),
          s.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
          s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
          fcntl.fcntl(s, fcntl.F_GETFD) & 1, bool(fcntl.fcntl(s, fcntl.F_GETFL) & os.O_NONBLOCK),
          cookie == s.getsockopt(socket.SOL_SOCKET, 57, 8)]))
    os.write(copy, b'hello'); s.setblocking(True); print(json.dumps(s.recv(5).decode()))
    print(json.dumps(s.connect_ex(to)))
""")
    assert out == [0, 4, [0, 1, 1, 1, True, True], "hello", 106] * 2, out
    net.lab.seen().only(f"echo.example.net:{zone.ECHO}")


@pytest.mark.parametrize("without", [None, "wait_killable"])
def test_interrupted_calls(net, without):
    """A signal every millisecond, as some run-times have them."""
    out = inside(net, f"""
import signal
signal.signal(signal.SIGALRM, lambda *_: None); signal.siginterrupt(signal.SIGALRM, False)
signal.setitimer(signal.ITIMER_REAL, .001, .001)
for i in range(200):
    with socket.create_connection(('echo.example.net', {zone.ECHO}), timeout=None) as s:
        s.sendall(b'x'); assert s.recv(1) == b'x'
signal.setitimer(signal.ITIMER_REAL, 0)
print(json.dumps('done'))
""", without=without)
    assert out == ["done"]


MUSL = r"""
#include <netdb.h>
#include <stdio.h>
int main(int n, char **names)
{
	for (int i = 1; i < n; i++) {
		struct addrinfo h = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG }, *l;
		char text[64];

		if (getaddrinfo(names[i], "80", &h, &l))
			puts("none");
		else
			while (l) {
				getnameinfo(l->ai_addr, l->ai_addrlen, text, sizeof(text), 0, 0, NI_NUMERICHOST);
				printf("%.4s ", text);
				l = l->ai_next;
			}
	}
}
"""


def test_musl(net):
    """Its resolver asks without connecting, and looks who answers."""
    if not shutil.which("musl-gcc"):
        pytest.skip("musl-gcc is not installed")
    net.put("musl.c", MUSL)
    subprocess.run(["musl-gcc", "-static", "-o", net.ws / "musl", net.ws / "musl.c"], check=True)
    os.chmod(net.ws / "musl", 0o755)
    result = net.run("./musl", "web.example.net", "other.example.net", "web.example.net", flags=FLAGS)
    words = result.text.split()
    assert sorted(words[:2]) == ["198.", "fd53"] and words[2] == "none" and \
        sorted(words[3:]) == ["198.", "fd53"], result
    assert not net.lab.seen().only().asked()


def test_dig_over_tcp(net):
    if not shutil.which("dig"):
        pytest.skip("dig is not installed")
    out = net.sh("dig +short +tcp web.example.net A; dig +tcp other.example.net | grep -c NXDOMAIN",
                 flags=FLAGS).text.split()
    assert out[0].startswith("198.") and out[1] == "1", out


def test_questions_on_more_descriptors_than_are_kept(net):
    """Who asked longest ago makes room for who comes, and sees that it is over."""
    out = inside(net, """
import struct
q = struct.pack('!HHHHHH', 7, 256, 1, 0, 0, 0) + b'\\3web\\7example\\3net\\0' + struct.pack('!HH', 1, 1)
made = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(300)]
for s in made:
    s.settimeout(5); s.connect(('192.0.2.1', 53)); s.send(q); assert len(s.recv(512)) > 30
tell(lambda: (made[-1].send(q), len(made[-1].recv(512)))[1] > 30)
tell(made[0].recv, 512) if not made[0].recv(512) else print(json.dumps('kept'))
""")
    assert out[0] == 1 and out[1] != "kept", out


def test_who_was_denied(net):
    result = net.python("import socket; s = socket.socket(); s.settimeout(5)\n"
                        "print(s.connect_ex(('8.8.8.8', 80)))", flags=FLAGS, record=True)
    assert result.text == "13\n", result
    denial, = result.record["network"]["denied"]
    assert denial["host"] == "8.8.8.8" and denial["port"] == 80 and denial["pid"] > 1, denial
    assert "python3" in denial["exe"], denial


# ---- attacks on the place between -----------------------------------------------------

REWRITE = f"""
import ctypes, mmap, multiprocessing, os, struct
libc = ctypes.CDLL(None, use_errno=True)
good = struct.pack('!2xH4s8x', {zone.ECHO}, socket.inet_aton(socket.gethostbyname('echo.example.net')))
bad = struct.pack('!2xH4s8x', {zone.ECHO}, socket.inet_aton('8.8.8.8'))
good, bad = (struct.pack('=H', 2) + x[2:] for x in (good, bad))
page = mmap.mmap(-1, 4096)
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
page[0:16] = good
child = os.fork()
if child == 0:
    while True:
        page[0:16] = bad; page[0:16] = good
counts = {{}}
for i in range(1500):
    s = socket.socket()
    r = libc.connect(s.fileno(), ctypes.c_void_p(address), 16)
    e = 0 if r == 0 else ctypes.get_errno()
    counts[e] = counts.get(e, 0) + 1
    if e == 0:
        s.sendall(b'x')
        assert s.recv(1) == b'x'
    s.close()
os.kill(child, 9)
print(json.dumps(sorted(counts)))
"""


def test_an_address_that_is_rewritten_meanwhile(net):
    """Another process changes it between an allowed one and a stranger, all the time: what
    was judged is what is reached, whichever it was."""
    assert net.probe_outside({"do": "tcp", "host": "8.8.8.8", "port": zone.ECHO})[0]["ok"]
    net.lab.forget()
    assert inside(net, REWRITE) == [[0, 13]]  # both were tried
    net.lab.seen().only(f"echo.example.net:{zone.ECHO}")


def test_options_that_lead_elsewhere(net):
    """A source route, a routing header, an interface, a mark, a group to join: what a
    connection of the supervisor's would obey."""
    out = inside(net, """
import struct
hop = socket.inet_aton('8.8.8.8')
six = socket.inet_pton(socket.AF_INET6, '2001:4860:4860::8888')
f4, f6, S, D = socket.AF_INET, socket.AF_INET6, socket.SOCK_STREAM, socket.SOCK_DGRAM
for family, kind, level, name, value in (
    (f4, S, 0, 4, b'\\x01\\x83\\x07\\x04' + hop), (f6, S, 0, 4, b'\\x01\\x83\\x07\\x04' + hop),
    (f6, S, 41, 57, bytes([0, 2, 2, 1, 0, 0, 0, 0]) + six), (f6, S, 41, 6, b''),
    (f4, S, 1, 25, b'eth0'), (f4, S, 1, 62, struct.pack('i', 1)), (f4, S, 1, 36, struct.pack('i', 1)),
    (f4, S, 0, 50, struct.pack('!i', 1)), (f6, S, 41, 76, struct.pack('!i', 1)),
    (f4, S, 6, 30, struct.pack('i', 1)), (f4, S, 6, 34, struct.pack('i', 1)),
    (f4, D, 0, 35, socket.inet_aton('239.1.2.3') + bytes(4)),
    (f6, D, 41, 20, socket.inet_pton(f6, 'ff02::1234') + struct.pack('i', 0)),
    (f4, D, 1, 27, struct.pack('i', 0)), (f4, D, 1, 44, struct.pack('i', 0)),
):
    tell(socket.socket(family, kind).setsockopt, level, name, value)
""")
    assert out == [1] * len(out), out
    net.lab.seen().only()


def test_other_ways_to_send(net):
    out = inside(net, f"""
to = ('8.8.8.8', {zone.ECHO})
tell(lambda: socket.socket().sendmsg([b'x'], [], 0x20000000, to))
tell(lambda: socket.socket().sendto(b'x', 0x20000000, to))
a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
tell(a.connect, '/run/nowhere')
tell(lambda: a.sendto(b'x', '/run/nowhere'))
s = socket.socket(); s.connect_ex(to)
tell(s.send, b'x')
tell(s.listen)
""")
    assert out == [95, 95, 97, 97, 32, 1], out
    net.lab.seen().only()


STORM = f"""import errno, socket, sys, threading
print('ready')
address = socket.getaddrinfo('echo.example.net', {zone.ECHO}, socket.AF_INET, 1)[0][4]
results, made = [], []
def one(s):
    results.append(errno.errorcode.get(s.connect_ex(address), 'OK'))
for line in sys.stdin:
    word = line.split()
    if word[0] == 'storm':
        made = [threading.Thread(target=one, args=(socket.socket(),)) for _ in range(int(word[1]))]
        for t in made: t.start()
        while results.count('EAGAIN') < int(word[1]) - 256: pass
        print(len(results))
    elif word[0] == 'look':
        print('looked')
    else:
        for t in made: t.join()
        print(*sorted({{(r, results.count(r)) for r in results}}))
"""


def test_more_callers_than_there_is_room_for(net, start):
    """The worker is stopped, so nobody gets an answer: so many wait, the others are told;
    then those that wait get theirs."""
    session = start(STORM, *FLAGS)
    assert session.say("look") == "looked"
    worker, = session.workers()
    os.kill(worker, signal.SIGSTOP)
    before = len(os.listdir(f"/proc/{session.process.pid}/fd"))
    assert session.say("storm 400") == "144"
    held = len(os.listdir(f"/proc/{session.process.pid}/fd")) - before
    os.kill(worker, signal.SIGCONT)
    assert held <= 260, held
    assert session.say("count") == "('EAGAIN', 144) ('OK', 256)"
    assert session.end().code == 0


def test_who_waits_for_a_worker_that_dies(net, start):
    session = start(STORM, *FLAGS)
    assert session.say("look") == "looked"
    worker, = session.workers()
    os.kill(worker, signal.SIGSTOP)
    assert session.say("storm 270") == "14"
    os.kill(worker, signal.SIGKILL)
    assert session.say("count") == "('EAGAIN', 14) ('ECONNREFUSED', 256)"
    assert session.end().code == 0


def test_without_notifications_it_is_refused(net):
    """A filter that lets none of ours have a listener: no run with less."""
    result = net.run("/bin/touch", "ran", flags=FLAGS, without="notify")
    assert result.code == 125 and not (net.ws / "ran").exists(), result
    assert "notif" in result.errors.lower() or "seccomp" in result.errors, result
    plan = net.call(net.immure, "plan", *FLAGS, "--", "/bin/true", without="notify")
    assert "seccomp_notify" in plan.text, plan


# ---- published ports ------------------------------------------------------------------


def published(*ports):
    return ["--net", "limited", *(word for port in ports for word in ("--publish", port))]


def test_publishing_without_names_is_refused(net):
    """With network.mode none there are no sockets at all."""
    result = net.run("/bin/touch", "ran", flags=["--net", "none", "--publish", "18005:8000"])
    assert result.code == 125 and "network.publish" in result.errors, result
    assert not (net.ws / "ran").exists()


def test_a_server_that_comes_again(net, start):
    """Clients are refused while nobody listens, and connections that linger are no reason
    not to listen anew."""
    knock = "import socket; print(socket.socket().connect_ex(('127.0.0.1', 18010)))"
    session = start("""import socket, sys
print('ready')
for line in sys.stdin:
    s = socket.socket(); s.bind(('0.0.0.0', 8000)); s.listen(); print('listens')
    c = s.accept()[0]; c.close(); s.close(); print(s.fileno())
""", *published("18010:8000"))
    for _ in range(3):
        assert net.call("/usr/bin/python3", "-c", knock).text == "111\n"
        assert session.say("again") == "listens"
        fetch(net, "127.0.0.1", 18010)
        assert session.line() == "-1"
    assert session.end().code == 0


def test_a_port_is_held_while_nobody_listens(net, start):
    """Not yet, and not any more."""
    session = start("import socket\nprint('ready'); input()\ns = socket.socket(); "
                    "s.bind(('', 8000)); s.listen(); s.close(); print('closed'); input()",
                    *published("18016:8000"))
    for said in ("closed", ""):
        second = net.run("/bin/touch", "ran", flags=published("18016:8000"))
        assert second.code == 125 and "18016" in second.errors, second
        assert session.say() == said
    assert session.end().code == 0
    assert net.run("/bin/true", flags=published("18016:8000")).code == 0


def test_one_server_or_those_that_share(net):
    out = inside(net, """
one, two = socket.socket(), socket.socket()
for s in (one, two): tell(s.bind, ('', 8000)); tell(s.listen)
one.close(); two.close()
one, two = socket.socket(), socket.socket()
tell(one.bind, ('', 8000)); tell(one.listen); tell(one.listen); tell(two.bind, ('', 8000))
one.close()
for s in (socket.socket(), socket.socket()):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    tell(s.bind, ('', 8000)); tell(s.listen); two = [two, s]
""", flags=published("18017:8000"))
    assert out == [None, None, 98, 1, None, None, None, 98] + [None] * 4, out


def test_published_in_either_family(net, start):
    """One socket of IPv6 for an address of IPv4, as some servers have it; with two, the
    second finds that there is nothing of its family, and the errno that says so."""
    session = start("""import errno, socket, sys
def tell(f, *a):
    try: f(*a); print('ok', flush=True)
    except OSError as e: print(errno.errorcode[e.errno], flush=True)
print('ready')
six = socket.AF_INET6
for line in sys.stdin:
    s = socket.socket(six)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, line.split()[0] == 'only')
    tell(s.bind, ('::', int(line.split()[1]))); tell(s.listen)
    four = socket.socket()
    tell(four.bind, ('127.0.0.1', int(line.split()[1])))
""", *published("18011:8000", "[::1]:18012:8001"))
    assert [session.say("dual 8000"), session.line(), session.line()] == ["ok", "ok", "EADDRINUSE"]
    assert [session.say("only 8000"), session.line(), session.line()] == ["EADDRNOTAVAIL", "EPERM", "ok"]
    assert [session.say("only 8001"), session.line(), session.line()] == ["ok", "ok", "EADDRNOTAVAIL"]
    session.end()


def test_nothing_else_listens(net):
    """Other ports, other addresses, datagrams; a socket that is bound to nothing; sharing
    what is published; and one that the caller brought along, bound elsewhere."""
    script = f"""import errno, socket
def tell(f, *a):
    try: f(*a); print('ok')
    except OSError as e: print(errno.errorcode[e.errno])
for kind in (1, 2):
    for at in (('', 8001), ('127.0.0.1', 18013), ('{zone.HOST_LAN4}', 8000), ('', 8000)):
        tell(socket.socket(2, kind).bind, at)
s = socket.socket()
tell(s.listen)
s.bind(('', 8000)); tell(s.bind, ('', 8000)); s.listen(); tell(s.listen, 9)
tell(s.connect, ('127.0.0.1', 8000))
brought = socket.socket(fileno=0)
tell(brought.bind, ('', 8000)); tell(brought.listen)
"""
    outside = "import socket, subprocess, sys; s = socket.socket(); s.bind(('127.0.0.1', 18020)); " \
              "subprocess.run(sys.argv[1:], stdin=s, check=True); " \
              "print(s.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR))"
    result = net.call("/usr/bin/python3", "-c", outside, net.immure, "run", *harness.BARE,
                      *published("18013:8000"), "--", "/usr/bin/python3", "-c", script)
    assert result.text.split() == ["EACCES"] * 3 + ["ok"] + ["EACCES"] * 4 + [
        "EPERM", "EINVAL", "ok", "ECONNREFUSED", "EINVAL", "EPERM", "0"], result


def test_a_client_stays_the_client(net, start):
    """What was accepted leads nowhere else."""
    session = start(f"""import errno, socket
s = socket.socket(); s.bind(('', 8000)); s.listen()
print('ready')
c = s.accept()[0]
try: c.connect(('{zone.HOST_LAN4}', 80))
except OSError as e: print(errno.errorcode[e.errno])
c.sendall(b'still'); c.close(); input()
""", *published("18014:8000"))
    script = "import socket; s = socket.create_connection(('127.0.0.1', 18014), 5); print(s.recv(9))"
    assert net.call("/usr/bin/python3", "-c", script).text == "b'still'\n"
    assert session.say() == "EISCONN"
    session.end()


@pytest.mark.parametrize("more", [(), ("--publish", "18015:8000")], ids=["", "published"])
def test_the_proof(net, more):
    result = net.call(net.immure, "prove", *FLAGS, *more, timeout=120)
    assert result.code == 0, result
