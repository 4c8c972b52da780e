# SPDX-License-Identifier: Apache-2.0
"""The parts of the bench beyond launching: see bench.py."""
import contextlib
import os
import pathlib
import re
import select
import shutil
import signal
import statistics
import subprocess
import sys
import time


def trace_times(text):
    """(stage, us) from what --trace-time prints."""
    for line in text.splitlines():
        if "time: " in line:
            for name, us in re.findall(r"([a-z ]+?) (\d+) us", line.split("time: ")[1]):
                yield name.strip(), int(us)
        else:
            match = re.match(r"immure: +(\d+) us  ([a-z ]+)$", line)
            if match and match[2] != "in all" and int(match[1]) < 10**9:
                yield match[2], int(match[1])


def interleave(rounds, *takers):
    """One sample of each a round, in alternating order."""
    out = [[] for _ in takers]
    for i in range(rounds):
        for j in range(len(takers)):
            at = (i + j) % len(takers)
            out[at].append(takers[at]())
    return out


# ---- parent ----

def parent(bench):
    if not (bench.scratch / "parent").exists():
        print("\nparent left out: no libimmure.so to link with")
        return
    parents = {}
    with contextlib.ExitStack() as stack:
        for size in (10, 1024):
            process = subprocess.Popen(
                [bench.scratch / "parent", str(size), bench.scratch / "immure", bench.ws,
                 "/bin/true"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=bench.ws)
            stack.callback(process.communicate)
            parents[size] = process

        def take(size):
            parents[size].stdin.write(b".")
            parents[size].stdin.flush()
            line = parents[size].stdout.readline().split()
            if len(line) != 2:
                sys.exit("bench: parent: a session did not work")
            return [int(v) / 1000 for v in line]

        small, large = interleave(10 if bench.quick else 60, lambda: take(10), lambda: take(1024))
    print("\nstarting a session from a program with that much memory, us, p50 (min)")
    rows = {}
    for name, samples in (("10 MB", small[2:]), ("1 GB", large[2:])):
        rows[name] = {what: {"p50": statistics.median(v), "min": min(v)}
                      for what, v in zip(("start", "all"), zip(*samples))}
        print("  %-6s until started %6.0f (%.0f), until ended %6.0f (%.0f)" % (
            name, rows[name]["start"]["p50"], rows[name]["start"]["min"],
            rows[name]["all"]["p50"], rows[name]["all"]["min"]))
    bench.results["parent"] = rows
    bench.judge("1 GB against 10 MB, until ended",
                rows["1 GB"]["all"]["p50"] / rows["10 MB"]["all"]["p50"], 1.1, "x")


# ---- inside ----

def operations(bench):
    probe = bench.ws / "probe"
    spawned = str(bench.programs.get("static", "/bin/true"))
    table = [("getppid", ["getppid", "20000"], 60), ("read", ["read", "20000"], 60),
             ("open+close", ["open", "4000", str(probe)], 1300),
             ("spawn+wait", ["spawn", "40", spawned], None)]
    print("\none operation, ns: plain, dev, strict (least of all batches; more than plain)")
    bench.results["operations"] = {}
    for name, argv, target in table:
        takers = [lambda p=p: float(bench.me.output(
            bench.immure(p, probe, *argv) if p else [probe, *argv], cwd=bench.ws))
            for p in (None, "dev", "strict")]
        least = [min(v) for v in interleave(3 if bench.quick else 9, *takers)]
        bench.results["operations"][name] = dict(zip(("plain_ns", "dev_ns", "strict_ns"), least))
        print("  %-12s %9.0f %9.0f %9.0f   %+.0f %+.0f" % (
            name, *least, least[1] - least[0], least[2] - least[0]))
        if target:
            bench.judge("%s in dev, more than plain" % name, least[1] - least[0], target, " ns")


WORK = {
    "compile": "make -s -C project clean all",
    "git": "rm -rf clone && git clone -q --no-hardlinks repo clone && cd clone && git status -s "
           "&& git log --stat >/dev/null",
    "find": "for i in 1 2 3 4 5 6 7 8; do find /usr/share/doc -size +1M >/dev/null; done",
    "python": "for i in 1 2 3; do python3 job.py >/dev/null; done",
}

JOB = """import json, os, re, tempfile
rows = [{str(i): re.sub("1", "2", str(i * 7919))} for i in range(40000)]
with tempfile.TemporaryDirectory(dir=".") as d:
    for i in range(60):
        with open(os.path.join(d, str(i)), "w") as f:
            json.dump(rows[i * 600:(i + 1) * 600], f)
    print(sum(len(json.load(open(os.path.join(d, n)))) for n in os.listdir(d)))
"""


def prepare_work(bench):
    project = bench.ws / "project"
    project.mkdir()
    names = ["m%d" % i for i in range(6)]
    for name in names:
        (project / (name + ".c")).write_text(
            "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n" + "".join(
                "int %s_%d(int x) { char b[64]; snprintf(b, sizeof(b), \"%%d\", x + %d);\n"
                "\treturn atoi(b) + (int)strlen(b); }\n" % (name, i, i) for i in range(60)))
    (project / "main.c").write_text("int main(void) { return 0; }\n")
    objects = " ".join(n + ".o" for n in [*names, "main"])
    (project / "Makefile").write_text(
        "all: program\nprogram: %s\n\tcc -o $@ $^\n%%.o: %%.c\n\tcc -O1 -c -o $@ $<\n"
        "clean:\n\trm -f *.o program\n" % objects)
    (bench.ws / "job.py").write_text(JOB)
    repo = bench.ws / "repo"
    script = "git init -q repo && cd repo && for i in $(seq 12); do mkdir -p d$i && " \
        "for j in $(seq 20); do echo $i $j >d$i/f$j; done; git add . && git -c user.name=a " \
        "-c user.email=a@b -c commit.gpgsign=false commit -q -m $i; done"
    bench.me.output(["sh", "-c", script], cwd=bench.ws)
    return repo


@contextlib.contextmanager
def in_memory(bench):
    """A prefix for commands that find the workspace in a file system in memory: a
    disk's journal and discards, which the whole machine shares, vary by more than what
    is measured. Empty where that takes rights we lack."""
    if os.geteuid() or not shutil.which("nsenter"):
        yield []
        return
    memory = bench.scratch / "memory"
    memory.mkdir()
    holder = subprocess.Popen(
        ["unshare", "-m", "--propagation", "private", "sh", "-ec",
         'mount -t tmpfs bench "$1"; cp -a "$2/." "$1"; chmod 777 "$1"; mount --move "$1" "$2"; '
         "echo; exec cat", "sh", memory, bench.ws], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        if not holder.stdout.readline():
            sys.exit("bench: workloads: no file system in memory")
        yield ["nsenter", "-t", str(holder.pid), "-m", "--", "sh", "-ec", 'cd "$0"; exec "$@"',
               bench.ws]
    finally:
        holder.communicate()


def floors(bench):
    """The kernel's own price: the plan's Landlock domain, and a filter of one instruction."""
    program = bench.scratch / "floor"
    done = subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", "-o", program,
                           pathlib.Path(__file__).parent / "floor.c"], stderr=subprocess.PIPE,
                          check=False)
    ops = [op for op in bench.plan(bench.me, "dev")["operations"]
           if op["op"] in ("landlock", "landlock_rule")]
    if done.returncode or not ops:
        print("  left out: the floors: no Landlock, or no headers of it")
        return {}
    rules = ["-l", str(ops[0]["fs"]), str(ops[0]["scopes"]),
             *("%s=%d" % (op["dst"], op["rights"]) for op in ops[1:] if os.path.exists(op["dst"]))]
    return {"landlock": [program, *rules, "--"], "seccomp": [program, "-s", "--"],
            "both": [program, *rules, "-s", "--"]}


def workloads(bench):
    prepare_work(bench)
    probe = bench.ws / "probe"
    rows = bench.results["workloads"] = {}
    lines = {"plain": lambda *a: a, "dev": lambda *a: bench.immure("dev", *a, flags=["-q"])}
    for name, prefix in floors(bench).items():
        lines[name] = lambda *a, prefix=prefix: [*prefix, *a]
    print("\nwhole work, timed inside, ms: p50, least; of plain: p50, least, CPU time")
    with in_memory(bench) as prefix:
        for name, script in WORK.items():
            argv = [probe, "time", "sh", "-c", script]
            samples = interleave(2 if bench.quick else 17, *(
                lambda line=line: numbers(bench, [*prefix, *line(*argv)])
                for line in lines.values()))
            rows[name] = table(dict(zip(lines, samples)))
            print("  " + name)
            for label, r in rows[name].items():
                print("    %-8s %8.1f %8.1f   %.3f  %.3f  %.3f" % (
                    label, r["p50_ms"], r["least_ms"], r["p50_ratio"], r["least_ratio"],
                    r["cpu_ratio"]))
            bench.judge("%s in dev, least against least" % name, rows[name]["dev"]["least_ratio"],
                        1.03, "x")
            if "both" in rows[name]:
                bench.judge("%s in dev, of Landlock and a filter alone" % name,
                            rows[name]["dev"]["least_ms"] / rows[name]["both"]["least_ms"],
                            1.03, "x")


def table(samples):
    rows = {}
    for label, taken in samples.items():
        wall, cpu = zip(*taken)
        row = rows[label] = {"p50_ms": statistics.median(wall) / 1e6, "least_ms": min(wall) / 1e6,
                             "cpu_ms": min(cpu) / 1e3}
        for ratio, figure in (("p50_ratio", "p50_ms"), ("least_ratio", "least_ms"),
                              ("cpu_ratio", "cpu_ms")):
            row[ratio] = row[figure] / rows["plain"][figure]
    return rows


def numbers(bench, argv):
    out = bench.me.output(argv, cwd=bench.ws).split()
    return int(out[0]), int(out[1])


# ---- memory, teardown ----

@contextlib.contextmanager
def running(bench, *inside):
    """A session whose command said that it runs."""
    child = subprocess.Popen([os.fspath(a) for a in bench.immure("dev", *inside)],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=bench.ws,
                             env=bench.me.env)
    try:
        if child.stdout.read(1) != b".":
            sys.exit("bench: the command did not start")
        yield child
    finally:
        child.communicate()


def descendants(pid):
    found = [pid]
    for p in found:
        with contextlib.suppress(OSError):
            for task in pathlib.Path("/proc/%d/task" % p).iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def smaps(pid, *fields):
    text = pathlib.Path("/proc/%d/smaps_rollup" % pid).read_text()
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith(fields))


def memory(bench):
    with running(bench, bench.ws / "probe", "hold") as child:
        time.sleep(0.2)  # who began the namespaces has ended, and is waited for
        ours = [p for p in descendants(child.pid)
                if pathlib.Path("/proc/%d/comm" % p).read_text().strip() != "probe"]
        private = sum(smaps(p, "Private_") for p in ours)
        anonymous = sum(smaps(p, "Pss_Anon:") for p in ours)
        pss = sum(smaps(p, "Pss:") for p in ours)
    print("\nmemory beside the command, KB in %d processes: private %d (anonymous %d), "
          "proportional %d" % (len(ours), private, anonymous, pss))
    bench.results["memory"] = {"private_kb": private, "anonymous_kb": anonymous, "pss_kb": pss,
                               "processes": len(ours)}
    bench.judge("private memory of supervisor and init", private, 400, " KB")


def teardown(bench):
    took = []
    for _ in range(3 if bench.quick else 15):
        with running(bench, bench.ws / "probe", "family", "8") as child:
            pids = descendants(child.pid)
            if len(pids) < 3:
                sys.exit("bench: teardown: init is missing")
            # The daemons are children of init, but reparented: look again.
            fds = [os.pidfd_open(p) for p in pids]
            poll = select.poll()
            for fd in fds:
                poll.register(fd, select.POLLIN)
            start = time.monotonic_ns()
            os.kill(child.pid, signal.SIGKILL)
            left = set(fds)
            while left:
                for fd, _ in poll.poll(10000) or sys.exit("bench: teardown: something stayed"):
                    poll.unregister(fd)
                    left.discard(fd)
            took.append((time.monotonic_ns() - start) / 1000)
            for fd in fds:
                os.close(fd)
    print("\nkill -9 of the supervisor until the last of %d processes is gone: p50 %.0f us, "
          "most %.0f us" % (len(pids), statistics.median(took), max(took)))
    bench.results["teardown"] = {"processes": len(pids), "p50_us": statistics.median(took),
                                 "most_us": max(took)}


# ---- many ----

def at_once(bench, argv, count):
    """ms until all of them run, and from letting them go until all are reaped."""
    argv = [os.fspath(a) for a in argv]
    in_r, in_w = os.pipe()
    out_r, out_w = os.pipe()
    actions = [(os.POSIX_SPAWN_DUP2, in_r, 0), (os.POSIX_SPAWN_DUP2, out_w, 1)]
    start = time.monotonic()
    pids = [os.posix_spawn(argv[0], argv, bench.me.env, file_actions=actions)
            for _ in range(count)]
    os.close(out_w)
    os.close(in_r)
    got = 0
    while got < count:
        data = os.read(out_r, count)
        if not data:
            sys.exit("bench: many: one of them did not start")
        got += len(data)
    up = time.monotonic()
    os.close(in_w)
    for pid in pids:
        if os.waitpid(pid, 0)[1]:
            sys.exit("bench: many: one of them failed")
    end = time.monotonic()
    os.close(out_r)
    return (up - start) * 1000, (end - up) * 1000


def many(bench):
    count = 20 if bench.quick else 100
    hold = [bench.ws / "probe", "hold"]
    lines = {"plain": hold, "immure-strict": bench.immure("strict", *hold)}
    if bench.bwrap.program:
        lines["bwrap-as-strict"] = bench.bwrap.like(bench.plan(bench.me, "strict"), *hold)
    takers = [lambda argv=argv: at_once(bench, argv, count) for argv in lines.values()]
    print("\n%d at once, ms until all run, until all are gone (p50)" % count)
    for name, samples in zip(lines, interleave(2 if bench.quick else 5, *takers)):
        up, down = (statistics.median(v) for v in zip(*samples))
        bench.results.setdefault("many", {})[name] = {"count": count, "up_ms": up,
                                                      "down_ms": down}
        print("  %-16s %7.1f %7.1f" % (name, up, down))
