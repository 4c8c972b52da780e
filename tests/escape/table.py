# SPDX-License-Identifier: Apache-2.0
"""Every attack once: what is tried, where, with which policy, and the control.

A control is a list of scratch's switches: what must be taken away for the same
act to succeed. Where that would need privileges over the host, or a kernel
that this machine does not run, it is a string "none: why"; such an attack is
made all the same but is not counted. {words} are attributes of the site or are
provided by the fixtures named in `needs`."""

import dataclasses
import subprocess


@dataclasses.dataclass
class Attack:
    name: str                     # test id
    act: str                      # attack's argument
    args: tuple = ()
    flags: tuple = ()             # policy flags of immure run
    control: object = ()          # switches of scratch, or "none: why"
    control_args: tuple = None    # when the control needs others
    needs: tuple = ()             # fixtures of hosts.py
    threats: str = ""             # numbers in the catalogue of known breakages
    errno: tuple = None           # what the denial must be
    modes: tuple = None           # None = all
    root_control: bool = False    # the control works for root only
    weak: dict = dataclasses.field(default_factory=dict)  # mode -> why it succeeds there


DENY = ("--deny", "{deny}", "--deny", "{priv}/secret.txt", "--deny", "{ws}/sub/hidden",
        "--deny", "{ws}/hidden.txt")
RW = ("--rw", "{path}")


def listed(program):
    """attack --list: name -> tags"""
    text = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout
    return {line.split()[0]: line.split()[1:] for line in text.splitlines()}


def places(kind, tags):
    """Where a path act is tried: (place, victim). kind is read or write."""
    if "sock" in tags or "dgram" in tags:
        what = "sock" if "sock" in tags else "dgram"
        return [("masked", "{deny}/" + what), ("visible", "{out}/" + what)]
    if "link" in tags:
        return [("masked", "{deny}/link"), ("wsmasked", "{ws}/sub/hidden/link")]
    if "exec" in tags:
        return [("masked", "{deny}/prog"), ("wsmasked", "{ws}/sub/hidden/prog")]
    if "dir" in tags:
        return [("masked", "{deny}"), ("wsmasked", "{ws}/sub/hidden")]
    if "emptydir" in tags:
        return [("readonly", "{out}/empty"), ("masked", "{deny}/empty")]
    found = [("masked", "{deny}/secret"), ("wsmasked", "{ws}/sub/hidden/secret")]
    if "child" not in tags and "beside" not in tags:
        found += [("file", "{priv}/secret.txt"), ("wsfile", "{ws}/hidden.txt")]
    if kind == "write":
        found += [("readonly", "{out}/ro.txt")]
    return found


def path_attacks(program):
    for name, tags in listed(program).items():
        if not name.startswith("path."):
            continue
        for place, victim in places(tags[0], tags):
            control = () if tags[0] == "read" else RW
            if "symlink" in name:
                control = RW  # puts its own link into the workspace first
            yield Attack(
                f"{name}-{place}", name, (victim, "{ws}/mine", "{ws}/free"), DENY, control,
                needs=("sockets",) if "sock" in tags or "dgram" in tags else (),
                threats="71" if "sock" in tags or "dgram" in tags else "40 44 47",
                modes=("root", "user") if place.startswith("ws") else None)


# The site once more at another path: what is denied of it is denied there.
AGAIN = ("--bind", "{path}:/again")


def alias_attacks(program):
    for name, tags in listed(program).items():
        if not name.startswith("path.") or "sock" in tags or "dgram" in tags or "symlink" in name:
            continue
        for place, victim in places(tags[0], tags):
            inside = victim.replace("{ws}", "/again/ws")
            for word in ("deny", "priv", "out"):
                inside = inside.replace("{%s}" % word, "/again/" + word)
            yield Attack(f"{name}-{place}-again", name, (inside, "{ws}/mine", "{ws}/free"),
                         (*DENY, *AGAIN), "none: the same act has its control at its own path",
                         threats="40 44 47", errno=("EACCES", "EROFS", "EPERM", "EXDEV", "ENOSYS"),
                         modes=("user", "bwrap-user") if name in ("path.open", "path.chmod")
                         else ("user",))


SYSTEM_FILES = [
    # path, act, control switches
    ("/proc/sysrq-trigger", "open_write", ()), ("/proc/kcore", "open_read", "none: needs CAP_SYS_RAWIO"),
    ("/proc/kmsg", "open_read", "none: needs CAP_SYSLOG over the host"),
    ("/proc/timer_list", "read_some", "none: needs CAP_SYS_ADMIN over the host"),
    ("/proc/keys", "read_some", ()), ("/proc/key-users", "read_some", ()),
    ("/proc/sched_debug", "read_some", "none: gone since Linux 5.13"),
    ("/proc/latency_stats", "read_some", "none: depends on the kernel's build"),
    ("/proc/interrupts", "open_write", "none: nobody may write it"),
    ("/proc/mtrr", "open_write", "none: depends on the kernel's build"),
    ("/proc/sys/kernel/core_pattern", "open_write", ()),
    ("/proc/sys/kernel/hostname", "open_write", ()),
    ("/proc/sys/kernel/modprobe", "open_write", ()),
    ("/proc/sys/kernel/panic", "open_write", ()),
    ("/proc/sys/vm/drop_caches", "open_write", ()),
    ("/proc/sys/vm/overcommit_memory", "open_write", ()),
    ("/proc/sys/fs/suid_dumpable", "open_write", ()),
    ("/proc/sys/net/ipv4/ip_forward", "open_write", ()),
    ("/proc/sys/user/max_user_namespaces", "open_write",
     "none: a user namespace shows its own"),
    ("/proc/irq/default_smp_affinity", "open_write", ()),
    ("/proc/sys/fs/binfmt_misc/register", "open_write", ()),
    ("/sys/kernel/mm/transparent_hugepage/enabled", "open_write", ("--rw", "/sys")),
    ("/sys/power/state", "open_write", ("--rw", "/sys")),
    ("/sys/module/kernel/parameters/panic", "open_write", ("--rw", "/sys")),
    ("/dev/kmsg", "open_read", "none: needs CAP_SYSLOG over the host"),
    ("/dev/kmsg", "open_write", ()),
    ("/dev/mem", "open_read", "none: needs CAP_SYS_RAWIO"),
    ("/dev/port", "open_read", "none: needs CAP_SYS_RAWIO"),
    ("/dev/vda", "open_read", "none: a real disk is not opened anywhere"),
    ("/dev/vda", "open_write", "none: a real disk is not opened for writing anywhere"),
    ("/dev/kvm", "open_read", ()), ("/dev/fuse", "open_read", ()),
    ("/dev/net/tun", "open_read", ()), ("/dev/loop-control", "open_read", ()),
    ("/dev/vhost-net", "open_read", ()), ("/dev/vsock", "open_read", ()),
    ("/dev/mapper/control", "open_read", ()), ("/dev/console", "open_write", ()),
    ("/dev/tty0", "open_write", ()), ("/dev/ttyS0", "open_write", ()),
    ("/dev/input/event0", "open_read", ()), ("/dev/dri/card0", "open_read", ()),
    ("/dev/rtc0", "open_read", ()), ("/dev/hwrng", "open_read", ()),
    ("/dev/userfaultfd", "open_read", ()), ("/dev/cpu_dma_latency", "open_write", ()),
    ("/dev/autofs", "open_read", ()), ("/dev/btrfs-control", "open_read", ()),
]


def system_attacks():
    for path, act, control in SYSTEM_FILES:
        yield Attack(f"{act}:{path}", f"fs.{act}", (path,), (), control, threats="54 55 56 77 87",
                     root_control=True)
    yield Attack("kallsyms", "fs.kallsyms", (), (), "none: needs CAP_SYSLOG over the host",
                 threats="77")


def mount_attacks():
    caps = (*RW, "--caps")
    ws = ("{ws}/sub/hidden", "{ws}/empty", "{ws}/free")
    for act, args in {
        "umount_mask": ("/proc", "/proc/self/nothing"), "umount_proc": (),
        "remount_rw": ("{out}", "{out}/ro.txt"), "setattr_rw": ("{out}", "{out}/ro.txt"),
        "bind": ws, "move": ws, "open_tree_clone": ws, "mount_tmpfs": ws, "mount_proc": ws,
        "mount_overlay": ws, "fsopen": (), "fspick": ("", "/proc"), "pivot_root": ws,
        "chroot": ws, "chroot_walk": ws,
    }.items():
        control = caps
        if act in ("remount_rw", "setattr_rw"):
            # {out} must be a mount of its own to be made writable again.
            control = (*RW, "--rw", "{out}", "--caps")
        if act == "umount_mask":
            continue
        yield Attack(act, f"fs.{act}", args, DENY, control, threats="50 57 82")
    yield Attack("umount_mask", "fs.umount_mask", ("{deny}", "{deny}/secret"), DENY,
                 ("--caps", "--rw", "{deny}"), threats="50")
    yield Attack("open_by_handle", "fs.open_by_handle", ("{out}/ro.txt",), DENY,
                 "none: needs CAP_DAC_READ_SEARCH over the host", threats="86")
    yield Attack("mknod_block", "fs.mknod_block", ws, DENY,
                 "none: no user namespace may make device nodes", threats="45")
    yield Attack("mknod_char", "fs.mknod_char", ws, DENY,
                 "none: no user namespace may make device nodes", threats="45")


def mask_attacks():
    yield Attack("rename_parent_read", "fs.rename_parent_read",
                 ("{ws}/sub", "{ws}/moved", "{ws}/moved/hidden/secret"), DENY, RW, threats="46")
    yield Attack("rename_mask", "fs.rename_parent_read",
                 ("{ws}/sub/hidden", "{ws}/moved", "{ws}/moved/secret"), DENY, RW, threats="46")
    yield Attack("rename_file_mask", "fs.rename_parent_read",
                 ("{ws}/hidden.txt", "{ws}/moved", "{ws}/moved"), DENY, RW, threats="46")
    yield Attack("symlink_race", "fs.symlink_race",
                 ("{deny}", "{ws}/empty", "{ws}/free", "secret", "SECRET-CANARY"), DENY, RW,
                 threats="40 57")
    yield Attack("symlink_race_write", "fs.symlink_race_write",
                 ("{out}/dir", "{ws}/empty", "{ws}/free", "made"), DENY, RW, threats="40 57")
    yield Attack("alias", "leak.alias", ("{deny_dev}", "{deny_ino}"), DENY, ("--rw", "{deny}"),
                 needs=("inode",), threats="49")
    yield Attack("sensitive_home", "path.open", ("{home}/.ssh/id_rsa",), (), (), threats="65")
    yield Attack("hardlink_in_workspace", "path.open", ("{ws}/alias",), DENY, (),
                 needs=("hardlink",), threats="47")
    yield Attack("bind_alias", "path.open", ("{out}/dir/secret",), DENY, (), needs=("bind",),
                 modes=("root",), threats="49")
    yield Attack("submount_write", "fs.write", ("{out}/dir/new",), (), ("--rw", "{out}/dir"),
                 needs=("submount",), modes=("root",), threats="44")
    yield Attack("symlinked_deny", "path.open", ("{deny}/secret",), ("--deny", "{out}/to-deny"), (),
                 needs=("deny_link",), threats="40")
    yield Attack("symlinked_name", "path.open", ("{out}/to-deny/secret",),
                 ("--deny", "{deny}"), (), needs=("deny_link",), threats="40")
    yield Attack("planted_symlink", "path.open", ("{ws}/planted",), DENY, (), needs=("planted",),
                 threats="40")
    yield Attack("planted_symlink_write", "path.open_write", ("{ws}/planted-out",), DENY, RW,
                 needs=("planted",), threats="40")


def protect_attacks():
    hooks, config = "{ws}/.git/hooks/pre-commit", "{ws}/.git/config"
    for name, act, args in [
        ("config_write", "write", (config,)),
        ("config_rename_over", "rename_over", (config, "{ws}/mine")),
        ("config_unlink", "unlink_then_write", (config,)),
        ("config_link", "link_then_write", (config, "{ws}/free")),
        ("config_symlink_over", "symlink_over", (config, "{ws}/free")),
        ("config_fd", None, (config, "{ws}/mine", "{ws}/free")),
        ("hook_write", "write", (hooks,)),
        ("hook_rename_over", "rename_over", (hooks, "{ws}/mine")),
        ("hook_new", "write", ("{ws}/.git/hooks/post-checkout",)),
        ("hooks_moved", "rename_parent_write",
         ("{ws}/.git/hooks", "{ws}/.git/old", "{ws}/.git/old/pre-commit")),
        ("git_moved", "rename_parent_write",
         ("{ws}/.git", "{ws}/old", "{ws}/old/hooks/pre-commit")),
        ("git_exchanged", "exchange_parent_write",
         ("{ws}/.git", "{ws}/empty", "{ws}/empty/hooks/pre-commit")),
        ("hooks_exchanged", "exchange_parent_write",
         ("{ws}/.git/hooks", "{ws}/empty", "{ws}/empty/pre-commit")),
    ]:
        yield Attack(f"protect_{name}", f"fs.{act}" if act else "path.fd_reopen_write", args, (),
                     RW, needs=("git",), threats="38 46 47 64")
    yield Attack("protect_named", "fs.write", ("{ws}/mine",), ("--protect", "mine"), RW,
                 threats="38")
    yield Attack("protect_symlinked", "fs.write", ("{ws}/real-config",), (), RW,
                 needs=("git", "git_symlink"), threats="40 64")
    yield Attack("protect_symlinked_dir", "fs.write", ("{ws}/vs/tasks.json",), (), RW,
                 needs=("vscode_link",), threats="40")
    for name in (".envrc", ".git/config", ".vscode/tasks.json", ".claude/settings.json"):
        yield Attack(f"protect_elsewhere_{name}", "fs.write", ("{out}/" + name,),
                     ("--write", "{out}"), RW, needs=("protected_outside",), threats="38 39")
    yield Attack("worktree_pointer", "fs.rename_over", ("{ws}/.git", "{ws}/mine"), (), RW,
                 needs=("worktree",), threats="64")
    yield Attack("worktree_pointer_write", "fs.write", ("{ws}/.git",), (), RW, needs=("worktree",),
                 threats="64")
    yield Attack("workspace_ro", "fs.write", ("{ws}/mine",), ("--profile", "readonly"), RW,
                 threats="44")


VICTIM_TAGS = ("signal", "any", "cred", "caps")


def process_attacks(program):
    for name, tags in listed(program).items():
        if not name.startswith("process.") or name == "process.find":
            continue
        control = ("--victim", "--caps") if "caps" in tags else ("--victim",)
        if name == "process.madvise":
            control = "none: needs CAP_SYS_NICE over the host"
        threats = "85" if "signal" in tags else "76 77"
        yield Attack(f"{name}-host", name, ("{victim}",), (), control, ("@VICTIM@",), ("victim",),
                     threats)
        if "any" in tags or "caps" in tags:
            yield Attack(f"{name}-init", name, ("1",), (), control, ("@VICTIM@",), (), threats)
    yield Attack("process.find", "process.find", ("{victim_word}",), (), (), needs=("victim",),
                 threats="77", control_args=None)


FAMILIES = {
    # number: types, protocols; control None = this kernel's word
    "alg": (38, 5, 0), "alg_stream": (38, 1, 0), "rxrpc": (33, 2, 0), "key": (15, 3, 2),
    "vsock": (40, 1, 0), "packet": (17, 3, 768), "packet_dgram": (17, 2, 768), "xdp": (44, 3, 0),
    "tipc": (30, 5, 0), "bluetooth": (31, 3, 1), "can": (29, 3, 1), "rds": (21, 5, 0),
    "kcm": (41, 2, 0), "smc": (43, 1, 0), "x25": (9, 5, 0), "appletalk": (5, 2, 0),
    "ipx": (4, 2, 0), "ax25": (3, 5, 0), "netrom": (6, 5, 0), "nfc": (39, 5, 0),
    "phonet": (35, 2, 0), "caif": (37, 5, 0), "isdn": (34, 3, 0), "qipcrtr": (42, 2, 0),
    "mctp": (45, 2, 0), "llc": (26, 2, 0), "ppp": (24, 1, 0), "mpls": (28, 3, 0),
    "raw4": (2, 3, 1), "raw6": (10, 3, 58), "rawany": (2, 3, 255), "sctp": (2, 1, 132),
    "sctp_seq": (2, 5, 132), "dccp": (2, 6, 33), "udplite": (2, 2, 136), "mptcp": (2, 1, 262),
    "smc_inet": (2, 1, 256), "l2tp": (2, 2, 115), "icmp": (2, 2, 1), "icmp6": (10, 2, 58),
    "nl_netfilter": (16, 3, 12), "nl_xfrm": (16, 3, 6), "nl_audit": (16, 3, 9),
    "nl_uevent": (16, 3, 15), "nl_connector": (16, 3, 11), "nl_generic": (16, 3, 16),
    "nl_scsi": (16, 3, 18), "nl_crypto": (16, 3, 21), "nl_rdma": (16, 3, 20),
    "nl_sock_diag": (16, 3, 4), "nl_selinux": (16, 3, 7), "nl_iscsi": (16, 3, 8),
    "nl_fib": (16, 3, 10), "nl_ecryptfs": (16, 3, 19), "packet_old": (2, 10, 768),
}
NEED_CAPS = {"packet", "packet_dgram", "raw4", "raw6", "rawany", "xdp", "packet_old"}
# Not one of these matters by itself; what the machine's kernel does not have
# cannot succeed in a control either.


def net_attacks():
    for name, numbers in FAMILIES.items():
        args = tuple(str(n) for n in numbers)
        caps = ("--caps",) if name in NEED_CAPS else ()
        if name.startswith("icmp"):
            yield Attack(f"socket_{name}", "net.family", args, (),
                         "none: net.ipv4.ping_group_range decides", threats="29")
            continue
        yield Attack(f"socket_{name}", "net.family", args, (), ("kernel", *caps), threats="29 68 82")
    yield Attack("socketpair_alg", "net.socketpair", ("38", "5", "0"), (), ("kernel",),
                 threats="29 68")
    yield Attack("socket_high_bits", "net.family_high_bits", ("16", "3", "12"), (), ("kernel",),
                 threats="29 74")
    for ulp in ("tls", "espintcp", "smc", "mptcp"):
        yield Attack(f"ulp_{ulp}", "net.ulp", (ulp,), (), (), threats="68 82")
    yield Attack("ulp_high_bits", "net.ulp_high_bits", ("tls",), (), (), threats="68 74")
    for where, address in (("lo4", "127.0.0.1"), ("lo6", "::1"), ("mapped", "::ffff:127.0.0.1"),
                           ("any4", "0.0.0.0"), ("lan", "{lan}")):
        for act in ("tcp", "fastopen", "mptcp", "udp_sendto", "udp_connected", "udp_sendmsg",
                    "udp_sendmmsg"):
            if where not in ("lo4", "lo6") and act not in ("tcp", "udp_sendto"):
                continue
            port = "{udp_port}" if act.startswith("udp") else "{tcp_port}"
            control = ("kernel", "--share-net") if act == "mptcp" or where == "lan" else \
                ("--share-net",)
            yield Attack(f"{act}_{where}", f"net.{act}", (address, port), (), control,
                         needs=("listeners",), threats="27 30 32")
    yield Attack("abstract", "net.abstract", ("{abstract}",), (), ("--share-net",),
                 needs=("listeners",), threats="72")
    yield Attack("abstract_dgram", "net.abstract_dgram", ("{abstract}d",), (), ("--share-net",),
                 needs=("listeners",), threats="72")
    # The network namespace is given up on purpose; Landlock's scope remains.
    yield Attack("abstract_host_net", "net.abstract", ("{abstract}",), ("--net", "host"),
                 ("--share-net",), needs=("listeners",), threats="72", modes=("root", "user"))
    for act in ("iptables", "transparent", "mark", "link_down"):
        yield Attack(act, f"net.{act}", (), (), ("kernel", "--caps"), threats="82")
    yield Attack("interface", "net.interface", (), (), ("--share-net",), threats="30")


def ipc_attacks():
    for act in ("shm", "sem", "msg"):
        yield Attack(f"sysv_{act}", f"ipc.{act}", ("{ipc_key}",), (), ("--share-ipc",),
                     needs=("sysv",), threats="73")
    yield Attack("mqueue", "ipc.mqueue", ("{mqueue}",), (), ("--share-ipc",), needs=("mqueue",),
                 threats="73")
    yield Attack("posix_shm", "ipc.posix_shm", ("{shm_file}",), (), (), needs=("shm_file",),
                 threats="73")
    yield Attack("request_key", "ipc.request_key", ("{key}",), (), ("--share-keys",),
                 needs=("key",), threats="86")
    yield Attack("keyctl_search", "ipc.keyctl_search", ("{key}",), (), ("--share-keys",),
                 needs=("key",), threats="86")
    for what in ("bus", "systemd/private", "pulse/native", "wayland-0", "gnupg/S.gpg-agent",
                 "docker.sock", "podman/podman.sock", "keyring/ssh"):
        yield Attack(f"runtime_{what}", "path.connect", ("{run_dir}/" + what,), (), (),
                     needs=("runtime_sockets",), threats="69 70 71")
    yield Attack("workspace_socket", "path.connect", ("{ws}/host.sock",), (), RW,
                 needs=("workspace_socket",), threats="71")
    yield Attack("ssh_agent", "path.connect", ("{home}/agent.sock",), (), (),
                 needs=("home_socket",), threats="71")


def kernel_attacks(program):
    host = "none: the kernel asks for a capability over the host before all else"
    for name, tags in listed(program).items():
        if not name.startswith("kernel."):
            continue
        control = ("--caps",) if "caps" in tags else ()
        if "host" in tags and name not in ("kernel.bpf", "kernel.open_by_handle_at"):
            control = host
        if name in ("kernel.iopl", "kernel.ioperm"):
            control = "none: depends on the kernel's build"
        if "x32" in name:
            control = "none: this kernel has no x32"
        if name in ("kernel.fanotify_init", "kernel.syslog"):
            control = host
        flags = ("--syscalls", "strict") if "strict" in tags else ()
        yield Attack(name, name, (), flags, control, threats={
            "abi": "80", "earnest": "81 82"}.get(tags[0], "74 79 86"))


def privilege_attacks():
    for act, control, threats in [
        ("setuid", ("--caps", "--ids"), "91"), ("setgid", ("--caps", "--ids"), "91"),
        ("setgroups", ("--caps", "--ids"), "91"), ("capset", ("--caps",), "91"),
        ("any_capability", ("--caps",), "91"), ("ambient", ("--caps",), "91"),
        ("new_privs", ("--new-privs",), "91"), ("securebits", ("--caps",), "91"),
        ("nice", "none: needs CAP_SYS_NICE over the host", "88"),
        ("realtime", "none: needs CAP_SYS_NICE over the host", "88"),
        ("rlimit_raise", "none: needs CAP_SYS_RESOURCE over the host", "88"),
        ("oom_score", "none: needs CAP_SYS_RESOURCE over the host", "88"),
        ("sethostname", ("--caps",), "86"), ("setdomainname", ("--caps",), "86"),
        ("uid_map", ("--caps",), "81"), ("setuid_program", (), "91"),
    ]:
        yield Attack(act, f"privilege.{act}", (), (), control, threats=threats,
                     root_control="--ids" in control)
    for name, control in (("pids", ()), ("memory", ()), ("unified", ()), ("freezer", ())):
        yield Attack(f"cgroup_mkdir_{name}", "privilege.cgroup_mkdir", ("{cgroup_%s}" % name,), (),
                     ("--rw", "{cgroup_%s}" % name), needs=("cgroups",), threats="87",
                     root_control=True)
        files = ("cgroup.procs",) if name == "unified" else ("tasks", "cgroup.procs")
        for file in files:
            yield Attack(f"cgroup_move_{name}_{file}", "privilege.cgroup_move",
                         ("{cgroup_%s}" % name, file), (), ("--rw", "{cgroup_%s}" % name),
                         needs=("cgroups",), threats="87", root_control=True)
    for file in ("release_agent", "notify_on_release", "cgroup.clone_children"):
        yield Attack(f"cgroup_{file}", "fs.open_write", ("{cgroup_pids_root}/" + file,), (),
                     ("--rw", "{cgroup_pids_root}"), needs=("cgroups",), threats="87",
                     root_control=True)
    for file in ("cgroup.procs", "cgroup.subtree_control", "cgroup.max.depth", "cgroup.freeze"):
        yield Attack(f"cgroup_unified_{file}", "fs.open_write", ("{cgroup_unified}/" + file,), (),
                     ("--rw", "{cgroup_unified}"), needs=("cgroups",), threats="87",
                     root_control=True)


def leak_attacks():
    yield Attack("environment_of_others", "leak.environment", ("{canary1}", "{canary2}"), (),
                 ("--victim",), needs=("canary",), threats="77 101")
    yield Attack("descriptors", "leak.descriptors", (), DENY, ("--fds",), needs=("fds",),
                 threats="58 73")
    yield Attack("directory_fd", "leak.directory_fd", ("only-outside",), DENY, ("--fds",),
                 needs=("fds",), threats="58")
    yield Attack("cwd", "leak.cwd", ("only-outside",), DENY, (), needs=("outside_cwd",),
                 threats="10 58")
    yield Attack("streams", "leak.streams", ("only-outside",), DENY, (), needs=("dir_stdin",),
                 threats="58")


PROCESSES, MEMORY = ("--processes", "24"), ("--memory", "96M")


def bomb_attacks():
    tmp = ("{ws}/empty/f",)
    for name, act, args, flags, control in [
        ("fork", "fork", ("60",), PROCESSES, ()), ("zombies", "zombies", ("60",), PROCESSES, ()),
        ("threads", "threads", ("60",), PROCESSES, ()), ("daemons", "daemons", ("60",), PROCESSES, ()),
        ("memory", "memory", (str(200 << 20),), MEMORY, ()),
        ("memory_blind", "memory_blind", (str(200 << 20),), MEMORY, ()),
        ("memfd", "memfd", (str(200 << 20),), MEMORY, ()),
        ("memory_family", "memory_family", (str(30 << 20), "8"), MEMORY, ()),
        ("shm", "file", ("/dev/shm/immure-bomb", str(200 << 20)), ("--disk", "16M"), None),
        ("tmp", "file", ("/tmp/immure-bomb", str(200 << 20)), ("--disk", "16M"), None),
        ("file_size", "file", (*tmp, str(40 << 20)), ("--file-size", "8M"), RW),
        ("descriptors", "descriptors", ("500",), ("--open-files", "64"), ()),
        ("raise_descriptors", "raise_descriptors", ("500",), ("--open-files", "64"), ()),
        ("cpu", "cpu", ("3000",), ("--cpu-time", "1s"), ()),
    ]:
        wanted = args
        if control is None:  # the same file, somewhere disposable
            wanted, control = ("{ws}/empty/f", args[1]), RW
        weak = {}
        if name == "memfd":
            # A cgroup holds it; the fall-back is documented as inexact.
            weak = dict.fromkeys(("user", "nocgroup"), "sampling counts private pages only")
        yield Attack(f"bomb_{name}", f"bomb.{act}", args, ("--timeout", "20s", *flags), control, wanted,
                     threats="88", modes=("root", "user", "nocgroup"), weak=weak)


def table(program):
    groups = [path_attacks(program), alias_attacks(program), system_attacks(), mount_attacks(), mask_attacks(),
              protect_attacks(), process_attacks(program), net_attacks(), ipc_attacks(),
              kernel_attacks(program), privilege_attacks(), leak_attacks(), bomb_attacks()]
    attacks = [attack for group in groups for attack in group]
    names = [attack.name for attack in attacks]
    assert len(names) == len(set(names)), "two attacks of one name"
    return attacks


# What the backend without namespaces reports as not enforced: gap -> acts.
LOST = {
    "a gap that is approved: file_metadata": {
        f"path.{call}" for call in ("readlink", "stat", "lstat", "fstatat", "statx", "statfs", "access",
                                    "faccessat2", "inotify")},
    "a gap that is approved: process_visibility": {
        "read_some:/proc/timer_list", "read_some:/proc/keys", "read_some:/proc/key-users"},
    "there are no mounts of its own; no_new_privs stands for nosuid": {"setuid_program"},
}
# As an ordinary user, who cannot read or drop it.
LOST_FOR_USERS = {
    "no_new_privs keeps the bounding set from mattering": {
        "any_capability"},
}


def lost_without_namespaces(attack, root):
    for reason, acts in LOST.items() if root else [*LOST.items(), *LOST_FOR_USERS.items()]:
        if attack.name == "read_some:/proc/timer_list" and not root:
            continue
        if attack.act in acts or attack.name in acts:
            return reason
    return None
