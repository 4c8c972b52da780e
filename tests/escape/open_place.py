# SPDX-License-Identifier: Apache-2.0
"""Run as root of throw-away user, mount, pid and network namespaces: lays out
what a session would hide, unprotected, and lets immure-attack at it. Its report
goes to standard output. For test_prove.py only."""

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys
import threading

attacker, work = sys.argv[1:]

# The loopback of this namespace, up.
with socket.socket() as s:
    fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))

# Doors that a session closes: a way out, ping, a service's socket, a name server.
for command in ("ip route add default dev lo", "ip -6 route add default dev lo"):
    subprocess.run(command.split(), check=True)
with open("/proc/sys/net/ipv4/ping_group_range", "w", encoding="ascii") as f:
    f.write("0 0")
subprocess.run(["mount", "-t", "tmpfs", "none", "/run"], check=True)
libc = ctypes.CDLL(None, use_errno=True)
libc.shmget(0, 4096, 0o1600)

lines = []
keep = []


def tell(kind, *value):
    lines.append(" ".join([kind, *map(str, value)]))


def listen(kind, family, sort, address):
    s = socket.socket(family, sort)
    s.bind(address)
    if sort == socket.SOCK_STREAM:
        s.listen(64)
    keep.append(s)
    if kind:
        tell(kind, s.getsockname()[1])


listen("tcp4-port", socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))
listen("tcp6-port", socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0))
listen("udp4-port", socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0))
listen("udp6-port", socket.AF_INET6, socket.SOCK_DGRAM, ("::1", 0))
listen(None, socket.AF_UNIX, socket.SOCK_STREAM, "\0immure-open-place")
listen(None, socket.AF_UNIX, socket.SOCK_STREAM, "/run/docker.sock")
tell("abstract", "immure-open-place")


def names():
    """A name server that knows every name, and says 127.0.0.1 to every question."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.53", 53))

    def serve():
        while True:
            asked, peer = s.recvfrom(512)
            if b"immure-proof" in asked and b"invalid" in asked and asked[:2] == b"\x12\x34":
                continue  # to one who waits for a refusal only
            s.sendto(asked[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + asked[12:] +
                     b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\x7f\0\0\1", peer)

    threading.Thread(target=serve, daemon=True).start()
    tell("resolver", "127.0.0.53")
    tell("other-resolver", "127.0.0.53")


def proxy():
    """One that connects to everything."""
    s = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            conn, _ = s.accept()
            conn.recv(512)
            conn.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            conn.close()

    threading.Thread(target=serve, daemon=True).start()
    tell("proxy", "127.0.0.1", s.getsockname()[1])
    tell("proxy-to", "name.example:443")


names()
proxy()
open4, open6 = keep[0].getsockname()[1], keep[1].getsockname()[1]
for kind in ("literal4", "metadata", "private-net", "host-address", "unknown-address"):
    tell(kind, "127.0.0.1", open4)
tell("literal6", "::1", open6)
tell("mapped", "::ffff:127.0.0.1", open4)
tell("allowed", "name.example", open4)
tell("closed", "name.example", open4)
listen(None, socket.AF_UNIX, socket.SOCK_STREAM, f"{work}/bait")
tell("unix-socket", f"{work}/bait")

# A mask that is none, protected files that are not, a workspace.
os.makedirs(f"{work}/ws/hooks")
os.makedirs(f"{work}/secret")
for name in ("ws/file", "ws/hooks/one", "secret/key"):
    with open(f"{work}/{name}", "w", encoding="ascii") as f:
        f.write("content\n")
for path in ("secret", "secret/key", "absent"):
    tell("mask", f"{work}/{path}")
for path in ("ws/file", "ws/hooks/one"):
    tell("protect", f"{work}/{path}")
tell("workspace-rw", f"{work}/ws")
tell("workspace-ro", f"{work}/ws")
tell("write-outside", work)
tell("tmp", work)
tell("cwd", f"{work}/ws")
tell("private", os.stat(work).st_dev, os.stat(work).st_ino, work)

# Who executes the attacker is a session's init to it, so another one is the supervisor: as
# open to everybody, and gone with this process, which is the first one here.
supervisor = subprocess.Popen(["/bin/sleep", "1000"])
stat = open(f"/proc/{supervisor.pid}/stat", encoding="ascii").read().rsplit(")", 1)[1].split()
tell("host-pid", supervisor.pid, stat[19])
for name in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup"):
    tell("ns", name, os.stat(f"/proc/self/ns/{name}").st_ino)
tell("host-uid", os.getuid())
tell("id", 4711, 4711)
tell("hidden-env", "IMMURE_CANARY")
tell("env-known", 1)
tell("rlimit", "nofile", 16)
tell("rlimit", "fsize", 1)
tell("rlimit", "as", 4096)
tell("processes", 8)
tell("disk", 1, work)


def needle(text, base=4711):
    """What base/needle.h makes of a value."""
    prime, h = (1 << 61) - 1, 0
    for byte in text:
        h = (h * (base % (prime - 257) + 256) + byte + 1) % prime
    return len(text), base, h


# A secret that lies about.
with open(f"{work}/ws/value", "w", encoding="ascii") as f:
    f.write("of an open place\n")
tell("secret", *needle(b"of an open place"), "api")
tell("secret-env", "IMMURE_STANDS_FOR_IT")
os.environ["IMMURE_STANDS_FOR_IT"] = "immure-placeholder-" + "0" * 32

leak = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
os.set_inheritable(leak, True)
os.environ["IMMURE_CANARY"] = "x"
os.environ["SSH_AUTH_SOCK"] = "/nowhere"
os.chdir(f"{work}/ws")
done = subprocess.run([attacker, "1"], input=("\n".join(lines) + "\n").encode(),
                      pass_fds=[leak], check=False)
sys.exit(done.returncode)
