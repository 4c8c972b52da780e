# SPDX-License-Identifier: Apache-2.0
"""The launcher built for 64-bit ARM, and run under Debian's kernel for it.

Built with gcc's cross compiler against musl of that machine, whose package is unpacked
beside the kernel's; nothing of either is installed here. The guest is a busybox, the
programs of immure and arm64/job, which says of each thing it tries whether it held."""
import gzip
import os
import pathlib
import re
import shutil
import subprocess

import archive
import vm
from archive import Unavailable

HERE = pathlib.Path(__file__).resolve().parent
STORE = vm.STORE / "arm64"
COMPILER = "aarch64-linux-gnu-gcc"
TOOLS = {"qemu-system-aarch64": "qemu-system-arm", COMPILER: "gcc-aarch64-linux-gnu", "depmod": "kmod",
         "meson": "meson", "ninja": "ninja-build"}
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
HEADERS = pathlib.Path("/usr/aarch64-linux-gnu/include")


def fetch():
    """The kernel, busybox and musl, unpacked; once."""
    for tool, package in TOOLS.items():
        if not shutil.which(tool, path=PATH):
            raise Unavailable(f"{package} is not installed")
    if not (HEADERS / "asm/unistd.h").exists():
        raise Unavailable("linux-libc-dev-arm64-cross is not installed")
    if (STORE / "done").exists():
        return (STORE / "done").read_text().strip()
    shutil.rmtree(STORE, ignore_errors=True)
    STORE.mkdir(parents=True)
    packages = archive.debian(STORE / "apt", "arm64")
    packages.unpack(STORE, packages.newest(r"linux-image-6\.12\.[0-9.+a-z]*-arm64"), "busybox-static", "musl-dev")
    shutil.rmtree(STORE / "apt")
    release = next((STORE / "lib/modules").iterdir()).name
    subprocess.run(["depmod", "-b", STORE, release], check=True, env=dict(os.environ, PATH=PATH))
    (STORE / "done").write_text(release + "\n")
    return release


def cross():
    """A compiler that uses musl as it was unpacked, and its description for meson."""
    specs = (STORE / "usr/lib/aarch64-linux-musl/musl-gcc.specs").read_text()
    (STORE / "musl.specs").write_text(re.sub(r"/usr/(include|lib)/aarch64-linux-musl",
                                             rf"{STORE}/usr/\1/aarch64-linux-musl", specs))
    compiler = STORE / "cc"
    # The kernel's headers last, as in every build against musl.
    compiler.write_text(f'#!/bin/sh\nexec {COMPILER} -specs={STORE}/musl.specs "$@" -idirafter {HEADERS}\n')
    compiler.chmod(0o755)
    file = STORE / "cross.ini"
    file.write_text(f"[binaries]\nc = ['{compiler}']\nar = 'aarch64-linux-gnu-ar'\nstrip = 'aarch64-linux-gnu-strip'\n"
                    "[host_machine]\nsystem = 'linux'\ncpu_family = 'aarch64'\ncpu = 'aarch64'\nendian = 'little'\n")
    return file


def build(where):
    """The programs of the lean build, {name: bytes}."""
    if not (where / "build.ninja").exists():
        subprocess.run(["meson", "setup", where, vm.TOP, "--cross-file", cross(), "-Dlean=true", "-Dmultiarch=none"],
                       check=True, stdout=subprocess.DEVNULL)
    done = subprocess.run(["ninja", "-C", where], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode or "warning:" in done.stdout:
        raise vm.Broken("the build for aarch64:\n" + done.stdout[-4000:])
    paths = {"immure": where / "src/cli/immure", "immure-attack": where / "src/evidence/immure-attack",
             "immure-egress": where / "src/lib/immure-egress"}
    return {name: path.read_bytes() for name, path in paths.items()}


def initrd(programs, release, path):
    parts = [vm.cpio_entry(name, 0o40755) for name in ("bin", "modules", "immure", "proc", "new")]
    parts.append(vm.cpio_entry("init", 0o100755, (HERE / "arm64/init").read_bytes()))
    parts.append(vm.cpio_entry("job", 0o100755, (HERE / "arm64/job").read_bytes()))
    parts.append(vm.cpio_entry("bin/busybox", 0o100755, (STORE / "bin/busybox").read_bytes()))
    parts += [vm.cpio_entry("immure/" + name, 0o100755, data) for name, data in programs.items()]
    parts += vm.module_entries(STORE, release, ["virtio_rng"])
    parts.append(vm.cpio_entry("TRAILER!!!", 0))
    path.write_bytes(gzip.compress(b"".join(parts), 1))


def run(scratch, where, timeout=600):
    """What the job said, as tests of runtests: {passed, failures, skips}."""
    total = {"passed": 0, "failures": [], "skips": []}
    release = fetch()
    image = scratch / "initrd.gz"
    initrd(build(where), release, image)
    argv = ["qemu-system-aarch64", "-M", "virt", "-cpu", "max,pauth-impdef=on", "-m", "1024", "-smp", "1", "-nodefaults",
            "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
            "-kernel", STORE / "boot" / f"vmlinuz-{release}", "-initrd", image, "-device", "virtio-rng-pci",
            "-append", "console=ttyAMA0 quiet loglevel=3 panic=-1 mitigations=off cgroup_no_v1=all rdinit=/init"]
    try:
        said = subprocess.run(["setpriv", "--pdeathsig", "KILL", "--", *argv], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, check=False).stdout
    except subprocess.TimeoutExpired as late:
        said = late.stdout or b""
    lines = said.decode(errors="replace").replace("\r", "").splitlines()
    total["passed"] = sum(line.startswith("ok ") for line in lines)
    total["failures"] = ["arm64: " + line[len("not ok "):] for line in lines if line.startswith("not ok ")]
    if "arm64: done" not in lines:
        total["failures"].append("arm64: the guest did not finish its job")
        print("\n".join(lines[-60:]))
    return total
