# SPDX-License-Identifier: Apache-2.0
"""The supervisor's part of a limited network: what stands inside, what is handed
out and what is not, the worker's life, what is told of a denial, published
ports. What is let through and what is not is in the files named egress."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import time

import pytest

import harness
import netlab
from netlab import allow
from sessions import Session

WEB = "web.example.net:80"
FETCH = ("import urllib.request,sys\n"
         "o=urllib.request.build_opener(urllib.request.ProxyHandler({}))\n"
         "print(o.open('http://web.example.net/',timeout=10).read().decode())\n")


def children(pid):
    found = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError, IndexError):
            if name.isdigit():
                fields = pathlib.Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == pid:
                    found.append(int(name))
    return found


def workers(pid):
    found = []
    for child in children(pid):
        with contextlib.suppress(OSError):
            if pathlib.Path(f"/proc/{child}/comm").read_text().strip() == "immure-egress":
                found.append(child)
    return found


def network(result):
    return result.record["result"]["network"] if "result" in result.record else result.record["network"]


# ---- what stands inside --------------------------------------------------------


@pytest.mark.parametrize("profile", ["dev", "strict"])
def test_names_are_looked_up_at_ours(net, profile):
    result = net.sh("cat /etc/resolv.conf; grep ^hosts /etc/nsswitch.conf; cat /etc/hosts",
                    flags=[*allow(WEB), "--profile", profile])
    assert "nameserver 198.18.0.1\n" in result.text and "hosts: files dns" in result.text
    assert "example.net" not in result.text  # the host's entries are not for those inside


def test_files_of_ours_cannot_be_changed_or_uncovered(net):
    result = net.sh("for f in /etc/resolv.conf /etc/hosts /etc/nsswitch.conf; do "
                    "echo x >> $f; rm $f; mv $f $f.x; umount $f; done 2>/dev/null; "
                    "cat /etc/resolv.conf", flags=allow(WEB))
    assert result.text.startswith("nameserver 198.18.0.1\n"), result


def test_no_descriptor_of_the_network_is_inside(net):
    """Neither a socket of the host's namespace nor one that plumbs ours."""
    script = ("import os\n"
              "for pid in ['1', 'self']:\n"
              "  try:\n"
              "    for fd in os.listdir(f'/proc/{pid}/fd'):\n"
              "      try: print(pid, fd, os.readlink(f'/proc/{pid}/fd/{fd}'))\n"
              "      except OSError: pass\n"
              "  except OSError as e: print(pid, e.errno)\n")
    result = net.python(script, flags=[*allow(WEB), "--publish", "8099"])
    lines = [line.split() for line in result.text.splitlines()]
    assert not [line for line in lines if line[0] == "1" and len(line) > 2], result
    kinds = [line[2].split(":")[0] for line in lines if line[0] == "self" and int(line[1]) > 2]
    assert not [k for k in kinds if k in ("socket", "net", "user", "anon_inode")], result


def test_proxy_variables(net):
    result = net.sh("env", flags=allow(WEB))
    assert "HTTPS_PROXY=http://proxy.immure:3128\n" in result.text
    off = net.sh("env", flags=[*allow(WEB), "--proxy", "false"])
    assert "PROXY" not in off.text and "proxy" not in off.text
    own = net.sh("env", flags=[*allow(WEB), "--env", "https_proxy=http://x:1"])
    assert "198.18" not in own.text and "https_proxy=http://x:1\n" in own.text


def test_another_prefix(net):
    result = net.sh(f"cat /etc/resolv.conf; python3 -c \"{FETCH}\"",
                    flags=[*allow(WEB), "--prefix", "10.99.0.0/16"])
    assert "nameserver 10.99.0.1\n" in result.text and "web web.example.net" in result.text, result


# ---- the worker's life ------------------------------------------------------------


def test_fetches_and_counts(net):
    result = net.python(FETCH, flags=allow(WEB), record=True)
    assert result.code == 0 and "web" in result.text, result
    told = network(result)
    assert told["connections"] >= 1 and told["bytes_in"] > 0 and told["lookups"] >= 1, told
    assert told["denied"] == [] and told["gatekeeper_restarts"] == 0
    net.lab.seen().only(WEB)


def test_it_starts_when_it_is_needed(net):
    process = net.spawn(net.immure, "run", *allow(WEB), "--", "/bin/sh", "-c",
                        f"echo up; read x; python3 -c \"{FETCH}\"; echo done; read x",
                        stdin=-1)
    try:
        assert process.stdout.readline() == b"up\n"
        assert not workers(process.pid)
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert b"web" in process.stdout.readline()
        assert len(workers(process.pid)) == 1
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()
        process.stderr.close()


@pytest.mark.parametrize("name", ["hosts", "resolv.conf"])
def test_the_hosts_files_may_change_meanwhile(net, name):
    """A name that leads nowhere until the host's file says something else."""
    path = net.lab.path / name
    before = path.read_text()
    if name == "hosts":
        after, host = before + "45.90.1.10 fresh.example.net\n", "fresh.example.net"
    else:
        after, host = before, "web.example.net"
        path.write_text("nameserver 45.90.9.9\n")  # it never answers
    script = ("import socket\n"
              "def ask():\n"
              "  s = socket.create_connection(('198.18.0.1', 3128), 5); s.settimeout(20)\n"
              f"  s.sendall(b'CONNECT {host}:80 HTTP/1.1\\r\\nHost: {host}:80\\r\\n\\r\\n')\n"
              "  print(s.recv(100)[9:12].decode(), flush=True)\n"
              "ask(); input(); ask()\n")
    try:
        process = net.spawn(net.immure, "run", *allow(host + ":80"), "--", "/usr/bin/python3", "-c",
                            script, stdin=-1)
        assert process.stdout.readline() == b"502\n"
        path.write_text(after)
        time.sleep(0.3)
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"200\n"
    finally:
        path.write_text(before)
        process.stdin.close()
        process.wait(20)
        process.stdout.close()
        process.stderr.close()


def test_answers_of_other_resolvers_are_forgotten(net):
    """What is kept for a minute came from resolvers that are not the host's any more."""
    path = net.lab.path / "resolv.conf"
    before = path.read_text()
    script = ("import socket,sys\n"
              "for line in sys.stdin:\n"
              "  with socket.create_connection(('web.example.net', 80), 10) as s:\n"
              "    s.sendall(b'GET / HTTP/1.0\\r\\nHost: x\\r\\n\\r\\n')\n"
              "    print(len(s.recv(1)), flush=True)\n")
    process = net.spawn(net.immure, "run", *allow(WEB), "--", "/usr/bin/python3", "-c", script,
                        stdin=-1)

    def questions():
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"1\n"
        return len([e for e in net.lab.seen().log if e[:3] == ("dns", "web.example.net", "A")])

    try:
        net.lab.forget()
        assert [questions() for _ in range(3)] == [1, 1, 1]
        path.write_text("# others\n" + before)
        assert harness.until(lambda: questions() == 2, 20)
        assert [questions() for _ in range(3)] == [2, 2, 2]
    finally:
        path.write_text(before)
        process.stdin.close()
        process.wait(20)
        process.stdout.close()
        process.stderr.close()


def gone(pid):
    with contextlib.suppress(OSError):  # a zombie is for whoever inherited it to reap
        return confinement(pid)["State"].startswith("Z")
    return True


def confinement(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return {line.split(":")[0]: line.split(":")[1].strip() for line in status.splitlines()}


def test_it_is_confined_and_dies_with_the_supervisor(net):
    process = net.spawn(net.immure, "run", *allow(WEB), "--", "/bin/sh", "-c",
                        f"python3 -c \"{FETCH}\"; sleep 60")
    try:
        assert b"web" in process.stdout.readline()
        worker, = workers(process.pid)
        status = confinement(worker)
        assert status["Seccomp"] == "2" and status["NoNewPrivs"] == "1"
        assert int(status["CapEff"], 16) == 0 and int(status["CapPrm"], 16) == 0
        process.kill()
        process.wait(10)
        assert harness.until(lambda: gone(worker), 2)
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()
        process.stderr.close()


LINES = """
import socket,sys,time
def once(tag):
    try:
        s = socket.create_connection(('web.example.net', 80), 10)
        s.send(b'GET / HTTP/1.0\\r\\nHost: web.example.net\\r\\n\\r\\n')
        print(tag, s.recv(100)[:12], flush=True)
    except OSError as e:
        print(tag, type(e).__name__, flush=True)
kept = socket.create_connection(('web.example.net', 80), 10)
once('one')
sys.stdin.readline()
try: print('kept', kept.recv(1) or b'end', flush=True)
except OSError as e: print('kept', type(e).__name__, flush=True)
once('two')
"""


def test_killed_it_closes_all_and_starts_again(net):
    process = net.spawn(net.immure, "run", "--result", "result.json", *allow(WEB), "--",
                        "/usr/bin/python3", "-c", LINES, stdin=-1)
    out, err = b"", b""
    try:
        assert process.stdout.readline().startswith(b"one b'HTTP"), process.stderr.read()
        worker, = workers(process.pid)
        os.kill(worker, signal.SIGKILL)
        out, err = process.communicate(b"\n", timeout=30)
    finally:
        process.kill()
        process.wait(10)
    lines = out.decode().splitlines()
    assert lines[0] in ("kept b'end'", "kept ConnectionResetError"), (out, err)
    assert lines[1].startswith("two b'HTTP"), (out, err)
    assert b"ended 1 time and was started again" in err
    record = json.loads((net.ws / "result.json").read_text())
    assert record.get("result", record)["network"]["gatekeeper_restarts"] == 1


@pytest.mark.parametrize("stopped", [True, False])
def test_numbers_that_did_not_come_are_missed(net, stopped):
    """A gatekeeper that does not answer holds up no end; what it had counted may be more."""
    process = net.spawn(net.immure, "run", *allow(WEB), "--", "/bin/sh", "-c",
                        f"python3 -c \"{FETCH}\"; echo done; read x", stdin=-1)
    try:
        assert b"web" in process.stdout.readline()
        worker, = workers(process.pid)
        if stopped:
            os.kill(worker, signal.SIGSTOP)
        _, err = process.communicate(b"\n", timeout=20)
    finally:
        process.kill()
        process.wait(10)
    assert (b"did not say in time" in err) == stopped, err


def test_over_and_over_is_the_end(net):
    script = ("import socket,time\n"
              "for i in range(40):\n"
              "  try:\n"
              "    s = socket.create_connection(('web.example.net', 80), 5); print('open', flush=True)\n"
              "    s.recv(1)\n"
              "  except OSError as e: print(type(e).__name__, getattr(e, 'errno', 0), flush=True)\n"
              "  time.sleep(0.02)\n")
    process = net.spawn(net.immure, "run", *allow(WEB), "--", "/usr/bin/python3", "-c", script)
    killed, stop = 0, time.monotonic() + 40
    while process.poll() is None and time.monotonic() < stop:
        for pid in workers(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
        time.sleep(0.01)
    out, err = process.communicate(timeout=30)
    assert killed >= 16, (killed, out, err)
    assert b"ended too often" in err, err
    # nothing hangs: the last tries are refused at once
    assert out.decode().splitlines()[-1].split()[0] != "open", out


def test_without_the_program_nothing_runs(net):
    place = net.path / "alone"
    place.mkdir()
    for name in ("immure", "immure-full"):
        shutil.copy(pathlib.Path(net.immure).parent / name, place / name)
        (place / name).chmod(0o755)
    place.chmod(0o755)
    plain = net.call(place / "immure", "run", "--", "/bin/true")
    assert plain.code == 0, plain
    for flags in (allow(WEB), ["--publish", "8098"]):
        result = net.call(place / "immure", "run", *flags, "--", "/bin/sh", "-c", "touch ran")
        assert result.code == 125 and "immure-egress" in result.errors, result
        assert not (net.ws / "ran").exists()


# ---- denials ------------------------------------------------------------------------


def test_denials_are_told_once_with_what_to_add(net):
    script = ("import socket\n"
              "for i in range(3):\n"
              "  for h, p in (('denied.example.net', 443), ('web.example.net', 81)):\n"
              "    try: socket.create_connection((h, p), 5)\n"
              "    except OSError as e: print(h, type(e).__name__)\n")
    result = net.python(script, flags=allow(WEB), record=True)
    denied = network(result)["denied"]
    hosts = [d["host"] for d in denied]
    assert "denied.example.net" in hosts, result
    entry = denied[hosts.index("denied.example.net")]
    assert entry["step"] == "lookup" and "denied.example.net" in entry["add"], entry
    assert entry["rule"] is None
    lines = [line for line in result.errors.splitlines() if "denied.example.net" in line]
    assert len(lines) == 1 and lines[0].startswith("immure: denied: "), result
    assert "allow it with --allow" in lines[0]
    assert not net.lab.seen().wire


def test_who_was_denied(net):
    script = ("import socket,time\n"
              "s = socket.create_connection(('198.18.0.1', 3128), 5)\n"
              "s.send(b'CONNECT denied.example.net:443 HTTP/1.1\\r\\nHost: denied.example.net:443\\r\\n\\r\\n')\n"
              "print(s.recv(100)); time.sleep(0.3)\n")
    result = net.python(script, flags=allow(WEB), record=True)
    entry, = [d for d in network(result)["denied"] if d["host"] == "denied.example.net"]
    assert entry["port"] == 443 and "python3" in (entry["exe"] or ""), (entry, result)
    assert entry["pid"] and entry["pid"] < 100, entry  # as it is called inside


@pytest.mark.parametrize("how", ["connect", "plain", "socks"])
def test_who_was_denied_by_the_proxy_and_ended_at_once(net, how):
    """Its answer comes when somebody has looked, so it is still there."""
    say = {"connect": "b'CONNECT denied.example.net:443 HTTP/1.1\\r\\nHost: denied.example.net:443\\r\\n\\r\\n'",
           "plain": "b'GET http://denied.example.net/ HTTP/1.1\\r\\nHost: denied.example.net\\r\\n\\r\\n'",
           "socks": "b'\\5\\1\\0\\5\\1\\0\\3\\x12denied.example.net\\1\\xbb'"}[how]
    script = ("import os, socket\n"
              "s = socket.create_connection(('198.18.0.1', 3128), 5); s.settimeout(10)\n"
              f"s.sendall({say})\n"
              f"data = s.recv(100)\n"
              f"while {how == 'socks'} and len(data) < 4: data += s.recv(100)\n"
              "print(data[:40], flush=True)\n"
              "os._exit(0)\n")
    for _ in range(5):
        result = net.python(script, flags=allow(WEB), record=True)
        assert b"403" in result.out or b"x02" in result.out, result
        entry, = [d for d in network(result)["denied"] if d["host"] == "denied.example.net"]
        assert "python3" in (entry["exe"] or "") and entry["pid"], (entry, result)



def test_many_denials_are_bounded(net):
    script = ("import socket\n"
              "for i in range(400):\n"
              "  try: socket.getaddrinfo(f'n{i}.example.net', 443, socket.AF_INET)\n"
              "  except OSError: pass\n")
    result = net.python(script, flags=allow(WEB), record=True)
    told = network(result)
    assert len(told["denied"]) <= 256 and len(told["denied"]) + told["denied_more"] >= 400, told
    lines = [line for line in result.errors.splitlines() if "denied" in line]
    assert len(lines) <= 11, lines


# ---- published ports --------------------------------------------------------------------


SERVER = ("import socket\n"
          "s=socket.create_server(('%s', %d), family=socket.AF_INET%s)\n"
          "print('listening', flush=True)\n"
          "while True:\n"
          "  c,a=s.accept()\n"
          "  while True:\n"
          "    d=c.recv(65536)\n"
          "    if not d: break\n"
          "    c.sendall(d)\n"
          "  c.close()\n")


def dial(net, address, port, data=b"hello"):
    """From the lab's host, not from inside."""
    code = (f"import socket,sys\ns=socket.create_connection(({address!r},{port}),5)\n"
            f"s.sendall({data!r});s.shutdown(1)\nout=b''\n"
            "while True:\n d=s.recv(65536)\n if not d: break\n out+=d\nprint(out)")
    return net.call("/usr/bin/python3", "-c", code)


@pytest.fixture
def published(net):
    running = []

    def start(*flags, address="127.0.0.1", port=8090):
        server = SERVER % (address, port, "6" if ":" in address else "")
        process = net.spawn(net.immure, "run", *flags, "--", "/usr/bin/python3", "-c", server)
        running.append(process)
        assert process.stdout.readline() == b"listening\n", process.stderr.read()
        return process

    yield start
    for process in running:
        process.kill()
        process.wait(10)
        process.stdout.close()
        process.stderr.close()


@pytest.mark.parametrize("flags", [[], netlab.LIMITED], ids=["none", "limited"])
def test_a_published_port_is_reached(net, published, flags):
    published("--publish", "127.0.0.1:8080:8090", *flags)
    for _ in range(20):  # more than there are spare sockets to begin with
        assert dial(net, "127.0.0.1", 8080).text == "b'hello'\n"
    assert "refused" in dial(net, "127.0.0.1", 8090).errors  # the inner port is no host port


def test_published_on_loopback_unless_told(net, published):
    published("--publish", "8090")
    assert dial(net, "127.0.0.1", 8090).text == "b'hello'\n"
    own = net.call("/bin/sh", "-c", "ip -4 -o addr show scope global | awk '{print $4}'").text.split("/")[0]
    assert own and "refused" in dial(net, own, 8090).errors


def test_published_over_v6(net, published):
    published("--publish", "[::1]:8081:8090", address="::1")
    assert dial(net, "::1", 8081).text == "b'hello'\n"


def test_a_port_is_published_once(net, published):
    published("--publish", "8090")
    result = net.sh("touch ran", flags=["--publish", "8090"])
    assert result.code == 125 and "8090" in result.errors and "use" in result.errors, result
    assert not (net.ws / "ran").exists()
    again = net.sh("true", flags=["--publish", "8090", "--publish", "8090:80"])
    assert again.code == 125


def test_a_published_port_is_free_afterwards(net, published):
    first = published("--publish", "8090")
    assert dial(net, "127.0.0.1", 8090).text == "b'hello'\n"
    first.terminate()
    first.wait(10)
    published("--publish", "8090")
    assert dial(net, "127.0.0.1", 8090).text == "b'hello'\n"


# ---- numbers of a session --------------------------------------------------------


def test_a_session_tells_what_went_through(net):
    with Session(net, *allow(WEB)) as s:
        before = s.json("stats")
        assert before["network_connections"] == before["network_in"] == 0
        for n in (1, 2):
            assert s.exec("/usr/bin/python3", "-c", FETCH).code == 0
            now = s.json("stats")
            assert now["network_connections"] == n and now["network_connections_open"] == 0, now
            assert now["network_in"] > before["network_in"], now
            assert now["network_out"] > before["network_out"], now
            before = now
    with Session(net) as s:
        assert s.json("stats")["network_in"] is None
