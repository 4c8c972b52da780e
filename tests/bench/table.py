#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Puts the figures that bench.py --json wrote into docs/PERFORMANCE.md, between
its two markers: table.py FIGURES.json docs/PERFORMANCE.md"""
import json
import pathlib
import re
import sys

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
WORK_LABELS = {"landlock": "Landlock alone", "seccomp": "one-instruction filter alone",
               "both": "both of these alone"}
TARGETS = {"true": "`/bin/true` (dynamic, glibc)", "static": "a static program that only exits"}


def row(*cells):
    return "| " + " | ".join(str(c) for c in cells) + " |"


def head(*cells):
    return [row(*cells), row(*(["---"] + ["---:"] * (len(cells) - 1)))]


def launch(results):
    for i, (who, tables) in enumerate(results["launch"].items()):
        person = "root" if who == "root" else "an ordinary user"
        for target, rows in tables.items():
            yield from ["", "### Launching %s as %s" % (TARGETS.get(target, target), person), ""]
            yield from head("", "min", "median", "p90", "over plain: median", "least",
                            "of bwrap, plain view", "of bwrap, same view", "least")
            for label, r in rows.items():
                total, over = r["total_us"], r["over_us"]
                like = "bwrap-as-" + ("dev" if label.endswith("dev") else "strict")
                ratios = ["%.2f" % (over[k] / rows[o]["over_us"][k])
                          if o in rows and label != "plain" else ""
                          for o, k in (("bwrap-plain", "p50"), (like, "p50"), (like, "least"))]
                yield row(label, *("%.0f" % total[k] for k in ("min", "p50", "p90")),
                          *("%.0f" % over[k] for k in ("p50", "least")), *ratios)
        if i == 0:
            yield from ["", "Microseconds from spawn to reaped; each row is as many samples as "
                        "the bench takes, one of each a round."]


def inside(results):
    if "operations" in results:
        yield from ["", "### One operation inside, ns", ""]
        yield from head("", "plain", "dev", "strict", "dev − plain", "strict − plain")
        for name, r in results["operations"].items():
            plain, dev, strict = r["plain_ns"], r["dev_ns"], r["strict_ns"]
            yield row(name, "%.0f" % plain, "%.0f" % dev, "%.0f" % strict,
                      "%+.0f" % (dev - plain), "%+.0f" % (strict - plain))
    if "workloads" in results:
        yield from ["", "### Whole work inside `dev`, ms", ""]
        yield from head("", "median", "least", "of plain: median", "least", "CPU time")
        for name, rows in results["workloads"].items():
            for label, r in rows.items():
                yield row("%s, %s" % (name, WORK_LABELS.get(label, label)),
                          "%.1f" % r["p50_ms"], "%.1f" % r["least_ms"],
                          *("%.3f" % r[k] for k in ("p50_ratio", "least_ratio", "cpu_ratio")))


def stages(results):
    yield from ["", "### Where a launch spends it, µs", ""]
    profiles = results["stages"]
    names = list(dict.fromkeys(n for p in profiles.values() for n in p))
    yield from head("", *profiles)
    for name in names:
        yield row(name, *("%.0f" % p[name] if name in p else "" for p in profiles.values()))


def rest(results):
    yield from ["", "### Beside the command", ""]
    yield from head("", "")
    if "memory" in results:
        m = results["memory"]
        yield row("private memory of supervisor and init", "%d KB" % m["private_kb"])
        yield row("anonymous memory of both", "%d KB" % m["anonymous_kb"])
        yield row("proportional memory (Pss)", "%d KB" % m["pss_kb"])
    for name, r in results.get("parent", {}).items():
        yield row("session from a program with %s: until started, until ended" % name,
                  "%.0f, %.0f µs" % (r["start"]["p50"], r["all"]["p50"]))
    if "teardown" in results:
        t = results["teardown"]
        yield row("kill -9 of the supervisor until the last of %d processes is gone" %
                  t["processes"], "%.0f µs, at most %.0f" % (t["p50_us"], t["most_us"]))
    for name, r in results.get("many", {}).items():
        yield row("%d at once, %s: until all run, until all are gone" % (r["count"], name),
                  "%.0f, %.0f ms" % (r["up_ms"], r["down_ms"]))


def backends(results):
    rows = results["backends"]
    yield from ["", "### Backends: a start, µs", ""]
    yield from head("", "whole: least", "median", "sealing in: least", "median",
                    "of native: whole", "sealing in")
    for name, r in rows["start"].items():
        yield row(person(name), *("%.0f" % r[p][k] for p in ("whole", "sealing")
                                  for k in ("least_us", "p50_us")),
                  *("%.2f" % r["of_native"][k] for k in ("whole", "sealing")))
    yield from ["", "### Backends: a command in a living session, µs", ""]
    yield from head("", "least", "median", "plain: median")
    for name, r in rows["exec"].items():
        yield row(name, *("%.0f" % r[k] for k in ("least_us", "p50_us", "plain_p50_us")))
    for part, title in (("connect", "connect, µs"), ("first", "connect, a byte there and back, µs")):
        if part in rows["connect"]:
            yield from ["", "### Backends: " + title, ""]
            yield from head("", "least", "median", "of direct")
            for name, r in rows["connect"][part].items():
                yield row(name, "%.1f" % r["min"], "%.1f" % r["p50"], "%.2f" % r["ratio"])


def network(results):
    net = results["network"]
    yield from ["", "### Network, as an ordinary user", ""]
    yield from head("start of `true`, µs", "min", "median", "p90")
    for name, r in net["start"].items():
        yield row(name, *("%.0f" % r[k] for k in ("min", "p50", "p90")))
    for part, title in (("connect", "connect, µs"),
                        ("first", "connect, a byte there and back, µs"),
                        ("dns", "looking up a name, µs"), ("down", "bulk down, GB/s"),
                        ("up", "bulk up, GB/s")):
        yield ""
        yield from head(title, "median", "over direct", "of direct")
        digits = "%.2f" if "GB" in title else "%.0f"
        for name, r in net[part].items():
            yield row(name, digits % r["p50"], "" if name == "direct" else digits % r["over"],
                      "%.2f" % r["ratio"])


def person(text):
    return re.sub("imbench[0-9]+", "an ordinary user", text)


def judged(results):
    yield from ["", "### Targets", ""]
    yield from head("", "measured", "target", "")
    for t in results["targets"]:
        yield row(person(t["what"]), "%.3g%s" % (t["value"], t["unit"]), "%g%s" % (t["target"], t["unit"]),
                  "met" if t["pass"] else "missed")


def lines(results):
    m = results["machine"]
    programs = ", ".join(m["programs"].values())
    yield "Kernel %s, %s, %d CPUs; %s. Load %.1f before, %.1f after." % (
        m["kernel"], m["arch"], m["cpus"], programs, results["load_before"][0],
        results["load_after"][0])
    yield from judged(results)
    if "launch" in results:
        yield from launch(results)
    if "stages" in results:
        yield from stages(results)
    yield from inside(results)
    yield from rest(results)
    if "backends" in results:
        yield from backends(results)
    if "network" in results:
        yield from network(results)


def main():
    results = json.loads(pathlib.Path(sys.argv[1]).read_text())
    path = pathlib.Path(sys.argv[2])
    text = path.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    path.write_text(before + BEGIN + "\n" + "\n".join(lines(results)) + "\n" + END + after)


if __name__ == "__main__":
    main()
