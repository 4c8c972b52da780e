# SPDX-License-Identifier: Apache-2.0
"""A pool started, asked and stopped: what the tests about pools share."""

import json
import os

import harness
from sessions import Client, runtime


class Pool:
    """workspace: that of all its sessions; None: each gets its caller's."""

    def __init__(self, site, *flags, size=2, most=4, workspace=".", env=None):
        if workspace:
            flags = ("--workspace", workspace, *flags)
        self.site = site
        self.name = f"pool{os.getpid()}"
        made = site.call(site.immure, "pool", "start", "--json", "--name", self.name,
                         "--size", str(size), "--max", str(most), *flags, env=env)
        assert made.code == 0, made
        self.first = json.loads(made.out)
        self.holder = self.first["holder_pid"]
        listed = json.loads(site.call(site.immure, "ps", "--json").out)
        self.id = next(s["session"] for s in listed if s["name"] == self.name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.directory.exists():
            self.cli("stop", "--force")
        assert harness.until(lambda: not self.directory.exists() and not self.entries(), 10), "something is left"

    @property
    def directory(self):
        return runtime(self.site) / "sessions" / self.id

    def entries(self):
        listed = json.loads(self.site.call(self.site.immure, "ps", "--all", "--json").out)
        return [s["session"] for s in listed if s["labels"].get("pool") == self.name]

    def cli(self, what, *flags):
        return self.site.call(self.site.immure, "pool", what, *flags, self.name)

    def stats(self):
        done = self.cli("stats", "--json")
        assert done.code == 0, done
        return json.loads(done.out)

    def settles(self, **want):
        assert harness.until(lambda: want.items() <= self.stats().items(), 10), (want, self.stats())

    def run(self, *argv, flags=(), **kw):
        return self.site.call(self.site.immure, "run", "--pool", self.name, *flags, "--", *argv, **kw)

    def sh(self, script, **kw):
        return self.run("/bin/sh", "-c", script, **kw)

    def connect(self):
        return Client(self)


def acquire(client, **arguments):
    """The answer and the connection to the session that came with it."""
    import socket
    client.number += 1
    client.send({"id": client.number, "op": "acquire", **arguments})
    data, fds, _, _ = socket.recv_fds(client.socket, 1 << 16, 4)
    answer = json.loads(data)
    for fd in fds[1:]:
        os.close(fd)
    if not fds:
        return answer, None
    taken = Client.__new__(Client)
    taken.socket, taken.number, taken.events = socket.socket(fileno=fds[0]), 1000, []
    taken.socket.settimeout(20)
    return answer, taken
