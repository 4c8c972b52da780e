# SPDX-License-Identifier: Apache-2.0
"""The lab itself: see netlab.py, which starts it. Two network namespaces, "host"
and "world", with a wire between them. Here are the servers of both, and the spy
that sees what travels on the wire and over the host's loopback.

Nothing is changed outside: run in namespaces of its own, it ends when its
control sockets do, and everything with it."""

import asyncio
import base64
import ctypes
import hashlib
import http.server
import ipaddress
import json
import os
import pathlib
import resource
import select
import socket
import ssl
import struct
import subprocess
import sys
import threading

import netlab_zone as zone

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x20000, 0x10000000, 0x40000000
MS_REC, MS_PRIVATE, MS_BIND = 0x4000, 0x40000, 0x1000
PR_SET_PDEATHSIG, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 1, 47, 2


def must(result, what):
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


# ---- namespaces and the wire ---------------------------------------------------


def user_namespace():
    """For an ordinary user: one in which it has what the lab needs, after exec too."""
    uid, gid = os.geteuid(), os.getegid()
    must(libc.unshare(CLONE_NEWUSER), "unshare(NEWUSER)")
    pathlib.Path("/proc/self/setgroups").write_text("deny")
    pathlib.Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    pathlib.Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    keep_capabilities()


def keep_capabilities():
    """Those that servers and ip(8) need, over execve too."""
    header = struct.pack("=II", 0x20080522, 0)
    everything = struct.pack("=6I", *[0xffffffff] * 3, *[0x1ff] * 3)
    must(libc.capset(header, everything), "capset")
    for capability in (10, 12, 13, 21):  # NET_BIND_SERVICE NET_ADMIN NET_RAW SYS_ADMIN
        must(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0), "ambient")


def ip(*batches):
    for family, lines in batches:
        subprocess.run(["ip", family, "-batch", "-"], input="\n".join(lines).encode(), check=True)


def die_with_parent(parent):
    libc.prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def write_sysctl(name, value):
    pathlib.Path("/proc/sys/net").joinpath(name).write_text(str(value))


def wire_host():
    ip(("-4", ["link set lo up", "link set h0 up",
               f"addr add {zone.HOST_LAN4}/24 dev h0",
               f"addr add {zone.HOST_PUBLIC4}/32 dev h0",
               f"route add default via {zone.WORLD_LAN4}"]),
       ("-6", [f"addr add {zone.HOST_LAN6}/64 dev h0 nodad",
               f"addr add {zone.HOST_PUBLIC6}/128 dev h0 nodad",
               f"route add default via {zone.WORLD_LAN6}"]))


def wire_world():
    # On loopback a whole prefix is local; v6 needs a route of that kind.
    ip(("-4", ["link set lo up", "link set w0 up",
               f"addr add {zone.WORLD_LAN4}/24 dev w0",
               f"addr add {zone.NET4} dev lo",
               f"route add {zone.HOST_PUBLIC4} via {zone.HOST_LAN4}",
               f"route add blackhole {zone.SILENT4}/32 table local",
               *[f"addr add {a}/32 dev lo" for a in zone.STRANGERS4]]),
       ("-6", [f"addr add {zone.WORLD_LAN6}/64 dev w0 nodad",
               f"route add local {zone.NET6} dev lo table local",
               f"route add {zone.HOST_PUBLIC6} via {zone.HOST_LAN6}",
               f"route add blackhole {zone.SILENT6}/128 table local",
               *[f"route add local {a}/128 dev lo table local" for a in zone.STRANGERS6]]))


def bind_files(lab):
    """What the host says about names, and whom it trusts: the lab's, for those inside."""
    must(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "private /")
    for name, target in (("resolv.conf", "/etc/resolv.conf"), ("hosts", "/etc/hosts"),
                         ("nsswitch.conf", "/etc/nsswitch.conf"),
                         ("bundle.pem", "/etc/ssl/certs/ca-certificates.crt")):
        if os.path.exists(target):
            must(libc.mount(str(lab / name).encode(), os.path.realpath(target).encode(), None,
                            MS_BIND, None), f"bind {target}")


# ---- the spy -------------------------------------------------------------------


# Everything but ARP, and of TCP only what opens a connection: SYN without ACK.
SPY_FILTER = [
    (0x28, 0, 0, 12), (0x15, 0, 5, 0x0800),                # IPv4?
    (0x30, 0, 0, 23), (0x15, 0, 11, 6),                    # not TCP: take it
    (0xb1, 0, 0, 14), (0x50, 0, 0, 27), (0x05, 0, 0, 5),   # its flags
    (0x15, 1, 0, 0x86dd), (0x15, 7, 6, 0x0806),            # neither IPv6 nor ARP: take it
    (0x30, 0, 0, 20), (0x15, 0, 4, 6), (0x30, 0, 0, 67),
    (0x54, 0, 0, 0x12), (0x15, 1, 0, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 96), (0x06, 0, 0, 0)]


class Spy:
    """What arrives at an interface. ARP and neighbour discovery are not counted."""

    def __init__(self, interface):
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        code = b"".join(struct.pack("=HBBI", *one) for one in SPY_FILTER)
        held = ctypes.create_string_buffer(code)
        program = struct.pack("HP", len(SPY_FILTER), ctypes.addressof(held))
        self.sock.setsockopt(socket.SOL_SOCKET, 26, program)  # SO_ATTACH_FILTER
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.sock.bind((interface, 3))
        self.packets = []

    def drain(self):
        while select.select([self.sock], [], [], 0)[0]:
            data, where = self.sock.recvfrom(256)
            if where[2] == 4:  # PACKET_OUTGOING
                continue
            self.note(data)
        return self.packets

    def note(self, data):
        kind, rest = data[12:14], data[14:]
        if kind == b"\x08\x00":
            protocol, target = rest[9], ipaddress.ip_address(rest[16:20])
            rest = rest[(rest[0] & 15) * 4:]
        elif kind == b"\x86\xdd":
            protocol, target = rest[6], ipaddress.ip_address(rest[24:40])
            rest = rest[40:]
            if protocol in (0, 58) and (target.is_multicast or rest[:1] in (b"\x87", b"\x88")):
                return
        else:
            self.packets.append(["ethertype", kind.hex(), 0])
            return
        name = {6: "tcp", 17: "udp", 1: "icmp", 58: "icmp6", 136: "udplite"}.get(protocol,
                                                                                  str(protocol))
        port = struct.unpack("!H", rest[2:4])[0] if name in ("tcp", "udp", "udplite") else 0
        self.packets.append([name, str(target), port])


# ---- servers -------------------------------------------------------------------


def thread(function, *argv):
    threading.Thread(target=function, args=argv, daemon=True).start()


def listen(port, address="::"):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if address == "::":
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind((address, port))
    sock.listen(4096)
    return sock


class Log:
    def __init__(self):
        self.entries, self.lock = [], threading.Lock()

    def add(self, *entry):
        with self.lock:
            self.entries.append(list(entry))


def echo(conn):
    """Until the other side is done, then half-closed from here: the last byte counts."""
    with conn:
        while data := conn.recv(1 << 16):
            conn.sendall(data)
        conn.shutdown(socket.SHUT_WR)


def greet(conn):
    with conn:
        conn.sendall(b"220 server speaks first\r\n")
        while conn.recv(4096):
            pass


def bulk(conn):
    """'g' N newline: N bytes come. 'p' N newline: N bytes are taken, then one comes."""
    with conn, conn.makefile("rb") as stream:
        order = stream.readline().split()
        left = int(order[1])
        block = b"\0" * (1 << 18)
        if order[0] == b"g":
            while left:
                left -= conn.send(block[:min(left, len(block))])
        else:
            while left:
                left -= len(stream.read1(min(left, 1 << 18)) or b"x" * left)
            conn.sendall(b".")


def reset(conn):
    """Ends with a reset, not an orderly close."""
    conn.recv(1)
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    conn.close()


def crowd(sock):
    """Echo without a thread for each, since there are thousands."""
    async def one(reader, writer):
        try:
            while data := await reader.read(4096):
                writer.write(data)
            writer.close()
        except OSError:
            writer.transport.abort()

    async def all_of_them():
        server = await asyncio.start_server(one, sock=sock, backlog=4096)
        await server.serve_forever()

    asyncio.run(all_of_them())


def accept_loop(sock, log, name, handler):
    while True:
        conn, peer = sock.accept()
        here = conn.getsockname()[0].removeprefix("::ffff:")
        if log:
            log.add(name, here, peer[0].removeprefix("::ffff:"))
        thread(quietly, handler, conn)


def quietly(handler, conn):
    try:
        handler(conn)
    except OSError:
        conn.close()


class Web(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    lab = None
    log = None

    def log_message(self, *_):
        pass

    def reply(self, code, body, kind="text/plain", **headers):
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        self.log.add("request", self.headers.get("Host", ""), f"{self.command} {self.path}")
        length = int(self.headers.get("Content-Length") or 0)
        body = self.body_chunked() if self.headers.get("Transfer-Encoding") else (
            self.rfile.read(length))
        path, _, query = self.path.partition("?")
        if path.startswith("/git/"):
            self.git(path, query, body)
        elif path.startswith("/big/"):
            self.reply(200, b"\0" * int(path[5:]))
        elif path.startswith("/drip/"):
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for _ in range(int(path[6:])):
                self.wfile.write(b"400\r\n" + b"d" * 1024 + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")
        elif path.startswith("/socket") and self.headers.get("Upgrade") == "websocket":
            self.socket(path == "/socket")
        elif path.startswith("/files/"):
            found = self.lab / "files" / path[7:]
            ok = found.is_file() and ".." not in path
            self.reply(200 if ok else 404, found.read_bytes() if ok else b"none\n")
        elif path == "/redirect":
            self.reply(302, b"", Location=query)
        elif path == "/headers":
            said = self.headers.get("Authorization", "")
            for name in ("Authorization", "X-Api-Key"):
                for text in self.headers.get_all(name, []):
                    self.log.add("field", self.headers.get("Host", ""), f"{name}: {text}")
            self.reply(200, str(self.headers).encode(), X_Said=said)
        elif path == "/post":
            self.reply(200, body)
        else:
            self.reply(200, f"web {self.headers.get('Host')} {path}\n".encode())

    do_POST = do_HEAD = do_PUT = do_GET

    def socket(self, taken):
        """After the upgrade whatever comes goes back."""
        if not taken:
            self.reply(426, b"not here\n")
            return
        self.send_response_only(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        key = self.headers.get("Sec-WebSocket-Key", "") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.close_connection = True
        while data := self.rfile.read1(65536):
            self.log.add("socket", self.headers.get("Host", ""), data.decode("latin-1"))
            self.wfile.write(data)

    def body_chunked(self):
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def git(self, path, query, body):
        env = {"PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(self.lab / "git"),
               "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path[4:], "QUERY_STRING": query,
               "REQUEST_METHOD": self.command, "REMOTE_ADDR": self.client_address[0],
               "CONTENT_TYPE": self.headers.get("Content-Type", ""),
               "CONTENT_LENGTH": str(len(body)), "HOME": str(self.lab),
               "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
               "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
               "REMOTE_USER": "lab", "GIT_CONFIG_COUNT": "2",
               "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
               "GIT_CONFIG_KEY_1": "http.receivepack", "GIT_CONFIG_VALUE_1": "true"}
        done = subprocess.run(["git", "http-backend"], input=body, env=env,
                              stdout=subprocess.PIPE, check=False)
        head, _, rest = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
        code = int(headers.pop("Status", "200").split()[0])
        self.reply(code, rest, headers.pop("Content-Type", "text/plain"))


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port, log, name, context=None):
        self.log, self.name, self.context = log, name, context
        super().__init__(("", port), Web, bind_and_activate=False)
        self.socket = listen(port)
        self.server_name, self.server_port = "lab", port
        thread(self.serve_forever)

    def get_request(self):
        conn, peer = self.socket.accept()
        self.log.add(self.name, conn.getsockname()[0].removeprefix("::ffff:"),
                     peer[0].removeprefix("::ffff:"))
        return conn, peer

    def finish_request(self, request, client_address):
        # In the connection's own thread, so that a slow hello holds up nobody.
        if self.context:
            request = self.context.wrap_socket(request, server_side=True)
            self.log.add("sni", getattr(request, "lab_sni", ""), "")
        super().finish_request(request, client_address)
        if self.context:
            request.close()

    def handle_error(self, request, client_address):
        pass


class Names:
    """The name server. Every question is remembered, whoever asked."""

    TYPES = {1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA",
             33: "SRV", 64: "SVCB", 65: "HTTPS", 255: "ANY"}

    def __init__(self, log):
        self.log, self.zone, self.asked = log, dict(zone.ZONE), {}
        for family in (socket.AF_INET, socket.AF_INET6):
            sock = socket.socket(family, socket.SOCK_DGRAM)
            if family == socket.AF_INET:
                sock.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO
                sock.bind(("0.0.0.0", 53))
            else:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
                sock.setsockopt(socket.IPPROTO_IPV6, 78, 1)  # IPV6_FREEBIND
                sock.bind(("::", 53))
            thread(self.datagrams, sock)
        thread(accept_loop, listen(53), None, "dns", self.stream)

    def datagrams(self, sock):
        while True:
            data, extra, _, peer = sock.recvmsg(4096, 256)
            answer = self.answer(data, "udp")
            if not answer:
                continue
            back = []  # from the address that was asked
            for level, kind, value in extra:
                if level == socket.IPPROTO_IP:
                    back.append((level, kind, struct.pack("=I4s4s", 0, value[8:12], b"\0" * 4)))
                else:
                    back.append((level, kind, value[:16] + b"\0\0\0\0"))
            try:
                sock.sendmsg([answer], back, 0, peer)
            except OSError as e:
                print(f"netlab: no answer to {peer}: {e}", file=sys.stderr)

    def stream(self, conn):
        with conn, conn.makefile("rb") as stream:
            while head := stream.read(2):
                answer = self.answer(stream.read(struct.unpack("!H", head)[0]), "tcp")
                if answer:
                    conn.sendall(struct.pack("!H", len(answer)) + answer)

    def answer(self, data, how):
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1:at + 1 + data[at]])
            at += 1 + data[at]
        kind, = struct.unpack("!H", data[at + 1:at + 3])
        question = data[12:at + 5]
        name = b".".join(labels).decode("latin-1").lower()
        self.log.add("dns", name, self.TYPES.get(kind, str(kind)), how)
        if name == zone.NEVER:
            return None
        code, records = self.records(name, self.TYPES.get(kind))
        out = b"".join(records)
        return data[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(records), 0, 0) + (
            question + out)

    def records(self, name, kind):
        if name == zone.BROKEN:
            return 2, []
        if name == zone.EMPTY:
            return 0, []
        if name == zone.REBIND:
            self.asked[name] = self.asked.get(name, 0) + (kind == "A")
            n = self.asked[name]
            entry = {"A": ["45.90.1.103" if n % 2 else "127.0.0.1"], "AAAA": []}
        else:
            entry = self.zone.get(name)
        if entry is None and name.endswith(".wild.example.org"):
            entry = zone.both(200)
        if entry is None:
            return 3, []
        out, owner = [], name
        for _ in range(8):
            if "CNAME" not in entry:
                break
            target = entry["CNAME"]
            out.append(self.record(owner, 5, self.encode(target), entry.get("TTL", 60)))
            owner, entry = target, self.zone.get(target, {})
        for address in entry.get(kind, []) if kind in ("A", "AAAA") else []:
            packed = ipaddress.ip_address(address).packed
            out.append(self.record(owner, 1 if kind == "A" else 28, packed, entry.get("TTL", 60)))
        return 0, out

    @staticmethod
    def encode(name):
        return b"".join(bytes([len(p)]) + p.encode() for p in name.split(".")) + b"\0"

    def record(self, name, kind, data, ttl):
        return self.encode(name) + struct.pack("!HHIH", kind, 1, ttl, len(data)) + data


def datagram_echo(port, log):
    for family, any_address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        sock = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((any_address, port))

        def serve(sock=sock):
            while True:
                data, peer = sock.recvfrom(2048)
                log.add("datagram", str(port), peer[0])
                sock.sendto(data, peer)

        thread(serve)


def tls(lab):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(lab / "leaf.pem", lab / "leaf.key")
    context.set_alpn_protocols(["http/1.1"])

    def remember(sock, name, _):
        sock.lab_sni = name or ""

    context.sni_callback = remember
    return context


class World:
    def __init__(self, lab):
        self.log, self.spy = Log(), Spy("w0")
        Web.lab, Web.log = lab, self.log
        self.names = Names(self.log)
        Server(zone.HTTP, self.log, "http")
        Server(zone.PLAIN_ON_443, self.log, "plain")
        Server(zone.HTTPS, self.log, "https", tls(lab))
        for port, name, handler in ((zone.ECHO, "echo", echo), (zone.GREET, "greet", greet),
                                    (zone.BULK, "bulk", bulk), (zone.RESET, "reset", reset)):
            thread(accept_loop, listen(port), self.log, name, handler)
        thread(crowd, listen(zone.CROWD))
        for port in zone.UDP_ECHO:
            datagram_echo(port, self.log)


class Host:
    def __init__(self, lab):
        self.log, self.spy = Log(), Spy("lo")
        for address in ("127.0.0.1", "::1"):
            thread(accept_loop, listen(zone.HOST_LOOPBACK, address), self.log, "loopback", echo)
        thread(accept_loop, listen(zone.HOST_ANY), self.log, "any", echo)
        abstract = socket.socket(socket.AF_UNIX)
        abstract.bind("\0" + zone.HOST_ABSTRACT)
        abstract.listen(16)
        self.abstract = abstract
        datagram_echo(zone.HOST_ANY, self.log)


def serve(control, place):
    """One line of JSON asks, one answers. The end of the socket is the end of all."""
    with control.makefile("rw") as stream:
        stream.write(json.dumps({"pid": os.getpid()}) + "\n")
        stream.flush()
        while select.select([control, place.spy.sock], [], [])[0] is not None:
            place.spy.drain()
            if not select.select([control], [], [], 0)[0]:
                continue
            line = stream.readline()
            if not line:
                return
            order = json.loads(line)
            answer = {}
            if order["do"] == "seen":
                answer = {"packets": place.spy.drain(), "log": place.log.entries}
            elif order["do"] == "forget":
                place.spy.drain()
                place.spy.packets, place.log.entries = [], []
            elif order["do"] == "zone":
                place.names.zone[order["name"]] = order["entry"]
            stream.write(json.dumps(answer) + "\n")
            stream.flush()


def main():
    lab, host_fd, world_fd = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    starter = os.getppid()
    die_with_parent(starter)
    if os.geteuid() != 0:
        user_namespace()
        die_with_parent(starter)  # new credentials cleared it
    must(libc.unshare(CLONE_NEWNS | CLONE_NEWNET), "unshare")
    bind_files(lab)
    wired, wire = os.pipe()
    ready, tell = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        die_with_parent(parent)
        os.close(host_fd)
        os.close(wire)
        must(libc.unshare(CLONE_NEWNET), "unshare")
        os.write(tell, b"%d" % os.getpid())
        os.read(wired, 1)
        wire_world()
        serve(socket.socket(fileno=world_fd), World(lab))
        os._exit(0)  # threads and all
    os.close(world_fd)
    world = os.read(ready, 20).decode()
    ip(("-4", [f"link add h0 type veth peer name w0 netns {world}"]))
    os.write(wire, b".")
    wire_host()
    serve(socket.socket(fileno=host_fd), Host(lab))
    os.waitpid(child, 0)
    os._exit(0)


if __name__ == "__main__":
    main()
