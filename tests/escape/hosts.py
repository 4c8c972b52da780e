# SPDX-License-Identifier: Apache-2.0
"""What an attack needs on the host: each function prepares a site, yields what
the attack may know about it and removes it again. Keys that start with an
underscore change how the launcher is started."""

import contextlib
import ctypes
import os
import pathlib
import socket
import subprocess
import threading

import harness

libc = ctypes.CDLL(None, use_errno=True)


class Missing(Exception):
    """This machine has no such thing."""


def unix_socket(site, path, kind=socket.SOCK_STREAM):
    path.parent.mkdir(parents=True, exist_ok=True)
    sock = socket.socket(socket.AF_UNIX, kind)
    sock.bind(str(path))
    if kind == socket.SOCK_STREAM:
        sock.listen(16)
    os.chmod(path, 0o777)
    for one in (path, path.parent):
        os.chown(one, site.uid, site.gid)
    return sock


@contextlib.contextmanager
def unix_sockets(site, *paths):
    made = [unix_socket(site, p, socket.SOCK_DGRAM if p.name == "dgram" else socket.SOCK_STREAM)
            for p in paths]
    try:
        yield {}
    finally:
        for sock in made:
            sock.close()


def sockets(site):
    return unix_sockets(site, *(place / name for place in (site.deny, site.out)
                                for name in ("sock", "dgram")))


def runtime_sockets(site):
    return unix_sockets(site, *(site.run_dir / name for name in (
        "bus", "systemd/private", "pulse/native", "wayland-0", "gnupg/S.gpg-agent", "docker.sock",
        "podman/podman.sock", "keyring/ssh")))


def workspace_socket(site):
    return unix_sockets(site, site.ws / "host.sock")


@contextlib.contextmanager
def home_socket(site):
    with unix_sockets(site, site.home / "agent.sock"):
        yield {"_env": {"SSH_AUTH_SOCK": str(site.home / "agent.sock")}}


@contextlib.contextmanager
def inode(site):
    st = (site.deny / "secret").stat()
    yield {"deny_dev": st.st_dev, "deny_ino": st.st_ino}


@contextlib.contextmanager
def hardlink(site):
    os.link(site.priv / "secret.txt", site.ws / "alias")
    yield {}


@contextlib.contextmanager
def bind(site):
    """The launcher's own mount namespace has the masked directory twice."""
    script = f"mount --bind {site.deny} {site.out}/dir && exec \"$@\""
    yield {"_wrap": ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]}


@contextlib.contextmanager
def submount(site):
    """A writable mount inside what is visible and read-only."""
    script = f"mount -t tmpfs -o mode=777 x {site.out}/dir && exec \"$@\""
    yield {"_wrap": ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]}


@contextlib.contextmanager
def vscode_link(site):
    (site.ws / "vs").mkdir()
    (site.ws / "vs/tasks.json").write_text("{}")
    os.symlink("vs", site.ws / ".vscode")
    site.own(site.ws)
    yield {}


@contextlib.contextmanager
def protected_outside(site):
    for name in (".envrc", ".git/config", ".vscode/tasks.json", ".claude/settings.json"):
        path = site.out / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("host's\n")
    site.own(site.out)
    yield {}


@contextlib.contextmanager
def worktree(site):
    """The workspace is a linked worktree: .git is a file that says where the rest is."""
    gitdir = site.path / "main/.git/worktrees/ws"
    gitdir.mkdir(parents=True)
    (site.ws / ".git").write_text(f"gitdir: {gitdir}\n")
    site.own(site.path / "main")
    site.own(site.ws)
    yield {}


@contextlib.contextmanager
def deny_link(site):
    os.symlink("../deny", site.out / "to-deny")
    yield {}


@contextlib.contextmanager
def planted(site):
    os.symlink(site.deny / "secret", site.ws / "planted")
    os.symlink(site.out / "ro.txt", site.ws / "planted-out")
    yield {}


@contextlib.contextmanager
def git(site):
    subprocess.run(["git", "init", "-q", str(site.ws)], check=True, env=site.environment())
    hook = site.ws / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\n")
    site.own(site.ws)
    yield {}


@contextlib.contextmanager
def git_symlink(site):
    (site.ws / ".git/config").rename(site.ws / "real-config")
    os.symlink("../real-config", site.ws / ".git/config")
    yield {}


@contextlib.contextmanager
def victim(site):
    word = f"86420.{int.from_bytes(os.urandom(4), 'big')}"
    process = subprocess.Popen(["/bin/sleep", word], env=site.environment(),
                               start_new_session=True, **site.identity())
    try:
        yield {"victim": process.pid, "victim_word": word}
        assert process.poll() is None, "the process outside was killed"
    finally:
        process.kill()
        process.wait()


def lan_address():
    """Of a real interface, without sending anything."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.2"
        return sock.getsockname()[0]


@contextlib.contextmanager
def listeners(site):
    tcp = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    port = tcp.getsockname()[1]
    tcp.setsockopt(socket.IPPROTO_TCP, 23, 16)  # TCP_FASTOPEN
    udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    udp.bind(("::", 0))
    name = f"immure-test-{os.urandom(6).hex()}"
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind("\0" + name)
    abstract.listen(4)
    dgram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    dgram.bind("\0" + name + "d")
    seen = []

    def echo():
        while True:
            data, peer = udp.recvfrom(64)
            if data == b"stop":
                return
            seen.append(peer)
            udp.sendto(b"answer", peer)

    thread = threading.Thread(target=echo)
    thread.start()
    try:
        yield {"tcp_port": port, "udp_port": udp.getsockname()[1], "abstract": name,
               "lan": lan_address()}
    finally:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"stop", ("::1", udp.getsockname()[1]))
        thread.join()
        for sock in (tcp, udp, abstract, dgram):
            sock.close()


IPC_CREAT, IPC_RMID = 0o1000, 0


@contextlib.contextmanager
def sysv(site):
    key = int.from_bytes(os.urandom(3), "big") | 0x40000000
    shm = libc.shmget(key, 4096, IPC_CREAT | 0o666)
    sem = libc.semget(key, 1, IPC_CREAT | 0o666)
    msg = libc.msgget(key, IPC_CREAT | 0o666)
    try:
        if min(shm, sem, msg) < 0:
            raise Missing("this kernel has no System V IPC")
        yield {"ipc_key": key}
    finally:
        libc.shmctl(shm, IPC_RMID, None)
        libc.semctl(sem, 0, IPC_RMID)
        libc.msgctl(msg, IPC_RMID, None)


@contextlib.contextmanager
def mqueue(site):
    name = f"/immure-{os.urandom(4).hex()}".encode()
    libc.mq_open.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p]
    mask = os.umask(0)
    queue = libc.mq_open(name, os.O_CREAT | os.O_RDWR, 0o666, None)
    os.umask(mask)
    if queue < 0:
        raise Missing("this kernel has no message queues")
    try:
        yield {"mqueue": name.decode()}
    finally:
        libc.mq_close(queue)
        libc.mq_unlink(name)


@contextlib.contextmanager
def shm_file(site):
    path = pathlib.Path(f"/dev/shm/immure-test-{os.urandom(4).hex()}")
    path.write_bytes(harness.SECRET)
    os.chmod(path, 0o666)
    try:
        yield {"shm_file": path}
    finally:
        path.unlink()


@contextlib.contextmanager
def key(site):
    name = f"immure-{os.urandom(4).hex()}"
    added = libc.syscall(harness.ADD_KEY, b"user", name.encode(), b"x", ctypes.c_size_t(1),
                         ctypes.c_int(-3))
    if added < 0:
        raise Missing("this kernel has no keyrings")
    try:
        yield {"key": name}
    finally:
        libc.syscall(harness.KEYCTL, 21, ctypes.c_int(added))  # invalidate


@contextlib.contextmanager
def canary(site):
    one, two = f"canary-{os.urandom(4).hex()}", os.urandom(4).hex()
    yield {"canary1": one, "canary2": two, "_env": {"IMMURE_TEST_PLANTED": one + two}}


@contextlib.contextmanager
def outside_file(site):
    (site.deny / "only-outside").write_text("x")
    yield os.open(site.deny, os.O_RDONLY | os.O_DIRECTORY)


@contextlib.contextmanager
def fds(site):
    with outside_file(site) as directory:
        high = os.dup2(directory, 1030)
        left, right = socket.socketpair()
        try:
            yield {"_pass_fds": [directory, high, left.fileno()]}
        finally:
            os.close(directory)
            os.close(high)
            left.close()
            right.close()


@contextlib.contextmanager
def outside_cwd(site):
    with outside_file(site) as directory:
        os.close(directory)
        yield {"_cwd": site.deny}


@contextlib.contextmanager
def dir_stdin(site):
    with outside_file(site) as directory:
        try:
            yield {"_stdin": directory}
        finally:
            os.close(directory)


@contextlib.contextmanager
def cgroups(site):
    """A directory in every hierarchy that the caller could move to."""
    if os.geteuid() != 0:
        raise Missing("cgroups are root's here")
    made, words = [], {}
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, where = line.split(":", 2)
        for mount in harness.cgroup_mounts(controllers):
            name = controllers.split(",")[0].removeprefix("name=") or "unified"
            path = pathlib.Path(mount + where) / "target"
            with contextlib.suppress(OSError):
                path.mkdir()
                made.append(path)
            words[f"cgroup_{name}"] = path
            words[f"cgroup_{name}_root"] = mount
    try:
        yield words
    finally:
        for path in made:
            with contextlib.suppress(OSError):
                (path / "immure-attack").rmdir()
            harness.until(lambda p=path: not (p / "cgroup.procs").read_text(), 2)
            path.rmdir()
