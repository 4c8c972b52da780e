#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every suite and adds up.

unit   meson test: cmocka programs, the fuzz corpora, whatever else is registered
house  pytest: layers, command line, install, man pages, completions
live, escape, fault
       pytest: the built program driven from outside
kernels
       some of live and escape once more, under other kernels (tests/kernels)
guest  pytest: what changes the machine it runs on; only in a guest, by kernels

The last line is "N passed, N failed, N skipped"; the exit status is 1 when
anything failed, when a suite broke or found nothing, or, with CI=true, when a
test was skipped that tests/skips.allowed does not name.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[1]
# In this order: the guests start with the first, and are waited for before the tests
# whose acts have deadlines.
ALL_SUITES = ["unit", "house", "escape", "kernels", "live", "fault"]
GUEST_SUITES = ["guest"]  # never with the others


class Sum:
    def __init__(self):
        self.passed = 0
        self.failures = []  # "suite: name: why"
        self.skips = []     # (id, reason)

    def add(self, other):
        self.passed += other.passed
        self.failures += other.failures
        self.skips += other.skips

    def __str__(self):
        return "%d passed, %d failed, %d skipped" % (
            self.passed, len(self.failures), len(self.skips))


def count_cmocka(output):
    """(passed, failed names, skipped names) of one cmocka program, or None."""
    if "[==========]" not in output:
        return None
    passed = sum(int(n) for n in re.findall(r"\[  PASSED  \] (\d+) test", output))
    failed = re.findall(r"\[  FAILED  \] ([A-Za-z_]\w*)", output)
    skipped = re.findall(r"\[  SKIPPED \] ([A-Za-z_]\w*)", output)
    return passed, sorted(set(failed)), sorted(set(skipped))


def read_meson_record(total, record):
    """One line of testlog.json: a program with many tests in it."""
    name = "unit/" + record["name"].split(" / ")[-1]
    output = record.get("stdout", "") + "\n" + record.get("stderr", "")
    cases = count_cmocka(output)
    result = record["result"]
    if cases:
        total.passed += cases[0]
        total.failures += ["%s: %s" % (name, case) for case in cases[1]]
        total.skips += [("%s::%s" % (name, case), "cmocka skip") for case in cases[2]]
    if result in ("OK", "EXPECTEDFAIL"):
        total.passed += 0 if cases else 1
    elif result == "SKIP":
        total.skips.append((name, "meson skip"))
    elif not (cases and cases[1]):
        total.failures.append("%s: %s" % (name, result))


def run_unit(build):
    total = Sum()
    if not (build / "build.ninja").exists():
        total.failures.append("unit: nothing is built in %s" % build)
        return total
    log = build / "meson-logs/testlog.json"
    log.unlink(missing_ok=True)
    status = subprocess.run(["meson", "test", "-C", str(build), "--print-errorlogs",
                             "--timeout-multiplier", "5"],
                            stdin=subprocess.DEVNULL, check=False).returncode
    if log.exists():
        for line in log.read_text(errors="replace").splitlines():
            read_meson_record(total, json.loads(line))
    if status and not total.failures:
        total.failures.append("unit: meson test ended with %d" % status)
    return total


def python_with_pytest():
    for python in (sys.executable, "/usr/bin/python3"):
        if subprocess.run([python, "-m", "pytest", "--version"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          check=False).returncode == 0:
            return python
    return None


def read_junit(total, suite, path):
    for case in ElementTree.parse(path).iter("testcase"):
        name = "%s/%s::%s" % (suite, case.get("classname", "").split(".")[-1], case.get("name"))
        bad = case.find("failure") if case.find("failure") is not None else case.find("error")
        skip = case.find("skipped")
        if bad is not None:
            why = (bad.get("message") or "").splitlines() or ["failed"]
            total.failures.append("%s: %s" % (name, why[0][:200]))
        elif skip is not None:
            total.skips.append((name, skip.get("message") or "no reason given"))
        else:
            total.passed += 1


# Tests of one suite that run beside its others, where there is a processor for them: they
# live in networks of their own, or in sandboxes like everything else.
BESIDE = {"live": ["test_egress_*.py", "test_gatekeeper.py"], "escape": ["test_zygote.py"],
          "fault": ["test_plumbing.py"]}


def run_pytest(suite, build, extra, files=()):
    """A suite, as two processes where a part of it may run beside the rest."""
    folder = ROOT / "tests" / suite
    if files:
        return pytest_once(suite, build, [str(folder / name) for name in files] + extra)
    beside = sorted(str(p) for pattern in BESIDE.get(suite, []) for p in folder.glob(pattern))
    if not list(folder.rglob("test_*.py")):
        return Sum()
    if not beside or (os.cpu_count() or 1) < 2 or extra:
        return pytest_once(suite, build, [str(folder)] + extra)
    rest = [str(folder)] + ["--ignore=" + path for path in beside]
    total = Sum()
    with concurrent.futures.ThreadPoolExecutor(1) as other:
        part = other.submit(pytest_once, suite, build, beside)
        total.add(pytest_once(suite, build, rest))
        total.add(part.result())
    return total


def pytest_once(suite, build, what):
    total = Sum()
    python = python_with_pytest()
    if not python:
        total.failures.append("%s: pytest is not there; 'make deps' installs it" % suite)
        return total
    env = dict(os.environ, IMMURE_BUILD=str(build), IMMURE=str(build / "immure"),
               PYTHONDONTWRITEBYTECODE="1", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    with tempfile.TemporaryDirectory() as scratch:
        junit = pathlib.Path(scratch) / "junit.xml"
        status = subprocess.run(
            [python, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", "-o", "junit_family=xunit1",
             "--junitxml", str(junit),
             "--basetemp", str(pathlib.Path(scratch) / "pytest"),
             "--rootdir", str(ROOT / "tests")] + what,
            stdin=subprocess.DEVNULL, env=env, cwd=ROOT, check=False).returncode
        if junit.exists():
            read_junit(total, suite, junit)
    if status not in (0, 1) or (status == 1 and not total.failures):
        total.failures.append("%s: pytest ended with %d" % (suite, status))
    return total


def run_kernels(build, extra):
    """What a guest with another kernel reports; names say which."""
    total = Sum()
    sys.path.insert(0, str(ROOT / "tests" / "kernels"))
    import guests  # noqa: E402  it needs much that the other suites do not
    for kernel, result in guests.run_all(build, extra):
        total.passed += result["passed"]
        total.failures += ["kernels/%s/%s" % (kernel, line) for line in result["failures"]]
        total.skips += [("kernels/%s/%s" % (kernel, name), reason) for name, reason in result["skips"]]
    return total


def matcher(pattern):
    """"*" stands for anything, everything else for itself."""
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")) + "$", re.DOTALL)


def allowed_skips():
    """Lines of tests/skips.allowed: NAME-PATTERN: REASON-PATTERN."""
    path = ROOT / "tests/skips.allowed"
    lines = path.read_text().splitlines() if path.exists() else []
    pairs = [line.split(": ", 1) for line in lines if line.strip() and not line.startswith("#")]
    return [(matcher(name), matcher(reason)) for name, reason in pairs]


def judge_skips(total):
    """In CI a skip that nobody allowed is a failure."""
    allowed = allowed_skips()
    must = os.environ.get("CI") == "true" or os.environ.get("IMMURE_MUST_RUN") == "1"
    for name, reason in total.skips:
        reason = " ".join(reason.split())
        print("skipped: %s: %s" % (name, reason))
        if must and not any(n.match(name) and r.match(reason) for n, r in allowed):
            total.failures.append("%s: skipped, and tests/skips.allowed does not name it" % name)


def may_seal():
    """Whether this user may make namespaces; Ubuntu's AppArmor restriction says no."""
    return os.geteuid() == 0 or subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "true"], stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


def become_root():
    """Where only root can seal anything in, the suites are root's to run."""
    if not shutil.which("sudo"):
        sys.exit("this host keeps user namespaces from unprivileged programs, and there is no sudo")
    print("this host keeps user namespaces from unprivileged programs; going on with sudo",
          flush=True)
    os.execvp("sudo", ["sudo", "--preserve-env=CI,IMMURE_MUST_RUN", sys.executable, *sys.argv])


def give_back(build):
    """Under sudo: what the suites wrote into the build directory is its owner's."""
    owner = (build / "build.ninja").stat() if (build / "build.ninja").exists() else None
    if os.geteuid() == 0 and owner and owner.st_uid:
        for path in (build / "meson-logs").rglob("*"):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def files_of(words):
    """"live" is a suite, "live/test_files.py" a file of one: {suite: names}."""
    files = {}
    for word in words:
        suite, _, name = word.partition("/")
        files.setdefault(suite, []).extend([name] if name else [])
    return files


def plan_of(files, build, extra, select):
    """(name, function) in order. The guests, one after another, go beside whatever comes
    before their own turn: tests that have no deadlines that matter."""
    suites = list(files)
    kernels = "kernels" in suites and concurrent.futures.ThreadPoolExecutor(1).submit(run_kernels, build, select)
    for suite in suites:
        if suite == "unit":
            yield suite, lambda: run_unit(build)
        elif suite == "kernels":
            yield suite, kernels.result
        else:
            yield suite, lambda: run_pytest(suite, build, extra, files.get(suite))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build", help="the build directory")
    parser.add_argument("suites", nargs="*", help="of %s, or a file of one, live/test_files.py; default: all"
                        % ", ".join(ALL_SUITES))
    parser.add_argument("-k", dest="select", help="passed on to pytest")
    parser.add_argument("--json", help="also write what came out to this file")
    options = parser.parse_args()
    files = files_of(options.suites or ALL_SUITES)
    unknown = set(files) - {*ALL_SUITES, *GUEST_SUITES}
    if unknown:
        parser.error("no such suite: %s" % ", ".join(sorted(unknown)))
    if not may_seal():
        become_root()
    build = pathlib.Path(options.build).resolve()
    extra = ["-k", options.select] if options.select else []
    total = Sum()
    for suite, run in plan_of(files, build, extra, options.select):
        start = time.monotonic()
        print("==== %s" % suite, flush=True)
        try:
            part = run()
        except Exception as why:  # what the other suites found is not lost with it
            traceback.print_exc()
            part = Sum()
            part.failures.append("%s: broke: %s" % (suite, why))
        total.add(part)
        print("==== %s: %s (%.0f s)" % (suite, part, time.monotonic() - start), flush=True)
    give_back(build)
    judge_skips(total)
    if total.passed == 0 and not total.failures:
        total.failures.append("nothing ran")
    for line in total.failures:
        print("FAILED: %s" % line)
    print(total, flush=True)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(
            {"passed": total.passed, "failures": total.failures, "skips": total.skips}))
    return 1 if total.failures else 0


if __name__ == "__main__":
    sys.exit(main())
