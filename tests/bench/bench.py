#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What being sealed in costs, as ratios within one run.

launch   wall time over plain spawn of the same program, beside bubblewrap with
         the like of each profile's view, crun and firejail, interleaved; each
         sample exits 0 only when it finds itself in another pid namespace
parent   the same launch from a program with 10 MB and with 1 GB of memory
inside   single operations and whole workloads, sealed in against plain
memory   private memory of everything that is not the command

Figures are medians. Compare within one table only: machines have slow hours.
"""
import argparse
import contextlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
NOBODY = 65534
SYSTEM = ["bin", "sbin", "lib", "lib32", "lib64", "usr", "etc"]


def run(argv, **options):
    options.setdefault("stdin", subprocess.DEVNULL)
    done = subprocess.run([os.fspath(a) for a in argv], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False, **options)
    if done.returncode:
        sys.exit("bench: %s\nended with %d\n%s" % (" ".join(map(str, argv)), done.returncode,
                                                  done.stderr.decode(errors="replace")))
    return done.stdout.decode()


class Bench:
    def __init__(self, options, scratch):
        self.rounds = options.rounds
        self.results = {}
        self.scratch = scratch
        self.ns = os.readlink("/proc/self/ns/pid")
        self.ws = scratch / "ws"
        self.ws.mkdir(mode=0o777)
        os.chmod(self.ws, 0o777)
        for name in ("launch", "probe"):
            run(["cc", "-O2", "-D_GNU_SOURCE", "-o", scratch / name,
                 ROOT / "tests/bench" / (name + ".c")])
        for name in ("immure", "immure-full", "immure-attack"):
            source = pathlib.Path(options.immure).parent / name
            if source.exists():
                shutil.copy(source, scratch / name)
        shutil.copy(scratch / "probe", self.ws / "probe")

    def immure(self, profile, *argv):
        return [self.scratch / "immure", "run", "--no-policy", "--profile", profile,
                "--workspace", self.ws, "--", *argv]

    def bwrap(self, like, *argv):
        """The like of a profile's view, as close as its options come."""
        program = shutil.which("bwrap")
        if not program:
            return None
        view = ["--ro-bind", "/", "/"]
        if like == "strict":
            view = []
            for name in SYSTEM:
                path = pathlib.Path("/") / name
                if path.is_symlink():
                    view += ["--symlink", os.readlink(path), path]
                elif path.is_dir():
                    view += ["--ro-bind", path, path]
        masks = ["--tmpfs", "/run", "--tmpfs", "/tmp"]
        if like == "dev":
            for name in (".ssh", ".gnupg", ".aws", ".config"):
                path = pathlib.Path.home() / name
                if path.is_dir():
                    masks += ["--tmpfs", path]
        return [program, "--unshare-all", "--die-with-parent", "--new-session", *view, *masks,
                "--proc", "/proc", "--dev", "/dev", "--bind", self.ws, self.ws,
                "--chdir", self.ws, "--", *argv]

    def crun(self, *argv):
        program = shutil.which("crun")
        if not program or os.geteuid() != 0:
            return None
        bundle = self.scratch / "bundle"
        shutil.rmtree(bundle, ignore_errors=True)
        (bundle / "rootfs").mkdir(parents=True)
        run([program, "spec"], cwd=bundle)
        config = json.loads((bundle / "config.json").read_text())
        config["process"].update(terminal=False, args=[str(a) for a in argv], cwd=str(self.ws))
        config["process"].pop("rlimits", None)
        config["mounts"] += [{"destination": "/" + name, "source": "/" + name, "type": "bind",
                              "options": ["rbind", "ro"]}
                             for name in SYSTEM if (pathlib.Path("/") / name).is_dir()]
        config["mounts"].append({"destination": str(self.ws), "source": str(self.ws),
                                 "type": "bind", "options": ["rbind"]})
        (bundle / "config.json").write_text(json.dumps(config))
        return [program, "--cgroup-manager=disabled", "run", "--bundle", bundle, "bench"]

    def firejail(self, *argv):
        program = shutil.which("firejail")
        if not program or os.geteuid() != 0:
            return None
        return [program, "--quiet", "--noprofile", "--net=none", "--seccomp", *argv]

    def launches(self, user):
        plain = [self.ws / "probe", "plain", self.ns]
        sealed = [self.ws / "probe", "sealed", self.ns]
        found = {
            "plain": plain,
            "immure strict": self.immure("strict", *sealed),
            "immure dev": self.immure("dev", *sealed),
            "bwrap like strict": self.bwrap("strict", *sealed),
            "bwrap like dev": self.bwrap("dev", *sealed),
        }
        if not user:
            found["crun"] = self.crun(*sealed)
            found["firejail"] = self.firejail(*sealed)
        return {label: argv for label, argv in found.items() if argv and works(label, argv, user)}

    def time(self, commands, user=False, memory=None, rounds=None):
        argv = as_user(user) + [self.scratch / "launch", str(rounds or self.rounds)]
        argv += ["-m", str(memory)] if memory else []
        for label, command in commands.items():
            argv += [label.replace(" ", "_"), *command, ";"]
        lines = run(argv[:-1], cwd=self.ws).splitlines()
        return {line.split()[0].replace("_", " "): [int(v) for v in line.split()[1:]]
                for line in lines}

    def launch(self):
        for user in (False, True):
            if user and os.geteuid() != 0:
                continue
            who = "an ordinary user" if user else ("root" if os.geteuid() == 0 else "this user")
            samples = self.time(self.launches(user), user)
            floor = statistics.median(samples["plain"])
            over = {k: statistics.median(v) - floor for k, v in samples.items()}
            print("\nlaunch as %s: %d rounds, plain spawn %.0f us" % (who, self.rounds, floor))
            print("  %-20s %10s %10s %14s" % ("", "p50 us", "over us", "of bwrap's"))
            for label, values in samples.items():
                like = "bwrap like dev" if "dev" in label else "bwrap like strict"
                ratio = "%.2f" % (over[label] / over[like]) if like in over and over[like] else "-"
                print("  %-20s %10.0f %10.0f %14s" % (label, statistics.median(values),
                                                      over[label], ratio))
            self.results["launch as " + who] = {
                k: {"p50_us": statistics.median(v), "over_us": over[k]}
                for k, v in samples.items()}

    def parent(self):
        command = {"immure": self.immure("strict", self.ws / "probe", "sealed", self.ns)}
        figures = {}
        for _ in range(2):
            for memory in (10, 1024):
                got = self.time(command, memory=memory, rounds=max(10, self.rounds // 4))
                figures.setdefault(memory, []).extend(got["immure"])
        medians = {m: statistics.median(v) for m, v in figures.items()}
        print("\nlaunch from a program with 10 MB: %.0f us, with 1 GB: %.0f us (%.2fx)" % (
            medians[10], medians[1024], medians[1024] / medians[10]))
        self.results["parent"] = {str(m): v for m, v in medians.items()}

    def operations(self):
        figures = {}
        for name, argv in (("getppid", ["getppid", "100000"]),
                           ("open+close", ["open", "20000", str(self.ws / "probe")])):
            plain, sealed = [], []
            for _ in range(5):
                plain.append(float(run([self.ws / "probe", *argv]).split()[1]))
                sealed.append(float(run(self.immure("dev", self.ws / "probe", *argv)).split()[1]))
            figures[name] = (min(plain), min(sealed))
        print("\ninside dev, one operation: plain ns, sealed ns, more")
        for name, (plain, sealed) in figures.items():
            print("  %-20s %10.0f %10.0f %+10.0f" % (name, plain, sealed, sealed - plain))
        self.results["operations"] = figures

    def workloads(self):
        for name in ("a", "b"):
            (self.ws / ("%s.c" % name)).write_text(
                "#include <stdio.h>\n" + "".join(
                    "int f%d(int x) { return x * %d + (x >> 3); }\n" % (i, i)
                    for i in range(400)))
        work = {
            "compile": "for f in a b; do cc -O2 -c -o $f.o $f.c; done",
            "git": "rm -rf g && git init -q g && cd g && cp ../a.c . && git add . && "
                   "git -c user.name=a -c user.email=a@b commit -q -m x && git clone -q . ../g2 "
                   "&& rm -rf ../g2",
            "find": "find /usr -type f -size +1M >/dev/null",
            "python": "python3 -c 'import json, re; "
                      "print(len(json.dumps([{str(i): re.sub(\"1\", \"2\", str(i))} "
                      "for i in range(120000)])))' >/dev/null",
        }
        print("\ninside dev, whole work: plain ms, sealed ms, ratio")
        self.results["workloads"] = {}
        for name, script in work.items():
            plain, sealed = [], []
            for _ in range(max(5, self.rounds // 20)):
                plain.append(clock(["sh", "-c", script], self.ws))
                sealed.append(clock(self.immure("dev", "sh", "-c", script), self.ws))
            p, s = statistics.median(plain), statistics.median(sealed)
            print("  %-20s %10.1f %10.1f %10.3f" % (name, p, s, s / p))
            self.results["workloads"][name] = {"plain_ms": p, "sealed_ms": s}

    def memory(self):
        """Private memory of the supervisor and of init: everything below the
        process we started, except the command itself."""
        child = subprocess.Popen([os.fspath(a) for a in self.immure("dev", "sleep", "60")],
                                 stdin=subprocess.DEVNULL, cwd=self.ws)
        try:
            end = time.monotonic() + 10
            while not any(name == "sleep" for _, name in tree(child.pid)):
                if time.monotonic() > end or child.poll() is not None:
                    sys.exit("bench: memory: the command did not start")
                time.sleep(0.01)
            private = {pid: private_kb(pid) for pid, name in tree(child.pid) if name != "sleep"}
        finally:
            child.terminate()
            child.wait()
        print("\nprivate memory beside the command: %d KB in %d processes" % (
            sum(private.values()), len(private)))
        self.results["memory_kb"] = sum(private.values())


def as_user(user):
    return ["setpriv", "--reuid=%d" % NOBODY, "--regid=%d" % NOBODY,
            "--clear-groups"] if user else []


def works(label, argv, user):
    done = subprocess.run([os.fspath(a) for a in as_user(user) + argv], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if done.returncode == 0:
        return True
    why = done.stderr.decode(errors="replace").strip().splitlines()
    print("left out: %s: %s" % (label, why[-1] if why else "status %d" % done.returncode))
    if label.startswith(("plain", "immure")):
        sys.exit("bench: %s does not work" % label)
    return False


def clock(argv, where):
    start = time.monotonic()
    run(argv, cwd=where)
    return (time.monotonic() - start) * 1000


def tree(pid):
    found = [(pid, "immure")]
    for p, _ in found:
        with contextlib.suppress(OSError):
            for child in pathlib.Path("/proc/%d/task/%d/children" % (p, p)).read_text().split():
                name = pathlib.Path("/proc/%s/comm" % child).read_text().strip()
                found.append((int(child), name))
    return found


def private_kb(pid):
    text = pathlib.Path("/proc/%d/smaps_rollup" % pid).read_text()
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--immure", default=str(ROOT / "build/immure"))
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--json", metavar="FILE", help="write the figures there as well")
    parser.add_argument("only", nargs="*",
                        help="launch, parent, operations, workloads, memory; default: all")
    options = parser.parse_args()
    place = "/var/lib" if os.geteuid() == 0 else pathlib.Path.home()
    with tempfile.TemporaryDirectory(prefix="immure-bench-", dir=place) as scratch:
        os.chmod(scratch, 0o755)
        bench = Bench(options, pathlib.Path(scratch))
        for part in options.only or ["launch", "parent", "operations", "workloads", "memory"]:
            getattr(bench, part)()
        if options.json:
            pathlib.Path(options.json).write_text(json.dumps(bench.results, indent=2) + "\n")


if __name__ == "__main__":
    main()
