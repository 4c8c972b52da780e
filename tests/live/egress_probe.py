#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs inside: does what it is told over the network, prints what came of it.

argv[1] is a list of acts; each answer has "ok", "error" (an errno's name, or that
of getaddrinfo), "ms", and what it got. An act that waits does so for "wait" s.

  tcp      host port [family] [say]     connects; with say, writes it and reads an answer,
                                          all of it up to what it expects
  half     host port data               echo over a half-closed connection
  udp      host port how [family]       how: connect, sendto, sendmsg; ok = answered
  resolve  host [family]                getaddrinfo
  reverse  host                         getnameinfo of an address
  dns      server name type [tcp]       a question by hand: rcode, answers
  raw      server data [tcp]            any bytes to port 53
  socket   family kind protocol         socket() alone
  unix     path                         connect to a unix socket; "\\0name" is abstract
  fastopen host port                    sendto with MSG_FASTOPEN
  mptcp    host port [say]
  all      acts                         these at the same time, in threads
"""
import contextlib
import errno
import ipaddress
import json
import socket
import struct
import sys
import threading
import time

FAMILY = {0: socket.AF_UNSPEC, 4: socket.AF_INET, 6: socket.AF_INET6}
TYPES = {"A": 1, "NS": 2, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33,
         "SVCB": 64, "HTTPS": 65, "AXFR": 252, "ANY": 255}


def places(act, kind=socket.SOCK_STREAM):
    family = FAMILY[act.get("family", 0)]
    return socket.getaddrinfo(act["host"], act["port"], family, kind)


def connect(act, kind=socket.SOCK_STREAM, protocol=0):
    """As programs do it: each address in turn, the last error counts."""
    last = None
    for family, _, _, _, where in places(act, kind):
        sock = socket.socket(family, kind, protocol)
        sock.settimeout(act.get("wait", 5))
        try:
            sock.connect(where)
            return sock
        except OSError as e:
            sock.close()
            last = e
    raise last


def tcp(act, answer, protocol=0):
    with connect(act, protocol=protocol) as sock:
        answer["connected"] = round((time.monotonic() - answer["start"]) * 1000, 1)
        with contextlib.suppress(OSError):  # ended already: what is said next gets to know why
            answer["peer"] = sock.getpeername()[0]
        if "say" in act:
            if act["say"]:
                sock.sendall(act["say"].encode("latin-1"))
            got = sock.recv(65536)
            while got and act.get("expect", "").encode() not in got:
                more = sock.recv(65536)
                if not more:
                    break
                got += more
            answer["got"] = got.decode("latin-1")
            if not got:
                raise OSError(errno.EPIPE, "closed without an answer")


def half(act, answer):
    with connect(act) as sock:
        data = act["data"].encode("latin-1") * act.get("times", 1)
        sender = threading.Thread(target=lambda: (sock.sendall(data),
                                                  sock.shutdown(socket.SHUT_WR)))
        sender.start()
        parts = []
        while block := sock.recv(1 << 16):
            parts.append(block)
        sender.join()
        got = b"".join(parts)
        answer["got"] = len(got)
        if got != data:
            raise OSError(errno.EIO, "other bytes came back")


def udp(act, answer):
    family, _, _, _, where = places(act, socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(act.get("wait", 0.5))
        if act["how"] == "connect":
            sock.connect(where)
            sock.send(b"x")
        elif act["how"] == "sendto":
            sock.sendto(b"x", where)
        else:
            sock.sendmsg([b"x"], [], 0, where)
        answer["sent"] = True
        sock.recv(64)


def resolve(act, answer):
    found = socket.getaddrinfo(act["host"], act.get("port"), FAMILY[act.get("family", 0)],
                               socket.SOCK_STREAM)
    answer["addresses"] = [f[4][0] for f in found]


def reverse(act, answer):
    answer["name"] = socket.getnameinfo((act["host"], 0), socket.NI_NAMEREQD)[0]


def question(name, kind, flags=0x0100):
    labels = b"".join(bytes([len(p)]) + p.encode("latin-1") for p in name.rstrip(".").split(".")
                      if p)
    return struct.pack("!HHHHHH", 0x4242, flags, 1, 0, 0, 0) + labels + b"\0" + struct.pack(
        "!HH", TYPES.get(kind, kind), 1)


def exchange(act, data):
    six = ":" in act["server"]
    stream = act.get("tcp", False)
    with socket.socket(socket.AF_INET6 if six else socket.AF_INET,
                       socket.SOCK_STREAM if stream else socket.SOCK_DGRAM) as sock:
        sock.settimeout(act.get("wait", 2))
        sock.connect((act["server"], act.get("port", 53)))
        if not stream:
            sock.send(data)
            return sock.recv(4096)
        sock.sendall(struct.pack("!H", len(data)) + data)
        with sock.makefile("rb") as reader:
            head = reader.read(2)
            if len(head) < 2:
                raise OSError(errno.EPIPE, "closed without an answer")
            return reader.read(struct.unpack("!H", head)[0])


def skip_name(data, at):
    while data[at]:
        if data[at] >= 0xc0:
            return at + 2
        at += 1 + data[at]
    return at + 1


def dns(act, answer):
    data = exchange(act, question(act["name"], act["type"]))
    _, flags, _, n, authority, _ = struct.unpack("!HHHHHH", data[:12])
    answer.update(rcode=flags & 15, answers=n, authority=authority, addresses=[])
    at = skip_name(data, 12) + 4
    for _ in range(n):
        at = skip_name(data, at)
        kind, _, _, size = struct.unpack("!HHIH", data[at:at + 10])
        if kind in (1, 28):
            answer["addresses"].append(str(ipaddress.ip_address(data[at + 10:at + 10 + size])))
        at += 10 + size


def raw(act, answer):
    answer["got"] = exchange(act, bytes.fromhex(act["data"])).hex()


def any_socket(act, _):
    socket.socket(act["family"], act["kind"], act["protocol"]).close()


def unix(act, _):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(2)
        sock.connect(act["path"])


def fastopen(act, _):
    family, _, _, _, where = places(act)[0]
    with socket.socket(family) as sock:  # blocking, so that the error is the call's
        sock.sendto(b"x", socket.MSG_FASTOPEN, where)


def everything(act, answer):
    answer["answers"] = [None] * len(act["acts"])

    def one(i):
        answer["answers"][i] = perform(act["acts"][i])

    threads = [threading.Thread(target=one, args=(i,)) for i in range(len(act["acts"]))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


ACTS = {"tcp": tcp, "half": half, "udp": udp, "resolve": resolve, "reverse": reverse, "dns": dns,
        "raw": raw, "socket": any_socket, "unix": unix, "fastopen": fastopen, "all": everything,
        "mptcp": lambda act, answer: tcp(act, answer, 262)}


def perform(act):
    answer = {"ok": False, "error": None, "start": time.monotonic()}
    try:
        ACTS[act["do"]](act, answer)
        answer["ok"] = True
    except socket.gaierror as e:
        names = {getattr(socket, n): n for n in dir(socket) if n.startswith("EAI_")}
        answer["error"] = names.get(e.errno, str(e))
    except TimeoutError:
        answer["error"] = "TIMEOUT"
    except OSError as e:
        answer["error"] = errno.errorcode.get(e.errno, str(e))
    answer["ms"] = round((time.monotonic() - answer.pop("start")) * 1000, 1)
    return answer


if __name__ == "__main__":
    print(json.dumps([perform(act) for act in json.loads(sys.argv[1])]))
