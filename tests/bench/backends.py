# SPDX-License-Identifier: Apache-2.0
"""What a backend costs beside the others: starting, a command in a living session, a
connection. Interleaved, each sample checked from inside; see bench.py."""
import contextlib
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import net
import rivals
import work

BACKENDS = ("native", "landlock", "bwrap")
# What only mounts and a pid namespace give; it is the price of going without.
APPROVED = {"landlock": ["--downgrade", "process_visibility,file_metadata"]}
POINTS = {"native": rivals.IMMURE_POINTS, "bwrap": [*rivals.BWRAP_POINTS, "status:Seccomp=2"],
          "landlock": ["status:NoNewPrivs=1", "status:CapEff=0000000000000000", "status:Seccomp=2"]}
SHARED = {"policy", "facts and plan", "session", "command", "teardown", "aftercare"}


def flags(backend):
    return ["--backend", backend, *APPROVED.get(backend, ())]


def line(bench, profile, backend, *argv, more=()):
    return bench.immure(profile, *argv, flags=[*flags(backend), *more])


def usable(bench, who, backend):
    done = who.run(line(bench, "dev", backend, "/bin/true"), cwd=bench.ws)
    if done.returncode == 0:
        return True
    print("  left out: %s: %s" % (backend, done.stderr.decode(errors="replace").strip()))
    return False


# ---- cold start ----

def cold(bench, who, profile, backends):
    """From spawn to reaped, over plain, of a program that only exits."""
    program = bench.programs.get("static", pathlib.Path("/bin/true"))
    argv = [bench.scratch / "launch", 12 if bench.quick else 150, 4 if bench.quick else 20,
            "plain", program, ";"]
    for backend in backends:
        points = POINTS[backend] + (bench.denied(who, profile) if profile == "dev" else [])
        argv += [backend, *line(bench, profile, backend, program), "::",
                 *line(bench, profile, backend, bench.ws / "probe", "check", *points), ";"]
    out = who.output(list(map(str, argv[:-1])), cwd=bench.ws)
    taken = {row.split()[0]: [int(v) / 1000 for v in row.split()[1:]] for row in out.splitlines()}
    plain = taken.pop("plain")
    return {name: {"least_us": min(v) - min(plain),
                   "p50_us": statistics.median(a - b for a, b in zip(v, plain))}
            for name, v in taken.items()}


def sealing(bench, who, profile, backends):
    """What of it is the backend's: from the plan until the command is executed."""
    found = {name: [] for name in backends}
    for i in range(3 if bench.quick else 25):
        for j in range(len(backends)):
            name = backends[(i + j) % len(backends)]
            done = who.run(line(bench, profile, name, bench.programs.get("static", "/bin/true"),
                                more=["--trace-time"]), cwd=bench.ws)
            if done.returncode:
                sys.exit("bench: backends: %s" % done.stderr.decode(errors="replace"))
            found[name].append(sum(us for stage, us in work.trace_times(done.stderr.decode())
                                   if stage not in SHARED))
    return {name: {"least_us": min(v), "p50_us": statistics.median(v)}
            for name, v in found.items()}


def starts(bench, who, profile, backends, rows):
    whole, own = cold(bench, who, profile, backends), sealing(bench, who, profile, backends)
    for name in backends:
        row = rows["%s as %s, %s" % (profile, who.name, name)] = {
            "whole": whole[name], "sealing": own[name],
            "of_native": {k: v[name]["least_us"] / v["native"]["least_us"]
                          for k, v in (("whole", whole), ("sealing", own))}}
        print("  %-28s whole %6.0f %6.0f   sealing in %6.0f %6.0f   of native %.2f, %.2f" % (
            "%s as %s, %s" % (profile, who.name, name), row["whole"]["least_us"],
            row["whole"]["p50_us"], row["sealing"]["least_us"], row["sealing"]["p50_us"],
            row["of_native"]["whole"], row["of_native"]["sealing"]))
    for what, key in (("whole start", "whole"), ("sealing in", "sealing")):
        if "landlock" in backends:
            row = rows["%s as %s, landlock" % (profile, who.name)]
            bench.judge("landlock's %s of native's, %s as %s" % (what, profile, who.name),
                        row["of_native"][key], 0.4, "x")


# ---- exec ----

def execs(bench, backends, rows):
    if not (bench.scratch / "session").exists():
        print("  exec left out: no libimmure.so to link with")
        return
    program = str(bench.programs.get("static", "/bin/true"))
    for name in backends:
        made = bench.me.run([bench.scratch / "immure", "create", "--rm", "--no-policy",
                             "--workspace", bench.ws, *flags(name)], cwd=bench.ws)
        if made.returncode:
            print("  %-10s none: %s" % (
                name, made.stderr.decode(errors="replace").strip().splitlines()[-1]))
            continue
        session = made.stdout.decode().strip()
        try:
            out = bench.me.output([bench.scratch / "session", session, program,
                                   "100" if bench.quick else "1500"])
        finally:
            bench.me.output([bench.scratch / "immure", "stop", "--force", session])
        plain, lane = ([int(v.split()[i]) / 1000 for v in out.splitlines()] for i in (0, 1))
        rows[name] = {"least_us": min(lane), "p50_us": statistics.median(lane),
                      "plain_p50_us": statistics.median(plain)}
        print("  %-10s %7.0f least %7.0f p50, plain %7.0f" % (
            name, min(lane), statistics.median(lane), statistics.median(plain)))


# ---- connect ----

def contenders(place, backends, stack):
    found = []
    for name in ["direct", *("%s, %s" % (b, mode) for b in backends for mode in ("limited", "host"))]:
        backend, _, mode = name.partition(", ")
        argv = net.client(place)
        if mode:
            more = ["-q", *(net.RULES if mode == "limited" else ["--net", "host"])]
            argv = line(place.bench, "strict", backend, *argv, more=more)
        try:
            one = net.Client(place, name, argv, mode == "limited")
            stack.callback(one.end)
            one.ask("first 1")
            if one.confines and one.ask("try 8.8.8.8 80") != "closed":
                sys.exit("bench: backends: %s: it was not confined" % name)
            found.append(one)
        except net.Left as why:
            print("  %s: none: %s" % (name, why))
    return found


def connects(bench, backends, rows):
    with contextlib.ExitStack() as stack:
        place = net.in_lab(bench, stack)
        if not place:
            return
        clients = contenders(place, backends, stack)
        for order in ("connect", "first"):
            taken = net.rounds(clients, 3 if bench.quick else 20, order + " 50")
            rows[order] = net.table(bench, "connect" if order == "connect" else
                                    "connect and a byte there and back", "us", taken)


@contextlib.contextmanager
def memory_for(who):
    """A directory of their own in memory, as /run is on most hosts and was not on all:
    backend landlock makes its sessions' directories there."""
    if not os.access("/dev/shm", os.W_OK):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="immure-bench-", dir="/dev/shm") as name:
        if who.uid != os.geteuid():
            os.chown(name, who.uid, -1)
        who.env["TMPDIR"] = name
        try:
            yield
        finally:
            del who.env["TMPDIR"]


def backends(bench):
    rows = bench.results["backends"] = {"start": {}, "exec": {}, "connect": {}}
    print("\nbackends: a start, us: whole over plain least, p50; sealing in alone")
    for who in bench.people:
        with memory_for(who):
            here = [b for b in BACKENDS if usable(bench, who, b)]
            for profile in ("strict", "dev"):
                starts(bench, who, profile, here, rows["start"])
    print("\nbackends: a command in a living session, request to status, us")
    here = [b for b in BACKENDS if usable(bench, bench.me, b)]
    execs(bench, here, rows["exec"])
    connects(bench, here, rows["connect"])
