#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What being sealed in costs, as ratios within one run.

launch      wall time over plain spawn of the same program, beside bubblewrap
            with a plain view and with the view of each profile's own plan, crun
            and firejail, as root and as an ordinary user, interleaved
stages      where a launch spends it (immure run --trace-time)
parent      a launch through the library from a program with 10 MB and with 1 GB
operations  single operations, sealed in against plain
workloads   whole programs, sealed in against plain, timed inside
memory      private memory of everything that is not the command
teardown    kill -9 of the supervisor until the last process inside is gone
many        a hundred at once: start and end
backends    starting, a command in a session and a connection by each backend
sessions    a command in a living session, by the library and by the command line,
            over plain spawn, beside crun exec, podman exec, nsenter into bubblewrap and
            bubblewrap each time; making sessions; memory of idle ones; many callers
pool        acquiring, with and without a workspace of the caller's; memory
network     egress by name: start, connect, bulk and lookups, beside pasta,
            slirp4netns and sandbox-runtime, in namespaces of the bench's own

A sample that did not end with status 0, or was not confined, ends the bench with
status 1. A target that is missed does not: machines differ and have slow hours,
so compare within one table only. docs/PERFORMANCE.md says how to read the rest.
"""
import argparse
import contextlib
import json
import os
import pathlib
import platform
import pwd
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import backends
import net
import pool
import rivals
import sessions
import work

ROOT = pathlib.Path(__file__).resolve().parents[2]
PARTS = ["launch", "stages", "parent", "operations", "workloads", "memory", "teardown", "many",
         "backends", "sessions", "pool", "network"]


class Who:
    """Whom the commands run as: a prefix, and the environment."""

    def __init__(self, name, prefix, home):
        self.name, self.prefix = name, prefix
        self.uid = pwd.getpwnam(name).pw_uid
        self.env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(home), "LANG": "C",
                    "TERM": "dumb", "USER": name, "SHELL": "/bin/sh"}

    def run(self, argv, **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run([os.fspath(a) for a in [*self.prefix, *argv]], env=self.env,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                              **options)

    def output(self, argv, **options):
        done = self.run(argv, **options)
        if done.returncode:
            sys.exit("bench: %s\nended with %d: not a sample\n%s" % (
                " ".join(map(str, argv))[:2000], done.returncode,
                done.stderr.decode(errors="replace")))
        return done.stdout.decode()


def spread(values):
    values = sorted(values)
    return {"p50": statistics.median(values), "min": values[0],
            "p90": values[min(len(values) - 1, int(len(values) * 0.9))], "n": len(values)}


class Bench:
    def __init__(self, options, scratch, user):
        self.options, self.scratch = options, scratch
        self.quick = options.quick
        self.results = {"machine": machine(), "load_before": os.getloadavg()}
        self.judged = []
        name = pwd.getpwuid(os.geteuid()).pw_name
        self.me = Who(name, [], pathlib.Path.home())
        self.people = [self.me] + ([user] if user else [])
        self.ws = scratch / "ws"
        self.ws.mkdir()
        self.ws.chmod(0o777)
        self.programs = build(options, scratch, self.ws)
        self.bwrap = rivals.Bwrap(scratch)

    def immure(self, profile, *argv, flags=()):
        return [self.scratch / "immure", "run", "--no-policy", "--profile", profile,
                "--workspace", self.ws, *flags, "--", *argv]

    def judge(self, what, value, target, unit):
        ok = value <= target
        self.judged.append({"what": what, "value": value, "target": target, "unit": unit,
                            "pass": ok})
        print("  %s  %s: %.3g%s, target at most %g%s" % ("PASS" if ok else "MISS", what, value,
                                                        unit, target, unit))

    # ---- launch ----

    def plan(self, who, profile, *flags):
        return json.loads(who.output(
            [self.scratch / "immure", "plan", "--no-policy", "--profile", profile, "--workspace",
             self.ws, *flags, "--json", "--", "/bin/true"], cwd=self.ws))

    def rivals(self, who, hidden_ns):
        """(label, every, options of launch, argv -> argv, points)"""
        strict, dev = self.plan(who, "strict"), self.plan(who, "dev")
        # bubblewrap mounts no /proc of processes alone: masks come nearest to it.
        masked = self.plan(who, "strict", "--proc", "masked")
        found = [("immure-strict", 1, [], lambda *a: self.immure("strict", *a),
                  rivals.IMMURE_POINTS),
                 ("immure-dev", 1, [], lambda *a: self.immure("dev", *a),
                  rivals.IMMURE_POINTS + denied(dev))]
        if self.bwrap.program:
            found += [("bwrap-plain", 1, [], lambda *a: self.bwrap.plain(self.ws, *a),
                       rivals.BWRAP_POINTS),
                      ("bwrap-as-strict", 1, [], lambda *a: self.bwrap.like(masked, *a),
                       rivals.BWRAP_POINTS),
                      ("bwrap-open-proc", 1, [], lambda *a: self.bwrap.like(strict, *a),
                       rivals.BWRAP_POINTS),
                      ("bwrap-as-dev", 1, [], lambda *a: self.bwrap.like(dev, *a),
                       rivals.BWRAP_POINTS + denied(dev))]
        if shutil.which("crun"):
            made = iter("crun-%d-%s" % (i, who.name) for i in range(100))
            found.append(("crun", 4, ["ns=" + hidden_ns] if hidden_ns else [],
                          lambda *a: rivals.crun(self.scratch, self.ws, a, next(made)),
                          rivals.CRUN_POINTS))
        if shutil.which("firejail"):
            found += [("firejail", 8, [], rivals.firejail, rivals.FIREJAIL_POINTS),
                      ("firejail-default", 8, [], rivals.firejail_default,
                       rivals.FIREJAIL_DEFAULT_POINTS)]
        return found

    def usable(self, who, label, options, argv):
        launcher = [self.scratch / "launch", 1, 0, label, *options, *argv]
        done = who.run(list(map(str, launcher)), cwd=self.ws)
        if done.returncode == 0:
            return True
        lines = [line for line in done.stderr.decode(errors="replace").splitlines() if line]
        if label.startswith("immure"):
            sys.exit("bench: %s does not work:\n%s" % (label, "\n".join(lines)))
        print("  left out: %s: %s" % (label, lines[0] if lines else "no reason given"))
        return False

    def launch(self):
        rounds, budget = (12, 4) if self.quick else (300, 35)
        with rivals.without_v2() as hidden_ns:
            for who in self.people:
                print("\nlaunch as %s, us" % who.name)
                self.launch_as(who, rounds, budget, hidden_ns)

    def launch_as(self, who, rounds, budget, hidden_ns):
        here = ["check"] + ["same:%s=%s" % (n, os.readlink("/proc/self/ns/" + n))
                            for n in rivals.ALL]
        argv = [self.scratch / "launch", rounds, budget]
        targets = [name for name in ("true", "static") if name in self.programs]
        for target in targets:
            argv += ["plain/" + target, self.programs[target], "::", self.ws / "probe", *here,
                     ";"]
        for label, every, options, line, points in self.rivals(who, hidden_ns):
            check = line(self.ws / "probe", "check", *points)
            if not self.usable(who, label, options, check):
                continue
            for i, target in enumerate(targets):
                argv += ["%s/%s" % (label, target), "every=%d" % every, *options,
                         *line(self.programs[target])]
                argv += [";"] if i else ["::", *check, ";"]
        lines = who.output(list(map(str, argv[:-1])), cwd=self.ws).splitlines()
        samples = {line.split()[0]: line.split()[1:] for line in lines}
        self.launch_table(who, samples)

    def launch_table(self, who, samples):
        table = self.results.setdefault("launch", {})[who.name] = {}
        for target in [name for name in ("true", "static") if name in self.programs]:
            floor = [int(v) for v in samples["plain/" + target]]
            rows = table[target] = {}
            for name, values in samples.items():
                if name.endswith("/" + target):
                    rows[name.split("/")[0]] = costs(values, floor)
            for row in rows.values():
                row["over_us"]["least"] = row["total_us"]["min"] - rows["plain"]["total_us"]["min"]
            print("  %-18s total: min   p50   p90   over plain: p50 least   "
                  "of bwrap: p50, least" % target)
            for label, row in rows.items():
                total, over = row["total_us"], row["over_us"]
                print("  %-18s %10.0f %5.0f %5.0f   %15.0f %5.0f   %s" % (
                    label, total["min"], total["p50"], total["p90"], over["p50"], over["least"],
                    ratio_text(rows, label)))
        for profile, target in (("strict", 0.35), ("dev", 0.5)):
            for name, rows in table.items():
                against = ratios(rows, "immure-" + profile).get("bwrap-as-" + profile)
                if against:
                    self.judge("%s as %s, %s, of bwrap's overhead with the same view" % (
                        profile, who.name, name), against["p50"], target, "x")
                open_proc = ratios(rows, "immure-" + profile).get("bwrap-open-proc")
                if open_proc and profile == "strict":
                    print("        of bwrap's with all of /proc open: %.3gx, least %.3gx" % (
                        open_proc["p50"], open_proc["least"]))

    # ---- stages ----

    def stages(self):
        print("\nstages of a launch, us, p50 of each")
        for profile in ("strict", "dev"):
            seen = {}
            for _ in range(5 if self.quick else 30):
                done = self.me.run(self.immure(profile, "/bin/true", flags=["--trace-time"]),
                                   cwd=self.ws)
                if done.returncode:
                    sys.exit("bench: stages: %s" % done.stderr.decode(errors="replace"))
                for name, us in work.trace_times(done.stderr.decode()):
                    seen.setdefault(name, []).append(us)
            medians = {name: statistics.median(v) for name, v in seen.items()}
            self.results.setdefault("stages", {})[profile] = medians
            print("  %-8s %s" % (profile, ", ".join("%s %.0f" % m for m in medians.items())))

    # ---- parts that live in work.py ----

    def parent(self):
        work.parent(self)

    def operations(self):
        work.operations(self)

    def workloads(self):
        work.workloads(self)

    def memory(self):
        work.memory(self)

    def teardown(self):
        work.teardown(self)

    def many(self):
        work.many(self)

    def backends(self):
        backends.backends(self)

    def denied(self, who, profile):
        return denied(self.plan(who, profile))

    def sessions(self):
        sessions.sessions(self)

    def network(self):
        net.network(self)

    def pool(self):
        pool.pool(self)


def costs(values, floor):
    """One command's samples, against plain's of the same rounds."""
    taken = [(int(v) / 1000, f / 1000) for v, f in zip(values, floor) if v != "-"]
    return {"total_us": spread([us for us, _ in taken]),
            "over_us": {"p50": statistics.median(us - f for us, f in taken)}}


def ratios(rows, label):
    """How label's overhead compares with each bwrap's, by median and by least."""
    return {other: {k: rows[label]["over_us"][k] / max(1, rows[other]["over_us"][k])
                    for k in ("p50", "least")}
            for other in rows if other.startswith("bwrap")}


def ratio_text(rows, label):
    if label.startswith("plain"):
        return ""
    return "  ".join("%s %.2f %.2f" % (other[6:], r["p50"], r["least"])
                     for other, r in ratios(rows, label).items())


def denied(plan):
    """A masked path of the plan that is there: a checker must be refused. A
    directory, since the host may replace a file, and the mount on it goes along."""
    found = [op for op in plan["operations"]
             if op["op"] == "mask" and "optional" not in op.get("flags", [])]
    found.sort(key=lambda op: "file" in op.get("flags", []))
    return ["denied:" + found[0]["dst"]] if found else []


def machine():
    uname = platform.uname()
    versions = {}
    for name in ("bwrap", "crun", "podman", "firejail", "pasta", "slirp4netns"):
        if shutil.which(name):
            text = subprocess.run([name, "--version"], stdout=subprocess.PIPE, check=False).stdout
            versions[name] = text.decode(errors="replace").splitlines()[0]
    return {"kernel": uname.release, "arch": uname.machine, "cpus": os.cpu_count(),
            "programs": versions}


def build(options, scratch, workspace):
    """Compiles the helpers; what runs inside goes to the workspace."""
    def cc(*argv, program="cc"):
        done = subprocess.run([program, "-O2", "-D_GNU_SOURCE", *map(str, argv)],
                              stderr=subprocess.PIPE, check=False)
        return done.returncode == 0

    here = ROOT / "tests/bench"
    if not cc("-o", scratch / "launch", here / "launch.c"):
        sys.exit("bench: needs a C compiler")
    if not cc("-static", "-o", workspace / "probe", here / "probe.c"):
        cc("-o", workspace / "probe", here / "probe.c")
    programs = {"true": pathlib.Path("/bin/true")}
    if cc("-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-o",
          workspace / "nop", here / "nop.c"):
        programs["static"] = workspace / "nop"
    # What a C library does at its start is not to be timed with it.
    musl = "musl-gcc" if shutil.which("musl-gcc") else "cc"
    if cc("-static", "-o", workspace / "inside", here / "inside.c", program=musl):
        programs["inside"] = workspace / "inside"
    directory = pathlib.Path(options.immure).resolve().parent
    for name in ("immure", "immure-full", "immure-attack", "immure-egress", "immure-intercept"):
        if (directory / name).exists():
            shutil.copy(directory / name, scratch / name)
    library = directory / "src/lib"
    if (library / "libimmure.so").exists():
        for name in ("parent", "pool", "session", "zygote"):
            cc("-o", scratch / name, here / (name + ".c"), "-I", ROOT / "include", "-L", library,
               "-limmure", "-Wl,-rpath," + str(library))
    return programs


@contextlib.contextmanager
def scratch_directory():
    """Somewhere that everybody may pass through and that no profile hides."""
    for place in ("/srv", "/opt", "/var/lib", pathlib.Path.home()):
        if os.access(place, os.W_OK) and (os.stat(place).st_mode & 0o001 or os.geteuid()):
            break
    with tempfile.TemporaryDirectory(prefix="immure-bench-", dir=place) as name:
        os.chmod(name, 0o755)
        yield pathlib.Path(name)


@contextlib.contextmanager
def ordinary_user(scratch):
    """A user of its own, with a home like people have; None when not root."""
    if os.geteuid() != 0 or not shutil.which("useradd"):
        yield None
        return
    name, home = "imbench%d" % os.getpid(), scratch / "home"
    subprocess.run(["useradd", "-M", "-d", home, "-s", "/bin/sh", name], check=True)
    try:
        entry = pwd.getpwnam(name)
        home.mkdir(mode=0o700)
        for part in (".ssh", ".gnupg", ".aws", ".config", ".cache"):
            (home / part).mkdir(mode=0o700)
        for part in (".bashrc", ".profile", ".gitconfig", ".ssh/id_ed25519"):
            (home / part).write_text("# bench\n")
        for path in (home, *home.rglob("*")):
            os.chown(path, entry.pw_uid, entry.pw_gid)
        yield Who(name, ["setpriv", "--reuid=%d" % entry.pw_uid, "--regid=%d" % entry.pw_gid,
                         "--clear-groups"], home)
    finally:
        subprocess.run(["userdel", name], check=False, stderr=subprocess.DEVNULL)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--immure", default=str(ROOT / "build/immure"))
    parser.add_argument("--quick", action="store_true", help="few samples, in half a minute")
    parser.add_argument("--json", metavar="FILE", help="write the figures there as well")
    parser.add_argument("only", nargs="*", help=", ".join(PARTS) + "; default: all")
    options = parser.parse_args()
    for part in options.only:
        if part not in PARTS:
            parser.error("no such part: " + part)
    started = time.monotonic()
    with scratch_directory() as scratch, ordinary_user(scratch) as user:
        bench = Bench(options, scratch, user)
        for part in options.only or PARTS:
            getattr(bench, part)()
        bench.results.update(load_after=os.getloadavg(), targets=bench.judged)
    print("\n%d of %d targets met; %.0f s; load %.1f before, %.1f after, %d CPUs" % (
        sum(j["pass"] for j in bench.judged), len(bench.judged), time.monotonic() - started,
        bench.results["load_before"][0], bench.results["load_after"][0], os.cpu_count()))
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(bench.results, indent=2) + "\n")


if __name__ == "__main__":
    main()
