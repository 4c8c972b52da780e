# SPDX-License-Identifier: Apache-2.0
"""A command more in a place that is there, by us and by others; and bubblewrap, which
makes a place for each. Interleaved, each sample's status and confinement looked at."""
import contextlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile

import rivals

# Where crun finds no v2 hierarchy beside v1, which it refuses.
INSIDE = lambda ns: ["nsenter", "--mount=" + ns] if ns else []  # noqa: E731


def quiet(argv):
    """Status and output; what goes on in the background may keep that open."""
    with tempfile.TemporaryFile() as out:
        code = subprocess.run([os.fspath(a) for a in argv], stdin=subprocess.DEVNULL, stdout=out,
                              stderr=subprocess.STDOUT, check=False).returncode
        out.seek(0)
        return code, out.read().decode(errors="replace").strip()


@contextlib.contextmanager
def in_bwrap(bench, _ns):
    """nsenter into all namespaces of a living bubblewrap."""
    told, tell = os.pipe()
    line = bench.bwrap.plain(bench.ws, bench.ws / "probe", "hold")
    line[1:1] = ["--info-fd", str(tell)]
    held = subprocess.Popen([os.fspath(a) for a in line], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            pass_fds=[tell])
    os.close(tell)
    try:
        os.read(held.stdout.fileno(), 100)
        pid = json.loads(os.read(told, 4096))["child-pid"]  # said before the program begins
        yield lambda *a: [shutil.which("nsenter"), "-t", str(pid), "-a", "--preserve-credentials", *a]
    finally:
        os.close(told)
        held.communicate(b"")


@contextlib.contextmanager
def in_crun(bench, ns):
    name = "immure-bench-%d" % os.getpid()
    line = rivals.crun(bench.scratch, bench.ws, ["/usr/bin/sleep", "100000"], "exec-" + name)
    at = line.index("run")
    code, said = quiet([*INSIDE(ns), *line[:at + 1], "--detach", *line[at + 1:-1], name])
    base = [*INSIDE(ns), *line[:at]]
    try:
        if code:
            raise RuntimeError(said)
        yield lambda *a: [*line[:at], "exec", name, *a]
    finally:
        quiet([*base, "delete", "--force", name])


@contextlib.contextmanager
def in_podman(bench, ns):
    place = bench.scratch / "podman"
    (place / "rootfs/usr").mkdir(parents=True)
    (place / "rootfs" / str(bench.ws).lstrip("/")).mkdir(parents=True)
    for d in ("bin", "sbin", "lib", "lib64"):
        if pathlib.Path("/", d).is_symlink():
            (place / "rootfs" / d).symlink_to(os.readlink("/" + d))
    name = "immure-bench-%d" % os.getpid()
    podman = [shutil.which("podman"), "--root", place / "root", "--runroot", place / "run", "--storage-driver",
              "vfs", "--cgroup-manager", "cgroupfs", "--runtime", "crun"]
    code, said = quiet([*INSIDE(ns), *podman, "run", "-d", "--name", name, "--network=none", "--cgroups=disabled",
                        "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000", "-v", "/usr:/usr:ro", "-v",
                        "%s:%s" % (bench.ws, bench.ws), "--rootfs", place / "rootfs", "/usr/bin/sleep", "100000"])
    try:
        if code:
            raise RuntimeError(said)
        yield lambda *a: [*podman, "exec", name, *a]
    finally:
        quiet([*INSIDE(ns), *podman, "rm", "--force", "--time", "0", name])


PEERS = (("nsenter into bwrap", "bwrap", 1, False, in_bwrap, rivals.other(*rivals.ALL)),
         ("crun exec", "crun", 4, True, in_crun, rivals.other("pid", "mnt", "net")),
         ("podman exec", "podman", 8, True, in_podman, rivals.other("pid", "mnt", "net")))


def lines_of(bench, session, stack, hidden_ns):
    """(label, every, options of launch, argv -> argv, points); what cannot run says why."""
    yield ("immure exec", 1, [], lambda *a: [bench.scratch / "immure", "exec", session, "--", *a],
           rivals.IMMURE_POINTS)
    if bench.bwrap.program:
        yield ("bwrap each", 1, [], lambda *a: bench.bwrap.plain(bench.ws, *a), rivals.BWRAP_POINTS)
    for label, program, every, hidden, make, points in PEERS:
        if not shutil.which(program):
            print("  left out: %s: not installed" % label)
            continue
        try:
            line = stack.enter_context(make(bench, hidden_ns if hidden else None))
        except (RuntimeError, OSError, ValueError) as e:
            print("  left out: %s: %s" % (label, str(e).splitlines()[-1] if str(e) else "no reason given"))
            continue
        yield label, every, ["ns=" + hidden_ns] if hidden and hidden_ns else [], line, points


def peers(bench, session, program, result):
    rounds, budget = (12, 4) if bench.quick else (300, 25)
    here = ["check"] + ["same:%s=%s" % (n, os.readlink("/proc/self/ns/" + n)) for n in rivals.ALL]
    argv = [bench.scratch / "launch", rounds, budget, "plain", program, "::", bench.ws / "probe", *here]
    with rivals.without_v2() as hidden_ns, contextlib.ExitStack() as stack:
        for label, every, options, line, points in lines_of(bench, session, stack, hidden_ns):
            check = line(bench.ws / "probe", "check", *points)
            if bench.usable(bench.me, label.replace(" ", "-"), options, check):
                argv += [";", label.replace(" ", "-"), "every=%d" % every, *options, *line(program), "::", *check]
        text = bench.me.output(list(map(str, argv)), cwd=bench.ws)
    table = result["peers"] = {}
    print("\n  one more command, as a process of its own each, us: min   p50")
    for line in text.splitlines():
        label, *values = line.split()
        ns = sorted(int(v) / 1000 for v in values if v != "-")
        table[label] = {"min_us": ns[0], "p50_us": statistics.median(ns), "n": len(ns)}
        print("  %-42s %10.0f %5.0f" % (label, ns[0], table[label]["p50_us"]))


