# SPDX-License-Identifier: Apache-2.0
"""A session made, used and ended: what the tests about sessions share."""

import base64
import contextlib
import json
import os
import socket
import time

import harness


class Session:
    def __init__(self, site, *flags, **kw):
        self.site = site
        made = site.call(site.immure, "create", "--json", *flags, **kw)
        assert made.code == 0, made
        self.id = json.loads(made.out)["session"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.cli("stop", "--force", "--rm")
        assert harness.until(lambda: not self.directory.exists(), 5), "its record is still there"

    def cli(self, command, *args, **kw):
        """immure COMMAND [OPTIONS] SESSION [ARGS]: options are what comes before "--"."""
        at = args.index("--") if "--" in args else len(args)
        flags, rest = args[:at], args[at:]
        return self.site.call(self.site.immure, command, *flags, self.id, *rest, **kw)

    def exec(self, *argv, flags=(), **kw):
        return self.cli("exec", *flags, "--", *argv, **kw)

    def sh(self, script, flags=(), **kw):
        return self.exec("/bin/sh", "-c", script, flags=flags, **kw)

    def json(self, command, *flags):
        done = self.cli(command, "--json", *flags)
        assert done.code == 0, done
        return json.loads(done.out)

    @property
    def directory(self):
        return runtime(self.site) / "sessions" / self.id

    def connect(self, hello=True):
        return Client(self, hello)


def runtime(site):
    import pathlib
    return pathlib.Path("/run/immure") if site.uid == 0 else site.run_dir / "immure"


def mark(site):
    """A flag that makes a policy of this site's unlike any other: other runs on the machine
    have sessions as well."""
    return ["--env", f"OF_SITE={site.path}"]


def of_policy(site, *flags):
    """Sessions on record of the policy that these flags make."""
    plan = site.call(site.immure, "plan", "--json", *flags, "--", "/bin/true")
    version = json.loads(plan.out)["policy_version"]
    rows = json.loads(site.call(site.immure, "ps", "--all", "--json").out)
    return [row["session"] for row in rows if row["policy_version"] == version]


class Client:
    """The protocol, spoken without the library."""

    def __init__(self, session, hello=True):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(20)
        directory = os.open(session.directory, os.O_PATH | os.O_DIRECTORY)
        try:
            for _ in range(100):  # a full queue of newcomers is emptied in a moment
                with contextlib.suppress(BlockingIOError):
                    self.socket.connect(f"/proc/self/fd/{directory}/control")
                    break
                time.sleep(0.02)
        finally:
            os.close(directory)
        self.number = 0
        self.events = []
        if hello:
            assert self.ask("hello", protocol=1)["ok"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data, fds=()):
        if isinstance(data, dict):
            data = json.dumps(data).encode()
        if fds:
            socket.send_fds(self.socket, [data], list(fds))
        else:
            self.socket.send(data)

    def receive(self):
        data = self.socket.recv(1 << 17)
        return json.loads(data) if data else None

    def ask(self, op, fds=(), **arguments):
        self.number += 1
        self.send({"id": self.number, "op": op, **arguments}, fds)
        while True:
            message = self.receive()
            assert message is not None, f"{op}: the connection ended"
            if "event" in message:
                self.events.append(message)
                continue
            assert message["id"] == self.number
            return message

    def event(self, kind, exec_id=None):
        while True:
            for i, e in enumerate(self.events):
                if e["event"] == kind and exec_id in (None, e.get("exec")):
                    return self.events.pop(i)
            message = self.receive()
            assert message is not None, "the connection ended"
            self.events.append(message)

    def run(self, *argv, **arguments):
        """Starts it; its exit, stdout and stderr when it has ended."""
        started = self.ask("exec", argv=list(argv), **arguments)
        assert started["ok"], started
        return self.collect(started["exec"])

    def collect(self, number):
        exited = self.event("exited", number)
        out = {"stdout": b"", "stderr": b""}
        for e in [e for e in self.events if e["event"] == "frame" and e["exec"] == number]:
            out[e["stream"]] += base64.b64decode(e["data"])
        self.events = [e for e in self.events if e.get("exec") != number]
        return exited, out["stdout"], out["stderr"]


def closed(client):
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        while client.socket.recv(1 << 17):
            pass
    return True
