# SPDX-License-Identifier: Apache-2.0
"""A small Internet for tests of egress: see "The lab" in tests/README.md.

    with Lab(directory) as lab:
        site = lab.site(path, mode, ...)   a Site whose programs run on the lab's host
        lab.forget(); ...; lab.seen()      what left the host meanwhile

As root its namespaces belong to the machine's first user namespace; an ordinary
user makes one of its own around them. Nothing is changed outside either way."""

import contextlib
import ctypes
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess

import harness
import netlab_inside
import netlab_zone as zone

HERE = pathlib.Path(__file__).resolve().parent
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
libc = ctypes.CDLL(None, use_errno=True)


def which(*names):
    """The program of the first of these names; None when there is none."""
    for name in names:
        found = shutil.which(name, path=PATH)
        if found:
            return found
    return None


class Seen:
    """What left, or was reached, since the last forget()."""

    def __init__(self, world, host):
        self.wire = [tuple(p) for p in world["packets"]]      # arrived from the host
        self.loopback = [tuple(p) for p in host["packets"]]   # over the host's loopback
        self.log = [tuple(e) for e in world["log"] + host["log"]]

    def asked(self):
        """Names that the world's name server was asked for."""
        return {e[1] for e in self.log if e[0] == "dns"}

    def opened(self):
        """(address, port) of TCP connections on the wire, name server apart."""
        return {(p[1], p[2]) for p in self.wire if p[0] == "tcp" and p[2] != 53}

    def reached(self, *what):
        return [e for e in self.log if e[0] in what]

    def strange(self, names=(), opened=()):
        """What is neither a question for these names nor a connection to these."""
        resolvers = {zone.DNS4, zone.DNS6}
        # The kernel tells a name server whose answer nobody waits for any more.
        left = [p for p in self.wire if not (p[1] in resolvers and (p[2] == 53 or "icmp" in p[0]))
                and (p[1], p[2]) not in opened]
        return left + sorted(self.asked() - set(names)) + self.loopback

    def only(self, *rules):
        """Nothing left but lookups of these NAME:PORT, and connections to what they are."""
        names = {rule.rsplit(":", 1)[0] for rule in rules}
        opened = {(address, int(rule.rsplit(":", 1)[1])) for rule in rules
                  for kind in ("A", "AAAA")
                  for address in zone.ZONE.get(rule.rsplit(":", 1)[0], {}).get(kind, [])}
        strange = self.strange(names, opened)
        assert not strange, f"left: {strange}\n{self}"
        return self

    def __repr__(self):
        return f"wire {self.wire}\nloopback {self.loopback}\nlog {self.log}"


class Lab:
    def __init__(self, directory):
        self.path = pathlib.Path(directory)
        self.root = os.geteuid() == 0
        self.processes, self.controls = [], {}
        self.services = set()

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes[1:]):
            process.send_signal(signal.SIGINT)  # all of these end at once on it
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for control, stream in self.controls.values():
            stream.close()
            control.close()
        for process in self.processes[:1]:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        harness.remove_tree(self.path)

    # ---- beginning ----

    def start(self):
        self.path.mkdir()
        self.path.chmod(0o755)
        for name in ("git", "files"):
            (self.path / name).mkdir()
        self.certificates()
        self.say_names(f"nameserver {zone.DNS4}")
        (self.path / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n"
                                         "45.90.1.150 hosts-file.example.net\n"
                                         "127.0.0.1 hosts-loop.example.net\n")
        (self.path / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files dns\n")
        pairs = [socket.socketpair() for _ in range(2)]
        command = ["/usr/bin/python3", HERE / "netlab_inside.py", self.path,
                   *(str(theirs.fileno()) for _, theirs in pairs)]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno() for _, theirs in pairs],
                                   stdin=subprocess.DEVNULL, env={"PATH": PATH, "HOME": "/",
                                                                  "PYTHONDONTWRITEBYTECODE": "1"})
        self.processes.append(process)
        for name, (ours, theirs) in zip(("host", "world"), pairs):
            theirs.close()
            self.controls[name] = (ours, ours.makefile("rw"))
        self.pids = {}
        for name in self.controls:
            ready = self.answer(name)
            self.pids[name] = ready["pid"]

    def answer(self, name):
        control, stream = self.controls[name]
        if not select.select([control], [], [], 20 * harness.SLOWER)[0]:
            raise RuntimeError(f"the lab's {name} does not answer")
        line = stream.readline()
        if not line:
            raise RuntimeError(f"the lab's {name} has ended")
        return json.loads(line)

    def ask(self, place, **order):
        _, stream = self.controls[place]
        stream.write(json.dumps(order) + "\n")
        stream.flush()
        return self.answer(place)

    def say_names(self, *lines):
        """The host's resolv.conf; the same file, since it is bound."""
        (self.path / "resolv.conf").write_text("\n".join(lines) + "\n")

    def certificates(self):
        """An authority of this lab's own, and one server certificate. Thrown away with it."""
        def openssl(*argv):
            subprocess.run(["openssl", *argv], cwd=self.path, check=True,
                           stdin=subprocess.DEVNULL, capture_output=True)

        new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        names = ",".join("DNS:" + n for n in zone.CERTIFIED)
        openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
                "-subj", "/CN=netlab", "-addext", "basicConstraints=critical,CA:TRUE")
        openssl("req", *new, "-keyout", "leaf.key", "-out", "leaf.csr", "-subj", "/CN=lab")
        (self.path / "leaf.ext").write_text(f"subjectAltName={names}\n")
        openssl("x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-days", "2", "-out", "leaf.pem", "-extfile", "leaf.ext")
        roots = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
        (self.path / "bundle.pem").write_bytes(
            (roots.read_bytes() if roots.exists() else b"") + (self.path / "ca.pem").read_bytes())

    # ---- where programs run ----

    def enter(self, place, uid=None, gid=None, cwd="/", over=()):
        """For preexec_fn: moves to "host" or "world", then becomes that user."""
        pid = self.pids[place]
        kinds = [] if self.root else ["user"]
        fds = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
               for kind in kinds + ["net", "mnt"]]

        def move():
            for fd in fds:
                if libc.setns(fd, 0) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            if over and (libc.unshare(0x20000) != 0 or  # CLONE_NEWNS
                         libc.mount(b"none", b"/", None, 0x44000, None) != 0):  # private
                raise OSError(ctypes.get_errno(), "unshare")
            for source, target in over:
                if libc.mount(os.fsencode(source), os.fsencode(target), None, 0x1000, None):
                    raise OSError(ctypes.get_errno(), f"bind {target}")
            os.chdir(cwd)
            if place == "world" and not self.root:
                netlab_inside.keep_capabilities()
            if uid is not None and self.root:
                os.setgroups([])
                os.setgid(gid)
                os.setuid(uid)

        return move, fds

    def popen(self, place, argv, uid=None, gid=None, cwd="/", over=(), **options):
        """over: (file, what it covers) in a mount namespace of the process's own."""
        if place == "host" and not over and "preexec_fn" not in options:
            return self.popen_host(argv, uid, gid, cwd, **options)
        move, fds = self.enter(place, uid, gid, os.fspath(cwd), over)
        try:
            return subprocess.Popen([os.fspath(a) for a in argv], preexec_fn=move, **options)
        finally:
            for fd in fds:
                os.close(fd)

    def popen_host(self, argv, uid, gid, cwd, **options):
        """The same without a fork of this process."""
        kinds = ["net", "mnt"] if self.root else ["user", "net", "mnt"]
        fds = [os.open(f"/proc/{self.pids['host']}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in kinds]
        who = ("-", "-") if uid is None or not self.root else (uid, gid)
        options["pass_fds"] = (*options.get("pass_fds", ()), *fds)
        try:
            return subprocess.Popen(harness.become(*who, cwd, *map(os.fspath, argv), fds=fds), **options)
        finally:
            for fd in fds:
                os.close(fd)

    def call(self, place, *argv, **options):
        """To the end, in that place; its standard output, or an exception."""
        options.setdefault("stdin", subprocess.DEVNULL)
        process = self.popen(place, argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             **options)
        out, err = process.communicate(timeout=30)
        if process.returncode:
            raise RuntimeError(f"{argv}: {process.returncode}: {err.decode(errors='replace')}")
        return out.decode()

    def site(self, path, mode, bin_dir, programs):
        return LabSite(self, path, mode, bin_dir, programs)

    # ---- what is seen ----

    def forget(self):
        for name in self.controls:
            self.ask(name, do="forget")

    def seen(self):
        return Seen(*(self.ask(name, do="seen") for name in ("world", "host")))

    def set_name(self, name, **entry):
        self.ask("world", do="zone", name=name, entry=entry)

    # ---- servers from packages, started when first wanted ----

    def service(self, name, argv, port, uid=None, gid=None, **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("executable", which(argv[0]))
        log = open(self.path / f"{name}.log", "wb")
        with log:
            process = self.popen("world", argv, uid, gid, stdout=log, stderr=log, **options)
        self.processes.append(process)

        def up():
            if process.poll() is not None:
                raise RuntimeError(f"{name}: " + (self.path / f"{name}.log").read_text())
            return f":{port:04X} " in self.listening()

        if not harness.until(up, 30):
            raise RuntimeError(f"{name} does not listen")
        self.services.add(name)

    def listening(self):
        text = ""
        for name in ("tcp", "tcp6"):
            with contextlib.suppress(OSError):
                text += "".join(
                    line.split()[1] + " " for line in pathlib.Path(
                        f"/proc/{self.pids['world']}/net/{name}").read_text().splitlines()[1:]
                    if line.split()[3] == "0A")
        return text

    def redis(self):
        if "redis" in self.services:
            return True
        # The checker of dumps is the same program, and comes with the client.
        program = which("redis-server", "redis-check-rdb")
        if not program:
            return False
        self.service("redis", ["redis-server", "--port", str(zone.REDIS), "--save", "",
                               "--protected-mode", "no", "--bind", "*", "-::*"],
                     zone.REDIS, executable=program)
        return True

    def postgres(self):
        if "postgres" in self.services:
            return True
        found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        if not found:
            return False
        programs, data = found[-1].parent, self.path / "pg"
        uid = gid = 65534 if self.root else None  # it refuses to be root
        data.mkdir(mode=0o700)
        if self.root:
            os.chown(data, uid, gid)
        self.call("world", programs / "initdb", "-D", data, "-U", "lab", "-A", "trust", "-N",
                  uid=uid, gid=gid, env={"PATH": PATH, "LC_ALL": "C"})
        with open(data / "pg_hba.conf", "a", encoding="ascii") as hba:
            hba.write("host all all 0.0.0.0/0 trust\nhost all all ::/0 trust\n")
        self.service("postgres", [programs / "postgres", "-D", data, "-p", str(zone.POSTGRES),
                                  "-c", "listen_addresses=*", "-c", "fsync=off", "-c",
                                  "unix_socket_directories=", "-c", "max_connections=20"],
                     zone.POSTGRES, uid, gid, env={"PATH": PATH, "LC_ALL": "C"})
        return True

    def ssh(self):
        """Lets lab@ in with self.path/id; known_hosts is there as well."""
        if "ssh" in self.services:
            return True
        if not which("dropbear") or not which("dropbearkey") or not which("ssh-keygen"):
            return False
        uid, gid = (65534, 65534) if self.root else (os.getuid(), os.getgid())
        home, keys = self.path / "home", self.path / "home/.ssh"
        keys.mkdir(parents=True)
        quiet = {"check": True, "stdin": subprocess.DEVNULL, "capture_output": True}
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.path / "id"],
                       **quiet)
        made = subprocess.run([which("dropbearkey"), "-t", "ed25519", "-f", self.path / "hostkey"],
                              **quiet)
        public = next(line for line in made.stdout.decode().splitlines()
                      if line.startswith("ssh-ed25519"))
        (self.path / "known_hosts").write_text(
            "".join(f"{name} {public}\n" for name in zone.ZONE if "bad" not in name))
        shutil.copy(self.path / "id.pub", keys / "authorized_keys")
        (home / ".gitconfig").write_text("[safe]\n\tdirectory = *\n")
        for path in (home, keys, keys / "authorized_keys"):
            path.chmod(0o700 if path.is_dir() else 0o600)
            if self.root:
                os.chown(path, uid, gid)
        # All of /etc: a mount on one file would be gone when a host's program replaces it.
        etc = self.path / "etc"
        etc.mkdir()
        (etc / "passwd").write_text(f"lab:x:{uid}:{gid}::{home}:/bin/sh\n")
        (etc / "group").write_text(f"lab:x:{gid}:\n")
        (etc / "nsswitch.conf").write_text("passwd: files\ngroup: files\n")
        self.service("ssh", ["dropbear", "-F", "-E", "-s", "-r", self.path / "hostkey", "-P",
                             self.path / "ssh.pid", "-p", str(zone.SSH)], zone.SSH,
                     over=[(etc, "/etc")])
        return True

    def http2(self):
        if "http2" in self.services:
            return True
        if not which("node"):
            return False
        script = ("const [, key, cert, port] = process.argv, fs = require('fs');\n"
                  "require('http2').createSecureServer({ key: fs.readFileSync(key),\n"
                  "  cert: fs.readFileSync(cert), allowHTTP1: false }, (req, res) =>\n"
                  "  res.end(`h2 ${req.headers[':authority']} ${req.url}\\n`)).listen(+port, '::');\n")
        self.service("http2", ["node", "-e", script, self.path / "leaf.key", self.path / "leaf.pem",
                               str(zone.HTTP2)], zone.HTTP2)
        return True

    # ---- what the servers serve ----

    def repository(self, name, files):
        """A bare repository with one commit, at /git/NAME and for ssh at path/git/NAME."""
        bare, work = self.path / "git" / name, self.path / f"work-{name}"
        if bare.exists():
            return bare
        env = {"PATH": PATH, "HOME": str(self.path), "GIT_CONFIG_NOSYSTEM": "1"}
        for author in ("AUTHOR", "COMMITTER"):
            env[f"GIT_{author}_NAME"], env[f"GIT_{author}_EMAIL"] = "lab", "lab@example.net"

        def git(*argv):
            subprocess.run(["git", *argv], env=env, check=True, stdin=subprocess.DEVNULL,
                           capture_output=True)

        git("init", "-q", "-b", "main", str(work))
        for path, text in files.items():
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            (work / path).write_text(text)
        git("-C", str(work), "add", ".")
        git("-C", str(work), "commit", "-qm", "one")
        git("clone", "-q", "--bare", str(work), str(bare))
        harness.remove_tree(work)
        return bare


LIMITED = ["--net", "limited"]
HOST_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}


def allow(*rules):
    return LIMITED + [word for rule in rules for word in ("--allow", rule)]


class LabSite(harness.Site):
    """A site on the lab's host: everything it starts sees that network."""

    def __init__(self, lab, *rest):
        self.lab = lab
        super().__init__(*rest)
        shutil.copy(HERE / "egress_probe.py", self.ws / "probe.py")

    def spawn(self, *argv, env=None, cwd=None, without=None, **popen):
        popen.setdefault("stdin", subprocess.DEVNULL)
        popen.setdefault("stdout", subprocess.PIPE)
        popen.setdefault("stderr", subprocess.PIPE)
        return self.lab.popen("host", self.command(*argv, without=without), self.uid, self.gid,
                              cwd or self.ws, env=self.environment(**(env or {})), **popen)

    def probe(self, *acts, flags=LIMITED, **kw):
        """What each of these acts (see egress_probe.py) comes to inside."""
        result = self.run("/usr/bin/python3", "probe.py", json.dumps(acts), flags=flags, **kw)
        assert result.code == 0, result
        answers = json.loads(result.out)
        assert len(answers) == len(acts), result
        self.last = result
        return answers

    def probe_outside(self, *acts):
        """The same without a sandbox: the control."""
        done = self.call("/usr/bin/python3", "probe.py", json.dumps(acts))
        assert done.code == 0, done
        return json.loads(done.out)

    def key(self):
        """The lab's ssh key and known_hosts, for this site's user."""
        assert self.lab.ssh()
        self.put("id", (self.lab.path / "id").read_bytes(), 0o600)
        self.put("known_hosts", (self.lab.path / "known_hosts").read_bytes())
        return ["-F", "none", "-i", "id", "-o", "UserKnownHostsFile=known_hosts",
                "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
                "-o", "GlobalKnownHostsFile=none"]
