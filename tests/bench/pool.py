# SPDX-License-Identifier: Apache-2.0
"""The part of the bench about pools: see bench.py."""
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time

NAMES = ("spawn", "exec", "spawn_first_byte", "acquire", "acquire_first_byte", "open", "open_first_byte",
         "open_planned", "open_planned_first_byte")


def call(bench, *argv):
    done = subprocess.run([str(bench.scratch / "immure"), *map(str, argv)], cwd=bench.ws, check=False,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        sys.exit("bench: pool: %s: %s" % (argv, done.stderr.decode(errors="replace")))
    return done.stdout.decode()


def private_kb(pids):
    """Of these processes and all below them: what only they have."""
    total = 0
    todo = list(pids)
    while todo:
        pid = todo.pop()
        with contextlib.suppress(OSError):
            for line in open("/proc/%d/smaps_rollup" % pid):
                if line.startswith("Private_"):
                    total += int(line.split()[1])
            for task in os.listdir("/proc/%d/task" % pid):
                todo += map(int, open("/proc/%d/task/%s/children" % (pid, task)).read().split())
    return total


def by_library(bench, report):
    program = bench.scratch / "pool"
    if not program.exists():
        print("  left out: no libimmure.so to link with")
        return
    quiet = bench.ws / "nop" if (bench.ws / "nop").exists() else "/bin/true"
    done = subprocess.run([program, bench.scratch / "immure", bench.ws, quiet, "/bin/echo",
                           "20" if bench.quick else "400"], cwd=bench.ws, stdout=subprocess.PIPE, check=False)
    rows = [[int(n) / 1000 for n in line.split()] for line in done.stdout.decode().splitlines()]
    if done.returncode or not rows:
        sys.exit("bench: pool: a command did not work, or was not confined")
    columns = dict(zip(NAMES, zip(*rows)))
    for name in NAMES:
        report[name + "_us"] = statistics.median(columns[name])
        report[name + "_least_us"] = min(columns[name])
        print("  %-24s %9.0f us p50 %7.0f least" % (name, report[name + "_us"], min(columns[name])))
    for what, of, target in (("exec", "spawn", 1.3), ("acquire_first_byte", "spawn_first_byte", 1.5)):
        ratio = statistics.median(a / b for a, b in zip(columns[what], columns[of]))
        report[what + "_ratio"] = ratio
        bench.judge("%s against posix_spawn" % what, ratio, target, "x")


def after_template(bench, report):
    """A sandbox for each command. `inside` looks from inside, so each of its samples is checked."""
    program, ws = bench.scratch / "zygote", bench.ws
    if not program.exists() or not {"static", "inside"} <= bench.programs.keys():
        print("  template: left out: no libimmure.so to link with, or nothing links statically")
        return
    rounds = 20 if bench.quick else 400

    def lines(count, pause):
        done = subprocess.run([program, bench.scratch / "immure", ws, ws / "nop", ws / "inside", str(count),
                               str(pause)], cwd=ws, stdout=subprocess.PIPE, check=False)
        if done.returncode:
            sys.exit("bench: pool: a command after a template did not work, or was not alone")
        return [[int(n) / 1000 for n in line.split()] for line in done.stdout.decode().splitlines()]

    for name, pause in (("paced", 5000), ("back_to_back", 0)):
        rows = lines(rounds, pause)
        for column, what in enumerate(("spawn", "static", "inside", "inside_outside")):
            values = sorted(r[column] for r in rows)
            report.setdefault("template", {}).setdefault(name, {})[what] = {
                "p50_us": statistics.median(values), "least_us": values[0]}
        of = report["template"][name]
        print("  after a template, %-12s %5.0f us to exit (least %.0f), spawned %.0f; looked at from inside "
              "%.0f, that program spawned %.0f" % (
                  name.replace("_", " "), of["static"]["p50_us"], of["static"]["least_us"],
                  of["spawn"]["p50_us"], of["inside"]["p50_us"], of["inside_outside"]["p50_us"]))
    count = 100 if bench.quick else 2000
    took = lines(count, "bulk")[0][0]
    report["template"]["bulk_us_each"] = took / count
    print("  %d after a template, 16 at a time: %.0f us each" % (count, took / count))
    for what, column in (("request to exit", "static"), ("each looked at from inside", "inside")):
        bench.judge("a sandbox for a command, %s" % what,
                    report["template"]["paced"][column]["p50_us"] / 1000, 0.6, "ms")


def each_answers(bench, name):
    """A command in every one of them; how many there were, ms each."""
    made = [s["session"] for s in json.loads(call(bench, "ps", "--json", "--all"))
            if s["labels"].get("pool") == name]
    start = time.perf_counter()
    for session in made:
        call(bench, "exec", session, "--", bench.programs.get("static", "/bin/true"))
    return len(made), (time.perf_counter() - start) * 1000 / len(made)


def idle_ones(bench, report):
    for n in (20,) if bench.quick else (100, 1000):
        name = "bench%d-%d" % (os.getpid(), n)
        start = time.perf_counter()
        stats = json.loads(call(bench, "pool", "start", "--json", "--no-policy", "--name", name,
                                "--workspace", bench.ws, "--size", n, "--max", n))
        made = time.perf_counter() - start
        try:
            kb = private_kb([stats["holder_pid"]]) / n
            start = time.perf_counter()
            call(bench, "gc")
            gc = time.perf_counter() - start
            start = time.perf_counter()
            call(bench, "ps")
            ps = time.perf_counter() - start
            alive, answer = each_answers(bench, name)
            if alive != n:
                sys.exit("bench: pool: %d of %d idle sessions are there" % (alive, n))
        finally:
            start = time.perf_counter()
            call(bench, "pool", "stop", name)
        end = time.perf_counter() - start
        report["idle_%d" % n] = {"made_s": made, "private_kb": kb, "gc_s": gc, "ps_s": ps,
                                 "answer_ms": answer, "end_s": end}
        print("  %4d idle sessions: made in %.2f s, %.0f KB private each, gc %.0f ms, ps %.0f ms, a command in "
              "each %.1f ms, all ended in %.2f s" % (n, made, kb, gc * 1000, ps * 1000, answer, end))
        bench.judge("private memory of an idle session", kb, 400, "KB")
        if n == 1000:
            bench.judge("1000 idle sessions made", made, 1.0, "s")


def pool(bench):
    print("\npool")
    report = bench.results.setdefault("pool", {})
    by_library(bench, report)
    after_template(bench, report)
    idle_ones(bench, report)
