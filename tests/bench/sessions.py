# SPDX-License-Identifier: Apache-2.0
"""Sessions that many commands run in."""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import peers
import work


def cli(bench, *argv):
    return bench.me.output([bench.scratch / "immure", *argv])


def make(bench, *flags):
    return json.loads(cli(bench, "create", "--json", "--workspace", bench.ws, *flags))["session"]


def pids(bench, session):
    known = json.loads(cli(bench, "inspect", "--json", session))
    top = known["supervisor_pid"]
    return [top, *work.descendants(top)]


def private(bench, session):
    return sum(work.smaps(p, "Private_") for p in pids(bench, session))


def library(bench, session, program, result):
    rounds = 200 if bench.quick else 3000
    text = bench.me.output([bench.scratch / "session", session, program, str(rounds)])
    rows = [tuple(int(n) / 1000 for n in line.split()) for line in text.splitlines()]
    for k, name in enumerate(("plain", "lane", "server")):
        values = sorted(r[k] for r in rows)
        result[name] = {"p50_us": statistics.median(values), "least_us": values[0]}
        print("  %-8s %7.0f us p50 %7.0f least" % (name, statistics.median(values), values[0]))
    for name in ("lane", "server"):
        result[name]["ratio"] = statistics.median(r[{"lane": 1, "server": 2}[name]] / r[0] for r in rows)
    bench.judge("exec in a session, request to status, over spawn and wait", result["lane"]["ratio"],
                1.3, "x")


def timed(argv):
    start = time.perf_counter()
    if subprocess.run([os.fspath(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                      check=False).returncode:
        sys.exit("bench: %s failed: not a sample" % argv)
    return (time.perf_counter() - start) * 1e3


def command_line(bench, session, program, result):
    over, took = [], []
    for _ in range(20 if bench.quick else 200):
        floor = timed([program])
        took.append(timed([bench.scratch / "immure", "exec", session, "--", program]))
        over.append(took[-1] - floor)
    result["cli"] = {"p50_ms": statistics.median(took), "over_ms": statistics.median(over)}
    print("  immure exec %.2f ms, %.2f over plain" % (result["cli"]["p50_ms"], result["cli"]["over_ms"]))
    bench.judge("immure exec over plain", result["cli"]["over_ms"], 2, " ms")


def flat(bench, session, program, result):
    before = private(bench, session)
    callers, each = 8, 100 if bench.quick else 1250
    running = [subprocess.Popen([bench.scratch / "session", session, program, str(each), "flat"])
               for _ in range(callers)]
    if any(r.wait() for r in running):
        sys.exit("bench: a caller failed: not a sample")
    after = private(bench, session)
    fds = len(os.listdir("/proc/%d/fd" % pids(bench, session)[0]))
    result["flat"] = {"execs": callers * each, "private_before_kb": before, "private_after_kb": after,
                      "descriptors": fds}
    print("  %d execs by %d callers: private %d KB before, %d after; %d descriptors" % (
        callers * each, callers, before, after, fds))


def one_by_one(bench, count):
    """ms for each, by a command each; they are ended again."""
    start = time.perf_counter()
    made = [make(bench) for _ in range(count)]
    took = (time.perf_counter() - start) * 1e3 / count
    for s in made:
        cli(bench, "stop", "--force", "--rm", s)
    return took


def idle_ones(bench, result):
    count = 50 if bench.quick else 1000
    each = one_by_one(bench, 10 if bench.quick else 50)
    start = time.perf_counter()
    made = [row["session"] for row in json.loads(cli(
        bench, "create", "--json", "--count", str(count), "--name", "bench%d" % os.getpid(), "--workspace", bench.ws))]
    create = time.perf_counter() - start
    tops = []
    try:
        tops = [pids(bench, s)[0] for s in made]
        memory = sum(work.smaps(p, "Private_") for top in tops for p in (top, *work.descendants(top))) / count
        start = time.perf_counter()
        cli(bench, "ps", "--json")
        listing = time.perf_counter() - start
        start = time.perf_counter()
        cli(bench, "gc", "--json")
        beside = time.perf_counter() - start
    finally:
        for p in tops:
            os.kill(p, 9)
    start = time.perf_counter()
    cli(bench, "gc", "--json")
    collecting = time.perf_counter() - start
    result["idle"] = {"count": count, "create_one_ms": each, "create_all_s": create, "private_kb": memory,
                      "ps_ms": listing * 1e3, "gc_beside_ms": beside * 1e3, "gc_ms": collecting * 1e3}
    print("  one by one %.1f ms each; %d at once: made in %.2f s, %d KB private each, ps %.0f ms, gc beside them "
          "%.0f ms, killed and gc %.0f ms" % (each, count, create, memory, listing * 1e3, beside * 1e3,
                                              collecting * 1e3))
    bench.judge("private memory of an idle session", memory, 400, " KB")
    if count == 1000:
        bench.judge("1000 idle sessions made", create, 1.0, " s")


def sessions(bench):
    program = bench.programs.get("static", pathlib.Path("/bin/true"))
    result = bench.results.setdefault("sessions", {})
    print("\na command in a living session")
    session = make(bench, "--rm")
    try:
        library(bench, session, program, result)
        command_line(bench, session, program, result)
        peers.peers(bench, session, program, result)
        flat(bench, session, program, result)
    finally:
        cli(bench, "stop", "--force", session)
    idle_ones(bench, result)
