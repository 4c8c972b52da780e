# SPDX-License-Identifier: Apache-2.0
"""A client of the bench's network part, for TLS: "fetch N" is a connection, a handshake, a request
and its answer, N times, in nanoseconds each. See net.py."""

import socket
import ssl
import sys
import time

HOST = sys.argv[1]
REQUEST = f"GET /open/x HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()


def fetch(context):
    start = time.monotonic_ns()
    with context.wrap_socket(socket.create_connection((HOST, 443), 10), server_hostname=HOST) as s:
        s.sendall(REQUEST)
        got = b""
        while block := s.recv(65536):
            got += block
    if not got.startswith(b"HTTP/1.1 200"):
        raise OSError(got[:40])
    return time.monotonic_ns() - start


def tried(host, port):
    try:
        socket.create_connection((host, int(port)), 2).close()
    except OSError:
        return "closed"
    return "open"


def main():
    context = ssl.create_default_context()
    print("ready", flush=True)
    for line in sys.stdin:
        order, *rest = line.split()
        try:
            print(tried(*rest) if order == "try" else
                  " ".join(str(fetch(context)) for _ in range(int(rest[0]))), flush=True)
        except OSError as e:
            print("error", e, flush=True)


main()
