# SPDX-License-Identifier: Apache-2.0
"""A scope from the user's service manager, for limits where none may be set. The manager
is one of these tests: it reads what it is told by a reader of its own, and answers as a
test wants. The real one is met in a guest (tests/guest/test_scope.py)."""
import contextlib
import os
import pathlib
import socket
import struct
import threading
import time

import pytest

import harness

pytestmark = pytest.mark.modes("user")

LIMITED = ["--memory", "64M"]


def align(at, to):
    return (at + to - 1) // to * to


class Reader:
    """Values of D-Bus, from bytes; only what the types at hand need."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def fixed(self, code, size):
        start = align(self.at, size)
        assert not any(self.data[self.at:start]), "padding is not zero"
        self.at = start + size
        return struct.unpack_from(code, self.data, start)[0]

    def string(self):
        size = self.fixed("<I", 4)
        text = self.data[self.at:self.at + size]
        assert self.data[self.at + size] == 0 and b"\0" not in text
        self.at += size + 1
        return text.decode()

    def signature(self):
        size = self.data[self.at]
        text = self.data[self.at + 1:self.at + 1 + size]
        assert self.data[self.at + 1 + size] == 0
        self.at += size + 2
        return text.decode()

    def value(self, kind):
        if kind[0] == "a":
            size = self.fixed("<I", 4)
            start = align(self.at, 8 if kind[1] in "({" else 4)
            assert not any(self.data[self.at:start])
            self.at, found = start, []
            while self.at < start + size:
                found.append(self.value(kind[1:]))
            assert self.at == start + size
            return found
        if kind[0] == "(":
            self.at = align(self.at, 8)
            return tuple(self.value(k) for k in {"(sv)": ["s", "v"], "(yv)": ["y", "v"]}[kind])
        if kind == "v":
            return self.value(self.signature())
        if kind == "y":
            return self.fixed("<B", 1)
        if kind == "b":
            v = self.fixed("<I", 4)
            assert v in (0, 1)
            return bool(v)
        return {"s": self.string, "o": self.string, "g": self.signature, "u": lambda: self.fixed("<I", 4)}[kind]()


def read_call(data):
    """(serial, fields, name, mode, properties) of a call, every byte of it used."""
    r = Reader(data)
    assert [r.value("y") for _ in range(4)] == [ord("l"), 1, 0, 1]
    size, serial = r.value("u"), r.value("u")
    fields = dict(r.value("a(yv)"))
    r.at = align(r.at, 8)
    assert len(data) == r.at + size and fields[8] == "ssa(sv)a(sa(sv))"
    name, mode, properties = r.value("s"), r.value("s"), r.value("a(sv)")
    assert r.fixed("<I", 4) == 0 and align(r.at, 8) == len(data)
    return serial, fields, name, mode, dict(properties)


def text(s):
    return struct.pack("<I", len(s)) + s.encode() + b"\0"


def answer(serial, kind=2, fields=None, body=text("/job")):
    """A return or an error for that serial; another message when it has other fields."""
    fields = fields or struct.pack("<B3sI", 5, b"\x01u\0", serial)
    head = struct.pack("<BBBBIII", ord("l"), kind, 0, 1, len(body), 7, len(fields))
    return head + fields.ljust(align(len(fields), 8), b"\0") + body


def job_over(unit):
    body = struct.pack("<I", 16) + text("/job").ljust(12, b"\0") + text(unit)
    body = body.ljust(align(len(body), 4), b"\0") + text("failed")
    return answer(0, 4, struct.pack("<B3s", 3, b"\x01s\0") + text("JobRemoved"), body)


class Manager:
    """Listens as the user's service manager does; do(self, connection, call) answers a call."""

    def __init__(self, site, do, uid=None, hello=b"OK 00112233445566778899aabbccddeeff\r\n"):
        place = site.run_dir / "systemd"
        place.mkdir()
        self.path, self.do, self.hello = place / "private", do, hello
        self.site, self.calls, self.lines, self.trouble = site, [], [], []
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(str(self.path))
        os.chmod(self.path, 0o666)
        # The kernel keeps whose it is when it begins to listen.
        with self.as_user(site.uid if uid is None else uid):
            self.sock.listen()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    @staticmethod
    @contextlib.contextmanager
    def as_user(uid):
        os.seteuid(uid)
        try:
            yield
        finally:
            os.seteuid(0)

    def serve(self):
        while True:
            try:
                c, _ = self.sock.accept()
            except OSError:
                return
            with c:
                try:
                    self.talk(c)
                except (OSError, AssertionError) as why:
                    self.trouble.append(why)

    def talk(self, c):
        data = b""
        while b"\r\n" not in data:
            got = c.recv(1)
            if not got:
                return
            data += got
        self.lines.append(data)
        c.sendall(self.hello)
        assert c.recv(7, socket.MSG_WAITALL) == b"BEGIN\r\n"
        head = c.recv(16, socket.MSG_WAITALL)
        body, _, fields = struct.unpack_from("<III", head, 4)
        self.calls.append(read_call(head + c.recv(align(fields, 8) + body, socket.MSG_WAITALL)))
        self.do(self, c, self.calls[-1])

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        self.thread.join(10)
        harness.remove_tree(self.path.parent)


@contextlib.contextmanager
def manager(site, do, **kw):
    m = Manager(site, do, **kw)
    try:
        yield m
    finally:
        m.close()


def refuse(m, c, call):
    c.sendall(answer(call[0], 3))


def tree():
    """This process's place in cgroup v2, whatever it controls."""
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        if line.startswith("0::/"):
            for mount in harness.cgroup_mounts(""):
                return pathlib.Path(mount + line[3:])
    return None


@pytest.fixture(autouse=True)
def without_a_place():
    """Where this user may set limits already, nobody is asked."""
    if tree() is None:
        pytest.skip("cgroup v2 is not mounted here")


def move(m, c, call):
    """What systemd does: a cgroup of the user's, and the process in it."""
    place = tree() / call[2]
    place.mkdir()
    for one in (place, place / "cgroup.procs", place / "cgroup.subtree_control"):
        os.chown(one, m.site.uid, m.site.gid)
    m.places = getattr(m, "places", []) + [place]
    c.sendall(job_over("another.scope") + answer(call[0]) + job_over("another.scope"))
    time.sleep(0.02)  # the answer is not the deed
    (place / "cgroup.procs").write_text(str(call[4]["PIDs"][0]))


def drop(places):
    for place in places:
        for one in (place / "supervisor", place):
            assert harness.until(lambda one=one: not one.exists() or not (one / "cgroup.procs").read_text(), 5)
            with contextlib.suppress(FileNotFoundError):
                one.rmdir()


def test_what_is_asked(site):
    """The call, by another reader; the process is moved, and a place below is made for it."""
    with manager(site, move) as m:
        try:
            done = site.run("/bin/cat", "/proc/self/cgroup", flags=LIMITED)
            assert done.code == 0 and m.calls and not m.trouble, (done, m.trouble)
            _, fields, name, mode, properties = m.calls[0]
            assert (m.places[0] / "supervisor").exists()
        finally:
            drop(m.places)
    assert m.lines == [b"\0AUTH EXTERNAL " + str(site.uid).encode().hex().encode() + b"\r\n"]
    assert fields[1] == "/org/freedesktop/systemd1" and fields[2] == "org.freedesktop.systemd1.Manager"
    assert fields[3] == "StartTransientUnit" and fields[6] == "org.freedesktop.systemd1" and mode == "fail"
    assert name.startswith("immure-") and name.endswith(".scope") and len(m.calls) == 1
    assert properties["Delegate"] is True and properties["CollectMode"] == "inactive-or-failed"
    assert properties["PIDs"] == [int(name.split("-")[1])]


@pytest.mark.parametrize("flags", [[], ["--timeout", "9s"], ["--output", "1M"]], ids=lambda f: "".join(f[:1]) or "none")
def test_nobody_is_asked_for_nothing(site, flags):
    with manager(site, refuse) as m:
        assert site.run("/bin/true", flags=flags).code == 0 and m.lines == []


@pytest.mark.parametrize("argv", [["create", "--name", "scoped", *LIMITED], ["plan", *LIMITED, "--", "true"],
                                  ["prove", *LIMITED], ["doctor"], ["pool", "start", "--name", "scoped", "--size", "1",
                                                                    *LIMITED]], ids=lambda a: a[0])
def test_everything_that_plans_asks(site, argv):
    with manager(site, refuse) as m:
        try:
            site.call(site.immure, *argv)
            assert len(m.calls) == 1
        finally:
            if argv[0] == "pool":
                assert site.call(site.immure, "pool", "stop", "scoped").code == 0
            elif argv[0] == "create":
                assert site.call(site.immure, "rm", "--force", "scoped").code == 0


@pytest.mark.modes("root")
def test_root_needs_none(site):
    with manager(site, refuse) as m:
        assert site.run("/bin/true", flags=LIMITED).code == 0 and m.lines == []


def lies(name):
    head = struct.pack("<BBBBIII", ord("l"), 2, 0, 1, 0, 7, 8)
    return {
        "refuses": refuse,
        "silent": lambda m, c, call: time.sleep(1.5),
        "closes": lambda m, c, call: None,
        "garbage": lambda m, c, call: c.sendall(os.urandom(4096)),
        "huge": lambda m, c, call: c.sendall(struct.pack("<BBBBIII", ord("l"), 2, 0, 1, 1 << 31, 7, 8)),
        "cut": lambda m, c, call: c.sendall(answer(call[0])[:20]),
        "fields": lambda m, c, call: c.sendall(head + b"\x05\x01s\0\xff\xff\xff\x7f"),
        "another": lambda m, c, call: c.sendall(answer(call[0] + 1)),
        "failed": lambda m, c, call: (c.sendall(answer(call[0]) + job_over(call[2])), time.sleep(3)),
        "undone": lambda m, c, call: (c.sendall(answer(call[0])), time.sleep(1.5)),
    }[name]


@pytest.mark.parametrize("lie", ["refuses", "silent", "closes", "garbage", "huge", "cut", "fields", "another", "failed", "undone"])
def test_a_manager_that_gives_none(site, lie):
    """Then limits are what they are without one, and soon."""
    before = time.monotonic()
    with manager(site, lies(lie)) as m:
        done = site.run("/bin/echo", "ran", flags=LIMITED)
        took = time.monotonic() - before
        assert done.code == 0 and done.out == b"ran\n" and m.calls, done
    assert took < (0.9 if lie == "failed" else 4) * harness.SLOWER


@pytest.mark.parametrize("hello", [b"REJECTED EXTERNAL\r\n", b"OK" * 400, b"\r\n", b"ERROR\r\n"], ids=["no", "long", "empty", "error"])
def test_a_manager_that_lets_nobody_in(site, hello):
    with manager(site, refuse, hello=hello) as m:
        done = site.run("/bin/true", flags=LIMITED)
        assert done.code == 0 and m.lines and not m.calls, done


def test_anothers_is_not_asked(site):
    """Whoever listens there could otherwise put this user's processes where it likes."""
    with manager(site, refuse, uid=0) as m:
        assert site.run("/bin/true", flags=LIMITED).code == 0 and m.lines == []
