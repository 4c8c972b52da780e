#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a command under another kernel.

The kernels are the distribution's own packages, downloaded once. The guest sees
this machine's tree read-only under a layer of its own, so the program that was
built here is the program that runs there; cgroups are version 2 alone. QEMU
emulates the processor: /dev/kvm may be there and unable to run Linux, so it is
not used. One directory, shared read-write, carries the job in and the results out.

    vm.py KERNEL -- COMMAND...     KERNEL: 6.1, 6.12, ubuntu or systemd

ubuntu is Ubuntu 24.04's, with the parser and the profiles of its AppArmor beside it;
systemd is 6.12 with this machine's systemd as the first process.
"""
import argparse
import gzip
import lzma
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading

import archive
from archive import Unavailable, version_key

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parents[1]
STORE = pathlib.Path(os.environ.get("IMMURE_KERNELS", TOP / "build" / "kernels"))
MODULES = ["virtio_pci", "virtio_blk", "crc32c_generic", "ext4", "9pnet_virtio", "9p", "overlay", "virtio_rng"]
# Names change with every update of the distribution: the newest of these.
PACKAGES = {"6.1": r"linux-image-6\.1\.[0-9.+a-z-]*-amd64$",
            "6.12": r"linux-image-6\.12\.[0-9.+a-z]*-amd64$"}

SYSTEMD = "/usr/lib/systemd/systemd"
# Nothing of this machine's own services, but for what a session of a user needs.
UNIT = """[Unit]
DefaultDependencies=no
Requires=dbus.service
After=dbus.service basic.target
[Service]
Type=oneshot
Delegate=yes
TimeoutStartSec=0
ExecStart=/bin/sh /mnt/out/command
"""


class Broken(Exception):
    """A guest was started and did not do its work."""


def out_of(*argv):
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
                          text=True).stdout


def package_of(kernel):
    names = [line.split()[0] for line in out_of("apt-cache", "search", "--names-only",
                                                "^linux-image-" + re.escape(kernel)).splitlines()]
    names = [n for n in names if re.match(PACKAGES[kernel], n) and "cloud" not in n and "-rt-" not in n]
    if not names:
        raise Unavailable(f"the package registry has no kernel {kernel}")
    return max(names, key=version_key)


def fetch_debian(kernel, place):
    """With this machine's own lists of packages."""
    package = package_of(kernel)
    got = subprocess.run(["apt-get", "download", "-q", "-o", "Acquire::Retries=2", "-o", "Acquire::http::Timeout=30",
                          package], cwd=place, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, check=False)
    if got.returncode:
        why = (got.stdout.strip().splitlines() or ["no reason given"])[-1]
        raise Unavailable(f"the package registry did not give {package}: {why}")
    deb, = place.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", deb, place], check=True)
    deb.unlink()


def fetch_ubuntu(place):
    """The kernel, and what loads profiles of AppArmor, with the libraries that it runs on."""
    packages = archive.ubuntu(place / "apt")
    image = packages.newest(r"linux-image-6\.8\.0-[0-9]+-generic")
    packages.unpack(place, image, image.replace("image", "modules"), "apparmor", "libc6", "libstdc++6", "libgcc-s1")
    shutil.rmtree(place / "apt")


def unpack(kernel):
    """Directory with boot/vmlinuz-* and lib/modules/*, made once."""
    if kernel == "systemd":
        if not os.access(SYSTEMD, os.X_OK):
            raise Unavailable("systemd is not installed")
        kernel = "6.12"
    place = STORE / kernel
    if (place / "done").exists():
        return place
    for tool in ("qemu-system-x86_64", "depmod", "mke2fs", "dpkg-deb", "apt-get", *(["zstd"] if kernel == "ubuntu" else [])):
        if not shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
            raise Unavailable(f"{tool} is not installed")
    if not pathlib.Path("/bin/busybox").exists():
        raise Unavailable("busybox-static is not installed")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    if kernel == "ubuntu":
        fetch_ubuntu(place)
    else:
        fetch_debian(kernel, place)
    release = next((place / "lib/modules").iterdir()).name
    subprocess.run(["depmod", "-b", place, release], check=True,
                   env=dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin"))
    (place / "done").write_text(release + "\n")
    return place


def needed_modules(tree, release, modules):
    """Paths of modules and what they depend on, in the order of loading."""
    base = tree / "lib/modules" / release
    deps = {}
    for line in (base / "modules.dep").read_text().splitlines():
        path, _, rest = line.partition(":")
        deps[path] = rest.split()
    by_name = {re.sub(r"\.ko(\.\w+)?$", "", pathlib.Path(p).name).replace("-", "_"): p for p in deps}
    order = []
    for name in modules:
        path = by_name.get(name)
        if not path:
            continue  # built in
        for each in list(reversed(deps[path])) + [path]:
            if each not in order:
                order.append(each)
    return [base / p for p in order]


def cpio_entry(name, mode, data=b"", number=[1]):
    number[0] += 1
    head = "070701" + "".join("%08x" % n for n in (
        number[0], mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0))
    out = head.encode() + name.encode() + b"\0"
    out += b"\0" * (-len(out) % 4) + data
    return out + b"\0" * (-len(out) % 4)


def module_entries(tree, release, modules):
    """The files of the initrd that are these modules, and their order."""
    parts, names = [], []
    for module in needed_modules(tree, release, modules):
        data = module.read_bytes()
        if module.suffix == ".xz":
            data = lzma.decompress(data)
        elif module.suffix == ".zst":
            data = subprocess.run(["zstd", "-dcq", module], stdout=subprocess.PIPE, check=True).stdout
        name = re.sub(r"\.(xz|zst)$", "", module.name)
        names.append(name)
        parts.append(cpio_entry("modules/" + name, 0o100644, data))
    return parts + [cpio_entry("modules.order", 0o100644, ("\n".join(names) + "\n").encode())]


def initrd(tree, release, path):
    parts = [cpio_entry("bin", 0o40755), cpio_entry("modules", 0o40755), cpio_entry("dev", 0o40755)]
    parts.append(cpio_entry("init", 0o100755, (HERE / "init").read_bytes()))
    parts.append(cpio_entry("top", 0o100644, f"{TOP}\n".encode()))
    parts.append(cpio_entry("bin/busybox", 0o100755, pathlib.Path("/bin/busybox").read_bytes()))
    parts += module_entries(tree, release, MODULES)
    parts.append(cpio_entry("TRAILER!!!", 0))
    path.write_bytes(gzip.compress(b"".join(parts), 1))


def share(tag, path, readonly):
    return ["-fsdev", f"local,id={tag},path={path},security_model=none,multidevs=remap" + (",readonly=on" if readonly else ""),
            "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]


def run(kernel, command, out, timeout, memory="3072", cpus=2, echo=None):
    """Runs command (text for sh) as root in the guest; returns its exit status.
    out: a directory, /mnt/out inside. The console goes to out/console."""
    tree = unpack(kernel)
    release = (tree / "done").read_text().strip()
    image = out / "initrd.gz"
    initrd(tree, release, image)
    (out / "status").unlink(missing_ok=True)
    (out / "command").write_text("#!/bin/sh\nexport PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root\n"
                                 f"( cd {shlex.quote(str(TOP))}\n{command}\n) </dev/null\n"
                                 "echo $? >/mnt/out/status\nsync\n/bin/busybox poweroff -f\nsleep 60\n")
    if kernel == "systemd":
        (out / "job.service").write_text(UNIT)
        start = f"mkdir -p /run/systemd/system; cp /mnt/out/job.service /run/systemd/system; exec {SYSTEMD} --unit=job.service --show-status=no"
    else:
        start = "exec /bin/sh /mnt/out/command"
    (out / "job").write_text(f"#!/bin/sh\n{start}\n")
    argv = ["qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", memory,
            "-smp", str(min(cpus, os.cpu_count() or 1)), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-serial", "stdio", "-kernel", str(tree / "boot" / f"vmlinuz-{release}"), "-initrd", str(image),
            "-append", "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off no5lvl cgroup_no_v1=all "
            "systemd.unified_cgroup_hierarchy=1 rdinit=/init immure.guest",
            "-device", "virtio-rng-pci"]
    disk = out / "disk"
    with open(disk, "wb") as f:
        f.truncate(8 << 30)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", disk], check=True,
                   env=dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin"))
    argv += ["-drive", f"file={disk},format=raw,if=none,id=disk,cache=unsafe", "-device", "virtio-blk-pci,drive=disk"]
    argv += share("tree", "/", True) + share("out", out, False)
    argv += share("modules", tree / "lib/modules" / release, True)
    with open(out / "console", "wb") as console:
        # However this process ends, the guest ends with it.
        guest = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *argv], stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        killer = threading.Timer(timeout, guest.kill)
        try:
            killer.start()
            for line in guest.stdout:
                console.write(line)
                console.flush()
                if echo:
                    echo(line.decode(errors="replace"))
        finally:
            killer.cancel()
            guest.kill()
            guest.wait()
    image.unlink()
    disk.unlink()
    status = out / "status"
    if not status.exists():
        said = (out / "console").read_text(errors="replace")[-2000:]
        raise Broken(f"the guest {kernel} did not finish its job (it had {timeout} s); its console:\n{said}")
    return int(status.read_text())


def main():
    p = argparse.ArgumentParser()
    p.add_argument("kernel", choices=[*PACKAGES, "ubuntu", "systemd"])
    p.add_argument("command", nargs="+")
    p.add_argument("--timeout", type=float, default=3600)
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as out:
        try:
            return run(a.kernel, shlex.join(a.command), pathlib.Path(out), a.timeout,
                       echo=lambda line: print(line, end="", flush=True))
        except Unavailable as why:
            print(f"vm: {why}", file=sys.stderr)
            return 77
        except Broken as why:
            print(f"vm: {why}", file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main())
