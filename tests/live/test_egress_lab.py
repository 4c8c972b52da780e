# SPDX-License-Identifier: Apache-2.0
"""The lab itself: everything in it answers, the spy sees everything that leaves,
and nothing of it stays. What the other files prove rests on this."""

import os
import shutil
import pathlib
import socket
import subprocess
import sys

import pytest

import harness
import netlab
import netlab_zone as zone

LITERAL = {4: "45.90.1.10", 6: "2a0e:97c0:1::a"}
STRANGER = {4: "8.8.8.8", 6: "2001:4860:4860::8888"}
ICMP = {4: (socket.AF_INET, socket.IPPROTO_ICMP), 6: (socket.AF_INET6, socket.IPPROTO_ICMPV6)}


def test_servers_answer(net, family):
    web, plain, greeting, nothing, other = net.probe_outside(
        {"do": "tcp", "host": "web.example.net", "port": 80, "family": family,
         "say": "GET / HTTP/1.0\r\nHost: x\r\n\r\n", "expect": "web x"},
        {"do": "half", "host": LITERAL[family], "port": zone.ECHO, "data": "x", "times": 300000},
        {"do": "tcp", "host": LITERAL[family], "port": zone.GREET, "say": ""},
        {"do": "tcp", "host": LITERAL[family], "port": zone.CLOSED},
        {"do": "tcp", "host": STRANGER[family], "port": 80})
    assert web["ok"] and "web x" in web["got"], web
    assert plain["ok"] and greeting["got"].startswith("220"), (plain, greeting)
    assert nothing["error"] == "ECONNREFUSED"
    assert other["ok"]


def test_names_are_the_labs(net, family):
    good, none, alias = net.probe_outside(
        {"do": "resolve", "host": "web.example.net", "family": family},
        {"do": "resolve", "host": "absent.example.net", "family": family},
        {"do": "resolve", "host": "alias.example.net", "family": family})
    assert good["addresses"] == alias["addresses"] == [LITERAL[family]]
    assert none["error"] == "EAI_NONAME"
    assert {"web.example.net", "absent.example.net"} <= net.lab.seen().asked()


def test_the_spy_sees_everything(net, family):
    """Each kind of packet that a test later finds missing was seen here."""
    acts = [{"do": "tcp", "host": STRANGER[family], "port": 80},
            {"do": "udp", "host": STRANGER[family], "port": 443, "how": "sendto", "wait": 0.05},
            {"do": "dns", "server": STRANGER[family], "name": "leak.test", "type": "TXT"},
            {"do": "tcp", "host": {4: "203.0.113.9", 6: "2001:db8::9"}[family], "port": 25,
             "wait": 0.05},
            {"do": "tcp", "host": {4: "127.0.0.1", 6: "::1"}[family],
             "port": zone.HOST_LOOPBACK, "say": "x"}]
    net.probe_outside(*acts)
    # As the lab's root, since most users may neither ping nor make raw sockets.
    ping = (f"import socket; s = socket.socket({ICMP[family][0]}, socket.SOCK_RAW, "
            f"{ICMP[family][1]}); s.sendto(bytes([{8 if family == 4 else 128}]) + bytes(15), "
            f"('{STRANGER[family]}', 0))")
    if net.lab.root:
        net.lab.call("host", "/usr/bin/python3", "-c", ping)
    seen = net.lab.seen()
    wanted = {("tcp", STRANGER[family], 80), ("udp", STRANGER[family], 443),
              ("udp", STRANGER[family], 53), ("tcp", acts[3]["host"], 25)}
    if net.lab.root:
        wanted.add(("icmp" if family == 4 else "icmp6", STRANGER[family], 0))
    assert wanted <= set(seen.wire), seen
    assert ("tcp", acts[4]["host"], zone.HOST_LOOPBACK) in seen.loopback, seen
    assert "leak.test" in seen.asked()
    assert seen.strange() and seen.reached("loopback")
    net.lab.forget()
    seen = net.lab.seen()
    assert not seen.wire and not seen.log and not seen.loopback


def test_resolv_conf_is_the_labs_only_there(net):
    assert zone.DNS4 in net.call("/bin/cat", "/etc/resolv.conf").text
    assert zone.DNS4 not in pathlib.Path("/etc/resolv.conf").read_text()


def test_certificates(net, family):
    if not netlab.which("curl"):
        pytest.skip("curl is not installed")
    done = net.call("curl", f"-{family}", "-sS", "https://secure.example.net/a")
    assert done.text == "web secure.example.net /a\n", done
    assert ("sni", "secure.example.net", "") in net.lab.seen().log


def test_services(net, family, redis, postgres, ssh):
    for port in (zone.REDIS, zone.POSTGRES, zone.SSH):
        act, = net.probe_outside({"do": "tcp", "host": LITERAL[family], "port": port})
        assert act["ok"], (port, act)


def test_git_over_http(net):
    if not netlab.which("git"):
        pytest.skip("git is not installed")
    net.lab.repository("one.git", {"f": "content\n"})
    done = net.call("git", "clone", "-q", "https://git.example.net/git/one.git", "copy")
    assert done.code == 0 and (net.ws / "copy/f").read_text() == "content\n", done


@pytest.mark.modes("root")
def test_two_at_once_and_nothing_left(base, bin_dir, mode, lab):
    """Another lab beside the first: neither sees the other, and no trace of it stays."""
    def namespaces():
        found = set()
        todo = [os.getpid()]  # others on this host make namespaces, too
        while todo:
            pid = todo.pop()
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    todo += pathlib.Path(f"/proc/{pid}/task/{task}/children").read_text().split()
                found.add(os.readlink(f"/proc/{pid}/ns/net"))
            except OSError:
                pass
        return found

    before, links = namespaces(), set(os.listdir("/sys/class/net"))
    children = set(harness.descendants())
    lab.forget()
    with netlab.Lab(base / "second") as second:
        assert len(namespaces() - before) == 2
        second.call("host", "/usr/bin/python3", "-c",
                    "import socket; socket.create_connection(('web.example.net', 80))")
        assert second.seen().opened() and second.seen().asked()
        assert not lab.seen().wire
    assert harness.until(lambda: not namespaces() - before, 5)
    assert set(os.listdir("/sys/class/net")) == links
    assert not set(harness.descendants()) - children
    assert not (base / "second").exists()


@pytest.mark.modes("root")
def test_an_ordinary_user_can_have_one(base, mode, account, lab):
    """In a user namespace: started by that user, without any right of root's."""
    if os.geteuid() != 0:
        pytest.skip("the lab of this run is an ordinary user's already")
    place = base / "users"
    place.mkdir(mode=0o755)
    os.chown(place, account.pw_uid, account.pw_gid)
    # The checkout may lie where that user cannot look.
    for module in [*netlab.HERE.glob("netlab*.py"), netlab.HERE.parent / "harness.py"]:
        shutil.copy(module, place)
    shutil.copy(harness.BUILD / "tests/escape/become", place)
    script = (f"import sys; sys.path[:0] = [{str(place)!r}]\n"
              f"import harness; harness.BECOME = {str(place / 'become')!r}\n"
              f"import netlab\nwith netlab.Lab({str(place / 'lab')!r}) as lab:\n"
              " print(lab.call('host', 'id', '-u'), lab.call('host', 'cat', '/proc/self/status'))\n"
              " lab.call('host', '/usr/bin/python3', '-c', \"import socket; "
              "socket.create_connection(('web.example.net', 443))\")\n"
              " print(sorted(lab.seen().opened()))\n")
    done = subprocess.run([sys.executable, "-c", script], user=account.pw_uid,
                          group=account.pw_gid, extra_groups=[], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, cwd="/",
                          env={"PATH": netlab.PATH, "HOME": "/", "PYTHONDONTWRITEBYTECODE": "1"})
    harness.remove_tree(place)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(account.pw_uid))
    assert "CapEff:\t0000000000000000" in done.stdout
    assert "443" in done.stdout
