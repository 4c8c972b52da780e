# SPDX-License-Identifier: Apache-2.0
"""Command lines that seal a program in with something else, and what a checker
has to find inside for the sample to count."""
import contextlib
import json
import os
import pathlib
import shutil
import subprocess

SYSTEM = ["bin", "sbin", "lib", "lib32", "lib64", "usr", "etc"]

# bubblewrap covers these itself.
COVERED = {"/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus"}


def other(*namespaces):
    """Points for probe check: not where we are."""
    return ["other:%s=%s" % (n, os.readlink("/proc/self/ns/" + n)) for n in namespaces]


ALL = ("pid", "mnt", "net", "ipc", "uts")
BWRAP_POINTS = [*other(*ALL, "user"), "status:NoNewPrivs=1", "status:CapEff=0000000000000000"]
IMMURE_POINTS = [*BWRAP_POINTS, *other("cgroup"), "status:Seccomp=2",
                 "status:CapBnd=0000000000000000"]


class Bwrap:
    """bubblewrap, with a plain view or with that of a plan."""

    base = ["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]

    def __init__(self, scratch):
        self.program = shutil.which("bwrap")
        self.scratch = scratch
        self.denied_dir, self.denied_file = scratch / "denied-dir", scratch / "denied-file"
        self.denied_dir.mkdir(mode=0)
        self.denied_file.touch(mode=0)

    def plain(self, workspace, *argv):
        return [self.program, *self.base, "--ro-bind", "/", "/", "--proc", "/proc", "--dev",
                "/dev", "--tmpfs", "/run", "--tmpfs", "/tmp", "--bind", workspace, workspace,
                "--chdir", workspace, "--", *argv]

    def like(self, plan, *argv):
        """The same masks, areas and binds as a plan of ours, in its order. What
        bubblewrap has no option for is given its cheapest near equivalent: a
        mask is a bind of something that nobody may open, /sys the host's own."""
        options, late = [], []
        for op in plan["operations"]:
            add = getattr(self, "op_" + op["op"], None)
            if add and op["stage"] in ("mount", "pivot"):
                add(op, options, late)
        return [self.program, *self.base, *options, *late, "--chdir", plan["cwd"], "--", *argv]

    @staticmethod
    def op_root_host(_op, options, _late):
        options += ["--ro-bind", "/", "/"]

    @staticmethod
    def op_root_empty(_op, _options, late):
        late += ["--remount-ro", "/"]

    @staticmethod
    def op_dev(op, options, _late):
        options += ["--dev", op["dst"]]

    @staticmethod
    def op_proc(op, options, _late):
        options += ["--proc", op["dst"]]

    @staticmethod
    def op_sysfs(op, options, _late):
        options += ["--ro-bind", "/sys", op["dst"]]

    @staticmethod
    def op_tmpfs(op, options, late):
        options += ["--perms", "%04o" % op["mode"], "--tmpfs", op["dst"]]
        if "read_only" in op.get("flags", []):
            late += ["--remount-ro", op["dst"]]

    op_mask_keep = op_tmpfs

    @staticmethod
    def op_bind(op, options, _late):
        flags = op.get("flags", [])
        name = "--ro-bind" if "read_only" in flags else "--bind"
        options += [name + ("-try" if "optional" in flags else ""), op["src"], op["dst"]]

    @staticmethod
    def op_symlink(op, options, _late):
        options += ["--symlink", op["src"], op["dst"]]

    @staticmethod
    def op_dir(op, options, _late):
        options += ["--perms", "%04o" % op["mode"], "--dir", op["dst"]]

    def op_file(self, op, options, _late):
        path = self.scratch / ("file" + op["dst"].replace("/", "-"))
        path.write_text(op["src"])
        path.chmod(0o644)
        options += ["--ro-bind", path, op["dst"]]

    def op_mask(self, op, options, _late):
        exists, directory = False, "file" not in op.get("flags", [])
        with contextlib.suppress(OSError):
            directory = pathlib.Path(op["dst"]).stat().st_mode & 0o170000 == 0o040000
            exists = True
        if exists or "optional" not in op.get("flags", []):
            options += ["--ro-bind", self.denied_dir if directory else self.denied_file,
                        op["dst"]]

    @staticmethod
    def op_readonly(op, options, _late):
        if op["dst"] not in COVERED and os.path.exists(op["dst"]):
            options += ["--ro-bind", op["dst"], op["dst"]]

    @staticmethod
    def op_pin(op, options, _late):
        options += ["--bind", op["dst"], op["dst"]]

    @staticmethod
    def op_hostname(op, options, _late):
        options += ["--hostname", op["src"]]


def crun(scratch, workspace, argv, name):
    """A bundle of the system's directories read-only, cgroups left alone."""
    bundle = scratch / name
    (bundle / "rootfs").mkdir(parents=True)
    program = shutil.which("crun")
    subprocess.run([program, "spec"], cwd=bundle, check=True)
    config = json.loads((bundle / "config.json").read_text())
    config["process"].update(terminal=False, args=[str(a) for a in argv], cwd=str(workspace))
    config["process"].pop("rlimits", None)
    config["linux"].pop("resources", None)
    config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"]
                                     if n["type"] != "cgroup"]
    config["mounts"] = [m for m in config["mounts"] if m["destination"] != "/sys/fs/cgroup"]
    config["mounts"] += [{"destination": "/" + d, "source": "/" + d, "type": "bind",
                          "options": ["rbind", "ro"]}
                         for d in SYSTEM if (pathlib.Path("/") / d).is_dir()]
    config["mounts"].append({"destination": str(workspace), "source": str(workspace),
                             "type": "bind", "options": ["rbind"]})
    (bundle / "config.json").write_text(json.dumps(config))
    return [program, "--cgroup-manager=disabled", "run", "--bundle", bundle, "bench-" + name]


CRUN_POINTS = [*other(*ALL), "status:NoNewPrivs=1"]


@contextlib.contextmanager
def without_v2():
    """A mount namespace without the v2 hierarchy of a hybrid set-up, which crun
    refuses to run beside. Yields its file, or None where there is nothing to hide."""
    v2 = pathlib.Path("/sys/fs/cgroup/unified")
    if not v2.is_dir() or os.geteuid() != 0:
        yield None
        return
    holder = subprocess.Popen(
        ["unshare", "-m", "--propagation", "private", "sh", "-c",
         "umount %s && echo && exec cat" % v2], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield "/proc/%d/ns/mnt" % holder.pid if holder.stdout.readline() else None
    finally:
        holder.communicate()


def firejail(*argv):
    return [shutil.which("firejail"), "--quiet", "--noprofile", "--net=none", "--seccomp",
            "--caps.drop=all", "--nonewprivs", *argv]


FIREJAIL_POINTS = [*other("pid", "mnt", "net"), "status:NoNewPrivs=1", "status:Seccomp=2"]


def firejail_default(*argv):
    return [shutil.which("firejail"), "--quiet", *argv]


FIREJAIL_DEFAULT_POINTS = other("pid", "mnt")
