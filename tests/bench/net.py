# SPDX-License-Identifier: Apache-2.0
"""The bench's network part: what egress by name costs, beside no sandbox, pasta,
slirp4netns and sandbox-runtime, in the lab of tests/live. See bench.py.

Each contender is one long-lived client that takes an order a round, so that all
are measured in turn and none pays for its start. Only immure and sandbox-runtime
decide by name; pasta and slirp4netns let everything through, and are there for
what a user-space network costs."""

import contextlib
import json
import os
import pathlib
import pwd
import shutil
import statistics
import subprocess
import sys

import rivals

HERE = pathlib.Path(__file__).resolve().parent
ECHO, BULK = 7001, 7002
HOST = "echo.example.net"
RULES = ["--net", "limited", "--allow", "%s:%d-%d" % (HOST, ECHO, BULK), "--allow",
         "*.example.net:80"]


def spread(values):
    values = sorted(values)
    return {"p50": statistics.median(values), "min": values[0],
            "p90": values[min(len(values) - 1, int(len(values) * 0.9))], "n": len(values)}


class Left(Exception):
    """Why a contender is not in this run."""


class Client:
    def __init__(self, place, name, argv, confines):
        self.name, self.confines = name, confines
        self.process = place.popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        if self.read() != "ready":
            self.end()
            raise Left(self.why)

    def read(self):
        while line := self.process.stdout.readline().decode():
            if line.strip() == "ready" or line[0].isdigit() or line.split()[0] in (
                    "error", "open", "closed"):
                return line.strip()
        return ""

    def ask(self, order):
        self.process.stdin.write(order.encode() + b"\n")
        self.process.stdin.flush()
        answer = self.read()
        if not answer or answer.startswith("error"):
            self.end()
            raise Left("%s: %s%s" % (order, answer, self.why))
        return answer

    def take(self, order):
        return [int(v) / 1000 for v in self.ask(order).split()]

    def end(self):
        if self.process.returncode is not None:
            return
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
        lines = self.process.stderr.read().decode(errors="replace").strip().splitlines()
        self.process.stdout.close()
        self.process.stderr.close()
        self.process.wait()
        self.why = lines[-1] if lines else "it ended"


class Place:
    """The lab's host, as the ordinary user if there is one."""

    def __init__(self, bench, lab):
        self.bench, self.lab = bench, lab
        self.who = bench.people[-1]
        entry = pwd.getpwnam(self.who.name)
        self.uid, self.gid = entry.pw_uid, entry.pw_gid

    def popen(self, argv, **options):
        return self.lab.popen("host", argv, self.uid, self.gid, self.bench.ws,
                              env=self.who.env, **options)

    def output(self, argv):
        process = self.popen(list(map(str, argv)), stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = process.communicate()
        return process.returncode, out.decode(), err.decode(errors="replace")

    def needed(self, program):
        found = shutil.which(program)
        if not found:
            raise Left("not installed")
        return found


def client(place, *proxy):
    return [place.bench.ws / "netbench", "client", HOST, str(ECHO), str(BULK), *proxy]


def direct(place, _):
    return Client(place, "direct", client(place), False)


def immure(place, _):
    argv = place.bench.immure("strict", *client(place), flags=["-q", *RULES])
    return Client(place, "immure", argv, True)


def pasta(place, _):
    return Client(place, "pasta", [place.needed("pasta"), "--config-net", "--", *client(place)],
                  False)


def slirp(place, stack):
    program = place.needed("slirp4netns")
    made = Client(place, "slirp4netns", [place.needed("unshare"), "-rn", *client(place)], False)
    # unshare has become the client, with a network that nothing is attached to.
    read, write = os.pipe()
    helper = place.popen([program, "--configure", "--mtu=65520", "--ready-fd=%d" % write,
                          str(made.process.pid), "tap0"], pass_fds=[write],
                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
    os.close(write)
    ready = os.read(read, 1)
    os.close(read)

    def end():
        helper.terminate()
        helper.wait()

    stack.callback(end)
    if not ready:
        made.end()
        raise Left("it could not attach a network")
    return made


def srt_program():
    """Of an installation for all, or where NETBENCH_SRT says."""
    return os.environ.get("NETBENCH_SRT") or shutil.which("srt")


def srt_argv(place, command):
    program = srt_program()
    if not program:
        raise Left("not installed; npm install @anthropic-ai/sandbox-runtime, "
                   "and NETBENCH_SRT=.../node_modules/.bin/srt")
    settings = place.bench.scratch / "srt.json"
    settings.write_text(json.dumps({
        "network": {"allowedDomains": [HOST], "deniedDomains": []},
        "filesystem": {"denyRead": [], "allowWrite": [str(place.bench.ws)], "denyWrite": []}}))
    settings.chmod(0o644)
    return [program, "--settings", settings, "-c", command]


def srt(place, _):
    line = " ".join(map(str, client(place, "proxy")))
    return Client(place, "sandbox-runtime", srt_argv(place, line), True)


CONTENDERS = [("direct", direct), ("immure", immure), ("pasta", pasta), ("slirp4netns", slirp),
              ("sandbox-runtime", srt)]


def start_all(place, stack):
    found = []
    for name, make in CONTENDERS:
        try:
            one = make(place, stack)
            stack.callback(one.end)
            one.ask("first 1")
            if one.confines and one.ask("try 8.8.8.8 80") != "closed":
                raise Left("it was not confined")
            found.append(one)
        except Left as why:
            if name in ("direct", "immure"):
                sys.exit("bench: network: %s: %s" % (name, why))
            print("  left out: %s: %s" % (name, why))
    return found


def rounds(clients, count, order):
    """One order of each a round, beginning with another each time."""
    out = {c.name: [] for c in clients}
    for i in range(count + 1):
        for j in range(len(clients)):
            one = clients[(i + j) % len(clients)]
            if one.process.returncode is not None:
                continue
            try:
                values = one.take(order)
            except Left as why:
                if one.name in ("direct", "immure"):
                    sys.exit("bench: network: %s: %s" % (one.name, why))
                print("  left out from here: %s: %s" % (one.name, why))
                continue
            if i:  # the first warms up
                out[one.name] += values
    return {name: values for name, values in out.items() if values}


def table(bench, title, unit, samples, value=lambda us: us):
    print("\n%s, %s: min, p50, p90; p50 over direct, of direct" % (title, unit))
    rows = {}
    for name, taken in samples.items():
        rows[name] = spread([value(us) for us in taken])
    base = rows.get("direct", {}).get("p50")
    for name, row in rows.items():
        if base:
            row["over"], row["ratio"] = row["p50"] - base, row["p50"] / base
            print("  %-16s %9.2f %9.2f %9.2f   %+9.2f %6.2f" % (
                name, row["min"], row["p50"], row["p90"], row["over"], row["ratio"]))
    return rows


# ---- parts ----

def begin(place):
    """Spawn to reaped, of `true`: no network, limited, and others' ways."""
    bench = place.bench
    count, budget = (12, 6) if bench.quick else (200, 60)
    lines = {"none": bench.immure("strict", "/bin/true", flags=["--net", "none"]),
             "limited": bench.immure("strict", "/bin/true", flags=RULES)}
    check = {"none": bench.immure("strict", bench.ws / "probe", "check", *rivals.IMMURE_POINTS,
                                  flags=["--net", "none"]),
             "limited": bench.immure("strict", bench.ws / "probe", "check",
                                     *rivals.IMMURE_POINTS, flags=RULES)}
    every = {"none": 1, "limited": 1, "pasta": 6, "sandbox-runtime": 12}
    if shutil.which("pasta"):
        lines["pasta"] = [shutil.which("pasta"), "--config-net", "--", "/bin/true"]
    with contextlib.suppress(Left):
        lines["sandbox-runtime"] = srt_argv(place, "/bin/true")
    argv = [bench.scratch / "launch", count, budget]
    for name, line in lines.items():
        one = [bench.scratch / "launch", 1, 0, name, *line]
        code, _, err = place.output(one)
        if code:
            if name in ("none", "limited"):
                sys.exit("bench: network: %s: %s" % (name, err))
            print("  left out: %s: %s" % (name, (err.strip().splitlines() or ["?"])[-1]))
            continue
        argv += [name, "every=%d" % every[name], *line]
        argv += ["::", *check[name], ";"] if name in check else [";"]
    code, out, err = place.output(argv[:-1])
    if code:
        sys.exit("bench: network: %s" % err)
    samples = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    taken = {name: [int(v) / 1000 for v in values if v != "-"]
             for name, values in samples.items()}
    over = [int(limited) / 1000 - int(none) / 1000
            for limited, none in zip(samples["limited"], samples["none"])]
    print("\nstart of true, us: min, p50, p90")
    rows = {name: spread(values) for name, values in taken.items()}
    for name, row in rows.items():
        print("  %-16s %9.0f %9.0f %9.0f" % (name, row["min"], row["p50"], row["p90"]))
    rows["limited"]["over"] = statistics.median(over)
    rows["limited"]["over_least"] = rows["limited"]["min"] - rows["none"]["min"]
    bench.judge("start of true with limited, over none", statistics.median(over), 1600, " us")
    return rows


def names(place, clients):
    """Each time another name, so that nobody's cache answers."""
    out = {c.name: [] for c in clients}
    for i in range(5 if place.bench.quick else 60):
        for j in range(len(clients)):
            one = clients[(i + j) % len(clients)]
            if one.process.returncode is None:
                out[one.name] += one.take("dns www.example.net")
    return {name: values for name, values in out.items() if values}


SECURE = "secure.example.net"
RULES_TLS = {"direct": None, "by name": "tls://" + SECURE, "looked into": "https://%s/open/*" % SECURE}


def inside_tls(place, stack):
    """A request over TLS: to the server itself, through a rule for its name, and with TLS that ends at us."""
    bench = place.bench
    shutil.copy(HERE / "tlsbench.py", bench.ws / "tlsbench.py")
    client_argv = ["/usr/bin/python3", bench.ws / "tlsbench.py", SECURE]
    clients = []
    for name, rule in RULES_TLS.items():
        flags = ["-q", "--net", "limited", "--proxy", "false", "--allow", rule or ""]
        argv = bench.immure("strict", *client_argv, flags=flags) if rule else client_argv
        one = Client(place, name, argv, bool(rule))
        stack.callback(one.end)
        if rule and one.ask("try 8.8.8.8 443") != "closed":
            sys.exit("bench: network: %s: it was not confined" % name)
        clients.append(one)
    return table(bench, "a request over TLS of its own", "us", rounds(
        clients, 3 if bench.quick else 20, "fetch 20"))


def in_lab(bench, stack):
    """The lab with its server; None, and said why, where there cannot be one."""
    sys.path[:0] = [str(HERE.parent / "live"), str(HERE.parent)]
    try:
        import netlab
    except ImportError as why:
        print("\nleft out: the lab needs it: %s" % why)
        return None
    done = subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", "-pthread", "-o", bench.ws / "netbench",
                           HERE / "netbench.c"], stderr=subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit("bench: network: needs a C compiler: %s" % done.stderr.decode())
    lab = stack.enter_context(netlab.Lab(bench.scratch / "lab"))
    for name in (HOST, "www.example.net"):
        lab.set_name(name, A=["45.90.1.16"], AAAA=["2a0e:97c0:1::10"])
    server = lab.popen("world", [bench.ws / "netbench", "serve", str(ECHO), str(BULK)],
                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    stack.callback(server.communicate)
    server.stdout.readline()
    return Place(bench, lab)


def network(bench):
    quick = bench.quick
    with contextlib.ExitStack() as stack:
        here = in_lab(bench, stack)
        if not here:
            return
        print("\nnetwork, as %s" % ("root" if here.uid == 0 else "an ordinary user"))
        results = bench.results["network"] = {"start": begin(here)}
        clients = start_all(here, stack)
        results["connect"] = table(bench, "connect", "us", rounds(
            clients, 3 if quick else 20, "connect 50"))
        results["first"] = table(bench, "connect and a byte there and back", "us", rounds(
            clients, 3 if quick else 20, "first 50"))
        results["whole"] = table(bench, "looking up, connect and a byte there and back", "us",
                                 rounds(clients, 3 if quick else 20, "whole 50"))
        size = (64 if quick else 512) << 20
        slow = [c for c in clients if c.name in ("pasta", "slirp4netns", "sandbox-runtime")]
        for order, what in (("get", "down"), ("put", "up")):
            fast = rounds([c for c in clients if c not in slow], 2 if quick else 8,
                          "%s %d" % (order, size))
            # An eighth of the bytes for those that would take all day.
            fast.update({name: [us * 8 for us in v] for name, v in rounds(
                slow, 1 if quick else 3, "%s %d" % (order, size // 8)).items()} if slow else {})
            results[what] = table(bench, "bulk %s" % what, "GB/s", fast,
                                  lambda us: size / us / 1000)
        results["dns"] = table(bench, "looking up a name", "us", names(
            here, [c for c in clients if c.name != "sandbox-runtime"]))
        results["tls"] = inside_tls(here, stack)
        # A delayed acknowledgement somewhere would be forty milliseconds.
        bench.judge("a request over TLS that ends at us, over direct", results["tls"]["looked into"]["over"],
                    2500, " us")
        bench.judge("connect and a byte, over direct", results["first"]["immure"]["over"], 90,
                    " us")
        for what in ("down", "up"):
            bench.judge("bulk %s over veth, direct against immure" % what,
                        1 / results[what]["immure"]["ratio"], 1.25, "x")
