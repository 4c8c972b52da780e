# SPDX-License-Identifier: Apache-2.0
"""The suites under other kernels: what is run there, and what comes back.

IMMURE_GUESTS names the guests ("6.1 6.12"), IMMURE_GUEST_TESTS is "short" (a
few minutes: what differs between kernels), "all" (live and escape whole) or words of
runtests ("escape live/test_files.py"). Guests that are more than another kernel have
one set of tests, of their own.

Whole suites take hours. They are run in sittings of IMMURE_GUEST_TIME seconds: what
came of each test is kept beside the kernels as it ends (ledger.py), for these programs
only, and the next sitting goes on from there. Only when nothing is left can it pass."""
import hashlib
import json
import os
import pathlib
import shlex
import sys
import tempfile
import time

import arm
import vm

sys.path.insert(0, str(vm.TOP / "tests"))
import ledgerfile as ledger  # noqa: E402

# Mounts, masks, limits, identity, names caught by nf_tables, and one act of each kind: the
# parts of the program that ask a kernel what it has. The files by name: to read all the
# others only to leave them out takes a guest longer than some tests.
SHORT = {
    "live/test_limits.py live/test_doctor.py live/test_files.py live/test_egress_denied.py"
    " live/test_egress_names.py live/test_egress_worker.py live/test_gatekeeper_limits.py live/test_workspaces.py":
        "(test_limits and (memory or processes) and (root or delegated) and not family and not threads)"
        " or (test_doctor and not enosys and cgroup_facts) or (test_files and mask and user)"
        " or (test_egress_denied and (unlisted_ports or sendto and quic and names) and user)"
        " or (test_egress_names and each_family_inside and user)"
        " or (test_egress_worker and what_is_held)"
        " or (test_workspaces and what_was_changed and user)"
        " or (test_gatekeeper_limits and (frozen or granted or sessions_group))",
    # Not of profile ci: that attack fills its process limit, which takes too long here.
    "escape/test_prove.py":
        "((everything_holds and (dev or strict)) or limits_are_tried or host_network)"
        " and (root or user) and not enosys",
}
# Between this and the kernels that most of us have, less has changed.
SHORTER = {
    "live/test_limits.py live/test_doctor.py":
        "(test_limits and (memory or processes) and delegated and not family and not threads)"
        " or (test_doctor and not enosys and cgroup_facts)",
    "escape/test_prove.py":
        "((everything_holds and (dev or strict) and user) or (limits_are_tried and root)) and not enosys",
}
OWN = {"ubuntu": {"guest/test_apparmor.py": ""}, "systemd": {"guest/test_scope.py": ""}}
SLOWER = 12  # emulation against this machine's own processor, with room


def whole(kernel):
    """The words of what is run in sittings, or None."""
    words = os.environ.get("IMMURE_GUEST_TESTS", "short")
    if words == "short" or kernel in OWN or kernel == "arm64":
        return None
    return "escape live" if words == "all" else words


def jobs_of(kernel, select):
    """[(suites, expression)]"""
    if kernel in OWN:
        return [(suite, select or expression) for suite, expression in OWN[kernel].items()]
    short = SHORTER if kernel == "6.12" else SHORT
    return [(suite, select or expression) for suite, expression in short.items()]


def preamble(kernel):
    lines = ["export IMMURE_TEST_SLOWER=%d CI= IMMURE_MUST_RUN=" % SLOWER,
             "export IMMURE_GUEST_STORE=%s" % shlex.quote(str(vm.STORE / kernel))]
    if kernel != "systemd":  # which does it itself
        lines.append("echo '+memory +pids +cpu' >/sys/fs/cgroup/cgroup.subtree_control")
    return lines


def runner(build):
    return "/usr/bin/python3 tools/runtests.py --build %s" % shlex.quote(str(build))


def script(kernel, build, select):
    lines = preamble(kernel)
    jobs = jobs_of(kernel, select)
    for number, (suites, expression) in enumerate(jobs):
        lines.append("%s %s %s --json /mnt/out/result.%d >>/mnt/out/log 2>&1" % (
            runner(build), suites, "-k " + shlex.quote(expression) if expression else "", number))
    return "\n".join(lines), len(jobs)


def end_of(path, size=20000):
    """What a guest said last."""
    return path.read_text(errors="replace")[-size:] if path.exists() else ""


def programs(build):
    """What the answers are answers about."""
    digest = hashlib.sha256()
    for path in sorted(build.glob("immure*")):
        if path.is_file():
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def sitting(kernel, build, select):
    """One more sitting; the total of it and of those before."""
    total = {"passed": 0, "failures": [], "skips": []}
    seconds = float(os.environ.get("IMMURE_GUEST_TIME", 4 * 3600))
    out = vm.STORE / "whole" / kernel
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"ledger.{programs(build)}"
    words = whole(kernel) + (" -k " + shlex.quote(select) if select else "")
    command = "\n".join(preamble(kernel) + [
        f"export IMMURE_TEST_LEDGER=/mnt/out/{path.name}", f"{runner(build)} {words} >>/mnt/out/log 2>&1"])
    (out / "log").unlink(missing_ok=True)
    ended = True
    try:
        vm.run(kernel, command, out, timeout=seconds, cpus=1)
    except vm.Unavailable as why:
        total["skips"].append(("guest", str(why)))
        return total
    except vm.Broken as why:
        ended = False
        print(why)
    tests, selected = ledger.read(path)
    left = []
    for name in (name for suite in selected.values() for name in suite):
        entry = tests.get(name, {"came": None})
        name = name.replace(".py", "", 1)
        if entry["came"] == ledger.PASSED:
            total["passed"] += 1
        elif entry["came"] == ledger.SKIPPED:
            total["skips"].append((name, entry["why"]))
        elif entry["came"] == ledger.FAILED:
            total["failures"].append("%s: %s" % (name, entry["why"]))
        else:
            left.append(name)
    unseen = {word.partition("/")[0] for word in whole(kernel).split()} - set(selected)
    if left or unseen or not ended:
        total["failures"].append("guest: %d tests have no answer yet%s: run it again to go on" % (
            len(left), "".join(", nor has any of " + suite for suite in sorted(unseen))))
    if total["failures"]:
        sys.stdout.write(end_of(out / "log"))
    return total


def run_one(kernel, build, select):
    if whole(kernel):
        return sitting(kernel, build, select)
    total = {"passed": 0, "failures": [], "skips": []}
    # Not in /tmp, where other suites look for what they left.
    vm.STORE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="guest-", dir=vm.STORE) as scratch:
        out = pathlib.Path(scratch)
        command, jobs = script(kernel, build, select)
        try:
            if kernel == "arm64":
                return arm.run(out, build / "arm64")
            # One processor: two that are emulated spend most of their time waiting for each
            # other, and what differs between kernels does not differ by their number.
            vm.run(kernel, command, out, timeout=420, cpus=1)
        except vm.Unavailable as why:
            total["skips"].append(("guest", str(why)))
            return total
        except vm.Broken as why:
            total["failures"].append("guest: %s" % why)
            sys.stdout.write(end_of(out / "log"))
            return total
        for number in range(jobs):
            path = out / f"result.{number}"
            if not path.exists():
                total["failures"].append("guest: no result of %d" % number)
                continue
            part = json.loads(path.read_text())
            total["passed"] += part["passed"]
            total["failures"] += part["failures"]
            total["skips"] += [tuple(each) for each in part["skips"]]
        if total["failures"]:
            sys.stdout.write(end_of(out / "console", 4000) + end_of(out / "log"))
    return total


def run_all(build, select):
    """One after another: other suites go beside them."""
    for kernel in os.environ.get("IMMURE_GUESTS", "6.1 6.12").split():
        start = time.monotonic()
        result = run_one(kernel, build, select)
        print("kernel %s: %d passed, %d failed, %d skipped (%.0f s)" % (
            kernel, result["passed"], len(result["failures"]), len(result["skips"]),
            time.monotonic() - start), flush=True)
        yield kernel, result
